/* The underlay sockets of the daemon: which exist follows the system and the settings; the workers
 * serve them. Source: spec 05 sections 6.5 to 6.8; SV-66 to SV-70, SV-88 to
 * SV-92. */
#pragma once

#include "base/attr.h"
#include "base/hmap.h"
#include "daemon/outbox.h"
#include "os/iface_policy.h"
#include "wire/inetaddr.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct service;
struct udp_socket;

/* One address and port: what its sockets obtained and lost. */
struct socket_info {
    uint32_t id;
    struct inetaddr local;
    char device[NET_NAME_LEN]; /* the interface that has the address, empty: not known */
    unsigned count;            /* of sockets, among which the system spreads flows */
    unsigned offloads;         /* enum udp_offload bits all of them have */
    uint32_t receive_buffer;   /* bytes granted, of the one with least */
    uint32_t send_buffer;
    uint64_t kernel_drops; /* sums: datagrams for which there was no buffer */
    uint64_t send_errors;  /* datagrams or runs the system refused */
    uint64_t gso_replays;  /* runs it refused to cut, sent singly */
    uint64_t truncated;    /* datagrams that were too long */
};

struct sockets {
    struct service *svc;
    struct hmap by_id;     /* struct usock */
    struct hmap extras;    /* those open for a while (extras.c) */
    uint32_t next_id;      /* numbers are never used again */
    bool held;             /* sockets are tied to their interfaces */
    unsigned relay;        /* families for which the TCP relay is one of the sockets */
    bool warned;           /* that the system grants small buffers */
    struct udp_bulk *bulk; /* buffers and vectors, both ways */
    struct outbox outbox;
};

/* Prepare; opens nothing. Returns 0; -ENOMEM. */
MUST_CHECK int sockets_init(struct sockets *sockets, struct service *svc);

/* Close all. The loop must turn once more. */
void sockets_done(struct sockets *sockets);

/* Open what is missing, close what is no longer wanted, and tell the engine if the set changed.
 * ports: port_count UDP ports. Returns 0; negative errno. */
MUST_CHECK int sockets_rebind(struct sockets *sockets, const uint16_t *ports, size_t port_count);

/* Tie the sockets to their interfaces, or no longer: needed while a network has our default route,
 * or our own datagrams would go into it. */
void sockets_hold(struct sockets *sockets, bool held);

/* Tell the engine that the TCP relay is there for IPv4 (1) or IPv6 too (2), or no longer (0). */
void sockets_set_relay(struct sockets *sockets, unsigned families);

/* Give memory that only bulk transfers need back to the system; what was gathered is sent. */
void sockets_trim(struct sockets *sockets);

/* Let out what the engine sent since the last call. */
void sockets_flush(struct sockets *sockets);

/* Engine upcall: send one datagram, at the latest with the next sockets_flush. */
void sockets_send(struct sockets *sockets, uint32_t id, const struct inetaddr *to, const void *data,
                  size_t len, unsigned how);

/* Local addresses in order of creation: writes up to cap, returns how many were written. */
size_t sockets_list(const struct sockets *sockets, struct inetaddr *out, size_t cap);

/* Local address of a socket; nil if it is gone. */
struct inetaddr sockets_local(const struct sockets *sockets, uint32_t id);

/* What there is, in order of creation: writes up to cap, returns how many were written. */
size_t sockets_info(const struct sockets *sockets, struct socket_info *out, size_t cap);

/* Sums over all sockets, for metrics: datagrams the kernel dropped, datagrams that did not leave.
 */
void sockets_drops(const struct sockets *sockets, uint64_t *ret_kernel, uint64_t *ret_tx);

/* For extras.c. Where a socket is bound; false: there is no such socket. */
bool sockets_target(const struct sockets *sockets, uint32_t id, struct bind_target *ret);

/* Make an open one, which is taken over, an ordinary one with this number: the engine is told of it
 * with the others from now on. Returns 0; negative errno, then it is closed. */
MUST_CHECK int sockets_adopt(struct sockets *sockets, uint32_t id, const struct bind_target *target,
                             struct udp_socket *udp);

/* Close one that was adopted; nothing happens if it is gone already. */
void sockets_drop(struct sockets *sockets, uint32_t id);
