/* Memory that workers may still be reading. What was published and is no more goes here; it is
 * released when the host says that no worker can hold it any longer. Of the control thread alone.
 * Source: data path contract section 1 "Reclaim". */
#pragma once

#include <stddef.h>
#include <stdint.h>

/* Member of every object that can be retired. */
struct retired {
    struct retired *next;
    uint64_t number;
    void (*release)(struct retired *r);
};

struct limbo {
    struct retired *first; /* oldest */
    struct retired *last;
    uint64_t number; /* of the newest that was retired */
    size_t count;
};

/* Empty; nothing was ever retired: number is 0. */
void limbo_init(struct limbo *limbo);

/* Take an object that nobody can find any more. release frees it (and wipes what is secret), later,
 * on the thread of limbo_reclaim. */
void limbo_retire(struct limbo *limbo, struct retired *r, void (*release)(struct retired *r));

/* No worker holds anything retired up to this number: release it, oldest first. */
void limbo_reclaim(struct limbo *limbo, uint64_t number);
