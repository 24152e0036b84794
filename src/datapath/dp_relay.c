/* Packets of others, forwarded by a root without being opened. What one batch brought is sorted by
 * where it goes and leaves in runs: as it lies, if it came merged, else moved together, for a copy
 * costs far less than another way through the system. One address gets so much forwarded and no
 * more, and the engine is given so much. Of the first packet of a pair it is told, and introduces
 * the two.
 * Source: spec 02 sections 4.2 and 7.4, 09 section 6.9, data path contract section 3 (RX 2, 3). */
#include "datapath/dp_priv.h"

#include "base/bucket.h"
#include "base/cursor.h"
#include "base/hmap.h"

#include <string.h>

#define NO_DATAGRAM UINT32_MAX

enum {
    RUNS_MAX = 128,       /* sent by one call */
    MOVE_MAX = 16 * 1024, /* a run so long is not moved to go on with it */
    GIFTS_RATE = 20000,   /* datagrams of a worker given to the engine, in a second */
    PAIRS_RATE = 1000,    /* pairs it is told of */
    TOTAL_BURST_MS = 200,
    SOURCE_RATE = 1000, /* both, for one address */
    SOURCE_BURST_MS = 1000,
    NS_PER_S = 1000000000,
};

/* ---- rates ---- */

/* The bucket of an address: its IP (of IPv6 the network), since ports cost nothing. Addresses may
 * share one; which do, nobody outside can know. */
static struct dp_bucket *bucket_of(struct dp *dp, const struct inetaddr *from)
{
    if (dp->memo.payer != from) {
        uint64_t key;
        uint64_t rest;

        memcpy(&key, from->ip, sizeof(key)); /* unused bytes are 0 */
        memcpy(&rest, from->ip + sizeof(key), sizeof(rest));
        dp->memo.payer = from;
        dp->memo.sender = hash_mix(key ^ (uint64_t)from->port << 40 ^ from->family,
                                   dp->pub->seed ^ rest * UINT64_C(0x9e3779b97f4a7c15));
        dp->memo.bucket = &dp->buckets[hash_mix(key ^ from->family, ~dp->pub->seed) % DP_BUCKETS];
    }
    return dp->memo.bucket;
}

/* True if something may be given to the engine for what came from an address; total_ns: bucket of
 * all addresses, with this rate. */
static bool may_give(struct dp *dp, const struct dp_arrival *at, int64_t *total_ns, int rate)
{
    return bucket_pay(&bucket_of(dp, at->from)->gifts_ns, NS_PER_S / SOURCE_RATE, SOURCE_BURST_MS,
                      at->now_ms) &&
           bucket_pay(total_ns, NS_PER_S / rate, TOTAL_BURST_MS, at->now_ms);
}

/* Give a datagram that only the engine can tell what to do with. */
static void give(struct dp *dp, const struct dp_arrival *at, uint8_t *data, size_t len)
{
    if (may_give(dp, at, &dp->gifts_ns, GIFTS_RATE)) {
        dp_give(dp, DP_GIFT_DATAGRAM, at, data, len);
    } else {
        dp_count(dp, DP_DROP_NO_ROUTE, 1);
    }
}

void dp_give_sealed(struct dp *dp, const struct dp_arrival *at, uint8_t *pkt, size_t len)
{
    const struct dp_route *route = dp_route_find(dp->pub, packet_source(pkt));
    bool is_known = dp_route_is_from(route, at->socket, at->from) &&
                    bucket_pay(&bucket_of(dp, at->from)->gifts_ns, NS_PER_S / SOURCE_RATE,
                               SOURCE_BURST_MS, at->now_ms);

    dp_count(dp, DP_GIVEN, 1);
    dp->env.give(dp->env.ctx, &(struct dp_gift){.kind = DP_GIFT_SEALED,
                                                .socket = at->socket,
                                                .from = *at->from,
                                                .is_known = is_known,
                                                .data = pkt,
                                                .len = len});
}

/* ---- introductions ---- */

/* True if a packet to be forwarded may be from whom it says: it came from where that node is known
 * to be, or through another node, which the engine judges. */
static bool is_plausible(const struct dp *dp, const struct dp_arrival *at, const uint8_t *pkt)
{
    return packet_hops(pkt) > 0 ||
           dp_route_is_from(dp_route_find(dp->pub, packet_source(pkt)), at->socket, at->from);
}

/* If the two ends were not introduced lately, or not since the destination moved, tell the engine,
 * now or with a later packet. The packet itself does not wait: those behind it would overtake it.
 */
static void tell_pair(struct dp *dp, const struct dp_arrival *at, const uint8_t *pkt,
                      int64_t since_ms)
{
    uint64_t a = packet_dest(pkt);
    uint64_t b = packet_source(pkt);
    uint64_t key = hash_mix(a ^ b, dp->pub->seed) ^ hash_mix(a + b, ~dp->pub->seed);
    struct dp_pair *pair = &dp->pairs[key % DP_PAIRS];
    uint8_t header[PACKET_MIN];

    if ((pair->key == key && at->now_ms - pair->at_ms < DP_PAIR_MS && pair->at_ms >= since_ms) ||
        !is_plausible(dp, at, pkt) || !may_give(dp, at, &dp->pairs_ns, PAIRS_RATE)) {
        return;
    }
    *pair = (struct dp_pair){.key = key, .at_ms = at->now_ms};
    memcpy(header, pkt, sizeof(header));
    dp->env.give(dp->env.ctx, &(struct dp_gift){.kind = DP_GIFT_PAIR,
                                                .socket = at->socket,
                                                .from = *at->from,
                                                .data = header,
                                                .len = sizeof(header)});
}

/* ---- gathering ---- */

/* Where datagrams for a node go, with those that go there already; NULL: the engine knows. */
static struct dp_relay_group *group_of(struct dp *dp, uint64_t dest, int64_t now_ms)
{
    uint8_t *slot = &dp->relay_slots[(dest ^ dest >> 8 ^ dest >> 16) % DP_RELAY_SLOTS];
    struct dp_relay_group *group = &dp->relay_groups[*slot];
    struct dp_route *route;

    if (*slot < dp->relay_group_count && group->dest == dest) {
        return group;
    }
    route = dp_route_find(dp->pub, dest);
    if (route == NULL) {
        return NULL;
    }
    if (dp->relay_group_count == DP_RELAY_GROUPS) {
        dp_relay_flush(dp);
    }
    dp_time(&route->used_ms[dp->index], now_ms);
    dp_changed(dp, &route->object);
    *slot = (uint8_t)dp->relay_group_count++;
    group = &dp->relay_groups[*slot];
    *group = (struct dp_relay_group){.dest = dest,
                                     .to = route->to,
                                     .since_ms = route->since_ms,
                                     .first = NO_DATAGRAM,
                                     .last = NO_DATAGRAM};
    return group;
}

static void gather(struct dp *dp, struct dp_relay_group *group, uint8_t *data, size_t len)
{
    uint32_t i = dp->relay_count++;

    dp->relayed[i] = (struct dp_relayed){.data = data, .len = (uint32_t)len, .next = NO_DATAGRAM};
    if (group->first == NO_DATAGRAM) {
        group->first = i;
    } else {
        dp->relayed[group->last].next = i;
    }
    group->last = i;
}

/* True if the pair of a sender and a destination has a share left. */
static bool admit_pair(struct dp *dp, const struct dp_arrival *at, uint64_t dest, size_t len)
{
    (void)bucket_of(dp, at->from);
    return fair_admit(&dp->fair, hash_mix(dp->memo.sender ^ dest, dp->pub->seed), len, at->now_ms);
}

void dp_served(struct dp *dp, bool is_behind, int64_t now_ms)
{
    fair_set_limit(&dp->fair,
                   atomic_load_explicit(&dp->pub->relay_pair_rate, memory_order_relaxed));
    fair_note(&dp->fair, is_behind, now_ms);
}

/* A datagram with a way to go and hops left. */
static void forward(struct dp *dp, const struct dp_arrival *at, uint8_t *data, size_t len,
                    bool is_fragment)
{
    struct dp_relay_group *group = group_of(dp, packet_dest(data), at->now_ms);
    int64_t cost_ns = atomic_load_explicit(&dp->pub->relay_cost_ns, memory_order_relaxed);

    if (group == NULL) {
        give(dp, at, data, len);
        return;
    }
    if (inetaddr_equal(&group->to.remote, at->from)) { /* never back to where it came from */
        dp_count(dp, DP_DROP_NO_ROUTE, 1);
        return;
    }
    if (cost_ns > 0 &&
        !bucket_pay(&bucket_of(dp, at->from)->due_ns, cost_ns, DP_RELAY_BURST_MS, at->now_ms)) {
        dp_count(dp, DP_DROP_RELAY_RATE, 1);
        return;
    }
    if (!admit_pair(dp, at, packet_dest(data), len)) {
        dp_count(dp, DP_DROP_RELAY_PAIR, 1);
        return;
    }
    if (!is_fragment) {
        tell_pair(dp, at, data, group->since_ms);
    }
    if (is_fragment) {
        fragment_add_hop(data);
    } else {
        packet_add_hop(data);
    }
    dp_count(dp, DP_RELAYED, 1);
    dp_count(dp, DP_TX_DATAGRAMS, 1);
    gather(dp, group, data, len);
    if (dp->relay_count == DP_RELAY_MAX) {
        dp_relay_flush(dp);
    }
}

void dp_relay(struct dp *dp, const struct dp_arrival *at, uint8_t *data, size_t len,
              bool is_fragment)
{
    unsigned hops = is_fragment ? data[FRAGMENT_AT_HOPS] : packet_hops(data);

    if (!atomic_load_explicit(&dp->pub->is_root, memory_order_relaxed)) {
        give(dp, at, data, len);
    } else if (hops >= PACKET_HOPS_MAX) {
        dp_count(dp, DP_DROP_HOPS, 1);
    } else {
        forward(dp, at, data, len, is_fragment);
    }
}

/* ---- sending ---- */

/* Runs being laid out; what is moved together goes into the slab, whose own runs were sent. */
struct layout {
    struct dp *dp;
    size_t used; /* bytes of the slab */
    size_t count;
    unsigned datagrams; /* of the last run */
    bool is_moved;      /* it lies at the end of what is used */
    struct dp_run runs[RUNS_MAX];
};

static void send_layout(struct layout *l)
{
    if (l->count > 0) {
        l->dp->env.send(l->dp->env.ctx, l->runs, l->count);
    }
    l->used = l->count = 0;
}

/* Move bytes to the end of the slab; there is room. */
static const uint8_t *move(struct layout *l, const uint8_t *data, size_t len)
{
    uint8_t *to = l->dp->slab_memory + l->used;

    memcpy(to, data, len);
    l->used += len;
    return to;
}

/* Append a datagram to the last run if it fits there. */
static bool extend(struct layout *l, const struct dp_relayed *d)
{
    struct dp_run *run = &l->runs[l->count - 1];

    if (run->len < l->datagrams * run->size || d->len > run->size ||
        run->len + d->len > SEAL_RUN_BYTES || l->datagrams == SEAL_RUN_DATAGRAMS) {
        return false;
    }
    if (!l->is_moved && run->data + run->len != d->data) {
        if (run->len > MOVE_MAX || SEAL_SLAB_LEN - l->used < run->len + d->len) {
            return false;
        }
        run->data = move(l, run->data, run->len);
        l->is_moved = true;
    }
    if (l->is_moved) {
        if (SEAL_SLAB_LEN - l->used < d->len) {
            return false;
        }
        (void)move(l, d->data, d->len);
    }
    run->len += d->len;
    l->datagrams++;
    return true;
}

static void lay_out(struct layout *l, const struct dp_relay_group *group)
{
    const struct dp_relayed *d;
    bool is_first = true;

    for (uint32_t i = group->first; i != NO_DATAGRAM; i = d->next, is_first = false) {
        d = &l->dp->relayed[i];
        if (!is_first && extend(l, d)) {
            continue;
        }
        if (l->count == RUNS_MAX || SEAL_SLAB_LEN - l->used < SEAL_RUN_BYTES) {
            send_layout(l);
        }
        l->is_moved = false;
        l->datagrams = 1;
        l->runs[l->count++] =
            (struct dp_run){.data = d->data, .len = d->len, .size = d->len, .to = group->to};
    }
}

void dp_relay_flush(struct dp *dp)
{
    struct layout l;

    if (dp->relay_group_count == 0) {
        return;
    }
    dp_send_slab(dp); /* own traffic comes first */
    l.dp = dp;
    l.used = l.count = 0;
    for (size_t i = 0; i < dp->relay_group_count; i++) {
        lay_out(&l, &dp->relay_groups[i]);
    }
    send_layout(&l);
    dp->relay_count = 0;
    dp->relay_group_count = 0;
}
