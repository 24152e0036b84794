/* Token buckets kept as one time: see bucket.h. */
#include "base/bucket.h"

bool bucket_take(int64_t *spent_until_ms, unsigned burst, int64_t each_ms, int64_t now_ms)
{
    int64_t spent = *spent_until_ms > now_ms ? *spent_until_ms : now_ms;

    if (spent - now_ms > (burst - 1) * each_ms) {
        return false;
    }
    *spent_until_ms = spent + each_ms;
    return true;
}
