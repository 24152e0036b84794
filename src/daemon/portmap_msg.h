/* Messages of PCP (RFC 6887) and NAT-PMP (RFC 6886), both at UDP port 5351 of a gateway: requests
 * to map our UDP port, answers, the epoch by which a gateway's restart is seen; and finding the
 * gateway. Pure. Source: spec 05 section 6.9; SV-94. */
#pragma once

#include "base/attr.h"
#include "base/cursor.h"
#include "wire/inetaddr.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    PORTMAP_SERVER_PORT = 5351,
    PORTMAP_NOTICE_PORT = 5350, /* a gateway tells its restart to 224.0.0.1 here */
    PORTMAP_NONCE_LEN = 12,
    PORTMAP_REQUEST_MAX = 60,
    PORTMAP_ANSWER_MAX = 1100,  /* RFC 6887 section 7 */
    PORTMAP_VERSION_NATPMP = 0, /* versions */
    PORTMAP_VERSION_PCP = 2,
    PORTMAP_OP_ADDRESS = 0, /* NAT-PMP: external address; PCP: announcement */
    PORTMAP_OP_MAP = 1,
    PORTMAP_BAD_VERSION = 1, /* result */
};

/* What a gateway answers or announces. */
struct portmap_answer {
    unsigned version;                 /* PORTMAP_VERSION_NATPMP or PORTMAP_VERSION_PCP */
    unsigned op;                      /* PORTMAP_OP_... */
    unsigned result;                  /* 0 = success; else the rest may be zero */
    uint32_t epoch_s;                 /* seconds since the gateway forgot its mappings */
    struct inetaddr external;         /* NAT-PMP: address alone or (nil) port alone; PCP: both */
    uint16_t internal;                /* OP_MAP: the port mapped */
    uint32_t lifetime_s;              /* OP_MAP */
    uint8_t nonce[PORTMAP_NONCE_LEN]; /* PCP OP_MAP: as in the request */
};

/* A mapping asked for. */
struct portmap_request {
    struct inetaddr local;            /* our address as the gateway sees it, and the port to map */
    struct inetaddr wanted;           /* external address and port we would like, nil = any */
    uint32_t lifetime_s;              /* 0 = take the mapping back */
    uint8_t nonce[PORTMAP_NONCE_LEN]; /* PCP */
};

/* Last epoch told by a gateway. */
struct portmap_epoch {
    bool known;
    uint32_t server_s; /* its count */
    int64_t at_ms;     /* when it was told */
};

/* Read an answer. Returns 0; -EBADMSG. */
MUST_CHECK int portmap_answer_read(const void *data, size_t len, struct portmap_answer *ret);

/* Write a request: PCP MAP, NAT-PMP MAP UDP, NAT-PMP external address. */
void portmap_write_pcp(struct wr *w, const struct portmap_request *request);
void portmap_write_natpmp(struct wr *w, const struct portmap_request *request);
void portmap_write_natpmp_address(struct wr *w);

/* True if the gateway lost its mappings between the last epoch and this one (RFC 6887 section
 * 8.5). An unknown last epoch is no loss. */
bool portmap_epoch_lost(const struct portmap_epoch *last, uint32_t server_s, int64_t now_ms);

/* The gateway of the default route in the text of /proc/net/route. Returns 0; -ENOENT. */
MUST_CHECK int portmap_gateway_parse(const char *text, struct inetaddr *ret);
