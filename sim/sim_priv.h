/* Inside of the simulator. */
#pragma once

#include "sim.h"

#include "controller/controller.h"
#include "wire/world.h"

#include <errno.h>
#include <stdio.h>

enum {
    SIM_NODES_MAX = 1024,
    SIM_SOCKET = 1, /* the usual socket of a node */
    SIM_EXTRA_MAX = 1024,
};

struct sim_event {
    int64_t at_ms;
    uint64_t serial; /* order of equal times */
    struct sim_node *node;
    uint32_t socket;        /* it came to */
    struct engine_job *job; /* a job that ends, else a datagram */
    uint64_t life;          /* of the node when the job began */
    struct inetaddr from;
    size_t len;
    uint8_t data[];
};

struct sim_object {
    enum state_kind kind;
    uint64_t id;
    size_t len;
    uint8_t *data;
};

/* One mapping of a router. */
struct sim_map {
    struct inetaddr inside;
    struct inetaddr dest; /* last destination (symmetric: the only one) */
    uint16_t port;        /* outside */
    int64_t used_ms;
};

struct sim_nat {
    enum sim_nat_kind kind;
    struct inetaddr outside; /* public IP */
    struct sim_map *maps;    /* one per inside address and destination: filters and ports */
    size_t map_count;
    size_t map_cap;
    uint16_t next_port;
    bool hairpin;
    int64_t timeout_ms; /* 0: never */
    unsigned users;
};

/* A socket opened by the engine. */
struct sim_extra {
    uint32_t id;
    uint16_t port;
    bool kept;
};

struct sim_node {
    struct sim *sim;
    uint32_t index;
    struct node *node; /* NULL while stopped */
    struct identity identity;
    struct inetaddr at; /* own address and port */
    struct sim_nat *nat;
    struct sim_extra *extras;
    size_t extra_count;
    uint32_t next_socket;
    uint64_t random;
    uint64_t life;
    int64_t clock_step_ms;
    uint8_t protocol;
    bool low_bandwidth;
    bool online;
    bool isolated;
    unsigned mtu; /* largest UDP payload that leaves or reaches its site, 0: any */
    struct sim_object *objects;
    size_t object_count;
    unsigned frames;
    unsigned frames_from[SIM_NODES_MAX];
    uint32_t frame_serial;
    uint64_t wakeups;
    struct controller *controller; /* NULL: none */
    struct sim_worker *worker;     /* of the data path; NULL: the engine is alone */
};

struct sim_cut {
    const struct sim_node *a;
    const struct sim_node *b;
    bool one_way; /* from a to b only */
};

struct sim {
    struct sim_options options;
    uint64_t random;
    uint64_t serial;
    uint64_t trace;
    uint64_t datagrams;
    int64_t now_ms;
    bool verbose;
    struct sim_node *nodes[SIM_NODES_MAX];
    size_t node_count;
    struct sim_event **events; /* heap */
    size_t event_count;
    size_t event_cap;
    struct world planet;
    uint64_t planet_updates;
    uint8_t world_seed[IDENTITY_PRIVATE_LEN];
    struct sim_cut cuts[64];
    size_t cut_count;
    uint32_t sites;
};

void sim_push(struct sim *sim, struct sim_event *event);
void sim_place(struct sim_node *node, enum sim_nat_kind kind);
void sim_transmit(struct sim_node *from, uint32_t socket, const struct inetaddr *to,
                  const void *data, size_t len, unsigned how);

/* Address of a socket of a node; nil: there is none. Socket with an address, 0: none. */
struct inetaddr sim_socket_address(const struct sim_node *node, uint32_t socket);
uint32_t sim_socket_at(const struct sim_node *node, const struct inetaddr *at);

/* Engine upcalls (sockets.c). */
size_t sim_extra_open(void *ctx, uint32_t like, struct engine_socket *ret, size_t count);
void sim_extra_close(void *ctx, uint32_t id, bool keep);
void sim_deliver(struct sim_node *node, uint64_t nwid, uint64_t dest_mac, uint64_t source_mac,
                 uint16_t ethertype, const void *payload, size_t len);

/* datapath.c: the worker of a node that was just started, or is about to stop. */
void sim_worker_start(struct sim_node *node);
void sim_worker_stop(struct sim_node *node);

/* Datagrams that came at the same moment. */
void sim_worker_receive(struct sim_node *node, struct sim_event *const *events, size_t count);

/* After every input of a node, and when its deadline has come; nothing without a worker. */
void sim_worker_end_input(struct sim_node *node);
int64_t sim_worker_deadline(const struct sim_node *node);
void sim_worker_tick(struct sim_node *node);

void sim_set_sockets(struct sim_node *node);
void sim_controller_start(struct sim_node *node);
void sim_controller_stop(struct sim_node *node);
