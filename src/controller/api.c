/* Routing, bodies and answers of the controller's JSON API. Source: spec 04 sections 2.1, 2.2. */
#include "controller/api.h"

#include "base/hex.h"
#include "controller/api_priv.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* An answer that waits for its commit. */
struct pending_answer {
    struct controller *c;
    controller_api_done done;
    void *ctx;
    char *body;
    struct after after;
};

/* ---- answers ---- */

void api_empty(const struct call *call, unsigned status)
{
    call->done(call->ctx, status, "", 0);
}

void api_answer(const struct call *call, unsigned status, json_t *obj)
{
    static const char no_memory[] = "{\"description\":\"out of memory\",\"error\":500}";
    if (status == 200 && !call->read && call->c->store != NULL &&
        store_backlog(call->c->store) > 0) {
        /* It changes nothing, but may find what a change made that is not stored yet. */
        struct after nothing = {0};
        struct store_tx *barrier = store_tx_new();
        if (barrier != NULL) {
            api_commit(call, barrier, obj, &nothing);
            return;
        }
    }
    char *text = obj != NULL ? doc_text(obj) : NULL;
    json_decref(obj);
    if (text == NULL) {
        call->done(call->ctx, 500, no_memory, sizeof(no_memory) - 1);
        return;
    }
    call->done(call->ctx, status, text, strlen(text));
    free(text);
}

void api_error(const struct call *call, unsigned status, const char *text)
{
    json_t *obj = json_pack("{sisO*}", "error", (int)status, "warnings", call->edit.warnings);
    if (obj != NULL && call->edit.source_error != NULL) {
        json_object_update(obj, call->edit.source_error);
    }
    json_t *description = json_string(text);
    if (obj != NULL && description != NULL) {
        json_object_set_new(obj, "description", description);
    }
    api_answer(call, status, obj);
}

void api_add_warnings(const struct call *call, json_t *obj)
{
    if (call->edit.warnings != NULL) {
        json_object_set(obj, "warnings", call->edit.warnings);
    }
}

bool api_refused(const struct call *call)
{
    if (call->edit.status != 0) {
        api_error(call, call->strict && call->edit.status == 500 ? 400 : call->edit.status,
                  call->edit.error);
        return true;
    }
    if (call->strict && call->edit.dropped > 0) {
        api_error(call, 400, "the request has errors and strict was asked for; nothing changed");
        return true;
    }
    return false;
}

bool api_conflict(const struct call *call, uint64_t present)
{
    if (!call->conditional || call->revision == present) {
        return false;
    }
    json_t *obj =
        json_pack("{sisssI}", "error", 409, "description",
                  "somebody else has changed it, read it again", "revision", (json_int_t)present);
    api_answer(call, 409, obj);
    return true;
}

static void run_after(struct controller *c, const struct after *after)
{
    struct cnetwork *net = model_find(&c->model, after->nwid);
    if (after->farewell != NULL) {
        farewell_start(after->farewell, c->now_ms);
    }
    if (net != NULL && after->push_network) {
        push_network(c, net, c->now_ms);
    }
    if (net != NULL && after->push_member) {
        struct cmember *m = network_member(net, after->node);
        if (m != NULL) {
            push_member(c, m, c->now_ms);
        }
    }
}

static void committed(void *ctx, int error)
{
    struct pending_answer *p = ctx;
    static const char failed[] =
        "{\"description\":\"the change is in force but could not be stored; it is tried again\","
        "\"error\":503}";
    static const char stale[] =
        "{\"description\":\"not stored: another instance has taken over\",\"error\":503}";
    if (!p->c->stopping) {
        run_after(p->c, &p->after);
    } else {
        farewell_free(p->after.farewell);
    }
    if (error == 0) {
        p->done(p->ctx, 200, p->body, strlen(p->body));
    } else if (error == -ESTALE) {
        p->done(p->ctx, 503, stale, sizeof(stale) - 1);
    } else {
        p->done(p->ctx, 503, failed, sizeof(failed) - 1);
    }
    free(p->body);
    free(p);
}

void api_commit(const struct call *call, struct store_tx *tx, json_t *obj,
                const struct after *after)
{
    struct pending_answer *p = calloc(1, sizeof(*p));
    if (obj != NULL) {
        api_add_warnings(call, obj);
    }
    char *body = obj != NULL ? doc_text(obj) : NULL;
    json_decref(obj);
    if (p == NULL || body == NULL) {
        free(p);
        free(body);
        controller_commit(call->c, tx, NULL, NULL);
        run_after(call->c, after);
        api_error(call, 500, "out of memory; the change is in force");
        return;
    }
    p->c = call->c;
    p->done = call->done;
    p->ctx = call->ctx;
    p->body = body;
    p->after = *after;
    share_answer_in(call->remote, tx, body);
    controller_commit(call->c, tx, committed, p);
}

int api_note(const struct call *call, struct store_tx *tx, enum note_type type, uint64_t nwid,
             uint64_t member, const json_t *before, const json_t *after)
{
    struct note note = {
        .type = type,
        .actor = call->actor,
        .nwid = nwid,
        .member = member,
        .before = before,
        .after = after,
    };
    return note_add(call->c, tx, &note, call->now_ms);
}

/* ---- requests ---- */

bool api_parse_body(struct call *call)
{
    json_error_t error;
    call->body = json_loadb(call->text, call->text_len, JSON_DECODE_ANY, &error);
    if (call->body == NULL && json_error_code(&error) == json_error_numeric_overflow) {
        size_t flags = JSON_DECODE_ANY | JSON_DECODE_INT_AS_REAL;
        call->body = json_loadb(call->text, call->text_len, flags, &error);
    }
    if (call->body != NULL) {
        return true;
    }
    unsigned status = call->strict ? 400 : 500;
    json_t *obj =
        json_pack("{sisisi}", "error", (int)status, "line", error.line, "column", error.column);
    json_t *text = json_sprintf("body is not JSON: %s (line %d, column %d)", error.text, error.line,
                                error.column);
    if (obj != NULL) {
        json_object_set_new(obj, "description",
                            text != NULL ? text : json_string("body is not JSON"));
    }
    api_answer(call, status, obj);
    return false;
}

/* Undo URL encoding of len characters; what does not fit out is cut. */
static void url_decode(const char *text, size_t len, char *out, size_t cap)
{
    size_t n = 0;
    for (size_t i = 0; i < len && n < cap - 1; i++) {
        uint8_t byte;
        if (text[i] == '%' && i + 2 < len && hex_decode(text + i + 1, 2, &byte, 1) == 0) {
            memcpy(&out[n++], &byte, 1);
            i += 2;
        } else {
            out[n++] = text[i];
            if (text[i] == '+') {
                out[n - 1] = ' ';
            }
        }
    }
    out[n] = '\0';
}

bool api_query(const struct call *call, const char *name, char *out, size_t cap)
{
    size_t name_len = strlen(name);
    for (const char *p = call->query; *p != '\0';) {
        size_t len = strcspn(p, "&");
        if (len > name_len && strncmp(p, name, name_len) == 0 && p[name_len] == '=') {
            url_decode(p + name_len + 1, len - name_len - 1, out, cap);
            return true;
        }
        p += len + (p[len] == '&' ? 1 : 0);
    }
    return false;
}

bool controller_api_owns(const char *path)
{
    static const char *const roots[] = {"/controller", "/unstable/controller"};
    for (size_t i = 0; i < COUNT_OF(roots); i++) {
        size_t len = strlen(roots[i]);
        if (strncmp(path, roots[i], len) == 0 && (path[len] == '\0' || path[len] == '/')) {
            return true;
        }
    }
    return false;
}

/* Cut the path at its slashes. Returns false if it cannot match anything. */
static bool split(struct call *call, const char *path)
{
    while (*path == '/') {
        size_t len = strcspn(++path, "/");
        if (len == 0 || call->segment_count == API_SEGMENTS_MAX) {
            return false;
        }
        call->segments[call->segment_count++] = (struct segment){.text = path, .len = len};
        path += len;
    }
    return *path == '\0' && call->segment_count > 0;
}

static bool segment_is(const struct segment *s, const char *word)
{
    return s->len == strlen(word) && memcmp(s->text, word, s->len) == 0;
}

/* Exactly that many hex digits. */
static bool segment_hex(const struct segment *s, unsigned digits, uint64_t *ret)
{
    return s->len == digits && hex_to_u64(s->text, s->len, digits, ret) == 0;
}

static void get_status(struct call *call)
{
    struct controller *c = call->c;
    const char *reason = NULL;
    enum controller_state state = controller_get_state(c, &reason);
    bool ready = controller_serves(c);
    if (state == CONTROLLER_RUNNING && !ready) {
        (void)store_get_state(c->store, &reason);
        reason = reason != NULL ? reason : "the lease has to be renewed";
    }
    json_t *obj =
        json_pack("{sbsisIsb}", "controller", 1, "apiVersion", 4, "clock",
                  (json_int_t)controller_wall(c, call->now_ms), "databaseReady", (int)ready);
    if (obj != NULL && reason != NULL) {
        json_object_set_new(obj, "reason", json_string(reason));
    }
    if (obj != NULL && controller_is_shared(c)) {
        json_object_set_new(obj, "holder", json_boolean(ready));
    }
    api_answer(call, ready ? 200 : 503, obj);
}

/* <own address>______ creates a network with a random number. Returns true if answered. */
static bool create_by_address(struct call *call, const struct segment *s)
{
    char own[11];
    if (s->len != 16 || memcmp(s->text + 10, "______", 6) != 0 || !call->write) {
        return false;
    }
    uint64_t address;
    if (hex_to_u64(s->text, 10, 10, &address) != 0) {
        return false;
    }
    hex_from_u64(call->c->identity.address, 10, own);
    if (memcmp(s->text, own, 10) != 0) {
        api_empty(call, 400);
    } else {
        api_network_create(call);
    }
    return true;
}

/* Below /controller/network/<id>. */
static void route_network(struct call *call, const struct segment *s, size_t count)
{
    uint64_t nwid;
    uint64_t address;
    if (count == 1 && segment_is(s, "default") && call->write) {
        api_network_default(call);
        return;
    }
    if (count == 1 && create_by_address(call, s)) {
        return;
    }
    if (!segment_hex(s, 16, &nwid)) {
        api_empty(call, 404);
        return;
    }
    struct cnetwork *net = model_find(&call->c->model, nwid);
    if (count == 1) {
        api_network(call, nwid);
        return;
    }
    if (count == 4 && segment_is(&s[1], "member") && segment_hex(&s[2], 10, &address) &&
        segment_is(&s[3], "history") && call->read) {
        api_member_history(call, nwid, address); /* also of what is gone */
        return;
    }
    if (net == NULL) {
        api_empty(call, 404);
        return;
    }
    if (count == 2 && segment_is(&s[1], "member") && call->read) {
        api_member_list(call, net);
    } else if (count == 3 && segment_is(&s[1], "member") && segment_hex(&s[2], 10, &address)) {
        api_member(call, net, address);
    } else if (count == 4 && segment_is(&s[1], "member") && segment_hex(&s[2], 10, &address) &&
               segment_is(&s[3], "accept-identity") && call->write &&
               network_member(net, address) != NULL) {
        api_accept_identity(call, network_member(net, address));
    } else if (count == 2 && segment_is(&s[1], "invite-token") && (call->read || call->write)) {
        api_invite_tokens(call, net);
    } else if (count == 3 && segment_is(&s[1], "invite-token") && call->remove) {
        api_invite_token(call, net, s[2].text); /* the last segment, so it ends with the path */
    } else {
        api_empty(call, 404);
    }
}

/* Below /unstable/controller/network/<id>/member. */
static void route_unstable_member(struct call *call, const struct cnetwork *net,
                                  const struct segment *s, size_t count)
{
    uint64_t address;
    if (count == 0) {
        api_member_list_full(call, net);
    } else if (count == 1 && segment_hex(s, 10, &address)) {
        api_member_full(call, net, address);
    } else if (count == 2 && segment_hex(s, 10, &address) && segment_is(&s[1], "trace")) {
        api_member_traces(call, net, address);
    } else {
        api_empty(call, 404);
    }
}

/* Below /unstable/controller/network/<id>/removed. */
static void route_removed(struct call *call, struct cnetwork *net, const struct segment *s,
                          size_t count)
{
    uint64_t address;
    if (count == 0 && call->read) {
        api_removed_list(call, net);
    } else if (count == 1 && segment_hex(s, 10, &address)) {
        api_removed(call, net, address);
    } else {
        api_empty(call, 404);
    }
}

static void route_unstable(struct call *call, const struct segment *s, size_t count)
{
    uint64_t nwid;
    if (count == 1 && call->read) {
        api_network_list_full(call);
        return;
    }
    struct cnetwork *net =
        count >= 3 && segment_hex(&s[1], 16, &nwid) ? model_find(&call->c->model, nwid) : NULL;
    if (net == NULL) {
        api_empty(call, 404);
    } else if (segment_is(&s[2], "member") && call->read) {
        route_unstable_member(call, net, s + 3, count - 3);
    } else if (segment_is(&s[2], "warnings") && call->read && count == 3) {
        api_warnings(call, net);
    } else if (segment_is(&s[2], "removed")) {
        route_removed(call, net, s + 3, count - 3);
    } else {
        api_empty(call, 404);
    }
}

/* Below /controller/hook. Returns false if there is no such thing. */
static bool route_hook(struct call *call, const struct segment *s, size_t count)
{
    uint64_t id = 0;
    uint64_t delivery = 0;
    if (count == 0) {
        api_hooks(call);
        return true;
    }
    if (!segment_hex(s, 16, &id)) {
        return false;
    }
    if (count == 1) {
        api_hook(call, id);
    } else if (count == 2 && segment_is(&s[1], "test")) {
        api_hook_test(call, id);
    } else if (count == 2 && segment_is(&s[1], "delivery")) {
        api_hook_deliveries(call, id);
    } else if ((count == 3 || (count == 4 && segment_is(&s[3], "retry"))) &&
               segment_is(&s[1], "delivery") && segment_hex(&s[2], 16, &delivery)) {
        api_hook_delivery(call, id, delivery, count == 4);
    } else {
        return false;
    }
    return true;
}

/* Below /controller, but not /controller/network. Returns false if there is no such thing. */
static bool route_other(struct call *call, const struct segment *s, size_t count)
{
    if (count == 1 && segment_is(s, "log") && call->read) {
        api_log(call);
        return true;
    }
    return segment_is(s, "hook") && route_hook(call, s + 1, count - 1);
}

static void route(struct call *call)
{
    const struct segment *s = call->segments;
    size_t n = call->segment_count;
    bool unstable = segment_is(s, "unstable");
    if (unstable) {
        s++;
        n--;
    }
    if (n == 0 || !segment_is(s, "controller") || (n == 1 && (unstable || !call->read))) {
        api_empty(call, 404);
    } else if (n == 1) {
        get_status(call);
    } else if (!controller_serves(call->c)) {
        api_error(call, 503, "the controller is not ready, see /controller");
    } else if (!segment_is(&s[1], "network")) {
        if (unstable || !route_other(call, s + 1, n - 1)) {
            api_empty(call, 404);
        }
    } else if (unstable) {
        route_unstable(call, s + 1, n - 1);
    } else if (n > 2) {
        route_network(call, s + 2, n - 2);
    } else if (call->read) {
        api_network_list(call);
    } else if (call->write) {
        api_network_create(call);
    } else {
        api_empty(call, 404);
    }
}

/* "3", "\"3\"" or "W/\"3\"": a revision. */
static bool parse_revision(const char *text, uint64_t *ret)
{
    text += strncmp(text, "W/", 2) == 0 ? 2 : 0;
    bool quoted = *text == '"';
    text += quoted ? 1 : 0;
    uint64_t v = 0;
    size_t n = strspn(text, "0123456789");
    for (size_t i = 0; i < n; i++) {
        v = v * 10 + (uint64_t)(text[i] - '0');
    }
    if (n == 0 || n > 18 || strcmp(text + n, quoted ? "\"" : "") != 0) {
        return false;
    }
    *ret = v;
    return true;
}

/* The revision that a change is meant for. Returns false if it is none. */
static bool read_condition(struct call *call, const char *if_match)
{
    char text[32];
    if (api_query(call, "revision", text, sizeof(text))) {
        if_match = text;
    }
    if (if_match == NULL || strcmp(if_match, "*") == 0) {
        return true;
    }
    call->conditional = parse_revision(if_match, &call->revision);
    return call->conditional;
}

/* True for a request that the instance with the lease has to answer, which we are not; only the
 * state is our own. */
static bool belongs_to_holder(struct controller *c, const struct controller_api_request *request)
{
    bool whole = request->actor.kind == ACTOR_CONTROL_TOKEN || request->actor.kind == ACTOR_CLI;
    return controller_is_shared(c) && whole && c->state != CONTROLLER_FAILED &&
           c->state != CONTROLLER_LOST && strcmp(request->path, "/controller") != 0 &&
           !controller_serves(c);
}

void controller_api(struct controller *c, const struct controller_api_request *request,
                    int64_t now_ms, controller_api_done done, void *ctx)
{
    const char *method = request->method;
    struct call call = {
        .c = c,
        .done = done,
        .ctx = ctx,
        .actor = &request->actor,
        .reader = request->reader,
        .remote = c->remote,
        .query = request->query != NULL ? request->query : "",
        .text = request->body != NULL ? request->body : "",
        .text_len = request->body != NULL ? request->body_len : 0,
        .now_ms = now_ms,
        .read = strcmp(method, "GET") == 0 || strcmp(method, "HEAD") == 0,
        .write = strcmp(method, "POST") == 0 || strcmp(method, "PUT") == 0,
        .remove = strcmp(method, "DELETE") == 0,
    };
    char strict[8];
    call.strict = api_query(&call, "strict", strict, sizeof(strict)) && strcmp(strict, "1") == 0;
    c->now_ms = now_ms;
    if (request->body_len > CONTROLLER_API_BODY_MAX) {
        api_empty(&call, 413);
    } else if (belongs_to_holder(c, request)) {
        share_pass(c, request, done, ctx);
    } else if (!split(&call, request->path)) {
        api_empty(&call, 404);
    } else if (!call.read && !read_condition(&call, request->if_match)) {
        api_error(&call, 400, "If-Match and revision take the revision of an object");
    } else {
        route(&call);
    }
    edit_done(&call.edit);
    json_decref(call.body);
}
