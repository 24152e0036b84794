/* Clocks, random bytes, processors. */
#include "os/clock.h"
#include "os/cpu.h"
#include "os/random.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

static void test_clocks_advance(void **state)
{
    const struct timespec pause = {.tv_nsec = 20000000};
    int64_t mono = clock_mono_ms();
    int64_t boot = clock_boot_ms();
    int64_t wall = clock_wall_ms();

    (void)state;
    assert_true(boot >= mono);
    assert_true(llabs(wall / 1000 - (int64_t)time(NULL)) <= 1);
    (void)nanosleep(&pause, NULL);
    assert_true(clock_mono_ms() - mono >= 19);
    assert_true(clock_boot_ms() - boot >= 19);
    assert_true(clock_mono_ms() - mono < 10000);
}

static void test_processors(void **state)
{
    (void)state;
    assert_true(cpu_count() >= 1);
    assert_true(cpu_count() <= 4096);
}

/* Draws of all sizes differ, and every bit of a byte takes both values. */
static void test_random_draws(void **state)
{
    struct random_source *source = random_source_new();
    uint8_t seen_ones = 0;
    uint8_t seen_zeros = 0;
    uint64_t previous = 0;

    (void)state;
    assert_non_null(source);
    for (int i = 0; i < 1000; i++) {
        uint64_t v = 0;
        random_source_fill(source, &v, sizeof(v));
        assert_int_not_equal(v, previous);
        previous = v;
        seen_ones |= (uint8_t)v;
        seen_zeros |= (uint8_t)~v;
    }
    assert_int_equal(seen_ones, 0xff);
    assert_int_equal(seen_zeros, 0xff);
    static uint8_t big[5000];
    random_source_fill(source, big, sizeof(big));
    random_source_fill(source, big, 0);
    size_t zeros = 0;
    for (size_t i = 0; i < sizeof(big); i++) {
        zeros += big[i] == 0;
    }
    assert_true(zeros < 60); /* about 20 expected */
    random_source_free(source);
    random_source_free(NULL);
}

/* A child does not draw what its parent draws. */
static void test_random_differs_after_fork(void **state)
{
    struct random_source *source = random_source_new();
    uint8_t mine[32];
    uint8_t childs[32];
    int fds[2];

    (void)state;
    assert_non_null(source);
    random_source_fill(source, mine, sizeof(mine)); /* the buffer is filled now */
    assert_int_equal(pipe(fds), 0);
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        random_source_fill(source, childs, sizeof(childs));
        _exit(write(fds[1], childs, sizeof(childs)) == sizeof(childs) ? 0 : 1);
    }
    random_source_fill(source, mine, sizeof(mine));
    assert_int_equal(read(fds[0], childs, sizeof(childs)), sizeof(childs));
    assert_int_equal(waitpid(child, NULL, 0), child);
    assert_memory_not_equal(mine, childs, sizeof(mine));
    (void)close(fds[0]);
    (void)close(fds[1]);
    random_source_free(source);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_clocks_advance),
        cmocka_unit_test(test_processors),
        cmocka_unit_test(test_random_draws),
        cmocka_unit_test(test_random_differs_after_fork),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
