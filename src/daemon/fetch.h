/* Requests to other hosts by HTTP and HTTPS (webhooks, keys of login services), away from the
 * control thread: one thread that exists only while there is something to do, with libcurl loaded
 * at the first one. No redirect is followed, certificates are checked, and what comes back is a
 * stranger's: bounded in size and time. Source: spec 04 sections 4.9, 6.6; doc/architecture.md. */
#pragma once

#include "base/attr.h"

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <uv.h>

enum {
    FETCH_MAX = 64,               /* requests taken and not given back */
    FETCH_CONNECT_S = 10,         /* until connected, name lookup included */
    FETCH_TOTAL_S = 30,           /* for everything */
    FETCH_ANSWER_MAX = 256 << 10, /* bytes of an answer; a longer one is cut */
};

struct fetch_job;
struct fetch_lib;

/* What came of a request; borrowed. */
struct fetch_answer {
    unsigned status;   /* 0 without answer */
    const char *error; /* text when status is 0, else NULL */
    const char *body;  /* NUL-terminated */
    size_t len;
    bool is_cut; /* the answer was longer than FETCH_ANSWER_MAX */
};

/* Called on the loop's thread. */
typedef void (*fetch_done)(void *ctx, uint64_t id, const struct fetch_answer *answer);

struct fetch {
    uv_async_t async;      /* jobs are finished */
    bool open;             /* async is initialised */
    struct fetch_lib *lib; /* loaded library, NULL = not yet */
    pthread_t thread;
    bool started;             /* thread is to be joined */
    struct fetch_job *active; /* under way: the thread's */
    pthread_mutex_t lock;     /* guards all below */
    bool running;             /* the thread takes what comes */
    bool stop;
    struct fetch_job *incoming; /* newest first */
    struct fetch_job *finished; /* newest first */
    unsigned out;               /* jobs taken and not given back */
};

/* One request; all is copied. Headers: "Name: value", NULL-terminated list, or NULL. */
struct fetch_request {
    uint64_t id;
    const char *url;
    const char *const *headers;
    const char *body; /* of a POST; NULL: GET */
    size_t len;
    fetch_done done;
    void *ctx;
};

/* Prepare. Returns 0; negative errno. */
MUST_CHECK int fetch_init(struct fetch *p, uv_loop_t *loop);

/* Start one. Returns 0: done will be called, unless fetch_stop is first; -EAGAIN too many;
 * -ENOENT no library; -ENOMEM. */
MUST_CHECK int fetch_start(struct fetch *p, const struct fetch_request *request);

/* Give up what is under way, without calling done. The loop must turn once more. */
void fetch_stop(struct fetch *p);
