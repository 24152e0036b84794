/* The API of the hosted service ("Central API v1"), without its transport: what terraform, zeronsd
 * and scripts written for it ask, answered from this controller's networks. Served under /api/v1
 * and under /api. Source: spec 04 sections 6.2 to 6.5; CTL-94 to CTL-103.
 *
 * Beside the endpoints of the specification, for those who have no account elsewhere:
 *   GET  /user                      everybody, for administrators
 *   POST /user                      {"displayName","email","admin"}: a person; the object
 *   GET  /user/{id}/token           the tokens, without their texts
 *   POST /user/{id}/token           also {"scope":[...],"networks":[...],"expires":ms}; a token
 *                                   left out is made here and shown in this answer only */
#pragma once

#include "controller/access.h"

/* True if the path belongs to this API. */
bool central_owns(const char *path);

/* One request; all is borrowed for the call. */
struct central_request {
    const char *method; /* "GET", "POST", ... */
    const char *path;   /* without query, decoded */
    const char *body;   /* NULL none */
    size_t body_len;
    struct caller caller;   /* authenticated, within its rate */
    struct inetaddr source; /* where from, nil unknown */
    enum actor_kind kind;   /* of a caller with the control token */
    const char *version;    /* of this program */
    int64_t started_ms;     /* of it, as now_ms */
};

/* Handle a request. done is called exactly once, as in controller_api. */
void central_api(struct controller *c, const struct central_request *request, int64_t now_ms,
                 controller_api_done done, void *ctx);

/* Body of an error of this API, malloc'd; NULL out of memory. */
char *central_error_text(unsigned status, const char *message);
