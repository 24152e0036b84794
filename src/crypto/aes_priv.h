/* What the AES-GMAC-SIV kernels share. */
#pragma once

#include "crypto/aes_gmac_siv.h"

enum { AES_ROUND_KEYS = 15 };

extern const struct aes_kernel aes_portable;
extern const struct aes_kernel aes_aesni;
extern const struct aes_kernel aes_vaes;
extern const struct aes_kernel aes_vaes512;
extern const struct aes_kernel aes_armv8;

/* The same key material serves all kernels of x86-64: that of aes_aesni.c. */
void aesni_init(struct aes_gmac_siv *c, const uint8_t k0[AES_KEY_LEN],
                const uint8_t k1[AES_KEY_LEN]);

/* Blocks of a text. */
static inline size_t aes_count_blocks(size_t len)
{
    return (len + AES_BLOCK_LEN - 1) / AES_BLOCK_LEN;
}
