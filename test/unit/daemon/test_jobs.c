/* The job pool: every job comes back exactly once, also when it stops. */
#include "daemon/jobs.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <unistd.h>

#include <cmocka.h>

enum { COUNT = JOBS_QUEUE_MAX };

struct test_job {
    struct engine_job job;
    unsigned back; /* times it came back */
};

static struct test_job jobs[COUNT];
static struct jobs pool;
static uv_loop_t loop;
static unsigned returned;
static unsigned expected;

static void run(struct engine_job *job)
{
    (void)usleep(200);
    job->done = true;
}

static void on_done(void *ctx, struct engine_job *job)
{
    (void)ctx;
    CONTAINER_OF(job, struct test_job, job)->back++;
    if (++returned == expected) {
        uv_stop(&loop);
    }
}

static int start(void **state)
{
    (void)state;
    returned = 0;
    for (size_t i = 0; i < COUNT; i++) {
        jobs[i] = (struct test_job){.job = {.run = run}};
    }
    return uv_loop_init(&loop) < 0 ? -1 : jobs_init(&pool, &loop, on_done, NULL);
}

static void finish(void)
{
    jobs_stop(&pool);
    (void)uv_run(&loop, UV_RUN_DEFAULT);
    assert_int_equal(uv_loop_close(&loop), 0);
}

static void test_all_come_back_run(void **state)
{
    (void)state;
    expected = COUNT;
    for (size_t i = 0; i < COUNT; i++) {
        assert_int_equal(jobs_add(&pool, &jobs[i].job), 0);
    }
    struct engine_job one_more = {.run = run};
    assert_int_equal(jobs_add(&pool, &one_more), -EAGAIN);
    (void)uv_run(&loop, UV_RUN_DEFAULT);
    for (size_t i = 0; i < COUNT; i++) {
        assert_true(jobs[i].job.done);
        assert_int_equal(jobs[i].back, 1);
    }
    finish();
}

static void test_stop_gives_back_what_did_not_run(void **state)
{
    (void)state;
    expected = COUNT + 1;
    for (size_t i = 0; i < COUNT; i++) {
        assert_int_equal(jobs_add(&pool, &jobs[i].job), 0);
    }
    finish();
    unsigned not_run = 0;
    for (size_t i = 0; i < COUNT; i++) {
        assert_int_equal(jobs[i].back, 1);
        not_run += !jobs[i].job.done;
    }
    assert_true(not_run > 0);
    assert_int_equal(jobs_add(&pool, &jobs[0].job), -EAGAIN);
}

static void test_stop_without_work(void **state)
{
    (void)state;
    finish();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_all_come_back_run, start),
        cmocka_unit_test_setup(test_stop_gives_back_what_did_not_run, start),
        cmocka_unit_test_setup(test_stop_without_work, start),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
