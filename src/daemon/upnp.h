/* Client of a UPnP Internet gateway, on the loop: search, description, then calls. Everything goes
 * to the gateway's own address, answers of others are not looked at. A mapping that belongs to
 * another machine is left alone and the next port tried. Source: spec 05 section 6.9; SV-94. */
#pragma once

#include "daemon/lanhttp.h"
#include "daemon/upnp_msg.h"

#include <uv.h>

struct portmap;

enum {
    UPNP_SEARCHES = 3, /* searches, one a second */
    UPNP_SEARCH_MS = 1000,
    UPNP_PORTS_TRIED = 16,  /* external ports, from our own upwards */
    UPNP_FAREWELL_MS = 300, /* wait at most so long for a mapping to be deleted at the end */
};

enum upnp_step {
    UPNP_IDLE,
    UPNP_SEARCH,   /* where is the description? */
    UPNP_DESCRIBE, /* what does it offer? */
    UPNP_ADDRESS,  /* which external address? */
    UPNP_LOOK,     /* whose is the external port? */
    UPNP_ADD,      /* map it */
    UPNP_DELETE,   /* take it back */
};

struct upnp {
    struct portmap *map;
    uv_timer_t timer;     /* next search */
    uv_poll_t *poll;      /* of fd, frees itself when closed; NULL = no socket */
    int fd;               /* searches, -1 = none */
    struct lanhttp *http; /* request under way, NULL = none */
    enum upnp_step step;
    unsigned tries; /* searches sent, or external ports tried */
    struct upnp_url location;
    struct upnp_service services[UPNP_SERVICES_MAX];
    size_t service_count;
    size_t service; /* the one in use */
    struct inetaddr external;
    bool permanent; /* the gateway knows only leases without end */
};

void upnp_init(struct upnp *upnp, struct portmap *map);

/* Ask for a mapping; again (renewal): by the service that gave the last one. The result comes by
 * portmap_granted or portmap_failed. Returns 0; negative errno without calling either. */
MUST_CHECK int upnp_start(struct upnp *upnp, bool again);

/* Take the mapping back that was granted last; wait: now, without the loop. */
void upnp_release(struct upnp *upnp, bool wait);

/* Stop asking and forget the gateway. */
void upnp_stop(struct upnp *upnp);

/* Close for good. The loop must turn once more. */
void upnp_done(struct upnp *upnp);
