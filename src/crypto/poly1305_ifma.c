/* Poly1305 kernel for AVX-512 with IFMA: eight blocks side by side in limbs of 44, 44 and 42 bits,
 * whose products are summed in halves of 52 bits. The sum of eight columns goes on by r^8, two rows
 * of blocks at a time; at the end each column takes its own power. A text whose number of blocks is
 * no multiple of eight begins with blocks of nothing. Source: spec 01 section 8.3. */
#include "crypto/cpu.h"
#include "crypto/poly1305_priv.h"

#include <immintrin.h>
#include <string.h>

#define IFMA __attribute__((target("avx512f,avx512ifma")))

__extension__ typedef unsigned __int128 wide;

enum {
    COLUMNS = 8,
    ROW_LEN = COLUMNS * POLY1305_BLOCK_LEN,
    VECTOR_MIN = 12 * POLY1305_BLOCK_LEN, /* measured: up to here single blocks are faster */
    LIMBS = 3,
    LIMB_BITS = 44, /* the last has 42 */
    /* words of struct poly1305.powers */
    AT_COLUMNS = 0, /* r^8 to r^1 in the order of the columns, a vector a limb */
    AT_ROW = AT_COLUMNS + LIMBS * COLUMNS, /* r^8 */
    AT_ROWS2 = AT_ROW + LIMBS,             /* r^16 */
};

static const uint64_t LIMB_MASK = (1ULL << LIMB_BITS) - 1;
static const uint64_t TOP_MASK = (1ULL << (LIMB_BITS - 2)) - 1;
static const uint64_t BLOCK_TOP = 1ULL << (128 - 2 * LIMB_BITS); /* 2^128 in the last limb */

/* Eight numbers; limbs may be a little longer than said above, up to 52 bits. */
struct number {
    __m512i limb[LIMBS];
};

/* Eight numbers to multiply by, and 20 times the upper limbs: 2^132 is 20. */
struct factor {
    __m512i limb[LIMBS];
    __m512i fold1;
    __m512i fold2;
};

/* Sums of products, lower and upper 52 bits apart. */
struct sum {
    __m512i low[LIMBS];
    __m512i high[LIMBS];
};

IFMA static inline __m512i all(uint64_t v)
{
    return _mm512_set1_epi64((long long)v);
}

IFMA static inline __m512i times20(__m512i v)
{
    return _mm512_add_epi64(_mm512_slli_epi64(v, 4), _mm512_slli_epi64(v, 2));
}

IFMA static inline struct factor factor_of(__m512i a, __m512i b, __m512i c)
{
    return (struct factor){{a, b, c}, times20(b), times20(c)};
}

IFMA static inline void add_product(struct sum *s, size_t limb, __m512i x, __m512i y)
{
    s->low[limb] = _mm512_madd52lo_epu64(s->low[limb], x, y);
    s->high[limb] = _mm512_madd52hi_epu64(s->high[limb], x, y);
}

IFMA static inline void add_products(struct sum *s, const struct number *n, const struct factor *f)
{
    add_product(s, 0, n->limb[0], f->limb[0]);
    add_product(s, 1, n->limb[0], f->limb[1]);
    add_product(s, 2, n->limb[0], f->limb[2]);
    add_product(s, 0, n->limb[2], f->fold1);
    add_product(s, 1, n->limb[2], f->fold2);
    add_product(s, 2, n->limb[2], f->limb[0]);
    add_product(s, 0, n->limb[1], f->fold2);
    add_product(s, 1, n->limb[1], f->limb[0]);
    add_product(s, 2, n->limb[1], f->limb[1]);
}

IFMA static inline struct sum sum_zero(void)
{
    __m512i zero = _mm512_setzero_si512();

    return (struct sum){{zero, zero, zero}, {zero, zero, zero}};
}

/* Upper halves weigh 2^8 in the next limb and 5 * 2^10 behind the last. One turn of carries leaves
 * limbs below 2^44 + 2^16. */
IFMA static inline struct number reduce(const struct sum *s)
{
    __m512i mask = all(LIMB_MASK);
    __m512i t0 = _mm512_add_epi64(s->low[0], _mm512_add_epi64(_mm512_slli_epi64(s->high[2], 12),
                                                              _mm512_slli_epi64(s->high[2], 10)));
    __m512i t1 = _mm512_add_epi64(s->low[1], _mm512_slli_epi64(s->high[0], 8));
    __m512i t2 = _mm512_add_epi64(s->low[2], _mm512_slli_epi64(s->high[1], 8));
    __m512i c2 = _mm512_srli_epi64(t2, LIMB_BITS - 2);
    struct number n;

    n.limb[0] = _mm512_add_epi64(_mm512_add_epi64(_mm512_and_si512(t0, mask), c2),
                                 _mm512_slli_epi64(c2, 2));
    n.limb[1] = _mm512_add_epi64(_mm512_and_si512(t1, mask), _mm512_srli_epi64(t0, LIMB_BITS));
    n.limb[2] =
        _mm512_add_epi64(_mm512_and_si512(t2, all(TOP_MASK)), _mm512_srli_epi64(t1, LIMB_BITS));
    return n;
}

IFMA static inline struct number multiply(const struct number *n, const struct factor *f)
{
    struct sum s = sum_zero();

    add_products(&s, n, f);
    return reduce(&s);
}

/* Words 0 to 7 and 8 to 15 of a row into limbs; the columns are blocks 0 4 1 5 2 6 3 7. top: bit
 * 128 of each. */
IFMA static inline struct number split(__m512i first, __m512i second, __m512i top)
{
    __m512i mask = all(LIMB_MASK);
    __m512i low = _mm512_unpacklo_epi64(first, second);
    __m512i high = _mm512_unpackhi_epi64(first, second);
    struct number n;

    n.limb[0] = _mm512_and_si512(low, mask);
    n.limb[1] = _mm512_and_si512(
        _mm512_or_si512(_mm512_srli_epi64(low, LIMB_BITS), _mm512_slli_epi64(high, 20)), mask);
    n.limb[2] = _mm512_or_si512(_mm512_srli_epi64(high, 24), top);
    return n;
}

IFMA static inline struct number load_row(const uint8_t *p)
{
    return split(_mm512_loadu_si512(p), _mm512_loadu_si512(p + ROW_LEN / 2), all(BLOCK_TOP));
}

/* The last columns of a row: 1 to 7 blocks. */
IFMA static inline struct number load_begun_row(const uint8_t *p, size_t blocks)
{
    unsigned words = 0xffffU << (2 * (COLUMNS - blocks)) & 0xffffU;
    __mmask8 first = (__mmask8)words;
    __mmask8 second = (__mmask8)(words >> COLUMNS);
    size_t skip = blocks > COLUMNS / 2 ? (blocks - COLUMNS / 2) * POLY1305_BLOCK_LEN : 0;
    __m512i top = _mm512_unpacklo_epi64(_mm512_maskz_set1_epi64(first, (long long)BLOCK_TOP),
                                        _mm512_maskz_set1_epi64(second, (long long)BLOCK_TOP));

    return split(_mm512_maskz_expandloadu_epi64(first, p),
                 _mm512_maskz_expandloadu_epi64(second, p + skip), top);
}

IFMA static inline struct number add(const struct number *a, const struct number *b)
{
    return (struct number){{_mm512_add_epi64(a->limb[0], b->limb[0]),
                            _mm512_add_epi64(a->limb[1], b->limb[1]),
                            _mm512_add_epi64(a->limb[2], b->limb[2])}};
}

IFMA static inline struct number key_limbs(const uint8_t key[POLY1305_KEY_LEN])
{
    struct poly1305_scalar s;

    poly1305_scalar_init(&s, key);
    return (struct number){{all(s.r[0] & LIMB_MASK),
                            all((s.r[0] >> LIMB_BITS | s.r[1] << 20) & LIMB_MASK),
                            all(s.r[1] >> 24)}};
}

IFMA static void init_ifma(struct poly1305 *p, size_t len)
{
    const __m512i columns = _mm512_setr_epi64(0, 0, 1, 1, 8, 8, 9, 9);
    struct number r1;
    struct number r2;
    struct number r21;
    struct number r43;
    struct number r4321;
    struct number r8765;
    struct number r16;
    struct factor f;

    if (len < VECTOR_MIN) {
        return;
    }
    r1 = key_limbs(p->key);
    f = factor_of(r1.limb[0], r1.limb[1], r1.limb[2]);
    r2 = multiply(&r1, &f);
    for (size_t i = 0; i < LIMBS; i++) {
        r21.limb[i] = _mm512_mask_mov_epi64(r2.limb[i], 0xaa, r1.limb[i]);
    }
    f = factor_of(r2.limb[0], r2.limb[1], r2.limb[2]);
    r43 = multiply(&r21, &f);
    for (size_t i = 0; i < LIMBS; i++) {
        r4321.limb[i] = _mm512_permutex2var_epi64(r43.limb[i], columns, r21.limb[i]);
        r43.limb[i] = _mm512_broadcastq_epi64(_mm512_castsi512_si128(r43.limb[i]));
    }
    f = factor_of(r43.limb[0], r43.limb[1], r43.limb[2]);
    r8765 = multiply(&r4321, &f);
    for (size_t i = 0; i < LIMBS; i++) {
        _mm512_storeu_si512(&p->powers[AT_COLUMNS + i * COLUMNS],
                            _mm512_mask_mov_epi64(r8765.limb[i], 0xaa, r4321.limb[i]));
        r8765.limb[i] = _mm512_broadcastq_epi64(_mm512_castsi512_si128(r8765.limb[i]));
        _mm_storel_epi64((__m128i_u *)(void *)&p->powers[AT_ROW + i],
                         _mm512_castsi512_si128(r8765.limb[i]));
    }
    f = factor_of(r8765.limb[0], r8765.limb[1], r8765.limb[2]);
    r16 = multiply(&r8765, &f);
    for (size_t i = 0; i < LIMBS; i++) {
        _mm_storel_epi64((__m128i_u *)(void *)&p->powers[AT_ROWS2 + i],
                         _mm512_castsi512_si128(r16.limb[i]));
    }
}

IFMA static inline struct factor factor_at(const uint64_t *p)
{
    return factor_of(all(p[0]), all(p[1]), all(p[2]));
}

/* All columns in one number of 64-bit words. */
IFMA static inline void add_columns(const struct number *n, uint64_t ret[LIMBS])
{
    wide sum = (wide)(uint64_t)_mm512_reduce_add_epi64(n->limb[0]) +
               ((wide)(uint64_t)_mm512_reduce_add_epi64(n->limb[1]) << LIMB_BITS);

    ret[0] = (uint64_t)sum;
    sum = (sum >> 64) + ((wide)(uint64_t)_mm512_reduce_add_epi64(n->limb[2]) << 24);
    ret[1] = (uint64_t)sum;
    ret[2] = (uint64_t)(sum >> 64);
}

/* The sum over whole blocks, at least 9. */
IFMA static void add_blocks(const struct poly1305 *p, const uint8_t *data, size_t blocks,
                            uint64_t ret[LIMBS])
{
    struct factor row = factor_at(&p->powers[AT_ROW]);
    struct factor rows2 = factor_at(&p->powers[AT_ROWS2]);
    size_t first = (blocks - 1) % COLUMNS + 1;
    size_t rows = (blocks - first) / COLUMNS;
    struct number h = first < COLUMNS ? load_begun_row(data, first) : load_row(data);
    struct factor columns;

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
        struct sum s = sum_zero();

        add_products(&s, &a, &row);
        add_products(&s, &h, &rows2);
        h = reduce(&s);
        h = add(&h, &b);
        data += 2 * (size_t)ROW_LEN;
    }
    columns = factor_of(_mm512_loadu_si512(&p->powers[AT_COLUMNS]),
                        _mm512_loadu_si512(&p->powers[AT_COLUMNS + COLUMNS]),
                        _mm512_loadu_si512(&p->powers[AT_COLUMNS + 2 * COLUMNS]));
    h = multiply(&h, &columns);
    add_columns(&h, ret);
}

IFMA static void mac_ifma(const struct poly1305 *p, const uint8_t *data, size_t len,
                          uint8_t ret[POLY1305_MAC_LEN])
{
    struct poly1305_scalar s;

    poly1305_scalar_init(&s, p->key);
    if (len >= VECTOR_MIN) {
        uint64_t h[LIMBS];

        add_blocks(p, data, len / POLY1305_BLOCK_LEN, h);
        poly1305_scalar_set(&s, h);
        data += len - len % POLY1305_BLOCK_LEN;
        len %= POLY1305_BLOCK_LEN;
    }
    poly1305_scalar_finish(&s, p->key, data, len, ret);
}

const struct poly1305_kernel poly1305_ifma = {
    .name = "ifma", .needs = CPU_IFMA, .init = init_ifma, .mac = mac_ifma};
