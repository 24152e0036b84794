/* Warnings about a network in the JSON API: /unstable/controller/network/<id>/warnings. */
#include "base/hex.h"
#include "controller/api_priv.h"
#include "controller/warn.h"

enum { WARNINGS_SHOWN = 1000 };

static void add(void *ctx, const char *kind, uint64_t member, const char *text)
{
    json_t *data = ctx;
    char address[11];
    hex_from_u64(member, 10, address);
    if (json_array_size(data) < WARNINGS_SHOWN) {
        json_array_append_new(data, json_pack("{ssssss?}", "kind", kind, "text", text, "member",
                                              member != 0 ? address : NULL));
    }
}

void api_warnings(struct call *call, const struct cnetwork *net)
{
    json_t *data = json_array();
    warn_network(net, add, data);
    api_answer(call, 200, json_pack("{so}", "data", data));
}
