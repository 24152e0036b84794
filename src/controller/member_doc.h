/* The stored and posted form of a member. Source: spec 04 section 2.8. */
#pragma once

#include "base/attr.h"
#include "controller/coerce.h"
#include "controller/model.h"

#include <jansson.h>
#include <stdint.h>

/* The document of a member, unknown keys included. Returns a new reference; NULL out of memory. */
json_t *member_to_json(const struct cmember *m);

/* Set all that is stored of a member from a document in whatever form it was stored or imported;
 * what does not parse takes its default. Returns 0; -ENOMEM (member unchanged or partly set only in
 * its scalar fields). */
MUST_CHECK int member_from_json(struct cmember *m, const json_t *doc);

/* Apply the fields of a posted body to the document of member m of net. m may be NULL (not there
 * yet). */
void member_doc_edit(struct edit *e, json_t *doc, const json_t *body, const struct cnetwork *net,
                     const struct cmember *m, int64_t wall_ms);

/* The part of it for what consoles note ("description", "hidden") and the end of access
 * ("accessExpiryTime"), after "authorized". was_authorized: before this request. */
void member_access_edit(struct edit *e, json_t *doc, const json_t *body, bool was_authorized,
                        int64_t wall_ms);

/* What was seen of a member, as stored: new reference or NULL. */
json_t *member_runtime_json(const struct cmember *m);
void member_runtime_load(struct cmember *m, const json_t *doc);

/* Add the default capabilities of the network to those of m (at its first authorization). Returns
 * 0; -ENOMEM. */
MUST_CHECK int member_add_default_caps(struct cmember *m);

/* Text of how a member was authorized, NULL for CRED_NONE and CRED_OTHER. */
const char *cred_kind_name(enum cred_kind kind);
