/* What a join token says of the members it lets in: name, tags, capabilities, how long they stay.
 * Kept in the network's document, "authTokenDefaults", by token. Source: spec 04 section 10.4. */
#pragma once

#include "base/attr.h"
#include "controller/coerce.h"
#include "controller/model.h"

#define JOIN_DEFAULTS "authTokenDefaults"

/* The defaults in a posted token: a new object, or NULL when there are none or e has failed. */
json_t *join_defaults_read(struct edit *e, const json_t *body);

/* Give them to a member about to be authorized for the first time; what it has stays.
 * defaults: borrowed, may be NULL. Returns 0; -ENOMEM. */
MUST_CHECK int join_defaults_apply(struct cmember *m, const json_t *defaults, int64_t wall_ms);
