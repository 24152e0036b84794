/* The memory-hard address hash. Source: spec 01 section 2.2.
 *
 * Each render step XORs the whole digest with a keystream block after swapping one of its words
 * with a word of the buffer. Written down like that, every step waits for the one before. Here the
 * digest is kept apart as (value without keystream, running XOR of all keystream blocks so far):
 * the running XOR does not depend on the swaps, so it is made in bulk, and a step touches two
 * words. */
#include "crypto/cpu.h"
#include "crypto/identity.h"
#include "crypto/salsa.h"
#include "crypto/sha.h"

#include <sodium.h>
#include <string.h>

enum {
    WORDS = ADDRESS_HASH_MEMORY / 8,
    FILL_BLOCKS = ADDRESS_HASH_MEMORY / SALSA_BLOCK_LEN,
    BATCH = 64, /* keystream blocks made at once while rendering */
};

typedef uint64_t block_words __attribute__((vector_size(32)));

/* A 64-byte block as two vectors, which compilers turn into whatever the processor has. */
struct block {
    block_words half[2];
};

static inline struct block block_load(const uint8_t *p)
{
    struct block b;

    memcpy(&b, p, sizeof(b));
    return b;
}

static inline void block_xor(struct block *b, const struct block *with)
{
    b->half[0] ^= with->half[0];
    b->half[1] ^= with->half[1];
}

/* Replace each block by the XOR of itself and all before it, beginning with *sum; *sum ends as the
 * last one. */
static void chain(uint8_t *blocks, size_t count, struct block *sum)
{
    for (size_t i = 0; i < count; i++) {
        struct block b = block_load(blocks + i * SALSA_BLOCK_LEN);

        block_xor(sum, &b);
        memcpy(blocks + i * SALSA_BLOCK_LEN, sum, sizeof(*sum));
    }
}

/* Index words are big-endian; only their low bits count. */
static inline size_t low_bits(const uint8_t *word, size_t mask)
{
    return ((size_t)word[7] | (size_t)word[6] << 8 | (size_t)word[5] << 16) & mask;
}

/* One batch of render steps. memory: the buffer; p: word to read next; ahead: running XOR before
 * each step of the batch; d: digest without keystream. */
static void render(uint8_t *memory, size_t p, const uint8_t (*ahead)[SALSA_BLOCK_LEN],
                   uint64_t d[8])
{
    for (size_t i = 0; i < BATCH; i++) {
        size_t i1 = low_bits(memory + 8 * p, 7);
        size_t i2 = low_bits(memory + 8 * (p + 1), WORDS - 1);
        uint64_t mask;
        uint64_t word;
        uint64_t old;

        memcpy(&mask, ahead[i] + 8 * i1, sizeof(mask));
        memcpy(&word, memory + 8 * i2, sizeof(word));
        old = d[i1] ^ mask;
        d[i1] = word ^ mask;
        memcpy(memory + 8 * i2, &old, sizeof(old));
        p += 2;
    }
}

void address_hash(const uint8_t pub[IDENTITY_PUBLIC_LEN], void *scratch, uint8_t ret_digest[64])
{
    uint8_t ahead[BATCH + 1][SALSA_BLOCK_LEN] __attribute__((aligned(64)));
    struct block sum = {0};
    struct salsa stream;
    uint64_t d[8];
    uint64_t counter = FILL_BLOCKS;

    sha512(pub, IDENTITY_PUBLIC_LEN, (uint8_t *)d);
    salsa_init(&stream, salsa_pick(cpu_features()), SALSA_ROUNDS_HASH, (uint8_t *)d,
               (uint8_t *)d + SALSA_KEY_LEN);

    salsa_xor(&stream, 0, NULL, scratch, ADDRESS_HASH_MEMORY);
    chain(scratch, FILL_BLOCKS, &sum);

    memset(&sum, 0, sizeof(sum));
    for (size_t p = 0; p < WORDS; p += 2 * (size_t)BATCH) {
        memcpy(ahead[0], &sum, sizeof(sum));
        salsa_xor(&stream, counter * SALSA_BLOCK_LEN, NULL, ahead[1],
                  (size_t)BATCH * SALSA_BLOCK_LEN);
        chain(ahead[1], BATCH, &sum);
        render(scratch, p, (const uint8_t(*)[SALSA_BLOCK_LEN])ahead, d);
        counter += BATCH;
    }
    memcpy(ret_digest, &sum, sizeof(sum));
    for (size_t i = 0; i < 64; i++) {
        ret_digest[i] ^= ((const uint8_t *)d)[i];
    }
    salsa_done(&stream);
}
