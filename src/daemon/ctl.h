/* The controller inside the daemon: started when there is something stored, or with the first
 * request of its API, so that a plain node carries none. Source: spec 04, spec 05 section 5.9. */
#pragma once

#include "base/attr.h"

#include <stdbool.h>
#include <stdint.h>
#include <uv.h>

struct controller;
struct service;

struct ctl {
    struct service *svc;
    struct controller *controller; /* NULL = not started */
    uv_async_t wake;               /* the store has something for us */
    bool wake_open;                /* wake is initialised */
    uv_timer_t watch;              /* of the lease, if the store is shared */
    bool watch_open;               /* watch is initialised */
    bool library_missing;          /* that webhooks lack theirs was said */
};

/* Prepare; starts the controller if its store exists. Returns 0; negative errno. */
MUST_CHECK int ctl_init(struct ctl *ctl, struct service *svc);

/* Start the controller if it does not run. Returns 0; negative errno. */
MUST_CHECK int ctl_start(struct ctl *ctl);

/* Write what is open and end. Every API request is answered by then. The loop must turn once more.
 */
void ctl_stop(struct ctl *ctl);

/* Next deadline or -1, and running what is due. */
int64_t ctl_deadline(const struct ctl *ctl);
void ctl_tick(struct ctl *ctl, int64_t now_ms);

/* The wall clock was set. */
void ctl_set_wall_offset(struct ctl *ctl, int64_t wall_offset_ms);
