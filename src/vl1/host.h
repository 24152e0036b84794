/* What node/ does with vl1: life, inputs and looking in. vl2 uses vl1.h only. */
#pragma once

#include "base/attr.h"
#include "datapath/published.h"
#include "vl1/counters.h"
#include "vl1/nat.h"
#include "vl1/vl1.h"
#include "wire/world.h"

struct dp_gift;

struct vl1_options {
    int64_t wall_offset_ms;
    bool no_default_planet;
    uint16_t version[3];
    uint8_t protocol;
    bool low_bandwidth;
};

/* A socket of the host; physical and peer policy: see node.h, which has the same in public. */
struct vl1_socket {
    uint32_t id;
    struct inetaddr local;
    unsigned mtu; /* of its interface, 0 unknown */
};

struct physical_entry {
    struct inetaddr net;
    bool blacklist;
    uint64_t trusted_path_id;
    unsigned mtu;
};

/* Create. env and identity are copied; upper may be set later but before any input. NULL: out of
 * memory. */
struct vl1 *vl1_new(const struct engine_env *env, const struct identity *identity,
                    const struct vl1_options *options, int64_t now_ms);
void vl1_set_upper(struct vl1 *vl1, const struct vl1_upper *upper);

/* Load the planet and pending orbits and contact upstreams. Returns 0; -ENOMEM. */
MUST_CHECK int vl1_start(struct vl1 *vl1, int64_t now_ms);

/* Store peers, release everything. */
void vl1_free(struct vl1 *vl1, int64_t now_ms);

/* The wall clock minus the time that now_ms counts. */
void vl1_set_wall_offset(struct vl1 *vl1, int64_t offset_ms);

/* Inputs, as in node.h. */
void vl1_receive(struct vl1 *vl1, uint32_t socket, const struct inetaddr *from, uint8_t *data,
                 size_t len, int64_t now_ms);

/* Say HELLO to a peer of the cache and keep its paths alive as if it had just been active. */
void vl1_recall(struct vl1 *vl1, uint64_t address, int64_t now_ms);

/* As node_job_done. */
void vl1_job_done(struct vl1 *vl1, struct engine_job *job, int64_t now_ms);

/* Bracket around every other input, so that what it made due is done at its end. */
void vl1_enter(struct vl1 *vl1);
void vl1_leave(struct vl1 *vl1, int64_t now_ms);

/* The data path, as in node.h. vl1_take: all kinds but frames. vl1_harvest also returns what
 * workers counted since the last call; of that DP_DROP_MALFORMED, DP_DROP_RULES_IN and _OUT,
 * DP_DROP_TOO_BIG and DP_DROP_HEADERS are left to the layer above, the rest went into the counters
 * here. vl1_publish: 0; -ENOMEM. */
MUST_CHECK int vl1_publish(struct vl1 *vl1, unsigned workers);
void vl1_set_relay_rate(struct vl1 *vl1, uint32_t rate);      /* up to 10^9, as in node.h */
void vl1_set_relay_pair_rate(struct vl1 *vl1, uint64_t rate); /* as in node.h */
void vl1_set_max_peers(struct vl1 *vl1, uint32_t count);      /* as in node.h */
void vl1_take(struct vl1 *vl1, const struct dp_gift *gift, int64_t now_ms);
bool vl1_harvest(struct vl1 *vl1, uint64_t ret_counts[DP_COUNTS], int64_t now_ms);
void vl1_reclaim(struct vl1 *vl1, uint64_t number);

/* What the host has and wants, as in node.h: local sockets; prefixes with their MTU, trust and
 * blacklist; that routes changed; hints and blacklists of single nodes; mapped addresses. What is
 * beyond the bounds of doc/limits.md is left out. 0; -ENOMEM. */
MUST_CHECK int vl1_set_sockets(struct vl1 *vl1, const struct vl1_socket *sockets, size_t count,
                               int64_t now_ms);
void vl1_check_paths(struct vl1 *vl1);
void vl1_network_changed(struct vl1 *vl1, int64_t now_ms); /* the rest of the machine did */
void vl1_set_physical(struct vl1 *vl1, const struct physical_entry *entries, size_t count);
MUST_CHECK int vl1_add_virtual(struct vl1 *vl1, uint64_t address, const struct inetaddr *try_paths,
                               size_t try_count, const struct inetaddr *blacklist,
                               size_t blacklist_count);
void vl1_clear_virtual(struct vl1 *vl1);
void vl1_set_mapped(struct vl1 *vl1, const struct inetaddr *addrs, size_t count);

/* Worlds. */
MUST_CHECK int vl1_orbit(struct vl1 *vl1, uint64_t world_id, uint64_t seed, int64_t now_ms);
int vl1_deorbit(struct vl1 *vl1, uint64_t world_id, int64_t now_ms);
MUST_CHECK int vl1_world_offer(struct vl1 *vl1, const struct world *world, int64_t now_ms);
const struct world *vl1_planet(const struct vl1 *vl1);
bool vl1_planet_is_verified(const struct vl1 *vl1);
const struct world *vl1_moon(const struct vl1 *vl1, size_t index, uint64_t *ret_id,
                             uint64_t *ret_seed, bool *ret_verified);

/* Does an upstream answer by a socket that is no detour (true if there is no upstream)? By one that
 * is? */
bool vl1_upstream_without_detour(const struct vl1 *vl1, int64_t now_ms);
bool vl1_upstream_by_detour(const struct vl1 *vl1, int64_t now_ms);

/* Looking in. */
bool vl1_online(const struct vl1 *vl1);
uint64_t vl1_counter_value(const struct vl1 *vl1, enum vl1_counter counter);

/* Packets by verb and error code since the start, borrowed. */
const struct packet_tally *vl1_tally(const struct vl1 *vl1, bool sent);
size_t vl1_surfaces(const struct vl1 *vl1, struct inetaddr *out, size_t cap);
/* The NAT in front of our sockets of a family (INETADDR_V4, INETADDR_V6). */
enum nat_kind vl1_nat_kind(const struct vl1 *vl1, uint8_t family);
size_t vl1_peer_count(const struct vl1 *vl1);

/* All peers, in no order: first with NULL. */
const struct peer *vl1_peer_each(const struct vl1 *vl1, const struct peer *after);

/* How the address of a path became known. */
enum path_origin {
    ORIGIN_CONTACT, /* the peer sent from there */
    ORIGIN_WORLD,   /* listed in the planet or a moon */
    ORIGIN_CACHE,   /* remembered from an earlier run */
    ORIGIN_SETTING, /* "try" in local.conf */
    ORIGIN_RENDEZVOUS,
    ORIGIN_PUSH, /* the peer told it: PUSH_DIRECT_PATHS */
};

/* Its name for the API, constant text. */
const char *path_origin_name(enum path_origin origin);

/* A peer in memory, or NULL. */
const struct peer *vl1_peer_known(const struct vl1 *vl1, uint64_t address);

struct path_view {
    struct inetaddr remote;
    uint32_t socket;
    int64_t last_send_ms;
    int64_t last_receive_ms;
    int latency_ms;
    uint64_t trusted_path_id;
    bool preferred;
    unsigned mtu;            /* UDP payload */
    int64_t learned_ms;      /* when it was proved */
    enum path_origin origin; /* how its address became known */
};

struct peer_view {
    uint64_t address;
    int version[3];
    unsigned protocol;
    bool planet_root;
    bool moon_root;
    uint64_t planet_stamp; /* version of our planet it named last, 0 unknown */
    int latency_ms;
    int64_t last_receive_ms;
    uint64_t packets[2]; /* received, sent */
    uint64_t relayed[2]; /* of these, through other nodes */
    uint64_t relay;      /* no path: root that packets to it go through, 0 none */
    uint64_t packet_errors;
    size_t path_count;              /* unexpired */
    enum relay_reason relay_reason; /* why there is none */
    enum nat_kind nat[2];           /* what the peer says of its own NAT: IPv4, IPv6 */
};

/* Fill a view of a peer. */
void peer_look(const struct peer *peer, int64_t now_ms, struct peer_view *ret);

/* The index-th unexpired path; false past the end. */
bool peer_look_path(const struct peer *peer, size_t index, int64_t now_ms, struct path_view *ret);
