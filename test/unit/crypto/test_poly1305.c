/* Poly1305 kernels against golden vectors, libsodium and a model in big integers. */
#include "vectors.h"

#include "crypto/cpu.h"
#include "crypto/poly1305.h"

#include <openssl/bn.h>
#include <setjmp.h>
#include <sodium.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum {
    BLOCK_LEN = 16,
    LEN_STEPS = 3000, /* every length up to here */
    LEN_MAX = 10024,
    ALIGNMENTS = 64,
};

static int load(void **state)
{
    (void)state;
    return sodium_init() < 0 ? -1 : 0;
}

/* The kernels this machine can run, one after the other; NULL at the end. */
static const struct poly1305_kernel *kernel_next(size_t *at)
{
    while (poly1305_kernels[*at] != NULL) {
        const struct poly1305_kernel *kernel = poly1305_kernels[(*at)++];

        if ((kernel->needs & ~cpu_features()) == 0) {
            return kernel;
        }
    }
    return NULL;
}

static void check_mac(const struct poly1305_kernel *kernel, const uint8_t *key, const uint8_t *data,
                      size_t len, const uint8_t *want)
{
    struct poly1305 p;
    uint8_t got[POLY1305_MAC_LEN];

    poly1305_init(&p, kernel, key, len);
    poly1305_mac(&p, data, len, got);
    poly1305_done(&p);
    if (memcmp(got, want, sizeof(got)) != 0) {
        print_error("kernel %s, %zu bytes\n", kernel->name, len);
    }
    assert_memory_equal(got, want, sizeof(got));
}

static void check_all_kernels(const uint8_t *key, const uint8_t *data, size_t len,
                              const uint8_t *want)
{
    const struct poly1305_kernel *kernel;

    for (size_t at = 0; (kernel = kernel_next(&at)) != NULL;) {
        check_mac(kernel, key, data, len, want);
    }
}

static void test_golden_vectors(void **state)
{
    json_t *vectors = vectors_load("identity-crypto.json");
    json_t *entry;
    size_t i;

    (void)state;
    json_array_foreach(vec_get(vec_get(vectors, "primitives"), "poly1305"), i, entry)
    {
        size_t len;
        uint8_t *key = vec_bytes(entry, "key", &len);
        uint8_t *tag = vec_bytes(entry, "tag", &len);
        uint8_t *msg = vec_bytes(entry, "msg", &len);

        check_all_kernels(key, msg, len, tag);
        free(key);
        free(tag);
        free(msg);
    }
    assert_true(i > 0);
    json_decref(vectors);
}

/* Every length, the text in a heap block of its size, at changing alignments. */
static void test_every_length_equals_libsodium(void **state)
{
    struct test_rng rng = test_rng_init("poly1305 lengths");
    uint8_t key[POLY1305_KEY_LEN];
    uint8_t want[POLY1305_MAC_LEN];

    (void)state;
    for (size_t len = 0; len <= LEN_MAX;
         len += len < LEN_STEPS ? 1 : 1 + test_rng_below(&rng, 50)) {
        size_t skip = test_rng_below(&rng, ALIGNMENTS);
        uint8_t *block = malloc(skip + len > 0 ? skip + len : 1);
        uint8_t *text = block + skip;

        test_rng_fill(&rng, key, sizeof(key));
        test_rng_fill(&rng, text, len);
        crypto_onetimeauth_poly1305(want, text, len, key);
        check_all_kernels(key, text, len, want);
        free(block);
    }
}

static void test_every_alignment_equals_libsodium(void **state)
{
    static const size_t lens[] = {31, 256, 1411, 2811};
    struct test_rng rng = test_rng_init("poly1305 alignments");
    uint8_t key[POLY1305_KEY_LEN];
    uint8_t want[POLY1305_MAC_LEN];
    uint8_t text[LEN_STEPS + ALIGNMENTS];

    (void)state;
    test_rng_fill(&rng, text, sizeof(text));
    for (size_t i = 0; i < sizeof(lens) / sizeof(lens[0]); i++) {
        for (size_t at = 0; at < ALIGNMENTS; at++) {
            test_rng_fill(&rng, key, sizeof(key));
            crypto_onetimeauth_poly1305(want, text + at, lens[i], key);
            check_all_kernels(key, text + at, lens[i], want);
        }
    }
}

/* The model: RFC 8439 section 2.5 in big integers. */
struct model {
    BN_CTX *ctx;
    BIGNUM *prime;
    BIGNUM *r;
    BIGNUM *h;
    BIGNUM *block;
};

static void model_init(struct model *m, const uint8_t *key)
{
    uint8_t r[BLOCK_LEN];

    m->ctx = BN_CTX_new();
    m->prime = BN_new();
    m->r = BN_new();
    m->h = BN_new();
    m->block = BN_new();
    assert_true(BN_set_bit(m->prime, 130) && BN_sub_word(m->prime, 5));
    memcpy(r, key, sizeof(r));
    for (size_t i = 0; i < 4; i++) {
        r[4 * i + 3] &= 0x0f;
        r[4 * i] &= i > 0 ? 0xfc : 0xff;
    }
    assert_non_null(BN_lebin2bn(r, sizeof(r), m->r));
    BN_zero(m->h);
}

static void model_done(struct model *m)
{
    BN_free(m->block);
    BN_free(m->h);
    BN_free(m->r);
    BN_free(m->prime);
    BN_CTX_free(m->ctx);
}

static void model_add(struct model *m, const uint8_t *data, size_t len)
{
    for (size_t n; len > 0; data += n, len -= n) {
        n = len < BLOCK_LEN ? len : BLOCK_LEN;
        assert_non_null(BN_lebin2bn(data, (int)n, m->block));
        assert_true(BN_set_bit(m->block, (int)(8 * n)));
        assert_true(BN_add(m->h, m->h, m->block));
        assert_true(BN_mod_mul(m->h, m->h, m->r, m->prime, m->ctx));
    }
}

static void model_mac(struct model *m, const uint8_t *key, uint8_t ret[POLY1305_MAC_LEN])
{
    assert_non_null(BN_lebin2bn(key + BLOCK_LEN, BLOCK_LEN, m->block));
    assert_true(BN_add(m->block, m->block, m->h));
    assert_true(BN_num_bits(m->block) <= 128 || BN_mask_bits(m->block, 128));
    assert_int_equal(BN_bn2lebinpad(m->block, ret, POLY1305_MAC_LEN), POLY1305_MAC_LEN);
}

static void check_model(const uint8_t *key, const uint8_t *data, size_t len)
{
    struct model m;
    uint8_t want[POLY1305_MAC_LEN];

    model_init(&m, key);
    model_add(&m, data, len);
    model_mac(&m, key, want);
    model_done(&m);
    check_all_kernels(key, data, len, want);
}

/* Keys and texts whose limbs and carries are as large as can be, or nothing. */
static void test_extreme_values_equal_model(void **state)
{
    static const uint8_t fills[] = {0x00, 0x01, 0x7f, 0x80, 0xfe, 0xff};
    uint8_t key[POLY1305_KEY_LEN];
    uint8_t text[1200];

    (void)state;
    for (size_t k = 0; k < sizeof(fills); k++) {
        for (size_t s = 0; s < sizeof(fills); s++) {
            memset(key, fills[k], BLOCK_LEN);
            memset(key + BLOCK_LEN, fills[s], BLOCK_LEN);
            for (size_t t = 0; t < sizeof(fills); t++) {
                memset(text, fills[t], sizeof(text));
                for (size_t len = 0; len <= sizeof(text); len += len < 300 ? 1 : 61) {
                    check_model(key, text, len);
                }
            }
        }
    }
}

/* With r = 1 the sum is that of the blocks: choose the last so that it ends at 2^130 - 5 + d, or
 * at 2^128 + d, before the second half of the key is added. From 6 blocks on that soon succeeds. */
static void check_sum_near(struct test_rng *rng, size_t blocks, bool near_prime, int d)
{
    uint8_t key[POLY1305_KEY_LEN] = {1};
    uint8_t text[100 * BLOCK_LEN];
    size_t last = (blocks - 1) * BLOCK_LEN;
    struct model m;

    test_rng_fill(rng, key + BLOCK_LEN, BLOCK_LEN);
    for (bool done = false; !done;) {
        test_rng_fill(rng, text, last);
        model_init(&m, key);
        model_add(&m, text, last);
        BN_zero(m.block);
        assert_true(near_prime || BN_set_bit(m.block, 128));
        assert_true(d < 0 ? BN_sub_word(m.block, (BN_ULONG)-d) : BN_add_word(m.block, (BN_ULONG)d));
        assert_true(BN_sub(m.block, m.block, m.h));
        BN_zero(m.h);
        assert_true(BN_set_bit(m.h, 128) && BN_sub(m.block, m.block, m.h));
        assert_true(BN_nnmod(m.block, m.block, m.prime, m.ctx));
        done = BN_bn2lebinpad(m.block, text + last, BLOCK_LEN) == BLOCK_LEN;
        model_done(&m);
    }
    check_model(key, text, last + BLOCK_LEN);
}

static void test_sum_near_modulus_equals_model(void **state)
{
    struct test_rng rng = test_rng_init("poly1305 modulus");

    (void)state;
    for (size_t blocks = 6; blocks <= 100; blocks += blocks < 40 ? 1 : 7) {
        for (int d = -6; d <= 6; d++) {
            check_sum_near(&rng, blocks, true, d);
            check_sum_near(&rng, blocks, false, d);
        }
    }
}

static void test_random_equals_model(void **state)
{
    struct test_rng rng = test_rng_init("poly1305 model");
    uint8_t key[POLY1305_KEY_LEN];
    uint8_t text[3000];

    (void)state;
    for (size_t i = 0; i < 1000; i++) {
        size_t len = test_rng_below(&rng, sizeof(text) + 1);

        test_rng_fill(&rng, key, sizeof(key));
        test_rng_fill(&rng, text, len);
        check_model(key, text, len);
    }
}

static void test_done_wipes(void **state)
{
    static const struct poly1305 zero;
    const struct poly1305_kernel *kernel;
    uint8_t key[POLY1305_KEY_LEN];
    struct poly1305 p;

    (void)state;
    memset(key, 0x77, sizeof(key));
    for (size_t at = 0; (kernel = kernel_next(&at)) != NULL;) {
        memset(&p, 0, sizeof(p));
        poly1305_init(&p, kernel, key, LEN_STEPS);
        assert_memory_not_equal(&p, &zero, sizeof(p));
        poly1305_done(&p);
        assert_memory_equal(&p, &zero, sizeof(p));
    }
}

static void test_pick_needs_only_what_is_there(void **state)
{
    (void)state;
    for (unsigned features = 0; features < 64; features++) {
        const struct poly1305_kernel *kernel = poly1305_pick(features);

        assert_int_equal(kernel->needs & ~features, 0);
    }
    assert_string_equal(poly1305_pick(0)->name, "portable");
    assert_ptr_equal(poly1305_pick(~0U), poly1305_kernels[0]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_golden_vectors),
        cmocka_unit_test(test_every_length_equals_libsodium),
        cmocka_unit_test(test_every_alignment_equals_libsodium),
        cmocka_unit_test(test_extreme_values_equal_model),
        cmocka_unit_test(test_sum_near_modulus_equals_model),
        cmocka_unit_test(test_random_equals_model),
        cmocka_unit_test(test_done_wipes),
        cmocka_unit_test(test_pick_needs_only_what_is_there),
    };

    return cmocka_run_group_tests(tests, load, NULL);
}
