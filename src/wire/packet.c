/* Packet and fragment headers, datagram classes, payload compression. Cuts and joins fragments
 * nowhere: that is datapath. Source: spec 01 sections 6 and 7. */
#include "wire/packet.h"

#include "base/cursor.h"

#include <errno.h>
#include <lz4.h>
#include <string.h>

enum {
    COMPRESS_ABOVE = 64, /* payload bytes; spec 01 section 6.4 */
    FLAGS_SUITE_SHIFT = 3,
    FLAGS_SUITE_MASK = 0x07,
    LZ4_MATCH_MIN = 4,
};

enum datagram_kind datagram_classify(const uint8_t *data, size_t len)
{
    if (len == 13) {
        return DATAGRAM_BEACON;
    }
    if (len <= FRAGMENT_AT_DATA) {
        return DATAGRAM_DROP;
    }
    if (data[FRAGMENT_AT_INDICATOR] == FRAGMENT_INDICATOR) {
        return DATAGRAM_FRAGMENT;
    }
    return len < PACKET_MIN || len > PACKET_MAX ? DATAGRAM_DROP : DATAGRAM_PACKET;
}

uint64_t packet_id(const uint8_t *pkt)
{
    return be64_get(pkt + PACKET_AT_ID);
}

uint64_t packet_dest(const uint8_t *pkt)
{
    return be40_get(pkt + PACKET_AT_DEST);
}

uint64_t packet_source(const uint8_t *pkt)
{
    return be40_get(pkt + PACKET_AT_SOURCE);
}

enum verb packet_verb(const uint8_t *pkt)
{
    return pkt[PACKET_AT_VERB] & VERB_MASK;
}

unsigned packet_suite(const uint8_t *pkt)
{
    return pkt[PACKET_AT_FLAGS] >> FLAGS_SUITE_SHIFT & FLAGS_SUITE_MASK;
}

unsigned packet_hops(const uint8_t *pkt)
{
    return pkt[PACKET_AT_FLAGS] & PACKET_HOPS_MASK;
}

bool packet_is_fragmented(const uint8_t *pkt)
{
    return (pkt[PACKET_AT_FLAGS] & PACKET_FLAG_FRAGMENTED) != 0;
}

void packet_start(uint8_t pkt[PACKET_AT_PAYLOAD], uint64_t id, uint64_t dest, uint64_t source,
                  enum verb verb)
{
    memset(pkt, 0, PACKET_AT_PAYLOAD);
    be64_put(pkt + PACKET_AT_ID, id);
    be40_put(pkt + PACKET_AT_DEST, dest);
    be40_put(pkt + PACKET_AT_SOURCE, source);
    pkt[PACKET_AT_VERB] = (uint8_t)(verb & VERB_MASK);
}

void packet_set_suite(uint8_t *pkt, enum cipher_suite suite)
{
    unsigned keep = pkt[PACKET_AT_FLAGS] & (PACKET_FLAG_FRAGMENTED | PACKET_HOPS_MASK);
    unsigned legacy = suite == SUITE_SALSA_POLY1305 ? PACKET_FLAG_ENCRYPTED : 0;

    pkt[PACKET_AT_FLAGS] =
        (uint8_t)(keep | legacy | ((unsigned)suite & FLAGS_SUITE_MASK) << FLAGS_SUITE_SHIFT);
}

void packet_set_fragmented(uint8_t *pkt, bool fragmented)
{
    unsigned flags = pkt[PACKET_AT_FLAGS] & ~(unsigned)PACKET_FLAG_FRAGMENTED;

    pkt[PACKET_AT_FLAGS] = (uint8_t)(flags | (fragmented ? PACKET_FLAG_FRAGMENTED : 0));
}

void packet_add_hop(uint8_t *pkt)
{
    unsigned flags = pkt[PACKET_AT_FLAGS];

    pkt[PACKET_AT_FLAGS] =
        (uint8_t)((flags & ~(unsigned)PACKET_HOPS_MASK) | ((flags + 1) & PACKET_HOPS_MASK));
}

void fragment_add_hop(uint8_t *frag)
{
    frag[FRAGMENT_AT_HOPS] = (uint8_t)((frag[FRAGMENT_AT_HOPS] + 1u) & PACKET_HOPS_MASK);
}

size_t packet_compress(uint8_t *pkt, size_t len, uint8_t *scratch)
{
    size_t payload_len = len - PACKET_AT_PAYLOAD;
    int n;

    /* A HELLO in suite 0 is not decompressed by its receiver. */
    if (len <= PACKET_AT_PAYLOAD + COMPRESS_ABOVE || len > PACKET_MAX ||
        packet_verb(pkt) == VERB_HELLO || (pkt[PACKET_AT_VERB] & VERB_COMPRESSED) != 0) {
        return len;
    }
    n = LZ4_compress_fast((const char *)pkt + PACKET_AT_PAYLOAD, (char *)scratch, (int)payload_len,
                          (int)payload_len - 1, 1);
    if (n <= 0) {
        return len;
    }
    memcpy(pkt + PACKET_AT_PAYLOAD, scratch, (size_t)n);
    pkt[PACKET_AT_VERB] |= VERB_COMPRESSED;
    return PACKET_AT_PAYLOAD + (size_t)n;
}

/* A length that began with `nibble`; 15 continues in the bytes that follow. */
static size_t lz4_length(struct rd *r, unsigned nibble)
{
    size_t n = nibble;
    uint8_t more = 255;

    if (nibble < 15) {
        return n;
    }
    while (more == 255 && !r->bad) {
        more = rd_u8(r);
        n += more;
    }
    return n;
}

/* Walk a block without copying: the size it expands to, or -EBADMSG. Needed because decoders in
 * use accept the match offset 0, which copies bytes that were never written. */
static int lz4_check(struct rd r, size_t cap)
{
    size_t out = 0;

    for (;;) {
        unsigned token = rd_u8(&r);
        size_t literals = lz4_length(&r, token >> 4);
        size_t offset;

        rd_skip(&r, literals);
        if (r.bad || literals > cap - out) {
            return -EBADMSG;
        }
        out += literals;
        if (rd_left(&r) == 0) {
            return (int)out;
        }
        offset = rd_u8(&r);
        offset |= (size_t)rd_u8(&r) << 8;
        literals = lz4_length(&r, token & 15) + LZ4_MATCH_MIN;
        if (r.bad || offset == 0 || offset > out || literals > cap - out) {
            return -EBADMSG;
        }
        out += literals;
    }
}

int packet_decompress(uint8_t *pkt, size_t len, uint8_t *scratch)
{
    int n;

    if ((pkt[PACKET_AT_VERB] & VERB_COMPRESSED) == 0) {
        return (int)len;
    }
    if (len > PACKET_AT_PAYLOAD) {
        const uint8_t *block = pkt + PACKET_AT_PAYLOAD;
        size_t block_len = len - PACKET_AT_PAYLOAD;

        n = lz4_check(rd_init(block, block_len), PACKET_PAYLOAD_MAX);
        if (n <= 0 || len > PACKET_MAX ||
            LZ4_decompress_safe((const char *)block, (char *)scratch, (int)block_len,
                                PACKET_PAYLOAD_MAX) != n) {
            return -EBADMSG;
        }
        memcpy(pkt + PACKET_AT_PAYLOAD, scratch, (size_t)n);
        len = PACKET_AT_PAYLOAD + (size_t)n;
    }
    pkt[PACKET_AT_VERB] &= (uint8_t)~VERB_COMPRESSED;
    return (int)len;
}

const char *verb_name(unsigned verb)
{
    static const char *const names[] = {
        [VERB_NOP] = "NOP",
        [VERB_HELLO] = "HELLO",
        [VERB_ERROR] = "ERROR",
        [VERB_OK] = "OK",
        [VERB_WHOIS] = "WHOIS",
        [VERB_RENDEZVOUS] = "RENDEZVOUS",
        [VERB_FRAME] = "FRAME",
        [VERB_EXT_FRAME] = "EXT_FRAME",
        [VERB_ECHO] = "ECHO",
        [VERB_MULTICAST_LIKE] = "MULTICAST_LIKE",
        [VERB_NETWORK_CREDENTIALS] = "NETWORK_CREDENTIALS",
        [VERB_NETWORK_CONFIG_REQUEST] = "NETWORK_CONFIG_REQUEST",
        [VERB_NETWORK_CONFIG] = "NETWORK_CONFIG",
        [VERB_MULTICAST_GATHER] = "MULTICAST_GATHER",
        [VERB_MULTICAST_FRAME] = "MULTICAST_FRAME",
        [VERB_PUSH_DIRECT_PATHS] = "PUSH_DIRECT_PATHS",
        [VERB_ACK] = "ACK",
        [VERB_QOS_MEASUREMENT] = "QOS_MEASUREMENT",
        [VERB_USER_MESSAGE] = "USER_MESSAGE",
        [VERB_REMOTE_TRACE] = "REMOTE_TRACE",
        [VERB_PATH_NEGOTIATION_REQUEST] = "PATH_NEGOTIATION_REQUEST",
    };

    return verb < COUNT_OF(names) && names[verb] != NULL ? names[verb] : "unknown";
}
