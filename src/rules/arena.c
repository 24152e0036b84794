/* Memory of one compilation. Blocks in a list, the newest is filled from its start. */
#include "rules/arena.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

enum { BLOCK_LEN = 64 * 1024, ALIGN = 16 };

struct arena_block {
    struct arena_block *next;
    size_t len; /* bytes of data */
    _Alignas(ALIGN) uint8_t data[];
};

void *arena_alloc(struct arena *a, size_t len)
{
    size_t need = (len + ALIGN - 1) / ALIGN * ALIGN;
    if (a->blocks == NULL || a->blocks->len - a->used < need) {
        size_t size = need > BLOCK_LEN ? need : BLOCK_LEN;
        struct arena_block *block = calloc(1, sizeof(*block) + size);
        if (block == NULL) {
            a->is_out = true;
            return NULL;
        }
        block->len = size;
        block->next = a->blocks;
        a->blocks = block;
        a->used = 0;
    }
    void *p = a->blocks->data + a->used;
    a->used += need;
    return p;
}

void *arena_grow(struct arena *a, void *items, size_t count, size_t *room, size_t size)
{
    if (count < *room) {
        return items;
    }
    size_t more = *room == 0 ? 8 : *room * 2;
    void *moved = arena_alloc(a, more * size);
    if (moved == NULL) {
        return NULL;
    }
    if (count > 0) {
        memcpy(moved, items, count * size);
    }
    *room = more;
    return moved;
}

void arena_done(struct arena *a)
{
    while (a->blocks != NULL) {
        struct arena_block *next = a->blocks->next;
        free(a->blocks);
        a->blocks = next;
    }
    a->used = 0;
}
