/* Rules of networks and capabilities: plain form and binary form. What they mean for a frame is
 * in datapath/filter.h; JSON and the rule language are elsewhere. Source: spec 03 section 15. */
#pragma once

#include "base/attr.h"
#include "base/cursor.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum rule_type {
    RULE_DROP = 0,
    RULE_ACCEPT = 1,
    RULE_TEE = 2,
    RULE_WATCH = 3,
    RULE_REDIRECT = 4,
    RULE_BREAK = 5,
    RULE_PRIORITY = 6,
    RULE_ACTION_LAST = 15, /* types up to here are actions, known or not */
    RULE_SOURCE_ADDRESS = 24,
    RULE_DEST_ADDRESS = 25,
    RULE_VLAN_ID = 26,
    RULE_VLAN_PCP = 27,
    RULE_VLAN_DEI = 28,
    RULE_MAC_SOURCE = 29,
    RULE_MAC_DEST = 30,
    RULE_IPV4_SOURCE = 31,
    RULE_IPV4_DEST = 32,
    RULE_IPV6_SOURCE = 33,
    RULE_IPV6_DEST = 34,
    RULE_IP_TOS = 35,
    RULE_IP_PROTOCOL = 36,
    RULE_ETHERTYPE = 37,
    RULE_ICMP = 38,
    RULE_SOURCE_PORT = 39,
    RULE_DEST_PORT = 40,
    RULE_CHARACTERISTICS = 41,
    RULE_FRAME_SIZE = 42,
    RULE_RANDOM = 43,
    RULE_TAGS_DIFFERENCE = 44,
    RULE_TAGS_AND = 45,
    RULE_TAGS_OR = 46,
    RULE_TAGS_XOR = 47,
    RULE_TAGS_EQUAL = 48,
    RULE_TAG_SENDER = 49,
    RULE_TAG_RECEIVER = 50,
    RULE_INTEGER_RANGE = 51,
    RULE_TYPE_LAST = 63,
};

enum {
    RULES_BASE_MAX = 1024,     /* rules of a network */
    RULES_CAPABILITY_MAX = 64, /* rules of a capability */
    RULE_WIRE_MAX = 2 + 19,    /* longest rule written */
    RULE_ICMP_CODE = 0x01,     /* icmp.flags: the code counts */
    RULE_QOS_BUCKETS = 9,
};

/* Bits of RULE_CHARACTERISTICS (spec 03 section 16.3); the low 12 bits are TCP flags. */
#define RULE_CHAR_INBOUND    UINT64_C(0x8000000000000000)
#define RULE_CHAR_MULTICAST  UINT64_C(0x4000000000000000)
#define RULE_CHAR_BROADCAST  UINT64_C(0x2000000000000000)
#define RULE_CHAR_SENDER_IP  UINT64_C(0x1000000000000000)
#define RULE_CHAR_SENDER_MAC UINT64_C(0x0800000000000000)
#define RULE_CHAR_TCP_MASK   UINT64_C(0x0000000000000fff)

/* One rule. The member of the union that counts follows from the type; unknown types have none. */
struct rule {
    uint8_t type;   /* 0..63, enum rule_type */
    bool is_not;    /* result of a match is inverted; no meaning for actions */
    bool is_or;     /* a match is joined by OR; no meaning for actions */
    uint8_t prefix; /* IPv4 and IPv6 types: prefix length as received */
    uint32_t id;    /* tag types: tag ID */
    union {
        struct {
            uint64_t address; /* target, 40 bits used */
            uint32_t flags;   /* 0 */
            uint16_t length;  /* bytes of the frame copied, 0 = all */
        } forward;            /* TEE, WATCH, REDIRECT */
        uint64_t address;     /* SOURCE_ADDRESS, DEST_ADDRESS */
        uint64_t mac;         /* MAC_SOURCE, MAC_DEST */
        uint64_t mask;        /* CHARACTERISTICS */
        uint32_t value;       /* tag types */
        uint32_t probability; /* RANDOM */
        uint16_t number;      /* VLAN_ID, VLAN_PCP, VLAN_DEI, IP_PROTOCOL, ETHERTYPE */
        uint8_t bucket;       /* PRIORITY; never on the wire, 0 when decoded */
        uint8_t ip[16];       /* IPv4 (first 4 bytes) and IPv6 types */
        struct {
            uint8_t mask;
            uint8_t start;
            uint8_t end;
        } tos;
        struct {
            uint8_t type;
            uint8_t code;
            uint8_t flags; /* RULE_ICMP_CODE */
        } icmp;
        struct {
            uint16_t start;
            uint16_t end; /* inclusive */
        } range;          /* ports, FRAME_SIZE */
        struct {
            uint64_t start;
            uint32_t distance; /* end - start, modulo 2^32 */
            uint16_t index;
            uint8_t format; /* 0x80 little-endian, low 6 bits = number of bits - 1 */
        } integer;
    };
};

/* Read one rule. A known type whose value is shorter than its layout is malformed, surplus bytes
 * are ignored; an unknown type keeps its number and is skipped by its length.
 * Returns 0 with *ret filled; -EBADMSG (r is bad). */
MUST_CHECK int rule_read(struct rd *r, struct rule *ret);

/* Write one rule in canonical form; unknown types with length 0. */
void rule_write(struct wr *w, const struct rule *rule);

/* Bytes rule_write writes. */
size_t rule_wire_len(const struct rule *rule);

/* Count the rules in r (a copy is walked) until its end or until max were found, at most 65535.
 * Returns the number; -EBADMSG if one of those is malformed. */
MUST_CHECK int rules_count(struct rd r, size_t max);

/* Read count rules into out, which has room for them. Returns 0; -EBADMSG. */
MUST_CHECK int rules_read(struct rd *r, struct rule *out, size_t count);

/* Write count rules. */
void rules_write(struct wr *w, const struct rule *rules, size_t count);

/* Bytes rules_write writes. */
size_t rules_wire_len(const struct rule *rules, size_t count);

/* Same type, bits and value (only the fields that the type has). */
bool rule_equal(const struct rule *a, const struct rule *b);
bool rules_equal(const struct rule *a, size_t a_count, const struct rule *b, size_t b_count);

/* True for ACTION types. */
bool rule_is_action(const struct rule *rule);

/* True if the type is in the table of spec 03 section 15. */
bool rule_type_is_known(unsigned type);

/* Name of a known type as in JSON ("MATCH_ETHERTYPE", "INTEGER_RANGE"), NULL for others. */
const char *rule_type_name(unsigned type);

/* Type of a name ("MATCH_INTEGER_RANGE" is understood too), or -ENOENT. */
MUST_CHECK int rule_type_from_name(const char *name);
