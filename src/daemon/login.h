/* POST /sso: where browsers and nodes bring the ID token of a login (controller/sso.h says what
 * becomes of it). The keys of the login service are fetched and kept for a while. */
#pragma once

#include "daemon/api_priv.h"

#include <stddef.h>
#include <stdint.h>

struct login;

enum {
    LOGIN_WAITING_MAX = 32, /* logins waiting for keys */
    LOGIN_ISSUERS_MAX = 16, /* issuers whose keys are kept */
    LOGIN_KEYS_MS = 300000, /* how long keys are good without being asked for again */
};

/* Keys of an issuer. */
struct login_keys {
    char *issuer; /* NULL = free */
    char *text;   /* key set */
    size_t len;
    int64_t fetched_ms;
};

struct logins {
    struct service *svc;
    struct login_keys keys[LOGIN_ISSUERS_MAX];
    struct login *waiting[LOGIN_WAITING_MAX]; /* NULL = free */
};

void logins_init(struct logins *logins, struct service *svc);

/* Answer all that wait and forget the keys, after fetch_stop. No request comes any more. */
void logins_stop(struct logins *logins);

/* Handle a request, which is answered now or later; false if it is not one for /sso. */
bool api_login_handle(struct api_call *call, const char *path);
