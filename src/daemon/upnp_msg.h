/* Messages of a UPnP Internet gateway (IGD versions 1 and 2): search by SSDP, description, SOAP
 * calls about port mappings, and the little HTTP these travel in. Every address a gateway names
 * must be its own; all texts are bounded. Pure. Source: spec 05 section 6.9; SV-94. */
#pragma once

#include "base/attr.h"
#include "wire/inetaddr.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    UPNP_PATH_MAX = 256,     /* of a URL, with its NUL */
    UPNP_SERVICES_MAX = 4,   /* of a description that are looked at */
    UPNP_REQUEST_MAX = 2048, /* a SOAP call */
    UPNP_ANSWER_MAX = 65536, /* an HTTP answer */
    UPNP_SEARCH_MAX = 192,   /* a search */
    UPNP_SSDP_PORT = 1900,
    UPNP_ERROR_CONFLICT = 718,  /* the external port is somebody else's */
    UPNP_ERROR_PERMANENT = 725, /* only leases without end */
};

/* A place at the gateway. */
struct upnp_url {
    uint16_t port;
    char path[UPNP_PATH_MAX];
};

/* A service that maps ports. */
struct upnp_service {
    const char *type; /* one of our constants */
    struct upnp_url control;
};

/* An HTTP answer; body is borrowed. */
struct upnp_http {
    unsigned status;
    const char *body;
    size_t body_len;
};

/* What a SOAP answer says. */
struct upnp_answer {
    unsigned error;         /* UPnP error or else HTTP status, 0 = success */
    struct inetaddr ip;     /* NewExternalIPAddress, nil = absent */
    struct inetaddr client; /* NewInternalClient and NewInternalPort, nil = absent */
};

/* A mapping for the calls about it. */
struct upnp_mapping {
    struct inetaddr local; /* our address and port */
    uint16_t external;
    uint32_t lifetime_s; /* 0 = without end */
    uint64_t node;       /* whose, for the description */
};

enum upnp_call {
    UPNP_GET_ADDRESS,
    UPNP_GET_MAPPING,
    UPNP_ADD_MAPPING,
    UPNP_DELETE_MAPPING,
};

/* Texts of a search for gateways of IGD version 1 or 2; length. */
size_t upnp_search_write(char out[UPNP_SEARCH_MAX], unsigned version);

/* Where the description is, from the answer of a gateway to a search.
 * Returns 0; -EBADMSG; -EACCES another host is named. */
MUST_CHECK int upnp_search_read(const char *text, size_t len, const struct inetaddr *gateway,
                                struct upnp_url *ret);

/* A URL, absolute or relative to base. Returns 0; -EBADMSG; -EACCES another host is named. */
MUST_CHECK int upnp_url_read(const char *text, size_t len, const struct inetaddr *gateway,
                             const struct upnp_url *base, struct upnp_url *ret);

/* Look whether an HTTP answer is complete (ended: no more will come). A chunked body is put
 * together in place. Returns 1 complete; 0 more is needed; -EBADMSG. */
MUST_CHECK int upnp_http_read(char *data, size_t len, bool ended, struct upnp_http *ret);

/* The mapping services of a description that came from location; their number. */
size_t upnp_services_read(const char *xml, size_t len, const struct inetaddr *gateway,
                          const struct upnp_url *location,
                          struct upnp_service out[UPNP_SERVICES_MAX]);

/* HTTP requests: the description, a call (mapping: NULL for UPNP_GET_ADDRESS); their length. */
size_t upnp_get_write(char out[UPNP_REQUEST_MAX], const struct inetaddr *gateway,
                      const struct upnp_url *url);
size_t upnp_call_write(char out[UPNP_REQUEST_MAX], const struct inetaddr *gateway,
                       const struct upnp_service *service, enum upnp_call call,
                       const struct upnp_mapping *mapping);

/* Read the answer to a call. */
void upnp_answer_read(const struct upnp_http *http, struct upnp_answer *ret);
