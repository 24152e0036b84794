/* Single matches of the rule evaluator; shared by filter.c only. Source: spec 03 section 16.3. */
#pragma once

#include "datapath/filter.h"
#include "datapath/filter_program.h"
#include "wire/rule.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* State of one decision: the input and what was found out about the frame so far. */
struct filter_eval {
    const struct filter_input *in;
    const struct filter_frame *frame;
    bool is_inbound;
    bool is_walked;   /* the IPv6 walk was made */
    bool walk_ok;     /* and did not fail */
    uint8_t protocol; /* its result */
    size_t pos;       /* its result: where the upper layer begins */
    bool has_fields;
    struct filter_fields fields; /* good if has_fields */
};

/* State of one rule set. */
struct filter_set {
    bool match;     /* what the matches up to here say */
    bool skip_drop; /* a lenient tag match: the next DROP is passed over */
    bool is_super;  /* inbound: a TEE, WATCH or REDIRECT to us was passed */
};

enum filter_match {
    MATCH_NO,       /* inverted by NOT */
    MATCH_YES,      /* inverted by NOT */
    MATCH_HARD_NO,  /* not inverted */
    MATCH_HARD_YES, /* not inverted */
};

/* Evaluate one match; tag matches may set set->skip_drop. */
enum filter_match filter_match(struct filter_eval *ev, struct filter_set *set,
                               const struct rule *rule);

/* The fields of the frame; worked out once. */
const struct filter_fields *filter_fields(struct filter_eval *ev);

/* True if a remote credential may be used now. */
bool filter_is_valid(const struct filter_network *network, uint64_t timestamp,
                     const uint64_t *revoked);
