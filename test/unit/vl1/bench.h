/* Test bench of vl1: hosts that are a struct vl1 with a recording environment, actors that hold
 * keys only and whose packets the test makes itself, and a network in memory between hosts. Time is
 * virtual. Identities, keys and packets come from vectors/vl1.json. */
#pragma once

#include "crypto/identity.h"
#include "datapath/armor.h"
#include "datapath/dp.h"
#include "vectors.h"
#include "vl1/host.h"
#include "vl1/vl1_priv.h"
#include "wire/hello.h"
#include "wire/vl1msg.h"
#include "wire/world.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

enum {
    NOW = 5000000,     /* virtual time at which tests begin */
    SOCK = 7,          /* the usual local socket */
    SOCK_B = 8,        /* a second one of the same family */
    SOCK_V6 = 9,       /* one of the other family */
    EVENTS_MAX = 4096, /* events and upcalls remembered */
    HOPS_UNKNOWN = 99, /* of frames that a worker handled */
};

/* The network of frames that go through workers. */
#define BENCH_NET UINT64_C(0x8056c2e21c000001)

/* A datagram that a host sent, or that is under way. */
struct datagram {
    struct list link;
    int64_t at_ms; /* sent, or due at the receiver */
    uint32_t socket;
    struct inetaddr from; /* only under way */
    struct inetaddr to;
    unsigned ttl;
    size_t len;
    uint8_t data[];
};

struct stored {
    struct list link;
    enum state_kind kind;
    uint64_t id;
    size_t len;
    uint8_t data[];
};

struct seen_event {
    enum event_kind kind;
    uint64_t id;
    size_t len;
    uint8_t data[128]; /* its beginning */
};

/* A packet that was handed up to the layer above. */
struct seen_packet {
    enum verb verb;
    enum verb re_verb;
    uint64_t source;
    uint64_t id;
    uint8_t error;
    unsigned hops;
    bool retry;
    size_t len;
    uint8_t data[64]; /* beginning of the payload */
};

enum job_mode {
    JOBS_TRUST, /* identities of the vectors are valid, others are not; done after the input */
    JOBS_RUN,   /* the real check */
    JOBS_HOLD,  /* kept until bench_jobs */
    JOBS_REFUSE,
};

struct net;
struct host;

/* A worker of the data path, called inline: what it gives is taken at once. */
struct worker {
    struct host *host;
    struct published *pub;
    struct dp *dp;
    struct list gifts;
    bool holds;             /* nothing is reclaimed: as if it were inside a turn */
    int64_t harvest_ms;     /* when the engine takes what it noted, INT64_MAX: nothing there */
    unsigned given[5];      /* by enum dp_gift_kind */
    uint64_t watched;       /* address of a node */
    unsigned watched_given; /* datagrams for it */
    unsigned written;       /* frames to the device */
    unsigned relayed;       /* datagrams it sent at once, without a frame of ours */
};

/* Above 0 while the engine runs, 0 inside its calls back: for tests that make allocations fail. */
extern volatile int bench_in_engine; /* volatile: compilers know what malloc reads */

struct host {
    struct vl1 *vl1;
    struct identity identity;
    int64_t now_ms;
    struct net *net; /* NULL: datagrams are only recorded */
    struct vl1_socket sockets[8];
    size_t socket_count;
    struct list sent; /* struct datagram, oldest first */
    size_t sent_count;
    size_t sent_bytes;
    struct seen_event events[EVENTS_MAX];
    size_t event_count;
    struct seen_packet packets[EVENTS_MAX];
    size_t packet_count;
    enum vl1_verdict verdict; /* answer to packets handed up */
    struct inetaddr overlay;  /* prefix of a joined network */
    unsigned online_calls;
    unsigned known_calls;
    struct list stored;
    unsigned loads; /* state_load calls for peers */
    struct engine_job *jobs[64];
    size_t job_count;
    enum job_mode job_mode;
    bool trust_all; /* JOBS_TRUST: made-up identities are valid too */
    struct test_rng rng;
    uint64_t wakeups;      /* ticks that had something to do */
    bool silent;           /* its datagrams are lost */
    int64_t distance_ms;   /* its datagrams, both ways, take so much longer */
    struct worker *worker; /* handles what comes and goes, NULL: the engine alone */
};

/* Somebody with keys, played by the test. */
struct actor {
    struct identity identity;
    struct armor_keys keys; /* with the host under test */
    uint64_t next_id;
};

/* What a packet holds, opened by the one it is for. */
struct opened_packet {
    bool found;
    size_t index; /* datagram that began it */
    unsigned suite;
    unsigned hops;
    unsigned datagrams;
    enum verb verb;
    uint64_t id;
    uint64_t dest;
    uint64_t source;
    uint32_t socket;
    struct inetaddr to;
    size_t len;
    uint8_t data[PACKET_MAX]; /* payload */
};

/* ---- vectors ---- */
json_t *vl1_vectors(void);
json_t *vl1_named(const char *section, const char *name);
struct identity vl1_identity_of(const char *name);
struct inetaddr addr(const char *text);
struct world *world_named(const char *name);
struct world *world_from_hex(const char *hex);

/* A key pair that agrees but whose address is chosen, not derived: real checks refuse it. */
struct identity identity_made_up(uint64_t address);

/* Make an identity known to a host, as an OK(WHOIS) would. */
struct peer *host_know(struct host *h, const struct identity *id, uint8_t protocol);

/* ---- hosts ---- */

/* A host with the identity of this name, one IPv4 socket SOCK at 10.0.0.1/9993 unless sockets are
 * set before start, no planet unless one was stored. Not started. */
struct host *host_new(const char *name);
struct host *host_new_identity(const struct identity *id);
void host_sockets(struct host *h, const char *const *locals, size_t count); /* ids from SOCK on */
void host_store_world(struct host *h, const char *name);
void host_store(struct host *h, enum state_kind kind, uint64_t id, const void *data, size_t len);
struct stored *host_stored(struct host *h, enum state_kind kind, uint64_t id);
void host_options(struct host *h, const struct vl1_options *options);
void host_start(struct host *h);
void host_free(struct host *h);

/* host_new and host_start; planet: name of a world or NULL. */
struct host *host_up(const char *name, const char *planet);

void host_receive(struct host *h, uint32_t socket, const char *from, const void *data, size_t len);
void host_receive_addr(struct host *h, uint32_t socket, const struct inetaddr *from,
                       const void *data, size_t len);

/* Let time pass up to now + ms, running what is due in its order. */
void host_run(struct host *h, int64_t ms);
void host_jobs(struct host *h);   /* done with what is held */
void host_forget(struct host *h); /* clear what was recorded */
struct datagram *host_sent(struct host *h, size_t index);
unsigned host_events(const struct host *h, enum event_kind kind);
struct peer *host_peer(struct host *h, uint64_t address);
uint64_t host_count(struct host *h, enum vl1_counter counter);

/* ---- actors ---- */
struct actor *actor_new(const char *name, const struct host *h);
struct actor *actor_new_identity(const struct identity *id, const struct host *h);
void actor_free(struct actor *a);

/* Seal a packet of the actor to the host in pkt. Returns its length; *ret_id: wire ID or NULL. */
size_t actor_seal(struct actor *a, const struct host *h, enum cipher_suite suite, enum verb verb,
                  const void *payload, size_t len, uint8_t pkt[PACKET_MAX], uint64_t *ret_id);

/* The same, and the host receives it. Returns the wire ID. */
uint64_t actor_send(struct actor *a, struct host *h, const char *from, enum cipher_suite suite,
                    enum verb verb, const void *payload, size_t len);
uint64_t actor_send_hops(struct actor *a, struct host *h, const char *from, enum cipher_suite suite,
                         enum verb verb, const void *payload, size_t len, unsigned hops);

/* A HELLO of the actor; *ret_id as above. */
size_t actor_hello(struct actor *a, const struct host *h, uint8_t protocol, const char *to,
                   const struct hello_moon *moons, size_t moon_count, uint8_t pkt[PACKET_MAX]);

/* Send a HELLO, take the host's HELLO from what it sent, and answer it with OK: afterwards both
 * know each other and the host has a path to the actor at `from`. */
void actor_meet(struct actor *a, struct host *h, const char *from, uint8_t protocol);

/* Answer every HELLO and ECHO the host has sent to the actor at address `at` since index `since`.
 * Returns how many. */
unsigned actor_answer(struct actor *a, struct host *h, const char *at, size_t since,
                      uint8_t protocol);

/* The same for the datagrams since..end-1. */
unsigned actor_answer_range(struct actor *a, struct host *h, const char *at, size_t since,
                            size_t end, uint8_t protocol);

/* Let time pass while the actor answers what is sent to it at that address. */
void actor_run(struct actor *a, struct host *h, const char *at, int64_t ms, uint8_t protocol);

/* First packet to the actor from index `since` on with this verb (any: -1). */
struct opened_packet *actor_find(struct actor *a, struct host *h, int verb, size_t since);

/* How many such packets there are. */
unsigned actor_count(struct actor *a, struct host *h, int verb, size_t since);

/* ---- network in memory ---- */
struct net {
    struct host *hosts[8];
    size_t host_count;
    struct list flying;
    int64_t now_ms;
    int64_t latency_ms;
    unsigned loss_percent;
    struct test_rng rng;
    struct {
        struct inetaddr a, b; /* IPs between which everything is lost */
    } cut[16];
    size_t cut_count;
    unsigned mtu;   /* larger datagrams are lost, 0: none */
    bool cuts;      /* but larger ones that may be cut by IP arrive */
    size_t largest; /* that arrived since it was set to 0 */
};

struct net *net_new(int64_t latency_ms);
void net_free(struct net *net); /* with its hosts */
struct host *net_add(struct net *net, const char *name, const char *at, const char *planet);
void net_run(struct net *net, int64_t ms);
void net_cut(struct net *net, const char *a, const char *b);
void net_heal(struct net *net);

/* ---- workers (bench_worker.c) ---- */

/* From now on a worker stands before the engine of a host; packets handed up prove membership of
 * BENCH_NET, and what the engine handled once the worker may handle. */
void host_workers(struct host *h);
void host_workers_done(struct host *h);

/* What comes to a socket, and a frame for dest from the device. */
void worker_receive(struct host *h, uint32_t socket, const struct inetaddr *from, const void *data,
                    size_t len);
void worker_frame(struct host *h, uint64_t dest, const void *data, size_t len);

/* A frame of BENCH_NET that the engine of a host sends, whether it has a worker or not. */
void engine_frame(struct host *h, uint64_t dest, const void *data, size_t len);

/* Let the worker handle frames from and to a member. */
void worker_member(struct host *h, uint64_t address);
void worker_harvest(struct host *h);

/* Send a datagram, recorded and into the network. */
void host_emit(struct host *h, uint32_t socket, const struct inetaddr *to, const void *data,
               size_t len);

/* Let `from` send a FRAME with this payload to dest. */
void host_frame(struct host *from, uint64_t dest, const void *data, size_t len);
/* FRAMEs from source among the packets handed up, from index since on. */
unsigned host_frames(const struct host *h, uint64_t source, size_t since);
