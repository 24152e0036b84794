/* The heap of deadlines: see timers.h. */
#include "base/timers.h"

#include <errno.h>
#include <stdlib.h>

void timers_init(struct timers *set)
{
    *set = (struct timers){0};
}

void timers_done(struct timers *set)
{
    for (size_t i = 0; i < set->count; i++) {
        set->heap[i].timer->slot = 0;
    }
    free(set->heap);
    *set = (struct timers){0};
}

static void put(struct timers *set, size_t i, struct timer *timer)
{
    set->heap[i] = (struct timer_place){timer->at_ms, timer};
    timer->slot = i + 1;
}

static void sift_up(struct timers *set, size_t i, struct timer *timer)
{
    while (i > 0 && set->heap[(i - 1) / 2].at_ms > timer->at_ms) {
        put(set, i, set->heap[(i - 1) / 2].timer);
        i = (i - 1) / 2;
    }
    put(set, i, timer);
}

static void sift_down(struct timers *set, size_t i, struct timer *timer)
{
    for (;;) {
        size_t child = 2 * i + 1;

        if (child + 1 < set->count && set->heap[child + 1].at_ms < set->heap[child].at_ms) {
            child++;
        }
        if (child >= set->count || set->heap[child].at_ms >= timer->at_ms) {
            break;
        }
        put(set, i, set->heap[child].timer);
        i = child;
    }
    put(set, i, timer);
}

int timers_arm(struct timers *set, struct timer *timer, int64_t at_ms)
{
    if (timer->slot != 0) {
        timers_cancel(set, timer);
    }
    if (set->count == set->cap) {
        size_t cap = set->cap > 0 ? 2 * set->cap : 16;
        struct timer_place *heap = realloc(set->heap, cap * sizeof(*heap));

        if (heap == NULL) {
            return -ENOMEM;
        }
        set->heap = heap;
        set->cap = cap;
    }
    timer->at_ms = set->running && at_ms <= set->run_at_ms ? set->run_at_ms + 1 : at_ms;
    sift_up(set, set->count++, timer);
    return 0;
}

void timers_cancel(struct timers *set, struct timer *timer)
{
    size_t i = timer->slot;
    struct timer *last;

    if (i == 0) {
        return;
    }
    i--;
    timer->slot = 0;
    last = set->heap[--set->count].timer;
    if (last == timer) {
        return;
    }
    sift_down(set, i, last);
    sift_up(set, last->slot - 1, last);
}

bool timer_is_armed(const struct timer *timer)
{
    return timer->slot != 0;
}

int64_t timers_next(const struct timers *set)
{
    return set->count > 0 ? set->heap[0].at_ms : TIMERS_NEVER;
}

void timers_run(struct timers *set, int64_t now_ms)
{
    set->running = true;
    set->run_at_ms = now_ms;
    while (set->count > 0 && set->heap[0].at_ms <= now_ms) {
        struct timer *timer = set->heap[0].timer;

        timers_cancel(set, timer);
        timer->fire(timer, now_ms);
    }
    set->running = false;
}
