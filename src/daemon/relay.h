/* The TCP fallback relay, client side: where UDP is blocked, datagrams travel in a TCP connection
 * to a relay that turns them into UDP. To the engine it is one more socket that appears and goes.
 * Source: spec 05 section 5.5; SV-71, SV-72. */
#pragma once

#include "base/attr.h"
#include "wire/inetaddr.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <uv.h>

struct service;

enum {
    RELAY_ENGAGE_MS = 10000,    /* offline for so long: try it */
    RELAY_RETRY_MS = 30000,     /* after a failure */
    RELAY_CHECK_MS = 10000,     /* while in use: does UDP work again? */
    RELAY_UDP_FRESH_MS = 30000, /* an upstream heard by UDP within this time: it does */
    RELAY_BACKLOG_MAX = 65536,  /* bytes waiting to be sent; more is dropped */
    RELAY_PACKET_MIN = 16,      /* shorter datagrams are not relayed */
};

/* Number of the relay among the engine's sockets. */
#define RELAY_SOCKET UINT32_MAX

struct relay {
    struct service *svc;
    uv_timer_t timer; /* engage, retry or check; stopped while online by UDP */
    bool timer_open;  /* timer is initialised */
    uv_tcp_t *tcp;    /* connection or attempt, NULL = none; frees itself when closed */
    bool connected;   /* greeting sent */
    uint8_t *in;      /* bytes received and not yet taken, while tcp is there */
    size_t in_len;
    uint64_t rx_bytes; /* for metrics */
    uint64_t tx_bytes;
};

/* Nothing starts before relay_review. svc is kept. */
void relay_init(struct relay *relay, struct service *svc);

/* Close. The loop must turn once more. */
void relay_stop(struct relay *relay);

/* Online state or settings changed: engage, go on or release. */
void relay_review(struct relay *relay);

/* Send one datagram; what cannot be relayed is dropped. */
void relay_send(struct relay *relay, const struct inetaddr *to, const void *data, size_t len);
