/* What happens below a pair of members, over many seeds with jitter, duplicates and reordering: how
 * long traffic stops at most, in virtual time, and that nothing makes a storm of datagrams.
 * Checklist PP-9 to PP-14, NT-8, RT-6; spec 02 Do better 4, 5, 25. */
#include "sim.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

static const uint64_t adhoc = 0xff0a000000000001u;

enum {
    SEEDS = 40,
    STEP_MS = 20,      /* between frames, each way */
    SETTLE_MS = 3000,  /* of traffic before the event */
    STORM_EXTRA = 100, /* datagrams a second beside the frames, all nodes together */
};

struct scene {
    struct sim *sim;
    struct sim_node *root[2];
    struct sim_node *a;
    struct sim_node *b;
    unsigned seen_a; /* frames when the wait began */
    unsigned seen_b;
};

/* What happens, and how much time traffic may need then. */
struct event {
    const char *name;
    void (*happen)(struct scene *s);
    enum sim_nat_kind nat_a;
    enum sim_nat_kind nat_b;
    unsigned loss_pct;
    int64_t limit_ms;
};

static void scene_start(struct scene *s, const struct event *e, uint64_t seed)
{
    struct sim_options options = {.seed = seed,
                                  .latency_ms = 5 + (unsigned)seed % 20,
                                  .jitter_ms = 3,
                                  .dup_pct = 5,
                                  .loss_pct = e->loss_pct};

    *s = (struct scene){.sim = sim_new(&options)};
    s->root[0] = sim_add(s->sim, SIM_NAT_NONE);
    s->root[1] = sim_add(s->sim, SIM_NAT_NONE);
    sim_planet(s->sim, s->root, 2);
    sim_start(s->root[0]);
    sim_start(s->root[1]);
    s->a = sim_add(s->sim, e->nat_a);
    s->b = sim_add(s->sim, e->nat_b);
    sim_start(s->a);
    sim_start(s->b);
    assert_int_equal(0, node_join(sim_engine(s->a), adhoc, NULL, sim_now(s->sim)));
    assert_int_equal(0, node_join(sim_engine(s->b), adhoc, NULL, sim_now(s->sim)));
}

/* Frames both ways for some time. */
static void talk(struct scene *s, int64_t ms)
{
    for (int64_t t = 0; t < ms; t += STEP_MS) {
        sim_frame(s->a, s->b, adhoc);
        sim_frame(s->b, s->a, adhoc);
        (void)sim_run(s->sim, STEP_MS, NULL, NULL);
    }
}

static bool both_ways(void *ctx)
{
    const struct scene *s = ctx;

    return sim_frames_from(s->b, s->a) > s->seen_b && sim_frames_from(s->a, s->b) > s->seen_a;
}

/* Time until frames sent from now on flow both ways, or -1. What is under way arrives first. */
static int64_t until_traffic(struct scene *s, int64_t limit_ms)
{
    int64_t begin = sim_now(s->sim);

    (void)sim_run(s->sim, 60, NULL, NULL);
    s->seen_a = sim_frames_from(s->a, s->b);
    s->seen_b = sim_frames_from(s->b, s->a);
    while (sim_now(s->sim) - begin < limit_ms) {
        sim_frame(s->a, s->b, adhoc);
        sim_frame(s->b, s->a, adhoc);
        if (sim_run(s->sim, STEP_MS, both_ways, s)) {
            return sim_now(s->sim) - begin;
        }
    }
    return -1;
}

/* No more datagrams than frames and some for keeping paths. */
static void no_storm(struct scene *s, int64_t ms)
{
    uint64_t before = sim_datagrams(s->sim);
    uint64_t frames = 2 * (uint64_t)(ms / STEP_MS);
    uint64_t sent;

    talk(s, ms);
    sent = sim_datagrams(s->sim) - before;
    /* A relayed frame is two datagrams, a twentieth arrives twice. */
    if (sent > frames * 22 / 10 + (uint64_t)ms * STORM_EXTRA / 1000) {
        print_message("%llu datagrams in %lld ms\n", (unsigned long long)sent, (long long)ms);
        fail();
    }
}

/* ---- events ---- */

static void moves(struct scene *s)
{
    sim_move(s->a);
}

static void both_move(struct scene *s)
{
    sim_move(s->a);
    sim_move(s->b);
}

static void rebinds(struct scene *s)
{
    sim_nat_rebind(s->a);
}

static void both_rebind(struct scene *s)
{
    sim_nat_rebind(s->a);
    sim_nat_rebind(s->b);
}

static void direct_path_dies(struct scene *s)
{
    sim_partition(s->a, s->b, true);
}

static void one_direction_dies(struct scene *s)
{
    sim_deafen(s->a, s->b, true);
}

static void other_direction_dies(struct scene *s)
{
    sim_deafen(s->b, s->a, true);
}

static void path_dies_with_a_root(struct scene *s)
{
    sim_partition(s->a, s->b, true);
    sim_stop(s->root[sim_random(s->sim, 2)], true);
}

static void a_root_dies(struct scene *s)
{
    sim_stop(s->root[sim_random(s->sim, 2)], true);
}

static void restarts(struct scene *s)
{
    sim_stop(s->b, true);
    sim_start(s->b);
    assert_int_equal(0, node_join(sim_engine(s->b), adhoc, NULL, sim_now(s->sim)));
}

/* A laptop: away for half a minute, then elsewhere. */
static void sleeps_and_moves(struct scene *s)
{
    sim_isolate(s->a, true);
    talk(s, 30000);
    sim_move(s->a);
    sim_isolate(s->a, false);
}

/* Away for long: what the peer gave up must be found again soon. */
static void is_cut_off(struct scene *s)
{
    sim_isolate(s->a, true);
    talk(s, 60000);
    sim_isolate(s->a, false);
    node_network_changed(sim_engine(s->a), sim_now(s->sim));
    sim_end_input(s->a);
}

static void clocks_step(struct scene *s)
{
    sim_clock_step(s->a, INT64_C(5) * 3600 * 1000);
    sim_clock_step(s->b, INT64_C(-3) * 3600 * 1000);
    sim_clock_step(s->root[0], INT64_C(-7) * 3600 * 1000);
}

static const struct event events[] = {
    {"address changes (NT-8)", moves, SIM_NAT_NONE, SIM_NAT_NONE, 0, 1000},
    {"address changes, other side behind NAT", moves, SIM_NAT_NONE, SIM_NAT_PORT_RESTRICTED, 0,
     1000},
    {"both addresses change", both_move, SIM_NAT_NONE, SIM_NAT_NONE, 0, 1000},
    {"router's address changes", moves, SIM_NAT_PORT_RESTRICTED, SIM_NAT_NONE, 0, 1000},
    {"router's address changes, both behind NAT", moves, SIM_NAT_PORT_RESTRICTED,
     SIM_NAT_PORT_RESTRICTED, 0, 1200},
    {"NAT takes new ports (PP-14)", rebinds, SIM_NAT_PORT_RESTRICTED, SIM_NAT_NONE, 0, 1000},
    {"NAT takes new ports, both behind NAT", rebinds, SIM_NAT_PORT_RESTRICTED,
     SIM_NAT_PORT_RESTRICTED, 0, 1200},
    {"both NATs take new ports", both_rebind, SIM_NAT_PORT_RESTRICTED, SIM_NAT_PORT_RESTRICTED, 0,
     1200},
    {"only direct path dies (PP-13)", direct_path_dies, SIM_NAT_NONE, SIM_NAT_NONE, 0, 1200},
    {"one direction dies", one_direction_dies, SIM_NAT_NONE, SIM_NAT_NONE, 0, 2000},
    {"the other direction dies", other_direction_dies, SIM_NAT_NONE, SIM_NAT_NONE, 0, 2000},
    {"direct path and a root die", path_dies_with_a_root, SIM_NAT_NONE, SIM_NAT_NONE, 0, 3000},
    {"a root dies, relayed (RT-6)", a_root_dies, SIM_NAT_SYMMETRIC, SIM_NAT_SYMMETRIC, 0, 3000},
    {"a root dies, pair is direct", a_root_dies, SIM_NAT_NONE, SIM_NAT_NONE, 0, 200},
    {"peer restarts", restarts, SIM_NAT_PORT_RESTRICTED, SIM_NAT_NONE, 0, 300},
    {"peer restarts, both behind NAT", restarts, SIM_NAT_PORT_RESTRICTED, SIM_NAT_PORT_RESTRICTED,
     0, 500},
    {"asleep and elsewhere", sleeps_and_moves, SIM_NAT_NONE, SIM_NAT_NONE, 0, 1000},
    {"cut off for a minute", is_cut_off, SIM_NAT_NONE, SIM_NAT_NONE, 0, 1000},
    {"clocks step by hours", clocks_step, SIM_NAT_NONE, SIM_NAT_NONE, 0, 200},
    {"address changes, a tenth lost", moves, SIM_NAT_NONE, SIM_NAT_NONE, 10, 3000},
    {"only direct path dies, a tenth lost", direct_path_dies, SIM_NAT_NONE, SIM_NAT_NONE, 10, 3000},
};

/* Each event over all seeds; afterwards there is no storm, neither with nor without traffic. */
static void test_events(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(events) / sizeof(events[0]); i++) {
        const struct event *e = &events[i];
        int64_t worst = 0;

        for (uint64_t seed = 1; seed <= SEEDS; seed++) {
            struct scene s;
            int64_t took;

            scene_start(&s, e, seed * 1000 + i);
            talk(&s, SETTLE_MS);
            e->happen(&s);
            took = until_traffic(&s, 30000);
            if (took < 0 || took > e->limit_ms) {
                print_message("%s, seed %llu: %lld ms\n", e->name, (unsigned long long)seed,
                              (long long)took);
                fail();
            }
            worst = took > worst ? took : worst;
            no_storm(&s, 5000);
            sim_free(s.sim);
        }
        print_message("%-45s %5lld ms at most\n", e->name, (long long)worst);
    }
}

/* A stream that is never answered is asked about a few times a second at most. */
static void test_one_way_streams_are_asked_about_rarely(void **state)
{
    static const struct event plain = {.nat_a = SIM_NAT_NONE, .nat_b = SIM_NAT_NONE};
    struct scene s;
    uint64_t before;
    uint64_t extra;

    (void)state;
    scene_start(&s, &plain, 77);
    talk(&s, SETTLE_MS);
    before = sim_datagrams(s.sim);
    for (int i = 0; i < 1000; i++) {
        sim_frame(s.a, s.b, adhoc);
        (void)sim_run(s.sim, 10, NULL, NULL);
    }
    extra = sim_datagrams(s.sim) - before - 1000 - 1000 / 20; /* with duplicates */
    print_message("one-way stream of 10 s: %llu other datagrams\n", (unsigned long long)extra);
    assert_true(extra < 150);
    sim_free(s.sim);
}

/* The same to somebody who is gone: what asks for him becomes rare. */
static void test_a_peer_that_is_gone_is_not_flooded(void **state)
{
    static const struct event plain = {.nat_a = SIM_NAT_NONE, .nat_b = SIM_NAT_NONE};
    struct scene s;
    uint64_t before;

    (void)state;
    scene_start(&s, &plain, 78);
    talk(&s, SETTLE_MS);
    sim_isolate(s.b, true);
    for (int i = 0; i < 1000; i++) { /* found dead */
        sim_frame(s.a, s.b, adhoc);
        (void)sim_run(s.sim, 20, NULL, NULL);
    }
    before = sim_datagrams(s.sim);
    for (int i = 0; i < 1000; i++) {
        sim_frame(s.a, s.b, adhoc);
        (void)sim_run(s.sim, 20, NULL, NULL);
    }
    /* The frames go to a root and from root to root at most. */
    assert_true(sim_datagrams(s.sim) - before < 1000 * 35 / 10 + 20 * 20);
    sim_free(s.sim);
}

/* Datagrams of all in some idle minutes after some talk; then the direct path dies. */
static uint64_t idle_datagrams(bool low_bandwidth, int64_t *ret_took_ms)
{
    static const struct event plain = {.nat_a = SIM_NAT_NONE, .nat_b = SIM_NAT_NONE};
    struct scene s;
    uint64_t count;

    scene_start(&s, &plain, 79);
    for (int i = 0; low_bandwidth && i < 2; i++) {
        struct sim_node *node = i == 0 ? s.a : s.b;

        sim_stop(node, true);
        sim_set_low_bandwidth(node);
        sim_start(node);
        assert_int_equal(0, node_join(sim_engine(node), adhoc, NULL, sim_now(s.sim)));
    }
    talk(&s, SETTLE_MS);
    count = sim_datagrams(s.sim);
    (void)sim_run(s.sim, 400000, NULL, NULL);
    count = sim_datagrams(s.sim) - count;
    talk(&s, SETTLE_MS);
    sim_partition(s.a, s.b, true);
    *ret_took_ms = until_traffic(&s, 30000);
    sim_free(s.sim);
    return count;
}

/* lowBandwidthMode: fewer datagrams; what dies is still found, a little later. */
static void test_low_bandwidth(void **state)
{
    int64_t usual_ms;
    int64_t low_ms;
    uint64_t usual = idle_datagrams(false, &usual_ms);
    uint64_t low = idle_datagrams(true, &low_ms);

    (void)state;
    print_message(
        "idle: %llu datagrams, %llu with lowBandwidthMode; path left after %lld, %lld ms\n",
        (unsigned long long)usual, (unsigned long long)low, (long long)usual_ms, (long long)low_ms);
    assert_true(low < usual * 9 / 10);
    assert_true(low_ms >= 0 && low_ms <= 3000);
}

/* Partitions that come and go at random: in the end everybody talks directly. */
static void test_random_partitions_heal(void **state)
{
    static const struct event plain = {.nat_a = SIM_NAT_NONE, .nat_b = SIM_NAT_PORT_RESTRICTED};

    (void)state;
    for (uint64_t seed = 1; seed <= SEEDS / 2; seed++) {
        struct scene s;

        scene_start(&s, &plain, 500 + seed);
        talk(&s, SETTLE_MS);
        for (int i = 0; i < 30; i++) {
            struct sim_node *all[4] = {s.root[0], s.root[1], s.a, s.b};
            struct sim_node *one = all[sim_random(s.sim, 4)];
            struct sim_node *two = all[sim_random(s.sim, 4)];

            if (one != two) {
                sim_deafen(one, two, sim_random(s.sim, 2) == 0);
            }
            talk(&s, (int64_t)sim_random(s.sim, 3000));
        }
        for (int i = 0; i < 4; i++) {
            struct sim_node *all[4] = {s.root[0], s.root[1], s.a, s.b};

            for (int k = 0; k < i; k++) {
                sim_partition(all[i], all[k], false);
            }
        }
        assert_true(until_traffic(&s, 20000) >= 0);
        talk(&s, 20000);
        assert_true(sim_is_direct(s.a, s.b) && sim_is_direct(s.b, s.a));
        no_storm(&s, 5000);
        sim_free(s.sim);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_events),
        cmocka_unit_test(test_one_way_streams_are_asked_about_rarely),
        cmocka_unit_test(test_a_peer_that_is_gone_is_not_flooded),
        cmocka_unit_test(test_low_bandwidth),
        cmocka_unit_test(test_random_partitions_heal),
    };

    return cmocka_run_group_tests_name("sim_roaming", tests, NULL, NULL);
}
