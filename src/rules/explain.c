/* The evaluator's steps. Its record for remote traces tells of matches; which action ended a set is
 * found by running beginnings of it with a match behind, and whether a match applies by running it
 * alone, with and without NOT. */
#include "rules/explain.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* A set being looked at. */
struct probe {
    struct filter_network network; /* with the set as its base rules, without capabilities */
    struct filter_credentials remote;
    struct filter_input in;
    struct filter_log log;
    struct rule rules[RULES_BASE_MAX + 1];
    bool is_inbound;
};

/* Never false: a match that is noted if evaluation comes to it. */
static const struct rule sentinel = {.type = RULE_CHARACTERISTICS, .is_not = true};

static void decide(const struct filter_input *in, bool is_inbound, struct filter_result *ret)
{
    if (is_inbound) {
        filter_inbound(in, ret);
    } else {
        filter_outbound(in, ret);
    }
}

static void probe_begin(struct probe *p, const struct filter_input *in, bool is_inbound)
{
    p->is_inbound = is_inbound;
    p->network = *in->network;
    p->network.rules = p->rules;
    p->network.program = NULL;
    p->network.own.capability_count = 0;
    p->in = *in;
    p->in.network = &p->network;
    p->in.log = &p->log;
    if (in->remote != NULL) {
        p->remote = *in->remote;
        p->remote.capability_count = 0;
        p->in.remote = &p->remote;
    }
}

/* Evaluate the first count of p->rules. */
static enum filter_outcome probe_run(struct probe *p, size_t count)
{
    struct filter_result result;
    p->network.rule_count = (uint16_t)count;
    decide(&p->in, p->is_inbound, &result);
    return result.base;
}

/* What was noted about rule i: 0 nothing; bit 0 state false, bit 1 true, above that what came out:
 * 0 skipped, 1 false, 2 true. */
static unsigned noted(const struct probe *p, size_t i)
{
    return i / 2 < FILTER_LOG_LEN ? (unsigned)p->log.base[i / 2] >> (4 * (i & 1)) & 15U : 0;
}

static bool noted_true(unsigned note)
{
    return note >> 2 == 2;
}

/* Does evaluation go on behind the first count rules of a set? */
static bool goes_on(struct probe *p, const struct rule *rules, size_t count)
{
    memcpy(p->rules, rules, count * sizeof(*rules));
    p->rules[count] = sentinel;
    (void)probe_run(p, count + 1);
    return noted(p, count) != 0;
}

/* The action that ends the set; count if none does. */
static size_t find_decided(struct probe *p, const struct rule *rules, size_t count,
                           enum filter_outcome outcome)
{
    if (count < RULES_BASE_MAX && goes_on(p, rules, count)) {
        return count;
    }
    if (count == RULES_BASE_MAX && goes_on(p, rules, count - 1)) {
        /* The record has no room behind the last rule. */
        return outcome != FILTER_NO_MATCH ? count - 1 : count;
    }
    size_t low = 0;      /* goes on behind so many */
    size_t high = count; /* does not */
    while (high - low > 1) {
        size_t middle = low + (high - low) / 2;
        if (goes_on(p, rules, middle)) {
            low = middle;
        } else {
            high = middle;
        }
    }
    return high - 1;
}

/* Is a match, alone, true? */
static bool alone(struct probe *p, const struct rule *rule, bool is_not)
{
    p->rules[0] = *rule;
    p->rules[0].is_not = is_not;
    p->rules[0].is_or = false;
    (void)probe_run(p, 1);
    return noted_true(noted(p, 0));
}

static void fill_match(struct probe *p, const struct rule *rule, struct explain_step *step)
{
    bool plain = alone(p, rule, false);
    bool inverted = alone(p, rule, true);
    step->applies = plain || inverted || step->is_true;
    step->is_left = (plain && inverted) || (step->is_true && !plain && !inverted);
}

/* Steps from a run whose notes were copied. */
static void fill_steps(struct probe *p, const struct rule *rules, const uint8_t *notes,
                       struct explain_set *set)
{
    bool state = true;
    for (size_t i = 0; i < set->count && i <= set->decided; i++) {
        struct explain_step *step = &set->steps[i];
        step->is_reached = true;
        if (rule_is_action(&rules[i])) {
            step->is_true = state;
            state = true;
            continue;
        }
        unsigned note = (unsigned)notes[i / 2] >> (4 * (i & 1)) & 15U;
        step->is_skipped = note >> 2 == 0;
        step->is_true = noted_true(note);
        if (!step->is_skipped) {
            state = rules[i].is_or ? state || step->is_true : state && step->is_true;
            fill_match(p, &rules[i], step);
        }
        step->state = state;
    }
}

static int explain_rules(struct probe *p, const struct rule *rules, size_t count,
                         struct explain_set *set)
{
    uint8_t notes[FILTER_LOG_LEN];
    count = count < RULES_BASE_MAX ? count : RULES_BASE_MAX;
    set->steps = calloc(count + 1, sizeof(*set->steps));
    if (set->steps == NULL) {
        return -ENOMEM;
    }
    set->count = count;
    memcpy(p->rules, rules, count * sizeof(*rules));
    set->outcome = probe_run(p, count);
    memcpy(notes, p->log.base, sizeof(notes));
    set->decided = find_decided(p, rules, count, set->outcome);
    fill_steps(p, rules, notes, set);
    return 0;
}

/* May the capability be used? Its holder's credential may be too old or revoked. */
static bool is_usable(const struct filter_input *in, bool is_inbound,
                      const struct filter_capability *cap)
{
    static const struct rule accept = {.type = RULE_ACCEPT};
    struct filter_capability one = *cap;
    struct filter_network network = *in->network;
    struct filter_credentials remote = {0};
    struct filter_input probe = *in;
    struct filter_result result;
    one.rules = &accept;
    one.rule_count = 1;
    one.program = NULL;
    network.rule_count = 0;
    network.program = NULL;
    network.own.capabilities = &one;
    network.own.capability_count = 1;
    remote.capabilities = &one;
    remote.capability_count = 1;
    probe.network = &network;
    probe.remote = &remote;
    probe.log = NULL;
    decide(&probe, is_inbound, &result);
    return result.by_capability;
}

/* The capabilities as they are tried, up to the one that accepts. */
static int explain_capabilities(struct probe *p, const struct filter_input *in,
                                struct explain_side *side)
{
    const struct filter_credentials *holder = side->is_inbound ? in->remote : &in->network->own;
    for (size_t i = 0; holder != NULL && i < holder->capability_count; i++) {
        const struct filter_capability *cap = &holder->capabilities[i];
        if (!is_usable(in, side->is_inbound, cap)) {
            continue;
        }
        struct explain_set *set = &side->sets[side->set_count++];
        set->id = cap->id;
        int error = explain_rules(p, cap->rules, cap->rule_count, set);
        if (error < 0) {
            return error;
        }
        if (side->result.by_capability && side->result.capability_id == cap->id) {
            break;
        }
    }
    return 0;
}

int explain_side(const struct filter_input *in, bool is_inbound, struct explain_side *ret)
{
    const struct filter_network *network = in->network;
    const struct filter_credentials *holder = is_inbound ? in->remote : &network->own;
    struct filter_input plain = *in;
    struct explain_side side = {.is_inbound = is_inbound};
    struct probe *p = calloc(1, sizeof(*p));
    plain.log = NULL;
    decide(&plain, is_inbound, &side.result);
    side.sets =
        calloc(1 + (holder != NULL ? (size_t)holder->capability_count : 0), sizeof(*side.sets));
    int error = p != NULL && side.sets != NULL ? 0 : -ENOMEM;
    if (error == 0) {
        probe_begin(p, in, is_inbound);
        side.set_count = 1;
        side.sets[0].is_base = true;
        error = explain_rules(p, network->rules, network->rule_count, &side.sets[0]);
    }
    if (error == 0 && side.result.base == FILTER_NO_MATCH) {
        error = explain_capabilities(p, in, &side);
    }
    free(p);
    if (error < 0) {
        explain_done(&side);
        return error;
    }
    *ret = side;
    return 0;
}

void explain_done(struct explain_side *side)
{
    for (size_t i = 0; i < side->set_count; i++) {
        free(side->sets[i].steps);
    }
    free(side->sets);
}
