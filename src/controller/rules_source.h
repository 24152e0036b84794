/* Scripts posted to the controller: compiled here, so that text and rules stay together.
 * Source: spec 04 sections 6.4 and 7, spec 06 section 13.4. The compiler is rules/rdl.h. */
#pragma once

#include "base/attr.h"
#include "controller/coerce.h"

#include <jansson.h>

/* Compile a script and put into body, the object of a network as it is posted, what it says: rules,
 * capabilities, tags, capabilitiesByName, tagsByName, and rulesSource. Other keys stay; the values
 * are as a client would post them, so they go through network_doc_edit like all others.
 * Returns 0; -EINVAL with *ret_error and body unchanged: {line, column, message, errors}, the first
 * error's place (one-based) and text, and all of them as rdl_errors_json has them; -ENOMEM. */
MUST_CHECK int rules_source_apply(json_t *body, const char *source, json_t **ret_error);

/* A posted body with what its rulesSource says, where it has a script and no rules of its own. A
 * script that does not compile is a warning and e->source_error, and changes nothing but the text;
 * what may not be meant is a note.
 * Returns a new reference; NULL out of memory. */
json_t *rules_source_expand(struct edit *e, json_t *body);
