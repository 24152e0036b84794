/* Rings between threads: order and contents, the bound, both ends at work at the same time.
 * Source: data path contract section 2. */
#include "daemon/ring.h"

#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cmocka.h>

enum { CAP = 4096, RECORDS = 200000 };

/* Length and bytes of the n-th record follow from its number. */
static uint32_t length_of(uint32_t n)
{
    return (n * 2654435761u >> 7) % 1500;
}

static void fill(uint8_t *data, uint32_t n)
{
    memset(data, (int)(n * 31 + 7), length_of(n));
}

static bool put(struct ring *ring, uint32_t n)
{
    uint8_t data[1500];
    const struct ring_record record = {
        .kind = n % 5, .socket = n, .len = length_of(n), .nwid = ~(uint64_t)n};

    fill(data, n);
    return ring_put(ring, &record, data);
}

static void check(struct ring_record *record, uint32_t n)
{
    uint8_t data[1500];

    fill(data, n);
    assert_int_equal(record->socket, n);
    assert_int_equal(record->kind, n % 5);
    assert_true(record->nwid == ~(uint64_t)n);
    assert_int_equal(record->len, length_of(n));
    assert_memory_equal(ring_data(record), data, record->len);
}

/* What went in comes out, over many laps; a full ring refuses, counts and loses nothing else. */
static void test_records_come_out_in_order(void **state)
{
    struct ring ring;
    uint32_t in = 0;
    uint32_t out = 0;
    uint64_t refused = 0;

    (void)state;
    assert_int_equal(ring_init(&ring, CAP), 0);
    assert_null(ring_peek(&ring));
    while (out < 5000) {
        struct ring_record *record;

        for (int i = 0; i < 1 + (int)(in % 7); i++) {
            if (put(&ring, in)) {
                in++;
            } else {
                refused++;
            }
        }
        for (int i = 0; i < 1 + (int)(out % 5) && (record = ring_peek(&ring)) != NULL; i++) {
            check(record, out++);
            ring_drop(&ring, record);
        }
    }
    assert_true(refused > 0);
    assert_true(atomic_load(&ring.full) == refused);
    assert_true(in - out < CAP / sizeof(struct ring_record));
    ring_done(&ring);
}

/* A ring that is emptied each time uses its beginning only. */
static void test_quiet_ring_stays_at_its_start(void **state)
{
    struct ring ring;

    (void)state;
    assert_int_equal(ring_init(&ring, 1 << 20), 0);
    for (uint32_t n = 0; n < 2000; n++) {
        struct ring_record *record;

        assert_true(put(&ring, n));
        record = ring_peek(&ring);
        assert_non_null(record);
        check(record, n);
        assert_true((uint8_t *)record - ring.memory < (1 << 18) + 2000);
        ring_drop(&ring, record);
    }
    ring_done(&ring);
}

/* A burst into a ring at any position finds room for a quarter of it at least. */
static void test_burst_after_quiet(void **state)
{
    struct ring ring;

    (void)state;
    assert_int_equal(ring_init(&ring, 1 << 16), 0);
    for (uint32_t n = 0; n < 1000;) {
        struct ring_record *record;
        size_t bytes = 0;

        for (uint32_t end = n + 1 + n % 9; bytes < (1 << 14) - 2048 && n < end; n++) {
            assert_true(put(&ring, n));
            bytes += length_of(n) + sizeof(*record);
        }
        while ((record = ring_peek(&ring)) != NULL) {
            ring_drop(&ring, record);
        }
    }
    ring_done(&ring);
}

/* A record above half of the ring never fits. */
static void test_oversize_is_refused(void **state)
{
    struct ring ring;
    static uint8_t data[CAP];
    struct ring_record record = {.len = CAP / 2};

    (void)state;
    assert_int_equal(ring_init(&ring, CAP), 0);
    assert_false(ring_put(&ring, &record, data));
    record.len = CAP / 2 - sizeof(record);
    assert_true(ring_put(&ring, &record, data));
    ring_done(&ring);
}

/* A ring that was emptied gives its memory back, and goes on; one that holds something keeps it. */
static void test_trim(void **state)
{
    unsigned char pages[256];
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    size_t cap = COUNT_OF(pages) * page;
    struct ring ring;
    struct ring_record *record;
    uint32_t in = 0;
    uint32_t out = 0;
    size_t touched = 0;

    (void)state;
    assert_int_equal(ring_init(&ring, cap), 0);
    while (put(&ring, in)) {
        in++;
    }
    ring_trim(&ring);
    while ((record = ring_peek(&ring)) != NULL) {
        check(record, out++);
        ring_drop(&ring, record);
    }
    assert_int_equal(in, out);
    ring_trim(&ring);
    assert_int_equal(mincore(ring.memory, cap, pages), 0);
    for (size_t i = 0; i < COUNT_OF(pages); i++) {
        touched += pages[i] & 1;
    }
    assert_int_equal(touched, 0);
    assert_true(put(&ring, in));
    check(ring_peek(&ring), in);
    ring_done(&ring);
}

static void *produce(void *arg)
{
    for (uint32_t n = 0; n < RECORDS;) {
        if (put(arg, n)) {
            n++;
        } else {
            (void)sched_yield();
        }
        if (n % 4096 == 0) {
            ring_trim(arg); /* takes nothing that is not taken out yet */
        }
    }
    return NULL;
}

static void test_two_threads(void **state)
{
    struct ring ring;
    pthread_t producer;

    (void)state;
    assert_int_equal(ring_init(&ring, 16 * CAP), 0);
    assert_int_equal(pthread_create(&producer, NULL, produce, &ring), 0);
    for (uint32_t n = 0; n < RECORDS;) {
        struct ring_record *record = ring_peek(&ring);

        if (record == NULL) {
            (void)sched_yield();
            continue;
        }
        check(record, n++);
        ring_drop(&ring, record);
    }
    assert_int_equal(pthread_join(producer, NULL), 0);
    assert_null(ring_peek(&ring));
    ring_done(&ring);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_records_come_out_in_order),
        cmocka_unit_test(test_quiet_ring_stays_at_its_start),
        cmocka_unit_test(test_burst_after_quiet),
        cmocka_unit_test(test_oversize_is_refused),
        cmocka_unit_test(test_trim),
        cmocka_unit_test(test_two_threads),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
