/* The data path: what a worker does with datagrams and frames, as far as what the engine published
 * (datapath/published.h) decides it; all else is given to the engine. One struct dp is one
 * worker's; a host without threads makes one and calls it inline. Pure: no system call, clock, lock
 * or allocation per packet. Source: data path contract sections 3 and 5, spec 09 section 6.
 *
 * Calls of a turn: dp_receive and dp_send in any number and order, then dp_flush; all pointers are
 * forgotten between turns. */
#pragma once

#include "base/attr.h"
#include "datapath/fair.h"
#include "datapath/merge.h"
#include "datapath/offload.h"
#include "datapath/published.h"

#include <stddef.h>
#include <stdint.h>

enum {
    DP_MESSAGES_MAX = 64,           /* of one dp_receive */
    DP_HEADROOM = OFFLOAD_HEADROOM, /* free bytes needed before a frame given to dp_send */
};

/* What a gift is. */
enum dp_gift_kind {
    DP_GIFT_DATAGRAM, /* a datagram, as it came: for another node, or of no known kind */
    DP_GIFT_SEALED,   /* a whole packet for us, joined if it was cut, not opened */
    DP_GIFT_OPENED,   /* a whole packet, authenticated, no duplicate; maybe compressed */
    DP_GIFT_FRAME,    /* an Ethernet frame from the device of a network */
    DP_GIFT_PAIR,     /* the header of a packet that was forwarded: to introduce its two ends */
};

/* Something for the engine, which alone handles it (node_take). */
struct dp_gift {
    enum dp_gift_kind kind;
    uint32_t socket;      /* all but frames: where it came in */
    struct inetaddr from; /* the same */
    uint64_t nwid;        /* frames */
    bool is_known;        /* sealed: it came from where the peer is that it says to be from */
    uint8_t *data;        /* borrowed; the taker may change it */
    size_t len;
};

/* Datagrams for one destination: all of `size` bytes, the last maybe shorter. */
struct dp_run {
    const uint8_t *data; /* borrowed */
    size_t len;
    size_t size;
    struct dp_path to;
};

/* What a worker asks of its host. */
struct dp_env {
    /* Hand a gift to the engine (copied), or lose it. */
    void (*give)(void *ctx, const struct dp_gift *gift);

    /* How many gifts (or bytes of them, as the host counts) of this kind were handed over, and for
     * how many all that the engine did about them has left. Frames of one flow do not overtake
     * those of it that were given before. Both NULL: gifts are handled before the next call. */
    uint64_t (*given)(void *ctx, enum dp_gift_kind kind);
    uint64_t (*taken)(void *ctx, enum dp_gift_kind kind);

    /* Send. The memory is used again after the call. */
    void (*send)(void *ctx, const struct dp_run *runs, size_t count);

    /* Write a frame or super-frame to the device of a network. */
    void (*write)(void *ctx, uint64_t nwid, const struct merge_output *out);

    /* What may be merged for that device: enum merge_kind bits. */
    unsigned (*kinds)(void *ctx, uint64_t nwid);

    /* Cells changed for the first time since the last harvest. */
    void (*wake)(void *ctx);
    void *ctx;
};

/* Received datagrams of one sender: all of `segment` bytes, the last maybe shorter. */
struct dp_message {
    uint8_t *data;  /* changed in place; borrowed until the end of the turn */
    size_t len;     /* at most 65535 */
    size_t cap;     /* bytes that may be written from data on, at least len */
    size_t segment; /* at least 1 */
    struct inetaddr from;
};

struct dp;

/* Make the context of worker `index` (below pub->workers). pub, env: borrowed; env is copied.
 * seed: random. Returns NULL: out of memory. */
struct dp *dp_new(struct published *pub, unsigned index, const struct dp_env *env, uint64_t seed);

/* NULL is allowed. */
void dp_free(struct dp *dp);

/* Datagrams that came to a socket; at most DP_MESSAGES_MAX messages. What they bring is written,
 * given and relayed before the call returns. */
void dp_receive(struct dp *dp, uint32_t socket, const struct dp_message *messages, size_t count,
                int64_t now_ms);

/* A socket was served; is_behind: it was never found empty in the last FAIR_WINDOW_MS
 * (datapath/fair.h). */
void dp_served(struct dp *dp, bool is_behind, int64_t now_ms);

/* A frame or super-frame from the device of a network. frame: len bytes that are used up, with
 * DP_HEADROOM free bytes before them. */
void dp_send(struct dp *dp, uint64_t nwid, const struct vnet_header *vnet, uint8_t *frame,
             size_t len, int64_t now_ms);

/* The end of a turn: everything leaves. */
void dp_flush(struct dp *dp);

/* Forget incomplete packets that are too old; returns when to call again, -1: nothing waits. */
int64_t dp_expire(struct dp *dp, int64_t now_ms);

/* Memory of bulk transfers that is not needed now, to be given back to the system: two blocks. */
void dp_idle_memory(struct dp *dp, void **ret_memory, size_t *ret_len);
