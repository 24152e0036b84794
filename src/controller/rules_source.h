/* Scripts posted to the controller: compiled here, so that text and rules stay together.
 * Source: spec 04 sections 6.4 and 7, spec 06 section 13.4. The compiler is rules/rdl.h. */
#pragma once

#include "controller/coerce.h"

#include <jansson.h>

/* A posted body with what its rulesSource says, where it has a script and no rules of its own:
 * rules, capabilities, tags, capabilitiesByName, tagsByName, as a client would post them.
 * e->source_error is {line, column, message, errors}: the first error's place (one-based) and text,
 * and all of them as rdl_errors_json has them. A script that does not compile is a warning and
 * e->source_error, and changes nothing but the text; what may not be meant is a note. Returns a new
 * reference; NULL out of memory. */
json_t *rules_source_expand(struct edit *e, json_t *body);
