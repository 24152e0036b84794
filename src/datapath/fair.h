/* Shares of pairs in what a worker of a root forwards. A pair is where a datagram came from (IP and
 * port, which the network vouches for as far as anything does) and the node it goes to. While the
 * worker keeps up, a pair is limited by nothing but the setting; while it does not, all pairs are
 * limited to a rate that is sought so that it keeps up: those that use less lose nothing, whatever
 * the others send, and those that use more are cut to the same. So pairs with a direct path, which
 * use a root little, lose last. No allocation, lock or clock. Source: spec 02 Do better 22. */
#pragma once

#include "base/attr.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    FAIR_BUCKETS = 16384,      /* pairs may share one; which do, nobody outside can know */
    FAIR_WINDOW_MS = 20,       /* between changes of the rate */
    FAIR_BURST_MS = 100,       /* what a pair may send at once, of its rate */
    FAIR_RATE_LEAST = 4000000, /* bytes a second, below which no pair is limited by overload */
    FAIR_PAIRS_LEAST = 3,      /* fewer have nothing to share: both directions of one, that is */
};

struct fair {
    int64_t *due_ns;  /* FAIR_BUCKETS: when what was taken is paid off */
    uint64_t rate;    /* bytes a second for each pair, 0: the worker keeps up */
    uint64_t limit;   /* the setting, 0: none */
    uint64_t cost;    /* of a byte in 1/65536 ns, of the lower one of both; 0: no limit */
    int64_t begin_ms; /* of the window */
    uint64_t bytes;   /* forwarded since */
    uint64_t pairs;   /* a bit for each that was seen, some for several */
    bool is_behind;   /* some socket was, since */
};

/* Returns 0; -ENOMEM. Memory is touched only as far as there is overload. */
MUST_CHECK int fair_init(struct fair *fair);
void fair_done(struct fair *fair);

/* Set the limit of a pair, bytes a second; 0: none. */
void fair_set_limit(struct fair *fair, uint64_t limit);

/* A socket was served; is_behind: it was never found empty in the last FAIR_WINDOW_MS. */
void fair_note(struct fair *fair, bool is_behind, int64_t now_ms);

/* May so many bytes of a pair be forwarded? key: a good hash of it. */
bool fair_admit(struct fair *fair, uint64_t key, size_t len, int64_t now_ms);
