/* Which foreign MACs live behind which bridge: learned from frames of active bridges, the last one
 * wins. And frames that come back, because two bridges are in one LAN.
 * Source: spec 03 section 10.2 with Do better 18, 19. */
#include "vl2/vl2_priv.h"

#include <stdlib.h>
#include <string.h>

/* The bridge stays, perhaps without routes: bridge_release. */
static void route_free(struct network *net, struct bridge_route *route)
{
    route->bridge->count--;
    hmap_remove(&net->routes, &route->node);
    list_remove(&route->link);
    free(route);
}

/* Forget a bridge that has no routes. */
static void bridge_release(struct network *net, struct bridge *bridge)
{
    if (bridge->count == 0) {
        hmap_remove(&net->bridges, &bridge->node);
        free(bridge);
    }
}

static struct bridge *bridge_get(struct network *net, uint64_t address)
{
    struct hmap_node *n = hmap_find(&net->bridges, address);
    struct bridge *bridge;

    if (n != NULL) {
        return CONTAINER_OF(n, struct bridge, node);
    }
    bridge = calloc(1, sizeof(*bridge));
    if (bridge == NULL || hmap_insert(&net->bridges, &bridge->node, address) != 0) {
        free(bridge);
        return NULL;
    }
    list_init(&bridge->routes);
    return bridge;
}

/* Oldest routes of a bridge go when they expired or when it has too many. */
static void trim(struct network *net, struct bridge *bridge, int64_t now_ms)
{
    while (bridge->count > 1) { /* the last one is fresh: it keeps the bridge */
        struct bridge_route *oldest =
            CONTAINER_OF(list_first(&bridge->routes), struct bridge_route, link);

        if (bridge->count <= BRIDGE_ROUTES_MAX && now_ms - oldest->seen_ms < BEHIND_MS) {
            break;
        }
        route_free(net, oldest);
    }
}

static struct bridge_route *route_find(const struct network *net, uint64_t mac)
{
    struct hmap_node *n = hmap_find(&net->routes, mac);

    return n != NULL ? CONTAINER_OF(n, struct bridge_route, node) : NULL;
}

void bridge_learn(struct network *net, uint64_t mac, uint64_t address, int64_t now_ms)
{
    struct bridge_route *route = route_find(net, mac);
    struct bridge *bridge;

    if (mac_is_member(net->id, mac) && member_exists(net, mac_member_address(net->id, mac))) {
        return;
    }
    if (mac_is_member(net->id, mac)) { /* frames to that member do not go to it any more */
        member_withdraw(net, mac_member_address(net->id, mac));
    }
    if (route != NULL && route->bridge->node.key == address) {
        route->seen_ms = now_ms;
        list_remove(&route->link);
        list_push(&route->bridge->routes, &route->link);
        return;
    }
    if (route != NULL) {
        struct bridge *former = route->bridge;

        route_free(net, route);
        bridge_release(net, former);
    }
    bridge = bridge_get(net, address);
    route = bridge != NULL ? calloc(1, sizeof(*route)) : NULL;
    if (route == NULL || hmap_insert(&net->routes, &route->node, mac) != 0) {
        free(route);
        if (bridge != NULL) {
            bridge_release(net, bridge);
        }
        vl2_count(net->vl2, COUNT_NO_MEMORY);
        return;
    }
    route->bridge = bridge;
    route->seen_ms = now_ms;
    list_push(&bridge->routes, &route->link);
    bridge->count++;
    trim(net, bridge, now_ms);
}

uint64_t bridge_find(struct network *net, uint64_t mac, int64_t now_ms)
{
    struct bridge_route *route = net->routes.count > 0 ? route_find(net, mac) : NULL;

    if (route == NULL) {
        return 0;
    }
    if (now_ms - route->seen_ms >= BEHIND_MS) {
        struct bridge *former = route->bridge;

        route_free(net, route);
        bridge_release(net, former);
        return 0;
    }
    return route->bridge->node.key;
}

uint64_t bridge_of(struct network *net, uint64_t mac, int64_t now_ms)
{
    uint64_t via = bridge_find(net, mac, now_ms);

    if (via == 0 || via == net->vl2->self || !network_is_bridge(net, via)) {
        return 0;
    }
    if (mac_is_member(net->id, mac) && member_exists(net, mac_member_address(net->id, mac))) {
        return 0;
    }
    return via;
}

/* ---- loops ---- */

/* A frame that was flooded lately. */
struct flooded {
    uint64_t hash; /* 0: free */
    int64_t first_ms;
    unsigned repeats; /* the same way */
    bool outbound;
};

struct bridge_loops {
    int64_t told_ms;                           /* last warning */
    struct flooded frames[BRIDGE_LOOP_FRAMES]; /* by hash */
};

static uint64_t frame_hash(const struct filter_frame *frame, uint64_t seed)
{
    uint64_t hash = hash_mix(frame->dest_mac ^ (uint64_t)frame->ethertype << 48, seed);
    size_t i = 0;

    hash = hash_mix(hash ^ frame->source_mac ^ (uint64_t)frame->len << 48, seed);
    for (; i + sizeof(uint64_t) <= frame->len; i += sizeof(uint64_t)) {
        uint64_t word;

        memcpy(&word, frame->payload + i, sizeof(word));
        hash = hash_mix(hash ^ word, seed);
    }
    if (i < frame->len) {
        uint64_t word = 0;

        memcpy(&word, frame->payload + i, frame->len - i);
        hash = hash_mix(hash ^ word, seed);
    }
    return hash != 0 ? hash : 1;
}

static void tell_of_loop(const struct network *net, const struct filter_frame *frame,
                         int64_t now_ms)
{
    struct bridge_loops *loops = net->loops;

    if (loops->told_ms == NEVER || now_ms - loops->told_ms >= BRIDGE_LOOP_LOG_MS) {
        loops->told_ms = now_ms;
        engine_log(
            net->vl2->env, LOG_LEVEL_WARN,
            "vl2: loop: a frame came back, another bridge of this network is in the same LAN "
            "network=%016llx mac=%012llx",
            (unsigned long long)net->id, (unsigned long long)frame->source_mac);
    }
}

bool bridge_is_loop(struct network *net, bool outbound, const struct filter_frame *frame,
                    int64_t now_ms)
{
    uint64_t hash = frame_hash(frame, net->vl2->seed);
    struct bridge_loops *loops = net->loops;
    size_t i = hash % BRIDGE_LOOP_FRAMES;
    struct flooded *flooded;

    if (loops == NULL) {
        loops = net->loops = calloc(1, sizeof(*loops));
        if (loops == NULL) {
            vl2_count(net->vl2, COUNT_NO_MEMORY);
            return false;
        }
        loops->told_ms = NEVER;
    }
    flooded = &loops->frames[i];
    if (flooded->hash != hash || now_ms - flooded->first_ms >= BRIDGE_LOOP_MS) {
        *flooded = (struct flooded){.hash = hash, .first_ms = now_ms, .outbound = outbound};
        return false;
    }
    if (flooded->outbound == outbound && flooded->repeats < BRIDGE_LOOP_REPEATS) {
        flooded->repeats++;
        return false;
    }
    vl2_count(net->vl2, COUNT_BRIDGE_LOOP);
    tell_of_loop(net, frame, now_ms);
    return true;
}

void bridges_clear(struct network *net)
{
    struct hmap_node *n;

    free(net->loops);
    net->loops = NULL;

    while ((n = hmap_drain(&net->routes)) != NULL) {
        free(CONTAINER_OF(n, struct bridge_route, node));
    }
    while ((n = hmap_drain(&net->bridges)) != NULL) {
        free(CONTAINER_OF(n, struct bridge, node));
    }
    hmap_done(&net->routes);
    hmap_done(&net->bridges);
}
