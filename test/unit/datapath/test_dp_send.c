/* The data path from frames to datagrams, and what it forwards: every row of the contract's TX
 * table that is decided here, all others as gifts; super-frames against their segments; relaying at
 * roots. Checklist: D-1, D-2, D-4 to D-8, D-22, D-23, D-24. Source: data path contract section 3,
 * spec 09 section 6.3, spec 02 section 4.2. */
#include "dphost.h"
#include "segments.h"

#include "base/cursor.h"
#include "wire/mac.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { ETHERTYPE_TEST = 0x88b5, PACKETS = 256 };

static struct host h;
static struct remote alice; /* suite 3 */
static struct remote bob;   /* suite 1 */
static struct packet packets[PACKETS];

static int set_up(void **state)
{
    (void)state;
    host_init(&h, 2);
    remote_init(&alice, 1, SUITE_AES_GMAC_SIV);
    remote_init(&bob, 2, SUITE_SALSA_POLY1305);
    host_session(&h, &alice, 1432);
    host_session(&h, &bob, 1432);
    host_port(&h, HOST_NWID, NULL, 0);
    host_member(&h, HOST_NWID, alice.address);
    host_member(&h, HOST_NWID, bob.address);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    host_done(&h);
    remote_done(&alice);
    remote_done(&bob);
    return 0;
}

/* Ethernet frame; returns its length. */
static size_t make_frame(uint8_t *out, uint64_t dest, uint64_t source, const void *payload,
                         size_t len)
{
    mac_put(out, dest);
    mac_put(out + MAC_LEN, source);
    be16_put(out + 12, ETHERTYPE_TEST);
    memcpy(out + ETHERNET_LEN, payload, len);
    return ETHERNET_LEN + len;
}

static uint64_t mac_of(const struct remote *r)
{
    return mac_of_member(HOST_NWID, r->address);
}

/* The packet is a FRAME (or EXT_FRAME) that carries this Ethernet frame. */
static void check_packet(const struct packet *p, const uint8_t *frame, size_t len, bool is_bridged)
{
    struct rd r = rd_init(p->data + PACKET_AT_PAYLOAD, p->len - PACKET_AT_PAYLOAD);

    assert_int_equal(packet_verb(p->data), is_bridged ? VERB_EXT_FRAME : VERB_FRAME);
    if (is_bridged) {
        struct ext_frame ext;

        assert_int_equal(ext_frame_read(r, NULL, &ext), 0);
        assert_true(ext.network_id == HOST_NWID && ext.flags == 0);
        assert_int_equal(ext.dest_mac, mac_get(frame));
        assert_int_equal(ext.source_mac, mac_get(frame + MAC_LEN));
        assert_int_equal(ext.ethertype, be16_get(frame + 12));
        assert_int_equal(ext.len, len - ETHERNET_LEN);
        assert_memory_equal(ext.payload, frame + ETHERNET_LEN, ext.len);
        return;
    }
    struct frame f;

    assert_int_equal(frame_read(r, &f), 0);
    assert_true(f.network_id == HOST_NWID);
    assert_int_equal(f.ethertype, be16_get(frame + 12));
    assert_int_equal(f.len, len - ETHERNET_LEN);
    assert_memory_equal(f.payload, frame + ETHERNET_LEN, f.len);
}

static void test_frame_is_sent_and_noted(void **state)
{
    const struct remote *both[] = {&alice, &bob};
    uint64_t own = mac_of_member(HOST_NWID, HOST_SELF);
    struct dp_port *port = dp_port_find(h.pub, HOST_NWID);
    uint8_t frame[100];

    (void)state;
    for (size_t i = 0; i < 2; i++) {
        struct dp_session *s = dp_session_find(h.pub, both[i]->address);
        struct dp_member *m = dp_member_find(port, both[i]->address);
        size_t len = make_frame(frame, mac_of(both[i]), own, "Hello", 5);

        h.now_ms += 1000;
        host_clear(&h);
        host_send(&h, HOST_NWID, NULL, frame, len);
        assert_int_equal(h.sent_count, 0); /* it leaves at the end of the turn */
        dp_flush(h.dp);
        assert_int_equal(h.sent_count, 1);
        assert_int_equal(h.gift_count, 0);
        assert_int_equal(remote_open_all(both[i], &h, packets, PACKETS), 1);
        check_packet(&packets[0], frame, len, false);
        assert_int_equal(atomic_load(&s->cells[1].out_ms), h.now_ms);
        assert_int_equal(atomic_load(&s->cells[1].packets[1]), 1);
        assert_int_equal(atomic_load(&s->cells[0].packets[1]), 0);
        assert_int_equal(atomic_load(&m->cells[1].out_ms), h.now_ms);
        assert_int_equal(atomic_load(&port->cells[1].out[1]), i + 1);
        assert_int_equal(h.wakes, 1);
    }
    dp_flush(h.dp);
    assert_int_equal(h.sent_count, 1); /* nothing is sent twice */
    assert_int_equal(host_count(&h, DP_TX_FRAMES), 2);
    assert_int_equal(h.counts[DP_TX_DATAGRAMS], 2);
}

/* The frame must come to the engine, as it is. */
static void check_given(uint64_t nwid, const uint8_t *frame, size_t len)
{
    uint64_t given = host_count(&h, DP_GIVEN);

    host_clear(&h);
    host_send(&h, nwid, NULL, frame, len);
    dp_flush(h.dp);
    assert_int_equal(h.sent_count, 0);
    assert_int_equal(h.gift_count, 1);
    assert_int_equal(h.gifts[0].kind, DP_GIFT_FRAME);
    assert_int_equal(h.gifts[0].nwid, nwid);
    assert_int_equal(h.gifts[0].block.len, len);
    assert_memory_equal(h.gifts[0].block.data, frame, len);
    assert_int_equal(host_count(&h, DP_GIVEN), given + 1);
}

/* TX 1 to 9. */
static void test_frames_of_the_engine(void **state)
{
    uint64_t own = mac_of_member(HOST_NWID, HOST_SELF);
    struct dp_port *port = dp_port_find(h.pub, HOST_NWID);
    struct dp_member *m = dp_member_find(port, alice.address);
    struct dp_session *s = dp_session_find(h.pub, alice.address);
    uint8_t f[100];
    size_t len;

    (void)state;
    len = make_frame(f, mac_of_member(HOST_NWID + 1, alice.address), own, "x", 1);
    check_given(HOST_NWID + 1, f, len);
    len = make_frame(f, MAC_BROADCAST, own, "x", 1);
    check_given(HOST_NWID, f, len);
    len = make_frame(f, 0x333300000001, own, "x", 1);
    check_given(HOST_NWID, f, len);
    len = make_frame(f, own, own, "x", 1);
    check_given(HOST_NWID, f, len);
    len = make_frame(f, 0x0a0000000001, own, "x", 1); /* behind a bridge */
    check_given(HOST_NWID, f, len);
    len = make_frame(f, mac_of_member(HOST_NWID, 0), own, "x", 1);
    check_given(HOST_NWID, f, len);
    len = make_frame(f, mac_of_member(HOST_NWID, 0x5500000001), own, "x", 1); /* no member */
    check_given(HOST_NWID, f, len);
    len = make_frame(f, mac_of(&alice), 0x020000000001, "x", 1); /* we are no bridge */
    check_given(HOST_NWID, f, len);
    len = make_frame(f, mac_of(&alice), own, "x", 1);
    check_given(HOST_NWID, f, ETHERNET_LEN); /* without payload */
    atomic_store(&m->access, DP_ACCESS_IN);
    check_given(HOST_NWID, f, len);
    atomic_store(&m->access, DP_ACCESS_IN | DP_ACCESS_OUT);
    m->traits.acts = true;
    check_given(HOST_NWID, f, len);
    m->traits.acts = false;
    s->can_send = false;
    check_given(HOST_NWID, f, len);
    dp_session_withdraw(h.pub, alice.address);
    check_given(HOST_NWID, f, len);
    host_session(&h, &alice, 1432);
    host_clear(&h);
    host_send(&h, HOST_NWID, NULL, f, len);
    dp_flush(h.dp);
    assert_int_equal(h.sent_count, 1);
    dp_member_withdraw(port, alice.address);
    check_given(HOST_NWID, f, len);
    dp_port_withdraw(h.pub, HOST_NWID);
    check_given(HOST_NWID, f, len);
}

static void test_bridged_frame_keeps_its_macs(void **state)
{
    uint8_t f[100];
    size_t len = make_frame(f, mac_of(&alice), 0x020000000001, "bridged", 7);

    (void)state;
    dp_port_find(h.pub, HOST_NWID)->is_bridge = true;
    host_send(&h, HOST_NWID, NULL, f, len);
    dp_flush(h.dp);
    assert_int_equal(remote_open_all(&alice, &h, packets, PACKETS), 1);
    check_packet(&packets[0], f, len, true);
    assert_int_equal(host_count(&h, DP_TX_EXT_FRAMES), 1);
}

static void test_frames_that_are_dropped(void **state)
{
    static const struct rule rules[] = {{.type = RULE_DROP}};
    uint64_t own = mac_of_member(HOST_NWID, HOST_SELF);
    struct dp_session *s = dp_session_find(h.pub, alice.address);
    struct dp_port *port = dp_port_find(h.pub, HOST_NWID);
    struct dp_member *m = dp_member_find(port, alice.address);
    const struct vnet_header wrong = {.gso_type = VNET_GSO_TCPV4, .gso_size = 10};
    uint8_t f[10100] = {0};
    size_t len = make_frame(f, mac_of(&alice), own, "x", 1);

    (void)state;
    host_send(&h, HOST_NWID, &wrong, f, len);
    assert_int_equal(host_count(&h, DP_DROP_HEADERS), 1);
    port->mtu = 2800;
    host_send(&h, HOST_NWID, NULL, f, ETHERNET_LEN + 2801); /* longer than the MTU */
    assert_int_equal(host_count(&h, DP_DROP_TOO_BIG), 1);
    port->mtu = 10000;
    host_send(&h, HOST_NWID, NULL, f, ETHERNET_LEN + 9891); /* no 7 datagrams hold it */
    assert_int_equal(host_count(&h, DP_DROP_TOO_BIG), 2);
    /* they passed the rules, and the member was meant, but nothing was sent to the peer */
    assert_int_equal(atomic_load(&port->cells[1].out[1]), 2);
    assert_int_equal(atomic_load(&m->cells[1].out_ms), h.now_ms);
    assert_int_equal(atomic_load(&s->cells[1].out_ms), 0);
    assert_int_equal(atomic_load(&s->cells[1].packets[1]), 0);
    assert_int_equal(host_count(&h, DP_TX_FRAMES), 0);
    host_send(&h, HOST_NWID, NULL, f, ETHERNET_LEN + 9890);
    dp_flush(h.dp);
    assert_int_equal(h.sent_count, 7);
    port = host_port(&h, HOST_NWID, rules, 1);
    host_member(&h, HOST_NWID, alice.address);
    host_clear(&h);
    host_send(&h, HOST_NWID, NULL, f, len);
    dp_flush(h.dp);
    assert_int_equal(h.sent_count, 0);
    assert_int_equal(host_count(&h, DP_DROP_RULES_OUT), 1);
    assert_int_equal(atomic_load(&port->cells[1].out[0]), 1);
}

/* D-1, D-2, D-6, D-7: frames of all lengths to both peers, in any mix; what arrives is what was
 * sent, in order for each. */
static void test_all_lengths(void **state)
{
    struct test_rng rng = test_rng_init("lengths");
    uint64_t own = mac_of_member(HOST_NWID, HOST_SELF);
    static uint8_t frames[100][ETHERNET_LEN + 9900];
    size_t lens[100];
    bool to_bob[100];

    (void)state;
    for (unsigned round = 0; round < 40; round++) {
        size_t next[2] = {0, 0};
        size_t counts[2] = {0, 0};

        host_clear(&h);
        for (unsigned i = 0; i < 100; i++) {
            static const size_t usual[] = {1, 46, 64, 500, 1394, 1395, 1500, 2800, 9000};
            size_t n = test_rng_below(&rng, 3) == 0 ? 1 + test_rng_below(&rng, 9890)
                                                    : usual[test_rng_below(&rng, COUNT_OF(usual))];
            uint8_t payload[9900];

            to_bob[i] = test_rng_below(&rng, 4) == 0;
            test_rng_fill(&rng, payload, n);
            lens[i] = make_frame(frames[i], mac_of(to_bob[i] ? &bob : &alice), own, payload, n);
            host_send(&h, HOST_NWID, NULL, frames[i], lens[i]);
            counts[to_bob[i]]++;
            if (test_rng_below(&rng, 20) == 0) {
                dp_flush(h.dp);
            }
        }
        dp_flush(h.dp);
        assert_int_equal(h.gift_count, 0);
        for (unsigned who = 0; who < 2; who++) {
            assert_int_equal(remote_open_all(who == 0 ? &alice : &bob, &h, packets, PACKETS),
                             counts[who]);
            for (unsigned i = 0; i < 100; i++) {
                if (to_bob[i] == (who == 1)) {
                    check_packet(&packets[next[who]++], frames[i], lens[i], false);
                }
            }
        }
    }
}

/* ---- super-frames: D-23, D-24 ---- */

static const struct rule size_rules[] = {
    {.type = RULE_FRAME_SIZE, .range = {.start = 0, .end = 700}},
    {.type = RULE_DROP},
    {.type = RULE_ACCEPT}};
static const struct rule push_rules[] = {
    {.type = RULE_CHARACTERISTICS, .mask = 0x008}, {.type = RULE_DROP}, {.type = RULE_ACCEPT}};
static const struct rule safe_rules[] = {
    {.type = RULE_IP_PROTOCOL, .number = 6}, {.type = RULE_ACCEPT}, {.type = RULE_DROP}};

struct result {
    size_t count;
    struct packet packets[PACKETS];
    uint64_t counts[DP_COUNTS];
    uint64_t port_out[2];
    uint64_t session_out;
};

static struct result results[2];

/* Everything that was sent and counted, since the objects were made anew. */
static void take_result(const struct remote *r, struct result *ret)
{
    struct dp_port *port = dp_port_find(h.pub, HOST_NWID);

    dp_flush(h.dp);
    memset(h.counts, 0, sizeof(h.counts));
    (void)host_count(&h, 0);
    memcpy(ret->counts, h.counts, sizeof(h.counts));
    ret->counts[DP_TX_DATAGRAMS] = 0; /* cuts are free */
    ret->count = remote_open_all(r, &h, ret->packets, PACKETS);
    ret->port_out[0] = atomic_load(&port->cells[1].out[0]);
    ret->port_out[1] = atomic_load(&port->cells[1].out[1]);
    ret->session_out = atomic_load(&dp_session_find(h.pub, r->address)->cells[1].packets[1]);
    host_clear(&h);
}

static void renew(struct remote *r, const struct rule *rules, size_t count, uint32_t mtu)
{
    host_session(&h, r, 1432);
    host_port(&h, HOST_NWID, rules, count)->mtu = mtu;
    host_member(&h, HOST_NWID, r->address);
}

static void compare_results(void)
{
    const struct result *a = &results[0];
    const struct result *b = &results[1];

    assert_int_equal(a->count, b->count);
    for (size_t i = 0; i < a->count; i++) {
        assert_int_equal(a->packets[i].len, b->packets[i].len);
        assert_memory_equal(a->packets[i].data + PACKET_AT_VERB,
                            b->packets[i].data + PACKET_AT_VERB,
                            a->packets[i].len - PACKET_AT_VERB);
    }
    assert_memory_equal(a->counts, b->counts, sizeof(a->counts));
    assert_memory_equal(a->port_out, b->port_out, sizeof(a->port_out));
    assert_int_equal(a->session_out, b->session_out);
}

static void run_super(struct test_rng *rng, struct remote *r, const struct rule *rules,
                      size_t rule_count)
{
    static uint8_t payload[60000];
    static uint8_t frame[TEST_FRAME_MAX];
    struct flow f = flow_random(rng, false);
    uint16_t gso_size = (uint16_t)(1 + test_rng_below(rng, 2900));
    uint32_t mtu = test_rng_below(rng, 8) == 0 ? 1000 : 10000;
    unsigned count = 1 + (unsigned)test_rng_below(rng, 20);
    struct vnet_header vnet;
    struct frame_fields v = {.seq = (uint32_t)test_rng_u64(rng),
                             .id = (uint16_t)test_rng_u64(rng),
                             .flags = (uint8_t)(0x10 | (test_rng_u64(rng) & 0x89)),
                             .payload = payload};

    v.len = (size_t)gso_size * (count - 1) + 1 + test_rng_below(rng, gso_size);
    f.dest_mac = mac_of(r);
    f.source_mac = mac_of_member(HOST_NWID, HOST_SELF);
    test_rng_fill(rng, payload, v.len);
    renew(r, rules, rule_count, mtu);
    size_t len = flow_super(&f, &v, gso_size, frame, &vnet);
    host_send(&h, HOST_NWID, &vnet, frame, len);
    take_result(r, &results[0]);
    renew(r, rules, rule_count, mtu);
    for (unsigned i = 0; i < count; i++) {
        struct frame_fields segment = flow_segment(&v, gso_size, i);

        len = flow_frame(&f, &segment, frame);
        host_send(&h, HOST_NWID, NULL, frame, len);
    }
    take_result(r, &results[1]);
    compare_results();
    limbo_reclaim(&h.pub->limbo, UINT64_MAX);
}

static void test_super_frames_are_their_segments(void **state)
{
    struct test_rng rng = test_rng_init("super-frames");

    (void)state;
    assert_int_equal(filter_classify(size_rules, 3).class, FILTER_UNSAFE);
    assert_int_equal(filter_classify(push_rules, 3).class, FILTER_UNSAFE);
    assert_int_equal(filter_classify(safe_rules, 3).class, FILTER_SAFE);
    for (unsigned i = 0; i < 120; i++) {
        struct remote *r = i % 2 == 0 ? &alice : &bob;

        run_super(&rng, r, NULL, 0);
        run_super(&rng, r, size_rules, COUNT_OF(size_rules));
        run_super(&rng, r, push_rules, COUNT_OF(push_rules));
        run_super(&rng, r, safe_rules, COUNT_OF(safe_rules));
    }
}

/* Of a safe program one verdict holds for the whole super-frame, of an unsafe one none: counted by
 * a random match, which draws once for each evaluation. */
static void test_safe_once_unsafe_each(void **state)
{
    static const struct rule half[] = {{.type = RULE_RANDOM, .probability = 0x80000000},
                                       {.type = RULE_ACCEPT},
                                       {.type = RULE_DROP}};
    static uint8_t payload[50000];
    static uint8_t frame[TEST_FRAME_MAX];
    struct test_rng rng = test_rng_init("once");
    struct flow f = flow_random(&rng, true);
    const struct frame_fields v = {.flags = 0x10, .payload = payload, .len = sizeof(payload)};
    struct vnet_header vnet;
    size_t len;
    uint64_t passed[2] = {0, 0};

    (void)state;
    f.dest_mac = mac_of(&alice);
    f.source_mac = mac_of_member(HOST_NWID, HOST_SELF);
    len = flow_super(&f, &v, 1000, frame, &vnet);
    for (unsigned i = 0; i < 40; i++) {
        struct dp_port *port = host_port(&h, HOST_NWID, half, COUNT_OF(half));
        struct dp_member *m = host_member(&h, HOST_NWID, alice.address);
        bool pretend_safe = i % 2 == 0;

        if (pretend_safe) {
            m->traits.class = FILTER_SAFE;
        }
        host_send(&h, HOST_NWID, &vnet, frame, len);
        uint64_t n = atomic_load(&port->cells[1].out[1]);
        assert_int_equal(n + atomic_load(&port->cells[1].out[0]), 50);
        if (pretend_safe) {
            assert_true(n == 0 || n == 50);
        } else {
            assert_true(n > 5 && n < 45);
        }
        passed[pretend_safe] += n;
        dp_flush(h.dp);
        host_clear(&h);
    }
    assert_true(passed[0] > 0 && passed[1] > 0);
}

/* Without a way the segments are given one by one. */
static void test_super_frame_is_given_in_segments(void **state)
{
    static uint8_t payload[5000];
    static uint8_t frame[TEST_FRAME_MAX];
    struct test_rng rng = test_rng_init("given");
    struct flow f = flow_random(&rng, true);
    const struct frame_fields v = {.flags = 0x18, .payload = payload, .len = sizeof(payload)};
    struct vnet_header vnet;
    size_t len;

    (void)state;
    f.dest_mac = MAC_BROADCAST;
    f.source_mac = mac_of_member(HOST_NWID, HOST_SELF);
    len = flow_super(&f, &v, 1200, frame, &vnet);
    host_send(&h, HOST_NWID, &vnet, frame, len);
    assert_int_equal(h.gift_count, 5);
    for (unsigned i = 0; i < 5; i++) {
        struct frame_fields segment = flow_segment(&v, 1200, i);
        uint8_t expected[2000];
        size_t n = flow_frame(&f, &segment, expected);

        assert_int_equal(h.gifts[i].block.len, n);
        assert_memory_equal(h.gifts[i].block.data, expected, n);
    }
}

/* More frames and destinations than a slab holds: it leaves in between, nothing is lost. */
static void test_slab_overflows(void **state)
{
    uint64_t own = mac_of_member(HOST_NWID, HOST_SELF);
    static const uint8_t payload[1000];
    uint8_t f[1600];
    size_t counts[2];

    (void)state;
    for (unsigned i = 0; i < 400; i++) {
        size_t len = make_frame(f, mac_of(i % 2 == 0 ? &alice : &bob), own, payload, 1000);

        host_send(&h, HOST_NWID, NULL, f, len);
    }
    dp_flush(h.dp);
    assert_int_equal(h.sent_count, 400);
    counts[0] = remote_open_all(&alice, &h, packets, PACKETS);
    counts[1] = remote_open_all(&bob, &h, packets, PACKETS);
    assert_int_equal(counts[0], 200);
    assert_int_equal(counts[1], 200);
}

/* ---- relaying ---- */

enum { ROUTES = 3 };

static struct dp_path route_to[ROUTES];

static void make_root(void)
{
    atomic_store(&h.pub->is_root, true);
    for (unsigned i = 0; i < ROUTES; i++) {
        struct dp_route *r = dp_route_new(h.pub, 0x4400000000 + i);

        assert_non_null(r);
        route_to[i] = (struct dp_path){
            .remote = {.family = INETADDR_V6, .ip = {0xfd, (uint8_t)i}, .port = 7}, .socket = i};
        r->to = route_to[i];
        dp_route_publish(r);
    }
    struct dp_route *own = dp_route_new(h.pub, alice.address);

    assert_non_null(own);
    own->to = (struct dp_path){.remote = alice.at, .socket = 9};
    own->ways[own->way_count++] = (struct dp_path){.remote = alice.at, .socket = HOST_SOCKET};
    dp_route_publish(own);
}

/* A packet, or a fragment, of alice's for a node behind route `to`. */
static size_t make_relayed(uint8_t *out, unsigned to, unsigned hops, bool is_fragment, size_t len)
{
    memset(out, 0x5a, len);
    be40_put(out + PACKET_AT_DEST, 0x4400000000 + to);
    if (is_fragment) {
        out[FRAGMENT_AT_INDICATOR] = FRAGMENT_INDICATOR;
        out[FRAGMENT_AT_NUMBERS] = 0x21;
        out[FRAGMENT_AT_HOPS] = (uint8_t)hops;
    } else {
        be40_put(out + PACKET_AT_SOURCE, alice.address);
        out[PACKET_AT_FLAGS] = (uint8_t)(SUITE_AES_GMAC_SIV << 3 | hops);
    }
    return len;
}

enum relayed {
    DROPPED,
    GIVEN, /* as it came */
    SENT,
    TOLD, /* sent, and the engine is told of the pair */
};

static enum relayed relay_one(unsigned to, unsigned hops, bool is_fragment)
{
    uint8_t data[200];
    uint8_t original[200];
    size_t len = make_relayed(data, to, hops, is_fragment, sizeof(data));
    const struct dp_message m = {
        .data = data, .len = len, .cap = len, .segment = len, .from = alice.at};
    unsigned got_hops;

    memcpy(original, data, len);
    host_clear(&h);
    dp_receive(h.dp, HOST_SOCKET, &m, 1, h.now_ms);
    assert_in_range(h.gift_count, 0, 1);
    if (h.sent_count == 0) {
        if (h.gift_count == 0) {
            return DROPPED;
        }
        assert_int_equal(h.gifts[0].kind, DP_GIFT_DATAGRAM);
        assert_int_equal(h.gifts[0].block.len, len);
        assert_memory_equal(h.gifts[0].block.data, original, len);
        return GIVEN;
    }
    assert_int_equal(h.sent_count, 1);
    assert_true(h.sent[0].to.socket == to &&
                inetaddr_equal(&h.sent[0].to.remote, &route_to[to].remote));
    got_hops =
        is_fragment ? h.sent[0].block.data[FRAGMENT_AT_HOPS] : packet_hops(h.sent[0].block.data);
    assert_int_equal(got_hops, hops + 1);
    if (h.gift_count == 1) {
        assert_int_equal(h.gifts[0].kind, DP_GIFT_PAIR);
        assert_int_equal(h.gifts[0].block.len, PACKET_MIN);
        assert_memory_equal(h.gifts[0].block.data, original, PACKET_MIN);
        return TOLD;
    }
    return SENT;
}

static void test_relay(void **state)
{
    (void)state;
    assert_int_equal(relay_one(0, 0, false), GIVEN); /* no root */
    make_root();
    assert_int_equal(relay_one(0, 0, false), TOLD); /* the first of a pair */
    assert_int_equal(relay_one(0, 0, false), SENT);
    assert_int_equal(relay_one(0, 2, false), SENT);
    assert_int_equal(relay_one(0, 3, false), DROPPED);
    assert_int_equal(relay_one(0, 7, false), DROPPED);
    assert_int_equal(relay_one(1, 0, true), SENT); /* a fragment tells no pair */
    assert_int_equal(relay_one(1, 2, true), SENT);
    assert_int_equal(relay_one(1, 3, true), DROPPED);
    assert_int_equal(relay_one(1, 255, true), DROPPED);
    assert_int_equal(relay_one(1, 0, false), TOLD);
    assert_int_equal(relay_one(1, 0, false), SENT);
    h.now_ms += 9999;
    assert_int_equal(relay_one(0, 0, false), SENT);
    h.now_ms += 1; /* after it was told, not after the last packet */
    assert_int_equal(relay_one(0, 0, false), TOLD);
    assert_int_equal(relay_one(0, 0, false), SENT);
    dp_route_withdraw(h.pub, 0x4400000000);
    assert_int_equal(relay_one(0, 0, false), GIVEN);
    atomic_store(&h.pub->is_root, false);
    assert_int_equal(relay_one(1, 0, false), GIVEN);
    assert_int_equal(host_count(&h, DP_RELAYED), 10);
    assert_int_equal(h.counts[DP_DROP_HOPS], 4);
}

/* Both directions of a pair are one introduction. */
static void test_pair_has_no_direction(void **state)
{
    uint8_t data[100];

    (void)state;
    make_root();
    assert_int_equal(relay_one(0, 0, false), TOLD);
    make_relayed(data, 0, 0, false, sizeof(data));
    be40_put(data + PACKET_AT_DEST, alice.address);
    be40_put(data + PACKET_AT_SOURCE, 0x4400000000);
    const struct dp_message m = {
        .data = data, .len = 100, .cap = 100, .segment = 100, .from = route_to[0].remote};
    host_clear(&h);
    dp_receive(h.dp, HOST_SOCKET, &m, 1, h.now_ms);
    assert_int_equal(h.sent_count, 1);
    assert_int_equal(h.gift_count, 0);
    assert_int_equal(h.sent[0].to.socket, 9);
}

/* What came together leaves together, from where it lies, in order. */
static void test_relayed_runs(void **state)
{
    static uint8_t data[2][64 * 1000];
    struct dp_message messages[2];
    size_t n = 0;

    (void)state;
    make_root();
    (void)relay_one(0, 0, false);
    (void)relay_one(1, 0, false);
    host_clear(&h);
    for (unsigned m = 0; m < 2; m++) {
        for (unsigned i = 0; i < 64; i++) { /* heads and fragments in turn */
            (void)make_relayed(data[m] + i * 1000, m, 0, i % 2 == 1, 1000);
            data[m][i * 1000 + 500] = (uint8_t)i;
        }
        messages[m] = (struct dp_message){
            .data = data[m], .len = 63500, .cap = 64000, .segment = 1000, .from = alice.at};
    }
    dp_receive(h.dp, HOST_SOCKET, messages, 2, h.now_ms);
    assert_int_equal(h.gift_count, 0);
    assert_int_equal(h.run_count, 2);
    assert_int_equal(h.sent_count, 128);
    for (unsigned m = 0; m < 2; m++) {
        for (unsigned i = 0; i < 64; i++, n++) {
            const struct block *b = &h.sent[n].block;

            assert_int_equal(h.sent[n].to.socket, m);
            assert_int_equal(b->len, i == 63 ? 500 : 1000);
            assert_true(i == 63 || b->data[500] == i);
            assert_int_equal(b->data[i % 2 == 1 ? FRAGMENT_AT_HOPS : PACKET_AT_FLAGS] & 7, 1);
        }
    }
}

/* What begins a TCP connection leaves with an MSS that fits the device, also where its checksum is
 * still partial; nothing else is touched. */
static void test_mss_is_clamped(void **state)
{
    static const uint8_t syn[] = {0x02, 0x12, 0x10};
    struct flow f = {.dest_mac = mac_of(&alice),
                     .source_mac = mac_of_member(HOST_NWID, HOST_SELF),
                     .tcp_options = 8};
    uint8_t frame[200];
    uint8_t want[200];

    (void)state;
    for (unsigned i = 0; i < 24; i++) {
        const struct frame_fields v = {.flags = syn[i % 3]};
        bool is_partial = i / 3 % 2 == 1;
        bool is_on = i / 12 == 1;
        struct vnet_header vnet = {0};
        size_t len;

        f.is_v6 = i / 6 % 2 == 1;
        dp_port_find(h.pub, HOST_NWID)->mss_mtu = is_on ? 1300 : 0;
        if (is_partial) {
            vnet = (struct vnet_header){
                .flags = VNET_NEEDS_CSUM, .csum_start = (uint16_t)flow_l4(&f), .csum_offset = 16};
        }
        len = flow_syn(&f, &v, 1, 1460, is_partial, frame);
        (void)flow_syn(&f, &v, 1, !is_on || i % 3 == 2 ? 1460 : f.is_v6 ? 1240 : 1260, false, want);
        host_clear(&h);
        host_send(&h, HOST_NWID, &vnet, frame, len);
        dp_flush(h.dp);
        assert_int_equal(remote_open_all(&alice, &h, packets, PACKETS), 1);
        check_packet(&packets[0], want, len, false);
    }
}

/* More runs than are kept, more datagrams than are looked at together: nothing is lost. */
static void test_many_relayed_runs(void **state)
{
    static uint8_t data[DP_MESSAGES_MAX][100 * 20];
    struct dp_message messages[DP_MESSAGES_MAX];

    (void)state;
    make_root();
    for (unsigned m = 0; m < DP_MESSAGES_MAX; m++) {
        for (unsigned i = 0; i < 100; i++) {
            (void)make_relayed(data[m] + i * 20, i % 2, 0, true, 20);
        }
        messages[m] = (struct dp_message){
            .data = data[m], .len = 2000, .cap = 2000, .segment = 20, .from = alice.at};
    }
    dp_receive(h.dp, HOST_SOCKET, messages, DP_MESSAGES_MAX, h.now_ms);
    assert_int_equal(host_count(&h, DP_RELAYED), DP_MESSAGES_MAX * 100);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(test_frame_is_sent_and_noted),
        TEST(test_frames_of_the_engine),
        TEST(test_bridged_frame_keeps_its_macs),
        TEST(test_frames_that_are_dropped),
        TEST(test_all_lengths),
        TEST(test_super_frames_are_their_segments),
        TEST(test_safe_once_unsafe_each),
        TEST(test_super_frame_is_given_in_segments),
        TEST(test_slab_overflows),
        TEST(test_mss_is_clamped),
        TEST(test_relay),
        TEST(test_pair_has_no_direction),
        TEST(test_relayed_runs),
        TEST(test_many_relayed_runs),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
