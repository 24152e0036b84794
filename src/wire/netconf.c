/* Network configurations: reading, comparing, releasing. Writing: netconf_encode.c.
 * Source: spec 03 section 5.1. */
#include "wire/netconf.h"

#include "base/cursor.h"
#include "base/dict.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum {
    DNS_DOMAIN_LEN = 128,
    /* longest texts of single sign-on */
    SSO_URL_MAX = 2047,
    SSO_NONCE_MAX = 127,
    SSO_STATE_MAX = 255,
    SSO_CLIENT_MAX = 255,
    SSO_PROVIDER_MAX = 63,
};

/* The unescaped value of a key in memory of its own (freed by the caller, one NUL behind it).
 * Returns 0 (NULL and 0 if the key is absent or empty); -ENOMEM. */
static int blob_get(struct dict d, const char *key, uint8_t **ret, size_t *ret_len)
{
    size_t len = 0;
    uint8_t *blob;

    *ret = NULL;
    *ret_len = 0;
    if (dict_value_len(d, key, &len) < 0 || len == 0) {
        return 0;
    }
    blob = malloc(len + 1);
    if (blob == NULL) {
        return -ENOMEM;
    }
    if (dict_get(d, key, blob, len + 1, &len) < 0) {
        free(blob);
        return -ENOMEM;
    }
    *ret = blob;
    *ret_len = len;
    return 0;
}

/* A text value of at most max bytes (cut there or at a NUL) in exact memory; fallback if absent. */
static int text_get(struct dict d, const char *key, size_t max, const char *fallback,
                    const char **ret)
{
    uint8_t *blob;
    size_t len;
    int err = blob_get(d, key, &blob, &len);

    if (err < 0) {
        return err;
    }
    if (blob != NULL) {
        *ret = strndup((const char *)blob, max);
    } else {
        *ret = strdup(dict_has(d, key) ? "" : fallback);
    }
    free(blob);
    return *ret != NULL ? 0 : -ENOMEM;
}

/* A list of count elements of size bytes; NULL for an empty one. */
static int list_new(size_t count, size_t size, void **ret)
{
    *ret = NULL;
    if (count == 0) {
        return 0;
    }
    *ret = calloc(count, size);
    return *ret != NULL ? 0 : -ENOMEM;
}

/* One reader per key: bytes of the value to a list in conf. Each returns 0, -EBADMSG, -ENOMEM. */

static int read_com(struct rd r, struct netconf *conf)
{
    struct com com;
    int err = com_read(&r, &com);

    if (err < 0 || com.count == 0) {
        return err;
    }
    conf->com = malloc(sizeof(com));
    if (conf->com == NULL) {
        return -ENOMEM;
    }
    *conf->com = com;
    return 0;
}

static int compare_capabilities(const void *a, const void *b)
{
    const struct capability *const *x = a;
    const struct capability *const *y = b;

    return ((*x)->id > (*y)->id) - ((*x)->id < (*y)->id);
}

static int read_capabilities(struct rd r, struct netconf *conf)
{
    struct capability *all[CAPABILITIES_MAX];
    size_t n = 0;
    void *list = NULL;
    int err = 0;

    while (rd_left(&r) > 0 && n < CAPABILITIES_MAX) {
        err = capability_read(&r, &all[n]);
        if (err < 0) {
            break;
        }
        n++;
    }
    err = err == -ENOMEM ? err : list_new(n, sizeof(struct capability *), &list);
    if (err < 0) {
        for (size_t i = 0; i < n; i++) {
            capability_free(all[i]);
        }
        return err;
    }
    if (n > 0) {
        memcpy(list, all, n * sizeof(struct capability *));
        qsort(list, n, sizeof(struct capability *), compare_capabilities);
    }
    conf->capabilities = list;
    conf->capability_count = (uint16_t)n;
    return 0;
}

static int compare_tags(const void *a, const void *b)
{
    const struct tag *x = a;
    const struct tag *y = b;

    return (x->id > y->id) - (x->id < y->id);
}

static int read_tags(struct rd r, struct netconf *conf)
{
    struct rd count_from = r;
    struct tag tag;
    size_t n = 0;
    void *list;
    int err;

    while (rd_left(&count_from) > 0 && n < TAGS_MAX && tag_read(&count_from, &tag) == 0) {
        n++;
    }
    err = list_new(n, sizeof(struct tag), &list);
    if (err < 0) {
        return err;
    }
    conf->tags = list;
    conf->tag_count = (uint16_t)n;
    for (size_t i = 0; i < n && err == 0; i++) {
        err = tag_read(&r, &conf->tags[i]);
    }
    if (n > 1) {
        qsort(conf->tags, n, sizeof(struct tag), compare_tags);
    }
    return err;
}

static int read_ownerships(struct rd r, struct netconf *conf)
{
    struct ownership all[OWNERSHIPS_MAX];
    size_t n = 0;
    void *list;
    int err;

    while (rd_left(&r) > 0 && n < OWNERSHIPS_MAX) {
        if (ownership_read(&r, &all[n]) < 0) {
            return -EBADMSG;
        }
        n++;
    }
    err = list_new(n, sizeof(struct ownership), &list);
    if (err == 0 && n > 0) {
        memcpy(list, all, n * sizeof(struct ownership));
    }
    conf->ownerships = list;
    conf->ownership_count = (uint16_t)(err == 0 ? n : 0);
    return err;
}

static int read_specialists(struct rd r, struct netconf *conf)
{
    size_t n = rd_left(&r) / 8;
    void *list;
    int err;

    n = n < NETCONF_SPECIALISTS_MAX ? n : NETCONF_SPECIALISTS_MAX;
    err = list_new(n, sizeof(uint64_t), &list);
    if (err < 0) {
        return err;
    }
    conf->specialists = list;
    conf->specialist_count = (uint16_t)n;
    for (size_t i = 0; i < n; i++) {
        conf->specialists[i] = rd_u64(&r);
    }
    return 0;
}

/* One route. False if it has no target and is to be left out. */
static bool route_read(struct rd *r, struct netconf_route *ret)
{
    ret->target = inetaddr_read(r);
    ret->via = inetaddr_read(r);
    ret->flags = rd_u16(r);
    ret->metric = rd_u16(r);
    return !r->bad && ret->target.family != INETADDR_NIL;
}

static int read_routes(struct rd r, struct netconf *conf)
{
    struct netconf_route *all = calloc(NETCONF_ROUTES_MAX, sizeof(*all));
    size_t n = 0;
    void *list = NULL;
    int err = all != NULL ? 0 : -ENOMEM;

    while (err == 0 && rd_left(&r) > 0 && n < NETCONF_ROUTES_MAX) {
        n += route_read(&r, &all[n]);
    }
    if (err == 0) {
        err = r.bad ? -EBADMSG : list_new(n, sizeof(*all), &list);
    }
    if (err == 0 && n > 0) {
        memcpy(list, all, n * sizeof(*all));
        conf->routes = list;
        conf->route_count = (uint16_t)n;
    }
    free(all);
    return err;
}

static int read_addresses(struct rd r, struct netconf *conf)
{
    struct inetaddr all[NETCONF_ADDRESSES_MAX];
    size_t n = 0;
    void *list;
    int err;

    while (rd_left(&r) > 0 && n < NETCONF_ADDRESSES_MAX) {
        all[n] = inetaddr_read(&r);
        n += !r.bad && all[n].family != INETADDR_NIL;
    }
    err = r.bad ? -EBADMSG : list_new(n, sizeof(all[0]), &list);
    if (err == 0 && n > 0) {
        memcpy(list, all, n * sizeof(all[0]));
        conf->addresses = list;
        conf->address_count = (uint16_t)n;
    }
    return err;
}

static int read_rules(struct rd r, struct netconf *conf)
{
    int n = rules_count(r, RULES_BASE_MAX);
    void *list;
    int err = n < 0 ? n : list_new((size_t)n, sizeof(struct rule), &list);

    if (err < 0) {
        return err;
    }
    conf->rules = list;
    conf->rule_count = (uint16_t)n;
    return rules_read(&r, conf->rules, conf->rule_count);
}

static int read_dns(struct rd r, struct netconf *conf)
{
    struct netconf_dns dns = {0};
    bool is_empty;

    rd_copy(&r, dns.domain, DNS_DOMAIN_LEN);
    dns.domain[NETCONF_DNS_DOMAIN_MAX] = '\0';
    is_empty = dns.domain[0] == '\0';
    memset(dns.domain + strlen(dns.domain), 0, sizeof(dns.domain) - strlen(dns.domain));
    for (size_t i = 0; i < NETCONF_DNS_SERVERS; i++) {
        dns.servers[i] = inetaddr_read(&r);
        is_empty = is_empty && dns.servers[i].family == INETADDR_NIL;
    }
    if (r.bad) {
        return -EBADMSG;
    }
    if (is_empty) {
        return 0;
    }
    conf->dns = malloc(sizeof(dns));
    if (conf->dns == NULL) {
        return -ENOMEM;
    }
    *conf->dns = dns;
    return 0;
}

static int read_lists(struct dict d, struct netconf *conf)
{
    static const struct {
        const char *key;
        int (*read)(struct rd r, struct netconf *conf);
    } readers[] = {
        {"C", read_com},          {"CAP", read_capabilities}, {"TAG", read_tags},
        {"COO", read_ownerships}, {"S", read_specialists},    {"RT", read_routes},
        {"I", read_addresses},    {"R", read_rules},          {"DNS", read_dns},
    };

    for (size_t i = 0; i < COUNT_OF(readers); i++) {
        uint8_t *blob;
        size_t len;
        int err = blob_get(d, readers[i].key, &blob, &len);

        if (err == 0 && len > 0) {
            err = readers[i].read(rd_init(blob, len), conf);
        }
        free(blob);
        if (err < 0) {
            return err;
        }
    }
    return 0;
}

static int read_sso(struct dict d, struct netconf *conf)
{
    uint64_t version = dict_get_u64(d, "ssov", 0);
    bool enabled = dict_get_bool(d, "ssoe", false);
    struct dict zero = dict_init(NULL, 0);
    struct dict v0 = enabled && version == 0 ? d : zero;
    struct dict v1 = enabled && version == 1 ? d : zero;
    struct netconf_sso *sso;
    int err = 0;

    if (version == 0 && !enabled) {
        return 0;
    }
    sso = calloc(1, sizeof(*sso));
    if (sso == NULL) {
        return -ENOMEM;
    }
    conf->sso = sso;
    sso->version = version;
    sso->enabled = enabled;
    sso->auth_expiry = dict_get_i64(v0, "aexpt", 0);
    err = text_get(v0, "aurl", SSO_URL_MAX, "", &sso->auth_url);
    err = err < 0 ? err : text_get(v1, "iurl", SSO_URL_MAX, "", &sso->issuer_url);
    err = err < 0 ? err : text_get(v1, "ssoce", SSO_URL_MAX, "", &sso->central_url);
    err = err < 0 ? err : text_get(v1, "sson", SSO_NONCE_MAX, "", &sso->nonce);
    err = err < 0 ? err : text_get(v1, "ssos", SSO_STATE_MAX, "", &sso->state);
    err = err < 0 ? err : text_get(v1, "ssocid", SSO_CLIENT_MAX, "", &sso->client_id);
    err = err < 0 ? err : text_get(v1, "ssop", SSO_PROVIDER_MAX, "default", &sso->provider);
    return err;
}

static int read_name(struct dict d, struct netconf *conf)
{
    const char *name;
    int err = text_get(d, "n", NETCONF_NAME_MAX, "", &name);

    if (err == 0) {
        memcpy(conf->name, name, strlen(name) + 1);
        free((char *)name);
    }
    return err;
}

/* The numbers. Returns 0; -EBADMSG legacy form, no network or no member. */
static int read_numbers(struct dict d, struct netconf *conf)
{
    const uint64_t address_mask = (UINT64_C(1) << 40) - 1;
    uint64_t mtu = dict_get_u64(d, "mtu", NETCONF_MTU_DEFAULT);
    uint64_t type = dict_get_u64(d, "t", NETCONF_TYPE_PRIVATE);

    conf->network_id = dict_get_u64(d, "nwid", 0);
    conf->timestamp = dict_get_u64(d, "ts", 0);
    conf->window = dict_get_u64(d, "ctmd", 0);
    conf->revision = dict_get_u64(d, "r", 0);
    conf->member = dict_get_u64(d, "id", 0) & address_mask;
    conf->trace_target = dict_get_u64(d, "tt", 0) & address_mask;
    conf->trace_level = dict_get_u64(d, "tl", 0);
    conf->flags = dict_get_u64(d, "f", 0);
    conf->multicast_limit = (uint32_t)dict_get_u64(d, "ml", 0);
    conf->type = type < UINT32_MAX ? (uint32_t)type : UINT32_MAX;
    mtu = mtu > NETCONF_MTU_MIN ? mtu : NETCONF_MTU_MIN;
    conf->mtu = (uint16_t)(mtu < NETCONF_MTU_MAX ? mtu : NETCONF_MTU_MAX);
    if (dict_get_u64(d, "v", 0) < NETCONF_VERSION_MIN || conf->network_id == 0 ||
        conf->member == 0) {
        return -EBADMSG;
    }
    return 0;
}

int netconf_decode(const void *text, size_t len, struct netconf *ret)
{
    struct netconf conf = {0};
    struct dict d = dict_init(text, len);
    int err = len <= NETCONF_DICT_MAX ? read_numbers(d, &conf) : -EBADMSG;

    err = err < 0 ? err : read_name(d, &conf);
    err = err < 0 ? err : read_lists(d, &conf);
    err = err < 0 ? err : read_sso(d, &conf);
    if (err < 0) {
        netconf_free(&conf);
        return err;
    }
    *ret = conf;
    return 0;
}

static void sso_free(struct netconf_sso *sso)
{
    if (sso != NULL) {
        free((char *)sso->auth_url);
        free((char *)sso->issuer_url);
        free((char *)sso->central_url);
        free((char *)sso->nonce);
        free((char *)sso->state);
        free((char *)sso->client_id);
        free((char *)sso->provider);
        free(sso);
    }
}

void netconf_free(struct netconf *conf)
{
    for (size_t i = 0; i < conf->capability_count; i++) {
        capability_free(conf->capabilities[i]);
    }
    free(conf->capabilities);
    free(conf->com);
    free(conf->tags);
    free(conf->ownerships);
    free(conf->specialists);
    free(conf->routes);
    free(conf->addresses);
    free(conf->rules);
    free(conf->dns);
    sso_free(conf->sso);
    *conf = (struct netconf){0};
}

static bool dns_equal(const struct netconf_dns *a, const struct netconf_dns *b)
{
    if (a == NULL || b == NULL) {
        return a == b;
    }
    for (size_t i = 0; i < NETCONF_DNS_SERVERS; i++) {
        if (!inetaddr_equal(&a->servers[i], &b->servers[i])) {
            return false;
        }
    }
    return strcmp(a->domain, b->domain) == 0;
}

static bool sso_equal(const struct netconf_sso *a, const struct netconf_sso *b)
{
    if (a == NULL || b == NULL) {
        return a == b;
    }
    return a->version == b->version && a->enabled == b->enabled &&
           a->auth_expiry == b->auth_expiry && strcmp(a->auth_url, b->auth_url) == 0 &&
           strcmp(a->issuer_url, b->issuer_url) == 0 &&
           strcmp(a->central_url, b->central_url) == 0 && strcmp(a->nonce, b->nonce) == 0 &&
           strcmp(a->state, b->state) == 0 && strcmp(a->client_id, b->client_id) == 0 &&
           strcmp(a->provider, b->provider) == 0;
}

static bool numbers_equal(const struct netconf *a, const struct netconf *b)
{
    return a->network_id == b->network_id && a->timestamp == b->timestamp &&
           a->window == b->window && a->revision == b->revision && a->member == b->member &&
           a->trace_target == b->trace_target && a->trace_level == b->trace_level &&
           a->flags == b->flags && a->multicast_limit == b->multicast_limit && a->type == b->type &&
           a->mtu == b->mtu && a->capability_count == b->capability_count &&
           a->tag_count == b->tag_count && a->ownership_count == b->ownership_count &&
           a->specialist_count == b->specialist_count && a->route_count == b->route_count &&
           a->address_count == b->address_count && a->rule_count == b->rule_count &&
           strcmp(a->name, b->name) == 0;
}

/* The lists, whose lengths are equal. */
static bool credentials_equal(const struct netconf *a, const struct netconf *b)
{
    bool same = a->com == NULL || b->com == NULL ? a->com == b->com : com_equal(a->com, b->com);

    for (size_t i = 0; same && i < a->capability_count; i++) {
        same = capability_equal(a->capabilities[i], b->capabilities[i]);
    }
    for (size_t i = 0; same && i < a->tag_count; i++) {
        same = tag_equal(&a->tags[i], &b->tags[i]);
    }
    for (size_t i = 0; same && i < a->ownership_count; i++) {
        same = ownership_equal(&a->ownerships[i], &b->ownerships[i]);
    }
    return same;
}

static bool routes_equal(const struct netconf *a, const struct netconf *b)
{
    bool same = true;

    for (size_t i = 0; same && i < a->route_count; i++) {
        const struct netconf_route *x = &a->routes[i];
        const struct netconf_route *y = &b->routes[i];

        same = inetaddr_equal(&x->target, &y->target) && inetaddr_equal(&x->via, &y->via) &&
               x->flags == y->flags && x->metric == y->metric;
    }
    for (size_t i = 0; same && i < a->address_count; i++) {
        same = inetaddr_equal(&a->addresses[i], &b->addresses[i]);
    }
    for (size_t i = 0; same && i < a->specialist_count; i++) {
        same = a->specialists[i] == b->specialists[i];
    }
    return same;
}

bool netconf_equal(const struct netconf *a, const struct netconf *b)
{
    return numbers_equal(a, b) && credentials_equal(a, b) && routes_equal(a, b) &&
           rules_equal(a->rules, a->rule_count, b->rules, b->rule_count) &&
           dns_equal(a->dns, b->dns) && sso_equal(a->sso, b->sso);
}

uint64_t netconf_roles(const struct netconf *conf, uint64_t address)
{
    const uint64_t address_mask = (UINT64_C(1) << 40) - 1;
    uint64_t roles = 0;

    for (size_t i = 0; i < conf->specialist_count; i++) {
        if ((conf->specialists[i] & address_mask) == address) {
            roles |= conf->specialists[i];
        }
    }
    return roles & (SPECIALIST_BRIDGE | SPECIALIST_ANCHOR | SPECIALIST_REPLICATOR);
}
