/* Salsa20 kernel for any processor: four blocks at a time in compiler vectors, which become SSE2 or
 * NEON where there is such a thing. Lane i of word w belongs to block counter + i. */
#include "crypto/salsa_priv.h"

#include <string.h>

enum { LANES = 4 };

typedef uint32_t vec __attribute__((vector_size(4 * LANES)));

static inline vec rotl(vec v, int bits)
{
    return (v << bits) | (v >> (32 - bits));
}

static inline void quarter(vec x[16], size_t a, size_t b, size_t c, size_t d)
{
    x[b] ^= rotl(x[a] + x[d], 7);
    x[c] ^= rotl(x[b] + x[a], 9);
    x[d] ^= rotl(x[c] + x[b], 13);
    x[a] ^= rotl(x[d] + x[c], 18);
}

static inline void double_round(vec x[16])
{
    quarter(x, 0, 4, 8, 12);
    quarter(x, 5, 9, 13, 1);
    quarter(x, 10, 14, 2, 6);
    quarter(x, 15, 3, 7, 11);
    quarter(x, 0, 1, 2, 3);
    quarter(x, 5, 6, 7, 4);
    quarter(x, 10, 11, 8, 9);
    quarter(x, 15, 12, 13, 14);
}

/* Four blocks as words, lane by lane. */
static void generate(const uint32_t input[16], unsigned rounds, uint64_t counter,
                     uint32_t words[16][LANES])
{
    vec start[16];
    vec x[16];

#pragma GCC unroll 16
    for (size_t w = 0; w < 16; w++) {
        start[w] = (vec){0} + input[w];
    }
    for (size_t i = 0; i < LANES; i++) {
        start[8][i] = (uint32_t)(counter + i);
        start[9][i] = (uint32_t)((counter + i) >> 32);
    }
    memcpy(x, start, sizeof(x));
    for (unsigned r = 0; r < rounds; r += 2) {
        double_round(x);
    }
#pragma GCC unroll 16
    for (size_t w = 0; w < 16; w++) {
        x[w] += start[w];
    }
    memcpy(words, x, sizeof(x));
}

/* Four blocks as bytes. */
static void serialize(const uint32_t words[16][LANES], uint8_t out[LANES * SALSA_BLOCK_LEN])
{
    for (size_t i = 0; i < LANES; i++) {
        for (size_t w = 0; w < 16; w++) {
            for (size_t byte = 0; byte < 4; byte++) {
                *out++ = (uint8_t)(words[w][i] >> (8 * byte));
            }
        }
    }
}

static void stream_portable(const uint32_t input[16], unsigned rounds, uint64_t counter,
                            const uint8_t *in, uint8_t *out, size_t len)
{
    uint32_t words[16][LANES];
    uint8_t keystream[LANES * SALSA_BLOCK_LEN];

    while (len > 0) {
        size_t n = len < sizeof(keystream) ? len : sizeof(keystream);

        generate(input, rounds, counter, words);
        serialize(words, keystream);
        salsa_put_bytes(in, out, keystream, n);
        in = in != NULL ? in + n : NULL;
        out += n;
        len -= n;
        counter += LANES;
    }
}

static void mix_portable(const uint8_t *keystream, uint8_t *data, size_t len)
{
    salsa_put_bytes(data, data, keystream, len);
}

const struct salsa_kernel salsa_portable = {
    .name = "portable", .stream = stream_portable, .mix = mix_portable};
