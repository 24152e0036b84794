/* Shares of pairs: see fair.h. The rate falls by a quarter in each window in which a socket was
 * behind, and rises by an eighth in each other one, until nobody is limited by it. */
#include "datapath/fair.h"

#include "base/bucket.h"

#include <errno.h>
#include <stdlib.h>

enum { COST_BITS = 16 };

int fair_init(struct fair *fair)
{
    *fair = (struct fair){.due_ns = calloc(FAIR_BUCKETS, sizeof(*fair->due_ns))};
    return fair->due_ns == NULL ? -ENOMEM : 0;
}

void fair_done(struct fair *fair)
{
    free(fair->due_ns);
}

static void choose_cost(struct fair *fair)
{
    uint64_t rate = fair->rate;

    if (rate == 0 || (fair->limit != 0 && fair->limit < rate)) {
        rate = fair->limit;
    }
    fair->cost = rate == 0 ? 0 : (UINT64_C(1000000000) << COST_BITS) / rate;
}

void fair_set_limit(struct fair *fair, uint64_t limit)
{
    if (fair->limit != limit) {
        fair->limit = limit;
        choose_cost(fair);
    }
}

void fair_note(struct fair *fair, bool is_behind, int64_t now_ms)
{
    int64_t past_ms = now_ms - fair->begin_ms;
    uint64_t total;

    fair->is_behind |= is_behind;
    if (past_ms < FAIR_WINDOW_MS) {
        return;
    }
    total = fair->bytes * 1000 / (uint64_t)past_ms;
    if (fair->is_behind) {
        if (fair->rate != 0) {
            fair->rate -= fair->rate / 4;
        } else if (__builtin_popcountll(fair->pairs) >= FAIR_PAIRS_LEAST) {
            fair->rate = total;
        }
        if (fair->rate != 0 && fair->rate < FAIR_RATE_LEAST) {
            fair->rate = FAIR_RATE_LEAST;
        }
    } else if (fair->rate != 0) {
        fair->rate += fair->rate / 8;
        if (fair->rate > 2 * total) {
            fair->rate = 0;
        }
    }
    choose_cost(fair);
    fair->begin_ms = now_ms;
    fair->bytes = fair->pairs = 0;
    fair->is_behind = false;
}

bool fair_admit(struct fair *fair, uint64_t key, size_t len, int64_t now_ms)
{
    fair->pairs |= UINT64_C(1) << (key >> 58);
    if (fair->cost != 0 &&
        !bucket_pay(&fair->due_ns[key % FAIR_BUCKETS], (int64_t)(len * fair->cost >> COST_BITS),
                    FAIR_BURST_MS, now_ms)) {
        return false;
    }
    fair->bytes += len;
    return true;
}
