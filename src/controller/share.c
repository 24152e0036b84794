/* A controller whose store is shared: it acts only while it holds the lease and has time stamps in
 * reserve that no successor will go below; API calls reach the holder through the store. Source:
 * spec 04 sections 5.2, 5.3; CTL-72, CTL-90 to CTL-92. */
#include "controller/api.h"
#include "controller/api_priv.h"
#include "controller/controller_priv.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* A call of another instance that is being carried out. */
struct remote_call {
    struct controller *c;
    uint64_t seq;
    bool answered; /* the answer is part of a transaction that was queued */
};

bool controller_is_shared(const struct controller *c)
{
    return c->store != NULL && store_is_shared(c->store);
}

/* ---- time stamps ---- */

/* The time stamp that would be issued now. */
static uint64_t next_timestamp(const struct controller *c, int64_t now_ms)
{
    int64_t wall = controller_wall(c, now_ms);
    uint64_t ts = wall > 0 ? (uint64_t)wall : 0;
    return ts > c->last_ts ? ts : c->last_ts;
}

static bool reserve_is_due(const struct controller *c, int64_t now_ms)
{
    return !c->reserving &&
           next_timestamp(c, now_ms) + CONTROLLER_TS_RESERVE_MS / 3 * 2 > c->reserved_ts;
}

static void on_reserved(void *ctx, int error)
{
    struct controller *c = ctx;
    c->reserving = false;
    if (error != 0 || c->stopping) {
        return;
    }
    c->reserved_ts = c->saved_ts;
    controller_loaded(c);
}

void share_reserve(struct controller *c, int64_t now_ms)
{
    if (reserve_is_due(c, now_ms) && store_hold_ms(c->store) > 0) {
        uint64_t ts = next_timestamp(c, now_ms) + CONTROLLER_TS_RESERVE_MS;
        c->reserving = controller_save_timestamp(c, ts, on_reserved, c);
    }
}

int64_t share_deadline(const struct controller *c)
{
    if (!controller_is_shared(c) || c->loader != NULL || c->reserving ||
        store_hold_ms(c->store) <= 0) {
        return -1;
    }
    int64_t spare = (int64_t)c->reserved_ts - CONTROLLER_TS_RESERVE_MS / 3 * 2;
    int64_t at_ms = spare - c->wall_offset_ms;
    return at_ms > c->now_ms ? at_ms : c->now_ms;
}

bool controller_serves(struct controller *c)
{
    if (c->state != CONTROLLER_RUNNING || !controller_is_shared(c)) {
        return c->state == CONTROLLER_RUNNING;
    }
    if (store_hold_ms(c->store) <= 0) {
        return false;
    }
    share_reserve(c, c->now_ms);
    return next_timestamp(c, c->now_ms) <= c->reserved_ts;
}

/* ---- calls ---- */

static char *copy_of(const char *text)
{
    return strdup(text != NULL ? text : "");
}

/* Who asks: kind and source. Names are not known here: an instance that stands by has no tokens. */
static char *actor_text(const struct actor *actor)
{
    char ip[INETADDR_TEXT_LEN] = "";
    char text[INETADDR_TEXT_LEN + 8];
    if (actor->source.family != INETADDR_NIL) {
        inetaddr_print_ip(&actor->source, ip);
    }
    (void)snprintf(text, sizeof(text), "%s %s", actor->kind == ACTOR_CLI ? "cli" : "token", ip);
    return strdup(text);
}

static struct actor actor_parse(const char *text)
{
    struct actor actor = {.kind = strncmp(text, "cli ", 4) == 0 ? ACTOR_CLI : ACTOR_CONTROL_TOKEN};
    const char *ip = strchr(text, ' ');
    if (ip == NULL || inetaddr_parse(ip + 1, strlen(ip + 1), &actor.source) != 0) {
        actor.source = (struct inetaddr){.family = INETADDR_NIL};
    }
    return actor;
}

void share_pass(struct controller *c, const struct controller_api_request *request,
                controller_api_done done, void *ctx)
{
    static const char no_memory[] = "{\"description\":\"out of memory\",\"error\":500}";
    struct store_call *call = calloc(1, sizeof(*call));
    if (call != NULL) {
        call->method = copy_of(request->method);
        call->path = copy_of(request->path);
        call->query = copy_of(request->query);
        call->if_match = copy_of(request->if_match);
        call->actor = actor_text(&request->actor);
        call->body =
            request->body != NULL ? strndup(request->body, request->body_len) : copy_of(NULL);
    }
    if (call == NULL || call->method == NULL || call->path == NULL || call->query == NULL ||
        call->body == NULL || call->if_match == NULL || call->actor == NULL) {
        store_call_free(call);
        done(ctx, 500, no_memory, sizeof(no_memory) - 1);
        return;
    }
    call->done = done;
    call->ctx = ctx;
    store_pass(c->store, call);
}

/* Add the answer to a transaction. Returns 0; -ENOMEM. */
static int put_answer(struct store_tx *tx, uint64_t seq, unsigned status, const char *body,
                      size_t len)
{
    char *text = len > 0 ? strndup(body, len) : NULL;
    if (len > 0 && text == NULL) {
        return -ENOMEM;
    }
    return store_tx_put(tx, STORE_ANSWER, seq, status, text);
}

void share_answer_in(struct remote_call *remote, struct store_tx *tx, const char *body)
{
    if (remote != NULL && tx != NULL) {
        remote->answered = put_answer(tx, remote->seq, 200, body, strlen(body)) == 0;
    }
}

static void on_remote_done(void *ctx, unsigned status, const char *body, size_t len)
{
    struct remote_call *remote = ctx;
    struct controller *c = remote->c;
    struct store_tx *tx = remote->answered || c->stopping ? NULL : store_tx_new();
    if (tx != NULL && put_answer(tx, remote->seq, status, body, len) == 0) {
        controller_commit(c, tx, NULL, NULL);
    } else {
        store_tx_free(tx);
    }
    free(remote);
}

void share_take_calls(struct controller *c)
{
    struct store_call *call;
    if (!controller_is_shared(c)) {
        return;
    }
    while (controller_serves(c) && (call = store_next_call(c->store)) != NULL) {
        struct remote_call *remote = calloc(1, sizeof(*remote));
        struct controller_api_request request = {
            .method = call->method,
            .path = call->path,
            .query = call->query,
            .body = call->body,
            .body_len = strlen(call->body),
            .if_match = call->if_match[0] != '\0' ? call->if_match : NULL,
            .actor = actor_parse(call->actor),
        };
        if (remote != NULL) {
            *remote = (struct remote_call){.c = c, .seq = call->seq};
            c->remote = remote;
            controller_api(c, &request, c->now_ms, on_remote_done, remote);
            c->remote = NULL;
        }
        store_call_free(call);
    }
}
