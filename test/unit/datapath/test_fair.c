/* Shares of pairs: a worker that does not keep up cuts those that send most, and nobody else.
 * Source: spec 02 Do better 22. */
#include "datapath/fair.h"

#include "base/attr.h"
#include "base/hmap.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

enum {
    LEN = 1400,
    QUEUE = 4000,  /* packets that a socket holds */
    BUDGET = 1000, /* work of a worker in a millisecond */
    TAKE_COST = 1, /* of receiving a packet, */
    SEND_COST = 4, /* and of forwarding it: about 200 packets a ms if nothing is dropped */
    BATCH = 64,
    PAIRS_MAX = 32,
};

/* A worker behind the queue of a socket. */
struct model {
    struct fair fair;
    uint8_t queue[QUEUE]; /* pairs, a ring */
    unsigned first;
    unsigned count;
    unsigned offered[PAIRS_MAX];
    unsigned forwarded[PAIRS_MAX];
    int64_t now_ms;
    int64_t behind_ms; /* the queue was not empty */
    bool is_fair;
};

static void arrive(struct model *m, unsigned pair, unsigned count)
{
    for (unsigned i = 0; i < count; i++) {
        m->offered[pair]++;
        if (m->count < QUEUE) {
            m->queue[(m->first + m->count++) % QUEUE] = (uint8_t)pair;
        }
    }
}

/* A millisecond of work. */
static void work(struct model *m)
{
    int left = BUDGET;

    while (left > 0 && m->count > 0) {
        for (unsigned i = 0; i < BATCH && m->count > 0 && left > 0; i++) {
            unsigned pair = m->queue[m->first];

            m->first = (m->first + 1) % QUEUE;
            m->count--;
            left -= TAKE_COST;
            if (!m->is_fair || fair_admit(&m->fair, hash_mix(pair, 77), LEN, m->now_ms)) {
                m->forwarded[pair]++;
                left -= SEND_COST;
            }
        }
    }
    m->behind_ms = m->count == 0 ? 0 : m->behind_ms + 1;
    fair_note(&m->fair, m->behind_ms >= FAIR_WINDOW_MS, m->now_ms);
    m->now_ms++;
}

/* Let pairs send so much in each millisecond: rates[i] packets of pair i. */
static void run(struct model *m, const unsigned *rates, unsigned pairs, unsigned ms)
{
    for (unsigned i = 0; i < PAIRS_MAX; i++) {
        m->offered[i] = m->forwarded[i] = 0;
    }
    for (unsigned t = 0; t < ms; t++) {
        for (unsigned burst = 0; burst < 10; burst++) { /* mixed */
            for (unsigned i = 0; i < pairs; i++) {
                arrive(m, i, rates[i] / 10 + (t % 10 < rates[i] % 10 && burst == t % 10));
            }
        }
        work(m);
    }
}

static struct model *model(bool is_fair)
{
    static struct model m;

    m = (struct model){.now_ms = 1000, .is_fair = is_fair};
    assert_int_equal(fair_init(&m.fair), 0);
    return &m;
}

/* Nobody is cut while the worker keeps up, however different they are. */
static void test_no_overload_no_shares(void **state)
{
    static const unsigned rates[] = {150, 10, 10, 10};
    struct model *m = model(true);

    (void)state;
    run(m, rates, 4, 3000);
    for (unsigned i = 0; i < 4; i++) {
        assert_in_range(m->forwarded[i], m->offered[i] - 20, m->offered[i]);
    }
    assert_int_equal(m->fair.rate, 0);
    fair_done(&m->fair);
}

/* One pair sends more than the worker can forward: the others lose nothing. */
static void test_heavy_pair_and_light_ones(void **state)
{
    static const unsigned rates[] = {600, 10, 10, 10};
    struct model *plain = model(false);

    (void)state;
    run(plain, rates, 4, 2000);
    assert_true(plain->forwarded[1] < plain->offered[1] / 2); /* what it would be like */
    fair_done(&plain->fair);

    struct model *m = model(true);

    run(m, rates, 4, 500); /* it takes a while to see it */
    run(m, rates, 4, 3000);
    for (unsigned i = 1; i < 4; i++) {
        assert_in_range(m->forwarded[i], m->offered[i] - 20, m->offered[i]);
    }
    /* And the worker is not idle: its budget is 0.6 of receiving and the rest of forwarding. */
    assert_true(m->forwarded[0] > 3000 * 30);
    fair_done(&m->fair);
}

/* Heavy pairs get the same, whatever they send. */
static void test_heavy_pairs_share(void **state)
{
    static const unsigned rates[] = {250, 120, 120, 5};
    struct model *m = model(true);

    (void)state;
    run(m, rates, 4, 1000);
    run(m, rates, 4, 4000);
    assert_in_range(m->forwarded[3], m->offered[3] - 10, m->offered[3]);
    assert_true(m->forwarded[0] < m->forwarded[1] * 5 / 4);
    assert_true(m->forwarded[1] < m->forwarded[2] * 5 / 4);
    assert_true(m->forwarded[2] < m->forwarded[1] * 5 / 4);
    fair_done(&m->fair);
}

/* The end of the overload is the end of the shares. */
static void test_overload_ends(void **state)
{
    static const unsigned flood[] = {600, 10, 10, 10};
    static const unsigned calm[] = {100, 10, 10, 10};
    struct model *m = model(true);

    (void)state;
    run(m, flood, 4, 1000);
    assert_int_not_equal(m->fair.rate, 0);
    run(m, calm, 4, 2000);
    assert_int_equal(m->fair.rate, 0);
    run(m, calm, 4, 1000);
    assert_in_range(m->forwarded[0], m->offered[0] - 200, m->offered[0]);
    fair_done(&m->fair);
}

/* Both directions of one pair have nobody to share with. */
static void test_a_pair_alone(void **state)
{
    static const unsigned rates[] = {600, 10};
    struct model *m = model(true);

    (void)state;
    run(m, rates, 2, 1000);
    assert_int_equal(m->fair.rate, 0);
    fair_done(&m->fair);
}

/* The setting holds also without overload, for each pair apart; a burst passes. */
static void test_limit_of_a_pair(void **state)
{
    struct model *m = model(true);
    uint64_t bytes[2] = {0};

    (void)state;
    fair_set_limit(&m->fair, 1000000);
    for (unsigned ms = 0; ms < 5000; ms++, m->now_ms++) {
        for (unsigned i = 0; i < 4; i++) {
            bytes[0] += fair_admit(&m->fair, hash_mix(1, 5), LEN, m->now_ms) ? LEN : 0;
        }
        if (ms % 10 == 0) {
            bytes[1] += fair_admit(&m->fair, hash_mix(2, 5), LEN, m->now_ms) ? LEN : 0;
        }
    }
    assert_in_range(bytes[0], 5000000 - LEN, 5100000 + LEN);
    assert_int_equal(bytes[1], 500 * LEN);
    fair_set_limit(&m->fair, 0);
    assert_true(fair_admit(&m->fair, hash_mix(1, 5), LEN, m->now_ms));
    fair_done(&m->fair);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_no_overload_no_shares),
        cmocka_unit_test(test_heavy_pair_and_light_ones),
        cmocka_unit_test(test_heavy_pairs_share),
        cmocka_unit_test(test_overload_ends),
        cmocka_unit_test(test_a_pair_alone),
        cmocka_unit_test(test_limit_of_a_pair),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
