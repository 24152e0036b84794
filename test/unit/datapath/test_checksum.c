/* Internet checksums of every kernel against a loop. */
#include "segments.h"

#include "base/cursor.h"
#include "crypto/cpu.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* All lengths and alignments, blocks that end where memory does. */
static void check_kernel(checksum_fn *sum, struct test_rng *rng)
{
    uint8_t *block = malloc(3000);

    assert_non_null(block);
    test_rng_fill(rng, block, 3000);
    for (size_t len = 0; len <= 3000; len += 1 + (len > 600) * test_rng_below(rng, 40)) {
        const uint8_t *at = block + 3000 - len;
        assert_int_equal(checksum_fold(sum(at, len)), naive_sum(at, len, 0));
        assert_true(sum(at, len) <= 0xffff);
    }
    free(block);
}

static void test_kernels_agree_with_loop(void **state)
{
    struct test_rng rng = test_rng_init("checksum");
    unsigned features = cpu_features();
    unsigned met = 0;

    (void)state;
    for (size_t i = 0; checksum_kernels[i].name != NULL; i++) {
        if ((checksum_kernels[i].needs & ~features) == 0) {
            check_kernel(checksum_kernels[i].sum, &rng);
            met++;
        }
    }
    assert_true(met > 0);
    assert_ptr_equal(checksum_pick(0), checksum_portable);
    check_kernel(checksum_pick(features), &rng);
}

/* Values that carry as often as can be, in the longest blocks. */
static void test_no_overflow(void **state)
{
    enum { LEN = 300000 };
    uint8_t *block = malloc(LEN);

    (void)state;
    assert_non_null(block);
    memset(block, 0xff, LEN);
    for (size_t i = 0; checksum_kernels[i].name != NULL; i++) {
        if ((checksum_kernels[i].needs & ~cpu_features()) == 0) {
            assert_int_equal(checksum_kernels[i].sum(block, LEN), 0xffff);
            assert_int_equal(checksum_kernels[i].sum(block, LEN - 1), naive_sum(block, LEN - 1, 0));
        }
    }
    assert_int_equal(checksum_fold(UINT64_MAX), 0xffff);
    assert_int_equal(checksum_fold(0), 0);
    assert_int_equal(checksum_fold(0x10000), 1);
    free(block);
}

/* The example of RFC 1071 section 3, and a pseudo-header. */
static void test_known_values(void **state)
{
    static const uint8_t rfc[] = {0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7};
    uint8_t ip[20] = {0x45};

    (void)state;
    assert_int_equal(checksum_portable(rfc, sizeof(rfc)), 0xddf2);
    be32_put(ip + 12, 0x0a000001);
    be32_put(ip + 16, 0x0a000002);
    assert_int_equal(checksum_fold(checksum_pseudo(ip, 17, 100)), 0x0a00 + 0x0a00 + 3 + 17 + 100);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_kernels_agree_with_loop),
        cmocka_unit_test(test_no_overflow),
        cmocka_unit_test(test_known_values),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
