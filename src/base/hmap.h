/* Hash map from 64-bit keys to intrusive nodes, chained, growing and shrinking by itself.
 * Keys may repeat; hmap_find gives one, hmap_next_same the others. The seed (random) keeps
 * strangers from choosing keys that collide. Not thread safe. */
#pragma once

#include "base/attr.h"

#include <stddef.h>
#include <stdint.h>

struct hmap_node {
    struct hmap_node *next; /* chain */
    uint64_t key;
};

struct hmap {
    struct hmap_node **buckets;
    size_t mask;  /* bucket count - 1; buckets is NULL while empty */
    size_t count; /* nodes */
    size_t first; /* no bucket below this one is in use */
    size_t least; /* buckets it never has fewer of, once it has any; 0: no such bound */
    uint64_t seed;
};

/* Empty map; seed should be random. Allocates nothing. */
void hmap_init(struct hmap *map, uint64_t seed);

/* Expect up to so many nodes, again and again: up to there it neither grows nor shrinks after the
 * first insertion. Before that, or after hmap_done. */
void hmap_expect(struct hmap *map, size_t nodes);

/* Release the bucket array. The nodes belong to the caller. */
void hmap_done(struct hmap *map);

/* Insert node under key. Returns 0; -ENOMEM (the map is unchanged). */
MUST_CHECK int hmap_insert(struct hmap *map, struct hmap_node *node, uint64_t key);

/* Remove a node that is in the map. */
void hmap_remove(struct hmap *map, struct hmap_node *node);

/* A node with this key, borrowed, or NULL. */
struct hmap_node *hmap_find(const struct hmap *map, uint64_t key);

/* The next node with the same key as node, or NULL. */
struct hmap_node *hmap_next_same(const struct hmap_node *node);

/* Walk all nodes in unspecified order: first with NULL. The node just returned may be removed
 * only if the walk is started anew; use hmap_drain to empty a map. Returns NULL at the end. */
struct hmap_node *hmap_each(const struct hmap *map, struct hmap_node *after);

/* A place somewhere in the walk of hmap_each, chosen by a random number: the node there, or NULL
 * when that is the end. A walk from it sees a random part of the map. */
struct hmap_node *hmap_sample(const struct hmap *map, uint64_t random);

/* Take any node out of the map, or NULL when empty: for emptying. */
struct hmap_node *hmap_drain(struct hmap *map);

/* A good 64-bit mix of a key with a seed, for callers that need a hash of their own. */
uint64_t hash_mix(uint64_t key, uint64_t seed);
