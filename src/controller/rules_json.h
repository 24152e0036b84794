/* Rules as JSON, both ways. Source: spec 04 section 2.6. */
#pragma once

#include "base/attr.h"
#include "wire/rule.h"

#include <jansson.h>

/* Read one rule object. Returns 0 with *ret filled; -ENOENT unknown type, no object or a type that
 * is not accepted (ACTION_PRIORITY): to be dropped; -EINVAL a value that cannot be coerced. */
MUST_CHECK int rule_from_json(const json_t *obj, struct rule *ret);

/* Canonical object of a rule of known type. Returns NULL out of memory or unknown type. */
json_t *rule_to_json(const struct rule *rule);

/* Read an array: writes up to cap rules, drops what does not parse. Returns how many. array may be
 * anything. */
size_t rules_from_json(const json_t *array, struct rule *out, size_t cap);
