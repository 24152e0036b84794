/* Identities, agreement, signatures. Checklist: ID-2, ID-3, ID-5, ID-6, ID-7, ID-12, ID-13, ID-14,
 * ID-15, ID-16, KA-1, KA-2, KA-3, SG-1, SG-2, SG-3. */
#include "vectors.h"

#include "crypto/identity.h"
#include "crypto/sha.h"
#include "wire/identity.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { IDENTITIES = 24 };

static json_t *vectors;
static uint8_t *scratch;
static struct identity identities[IDENTITIES];

/* An identity from text that must be well formed. */
static struct identity parsed(const char *text)
{
    struct identity id = {0};

    assert_int_equal(identity_parse(text, strlen(text), &id), 0);
    return id;
}

static int load(void **state)
{
    json_t *list;

    (void)state;
    vectors = vectors_load("identity-crypto.json");
    scratch = aligned_alloc(64, ADDRESS_HASH_MEMORY);
    list = vec_get(vectors, "identities");
    for (size_t i = 0; i < IDENTITIES; i++) {
        identities[i] = parsed(vec_text(json_array_get(list, i), "secret"));
    }
    return 0;
}

static int unload(void **state)
{
    (void)state;
    json_decref(vectors);
    free(scratch);
    return 0;
}

static void draw(void *ctx, void *out, size_t len)
{
    test_rng_fill(ctx, out, len);
}

static void expect(const json_t *entry, const char *key, const uint8_t *got, size_t len)
{
    size_t want_len;
    uint8_t *want = vec_bytes(entry, key, &want_len);

    assert_int_equal(want_len, len);
    assert_memory_equal(got, want, len);
    free(want);
}

/* ID-3, ID-13 */
static void test_public_halves_derive_and_hashes_match(void **state)
{
    json_t *list = vec_get(vectors, "identities");

    (void)state;
    assert_int_equal(json_array_size(list), IDENTITIES);
    for (size_t i = 0; i < IDENTITIES; i++) {
        json_t *entry = json_array_get(list, i);
        struct identity id = identities[i];
        uint8_t hash[IDENTITY_HASH_LEN];

        assert_int_equal(identity_check_private(&id), 0);
        assert_int_equal(identity_validate(&id, scratch), 0);
        identity_hash(&id, hash);
        expect(entry, "public_key_hash_sha384", hash, sizeof(hash));
    }
}

/* ID-14 */
static void test_private_half_of_another_key_is_refused(void **state)
{
    (void)state;
    for (size_t at = 0; at < IDENTITY_PRIVATE_LEN; at++) {
        struct identity id = identities[0];

        /* Bits that clamping sets or clears do not matter. */
        id.priv[at] ^= 0x10;
        assert_int_equal(identity_check_private(&id), -EACCES);
    }
    for (size_t at = 0; at < IDENTITY_PUBLIC_LEN; at++) {
        struct identity id = identities[0];

        id.pub[at] ^= 1;
        assert_int_equal(identity_check_private(&id), -EACCES);
        id = identities[0];
        id.has_private = false;
        assert_int_equal(identity_check_private(&id), -EACCES);
    }
}

/* ID-2 */
static void test_reserved_addresses(void **state)
{
    struct identity id = identities[0];

    (void)state;
    assert_true(address_is_reserved(0));
    assert_true(address_is_reserved(0xff00000000));
    assert_true(address_is_reserved(0xffffffffff));
    assert_false(address_is_reserved(1));
    assert_false(address_is_reserved(0x00ffffffff));
    assert_false(address_is_reserved(0xfeffffffff));
    id.address = 0;
    assert_int_equal(identity_validate(&id, scratch), -EACCES);
    id.address = 0xff00000000 | (identities[0].address & 0xffffffff);
    assert_int_equal(identity_validate(&id, scratch), -EACCES);
}

/* ID-5, ID-6 */
static void test_known_identities_validate(void **state)
{
    static const char *const lists[] = {"root_identities", "default_planet_roots"};
    json_t *boundary = json_array_get(vec_get(vectors, "hashcash_boundary_valid"), 0);
    struct identity id = parsed(vec_text(boundary, "string"));

    (void)state;
    assert_int_equal(identity_validate(&id, scratch), 0);
    for (size_t l = 0; l < 2; l++) {
        json_t *list = vec_get(vectors, lists[l]);
        json_t *entry;
        size_t i;

        json_array_foreach(list, i, entry)
        {
            id = parsed(vec_text(entry, "public"));
            assert_int_equal(identity_validate(&id, scratch) == 0, vec_bool(entry, "valid"));
        }
        assert_int_equal(i, l == 0 ? 6 : 4);
    }
}

/* ID-5 (17), ID-7, ID-14, ID-16 */
static void test_invalid_identities_are_refused(void **state)
{
    json_t *list = vec_get(vectors, "invalid_identities");
    json_t *entry;
    size_t i;
    size_t validated = 0;

    (void)state;
    json_array_foreach(list, i, entry)
    {
        const char *text = vec_text(entry, "string");
        struct identity id;
        bool refused = identity_parse(text, strlen(text), &id) < 0;

        if (!refused) {
            validated++;
            refused = identity_validate(&id, scratch) < 0 ||
                      (id.has_private && identity_check_private(&id) < 0);
        }
        if (!refused) {
            fail_msg("accepted: %s", vec_text(entry, "why"));
        }
    }
    assert_int_equal(i, 21);
    assert_in_range(validated, 7, 21);
}

/* ID-16: all encodings of points of low order, in agreement and in validation. */
static void test_low_order_keys_are_refused(void **state)
{
    static const char *const points[] = {
        "0000000000000000000000000000000000000000000000000000000000000000",
        "0100000000000000000000000000000000000000000000000000000000000000",
        "e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800",
        "5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157",
        "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
        "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
        "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    };

    (void)state;
    for (size_t i = 0; i < sizeof(points) / sizeof(points[0]); i++) {
        struct identity id = identities[1];
        uint8_t key[SHARED_KEY_LEN];
        uint8_t untouched[SHARED_KEY_LEN];
        size_t len;
        uint8_t *point = hex_bytes(points[i], &len);

        memset(key, 0x77, sizeof(key));
        memcpy(untouched, key, sizeof(key));
        for (unsigned top = 0; top < 2; top++) {
            memcpy(id.pub, point, 32);
            id.pub[31] |= (uint8_t)(top << 7);
            assert_int_equal(identity_agree(&identities[0], &id, key), -EACCES);
            assert_memory_equal(key, untouched, sizeof(key));
            assert_int_equal(identity_validate(&id, scratch), -EACCES);
        }
        free(point);
    }
}

/* ID-12 */
static void test_equality_and_order(void **state)
{
    json_t *sorted = vec_get(vectors, "identities_sorted_indices");
    struct identity other = identities[3];

    (void)state;
    for (size_t i = 0; i < IDENTITIES; i++) {
        for (size_t j = 0; j < IDENTITIES; j++) {
            const struct identity *a = &identities[json_integer_value(json_array_get(sorted, i))];
            const struct identity *b = &identities[json_integer_value(json_array_get(sorted, j))];
            int order = identity_compare(a, b);

            assert_int_equal((order > 0) - (order < 0), (i > j) - (i < j));
            assert_int_equal(identity_equal(a, b), i == j);
        }
    }
    memset(other.priv, 0, sizeof(other.priv));
    other.has_private = false;
    assert_true(identity_equal(&other, &identities[3]));
    other.pub[63] ^= 1;
    assert_false(identity_equal(&other, &identities[3]));
    assert_int_equal(identity_compare(&other, &identities[3]) < 0,
                     other.pub[63] < identities[3].pub[63]);
    other = identities[3];
    other.address ^= 1;
    assert_false(identity_equal(&other, &identities[3]));
}

/* ID-15: generated, valid, loaded again from its text. */
static void test_generated_identity_is_valid(void **state)
{
    struct test_rng rng = test_rng_init("identity generation");
    struct identity id;
    struct identity again;
    char text[IDENTITY_TEXT_LEN];
    int r = -EAGAIN;

    (void)state;
    memset(&id, 0x11, sizeof(id));
    again = id;
    assert_int_equal(identity_generate(draw, &rng, scratch, 0, &id), -EAGAIN);
    assert_memory_equal(&id, &again, sizeof(id));
    for (unsigned i = 0; i < 200 && r == -EAGAIN; i++) {
        r = identity_generate(draw, &rng, scratch, 4, &id);
    }
    assert_int_equal(r, 0);
    assert_true(id.has_private);
    assert_int_equal(identity_validate(&id, scratch), 0);
    assert_int_equal(identity_check_private(&id), 0);
    identity_print(&id, true, text);
    again = parsed(text);
    assert_true(identity_equal(&id, &again));
    assert_memory_equal(id.priv, again.priv, sizeof(id.priv));
}

/* One side of an entry of agreements: an index or a public text. */
static struct identity party(const json_t *value)
{
    if (json_is_string(value)) {
        return parsed(json_string_value(value));
    }
    return identities[json_integer_value(value)];
}

/* KA-1, KA-3 */
static void test_agreements_in_both_directions(void **state)
{
    json_t *list = vec_get(vectors, "agreements");
    json_t *entry;
    size_t i;

    (void)state;
    json_array_foreach(list, i, entry)
    {
        struct identity mine = party(vec_get(entry, "mine"));
        struct identity theirs = party(vec_get(entry, "theirs"));
        uint8_t key[SHARED_KEY_LEN];
        uint8_t derived[SHA384_LEN];

        assert_int_equal(identity_agree(&mine, &theirs, key), 0);
        expect(entry, "key48", key, sizeof(key));
        kbkdf(key, '0', 0, 0, derived);
        expect(entry, "aes_k0_out48", derived, sizeof(derived));
        expect(entry, "aes_k0", derived, 32);
        kbkdf(key, '1', 0, 0, derived);
        expect(entry, "aes_k1_out48", derived, sizeof(derived));
        expect(entry, "aes_k1", derived, 32);
        if (theirs.has_private) {
            assert_int_equal(identity_agree(&theirs, &mine, key), 0);
            expect(entry, "key48", key, sizeof(key));
        }
    }
    assert_int_equal(i, 22);
}

/* KA-2, and no agreement without a private half. */
static void test_agreement_ignores_top_bit(void **state)
{
    struct identity theirs = identities[1];
    struct identity mine = identities[0];
    uint8_t want[SHARED_KEY_LEN];
    uint8_t key[SHARED_KEY_LEN];

    (void)state;
    assert_int_equal(identity_agree(&mine, &theirs, want), 0);
    theirs.pub[31] ^= 0x80;
    assert_int_equal(identity_agree(&mine, &theirs, key), 0);
    assert_memory_equal(key, want, sizeof(key));
    mine.has_private = false;
    assert_int_equal(identity_agree(&mine, &theirs, key), -EACCES);
}

/* SG-1 */
static void test_signatures_are_reproduced(void **state)
{
    json_t *list = vec_get(vectors, "signatures");
    json_t *entry;
    size_t i;

    (void)state;
    json_array_foreach(list, i, entry)
    {
        const struct identity *id = &identities[vec_int(entry, "identity")];
        uint8_t sig[SIGNATURE_LEN];
        size_t len;
        uint8_t *msg = vec_bytes(entry, "msg", &len);

        identity_sign(id, msg, len, sig);
        expect(entry, "signature96", sig, sizeof(sig));
        assert_int_equal(identity_verify(id, msg, len, sig, sizeof(sig)), 0);
        memset(sig, 0, sizeof(sig));
        key_sign(id->priv, id->pub, msg, len, sig);
        assert_int_equal(key_verify(id->pub, msg, len, sig, sizeof(sig)), 0);
        free(msg);
    }
    assert_int_equal(i, 28);
}

/* SG-2, SG-3 */
static void test_altered_signatures_fail(void **state)
{
    json_t *list = vec_get(vectors, "signature_negative");
    json_t *entry;
    size_t i;
    size_t good = 0;

    (void)state;
    json_array_foreach(list, i, entry)
    {
        const struct identity *id = &identities[vec_int(entry, "identity")];
        size_t msg_len;
        size_t sig_len;
        uint8_t *msg = vec_bytes(entry, "msg", &msg_len);
        uint8_t *sig = vec_bytes(entry, "signature", &sig_len);
        bool is_good = strcmp(vec_text(entry, "why"), "good") == 0;

        good += is_good;
        assert_int_equal(identity_verify(id, msg, msg_len, sig, sig_len), is_good ? 0 : -EACCES);
        free(msg);
        free(sig);
    }
    assert_int_equal(i, 10);
    assert_int_equal(good, 1);
}

/* SG-2: every bit of a signature matters. */
static void test_every_bit_of_a_signature_matters(void **state)
{
    static const char msg[] = "the message";
    uint8_t sig[SIGNATURE_LEN + 1] = {0};

    (void)state;
    identity_sign(&identities[2], msg, sizeof(msg), sig);
    assert_int_equal(identity_verify(&identities[2], msg, sizeof(msg), sig, SIGNATURE_LEN), 0);
    for (size_t len = 0; len <= sizeof(sig); len++) {
        int want = len == SIGNATURE_LEN ? 0 : -EACCES;
        uint8_t *copy = exact_copy(sig, len);

        assert_int_equal(identity_verify(&identities[2], msg, sizeof(msg), copy, len), want);
        free(copy);
    }
    for (size_t bit = 0; bit < SIGNATURE_LEN * 8; bit++) {
        sig[bit / 8] ^= (uint8_t)(1 << bit % 8);
        assert_int_equal(identity_verify(&identities[2], msg, sizeof(msg), sig, SIGNATURE_LEN),
                         -EACCES);
        sig[bit / 8] ^= (uint8_t)(1 << bit % 8);
    }
}

static void test_wipe_leaves_nothing(void **state)
{
    struct identity id = identities[0];
    const uint8_t *bytes = (const uint8_t *)&id;

    (void)state;
    identity_wipe(&id);
    for (size_t i = 0; i < sizeof(id); i++) {
        assert_int_equal(bytes[i], 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_public_halves_derive_and_hashes_match),
        cmocka_unit_test(test_private_half_of_another_key_is_refused),
        cmocka_unit_test(test_reserved_addresses),
        cmocka_unit_test(test_known_identities_validate),
        cmocka_unit_test(test_invalid_identities_are_refused),
        cmocka_unit_test(test_low_order_keys_are_refused),
        cmocka_unit_test(test_equality_and_order),
        cmocka_unit_test(test_generated_identity_is_valid),
        cmocka_unit_test(test_agreements_in_both_directions),
        cmocka_unit_test(test_agreement_ignores_top_bit),
        cmocka_unit_test(test_signatures_are_reproduced),
        cmocka_unit_test(test_altered_signatures_fail),
        cmocka_unit_test(test_every_bit_of_a_signature_matters),
        cmocka_unit_test(test_wipe_leaves_nothing),
    };

    return cmocka_run_group_tests(tests, load, unload);
}
