/* SHA-512, SHA-384, HMAC and key derivation against golden vectors and OpenSSL. Checklist: KA-4. */
#include "vectors.h"

#include "crypto/sha.h"

#include <openssl/evp.h>
#include <openssl/hmac.h>
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

/* Member `key` of an entry must be these bytes. */
static void expect(const json_t *entry, const char *key, const uint8_t *got, size_t len)
{
    size_t want_len;
    uint8_t *want = vec_bytes(entry, key, &want_len);

    assert_int_equal(want_len, len);
    assert_memory_equal(got, want, len);
    free(want);
}

static void test_sha_vectors(void **state)
{
    json_t *list = vec_get(vec_get(vectors, "primitives"), "sha");
    json_t *entry;
    size_t i;

    (void)state;
    json_array_foreach(list, i, entry)
    {
        uint8_t digest[SHA512_LEN];
        size_t len;
        uint8_t *msg = vec_bytes(entry, "msg", &len);

        sha512(msg, len, digest);
        expect(entry, "sha512", digest, SHA512_LEN);
        sha384(msg, len, digest);
        expect(entry, "sha384", digest, SHA384_LEN);
        free(msg);
    }
    assert_int_equal(i, 8);
}

static void test_hmac_vectors(void **state)
{
    json_t *list = vec_get(vec_get(vectors, "primitives"), "hmac_sha384");
    json_t *entry;
    size_t i;

    (void)state;
    json_array_foreach(list, i, entry)
    {
        uint8_t mac[SHA384_LEN];
        size_t key_len;
        size_t len;
        uint8_t *key = vec_bytes(entry, "key", &key_len);
        uint8_t *msg = vec_bytes(entry, "msg", &len);

        hmac_sha384(key, key_len, msg, len, mac);
        expect(entry, "hmac_sha384", mac, sizeof(mac));
        free(key);
        free(msg);
    }
    assert_int_equal(i, 4);
}

/* KA-4 */
static void test_kbkdf_vectors(void **state)
{
    json_t *list = vec_get(vec_get(vectors, "primitives"), "kbkdf_hmac_sha384");
    json_t *entry;
    size_t i;

    (void)state;
    json_array_foreach(list, i, entry)
    {
        char label = vec_text(entry, "label")[0];
        uint8_t context = (uint8_t)vec_int(entry, "context");
        uint32_t iter = (uint32_t)vec_int(entry, "iter");
        uint8_t message[KBKDF_MESSAGE_LEN];
        uint8_t out[SHA384_LEN];
        size_t key_len;
        uint8_t *key = vec_bytes(entry, "key", &key_len);

        assert_int_equal(key_len, KBKDF_KEY_LEN);
        kbkdf_message(label, context, iter, message);
        expect(entry, "hmac_message", message, sizeof(message));
        kbkdf(key, label, context, iter, out);
        expect(entry, "out48", out, sizeof(out));
        free(key);
    }
    assert_int_equal(i, 12);
}

static void test_random_lengths_agree_with_openssl(void **state)
{
    struct test_rng rng = test_rng_init("sha");

    (void)state;
    for (unsigned i = 0; i < 600; i++) {
        uint8_t msg[600];
        uint8_t key[200];
        size_t len = i < 300 ? i : test_rng_below(&rng, sizeof(msg));
        size_t key_len = test_rng_below(&rng, sizeof(key)) + 1;
        uint8_t want[EVP_MAX_MD_SIZE];
        uint8_t got[SHA512_LEN];

        test_rng_fill(&rng, msg, sizeof(msg));
        test_rng_fill(&rng, key, sizeof(key));
        assert_int_equal(EVP_Digest(msg, len, want, NULL, EVP_sha384(), NULL), 1);
        sha384(msg, len, got);
        assert_memory_equal(got, want, SHA384_LEN);
        assert_int_equal(EVP_Digest(msg, len, want, NULL, EVP_sha512(), NULL), 1);
        sha512(msg, len, got);
        assert_memory_equal(got, want, SHA512_LEN);
        assert_non_null(HMAC(EVP_sha384(), key, (int)key_len, msg, len, want, NULL));
        hmac_sha384(key, key_len, msg, len, got);
        assert_memory_equal(got, want, SHA384_LEN);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_sha_vectors),
        cmocka_unit_test(test_hmac_vectors),
        cmocka_unit_test(test_kbkdf_vectors),
        cmocka_unit_test(test_random_lengths_agree_with_openssl),
    };

    return cmocka_run_group_tests(tests, load, unload);
}
