/* Slow pure work away from the control thread: a pool of threads that exists only while there is
 * work. Source: doc/architecture.md. */
#pragma once

#include "base/attr.h"
#include "vl1/env.h"

#include <pthread.h>
#include <stdbool.h>
#include <uv.h>

enum {
    JOBS_QUEUE_MAX = 256, /* jobs waiting or finished at most */
    JOBS_THREADS_MAX = 16,
};

struct jobs {
    pthread_mutex_t lock;                        /* guards all below but async */
    pthread_cond_t wake;                         /* work came, or stop */
    struct engine_job *waiting[JOBS_QUEUE_MAX];  /* ring */
    struct engine_job *finished[JOBS_QUEUE_MAX]; /* list */
    unsigned wait_first;
    unsigned wait_count;
    unsigned finished_count;
    unsigned out;       /* accepted and not given back */
    unsigned threads;   /* running */
    unsigned idle;      /* of them waiting for work */
    unsigned limit;     /* threads at most */
    bool stop;          /* threads end */
    pthread_cond_t end; /* a thread ended */
    uv_async_t async;   /* wakes the loop for finished jobs */
    void (*done)(void *ctx, struct engine_job *job);
    void *ctx;
};

/* Prepare; done is called on the loop's thread for each job that was run. */
MUST_CHECK int jobs_init(struct jobs *jobs, uv_loop_t *loop,
                         void (*done)(void *ctx, struct engine_job *job), void *ctx);

/* Take a job. Returns 0; -EAGAIN no room. */
MUST_CHECK int jobs_add(struct jobs *jobs, struct engine_job *job);

/* End the threads and give back every job still out (run or not) through done. The async handle is
 * closed; the loop must turn once more. */
void jobs_stop(struct jobs *jobs);
