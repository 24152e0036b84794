/* Salsa20 kernel for AVX2: eight blocks at a time, one word of all blocks in a register, transposed
 * on the way out; or, for up to four blocks, one diagonal of the states of two blocks in a
 * register, which takes about half the time. Source: spec 09 section 4.1 (why libsodium's is not
 * enough). */
#include "crypto/cpu.h"
#include "crypto/salsa_priv.h"

#include <immintrin.h>
#include <string.h>

#define AVX2 __attribute__((target("avx2")))

enum {
    LANES = 8,
    SETS = 2,       /* of short texts, run side by side */
    SET_BLOCKS = 2, /* one in each 128 bits */
    SHORT_MAX = SETS * SET_BLOCKS * SALSA_BLOCK_LEN,
};

AVX2 static inline __m256i rotl(__m256i v, int bits)
{
    return _mm256_or_si256(_mm256_slli_epi32(v, bits), _mm256_srli_epi32(v, 32 - bits));
}

AVX2 static inline void quarter(__m256i x[16], size_t a, size_t b, size_t c, size_t d)
{
    x[b] = _mm256_xor_si256(x[b], rotl(_mm256_add_epi32(x[a], x[d]), 7));
    x[c] = _mm256_xor_si256(x[c], rotl(_mm256_add_epi32(x[b], x[a]), 9));
    x[d] = _mm256_xor_si256(x[d], rotl(_mm256_add_epi32(x[c], x[b]), 13));
    x[a] = _mm256_xor_si256(x[a], rotl(_mm256_add_epi32(x[d], x[c]), 18));
}

/* Eight registers with words w..w+7 of eight blocks become the 32 bytes w..w+7 of each block. */
AVX2 static inline void transpose(__m256i r[8])
{
    __m256i t[8];
    __m256i u[8];

#pragma GCC unroll 4
    for (size_t i = 0; i < 8; i += 2) {
        t[i] = _mm256_unpacklo_epi32(r[i], r[i + 1]);
        t[i + 1] = _mm256_unpackhi_epi32(r[i], r[i + 1]);
    }
#pragma GCC unroll 4
    for (size_t i = 0; i < 8; i += 4) {
        u[i] = _mm256_unpacklo_epi64(t[i], t[i + 2]);
        u[i + 1] = _mm256_unpackhi_epi64(t[i], t[i + 2]);
        u[i + 2] = _mm256_unpacklo_epi64(t[i + 1], t[i + 3]);
        u[i + 3] = _mm256_unpackhi_epi64(t[i + 1], t[i + 3]);
    }
#pragma GCC unroll 4
    for (size_t i = 0; i < 4; i++) {
        r[i] = _mm256_permute2x128_si256(u[i], u[i + 4], 0x20);
        r[i + 4] = _mm256_permute2x128_si256(u[i], u[i + 4], 0x31);
    }
}

AVX2 static inline void put(const uint8_t *in, uint8_t *out, __m256i v)
{
    if (in != NULL) {
        v = _mm256_xor_si256(v, _mm256_loadu_si256((const __m256i_u *)(const void *)in));
    }
    _mm256_storeu_si256((__m256i_u *)(void *)out, v);
}

AVX2 static inline void generate(const uint32_t input[16], unsigned rounds, uint64_t counter,
                                 __m256i x[16])
{
    __m256i low = _mm256_add_epi32(_mm256_set1_epi32((int)(uint32_t)counter),
                                   _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
    __m256i high = _mm256_set1_epi32((int)(uint32_t)(counter >> 32));
    __m256i start8 = low;
    __m256i start9 = high;

    if ((uint32_t)counter > UINT32_MAX - LANES) {
        uint32_t carry[LANES];

        for (size_t i = 0; i < LANES; i++) {
            carry[i] = (uint32_t)((counter + i) >> 32);
        }
        memcpy(&start9, carry, sizeof(start9));
    }
#pragma GCC unroll 16
    for (size_t w = 0; w < 16; w++) {
        x[w] = _mm256_set1_epi32((int)input[w]);
    }
    x[8] = start8;
    x[9] = start9;
    for (unsigned r = 0; r < rounds; r += 2) {
        quarter(x, 0, 4, 8, 12);
        quarter(x, 5, 9, 13, 1);
        quarter(x, 10, 14, 2, 6);
        quarter(x, 15, 3, 7, 11);
        quarter(x, 0, 1, 2, 3);
        quarter(x, 5, 6, 7, 4);
        quarter(x, 10, 11, 8, 9);
        quarter(x, 15, 12, 13, 14);
    }
#pragma GCC unroll 16
    for (size_t w = 0; w < 16; w++) {
        __m256i first = _mm256_set1_epi32((int)input[w]);

        x[w] = _mm256_add_epi32(x[w], w == 8 ? start8 : w == 9 ? start9 : first);
    }
    transpose(x);
    transpose(x + 8);
}

/* Words 0 5 10 15, 4 9 14 3, 8 13 2 7, 12 1 6 11 of two blocks. */
struct set {
    __m256i a;
    __m256i b;
    __m256i c;
    __m256i d;
};

AVX2 static inline __m256i diagonal(const uint32_t input[16], size_t a, size_t b, size_t c,
                                    size_t d)
{
    return _mm256_broadcastsi128_si256(
        _mm_setr_epi32((int)input[a], (int)input[b], (int)input[c], (int)input[d]));
}

/* The initial state of two blocks. */
AVX2 static inline struct set set_start(const uint32_t input[16], uint64_t counter)
{
    uint64_t next = counter + 1;

    return (struct set){
        .a = diagonal(input, 0, 5, 10, 15),
        .b = _mm256_blend_epi32(diagonal(input, 4, 9, 14, 3),
                                _mm256_setr_epi32(0, (int)(uint32_t)(counter >> 32), 0, 0, 0,
                                                  (int)(uint32_t)(next >> 32), 0, 0),
                                0x22),
        .c = _mm256_blend_epi32(
            diagonal(input, 8, 13, 2, 7),
            _mm256_setr_epi32((int)(uint32_t)counter, 0, 0, 0, (int)(uint32_t)next, 0, 0, 0), 0x11),
        .d = diagonal(input, 12, 1, 6, 11),
    };
}

/* One quarter round for all words, then the diagonals change places for the next round. */
AVX2 static inline void set_round(struct set *s)
{
    __m256i b;

    s->b = _mm256_xor_si256(s->b, rotl(_mm256_add_epi32(s->a, s->d), 7));
    s->c = _mm256_xor_si256(s->c, rotl(_mm256_add_epi32(s->b, s->a), 9));
    s->d = _mm256_xor_si256(s->d, rotl(_mm256_add_epi32(s->c, s->b), 13));
    s->a = _mm256_xor_si256(s->a, rotl(_mm256_add_epi32(s->d, s->c), 18));
    b = _mm256_shuffle_epi32(s->b, 0x93);
    s->b = _mm256_shuffle_epi32(s->d, 0x39);
    s->c = _mm256_shuffle_epi32(s->c, 0x4e);
    s->d = b;
}

/* Diagonals, with the initial state added, to two blocks in order. */
AVX2 static inline void set_store(const struct set *s, const struct set *start, uint8_t *out)
{
    __m256i a = _mm256_add_epi32(s->a, start->a);
    __m256i b = _mm256_add_epi32(s->b, start->b);
    __m256i c = _mm256_add_epi32(s->c, start->c);
    __m256i d = _mm256_add_epi32(s->d, start->d);
    __m256i even = _mm256_blend_epi32(a, d, 0xaa); /* 0 1 10 11 */
    __m256i odd = _mm256_blend_epi32(c, b, 0xaa);  /* 8 9 2 3 */
    __m256i row0 = _mm256_blend_epi32(even, odd, 0xcc);
    __m256i row2 = _mm256_blend_epi32(odd, even, 0xcc);
    __m256i row1;
    __m256i row3;

    even = _mm256_blend_epi32(b, a, 0xaa); /* 4 5 14 15 */
    odd = _mm256_blend_epi32(d, c, 0xaa);  /* 12 13 6 7 */
    row1 = _mm256_blend_epi32(even, odd, 0xcc);
    row3 = _mm256_blend_epi32(odd, even, 0xcc);
    put(NULL, out, _mm256_permute2x128_si256(row0, row1, 0x20));
    put(NULL, out + 32, _mm256_permute2x128_si256(row2, row3, 0x20));
    put(NULL, out + 64, _mm256_permute2x128_si256(row0, row1, 0x31));
    put(NULL, out + 96, _mm256_permute2x128_si256(row2, row3, 0x31));
}

/* Up to SHORT_MAX bytes. */
AVX2 static void stream_short(const uint32_t input[16], unsigned rounds, uint64_t counter,
                              const uint8_t *in, uint8_t *out, size_t len)
{
    struct set start0 = set_start(input, counter);
    struct set start1 = set_start(input, counter + SET_BLOCKS);
    struct set s0 = start0;
    struct set s1 = start1;
    uint8_t keystream[SHORT_MAX];

    for (unsigned r = 0; r < rounds; r++) {
        set_round(&s0);
        set_round(&s1);
    }
    set_store(&s0, &start0, keystream);
    set_store(&s1, &start1, keystream + SHORT_MAX / SETS);
    salsa_put_bytes(in, out, keystream, len);
}

AVX2 static void stream_avx2(const uint32_t input[16], unsigned rounds, uint64_t counter,
                             const uint8_t *in, uint8_t *out, size_t len)
{
    __m256i x[16];

    while (len > SHORT_MAX) {
        size_t i = 0;

        generate(input, rounds, counter, x);
        for (; i < LANES && len >= SALSA_BLOCK_LEN; i++) {
            put(in, out, x[i]);
            put(in != NULL ? in + 32 : NULL, out + 32, x[i + 8]);
            in = in != NULL ? in + SALSA_BLOCK_LEN : NULL;
            out += SALSA_BLOCK_LEN;
            len -= SALSA_BLOCK_LEN;
        }
        if (i < LANES && len > 0) {
            uint8_t block[SALSA_BLOCK_LEN];

            put(NULL, block, x[i]);
            put(NULL, block + 32, x[i + 8]);
            salsa_put_bytes(in, out, block, len);
            len = 0;
        }
        counter += LANES;
    }
    if (len > 0) {
        stream_short(input, rounds, counter, in, out, len);
    }
}

AVX2 static void mix_avx2(const uint8_t *keystream, uint8_t *data, size_t len)
{
    for (; len >= 32; keystream += 32, data += 32, len -= 32) {
        put(data, data, _mm256_loadu_si256((const __m256i_u *)(const void *)keystream));
    }
    salsa_put_bytes(data, data, keystream, len);
}

const struct salsa_kernel salsa_avx2 = {
    .name = "avx2", .needs = CPU_AVX2, .stream = stream_avx2, .mix = mix_avx2};
