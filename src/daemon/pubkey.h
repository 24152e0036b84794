/* Signatures of login services (RSA and ECDSA by GnuTLS, loaded when needed; Ed25519 by libsodium).
 * Source: RFC 7518 sections 3.3, 3.4; RFC 8037 section 3.1. */
#pragma once

#include "controller/jwt.h"

/* A jwt_verify_fn (ctx is not used): 0 good; -EBADMSG bad, or a key too weak to mean anything;
 * -ENOTSUP the library is not there. */
int pubkey_verify(void *ctx, const struct jwt_key *key, const void *data, size_t len,
                  const uint8_t *signature, size_t signature_len);
