/* Framing of the TCP fallback relay: datagrams in records shaped like TLS application data.
 * Source: spec 02 section 12.1. */
#pragma once

#include "base/attr.h"
#include "base/cursor.h"
#include "wire/inetaddr.h"

#include <stddef.h>
#include <stdint.h>

enum {
    TCP_RELAY_HEAD_LEN = 5,
    TCP_RELAY_RECORD_MAX = TCP_RELAY_HEAD_LEN + 65535,
    TCP_RELAY_GREETING_LEN = 9,
    TCP_RELAY_DATAGRAM_HEAD_MAX = TCP_RELAY_HEAD_LEN + INETADDR_WIRE_MAX,
};

enum tcp_relay_kind {
    TCP_RELAY_EMPTY = 0, /* zero length: ignore */
    TCP_RELAY_GREETING,  /* software version of a client; ignored by clients */
    TCP_RELAY_DATAGRAM,  /* address (nil: no source, discard) and UDP payload */
};

struct tcp_relay_record {
    enum tcp_relay_kind kind;
    uint8_t major;           /* greeting */
    uint8_t minor;           /* greeting */
    uint16_t revision;       /* greeting */
    struct inetaddr address; /* datagram: destination towards the relay, source from it */
    const uint8_t *data;     /* datagram: UDP payload, borrowed */
    size_t len;
};

/* Take the next record out of the bytes received so far. in moves behind a complete record and
 * stays where it is otherwise; the caller keeps the rest and calls again with more bytes.
 * Returns 1 with *ret filled (borrows from in); 0 more bytes are needed; -EBADMSG bad address type
 * or length: close the connection. */
MUST_CHECK int tcp_relay_next(struct rd *in, struct tcp_relay_record *ret);

/* Append the greeting a client sends once, right after connecting. */
void tcp_relay_write_greeting(struct wr *w, uint8_t major, uint8_t minor, uint16_t revision);

/* Append one datagram. w goes bad if address is nil or if it and len bytes exceed 65535. */
void tcp_relay_write_datagram(struct wr *w, const struct inetaddr *address, const void *data,
                              size_t len);
