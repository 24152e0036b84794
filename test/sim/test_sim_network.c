/* Private networks with a real controller: joining, loss, change, cut-off. */
#include "sim.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

enum { MEMBERS = 200 };

static const char settings[] =
    "{\"private\":true,\"v4AssignMode\":{\"zt\":true},"
    "\"routes\":[{\"target\":\"10.121.0.0/16\"}],"
    "\"ipAssignmentPools\":[{\"ipRangeStart\":\"10.121.0.1\",\"ipRangeEnd\":\"10.121.255.254\"}]}";

struct lan {
    struct sim *sim;
    struct sim_node *root;
    struct sim_node *controller;
    struct sim_node *members[MEMBERS];
    size_t count;
    uint64_t nwid;
};

static bool all_ok(void *ctx)
{
    const struct lan *lan = ctx;

    for (size_t i = 0; i < lan->count; i++) {
        if (!sim_network_ok(lan->members[i], lan->nwid)) {
            return false;
        }
    }
    return true;
}

static void lan_start(struct lan *lan, size_t count, unsigned loss_pct, uint64_t seed)
{
    struct sim_options options = {.seed = seed,
                                  .latency_ms = 10,
                                  .jitter_ms = 5,
                                  .loss_pct = loss_pct,
                                  .dup_pct = 1,
                                  .hash_ms = 5};

    *lan = (struct lan){.sim = sim_new(&options), .count = count};
    lan->root = sim_add(lan->sim, SIM_NAT_NONE);
    sim_planet(lan->sim, &lan->root, 1);
    sim_start(lan->root);
    lan->controller = sim_add(lan->sim, SIM_NAT_NONE);
    sim_start(lan->controller);
    sim_controller(lan->controller);
    lan->nwid = sim_create_network(lan->controller, settings);
    for (size_t i = 0; i < count; i++) {
        lan->members[i] = sim_add(lan->sim, i % 3 == 0 ? SIM_NAT_PORT_RESTRICTED : SIM_NAT_NONE);
        sim_set_member(lan->controller, lan->nwid, lan->members[i], "{\"authorized\":true}");
        sim_start(lan->members[i]);
        assert_int_equal(
            0, node_join(sim_engine(lan->members[i]), lan->nwid, NULL, sim_now(lan->sim)));
    }
}

/* One frame from each to each; how many percent arrived. */
static unsigned exchange(struct lan *lan)
{
    unsigned before = 0;
    unsigned after = 0;

    for (size_t i = 0; i < lan->count; i++) {
        before += sim_frames(lan->members[i]);
    }
    for (size_t k = 1; k < lan->count; k++) {
        for (size_t i = 0; i < lan->count; i++) {
            sim_frame(lan->members[i], lan->members[(i + k) % lan->count], lan->nwid);
        }
        (void)sim_run(lan->sim, 20, NULL, NULL);
    }
    (void)sim_run(lan->sim, 6000, NULL, NULL);
    for (size_t i = 0; i < lan->count; i++) {
        after += sim_frames(lan->members[i]);
    }
    return (unsigned)((after - before) * 100 / (lan->count * (lan->count - 1)));
}

static void test_two_hundred_members_with_loss(void **state)
{
    static struct lan lan;
    int64_t begin;
    unsigned got;

    (void)state;
    lan_start(&lan, MEMBERS, 5, 3);
    begin = sim_now(lan.sim);
    assert_true(sim_run(lan.sim, 60000, all_ok, &lan)); /* 8 to 40 s, by the seed */
    print_message("200 members, 5 %% loss: all configured after %lld ms\n",
                  (long long)(sim_now(lan.sim) - begin));
    (void)exchange(&lan);
    got = exchange(&lan);
    print_message("frames of the second round: %u %%\n", got);
    assert_true(got >= 93);
    /* Five minutes later, after renewed certificates, it is still complete. */
    (void)sim_run(lan.sim, 300000, NULL, NULL);
    assert_true(all_ok(&lan));
    got = exchange(&lan);
    print_message("five minutes later: %u %%\n", got);
    assert_true(got >= 93);
    sim_free(lan.sim);
}

static uint64_t trace_of(uint64_t seed)
{
    static struct lan lan;
    uint64_t trace;

    lan_start(&lan, 12, 5, seed);
    assert_true(sim_run(lan.sim, 30000, all_ok, &lan));
    (void)exchange(&lan);
    trace = sim_trace(lan.sim);
    sim_free(lan.sim);
    return trace;
}

static void test_same_seed_same_trace_with_controller(void **state)
{
    uint64_t first = trace_of(5);

    (void)state;
    assert_true(first == trace_of(5));
    assert_true(first != trace_of(6));
}

static void test_deauthorized_member_is_cut_off_everywhere(void **state)
{
    static struct lan lan;
    struct sim_node *out;
    unsigned before;

    (void)state;
    lan_start(&lan, 8, 0, 17);
    assert_true(sim_run(lan.sim, 10000, all_ok, &lan));
    (void)exchange(&lan);
    out = lan.members[4];
    sim_set_member(lan.controller, lan.nwid, out, "{\"authorized\":false}");
    (void)sim_run(lan.sim, 2000, NULL, NULL);
    sim_stop(lan.controller, true); /* also when the controller goes away right after */
    before = 0;
    for (size_t i = 0; i < lan.count; i++) {
        before += sim_frames_from(lan.members[i], out);
    }
    for (size_t i = 0; i < lan.count; i++) {
        if (lan.members[i] != out) {
            sim_frame(out, lan.members[i], lan.nwid);
        }
    }
    (void)sim_run(lan.sim, 6000, NULL, NULL);
    for (size_t i = 0; i < lan.count; i++) {
        before -= sim_frames_from(lan.members[i], out);
    }
    assert_int_equal(0, before);
    assert_true(exchange(&lan) >= 74); /* the other 7 of 8 among themselves: 42 of 56 */
    sim_free(lan.sim);
}

static void test_broadcast_reaches_all_members(void **state)
{
    static struct lan lan;
    unsigned got = 0;

    (void)state;
    lan_start(&lan, 20, 0, 23);
    assert_true(sim_run(lan.sim, 10000, all_ok, &lan));
    (void)sim_run(lan.sim, 3000, NULL, NULL);
    sim_broadcast(lan.members[0], lan.nwid);
    (void)sim_run(lan.sim, 3000, NULL, NULL);
    for (size_t i = 1; i < lan.count; i++) {
        got += sim_frames_from(lan.members[i], lan.members[0]) > 0;
    }
    print_message("broadcast reached %u of 19\n", got);
    assert_int_equal(19, got);
    sim_free(lan.sim);
}

static void test_member_lives_on_while_the_controller_is_down(void **state)
{
    static struct lan lan;

    (void)state;
    lan_start(&lan, 6, 0, 29);
    assert_true(sim_run(lan.sim, 10000, all_ok, &lan));
    (void)exchange(&lan);
    sim_stop(lan.controller, true);
    (void)sim_run(lan.sim, 3600000, NULL, NULL);
    assert_true(exchange(&lan) == 100);
    sim_free(lan.sim);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_same_seed_same_trace_with_controller),
        cmocka_unit_test(test_broadcast_reaches_all_members),
        cmocka_unit_test(test_deauthorized_member_is_cut_off_everywhere),
        cmocka_unit_test(test_member_lives_on_while_the_controller_is_down),
        cmocka_unit_test(test_two_hundred_members_with_loss),
    };

    return cmocka_run_group_tests_name("sim_network", tests, NULL, NULL);
}
