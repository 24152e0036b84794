/* Hash map of intrusive nodes: see hmap.h. Emptying one node by node stays linear because the first
 * bucket in use is remembered. */
#include "base/hmap.h"

#include <errno.h>
#include <stdlib.h>

enum { HMAP_FIRST_BUCKETS = 8 };

uint64_t hash_mix(uint64_t key, uint64_t seed)
{
    /* Two rounds of the finaliser known from splitmix64, the seed entering both. */
    uint64_t x = key ^ seed;

    x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9u;
    x = (x ^ x >> 27) * 0x94d049bb133111ebu;
    x ^= x >> 31 ^ (seed << 32 | seed >> 32);
    x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9u;
    x = (x ^ x >> 27) * 0x94d049bb133111ebu;
    return x ^ x >> 31;
}

static struct hmap_node **bucket_of(const struct hmap *map, uint64_t key)
{
    return &map->buckets[hash_mix(key, map->seed) & map->mask];
}

/* Move `first` up to a bucket that is in use, or to mask. */
static void skip_empty(struct hmap *map)
{
    while (map->first < map->mask && map->buckets[map->first] == NULL) {
        map->first++;
    }
}

void hmap_init(struct hmap *map, uint64_t seed)
{
    *map = (struct hmap){.seed = seed};
}

void hmap_expect(struct hmap *map, size_t nodes)
{
    map->least = HMAP_FIRST_BUCKETS;
    while (map->least < nodes) {
        map->least *= 2;
    }
}

void hmap_done(struct hmap *map)
{
    free(map->buckets);
    *map = (struct hmap){.seed = map->seed, .least = map->least};
}

static int hmap_resize(struct hmap *map, size_t buckets)
{
    struct hmap old = *map;

    map->buckets = calloc(buckets, sizeof(struct hmap_node *));
    if (map->buckets == NULL) {
        *map = old;
        return -ENOMEM;
    }
    map->mask = buckets - 1;
    for (size_t i = 0; old.buckets != NULL && i <= old.mask; i++) {
        struct hmap_node *next;

        for (struct hmap_node *n = old.buckets[i]; n != NULL; n = next) {
            struct hmap_node **b = bucket_of(map, n->key);

            next = n->next;
            n->next = *b;
            *b = n;
        }
    }
    map->first = 0;
    skip_empty(map);
    free(old.buckets);
    return 0;
}

int hmap_insert(struct hmap *map, struct hmap_node *node, uint64_t key)
{
    struct hmap_node **b;

    if (map->buckets == NULL) {
        if (hmap_resize(map, map->least > 0 ? map->least : HMAP_FIRST_BUCKETS) < 0) {
            return -ENOMEM;
        }
    } else if (map->count > map->mask) {
        (void)!hmap_resize(map, 2 * (map->mask + 1)); /* longer chains are the fallback */
    }
    b = bucket_of(map, key);
    if ((size_t)(b - map->buckets) < map->first) {
        map->first = (size_t)(b - map->buckets);
    }
    node->key = key;
    node->next = *b;
    *b = node;
    map->count++;
    return 0;
}

void hmap_remove(struct hmap *map, struct hmap_node *node)
{
    struct hmap_node **at = bucket_of(map, node->key);

    while (*at != NULL && *at != node) {
        at = &(*at)->next;
    }
    if (*at == NULL) {
        return;
    }
    *at = node->next;
    node->next = NULL;
    map->count--;
    if (map->mask + 1 > HMAP_FIRST_BUCKETS && map->mask + 1 > map->least &&
        map->count < (map->mask + 1) / 8) {
        (void)!hmap_resize(map, (map->mask + 1) / 2); /* keeping the larger array is the fallback */
    }
    skip_empty(map);
}

static struct hmap_node *find_in_chain(struct hmap_node *n, uint64_t key)
{
    while (n != NULL && n->key != key) {
        n = n->next;
    }
    return n;
}

struct hmap_node *hmap_find(const struct hmap *map, uint64_t key)
{
    return map->buckets != NULL ? find_in_chain(*bucket_of(map, key), key) : NULL;
}

struct hmap_node *hmap_next_same(const struct hmap_node *node)
{
    return find_in_chain(node->next, node->key);
}

struct hmap_node *hmap_each(const struct hmap *map, struct hmap_node *after)
{
    size_t i = map->first;

    if (map->buckets == NULL) {
        return NULL;
    }
    if (after != NULL) {
        if (after->next != NULL) {
            return after->next;
        }
        i = (size_t)(bucket_of(map, after->key) - map->buckets) + 1;
    }
    for (; i <= map->mask; i++) {
        if (map->buckets[i] != NULL) {
            return map->buckets[i];
        }
    }
    return NULL;
}

struct hmap_node *hmap_sample(const struct hmap *map, uint64_t random)
{
    for (size_t i = random & map->mask; map->buckets != NULL && i <= map->mask; i++) {
        if (map->buckets[i] != NULL) {
            return map->buckets[i];
        }
    }
    return NULL;
}

struct hmap_node *hmap_drain(struct hmap *map)
{
    struct hmap_node *n = hmap_each(map, NULL);

    if (n != NULL) {
        hmap_remove(map, n);
    }
    return n;
}
