/* Retired objects in the order of their retirement. Source: data path contract section 1. */
#include "datapath/limbo.h"

void limbo_init(struct limbo *limbo)
{
    *limbo = (struct limbo){0};
}

void limbo_retire(struct limbo *limbo, struct retired *r, void (*release)(struct retired *r))
{
    *r = (struct retired){.number = ++limbo->number, .release = release};
    if (limbo->last != NULL) {
        limbo->last->next = r;
    } else {
        limbo->first = r;
    }
    limbo->last = r;
    limbo->count++;
}

void limbo_reclaim(struct limbo *limbo, uint64_t number)
{
    while (limbo->first != NULL && limbo->first->number <= number) {
        struct retired *r = limbo->first;

        limbo->first = r->next;
        if (limbo->first == NULL) {
            limbo->last = NULL;
        }
        limbo->count--;
        r->release(r);
    }
}
