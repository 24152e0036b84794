/* Sending: packets are built in struct out_packet, get their path, their suite and their ID here,
 * and are cut into datagrams. What cannot leave yet waits. Source: spec 02 section 5, spec 01
 * sections 7.3 and 8.7. */
#include "vl1/vl1_priv.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

void out_begin(struct vl1 *vl1, struct out_packet *out, uint64_t dest, enum verb verb)
{
    out->dest = dest;
    packet_start(out->data, 0, dest, vl1->identity.address, verb);
    out->w = wr_init(out->data + PACKET_AT_PAYLOAD, PACKET_MAX - PACKET_AT_PAYLOAD);
}

void out_begin_ok(struct vl1 *vl1, struct out_packet *out, const struct in_packet *re)
{
    out_begin(vl1, out, re->source, VERB_OK);
    ok_head_write(&out->w, &(struct reply_head){.verb = (uint8_t)re->verb, .id = re->id});
}

void out_begin_error(struct vl1 *vl1, struct out_packet *out, const struct in_packet *re,
                     enum error_code code)
{
    out_begin(vl1, out, re->source, VERB_ERROR);
    ok_head_write(&out->w, &(struct reply_head){.verb = (uint8_t)re->verb, .id = re->id});
    wr_u8(&out->w, (uint8_t)code);
}

void out_redirect(struct out_packet *out, uint64_t dest)
{
    out->dest = dest;
    be40_put(out->data + PACKET_AT_DEST, dest);
}

/* ---- awaited replies ---- */

void await_add(struct vl1 *vl1, uint64_t id, uint64_t peer, enum verb verb, int64_t now_ms)
{
    struct awaited *set = vl1->awaited[hash_mix(id, vl1->seed) % AWAIT_SETS];
    struct awaited *oldest = &set[0];

    for (size_t i = 1; i < AWAIT_WAYS; i++) {
        if (set[i].sent_ms < oldest->sent_ms) {
            oldest = &set[i];
        }
    }
    *oldest = (struct awaited){.id = id, .peer = peer, .sent_ms = now_ms, .verb = (uint8_t)verb};
}

/* Entries are kept after a match: copies of one request over several paths are each answered. */
bool await_take(struct vl1 *vl1, uint64_t id, uint64_t peer, enum verb verb, int64_t now_ms,
                int64_t *ret_sent_ms)
{
    const struct awaited *set = vl1->awaited[hash_mix(id, vl1->seed) % AWAIT_SETS];

    for (size_t i = 0; i < AWAIT_WAYS; i++) {
        bool same_verb =
            set[i].verb == verb || (set[i].verb == VERB_NETWORK_CONFIG && verb == VERB_ECHO);
        bool same_peer = set[i].peer == peer || verb == VERB_NETWORK_CONFIG_REQUEST;

        if (set[i].id == id && same_peer && same_verb && id != 0 &&
            now_ms - set[i].sent_ms <= AWAIT_MS) {
            *ret_sent_ms = set[i].sent_ms;
            return true;
        }
    }
    return false;
}

/* ---- datagrams ---- */

void vl1_emit(struct vl1 *vl1, uint32_t socket, const struct inetaddr *to, const uint8_t *data,
              size_t len, unsigned how)
{
    vl1_count(vl1, VL1_TX_DATAGRAMS);
    vl1->env.send(vl1->env.ctx, socket, to, data, len, how);
}

void vl1_emit_all(struct vl1 *vl1, const struct inetaddr *to, const uint8_t *data, size_t len)
{
    for (size_t i = 0; i < vl1->socket_count; i++) {
        if (vl1->sockets[i].local.family == to->family && !vl1->sockets[i].extra) {
            vl1_emit(vl1, vl1->sockets[i].id, to, data, len, 0);
        }
    }
}

/* Cut a sealed packet and send it; its contents are used up. */
static void emit_packet(struct vl1 *vl1, uint32_t socket, const struct inetaddr *to, uint8_t *pkt,
                        const struct fragment_plan *plan, unsigned how)
{
    for (unsigned i = 0; i < plan->total; i++) {
        struct fragment_piece piece;
        uint8_t *at;

        fragment_cut(pkt, plan, i, &piece);
        /* The header of a part goes over the end of the part before, which has left. */
        at = pkt + (piece.data - pkt) - piece.head_len;
        memcpy(at, piece.head, piece.head_len);
        vl1_emit(vl1, socket, to, at, piece.head_len + piece.len, how);
    }
}

enum cipher_suite suite_for(const struct vl1 *vl1, const struct peer *peer)
{
    return peer->version.protocol >= 12 && vl1->options.protocol >= 12 ? SUITE_AES_GMAC_SIV
                                                                       : SUITE_SALSA_POLY1305;
}

enum { OUT_WHOLE = 8 }; /* besides enum out_flags: SEND_WHOLE */

/* Compress, seal for peer and send the plain packet at plain over a socket to an address. */
static int transmit(struct vl1 *vl1, struct peer *peer, uint8_t *plain, size_t len, uint32_t socket,
                    const struct inetaddr *to, size_t mtu, uint64_t trusted_id, unsigned flags,
                    int64_t now_ms)
{
    struct armor_keys *keys = peer_keys(peer);
    unsigned verb = plain[PACKET_AT_VERB] & VERB_MASK;
    uint8_t *pkt = plain;
    struct fragment_plan plan;

    if (keys == NULL) {
        return -ENOMEM;
    }
    vl1_tally_packet(vl1, true, plain, len);
    peer->packets[1]++;
    if ((flags & OUT_CONSUME) == 0) {
        pkt = vl1->wire;
        memcpy(pkt, plain, len);
    }
    if ((flags & OUT_COMPRESS) != 0) {
        len = packet_compress(pkt, len, vl1->scratch);
    }
    if (fragment_plan_equal(len, mtu, &plan) < 0) {
        vl1_count(vl1, VL1_DROP_TOO_BIG);
        return -EMSGSIZE;
    }
    packet_set_fragmented(pkt, plan.total > 1);
    be64_put(pkt + PACKET_AT_ID, packet_id_next(&vl1->ids));
    if (trusted_id != 0) {
        armor_seal_trusted(pkt, trusted_id);
    } else {
        armor_seal(pkt, len, suite_for(vl1, peer), keys);
    }
    if ((flags & OUT_EXPECT) != 0) {
        await_add(vl1, packet_id(pkt), peer->identity.address, verb, now_ms);
    }
    emit_packet(vl1, socket, to, pkt, &plan, (flags & OUT_WHOLE) != 0 ? SEND_WHOLE : 0);
    return 0;
}

/* ---- routes ---- */

/* Try configured addresses: one of each family, others the next time. */
static void try_hint(struct peer *peer, int64_t now_ms)
{
    struct vl1 *vl1 = peer->vl1;
    struct hmap_node *n = hmap_find(&vl1->virtuals, peer->identity.address);
    struct traversal *t = n != NULL ? peer_traversal(peer) : NULL;
    bool done[2] = {false, false};
    struct virtual_entry *e;
    uint32_t pick;

    if (t == NULL || (t->hint_ms != TIME_NEVER && now_ms - t->hint_ms < HINT_MS)) {
        return;
    }
    e = CONTAINER_OF(n, struct virtual_entry, by_address);
    vl1->env.random(vl1->env.ctx, &pick, sizeof(pick));
    for (size_t i = 0; i < e->try_count; i++) {
        const struct inetaddr *to = &e->try_paths[(pick + i) % e->try_count];
        bool v6 = to->family == INETADDR_V6;

        if (!done[v6]) {
            done[v6] = t->addressed = t->tried = true;
            t->hint_ms = now_ms;
            origin_note(peer, to, ORIGIN_SETTING);
            hello_send(peer, 0, to, now_ms);
        }
    }
}

/* The way to a peer, without doing anything for a better one. */
bool route_look(struct vl1 *vl1, struct peer *peer, int64_t now_ms, struct route *ret)
{
    struct path *path = path_best(peer, now_ms);

    if (path != NULL) {
        *ret = (struct route){path, peer};
        return true;
    }
    if (vl1->relay != 0 && vl1->relay != peer->identity.address) {
        struct peer *relay = peer_in_memory(vl1, vl1->relay);

        path = relay != NULL ? path_best(relay, now_ms) : NULL;
        if (path != NULL) {
            *ret = (struct route){path, relay};
            return true;
        }
    }
    for (size_t i = 0; i < peer->path_count; i++) {
        if (path == NULL || peer->paths[i].last_in_ms > path->last_in_ms) {
            path = &peer->paths[i];
        }
    }
    *ret = (struct route){path, peer};
    return path != NULL;
}

bool route_find(struct vl1 *vl1, struct peer *peer, int64_t now_ms, struct route *ret)
{
    if (path_best(peer, now_ms) == NULL) {
        try_hint(peer, now_ms);
    }
    return route_look(vl1, peer, now_ms, ret);
}

/* Workers sent to a peer by its session, the last at out_ms. */
void route_used(struct peer *peer, bool relayed, int64_t out_ms, int64_t now_ms)
{
    if (relayed) {
        peer_relayed_to(peer, out_ms, now_ms);
    }
    if (path_best(peer, now_ms) == NULL) {
        try_hint(peer, now_ms);
    }
    if (relayed && peer->version.protocol == 0) {
        hello_send_relayed(peer, now_ms);
    }
}

/* Send over whatever route there is; false if there is none. */
static bool send_now(struct vl1 *vl1, uint8_t *plain, size_t len, uint64_t dest, unsigned flags,
                     int64_t now_ms, int *ret_err)
{
    struct peer *peer = vl1_peer_find(vl1, dest, now_ms);
    unsigned verb = plain[PACKET_AT_VERB] & VERB_MASK;
    struct route route;
    bool relayed;

    if (peer == NULL || !route_find(vl1, peer, now_ms, &route)) {
        return false;
    }
    relayed = route.via != peer;
    *ret_err =
        transmit(vl1, peer, plain, len, route.path->socket, &route.path->remote,
                 mtu_for(route.path, len), relayed ? 0 : route.path->trusted_id, flags, now_ms);
    peer->relayed[1] += relayed;
    path_sent(route.via, route.path, now_ms);
    mtu_sent(route.via, route.path, len > MTU_PHYSICAL_FLOOR, now_ms);
    if (verb == VERB_FRAME || verb == VERB_EXT_FRAME) {
        peer_has_frames(peer);
    }
    if (relayed) {
        peer_relayed_to(peer, now_ms, now_ms);
    }
    if (relayed && peer->version.protocol == 0) {
        hello_send_relayed(peer, now_ms);
    }
    return true;
}

/* ---- waiting to leave ---- */

static void tx_drop(struct vl1 *vl1, struct tx_wait *wait)
{
    list_remove(&wait->link);
    vl1->tx_count--;
    vl1->tx_bytes -= wait->len;
    free(wait);
}

/* Make room for a packet: packets for the same destination go first, the oldest ones, if they have
 * their share already; else the oldest of all. */
static void tx_make_room(struct vl1 *vl1, uint64_t dest, size_t len)
{
    size_t bytes = len;
    size_t same = 1;
    struct list *it;
    struct list *tmp;

    LIST_EACH(&vl1->tx_queue, it, tmp)
    {
        const struct tx_wait *w = CONTAINER_OF(it, struct tx_wait, link);

        same += w->dest == dest;
        bytes += w->dest == dest ? w->len : 0;
    }
    LIST_EACH(&vl1->tx_queue, it, tmp)
    {
        struct tx_wait *w = CONTAINER_OF(it, struct tx_wait, link);
        bool is_over = same > TX_QUEUE_PEER_MAX || bytes > TX_QUEUE_PEER_BYTES;
        bool is_full = vl1->tx_count >= TX_QUEUE_MAX || vl1->tx_bytes + len > TX_QUEUE_BYTES;

        if (!is_over && !is_full) {
            return;
        }
        if (!is_over || w->dest == dest) {
            same -= w->dest == dest;
            bytes -= w->dest == dest ? w->len : 0;
            tx_drop(vl1, w);
            vl1_count(vl1, VL1_DROP_TX_QUEUE);
        }
    }
}

static int tx_enqueue(struct vl1 *vl1, const uint8_t *plain, size_t len, uint64_t dest,
                      unsigned flags, int64_t now_ms)
{
    struct tx_wait *wait = malloc(sizeof(*wait) + len);

    if (wait == NULL) {
        vl1_count(vl1, VL1_DROP_MEMORY);
        return -ENOMEM;
    }
    tx_make_room(vl1, dest, len);
    wait->dest = dest;
    wait->expires_ms = now_ms + QUEUE_MS;
    wait->flags = flags;
    wait->len = len;
    memcpy(wait->data, plain, len);
    list_push(&vl1->tx_queue, &wait->link);
    vl1->tx_count++;
    vl1->tx_bytes += len;
    queues_schedule(vl1, now_ms);
    return 0;
}

/* Something changed that may let packets leave: those for dest, or (0) all. */
void tx_flush(struct vl1 *vl1, uint64_t dest, int64_t now_ms)
{
    struct list *it;
    struct list *tmp;

    LIST_EACH(&vl1->tx_queue, it, tmp)
    {
        struct tx_wait *w = CONTAINER_OF(it, struct tx_wait, link);
        int err;

        if (w->expires_ms <= now_ms) {
            tx_drop(vl1, w);
            vl1_count(vl1, VL1_DROP_TX_QUEUE);
        } else if ((dest == 0 || w->dest == dest) &&
                   send_now(vl1, w->data, w->len, w->dest, w->flags, now_ms, &err)) {
            tx_drop(vl1, w);
        }
    }
}

/* ---- the calls of other layers ---- */

static int check(struct vl1 *vl1, const struct out_packet *out)
{
    if (out->dest == vl1->identity.address || address_is_reserved(out->dest)) {
        return -EINVAL;
    }
    if (out->w.bad) {
        vl1_count(vl1, VL1_DROP_TOO_BIG);
        return -EMSGSIZE;
    }
    return 0;
}

int out_send(struct vl1 *vl1, struct out_packet *out, unsigned flags, int64_t now_ms)
{
    size_t len = PACKET_AT_PAYLOAD + wr_len(&out->w);
    int err = check(vl1, out);

    if (err < 0 || send_now(vl1, out->data, len, out->dest, flags, now_ms, &err)) {
        return err;
    }
    if (peer_in_memory(vl1, out->dest) == NULL) {
        vl1_whois(vl1, out->dest, now_ms);
    }
    return tx_enqueue(vl1, out->data, len, out->dest, flags, now_ms);
}

/* The path that leads from a socket to an address: of a peer, or of the relay that brought its
 * request. */
static struct path *path_towards(struct vl1 *vl1, struct peer *peer, uint32_t socket,
                                 const struct inetaddr *to, struct peer **ret_via)
{
    struct path *path = path_find(peer, socket, to);

    *ret_via = peer;
    if (path == NULL && vl1->relay != 0) {
        *ret_via = peer_in_memory(vl1, vl1->relay);
        path = *ret_via != NULL ? path_find(*ret_via, socket, to) : NULL;
    }
    return path;
}

/* Straight to a physical address, whatever paths there are. */
int out_straight(struct vl1 *vl1, struct out_packet *out, struct peer *peer, uint32_t socket,
                 const struct inetaddr *to, unsigned flags, int64_t now_ms)
{
    size_t len = PACKET_AT_PAYLOAD + wr_len(&out->w);
    size_t mtu = MTU_PHYSICAL_DEFAULT;
    int err = check(vl1, out);

    if (err < 0) {
        return err;
    }
    if (len > MTU_PHYSICAL_FLOOR) {
        struct peer *via;
        struct path *path = path_towards(vl1, peer, socket, to, &via);

        if (path != NULL) {
            mtu = mtu_for(path, len);
            mtu_sent(via, path, 1, now_ms);
        }
    }
    return transmit(vl1, peer, out->data, len, socket, to, mtu, 0, flags, now_ms);
}

/* An ECHO of one datagram of so many bytes, which arrives whole or not at all. */
int out_probe(struct peer *peer, const struct path *path, size_t size, uint64_t *ret_id,
              int64_t now_ms)
{
    struct vl1 *vl1 = peer->vl1;
    struct inetaddr to = path->remote;
    struct out_packet out;
    int err;

    out_begin(vl1, &out, peer->identity.address, VERB_ECHO);
    memset(out.data + PACKET_AT_PAYLOAD, 0, size - PACKET_AT_PAYLOAD);
    err = transmit(vl1, peer, out.data, size, path->socket, &to, size, 0, OUT_EXPECT | OUT_WHOLE,
                   now_ms);
    *ret_id = packet_id(vl1->wire); /* as it was sealed */
    return err;
}

/* The answer to an ECHO comes in parts that pass wherever the ECHO came from: it tells of the size
 * that its sender may send, not of ours. */
int out_echo_answer(struct vl1 *vl1, struct out_packet *out, const struct in_packet *re,
                    int64_t now_ms)
{
    size_t len = PACKET_AT_PAYLOAD + wr_len(&out->w);
    int err = check(vl1, out);

    return err < 0 ? err
                   : transmit(vl1, re->peer, out->data, len, re->socket, &re->from,
                              fragment_mtu(len, MTU_PHYSICAL_FLOOR), 0, 0, now_ms);
}

int out_reply(struct vl1 *vl1, struct out_packet *out, const struct in_packet *re, unsigned flags,
              int64_t now_ms)
{
    struct path *path;
    int err = out_straight(vl1, out, re->peer, re->socket, &re->from, flags, now_ms);

    re->peer->relayed[1] += re->hops > 0;
    path = re->hops == 0 ? path_find(re->peer, re->socket, &re->from) : NULL;
    if (path != NULL) {
        path->last_out_ms = now_ms;
    }
    return err;
}
