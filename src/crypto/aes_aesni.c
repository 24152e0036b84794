/* AES-GMAC-SIV kernel for AES-NI and PCLMULQDQ. CTR runs eight blocks side by side; GHASH adds up
 * the products of up to 34 blocks with as many powers of the key before one reduction.
 * Source: spec 09 section 6.7; S. Gueron and M. Kounavis, "Intel carry-less multiplication
 * instruction and its usage for computing the GCM mode". */
#include "crypto/aes_x86.h"
#include "crypto/cpu.h"

#define AESNI __attribute__((target("aes,pclmul,ssse3")))

/* For functions with parameters that must be constants. */
#define AESNI_INLINE AESNI static inline __attribute__((always_inline))

enum {
    WIDTH = 8,
    INIT_STEP = 4, /* powers of the GHASH key made side by side */
};

/* Each word becomes the XOR of itself and all before it, then of the word from the assist. */
AESNI static inline __m128i expand(__m128i key, __m128i assist)
{
    key = _mm_xor_si128(key, _mm_slli_si128(key, 4));
    key = _mm_xor_si128(key, _mm_slli_si128(key, 8));
    return _mm_xor_si128(key, assist);
}

/* Two round keys from the two before; assist is that of rk[1] with its round constant. */
AESNI static inline void expand_pair(const __m128i rk[2], __m128i assist, __m128i ret[2])
{
    ret[0] = expand(rk[0], _mm_shuffle_epi32(assist, 0xff));
    ret[1] = expand(rk[1], _mm_shuffle_epi32(_mm_aeskeygenassist_si128(ret[0], 0), 0xaa));
}

AESNI static void expand_key(const uint8_t key[AES_KEY_LEN], uint8_t schedule[AES_SCHEDULE_LEN])
{
    __m128i rk[AES_ROUND_KEYS + 1]; /* the last is made in a pair, but not used */

    rk[0] = block_load(key);
    rk[1] = block_load(key + AES_BLOCK_LEN);
    expand_pair(rk, _mm_aeskeygenassist_si128(rk[1], 0x01), rk + 2);
    expand_pair(rk + 2, _mm_aeskeygenassist_si128(rk[3], 0x02), rk + 4);
    expand_pair(rk + 4, _mm_aeskeygenassist_si128(rk[5], 0x04), rk + 6);
    expand_pair(rk + 6, _mm_aeskeygenassist_si128(rk[7], 0x08), rk + 8);
    expand_pair(rk + 8, _mm_aeskeygenassist_si128(rk[9], 0x10), rk + 10);
    expand_pair(rk + 10, _mm_aeskeygenassist_si128(rk[11], 0x20), rk + 12);
    expand_pair(rk + 12, _mm_aeskeygenassist_si128(rk[13], 0x40), rk + 14);
    for (size_t i = 0; i < AES_ROUND_KEYS; i++) {
        block_store(schedule + i * AES_BLOCK_LEN, rk[i]);
    }
}

AESNI static void invert_schedule(const uint8_t *schedule, uint8_t *inverse)
{
    memcpy(inverse, schedule, AES_BLOCK_LEN);
#pragma GCC unroll 13
    for (size_t i = 1; i < AES_ROUND_KEYS - 1; i++) {
        block_store(inverse + i * AES_BLOCK_LEN, _mm_aesimc_si128(block_round_key(schedule, i)));
    }
    memcpy(inverse + AES_SCHEDULE_LEN - AES_BLOCK_LEN, schedule + AES_SCHEDULE_LEN - AES_BLOCK_LEN,
           AES_BLOCK_LEN);
}

/* A product being summed: 256 bits with the middle part apart (Karatsuba). */
struct product {
    __m128i low;
    __m128i middle;
    __m128i high;
};

AESNI static inline void product_add(struct product *p, __m128i block, const uint8_t *h,
                                     const uint8_t *h_fold)
{
    __m128i power = block_load(h);

    p->low = _mm_xor_si128(p->low, _mm_clmulepi64_si128(block, power, 0x00));
    p->high = _mm_xor_si128(p->high, _mm_clmulepi64_si128(block, power, 0x11));
    p->middle =
        _mm_xor_si128(p->middle, _mm_clmulepi64_si128(block_fold(block), block_load(h_fold), 0x00));
}

AESNI static inline __m128i product_reduce(const struct product *p)
{
    return block_reduce(p->low, p->middle, p->high);
}

AESNI static inline void set_power(struct aes_gmac_siv *c, size_t at, __m128i power)
{
    block_store(c->h[at], power);
    block_store(c->h_fold[at], block_fold(power));
}

/* The GHASH key times x in the reversed field, then its powers. */
AESNI static void init_powers(struct aes_gmac_siv *c)
{
    const size_t last = AES_GHASH_POWERS - 1;
    __m128i h = block_reverse(block_encrypt(c->k0, _mm_setzero_si128()));
    __m128i carry = _mm_shuffle_epi32(_mm_srai_epi32(h, 31), 0xff);

    h = _mm_or_si128(_mm_slli_epi64(h, 1), _mm_srli_epi64(_mm_slli_si128(h, 8), 63));
    h = _mm_xor_si128(h, _mm_and_si128(carry, _mm_set_epi64x((long long)0xc200000000000000, 1)));
    set_power(c, last, h);
    for (size_t i = 1; i <= last; i++) {
        /* From the fifth on four side by side, none waiting for the one before. */
        size_t step = i < INIT_STEP ? 1 : INIT_STEP;
        struct product p = {_mm_setzero_si128(), _mm_setzero_si128(), _mm_setzero_si128()};

        product_add(&p, block_load(c->h[last - i + step]), c->h[last - step + 1],
                    c->h_fold[last - step + 1]);
        set_power(c, last - i, product_reduce(&p));
    }
}

AESNI void aesni_init(struct aes_gmac_siv *c, const uint8_t k0[AES_KEY_LEN],
                      const uint8_t k1[AES_KEY_LEN])
{
    expand_key(k0, c->k0);
    expand_key(k1, c->k1);
    invert_schedule(c->k1, c->k1_inv);
    init_powers(c);
}

/* A GHASH under way. Blocks are taken in runs that share a reduction; `next` is the power of the
 * next block, the last block of a run taking H itself. */
struct ghash {
    const struct aes_gmac_siv *c;
    struct product sum;
    __m128i state; /* to be XORed into the next block */
    size_t next;   /* index in c->h */
    size_t left;   /* blocks after this run */
};

/* Begin a run: all that is left if it fits, else 32. */
AESNI static inline void run_begin(struct ghash *g)
{
    size_t n = g->left <= AES_GHASH_POWERS ? g->left : AES_GHASH_POWERS - 2;

    g->next = AES_GHASH_POWERS - n;
    g->left -= n;
    g->sum = (struct product){_mm_setzero_si128(), _mm_setzero_si128(), _mm_setzero_si128()};
}

/* One block; the next run begins when this one has all its blocks. */
AESNI static inline void ghash_block(struct ghash *g, __m128i block)
{
    product_add(&g->sum, _mm_xor_si128(block, g->state), g->c->h[g->next], g->c->h_fold[g->next]);
    g->state = _mm_setzero_si128();
    g->next++;
    if (g->next == AES_GHASH_POWERS) {
        g->state = product_reduce(&g->sum);
        run_begin(g);
    }
}

AESNI static inline void ghash_data(struct ghash *g, const uint8_t *data, size_t len)
{
    uint8_t last[AES_BLOCK_LEN] = {0};

    while (len >= AES_BLOCK_LEN) {
        size_t run = AES_GHASH_POWERS - g->next;
        size_t n = len / AES_BLOCK_LEN < run ? len / AES_BLOCK_LEN : run;

        /* All but the last block of a run. */
        for (size_t i = 1; i < n; i++) {
            product_add(&g->sum, _mm_xor_si128(block_reverse(block_load(data)), g->state),
                        g->c->h[g->next], g->c->h_fold[g->next]);
            g->state = _mm_setzero_si128();
            g->next++;
            data += AES_BLOCK_LEN;
        }
        ghash_block(g, block_reverse(block_load(data)));
        data += AES_BLOCK_LEN;
        len -= n * AES_BLOCK_LEN;
    }
    if (len > 0) {
        memcpy(last, data, len);
        ghash_block(g, block_reverse(block_load(last)));
    }
}

AESNI static __m128i ghash_text(const struct aes_gmac_siv *c, const struct aes_aad *aad,
                                const uint8_t *text, size_t len)
{
    struct ghash g = {.c = c, .state = _mm_setzero_si128(), .left = aes_count_blocks(len) + 2};

    run_begin(&g);
    ghash_block(&g, block_of_aad(aad));
    ghash_data(&g, text, len);
    ghash_block(&g, block_of_lengths(len));
    return g.state;
}

AESNI static void tag_text(const struct aes_gmac_siv *c, const uint8_t nonce[AES_SIV_NONCE_LEN],
                           const struct aes_aad *aad, const uint8_t *text, size_t len,
                           uint8_t ret_tag[AES_SIV_TAG_LEN])
{
    uint64_t id = block_word(nonce);
    __m128i mask = block_mask(c, id);
    uint64_t fold = block_gmac(ghash_text(c, aad, text, len), mask);

    block_store(ret_tag, block_encrypt(c->k1, block_of(id, fold)));
}

AESNI static bool check_text(const struct aes_gmac_siv *c, const struct aes_aad *aad,
                             const uint8_t tag[AES_SIV_TAG_LEN], const uint8_t *text, size_t len)
{
    __m128i want = block_decrypt(c->k1_inv, block_load_words(tag));
    __m128i mask = block_mask(c, block_first(want));
    uint64_t fold = block_gmac(ghash_text(c, aad, text, len), mask);

    /* One comparison of whole words: constant time. */
    return (fold ^ block_second(want)) == 0;
}

/* Keystream of WIDTH or fewer blocks; counter: the block with its bytes reversed. */
AESNI_INLINE void keystream(const uint8_t *schedule, __m128i counter, __m128i *k, size_t n)
{
#pragma GCC unroll 8
    for (size_t i = 0; i < WIDTH; i++) {
        if (i < n) {
            __m128i block = _mm_add_epi32(counter, _mm_set_epi32(0, 0, 0, (int)i));

            k[i] = _mm_xor_si128(block_reverse(block), block_round_key(schedule, 0));
        }
    }
#pragma GCC unroll 13
    for (size_t round = 1; round < AES_ROUND_KEYS - 1; round++) {
        __m128i key = block_round_key(schedule, round);

#pragma GCC unroll 8
        for (size_t i = 0; i < WIDTH; i++) {
            if (i < n) {
                k[i] = _mm_aesenc_si128(k[i], key);
            }
        }
    }
#pragma GCC unroll 8
    for (size_t i = 0; i < WIDTH; i++) {
        if (i < n) {
            k[i] = _mm_aesenclast_si128(k[i], block_round_key(schedule, AES_ROUND_KEYS - 1));
        }
    }
}

/* Fewer than WIDTH blocks, the last maybe not whole. */
AESNI static inline void xor_tail(const __m128i *k, const uint8_t *in, uint8_t *out, size_t len)
{
    size_t i = 0;

    for (; len >= AES_BLOCK_LEN; i++) {
        block_store(out, _mm_xor_si128(block_load(in), k[i]));
        in += AES_BLOCK_LEN;
        out += AES_BLOCK_LEN;
        len -= AES_BLOCK_LEN;
    }
    if (len > 0) {
        uint8_t last[AES_BLOCK_LEN] = {0};

        memcpy(last, in, len);
        block_store(last, _mm_xor_si128(block_load(last), k[i]));
        memcpy(out, last, len);
    }
}

AESNI static void ctr(const struct aes_gmac_siv *c, const uint8_t tag[AES_SIV_TAG_LEN],
                      uint32_t index, const uint8_t *in, uint8_t *out, size_t len)
{
    __m128i counter =
        _mm_add_epi32(block_counter(block_load_words(tag)), _mm_set_epi32(0, 0, 0, (int)index));
    __m128i k[WIDTH];

    while (len >= (size_t)WIDTH * AES_BLOCK_LEN) {
        keystream(c->k1, counter, k, WIDTH);
#pragma GCC unroll 8
        for (size_t i = 0; i < WIDTH; i++) {
            block_store(out, _mm_xor_si128(block_load(in), k[i]));
            in += AES_BLOCK_LEN;
            out += AES_BLOCK_LEN;
        }
        counter = _mm_add_epi32(counter, _mm_set_epi32(0, 0, 0, WIDTH));
        len -= (size_t)WIDTH * AES_BLOCK_LEN;
    }
    if (len > (size_t)WIDTH / 2 * AES_BLOCK_LEN) {
        keystream(c->k1, counter, k, WIDTH);
        xor_tail(k, in, out, len);
    } else if (len > 0) {
        keystream(c->k1, counter, k, WIDTH / 2);
        xor_tail(k, in, out, len);
    }
}

const struct aes_kernel aes_aesni = {
    .name = "aesni",
    .needs = CPU_AES,
    .init = aesni_init,
    .tag = tag_text,
    .check = check_text,
    .ctr = ctr,
};
