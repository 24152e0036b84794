/* JSON objects of the local API. Source: spec 05 sections 3.5 to 3.8. */
#include "daemon/api_json.h"

#include "base/hex.h"
#include "daemon/relay.h"
#include "wire/identity.h"
#include "wire/mac.h"
#include "wire/world.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void set(json_t *object, const char *key, json_t *value)
{
    (void)json_object_set_new(object, key, value); /* out of memory: the member is missing */
}

static json_t *inetaddr_text(const struct inetaddr *a)
{
    char text[INETADDR_TEXT_LEN];
    inetaddr_print(a, text);
    return json_string(text);
}

static json_t *inetaddr_array(const struct inetaddr *list, size_t count)
{
    json_t *array = json_array();
    for (size_t i = 0; i < count; i++) {
        (void)json_array_append_new(array, inetaddr_text(&list[i]));
    }
    return array;
}

static json_t *hex_text(uint64_t value, unsigned digits)
{
    char text[17];
    hex_from_u64(value, digits, text);
    return json_string(text);
}

static json_t *mac_text(uint64_t mac)
{
    char text[MAC_TEXT_LEN];
    mac_print(mac, text);
    return json_string(text);
}

json_t *api_json_text(const char *text)
{
    json_t *plain = json_string(text);
    if (plain != NULL) {
        return plain;
    }
    char *safe = malloc(3 * strlen(text) + 1);
    if (safe == NULL) {
        return NULL;
    }
    size_t len = 0;
    for (; *text != '\0'; text++) {
        if ((unsigned char)*text < 0x80) {
            safe[len++] = *text;
        } else {
            /* NOLINTNEXTLINE(bugprone-not-null-terminated-result): has its length */
            memcpy(safe + len, "\xef\xbf\xbd", 3);
            len += 3;
        }
    }
    json_t *clean = json_stringn(safe, len);
    free(safe);
    return clean;
}

void api_version(int ret[3])
{
    const char *p = PANLAN_VERSION;
    for (int i = 0; i < 3; i++) {
        char *end;
        ret[i] = (int)strtol(p, &end, 10);
        p = *end == '.' ? end + 1 : end;
    }
}

static void set_version(json_t *object)
{
    int version[3];
    api_version(version);
    set(object, "versionMajor", json_integer(version[0]));
    set(object, "versionMinor", json_integer(version[1]));
    set(object, "versionRev", json_integer(version[2]));
    set(object, "versionBuild", json_integer(0));
    set(object, "version", json_string(PANLAN_VERSION));
}

json_t *api_json_health(const struct api_status *in)
{
    json_t *o = json_object();
    set_version(o);
    set(o, "online", json_boolean(in->node->online));
    set(o, "clock", json_integer(in->wall_ms));
    return o;
}

/* local.conf with "settings" completed by what is in effect. */
static json_t *completed_config(const struct api_status *in)
{
    const struct config *c = in->config;
    json_t *config = json_deep_copy(c->raw);
    json_t *settings = json_object_get(config, "settings");
    if (!json_is_object(settings)) {
        settings = json_object();
        set(config, "settings", settings);
    }
    set(settings, "primaryPort", json_integer(in->primary_port));
    set(settings, "secondaryPort", json_integer(in->secondary_port));
    set(settings, "tertiaryPort", json_integer(in->tertiary_port));
    set(settings, "allowTcpFallbackRelay", json_boolean(c->allow_tcp_relay));
    set(settings, "forceTcpRelay", json_boolean(c->force_tcp_relay));
    set(settings, "portMappingEnabled", json_boolean(c->port_mapping));
    set(settings, "homeDir", api_json_text(in->home));
    set(settings, "listeningOn", inetaddr_array(in->listening, in->listening_count));
    set(settings, "surfaceAddresses", inetaddr_array(in->surface, in->surface_count));
    set(settings, "softwareUpdate", json_string("disable"));
    set(settings, "softwareUpdateChannel", json_string(c->update_channel));
    return config;
}

json_t *api_json_status(const struct api_status *in)
{
    char identity[IDENTITY_TEXT_LEN];
    json_t *o = api_json_health(in);
    identity_print(in->identity, false, identity);
    set(o, "address", hex_text(in->node->address, 10));
    set(o, "publicIdentity", json_string(identity));
    set(o, "tcpFallbackActive", json_boolean(in->tcp_relay));
    set(o, "planetWorldId", json_integer((json_int_t)in->node->planet_id));
    set(o, "planetWorldTimestamp", json_integer((json_int_t)in->node->planet_timestamp));
    set(o, "config", completed_config(in));
    return o;
}

const char *api_network_status_name(enum network_status status)
{
    static const char *const names[] = {
        [NETWORK_REQUESTING_CONFIGURATION] = "REQUESTING_CONFIGURATION",
        [NETWORK_OK] = "OK",
        [NETWORK_ACCESS_DENIED] = "ACCESS_DENIED",
        [NETWORK_NOT_FOUND] = "NOT_FOUND",
        [NETWORK_PORT_ERROR] = "PORT_ERROR",
        [NETWORK_CLIENT_TOO_OLD] = "CLIENT_TOO_OLD",
        [NETWORK_AUTHENTICATION_REQUIRED] = "AUTHENTICATION_REQUIRED",
    };
    return (size_t)status < COUNT_OF(names) ? names[status] : "(unknown)";
}

/* What to say while there is no configuration. */
static void advise_waiting(uint64_t nwid, char out[API_ADVICE_LEN])
{
    if (nwid >> 56 == 0xff) { /* not one that has an implied configuration */
        (void)snprintf(out, API_ADVICE_LEN,
                       "there is no such ad-hoc network: IDs that begin with ff are "
                       "ffSSSSEEEE000000 (a range of ports) or ffAAhhhhhhhhhh01 (AA.0.0.0/8)");
        return;
    }
    (void)snprintf(out, API_ADVICE_LEN,
                   "its controller %010llx did not answer yet: is this node online (panlan info), "
                   "is the controller up, is the network ID right?",
                   (unsigned long long)(nwid >> 24));
}

void api_network_advice(enum network_status status, uint64_t nwid, const char *why,
                        char out[API_ADVICE_LEN])
{
    static const char *const text[] = {
        [NETWORK_OK] = "",
        [NETWORK_ACCESS_DENIED] =
            "not authorized: on the controller run panlan member authorize NETWORK NODE, or join "
            "with an invitation that is not used up",
        [NETWORK_NOT_FOUND] = "its controller knows no such network: compare the network ID",
        [NETWORK_CLIENT_TOO_OLD] =
            "the controller asks for a newer version of this program: update it",
        [NETWORK_AUTHENTICATION_REQUIRED] = "log in at the URL shown with the network",
    };
    out[0] = '\0';
    if (status == NETWORK_REQUESTING_CONFIGURATION) {
        advise_waiting(nwid, out);
    } else if (status == NETWORK_PORT_ERROR) {
        (void)snprintf(out, API_ADVICE_LEN, "no virtual device: %s", why);
    } else if (status == NETWORK_NOT_FOUND && nwid >> 56 == 0xff) {
        (void)snprintf(out, API_ADVICE_LEN,
                       "ffSSSSEEEE000000 wants a range of ports whose end is not below its start");
    } else if ((size_t)status < COUNT_OF(text)) {
        (void)snprintf(out, API_ADVICE_LEN, "%s", text[status]);
    }
}

static json_t *route_object(const struct netconf_route *route)
{
    json_t *o = json_object();
    char via[INETADDR_TEXT_LEN];
    set(o, "target", inetaddr_text(&route->target));
    if (route->via.family == route->target.family) {
        inetaddr_print_ip(&route->via, via);
        set(o, "via", json_string(via));
    } else {
        set(o, "via", json_null());
    }
    set(o, "flags", json_integer(route->flags));
    set(o, "metric", json_integer(route->metric));
    return o;
}

static json_t *dns_object(const struct netconf_dns *dns)
{
    json_t *o = json_object();
    json_t *servers = json_array();
    for (size_t i = 0; dns != NULL && i < NETCONF_DNS_SERVERS; i++) {
        char text[INETADDR_TEXT_LEN];
        if (dns->servers[i].family != INETADDR_NIL) {
            inetaddr_print_ip(&dns->servers[i], text);
            (void)json_array_append_new(servers, json_string(text));
        }
    }
    set(o, "domain", api_json_text(dns == NULL ? "" : dns->domain));
    set(o, "servers", servers);
    return o;
}

static json_t *group_array(const struct multicast_group *groups, size_t count)
{
    json_t *array = json_array();
    for (size_t i = 0; i < count; i++) {
        json_t *o = json_object();
        set(o, "mac", mac_text(groups[i].mac));
        set(o, "adi", json_integer(groups[i].adi));
        (void)json_array_append_new(array, o);
    }
    return array;
}

/* Members that follow from the configuration; conf is zeroed before the first one. */
static void set_network_config(json_t *o, const struct netconf *conf)
{
    json_t *routes = json_array();
    for (size_t i = 0; i < conf->route_count; i++) {
        (void)json_array_append_new(routes, route_object(&conf->routes[i]));
    }
    set(o, "name", api_json_text(conf->name));
    set(o, "type", json_string(conf->type == NETCONF_TYPE_PUBLIC ? "PUBLIC" : "PRIVATE"));
    set(o, "mtu", json_integer(conf->mtu));
    set(o, "bridge", json_boolean((netconf_roles(conf, conf->member) & SPECIALIST_BRIDGE) != 0));
    set(o, "broadcastEnabled", json_boolean((conf->flags & NETCONF_FLAG_BROADCAST) != 0));
    set(o, "netconfRevision", json_integer((json_int_t)conf->revision));
    set(o, "assignedAddresses", inetaddr_array(conf->addresses, conf->address_count));
    set(o, "routes", routes);
    set(o, "dns", dns_object(conf->dns));
}

/* Addresses and routes that meet subnets this machine is in. */
static json_t *conflict_array(const struct port_info *port)
{
    json_t *array = json_array();
    for (size_t i = 0; i < port->conflict_count; i++) {
        const struct addressing_conflict *c = &port->conflicts[i];
        char ours[INETADDR_TEXT_LEN];
        char other[INETADDR_TEXT_LEN];
        json_t *o = json_object();
        inetaddr_print(&c->found.ours, ours);
        inetaddr_print(&c->found.other, other);
        set(o, c->found.route ? "route" : "address", json_string(ours));
        set(o, "meets", json_string(other));
        set(o, "interface", api_json_text(c->interface));
        set(o, "skipped", json_boolean(c->skipped));
        (void)json_array_append_new(array, o);
    }
    return array;
}

json_t *api_json_network(const struct node_network_info *info, const struct port_info *port)
{
    static const struct netconf none = {.mtu = NETCONF_MTU_DEFAULT};
    json_t *o = json_object();
    set(o, "id", hex_text(info->nwid, 16));
    set(o, "nwid", hex_text(info->nwid, 16));
    set(o, "mac", mac_text(info->mac));
    set(o, "status", json_string(api_network_status_name(info->status)));
    char advice[API_ADVICE_LEN];
    api_network_advice(info->status, info->nwid, port->why, advice);
    if (advice[0] != '\0') {
        set(o, "statusAdvice", api_json_text(advice));
    }
    set(o, "dhcp", json_false());
    set_network_config(o, info->config == NULL ? &none : info->config);
    set(o, "portError", json_integer(port->error));
    set(o, "conflicts", conflict_array(port));
    set(o, "portDeviceName", json_string(port->device));
    set(o, "allowManaged", json_boolean(port->policy.allow_managed));
    set(o, "allowGlobal", json_boolean(port->policy.allow_global));
    set(o, "allowDefault", json_boolean(port->policy.allow_default));
    set(o, "allowDNS", json_boolean(port->policy.allow_dns));
    set(o, "mtuOverride", json_integer(port->policy.mtu));
    set(o, "clampMSS", json_boolean(port->policy.clamp_mss));
    set(o, "multicastSubscriptions", group_array(info->groups, info->group_count));
    bool sso = info->status == NETWORK_AUTHENTICATION_REQUIRED ||
               (info->config != NULL && info->config->sso != NULL && info->config->sso->enabled);
    if (sso) {
        set(o, "ssoEnabled", json_true());
        set(o, "authenticationURL", api_json_text(info->auth_url));
        set(o, "authenticationExpiryTime", json_integer(info->auth_expiry_ms));
    }
    return o;
}

/* Wall clock of a monotonic time, 0 for never. */
static json_t *wall_time(int64_t mono_ms, int64_t wall_offset_ms)
{
    return json_integer(mono_ms == INT64_MIN ? 0 : mono_ms + wall_offset_ms);
}

static json_t *path_object(const struct node_path_info *path, int64_t wall_offset_ms)
{
    json_t *o = json_object();
    set(o, "address", inetaddr_text(&path->remote));
    set(o, "lastSend", wall_time(path->last_send_ms, wall_offset_ms));
    set(o, "lastReceive", wall_time(path->last_receive_ms, wall_offset_ms));
    set(o, "trustedPathId", json_integer((json_int_t)path->trusted_path_id));
    set(o, "active", json_true());
    set(o, "expired", json_false());
    set(o, "preferred", json_boolean(path->preferred));
    set(o, "localSocket", json_integer(path->socket));
    set(o, "localPort", json_integer(0));
    set(o, "transport", json_string(path->socket >= SOCKET_DETOUR_FIRST ? "tcp" : "udp"));
    set(o, "latency", json_integer(path->latency_ms));
    set(o, "mtu", json_integer(path->mtu));
    set(o, "learnedAt", wall_time(path->learned_ms, wall_offset_ms));
    set(o, "learnedBy", json_string(path->origin));
    return o;
}

/* Packets since the peer became known; all of them, and those through other nodes. */
static json_t *peer_counters(const struct node_peer_info *peer)
{
    json_t *o = json_object();
    set(o, "received", json_integer((json_int_t)peer->packets[0]));
    set(o, "sent", json_integer((json_int_t)peer->packets[1]));
    set(o, "receivedRelayed", json_integer((json_int_t)peer->relayed[0]));
    set(o, "sentRelayed", json_integer((json_int_t)peer->relayed[1]));
    set(o, "errors", json_integer((json_int_t)peer->packet_errors));
    return o;
}

/* Null: there is a direct path, nothing is relayed. */
static void set_relay(json_t *o, const struct node_peer_info *peer)
{
    bool relayed = peer->path_count == 0;
    set(o, "relayReason",
        relayed ? json_string(relay_reason_text(peer->relay_reason)) : json_null());
    set(o, "relay", relayed && peer->relay != 0 ? hex_text(peer->relay, 10) : json_null());
}

json_t *api_json_peer(const struct node_peer_info *peer, int64_t wall_offset_ms, bool tunneled)
{
    static const char *const roles[] = {"LEAF", "MOON", "PLANET"};
    char version[48];
    (void)snprintf(version, sizeof(version), "%d.%d.%d", peer->version[0], peer->version[1],
                   peer->version[2]);
    json_t *o = json_object();
    json_t *paths = json_array();
    for (size_t i = 0; i < peer->path_count; i++) {
        (void)json_array_append_new(paths, path_object(&peer->paths[i], wall_offset_ms));
    }
    set(o, "address", hex_text(peer->address, 10));
    set(o, "versionMajor", json_integer(peer->version[0]));
    set(o, "versionMinor", json_integer(peer->version[1]));
    set(o, "versionRev", json_integer(peer->version[2]));
    set(o, "version", json_string(version));
    set(o, "latency", json_integer(peer->latency_ms));
    set(o, "role", json_string(roles[peer->role]));
    set(o, "isBonded", json_false());
    set(o, "tunneled", json_boolean(tunneled));
    set(o, "paths", paths);
    set(o, "protocol", json_integer(peer->protocol));
    set(o, "lastReceive", wall_time(peer->last_receive_ms, wall_offset_ms));
    set(o, "natIpv4", json_string(nat_kind_text(peer->nat[0])));
    set(o, "natIpv6", json_string(nat_kind_text(peer->nat[1])));
    set(o, "counters", peer_counters(peer));
    set_relay(o, peer);
    return o;
}

json_t *api_json_moon(const struct node_moon_info *moon)
{
    const struct world *world = moon->world;
    json_t *o = json_object();
    json_t *roots = json_array();
    set(o, "id", hex_text(moon->id, 16));
    set(o, "waiting", json_boolean(world == NULL));
    set(o, "roots", roots);
    if (world == NULL) {
        set(o, "timestamp", json_integer(0));
        set(o, "signature", json_null());
        set(o, "updatesMustBeSignedBy", json_null());
        return o;
    }
    char signature[2 * SIGNATURE_LEN + 1];
    char key[2 * IDENTITY_PUBLIC_LEN + 1];
    hex_encode(world->signature, SIGNATURE_LEN, signature);
    hex_encode(world->update_key, IDENTITY_PUBLIC_LEN, key);
    set(o, "timestamp", json_integer((json_int_t)world->timestamp));
    set(o, "signature", json_string(signature));
    set(o, "updatesMustBeSignedBy", json_string(key));
    for (size_t i = 0; i < world->root_count; i++) {
        const struct world_root *root = &world->roots[i];
        char identity[IDENTITY_TEXT_LEN];
        json_t *r = json_object();
        identity_print(&root->identity, false, identity);
        set(r, "identity", json_string(identity));
        set(r, "stableEndpoints", inetaddr_array(root->endpoints, root->endpoint_count));
        (void)json_array_append_new(roots, r);
    }
    return o;
}

json_t *api_json_world(const struct node_moon_info *info, bool planet)
{
    json_t *o = api_json_moon(info);
    set(o, "type", json_string(planet ? "planet" : "moon"));
    set(o, "verified", json_boolean(info->verified));
    set(o, "seed", info->seed == 0 ? json_null() : hex_text(info->seed, 10));
    if (info->world == NULL) {
        return o;
    }
    uint8_t *data = malloc(WORLD_WIRE_MAX);
    char *text = malloc(2 * WORLD_WIRE_MAX + 1);
    struct wr w = wr_init(data, data == NULL ? 0 : WORLD_WIRE_MAX);
    world_write(&w, info->world);
    if (text != NULL && !w.bad) {
        hex_encode(data, wr_len(&w), text);
        set(o, "serialized", json_string(text));
    }
    free(text);
    free(data);
    return o;
}
