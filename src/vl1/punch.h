/* Inside of vl1: getting through symmetric NATs. Source: spec 02 section 7.7, Do better 6; how it
 * works and its limits: doc/nat.md. */
#pragma once

#include "base/timers.h"
#include "vl1/env.h"
#include "vl1/nat.h"
#include "wire/vl1msg.h"

struct opened;
struct peer;
struct vl1;

enum {
    MET_MS = 600000,        /* what an upstream said of a peer's address is believed for so long */
    NAT_FRESH_MS = 150000,  /* reports that much older than the newest are not compared with it */
    NAT_STEP_MAX = 16,      /* from one port of a sequential NAT to the next, at most */
    PUNCH_MAX = 8,          /* attempts under way */
    PUNCH_ROOTS = 3,        /* asked in one measurement */
    PUNCH_SOCKETS = 256,    /* opened to be found by chance, by one attempt at a time */
    PUNCH_BURST = 64,       /* datagrams from these at once */
    PUNCH_BURST_MS = 50,    /* and the time between */
    PUNCH_GRACE_MS = 300,   /* ordinary tries come first */
    PUNCH_MEASURE_MS = 600, /* answers of roots are waited for */
    PUNCH_GUESSES = 8,      /* ports pushed: a receiver tries so many */
    PUNCH_CHANCE_MS = 6000, /* sockets are kept open for so long */
    PUNCH_AGAIN_MS = 700,   /* the push that starts it is repeated once */
    EXTRA_MAX = 64,         /* sockets kept since they won */
    EXTRA_SWEEP_MS = 60000, /* those without a path are closed */
    SEEK_PORTS = 1024,      /* tried in one round */
    SEEK_NEAR = 128,        /* of these, around the port known */
    SEEK_TICK_MS = 100,     /* every so often */
    SEEK_TICK_PORTS = 25,   /* so many: 250 a second, in all */
    SEEK_TARGETS = 64,      /* addresses remembered */
    SEEK_FORGET_MS = 1800000, /* after this time without a round */
};

/* What is known for getting to one peer; made when it is first needed. */
struct traversal {
    struct inetaddr met; /* IPv4 address at which an upstream reaches it, nil: none */
    uint32_t met_socket; /* our socket by which that upstream reaches us */
    int64_t met_ms;
    int64_t push_ms;          /* last push of ours */
    unsigned push_rounds;     /* relayed ones in a row */
    int64_t push_credit_ms;   /* token bucket of received pushes: time up to which it is spent */
    int64_t hint_ms;          /* last try of configured addresses */
    uint8_t nat[2];           /* enum nat_kind it told: IPv4, IPv6 */
    uint8_t told_nat;         /* what we told it last, IPv4 */
    bool addressed;           /* somebody told an address of it */
    bool tried;               /* one of them was tried */
    unsigned rounds;          /* attempts in a row without success */
    int64_t next_ms;          /* no attempt before */
    struct inetaddr redirect; /* it wants to be reached there, nil: no such wish */
    int64_t redirect_ms;
};

enum punch_phase {
    PUNCH_WAIT,    /* for the ordinary tries */
    PUNCH_MEASURE, /* roots were asked what they see of a fresh socket */
    PUNCH_GUESS,   /* ports were pushed */
    PUNCH_CHANCE,  /* many sockets are open */
};

/* An attempt of ours to be reached, behind a symmetric NAT. */
struct punch {
    uint64_t peer; /* 0: free */
    enum punch_phase phase;
    int64_t due_ms; /* next step */
    int64_t end_ms; /* PUNCH_CHANCE: of it */
    unsigned step;
    struct inetaddr to;
    uint32_t like;
    struct engine_socket *sockets;
    size_t count;
    size_t sent;
    uint32_t chosen; /* the peer was heard on it: the others are deaf for a moment */
    int64_t chosen_ms;
    struct {
        uint64_t root;
        uint16_t port; /* it sees, 0: not known yet */
    } seen[PUNCH_ROOTS];
    size_t asked;
};

/* Our part for a peer behind a symmetric NAT: try ports of its IP. */
struct seek {
    uint64_t peer; /* 0: idle */
    struct inetaddr at;
    uint32_t socket;
    unsigned done;
    uint16_t start;
    uint16_t stride;
    int64_t due_ms;
};

/* An IP that was sought at: however many members name it. */
struct seek_target {
    struct inetaddr at; /* nil: free */
    unsigned rounds;
    int64_t at_ms; /* last round */
};

struct punching {
    struct vl1 *vl1;
    struct timer timer;
    struct punch list[PUNCH_MAX];
    struct seek seek;
    struct seek_target targets[SEEK_TARGETS];
    int64_t sweep_ms;        /* next look at kept sockets */
    enum nat_kind measured;  /* of the last measurement, NAT_UNKNOWN: none */
    int delta;               /* from one port to the next */
    struct inetaddr outside; /* our IP at that time */
    int64_t measured_ms;
};

/* ---- traversal.c ---- */

/* What is kept for a peer, made if needed; NULL: out of memory. */
struct traversal *peer_traversal(struct peer *peer);

/* The IPv4 address at which an upstream reached the peer lately, if we may send there; NULL: none.
 */
const struct inetaddr *peer_met(const struct peer *peer, int64_t now_ms);

/* ---- punch.c ---- */

/* Something came or happened that makes an attempt worth while; starts one if all speaks for it. */
void punch_consider(struct peer *peer, int64_t now_ms);

/* False: a packet on one of the sockets of an attempt that is not for it, or comes too late. */
bool punch_takes(struct vl1 *vl1, const struct peer *peer, uint32_t socket, unsigned verb,
                 int64_t now_ms);

/* True for the sockets of attempts. */
bool punch_is_socket(struct vl1 *vl1, uint32_t socket);

/* A report on such a socket: true, and nobody else is to use it. */
bool punch_surface(struct vl1 *vl1, uint64_t reporter, uint32_t socket, const struct inetaddr *mine,
                   int64_t now_ms);

/* A path of the peer is about to be added: true if its socket is, or now was made, a usual one. */
bool punch_adopt(struct peer *peer, uint32_t socket, int64_t now_ms);

struct punching *punching_get(struct vl1 *vl1);
void punching_schedule(struct punching *p, int64_t now_ms);
void punch_done(struct vl1 *vl1);

/* ---- seek.c ---- */

/* The peer opened sockets behind its symmetric NAT, at this IP. */
void seek_begin(struct peer *peer, const struct inetaddr *at, int64_t now_ms);
void seek_run(struct punching *p, int64_t now_ms);
