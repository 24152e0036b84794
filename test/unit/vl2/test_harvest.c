/* What workers do for vl2 comes out as if vl2 had done it: counters, records, announcements, pushes
 * (contract invariants 2 and 3); rules that act or depend on single frames (D-23).
 * Source: data path contract sections 2 to 5. */
#include "rig.h"

#include "../datapath/segments.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

enum { TYPE = 0x88b5, ARP = 0x0806 };

#define DROP_ARP                                                                                   \
    "2502"                                                                                         \
    "0806"                                                                                         \
    "0000"                                                                                         \
    "0100"

static const uint64_t foreign = 0x001122334455;

static struct network *net_of(const struct rig *r)
{
    return vl2_find(r->b->vl2, BENCH_NWID);
}

static uint64_t address(const struct rig *r, char letter)
{
    return bench_id(r->b, letter)->address;
}

static struct member *member_b(const struct rig *r)
{
    return member_find(net_of(r), address(r, 'B'));
}

/* B can be reached and heard by the worker. */
static void get_fast(struct rig *r)
{
    rig_network(r);
    (void)rig_frame_in(r, 'B', TYPE, 50);
    assert_int_equal(rig_access(r, 'B'), DP_ACCESS_IN | DP_ACCESS_OUT);
    bench_clear(r->b);
}

/* ---- harvest ---- */

static void test_frames_are_counted_once(void **state)
{
    struct rig *r = *state;
    const struct frame_tally *t;

    r->setup.rules = DROP_ARP;
    get_fast(r);
    t = &net_of(r)->frames;
    for (int i = 0; i < 5; i++) {
        assert_int_equal(rig_frame_in(r, 'B', TYPE, 50), WAY_FAST);
        assert_int_equal(rig_frame_in(r, 'B', i < 2 ? ARP : TYPE, 50), WAY_FAST);
        assert_int_equal(rig_frame_out(r, rig_mac(r, 'B'), i < 3 ? ARP : TYPE, 50), WAY_FAST);
    }
    assert_int_equal(t->in[1], 1);
    for (int i = 0; i < 3; i++) {
        rig_harvest(r);
        assert_int_equal(t->in[0], 2);
        assert_int_equal(t->in[1], 9);
        assert_int_equal(t->out[0], 3);
        assert_int_equal(t->out[1], 2);
        assert_int_equal(bench_counter(r->b, "vl2_rules_in"), 2);
        assert_int_equal(bench_counter(r->b, "vl2_rules_out"), 3);
    }
    /* What comes between the last harvest and the release is not lost. */
    (void)rig_frame_in(r, 'B', TYPE, 50);
    vl2_limit_changed(r->b->vl2);
    rig_reclaim(r);
    assert_int_equal(t->in[1], 10);
    rig_harvest(r);
    assert_int_equal(t->in[1], 10);
}

static void test_too_long_and_contradicting_frames(void **state)
{
    struct rig *r = *state;
    uint8_t buf[DP_HEADROOM + 64] = {0};

    r->setup.mtu = 1400;
    get_fast(r);
    assert_int_equal(rig_frame_in(r, 'B', TYPE, 1401), WAY_FAST);
    assert_int_equal(rig_frame_out(r, rig_mac(r, 'B'), TYPE, 1401), WAY_FAST);
    dp_send(r->dp, BENCH_NWID, &(struct vnet_header){.gso_type = VNET_GSO_TCPV4, .gso_size = 10},
            buf + DP_HEADROOM, 64, r->b->now);
    rig_harvest(r);
    assert_int_equal(bench_counter(r->b, "vl2_too_big"), 2);
    assert_int_equal(bench_counter(r->b, "vl2_headers"), 1);
    assert_int_equal(r->written + r->sent, 0);
}

static void test_members_stay_known(void **state)
{
    struct rig *r = *state;

    get_fast(r);
    for (int i = 0; i < 13; i++) { /* 11 minutes */
        r->b->now += 50000;
        (void)rig_frame_in(r, 'B', TYPE, 50);
        rig_harvest(r);
        members_clean(net_of(r), r->b->now);
        assert_non_null(member_b(r));
        assert_int_equal(member_b(r)->last_used_ms, r->b->now);
    }
}

/* 7.4: at most once a minute, when frames come. */
static void test_announced_while_frames_come(void **state)
{
    struct rig *r = *state;
    struct multicast_group group = {.mac = 0x3333000000fb};

    get_fast(r);
    vl2_port_groups(r->b->vl2, BENCH_NWID, &group, 1, r->b->now);
    bench_clear(r->b);
    r->b->now += 59999;
    (void)rig_frame_in(r, 'B', TYPE, 50);
    rig_harvest(r);
    assert_int_equal(bench_count(r->b, address(r, 'B'), VERB_MULTICAST_LIKE), 0);
    r->b->now += 1;
    (void)rig_frame_out(r, rig_mac(r, 'B'), TYPE, 50);
    rig_harvest(r); /* none came since */
    assert_int_equal(bench_count(r->b, address(r, 'B'), VERB_MULTICAST_LIKE), 0);
    (void)rig_frame_in(r, 'B', TYPE, 50);
    rig_harvest(r);
    rig_harvest(r);
    assert_int_equal(bench_count(r->b, address(r, 'B'), VERB_MULTICAST_LIKE), 1);
}

/* 7.5: after 500 s, when frames go out. */
static void test_pushed_while_frames_leave(void **state)
{
    struct rig *r = *state;

    get_fast(r);
    r->b->now += 500001;
    assert_int_equal(rig_frame_in(r, 'B', TYPE, 50), WAY_FAST);
    rig_harvest(r);
    assert_int_equal(bench_count(r->b, 0, VERB_NETWORK_CREDENTIALS), 0);
    assert_int_equal(rig_frame_out(r, rig_mac(r, 'B'), TYPE, 50), WAY_FAST);
    rig_harvest(r);
    rig_harvest(r);
    assert_int_equal(bench_count(r->b, address(r, 'B'), VERB_NETWORK_CREDENTIALS), 1);
}

/* The last look at objects that were withdrawn has no late effects. */
static void test_released_late(void **state)
{
    struct rig *r = *state;
    struct multicast_group group = {.mac = 0x3333000000fb};

    get_fast(r);
    vl2_port_groups(r->b->vl2, BENCH_NWID, &group, 1, r->b->now);
    r->b->now += 70000;
    (void)rig_frame_in(r, 'B', TYPE, 50);
    (void)rig_frame_out(r, rig_mac(r, 'B'), TYPE, 50);
    r->b->now += 1;
    r->setup.timestamp = BENCH_TIME + BENCH_WINDOW + 1; /* B is no member of this one */
    bench_configure(r->b, &r->setup);
    bench_clear(r->b);
    rig_harvest(r);
    rig_reclaim(r);
    assert_int_equal(r->b->vl1.sent_count, 0);
    assert_int_equal(vl2_leave(r->b->vl2, BENCH_NWID, r->b->now), 0);
    bench_clear(r->b);
    rig_harvest(r);
    rig_reclaim(r);
    assert_int_equal(r->b->vl1.sent_count, 0);
}

/* ---- rules that need the engine, or every frame ---- */

/* Copies and redirects are vl2's alone: every frame is given. */
static void test_rules_that_act(void **state)
{
    static const char *const types[] = {"02", "03", "04"}; /* TEE, WATCH, REDIRECT to D */

    (void)state;
    for (size_t i = 0; i < 2 * COUNT_OF(types); i++) {
        struct rig *r = rig_new(true);
        bool by_capability = i % 2 != 0;
        const struct rule rules[] = {
            {.type = (uint8_t)(RULE_TEE + i / 2), .forward = {.address = address(r, 'D')}},
            {.type = RULE_ACCEPT}};
        char hex[64];

        snprintf(hex, sizeof(hex), "%s0e%016llx0000000000000100", types[i / 2],
                 (unsigned long long)address(r, 'D'));
        r->setup.rules = by_capability ? "2502"
                                         "0806"
                                         "0100"
                                       : hex;
        rig_network(r);
        if (by_capability) {
            struct capability *cap = capability_make(BENCH_NWID, BENCH_TIME, 3, rules, 2);

            assert_int_equal(capability_sign(cap, bench_id(r->b, 'C'), address(r, 'B')), 0);
            assert_int_equal(credential_add_capability(net_of(r), cap, address(r, 'B'), r->b->now),
                             ADD_NEW);
        }
        for (size_t n = 1; n < 5; n++) {
            assert_int_equal(rig_frame_in(r, 'B', TYPE, 50), WAY_GIVEN);
            assert_int_equal(bench_count(r->b, address(r, 'D'), VERB_EXT_FRAME), n);
        }
        assert_true(rig_member(r, 'B')->traits.acts);
        assert_int_equal(rig_port(r)->traits.acts, !by_capability);
        for (size_t n = 1; n < 5; n++) {
            assert_int_equal(rig_frame_out(r, rig_mac(r, 'B'), TYPE, 50), WAY_GIVEN);
        }
        assert_int_equal(bench_count(r->b, address(r, 'D'), VERB_EXT_FRAME), by_capability ? 4 : 8);
        assert_int_equal(r->written + r->sent, 0);
        rig_free(r);
    }
}

/* D-23: a coin for each frame. */
static void test_random_rules_draw_for_every_frame(void **state)
{
    struct rig *r = *state;
    const struct frame_tally *t;

    r->setup.rules = "2b04"
                     "80000000"
                     "0000"
                     "0100";
    get_fast(r);
    t = &net_of(r)->frames;
    for (int i = 0; i < 400; i++) {
        assert_int_equal(rig_frame_in(r, 'B', TYPE, 50), WAY_FAST);
        assert_int_equal(rig_frame_out(r, rig_mac(r, 'B'), TYPE, 50), WAY_FAST);
    }
    rig_harvest(r);
    assert_int_equal(t->in[0] + t->in[1], 401);
    assert_int_equal(t->out[0] + t->out[1], 400);
    assert_in_range(t->in[1], 120, 280);
    assert_in_range(t->out[1], 120, 280);
}

/* D-23: the last segment of a super-frame is shorter than the others. */
static void test_rules_on_size_see_every_segment(void **state)
{
    static const struct {
        const char *rules; /* drop what is of such a size */
        unsigned sent;     /* of ten long segments and a short one */
    } cases[] = {{"2a04"
                  "0000"
                  "01f4"
                  "0000"
                  "0100",
                  10},
                 {"2a04"
                  "01f5"
                  "07d0"
                  "0000"
                  "0100",
                  1}};
    static uint8_t buf[DP_HEADROOM + TEST_FRAME_MAX];
    static uint8_t data[10100];
    struct test_rng rng = {.state = 3};

    (void)state;
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct rig *r = rig_new(true);
        struct flow f = flow_random(&rng, true);
        const struct frame_fields v = {.flags = 0x10, .payload = data, .len = sizeof(data)};
        struct vnet_header vnet;
        size_t len;

        f.is_udp = f.is_v6 = false;
        f.tags = 0;
        f.dest_mac = rig_mac(r, 'B');
        f.source_mac = rig_mac(r, 'A');
        r->setup.rules = cases[i].rules;
        rig_network(r);
        (void)rig_frame_out(r, f.dest_mac, TYPE, i == 0 ? 1000 : 100); /* passes */
        assert_int_equal(rig_access(r, 'B'), DP_ACCESS_OUT);
        len = flow_super(&f, &v, 1000, buf + DP_HEADROOM, &vnet);
        dp_send(r->dp, BENCH_NWID, &vnet, buf + DP_HEADROOM, len, r->b->now);
        dp_flush(r->dp);
        assert_int_equal(r->sent, cases[i].sent);
        rig_harvest(r);
        assert_int_equal(net_of(r)->frames.out[0], 11 - cases[i].sent);
        assert_int_equal(net_of(r)->frames.out[1], 1 + cases[i].sent);
        rig_free(r);
    }
}

/* ---- with and without a worker ---- */

/* All that can be seen from outside. */
struct seen {
    size_t taken;
    size_t packets[VERB_MASK + 1]; /* by verb */
    struct frame_tally frames;
    uint64_t counts[VL2_COUNTS];
};

static void look(struct rig *r, struct seen *seen)
{
    const struct network *net = net_of(r);

    rig_harvest(r);
    seen->taken += r->b->vl1.frame_count + r->written;
    for (size_t i = 0; i < r->b->vl1.sent_count; i++) {
        seen->packets[r->b->vl1.sent[i].verb]++;
    }
    /* What the worker sent is a FRAME where it is not said otherwise. */
    seen->packets[VERB_FRAME] += r->sent;
    r->written = r->sent = 0;
    if (net != NULL) {
        seen->frames = net->frames;
    }
    for (size_t i = 0; i < VL2_COUNTS; i++) {
        const char *name;

        seen->counts[i] = vl2_counter(r->b->vl2, i, &name);
    }
    bench_clear(r->b);
    rig_reclaim(r);
}

static void happen(struct rig *r, uint32_t what, uint64_t at)
{
    struct network *net = net_of(r);
    struct revocation rev = {.network_id = BENCH_NWID,
                             .threshold = BENCH_TIME + at,
                             .target = address(r, what % 2 == 0 ? 'B' : 'D'),
                             .credential_id = 1 + what % 3,
                             .type = (uint8_t)(CREDENTIAL_COM + what % 4)};
    struct tag tag = {.network_id = BENCH_NWID,
                      .timestamp = BENCH_TIME + at,
                      .holder = rev.target,
                      .id = rev.credential_id,
                      .value = what};
    struct com com = bench_com(r->b, what % 2 == 0 ? 'B' : 'D', BENCH_TIME + at + 1);

    switch (what % 7) {
    case 0:
        r->setup.timestamp = BENCH_TIME + at;
        bench_configure(r->b, &r->setup);
        break;
    case 1:
        revocation_sign(&rev, bench_id(r->b, 'C'));
        (void)credential_add_revocation(net, &rev, address(r, 'C'), r->b->now);
        break;
    case 2:
        tag_sign(&tag, bench_id(r->b, 'C'));
        (void)credential_add_tag(net, &tag, r->b->now);
        break;
    case 3:
        vl2_greeted(r->b->vl2, rev.target, r->b->now);
        break;
    case 4:
        bench_run(r->b, 1 + what % 70000);
        break;
    default:
        (void)credential_add_com(net, &com, rev.target, r->b->now);
        break;
    }
}

static void step(struct rig *r, uint32_t what, uint64_t at)
{
    char letter = "BBBDDE"[what / 32 % 6];
    uint16_t type = what / 256 % 4 == 0 ? ARP : TYPE;
    uint64_t macs[] = {rig_mac(r, 'A'), rig_mac(r, 'B'), rig_mac(r, 'D'), foreign, MAC_BROADCAST};
    uint64_t mac = macs[what / 1024 % COUNT_OF(macs)];

    switch (what % 16) {
    case 0:
    case 1:
        happen(r, what / 16, at);
        break;
    case 2:
    case 3:
        (void)rig_ext_in(r, letter, mac, rig_mac(r, letter), 60);
        break;
    case 4:
        (void)rig_ext_in(r, letter, mac, foreign, 60);
        break;
    case 5:
    case 6:
    case 7:
    case 8:
        (void)rig_frame_in(r, letter, type, 60);
        break;
    case 9:
        (void)rig_frame_out(r, mac, type, 60);
        break;
    default:
        (void)rig_frame_out(r, rig_mac(r, letter), type, 60);
        break;
    }
}

static void compare(const char *what, size_t i, uint64_t with, uint64_t without)
{
    if (with != without) {
        print_message("%s %zu: %llu with a worker, %llu without\n", what, i,
                      (unsigned long long)with, (unsigned long long)without);
    }
}

static bool same(const struct seen *a, const struct seen *b)
{
    compare("taken", 0, a->taken, b->taken);
    for (size_t i = 0; i <= VERB_MASK; i++) {
        compare("sent packets of verb", i, a->packets[i], b->packets[i]);
    }
    for (size_t i = 0; i < 2; i++) {
        compare("frames in", i, a->frames.in[i], b->frames.in[i]);
        compare("frames out", i, a->frames.out[i], b->frames.out[i]);
    }
    for (size_t i = 0; i < VL2_COUNTS; i++) {
        compare("counter", i, a->counts[i], b->counts[i]);
    }
    return memcmp(a, b, sizeof(*a)) == 0;
}

/* Two nodes see the same; only one has a worker. */
static void test_indistinguishable(void **state)
{
    static const char *const rules[] = {NULL, DROP_ARP,
                                        "3008"
                                        "00000001"
                                        "00000005"
                                        "0000"
                                        "0100",
                                        "2502"
                                        "0806"
                                        "0100",
                                        "020e"
                                        "000000d227516ad6"
                                        "00000000"
                                        "0000"
                                        "0100"};
    struct test_rng rng = test_rng_init("harvest");
    size_t fast = 0;

    (void)state;
    for (size_t round = 0; round < 2 * COUNT_OF(rules); round++) {
        struct rig *r[2] = {rig_new(true), rig_new(false)};
        struct seen seen[2] = {0};
        struct setup setup = {.rules = rules[round / 2],
                              .multicast_limit = round % 3 == 0 ? 0 : 8,
                              .tags = 1,
                              .is_public = round % 2 != 0,
                              .specialists = {SPECIALIST_BRIDGE | address(r[0], 'D'),
                                              SPECIALIST_BRIDGE | r[0]->b->vl2->self},
                              .specialist_count = round % 3};

        for (int k = 0; k < 2; k++) {
            r[k]->setup = setup;
            rig_network(r[k]);
        }
        for (uint64_t n = 0; n < 600; n++) {
            uint32_t what = (uint32_t)test_rng_u64(&rng);

            for (int k = 0; k < 2; k++) {
                step(r[k], what, n);
                fast += r[k]->written + r[k]->sent;
                look(r[k], &seen[k]);
            }
            if (!same(&seen[0], &seen[1])) {
                fail_msg("round %zu step %d: %08x", round, (int)n, what);
            }
        }
        rig_free(r[0]);
        rig_free(r[1]);
    }
    print_message("%zu frames by the worker\n", fast);
    assert_true(fast > 500);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        WITH_RIG(test_frames_are_counted_once),
        WITH_RIG(test_too_long_and_contradicting_frames),
        WITH_RIG(test_members_stay_known),
        WITH_RIG(test_announced_while_frames_come),
        WITH_RIG(test_pushed_while_frames_leave),
        WITH_RIG(test_released_late),
        cmocka_unit_test(test_rules_that_act),
        WITH_RIG(test_random_rules_draw_for_every_frame),
        cmocka_unit_test(test_rules_on_size_see_every_segment),
        cmocka_unit_test(test_indistinguishable),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
