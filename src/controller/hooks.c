/* Webhooks and their deliveries in memory and as documents; the bounds of the queues. */
#include "controller/hooks.h"

#include "base/hex.h"
#include "controller/controller_priv.h"
#include "controller/network_doc.h"

#include <errno.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>

static const char *const state_names[] = {
    [DELIVERY_PENDING] = "pending",
    [DELIVERY_DONE] = "delivered",
    [DELIVERY_FAILED] = "failed",
    [DELIVERY_DROPPED] = "dropped",
};

/* ---- life ---- */

struct hooks *hooks_new(void)
{
    struct hooks *hooks = calloc(1, sizeof(*hooks));
    if (hooks != NULL) {
        list_init(&hooks->list);
    }
    return hooks;
}

static void unfile(struct delivery *d)
{
    struct hook *hook = d->hook;
    list_remove(&d->link);
    if (d->state == DELIVERY_PENDING) {
        hook->pending_count--;
        hook->pending_anyone -= d->anyone ? 1 : 0;
    } else {
        hook->finished_count--;
    }
}

static void delivery_free(struct delivery *d)
{
    struct hook *hook = d->hook;
    unfile(d);
    hook->bytes -= d->len;
    if (hook->in_flight == d) {
        hook->in_flight = NULL;
    }
    json_decref(d->tries);
    free(d->body);
    free(d);
}

static void free_deliveries(struct list *head)
{
    struct list *link;
    while ((link = list_first(head)) != NULL) {
        delivery_free(CONTAINER_OF(link, struct delivery, link));
    }
}

void hook_free(struct hooks *hooks, struct hook *hook)
{
    free_deliveries(&hook->pending);
    free_deliveries(&hook->finished);
    list_remove(&hook->link);
    hooks->count--;
    sodium_memzero(hook->secrets, sizeof(hook->secrets));
    free(hook->url);
    free(hook->description);
    free(hook);
}

void hooks_free(struct hooks *hooks)
{
    if (hooks == NULL) {
        return;
    }
    struct list *link;
    while ((link = list_first(&hooks->list)) != NULL) {
        hook_free(hooks, CONTAINER_OF(link, struct hook, link));
    }
    free(hooks);
}

int hook_new(struct hooks *hooks, uint64_t id, struct hook **ret)
{
    struct hook *hook = calloc(1, sizeof(*hook));
    if (hook == NULL) {
        return -ENOMEM;
    }
    hook->id = id;
    list_init(&hook->pending);
    list_init(&hook->finished);
    list_push(&hooks->list, &hook->link);
    hooks->count++;
    hooks->last_id = id > hooks->last_id ? id : hooks->last_id;
    *ret = hook;
    return 0;
}

struct hook *hooks_find(const struct hooks *hooks, uint64_t id)
{
    for (struct list *it = hooks->list.next; it != &hooks->list; it = it->next) {
        struct hook *hook = CONTAINER_OF(it, struct hook, link);
        if (hook->id == id) {
            return hook;
        }
    }
    return NULL;
}

static struct delivery *find_in(const struct list *head, uint64_t id)
{
    for (struct list *it = head->next; it != head; it = it->next) {
        struct delivery *d = CONTAINER_OF(it, struct delivery, link);
        if (d->id == id) {
            return d;
        }
    }
    return NULL;
}

struct delivery *hook_find_delivery(const struct hook *hook, uint64_t id)
{
    struct delivery *d = find_in(&hook->pending, id);
    return d != NULL ? d : find_in(&hook->finished, id);
}

uint64_t hooks_next_id(struct hooks *hooks, int64_t wall_ms)
{
    uint64_t id = wall_ms > 0 ? (uint64_t)wall_ms * 1000 : 1;
    hooks->last_id = id > hooks->last_id ? id : hooks->last_id + 1;
    return hooks->last_id;
}

/* ---- a delivery as a document ---- */

static void set_hex(json_t *obj, const char *key, uint64_t id)
{
    char text[17];
    hex_from_u64(id, 16, text);
    json_object_set_new(obj, key, json_string(text));
}

int delivery_put(struct store_tx *tx, const struct delivery *d)
{
    json_t *doc = json_pack("{sssssbsisIsIsOss*}", "type", hook_type_name(d->type), "state",
                            state_names[d->state], "anyone", (int)d->anyone, "attempts",
                            (int)d->attempts, "at", (json_int_t)d->at_ms, "next",
                            (json_int_t)d->next_ms, "tries", d->tries, "body", d->body);
    if (doc != NULL) {
        set_hex(doc, "hook", d->hook->id);
    }
    char *text = doc != NULL ? doc_text(doc) : NULL;
    json_decref(doc);
    return text != NULL ? store_tx_put(tx, STORE_DELIVERY, d->id, 0, text) : -ENOMEM;
}

json_t *delivery_json(const struct delivery *d, bool with_body)
{
    const json_t *last = json_array_get(d->tries, json_array_size(d->tries) - 1);
    json_t *doc = json_pack("{sssssIsisOsO*sO*sO*}", "type", hook_type_name(d->type), "state",
                            state_names[d->state], "created", (json_int_t)d->at_ms, "attempt",
                            (int)d->attempts, "attempts", d->tries, "time",
                            json_object_get(last, "at"), "status", json_object_get(last, "status"),
                            "error", json_object_get(last, "error"));
    if (doc == NULL) {
        return NULL;
    }
    set_hex(doc, "id", d->id);
    set_hex(doc, "hook", d->hook->id);
    json_object_set_new(doc, "next",
                        d->state == DELIVERY_PENDING ? json_integer(d->next_ms) : json_null());
    if (with_body) {
        json_object_set_new(doc, "body", d->body != NULL ? json_string(d->body) : json_null());
    }
    return doc;
}

static bool read_name(const json_t *doc, const char *key, const char *const *names, size_t count,
                      unsigned *ret)
{
    const char *text = json_string_value(json_object_get(doc, key));
    for (unsigned i = 0; text != NULL && i < count; i++) {
        if (strcmp(text, names[i]) == 0) {
            *ret = i;
            return true;
        }
    }
    return false;
}

static bool read_type(const json_t *doc, enum hook_type *ret)
{
    const char *text = json_string_value(json_object_get(doc, "type"));
    for (int i = 0; text != NULL && i < HOOK_TYPES; i++) {
        if (strcmp(text, hook_type_name((enum hook_type)i)) == 0) {
            *ret = (enum hook_type)i;
            return true;
        }
    }
    return false;
}

/* Put it where its state says, last. */
static void file(struct delivery *d)
{
    struct hook *hook = d->hook;
    if (d->state == DELIVERY_PENDING) {
        list_push(&hook->pending, &d->link);
        hook->pending_count++;
        hook->pending_anyone += d->anyone ? 1 : 0;
    } else {
        list_push(&hook->finished, &d->link);
        hook->finished_count++;
    }
}

/* A new one (body taken in every case), not yet filed. NULL out of memory. */
static struct delivery *delivery_new(struct hook *hook, uint64_t id, char *body)
{
    struct delivery *d = calloc(1, sizeof(*d));
    json_t *tries = json_array();
    if (d == NULL || tries == NULL) {
        free(d);
        json_decref(tries);
        free(body);
        return NULL;
    }
    list_init(&d->link);
    d->hook = hook;
    d->id = id;
    d->tries = tries;
    d->body = body;
    d->len = body != NULL ? strlen(body) : 0;
    hook->bytes += d->len;
    return d;
}

int hooks_load_delivery(struct hooks *hooks, uint64_t id, const json_t *doc)
{
    const char *hook_text = json_string_value(json_object_get(doc, "hook"));
    const char *body = json_string_value(json_object_get(doc, "body"));
    const json_t *tries = json_object_get(doc, "tries");
    uint64_t hook_id = 0;
    unsigned state = 0;
    enum hook_type type;
    if (hook_text == NULL || hex_to_u64(hook_text, strlen(hook_text), 16, &hook_id) != 0 ||
        !read_name(doc, "state", state_names, COUNT_OF(state_names), &state) ||
        !read_type(doc, &type) || (body == NULL && state == DELIVERY_PENDING)) {
        return -EINVAL;
    }
    struct hook *hook = hooks_find(hooks, hook_id);
    if (hook == NULL) {
        return -ENOENT;
    }
    char *copy = body != NULL ? strdup(body) : NULL;
    struct delivery *d = body == NULL || copy != NULL ? delivery_new(hook, id, copy) : NULL;
    if (d == NULL) {
        return -ENOMEM;
    }
    d->type = type;
    d->state = (enum delivery_state)state;
    d->anyone = json_is_true(json_object_get(doc, "anyone"));
    d->attempts = (unsigned)json_integer_value(json_object_get(doc, "attempts"));
    d->at_ms = json_integer_value(json_object_get(doc, "at"));
    d->next_ms = json_integer_value(json_object_get(doc, "next"));
    if (json_is_array(tries)) {
        (void)json_array_extend(d->tries, (json_t *)(uintptr_t)tries);
    }
    file(d);
    hooks->last_id = id > hooks->last_id ? id : hooks->last_id;
    return 0;
}

int hooks_load(struct hooks *hooks, uint64_t id, const json_t *doc)
{
    struct hook *hook = NULL;
    int error = hook_new(hooks, id, &hook);
    if (error == 0) {
        error = hook_from_json(hook, doc);
        if (error != 0) {
            hook_free(hooks, hook);
        }
    }
    return error;
}

/* ---- the queue ---- */

/* Returns 0; -ENOMEM. */
static int forget(struct delivery *d, struct store_tx *tx)
{
    int error = tx != NULL ? store_tx_put(tx, STORE_DELIVERY, d->id, 0, NULL) : 0;
    if (error == 0) {
        delivery_free(d);
    }
    return error;
}

static struct delivery *first_of(const struct list *head)
{
    struct list *link = list_first(head);
    return link != NULL ? CONTAINER_OF(link, struct delivery, link) : NULL;
}

/* Finished ones that are too many go. Returns 0; -ENOMEM. */
static int trim_finished(struct hook *hook, struct store_tx *tx)
{
    int error = 0;
    while (error == 0 && (hook->finished_count > HOOK_KEPT ||
                          (hook->finished_count > 0 && hook->bytes > HOOK_QUEUE_BYTES))) {
        error = forget(first_of(&hook->finished), tx);
    }
    return error;
}

int delivery_finish(struct delivery *d, enum delivery_state state, struct store_tx *tx)
{
    struct hook *hook = d->hook;
    unfile(d);
    d->state = state;
    if (hook->in_flight == d) {
        hook->in_flight = NULL;
    }
    if (state == DELIVERY_DROPPED) {
        hook->bytes -= d->len;
        d->len = 0;
        free(d->body);
        d->body = NULL;
    }
    file(d);
    int error = tx != NULL ? delivery_put(tx, d) : 0;
    return error != 0 ? error : trim_finished(hook, tx);
}

void delivery_requeue(struct delivery *d, int64_t wall_ms)
{
    unfile(d);
    if (d->state != DELIVERY_PENDING) {
        d->state = DELIVERY_PENDING;
        d->attempts = 0;
    }
    d->next_ms = wall_ms;
    file(d);
}

/* The oldest one that waits and is not under way; anyone: of that share only. */
static struct delivery *oldest_waiting(const struct hook *hook, bool anyone)
{
    for (struct list *it = hook->pending.next; it != &hook->pending; it = it->next) {
        struct delivery *d = CONTAINER_OF(it, struct delivery, link);
        if (d != hook->in_flight && (d->anyone || !anyone)) {
            return d;
        }
    }
    return NULL;
}

/* Which one must go so that there is room for what was queued last, NULL none. */
static struct delivery *surplus(const struct hook *hook)
{
    if (hook->pending_anyone > HOOK_QUEUE_ANYONE) {
        return oldest_waiting(hook, true);
    }
    if (hook->pending_count > HOOK_QUEUE_MAX || hook->bytes > HOOK_QUEUE_BYTES) {
        struct delivery *d = oldest_waiting(hook, true);
        return d != NULL ? d : oldest_waiting(hook, false);
    }
    return NULL;
}

static int note_overflow(struct controller *c, struct store_tx *tx, struct hook *hook,
                         const struct delivery *d, int64_t now_ms)
{
    if (hook->overflow) {
        return 0;
    }
    hook->overflow = true;
    controller_log(c, LOG_LEVEL_WARN, "controller: a webhook's queue is full, id=%016llx",
                   (unsigned long long)hook->id);
    json_t *after = delivery_json(d, false);
    struct note note = {
        .type = NOTE_HOOK_DROPPED, .object = hook->id, .anyone = d->anyone, .after = after};
    int error = after != NULL ? note_add(c, tx, &note, now_ms) : -ENOMEM;
    json_decref(after);
    return error;
}

/* Returns 0; -ENOMEM. */
static int make_room(struct controller *c, struct store_tx *tx, struct hook *hook, int64_t now_ms)
{
    int error = trim_finished(hook, tx);
    struct delivery *d;
    while (error == 0 && (d = surplus(hook)) != NULL) {
        error = note_overflow(c, tx, hook, d, now_ms);
        if (error == 0) {
            error = delivery_finish(d, DELIVERY_DROPPED, tx);
        }
    }
    return error;
}

int hook_queue(struct controller *c, struct store_tx *tx, struct hook *hook, enum hook_type type,
               bool anyone, char *body, struct delivery **ret, int64_t now_ms)
{
    int64_t wall_ms = controller_wall(c, now_ms);
    struct delivery *d = delivery_new(hook, hooks_next_id(c->hooks, wall_ms), body);
    if (d == NULL) {
        return -ENOMEM;
    }
    d->type = type;
    d->anyone = anyone;
    d->at_ms = wall_ms;
    d->next_ms = wall_ms;
    d->order = ++c->hooks->order;
    file(d);
    if (hook->pending_count < HOOK_QUEUE_MAX / 2 && hook->pending_anyone < HOOK_QUEUE_ANYONE / 2) {
        hook->overflow = false;
    }
    if (ret != NULL) {
        *ret = d;
    }
    int error = tx != NULL ? delivery_put(tx, d) : 0;
    return error != 0 ? error : make_room(c, tx, hook, now_ms);
}
