/* Plain types that vl2 shares with what is above it: how a network looks from outside, and what a
 * local controller is asked. Source: spec 03 sections 2 and 14. */
#pragma once

#include "crypto/identity.h"
#include "wire/frame.h"
#include "wire/inetaddr.h"
#include "wire/netconf.h"

#include <stddef.h>
#include <stdint.h>

enum network_status {
    NETWORK_REQUESTING_CONFIGURATION = 0,
    NETWORK_OK = 1,
    NETWORK_ACCESS_DENIED = 2,
    NETWORK_NOT_FOUND = 3,
    NETWORK_PORT_ERROR = 4,
    NETWORK_CLIENT_TOO_OLD = 5,
    NETWORK_AUTHENTICATION_REQUIRED = 6,
};

/* Frames of a network that membership and rules let pass or did not. */
struct frame_tally {
    uint64_t in[2];  /* dropped, accepted */
    uint64_t out[2]; /* likewise; a multicast frame counts for each recipient */
};

struct node_network_info {
    uint64_t nwid;
    uint64_t mac; /* our MAC on it */
    enum network_status status;
    int port_error;                       /* 0, or what node_port_result said */
    unsigned mtu;                         /* for the port: configured, capped by what paths carry */
    const struct netconf *config;         /* borrowed until the next input; NULL before the first */
    const struct multicast_group *groups; /* subscriptions, borrowed likewise */
    size_t group_count;
    struct frame_tally frames;
    const struct netconf_sso *sso; /* what the controller last said about single sign-on, borrowed
                                      likewise; NULL = nothing */
    char auth_url[2048];           /* AUTHENTICATION_REQUIRED: where to go, else empty */
    int64_t auth_expiry_ms;        /* wall clock, 0 none */
};

struct node_controller {
    void *ctx;

    /* A member asks for its configuration. from: physical source if direct, else nil. request_id:
     * to be given back with the answer; all ones when this node asks itself. identity: of the
     * authenticated asker, borrowed. meta: dictionary, borrowed. Answer now or later. */
    void (*request)(void *ctx, uint64_t nwid, const struct inetaddr *from, uint64_t request_id,
                    const struct identity *identity, const void *meta, size_t meta_len,
                    int64_t now_ms);

    /* After a request: the configuration that the asker says it has, by its revision and time stamp
     * (0: none). May be NULL. */
    void (*holds)(void *ctx, uint64_t nwid, const struct identity *identity, uint64_t revision,
                  uint64_t timestamp);

    /* A REMOTE_TRACE dictionary came. May be NULL. */
    void (*trace)(void *ctx, uint64_t source, const void *dict, size_t len, int64_t now_ms);
};
