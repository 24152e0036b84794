/* Salsa20/12 with Poly1305 cut to 8 bytes, as suites 0 and 1 use it: the MAC key is the first half
 * of keystream block 0, the text starts with block 1, the MAC covers the encrypted text.
 * Source: spec 01 sections 8.3, 8.4. */
#pragma once

#include "base/attr.h"
#include "crypto/poly1305.h"
#include "crypto/salsa.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { SALSA_POLY_MAC_LEN = 8 };

/* The kernels of both parts. */
struct salsa_poly {
    const struct salsa_kernel *salsa;
    const struct poly1305_kernel *poly1305;
};

/* The fastest kernels for these cpu_features(). */
struct salsa_poly salsa_poly_pick(unsigned features);

/* Authenticate len bytes in place, encrypted first if encrypt. key and nonce are used once only. */
void salsa_poly_seal(const struct salsa_poly *kernels, const uint8_t key[SALSA_KEY_LEN],
                     const uint8_t nonce[SALSA_NONCE_LEN], bool encrypt, uint8_t *data, size_t len,
                     uint8_t ret_mac[SALSA_POLY_MAC_LEN]);

/* Check the MAC, in constant time and before anything is decrypted, then decrypt in place if
 * encrypted. Returns 0; -EACCES (data is unchanged). */
MUST_CHECK int salsa_poly_open(const struct salsa_poly *kernels, const uint8_t key[SALSA_KEY_LEN],
                               const uint8_t nonce[SALSA_NONCE_LEN], bool encrypted, uint8_t *data,
                               size_t len, const uint8_t mac[SALSA_POLY_MAC_LEN]);
