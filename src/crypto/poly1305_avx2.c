/* Poly1305 kernel for AVX2: four blocks side by side in five limbs of 26 bits. The sum of four
 * columns goes on by r^4, two rows of blocks at a time; at the end each column takes its own power.
 * A text whose number of blocks is no multiple of four begins with blocks of nothing.
 * Source: spec 01 section 8.3; D. J. Bernstein and P. Schwabe, "NEON crypto". */
#include "crypto/cpu.h"
#include "crypto/poly1305_priv.h"

#include <immintrin.h>
#include <string.h>

#define AVX2 __attribute__((target("avx2")))

__extension__ typedef unsigned __int128 wide;

enum {
    COLUMNS = 4,
    ROW_LEN = COLUMNS * POLY1305_BLOCK_LEN,
    VECTOR_MIN = 20 * POLY1305_BLOCK_LEN, /* measured: up to here single blocks are faster */
    LIMBS = 5,
    LIMB_BITS = 26,
    LIMB_MASK = (1 << LIMB_BITS) - 1,
    BLOCK_TOP = 1 << (128 - 4 * LIMB_BITS), /* 2^128 in the last limb */
    /* words of struct poly1305.powers */
    AT_COLUMNS = 0, /* r^4 to r^1 in the order of the columns, a vector a limb */
    AT_ROW = AT_COLUMNS + LIMBS * COLUMNS, /* r^4 */
    AT_ROWS2 = AT_ROW + LIMBS,             /* r^8 */
};

/* Four numbers; limbs may be longer than said above, up to 29 bits. */
struct number {
    __m256i limb[LIMBS];
};

/* Four numbers to multiply by, and 5 times the upper limbs: 2^130 is 5. */
struct factor {
    __m256i limb[LIMBS];
    __m256i fold[LIMBS]; /* [0] is not used */
};

AVX2 static inline __m256i times5(__m256i v)
{
    return _mm256_add_epi64(v, _mm256_slli_epi64(v, 2));
}

AVX2 static inline struct factor factor_of(const struct number *n)
{
    struct factor f;

#pragma GCC unroll 5
    for (size_t i = 0; i < LIMBS; i++) {
        f.limb[i] = n->limb[i];
        f.fold[i] = times5(n->limb[i]);
    }
    return f;
}

/* sum += n * f, limbs of up to 60 bits. */
AVX2 static inline void add_products(struct number *sum, const struct number *n,
                                     const struct factor *f)
{
#pragma GCC unroll 5
    for (size_t i = 0; i < LIMBS; i++) {
#pragma GCC unroll 5
        for (size_t j = 0; j < LIMBS; j++) {
            __m256i by = j < i ? f->fold[LIMBS + j - i] : f->limb[j - i];

            sum->limb[j] = _mm256_add_epi64(sum->limb[j], _mm256_mul_epu32(n->limb[i], by));
        }
    }
}

AVX2 static inline void carry(struct number *n, size_t from, size_t to)
{
    __m256i up = _mm256_srli_epi64(n->limb[from], LIMB_BITS);

    n->limb[from] = _mm256_and_si256(n->limb[from], _mm256_set1_epi64x(LIMB_MASK));
    n->limb[to] = _mm256_add_epi64(n->limb[to], to == 0 ? times5(up) : up);
}

/* Two chains of carries, half a turn apart. Leaves limbs below 2^26 + 2^10. */
AVX2 static inline void reduce(struct number *n)
{
    carry(n, 0, 1);
    carry(n, 3, 4);
    carry(n, 1, 2);
    carry(n, 4, 0);
    carry(n, 2, 3);
    carry(n, 0, 1);
    carry(n, 3, 4);
}

AVX2 static inline struct number number_zero(void)
{
    __m256i zero = _mm256_setzero_si256();

    return (struct number){{zero, zero, zero, zero, zero}};
}

AVX2 static inline struct number multiply(const struct number *n, const struct factor *f)
{
    struct number sum = number_zero();

    add_products(&sum, n, f);
    reduce(&sum);
    return sum;
}

/* Words 0 to 3 and 4 to 7 of a row into limbs; the columns are blocks 0 2 1 3. top: bit 128 of
 * each. */
AVX2 static inline struct number split(__m256i first, __m256i second, __m256i top)
{
    __m256i mask = _mm256_set1_epi64x(LIMB_MASK);
    __m256i low = _mm256_unpacklo_epi64(first, second);
    __m256i high = _mm256_unpackhi_epi64(first, second);
    __m256i middle = _mm256_or_si256(_mm256_srli_epi64(low, 52), _mm256_slli_epi64(high, 12));

    return (struct number){
        {_mm256_and_si256(low, mask), _mm256_and_si256(_mm256_srli_epi64(low, 26), mask),
         _mm256_and_si256(middle, mask), _mm256_and_si256(_mm256_srli_epi64(high, 14), mask),
         _mm256_or_si256(_mm256_srli_epi64(high, 40), top)}};
}

AVX2 static inline __m256i load(const uint8_t *p)
{
    return _mm256_loadu_si256((const __m256i_u *)(const void *)p);
}

AVX2 static inline struct number load_row(const uint8_t *p)
{
    return split(load(p), load(p + ROW_LEN / 2), _mm256_set1_epi64x(BLOCK_TOP));
}

/* A block in the upper half, nothing in the lower. */
AVX2 static inline __m256i load_upper(const uint8_t *p)
{
    __m128i block = _mm_loadu_si128((const __m128i_u *)(const void *)p);

    return _mm256_inserti128_si256(_mm256_setzero_si256(), block, 1);
}

/* The last columns of a row: 1 to 3 blocks. */
AVX2 static inline struct number load_begun_row(const uint8_t *p, size_t blocks)
{
    __m256i none = _mm256_setzero_si256();

    switch (blocks) {
    case 1:
        return split(none, load_upper(p), _mm256_setr_epi64x(0, 0, 0, BLOCK_TOP));
    case 2:
        return split(none, load(p), _mm256_setr_epi64x(0, BLOCK_TOP, 0, BLOCK_TOP));
    default:
        return split(load_upper(p), load(p + POLY1305_BLOCK_LEN),
                     _mm256_setr_epi64x(0, BLOCK_TOP, BLOCK_TOP, BLOCK_TOP));
    }
}

AVX2 static inline struct number add(const struct number *a, const struct number *b)
{
    struct number sum;

#pragma GCC unroll 5
    for (size_t i = 0; i < LIMBS; i++) {
        sum.limb[i] = _mm256_add_epi64(a->limb[i], b->limb[i]);
    }
    return sum;
}

AVX2 static inline struct number key_limbs(const uint8_t key[POLY1305_KEY_LEN])
{
    struct poly1305_scalar s;
    __m256i low;
    __m256i high;

    poly1305_scalar_init(&s, key);
    low = _mm256_set1_epi64x((long long)s.r[0]);
    high = _mm256_set1_epi64x((long long)s.r[1]);
    return split(_mm256_unpacklo_epi64(low, high), _mm256_unpacklo_epi64(low, high),
                 _mm256_setzero_si256());
}

AVX2 static inline void store_first(uint64_t *p, const struct number *n)
{
    for (size_t i = 0; i < LIMBS; i++) {
        _mm_storel_epi64((__m128i_u *)(void *)&p[i], _mm256_castsi256_si128(n->limb[i]));
    }
}

AVX2 static void init_avx2(struct poly1305 *p, size_t len)
{
    struct number r1;
    struct number r2;
    struct number r21;
    struct number r43;
    struct number r4;
    struct number r8;
    struct factor f;

    if (len < VECTOR_MIN) {
        return;
    }
    r1 = key_limbs(p->key);
    f = factor_of(&r1);
    r2 = multiply(&r1, &f);
    for (size_t i = 0; i < LIMBS; i++) {
        r21.limb[i] = _mm256_blend_epi32(r2.limb[i], r1.limb[i], 0xf0); /* 2 2 1 1 */
    }
    f = factor_of(&r2);
    r43 = multiply(&r21, &f); /* 4 4 3 3 */
    for (size_t i = 0; i < LIMBS; i++) {
        /* 4 2 3 1 */
        _mm256_storeu_si256((__m256i_u *)(void *)&p->powers[AT_COLUMNS + i * COLUMNS],
                            _mm256_unpacklo_epi64(r43.limb[i], r21.limb[i]));
        r4.limb[i] = _mm256_broadcastq_epi64(_mm256_castsi256_si128(r43.limb[i]));
    }
    store_first(&p->powers[AT_ROW], &r4);
    f = factor_of(&r4);
    r8 = multiply(&r4, &f);
    store_first(&p->powers[AT_ROWS2], &r8);
}

AVX2 static inline struct factor factor_at(const uint64_t *p)
{
    struct number n;

    for (size_t i = 0; i < LIMBS; i++) {
        n.limb[i] = _mm256_set1_epi64x((long long)p[i]);
    }
    return factor_of(&n);
}

AVX2 static inline uint64_t add_lanes(__m256i v)
{
    __m128i pair = _mm_add_epi64(_mm256_castsi256_si128(v), _mm256_extracti128_si256(v, 1));

    return (uint64_t)_mm_cvtsi128_si64(_mm_add_epi64(pair, _mm_unpackhi_epi64(pair, pair)));
}

/* All columns in one number of 64-bit words. */
AVX2 static inline void add_columns(const struct number *n, uint64_t ret[3])
{
    wide sum = (wide)add_lanes(n->limb[0]) + ((wide)add_lanes(n->limb[1]) << LIMB_BITS) +
               ((wide)add_lanes(n->limb[2]) << (2 * LIMB_BITS));

    ret[0] = (uint64_t)sum;
    sum = (sum >> 64) + ((wide)add_lanes(n->limb[3]) << (3 * LIMB_BITS - 64)) +
          ((wide)add_lanes(n->limb[4]) << (4 * LIMB_BITS - 64));
    ret[1] = (uint64_t)sum;
    ret[2] = (uint64_t)(sum >> 64);
}

/* The sum over whole blocks, at least one. */
AVX2 static void add_blocks(const struct poly1305 *p, const uint8_t *data, size_t blocks,
                            uint64_t ret[3])
{
    struct factor row = factor_at(&p->powers[AT_ROW]);
    struct factor rows2 = factor_at(&p->powers[AT_ROWS2]);
    size_t first = (blocks - 1) % COLUMNS + 1;
    size_t rows = (blocks - first) / COLUMNS;
    struct number h = first < COLUMNS ? load_begun_row(data, first) : load_row(data);
    struct number columns;

    data += first * POLY1305_BLOCK_LEN;
    if (rows % 2 != 0) {
        struct number next = load_row(data);

        h = multiply(&h, &row);
        h = add(&h, &next);
        data += ROW_LEN;
    }
    for (size_t i = 0; i < rows / 2; i++) {
        struct number a = load_row(data);
        struct number b = load_row(data + ROW_LEN);
        struct number sum = number_zero();

        add_products(&sum, &a, &row);
        add_products(&sum, &h, &rows2);
        reduce(&sum);
        h = add(&sum, &b);
        data += 2 * (size_t)ROW_LEN;
    }
    for (size_t i = 0; i < LIMBS; i++) {
        columns.limb[i] = _mm256_loadu_si256(
            (const __m256i_u *)(const void *)&p->powers[AT_COLUMNS + i * COLUMNS]);
    }
    row = factor_of(&columns);
    h = multiply(&h, &row);
    add_columns(&h, ret);
}

AVX2 static void mac_avx2(const struct poly1305 *p, const uint8_t *data, size_t len,
                          uint8_t ret[POLY1305_MAC_LEN])
{
    struct poly1305_scalar s;

    poly1305_scalar_init(&s, p->key);
    if (len >= VECTOR_MIN) {
        uint64_t h[3];

        add_blocks(p, data, len / POLY1305_BLOCK_LEN, h);
        poly1305_scalar_set(&s, h);
        data += len - len % POLY1305_BLOCK_LEN;
        len %= POLY1305_BLOCK_LEN;
    }
    poly1305_scalar_finish(&s, p->key, data, len, ret);
}

const struct poly1305_kernel poly1305_avx2 = {
    .name = "avx2", .needs = CPU_AVX2, .init = init_avx2, .mac = mac_avx2};
