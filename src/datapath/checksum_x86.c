/* The Internet checksum with AVX2: the halves of 32-bit words are summed in 32-bit lanes, which
 * cannot overflow within CHUNK_LEN bytes. Source: spec 09 section 4.1. */
#include "datapath/checksum.h"

#include "base/cursor.h"
#include "crypto/cpu.h"

#include <immintrin.h>
#include <string.h>

#define AVX2 __attribute__((target("avx2")))

enum {
    STEP = 128,           /* bytes of a turn: four registers */
    CHUNK_LEN = 64 * 1024 /* lanes take 2^16 halves each */
};

AVX2 static inline __m256i load(const uint8_t *p)
{
    return _mm256_loadu_si256((const __m256i_u *)p);
}

AVX2 static inline __m256i halves(__m256i v)
{
    return _mm256_add_epi32(_mm256_and_si256(v, _mm256_set1_epi32(0xffff)),
                            _mm256_srli_epi32(v, 16));
}

AVX2 static inline uint64_t lanes_sum(__m256i v)
{
    const __m256i low = _mm256_set1_epi64x(0xffffffff);
    __m256i wide = _mm256_add_epi64(_mm256_and_si256(v, low), _mm256_srli_epi64(v, 32));
    __m128i pair = _mm_add_epi64(_mm256_castsi256_si128(wide), _mm256_extracti128_si256(wide, 1));

    return (uint64_t)_mm_cvtsi128_si64(pair) +
           (uint64_t)_mm_cvtsi128_si64(_mm_unpackhi_epi64(pair, pair));
}

/* Sum of len bytes, a multiple of 32 and at most CHUNK_LEN. */
AVX2 static uint64_t sum_chunk(const uint8_t *p, size_t len)
{
    __m256i a = _mm256_setzero_si256();
    __m256i b = _mm256_setzero_si256();

    for (; len >= STEP; p += STEP, len -= STEP) {
        a = _mm256_add_epi32(a, _mm256_add_epi32(halves(load(p)), halves(load(p + 32))));
        b = _mm256_add_epi32(b, _mm256_add_epi32(halves(load(p + 64)), halves(load(p + 96))));
    }
    for (; len > 0; p += 32, len -= 32) {
        a = _mm256_add_epi32(a, halves(load(p)));
    }
    return lanes_sum(a) + lanes_sum(b);
}

AVX2 static uint32_t checksum_avx2(const void *data, size_t len)
{
    const uint8_t *p = data;
    uint64_t sum = 0;
    uint8_t swapped[2];
    uint16_t folded;

    if (len < STEP) {
        return checksum_portable(data, len);
    }
    while (len >= 32) {
        size_t n = len < CHUNK_LEN ? len & ~(size_t)31 : CHUNK_LEN;

        sum += sum_chunk(p, n);
        p += n;
        len -= n;
    }
    folded = checksum_fold(sum);
    memcpy(swapped, &folded, sizeof(swapped));
    sum = be16_get(swapped);
    return len == 0 ? (uint32_t)sum : checksum_fold(sum + checksum_portable(p, len));
}

const struct checksum_kernel checksum_kernels[] = {
    {.name = "avx2", .needs = CPU_AVX2, .sum = checksum_avx2},
    {.name = "portable", .sum = checksum_portable},
    {.name = NULL},
};
