/* SHA-384 is SHA-512 from other initial values, cut to 48 bytes, so libsodium's SHA-512 does both.
 */
#include "crypto/sha.h"

#include "base/cursor.h"

#include <sodium.h>
#include <string.h>

enum { SHA384_BLOCK_LEN = 128 };

/* FIPS 180-4 section 5.3.4. */
static const uint64_t sha384_start[8] = {
    0xcbbb9d5dc1059ed8, 0x629a292a367cd507, 0x9159015a3070dd17, 0x152fecd8f70e5939,
    0x67332667ffc00b31, 0x8eb44a8768581511, 0xdb0c2e0d64f98fa7, 0x47b5481dbefa4fa4,
};

static void sha384_init(crypto_hash_sha512_state *s)
{
    crypto_hash_sha512_init(s);
    memcpy(s->state, sha384_start, sizeof(sha384_start));
}

static void sha384_final(crypto_hash_sha512_state *s, uint8_t ret[SHA384_LEN])
{
    uint8_t full[SHA512_LEN];

    crypto_hash_sha512_final(s, full);
    memcpy(ret, full, SHA384_LEN);
    sodium_memzero(full, sizeof(full));
}

void sha512(const void *data, size_t len, uint8_t ret[SHA512_LEN])
{
    crypto_hash_sha512(ret, data, len);
}

void sha384(const void *data, size_t len, uint8_t ret[SHA384_LEN])
{
    crypto_hash_sha512_state s;

    sha384_init(&s);
    crypto_hash_sha512_update(&s, data, len);
    sha384_final(&s, ret);
    sodium_memzero(&s, sizeof(s));
}

void hmac_sha384(const void *key, size_t key_len, const void *data, size_t len,
                 uint8_t ret[SHA384_LEN])
{
    crypto_hash_sha512_state s;
    uint8_t pad[SHA384_BLOCK_LEN] = {0};
    uint8_t inner[SHA384_LEN];

    if (key_len > sizeof(pad)) {
        sha384(key, key_len, pad);
    } else if (key_len > 0) {
        memcpy(pad, key, key_len);
    }
    for (size_t i = 0; i < sizeof(pad); i++) {
        pad[i] ^= 0x36;
    }
    sha384_init(&s);
    crypto_hash_sha512_update(&s, pad, sizeof(pad));
    crypto_hash_sha512_update(&s, data, len);
    sha384_final(&s, inner);
    for (size_t i = 0; i < sizeof(pad); i++) {
        pad[i] ^= 0x36 ^ 0x5c;
    }
    sha384_init(&s);
    crypto_hash_sha512_update(&s, pad, sizeof(pad));
    crypto_hash_sha512_update(&s, inner, sizeof(inner));
    sha384_final(&s, ret);
    sodium_memzero(&s, sizeof(s));
    sodium_memzero(pad, sizeof(pad));
    sodium_memzero(inner, sizeof(inner));
}

void kbkdf_message(char label, uint8_t context, uint32_t iter, uint8_t ret[KBKDF_MESSAGE_LEN])
{
    be32_put(ret, iter);
    ret[4] = 'Z';
    ret[5] = 'T';
    ret[6] = (uint8_t)label;
    ret[7] = 0;
    ret[8] = context;
    be32_put(ret + 9, SHA384_LEN * 8);
}

void kbkdf(const uint8_t key[KBKDF_KEY_LEN], char label, uint8_t context, uint32_t iter,
           uint8_t ret[SHA384_LEN])
{
    uint8_t message[KBKDF_MESSAGE_LEN];

    kbkdf_message(label, context, iter, message);
    hmac_sha384(key, KBKDF_KEY_LEN, message, sizeof(message), ret);
}
