/* The first contents of a schema: what another store has, taken over in the transaction that makes
 * the tables, so that it is there whole or not at all. */
#include "controller/pg_store.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Documents read so far, in order. */
struct reading {
    struct store_change *first;
    struct store_change **last;
    bool no_memory;
};

static void take_document(void *ctx, enum store_kind kind, uint64_t nwid, uint64_t node,
                          const char *text)
{
    struct reading *r = ctx;
    struct store_change *change = calloc(1, sizeof(*change));
    char *copy = strdup(text);
    if (change == NULL || copy == NULL) {
        free(change);
        free(copy);
        r->no_memory = true;
        return;
    }
    *change = (struct store_change){.kind = kind, .nwid = nwid, .node = node, .text = copy};
    *r->last = change;
    r->last = &change->next;
}

void pg_seed_free(struct store_change *changes)
{
    while (changes != NULL) {
        struct store_change *next = changes->next;
        free(changes->text);
        free(changes);
        changes = next;
    }
}

int pg_seed_read(struct pg_store *s, struct store_change **ret, char *why, size_t cap)
{
    struct reading r = {.first = NULL};
    r.last = &r.first;
    *ret = NULL;
    if (s->seed == NULL) {
        return 0;
    }
    int error = s->seed->open(s->seed, take_document, &r, why, cap);
    if (error == 0 && r.no_memory) {
        (void)snprintf(why, cap, "out of memory while reading the store to take over");
        error = -ENOMEM;
    }
    if (error != 0) {
        pg_seed_free(r.first);
        return error;
    }
    *ret = r.first;
    return 0;
}

void pg_seed_close(struct pg_store *s)
{
    if (s->seed != NULL) {
        s->seed->destroy(s->seed);
        s->seed = NULL;
    }
}
