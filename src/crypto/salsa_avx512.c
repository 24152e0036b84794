/* Salsa20 kernel for AVX-512: sixteen blocks at a time, with the rotate instruction. */
#include "crypto/cpu.h"
#include "crypto/salsa_priv.h"

#include <immintrin.h>
#include <string.h>

#define AVX512 __attribute__((target("avx512f")))

enum { LANES = 16 };

AVX512 static inline __m512i step(__m512i to, __m512i a, __m512i b, int bits)
{
    __m512i sum = _mm512_add_epi32(a, b);

    switch (bits) {
    case 7:
        return _mm512_xor_si512(to, _mm512_rol_epi32(sum, 7));
    case 9:
        return _mm512_xor_si512(to, _mm512_rol_epi32(sum, 9));
    case 13:
        return _mm512_xor_si512(to, _mm512_rol_epi32(sum, 13));
    default:
        return _mm512_xor_si512(to, _mm512_rol_epi32(sum, 18));
    }
}

AVX512 static inline void quarter(__m512i x[16], size_t a, size_t b, size_t c, size_t d)
{
    x[b] = step(x[b], x[a], x[d], 7);
    x[c] = step(x[c], x[b], x[a], 9);
    x[d] = step(x[d], x[c], x[b], 13);
    x[a] = step(x[a], x[d], x[c], 18);
}

/* Sixteen registers with one word of sixteen blocks each become one register a block. */
AVX512 static inline void transpose(__m512i r[16])
{
    __m512i t[16];

#pragma GCC unroll 8
    for (size_t i = 0; i < 16; i += 2) {
        t[i] = _mm512_unpacklo_epi32(r[i], r[i + 1]);
        t[i + 1] = _mm512_unpackhi_epi32(r[i], r[i + 1]);
    }
#pragma GCC unroll 4
    for (size_t i = 0; i < 16; i += 4) {
        r[i] = _mm512_unpacklo_epi64(t[i], t[i + 2]);
        r[i + 1] = _mm512_unpackhi_epi64(t[i], t[i + 2]);
        r[i + 2] = _mm512_unpacklo_epi64(t[i + 1], t[i + 3]);
        r[i + 3] = _mm512_unpackhi_epi64(t[i + 1], t[i + 3]);
    }
    /* r[4 k + j]: words 4 k .. 4 k + 3 of blocks j, j + 4, j + 8, j + 12, 128 bits each. */
#pragma GCC unroll 4
    for (size_t j = 0; j < 4; j++) {
        t[j] = _mm512_shuffle_i32x4(r[j], r[j + 4], 0x88);
        t[j + 4] = _mm512_shuffle_i32x4(r[j], r[j + 4], 0xdd);
        t[j + 8] = _mm512_shuffle_i32x4(r[j + 8], r[j + 12], 0x88);
        t[j + 12] = _mm512_shuffle_i32x4(r[j + 8], r[j + 12], 0xdd);
    }
#pragma GCC unroll 4
    for (size_t j = 0; j < 4; j++) {
        r[j] = _mm512_shuffle_i32x4(t[j], t[j + 8], 0x88);
        r[j + 8] = _mm512_shuffle_i32x4(t[j], t[j + 8], 0xdd);
        r[j + 4] = _mm512_shuffle_i32x4(t[j + 4], t[j + 12], 0x88);
        r[j + 12] = _mm512_shuffle_i32x4(t[j + 4], t[j + 12], 0xdd);
    }
}

AVX512 static inline void generate(const uint32_t input[16], unsigned rounds, uint64_t counter,
                                   __m512i x[16])
{
    uint32_t counters[2][LANES];
    __m512i start8;
    __m512i start9;

    for (size_t i = 0; i < LANES; i++) {
        counters[0][i] = (uint32_t)(counter + i);
        counters[1][i] = (uint32_t)((counter + i) >> 32);
    }
    memcpy(&start8, counters[0], sizeof(start8));
    memcpy(&start9, counters[1], sizeof(start9));
#pragma GCC unroll 16
    for (size_t w = 0; w < 16; w++) {
        x[w] = _mm512_set1_epi32((int)input[w]);
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
        __m512i first = _mm512_set1_epi32((int)input[w]);

        x[w] = _mm512_add_epi32(x[w], w == 8 ? start8 : w == 9 ? start9 : first);
    }
    transpose(x);
}

AVX512 static inline void put(const uint8_t *in, uint8_t *out, __m512i v)
{
    if (in != NULL) {
        v = _mm512_xor_si512(v, _mm512_loadu_si512(in));
    }
    _mm512_storeu_si512(out, v);
}

AVX512 static void stream_avx512(const uint32_t input[16], unsigned rounds, uint64_t counter,
                                 const uint8_t *in, uint8_t *out, size_t len)
{
    __m512i x[16];

    while (len > 0) {
        size_t i = 0;

        generate(input, rounds, counter, x);
        for (; i < LANES && len >= SALSA_BLOCK_LEN; i++) {
            put(in, out, x[i]);
            in = in != NULL ? in + SALSA_BLOCK_LEN : NULL;
            out += SALSA_BLOCK_LEN;
            len -= SALSA_BLOCK_LEN;
        }
        if (i < LANES && len > 0) {
            uint8_t block[SALSA_BLOCK_LEN];

            put(NULL, block, x[i]);
            salsa_put_bytes(in, out, block, len);
            len = 0;
        }
        counter += LANES;
    }
}

const struct salsa_kernel salsa_avx512 = {
    .name = "avx512", .needs = CPU_AVX512, .stream = stream_avx512};
