/* What goes wrong in the physical network, and what the nodes do about it. */
#include "sim.h"

#include "base/cursor.h"
#include "wire/mac.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static const uint64_t adhoc = 0xff0a000000000001u;

struct pair {
    struct sim *sim;
    struct sim_node *root[2];
    struct sim_node *a;
    struct sim_node *b;
    unsigned seen; /* frames at b when the wait began */
};

static void pair_start(struct pair *p, enum sim_nat_kind nat_a, enum sim_nat_kind nat_b,
                       unsigned loss_pct, uint64_t seed)
{
    struct sim_options options = {.seed = seed, .latency_ms = 10, .loss_pct = loss_pct};

    *p = (struct pair){.sim = sim_new(&options)};
    p->root[0] = sim_add(p->sim, SIM_NAT_NONE);
    p->root[1] = sim_add(p->sim, SIM_NAT_NONE);
    sim_planet(p->sim, p->root, 2);
    sim_start(p->root[0]);
    sim_start(p->root[1]);
    p->a = sim_add(p->sim, nat_a);
    p->b = sim_add(p->sim, nat_b);
    sim_start(p->a);
    sim_start(p->b);
    assert_int_equal(0, node_join(sim_engine(p->a), adhoc, NULL, sim_now(p->sim)));
    assert_int_equal(0, node_join(sim_engine(p->b), adhoc, NULL, sim_now(p->sim)));
    (void)sim_run(p->sim, 500, NULL, NULL);
}

static bool arrived(void *ctx)
{
    const struct pair *p = ctx;

    return sim_frames_from(p->b, p->a) > p->seen;
}

static bool both_direct(void *ctx)
{
    const struct pair *p = ctx;

    return sim_is_direct(p->a, p->b) && sim_is_direct(p->b, p->a);
}

/* A frame each way every 50 ms until one arrives; the time that took, or -1. */
static int64_t until_traffic(struct pair *p, int64_t limit_ms)
{
    int64_t begin = sim_now(p->sim);

    p->seen = sim_frames_from(p->b, p->a);
    while (sim_now(p->sim) - begin < limit_ms) {
        sim_frame(p->a, p->b, adhoc);
        sim_frame(p->b, p->a, adhoc);
        if (sim_run(p->sim, 50, arrived, p)) {
            return sim_now(p->sim) - begin;
        }
    }
    return -1;
}

static void traffic(struct pair *p, int64_t ms)
{
    for (int64_t t = 0; t < ms; t += 50) {
        sim_frame(p->a, p->b, adhoc);
        sim_frame(p->b, p->a, adhoc);
        (void)sim_run(p->sim, 50, NULL, NULL);
    }
}

static int64_t until_direct(struct pair *p, int64_t limit_ms)
{
    int64_t begin = sim_now(p->sim);

    while (sim_now(p->sim) - begin < limit_ms) {
        sim_frame(p->a, p->b, adhoc);
        sim_frame(p->b, p->a, adhoc);
        if (sim_run(p->sim, 50, both_direct, p)) {
            return sim_now(p->sim) - begin;
        }
    }
    return -1;
}

static void test_first_frame_and_direct_path_come_quickly(void **state)
{
    static const enum sim_nat_kind kinds[] = {SIM_NAT_NONE, SIM_NAT_FULL_CONE, SIM_NAT_RESTRICTED,
                                              SIM_NAT_PORT_RESTRICTED};

    (void)state;
    for (size_t i = 0; i < 4; i++) {
        for (size_t k = 0; k < 4; k++) {
            struct pair p;
            int64_t first;
            int64_t direct;

            pair_start(&p, kinds[i], kinds[k], 0, 11 + i * 4 + k);
            first = until_traffic(&p, 5000);
            direct = until_direct(&p, 10000);
            print_message("NAT %zu to %zu: first frame %lld ms, direct %lld ms later\n", i, k,
                          (long long)first, (long long)direct);
            assert_true(first >= 0 && first <= 400);    /* several 20 ms round trips */
            assert_true(direct >= 0 && direct <= 1000); /* NT-3 */
            sim_free(p.sim);
        }
    }
}

static void test_symmetric_nats_are_relayed_without_loss(void **state)
{
    struct pair p;

    (void)state;
    pair_start(&p, SIM_NAT_SYMMETRIC, SIM_NAT_SYMMETRIC, 0, 31);
    assert_true(until_traffic(&p, 5000) >= 0);
    p.seen = sim_frames_from(p.b, p.a);
    for (int i = 0; i < 100; i++) { /* NT-5 */
        sim_frame(p.a, p.b, adhoc);
        (void)sim_run(p.sim, 50, NULL, NULL);
    }
    (void)sim_run(p.sim, 500, NULL, NULL);
    assert_int_equal(100, sim_frames_from(p.b, p.a) - p.seen);
    sim_free(p.sim);
}

static void test_blackholed_direct_path_falls_back_to_the_relay(void **state)
{
    struct pair p;
    int64_t took;

    (void)state;
    pair_start(&p, SIM_NAT_NONE, SIM_NAT_NONE, 0, 41);
    assert_true(until_direct(&p, 5000) >= 0);
    traffic(&p, 2000);
    sim_partition(p.a, p.b, true);
    (void)sim_run(p.sim, 50, NULL, NULL);
    took = until_traffic(&p, 10000);
    print_message("dead direct path: traffic by relay after %lld ms\n", (long long)took);
    assert_true(took >= 0 && took <= 5000); /* PP-13 */
    sim_partition(p.a, p.b, false);
    assert_true(until_direct(&p, 60000) >= 0);
    sim_free(p.sim);
}

static void test_death_of_the_best_root(void **state)
{
    struct pair p;
    int64_t took;

    (void)state;
    pair_start(&p, SIM_NAT_SYMMETRIC, SIM_NAT_SYMMETRIC, 0, 51);
    assert_true(until_traffic(&p, 5000) >= 0);
    traffic(&p, 1000);
    sim_stop(p.root[0], true);
    (void)sim_run(p.sim, 20, NULL, NULL);
    took = until_traffic(&p, 20000);
    print_message("one of two roots dies: relayed traffic after %lld ms\n", (long long)took);
    assert_true(took >= 0 && took <= 10000); /* RT-6 */
    sim_free(p.sim);
}

static void test_address_change(void **state)
{
    struct pair p;
    int64_t took;

    (void)state;
    pair_start(&p, SIM_NAT_NONE, SIM_NAT_NONE, 0, 61);
    assert_true(until_direct(&p, 5000) >= 0);
    traffic(&p, 2000);
    sim_move(p.a);
    took = until_traffic(&p, 20000);
    print_message("address change: traffic after %lld ms\n", (long long)took);
    assert_true(took >= 0 && took <= 10000); /* NT-8 */
    assert_true(until_direct(&p, 60000) >= 0);
    sim_free(p.sim);
}

static void test_nat_rebinding(void **state)
{
    struct pair p;
    int64_t took;

    (void)state;
    pair_start(&p, SIM_NAT_PORT_RESTRICTED, SIM_NAT_PORT_RESTRICTED, 0, 71);
    assert_true(until_direct(&p, 5000) >= 0);
    traffic(&p, 2000);
    sim_nat_rebind(p.a);
    took = until_traffic(&p, 20000);
    print_message("NAT takes new ports: traffic after %lld ms\n", (long long)took);
    assert_true(took >= 0 && took <= 5000); /* PP-14 asks for 3 s */
    sim_free(p.sim);
}

static void test_restart_of_a_peer(void **state)
{
    struct pair p;
    int64_t took;

    (void)state;
    pair_start(&p, SIM_NAT_PORT_RESTRICTED, SIM_NAT_NONE, 0, 81);
    assert_true(until_direct(&p, 5000) >= 0);
    traffic(&p, 1000);
    sim_stop(p.b, false);
    (void)sim_run(p.sim, 300, NULL, NULL);
    sim_start(p.b);
    assert_int_equal(0, node_join(sim_engine(p.b), adhoc, NULL, sim_now(p.sim)));
    took = until_traffic(&p, 20000);
    print_message("peer restarted: traffic after %lld ms\n", (long long)took);
    assert_true(took >= 0 && took <= 2000);
    sim_free(p.sim);
}

static void test_clock_steps_of_hours_change_nothing(void **state)
{
    struct pair p;

    (void)state;
    pair_start(&p, SIM_NAT_NONE, SIM_NAT_PORT_RESTRICTED, 0, 91);
    assert_true(until_direct(&p, 5000) >= 0);
    (void)sim_run(p.sim, 100, NULL, NULL);
    sim_clock_step(p.a, 5 * 3600 * 1000);
    sim_clock_step(p.b, -3 * 3600 * 1000);
    p.seen = sim_frames_from(p.b, p.a);
    traffic(&p, 5000);
    (void)sim_run(p.sim, 100, NULL, NULL);
    assert_int_equal(100, sim_frames_from(p.b, p.a) - p.seen);
    sim_free(p.sim);
}

static void test_partition_heals(void **state)
{
    struct pair p;

    (void)state;
    pair_start(&p, SIM_NAT_PORT_RESTRICTED, SIM_NAT_RESTRICTED, 0, 101);
    assert_true(until_direct(&p, 5000) >= 0);
    sim_isolate(p.a, true);
    traffic(&p, 60000);
    sim_isolate(p.a, false);
    assert_true(until_traffic(&p, 20000) >= 0);
    assert_true(until_direct(&p, 60000) >= 0);
    sim_free(p.sim);
}

static void test_two_on_one_lan_use_private_addresses(void **state)
{
    struct sim_options options = {.seed = 111, .latency_ms = 10};
    struct pair p = {.sim = sim_new(&options)};
    bool lan = false;
    struct node_peer_info *peers;
    ssize_t n;

    (void)state;
    p.root[0] = sim_add(p.sim, SIM_NAT_NONE);
    sim_planet(p.sim, p.root, 1);
    sim_start(p.root[0]);
    p.a = sim_add(p.sim, SIM_NAT_PORT_RESTRICTED);
    p.b = sim_add_neighbour(p.sim, p.a);
    sim_start(p.a);
    sim_start(p.b);
    assert_int_equal(0, node_join(sim_engine(p.a), adhoc, NULL, sim_now(p.sim)));
    assert_int_equal(0, node_join(sim_engine(p.b), adhoc, NULL, sim_now(p.sim)));
    assert_true(until_direct(&p, 5000) >= 0);
    n = node_peers(sim_engine(p.a), sim_now(p.sim), &peers);
    for (ssize_t i = 0; i < n; i++) { /* NT-4 */
        for (size_t k = 0; k < peers[i].path_count; k++) {
            lan = lan || (peers[i].address == sim_address(p.b) && peers[i].paths[k].preferred &&
                          inetaddr_scope(&peers[i].paths[k].remote) == INET_SCOPE_PRIVATE);
        }
    }
    node_peers_free(peers, (size_t)n);
    assert_true(lan);
    sim_free(p.sim);
}

/* An idle member wakes for keepalives and refreshes only. */
static void test_idle_node_hardly_wakes(void **state)
{
    struct pair p;
    uint64_t before;

    (void)state;
    pair_start(&p, SIM_NAT_NONE, SIM_NAT_NONE, 0, 121);
    assert_true(until_direct(&p, 5000) >= 0);
    (void)sim_run(p.sim, 700000, NULL, NULL);
    before = sim_wakeups(p.a);
    (void)sim_run(p.sim, 3600000, NULL, NULL);
    print_message("idle: %llu wakeups an hour\n", (unsigned long long)(sim_wakeups(p.a) - before));
    assert_true(sim_wakeups(p.a) - before < 1500);
    sim_free(p.sim);
}

/* Full frames from a to b, one each 20 ms; how many arrived. */
static unsigned full_frames(struct pair *p, unsigned count)
{
    uint8_t frame[14 + 2800] = {0};
    unsigned before;

    (void)sim_run(p->sim, 100, NULL, NULL);
    before = sim_frames(p->b);
    mac_put(frame, mac_of_member(adhoc, sim_address(p->b)));
    mac_put(frame + 6, mac_of_member(adhoc, sim_address(p->a)));
    be16_put(frame + 12, SIM_ETHERTYPE_TEST);
    memset(frame + 14, 0xff, 4); /* of no node's count */
    for (unsigned i = 0; i < count; i++) {
        sim_send(p->a, adhoc, NULL, frame, sizeof(frame));
        (void)sim_run(p->sim, 20, NULL, NULL);
    }
    (void)sim_run(p->sim, 100, NULL, NULL);
    return sim_frames(p->b) - before;
}

/* D-32: links that swallow large datagrams, and links whose size changes amid traffic. */
static void test_links_that_carry_less(void **state)
{
    static const unsigned mtus[] = {1252, 1392, 1204, 0};
    struct pair p;

    (void)state;
    pair_start(&p, SIM_NAT_PORT_RESTRICTED, SIM_NAT_NONE, 0, 91);
    assert_true(until_direct(&p, 10000) >= 0);
    assert_int_equal(full_frames(&p, 50), 50);
    for (size_t i = 0; i < COUNT_OF(mtus); i++) {
        sim_set_mtu(p.b, mtus[i]);
        (void)full_frames(&p, 200); /* 4 s until it is seen: tests are 2 s apart at most */
        assert_int_equal(full_frames(&p, 100), 100);
    }
    sim_free(p.sim);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_first_frame_and_direct_path_come_quickly),
        cmocka_unit_test(test_symmetric_nats_are_relayed_without_loss),
        cmocka_unit_test(test_blackholed_direct_path_falls_back_to_the_relay),
        cmocka_unit_test(test_death_of_the_best_root),
        cmocka_unit_test(test_address_change),
        cmocka_unit_test(test_nat_rebinding),
        cmocka_unit_test(test_restart_of_a_peer),
        cmocka_unit_test(test_clock_steps_of_hours_change_nothing),
        cmocka_unit_test(test_partition_heals),
        cmocka_unit_test(test_two_on_one_lan_use_private_addresses),
        cmocka_unit_test(test_idle_node_hardly_wakes),
        cmocka_unit_test(test_links_that_carry_less),
    };

    return cmocka_run_group_tests_name("sim_faults", tests, NULL, NULL);
}
