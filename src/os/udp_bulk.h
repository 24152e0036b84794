/* Underlay datagrams in bulk, for workers: runs of equal datagrams to one destination leave in one
 * piece (UDP_SEGMENT), and what the system merged on the way in (UDP_GRO) arrives in one piece.
 * Works on every socket: what it lacks is done with one system call for many datagrams.
 * Source: spec 09 sections 5, 6.2, 6.4, 6.5 and 6.10. */
#pragma once

#include "os/udp.h"

enum {
    UDP_BULK_BUFFERS_MAX = 64,   /* messages a call moves at most */
    UDP_BULK_BUFFER = 64 * 1024, /* holds any message */
    UDP_BULK_SLACK = 512,        /* more bytes behind each buffer that may be written to */
    UDP_RUN_SEGMENTS_MAX = 64,   /* datagrams of one send */
    UDP_RUN_BYTES_MAX = 65000,   /* bytes of one send */
};

/* One or several datagrams of one sender: all of `segment` bytes, the last maybe shorter. */
struct udp_message {
    uint8_t *data;        /* in a buffer of the batch, good until the next receive */
    size_t len;           /* of all datagrams together, not 0 */
    size_t cap;           /* bytes that may be written from data on, at least len */
    size_t segment;       /* 1..len */
    struct inetaddr from; /* source address and port */
};

/* Datagrams of one size to one destination, one after the other. */
struct udp_run {
    const uint8_t *data; /* borrowed for the call; moves on over what is done with */
    size_t len;          /* of all datagrams that are left */
    size_t segment;      /* of each but the last, which may be shorter; not 0 */
    struct inetaddr to;
    int error;   /* out: 0, else the last negative errno of a datagram */
    bool no_gso; /* in: send datagrams singly; out: the system refused to cut for this
                    destination, which is to be remembered for its path */
};

/* Vectors and receive buffers; of one thread at a time, for any number of sockets. */
struct udp_bulk;

/* Make one with so many receive buffers, 1..UDP_BULK_BUFFERS_MAX (memory is touched only as far as
 * it is used). Returns 0; -EINVAL; -ENOMEM. */
MUST_CHECK int udp_bulk_new(unsigned buffers, struct udp_bulk **ret);

/* Give the memory of the receive buffers back to the system; what was received is gone. */
void udp_bulk_trim(struct udp_bulk *bulk);

/* NULL is allowed. */
void udp_bulk_free(struct udp_bulk *bulk);

/* Receive up to as many messages as there are buffers, or fewer while they are long ones. Truncated
 * and empty ones are left out. Returns how many were received, *ret pointing to them (until the
 * next call); 0 if there is none to give now (poll level-triggered: more may wait); negative errno
 * of the socket. */
MUST_CHECK int udp_receive_bulk(struct udp_socket *s, struct udp_bulk *bulk,
                                const struct udp_message **ret);

/* True if the last receive took as much as it could: there may be more now. */
bool udp_bulk_was_full(const struct udp_bulk *bulk);

/* Send runs in order until one would block. Each run handled has len 0 and its error; one error
 * does not stop the others, and where the system refuses a run its datagrams are sent singly, so
 * that nothing is lost. Returns how many runs were handled (count: all; fewer: poll for writing and
 * go on with the rest, of which the first may be partly done). */
MUST_CHECK size_t udp_send_runs(struct udp_socket *s, struct udp_bulk *bulk, struct udp_run *runs,
                                size_t count);
