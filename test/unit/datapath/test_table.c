/* The table with one writer and readers without locks: against a naive map, and with readers in
 * threads (also under the thread sanitizer). Source: data path contract section 1 "Tables". */
#include "vectors.h"

#include "base/attr.h"
#include "datapath/table.h"

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

enum {
    KEYS = 700,
    STEPS = 60000,
    READERS = 3,
    THREAD_KEYS = 256,
    THREAD_STEPS = 10000,
};

/* What the table holds. */
struct thing {
    struct table_node node;
    struct retired retired;
    uint64_t check; /* ~key while it lives */
};

static void release(struct retired *r)
{
    struct thing *t = CONTAINER_OF(r, struct thing, retired);

    t->check = 0;
    free(t);
}

static struct thing *thing_new(uint64_t key)
{
    struct thing *t = calloc(1, sizeof(*t));

    assert_non_null(t);
    t->node.key = key;
    t->check = ~key;
    return t;
}

static struct thing *find(const struct table *table, uint64_t key)
{
    struct table_node *node = table_find(table, key);

    return node == NULL ? NULL : CONTAINER_OF(node, struct thing, node);
}

static void test_empty(void **state)
{
    struct limbo limbo;
    struct table table;
    size_t at = 0;

    (void)state;
    limbo_init(&limbo);
    table_init(&table, 7, &limbo);
    assert_null(table_find(&table, 0));
    assert_null(table_find(&table, 1));
    assert_null(table_each(&table, &at));
    table_done(&table);
    assert_int_equal(limbo.count, 0);
}

/* A walk sees every node once; the node just seen may be removed. */
static void check_walk(struct table *table, struct thing *const *model, bool remove)
{
    bool seen[KEYS] = {false};
    size_t at = 0;
    size_t count = 0;
    struct table_node *node;

    while ((node = table_each(table, &at)) != NULL) {
        assert_in_range(node->key, 0, KEYS - 1);
        assert_false(seen[node->key]);
        seen[node->key] = true;
        count++;
        if (remove) {
            table_remove(table, node);
        }
    }
    for (size_t k = 0; k < KEYS; k++) {
        assert_int_equal(seen[k], model[k] != NULL);
    }
    assert_int_equal(count, remove ? count : table->count);
}

static void random_step(struct test_rng *rng, struct table *table, struct limbo *limbo,
                        struct thing **model)
{
    uint64_t key = test_rng_below(rng, KEYS); /* also 0 */
    struct thing *old = model[key];

    switch (test_rng_below(rng, 4)) {
    case 0:
    case 1:
        if (old == NULL) {
            model[key] = thing_new(key);
            assert_int_equal(table_insert(table, &model[key]->node), 0);
        }
        break;
    case 2:
        if (old != NULL) {
            table_remove(table, &old->node);
            limbo_retire(limbo, &old->retired, release);
            model[key] = NULL;
        }
        break;
    default:
        if (old != NULL) {
            model[key] = thing_new(key);
            table_replace(table, &old->node, &model[key]->node);
            limbo_retire(limbo, &old->retired, release);
        }
        break;
    }
    assert_ptr_equal(find(table, key), model[key]);
}

static void test_random_operations(void **state)
{
    struct test_rng rng = test_rng_init("table");
    struct thing *model[KEYS] = {NULL};
    struct limbo limbo;
    struct table table;

    (void)state;
    limbo_init(&limbo);
    table_init(&table, test_rng_u64(&rng), &limbo);
    for (size_t i = 0; i < STEPS; i++) {
        size_t count = 0;

        random_step(&rng, &table, &limbo, model);
        if (i % 16 == 0) {
            limbo_reclaim(&limbo, limbo.number);
        }
        if (i % 1000 != 0) {
            continue;
        }
        for (uint64_t k = 0; k < KEYS; k++) {
            assert_ptr_equal(find(&table, k), model[k]);
            count += model[k] != NULL;
        }
        assert_null(table_find(&table, UINT64_MAX));
        assert_int_equal(table.count, count);
        assert_true(table.used >= table.count);
        check_walk(&table, model, false);
    }
    check_walk(&table, model, true);
    assert_int_equal(table.count, 0);
    for (size_t k = 0; k < KEYS; k++) {
        assert_null(table_find(&table, k));
        free(model[k]);
    }
    limbo_reclaim(&limbo, UINT64_MAX);
    table_done(&table);
}

/* One in, one out, for ever: marks of removed nodes do not fill the table, nor does it grow. */
static void test_churn_stays_small(void **state)
{
    struct limbo limbo;
    struct table table;
    struct thing *t = thing_new(0);

    (void)state;
    limbo_init(&limbo);
    table_init(&table, 3, &limbo);
    for (uint64_t key = 0; key < 100000; key++) {
        t->node.key = key;
        assert_int_equal(table_insert(&table, &t->node), 0);
        assert_ptr_equal(find(&table, key), t);
        assert_null(table_find(&table, key - 1));
        table_remove(&table, &t->node);
        assert_in_range(table.used, 0, 16);
        limbo_reclaim(&limbo, limbo.number);
    }
    assert_int_equal(table.count, 0);
    free(t);
    table_done(&table);
}

/* ---- readers in threads ---- */

/* A turn of a reader is even -> odd -> even; the writer reclaims what it retired before all readers
 * began a new one. */
enum known { KNOWN_OUT, KNOWN_IN, KNOWN_UNSURE, KNOWN_STATES = 4 };

struct shared {
    struct table table;
    struct limbo limbo;
    _Atomic uint64_t known[THREAD_KEYS]; /* by key: enum known and a number that only grows */
    _Atomic uint64_t turns[READERS];
    _Atomic bool stop;
    _Atomic uint64_t errors;
    _Atomic uint64_t finds;
};

static struct shared shared;

struct reader {
    pthread_t thread;
    unsigned index;
};

static void read_some(struct test_rng *rng)
{
    for (unsigned i = 0; i < 32; i++) {
        uint64_t key = test_rng_below(rng, THREAD_KEYS);
        uint64_t before = atomic_load(&shared.known[key]);
        struct thing *t = find(&shared.table, key);
        uint64_t after = atomic_load(&shared.known[key]);
        unsigned known = before == after ? before % KNOWN_STATES : KNOWN_UNSURE;
        bool is_wrong = t != NULL ? t->node.key != key || t->check != ~key || known == KNOWN_OUT
                                  : known == KNOWN_IN;

        atomic_fetch_add(&shared.errors, is_wrong);
        atomic_fetch_add_explicit(&shared.finds, t != NULL, memory_order_relaxed);
    }
}

static void *reader_main(void *arg)
{
    struct reader *self = arg;
    struct test_rng rng = {.state = 1000 + self->index};
    _Atomic uint64_t *turn = &shared.turns[self->index];

    while (!atomic_load(&shared.stop)) {
        atomic_fetch_add(turn, 1);
        read_some(&rng);
        atomic_fetch_add(turn, 1);
    }
    return NULL;
}

/* Wait until every reader is between two turns or in a new one, as a host does. */
static void wait_for_readers(void)
{
    for (unsigned i = 0; i < READERS; i++) {
        uint64_t turn = atomic_load(&shared.turns[i]);

        while ((turn & 1) != 0 && atomic_load(&shared.turns[i]) == turn) {
            (void)sched_yield();
        }
    }
}

/* What readers may rely on from now on. */
static void say(uint64_t key, enum known known)
{
    uint64_t old = atomic_load(&shared.known[key]);

    atomic_store(&shared.known[key], (old / KNOWN_STATES + 1) * KNOWN_STATES + known);
}

static void write_step(struct test_rng *rng, struct thing **model)
{
    uint64_t key = test_rng_below(rng, THREAD_KEYS);
    struct thing *old = model[key];

    if (old == NULL) {
        model[key] = thing_new(key);
        say(key, KNOWN_UNSURE);
        assert_int_equal(table_insert(&shared.table, &model[key]->node), 0);
        say(key, KNOWN_IN);
        return;
    }
    if (test_rng_below(rng, 2) == 0) {
        model[key] = thing_new(key);
        table_replace(&shared.table, &old->node, &model[key]->node);
    } else {
        model[key] = NULL;
        say(key, KNOWN_UNSURE);
        table_remove(&shared.table, &old->node);
        say(key, KNOWN_OUT);
    }
    limbo_retire(&shared.limbo, &old->retired, release);
}

static void test_readers_in_threads(void **state)
{
    struct test_rng rng = test_rng_init("table readers");
    struct thing *model[THREAD_KEYS] = {NULL};
    struct reader readers[READERS];

    (void)state;
    limbo_init(&shared.limbo);
    table_init(&shared.table, test_rng_u64(&rng), &shared.limbo);
    for (unsigned i = 0; i < READERS; i++) {
        readers[i].index = i;
        assert_int_equal(pthread_create(&readers[i].thread, NULL, reader_main, &readers[i]), 0);
    }
    for (unsigned i = 0; i < READERS; i++) {
        while (atomic_load(&shared.turns[i]) == 0) {
            (void)sched_yield();
        }
    }
    for (size_t i = 0; i < THREAD_STEPS; i++) {
        write_step(&rng, model);
        if (shared.limbo.count >= 200) {
            uint64_t number = shared.limbo.number;

            wait_for_readers();
            limbo_reclaim(&shared.limbo, number);
        }
    }
    while (atomic_load(&shared.finds) == 0) { /* on a busy machine they begin late */
        (void)sched_yield();
    }
    atomic_store(&shared.stop, true);
    for (unsigned i = 0; i < READERS; i++) {
        assert_int_equal(pthread_join(readers[i].thread, NULL), 0);
    }
    assert_int_equal(atomic_load(&shared.errors), 0);
    limbo_reclaim(&shared.limbo, UINT64_MAX);
    for (size_t k = 0; k < THREAD_KEYS; k++) {
        assert_ptr_equal(find(&shared.table, k), model[k]);
    }
    for (size_t k = 0; k < THREAD_KEYS; k++) {
        free(model[k]);
    }
    table_done(&shared.table);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_empty),
        cmocka_unit_test(test_random_operations),
        cmocka_unit_test(test_churn_stays_small),
        cmocka_unit_test(test_readers_in_threads),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
