/* The job pool. A thread that finds no work for a while ends: an idle daemon has none.
 * Source: doc/architecture.md. */
#include "daemon/jobs.h"

#include "os/cpu.h"

#include <errno.h>
#include <time.h>

enum {
    IDLE_SECONDS = 3,
    STACK_SIZE = 256 * 1024,
};

/* Wait for work; false when the thread should end. The lock is held. */
static bool wait_for_work(struct jobs *jobs)
{
    struct timespec until;
    (void)clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_sec += IDLE_SECONDS;
    jobs->idle++;
    int err = 0;
    while (jobs->wait_count == 0 && !jobs->stop && err == 0) {
        err = pthread_cond_timedwait(&jobs->wake, &jobs->lock, &until);
    }
    jobs->idle--;
    return jobs->wait_count > 0 && !jobs->stop;
}

static void *jobs_run(void *arg)
{
    struct jobs *jobs = arg;
    (void)cpu_set_background(); /* strangers cause this work: traffic goes before */
    (void)pthread_mutex_lock(&jobs->lock);
    while (wait_for_work(jobs)) {
        struct engine_job *job = jobs->waiting[jobs->wait_first];
        jobs->wait_first = (jobs->wait_first + 1) % JOBS_QUEUE_MAX;
        jobs->wait_count--;
        (void)pthread_mutex_unlock(&jobs->lock);
        job->run(job);
        (void)pthread_mutex_lock(&jobs->lock);
        jobs->finished[jobs->finished_count++] = job;
        (void)uv_async_send(&jobs->async);
    }
    jobs->threads--;
    (void)pthread_cond_signal(&jobs->end);
    (void)pthread_mutex_unlock(&jobs->lock);
    return NULL;
}

/* Start one more thread. The lock is held. */
static int start_thread(struct jobs *jobs)
{
    pthread_attr_t attr;
    pthread_t thread;
    (void)pthread_attr_init(&attr);
    (void)pthread_attr_setstacksize(&attr, STACK_SIZE);
    (void)pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
    int err = pthread_create(&thread, &attr, jobs_run, jobs);
    (void)pthread_attr_destroy(&attr);
    if (err == 0) {
        jobs->threads++;
    }
    return -err;
}

static void on_async(uv_async_t *async)
{
    struct jobs *jobs = async->data;
    for (;;) {
        (void)pthread_mutex_lock(&jobs->lock);
        struct engine_job *job = NULL;
        if (jobs->finished_count > 0) {
            job = jobs->finished[--jobs->finished_count];
            jobs->out--;
        }
        (void)pthread_mutex_unlock(&jobs->lock);
        if (job == NULL) {
            return;
        }
        jobs->done(jobs->ctx, job);
    }
}

int jobs_init(struct jobs *jobs, uv_loop_t *loop, void (*done)(void *ctx, struct engine_job *job),
              void *ctx)
{
    *jobs = (struct jobs){.done = done, .ctx = ctx};
    jobs->limit = cpu_count() > JOBS_THREADS_MAX ? JOBS_THREADS_MAX : cpu_count();
    pthread_condattr_t attr;
    (void)pthread_mutex_init(&jobs->lock, NULL);
    (void)pthread_condattr_init(&attr);
    (void)pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    (void)pthread_cond_init(&jobs->wake, &attr);
    (void)pthread_cond_init(&jobs->end, &attr);
    (void)pthread_condattr_destroy(&attr);
    jobs->async.data = jobs;
    return uv_async_init(loop, &jobs->async, on_async);
}

int jobs_add(struct jobs *jobs, struct engine_job *job)
{
    int err = -EAGAIN;
    (void)pthread_mutex_lock(&jobs->lock);
    if (jobs->out < JOBS_QUEUE_MAX && !jobs->stop) {
        bool served = jobs->idle > jobs->wait_count;
        if (!served && jobs->threads < jobs->limit) {
            err = start_thread(jobs);
        }
        if (jobs->threads > 0) {
            unsigned slot = (jobs->wait_first + jobs->wait_count) % JOBS_QUEUE_MAX;
            jobs->waiting[slot] = job;
            jobs->wait_count++;
            jobs->out++;
            (void)pthread_cond_signal(&jobs->wake);
            err = 0;
        }
    }
    (void)pthread_mutex_unlock(&jobs->lock);
    return err;
}

void jobs_stop(struct jobs *jobs)
{
    (void)pthread_mutex_lock(&jobs->lock);
    jobs->stop = true;
    (void)pthread_cond_broadcast(&jobs->wake);
    while (jobs->threads > 0) {
        (void)pthread_cond_wait(&jobs->end, &jobs->lock);
    }
    for (; jobs->wait_count > 0; jobs->wait_count--) {
        jobs->finished[jobs->finished_count++] = jobs->waiting[jobs->wait_first];
        jobs->wait_first = (jobs->wait_first + 1) % JOBS_QUEUE_MAX;
    }
    (void)pthread_mutex_unlock(&jobs->lock);
    on_async(&jobs->async);
    uv_close((uv_handle_t *)&jobs->async, NULL);
}
