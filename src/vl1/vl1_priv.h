/* Inside of vl1: the structs its files share. Nothing outside src/vl1 includes this, except tests
 * of vl1 itself. Source: spec 02. */
#pragma once

#include "base/hmap.h"
#include "base/list.h"
#include "base/timers.h"
#include "crypto/packet_id.h"
#include "datapath/armor.h"
#include "datapath/fragment.h"
#include "datapath/published.h"
#include "datapath/replay.h"
#include "vl1/counters.h"
#include "vl1/host.h"
#include "vl1/punch.h"
#include "vl1/vl1.h"
#include "wire/hello.h"
#include "wire/vl1msg.h"
#include "wire/world.h"

/* Timers of VL1, each with its purpose (ms); tools/timers lists all there are. */
enum {
    UPSTREAM_RETRY_FIRST_MS = 100, /* HELLO to an upstream without a path: again after this, */
    UPSTREAM_RETRY_LAST_MS = 5000, /* doubled each time up to this */
    UPSTREAM_EAGER_MS = 1000,      /* the last in the first minute */
    UPSTREAM_EAGER = 60,           /* attempts of this minute */
    OFFLINE_MS = 30000,            /* no upstream answers for this long: offline */
    SEED_RETRY_MS = 30000,         /* a seed that no upstream knew is asked for again */
    UPSTREAM_ECHO_MS = 20000,      /* keeps NAT mappings to every root open (PP-10: 25 s) */
    HEARTBEAT_MS = 14000,          /* ECHO on a path to an active peer (PP-9) */
    HEARTBEAT_LOW_MS = 25000,      /* the same in low bandwidth mode */
    FULL_HELLO_MS = 60000,         /* HELLO on the best path: versions, world updates */
    PATH_EXPIRY_MS = 243000,       /* path without authenticated packets is given up */
    PEER_ALIVE_MS = 500000,        /* peer without packets is put into the cache and forgotten */
    PEER_ACTIVE_MS = 500000,       /* frames within this time: keepalive */
    PEER_KEYS_IDLE_MS = 120000,    /* cipher contexts of silent peers are released */
    PEER_SAVE_MS = 600000,         /* a used peer is written to the cache at most this often */
    TRUST_MS = 600000,             /* shared membership is believed for this long */
    SURFACE_MS = 600000,           /* reports of our external address */
    PROBE_FIRST_MS = 150, /* silence after sending until the first probe, plus 2 round trips */
    PROBE_CALM_MS = 500,  /* the same when probes were answered and nothing else was */
    PROBE_CALM_RELAY_MS = 2000, /* and on the way to or from a relay */
    PROBE_AGAIN_MS = 175,       /* for the answer to a probe, plus 2 round trips (gate: 166 ms) */
    PROBE_UNKNOWN_MS = 100,     /* a round trip that was never measured */
    PROBE_LOST_MAX = 2,         /* unanswered probes until a path is not used any more */
    PROBE_DEAD_MAX = 6,         /* further ones, each after twice the time, then heartbeats */
    PROBE_FORGIVEN_MAX = 3,     /* open questions dropped in a row since frames still came */
    PROBE_CALM_MAX = 5,         /* doublings of PROBE_FIRST_MS */
    PROBE_ALONG_MAX = 16,       /* paths of a peer asked along with the one that is silent */
    GREET_MS = 5000,            /* per peer: "may have restarted" is passed up, 4 saved up */
    CONFIRM_FIRST_MS = 200,     /* HELLO to the address of a peer without a path: again, doubling */
    MOVED_MS = 100,             /* silence, plus 2 latencies, that makes a newer path take over */
    SETTLED_MS = 3000,          /* a path or relay in use is not left for a faster one before */
    PROBE_GATE_MS = 1000,       /* probes of one unknown path (PP-3) */
    PROBE_GATE_LOST_MS = 200,   /* the same while the path in use is silent */
    ECHO_GATE_MS = 166,         /* answers to ECHO over one path */
    WHOIS_RETRY_MS = 500,       /* per wanted address (TX-3) */
    WHOIS_GIVE_UP_MS = 5000,    /* a wanted address that nobody knows is not asked for any more */
    SEARCH_MS = 10000,          /* what is known of addresses tried is kept for so long */
    WHOIS_GATE_MS = 100,        /* answers to one peer, not at roots */
    QUEUE_MS = 5000,            /* waiting packets, both directions */
    LATER_RETRY_MS = 500,       /* retry of packets answered VL1_LATER */
    AWAIT_MS = 10000,           /* an OK is believed for this long after the request */
    INTRODUCE_MS = 30000,       /* per pair (NT-2) */
    INTRODUCE_MOVED_MS = 500,   /* when one of them has another address since (Do better 25) */
    HINT_MS = 30000,            /* tries of a configured address */
    PUSH_RELAYED_MS = 15000,    /* own PUSH_DIRECT_PATHS, trigger came by relay */
    PUSH_DIRECT_MS = 120000,    /* trigger came directly */
    PUSH_DIRECT_LOW_MS = 1920000, /* the same in low bandwidth mode */
    PUSH_NEWS_MS = 2000,          /* our NAT was found to be of another kind */
    PUSH_SLOW_MS = 30500,  /* relayed pushes after the first few: stays under a reference's gate */
    PUSH_BUCKET_MS = 3750, /* one received push is admitted per this time, 8 saved up */
    RELAYED_HELLO_MS = 5000, /* HELLO by relay to a peer of unknown version */
    VALIDATE_MS = 250,       /* per source block: identity checks beyond the burst */
    STRANGERS_MS = 5,        /* the same over all source blocks, per class */
    HELLO_COPY_MS = 50,      /* copies of a HELLO answered beyond the first HELLO_COPIES */
    HELLO_COPIES_MS = 10000, /* copies of one HELLO arrive within this time */
    SAVE_GAP_MS = 4,         /* between writes to the cache, beyond SAVES_BURST */
    MOVED_GAP_MS = 10000, /* one upstream makes us test all paths so often, MOVED_BURST at once */
    HELLO_CLOCK_MS = 600000, /* an older timestamp in a HELLO is believed after this time */
    WORLDS_MS = 1000,        /* worlds are sent to one peer at most this often */
    WORLDS_GAP_MS = 10,      /* the same where nobody was proved to be, of all, beyond the burst */
    TELL_MS = 10,            /* a root tells TELL_BURST peers of a new world, then the next */
    MTU_ANSWER_MS = 250,     /* until a probe of a size is lost, plus 2 latencies */
    MTU_GAP_MS = 200,        /* between such probes: the gate of the other side is 166 ms */
    MTU_TEST_MS = 10000,     /* the size in use is tested again, if large packets were sent */
    MTU_TEST_BUSY_MS = 2000, /* if they were many */
    MTU_TEST_SILENT_MS = 1000,  /* if nothing came back */
    MTU_RAISE_FIRST_MS = 60000, /* until larger sizes are tried again, doubled each time */
    MTU_RAISE_LAST_MS = 600000, /* up to this */
};

enum { LOW_BANDWIDTH_FACTOR = 4 }; /* longer patience with silent paths */

/* Bounds of everything a stranger can make us keep. */
enum {
    PEERS_MAX = 65536,        /* unless settings say otherwise */
    PEERS_ROOT_MAX = 1000000, /* the same of a root */
    LIVES_MAX = 65536,        /* peers with keys and duplicate filter */
    PEER_PATHS_MAX = 64,
    CONFIRM_TRIES = 4, /* repetitions of the HELLO that should prove a path */
    PEER_ORIGINS = 8,  /* addresses tried of which is known who told them */
    PEER_PROBES = 16,  /* gates for unknown paths: as many are answered and probed in a second */
    SOCKETS_MAX = 256,
    MOONS_MAX = 64,
    PHYSICAL_MAX = 32,
    VIRTUAL_MAX = 1024,
    MAPPED_MAX = 16,
    TX_QUEUE_MAX = 512,
    TX_QUEUE_PEER_MAX = 32,
    TX_QUEUE_BYTES = 1 << 20, /* waiting to leave, in all */
    TX_QUEUE_PEER_BYTES = 65536,
    RX_QUEUE_MAX = 64,
    RX_QUEUE_SOURCE_MAX = 16,
    WHOIS_MAX = 1024,           /* lookups under way */
    WHOIS_STRANGERS_MAX = 128,  /* of these, for sources of packets nobody vouches for */
    WHOIS_ASKED_MAX = 512,      /* of these, for others who asked us */
    WHOIS_ASKED_PACKET_MAX = 8, /* begun by one WHOIS packet */
    ASKERS_MAX = 256,           /* WHOIS of others for addresses not known yet */
    RENDEZVOUS_PENDING_MAX = 32,
    SURFACE_MAX = 64,
    SURFACE_REPORTER_MAX = 4, /* by one leaf */
    VALIDATE_JOBS_MAX = 32,
    VALIDATE_COPIES = 4,   /* of one HELLO, by different paths */
    VALIDATE_BURST = 16,   /* identity checks per source block before the rate applies */
    STRANGERS_BURST = 256, /* and over all of them, per class */
    SAVES_BURST = 1024,    /* peers written to the cache at once, */
    SAVES_AT_END = 8192,   /* and when everything ends */
    ASKED_AT_ONCE = 4096,  /* more peers are not all asked at once, only those with traffic */
    MOVED_BURST = 4,
    STRANGERS_SEEN = 1 << 20, /* HELLOs that found no place, remembered */
    STRANGERS_NEAR = 65536,   /* blocks in which a path was proved, remembered */
    HELLO_COPIES = 64,
    SOURCE_BLOCKS = 256,
    AWAIT_SETS = 256,
    AWAIT_WAYS = 4,
    PAIRS = 4096,          /* introductions remembered */
    TRUSTED_REMOTES = 256, /* addresses that carried trust: may relay through us */
    REPLAY_BUSY = 50,      /* packets in a second that make a duplicate filter large */
    PUSH_PER_CLASS = 8,    /* addresses tried per scope and family of one push */
    PUSH_BURST = 8,
    ECHO_BURST = 3, /* over a path */
    GREET_BURST = 4,
    INTRODUCTIONS_PER_SECOND = 512,
    PROBES_PER_SECOND = 256, /* to addresses chosen by others */
    PUSH_UNTRUSTED_MAX = 4,  /* addresses tried of a push without shared membership */
    WORLDS_BURST = 256,
    TELL_BURST = 16,           /* HELLOs in one go that tell of a new world */
    WORLD_LINKS_MAX = 16,      /* changes of key remembered of one world */
    MTU_PHYSICAL_FLOOR = 1200, /* datagrams are not made smaller than this by what is lost */
    MTU_PROVABLE_MAX = 9919,   /* the answer is 9 bytes longer and fits 7 usual datagrams */
    MTU_UNPROVED_MAX = 1500,   /* a peer may not have buffers for more (D-5) */
    MTU_SEARCHES_MAX = 64,     /* paths whose size is tested at the same time */
    MTU_PROBES = 4,            /* of each, answers to the last ones are believed */
    MTU_TRIES = 2,             /* lost probes that refute a size */
    MTU_TRIES_IN_USE = 3,      /* the same of the size in use */
    MTU_LARGE_MANY = 16,       /* large packets that make a path busy */
};

#define TIME_NEVER INT64_MIN

/* A way to a peer: local socket and remote address, proved by an awaited OK. */
struct path {
    struct inetaddr remote;
    uint32_t socket;
    uint8_t lost;                /* probes in a row without answer */
    unsigned calm : 4;           /* answered probes in a row that nothing else came between */
    unsigned forgiven : 4;       /* open questions dropped since something else was heard */
    enum path_origin origin : 4; /* how its address became known */
    bool mtu_fixed : 1;          /* by configuration */
    bool redirected : 1;         /* the peer asked to be reached there */
    unsigned large : 5;          /* packets sent since the MTU was tested that it matters for */
    unsigned mtu_silences : 3;   /* tests in a row that passed though nothing else came back */
    unsigned mtu_raises : 3;     /* fruitless tries of larger ones */
    int latency_ms;              /* smoothed round trip, -1 unknown */
    uint16_t mtu;                /* UDP payload */
    uint16_t mtu_raise;          /* low bits of the second when larger ones may be tried */
    uint32_t mtu_proved;         /* when the one in use was tested, mtu_clock(), or 0 */
    uint64_t trusted_id;         /* trusted path ID, 0 none */
    int64_t learned_ms;          /* when it was proved */
    int64_t last_in_ms;          /* last authenticated direct packet */
    int64_t last_out_ms;         /* last datagram sent */
    int64_t silent_since_ms; /* first datagram sent after the last one received, or TIME_NEVER */
    int64_t last_probe_ms;   /* last ECHO or HELLO sent to test it */
    int64_t echo_credit_ms;  /* token bucket of answers to ECHO over it */
};

/* Who told an address of a peer. */
struct origin {
    uint64_t key; /* of the address */
    enum path_origin origin;
};

/* Gate for an address that is not a path (yet). */
struct probe_gate {
    uint64_t key;           /* of socket and address */
    int64_t used_ms;        /* last of: made, the two below */
    int64_t probed_ms;      /* HELLO or ECHO sent */
    int64_t echo_credit_ms; /* token bucket of ECHO answered */
};

/* Of addresses that are no path: only peers for which some were tried in the last seconds. */
struct peer_search {
    int64_t used_ms;
    struct origin *origins; /* PEER_ORIGINS, NULL: none noted */
    unsigned origin_next;
    unsigned gate_count; /* at most PEER_PROBES */
    struct probe_gate gates[];
};

/* Keys and duplicate filter: only peers with traffic have them. Workers use them by the published
 * session, so they are released after it. */
struct peer_live {
    struct list link; /* in vl1->lives, the longest unused first */
    struct peer *peer;
    int64_t used_ms;
    struct armor_keys keys;
    struct replay *replay;   /* NULL before the first packet */
    struct replay *outgrown; /* the small one, which workers may still hold; NULL before */
    int64_t replay_second;   /* counting packets per second to choose the size */
    uint64_t replay_count;
    int64_t best_ms;       /* another path took over */
    int64_t unanswered_ms; /* first sent by the relay after the last received, or TIME_NEVER */
    bool relay_asked;      /* the relay was probed since then */
    bool crossed;          /* its packets come by another relay than ours */
    struct retired retired;
};

struct peer {
    struct hmap_node by_address; /* key = address */
    struct vl1 *vl1;
    struct identity identity; /* public half */
    uint8_t secret[SHARED_KEY_LEN];
    struct peer_live *live;      /* NULL while idle */
    struct node_version version; /* protocol 0: unknown */
    struct path *paths;
    uint8_t path_count;
    uint8_t path_cap;
    int8_t best;     /* index of the path in use, -1 none */
    bool validated;  /* address hash was checked here or by whoever made the peer known */
    bool validating; /* job is out */
    bool planet_root;
    bool moon_root;
    bool invalid;           /* address hash found wrong: to be removed */
    bool had_path;          /* EVENT_PEER_DIRECT was given */
    bool tried;             /* some address was answered or probed */
    bool gone;              /* forgotten: only its memory is still there */
    struct peer *next_gone; /* list of those */
    bool session_due;       /* frames flow: workers are to know it */
    bool had_session;       /* they did */
    bool stale;             /* what is published of it may be wrong: in the list of those */
    struct peer *next_stale;
    unsigned keep;     /* vl1_contact_keep calls */
    unsigned attempts; /* HELLO rounds without answer */
    uint32_t endpoint; /* next stable endpoint to try */
    int64_t created_ms;
    int64_t last_receive_ms;
    int64_t last_activity_ms;
    int64_t last_trust_ms;
    int64_t last_hello_ms; /* last full HELLO */
    int64_t last_relayed_hello_ms;
    int64_t last_whois_ms;   /* last WHOIS of it that we answered */
    int64_t greet_credit_ms; /* token bucket of greeted upcalls */
    int64_t last_save_ms;
    int64_t moved_credit_ms;    /* token bucket of reports that we moved, of an upstream */
    uint64_t hello_stamp;       /* newest timestamp in a HELLO of the peer */
    int64_t hello_stamp_ms;     /* when it came first */
    uint64_t packets[2];        /* received and authenticated, sent */
    uint64_t relayed[2];        /* of these, through other nodes */
    uint64_t packet_errors;     /* received, not authentic */
    int64_t hello_credit_ms;    /* token bucket of copies of HELLOs */
    int64_t last_worlds_ms;     /* worlds given in an OK(HELLO) */
    struct peer_search *search; /* NULL: no address was tried lately */
    struct inetaddr confirm_to; /* address that is tried while there is no path */
    uint32_t confirm_socket;
    unsigned confirm_left; /* tries left, 0 = none */
    int64_t confirm_ms;    /* next try */
    struct timer timer;
    struct traversal *traversal; /* NULL: nothing happened yet */
};

/* A root or moon held or waited for. */
struct moon {
    uint64_t id;
    uint64_t seed;       /* not 0: waiting for the world from this address */
    bool kept;           /* contact with the seed is kept */
    bool verified;       /* the first version was signed by its own key, or we saw it follow */
    struct world *world; /* NULL while waiting */
};

/* Which version of our planet one of its roots has. */
struct root_stamp {
    uint64_t address; /* 0: free */
    uint64_t stamp;   /* that its last HELLO named */
};

struct awaited {
    uint64_t id;   /* wire ID */
    uint64_t peer; /* who must answer */
    int64_t sent_ms;
    uint8_t verb;
};

/* An ECHO of one datagram of this size. */
struct mtu_probe {
    uint64_t id; /* wire ID */
    unsigned size;
};

/* A path whose size is being tested. */
struct mtu_search {
    uint64_t peer;
    uint32_t socket;
    struct inetaddr remote;
    unsigned low;     /* largest that passes, 0: before the first answer */
    unsigned high;    /* smallest that does not, less 1 */
    unsigned size;    /* being tried, 0: none yet, it is seen whether something comes back */
    uint8_t tries;    /* of it */
    bool is_asked;    /* a small ECHO left meanwhile */
    int64_t first_ms; /* its first try */
    int64_t sent_ms;  /* last probe */
    int64_t next_ms;  /* when something is due */
    unsigned probe_next;
    struct mtu_probe probes[MTU_PROBES];
};

struct socket_entry {
    uint32_t id;
    struct inetaddr local;
    unsigned mtu;        /* of the interface, 0 unknown */
    bool resized;        /* set_sockets just gave it another MTU */
    uint8_t nat;         /* enum nat_kind, as reports say */
    bool extra;          /* opened by us, for one peer: not for discovery */
    int64_t remapped_ms; /* an upstream saw it get another port: older reports do not count */
    bool moved;          /* set_sockets just gave it another address: its paths are gone */
};

/* Where a packet came from. */
struct arrival {
    uint32_t socket;
    struct inetaddr from;
    int64_t now_ms;
};

/* A received packet that waits for an identity or a credential. */
struct rx_wait {
    struct list link;
    struct arrival at;
    uint64_t source;
    int64_t expires_ms;
    bool opened; /* authenticated and decompressed already */
    bool due;    /* to be tried again at the end of this input */
    size_t len;
    uint8_t data[]; /* whole packet */
};

/* A packet to send that waits for an identity or a path. */
struct tx_wait {
    struct list link;
    uint64_t dest;
    int64_t expires_ms;
    unsigned flags;
    size_t len;
    uint8_t data[]; /* packet before compression and sealing */
};

/* Why an identity is looked for: each reason has its share of the table. */
enum whois_reason {
    WHOIS_OWN,      /* we want to talk to it, or must check a signature */
    WHOIS_STRANGER, /* a packet came from it */
    WHOIS_ASKED,    /* somebody asked us; not repeated by ourselves: who wants it asks again */
    WHOIS_REASONS
};

/* An identity that is looked for. */
struct whois {
    struct hmap_node by_address;
    struct vl1 *vl1;
    struct timer timer;
    enum whois_reason reason;
    int64_t sent_ms;
    int64_t expires_ms;
};

/* Somebody's WHOIS for an address we did not know: answered when it becomes known. */
struct asker {
    uint64_t address; /* wanted */
    uint64_t peer;    /* who asked */
    uint64_t re_id;
    struct arrival at;
};

struct pending_rendezvous {
    uint64_t address;
    struct inetaddr to;
    uint32_t socket;
    int64_t expires_ms;
};

struct surface {
    uint64_t reporter;
    uint32_t socket;
    struct inetaddr reporter_at;
    struct inetaddr mine;
    int64_t at_ms;
};

/* Identity check of a stranger's HELLO or of a peer learned from upstream. */
struct validate {
    struct validate_job job;
    struct list link;
    struct arrival at[VALIDATE_COPIES]; /* ways by which copies of the HELLO came */
    unsigned at_count;
    size_t len;                           /* 0: check of a known peer */
    uint8_t packet[MTU_PHYSICAL_DEFAULT]; /* the HELLO */
};

struct source_block {
    uint64_t key;
    int64_t credit_ms; /* time up to which the bucket is spent */
};

struct pair_time {
    uint64_t key;
    int64_t at_ms;
};

struct virtual_entry {
    struct hmap_node by_address;
    struct inetaddr *try_paths;
    size_t try_count;
    struct inetaddr *blacklist;
    size_t blacklist_count;
};

struct vl1 {
    struct engine_env env;
    struct vl1_upper upper;
    struct identity identity;
    struct vl1_options options;
    uint64_t seed; /* of hashes */
    struct timers timers;
    struct packet_id_source ids;
    uint64_t counters[VL1_COUNTERS];
    struct packet_tally tally[2]; /* received, sent */

    struct socket_entry *sockets;
    size_t socket_count;
    struct physical_entry physical[PHYSICAL_MAX];
    size_t physical_count;
    struct hmap virtuals;
    struct inetaddr mapped[MAPPED_MAX];
    size_t mapped_count;

    struct hmap peers;
    uint32_t max_peers; /* 0: by role */
    struct list lives;  /* of peers with keys */
    size_t live_count;
    struct peer *gone;     /* forgotten during this input */
    struct published *pub; /* NULL: no workers */
    struct peer *stale;    /* changed during this input: looked at when it ends */
    bool relay_stale;      /* the relay or the way to it changed */
    int64_t now_ms;        /* of the newest input, for what is released */
    struct world *planet;
    bool planet_verified; /* as of a moon */
    struct moon moons[MOONS_MAX];
    size_t moon_count;
    bool loop_told; /* own packets came back, and the log said so */
    bool root;      /* our identity is listed in a world */
    bool online;
    uint64_t upstreams[(MOONS_MAX + 1) * WORLD_ROOTS_MAX];
    size_t upstream_count;
    uint64_t relay;           /* upstream in use, 0 none */
    int64_t relay_ms;         /* since when */
    uint64_t relay_pair_rate; /* bytes a second that a worker relays of a pair, 0: no limit */
    uint32_t relay_rate; /* datagrams a second that a worker relays for one address, 0: no limit */
    struct timer online_timer;
    struct timer seed_timer; /* asks again for seeds of moons */
    int64_t detour_ms;       /* last try of ordinary sockets where there are only detours */
    struct root_stamp root_stamps[2 * WORLD_ROOTS_MAX]; /* the oldest is replaced */
    size_t root_stamp_next;
    struct list world_links; /* struct world_link, in the order of their acceptance */
    uint64_t *tell;          /* peers to be told of a new world, NULL: none */
    size_t tell_count;
    struct timer tell_timer;

    struct list tx_queue;
    size_t tx_count;
    size_t tx_bytes;
    struct mtu_search mtu_searches[MTU_SEARCHES_MAX];
    size_t mtu_search_count;
    struct timer mtu_timer;
    struct list rx_queue;
    size_t rx_count;
    bool rx_due;      /* some entry has due set */
    int64_t retry_ms; /* when what waits is tried again, INT64_MAX: nothing waits */
    struct timer queue_timer;
    struct hmap whois;
    size_t whois_count[WHOIS_REASONS];
    struct asker askers[ASKERS_MAX];
    size_t asker_next;
    struct pending_rendezvous rendezvous[RENDEZVOUS_PENDING_MAX];
    size_t rendezvous_next;
    struct surface surfaces[SURFACE_MAX];
    size_t surface_count;
    struct list validations;
    size_t validation_count;
    int64_t save_credit_ms;      /* token bucket of writes to the cache */
    int64_t worlds_credit_ms;    /* the same of worlds given where nobody was proved to be */
    struct strangers *strangers; /* made at the first one, or the first path */
    struct awaited awaited[AWAIT_SETS][AWAIT_WAYS];
    struct pair_time *pairs; /* PAIRS, made at the first relayed packet */
    struct pair_time trusted_remotes[TRUSTED_REMOTES];
    struct assembly assembly;

    struct punching *punching; /* NULL: never needed */
    int64_t probe_second;      /* probes that others made us send: counted per second */
    unsigned probe_count;
    int64_t introduce_second; /* introductions by us, the same */
    unsigned introduce_count;
    unsigned depth;              /* nesting of inputs and upcalls */
    uint8_t wire[PACKET_MAX];    /* packet being sealed */
    uint8_t open[PACKET_MAX];    /* packet being opened */
    uint8_t scratch[PACKET_MAX]; /* compression */
};

/* A packet that passed authentication, as the verbs of vl1 see it: the public part and more. */
struct opened {
    struct in_packet in;
    uint8_t *pkt; /* whole packet, header first */
    size_t len;
    struct arrival at;
    bool is_expanded;        /* it came compressed */
    int64_t request_sent_ms; /* OK: when the request left */
};

/* ---- vl1.c ---- */
void vl1_count(struct vl1 *vl1, enum vl1_counter counter);
void own_came_back(struct vl1 *vl1, const struct inetaddr *from);
void vl1_tally_packet(struct vl1 *vl1, bool sent, const uint8_t *pkt, size_t len);
void vl1_packet_in(struct vl1 *vl1, const struct arrival *at, uint8_t *pkt, size_t len);
enum dispatch {
    DISPATCH_NEW,    /* just opened */
    DISPATCH_TESTED, /* opened, counted and found no duplicate by a worker */
    DISPATCH_RETRY,  /* was handed up before */
};
void vl1_dispatch(struct vl1 *vl1, struct peer *peer, const struct arrival *at, uint8_t *pkt,
                  size_t len, enum dispatch how);
bool is_upstream_address(const struct vl1 *vl1, const struct inetaddr *from);
bool is_proved_source(struct peer *peer, const struct arrival *at);
struct socket_entry *socket_find(const struct vl1 *vl1, uint32_t id);
uint64_t arrival_key(uint32_t socket, const struct inetaddr *addr);

/* ---- peer.c ---- */
struct peer *peer_new(struct vl1 *vl1, const struct identity *id, int64_t now_ms);
void peer_free(struct peer *peer);
void peers_bury(struct vl1 *vl1);
void peers_done(struct vl1 *vl1, int64_t now_ms);
struct peer *peer_in_memory(const struct vl1 *vl1, uint64_t address);
bool peer_is_upstream(const struct peer *peer);
void peer_received(struct peer *peer, const struct opened *packet, bool trust);
void peer_seen(struct peer *peer, int64_t in_ms, int64_t trust_ms, int64_t now_ms);
void peer_schedule(struct peer *peer, int64_t now_ms);
void peer_save(struct peer *peer, int64_t now_ms);
bool peer_is_worth_asking(const struct peer *peer, int64_t now_ms);
void peer_set_version(struct peer *peer, const struct node_version *version);
bool peer_is_trusted(const struct peer *peer, int64_t now_ms);
bool peer_can_echo(const struct peer *peer);
bool peer_is_kept(const struct peer *peer);
bool peer_is_active(const struct peer *peer, int64_t now_ms);
void peer_contact_round(struct peer *peer, int64_t now_ms);

/* ---- roam.c ---- */
void peer_contact_now(struct peer *peer, int64_t now_ms);
size_t peer_greet_endpoints(struct peer *peer, int64_t now_ms);

/* ---- detour.c ---- */
uint64_t detour_penalty(uint32_t socket);
int64_t detour_due(const struct peer *peer, int64_t now_ms);
void detour_retry(struct vl1 *vl1, int64_t now_ms);

/* ---- live.c ---- */
struct armor_keys *peer_keys(struct peer *peer);
int peer_open(struct peer *peer, uint8_t *pkt, size_t len);
void peer_live_used(struct peer *peer);
void peer_live_free(struct peer *peer);
struct replay *peer_replay(struct peer *peer, int64_t now_ms);
void peer_replay_count(struct peer *peer, uint64_t count, int64_t now_ms);
bool peer_is_replay(struct peer *peer, const uint8_t *pkt, int64_t now_ms);

/* ---- session.c ---- */
void peer_stale(struct peer *peer);
void peer_has_frames(struct peer *peer);
void peer_withdraw(struct peer *peer);
void published_settle(struct vl1 *vl1, int64_t now_ms);
void published_root(struct vl1 *vl1);
void published_done(struct vl1 *vl1);

/* ---- origin.c ---- */
void origin_note(struct peer *peer, const struct inetaddr *to, enum path_origin origin);
enum path_origin origin_of(const struct peer *peer, const struct inetaddr *remote);

/* ---- path.c ---- */
struct path *path_find(struct peer *peer, uint32_t socket, const struct inetaddr *remote);
struct path *path_best(struct peer *peer, int64_t now_ms);
int64_t path_gives_way_ms(const struct peer *peer, int64_t now_ms);
bool path_is_usable(const struct path *path, int64_t now_ms);
bool path_is_expired(const struct path *path, int64_t now_ms);
bool path_is_allowed(struct vl1 *vl1, const struct peer *peer, const struct inetaddr *remote);
void path_learn(struct peer *peer, const struct opened *packet);
void path_confirm(struct peer *peer, uint32_t socket, const struct inetaddr *to, int64_t now_ms);
void path_probe(struct peer *peer, struct path *path, int64_t now_ms);
void path_remove(struct peer *peer, struct path *path);
void path_latency(struct path *path, int64_t sample_ms);
void path_settle(struct peer *peer, int64_t now_ms);
void peer_probe_address(struct peer *peer, uint32_t socket, const struct inetaddr *to,
                        bool force_hello, int64_t now_ms);
struct probe_gate *peer_probe_gate(struct peer *peer, uint32_t socket, const struct inetaddr *to,
                                   int64_t now_ms);
struct peer_search *peer_search(struct peer *peer);
void peer_search_free(struct peer *peer);
void peer_search_trim(struct peer *peer, int64_t now_ms);
void paths_apply_policy(struct vl1 *vl1);
const struct physical_entry *policy_find(const struct vl1 *vl1, const struct inetaddr *remote);
unsigned policy_mtu(const struct physical_entry *entry);

/* ---- liveness.c ---- */
int64_t path_patience(const struct path *path);
int64_t path_question_ms(const struct peer *peer, const struct path *path);
void path_heard(struct peer *peer, struct path *path, bool is_question, int64_t heard_ms,
                int64_t now_ms);
void path_answered(struct peer *peer, struct path *path, int64_t now_ms);
void path_sent(struct peer *peer, struct path *path, int64_t now_ms);
void path_carried(struct peer *peer, struct path *path, int64_t out_ms, int64_t now_ms);
void upstreams_ask(struct vl1 *vl1, int64_t now_ms);
void peer_question(struct peer *peer, int64_t now_ms);
void peer_relayed_to(struct peer *peer, int64_t out_ms, int64_t now_ms);
void peer_answered(struct peer *peer, int64_t in_ms);
int64_t peer_relay_question_ms(const struct peer *peer, int64_t now_ms);
void peer_relay_question(struct peer *peer, int64_t now_ms);
void peer_came_by(struct peer *peer, bool is_other, int64_t now_ms);

/* ---- mtu.c ---- */
void mtu_reset(const struct vl1 *vl1, struct path *path);
void mtu_configured(const struct vl1 *vl1, struct path *path);
void mtu_socket_changed(struct vl1 *vl1, uint32_t socket);
size_t mtu_for(const struct path *path, size_t len);
void mtu_sent(struct peer *peer, struct path *path, uint64_t large, int64_t now_ms);
void mtu_answered(struct peer *peer, const struct opened *packet);
void mtu_timer(struct timer *timer, int64_t now_ms);

/* ---- send.c ---- */
struct route {
    struct path *path; /* path used (of the peer itself, or of the relay) */
    struct peer *via;  /* owner of path */
};
bool route_find(struct vl1 *vl1, struct peer *peer, int64_t now_ms, struct route *ret);
bool route_look(struct vl1 *vl1, struct peer *peer, int64_t now_ms, struct route *ret);
void route_used(struct peer *peer, bool relayed, int64_t out_ms, int64_t now_ms);
enum cipher_suite suite_for(const struct vl1 *vl1, const struct peer *peer);
void vl1_emit(struct vl1 *vl1, uint32_t socket, const struct inetaddr *to, const uint8_t *data,
              size_t len, unsigned how);
void vl1_emit_all(struct vl1 *vl1, const struct inetaddr *to, const uint8_t *data, size_t len);
void await_add(struct vl1 *vl1, uint64_t id, uint64_t peer, enum verb verb, int64_t now_ms);
bool await_take(struct vl1 *vl1, uint64_t id, uint64_t peer, enum verb verb, int64_t now_ms,
                int64_t *ret_sent_ms);
int out_straight(struct vl1 *vl1, struct out_packet *out, struct peer *peer, uint32_t socket,
                 const struct inetaddr *to, unsigned flags, int64_t now_ms);
int out_probe(struct peer *peer, const struct path *path, size_t size, uint64_t *ret_id,
              int64_t now_ms);
int out_echo_answer(struct vl1 *vl1, struct out_packet *out, const struct in_packet *re,
                    int64_t now_ms);
void tx_flush(struct vl1 *vl1, uint64_t dest, int64_t now_ms);

/* ---- wait.c ---- */
void rx_wait_add(struct vl1 *vl1, const struct arrival *at, uint64_t source, const uint8_t *pkt,
                 size_t len, bool opened);
bool rx_wait_has_room(const struct vl1 *vl1, const struct arrival *at, uint64_t source);
void rx_mark_due(struct vl1 *vl1, uint64_t source);
void rx_run_due(struct vl1 *vl1, int64_t now_ms);
void queues_schedule(struct vl1 *vl1, int64_t now_ms);
void queues_init(struct vl1 *vl1);
void queues_done(struct vl1 *vl1);

/* ---- hello.c ---- */
void hello_send(struct peer *peer, uint32_t socket, const struct inetaddr *to, int64_t now_ms);
size_t hello_make(struct peer *peer, int64_t now_ms);
void hello_send_relayed(struct peer *peer, int64_t now_ms);
void hello_receive(struct vl1 *vl1, const struct arrival *at, uint8_t *pkt, size_t len);
enum vl1_verdict hello_authenticated(struct peer *peer, struct opened *packet);
enum vl1_verdict hello_ok(struct peer *peer, struct opened *packet);
void hello_validated(struct vl1 *vl1, struct validate *v, int64_t now_ms);
void validations_drop(struct vl1 *vl1);

/* ---- spread.c ---- */

/* A world was replaced by a version that it allows; old may be NULL. */
void spread_replaced(struct vl1 *vl1, const struct world *old, const struct world *fresh);

/* What was remembered of a world that was loaded; and no more of one that is left. */
void spread_load(struct vl1 *vl1, const struct world *world);
void spread_forget(struct vl1 *vl1, const struct world *world);

/* True if this very version is remembered: it was accepted by the key of the one before. */
bool spread_remembers(const struct vl1 *vl1, const struct world *world);
void spread_done(struct vl1 *vl1);

/* Write worlds of ours that are newer than those the HELLO names. Once a second at most: they are
 * many times larger than the HELLO, and its source address may be forged by whoever holds the
 * peer's key. */
void spread_give(struct peer *peer, const struct hello *h, struct hello_moons moons, int64_t now_ms,
                 struct wr *w);

/* Version of our planet that a root of it named last, 0: none. */
uint64_t spread_root_stamp(const struct vl1 *vl1, uint64_t address);

/* Offer the worlds of an OK(HELLO) to the update rule. Returns 0; -EBADMSG; -ENOMEM. */
MUST_CHECK int spread_take(struct vl1 *vl1, const struct ok_hello *ok, uint64_t from,
                           int64_t now_ms);

/* Note what a HELLO says about worlds; an upstream that has a newer one is asked for it. */
void spread_heard(struct peer *peer, const struct hello *h, struct hello_moons moons,
                  int64_t now_ms);

/* Tell everybody we have a path to, by HELLO, that there is a new world. */
void spread_tell(struct vl1 *vl1, int64_t now_ms);

/* ---- strangers.c ---- */
enum stranger_class {
    STRANGER_NO,    /* not now */
    STRANGER_FIRST, /* nothing speaks for it */
    STRANGER_AGAIN, /* it came before */
    STRANGER_NEAR,  /* others are there */
    STRANGER_CLASSES
};
enum stranger_class stranger_admit(struct vl1 *vl1, const struct arrival *at, uint64_t address);
void stranger_neighbour(struct vl1 *vl1, const struct arrival *at);
void strangers_done(struct vl1 *vl1);

/* ---- whois.c ---- */
enum vl1_verdict whois_receive(struct peer *peer, struct opened *packet);
enum vl1_verdict whois_ok(struct peer *peer, struct opened *packet);
bool whois_stranger(struct vl1 *vl1, uint64_t address, int64_t now_ms);
bool whois_has_room(const struct vl1 *vl1, enum whois_reason reason);
void whois_peer_known(struct vl1 *vl1, struct peer *peer, int64_t now_ms);
void whois_resend_all(struct vl1 *vl1, int64_t now_ms);
void whois_done(struct vl1 *vl1);

/* ---- traversal.c ---- */
enum vl1_verdict rendezvous_receive(struct peer *peer, struct opened *packet);
enum vl1_verdict push_receive(struct peer *peer, struct opened *packet);
void push_maybe(struct peer *peer, const struct opened *packet);
void push_relayed(struct peer *peer, int64_t now_ms);
void push_send(struct peer *peer, const struct push_path *paths, size_t count, int64_t now_ms);
void rendezvous_peer_known(struct vl1 *vl1, struct peer *peer, int64_t now_ms);
bool probe_allowance(struct vl1 *vl1, int64_t now_ms);
void surface_report(struct peer *reporter, const struct arrival *at, const struct inetaddr *mine);
void surfaces_check(struct vl1 *vl1);

/* ---- nat.c ---- */
void nat_update(struct vl1 *vl1, uint32_t socket);
enum nat_kind nat_of_socket(const struct vl1 *vl1, uint32_t socket);
enum relay_reason peer_relay_reason(const struct peer *peer, int64_t now_ms);

/* ---- relay.c ---- */
void relay_packet(struct vl1 *vl1, const struct arrival *at, uint8_t *pkt, size_t len);
void relay_fragment(struct vl1 *vl1, const struct arrival *at, uint8_t *frag, size_t len);
void relay_pair(struct vl1 *vl1, const struct arrival *at, const uint8_t *pkt);
void relay_trust(struct vl1 *vl1, const struct arrival *at);

/* ---- topology.c ---- */
int topology_load(struct vl1 *vl1, int64_t now_ms);
void topology_done(struct vl1 *vl1);
bool topology_is_stable_endpoint(const struct vl1 *vl1, const struct peer *peer,
                                 const struct inetaddr *ip, bool *ret_has_any);
size_t topology_endpoints(const struct vl1 *vl1, uint64_t address, struct inetaddr *out,
                          size_t cap);
int topology_offer(struct vl1 *vl1, const struct world *world, uint64_t from, bool local_file,
                   int64_t now_ms);
bool topology_accepts_worlds_from(const struct vl1 *vl1, uint64_t address);
size_t topology_hello_moons(const struct vl1 *vl1, struct hello_moon *out, size_t cap);
void seeds_contact(struct vl1 *vl1, int64_t now_ms);
void topology_online(struct vl1 *vl1, int64_t now_ms);
void topology_choose_relay(struct vl1 *vl1, int64_t now_ms);
