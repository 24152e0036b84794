/* Networks and join tokens in the JSON API. Source: spec 04 sections 2.2, 2.4. */
#include "base/cursor.h"
#include "base/hex.h"
#include "controller/access.h"
#include "controller/api_priv.h"
#include "controller/join_defaults.h"
#include "wire/mac.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum {
    NETWORK_ID_TRIES = 100000,
    SUBNET_TRIES = 4096,
    TOKEN_LEN = 20,      /* of a random token: 100 bits */
    TOKEN_LEN_MAX = 200, /* fits the meta-data of a request with "token:" */
    LIST_LIMIT_MAX = 1000,
};

static int compare_u64(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a;
    uint64_t y = *(const uint64_t *)b;
    return x < y ? -1 : x > y;
}

/* Networks the caller may read by ID in ascending order, malloc'd; *ret_count of them. NULL out of
 * memory. */
static uint64_t *sorted_ids(const struct call *call, size_t *ret_count)
{
    const struct controller *c = call->c;
    uint64_t *ids = calloc(c->model.networks.count + 1, sizeof(*ids));
    size_t n = 0;
    struct hmap_node *it = NULL;
    while (ids != NULL && (it = hmap_each(&c->model.networks, it)) != NULL) {
        const struct cnetwork *net = CONTAINER_OF(it, struct cnetwork, node);
        if (call->reader == NULL || (access_network(c, call->reader, net) & ACCESS_READ) != 0) {
            ids[n++] = it->key;
        }
    }
    if (ids != NULL) {
        qsort(ids, n, sizeof(*ids), compare_u64);
    }
    *ret_count = n;
    return ids;
}

void api_network_list(struct call *call)
{
    size_t n = 0;
    uint64_t *ids = sorted_ids(call, &n);
    json_t *array = ids != NULL ? json_array() : NULL;
    for (size_t i = 0; i < n && array != NULL; i++) {
        char text[17];
        hex_from_u64(ids[i], 16, text);
        json_array_append_new(array, json_string(text));
    }
    free(ids);
    api_answer(call, 200, array);
}

/* True if a list asks for this network: q is part of ID, name or a route, filter one of private
 * and public; "" all. */
static bool is_wanted(const struct cnetwork *net, const char *q, const char *filter)
{
    const bool other = strcmp(filter, net->plan.is_private ? "public" : "private") == 0;
    const char *name = json_string_value(json_object_get(net->doc, "name"));
    char text[INETADDR_TEXT_LEN];
    hex_from_u64(net->nwid, 16, text);
    bool found = q[0] == '\0' || strcasestr(text, q) != NULL ||
                 (name != NULL && strcasestr(name, q) != NULL);
    for (size_t i = 0; !found && i < net->plan.route_count; i++) {
        inetaddr_print(&net->plan.routes[i].target, text);
        found = strstr(text, q) != NULL;
    }
    return found && !other;
}

void api_network_list_full(struct call *call)
{
    char q[64] = "";
    char filter[16] = "";
    (void)api_query(call, "q", q, sizeof(q));
    (void)api_query(call, "filter", filter, sizeof(filter));
    size_t n = 0;
    char text[32];
    uint64_t cursor = 0;
    uint64_t *ids = sorted_ids(call, &n);
    bool has_cursor = api_query(call, "cursor", text, sizeof(text)) &&
                      hex_to_u64(text, strlen(text), 16, &cursor) == 0;
    size_t limit = SIZE_MAX;
    if (api_query(call, "limit", text, sizeof(text))) {
        limit = strtoul(text, NULL, 10);
        limit = limit < 1 ? 1 : (limit > LIST_LIMIT_MAX ? LIST_LIMIT_MAX : limit);
    }
    json_t *data = json_array();
    json_t *next = NULL;
    for (size_t i = 0; ids != NULL && i < n; i++) {
        const struct cnetwork *net = model_find(&call->c->model, ids[i]);
        if ((has_cursor && ids[i] <= cursor) || !is_wanted(net, q, filter)) {
            continue;
        }
        if (json_array_size(data) == limit) {
            const json_t *last = json_array_get(data, limit - 1);
            next = json_incref(json_object_get(last, "id"));
            break;
        }
        json_t *obj = json_copy(net->doc);
        json_t *meta = json_pack("{sIsI}", "totalMemberCount", (json_int_t)net->members.count,
                                 "authorizedMemberCount", (json_int_t)net->authorized);
        json_object_set_new(obj, "meta", meta);
        json_array_append_new(data, obj);
    }
    free(ids);
    api_answer(call, 200,
               json_pack("{sos{sIso*}}", "data", data, "meta", "networkCount", (json_int_t)n,
                         "nextCursor", next));
}

/* ---- create, read, update ---- */

/* A number that no network of ours has. Returns 0 if none was found. */
static uint64_t free_network_id(struct controller *c)
{
    for (int i = 0; i < NETWORK_ID_TRIES; i++) {
        uint8_t bytes[3];
        c->env.random(c->env.ctx, bytes, sizeof(bytes));
        uint32_t number = (uint32_t)bytes[0] << 16 | (uint32_t)bytes[1] << 8 | bytes[2];
        uint64_t nwid = network_id_make(c->identity.address, number == 0 ? 1 : number);
        if (model_find(&c->model, nwid) == NULL) {
            return nwid;
        }
    }
    return 0;
}

/* Make a changed document (taken) the network's and store it; answer it. */
static void put_network(struct call *call, struct cnetwork *net, uint64_t nwid, json_t *doc)
{
    struct controller *c = call->c;
    struct after after = {.push_network = true, .nwid = nwid};
    struct store_tx *tx = store_tx_new();
    char *text = doc_bump(doc) == 0 ? doc_text(doc) : NULL;
    json_t *answer = json_copy(doc);
    enum note_type type = net != NULL ? NOTE_NETWORK_CHANGED : NOTE_NETWORK_CREATED;
    json_t *before = net != NULL ? json_incref(net->doc) : NULL;
    int error = tx == NULL || text == NULL || answer == NULL ? -ENOMEM : 0;
    if (error == 0) {
        error = store_tx_put(tx, STORE_NETWORK, nwid, 0, text);
    } else {
        free(text);
    }
    if (error == 0) {
        error = net != NULL ? network_set_doc(net, json_incref(doc))
                            : network_new(&c->model, nwid, json_incref(doc), &net);
    }
    if (error == 0) {
        error = api_note(call, tx, type, nwid, 0, before, doc);
    }
    json_decref(before);
    json_decref(doc);
    if (error != 0) {
        store_tx_free(tx);
        json_decref(answer);
        api_error(call, 500, "out of memory");
        return;
    }
    c->counts.network_changes++;
    controller_event(c, CONTROLLER_NETWORK_CHANGED, nwid, 0);
    api_commit(call, tx, answer, &after);
}

/* Apply call->body to a network that may not exist yet. */
static void edit_network(struct call *call, uint64_t nwid)
{
    struct controller *c = call->c;
    struct cnetwork *net = model_find(&c->model, nwid);
    if (api_conflict(call, net != NULL ? net->plan.revision : 0)) {
        return;
    }
    json_t *doc = net != NULL ? json_deep_copy(net->doc) : json_object();
    if (doc == NULL || network_doc_complete(doc, nwid, controller_wall(c, call->now_ms)) != 0) {
        json_decref(doc);
        api_error(call, 500, "out of memory");
        return;
    }
    network_doc_edit(&call->edit, doc, call->body);
    if (api_refused(call)) {
        json_decref(doc);
    } else if (net != NULL && doc_equal(net->doc, doc)) {
        api_add_warnings(call, doc);
        api_answer(call, 200, doc);
    } else {
        put_network(call, net, nwid, doc);
    }
}

static void create(struct call *call)
{
    uint64_t nwid = free_network_id(call->c);
    if (nwid == 0) {
        api_empty(call, 503);
    } else {
        edit_network(call, nwid);
    }
}

void api_network_create(struct call *call)
{
    if (api_parse_body(call)) {
        create(call);
    }
}

static void delete_network(struct call *call, struct cnetwork *net)
{
    struct controller *c = call->c;
    struct after after = {.nwid = net->nwid};
    struct store_tx *tx = store_tx_new();
    int error = tx != NULL ? store_tx_put(tx, STORE_NETWORK, net->nwid, 0, NULL) : -ENOMEM;
    if (error == 0) {
        after.farewell = farewell_new(c, net, call->now_ms);
        error = api_note(call, tx, NOTE_NETWORK_DELETED, net->nwid, 0, net->doc, NULL);
    }
    if (error != 0) {
        farewell_free(after.farewell);
        store_tx_free(tx);
        api_error(call, 500, "out of memory");
        return;
    }
    json_t *doc = json_incref(net->doc);
    cnetwork_free(&c->model, net);
    c->counts.network_changes++;
    controller_event(c, CONTROLLER_NETWORK_DELETED, after.nwid, 0);
    api_commit(call, tx, doc, &after);
}

void api_network(struct call *call, uint64_t nwid)
{
    struct cnetwork *net = model_find(&call->c->model, nwid);
    if (call->write) {
        if (api_parse_body(call)) {
            edit_network(call, nwid);
        }
    } else if (net == NULL || !(call->read || call->remove)) {
        api_empty(call, 404);
    } else if (call->read) {
        api_answer(call, 200, json_incref(net->doc));
    } else if (!api_conflict(call, net->plan.revision)) {
        delete_network(call, net);
    }
}

/* ---- a network that works at once ---- */

static bool nets_overlap(const struct inetaddr *a, const struct inetaddr *b)
{
    return inetaddr_in_net(a, b) || inetaddr_in_net(b, a);
}

/* True if no network of ours and no prefix of the list touches it. */
static bool subnet_is_free(const struct controller *c, const json_t *avoid,
                           const struct inetaddr *net)
{
    for (size_t i = 0; i < json_array_size(avoid); i++) {
        const char *text = json_string_value(json_array_get(avoid, i));
        struct inetaddr other;
        if (text != NULL && inetaddr_parse(text, strlen(text), &other) == 0 &&
            nets_overlap(net, &other)) {
            return false;
        }
    }
    struct hmap_node *it = NULL;
    while ((it = hmap_each(&c->model.networks, it)) != NULL) {
        const struct plan *plan = &CONTAINER_OF(it, struct cnetwork, node)->plan;
        for (size_t i = 0; i < plan->route_count; i++) {
            const struct inetaddr *target = &plan->routes[i].target;
            if (target->port > 0 && nets_overlap(net, target)) {
                return false;
            }
        }
    }
    return true;
}

/* A /24 from the middle of 10.0.0.0/8, away from what home routers and clouds like to use. */
static bool pick_subnet(struct controller *c, const json_t *avoid, struct inetaddr *ret)
{
    for (int i = 0; i < SUBNET_TRIES; i++) {
        uint8_t bytes[2];
        c->env.random(c->env.ctx, bytes, sizeof(bytes));
        struct inetaddr net = {.family = INETADDR_V4, .port = 24};
        net.ip[0] = 10;
        net.ip[1] = (uint8_t)(64 + bytes[0] % 176); /* 64..239 */
        net.ip[2] = bytes[1];
        if (subnet_is_free(c, avoid, &net)) {
            *ret = net;
            return true;
        }
    }
    return false;
}

void api_network_default(struct call *call)
{
    if (!api_parse_body(call)) {
        return;
    }
    struct inetaddr net;
    if (!pick_subnet(call->c, json_object_get(call->body, "avoid"), &net)) {
        api_error(call, 503, "no free subnet was found");
        return;
    }
    char target[INETADDR_TEXT_LEN];
    char first[INETADDR_TEXT_LEN];
    char last[INETADDR_TEXT_LEN];
    inetaddr_print(&net, target);
    net.ip[3] = 1;
    inetaddr_print_ip(&net, first);
    net.ip[3] = 254;
    inetaddr_print_ip(&net, last);
    char buf[COERCE_TEXT_LEN];
    const char *name = coerce_text(json_object_get(call->body, "name"), buf, "");
    json_t *body = json_pack("{sssbs{sb}s[{ss}]s[{ssss}]}", "name", name, "private", 1,
                             "v4AssignMode", "zt", 1, "routes", "target", target,
                             "ipAssignmentPools", "ipRangeStart", first, "ipRangeEnd", last);
    if (body == NULL) {
        api_error(call, 500, "out of memory");
        return;
    }
    json_decref(call->body);
    call->body = body;
    create(call);
}

/* ---- join tokens ---- */

/* A token of a network's document. */
static json_t *token_json(uint64_t nwid, const json_t *doc, const char *token)
{
    char id[17];
    hex_from_u64(nwid, 16, id);
    const json_t *uses = json_object_get(doc, "authTokenUses");
    const json_t *expires = json_object_get(json_object_get(doc, "authTokens"), token);
    json_t *obj =
        json_pack("{sssIsIss}", "token", token, "expires", (json_int_t)coerce_u64(expires, 0),
                  "uses", (json_int_t)coerce_u64(json_object_get(uses, token), 0), "nwid", id);
    json_t *defaults = json_object_get(json_object_get(doc, JOIN_DEFAULTS), token);
    if (obj != NULL && defaults != NULL) {
        json_object_update(obj, defaults);
    }
    return obj;
}

static void random_token(struct controller *c, char out[TOKEN_LEN + 1])
{
    static const char letters[] = "abcdefghijkmnpqrstuvwxyz23456789";
    uint8_t bytes[TOKEN_LEN];
    c->env.random(c->env.ctx, bytes, sizeof(bytes));
    for (size_t i = 0; i < TOKEN_LEN; i++) {
        out[i] = letters[bytes[i] & 31];
    }
    out[TOKEN_LEN] = '\0';
}

static bool token_is_good(const char *token)
{
    size_t len = strlen(token);
    for (size_t i = 0; i < len; i++) {
        if (token[i] <= ' ' || token[i] > '~' || token[i] == '/') {
            return false;
        }
    }
    return len > 0 && len <= TOKEN_LEN_MAX;
}

/* Tokens that have expired go whenever a new one comes. Returns 0; -ENOMEM. */
static int prune_tokens(json_t *doc, int64_t wall_ms)
{
    json_t *tokens = json_object_get(doc, "authTokens");
    json_t *old = json_is_object(tokens) ? json_copy(tokens) : json_object();
    const char *key;
    json_t *value;
    int error = old != NULL ? 0 : -ENOMEM;
    json_object_foreach(old, key, value)
    {
        json_int_t expiry = (json_int_t)coerce_u64(value, 0);
        if (error == 0 && expiry != 0 && expiry <= wall_ms) {
            error = network_doc_token_remove(doc, key);
        }
    }
    json_decref(old);
    return error;
}

/* Store a changed document (taken) and answer obj (taken), the token, after it. */
static void put_tokens(struct call *call, struct cnetwork *net, json_t *doc, json_t *obj,
                       enum note_type type)
{
    struct controller *c = call->c;
    struct after after = {.nwid = net->nwid};
    struct store_tx *tx = store_tx_new();
    int error = tx != NULL && doc_bump(doc) == 0 ? network_set_doc(net, json_incref(doc)) : -ENOMEM;
    if (error == 0) {
        error = controller_put_network(tx, net);
    }
    if (error == 0) {
        bool gone = type == NOTE_INVITE_DELETED;
        error = api_note(call, tx, type, net->nwid, 0, gone ? obj : NULL, gone ? NULL : obj);
    }
    json_decref(doc);
    if (error != 0) {
        store_tx_free(tx);
        json_decref(obj);
        api_error(call, 500, "out of memory");
        return;
    }
    c->counts.network_changes++;
    api_commit(call, tx, obj, &after);
}

static void create_token(struct call *call, struct cnetwork *net)
{
    char fresh[TOKEN_LEN + 1];
    random_token(call->c, fresh);
    const char *token = fresh;
    const json_t *posted = json_object_get(call->body, "token");
    if (posted != NULL && !json_is_null(posted)) {
        token = json_is_string(posted) ? json_string_value(posted) : "";
    }
    uint64_t uses = coerce_u64(json_object_get(call->body, "uses"), 0);
    uint64_t expires = coerce_u64(json_object_get(call->body, "expires"), 0);
    int64_t wall = controller_wall(call->c, call->now_ms);
    if (!token_is_good(token) || uses > INT32_MAX || expires > INT64_MAX) {
        api_error(call, 400,
                  "token must be 1 to 200 printable characters without slash, uses and "
                  "expires must not be negative");
        return;
    }
    json_t *defaults = join_defaults_read(&call->edit, call->body);
    if (api_refused(call)) {
        json_decref(defaults);
        return;
    }
    json_t *doc = json_deep_copy(net->doc);
    if (doc == NULL || prune_tokens(doc, wall) != 0) {
        json_decref(doc);
        json_decref(defaults);
        api_error(call, 500, "out of memory");
        return;
    }
    if (network_doc_token_set(doc, token, (int64_t)expires, uses, defaults) != 0) {
        json_decref(doc);
        api_error(call, 500, "out of memory");
        return;
    }
    json_t *obj = token_json(net->nwid, doc, token);
    put_tokens(call, net, doc, obj, NOTE_INVITE_CREATED);
}

void api_invite_tokens(struct call *call, struct cnetwork *net)
{
    if (call->write) {
        if (api_parse_body(call)) {
            create_token(call, net);
        }
        return;
    }
    json_t *data = json_array();
    const char *key;
    json_t *value;
    json_object_foreach(json_object_get(net->doc, "authTokens"), key, value)
    {
        json_array_append_new(data, token_json(net->nwid, net->doc, key));
    }
    api_answer(call, 200, json_pack("{so}", "data", data));
}

void api_invite_token(struct call *call, struct cnetwork *net, const char *token)
{
    json_t *doc = json_deep_copy(net->doc);
    json_t *obj = token_json(net->nwid, net->doc, token);
    int error = doc != NULL && obj != NULL ? network_doc_token_remove(doc, token) : -ENOMEM;
    if (error != 0) {
        json_decref(doc);
        json_decref(obj);
        if (error == -ENOENT) {
            api_empty(call, 404);
        } else {
            api_error(call, 500, "out of memory");
        }
        return;
    }
    put_tokens(call, net, doc, obj, NOTE_INVITE_DELETED);
}
