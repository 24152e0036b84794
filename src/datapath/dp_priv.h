/* Inside of the data path: shared by dp.c, dp_receive.c and dp_send.c only. */
#pragma once

#include "datapath/checksum.h"
#include "datapath/dp.h"
#include "datapath/fair.h"
#include "datapath/fragment.h"
#include "datapath/parts.h"
#include "datapath/seal.h"

enum {
    DP_PARTS_MAX = DP_MESSAGES_MAX * 64, /* datagrams of one dp_receive */
    DP_RELAY_MAX = 1024,                 /* datagrams forwarded before they are sent */
    DP_RELAY_GROUPS = 128,               /* their destinations */
    DP_RELAY_SLOTS = 256,                /* places to look for a destination */
    DP_RELAY_BURST_MS = 100,             /* what an address may send at once */
    DP_BUCKETS = 4096,                   /* of addresses */
    DP_PAIRS = 4096,                     /* pairs that were introduced lately */
    DP_PAIR_MS = 10000,                  /* of the 30 s that the engine counts */
    DP_HOLDS = 256,                      /* flows of whose frames some were given lately */
    DP_HOLD_MS = 100,                    /* for so long at most others follow them to the engine, */
    DP_HOLD_PAUSE_MS = 1000,             /* and not again before this has passed */
};

/* Where the datagrams being worked on came from. */
struct dp_arrival {
    uint32_t socket;
    const struct inetaddr *from;
    int64_t now_ms;
};

/* What the last packet was looked up to: most packets of a batch are of one flow. */
struct dp_memo {
    struct dp_session *session;
    const struct inetaddr *from; /* for which path was found */
    int path;                    /* index of the session's path, -1 none */
    struct dp_port *port;
    unsigned kinds; /* of the port's device */
    struct dp_member *member;
    const struct dp_port *judged_port; /* the last verdict that depends on EtherType only */
    const struct dp_member *judged_member;
    uint16_t judged_type;
    enum filter_verdict verdict;
    const struct inetaddr *payer; /* for which the next two were found */
    struct dp_bucket *bucket;
    uint64_t sender; /* hash of IP and port */
};

struct dp_pair {
    uint64_t key;
    int64_t at_ms;
};

/* Frames between two members in one direction, some of which were given to the engine. */
struct dp_hold {
    uint64_t key;
    uint64_t given;  /* env.given after the last of them */
    int64_t held_ms; /* others began to follow them */
};

/* What addresses with the same hash may still have done for others; 0: all. */
struct dp_bucket {
    int64_t due_ns;   /* datagrams forwarded */
    int64_t gifts_ns; /* given to the engine */
};

/* A datagram to be forwarded. */
struct dp_relayed {
    const uint8_t *data;
    uint32_t len;
    uint32_t next; /* for the same destination */
};

/* Those for one node, in order. */
struct dp_relay_group {
    uint64_t dest;
    struct dp_path to;
    int64_t since_ms; /* the route is as it is */
    uint32_t first;
    uint32_t last;
};

struct dp {
    struct published *pub;
    struct dp_env env;
    struct dp_shared *shared;
    unsigned index;
    struct packet_id_source ids;
    uint64_t random; /* state of the generator for rules */
    checksum_fn *checksum;
    struct merger merger;
    struct assembly assembly;
    struct dp_memo memo;

    uint8_t *slab_memory;
    struct seal_slab slab;
    struct dp_path targets[SEAL_RUNS_MAX]; /* of the runs in the slab, by number */
    uint32_t target_count;

    struct part *parts;         /* DP_PARTS_MAX */
    uint16_t *part_message;     /* for each part the message it came in */
    struct dp_pair *pairs;      /* DP_PAIRS, at roots */
    struct dp_bucket *buckets;  /* DP_BUCKETS */
    int64_t gifts_ns;           /* bucket of all datagrams for others that are given */
    int64_t pairs_ns;           /* of pairs that are told of */
    struct fair fair;           /* shares of pairs in what is forwarded */
    struct dp_relayed *relayed; /* DP_RELAY_MAX */
    struct dp_hold *holds;      /* DP_HOLDS; of either kind */
    uint32_t relay_count;
    uint32_t relay_group_count;
    uint8_t relay_slots[DP_RELAY_SLOTS]; /* numbers of groups, right or not */
    struct dp_relay_group relay_groups[DP_RELAY_GROUPS];
    uint8_t joined[PACKET_MAX]; /* a packet whose parts did not lie together */
};

static inline void dp_count(struct dp *dp, enum dp_count what, uint64_t n)
{
    dp_add(&dp->shared->counts[what], n);
}

/* Note that cells of an object changed. */
static inline void dp_changed(struct dp *dp, const struct dp_object *object)
{
    if (dp_touch(dp->pub, dp->index, object)) {
        dp->env.wake(dp->env.ctx);
    }
}

static inline void dp_time(_Atomic int64_t *word, int64_t now_ms)
{
    atomic_store_explicit(word, now_ms, memory_order_relaxed);
}

/* Source of random numbers for rules; ctx: struct dp. */
uint32_t dp_draw(void *ctx);

/* Hand a packet or datagram to the engine. */
void dp_give(struct dp *dp, enum dp_gift_kind kind, const struct dp_arrival *at, uint8_t *data,
             size_t len);

/* Frames of a network to a MAC (DP_GIFT_FRAME) or from a member (DP_GIFT_OPENED) were just given.
 */
void dp_hold(struct dp *dp, enum dp_gift_kind kind, uint64_t nwid, uint64_t who);

/* Are frames that were given still on their way through the engine? Then the next one must follow
 * them, or it would overtake. Not for long: a flow must not be kept away from the fast path by its
 * own speed. */
bool dp_is_held(struct dp *dp, enum dp_gift_kind kind, uint64_t nwid, uint64_t who, int64_t now_ms);

/* dp_relay.c: hand a sealed packet for us to the engine, as a known peer's if it comes from where
 * that is, and not too often. */
void dp_give_sealed(struct dp *dp, const struct dp_arrival *at, uint8_t *pkt, size_t len);

/* dp_relay.c: a datagram for another node. */
void dp_relay(struct dp *dp, const struct dp_arrival *at, uint8_t *data, size_t len,
              bool is_fragment);

/* Send what is in the slab. */
void dp_send_slab(struct dp *dp);

/* Send what was relayed and not sent yet, own traffic before it. */
void dp_relay_flush(struct dp *dp);
