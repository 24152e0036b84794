/* Routing, bodies, answers and the smaller endpoints of the Central API. */
#include "controller/central.h"

#include "base/hex.h"
#include "controller/central_priv.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- answers ---- */

int64_t central_wall(const struct central_call *call)
{
    return controller_wall(call->c, call->now_ms);
}

struct actor central_actor(const struct central_call *call)
{
    struct actor actor = call->actor;
    access_actor(call->c, &call->caller, &actor);
    return actor;
}

int central_note(struct central_call *call, struct store_tx *tx, enum note_type type,
                 uint64_t object, const json_t *before, const json_t *after)
{
    struct actor actor = central_actor(call);
    struct note note = {
        .type = type, .actor = &actor, .object = object, .before = before, .after = after};
    return note_add(call->c, tx, &note, call->now_ms);
}

/* Answer and release the call. */
static void finish(struct central_call *call, unsigned status, const char *text)
{
    call->done(call->ctx, status, text, strlen(text));
    json_decref(call->body);
    free(call->grants);
    free(call);
}

void central_answer(struct central_call *call, json_t *obj)
{
    char *text = obj != NULL ? doc_text(obj) : NULL;
    json_decref(obj);
    if (text == NULL) {
        central_no_memory(call);
        return;
    }
    finish(call, 200, text);
    free(text);
}

void central_empty(struct central_call *call)
{
    finish(call, 200, "");
}

static const char *error_type(unsigned status)
{
    switch (status) {
    case 400:
        return "invalid";
    case 401:
        return "unauthorized";
    case 403:
        return "forbidden";
    case 404:
        return "not_found";
    case 413:
        return "too_large";
    case 429:
        return "rate_limit";
    default:
        return "internal";
    }
}

char *central_error_text(unsigned status, const char *message)
{
    json_t *obj = json_pack("{ssss}", "type", error_type(status), "message", message);
    char *text = obj != NULL ? doc_text(obj) : NULL;
    json_decref(obj);
    return text;
}

void central_error(struct central_call *call, unsigned status, const char *fmt, ...)
{
    char message[400];
    va_list args;
    va_start(args, fmt);
    (void)vsnprintf(message, sizeof(message), fmt, args);
    va_end(args);
    for (char *p = message; *p != '\0'; p++) { /* parts of a body may be cut inside a character */
        *p = (*p & 0x80) != 0 ? '?' : *p;
    }
    char *body = central_error_text(status, message);
    finish(call, status, body != NULL ? body : "");
    free(body);
}

void central_no_memory(struct central_call *call)
{
    central_error(call, 500, "out of memory");
}

/* An answer that waits for its commit. */
struct waiting {
    struct central_call *call;
    json_t *obj;
};

static void on_commit(void *ctx, int error)
{
    struct waiting *w = ctx;
    struct central_call *call = w->call;
    json_t *obj = w->obj;
    free(w);
    if (error == 0 && !json_is_null(obj)) {
        central_answer(call, obj);
        return;
    }
    json_decref(obj);
    if (error == 0) {
        central_empty(call);
    } else {
        central_error(call, 503,
                      "the change is in force but could not be stored; it is tried again");
    }
}

void central_commit(struct central_call *call, struct store_tx *tx, json_t *obj)
{
    struct waiting *w = calloc(1, sizeof(*w));
    if (w == NULL || obj == NULL) {
        free(w);
        json_decref(obj);
        controller_commit(call->c, tx, NULL, NULL);
        central_no_memory(call);
        return;
    }
    *w = (struct waiting){.call = call, .obj = obj};
    controller_commit(call->c, tx, on_commit, w);
}

/* ---- the controller's own API ---- */

/* Its error in our form: the first warning says more than that there was one. */
static void pass_error(struct central_call *call, unsigned status, const json_t *obj)
{
    const char *text = json_string_value(json_object_get(obj, "description"));
    json_t *warnings = json_object_get(obj, "warnings");
    const char *warning = json_string_value(json_array_get(warnings, 0));
    const char *message = json_string_value(json_object_get(obj, "message"));
    static const char *const places[] = {"line", "column", "errors", "warnings"};
    text = message != NULL ? message : warning != NULL ? warning : text;
    json_t *out = json_pack("{ssss}", "type", error_type(status), "message",
                            text != NULL ? text : "the request was refused");
    for (size_t i = 0; i < COUNT_OF(places); i++) {
        json_t *value = json_object_get(obj, places[i]);
        if (value != NULL && out != NULL) {
            json_object_set(out, places[i], value);
        }
    }
    char *body = out != NULL ? doc_text(out) : NULL;
    json_decref(out);
    finish(call, status, body != NULL ? body : "");
    free(body);
}

static void on_asked(void *ctx, unsigned status, const char *body, size_t len)
{
    struct central_call *call = ctx;
    json_t *obj = len > 0 ? json_loadb(body, len, JSON_DECODE_ANY, NULL) : NULL;
    if (status == 200) {
        call->then(call, obj);
    } else if (status == 404) {
        central_error(call, 404, "not found");
    } else {
        pass_error(call, status, obj);
    }
    json_decref(obj);
}

void central_ask(struct central_call *call, const char *method, const char *path, json_t *body,
                 central_step then)
{
    char *text = body != NULL ? doc_text(body) : NULL;
    bool failed = body != NULL && text == NULL;
    json_decref(body);
    if (failed) {
        central_no_memory(call);
        return;
    }
    struct controller_api_request request = {
        .method = method,
        .path = path,
        .query = "strict=1",
        .body = text,
        .body_len = text != NULL ? strlen(text) : 0,
        .actor = central_actor(call),
    };
    call->then = then;
    controller_api(call->c, &request, call->now_ms, on_asked, call);
    free(text);
}

/* ---- bodies ---- */

json_t *central_get(const json_t *obj, const char *key)
{
    json_t *value = json_object_get(obj, key);
    return json_is_null(value) ? NULL : value;
}

static bool has_kind(const json_t *v, enum central_kind kind)
{
    switch (kind) {
    case CENTRAL_TEXT:
        return json_is_string(v);
    case CENTRAL_BOOL:
        return json_is_boolean(v);
    case CENTRAL_NUMBER:
        return json_is_number(v) && json_number_value(v) >= 0;
    case CENTRAL_ARRAY:
        return json_is_array(v);
    case CENTRAL_OBJECT:
        return json_is_object(v);
    }
    return false;
}

bool central_check(struct central_call *call, const json_t *obj, const char *prefix,
                   const struct central_field *fields, size_t count)
{
    static const char *const words[] = {
        [CENTRAL_TEXT] = "a text",      [CENTRAL_BOOL] = "true or false",
        [CENTRAL_NUMBER] = "a number",  [CENTRAL_ARRAY] = "an array",
        [CENTRAL_OBJECT] = "an object",
    };
    for (size_t i = 0; i < count; i++) {
        const json_t *v = central_get(obj, fields[i].key);
        if (v != NULL && !has_kind(v, fields[i].kind)) {
            central_error(call, 400, "%s%s must be %s", prefix, fields[i].key,
                          words[fields[i].kind]);
            return false;
        }
    }
    return true;
}

/* Parse the body of a request that writes. Returns false after having answered. */
static bool parse_body(struct central_call *call, const struct central_request *request)
{
    json_error_t error;
    const char *text = request->body != NULL ? request->body : "";
    call->body = json_loadb(text, request->body_len, JSON_DECODE_ANY, &error);
    if (call->body == NULL) {
        central_error(call, 400, "the body is not JSON: %s (line %d, column %d)", error.text,
                      error.line, error.column);
    } else if (!json_is_object(call->body)) {
        central_error(call, 400, "the body must be a JSON object");
    } else {
        return true;
    }
    return false;
}

/* ---- routing ---- */

/* What stands behind "/api" or "/api/v1", NULL if neither is there. */
static const char *behind_base(const char *path)
{
    static const char *const bases[] = {"/api/v1", "/api"};
    for (size_t i = 0; i < COUNT_OF(bases); i++) {
        size_t len = strlen(bases[i]);
        if (strncmp(path, bases[i], len) == 0 && (path[len] == '/' || path[len] == '\0')) {
            return path + len;
        }
    }
    return NULL;
}

bool central_owns(const char *path)
{
    return behind_base(path) != NULL;
}

/* Cut the path into words; one slash at the end is allowed. Returns false if it cannot match. */
static bool split(struct central_call *call, const char *path)
{
    size_t len = strlen(path);
    if (len >= sizeof(call->path)) {
        return false;
    }
    memcpy(call->path, path, len + 1);
    if (len > 0 && call->path[len - 1] == '/') {
        call->path[len - 1] = '\0';
    }
    for (char *p = call->path; *p == '/';) {
        *p++ = '\0';
        if (call->segment_count == CENTRAL_SEGMENTS_MAX) {
            return false;
        }
        call->segments[call->segment_count++] = p;
        p += strcspn(p, "/");
    }
    return call->segment_count > 0;
}

static bool word_is(const struct central_call *call, size_t i, const char *word)
{
    return i < call->segment_count && strcmp(call->segments[i], word) == 0;
}

static bool hex_word(const struct central_call *call, size_t i, unsigned digits, uint64_t *ret)
{
    const char *text = call->segments[i];
    return strlen(text) == digits && hex_to_u64(text, digits, digits, ret) == 0;
}

static void not_found(struct central_call *call)
{
    central_error(call, 404, "not found");
}

/* GET /status */
static void get_status(struct central_call *call)
{
    json_t *methods = json_pack("{sbsbsbsbsbsbsb}", "local", 1, "google", 0, "twitter", 0,
                                "facebook", 0, "github", 0, "saml", 0, "oidc", 0);
    central_answer(call, json_pack("{sssssIsssssIsosbso}", "id", "central_status", "type",
                                   "CentralStatus", "clock", (json_int_t)central_wall(call),
                                   "version", call->version, "apiVersion", "4", "uptime",
                                   (json_int_t)(call->now_ms - call->started_ms), "user",
                                   central_user_json(call, call->caller.user), "readOnlyMode", 0,
                                   "loginMethods", methods));
}

static void route_network(struct central_call *call)
{
    size_t n = call->segment_count;
    uint64_t nwid;
    uint64_t node;
    if (n == 1 && call->read) {
        central_network_list(call);
    } else if (n == 1 && call->write) {
        central_network_create(call);
    } else if (n == 1 || !hex_word(call, 1, 16, &nwid)) {
        not_found(call);
    } else if (n == 2) {
        central_network(call, nwid);
    } else if (!word_is(call, 2, "member") || (n == 3 && !call->read) ||
               (n == 4 && !hex_word(call, 3, 10, &node))) {
        not_found(call);
    } else {
        struct cnetwork *net = central_network_with(call, nwid, ACCESS_READ);
        if (net != NULL && n == 3) {
            central_member_list(call, net);
        } else if (net != NULL) {
            central_member(call, net, node);
        }
    }
}

static void route_user(struct central_call *call)
{
    size_t n = call->segment_count;
    uint64_t id;
    if (n == 1) {
        central_users(call);
    } else if (!central_parse_user_id(call->segments[1], &id)) {
        not_found(call);
    } else if (n == 2) {
        central_user(call, id);
    } else if (!word_is(call, 2, "token")) {
        not_found(call);
    } else if (n == 3) {
        central_tokens(call, id);
    } else {
        central_token(call, id, call->segments[3]);
    }
}

static void route_org(struct central_call *call)
{
    size_t n = call->segment_count;
    if (!call->read || (n > 1 && !central_is_org(call, call->segments[1]))) {
        not_found(call);
    } else if (n <= 2) {
        central_org(call);
    } else if (n == 3 && word_is(call, 2, "user")) {
        central_org_users(call);
    } else {
        not_found(call);
    }
}

static void route(struct central_call *call)
{
    size_t n = call->segment_count;
    uint64_t id;
    if (word_is(call, 0, "network")) {
        route_network(call);
    } else if (word_is(call, 0, "user")) {
        route_user(call);
    } else if (word_is(call, 0, "org")) {
        route_org(call);
    } else if (word_is(call, 0, "org-invitation") && n == 1) {
        central_invitations(call);
    } else if (word_is(call, 0, "org-invitation") && n == 2 &&
               central_parse_user_id(call->segments[1], &id)) {
        central_invitation(call, id);
    } else if (word_is(call, 0, "status") && n == 1 && call->read) {
        get_status(call);
    } else if (word_is(call, 0, "randomToken") && n == 1 && call->read) {
        central_random_token(call);
    } else {
        not_found(call);
    }
}

/* Bodies are wanted by all requests that write but those to accept an invitation. */
static bool needs_body(const struct central_call *call)
{
    return call->write && !(word_is(call, 0, "org-invitation") && call->segment_count == 2);
}

void central_api(struct controller *c, const struct central_request *request, int64_t now_ms,
                 controller_api_done done, void *ctx)
{
    static const char no_memory[] = "{\"message\":\"out of memory\",\"type\":\"internal\"}";
    const char *method = request->method;
    const char *path = behind_base(request->path);
    struct central_call *call = calloc(1, sizeof(*call));
    if (call == NULL) {
        done(ctx, 500, no_memory, sizeof(no_memory) - 1);
        return;
    }
    *call = (struct central_call){
        .c = c,
        .done = done,
        .ctx = ctx,
        .caller = request->caller,
        .actor = {.kind = request->kind, .source = request->source},
        .version = request->version,
        .started_ms = request->started_ms,
        .now_ms = now_ms,
        .read = strcmp(method, "GET") == 0 || strcmp(method, "HEAD") == 0,
        .write = strcmp(method, "POST") == 0 || strcmp(method, "PUT") == 0,
        .remove = strcmp(method, "DELETE") == 0,
    };
    c->now_ms = now_ms;
    if (!controller_serves(c)) {
        central_error(call, 503, "the controller is not ready");
    } else if (request->body_len > CONTROLLER_API_BODY_MAX) {
        central_error(call, 413, "the body is too long");
    } else if (path == NULL || !split(call, path)) {
        not_found(call);
    } else if (!needs_body(call) || parse_body(call, request)) {
        route(call);
    }
}
