/* What the engine asks of its host: one table of functions, given at creation. The daemon, the
 * SDK, the simulator and the fuzzers are four hosts of the same engine. The engine calls them only
 * from inside one of its own inputs, on the thread of that input; none of them may call back into
 * the engine, except where said. Source: doc/architecture.md. */
#pragma once

#include "crypto/identity.h"
#include "wire/inetaddr.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

enum log_level {
    LOG_LEVEL_ERROR = 0, /* someone must act */
    LOG_LEVEL_WARN,
    LOG_LEVEL_INFO,
    LOG_LEVEL_DEBUG,
    LOG_LEVEL_TRACE,
};

/* Sockets with numbers from here on are a detour: by them datagrams travel where the others do not
 * work, and no longer than that. */
#define SOCKET_DETOUR_FIRST UINT32_C(0xfffffff0)

/* Objects the host keeps for the engine; contents are opaque to the host. id is 0 where not named.
 */
enum state_kind {
    STATE_PLANET,      /* serialized world */
    STATE_MOON,        /* serialized world, id = world ID */
    STATE_ORBITS,      /* orbits that wait for their world */
    STATE_WORLD_LINKS, /* versions of a world that changed its key, id = world ID */
    STATE_NETWORK,     /* configuration dictionary, id = network ID; one LF before the first one */
    STATE_REVOCATIONS, /* revocations kept across restarts, id = network ID */
    STATE_PEER,        /* identity and last paths, id = address */
};

enum event_kind {
    EVENT_ONLINE,             /* an upstream answers */
    EVENT_OFFLINE,            /* no upstream has been heard for long */
    EVENT_IDENTITY_COLLISION, /* an upstream says that our address belongs to another key: fatal */
    EVENT_PEER_DIRECT,        /* first direct path to a peer; id = address */
    EVENT_PEER_RELAYED,       /* last direct path to a peer lost; id = address */
    EVENT_NETWORK_STATUS,     /* status of a network changed; id = network ID */
    EVENT_USER_MESSAGE,       /* id = address of the sender, data = 8-byte type and message */
    EVENT_REMOTE_TRACE,       /* id = address of the sender, data = one dictionary */
    EVENT_SURFACE_ADDRESS,    /* set of external addresses changed */
    EVENT_WORLD,              /* roots changed; id = world ID */
};

enum port_change {
    PORT_CREATE,  /* joined: make the device; answer with node_port_result */
    PORT_CONFIG,  /* name, MTU, addresses, routes or DNS may have changed */
    PORT_DESTROY, /* left */
};

/* A frame of a network that is captured, and what became of it. */
struct captured_frame {
    uint64_t nwid;
    bool outbound;      /* from our port, else from a member */
    const char *reason; /* why it was dropped: name of a counter; NULL: it passed */
    uint64_t remote;    /* the member it came from or goes to, 0: several, or not known */
    uint64_t dest_mac;
    uint64_t source_mac;
    uint16_t ethertype;
    const uint8_t *payload; /* without the Ethernet header, borrowed */
    size_t len;
    unsigned copies;     /* that rules had sent to watchers */
    uint64_t redirected; /* the member that rules gave it to instead, 0: none */
    bool by_capability;  /* a capability let it pass, not the rules of the network */
    uint32_t capability; /* that one */
};

/* Slow pure work. The host runs run(job) once, on any thread, and then hands the job back by
 * node_job_done on the engine's thread; or, when it stops or is out of room, calls
 * node_job_done without running it (done stays false). The engine owns the memory. */
struct engine_job {
    void (*run)(struct engine_job *job);
    bool done; /* set by run */
};

/* An extra socket the host opened for the engine. */
struct engine_socket {
    uint32_t id; /* host's number, not 0, of no other socket */
    struct inetaddr local;
};

/* How a datagram leaves: a hop limit, 0 = default, and bits. */
enum send_how {
    SEND_TTL = 0xff,    /* mask */
    SEND_WHOLE = 0x100, /* not to be cut by IP, here or on the way: rather lost */
};

struct engine_env {
    /* Send one datagram. socket: id of a socket given by node_set_sockets. how: enum send_how bits.
     * Losing it is allowed. */
    void (*send)(void *ctx, uint32_t socket, const struct inetaddr *to, const void *data,
                 size_t len, unsigned how);

    /* Give a frame to the port of a network. payload excludes the 14-byte header. */
    void (*deliver)(void *ctx, uint64_t nwid, uint64_t dest_mac, uint64_t source_mac,
                    uint16_t ethertype, const void *payload, size_t len);

    /* Create, configure or remove the port of a network (details: node_network_get). */
    void (*port)(void *ctx, uint64_t nwid, enum port_change change);

    /* Load a state object: bytes written to buf (at most cap), -ENOENT, -EMSGSIZE. */
    ssize_t (*state_load)(void *ctx, enum state_kind kind, uint64_t id, void *buf, size_t cap);

    /* Store it (atomically; may be done later, in order). */
    void (*state_store)(void *ctx, enum state_kind kind, uint64_t id, const void *data, size_t len);
    void (*state_erase)(void *ctx, enum state_kind kind, uint64_t id);

    /* Cryptographically good random bytes. */
    void (*random)(void *ctx, void *out, size_t len);

    /* Something happened that the host may care about. data may be NULL. */
    void (*event)(void *ctx, enum event_kind kind, uint64_t id, const void *data, size_t len);

    /* One line of log text without level, time or newline; called only for levels up to log_level.
     */
    void (*log)(void *ctx, enum log_level level, const char *text);

    /* A frame of a network that node_capture named; NULL: never asked for. */
    void (*captured)(void *ctx, const struct captured_frame *frame);

    /* True if paths may lead to an address: false if the system would send datagrams to it into the
     * device of a network. NULL: to any. */
    bool (*may_reach)(void *ctx, const struct inetaddr *remote);

    /* Start a job. Returns 0; -EAGAIN no room now (the engine drops what it wanted it for). */
    int (*job)(void *ctx, struct engine_job *job);

    /* Open up to count UDP sockets for a while, at the address of the socket `like` with ports of
     * the system's choice. What comes to them is given to node_receive. They are not named in
     * node_set_sockets. Returns how many were opened; NULL: the host cannot. */
    size_t (*extra_open)(void *ctx, uint32_t like, struct engine_socket *ret, size_t count);

    /* Close one, or (keep) make it one of the usual sockets: from now on each node_set_sockets
     * names it, until it is closed or its address is gone. NULL with extra_open. */
    void (*extra_close)(void *ctx, uint32_t id, bool keep);

    void *ctx;
    enum log_level log_level;
};

/* Format and pass on a line if its level is wanted. */
void engine_log(const struct engine_env *env, enum log_level level, const char *fmt, ...)
    PRINTF_LIKE(3, 4);

/* The job of checking an identity's address hash, visible so that a host which checks thousands of
 * the same identities (the simulator) can remember results instead of running it. */
struct validate_job {
    struct engine_job job;
    struct identity identity;
    int result; /* of identity_validate, once done */
};
