/* Rules as JSON. One function per layout of fields; the table of spec 04 section 2.6. */
#include "controller/rules_json.h"

#include "controller/coerce.h"
#include "wire/inetaddr.h"
#include "wire/mac.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

static uint64_t field_u64(const json_t *obj, const char *key, uint64_t fallback)
{
    return coerce_u64(json_object_get(obj, key), fallback);
}

/* A hexadecimal text field. */
static uint64_t field_hex(const json_t *obj, const char *key)
{
    char buf[COERCE_TEXT_LEN];
    return hex_prefix(coerce_text(json_object_get(obj, key), buf, "0"));
}

/* Text as hexadecimal, number as it is. */
static uint64_t field_hex_or_number(const json_t *obj, const char *key)
{
    const json_t *v = json_object_get(obj, key);
    return json_is_string(v) ? hex_prefix(json_string_value(v)) : coerce_u64(v, 0);
}

/* Hex digits of a MAC, separators skipped, up to six whole bytes; a short one is filled with zero
 * bytes. */
static uint64_t field_mac(const json_t *obj)
{
    char buf[COERCE_TEXT_LEN];
    const char *text = coerce_text(json_object_get(obj, "mac"), buf, "");
    char digits[13] = "000000000000";
    size_t n = 0;
    for (; *text != '\0' && n < 12; text++) {
        if (*text == ':' || *text == '-') {
            continue;
        }
        bool hex =
            (*text >= '0' && *text <= '9') || ((*text | 0x20) >= 'a' && (*text | 0x20) <= 'f');
        if (!hex) {
            break;
        }
        digits[n++] = *text;
    }
    if (n % 2 != 0) {
        digits[n - 1] = '0';
    }
    return hex_prefix(digits);
}

/* "ip/bits" of one family. Unparsable text is the zero address. */
static void field_ip(const json_t *obj, enum inetaddr_family family, struct rule *r)
{
    char buf[COERCE_TEXT_LEN];
    const char *text = coerce_text(json_object_get(obj, "ip"), buf, "");
    struct inetaddr ip;
    if (inetaddr_parse(text, strlen(text), &ip) != 0 || ip.family != family) {
        return;
    }
    memcpy(r->ip, ip.ip, inetaddr_ip_len(&ip));
    unsigned max = family == INETADDR_V4 ? 32 : 128;
    r->prefix = (uint8_t)(ip.port > max ? max : ip.port);
}

int rule_json_check_ip(const json_t *obj, const struct rule *rule)
{
    char buf[COERCE_TEXT_LEN];
    struct inetaddr ip;
    if (rule->type < RULE_IPV4_SOURCE || rule->type > RULE_IPV6_DEST) {
        return 0;
    }
    if (json_object_get(obj, "ip") == NULL) {
        return 1;
    }
    bool is_v4 = rule->type == RULE_IPV4_SOURCE || rule->type == RULE_IPV4_DEST;
    const char *text = coerce_text(json_object_get(obj, "ip"), buf, "");
    const char *slash = strchr(text, '/');
    if (inetaddr_parse(text, strlen(text), &ip) != 0 || (slash != NULL && slash[1] == '\0') ||
        ip.family != (is_v4 ? INETADDR_V4 : INETADDR_V6)) {
        return -EINVAL;
    }
    return slash == NULL || ip.port > (is_v4 ? 32 : 128) ? 1 : 0;
}

static void range_from_json(const json_t *obj, struct rule *r)
{
    r->range.start = (uint16_t)field_u64(obj, "start", 0);
    r->range.end = (uint16_t)field_u64(obj, "end", r->range.start);
}

static int characteristics_from_json(const json_t *obj, struct rule *r)
{
    const json_t *mask = json_object_get(obj, "mask");
    if (mask != NULL && !json_is_string(mask) && !json_is_number(mask)) {
        return -EINVAL;
    }
    r->mask = field_hex_or_number(obj, "mask");
    return 0;
}

static int integer_from_json(const json_t *obj, struct rule *r)
{
    uint64_t bits = field_u64(obj, "bits", 1);
    if (bits < 1 || bits > 64) {
        return -ENOENT;
    }
    r->integer.start = field_hex_or_number(obj, "start");
    r->integer.distance = (uint32_t)(field_hex_or_number(obj, "end") - r->integer.start);
    r->integer.index = (uint16_t)field_u64(obj, "idx", 0);
    bool little = coerce_bool(json_object_get(obj, "little"), false);
    r->integer.format = (uint8_t)((little ? 0x80 : 0) | (bits - 1));
    return 0;
}

static void icmp_from_json(const json_t *obj, struct rule *r)
{
    const json_t *code = json_object_get(obj, "icmpCode");
    r->icmp.type = (uint8_t)field_u64(obj, "icmpType", 0);
    if (code != NULL && !json_is_null(code)) {
        r->icmp.code = (uint8_t)coerce_u64(code, 0);
        r->icmp.flags = RULE_ICMP_CODE;
    }
}

static void forward_from_json(const json_t *obj, struct rule *r)
{
    r->forward.address = field_hex(obj, "address") & UINT64_C(0xffffffffff);
    r->forward.flags = (uint32_t)field_u64(obj, "flags", 0);
    r->forward.length = r->type == RULE_REDIRECT ? 0 : (uint16_t)field_u64(obj, "length", 0);
}

static void tos_from_json(const json_t *obj, struct rule *r)
{
    r->tos.mask = (uint8_t)field_u64(obj, "mask", 0);
    r->tos.start = (uint8_t)field_u64(obj, "start", 0);
    r->tos.end = (uint8_t)field_u64(obj, "end", 0);
}

/* Name of the single number of a type, and its mask; NULL for other types. */
static const char *number_field(uint8_t type, uint64_t *ret_mask)
{
    *ret_mask = type == RULE_VLAN_ID || type == RULE_ETHERTYPE ? 0xffff : 0xff;
    switch (type) {
    case RULE_VLAN_ID:
        return "vlanId";
    case RULE_VLAN_PCP:
        return "vlanPcp";
    case RULE_VLAN_DEI:
        return "vlanDei";
    case RULE_IP_PROTOCOL:
        return "ipProtocol";
    case RULE_ETHERTYPE:
        return "etherType";
    default:
        return NULL;
    }
}

static int match_from_json(const json_t *obj, struct rule *r)
{
    uint64_t mask;
    const char *number = number_field(r->type, &mask);
    if (number != NULL) {
        r->number = (uint16_t)(field_u64(obj, number, 0) & mask);
        return 0;
    }
    switch (r->type) {
    case RULE_SOURCE_ADDRESS:
    case RULE_DEST_ADDRESS:
        r->address = field_hex(obj, "zt") & UINT64_C(0xffffffffff);
        break;
    case RULE_MAC_SOURCE:
    case RULE_MAC_DEST:
        r->mac = field_mac(obj);
        break;
    case RULE_IPV4_SOURCE:
    case RULE_IPV4_DEST:
        field_ip(obj, INETADDR_V4, r);
        break;
    case RULE_IPV6_SOURCE:
    case RULE_IPV6_DEST:
        field_ip(obj, INETADDR_V6, r);
        break;
    case RULE_IP_TOS:
        tos_from_json(obj, r);
        break;
    case RULE_ICMP:
        icmp_from_json(obj, r);
        break;
    case RULE_SOURCE_PORT:
    case RULE_DEST_PORT:
    case RULE_FRAME_SIZE:
        range_from_json(obj, r);
        break;
    case RULE_CHARACTERISTICS:
        return characteristics_from_json(obj, r);
    case RULE_RANDOM:
        r->probability = (uint32_t)field_u64(obj, "probability", 0);
        break;
    case RULE_INTEGER_RANGE:
        return integer_from_json(obj, r);
    default: /* tag types */
        r->id = (uint32_t)field_u64(obj, "id", 0);
        r->value = (uint32_t)field_u64(obj, "value", 0);
        break;
    }
    return 0;
}

int rule_from_json(const json_t *obj, struct rule *ret)
{
    char buf[COERCE_TEXT_LEN];
    int type = rule_type_from_name(coerce_text(json_object_get(obj, "type"), buf, ""));
    if (type < 0 || type == RULE_PRIORITY) {
        return -ENOENT;
    }
    struct rule r;
    memset(&r, 0, sizeof(r));
    r.type = (uint8_t)type;
    r.is_not = coerce_bool(json_object_get(obj, "not"), false);
    r.is_or = coerce_bool(json_object_get(obj, "or"), false);
    int error = 0;
    if (type == RULE_TEE || type == RULE_WATCH || type == RULE_REDIRECT) {
        forward_from_json(obj, &r);
    } else if (!rule_is_action(&r)) {
        error = match_from_json(obj, &r);
    }
    if (error == 0) {
        *ret = r;
    }
    return error;
}

static json_t *address_json(uint64_t address)
{
    char text[11];
    (void)snprintf(text, sizeof(text), "%010" PRIx64, address & UINT64_C(0xffffffffff));
    return json_string(text);
}

static json_t *hex16_json(uint64_t v)
{
    char text[17];
    (void)snprintf(text, sizeof(text), "%016" PRIx64, v);
    return json_string(text);
}

static json_t *ip_json(const struct rule *rule, enum inetaddr_family family)
{
    struct inetaddr ip = {.family = (uint8_t)family, .port = rule->prefix};
    memcpy(ip.ip, rule->ip, family == INETADDR_V4 ? 4 : 16);
    char text[INETADDR_TEXT_LEN];
    inetaddr_print(&ip, text);
    return json_string(text);
}

static void set_int(json_t *obj, const char *key, uint64_t v)
{
    json_object_set_new(obj, key, json_integer((json_int_t)v));
}

static void forward_to_json(json_t *obj, const struct rule *rule)
{
    json_object_set_new(obj, "address", address_json(rule->forward.address));
    set_int(obj, "flags", rule->forward.flags);
    if (rule->type != RULE_REDIRECT) {
        set_int(obj, "length", rule->forward.length);
    }
}

static void integer_to_json(json_t *obj, const struct rule *rule)
{
    json_object_set_new(obj, "start", hex16_json(rule->integer.start));
    json_object_set_new(obj, "end", hex16_json(rule->integer.start + rule->integer.distance));
    set_int(obj, "idx", rule->integer.index);
    json_object_set_new(obj, "little", json_boolean((rule->integer.format & 0x80) != 0));
    set_int(obj, "bits", (uint64_t)(rule->integer.format & 63) + 1);
}

static void mac_to_json(json_t *obj, const struct rule *rule)
{
    char text[MAC_TEXT_LEN];
    mac_print(rule->mac, text);
    json_object_set_new(obj, "mac", json_string(text));
}

static void icmp_to_json(json_t *obj, const struct rule *rule)
{
    set_int(obj, "icmpType", rule->icmp.type);
    bool has_code = (rule->icmp.flags & RULE_ICMP_CODE) != 0;
    json_object_set_new(obj, "icmpCode", has_code ? json_integer(rule->icmp.code) : json_null());
}

static void tos_to_json(json_t *obj, const struct rule *rule)
{
    set_int(obj, "mask", rule->tos.mask);
    set_int(obj, "start", rule->tos.start);
    set_int(obj, "end", rule->tos.end);
}

static void match_to_json(json_t *obj, const struct rule *rule)
{
    uint64_t mask;
    const char *number = number_field(rule->type, &mask);
    if (number != NULL) {
        set_int(obj, number, rule->number);
        return;
    }
    switch (rule->type) {
    case RULE_SOURCE_ADDRESS:
    case RULE_DEST_ADDRESS:
        json_object_set_new(obj, "zt", address_json(rule->address));
        break;
    case RULE_MAC_SOURCE:
    case RULE_MAC_DEST:
        mac_to_json(obj, rule);
        break;
    case RULE_IPV4_SOURCE:
    case RULE_IPV4_DEST:
        json_object_set_new(obj, "ip", ip_json(rule, INETADDR_V4));
        break;
    case RULE_IPV6_SOURCE:
    case RULE_IPV6_DEST:
        json_object_set_new(obj, "ip", ip_json(rule, INETADDR_V6));
        break;
    case RULE_IP_TOS:
        tos_to_json(obj, rule);
        break;
    case RULE_ICMP:
        icmp_to_json(obj, rule);
        break;
    case RULE_SOURCE_PORT:
    case RULE_DEST_PORT:
    case RULE_FRAME_SIZE:
        set_int(obj, "start", rule->range.start);
        set_int(obj, "end", rule->range.end);
        break;
    case RULE_CHARACTERISTICS:
        json_object_set_new(obj, "mask", hex16_json(rule->mask));
        break;
    case RULE_RANDOM:
        set_int(obj, "probability", rule->probability);
        break;
    case RULE_INTEGER_RANGE:
        integer_to_json(obj, rule);
        break;
    default: /* tag types */
        set_int(obj, "id", rule->id);
        set_int(obj, "value", rule->value);
        break;
    }
}

json_t *rule_to_json(const struct rule *rule)
{
    const char *name = rule_type_name(rule->type);
    json_t *obj = name != NULL ? json_object() : NULL;
    if (obj == NULL) {
        return NULL;
    }
    json_object_set_new(obj, "type", json_string(name));
    if (rule->type == RULE_TEE || rule->type == RULE_WATCH || rule->type == RULE_REDIRECT) {
        forward_to_json(obj, rule);
    } else if (!rule_is_action(rule)) {
        match_to_json(obj, rule);
        json_object_set_new(obj, "not", json_boolean(rule->is_not));
        json_object_set_new(obj, "or", json_boolean(rule->is_or));
    }
    return obj;
}

size_t rules_from_json(const json_t *array, struct rule *out, size_t cap)
{
    size_t count = 0;
    size_t n = json_array_size(array);
    for (size_t i = 0; i < n && count < cap; i++) {
        if (rule_from_json(json_array_get(array, i), &out[count]) == 0) {
            count++;
        }
    }
    return count;
}
