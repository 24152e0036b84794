/* Documents of networks: defaults, posted fields, join tokens. */
#include "controller/network_doc.h"

#include "base/hex.h"
#include "controller/join_defaults.h"
#include "controller/model.h"
#include "controller/rules_json.h"
#include "controller/rules_source.h"
#include "controller/sso_priv.h"
#include "controller/warn.h"

#include <errno.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>

enum { NAMES_DEPTH_MAX = 8 }; /* of what stands beside rules by name, which is kept as it comes */

static const char *const volatile_keys[] = {"clock",
                                            "authorizedMemberCount",
                                            "activeMemberCount",
                                            "totalMemberCount",
                                            "lastModified",
                                            "warnings",
                                            NULL};

void doc_remove(json_t *doc, const char *const *keys)
{
    for (; *keys != NULL; keys++) {
        json_object_del(doc, *keys);
    }
}

bool doc_equal(const json_t *a, const json_t *b)
{
    if (json_object_size(a) != json_object_size(b)) {
        return false;
    }
    const char *key;
    json_t *value;
    json_object_foreach((json_t *)a, key, value)
    {
        if (strcmp(key, "revision") != 0 && !json_equal(value, json_object_get(b, key))) {
            return false;
        }
    }
    return true;
}

int doc_bump(json_t *doc)
{
    uint64_t revision = coerce_u64(json_object_get(doc, "revision"), 0);
    json_t *next = json_integer((json_int_t)revision + 1);
    return json_object_set_new(doc, "revision", next) == 0 ? 0 : -ENOMEM;
}

char *doc_text(const json_t *doc)
{
    return json_dumps(doc, JSON_COMPACT | JSON_SORT_KEYS | JSON_ENCODE_ANY);
}

/* Set a default (value is a new reference) where the key is missing. */
static int set_default(json_t *doc, const char *key, json_t *value)
{
    if (json_object_get(doc, key) != NULL) {
        json_decref(value);
        return 0;
    }
    return json_object_set_new(doc, key, value);
}

int network_doc_complete(json_t *doc, uint64_t nwid, int64_t wall_ms)
{
    char id[17];
    hex_from_u64(nwid, 16, id);
    int bad = 0;
    bad |= set_default(doc, "private", json_true());
    bad |= set_default(doc, "creationTime", json_integer(wall_ms));
    bad |= set_default(doc, "name", json_string(""));
    bad |= set_default(doc, "multicastLimit", json_integer(32));
    bad |= set_default(doc, "enableBroadcast", json_true());
    bad |= set_default(doc, "v4AssignMode", json_pack("{sb}", "zt", 0));
    bad |=
        set_default(doc, "v6AssignMode", json_pack("{sbsbsb}", "rfc4193", 0, "zt", 0, "6plane", 0));
    bad |= set_default(doc, "authTokens", json_pack("[n]"));
    bad |= set_default(doc, "capabilities", json_array());
    bad |= set_default(doc, "tags", json_array());
    bad |= set_default(doc, "routes", json_array());
    bad |= set_default(doc, "ipAssignmentPools", json_array());
    bad |= set_default(doc, "mtu", json_integer(NETCONF_MTU_DEFAULT));
    bad |= set_default(doc, "remoteTraceTarget", json_null());
    bad |= set_default(doc, "remoteTraceLevel", json_integer(0));
    bad |= set_default(doc, "rulesSource", json_string(""));
    bad |= set_default(doc, "dns", json_array());
    bad |= set_default(doc, "ssoEnabled", json_false());
    bad |= set_default(doc, "clientId", json_string(""));
    bad |= set_default(doc, "authorizationEndpoint", json_string(""));
    bad |= set_default(doc, "rules",
                       json_pack("[{sssbsb}]", "type", "ACTION_ACCEPT", "not", 0, "or", 0));
    bad |= set_default(doc, "revision", json_integer(0));
    bad |= json_object_set_new(doc, "id", json_string(id));
    bad |= json_object_set_new(doc, "nwid", json_string(id));
    bad |= json_object_set_new(doc, "objtype", json_string("network"));
    doc_remove(doc, volatile_keys);
    return bad == 0 ? 0 : -ENOMEM;
}

/* ---- routes and pools ---- */

/* Clear the host bits of a target. Returns true if there were any. */
static bool clear_host_bits(struct inetaddr *net)
{
    bool changed = false;
    for (unsigned i = 0; i < inetaddr_ip_len(net); i++) {
        unsigned bits = net->port > 8 * i ? net->port - 8 * i : 0;
        uint8_t mask = (uint8_t)(bits >= 8 ? 0xff : 0xff00 >> bits);
        changed |= (net->ip[i] & ~mask) != 0;
        net->ip[i] &= mask;
    }
    return changed;
}

/* An IP in a text, "/bits" ignored. */
static bool bare_ip(const json_t *v, struct inetaddr *ret)
{
    const char *text = json_string_value(v);
    if (text == NULL) {
        return false;
    }
    const char *slash = strchr(text, '/');
    size_t len = slash != NULL ? (size_t)(slash - text) : strlen(text);
    return inetaddr_parse(text, len, ret) == 0 && ret->family != INETADDR_NIL;
}

static json_t *ip_json(const struct inetaddr *ip)
{
    char text[INETADDR_TEXT_LEN];
    inetaddr_print_ip(ip, text);
    return json_string(text);
}

static json_t *edit_route(struct edit *e, const json_t *elem)
{
    const char *text = json_string_value(json_object_get(elem, "target"));
    struct inetaddr target;
    if (text == NULL || inetaddr_parse(text, strlen(text), &target) != 0 ||
        target.family == INETADDR_NIL || target.port > (target.family == INETADDR_V4 ? 32 : 128)) {
        edit_warn(e, "routes: element dropped, target %.60s is not an IP prefix",
                  text != NULL ? text : "is no text and");
        return NULL;
    }
    if (strchr(text, '/') == NULL) {
        edit_warn(e, "routes: element dropped, target %.60s has no prefix length", text);
        return NULL;
    }
    if (clear_host_bits(&target)) {
        edit_warn(e, "routes: host bits of target %.60s cleared", text);
    }
    const json_t *via_json = json_object_get(elem, "via");
    struct inetaddr via;
    bool has_via = bare_ip(via_json, &via);
    if (has_via && via.family != target.family) {
        edit_warn(e, "routes: via of %.60s dropped, it is of the other family", text);
        has_via = false;
    } else if (!has_via && json_is_string(via_json) && json_string_length(via_json) > 0) {
        edit_warn(e, "routes: via of %.60s dropped, it is no IP address", text);
    }
    char canonical[INETADDR_TEXT_LEN];
    inetaddr_print(&target, canonical);
    return json_pack("{ssso}", "target", canonical, "via", has_via ? ip_json(&via) : json_null());
}

static json_t *edit_pool(struct edit *e, const json_t *elem)
{
    struct inetaddr start;
    struct inetaddr end;
    if (!bare_ip(json_object_get(elem, "ipRangeStart"), &start) ||
        !bare_ip(json_object_get(elem, "ipRangeEnd"), &end)) {
        edit_warn(e, "ipAssignmentPools: element dropped, an end is no IP address");
        return NULL;
    }
    if (start.family != end.family) {
        edit_warn(e, "ipAssignmentPools: element dropped, its ends are of different families");
        return NULL;
    }
    return json_pack("{soso}", "ipRangeStart", ip_json(&start), "ipRangeEnd", ip_json(&end));
}

static json_t *edit_rule(struct edit *e, const json_t *elem)
{
    struct rule rule;
    int error = rule_from_json(elem, &rule);
    if (error == -EINVAL) {
        edit_fail(e, 500, "rules: mask must be a number or a hexadecimal text");
        return NULL;
    }
    if (error != 0) {
        const char *type = json_string_value(json_object_get(elem, "type"));
        edit_warn(e, "rules: element dropped, type %.60s is unknown or incomplete",
                  type != NULL ? type : "(none)");
        return NULL;
    }
    const char *ip = json_string_value(json_object_get(elem, "ip"));
    error = rule_json_check_ip(elem, &rule);
    if (error < 0) {
        edit_fail(e, 400, "rules: %.60s is no IP address with a prefix length",
                  ip != NULL ? ip : "(none)");
    } else if (error > 0) {
        edit_warn(e, "rules: %.60s is read as /%u", ip, (unsigned)rule.prefix);
    }
    return rule_to_json(&rule);
}

/* Rebuild an array from its elements by one of the functions above (NULL drops the element). */
static json_t *edit_array(struct edit *e, const json_t *array, const char *name,
                          json_t *(*element)(struct edit *e, const json_t *elem))
{
    json_t *out = json_array();
    size_t n = edit_array_len(e, array, name);
    for (size_t i = 0; i < n && e->status == 0; i++) {
        json_t *obj = element(e, json_array_get(array, i));
        if (obj != NULL && json_array_append_new(out, obj) != 0) {
            edit_fail(e, 500, "out of memory");
        }
    }
    return out;
}

/* ---- capabilities and tags ---- */

static json_t *capability_json(struct edit *e, const json_t *elem, uint32_t id)
{
    json_t *rules = edit_array(e, json_object_get(elem, "rules"), "rules", edit_rule);
    if (json_array_size(rules) > RULES_CAPABILITY_MAX) {
        edit_note(e, "capabilities: %u has more than %d rules, the rest is not sent", id,
                  RULES_CAPABILITY_MAX);
    }
    bool is_default = coerce_bool(json_object_get(elem, "default"), false);
    return json_pack("{sIsbso}", "id", (json_int_t)id, "default", (int)is_default, "rules", rules);
}

static json_t *tag_json(const json_t *elem, uint32_t id)
{
    const json_t *value = json_object_get(elem, "default");
    bool has =
        value != NULL && !json_is_null(value) && !json_is_array(value) && !json_is_object(value);
    json_int_t number = (json_int_t)(coerce_u64(value, 0) & UINT32_MAX);
    return json_pack("{sIso}", "id", (json_int_t)id, "default",
                     has ? json_integer(number) : json_null());
}

/* Deduplicate by ID (last wins), sort, rebuild. */
static json_t *edit_definitions(struct edit *e, const json_t *array, bool capabilities)
{
    const char *name = capabilities ? "capabilities" : "tags";
    struct id_list list;
    size_t n = edit_array_len(e, array, name);
    json_t *out = json_array();
    if (out == NULL || id_list_init(&list, n) != 0) {
        edit_fail(e, 500, "out of memory");
        json_decref(out);
        return NULL;
    }
    for (size_t i = 0; i < n; i++) {
        const json_t *elem = json_array_get(array, i);
        uint64_t id = coerce_u64(json_object_get(elem, "id"), 0);
        if (!json_is_object(elem)) {
            edit_warn(e, "%s: element dropped, it is no object", name);
            continue;
        }
        if (id > UINT32_MAX) {
            edit_warn(e, "%s: id cut to 32 bits", name);
        }
        id_list_add(&list, (uint32_t)id, 0, i);
    }
    size_t before = list.count;
    id_list_unique(&list);
    if (list.count != before) {
        edit_warn(e, "%s: of elements with the same id only the last is kept", name);
    }
    for (size_t i = 0; i < list.count && e->status == 0; i++) {
        const json_t *elem = json_array_get(array, list.entries[i].pos);
        uint32_t id = list.entries[i].id;
        if (json_array_append_new(out, capabilities ? capability_json(e, elem, id)
                                                    : tag_json(elem, id)) != 0) {
            edit_fail(e, 500, "out of memory");
        }
    }
    id_list_done(&list);
    return out;
}

/* ---- objects ---- */

static json_t *edit_v4_mode(const json_t *v)
{
    bool zt = json_is_string(v) ? strcmp(json_string_value(v), "zt") == 0
                                : coerce_bool(json_object_get(v, "zt"), false);
    return json_pack("{sb}", "zt", (int)zt);
}

/* True if the comma separated list has the word. */
static bool list_has(const char *list, const char *word)
{
    size_t len = strlen(word);
    while (*list != '\0') {
        size_t n = strcspn(list, ",");
        if (n == len && strncmp(list, word, len) == 0) {
            return true;
        }
        list += n + (list[n] == ',' ? 1 : 0);
    }
    return false;
}

static json_t *edit_v6_mode(const json_t *v)
{
    static const char *const modes[] = {"rfc4193", "zt", "6plane"};
    json_t *out = json_object();
    for (size_t i = 0; i < COUNT_OF(modes); i++) {
        const json_t *value = json_object_get(v, modes[i]);
        if (!json_is_object(v)) {
            const char *text = json_string_value(v);
            bool on = text != NULL && list_has(text, modes[i]);
            json_object_set_new(out, modes[i], json_boolean(on));
        } else if (value != NULL) {
            json_object_set_new(out, modes[i], json_boolean(coerce_bool(value, false)));
        }
    }
    return out;
}

static json_t *edit_dns(struct edit *e, const json_t *v)
{
    char buf[COERCE_TEXT_LEN];
    const char *domain = coerce_text(json_object_get(v, "domain"), buf, "");
    if (strlen(domain) > NETCONF_DNS_DOMAIN_MAX) {
        edit_warn(e, "dns: only the first %d bytes of the domain are sent", NETCONF_DNS_DOMAIN_MAX);
    }
    const json_t *posted = json_object_get(v, "servers");
    json_t *servers = json_array();
    size_t n = edit_array_len(e, posted, "dns");
    for (size_t i = 0; i < n; i++) {
        json_t *server = json_array_get(posted, i);
        struct inetaddr ip;
        if (!bare_ip(server, &ip)) {
            edit_warn(e, "dns: a server is no IP address and is not sent");
        }
        json_array_append(servers, server);
    }
    if (n > NETCONF_DNS_SERVERS) {
        edit_note(e, "dns: only the first %d servers are sent", NETCONF_DNS_SERVERS);
    }
    return json_pack("{ssso}", "domain", domain, "servers", servers);
}

/* Drop from an object by token what belongs to tokens that are gone. */
static void prune_by_token(json_t *doc, const char *name)
{
    json_t *map = json_object_get(doc, name);
    const json_t *tokens = json_object_get(doc, "authTokens");
    const char *key;
    json_t *value;
    void *tmp;
    json_object_foreach_safe(map, tmp, key, value)
    {
        if (json_object_get(tokens, key) == NULL) {
            json_object_del(map, key);
        }
    }
    if (map != NULL && json_object_size(map) == 0) {
        json_object_del(doc, name);
    }
}

static void prune_uses(json_t *doc)
{
    prune_by_token(doc, "authTokenUses");
    prune_by_token(doc, JOIN_DEFAULTS);
}

static void edit_tokens(struct edit *e, json_t *doc, const json_t *v)
{
    json_t *out = json_object();
    const char *key;
    json_t *value;
    json_object_foreach((json_t *)v, key, value)
    {
        bool good = json_is_number(value) && json_number_value(value) >= 0;
        if (!good) {
            edit_warn(e, "authTokens: an entry dropped, its expiry is no number");
        } else if (json_object_size(out) < EDIT_ARRAY_MAX) {
            json_object_set(out, key, value);
        }
    }
    if (!json_is_object(v)) {
        json_decref(out);
        out = json_pack("[n]");
    } else if (json_object_size(out) == 0) {
        json_decref(out);
        out = json_null();
    }
    edit_set(e, doc, "authTokens", out);
    prune_uses(doc);
}

/* ---- all fields ---- */

static void edit_arrays(struct edit *e, json_t *doc, const json_t *body)
{
    static const struct {
        const char *key;
        json_t *(*element)(struct edit *e, const json_t *elem);
    } arrays[] = {
        {"routes", edit_route},
        {"ipAssignmentPools", edit_pool},
        {"rules", edit_rule},
    };
    for (size_t i = 0; i < COUNT_OF(arrays); i++) {
        const json_t *v = json_object_get(body, arrays[i].key);
        if (json_is_array(v)) {
            edit_set(e, doc, arrays[i].key, edit_array(e, v, arrays[i].key, arrays[i].element));
        } else if (v != NULL) {
            edit_warn(e, "%s: ignored, it is no array", arrays[i].key);
        }
    }
    for (int caps = 0; caps < 2; caps++) {
        const char *key = caps ? "capabilities" : "tags";
        const json_t *v = json_object_get(body, key);
        if (json_is_array(v)) {
            edit_set(e, doc, key, edit_definitions(e, v, caps != 0));
        } else if (v != NULL) {
            edit_warn(e, "%s: ignored, it is no array", key);
        }
    }
}

/* True if there is something below so many levels. */
static bool is_deep(const json_t *v, int levels)
{
    size_t i;
    const char *key;
    json_t *elem;
    if (levels == 0) {
        return json_is_array(v) || json_is_object(v);
    }
    json_array_foreach((json_t *)(uintptr_t)v, i, elem)
    {
        if (is_deep(elem, levels - 1)) {
            return true;
        }
    }
    json_object_foreach((json_t *)(uintptr_t)v, key, elem)
    {
        if (is_deep(elem, levels - 1)) {
            return true;
        }
    }
    return false;
}

static void edit_objects(struct edit *e, json_t *doc, const json_t *body)
{
    const json_t *v = json_object_get(body, "v4AssignMode");
    if (v != NULL) {
        edit_set(e, doc, "v4AssignMode", edit_v4_mode(v));
    }
    v = json_object_get(body, "v6AssignMode");
    if (v != NULL) {
        edit_set(e, doc, "v6AssignMode", edit_v6_mode(v));
    }
    v = json_object_get(body, "authTokens");
    if (v != NULL) {
        edit_tokens(e, doc, v);
    }
    v = json_object_get(body, "dns");
    if (json_is_object(v)) {
        edit_set(e, doc, "dns", edit_dns(e, v));
    }
    v = json_object_get(body, "ssoConfig");
    if (json_is_object(v)) {
        edit_set(e, doc, "ssoConfig", sso_doc_edit(e, v));
    }
    static const char *const by_name[] = {"capabilitiesByName", "tagsByName"};
    for (size_t i = 0; i < COUNT_OF(by_name); i++) {
        json_t *names = json_object_get(body, by_name[i]);
        if (json_is_object(names) && is_deep(names, NAMES_DEPTH_MAX)) {
            edit_warn(e, "%s: ignored, it is nested too deep", by_name[i]);
        } else if (json_is_object(names)) {
            edit_set(e, doc, by_name[i], json_incref(names));
        }
    }
}

static void edit_trace(struct edit *e, json_t *doc, const json_t *body)
{
    const json_t *v = json_object_get(body, "remoteTraceTarget");
    if (v != NULL) {
        bool good = json_is_string(v) && json_string_length(v) == MODEL_TRACE_TARGET_LEN;
        edit_set(e, doc, "remoteTraceTarget",
                 good ? json_string(json_string_value(v)) : json_null());
    }
    v = json_object_get(body, "remoteTraceLevel");
    if (v != NULL) {
        edit_set(e, doc, "remoteTraceLevel",
                 json_integer((json_int_t)(coerce_u64(v, 0) & UINT32_MAX)));
    }
}

/* The credential window: null takes the default. */
static void edit_window(struct edit *e, json_t *doc, const json_t *body)
{
    static const char key[] = "certificateTimeoutWindowSize";
    const json_t *v = json_object_get(body, key);
    if (v == NULL) {
        return;
    }
    if (json_is_null(v)) {
        json_object_del(doc, key);
        return;
    }
    uint64_t window = coerce_u64(v, MODEL_WINDOW_DEFAULT_MS);
    if (window < MODEL_WINDOW_MIN_MS || window > MODEL_WINDOW_MAX_MS) {
        window = window < MODEL_WINDOW_MIN_MS ? MODEL_WINDOW_MIN_MS : MODEL_WINDOW_MAX_MS;
        edit_warn(e, "%s: set to %llu", key, (unsigned long long)window);
    }
    edit_set(e, doc, key, json_integer((json_int_t)window));
}

static void edit_scalars(struct edit *e, json_t *doc, const json_t *body)
{
    static const char *const texts[] = {"name", "description", "rulesSource", "clientId",
                                        "authorizationEndpoint"};
    static const char *const bools[] = {"private", "enableBroadcast", "ssoEnabled"};
    char buf[COERCE_TEXT_LEN];
    for (size_t i = 0; i < COUNT_OF(texts); i++) {
        const json_t *text = json_object_get(body, texts[i]);
        if (text != NULL) {
            edit_set(e, doc, texts[i], json_string(coerce_text(text, buf, "")));
        }
    }
    for (size_t i = 0; i < COUNT_OF(bools); i++) {
        const json_t *flag = json_object_get(body, bools[i]);
        if (flag != NULL) {
            edit_set(e, doc, bools[i], json_boolean(coerce_bool(flag, i == 0))); /* private */
        }
    }
    edit_window(e, doc, body);
    const json_t *v = json_object_get(body, "multicastLimit");
    if (v != NULL) {
        uint64_t limit = coerce_u64(v, 32);
        if (limit > UINT32_MAX) {
            edit_warn(e, "multicastLimit: set to %u, the highest value", UINT32_MAX);
            limit = UINT32_MAX;
        } else if (limit == 0) {
            edit_note(e, "multicastLimit: 0 disables multicast, IPv4 address resolution included");
        }
        edit_set(e, doc, "multicastLimit", json_integer((json_int_t)limit));
    }
    v = json_object_get(body, "mtu");
    if (v != NULL) {
        uint64_t mtu = coerce_u64(v, NETCONF_MTU_DEFAULT);
        if (mtu < NETCONF_MTU_MIN || mtu > NETCONF_MTU_MAX) {
            mtu = mtu < NETCONF_MTU_MIN ? NETCONF_MTU_MIN : NETCONF_MTU_MAX;
            edit_warn(e, "mtu: set to %llu", (unsigned long long)mtu);
        }
        edit_set(e, doc, "mtu", json_integer((json_int_t)mtu));
    }
}

static void note_warning(void *ctx, const char *kind, uint64_t member, const char *text)
{
    (void)kind;
    (void)member;
    edit_note(ctx, "%s", text);
}

/* Notes on pools and routes that do not fit together (CTL-122). */
static void check_pools(struct edit *e, const json_t *doc)
{
    struct plan plan;
    if (plan_compile(doc, &plan) != 0) {
        edit_fail(e, 500, "out of memory");
        return;
    }
    warn_plan(&plan, note_warning, e);
    plan_free(&plan);
}

void network_doc_edit(struct edit *e, json_t *doc, json_t *posted)
{
    if (!json_is_object(posted)) {
        return;
    }
    json_t *body = rules_source_expand(e, posted);
    if (body == NULL) {
        edit_fail(e, 500, "out of memory");
        return;
    }
    edit_scalars(e, doc, body);
    edit_trace(e, doc, body);
    edit_arrays(e, doc, body);
    edit_objects(e, doc, body);
    if (e->status == 0 && (json_object_get(body, "routes") != NULL ||
                           json_object_get(body, "ipAssignmentPools") != NULL)) {
        check_pools(e, doc);
    }
    json_decref(body);
}

/* ---- join tokens ---- */

bool network_doc_token(const json_t *doc, const char *token, int64_t wall_ms, const char **ret_key)
{
    json_t *tokens = json_object_get(doc, "authTokens");
    size_t len = strlen(token);
    bool found = false;
    const char *key;
    json_t *value;
    json_object_foreach(tokens, key, value)
    {
        if (strlen(key) == len && sodium_memcmp(key, token, len) == 0 && json_is_number(value)) {
            json_int_t expiry = (json_int_t)coerce_u64(value, 0);
            found = expiry == 0 || expiry > wall_ms;
            *ret_key = key;
        }
    }
    return found;
}

/* The document has an object under key: make it one if it is not. */
static json_t *own_object(json_t *doc, const char *key)
{
    json_t *obj = json_object_get(doc, key);
    if (!json_is_object(obj)) {
        obj = json_object();
        if (json_object_set_new(doc, key, obj) != 0) {
            return NULL;
        }
    }
    return obj;
}

int network_doc_token_use(json_t *doc, const char *key)
{
    json_t *uses = json_object_get(doc, "authTokenUses");
    const json_t *left_json = json_object_get(uses, key);
    if (left_json == NULL) {
        return 0;
    }
    uint64_t left = coerce_u64(left_json, 0);
    if (left <= 1) {
        int error = network_doc_token_remove(doc, key);
        return error == 0 ? 1 : error;
    }
    return json_object_set_new(uses, key, json_integer((json_int_t)(left - 1))) == 0 ? 1 : -ENOMEM;
}

/* Set or (value NULL) remove what an object of the document has under a token; value is taken. */
static int set_by_token(json_t *doc, const char *name, const char *token, json_t *value)
{
    if (value == NULL) {
        json_object_del(json_object_get(doc, name), token);
        return 0;
    }
    json_t *map = own_object(doc, name);
    if (map == NULL) {
        json_decref(value);
        return -ENOMEM;
    }
    return json_object_set_new(map, token, value) == 0 ? 0 : -ENOMEM;
}

int network_doc_token_set(json_t *doc, const char *token, int64_t expires_ms, uint64_t uses,
                          json_t *defaults)
{
    json_t *count = uses > 0 ? json_integer((json_int_t)uses) : NULL;
    int error = set_by_token(doc, JOIN_DEFAULTS, token, defaults);
    if (error == 0) {
        error = set_by_token(doc, "authTokens", token, json_integer(expires_ms));
    }
    if (error == 0) {
        error = set_by_token(doc, "authTokenUses", token, json_incref(count));
    }
    json_decref(count);
    prune_uses(doc);
    return error;
}

int network_doc_token_remove(json_t *doc, const char *token)
{
    json_t *tokens = json_object_get(doc, "authTokens");
    if (!json_is_object(tokens) || json_object_get(tokens, token) == NULL) {
        return -ENOENT;
    }
    json_object_del(tokens, token);
    if (json_object_size(tokens) == 0 && json_object_set_new(doc, "authTokens", json_null()) != 0) {
        return -ENOMEM;
    }
    prune_uses(doc);
    return 0;
}
