/* Requests of the local API: authorization, routing, answers. Source: spec 05 section 3. */
#pragma once

#include "daemon/http.h"

/* http_admission: bodies only of those who may ask. */
bool api_admit(void *ctx, const struct http_request *request);

/* http_handler; ctx is the struct service. */
void api_handle(void *ctx, struct http_request *request);
