/* /api and /api/v1: the API of the hosted service, and API tokens for /controller as well. Pages
 * and sources are admitted as everywhere (allowManagementFrom).
 * Source: spec 04 sections 6.2 and 10.5; CTL-94, CTL-95, CTL-101. */
#include "controller/central.h"

#include "daemon/api.h"
#include "daemon/api_priv.h"
#include "daemon/auth.h"
#include "daemon/service_priv.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

bool api_token_caller(struct service *svc, const struct http_request *request,
                      const struct auth_rules *rules, const struct auth_request *auth,
                      struct caller *ret)
{
    struct controller *c = svc->ctl.controller;
    const char *token = auth_bearer(auth->authorization);
    bool ours = central_owns(request->path) || controller_api_owns(request->path);
    if (c == NULL || !ours || auth->token_query != NULL || !auth_reachable(rules, auth)) {
        return false;
    }
    if (auth->token_header != NULL) {
        token = auth->token_header;
    }
    return token != NULL && access_authenticate(c, token, strlen(token), service_now(), ret);
}

/* The date as HTTP writes it. */
static void http_date(int64_t wall_ms, char *out, size_t cap)
{
    time_t seconds = (time_t)(wall_ms / 1000);
    struct tm tm;
    if (gmtime_r(&seconds, &tm) == NULL ||
        strftime(out, cap, "%a, %d %b %Y %H:%M:%S GMT", &tm) == 0) {
        out[0] = '\0';
    }
}

bool api_count_request(struct api_call *call)
{
    struct caller_rate rate;
    bool good = access_rate(call->svc->ctl.controller, &call->caller, service_now(), &rate);
    struct http_extra *extra = call->request->extra;
    static const char *const names[] = {"X-Ratelimit-Limit", "X-Ratelimit-Remaining",
                                        "X-Ratelimit-Reset", "Retry-After"};
    for (size_t i = 0; i < HTTP_EXTRA_MAX; i++) {
        extra[i].name = good && i == 3 ? NULL : names[i];
    }
    (void)snprintf(extra[0].value, sizeof(extra[0].value), "%u", rate.limit);
    (void)snprintf(extra[1].value, sizeof(extra[1].value), "%u", rate.left);
    http_date(rate.reset_ms, extra[2].value, sizeof(extra[2].value));
    (void)snprintf(extra[3].value, sizeof(extra[3].value), "1");
    return good;
}

void api_central_error(struct api_call *call, unsigned status, const char *message)
{
    char *text = central_error_text(status, message);
    struct http_reply reply = {.status = status, .type = "application/json", .body = text};
    reply.len = text != NULL ? strlen(text) : 0;
    http_answer(call->request, &reply);
}

bool api_tokens_unknown(const struct service *svc)
{
    struct controller *c = svc->ctl.controller;
    return c != NULL && !controller_serves(c);
}

bool api_central_owns(const char *path)
{
    return central_owns(path);
}

bool api_central_handle(struct api_call *call, const char *path)
{
    struct http_request *request = call->request;
    struct ctl *ctl = &call->svc->ctl;
    if (!central_owns(path)) {
        return false;
    }
    if (ctl_start(ctl) < 0) {
        api_central_error(call, 503, "the controller does not start");
        return true;
    }
    if (!api_count_request(call)) {
        api_central_error(call, 429, "too many requests");
        return true;
    }
    struct central_request ask = {
        .method = request->method,
        .path = path,
        .body = request->body,
        .body_len = request->body_len,
        .caller = call->caller,
        .source = request->from,
        .kind = api_actor_kind(request),
        .version = PANLAN_VERSION,
        .started_ms = call->svc->started_ms,
    };
    central_api(ctl->controller, &ask, service_now(), api_controller_answer, request);
    return true;
}
