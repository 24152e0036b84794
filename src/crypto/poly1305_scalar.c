/* Poly1305 block by block with 64 x 64 bit products: 4 of them a block, since the clamped low bits
 * of the key make the fold of its upper half a number without fraction. */
#include "crypto/poly1305_priv.h"

#include <string.h>

__extension__ typedef unsigned __int128 wide;

enum { WORD_BITS = 64 };

static inline uint64_t le64_get(const uint8_t *p)
{
    return (uint64_t)p[0] | (uint64_t)p[1] << 8 | (uint64_t)p[2] << 16 | (uint64_t)p[3] << 24 |
           (uint64_t)p[4] << 32 | (uint64_t)p[5] << 40 | (uint64_t)p[6] << 48 |
           (uint64_t)p[7] << 56;
}

static inline void le64_put(uint8_t *p, uint64_t v)
{
    for (size_t i = 0; i < sizeof(v); i++) {
        p[i] = (uint8_t)(v >> (8 * i));
    }
}

void poly1305_scalar_init(struct poly1305_scalar *s, const uint8_t key[POLY1305_KEY_LEN])
{
    memset(s->h, 0, sizeof(s->h));
    s->r[0] = le64_get(key) & 0x0ffffffc0fffffff;
    s->r[1] = le64_get(key + 8) & 0x0ffffffc0ffffffc;
    s->fold = s->r[1] + (s->r[1] >> 2);
}

/* Take what is above 2^130 down again. */
static inline void fold_top(uint64_t h[3])
{
    wide sum = (wide)h[0] + (h[2] >> 2) * 5;

    h[0] = (uint64_t)sum;
    sum = (sum >> WORD_BITS) + h[1];
    h[1] = (uint64_t)sum;
    h[2] = (h[2] & 3) + (uint64_t)(sum >> WORD_BITS);
}

void poly1305_scalar_set(struct poly1305_scalar *s, const uint64_t h[3])
{
    memcpy(s->h, h, sizeof(s->h));
    fold_top(s->h);
}

/* (h + block) * r. top: the bit 2^128 of a whole block, or 0. */
static inline void add_block(struct poly1305_scalar *s, const uint8_t *block, uint64_t top)
{
    wide sum = (wide)s->h[0] + le64_get(block);
    uint64_t h0 = (uint64_t)sum;
    uint64_t h1;
    uint64_t h2;
    wide d0;
    wide d1;

    sum = (sum >> WORD_BITS) + s->h[1] + le64_get(block + 8);
    h1 = (uint64_t)sum;
    h2 = s->h[2] + (uint64_t)(sum >> WORD_BITS) + top;
    d0 = (wide)h0 * s->r[0] + (wide)h1 * s->fold;
    d1 = (wide)h0 * s->r[1] + (wide)h1 * s->r[0] + (wide)(h2 * s->fold) + (d0 >> WORD_BITS);
    s->h[0] = (uint64_t)d0;
    s->h[1] = (uint64_t)d1;
    s->h[2] = h2 * s->r[0] + (uint64_t)(d1 >> WORD_BITS);
    fold_top(s->h);
}

/* h mod 2^130 - 5, plus the second half of the key mod 2^128. */
static void put_mac(const uint64_t h[3], const uint8_t *pad, uint8_t ret[POLY1305_MAC_LEN])
{
    wide sum = (wide)h[0] + 5;
    uint64_t g0 = (uint64_t)sum;
    uint64_t g1;
    uint64_t mask;

    sum = (sum >> WORD_BITS) + h[1];
    g1 = (uint64_t)sum;
    /* all ones if h + 5 reaches 2^130 */
    mask = 0 - (h[2] + (uint64_t)(sum >> WORD_BITS)) / 4;
    sum = (wide)((h[0] & ~mask) | (g0 & mask)) + le64_get(pad);
    le64_put(ret, (uint64_t)sum);
    sum = (sum >> WORD_BITS) + ((h[1] & ~mask) | (g1 & mask)) + le64_get(pad + 8);
    le64_put(ret + 8, (uint64_t)sum);
}

void poly1305_scalar_finish(struct poly1305_scalar *s, const uint8_t key[POLY1305_KEY_LEN],
                            const uint8_t *data, size_t len, uint8_t ret[POLY1305_MAC_LEN])
{
    for (; len >= POLY1305_BLOCK_LEN; data += POLY1305_BLOCK_LEN, len -= POLY1305_BLOCK_LEN) {
        add_block(s, data, 1);
    }
    if (len > 0) {
        uint8_t last[POLY1305_BLOCK_LEN] = {0};

        memcpy(last, data, len);
        last[len] = 1;
        add_block(s, last, 0);
    }
    fold_top(s->h);
    put_mac(s->h, key + POLY1305_KEY_LEN / 2, ret);
}
