/* Open addressing with linear probing. Source: data path contract section 1 "Tables". */
#include "datapath/table.h"

#include "base/hmap.h"

#include <errno.h>
#include <stdlib.h>

enum { TABLE_FIRST = 16 };

struct table_array {
    struct retired retired;
    size_t mask; /* places - 1 */
    _Atomic(struct table_node *) places[];
};

/* Stands where a node was removed, so that searches go on behind it; never written. */
static const struct table_node removed_node;

static struct table_node *removed(void)
{
    return (struct table_node *)&removed_node;
}

static void array_release(struct retired *r)
{
    free(CONTAINER_OF(r, struct table_array, retired));
}

void table_init(struct table *table, uint64_t seed, struct limbo *limbo)
{
    *table = (struct table){.seed = seed, .limbo = limbo};
    atomic_init(&table->array, NULL);
}

void table_done(struct table *table)
{
    free(atomic_load_explicit(&table->array, memory_order_relaxed));
    atomic_store_explicit(&table->array, NULL, memory_order_relaxed);
    table->count = table->used = 0;
}

struct table_node *table_find(const struct table *table, uint64_t key)
{
    const struct table_array *a = atomic_load_explicit(&table->array, memory_order_acquire);

    if (a == NULL) {
        return NULL;
    }
    for (size_t i = hash_mix(key, table->seed);; i++) {
        struct table_node *node =
            atomic_load_explicit(&a->places[i & a->mask], memory_order_acquire);

        if (node == NULL || (node != removed() && node->key == key)) {
            return node;
        }
    }
}

/* The place of a node, or the first free one behind where it belongs (node NULL). */
static _Atomic(struct table_node *) *place_of(struct table_array *a, uint64_t seed, uint64_t key,
                                              const struct table_node *node)
{
    for (size_t i = hash_mix(key, seed);; i++) {
        _Atomic(struct table_node *) *place = &a->places[i & a->mask];

        if (atomic_load_explicit(place, memory_order_relaxed) == node) {
            return place;
        }
    }
}

/* A new array with room, without the marks of removed nodes. */
static int rebuild(struct table *table)
{
    struct table_array *old = atomic_load_explicit(&table->array, memory_order_relaxed);
    size_t places = TABLE_FIRST;
    struct table_array *a;
    size_t at = 0;
    struct table_node *node;

    while (places < 4 * (table->count + 1)) {
        places *= 2;
    }
    a = calloc(1, sizeof(*a) + places * sizeof(a->places[0]));
    if (a == NULL) {
        return -ENOMEM;
    }
    a->mask = places - 1;
    while ((node = table_each(table, &at)) != NULL) {
        atomic_init(place_of(a, table->seed, node->key, NULL), node);
    }
    table->used = table->count;
    atomic_store_explicit(&table->array, a, memory_order_release);
    if (old != NULL) {
        limbo_retire(table->limbo, &old->retired, array_release);
    }
    return 0;
}

int table_insert(struct table *table, struct table_node *node)
{
    struct table_array *a = atomic_load_explicit(&table->array, memory_order_relaxed);

    /* At least a third of the places stays free, or a search would not end. */
    if (a == NULL || 3 * (table->used + 1) > 2 * (a->mask + 1)) {
        int err = rebuild(table);

        if (err < 0) {
            return err;
        }
        a = atomic_load_explicit(&table->array, memory_order_relaxed);
    }
    atomic_store_explicit(place_of(a, table->seed, node->key, NULL), node, memory_order_release);
    table->count++;
    table->used++;
    return 0;
}

void table_replace(struct table *table, const struct table_node *old, struct table_node *node)
{
    struct table_array *a = atomic_load_explicit(&table->array, memory_order_relaxed);

    atomic_store_explicit(place_of(a, table->seed, old->key, old), node, memory_order_release);
}

void table_remove(struct table *table, const struct table_node *node)
{
    struct table_array *a = atomic_load_explicit(&table->array, memory_order_relaxed);

    atomic_store_explicit(place_of(a, table->seed, node->key, node), removed(),
                          memory_order_release);
    table->count--;
}

struct table_node *table_each(const struct table *table, size_t *at)
{
    const struct table_array *a = atomic_load_explicit(&table->array, memory_order_relaxed);

    while (a != NULL && *at <= a->mask) {
        struct table_node *node = atomic_load_explicit(&a->places[(*at)++], memory_order_relaxed);

        if (node != NULL && node != removed()) {
            return node;
        }
    }
    return NULL;
}
