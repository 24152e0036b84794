/* The duplicate filter: against a naive set with time, its growth, and with two threads. Contract
 * section 8, invariant 11. Source: spec 07 section 14.4, spec 01 section 11. */
#include "vectors.h"

#include "base/attr.h"
#include "base/cursor.h"
#include "datapath/replay.h"
#include "wire/packet.h"

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum {
    WINDOW_MS = 10000, /* a copy within is refused */
    WINDOW_END_MS = WINDOW_MS + 1,
    REUSE_MS = 40000, /* from then on another packet: copies so late may be refused or not */
    FEW = 12, /* packets in the window: five in one set of four would take ten thousand runs */
};

/* A packet with a wire ID and a MAC of its own. */
static void make_packet(uint8_t pkt[PACKET_MIN], uint64_t number)
{
    memset(pkt, 0, PACKET_MIN);
    be64_put(pkt + PACKET_AT_ID, number * 0x9e3779b97f4a7c15);
    be64_put(pkt + PACKET_AT_MAC, number * 0xd1b54a32d192ed03 + 1);
}

static bool seen(struct replay *r, uint64_t number, int64_t now_ms)
{
    uint8_t pkt[PACKET_MIN];

    make_packet(pkt, number);
    return replay_seen(r, pkt, now_ms);
}

static void test_copy_is_refused_within_the_window(void **state)
{
    static const int64_t starts[] = {0,
                                     1,
                                     255,
                                     256,
                                     123456789,
                                     65535,
                                     INT64_C(65536) * 256 - 1,
                                     INT64_C(65536) * 256 * 3 - 5000};

    (void)state;
    for (size_t i = 0; i < COUNT_OF(starts); i++) {
        struct replay *r = replay_new(REPLAY_SETS_SMALL, 5, NULL, starts[i]);

        assert_non_null(r);
        assert_false(seen(r, 1, starts[i]));
        assert_true(seen(r, 1, starts[i]));
        assert_true(seen(r, 1, starts[i] + 1));
        assert_true(seen(r, 1, starts[i] + WINDOW_MS));
        assert_false(seen(r, 1, starts[i] + WINDOW_END_MS));
        assert_true(seen(r, 1, starts[i] + WINDOW_END_MS));
        free(r);
    }
}

/* A worker whose turn began a little earlier than another's does not take its packets for new ones.
 */
static void test_clocks_of_workers_differ(void **state)
{
    (void)state;
    for (int64_t start = 1000; start < 1600; start += 7) {
        struct replay *r = replay_new(REPLAY_SETS_SMALL, 5, NULL, start);

        assert_non_null(r);
        assert_false(seen(r, 1, start));
        assert_true(seen(r, 1, start - 20));
        assert_true(seen(r, 1, start + 20));
        free(r);
    }
}

/* A packet that differs in ID or MAC is another one; hops, for one, change on the way. */
static void test_id_and_mac_count(void **state)
{
    (void)state;
    for (size_t i = 0; i < PACKET_MIN; i++) {
        struct replay *r = replay_new(REPLAY_SETS_SMALL, 5, NULL, 0);
        bool counts = i < PACKET_AT_DEST || (i >= PACKET_AT_MAC && i < PACKET_AT_VERB);
        uint8_t pkt[PACKET_MIN];

        assert_non_null(r);
        make_packet(pkt, 1);
        assert_false(replay_seen(r, pkt, 0));
        pkt[i] ^= 0x10;
        assert_int_equal(replay_seen(r, pkt, 0), !counts);
        free(r);
    }
}

/* Against a list of times. With few packets in a window the filter is exact; with many, it never
 * refuses a new one, and mostly knows the old ones. */
static void run_random(struct test_rng *rng, size_t sets, size_t packets, size_t steps,
                       size_t pause_ms, double ret[2])
{
    int64_t *first = malloc(packets * sizeof(*first)); /* by place: when the packet there was new */
    int64_t *last = malloc(packets * sizeof(*last));   /* when it last counted as new */
    uint64_t *number = malloc(packets * sizeof(*number));
    uint64_t numbers = 0;
    struct replay *r = replay_new(sets, test_rng_u64(rng), NULL, 0);
    int64_t now = 20000;
    double known = 0;
    double copies = 0;

    assert_true(first != NULL && last != NULL && number != NULL);
    assert_non_null(r);
    for (size_t i = 0; i < packets; i++) {
        first[i] = -REUSE_MS;
    }
    for (size_t i = 0; i < steps; i++) {
        size_t n = test_rng_below(rng, packets);
        bool is_copy;

        if (now - first[n] >= REUSE_MS) {
            first[n] = now;
            last[n] = INT64_MIN / 2;
            number[n] = ++numbers;
        }
        is_copy = seen(r, number[n], now);
        if (now - last[n] <= WINDOW_MS) {
            copies++;
            known += is_copy;
        } else if (now - last[n] >= WINDOW_END_MS) {
            assert_false(is_copy);
        }
        if (!is_copy) {
            last[n] = now;
        }
        now += (int64_t)test_rng_below(rng, pause_ms + 1);
    }
    ret[0] = known;
    ret[1] = copies;
    free(first);
    free(last);
    free(number);
    free(r);
}

static void test_random_packets(void **state)
{
    struct test_rng rng = test_rng_init("replay");
    double result[2];

    (void)state;
    run_random(&rng, REPLAY_SETS_LARGE, FEW, 200000, 400, result);
    assert_true(result[1] > 1000);
    assert_true(result[0] == result[1]);
    run_random(&rng, REPLAY_SETS_SMALL, 300, 200000, 50, result);
    assert_true(result[0] > 0.9 * result[1]);
    run_random(&rng, REPLAY_SETS_SMALL, 5000, 200000, 1, result);
    assert_true(result[1] > result[0]); /* over capacity: bounded memory forgets */
}

/* What was refused stays so when the filter grows; what is old is left behind. */
static void test_growth_keeps_the_young(void **state)
{
    struct replay *r = replay_new(REPLAY_SETS_SMALL, 99, NULL, 0);
    struct replay *grown;
    size_t known = 0;

    (void)state;
    assert_non_null(r);
    for (uint64_t i = 0; i < 100; i++) {
        assert_false(seen(r, i, 1000));
    }
    for (uint64_t i = 100; i < 200; i++) {
        assert_false(seen(r, i, 11000));
    }
    grown = replay_new(REPLAY_SETS_LARGE, 99, r, 12500);
    assert_non_null(grown);
    for (uint64_t i = 100; i < 200; i++) {
        known += seen(grown, i, 12500);
    }
    assert_true(known >= 98); /* sets of four may have lost one */
    for (uint64_t i = 0; i < 100; i++) {
        assert_false(seen(grown, i, 12500));
    }
    for (uint64_t i = 100; i < 200; i++) {
        known += seen(r, i, 12500); /* the old one stays as it is */
    }
    assert_true(known >= 196);
    free(r);
    free(grown);
}

/* ---- two threads ---- */

enum { RACE_PACKETS = 100000, RACE_STEP = 64, RACERS = 2 };

struct racer {
    pthread_t thread;
    struct replay *replay;
    uint8_t *passed; /* by packet: 1 it counted as new here */
    _Atomic uint64_t done;
    const struct racer *other;
};

static void *race(void *arg)
{
    struct racer *self = arg;

    for (uint64_t i = 0; i < RACE_PACKETS; i++) {
        if (i % RACE_STEP == 0) { /* side by side, or the filter has to forget */
            atomic_store(&self->done, i);
            while (atomic_load(&self->other->done) < i) {
                (void)sched_yield();
            }
        }
        self->passed[i] = !seen(self->replay, i, 5000 + (int64_t)(i / 100));
    }
    atomic_store(&self->done, RACE_PACKETS);
    return NULL;
}

/* Copies on two workers: at least one passes, never more than one on each; all in all hardly any
 * twice. */
static void test_two_threads(void **state)
{
    struct replay *r = replay_new(REPLAY_SETS_LARGE, 7, NULL, 0);
    struct racer racers[RACERS];
    size_t twice = 0;

    (void)state;
    assert_non_null(r);
    for (size_t i = 0; i < RACERS; i++) {
        racers[i].replay = r;
        racers[i].other = &racers[1 - i];
        atomic_init(&racers[i].done, 0);
        racers[i].passed = calloc(1, RACE_PACKETS);
        assert_non_null(racers[i].passed);
    }
    for (size_t i = 0; i < RACERS; i++) {
        assert_int_equal(pthread_create(&racers[i].thread, NULL, race, &racers[i]), 0);
    }
    for (size_t i = 0; i < RACERS; i++) {
        assert_int_equal(pthread_join(racers[i].thread, NULL), 0);
    }
    for (size_t i = 0; i < RACE_PACKETS; i++) {
        assert_true(racers[0].passed[i] || racers[1].passed[i]);
        twice += racers[0].passed[i] && racers[1].passed[i];
    }
    assert_in_range(twice, 0, RACE_PACKETS / 100);
    for (size_t i = 0; i < RACERS; i++) {
        free(racers[i].passed);
    }
    free(r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_copy_is_refused_within_the_window),
        cmocka_unit_test(test_clocks_of_workers_differ),
        cmocka_unit_test(test_id_and_mac_count),
        cmocka_unit_test(test_random_packets),
        cmocka_unit_test(test_growth_keeps_the_young),
        cmocka_unit_test(test_two_threads),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
