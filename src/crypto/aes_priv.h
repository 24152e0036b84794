/* What the AES-GMAC-SIV kernels share. */
#pragma once

#include "crypto/aes_gmac_siv.h"

enum { AES_ROUND_KEYS = 15 };

extern const struct aes_kernel aes_portable;
extern const struct aes_kernel aes_aesni;
extern const struct aes_kernel aes_vaes;

/* Parts of aes_aesni.c that aes_vaes.c uses too: same key material, same single blocks. */
void aesni_init(struct aes_gmac_siv *c, const uint8_t k0[AES_KEY_LEN],
                const uint8_t k1[AES_KEY_LEN]);
void aesni_encrypt(const struct aes_gmac_siv *c, const uint8_t in[AES_BLOCK_LEN],
                   uint8_t out[AES_BLOCK_LEN]);
void aesni_decrypt(const struct aes_gmac_siv *c, const uint8_t in[AES_BLOCK_LEN],
                   uint8_t out[AES_BLOCK_LEN]);

/* Blocks of the GHASH input of pieces without associated data and lengths; *ret_len: their bytes.
 */
static inline size_t aes_count_blocks(const struct aes_piece *pieces, size_t count, size_t *ret_len)
{
    size_t len = 0;

    for (size_t i = 0; i < count; i++) {
        len += pieces[i].len;
    }
    *ret_len = len;
    return (len + AES_BLOCK_LEN - 1) / AES_BLOCK_LEN;
}
