/* Client of a gateway that speaks PCP (RFC 6887) or NAT-PMP (RFC 6886): asks PCP first, both from
 * the second try on, and stays with what answers. While mapped it listens for the gateway's notice
 * that it restarted. Source: spec 05 section 6.9; SV-94. */
#pragma once

#include "daemon/portmap_msg.h"

#include <uv.h>

struct portmap;

enum {
    PCP_TRIES = 4,             /* of each question, with doubling pauses */
    PCP_FIRST_MS = 250,        /* first pause (RFC 6886 section 3.1) */
    PCP_NOTICE_YOUNG_S = 2,    /* tolerance of epochs */
    PCP_NOTICE_GAP_MS = 10000, /* a notice within that time of the last one is not looked at */
};

struct pcp {
    struct portmap *map;
    uv_timer_t timer;        /* next try */
    uv_poll_t *poll;         /* of fd, frees itself when closed; NULL = no socket */
    int fd;                  /* connected to the gateway, -1 = none */
    uv_poll_t *notice;       /* of notice_fd, the same */
    int notice_fd;           /* bound to the group of notices, -1 = none */
    int64_t notice_ms;       /* when one was looked at */
    unsigned tries;          /* of the question that is open, 0 = none is */
    bool pcp;                /* PCP is asked */
    bool natpmp;             /* NAT-PMP is asked */
    struct inetaddr address; /* NAT-PMP: external address, while the mapping is asked for */
    struct portmap_epoch epoch;
    uint8_t nonce[PORTMAP_NONCE_LEN];
};

void pcp_init(struct pcp *pcp, struct portmap *map);

/* Ask for a mapping by the one protocol, or (neither) find out which. The result comes by
 * portmap_granted or portmap_failed. Returns 0; negative errno without calling either. */
MUST_CHECK int pcp_start(struct pcp *pcp, bool only_pcp, bool only_natpmp);

/* Take the mapping back that was granted last. */
void pcp_release(struct pcp *pcp);

/* Stop asking, close sockets. */
void pcp_stop(struct pcp *pcp);

/* Close for good. The loop must turn once more. */
void pcp_done(struct pcp *pcp);
