/* The log of the controller in memory and in the store: append-only, bounded by count, bytes and
 * age in three classes, so that nobody pushes out what another class has. Source: spec 04 sections
 * 10.5 (audit log), 10.3 (history), 11 (audit_log, member_event). */
#pragma once

#include "base/attr.h"
#include "base/hmap.h"
#include "base/list.h"
#include "base/timers.h"
#include "controller/note.h"

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum log_class {
    LOG_CLASS_ADMIN,    /* done by people and programs with a token */
    LOG_CLASS_PROTOCOL, /* caused by members */
    LOG_CLASS_ANYONE,   /* caused by whoever likes to */
    LOG_CLASSES,
};

enum {
    EVENTLOG_ENTRY_MAX = 16384, /* bytes of an entry; larger values in it are left out */
    EVENTLOG_PER_MEMBER = 64,   /* entries of class PROTOCOL about one member */
};

/* Bounds of a class. */
struct log_bounds {
    size_t count;
    size_t bytes;
    int64_t age_ms;
};
extern const struct log_bounds eventlog_bounds[LOG_CLASSES];

/* All entries about one member. */
struct log_subject {
    struct hmap_node node;
    uint64_t nwid;
    uint64_t member;
    struct list entries; /* struct log_entry by subject_link, oldest first */
    size_t own;          /* of class PROTOCOL */
};

struct log_entry {
    struct list link; /* in its class, oldest first */
    struct list subject_link;
    struct log_subject *subject; /* NULL: about no member */
    uint64_t id;                 /* ascending in the order of events */
    int64_t at_ms;               /* wall clock */
    uint64_t nwid;
    enum note_type type;
    enum log_class class;
    size_t len;  /* of the document */
    char text[]; /* document, NUL, name of the actor, NUL */
};

struct eventlog {
    struct list entries[LOG_CLASSES];
    size_t count[LOG_CLASSES];
    size_t bytes[LOG_CLASSES];
    struct hmap subjects;
    uint64_t last_id;
    struct timer timer; /* next entry that gets too old */
    struct controller *c;
};

/* Empty log on the heap; seed: random. NULL out of memory. */
struct eventlog *eventlog_new(uint64_t seed);
void eventlog_free(struct eventlog *log);

/* A stored entry, while loading, in ascending order. Returns 0; -EINVAL unusable; -ENOMEM. */
MUST_CHECK int eventlog_load(struct eventlog *log, uint64_t id, const char *text,
                             const json_t *doc);

/* Everything is loaded: drop what is out of bounds, keep time from now on. */
void eventlog_start(struct eventlog *log, struct controller *c, int64_t now_ms);

/* The class a note belongs to. */
enum log_class eventlog_class(const struct note *note);

/* Its name in documents. */
const char *eventlog_class_name(enum log_class class);

/* True if the note is to be left out (once_ms). */
bool eventlog_repeats(const struct eventlog *log, const struct note *note, int64_t wall_ms);

/* An ID above all others, near the wall clock in microseconds. */
uint64_t eventlog_next_id(struct eventlog *log, int64_t wall_ms);

/* Append a document (borrowed; it has "id") and what falls out for it, to memory and, unless NULL,
 * to tx. Returns 0; -ENOMEM. */
MUST_CHECK int eventlog_append(struct eventlog *log, struct store_tx *tx, uint64_t id,
                               const json_t *doc, int64_t wall_ms);

/* What is asked for. */
struct log_query {
    uint64_t below; /* only entries with lower IDs, UINT64_MAX all */
    int64_t since_ms;
    uint64_t nwid; /* 0 all */
    uint64_t member;
    char actor[64]; /* part of the actor's name or kind, "" all */
    char type[32];  /* "member.deleted", or "member" for all of them; "" all */
    size_t limit;
};

/* Entries from the newest on as a new array; *ret_next is the ID for `below` of the next page, 0 if
 * there is none. NULL out of memory. */
json_t *eventlog_query(const struct eventlog *log, const struct log_query *query,
                       uint64_t *ret_next);
