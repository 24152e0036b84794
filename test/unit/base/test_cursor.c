/* Byte cursors: bounds, stickiness, big-endian order; against a plain array with random steps. */
#include "vectors.h"

#include "base/cursor.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static void test_read_integers_big_endian(void **state)
{
    static const uint8_t bytes[] = {1,  2,  3,  4,  5,  6,  7,  8,  9,  10, 11, 12,
                                    13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23};
    struct rd r = rd_init(bytes, sizeof(bytes));

    (void)state;
    assert_int_equal(rd_u8(&r), 1);
    assert_int_equal(rd_u16(&r), 0x0203);
    assert_int_equal(rd_u24(&r), 0x040506);
    assert_int_equal(rd_u32(&r), 0x0708090a);
    assert_true(rd_u40(&r) == 0x0b0c0d0e0f);
    assert_int_equal(rd_left(&r), 8);
    assert_int_equal(rd_done(&r), -EBADMSG);
    assert_true(rd_u64(&r) == 0x1011121314151617);
    assert_int_equal(rd_done(&r), 0);
    assert_false(r.bad);
}

static void test_read_past_end_is_sticky(void **state)
{
    static const uint8_t bytes[] = {1, 2, 3};
    struct rd r = rd_init(bytes, sizeof(bytes));
    uint8_t out[4] = {9, 9, 9, 9};

    (void)state;
    assert_int_equal(rd_u32(&r), 0);
    assert_true(r.bad);
    assert_int_equal(rd_left(&r), 0);
    assert_int_equal(rd_u8(&r), 0); /* one byte would fit, but the reader is bad */
    assert_null(rd_bytes(&r, 0));
    rd_copy(&r, out, sizeof(out));
    assert_int_equal(out[0] | out[1] | out[2] | out[3], 0);
    assert_int_equal(rd_done(&r), -EBADMSG);
}

static void test_read_huge_length_does_not_wrap(void **state)
{
    static const uint8_t bytes[] = {1, 2, 3};
    struct rd r = rd_init(bytes, sizeof(bytes));

    (void)state;
    rd_skip(&r, 1);
    assert_null(rd_bytes(&r, SIZE_MAX));
    assert_true(r.bad);
    r = rd_init(bytes, sizeof(bytes));
    rd_skip(&r, SIZE_MAX - 1);
    assert_true(r.bad);
}

static void test_read_empty(void **state)
{
    struct rd r = rd_init(NULL, 0);

    (void)state;
    assert_int_equal(rd_left(&r), 0);
    assert_non_null(rd_bytes(&r, 0));
    assert_int_equal(rd_done(&r), 0);
    assert_int_equal(rd_u8(&r), 0);
    assert_true(r.bad);
    r = rd_init(NULL, 4);
    assert_true(r.bad);
}

static void test_read_sub(void **state)
{
    static const uint8_t bytes[] = {1, 2, 3, 4};
    struct rd r = rd_init(bytes, sizeof(bytes));
    struct rd sub = rd_sub(&r, 2);

    (void)state;
    assert_int_equal(rd_u16(&sub), 0x0102);
    assert_int_equal(rd_done(&sub), 0);
    assert_int_equal(rd_u8(&sub), 0);
    assert_true(sub.bad);
    assert_false(r.bad); /* the parent is independent */
    assert_int_equal(rd_u8(&r), 3);
    sub = rd_sub(&r, 2);
    assert_true(sub.bad);
    assert_true(r.bad);
    sub = rd_sub(&r, 0);
    assert_true(sub.bad);
}

static void test_write_is_bounded_and_sticky(void **state)
{
    uint8_t buf[5];
    struct wr w = wr_init(buf, 4);

    (void)state;
    buf[4] = 0x77;
    wr_u24(&w, 0xaabbccdd);
    assert_int_equal(wr_left(&w), 1);
    wr_u16(&w, 0x1122);
    assert_true(w.bad);
    assert_int_equal(wr_left(&w), 0);
    wr_u8(&w, 1);
    assert_int_equal(wr_len(&w), 3);
    assert_memory_equal(buf, "\xbb\xcc\xdd", 3);
    assert_int_equal(buf[4], 0x77);
}

static void test_write_mark_and_patch(void **state)
{
    uint8_t buf[8];
    struct wr w = wr_init(buf, sizeof(buf));
    size_t mark;

    (void)state;
    wr_u8(&w, 9);
    mark = wr_mark(&w, 2);
    wr_u8(&w, 8);
    wr_patch_u16(&w, mark, 0xabcd);
    assert_int_equal(wr_len(&w), 4);
    assert_memory_equal(buf, "\x09\xab\xcd\x08", 4);
    wr_zero(&w, 9);
    assert_true(w.bad);
    wr_patch_u16(&w, mark, 0); /* ignored */
    assert_int_equal(buf[1], 0xab);
}

/* Random steps of both cursors over one buffer; the model is an index into it. */
static void test_random_steps_match_model(void **state)
{
    struct test_rng rng = test_rng_init("cursor");
    static const size_t sizes[] = {1, 2, 3, 4, 5, 8};

    (void)state;
    for (unsigned round = 0; round < 2000; round++) {
        size_t cap = test_rng_below(&rng, 40);
        uint8_t *buf = calloc(1, cap > 0 ? cap : 1);
        uint64_t values[64];
        size_t widths[64];
        size_t count = 0;
        size_t at = 0;
        struct wr w;
        struct rd r;

        assert_non_null(buf);
        w = wr_init(buf, cap);
        while (!w.bad && count < 64) {
            size_t width = sizes[test_rng_below(&rng, 6)];
            uint64_t v = test_rng_u64(&rng);

            switch (width) {
            case 1:
                wr_u8(&w, (uint8_t)v);
                break;
            case 2:
                wr_u16(&w, (uint16_t)v);
                break;
            case 3:
                wr_u24(&w, (uint32_t)v);
                break;
            case 4:
                wr_u32(&w, (uint32_t)v);
                break;
            case 5:
                wr_u40(&w, v);
                break;
            default:
                wr_u64(&w, v);
                break;
            }
            assert_int_equal(w.bad, at + width > cap);
            if (!w.bad) {
                values[count] = width == 8 ? v : v & ((UINT64_C(1) << 8 * width) - 1);
                widths[count++] = width;
                at += width;
            }
            assert_int_equal(wr_len(&w), at);
        }
        r = rd_init(buf, at);
        for (size_t i = 0; i < count; i++) {
            uint64_t v = widths[i] == 1   ? rd_u8(&r)
                         : widths[i] == 2 ? rd_u16(&r)
                         : widths[i] == 3 ? rd_u24(&r)
                         : widths[i] == 4 ? rd_u32(&r)
                         : widths[i] == 5 ? rd_u40(&r)
                                          : rd_u64(&r);

            assert_true(v == values[i]);
        }
        assert_int_equal(rd_done(&r), 0);
        free(buf);
    }
}

static void test_plain_big_endian_access(void **state)
{
    uint8_t p[8];

    (void)state;
    be16_put(p, 0xfedc);
    assert_int_equal(be16_get(p), 0xfedc);
    be32_put(p, 0xfedcba98);
    assert_int_equal(be32_get(p), 0xfedcba98);
    be40_put(p, 0xfedcba9876);
    assert_true(be40_get(p) == 0xfedcba9876);
    be64_put(p, 0xfedcba9876543210);
    assert_true(be64_get(p) == 0xfedcba9876543210);
    assert_memory_equal(p, "\xfe\xdc\xba\x98\x76\x54\x32\x10", 8);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_read_integers_big_endian),
        cmocka_unit_test(test_read_past_end_is_sticky),
        cmocka_unit_test(test_read_huge_length_does_not_wrap),
        cmocka_unit_test(test_read_empty),
        cmocka_unit_test(test_read_sub),
        cmocka_unit_test(test_write_is_bounded_and_sticky),
        cmocka_unit_test(test_write_mark_and_patch),
        cmocka_unit_test(test_random_steps_match_model),
        cmocka_unit_test(test_plain_big_endian_access),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
