/* Port mapping: asks the gateway to forward our primary port and tells the engine the external
 * address. PCP and NAT-PMP first, then UPnP. Only behind a gateway, from an address that is not
 * global; wakes only to renew or to look for a gateway again; takes the mapping back at the end.
 * The lease is finite, so that a mapping does not outlive us. Source: spec 05 sections 6.9, 12;
 * SV-94. */
#pragma once

#include "base/attr.h"
#include "daemon/pcp.h"
#include "daemon/upnp.h"
#include "wire/inetaddr.h"

#include <stdbool.h>
#include <stdint.h>
#include <uv.h>

struct service;

enum {
    PORTMAP_LIFETIME_S = 3600,      /* asked for; renewed at half of what is granted */
    PORTMAP_LIFETIME_MIN_S = 8,     /* shorter grants are renewed as if they were this long */
    PORTMAP_RETRY_FIRST_MS = 30000, /* nothing to be had: ask again after this, doubling to */
    PORTMAP_RETRY_MAX_MS = 3600000, /* this */
    PORTMAP_REVIEW_GAP_MS = 30000,  /* unmapped, a change of the network begins anew if the last
                                       begin is so long ago */
};

enum portmap_protocol {
    PORTMAP_BY_NONE,
    PORTMAP_BY_PCP,
    PORTMAP_BY_NATPMP,
    PORTMAP_BY_UPNP,
};

/* What a gateway gave. */
struct portmap_grant {
    enum portmap_protocol protocol;
    struct inetaddr external;
    uint32_t lifetime_s;
};

/* What is told to people. */
struct portmap_status {
    bool enabled;
    bool asking; /* an answer is awaited */
    struct portmap_grant grant;
    struct inetaddr gateway; /* nil = none */
    uint16_t internal;       /* port */
    int64_t left_s;          /* of the lease */
};

struct portmap {
    struct service *svc;
    uv_timer_t timer;           /* renewal, or next begin */
    bool open;                  /* handles are initialised */
    bool renewing;              /* asking again for what we have */
    enum portmap_protocol asks; /* who is asking, NONE = nobody; PCP stands for NAT-PMP too */
    struct portmap_grant grant; /* protocol NONE = no mapping */
    int64_t until_ms;           /* end of the lease */
    int64_t begun_ms;           /* last begin */
    unsigned failures;          /* begins without success, one after the other */
    struct inetaddr gateway;    /* nil = none */
    struct inetaddr local;      /* our address towards it, with the primary port */
    struct pcp pcp;
    struct upnp upnp;
};

/* Nothing starts before portmap_review. svc is kept. */
void portmap_init(struct portmap *map, struct service *svc);

/* Settings changed: start, renew, or end. */
void portmap_review(struct portmap *map);

/* The system's network changed: start anew if the gateway or our address is another one. */
void portmap_network_changed(struct portmap *map);

/* Take the mapping back and close. The loop must turn once more. */
void portmap_stop(struct portmap *map);

void portmap_status(const struct portmap *map, struct portmap_status *ret);

/* "pcp", "nat-pmp", "upnp", "none". */
const char *portmap_protocol_name(enum portmap_protocol protocol);

/* True if the mapping is to an address that is itself behind a NAT. */
bool portmap_is_nested(const struct portmap_grant *grant);

/* ---- for pcp.c and upnp.c ---- */

/* True for an external address that others may reach. */
bool portmap_is_usable(const struct inetaddr *external);

/* The result of pcp_start or upnp_start: a mapping, or nothing to be had this way. */
void portmap_granted(struct portmap *map, const struct portmap_grant *grant);
void portmap_failed(struct portmap *map);

/* Ask again for the mapping we have. */
void portmap_renew(struct portmap *map);
