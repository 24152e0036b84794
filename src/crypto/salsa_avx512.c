/* Salsa20 kernel for AVX-512: a set of four blocks takes four registers, a diagonal of the state in
 * each, a block in each 128 bits; two shuffles of diagonals lie between rounds. The rounds of one
 * set are a chain of waiting, so that up to seven sets run side by side: 28 blocks, which are the
 * MAC key and the text of a frame of 1514 bytes. Fewer sets take little less time each, but less
 * altogether. */
#include "crypto/cpu.h"
#include "crypto/salsa_priv.h"

#include <immintrin.h>

#define AVX512 __attribute__((target("avx512f")))

enum {
    SET_BLOCKS = 4,
    SET_LEN = SET_BLOCKS * SALSA_BLOCK_LEN,
    SETS_MAX = 7,
    /* first of each four words of a register, second, and so on */
    WORD_0 = 0x1111,
    WORD_1 = 0x2222,
    WORDS_13 = 0xaaaa,
    WORDS_23 = 0xcccc,
};

/* Words 0 5 10 15, 4 9 14 3, 8 13 2 7, 12 1 6 11 of four blocks. */
struct set {
    __m512i a;
    __m512i b;
    __m512i c;
    __m512i d;
};

AVX512 static inline __m512i diagonal(const uint32_t input[16], size_t a, size_t b, size_t c,
                                      size_t d)
{
    return _mm512_broadcast_i32x4(
        _mm_setr_epi32((int)input[a], (int)input[b], (int)input[c], (int)input[d]));
}

/* The initial state of four blocks; words 8 and 9 count. */
AVX512 static inline struct set set_counter(const struct set *first, uint64_t counter)
{
    const __m512i number = _mm512_setr_epi32(0, 0, 0, 0, 1, 0, 0, 0, 2, 0, 0, 0, 3, 0, 0, 0);
    __m512i low = _mm512_set1_epi32((int)(uint32_t)counter);
    __m512i high = _mm512_set1_epi32((int)(uint32_t)(counter >> 32));
    __m512i sum = _mm512_add_epi32(low, number);
    unsigned carry = _mm512_mask_cmplt_epu32_mask(WORD_0, sum, low);
    struct set s = *first;

    high = _mm512_mask_add_epi32(high, (__mmask16)(carry << 1), high, _mm512_set1_epi32(1));
    s.b = _mm512_mask_mov_epi32(s.b, WORD_1, high);
    s.c = _mm512_mask_mov_epi32(s.c, WORD_0, sum);
    return s;
}

/* One quarter round for all words, then the diagonals change places for the next round. */
AVX512 static inline void sets_round(struct set *s, size_t sets)
{
#pragma GCC unroll 7
    for (size_t i = 0; i < sets; i++) {
        s[i].b = _mm512_xor_si512(s[i].b, _mm512_rol_epi32(_mm512_add_epi32(s[i].a, s[i].d), 7));
    }
#pragma GCC unroll 7
    for (size_t i = 0; i < sets; i++) {
        s[i].c = _mm512_xor_si512(s[i].c, _mm512_rol_epi32(_mm512_add_epi32(s[i].b, s[i].a), 9));
    }
#pragma GCC unroll 7
    for (size_t i = 0; i < sets; i++) {
        s[i].d = _mm512_xor_si512(s[i].d, _mm512_rol_epi32(_mm512_add_epi32(s[i].c, s[i].b), 13));
    }
#pragma GCC unroll 7
    for (size_t i = 0; i < sets; i++) {
        __m512i b = _mm512_shuffle_epi32(s[i].b, _MM_PERM_CBAD);

        s[i].a = _mm512_xor_si512(s[i].a, _mm512_rol_epi32(_mm512_add_epi32(s[i].d, s[i].c), 18));
        s[i].b = _mm512_shuffle_epi32(s[i].d, _MM_PERM_ADCB);
        s[i].c = _mm512_shuffle_epi32(s[i].c, _MM_PERM_BADC);
        s[i].d = b;
    }
}

/* Diagonals to blocks, in order. */
AVX512 static inline void set_blocks(struct set s, __m512i ret[SET_BLOCKS])
{
    __m512i even = _mm512_mask_mov_epi32(s.a, WORDS_13, s.d); /* 0 1 10 11 */
    __m512i odd = _mm512_mask_mov_epi32(s.c, WORDS_13, s.b);  /* 8 9 2 3 */
    __m512i row0 = _mm512_mask_mov_epi32(even, WORDS_23, odd);
    __m512i row2 = _mm512_mask_mov_epi32(odd, WORDS_23, even);
    __m512i row1;
    __m512i row3;

    even = _mm512_mask_mov_epi32(s.b, WORDS_13, s.a); /* 4 5 14 15 */
    odd = _mm512_mask_mov_epi32(s.d, WORDS_13, s.c);  /* 12 13 6 7 */
    row1 = _mm512_mask_mov_epi32(even, WORDS_23, odd);
    row3 = _mm512_mask_mov_epi32(odd, WORDS_23, even);
    /* Halves of blocks 0 and 1, and 2 and 3: rows 0 0 1 1 and 2 2 3 3. */
    even = _mm512_shuffle_i32x4(row0, row1, 0x44);
    odd = _mm512_shuffle_i32x4(row2, row3, 0x44);
    ret[0] = _mm512_shuffle_i32x4(even, odd, 0x88);
    ret[1] = _mm512_shuffle_i32x4(even, odd, 0xdd);
    even = _mm512_shuffle_i32x4(row0, row1, 0xee);
    odd = _mm512_shuffle_i32x4(row2, row3, 0xee);
    ret[2] = _mm512_shuffle_i32x4(even, odd, 0x88);
    ret[3] = _mm512_shuffle_i32x4(even, odd, 0xdd);
}

AVX512 static inline void put(const uint8_t *in, uint8_t *out, __m512i v)
{
    if (in != NULL) {
        v = _mm512_xor_si512(v, _mm512_loadu_si512(in));
    }
    _mm512_storeu_si512(out, v);
}

/* The blocks of a set, or as much of them as len says. */
AVX512 static inline void put_set(const __m512i blocks[SET_BLOCKS], const uint8_t *in, uint8_t *out,
                                  size_t len)
{
    if (len >= SET_LEN) {
#pragma GCC unroll 4
        for (size_t i = 0; i < SET_BLOCKS; i++) {
            put(in != NULL ? in + i * SALSA_BLOCK_LEN : NULL, out + i * SALSA_BLOCK_LEN, blocks[i]);
        }
    } else {
        uint8_t keystream[SET_LEN];

#pragma GCC unroll 4
        for (size_t i = 0; i < SET_BLOCKS; i++) {
            _mm512_storeu_si512(keystream + i * SALSA_BLOCK_LEN, blocks[i]);
        }
        salsa_put_bytes(in, out, keystream, len);
    }
}

struct work {
    struct set first; /* initial state with any counter */
    unsigned rounds;
    uint64_t counter;
    const uint8_t *in; /* or NULL */
    uint8_t *out;
    size_t len;
};

/* Up to `sets` sets of blocks; w moves on. Sets: a constant. */
AVX512 static inline __attribute__((always_inline)) void run(struct work *w, size_t sets)
{
    struct set s[SETS_MAX];

#pragma GCC unroll 7
    for (size_t i = 0; i < sets; i++) {
        s[i] = set_counter(&w->first, w->counter + i * SET_BLOCKS);
    }
    for (unsigned r = 0; r < w->rounds; r++) {
        sets_round(s, sets);
    }
#pragma GCC unroll 7
    for (size_t i = 0; i < sets; i++) {
        struct set start = set_counter(&w->first, w->counter);
        size_t n = w->len < SET_LEN ? w->len : SET_LEN;
        __m512i blocks[SET_BLOCKS];

        s[i].a = _mm512_add_epi32(s[i].a, start.a);
        s[i].b = _mm512_add_epi32(s[i].b, start.b);
        s[i].c = _mm512_add_epi32(s[i].c, start.c);
        s[i].d = _mm512_add_epi32(s[i].d, start.d);
        set_blocks(s[i], blocks);
        put_set(blocks, w->in, w->out, n);
        w->in = w->in != NULL ? w->in + n : NULL;
        w->out += n;
        w->len -= n;
        w->counter += SET_BLOCKS;
    }
}

AVX512 static void stream_avx512(const uint32_t input[16], unsigned rounds, uint64_t counter,
                                 const uint8_t *in, uint8_t *out, size_t len)
{
    struct work w = {.rounds = rounds, .counter = counter, .in = in, .out = out, .len = len};

    w.first.a = diagonal(input, 0, 5, 10, 15);
    w.first.b = diagonal(input, 4, 9, 14, 3);
    w.first.c = diagonal(input, 8, 13, 2, 7);
    w.first.d = diagonal(input, 12, 1, 6, 11);
    while (w.len > 6 * SET_LEN) {
        run(&w, SETS_MAX);
    }
    if (w.len > 4 * SET_LEN) {
        run(&w, 6);
    } else if (w.len > 2 * SET_LEN) {
        run(&w, 4);
    } else if (w.len > SET_LEN) {
        run(&w, 2);
    } else if (w.len > 0) {
        run(&w, 1);
    }
}

AVX512 static void mix_avx512(const uint8_t *keystream, uint8_t *data, size_t len)
{
    for (; len >= 64; keystream += 64, data += 64, len -= 64) {
        put(data, data, _mm512_loadu_si512(keystream));
    }
    salsa_put_bytes(data, data, keystream, len);
}

const struct salsa_kernel salsa_avx512 = {
    .name = "avx512", .needs = CPU_AVX512, .stream = stream_avx512, .mix = mix_avx512};
