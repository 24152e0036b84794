/* Lint that follows frames through the base rules, as far as can be told without members: a match
 * is true, false or unknown. Source: spec 06 section 16.5, W209 and W210. */
#include "rules/lint.h"

#include "wire/rule.h"

enum known { NO, YES, MAYBE };

enum {
    ETHERTYPE_IPV4 = 0x0800,
    ETHERTYPE_ARP = 0x0806,
    PROTO_TCP = 6,
    CLIENT_PORT = 49152,
    TCP_SYN = 1 << 1,
    TCP_ACK = 1 << 4,
    STEPS_MAX = 1 << 23, /* rules looked at for W209, each up to four times */
};

/* A frame as far as it is known: TCP over IPv4, or ARP. */
struct sketch {
    bool is_arp;
    uint16_t source_port;
    uint16_t dest_port;
    uint64_t bits; /* characteristics it has */
};

static enum known known(bool yes)
{
    return yes ? YES : NO;
}

static bool in_range(const struct rdl_entry *e, int64_t value)
{
    return value >= e->a && value <= e->b;
}

/* A match with its NOT. */
static enum known test(const struct sketch *f, const struct rdl_entry *e)
{
    const uint64_t unknown_bits = RULE_CHAR_SENDER_IP | RULE_CHAR_SENDER_MAC;
    enum known yes = MAYBE;
    switch (e->type) {
    case RULE_ETHERTYPE:
        yes = known((e->a & 0xffff) == (f->is_arp ? ETHERTYPE_ARP : ETHERTYPE_IPV4));
        break;
    case RULE_IPV4_SOURCE:
    case RULE_IPV4_DEST:
    case RULE_IP_TOS:
        if (f->is_arp) {
            return NO;
        }
        break;
    case RULE_IPV6_SOURCE:
    case RULE_IPV6_DEST:
    case RULE_ICMP:
        return NO;
    case RULE_IP_PROTOCOL:
        if (f->is_arp) {
            return NO;
        }
        yes = known((e->a & 0xff) == PROTO_TCP);
        break;
    case RULE_SOURCE_PORT:
    case RULE_DEST_PORT:
        if (f->is_arp) {
            return NO;
        }
        yes = known(in_range(e, e->type == RULE_SOURCE_PORT ? f->source_port : f->dest_port));
        break;
    case RULE_CHARACTERISTICS:
        yes = (e->mask & f->bits) != 0 ? YES : (e->mask & unknown_bits) != 0 ? MAYBE : NO;
        break;
    default:
        break;
    }
    return e->is_not && yes != MAYBE ? known(yes == NO) : yes;
}

static enum known join(enum known state, const struct rdl_entry *e, enum known yes)
{
    if (e->is_or) {
        return state == YES || yes == YES ? YES : state == NO && yes == NO ? NO : MAYBE;
    }
    return state == NO || yes == NO ? NO : state == YES && yes == YES ? YES : MAYBE;
}

/* Is the frame accepted, as far as can be told? */
static bool accepts(const struct rdl_set *set, const struct sketch *f)
{
    enum known state = YES;
    for (size_t i = 0; i < set->count; i++) {
        const struct rdl_entry *e = &set->entries[i];
        if (e->type > RULE_ACTION_LAST) {
            state = join(state, e, test(f, e));
            continue;
        }
        if (e->type == RULE_ACCEPT && state != NO) {
            return true;
        }
        if ((e->type == RULE_DROP || e->type == RULE_BREAK) && state == YES) {
            return false;
        }
        state = YES;
    }
    return false;
}

/* By both sides. */
static bool passes(const struct rdl_set *set, struct sketch f)
{
    bool outbound = accepts(set, &f);
    f.bits |= RULE_CHAR_INBOUND;
    return outbound && accepts(set, &f);
}

static bool replies_are_blocked(const struct rdl_set *base, uint16_t port)
{
    struct sketch syn = {.source_port = CLIENT_PORT, .dest_port = port, .bits = TCP_SYN};
    struct sketch ack = {.source_port = port, .dest_port = CLIENT_PORT, .bits = TCP_SYN | TCP_ACK};
    return passes(base, syn) && !passes(base, ack);
}

/* Each port once; of a script with very many ports and rules, not all. */
static void lint_replies(struct run *run, const struct rdl_set *base)
{
    uint8_t seen[8192] = {0};
    size_t budget = STEPS_MAX;
    for (size_t i = 0; i < base->count && budget > base->count; i++) {
        const struct rdl_entry *e = &base->entries[i];
        bool is_port = e->type == RULE_DEST_PORT && !e->is_not && e->a > 0;
        if (!is_port || (seen[e->a / 8] >> e->a % 8 & 1) != 0) {
            continue;
        }
        seen[e->a / 8] |= (uint8_t)(1 << e->a % 8);
        budget -= base->count;
        if (replies_are_blocked(base, (uint16_t)e->a)) {
            lint_note(run, e, 209, run_format(run, "port %d", (int)e->a));
        }
    }
}

static bool is_tag(const struct rdl_entry *e)
{
    return e->type >= RULE_TAGS_DIFFERENCE && e->type <= RULE_TAG_RECEIVER;
}

static void lint_arp(struct run *run, const struct rdl_set *base)
{
    const struct sketch arp = {.is_arp = true, .bits = RULE_CHAR_BROADCAST | RULE_CHAR_MULTICAST};
    enum known state = YES;
    for (size_t i = 0; i < base->count; i++) {
        const struct rdl_entry *e = &base->entries[i];
        bool ends = e->type == RULE_ACCEPT || e->type == RULE_DROP || e->type == RULE_BREAK;
        if (e->type > RULE_ACTION_LAST) {
            if (is_tag(e) && (state != NO || e->is_or)) {
                lint_note(run, e, 210, NULL);
                return;
            }
            state = join(state, e, test(&arp, e));
        } else if (ends && state == YES) {
            return;
        } else {
            state = YES;
        }
    }
}

void lint_frames(struct run *run, const struct rdl_set *base)
{
    lint_replies(run, base);
    lint_arp(run, base);
}
