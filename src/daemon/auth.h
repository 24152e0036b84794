/* Who may use the local API. Pure. Source: spec 05 section 3.2; SV-20 to SV-23. */
#pragma once

#include "daemon/config.h"

#include <stdbool.h>

struct auth_rules {
    const char *api_token;
    const char *metrics_token;             /* opens /metrics only */
    const struct config_addrs *management; /* allowManagementFrom */
};

/* What a request says about itself; texts are NULL when absent. */
struct auth_request {
    const char *path;
    struct inetaddr from;
    const char *token_header;  /* X-ZT1-Auth */
    const char *token_query;   /* ?auth= */
    const char *authorization; /* Authorization */
    const char *host;          /* Host */
    const char *origin;        /* Origin */
};

/* True if the request may be served. Tokens are compared in constant time. Paths that need no token
 * are closed to browsers that were led here by a foreign name (DNS rebinding); a page that knows
 * the token is served under any name, as consoles reach controllers by names of their own. Requests
 * by pages of another origin are refused (CTL-37). */
bool auth_allowed(const struct auth_rules *rules, const struct auth_request *request);

/* True if the request comes from where this API may be used, whatever its credential is. */
bool auth_reachable(const struct auth_rules *rules, const struct auth_request *request);

/* The token in an Authorization header, with scheme "Bearer" or "token" in any case, or NULL. */
const char *auth_bearer(const char *authorization);

/* True if a request with this Origin (NULL: none) was made by a page of this machine or of the
 * address in Host itself. */
bool auth_is_own_page(const char *origin, const char *host);
