/* A node that does not do what its program would: packets of any content, sealed with the keys of
 * its identity, which is all that others can know of it. */
#include "sim_priv.h"

#include "datapath/armor.h"

#include <assert.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>

void sim_forge(struct sim_node *from, const struct sim_node *to, enum verb verb,
               const void *payload, size_t len)
{
    uint8_t secret[SHARED_KEY_LEN];
    struct armor_keys keys;
    uint8_t pkt[PACKET_MAX];
    uint8_t scratch[PACKET_MAX];

    assert(PACKET_AT_PAYLOAD + len <= sizeof(pkt));
    if (identity_agree(&from->identity, &to->identity, secret) < 0) {
        abort();
    }
    armor_keys_init(&keys, secret);
    packet_start(pkt, sim_random(from->sim, UINT64_MAX), to->identity.address,
                 from->identity.address, verb);
    memcpy(pkt + PACKET_AT_PAYLOAD, payload, len);
    len += PACKET_AT_PAYLOAD;
    if ((verb & VERB_COMPRESSED) != 0) {
        pkt[PACKET_AT_VERB] &= (uint8_t)~VERB_COMPRESSED;
        len = packet_compress(pkt, len, scratch);
    }
    armor_seal(pkt, len, SUITE_AES_GMAC_SIV, &keys);
    sim_transmit(from, SIM_SOCKET, &to->at, pkt, len, 0);
    armor_keys_done(&keys);
    sodium_memzero(secret, sizeof(secret));
}
