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
        assert(sim->cut_count < 64);
        sim->cuts[sim->cut_count++] = (struct sim_cut){a, b};
    }
}

static bool is_cut(const struct sim *sim, const struct sim_node *a, const struct sim_node *b)
{
    for (size_t i = 0; i < sim->cut_count; i++) {
        if ((sim->cuts[i].a == a && sim->cuts[i].b == b) ||
            (sim->cuts[i].a == b && sim->cuts[i].b == a)) {
            return true;
        }
    }
    return a->isolated || b->isolated;
}

/* ---- routers ---- */

/* Leave by the router: the source address the world sees. */
static struct inetaddr nat_out(struct sim_node *from, const struct inetaddr *to)
{
    struct sim_nat *nat = from->nat;
    struct inetaddr source = nat->outside;
    uint16_t port = 0;

    for (size_t i = 0; i < nat->map_count; i++) {
        const struct sim_map *m = &nat->maps[i];

        if (!inetaddr_equal(&m->inside, &from->at)) {
            continue;
        }
        if (inetaddr_equal(&m->dest, to)) {
            source.port = m->port;
            return source;
        }
        port = nat->kind != SIM_NAT_SYMMETRIC ? m->port : 0;
    }
    if (port == 0) {
        port = nat->next_port++;
    }
    if (nat->map_count == nat->map_cap) {
        nat->map_cap = nat->map_cap > 0 ? 2 * nat->map_cap : 16;
        nat->maps = realloc(nat->maps, nat->map_cap * sizeof(*nat->maps));
        assert(nat->maps != NULL);
    }
    nat->maps[nat->map_count++] = (struct sim_map){.inside = from->at, .dest = *to, .port = port};
    source.port = port;
    return source;
}

/* Arrive at a router: may this source come in on this port, and to whom? */
static bool nat_in(const struct sim_nat *nat, const struct inetaddr *source, uint16_t port,
                   struct inetaddr *ret_inside)
{
    for (size_t i = 0; i < nat->map_count; i++) {
        const struct sim_map *m = &nat->maps[i];
        bool pass = nat->kind == SIM_NAT_FULL_CONE ||
                    (nat->kind == SIM_NAT_RESTRICTED && inetaddr_ip_equal(&m->dest, source)) ||
                    inetaddr_equal(&m->dest, source);

        if (m->port == port && pass) {
            *ret_inside = m->inside;
            return true;
        }
    }
    return false;
}

static struct sim_node *find_target(struct sim *sim, const struct sim_node *from,
                                    const struct inetaddr *source, const struct inetaddr *to,
                                    bool *ret_lan)
{
    for (size_t i = 0; i < sim->node_count; i++) {
        struct sim_node *n = sim->nodes[i];
        struct inetaddr inside;

        *ret_lan = n->nat != NULL && n->nat == from->nat;
        if (n != from && (n->nat == NULL || *ret_lan) && inetaddr_equal(&n->at, to)) {
            return n;
        }
        if (n->nat != NULL && !*ret_lan && inetaddr_ip_equal(&n->nat->outside, to) &&
            nat_in(n->nat, source, to->port, &inside) && inetaddr_equal(&inside, &n->at)) {
            return n;
        }
    }
    return NULL;
}

static void put_on_wire(struct sim *sim, struct sim_node *to, const struct inetaddr *source,
                        const void *data, size_t len, unsigned delay_ms)
{
    struct sim_event *event = calloc(1, sizeof(*event) + len);

    assert(event != NULL);
    event->at_ms = sim->now_ms + delay_ms;
    event->node = to;
    event->from = *source;
    event->len = len;
    memcpy(event->data, data, len);
    sim_push(sim, event);
}

void sim_transmit(struct sim_node *from, const struct inetaddr *to, const void *data, size_t len,
                  unsigned ttl)
{
    struct sim *sim = from->sim;
    bool private_dest = to->family == INETADDR_V4 && to->ip[0] == 192 && to->ip[1] == 168;
    struct inetaddr source = from->at;
    struct sim_node *target;
    bool lan = false;
    unsigned delay;

    if (from->nat != NULL && !private_dest) {
        source = nat_out(from, to);
    }
    target = find_target(sim, from, &source, to, &lan);
    if (target == NULL || is_cut(sim, from, target)) {
        return;
    }
    if (lan) {
        put_on_wire(sim, target, &source, data, len, 0);
        return;
    }
    if (ttl != 0 && ttl <= 2) {
        return; /* dies on the way, after it opened the own router */
    }
    if (sim_random(sim, 100) < sim->options.loss_pct) {
        return;
    }
    delay = sim->options.latency_ms + (unsigned)sim_random(sim, sim->options.jitter_ms + 1u);
    put_on_wire(sim, target, &source, data, len, delay);
    if (sim_random(sim, 100) < sim->options.dup_pct) {
        put_on_wire(sim, target, &source, data, len, delay + 1);
    }
}
