/* Relaying packets of others, and introducing the two ends to each other. Nothing is opened, copied
 * or queued. Source: spec 02 sections 4.2 and 7.4. */
#include "vl1/vl1_priv.h"

#include <stdlib.h>

/* ---- who may ---- */

/* A packet that proved shared membership came from there: its sender may relay through us. */
void relay_trust(struct vl1 *vl1, const struct arrival *at)
{
    uint64_t key = arrival_key(at->socket, &at->from);

    vl1->trusted_remotes[key % TRUSTED_REMOTES] = (struct pair_time){key, at->now_ms};
}

static bool may_relay(const struct vl1 *vl1, const struct arrival *at)
{
    uint64_t key = arrival_key(at->socket, &at->from);
    const struct pair_time *t = &vl1->trusted_remotes[key % TRUSTED_REMOTES];

    return vl1->root ||
           (t->key == key && t->at_ms != TIME_NEVER && at->now_ms - t->at_ms < TRUST_MS);
}

/* ---- introductions ---- */

static const struct path *best_of_class(const struct peer *peer, enum inet_scope scope,
                                        uint8_t family, int64_t now_ms)
{
    const struct path *best = NULL;

    for (size_t i = 0; i < peer->path_count; i++) {
        const struct path *p = &peer->paths[i];

        if (p->remote.family == family && inetaddr_scope(&p->remote) == scope &&
            path_is_usable(p, now_ms) && (best == NULL || p->last_in_ms > best->last_in_ms)) {
            best = p;
        }
    }
    return best;
}

static void tell(struct peer *to, const struct path *over, const struct peer *about,
                 const struct path *at, int64_t now_ms)
{
    struct out_packet out;

    out_begin(to->vl1, &out, to->identity.address, VERB_RENDEZVOUS);
    rendezvous_encode(&out.w,
                      &(struct rendezvous){.address = about->identity.address, .at = at->remote});
    (void)!out_straight(to->vl1, &out, to, over->socket, &over->remote, 0, now_ms);
}

/* The same address in both directions would be one NAT without hairpin: the scopes decide. */
static void introduce(struct vl1 *vl1, struct peer *a, struct peer *b, int64_t now_ms)
{
    static const uint8_t families[] = {INETADDR_V6, INETADDR_V4};

    for (enum inet_scope scope = INET_SCOPE_PRIVATE; scope > INET_SCOPE_NONE; scope--) {
        for (size_t f = 0; f < COUNT_OF(families); f++) {
            const struct path *pa = best_of_class(a, scope, families[f], now_ms);
            const struct path *pb = best_of_class(b, scope, families[f], now_ms);

            if (pa != NULL && pb != NULL) {
                struct path at_a = *pa;
                struct path at_b = *pb;

                vl1_count(vl1, VL1_INTRODUCTIONS);
                tell(a, &at_a, b, &at_b, now_ms);
                tell(b, &at_b, a, &at_a, now_ms);
                return;
            }
        }
    }
}

/* True if a packet to be forwarded may be from whom it says: it came by a path of that node, or
 * through an upstream. Else anybody could have two nodes told of each other. */
static bool is_plausible(struct vl1 *vl1, struct peer *source, const struct arrival *at,
                         unsigned hops)
{
    return path_find(source, at->socket, &at->from) != NULL ||
           (hops > 0 && is_upstream_address(vl1, &at->from));
}

static bool has_moved(struct peer *peer, int64_t since_ms, int64_t now_ms)
{
    const struct path *path = path_best(peer, now_ms);

    return path != NULL && path->learned_ms > since_ms;
}

/* Once per unordered pair and 30 s, unless one of them was reached elsewhere then. */
static bool pair_is_due(struct vl1 *vl1, struct peer *one, struct peer *other, int64_t now_ms)
{
    uint64_t a = one->identity.address;
    uint64_t b = other->identity.address;
    uint64_t key = hash_mix(a ^ b, vl1->seed) ^ hash_mix(a + b, ~vl1->seed);
    struct pair_time *t;

    if (vl1->pairs == NULL) {
        vl1->pairs = calloc(PAIRS, sizeof(*vl1->pairs));
        if (vl1->pairs == NULL) {
            return false;
        }
    }
    t = &vl1->pairs[key % PAIRS];
    if (t->key == key && now_ms - t->at_ms < INTRODUCE_MS &&
        (now_ms - t->at_ms < INTRODUCE_MOVED_MS ||
         (!has_moved(one, t->at_ms, now_ms) && !has_moved(other, t->at_ms, now_ms)))) {
        return false;
    }
    /* Nothing relayed is authenticated: forged pairs must not make us flood our peers. */
    if (now_ms / 1000 != vl1->introduce_second) {
        vl1->introduce_second = now_ms / 1000;
        vl1->introduce_count = 0;
    }
    if (vl1->introduce_count++ >= INTRODUCTIONS_PER_SECOND) {
        return false;
    }
    *t = (struct pair_time){key, now_ms};
    return true;
}

/* ---- forwarding ---- */

/* Send what came for dest on its way. Returns the peer it went to directly, or NULL. */
static struct peer *forward(struct vl1 *vl1, const struct arrival *at, uint64_t dest,
                            uint64_t source, const uint8_t *data, size_t len)
{
    struct peer *peer = peer_in_memory(vl1, dest);
    struct path *path = peer != NULL ? path_best(peer, at->now_ms) : NULL;
    struct peer *up;

    if (path != NULL && !inetaddr_equal(&path->remote, &at->from)) {
        vl1_count(vl1, VL1_RELAYED);
        vl1_emit(vl1, path->socket, &path->remote, data, len, 0);
        path_sent(peer, path, at->now_ms);
        return peer;
    }
    up = vl1->relay != 0 && vl1->relay != source ? peer_in_memory(vl1, vl1->relay) : NULL;
    path = up != NULL && path == NULL ? path_best(up, at->now_ms) : NULL;
    if (path == NULL || inetaddr_equal(&path->remote, &at->from)) {
        vl1_count(vl1, VL1_DROP_NO_ROUTE);
        return NULL;
    }
    vl1_count(vl1, VL1_RELAYED);
    vl1_emit(vl1, path->socket, &path->remote, data, len, 0);
    return NULL;
}

void relay_packet(struct vl1 *vl1, const struct arrival *at, uint8_t *pkt, size_t len)
{
    uint64_t source = packet_source(pkt);
    unsigned hops = packet_hops(pkt);
    struct peer *dest_peer;
    struct peer *source_peer;

    if (!may_relay(vl1, at)) {
        vl1_count(vl1, VL1_DROP_NOT_OURS);
        return;
    }
    if (hops >= PACKET_HOPS_MAX) {
        vl1_count(vl1, VL1_DROP_HOPS);
        return;
    }
    packet_add_hop(pkt);
    dest_peer = forward(vl1, at, packet_dest(pkt), source, pkt, len);
    source_peer = dest_peer != NULL ? peer_in_memory(vl1, source) : NULL;
    if (source_peer != NULL && is_plausible(vl1, source_peer, at, hops) &&
        pair_is_due(vl1, dest_peer, source_peer, at->now_ms)) {
        introduce(vl1, dest_peer, source_peer, at->now_ms);
    }
}

/* A worker forwarded a packet with this header. */
void relay_pair(struct vl1 *vl1, const struct arrival *at, const uint8_t *pkt)
{
    uint64_t dest = packet_dest(pkt);
    uint64_t source = packet_source(pkt);
    struct peer *dest_peer = peer_in_memory(vl1, dest);
    struct peer *source_peer = peer_in_memory(vl1, source);

    if (vl1->root && dest_peer != NULL && source_peer != NULL &&
        is_plausible(vl1, source_peer, at, packet_hops(pkt)) &&
        pair_is_due(vl1, dest_peer, source_peer, at->now_ms)) {
        introduce(vl1, dest_peer, source_peer, at->now_ms);
    }
}

void relay_fragment(struct vl1 *vl1, const struct arrival *at, uint8_t *frag, size_t len)
{
    if (!may_relay(vl1, at)) {
        vl1_count(vl1, VL1_DROP_NOT_OURS);
        return;
    }
    if (frag[FRAGMENT_AT_HOPS] >= PACKET_HOPS_MAX) {
        vl1_count(vl1, VL1_DROP_HOPS);
        return;
    }
    fragment_add_hop(frag);
    (void)forward(vl1, at, packet_dest(frag), 0, frag, len);
}
