/* What the engine publishes to the workers of the data path, and what flows back. The fast path is
 * a memory of the engine's decisions: a frame whose objects are not all here is given to the
 * engine, which decides, acts, and publishes what it decided by; whatever may change a decision
 * takes the object out again. So nothing that is missing here is ever wrong, only slower.
 *
 * One writer: control (the engine's thread) makes objects, inserts and removes them, and never
 * changes one that is in, except words marked "in place", which take rights away at once. Any
 * number of readers: workers find objects by the tables, use them until the end of their turn, and
 * write cells of their own. An object that was removed is retired (datapath/limbo.h).
 * Source: data path contract, sections 1 and 2. */
#pragma once

#include "base/attr.h"
#include "crypto/packet_id.h"
#include "datapath/armor.h"
#include "datapath/filter.h"
#include "datapath/filter_class.h"
#include "datapath/limbo.h"
#include "datapath/replay.h"
#include "datapath/table.h"
#include "wire/inetaddr.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define DP_NO_SLOT UINT32_MAX

enum {
    DP_WORKERS_MAX = 16,
    DP_PATHS = 8,            /* paths of a session that are told apart */
    DP_SESSIONS_MAX = 65536, /* peers with traffic */
    DP_MEMBERS_MAX = 131072, /* members with traffic, of all networks */
    DP_SLOTS = 2097152,      /* objects of all kinds; a power of two */
    DP_HARVEST_MAX = 4096,   /* objects visited by one harvest, about */
    DP_WAYS = 3,             /* of a route, beside the one in use */
    DP_RETIRED_MAX = 65536,  /* waiting for workers: above, nothing new is published */
    DP_RELAY_RATE = 500000,  /* datagrams a second that a worker forwards for one address */
    DP_LARGE = 1176,         /* frames whose packets may be above 1200 bytes: the MTU of paths
                                matters to them */
    DP_HARVEST_MS = 50,      /* between two harvests while there is traffic */
};

/* Why a worker dropped, and what it did; summed over workers into the counters of the engine. */
enum dp_count {
    DP_RX_DATAGRAMS,
    DP_RX_PACKETS,    /* authenticated */
    DP_RX_FRAMES,     /* FRAME packets handled, of these */
    DP_RX_EXT_FRAMES, /* EXT_FRAME packets handled */
    DP_TX_DATAGRAMS,
    DP_TX_FRAMES,
    DP_TX_EXT_FRAMES,
    DP_RELAYED,
    DP_GIVEN,     /* to the engine: the slow path */
    DP_SLOW_JOIN, /* packets that went through the table of fragments */
    DP_DROP_RUNT,
    DP_DROP_BEACON,
    DP_DROP_OWN_SOURCE,
    DP_DROP_HOPS,
    DP_DROP_NO_ROUTE,   /* for a node that is not known, or was where it came from */
    DP_DROP_RELAY_RATE, /* for another node, and its sender had its share */
    DP_DROP_RELAY_PAIR, /* the same of its pair */
    DP_DROP_FRAGMENT,
    DP_DROP_MAC,
    DP_DROP_DUPLICATE,
    DP_DROP_MALFORMED,
    DP_DROP_RULES_IN,
    DP_DROP_RULES_OUT,
    DP_DROP_TOO_BIG,
    DP_DROP_HEADERS, /* from the device: runt, or headers that contradict */
    DP_COUNTS
};

/* One worker's shared words. */
struct dp_shared {
    _Alignas(64) _Atomic uint64_t counts[DP_COUNTS]; /* written by the worker */
    uint64_t folded[DP_COUNTS];                      /* of control: what it took already */
    _Alignas(64) _Atomic bool is_dirty;              /* some bit below is set */
    _Atomic uint64_t *dirty;                         /* DP_SLOTS bits: slots whose cells changed;
                                                        touched only as far as used */
};

enum dp_kind { DP_SESSION, DP_PORT, DP_MEMBER, DP_ROUTE };

/* Head of everything published. */
struct dp_object {
    struct table_node node; /* address or network ID */
    struct retired retired;
    struct published *pub;
    enum dp_kind kind;
    uint32_t slot;        /* its bit in the dirty maps, DP_NO_SLOT none */
    _Atomic bool is_dead; /* in place: no more use of it */
};

/* ---- sessions: peers with traffic ---- */

struct dp_path {
    struct inetaddr remote;
    uint32_t socket;
};

/* What one worker saw of a session. Times: monotonic ms, 0 never. */
struct session_cell {
    _Alignas(64) _Atomic int64_t in_ms; /* authenticated and handled here */
    _Atomic int64_t trust_ms;           /* of these, passed a network's gate */
    _Atomic int64_t relayed_ms;         /* of these, came through a relay */
    _Atomic int64_t crossed_ms;         /* of these, by another one than we use */
    _Atomic int64_t out_ms;             /* sent */
    _Atomic int64_t path_ms[DP_PATHS];  /* came directly, by path */
    _Atomic uint64_t packets[2];        /* received, sent */
    _Atomic uint64_t large;             /* sent, of frames above DP_LARGE */
    _Atomic uint64_t relayed;           /* received through a relay */
    _Atomic uint64_t errors;            /* not authentic */
};

struct dp_session {
    struct dp_object object;
    bool can_send;   /* out and the next two are set */
    bool is_relayed; /* out leads to a relay */
    enum cipher_suite suite;
    bool mtu_fixed;     /* by configuration: not more, though a packet needs it */
    size_t mtu;         /* largest UDP payload on the way out */
    struct dp_path out; /* where packets to the peer go */
    unsigned path_count;
    struct dp_path paths[DP_PATHS]; /* direct ones by which it may send to us */
    const struct armor_keys *keys;  /* borrowed: released after the session */
    struct replay *replay;          /* the same */
    uint64_t folded[5];             /* of control: received, sent, errors, relayed, large ones
                                       taken already */
    struct session_cell cells[];    /* one for a worker */
};

/* ---- networks ---- */

/* Frames that rules and membership let pass or did not, as one worker counted. */
struct port_cell {
    _Alignas(64) _Atomic uint64_t in[2]; /* dropped, accepted */
    _Atomic uint64_t out[2];
};

struct dp_port {
    struct dp_object object;
    bool is_public;
    bool is_bridge;                /* we are an active bridge */
    bool multicast;                /* frames to groups are taken */
    uint64_t mac;                  /* ours */
    uint32_t mtu;                  /* longest payload of a frame */
    uint32_t mss_mtu;              /* TCP is told to keep to this MTU, 0: not */
    struct filter_network *filter; /* owned: one block */
    struct filter_traits traits;   /* of base rules and our own capabilities */
    struct table members;
    uint64_t folded[4]; /* of control: in and out taken already */
    struct port_cell cells[];
};

/* What one worker saw of a member. */
struct member_cell {
    _Alignas(64) _Atomic int64_t in_ms; /* passed the gate */
    _Atomic int64_t out_ms;             /* a frame was sent to it */
};

enum dp_access {
    DP_ACCESS_IN = 1,  /* its frames are taken */
    DP_ACCESS_OUT = 2, /* frames to it are sent */
};

struct dp_member {
    struct dp_object object;
    uint64_t nwid;
    _Atomic unsigned access;          /* in place: enum dp_access bits are only taken away */
    bool is_bridge;                   /* an active bridge */
    struct filter_credentials *creds; /* owned: one block */
    struct filter_traits traits;      /* of port and member together */
    struct member_cell cells[];
};

/* ---- ways to peers ---- */

/* Where a peer is, also without a session: others' packets for it go there, and what says to be
 * its and comes from there is no stranger's. */
struct dp_route {
    struct dp_object object;
    struct dp_path to;
    int64_t since_ms; /* it leads there */
    unsigned way_count;
    struct dp_path ways[DP_WAYS]; /* more by which its packets may come */
    _Atomic int64_t used_ms[];    /* by worker: when it forwarded last, 0 never */
};

/* ---- all of it ---- */

/* Takes what the cells of an object say, on control's thread: at harvests, and once more when it is
 * released, for what came after it was removed. */
typedef void (*harvest_fn)(void *ctx, struct dp_object *object);

struct published {
    uint64_t self;                    /* own address */
    unsigned workers;                 /* fixed */
    _Atomic bool is_root;             /* packets of others may be relayed by routes */
    _Atomic int64_t relay_cost_ns;    /* in place: time that forwarding one takes of its sender's
                                         share in a worker, 0: no limit */
    _Atomic uint64_t relay_pair_rate; /* in place: bytes a second that a worker forwards of a pair,
                                         0: no limit but under overload */
    uint64_t seed;
    struct packet_id_source ids; /* lane 0, control's: of its key only */
    struct limbo limbo;
    struct table sessions;
    struct table ports;
    struct table routes;
    size_t member_count;
    struct dp_object **slots; /* by number, NULL: free */
    uint32_t *free_slots;     /* a stack */
    uint32_t slot_count;      /* of slots */
    uint32_t harvest_at;      /* word of the dirty maps where the next harvest begins */
    uint32_t free_count;      /* of free_slots */
    harvest_fn visit;
    void *visit_ctx;
    struct dp_shared *shared[DP_WORKERS_MAX];
};

/* Make the exchange of a node for so many workers (1..DP_WORKERS_MAX). ids: lane 0 of the node.
 * visit: see harvest_fn. Returns NULL: out of memory. */
struct published *published_new(uint64_t self, unsigned workers, const struct packet_id_source *ids,
                                uint64_t seed, harvest_fn visit, void *visit_ctx);

/* Release everything, published or retired. Workers have stopped. NULL is allowed. */
void published_free(struct published *pub);

/* True if objects may be made now: not too much waits for workers. */
bool published_has_room(const struct published *pub);

/* A zeroed object with cells for all workers and a key. NULL: out of memory or over a bound. */
struct dp_session *dp_session_new(struct published *pub, uint64_t address);
struct dp_port *dp_port_new(struct published *pub, uint64_t nwid);
struct dp_member *dp_member_new(struct published *pub, const struct dp_port *port,
                                uint64_t address);
struct dp_route *dp_route_new(struct published *pub, uint64_t address);

/* Publish a complete object, instead of the one of the same key if there is one (which is retired,
 * a port with its members). Out of memory it is released, and what was there stays away too. */
void dp_session_publish(struct dp_session *session);
void dp_port_publish(struct dp_port *port);
void dp_member_publish(struct dp_port *port, struct dp_member *member);
void dp_route_publish(struct dp_route *route);

/* Take an object out if it is there, and retire it: readers stop using it at once. A port goes with
 * its members. */
void dp_session_withdraw(struct published *pub, uint64_t address);
void dp_port_withdraw(struct published *pub, uint64_t nwid);
void dp_member_withdraw(struct dp_port *port, uint64_t address);
void dp_route_withdraw(struct published *pub, uint64_t address);

/* What is published now, or NULL. Workers: within a turn. */
struct dp_session *dp_session_find(const struct published *pub, uint64_t address);
struct dp_port *dp_port_find(const struct published *pub, uint64_t nwid);
struct dp_member *dp_member_find(const struct dp_port *port, uint64_t address);
struct dp_route *dp_route_find(const struct published *pub, uint64_t address);

/* True if a peer with this route (or NULL) is known to be there. */
bool dp_route_is_from(const struct dp_route *route, uint32_t socket, const struct inetaddr *from);

/* Copies in one block, for objects; free with free(). NULL: out of memory. */
struct filter_network *filter_network_copy(const struct filter_network *net);
struct filter_credentials *filter_credentials_copy(const struct filter_credentials *creds);

/* ---- what flows back ---- */

/* Of worker `w`: its cells of an object changed. Returns true if control is to be woken: this is
 * the first since the last harvest. */
bool dp_touch(struct published *pub, unsigned w, const struct dp_object *object);

/* Add to a word that one thread writes. */
static inline void dp_add(_Atomic uint64_t *word, uint64_t n)
{
    atomic_store_explicit(word, atomic_load_explicit(word, memory_order_relaxed) + n,
                          memory_order_relaxed);
}

/* Visit objects whose cells changed since the last harvest, about DP_HARVEST_MAX of them; then the
 * rest is left to the next one and published_is_dirty. Returns how many. */
size_t published_harvest(struct published *pub);

/* True if some worker changed cells since the last harvest. Any thread. */
bool published_is_dirty(const struct published *pub);

/* What was counted since the last call, over all workers. */
void published_counts(struct published *pub, uint64_t ret[DP_COUNTS]);

/* What was ever counted, over all workers; published_counts is not disturbed. */
void published_totals(const struct published *pub, uint64_t ret[DP_COUNTS]);

/* Name of a count as the API and the metrics show it; those of drops begin with "drop_". NULL: past
 * the end. */
const char *dp_count_name(size_t index);
