/* What the parts of the local API share. */
#pragma once

#include "daemon/http.h"

#include <jansson.h>
#include <stdbool.h>

struct service;

/* One request on its way. */
struct api_call {
    struct service *svc;
    struct http_request *request;
    bool read;  /* GET or HEAD */
    bool write; /* POST or PUT */
    bool erase; /* DELETE */
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
