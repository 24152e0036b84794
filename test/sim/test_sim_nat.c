/* Two nodes behind routers of five kinds, every pairing, with two roots: which become direct, how
 * fast, and what is said of those that do not. SIM_NAT_SEEDS in the environment: seeds tried of
 * each pairing. Spec 02 sections 7.4 to 7.7; NT-3, NT-4, NT-5, NT-6. */
#include "sim.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

static const uint64_t adhoc = 0xff0a000000000001u;

enum {
    KINDS = 5,
    SEEDS_USUAL = 20,
    SEEDS_MAX = 1000,
    LIMIT_MS = 90000,   /* of one try */
    GIVE_UP_MS = 20000, /* two symmetric NATs */
    CHANCE_MS = 30000,  /* a symmetric NAT against a port-restricted one takes at most */
    PLAIN_MS = 2000,    /* pairings without a symmetric one, and those with a mild other side */
};

static const enum sim_nat_kind kinds[KINDS] = {SIM_NAT_FULL_CONE, SIM_NAT_RESTRICTED,
                                               SIM_NAT_PORT_RESTRICTED, SIM_NAT_SYMMETRIC,
                                               SIM_NAT_SYMMETRIC_RANDOM};
static const char *const names[KINDS] = {"full cone", "address-restricted", "port-restricted",
                                         "symmetric, sequential", "symmetric, random"};

struct pair {
    struct sim *sim;
    struct sim_node *roots[2];
    struct sim_node *a;
    struct sim_node *b;
};

static void start(struct sim_node *node)
{
    sim_start(node);
    assert_int_equal(0, node_join(sim_engine(node), adhoc, NULL, sim_now(sim_of(node))));
}

static void pair_start(struct pair *p, enum sim_nat_kind a, enum sim_nat_kind b, uint64_t seed)
{
    struct sim_options options = {.seed = seed, .latency_ms = 15, .jitter_ms = 10, .loss_pct = 1};

    *p = (struct pair){.sim = sim_new(&options)};
    for (size_t i = 0; i < 2; i++) {
        p->roots[i] = sim_add(p->sim, SIM_NAT_NONE);
    }
    sim_planet(p->sim, p->roots, 2);
    sim_start(p->roots[0]);
    sim_start(p->roots[1]);
    p->a = sim_add(p->sim, a);
    p->b = sim_add(p->sim, b);
    sim_nat_set(p->a, false, 30000);
    sim_nat_set(p->b, false, 30000);
    start(p->a);
    start(p->b);
    (void)sim_run(p->sim, 3000, NULL, NULL);
}

static bool both_direct(void *ctx)
{
    const struct pair *p = ctx;

    return sim_is_direct(p->a, p->b) && sim_is_direct(p->b, p->a);
}

/* Frames both ways until the pair is direct; the time that took, or -1. */
static int64_t until_direct(struct pair *p, int64_t limit_ms)
{
    int64_t begin = sim_now(p->sim);

    while (sim_now(p->sim) - begin < limit_ms) {
        sim_frame(p->a, p->b, adhoc);
        sim_frame(p->b, p->a, adhoc);
        if (sim_run(p->sim, 100, both_direct, p)) {
            return sim_now(p->sim) - begin;
        }
    }
    return -1;
}

static enum relay_reason reason_of(struct sim_node *node, const struct sim_node *other)
{
    struct node_peer_info *peers;
    ssize_t n = node_peers(sim_engine(node), sim_now(sim_of(node)), &peers);
    enum relay_reason reason = RELAY_REASON_NOT_TRIED;

    for (ssize_t i = 0; i < n; i++) {
        if (peers[i].address == sim_address(other)) {
            reason = peers[i].relay_reason;
        }
    }
    node_peers_free(peers, (size_t)n);
    return reason;
}

static enum nat_kind expected(enum sim_nat_kind kind)
{
    return kind == SIM_NAT_SYMMETRIC          ? NAT_SEQUENTIAL
           : kind == SIM_NAT_SYMMETRIC_RANDOM ? NAT_RANDOM
                                              : NAT_CONE;
}

static bool is_symmetric(size_t kind)
{
    return kinds[kind] == SIM_NAT_SYMMETRIC || kinds[kind] == SIM_NAT_SYMMETRIC_RANDOM;
}

/* A direct path carries everything. */
static void direct_is_without_loss(struct pair *p)
{
    unsigned seen;

    sim_set_loss(p->sim, 0);
    (void)sim_run(p->sim, 3000, NULL, NULL);
    seen = sim_frames_from(p->b, p->a);
    for (int i = 0; i < 50; i++) {
        sim_frame(p->a, p->b, adhoc);
        sim_frame(p->b, p->a, adhoc);
        (void)sim_run(p->sim, 50, NULL, NULL);
    }
    (void)sim_run(p->sim, 500, NULL, NULL);
    assert_int_equal(50, sim_frames_from(p->b, p->a) - seen);
    assert_true(sim_extra_sockets(p->a) <= 1 && sim_extra_sockets(p->b) <= 1);
}

static int compare_times(const void *a, const void *b)
{
    const int64_t x = *(const int64_t *)a;
    const int64_t y = *(const int64_t *)b;

    return x < y ? -1 : x > y;
}

struct outcome {
    int64_t times[SEEDS_MAX]; /* of those that became direct, ascending */
    unsigned direct;
    unsigned in_time;
    unsigned seeds;
    enum relay_reason reason; /* of the last that did not */
};

/* One try; the time to a direct path, or -1. */
static int64_t try_pair(size_t i, size_t k, uint64_t seed, int64_t limit_ms,
                        enum relay_reason *ret_reason)
{
    struct pair p;
    int64_t took;

    pair_start(&p, kinds[i], kinds[k], seed);
    assert_int_equal(expected(kinds[i]), node_nat_kind(sim_engine(p.a), INETADDR_V4));
    assert_int_equal(expected(kinds[k]), node_nat_kind(sim_engine(p.b), INETADDR_V4));
    took = until_direct(&p, limit_ms);
    *ret_reason = reason_of(p.a, p.b);
    if (took >= 0) {
        direct_is_without_loss(&p);
    }
    sim_free(p.sim);
    return took;
}

static unsigned seeds_wanted(void)
{
    const char *text = getenv("SIM_NAT_SEEDS");
    unsigned long n = text != NULL ? strtoul(text, NULL, 10) : SEEDS_USUAL;

    return n < 1 ? 1 : n > SEEDS_MAX ? SEEDS_MAX : (unsigned)n;
}

static void run_pairing(struct outcome *o, size_t i, size_t k, int64_t limit_ms, int64_t stated_ms)
{
    *o = (struct outcome){.seeds = seeds_wanted()};
    for (unsigned seed = 1; seed <= o->seeds; seed++) {
        enum relay_reason reason;
        int64_t took = try_pair(i, k, 1000 * (i * KINDS + k) + seed, limit_ms, &reason);

        if (took >= 0) {
            o->times[o->direct++] = took;
            o->in_time += took <= stated_ms;
        } else {
            o->reason = reason;
        }
    }
    qsort(o->times, o->direct, sizeof(o->times[0]), compare_times);
    print_message("| %s | %s | %u %% | ", names[i], names[k], o->direct * 100 / o->seeds);
    if (o->direct > 0) {
        print_message("%lld ms | %lld ms | %s |\n", (long long)o->times[o->direct / 2],
                      (long long)o->times[(o->direct * 99 - 1) / 100],
                      o->direct < o->seeds ? relay_reason_text(o->reason) : "");
    } else {
        print_message("- | - | %s |\n", relay_reason_text(o->reason));
    }
}

/* NT-3, NT-5 */
static void test_every_pairing(void **state)
{
    static struct outcome o;

    (void)state;
    print_message(
        "| one side | other side | direct | median | p99 | else |\n|---|---|---|---|---|---|\n");
    for (size_t i = 0; i < KINDS; i++) {
        for (size_t k = i; k < KINDS; k++) {
            bool hard = is_symmetric(k) && kinds[i] == SIM_NAT_PORT_RESTRICTED;

            run_pairing(&o, i, k, is_symmetric(i) ? GIVE_UP_MS : LIMIT_MS,
                        hard ? CHANCE_MS : PLAIN_MS);
            if (is_symmetric(i)) {
                assert_int_equal(0, o.direct);
                assert_int_equal(RELAY_REASON_BOTH_SYMMETRIC, o.reason);
            } else if (hard) {
                assert_true(o.in_time * 100 >= 95 * o.seeds || o.seeds < 20);
                assert_true(o.direct * 100 >= 95 * o.seeds);
            } else {
                assert_int_equal(o.direct, o.seeds);
            }
        }
    }
}

/* NT-5: two symmetric NATs. Nothing is tried by chance, no frame is lost, and both say why. */
static void test_both_symmetric_is_relayed_without_loss(void **state)
{
    static const enum sim_nat_kind hard[] = {SIM_NAT_SYMMETRIC, SIM_NAT_SYMMETRIC_RANDOM};

    (void)state;
    for (unsigned i = 0; i < 4; i++) {
        struct pair p;
        unsigned seen;
        uint64_t datagrams;

        pair_start(&p, hard[i / 2], hard[i % 2], 5000 + i);
        sim_set_loss(p.sim, 0);
        assert_int_equal(-1, until_direct(&p, 2000));
        seen = sim_frames_from(p.b, p.a);
        datagrams = sim_datagrams(p.sim);
        for (int k = 0; k < 900; k++) {
            sim_frame(p.a, p.b, adhoc);
            (void)sim_run(p.sim, 100, NULL, NULL);
        }
        (void)sim_run(p.sim, 500, NULL, NULL);
        assert_int_equal(900, sim_frames_from(p.b, p.a) - seen);
        assert_true(sim_datagrams(p.sim) - datagrams < 3000); /* each frame is two */
        assert_int_equal(RELAY_REASON_BOTH_SYMMETRIC, reason_of(p.a, p.b));
        assert_int_equal(RELAY_REASON_BOTH_SYMMETRIC, reason_of(p.b, p.a));
        assert_int_equal(0, sim_extra_sockets(p.a) + sim_extra_sockets(p.b));
        sim_free(p.sim);
    }
}

/* The path in use goes to a private address. */
static bool is_private(struct sim_node *node, const struct sim_node *other)
{
    struct node_peer_info *peers;
    ssize_t n = node_peers(sim_engine(node), sim_now(sim_of(node)), &peers);
    bool found = false;

    for (ssize_t i = 0; i < n; i++) {
        for (size_t k = 0; k < peers[i].path_count && peers[i].address == sim_address(other); k++) {
            found = found || (peers[i].paths[k].preferred && peers[i].paths[k].remote.ip[0] == 192);
        }
    }
    node_peers_free(peers, (size_t)n);
    return found;
}

/* NT-4: behind one router, whatever it is and whether or not it lets its hosts reach each other by
 * its public address, the LAN is used. */
static void test_one_router_means_the_lan(void **state)
{
    (void)state;
    for (size_t i = 0; i < KINDS; i++) {
        for (unsigned hairpin = 0; hairpin < 2; hairpin++) {
            struct pair p;
            struct sim_node *c;
            int64_t took;

            pair_start(&p, kinds[i], SIM_NAT_NONE, 6000 + 2 * i + hairpin);
            c = sim_add_neighbour(p.sim, p.a);
            sim_nat_set(p.a, hairpin == 1, 30000);
            start(c);
            (void)sim_run(p.sim, 3000, NULL, NULL);
            p.b = c;
            took = until_direct(&p, 10000);
            assert_true(took >= 0 && took <= 1000);
            (void)until_direct(&p, 0);
            for (int k = 0; k < 100; k++) {
                sim_frame(p.a, p.b, adhoc);
                sim_frame(p.b, p.a, adhoc);
                (void)sim_run(p.sim, 50, NULL, NULL);
            }
            assert_true(is_private(p.a, p.b) && is_private(p.b, p.a));
            sim_free(p.sim);
        }
    }
}

/* A path through a symmetric NAT that was won stays, though mappings are forgotten after 30 s, and
 * is won again when the router forgets it. */
static void test_won_path_stays_and_returns(void **state)
{
    static const enum sim_nat_kind hard[] = {SIM_NAT_SYMMETRIC, SIM_NAT_SYMMETRIC_RANDOM};

    (void)state;
    for (unsigned i = 0; i < 2; i++) {
        struct pair p;

        pair_start(&p, SIM_NAT_PORT_RESTRICTED, hard[i], 7000 + i);
        assert_true(until_direct(&p, LIMIT_MS) >= 0);
        for (int k = 0; k < 30; k++) { /* a frame each 20 s, ten minutes */
            sim_frame(p.a, p.b, adhoc);
            (void)sim_run(p.sim, 20000, NULL, NULL);
            assert_true(both_direct(&p));
        }
        sim_nat_rebind(p.b);
        for (int k = 0; k < 50; k++) {
            sim_frame(p.a, p.b, adhoc);
            sim_frame(p.b, p.a, adhoc);
            (void)sim_run(p.sim, 100, NULL, NULL);
        }
        assert_true(until_direct(&p, 2 * LIMIT_MS) >= 0);
        sim_free(p.sim);
    }
}

/* The kind follows when a node moves behind another router. */
static void test_kind_follows_the_router(void **state)
{
    struct pair p;

    (void)state;
    pair_start(&p, SIM_NAT_PORT_RESTRICTED, SIM_NAT_NONE, 8000);
    assert_int_equal(NAT_CONE, node_nat_kind(sim_engine(p.a), INETADDR_V4));
    assert_int_equal(NAT_NONE, node_nat_kind(sim_engine(p.b), INETADDR_V4));
    assert_int_equal(NAT_UNKNOWN, node_nat_kind(sim_engine(p.a), INETADDR_V6));
    sim_nat_kind_set(p.a, SIM_NAT_SYMMETRIC);
    sim_move(p.a);
    (void)sim_run(p.sim, 130000, NULL, NULL);
    assert_int_equal(NAT_SEQUENTIAL, node_nat_kind(sim_engine(p.a), INETADDR_V4));
    sim_nat_kind_set(p.a, SIM_NAT_FULL_CONE);
    sim_move(p.a);
    (void)sim_run(p.sim, 130000, NULL, NULL);
    assert_int_equal(NAT_CONE, node_nat_kind(sim_engine(p.a), INETADDR_V4));
    sim_free(p.sim);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_both_symmetric_is_relayed_without_loss),
        cmocka_unit_test(test_one_router_means_the_lan),
        cmocka_unit_test(test_won_path_stays_and_returns),
        cmocka_unit_test(test_kind_follows_the_router),
        cmocka_unit_test(test_every_pairing),
    };

    return cmocka_run_group_tests_name("sim_nat", tests, NULL, NULL);
}
