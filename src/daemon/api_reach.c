/* What GET /status tells about how this node reaches others, beyond what the reference tells: NAT,
 * roots, port mapping, TCP relay. Source: spec 05 sections 3.5, 12 ("stuck on relay, no reason
 * shown") and 13.13. */
#include "daemon/api_json.h"
#include "daemon/api_priv.h"
#include "daemon/service_priv.h"

#include "base/hex.h"
#include "wire/world.h"

#include <stdlib.h>
#include <unistd.h>

static void set(json_t *object, const char *key, json_t *value)
{
    (void)json_object_set_new(object, key, value); /* out of memory: the member is missing */
}

static json_t *address_text(const struct inetaddr *a)
{
    char text[INETADDR_TEXT_LEN];
    inetaddr_print(a, text);
    return json_string(text);
}

static json_t *nat_object(const struct service *svc)
{
    json_t *o = json_object();
    set(o, "ipv4", json_string(nat_kind_text(node_nat_kind(svc->node, INETADDR_V4))));
    set(o, "ipv6", json_string(nat_kind_text(node_nat_kind(svc->node, INETADDR_V6))));
    return o;
}

static json_t *ip_text(const struct inetaddr *a)
{
    char text[INETADDR_TEXT_LEN];
    inetaddr_print_ip(a, text);
    return a->family == INETADDR_NIL ? json_null() : json_string(text);
}

static json_t *mapping_object(const struct service *svc)
{
    struct portmap_status in;
    json_t *o = json_object();
    portmap_status(&svc->portmap, &in);
    bool mapped = in.grant.protocol != PORTMAP_BY_NONE;
    set(o, "enabled", json_boolean(svc->config->port_mapping));
    set(o, "state",
        json_string(mapped        ? "mapped"
                    : !in.enabled ? "off"
                    : in.asking   ? "asking"
                                  : "none"));
    set(o, "gateway", ip_text(&in.gateway));
    set(o, "external", mapped ? address_text(&in.grant.external) : json_null());
    if (mapped) {
        set(o, "protocol", json_string(portmap_protocol_name(in.grant.protocol)));
        set(o, "internalPort", json_integer(in.internal));
        set(o, "lease", json_integer(in.grant.lifetime_s));
        set(o, "leaseLeft", json_integer(in.left_s));
        set(o, "behindAnotherNat", json_boolean(portmap_is_nested(&in.grant)));
    }
    return o;
}

static json_t *tcp_relay_object(const struct service *svc)
{
    static const char *const states[] = {
        [RELAY_IDLE] = "idle",    [RELAY_WAIT] = "waiting", [RELAY_TRY] = "connecting",
        [RELAY_UP] = "connected", [RELAY_REST] = "resting",
    };
    const struct relay_way *way = relay_in_use(&svc->relay);
    json_t *o = json_object();
    set(o, "allowed", json_boolean(svc->config->allow_tcp_relay || svc->config->force_tcp_relay));
    set(o, "forced", json_boolean(svc->config->force_tcp_relay));
    set(o, "state", json_string(states[svc->relay.state]));
    set(o, "address", way == NULL ? json_null() : address_text(&way->to));
    set(o, "transport", way == NULL ? json_null() : json_string(way->tls ? "tls" : "plain"));
    return o;
}

/* Endpoints of a root, each with what its newest path over any of our sockets knows. */
static json_t *endpoint_array(const struct service *svc, const struct world_root *root,
                              const struct node_peer_info *peer)
{
    json_t *array = json_array();
    for (size_t i = 0; i < root->endpoint_count; i++) {
        const struct node_path_info *best = NULL;
        for (size_t k = 0; k < peer->path_count; k++) {
            const struct node_path_info *path = &peer->paths[k];
            if (inetaddr_equal(&path->remote, &root->endpoints[i]) &&
                (best == NULL || path->last_receive_ms > best->last_receive_ms)) {
                best = path;
            }
        }
        json_t *o = json_object();
        set(o, "address", address_text(&root->endpoints[i]));
        set(o, "latency", json_integer(best == NULL ? -1 : best->latency_ms));
        set(o, "lastReceive",
            json_integer(best == NULL ? 0 : best->last_receive_ms + svc->wall_offset_ms));
        (void)json_array_append_new(array, o);
    }
    return array;
}

static json_t *root_object(const struct service *svc, const struct world_root *root,
                           const char *role, uint64_t relay)
{
    struct node_peer_info peer;
    json_t *o = json_object();
    char digits[17];
    if (node_peer(svc->node, root->identity.address, service_now(), &peer) < 0) {
        peer = (struct node_peer_info){.latency_ms = -1, .last_receive_ms = INT64_MIN};
    }
    hex_from_u64(root->identity.address, 10, digits);
    set(o, "address", json_string(digits));
    set(o, "role", json_string(role));
    set(o, "self", json_boolean(root->identity.address == svc->identity.address));
    set(o, "online", json_boolean(peer.path_count > 0));
    set(o, "latency", json_integer(peer.latency_ms));
    set(o, "lastReceive",
        json_integer(
            peer.last_receive_ms == INT64_MIN ? 0 : peer.last_receive_ms + svc->wall_offset_ms));
    set(o, "relay", json_boolean(root->identity.address == relay));
    set(o, "planetTimestamp", json_integer((json_int_t)peer.planet_timestamp));
    set(o, "endpoints", endpoint_array(svc, root, &peer));
    free(peer.paths);
    return o;
}

static json_t *root_array(const struct service *svc)
{
    const struct world *planet = node_planet(svc->node);
    struct node_moon_info moon;
    struct node_status status;
    json_t *array = json_array();
    node_get_status(svc->node, service_now(), &status);
    for (size_t i = 0; planet != NULL && i < planet->root_count; i++) {
        (void)json_array_append_new(array,
                                    root_object(svc, &planet->roots[i], "PLANET", status.relay));
    }
    for (size_t m = 0; node_moon(svc->node, m, &moon); m++) {
        for (size_t i = 0; moon.world != NULL && i < moon.world->root_count; i++) {
            (void)json_array_append_new(
                array, root_object(svc, &moon.world->roots[i], "MOON", status.relay));
        }
    }
    return array;
}

void api_reach_add(json_t *status, const struct service *svc)
{
    const json_t *settings = json_object_get(json_object_get(status, "config"), "settings");
    set(status, "nat", nat_object(svc));
    set(status, "surfaceAddresses", json_copy(json_object_get(settings, "surfaceAddresses")));
    set(status, "portMapping", mapping_object(svc));
    set(status, "tcpRelay", tcp_relay_object(svc));
    set(status, "roots", root_array(svc));
    set(status, "uptime", json_integer(service_now() - svc->started_ms));
    set(status, "pid", json_integer(getpid()));
}
