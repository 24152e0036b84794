/* AES-GMAC-SIV kernel for VAES and VPCLMULQDQ with AVX-512: four blocks in a register, up to eight
 * registers side by side. GHASH adds up the products of up to 34 blocks (32 of text, associated
 * data, lengths) before one reduction; opening multiplies a group of plaintext while the next one
 * is deciphered, since the two instructions run on different units. Ends of texts are read and
 * written under a mask, so no length costs more than the next multiple of 64. Source: spec 09
 * sections 4.1 and 6.7. */
#include "crypto/aes_x86.h"
#include "crypto/cpu.h"

#define VAES512 __attribute__((target("avx2,avx512f,avx512bw,avx512vl,aes,pclmul,vaes,vpclmulqdq")))

/* For functions with parameters that must be constants. */
#define VAES512_INLINE VAES512 static inline __attribute__((always_inline))

enum {
    QUAD = 4 * AES_BLOCK_LEN,                /* bytes of a register */
    WIDTH = 8,                               /* registers of a group */
    GROUP = WIDTH * QUAD,                    /* bytes of a group */
    GROUP_AT = AES_GHASH_POWERS - 4 * WIDTH, /* index of the power of the first block of a group */
    LENGTHS_AT = AES_GHASH_POWERS - 1,       /* of that of the lengths */
};

VAES512 static inline __m512i load4(const void *p)
{
    return _mm512_loadu_si512(p);
}

/* The first len bytes; a whole register if there are more. */
VAES512 static inline __mmask64 mask_of(size_t len)
{
    return len < QUAD ? ((__mmask64)1 << len) - 1 : ~(__mmask64)0;
}

VAES512 static inline __m512i all4(__m128i v)
{
    return _mm512_broadcast_i32x4(v);
}

/* The bytes of each block in the opposite order. */
VAES512 static inline __m512i reverse4(__m512i v)
{
    return _mm512_shuffle_epi8(v, all4(block_reverse_order()));
}

/* Products being summed, those of every fourth block in one lane. */
struct product {
    __m512i low;
    __m512i middle;
    __m512i high;
};

/* A GHASH under way. */
struct ghash {
    struct product sum;
    __m128i state; /* to be XORed into the next block */
    __m128i first; /* the associated data, until it is in the sum */
    const struct aes_gmac_siv *c;
};

VAES512 static inline void product_clear(struct product *p)
{
    p->low = p->middle = p->high = _mm512_setzero_si512();
}

VAES512 static inline void product_add(struct product *p, __m512i blocks, __m512i powers,
                                       __m512i folds)
{
    __m512i halves = _mm512_xor_si512(blocks, _mm512_shuffle_epi32(blocks, _MM_PERM_BADC));

    p->low = _mm512_xor_si512(p->low, _mm512_clmulepi64_epi128(blocks, powers, 0x00));
    p->high = _mm512_xor_si512(p->high, _mm512_clmulepi64_epi128(blocks, powers, 0x11));
    p->middle = _mm512_xor_si512(p->middle, _mm512_clmulepi64_epi128(halves, folds, 0x00));
}

VAES512 static inline __m128i lanes_xor(__m512i v)
{
    __m256i pair = _mm256_xor_si256(_mm512_castsi512_si256(v), _mm512_extracti64x4_epi64(v, 1));

    return _mm_xor_si128(_mm256_castsi256_si128(pair), _mm256_extracti128_si256(pair, 1));
}

VAES512 static inline __m128i product_reduce(const struct product *p)
{
    return block_reduce(lanes_xor(p->low), lanes_xor(p->middle), lanes_xor(p->high));
}

VAES512 static inline void ghash_begin(struct ghash *g, const struct aes_gmac_siv *c,
                                       const struct aes_aad *aad)
{
    g->c = c;
    g->state = _mm_setzero_si128();
    g->first = block_of_aad(aad);
    product_clear(&g->sum);
}

/* Four blocks of text; at: index of the power of the first. */
VAES512 static inline void ghash_quad(struct ghash *g, __m512i text, size_t at)
{
    product_add(&g->sum, _mm512_xor_si512(reverse4(text), _mm512_zextsi128_si512(g->state)),
                load4(g->c->h[at]), load4(g->c->h_fold[at]));
    g->state = _mm_setzero_si128();
}

VAES512 static inline __m512i two_lanes(__m128i a, __m128i b)
{
    return _mm512_zextsi256_si512(_mm256_inserti128_si256(_mm256_castsi128_si256(a), b, 1));
}

/* What stands before and behind the text of this run: the associated data if this is the first one,
 * and the block of lengths or zero; at: index of the power of the first block of text. */
VAES512 static inline void ghash_ends(struct ghash *g, size_t at, __m128i lengths)
{
    const struct aes_gmac_siv *c = g->c;

    product_add(&g->sum, two_lanes(g->first, lengths),
                two_lanes(block_load(c->h[at - 1]), block_load(c->h[LENGTHS_AT])),
                two_lanes(block_load(c->h_fold[at - 1]), block_load(c->h_fold[LENGTHS_AT])));
    g->first = _mm_setzero_si128();
}

VAES512 static inline void ghash_reduce(struct ghash *g)
{
    g->state = product_reduce(&g->sum);
    product_clear(&g->sum);
}

/* Index of the power of the first block of the last len bytes of text. */
static inline size_t last_at(size_t len)
{
    return LENGTHS_AT - aes_count_blocks(len);
}

VAES512 static __m128i ghash_text(const struct aes_gmac_siv *c, const struct aes_aad *aad,
                                  const uint8_t *text, size_t len)
{
    struct ghash g;
    size_t left = len;

    ghash_begin(&g, c, aad);
    if (left > GROUP) {
        ghash_ends(&g, GROUP_AT, _mm_setzero_si128());
    }
    for (; left > GROUP; left -= GROUP) {
        for (size_t i = 0; i < WIDTH; i++) {
            ghash_quad(&g, load4(text + i * QUAD), GROUP_AT + 4 * i);
        }
        ghash_reduce(&g);
        text += GROUP;
    }
    ghash_ends(&g, last_at(left), block_of_lengths(len));
    for (size_t at = last_at(left), done = 0; done < left; done += QUAD, at += 4) {
        ghash_quad(&g, _mm512_maskz_loadu_epi8(mask_of(left - done), text + done), at);
    }
    return product_reduce(&g.sum);
}

VAES512 static inline __m128i make_tag(const struct aes_gmac_siv *c, const uint8_t *nonce,
                                       const struct aes_aad *aad, const uint8_t *text, size_t len)
{
    uint64_t id = block_word(nonce);
    __m128i mask = block_mask(c, id);
    uint64_t fold = block_gmac(ghash_text(c, aad, text, len), mask);

    return block_encrypt(c->k1, block_of(id, fold));
}

VAES512 static void tag_text(const struct aes_gmac_siv *c, const uint8_t nonce[AES_SIV_NONCE_LEN],
                             const struct aes_aad *aad, const uint8_t *text, size_t len,
                             uint8_t ret_tag[AES_SIV_TAG_LEN])
{
    block_store(ret_tag, make_tag(c, nonce, aad, text, len));
}

/* Whether a GHASH is that of the tag whose inverse cipher is `want`. */
VAES512 static inline bool is_wanted(const struct aes_gmac_siv *c, __m128i want, __m128i ghash)
{
    uint64_t fold = block_gmac(ghash, block_mask(c, block_first(want)));

    /* One comparison of whole words: constant time. */
    return (fold ^ block_second(want)) == 0;
}

VAES512 static bool check_text(const struct aes_gmac_siv *c, const struct aes_aad *aad,
                               const uint8_t tag[AES_SIV_TAG_LEN], const uint8_t *text, size_t len)
{
    __m128i want = block_decrypt(c->k1_inv, block_load_words(tag));

    return is_wanted(c, want, ghash_text(c, aad, text, len));
}

/* Counters of four blocks from `index` on, bytes reversed. */
VAES512 static inline __m512i counters_from(__m128i tag, uint32_t index)
{
    __m512i steps = _mm512_set_epi32(0, 0, 0, 3, 0, 0, 0, 2, 0, 0, 0, 1, 0, 0, 0, 0);
    __m512i start = all4(_mm_add_epi32(block_counter(tag), _mm_set_epi32(0, 0, 0, (int)index)));

    return _mm512_add_epi32(start, steps);
}

VAES512 static inline __m512i counters_add(__m512i counters, size_t blocks)
{
    return _mm512_add_epi32(counters, all4(_mm_set_epi32(0, 0, 0, (int)blocks)));
}

VAES512 static inline __m512i round_keys(const uint8_t *schedule, size_t round)
{
    return all4(block_round_key(schedule, round));
}

/* Encipher n registers (constant), and if g: the group of text into GHASH meanwhile. */
VAES512_INLINE void encipher(const uint8_t *schedule, __m512i *k, size_t n, struct ghash *g,
                             const __m512i *text)
{
    __m512i key = round_keys(schedule, 0);

#pragma GCC unroll 8
    for (size_t i = 0; i < WIDTH; i++) {
        if (i < n) {
            k[i] = _mm512_xor_si512(k[i], key);
        }
    }
#pragma GCC unroll 13
    for (size_t round = 1; round < AES_ROUND_KEYS - 1; round++) {
        key = round_keys(schedule, round);
#pragma GCC unroll 8
        for (size_t i = 0; i < WIDTH; i++) {
            if (i < n) {
                k[i] = _mm512_aesenc_epi128(k[i], key);
            }
        }
        if (g != NULL && round <= WIDTH) {
            ghash_quad(g, text[round - 1], GROUP_AT + 4 * (round - 1));
        }
    }
    key = round_keys(schedule, AES_ROUND_KEYS - 1);
#pragma GCC unroll 8
    for (size_t i = 0; i < WIDTH; i++) {
        if (i < n) {
            k[i] = _mm512_aesenclast_epi128(k[i], key);
        }
    }
    if (g != NULL) {
        ghash_reduce(g);
    }
}

/* Keystream of n registers (constant); g, text: as above. */
VAES512_INLINE void keystream(const uint8_t *schedule, __m512i counters, __m512i *k, size_t n,
                              struct ghash *g, const __m512i *text)
{
#pragma GCC unroll 8
    for (size_t i = 0; i < WIDTH; i++) {
        if (i < n) {
            k[i] = reverse4(counters_add(counters, 4 * i));
        }
    }
    encipher(schedule, k, n, g, text);
}

/* XOR a group of keystream over in into out; k becomes what was written. */
VAES512 static inline void xor_group(__m512i *k, const uint8_t *in, uint8_t *out)
{
#pragma GCC unroll 8
    for (size_t i = 0; i < WIDTH; i++) {
        k[i] = _mm512_xor_si512(load4(in + i * QUAD), k[i]);
        _mm512_storeu_si512(out + i * QUAD, k[i]);
    }
}

/* The same for len bytes in at most n registers (constant), zeros behind them. */
VAES512_INLINE void xor_tail(__m512i *k, size_t n, const uint8_t *in, uint8_t *out, size_t len)
{
#pragma GCC unroll 8
    for (size_t i = 0; i < WIDTH; i++) {
        if (i < n && i * QUAD < len) {
            __mmask64 mask = mask_of(len - i * QUAD);

            k[i] = _mm512_xor_si512(_mm512_maskz_loadu_epi8(mask, in + i * QUAD),
                                    _mm512_maskz_mov_epi8(mask, k[i]));
            _mm512_mask_storeu_epi8(out + i * QUAD, mask, k[i]);
        }
    }
}

/* Keystream over at most n registers (constant). */
VAES512_INLINE void ctr_tail(const struct aes_gmac_siv *c, __m512i counters, size_t n,
                             const uint8_t *in, uint8_t *out, size_t len)
{
    __m512i k[WIDTH];

    keystream(c->k1, counters, k, n, NULL, NULL);
    xor_tail(k, n, in, out, len);
}

/* Keystream from these counters on over in into out. */
VAES512 static void ctr_text(const struct aes_gmac_siv *c, __m512i counters, const uint8_t *in,
                             uint8_t *out, size_t len)
{
    __m512i k[WIDTH];

    for (; len >= GROUP; len -= GROUP) {
        keystream(c->k1, counters, k, WIDTH, NULL, NULL);
        xor_group(k, in, out);
        counters = counters_add(counters, (size_t)4 * WIDTH);
        in += GROUP;
        out += GROUP;
    }
    if (len > (size_t)4 * QUAD) {
        ctr_tail(c, counters, 8, in, out, len);
    } else if (len > (size_t)2 * QUAD) {
        ctr_tail(c, counters, 4, in, out, len);
    } else if (len > 0) {
        ctr_tail(c, counters, 2, in, out, len);
    }
}

VAES512 static void ctr(const struct aes_gmac_siv *c, const uint8_t tag[AES_SIV_TAG_LEN],
                        uint32_t index, const uint8_t *in, uint8_t *out, size_t len)
{
    ctr_text(c, counters_from(block_load_words(tag), index), in, out, len);
}

VAES512 static void seal_text(const struct aes_gmac_siv *c, const uint8_t nonce[AES_SIV_NONCE_LEN],
                              const struct aes_aad *aad, const uint8_t *in, size_t len,
                              uint8_t *out, uint8_t ret_tag[AES_SIV_TAG_LEN])
{
    __m128i tag = make_tag(c, nonce, aad, in, len);

    block_store(ret_tag, tag);
    ctr_text(c, counters_from(tag, 0), in, out, len);
}

/* Decipher the last len bytes, at most n registers (constant), and finish the GHASH of total bytes.
 * If text: the group before, not yet in the GHASH. */
VAES512_INLINE __m128i open_tail(struct ghash *g, __m512i counters, size_t n, const __m512i *text,
                                 const uint8_t *in, uint8_t *out, size_t len, size_t total)
{
    size_t at = last_at(len);
    __m512i k[WIDTH];

    keystream(g->c->k1, counters, k, n, text != NULL ? g : NULL, text);
    ghash_ends(g, at, block_of_lengths(total));
    xor_tail(k, n, in, out, len);
#pragma GCC unroll 8
    for (size_t i = 0; i < WIDTH; i++) {
        if (i < n && i * QUAD < len) {
            ghash_quad(g, k[i], at + 4 * i);
        }
    }
    return product_reduce(&g->sum);
}

/* Texts of more than a group. */
VAES512 static inline __m128i open_groups(struct ghash *g, __m512i counters, const uint8_t *in,
                                          uint8_t *out, size_t len)
{
    __m512i text[WIDTH];
    size_t left = len - GROUP;

    keystream(g->c->k1, counters, text, WIDTH, NULL, NULL);
    xor_group(text, in, out);
    ghash_ends(g, GROUP_AT, _mm_setzero_si128());
    for (;;) {
        __m512i k[WIDTH];

        counters = counters_add(counters, (size_t)4 * WIDTH);
        in += GROUP;
        out += GROUP;
        if (left <= GROUP) {
            return open_tail(g, counters, WIDTH, text, in, out, left, len);
        }
        keystream(g->c->k1, counters, k, WIDTH, g, text);
        xor_group(k, in, out);
#pragma GCC unroll 8
        for (size_t i = 0; i < WIDTH; i++) {
            text[i] = k[i];
        }
        left -= GROUP;
    }
}

VAES512 static bool open_text(const struct aes_gmac_siv *c, const struct aes_aad *aad,
                              const uint8_t tag[AES_SIV_TAG_LEN], const uint8_t *in, size_t len,
                              uint8_t *out)
{
    __m128i got = block_load_words(tag);
    __m128i want = block_decrypt(c->k1_inv, got);
    __m512i counters = counters_from(got, 0);
    struct ghash g;
    __m128i sum;

    ghash_begin(&g, c, aad);
    if (len > GROUP) {
        sum = open_groups(&g, counters, in, out, len);
    } else if (len > (size_t)4 * QUAD) {
        sum = open_tail(&g, counters, 8, NULL, in, out, len, len);
    } else if (len > (size_t)2 * QUAD) {
        sum = open_tail(&g, counters, 4, NULL, in, out, len, len);
    } else {
        sum = open_tail(&g, counters, 2, NULL, in, out, len, len);
    }
    return is_wanted(c, want, sum);
}

/* The same block of four texts in the lanes of one register. */
VAES512 static inline __m512i lanes_of(const __m128i v[AES_BATCH])
{
    __m256i low = _mm256_inserti128_si256(_mm256_castsi128_si256(v[0]), v[1], 1);
    __m256i high = _mm256_inserti128_si256(_mm256_castsi128_si256(v[2]), v[3], 1);

    return _mm512_inserti64x4(_mm512_castsi256_si512(low), high, 1);
}

/* XOR of the lanes of each of four registers, in the lanes of one. */
VAES512 static inline __m512i lanes_xor4(__m512i a, __m512i b, __m512i c, __m512i d)
{
    __m512i ab =
        _mm512_xor_si512(_mm512_shuffle_i64x2(a, b, 0x44), _mm512_shuffle_i64x2(a, b, 0xee));
    __m512i cd =
        _mm512_xor_si512(_mm512_shuffle_i64x2(c, d, 0x44), _mm512_shuffle_i64x2(c, d, 0xee));

    return _mm512_xor_si512(_mm512_shuffle_i64x2(ab, cd, 0x88), _mm512_shuffle_i64x2(ab, cd, 0xdd));
}

VAES512 static inline __m512i fold4(__m512i v)
{
    return _mm512_xor_si512(v, _mm512_shuffle_epi32(v, _MM_PERM_BADC));
}

/* As block_reduce, for the sums of four texts. */
VAES512 static inline __m512i reduce4(const struct product p[AES_BATCH])
{
    const __m512i poly = all4(_mm_set_epi64x((long long)0xc200000000000000, 0));
    __m512i low = lanes_xor4(p[0].low, p[1].low, p[2].low, p[3].low);
    __m512i high = lanes_xor4(p[0].high, p[1].high, p[2].high, p[3].high);
    __m512i middle = lanes_xor4(p[0].middle, p[1].middle, p[2].middle, p[3].middle);

    middle = _mm512_xor_si512(middle, _mm512_xor_si512(low, high));
    low = _mm512_xor_si512(low, _mm512_bslli_epi128(middle, 8));
    high = _mm512_xor_si512(high, _mm512_bsrli_epi128(middle, 8));
    low = _mm512_xor_si512(_mm512_shuffle_epi32(low, _MM_PERM_BADC),
                           _mm512_clmulepi64_epi128(low, poly, 0x10));
    low = _mm512_xor_si512(_mm512_shuffle_epi32(low, _MM_PERM_BADC),
                           _mm512_clmulepi64_epi128(low, poly, 0x10));
    return _mm512_xor_si512(high, low);
}

/* The folded GMACs of four texts, which lie in two registers each; ids: their nonces, each followed
 * by zeros. In both halves of each lane. */
VAES512 static inline __m512i gmac4(const struct aes_gmac_siv *c, const struct aes_text *texts,
                                    const __m512i *data, __m512i ids)
{
    __m512i mask = _mm512_or_si512(ids, all4(block_of(0, 1ULL << 56)));
    struct product products[AES_BATCH];

    encipher(c->k0, &mask, 1, NULL, NULL);
#pragma GCC unroll 4
    for (size_t i = 0; i < AES_BATCH; i++) {
        size_t at = last_at(texts[i].len);
        struct ghash g;

        ghash_begin(&g, c, &texts[i].aad);
        ghash_ends(&g, at, block_of_lengths(texts[i].len));
        ghash_quad(&g, data[2 * i], at);
        if (texts[i].len > QUAD) {
            ghash_quad(&g, data[2 * i + 1], at + 4);
        }
        products[i] = g.sum;
    }
    return fold4(_mm512_xor_si512(reverse4(reduce4(products)), mask));
}

/* Keystream of the tags of four texts over data, into data and out; zeros behind the texts. */
VAES512 static inline void ctr4(const struct aes_gmac_siv *c, const struct aes_text *texts,
                                const __m128i tags[AES_BATCH], __m512i *data)
{
    __m512i k[WIDTH];

#pragma GCC unroll 4
    for (size_t i = 0; i < AES_BATCH; i++) {
        __m512i counters = counters_from(tags[i], 0);

        k[2 * i] = reverse4(counters);
        k[2 * i + 1] = reverse4(counters_add(counters, 4));
    }
    encipher(c->k1, k, WIDTH, NULL, NULL);
#pragma GCC unroll 8
    for (size_t i = 0; i < WIDTH; i++) {
        size_t done = i % 2 * QUAD;

        if (texts[i / 2].len > done) {
            __mmask64 mask = mask_of(texts[i / 2].len - done);

            data[i] = _mm512_xor_si512(data[i], _mm512_maskz_mov_epi8(mask, k[i]));
            _mm512_mask_storeu_epi8(texts[i / 2].out + done, mask, data[i]);
        }
    }
}

VAES512 static inline void load_texts(const struct aes_text *texts, __m512i *data)
{
#pragma GCC unroll 8
    for (size_t i = 0; i < WIDTH; i++) {
        size_t done = i % 2 * QUAD;
        size_t len = texts[i / 2].len;

        data[i] = _mm512_setzero_si512();
        if (len > done) {
            data[i] = _mm512_maskz_loadu_epi8(mask_of(len - done), texts[i / 2].in + done);
        }
    }
}

VAES512 static void seal4(const struct aes_gmac_siv *c, struct aes_text texts[AES_BATCH])
{
    __m512i data[WIDTH];
    __m128i blocks[AES_BATCH];
    __m512i ids;
    __m512i v;

#pragma GCC unroll 4
    for (size_t i = 0; i < AES_BATCH; i++) {
        blocks[i] = block_of(block_word(texts[i].nonce), 0);
    }
    ids = lanes_of(blocks);
    load_texts(texts, data);
    v = _mm512_unpacklo_epi64(ids, gmac4(c, texts, data, ids));
    encipher(c->k1, &v, 1, NULL, NULL);
    blocks[0] = _mm512_castsi512_si128(v);
    blocks[1] = _mm512_extracti32x4_epi32(v, 1);
    blocks[2] = _mm512_extracti32x4_epi32(v, 2);
    blocks[3] = _mm512_extracti32x4_epi32(v, 3);
#pragma GCC unroll 4
    for (size_t i = 0; i < AES_BATCH; i++) {
        block_store(texts[i].tag, blocks[i]);
    }
    ctr4(c, texts, blocks, data);
}

VAES512 static void open4(const struct aes_gmac_siv *c, struct aes_text texts[AES_BATCH])
{
    __m512i data[WIDTH];
    __m128i tags[AES_BATCH];
    __m512i want;
    __m512i fold;
    __mmask8 equal;

#pragma GCC unroll 4
    for (size_t i = 0; i < AES_BATCH; i++) {
        tags[i] = block_load_words(texts[i].tag);
    }
    want = _mm512_xor_si512(lanes_of(tags), round_keys(c->k1_inv, AES_ROUND_KEYS - 1));
#pragma GCC unroll 13
    for (size_t i = AES_ROUND_KEYS - 2; i > 0; i--) {
        want = _mm512_aesdec_epi128(want, round_keys(c->k1_inv, i));
    }
    want = _mm512_aesdeclast_epi128(want, round_keys(c->k1_inv, 0));
    load_texts(texts, data);
    ctr4(c, texts, tags, data);
    fold = gmac4(c, texts, data, _mm512_unpacklo_epi64(want, _mm512_setzero_si512()));
    /* Whole words are compared: constant time. */
    equal = _mm512_cmpeq_epi64_mask(fold, want);
    for (size_t i = 0; i < AES_BATCH; i++) {
        texts[i].authentic = (equal >> (2 * i + 1) & 1) != 0;
    }
}

const struct aes_kernel aes_vaes512 = {
    .name = "vaes512",
    .needs = CPU_VAES512 | CPU_AES,
    .init = aesni_init,
    .tag = tag_text,
    .check = check_text,
    .ctr = ctr,
    .seal = seal_text,
    .open = open_text,
    .seal4 = seal4,
    .open4 = open4,
};
