/* Packets of others, forwarded by a root without being opened or copied: runs that arrive together
 * leave together. Of the first packet of a pair the engine is told, which introduces the two.
 * Source: spec 02 sections 4.2 and 7.4, data path contract section 3 (RX 2). */
#include "datapath/dp_priv.h"

#include "base/cursor.h"
#include "base/hmap.h"

#include <string.h>

/* True if the two ends were introduced lately; remembers that they are now. */
static bool is_introduced(struct dp *dp, const uint8_t *pkt, int64_t now_ms)
{
    uint64_t a = packet_dest(pkt);
    uint64_t b = packet_source(pkt);
    uint64_t key = hash_mix(a ^ b, dp->pub->seed) ^ hash_mix(a + b, ~dp->pub->seed);
    struct dp_pair *pair = &dp->pairs[key % DP_PAIRS];

    if (pair->key == key && now_ms - pair->at_ms < DP_PAIR_MS) {
        return true;
    }
    *pair = (struct dp_pair){.key = key, .at_ms = now_ms};
    return false;
}

/* Append a datagram to the last run if it lies right behind it and goes the same way. */
static bool extend(struct dp *dp, const struct dp_path *to, const uint8_t *data, size_t len)
{
    struct dp_run *run;

    if (dp->relay_count == 0) {
        return false;
    }
    run = &dp->relay_runs[dp->relay_count - 1];
    if (run->data + run->len != data || run->len % run->size != 0 || len > run->size ||
        run->len + len > SEAL_RUN_BYTES || run->len / run->size >= SEAL_RUN_DATAGRAMS ||
        run->to.socket != to->socket || !inetaddr_equal(&run->to.remote, &to->remote)) {
        return false;
    }
    run->len += len;
    return true;
}

/* The packet itself does not wait: those behind it would overtake it. */
static void tell_pair(struct dp *dp, const struct dp_arrival *at, const uint8_t *pkt)
{
    uint8_t header[PACKET_MIN];

    memcpy(header, pkt, sizeof(header));
    dp->env.give(dp->env.ctx, &(struct dp_gift){.kind = DP_GIFT_PAIR,
                                                .socket = at->socket,
                                                .from = *at->from,
                                                .data = header,
                                                .len = sizeof(header)});
}

void dp_relay(struct dp *dp, const struct dp_arrival *at, uint8_t *data, size_t len,
              bool is_fragment)
{
    unsigned hops = is_fragment ? data[FRAGMENT_AT_HOPS] : packet_hops(data);
    const struct dp_route *route;

    route = atomic_load_explicit(&dp->pub->is_root, memory_order_relaxed)
                ? dp_route_find(dp->pub, packet_dest(data))
                : NULL;
    if (route == NULL || hops >= PACKET_HOPS_MAX) {
        dp_give(dp, DP_GIFT_DATAGRAM, at, data, len);
        return;
    }
    if (!is_fragment && !is_introduced(dp, data, at->now_ms)) {
        tell_pair(dp, at, data);
    }
    if (is_fragment) {
        fragment_add_hop(data);
    } else {
        packet_add_hop(data);
    }
    dp_count(dp, DP_RELAYED, 1);
    dp_count(dp, DP_TX_DATAGRAMS, 1);
    if (!extend(dp, &route->to, data, len)) {
        if (dp->relay_count == DP_RELAY_RUNS) {
            dp_relay_flush(dp);
        }
        dp->relay_runs[dp->relay_count++] =
            (struct dp_run){.data = data, .len = len, .size = len, .to = route->to};
    }
}

void dp_relay_flush(struct dp *dp)
{
    if (dp->relay_count > 0) {
        dp->env.send(dp->env.ctx, dp->relay_runs, dp->relay_count);
        dp->relay_count = 0;
    }
}
