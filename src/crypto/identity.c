/* Identities: generation, validation, agreement, signatures. Source: spec 01 sections 2 to 4. */
#include "crypto/identity.h"

#include "base/cursor.h"
#include "crypto/sha.h"

#include <errno.h>
#include <sodium.h>
#include <string.h>

enum {
    HASHCASH_BELOW = 17,    /* first digest byte of a valid key, spec 01 section 2.3 */
    DIGEST_AT_ADDRESS = 59, /* address bytes in the digest */
    ADDRESS_RESERVED_TOP = 0xff,
    X25519_LEN = 32,        /* each half of a key */
    SIGNATURE_AT_HASH = 64, /* SHA-512 of the message, first 32 bytes */
    SIGNATURE_HASH_LEN = 32,
};

bool address_is_reserved(uint64_t address)
{
    return address == 0 || address >> 32 == ADDRESS_RESERVED_TOP;
}

/* Both agreement with a fixed key and validation refuse keys for which libsodium gives zero. */
static int x25519(const uint8_t scalar[X25519_LEN], const uint8_t pub[X25519_LEN],
                  uint8_t ret[X25519_LEN])
{
    return crypto_scalarmult(ret, scalar, pub) == 0 ? 0 : -EACCES;
}

static void x25519_public(const uint8_t scalar[X25519_LEN], uint8_t ret[X25519_LEN])
{
    /* It cannot fail: the base point is not of low order. */
    (void)crypto_scalarmult_base(ret, scalar);
}

static void ed25519_public(const uint8_t seed[X25519_LEN], uint8_t ret[X25519_LEN])
{
    uint8_t secret[crypto_sign_SECRETKEYBYTES];

    crypto_sign_seed_keypair(ret, secret, seed);
    sodium_memzero(secret, sizeof(secret));
}

/* The address a digest gives, or 0 if it does not pass. */
static uint64_t digest_address(const uint8_t digest[64])
{
    uint64_t address = be40_get(digest + DIGEST_AT_ADDRESS);

    return digest[0] < HASHCASH_BELOW && !address_is_reserved(address) ? address : 0;
}

int identity_generate(random_fn rnd, void *rnd_ctx, void *scratch, unsigned count,
                      struct identity *ret)
{
    struct identity id = {.has_private = true};
    uint8_t digest[64];
    int r = -EAGAIN;

    rnd(rnd_ctx, id.priv + X25519_LEN, X25519_LEN);
    ed25519_public(id.priv + X25519_LEN, id.pub + X25519_LEN);
    for (unsigned i = 0; i < count; i++) {
        rnd(rnd_ctx, id.priv, X25519_LEN);
        x25519_public(id.priv, id.pub);
        address_hash(id.pub, scratch, digest);
        id.address = digest_address(digest);
        if (id.address != 0) {
            *ret = id;
            r = 0;
            break;
        }
    }
    identity_wipe(&id);
    return r;
}

int identity_validate(const struct identity *id, void *scratch)
{
    static const uint8_t any_scalar[X25519_LEN] = {1};
    uint8_t digest[64];

    if (address_is_reserved(id->address) || x25519(any_scalar, id->pub, digest) < 0) {
        return -EACCES;
    }
    address_hash(id->pub, scratch, digest);
    return digest_address(digest) == id->address ? 0 : -EACCES;
}

int identity_check_private(const struct identity *id)
{
    uint8_t pub[IDENTITY_PUBLIC_LEN];

    if (!id->has_private) {
        return -EACCES;
    }
    x25519_public(id->priv, pub);
    ed25519_public(id->priv + X25519_LEN, pub + X25519_LEN);
    return memcmp(pub, id->pub, sizeof(pub)) == 0 ? 0 : -EACCES;
}

bool identity_equal(const struct identity *a, const struct identity *b)
{
    return identity_compare(a, b) == 0;
}

int identity_compare(const struct identity *a, const struct identity *b)
{
    if (a->address != b->address) {
        return a->address < b->address ? -1 : 1;
    }
    return memcmp(a->pub, b->pub, sizeof(a->pub));
}

void identity_hash(const struct identity *id, uint8_t ret[IDENTITY_HASH_LEN])
{
    uint8_t bytes[ADDRESS_BITS / 8 + IDENTITY_PUBLIC_LEN];

    be40_put(bytes, id->address);
    memcpy(bytes + ADDRESS_BITS / 8, id->pub, IDENTITY_PUBLIC_LEN);
    sha384(bytes, sizeof(bytes), ret);
}

int identity_agree(const struct identity *mine, const struct identity *theirs,
                   uint8_t ret_key[SHARED_KEY_LEN])
{
    uint8_t raw[X25519_LEN];
    uint8_t digest[SHA512_LEN];
    int r = mine->has_private ? x25519(mine->priv, theirs->pub, raw) : -EACCES;

    if (r == 0) {
        sha512(raw, sizeof(raw), digest);
        memcpy(ret_key, digest, SHARED_KEY_LEN);
    }
    sodium_memzero(raw, sizeof(raw));
    sodium_memzero(digest, sizeof(digest));
    return r;
}

void key_sign(const uint8_t priv[IDENTITY_PRIVATE_LEN], const uint8_t pub[IDENTITY_PUBLIC_LEN],
              const void *msg, size_t len, uint8_t ret_sig[SIGNATURE_LEN])
{
    uint8_t secret[crypto_sign_SECRETKEYBYTES];
    uint8_t digest[SHA512_LEN];

    memcpy(secret, priv + X25519_LEN, X25519_LEN);
    memcpy(secret + X25519_LEN, pub + X25519_LEN, X25519_LEN);
    sha512(msg, len, digest);
    memcpy(ret_sig + SIGNATURE_AT_HASH, digest, SIGNATURE_HASH_LEN);
    crypto_sign_detached(ret_sig, NULL, digest, SIGNATURE_HASH_LEN, secret);
    sodium_memzero(secret, sizeof(secret));
}

int key_verify(const uint8_t pub[IDENTITY_PUBLIC_LEN], const void *msg, size_t len, const void *sig,
               size_t sig_len)
{
    const uint8_t *bytes = sig;
    uint8_t digest[SHA512_LEN];

    if (sig_len != SIGNATURE_LEN) {
        return -EACCES;
    }
    sha512(msg, len, digest);
    if (sodium_memcmp(bytes + SIGNATURE_AT_HASH, digest, SIGNATURE_HASH_LEN) != 0 ||
        crypto_sign_verify_detached(bytes, digest, SIGNATURE_HASH_LEN, pub + X25519_LEN) != 0) {
        return -EACCES;
    }
    return 0;
}

void identity_sign(const struct identity *id, const void *msg, size_t len,
                   uint8_t ret_sig[SIGNATURE_LEN])
{
    key_sign(id->priv, id->pub, msg, len, ret_sig);
}

int identity_verify(const struct identity *id, const void *msg, size_t len, const void *sig,
                    size_t sig_len)
{
    return key_verify(id->pub, msg, len, sig, sig_len);
}

void identity_wipe(struct identity *id)
{
    sodium_memzero(id, sizeof(*id));
}
