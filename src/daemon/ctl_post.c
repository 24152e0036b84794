/* Webhooks of the controller: its posts given out, results given back.
 * Source: spec 04 section 6.6. */
#include "daemon/ctl_post.h"

#include "controller/controller.h"
#include "daemon/ctl.h"
#include "daemon/log.h"
#include "daemon/service_priv.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

enum { HEADER_LEN = 640 };

static void on_done(void *ctx, uint64_t id, const struct fetch_answer *answer)
{
    struct ctl *ctl = ctx;
    if (ctl->controller != NULL) {
        controller_hook_done(ctl->controller, id, answer->status, answer->error, service_now());
    }
}

int ctl_post(void *ctx, const struct controller_post *post)
{
    struct ctl *ctl = ctx;
    char signature[HEADER_LEN];
    char delivery[64];
    (void)snprintf(signature, sizeof(signature), "X-ZTC-Signature: %s", post->signature);
    (void)snprintf(delivery, sizeof(delivery), "X-Panlan-Delivery: %016" PRIx64, post->delivery);
    const char *const headers[] = {"Content-Type: application/json", "Expect:", signature, delivery,
                                   NULL};
    struct fetch_request request = {.id = post->delivery,
                                    .url = post->url,
                                    .headers = headers,
                                    .body = post->body,
                                    .len = post->len,
                                    .done = on_done,
                                    .ctx = ctl};
    int err = fetch_start(&ctl->svc->fetch, &request);
    if (err == -ENOENT && !ctl->library_missing) {
        ctl->library_missing = true;
        log_write(LOG_LEVEL_ERROR, "controller",
                  "webhooks need libcurl.so.4, which cannot be loaded; they wait");
    }
    return err;
}
