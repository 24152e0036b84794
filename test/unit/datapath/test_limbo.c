/* Retired objects: released in order, only up to the number that was said, none twice. Source: data
 * path contract section 1 "Reclaim". */
#include "vectors.h"

#include "base/attr.h"
#include "datapath/limbo.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

enum { OBJECTS = 500 };

struct object {
    struct retired retired;
    unsigned released; /* times */
};

static struct limbo limbo;
static struct object objects[OBJECTS];
static size_t order[OBJECTS]; /* of release, by index */
static size_t order_count;

static void release(struct retired *r)
{
    struct object *o = CONTAINER_OF(r, struct object, retired);

    o->released++;
    order[order_count++] = (size_t)(o - objects);
}

/* Releasing one may retire another: a port takes its table along. */
static void release_and_retire(struct retired *r)
{
    struct object *o = CONTAINER_OF(r, struct object, retired);

    release(r);
    limbo_retire(&limbo, &o[1].retired, release);
}

static int set_up(void **state)
{
    (void)state;
    limbo_init(&limbo);
    order_count = 0;
    for (size_t i = 0; i < OBJECTS; i++) {
        objects[i] = (struct object){0};
    }
    return 0;
}

static void test_nothing_is_released_early(void **state)
{
    (void)state;
    assert_int_equal(limbo.number, 0);
    limbo_reclaim(&limbo, UINT64_MAX); /* of nothing */
    for (size_t i = 0; i < 3; i++) {
        limbo_retire(&limbo, &objects[i].retired, release);
    }
    assert_int_equal(limbo.number, 3);
    limbo_reclaim(&limbo, 0);
    assert_int_equal(order_count, 0);
    limbo_reclaim(&limbo, 2);
    assert_int_equal(order_count, 2);
    assert_int_equal(limbo.count, 1);
    assert_int_equal(objects[2].released, 0);
    limbo_reclaim(&limbo, 2); /* said again */
    limbo_reclaim(&limbo, 1); /* said late */
    assert_int_equal(order_count, 2);
    limbo_reclaim(&limbo, 3);
    assert_int_equal(order_count, 3);
    assert_int_equal(limbo.count, 0);
    assert_null(limbo.first);
    assert_null(limbo.last);
}

static void test_release_may_retire(void **state)
{
    (void)state;
    limbo_retire(&limbo, &objects[0].retired, release_and_retire);
    limbo_reclaim(&limbo, 1);
    assert_int_equal(order_count, 1);
    assert_int_equal(limbo.count, 1);
    assert_int_equal(limbo.number, 2);
    limbo_reclaim(&limbo, 2);
    assert_int_equal(order_count, 2);
    assert_int_equal(limbo.count, 0);
}

/* Against the plain rule: number n is released as soon as n or more was said. */
static void test_random_order(void **state)
{
    struct test_rng rng = test_rng_init("limbo");
    uint64_t said = 0;
    size_t retired = 0;

    (void)state;
    while (retired < OBJECTS || said < OBJECTS) {
        if (retired < OBJECTS && test_rng_below(&rng, 2) == 0) {
            limbo_retire(&limbo, &objects[retired++].retired, release);
        } else {
            uint64_t number = test_rng_below(&rng, retired + 1);

            said = number > said ? number : said;
            limbo_reclaim(&limbo, number);
            if (retired == OBJECTS) {
                limbo_reclaim(&limbo, said = OBJECTS);
            }
        }
        assert_int_equal(order_count, said);
        assert_int_equal(limbo.count, retired - said);
    }
    for (size_t i = 0; i < OBJECTS; i++) {
        assert_int_equal(order[i], i);
        assert_int_equal(objects[i].released, 1);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_nothing_is_released_early, set_up),
        cmocka_unit_test_setup(test_release_may_retire, set_up),
        cmocka_unit_test_setup(test_random_order, set_up),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
