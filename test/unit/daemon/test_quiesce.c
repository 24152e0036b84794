/* Nothing is released while a worker may hold it: readers in threads use what a table holds, the
 * writer withdraws, waits for their turns to pass, and destroys. Run under the thread and address
 * sanitizers this shows any use after release. Source: data path contract sections 1 and 8 (6). */
#include "daemon/quiesce.h"
#include "datapath/table.h"

#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { READERS = 3, KEYS = 8, ROUNDS = 20000 };

struct item {
    struct table_node node;
    struct retired retired;
    uint64_t words[8]; /* all equal to the key while it lives */
};

static struct quiesce quiesce;
static struct table table;
static struct limbo limbo;
static atomic_bool is_over;
static atomic_uint bad;
static atomic_uint found;

static void release(struct retired *r)
{
    struct item *t = CONTAINER_OF(r, struct item, retired);

    memset(t->words, 0xee, sizeof(t->words));
    free(t);
}

static void *read_all(void *arg)
{
    unsigned w = (unsigned)(uintptr_t)arg;

    while (!atomic_load(&is_over)) {
        quiesce_begin(&quiesce, w);
        for (uint64_t key = 1; key <= KEYS; key++) {
            struct table_node *node = table_find(&table, key);
            const struct item *t = node == NULL ? NULL : CONTAINER_OF(node, struct item, node);

            for (size_t i = 0; t != NULL && i < 8; i++) {
                atomic_fetch_add(t->words[i] == key ? &found : &bad, 1);
            }
        }
        quiesce_end(&quiesce, w);
    }
    return NULL;
}

static struct item *item_new(uint64_t key)
{
    struct item *t = malloc(sizeof(*t));

    assert_non_null(t);
    t->node.key = key;
    for (size_t i = 0; i < 8; i++) {
        t->words[i] = key;
    }
    return t;
}

static void test_release_waits_for_turns(void **state)
{
    pthread_t threads[READERS];
    struct quiesce_mark mark;
    bool is_marked = false;
    uint64_t marked = 0;

    (void)state;
    limbo_init(&limbo);
    table_init(&table, 42, &limbo);
    quiesce_init(&quiesce, READERS);
    for (uintptr_t i = 0; i < READERS; i++) {
        assert_int_equal(pthread_create(&threads[i], NULL, read_all, (void *)i), 0);
    }
    for (uint64_t n = 0; n < ROUNDS || atomic_load(&found) == 0; n++) {
        uint64_t key = 1 + n % KEYS;
        struct table_node *node = table_find(&table, key);

        if (node == NULL) {
            assert_int_equal(table_insert(&table, &item_new(key)->node), 0);
        } else if (n % 3 == 0) {
            table_replace(&table, node, &item_new(key)->node);
            limbo_retire(&limbo, &CONTAINER_OF(node, struct item, node)->retired, release);
        } else {
            table_remove(&table, node);
            limbo_retire(&limbo, &CONTAINER_OF(node, struct item, node)->retired, release);
        }
        if (is_marked && quiesce_passed(&quiesce, &mark)) {
            limbo_reclaim(&limbo, marked);
            is_marked = false;
        }
        if (!is_marked) {
            marked = limbo.number;
            quiesce_note(&quiesce, &mark);
            is_marked = true;
        }
        if (n % 64 == 0) {
            (void)sched_yield();
        }
    }
    atomic_store(&is_over, true);
    for (size_t i = 0; i < READERS; i++) {
        assert_int_equal(pthread_join(threads[i], NULL), 0);
    }
    limbo_reclaim(&limbo, UINT64_MAX);
    assert_int_equal(limbo.count, 0);
    assert_int_equal(atomic_load(&bad), 0);
    for (uint64_t key = 1; key <= KEYS; key++) {
        struct table_node *node = table_find(&table, key);

        free(node == NULL ? NULL : CONTAINER_OF(node, struct item, node));
    }
    table_done(&table);
}

/* A worker that waits holds nothing up; one in a turn does, until the turn ends. */
static void test_only_turns_are_waited_for(void **state)
{
    struct quiesce q;
    struct quiesce_mark mark;

    (void)state;
    quiesce_init(&q, 2);
    quiesce_note(&q, &mark);
    assert_true(quiesce_passed(&q, &mark));
    quiesce_begin(&q, 1);
    assert_true(quiesce_passed(&q, &mark)); /* began after the note */
    quiesce_note(&q, &mark);
    assert_false(quiesce_passed(&q, &mark));
    quiesce_end(&q, 1);
    assert_true(quiesce_passed(&q, &mark));
    quiesce_begin(&q, 1); /* the next turn is another one */
    assert_true(quiesce_passed(&q, &mark));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_only_turns_are_waited_for),
        cmocka_unit_test(test_release_waits_for_turns),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
