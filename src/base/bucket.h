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
