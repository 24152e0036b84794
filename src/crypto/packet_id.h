/* Packet IDs that look random and cannot repeat: a 64-bit counter under a randomly keyed 64-bit
 * permutation (Speck64/128). Source: spec 01 sections 6.2, 15.6. */
#pragma once

#include "crypto/identity.h"

#include <stdint.h>

enum {
    PACKET_ID_ROUNDS = 27,
    PACKET_ID_LANES = 256, /* independent counters under one key */
};

/* Source of IDs of one lane; one thread at a time. Plain data. */
struct packet_id_source {
    uint32_t round_keys[PACKET_ID_ROUNDS];
    uint64_t next; /* counter, the lane in the top 8 bits */
};

/* New permutation, lane 0, counter 0. */
void packet_id_init(struct packet_id_source *s, random_fn rnd, void *rnd_ctx);

/* Another lane (below PACKET_ID_LANES) under the key of `of`, counter 0: no two lanes ever give the
 * same ID. Each lane is made once only in the life of a key. */
void packet_id_init_lane(struct packet_id_source *s, const struct packet_id_source *of,
                         unsigned lane);

/* The next ID. */
uint64_t packet_id_next(struct packet_id_source *s);

/* The bare permutation, for tests. */
uint64_t packet_id_permute(const struct packet_id_source *s, uint64_t v);

/* Set the key, for tests. */
void packet_id_set_key(struct packet_id_source *s, const uint32_t key[4]);
