/* When no worker can hold what was withdrawn any more: quiescent-state based reclamation. A worker
 * counts up when it begins a turn and when it ends one; control notes the counts after it withdrew
 * something, and once each worker has moved on, or was waiting, nobody holds it. Written with C11
 * atomics only, so that the thread sanitizer can check it. Source: data path contract section 1
 * "Reclaim". */
#pragma once

#include "datapath/published.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

struct quiesce {
    unsigned workers;
    struct {
        _Alignas(64) _Atomic uint64_t count; /* odd: in a turn */
    } turns[DP_WORKERS_MAX];
};

struct quiesce_mark {
    uint64_t counts[DP_WORKERS_MAX];
};

/* No worker is in a turn. */
void quiesce_init(struct quiesce *q, unsigned workers);

/* Of worker w: a turn begins, after which it may look for objects; it ends, everything found in it
 * is forgotten. */
void quiesce_begin(struct quiesce *q, unsigned w);
void quiesce_end(struct quiesce *q, unsigned w);

/* Of control: note where the workers are, after something was withdrawn. */
void quiesce_note(struct quiesce *q, struct quiesce_mark *ret);

/* True if nobody holds what was withdrawn before the mark was noted. */
bool quiesce_passed(const struct quiesce *q, const struct quiesce_mark *mark);
