/* The engine's only door: a node of the virtual network. Datagrams, frames and the time go in;
 * datagrams, frames and events come out through struct engine_env. No call blocks, reads a clock or
 * makes a system call. Not thread safe: one thread at a time. now_ms is monotonic milliseconds and
 * never goes back. Source: doc/architecture.md. */
#pragma once

#include "crypto/identity.h"
#include "vl1/counters.h"
#include "vl1/env.h"
#include "vl1/nat.h"
#include "vl2/network_info.h"
#include "wire/inetaddr.h"
#include "wire/netconf.h"
#include "wire/packet.h"

struct dp_gift;
struct node;
struct published;
struct revocation;

/* ---- life ---- */

struct node_options {
    int64_t wall_offset_ms; /* wall clock (Unix ms) minus now_ms */
    bool no_default_planet; /* without a stored planet have none, instead of the public one */
    uint16_t version[3];    /* software major, minor, revision told to peers; never 1.1.0 */
    uint8_t protocol;       /* protocol version to announce: 0 = ours (tests announce 11) */
    bool low_bandwidth;     /* spec 02 section 6.6 */
    const char *platform;   /* "linux/x86_64", told to controllers, copied; NULL = not told */
};

/* Create a node. env is copied, its ctx kept; identity (with private half, checked by the caller)
 * is copied. Loads planet, moons named by node_orbit calls and nothing else. Returns NULL out of
 * memory. */
struct node *node_new(const struct engine_env *env, const struct identity *identity,
                      const struct node_options *options, int64_t now_ms);

/* Store peers and release everything; keys are wiped. Ports are not destroyed by an upcall. Jobs
 * still out must have been handed back before. */
void node_free(struct node *node, int64_t now_ms);

/* The wall clock was set or drifted. */
void node_set_wall_offset(struct node *node, int64_t wall_offset_ms);

/* ---- inputs ---- */

/* A datagram came to socket from an address. data is borrowed and may be changed in place. */
void node_receive(struct node *node, uint32_t socket, const struct inetaddr *from, uint8_t *data,
                  size_t len, int64_t now_ms);

/* A frame came from the port of a network. payload excludes the 14-byte header. */
void node_send_frame(struct node *node, uint64_t nwid, uint64_t dest_mac, uint64_t source_mac,
                     uint16_t ethertype, const uint8_t *payload, size_t len, int64_t now_ms);

/* Run what is due. Returns the next deadline (monotonic ms) or -1 for none. */
int64_t node_tick(struct node *node, int64_t now_ms);

/* Next deadline, or -1; any input may have moved it. */
int64_t node_deadline(const struct node *node);

/* A job comes back, run or not. */
void node_job_done(struct node *node, struct engine_job *job, int64_t now_ms);

/* After a start, when sockets are set: say HELLO to peers of the last run (from the cache), so that
 * they learn at once that we are back, perhaps at another address or port. At most 256 are used. */
void node_recall(struct node *node, const uint64_t *addresses, size_t count, int64_t now_ms);

/* ---- the data path (datapath/dp.h) ---- */

/* From now on publish to so many workers (1..DP_WORKERS_MAX) what they need to handle frames
 * without the engine; once in a node's life. Returns what they find it by, the node's; NULL: out of
 * memory. */
MUST_CHECK struct published *node_publish(struct node *node, unsigned workers);

/* Handle what a worker gave. Its data may be changed. */
void node_take(struct node *node, struct dp_gift *gift, int64_t now_ms);

/* Take over what workers noted (times, counters); to be called DP_HARVEST_MS after one of them
 * asked for it, and before anything is shown. Returns true if there was something: call again in
 * DP_HARVEST_MS. */
bool node_harvest(struct node *node, int64_t now_ms);

/* Number of the newest object that was withdrawn, 0 none. No worker holds any up to `number`: they
 * are released. */
uint64_t node_retired(const struct node *node);
void node_reclaim(struct node *node, uint64_t number);

/* ---- physical side ---- */

struct node_socket {
    uint32_t id;           /* host's number, not 0; appears in send and receive; from
                              SOCKET_DETOUR_FIRST on it is a detour */
    struct inetaddr local; /* address and port it is bound to; zero IP = wildcard */
    unsigned mtu;          /* of the interface that has the address, 0 unknown */
};

/* Replace the set of local UDP sockets (at most 256). Paths over sockets that are gone end; peers
 * are contacted anew over what remains: call it at once when addresses change. Returns 0; -ENOMEM.
 */
MUST_CHECK int node_set_sockets(struct node *node, const struct node_socket *sockets, size_t count,
                                int64_t now_ms);

/* Sockets are the same, but interfaces or routes of the machine changed, or it slept: roots and the
 * peers with traffic (at most 256) are asked at once over all their paths. */
void node_network_changed(struct node *node, int64_t now_ms);

/* Does an upstream answer by a socket that is no detour (true if there is no upstream)? By one that
 * is? */
bool node_upstream_without_detour(const struct node *node, int64_t now_ms);
bool node_upstream_by_detour(const struct node *node, int64_t now_ms);

enum { NODE_PHYSICAL_MAX = 32 };

/* Settings of a physical prefix (local.conf "physical"): the longest match counts. */
struct node_physical {
    struct inetaddr net;      /* port = prefix length */
    bool blacklist;           /* no path into it */
    uint64_t trusted_path_id; /* 0 = none */
    unsigned mtu;             /* UDP payload, 0 = default */
};

/* Addresses or routes of the system changed: paths to where may_reach says no are given up. */
void node_check_paths(struct node *node, int64_t now_ms);

/* Settings of one peer (local.conf "virtual"). */
struct node_virtual {
    uint64_t address;
    const struct inetaddr *try_paths; /* hints */
    size_t try_count;
    const struct inetaddr *blacklist; /* prefixes */
    size_t blacklist_count;
};

/* Replace local policy; everything is copied. At most 32 physical and 1024 virtual entries are
 * used. Returns 0; -ENOMEM (old policy stays). */
MUST_CHECK int node_set_policy(struct node *node, const struct node_physical *physical,
                               size_t physical_count, const struct node_virtual *virt,
                               size_t virt_count, int64_t now_ms);

/* Datagrams a second that each worker forwards for one address if we are a root, up to
 * 10^9; 0: no limit. DP_RELAY_RATE until this is called. */
void node_set_relay_rate(struct node *node, uint32_t rate);

/* Bytes a second that each worker forwards from one IP and port to one node if we are a root; 0
 * (the default): no limit while the worker keeps up, equal shares while it does not. */
void node_set_relay_pair_rate(struct node *node, uint64_t rate);

/* True if our identity is listed in a world. */
bool node_is_root(const struct node *node);

/* Peers kept in memory; 0 (the default): 1000000 if we are a root, else 65536. Nobody is let go
 * when it is lowered: the next newcomer takes the place of one. */
void node_set_max_peers(struct node *node, uint32_t count);

/* External addresses obtained by port mapping, offered to peers (at most 16). */
void node_set_mapped_addresses(struct node *node, const struct inetaddr *addrs, size_t count);

/* ---- networks ---- */

/* Join; token (or NULL): join token sent as "token:..." in requests. Joining twice replaces the
 * token and, where access was denied, asks with it at once. Returns 0; -ENOMEM; -EINVAL network ID
 * 0; -ENOSPC more than 4096 networks. */
MUST_CHECK int node_join(struct node *node, uint64_t nwid, const char *token, int64_t now_ms);

/* Leave: the port is destroyed, stored state erased. Returns 0; -ENOENT not joined. */
int node_leave(struct node *node, uint64_t nwid, int64_t now_ms);

/* Networks joined, ascending: writes up to cap IDs, returns how many there are. */
size_t node_networks(const struct node *node, uint64_t *out, size_t cap);
MUST_CHECK int node_network_get(const struct node *node, uint64_t nwid,
                                struct node_network_info *ret);

/* Result of PORT_CREATE: 0, or a negative errno shown as PORT_ERROR until a later call says 0. */
void node_port_result(struct node *node, uint64_t nwid, int error, int64_t now_ms);

/* All IP addresses on the port of a network, managed or not (at most 64 used): their resolution
 * groups are announced. */
void node_port_addresses(struct node *node, uint64_t nwid, const struct inetaddr *addrs,
                         size_t count, int64_t now_ms);

/* Multicast subscriptions of the port as the system reports them (replaces the set, at most 1024).
 */
void node_port_groups(struct node *node, uint64_t nwid, const struct multicast_group *groups,
                      size_t count, int64_t now_ms);

/* In frames of a network, both ways, lower the MSS that TCP connections begin with to what fits
 * this MTU (of the device); 0, as at the start: leave it. Unknown networks are ignored. */
void node_port_mss(struct node *node, uint64_t nwid, uint32_t mtu, int64_t now_ms);

/* From now on, or no longer, tell the host by env->captured of every frame of a network and what
 * became of it. Its frames are handled by the engine alone meanwhile, which is slower. Returns 0;
 * -ENOENT not joined. Leaving the network ends it. */
int node_capture(struct node *node, uint64_t nwid, bool on, int64_t now_ms);

/* ---- worlds ---- */

/* Orbit a moon: from its stored file, else by asking seed (0 = only from file).
 * Returns 0; -ENOENT no file and no seed; -ENOMEM; -ENOSPC more than 64 moons. */
MUST_CHECK int node_orbit(struct node *node, uint64_t world_id, uint64_t seed, int64_t now_ms);
int node_deorbit(struct node *node, uint64_t world_id, int64_t now_ms);

struct world;

/* The planet in use, or NULL; borrowed until the next input. */
const struct world *node_planet(const struct node *node);

struct node_moon_info {
    uint64_t id;
    uint64_t seed;             /* not 0: waiting for the world from this address */
    bool verified;             /* its first version was signed by its own key */
    const struct world *world; /* NULL while waiting; borrowed until the next input */
};

/* The index-th moon; false past the end. */
bool node_moon(const struct node *node, size_t index, struct node_moon_info *ret);

/* Offer a world (from a local file): 0 accepted and stored; -EACCES refused by the update rule;
 * -ENOSPC more than 64 moons; -ENOMEM. */
MUST_CHECK int node_world_offer(struct node *node, const struct world *world, int64_t now_ms);

/* May a node replace what it holds by this world? The same rule, without doing it: 0; -EPROTO no
 * world of this ID may take the place of the planet; -ESTALE not newer; -EACCES not signed by the
 * key of the version held. */
MUST_CHECK int node_world_check(const struct node *node, const struct world *world);

/* Identity of a node that is known here, from memory or from the cache. Returns 0; -ENOENT. */
MUST_CHECK int node_identity_of(struct node *node, uint64_t address, struct identity *ret,
                                int64_t now_ms);

/* ---- looking in ---- */

struct node_status {
    uint64_t address;
    bool online;
    bool root; /* listed in planet or a moon */
    uint64_t planet_id;
    uint64_t planet_timestamp;
    bool planet_verified; /* its first version here was signed by its own key */
    uint64_t relay;       /* root in use for what goes by others, 0 none */
};

/* What the node is at present. */
void node_get_status(const struct node *node, int64_t now_ms, struct node_status *ret);
/* Its identity, borrowed. */
const struct identity *node_identity(const struct node *node);

/* External addresses reported by others: writes up to cap distinct ones, returns how many written.
 */
size_t node_surface_addresses(const struct node *node, struct inetaddr *out, size_t cap);

/* The NAT in front of the sockets of a family (INETADDR_V4, INETADDR_V6), as far as it shows: two
 * nodes must have told our address, of which one at least may be a root. */
enum nat_kind node_nat_kind(const struct node *node, uint8_t family);

enum peer_role { PEER_LEAF = 0, PEER_MOON = 1, PEER_PLANET = 2 };

struct node_path_info {
    struct inetaddr remote;
    uint32_t socket;
    int64_t last_send_ms;    /* monotonic, INT64_MIN never */
    int64_t last_receive_ms; /* authenticated, same */
    int latency_ms;          /* -1 unknown */
    uint64_t trusted_path_id;
    bool preferred;
    unsigned mtu;       /* UDP payload */
    int64_t learned_ms; /* when it was proved, monotonic */
    const char *origin; /* how its address became known: contact, world, cache, local.conf,
                           rendezvous, push */
};

struct node_peer_info {
    uint64_t address;
    int version[3]; /* major, minor, revision; -1 unknown */
    unsigned protocol;
    int latency_ms; /* -1 unknown */
    enum peer_role role;
    uint64_t planet_timestamp; /* version of our planet it named last, 0 unknown */
    int64_t last_receive_ms;
    uint64_t packets[2];          /* received and authenticated, sent */
    uint64_t relayed[2];          /* of these, through other nodes */
    uint64_t relay;               /* without path: root that carries packets to it, 0 none */
    uint64_t packet_errors;       /* received, not authentic */
    struct node_path_info *paths; /* unexpired direct paths; none = relayed */
    size_t path_count;
    enum relay_reason relay_reason; /* why there is no direct path */
    enum nat_kind nat[2];           /* what the peer says of its own NAT: IPv4, IPv6 */
};

/* Snapshot of all peers, ascending by address; free with node_peers_free. Returns the count;
 * -ENOMEM. */
MUST_CHECK ssize_t node_peers(const struct node *node, int64_t now_ms, struct node_peer_info **ret);
void node_peers_free(struct node_peer_info *peers, size_t count);

/* One peer in memory; free(ret->paths). Returns 0; -ENOENT; -ENOMEM. */
MUST_CHECK int node_peer(const struct node *node, uint64_t address, int64_t now_ms,
                         struct node_peer_info *ret);

/* Counters with names: index from 0; name is NULL past the end. */
uint64_t node_counter(const struct node *node, size_t index, const char **ret_name);

/* Packets by verb and ERROR packets by code since the start: sent, or received and authenticated.
 * Borrowed. */
const struct packet_tally *node_tally(const struct node *node, bool sent);

/* Send a USER_MESSAGE. Returns as routed sending: 0; -EMSGSIZE; -EINVAL. */
int node_user_message(struct node *node, uint64_t dest, uint64_t type, const void *data, size_t len,
                      int64_t now_ms);

/* ---- controller side ---- */

/* Make this node a controller (NULL: none). The struct is copied. */
void node_set_controller(struct node *node, const struct node_controller *controller);

/* Send a configuration dictionary, cut, signed and compressed. request_id 0: a push; otherwise the
 * answer to that request. dest may be this node. Returns 0; -EMSGSIZE; -ENOMEM. */
MUST_CHECK int node_config_send(struct node *node, uint64_t nwid, uint64_t dest,
                                uint64_t request_id, const char *dict, size_t len, int64_t now_ms);

/* Answer a request with an error; data (or NULL) follows the network ID with its length. */
void node_config_error(struct node *node, uint64_t nwid, uint64_t dest, uint64_t request_id,
                       enum error_code code, const void *data, size_t len, int64_t now_ms);

/* Send signed revocations in one packet (at most 9: what fits one datagram). The caller keeps to
 * one call a second per destination. Returns 0; -EMSGSIZE. */
MUST_CHECK int node_revocations_send(struct node *node, uint64_t dest,
                                     const struct revocation *revocations, size_t count,
                                     int64_t now_ms);
