/* Memory of removed members: a node that was removed does not come back by asking on, only by an
 * administrator who adds its address again. A public network lets everybody in, so there it comes
 * back. Source: spec 04 section 12 item 35, CTL-115. */
#pragma once

#include "base/attr.h"
#include "controller/model.h"

enum { REMOVED_MAX = 4096 }; /* per network; the longest removed goes first */

struct store_tx;

/* A removed member. */
struct removed {
    struct hmap_node node; /* in cnetwork.removed, by address */
    struct list link;      /* in cnetwork.removed_order, longest removed first */
    int64_t removed_ms;    /* wall clock */
    int64_t asked_ms;      /* wall clock of its last request since the start, 0 none */
};

/* Empty memory of a new network; release that of one that goes. */
void removed_init(struct cnetwork *net, uint64_t seed);
void removed_done(struct cnetwork *net);

/* Remember an address, in the store too. Returns 0; -ENOMEM (nothing changed in memory). */
MUST_CHECK int removed_add(struct cnetwork *net, uint64_t address, int64_t wall_ms,
                           struct store_tx *tx);

/* A stored document of a member: true if it says that the member was removed, and that was taken
 * (or memory is out, *ret_error). */
bool removed_load(struct cnetwork *net, uint64_t address, const json_t *doc, int *ret_error);

/* The memory of an address, borrowed, or NULL. */
struct removed *removed_find(const struct cnetwork *net, uint64_t address);

/* Forget an address, in memory only: the document of the member takes its place in the store. */
void removed_lift(struct cnetwork *net, uint64_t address);

/* A node without record asks: true if it was removed and stays so. */
bool removed_refuses(const struct cnetwork *net, uint64_t address, int64_t wall_ms);
