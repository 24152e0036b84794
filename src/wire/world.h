/* Worlds: signed lists of roots, planets and moons. Source: spec 02 section 9. */
#pragma once

#include "base/attr.h"
#include "base/cursor.h"
#include "crypto/identity.h"
#include "wire/inetaddr.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum world_type {
    WORLD_NULL = 0, /* parses, is never accepted */
    WORLD_PLANET = 1,
    WORLD_MOON = 127,
};

enum {
    WORLD_ROOTS_MAX = 4,
    WORLD_ENDPOINTS_MAX = 32,
    WORLD_WIRE_MAX = 8480,                  /* the reference's limit; ours is always below */
    WORLD_SIGNED_MAX = WORLD_WIRE_MAX + 16, /* the signed message with both frames */
    WORLD_ID_EARTH = 149604618,
    WORLD_ID_MARS = 227883110,
};

struct world_root {
    struct identity identity; /* public half */
    uint8_t endpoint_count;
    struct inetaddr endpoints[WORLD_ENDPOINTS_MAX];
};

/* Plain data, about 4 KB: keep it off small stacks. */
struct world {
    uint8_t type; /* enum world_type */
    uint64_t id;
    uint64_t timestamp;                      /* ms since 1970, serves as revision */
    uint8_t update_key[IDENTITY_PUBLIC_LEN]; /* must sign the next update */
    uint8_t signature[SIGNATURE_LEN];
    uint8_t root_count;
    struct world_root roots[WORLD_ROOTS_MAX];
};

/* Read one world; r moves behind it, what follows is left alone. Identities are not validated,
 * private halves are dropped, a moon's dictionary is skipped. Returns 0; -EBADMSG (r is bad). */
MUST_CHECK int world_read(struct rd *r, struct world *ret);

/* Append the serialized form. */
void world_write(struct wr *w, const struct world *world);

/* Append the message a signature of world covers (rebuilt from the fields). */
void world_signed_message(struct wr *w, const struct world *world);

/* Sign: sets world->signature. priv, pub: key pair of the current update key (for the first
 * version of a world, its own). */
void world_sign(struct world *world, const uint8_t priv[IDENTITY_PRIVATE_LEN],
                const uint8_t pub[IDENTITY_PUBLIC_LEN]);

/* Verify the signature under a key. Returns 0; -EACCES. */
MUST_CHECK int world_verify(const struct world *world, const uint8_t key[IDENTITY_PUBLIC_LEN]);

/* Verify under the world's own update key: possible for a first version only, a later one may
 * rightly be signed by the key of the version before. Returns 0; -EACCES. */
MUST_CHECK int world_verify_self(const struct world *world);

/* May candidate replace current? Rule of section 9.3 for a world already held.
 * current: the version held with this ID, or NULL: then a planet is acceptable without more (there
 * is none yet), and a moon's first acceptance is the caller's decision.
 * Returns 0 acceptable; -EPROTO null world, other type or other ID; -ESTALE not newer; -EACCES not
 * signed by current's update key. */
MUST_CHECK int world_update_check(const struct world *current, const struct world *candidate);

/* Index of the root with this address, or -1. */
int world_find_root(const struct world *world, uint64_t address);

/* True if id (address and public key) is a root of world. */
bool world_has_root(const struct world *world, const struct identity *id);
