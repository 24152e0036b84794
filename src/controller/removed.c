/* Memory of removed members. Source: spec 04 section 12 item 35. */
#include "controller/removed.h"

#include "controller/coerce.h"
#include "controller/store.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#define KEY_REMOVED "removedTime" /* the only key of such a document */

void removed_init(struct cnetwork *net, uint64_t seed)
{
    hmap_init(&net->removed, seed);
    list_init(&net->removed_order);
}

static void forget(struct cnetwork *net, struct removed *r)
{
    list_remove(&r->link);
    hmap_remove(&net->removed, &r->node);
    free(r);
}

void removed_done(struct cnetwork *net)
{
    struct list *link;
    while ((link = list_first(&net->removed_order)) != NULL) {
        forget(net, CONTAINER_OF(link, struct removed, link));
    }
    hmap_done(&net->removed);
}

struct removed *removed_find(const struct cnetwork *net, uint64_t address)
{
    struct hmap_node *it = hmap_find(&net->removed, address);
    return it != NULL ? CONTAINER_OF(it, struct removed, node) : NULL;
}

static int keep(struct cnetwork *net, uint64_t address, int64_t removed_ms)
{
    removed_lift(net, address);
    struct removed *r = calloc(1, sizeof(*r));
    if (r == NULL) {
        return -ENOMEM;
    }
    r->removed_ms = removed_ms;
    if (hmap_insert(&net->removed, &r->node, address) != 0) {
        free(r);
        return -ENOMEM;
    }
    list_push(&net->removed_order, &r->link);
    return 0;
}

int removed_add(struct cnetwork *net, uint64_t address, int64_t wall_ms, struct store_tx *tx)
{
    char *text = malloc(48);
    if (text == NULL) {
        return -ENOMEM;
    }
    (void)snprintf(text, 48, "{\"" KEY_REMOVED "\":%lld}", (long long)wall_ms);
    int error = store_tx_put(tx, STORE_MEMBER, net->nwid, address, text);
    if (error == 0 && net->removed.count >= REMOVED_MAX) {
        struct removed *old = CONTAINER_OF(list_first(&net->removed_order), struct removed, link);
        error = store_tx_put(tx, STORE_MEMBER, net->nwid, old->node.key, NULL);
        if (error == 0) {
            forget(net, old);
        }
    }
    return error == 0 ? keep(net, address, wall_ms) : error;
}

bool removed_load(struct cnetwork *net, uint64_t address, const json_t *doc, int *ret_error)
{
    const json_t *at = json_object_get(doc, KEY_REMOVED);
    if (at == NULL) {
        return false;
    }
    *ret_error = keep(net, address, (int64_t)coerce_u64(at, 0));
    return true;
}

void removed_lift(struct cnetwork *net, uint64_t address)
{
    struct removed *r = removed_find(net, address);
    if (r != NULL) {
        forget(net, r);
    }
}

bool removed_refuses(const struct cnetwork *net, uint64_t address, int64_t wall_ms)
{
    struct removed *r = removed_find(net, address);
    if (r == NULL || !net->plan.is_private) {
        return false;
    }
    r->asked_ms = wall_ms;
    return true;
}
