/* What the Poly1305 kernels share. */
#pragma once

#include "crypto/poly1305.h"

enum { POLY1305_BLOCK_LEN = 16 };

extern const struct poly1305_kernel poly1305_portable;
extern const struct poly1305_kernel poly1305_avx2;
extern const struct poly1305_kernel poly1305_ifma;

/* A sum under way in 64-bit words, for texts too short for vectors and for the ends of others. */
struct poly1305_scalar {
    uint64_t h[3]; /* below 2^130 and a little */
    uint64_t r[2]; /* clamped */
    uint64_t fold; /* r[1] * 5 / 4 */
};

/* Begin with a sum of 0. */
void poly1305_scalar_init(struct poly1305_scalar *s, const uint8_t key[POLY1305_KEY_LEN]);

/* Go on from the sum h, below 2^136. */
void poly1305_scalar_set(struct poly1305_scalar *s, const uint64_t h[3]);

/* Add the rest of the text, the last block whole or not, and write the MAC. */
void poly1305_scalar_finish(struct poly1305_scalar *s, const uint8_t key[POLY1305_KEY_LEN],
                            const uint8_t *data, size_t len, uint8_t ret[POLY1305_MAC_LEN]);
