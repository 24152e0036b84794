/* Memory of one compilation, given back at once. Running out is remembered. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

struct arena_block;

struct arena {
    struct arena_block *blocks; /* newest first */
    size_t used;                /* of the newest */
    bool is_out;                /* an allocation failed */
};

/* len zeroed bytes, aligned for any object; NULL out of memory. */
void *arena_alloc(struct arena *a, size_t len);

/* Room for one more in an array of count items of size bytes; *room is what it has now. Returns the
 * array, moved if need be; NULL out of memory (the old one stays). */
void *arena_grow(struct arena *a, void *items, size_t count, size_t *room, size_t size);

/* Give everything back. */
void arena_done(struct arena *a);
