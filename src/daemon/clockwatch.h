/* Notices at once, without polling, that the wall clock was set or that the machine slept.
 * Source: spec 05 section 6.8; SV-91, SV-113. */
#pragma once

#include "base/attr.h"

#include <stdbool.h>
#include <stdint.h>
#include <uv.h>

struct clockwatch {
    int fd;           /* timer that the kernel cancels when the clock jumps, -1 = none */
    uv_poll_t poll;   /* initialised while fd is not -1 */
    int64_t sleep_ms; /* time slept since boot, when looked at last */
    void (*changed)(void *ctx, bool slept);
    void *ctx;
};

/* Start; changed is called on the loop's thread. Returns 0; negative errno (nothing is watched
 * then). */
MUST_CHECK int clockwatch_start(struct clockwatch *watch, uv_loop_t *loop,
                                void (*changed)(void *ctx, bool slept), void *ctx);
void clockwatch_stop(struct clockwatch *watch);
