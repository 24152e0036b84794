/* What lies between nodes: addresses, routers with NAT, loss, delay, partitions. */
#include "sim_priv.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

/* ---- places ---- */

/* Public addresses 45.x.y.1; behind a router 192.168.z.2 with the public address outside. */
static struct inetaddr public_address(struct sim *sim)
{
    struct inetaddr a = {.family = INETADDR_V4, .port = 9993};
    uint32_t site = ++sim->sites;

    a.ip[0] = 45;
    a.ip[1] = (uint8_t)(site >> 8);
    a.ip[2] = (uint8_t)site;
    a.ip[3] = 1;
    return a;
}

void sim_place(struct sim_node *node, enum sim_nat_kind kind)
{
    struct inetaddr outside = public_address(node->sim);

    if (kind == SIM_NAT_NONE) {
        node->at = outside;
        return;
    }
    node->nat = calloc(1, sizeof(*node->nat));
    assert(node->nat != NULL);
    node->nat->kind = kind;
    node->nat->outside = outside;
    node->nat->next_port = 20000;
    node->nat->users = 1;
    node->at = (struct inetaddr){.family = INETADDR_V4, .port = 9993};
    node->at.ip[0] = 192;
    node->at.ip[1] = 168;
    node->at.ip[2] = outside.ip[2];
    node->at.ip[3] = 2;
}

void sim_move(struct sim_node *node)
{
    if (node->nat != NULL) {
        node->nat->outside = public_address(node->sim);
        node->nat->map_count = 0;
    } else {
        node->at = public_address(node->sim);
        if (node->node != NULL) {
            sim_set_sockets(node);
        }
    }
}

void sim_nat_rebind(struct sim_node *node)
{
    if (node->nat != NULL) {
        node->nat->map_count = 0;
        node->nat->next_port = (uint16_t)(node->nat->next_port + 100);
    }
}

void sim_isolate(struct sim_node *node, bool cut)
{
    node->isolated = cut;
}

static void cut_add(struct sim *sim, const struct sim_cut *cut)
{
    assert(sim->cut_count < COUNT_OF(sim->cuts));
    sim->cuts[sim->cut_count++] = *cut;
}

void sim_partition(struct sim_node *a, struct sim_node *b, bool cut)
{
    struct sim *sim = a->sim;

    for (size_t i = sim->cut_count; i-- > 0;) {
        if ((sim->cuts[i].a == a && sim->cuts[i].b == b) ||
            (sim->cuts[i].a == b && sim->cuts[i].b == a)) {
            sim->cuts[i] = sim->cuts[--sim->cut_count];
        }
    }
    if (cut) {
        cut_add(sim, &(struct sim_cut){.a = a, .b = b});
    }
}

void sim_deafen(struct sim_node *from, struct sim_node *to, bool cut)
{
    sim_partition(from, to, false);
    if (cut) {
        cut_add(from->sim, &(struct sim_cut){.a = from, .b = to, .one_way = true});
    }
}

void sim_set_mtu(struct sim_node *node, unsigned mtu)
{
    node->mtu = mtu;
}

static bool is_too_large(const struct sim_node *node, size_t len)
{
    return node->mtu != 0 && len > node->mtu;
}

static bool is_cut(const struct sim *sim, const struct sim_node *a, const struct sim_node *b)
{
    for (size_t i = 0; i < sim->cut_count; i++) {
        if ((sim->cuts[i].a == a && sim->cuts[i].b == b) ||
            (sim->cuts[i].a == b && sim->cuts[i].b == a && !sim->cuts[i].one_way)) {
            return true;
        }
    }
    return a->isolated || b->isolated;
}

/* ---- routers ---- */

static bool is_symmetric(const struct sim_nat *nat)
{
    return nat->kind == SIM_NAT_SYMMETRIC || nat->kind == SIM_NAT_SYMMETRIC_RANDOM;
}

static bool port_is_taken(const struct sim_nat *nat, uint16_t port)
{
    for (size_t i = 0; i < nat->map_count; i++) {
        if (nat->maps[i].port == port) {
            return true;
        }
    }
    return false;
}

static uint16_t nat_port(struct sim *sim, struct sim_nat *nat)
{
    uint16_t port;

    if (nat->kind == SIM_NAT_SYMMETRIC_RANDOM) {
        do {
            port = (uint16_t)(1024 + sim_random(sim, 65536 - 1024));
        } while (port_is_taken(nat, port));
        return port;
    }
    if (nat->kind == SIM_NAT_SYMMETRIC && sim_random(sim, 8) == 0) {
        nat->next_port++; /* somebody else behind it */
    }
    return nat->next_port++;
}

static void nat_expire(struct sim_nat *nat, int64_t now_ms)
{
    for (size_t i = nat->map_count; nat->timeout_ms > 0 && i-- > 0;) {
        if (now_ms - nat->maps[i].used_ms >= nat->timeout_ms) {
            nat->maps[i] = nat->maps[--nat->map_count];
        }
    }
}

/* Leave by the router: the source address the world sees. */
static struct inetaddr nat_out(struct sim_node *from, const struct inetaddr *inside,
                               const struct inetaddr *to)
{
    struct sim_nat *nat = from->nat;
    struct inetaddr source = nat->outside;
    uint16_t port = 0;

    nat_expire(nat, from->sim->now_ms);
    for (size_t i = 0; i < nat->map_count; i++) {
        struct sim_map *m = &nat->maps[i];

        if (!inetaddr_equal(&m->inside, inside)) {
            continue;
        }
        if (inetaddr_equal(&m->dest, to)) {
            m->used_ms = from->sim->now_ms;
            source.port = m->port;
            return source;
        }
        port = !is_symmetric(nat) ? m->port : 0;
    }
    if (port == 0) {
        port = nat_port(from->sim, nat);
    }
    if (nat->map_count == nat->map_cap) {
        nat->map_cap = nat->map_cap > 0 ? 2 * nat->map_cap : 16;
        nat->maps = realloc(nat->maps, nat->map_cap * sizeof(*nat->maps));
        assert(nat->maps != NULL);
    }
    nat->maps[nat->map_count++] = (struct sim_map){
        .inside = *inside, .dest = *to, .port = port, .used_ms = from->sim->now_ms};
    source.port = port;
    return source;
}

/* Arrive at a router: may this source come in on this port, and to whom? */
static bool nat_in(struct sim_nat *nat, const struct inetaddr *source, uint16_t port,
                   int64_t now_ms, struct inetaddr *ret_inside)
{
    nat_expire(nat, now_ms);
    for (size_t i = 0; i < nat->map_count; i++) {
        struct sim_map *m = &nat->maps[i];
        bool pass = nat->kind == SIM_NAT_FULL_CONE ||
                    (nat->kind == SIM_NAT_RESTRICTED && inetaddr_ip_equal(&m->dest, source)) ||
                    inetaddr_equal(&m->dest, source);

        if (m->port == port && pass) {
            m->used_ms = now_ms;
            *ret_inside = m->inside;
            return true;
        }
    }
    return false;
}

void sim_nat_set(struct sim_node *node, bool hairpin, int64_t timeout_ms)
{
    if (node->nat != NULL) {
        node->nat->hairpin = hairpin;
        node->nat->timeout_ms = timeout_ms;
    }
}

void sim_nat_kind_set(struct sim_node *node, enum sim_nat_kind kind)
{
    node->nat->kind = kind;
    node->nat->map_count = 0;
}

struct target {
    struct sim_node *node;
    uint32_t socket;
    bool lan; /* nothing but a switch between */
};

static struct target find_target(struct sim *sim, const struct sim_node *from,
                                 const struct inetaddr *source, const struct inetaddr *to)
{
    for (size_t i = 0; i < sim->node_count; i++) {
        struct sim_node *n = sim->nodes[i];
        bool lan = n->nat != NULL && n->nat == from->nat;
        uint32_t socket = n != from && (n->nat == NULL || lan) ? sim_socket_at(n, to) : 0;
        struct inetaddr inside;

        if (socket != 0) {
            return (struct target){n, socket, lan};
        }
        if (n->nat != NULL && (!lan || n->nat->hairpin) &&
            inetaddr_ip_equal(&n->nat->outside, to) &&
            nat_in(n->nat, source, to->port, sim->now_ms, &inside)) {
            socket = sim_socket_at(n, &inside);
            if (socket != 0) {
                return (struct target){n, socket, lan};
            }
        }
    }
    return (struct target){0};
}

static void put_on_wire(struct sim *sim, const struct target *to, const struct inetaddr *source,
                        const void *data, size_t len, unsigned delay_ms)
{
    struct sim_event *event = calloc(1, sizeof(*event) + len);

    assert(event != NULL);
    event->at_ms = sim->now_ms + delay_ms;
    event->node = to->node;
    event->socket = to->socket;
    event->from = *source;
    event->len = len;
    memcpy(event->data, data, len);
    sim_push(sim, event);
}

void sim_transmit(struct sim_node *from, uint32_t socket, const struct inetaddr *to,
                  const void *data, size_t len, unsigned how)
{
    struct sim *sim = from->sim;
    bool private_dest = to->family == INETADDR_V4 && to->ip[0] == 192 && to->ip[1] == 168;
    struct inetaddr source = sim_socket_address(from, socket);
    struct target target;
    unsigned delay;

    if (source.family == INETADDR_NIL) {
        return; /* closed meanwhile */
    }
    if (from->nat != NULL && !private_dest) {
        source = nat_out(from, &source, to);
    }
    target = find_target(sim, from, &source, to);
    if (target.node == NULL || is_cut(sim, from, target.node)) {
        return;
    }
    if (target.lan) {
        put_on_wire(sim, &target, &source, data, len, 0);
        return;
    }
    if ((how & SEND_TTL) != 0 && (how & SEND_TTL) <= 2) {
        return; /* dies on the way, after it opened the own router */
    }
    if (is_too_large(from, len) || is_too_large(target.node, len)) {
        return;
    }
    if (sim_random(sim, 100) < sim->options.loss_pct) {
        return;
    }
    delay = sim->options.latency_ms + (unsigned)sim_random(sim, sim->options.jitter_ms + 1u);
    put_on_wire(sim, &target, &source, data, len, delay);
    if (sim_random(sim, 100) < sim->options.dup_pct) {
        put_on_wire(sim, &target, &source, data, len, delay + 1);
    }
}
