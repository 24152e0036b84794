/* Packet and fragment headers, verbs and protocol constants. Source: spec 01 sections 6, 7, 16. */
#pragma once

#include "base/attr.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    PROTOCOL_VERSION = 12,
    PROTOCOL_VERSION_MIN = 4,

    PACKET_AT_ID = 0,
    PACKET_AT_DEST = 8,
    PACKET_AT_SOURCE = 13,
    PACKET_AT_FLAGS = 18,
    PACKET_AT_MAC = 19,
    PACKET_AT_VERB = 27,
    PACKET_AT_PAYLOAD = 28,
    PACKET_MIN = 28,
    PACKET_MAX = 10024,
    PACKET_PAYLOAD_MAX = PACKET_MAX - PACKET_AT_PAYLOAD,

    PACKET_FLAG_ENCRYPTED = 0x80,  /* legacy, set with suite 1 only */
    PACKET_FLAG_FRAGMENTED = 0x40, /* head of a fragmented packet */
    PACKET_HOPS_MASK = 0x07,
    PACKET_HOPS_MAX = 3, /* relayed only below this */

    FRAGMENT_AT_INDICATOR = 13,
    FRAGMENT_AT_NUMBERS = 14,
    FRAGMENT_AT_HOPS = 15,
    FRAGMENT_AT_DATA = 16,
    FRAGMENT_INDICATOR = 0xff,
    FRAGMENTS_MAX = 7, /* head included */

    VERB_MASK = 0x1f,
    VERB_COMPRESSED = 0x80,

    MTU_PHYSICAL_DEFAULT = 1432, /* UDP payload */
    MTU_PHYSICAL_MIN = 1400,
    MTU_PHYSICAL_MAX = 10324,
    PORT_DEFAULT = 9993,
};

enum cipher_suite {
    SUITE_POLY1305 = 0,       /* authenticated, not encrypted: HELLO */
    SUITE_SALSA_POLY1305 = 1, /* peers below protocol 12 */
    SUITE_TRUSTED = 2,        /* trusted path: nothing computed */
    SUITE_AES_GMAC_SIV = 3,   /* peers of protocol 12 and above */
};

enum verb {
    VERB_NOP = 0x00,
    VERB_HELLO = 0x01,
    VERB_ERROR = 0x02,
    VERB_OK = 0x03,
    VERB_WHOIS = 0x04,
    VERB_RENDEZVOUS = 0x05,
    VERB_FRAME = 0x06,
    VERB_EXT_FRAME = 0x07,
    VERB_ECHO = 0x08,
    VERB_MULTICAST_LIKE = 0x09,
    VERB_NETWORK_CREDENTIALS = 0x0a,
    VERB_NETWORK_CONFIG_REQUEST = 0x0b,
    VERB_NETWORK_CONFIG = 0x0c,
    VERB_MULTICAST_GATHER = 0x0d,
    VERB_MULTICAST_FRAME = 0x0e,
    VERB_PUSH_DIRECT_PATHS = 0x10,
    VERB_ACK = 0x12,
    VERB_QOS_MEASUREMENT = 0x13,
    VERB_USER_MESSAGE = 0x14,
    VERB_REMOTE_TRACE = 0x15,
    VERB_PATH_NEGOTIATION_REQUEST = 0x16,
};

enum error_code {
    ERROR_NONE = 0x00,
    ERROR_INVALID_REQUEST = 0x01,
    ERROR_BAD_PROTOCOL_VERSION = 0x02,
    ERROR_OBJ_NOT_FOUND = 0x03,
    ERROR_IDENTITY_COLLISION = 0x04,
    ERROR_UNSUPPORTED_OPERATION = 0x05,
    ERROR_NEED_MEMBERSHIP_CERTIFICATE = 0x06,
    ERROR_NETWORK_ACCESS_DENIED = 0x07,
    ERROR_UNWANTED_MULTICAST = 0x08,
    ERROR_NETWORK_AUTHENTICATION_REQUIRED = 0x09,
};

/* How a received datagram is to be treated (spec 01 section 7.1). */
enum datagram_kind {
    DATAGRAM_DROP = 0, /* too short, too long */
    DATAGRAM_BEACON,   /* legacy 13-byte announcement */
    DATAGRAM_FRAGMENT, /* fragment other than the head */
    DATAGRAM_PACKET,   /* complete packet, or the head of a fragmented one */
};

/* Which kind of datagram this is, by its length and first bytes; the rest is not looked at. */
enum datagram_kind datagram_classify(const uint8_t *data, size_t len);

/* Header fields of a packet of at least PACKET_MIN bytes (dest also of a fragment). */
uint64_t packet_id(const uint8_t *pkt);
uint64_t packet_dest(const uint8_t *pkt);
uint64_t packet_source(const uint8_t *pkt);
enum verb packet_verb(const uint8_t *pkt);
unsigned packet_suite(const uint8_t *pkt);
unsigned packet_hops(const uint8_t *pkt);
bool packet_is_fragmented(const uint8_t *pkt);

/* Write a header: ID, destination, source, flags 0, MAC zero, verb. */
void packet_start(uint8_t pkt[PACKET_AT_PAYLOAD], uint64_t id, uint64_t dest, uint64_t source,
                  enum verb verb);

/* Set suite bits and the legacy bit 7; keeps fragmented bit and hops. */
void packet_set_suite(uint8_t *pkt, enum cipher_suite suite);
void packet_set_fragmented(uint8_t *pkt, bool fragmented);

/* Add one hop in a packet or a fragment. The caller tested the limit. */
void packet_add_hop(uint8_t *pkt);
void fragment_add_hop(uint8_t *frag);

/* Compress the payload in place if it is longer than 64 bytes and gets shorter; sets the verb bit.
 * scratch: PACKET_MAX bytes. Returns the new packet length. Source: spec 01 section 6.4. */
size_t packet_compress(uint8_t *pkt, size_t len, uint8_t *scratch);

/* Undo compression in place if the verb bit is set. pkt has room for PACKET_MAX bytes.
 * scratch: PACKET_MAX bytes. Returns the new length; -EBADMSG. */
MUST_CHECK int packet_decompress(uint8_t *pkt, size_t len, uint8_t *scratch);

/* Name of a verb for people, "VERB_0x1f" style text is never returned: unknown gives "unknown". */
const char *verb_name(unsigned verb);
