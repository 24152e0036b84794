/* A compiled script as nodes get it: rules in their binary form, cut to what is sent. Source: spec
 * 06 sections 9.3 and 13.5. */
#pragma once

#include "rules/rdl.h"
#include "wire/rule.h"

/* The rules of a capability. */
struct policy_capability {
    const struct rdl_capability *source;
    struct rule *rules;
    size_t count;
};

struct policy {
    const struct rdl_result *result; /* what it was made of, borrowed */
    struct rule *rules;              /* of the base set */
    size_t count;
    struct policy_capability *capabilities; /* ascending IDs: the order of evaluation */
    size_t capability_count;
};

/* A rule as the controller reads it from its JSON: values are cut to their fields' width. */
void policy_rule(const struct rdl_entry *entry, struct rule *ret);

/* Make one of an ok result, which has to outlive it. Returns 0; -ENOMEM. */
MUST_CHECK int policy_make(const struct rdl_result *result, struct policy *ret);
void policy_done(struct policy *p);
