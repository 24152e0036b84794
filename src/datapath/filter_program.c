/* Making rule sets ready. Matches of a group (up to an action) that are joined by AND and read
 * nothing but fields may be asked in any order: those that rarely hold come first. All else keeps
 * its place, as it may draw a number or leave something to the receiver.
 * Source: see filter_program.h. */
#include "datapath/filter_program.h"

#include "base/cursor.h"

/* ---- single matches ---- */

/* start..end; an empty range never holds. */
static void set_range(struct filter_op *op, enum filter_field field, uint64_t mask, uint64_t start,
                      uint64_t end)
{
    op->kind = FILTER_OP_FIELD;
    op->field = (uint8_t)field;
    op->mask = mask;
    op->first = start;
    op->span = end - start;
    if (end < start) {
        op->mask = 0;
        op->first = 1;
        op->span = 0;
    }
}

static void set_value(struct filter_op *op, enum filter_field field, uint64_t value)
{
    set_range(op, field, UINT64_MAX, value, value);
}

/* Host bits in the rule's address do not count here. */
static void set_ipv4(struct filter_op *op, enum filter_field field, const struct rule *rule)
{
    unsigned bits = rule->prefix < 32 ? rule->prefix : 32;
    uint32_t mask = bits == 0 ? 0 : UINT32_MAX << (32 - bits);
    uint32_t net = be32_get(rule->ip) & mask;

    set_range(op, field, mask, net, net);
}

/* Here they make it never match. Prefixes that reach into the second half are not for fields. */
static void set_ipv6(struct filter_op *op, enum filter_field field, const struct rule *rule)
{
    uint64_t mask = rule->prefix == 0 ? 0 : UINT64_MAX << (64 - rule->prefix);
    uint64_t net = be64_get(rule->ip);

    set_range(op, field, mask, net, net);
}

static bool is_short_ipv6(const struct rule *rule)
{
    return rule->prefix <= 64 && be64_get(rule->ip + 8) == 0;
}

static void set_characteristics(struct filter_op *op, uint64_t mask)
{
    set_range(op, FIELD_CHARACTERISTICS, mask, 1, UINT64_MAX); /* any bit */
}

/* Fill what is compared; leaves FILTER_OP_MATCH where it is more than a field. */
static void set_match(struct filter_op *op, const struct rule *rule)
{
    bool is_source = rule->type == RULE_IPV6_SOURCE || rule->type == RULE_IPV4_SOURCE;

    switch (rule->type) {
    case RULE_SOURCE_ADDRESS:
        set_value(op, FIELD_SOURCE, rule->address);
        break;
    case RULE_DEST_ADDRESS:
        set_value(op, FIELD_DEST, rule->address);
        break;
    case RULE_VLAN_ID:
    case RULE_VLAN_PCP:
    case RULE_VLAN_DEI:
        set_value(op, FIELD_NOTHING, rule->number);
        break;
    case RULE_MAC_SOURCE:
        set_value(op, FIELD_MAC_SOURCE, rule->mac);
        break;
    case RULE_MAC_DEST:
        set_value(op, FIELD_MAC_DEST, rule->mac);
        break;
    case RULE_IPV4_SOURCE:
    case RULE_IPV4_DEST:
        set_ipv4(op, is_source ? FIELD_IPV4_SOURCE : FIELD_IPV4_DEST, rule);
        break;
    case RULE_IPV6_SOURCE:
    case RULE_IPV6_DEST:
        if (is_short_ipv6(rule)) {
            set_ipv6(op, is_source ? FIELD_IPV6_SOURCE : FIELD_IPV6_DEST, rule);
        }
        break;
    case RULE_IP_TOS:
        set_range(op, FIELD_TOS, rule->tos.mask, rule->tos.start, rule->tos.end);
        break;
    case RULE_IP_PROTOCOL:
        set_value(op, FIELD_PROTOCOL, rule->number);
        break;
    case RULE_ETHERTYPE:
        set_value(op, FIELD_ETHERTYPE, rule->number);
        break;
    case RULE_SOURCE_PORT:
        set_range(op, FIELD_SOURCE_PORT, UINT64_MAX, rule->range.start, rule->range.end);
        break;
    case RULE_DEST_PORT:
        set_range(op, FIELD_DEST_PORT, UINT64_MAX, rule->range.start, rule->range.end);
        break;
    case RULE_CHARACTERISTICS:
        if ((rule->mask & (RULE_CHAR_SENDER_IP | RULE_CHAR_SENDER_MAC)) == 0) {
            set_characteristics(op, rule->mask);
        }
        break;
    case RULE_FRAME_SIZE:
        set_range(op, FIELD_LEN, UINT64_MAX, rule->range.start, rule->range.end);
        break;
    default:
        break;
    }
}

/* ---- the set ---- */

static struct filter_op make(const struct rule *rule, size_t index)
{
    struct filter_op op = {.kind = FILTER_OP_MATCH, .rule = (uint16_t)index};

    if (rule->type <= RULE_ACTION_LAST) {
        op.kind = FILTER_OP_ACTION;
        return op;
    }
    op.is_not = rule->is_not;
    op.is_or = rule->is_or;
    set_match(&op, rule);
    return op;
}

/* How often it is likely to hold; 0: hardly ever. */
static unsigned rank(const struct filter_op *op)
{
    if (op->is_not) {
        return 3;
    }
    switch (op->field) {
    case FIELD_ETHERTYPE:
    case FIELD_PROTOCOL:
    case FIELD_LEN:
        return 2;
    case FIELD_CHARACTERISTICS:
    case FIELD_TOS:
        return 1;
    default:
        return 0;
    }
}

static bool is_movable(const struct filter_op *op)
{
    return op->kind == FILTER_OP_FIELD && !op->is_or;
}

/* Order the entries of a group up to the first that must stay. Returns how many. */
static size_t order(struct filter_op *ops, size_t count)
{
    size_t n = 0;

    for (; n < count && is_movable(&ops[n]); n++) {
        struct filter_op op = ops[n];
        size_t at = n;

        for (; at > 0 && rank(&ops[at - 1]) > rank(&op); at--) {
            ops[at] = ops[at - 1];
        }
        ops[at] = op;
    }
    return n;
}

static bool is_forward(const struct rule *rule)
{
    return rule->type == RULE_TEE || rule->type == RULE_WATCH || rule->type == RULE_REDIRECT;
}

/* Where what is done next with a false state is: a match joined by OR, or behind the next action.
 * Actions that forward are looked at even then. */
static void link_ops(const struct rule *rules, size_t count, struct filter_op *ops)
{
    uint16_t next = (uint16_t)count;
    bool resets = false;

    for (size_t i = count; i-- > 0;) {
        struct filter_op *op = &ops[i];

        op->on_false = next;
        op->resets = resets;
        if (op->kind == FILTER_OP_ACTION) {
            resets = !is_forward(&rules[op->rule]);
            next = (uint16_t)(resets ? i + 1 : i);
        } else if (op->is_or) {
            resets = false;
            next = (uint16_t)i;
        }
    }
}

void filter_compile(const struct rule *rules, size_t count, struct filter_op *ops)
{
    for (size_t i = 0; i < count; i++) {
        ops[i] = make(&rules[i], i);
    }
    for (size_t i = 0; i < count; i++) {
        if (i == 0 || ops[i - 1].kind == FILTER_OP_ACTION) {
            size_t n = order(&ops[i], count - i);

            i += n > 0 ? n - 1 : 0;
        }
    }
    link_ops(rules, count, ops);
}
