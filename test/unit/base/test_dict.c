/* The key=value dictionary: golden vectors and a naive model. */
#include "vectors.h"

#include "base/dict.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static json_t *vectors;

static int load(void **state)
{
    (void)state;
    vectors = vectors_load("identity-crypto.json");
    return 0;
}

static int unload(void **state)
{
    (void)state;
    json_decref(vectors);
    return 0;
}

/* What [dictionary_encode] says was added, entry by entry. */
static void put_capacity(struct dict_writer *w, size_t total)
{
    char value[512];

    memset(value, 'x', sizeof(value));
    dict_put(w, "abc", value, total - 4);
}

static void put_named(struct dict_writer *w, size_t index)
{
    uint8_t all[256];

    for (size_t i = 0; i < sizeof(all); i++) {
        all[i] = (uint8_t)i;
    }
    switch (index) {
    case 0:
        dict_put_text(w, "name", "value");
        break;
    case 1:
        dict_put_text(w, "a", "1");
        dict_put_text(w, "b", "2");
        break;
    case 2:
        dict_put_text(w, "s", "");
        break;
    case 3:
        dict_put(w, "bin", "\0\r\n\\=", 5);
        break;
    case 4:
        dict_put(w, "all", all, sizeof(all));
        break;
    case 5:
        dict_put_bool(w, "t", true);
        dict_put_bool(w, "f", false);
        break;
    case 6:
        dict_put_u64(w, "u0", 0);
        dict_put_u64(w, "u1", 0x0123456789abcdef);
        dict_put_u64(w, "umax", UINT64_MAX);
        break;
    case 8:
        dict_put_u64(w, "id", 0x8056c2e21c);
        break;
    case 9:
        dict_put(w, "B", "\n\r=\\\0x", 6);
        break;
    case 11:
        put_capacity(w, 509);
        break;
    case 12:
        put_capacity(w, 512);
        break;
    case 13:
        put_capacity(w, 511);
        break;
    default:
        break;
    }
}

/* DI-1. Entries 7 (negative numbers) and 10 (duplicate key) are the exceptions of the chapter. */
static void test_encode_vectors(void **state)
{
    const json_t *cases = vec_get(vectors, "dictionary_encode");

    (void)state;
    assert_int_equal(json_array_size(cases), 14);
    for (size_t i = 0; i < json_array_size(cases); i++) {
        const json_t *c = json_array_get(cases, i);
        char text[512];
        struct dict_writer w = dict_writer_init(text, sizeof(text));
        size_t len;
        uint8_t *expected = vec_bytes(c, "text_hex", &len);

        if (i != 7 && i != 10) {
            put_named(&w, i);
            assert_int_equal(w.bad, !vec_bool(c, "ok"));
            assert_int_equal(w.len, len);
            assert_memory_equal(text, expected, len);
            assert_int_equal(text[w.len], '\0');
        }
        free(expected);
    }
}

static void test_negative_numbers_keep_their_sign(void **state)
{
    char text[128];
    struct dict_writer w = dict_writer_init(text, sizeof(text));
    struct dict d;

    (void)state;
    dict_put_i64(&w, "a", 5000);
    dict_put_i64(&w, "b", -256);
    dict_put_i64(&w, "c", INT64_MIN);
    assert_string_equal(text, "a=0000000000001388\nb=-0000000000000100\nc=-8000000000000000");
    d = dict_init(text, w.len);
    assert_true(dict_get_i64(d, "a", 0) == 5000);
    assert_true(dict_get_i64(d, "b", 0) == -256);
    assert_true(dict_get_i64(d, "c", 0) == INT64_MIN);
}

static void test_address_of_ten_digits(void **state)
{
    char text[64];
    struct dict_writer w = dict_writer_init(text, sizeof(text));

    (void)state;
    dict_put_addr10(&w, "id", 0x056c2e21c);
    assert_string_equal(text, "id=0056c2e21c");
}

/* DI-2, DI-5 */
static void test_get_vectors(void **state)
{
    const json_t *cases = vec_get(vectors, "dictionary_get");

    (void)state;
    for (size_t i = 0; i < json_array_size(cases); i++) {
        const json_t *c = json_array_get(cases, i);
        const char *key = vec_text(c, "key");
        size_t text_len;
        size_t expected_len;
        uint8_t *text = vec_bytes(c, "text_hex", &text_len);
        uint8_t *expected = vec_bytes(c, "value_hex", &expected_len);
        struct dict d = dict_init(text, text_len);
        uint8_t value[64];
        size_t len = 99;
        int err = dict_get(d, key, value, sizeof(value), &len);

        if (vec_bool(c, "found")) {
            assert_int_equal(err, 0);
            assert_int_equal(len, expected_len);
            assert_memory_equal(value, expected, len);
            assert_int_equal(dict_value_len(d, key, &len), 0);
            assert_int_equal(len, expected_len);
        } else {
            assert_int_equal(err, -ENOENT);
            assert_int_equal(dict_value_len(d, key, &len), -ENOENT);
        }
        assert_int_equal(dict_has(d, key), vec_bool(c, "found"));
        assert_int_equal(dict_get_bool(d, key, false), vec_bool(c, "getB_default_false"));
        assert_int_equal(dict_get_bool(d, key, true), vec_bool(c, "getB_default_true"));
        assert_true(dict_get_u64(d, key, 0x99) == vec_hex_u64(c, "getUI_default_99_hex"));
        assert_true(dict_get_i64(d, key, 0x99) == vec_int(c, "getI_default_99"));
        free(text);
        free(expected);
    }
}

/* [dictionary_truncation]: the reference cuts the value, we report an error instead. */
static void test_value_too_long_for_buffer(void **state)
{
    const json_t *cases = vec_get(vectors, "dictionary_truncation");

    (void)state;
    for (size_t i = 0; i < json_array_size(cases); i++) {
        const json_t *c = json_array_get(cases, i);
        const char *text = vec_text(c, "text");
        size_t cap = (size_t)vec_int(c, "dest_size");
        uint8_t *out = exact_copy(text, cap);
        size_t len = 99;

        assert_int_equal(dict_get(dict_init(text, strlen(text)), "k", out, cap, &len), -EMSGSIZE);
        assert_int_equal(len, 99);
        free(out);
    }
}

static void test_value_that_just_fits(void **state)
{
    char out[4];
    size_t len;

    (void)state;
    assert_int_equal(dict_get(dict_init("k=abcd", 6), "k", out, 4, &len), 0); /* no room for NUL */
    assert_memory_equal(out, "abcd", 4);
    assert_int_equal(dict_get(dict_init("k=abc", 5), "k", out, 4, &len), 0);
    assert_string_equal(out, "abc");
}

static void test_number_scan(void **state)
{
    static const struct {
        const char *value;
        uint64_t u;
        int64_t i;
    } cases[] = {
        {"-1", UINT64_MAX, -1},
        {"-ffffffffffffffff", 1, INT64_MIN},
        {"-1ffffffffffffffff", UINT64_MAX, INT64_MIN},
        {"ffffffffffffffff", UINT64_MAX, INT64_MAX},
        {"10000000000000000", UINT64_MAX, INT64_MAX},
        {"8000000000000000", 0x8000000000000000, INT64_MAX},
        {"-8000000000000000", 0x8000000000000000, INT64_MIN},
        {"+af", 0xaf, 0xaf},
        {" \t\v\f 7", 7, 7},
        {"0X1F", 0x1f, 0x1f},
        {"0x", 0, 0},
        {"0xg", 0, 0},
        {"-", 0, 0},
        {"--1", 0, 0},
        {" - 1", 0, 0},
        {"x", 0, 0},
        {"0000000000000000000000000000000000000000000000000000000000000000000000000000000000000012",
         0x12, 0x12},
    };

    (void)state;
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        char text[128];
        int len = snprintf(text, sizeof(text), "k=%s", cases[i].value);
        struct dict d = dict_init(text, (size_t)len);

        assert_true(dict_get_u64(d, "k", 99) == cases[i].u);
        assert_true(dict_get_i64(d, "k", 99) == cases[i].i);
    }
}

/* DI-4 */
static void test_entry_that_does_not_fit_changes_nothing(void **state)
{
    char text[12];
    struct dict_writer w = dict_writer_init(text, sizeof(text));

    (void)state;
    assert_int_equal(dict_put_text(&w, "a", "1234"), 0);
    assert_int_equal(dict_put_text(&w, "b", "12345"), -ENOSPC); /* 13 with LF and NUL */
    assert_true(w.bad);
    assert_string_equal(text, "a=1234");
    assert_int_equal(w.len, 6);
    assert_int_equal(dict_put_text(&w, "b", "12"), 0);
    assert_string_equal(text, "a=1234\nb=12");
    assert_int_equal(dict_put(&w, "c", NULL, 0), -ENOSPC);
}

static void test_bad_and_duplicate_keys_are_refused(void **state)
{
    static const char *const bad[] = {"", "a=b", "a\n", "\rb", "="};
    char text[64];
    struct dict_writer w = dict_writer_init(text, sizeof(text));

    (void)state;
    for (size_t i = 0; i < COUNT_OF(bad); i++) {
        assert_int_equal(dict_put_text(&w, bad[i], "x"), -EINVAL);
    }
    assert_int_equal(dict_put_text(&w, "k", "1"), 0);
    assert_int_equal(dict_put_text(&w, "k", "2"), -EEXIST);
    assert_int_equal(dict_put_text(&w, "kk", "2"), 0);
    assert_string_equal(text, "k=1\nkk=2");
}

/* DI-3 and order independence: random dictionaries read back as the array they were made from. */
static void test_random_entries_round_trip(void **state)
{
    enum { KEYS = 20, VALUE_MAX = 40 };
    struct test_rng rng = test_rng_init("dict");

    (void)state;
    for (unsigned round = 0; round < 500; round++) {
        char text[1024];
        size_t cap = 1 + test_rng_below(&rng, sizeof(text));
        struct dict_writer w = dict_writer_init(text, cap);
        uint8_t values[KEYS][VALUE_MAX];
        size_t lens[KEYS];
        bool there[KEYS] = {false};
        uint8_t *copy;
        struct dict d;

        for (unsigned step = 0; step < 30; step++) {
            size_t k = test_rng_below(&rng, KEYS);
            size_t len = test_rng_below(&rng, VALUE_MAX + 1);
            uint8_t value[VALUE_MAX];
            char key[8];
            int err;

            snprintf(key, sizeof(key), "k%zu", k);
            test_rng_fill(&rng, value, len);
            err = dict_put(&w, key, value, len);
            assert_true(err == (there[k] ? -EEXIST : err));
            assert_true(err == 0 || err == -EEXIST || err == -ENOSPC);
            if (err == 0) {
                there[k] = true;
                lens[k] = len;
                memcpy(values[k], value, len);
            }
            assert_true(w.len < cap);
        }
        copy = exact_copy(text, w.len);
        d = dict_init(copy, w.len);
        for (size_t k = 0; k < KEYS; k++) {
            uint8_t out[VALUE_MAX];
            size_t len;
            char key[8];

            snprintf(key, sizeof(key), "k%zu", k);
            assert_int_equal(dict_get(d, key, out, sizeof(out), &len), there[k] ? 0 : -ENOENT);
            if (there[k]) {
                assert_int_equal(len, lens[k]);
                assert_memory_equal(out, values[k], len);
            }
        }
        free(copy);
    }
}

/* Random bytes never lead out of bounds (run under a sanitizer). */
static void test_random_text_is_harmless(void **state)
{
    static const char alphabet[] = "ab=\\\n\r0rne\0x";
    struct test_rng rng = test_rng_init("dict text");

    (void)state;
    for (unsigned round = 0; round < 20000; round++) {
        size_t len = test_rng_below(&rng, 24);
        uint8_t *text = exact_copy("........................", len);
        struct dict d;
        char out[8];
        size_t n;
        size_t value_len;

        for (size_t i = 0; i < len; i++) {
            text[i] = (uint8_t)alphabet[test_rng_below(&rng, sizeof(alphabet))];
        }
        d = dict_init(text, len);
        if (dict_value_len(d, "a", &value_len) == 0) {
            int err = dict_get(d, "a", out, sizeof(out), &n);

            assert_int_equal(err, value_len > sizeof(out) ? -EMSGSIZE : 0);
        }
        (void)dict_get_u64(d, "ab", 0);
        free(text);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_encode_vectors),
        cmocka_unit_test(test_negative_numbers_keep_their_sign),
        cmocka_unit_test(test_address_of_ten_digits),
        cmocka_unit_test(test_get_vectors),
        cmocka_unit_test(test_value_too_long_for_buffer),
        cmocka_unit_test(test_value_that_just_fits),
        cmocka_unit_test(test_number_scan),
        cmocka_unit_test(test_entry_that_does_not_fit_changes_nothing),
        cmocka_unit_test(test_bad_and_duplicate_keys_are_refused),
        cmocka_unit_test(test_random_entries_round_trip),
        cmocka_unit_test(test_random_text_is_harmless),
    };

    return cmocka_run_group_tests(tests, load, unload);
}
