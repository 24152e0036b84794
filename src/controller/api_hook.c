/* Webhooks in the JSON API. Source: spec 04 sections 6.6, 10.6. */
#include "base/hex.h"
#include "controller/api_priv.h"
#include "controller/hooks.h"

#include <errno.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>

enum { NEW_SECRET_LEN = 32 };

/* For people: secrets are only counted, unless they are shown for once. */
static json_t *shown(const struct hook *hook, bool with_secrets)
{
    json_t *doc = hook_json(hook);
    json_t *secrets = json_object_get(doc, "secrets");
    for (size_t i = 0; !with_secrets && i < json_array_size(secrets); i++) {
        json_array_set_new(secrets, i, json_string(HOOK_MASK));
    }
    if (doc != NULL) {
        json_object_set_new(doc, "pending", json_integer((json_int_t)hook->pending_count));
    }
    return doc;
}

static int put(struct store_tx *tx, const struct hook *hook)
{
    json_t *doc = hook_json(hook);
    char *text = doc != NULL ? doc_text(doc) : NULL;
    json_decref(doc);
    return text != NULL ? store_tx_put(tx, STORE_HOOK, hook->id, 0, text) : -ENOMEM;
}

/* Add the note of a change of a webhook. Returns 0; -ENOMEM. */
static int note_hook(struct call *call, struct store_tx *tx, enum note_type type, uint64_t id,
                     const json_t *before, const json_t *after)
{
    struct note note = {
        .type = type, .actor = call->actor, .object = id, .before = before, .after = after};
    return note_add(call->c, tx, &note, call->now_ms);
}

/* ---- the set ---- */

static void list_hooks(struct call *call)
{
    const struct hooks *hooks = call->c->hooks;
    json_t *data = json_array();
    for (struct list *it = hooks->list.next; it != &hooks->list; it = it->next) {
        json_array_append_new(data, shown(CONTAINER_OF(it, struct hook, link), false));
    }
    api_answer(call, 200, json_pack("{so}", "data", data));
}

/* A secret for who names none. */
static json_t *random_secret(struct controller *c)
{
    uint8_t bytes[NEW_SECRET_LEN];
    char text[2 * NEW_SECRET_LEN + 1];
    c->env.random(c->env.ctx, bytes, sizeof(bytes));
    hex_encode(bytes, sizeof(bytes), text);
    json_t *list = json_pack("[s]", text);
    sodium_memzero(bytes, sizeof(bytes));
    sodium_memzero(text, sizeof(text));
    return list;
}

/* Make doc (borrowed) the settings of a webhook, store and answer it. before: NULL if it is new. */
static void put_hook(struct call *call, struct hook *hook, const json_t *before, const json_t *doc,
                     bool with_secrets)
{
    struct after after = {0};
    struct store_tx *tx = store_tx_new();
    int error = tx != NULL ? hook_from_json(hook, doc) : -ENOMEM;
    if (error == 0) {
        error = put(tx, hook);
    }
    if (error == 0) {
        error = note_hook(call, tx, before != NULL ? NOTE_HOOK_CHANGED : NOTE_HOOK_CREATED,
                          hook->id, before, doc);
    }
    if (error != 0) {
        store_tx_free(tx);
        if (before == NULL) {
            hook_free(call->c->hooks, hook);
        }
        api_error(call, error == -EINVAL ? 400 : 500,
                  error == -EINVAL ? "unusable settings" : "out of memory");
        return;
    }
    api_commit(call, tx, shown(hook, with_secrets), &after);
    hooks_run(call->c, call->now_ms);
}

static void create_hook(struct call *call)
{
    struct controller *c = call->c;
    if (c->hooks->count >= HOOKS_MAX) {
        api_error(call, 409, "there are as many webhooks as can be");
        return;
    }
    bool given = json_object_get(call->body, "secrets") != NULL;
    int64_t wall_ms = controller_wall(c, call->now_ms);
    json_t *doc = json_pack("{sss[]sbsI}", "description", "", "types", "enabled", 1, "created",
                            (json_int_t)wall_ms);
    hook_doc_edit(&call->edit, doc, call->body);
    if (!given && doc != NULL) {
        edit_set(&call->edit, doc, "secrets", random_secret(c));
    }
    struct hook *hook = NULL;
    if (doc == NULL) {
        api_error(call, 500, "out of memory");
    } else if (!api_refused(call)) {
        if (hook_new(c->hooks, hooks_next_id(c->hooks, wall_ms), &hook) != 0) {
            api_error(call, 500, "out of memory");
        } else {
            put_hook(call, hook, NULL, doc, !given);
        }
    }
    json_decref(doc);
}

static void edit_hook(struct call *call, struct hook *hook)
{
    json_t *before = hook_json(hook);
    json_t *doc = before != NULL ? json_deep_copy(before) : NULL;
    if (doc == NULL) {
        api_error(call, 500, "out of memory");
    } else {
        hook_doc_edit(&call->edit, doc, call->body);
        if (!api_refused(call)) {
            if (json_equal(before, doc)) {
                api_answer(call, 200, shown(hook, false));
            } else {
                put_hook(call, hook, before, doc, false);
            }
        }
    }
    json_decref(before);
    json_decref(doc);
}

/* Its deliveries go with it. */
static int delete_all(struct store_tx *tx, const struct hook *hook)
{
    const struct list *heads[] = {&hook->pending, &hook->finished};
    int error = store_tx_put(tx, STORE_HOOK, hook->id, 0, NULL);
    for (size_t i = 0; i < COUNT_OF(heads); i++) {
        for (struct list *it = heads[i]->next; it != heads[i] && error == 0; it = it->next) {
            uint64_t id = CONTAINER_OF(it, struct delivery, link)->id;
            error = store_tx_put(tx, STORE_DELIVERY, id, 0, NULL);
        }
    }
    return error;
}

static void delete_hook(struct call *call, struct hook *hook)
{
    struct after after = {0};
    struct store_tx *tx = store_tx_new();
    json_t *doc = hook_json(hook);
    json_t *answer = shown(hook, false);
    int error = tx != NULL && doc != NULL ? delete_all(tx, hook) : -ENOMEM;
    if (error == 0) {
        error = note_hook(call, tx, NOTE_HOOK_DELETED, hook->id, doc, NULL);
    }
    json_decref(doc);
    if (error != 0) {
        store_tx_free(tx);
        json_decref(answer);
        api_error(call, 500, "out of memory");
        return;
    }
    hook_free(call->c->hooks, hook);
    api_commit(call, tx, answer, &after);
}

/* ---- deliveries ---- */

/* Commit tx (taken) with the note, answer the delivery. */
static void commit_delivery(struct call *call, struct store_tx *tx, const struct delivery *d,
                            enum note_type type, int error)
{
    struct after after = {0};
    json_t *answer = delivery_json(d, false);
    if (error == 0) {
        error = answer != NULL ? note_hook(call, tx, type, d->hook->id, NULL, answer) : -ENOMEM;
    }
    if (error != 0) {
        store_tx_free(tx);
        json_decref(answer);
        api_error(call, 500, "out of memory");
        return;
    }
    api_commit(call, tx, answer, &after);
    hooks_run(call->c, call->now_ms);
}

static void test_hook(struct call *call, struct hook *hook)
{
    if (!hook->enabled) {
        api_error(call, 409, "the webhook is not enabled");
        return;
    }
    struct delivery *d = NULL;
    struct store_tx *tx = store_tx_new();
    char *body = hook_test_body(call->c, hook);
    int error = tx != NULL && body != NULL ? 0 : -ENOMEM;
    if (error == 0) {
        error = hook_queue(call->c, tx, hook, HOOK_TEST, false, body, &d, call->now_ms);
    } else {
        free(body);
    }
    if (d == NULL) {
        store_tx_free(tx);
        api_error(call, 500, "out of memory");
        return;
    }
    commit_delivery(call, tx, d, NOTE_HOOK_TESTED, error);
}

static void retry(struct call *call, struct delivery *d)
{
    if (d->body == NULL) {
        api_error(call, 409, "the delivery was dropped, its body is gone");
        return;
    }
    if (d->hook->in_flight == d) {
        api_error(call, 409, "the delivery is under way");
        return;
    }
    delivery_requeue(d, controller_wall(call->c, call->now_ms));
    struct store_tx *tx = store_tx_new();
    commit_delivery(call, tx, d, NOTE_HOOK_RETRIED, tx != NULL ? delivery_put(tx, d) : -ENOMEM);
}

/* All that is known, newest first. */
static void list_deliveries(struct call *call, const struct hook *hook)
{
    json_t *data = json_array();
    const struct list *a = hook->pending.prev;
    const struct list *b = hook->finished.prev;
    char text[32];
    size_t limit = SIZE_MAX;
    if (api_query(call, "limit", text, sizeof(text))) {
        limit = strtoul(text, NULL, 10);
    }
    while ((a != &hook->pending || b != &hook->finished) && json_array_size(data) < limit) {
        bool first = b == &hook->finished ||
                     (a != &hook->pending && CONTAINER_OF(a, struct delivery, link)->id >
                                                 CONTAINER_OF(b, struct delivery, link)->id);
        const struct delivery *d = CONTAINER_OF(first ? a : b, struct delivery, link);
        a = first ? a->prev : a;
        b = first ? b : b->prev;
        json_array_append_new(data, delivery_json(d, false));
    }
    api_answer(call, 200,
               json_pack("{sos{sIsI}}", "data", data, "meta", "pending",
                         (json_int_t)hook->pending_count, "finished",
                         (json_int_t)hook->finished_count));
}

/* ---- routes ---- */

void api_hooks(struct call *call)
{
    if (call->read) {
        list_hooks(call);
    } else if (!call->write) {
        api_empty(call, 404);
    } else if (api_parse_body(call)) {
        create_hook(call);
    }
}

void api_hook(struct call *call, uint64_t id)
{
    struct hook *hook = hooks_find(call->c->hooks, id);
    if (hook == NULL) {
        api_empty(call, 404);
    } else if (call->read) {
        api_answer(call, 200, shown(hook, false));
    } else if (call->remove) {
        delete_hook(call, hook);
    } else if (!call->write) {
        api_empty(call, 404);
    } else if (api_parse_body(call)) {
        edit_hook(call, hook);
    }
}

void api_hook_test(struct call *call, uint64_t id)
{
    struct hook *hook = hooks_find(call->c->hooks, id);
    if (hook == NULL || !call->write) {
        api_empty(call, 404);
    } else {
        test_hook(call, hook);
    }
}

void api_hook_deliveries(struct call *call, uint64_t id)
{
    const struct hook *hook = hooks_find(call->c->hooks, id);
    if (hook == NULL || !call->read) {
        api_empty(call, 404);
    } else {
        list_deliveries(call, hook);
    }
}

void api_hook_delivery(struct call *call, uint64_t id, uint64_t delivery, bool again)
{
    const struct hook *hook = hooks_find(call->c->hooks, id);
    struct delivery *d = hook != NULL ? hook_find_delivery(hook, delivery) : NULL;
    if (d == NULL || (again ? !call->write : !call->read)) {
        api_empty(call, 404);
    } else if (again) {
        retry(call, d);
    } else {
        api_answer(call, 200, delivery_json(d, true));
    }
}
