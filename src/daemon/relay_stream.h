/* One connection of the TCP relay, at either end: a non-blocking TCP descriptor, plain or in TLS,
 * datagrams as records both ways. What waits to be sent is bounded in bytes and in time: a network
 * that is slower than its users loses datagrams, as it would by UDP, and delays none for seconds.
 * Source: spec 02 section 12.1. Single-threaded. */
#pragma once

#include "base/attr.h"
#include "daemon/tls.h"
#include "wire/tcp_relay.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    RELAY_RECORD_MAX = TLS_RECORD_MAX, /* a longer record ends the connection */
    RELAY_PAYLOAD_MIN = 16,            /* datagrams that are carried */
    RELAY_QUEUE_MAX = 128 * 1024,      /* bytes waiting to be sent; what comes then is dropped */
    RELAY_QUEUE_MS = 250,              /* what waited longer is dropped */
    RELAY_SCRATCH = 64 * 1024,         /* least room to receive into */
};

struct relay_stream {
    int fd;                  /* owned, -1: none */
    struct tls_session *tls; /* NULL: plain */
    bool strict;             /* records of the other end must look like those of TLS */
    size_t carry_len;        /* begin of a record whose end is to come, in carry */
    int64_t carry_ms;        /* when that began */
    size_t chunk_at;         /* of chunk: sent */
    size_t chunk_len;        /* of chunk: records to be sent */
    bool chunk_fixed;        /* the system has seen it and wants the same again */
    int64_t blocked_ms;      /* since when nothing leaves, -1: it does */
    uint8_t *queue;          /* records that wait for chunk; NULL: none yet */
    size_t queue_first;      /* the oldest */
    size_t queue_end;        /* behind the newest */
    uint64_t lost;           /* datagrams dropped for want of room or time */
    uint64_t bytes[2];       /* payload received and sent */
    uint8_t carry[RELAY_RECORD_MAX];
    uint8_t chunk[TLS_RECORD_MAX];
};

/* What to do with a record; data: the datagram's bytes, which may be changed. Returns 0; negative
 * to stop (the stream may be gone). */
typedef int (*relay_record_fn)(void *ctx, const struct tcp_relay_record *record, uint8_t *data);

/* Prepare an empty stream without a descriptor. */
void relay_stream_init(struct relay_stream *s);

/* Take a connected or connecting descriptor and set it up. */
void relay_stream_open(struct relay_stream *s, int fd);

/* Close and release; the struct may be opened again. */
void relay_stream_close(struct relay_stream *s);

/* Give unused memory back. */
void relay_stream_trim(struct relay_stream *s);

/* Append a greeting with a version, or an empty record that keeps the connection alive. */
void relay_stream_greet(struct relay_stream *s, const int version[3], int64_t now_ms);
void relay_stream_keep(struct relay_stream *s, int64_t now_ms);

/* Append a datagram. False: dropped. It leaves at the next flush at the latest. */
bool relay_stream_put(struct relay_stream *s, const struct inetaddr *address, const void *data,
                      size_t len, int64_t now_ms);

/* Send what waits. Returns 0 nothing waits; -EAGAIN call again when the descriptor is writable;
 * another negative errno: broken. */
int relay_stream_flush(struct relay_stream *s, int64_t now_ms);

/* Receive once and hand on each complete record. scratch: RELAY_RECORD_MAX + RELAY_SCRATCH bytes.
 * Returns 1; 0 the other end closed; -EAGAIN nothing there; -EBADMSG nonsense; other negative
 * errno, also of fn. */
MUST_CHECK int relay_stream_receive(struct relay_stream *s, uint8_t *scratch, relay_record_fn fn,
                                    void *ctx, int64_t now_ms);

/* The part of that which needs no descriptor: the stream's carry is already at the begin of scratch
 * and len bytes in all are there. Returns 0; -EBADMSG; what fn returned. */
MUST_CHECK int relay_stream_parse(struct relay_stream *s, uint8_t *scratch, size_t len,
                                  relay_record_fn fn, void *ctx, int64_t now_ms);
