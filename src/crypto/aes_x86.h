/* One block in a register: what the AES-GMAC-SIV kernels of x86-64 share. Compiled for the features
 * of AES-NI, and inlined into kernels for more. Source: spec 01 section 8.5, spec 09 section 6.7.
 */
#pragma once

#include "crypto/aes_priv.h"

#include <immintrin.h>
#include <string.h>

#define AES_X86 __attribute__((target("aes,pclmul,ssse3")))

AES_X86 static inline __m128i block_load(const void *p)
{
    return _mm_loadu_si128((const __m128i_u *)p);
}

AES_X86 static inline void block_store(void *p, __m128i v)
{
    _mm_storeu_si128((__m128i_u *)p, v);
}

/* Eight bytes in a general register: the empty instruction keeps compilers from reading two such
 * neighbours as one block, which would wait until both have reached the cache when just written. */
static inline uint64_t block_word(const void *p)
{
    uint64_t word;

    memcpy(&word, p, sizeof(word));
    __asm__("" : "+r"(word));
    return word;
}

AES_X86 static inline __m128i block_of(uint64_t first, uint64_t second)
{
    return _mm_set_epi64x((long long)second, (long long)first);
}

/* A block the caller may just have put together out of two words. */
AES_X86 static inline __m128i block_load_words(const uint8_t *p)
{
    return block_of(block_word(p), block_word(p + 8));
}

AES_X86 static inline uint64_t block_first(__m128i v)
{
    return (uint64_t)_mm_cvtsi128_si64(v);
}

AES_X86 static inline uint64_t block_second(__m128i v)
{
    return (uint64_t)_mm_cvtsi128_si64(_mm_unpackhi_epi64(v, v));
}

AES_X86 static inline __m128i block_reverse_order(void)
{
    return _mm_set_epi8(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
}

/* All 16 bytes in the opposite order. */
AES_X86 static inline __m128i block_reverse(__m128i v)
{
    return _mm_shuffle_epi8(v, block_reverse_order());
}

/* The XOR of the halves, in both halves. */
AES_X86 static inline __m128i block_fold(__m128i v)
{
    return _mm_xor_si128(v, _mm_shuffle_epi32(v, 0x4e));
}

AES_X86 static inline __m128i block_round_key(const uint8_t *schedule, size_t round)
{
    return block_load(schedule + round * AES_BLOCK_LEN);
}

AES_X86 static inline __m128i block_encrypt(const uint8_t *schedule, __m128i v)
{
    v = _mm_xor_si128(v, block_round_key(schedule, 0));
#pragma GCC unroll 13
    for (size_t i = 1; i < AES_ROUND_KEYS - 1; i++) {
        v = _mm_aesenc_si128(v, block_round_key(schedule, i));
    }
    return _mm_aesenclast_si128(v, block_round_key(schedule, AES_ROUND_KEYS - 1));
}

/* The inverse cipher, with its own schedule. */
AES_X86 static inline __m128i block_decrypt(const uint8_t *inverse, __m128i v)
{
    v = _mm_xor_si128(v, block_round_key(inverse, AES_ROUND_KEYS - 1));
#pragma GCC unroll 13
    for (size_t i = AES_ROUND_KEYS - 2; i > 0; i--) {
        v = _mm_aesdec_si128(v, block_round_key(inverse, i));
    }
    return _mm_aesdeclast_si128(v, block_round_key(inverse, 0));
}

/* GHASH: the block of a sum of products, whose middle part (Karatsuba) still wants the other two.
 * The powers carry a factor x (see init_powers in aes_aesni.c), so the product needs no shift: two
 * folds of the low 64 bits by the reversed polynomial and what is left is the upper half. */
AES_X86 static inline __m128i block_reduce(__m128i low, __m128i middle, __m128i high)
{
    const __m128i poly = _mm_set_epi64x((long long)0xc200000000000000, 0);

    middle = _mm_xor_si128(middle, _mm_xor_si128(low, high));
    low = _mm_xor_si128(low, _mm_slli_si128(middle, 8));
    high = _mm_xor_si128(high, _mm_srli_si128(middle, 8));
    low = _mm_xor_si128(_mm_shuffle_epi32(low, 0x4e), _mm_clmulepi64_si128(low, poly, 0x10));
    low = _mm_xor_si128(_mm_shuffle_epi32(low, 0x4e), _mm_clmulepi64_si128(low, poly, 0x10));
    return _mm_xor_si128(high, low);
}

/* The associated data as a block of GHASH, bytes reversed. */
AES_X86 static inline __m128i block_of_aad(const struct aes_aad *aad)
{
    return block_of(block_word(&aad->second), block_word(&aad->first));
}

/* The block of lengths after len bytes of text, bytes reversed. */
AES_X86 static inline __m128i block_of_lengths(size_t len)
{
    return block_of(0, (AES_BLOCK_LEN + len) * 8);
}

/* What GMAC XORs over GHASH: the cipher of nonce and counter 1. */
AES_X86 static inline __m128i block_mask(const struct aes_gmac_siv *c, uint64_t nonce)
{
    return block_encrypt(c->k0, block_of(nonce, 1ULL << 56));
}

/* The folded GMAC (8 bytes) of a finished GHASH. */
AES_X86 static inline uint64_t block_gmac(__m128i ghash, __m128i mask)
{
    return block_first(block_fold(_mm_xor_si128(block_reverse(ghash), mask)));
}

/* Counter of the first block of the keystream, bytes reversed. With the top bit of the 32-bit
 * counter clear no carry can leave it. */
AES_X86 static inline __m128i block_counter(__m128i tag)
{
    return _mm_and_si128(block_reverse(tag), _mm_set_epi32(-1, -1, -1, 0x7fffffff));
}
