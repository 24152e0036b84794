/* Port mapping by NAT-PMP (RFC 6886): asks the gateway to forward our primary port and tells the
 * engine the external address. Runs only behind a gateway with a private address, wakes only to
 * renew, and takes the mapping back at the end. Source: spec 05 sections 6.9, 12; SV-94 in part. */
#pragma once

#include "base/attr.h"
#include "wire/inetaddr.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <uv.h>

struct service;

enum {
    PORTMAP_SERVER_PORT = 5351,
    PORTMAP_LIFETIME_S = 3600,    /* asked for; renewed at half of what is granted */
    PORTMAP_TRIES = 5,            /* of each question, with doubling pauses */
    PORTMAP_FIRST_MS = 250,       /* first pause (RFC 6886 section 3.1) */
    PORTMAP_ABSENT_MS = 3600000,  /* no such gateway: ask again after this, or when the network
                                     changes */
    PORTMAP_LIFETIME_MIN_S = 120, /* shorter grants are renewed as if they were this long */
};

/* What a gateway answers. */
struct portmap_answer {
    unsigned op;         /* 0 external address, 1 UDP mapping */
    unsigned result;     /* 0 = success */
    uint8_t ip[4];       /* op 0 */
    uint16_t internal;   /* op 1 */
    uint16_t external;   /* op 1 */
    uint32_t lifetime_s; /* op 1 */
};

/* Read an answer. Pure. Returns 0; -EBADMSG. */
MUST_CHECK int portmap_answer_read(const void *data, size_t len, struct portmap_answer *ret);

/* The gateway of the default route in the text of /proc/net/route. Pure. Returns 0; -ENOENT. */
MUST_CHECK int portmap_gateway_parse(const char *text, struct inetaddr *ret);

struct portmap {
    struct service *svc;
    uv_timer_t timer;        /* next try, or renewal */
    bool timer_open;         /* timer is initialised */
    uv_poll_t *poll;         /* of fd, frees itself when closed; NULL = no socket */
    int fd;                  /* connected to the gateway, -1 = none */
    unsigned tries;          /* of the question that is open, 0 = none is */
    struct inetaddr mapped;  /* external address and port, nil = no mapping */
    struct inetaddr address; /* external address alone, while the mapping is asked for */
    struct inetaddr gateway; /* the one in use, nil = none */
};

/* Nothing starts before portmap_review. svc is kept. */
void portmap_init(struct portmap *map, struct service *svc);

/* Settings or network changed: start, start anew, or end. */
void portmap_review(struct portmap *map);

/* The system's network changed: start anew if the gateway is another one. */
void portmap_network_changed(struct portmap *map);

/* Take the mapping back and close. The loop must turn once more. */
void portmap_stop(struct portmap *map);
