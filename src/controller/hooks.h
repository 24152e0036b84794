/* Webhooks: who is to be told what, the outbox of what they were not told yet, and when each of it
 * is tried. A delivery is written in the transaction of the change that it tells of, leaves for the
 * network after that is committed, and is tried up to ten times, over restarts (CTL-104, CTL-106).
 * Bounded per webhook; what anyone can cause has its own share. Source: spec 04 sections 6.6, 11
 * (webhook, outbox, delivery). */
#pragma once

#include "base/attr.h"
#include "base/list.h"
#include "base/timers.h"
#include "controller/coerce.h"
#include "controller/note.h"

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum hook_type {
    HOOK_NETWORK_JOIN,
    HOOK_NETWORK_AUTH,
    HOOK_NETWORK_DEAUTH,
    HOOK_NETWORK_SSO_LOGIN,
    HOOK_NETWORK_SSO_LOGIN_ERROR,
    HOOK_NETWORK_CREATED,
    HOOK_NETWORK_CONFIG_CHANGED,
    HOOK_NETWORK_DELETED,
    HOOK_MEMBER_CONFIG_CHANGED,
    HOOK_MEMBER_DELETED,
    HOOK_ORG_INVITE_SENT,
    HOOK_ORG_INVITE_ACCEPTED,
    HOOK_ORG_INVITE_REJECTED,
    HOOK_ORG_MEMBER_REMOVED,
    HOOK_TYPES_REAL,
    HOOK_TEST = HOOK_TYPES_REAL, /* by hand only */
    HOOK_TYPES,
};

enum {
    HOOKS_MAX = 32,
    HOOK_SECRETS_MAX = 4,
    HOOK_SECRET_MIN = 16, /* bytes */
    HOOK_SECRET_MAX = 64,
    HOOK_URL_MAX = 2048,
    HOOK_DESCRIPTION_MAX = 1024,
    HOOK_QUEUE_MAX = 1000,       /* deliveries that wait, of one webhook */
    HOOK_QUEUE_ANYONE = 250,     /* of them caused by whoever likes to */
    HOOK_QUEUE_BYTES = 8 << 20,  /* of bodies that wait or are kept */
    HOOK_BODY_MAX = 1 << 20,     /* beyond that a body has null for its configurations */
    HOOK_KEPT = 100,             /* finished deliveries kept for the log, of one webhook */
    HOOK_ATTEMPTS_MAX = 10,      /* CTL-106 */
    HOOK_PAUSE_FIRST_MS = 60000, /* after the first failure, then doubling */
    HOOK_PAUSE_MAX_MS = 3600000,
    HOOK_SIGNATURE_LEN = 32 + HOOK_SECRETS_MAX * 72, /* buffer for hook_sign */
};

enum delivery_state { DELIVERY_PENDING, DELIVERY_DONE, DELIVERY_FAILED, DELIVERY_DROPPED };

struct hook;

/* One webhook and one thing to tell it. */
struct delivery {
    struct list link; /* in hook.pending or hook.finished, oldest first */
    struct hook *hook;
    uint64_t id; /* ascending */
    enum hook_type type;
    enum delivery_state state;
    bool anyone;       /* see struct note */
    unsigned attempts; /* made since it was queued or retried by hand */
    int64_t at_ms;     /* wall clock, as all times here */
    int64_t next_ms;   /* when it is to be tried, while PENDING */
    uint64_t order;    /* of its making; it may leave once hooks.committed reaches it */
    json_t *tries;     /* {"at","status","error"} of each attempt */
    char *body;        /* NULL: dropped */
    size_t len;
};

struct hook_secret {
    uint8_t bytes[HOOK_SECRET_MAX];
    size_t len;
};

struct hook {
    struct list link; /* in hooks.list, in the order of IDs */
    uint64_t id;
    char *url;
    char *description;
    uint32_t types; /* bits of enum hook_type, 0 all */
    bool enabled;
    bool overflow; /* it was noted that deliveries are dropped */
    int64_t created_ms;
    struct hook_secret secrets[HOOK_SECRETS_MAX];
    size_t secret_count;
    struct list pending;
    struct list finished;
    size_t pending_count;
    size_t pending_anyone;
    size_t finished_count;
    size_t bytes;               /* of all bodies */
    struct delivery *in_flight; /* being posted, or NULL; also in pending */
};

struct hooks {
    struct list list;
    size_t count;
    uint64_t last_id;       /* of webhooks and deliveries */
    uint64_t order;         /* of the delivery made last */
    uint64_t covered;       /* up to here a commit is awaited */
    uint64_t committed;     /* up to here all is in the store */
    int64_t retry_after_ms; /* the host took no post: not before this */
    struct timer timer;
    struct controller *c;
};

/* ---- hooks.c: what there is ---- */

/* Empty set on the heap, NULL out of memory. */
struct hooks *hooks_new(void);
void hooks_free(struct hooks *hooks);

/* Stored documents, while loading: all webhooks before all deliveries. Return 0; -EINVAL unusable;
 * -ENOENT a delivery of a webhook that is gone; -ENOMEM. */
MUST_CHECK int hooks_load(struct hooks *hooks, uint64_t id, const json_t *doc);
MUST_CHECK int hooks_load_delivery(struct hooks *hooks, uint64_t id, const json_t *doc);

struct hook *hooks_find(const struct hooks *hooks, uint64_t id);
struct delivery *hook_find_delivery(const struct hook *hook, uint64_t id);

/* An ID above all others, near the wall clock. */
uint64_t hooks_next_id(struct hooks *hooks, int64_t wall_ms);

/* Add one without settings; remove it. Returns 0; -ENOMEM. */
MUST_CHECK int hook_new(struct hooks *hooks, uint64_t id, struct hook **ret);
void hook_free(struct hooks *hooks, struct hook *hook);

/* Document of a webhook with its secrets, as stored. A new reference, NULL out of memory. */
json_t *hook_json(const struct hook *hook);

/* Set all from such a document. Returns 0; -EINVAL; -ENOMEM (unchanged). */
MUST_CHECK int hook_from_json(struct hook *hook, const json_t *doc);

/* Apply a posted body to a document; mistakes fail the edit with 400. */
void hook_doc_edit(struct edit *e, json_t *doc, const json_t *body);

/* What stands for a secret that is not shown. */
#define HOOK_MASK "********"

/* Names as on the wire, "NETWORK_JOIN". */
const char *hook_type_name(enum hook_type type);

/* ---- outbox ---- */

/* Append a delivery with a body (malloc'd, taken) and what falls out for it, to memory and, unless
 * NULL, to tx. *ret may be NULL. Returns 0; -ENOMEM. */
MUST_CHECK int hook_queue(struct controller *c, struct store_tx *tx, struct hook *hook,
                          enum hook_type type, bool anyone, char *body, struct delivery **ret,
                          int64_t now_ms);

/* Put a delivery into a transaction as it is now. Returns 0; -ENOMEM. */
MUST_CHECK int delivery_put(struct store_tx *tx, const struct delivery *d);

/* End it in this state (not PENDING) and drop the oldest finished ones beyond what is kept, in tx
 * too unless NULL. Returns 0; -ENOMEM. */
MUST_CHECK int delivery_finish(struct delivery *d, enum delivery_state state, struct store_tx *tx);

/* A finished one waits again, to be tried from the start, at once. */
void delivery_requeue(struct delivery *d, int64_t wall_ms);

/* For people: without its body unless asked for. A new reference, NULL out of memory. */
json_t *delivery_json(const struct delivery *d, bool with_body);

/* ---- hook_event.c: what a note means to them ---- */

/* Queue a delivery for each webhook that wants to know of the note. Returns 0; -ENOMEM. */
MUST_CHECK int hooks_note(struct controller *c, struct store_tx *tx, const struct note *note,
                          int64_t now_ms);

/* Body of a test. malloc'd, NULL out of memory. */
char *hook_test_body(const struct controller *c, const struct hook *hook);

/* ---- hook_post.c: when and how ---- */

/* Everything is loaded. */
void hooks_start(struct hooks *hooks, struct controller *c, int64_t now_ms);

/* A transaction was handed to the store: see to it that what is new may leave once it is
 * committed. */
void hooks_submitted(struct controller *c);

/* Send what is due, and arrange for the next time. */
void hooks_run(struct controller *c, int64_t now_ms);

/* Value of the signature header: "t=...,v1=...,v2=...". */
void hook_sign(const struct hook *hook, int64_t unix_s, const void *body, size_t len,
               char out[HOOK_SIGNATURE_LEN]);

/* Pause after so many failed attempts (at least 1). */
int64_t hook_pause_ms(unsigned attempts);
