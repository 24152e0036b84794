/* Requests to services elsewhere by HTTP and HTTPS (webhooks, keys of login services), off the
 * control thread: each runs in a thread of the loop's pool, with libcurl, which is loaded for it.
 * Redirects are not followed, certificates are checked. What comes back is a stranger's: it is
 * bounded in size and time. Loop thread only. */
#pragma once

#include "base/attr.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <uv.h>

enum {
    FETCH_RUNNING_MAX = 4,         /* at a time */
    FETCH_ANSWER_MAX = 256 * 1024, /* bytes of an answer that are kept */
    FETCH_TIMEOUT_S = 15,          /* for all of a request */
    FETCH_HEADERS_MAX = 8,
};

struct fetch {
    uv_loop_t *loop;
    unsigned running;
    atomic_bool stopping;
};

/* What came of a request. */
struct fetch_result {
    long status;      /* HTTP status, 0 = no answer */
    const char *body; /* NUL-terminated, cut at FETCH_ANSWER_MAX; without answer: the cause */
    size_t len;
    bool is_cut; /* the answer was longer */
};

/* Called once for each request that was taken, on the loop's thread; result is borrowed. */
typedef void (*fetch_done)(void *ctx, const struct fetch_result *result);

/* Nothing runs. */
void fetch_init(struct fetch *fetch, uv_loop_t *loop);

/* Start a request. url: http or https; headers: lines, at most FETCH_HEADERS_MAX, or NULL; body: of
 * a POST, NULL for GET. All are copied. Returns 0; -EAGAIN FETCH_RUNNING_MAX are running, or
 * stopping; -ENOMEM. */
MUST_CHECK int fetch_start(struct fetch *fetch, const char *url, const char *const *headers,
                           size_t header_count, const char *body, size_t body_len, fetch_done done,
                           void *ctx);

/* End what runs, within a second or so: their done functions are called with status 0 while the
 * loop turns on. No request is taken any more. */
void fetch_stop(struct fetch *fetch);
