/* Salsa20 kernels, offsets, and Salsa20/12-Poly1305, against golden vectors and libsodium. */
#include "vectors.h"

#include "crypto/cpu.h"
#include "crypto/salsa.h"
#include "crypto/salsa_poly.h"

#include <errno.h>
#include <setjmp.h>
#include <sodium.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { STREAM_MAX = 4096 };

static json_t *vectors;

static int load(void **state)
{
    (void)state;
    vectors = vectors_load("identity-crypto.json");
    return sodium_init() < 0 ? -1 : 0;
}

static int unload(void **state)
{
    (void)state;
    json_decref(vectors);
    return 0;
}

/* The kernels this machine can run, one after the other; NULL at the end. */
static const struct salsa_kernel *kernel_next(size_t *at)
{
    while (salsa_kernels[*at] != NULL) {
        const struct salsa_kernel *kernel = salsa_kernels[(*at)++];

        if ((kernel->needs & ~cpu_features()) == 0) {
            return kernel;
        }
    }
    return NULL;
}

static void test_keystream_vectors(void **state)
{
    json_t *list = vec_get(vec_get(vectors, "primitives"), "salsa20");
    const struct salsa_kernel *kernel;
    json_t *entry;
    size_t i;

    (void)state;
    json_array_foreach(list, i, entry)
    {
        size_t len;
        uint8_t *key = vec_bytes(entry, "key", &len);
        uint8_t *nonce = vec_bytes(entry, "nonce", &len);
        uint8_t *want = vec_bytes(entry, "keystream_256", &len);
        uint8_t *got = malloc(len);

        for (size_t at = 0; (kernel = kernel_next(&at)) != NULL;) {
            struct salsa s;

            salsa_init(&s, kernel, (unsigned)vec_int(entry, "rounds"), key, nonce);
            memset(got, 0, len);
            salsa_xor(&s, 0, NULL, got, len);
            assert_memory_equal(got, want, len);
            salsa_done(&s);
        }
        free(key);
        free(nonce);
        free(want);
        free(got);
    }
    assert_int_equal(i, 2);
}

/* Every kernel, every start byte up to 200 and every length up to 200, then random ones. */
static void test_any_range_equals_libsodium(void **state)
{
    struct test_rng rng = test_rng_init("salsa ranges");
    const struct salsa_kernel *kernel;
    uint8_t key[SALSA_KEY_LEN];
    uint8_t nonce[SALSA_NONCE_LEN];
    uint8_t stream[STREAM_MAX];

    (void)state;
    test_rng_fill(&rng, key, sizeof(key));
    test_rng_fill(&rng, nonce, sizeof(nonce));
    crypto_stream_salsa2012(stream, sizeof(stream), nonce, key);
    for (size_t at = 0; (kernel = kernel_next(&at)) != NULL;) {
        struct salsa s;

        salsa_init(&s, kernel, SALSA_ROUNDS_PACKET, key, nonce);
        for (unsigned i = 0; i < 201 * 201 + 2000; i++) {
            size_t offset = i / 201;
            size_t len = i % 201;
            uint8_t *text;

            if (i >= 201 * 201) {
                offset = test_rng_below(&rng, STREAM_MAX);
                len = test_rng_below(&rng, STREAM_MAX - offset + 1);
            }
            text = malloc(len + 1);
            text[len] = 0x5a;
            salsa_xor(&s, offset, NULL, text, len);
            assert_memory_equal(text, stream + offset, len);
            memset(text, 0xff, len);
            salsa_xor(&s, offset, text, text, len);
            for (size_t j = 0; j < len; j++) {
                text[j] = (uint8_t)~text[j];
            }
            assert_memory_equal(text, stream + offset, len);
            assert_int_equal(text[len], 0x5a);
            free(text);
        }
    }
}

/* Counters above 32 bits, and the carry inside a group of blocks. */
static void test_wide_counter_equals_libsodium(void **state)
{
    static const uint64_t counters[] = {0,          0xfffffff0,  0xfffffffb,
                                        0xffffffff, 0x100000000, 0x123456789abcd};
    struct test_rng rng = test_rng_init("salsa counter");
    const struct salsa_kernel *kernel;
    uint8_t key[SALSA_KEY_LEN];
    uint8_t nonce[SALSA_NONCE_LEN];
    uint8_t want[40 * SALSA_BLOCK_LEN];
    uint8_t got[40 * SALSA_BLOCK_LEN];

    (void)state;
    test_rng_fill(&rng, key, sizeof(key));
    test_rng_fill(&rng, nonce, sizeof(nonce));
    for (size_t at = 0; (kernel = kernel_next(&at)) != NULL;) {
        for (size_t i = 0; i < sizeof(counters) / sizeof(counters[0]); i++) {
            struct salsa s;

            memset(want, 0, sizeof(want));
            crypto_stream_salsa20_xor_ic(want, want, sizeof(want), nonce, counters[i], key);
            salsa_init(&s, kernel, SALSA_ROUNDS_HASH, key, nonce);
            for (size_t len = SALSA_BLOCK_LEN; len <= sizeof(got); len += SALSA_BLOCK_LEN) {
                memset(got, 0, len);
                salsa_xor(&s, counters[i] * SALSA_BLOCK_LEN, NULL, got, len);
                assert_memory_equal(got, want, len);
            }
        }
    }
}

/* Spec 01 section 8.3 put together from libsodium's functions. */
static void naive_seal(const uint8_t *key, const uint8_t *nonce, bool encrypt, uint8_t *data,
                       size_t len, uint8_t mac[16])
{
    uint8_t *stream = malloc(SALSA_BLOCK_LEN + len);

    crypto_stream_salsa2012(stream, SALSA_BLOCK_LEN + len, nonce, key);
    for (size_t i = 0; encrypt && i < len; i++) {
        data[i] ^= stream[SALSA_BLOCK_LEN + i];
    }
    crypto_onetimeauth_poly1305(mac, data, len, stream);
    free(stream);
}

/* All pairs of kernels this machine can run, one after the other, until false. */
static bool pair_next(size_t *at, struct salsa_poly *ret)
{
    unsigned features = cpu_features();
    size_t n = 0;

    for (size_t i = 0; salsa_kernels[i] != NULL; i++) {
        for (size_t j = 0; poly1305_kernels[j] != NULL; j++) {
            if (((salsa_kernels[i]->needs | poly1305_kernels[j]->needs) & ~features) == 0 &&
                n++ == *at) {
                *ret = (struct salsa_poly){salsa_kernels[i], poly1305_kernels[j]};
                (*at)++;
                return true;
            }
        }
    }
    return false;
}

static void check_salsa_poly(struct test_rng *rng, const struct salsa_poly *kernels, bool encrypt,
                             size_t len)
{
    uint8_t key[SALSA_KEY_LEN];
    uint8_t nonce[SALSA_NONCE_LEN];
    uint8_t mac[SALSA_POLY_MAC_LEN];
    uint8_t want_mac[16];
    uint8_t *plain = malloc(len);
    uint8_t *want;
    uint8_t *got;
    size_t bit = test_rng_below(rng, 8 * sizeof(mac));

    test_rng_fill(rng, key, sizeof(key));
    test_rng_fill(rng, nonce, sizeof(nonce));
    test_rng_fill(rng, plain, len);
    want = exact_copy(plain, len);
    got = exact_copy(plain, len);
    naive_seal(key, nonce, encrypt, want, len, want_mac);
    salsa_poly_seal(kernels, key, nonce, encrypt, got, len, mac);
    assert_memory_equal(got, want, len);
    assert_memory_equal(mac, want_mac, sizeof(mac));

    mac[bit / 8] ^= (uint8_t)(1 << bit % 8);
    assert_int_equal(salsa_poly_open(kernels, key, nonce, encrypt, got, len, mac), -EACCES);
    assert_memory_equal(got, want, len);
    mac[bit / 8] ^= (uint8_t)(1 << bit % 8);
    assert_int_equal(salsa_poly_open(kernels, key, nonce, encrypt, got, len, mac), 0);
    assert_memory_equal(got, plain, len);
    free(plain);
    free(want);
    free(got);
}

static void test_salsa_poly_equals_naive(void **state)
{
    struct test_rng rng = test_rng_init("salsa poly");
    struct salsa_poly kernels;

    (void)state;
    for (size_t at = 0; pair_next(&at, &kernels);) {
        for (size_t len = 1; len <= 3000; len += len < 600 ? 1 : 7) {
            check_salsa_poly(&rng, &kernels, true, len);
            check_salsa_poly(&rng, &kernels, false, len);
        }
        for (size_t i = 0; i < 100; i++) {
            check_salsa_poly(&rng, &kernels, true, test_rng_below(&rng, 10024) + 1);
        }
    }
}

static void test_pick_needs_only_what_is_there(void **state)
{
    (void)state;
    for (unsigned features = 0; features < 64; features++) {
        const struct salsa_kernel *kernel = salsa_pick(features);

        assert_int_equal(kernel->needs & ~features, 0);
    }
    assert_string_equal(salsa_pick(0)->name, "portable");
    assert_ptr_equal(salsa_pick(~0U), salsa_kernels[0]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_keystream_vectors),
        cmocka_unit_test(test_any_range_equals_libsodium),
        cmocka_unit_test(test_wide_counter_equals_libsodium),
        cmocka_unit_test(test_salsa_poly_equals_naive),
        cmocka_unit_test(test_pick_needs_only_what_is_there),
    };

    return cmocka_run_group_tests(tests, load, unload);
}
