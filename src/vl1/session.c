/* What workers of the data path are told of peers: how to reach one with frames and how to open
 * what it sends (a session), where its packets go on (a route, at roots). Whatever may change one
 * of them makes its peer stale; at the end of the input everything stale is compared with what is
 * published. What workers note comes back here. Source: data path contract sections 1, 2 and 6,
 * spec 01 section 11, spec 02 sections 4.5 and 6.
 */
#include "vl1/vl1_priv.h"

#include <errno.h>
#include <sodium.h>
#include <stdlib.h>

/* ---- sessions ---- */

static struct dp_path way(const struct path *path)
{
    return (struct dp_path){.remote = path->remote, .socket = path->socket};
}

static bool same_way(const struct dp_path *a, const struct dp_path *b)
{
    return a->socket == b->socket && inetaddr_equal(&a->remote, &b->remote);
}

/* Write down what holds for a peer with keys and filter now. */
static void session_fill(struct peer *peer, struct dp_session *session, int64_t now_ms)
{
    struct vl1 *vl1 = peer->vl1;
    const struct path *best = path_best(peer, now_ms);
    struct route route;

    session->keys = &peer->live->keys;
    session->replay = peer->live->replay;
    session->suite = suite_for(vl1, peer);
    if (route_look(vl1, peer, now_ms, &route) &&
        (route.via != peer || route.path->trusted_id == 0)) {
        session->can_send = true;
        session->is_relayed = route.via != peer;
        session->mtu = route.path->mtu;
        session->mtu_fixed = route.path->mtu_fixed;
        session->out = way(route.path);
    }
    if (best != NULL) {
        session->paths[session->path_count++] = way(best);
    }
    for (size_t i = 0; i < peer->path_count && session->path_count < DP_PATHS; i++) {
        const struct path *path = &peer->paths[i];

        if (path != best && path_is_usable(path, now_ms)) {
            session->paths[session->path_count++] = way(path);
        }
    }
}

static bool same_session(const struct dp_session *a, const struct dp_session *b)
{
    bool same = a->keys == b->keys && a->replay == b->replay && a->suite == b->suite &&
                a->can_send == b->can_send && a->is_relayed == b->is_relayed && a->mtu == b->mtu &&
                a->mtu_fixed == b->mtu_fixed && same_way(&a->out, &b->out) &&
                a->path_count == b->path_count;

    for (unsigned i = 0; same && i < a->path_count; i++) {
        same = same_way(&a->paths[i], &b->paths[i]);
    }
    return same;
}

/* Make the published session of a peer what it should be. */
static void session_check(struct peer *peer, int64_t now_ms)
{
    struct published *pub = peer->vl1->pub;
    const struct dp_session *old = dp_session_find(pub, peer->identity.address);
    struct dp_session want = {0};
    struct dp_session *session;

    if (old == NULL && !peer->session_due) {
        return;
    }
    peer->session_due = false;
    if (peer_keys(peer) == NULL || peer_replay(peer, now_ms) == NULL) {
        return;
    }
    session_fill(peer, &want, now_ms);
    if (old != NULL && same_session(old, &want)) {
        return;
    }
    session = published_has_room(pub) ? dp_session_new(pub, peer->identity.address) : NULL;
    if (session == NULL) {
        dp_session_withdraw(pub, peer->identity.address); /* frames come to us meanwhile */
        return;
    }
    session_fill(peer, session, now_ms);
    dp_session_publish(session);
    peer->had_session = true;
}

/* ---- routes ---- */

/* Write down where a peer with this path in use is now. */
static void route_fill(const struct peer *peer, const struct path *best, struct dp_route *route,
                       int64_t now_ms)
{
    route->to = way(best);
    route->way_count = 0;
    for (size_t i = 0; i < peer->path_count && route->way_count < DP_WAYS; i++) {
        const struct path *path = &peer->paths[i];

        if (path != best && path_is_usable(path, now_ms)) {
            route->ways[route->way_count++] = way(path);
        }
    }
}

static bool same_route(const struct dp_route *a, const struct dp_route *b)
{
    bool same = same_way(&a->to, &b->to) && a->way_count == b->way_count;

    for (unsigned i = 0; same && i < a->way_count; i++) {
        same = same_way(&a->ways[i], &b->ways[i]);
    }
    return same;
}

static void route_check(struct peer *peer, int64_t now_ms)
{
    struct vl1 *vl1 = peer->vl1;
    const struct dp_route *old = dp_route_find(vl1->pub, peer->identity.address);
    const struct path *path = path_best(peer, now_ms);
    struct dp_route *route;
    struct dp_route want;

    if (path == NULL) {
        dp_route_withdraw(vl1->pub, peer->identity.address);
        return;
    }
    route_fill(peer, path, &want, now_ms);
    if (old != NULL && same_route(old, &want)) {
        return;
    }
    route = published_has_room(vl1->pub) ? dp_route_new(vl1->pub, peer->identity.address) : NULL;
    if (route == NULL) {
        dp_route_withdraw(vl1->pub, peer->identity.address);
        return;
    }
    route_fill(peer, path, route, now_ms);
    route->since_ms = old != NULL && same_way(&old->to, &route->to) ? old->since_ms : now_ms;
    dp_route_publish(route);
}

/* ---- what may have changed ---- */

/* Something of a peer changed that may be published. */
void peer_stale(struct peer *peer)
{
    struct vl1 *vl1 = peer->vl1;

    if (vl1->pub != NULL && !peer->stale && !peer->gone) {
        peer->stale = true;
        peer->next_stale = vl1->stale;
        vl1->stale = peer;
    }
}

/* Frames go to the peer, or came from it on a network we share. */
void peer_has_frames(struct peer *peer)
{
    peer->session_due = true;
    peer_stale(peer);
}

/* The peer goes: nothing is sent to it or taken from it any more. */
void peer_withdraw(struct peer *peer)
{
    struct published *pub = peer->vl1->pub;

    if (pub != NULL) {
        dp_session_withdraw(pub, peer->identity.address);
        dp_route_withdraw(pub, peer->identity.address);
    }
}

static void check_all_sessions(struct vl1 *vl1, int64_t now_ms)
{
    const struct table_node *node;
    size_t at = 0;

    while ((node = table_each(&vl1->pub->sessions, &at)) != NULL) {
        struct peer *peer = peer_in_memory(vl1, node->key);

        if (peer != NULL) {
            session_check(peer, now_ms);
        }
    }
}

/* The end of an input: publish what it changed. */
void published_settle(struct vl1 *vl1, int64_t now_ms)
{
    struct peer *peer;

    if (vl1->pub == NULL) {
        return;
    }
    while ((peer = vl1->stale) != NULL) {
        vl1->stale = peer->next_stale;
        peer->stale = false;
        if (!peer->gone) {
            vl1->relay_stale = vl1->relay_stale || peer->identity.address == vl1->relay;
            session_check(peer, now_ms);
            route_check(peer, now_ms);
        }
    }
    if (vl1->relay_stale) {
        vl1->relay_stale = false;
        check_all_sessions(vl1, now_ms);
    }
}

/* ---- what workers noted ---- */

/* Cells of a session, over all workers. Times: TIME_NEVER for never. */
struct noted {
    int64_t in_ms;
    int64_t trust_ms;
    int64_t relayed_ms;
    int64_t crossed_ms;
    int64_t out_ms;
    int64_t path_ms[DP_PATHS];
    uint64_t received; /* since the last time, like the next two */
    uint64_t sent;
    uint64_t errors;
    uint64_t relayed; /* of received */
    uint64_t large;   /* of sent */
};

static void newest(int64_t *time, const _Atomic int64_t *cell)
{
    int64_t at = atomic_load_explicit(cell, memory_order_relaxed);

    if (at != 0 && at > *time) {
        *time = at;
    }
}

/* How much a sum grew since it was asked for last. */
static uint64_t grown(uint64_t *folded, uint64_t sum)
{
    uint64_t more = sum - *folded;

    *folded = sum;
    return more;
}

static void note_cells(struct dp_session *session, struct noted *ret)
{
    uint64_t sums[5] = {0};

    *ret = (struct noted){.in_ms = TIME_NEVER,
                          .trust_ms = TIME_NEVER,
                          .relayed_ms = TIME_NEVER,
                          .crossed_ms = TIME_NEVER,
                          .out_ms = TIME_NEVER};
    for (unsigned i = 0; i < DP_PATHS; i++) {
        ret->path_ms[i] = TIME_NEVER;
    }
    for (unsigned w = 0; w < session->object.pub->workers; w++) {
        const struct session_cell *cell = &session->cells[w];

        newest(&ret->in_ms, &cell->in_ms);
        newest(&ret->trust_ms, &cell->trust_ms);
        newest(&ret->relayed_ms, &cell->relayed_ms);
        newest(&ret->crossed_ms, &cell->crossed_ms);
        newest(&ret->out_ms, &cell->out_ms);
        for (unsigned i = 0; i < DP_PATHS; i++) {
            newest(&ret->path_ms[i], &cell->path_ms[i]);
        }
        sums[0] += atomic_load_explicit(&cell->packets[0], memory_order_relaxed);
        sums[1] += atomic_load_explicit(&cell->packets[1], memory_order_relaxed);
        sums[2] += atomic_load_explicit(&cell->errors, memory_order_relaxed);
        sums[3] += atomic_load_explicit(&cell->relayed, memory_order_relaxed);
        sums[4] += atomic_load_explicit(&cell->large, memory_order_relaxed);
    }
    ret->received = grown(&session->folded[0], sums[0]);
    ret->sent = grown(&session->folded[1], sums[1]);
    ret->errors = grown(&session->folded[2], sums[2]);
    ret->relayed = grown(&session->folded[3], sums[3]);
    ret->large = grown(&session->folded[4], sums[4]);
}

/* The peer of a session, if it is still the same one. */
static struct peer *owner_of(const struct vl1 *vl1, const struct dp_session *session)
{
    struct peer *peer = peer_in_memory(vl1, session->object.node.key);

    return peer != NULL &&
                   sodium_memcmp(peer->secret, session->keys->secret, sizeof(peer->secret)) == 0
               ? peer
               : NULL;
}

/* Tell the peer our addresses, as if its newest packet had come to us. */
static void push_after(struct peer *peer, const struct dp_session *session,
                       const struct noted *noted, int64_t now_ms)
{
    struct vl1 *vl1 = peer->vl1;
    struct opened packet = {.at.now_ms = now_ms};
    int64_t newest_ms = noted->relayed_ms;
    struct dp_path from = {0};

    packet.in = (struct in_packet){.peer = peer,
                                   .identity = &peer->identity,
                                   .source = peer->identity.address,
                                   .verb = VERB_FRAME,
                                   .hops = 1};
    for (unsigned i = 0; i < session->path_count; i++) {
        if (noted->path_ms[i] >= newest_ms && noted->path_ms[i] != TIME_NEVER) {
            newest_ms = noted->path_ms[i];
            from = session->paths[i];
            packet.in.hops = 0;
        }
    }
    if (packet.in.hops != 0) {
        struct peer *relay = vl1->relay != 0 ? peer_in_memory(vl1, vl1->relay) : NULL;
        const struct path *path = relay != NULL ? path_best(relay, now_ms) : NULL;

        if (path == NULL) {
            return;
        }
        from = way(path);
    }
    packet.in.socket = packet.at.socket = from.socket;
    packet.in.from = packet.at.from = from.remote;
    push_maybe(peer, &packet);
}

/* What peer_received does for packets that came to us, all of which shared a network. */
static void fold_received(struct peer *peer, const struct dp_session *session,
                          const struct noted *noted, int64_t now_ms)
{
    struct vl1 *vl1 = peer->vl1;

    peer->packets[0] += noted->received;
    peer->relayed[0] += noted->relayed;
    if (peer->live != NULL) {
        peer_replay_count(peer, noted->received, now_ms);
        peer_live_used(peer);
    }
    for (unsigned i = 0; i < session->path_count; i++) {
        const struct dp_path *from = &session->paths[i];
        struct path *path = path_find(peer, from->socket, &from->remote);

        if (path != NULL && noted->path_ms[i] > path->last_in_ms) {
            relay_trust(vl1, &(struct arrival){.socket = from->socket,
                                               .from = from->remote,
                                               .now_ms = noted->path_ms[i]});
            path_heard(peer, path, false, noted->path_ms[i], now_ms);
        }
    }
    if (noted->relayed_ms > peer->last_receive_ms) {
        peer_came_by(peer, session->is_relayed && noted->crossed_ms == noted->relayed_ms, now_ms);
    }
    peer_seen(peer, noted->in_ms, noted->trust_ms, now_ms);
    if (peer->last_trust_ms != TIME_NEVER && now_ms - peer->last_trust_ms < TRUST_MS) {
        push_after(peer, session, noted, now_ms);
    }
    if (vl1->rx_count > 0) {
        rx_mark_due(vl1, peer->identity.address);
    }
}

/* What send_now does after sending. */
static void fold_sent(struct peer *peer, const struct dp_session *session,
                      const struct noted *noted, int64_t now_ms)
{
    struct vl1 *vl1 = peer->vl1;
    struct peer *via = peer;
    struct path *path;

    peer->packets[1] += noted->sent;
    if (session->is_relayed) {
        peer->relayed[1] += noted->sent;
        via = vl1->relay != 0 ? peer_in_memory(vl1, vl1->relay) : NULL;
    }
    path = via != NULL ? path_find(via, session->out.socket, &session->out.remote) : NULL;
    if (path != NULL) {
        path_carried(via, path, noted->out_ms, now_ms);
        mtu_sent(via, path, noted->large, now_ms);
    }
    route_used(peer, session->is_relayed, noted->out_ms, now_ms);
}

static void session_harvest(struct vl1 *vl1, struct dp_session *session, int64_t now_ms)
{
    struct peer *peer = owner_of(vl1, session);
    struct noted noted;

    if (peer == NULL) {
        return;
    }
    note_cells(session, &noted);
    peer->packet_errors += noted.errors;
    if (noted.received > 0) {
        fold_received(peer, session, &noted, now_ms);
    }
    if (noted.sent > 0) {
        fold_sent(peer, session, &noted, now_ms);
    }
    peer_stale(peer); /* silence alone may have made another path the better one */
}

/* What workers relayed since the last look was sent over a path that is watched: what forward does
 * after sending. */
static void route_harvest(struct vl1 *vl1, const struct dp_route *route, int64_t now_ms)
{
    struct peer *peer = peer_in_memory(vl1, route->object.node.key);
    struct path *path = peer != NULL ? path_find(peer, route->to.socket, &route->to.remote) : NULL;
    int64_t used_ms = TIME_NEVER;

    for (unsigned w = 0; w < vl1->pub->workers; w++) {
        newest(&used_ms, &route->used_ms[w]);
    }
    if (path != NULL) {
        path_carried(peer, path, used_ms, now_ms);
        peer_stale(peer); /* silence alone may have made another path the better one */
    }
}

static void visit(void *ctx, struct dp_object *object)
{
    struct vl1 *vl1 = ctx;

    if (object->kind == DP_SESSION) {
        session_harvest(vl1, CONTAINER_OF(object, struct dp_session, object), vl1->now_ms);
    } else if (object->kind == DP_ROUTE) {
        route_harvest(vl1, CONTAINER_OF(object, struct dp_route, object), vl1->now_ms);
    } else if (vl1->upper.harvest != NULL) {
        vl1->upper.harvest(vl1->upper.ctx, object, vl1->now_ms);
    }
}

/* Counters of workers that are ours. */
static void fold_counts(struct vl1 *vl1, const uint64_t counts[DP_COUNTS])
{
    static const struct {
        enum dp_count from;
        enum vl1_counter to;
    } map[] = {
        {DP_RX_DATAGRAMS, VL1_RX_DATAGRAMS},
        {DP_RX_PACKETS, VL1_RX_PACKETS},
        {DP_TX_DATAGRAMS, VL1_TX_DATAGRAMS},
        {DP_RELAYED, VL1_RELAYED},
        {DP_GIVEN, VL1_GIVEN},
        {DP_SLOW_JOIN, VL1_SLOW_JOIN},
        {DP_DROP_RUNT, VL1_DROP_RUNT},
        {DP_DROP_BEACON, VL1_DROP_BEACON},
        {DP_DROP_OWN_SOURCE, VL1_DROP_OWN_SOURCE},
        {DP_DROP_HOPS, VL1_DROP_HOPS},
        {DP_DROP_NO_ROUTE, VL1_DROP_NO_ROUTE},
        {DP_DROP_RELAY_RATE, VL1_DROP_RELAY_RATE},
        {DP_DROP_RELAY_PAIR, VL1_DROP_RELAY_PAIR},
        {DP_DROP_FRAGMENT, VL1_DROP_FRAGMENT},
        {DP_DROP_MAC, VL1_DROP_MAC},
        {DP_DROP_DUPLICATE, VL1_DROP_DUPLICATE},
    };

    for (size_t i = 0; i < COUNT_OF(map); i++) {
        vl1->counters[map[i].to] += counts[map[i].from];
    }
    if (counts[DP_DROP_OWN_SOURCE] > 0) {
        own_came_back(vl1, NULL);
    }
    vl1->tally[0].verbs[VERB_FRAME] += counts[DP_RX_FRAMES];
    vl1->tally[0].verbs[VERB_EXT_FRAME] += counts[DP_RX_EXT_FRAMES];
    vl1->tally[1].verbs[VERB_FRAME] += counts[DP_TX_FRAMES];
    vl1->tally[1].verbs[VERB_EXT_FRAME] += counts[DP_TX_EXT_FRAMES];
}

/* ---- life ---- */

int vl1_publish(struct vl1 *vl1, unsigned workers)
{
    bool is_first = vl1->pub == NULL;

    if (vl1->pub == NULL) {
        vl1->pub = published_new(vl1->identity.address, workers, &vl1->ids, vl1->seed, visit, vl1);
    }
    if (vl1->pub == NULL) {
        return -ENOMEM;
    }
    published_root(vl1);
    vl1_set_relay_rate(vl1, vl1->relay_rate);
    vl1_set_relay_pair_rate(vl1, vl1->relay_pair_rate);
    for (struct hmap_node *n = is_first ? hmap_each(&vl1->peers, NULL) : NULL; n != NULL;
         n = hmap_each(&vl1->peers, n)) {
        peer_stale(CONTAINER_OF(n, struct peer, by_address));
    }
    return 0;
}

struct published *vl1_published(const struct vl1 *vl1)
{
    return vl1->pub;
}

void vl1_set_relay_rate(struct vl1 *vl1, uint32_t rate)
{
    int64_t cost_ns = rate == 0 ? 0 : INT64_C(1000000000) / rate;

    vl1->relay_rate = rate;
    if (vl1->pub != NULL) {
        atomic_store_explicit(&vl1->pub->relay_cost_ns, cost_ns, memory_order_relaxed);
    }
}

void vl1_set_relay_pair_rate(struct vl1 *vl1, uint64_t rate)
{
    vl1->relay_pair_rate = rate;
    if (vl1->pub != NULL) {
        atomic_store_explicit(&vl1->pub->relay_pair_rate, rate, memory_order_relaxed);
    }
}

/* We became a root, or are none any more. */
void published_root(struct vl1 *vl1)
{
    if (vl1->pub != NULL) {
        atomic_store_explicit(&vl1->pub->is_root, vl1->root, memory_order_relaxed);
    }
}

/* Everything, when peers are gone. */
void published_done(struct vl1 *vl1)
{
    published_free(vl1->pub);
    vl1->pub = NULL;
}

bool vl1_harvest(struct vl1 *vl1, uint64_t ret_counts[DP_COUNTS], int64_t now_ms)
{
    bool any;

    if (vl1->pub == NULL) {
        for (size_t i = 0; i < DP_COUNTS; i++) {
            ret_counts[i] = 0;
        }
        return false;
    }
    vl1->now_ms = now_ms;
    vl1_enter(vl1);
    any = published_harvest(vl1->pub) > 0;
    published_counts(vl1->pub, ret_counts);
    fold_counts(vl1, ret_counts);
    vl1_leave(vl1, now_ms);
    return any;
}

void vl1_reclaim(struct vl1 *vl1, uint64_t number)
{
    if (vl1->pub != NULL) {
        vl1_enter(vl1);
        limbo_reclaim(&vl1->pub->limbo, number);
        vl1_leave(vl1, vl1->now_ms);
    }
}
