/* AES-GMAC-SIV kernel for VAES and VPCLMULQDQ: that of aes_aesni.c with two blocks in a register.
 * Source: spec 09 sections 4.1 and 6.7. */
#include "crypto/aes_x86.h"
#include "crypto/cpu.h"

#define VAES __attribute__((target("avx2,aes,pclmul,vaes,vpclmulqdq")))

/* For functions with parameters that must be constants. */
#define VAES_INLINE VAES static inline __attribute__((always_inline))

enum {
    PAIR = 2 * AES_BLOCK_LEN,
    WIDTH = 8, /* registers, of two blocks each */
};

VAES static inline __m256i load2(const void *p)
{
    return _mm256_loadu_si256((const __m256i_u *)p);
}

VAES static inline void store2(void *p, __m256i v)
{
    _mm256_storeu_si256((__m256i_u *)p, v);
}

VAES static inline __m256i both(__m128i v)
{
    return _mm256_broadcastsi128_si256(v);
}

VAES static inline __m256i reverse2(__m256i v)
{
    return _mm256_shuffle_epi8(v, both(block_reverse_order()));
}

/* Products being summed, those of even and odd blocks in the two lanes. */
struct product {
    __m256i low;
    __m256i middle;
    __m256i high;
};

VAES static inline void product_clear(struct product *p)
{
    p->low = p->middle = p->high = _mm256_setzero_si256();
}

VAES static inline void product_add(struct product *p, __m256i blocks, __m256i powers,
                                    __m256i folds)
{
    __m256i halves = _mm256_xor_si256(blocks, _mm256_shuffle_epi32(blocks, 0x4e));

    p->low = _mm256_xor_si256(p->low, _mm256_clmulepi64_epi128(blocks, powers, 0x00));
    p->high = _mm256_xor_si256(p->high, _mm256_clmulepi64_epi128(blocks, powers, 0x11));
    p->middle = _mm256_xor_si256(p->middle, _mm256_clmulepi64_epi128(halves, folds, 0x00));
}

VAES static inline __m128i lanes_xor(__m256i v)
{
    return _mm_xor_si128(_mm256_castsi256_si128(v), _mm256_extracti128_si256(v, 1));
}

VAES static inline __m128i product_reduce(const struct product *p)
{
    return block_reduce(lanes_xor(p->low), lanes_xor(p->middle), lanes_xor(p->high));
}

/* A GHASH under way; see aes_aesni.c. */
struct ghash {
    const struct aes_gmac_siv *c;
    struct product sum;
    __m128i state; /* to be XORed into the next block */
    size_t next;   /* index in c->h of the power of the next block */
    size_t left;   /* blocks after this run */
};

VAES static inline void run_begin(struct ghash *g)
{
    size_t n = g->left <= AES_GHASH_POWERS ? g->left : AES_GHASH_POWERS - 2;

    g->next = AES_GHASH_POWERS - n;
    g->left -= n;
    product_clear(&g->sum);
}

VAES static inline void ghash_block(struct ghash *g, __m128i block)
{
    product_add(&g->sum, _mm256_zextsi128_si256(_mm_xor_si128(block, g->state)),
                _mm256_zextsi128_si256(block_load(g->c->h[g->next])),
                _mm256_zextsi128_si256(block_load(g->c->h_fold[g->next])));
    g->state = _mm_setzero_si128();
    g->next++;
    if (g->next == AES_GHASH_POWERS) {
        g->state = product_reduce(&g->sum);
        run_begin(g);
    }
}

/* Whole pairs, all within this run and not its last block. */
VAES static inline void ghash_pairs(struct ghash *g, const uint8_t *data, size_t pairs)
{
    const uint8_t *power = g->c->h[g->next];
    const uint8_t *fold = g->c->h_fold[g->next];
    __m256i first = _mm256_zextsi128_si256(g->state);
    struct product sum = g->sum;

    for (size_t i = 0; i < pairs; i++) {
        product_add(&sum, _mm256_xor_si256(reverse2(load2(data)), first), load2(power),
                    load2(fold));
        first = _mm256_setzero_si256();
        data += PAIR;
        power += PAIR;
        fold += PAIR;
    }
    g->sum = sum;
    g->state = _mm_setzero_si128();
    g->next += 2 * pairs;
}

VAES static inline void ghash_data(struct ghash *g, const uint8_t *data, size_t len)
{
    uint8_t last[AES_BLOCK_LEN] = {0};

    while (len >= AES_BLOCK_LEN) {
        size_t blocks = len / AES_BLOCK_LEN;
        size_t run = AES_GHASH_POWERS - g->next;
        size_t pairs = blocks < run ? blocks / 2 : (run - 1) / 2;

        if (pairs > 0) {
            ghash_pairs(g, data, pairs);
            data += pairs * PAIR;
            len -= pairs * PAIR;
        }
        if (len >= AES_BLOCK_LEN) {
            ghash_block(g, block_reverse(block_load(data)));
            data += AES_BLOCK_LEN;
            len -= AES_BLOCK_LEN;
        }
    }
    if (len > 0) {
        memcpy(last, data, len);
        ghash_block(g, block_reverse(block_load(last)));
    }
}

VAES static __m128i ghash_text(const struct aes_gmac_siv *c, const struct aes_aad *aad,
                               const uint8_t *text, size_t len)
{
    struct ghash g = {.c = c, .state = _mm_setzero_si128(), .left = aes_count_blocks(len) + 2};

    run_begin(&g);
    ghash_block(&g, block_of_aad(aad));
    ghash_data(&g, text, len);
    ghash_block(&g, block_of_lengths(len));
    return g.state;
}

VAES static void tag_text(const struct aes_gmac_siv *c, const uint8_t nonce[AES_SIV_NONCE_LEN],
                          const struct aes_aad *aad, const uint8_t *text, size_t len,
                          uint8_t ret_tag[AES_SIV_TAG_LEN])
{
    uint64_t id = block_word(nonce);
    __m128i mask = block_mask(c, id);
    uint64_t fold = block_gmac(ghash_text(c, aad, text, len), mask);

    block_store(ret_tag, block_encrypt(c->k1, block_of(id, fold)));
}

VAES static bool check_text(const struct aes_gmac_siv *c, const struct aes_aad *aad,
                            const uint8_t tag[AES_SIV_TAG_LEN], const uint8_t *text, size_t len)
{
    __m128i want = block_decrypt(c->k1_inv, block_load_words(tag));
    __m128i mask = block_mask(c, block_first(want));
    uint64_t fold = block_gmac(ghash_text(c, aad, text, len), mask);

    /* One comparison of whole words: constant time. */
    return (fold ^ block_second(want)) == 0;
}

/* Keystream of n registers; counters: two blocks with their bytes reversed. */
VAES_INLINE void keystream(const uint8_t *schedule, __m256i counters, __m256i *k, size_t n)
{
    __m256i key = both(block_load(schedule));

#pragma GCC unroll 8
    for (size_t i = 0; i < WIDTH; i++) {
        if (i < n) {
            __m256i step = _mm256_set_epi32(0, 0, 0, (int)(2 * i), 0, 0, 0, (int)(2 * i));

            k[i] = _mm256_xor_si256(reverse2(_mm256_add_epi32(counters, step)), key);
        }
    }
#pragma GCC unroll 13
    for (size_t round = 1; round < AES_ROUND_KEYS - 1; round++) {
        key = both(block_load(schedule + round * AES_BLOCK_LEN));
#pragma GCC unroll 8
        for (size_t i = 0; i < WIDTH; i++) {
            if (i < n) {
                k[i] = _mm256_aesenc_epi128(k[i], key);
            }
        }
    }
    key = both(block_load(schedule + AES_SCHEDULE_LEN - AES_BLOCK_LEN));
#pragma GCC unroll 8
    for (size_t i = 0; i < WIDTH; i++) {
        if (i < n) {
            k[i] = _mm256_aesenclast_epi128(k[i], key);
        }
    }
}

/* Fewer bytes than those of the registers. */
VAES static inline void xor_tail(const __m256i *k, const uint8_t *in, uint8_t *out, size_t len)
{
    size_t i = 0;

    for (; len >= PAIR; i++) {
        store2(out, _mm256_xor_si256(load2(in), k[i]));
        in += PAIR;
        out += PAIR;
        len -= PAIR;
    }
    if (len > 0) {
        uint8_t last[PAIR] = {0};

        memcpy(last, in, len);
        store2(last, _mm256_xor_si256(load2(last), k[i]));
        memcpy(out, last, len);
    }
}

VAES static void ctr(const struct aes_gmac_siv *c, const uint8_t tag[AES_SIV_TAG_LEN],
                     uint32_t index, const uint8_t *in, uint8_t *out, size_t len)
{
    __m256i counters =
        _mm256_add_epi32(both(block_counter(block_load_words(tag))),
                         _mm256_set_epi32(0, 0, 0, (int)(index + 1), 0, 0, 0, (int)index));
    __m256i k[WIDTH];

    while (len >= (size_t)WIDTH * PAIR) {
        keystream(c->k1, counters, k, WIDTH);
#pragma GCC unroll 8
        for (size_t i = 0; i < WIDTH; i++) {
            store2(out, _mm256_xor_si256(load2(in), k[i]));
            in += PAIR;
            out += PAIR;
        }
        counters =
            _mm256_add_epi32(counters, _mm256_set_epi32(0, 0, 0, 2 * WIDTH, 0, 0, 0, 2 * WIDTH));
        len -= (size_t)WIDTH * PAIR;
    }
    if (len > (size_t)WIDTH / 2 * PAIR) {
        keystream(c->k1, counters, k, WIDTH);
        xor_tail(k, in, out, len);
    } else if (len > 0) {
        keystream(c->k1, counters, k, WIDTH / 2);
        xor_tail(k, in, out, len);
    }
}

const struct aes_kernel aes_vaes = {
    .name = "vaes",
    .needs = CPU_VAES | CPU_AES,
    .init = aesni_init,
    .tag = tag_text,
    .check = check_text,
    .ctr = ctr,
};
