/* When deliveries leave: after the commit of their change, one at a time for each webhook, again
 * after growing pauses; and their signature. Source: spec 04 section 6.6; CTL-104 to CTL-106. */
#include "controller/hooks.h"

#include "controller/controller_priv.h"

#include <errno.h>
#include <inttypes.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    HOST_BUSY_MS = 1000, /* the host takes no post now */
    RECOVER_MS = 5000,   /* the store could not commit */
    ERROR_TEXT_MAX = 200,
};

/* ---- signature ---- */

void hook_sign(const struct hook *hook, int64_t unix_s, const void *body, size_t len,
               char out[HOOK_SIGNATURE_LEN])
{
    char stamp[24];
    size_t n = (size_t)snprintf(stamp, sizeof(stamp), "%" PRId64, unix_s);
    size_t used = (size_t)snprintf(out, HOOK_SIGNATURE_LEN, "t=%s", stamp);
    for (size_t i = 0; i < hook->secret_count; i++) {
        crypto_auth_hmacsha256_state state;
        uint8_t mac[crypto_auth_hmacsha256_BYTES];
        char hex[2 * sizeof(mac) + 1];
        crypto_auth_hmacsha256_init(&state, hook->secrets[i].bytes, hook->secrets[i].len);
        crypto_auth_hmacsha256_update(&state, (const uint8_t *)stamp, n);
        crypto_auth_hmacsha256_update(&state, (const uint8_t *)",", 1);
        crypto_auth_hmacsha256_update(&state, body, len);
        crypto_auth_hmacsha256_final(&state, mac);
        sodium_memzero(&state, sizeof(state));
        sodium_bin2hex(hex, sizeof(hex), mac, sizeof(mac));
        used += (size_t)snprintf(out + used, HOOK_SIGNATURE_LEN - used, ",v%zu=%s", i + 1, hex);
    }
}

int64_t hook_pause_ms(unsigned attempts)
{
    int64_t pause_ms = HOOK_PAUSE_FIRST_MS;
    for (unsigned i = 1; i < attempts && pause_ms < HOOK_PAUSE_MAX_MS; i++) {
        pause_ms *= 2;
    }
    return pause_ms < HOOK_PAUSE_MAX_MS ? pause_ms : HOOK_PAUSE_MAX_MS;
}

/* ---- after the commit ---- */

/* A commit that is awaited. */
struct barrier {
    struct controller *c;
    uint64_t order;
};

static void on_committed(void *ctx, int error)
{
    struct barrier *b = ctx;
    struct controller *c = b->c;
    struct hooks *hooks = c->hooks;
    if (c->stopping) {
        free(b);
        return;
    }
    if (error == 0) {
        hooks->committed = b->order > hooks->committed ? b->order : hooks->committed;
    } else if (hooks->covered <= b->order) {
        hooks->covered = hooks->committed; /* ask again, later: the store tries by itself */
        hooks->retry_after_ms = c->now_ms + RECOVER_MS;
    }
    free(b);
    hooks_run(c, c->now_ms);
}

void hooks_submitted(struct controller *c)
{
    struct hooks *hooks = c->hooks;
    if (hooks == NULL || hooks->covered == hooks->order) {
        return;
    }
    if (c->store == NULL) {
        hooks->covered = hooks->order;
        hooks->committed = hooks->order;
        hooks_run(c, c->now_ms);
        return;
    }
    struct barrier *b = malloc(sizeof(*b));
    struct store_tx *tx = b != NULL ? store_tx_new() : NULL;
    if (tx == NULL) {
        free(b);
        return; /* with the next transaction */
    }
    *b = (struct barrier){.c = c, .order = hooks->order};
    hooks->covered = hooks->order;
    store_submit(c->store, tx, on_committed, b);
}

/* ---- the schedule ---- */

/* What a webhook has to post next, NULL none. */
static struct delivery *next_of(const struct hook *hook, uint64_t committed)
{
    struct delivery *best = NULL;
    if (!hook->enabled || hook->in_flight != NULL) {
        return NULL;
    }
    for (struct list *it = hook->pending.next; it != &hook->pending; it = it->next) {
        struct delivery *d = CONTAINER_OF(it, struct delivery, link);
        if (d->order <= committed && (best == NULL || d->next_ms < best->next_ms)) {
            best = d;
        }
    }
    return best;
}

/* Returns false if the host takes none now. */
static bool post(struct controller *c, struct delivery *d, int64_t wall_ms)
{
    char signature[HOOK_SIGNATURE_LEN];
    hook_sign(d->hook, wall_ms / 1000, d->body, d->len, signature);
    struct controller_post out = {
        .delivery = d->id,
        .url = d->hook->url,
        .signature = signature,
        .body = d->body,
        .len = d->len,
    };
    if (c->env.post(c->env.ctx, &out) != 0) {
        return false;
    }
    d->hook->in_flight = d;
    return true;
}

static void arm(struct controller *c, int64_t at_ms)
{
    struct hooks *hooks = c->hooks;
    if (at_ms == INT64_MAX) {
        timers_cancel(&c->timers, &hooks->timer);
    } else if (timers_arm(&c->timers, &hooks->timer, at_ms) != 0) {
        controller_log(c, LOG_LEVEL_WARN, "controller: out of memory for a timer");
    }
}

void hooks_run(struct controller *c, int64_t now_ms)
{
    struct hooks *hooks = c->hooks;
    int64_t wall_ms = controller_wall(c, now_ms);
    int64_t at_ms = INT64_MAX;
    if (hooks == NULL || c->env.post == NULL || c->stopping) {
        return;
    }
    if (!controller_serves(c)) { /* another instance may act now */
        arm(c, now_ms + HOST_BUSY_MS);
        return;
    }
    if (hooks->covered != hooks->order) {
        if (now_ms >= hooks->retry_after_ms) {
            hooks_submitted(c);
        } else {
            at_ms = hooks->retry_after_ms;
        }
    }
    for (struct list *it = hooks->list.next; it != &hooks->list; it = it->next) {
        struct hook *hook = CONTAINER_OF(it, struct hook, link);
        struct delivery *d = next_of(hook, hooks->committed);
        if (d != NULL && d->next_ms <= wall_ms) {
            int64_t again_ms = now_ms + HOST_BUSY_MS;
            at_ms = post(c, d, wall_ms) || at_ms < again_ms ? at_ms : again_ms;
        } else if (d != NULL && d->next_ms - c->wall_offset_ms < at_ms) {
            at_ms = d->next_ms - c->wall_offset_ms;
        }
    }
    arm(c, at_ms);
}

static void on_timer(struct timer *timer, int64_t now_ms)
{
    hooks_run(CONTAINER_OF(timer, struct hooks, timer)->c, now_ms);
}

void hooks_start(struct hooks *hooks, struct controller *c, int64_t now_ms)
{
    hooks->c = c;
    hooks->timer.fire = on_timer;
    hooks_run(c, now_ms);
}

/* ---- results ---- */

static struct delivery *in_flight(const struct hooks *hooks, uint64_t id)
{
    for (struct list *it = hooks->list.next; it != &hooks->list; it = it->next) {
        struct hook *hook = CONTAINER_OF(it, struct hook, link);
        if (hook->in_flight != NULL && hook->in_flight->id == id) {
            return hook->in_flight;
        }
    }
    return NULL;
}

static void add_try(struct delivery *d, unsigned status, const char *error, int64_t wall_ms)
{
    char text[ERROR_TEXT_MAX];
    (void)snprintf(text, sizeof(text), "%s", error != NULL ? error : "");
    json_t *entry = json_pack("{sIsi}", "at", (json_int_t)wall_ms, "status", (int)status);
    if (entry != NULL && text[0] != '\0') {
        json_object_set_new(entry, "error", json_string(text));
    }
    json_array_append_new(d->tries, entry);
    while (json_array_size(d->tries) > HOOK_ATTEMPTS_MAX) {
        json_array_remove(d->tries, 0);
    }
    d->attempts++;
}

static int note_failure(struct controller *c, struct store_tx *tx, const struct delivery *d,
                        int64_t now_ms)
{
    json_t *after = delivery_json(d, false);
    struct note note = {
        .type = NOTE_HOOK_FAILED, .object = d->hook->id, .anyone = d->anyone, .after = after};
    int error = after != NULL ? note_add(c, tx, &note, now_ms) : -ENOMEM;
    json_decref(after);
    return error;
}

/* Returns 0; -ENOMEM. */
static int settle(struct controller *c, struct store_tx *tx, struct delivery *d, bool good,
                  int64_t now_ms)
{
    if (good) {
        return delivery_finish(d, DELIVERY_DONE, tx);
    }
    if (d->attempts < HOOK_ATTEMPTS_MAX) {
        d->next_ms = controller_wall(c, now_ms) + hook_pause_ms(d->attempts);
        return tx != NULL ? delivery_put(tx, d) : 0;
    }
    controller_log(c, LOG_LEVEL_WARN,
                   "controller: a delivery is given up webhook=%016llx delivery=%016llx",
                   (unsigned long long)d->hook->id, (unsigned long long)d->id);
    d->hook->in_flight = NULL;
    int error = note_failure(c, tx, d, now_ms);
    return error != 0 ? error : delivery_finish(d, DELIVERY_FAILED, tx);
}

void controller_hook_done(struct controller *c, uint64_t delivery, unsigned status,
                          const char *error, int64_t now_ms)
{
    c->now_ms = now_ms;
    struct delivery *d = c->hooks != NULL ? in_flight(c->hooks, delivery) : NULL;
    if (d == NULL) {
        return; /* its webhook was deleted meanwhile */
    }
    struct store_tx *tx = c->store != NULL ? store_tx_new() : NULL;
    d->hook->in_flight = NULL;
    add_try(d, status, error, controller_wall(c, now_ms));
    int failed = settle(c, tx, d, status >= 200 && status < 300, now_ms);
    if (failed != 0 || (c->store != NULL && tx == NULL)) {
        store_tx_free(tx); /* after a restart it is tried once more */
        controller_log(c, LOG_LEVEL_WARN, "controller: out of memory, a delivery is not stored");
    } else {
        controller_commit(c, tx, NULL, NULL);
    }
    hooks_run(c, now_ms);
}
