/* The easy side of two: a peer behind a symmetric NAT opened many sockets towards us, and we try
 * ports of its address until one is hit. What others can make us send is bounded: only trusted
 * peers, only to an IP at which an upstream reaches that peer, one peer at a time, 1024 ports a
 * round, 250 a second, and ever longer pauses for one IP. Source: spec 02 Do better 6 and 19. */
#include "vl1/vl1_priv.h"

enum {
    PORT_LOW = 1024,
    PORTS = 65536 - PORT_LOW, /* 2^10 * 63 */
};

/* Pause after so many rounds to one IP. The other side pauses a little longer. */
static int64_t seek_pause(unsigned rounds)
{
    static const int64_t pause[] = {0, 10000, 45000, 240000};

    return pause[rounds < COUNT_OF(pause) ? rounds : COUNT_OF(pause) - 1];
}

/* The record of an IP, a free one or the oldest that may be forgotten; NULL: all are in use. */
static struct seek_target *target_of(struct punching *p, const struct inetaddr *at, int64_t now_ms)
{
    struct seek_target *slot = NULL;

    for (size_t i = 0; i < SEEK_TARGETS; i++) {
        struct seek_target *t = &p->targets[i];

        if (t->at.family != INETADDR_NIL && now_ms - t->at_ms >= SEEK_FORGET_MS) {
            *t = (struct seek_target){0};
        }
        if (t->at.family != INETADDR_NIL && inetaddr_ip_equal(&t->at, at)) {
            return t;
        }
        slot = t->at.family == INETADDR_NIL ? t : slot;
    }
    return slot;
}

void seek_begin(struct peer *peer, const struct inetaddr *at, int64_t now_ms)
{
    struct vl1 *vl1 = peer->vl1;
    const struct inetaddr *met = peer_met(peer, now_ms);
    struct punching *p = punching_get(vl1);
    struct seek_target *target;
    uint16_t random[2];

    if (p == NULL || p->seek.peer != 0 || met == NULL || !inetaddr_ip_equal(met, at) ||
        nat_of_socket(vl1, peer->traversal->met_socket) >= NAT_SEQUENTIAL ||
        peer_has_direct_path(peer, now_ms)) {
        return;
    }
    target = target_of(p, at, now_ms);
    if (target == NULL || (target->at.family != INETADDR_NIL &&
                           now_ms - target->at_ms < seek_pause(target->rounds))) {
        return;
    }
    *target = (struct seek_target){*at, target->rounds + 1, now_ms};
    vl1->env.random(vl1->env.ctx, random, sizeof(random));
    p->seek = (struct seek){.peer = peer->identity.address,
                            .at = *met,
                            .socket = peer->traversal->met_socket,
                            .start = (uint16_t)(random[0] % PORTS),
                            .stride = (uint16_t)(random[1] % PORTS | 1),
                            .due_ms = now_ms};
    while (p->seek.stride % 3 == 0 || p->seek.stride % 7 == 0) {
        p->seek.stride = (uint16_t)(p->seek.stride + 2); /* no common divisor: all ports differ */
    }
    punching_schedule(p, now_ms);
}

/* The n-th port of a round: first outwards from the one known, since NATs give a host ports of one
 * block; then any, each once. */
static uint16_t seek_port(const struct seek *seek, unsigned n)
{
    if (n < SEEK_NEAR) {
        int off = (int)(n / 2 + 1);
        int port = seek->at.port + (n % 2 == 0 ? off : -off);

        return (uint16_t)(PORT_LOW + (port - PORT_LOW + PORTS) % PORTS);
    }
    return (uint16_t)(PORT_LOW + (seek->start + (uint64_t)n * seek->stride) % PORTS);
}

void seek_run(struct punching *p, int64_t now_ms)
{
    struct vl1 *vl1 = p->vl1;
    struct seek *seek = &p->seek;
    struct peer *peer = peer_in_memory(vl1, seek->peer);
    size_t len;

    if (peer != NULL && peer_has_direct_path(peer, now_ms)) {
        struct seek_target *target = target_of(p, &seek->at, now_ms);

        if (target != NULL) {
            *target = (struct seek_target){0};
        }
        peer = NULL;
    }
    if (peer == NULL || seek->done >= SEEK_PORTS) {
        *seek = (struct seek){0};
        return;
    }
    len = hello_make(peer, now_ms);
    for (unsigned i = 0; len > 0 && i < SEEK_TICK_PORTS && seek->done < SEEK_PORTS; i++) {
        struct inetaddr to = seek->at;

        to.port = seek_port(seek, seek->done++);
        vl1_emit(vl1, seek->socket, &to, vl1->wire, len, 0);
    }
    seek->due_ms = now_ms + SEEK_TICK_MS;
}
