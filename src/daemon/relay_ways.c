/* Where a TCP relay may be: at the address of the settings; at the roots, which offer one; in the
 * public network at its own. Source: spec 02 section 12. */
#include "daemon/relay.h"
#include "daemon/service_priv.h"
#include "wire/world.h"

/* The relay of the public network. */
static const struct inetaddr public_relay = {
    .family = INETADDR_V4, .ip = {204, 80, 128, 1}, .port = 443};

static void add_way(struct relay *relay, const struct inetaddr *to, enum relay_kind kind, bool tls)
{
    for (size_t i = 0; i < relay->way_count; i++) {
        if (relay->ways[i].tls == tls && inetaddr_equal(&relay->ways[i].to, to)) {
            return;
        }
    }
    if (relay->way_count < RELAY_WAYS_MAX) {
        relay->ways[relay->way_count++] = (struct relay_way){.to = *to, .kind = kind, .tls = tls};
    }
}

/* The public roots offer none. */
static void add_world(struct relay *relay, const struct world *world, enum relay_kind kind)
{
    uint64_t own = relay->svc->identity.address;
    if (world == NULL || (world->type == WORLD_PLANET && world->id == WORLD_ID_EARTH)) {
        return;
    }
    for (size_t i = 0; i < world->root_count; i++) {
        const struct world_root *root = &world->roots[i];
        for (size_t k = 0; k < root->endpoint_count && root->identity.address != own; k++) {
            struct inetaddr to = root->endpoints[k];
            if (to.family != INETADDR_NIL) {
                to.port = RELAY_PORT;
                add_way(relay, &to, kind, kind == RELAY_TLS);
            }
        }
    }
}

static void add_roots(struct relay *relay, enum relay_kind kind)
{
    struct node_moon_info moon;
    add_world(relay, node_planet(relay->svc->node), kind);
    for (size_t i = 0; node_moon(relay->svc->node, i, &moon); i++) {
        add_world(relay, moon.world, kind);
    }
}

void relay_find_ways(struct relay *relay)
{
    const struct inetaddr *configured = &relay->svc->config->tcp_relay;
    const struct world *planet = node_planet(relay->svc->node);
    relay->way_count = relay->way_next = 0;
    if (configured->family != INETADDR_NIL) {
        add_way(relay, configured, RELAY_CONFIGURED, false);
        add_way(relay, configured, RELAY_TLS, true);
    }
    add_roots(relay, RELAY_TLS);
    add_roots(relay, RELAY_PLAIN);
    if (planet != NULL && planet->id == WORLD_ID_EARTH && configured->family == INETADDR_NIL) {
        add_way(relay, &public_relay, RELAY_PUBLIC, false);
    }
}
