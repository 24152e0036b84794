/* Hash tables with one writer and any number of readers that take no lock: open addressing, a word
 * for each place. A reader sees a node whole or not at all; it may go on using a node that was just
 * removed until its turn ends (datapath/limbo.h). Source: data path contract section 1 "Tables". */
#pragma once

#include "base/attr.h"
#include "datapath/limbo.h"

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

/* Member of what a table holds. */
struct table_node {
    uint64_t key; /* never changes while a reader may hold the node */
};

struct table_array;

struct table {
    _Atomic(struct table_array *) array; /* NULL while nothing was ever inserted */
    size_t count;                        /* nodes */
    size_t used;                         /* places taken: nodes, and marks where one was removed */
    uint64_t seed;
    struct limbo *limbo; /* for arrays that were outgrown */
};

/* Empty; allocates nothing. seed should be random. limbo: borrowed until table_done. */
void table_init(struct table *table, uint64_t seed, struct limbo *limbo);

/* Release the array at once: no reader is left. The nodes are the caller's. */
void table_done(struct table *table);

/* The node of a key, or NULL. Any thread. */
struct table_node *table_find(const struct table *table, uint64_t key);

/* Insert a node whose key is not in the table. Writer only. Returns 0; -ENOMEM. */
MUST_CHECK int table_insert(struct table *table, struct table_node *node);

/* Put a node in the place of another of the same key. Writer only. */
void table_replace(struct table *table, const struct table_node *old, struct table_node *node);

/* Take a node out; it is to be retired. Writer only. */
void table_remove(struct table *table, const struct table_node *node);

/* Walk all nodes: *at begins with 0. NULL at the end. Writer only; the node just returned may be
 * removed meanwhile. */
struct table_node *table_each(const struct table *table, size_t *at);
