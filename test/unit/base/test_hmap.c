/* Hash map against an array, with random operations and repeated keys. */
#include "vectors.h"

#include "base/hmap.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdlib.h>

#include <cmocka.h>

enum { ITEMS = 600, KEYS = 300 };

struct item {
    struct hmap_node node;
    uint64_t key;
    bool in;
    bool seen;
};

static struct item *item_of(struct hmap_node *node)
{
    return CONTAINER_OF(node, struct item, node);
}

static size_t model_count(const struct item *items, uint64_t key)
{
    size_t n = 0;

    for (size_t i = 0; i < ITEMS; i++) {
        n += items[i].in && items[i].key == key;
    }
    return n;
}

static void check_key(const struct hmap *map, const struct item *items, uint64_t key)
{
    size_t n = 0;

    for (struct hmap_node *at = hmap_find(map, key); at != NULL; at = hmap_next_same(at)) {
        assert_true(item_of(at)->in);
        assert_true(item_of(at)->key == key);
        n++;
    }
    assert_int_equal(n, model_count(items, key));
}

static void check_walk(const struct hmap *map, struct item *items, size_t count)
{
    size_t n = 0;

    for (size_t i = 0; i < ITEMS; i++) {
        items[i].seen = false;
    }
    for (struct hmap_node *at = hmap_each(map, NULL); at != NULL; at = hmap_each(map, at)) {
        assert_true(item_of(at)->in);
        assert_false(item_of(at)->seen);
        item_of(at)->seen = true;
        n++;
    }
    assert_int_equal(n, count);
    assert_int_equal(map->count, count);
}

static void test_random_operations_match_model(void **state)
{
    struct test_rng rng = test_rng_init("hmap");
    struct item *items = calloc(ITEMS, sizeof(*items));
    struct hmap map;
    size_t count = 0;

    (void)state;
    assert_non_null(items);
    hmap_init(&map, test_rng_u64(&rng));
    for (unsigned step = 0; step < 60000; step++) {
        struct item *item = &items[test_rng_below(&rng, ITEMS)];
        bool growing = step / 8000 % 2 == 0; /* phases of growth and decline */

        if (!item->in && (growing || test_rng_below(&rng, 4) == 0)) {
            item->key = test_rng_below(&rng, KEYS);
            assert_int_equal(hmap_insert(&map, &item->node, item->key), 0);
            item->in = true;
            count++;
        } else if (item->in && (!growing || test_rng_below(&rng, 4) == 0)) {
            hmap_remove(&map, &item->node);
            item->in = false;
            count--;
        }
        check_key(&map, items, test_rng_below(&rng, KEYS + 5));
        if (step % 500 == 0) {
            check_walk(&map, items, count);
        }
    }
    for (; count > 0; count--) {
        struct hmap_node *node = hmap_drain(&map);

        assert_non_null(node);
        assert_true(item_of(node)->in);
        item_of(node)->in = false;
    }
    assert_null(hmap_drain(&map));
    assert_int_equal(map.count, 0);
    hmap_done(&map);
    free(items);
}

/* Taking out one node after the other does not look at all buckets each time. Quadratic, this takes
 * minutes. */
static void test_emptying_a_large_map_is_quick(void **state)
{
    enum { MANY = 1000000 };
    struct hmap_node *nodes = calloc(MANY, sizeof(*nodes));
    struct hmap_node *n;
    struct hmap map;

    (void)state;
    assert_non_null(nodes);
    hmap_init(&map, 12345);
    for (uint64_t round = 0; round < 2; round++) {
        for (uint64_t i = 0; i < MANY; i++) {
            assert_int_equal(hmap_insert(&map, &nodes[i], i * 7919), 0);
        }
        while ((n = hmap_each(&map, NULL)) != NULL) {
            hmap_remove(&map, n);
        }
        assert_int_equal(map.count, 0);
    }
    hmap_done(&map);
    free(nodes);
}

static void test_empty_map(void **state)
{
    struct hmap map;

    (void)state;
    hmap_init(&map, 1);
    assert_null(hmap_find(&map, 0));
    assert_null(hmap_each(&map, NULL));
    assert_null(hmap_drain(&map));
    hmap_done(&map);
    hmap_done(&map);
}

/* The bucket array grows with the count and does not stay at its largest size. */
static void test_buckets_follow_count(void **state)
{
    enum { MANY = 20000 };
    struct hmap_node *nodes = calloc(MANY, sizeof(*nodes));
    struct hmap map;

    (void)state;
    assert_non_null(nodes);
    hmap_init(&map, 42);
    for (uint64_t i = 0; i < MANY; i++) {
        assert_int_equal(hmap_insert(&map, &nodes[i], i << 32), 0);
    }
    assert_true(map.mask + 1 >= MANY / 2);
    for (size_t i = 10; i < MANY; i++) {
        hmap_remove(&map, &nodes[i]);
    }
    assert_true(map.mask + 1 <= 128);
    for (uint64_t i = 0; i < 10; i++) {
        assert_ptr_equal(hmap_find(&map, i << 32), &nodes[i]);
    }
    hmap_done(&map);
    free(nodes);
}

/* Keys that differ in few bits spread over the buckets, and seeds change the order. */
static void test_expected_nodes_move_no_buckets(void **state)
{
    static struct item items[200];
    struct hmap_node **buckets;
    struct hmap map;

    (void)state;
    hmap_init(&map, 5);
    hmap_expect(&map, 100);
    assert_null(map.buckets);
    assert_int_equal(hmap_insert(&map, &items[0].node, 0), 0);
    buckets = map.buckets;
    for (unsigned round = 0; round < 3; round++) {
        for (uint64_t i = 1; i < 100; i++) {
            assert_int_equal(hmap_insert(&map, &items[i].node, i), 0);
        }
        for (uint64_t i = 1; i < 100; i++) {
            hmap_remove(&map, &items[i].node);
        }
        assert_ptr_equal(map.buckets, buckets);
    }
    for (uint64_t i = 1; i < 200; i++) { /* more is allowed */
        assert_int_equal(hmap_insert(&map, &items[i].node, i), 0);
    }
    for (uint64_t i = 0; i < 200; i++) {
        assert_ptr_equal(hmap_find(&map, i), &items[i].node);
        hmap_remove(&map, &items[i].node);
    }
    assert_int_equal(map.mask + 1, 128);
    hmap_done(&map);
}

static void test_hash_spreads(void **state)
{
    unsigned hits[256] = {0};
    unsigned same = 0;

    (void)state;
    for (uint64_t i = 0; i < 25600; i++) {
        hits[hash_mix(i << 24, 7) & 255]++;
        same += (hash_mix(i, 1) & 255) == (hash_mix(i, 2) & 255);
    }
    for (size_t i = 0; i < COUNT_OF(hits); i++) {
        assert_in_range(hits[i], 50, 160);
    }
    assert_in_range(same, 50, 160);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_emptying_a_large_map_is_quick),
        cmocka_unit_test(test_empty_map),
        cmocka_unit_test(test_random_operations_match_model),
        cmocka_unit_test(test_buckets_follow_count),
        cmocka_unit_test(test_expected_nodes_move_no_buckets),
        cmocka_unit_test(test_hash_spreads),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
