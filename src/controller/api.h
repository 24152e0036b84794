/* The JSON API of the controller, without its transport: "/controller" as consoles know it (spec 04
 * section 2) and, beside it, what those lack:
 *
 *   POST   /controller/network/default               {"name":text, "avoid":["10.0.0.0/8",...]}
 *          a private network with a free IPv4 subnet, pool, route and accept rule; the object
 *   GET    /controller/network/<id>/invite-token     {"data":[token,...]}
 *   POST   /controller/network/<id>/invite-token     {"uses":n, "expires":ms, "token":text}
 *          token = {"token","uses","expires","nwid"}; uses 0 or absent: any number, expires 0 or
 *          absent: never (Unix ms), token absent: a random one
 *   DELETE /controller/network/<id>/invite-token/<token>     the token as it was
 *   member field "blocked" (bool): keeps a node out, also of a public network
 *   network field "authTokenUses": uses left of tokens in "authTokens" that have a limit
 *   answer field "warnings": what was dropped or changed in the request; ?strict=1: refuse instead
 *   GET    /unstable/controller/network/<id>/member/<address>/trace  {"data":[report,...]}
 *   /unstable lists: ?limit=n&cursor=<id>&q=text&filter=authorized|pending|online|bridge */
#pragma once

#include "controller/actor.h"
#include "controller/controller.h"

struct caller;

enum { CONTROLLER_API_BODY_MAX = 16 << 20 };

/* The answer: body (borrowed for the call) is compact JSON, or empty, then without content type. */
typedef void (*controller_api_done)(void *ctx, unsigned status, const char *body, size_t len);

/* True if the path belongs to the controller ("/controller...", "/unstable/controller..."). */
bool controller_api_owns(const char *path);

/* One authenticated request; all is borrowed for the call. */
struct controller_api_request {
    const char *method;   /* "GET", "POST", ... */
    const char *path;     /* without query, decoded */
    const char *query;    /* text behind '?' as received, NULL none */
    const char *if_match; /* header, or NULL */
    const char *body;     /* NULL none */
    size_t body_len;
    struct actor actor;          /* all zero: someone with the control token */
    const struct caller *reader; /* lists tell of networks this one may read; NULL: of all */
};

/* Handle a request. done is called exactly once: at once for what changes nothing, but for long
 * lists from controller_tick; after the commit for changes, with status 503 if they could not be
 * made durable (then they are in force and tried again), or from controller_free. */
void controller_api(struct controller *c, const struct controller_api_request *request,
                    int64_t now_ms, controller_api_done done, void *ctx);
