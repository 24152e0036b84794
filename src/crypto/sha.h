/* SHA-512, SHA-384, HMAC-SHA-384 and the key derivation of the AES keys.
 * Source: spec 01 section 3.2, FIPS 180-4, RFC 2104. */
#pragma once

#include <stddef.h>
#include <stdint.h>

enum {
    SHA512_LEN = 64,
    SHA384_LEN = 48,
    KBKDF_KEY_LEN = 48,
    KBKDF_MESSAGE_LEN = 13,
};

/* Digest of len bytes (data may be NULL when len is 0). */
void sha512(const void *data, size_t len, uint8_t ret[SHA512_LEN]);
void sha384(const void *data, size_t len, uint8_t ret[SHA384_LEN]);

/* HMAC-SHA-384 of len bytes under a key of any length. */
void hmac_sha384(const void *key, size_t key_len, const void *data, size_t len,
                 uint8_t ret[SHA384_LEN]);

/* The 13 bytes over which kbkdf computes its HMAC. */
void kbkdf_message(char label, uint8_t context, uint32_t iter, uint8_t ret[KBKDF_MESSAGE_LEN]);

/* Derived key of 48 bytes, of which users take the first 32. Source: spec 01 section 3.2. */
void kbkdf(const uint8_t key[KBKDF_KEY_LEN], char label, uint8_t context, uint32_t iter,
           uint8_t ret[SHA384_LEN]);
