/* Which foreign MACs live behind which bridge: learned from frames of active bridges, the last one
 * wins. Source: spec 03 section 10.2 with Do better 18, 19. */
#include "vl2/vl2_priv.h"

#include <stdlib.h>

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

void bridges_clear(struct network *net)
{
    struct hmap_node *n;

    while ((n = hmap_drain(&net->routes)) != NULL) {
        free(CONTAINER_OF(n, struct bridge_route, node));
    }
    while ((n = hmap_drain(&net->bridges)) != NULL) {
        free(CONTAINER_OF(n, struct bridge, node));
    }
    hmap_done(&net->routes);
    hmap_done(&net->bridges);
}
