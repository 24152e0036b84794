/* What the TCP relay of a root carries for whom: it must serve nodes without UDP and be of no use
 * to others. Destinations are roots (this one too) and global unicast addresses; payloads must look
 * like packets of the virtual network; a destination that never answered gets little, from one
 * client and from all of them together, so that no flood can be sent through here; what is answered
 * flows at a bounded rate. Pure. Source: spec 02 section 12.3, spec 05 section 5.5. */
#pragma once

#include "base/attr.h"
#include "wire/inetaddr.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    GATE_PAYLOAD_MIN = 16, /* UDP payload carried, both ways */
    GATE_PAYLOAD_MAX = 2047,
    GATE_PORT_MIN = 1025,   /* destination ports, other than those of roots */
    GATE_ROOTS_MAX = 256,   /* addresses of roots */
    GATE_OWN_MAX = 64,      /* endpoints of this root */
    GATE_MACHINE_MAX = 256, /* addresses of this machine */
    GATE_KNOWN = 128,       /* destinations of one client remembered, in sets of GATE_WAYS */
    GATE_WAYS = 4,
    GATE_ANSWER_MS = 60000, /* an answer opens a destination for so long */
    GATE_CLIENT_BURST = 64, /* datagrams of a client to those that did not answer, */
    GATE_CLIENT_MS = 31,    /* and one more each */
    GATE_TARGET_BURST = 32, /* datagrams of all clients to one address (IPv6: /64) that did not */
    GATE_TARGET_MS = 62,    /* answer, and one more each */
    GATE_TARGETS = 4096,    /* buckets that such addresses share */
    GATE_NEW_BURST = 64,    /* connections of one address (IPv6: /64) at once, */
    GATE_NEW_MS = 100,      /* and one more each */
    GATE_NEWCOMERS = 1024,  /* buckets that such addresses share */
    GATE_RATE_MS = 50,      /* so much of the rate may pass at once */
};

/* Where a datagram goes. */
enum gate_verdict {
    GATE_SEND,   /* by UDP */
    GATE_SELF,   /* to this root: by UDP to the address in *ret_to */
    GATE_CLIENT, /* to this machine, and not its root: perhaps another client's port */
    GATE_SIZE,   /* dropped: */
    GATE_FORM,
    GATE_ADDRESS,
    GATE_UNANSWERED,
    GATE_RATE,
    GATE_VERDICTS
};

/* One of this root's own endpoints. */
struct gate_self {
    struct inetaddr endpoint; /* by which clients know it */
    struct inetaddr local;    /* where it is reached from this machine, other behind a NAT */
};

/* What holds for all clients. */
struct gate_rules {
    struct inetaddr roots[GATE_ROOTS_MAX]; /* endpoints of other roots */
    size_t root_count;
    struct gate_self self[GATE_OWN_MAX];
    size_t self_count;
    struct inetaddr machine[GATE_MACHINE_MAX]; /* addresses of this machine, ports ignored */
    size_t machine_count;
    bool private_too; /* destinations of private scopes are allowed */
    uint64_t rate;    /* bytes a second of one client, each way; 0: no limit */
};

/* Shared state of all clients. */
struct gate {
    struct gate_rules rules;
    uint64_t seed;
    int64_t targets[GATE_TARGETS];
    int64_t newcomers[GATE_NEWCOMERS];
};

struct gate_known {
    struct inetaddr to; /* itself: hashes of addresses can be chosen */
    int64_t used_ms;
    int64_t answer_ms;
};

/* State of one client. */
struct gate_client {
    int64_t credit_ms; /* bucket of datagrams to those that did not answer */
    int64_t
        bytes_at_ms[2]; /* buckets of bytes from and to the client: when they were counted last */
    uint64_t bytes[2];  /* what may pass then */
    bool answered;      /* some destination did */
    struct gate_known known[GATE_KNOWN];
};

/* Begin; seed random, rules copied later by the caller into gate->rules. */
void gate_init(struct gate *gate, uint64_t seed);
void gate_client_init(struct gate_client *client);

/* May an address have one more connection now? However short they are, each may cost a handshake.
 */
MUST_CHECK bool gate_admit(struct gate *gate, const struct inetaddr *from, int64_t now_ms);

/* A datagram that the client sends to an address. *ret_to is filled for GATE_SELF. */
enum gate_verdict gate_out(struct gate *gate, struct gate_client *client, const struct inetaddr *to,
                           const uint8_t *data, size_t len, int64_t now_ms,
                           struct inetaddr *ret_to);

/* A datagram for the client came by UDP. GATE_SEND: give it on, *ret_from as its source. It counts
 * as an answer if it looks like a packet: not only nodes answer whatever comes. */
enum gate_verdict gate_in(struct gate *gate, struct gate_client *client,
                          const struct inetaddr *from, const uint8_t *data, size_t len,
                          int64_t now_ms, struct inetaddr *ret_from);

/* Name of a reason to drop, for counters; NULL for others. */
const char *gate_reason(enum gate_verdict verdict);

enum {
    GATE_GREET_MS = 10000,   /* from the connection to the greeting */
    GATE_RECORD_MS = 10000,  /* from the first to the last byte of a record */
    GATE_BLOCKED_MS = 15000, /* in which a client takes nothing */
    GATE_IDLE_MS = 300000,   /* without any record */
};

/* What a connection looks like to its clockwork. */
struct gate_times {
    int64_t accepted_ms;
    int64_t record_ms;  /* last complete record */
    int64_t carry_ms;   /* begin of an incomplete record, -1: none */
    int64_t blocked_ms; /* since when nothing leaves, -1: it does */
    bool greeted;
};

/* Why a connection is to end now, or NULL. */
const char *gate_overdue(const struct gate_times *times, int64_t now_ms);
