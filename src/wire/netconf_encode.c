/* Network configurations: writing, in the key order of the reference.
 * Source: spec 03 section 5.1. */
#include "base/cursor.h"
#include "base/dict.h"
#include "wire/netconf.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum {
    DNS_DOMAIN_LEN = 128,
    DNS_BLOB_MAX = DNS_DOMAIN_LEN + NETCONF_DNS_SERVERS * INETADDR_WIRE_MAX,
    ROUTE_MAX = 2 * INETADDR_WIRE_MAX + 4,
    NUMBERS_MAX = 768, /* all keys with numbers, keys of blobs and separators */
};

static const struct netconf_sso no_sso = {
    .auth_url = "",
    .issuer_url = "",
    .central_url = "",
    .nonce = "",
    .state = "",
    .client_id = "",
    .provider = "",
};

static size_t capabilities_len(const struct netconf *conf)
{
    size_t len = 0;

    for (size_t i = 0; i < conf->capability_count; i++) {
        len += capability_wire_len(conf->capabilities[i]);
    }
    return len;
}

/* Blobs in the order of the dictionary: a bound of the bytes, and the bytes. */

static size_t bound_com(const struct netconf *conf)
{
    return conf->com != NULL ? com_wire_len(conf->com) : 0;
}

static void write_com(struct wr *w, const struct netconf *conf)
{
    if (conf->com != NULL) {
        com_write(w, conf->com);
    }
}

static void write_capabilities(struct wr *w, const struct netconf *conf)
{
    for (size_t i = 0; i < conf->capability_count; i++) {
        capability_write(w, conf->capabilities[i]);
    }
}

static size_t bound_tags(const struct netconf *conf)
{
    return (size_t)conf->tag_count * TAG_WIRE_LEN;
}

static void write_tags(struct wr *w, const struct netconf *conf)
{
    for (size_t i = 0; i < conf->tag_count; i++) {
        tag_write(w, &conf->tags[i]);
    }
}

static size_t bound_ownerships(const struct netconf *conf)
{
    return (size_t)conf->ownership_count * OWNERSHIP_WIRE_MAX;
}

static void write_ownerships(struct wr *w, const struct netconf *conf)
{
    for (size_t i = 0; i < conf->ownership_count; i++) {
        ownership_write(w, &conf->ownerships[i]);
    }
}

static size_t bound_specialists(const struct netconf *conf)
{
    return (size_t)conf->specialist_count * 8;
}

static void write_specialists(struct wr *w, const struct netconf *conf)
{
    for (size_t i = 0; i < conf->specialist_count; i++) {
        wr_u64(w, conf->specialists[i]);
    }
}

static size_t bound_routes(const struct netconf *conf)
{
    return (size_t)conf->route_count * ROUTE_MAX;
}

static void write_routes(struct wr *w, const struct netconf *conf)
{
    for (size_t i = 0; i < conf->route_count; i++) {
        inetaddr_write(w, &conf->routes[i].target);
        inetaddr_write(w, &conf->routes[i].via);
        wr_u16(w, conf->routes[i].flags);
        wr_u16(w, conf->routes[i].metric);
    }
}

static size_t bound_addresses(const struct netconf *conf)
{
    return (size_t)conf->address_count * INETADDR_WIRE_MAX;
}

static void write_addresses(struct wr *w, const struct netconf *conf)
{
    for (size_t i = 0; i < conf->address_count; i++) {
        inetaddr_write(w, &conf->addresses[i]);
    }
}

static size_t bound_rules(const struct netconf *conf)
{
    return rules_wire_len(conf->rules, conf->rule_count);
}

static void write_rules(struct wr *w, const struct netconf *conf)
{
    rules_write(w, conf->rules, conf->rule_count);
}

static size_t bound_dns(const struct netconf *conf)
{
    (void)conf;
    return DNS_BLOB_MAX;
}

/* Always written, also when empty. */
static void write_dns(struct wr *w, const struct netconf *conf)
{
    static const struct netconf_dns none = {0};
    const struct netconf_dns *dns = conf->dns != NULL ? conf->dns : &none;
    size_t len = strnlen(dns->domain, NETCONF_DNS_DOMAIN_MAX);

    wr_bytes(w, dns->domain, len);
    wr_zero(w, DNS_DOMAIN_LEN - len);
    for (size_t i = 0; i < NETCONF_DNS_SERVERS; i++) {
        inetaddr_write(w, &dns->servers[i]);
    }
}

static const struct blob {
    const char *key;
    size_t (*bound)(const struct netconf *conf);
    void (*write)(struct wr *w, const struct netconf *conf);
} blobs[] = {
    {"C", bound_com, write_com},
    {"CAP", capabilities_len, write_capabilities},
    {"TAG", bound_tags, write_tags},
    {"COO", bound_ownerships, write_ownerships},
    {"S", bound_specialists, write_specialists},
    {"RT", bound_routes, write_routes},
    {"I", bound_addresses, write_addresses},
    {"R", bound_rules, write_rules},
    {"DNS", bound_dns, write_dns},
};

static int put_numbers(struct dict_writer *w, const struct netconf *conf)
{
    dict_put_u64(w, "v", NETCONF_VERSION);
    dict_put_u64(w, "nwid", conf->network_id);
    dict_put_u64(w, "ts", conf->timestamp);
    dict_put_u64(w, "ctmd", conf->window);
    dict_put_u64(w, "r", conf->revision);
    dict_put_addr10(w, "id", conf->member);
    dict_put_addr10(w, "tt", conf->trace_target);
    dict_put_u64(w, "tl", conf->trace_level);
    dict_put_u64(w, "f", conf->flags);
    dict_put_u64(w, "ml", conf->multicast_limit);
    dict_put_u64(w, "t", conf->type);
    dict_put_text(w, "n", conf->name);
    dict_put_u64(w, "mtu", conf->mtu);
    return w->bad ? -ENOSPC : 0;
}

static int put_blobs(struct dict_writer *w, const struct netconf *conf)
{
    size_t largest = 0;
    uint8_t *buf;

    for (size_t i = 0; i < COUNT_OF(blobs); i++) {
        size_t bound = blobs[i].bound(conf);

        largest = bound > largest ? bound : largest;
    }
    buf = malloc(largest);
    if (buf == NULL) {
        return -ENOMEM;
    }
    for (size_t i = 0; i < COUNT_OF(blobs); i++) {
        struct wr out = wr_init(buf, largest);

        blobs[i].write(&out, conf);
        if (wr_len(&out) > 0) {
            dict_put(w, blobs[i].key, buf, wr_len(&out));
        }
    }
    free(buf);
    return w->bad ? -ENOSPC : 0;
}

static int put_sso(struct dict_writer *w, const struct netconf_sso *sso)
{
    dict_put_u64(w, "ssov", sso->version);
    dict_put_bool(w, "ssoe", sso->enabled);
    if (sso->version == 0 && sso->enabled) {
        if (sso->auth_url[0] != '\0') {
            dict_put_text(w, "aurl", sso->auth_url);
        }
        dict_put_i64(w, "aexpt", sso->auth_expiry);
    } else if (sso->version == 1) {
        dict_put_text(w, "iurl", sso->issuer_url);
        dict_put_text(w, "ssoce", sso->central_url);
        dict_put_text(w, "sson", sso->nonce);
        dict_put_text(w, "ssos", sso->state);
        dict_put_text(w, "ssocid", sso->client_id);
        dict_put_text(w, "ssop", sso->provider);
    }
    return w->bad ? -ENOSPC : 0;
}

int netconf_encode(const struct netconf *conf, char *text, size_t cap, size_t *ret_len)
{
    struct dict_writer w;
    int err;

    if (cap == 0) {
        return -ENOSPC;
    }
    w = dict_writer_init(text, cap);
    err = put_numbers(&w, conf);
    err = err < 0 ? err : put_blobs(&w, conf);
    err = err < 0 ? err : put_sso(&w, conf->sso != NULL ? conf->sso : &no_sso);
    if (err < 0) {
        return err;
    }
    *ret_len = w.len;
    return 0;
}

size_t netconf_encode_bound(const struct netconf *conf)
{
    const struct netconf_sso *sso = conf->sso != NULL ? conf->sso : &no_sso;
    size_t payload = strlen(conf->name) + strlen(sso->auth_url) + strlen(sso->issuer_url) +
                     strlen(sso->central_url) + strlen(sso->nonce) + strlen(sso->state) +
                     strlen(sso->client_id) + strlen(sso->provider);

    for (size_t i = 0; i < COUNT_OF(blobs); i++) {
        payload += blobs[i].bound(conf);
    }
    return NUMBERS_MAX + 2 * payload;
}
