/* Timing of small pieces of work. */
#include "measure.h"

#include <stdint.h>
#include <time.h>

enum {
    ROUNDS = 15,
    ROUND_NS = 4000000, /* about this long is a round */
};

static int64_t cpu_ns(void)
{
    struct timespec t;

    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

double measure(void (*work)(void *ctx), void *ctx)
{
    double best = 1e18;
    int64_t count = 1;

    for (unsigned round = 0; round < ROUNDS;) {
        int64_t start = cpu_ns();
        int64_t spent;

        for (int64_t i = 0; i < count; i++) {
            work(ctx);
        }
        spent = cpu_ns() - start;
        if (spent < ROUND_NS && count < 10000000) {
            count *= 2; /* warm-up: not yet long enough to be counted */
            continue;
        }
        if ((double)spent / (double)count < best) {
            best = (double)spent / (double)count;
        }
        round++;
    }
    return best;
}
