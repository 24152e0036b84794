/* Token buckets: a burst at once, then one more each period. */
#pragma once

#include "base/attr.h"

#include <stdbool.h>
#include <stdint.h>

/* Spend one token of a bucket that holds burst (at least 1) and gets one back every each_ms.
 * *spent_until_ms is all of the bucket's state: the time at which it will be full again; anything
 * that is not in the future, also INT64_MIN, is a full one. Returns false, and spends nothing, if
 * there is none. */
MUST_CHECK bool bucket_take(int64_t *spent_until_ms, unsigned burst, int64_t each_ms,
                            int64_t now_ms);

/* The same in finer time, of a bucket that holds burst_ms, for what costs so much of it; inline,
 * for each datagram. */
MUST_CHECK static inline bool bucket_pay(int64_t *spent_until_ns, int64_t cost_ns, int64_t burst_ms,
                                         int64_t now_ms)
{
    int64_t now_ns = now_ms * 1000000;
    int64_t spent_ns = *spent_until_ns > now_ns ? *spent_until_ns : now_ns;

    if (spent_ns + cost_ns - now_ns > burst_ms * 1000000) {
        return false;
    }
    *spent_until_ns = spent_ns + cost_ns;
    return true;
}
