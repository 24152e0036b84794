/* What the Salsa20 kernels share. */
#pragma once

#include "crypto/salsa.h"

extern const struct salsa_kernel salsa_portable;
extern const struct salsa_kernel salsa_avx2;
extern const struct salsa_kernel salsa_avx512;

/* Write one keystream word, XORed over in if that is not NULL, little-endian to out. */
static inline void salsa_put_word(const uint8_t *in, uint8_t *out, uint32_t word)
{
    for (size_t i = 0; i < 4; i++) {
        out[i] = (uint8_t)((in != NULL ? in[i] : 0) ^ (word >> (8 * i)));
    }
}
