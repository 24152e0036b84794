/* Binary form of rules. Source: spec 03 section 15. */
#include "wire/rule.h"

#include <errno.h>
#include <string.h>

/* Layout of a value: what fields it is made of. */
enum layout {
    LAYOUT_NONE = 0,
    LAYOUT_FORWARD,
    LAYOUT_ADDRESS,
    LAYOUT_U8,
    LAYOUT_U16,
    LAYOUT_MAC,
    LAYOUT_IPV4,
    LAYOUT_IPV6,
    LAYOUT_TOS,
    LAYOUT_ICMP,
    LAYOUT_RANGE,
    LAYOUT_MASK,
    LAYOUT_RANDOM,
    LAYOUT_TAG,
    LAYOUT_INTEGER,
};

static const uint8_t layout_len[] = {
    [LAYOUT_NONE] = 0,   [LAYOUT_FORWARD] = 14, [LAYOUT_ADDRESS] = 5,  [LAYOUT_U8] = 1,
    [LAYOUT_U16] = 2,    [LAYOUT_MAC] = 6,      [LAYOUT_IPV4] = 5,     [LAYOUT_IPV6] = 17,
    [LAYOUT_TOS] = 3,    [LAYOUT_ICMP] = 3,     [LAYOUT_RANGE] = 4,    [LAYOUT_MASK] = 8,
    [LAYOUT_RANDOM] = 4, [LAYOUT_TAG] = 8,      [LAYOUT_INTEGER] = 19,
};

struct rule_info {
    const char *name; /* NULL: unknown type */
    enum layout layout;
};

static const struct rule_info infos[RULE_TYPE_LAST + 1] = {
    [RULE_DROP] = {"ACTION_DROP", LAYOUT_NONE},
    [RULE_ACCEPT] = {"ACTION_ACCEPT", LAYOUT_NONE},
    [RULE_TEE] = {"ACTION_TEE", LAYOUT_FORWARD},
    [RULE_WATCH] = {"ACTION_WATCH", LAYOUT_FORWARD},
    [RULE_REDIRECT] = {"ACTION_REDIRECT", LAYOUT_FORWARD},
    [RULE_BREAK] = {"ACTION_BREAK", LAYOUT_NONE},
    [RULE_PRIORITY] = {"ACTION_PRIORITY", LAYOUT_NONE},
    [RULE_SOURCE_ADDRESS] = {"MATCH_SOURCE_ZEROTIER_ADDRESS", LAYOUT_ADDRESS},
    [RULE_DEST_ADDRESS] = {"MATCH_DEST_ZEROTIER_ADDRESS", LAYOUT_ADDRESS},
    [RULE_VLAN_ID] = {"MATCH_VLAN_ID", LAYOUT_U16},
    [RULE_VLAN_PCP] = {"MATCH_VLAN_PCP", LAYOUT_U8},
    [RULE_VLAN_DEI] = {"MATCH_VLAN_DEI", LAYOUT_U8},
    [RULE_MAC_SOURCE] = {"MATCH_MAC_SOURCE", LAYOUT_MAC},
    [RULE_MAC_DEST] = {"MATCH_MAC_DEST", LAYOUT_MAC},
    [RULE_IPV4_SOURCE] = {"MATCH_IPV4_SOURCE", LAYOUT_IPV4},
    [RULE_IPV4_DEST] = {"MATCH_IPV4_DEST", LAYOUT_IPV4},
    [RULE_IPV6_SOURCE] = {"MATCH_IPV6_SOURCE", LAYOUT_IPV6},
    [RULE_IPV6_DEST] = {"MATCH_IPV6_DEST", LAYOUT_IPV6},
    [RULE_IP_TOS] = {"MATCH_IP_TOS", LAYOUT_TOS},
    [RULE_IP_PROTOCOL] = {"MATCH_IP_PROTOCOL", LAYOUT_U8},
    [RULE_ETHERTYPE] = {"MATCH_ETHERTYPE", LAYOUT_U16},
    [RULE_ICMP] = {"MATCH_ICMP", LAYOUT_ICMP},
    [RULE_SOURCE_PORT] = {"MATCH_IP_SOURCE_PORT_RANGE", LAYOUT_RANGE},
    [RULE_DEST_PORT] = {"MATCH_IP_DEST_PORT_RANGE", LAYOUT_RANGE},
    [RULE_CHARACTERISTICS] = {"MATCH_CHARACTERISTICS", LAYOUT_MASK},
    [RULE_FRAME_SIZE] = {"MATCH_FRAME_SIZE_RANGE", LAYOUT_RANGE},
    [RULE_RANDOM] = {"MATCH_RANDOM", LAYOUT_RANDOM},
    [RULE_TAGS_DIFFERENCE] = {"MATCH_TAGS_DIFFERENCE", LAYOUT_TAG},
    [RULE_TAGS_AND] = {"MATCH_TAGS_BITWISE_AND", LAYOUT_TAG},
    [RULE_TAGS_OR] = {"MATCH_TAGS_BITWISE_OR", LAYOUT_TAG},
    [RULE_TAGS_XOR] = {"MATCH_TAGS_BITWISE_XOR", LAYOUT_TAG},
    [RULE_TAGS_EQUAL] = {"MATCH_TAGS_EQUAL", LAYOUT_TAG},
    [RULE_TAG_SENDER] = {"MATCH_TAG_SENDER", LAYOUT_TAG},
    [RULE_TAG_RECEIVER] = {"MATCH_TAG_RECEIVER", LAYOUT_TAG},
    [RULE_INTEGER_RANGE] = {"INTEGER_RANGE", LAYOUT_INTEGER},
};

_Static_assert(sizeof(struct rule) == 24, "1024 rules are 24 KiB");

enum {
    BIT_NOT = 0x80,
    BIT_OR = 0x40,
    TYPE_MASK = 0x3f,
};

/* Read the value of a rule whose type is set from v, which was tested to be long enough. */
static void value_read(struct rd *v, enum layout layout, struct rule *rule)
{
    switch (layout) {
    case LAYOUT_NONE:
        break;
    case LAYOUT_FORWARD:
        rule->forward.address = rd_u64(v);
        rule->forward.flags = rd_u32(v);
        rule->forward.length = rd_u16(v);
        break;
    case LAYOUT_ADDRESS:
        rule->address = rd_u40(v);
        break;
    case LAYOUT_U8:
        rule->number = rd_u8(v);
        break;
    case LAYOUT_U16:
        rule->number = rd_u16(v);
        break;
    case LAYOUT_MAC:
        rule->mac = (uint64_t)rd_u16(v) << 32;
        rule->mac |= rd_u32(v);
        break;
    case LAYOUT_IPV4:
        rd_copy(v, rule->ip, 4);
        rule->prefix = rd_u8(v);
        break;
    case LAYOUT_IPV6:
        rd_copy(v, rule->ip, 16);
        rule->prefix = rd_u8(v);
        break;
    case LAYOUT_TOS:
        rule->tos.mask = rd_u8(v);
        rule->tos.start = rd_u8(v);
        rule->tos.end = rd_u8(v);
        break;
    case LAYOUT_ICMP:
        rule->icmp.type = rd_u8(v);
        rule->icmp.code = rd_u8(v);
        rule->icmp.flags = rd_u8(v);
        break;
    case LAYOUT_RANGE:
        rule->range.start = rd_u16(v);
        rule->range.end = rd_u16(v);
        break;
    case LAYOUT_MASK:
        rule->mask = rd_u64(v);
        break;
    case LAYOUT_RANDOM:
        rule->probability = rd_u32(v);
        break;
    case LAYOUT_TAG:
        rule->id = rd_u32(v);
        rule->value = rd_u32(v);
        break;
    case LAYOUT_INTEGER:
        rule->integer.start = rd_u64(v);
        rule->integer.distance = (uint32_t)(rd_u64(v) - rule->integer.start);
        rule->integer.index = rd_u16(v);
        rule->integer.format = rd_u8(v);
        break;
    }
}

int rule_read(struct rd *r, struct rule *ret)
{
    uint8_t t = rd_u8(r);
    uint8_t len = rd_u8(r);
    struct rd value = rd_sub(r, len);
    struct rule rule = {
        .type = t & TYPE_MASK,
        .is_not = (t & BIT_NOT) != 0,
        .is_or = (t & BIT_OR) != 0,
    };
    enum layout layout = infos[rule.type].layout;

    if (r->bad || len < layout_len[layout]) {
        r->bad = true;
        return -EBADMSG;
    }
    value_read(&value, layout, &rule);
    *ret = rule;
    return 0;
}

void rule_write(struct wr *w, const struct rule *rule)
{
    enum layout layout = infos[rule->type & TYPE_MASK].layout;

    wr_u8(w, (uint8_t)((rule->type & TYPE_MASK) | (rule->is_not ? BIT_NOT : 0) |
                       (rule->is_or ? BIT_OR : 0)));
    wr_u8(w, layout_len[layout]);
    switch (layout) {
    case LAYOUT_NONE:
        break;
    case LAYOUT_FORWARD:
        wr_u64(w, rule->forward.address);
        wr_u32(w, rule->forward.flags);
        wr_u16(w, rule->forward.length);
        break;
    case LAYOUT_ADDRESS:
        wr_u40(w, rule->address);
        break;
    case LAYOUT_U8:
        wr_u8(w, (uint8_t)rule->number);
        break;
    case LAYOUT_U16:
        wr_u16(w, rule->number);
        break;
    case LAYOUT_MAC:
        wr_u16(w, (uint16_t)(rule->mac >> 32));
        wr_u32(w, (uint32_t)rule->mac);
        break;
    case LAYOUT_IPV4:
        wr_bytes(w, rule->ip, 4);
        wr_u8(w, rule->prefix);
        break;
    case LAYOUT_IPV6:
        wr_bytes(w, rule->ip, 16);
        wr_u8(w, rule->prefix);
        break;
    case LAYOUT_TOS:
        wr_u8(w, rule->tos.mask);
        wr_u8(w, rule->tos.start);
        wr_u8(w, rule->tos.end);
        break;
    case LAYOUT_ICMP:
        wr_u8(w, rule->icmp.type);
        wr_u8(w, rule->icmp.code);
        wr_u8(w, rule->icmp.flags);
        break;
    case LAYOUT_RANGE:
        wr_u16(w, rule->range.start);
        wr_u16(w, rule->range.end);
        break;
    case LAYOUT_MASK:
        wr_u64(w, rule->mask);
        break;
    case LAYOUT_RANDOM:
        wr_u32(w, rule->probability);
        break;
    case LAYOUT_TAG:
        wr_u32(w, rule->id);
        wr_u32(w, rule->value);
        break;
    case LAYOUT_INTEGER:
        wr_u64(w, rule->integer.start);
        wr_u64(w, rule->integer.start + rule->integer.distance);
        wr_u16(w, rule->integer.index);
        wr_u8(w, rule->integer.format);
        break;
    }
}

size_t rule_wire_len(const struct rule *rule)
{
    return (size_t)2 + layout_len[infos[rule->type & TYPE_MASK].layout];
}

int rules_count(struct rd r, size_t max)
{
    int n = 0;

    if (max > UINT16_MAX) {
        max = UINT16_MAX;
    }
    while (rd_left(&r) > 0 && (size_t)n < max) {
        struct rule rule;
        int err = rule_read(&r, &rule);

        if (err < 0) {
            return err;
        }
        n++;
    }
    return n;
}

int rules_read(struct rd *r, struct rule *out, size_t count)
{
    int err = 0;

    for (size_t i = 0; i < count && err == 0; i++) {
        err = rule_read(r, &out[i]);
    }
    return err;
}

void rules_write(struct wr *w, const struct rule *rules, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        rule_write(w, &rules[i]);
    }
}

size_t rules_wire_len(const struct rule *rules, size_t count)
{
    size_t n = 0;

    for (size_t i = 0; i < count; i++) {
        n += rule_wire_len(&rules[i]);
    }
    return n;
}

bool rule_equal(const struct rule *a, const struct rule *b)
{
    uint8_t a_bytes[RULE_WIRE_MAX];
    uint8_t b_bytes[RULE_WIRE_MAX];
    struct wr a_out = wr_init(a_bytes, sizeof(a_bytes));
    struct wr b_out = wr_init(b_bytes, sizeof(b_bytes));

    rule_write(&a_out, a);
    rule_write(&b_out, b);
    if (a->type == RULE_PRIORITY && b->type == RULE_PRIORITY && a->bucket != b->bucket) {
        return false;
    }
    return wr_len(&a_out) == wr_len(&b_out) && memcmp(a_bytes, b_bytes, wr_len(&a_out)) == 0;
}

bool rules_equal(const struct rule *a, size_t a_count, const struct rule *b, size_t b_count)
{
    if (a_count != b_count) {
        return false;
    }
    for (size_t i = 0; i < a_count; i++) {
        if (!rule_equal(&a[i], &b[i])) {
            return false;
        }
    }
    return true;
}

bool rule_is_action(const struct rule *rule)
{
    return rule->type <= RULE_ACTION_LAST;
}

bool rule_type_is_known(unsigned type)
{
    return rule_type_name(type) != NULL;
}

const char *rule_type_name(unsigned type)
{
    return type < COUNT_OF(infos) ? infos[type].name : NULL;
}

int rule_type_from_name(const char *name)
{
    if (strcmp(name, "MATCH_INTEGER_RANGE") == 0) {
        return RULE_INTEGER_RANGE;
    }
    for (int i = 0; i <= RULE_TYPE_LAST; i++) {
        if (infos[i].name != NULL && strcmp(infos[i].name, name) == 0) {
            return i;
        }
    }
    return -ENOENT;
}
