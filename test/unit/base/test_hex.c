/* Hexadecimal text: strict both ways. */
#include "vectors.h"

#include "base/hex.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

static void test_encode_is_lower_case(void **state)
{
    char out[9];

    (void)state;
    hex_encode("\x00\xab\xCD\xff", 4, out);
    assert_string_equal(out, "00abcdff");
    hex_encode("", 0, out);
    assert_string_equal(out, "");
}

static void test_number_is_zero_padded_and_cut(void **state)
{
    static const struct {
        uint64_t v;
        unsigned digits;
        const char *text;
    } cases[] = {
        {0, 1, "0"},
        {0x8f67819e51, 10, "8f67819e51"},
        {1, 10, "0000000001"},
        {0x118f67819e51, 10, "8f67819e51"},
        {UINT64_MAX, 16, "ffffffffffffffff"},
        {0x0123456789abcdef, 16, "0123456789abcdef"},
    };

    (void)state;
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        char out[17];

        hex_from_u64(cases[i].v, cases[i].digits, out);
        assert_string_equal(out, cases[i].text);
    }
}

static void test_decode_is_strict(void **state)
{
    static const struct {
        const char *text;
        size_t len;
        int result;
    } cases[] = {
        {"00ff", 2, 0},       {"AbCd", 2, 0},
        {"", 0, 0},           {"0", 1, -EBADMSG},
        {"000", 1, -EBADMSG}, {"00ff", 1, -EBADMSG},
        {"0g", 1, -EBADMSG},  {" 0", 1, -EBADMSG},
        {"0x", 1, -EBADMSG},  {"0/", 1, -EBADMSG},
        {"0:", 1, -EBADMSG},  {"0@", 1, -EBADMSG},
        {"0`", 1, -EBADMSG},  {"\xff\xff", 1, -EBADMSG},
    };

    (void)state;
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        uint8_t out[4];

        assert_int_equal(hex_decode(cases[i].text, strlen(cases[i].text), out, cases[i].len),
                         cases[i].result);
    }
}

static void test_number_reading_is_strict(void **state)
{
    static const struct {
        const char *text;
        unsigned max;
        int result;
        uint64_t v;
    } cases[] = {
        {"0", 1, 0, 0},          {"ff", 16, 0, 255},       {"FFFFffffFFFFffff", 16, 0, UINT64_MAX},
        {"", 16, -EBADMSG, 0},   {"123", 2, -EBADMSG, 0},  {"11111111111111111", 20, -EBADMSG, 0},
        {"-1", 16, -EBADMSG, 0}, {"0x1", 16, -EBADMSG, 0}, {"1 ", 16, -EBADMSG, 0},
    };

    (void)state;
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        uint64_t v = 77;

        assert_int_equal(hex_to_u64(cases[i].text, strlen(cases[i].text), cases[i].max, &v),
                         cases[i].result);
        assert_true(v == (cases[i].result == 0 ? cases[i].v : 77));
    }
}

static void test_round_trip(void **state)
{
    struct test_rng rng = test_rng_init("hex");

    (void)state;
    for (unsigned i = 0; i < 1000; i++) {
        uint8_t bytes[32];
        uint8_t back[32];
        char text[65];
        size_t len = test_rng_below(&rng, sizeof(bytes) + 1);

        test_rng_fill(&rng, bytes, len);
        hex_encode(bytes, len, text);
        assert_int_equal(strlen(text), 2 * len);
        assert_int_equal(hex_decode(text, strlen(text), back, len), 0);
        assert_memory_equal(bytes, back, len);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_encode_is_lower_case),
        cmocka_unit_test(test_number_is_zero_padded_and_cut),
        cmocka_unit_test(test_decode_is_strict),
        cmocka_unit_test(test_number_reading_is_strict),
        cmocka_unit_test(test_round_trip),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
