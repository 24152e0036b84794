/* Getting to a direct path: introductions, pushed addresses, and what others say our address is.
 * Source: spec 02 sections 3.6, 3.9, 7.5 and 8. */
#include "vl1/vl1_priv.h"

#include "base/bucket.h"

#include <stdlib.h>
#include <string.h>

/* Probes of addresses that others chose are bounded in all, so that nobody makes us flood a third
 * party. */
bool probe_allowance(struct vl1 *vl1, int64_t now_ms)
{
    if (now_ms / 1000 != vl1->probe_second) {
        vl1->probe_second = now_ms / 1000;
        vl1->probe_count = 0;
    }
    return vl1->probe_count++ < PROBES_PER_SECOND;
}

struct traversal *peer_traversal(struct peer *peer)
{
    if (peer->traversal == NULL) {
        peer->traversal = calloc(1, sizeof(*peer->traversal));
        if (peer->traversal != NULL) {
            peer->traversal->push_ms = peer->traversal->push_credit_ms = TIME_NEVER;
            peer->traversal->hint_ms = TIME_NEVER;
        }
    }
    return peer->traversal;
}

const struct inetaddr *peer_met(const struct peer *peer, int64_t now_ms)
{
    const struct traversal *t = peer->traversal;

    return t != NULL && t->met.family == INETADDR_V4 && now_ms - t->met_ms < MET_MS &&
                   path_is_allowed(peer->vl1, peer, &t->met)
               ? &t->met
               : NULL;
}

/* ---- RENDEZVOUS ---- */

static void rendezvous_act(struct peer *peer, uint32_t socket, const struct inetaddr *to,
                           int64_t now_ms)
{
    struct vl1 *vl1 = peer->vl1;
    const struct path *known = path_find(peer, socket, to);
    struct traversal *t = peer_traversal(peer);
    uint8_t junk[4];

    if (t == NULL) {
        return;
    }
    t->addressed = true;
    if (to->family == INETADDR_V4 && detour_penalty(socket) == 0) {
        t->met = *to;
        t->met_socket = socket;
        t->met_ms = now_ms;
        punch_consider(peer, now_ms);
    }
    if (!path_is_allowed(vl1, peer, to) || (known != NULL && path_is_usable(known, now_ms)) ||
        !probe_allowance(vl1, now_ms)) {
        return;
    }
    /* Opens our own NAT without reaching the other side. */
    vl1->env.random(vl1->env.ctx, junk, sizeof(junk));
    vl1_emit(vl1, socket, to, junk, sizeof(junk), to->family == INETADDR_V4 ? 2 : 0);
    t->tried = true;
    origin_note(peer, to, ORIGIN_RENDEZVOUS);
    path_confirm(peer, socket, to, now_ms);
}

enum vl1_verdict rendezvous_receive(struct peer *peer, struct opened *packet)
{
    struct vl1 *vl1 = peer->vl1;
    struct rendezvous msg;
    struct peer *other;

    if (rendezvous_decode(packet->in.payload, &msg) < 0) {
        vl1_count(vl1, VL1_DROP_MALFORMED);
        return VL1_DROP;
    }
    if (!peer_is_upstream(peer) || msg.at.family == INETADDR_NIL ||
        msg.address == vl1->identity.address) {
        return VL1_DONE;
    }
    other = vl1_peer_find(vl1, msg.address, packet->at.now_ms);
    if (other != NULL) {
        rendezvous_act(other, packet->at.socket, &msg.at, packet->at.now_ms);
        return VL1_DONE;
    }
    /* Its identity is still under way: act when it comes. */
    vl1->rendezvous[vl1->rendezvous_next++ % RENDEZVOUS_PENDING_MAX] = (struct pending_rendezvous){
        .address = msg.address,
        .to = msg.at,
        .socket = packet->at.socket,
        .expires_ms = packet->at.now_ms + QUEUE_MS,
    };
    return VL1_DONE;
}

void rendezvous_peer_known(struct vl1 *vl1, struct peer *peer, int64_t now_ms)
{
    for (size_t i = 0; i < RENDEZVOUS_PENDING_MAX; i++) {
        struct pending_rendezvous *p = &vl1->rendezvous[i];

        if (p->address == peer->identity.address) {
            struct pending_rendezvous act = *p;

            *p = (struct pending_rendezvous){0};
            if (act.expires_ms > now_ms) {
                rendezvous_act(peer, act.socket, &act.to, now_ms);
            }
        }
    }
}

/* ---- PUSH_DIRECT_PATHS, receiving ---- */

static bool is_own_address(const struct vl1 *vl1, const struct inetaddr *a)
{
    for (size_t i = 0; i < vl1->socket_count; i++) {
        if (inetaddr_equal(&vl1->sockets[i].local, a)) {
            return true;
        }
    }
    return false;
}

static bool has_path_to(struct peer *peer, const struct inetaddr *remote, int64_t now_ms)
{
    for (size_t i = 0; i < peer->path_count; i++) {
        if (inetaddr_equal(&peer->paths[i].remote, remote) &&
            path_is_usable(&peer->paths[i], now_ms)) {
            return true;
        }
    }
    return false;
}

/* What a trusted peer of our kind says besides. */
static void push_note(struct peer *peer, struct traversal *t, const struct push_path *rec,
                      int64_t now_ms)
{
    if (rec->at.family == INETADDR_NIL || !rec->note.there || rec->note.nat > NAT_RANDOM) {
        return;
    }
    t->nat[rec->at.family == INETADDR_V6] = rec->note.nat;
    if ((rec->note.flags & PUSH_NOTE_SEEK) != 0 && rec->at.family == INETADDR_V4) {
        seek_begin(peer, &rec->at, now_ms);
    }
}

static void push_act(struct peer *peer, struct traversal *t, struct push_paths paths,
                     int64_t now_ms)
{
    struct vl1 *vl1 = peer->vl1;
    bool trusted = peer_is_trusted(peer, now_ms);
    unsigned tried[2][8] = {{0}};
    unsigned left = trusted ? PEER_PATHS_MAX : PUSH_UNTRUSTED_MAX;
    struct push_path rec;

    while (push_paths_next(&paths, &rec) > 0) {
        unsigned *count = &tried[rec.at.family == INETADDR_V6][inetaddr_scope(&rec.at) & 7];
        bool redirect = (rec.flags & PUSH_FLAG_REDIRECT) != 0;

        if (trusted) {
            push_note(peer, t, &rec, now_ms);
        }
        t->addressed = true;
        if (left == 0 || rec.at.family == INETADDR_NIL || (rec.flags & PUSH_FLAG_FORGET) != 0 ||
            (rec.note.flags & PUSH_NOTE_SEEK) != 0 ||
            (!redirect && has_path_to(peer, &rec.at, now_ms)) || is_own_address(vl1, &rec.at) ||
            !path_is_allowed(vl1, peer, &rec.at)) {
            continue;
        }
        if (++*count > PUSH_PER_CLASS || !probe_allowance(vl1, now_ms)) {
            continue;
        }
        left--;
        if (redirect) {
            t->redirect = rec.at;
            t->redirect_ms = now_ms;
        }
        t->tried = true;
        origin_note(peer, &rec.at, ORIGIN_PUSH);
        peer_probe_address(peer, 0, &rec.at, redirect, now_ms);
    }
    if (trusted) {
        punch_consider(peer, now_ms);
    }
}

enum vl1_verdict push_receive(struct peer *peer, struct opened *packet)
{
    struct vl1 *vl1 = peer->vl1;
    struct push_paths paths;
    struct traversal *t;
    struct push_paths check;
    struct push_path rec;
    int more;

    if (push_paths_decode(packet->in.payload, &paths) < 0) {
        vl1_count(vl1, VL1_DROP_MALFORMED);
        return VL1_DROP;
    }
    check = paths;
    while ((more = push_paths_next(&check, &rec)) > 0) {
    }
    if (more < 0) {
        vl1_count(vl1, VL1_DROP_MALFORMED);
        return VL1_DROP;
    }
    /* Eight saved up, one more every 3.75 s: 8 per 30 s, refilled all the time. */
    t = peer_traversal(peer);
    if (t != NULL &&
        bucket_take(&t->push_credit_ms, PUSH_BURST, PUSH_BUCKET_MS, packet->at.now_ms)) {
        push_act(peer, t, paths, packet->at.now_ms);
    }
    return VL1_DONE;
}

/* ---- PUSH_DIRECT_PATHS, sending ---- */

enum { PUSH_MAX = 48 };

static size_t push_add(struct push_path *out, size_t count, const struct inetaddr *a)
{
    enum inet_scope scope = inetaddr_scope(a);

    if (count >= PUSH_MAX || a->port == 0 ||
        (scope != INET_SCOPE_PRIVATE && scope != INET_SCOPE_SHARED &&
         scope != INET_SCOPE_PSEUDO_PRIVATE && scope != INET_SCOPE_GLOBAL)) {
        return count;
    }
    for (size_t i = 0; i < count; i++) {
        if (inetaddr_equal(&out[i].at, a)) {
            return count;
        }
    }
    out[count] = (struct push_path){.flags = 0, .at = *a};
    return count + 1;
}

/* The first record of each family tells our NAT. */
static void push_add_notes(const struct vl1 *vl1, struct push_path *out, size_t count)
{
    bool done[2] = {false, false};

    for (size_t i = 0; i < count; i++) {
        bool v6 = out[i].at.family == INETADDR_V6;

        if (!done[v6]) {
            done[v6] = true;
            out[i].note = (struct push_note){.there = true,
                                             .nat = (uint8_t)vl1_nat_kind(vl1, out[i].at.family)};
        }
    }
}

/* Our addresses, the most promising first: mapped ports, those others see, those we have. */
static size_t push_collect(const struct vl1 *vl1, struct push_path *out)
{
    struct inetaddr seen[SURFACE_MAX];
    size_t count = 0;
    size_t n = vl1_surfaces(vl1, seen, COUNT_OF(seen));

    for (size_t i = 0; i < vl1->mapped_count; i++) {
        count = push_add(out, count, &vl1->mapped[i]);
    }
    for (size_t i = 0; i < n; i++) {
        count = push_add(out, count, &seen[i]);
    }
    for (size_t i = 0; i < vl1->socket_count; i++) {
        if (!vl1->sockets[i].extra) {
            count = push_add(out, count, &vl1->sockets[i].local);
        }
    }
    push_add_notes(vl1, out, count);
    return count;
}

/* Fill a packet with as many records as it may hold; returns how many. */
static size_t push_fill(struct peer *peer, struct out_packet *out, const struct push_path *paths,
                        size_t count)
{
    out_begin(peer->vl1, out, peer->identity.address, VERB_PUSH_DIRECT_PATHS);
    out->w.end = out->w.start + 1200 - PACKET_AT_PAYLOAD;
    return push_paths_encode(&out->w, paths, count);
}

/* Is it time? What changed and matters to the other side is told soon. */
static bool push_is_due(struct peer *peer, bool direct, int64_t now_ms)
{
    struct traversal *t = peer_traversal(peer);
    uint8_t nat = (uint8_t)vl1_nat_kind(peer->vl1, INETADDR_V4);
    int64_t interval;

    if (t == NULL) {
        return false;
    }
    interval = direct ? (peer->vl1->options.low_bandwidth ? PUSH_DIRECT_LOW_MS : PUSH_DIRECT_MS)
               : t->told_nat != nat ? PUSH_NEWS_MS
               : t->push_rounds < 4 ? PUSH_RELAYED_MS
                                    : PUSH_SLOW_MS;
    if (t->push_ms != TIME_NEVER && now_ms - t->push_ms < interval) {
        return false;
    }
    t->push_ms = now_ms;
    t->push_rounds = direct ? 0 : t->push_rounds + 1;
    t->told_nat = nat;
    return true;
}

/* Tell a peer with shared membership where we can be reached, as often as its path asks for. */
void push_maybe(struct peer *peer, const struct opened *packet)
{
    int64_t now_ms = packet->at.now_ms;
    struct push_path paths[PUSH_MAX];
    size_t count;
    size_t n = 0;

    if (packet->in.hops > 0) {
        punch_consider(peer, now_ms);
    }
    if (!push_is_due(peer, packet->in.hops == 0, now_ms)) {
        return;
    }
    count = push_collect(peer->vl1, paths);
    for (size_t done = 0; done < count; done += n) {
        struct out_packet out;

        n = push_fill(peer, &out, paths + done, count - done);
        if (n == 0) {
            break;
        }
        (void)!out_reply(peer->vl1, &out, &packet->in, OUT_COMPRESS, now_ms);
    }
}

/* Some records, by whatever way there is. */
void push_send(struct peer *peer, const struct push_path *paths, size_t count, int64_t now_ms)
{
    size_t n = 0;

    for (size_t done = 0; done < count; done += n) {
        struct out_packet out;

        n = push_fill(peer, &out, paths + done, count - done);
        if (n == 0) {
            break;
        }
        (void)!out_send(peer->vl1, &out, OUT_COMPRESS, now_ms);
    }
}

/* Workers carry frames of the peer: if they are relayed, the engine sees none of them. */
void push_relayed(struct peer *peer, int64_t now_ms)
{
    struct push_path paths[PUSH_MAX];

    if (peer_is_trusted(peer, now_ms) && !peer_has_direct_path(peer, now_ms)) {
        punch_consider(peer, now_ms);
        if (push_is_due(peer, false, now_ms)) {
            push_send(peer, paths, push_collect(peer->vl1, paths), now_ms);
        }
    }
}

/* ---- surface addresses ---- */

size_t vl1_surfaces(const struct vl1 *vl1, struct inetaddr *out, size_t cap)
{
    size_t count = 0;

    for (size_t i = 0; i < vl1->surface_count; i++) {
        bool twice = false;

        for (size_t k = 0; k < count; k++) {
            twice = twice || inetaddr_equal(&out[k], &vl1->surfaces[i].mine);
        }
        if (!twice && count < cap) {
            out[count++] = vl1->surfaces[i].mine;
        }
    }
    return count;
}

static void surface_expire(struct vl1 *vl1, int64_t now_ms)
{
    for (size_t i = vl1->surface_count; i-- > 0;) {
        if (now_ms - vl1->surfaces[i].at_ms >= SURFACE_MS) {
            vl1->surfaces[i] = vl1->surfaces[--vl1->surface_count];
        }
    }
}

/* Local sockets changed: what was said about those that are gone or have another address is not
 * told to anybody any more. */
void surfaces_check(struct vl1 *vl1)
{
    size_t before = vl1->surface_count;

    for (size_t i = vl1->surface_count; i-- > 0;) {
        const struct socket_entry *socket = socket_find(vl1, vl1->surfaces[i].socket);

        if (socket == NULL || socket->moved) {
            vl1->surfaces[i] = vl1->surfaces[--vl1->surface_count];
        }
    }
    if (vl1->surface_count < before) {
        vl1->env.event(vl1->env.ctx, EVENT_SURFACE_ADDRESS, 0, NULL, 0);
    }
}

/* Our external address changed: paths of that kind are not believed until they answer. */
static void reset_paths(struct vl1 *vl1, const struct surface *report, enum inet_scope scope,
                        int64_t now_ms)
{
    for (struct hmap_node *n = hmap_each(&vl1->peers, NULL); n != NULL;
         n = hmap_each(&vl1->peers, n)) {
        struct peer *peer = CONTAINER_OF(n, struct peer, by_address);

        if (!peer_is_worth_asking(peer, now_ms)) {
            continue;
        }
        for (size_t i = 0; i < peer->path_count; i++) {
            struct path *path = &peer->paths[i];

            /* The path the news came by is alive. */
            if (path->remote.family == report->mine.family &&
                inetaddr_scope(&path->remote) == scope &&
                (path->socket != report->socket ||
                 !inetaddr_equal(&path->remote, &report->reporter_at))) {
                path->lost = PROBE_LOST_MAX;
                path_probe(peer, path, now_ms);
            }
        }
        path_settle(peer, now_ms);
    }
}

static void surface_changed(struct vl1 *vl1, const struct surface *report, enum inet_scope scope)
{
    struct engine_env *env = &vl1->env;

    for (size_t i = vl1->surface_count; i-- > 0;) {
        const struct surface *s = &vl1->surfaces[i];

        if (inetaddr_scope(&s->mine) == scope &&
            !inetaddr_equal(&s->reporter_at, &report->reporter_at)) {
            vl1->surfaces[i] = vl1->surfaces[--vl1->surface_count];
        }
    }
    reset_paths(vl1, report, scope, report->at_ms);
    env->event(env->ctx, EVENT_SURFACE_ADDRESS, 0, NULL, 0);
}

/* Keep a report that stands in no place yet. oldest: of the same reporter, which has `same`. False:
 * there is none for it. */
static bool surface_add(struct vl1 *vl1, const struct surface *report, struct surface *oldest,
                        unsigned same, bool is_up)
{
    if (same >= SURFACE_REPORTER_MAX && !is_up) {
        *oldest = *report; /* nobody fills the table alone */
    } else if (vl1->surface_count < SURFACE_MAX) {
        vl1->surfaces[vl1->surface_count++] = *report;
    } else if (is_up) {
        /* Reports of upstreams are the ones worth keeping: a leaf's never push them out. */
        struct surface *slot = &vl1->surfaces[0];

        for (size_t i = 1; i < SURFACE_MAX; i++) {
            slot = vl1->surfaces[i].at_ms < slot->at_ms ? &vl1->surfaces[i] : slot;
        }
        *slot = *report;
    } else {
        return false;
    }
    return true;
}

void surface_report(struct peer *reporter, const struct arrival *at, const struct inetaddr *mine)
{
    struct vl1 *vl1 = reporter->vl1;
    enum inet_scope scope = inetaddr_scope(mine);
    struct surface report = {reporter->identity.address, at->socket, at->from, *mine, at->now_ms};
    struct socket_entry *socket = socket_find(vl1, at->socket);
    struct surface *slot = NULL;
    struct surface *oldest = NULL; /* of the same reporter */
    unsigned same = 0;

    if (punch_surface(vl1, report.reporter, at->socket, mine, at->now_ms) ||
        (socket != NULL && socket->extra)) {
        return;
    }
    if (scope != inetaddr_scope(&at->from) || scope == INET_SCOPE_NONE ||
        scope == INET_SCOPE_LOOPBACK || scope == INET_SCOPE_MULTICAST || mine->port == 0) {
        return;
    }
    surface_expire(vl1, at->now_ms);
    for (size_t i = 0; i < vl1->surface_count; i++) {
        struct surface *s = &vl1->surfaces[i];

        if (s->reporter == report.reporter && s->socket == report.socket &&
            inetaddr_equal(&s->reporter_at, &report.reporter_at) &&
            inetaddr_scope(&s->mine) == scope) {
            slot = s;
        }
        if (s->reporter == report.reporter) {
            same++;
            oldest = oldest == NULL || s->at_ms < oldest->at_ms ? s : oldest;
        }
    }
    if (slot != NULL) {
        bool moved = peer_is_upstream(reporter) && !inetaddr_ip_equal(&slot->mine, mine);

        /* Another port: what others saw before need not be true any more. */
        if (socket != NULL && peer_is_upstream(reporter) && slot->mine.port != mine->port) {
            socket->remapped_ms = at->now_ms;
        }
        *slot = report;
        if (moved &&
            bucket_take(&reporter->moved_credit_ms, MOVED_BURST, MOVED_GAP_MS, at->now_ms)) {
            surface_changed(vl1, &report, scope);
        }
        nat_update(vl1, moved ? 0 : at->socket);
        return;
    }
    if (surface_add(vl1, &report, oldest, same, peer_is_upstream(reporter))) {
        nat_update(vl1, at->socket);
        vl1->env.event(vl1->env.ctx, EVENT_SURFACE_ADDRESS, 0, NULL, 0);
    }
}
