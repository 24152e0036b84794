/* Sending to multicast groups: one copy per member, or one to a replicator. Members that are found,
 * or prove to belong to the network, within 5 s still get the frame.
 * Source: spec 03 sections 11.4 and 16.6 with Do better 14, 25. */
#include "vl2/vl2_priv.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum {
    PENDING_MS = 5000,
    PENDING_GROUP_MAX = 32,
    PENDING_MAX = 1024,
    PENDING_BYTES_MAX = 4194304,
    GATHER_MS = 60000,     /* explicit gathers of a group that has members */
    GATHER_EMPTY_MS = 100, /* of one that has none: every frame, but not every frame of a burst */
    GATHER_LOW_BANDWIDTH = 3,
    REPLICATOR_ALIVE_MS = 500000,
};

/* What is sent, and to whom it went. */
struct delivery {
    struct network *net;
    struct filter_frame frame; /* as the filter sees it */
    uint64_t origin;
    uint32_t limit;
    uint64_t *sent; /* who got it */
    uint32_t sent_count;
    uint32_t sent_cap;
    uint32_t waiting; /* members without valid credentials */
    struct out_packet out;
};

static unsigned send_flags(const struct network *net)
{
    return (net->conf.flags & NETCONF_FLAG_NO_COMPRESSION) != 0 ? 0 : OUT_COMPRESS;
}

/* Begin a delivery: everything but the `sent` list. source_mac 0: ours, not in the packet. */
static void delivery_begin(struct delivery *d, struct network *net,
                           const struct multicast_group *id, uint64_t source_mac,
                           uint16_t ethertype, const uint8_t *payload, size_t len,
                           uint32_t gather_limit)
{
    const struct multicast_frame mf = {
        .network_id = net->id,
        .source_mac = source_mac,
        .group = *id,
        .payload = payload,
        .len = len,
        .gather_limit = gather_limit,
        .ethertype = ethertype,
        .flags = MULTICAST_GATHER_LIMIT | (source_mac != 0 ? MULTICAST_SOURCE_MAC : 0),
    };

    d->net = net;
    d->frame = (struct filter_frame){
        .source_mac = source_mac != 0 ? source_mac : net->mac,
        .dest_mac = id->mac,
        .payload = payload,
        .len = len,
        .ethertype = ethertype,
    };
    out_begin(net->vl2->vl1, &d->out, net->vl2->self, VERB_MULTICAST_FRAME);
    multicast_frame_write(&d->out.w, &mf);
}

static bool has_got(const struct delivery *d, uint64_t address)
{
    for (size_t i = 0; i < d->sent_count; i++) {
        if (d->sent[i] == address) {
            return true;
        }
    }
    return false;
}

static bool note_sent(struct delivery *d, uint64_t address)
{
    if (d->sent_count == d->sent_cap) {
        uint32_t cap = d->sent_cap > 0 ? 2 * d->sent_cap : 8;
        uint64_t *sent = realloc(d->sent, cap * sizeof(*sent));

        if (sent == NULL) {
            vl2_count(d->net->vl2, COUNT_NO_MEMORY);
            return false;
        }
        d->sent = sent;
        d->sent_cap = cap;
    }
    d->sent[d->sent_count++] = address;
    return true;
}

/* One copy, or, to somebody not proved to be a member, the question for a proof. */
static void deliver_to(struct delivery *d, uint64_t address, int64_t now_ms)
{
    struct network *net = d->net;
    struct member *member = member_find(net, address);

    if (address == net->vl2->self || address == d->origin || d->sent_count >= d->limit ||
        has_got(d, address)) {
        return;
    }
    if (!member_allowed(net, member, NULL, now_ms)) {
        if (d->waiting < d->limit) {
            d->waiting++;
            member_solicit(net, address, now_ms);
        }
        return;
    }
    if (!note_sent(d, address)) {
        return;
    }
    if (switch_filter_out(net, &d->frame, address, member, true, now_ms)) {
        (void)push_if_due(net, member, address, now_ms);
        out_redirect(&d->out, address);
        vl2_send(net->vl2, &d->out, OUT_EXPECT | send_flags(net), now_ms);
    }
}

/* ---- replicators ---- */

/* The nearest replicator that is alive and directly reachable, 0 if there is none. */
static uint64_t best_replicator(struct network *net, int64_t now_ms)
{
    uint64_t best = 0;
    int best_latency = INT32_MAX;

    for (size_t i = 0; i < net->conf.specialist_count; i++) {
        uint64_t s = net->conf.specialists[i];
        uint64_t address = s & UINT64_C(0xffffffffff);
        struct peer *peer;
        int latency;

        if ((s & SPECIALIST_REPLICATOR) == 0) {
            continue;
        }
        peer = vl1_peer_find(net->vl2->vl1, address, now_ms);
        if (peer == NULL || peer_last_receive(peer) == NEVER ||
            now_ms - peer_last_receive(peer) > REPLICATOR_ALIVE_MS ||
            !peer_has_direct_path(peer, now_ms)) {
            continue;
        }
        latency = peer_latency(peer, now_ms);
        latency = latency >= 0 ? latency : INT32_MAX - 1;
        if (latency < best_latency) {
            best_latency = latency;
            best = address;
        }
    }
    return best;
}

static void send_to_replicator(struct network *net, uint64_t replicator,
                               const struct multicast_group *id, const struct filter_frame *frame,
                               int64_t now_ms)
{
    const struct multicast_frame mf = {
        .network_id = net->id,
        .source_mac = frame->source_mac,
        .group = *id,
        .payload = frame->payload,
        .len = frame->len,
        .ethertype = frame->ethertype,
        .flags = MULTICAST_SOURCE_MAC | MULTICAST_REPLICATE,
    };
    struct out_packet out;

    if (switch_filter_out(net, frame, replicator, member_find(net, replicator), true, now_ms)) {
        out_begin(net->vl2->vl1, &out, replicator, VERB_MULTICAST_FRAME);
        multicast_frame_write(&out.w, &mf);
        vl2_send(net->vl2, &out, send_flags(net), now_ms);
    }
}

/* ---- frames that wait ---- */

static void arm_pending(struct vl2 *vl2, int64_t now_ms)
{
    struct list *first = list_first(&vl2->multicast.pending);
    int64_t at;

    if (first == NULL) {
        timers_cancel(vl2->timers, &vl2->multicast.pending_timer);
        return;
    }
    at = CONTAINER_OF(first, struct pending_frame, in_all)->until_ms;
    if (timers_arm(vl2->timers, &vl2->multicast.pending_timer, at > now_ms ? at : now_ms + 1) !=
        0) {
        vl2_count(vl2, COUNT_NO_MEMORY);
    }
}

void multicast_pending_free(struct vl2 *vl2, struct pending_frame *frame)
{
    list_remove(&frame->in_group);
    list_remove(&frame->in_all);
    frame->group->pending_count--;
    vl2->multicast.pending_count--;
    vl2->multicast.pending_bytes -= frame->len;
    free(frame->sent);
    free(frame);
}

void multicast_pending_expire(struct timer *timer, int64_t now_ms)
{
    struct vl2 *vl2 = CONTAINER_OF(timer, struct vl2, multicast.pending_timer);
    struct list *first;

    while ((first = list_first(&vl2->multicast.pending)) != NULL) {
        struct pending_frame *p = CONTAINER_OF(first, struct pending_frame, in_all);

        if (p->until_ms > now_ms) {
            break;
        }
        multicast_pending_free(vl2, p);
    }
    arm_pending(vl2, now_ms);
}

static void make_room(struct vl2 *vl2, struct group *group, size_t len)
{
    struct multicast *mc = &vl2->multicast;

    while (group->pending_count >= PENDING_GROUP_MAX) {
        multicast_pending_free(
            vl2, CONTAINER_OF(list_first(&group->pending), struct pending_frame, in_group));
    }
    while (mc->pending_count > 0 &&
           (mc->pending_count >= PENDING_MAX || mc->pending_bytes + len > PENDING_BYTES_MAX)) {
        multicast_pending_free(
            vl2, CONTAINER_OF(list_first(&mc->pending), struct pending_frame, in_all));
    }
}

/* Keep a frame; d->sent is taken on success. */
static void keep(struct delivery *d, struct group *group, uint64_t source_mac,
                 uint32_t gather_limit, int64_t now_ms)
{
    struct vl2 *vl2 = d->net->vl2;
    size_t len = d->frame.len;
    struct pending_frame *p;

    make_room(vl2, group, len);
    p = calloc(1, sizeof(*p) + len);
    if (p == NULL) {
        vl2_count(vl2, COUNT_NO_MEMORY);
        return;
    }
    p->group = group;
    p->until_ms = now_ms + PENDING_MS;
    p->source_mac = source_mac;
    p->origin = d->origin;
    p->sent = d->sent;
    p->sent_count = d->sent_count;
    p->sent_cap = d->sent_cap;
    p->limit = d->limit;
    p->gather_limit = gather_limit;
    p->ethertype = d->frame.ethertype;
    p->len = len;
    memcpy(p->payload, d->frame.payload, len);
    d->sent = NULL;
    list_push(&group->pending, &p->in_group);
    list_push(&vl2->multicast.pending, &p->in_all);
    group->pending_count++;
    vl2->multicast.pending_count++;
    vl2->multicast.pending_bytes += len;
    arm_pending(vl2, now_ms);
}

/* Offer a frame that waits to one more node. */
static void offer(struct network *net, struct pending_frame *p, uint64_t address, int64_t now_ms)
{
    struct delivery d = {
        .origin = p->origin,
        .limit = p->limit,
        .sent = p->sent,
        .sent_count = p->sent_count,
        .sent_cap = p->sent_cap,
    };

    delivery_begin(&d, net, &p->group->id, p->source_mac, p->ethertype, p->payload, p->len,
                   p->gather_limit);
    deliver_to(&d, address, now_ms);
    p->sent = d.sent;
    p->sent_count = d.sent_count;
    p->sent_cap = d.sent_cap;
    if (p->sent_count >= p->limit) {
        multicast_pending_free(net->vl2, p);
    }
}

void multicast_learned(struct vl2 *vl2, struct group *group, uint64_t address, int64_t now_ms)
{
    struct network *net = vl2_find(vl2, group->nwid);
    struct list *it;
    struct list *tmp;

    if (net == NULL || !net->has_conf) {
        return;
    }
    LIST_EACH(&group->pending, it, tmp)
    {
        offer(net, CONTAINER_OF(it, struct pending_frame, in_group), address, now_ms);
    }
    arm_pending(vl2, now_ms);
}

void multicast_allowed(struct network *net, uint64_t address, int64_t now_ms)
{
    struct vl2 *vl2 = net->vl2;
    bool is_bridge = network_is_bridge(net, address);
    struct list *it;
    struct list *tmp;

    LIST_EACH(&vl2->multicast.pending, it, tmp)
    {
        struct pending_frame *p = CONTAINER_OF(it, struct pending_frame, in_all);

        if (p->group->nwid == net->id && (is_bridge || group_has(p->group, address))) {
            offer(net, p, address, now_ms);
        }
    }
    arm_pending(vl2, now_ms);
}

/* ---- sending ---- */

static bool gather_is_due(const struct network *net, const struct group *group, int64_t now_ms)
{
    int64_t wait = group->count == 0 ? GATHER_EMPTY_MS : GATHER_MS;

    if (group->count > 0 && net->vl2->low_bandwidth) {
        wait *= GATHER_LOW_BANDWIDTH;
    }
    return group->gathered_ms == NEVER || now_ms - group->gathered_ms >= wait;
}

static void deliver_to_all(struct delivery *d, struct group *group, int64_t now_ms)
{
    const struct netconf *conf = &d->net->conf;
    struct shuffle order;

    for (size_t i = 0; i < conf->specialist_count; i++) {
        if ((conf->specialists[i] & SPECIALIST_BRIDGE) != 0) {
            deliver_to(d, conf->specialists[i] & UINT64_C(0xffffffffff), now_ms);
        }
    }
    order = shuffle_init(d->net->vl2, group->count);
    for (size_t i = 0; i < group->count; i++) {
        if (d->sent_count >= d->limit || d->waiting >= d->limit) {
            break;
        }
        deliver_to(d, group->records[shuffle_at(&order, i)].address, now_ms);
    }
}

void multicast_send(struct network *net, const struct multicast_group *id, uint64_t origin,
                    uint64_t source_mac, uint16_t ethertype, const uint8_t *payload, size_t len,
                    int64_t now_ms)
{
    uint32_t limit = net->conf.multicast_limit;
    struct delivery d = {.origin = origin, .limit = limit};
    struct group *group = group_get(net->vl2, net->id, id, now_ms);
    uint64_t replicator = 0;
    uint32_t gather_limit = 1;
    bool below;

    if (!net->is_bridge && !net->is_replicator) {
        replicator = best_replicator(net, now_ms);
    }
    if (replicator != 0) {
        const struct filter_frame frame = {
            .source_mac = source_mac != 0 ? source_mac : net->mac,
            .dest_mac = id->mac,
            .payload = payload,
            .len = len,
            .ethertype = ethertype,
        };

        send_to_replicator(net, replicator, id, &frame, now_ms);
        return;
    }
    if (group == NULL) {
        return;
    }
    group_trim(net->vl2, group, now_ms);
    below = group->count < limit;
    if (below) {
        gather_limit = limit - (uint32_t)group->count + 1;
        if (gather_is_due(net, group, now_ms)) {
            gather_ask(net, group, gather_limit, now_ms);
        }
    }
    delivery_begin(&d, net, id, source_mac, ethertype, payload, len, gather_limit);
    deliver_to_all(&d, group, now_ms);
    if (d.sent_count < limit && (below || d.waiting > 0)) {
        keep(&d, group, source_mac, gather_limit, now_ms);
    }
    free(d.sent);
}
