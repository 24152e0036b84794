/* Counting turns. All changes of a count are atomic read-modify-writes, control's among them: where
 * control's comes first, the worker's turn sees what control withdrew before it; where the worker's
 * comes first, control sees an odd number and waits. Source: data path contract section 1. */
#include "daemon/quiesce.h"

void quiesce_init(struct quiesce *q, unsigned workers)
{
    q->workers = workers;
    for (unsigned w = 0; w < DP_WORKERS_MAX; w++) {
        atomic_init(&q->turns[w].count, 0);
    }
}

void quiesce_begin(struct quiesce *q, unsigned w)
{
    (void)atomic_fetch_add_explicit(&q->turns[w].count, 1, memory_order_acq_rel);
}

void quiesce_end(struct quiesce *q, unsigned w)
{
    (void)atomic_fetch_add_explicit(&q->turns[w].count, 1, memory_order_acq_rel);
}

void quiesce_note(struct quiesce *q, struct quiesce_mark *ret)
{
    for (unsigned w = 0; w < q->workers; w++) {
        ret->counts[w] = atomic_fetch_add_explicit(&q->turns[w].count, 0, memory_order_acq_rel);
    }
}

bool quiesce_passed(const struct quiesce *q, const struct quiesce_mark *mark)
{
    for (unsigned w = 0; w < q->workers; w++) {
        uint64_t then = mark->counts[w];

        if (then % 2 != 0 &&
            atomic_load_explicit(&q->turns[w].count, memory_order_acquire) == then) {
            return false;
        }
    }
    return true;
}
