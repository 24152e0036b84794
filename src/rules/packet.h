/* A described packet: what it is made of, who sends it to whom, and what the two know of each
 * other. It becomes a frame and credentials for the evaluator. Source: spec 06 section 16.7,
 * doc/rules.md. */
#pragma once

#include "datapath/filter.h"
#include "rules/policy.h"
#include "wire/capability.h"
#include "wire/credential.h"

#include <jansson.h>

enum {
    PACKET_PAYLOAD_MAX = 10000, /* the largest MTU */
    PACKET_NAME_MAX = 64,
};

/* One of the two members. */
struct packet_member {
    char name[PACKET_NAME_MAX]; /* as it was called, terminated */
    uint64_t address;
    struct filter_tag tags[TAGS_MAX];
    uint16_t tag_count;
    uint32_t capabilities[CAPABILITIES_MAX]; /* IDs */
    uint16_t capability_count;
};

/* What was said of a packet. Numbers are -1, addresses zero, where nothing was. */
struct packet {
    struct packet_member sender;
    struct packet_member receiver;
    bool is_unknown;  /* the sender does not know the receiver's tags yet */
    bool has_ipauth;  /* the sender's IP address is certified */
    bool has_macauth; /* the sender's MAC is */
    uint32_t draw;    /* what RANDOM draws */
    int64_t ethertype;
    int64_t protocol;
    int64_t tos;
    int64_t source_port;
    int64_t dest_port;
    int64_t tcp_flags; /* bits of RULE_CHAR_TCP_MASK */
    int64_t icmp_type;
    int64_t icmp_code;
    int64_t vlan;
    int64_t size; /* of the frame without its header */
    uint64_t source_mac;
    uint64_t dest_mac;
    bool is_multicast;
    bool is_broadcast;
    struct inetaddr source_ip;
    struct inetaddr dest_ip;
    bool is_raw; /* payload and len were given, and MACs and ethertype */
    size_t len;
    uint8_t payload[PACKET_PAYLOAD_MAX];
};

/* What is wrong with a description. */
struct packet_error {
    char text[200];
    size_t at; /* bytes from its beginning */
};

/* Read a description of words, or of JSON where it begins with a brace. Members get the tags and
 * capabilities that the script gives by default (not in JSON, which says all). text may be
 * anything. Returns 0 with *ret ready for packet_explain; -EINVAL with *ret_error; -ENOMEM. */
MUST_CHECK int packet_read(const struct policy *policy, struct rdl_text text, struct packet *ret,
                           struct packet_error *ret_error);

/* ---- parts of packet_read ---- */

/* Nothing said yet. */
void packet_init(struct packet *p);

/* Note an error. Returns -EINVAL. */
int packet_fail(struct packet_error *error, size_t at, const char *format, ...) PRINTF_LIKE(3, 4);

/* Read words. Returns 0; -EINVAL. */
MUST_CHECK int packet_read_words(const struct policy *policy, struct rdl_text text,
                                 struct packet *ret, struct packet_error *error);

/* Read JSON. Returns 0; -EINVAL. */
MUST_CHECK int packet_read_json(struct rdl_text text, struct packet *ret,
                                struct packet_error *error);

/* Set a tag of a member; false if there is no room. */
bool packet_set_tag(struct packet_member *m, uint32_t id, uint32_t value);

/* Give a member a capability; false if there is no room. */
bool packet_give(struct packet_member *m, uint32_t id);

/* Fill in what was not said, and the frame. Returns 0; -EINVAL. */
MUST_CHECK int packet_build(struct packet *p, struct packet_error *error);
