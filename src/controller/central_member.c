/* Members in the Central API. Source: spec 04 section 6.4; CTL-97, CTL-102. */
#include "base/hex.h"
#include "controller/central_priv.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const struct central_field root_fields[] = {
    {"hidden", CENTRAL_BOOL},
    {"name", CENTRAL_TEXT},
    {"description", CENTRAL_TEXT},
};

static const struct central_field config_fields[] = {
    {"activeBridge", CENTRAL_BOOL},    {"authorized", CENTRAL_BOOL},
    {"capabilities", CENTRAL_ARRAY},   {"ipAssignments", CENTRAL_ARRAY},
    {"noAutoAssignIps", CENTRAL_BOOL}, {"ssoExempt", CENTRAL_BOOL},
    {"tags", CENTRAL_ARRAY},
};

/* What the configuration of a member shows of its document. */
static const char *const shown[] = {
    "activeBridge",
    "authorized",
    "capabilities",
    "creationTime",
    "address",
    "nwid",
    "identity",
    "ipAssignments",
    "lastAuthorizedTime",
    "lastDeauthorizedTime",
    "noAutoAssignIps",
    "remoteTraceLevel",
    "remoteTraceTarget",
    "revision",
    "ssoExempt",
    "tags",
    "vMajor",
    "vMinor",
    "vRev",
    "vProto",
};

static const char *text_of(const json_t *doc, const char *key)
{
    const char *text = json_string_value(json_object_get(doc, key));
    return text != NULL ? text : "";
}

static json_t *config_json(const json_t *doc)
{
    json_t *out = json_object();
    for (size_t i = 0; i < COUNT_OF(shown); i++) {
        json_t *value = json_object_get(doc, shown[i]);
        json_object_set(out, shown[i], value != NULL ? value : json_null());
    }
    json_object_set(out, "id", json_object_get(doc, "id"));
    return out;
}

/* "1.14.1", null if it never said. */
static json_t *version_json(const struct cmember *m)
{
    return m->version[0] < 0
               ? json_null()
               : json_sprintf("%d.%d.%d", m->version[0], m->version[1], m->version[2]);
}

static json_t *address_json(const struct cmember *m)
{
    char ip[INETADDR_TEXT_LEN];
    inetaddr_print_ip(&m->from, ip);
    return m->from.family != INETADDR_NIL ? json_string(ip) : json_null();
}

static json_t *member_json(const struct central_call *call, const struct cmember *m)
{
    char node[11];
    char nwid[17];
    char controller[11];
    json_t *doc = member_to_json(m);
    hex_from_u64(m->address, 10, node);
    hex_from_u64(m->net->nwid, 16, nwid);
    hex_from_u64(m->net->nwid >> 24, 10, controller);
    bool hidden = json_is_true(json_object_get(doc, "hidden"));
    bool rules = m->has_meta;
    json_t *out = json_pack(
        "{sosssIsssssssbsssssIsIsbsosbsoso}", "id", json_sprintf("%s-%s", nwid, node), "type",
        "Member", "clock", (json_int_t)central_wall(call), "networkId", nwid, "nodeId", node,
        "controllerId", controller, "hidden", (int)hidden, "name", text_of(doc, "name"),
        "description", text_of(doc, "description"), "lastSeen", (json_int_t)m->seen_ms,
        "lastOnline", (json_int_t)m->seen_ms, "online", (int)member_is_online(m, call->now_ms),
        "physicalAddress", address_json(m), "supportsRulesEngine", (int)rules, "clientVersion",
        version_json(m), "config", config_json(doc));
    if (out != NULL) {
        int protocol = m->version[3] < 0 ? 0 : m->version[3];
        json_object_set_new(out, "protocolVersion", json_integer(protocol));
    }
    json_decref(doc);
    return out;
}

static int compare_members(const void *a, const void *b)
{
    uint64_t x = (*(const struct cmember *const *)a)->address;
    uint64_t y = (*(const struct cmember *const *)b)->address;
    return x < y ? -1 : x > y;
}

void central_member_list(struct central_call *call, const struct cnetwork *net)
{
    const struct cmember **list = calloc(net->members.count + 1, sizeof(void *));
    json_t *array = list != NULL ? json_array() : NULL;
    size_t n = 0;
    struct hmap_node *it = NULL;
    while (array != NULL && (it = hmap_each(&net->members, it)) != NULL) {
        list[n++] = CONTAINER_OF(it, struct cmember, node);
    }
    if (n > 0) {
        qsort(list, n, sizeof(void *), compare_members);
    }
    for (size_t i = 0; i < n; i++) {
        json_array_append_new(array, member_json(call, list[i]));
    }
    free(list);
    central_answer(call, array);
}

static void answer_member(struct central_call *call)
{
    const struct cnetwork *net = model_find(&call->c->model, call->nwid);
    const struct cmember *m = net != NULL ? network_member(net, call->node) : NULL;
    if (m == NULL) {
        central_error(call, 404, "no such member");
    } else {
        central_answer(call, member_json(call, m));
    }
}

static void after_post(struct central_call *call, const json_t *obj)
{
    (void)obj;
    answer_member(call);
}

static void after_delete(struct central_call *call, const json_t *obj)
{
    (void)obj;
    central_empty(call);
}

/* Check the elements of the lists: tags are pairs of an ID and a value, which may be true or false;
 * capabilities are IDs. Returns false after having answered. */
static bool check_lists(struct central_call *call, const json_t *config)
{
    const json_t *tags = central_get(config, "tags");
    const json_t *caps = central_get(config, "capabilities");
    for (size_t i = 0; i < json_array_size(tags); i++) {
        const json_t *pair = json_array_get(tags, i);
        const json_t *value = json_array_get(pair, 1);
        if (json_array_size(pair) != 2 || !json_is_integer(json_array_get(pair, 0)) ||
            !(json_is_integer(value) || json_is_boolean(value))) {
            central_error(call, 400, "config.tags: element %zu is no pair of an ID and a value", i);
            return false;
        }
    }
    for (size_t i = 0; i < json_array_size(caps); i++) {
        if (!json_is_integer(json_array_get(caps, i))) {
            central_error(call, 400, "config.capabilities: element %zu is no ID", i);
            return false;
        }
    }
    return true;
}

/* The body for the controller, without what is so already: a new reference, NULL after having
 * answered. */
static json_t *flat_body(struct central_call *call, const struct cmember *m)
{
    static const struct central_field config_field = {"config", CENTRAL_OBJECT};
    json_t *config = json_object_get(call->body, "config");
    if (!central_check(call, call->body, "", root_fields, COUNT_OF(root_fields)) ||
        !central_check(call, call->body, "", &config_field, 1) ||
        !central_check(call, config, "config.", config_fields, COUNT_OF(config_fields)) ||
        !check_lists(call, config)) {
        return NULL;
    }
    json_t *doc = m != NULL ? member_to_json(m) : NULL;
    json_t *flat = json_object();
    for (size_t i = 0; i < COUNT_OF(root_fields) + COUNT_OF(config_fields); i++) {
        bool root = i < COUNT_OF(root_fields);
        const char *key = root ? root_fields[i].key : config_fields[i - COUNT_OF(root_fields)].key;
        json_t *value = central_get(root ? call->body : config, key);
        const json_t *now = json_object_get(doc, key);
        bool is_default =
            json_is_false(value) || (json_is_string(value) && json_string_length(value) == 0);
        bool same = value == NULL || json_equal(value, now) || (now == NULL && is_default);
        if (!same) {
            json_object_set(flat, key, value);
        }
    }
    json_decref(doc);
    return flat;
}

static void post_member(struct central_call *call, const struct cnetwork *net, struct cmember *m,
                        const char *path)
{
    json_t *flat = flat_body(call, m);
    if (flat == NULL) {
        return;
    }
    if (!access_member_edit(access_network(call->c, &call->caller, net), m, flat)) {
        json_decref(flat);
        central_error(call, 403, "not permitted for this network");
    } else {
        central_ask(call, "POST", path, flat, after_post);
    }
}

void central_member(struct central_call *call, struct cnetwork *net, uint64_t address)
{
    char path[80];
    struct cmember *m = network_member(net, address);
    uint8_t access = access_network(call->c, &call->caller, net);
    (void)snprintf(path, sizeof(path), "/controller/network/%016llx/member/%010llx",
                   (unsigned long long)net->nwid, (unsigned long long)address);
    call->node = address;
    if (call->write) {
        post_member(call, net, m, path);
    } else if (m == NULL || !(call->read || call->remove)) {
        central_error(call, 404, "no such member");
    } else if (call->read) {
        answer_member(call);
    } else if ((access & ACCESS_AUTHORIZE) == 0) {
        central_error(call, 403, "not permitted for this network");
    } else {
        central_ask(call, "DELETE", path, NULL, after_delete);
    }
}
