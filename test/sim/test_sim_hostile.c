/* Members that lie, and strangers, in a network of honest nodes: foreign MACs and IPs, credentials
 * that are old, of others, or made by themselves, revocations and configurations that nobody
 * issued. None of it changes anything for the others, while what is honest passes: each refusal
 * stands beside something alike that is taken. Also clocks that are wrong, and certificates that
 * age. Source: spec 03 sections 6 to 8 and 16.3. Checklist: BRG-1, CFG-2, CFG-9, CFG-10, CRD-7,
 * CRD-11, FRM-7, SEC-3. */
#include "sim.h"

#include "base/cursor.h"
#include "wire/config_chunk.h"
#include "wire/credentials_packet.h"
#include "wire/frame.h"
#include "wire/mac.h"
#include "wire/netconf.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum {
    MEMBERS = 4, /* the last one is hostile */
    LIAR = MEMBERS - 1,
    TYPE_IPV4 = 0x0800,
    TYPE_ARP = 0x0806,
    TYPE_IPV6 = 0x86dd,
    FRAME = 64,         /* bytes of payload */
    FORGERY_MAX = 1300, /* one datagram */
    PAUSE_MS = 1200,    /* a peer's credentials are looked at once a second */
    SOON_MS = 7000,     /* longer than anything waits for credentials */
    DAY_MS = 86400000,
};

struct lan {
    struct sim *sim;
    struct sim_node *root;
    struct sim_node *controller;
    struct sim_node *stranger;
    struct sim_node *members[MEMBERS];
    uint64_t nwid;
    size_t got; /* frames that came to devices */
};

static const char open_rules[] = "[{\"type\":\"ACTION_ACCEPT\"}]";

static void on_frame(void *ctx, struct sim_node *node, uint64_t nwid, uint64_t dest_mac,
                     uint64_t source_mac, uint16_t ethertype, const void *payload, size_t len)
{
    struct lan *lan = ctx;

    (void)node, (void)nwid, (void)dest_mac, (void)source_mac, (void)payload, (void)len;
    lan->got += ethertype != TYPE_IPV6 || ((const uint8_t *)payload)[6] == 17;
}

static bool all_ok(void *ctx)
{
    const struct lan *lan = ctx;

    for (size_t i = 0; i < MEMBERS; i++) {
        if (!sim_network_ok(lan->members[i], lan->nwid)) {
            return false;
        }
    }
    return true;
}

static struct sim_node *start(struct lan *lan)
{
    struct sim_node *node = sim_add(lan->sim, SIM_NAT_NONE);

    sim_start(node);
    return node;
}

static void join(struct lan *lan, struct sim_node *node)
{
    assert_int_equal(node_join(sim_engine(node), lan->nwid, NULL, sim_now(lan->sim)), 0);
    sim_end_input(node);
}

static void wait(struct lan *lan, int64_t ms)
{
    (void)sim_run(lan->sim, ms, NULL, NULL);
}

/* Everybody has heard of everybody: frames take the short way from here on. */
static void meet(struct lan *lan)
{
    for (unsigned round = 0; round < 3; round++) {
        for (size_t i = 0; i < MEMBERS; i++) {
            for (size_t k = 0; k < MEMBERS; k++) {
                if (i != k) {
                    sim_frame(lan->members[i], lan->members[k], lan->nwid);
                }
            }
        }
        wait(lan, SOON_MS);
    }
}

static void lan_start(struct lan *lan, const char *rules)
{
    const struct sim_options options = {.seed = 31,
                                        .latency_ms = 10,
                                        .jitter_ms = 3,
                                        .hash_ms = 1,
                                        .frame = on_frame,
                                        .frame_ctx = lan};
    char settings[2048];

    *lan = (struct lan){.sim = sim_new(&options)};
    lan->root = sim_add(lan->sim, SIM_NAT_NONE);
    sim_planet(lan->sim, &lan->root, 1);
    sim_start(lan->root);
    lan->controller = start(lan);
    sim_controller(lan->controller);
    (void)snprintf(settings, sizeof(settings),
                   "{\"private\":true,\"v4AssignMode\":{\"zt\":true},"
                   "\"v6AssignMode\":{\"6plane\":true},"
                   "\"routes\":[{\"target\":\"10.121.0.0/16\"}],"
                   "\"ipAssignmentPools\":[{\"ipRangeStart\":\"10.121.0.1\","
                   "\"ipRangeEnd\":\"10.121.255.254\"}],\"rules\":%s}",
                   rules);
    lan->nwid = sim_create_network(lan->controller, settings);
    for (size_t i = 0; i < MEMBERS; i++) {
        lan->members[i] = start(lan);
        sim_set_member(lan->controller, lan->nwid, lan->members[i], "{\"authorized\":true}");
        join(lan, lan->members[i]);
    }
    lan->stranger = start(lan);
    join(lan, lan->stranger);
    assert_true(sim_run(lan->sim, 20000, all_ok, lan));
    meet(lan);
}

static void lan_stop(struct lan *lan)
{
    sim_free(lan->sim);
}

static const struct netconf *config_of(const struct lan *lan, struct sim_node *node)
{
    struct node_network_info info;

    assert_int_equal(node_network_get(sim_engine(node), lan->nwid, &info), 0);
    assert_non_null(info.config);
    return info.config;
}

/* Frames that come within the next while. */
static size_t come(struct lan *lan)
{
    size_t before = lan->got;

    wait(lan, SOON_MS);
    return lan->got - before;
}

static uint64_t mac_in(const struct lan *lan, const struct sim_node *node)
{
    return mac_of_member(lan->nwid, sim_address(node));
}

/* Does a frame of an honest node reach another? */
static bool is_heard(struct lan *lan, size_t from, size_t to)
{
    unsigned before = sim_frames_from(lan->members[to], lan->members[from]);

    sim_frame(lan->members[from], lan->members[to], lan->nwid);
    wait(lan, SOON_MS);
    return sim_frames_from(lan->members[to], lan->members[from]) > before;
}

/* ---- forgeries ---- */

static void forge_ext(struct lan *lan, struct sim_node *from, const struct sim_node *to,
                      uint64_t dest_mac, uint64_t source_mac, uint16_t ethertype,
                      const uint8_t *payload)
{
    uint8_t buf[FORGERY_MAX];
    struct wr w = wr_init(buf, sizeof(buf));
    const struct ext_frame ext = {.network_id = lan->nwid,
                                  .dest_mac = dest_mac,
                                  .source_mac = source_mac,
                                  .payload = payload,
                                  .len = FRAME,
                                  .ethertype = ethertype};

    ext_frame_write(&w, &ext);
    assert_false(w.bad);
    sim_forge(from, to, VERB_EXT_FRAME, buf, wr_len(&w));
}

/* com: attached as nodes of long ago did it, or NULL. */
static void forge_frame(struct lan *lan, struct sim_node *from, const struct sim_node *to,
                        struct com *com)
{
    static const uint8_t payload[FRAME];
    uint8_t buf[FORGERY_MAX];
    struct wr w = wr_init(buf, sizeof(buf));
    const struct ext_frame ext = {.network_id = lan->nwid,
                                  .dest_mac = mac_in(lan, to),
                                  .source_mac = mac_in(lan, from),
                                  .payload = payload,
                                  .len = FRAME,
                                  .com = com,
                                  .ethertype = SIM_ETHERTYPE_TEST};

    ext_frame_write(&w, &ext);
    assert_false(w.bad);
    sim_forge(from, to, VERB_EXT_FRAME, buf, wr_len(&w));
}

static void forge_multicast(struct lan *lan, struct sim_node *from, const struct sim_node *to,
                            uint64_t source_mac, struct com *com)
{
    static const uint8_t payload[FRAME];
    uint8_t buf[FORGERY_MAX];
    struct wr w = wr_init(buf, sizeof(buf));
    const struct multicast_frame frame = {.network_id = lan->nwid,
                                          .source_mac = source_mac,
                                          .group = {.mac = MAC_BROADCAST},
                                          .payload = payload,
                                          .len = FRAME,
                                          .com = com,
                                          .ethertype = SIM_ETHERTYPE_TEST,
                                          .flags = MULTICAST_SOURCE_MAC};

    multicast_frame_write(&w, &frame);
    assert_false(w.bad);
    sim_forge(from, to, VERB_MULTICAST_FRAME, buf, wr_len(&w));
}

static void forge_credentials(struct lan *lan, struct sim_node *from, const struct sim_node *to,
                              const struct credentials_set *set)
{
    uint8_t buf[FORGERY_MAX];
    struct wr w = wr_init(buf, sizeof(buf));

    assert_int_equal(credentials_write(&w, set, 0), credentials_count(set));
    sim_forge(from, to, VERB_NETWORK_CREDENTIALS, buf, wr_len(&w));
    wait(lan, PAUSE_MS);
}

static void forge_com(struct lan *lan, struct sim_node *from, const struct sim_node *to,
                      const struct com *com)
{
    forge_credentials(lan, from, to, &(struct credentials_set){.coms = com, .com_count = 1});
}

static void forge_revocation(struct lan *lan, struct sim_node *from, const struct sim_node *to,
                             const struct revocation *rev)
{
    forge_credentials(lan, from, to,
                      &(struct credentials_set){.revocations = rev, .revocation_count = 1});
}

static void forge_config(struct lan *lan, struct sim_node *from, const struct sim_node *to,
                         const struct netconf *conf, const struct identity *signer, bool is_answer)
{
    static char text[NETCONF_DICT_MAX];
    static uint64_t update;
    uint8_t buf[FORGERY_MAX];
    struct wr w = wr_init(buf, sizeof(buf));
    size_t len = 0;

    assert_int_equal(netconf_encode(conf, text, sizeof(text), &len), 0);
    for (size_t at = 0; at < len; at += 1000) {
        const struct config_chunk chunk = {.network_id = lan->nwid,
                                           .update_id = 0x1234 + update,
                                           .data = (const uint8_t *)text + at,
                                           .data_len =
                                               (uint16_t)(len - at < 1000 ? len - at : 1000),
                                           .total = (uint32_t)len,
                                           .index = (uint32_t)at};

        w = wr_init(buf, sizeof(buf));
        if (is_answer) {
            wr_u8(&w, VERB_NETWORK_CONFIG_REQUEST);
            wr_u64(&w, sim_random(lan->sim, UINT64_MAX));
        }
        config_chunk_write(&w, &chunk, signer);
        assert_false(w.bad);
        sim_forge(from, to, is_answer ? VERB_OK : VERB_NETWORK_CONFIG, buf, wr_len(&w));
    }
    update++;
    wait(lan, PAUSE_MS);
}

/* ---- tests ---- */

static void test_foreign_macs(void **state)
{
    static struct lan lan;
    static const uint8_t zeros[FRAME];
    struct sim_node *liar;
    struct sim_node *a;
    struct sim_node *b;

    (void)state;
    lan_start(&lan, open_rules);
    liar = lan.members[LIAR];
    a = lan.members[0];
    b = lan.members[1];
    const struct {
        uint64_t dest;
        uint64_t source;
        size_t come;
    } table[] = {
        {mac_in(&lan, a), mac_in(&lan, liar), 1},
        {mac_in(&lan, a), mac_in(&lan, b), 0},             /* another member's */
        {mac_in(&lan, a), UINT64_C(0x020000000001), 0},    /* nobody's: it is no bridge */
        {mac_in(&lan, a), mac_in(&lan, a), 0},             /* the receiver's */
        {mac_in(&lan, a), 0, 0},                           /* none */
        {mac_in(&lan, b), mac_in(&lan, liar), 0},          /* to somebody else */
        {UINT64_C(0x020000000001), mac_in(&lan, liar), 0}, /* to something behind no bridge */
        {MAC_BROADCAST, mac_in(&lan, b), 0},
    };
    for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
        forge_ext(&lan, liar, a, table[i].dest, table[i].source, SIM_ETHERTYPE_TEST, zeros);
        assert_int_equal(come(&lan), table[i].come);
    }
    forge_multicast(&lan, liar, a, mac_in(&lan, b), NULL);
    forge_multicast(&lan, liar, a, UINT64_C(0x020000000001), NULL);
    assert_int_equal(come(&lan), 0);
    forge_multicast(&lan, liar, a, mac_in(&lan, liar), NULL);
    assert_int_equal(come(&lan), 1);
    assert_true(is_heard(&lan, 0, 1)); /* nobody learned that B is behind the liar */
    lan_stop(&lan);
}

/* FRM-7: senders of long ago compressed them. */
static void test_compressed_frames(void **state)
{
    static const enum verb verbs[] = {VERB_FRAME, VERB_EXT_FRAME};
    static struct lan lan;
    uint8_t payload[EXT_FRAME_HEADER_LEN + 600] = {0};
    struct sim_node *from;
    struct sim_node *to;

    (void)state;
    lan_start(&lan, open_rules);
    from = lan.members[1];
    to = lan.members[0];
    for (size_t i = 0; i < 2; i++) {
        struct wr w = wr_init(payload, sizeof(payload));

        wr_u64(&w, lan.nwid);
        if (verbs[i] == VERB_EXT_FRAME) {
            wr_u8(&w, 0);
            mac_write(&w, mac_in(&lan, to));
            mac_write(&w, mac_in(&lan, from));
        }
        wr_u16(&w, SIM_ETHERTYPE_TEST);
        sim_forge(from, to, (enum verb)(verbs[i] | VERB_COMPRESSED), payload, sizeof(payload));
        assert_int_equal(come(&lan), 1);
    }
    lan_stop(&lan);
}

/* A payload whose sender is that address. */
static void ip_payload(uint8_t out[FRAME], uint16_t ethertype, const struct inetaddr *ip)
{
    memset(out, 0, FRAME);
    if (ethertype == TYPE_IPV4) {
        out[0] = 0x45;
        out[9] = 17;
        memcpy(out + 12, ip->ip, 4);
    } else if (ethertype == TYPE_ARP) {
        out[1] = 1;
        out[2] = 8;
        out[4] = 6;
        out[5] = 4;
        out[7] = 2;
        memcpy(out + 14, ip->ip, 4);
    } else {
        out[0] = 0x60;
        out[6] = 17;
        memcpy(out + 8, ip->ip, 16);
    }
}

static struct inetaddr ip_of(const struct lan *lan, struct sim_node *node, uint16_t ethertype)
{
    const struct netconf *conf = config_of(lan, node);

    for (size_t i = 0; i < conf->address_count; i++) {
        if ((conf->addresses[i].family == INETADDR_V6) == (ethertype == TYPE_IPV6)) {
            return conf->addresses[i];
        }
    }
    fail_msg("no address for %04x", ethertype);
    return (struct inetaddr){0};
}

static size_t frames_with_ip(struct lan *lan, struct sim_node *owner, uint16_t ethertype)
{
    struct sim_node *liar = lan->members[LIAR];
    struct inetaddr ip = ip_of(lan, owner, ethertype);
    uint8_t payload[FRAME];

    ip_payload(payload, ethertype, &ip);
    forge_ext(lan, liar, lan->members[0], mac_in(lan, lan->members[0]), mac_in(lan, liar),
              ethertype, payload);
    return come(lan);
}

static void test_foreign_ips_under_ipauth(void **state)
{
    static const char rules[] =
        "[{\"type\":\"MATCH_CHARACTERISTICS\",\"mask\":\"1000000000000000\",\"not\":true},"
        "{\"type\":\"MATCH_ETHERTYPE\",\"etherType\":35061,\"not\":true},"
        "{\"type\":\"ACTION_DROP\"},{\"type\":\"ACTION_ACCEPT\"}]"; /* 35061: the test's own */
    static const uint16_t types[] = {TYPE_IPV4, TYPE_ARP, TYPE_IPV6};
    static struct lan lan;
    struct sim_node *liar;
    struct ownership own;

    (void)state;
    lan_start(&lan, rules);
    liar = lan.members[LIAR];
    for (size_t i = 0; i < 3; i++) {
        assert_int_equal(frames_with_ip(&lan, liar, types[i]), 1);
        assert_int_equal(frames_with_ip(&lan, lan.members[1], types[i]), 0);
    }
    /* B's certificate of ownership is B's, whoever brings it, and one of his own is none. */
    own = config_of(&lan, lan.members[1])->ownerships[0];
    forge_credentials(&lan, liar, lan.members[0],
                      &(struct credentials_set){.ownerships = &own, .ownership_count = 1});
    own.holder = sim_address(liar);
    own.timestamp++;
    forge_credentials(&lan, liar, lan.members[0],
                      &(struct credentials_set){.ownerships = &own, .ownership_count = 1});
    ownership_sign(&own, sim_identity(liar));
    own.signer = sim_address(lan.controller);
    forge_credentials(&lan, liar, lan.members[0],
                      &(struct credentials_set){.ownerships = &own, .ownership_count = 1});
    assert_int_equal(frames_with_ip(&lan, lan.members[1], TYPE_IPV4), 0);
    ownership_sign(&own, sim_identity(lan.controller));
    forge_credentials(&lan, liar, lan.members[0],
                      &(struct credentials_set){.ownerships = &own, .ownership_count = 1});
    assert_int_equal(frames_with_ip(&lan, lan.members[1], TYPE_IPV4), 1);
    lan_stop(&lan);
}

/* Everything that somebody who was a member can try with the certificate he kept. */
static size_t use_certificate(struct lan *lan, struct sim_node *from, struct com *com)
{
    size_t before = lan->got;

    for (size_t i = 0; i < LIAR; i++) {
        struct sim_node *to = lan->members[i];

        forge_com(lan, from, to, com);
        forge_frame(lan, from, to, NULL);
        forge_frame(lan, from, to, com);
        forge_multicast(lan, from, to, mac_in(lan, from), com);
    }
    wait(lan, SOON_MS);
    return lan->got - before;
}

static void test_old_credentials(void **state)
{
    static struct lan lan;
    struct sim_node *liar;
    struct com com;

    (void)state;
    lan_start(&lan, open_rules);
    liar = lan.members[LIAR];
    com = *config_of(&lan, liar)->com;
    assert_int_equal(use_certificate(&lan, liar, &com), LIAR * 3);
    sim_set_member(lan.controller, lan.nwid, liar, "{\"authorized\":false}");
    wait(&lan, 2000);
    assert_int_equal(use_certificate(&lan, liar, &com), 0);
    assert_false(is_heard(&lan, LIAR, 0));
    sim_stop(lan.members[0], true); /* a node that forgot nothing when it started again */
    sim_start(lan.members[0]);
    join(&lan, lan.members[0]);
    wait(&lan, SOON_MS);
    assert_int_equal(use_certificate(&lan, liar, &com), 0);
    sim_set_member(lan.controller, lan.nwid, liar, "{\"authorized\":true}");
    wait(&lan, 70000);
    assert_true(is_heard(&lan, LIAR, 0));
    assert_true(is_heard(&lan, LIAR, 1));
    lan_stop(&lan);
}

static void test_a_stranger_with_certificates(void **state)
{
    static struct lan lan;
    struct com com;

    (void)state;
    lan_start(&lan, open_rules);
    com = *config_of(&lan, lan.members[LIAR])->com; /* that of another */
    assert_int_equal(use_certificate(&lan, lan.stranger, &com), 0);
    com_make(&com, com_value(&com, COM_TIMESTAMP), 1800000, lan.nwid, sim_identity(lan.stranger));
    com_sign(&com, sim_identity(lan.stranger));
    assert_int_equal(use_certificate(&lan, lan.stranger, &com), 0);
    com.signer = sim_address(lan.controller);
    assert_int_equal(use_certificate(&lan, lan.stranger, &com), 0);
    for (size_t i = 0; i < LIAR; i++) {
        assert_true(is_heard(&lan, LIAR, i)); /* they lost nothing by it */
    }
    com_sign(&com, sim_identity(lan.controller));
    assert_int_equal(use_certificate(&lan, lan.stranger, &com), LIAR * 3);
    lan_stop(&lan);
}

static void test_forged_revocations(void **state)
{
    static struct lan lan;
    struct sim_node *liar;
    struct revocation real;
    struct revocation rev;

    (void)state;
    lan_start(&lan, open_rules);
    liar = lan.members[LIAR];
    real = (struct revocation){
        .network_id = lan.nwid,
        .threshold = com_value(config_of(&lan, lan.members[2])->com, COM_TIMESTAMP) + DAY_MS,
        .flags = REVOCATION_FAST,
        .target = sim_address(lan.members[2]),
        .type = CREDENTIAL_COM};
    revocation_sign(&real, sim_identity(lan.controller));
    struct sim_node *const senders[] = {liar, lan.stranger};
    for (size_t i = 0; i < 2; i++) {
        rev = real; /* by himself */
        revocation_sign(&rev, sim_identity(senders[i]));
        forge_revocation(&lan, senders[i], lan.members[0], &rev);
        rev.signer = real.signer; /* by himself, in the controller's name */
        forge_revocation(&lan, senders[i], lan.members[0], &rev);
        rev = real; /* another's made to be of him */
        rev.target = sim_address(lan.members[1]);
        forge_revocation(&lan, senders[i], lan.members[0], &rev);
        rev = real; /* of an age that is past: what was revoked once, and granted again since */
        rev.threshold -= 2 * (uint64_t)DAY_MS;
        revocation_sign(&rev, sim_identity(lan.controller));
        forge_revocation(&lan, senders[i], lan.members[0], &rev);
        rev = real; /* of another network of the controller */
        rev.network_id++;
        revocation_sign(&rev, sim_identity(lan.controller));
        forge_revocation(&lan, senders[i], lan.members[0], &rev);
    }
    assert_true(is_heard(&lan, 2, 0));
    assert_true(is_heard(&lan, 1, 0));
    assert_true(is_heard(&lan, 2, 1));
    /* The controller's own counts whoever brings it, and goes on to the others. */
    forge_revocation(&lan, liar, lan.members[0], &real);
    wait(&lan, SOON_MS);
    assert_false(is_heard(&lan, 2, 0));
    assert_false(is_heard(&lan, 2, 1));
    assert_true(is_heard(&lan, 1, 0));
    lan_stop(&lan);
}

static void test_forged_configurations(void **state)
{
    static struct lan lan;
    struct sim_node *liar;
    struct sim_node *a;
    uint64_t timestamp;

    (void)state;
    lan_start(&lan, open_rules);
    liar = lan.members[LIAR];
    a = lan.members[0];
    timestamp = config_of(&lan, a)->timestamp;
    struct netconf conf = *config_of(&lan, a);
    conf.multicast_limit = 77;
    conf.timestamp = timestamp + 1;
    forge_config(&lan, liar, a, &conf, sim_identity(liar), false);
    assert_int_not_equal(config_of(&lan, a)->multicast_limit, 77);
    conf = *config_of(&lan, a);
    conf.multicast_limit = 77;
    conf.timestamp = timestamp - 1000; /* one that was replaced since */
    forge_config(&lan, liar, a, &conf, sim_identity(lan.controller), false);
    assert_int_not_equal(config_of(&lan, a)->multicast_limit, 77);
    conf = *config_of(&lan, liar); /* another member's */
    conf.multicast_limit = 77;
    conf.timestamp = timestamp + DAY_MS;
    forge_config(&lan, liar, a, &conf, sim_identity(lan.controller), false);
    assert_int_not_equal(config_of(&lan, a)->multicast_limit, 77);
    conf = *config_of(&lan, a); /* answers to what was not asked (CFG-9) */
    conf.multicast_limit = 77;
    conf.timestamp = timestamp + 100000;
    forge_config(&lan, liar, a, &conf, sim_identity(lan.controller), true);
    forge_config(&lan, lan.controller, a, &conf, sim_identity(lan.controller), true);
    assert_int_not_equal(config_of(&lan, a)->multicast_limit, 77);
    conf = *config_of(&lan, a);
    conf.multicast_limit = 77;
    conf.timestamp = timestamp + 100000;
    forge_config(&lan, liar, a, &conf, sim_identity(lan.controller), false);
    assert_int_equal(config_of(&lan, a)->multicast_limit, 77);
    lan_stop(&lan);
}

static void test_tags_of_others(void **state)
{
    static const char rules[] = "[{\"type\":\"MATCH_TAG_SENDER\",\"id\":1,\"value\":1},"
                                "{\"type\":\"ACTION_ACCEPT\"},"
                                "{\"type\":\"ACTION_DROP\"}]";
    static struct lan lan;
    struct sim_node *liar;
    struct tag tag;

    (void)state;
    lan_start(&lan, rules);
    liar = lan.members[LIAR];
    for (size_t i = 0; i < MEMBERS; i++) {
        sim_set_member(lan.controller, lan.nwid, lan.members[i],
                       i == LIAR ? "{\"tags\":[[1,2]]}" : "{\"tags\":[[1,1]]}");
    }
    wait(&lan, 70000);
    meet(&lan);
    assert_true(is_heard(&lan, 1, 0));
    tag = config_of(&lan, lan.members[1])->tags[0];
    const struct credentials_set set = {.tags = &tag, .tag_count = 1};
    forge_credentials(&lan, liar, lan.members[0], &set); /* B's stays B's */
    tag.holder = sim_address(liar);
    tag.timestamp++;
    forge_credentials(&lan, liar, lan.members[0], &set);
    tag_sign(&tag, sim_identity(liar));
    forge_credentials(&lan, liar, lan.members[0], &set);
    tag.signer = sim_address(lan.controller);
    forge_credentials(&lan, liar, lan.members[0], &set);
    forge_frame(&lan, liar, lan.members[0], NULL);
    assert_int_equal(come(&lan), 0);
    tag.timestamp += 1000;
    tag_sign(&tag, sim_identity(lan.controller));
    forge_credentials(&lan, liar, lan.members[0], &set);
    forge_frame(&lan, liar, lan.members[0], NULL);
    assert_int_equal(come(&lan), 1);
    lan_stop(&lan);
}

static void test_clocks_of_members_do_not_matter(void **state)
{
    static struct lan lan;

    (void)state;
    lan_start(&lan, open_rules);
    sim_clock_step(lan.members[0], 3 * (int64_t)DAY_MS);
    sim_clock_step(lan.members[1], -400 * (int64_t)DAY_MS);
    for (unsigned round = 0; round < 3; round++) {
        for (size_t i = 0; i < 3; i++) {
            assert_true(is_heard(&lan, i, (i + 1) % 3));
        }
        wait(&lan, 100000);
    }
    lan_stop(&lan);
}

/* Who gets no new certificates is cut off when the old one differs too much from those of others,
 * and comes back with the next. */
static void test_certificates_age(void **state)
{
    static struct lan lan;
    struct sim_node *late;
    int64_t window;

    (void)state;
    lan_start(&lan, open_rules);
    late = lan.members[LIAR];
    window = (int64_t)config_of(&lan, late)->window;
    sim_partition(late, lan.controller, true);
    sim_partition(late, lan.root, true); /* which would relay */
    for (int64_t end = sim_now(lan.sim) + window - 3 * 60000; sim_now(lan.sim) < end;) {
        wait(&lan, 50000);
        assert_true(is_heard(&lan, LIAR, 0));
        assert_true(is_heard(&lan, 0, LIAR));
    }
    wait(&lan, 5 * 60000);
    assert_false(is_heard(&lan, LIAR, 0));
    assert_false(is_heard(&lan, LIAR, 1));
    (void)is_heard(&lan, 0, 1); /* silent for so long: the first asks for a certificate */
    assert_true(is_heard(&lan, 0, 1));
    sim_partition(late, lan.controller, false);
    sim_partition(late, lan.root, false);
    wait(&lan, 130000);
    assert_true(is_heard(&lan, LIAR, 0));
    lan_stop(&lan);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_foreign_macs),
        cmocka_unit_test(test_compressed_frames),
        cmocka_unit_test(test_foreign_ips_under_ipauth),
        cmocka_unit_test(test_old_credentials),
        cmocka_unit_test(test_a_stranger_with_certificates),
        cmocka_unit_test(test_forged_revocations),
        cmocka_unit_test(test_forged_configurations),
        cmocka_unit_test(test_tags_of_others),
        cmocka_unit_test(test_clocks_of_members_do_not_matter),
        cmocka_unit_test(test_certificates_age),
    };

    return cmocka_run_group_tests_name("sim_hostile", tests, NULL, NULL);
}
