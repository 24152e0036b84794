/* The one rule evaluator, used by engine and workers: a pure function of rules, frame and
 * credentials. It has no side effect; copies and redirects are returned as data.
 * Source: spec 03 section 16 with Do better 21 (SEC-3), data path contract section 4.
 *
 * The structs are views of what vl2 publishes; the evaluator only reads them. In remote credentials
 * the words `revoked` may be raised in place by the publisher while workers read (they are loaded
 * atomically); everything else is immutable. */
#pragma once

#include "base/attr.h"
#include "wire/credential.h"
#include "wire/inetaddr.h"
#include "wire/rule.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* A credential is valid while |timestamp - configuration timestamp| <= window and its revocation
 * threshold, if any (not 0), is below its timestamp. Own credentials are used without check. */
struct filter_tag {
    uint64_t timestamp;
    uint64_t revoked; /* threshold of (tag, id), 0 = none */
    uint32_t id;
    uint32_t value;
};

struct filter_ownership {
    uint64_t timestamp;
    uint64_t revoked; /* threshold of (ownership, id), 0 = none */
    const struct thing *things;
    uint32_t count;
};

struct filter_op;

struct filter_capability {
    uint64_t timestamp;
    uint64_t revoked; /* threshold of (capability, id), 0 = none */
    const struct rule *rules;
    const struct filter_op *program; /* of the rules (datapath/filter_program.h); NULL: none */
    uint32_t id;
    uint32_t rule_count;
};

/* Credentials of one member: our own, or those of the remote one. */
struct filter_credentials {
    const struct filter_tag *tags; /* any order; the first of equal ids counts */
    const struct filter_ownership *ownerships;
    const struct filter_capability *capabilities; /* ascending id: the order of evaluation */
    uint16_t tag_count;
    uint16_t ownership_count;
    uint16_t capability_count;
};

/* What the evaluator knows of a network and of us in it. */
struct filter_network {
    uint64_t network_id;
    uint64_t self;      /* own address */
    uint64_t timestamp; /* ts of our configuration */
    uint64_t window;    /* ctmd of our configuration */
    uint64_t flags;     /* NETCONF_FLAG_NDP, NETCONF_FLAG_UNKNOWN_MATCH */
    const struct rule *rules;
    const struct filter_op *program;  /* as in filter_capability */
    const struct inetaddr *addresses; /* assigned to us */
    uint16_t rule_count;
    uint16_t address_count;
    struct filter_credentials own;
};

/* A frame without its 14-byte header; never a super-frame unless the program is safe. */
struct filter_frame {
    uint64_t source_mac;
    uint64_t dest_mac;
    const uint8_t *payload;
    size_t len;
    uint16_t ethertype;
};

/* Source of random numbers for RULE_RANDOM, one call per evaluation of such a match. */
typedef uint32_t (*filter_draw_fn)(void *ctx);

enum {
    FILTER_LOG_LEN = 512,
    FILTER_EFFECTS_MAX = 3,
};

/* Optional record for remote traces (spec 03 section 19): 4 bits per rule. */
struct filter_log {
    uint8_t base[FILTER_LOG_LEN];
    uint8_t capability[FILTER_LOG_LEN]; /* of the last capability tried */
};

struct filter_input {
    const struct filter_network *network;
    const struct filter_credentials *remote; /* of the other member, NULL = nothing known */
    const struct filter_frame *frame;
    uint64_t source; /* member address the frame comes from: ours outbound, the packet's inbound */
    uint64_t dest;   /* ours inbound; outbound the recipient, 0 = first pass (several, unknown) */
    bool no_tee;     /* outbound second pass: copies are suppressed */
    filter_draw_fn draw;
    void *draw_ctx;
    struct filter_log *log; /* NULL = not wanted */
};

/* Result of one rule set. */
enum filter_outcome {
    FILTER_NO_MATCH = 0,
    FILTER_SET_DROP,
    FILTER_SET_REDIRECT,
    FILTER_SET_ACCEPT,
    FILTER_SET_SUPER_ACCEPT,
};

enum filter_verdict {
    FILTER_DROP = 0, /* refused, or consumed by a redirect among the effects */
    FILTER_ACCEPT = 1,
    FILTER_SUPER_ACCEPT = 2, /* inbound: skip bridging and destination checks */
};

/* A frame to be sent as EXT_FRAME with its original MACs, in this order. */
struct filter_effect {
    uint64_t target;  /* member address */
    size_t len;       /* bytes of the frame payload to send, from its beginning */
    uint8_t flags;    /* EXT_FRAME_TEE_OUT and so on */
    bool is_redirect; /* the frame itself, not a copy */
};

struct filter_result {
    enum filter_verdict verdict;
    enum filter_outcome base; /* result of the base rules alone */
    uint8_t bucket;           /* 0..8, outbound */
    uint8_t effect_count;
    bool by_capability;     /* a capability accepted */
    uint32_t capability_id; /* that one */
    struct filter_effect effects[FILTER_EFFECTS_MAX];
};

/* Outbound decision (spec 03 section 16.4). in->remote: record of in->dest if it exists. */
void filter_outbound(const struct filter_input *in, struct filter_result *ret);

/* Inbound decision (spec 03 section 16.5). in->remote: record of in->source; in->dest: own address.
 */
void filter_inbound(const struct filter_input *in, struct filter_result *ret);
