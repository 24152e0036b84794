/* Layout of sealed packets in runs. Checklist: D-1, D-2, D-4, D-6, D-22, D-36. */
#include "vectors.h"

#include "datapath/fragment.h"
#include "datapath/parts.h"
#include "datapath/seal.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { PACKETS_MAX = 600 };

static struct armor_keys keys;

static int set_up(void **state)
{
    uint8_t secret[SHARED_KEY_LEN] = {1, 2, 3};

    (void)state;
    armor_keys_init(&keys, secret);
    return 0;
}

/* D-1, and the table of spec 09 section 6.4. */
static void test_known_plans(void **state)
{
    static const struct {
        size_t len;
        size_t mtu;
        unsigned total;
        size_t size;
        enum seal_form form;
    } cases[] = {
        {2838, 1432, 2, 1427, SEAL_EQUAL},  {2851, 1432, 3, 961, SEAL_EQUAL},
        {1538, 1432, 2, 777, SEAL_EQUAL},   {1551, 1432, 2, 784, SEAL_GROUPS},
        {1432, 1432, 1, 1432, SEAL_EQUAL},  {28, 1432, 1, 28, SEAL_EQUAL},
        {9038, 1432, 7, 1305, SEAL_CLOSED}, {2839, 1432, 3, 957, SEAL_EQUAL},
        {2837, 1432, 2, 1427, SEAL_GROUPS}, {9928, 1432, 7, 1432, SEAL_EQUAL},
    };
    struct seal_plan plan;

    (void)state;
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        assert_int_equal(seal_plan(cases[i].len, cases[i].mtu, &plan), 0);
        assert_int_equal(plan.total, cases[i].total);
        assert_int_equal(plan.size, cases[i].size);
        assert_int_equal(plan.form, cases[i].form);
    }
}

/* D-2 */
static void test_all_plans(void **state)
{
    static const size_t mtus[] = {1400, 1432, 1472, 2000};
    struct seal_plan plan;

    (void)state;
    for (size_t m = 0; m < COUNT_OF(mtus); m++) {
        size_t mtu = mtus[m];
        size_t most = 7 * (mtu - 16) + 16;

        most = most < PACKET_MAX ? most : PACKET_MAX;
        for (size_t len = PACKET_MIN; len <= PACKET_MAX + 50; len++) {
            size_t least = len <= mtu ? 1 : (len - 16 + mtu - 17) / (mtu - 16);

            if (len > most) {
                assert_int_equal(seal_plan(len, mtu, &plan), -EMSGSIZE);
                continue;
            }
            assert_int_equal(seal_plan(len, mtu, &plan), 0);
            size_t sum = len + 16 * (plan.total - 1);
            size_t missing = plan.size * plan.total - sum;
            assert_true(plan.total <= 7 && plan.size <= mtu && missing < plan.total);
            if (plan.form == SEAL_EQUAL) {
                assert_int_equal(missing, 0);
                assert_in_range(plan.total, least, least + 1);
            } else {
                assert_int_equal(plan.total, least);
                assert_true(missing > 0);
                assert_int_equal(plan.form == SEAL_CLOSED, plan.total >= 4);
            }
        }
    }
}

/* Packets on their way. */
struct traffic {
    struct seal_slab slab;
    uint8_t *memory;
    uint8_t *plain[PACKETS_MAX];
    size_t lens[PACKETS_MAX];
    uint32_t targets[PACKETS_MAX];
    size_t count;    /* sealed */
    size_t received; /* opened again */
    struct assembly assembly;
    unsigned max_incomplete;
    size_t runs;
    size_t datagrams;
};

static struct traffic traffic;

static struct traffic *traffic_new(size_t cap)
{
    struct traffic *t = &traffic;

    memset(t, 0, sizeof(*t));
    t->memory = malloc(cap);
    assert_non_null(t->memory);
    seal_slab_init(&t->slab, t->memory, cap);
    assembly_init(&t->assembly, 1);
    return t;
}

static void traffic_free(struct traffic *t)
{
    for (size_t i = 0; i < t->count; i++) {
        free(t->plain[i]);
    }
    assert_int_equal(t->received, t->count);
    assert_int_equal(t->assembly.parts, 0);
    assembly_done(&t->assembly);
    free(t->memory);
}

/* A received packet must be one of those not yet received: the next one, or within the group. */
static void match(struct traffic *t, uint8_t *pkt, size_t len, uint32_t target)
{
    size_t i = t->received;

    assert_int_equal(armor_open(pkt, len, &keys), 0);
    assert_true(i < t->count);
    assert_int_equal(len, t->lens[i]);
    assert_int_equal(target, t->targets[i]);
    assert_memory_equal(pkt + PACKET_AT_VERB, t->plain[i] + PACKET_AT_VERB, len - PACKET_AT_VERB);
    t->received++;
}

static void receive(struct traffic *t, uint8_t *data, size_t len, uint32_t target)
{
    const struct inetaddr from = {.family = INETADDR_V4, .ip = {127, 0, 0, 1}};
    static uint8_t pkt[PACKET_MAX];
    struct assembled done;

    if (data[FRAGMENT_AT_INDICATOR] != FRAGMENT_INDICATOR && !packet_is_fragmented(data)) {
        memcpy(pkt, data, len);
        match(t, pkt, len, target);
        return;
    }
    int r = assembly_add(&t->assembly, data, len, &from, 0, ASSEMBLY_SHARE, 1, pkt, &done);
    assert_true(r >= 0);
    if (r == 1) {
        match(t, pkt, done.len, target);
    }
    unsigned incomplete = (unsigned)t->assembly.sets.count;
    t->max_incomplete = incomplete > t->max_incomplete ? incomplete : t->max_incomplete;
}

/* Send what is in the slab: cut runs as the kernel does. D-22 */
static void flush(struct traffic *t)
{
    for (unsigned i = 0; i < t->slab.run_count; i++) {
        const struct seal_run *run = &t->slab.runs[i];
        uint8_t *data = exact_copy(run->data, run->len);
        unsigned count = 0;

        assert_true(run->len > 0 && run->len <= SEAL_RUN_BYTES);
        assert_true(run->data >= t->memory && run->data + run->len <= t->memory + t->slab.used);
        for (size_t at = 0; at < run->len; at += run->size) {
            size_t left = run->len - at;
            receive(t, data + at, left < run->size ? left : run->size, run->target);
            count++;
        }
        assert_int_equal(count, run->count);
        assert_true(count <= SEAL_RUN_DATAGRAMS);
        free(data);
        t->datagrams += count;
    }
    t->runs += t->slab.run_count;
    seal_slab_clear(&t->slab);
}

static void add(struct traffic *t, struct test_rng *rng, size_t len, size_t mtu, uint32_t target,
                bool more)
{
    uint8_t *pkt = malloc(len);

    assert_non_null(pkt);
    test_rng_fill(rng, pkt, len);
    packet_start(pkt, test_rng_u64(rng), 1, 2, VERB_FRAME);
    t->plain[t->count] = exact_copy(pkt, len);
    t->lens[t->count] = len;
    t->targets[t->count] = target;
    const struct seal_packet p = {
        .pkt = pkt,
        .len = len,
        .keys = &keys,
        .suite = test_rng_below(rng, 5) == 0 ? SUITE_SALSA_POLY1305 : SUITE_AES_GMAC_SIV,
        .mtu = mtu,
        .target = target,
        .run_datagrams = target == 3 ? 16 : 0,
        .more = more,
    };
    int r = seal_add(&t->slab, &p);
    if (r == -ENOSPC) {
        flush(t);
        r = seal_add(&t->slab, &p);
    }
    assert_int_equal(r, 0);
    t->count++;
    free(pkt);
}

/* A super-frame of 64 KiB at MTU 2800: runs of 44 datagrams, the short last packet with them. */
static void test_full_size_train(void **state)
{
    struct test_rng rng = test_rng_init("train");
    struct traffic *t = traffic_new(SEAL_SLAB_LEN);

    (void)state;
    for (unsigned i = 0; i < 22; i++) {
        add(t, &rng, 2838, 1432, 1, true);
    }
    assert_int_equal(t->slab.run_count, 1);
    assert_int_equal(t->slab.runs[0].count, 44);
    assert_int_equal(t->slab.runs[0].size, 1427);
    add(t, &rng, 2838, 1432, 1, true); /* 46 would be too long */
    assert_int_equal(t->slab.run_count, 2);
    add(t, &rng, 2000, 1432, 1, false);
    assert_int_equal(t->slab.run_count, 2);
    assert_int_equal(t->slab.runs[1].count, 4);
    assert_int_equal(t->slab.runs[1].len, 2 * 1427 + 2016);
    add(t, &rng, 2838, 1432, 1, false);
    assert_int_equal(t->slab.run_count, 3); /* nothing behind a shorter one */
    flush(t);
    assert_int_equal(t->max_incomplete, 1);
    traffic_free(t);
}

/* What may end a run and what may not. */
static void test_ends_of_runs(void **state)
{
    static const struct {
        size_t first;
        size_t second;
        unsigned runs;
        unsigned datagrams; /* of the first run */
    } cases[] = {
        {2838, 1427, 1, 3}, {2838, 1430, 1, 4}, {2838, 100, 1, 3},  {2838, 2837, 1, 4},
        {2838, 2839, 1, 5}, {90, 90, 1, 2},     {90, 89, 1, 2},     {90, 91, 2, 1},
        {90, 2838, 2, 1},   {90, 120, 2, 1},    {1432, 2838, 1, 3}, {777, 1538, 1, 3},
        {2838, 9038, 1, 9}, {600, 1300, 2, 1},  {600, 1184, 1, 3},
    };
    struct test_rng rng = test_rng_init("ends");

    (void)state;
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct traffic *t = traffic_new(SEAL_SLAB_LEN);

        add(t, &rng, cases[i].first, 1432, 1, false);
        add(t, &rng, cases[i].second, 1432, 1, false);
        if (t->slab.run_count != cases[i].runs || t->slab.runs[0].count != cases[i].datagrams) {
            fail_msg("case %zu: %u runs, %u datagrams", i, t->slab.run_count,
                     t->slab.runs[0].count);
        }
        flush(t);
        traffic_free(t);
    }
}

/* Rule 3: unequal datagrams go in groups, of one packet they stay together. */
static void test_groups(void **state)
{
    struct test_rng rng = test_rng_init("groups");
    struct traffic *t = traffic_new(SEAL_SLAB_LEN);

    (void)state;
    for (unsigned i = 0; i < 11; i++) {
        add(t, &rng, 2837, 1432, 1, i < 10);
    }
    assert_int_equal(t->slab.run_count, 4);
    assert_int_equal(t->slab.runs[0].count, 8);
    assert_int_equal(t->slab.runs[0].size, 1427);
    assert_int_equal(t->slab.runs[1].count, 8);
    assert_int_equal(t->slab.runs[1].size, 1426);
    assert_int_equal(t->slab.runs[1].len, 8 * 1426);
    assert_int_equal(t->slab.runs[3].count, 3);
    add(t, &rng, 2837, 1432, 2, false); /* alone: to another */
    assert_int_equal(t->slab.run_count, 5);
    assert_int_equal(t->slab.runs[4].count, 2);
    assert_int_equal(t->slab.runs[4].len, 2853);
    add(t, &rng, 9038, 1432, 2, true);
    add(t, &rng, 9038, 1432, 2, true);
    assert_int_equal(t->slab.run_count, 7);
    flush(t);
    assert_int_equal(t->max_incomplete, 8);
    traffic_free(t);
}

static void test_targets_and_limits(void **state)
{
    struct test_rng rng = test_rng_init("limits");
    struct traffic *t = traffic_new(SEAL_SLAB_LEN);

    (void)state;
    for (unsigned i = 0; i < 4; i++) {
        add(t, &rng, 1000, 1432, 1 + i % 2, true);
    }
    assert_int_equal(t->slab.run_count, 4);
    add(t, &rng, 1000, 999, 2, true); /* a smaller limit of the path */
    assert_int_equal(t->slab.run_count, 5);
    for (unsigned i = 0; i < 20; i++) {
        add(t, &rng, 90, 1432, 3, true); /* 16 datagrams at most */
    }
    assert_int_equal(t->slab.run_count, 7);
    assert_int_equal(t->slab.runs[5].count, 16);
    for (unsigned i = 0; i < 2 * SEAL_RUNS_MAX; i++) {
        add(t, &rng, 100 + i, 1432, 4 + i % 2, true);
    }
    assert_true(t->runs > 0); /* was flushed when full */
    flush(t);

    struct seal_packet p = {.pkt = t->memory, .len = 9929, .keys = &keys, .suite = 3, .mtu = 1432};
    assert_int_equal(seal_add(&t->slab, &p), -EMSGSIZE);
    p.len = 100;
    p.mtu = 63;
    assert_int_equal(seal_add(&t->slab, &p), -EMSGSIZE);
    assert_int_equal(t->slab.run_count, 0);
    traffic_free(t);
}

/* D-4, D-6, D-22, D-36: anything in any order, in slabs of any size. */
static void test_random_packets(void **state)
{
    static const size_t usual[] = {2838, 2838, 2838, 2851, 1538, 1551, 90, 102, 9038, 2837};
    struct test_rng rng = test_rng_init("random");

    (void)state;
    for (unsigned round = 0; round < 30; round++) {
        struct traffic *t = traffic_new(
            round % 3 == 0 ? SEAL_SLAB_MIN : SEAL_SLAB_MIN + test_rng_below(&rng, 300000));
        size_t mtu = round % 2 == 0 ? 1432 : 1400 + test_rng_below(&rng, 8000);

        while (t->count < PACKETS_MAX) {
            size_t len = usual[test_rng_below(&rng, COUNT_OF(usual))];
            size_t train = 1 + test_rng_below(&rng, 30);
            uint32_t target = (uint32_t)(1 + test_rng_below(&rng, 3));

            if (test_rng_below(&rng, 3) == 0) {
                len = PACKET_MIN + test_rng_below(&rng, 9000);
            }
            for (; train > 0 && t->count < PACKETS_MAX; train--) {
                add(t, &rng, len, mtu, target, train > 1);
            }
        }
        flush(t);
        assert_true(t->max_incomplete <= SEAL_GROUP);
        traffic_free(t);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_known_plans),     cmocka_unit_test(test_all_plans),
        cmocka_unit_test(test_full_size_train), cmocka_unit_test(test_ends_of_runs),
        cmocka_unit_test(test_groups),          cmocka_unit_test(test_targets_and_limits),
        cmocka_unit_test(test_random_packets),
    };
    return cmocka_run_group_tests(tests, set_up, NULL);
}
