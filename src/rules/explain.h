/* Why a frame passes or does not: what the evaluator of nodes (datapath/filter.h) did with it, rule
 * by rule. It is asked, not imitated. Source: spec 06 section 16.7. */
#pragma once

#include "datapath/filter.h"

/* A rule on the way of a frame. */
struct explain_step {
    bool is_reached; /* evaluation came to it; else nothing below counts */
    bool is_skipped; /* a match that could not change the state */
    bool is_true; /* match: with its NOT; action: it was taken, if the frame was not its own target
                   */
    bool applies; /* a match that can be true of such a frame, or false of it with NOT */
    bool is_left; /* a tag not known: taken as true, the receiver will tell */
    bool state;   /* of the set behind it */
};

/* One rule set. */
struct explain_set {
    bool is_base;
    uint32_t id; /* of a capability */
    enum filter_outcome outcome;
    struct explain_step *steps; /* one per rule */
    size_t count;
    size_t decided; /* the action that ended it; count: none did */
};

/* The decision of one side. */
struct explain_side {
    bool is_inbound;
    struct filter_result result;
    struct explain_set *sets; /* base rules, then capabilities as they were tried */
    size_t set_count;
};

/* Decide as filter_outbound or filter_inbound do, and say why. in->log is not used; in->draw has to
 * give the same number each time, and sets have at most RULES_BASE_MAX rules. Returns 0 with *ret
 * to be given to explain_done; -ENOMEM. */
MUST_CHECK int explain_side(const struct filter_input *in, bool is_inbound,
                            struct explain_side *ret);
void explain_done(struct explain_side *side);
