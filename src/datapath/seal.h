/* Sealing packets in groups: their datagrams are laid out in a slab as runs of equal size, so that
 * the kernel takes each run in one piece (os/udp_bulk.h). Pure, no allocation.
 * Source: spec 09 section 6.4; D-1, D-2, D-4, D-6, D-7, D-22. */
#pragma once

#include "base/attr.h"
#include "datapath/armor.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    SEAL_RUNS_MAX = 128,           /* runs in a slab */
    SEAL_RUN_DATAGRAMS = 64,       /* datagrams in a run */
    SEAL_RUN_BYTES = 65000,        /* bytes in a run */
    SEAL_GROUP = 8,                /* packets of a group: never more are incomplete (D-4) */
    SEAL_SLAB_LEN = 4 * 64 * 1024, /* a good size of a slab */
    SEAL_SLAB_MIN = 16 * 1024,     /* holds any packet */
};

/* How the datagrams of packets of one length go together. */
enum seal_form {
    SEAL_EQUAL,  /* all of one size: one run, packet after packet */
    SEAL_CLOSED, /* the last one is shorter: the run ends with the packet */
    SEAL_GROUPS, /* up to SEAL_GROUP packets together: a run of their first datagrams, one of
                    their second ones and so on; a single packet as SEAL_CLOSED */
};

struct seal_plan {
    size_t size;    /* bytes of a datagram but the last */
    unsigned total; /* datagrams, 1..FRAGMENTS_MAX */
    enum seal_form form;
};

/* Datagrams of one size to one target, one after the other. */
struct seal_run {
    const uint8_t *data;
    size_t len;      /* of all datagrams */
    size_t size;     /* of each but the last, which may be shorter */
    unsigned count;  /* of datagrams */
    uint32_t target; /* as given */
};

/* A packet to be sealed. */
struct seal_packet {
    uint8_t *pkt; /* as for armor_seal but for the fragmented flag; is destroyed */
    size_t len;
    const struct armor_keys *keys;
    enum cipher_suite suite; /* 1 or 3 */
    size_t mtu;              /* largest UDP payload of the path */
    uint32_t target;         /* where it goes; the caller's number of socket, path and address */
    unsigned run_datagrams;  /* datagrams of a run at most, 0: SEAL_RUN_DATAGRAMS */
    bool more;               /* another packet of this length to this target follows */
};

/* Memory being filled. Members are for reading runs[0..run_count-1] only. */
struct seal_slab {
    uint8_t *memory;
    size_t cap;
    size_t used;
    unsigned run_count;
    bool is_open;        /* the last run (or group) may go on */
    unsigned group_left; /* packets the open group still takes, 0: no group */
    unsigned group_runs; /* runs of the open group */
    size_t group_len;    /* bytes of its packets */
    struct seal_run runs[SEAL_RUNS_MAX];
};

/* Choose the form for packets of len bytes. Returns 0; -EMSGSIZE (also mtu below 64). */
MUST_CHECK int seal_plan(size_t len, size_t mtu, struct seal_plan *ret);

/* memory: cap bytes (at least SEAL_SLAB_MIN), borrowed until the end. */
void seal_slab_init(struct seal_slab *slab, uint8_t *memory, size_t cap);

/* Forget all runs: they were sent. */
void seal_slab_clear(struct seal_slab *slab);

/* Seal a packet into the slab, in the open run where it fits. The fragmented flag is set as the
 * layout wants. Runs end at packet boundaries. Returns 0; -ENOSPC no room, nothing was done: send
 * and clear, then again; -EMSGSIZE the packet cannot be sent over this path. */
MUST_CHECK int seal_add(struct seal_slab *slab, const struct seal_packet *p);
