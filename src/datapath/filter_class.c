/* What a rule program reads. Source: data path contract section 4, spec 09 section 7. */
#include "datapath/filter_class.h"

/* TCP flags that differ between the segments of one super-frame: CWR, PSH, FIN. */
enum { TCP_FLAGS_VARYING = 0x80 | 0x08 | 0x01 };

/* Join the traits of one characteristics mask. */
static void add_characteristics(struct filter_traits *t, uint64_t mask)
{
    if ((mask & (RULE_CHAR_MULTICAST | RULE_CHAR_BROADCAST)) != 0) {
        t->reads |= FILTER_READS_DEST_KIND;
    }
    if ((mask & RULE_CHAR_SENDER_IP) != 0) {
        t->reads |= FILTER_READS_SENDER_IP | FILTER_READS_ETHERTYPE | FILTER_READS_CREDENTIALS;
    }
    if ((mask & RULE_CHAR_SENDER_MAC) != 0) {
        t->reads |= FILTER_READS_MACS | FILTER_READS_CREDENTIALS;
    }
    if ((mask & RULE_CHAR_TCP_MASK) != 0) {
        t->reads |= FILTER_READS_ETHERTYPE | FILTER_READS_IP_PROTOCOL;
        t->tcp_flags |= (uint16_t)(mask & RULE_CHAR_TCP_MASK);
    }
    if ((mask & TCP_FLAGS_VARYING) != 0) {
        t->class = FILTER_UNSAFE;
    }
}

/* Inputs a match reads, 0 for those that read none; false for those that are unsafe. */
static bool match_reads(enum rule_type type, uint32_t *ret)
{
    const uint32_t ip = FILTER_READS_ETHERTYPE;

    switch (type) {
    case RULE_SOURCE_ADDRESS:
    case RULE_DEST_ADDRESS:
        *ret = FILTER_READS_MEMBERS;
        return true;
    case RULE_VLAN_ID:
    case RULE_VLAN_PCP:
    case RULE_VLAN_DEI:
        *ret = 0;
        return true;
    case RULE_MAC_SOURCE:
    case RULE_MAC_DEST:
        *ret = FILTER_READS_MACS;
        return true;
    case RULE_IPV4_SOURCE:
    case RULE_IPV6_SOURCE:
        *ret = ip | FILTER_READS_IP_SOURCE;
        return true;
    case RULE_IPV4_DEST:
    case RULE_IPV6_DEST:
        *ret = ip | FILTER_READS_IP_DEST;
        return true;
    case RULE_IP_TOS:
        *ret = ip | FILTER_READS_TOS;
        return true;
    case RULE_IP_PROTOCOL:
        *ret = ip | FILTER_READS_IP_PROTOCOL;
        return true;
    case RULE_ETHERTYPE:
        *ret = FILTER_READS_ETHERTYPE;
        return true;
    case RULE_ICMP:
        *ret = ip | FILTER_READS_IP_PROTOCOL | FILTER_READS_ICMP;
        return true;
    case RULE_SOURCE_PORT:
    case RULE_DEST_PORT:
        *ret = ip | FILTER_READS_IP_PROTOCOL | FILTER_READS_PORTS;
        return true;
    case RULE_TAGS_DIFFERENCE:
    case RULE_TAGS_AND:
    case RULE_TAGS_OR:
    case RULE_TAGS_XOR:
    case RULE_TAGS_EQUAL:
    case RULE_TAG_SENDER:
    case RULE_TAG_RECEIVER:
        *ret = FILTER_READS_CREDENTIALS;
        return true;
    default: /* size, random, integer range, unknown */
        return false;
    }
}

static void add_match(struct filter_traits *t, const struct rule *rule)
{
    uint32_t reads = 0;

    if (rule->type == RULE_CHARACTERISTICS) {
        add_characteristics(t, rule->mask);
    } else if (match_reads(rule->type, &reads)) {
        t->reads |= reads;
    } else {
        t->class = FILTER_UNSAFE;
    }
}

/* True for actions that end the set whenever they are reached with the matches true. */
static bool always_ends(const struct rule *rule)
{
    return rule->type == RULE_ACCEPT || rule->type == RULE_PRIORITY || rule->type == RULE_BREAK;
}

struct filter_traits filter_classify(const struct rule *rules, size_t count)
{
    struct filter_traits t = {.class = FILTER_CONSTANT};
    bool is_certain = true; /* the matches before this entry are true in any case */

    for (size_t i = 0; i < count; i++) {
        const struct rule *rule = &rules[i];

        if (!rule_is_action(rule)) {
            add_match(&t, rule);
            is_certain = false;
            continue;
        }
        if (rule->type == RULE_TEE || rule->type == RULE_WATCH || rule->type == RULE_REDIRECT) {
            t.class = FILTER_UNSAFE;
            t.acts = true;
        }
        if (is_certain && always_ends(rule)) {
            t.accepts_all = i == 0 && rule->type == RULE_ACCEPT;
            break;
        }
        is_certain = true;
    }
    if (t.class == FILTER_CONSTANT && (t.reads & ~(uint32_t)FILTER_READS_ETHERTYPE) != 0) {
        t.class = FILTER_SAFE;
    }
    return t;
}

struct filter_traits filter_traits_join(struct filter_traits a, struct filter_traits b)
{
    return (struct filter_traits){
        .class = a.class > b.class ? a.class : b.class,
        .reads = a.reads | b.reads,
        .tcp_flags = a.tcp_flags | b.tcp_flags,
        .acts = a.acts || b.acts,
        .accepts_all = a.accepts_all,
    };
}
