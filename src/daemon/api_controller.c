/* /controller and below: handed to the controller, whose answer may come after a commit.
 * Source: spec 05 section 3.4, spec 04 section 2; SV-36, SV-39. */
#include "controller/api.h"
#include "daemon/api_priv.h"
#include "daemon/service_priv.h"

#include <stdlib.h>
#include <string.h>

void api_controller_answer(void *ctx, unsigned status, const char *body, size_t len)
{
    struct http_request *request = ctx;
    struct http_reply reply = {.status = status};
    if (len > 0) {
        reply.body = malloc(len);
        if (reply.body == NULL) {
            http_answer(request, &(struct http_reply){.status = 500});
            return;
        }
        memcpy(reply.body, body, len);
        reply.len = len;
        reply.type = "application/json";
    }
    http_answer(request, &reply);
}

enum actor_kind api_actor_kind(const struct http_request *request)
{
    const char *agent = http_header(request, "User-Agent");
    bool own = agent != NULL && strncmp(agent, HTTP_AGENT_CLI, strlen(HTTP_AGENT_CLI)) == 0;
    return own ? ACTOR_CLI : ACTOR_CONTROL_TOKEN;
}

bool api_controller_handle(struct api_call *call, const char *path)
{
    struct http_request *request = call->request;
    struct ctl *ctl = &call->svc->ctl;
    if (!controller_api_owns(path)) {
        return false;
    }
    if (ctl_start(ctl) < 0) {
        api_reply_empty(call, 503);
        return true;
    }
    struct controller_api_request ask = {
        .method = strcmp(request->method, "HEAD") == 0 ? "GET" : request->method,
        .path = path,
        .query = request->query,
        .if_match = http_header(request, "If-Match"),
        .body = request->body,
        .body_len = request->body_len,
        .actor = {.kind = api_actor_kind(request), .source = request->from},
    };
    if (call->caller.token == 0) {
        controller_api(ctl->controller, &ask, service_now(), api_controller_answer, request);
    } else if (api_count_request(call)) {
        access_controller_api(ctl->controller, &call->caller, &ask, service_now(),
                              api_controller_answer, request);
    } else {
        api_reply_empty(call, 429);
    }
    return true;
}
