/* Node identities: key pairs whose 40-bit address is derived from the public key by a memory-hard
 * hash, their key agreement and signatures. Text and binary forms are in wire/identity.h.
 * Source: spec 01 sections 1 to 4. */
#pragma once

#include "base/attr.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    ADDRESS_BITS = 40,
    IDENTITY_PUBLIC_LEN = 64,  /* X25519 public key, Ed25519 public key */
    IDENTITY_PRIVATE_LEN = 64, /* X25519 scalar, Ed25519 seed */
    IDENTITY_HASH_LEN = 48,    /* SHA-384 of address and public key */
    SIGNATURE_LEN = 96,
    SHARED_KEY_LEN = 48,
    ADDRESS_HASH_MEMORY = 2097152, /* scratch bytes of the address hash */
};

struct identity {
    uint64_t address; /* 40 bits */
    uint8_t pub[IDENTITY_PUBLIC_LEN];
    uint8_t priv[IDENTITY_PRIVATE_LEN]; /* meaningful only with has_private */
    bool has_private;
};

/* Bytes of randomness; must be cryptographically good. */
typedef void (*random_fn)(void *ctx, void *out, size_t len);

/* True for 0 and for addresses whose first byte is ff. */
bool address_is_reserved(uint64_t address);

/* Digest of the memory-hard hash over a public key. scratch: ADDRESS_HASH_MEMORY bytes, 64-byte
 * aligned, contents irrelevant. 2 to 10 ms. Pure, any thread. Source: spec 01 section 2.2. */
void address_hash(const uint8_t pub[IDENTITY_PUBLIC_LEN], void *scratch, uint8_t ret_digest[64]);

/* Try count key pairs (random from rnd) for a new identity. Meant to be run on several threads at
 * once, each with its own scratch. Returns 0 with *ret filled; -EAGAIN none of them passed. */
MUST_CHECK int identity_generate(random_fn rnd, void *rnd_ctx, void *scratch, unsigned count,
                                 struct identity *ret);

/* Local validation of a public identity: address not reserved, hashcash holds, address matches,
 * X25519 key not of low order. Returns 0; -EACCES. Source: spec 01 section 2.5. */
MUST_CHECK int identity_validate(const struct identity *id, void *scratch);

/* Check that both public halves derive from the private half. Returns 0; -EACCES mismatch or no
 * private half. */
MUST_CHECK int identity_check_private(const struct identity *id);

/* Same address and public key; the private half never matters. */
bool identity_equal(const struct identity *a, const struct identity *b);

/* Order by address, then by public key bytes: <0, 0, >0. */
int identity_compare(const struct identity *a, const struct identity *b);

/* SHA-384 of address and public key, as certificates bind it. */
void identity_hash(const struct identity *id, uint8_t ret[IDENTITY_HASH_LEN]);

/* Shared secret of mine (private half needed) and theirs. Returns 0; -EACCES low-order key. */
MUST_CHECK int identity_agree(const struct identity *mine, const struct identity *theirs,
                              uint8_t ret_key[SHARED_KEY_LEN]);

/* Sign len bytes with the private half of id. */
void identity_sign(const struct identity *id, const void *msg, size_t len,
                   uint8_t ret_sig[SIGNATURE_LEN]);

/* Verify a signature of sig_len bytes. Returns 0; -EACCES. */
MUST_CHECK int identity_verify(const struct identity *id, const void *msg, size_t len,
                               const void *sig, size_t sig_len);

/* The same over a bare 64-byte public key, for the update keys of worlds; sign takes the private
 * half of the same form. */
MUST_CHECK int key_verify(const uint8_t pub[IDENTITY_PUBLIC_LEN], const void *msg, size_t len,
                          const void *sig, size_t sig_len);
void key_sign(const uint8_t priv[IDENTITY_PRIVATE_LEN], const uint8_t pub[IDENTITY_PUBLIC_LEN],
              const void *msg, size_t len, uint8_t ret_sig[SIGNATURE_LEN]);

/* Wipe the private half (and everything else). */
void identity_wipe(struct identity *id);
