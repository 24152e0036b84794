/* What sealing and opening by suite 3 share. Source: spec 01 section 8.5. */
#pragma once

#include "base/cursor.h"
#include "crypto/aes_gmac_siv.h"
#include "wire/packet.h"

#include <string.h>

/* The header bytes suite 3 authenticates: destination, source, flags without hops. Read as they are
 * written, address by address: wider reads would wait for those writes. */
static inline struct aes_aad siv_aad(const uint8_t *pkt)
{
    uint64_t dest = be40_get(pkt + PACKET_AT_DEST);
    uint64_t source = be40_get(pkt + PACKET_AT_SOURCE);
    uint64_t flags = pkt[PACKET_AT_FLAGS] & (unsigned)~PACKET_HOPS_MASK;

    return (struct aes_aad){.first = dest << 24 | source >> 16,
                            .second = source << 48 | flags << 40};
}

/* The tag lies in two places of the header. */
static inline void siv_get_tag(const uint8_t *pkt, uint8_t ret[AES_SIV_TAG_LEN])
{
    memcpy(ret, pkt + PACKET_AT_ID, 8);
    memcpy(ret + 8, pkt + PACKET_AT_MAC, 8);
}

static inline void siv_put_tag(uint8_t *pkt, const uint8_t tag[AES_SIV_TAG_LEN])
{
    memcpy(pkt + PACKET_AT_ID, tag, 8);
    memcpy(pkt + PACKET_AT_MAC, tag + 8, 8);
}
