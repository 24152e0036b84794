/* Identity codecs. Checklist: ID-1, ID-2, ID-7 (parse part), ID-8, ID-9, ID-10. */
#include "vectors.h"

#include "base/hex.h"
#include "wire/identity.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
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

/* Parse from a heap block without terminator, so that reading past the end is found. */
static int parse(const char *text, struct identity *ret)
{
    size_t len = strlen(text);
    uint8_t *copy = exact_copy(text, len);
    int err = identity_parse((const char *)copy, len, ret);

    free(copy);
    return err;
}

/* ID-1 */
static void test_address_text(void **state)
{
    static const char *const bad[] = {"",           "8f67819e5",  "8f67819e511",
                                      "0x67819e51", " f67819e51", "8f67819e5 ",
                                      "8f67819e5g", "-f67819e51", "8f67819e5\n"};
    char text[ADDRESS_TEXT_LEN];
    uint64_t v = 7;

    (void)state;
    address_print(0x0000000abc, text);
    assert_string_equal(text, "0000000abc");
    address_print(0xff8f67819e51, text);
    assert_string_equal(text, "8f67819e51");
    assert_int_equal(address_parse("8F67819e51", 10, &v), 0);
    assert_true(v == 0x8f67819e51);
    for (size_t i = 0; i < COUNT_OF(bad); i++) {
        assert_int_equal(address_parse(bad[i], strlen(bad[i]), &v), -EBADMSG);
        assert_true(v == 0x8f67819e51);
    }
}

/* ID-8 */
static void test_text_round_trip(void **state)
{
    const json_t *cases = vec_get(vectors, "identities");

    (void)state;
    for (size_t i = 0; i < json_array_size(cases); i++) {
        const json_t *c = json_array_get(cases, i);
        struct identity id;
        char text[IDENTITY_TEXT_LEN];

        assert_int_equal(parse(vec_text(c, "public"), &id), 0);
        assert_false(id.has_private);
        assert_true(id.address == vec_hex_u64(c, "address"));
        identity_print(&id, true, text);
        assert_string_equal(text, vec_text(c, "public"));
        assert_int_equal(strlen(text), 141);

        assert_int_equal(parse(vec_text(c, "secret"), &id), 0);
        assert_true(id.has_private);
        identity_print(&id, true, text);
        assert_string_equal(text, vec_text(c, "secret"));
        assert_int_equal(strlen(text), 270);
        identity_print(&id, false, text);
        assert_string_equal(text, vec_text(c, "public"));
    }
}

static void check_write(const struct identity *id, bool with_private, const json_t *c,
                        const char *key)
{
    uint8_t out[IDENTITY_WIRE_SECRET];
    struct wr w = wr_init(out, sizeof(out));
    size_t len;
    uint8_t *expected = vec_bytes(c, key, &len);

    identity_write(&w, id, with_private);
    assert_false(w.bad);
    assert_int_equal(wr_len(&w), len);
    assert_memory_equal(out, expected, len);
    free(expected);
}

/* ID-10, ID-11: the private half is written only on demand. */
static void test_binary_round_trip(void **state)
{
    const json_t *cases = vec_get(vectors, "identities");

    (void)state;
    for (size_t i = 0; i < json_array_size(cases); i++) {
        const json_t *c = json_array_get(cases, i);
        struct identity id;
        struct identity back;
        size_t len;
        uint8_t *bytes = vec_bytes(c, "binary_secret", &len);
        struct rd r = rd_init(bytes, len);

        assert_int_equal(parse(vec_text(c, "secret"), &id), 0);
        check_write(&id, true, c, "binary_secret");
        check_write(&id, false, c, "binary_public");
        assert_int_equal(identity_read(&r, &back), 0);
        assert_int_equal(rd_done(&r), 0);
        assert_true(back.has_private);
        assert_true(back.address == id.address);
        assert_memory_equal(back.pub, id.pub, sizeof(id.pub));
        assert_memory_equal(back.priv, id.priv, sizeof(id.priv));
        r = rd_init(bytes, len);
        assert_int_equal(identity_read_public(&r, &back), 0);
        assert_int_equal(rd_done(&r), 0);
        assert_false(back.has_private);
        for (size_t k = 0; k < sizeof(back.priv); k++) {
            assert_int_equal(back.priv[k], 0);
        }
        check_write(&back, true, c, "binary_public");
        free(bytes);
    }
}

/* ID-10 */
static void test_binary_cases(void **state)
{
    const json_t *cases = vec_get(vectors, "identity_binary_cases");

    (void)state;
    for (size_t i = 0; i < json_array_size(cases); i++) {
        const json_t *c = json_array_get(cases, i);
        size_t len;
        uint8_t *bytes = vec_bytes(c, "binary", &len);
        struct rd r = rd_init(bytes, len);
        struct identity id = {.address = 5};
        int err = identity_read(&r, &id);

        if (vec_bool(c, "reference_parses")) {
            assert_int_equal(err, 0);
            assert_int_equal(len - rd_left(&r), vec_int(c, "consumed"));
        } else {
            assert_int_equal(err, -EBADMSG);
            assert_true(r.bad);
            assert_true(id.address == 5);
        }
        free(bytes);
    }
}

static void test_truncated_binary_is_refused(void **state)
{
    const json_t *c = json_array_get(vec_get(vectors, "identities"), 0);
    size_t len;
    uint8_t *bytes = vec_bytes(c, "binary_secret", &len);

    (void)state;
    for (size_t cut = 0; cut < len; cut++) {
        uint8_t *part = exact_copy(bytes, cut);
        struct rd r = rd_init(part, cut);
        struct identity id;

        assert_int_equal(identity_read(&r, &id), -EBADMSG);
        assert_true(r.bad);
        free(part);
    }
    free(bytes);
}

/* Every private length but 0 and 64 is an error, also when the bytes are there. */
static void test_binary_private_lengths(void **state)
{
    uint8_t bytes[71 + 255] = {1, 2, 3, 4, 5, 0};

    (void)state;
    for (unsigned n = 0; n < 256; n++) {
        struct rd r = rd_init(bytes, sizeof(bytes));
        struct identity id;

        bytes[70] = (uint8_t)n;
        assert_int_equal(identity_read(&r, &id), n == 0 || n == 64 ? 0 : -EBADMSG);
    }
}

/* ID-9 and the strict reading of section 2.6. */
static void test_lenient_cases(void **state)
{
    const json_t *cases = vec_get(vectors, "identity_lenient_cases");
    const json_t *first = json_array_get(vec_get(vectors, "identities"), 0);
    unsigned accepted = 0;

    (void)state;
    for (size_t i = 0; i < json_array_size(cases); i++) {
        const json_t *c = json_array_get(cases, i);
        bool accept = strncmp(vec_text(c, "advice"), "accept", 6) == 0 &&
                      strstr(vec_text(c, "advice"), "refuse") == NULL;
        struct identity id;
        char text[IDENTITY_TEXT_LEN];

        assert_int_equal(parse(vec_text(c, "string"), &id), accept ? 0 : -EBADMSG);
        if (accept) {
            identity_print(&id, true, text);
            assert_string_equal(text, vec_text(first, id.has_private ? "secret" : "public"));
            accepted++;
        }
    }
    assert_int_equal(accepted, 3);
}

/* ID-7, ID-2: those that fail at parsing; the others are refused by identity_validate and
 * identity_check_private. */
static void test_invalid_texts(void **state)
{
    static const char *const left_to_validation[] = {"address does not match", "bit changed",
                                                     "hashcash", "does not belong", "low-order"};
    const json_t *cases = vec_get(vectors, "invalid_identities");
    unsigned refused = 0;

    (void)state;
    for (size_t i = 0; i < json_array_size(cases); i++) {
        const json_t *c = json_array_get(cases, i);
        bool later = false;
        struct identity id;

        for (size_t k = 0; k < COUNT_OF(left_to_validation); k++) {
            later = later || strstr(vec_text(c, "why"), left_to_validation[k]) != NULL;
        }
        assert_int_equal(parse(vec_text(c, "string"), &id), later ? 0 : -EBADMSG);
        refused += !later;
    }
    assert_int_equal(refused, 13);
}

/* Every single character of a secret text replaced by one that does not belong there. */
static void test_each_character_matters(void **state)
{
    const json_t *c = json_array_get(vec_get(vectors, "identities"), 3);
    char text[IDENTITY_TEXT_LEN];
    struct identity id;

    (void)state;
    for (size_t i = 0; i < IDENTITY_TEXT_SECRET; i++) {
        strcpy(text, vec_text(c, "secret"));
        text[i] = text[i] == ':' ? ';' : 'g';
        assert_int_equal(parse(text, &id), -EBADMSG);
        text[i] = '\0';
        assert_int_equal(identity_parse(text, IDENTITY_TEXT_SECRET, &id), -EBADMSG);
    }
}

/* ID-2: 00... that is not zero is an address like any other. */
static void test_reserved_addresses(void **state)
{
    static const struct {
        const char *address;
        int result;
    } cases[] = {
        {"0000000000", -EBADMSG}, {"ff00000000", -EBADMSG}, {"ffffffffff", -EBADMSG},
        {"0000000001", 0},        {"00ffffffff", 0},        {"fe00000000", 0},
    };
    const json_t *c = json_array_get(vec_get(vectors, "identities"), 0);

    (void)state;
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        char text[IDENTITY_TEXT_LEN];
        struct identity id;

        strcpy(text, vec_text(c, "public"));
        memcpy(text, cases[i].address, 10);
        assert_int_equal(parse(text, &id), cases[i].result);
    }
}

static void test_trailing_blanks_and_length_limit(void **state)
{
    const json_t *c = json_array_get(vec_get(vectors, "identities"), 0);
    char text[IDENTITY_TEXT_TOO_LONG + 1];
    struct identity id;

    (void)state;
    memset(text, '\n', sizeof(text));
    memcpy(text, vec_text(c, "public"), IDENTITY_TEXT_PUBLIC);
    assert_int_equal(identity_parse(text, IDENTITY_TEXT_TOO_LONG - 1, &id), 0);
    assert_int_equal(identity_parse(text, IDENTITY_TEXT_TOO_LONG, &id), -EBADMSG);
    memcpy(text + IDENTITY_TEXT_PUBLIC, " \t\r\n", 4);
    assert_int_equal(identity_parse(text, IDENTITY_TEXT_PUBLIC + 4, &id), 0);
    text[IDENTITY_TEXT_PUBLIC + 1] = '\0';
    assert_int_equal(identity_parse(text, IDENTITY_TEXT_PUBLIC + 2, &id), -EBADMSG);
    assert_int_equal(identity_parse("   ", 3, &id), -EBADMSG);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_address_text),
        cmocka_unit_test(test_text_round_trip),
        cmocka_unit_test(test_binary_round_trip),
        cmocka_unit_test(test_binary_cases),
        cmocka_unit_test(test_truncated_binary_is_refused),
        cmocka_unit_test(test_binary_private_lengths),
        cmocka_unit_test(test_lenient_cases),
        cmocka_unit_test(test_invalid_texts),
        cmocka_unit_test(test_each_character_matters),
        cmocka_unit_test(test_reserved_addresses),
        cmocka_unit_test(test_trailing_blanks_and_length_limit),
    };

    return cmocka_run_group_tests(tests, load, unload);
}
