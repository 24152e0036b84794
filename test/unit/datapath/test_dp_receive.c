/* The data path from datagrams to frames: every row of the contract's RX table that is decided
 * here, all others as gifts; packets cut in every way. Checklist: D-3, D-8, D-11, D-16, D-17, D-24,
 * D-27, D-28. Source: data path contract section 3, spec 09 section 6.5. */
#include "dphost.h"
#include "segments.h"

#include "base/cursor.h"
#include "wire/mac.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { ETHERTYPE_TEST = 0x88b5, OTHER_NODE = 0x3300000001 };

static struct host h;
static struct remote alice; /* suite 3 */
static struct remote bob;   /* suite 1 */
static struct wire wire;

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
    wire_free(&wire);
    remote_done(&alice);
    remote_done(&bob);
    return 0;
}

/* Receive one sealed packet, uncut. */
static void receive_packet(struct remote *r, struct packet *p)
{
    packet_seal(r, p, false);
    wire_free(&wire);
    wire_add(&wire, r, p, 1, NULL);
    host_receive(&h, &wire, WIRE_SINGLE, 1);
}

static void check_gift(enum dp_gift_kind kind, const uint8_t *data, size_t len)
{
    assert_int_equal(h.gift_count, 1);
    assert_int_equal(h.frame_count, 0);
    assert_int_equal(h.sent_count, 0);
    assert_int_equal(h.gifts[0].kind, kind);
    assert_int_equal(h.gifts[0].socket, HOST_SOCKET);
    assert_true(inetaddr_equal(&h.gifts[0].from, wire.from[0]));
    assert_int_equal(h.gifts[0].block.len, len);
    if (data != NULL) {
        assert_memory_equal(h.gifts[0].block.data, data, len);
    }
}

/* A packet that the engine must get opened; nothing is noted of it, that is the engine's. */
static void check_given_opened(struct remote *r, struct packet *p)
{
    struct dp_session *s = dp_session_find(h.pub, r->address);
    struct packet plain = *p;
    uint64_t received = atomic_load(&s->cells[1].packets[0]);

    host_clear(&h);
    receive_packet(r, p);
    check_gift(DP_GIFT_OPENED, NULL, plain.len);
    /* from the verb on; flags and MAC are as received */
    assert_memory_equal(h.gifts[0].block.data + PACKET_AT_VERB, plain.data + PACKET_AT_VERB,
                        plain.len - PACKET_AT_VERB);
    assert_int_equal(atomic_load(&s->cells[1].packets[0]), received);
}

static void check_frame(size_t i, uint64_t dest, uint64_t source, uint16_t ethertype,
                        const void *payload, size_t len)
{
    const uint8_t *f = h.frames[i].block.data;

    assert_true(i < h.frame_count);
    assert_int_equal(h.frames[i].block.len, ETHERNET_LEN + len);
    assert_int_equal(mac_get(f), dest);
    assert_int_equal(mac_get(f + MAC_LEN), source);
    assert_int_equal(be16_get(f + 12), ethertype);
    assert_memory_equal(f + ETHERNET_LEN, payload, len);
}

/* ---- what is delivered ---- */

static void test_frame_is_delivered_and_noted(void **state)
{
    struct remote *both[] = {&alice, &bob};
    const char text[] = "Hello, network";
    struct packet p;

    (void)state;
    for (size_t i = 0; i < COUNT_OF(both); i++) {
        struct remote *r = both[i];
        struct dp_session *s = dp_session_find(h.pub, r->address);
        struct dp_port *port = dp_port_find(h.pub, HOST_NWID);
        struct dp_member *m = dp_member_find(port, r->address);

        host_clear(&h);
        h.now_ms += 1000;
        packet_frame(r, HOST_NWID, ETHERTYPE_TEST, text, sizeof(text), &p);
        receive_packet(r, &p);
        assert_int_equal(h.gift_count, 0);
        assert_int_equal(h.frame_count, 1);
        assert_int_equal(h.frames[0].nwid, HOST_NWID);
        check_frame(0, port->mac, mac_of_member(HOST_NWID, r->address), ETHERTYPE_TEST, text,
                    sizeof(text));
        /* cells of this worker only, path 1 of the session */
        assert_int_equal(atomic_load(&s->cells[1].in_ms), h.now_ms);
        assert_int_equal(atomic_load(&s->cells[1].trust_ms), h.now_ms);
        assert_int_equal(atomic_load(&s->cells[1].path_ms[1]), h.now_ms);
        assert_int_equal(atomic_load(&s->cells[1].path_ms[0]), 0);
        assert_int_equal(atomic_load(&s->cells[1].relayed_ms), 0);
        assert_int_equal(atomic_load(&s->cells[1].packets[0]), 1);
        assert_int_equal(atomic_load(&s->cells[0].packets[0]), 0);
        assert_int_equal(atomic_load(&m->cells[1].in_ms), h.now_ms);
        assert_int_equal(atomic_load(&port->cells[1].in[1]), i + 1);
        assert_int_equal(atomic_load(&port->cells[1].in[0]), 0);
        assert_int_equal(h.wakes, 1); /* once until the harvest */
    }
    assert_int_equal(published_harvest(h.pub), 5);
    assert_int_equal(host_count(&h, DP_RX_FRAMES), 2);
    assert_int_equal(h.counts[DP_RX_PACKETS], 2);
    assert_int_equal(h.counts[DP_RX_DATAGRAMS], 2);
    assert_int_equal(h.counts[DP_GIVEN], 0);
}

static void test_relayed_frame_is_delivered(void **state)
{
    struct dp_session *s = dp_session_find(h.pub, alice.address);
    struct packet p;

    (void)state;
    alice.at.ip[3] = 99; /* the relay: no path of the session */
    packet_frame(&alice, HOST_NWID, ETHERTYPE_TEST, "x", 1, &p);
    packet_seal(&alice, &p, false);
    packet_add_hop(p.data);
    wire_add(&wire, &alice, &p, 1, NULL);
    host_receive(&h, &wire, WIRE_SINGLE, 1);
    assert_int_equal(h.frame_count, 1);
    assert_int_equal(atomic_load(&s->cells[1].relayed_ms), h.now_ms);
    assert_int_equal(atomic_load(&s->cells[1].path_ms[1]), 0);
}

static void test_ext_frame_from_the_sender_itself(void **state)
{
    uint64_t source = mac_of_member(HOST_NWID, alice.address);
    uint64_t own = mac_of_member(HOST_NWID, HOST_SELF);
    struct dp_port *port = dp_port_find(h.pub, HOST_NWID);
    struct packet p;

    (void)state;
    packet_ext_frame(&alice, HOST_NWID, own, source, 0, "abc", 3, &p);
    receive_packet(&alice, &p);
    assert_int_equal(h.frame_count, 1);
    check_frame(0, own, source, 0x0800, "abc", 3);
    packet_ext_frame(&alice, HOST_NWID, MAC_BROADCAST, source, 0, "de", 2, &p);
    receive_packet(&alice, &p);
    check_frame(1, MAC_BROADCAST, source, 0x0800, "de", 2);
    port->is_bridge = true;
    packet_ext_frame(&alice, HOST_NWID, 0x020000000001, source, 0, "f", 1, &p);
    receive_packet(&alice, &p);
    check_frame(2, 0x020000000001, source, 0x0800, "f", 1);
    assert_int_equal(host_count(&h, DP_RX_EXT_FRAMES), 3);
}

/* ---- what is given: RX 2, 3, 6, 7, 8, 11 to 18 ---- */

static void test_for_others_is_given_as_it_came(void **state)
{
    uint8_t head[40] = {1, 2, 3, 4, 5, 6, 7, 8};
    uint8_t part[40] = {1, 2, 3, 4, 5, 6, 7, 8};

    (void)state;
    be40_put(head + PACKET_AT_DEST, OTHER_NODE);
    be40_put(head + PACKET_AT_SOURCE, alice.address);
    be40_put(part + PACKET_AT_DEST, OTHER_NODE);
    part[FRAGMENT_AT_INDICATOR] = FRAGMENT_INDICATOR;
    part[FRAGMENT_AT_NUMBERS] = 0x21;
    for (size_t i = 0; i < 2; i++) {
        const uint8_t *data = i == 0 ? head : part;
        const struct dp_message m = {
            .data = exact_copy(data, 40), .len = 40, .cap = 40, .segment = 40, .from = alice.at};

        host_clear(&h);
        wire.from[0] = &alice.at;
        dp_receive(h.dp, HOST_SOCKET, &m, 1, h.now_ms);
        check_gift(DP_GIFT_DATAGRAM, data, 40);
        free(m.data);
    }
}

static void test_without_session_it_is_given_sealed(void **state)
{
    struct remote eve;
    struct packet p;
    uint8_t text[3000] = {7};

    (void)state;
    remote_init(&eve, 9, SUITE_AES_GMAC_SIV);
    packet_frame(&eve, HOST_NWID, ETHERTYPE_TEST, text, sizeof(text), &p);
    receive_packet(&eve, &p);
    check_gift(DP_GIFT_SEALED, p.data, p.len);
    /* cut: joined first, whatever the way it comes */
    for (unsigned form = WIRE_SINGLE; form <= WIRE_GRO; form++) {
        host_clear(&h);
        wire_free(&wire);
        packet_frame(&eve, HOST_NWID, ETHERTYPE_TEST, text, sizeof(text), &p);
        packet_seal(&eve, &p, true);
        wire_add(&wire, &eve, &p, 3, NULL);
        host_receive(&h, &wire, form, 64);
        check_gift(DP_GIFT_SEALED, p.data, p.len);
    }
    /* a session that was withdrawn */
    dp_session_withdraw(h.pub, alice.address);
    host_clear(&h);
    packet_frame(&alice, HOST_NWID, ETHERTYPE_TEST, text, 10, &p);
    receive_packet(&alice, &p);
    check_gift(DP_GIFT_SEALED, p.data, p.len);
    remote_done(&eve);
}

/* Suite 0 (HELLO), trusted paths, and suites there are not. */
static void test_other_suites_are_given_sealed(void **state)
{
    struct packet p;

    (void)state;
    for (unsigned suite = 0; suite < 8; suite++) {
        if (suite == SUITE_SALSA_POLY1305 || suite == SUITE_AES_GMAC_SIV) {
            continue;
        }
        host_clear(&h);
        wire_free(&wire);
        packet_frame(&alice, HOST_NWID, ETHERTYPE_TEST, "x", 1, &p);
        p.data[PACKET_AT_FLAGS] = (uint8_t)(suite << 3);
        wire_add(&wire, &alice, &p, 1, NULL);
        host_receive(&h, &wire, WIRE_SINGLE, 1);
        check_gift(DP_GIFT_SEALED, p.data, p.len);
    }
}

static void test_other_verbs_are_given_opened(void **state)
{
    struct packet p;

    (void)state;
    for (unsigned verb = 0; verb < 32; verb++) {
        if (verb != VERB_FRAME && verb != VERB_EXT_FRAME) {
            packet_make(&alice, verb, "payload", 7, &p);
            check_given_opened(&alice, &p);
        }
    }
    packet_frame(&alice, HOST_NWID, ETHERTYPE_TEST, "x", 1, &p);
    p.data[PACKET_AT_VERB] |= VERB_COMPRESSED;
    check_given_opened(&alice, &p);
    packet_make(&alice, VERB_ECHO, NULL, 0, &p);
    check_given_opened(&alice, &p);
}

/* Frames whose decision was not published. */
static void test_frames_of_the_engine(void **state)
{
    uint64_t source = mac_of_member(HOST_NWID, alice.address);
    uint64_t own = mac_of_member(HOST_NWID, HOST_SELF);
    struct dp_port *port = dp_port_find(h.pub, HOST_NWID);
    struct packet p;

    (void)state;
    packet_frame(&alice, HOST_NWID + 1, ETHERTYPE_TEST, "x", 1, &p); /* not joined */
    check_given_opened(&alice, &p);
    packet_frame(&alice, HOST_NWID, ETHERTYPE_TEST, "", 0, &p);
    check_given_opened(&alice, &p);
    packet_ext_frame(&alice, HOST_NWID, own, source, EXT_FRAME_ACK, "x", 1, &p);
    check_given_opened(&alice, &p);
    packet_ext_frame(&alice, HOST_NWID, own, source, 0, "x", 1, &p);
    p.data[PACKET_AT_PAYLOAD + 8] = EXT_FRAME_COM; /* and none there */
    check_given_opened(&alice, &p);
    packet_ext_frame(&alice, HOST_NWID, own, source, 0, "", 0, &p);
    check_given_opened(&alice, &p);
    packet_ext_frame(&alice, HOST_NWID, own, 0x020000000001, 0, "x", 1, &p); /* behind alice */
    check_given_opened(&alice, &p);
    packet_ext_frame(&alice, HOST_NWID, own, 0, 0, "x", 1, &p);
    check_given_opened(&alice, &p);
    packet_ext_frame(&alice, HOST_NWID, source, own, 0, "x", 1, &p); /* says to be us */
    check_given_opened(&alice, &p);
    packet_ext_frame(&alice, HOST_NWID, 0x020000000001, source, 0, "x", 1, &p); /* no bridge */
    check_given_opened(&alice, &p);
    port->multicast = false;
    packet_ext_frame(&alice, HOST_NWID, MAC_BROADCAST, source, 0, "x", 1, &p);
    check_given_opened(&alice, &p);
    packet_make(&alice, VERB_EXT_FRAME, "short", 5, &p);
    check_given_opened(&alice, &p);
    alice.at.port++; /* a path that is not known: it may become one */
    packet_frame(&alice, HOST_NWID, ETHERTYPE_TEST, "x", 1, &p);
    check_given_opened(&alice, &p);
}

/* Invariant 5: what takes rights away holds for the next packet, also within a batch's objects. */
static void test_revoked_member_is_the_engines(void **state)
{
    struct dp_port *port = dp_port_find(h.pub, HOST_NWID);
    struct dp_member *m = dp_member_find(port, alice.address);
    struct packet p;

    (void)state;
    atomic_store(&m->access, DP_ACCESS_OUT);
    packet_frame(&alice, HOST_NWID, ETHERTYPE_TEST, "x", 1, &p);
    check_given_opened(&alice, &p);
    atomic_store(&m->access, DP_ACCESS_IN);
    host_clear(&h);
    packet_frame(&alice, HOST_NWID, ETHERTYPE_TEST, "x", 1, &p);
    receive_packet(&alice, &p);
    assert_int_equal(h.frame_count, 1);
    m->traits.acts = true; /* copies or redirects: the engine's */
    packet_frame(&alice, HOST_NWID, ETHERTYPE_TEST, "x", 1, &p);
    check_given_opened(&alice, &p);
    m->traits.acts = false;
    dp_member_withdraw(port, alice.address);
    packet_frame(&alice, HOST_NWID, ETHERTYPE_TEST, "x", 1, &p);
    check_given_opened(&alice, &p);
    host_member(&h, HOST_NWID, alice.address);
    dp_port_withdraw(h.pub, HOST_NWID);
    packet_frame(&alice, HOST_NWID, ETHERTYPE_TEST, "x", 1, &p);
    check_given_opened(&alice, &p);
}

/* ---- what is dropped: RX 1, 4, 9, 10, 12, 17, 20 ---- */

static void check_drop(enum dp_count what, const uint8_t *data, size_t len)
{
    uint64_t before = host_count(&h, what);
    const struct dp_message m = {
        .data = exact_copy(data, len), .len = len, .cap = len, .segment = len, .from = alice.at};

    host_clear(&h);
    dp_receive(h.dp, HOST_SOCKET, &m, 1, h.now_ms);
    dp_flush(h.dp);
    assert_int_equal(h.gift_count + h.frame_count + h.sent_count, 0);
    assert_int_equal(host_count(&h, what), before + 1);
    free(m.data);
}

static void test_datagrams_that_are_dropped(void **state)
{
    static const uint8_t bad_numbers[] = {0x00,        0x01, 0x11, 0x20, 0x22,
                                          0x31 + 0x02, 0x70, 0x77, 0x81, 0xf1};
    static uint8_t data[PACKET_MAX + 1];
    struct packet p;

    (void)state;
    for (size_t len = 1; len < PACKET_MIN; len++) {
        check_drop(len == 13 ? DP_DROP_BEACON : DP_DROP_RUNT, data, len);
    }
    check_drop(DP_DROP_RUNT, data, sizeof(data));
    be40_put(data + PACKET_AT_DEST, HOST_SELF);
    be40_put(data + PACKET_AT_SOURCE, HOST_SELF);
    check_drop(DP_DROP_OWN_SOURCE, data, 40);
    data[FRAGMENT_AT_INDICATOR] = FRAGMENT_INDICATOR;
    for (size_t i = 0; i < sizeof(bad_numbers); i++) {
        data[FRAGMENT_AT_NUMBERS] = bad_numbers[i];
        check_drop(DP_DROP_FRAGMENT, data, 40);
    }
    packet_make(&alice, VERB_FRAME, "short", 5, &p);
    packet_seal(&alice, &p, false);
    check_drop(DP_DROP_MALFORMED, p.data, p.len);
}

static void test_tampered_packet_is_dropped(void **state)
{
    struct dp_session *s = dp_session_find(h.pub, alice.address);
    struct test_rng rng = test_rng_init("tampered");
    struct packet p;
    struct packet bad;

    (void)state;
    packet_frame(&alice, HOST_NWID, ETHERTYPE_TEST, "some text", 9, &p);
    packet_seal(&alice, &p, false);
    for (unsigned bit = 0; bit < 8 * p.len; bit++) {
        unsigned byte = bit / 8;

        /* addresses, suite, fragmented flag and hops send it elsewhere */
        if ((byte >= PACKET_AT_DEST && byte <= PACKET_AT_FLAGS)) {
            continue;
        }
        bad = p;
        bad.data[byte] ^= (uint8_t)(1U << bit % 8);
        check_drop(DP_DROP_MAC, bad.data, bad.len);
    }
    assert_int_equal(atomic_load(&s->cells[1].errors), h.counts[DP_DROP_MAC]);
    /* the good one is no duplicate of them: it is judged after authentication */
    wire_add(&wire, &alice, &p, 1, NULL);
    host_receive(&h, &wire, WIRE_SINGLE, 1);
    assert_int_equal(h.frame_count, 1);
    /* D-28: with another's address, from anywhere */
    for (size_t i = 0; i < 2000; i++) {
        test_rng_fill(&rng, bad.data, 100);
        be40_put(bad.data + PACKET_AT_DEST, HOST_SELF);
        be40_put(bad.data + PACKET_AT_SOURCE, alice.address);
        bad.data[PACKET_AT_FLAGS] =
            (uint8_t)((i % 2 == 0 ? SUITE_AES_GMAC_SIV : SUITE_SALSA_POLY1305) << 3);
        check_drop(DP_DROP_MAC, bad.data, 100);
    }
    packet_frame(&alice, HOST_NWID, ETHERTYPE_TEST, "still", 5, &p);
    host_clear(&h);
    receive_packet(&alice, &p);
    assert_int_equal(h.frame_count, 1);
}

static void test_duplicates(void **state)
{
    struct packet p;

    (void)state;
    packet_frame(&alice, HOST_NWID, ETHERTYPE_TEST, "x", 1, &p);
    packet_seal(&alice, &p, false);
    for (size_t i = 0; i < 3; i++) {
        wire_add(&wire, &alice, &p, 1, NULL);
    }
    host_receive(&h, &wire, WIRE_SINGLE, 2);
    assert_int_equal(h.frame_count, 1);
    assert_int_equal(host_count(&h, DP_DROP_DUPLICATE), 2);
    h.now_ms += 9000;
    packet_add_hop(p.data); /* a copy by a relay is one, too */
    check_drop(DP_DROP_DUPLICATE, p.data, p.len);
    packet_make(&alice, VERB_NETWORK_CREDENTIALS, "x", 1, &p); /* given once */
    packet_seal(&alice, &p, false);
    wire_free(&wire);
    wire_add(&wire, &alice, &p, 1, NULL);
    wire_add(&wire, &alice, &p, 1, NULL);
    host_clear(&h);
    host_receive(&h, &wire, WIRE_SINGLE, 2);
    assert_int_equal(h.gift_count, 1);
    packet_make(&alice, VERB_ECHO, "x", 1, &p); /* each copy deserves its answer */
    packet_seal(&alice, &p, false);
    wire_free(&wire);
    wire_add(&wire, &alice, &p, 1, NULL);
    wire_add(&wire, &alice, &p, 1, NULL);
    host_clear(&h);
    host_receive(&h, &wire, WIRE_SINGLE, 2);
    assert_int_equal(h.gift_count, 2);
}

static void test_rules_and_mtu(void **state)
{
    static const struct rule rules[] = {{.type = RULE_ETHERTYPE, .number = ETHERTYPE_TEST},
                                        {.type = RULE_DROP},
                                        {.type = RULE_ACCEPT}};
    struct dp_port *port;
    struct packet p;

    (void)state;
    port = host_port(&h, HOST_NWID, rules, COUNT_OF(rules));
    port->mtu = 100;
    host_member(&h, HOST_NWID, alice.address);
    assert_int_equal(port->traits.class, FILTER_CONSTANT);
    for (unsigned i = 0; i < 4; i++) { /* cached or not */
        wire_free(&wire);
        for (unsigned k = 0; k < 3; k++) {
            packet_frame(&alice, HOST_NWID, k == 1 ? 0x88b6 : ETHERTYPE_TEST, "x", 1, &p);
            packet_seal(&alice, &p, false);
            wire_add(&wire, &alice, &p, 1, NULL);
        }
        host_clear(&h);
        host_receive(&h, &wire, WIRE_SINGLE, 64);
        assert_int_equal(h.frame_count, 1);
        assert_int_equal(be16_get(h.frames[0].block.data + 12), 0x88b6);
    }
    assert_int_equal(host_count(&h, DP_DROP_RULES_IN), 8);
    assert_int_equal(atomic_load(&port->cells[1].in[0]), 8);
    assert_int_equal(atomic_load(&port->cells[1].in[1]), 4);
    uint8_t large[101] = {0};
    packet_frame(&alice, HOST_NWID, 0x88b6, large, 100, &p);
    host_clear(&h);
    receive_packet(&alice, &p);
    assert_int_equal(h.frame_count, 1);
    packet_frame(&alice, HOST_NWID, 0x88b6, large, 101, &p);
    packet_seal(&alice, &p, false);
    check_drop(DP_DROP_TOO_BIG, p.data, p.len);
}

static void test_mss_is_clamped(void **state)
{
    struct flow f = {.dest_mac = 1, .source_mac = 2, .tcp_options = 8};
    struct dp_port *port = dp_port_find(h.pub, HOST_NWID);
    uint8_t frame[200];
    uint8_t want[200];

    (void)state;
    for (unsigned i = 0; i < 4; i++) {
        const struct frame_fields v = {.flags = 0x12};
        struct packet p;
        size_t len;

        f.is_v6 = i % 2 == 1;
        port->mss_mtu = i < 2 ? 1300 : 0;
        len = flow_syn(&f, &v, 1, 1460, false, frame) - ETHERNET_LEN;
        (void)flow_syn(&f, &v, 1, i >= 2 ? 1460 : f.is_v6 ? 1240 : 1260, false, want);
        packet_frame(&alice, HOST_NWID, be16_get(frame + 12), frame + ETHERNET_LEN, len, &p);
        host_clear(&h);
        receive_packet(&alice, &p);
        assert_int_equal(h.frame_count, 1);
        check_frame(0, port->mac, mac_of_member(HOST_NWID, alice.address), be16_get(frame + 12),
                    want + ETHERNET_LEN, len);
    }
}

/* Unsafe programs see every frame, with its own size. */
static void test_unsafe_rules_judge_each_frame(void **state)
{
    static const struct rule rules[] = {
        {.type = RULE_FRAME_SIZE, .range = {.start = 50, .end = 60}},
        {.type = RULE_DROP},
        {.type = RULE_ACCEPT}};
    struct packet p;
    uint8_t text[100] = {0};

    (void)state;
    assert_int_equal(host_port(&h, HOST_NWID, rules, COUNT_OF(rules))->traits.class, FILTER_UNSAFE);
    host_member(&h, HOST_NWID, alice.address);
    for (size_t len = 30; len < 80; len++) {
        packet_frame(&alice, HOST_NWID, ETHERTYPE_TEST, text, len, &p);
        packet_seal(&alice, &p, false);
        wire_add(&wire, &alice, &p, 1, NULL);
    }
    host_receive(&h, &wire, WIRE_SINGLE, 64);
    assert_int_equal(h.frame_count, 39);
    assert_int_equal(host_count(&h, DP_DROP_RULES_IN), 11);
}

/* ---- cuts: D-3, D-16 ---- */

enum { CUT_PACKETS = 24 };

enum order {
    ORDER_PLAIN,
    ORDER_REVERSED, /* the parts of each packet */
    ORDER_GROUPS,   /* heads of some packets, then their other parts: interleaved */
    ORDER_DOUBLE,   /* every datagram twice */
    ORDER_RANDOM,   /* of all datagrams */
    ORDERS,
};

static void swap(struct wire *w, size_t a, size_t b)
{
    struct block block = w->datagrams[a];
    const struct inetaddr *from = w->from[a];

    w->datagrams[a] = w->datagrams[b];
    w->from[a] = w->from[b];
    w->datagrams[b] = block;
    w->from[b] = from;
}

static bool is_head(const struct wire *w, size_t i)
{
    return w->datagrams[i].data[FRAGMENT_AT_INDICATOR] != FRAGMENT_INDICATOR;
}

static void reorder(struct wire *w, enum order order, struct test_rng *rng)
{
    size_t count = w->count;

    if (order == ORDER_REVERSED) {
        for (size_t i = 0, end; i < count; i = end) {
            for (end = i + 1; end < count && !is_head(w, end); end++) {
            }
            for (size_t a = i, b = end - 1; a < b; a++, b--) {
                swap(w, a, b);
            }
        }
    } else if (order == ORDER_GROUPS) { /* stable: heads first within windows */
        for (size_t round = 0; round < 4; round++) {
            for (size_t i = 0; i + 1 < count; i++) {
                if (!is_head(w, i) && is_head(w, i + 1)) {
                    swap(w, i, i + 1);
                    i++;
                }
            }
        }
    } else if (order == ORDER_DOUBLE) {
        for (size_t i = count; i-- > 0;) {
            w->datagrams[2 * i] = w->datagrams[i];
            w->from[2 * i] = w->from[i];
            w->datagrams[2 * i + 1] =
                (struct block){.data = exact_copy(w->datagrams[i].data, w->datagrams[i].len),
                               .len = w->datagrams[i].len};
            w->from[2 * i + 1] = w->from[2 * i];
        }
        w->count = 2 * count;
    } else if (order == ORDER_RANDOM) {
        for (size_t i = count; i > 1; i--) {
            swap(w, i - 1, test_rng_below(rng, i));
        }
    }
}

/* Packets of two peers, cut somehow, through everything; each frame comes out once, unchanged. */
static void run_cuts(struct test_rng *rng, enum order order, enum wire_form form, size_t batch)
{
    struct remote *remotes[] = {&alice, &bob};
    static uint8_t payloads[CUT_PACKETS][10000];
    size_t lens[CUT_PACKETS];
    bool seen[CUT_PACKETS] = {false};
    size_t last[2] = {0, 0};
    struct packet p;

    for (size_t i = 0; i < CUT_PACKETS; i++) {
        struct remote *r = remotes[i / 3 % 2];
        unsigned total = 1 + (unsigned)test_rng_below(rng, FRAGMENTS_MAX);

        lens[i] = 20 + test_rng_below(rng, i % 5 == 0 ? 9900 : 2800);
        test_rng_fill(rng, payloads[i], lens[i]);
        payloads[i][0] = (uint8_t)i;
        packet_frame(r, HOST_NWID, ETHERTYPE_TEST, payloads[i], lens[i], &p);
        packet_seal(r, &p, total > 1);
        wire_add(&wire, r, &p, total, test_rng_below(rng, 2) == 0 ? rng : NULL);
    }
    reorder(&wire, order, rng);
    host_receive(&h, &wire, form, batch);
    assert_int_equal(h.gift_count, 0);
    assert_int_equal(h.frame_count, CUT_PACKETS);
    for (size_t i = 0; i < h.frame_count; i++) {
        size_t n = h.frames[i].block.data[ETHERNET_LEN];
        size_t who = n / 3 % 2;

        assert_true(n < CUT_PACKETS && !seen[n]);
        seen[n] = true;
        check_frame(i, mac_of_member(HOST_NWID, HOST_SELF),
                    mac_of_member(HOST_NWID, remotes[who]->address), ETHERTYPE_TEST, payloads[n],
                    lens[n]);
        if (order == ORDER_PLAIN || order == ORDER_REVERSED || order == ORDER_DOUBLE) {
            assert_true(i == 0 || n >= last[0]); /* in the order in which they were complete */
            last[0] = n;
        }
    }
    wire_free(&wire);
    host_clear(&h);
    h.now_ms += 600;
    (void)dp_expire(h.dp, h.now_ms);
}

static void test_packets_cut_in_every_way(void **state)
{
    struct test_rng rng = test_rng_init("cuts");

    (void)state;
    for (unsigned order = ORDER_PLAIN; order < ORDERS; order++) {
        for (unsigned form = WIRE_SINGLE; form <= WIRE_GRO; form++) {
            for (unsigned i = 0; i < 6; i++) {
                run_cuts(&rng, order, form, i == 0 ? 1 : 1 + test_rng_below(&rng, 64));
            }
        }
    }
    assert_int_equal(host_count(&h, DP_DROP_MAC), 0);
    assert_true(h.counts[DP_SLOW_JOIN] > 0);
}

/* The cut of our own senders, merged by the kernel: nothing goes through the table. */
static void test_own_cut_takes_the_fast_path(void **state)
{
    static const size_t lens[] = {64, 1394, 1500, 2800, 9000};
    struct remote *remotes[] = {&alice, &bob};
    static uint8_t text[10000];
    struct packet p;

    (void)state;
    for (size_t i = 0; i < COUNT_OF(lens) * 2; i++) {
        for (unsigned k = 0; k < 20; k++) {
            packet_frame(remotes[i % 2], HOST_NWID, ETHERTYPE_TEST, text, lens[i / 2], &p);
            wire_seal(&wire, remotes[i % 2], &p, 1432);
        }
    }
    host_receive(&h, &wire, WIRE_GRO, 64);
    assert_int_equal(h.frame_count, 200);
    assert_int_equal(host_count(&h, DP_SLOW_JOIN), 0);
}

/* A tampered part of a cut packet: it is dropped, its neighbours are not. */
static void test_tampered_part(void **state)
{
    struct test_rng rng = test_rng_init("tampered part");
    struct packet p;
    uint8_t text[2800] = {1};

    (void)state;
    for (unsigned form = WIRE_SINGLE; form <= WIRE_GRO; form++) {
        for (unsigned k = 0; k < 9; k++) {
            packet_frame(&alice, HOST_NWID, ETHERTYPE_TEST, text, sizeof(text), &p);
            wire_seal(&wire, &alice, &p, 1432);
            if (k % 3 == 1) {
                struct block *b = &wire.datagrams[wire.count - 1 - k % 2];

                b->data[32 + test_rng_below(&rng, b->len - 32)] ^= 4;
            }
        }
        host_receive(&h, &wire, form, 64);
        wire_free(&wire);
        assert_int_equal(h.frame_count, 6 * (form + 1));
    }
    assert_int_equal(host_count(&h, DP_DROP_MAC), 9);
}

/* ---- merging: D-11, D-16, D-17 ---- */

static void test_merging_and_bad_packets(void **state)
{
    struct test_rng rng = test_rng_init("merging");
    struct flow f = flow_random(&rng, true);
    uint8_t payload[1000];
    uint8_t frame[2000];
    uint8_t expected[30][2000];
    size_t expected_len[30];
    size_t expected_count = 0;
    struct packet p;

    (void)state;
    f.is_udp = false;
    f.tags = 0;
    f.df = true;
    f.dest_mac = mac_of_member(HOST_NWID, HOST_SELF);
    f.source_mac = mac_of_member(HOST_NWID, alice.address);
    test_rng_fill(&rng, payload, sizeof(payload));
    for (unsigned i = 0; i < 30; i++) {
        const struct frame_fields v = {.seq = 5000 + (i - i / 3) * 1000,
                                       .flags = 0x10,
                                       .payload = payload,
                                       .len = sizeof(payload)};
        size_t len = flow_frame(&f, &v, frame);

        packet_frame(&alice, HOST_NWID, f.is_v6 ? 0x86dd : 0x0800, frame + ETHERNET_LEN,
                     len - ETHERNET_LEN, &p);
        packet_seal(&alice, &p, false);
        if (i % 3 == 2) { /* every third is damaged, then sent again as the next one */
            p.data[40 + i] ^= 1;
        } else {
            memcpy(expected[expected_count], frame, len);
            expected_len[expected_count++] = len;
        }
        wire_add(&wire, &alice, &p, 1, NULL);
    }
    host_receive(&h, &wire, WIRE_SINGLE, 64);
    assert_int_equal(host_count(&h, DP_DROP_MAC), 10);
    assert_int_equal(h.write_count, 1); /* all that is good in one super-frame */
    assert_int_equal(h.frame_count, expected_count);
    for (size_t i = 0; i < expected_count; i++) {
        assert_int_equal(h.frames[i].block.len, expected_len[i]);
        if (f.is_v6) {
            assert_memory_equal(h.frames[i].block.data, expected[i], expected_len[i]);
        }
    }
    host_clear(&h);
    host_receive(&h, &wire, WIRE_SINGLE, 64); /* all again: duplicates are not merged either */
    assert_int_equal(h.write_count, 0);
    h.kinds = 0; /* a device without offloads */
    wire_free(&wire);
    for (unsigned i = 0; i < 3; i++) {
        const struct frame_fields v = {
            .seq = i * 1000, .flags = 0x10, .payload = payload, .len = sizeof(payload)};
        size_t len = flow_frame(&f, &v, frame);

        packet_frame(&alice, HOST_NWID, f.is_v6 ? 0x86dd : 0x0800, frame + ETHERNET_LEN,
                     len - ETHERNET_LEN, &p);
        packet_seal(&alice, &p, false);
        wire_add(&wire, &alice, &p, 1, NULL);
    }
    host_receive(&h, &wire, WIRE_SINGLE, 64);
    assert_int_equal(h.write_count, 3);
}

/* ---- floods of parts: D-27, invariant 12 ---- */

static void test_flood_of_parts_does_not_stop_others(void **state)
{
    struct test_rng rng = test_rng_init("flood");
    struct inetaddr flooder = {.family = INETADDR_V4, .ip = {203, 0, 113, 5}, .port = 5};
    uint8_t part[200];
    struct packet p;
    uint8_t text[2800] = {1};

    (void)state;
    for (unsigned i = 0; i < 20000; i++) {
        const struct dp_message m = {
            .data = part, .len = 200, .cap = 200, .segment = 200, .from = flooder};

        test_rng_fill(&rng, part, sizeof(part));
        be40_put(part + PACKET_AT_DEST, HOST_SELF);
        part[FRAGMENT_AT_INDICATOR] = FRAGMENT_INDICATOR;
        part[FRAGMENT_AT_NUMBERS] = 0x21;
        flooder.port++;
        flooder.ip[3] = (uint8_t)(i % 3);
        dp_receive(h.dp, HOST_SOCKET, &m, 1, h.now_ms);
        if (i % 100 != 0) {
            continue;
        }
        packet_frame(&alice, HOST_NWID, ETHERTYPE_TEST, text, sizeof(text), &p);
        wire_free(&wire);
        wire_seal(&wire, &alice, &p, 1432);
        swap(&wire, 0, 1); /* through the table */
        host_clear(&h);
        host_receive(&h, &wire, WIRE_SINGLE, 1);
        assert_int_equal(h.frame_count, 1);
    }
    assert_true(dp_expire(h.dp, h.now_ms) > h.now_ms);
    (void)dp_expire(h.dp, h.now_ms + 600);
    assert_int_equal(dp_expire(h.dp, h.now_ms + 20000), -1); /* its memory is given back */
}

/* ---- all at once: invariant 1 ---- */

/* Every packet ends in exactly one of: delivered, dropped with one reason, given. */
static void test_sums_agree(void **state)
{
    struct test_rng rng = test_rng_init("sums");
    struct packet p;
    uint64_t packets = 0;

    (void)state;
    for (unsigned round = 0; round < 200; round++) {
        wire_free(&wire);
        for (unsigned i = 0; i < 40; i++) {
            struct remote *r = test_rng_below(&rng, 2) == 0 ? &alice : &bob;
            size_t len = test_rng_below(&rng, 1300);
            uint8_t text[1300];

            test_rng_fill(&rng, text, len);
            if (test_rng_below(&rng, 3) == 0) {
                packet_make(r, (enum verb)test_rng_below(&rng, 32), text, len, &p);
            } else {
                packet_frame(r, HOST_NWID + test_rng_below(&rng, 8) / 7, ETHERTYPE_TEST, text, len,
                             &p);
            }
            packet_seal(r, &p, false);
            if (test_rng_below(&rng, 10) == 0) {
                p.data[test_rng_below(&rng, p.len)] ^= (uint8_t)(1U << test_rng_below(&rng, 8));
                p.data[PACKET_AT_FLAGS] &= (uint8_t)~PACKET_FLAG_FRAGMENTED;
            }
            wire_add(&wire, r, &p, 1, NULL);
            if (p.data[FRAGMENT_AT_INDICATOR] == FRAGMENT_INDICATOR) {
                p.data[FRAGMENT_AT_INDICATOR] = 0;
            }
            if (test_rng_below(&rng, 8) == 0) {
                wire_add(&wire, r, &p, 1, NULL);
            }
        }
        packets += wire.count;
        host_clear(&h);
        host_receive(&h, &wire, round % 3, 1 + test_rng_below(&rng, 64));
        (void)host_count(&h, DP_GIVEN);
        uint64_t ends = h.counts[DP_GIVEN];
        for (unsigned c = DP_DROP_RUNT; c <= DP_DROP_MALFORMED; c++) {
            ends += h.counts[c];
        }
        ends += h.counts[DP_RX_FRAMES] + h.counts[DP_RX_EXT_FRAMES];
        assert_int_equal(ends, packets);
        assert_int_equal(h.counts[DP_RX_DATAGRAMS], packets);
    }
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(test_frame_is_delivered_and_noted),
        TEST(test_relayed_frame_is_delivered),
        TEST(test_ext_frame_from_the_sender_itself),
        TEST(test_for_others_is_given_as_it_came),
        TEST(test_without_session_it_is_given_sealed),
        TEST(test_other_suites_are_given_sealed),
        TEST(test_other_verbs_are_given_opened),
        TEST(test_frames_of_the_engine),
        TEST(test_revoked_member_is_the_engines),
        TEST(test_datagrams_that_are_dropped),
        TEST(test_tampered_packet_is_dropped),
        TEST(test_duplicates),
        TEST(test_rules_and_mtu),
        TEST(test_mss_is_clamped),
        TEST(test_unsafe_rules_judge_each_frame),
        TEST(test_packets_cut_in_every_way),
        TEST(test_own_cut_takes_the_fast_path),
        TEST(test_tampered_part),
        TEST(test_merging_and_bad_packets),
        TEST(test_flood_of_parts_does_not_stop_others),
        TEST(test_sums_agree),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
