/* The HTTP listener of the local API. The control loop listens and accepts by itself; the HTTP
 * library is loaded with the first connection and unloaded when it has been idle for a while, so
 * that an idle daemon does not pay for it. All on the loop's thread.
 * Source: spec 05 section 3.1; SV-24, SV-37, SV-38. */
#pragma once

#include "base/attr.h"
#include "wire/inetaddr.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <uv.h>

enum {
    HTTP_BODY_MAX = 8 * 1024 * 1024, /* bytes of a request body */
    HTTP_TIMEOUT_S = 5,              /* without a byte; see http_seats.h for the whole */
};

/* How the command line names itself. */
#define HTTP_AGENT_CLI "panlan-cli"

struct http;

enum { HTTP_EXTRA_MAX = 4 };

/* A header that an answer shall have beside the usual ones. */
struct http_extra {
    const char *name; /* static, NULL none */
    char value[40];
};

/* One request, complete. Valid until it is answered. */
struct http_request {
    const char *method;
    const char *path;
    const char *query;                       /* text behind '?' as received, NULL = none */
    const char *body;                        /* NUL-terminated */
    size_t body_len;                         /* bytes without the NUL */
    struct inetaddr from;                    /* the other end */
    const struct http *http;                 /* for the functions below */
    void *connection;                        /* likewise */
    struct http_extra extra[HTTP_EXTRA_MAX]; /* set by handlers, for the answer */
};

/* What to answer. */
struct http_reply {
    unsigned status;
    const char *type;     /* content type, NULL = none; static */
    const char *location; /* for redirects, NULL = none; borrowed for the call */
    char *body;           /* heap, taken; NULL = empty */
    size_t len;
};

/* Must call http_answer exactly once, at once or later. */
typedef void (*http_handler)(void *ctx, struct http_request *request);

/* Asked when only the headers are there (no body yet): false refuses the body, which is then read
 * and dropped. The handler is called all the same, without a body, and has to refuse. */
typedef bool (*http_admission)(void *ctx, const struct http_request *request);

/* Start listening on a TCP port: loopback only, or all addresses with open. Either address family
 * suffices. Returns 0; -EADDRINUSE; negative errno. */
MUST_CHECK int http_start(uv_loop_t *loop, uint16_t port, bool open, http_admission admission,
                          http_handler handler, void *ctx, struct http **ret);

/* Change between loopback and all addresses. Connections live on. */
int http_set_open(struct http *http, bool open);

/* Stop; NULL is allowed. Every request must have been answered. The loop must turn once more. */
void http_stop(struct http *http);

/* Answer a request; it must not be touched afterwards. */
void http_answer(struct http_request *request, const struct http_reply *reply);

/* Value of a header or query parameter, NULL if absent; borrowed until the answer. */
const char *http_header(const struct http_request *request, const char *name);
const char *http_query(const struct http_request *request, const char *name);
