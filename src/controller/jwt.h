/* ID tokens of OpenID Connect: reading a signed JSON Web Token, the keys of its issuer, and the
 * claims a controller looks at. Who signs is checked by a function of the host, as this stands
 * above no library for it. Everything here comes from strangers.
 * Source: RFC 7515, RFC 7517, RFC 7519, OpenID Connect Core 1.0 section 3.1.3.7; spec 04 section
 * 4.9. Pure. */
#pragma once

#include "base/attr.h"

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    JWT_TEXT_MAX = 16384, /* bytes of a token */
    JWT_KEYS_MAX = 32,    /* keys of an issuer looked at */
    JWT_KEY_PART_MAX = 1024,
    JWT_SIGNATURE_MAX = 1024,
    JWT_ID_MAX = 127,
};

enum jwt_alg { JWT_RS256, JWT_ES256, JWT_EDDSA };

/* A token, read but not believed. */
struct jwt {
    enum jwt_alg alg;
    char key_id[JWT_ID_MAX + 1]; /* "" none */
    json_t *claims;              /* owned */
    const char *signed_text;     /* what the signature is over, in the caller's text */
    size_t signed_len;
    uint8_t signature[JWT_SIGNATURE_MAX];
    size_t signature_len;
};

/* A public key. */
struct jwt_key {
    enum jwt_alg alg;
    char id[JWT_ID_MAX + 1];     /* "" none */
    uint8_t a[JWT_KEY_PART_MAX]; /* RS256: modulus; else x */
    uint8_t b[JWT_KEY_PART_MAX]; /* RS256: exponent; ES256: y */
    size_t a_len;
    size_t b_len;
};

/* Checks a signature with a key: 0 good; -EBADMSG bad; -ENOTSUP cannot tell. */
typedef int (*jwt_verify_fn)(void *ctx, const struct jwt_key *key, const void *data, size_t len,
                             const uint8_t *signature, size_t signature_len);

/* Read a token of len bytes (borrowed while ret is used). Returns 0; -EBADMSG; -ENOTSUP another
 * algorithm ("none" and symmetric ones among them); -ENOMEM. */
MUST_CHECK int jwt_parse(const char *text, size_t len, struct jwt *ret);
void jwt_free(struct jwt *jwt);

/* Read a key set ({"keys":[...]}); keys that are not for us are left out. *ret is malloc'd.
 * Returns 0; -EBADMSG; -ENOMEM. */
MUST_CHECK int jwt_keys_parse(const char *text, size_t len, struct jwt_key **ret,
                              size_t *ret_count);

/* True if one of the keys made the signature. A key with another ID than the token names is not
 * tried. */
bool jwt_is_signed(const struct jwt *jwt, const struct jwt_key *keys, size_t count,
                   jwt_verify_fn verify, void *ctx);

/* What the claims have to say. */
struct jwt_expect {
    const char *issuer;
    const char *client_id;
    const char *nonce; /* NULL: not looked at (refresh) */
    int64_t now_s;     /* Unix time */
};

enum { JWT_LEEWAY_S = 60 }; /* clocks differ */

/* Check issuer, audience, expiry, times and nonce. Returns NULL if all is well, else a static text
 * for people. */
const char *jwt_check(const json_t *claims, const struct jwt_expect *expect);

/* Expiry of a token that passed, in Unix ms. */
int64_t jwt_expiry_ms(const json_t *claims);
