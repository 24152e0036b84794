/* Packet IDs from a counter under Speck64/128 (Beaulieu and others, 2013): a bijection of 64 bits,
 * so no ID comes twice, in 27 rounds of three operations. Nothing secret depends on its strength.
 */
#include "crypto/packet_id.h"

#include <assert.h>
#include <sodium.h>

enum { LANE_SHIFT = 56 };

static uint32_t rotl(uint32_t v, int bits)
{
    return v << bits | v >> (32 - bits);
}

void packet_id_set_key(struct packet_id_source *s, const uint32_t key[4])
{
    uint32_t l[3] = {key[1], key[2], key[3]};
    uint32_t k = key[0];

    for (uint32_t i = 0; i < PACKET_ID_ROUNDS; i++) {
        s->round_keys[i] = k;
        l[i % 3] = (k + rotl(l[i % 3], 24)) ^ i;
        k = rotl(k, 3) ^ l[i % 3];
    }
    s->next = 0;
}

void packet_id_init(struct packet_id_source *s, random_fn rnd, void *rnd_ctx)
{
    uint32_t key[4];

    rnd(rnd_ctx, key, sizeof(key));
    packet_id_set_key(s, key);
    sodium_memzero(key, sizeof(key));
}

void packet_id_init_lane(struct packet_id_source *s, const struct packet_id_source *of,
                         unsigned lane)
{
    assert(lane < PACKET_ID_LANES);
    *s = *of;
    s->next = (uint64_t)lane << LANE_SHIFT;
}

uint64_t packet_id_permute(const struct packet_id_source *s, uint64_t v)
{
    uint32_t x = (uint32_t)(v >> 32);
    uint32_t y = (uint32_t)v;

    for (size_t i = 0; i < PACKET_ID_ROUNDS; i++) {
        x = (rotl(x, 24) + y) ^ s->round_keys[i];
        y = rotl(y, 3) ^ x;
    }
    return (uint64_t)x << 32 | y;
}

uint64_t packet_id_next(struct packet_id_source *s)
{
    return packet_id_permute(s, s->next++);
}
