/* Notes of what changed, by whom: every change of the controller makes one, in the transaction of
 * the change. A note becomes an entry of the log (eventlog.h) and what webhooks are told.
 * Source: spec 04 sections 10.5, 11 (audit_log, member_event), 6.6; CTL-104, CTL-119. */
#pragma once

#include "base/attr.h"
#include "controller/actor.h"

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

struct controller;
struct store_tx;

enum note_type {
    NOTE_NETWORK_CREATED,
    NOTE_NETWORK_CHANGED,
    NOTE_NETWORK_DELETED,
    NOTE_MEMBER_ADDED, /* by hand, before it ever asked */
    NOTE_MEMBER_CHANGED,
    NOTE_MEMBER_AUTHORIZED,
    NOTE_MEMBER_DEAUTHORIZED,
    NOTE_MEMBER_DELETED,
    NOTE_MEMBER_FORGOTTEN, /* a removed member may ask again */
    NOTE_MEMBER_REQUEST,   /* first request of an unknown node */
    NOTE_MEMBER_MISMATCH,  /* another key than the pinned one */
    NOTE_MEMBER_EXHAUSTED, /* no address left for it */
    NOTE_MEMBER_ADDRESS,   /* the protocol gave it addresses */
    NOTE_MEMBER_VERSION,
    NOTE_MEMBER_PHYSICAL, /* it asks from another IP */
    NOTE_INVITE_CREATED,  /* a join token */
    NOTE_INVITE_DELETED,
    NOTE_TOKEN_CREATED, /* an API token */
    NOTE_TOKEN_DELETED,
    NOTE_USER_CREATED,
    NOTE_USER_CHANGED,
    NOTE_USER_DELETED,
    NOTE_GRANT_CHANGED, /* what a person may do with a network; no document = nothing */
    NOTE_SSO_LOGIN,     /* a member's user logged in: {"email"} */
    NOTE_SSO_FAILED,    /* {"email","error"} */
    NOTE_SSO_ENDED,
    NOTE_ORG_INVITED,  /* {"email"} */
    NOTE_ORG_ACCEPTED, /* {"email","networks":[ID,...]}; the object is the person */
    NOTE_ORG_REJECTED, /* likewise */
    NOTE_HOOK_CREATED,
    NOTE_HOOK_CHANGED,
    NOTE_HOOK_DELETED,
    NOTE_HOOK_TESTED,
    NOTE_HOOK_RETRIED, /* a delivery sent once more by hand */
    NOTE_HOOK_FAILED,  /* a delivery given up */
    NOTE_HOOK_DROPPED, /* deliveries fell out of a full queue */
    NOTE_IMPORTED,     /* {"networks","members","names"}: how many */
    NOTE_TYPES,
};

/* Something that is about to be committed. Documents are borrowed and whole; what is equal in both
 * and what is secret is left out by note_add. */
struct note {
    enum note_type type;
    const struct actor *actor; /* NULL: the protocol */
    bool anyone;               /* anyone at all can cause it: a share of its own in all bounds */
    uint64_t nwid;             /* 0 none */
    uint64_t member;           /* 0 none */
    uint64_t object;           /* id of a token, person or webhook, 0 none */
    const json_t *before;      /* NULL: it was not there */
    const json_t *after;       /* NULL: it is not there any more */
    int64_t once_ms;           /* leave it out if the last one of this kind about this member is
                                  younger and no administrator did anything to it since; 0 never */
};

/* Add a note to a transaction that is about to be committed, as its last part (NULL: the note alone
 * makes one, which is committed at once). Returns 0; -ENOMEM (the transaction may have a part of
 * it and has to be given up). */
MUST_CHECK int note_add(struct controller *c, struct store_tx *tx, const struct note *note,
                        int64_t now_ms);

/* Text of a type, like "member.authorized". */
const char *note_type_name(enum note_type type);

/* The type with that name (len bytes), or NOTE_TYPES. */
enum note_type note_type_find(const char *name, size_t len);

/* The document of an entry with this ID, as it is stored. A new reference, NULL out of memory. */
json_t *note_json(const struct note *note, uint64_t id, int64_t wall_ms);

/* A new object with the keys of a that differ from b (either may be NULL), secrets masked;
 * "revision" is left out. other: replaces keys of join tokens, so that the same token has the same
 * name in both halves. NULL out of memory. */
json_t *note_diff(const json_t *a, const json_t *b);
