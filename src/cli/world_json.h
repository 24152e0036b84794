/* Worlds as people edit them: the JSON of initmoon and genmoon. Source: spec 05 section 4.5. */
#pragma once

#include "base/attr.h"
#include "crypto/identity.h"
#include "wire/world.h"

#include <jansson.h>

/* A key pair that signs updates of a world. */
struct world_key {
    uint8_t pub[IDENTITY_PUBLIC_LEN];
    uint8_t priv[IDENTITY_PRIVATE_LEN];
};

/* A fresh pair. */
void world_key_generate(struct world_key *ret);

/* The JSON to fill in: one root without endpoints. type: "moon" or "planet". Returns NULL out of
 * memory. */
json_t *world_json_template(const struct identity *root, const char *type, uint64_t id,
                            const struct world_key *key);

/* A world as such JSON, with the key that may sign its next version, and (NULL: none) a key that is
 * about to take its place. Returns NULL out of memory. */
json_t *world_json_source(const struct world *world, const struct world_key *key,
                          const struct world_key *next);

/* The key pair with the public half wanted. Returns 0; -ENOENT other keys; -EBADMSG none at all. */
MUST_CHECK int world_json_key(const json_t *json, const uint8_t wanted[IDENTITY_PUBLIC_LEN],
                              struct world_key *ret);

/* Roots by identity, endpoints by family, port and address, as every tool writes them. */
void world_sort(struct world *world);

/* Build and sign the world a filled-in JSON describes; roots and endpoints are sorted.
 * Returns 0; -EBADMSG with *ret_why (static) saying what is missing. */
MUST_CHECK int world_json_sign(const json_t *json, uint64_t timestamp, struct world *ret,
                               const char **ret_why);
