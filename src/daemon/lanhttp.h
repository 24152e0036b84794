/* One HTTP request to the gateway and its answer: bounded in size and time. For UPnP alone.
 * Source: spec 05 section 6.9. */
#pragma once

#include "base/attr.h"
#include "daemon/upnp_msg.h"
#include "wire/inetaddr.h"

#include <stddef.h>
#include <uv.h>

enum {
    LANHTTP_LIMIT_MS = 5000, /* of a whole exchange */
    LANHTTP_READS_MAX = 256, /* pieces an answer may come in; each is a look at the whole */
};

struct lanhttp;

/* What came of it: http is NULL when nothing usable did, and borrowed. The request is over and its
 * handle dead. */
typedef void (*lanhttp_done)(void *ctx, const struct upnp_http *http);

/* Send a request (copied) to the gateway's port. Returns NULL if that cannot even be begun. */
struct lanhttp *lanhttp_start(uv_loop_t *loop, const struct inetaddr *gateway, uint16_t port,
                              const char *text, size_t len, lanhttp_done done, void *ctx);

/* Give it up; done is not called. The loop must turn once more. */
void lanhttp_cancel(struct lanhttp *http);

/* Send a request and wait until it is answered or limit_ms have passed, without a loop. */
void lanhttp_send_and_wait(const struct inetaddr *gateway, uint16_t port, const char *text,
                           size_t len, int limit_ms);
