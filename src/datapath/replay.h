/* Duplicate filter of one peer's packets: remembers each accepted packet for ten seconds, or until
 * its place is needed. Words are shared: control and all workers look up and note by compare and
 * swap, after authentication. Source: spec 07 section 14.4, spec 01 section 11, data path contract
 * section 2. */
#pragma once

#include "base/attr.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    REPLAY_WAYS = 4,
    REPLAY_SETS_SMALL = 128,  /* 4 KiB */
    REPLAY_SETS_LARGE = 1024, /* 32 KiB: above 50 packets a second */
    REPLAY_MS = 10000,        /* a packet is remembered for so long */
};

struct replay {
    uint64_t seed; /* of hashes */
    size_t sets;   /* a power of two */
    _Atomic uint64_t words[];
};

/* Make one. old (or NULL): its memory is taken over (it stays as it is). Returns NULL: out of
 * memory. Free with free(). */
struct replay *replay_new(size_t sets, uint64_t seed, const struct replay *old, int64_t now_ms);

/* True if this very packet (wire ID and MAC of its header) was noted before; notes it. Any thread.
 */
bool replay_seen(struct replay *replay, const uint8_t *pkt, int64_t now_ms);
