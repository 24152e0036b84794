/* AES-GMAC-SIV kernels against OpenSSL and each other. Checklist: C-1 and D-9 of spec 09 (every
 * kernel gives the same bytes for all lengths, alignments, scattered input and cut output). */
#include "vectors.h"

#include "crypto/aes_gmac_siv.h"
#include "crypto/cpu.h"

#include <errno.h>
#include <openssl/evp.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { TEXT_MAX = 10000 };

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

/* The kernels this machine can run, one after the other; NULL at the end. */
static const struct aes_kernel *kernel_next(size_t *at)
{
    while (aes_kernels[*at] != NULL) {
        const struct aes_kernel *kernel = aes_kernels[(*at)++];

        if ((kernel->needs & ~cpu_features()) == 0) {
            return kernel;
        }
    }
    return NULL;
}

/* One run of a cipher of OpenSSL; len bytes of in to out. */
static void openssl_crypt(const EVP_CIPHER *cipher, const uint8_t *key, const uint8_t *iv,
                          bool encrypt, const uint8_t *in, size_t len, uint8_t *out)
{
    EVP_CIPHER_CTX *ctx = EVP_CIPHER_CTX_new();
    int n;

    assert_int_equal(EVP_CipherInit_ex(ctx, cipher, NULL, key, iv, encrypt), 1);
    EVP_CIPHER_CTX_set_padding(ctx, 0);
    assert_int_equal(EVP_CipherUpdate(ctx, out, &n, in, (int)len), 1);
    assert_int_equal(n, len);
    EVP_CIPHER_CTX_free(ctx);
}

static void openssl_gmac(const uint8_t *key, const uint8_t iv[12], const uint8_t *data, size_t len,
                         uint8_t tag[16])
{
    EVP_CIPHER_CTX *ctx = EVP_CIPHER_CTX_new();
    uint8_t none[16];
    int n;

    assert_int_equal(EVP_EncryptInit_ex(ctx, EVP_aes_256_gcm(), NULL, key, iv), 1);
    assert_int_equal(EVP_EncryptUpdate(ctx, NULL, &n, data, (int)len), 1);
    assert_int_equal(EVP_EncryptFinal_ex(ctx, none, &n), 1);
    assert_int_equal(EVP_CIPHER_CTX_ctrl(ctx, EVP_CTRL_GCM_GET_TAG, 16, tag), 1);
    EVP_CIPHER_CTX_free(ctx);
}

/* Keys, nonce and texts of one comparison. */
struct sample {
    uint8_t k0[AES_KEY_LEN];
    uint8_t k1[AES_KEY_LEN];
    uint8_t nonce[AES_SIV_NONCE_LEN];
    uint8_t aad[11];
    size_t len;
    uint8_t plain[TEXT_MAX];
    uint8_t sealed[TEXT_MAX];
    uint8_t tag[AES_SIV_TAG_LEN];
};

/* Spec 01 section 8.5 step by step with OpenSSL: fills sealed and tag. */
static void naive_seal(struct sample *s)
{
    uint8_t *input = calloc(1, 16 + s->len);
    uint8_t iv[12] = {0};
    uint8_t t[16];
    uint8_t block[16];
    uint8_t start[16];

    memcpy(input, s->aad, sizeof(s->aad));
    memcpy(input + 16, s->plain, s->len);
    memcpy(iv, s->nonce, sizeof(s->nonce));
    openssl_gmac(s->k0, iv, input, 16 + s->len, t);
    memcpy(block, s->nonce, 8);
    for (size_t i = 0; i < 8; i++) {
        block[8 + i] = t[i] ^ t[8 + i];
    }
    openssl_crypt(EVP_aes_256_ecb(), s->k1, NULL, true, block, 16, s->tag);
    memcpy(start, s->tag, 16);
    start[12] &= 0x7f;
    if (s->len > 0) {
        openssl_crypt(EVP_aes_256_ctr(), s->k1, start, true, s->plain, s->len, s->sealed);
    }
    free(input);
}

static void sample_make(struct sample *s, struct test_rng *rng, size_t len)
{
    test_rng_fill(rng, s, sizeof(*s));
    s->len = len;
    naive_seal(s);
}

static struct aes_aad aad_of(const struct sample *s)
{
    struct aes_aad aad = {0};

    for (size_t i = 0; i < sizeof(s->aad); i++) {
        uint64_t *word = i < 8 ? &aad.first : &aad.second;

        *word |= (uint64_t)s->aad[i] << (56 - 8 * (i % 8));
    }
    return aad;
}

/* One kernel on one sample, with nothing around the text and then in place. */
static void check_kernel(const struct aes_kernel *kernel, const struct sample *s)
{
    const struct aes_aad aad = aad_of(s);
    struct aes_gmac_siv c;
    uint8_t *in = exact_copy(s->plain, s->len);
    uint8_t *out = malloc(s->len + 1);
    uint8_t tag[AES_SIV_TAG_LEN];

    aes_gmac_siv_init(&c, kernel, s->k0, s->k1);
    out[s->len] = 0xa5;
    aes_gmac_siv_seal(&c, s->nonce, &aad, in, s->len, out, tag);
    assert_memory_equal(tag, s->tag, sizeof(tag));
    assert_memory_equal(out, s->sealed, s->len);
    assert_int_equal(out[s->len], 0xa5);
    assert_memory_equal(in, s->plain, s->len);

    aes_gmac_siv_seal(&c, s->nonce, &aad, in, s->len, in, tag);
    assert_memory_equal(in, s->sealed, s->len);
    assert_int_equal(aes_gmac_siv_open(&c, &aad, tag, in, s->len, in), 0);
    assert_memory_equal(in, s->plain, s->len);

    tag[s->len % 16] ^= (uint8_t)(1 << s->len % 8);
    assert_int_equal(aes_gmac_siv_open(&c, &aad, tag, s->sealed, s->len, out), -EACCES);
    assert_memory_equal(out, s->sealed, s->len);
    assert_int_equal(out[s->len], 0xa5);
    aes_gmac_siv_done(&c);
    free(in);
    free(out);
}

/* C-1, D-9: every length up to that of packets of 3000 bytes, then steps to the longest. */
static void test_kernels_equal_openssl(void **state)
{
    struct test_rng rng = test_rng_init("aes kernels");
    struct sample *s = malloc(sizeof(*s));
    const struct aes_kernel *kernel;

    (void)state;
    for (size_t len = 0; len <= TEXT_MAX; len += len < 3000 ? 1 : 37) {
        sample_make(s, &rng, len);
        for (size_t at = 0; (kernel = kernel_next(&at)) != NULL;) {
            check_kernel(kernel, s);
        }
    }
    free(s);
}

/* One kernel from alignment to alignment, to itself, and down by `shift` bytes. */
static void check_alignment(const struct aes_gmac_siv *c, const struct sample *s, size_t from,
                            size_t to, size_t shift)
{
    enum { GUARD = 64 };
    static _Alignas(64) uint8_t in[TEXT_MAX + 4 * GUARD];
    static _Alignas(64) uint8_t out[TEXT_MAX + 4 * GUARD];
    static uint8_t guard[4 * GUARD];
    const struct aes_aad aad = aad_of(s);
    uint8_t tag[AES_SIV_TAG_LEN];

    memset(guard, 0xa5, sizeof(guard));
    memset(in, 0xa5, sizeof(in));
    memset(out, 0xa5, sizeof(out));
    from += GUARD;
    to += GUARD;
    memcpy(in + from, s->plain, s->len);
    aes_gmac_siv_seal(c, s->nonce, &aad, in + from, s->len, out + to, tag);
    assert_memory_equal(out + to, s->sealed, s->len);
    assert_memory_equal(out, guard, to);
    assert_memory_equal(out + to + s->len, guard, GUARD);
    assert_int_equal(aes_gmac_siv_check(c, &aad, s->tag, in + from, s->len), 0);

    assert_int_equal(aes_gmac_siv_open(c, &aad, tag, out + to, s->len, out + to), 0);
    assert_memory_equal(out + to, s->plain, s->len);
    assert_memory_equal(out, guard, to);
    assert_memory_equal(out + to + s->len, guard, GUARD);

    memcpy(out + to, s->sealed, s->len);
    memset(in, 0xa5, sizeof(in));
    assert_int_equal(aes_gmac_siv_open(c, &aad, tag, out + to, s->len, in + from), 0);
    assert_memory_equal(in + from, s->plain, s->len);
    assert_memory_equal(in, guard, from);
    assert_memory_equal(in + from + s->len, guard, GUARD);

    memcpy(in + from + shift, s->sealed, s->len);
    assert_int_equal(aes_gmac_siv_open(c, &aad, tag, in + from + shift, s->len, in + from), 0);
    assert_memory_equal(in + from, s->plain, s->len);
    assert_memory_equal(in, guard, from);
}

/* D-9, D-10: all alignments, at lengths around the widths of the kernels; nothing is written
 * outside the text. */
static void test_alignments(void **state)
{
    static const size_t lengths[] = {1,   5,   16,   17,   63,   64,   65,   75,
                                     128, 129, 255,  256,  257,  485,  511,  512,
                                     513, 545, 1024, 1025, 1411, 1536, 2047, 2811};
    struct test_rng rng = test_rng_init("aes alignments");
    struct sample *s = malloc(sizeof(*s));
    const struct aes_kernel *kernel;

    (void)state;
    for (size_t i = 0; i < sizeof(lengths) / sizeof(lengths[0]); i++) {
        sample_make(s, &rng, lengths[i]);
        for (size_t at = 0; (kernel = kernel_next(&at)) != NULL;) {
            struct aes_gmac_siv c;

            aes_gmac_siv_init(&c, kernel, s->k0, s->k1);
            for (size_t align = 0; align < 64; align++) {
                check_alignment(&c, s, align, test_rng_below(&rng, 64), test_rng_below(&rng, 65));
                check_alignment(&c, s, test_rng_below(&rng, 64), align, 16);
            }
            aes_gmac_siv_done(&c);
        }
    }
    free(s);
}

/* D-9: the steps, with output in cuts at any byte, at any alignment. */
static void test_steps_and_cuts_equal_whole(void **state)
{
    struct test_rng rng = test_rng_init("aes pieces");
    struct sample *s = malloc(sizeof(*s));
    uint8_t *buffer = malloc(TEXT_MAX + 64);
    const struct aes_kernel *kernel;

    (void)state;
    for (size_t i = 0; i < 1000; i++) {
        size_t align = test_rng_below(&rng, 64);

        sample_make(s, &rng, test_rng_below(&rng, i < 500 ? 400 : TEXT_MAX) + 1);
        memcpy(buffer + align, s->plain, s->len);
        for (size_t at = 0; (kernel = kernel_next(&at)) != NULL;) {
            const struct aes_aad aad = aad_of(s);
            struct aes_gmac_siv c;
            uint8_t tag[AES_SIV_TAG_LEN];
            uint8_t out[TEXT_MAX];

            aes_gmac_siv_init(&c, kernel, s->k0, s->k1);
            aes_gmac_siv_tag(&c, s->nonce, &aad, buffer + align, s->len, tag);
            assert_memory_equal(tag, s->tag, sizeof(tag));
            assert_int_equal(aes_gmac_siv_check(&c, &aad, tag, buffer + align, s->len), 0);
            for (size_t done = 0; done < s->len;) {
                size_t n = test_rng_below(&rng, s->len - done) + 1;

                aes_gmac_siv_ctr(&c, tag, done, buffer + align + done, out + done, n);
                done += n;
            }
            assert_memory_equal(out, s->sealed, s->len);
            tag[i % 16] ^= 1;
            assert_int_equal(aes_gmac_siv_check(&c, &aad, tag, buffer + align, s->len), -EACCES);
            aes_gmac_siv_done(&c);
        }
    }
    free(buffer);
    free(s);
}

/* Several texts in place; the tag of one may be spoilt before they are opened. */
static void check_batch(const struct aes_gmac_siv *c, struct sample *samples, size_t count,
                        size_t bad)
{
    struct aes_text texts[9];
    uint8_t *out[9];

    for (size_t i = 0; i < count; i++) {
        struct sample *s = &samples[i];

        out[i] = exact_copy(s->plain, s->len);
        texts[i] = (struct aes_text){.aad = aad_of(s), .in = out[i], .out = out[i], .len = s->len};
        memcpy(texts[i].nonce, s->nonce, sizeof(s->nonce));
    }
    aes_gmac_siv_seal_batch(c, texts, count);
    for (size_t i = 0; i < count; i++) {
        assert_memory_equal(texts[i].tag, samples[i].tag, 16);
        assert_memory_equal(out[i], samples[i].sealed, samples[i].len);
        texts[i].tag[i] ^= i == bad;
    }
    aes_gmac_siv_open_batch(c, texts, count);
    for (size_t i = 0; i < count; i++) {
        const uint8_t *want = i == bad ? samples[i].sealed : samples[i].plain;

        assert_int_equal(texts[i].authentic, i != bad);
        assert_memory_equal(out[i], want, samples[i].len);
        free(out[i]);
    }
}

/* C-1, D-9, D-10: short and longer texts in batches, one of which may be tampered with. */
static void test_batches_equal_openssl(void **state)
{
    struct test_rng rng = test_rng_init("aes batches");
    struct sample *samples = malloc(9 * sizeof(*samples));
    const struct aes_kernel *kernel;

    (void)state;
    for (size_t i = 0; i < 600; i++) {
        size_t count = 1 + test_rng_below(&rng, 9);
        size_t bad = test_rng_below(&rng, 12);

        for (size_t k = 0; k < count; k++) {
            size_t most = test_rng_below(&rng, 30) == 0 ? 600 : AES_BATCH_TEXT_MAX;

            sample_make(&samples[k], &rng, test_rng_below(&rng, most + 1));
            memcpy(samples[k].k0, samples[0].k0, sizeof(samples[k].k0));
            memcpy(samples[k].k1, samples[0].k1, sizeof(samples[k].k1));
            naive_seal(&samples[k]);
        }
        for (size_t at = 0; (kernel = kernel_next(&at)) != NULL;) {
            struct aes_gmac_siv c;

            aes_gmac_siv_init(&c, kernel, samples[0].k0, samples[0].k1);
            check_batch(&c, samples, count, bad);
        }
    }
    free(samples);
}

/* The S-box and its inverse meet every byte value in the blocks of tags. */
static void test_tags_equal_openssl(void **state)
{
    struct test_rng rng = test_rng_init("aes tags");
    struct sample *s = malloc(sizeof(*s));
    const struct aes_kernel *kernel;

    (void)state;
    for (unsigned i = 0; i < 2000; i++) {
        sample_make(s, &rng, i % 40);
        for (size_t at = 0; (kernel = kernel_next(&at)) != NULL;) {
            const struct aes_aad aad = aad_of(s);
            struct aes_gmac_siv c;
            uint8_t got[16];

            aes_gmac_siv_init(&c, kernel, s->k0, s->k1);
            kernel->tag(&c, s->nonce, &aad, s->plain, s->len, got);
            assert_memory_equal(got, s->tag, 16);
            assert_true(kernel->check(&c, &aad, got, s->plain, s->len));
        }
    }
    free(s);
}

/* A sender that sets the top counter bit aside never carries out of 32 bits: the last block of the
 * longest text at the highest start. */
static void test_highest_counter_does_not_carry(void **state)
{
    struct test_rng rng = test_rng_init("aes counter");
    const struct aes_kernel *kernel;
    uint8_t key[AES_KEY_LEN];
    uint8_t tag[16];
    uint8_t start[16];
    uint8_t *zero = calloc(1, AES_SIV_TEXT_MAX);
    uint8_t *want = malloc(AES_SIV_TEXT_MAX);
    uint8_t *got = malloc(AES_SIV_TEXT_MAX);

    (void)state;
    test_rng_fill(&rng, key, sizeof(key));
    memset(tag, 0xff, sizeof(tag));
    memcpy(start, tag, sizeof(start));
    start[12] = 0x7f;
    openssl_crypt(EVP_aes_256_ctr(), key, start, true, zero, AES_SIV_TEXT_MAX, want);
    for (size_t at = 0; (kernel = kernel_next(&at)) != NULL;) {
        struct aes_gmac_siv c;

        aes_gmac_siv_init(&c, kernel, key, key);
        aes_gmac_siv_ctr(&c, tag, 0, zero, got, AES_SIV_TEXT_MAX);
        assert_memory_equal(got, want, AES_SIV_TEXT_MAX);
    }
    free(zero);
    free(want);
    free(got);
}

/* [primitives.aes256_gmac] holds the oracle itself to the reference. */
static void test_gmac_vectors_agree_with_the_oracle(void **state)
{
    json_t *list = vec_get(vec_get(vectors, "primitives"), "aes256_gmac");
    json_t *entry;
    size_t i;

    (void)state;
    json_array_foreach(list, i, entry)
    {
        size_t len;
        uint8_t *key = vec_bytes(entry, "key", &len);
        uint8_t *iv = vec_bytes(entry, "iv12", &len);
        uint8_t *want = vec_bytes(entry, "tag16", &len);
        uint8_t *aad = vec_bytes(entry, "aad", &len);
        uint8_t tag[16];

        openssl_gmac(key, iv, aad, len, tag);
        assert_memory_equal(tag, want, 16);
        free(key);
        free(iv);
        free(want);
        free(aad);
    }
    assert_int_equal(i, 11);
}

static void test_done_wipes(void **state)
{
    static const struct aes_gmac_siv zero;
    struct aes_gmac_siv c;
    uint8_t key[AES_KEY_LEN] = {1};

    (void)state;
    aes_gmac_siv_init(&c, aes_pick(cpu_features()), key, key);
    aes_gmac_siv_done(&c);
    assert_memory_equal(&c, &zero, sizeof(c));
}

static void test_pick_needs_only_what_is_there(void **state)
{
    (void)state;
    for (unsigned features = 0; features < 32; features++) {
        assert_int_equal(aes_pick(features)->needs & ~features, 0);
    }
    assert_string_equal(aes_pick(0)->name, "portable");
    assert_ptr_equal(aes_pick(~0U), aes_kernels[0]);
}

/* Each feature taken away leads to the next kernel, not past it. */
static void test_pick_falls_back_step_by_step(void **state)
{
    unsigned features = ~0U;

    (void)state;
    for (size_t i = 0; aes_kernels[i] != NULL; i++) {
        assert_ptr_equal(aes_pick(features), aes_kernels[i]);
        if (aes_kernels[i + 1] != NULL) {
            unsigned own = aes_kernels[i]->needs & ~aes_kernels[i + 1]->needs;

            assert_int_not_equal(own, 0);
            features &= ~own;
        }
    }
}

/* Wide ciphers are only used where the system saves the wide registers. */
static void test_features_imply_each_other(void **state)
{
    unsigned features = cpu_features();

    (void)state;
    if ((features & CPU_VAES512) != 0) {
        assert_int_equal(features & (CPU_VAES | CPU_AVX512), CPU_VAES | CPU_AVX512);
    }
    if ((features & CPU_VAES) != 0) {
        assert_int_not_equal(features & CPU_AVX2, 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_gmac_vectors_agree_with_the_oracle),
        cmocka_unit_test(test_tags_equal_openssl),
        cmocka_unit_test(test_kernels_equal_openssl),
        cmocka_unit_test(test_batches_equal_openssl),
        cmocka_unit_test(test_alignments),
        cmocka_unit_test(test_steps_and_cuts_equal_whole),
        cmocka_unit_test(test_highest_counter_does_not_carry),
        cmocka_unit_test(test_done_wipes),
        cmocka_unit_test(test_pick_needs_only_what_is_there),
        cmocka_unit_test(test_pick_falls_back_step_by_step),
        cmocka_unit_test(test_features_imply_each_other),
    };

    return cmocka_run_group_tests(tests, load, unload);
}
