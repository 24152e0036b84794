/* Token buckets against a counter that is refilled step by step. */
#include "vectors.h"

#include "base/bucket.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

static void test_burst_then_rate(void **state)
{
    int64_t at = INT64_MIN;

    (void)state;
    for (unsigned i = 0; i < 4; i++) {
        assert_true(bucket_take(&at, 4, 100, 1000));
    }
    assert_false(bucket_take(&at, 4, 100, 1000));
    assert_false(bucket_take(&at, 4, 100, 1099));
    assert_true(bucket_take(&at, 4, 100, 1100));
    assert_false(bucket_take(&at, 4, 100, 1100));
    assert_true(bucket_take(&at, 4, 100, 5000)); /* never more than the burst is saved up */
    assert_true(bucket_take(&at, 4, 100, 5000));
    assert_true(bucket_take(&at, 4, 100, 5000));
    assert_true(bucket_take(&at, 4, 100, 5000));
    assert_false(bucket_take(&at, 4, 100, 5000));
}

static void test_random_times_match_model(void **state)
{
    struct test_rng rng = test_rng_init("bucket");

    (void)state;
    for (unsigned round = 0; round < 100; round++) {
        unsigned burst = 1 + (unsigned)test_rng_below(&rng, 8);
        int64_t each = 1 + (int64_t)test_rng_below(&rng, 50);
        int64_t at = 0;
        int64_t now = 1;
        int64_t level = burst * each; /* what is left, in time */

        for (unsigned i = 0; i < 500; i++) {
            int64_t step = (int64_t)test_rng_below(&rng, 60);
            bool want;

            now += step;
            level = level + step < burst * each ? level + step : burst * each;
            want = level >= each;
            level -= want ? each : 0;
            assert_int_equal(bucket_take(&at, burst, each, now), want);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_burst_then_rate),
        cmocka_unit_test(test_random_times_match_model),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
