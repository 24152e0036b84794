/* The rule evaluator: rule sets and the two decisions. Matches: filter_match.c.
 * Source: spec 03 sections 16.2, 16.4, 16.5. */
#include "datapath/filter.h"

#include "crypto/identity.h"
#include "datapath/filter_match.h"
#include "wire/frame.h"

#include <string.h>

/* What one rule set gave. */
struct set_result {
    enum filter_outcome outcome;
    uint64_t dest;        /* target of the frame, changed by REDIRECT */
    uint64_t copy_target; /* of TEE or WATCH */
    size_t copy_len;
    bool has_copy;
    bool copy_is_watch;
    uint8_t bucket;
};

enum {
    BUCKET_DEFAULT = 4, /* of values that are too large */
};

/* Target of a TEE, WATCH or REDIRECT. */
static uint64_t forward_target(const struct rule *rule)
{
    return rule->forward.address & ((UINT64_C(1) << ADDRESS_BITS) - 1);
}

/* TEE, WATCH or REDIRECT with the matches true. Returns true if it ends the set. */
static bool forward(const struct filter_eval *ev, const struct rule *rule, struct set_result *res)
{
    uint64_t target = forward_target(rule);

    if (target == ev->in->source) {
        return false;
    }
    if (target == ev->in->network->self) {
        if (ev->is_inbound) {
            res->outcome = FILTER_SET_SUPER_ACCEPT;
        }
        return ev->is_inbound;
    }
    if (target == res->dest) {
        return false;
    }
    if (rule->type == RULE_REDIRECT) {
        res->dest = target;
        res->outcome = FILTER_SET_REDIRECT;
        return true;
    }
    res->has_copy = true;
    res->copy_target = target;
    res->copy_is_watch = rule->type == RULE_WATCH;
    res->copy_len = ev->frame->len;
    if (rule->forward.length != 0 && rule->forward.length < res->copy_len) {
        res->copy_len = rule->forward.length;
    }
    return false;
}

static bool is_forward(const struct rule *rule)
{
    return rule->type == RULE_TEE || rule->type == RULE_WATCH || rule->type == RULE_REDIRECT;
}

/* An action entry. Returns true if it ends the set with res->outcome. */
static bool act(const struct filter_eval *ev, struct filter_set *set, const struct rule *rule,
                struct set_result *res)
{
    if (!set->match) {
        if (ev->is_inbound && is_forward(rule) && forward_target(rule) == ev->in->network->self) {
            set->is_super = true;
        }
        set->match = true;
        return false;
    }
    switch (rule->type) {
    case RULE_DROP:
        if (set->skip_drop) {
            set->skip_drop = false;
            return false;
        }
        res->outcome = FILTER_SET_DROP;
        return true;
    case RULE_ACCEPT:
        res->outcome = set->is_super ? FILTER_SET_SUPER_ACCEPT : FILTER_SET_ACCEPT;
        return true;
    case RULE_TEE:
    case RULE_WATCH:
    case RULE_REDIRECT:
        return forward(ev, rule, res);
    case RULE_BREAK:
        return true;
    case RULE_PRIORITY:
        res->bucket = rule->bucket < RULE_QOS_BUCKETS ? rule->bucket : BUCKET_DEFAULT;
        res->outcome = FILTER_SET_ACCEPT;
        return true;
    default:
        return false;
    }
}

/* Note the state before rule number i and the result of its match: 0 skipped, 1 false, 2 true. */
static void note(uint8_t *log, size_t i, bool state, unsigned result)
{
    if (log != NULL && i / 2 < FILTER_LOG_LEN) {
        unsigned bits = result << 2 | (state ? 2U : 1U);

        log[i / 2] |= (uint8_t)(bits << 4 * (i & 1));
    }
}

static bool holds(const struct filter_op *op, const struct filter_fields *fields)
{
    bool is_in = (fields->value[op->field] & op->mask) - op->first <= op->span;

    return is_in != op->is_not && (fields->valid >> op->field & 1) != 0;
}

/* The result of a match with NOT taken into account. */
static inline bool is_true(struct filter_eval *ev, struct filter_set *set, const struct rule *rule)
{
    enum filter_match m = filter_match(ev, set, rule);

    return m == MATCH_HARD_YES || (m != MATCH_HARD_NO && (m == MATCH_YES) != rule->is_not);
}

/* The same as run_set, made ready. */
static struct set_result run_program(struct filter_eval *ev, const struct rule *rules,
                                     const struct filter_op *ops, size_t count)
{
    const struct filter_fields *fields = filter_fields(ev);
    struct set_result res = {.outcome = FILTER_NO_MATCH, .dest = ev->in->dest};
    struct filter_set set = {.match = true};

    for (size_t i = 0; i < count;) {
        const struct filter_op *op = &ops[i];
        bool yes;

        if (op->kind == FILTER_OP_ACTION) {
            if (act(ev, &set, &rules[op->rule], &res)) {
                break;
            }
            i++;
            continue;
        }
        yes = op->kind == FILTER_OP_FIELD ? holds(op, fields) : is_true(ev, &set, &rules[op->rule]);
        if (yes || (op->is_or && set.match)) {
            set.match = true;
            i++;
        } else {
            set.match = op->resets;
            i = op->on_false;
        }
    }
    return res;
}

static struct set_result run_set(struct filter_eval *ev, const struct rule *rules,
                                 const struct filter_op *program, size_t count, uint8_t *log)
{
    struct set_result res = {.outcome = FILTER_NO_MATCH, .dest = ev->in->dest};
    struct filter_set set = {.match = true};

    if (program != NULL && log == NULL) {
        return run_program(ev, rules, program, count);
    }
    if (log != NULL) {
        memset(log, 0, FILTER_LOG_LEN);
    }
    for (size_t i = 0; i < count; i++) {
        const struct rule *rule = &rules[i];
        bool yes;

        if (rule->type <= RULE_ACTION_LAST) {
            if (!set.match && !is_forward(rule)) {
                set.match = true;
            } else if (act(ev, &set, rule, &res)) {
                break;
            }
            continue;
        }
        if (!set.match && !rule->is_or) {
            note(log, i, set.match, 0);
            continue;
        }
        yes = is_true(ev, &set, rule);
        note(log, i, set.match, yes ? 2 : 1);
        set.match = rule->is_or ? set.match || yes : set.match && yes;
    }
    return res;
}

static bool accepts(const struct set_result *res)
{
    return res->outcome == FILTER_SET_ACCEPT || res->outcome == FILTER_SET_REDIRECT ||
           res->outcome == FILTER_SET_SUPER_ACCEPT;
}

/* Try the capabilities in ascending id. Returns true if one accepts, with *ret its result. */
static bool run_capabilities(struct filter_eval *ev, const struct filter_credentials *from,
                             struct filter_result *result, struct set_result *ret)
{
    for (size_t i = 0; from != NULL && i < from->capability_count; i++) {
        const struct filter_capability *cap = &from->capabilities[i];

        if (ev->is_inbound && !filter_is_valid(ev->in->network, cap->timestamp, &cap->revoked)) {
            continue;
        }
        *ret = run_set(ev, cap->rules, cap->program, cap->rule_count,
                       ev->in->log != NULL ? ev->in->log->capability : NULL);
        if (accepts(ret)) {
            result->by_capability = true;
            result->capability_id = cap->id;
            return true;
        }
    }
    return false;
}

static void add_effect(struct filter_result *result, uint64_t target, size_t len, uint8_t flags,
                       bool is_redirect)
{
    if (target == 0) {
        return;
    }
    result->effects[result->effect_count++] = (struct filter_effect){
        .target = target,
        .len = len,
        .flags = flags,
        .is_redirect = is_redirect,
    };
}

static void add_copy(const struct filter_eval *ev, struct filter_result *result,
                     const struct set_result *set)
{
    if (!set->has_copy || ev->in->no_tee) {
        return;
    }
    if (ev->is_inbound) {
        add_effect(result, set->copy_target, set->copy_len,
                   set->copy_is_watch ? EXT_FRAME_WATCH_IN : EXT_FRAME_TEE_IN, false);
    } else {
        add_effect(result, set->copy_target, set->copy_len,
                   set->copy_is_watch ? EXT_FRAME_WATCH_OUT : EXT_FRAME_TEE_OUT, false);
    }
}

static void decide(struct filter_eval *ev, const struct filter_credentials *capabilities_of,
                   struct filter_result *ret)
{
    const struct filter_network *network = ev->in->network;
    struct filter_result result = {.verdict = FILTER_DROP};
    struct set_result base;
    struct set_result last;

    if (ev->in->log != NULL) {
        memset(ev->in->log->capability, 0, FILTER_LOG_LEN);
    }
    base = run_set(ev, network->rules, network->program, network->rule_count,
                   ev->in->log != NULL ? ev->in->log->base : NULL);
    last = base;
    result.base = base.outcome;
    if (base.outcome == FILTER_NO_MATCH && run_capabilities(ev, capabilities_of, &result, &last)) {
        add_copy(ev, &result, &last);
    }
    if (accepts(&last)) {
        add_copy(ev, &result, &base);
        result.bucket = last.bucket;
        if (last.dest != ev->in->dest) {
            add_effect(&result, last.dest, ev->frame->len,
                       ev->is_inbound ? EXT_FRAME_REDIRECT_IN : EXT_FRAME_REDIRECT_OUT, true);
        } else if (ev->is_inbound && last.outcome == FILTER_SET_SUPER_ACCEPT) {
            result.verdict = FILTER_SUPER_ACCEPT;
        } else {
            result.verdict = FILTER_ACCEPT;
        }
    }
    *ret = result;
}

/* The fields are filled when they are needed. */
static void begin(struct filter_eval *ev, const struct filter_input *in, bool is_inbound)
{
    ev->in = in;
    ev->frame = in->frame;
    ev->is_inbound = is_inbound;
    ev->is_walked = false;
    ev->has_fields = false;
}

void filter_outbound(const struct filter_input *in, struct filter_result *ret)
{
    struct filter_eval ev;

    begin(&ev, in, false);
    decide(&ev, &in->network->own, ret);
}

void filter_inbound(const struct filter_input *in, struct filter_result *ret)
{
    struct filter_eval ev;

    begin(&ev, in, true);
    decide(&ev, in->remote, ret);
}
