/* Signatures of login services against OpenSSL: good ones of each kind, bent ones, weak keys. */
#include "daemon/pubkey.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <openssl/core_names.h>
#include <openssl/ec.h>
#include <openssl/evp.h>
#include <openssl/rsa.h>
#include <sodium.h>
#include <string.h>

static const char text[] = "header.claims";

static size_t number(EVP_PKEY *pkey, const char *name, uint8_t *out, int len)
{
    BIGNUM *n = NULL;
    assert_int_equal(EVP_PKEY_get_bn_param(pkey, name, &n), 1);
    int size = len > 0 ? BN_bn2binpad(n, out, len) : BN_bn2bin(n, out);
    BN_free(n);
    assert_true(size > 0);
    return (size_t)size;
}

static size_t sign(EVP_PKEY *pkey, uint8_t *out, size_t cap)
{
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    size_t len = cap;
    assert_int_equal(EVP_DigestSignInit(ctx, NULL, EVP_sha256(), NULL, pkey), 1);
    assert_int_equal(EVP_DigestSign(ctx, out, &len, (const uint8_t *)text, sizeof(text)), 1);
    EVP_MD_CTX_free(ctx);
    return len;
}

/* The signature passes, and not with any byte changed. */
static void check(const struct jwt_key *key, uint8_t *signature, size_t len)
{
    assert_int_equal(pubkey_verify(NULL, key, text, sizeof(text), signature, len), 0);
    assert_int_equal(pubkey_verify(NULL, key, text, sizeof(text) - 1, signature, len), -EBADMSG);
    assert_int_equal(pubkey_verify(NULL, key, text, sizeof(text), signature, len - 1), -EBADMSG);
    assert_int_equal(pubkey_verify(NULL, key, text, sizeof(text), signature, 0), -EBADMSG);
    for (size_t i = 0; i < len; i += 7) {
        signature[i] ^= 1;
        assert_int_equal(pubkey_verify(NULL, key, text, sizeof(text), signature, len), -EBADMSG);
        signature[i] ^= 1;
    }
}

static void rsa_key(unsigned bits, struct jwt_key *key, uint8_t *signature, size_t *ret_len)
{
    EVP_PKEY *pkey = EVP_RSA_gen(bits);
    assert_non_null(pkey);
    *key = (struct jwt_key){.alg = JWT_RS256};
    key->a_len = number(pkey, OSSL_PKEY_PARAM_RSA_N, key->a, 0);
    key->b_len = number(pkey, OSSL_PKEY_PARAM_RSA_E, key->b, 0);
    *ret_len = sign(pkey, signature, JWT_SIGNATURE_MAX);
    EVP_PKEY_free(pkey);
}

static void test_rsa(void **state)
{
    static struct jwt_key key;
    uint8_t signature[JWT_SIGNATURE_MAX];
    size_t len = 0;
    (void)state;
    rsa_key(2048, &key, signature, &len);
    check(&key, signature, len);
    rsa_key(1024, &key, signature, &len);
    assert_int_equal(pubkey_verify(NULL, &key, text, sizeof(text), signature, len), -EBADMSG);
}

static void test_ecdsa(void **state)
{
    static struct jwt_key key;
    (void)state;
    for (int round = 0; round < 20; round++) { /* numbers with and without leading zeros */
        EVP_PKEY *pkey = EVP_EC_gen("P-256");
        uint8_t der[128];
        uint8_t bare[64];
        const uint8_t *at = der;
        assert_non_null(pkey);
        key = (struct jwt_key){.alg = JWT_ES256};
        key.a_len = number(pkey, OSSL_PKEY_PARAM_EC_PUB_X, key.a, 32);
        key.b_len = number(pkey, OSSL_PKEY_PARAM_EC_PUB_Y, key.b, 32);
        ECDSA_SIG *sig = d2i_ECDSA_SIG(NULL, &at, (long)sign(pkey, der, sizeof(der)));
        assert_non_null(sig);
        assert_int_equal(BN_bn2binpad(ECDSA_SIG_get0_r(sig), bare, 32), 32);
        assert_int_equal(BN_bn2binpad(ECDSA_SIG_get0_s(sig), bare + 32, 32), 32);
        check(&key, bare, sizeof(bare));
        ECDSA_SIG_free(sig);
        EVP_PKEY_free(pkey);
        memset(bare, 0, sizeof(bare));
        assert_int_equal(pubkey_verify(NULL, &key, text, sizeof(text), bare, sizeof(bare)),
                         -EBADMSG);
    }
}

static void test_eddsa(void **state)
{
    static struct jwt_key key;
    unsigned char sk[crypto_sign_SECRETKEYBYTES];
    unsigned char signature[crypto_sign_BYTES];
    (void)state;
    key = (struct jwt_key){.alg = JWT_EDDSA, .a_len = crypto_sign_PUBLICKEYBYTES};
    crypto_sign_keypair(key.a, sk);
    crypto_sign_detached(signature, NULL, (const unsigned char *)text, sizeof(text), sk);
    check(&key, signature, sizeof(signature));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rsa),
        cmocka_unit_test(test_ecdsa),
        cmocka_unit_test(test_eddsa),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
