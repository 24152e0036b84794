/* This node is behind a symmetric NAT, a peer is not: attempts to be reached by it all the same.
 * A fresh socket asks the roots what they see of it. If the NAT counts its ports up, the next ones
 * are guessed and pushed to the peer. If not, many sockets are opened, and a peer of our kind seeks
 * one by chance (seek.c). Source: spec 02 section 7.7, Do better 6. */
#include "vl1/vl1_priv.h"

#include <stdlib.h>
#include <string.h>

static void punching_timer(struct timer *timer, int64_t now_ms);

struct punching *punching_get(struct vl1 *vl1)
{
    if (vl1->punching == NULL) {
        vl1->punching = calloc(1, sizeof(*vl1->punching));
        if (vl1->punching != NULL) {
            vl1->punching->vl1 = vl1;
            vl1->punching->timer.fire = punching_timer;
            vl1->punching->sweep_ms = INT64_MAX;
        }
    }
    return vl1->punching;
}

void punching_schedule(struct punching *p, int64_t now_ms)
{
    int64_t at = p->sweep_ms;

    for (size_t i = 0; i < PUNCH_MAX; i++) {
        if (p->list[i].peer != 0 && p->list[i].due_ms < at) {
            at = p->list[i].due_ms;
        }
    }
    if (p->seek.peer != 0 && p->seek.due_ms < at) {
        at = p->seek.due_ms;
    }
    if (at != INT64_MAX) {
        (void)!timers_arm(&p->vl1->timers, &p->timer, at > now_ms ? at : now_ms + 1);
    }
}

static void close_sockets(struct vl1 *vl1, struct punch *a)
{
    for (size_t i = 0; i < a->count; i++) {
        vl1->env.extra_close(vl1->env.ctx, a->sockets[i].id, false);
    }
    free(a->sockets);
    a->sockets = NULL;
    a->count = 0;
}

/* Instead of those that are open. Returns how many there are. */
static size_t open_sockets(struct vl1 *vl1, struct punch *a, size_t count)
{
    close_sockets(vl1, a);
    a->sockets = calloc(count, sizeof(*a->sockets));
    if (a->sockets != NULL) {
        a->count = vl1->env.extra_open(vl1->env.ctx, a->like, a->sockets, count);
    }
    return a->count;
}

void punch_done(struct vl1 *vl1)
{
    struct punching *p = vl1->punching;

    if (p == NULL) {
        return;
    }
    for (size_t i = 0; i < PUNCH_MAX; i++) {
        close_sockets(vl1, &p->list[i]);
    }
    timers_cancel(&vl1->timers, &p->timer);
    free(p);
    vl1->punching = NULL;
}

static void attempt_end(struct vl1 *vl1, struct punch *a, bool won, int64_t now_ms)
{
    static const int64_t pause[] = {15000, 60000, 300000};
    struct peer *peer = peer_in_memory(vl1, a->peer);
    struct traversal *t = peer != NULL ? peer->traversal : NULL;

    if (t != NULL) {
        t->rounds = won ? 0 : t->rounds;
        t->next_ms = now_ms + pause[t->rounds < COUNT_OF(pause) ? t->rounds : COUNT_OF(pause) - 1];
        t->rounds += !won;
    }
    close_sockets(vl1, a);
    *a = (struct punch){0};
}

/* ---- beginning ---- */

static struct punch *attempt_of(struct vl1 *vl1, uint64_t peer)
{
    for (size_t i = 0; i < PUNCH_MAX && vl1->punching != NULL; i++) {
        if (vl1->punching->list[i].peer == peer) {
            return &vl1->punching->list[i];
        }
    }
    return NULL;
}

void punch_consider(struct peer *peer, int64_t now_ms)
{
    struct vl1 *vl1 = peer->vl1;
    const struct traversal *t = peer->traversal;
    enum nat_kind kind;
    struct punch *a;

    if (t == NULL || vl1->env.extra_open == NULL || now_ms < t->next_ms ||
        t->nat[0] >= NAT_SEQUENTIAL || peer_is_upstream(peer) || !peer_is_trusted(peer, now_ms) ||
        peer_has_direct_path(peer, now_ms)) {
        return;
    }
    kind = nat_of_socket(vl1, t->met_socket);
    if (kind < NAT_SEQUENTIAL || (kind == NAT_RANDOM && t->nat[0] == NAT_UNKNOWN) ||
        punching_get(vl1) == NULL || attempt_of(vl1, peer->identity.address) != NULL ||
        peer_met(peer, now_ms) == NULL) {
        return; /* a reference node can be shown ports, but does not seek */
    }
    a = attempt_of(vl1, 0);
    if (a != NULL) {
        *a = (struct punch){
            .peer = peer->identity.address, .phase = PUNCH_WAIT, .due_ms = now_ms + PUNCH_GRACE_MS};
        punching_schedule(vl1->punching, now_ms);
    }
}

/* ---- measuring ---- */

/* Ask some roots from a fresh socket. */
static void measure_begin(struct vl1 *vl1, struct punch *a, const struct peer *peer, int64_t now_ms)
{
    const struct inetaddr *met = peer_met(peer, now_ms);

    a->like = peer->traversal->met_socket;
    if (met == NULL || open_sockets(vl1, a, 1) == 0) {
        attempt_end(vl1, a, false, now_ms);
        return;
    }
    a->to = *met;
    a->phase = PUNCH_MEASURE;
    a->due_ms = now_ms + PUNCH_MEASURE_MS;
    for (size_t i = 0; i < vl1->upstream_count && a->asked < PUNCH_ROOTS; i++) {
        struct peer *root = peer_in_memory(vl1, vl1->upstreams[i]);

        for (size_t k = 0; root != NULL && k < root->path_count; k++) {
            const struct path *path = &root->paths[k];

            if (path->remote.family == INETADDR_V4 && path_is_usable(path, now_ms)) {
                a->seen[a->asked++].root = root->identity.address;
                hello_send(root, a->sockets[0].id, &path->remote, now_ms);
                break;
            }
        }
    }
}

static struct punch *attempt_by_socket(struct vl1 *vl1, uint32_t socket)
{
    for (size_t i = 0; i < PUNCH_MAX && vl1->punching != NULL; i++) {
        struct punch *a = &vl1->punching->list[i];

        for (size_t k = 0; k < a->count; k++) {
            if (a->sockets[k].id == socket) {
                return a;
            }
        }
    }
    return NULL;
}

bool punch_is_socket(struct vl1 *vl1, uint32_t socket)
{
    return attempt_by_socket(vl1, socket) != NULL;
}

bool punch_surface(struct vl1 *vl1, uint64_t reporter, uint32_t socket, const struct inetaddr *mine,
                   int64_t now_ms)
{
    struct punch *a = attempt_by_socket(vl1, socket);
    size_t answers = 0;

    if (a == NULL) {
        return false;
    }
    for (size_t i = 0; i < a->asked; i++) {
        if (a->seen[i].root == reporter && mine->family == INETADDR_V4) {
            a->seen[i].port = mine->port;
            if (!inetaddr_ip_equal(&vl1->punching->outside, mine)) {
                vl1->punching->measured = NAT_UNKNOWN; /* it was another NAT's */
            }
            vl1->punching->outside = *mine;
        }
        answers += a->seen[i].port != 0;
    }
    if (a->phase == PUNCH_MEASURE && answers == a->asked) {
        a->due_ms = now_ms;
        punching_schedule(vl1->punching, now_ms);
    }
    return true;
}

/* What the answers say: the step between ports, and the port that comes next. */
static enum nat_kind measure_end(struct punching *p, const struct punch *a, int64_t now_ms,
                                 uint16_t *ret_next)
{
    int last = -1;
    int step = 0; /* the smallest */
    unsigned answers = 0;
    bool equal = true;
    bool regular = true;

    for (size_t i = 0; i < a->asked; i++) {
        int d = last >= 0 ? (int16_t)(uint16_t)(a->seen[i].port - a->seen[last].port) : 0;

        if (a->seen[i].port == 0) {
            continue;
        }
        if (last >= 0) {
            bool turns = (d < 0) != (step < 0) && step != 0;

            equal = equal && d == 0;
            regular = regular && d != 0 && !turns && abs(d) <= NAT_STEP_MAX * ((int)i - last);
            step = step == 0 || abs(d) < abs(step) ? d : step;
        }
        last = (int)i;
        answers++;
    }
    if (last < 0) {
        return NAT_UNKNOWN;
    }
    if (answers > 1) {
        p->measured = equal ? NAT_CONE : regular ? NAT_SEQUENTIAL : NAT_RANDOM;
        p->measured_ms = now_ms;
        p->delta = step;
    }
    /* One answer alone says where the NAT is, not how it goes on. */
    step = p->measured == NAT_SEQUENTIAL ? p->delta : 1;
    *ret_next = (uint16_t)(a->seen[last].port + step * (int)(a->asked - (size_t)last));
    return p->measured != NAT_UNKNOWN ? p->measured : nat_of_socket(p->vl1, a->like);
}

/* ---- guessing ---- */

static void guess_begin(struct vl1 *vl1, struct peer *peer, struct punch *a, uint16_t next,
                        int64_t now_ms)
{
    struct push_path guesses[PUNCH_GUESSES];
    int delta = vl1->punching->delta != 0 ? vl1->punching->delta : 1;

    for (int i = 0; i < PUNCH_GUESSES; i++) {
        guesses[i] = (struct push_path){.at = vl1->punching->outside};
        guesses[i].at.port = (uint16_t)(next + i * delta);
    }
    guesses[0].note = (struct push_note){.there = true, .nat = NAT_SEQUENTIAL};
    a->phase = PUNCH_GUESS;
    a->step = 0;
    a->due_ms = now_ms + 200;
    hello_send(peer, a->sockets[0].id, &a->to, now_ms); /* takes the port that comes next */
    push_send(peer, guesses, PUNCH_GUESSES, now_ms);
}

/* ---- by chance ---- */

static bool chance_is_taken(const struct vl1 *vl1)
{
    for (size_t i = 0; i < PUNCH_MAX; i++) {
        if (vl1->punching->list[i].peer != 0 && vl1->punching->list[i].phase == PUNCH_CHANCE) {
            return true;
        }
    }
    return false;
}

static void chance_begin(struct vl1 *vl1, const struct traversal *t, struct punch *a,
                         int64_t now_ms)
{
    if ((t->nat[0] != NAT_NONE && t->nat[0] != NAT_CONE) || a->step > 10) {
        attempt_end(vl1, a, false, now_ms);
    } else if (chance_is_taken(vl1)) {
        a->phase = PUNCH_GUESS; /* comes back here */
        a->step = a->step < 4 ? 4 : a->step + 1;
        a->due_ms = now_ms + 1000;
    } else if (open_sockets(vl1, a, PUNCH_SOCKETS) == 0) {
        attempt_end(vl1, a, false, now_ms);
    } else {
        a->phase = PUNCH_CHANCE;
        a->step = 0;
        a->sent = 0;
        a->due_ms = now_ms;
        a->end_ms = now_ms + PUNCH_CHANCE_MS;
    }
}

static void chance_push(struct peer *peer, int64_t now_ms)
{
    struct vl1 *vl1 = peer->vl1;
    struct push_path record = {.at = vl1->punching->outside};

    record.note = (struct push_note){.there = true, .nat = NAT_RANDOM, .flags = PUSH_NOTE_SEEK};
    push_send(peer, &record, 1, now_ms);
}

/* Have the NAT make a mapping for each socket; then the other side may seek. */
static void chance_step(struct vl1 *vl1, struct peer *peer, struct punch *a, int64_t now_ms)
{
    uint8_t junk[4];

    if (a->sent < a->count) {
        vl1->env.random(vl1->env.ctx, junk, sizeof(junk));
        for (unsigned i = 0; i < PUNCH_BURST && a->sent < a->count; i++) {
            vl1_emit(vl1, a->sockets[a->sent++].id, &a->to, junk, sizeof(junk), 0);
        }
        a->due_ms = now_ms + (a->sent < a->count ? PUNCH_BURST_MS : 0);
    } else if (a->step < 2) {
        chance_push(peer, now_ms);
        a->due_ms = a->step++ == 0 ? now_ms + PUNCH_AGAIN_MS : a->end_ms;
    } else {
        attempt_end(vl1, a, false, now_ms);
    }
}

/* ---- running ---- */

static void guess_step(struct vl1 *vl1, struct peer *peer, struct punch *a, int64_t now_ms)
{
    static const int64_t wait[] = {400, 800, 1000};

    if (a->step < COUNT_OF(wait)) {
        /* The peer's tries have opened its side by now, if one of them had the right port. */
        hello_send(peer, a->sockets[0].id, &a->to, now_ms);
        a->due_ms = now_ms + wait[a->step++];
    } else {
        chance_begin(vl1, peer->traversal, a, now_ms);
    }
}

static void attempt_step(struct vl1 *vl1, struct punch *a, int64_t now_ms)
{
    struct peer *peer = peer_in_memory(vl1, a->peer);
    uint16_t next;

    /* Direct meanwhile; or it told meanwhile that its NAT is no better than ours. */
    if (peer == NULL || peer->traversal == NULL || peer_has_direct_path(peer, now_ms) ||
        peer->traversal->nat[0] >= NAT_SEQUENTIAL) {
        attempt_end(vl1, a, true, now_ms);
        return;
    }
    switch (a->phase) {
    case PUNCH_WAIT:
        measure_begin(vl1, a, peer, now_ms);
        break;
    case PUNCH_MEASURE:
        switch (measure_end(vl1->punching, a, now_ms, &next)) {
        case NAT_SEQUENTIAL:
            guess_begin(vl1, peer, a, next, now_ms);
            break;
        case NAT_RANDOM:
            chance_begin(vl1, peer->traversal, a, now_ms);
            break;
        default:
            attempt_end(vl1, a, false, now_ms);
            break;
        }
        break;
    case PUNCH_GUESS:
        guess_step(vl1, peer, a, now_ms);
        break;
    case PUNCH_CHANCE:
    default:
        chance_step(vl1, peer, a, now_ms);
        break;
    }
}

bool punch_takes(struct vl1 *vl1, const struct peer *peer, uint32_t socket, unsigned verb,
                 int64_t now_ms)
{
    struct punch *a = attempt_by_socket(vl1, socket);

    if (a == NULL) {
        return true;
    }
    if (peer->identity.address != a->peer) {
        return peer_is_upstream(peer) && verb == VERB_OK;
    }
    if (a->chosen != socket && a->chosen != 0 && now_ms - a->chosen_ms < 1000) {
        return false; /* else the peer would end with paths to sockets that are closed */
    }
    a->chosen = socket;
    a->chosen_ms = now_ms;
    return true;
}

/* ---- sockets that won ---- */

static bool has_path_over(const struct vl1 *vl1, uint32_t socket)
{
    for (struct hmap_node *n = hmap_each(&vl1->peers, NULL); n != NULL;
         n = hmap_each(&vl1->peers, n)) {
        const struct peer *peer = CONTAINER_OF(n, struct peer, by_address);

        for (size_t i = 0; i < peer->path_count; i++) {
            if (peer->paths[i].socket == socket) {
                return true;
            }
        }
    }
    return false;
}

/* Close kept sockets that no path uses any more. */
static size_t extras_sweep(struct vl1 *vl1)
{
    size_t kept = 0;

    for (size_t i = vl1->socket_count; i-- > 0;) {
        struct socket_entry *s = &vl1->sockets[i];

        if (s->extra && !has_path_over(vl1, s->id)) {
            vl1->env.extra_close(vl1->env.ctx, s->id, false);
            memmove(s, s + 1, (--vl1->socket_count - i) * sizeof(*s));
        } else {
            kept += s->extra;
        }
    }
    return kept;
}

bool punch_adopt(struct peer *peer, uint32_t socket, int64_t now_ms)
{
    struct vl1 *vl1 = peer->vl1;
    struct punch *a = attempt_by_socket(vl1, socket);
    const struct socket_entry *like;
    struct socket_entry *all;
    unsigned mtu;

    if (a == NULL) {
        return true;
    }
    if (a->peer != peer->identity.address || vl1->socket_count >= SOCKETS_MAX ||
        extras_sweep(vl1) >= EXTRA_MAX) {
        return false;
    }
    like = socket_find(vl1, a->like);
    mtu = like != NULL ? like->mtu : 0;
    all = realloc(vl1->sockets, (vl1->socket_count + 1) * sizeof(*all));
    if (all == NULL) {
        return false;
    }
    vl1->sockets = all;
    for (size_t i = 0; i < a->count; i++) {
        if (a->sockets[i].id == socket) {
            all[vl1->socket_count++] = (struct socket_entry){
                .id = socket, .local = a->sockets[i].local, .mtu = mtu, .extra = true};
            a->sockets[i] = a->sockets[--a->count];
            break;
        }
    }
    vl1->env.extra_close(vl1->env.ctx, socket, true);
    attempt_end(vl1, a, true, now_ms);
    vl1->punching->sweep_ms = now_ms + EXTRA_SWEEP_MS;
    punching_schedule(vl1->punching, now_ms);
    return true;
}

static void punching_timer(struct timer *timer, int64_t now_ms)
{
    struct punching *p = CONTAINER_OF(timer, struct punching, timer);

    for (size_t i = 0; i < PUNCH_MAX; i++) {
        if (p->list[i].peer != 0 && p->list[i].due_ms <= now_ms) {
            attempt_step(p->vl1, &p->list[i], now_ms);
        }
    }
    if (p->seek.peer != 0 && p->seek.due_ms <= now_ms) {
        seek_run(p, now_ms);
    }
    if (p->sweep_ms <= now_ms) {
        p->sweep_ms = extras_sweep(p->vl1) > 0 ? now_ms + EXTRA_SWEEP_MS : INT64_MAX;
    }
    punching_schedule(p, now_ms);
}
