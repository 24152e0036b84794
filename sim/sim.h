/* A deterministic network of many engines in one process with a virtual clock: links with latency,
 * jitter, loss, duplication and reordering, NAT routers of four kinds, partitions, address changes,
 * clock steps. The same seed gives the same trace. Nothing here reads a clock or sends a byte. */
#pragma once

#include "node/node.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Ethertype of frames that are counted: local experiment. */
enum { SIM_ETHERTYPE_TEST = 0x88b5 };

struct sim;
struct sim_node;
struct vnet_header;

/* A frame was delivered to a node's device. */
typedef void (*sim_frame_fn)(void *ctx, struct sim_node *node, uint64_t nwid, uint64_t dest_mac,
                             uint64_t source_mac, uint16_t ethertype, const void *payload,
                             size_t len);

/* What a NAT does: how ports are mapped and who may answer. */
enum sim_nat_kind {
    SIM_NAT_NONE,             /* public address */
    SIM_NAT_FULL_CONE,        /* one mapping, anybody may send to it */
    SIM_NAT_RESTRICTED,       /* one mapping, only IPs that were sent to */
    SIM_NAT_PORT_RESTRICTED,  /* one mapping, only IPs and ports that were sent to */
    SIM_NAT_SYMMETRIC,        /* a mapping per destination, answers from there only; ports in order,
                                 some of them taken by others */
    SIM_NAT_SYMMETRIC_RANDOM, /* the same with random ports */
};

struct sim_options {
    uint64_t seed;
    unsigned latency_ms; /* one way, between two sites */
    unsigned jitter_ms;  /* added, 0..jitter: reorders */
    unsigned loss_pct;   /* datagrams lost between sites */
    unsigned dup_pct;    /* datagrams that arrive twice */
    unsigned hash_ms;    /* what a check of an address hash takes */
    bool datapath;       /* nodes have workers; also by SIM_DATAPATH in the environment */
    sim_frame_fn frame;  /* told of every frame delivered; NULL: nobody */
    void *frame_ctx;
};

/* A network without nodes. NULL: out of memory. */
struct sim *sim_new(const struct sim_options *options);
void sim_free(struct sim *sim);

/* Change loss from now on. */
void sim_set_loss(struct sim *sim, unsigned loss_pct);

/* Virtual time, ms. */
int64_t sim_now(const struct sim *sim);

/* Running hash over every datagram delivered: equal for equal seeds. */
uint64_t sim_trace(const struct sim *sim);
uint64_t sim_datagrams(const struct sim *sim);

/* Number from the simulator's own random source, below bound. */
uint64_t sim_random(struct sim *sim, uint64_t bound);

/* The network of a node. */
struct sim *sim_of(const struct sim_node *node);

/* A new node at a site of its own. nat: the router in front of it. Not running yet. */
struct sim_node *sim_add(struct sim *sim, enum sim_nat_kind nat);

/* Another node behind the router (and on the LAN) of an existing one. */
struct sim_node *sim_add_neighbour(struct sim *sim, struct sim_node *other);

/* Change the router in front of a node: hairpin: its hosts reach each other by its public address;
 * timeout_ms: mappings not used for so long are forgotten, 0: never. */
void sim_nat_set(struct sim_node *node, bool hairpin, int64_t timeout_ms);

/* It becomes another kind of router. */
void sim_nat_kind_set(struct sim_node *node, enum sim_nat_kind kind);

/* Sockets open now beyond the first. */
size_t sim_extra_sockets(const struct sim_node *node);

/* Make a planet of these nodes (at most 4, without NAT), signed by a key of the simulator. Nodes
 * started later use it; a later call makes an update of it. */
void sim_planet(struct sim *sim, struct sim_node *const *roots, size_t count);

/* Start or stop the engine. Stopping keeps state objects, as a disk would; abrupt skips the
 * farewell. */
void sim_start(struct sim_node *node);
void sim_stop(struct sim_node *node, bool abrupt);

/* Announce this protocol version instead of ours at the next start. */
void sim_set_protocol(struct sim_node *node, uint8_t protocol);

/* Save bandwidth (lowBandwidthMode) from the next start on. */
void sim_set_low_bandwidth(struct sim_node *node);

/* A node's engine, address and identity, borrowed. */
struct node *sim_engine(struct sim_node *node);
uint64_t sim_address(const struct sim_node *node);
const struct identity *sim_identity(const struct sim_node *node);

/* Physical events. */
void sim_set_mtu(struct sim_node *node, unsigned mtu); /* larger datagrams are lost between its site
                                                          and others, silently; 0: none are */
void sim_partition(struct sim_node *a, struct sim_node *b, bool cut); /* between two nodes' sites */
void sim_deafen(struct sim_node *from, struct sim_node *to, bool cut); /* one direction only */
void sim_isolate(struct sim_node *node, bool cut);                     /* from everybody */
void sim_move(struct sim_node *node);       /* new address (its router's, if behind one) */
void sim_nat_rebind(struct sim_node *node); /* router forgets its mappings, new ports */
void sim_clock_step(struct sim_node *node, int64_t ms); /* wall clock only */

/* Send a unicast frame with a serial number to another member; true if the engine took it (always).
 * It is counted at the receiver by sim_frames. */
void sim_frame(struct sim_node *from, struct sim_node *to, uint64_t nwid);

/* Send a whole Ethernet frame, or a super-frame with its virtio-net header (else NULL), from the
 * device of a node. */
void sim_send(struct sim_node *node, uint64_t nwid, const struct vnet_header *vnet,
              const void *frame, size_t len);

/* A packet of any content from a node that does not do what its program would, sealed with its
 * keys, to another that has no NAT. It fits one datagram. With VERB_COMPRESSED in
 * the verb it is compressed if that makes it shorter. */
void sim_forge(struct sim_node *from, const struct sim_node *to, enum verb verb,
               const void *payload, size_t len);

/* After a call of sim_engine(node): what it published and withdrew is seen to. */
void sim_end_input(struct sim_node *node);

/* Take over what a node's worker noted, if it has one: before counters are looked at. */
void sim_worker_harvest(struct sim_node *node);

/* Broadcast frame. */
void sim_broadcast(struct sim_node *from, uint64_t nwid);

/* Frames received so far from a node, and from all. */
unsigned sim_frames_from(const struct sim_node *node, const struct sim_node *from);
unsigned sim_frames(const struct sim_node *node);

/* Number of times the engine was woken by its own deadline. */
uint64_t sim_wakeups(const struct sim_node *node);

/* True if node has a usable direct path to other. */
bool sim_is_direct(struct sim_node *node, const struct sim_node *other);

/* Let time pass. until: true ends early; checked after each event. Returns true if it did. */
bool sim_run(struct sim *sim, int64_t ms, bool (*until)(void *ctx), void *ctx);

/* Make a running node a controller that stores nothing. It ends with sim_stop. */
void sim_controller(struct sim_node *node);

/* Create a network on it from JSON settings of the controller API; its ID. */
uint64_t sim_create_network(struct sim_node *node, const char *json);

/* Change a network by JSON settings of the controller API. */
void sim_set_network(struct sim_node *node, uint64_t nwid, const char *json);

/* Change a member by JSON settings of the controller API, for example {"authorized":true}. */
void sim_set_member(struct sim_node *node, uint64_t nwid, const struct sim_node *member,
                    const char *json);

/* True if node has a configuration of the network and status OK. */
bool sim_network_ok(struct sim_node *node, uint64_t nwid);
