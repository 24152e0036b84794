/* The engine's door: joins vl1 and vl2 and brackets every input. Source: doc/architecture.md. */
#include "node/node.h"

#include "datapath/dp.h"
#include "vl1/host.h"
#include "vl2/vl2.h"
#include "wire/mac.h"
#include "wire/vl1msg.h"

#include <errno.h>
#include <sodium.h>
#include <stdlib.h>

enum { NODE_RECALL_MAX = 256 };

struct node {
    struct vl1 *vl1;
    struct vl2 *vl2;
};

static enum vl1_verdict up_packet(void *ctx, const struct in_packet *in, int64_t now_ms)
{
    const struct node *node = ctx;

    return vl2_packet(node->vl2, in, now_ms);
}

static bool up_is_overlay_ip(void *ctx, const struct inetaddr *ip)
{
    const struct node *node = ctx;

    return vl2_is_overlay_ip(node->vl2, ip);
}

static void up_online(void *ctx, int64_t now_ms)
{
    const struct node *node = ctx;

    vl2_online(node->vl2, now_ms);
}

static void up_greeted(void *ctx, uint64_t address, int64_t now_ms)
{
    const struct node *node = ctx;

    vl2_greeted(node->vl2, address, now_ms);
}

static void up_identity_known(void *ctx, uint64_t address, int64_t now_ms)
{
    const struct node *node = ctx;

    vl2_identity_known(node->vl2, address, now_ms);
}

static void up_harvest(void *ctx, struct dp_object *object, int64_t now_ms)
{
    const struct node *node = ctx;

    vl2_harvest_object(node->vl2, object, now_ms);
}

struct node *node_new(const struct engine_env *env, const struct identity *identity,
                      const struct node_options *options, int64_t now_ms)
{
    struct node *node = calloc(1, sizeof(*node));
    struct vl1_options vl1_options = {
        .wall_offset_ms = options->wall_offset_ms,
        .no_default_planet = options->no_default_planet,
        .version = {options->version[0], options->version[1], options->version[2]},
        .protocol = options->protocol,
        .low_bandwidth = options->low_bandwidth,
    };
    struct vl2_options vl2_options = {
        .version = {options->version[0], options->version[1], options->version[2]},
        .low_bandwidth = options->low_bandwidth,
        .platform = options->platform,
    };

    if (node == NULL) {
        return NULL;
    }
    node->vl1 = vl1_new(env, identity, &vl1_options, now_ms);
    node->vl2 = node->vl1 != NULL ? vl2_new(node->vl1, now_ms) : NULL;
    if (node->vl2 == NULL) {
        node_free(node, now_ms);
        return NULL;
    }
    vl2_set_options(node->vl2, &vl2_options);
    vl1_set_upper(node->vl1, &(struct vl1_upper){.ctx = node,
                                                 .packet = up_packet,
                                                 .is_overlay_ip = up_is_overlay_ip,
                                                 .online = up_online,
                                                 .greeted = up_greeted,
                                                 .identity_known = up_identity_known,
                                                 .harvest = up_harvest});
    if (vl1_start(node->vl1, now_ms) < 0) {
        node_free(node, now_ms);
        return NULL;
    }
    return node;
}

void node_free(struct node *node, int64_t now_ms)
{
    if (node == NULL) {
        return;
    }
    vl2_free(node->vl2);
    vl1_free(node->vl1, now_ms);
    free(node);
}

void node_set_wall_offset(struct node *node, int64_t wall_offset_ms)
{
    vl1_set_wall_offset(node->vl1, wall_offset_ms);
}

/* ---- inputs ---- */

void node_receive(struct node *node, uint32_t socket, const struct inetaddr *from, uint8_t *data,
                  size_t len, int64_t now_ms)
{
    vl1_receive(node->vl1, socket, from, data, len, now_ms);
}

void node_send_frame(struct node *node, uint64_t nwid, uint64_t dest_mac, uint64_t source_mac,
                     uint16_t ethertype, const uint8_t *payload, size_t len, int64_t now_ms)
{
    vl1_enter(node->vl1);
    vl2_frame(node->vl2, nwid, dest_mac, source_mac, ethertype, payload, len, now_ms);
    vl1_leave(node->vl1, now_ms);
}

int64_t node_tick(struct node *node, int64_t now_ms)
{
    vl1_enter(node->vl1);
    timers_run(vl1_timers(node->vl1), now_ms);
    vl1_leave(node->vl1, now_ms);
    return node_deadline(node);
}

int64_t node_deadline(const struct node *node)
{
    return timers_next(vl1_timers(node->vl1));
}

void node_job_done(struct node *node, struct engine_job *job, int64_t now_ms)
{
    vl1_job_done(node->vl1, job, now_ms);
}

void node_recall(struct node *node, const uint64_t *addresses, size_t count, int64_t now_ms)
{
    vl1_enter(node->vl1);
    for (size_t i = 0; i < count && i < NODE_RECALL_MAX; i++) {
        vl1_recall(node->vl1, addresses[i], now_ms);
    }
    vl1_leave(node->vl1, now_ms);
}

/* ---- the data path ---- */

struct published *node_publish(struct node *node, unsigned workers)
{
    return vl1_publish(node->vl1, workers) < 0 ? NULL : vl1_published(node->vl1);
}

static void take_frame(struct node *node, const struct dp_gift *gift, int64_t now_ms)
{
    struct rd r = rd_init(gift->data, gift->len);
    uint64_t dest = mac_read(&r);
    uint64_t source = mac_read(&r);
    uint16_t ethertype = rd_u16(&r);

    if (!r.bad) {
        node_send_frame(node, gift->nwid, dest, source, ethertype, r.p, rd_left(&r), now_ms);
    }
}

void node_take(struct node *node, struct dp_gift *gift, int64_t now_ms)
{
    if (gift->kind == DP_GIFT_FRAME) {
        take_frame(node, gift, now_ms);
    } else {
        vl1_take(node->vl1, gift, now_ms);
    }
}

bool node_harvest(struct node *node, int64_t now_ms)
{
    uint64_t counts[DP_COUNTS];
    bool any = vl1_harvest(node->vl1, counts, now_ms);

    vl2_harvest_counts(node->vl2, counts);
    return any;
}

uint64_t node_retired(const struct node *node)
{
    const struct published *pub = vl1_published(node->vl1);

    return pub == NULL ? 0 : pub->limbo.number;
}

void node_reclaim(struct node *node, uint64_t number)
{
    vl1_reclaim(node->vl1, number);
}

/* ---- physical side ---- */

void node_network_changed(struct node *node, int64_t now_ms)
{
    vl1_enter(node->vl1);
    vl1_network_changed(node->vl1, now_ms);
    vl1_leave(node->vl1, now_ms);
}

int node_set_sockets(struct node *node, const struct node_socket *sockets, size_t count,
                     int64_t now_ms)
{
    struct vl1_socket *copy = calloc(count > 0 ? count : 1, sizeof(*copy));
    int err;

    if (copy == NULL) {
        return -ENOMEM;
    }
    for (size_t i = 0; i < count; i++) {
        copy[i] = (struct vl1_socket){sockets[i].id, sockets[i].local, sockets[i].mtu};
    }
    vl1_enter(node->vl1);
    err = vl1_set_sockets(node->vl1, copy, count, now_ms);
    vl1_leave(node->vl1, now_ms);
    free(copy);
    return err;
}

bool node_upstream_without_detour(const struct node *node, int64_t now_ms)
{
    return vl1_upstream_without_detour(node->vl1, now_ms);
}

bool node_upstream_by_detour(const struct node *node, int64_t now_ms)
{
    return vl1_upstream_by_detour(node->vl1, now_ms);
}

void node_set_relay_rate(struct node *node, uint32_t rate)
{
    vl1_set_relay_rate(node->vl1, rate);
}

void node_set_relay_pair_rate(struct node *node, uint64_t rate)
{
    vl1_set_relay_pair_rate(node->vl1, rate);
}

bool node_is_root(const struct node *node)
{
    return vl1_is_root(node->vl1);
}

void node_set_max_peers(struct node *node, uint32_t count)
{
    vl1_set_max_peers(node->vl1, count);
}

void node_check_paths(struct node *node, int64_t now_ms)
{
    vl1_enter(node->vl1);
    vl1_check_paths(node->vl1);
    vl1_leave(node->vl1, now_ms);
}

int node_set_policy(struct node *node, const struct node_physical *physical, size_t physical_count,
                    const struct node_virtual *virt, size_t virt_count, int64_t now_ms)
{
    struct physical_entry entries[NODE_PHYSICAL_MAX];
    int err = 0;

    physical_count = physical_count < NODE_PHYSICAL_MAX ? physical_count : NODE_PHYSICAL_MAX;
    for (size_t i = 0; i < physical_count; i++) {
        entries[i] = (struct physical_entry){.net = physical[i].net,
                                             .blacklist = physical[i].blacklist,
                                             .trusted_path_id = physical[i].trusted_path_id,
                                             .mtu = physical[i].mtu};
    }
    vl1_enter(node->vl1);
    vl1_clear_virtual(node->vl1);
    for (size_t i = 0; i < virt_count && err == 0; i++) {
        err = vl1_add_virtual(node->vl1, virt[i].address, virt[i].try_paths, virt[i].try_count,
                              virt[i].blacklist, virt[i].blacklist_count);
    }
    vl1_set_physical(node->vl1, entries, physical_count);
    vl2_limit_changed(node->vl2);
    vl1_leave(node->vl1, now_ms);
    return err;
}

void node_set_mapped_addresses(struct node *node, const struct inetaddr *addrs, size_t count)
{
    vl1_set_mapped(node->vl1, addrs, count);
}

/* ---- networks ---- */

int node_join(struct node *node, uint64_t nwid, const char *token, int64_t now_ms)
{
    int err;

    vl1_enter(node->vl1);
    err = vl2_join(node->vl2, nwid, token, now_ms);
    vl1_leave(node->vl1, now_ms);
    return err;
}

int node_leave(struct node *node, uint64_t nwid, int64_t now_ms)
{
    int err;

    vl1_enter(node->vl1);
    err = vl2_leave(node->vl2, nwid, now_ms);
    vl1_leave(node->vl1, now_ms);
    return err;
}

size_t node_networks(const struct node *node, uint64_t *out, size_t cap)
{
    return vl2_networks(node->vl2, out, cap);
}

int node_network_get(const struct node *node, uint64_t nwid, struct node_network_info *ret)
{
    return vl2_network_get(node->vl2, nwid, ret);
}

void node_port_result(struct node *node, uint64_t nwid, int error, int64_t now_ms)
{
    vl1_enter(node->vl1);
    vl2_port_result(node->vl2, nwid, error, now_ms);
    vl1_leave(node->vl1, now_ms);
}

void node_port_addresses(struct node *node, uint64_t nwid, const struct inetaddr *addrs,
                         size_t count, int64_t now_ms)
{
    vl1_enter(node->vl1);
    vl2_port_addresses(node->vl2, nwid, addrs, count, now_ms);
    vl1_leave(node->vl1, now_ms);
}

void node_port_groups(struct node *node, uint64_t nwid, const struct multicast_group *groups,
                      size_t count, int64_t now_ms)
{
    vl1_enter(node->vl1);
    vl2_port_groups(node->vl2, nwid, groups, count, now_ms);
    vl1_leave(node->vl1, now_ms);
}

void node_port_mss(struct node *node, uint64_t nwid, uint32_t mtu, int64_t now_ms)
{
    vl1_enter(node->vl1);
    vl2_port_mss(node->vl2, nwid, mtu);
    vl1_leave(node->vl1, now_ms);
}

int node_capture(struct node *node, uint64_t nwid, bool on, int64_t now_ms)
{
    int err;

    vl1_enter(node->vl1);
    err = vl2_capture(node->vl2, nwid, on);
    vl1_leave(node->vl1, now_ms);
    return err;
}

/* ---- worlds ---- */

int node_orbit(struct node *node, uint64_t world_id, uint64_t seed, int64_t now_ms)
{
    int err;

    vl1_enter(node->vl1);
    err = vl1_orbit(node->vl1, world_id, seed, now_ms);
    vl1_leave(node->vl1, now_ms);
    return err;
}

int node_deorbit(struct node *node, uint64_t world_id, int64_t now_ms)
{
    int err;

    vl1_enter(node->vl1);
    err = vl1_deorbit(node->vl1, world_id, now_ms);
    vl1_leave(node->vl1, now_ms);
    return err;
}

const struct world *node_planet(const struct node *node)
{
    return vl1_planet(node->vl1);
}

bool node_moon(const struct node *node, size_t index, struct node_moon_info *ret)
{
    uint64_t id;
    uint64_t seed = 0;
    bool verified = false;
    const struct world *world = vl1_moon(node->vl1, index, &id, &seed, &verified);

    if (world == NULL && seed == 0) {
        return false;
    }
    *ret = (struct node_moon_info){.id = id, .seed = seed, .verified = verified, .world = world};
    return true;
}

int node_world_offer(struct node *node, const struct world *world, int64_t now_ms)
{
    int err;

    vl1_enter(node->vl1);
    err = vl1_world_offer(node->vl1, world, now_ms);
    vl1_leave(node->vl1, now_ms);
    return err;
}

int node_world_check(const struct node *node, const struct world *world)
{
    const struct world *held = world->type == WORLD_PLANET ? vl1_planet(node->vl1) : NULL;
    struct node_moon_info moon;

    for (size_t i = 0; world->type == WORLD_MOON && node_moon(node, i, &moon); i++) {
        held = moon.id == world->id ? moon.world : held;
    }
    return world_update_check(held, world);
}

int node_identity_of(struct node *node, uint64_t address, struct identity *ret, int64_t now_ms)
{
    const struct peer *peer;
    int err = -ENOENT;

    vl1_enter(node->vl1);
    peer = vl1_peer_find(node->vl1, address, now_ms);
    if (address == vl1_identity(node->vl1)->address) {
        *ret = *vl1_identity(node->vl1);
        sodium_memzero(ret->priv, sizeof(ret->priv));
        ret->has_private = false;
        err = 0;
    } else if (peer != NULL) {
        *ret = *peer_identity(peer);
        err = 0;
    }
    vl1_leave(node->vl1, now_ms);
    return err;
}

/* ---- looking in ---- */

void node_get_status(const struct node *node, int64_t now_ms, struct node_status *ret)
{
    const struct world *planet = vl1_planet(node->vl1);

    *ret = (struct node_status){
        .address = vl1_identity(node->vl1)->address,
        .online = vl1_online(node->vl1),
        .root = vl1_is_root(node->vl1),
        .planet_id = planet != NULL ? planet->id : 0,
        .planet_timestamp = planet != NULL ? planet->timestamp : 0,
        .planet_verified = vl1_planet_is_verified(node->vl1),
        .relay = vl1_best_upstream(node->vl1, now_ms),
    };
}

const struct identity *node_identity(const struct node *node)
{
    return vl1_identity(node->vl1);
}

size_t node_surface_addresses(const struct node *node, struct inetaddr *out, size_t cap)
{
    return vl1_surfaces(node->vl1, out, cap);
}

enum nat_kind node_nat_kind(const struct node *node, uint8_t family)
{
    return vl1_nat_kind(node->vl1, family);
}

static int peer_info_compare(const void *a, const void *b)
{
    const struct node_peer_info *pa = a;
    const struct node_peer_info *pb = b;

    return pa->address < pb->address ? -1 : pa->address > pb->address;
}

static int fill_peer(const struct peer *peer, int64_t now_ms, struct node_peer_info *ret)
{
    struct peer_view view;
    struct path_view path;

    peer_look(peer, now_ms, &view);
    *ret = (struct node_peer_info){
        .address = view.address,
        .version = {view.version[0], view.version[1], view.version[2]},
        .protocol = view.protocol,
        .latency_ms = view.latency_ms,
        .role = view.planet_root ? PEER_PLANET
                : view.moon_root ? PEER_MOON
                                 : PEER_LEAF,
        .planet_timestamp = view.planet_stamp,
        .last_receive_ms = view.last_receive_ms,
        .packets = {view.packets[0], view.packets[1]},
        .relayed = {view.relayed[0], view.relayed[1]},
        .relay = view.relay,
        .packet_errors = view.packet_errors,
        .relay_reason = view.relay_reason,
        .nat = {view.nat[0], view.nat[1]},
    };
    if (view.path_count == 0) {
        return 0;
    }
    ret->paths = calloc(view.path_count, sizeof(*ret->paths));
    if (ret->paths == NULL) {
        return -ENOMEM;
    }
    while (ret->path_count < view.path_count &&
           peer_look_path(peer, ret->path_count, now_ms, &path)) {
        ret->paths[ret->path_count++] = (struct node_path_info){
            .remote = path.remote,
            .socket = path.socket,
            .last_send_ms = path.last_send_ms,
            .last_receive_ms = path.last_receive_ms,
            .latency_ms = path.latency_ms,
            .trusted_path_id = path.trusted_path_id,
            .preferred = path.preferred,
            .mtu = path.mtu,
            .learned_ms = path.learned_ms,
            .origin = path_origin_name(path.origin),
        };
    }
    return 0;
}

ssize_t node_peers(const struct node *node, int64_t now_ms, struct node_peer_info **ret)
{
    size_t count = vl1_peer_count(node->vl1);
    struct node_peer_info *peers = calloc(count > 0 ? count : 1, sizeof(*peers));
    const struct peer *peer = NULL;
    size_t n = 0;

    if (peers == NULL) {
        return -ENOMEM;
    }
    while (n < count && (peer = vl1_peer_each(node->vl1, peer)) != NULL) {
        if (fill_peer(peer, now_ms, &peers[n]) < 0) {
            node_peers_free(peers, n);
            return -ENOMEM;
        }
        n++;
    }
    qsort(peers, n, sizeof(*peers), peer_info_compare);
    *ret = peers;
    return (ssize_t)n;
}

int node_peer(const struct node *node, uint64_t address, int64_t now_ms, struct node_peer_info *ret)
{
    const struct peer *peer = vl1_peer_known(node->vl1, address);

    return peer != NULL ? fill_peer(peer, now_ms, ret) : -ENOENT;
}

void node_peers_free(struct node_peer_info *peers, size_t count)
{
    for (size_t i = 0; peers != NULL && i < count; i++) {
        free(peers[i].paths);
    }
    free(peers);
}

const struct packet_tally *node_tally(const struct node *node, bool sent)
{
    return vl1_tally(node->vl1, sent);
}

uint64_t node_counter(const struct node *node, size_t index, const char **ret_name)
{
    if (index < VL1_COUNTERS) {
        *ret_name = vl1_counter_name(index);
        return vl1_counter_value(node->vl1, (enum vl1_counter)index);
    }
    return vl2_counter(node->vl2, index - VL1_COUNTERS, ret_name);
}

int node_user_message(struct node *node, uint64_t dest, uint64_t type, const void *data, size_t len,
                      int64_t now_ms)
{
    struct out_packet out;
    int err;

    vl1_enter(node->vl1);
    out_begin(node->vl1, &out, dest, VERB_USER_MESSAGE);
    user_message_encode(&out.w, &(struct user_message){.type = type, .data = data, .len = len});
    err = out_send(node->vl1, &out, OUT_COMPRESS, now_ms);
    vl1_leave(node->vl1, now_ms);
    return err;
}

/* ---- controller side ---- */

void node_set_controller(struct node *node, const struct node_controller *controller)
{
    vl2_set_controller(node->vl2, controller);
}

int node_config_send(struct node *node, uint64_t nwid, uint64_t dest, uint64_t request_id,
                     const char *dict, size_t len, int64_t now_ms)
{
    int err;

    vl1_enter(node->vl1);
    err = vl2_config_send(node->vl2, nwid, dest, request_id, dict, len, now_ms);
    vl1_leave(node->vl1, now_ms);
    return err;
}

void node_config_error(struct node *node, uint64_t nwid, uint64_t dest, uint64_t request_id,
                       enum error_code code, const void *data, size_t len, int64_t now_ms)
{
    vl1_enter(node->vl1);
    vl2_config_error(node->vl2, nwid, dest, request_id, code, data, len, now_ms);
    vl1_leave(node->vl1, now_ms);
}

int node_revocations_send(struct node *node, uint64_t dest, const struct revocation *revocations,
                          size_t count, int64_t now_ms)
{
    int err;

    vl1_enter(node->vl1);
    err = vl2_revocations_send(node->vl2, dest, revocations, count, now_ms);
    vl1_leave(node->vl1, now_ms);
    return err;
}
