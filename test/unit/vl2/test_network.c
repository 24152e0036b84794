/* Networks from outside: vectors [adhoc] (NET-1), [statusSequence] (NET-3), [configRequests]
 * (NET-7), and NET-2, NET-4 to NET-6, NET-9, SSO-1, MGD-2, Do better 26, 28.
 * Source: spec 03 sections 1, 2, 3, 18. */
#include "bench.h"

#include "base/dict.h"
#include "base/hex.h"
#include "wire/vl1msg.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static uint64_t controller(const struct bench *b)
{
    return bench_id(b, 'C')->address;
}

static size_t requests(const struct bench *b)
{
    return bench_count(b, controller(b), VERB_NETWORK_CONFIG_REQUEST);
}

static enum network_status status_of(const struct bench *b)
{
    struct node_network_info info;

    assert_int_equal(vl2_network_get(b->vl2, BENCH_NWID, &info), 0);
    return info.status;
}

static void error_in(struct bench *b, char from, enum verb re, enum error_code code,
                     const char *dict)
{
    uint8_t payload[1000];
    struct wr w = wr_init(payload, sizeof(payload));

    wr_u64(&w, BENCH_NWID);
    if (dict != NULL) {
        wr_u16(&w, (uint16_t)strlen(dict));
        wr_bytes(&w, dict, strlen(dict));
    }
    assert_int_equal(bench_in_error(b, bench_id(b, from), re, code, payload, wr_len(&w)), VL1_DONE);
}

/* ---- ad-hoc ---- */

static char *rules_hex(const struct netconf *conf)
{
    size_t len = rules_wire_len(conf->rules, conf->rule_count);
    uint8_t *bytes = malloc(len + 1);
    char *hex = malloc(2 * len + 1);
    struct wr w = wr_init(bytes, len);

    rules_write(&w, conf->rules, conf->rule_count);
    assert_false(w.bad);
    hex_encode(bytes, len, hex);
    free(bytes);
    return hex;
}

static void check_adhoc(const struct netconf *conf, const json_t *want)
{
    const json_t *ips = vec_get(want, "staticIps");
    const json_t *specialists = vec_get(want, "specialists");
    char *hex = rules_hex(conf);

    assert_string_equal(conf->name, vec_text(want, "name"));
    assert_string_equal(hex, vec_text(want, "rulesHex"));
    assert_int_equal(conf->network_id, vec_hex_u64(want, "networkId"));
    assert_int_equal(conf->timestamp, vec_int(want, "timestamp"));
    assert_int_equal(conf->window, vec_int(want, "credentialTimeMaxDelta"));
    assert_int_equal(conf->revision, vec_int(want, "revision"));
    assert_int_equal(conf->member, vec_hex_u64(want, "issuedTo"));
    assert_int_equal(conf->flags, vec_hex_u64(want, "flags"));
    assert_int_equal(conf->mtu, vec_int(want, "mtu"));
    assert_int_equal(conf->multicast_limit, vec_int(want, "multicastLimit"));
    assert_int_equal(conf->type, vec_int(want, "type"));
    assert_null(conf->com);
    assert_int_equal(conf->specialist_count, json_array_size(specialists));
    for (size_t i = 0; i < conf->specialist_count; i++) {
        assert_int_equal(conf->specialists[i],
                         strtoull(json_string_value(json_array_get(specialists, i)), NULL, 16));
    }
    assert_int_equal(conf->address_count, json_array_size(ips));
    for (size_t i = 0; i < conf->address_count; i++) {
        char text[INETADDR_TEXT_LEN];

        inetaddr_print(&conf->addresses[i], text);
        assert_string_equal(text, json_string_value(json_array_get(ips, i)));
    }
    free(hex);
}

static void test_implied_configurations_of_the_vectors(void **state)
{
    json_t *root = vectors_load("vl2.json");
    const json_t *entry;
    size_t i;

    (void)state;
    json_array_foreach(vec_get(root, "adhoc"), i, entry)
    {
        uint64_t nwid = vec_hex_u64(entry, "networkId");
        const json_t *want = json_object_get(entry, "config");
        struct bench *b = bench_new();
        struct node_network_info info;

        b->vl1.wall_offset_ms = 1700000001234 - b->now;
        assert_int_equal(vl2_join(b->vl2, nwid, NULL, b->now), 0);
        assert_int_equal(vl2_network_get(b->vl2, nwid, &info), 0);
        assert_int_equal(info.status, vec_int(entry, "status"));
        if (want != NULL) {
            assert_non_null(info.config);
            check_adhoc(info.config, want);
        } else {
            assert_null(info.config);
        }
        bench_run(b, 300000);
        assert_int_equal(b->vl1.sent_count, 0); /* NET-2: nobody is asked */
        bench_free(b);
    }
    assert_int_equal(i, 6);
    json_decref(root);
}

/* NET-2, Do better 17. */
static void test_ad_hoc_members_exchange_frames(void **state)
{
    struct bench *b = *state;
    uint64_t nwid = 0xff0a000000000001 | bench_id(b, 'D')->address << 8;
    uint64_t to = bench_id(b, 'B')->address;
    struct multicast_group g = {.mac = 0x3333000000fb};
    uint8_t frame[] = {0xff, 0x0a, 0, 0, 0, 0, 0, 1, 8, 0, 'h', 'i'};
    struct network *net;

    assert_int_equal(vl2_join(b->vl2, nwid, NULL, b->now), 0);
    net = vl2_find(b->vl2, nwid);
    assert_int_equal(b->vl1.kept_count, 1); /* the hub */
    assert_int_equal(b->vl1.kept[0], bench_id(b, 'D')->address);
    vl2_port_groups(b->vl2, nwid, &g, 1, b->now);
    assert_int_equal(bench_count(b, bench_id(b, 'D')->address, VERB_MULTICAST_LIKE), 1);
    assert_int_equal(b->vl1.sent_count, 1);
    vl2_frame(b->vl2, nwid, mac_of_member(nwid, to), net->mac, 0x0800, frame + 10, 2, b->now);
    assert_int_equal(bench_count(b, to, VERB_FRAME), 1);
    assert_int_equal(bench_count(b, to, VERB_NETWORK_CREDENTIALS), 0);
    be64_put(frame, nwid);
    assert_int_equal(bench_in(b, bench_id(b, 'B'), VERB_FRAME, frame, sizeof(frame)), VL1_TRUST);
    assert_int_equal(b->vl1.frame_count, 1);
    /* gathers go to root and hub, never to the controller that does not exist */
    b->vl1.upstreams[b->vl1.upstream_count++] = 0xcafe9efeb9;
    vl2_frame(b->vl2, nwid, g.mac, net->mac, 0x86dd, frame + 10, 2, b->now);
    assert_int_equal(bench_count(b, 0, VERB_MULTICAST_GATHER), 2);
    assert_int_equal(bench_count(b, bench_id(b, 'D')->address, VERB_MULTICAST_GATHER), 1);
    assert_int_equal(bench_count(b, 0xcafe9efeb9, VERB_MULTICAST_GATHER), 1);
}

/* ---- status ---- */

static void check_status(const struct bench *b, const json_t *want)
{
    static const struct netconf_sso none = {.auth_url = "",
                                            .issuer_url = "",
                                            .central_url = "",
                                            .nonce = "",
                                            .state = "",
                                            .client_id = "",
                                            .provider = "default"};
    const struct netconf_sso *sso;
    struct node_network_info info;

    assert_int_equal(vl2_network_get(b->vl2, BENCH_NWID, &info), 0);
    sso = info.sso != NULL ? info.sso : &none;
    assert_int_equal(info.status, vec_int(want, "status"));
    assert_int_equal(info.mtu, vec_int(want, "mtu"));
    assert_string_equal(info.config != NULL ? info.config->name : "", vec_text(want, "name"));
    assert_int_equal(info.config != NULL ? info.config->revision : 0,
                     vec_int(want, "netconfRevision"));
    assert_string_equal(info.auth_url, vec_text(want, "authenticationURL"));
    assert_int_equal(sso->enabled, vec_bool(want, "ssoEnabled"));
    assert_int_equal(sso->version, vec_int(want, "ssoVersion"));
    assert_string_equal(sso->issuer_url, vec_text(want, "issuerURL"));
    assert_string_equal(sso->central_url, vec_text(want, "centralAuthURL"));
    assert_string_equal(sso->nonce, vec_text(want, "ssoNonce"));
    assert_string_equal(sso->state, vec_text(want, "ssoState"));
    assert_string_equal(sso->client_id, vec_text(want, "ssoClientID"));
    assert_string_equal(sso->provider, vec_text(want, "ssoProvider"));
}

static void configuration_of_vectors(struct bench *b, const json_t *root)
{
    const json_t *sent = json_array_get(vec_get(vec_get(root, "configChunks"), "sent"), 1);
    const json_t *packet = json_array_get(vec_get(sent, "packets"), 0);
    size_t len;
    uint8_t *payload = vec_bytes(packet, "payload", &len);

    assert_int_equal(bench_in(b, bench_id(b, 'C'), VERB_NETWORK_CONFIG, payload, len), VL1_DONE);
    free(payload);
}

static void test_status_sequence_of_the_vectors(void **state)
{
    struct bench *b = *state;
    json_t *root = vectors_load("vl2.json");
    const json_t *entry;
    size_t i;

    bench_join(b, BENCH_NWID);
    json_array_foreach(vec_get(root, "statusSequence"), i, entry)
    {
        const char *after = vec_text(entry, "after");

        if (strstr(after, "OBJ_NOT_FOUND") != NULL) {
            error_in(b, 'C', VERB_NETWORK_CONFIG_REQUEST, ERROR_OBJ_NOT_FOUND, NULL);
        } else if (strstr(after, "ACCESS_DENIED") != NULL) {
            error_in(b, 'C', VERB_NETWORK_CONFIG_REQUEST, ERROR_NETWORK_ACCESS_DENIED, NULL);
        } else if (strstr(after, "UNSUPPORTED") != NULL) {
            error_in(b, 'C', VERB_NETWORK_CONFIG_REQUEST, ERROR_UNSUPPORTED_OPERATION, NULL);
        } else if (strstr(after, "without data") != NULL) {
            error_in(b, 'C', VERB_NETWORK_CONFIG_REQUEST, ERROR_NETWORK_AUTHENTICATION_REQUIRED,
                     NULL);
        } else if (strstr(after, "version 0") != NULL) {
            error_in(b, 'C', VERB_NETWORK_CONFIG_REQUEST, ERROR_NETWORK_AUTHENTICATION_REQUIRED,
                     "aV=0\naU=https://example.invalid/a?b\\ec");
        } else if (strstr(after, "version 1") != NULL) {
            error_in(b, 'C', VERB_NETWORK_CONFIG_REQUEST, ERROR_NETWORK_AUTHENTICATION_REQUIRED,
                     "aV=1\niU=https://issuer.invalid\naCU=https://central.invalid\naN=nonce\n"
                     "aS=state\naCID=cid");
        } else if (strstr(after, "configuration accepted") != NULL) {
            configuration_of_vectors(b, root);
        }
        print_message("%s\n", after);
        check_status(b, entry);
    }
    assert_int_equal(i, 9);
    assert_true(b->vl1.events >= 7);
    json_decref(root);
}

/* NET-4. */
static void test_errors_count_only_from_the_controller(void **state)
{
    struct bench *b = *state;

    bench_join(b, BENCH_NWID);
    error_in(b, 'B', VERB_NETWORK_CONFIG_REQUEST, ERROR_OBJ_NOT_FOUND, NULL);
    error_in(b, 'B', VERB_NETWORK_CONFIG_REQUEST, ERROR_UNSUPPORTED_OPERATION, NULL);
    error_in(b, 'B', VERB_NETWORK_CONFIG_REQUEST, ERROR_NETWORK_ACCESS_DENIED, NULL);
    error_in(b, 'B', VERB_NETWORK_CONFIG_REQUEST, ERROR_NETWORK_AUTHENTICATION_REQUIRED, NULL);
    error_in(b, 'C', VERB_WHOIS, ERROR_OBJ_NOT_FOUND, NULL);
    assert_int_equal(status_of(b), NETWORK_REQUESTING_CONFIGURATION);
    error_in(b, 'C', VERB_NETWORK_CONFIG_REQUEST, ERROR_OBJ_NOT_FOUND, NULL);
    assert_int_equal(status_of(b), NETWORK_NOT_FOUND);
}

/* SSO-1: which refusals change the status. */
static void test_sso_refusals(void **state)
{
    static const struct {
        const char *payload; /* hex, after the network ID */
        bool taken;
    } cases[] = {
        {"", true},                       /* nothing */
        {"00", true},                     /* one byte */
        {"0000", true},                   /* an empty dictionary */
        {"000461563d30", false},          /* cut: announces more than follows */
        {"000461553d78", true},           /* aU=x */
        {"000461563d30", false},          /* aV=0 without aU */
        {"000461563d31", true},           /* aV=1 */
        {"000461563d32", false},          /* aV=2 */
        {"000961563d320a61553d78", false} /* aV=2 with aU */
    };

    (void)state;
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct bench *b = bench_new();
        uint8_t payload[100];
        size_t len;
        uint8_t *tail = hex_bytes(cases[i].payload, &len);

        bench_join(b, BENCH_NWID);
        be64_put(payload, BENCH_NWID);
        memcpy(payload + 8, tail, len);
        if (i == 3) {
            payload[9] = 0x40;
        }
        (void)bench_in_error(b, bench_id(b, 'C'), VERB_NETWORK_CONFIG_REQUEST,
                             ERROR_NETWORK_AUTHENTICATION_REQUIRED, payload, 8 + len);
        assert_int_equal(status_of(b) == NETWORK_AUTHENTICATION_REQUIRED, cases[i].taken);
        free(tail);
        bench_free(b);
    }
}

static void test_port_errors_win(void **state)
{
    struct bench *b = *state;

    bench_configure(b, &(struct setup){0});
    vl2_port_result(b->vl2, BENCH_NWID, -EPERM, b->now);
    assert_int_equal(status_of(b), NETWORK_PORT_ERROR);
    vl2_port_result(b->vl2, BENCH_NWID, 0, b->now);
    assert_int_equal(status_of(b), NETWORK_OK);
}

/* ---- requests ---- */

static void check_request(const struct bench *b, const json_t *entry)
{
    const struct sent_packet *p = bench_sent(b, 0, VERB_NETWORK_CONFIG_REQUEST, 0);
    const char *tail = vec_text(entry, "tail");
    const char *ours;
    struct config_request req;
    struct netconf_meta meta;

    assert_non_null(p);
    assert_int_equal(p->dest, 0x14d76e47dc);
    assert_int_equal(p->flags, OUT_COMPRESS | OUT_EXPECT);
    assert_int_equal(config_request_read(rd_init(p->payload, p->len), &req), 0);
    assert_true(bench_same_hex(p->payload + p->len - 16, 16, tail));
    netconf_meta_decode(req.meta, req.meta_len, &meta);
    assert_int_equal(meta.version, 7);
    assert_int_equal(meta.protocol, PROTOCOL_VERSION);
    assert_int_equal(meta.rules_revision, 1);
    assert_int_equal(meta.vendor, 0);
    assert_string_equal(meta.os, "linux/x86_64");
    /* All but vendor and version numbers is as the reference writes it. */
    ours = strstr((const char *)req.meta, "\nmr=");
    assert_non_null(ours);
    assert_memory_equal(ours, strstr(vec_text(entry, "metadataText"), "\nmr="),
                        strlen(strstr(vec_text(entry, "metadataText"), "\nmr=")));
}

static void test_requests_of_the_vectors(void **state)
{
    struct bench *b = *state;
    const struct vl2_options options = {.version = {0, 1, 0}, .platform = "linux/x86_64"};
    const json_t *list = vec_get(b->vectors, "configRequests");

    vl2_set_options(b->vl2, &options);
    assert_int_equal(vl2_join(b->vl2, BENCH_NWID, NULL, b->now), 0);
    check_request(b, json_array_get(list, 0)); /* Do better 26: at once */
    bench_configure(b, &(struct setup){.revision = 42});
    bench_run(b, CONFIG_REFRESH_MS);
    check_request(b, json_array_get(list, 1));
}

/* A node that was refused asks at once when it gets a token. */
static void test_join_with_token_after_refusal(void **state)
{
    struct bench *b = *state;
    struct config_request req;
    struct netconf_meta meta;
    const struct sent_packet *p;

    bench_join(b, BENCH_NWID);
    error_in(b, 'C', VERB_NETWORK_CONFIG_REQUEST, ERROR_NETWORK_ACCESS_DENIED, NULL);
    bench_clear(b);
    assert_int_equal(vl2_join(b->vl2, BENCH_NWID, NULL, b->now), 0);
    assert_int_equal(requests(b), 0);
    assert_int_equal(status_of(b), NETWORK_ACCESS_DENIED);
    assert_int_equal(vl2_join(b->vl2, BENCH_NWID, "sesame", b->now), 0);
    assert_int_equal(status_of(b), NETWORK_REQUESTING_CONFIGURATION);
    p = bench_sent(b, 0, VERB_NETWORK_CONFIG_REQUEST, 0);
    assert_int_equal(config_request_read(rd_init(p->payload, p->len), &req), 0);
    netconf_meta_decode(req.meta, req.meta_len, &meta);
    assert_string_equal(meta.auth, "token:sesame");
}

static void test_join_token_is_sent(void **state)
{
    struct bench *b = *state;
    struct config_request req;
    struct netconf_meta meta;
    const struct sent_packet *p;
    char longest[260];

    memset(longest, 'x', sizeof(longest));
    longest[sizeof(longest) - 1] = 0;
    assert_int_equal(vl2_join(b->vl2, BENCH_NWID, longest, b->now), -EINVAL);
    assert_int_equal(vl2_join(b->vl2, BENCH_NWID, "sesame", b->now), 0);
    p = bench_sent(b, 0, VERB_NETWORK_CONFIG_REQUEST, 0);
    assert_int_equal(config_request_read(rd_init(p->payload, p->len), &req), 0);
    netconf_meta_decode(req.meta, req.meta_len, &meta);
    assert_string_equal(meta.auth, "token:sesame");
    assert_int_equal(vl2_join(b->vl2, BENCH_NWID, NULL, b->now), 0);
    bench_clear(b);
    bench_run(b, 1100);
    p = bench_sent(b, 0, VERB_NETWORK_CONFIG_REQUEST, 0);
    assert_int_equal(config_request_read(rd_init(p->payload, p->len), &req), 0);
    netconf_meta_decode(req.meta, req.meta_len, &meta);
    assert_string_equal(meta.auth, "");
}

/* NET-5 with our pauses: quick repetitions, then slower, never beyond 60 s; each more than 1000 ms
 * after the last, because controllers ignore what comes earlier. */
static void test_lost_requests_are_repeated(void **state)
{
    static const int64_t at[] = {0,     1100,  2200,  4200,   6200,  11200,
                                 21200, 41200, 71200, 131200, 191200};
    struct bench *b = *state;
    int64_t start = b->now;

    assert_int_equal(vl2_join(b->vl2, BENCH_NWID, NULL, b->now), 0);
    bench_run(b, 200000);
    assert_int_equal(requests(b), COUNT_OF(at));
    for (size_t i = 0; i < COUNT_OF(at); i++) {
        assert_int_equal(bench_sent(b, 0, VERB_NETWORK_CONFIG_REQUEST, i)->at_ms - start, at[i]);
    }
}

static void test_answered_requests_follow_every_minute(void **state)
{
    struct bench *b = *state;

    bench_configure(b, &(struct setup){0});
    bench_run(b, 59999);
    assert_int_equal(requests(b), 0);
    bench_run(b, 1);
    assert_int_equal(requests(b), 1);
    b->now += 50;
    bench_configure(b, &(struct setup){.timestamp = BENCH_TIME + 60000});
    bench_run(b, 59999);
    assert_int_equal(requests(b), 0);
    bench_run(b, 1);
    assert_int_equal(requests(b), 1);
    bench_run(b, 1100); /* lost: again */
    assert_int_equal(requests(b), 2);
}

static void test_low_bandwidth_slows_requests(void **state)
{
    struct bench *b = *state;

    vl2_set_options(b->vl2, &(struct vl2_options){.low_bandwidth = true});
    bench_join(b, BENCH_NWID);
    bench_run(b, 24999);
    assert_int_equal(requests(b), 0);
    bench_run(b, 1);
    assert_int_equal(requests(b), 1);
    bench_configure(b, &(struct setup){0});
    bench_run(b, 64 * 60000 - 1);
    assert_int_equal(requests(b), 0);
    bench_run(b, 1);
    assert_int_equal(requests(b), 1);
}

static void test_refused_requests_go_on(void **state)
{
    struct bench *b = *state;
    size_t count;

    bench_join(b, BENCH_NWID);
    error_in(b, 'C', VERB_NETWORK_CONFIG_REQUEST, ERROR_NETWORK_ACCESS_DENIED, NULL);
    bench_run(b, 4999);
    assert_int_equal(requests(b), 0);
    bench_run(b, 1);
    assert_int_equal(requests(b), 1);
    bench_run(b, 600000);
    count = requests(b);
    bench_run(b, 60000);
    assert_int_equal(requests(b), count + 1);
}

/* Do better 26: again when the way to a root comes up. */
static void test_requests_and_announcements_when_online(void **state)
{
    struct bench *b = *state;
    struct multicast_group g = {.mac = 0x3333000000fb};

    bench_join(b, BENCH_NWID);
    vl2_port_groups(b->vl2, BENCH_NWID, &g, 1, b->now);
    b->now += 300;
    bench_clear(b);
    b->vl1.upstreams[b->vl1.upstream_count++] = 0xcafe9efeb9;
    vl2_online(b->vl2, b->now);
    assert_int_equal(requests(b), 1);
    assert_int_equal(bench_count(b, 0xcafe9efeb9, VERB_MULTICAST_LIKE), 1);
    bench_configure(b, &(struct setup){0});
    vl2_online(b->vl2, b->now);
    assert_int_equal(requests(b), 0); /* answered already */
}

/* ---- life ---- */

/* NET-6, NET-9, MGD-2. */
static void test_join_leave_and_join_again(void **state)
{
    struct bench *b = *state;
    uint64_t ids[2];
    struct node_network_info info;

    assert_int_equal(vl2_leave(b->vl2, BENCH_NWID, b->now), -ENOENT);
    assert_int_equal(vl2_join(b->vl2, 0, NULL, b->now), -EINVAL);
    bench_join(b, BENCH_NWID + 1);
    bench_join(b, BENCH_NWID);
    assert_int_equal(b->vl1.ports[PORT_CREATE], 2);
    assert_int_equal(b->vl1.states[0].len, 1);
    assert_int_equal(vl2_join(b->vl2, BENCH_NWID, NULL, b->now), 0);
    assert_int_equal(b->vl1.ports[PORT_CREATE], 2);
    assert_int_equal(b->vl1.sent_count, 0);
    assert_int_equal(vl2_networks(b->vl2, ids, 2), 2);
    assert_int_equal(ids[0], BENCH_NWID);
    assert_int_equal(ids[1], BENCH_NWID + 1);
    assert_int_equal(vl2_networks(b->vl2, ids, 1), 2);
    assert_int_equal(ids[0], BENCH_NWID);
    bench_configure(b, &(struct setup){.revision = 9});
    assert_int_equal(vl2_leave(b->vl2, BENCH_NWID, b->now), 0);
    assert_int_equal(b->vl1.ports[PORT_DESTROY], 1);
    assert_int_equal(b->vl1.sent_count, 0);
    assert_int_equal(vl2_network_get(b->vl2, BENCH_NWID, &info), -ENOENT);
    bench_join(b, BENCH_NWID);
    assert_int_equal(status_of(b), NETWORK_REQUESTING_CONFIGURATION);
}

static void test_a_stored_configuration_is_used_before_the_controller_answers(void **state)
{
    struct bench *b = *state;
    struct node_network_info info;

    bench_configure(b, &(struct setup){.revision = 9, .name = "kept"});
    vl2_free(b->vl2);
    b->vl2 = vl2_new(&b->vl1, b->now);
    assert_int_equal(vl2_join(b->vl2, BENCH_NWID, NULL, b->now), 0);
    assert_int_equal(vl2_network_get(b->vl2, BENCH_NWID, &info), 0);
    assert_int_equal(info.status, NETWORK_OK);
    assert_string_equal(info.config->name, "kept");
    assert_int_equal(requests(b), 1);
}

static void test_overlay_addresses(void **state)
{
    struct bench *b = *state;
    struct inetaddr in = {.family = INETADDR_V4, .ip = {10, 1, 200, 3}};
    struct inetaddr out = {.family = INETADDR_V4, .ip = {10, 2, 0, 3}};

    bench_configure(b, &(struct setup){
                           .addresses = {{.family = INETADDR_V4, .ip = {10, 1, 2, 3}, .port = 16}},
                           .address_count = 1,
                       });
    assert_true(vl2_is_overlay_ip(b->vl2, &in));
    assert_false(vl2_is_overlay_ip(b->vl2, &out));
}

/* FRM-6, Do better 28. */
static void test_port_mtu_is_what_packets_can_carry(void **state)
{
    static const struct {
        size_t limit;
        uint16_t mtu;
        unsigned port_mtu;
    } cases[] = {
        {9928, 2800, 2800},   {9928, 10000, 9869},  {9704, 10000, 9645},
        {10024, 10000, 9965}, {65535, 10000, 9965},
    };
    struct bench *b = *state;

    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct node_network_info info;

        bench_configure(b, &(struct setup){.mtu = cases[i].mtu, .timestamp = BENCH_TIME + i});
        b->vl1.packet_limit = cases[i].limit;
        assert_int_equal(vl2_network_get(b->vl2, BENCH_NWID, &info), 0);
        assert_int_equal(info.mtu, cases[i].port_mtu);
        b->vl1.packet_limit = PACKET_MAX;
    }
}

/* An idle network wakes for its refresh only. */
static void test_idle_networks_have_few_deadlines(void **state)
{
    struct bench *b = *state;

    bench_configure(b, &(struct setup){0});
    assert_int_equal(b->vl1.timers.count, 1);
    assert_int_equal(timers_next(&b->vl1.timers), b->now + CONFIG_REFRESH_MS);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_implied_configurations_of_the_vectors),
        WITH_BENCH(test_ad_hoc_members_exchange_frames),
        WITH_BENCH(test_status_sequence_of_the_vectors),
        WITH_BENCH(test_errors_count_only_from_the_controller),
        cmocka_unit_test(test_sso_refusals),
        WITH_BENCH(test_port_errors_win),
        WITH_BENCH(test_requests_of_the_vectors),
        WITH_BENCH(test_join_with_token_after_refusal),
        WITH_BENCH(test_join_token_is_sent),
        WITH_BENCH(test_lost_requests_are_repeated),
        WITH_BENCH(test_answered_requests_follow_every_minute),
        WITH_BENCH(test_low_bandwidth_slows_requests),
        WITH_BENCH(test_refused_requests_go_on),
        WITH_BENCH(test_requests_and_announcements_when_online),
        WITH_BENCH(test_join_leave_and_join_again),
        WITH_BENCH(test_a_stored_configuration_is_used_before_the_controller_answers),
        WITH_BENCH(test_overlay_addresses),
        WITH_BENCH(test_port_mtu_is_what_packets_can_carry),
        WITH_BENCH(test_idle_networks_have_few_deadlines),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
