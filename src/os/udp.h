/* Underlay sockets: UDP, non-blocking, in batches. A socket is bound to one address and port, or to
 * the wildcard of one family. Datagrams may be cut by IP (no DF), checksums stay on.
 * One thread at a time may receive and one may use udp_send_batch; udp_send, and udp_send_runs each
 * with its own struct udp_bulk, may be called by any thread meanwhile. Source: spec 05 sections 6.5
 * to 6.7, spec 02 section 11.5. */
#pragma once

#include "base/attr.h"
#include "wire/inetaddr.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    UDP_BATCH_MAX = 32,            /* datagrams a call moves at most */
    UDP_BUFFER_DEFAULT = 8u << 20, /* socket buffers asked for (spec 09 section 6.9) */
    UDP_PAYLOAD_MAX = 10324,       /* largest datagram a peer may send us (spec 02) */
    UDP_PORT_RANDOM_FIRST = 20000, /* random ports (spec 05 section 6.7) */
    UDP_PORT_RANDOM_LAST = 65499,
};

/* What the system does for bulk transfers (os/udp_bulk.h); bits. */
enum udp_offload {
    UDP_OFFLOAD_GSO = 0x01,   /* cuts runs into datagrams */
    UDP_OFFLOAD_GRO = 0x02,   /* merges datagrams; udp_receive must not be used then */
    UDP_OFFLOAD_BATCH = 0x04, /* moves many messages with one call */
    UDP_OFFLOAD_ALL = 0x07,
};

struct udp_config {
    struct inetaddr local; /* address and port; zero IP = wildcard, port 0 = any */
    const char *device;    /* interface to bind to, NULL or empty: none; best effort */
    bool share_port;       /* other sockets of ours will join this one at its address: the system
                              spreads senders over them. Who is not of our user cannot */
    bool join_port;        /* join one opened with share_port, which found the address free */
    uint32_t buffer;       /* bytes asked for each way, 0 = UDP_BUFFER_DEFAULT */
    unsigned offloads;     /* enum udp_offload bits wanted; what is missing is done without */
};

/* One received datagram. */
struct udp_rx {
    uint8_t *data;        /* in: buffer of the caller */
    size_t cap;           /* in: its size */
    size_t len;           /* out: bytes received */
    struct inetaddr from; /* out: source address and port */
};

/* One datagram to send. */
struct udp_tx {
    const uint8_t *data; /* borrowed for the call */
    size_t len;
    struct inetaddr to;
    int error; /* out: 0 sent, else negative errno of this datagram */
};

/* Facts and counters. */
struct udp_info {
    struct inetaddr local; /* as bound, with the real port */
    bool device_bound;     /* SO_BINDTODEVICE worked */
    uint32_t rcvbuf;       /* receive buffer obtained, bytes of payload asked for and granted */
    uint32_t sndbuf;       /* send buffer obtained */
    unsigned offloads;     /* obtained, enum udp_offload bits */
    uint64_t rx_truncated; /* datagrams longer than the buffer, dropped */
    uint64_t tx_errors;    /* datagrams refused by udp_send_batch, messages by udp_send_runs */
    uint64_t gso_replays;  /* runs the system refused to cut, sent singly */
    uint64_t kernel_drops; /* datagrams the kernel dropped for want of buffer */
};

struct udp_socket;

/* Open and bind. Returns 0; -EADDRINUSE, -EADDRNOTAVAIL, -EAFNOSUPPORT (family nil or off),
 * -ENOMEM, other errors of the system. */
MUST_CHECK int udp_open(const struct udp_config *config, struct udp_socket **ret);

/* Close; NULL is allowed. */
void udp_close(struct udp_socket *s);

/* Tie an open socket to an interface (NULL or empty: to none), so that its datagrams leave there
 * whatever the routing table says. Returns 0; -ENODEV; -EPERM; negative errno. */
int udp_set_device(struct udp_socket *s, const char *device);

/* Descriptor to poll. */
int udp_fd(const struct udp_socket *s);

/* Facts and counters of now. */
void udp_info(const struct udp_socket *s, struct udp_info *ret);

/* Receive up to count (at most UDP_BATCH_MAX are used) datagrams. Entries of truncated datagrams
 * are left out; buffers may change places between the entries for that. Returns how many were
 * received, 0 if there is none to give now (poll level-triggered: more may wait); negative errno of
 * the socket (the device is gone...). */
MUST_CHECK int udp_receive(struct udp_socket *s, struct udp_rx *batch, size_t count);

/* Send datagrams in order until one would block. Each handled entry gets its error; an error of
 * one does not stop the others. Returns how many were handled (count: all; fewer: poll for
 * writing and go on with the rest). */
MUST_CHECK size_t udp_send_batch(struct udp_socket *s, struct udp_tx *batch, size_t count);

/* Send one datagram. ttl: hop limit of this datagram alone, 0 = default (255).
 * whole: it is not to be cut by IP, but to be lost if it is too large for some link; what other
 * threads send in this moment may share that fate.
 * Returns 0; -EAGAIN would block; -EMSGSIZE too large for the interface; negative errno. */
int udp_send(struct udp_socket *s, const struct inetaddr *to, const void *data, size_t len,
             unsigned ttl, bool whole);

/* True if UDP (and TCP, if with_tcp) can be bound to port on the wildcard of every family that
 * exists here. port: not 0. */
bool udp_port_is_free(uint16_t port, bool with_tcp);

/* First free port from start (moved into the random range if outside) upward to 65535, then from
 * UDP_PORT_RANDOM_FIRST, in at most 1000 trials. Returns the port; -EADDRINUSE. */
MUST_CHECK int udp_port_search(uint16_t start, bool with_tcp);
