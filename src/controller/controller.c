/* Life of a controller: loading, the clock, saving, ticks. */
#include "controller/controller.h"

#include "controller/controller_priv.h"
#include "controller/eventlog.h"
#include "controller/hooks.h"
#include "controller/member_doc.h"
#include "controller/network_doc.h"
#include "controller/removed.h"
#include "controller/sso_priv.h"

#include <errno.h>
#include <sodium.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    CLOCK_BACK_WARN_MS = 60000,  /* wall clock behind what was issued: say so */
    PRESUMED_ONLINE_MS = 900000, /* seen within this before the start: pushes are tried */
    LOADER_STALE_MAX = 10000,    /* stored revocations removed per start */
};

/* What the store's thread builds while loading; nobody else touches it until it is done. */
struct loader {
    struct model model;
    struct eventlog *eventlog;
    struct hooks *hooks;
    struct identity signer;
    uint64_t wall_ms;
    bool no_memory;
    unsigned bad; /* documents that are no JSON object */
    struct stale {
        uint64_t nwid;
        uint64_t node;
    } * stale; /* stored revocations of no more use */
    size_t stale_count;
};

/* ---- small things ---- */

int64_t controller_wall(const struct controller *c, int64_t now_ms)
{
    return now_ms + c->wall_offset_ms;
}

void controller_log(const struct controller *c, enum log_level level, const char *fmt, ...)
{
    if (level > c->env.log_level) {
        return;
    }
    char text[400];
    va_list args;
    va_start(args, fmt);
    (void)vsnprintf(text, sizeof(text), fmt, args);
    va_end(args);
    c->env.log(c->env.ctx, level, text);
}

void controller_event(const struct controller *c, enum controller_event event, uint64_t nwid,
                      uint64_t member)
{
    if (c->env.event != NULL) {
        c->env.event(c->env.ctx, event, nwid, member);
    }
}

bool member_is_online(const struct cmember *m, int64_t now_ms)
{
    return m->last_request_ms != INT64_MIN && now_ms - m->last_request_ms < CONTROLLER_ONLINE_MS;
}

/* ---- saving ---- */

int controller_put_network(struct store_tx *tx, const struct cnetwork *net)
{
    char *text = doc_text(net->doc);
    return text != NULL ? store_tx_put(tx, STORE_NETWORK, net->nwid, 0, text) : -ENOMEM;
}

int controller_put_member(struct store_tx *tx, struct cmember *m)
{
    m->stored = true;
    json_t *doc = member_to_json(m);
    char *text = doc != NULL && sso_store(m, doc) == 0 ? doc_text(doc) : NULL;
    json_decref(doc);
    return text != NULL ? store_tx_put(tx, STORE_MEMBER, m->net->nwid, m->address, text) : -ENOMEM;
}

void controller_commit(struct controller *c, struct store_tx *tx, store_done_fn done, void *ctx)
{
    if (c->store == NULL) {
        store_tx_free(tx);
        if (done != NULL) {
            done(ctx, 0);
        }
        return;
    }
    store_submit(c->store, tx, done, ctx);
    hooks_submitted(c);
}

bool controller_save_timestamp(struct controller *c, uint64_t ts, store_done_fn done, void *ctx)
{
    struct store_tx *tx = c->store != NULL ? store_tx_new() : NULL;
    char *text = tx != NULL ? malloc(48) : NULL;
    if (text == NULL) {
        store_tx_free(tx);
        return false;
    }
    (void)snprintf(text, 48, "{\"lastTs\":%llu}", (unsigned long long)ts);
    if (store_tx_put(tx, STORE_CONTROLLER, 0, c->identity.address, text) != 0) {
        store_tx_free(tx);
        return false;
    }
    c->saved_ts = ts;
    controller_commit(c, tx, done, ctx);
    return true;
}

uint64_t controller_timestamp(struct controller *c, int64_t now_ms)
{
    int64_t wall = controller_wall(c, now_ms);
    uint64_t ts = wall > 0 ? (uint64_t)wall : 0;
    if (ts < c->last_ts) {
        if (c->last_ts - ts > CLOCK_BACK_WARN_MS && !c->clock_warned) {
            c->clock_warned = true;
            controller_log(c, LOG_LEVEL_ERROR,
                           "controller: the clock is %llu s behind time stamps issued before; "
                           "correct it",
                           (unsigned long long)((c->last_ts - ts) / 1000));
        }
        ts = c->last_ts;
    } else {
        c->clock_warned = false;
    }
    c->last_ts = ts;
    if (!controller_is_shared(c) && ts + CONTROLLER_TS_RESERVE_MS / 3 > c->saved_ts) {
        (void)controller_save_timestamp(c, ts + CONTROLLER_TS_RESERVE_MS, NULL, NULL);
    }
    return ts;
}

void controller_forget(struct controller *c, struct cmember *m)
{
    cmember_free(&c->model, m);
}

/* ---- loading ---- */

static void load_network(struct loader *l, uint64_t nwid, json_t *doc)
{
    struct cnetwork *net = NULL;
    if (network_doc_complete(doc, nwid, 0) != 0 ||
        network_new(&l->model, nwid, json_incref(doc), &net) != 0) {
        l->no_memory = true;
    }
}

static void load_member(struct loader *l, uint64_t nwid, uint64_t node, const json_t *doc)
{
    struct cnetwork *net = model_find(&l->model, nwid);
    struct cmember *m = NULL;
    if (net == NULL) {
        l->bad++;
        return;
    }
    int error = 0;
    if (removed_load(net, node, doc, &error)) {
        l->no_memory |= error != 0;
        return;
    }
    if (member_new(&l->model, net, node, &m) != 0 || member_from_json(m, doc) != 0) {
        l->no_memory = true;
        return;
    }
    m->stored = true;
    m->first_noted = true;
    member_file_stranger(m);
}

static void load_runtime(struct loader *l, uint64_t nwid, uint64_t node, const json_t *doc)
{
    struct cnetwork *net = model_find(&l->model, nwid);
    struct cmember *m = net != NULL ? network_member(net, node) : NULL;
    if (m != NULL) {
        member_runtime_load(m, doc);
    }
}

static void load_revocation(struct loader *l, uint64_t nwid, uint64_t node, const json_t *doc)
{
    if (revoke_load(&l->model, &l->signer, nwid, node, doc, l->wall_ms) ||
        l->stale_count == LOADER_STALE_MAX) {
        return;
    }
    if ((l->stale_count & (l->stale_count - 1)) == 0) {
        size_t cap = l->stale_count == 0 ? 1 : l->stale_count * 2;
        struct stale *grown = realloc(l->stale, cap * sizeof(*grown));
        if (grown == NULL) {
            return;
        }
        l->stale = grown;
    }
    l->stale[l->stale_count++] = (struct stale){.nwid = nwid, .node = node};
}

/* How a person or token was taken. */
static void note_account(struct loader *l, int error)
{
    l->no_memory |= error == -ENOMEM;
    l->bad += error != 0 && error != -ENOMEM ? 1 : 0;
}

static void load_grant(struct loader *l, uint64_t nwid, uint64_t user, const json_t *doc)
{
    struct cnetwork *net = model_find(&l->model, nwid);
    struct grant grant;
    if (net != NULL) {
        grant_from_json(&grant, user, doc);
        note_account(l, network_set_grant(net, &grant));
    }
}

/* A document of the log or of webhooks. */
static void load_event(struct loader *l, enum store_kind kind, uint64_t id, const char *text,
                       const json_t *doc)
{
    int error = -ENOMEM;
    if (l->eventlog == NULL || l->hooks == NULL) {
        return;
    }
    if (kind == STORE_EVENT) {
        error = eventlog_load(l->eventlog, id, text, doc);
    } else if (kind == STORE_HOOK) {
        error = hooks_load(l->hooks, id, doc);
    } else {
        error = hooks_load_delivery(l->hooks, id, doc);
    }
    l->no_memory = l->no_memory || error == -ENOMEM;
    l->bad += error == -EINVAL ? 1 : 0;
}

/* Runs on the store's thread. */
static void load_document(void *ctx, enum store_kind kind, uint64_t nwid, uint64_t node,
                          const char *text)
{
    struct loader *l = ctx;
    json_t *doc = json_loads(text, 0, NULL);
    if (!json_is_object(doc)) {
        l->bad++;
        json_decref(doc);
        return;
    }
    switch (kind) {
    case STORE_CONTROLLER:
        if (node == l->signer.address) {
            l->model.last_ts = coerce_u64(json_object_get(doc, "lastTs"), 0);
        }
        break;
    case STORE_NETWORK:
        load_network(l, nwid, doc);
        break;
    case STORE_MEMBER:
        load_member(l, nwid, node, doc);
        break;
    case STORE_RUNTIME:
        load_runtime(l, nwid, node, doc);
        break;
    case STORE_REVOCATION:
        load_revocation(l, nwid, node, doc);
        break;
    case STORE_USER:
        note_account(l, accounts_put_person(&l->model.accounts, nwid, doc));
        break;
    case STORE_TOKEN:
        note_account(l, accounts_put_token(&l->model.accounts, nwid, doc));
        break;
    case STORE_GRANT:
        load_grant(l, nwid, node, doc);
        break;
    case STORE_HOOK:
    case STORE_DELIVERY:
    case STORE_EVENT:
        load_event(l, kind, nwid, text, doc);
        break;
    default: /* of later versions */
        break;
    }
    json_decref(doc);
}

static void loader_free(struct loader *l)
{
    if (l != NULL) {
        model_done(&l->model);
        eventlog_free(l->eventlog);
        hooks_free(l->hooks);
        identity_wipe(&l->signer);
        free(l->stale);
        free(l);
    }
}

/* Members seen shortly before the start count as online, so that changes reach them at once. */
static void presume_online(struct controller *c, int64_t now_ms)
{
    int64_t horizon = controller_wall(c, now_ms) - PRESUMED_ONLINE_MS;
    struct cmember *m = NULL;
    while ((m = model_next_member(&c->model, m)) != NULL) {
        if (m->seen_ms > horizon) {
            m->last_request_ms = now_ms - CONTROLLER_REQUEST_GAP_MS - 1;
        }
    }
}

static void remove_stale(struct controller *c, const struct loader *l)
{
    struct store_tx *tx = l->stale_count > 0 ? store_tx_new() : NULL;
    bool good = tx != NULL;
    for (size_t i = 0; good && i < l->stale_count; i++) {
        good = store_tx_put(tx, STORE_REVOCATION, l->stale[i].nwid, l->stale[i].node, NULL) == 0;
    }
    if (good) {
        controller_commit(c, tx, NULL, NULL);
    } else {
        store_tx_free(tx);
    }
}

/* The requests that came too early, in order. */
static void serve_waiting(struct controller *c, int64_t now_ms)
{
    struct list *link;
    while ((link = list_first(&c->waiting)) != NULL) {
        struct ask *ask = CONTAINER_OF(link, struct ask, link);
        list_remove(link);
        if (c->state == CONTROLLER_RUNNING) {
            request_serve(c, ask, now_ms);
        }
        sodium_memzero(ask->meta, sizeof(ask->meta));
        free(ask);
    }
    c->waiting_count = 0;
}

static void fail_load(struct controller *c, const char *why)
{
    c->state = CONTROLLER_FAILED;
    (void)snprintf(c->reason, sizeof(c->reason), "%s", why != NULL ? why : "unknown");
    controller_log(c, LOG_LEVEL_ERROR, "controller: does not start: %s", c->reason);
    controller_event(c, CONTROLLER_STORE_FAILED, 0, 0);
}

/* Another instance acts, or will: this one is silent. */
static void stand_by(struct controller *c, enum controller_state state, const char *why)
{
    if (c->state != state || strcmp(c->reason, why) != 0) {
        c->state = state;
        (void)snprintf(c->reason, sizeof(c->reason), "%s", why);
        controller_log(c, LOG_LEVEL_WARN, "controller: %s", c->reason);
    }
}

void controller_loaded(struct controller *c)
{
    if (c->state != CONTROLLER_LOADING || c->loader != NULL) {
        return;
    }
    c->state = CONTROLLER_RUNNING;
    eventlog_start(c->eventlog, c, c->now_ms);
    hooks_start(c->hooks, c, c->now_ms);
    presume_online(c, c->now_ms);
    expiry_scan(c, c->now_ms);
    sso_restore(c, c->now_ms);
    controller_log(c, LOG_LEVEL_INFO, "controller: running networks=%zu members=%llu",
                   c->model.networks.count, (unsigned long long)c->model.members);
    controller_event(c, CONTROLLER_READY, 0, 0);
    serve_waiting(c, c->now_ms);
}

/* Take over what the store's thread has loaded. */
static void take_model(struct controller *c, struct loader *l)
{
    struct model empty = c->model;
    c->model = l->model;
    l->model = empty;
    c->eventlog = l->eventlog;
    l->eventlog = NULL;
    c->hooks = l->hooks;
    l->hooks = NULL;
    c->last_ts = c->model.last_ts;
    c->saved_ts = c->model.last_ts;
    remove_stale(c, l);
    if (l->bad > 0) {
        controller_log(c, LOG_LEVEL_ERROR,
                       "controller: %u stored documents are unusable and were left alone", l->bad);
    }
}

/* The store's thread has ended its part of loading, or stands by. */
static void finish_load(struct controller *c)
{
    const char *why = NULL;
    enum store_state state = store_get_state(c->store, &why);
    struct loader *l = c->loader;
    if (state == STORE_STANDBY || state == STORE_LOST) {
        stand_by(c, state == STORE_LOST ? CONTROLLER_LOST : CONTROLLER_STANDBY,
                 why != NULL ? why : "standing by");
    }
    if (state != STORE_READY && state != STORE_FAILED) {
        return;
    }
    c->loader = NULL;
    if (state == STORE_FAILED) {
        fail_load(c, why);
    } else if (l->no_memory) {
        fail_load(c, "out of memory while loading");
    } else {
        take_model(c, l);
        c->state = CONTROLLER_LOADING;
        if (controller_is_shared(c)) {
            share_reserve(c, c->now_ms); /* its commit ends loading */
        } else {
            controller_loaded(c);
        }
    }
    loader_free(l);
    if (c->state == CONTROLLER_FAILED) {
        serve_waiting(c, c->now_ms);
    }
}

/* The state of a store that was opened. */
static void follow_store(struct controller *c)
{
    const char *why = NULL;
    enum store_state state = store_get_state(c->store, &why);
    if (state == STORE_LOST) {
        stand_by(c, CONTROLLER_LOST, why != NULL ? why : "another instance has taken over");
        return;
    }
    bool broken = why != NULL;
    if (state != STORE_READY || broken == c->store_broken) {
        return;
    }
    c->store_broken = broken;
    controller_log(c, broken ? LOG_LEVEL_ERROR : LOG_LEVEL_WARN, "controller: %s%s",
                   broken ? "changes cannot be stored, trying again: "
                          : "changes are stored "
                            "again",
                   broken ? why : "");
    controller_event(c, broken ? CONTROLLER_STORE_FAILED : CONTROLLER_STORE_RECOVERED, 0, 0);
}

void controller_poll(struct controller *c, int64_t now_ms)
{
    c->now_ms = now_ms;
    if (c->store == NULL) {
        return;
    }
    bool news = store_poll(c->store);
    if (c->loader != NULL) {
        finish_load(c);
    } else if (news) {
        follow_store(c);
    }
    share_take_calls(c);
}

/* ---- life ---- */

static struct loader *loader_new(struct controller *c, int64_t now_ms)
{
    struct loader *l = calloc(1, sizeof(*l));
    if (l != NULL) {
        model_init(&l->model, c->seed);
        l->eventlog = eventlog_new(c->seed);
        l->hooks = hooks_new();
        l->no_memory = l->eventlog == NULL || l->hooks == NULL;
        l->signer = c->identity;
        int64_t wall = controller_wall(c, now_ms);
        l->wall_ms = wall > 0 ? (uint64_t)wall : 0;
    }
    return l;
}

struct controller *controller_new(const struct controller_env *env, const struct identity *identity,
                                  struct store_backend *backend, int64_t wall_offset_ms,
                                  int64_t now_ms)
{
    struct controller *c = calloc(1, sizeof(*c));
    if (c == NULL) {
        if (backend != NULL) {
            backend->destroy(backend);
        }
        return NULL;
    }
    c->env = *env;
    c->identity = *identity;
    c->wall_offset_ms = wall_offset_ms;
    c->now_ms = now_ms;
    c->push_refill_ms = now_ms;
    c->expiry_next_ms = INT64_MAX;
    env->random(env->ctx, &c->seed, sizeof(c->seed));
    model_init(&c->model, c->seed);
    hmap_init(&c->outboxes, hash_mix(1, c->seed));
    timers_init(&c->timers);
    list_init(&c->waiting);
    list_init(&c->changed);
    list_init(&c->push_queue);
    list_init(&c->farewells);
    list_init(&c->listings);
    list_init(&c->repeats);
    strangers_init(c);
    c->state = CONTROLLER_RUNNING;
    if (backend == NULL) {
        c->eventlog = eventlog_new(c->seed);
        c->hooks = hooks_new();
        if (c->eventlog == NULL || c->hooks == NULL) {
            controller_free(c, now_ms);
            return NULL;
        }
        eventlog_start(c->eventlog, c, now_ms);
        hooks_start(c->hooks, c, now_ms);
        return c;
    }
    c->state = CONTROLLER_LOADING;
    c->loader = loader_new(c, now_ms);
    if (c->loader == NULL) {
        backend->destroy(backend);
        controller_free(c, now_ms);
        return NULL;
    }
    c->store = store_new(backend, load_document, c->loader, env->wake, env->ctx);
    if (c->store == NULL) {
        controller_free(c, now_ms);
        return NULL;
    }
    return c;
}

/* Write what the next start profits from: when members were last seen, the exact time stamp. */
static void save_last(struct controller *c, int64_t now_ms)
{
    struct cmember *m = NULL;
    while ((m = model_next_member(&c->model, m)) != NULL) {
        if (m->authorized && m->last_request_ms != INT64_MIN &&
            (m->runtime_changed || m->last_request_ms > m->runtime_saved_ms)) {
            request_save_runtime(c, m, now_ms);
        }
    }
    if (c->last_ts > 0) {
        (void)controller_save_timestamp(c, c->last_ts, NULL, NULL);
    }
}

void controller_free(struct controller *c, int64_t now_ms)
{
    if (c == NULL) {
        return;
    }
    c->now_ms = now_ms;
    if (c->store != NULL) {
        if (c->state == CONTROLLER_RUNNING) {
            strangers_save_all(c);
            save_last(c, now_ms);
        }
        c->stopping = true;
        int error = store_free(c->store);
        if (error != 0 && c->state == CONTROLLER_RUNNING) {
            controller_log(c, LOG_LEVEL_ERROR, "controller: last changes were not stored: %s",
                           strerror(-error));
        }
        c->store = NULL;
    }
    c->state = CONTROLLER_FAILED;
    serve_waiting(c, now_ms);
    loader_free(c->loader);
    api_list_done(c);
    revoke_done(c);
    reuse_done(c);
    sso_done(c);
    timers_done(&c->timers);
    eventlog_free(c->eventlog);
    hooks_free(c->hooks);
    model_done(&c->model);
    identity_wipe(&c->identity);
    free(c);
}

void controller_set_wall_offset(struct controller *c, int64_t wall_offset_ms)
{
    c->wall_offset_ms = wall_offset_ms;
    hooks_run(c, c->now_ms);
}

enum controller_state controller_get_state(const struct controller *c, const char **ret_reason)
{
    if (ret_reason != NULL) {
        bool has = c->state != CONTROLLER_RUNNING && c->reason[0] != '\0';
        *ret_reason = has ? c->reason : NULL;
    }
    return c->state;
}

bool controller_wait(struct controller *c, int timeout_ms)
{
    return c->store != NULL && store_wait(c->store, timeout_ms);
}

int64_t controller_tick(struct controller *c, int64_t now_ms)
{
    c->now_ms = now_ms;
    if (controller_is_shared(c) && c->loader == NULL) {
        share_reserve(c, now_ms);
        if (!controller_serves(c)) {
            return controller_deadline(c);
        }
    }
    timers_run(&c->timers, now_ms);
    expiry_run(c, now_ms);
    push_run(c, now_ms);
    return controller_deadline(c);
}

/* The earlier of two deadlines, of which -1 is none. */
static int64_t earlier(int64_t a, int64_t b)
{
    if (a < 0 || b < 0) {
        return a < 0 ? b : a;
    }
    return a < b ? a : b;
}

int64_t controller_deadline(const struct controller *c)
{
    int64_t own = earlier(earlier(timers_next(&c->timers), push_deadline(c)), expiry_deadline(c));
    if (!controller_is_shared(c)) {
        return own;
    }
    int64_t share = share_deadline(c);
    return share < 0 ? -1 : earlier(share, own);
}

void controller_backup(struct controller *c, const char *path, void (*done)(void *ctx, int error),
                       void *ctx)
{
    if (c->store == NULL || controller_is_shared(c)) {
        done(ctx, -EOPNOTSUPP);
    } else if (c->state != CONTROLLER_RUNNING) {
        done(ctx, -EAGAIN);
    } else {
        store_backup(c->store, path, done, ctx);
    }
}

void controller_get_counts(const struct controller *c, struct controller_counts *ret)
{
    *ret = c->counts;
    ret->networks = c->model.networks.count;
    ret->members = c->model.members;
    ret->store_failures = c->store != NULL ? store_failures(c->store) : 0;
    ret->store_backlog = c->store != NULL ? store_backlog(c->store) : 0;
}
