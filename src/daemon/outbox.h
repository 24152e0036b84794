/* Datagrams that the engine sends, gathered into runs: those of one size to one destination leave
 * together (UDP_SEGMENT where the system can). Order is kept. Source: spec 09 sections 6.4, 6.5. */
#pragma once

#include "base/attr.h"
#include "os/udp_bulk.h"

#include <stddef.h>
#include <stdint.h>

struct outbox {
    struct udp_bulk *bulk;  /* borrowed */
    struct udp_socket *udp; /* of the open run, borrowed; NULL = none */
    struct udp_run run;     /* what was gathered, in memory */
    size_t count;           /* datagrams in it */
    uint8_t *memory;        /* UDP_RUN_BYTES_MAX bytes, touched as far as used */
    uint64_t lost;          /* datagrams the socket had no room for */
};

/* Empty. Returns 0; -ENOMEM. */
MUST_CHECK int outbox_init(struct outbox *box, struct udp_bulk *bulk);

/* Release; nothing is sent. */
void outbox_done(struct outbox *box);

/* Take a datagram (copied). What cannot stay together with it leaves first. */
void outbox_add(struct outbox *box, struct udp_socket *udp, const struct inetaddr *to,
                const void *data, size_t len);

/* Send what was gathered: at the end of each input, before a socket is closed. */
void outbox_flush(struct outbox *box);
