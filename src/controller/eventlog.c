/* Entries of the log: bounds, order, search. */
#include "controller/eventlog.h"

#include "base/hex.h"
#include "controller/controller_priv.h"
#include "controller/network_doc.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define DAY_MS (INT64_C(24) * 3600 * 1000)

enum {
    EXPIRE_GAP_MS = 60000, /* between two looks for entries that are too old */
    FORGET_MAX = 10000,    /* entries removed by one transaction at the start */
};

const struct log_bounds eventlog_bounds[LOG_CLASSES] = {
    [LOG_CLASS_ADMIN] = {.count = 20000, .bytes = 32 << 20, .age_ms = 400 * DAY_MS},
    [LOG_CLASS_PROTOCOL] = {.count = 20000, .bytes = 12 << 20, .age_ms = 400 * DAY_MS},
    [LOG_CLASS_ANYONE] = {.count = 2000, .bytes = 1 << 20, .age_ms = 30 * DAY_MS},
};

static const char *const class_names[LOG_CLASSES] = {"admin", "protocol", "anyone"};

enum log_class eventlog_class(const struct note *note)
{
    if (note->actor != NULL) {
        return LOG_CLASS_ADMIN;
    }
    return note->anyone ? LOG_CLASS_ANYONE : LOG_CLASS_PROTOCOL;
}

const char *eventlog_class_name(enum log_class class)
{
    return class_names[class];
}

struct eventlog *eventlog_new(uint64_t seed)
{
    struct eventlog *log = calloc(1, sizeof(*log));
    if (log != NULL) {
        for (int i = 0; i < LOG_CLASSES; i++) {
            list_init(&log->entries[i]);
        }
        hmap_init(&log->subjects, hash_mix(2, seed));
    }
    return log;
}

/* ---- subjects ---- */

static uint64_t subject_key(const struct eventlog *log, uint64_t nwid, uint64_t member)
{
    return hash_mix(nwid ^ hash_mix(member, log->subjects.seed), log->subjects.seed);
}

static struct log_subject *find_subject(const struct eventlog *log, uint64_t nwid, uint64_t member)
{
    struct hmap_node *it = hmap_find(&log->subjects, subject_key(log, nwid, member));
    for (; it != NULL; it = hmap_next_same(it)) {
        struct log_subject *s = CONTAINER_OF(it, struct log_subject, node);
        if (s->nwid == nwid && s->member == member) {
            return s;
        }
    }
    return NULL;
}

static struct log_subject *make_subject(struct eventlog *log, uint64_t nwid, uint64_t member)
{
    struct log_subject *s = find_subject(log, nwid, member);
    if (s != NULL) {
        return s;
    }
    s = calloc(1, sizeof(*s));
    if (s == NULL || hmap_insert(&log->subjects, &s->node, subject_key(log, nwid, member)) != 0) {
        free(s);
        return NULL;
    }
    s->nwid = nwid;
    s->member = member;
    list_init(&s->entries);
    return s;
}

static void drop_subject_if_empty(struct eventlog *log, struct log_subject *s)
{
    if (s != NULL && list_is_empty(&s->entries)) {
        hmap_remove(&log->subjects, &s->node);
        free(s);
    }
}

/* ---- entries ---- */

static size_t entry_size(const struct log_entry *e)
{
    return sizeof(*e) + e->len;
}

static void entry_free(struct eventlog *log, struct log_entry *e)
{
    struct log_subject *s = e->subject;
    list_remove(&e->link);
    list_remove(&e->subject_link);
    log->count[e->class]--;
    log->bytes[e->class] -= entry_size(e);
    if (s != NULL) {
        s->own -= e->class == LOG_CLASS_PROTOCOL ? 1 : 0;
        drop_subject_if_empty(log, s);
    }
    free(e);
}

void eventlog_free(struct eventlog *log)
{
    if (log == NULL) {
        return;
    }
    for (int i = 0; i < LOG_CLASSES; i++) {
        struct list *link;
        while ((link = list_first(&log->entries[i])) != NULL) {
            entry_free(log, CONTAINER_OF(link, struct log_entry, link));
        }
    }
    hmap_done(&log->subjects);
    free(log);
}

static struct log_entry *oldest(const struct eventlog *log, enum log_class class)
{
    struct list *link = list_first(&log->entries[class]);
    return link != NULL ? CONTAINER_OF(link, struct log_entry, link) : NULL;
}

/* Remove an entry from memory and, unless NULL, with tx. Returns 0; -ENOMEM. */
static int forget(struct eventlog *log, struct store_tx *tx, struct log_entry *e)
{
    int error = tx != NULL ? store_tx_put(tx, STORE_EVENT, e->id, 0, NULL) : 0;
    if (error == 0) {
        entry_free(log, e);
    }
    return error;
}

/* The oldest entry that is out of bounds, NULL if none is. */
static struct log_entry *surplus(const struct eventlog *log, enum log_class class, int64_t wall_ms)
{
    const struct log_bounds *bounds = &eventlog_bounds[class];
    struct log_entry *e = oldest(log, class);
    bool out =
        e != NULL && (log->count[class] > bounds->count || log->bytes[class] > bounds->bytes ||
                      e->at_ms < wall_ms - bounds->age_ms);
    return out ? e : NULL;
}

/* Returns 0; -ENOMEM. */
static int trim(struct eventlog *log, struct store_tx *tx, enum log_class class, int64_t wall_ms)
{
    struct log_entry *e;
    int error = 0;
    while (error == 0 && (e = surplus(log, class, wall_ms)) != NULL) {
        error = forget(log, tx, e);
    }
    return error;
}

/* The oldest entry of class PROTOCOL about a member that has too many of them, or NULL. */
static struct log_entry *surplus_of(const struct log_subject *s)
{
    if (s == NULL || s->own <= EVENTLOG_PER_MEMBER) {
        return NULL;
    }
    struct list *it;
    struct list *tmp;
    LIST_EACH(&s->entries, it, tmp)
    {
        struct log_entry *e = CONTAINER_OF(it, struct log_entry, subject_link);
        if (e->class == LOG_CLASS_PROTOCOL) {
            return e;
        }
    }
    return NULL;
}

static uint64_t hex_of(const json_t *doc, const char *key, unsigned digits)
{
    const char *text = json_string_value(json_object_get(doc, key));
    uint64_t value = 0;
    if (text == NULL || hex_to_u64(text, strlen(text), digits, &value) != 0) {
        return 0;
    }
    return value;
}

static enum log_class class_of(const json_t *doc)
{
    const char *text = json_string_value(json_object_get(doc, "class"));
    for (int i = 0; text != NULL && i < LOG_CLASSES; i++) {
        if (strcmp(text, class_names[i]) == 0) {
            return (enum log_class)i;
        }
    }
    return LOG_CLASS_ADMIN;
}

/* Kind and name of the actor in one text, for the search. */
static const char *actor_part(const json_t *doc, const char *key)
{
    const char *text = json_string_value(json_object_get(json_object_get(doc, "actor"), key));
    return text != NULL ? text : "";
}

/* Returns the new entry, last of its class; NULL out of memory. */
static struct log_entry *insert(struct eventlog *log, uint64_t id, const char *text,
                                const json_t *doc)
{
    const char *type = json_string_value(json_object_get(doc, "type"));
    const char *kind = actor_part(doc, "kind");
    const char *name = actor_part(doc, "name");
    uint64_t member = hex_of(doc, "member", 10);
    size_t len = strlen(text);
    size_t kind_len = strlen(kind);
    size_t name_len = strlen(name);
    struct log_entry *e = calloc(1, sizeof(*e) + len + kind_len + name_len + 3);
    if (e == NULL) {
        return NULL;
    }
    e->id = id;
    e->at_ms = json_integer_value(json_object_get(doc, "at"));
    e->nwid = hex_of(doc, "network", 16);
    e->type = type != NULL ? note_type_find(type, strlen(type)) : NOTE_TYPES;
    e->class = class_of(doc);
    e->len = len;
    memcpy(e->text, text, len);
    memcpy(e->text + len + 1, kind, kind_len);
    e->text[len + 1 + kind_len] = ' ';
    memcpy(e->text + len + 2 + kind_len, name, name_len);
    list_init(&e->subject_link);
    if (member != 0) {
        e->subject = make_subject(log, e->nwid, member);
        if (e->subject == NULL) {
            free(e);
            return NULL;
        }
        list_push(&e->subject->entries, &e->subject_link);
        e->subject->own += e->class == LOG_CLASS_PROTOCOL ? 1 : 0;
    }
    list_push(&log->entries[e->class], &e->link);
    log->count[e->class]++;
    log->bytes[e->class] += entry_size(e);
    log->last_id = id > log->last_id ? id : log->last_id;
    return e;
}

int eventlog_load(struct eventlog *log, uint64_t id, const char *text, const json_t *doc)
{
    if (!json_is_string(json_object_get(doc, "type"))) {
        return -EINVAL;
    }
    return insert(log, id, text, doc) != NULL ? 0 : -ENOMEM;
}

uint64_t eventlog_next_id(struct eventlog *log, int64_t wall_ms)
{
    uint64_t id = wall_ms > 0 ? (uint64_t)wall_ms * 1000 : 1;
    return id > log->last_id ? id : log->last_id + 1;
}

/* ---- time ---- */

static void arm(struct eventlog *log, int64_t now_ms)
{
    int64_t wall_ms = controller_wall(log->c, now_ms);
    int64_t due_ms = INT64_MAX;
    for (int i = 0; i < LOG_CLASSES; i++) {
        const struct log_entry *e = oldest(log, (enum log_class)i);
        if (e != NULL && e->at_ms + eventlog_bounds[i].age_ms < due_ms) {
            due_ms = e->at_ms + eventlog_bounds[i].age_ms;
        }
    }
    if (due_ms == INT64_MAX) {
        timers_cancel(&log->c->timers, &log->timer);
        return;
    }
    int64_t in_ms = due_ms - wall_ms + 1;
    if (timers_arm(&log->c->timers, &log->timer,
                   now_ms + (in_ms > EXPIRE_GAP_MS ? in_ms : EXPIRE_GAP_MS)) != 0) {
        controller_log(log->c, LOG_LEVEL_WARN, "controller: out of memory for a timer");
    }
}

/* Drop what is out of bounds with a transaction of its own. */
static void trim_all(struct eventlog *log, int64_t now_ms)
{
    struct controller *c = log->c;
    struct store_tx *tx = c->store != NULL ? store_tx_new() : NULL;
    int error = c->store != NULL && tx == NULL ? -ENOMEM : 0;
    unsigned budget = FORGET_MAX;
    for (int i = 0; i < LOG_CLASSES; i++) {
        struct log_entry *e;
        while (error == 0 && budget > 0 &&
               (e = surplus(log, (enum log_class)i, controller_wall(c, now_ms))) != NULL) {
            error = forget(log, tx, e);
            budget--;
        }
    }
    if (budget == FORGET_MAX || tx == NULL) {
        store_tx_free(tx);
    } else {
        controller_commit(c, tx, NULL, NULL);
    }
    arm(log, now_ms);
}

static void on_timer(struct timer *timer, int64_t now_ms)
{
    trim_all(CONTAINER_OF(timer, struct eventlog, timer), now_ms);
}

void eventlog_start(struct eventlog *log, struct controller *c, int64_t now_ms)
{
    log->c = c;
    log->timer.fire = on_timer;
    trim_all(log, now_ms);
}

/* ---- appending ---- */

bool eventlog_repeats(const struct eventlog *log, const struct note *note, int64_t wall_ms)
{
    const struct log_subject *s =
        note->once_ms > 0 ? find_subject(log, note->nwid, note->member) : NULL;
    if (s == NULL) {
        return false;
    }
    for (struct list *it = s->entries.prev; it != &s->entries; it = it->prev) {
        const struct log_entry *e = CONTAINER_OF(it, struct log_entry, subject_link);
        if (e->class == LOG_CLASS_ADMIN || e->type == note->type) {
            return e->type == note->type && wall_ms - e->at_ms < note->once_ms;
        }
    }
    return false;
}

int eventlog_append(struct eventlog *log, struct store_tx *tx, uint64_t id, const json_t *doc,
                    int64_t wall_ms)
{
    char *text = doc_text(doc);
    struct log_entry *e = text != NULL ? insert(log, id, text, doc) : NULL;
    if (e == NULL) {
        free(text);
        return -ENOMEM;
    }
    enum log_class class = e->class;
    struct log_entry *extra = surplus_of(e->subject);
    int error = 0;
    if (tx != NULL) {
        error = store_tx_put(tx, STORE_EVENT, id, 0, text);
    } else {
        free(text);
    }
    if (error == 0 && extra != NULL) {
        error = forget(log, tx, extra);
    }
    if (error == 0) {
        error = trim(log, tx, class, wall_ms);
    }
    if (!timer_is_armed(&log->timer)) {
        arm(log, wall_ms - log->c->wall_offset_ms);
    }
    return error;
}

/* ---- search ---- */

/* "member" finds "member.changed", "member.changed" itself. */
static bool type_matches(enum note_type type, const char *wanted)
{
    const char *name = note_type_name(type);
    size_t len = strlen(wanted);
    return len == 0 || (strncmp(name, wanted, len) == 0 && (name[len] == '\0' || name[len] == '.'));
}

static bool matches(const struct log_entry *e, const struct log_query *q)
{
    return e->id < q->below && e->at_ms >= q->since_ms && (q->nwid == 0 || e->nwid == q->nwid) &&
           (q->member == 0 || (e->subject != NULL && e->subject->member == q->member)) &&
           type_matches(e->type, q->type) &&
           (q->actor[0] == '\0' || strcasestr(e->text + e->len + 1, q->actor) != NULL);
}

/* Append to the page. Returns false when it is full: then the entry is of the next page. */
static bool take(json_t *data, const struct log_entry *e, const struct log_query *q, bool *ret_full)
{
    if (json_array_size(data) == q->limit) {
        *ret_full = true;
        return false;
    }
    return json_array_append_new(data, json_loads(e->text, 0, NULL)) == 0;
}

static struct log_entry *entry_of(struct list *link, const struct list *head)
{
    return link != head ? CONTAINER_OF(link, struct log_entry, link) : NULL;
}

/* All classes together, newest first. */
static void walk_all(const struct eventlog *log, const struct log_query *q, json_t *data,
                     bool *ret_full)
{
    struct log_entry *at[LOG_CLASSES];
    for (int i = 0; i < LOG_CLASSES; i++) {
        at[i] = entry_of(log->entries[i].prev, &log->entries[i]);
    }
    for (;;) {
        int newest = -1;
        for (int i = 0; i < LOG_CLASSES; i++) {
            if (at[i] != NULL && (newest < 0 || at[i]->id > at[newest]->id)) {
                newest = i;
            }
        }
        if (newest < 0 || (matches(at[newest], q) && !take(data, at[newest], q, ret_full))) {
            return;
        }
        at[newest] = entry_of(at[newest]->link.prev, &log->entries[newest]);
    }
}

static void walk_subject(const struct log_subject *s, const struct log_query *q, json_t *data,
                         bool *ret_full)
{
    for (struct list *it = s->entries.prev; it != &s->entries; it = it->prev) {
        const struct log_entry *e = CONTAINER_OF(it, struct log_entry, subject_link);
        if (matches(e, q) && !take(data, e, q, ret_full)) {
            return;
        }
    }
}

json_t *eventlog_query(const struct eventlog *log, const struct log_query *query,
                       uint64_t *ret_next)
{
    json_t *data = json_array();
    bool full = false;
    *ret_next = 0;
    if (data == NULL) {
        return NULL;
    }
    if (query->nwid != 0 && query->member != 0) {
        const struct log_subject *s = find_subject(log, query->nwid, query->member);
        if (s != NULL) {
            walk_subject(s, query, data, &full);
        }
    } else {
        walk_all(log, query, data, &full);
    }
    if (full) {
        const json_t *last = json_array_get(data, query->limit - 1);
        *ret_next = hex_of(last, "id", 16);
    }
    return data;
}
