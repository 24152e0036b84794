/* Networks in the Central API. Source: spec 04 section 6.4; CTL-96 to CTL-98. */
#include "base/hex.h"
#include "controller/central_priv.h"
#include "rules/rdl.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const struct central_field root_fields[] = {
    {"description", CENTRAL_TEXT},
    {"rulesSource", CENTRAL_TEXT},
    {"permissions", CENTRAL_OBJECT},
    {"ownerId", CENTRAL_TEXT},
    {"capabilitiesByName", CENTRAL_OBJECT},
    {"tagsByName", CENTRAL_OBJECT},
    {"config", CENTRAL_OBJECT},
};

/* Those that are the controller's own under the same name; v4AssignMode and so on are merged. */
static const struct central_field config_fields[] = {
    {"name", CENTRAL_TEXT},
    {"private", CENTRAL_BOOL},
    {"enableBroadcast", CENTRAL_BOOL},
    {"multicastLimit", CENTRAL_NUMBER},
    {"mtu", CENTRAL_NUMBER},
    {"ipAssignmentPools", CENTRAL_ARRAY},
    {"routes", CENTRAL_ARRAY},
    {"rules", CENTRAL_ARRAY},
    {"capabilities", CENTRAL_ARRAY},
    {"tags", CENTRAL_ARRAY},
};

static const struct central_field v4_fields[] = {{"zt", CENTRAL_BOOL}};
static const struct central_field v6_fields[] = {
    {"zt", CENTRAL_BOOL}, {"rfc4193", CENTRAL_BOOL}, {"6plane", CENTRAL_BOOL}};
static const struct central_field dns_fields[] = {{"domain", CENTRAL_TEXT},
                                                  {"servers", CENTRAL_ARRAY}};
/* Where tokens come from is the organization's at the hosted service, the network's here. */
static const struct central_field sso_fields[] = {
    {"mode", CENTRAL_TEXT},    {"clientId", CENTRAL_TEXT}, {"allowList", CENTRAL_ARRAY},
    {"issuer", CENTRAL_TEXT},  {"provider", CENTRAL_TEXT}, {"authorizationEndpoint", CENTRAL_TEXT},
    {"enabled", CENTRAL_BOOL},
};

/* Objects that are merged key by key. */
static const struct {
    const char *key;
    const struct central_field *fields;
    size_t count;
} merged[] = {
    {"v4AssignMode", v4_fields, COUNT_OF(v4_fields)},
    {"v6AssignMode", v6_fields, COUNT_OF(v6_fields)},
    {"dns", dns_fields, COUNT_OF(dns_fields)},
};

/* ---- what is shown ---- */

static const char *text_of(const json_t *doc, const char *key)
{
    const char *text = json_string_value(json_object_get(doc, key));
    return text != NULL ? text : "";
}

static bool is_blank(const char *text)
{
    return text[strspn(text, " \t\r\n")] == '\0';
}

/* The script of a network, malloc'd: as it was posted, else one that says what its rules say. */
static char *source_of(const json_t *doc)
{
    const char *text = text_of(doc, "rulesSource");
    size_t lost = 0;
    return is_blank(text) ? rdl_decompile(doc, &lost) : strdup(text);
}

static json_t *object_or_empty(const json_t *doc, const char *key)
{
    json_t *v = json_object_get(doc, key);
    return json_is_object(v) ? json_incref(v) : json_object();
}

/* Always all three keys, whatever was stored. */
static json_t *v6_json(const json_t *doc)
{
    const json_t *v = json_object_get(doc, "v6AssignMode");
    json_t *out = json_object();
    for (size_t i = 0; i < COUNT_OF(v6_fields); i++) {
        bool on = json_is_true(json_object_get(v, v6_fields[i].key));
        json_object_set_new(out, v6_fields[i].key, json_boolean(on));
    }
    return out;
}

static json_t *dns_json(const json_t *doc)
{
    const json_t *v = json_object_get(doc, "dns");
    json_t *servers = json_object_get(v, "servers");
    servers = json_is_array(servers) ? json_incref(servers) : json_array();
    return json_pack("{ssso}", "domain", text_of(v, "domain"), "servers", servers);
}

static json_t *sso_json(const json_t *doc)
{
    const json_t *sso = json_object_get(doc, "ssoConfig");
    json_t *list = json_object_get(sso, "allowList");
    list = json_is_array(list) ? json_incref(list) : json_array();
    const char *mode = text_of(sso, "mode");
    return json_pack(
        "{sbssssssssssso}", "enabled", (int)json_is_true(json_object_get(doc, "ssoEnabled")),
        "mode", mode[0] != '\0' ? mode : "default", "clientId", text_of(sso, "clientId"), "issuer",
        text_of(sso, "issuer"), "provider", text_of(sso, "provider"), "authorizationEndpoint",
        text_of(sso, "authorizationEndpoint"), "allowList", list);
}

static json_t *config_json(const struct cnetwork *net)
{
    const json_t *doc = net->doc;
    json_t *out = json_object();
    for (size_t i = 0; i < COUNT_OF(config_fields); i++) {
        json_object_set(out, config_fields[i].key, json_object_get(doc, config_fields[i].key));
    }
    json_t *created = json_object_get(doc, "creationTime");
    json_object_set(out, "id", json_object_get(doc, "id"));
    json_object_set(out, "creationTime", created);
    json_object_set(out, "lastModified", created); /* of changes there is the log */
    json_object_set_new(out, "v4AssignMode", json_pack("{sb}", "zt", (int)net->plan.v4_zt));
    json_object_set_new(out, "v6AssignMode", v6_json(doc));
    json_object_set_new(out, "dns", dns_json(doc));
    json_object_set_new(out, "ssoConfig", sso_json(doc));
    return out;
}

/* Who owns a network. */
static uint64_t owner_of(const struct cnetwork *net)
{
    for (size_t i = 0; i < net->grant_count; i++) {
        if (net->grants[i].owner) {
            return net->grants[i].user;
        }
    }
    return ACCOUNTS_ADMIN;
}

static json_t *permissions_json(const struct cnetwork *net)
{
    char id[CENTRAL_ID_LEN];
    json_t *out = json_object();
    for (size_t i = 0; i < net->grant_count; i++) {
        central_user_id(net->grants[i].user, id);
        json_object_set_new(out, id,
                            access_json(net->grants[i].owner ? ACCESS_ALL : net->grants[i].access));
    }
    central_user_id(owner_of(net), id);
    json_object_set_new(out, id, access_json(ACCESS_ALL));
    return out;
}

static size_t count_online(const struct cnetwork *net, int64_t now_ms)
{
    size_t n = 0;
    struct hmap_node *it = NULL;
    while ((it = hmap_each(&net->members, it)) != NULL) {
        n += member_is_online(CONTAINER_OF(it, struct cmember, node), now_ms) ? 1 : 0;
    }
    return n;
}

static json_t *network_json(const struct central_call *call, const struct cnetwork *net)
{
    char owner[CENTRAL_ID_LEN];
    central_user_id(owner_of(net), owner);
    char *source = source_of(net->doc);
    json_t *out =
        json_pack("{sOsssIsossss?sosssIsIsIsoso}", "id", json_object_get(net->doc, "id"), "type",
                  "Network", "clock", (json_int_t)central_wall(call), "config", config_json(net),
                  "description", text_of(net->doc, "description"), "rulesSource", source,
                  "permissions", permissions_json(net), "ownerId", owner, "onlineMemberCount",
                  (json_int_t)count_online(net, call->now_ms), "authorizedMemberCount",
                  (json_int_t)net->authorized, "totalMemberCount", (json_int_t)net->members.count,
                  "capabilitiesByName", object_or_empty(net->doc, "capabilitiesByName"),
                  "tagsByName", object_or_empty(net->doc, "tagsByName"));
    free(source);
    return out;
}

static int compare_ids(const void *a, const void *b)
{
    uint64_t x = (*(const struct cnetwork *const *)a)->nwid;
    uint64_t y = (*(const struct cnetwork *const *)b)->nwid;
    return x < y ? -1 : x > y;
}

void central_network_list(struct central_call *call)
{
    const struct controller *c = call->c;
    const struct cnetwork **list = calloc(c->model.networks.count + 1, sizeof(void *));
    json_t *array = list != NULL ? json_array() : NULL;
    size_t n = 0;
    struct hmap_node *it = NULL;
    while (array != NULL && (it = hmap_each(&c->model.networks, it)) != NULL) {
        const struct cnetwork *net = CONTAINER_OF(it, struct cnetwork, node);
        if ((access_network(c, &call->caller, net) & ACCESS_READ) != 0) {
            list[n++] = net;
        }
    }
    if (n > 0) {
        qsort(list, n, sizeof(void *), compare_ids);
    }
    for (size_t i = 0; i < n; i++) {
        json_array_append_new(array, network_json(call, list[i]));
    }
    free(list);
    central_answer(call, array);
}

struct cnetwork *central_network_with(struct central_call *call, uint64_t nwid, uint8_t access)
{
    struct cnetwork *net = model_find(&call->c->model, nwid);
    uint8_t has = net != NULL ? access_network(call->c, &call->caller, net) : 0;
    call->nwid = nwid;
    if ((has & ACCESS_READ) == 0) {
        central_error(call, 404, "no such network");
        return NULL;
    }
    if ((has & access) != access) {
        central_error(call, 403, "not permitted for this network");
        return NULL;
    }
    return net;
}

/* ---- permissions that are posted ---- */

/* The place of a user among the grants to come; a new one if need be. NULL: too many. */
static struct grant *wanted_grant(struct central_call *call, size_t room, uint64_t user)
{
    for (size_t i = 0; i < call->grant_count; i++) {
        if (call->grants[i].user == user) {
            return &call->grants[i];
        }
    }
    if (call->grant_count == room) {
        return NULL;
    }
    call->grants[call->grant_count] = (struct grant){.user = user};
    return &call->grants[call->grant_count++];
}

static bool user_exists(const struct central_call *call, uint64_t id)
{
    const struct person *p = accounts_person(&call->c->model.accounts, id);
    return id == ACCOUNTS_ADMIN || (p != NULL && p->state == PERSON_ACTIVE);
}

/* Read "permissions". Returns false after having answered. */
static bool read_permissions(struct central_call *call, const json_t *permissions, size_t room)
{
    const char *key;
    json_t *value;
    json_object_foreach((json_t *)permissions, key, value)
    {
        uint64_t user;
        if (!central_parse_user_id(key, &user) || !user_exists(call, user)) {
            central_error(call, 400, "permissions: there is no such user");
            return false;
        }
        if (!json_is_object(value) && !json_is_null(value)) {
            central_error(call, 400, "permissions: each must be an object of a, d, m and r");
            return false;
        }
        struct grant *g = user != ACCOUNTS_ADMIN ? wanted_grant(call, room, user) : NULL;
        if (g != NULL) {
            g->access = json_is_null(value) ? 0 : access_from_json(value, g->access);
        } else if (user != ACCOUNTS_ADMIN) {
            central_error(call, 400, "permissions: too many users");
            return false;
        }
    }
    return true;
}

/* Read "ownerId". Returns false after having answered. */
static bool read_owner(struct central_call *call, const char *text, size_t room)
{
    uint64_t user;
    if (!central_parse_user_id(text, &user) || !user_exists(call, user)) {
        central_error(call, 400, "ownerId: there is no such user");
        return false;
    }
    for (size_t i = 0; i < call->grant_count; i++) {
        call->grants[i].owner = false;
    }
    struct grant *g = user != ACCOUNTS_ADMIN ? wanted_grant(call, room, user) : NULL;
    if (g != NULL) {
        g->owner = true;
        g->access = ACCESS_ALL;
    }
    return g != NULL || user == ACCOUNTS_ADMIN;
}

static bool grants_differ(const struct central_call *call, const struct cnetwork *net)
{
    bool differ = false;
    for (size_t i = 0; i < call->grant_count; i++) {
        const struct grant *g = &call->grants[i];
        const struct grant *old = net != NULL ? network_grant(net, g->user) : NULL;
        differ |= old == NULL ? g->access != 0 || g->owner
                              : old->access != g->access || old->owner != g->owner;
    }
    return differ;
}

/* Work out the grants of the network as it shall be. Returns false after having answered. */
static bool read_grants(struct central_call *call, const struct cnetwork *net)
{
    const json_t *permissions = central_get(call->body, "permissions");
    const char *owner = json_string_value(json_object_get(call->body, "ownerId"));
    bool own = net == NULL && call->caller.user != ACCOUNTS_ADMIN;
    if (permissions == NULL && owner == NULL && !own) {
        return true;
    }
    size_t old = net != NULL ? net->grant_count : 0;
    size_t room = old + json_object_size(permissions) + 2;
    room = room < ACCOUNTS_GRANTS_MAX ? room : ACCOUNTS_GRANTS_MAX;
    call->grants = calloc(room + 1, sizeof(*call->grants));
    if (call->grants == NULL) {
        central_no_memory(call);
        return false;
    }
    call->grant_count = old;
    if (old > 0) {
        memcpy(call->grants, net->grants, old * sizeof(*call->grants));
    } else if (own) {
        call->grants[call->grant_count++] =
            (struct grant){.user = call->caller.user, .access = ACCESS_ALL, .owner = true};
    }
    if (!read_permissions(call, permissions, room) ||
        (owner != NULL && !read_owner(call, owner, room))) {
        return false;
    }
    call->has_grants = grants_differ(call, net);
    bool mine = net == NULL || access_is_admin(call->c, &call->caller) ||
                (owner_of(net) == call->caller.user &&
                 access_network(call->c, &call->caller, net) == ACCESS_ALL);
    if (call->has_grants && !mine) {
        central_error(call, 403, "only the owner changes who may do what");
        return false;
    }
    return true;
}

/* Give a network the grants that were worked out. Returns 0; negative errno. */
static int put_grants(struct central_call *call, struct cnetwork *net, struct store_tx *tx)
{
    struct actor actor = central_actor(call);
    int error = 0;
    for (size_t i = 0; i < call->grant_count && error == 0; i++) {
        const struct grant *g = &call->grants[i];
        const struct grant *old = network_grant(net, g->user);
        struct grant was = old != NULL ? *old : (struct grant){.user = g->user};
        bool gone = g->access == 0 && !g->owner;
        if (was.access == g->access && was.owner == g->owner) {
            continue;
        }
        if (gone) {
            network_drop_grant(net, g->user);
            error = store_tx_put(tx, STORE_GRANT, net->nwid, g->user, NULL);
        } else {
            error = network_set_grant(net, g);
            error = error == 0 ? access_put_grant(tx, net->nwid, g) : error;
        }
        if (error == 0) {
            error = access_note_grant(call->c, tx, net->nwid, &actor, old != NULL ? &was : NULL,
                                      gone ? NULL : g, call->now_ms);
        }
    }
    return error;
}

/* ---- what is posted ---- */

/* The network is as wanted: its permissions follow, then the answer. */
static void after_post(struct central_call *call, const json_t *obj)
{
    const char *id = json_string_value(json_object_get(obj, "id"));
    struct cnetwork *net = NULL;
    if (id != NULL && hex_to_u64(id, strlen(id), 16, &call->nwid) == 0) {
        net = model_find(&call->c->model, call->nwid);
    }
    if (net == NULL) { /* deleted meanwhile */
        central_error(call, 404, "no such network");
        return;
    }
    if (!call->has_grants || call->c->stopping) {
        central_answer(call, network_json(call, net));
        return;
    }
    struct store_tx *tx = store_tx_new();
    if (tx == NULL || put_grants(call, net, tx) != 0) {
        store_tx_free(tx);
        central_no_memory(call);
        return;
    }
    central_commit(call, tx, network_json(call, net));
}

/* Take a value over into the body for the controller, unless it says what is so already. */
static void take(json_t *flat, const json_t *doc, const char *key, json_t *value)
{
    const json_t *now = json_object_get(doc, key);
    bool is_empty = (json_is_string(value) && json_string_length(value) == 0) ||
                    (json_is_object(value) && json_object_size(value) == 0);
    if (value != NULL && !json_equal(value, now) && !(now == NULL && is_empty)) {
        json_object_set(flat, key, value);
    }
}

/* Merge the keys of an object that is there. Returns false after having answered. */
static bool take_merged(struct central_call *call, json_t *flat, const json_t *doc, size_t i)
{
    const json_t *config = json_object_get(call->body, "config");
    json_t *posted = central_get(config, merged[i].key);
    char prefix[40];
    (void)snprintf(prefix, sizeof(prefix), "config.%s.", merged[i].key);
    if (posted == NULL) {
        return true;
    }
    if (json_is_array(posted) && json_array_size(posted) == 0) {
        posted = merged[i].fields == dns_fields ? json_pack("{sss[]}", "domain", "", "servers")
                                                : json_object();
    } else {
        posted = json_incref(posted);
    }
    const struct central_field self = {merged[i].key, CENTRAL_OBJECT};
    json_t *now = object_or_empty(doc, merged[i].key);
    json_t *next = json_copy(now);
    bool good = json_is_object(posted)
                    ? central_check(call, posted, prefix, merged[i].fields, merged[i].count)
                    : central_check(call, config, "config.", &self, 1);
    for (size_t k = 0; good && k < merged[i].count; k++) {
        json_t *value = central_get(posted, merged[i].fields[k].key);
        if (value != NULL) {
            json_object_set(next, merged[i].fields[k].key, value);
        }
    }
    if (good && !json_equal(now, next)) {
        json_object_set(flat, merged[i].key, next);
    }
    json_decref(now);
    json_decref(next);
    json_decref(posted);
    return good;
}

/* Single sign-on: merged, but for the switch, which the controller has elsewhere. Returns false
 * after having answered. */
static bool take_sso(struct central_call *call, json_t *flat, const json_t *doc)
{
    const json_t *config = json_object_get(call->body, "config");
    const struct central_field self = {"ssoConfig", CENTRAL_OBJECT};
    const json_t *posted = central_get(config, "ssoConfig");
    if (!central_check(call, config, "config.", &self, 1) ||
        !central_check(call, posted, "config.ssoConfig.", sso_fields, COUNT_OF(sso_fields))) {
        return false;
    }
    json_t *shown = sso_json(doc);
    json_t *next = object_or_empty(doc, "ssoConfig");
    json_t *merge = json_copy(next);
    for (size_t i = 0; i < COUNT_OF(sso_fields) - 1; i++) {
        const char *key = sso_fields[i].key;
        json_t *value = central_get(posted, key);
        if (value != NULL && !json_equal(value, json_object_get(shown, key))) {
            json_object_set(merge, key, value);
        }
    }
    if (!json_equal(merge, next)) {
        json_object_set(flat, "ssoConfig", merge);
    }
    json_t *enabled = central_get(posted, "enabled");
    if (enabled != NULL && !json_equal(enabled, json_object_get(shown, "enabled"))) {
        json_object_set(flat, "ssoEnabled", enabled);
    }
    json_decref(shown);
    json_decref(next);
    json_decref(merge);
    return true;
}

/* A script, and what it means for rules beside it. A source that is shown and posted back together
 * with rules is no wish to compile it. */
static void take_rules(const struct central_call *call, json_t *flat, const json_t *doc)
{
    static const char *const compiled[] = {
        "rules", "capabilities", "tags", "capabilitiesByName", "tagsByName", NULL};
    json_t *source = central_get(call->body, "rulesSource");
    bool has_rules = central_get(json_object_get(call->body, "config"), "rules") != NULL;
    char *shown = source != NULL && has_rules ? source_of(doc) : NULL;
    bool repeated = shown != NULL && strcmp(shown, json_string_value(source)) == 0;
    free(shown);
    if (source != NULL && !repeated) {
        doc_remove(flat, compiled);
        json_object_set(flat, "rulesSource", source);
    } else if (json_object_get(flat, "rules") != NULL) {
        json_object_set_new(flat, "rulesSource", json_string("")); /* it says something else now */
    }
}

/* The body for the controller: a new reference, NULL after having answered. */
static json_t *flat_body(struct central_call *call, const json_t *doc)
{
    json_t *config = json_object_get(call->body, "config");
    if (!central_check(call, call->body, "", root_fields, COUNT_OF(root_fields)) ||
        !central_check(call, config, "config.", config_fields, COUNT_OF(config_fields))) {
        return NULL;
    }
    json_t *flat = json_object();
    take(flat, doc, "description", central_get(call->body, "description"));
    take(flat, doc, "capabilitiesByName", central_get(call->body, "capabilitiesByName"));
    take(flat, doc, "tagsByName", central_get(call->body, "tagsByName"));
    for (size_t i = 0; i < COUNT_OF(config_fields); i++) {
        take(flat, doc, config_fields[i].key, central_get(config, config_fields[i].key));
    }
    for (size_t i = 0; i < COUNT_OF(merged); i++) {
        if (!take_merged(call, flat, doc, i)) {
            json_decref(flat);
            return NULL;
        }
    }
    if (!take_sso(call, flat, doc)) {
        json_decref(flat);
        return NULL;
    }
    take_rules(call, flat, doc);
    return flat;
}

void central_network_create(struct central_call *call)
{
    if (!access_creates(call->c, &call->caller)) {
        central_error(call, 403, "not permitted to make networks");
        return;
    }
    json_t *flat = flat_body(call, NULL);
    if (flat == NULL) {
        return;
    }
    if (!read_grants(call, NULL)) {
        json_decref(flat);
        return;
    }
    central_ask(call, "POST", "/controller/network", flat, after_post);
}

static void after_delete(struct central_call *call, const json_t *obj)
{
    (void)obj;
    central_empty(call);
}

void central_network(struct central_call *call, uint64_t nwid)
{
    uint8_t needed = call->write    ? ACCESS_READ | ACCESS_MODIFY
                     : call->remove ? ACCESS_READ | ACCESS_DELETE
                                    : ACCESS_READ;
    struct cnetwork *net = central_network_with(call, nwid, needed);
    char path[48];
    (void)snprintf(path, sizeof(path), "/controller/network/%016llx", (unsigned long long)nwid);
    if (net == NULL) {
        return;
    }
    if (call->read) {
        central_answer(call, network_json(call, net));
    } else if (call->remove) {
        central_ask(call, "DELETE", path, NULL, after_delete);
    } else if (call->write) {
        json_t *flat = flat_body(call, net->doc);
        if (flat == NULL) {
            return;
        }
        if (!read_grants(call, net)) {
            json_decref(flat);
            return;
        }
        central_ask(call, "POST", path, flat, after_post);
    } else {
        central_error(call, 404, "not found");
    }
}
