/* The stored and posted form of a network. Source: spec 04 sections 2.4 to 2.7. */
#pragma once

#include "base/attr.h"
#include "controller/coerce.h"

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

/* Add the defaults of keys that are missing, force the IDs, remove what is never stored.
 * Returns 0; -ENOMEM. */
MUST_CHECK int network_doc_complete(json_t *doc, uint64_t nwid, int64_t wall_ms);

/* Apply the fields of a posted body (any JSON) to doc; what happened is in e. A rulesSource without
 * rules is compiled (rules_source.h). */
void network_doc_edit(struct edit *e, json_t *doc, json_t *body);

/* Equal in every key but "revision". */
bool doc_equal(const json_t *a, const json_t *b);

/* Set "revision" to one more. Returns 0; -ENOMEM. */
MUST_CHECK int doc_bump(json_t *doc);

/* Compact text with sorted keys, malloc'd; NULL out of memory. */
char *doc_text(const json_t *doc);

/* Remove keys of a NULL-terminated list. */
void doc_remove(json_t *doc, const char *const *keys);

/* Entry of a join token: true if `token` (constant-time comparison) may be used at wall_ms;
 * *ret_key is the key (borrowed from doc). */
bool network_doc_token(const json_t *doc, const char *token, int64_t wall_ms, const char **ret_key);

/* Count one use of a token; at the last one it is removed. Returns 1 if the document changed, 0 if
 * the token has no limit; -ENOMEM. */
MUST_CHECK int network_doc_token_use(json_t *doc, const char *key);

/* Add or replace a token. uses 0: no limit. defaults: of join_defaults_read, taken, may be NULL.
 * Returns 0; -ENOMEM. */
MUST_CHECK int network_doc_token_set(json_t *doc, const char *token, int64_t expires_ms,
                                     uint64_t uses, json_t *defaults);

/* Remove one. Returns 0; -ENOENT; -ENOMEM. */
MUST_CHECK int network_doc_token_remove(json_t *doc, const char *token);
