/* Frames and bridges beyond the vectors: FRM-5, FRM-6, BRG-1 to BRG-4, RUL-8, Do better 18, 19, 21
 * (SEC-3). Source: spec 03 sections 8 to 10. */
#include "bench.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

static const uint8_t payload[10010] = {0x45};
static const uint64_t foreign = 0x001122334455;
#define BROADCAST UINT64_C(0xffffffffffff)

static uint64_t address(const struct bench *b, char letter)
{
    return bench_id(b, letter)->address;
}

static struct network *net_of(struct bench *b)
{
    return vl2_find(b->vl2, BENCH_NWID);
}

static void frame_to_mac(struct bench *b, uint64_t mac, size_t len)
{
    vl2_frame(b->vl2, BENCH_NWID, mac, net_of(b)->mac, 0x0800, payload, len, b->now);
}

static enum vl1_verdict ext_in(struct bench *b, char from, uint64_t dest, uint64_t source,
                               uint8_t flags)
{
    uint8_t packet[200];
    struct wr w = wr_init(packet, sizeof(packet));
    const struct ext_frame ext = {
        .network_id = BENCH_NWID,
        .dest_mac = dest,
        .source_mac = source,
        .payload = payload,
        .len = 50,
        .ethertype = 0x0800,
        .flags = flags,
    };

    ext_frame_write(&w, &ext);
    return bench_in(b, bench_id(b, from), VERB_EXT_FRAME, packet, wr_len(&w));
}

/* FRM-6: by what the paths can carry; larger frames are counted. */
static void test_largest_frames(void **state)
{
    static const struct {
        size_t limit;
        size_t largest;
    } cases[] = {{9928, 9890}, {10024, 9986}, {9704, 9666}};
    struct bench *b = *state;
    uint64_t too_big = 0;

    bench_configure(b, &(struct setup){.mtu = NETCONF_MTU_MAX});
    bench_member(b, 'B');
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        uint64_t mac = mac_of_member(BENCH_NWID, address(b, 'B'));

        b->vl1.packet_limit = cases[i].limit;
        frame_to_mac(b, mac, cases[i].largest);
        assert_int_equal(bench_count(b, 0, VERB_FRAME), i + 1);
        frame_to_mac(b, mac, cases[i].largest + 1);
        frame_to_mac(b, mac, 10001);
        assert_int_equal(bench_count(b, 0, VERB_FRAME), i + 1);
        too_big += 2;
        assert_int_equal(bench_counter(b, "vl2_too_big"), too_big);
    }
}

/* FRM-5: which frames are acknowledged. */
static void test_acknowledgements(void **state)
{
    struct bench *b = *state;
    uint64_t own = mac_of_member(BENCH_NWID, address(b, 'B'));
    const struct {
        uint64_t dest;
        uint64_t source;
        uint8_t flags;
        size_t acknowledged;
    } cases[] = {
        {0x0280d8e4d40d, own, EXT_FRAME_ACK, 1},
        {0x0280d8e4d40d, own, 0, 0},
        {0x0280d8e4d40d, foreign, EXT_FRAME_ACK, 0}, /* no bridge */
        {foreign, own, EXT_FRAME_ACK, 0},            /* not for us */
        {0x0280d8e4d40d, 0, EXT_FRAME_ACK, 0},
        {0x3333000000fb, own, EXT_FRAME_ACK, 0}, /* multicast is off */
    };

    bench_configure(b, &(struct setup){0});
    bench_member(b, 'B');
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        bench_clear(b);
        assert_int_equal(ext_in(b, 'B', cases[i].dest, cases[i].source, cases[i].flags), VL1_TRUST);
        assert_int_equal(bench_count(b, address(b, 'B'), VERB_OK), cases[i].acknowledged);
    }
}

static void foreign_out(struct bench *b, uint64_t dest)
{
    vl2_frame(b->vl2, BENCH_NWID, dest, foreign, 0x0800, payload, 50, b->now);
}

/* Two bridges of the network in one LAN: what one of them brings comes back from the other. */
static void test_frames_that_come_back_are_dropped(void **state)
{
    struct bench *b = *state;
    const struct setup setup = {
        .multicast_limit = 32,
        .flags = NETCONF_FLAG_BROADCAST,
        .specialists = {SPECIALIST_BRIDGE | b->vl2->self, SPECIALIST_BRIDGE | address(b, 'B')},
        .specialist_count = 2,
    };

    bench_configure(b, &setup);
    bench_member(b, 'B');
    /* from the network to the LAN, and back from there */
    (void)ext_in(b, 'B', BROADCAST, foreign, 0);
    assert_int_equal(b->vl1.frame_count, 1);
    bench_clear(b);
    foreign_out(b, BROADCAST);
    assert_int_equal(bench_count(b, 0, VERB_MULTICAST_FRAME), 0);
    assert_int_equal(bench_counter(b, "vl2_bridge_loop"), 1);
    assert_int_equal(bridge_find(net_of(b), foreign, b->now), address(b, 'B'));

    /* a moment later it may be another frame that looks the same */
    bench_run(b, BRIDGE_LOOP_MS);
    foreign_out(b, BROADCAST);
    assert_int_equal(bench_counter(b, "vl2_bridge_loop"), 1);

    /* from the LAN to the network, and back */
    (void)ext_in(b, 'B', BROADCAST, foreign, 0);
    assert_int_equal(bench_counter(b, "vl2_bridge_loop"), 2);

    /* round by the other bridge: seen here always the same way; nobody knows the MAC, or all want
     * the frame */
    for (int round = 0; round < 2; round++) {
        uint64_t drops = bench_counter(b, "vl2_bridge_loop");

        bench_run(b, BRIDGE_LOOP_MS);
        for (int i = 0; i < 20; i++) {
            foreign_out(b, round == 0 ? BROADCAST : UINT64_C(0x0011223344aa));
        }
        assert_int_equal(bench_counter(b, "vl2_bridge_loop"), drops + 20 - 1 - BRIDGE_LOOP_REPEATS);
    }
}

/* Nor can who is no bridge have frames of our LAN taken for such, by sending the like before. */
static void test_others_cannot_fake_a_loop(void **state)
{
    struct bench *b = *state;
    const struct setup setup = {
        .multicast_limit = 32,
        .flags = NETCONF_FLAG_BROADCAST,
        .specialists = {SPECIALIST_BRIDGE | b->vl2->self},
        .specialist_count = 1,
    };
    uint8_t packet[200];
    const struct multicast_frame mf = {
        .network_id = BENCH_NWID,
        .flags = MULTICAST_SOURCE_MAC,
        .source_mac = foreign,
        .group = {.mac = BROADCAST},
        .ethertype = 0x0800,
        .payload = payload,
        .len = 50,
    };

    bench_configure(b, &setup);
    bench_member(b, 'B');
    for (int by_multicast = 0; by_multicast < 2; by_multicast++) {
        struct wr w = wr_init(packet, sizeof(packet));

        if (by_multicast != 0) {
            multicast_frame_write(&w, &mf);
            (void)bench_in(b, bench_id(b, 'B'), VERB_MULTICAST_FRAME, packet, wr_len(&w));
        } else {
            (void)ext_in(b, 'B', BROADCAST, foreign, 0);
        }
        assert_int_equal(bench_counter(b, "vl2_bridge_source"), by_multicast + 1);
        foreign_out(b, BROADCAST);
        assert_int_equal(bench_counter(b, "vl2_bridge_loop"), 0);
        bench_run(b, BRIDGE_LOOP_MS);
    }
}

/* BRG-2. */
static void test_unknown_macs_go_to_at_most_32_distinct_bridges(void **state)
{
    struct bench *b = *state;
    struct setup setup = {.is_public = true, .specialist_count = 40};
    size_t to[40] = {0};

    for (uint64_t i = 0; i < 39; i++) {
        setup.specialists[i] = SPECIALIST_BRIDGE | (0x2000000000 + i);
    }
    setup.specialists[39] = SPECIALIST_BRIDGE | b->vl2->self;
    bench_configure(b, &setup);
    for (int round = 0; round < 50; round++) {
        bench_clear(b);
        frame_to_mac(b, foreign, 50);
        assert_int_equal(bench_count(b, 0, VERB_EXT_FRAME), BRIDGE_SPAM);
        for (uint64_t i = 0; i < 39; i++) {
            size_t n = bench_count(b, 0x2000000000 + i, VERB_EXT_FRAME);

            assert_true(n <= 1);
            to[i] += n;
        }
    }
    for (size_t i = 0; i < 39; i++) {
        assert_in_range(to[i], 20, 50);
    }
}

static void configure_bridges(struct bench *b)
{
    bench_configure(b, &(struct setup){
                           .is_public = true,
                           .specialists = {SPECIALIST_BRIDGE | address(b, 'D'),
                                           SPECIALIST_BRIDGE | address(b, 'E')},
                           .specialist_count = 2,
                       });
}

/* BRG-1, BRG-3, Do better 19. */
static void test_routes_are_learned_from_bridges_and_lapse(void **state)
{
    struct bench *b = *state;

    configure_bridges(b);
    (void)ext_in(b, 'B', net_of(b)->mac, foreign, 0);
    assert_int_equal(net_of(b)->routes.count, 0);
    assert_int_equal(b->vl1.frame_count, 0);
    (void)ext_in(b, 'D', net_of(b)->mac, foreign, 0);
    (void)ext_in(b, 'E', net_of(b)->mac, foreign, 0); /* the last one wins */
    bench_clear(b);
    frame_to_mac(b, foreign, 50);
    assert_int_equal(bench_count(b, address(b, 'E'), VERB_EXT_FRAME), 1);
    assert_int_equal(bench_count(b, 0, VERB_EXT_FRAME), 1);
    b->now += BEHIND_MS;
    bench_clear(b);
    frame_to_mac(b, foreign, 50);
    assert_int_equal(bench_count(b, 0, VERB_EXT_FRAME), 2);
    assert_int_equal(net_of(b)->routes.count, 0);
}

/* BRG-4, Do better 18. */
static void test_foreign_macs_that_look_like_members(void **state)
{
    struct bench *b = *state;
    uint64_t look_alike = 0x021122334455;
    uint64_t member = mac_of_member(BENCH_NWID, address(b, 'B'));

    configure_bridges(b);
    frame_to_mac(b, look_alike, 50);
    assert_int_equal(bench_count(b, 0, VERB_FRAME), 1); /* to an address that does not exist */
    (void)ext_in(b, 'D', net_of(b)->mac, look_alike, 0);
    frame_to_mac(b, look_alike, 50);
    assert_int_equal(bench_count(b, address(b, 'D'), VERB_EXT_FRAME), 1);
    /* a member's MAC cannot be taken over */
    (void)ext_in(b, 'B', net_of(b)->mac, member, 0);
    (void)ext_in(b, 'D', net_of(b)->mac, member, 0);
    bench_clear(b);
    frame_to_mac(b, member, 50);
    assert_int_equal(bench_count(b, address(b, 'B'), VERB_FRAME), 1);
    assert_int_equal(bench_count(b, 0, VERB_EXT_FRAME), 0);
}

static void test_bridge_routes_are_bounded(void **state)
{
    struct bench *b = *state;

    configure_bridges(b);
    for (uint64_t i = 0; i < BRIDGE_ROUTES_MAX + 1000; i++) {
        bridge_learn(net_of(b), 0x100000000000 + i, address(b, 'D'), b->now);
    }
    assert_int_equal(net_of(b)->routes.count, BRIDGE_ROUTES_MAX);
    assert_int_equal(bridge_find(net_of(b), 0x100000000000, b->now), 0);
    assert_int_equal(bridge_find(net_of(b), 0x100000000000 + BRIDGE_ROUTES_MAX, b->now),
                     address(b, 'D'));
}

/* The frame of a SYN over IPv4 with this MSS; its checksum is 0xffff without what it tells. */
static void make_syn(uint8_t frame[44], unsigned mss)
{
    static const uint8_t head[44] = {
        0x45, [3] = 44, [8] = 64, [9] = 6, [12] = 10, [32] = 0x60, [33] = 0x02, [40] = 2, [41] = 4};

    memcpy(frame, head, sizeof(head));
    be16_put(frame + 42, (uint16_t)mss);
    be16_put(frame + 36, (uint16_t)(0xffff - mss));
}

/* Also what the engine carries itself begins with an MSS that fits the device, both ways; a change
 * of that makes workers ask anew. */
static void test_mss_is_clamped(void **state)
{
    struct bench *b = *state;
    uint8_t syn[44];
    uint8_t want[44];
    uint8_t packet[10 + sizeof(syn)];

    bench_configure(b, &(struct setup){.mtu = 2800});
    bench_member(b, 'B');
    make_syn(syn, 1460);
    be64_put(packet, BENCH_NWID);
    be16_put(packet + 8, 0x0800);
    memcpy(packet + 10, syn, sizeof(syn));
    for (unsigned i = 0; i < 4; i++) {
        unsigned mtu = i % 2 == 1 ? 1400 : 0;
        const struct sent_packet *sent;

        vl2_port_mss(b->vl2, BENCH_NWID, mtu);
        make_syn(want, mtu == 0 ? 1460 : 1360);
        vl2_frame(b->vl2, BENCH_NWID, mac_of_member(BENCH_NWID, address(b, 'B')), net_of(b)->mac,
                  0x0800, syn, sizeof(syn), b->now);
        sent = &b->vl1.sent[b->vl1.sent_count - 1];
        assert_int_equal(sent->verb, VERB_FRAME);
        assert_memory_equal(sent->payload + 10, want, sizeof(want));
        assert_int_equal(bench_in(b, bench_id(b, 'B'), VERB_FRAME, packet, sizeof(packet)),
                         VL1_TRUST);
        assert_int_equal(b->vl1.frame_count, i + 1);
        assert_memory_equal(b->vl1.frames[i].payload, want, sizeof(want));
    }
}

/* RUL-8: only a rule that names us makes frames for others ours. */
static void test_super_accept_needs_a_rule_that_names_us(void **state)
{
    static const struct {
        const char *rules;
        size_t delivered;
    } cases[] = {
        {"0100", 0},
        {"030e00000080d83893630000000000000100", 1}, /* WATCH to us; accept */
        {"040e00000080d83893630000000000000100", 1}, /* REDIRECT to us */
        {"020e000000d227516ad60000000000000100", 0}, /* TEE to D */
    };

    (void)state;
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct bench *b = bench_new();

        bench_configure(b, &(struct setup){.rules = cases[i].rules});
        bench_member(b, 'B');
        (void)ext_in(b, 'B', foreign, foreign + 1, EXT_FRAME_TEE_OUT);
        assert_int_equal(b->vl1.frame_count, cases[i].delivered);
        bench_free(b);
    }
}

/* SEC-3: a 6plane source that embeds another node does not count as authenticated. */
static void test_embedded_addresses_must_be_the_senders(void **state)
{
    struct bench *b = *state;
    uint8_t frame[10 + 40] = {0};
    struct inetaddr own = network_6plane(BENCH_NWID, b->vl2->self);
    struct inetaddr good = network_6plane(BENCH_NWID, address(b, 'B'));
    struct inetaddr bad = network_6plane(BENCH_NWID, address(b, 'D'));

    bench_configure(b,
                    &(struct setup){
                        .flags = NETCONF_FLAG_NDP,
                        .addresses = {own},
                        .address_count = 1,
                        .rules = "290810000000000000000100", /* sender IP authenticated: accept */
                    });
    bench_member(b, 'B');
    be64_put(frame, BENCH_NWID);
    be16_put(frame + 8, 0x86dd);
    frame[10] = 0x60;
    frame[16] = 59;
    memcpy(frame + 18, bad.ip, 16);
    assert_int_equal(bench_in(b, bench_id(b, 'B'), VERB_FRAME, frame, sizeof(frame)), VL1_TRUST);
    assert_int_equal(b->vl1.frame_count, 0);
    memcpy(frame + 18, good.ip, 16);
    assert_int_equal(bench_in(b, bench_id(b, 'B'), VERB_FRAME, frame, sizeof(frame)), VL1_TRUST);
    assert_int_equal(b->vl1.frame_count, 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        WITH_BENCH(test_largest_frames),
        WITH_BENCH(test_acknowledgements),
        WITH_BENCH(test_frames_that_come_back_are_dropped),
        WITH_BENCH(test_others_cannot_fake_a_loop),
        WITH_BENCH(test_unknown_macs_go_to_at_most_32_distinct_bridges),
        WITH_BENCH(test_routes_are_learned_from_bridges_and_lapse),
        WITH_BENCH(test_foreign_macs_that_look_like_members),
        WITH_BENCH(test_bridge_routes_are_bounded),
        WITH_BENCH(test_mss_is_clamped),
        cmocka_unit_test(test_super_accept_needs_a_rule_that_names_us),
        WITH_BENCH(test_embedded_addresses_must_be_the_senders),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
