/* One worker: its thread, and what control hands to it. Shared by worker.c and workers.c only.
 * Source: data path contract section 2, spec 09 sections 6.1, 6.2 and 6.8. */
#pragma once

#include "daemon/quiesce.h"
#include "daemon/ring.h"
#include "datapath/dp.h"
#include "os/tap.h"
#include "os/udp_bulk.h"

#include <pthread.h>
#include <stdatomic.h>

enum {
    WORKER_LANES = 16, /* of one worker, at most */
    WORKER_UNCUT = 16,
    WORKER_RINGS = 4, /* opened packets; frames; sealed ones of peers; all else, of strangers too */
    WORKER_RING_OPENED = 0,
    WORKER_RING_FRAMES = 1,
    WORKER_RING_SEALED = 2,
    WORKER_RING_OTHERS = 3,

    /* Kinds of records beyond enum dp_gift_kind. */
    WORKER_SEND = 16, /* a datagram for a socket that is not a worker's */
    WORKER_LOST,      /* a device does not work any more; nwid: its number */
};

/* A socket or a device served by one worker, by several lanes: sockets of one address, queues of
 * one device, among which the system spreads flows. Lanes are served in turns by deficit round
 * robin, so that a flood fills its own lane and leaves the others what is theirs. */
struct source {
    struct table_node by_number; /* socket ID, or a number above all those of a device */
    struct table_node by_nwid;   /* devices */
    struct retired retired;
    struct tap *tap;                      /* NULL: a socket */
    unsigned lanes;                       /* served: all of the worker, or fewer of a socket */
    struct udp_socket *udp[WORKER_LANES]; /* by lane */
    int64_t deficits[WORKER_LANES];       /* bytes a lane may still give, the worker's */
    int64_t behind_ms[WORKER_LANES];  /* sockets: since when it was not found empty, 0: it was */
    int64_t flooded_ms[WORKER_LANES]; /* when it last gave a flood of small frames, likewise */
    _Atomic unsigned kinds;           /* what may be merged, the worker's */
    _Atomic uint64_t refused;         /* super-frames the device refused, which were cut */
    _Atomic uint64_t full;            /* frames it did not take */
    unsigned refusals;                /* super-frames refused since the time below, the worker's */
    int64_t refused_ms;
};

/* A destination for which the system refused to cut runs, because they do not fit its path. */
struct uncut {
    struct inetaddr to;
    int64_t until_ms; /* it is tried again then */
};

struct worker {
    unsigned index;
    unsigned lanes;
    unsigned workers; /* how many there are: lane l is queue l * workers + index */
    pthread_t thread;
    bool is_running;
    struct quiesce *quiesce; /* of all workers */
    struct dp *dp;
    struct udp_bulk *bulk;
    struct table sources; /* by number */
    struct table devices; /* by network */
    struct ring rings[WORKER_RINGS];
    _Atomic uint64_t taken[WORKER_RINGS]; /* bytes of them that control is done with */
    void (*notify)(void *ctx);            /* control has something to do; any thread */
    void *notify_ctx;
    int epoll;
    int stop_fd;
    uint8_t *frame;   /* a super-frame being read, with headroom */
    uint8_t *scratch; /* a super-frame to be cut again */
    checksum_fn *checksum;
    int64_t now_ms;
    int64_t uncut_ms; /* the latest time below, 0: none */
    struct uncut uncut[WORKER_UNCUT];
    int64_t bulk_ms; /* first bulk traffic since its memory was given back, 0 none */
    _Atomic uint64_t rx_bytes;
    _Atomic uint64_t tx_bytes;
    _Atomic uint64_t lost;
    _Atomic uint64_t device_full;
    _Atomic uint64_t device_cut;
};

/* Make worker `index` of pub->workers; limbo, quiesce: borrowed. Returns NULL: out of memory or
 * descriptors. */
struct worker *worker_new(struct published *pub, unsigned index, unsigned lanes,
                          struct limbo *limbo, struct quiesce *quiesce, uint64_t seed);

/* Queue of a device (or socket of an address) that is a lane of this worker. */
static inline unsigned worker_queue(const struct worker *w, unsigned lane)
{
    return lane * w->workers + w->index;
}

/* What an event of a lane is known by. */
static inline uint64_t worker_event(const struct source *source, unsigned lane)
{
    return source->by_number.key * WORKER_LANES + lane;
}

/* Start its thread. Returns 0; negative errno. */
MUST_CHECK int worker_start(struct worker *w);

/* End and join the thread, release all. Sources were removed. NULL is allowed. */
void worker_free(struct worker *w);
