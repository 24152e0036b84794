/* Notes of what requests of members change. Source: spec 04 sections 10.3, 11 (member_event). */
#pragma once

#include "base/attr.h"
#include "wire/inetaddr.h"

#include <stdbool.h>
#include <stdint.h>

struct controller;
struct cmember;
struct store_tx;

/* What a request changed in the record of its member. */
struct request_changes {
    bool record;     /* anything that is stored */
    bool durable;    /* of that, something the member must not learn before the commit */
    bool network;    /* uses of a token were counted */
    bool is_new;     /* its first request, there was no record */
    bool authorized; /* it was let in by this request */
    bool version;    /* it told another version */
    uint16_t ips_before;
    int32_t version_before[4];
};

/* Add the notes of the changes to the transaction that stores them. Returns 0; -ENOMEM. */
MUST_CHECK int request_note_changes(struct controller *c, struct store_tx *tx, struct cmember *m,
                                    const struct request_changes *ch, int64_t now_ms);

/* Add the note of the first request of a member, unless it was made (tx as of note_add). Returns 0;
 * -ENOMEM. */
MUST_CHECK int request_note_first(struct controller *c, struct store_tx *tx, struct cmember *m,
                                  int64_t now_ms);

/* A node that is no member was refused: note its first request, at once if there are not too many
 * of its kind, else when its record is stored. */
void request_note_stranger(struct controller *c, struct cmember *m, int64_t now_ms);

/* An authorized member asks: if it is from another IP than noted last, note it. */
void request_note_physical(struct controller *c, struct cmember *m, int64_t now_ms);

/* Someone with another key asked. */
void request_note_mismatch(struct controller *c, const struct cmember *m,
                           const struct inetaddr *from, int64_t now_ms);

/* There is no address of that family for a member. */
void request_note_exhausted(struct controller *c, const struct cmember *m, bool v6, int64_t now_ms);
