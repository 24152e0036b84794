/* Documents of members. */
#include "controller/member_doc.h"

#include "base/hex.h"
#include "controller/clash.h"
#include "controller/network_doc.h"
#include "wire/identity.h"

#include <errno.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    MEMBER_IPS_STORED = 1024, /* addresses of a member that are stored; 32 are sent */
};

/* Keys with a place in struct cmember, or computed; all others go to extra. */
static const char *const known_keys[] = {
    "id", "address", "nwid", "objtype", "name", "authorized", "lastAuthorizedTime",
    "lastDeauthorizedTime", "lastAuthorizedCredential", "activeBridge", "noAutoAssignIps",
    "ssoExempt", "blocked", "hidden", "accessExpiryTime", "ipAssignments", "tags", "capabilities",
    "identity", "creationTime", "revision", "vMajor", "vMinor", "vRev", "vProto",
    "remoteTraceTarget", "remoteTraceLevel", "authenticationExpiryTime",
    /* never stored */
    "clock", "physicalAddr", "recentLog", "lastModified", "lastRequestMetaData",
    "authenticationURL", "authenticationClientID", "warnings", "identityClash", NULL};

static const char *const version_keys[] = {"vMajor", "vMinor", "vRev", "vProto"};

const char *cred_kind_name(enum cred_kind kind)
{
    switch (kind) {
    case CRED_API:
        return "api";
    case CRED_PUBLIC:
        return "public";
    case CRED_TOKEN:
        return "token";
    default:
        return NULL;
    }
}

static json_t *text_or_null(const char *text)
{
    return text != NULL ? json_string(text) : json_null();
}

static json_t *ips_json(const struct cmember *m)
{
    json_t *array = json_array();
    for (size_t i = 0; i < m->ip_count; i++) {
        char text[INETADDR_TEXT_LEN];
        inetaddr_print_ip(&m->ips[i].ip, text);
        json_array_append_new(array, json_string(text));
    }
    return array;
}

static json_t *tags_json(const struct cmember *m)
{
    json_t *array = json_array();
    for (size_t i = 0; i < m->tag_count; i++) {
        json_array_append_new(
            array, json_pack("[II]", (json_int_t)m->tags[i].id, (json_int_t)m->tags[i].value));
    }
    return array;
}

static json_t *caps_json(const struct cmember *m)
{
    json_t *array = json_array();
    for (size_t i = 0; i < m->cap_count; i++) {
        json_array_append_new(array, json_integer(m->caps[i]));
    }
    return array;
}

/* Identity as it was stored, or NULL if the member never came. */
static json_t *identity_json(const struct cmember *m)
{
    if (m->bad_identity != NULL) {
        return json_string(m->bad_identity);
    }
    if (!m->has_pub) {
        return NULL;
    }
    struct identity id;
    char text[IDENTITY_TEXT_LEN];
    member_identity(m, &id);
    identity_print(&id, false, text);
    return json_string(text);
}

static int put_ids(const struct cmember *m, json_t *doc)
{
    char nwid[17];
    char address[11];
    hex_from_u64(m->net->nwid, 16, nwid);
    hex_from_u64(m->address, 10, address);
    int bad = 0;
    bad |= json_object_set_new(doc, "id", json_string(address));
    bad |= json_object_set_new(doc, "address", json_string(address));
    bad |= json_object_set_new(doc, "nwid", json_string(nwid));
    bad |= json_object_set_new(doc, "objtype", json_string("member"));
    return bad;
}

static int put_optional(const struct cmember *m, json_t *doc)
{
    int bad = 0;
    if (m->name != NULL) {
        bad |= json_object_set_new(doc, "name", json_string(m->name));
    }
    json_t *identity = identity_json(m);
    if (identity != NULL) {
        bad |= json_object_set_new(doc, "identity", identity);
    }
    if (m->blocked) {
        bad |= json_object_set_new(doc, "blocked", json_true());
    }
    if (m->hidden) {
        bad |= json_object_set_new(doc, "hidden", json_true());
    }
    if (m->access_expiry_ms != 0) {
        bad |= json_object_set_new(doc, "accessExpiryTime", json_integer(m->access_expiry_ms));
    }
    if (m->cred_kind != CRED_OTHER) {
        bad |= json_object_set_new(doc, "lastAuthorizedCredentialType",
                                   text_or_null(cred_kind_name(m->cred_kind)));
    }
    return bad;
}

json_t *member_to_json(const struct cmember *m)
{
    json_t *doc = m->extra != NULL ? json_copy(m->extra) : json_object();
    if (doc == NULL) {
        return NULL;
    }
    int bad = put_ids(m, doc) | put_optional(m, doc);
    bad |= json_object_set_new(doc, "authorized", json_boolean(m->authorized));
    bad |= json_object_set_new(doc, "lastAuthorizedTime", json_integer(m->authorized_ms));
    bad |= json_object_set_new(doc, "lastDeauthorizedTime", json_integer(m->deauthorized_ms));
    bad |= json_object_set_new(doc, "lastAuthorizedCredential", text_or_null(m->cred));
    bad |= json_object_set_new(doc, "activeBridge", json_boolean(m->bridge));
    bad |= json_object_set_new(doc, "noAutoAssignIps", json_boolean(m->no_auto_ips));
    bad |= json_object_set_new(doc, "ssoExempt", json_boolean(m->sso_exempt));
    bad |= json_object_set_new(doc, "ipAssignments", ips_json(m));
    bad |= json_object_set_new(doc, "tags", tags_json(m));
    bad |= json_object_set_new(doc, "capabilities", caps_json(m));
    bad |= json_object_set_new(doc, "creationTime", json_integer(m->created_ms));
    bad |= json_object_set_new(doc, "revision", json_integer((json_int_t)m->revision));
    for (size_t i = 0; i < COUNT_OF(version_keys); i++) {
        bad |= json_object_set_new(doc, version_keys[i], json_integer(m->version[i]));
    }
    const char *target = m->trace_target[0] != '\0' ? m->trace_target : NULL;
    bad |= json_object_set_new(doc, "remoteTraceTarget", text_or_null(target));
    bad |= json_object_set_new(doc, "remoteTraceLevel", json_integer(m->trace_level));
    bad |= json_object_set_new(doc, "authenticationExpiryTime", json_integer(m->auth_expiry_ms));
    if (bad != 0) {
        json_decref(doc);
        return NULL;
    }
    return doc;
}

/* ---- from a document ---- */

static int64_t time_field(const json_t *doc, const char *key)
{
    return (int64_t)coerce_u64(json_object_get(doc, key), 0);
}

/* An IP in a text, "/bits" ignored. */
static bool bare_ip(const char *text, struct inetaddr *ret)
{
    const char *slash = strchr(text, '/');
    size_t len = slash != NULL ? (size_t)(slash - text) : strlen(text);
    return inetaddr_parse(text, len, ret) == 0 && ret->family != INETADDR_NIL;
}

static int ips_from_json(struct cmember *m, const json_t *array)
{
    size_t n = json_array_size(array);
    n = n < MEMBER_IPS_STORED ? n : MEMBER_IPS_STORED;
    struct inetaddr *ips = calloc(n + 1, sizeof(*ips));
    if (ips == NULL) {
        return -ENOMEM;
    }
    size_t count = 0;
    for (size_t i = 0; i < n; i++) {
        const char *text = json_string_value(json_array_get(array, i));
        if (text != NULL && bare_ip(text, &ips[count])) {
            count++;
        }
    }
    int error = member_set_ips(m, ips, count);
    free(ips);
    return error;
}

/* Pairs or plain IDs of an array as sorted unique list. */
static int list_from_json(const json_t *array, bool pairs, struct id_list *ret)
{
    size_t n = json_array_size(array);
    n = n < EDIT_ARRAY_MAX ? n : EDIT_ARRAY_MAX;
    if (id_list_init(ret, n) != 0) {
        return -ENOMEM;
    }
    for (size_t i = 0; i < n; i++) {
        const json_t *v = json_array_get(array, i);
        if (pairs && json_array_size(v) == 2) {
            id_list_add(ret, (uint32_t)coerce_u64(json_array_get(v, 0), 0),
                        (uint32_t)coerce_u64(json_array_get(v, 1), 0), i);
        } else if (!pairs) {
            id_list_add(ret, (uint32_t)coerce_u64(v, 0), 0, i);
        }
    }
    id_list_unique(ret);
    return 0;
}

static int tags_from_json(struct cmember *m, const json_t *array)
{
    struct id_list list;
    if (list_from_json(array, true, &list) != 0) {
        return -ENOMEM;
    }
    struct member_tag *tags = calloc(list.count + 1, sizeof(*tags));
    for (size_t i = 0; tags != NULL && i < list.count; i++) {
        tags[i] = (struct member_tag){.id = list.entries[i].id, .value = list.entries[i].value};
    }
    size_t count = list.count;
    id_list_done(&list);
    if (tags == NULL) {
        return -ENOMEM;
    }
    if (count == 0) {
        free(tags);
        tags = NULL;
    }
    free(m->tags);
    m->tags = tags;
    m->tag_count = (uint16_t)count;
    return 0;
}

static int set_caps(struct cmember *m, const struct id_list *list)
{
    uint32_t *caps = NULL;
    if (list->count > 0) {
        caps = calloc(list->count, sizeof(*caps));
        if (caps == NULL) {
            return -ENOMEM;
        }
    }
    for (size_t i = 0; i < list->count; i++) {
        caps[i] = list->entries[i].id;
    }
    free(m->caps);
    m->caps = caps;
    m->cap_count = (uint16_t)list->count;
    return 0;
}

static int caps_from_json(struct cmember *m, const json_t *array)
{
    struct id_list list;
    if (list_from_json(array, false, &list) != 0) {
        return -ENOMEM;
    }
    int error = set_caps(m, &list);
    id_list_done(&list);
    return error;
}

int member_add_default_caps(struct cmember *m)
{
    const struct plan *plan = &m->net->plan;
    struct id_list list;
    if (id_list_init(&list, m->cap_count + plan->cap_count) != 0) {
        return -ENOMEM;
    }
    for (size_t i = 0; i < m->cap_count; i++) {
        id_list_add(&list, m->caps[i], 0, i);
    }
    for (size_t i = 0; i < plan->cap_count; i++) {
        if (plan->caps[i].is_default) {
            id_list_add(&list, plan->caps[i].id, 0, 0);
        }
    }
    id_list_unique(&list);
    int error = set_caps(m, &list);
    id_list_done(&list);
    return error;
}

/* Replace an owned text by a copy of another (or NULL). */
static int set_text(char **place, const char *text)
{
    char *copy = NULL;
    if (text != NULL) {
        copy = strdup(text);
        if (copy == NULL) {
            return -ENOMEM;
        }
    }
    free(*place);
    *place = copy;
    return 0;
}

static int identity_from_json(struct cmember *m, const json_t *v)
{
    const char *text = json_string_value(v);
    m->has_pub = false;
    if (text == NULL || text[0] == '\0') {
        return set_text(&m->bad_identity, NULL);
    }
    struct identity id;
    if (identity_parse(text, strlen(text), &id) != 0 || id.address != m->address) {
        return set_text(&m->bad_identity, text);
    }
    memcpy(m->pub, id.pub, sizeof(m->pub));
    m->has_pub = true;
    identity_wipe(&id);
    return set_text(&m->bad_identity, NULL);
}

/* Has this key a place elsewhere? */
static bool is_known(const struct cmember *m, const char *key)
{
    for (size_t i = 0; known_keys[i] != NULL; i++) {
        if (known_keys[i][0] == key[0] && strcmp(known_keys[i], key) == 0) {
            return true;
        }
    }
    return m->cred_kind != CRED_OTHER && strcmp(key, "lastAuthorizedCredentialType") == 0;
}

static int extra_from_json(struct cmember *m, const json_t *doc)
{
    json_t *extra = NULL;
    const char *key;
    json_t *value;
    json_object_foreach((json_t *)(uintptr_t)doc, key, value)
    {
        if (is_known(m, key)) {
            continue;
        }
        extra = extra != NULL ? extra : json_object();
        if (extra == NULL || json_object_set(extra, key, value) != 0) {
            json_decref(extra);
            return -ENOMEM;
        }
    }
    json_decref(m->extra);
    m->extra = extra;
    return 0;
}

static enum cred_kind cred_kind_from_json(const json_t *v)
{
    const char *text = json_string_value(v);
    if (text == NULL) {
        return CRED_NONE;
    }
    for (int kind = CRED_API; kind <= CRED_TOKEN; kind++) {
        if (strcmp(text, cred_kind_name((enum cred_kind)kind)) == 0) {
            return (enum cred_kind)kind;
        }
    }
    return CRED_OTHER;
}

static void scalars_from_json(struct cmember *m, const json_t *doc)
{
    member_set_authorized(m, coerce_bool(json_object_get(doc, "authorized"), false));
    member_set_bridge(m, coerce_bool(json_object_get(doc, "activeBridge"), false));
    m->no_auto_ips = coerce_bool(json_object_get(doc, "noAutoAssignIps"), false);
    m->sso_exempt = coerce_bool(json_object_get(doc, "ssoExempt"), false);
    m->blocked = coerce_bool(json_object_get(doc, "blocked"), false);
    m->hidden = coerce_bool(json_object_get(doc, "hidden"), false);
    m->access_expiry_ms = time_field(doc, "accessExpiryTime");
    m->authorized_ms = time_field(doc, "lastAuthorizedTime");
    m->deauthorized_ms = time_field(doc, "lastDeauthorizedTime");
    m->auth_expiry_ms = time_field(doc, "authenticationExpiryTime");
    m->created_ms = time_field(doc, "creationTime");
    m->revision = coerce_u64(json_object_get(doc, "revision"), 0);
    for (size_t i = 0; i < COUNT_OF(version_keys); i++) {
        m->version[i] = (int32_t)coerce_u64(json_object_get(doc, version_keys[i]), UINT64_MAX);
    }
    const json_t *target = json_object_get(doc, "remoteTraceTarget");
    bool good = json_string_length(target) == MODEL_TRACE_TARGET_LEN;
    (void)snprintf(m->trace_target, sizeof(m->trace_target), "%s",
                   good ? json_string_value(target) : "");
    m->trace_level = (uint32_t)coerce_u64(json_object_get(doc, "remoteTraceLevel"), 0);
    m->cred_kind =
        (uint8_t)cred_kind_from_json(json_object_get(doc, "lastAuthorizedCredentialType"));
}

int member_from_json(struct cmember *m, const json_t *doc)
{
    int error = ips_from_json(m, json_object_get(doc, "ipAssignments"));
    if (error == 0) {
        error = tags_from_json(m, json_object_get(doc, "tags"));
    }
    if (error == 0) {
        error = caps_from_json(m, json_object_get(doc, "capabilities"));
    }
    if (error == 0) {
        error = set_text(&m->name, json_string_value(json_object_get(doc, "name")));
    }
    if (error == 0) {
        const json_t *cred = json_object_get(doc, "lastAuthorizedCredential");
        error = set_text(&m->cred, json_string_value(cred));
    }
    if (error == 0) {
        error = identity_from_json(m, json_object_get(doc, "identity"));
    }
    if (error == 0) {
        scalars_from_json(m, doc);
        error = extra_from_json(m, doc);
    }
    return error;
}

/* ---- posted fields ---- */

static void edit_ips(struct edit *e, json_t *doc, const json_t *array, const struct cnetwork *net,
                     const struct cmember *m)
{
    json_t *out = json_array();
    size_t n = edit_array_len(e, array, "ipAssignments");
    for (size_t i = 0; i < n && e->status == 0; i++) {
        const char *text = json_string_value(json_array_get(array, i));
        struct inetaddr ip;
        if (text == NULL) {
            edit_fail(e, 500, "ipAssignments: element %zu is no text", i);
        } else if (!bare_ip(text, &ip)) {
            edit_warn(e, "ipAssignments: %.60s dropped, it is no IP address", text);
        } else if (json_array_size(out) >= MEMBER_IPS_STORED) {
            edit_warn(e, "ipAssignments: %.60s dropped, there are too many", text);
        } else {
            char canonical[INETADDR_TEXT_LEN];
            ip.port = 0;
            inetaddr_print_ip(&ip, canonical);
            const struct cmember *other = network_ip_owner(net, &ip, m);
            if (other != NULL) {
                edit_warn(e, "ipAssignments: %s is also assigned to %010llx", canonical,
                          (unsigned long long)other->address);
            }
            if (plan_route(&net->plan, &ip, false) == NULL) {
                edit_note(e, "ipAssignments: %s is in no route and will not be sent", canonical);
            }
            json_array_append_new(out, json_string(canonical));
        }
    }
    if (json_array_size(out) > NETCONF_ADDRESSES_MAX) {
        edit_note(e, "ipAssignments: only %d addresses are sent", NETCONF_ADDRESSES_MAX);
    }
    edit_set(e, doc, "ipAssignments", out);
}

static void edit_lists(struct edit *e, json_t *doc, const json_t *body)
{
    for (int pairs = 0; pairs < 2; pairs++) {
        const char *key = pairs ? "tags" : "capabilities";
        const json_t *array = json_object_get(body, key);
        struct id_list list;
        if (!json_is_array(array)) {
            if (array != NULL) {
                edit_warn(e, "%s: ignored, it is no array", key);
            }
            continue;
        }
        if (list_from_json(array, pairs != 0, &list) != 0) {
            edit_fail(e, 500, "out of memory");
            continue;
        }
        json_t *out = json_array();
        for (size_t i = 0; i < list.count; i++) {
            json_int_t id = list.entries[i].id;
            json_int_t value = list.entries[i].value;
            json_array_append_new(out, pairs ? json_pack("[II]", id, value) : json_integer(id));
        }
        if (list.count != json_array_size(array)) {
            edit_warn(e, "%s: elements that are malformed or repeat an id were dropped", key);
        }
        id_list_done(&list);
        edit_set(e, doc, key, out);
    }
}

/* Union of the posted document's capabilities with the defaults of the network. */
static void edit_default_caps(struct edit *e, json_t *doc, const struct plan *plan)
{
    json_t *caps = json_object_get(doc, "capabilities");
    struct id_list list;
    if (id_list_init(&list, json_array_size(caps) + plan->cap_count) != 0) {
        edit_fail(e, 500, "out of memory");
        return;
    }
    for (size_t i = 0; i < json_array_size(caps); i++) {
        id_list_add(&list, (uint32_t)coerce_u64(json_array_get(caps, i), 0), 0, i);
    }
    for (size_t i = 0; i < plan->cap_count; i++) {
        if (plan->caps[i].is_default) {
            id_list_add(&list, plan->caps[i].id, 0, 0);
        }
    }
    id_list_unique(&list);
    json_t *out = json_array();
    for (size_t i = 0; i < list.count; i++) {
        json_array_append_new(out, json_integer(list.entries[i].id));
    }
    id_list_done(&list);
    edit_set(e, doc, "capabilities", out);
}

/* "authorized" and "blocked": what follows from a change of them. */
static void edit_authorized(struct edit *e, json_t *doc, const json_t *body,
                            const struct cnetwork *net, int64_t wall_ms)
{
    const json_t *v = json_object_get(body, "authorized");
    bool was = json_is_true(json_object_get(doc, "authorized"));
    bool wanted = v != NULL ? coerce_bool(v, false) : was;
    const json_t *block = json_object_get(body, "blocked");
    bool blocked = block != NULL
                       ? coerce_bool(block, false)
                       : json_is_true(json_object_get(doc, "blocked")) && !(v != NULL && wanted);
    if (blocked) {
        wanted = false;
        edit_set(e, doc, "blocked", json_true());
    } else {
        json_object_del(doc, "blocked");
        if (was && !wanted && !net->plan.is_private) {
            edit_warn(e, "authorized: members of a public network are always authorized; set "
                         "\"blocked\" to keep one out");
            wanted = true;
        }
    }
    if (wanted == was) {
        return;
    }
    edit_set(e, doc, "authorized", json_boolean(wanted));
    if (!wanted) {
        edit_set(e, doc, "lastDeauthorizedTime", json_integer(wall_ms));
        return;
    }
    bool first = coerce_u64(json_object_get(doc, "lastAuthorizedTime"), 0) == 0;
    edit_set(e, doc, "lastAuthorizedTime", json_integer(wall_ms));
    edit_set(e, doc, "lastAuthorizedCredentialType", json_string("api"));
    edit_set(e, doc, "lastAuthorizedCredential", json_null());
    if (first && json_object_get(body, "capabilities") == NULL) {
        edit_default_caps(e, doc, &net->plan);
    }
}

static void edit_member_scalars(struct edit *e, json_t *doc, const json_t *body)
{
    static const char *const bools[] = {"activeBridge", "noAutoAssignIps", "ssoExempt"};
    for (size_t i = 0; i < COUNT_OF(bools); i++) {
        const json_t *v = json_object_get(body, bools[i]);
        if (v != NULL) {
            edit_set(e, doc, bools[i], json_boolean(coerce_bool(v, false)));
        }
    }
    char buf[COERCE_TEXT_LEN];
    const json_t *v = json_object_get(body, "name");
    if (v != NULL) {
        edit_set(e, doc, "name", json_string(coerce_text(v, buf, "")));
    }
    v = json_object_get(body, "remoteTraceTarget");
    if (v != NULL) {
        bool good = json_string_length(v) == MODEL_TRACE_TARGET_LEN;
        edit_set(e, doc, "remoteTraceTarget",
                 good ? json_string(json_string_value(v)) : json_null());
    }
    v = json_object_get(body, "remoteTraceLevel");
    if (v != NULL) {
        json_int_t level = (json_int_t)(coerce_u64(v, 0) & UINT32_MAX);
        edit_set(e, doc, "remoteTraceLevel", json_integer(level));
    }
    v = json_object_get(body, "authenticationExpiryTime");
    if (v != NULL) {
        edit_set(e, doc, "authenticationExpiryTime", json_integer((json_int_t)coerce_u64(v, 0)));
    }
}

void member_doc_edit(struct edit *e, json_t *doc, const json_t *body, const struct cnetwork *net,
                     const struct cmember *m, int64_t wall_ms)
{
    if (!json_is_object(body)) {
        return;
    }
    edit_member_scalars(e, doc, body);
    edit_lists(e, doc, body);
    const json_t *ips = json_object_get(body, "ipAssignments");
    if (json_is_array(ips)) {
        edit_ips(e, doc, ips, net, m);
    } else if (ips != NULL) {
        edit_warn(e, "ipAssignments: ignored, it is no array");
    }
    bool was = json_is_true(json_object_get(doc, "authorized"));
    edit_authorized(e, doc, body, net, wall_ms);
    member_access_edit(e, doc, body, was, wall_ms);
}

/* ---- runtime ---- */

json_t *member_runtime_json(const struct cmember *m)
{
    char from[INETADDR_TEXT_LEN];
    inetaddr_print(&m->from, from);
    json_t *doc = json_pack("{sIss}", "seen", (json_int_t)m->seen_ms, "from", from);
    if (doc == NULL) {
        return NULL;
    }
    if (m->os != NULL) {
        json_object_set_new(doc, "os", json_string(m->os));
    }
    if (m->relayed) {
        json_object_set_new(doc, "relayed", json_true());
    }
    if (m->has_meta) {
        json_object_set_new(doc, "rulesRevision", json_integer(m->rules_revision));
    }
    if (m->held_ms != 0) {
        json_object_set_new(doc, "heldRevision", json_integer((json_int_t)m->held_revision));
        json_object_set_new(doc, "heldTime", json_integer(m->held_ms));
    }
    if (clash_find(m) != NULL) {
        json_object_set_new(doc, "clash", clash_json(clash_find(m)));
    }
    return doc;
}

void member_runtime_load(struct cmember *m, const json_t *doc)
{
    m->seen_ms = time_field(doc, "seen");
    m->relayed = json_is_true(json_object_get(doc, "relayed"));
    m->held_ms = time_field(doc, "heldTime");
    m->held_revision = coerce_u64(json_object_get(doc, "heldRevision"), 0);
    const char *from = json_string_value(json_object_get(doc, "from"));
    if (from == NULL || inetaddr_parse(from, strlen(from), &m->from) != 0) {
        memset(&m->from, 0, sizeof(m->from));
    }
    m->noted_from = m->from;
    const char *os = json_string_value(json_object_get(doc, "os"));
    if (os != NULL) {
        free(m->os);
        m->os = strdup(os);
    }
    clash_load(m, json_object_get(doc, "clash"));
    const json_t *revision = json_object_get(doc, "rulesRevision");
    m->has_meta = json_is_integer(revision);
    m->rules_revision = (uint32_t)coerce_u64(revision, 0);
}
