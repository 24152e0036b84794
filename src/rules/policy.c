/* From entries of the language to rules of nodes. The same narrowing happens on the way through a
 * controller's JSON (controller/rules_json.c); a test compares the two. */
#include "rules/policy.h"

#include "rules/words.h"
#include "wire/inetaddr.h"
#include "wire/mac.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* Hexadecimal digits up to the first other character; the low 40 bits. */
static uint64_t address_of(struct rdl_text text)
{
    uint64_t value = 0;
    for (size_t i = 0; i < text.len; i++) {
        char c = text.p[i];
        unsigned digit = c >= '0' && c <= '9' ? (unsigned)(c - '0')
                         : (c | 0x20) >= 'a' && (c | 0x20) <= 'f'
                             ? (unsigned)((c | 0x20) - 'a' + 10)
                             : 16;
        if (digit == 16) {
            break;
        }
        value = value << 4 | digit;
    }
    return value & UINT64_C(0xffffffffff);
}

static void prefix_of(const struct rdl_entry *e, struct rule *rule)
{
    bool is_v4 = e->type == RULE_IPV4_SOURCE || e->type == RULE_IPV4_DEST;
    unsigned most = is_v4 ? 32 : 128;
    struct inetaddr ip;
    if (inetaddr_parse(e->text.p, e->text.len, &ip) == 0 &&
        ip.family == (is_v4 ? INETADDR_V4 : INETADDR_V6)) {
        memcpy(rule->ip, ip.ip, inetaddr_ip_len(&ip));
        rule->prefix = (uint8_t)(ip.port > most ? most : ip.port);
    }
}

static void match_rule(const struct rdl_entry *e, const struct match_word *m, struct rule *rule)
{
    switch (m->kind) {
    case MATCH_ZT:
        rule->address = address_of(e->text);
        break;
    case MATCH_MAC:
        if (mac_parse(e->text.p, e->text.len, &rule->mac) != 0) {
            rule->mac = 0;
        }
        break;
    case MATCH_IP:
        prefix_of(e, rule);
        break;
    case MATCH_TOS:
        rule->tos.mask = (uint8_t)e->a;
        rule->tos.start = (uint8_t)e->b;
        rule->tos.end = (uint8_t)e->c;
        break;
    case MATCH_ICMP:
        rule->icmp.type = (uint8_t)e->a;
        rule->icmp.code = (uint8_t)(e->b < 0 ? 0 : e->b);
        rule->icmp.flags = e->b < 0 ? 0 : RULE_ICMP_CODE;
        break;
    case MATCH_RANGE:
        rule->range.start = (uint16_t)e->a;
        rule->range.end = (uint16_t)e->b;
        break;
    case MATCH_CHARACTERISTICS:
        rule->mask = e->mask;
        break;
    case MATCH_RANDOM:
        rule->probability = (uint32_t)e->a;
        break;
    case MATCH_TAG:
        rule->id = (uint32_t)e->a;
        rule->value = (uint32_t)e->b;
        break;
    default: {
        bool is_wide = e->type == RULE_VLAN_ID || e->type == RULE_ETHERTYPE;
        rule->number = (uint16_t)(e->a & (is_wide ? 0xffff : 0xff));
        break;
    }
    }
}

void policy_rule(const struct rdl_entry *entry, struct rule *ret)
{
    const struct match_word *m = word_match_of_type(entry->type);
    memset(ret, 0, sizeof(*ret));
    ret->type = entry->type;
    ret->is_not = entry->is_not;
    ret->is_or = entry->is_or;
    if (m != NULL) {
        match_rule(entry, m, ret);
    } else if (entry->type == RULE_TEE || entry->type == RULE_WATCH ||
               entry->type == RULE_REDIRECT) {
        ret->forward.address = address_of(entry->text);
        ret->forward.length = entry->type == RULE_REDIRECT ? 0 : (uint16_t)entry->a;
    }
}

/* Rules of a set, at most so many. Returns NULL out of memory. */
static struct rule *rules_of(const struct rdl_set *set, size_t most, size_t *ret_count)
{
    size_t count = set->count < most ? set->count : most;
    struct rule *rules = calloc(count + 1, sizeof(*rules));
    for (size_t i = 0; i < count && rules != NULL; i++) {
        policy_rule(&set->entries[i], &rules[i]);
    }
    *ret_count = count;
    return rules;
}

static int by_id(const void *a, const void *b)
{
    const struct policy_capability *x = a;
    const struct policy_capability *y = b;
    return (x->source->id > y->source->id) - (x->source->id < y->source->id);
}

int policy_make(const struct rdl_result *result, struct policy *ret)
{
    struct policy p = {.result = result};
    p.rules = rules_of(&result->base, RULES_BASE_MAX, &p.count);
    p.capabilities = calloc(result->capability_count + 1, sizeof(*p.capabilities));
    bool is_good = p.rules != NULL && p.capabilities != NULL;
    for (size_t i = 0; i < result->capability_count && is_good; i++) {
        struct policy_capability *c = &p.capabilities[p.capability_count++];
        c->source = &result->capabilities[i];
        c->rules = rules_of(&c->source->rules, RULES_CAPABILITY_MAX, &c->count);
        is_good = c->rules != NULL;
    }
    if (!is_good) {
        policy_done(&p);
        return -ENOMEM;
    }
    qsort(p.capabilities, p.capability_count, sizeof(*p.capabilities), by_id);
    *ret = p;
    return 0;
}

void policy_done(struct policy *p)
{
    for (size_t i = 0; i < p->capability_count; i++) {
        free(p->capabilities[i].rules);
    }
    free(p->capabilities);
    free(p->rules);
}
