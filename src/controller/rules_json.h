/* Rules as JSON, both ways. Source: spec 04 section 2.6. */
#pragma once

#include "base/attr.h"
#include "wire/rule.h"

#include <jansson.h>

/* Read one rule object. Returns 0 with *ret filled; -ENOENT unknown type, no object or a type that
 * is not accepted (ACTION_PRIORITY): to be dropped; -EINVAL a value that cannot be coerced. */
MUST_CHECK int rule_from_json(const json_t *obj, struct rule *ret);

/* Whether the "ip" of a rule of an IP type says what it will match: 0 yes, and for rules of other
 * types; 1 it is missing, has no prefix length or too long a one; -EINVAL it is no address and
 * prefix of the rule's family, and rule_from_json reads it as one that matches everything. */
MUST_CHECK int rule_json_check_ip(const json_t *obj, const struct rule *rule);

/* Canonical object of a rule of known type. Returns NULL out of memory or unknown type. */
json_t *rule_to_json(const struct rule *rule);

/* Read an array: writes up to cap rules, drops what does not parse. Returns how many. array may be
 * anything. */
size_t rules_from_json(const json_t *array, struct rule *out, size_t cap);
