/* Clashes: nodes that come with the address of a member and another key. They are refused, and kept
 * for an administrator who may accept the new key. Source: spec 04 sections 4.4, 12 item 7, CTL-50.
 */
#pragma once

#include "base/attr.h"
#include "controller/model.h"

enum { CLASHES_MAX = 64 }; /* per network; the longest silent goes first */

/* The last other key seen with the address of a member. */
struct clash {
    struct hmap_node node; /* in cnetwork.clashes, by address */
    uint8_t pub[IDENTITY_PUBLIC_LEN];
    struct inetaddr from; /* direct source, nil unknown */
    int64_t first_ms;     /* wall clock */
    int64_t last_ms;
    uint64_t count; /* requests */
};

/* A refused request. Returns true if this key was not known to clash (out of memory: false). */
bool clash_note(struct cmember *m, const struct identity *id, const struct inetaddr *from,
                int64_t wall_ms);

/* That of a member, borrowed, or NULL. */
const struct clash *clash_find(const struct cmember *m);

/* It is settled, or its member goes. */
void clash_forget(struct cmember *m);
void clash_done(struct cnetwork *net);

/* For people and for the store: new reference, NULL out of memory; and back. */
json_t *clash_json(const struct clash *clash);
void clash_load(struct cmember *m, const json_t *doc);
