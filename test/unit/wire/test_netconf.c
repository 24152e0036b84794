/* Network configurations: CFG-11, CFG-12, CFG-13 (refused), CFG-14, CFG-15, NET-7 (meta-data).
 * Source: spec 03 sections 3 and 5. */
#include "vectors.h"

#include "base/dict.h"
#include "base/hex.h"
#include "wire/netconf.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int load(void **state)
{
    *state = vectors_load("vl2.json");
    return 0;
}

static int unload(void **state)
{
    json_decref(*state);
    return 0;
}

/* Encode into memory of the promised size. */
static char *encode(const struct netconf *conf, size_t *ret_len)
{
    size_t cap = netconf_encode_bound(conf);
    char *text = malloc(cap);

    assert_non_null(text);
    assert_int_equal(netconf_encode(conf, text, cap, ret_len), 0);
    return text;
}

static void check_ip(const struct inetaddr *ip, const json_t *want)
{
    char text[INETADDR_TEXT_LEN];

    if (json_is_null(want)) {
        assert_int_equal(ip->family, INETADDR_NIL);
        return;
    }
    inetaddr_print(ip, text);
    assert_string_equal(text, json_string_value(want));
}

static void check_numbers(const struct netconf *conf, const json_t *p)
{
    assert_int_equal(conf->network_id, vec_hex_u64(p, "networkId"));
    assert_int_equal(conf->timestamp, vec_int(p, "timestamp"));
    assert_int_equal(conf->window, vec_int(p, "credentialTimeMaxDelta"));
    assert_int_equal(conf->revision, vec_int(p, "revision"));
    assert_int_equal(conf->member, vec_hex_u64(p, "issuedTo"));
    assert_int_equal(conf->trace_target, vec_hex_u64(p, "remoteTraceTarget"));
    assert_int_equal(conf->trace_level, vec_int(p, "remoteTraceLevel"));
    assert_int_equal(conf->flags, vec_hex_u64(p, "flags"));
    assert_int_equal(conf->mtu, vec_int(p, "mtu"));
    assert_int_equal(conf->multicast_limit, vec_int(p, "multicastLimit"));
    assert_int_equal(conf->type, vec_int(p, "type"));
    assert_string_equal(conf->name, vec_text(p, "name"));
}

static void check_credentials(const struct netconf *conf, const json_t *p)
{
    const json_t *item;
    size_t i;

    assert_int_equal(conf->com != NULL, vec_bool(p, "hasCom"));
    if (conf->com != NULL) {
        size_t len;
        uint8_t *want = vec_bytes(p, "com", &len);
        uint8_t out[COM_WIRE_MAX];
        struct wr w = wr_init(out, sizeof(out));

        com_write(&w, conf->com);
        assert_int_equal(wr_len(&w), len);
        assert_memory_equal(out, want, len);
        free(want);
    }
    assert_int_equal(conf->ownership_count, vec_int(p, "certificatesOfOwnership"));
    assert_int_equal(conf->capability_count, json_array_size(vec_get(p, "capabilityIds")));
    json_array_foreach(vec_get(p, "capabilityIds"), i, item)
    {
        assert_int_equal(conf->capabilities[i]->id, json_integer_value(item));
    }
    assert_int_equal(conf->tag_count, json_array_size(vec_get(p, "tags")));
    json_array_foreach(vec_get(p, "tags"), i, item)
    {
        assert_int_equal(conf->tags[i].id, json_integer_value(json_array_get(item, 0)));
        assert_int_equal(conf->tags[i].value, json_integer_value(json_array_get(item, 1)));
    }
}

static void check_lists(const struct netconf *conf, const json_t *p)
{
    const json_t *item;
    size_t i;
    size_t n = 0;
    char text[4096];
    uint8_t out[2048];
    struct wr w = wr_init(out, sizeof(out));

    assert_int_equal(conf->specialist_count, json_array_size(vec_get(p, "specialists")));
    json_array_foreach(vec_get(p, "specialists"), i, item)
    {
        hex_from_u64(conf->specialists[i], 16, text);
        assert_string_equal(text, json_string_value(item));
    }
    assert_int_equal(conf->route_count, json_array_size(vec_get(p, "routes")));
    json_array_foreach(vec_get(p, "routes"), i, item)
    {
        check_ip(&conf->routes[i].target, vec_get(item, "target"));
        check_ip(&conf->routes[i].via, vec_get(item, "via"));
        assert_int_equal(conf->routes[i].flags, vec_int(item, "flags"));
        assert_int_equal(conf->routes[i].metric, vec_int(item, "metric"));
    }
    json_array_foreach(vec_get(p, "staticIps"), i, item)
    {
        if (json_string_length(item) > 0) { /* empty entries are left out */
            assert_true(n < conf->address_count);
            check_ip(&conf->addresses[n++], item);
        }
    }
    assert_int_equal(conf->address_count, n);
    rules_write(&w, conf->rules, conf->rule_count);
    hex_encode(out, wr_len(&w), text);
    assert_string_equal(text, vec_text(p, "rulesHex"));
}

static void check_dns_sso(const struct netconf *conf, const json_t *p)
{
    static const struct netconf_dns no_dns = {0};
    static const struct netconf_sso no_sso = {.auth_url = "",
                                              .issuer_url = "",
                                              .central_url = "",
                                              .nonce = "",
                                              .state = "",
                                              .client_id = "",
                                              .provider = "default"};
    const struct netconf_dns *dns = conf->dns != NULL ? conf->dns : &no_dns;
    const struct netconf_sso *sso = conf->sso != NULL ? conf->sso : &no_sso;
    const json_t *s = vec_get(p, "sso");
    const json_t *servers = vec_get(vec_get(p, "dns"), "servers");

    assert_string_equal(dns->domain, vec_text(vec_get(p, "dns"), "domain"));
    for (size_t i = 0; i < NETCONF_DNS_SERVERS; i++) {
        check_ip(&dns->servers[i], json_array_get(servers, i));
    }
    assert_int_equal(sso->enabled, vec_bool(s, "enabled"));
    assert_int_equal(sso->version, vec_int(s, "version"));
    assert_string_equal(sso->auth_url, vec_text(s, "authenticationURL"));
    assert_int_equal(sso->auth_expiry, vec_int(s, "authenticationExpiryTime"));
    assert_string_equal(sso->issuer_url, vec_text(s, "issuerURL"));
    assert_string_equal(sso->central_url, vec_text(s, "centralAuthURL"));
    assert_string_equal(sso->nonce, vec_text(s, "nonce"));
    assert_string_equal(sso->state, vec_text(s, "state"));
    assert_string_equal(sso->client_id, vec_text(s, "clientId"));
    assert_string_equal(sso->provider, vec_text(s, "provider"));
}

/* CFG-14: written and read again it is the same. */
static void check_again(const struct netconf *conf)
{
    struct netconf again;
    size_t len;
    char *text = encode(conf, &len);
    char *small = malloc(len);

    assert_int_equal(netconf_decode(text, len, &again), 0);
    assert_true(netconf_equal(conf, &again));
    netconf_free(&again);
    assert_non_null(small);
    assert_int_equal(netconf_encode(conf, small, len, &len), -ENOSPC);
    free(small);
    free(text);
}

/* Bring the sorted lists back into the order of the dictionary. */
static void unsort(struct netconf *conf, const void *dict, size_t len)
{
    struct dict d = dict_init(dict, len);
    uint8_t *blob = malloc(len + 1);
    size_t blob_len = 0;
    struct rd r;

    assert_non_null(blob);
    if (dict_get(d, "TAG", blob, len, &blob_len) == 0) {
        r = rd_init(blob, blob_len);
        for (size_t i = 0; i < conf->tag_count; i++) {
            assert_int_equal(tag_read(&r, &conf->tags[i]), 0);
        }
    }
    blob_len = 0;
    if (dict_get(d, "CAP", blob, len, &blob_len) == 0) {
        r = rd_init(blob, blob_len);
        for (size_t i = 0; i < conf->capability_count; i++) {
            capability_free(conf->capabilities[i]);
            conf->capabilities[i] = NULL;
            assert_int_equal(capability_read(&r, &conf->capabilities[i]), 0);
        }
    }
    free(blob);
}

/* CFG-11, CFG-14 */
static void test_vectors(void **state)
{
    const json_t *entry;
    size_t i;
    size_t exact = 0;

    json_array_foreach(vec_get(*state, "networkConfigs"), i, entry)
    {
        size_t len;
        uint8_t *dict = vec_bytes(entry, "dictionary", &len);
        struct netconf conf;
        int err = netconf_decode(dict, len, &conf);

        assert_int_equal(err, vec_bool(entry, "accepted") ? 0 : -EBADMSG);
        if (err == 0) {
            const json_t *p = vec_get(entry, "parsed");
            size_t out_len;
            char *text;

            check_numbers(&conf, p);
            check_credentials(&conf, p);
            check_lists(&conf, p);
            check_dns_sso(&conf, p);
            check_again(&conf);
            unsort(&conf, dict, len);
            text = encode(&conf, &out_len);
            /* those the reference encoder wrote come out byte for byte */
            exact += out_len == len && memcmp(text, dict, len) == 0;
            free(text);
            netconf_free(&conf);
        }
        free(dict);
    }
    assert_true(i >= 24);
    assert_true(exact >= 4);
}

/* CFG-13: the pre-2021 form is refused; its keys beside the current ones are ignored. */
static void test_legacy_is_refused(void **state)
{
    const json_t *entry;
    size_t i;
    size_t accepted = 0;

    json_array_foreach(vec_get(*state, "legacyConfigs"), i, entry)
    {
        size_t len;
        uint8_t *dict = vec_bytes(entry, "dictionary", &len);
        struct netconf conf;
        int err = netconf_decode(dict, len, &conf);

        assert_int_equal(err, vec_bool(entry, "acceptedByStock1141") ? 0 : -EBADMSG);
        if (err == 0) {
            const json_t *p = vec_get(entry, "parsed");

            check_numbers(&conf, p);
            check_credentials(&conf, p);
            check_lists(&conf, p);
            check_dns_sso(&conf, p);
            netconf_free(&conf);
            accepted++;
        }
        free(dict);
    }
    assert_int_equal(i, 5);
    assert_int_equal(accepted, 1);
}

/* A configuration text of v, nwid, id and one blob made of `count` copies of a record. */
static int decode_copies(const char *key, const void *record, size_t len, size_t count,
                         const void *tail, size_t tail_len, struct netconf *ret)
{
    size_t blob_len = len * count + tail_len;
    uint8_t *blob = malloc(blob_len + 1);
    char *text = malloc(2 * blob_len + 200);
    struct dict_writer w = dict_writer_init(text, 2 * blob_len + 200);
    int err;

    for (size_t i = 0; i < count; i++) {
        memcpy(blob + i * len, record, len);
    }
    if (tail_len > 0) {
        memcpy(blob + count * len, tail, tail_len);
    }
    assert_int_equal(dict_put_u64(&w, "v", 7), 0);
    assert_int_equal(dict_put_u64(&w, "nwid", UINT64_C(0x14d76e47dc000001)), 0);
    assert_int_equal(dict_put_addr10(&w, "id", UINT64_C(0x80d8389363)), 0);
    assert_int_equal(dict_put_text(&w, "some_unknown_key", "x"), 0); /* CFG-15 */
    assert_int_equal(dict_put(&w, key, blob, blob_len), 0);
    err = netconf_decode(text, w.len, ret);
    free(text);
    free(blob);
    return err;
}

static uint16_t list_count(const struct netconf *conf, const char *key)
{
    const struct {
        const char *key;
        uint16_t count;
    } counts[] = {
        {"CAP", conf->capability_count}, {"TAG", conf->tag_count},  {"COO", conf->ownership_count},
        {"S", conf->specialist_count},   {"RT", conf->route_count}, {"I", conf->address_count},
        {"R", conf->rule_count},
    };

    for (size_t i = 0; i < COUNT_OF(counts); i++) {
        if (strcmp(counts[i].key, key) == 0) {
            return counts[i].count;
        }
    }
    return 0;
}

/* One record of each list. */
static size_t record_of(json_t *root, const char *key, uint8_t out[512])
{
    static const struct {
        const char *key;
        const char *section;
    } credentials[] = {{"CAP", "capability"}, {"TAG", "tag"}, {"COO", "coo"}};
    static const struct {
        const char *key;
        const char *hex;
    } plain[] = {
        {"S", "000002c67156ba0d"},
        {"RT", "040a931100001800"
               "00000000"},
        {"I", "040a0000010018"},
        {"R", "25020800"},
    };
    const char *hex = NULL;
    size_t len;
    uint8_t *bytes;

    for (size_t i = 0; i < COUNT_OF(credentials); i++) {
        if (strcmp(credentials[i].key, key) == 0) {
            hex = vec_text(
                json_array_get(vec_get(vec_get(root, "credentials"), credentials[i].section), 0),
                "serialized");
        }
    }
    for (size_t i = 0; i < COUNT_OF(plain); i++) {
        if (strcmp(plain[i].key, key) == 0) {
            hex = plain[i].hex;
        }
    }
    assert_non_null(hex);
    bytes = hex_bytes(hex, &len);
    assert_true(len <= 512);
    memcpy(out, bytes, len);
    free(bytes);
    return len;
}

/* CFG-12, and the table of limits and damage in spec 03 section 5.1. */
static void test_limits_and_damage(void **state)
{
    static const struct {
        const char *key;
        uint16_t max;
        int damaged; /* result with a cut entry behind one good one */
    } table[] = {
        {"CAP", CAPABILITIES_MAX, 0},         {"TAG", TAGS_MAX, 0},
        {"COO", OWNERSHIPS_MAX, -EBADMSG},    {"S", NETCONF_SPECIALISTS_MAX, 0},
        {"RT", NETCONF_ROUTES_MAX, -EBADMSG}, {"I", NETCONF_ADDRESSES_MAX, -EBADMSG},
        {"R", RULES_BASE_MAX, -EBADMSG},
    };

    for (size_t i = 0; i < COUNT_OF(table); i++) {
        uint8_t record[512];
        size_t len = record_of(*state, table[i].key, record);
        struct netconf conf;

        assert_int_equal(
            decode_copies(table[i].key, record, len, (size_t)table[i].max + 3, NULL, 0, &conf), 0);
        assert_int_equal(list_count(&conf, table[i].key), table[i].max);
        check_again(&conf);
        netconf_free(&conf);
        assert_int_equal(decode_copies(table[i].key, record, len, 1, record, len - 1, &conf),
                         table[i].damaged);
        if (table[i].damaged == 0) {
            assert_int_equal(list_count(&conf, table[i].key), 1);
            netconf_free(&conf);
        }
    }
}

static void test_dns_must_be_whole(void **state)
{
    static const struct {
        size_t len;
        int want;
    } table[] = {{127, -EBADMSG}, {128, -EBADMSG}, {131, -EBADMSG}, {132, 0}, {140, 0}};
    static const uint8_t zero[140];
    struct netconf conf;
    uint8_t full[132];

    (void)state;
    for (size_t i = 0; i < COUNT_OF(table); i++) {
        assert_int_equal(decode_copies("DNS", zero, table[i].len, 1, NULL, 0, &conf),
                         table[i].want);
        if (table[i].want == 0) {
            assert_null(conf.dns);
            netconf_free(&conf);
        }
    }
    memset(full, 'x', 128);
    memset(full + 128, 0, 4);
    assert_int_equal(decode_copies("DNS", full, sizeof(full), 1, NULL, 0, &conf), 0);
    assert_int_equal(strlen(conf.dns->domain), 127);
    check_again(&conf);
    netconf_free(&conf);
}

static void test_names_are_cut(void **state)
{
    char text[600] = "v=7\nnwid=1\nid=2\nn=";
    struct netconf conf;

    (void)state;
    memset(text + strlen(text), 'n', 300);
    assert_int_equal(netconf_decode(text, strlen(text), &conf), 0);
    assert_int_equal(strlen(conf.name), NETCONF_NAME_MAX);
    check_again(&conf);
    netconf_free(&conf);
}

static void test_equal_sees_every_list(void **state)
{
    size_t len;
    uint8_t *dict =
        vec_bytes(json_array_get(vec_get(*state, "networkConfigs"), 2), "dictionary", &len);
    struct netconf a;
    struct netconf b;

    assert_int_equal(netconf_decode(dict, len, &a), 0);
    assert_int_equal(netconf_decode(dict, len, &b), 0);
    assert_true(netconf_equal(&a, &b));
    b.tags[0].value ^= 1;
    assert_false(netconf_equal(&a, &b));
    b.tags[0].value ^= 1;
    b.routes[1].metric ^= 1;
    assert_false(netconf_equal(&a, &b));
    b.routes[1].metric ^= 1;
    b.rules[0].is_not ^= true;
    assert_false(netconf_equal(&a, &b));
    b.rules[0].is_not ^= true;
    b.dns->domain[0] ^= 1;
    assert_false(netconf_equal(&a, &b));
    b.dns->domain[0] ^= 1;
    b.sso->version ^= 1;
    assert_false(netconf_equal(&a, &b));
    b.sso->version ^= 1;
    b.com->signature[5] ^= 1;
    assert_false(netconf_equal(&a, &b));
    b.com->signature[5] ^= 1;
    b.capabilities[0]->raw[0] ^= 1;
    assert_false(netconf_equal(&a, &b));
    b.capabilities[0]->raw[0] ^= 1;
    assert_true(netconf_equal(&a, &b));
    assert_int_equal(netconf_roles(&a, UINT64_C(0xc67156ba0d)), SPECIALIST_BRIDGE);
    assert_int_equal(netconf_roles(&a, UINT64_C(0xd227516ad6)),
                     SPECIALIST_ANCHOR | SPECIALIST_REPLICATOR);
    assert_int_equal(netconf_roles(&a, 5), 0);
    netconf_free(&a);
    netconf_free(&b);
    free(dict);
}

/* Any cut and any altered byte: refused or read, never a fault. */
static void test_damaged_texts(void **state)
{
    struct test_rng rng = test_rng_init("configurations");
    size_t len;
    uint8_t *dict =
        vec_bytes(json_array_get(vec_get(*state, "networkConfigs"), 2), "dictionary", &len);

    for (size_t round = 0; round < 3000; round++) {
        size_t cut = round < len ? round : len;
        uint8_t *part = exact_copy(dict, cut);
        struct netconf conf;

        if (round >= len) {
            part[test_rng_below(&rng, cut)] = (uint8_t)test_rng_u64(&rng);
        }
        if (netconf_decode(part, cut, &conf) == 0) {
            check_again(&conf);
            netconf_free(&conf);
        }
        free(part);
    }
    free(dict);
}

/* NET-7 */
static void test_meta_vectors(void **state)
{
    const json_t *entry;
    size_t i;

    json_array_foreach(vec_get(*state, "configRequests"), i, entry)
    {
        struct netconf_meta meta = netconf_meta_default();
        struct netconf_meta back;
        char text[NETCONF_META_MAX + 1];
        size_t len;

        meta.vendor = 1;
        meta.major = 1;
        meta.minor = 14;
        meta.revision = 1;
        strcpy(meta.os, "linux/x86_64");
        assert_int_equal(netconf_meta_encode(&meta, text, sizeof(text), &len), 0);
        assert_string_equal(text, vec_text(entry, "metadataText"));
        netconf_meta_decode(text, len, &back);
        assert_memory_equal(&meta, &back, sizeof(meta));
        assert_int_equal(netconf_meta_encode(&meta, text, 100, &len), -ENOSPC);
    }
}

static void test_meta_of_others(void **state)
{
    struct netconf_meta meta;
    char text[600] = "a=token:abc\\e\nmajv=ff\nv=6\no=";

    (void)state;
    memset(text + strlen(text), 'o', 300);
    netconf_meta_decode(text, strlen(text), &meta);
    assert_string_equal(meta.auth, "token:abc=");
    assert_int_equal(meta.version, 6);
    assert_int_equal(meta.major, 255);
    assert_int_equal(meta.rules_revision, 0);
    for (size_t i = 0; i < sizeof(meta.os); i++) {
        assert_int_equal(meta.os[i], 0); /* nothing of the overlong text stays */
    }
    netconf_meta_decode(NULL, 0, &meta);
    assert_int_equal(meta.version, 0);
    assert_string_equal(meta.auth, "");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_vectors),           cmocka_unit_test(test_legacy_is_refused),
        cmocka_unit_test(test_limits_and_damage), cmocka_unit_test(test_dns_must_be_whole),
        cmocka_unit_test(test_names_are_cut),     cmocka_unit_test(test_equal_sees_every_list),
        cmocka_unit_test(test_damaged_texts),     cmocka_unit_test(test_meta_vectors),
        cmocka_unit_test(test_meta_of_others),
    };

    return cmocka_run_group_tests(tests, load, unload);
}
