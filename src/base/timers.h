/* Timers: an intrusive binary heap of deadlines. Time is whatever the caller counts in (ms).
 * Not thread safe. The heap array grows by allocation when a timer is first armed, so arming can
 * fail only for lack of memory; a timer that is armed already never fails. */
#pragma once

#include "base/attr.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct timer {
    void (*fire)(struct timer *timer, int64_t now_ms); /* called after the timer was disarmed */
    int64_t at_ms;                                     /* deadline while armed */
    size_t slot;                                       /* place in the heap + 1, 0 = not armed */
};

/* A place in the heap: the deadline stands here, too, so that comparing touches no timer. */
struct timer_place {
    int64_t at_ms;
    struct timer *timer;
};

struct timers {
    struct timer_place *heap;
    size_t count;
    size_t cap;
    bool running;      /* inside timers_run */
    int64_t run_at_ms; /* its time */
};

enum { TIMERS_NEVER = -1 }; /* timers_next when nothing is armed */

/* Empty set; allocates nothing. */
void timers_init(struct timers *set);

/* Release the set; timers still armed are disarmed. */
void timers_done(struct timers *set);

/* Arm timer, or move it if it is armed. Returns 0; -ENOMEM (only if it was not armed). */
MUST_CHECK int timers_arm(struct timers *set, struct timer *timer, int64_t at_ms);

/* Disarm; nothing happens if it is not armed. */
void timers_cancel(struct timers *set, struct timer *timer);

/* True while armed. */
bool timer_is_armed(const struct timer *timer);

/* Earliest deadline, or TIMERS_NEVER. */
int64_t timers_next(const struct timers *set);

/* Fire every timer whose deadline is at or before now_ms, earliest first. A timer armed by such a
 * function for a time not after now_ms is put off to now_ms + 1, so that the call ends, nobody is
 * starved and a host that sleeps until timers_next does not spin. Not to be nested. */
void timers_run(struct timers *set, int64_t now_ms);
