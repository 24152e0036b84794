/* VL1: authenticated packets between 40-bit addresses. One struct vl1 is the whole peer-to-peer
 * state of a node: peers and paths, roots and moons, identity lookups, relaying, NAT traversal.
 * Above it sits vl2, which sees packets of its verbs by an upcall and sends by struct out_packet.
 * Not thread safe; time is always a parameter (monotonic ms). Source: spec 02. */
#pragma once

#include "base/cursor.h"
#include "base/timers.h"
#include "crypto/identity.h"
#include "vl1/env.h"
#include "wire/packet.h"

struct dp_object;
struct peer;
struct published;
struct vl1;

/* What became of a packet handed up. */
enum vl1_verdict {
    VL1_DROP,  /* malformed, refused, rate-gated: does not count as received */
    VL1_DONE,  /* counts as received */
    VL1_TRUST, /* counts as received and proves shared membership (spec 02 section 4.5) */
    VL1_LATER, /* an identity or a credential is missing: keep the packet, try again (up to 5 s) */
};

/* A packet that authenticated and decompressed. */
struct in_packet {
    struct peer *peer;               /* sender, borrowed for the call */
    const struct identity *identity; /* of the sender */
    uint64_t source;                 /* its address */
    uint64_t id;                     /* packet ID as on the wire */
    enum verb verb;
    unsigned hops;        /* 0 = direct */
    uint32_t socket;      /* local socket it came to */
    struct inetaddr from; /* physical source of the datagram */
    struct rd payload;    /* after the verb byte; for OK and ERROR after the common header */
    enum verb re_verb;    /* OK and ERROR: verb of the request */
    uint64_t re_id;       /* OK and ERROR: wire ID of the request */
    uint8_t error;        /* ERROR: enum error_code */
    bool retry;           /* handed up before with the answer VL1_LATER */
};

/* A packet being built. About 10 KiB: lives on the stack. */
struct out_packet {
    struct wr w; /* payload goes here */
    uint64_t dest;
    uint8_t data[PACKET_MAX];
};

enum out_flags {
    OUT_COMPRESS = 1, /* compress if that makes it smaller */
    OUT_CONSUME = 4,  /* the contents of out may be used up by sending: saves a copy */
    OUT_EXPECT = 2,   /* an OK to it is to be believed: register its ID */
};

/* Upcalls into the layer above. */
struct vl1_upper {
    void *ctx;

    /* A packet of a VL2 verb, an OK (already known to be awaited) or an ERROR with a VL2 meaning.
     */
    enum vl1_verdict (*packet)(void *ctx, const struct in_packet *in, int64_t now_ms);

    /* True if ip lies in a prefix assigned on a joined network: no path may lead there. */
    bool (*is_overlay_ip)(void *ctx, const struct inetaddr *ip);

    /* The first path to an upstream came up: waiting requests should be repeated now. */
    void (*online)(void *ctx, int64_t now_ms);

    /* A HELLO came from this peer: it may be new, or have restarted and forgotten what it was told
     * (subscriptions, credentials). A few times in a row, then at most every 5 s. */
    void (*greeted)(void *ctx, uint64_t address, int64_t now_ms);

    /* An identity became known (after WHOIS or HELLO). */
    void (*identity_known)(void *ctx, uint64_t address, int64_t now_ms);

    /* Workers changed cells of a published port or member, or it is about to be released. NULL:
     * nobody above publishes. */
    void (*harvest)(void *ctx, struct dp_object *object, int64_t now_ms);
};

/* ---- for vl2 and node ---- */

/* What the layers above share with vl1, borrowed for its life. */
const struct engine_env *vl1_env(const struct vl1 *vl1);
struct timers *vl1_timers(struct vl1 *vl1);
const struct identity *vl1_identity(const struct vl1 *vl1);

/* Where things are published for workers of the data path, NULL: nowhere. */
struct published *vl1_published(const struct vl1 *vl1);

/* Wall clock for things that are shown or compared with other clocks: now_ms plus the offset the
 * host gave. */
int64_t vl1_wall(const struct vl1 *vl1, int64_t now_ms);

/* Start a packet to dest; write the payload to out->w, then send it. */
void out_begin(struct vl1 *vl1, struct out_packet *out, uint64_t dest, enum verb verb);

/* Routed sending: over the best path, else by a relay; queued up to 5 s while no path or identity
 * is known (a WHOIS goes out). May be called again with the same out (the copy gets a new ID) after
 * changing out->dest with out_redirect. Returns 0 sent or queued; -EMSGSIZE payload did not fit or
 * needs more than 7 fragments; -EINVAL destination is this node or reserved.
 * The contents of out are unchanged by sending, unless flags have OUT_CONSUME. */
int out_send(struct vl1 *vl1, struct out_packet *out, unsigned flags, int64_t now_ms);

/* Same payload to another destination. */
void out_redirect(struct out_packet *out, uint64_t dest);

/* Begin an OK to a request: common header written. */
void out_begin_ok(struct vl1 *vl1, struct out_packet *out, const struct in_packet *re);

/* Begin an ERROR to a request. */
void out_begin_error(struct vl1 *vl1, struct out_packet *out, const struct in_packet *re,
                     enum error_code code);

/* Send straight back over the path that re arrived by. Returns as out_send. */
int out_reply(struct vl1 *vl1, struct out_packet *out, const struct in_packet *re, unsigned flags,
              int64_t now_ms);

/* A known peer, from memory or from the cache, or NULL. Borrowed until the next input. */
struct peer *vl1_peer_find(struct vl1 *vl1, uint64_t address, int64_t now_ms);

/* Ask upstream for an identity unless that was done in the last 500 ms. The upcall identity_known
 * tells when it came; waiting packets are retried by themselves. */
void vl1_whois(struct vl1 *vl1, uint64_t address, int64_t now_ms);

/* Retry packets of this sender that were answered VL1_LATER (credentials arrived). Never call it
 * from inside the packet upcall of the same sender: those are retried after the upcall anyway. */
void vl1_retry_from(struct vl1 *vl1, uint64_t source, int64_t now_ms);

/* True if the peer's address is known to belong to its key: its address hash was checked here. Else
 * the check is started and the answer is false; packets answered VL1_LATER are tried again when it
 * is done. Roots vouch for identities they hand out; what must not depend on their honesty
 * (controllers) asks here. */
bool vl1_peer_is_validated(struct vl1 *vl1, struct peer *peer, int64_t now_ms);

/* Who a peer is; the identity is borrowed with the peer. */
const struct identity *peer_identity(const struct peer *peer);
uint64_t peer_address(const struct peer *peer);

/* Time of the last authenticated packet, INT64_MIN if never. */
int64_t peer_last_receive(const struct peer *peer);
bool peer_has_direct_path(const struct peer *peer, int64_t now_ms);

/* Smoothed round trip of the best path in ms, -1 unknown. */
int peer_latency(const struct peer *peer, int64_t now_ms);

/* True if this node's identity is listed as a root in its planet or a moon. */
bool vl1_is_root(const struct vl1 *vl1);

/* Addresses of all upstreams (planet and moon roots but us): writes up to cap, returns how many. */
size_t vl1_upstreams(const struct vl1 *vl1, uint64_t *out, size_t cap);

/* Best upstream's address, 0 if there is none. */
uint64_t vl1_best_upstream(const struct vl1 *vl1, int64_t now_ms);

/* Keep contact with an address for ever (anchors, replicators). Counted: as many releases as keeps.
 */
int vl1_contact_keep(struct vl1 *vl1, uint64_t address, int64_t now_ms);
void vl1_contact_release(struct vl1 *vl1, uint64_t address);

/* Largest packet that the smallest MTU of any path in use can carry (7 fragments). */
size_t vl1_packet_limit(const struct vl1 *vl1);
