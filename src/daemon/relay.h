/* The TCP relay, client side: where UDP is blocked, datagrams travel in a TCP connection, plain or
 * in TLS, to a relay that turns them into UDP. To the engine it is a detour: sockets that appear
 * and go. Engaged when no upstream answered by UDP for a while, left when one does again.
 * Source: spec 02 section 12 and Do better 26, spec 05 section 5.5; TC-3, TC-4, SV-71, SV-72. */
#pragma once

#include "base/attr.h"
#include "daemon/relay_stream.h"
#include "vl1/env.h"
#include "wire/inetaddr.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <uv.h>

struct service;

enum {
    RELAY_ENGAGE_MS = 3000,    /* no upstream by UDP for so long: connect */
    RELAY_PROVE_MS = 3000,     /* no upstream through the relay for so long: try the next one */
    RELAY_CONNECT_MS = 5000,   /* for a connection and its handshake */
    RELAY_STAGGER_MS = 250,    /* between attempts of one kind */
    RELAY_KIND_MS = 2500,      /* head start of one kind of attempts before the next */
    RELAY_REST_FIRST_MS = 500, /* when all failed, doubled each time up to the last */
    RELAY_REST_LAST_MS = 30000,
    RELAY_HOLD_FIRST_MS = 3000,  /* an upstream answers by UDP for so long: leave. Doubled up to */
    RELAY_HOLD_LAST_MS = 300000, /* the last when it was engaged again within */
    RELAY_FLAP_MS = 60000,       /* this time */
    RELAY_CHECK_MS = 500,        /* between looks while in use */
    RELAY_KEEP_MS = 20000,       /* nothing sent for so long: an empty record */
    RELAY_WAYS_MAX = 32,
    RELAY_LINKS_MAX = 4, /* attempts at once */
    RELAY_PORT = 443,
};

/* Numbers of the relay among the engine's sockets, one of each family. */
#define RELAY_SOCKET    (SOCKET_DETOUR_FIRST)
#define RELAY_SOCKET_V6 (SOCKET_DETOUR_FIRST + 1)

/* In which order ways are tried. */
enum relay_kind { RELAY_CONFIGURED, RELAY_TLS, RELAY_PLAIN, RELAY_PUBLIC, RELAY_NONE };

/* One way to reach a relay. */
struct relay_way {
    struct inetaddr to;
    enum relay_kind kind;
    bool tls;
    bool bad; /* failed since the ways were found */
};

enum relay_state {
    RELAY_IDLE, /* not needed */
    RELAY_WAIT, /* UDP is silent, not for long */
    RELAY_TRY,  /* connecting */
    RELAY_UP,   /* in use */
    RELAY_REST, /* all failed */
};

struct relay_link;

struct relay {
    struct service *svc;
    uv_timer_t timer; /* next step */
    bool timer_open;  /* timer is initialised */
    enum relay_state state;
    int64_t since_ms; /* begin of the state */
    struct relay_way ways[RELAY_WAYS_MAX];
    size_t way_count;
    size_t way_next;                           /* to be tried next */
    enum relay_kind kind;                      /* of the one tried last */
    int64_t tried_ms;                          /* when it was */
    int64_t kind_ms;                           /* when the first of its kind was */
    struct relay_link *links[RELAY_LINKS_MAX]; /* attempts; [0] alone while in use */
    bool speaks_v6;                            /* the relay in use is one of ours */
    bool proven;                               /* an upstream answered through it */
    int64_t proven_ms;                         /* and did last */
    int64_t udp_ms;    /* since when an upstream answers by UDP, -1: none does */
    int64_t sent_ms;   /* last record */
    int64_t pause_ms;  /* length of the rest */
    int64_t rest_ms;   /* and of the next one */
    int64_t hold_ms;   /* patience before the next release */
    int64_t left_ms;   /* last release */
    struct tls *tls;   /* NULL: not needed yet */
    bool tls_failed;   /* there is none */
    uint8_t *scratch;  /* to receive into, NULL: not needed yet */
    uint64_t rx_bytes; /* for metrics */
    uint64_t tx_bytes;
};

/* Nothing starts before relay_review. svc is kept. */
void relay_init(struct relay *relay, struct service *svc);

/* Close. The loop must turn once more. */
void relay_stop(struct relay *relay);

/* Paths to peers or settings changed: engage, go on or release, a moment later. */
void relay_review(struct relay *relay);

/* The network of the system changed. */
void relay_network_changed(struct relay *relay);

/* Send one datagram, with the next relay_flush; what cannot be relayed is dropped. */
void relay_send(struct relay *relay, const struct inetaddr *to, const void *data, size_t len);
void relay_flush(struct relay *relay);

/* The way in use, or NULL. */
const struct relay_way *relay_in_use(const struct relay *relay);

/* ---- relay_ways.c ---- */

/* Fill relay->ways by settings and worlds. */
void relay_find_ways(struct relay *relay);
