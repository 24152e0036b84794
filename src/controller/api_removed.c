/* Removed members in the JSON API: /unstable/controller/network/<id>/removed[/<address>]. */
#include "base/hex.h"
#include "controller/api_priv.h"
#include "controller/removed.h"

static json_t *removed_json(const struct cnetwork *net, const struct removed *r)
{
    char nwid[17];
    char address[11];
    hex_from_u64(net->nwid, 16, nwid);
    hex_from_u64(r->node.key, 10, address);
    return json_pack("{sssssIsI}", "id", address, "nwid", nwid, "removedTime",
                     (json_int_t)r->removed_ms, "lastSeen", (json_int_t)r->asked_ms);
}

void api_removed_list(struct call *call, const struct cnetwork *net)
{
    json_t *data = json_array();
    struct list *it;
    struct list *tmp;
    LIST_EACH(&net->removed_order, it, tmp)
    {
        json_array_append_new(data, removed_json(net, CONTAINER_OF(it, struct removed, link)));
    }
    api_answer(call, 200, json_pack("{so}", "data", data));
}

void api_removed(struct call *call, struct cnetwork *net, uint64_t address)
{
    const struct removed *r = removed_find(net, address);
    if (r == NULL || !(call->read || call->remove)) {
        api_empty(call, 404);
        return;
    }
    if (call->read) {
        api_answer(call, 200, removed_json(net, r));
        return;
    }
    struct after after = {.nwid = net->nwid};
    struct store_tx *tx = store_tx_new();
    json_t *obj = removed_json(net, r);
    if (tx == NULL || store_tx_put(tx, STORE_MEMBER, net->nwid, address, NULL) != 0 ||
        api_note(call, tx, NOTE_MEMBER_FORGOTTEN, net->nwid, address, obj, NULL) != 0) {
        store_tx_free(tx);
        json_decref(obj);
        api_error(call, 500, "out of memory");
        return;
    }
    removed_lift(net, address);
    api_commit(call, tx, obj, &after);
}
