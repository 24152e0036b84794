/* What the parts of the local API share. */
#pragma once

#include "controller/access.h"
#include "daemon/auth.h"
#include "daemon/http.h"

#include <jansson.h>
#include <stdbool.h>

struct service;

/* One request on its way. */
struct api_call {
    struct service *svc;
    struct http_request *request;
    bool read;            /* GET or HEAD */
    bool write;           /* POST or PUT */
    bool erase;           /* DELETE */
    struct caller caller; /* who asks; token 0: someone with the control token */
};

/* Answer with a JSON value (taken; NULL becomes 500), compact, keys in order. */
void api_reply_json(struct api_call *call, unsigned status, json_t *value);

/* Answer with a status and no body. */
void api_reply_empty(struct api_call *call, unsigned status);

/* The 500 answer of a failed handler. */
void api_reply_error(struct api_call *call, const char *description);

/* Add to the object of GET /status how this node reaches others. */
void api_reach_add(json_t *status, const struct service *svc);

/* Handlers of the parts. Each returns false if the path or method is not its own. */
bool api_network_handle(struct api_call *call, const char *path);
bool api_moon_handle(struct api_call *call, const char *path);
bool api_world_handle(struct api_call *call, const char *path);
bool api_app_handle(struct api_call *call, const char *path);
bool api_controller_handle(struct api_call *call, const char *path);
bool api_backup_handle(struct api_call *call, const char *path);
bool api_central_handle(struct api_call *call, const char *path);

/* ---- of the controller's APIs ---- */

/* Answer a request (ctx) with what the controller says. */
void api_controller_answer(void *ctx, unsigned status, const char *body, size_t len);

/* Whether the command line or another program uses the control token. */
enum actor_kind api_actor_kind(const struct http_request *request);

/* True if the request has an API token that is good for its path; *ret is whose. */
bool api_token_caller(struct service *svc, const struct http_request *request,
                      const struct auth_rules *rules, const struct auth_request *auth,
                      struct caller *ret);

/* Count a request against the limit of its caller, and say so in the answer's headers. Returns
 * false if it is one too many. */
bool api_count_request(struct api_call *call);

/* True if the path is of the hosted service's API, which has a form of errors of its own. */
bool api_central_owns(const char *path);
void api_central_error(struct api_call *call, unsigned status, const char *message);

/* True if the controller is loading, standing by or failed, so that no API token can be looked up.
 */
bool api_tokens_unknown(const struct service *svc);
