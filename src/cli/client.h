/* HTTP client of the local API: finds port and token, sends one request at a time. The HTTP library
 * is loaded when first needed. Source: spec 05 section 4.2. */
#pragma once

#include "base/attr.h"

#include <stddef.h>
#include <stdint.h>

enum {
    CLIENT_ANSWER_MAX = 16 << 20, /* bytes of an answer */
    CLIENT_TOKEN_MAX = 256,       /* token and its NUL */
};

struct client {
    const char *host; /* IP literal, default 127.0.0.1 */
    unsigned port;
    char token[CLIENT_TOKEN_MAX];
    struct curl_lib *curl; /* loaded library, NULL = not yet */
};

struct answer {
    long status; /* HTTP status, 0 = no connection */
    char *body;  /* heap, NUL-terminated; without connection: the cause, "" never NULL */
    size_t len;
};

/* Fill in port and token from the home directory where they are not given (port 0, token empty).
 * Returns 0; -ENOENT no port file, -EACCES no token; negative errno. */
MUST_CHECK int client_discover(struct client *client, const char *home);

/* Send a request. method: GET, POST, DELETE; body: JSON text or NULL. Returns 0 with *ret filled
 * (also without connection); -ENOMEM; -ENOENT the library is missing. */
MUST_CHECK int client_request(struct client *client, const char *method, const char *path,
                              const char *body, struct answer *ret);
void answer_done(struct answer *answer);

/* Release the library, wipe the token. */
void client_close(struct client *client);
