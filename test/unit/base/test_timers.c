/* Timer heap against a plain array, with random operations. */
#include "vectors.h"

#include "base/timers.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

enum { TIMERS = 64, NOT_AGAIN = -1000000 };

struct item {
    struct timer timer;
    int64_t at_ms;       /* model: deadline */
    bool armed;          /* model */
    unsigned fired;      /* times fired in this run */
    int64_t rearm_after; /* arm again this much later (or earlier) */
    struct bench *bench;
};

struct bench {
    struct timers set;
    struct item items[TIMERS];
    int64_t last_ms; /* deadline of the timer fired before, to check the order */
};

static void on_fire(struct timer *timer, int64_t now_ms)
{
    struct item *item = CONTAINER_OF(timer, struct item, timer);
    struct bench *b = item->bench;

    assert_true(item->armed);
    assert_false(timer_is_armed(timer));
    assert_true(item->at_ms <= now_ms);
    assert_true(item->at_ms >= b->last_ms);
    b->last_ms = item->at_ms;
    item->armed = false;
    item->fired++;
    if (item->rearm_after != NOT_AGAIN) {
        int64_t at_ms = now_ms + item->rearm_after;

        assert_int_equal(timers_arm(&b->set, timer, at_ms), 0);
        item->at_ms = at_ms <= now_ms ? now_ms + 1 : at_ms;
        item->armed = true;
    }
}

static int64_t model_next(const struct bench *b)
{
    int64_t next = TIMERS_NEVER;

    for (size_t i = 0; i < TIMERS; i++) {
        if (b->items[i].armed && (next == TIMERS_NEVER || b->items[i].at_ms < next)) {
            next = b->items[i].at_ms;
        }
    }
    return next;
}

static struct bench *bench_new(void)
{
    struct bench *b = calloc(1, sizeof(*b));

    assert_non_null(b);
    timers_init(&b->set);
    for (size_t i = 0; i < TIMERS; i++) {
        b->items[i] = (struct item){.timer.fire = on_fire, .rearm_after = NOT_AGAIN, .bench = b};
    }
    return b;
}

static void run_and_check(struct bench *b, int64_t now_ms)
{
    bool due[TIMERS];

    for (size_t i = 0; i < TIMERS; i++) {
        b->items[i].fired = 0;
        due[i] = b->items[i].armed && b->items[i].at_ms <= now_ms;
    }
    b->last_ms = 0;
    timers_run(&b->set, now_ms);
    for (size_t i = 0; i < TIMERS; i++) {
        assert_int_equal(b->items[i].fired, due[i]);
    }
}

static void test_random_operations_match_model(void **state)
{
    struct test_rng rng = test_rng_init("timers");
    struct bench *b = bench_new();
    int64_t now_ms = 0;

    (void)state;
    for (unsigned step = 0; step < 50000; step++) {
        struct item *item = &b->items[test_rng_below(&rng, TIMERS)];

        switch (test_rng_below(&rng, 4)) {
        case 0:
        case 1:
            item->at_ms = now_ms + (int64_t)test_rng_below(&rng, 200);
            item->armed = true;
            item->rearm_after =
                test_rng_below(&rng, 3) == 0 ? (int64_t)test_rng_below(&rng, 50) - 10 : NOT_AGAIN;
            assert_int_equal(timers_arm(&b->set, &item->timer, item->at_ms), 0);
            break;
        case 2:
            timers_cancel(&b->set, &item->timer);
            item->armed = false;
            break;
        default:
            now_ms += (int64_t)test_rng_below(&rng, 20);
            run_and_check(b, now_ms);
            break;
        }
        assert_int_equal(timer_is_armed(&item->timer), item->armed);
        assert_int_equal(timers_next(&b->set), model_next(b));
    }
    timers_done(&b->set);
    for (size_t i = 0; i < TIMERS; i++) {
        assert_false(timer_is_armed(&b->items[i].timer));
    }
    free(b);
}

/* A timer re-armed for now by its own function fires a millisecond later, beside others. */
static void test_rearm_for_now_does_not_fire_twice(void **state)
{
    struct bench *b = bench_new();

    (void)state;
    for (size_t i = 0; i < 3; i++) {
        b->items[i].armed = true;
        b->items[i].at_ms = 10 + (int64_t)i;
        b->items[i].rearm_after = i == 0 ? 0 : NOT_AGAIN;
        assert_int_equal(timers_arm(&b->set, &b->items[i].timer, b->items[i].at_ms), 0);
    }
    run_and_check(b, 20);
    assert_int_equal(timers_next(&b->set), 21);
    run_and_check(b, 20);
    b->items[0].rearm_after = NOT_AGAIN;
    run_and_check(b, 21);
    assert_int_equal(timers_next(&b->set), TIMERS_NEVER);
    timers_done(&b->set);
    free(b);
}

/* The same for a time in the past, which would come before the others in the heap. */
static void test_rearm_for_past_does_not_starve_others(void **state)
{
    struct bench *b = bench_new();

    (void)state;
    for (size_t i = 0; i < 8; i++) {
        b->items[i].armed = true;
        b->items[i].at_ms = 10;
        b->items[i].rearm_after = i < 4 ? -7 : NOT_AGAIN;
        assert_int_equal(timers_arm(&b->set, &b->items[i].timer, 10), 0);
    }
    run_and_check(b, 10);
    timers_done(&b->set);
    free(b);
}

static struct item *victim;

static void cancel_victim(struct timer *timer, int64_t now_ms)
{
    struct item *item = CONTAINER_OF(timer, struct item, timer);

    (void)now_ms;
    item->fired++;
    timers_cancel(&item->bench->set, &victim->timer);
}

static void test_cancel_from_inside(void **state)
{
    struct bench *b = bench_new();

    (void)state;
    victim = &b->items[1];
    b->items[0].timer.fire = cancel_victim;
    assert_int_equal(timers_arm(&b->set, &b->items[0].timer, 5), 0);
    assert_int_equal(timers_arm(&b->set, &b->items[1].timer, 6), 0);
    timers_run(&b->set, 10);
    assert_int_equal(b->items[0].fired, 1);
    assert_int_equal(b->items[1].fired, 0);
    assert_int_equal(timers_next(&b->set), TIMERS_NEVER);
    timers_done(&b->set);
    free(b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_random_operations_match_model),
        cmocka_unit_test(test_rearm_for_now_does_not_fire_twice),
        cmocka_unit_test(test_rearm_for_past_does_not_starve_others),
        cmocka_unit_test(test_cancel_from_inside),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
