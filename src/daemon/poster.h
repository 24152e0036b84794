/* POSTs to other hosts, away from the control thread: one thread that exists only while there is
 * something to post, with libcurl loaded at the first one. No redirect is followed, an answer's
 * body is read up to a bound and dropped. Source: spec 04 section 6.6; doc/architecture.md. */
#pragma once

#include "base/attr.h"

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <uv.h>

enum {
    POSTER_MAX = 64,              /* posts taken and not given back */
    POSTER_CONNECT_S = 10,        /* until connected, name lookup included */
    POSTER_TOTAL_S = 30,          /* for everything */
    POSTER_ANSWER_MAX = 64 << 10, /* bytes of an answer that are waited for */
};

struct poster_job;
struct poster_lib;

/* Called on the loop's thread. status: of the answer, 0 without one; error: text or NULL. */
typedef void (*poster_done)(void *ctx, uint64_t id, unsigned status, const char *error);

struct poster {
    uv_async_t async; /* jobs are finished */
    bool open;        /* async is initialised */
    poster_done done;
    void *ctx;
    struct poster_lib *lib; /* loaded library, NULL = not yet */
    pthread_t thread;
    bool started;              /* thread is to be joined */
    struct poster_job *active; /* under way: the thread's */
    pthread_mutex_t lock;      /* guards all below */
    bool running;              /* the thread takes what comes */
    bool stop;
    struct poster_job *incoming; /* newest first */
    struct poster_job *finished; /* newest first */
    unsigned out;                /* jobs taken and not given back */
};

/* One POST; all is copied. Headers: "Name: value", NULL-terminated list. */
struct poster_request {
    uint64_t id;
    const char *url;
    const char *const *headers;
    const char *body;
    size_t len;
};

/* Prepare. Returns 0; negative errno. */
MUST_CHECK int poster_init(struct poster *p, uv_loop_t *loop, poster_done done, void *ctx);

/* Start a post. Returns 0: done will be called, unless poster_stop is first; -EAGAIN too many;
 * -ENOENT no library; -ENOMEM. */
MUST_CHECK int poster_post(struct poster *p, const struct poster_request *request);

/* Give up what is under way, without calling done. The loop must turn once more. */
void poster_stop(struct poster *p);
