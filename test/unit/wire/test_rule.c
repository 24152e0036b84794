/* Binary rules: RUL-1, RUL-2. Source: spec 03 section 15. */
#include "vectors.h"

#include "base/hex.h"
#include "wire/inetaddr.h"
#include "wire/mac.h"
#include "wire/rule.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Decode hex as exactly one rule. */
static struct rule rule_of(const char *hex)
{
    size_t len;
    uint8_t *bytes = hex_bytes(hex, &len);
    struct rd r = rd_init(bytes, len);
    struct rule rule = {0};

    assert_int_equal(rule_read(&r, &rule), 0);
    assert_int_equal(rd_done(&r), 0);
    free(bytes);
    return rule;
}

static void check_encodes(const struct rule *rules, size_t count, const char *hex)
{
    uint8_t out[4096];
    char text[2 * sizeof(out) + 1];
    struct wr w = wr_init(out, sizeof(out));

    rules_write(&w, rules, count);
    assert_false(w.bad);
    assert_int_equal(wr_len(&w), rules_wire_len(rules, count));
    hex_encode(out, wr_len(&w), text);
    assert_string_equal(text, hex);
}

/* Fields of the JSON form that are plain numbers, and where they are. */
static const struct {
    const char *key;
    uint8_t first; /* types that have the field */
    uint8_t last;
    size_t at;
    size_t size;
} fields[] = {
    {"flags", RULE_TEE, RULE_REDIRECT, offsetof(struct rule, forward.flags), 4},
    {"length", RULE_TEE, RULE_WATCH, offsetof(struct rule, forward.length), 2},
    {"vlanId", RULE_VLAN_ID, RULE_VLAN_ID, offsetof(struct rule, number), 2},
    {"vlanPcp", RULE_VLAN_PCP, RULE_VLAN_PCP, offsetof(struct rule, number), 2},
    {"vlanDei", RULE_VLAN_DEI, RULE_VLAN_DEI, offsetof(struct rule, number), 2},
    {"mask", RULE_IP_TOS, RULE_IP_TOS, offsetof(struct rule, tos.mask), 1},
    {"start", RULE_IP_TOS, RULE_IP_TOS, offsetof(struct rule, tos.start), 1},
    {"end", RULE_IP_TOS, RULE_IP_TOS, offsetof(struct rule, tos.end), 1},
    {"ipProtocol", RULE_IP_PROTOCOL, RULE_IP_PROTOCOL, offsetof(struct rule, number), 2},
    {"etherType", RULE_ETHERTYPE, RULE_ETHERTYPE, offsetof(struct rule, number), 2},
    {"icmpType", RULE_ICMP, RULE_ICMP, offsetof(struct rule, icmp.type), 1},
    {"start", RULE_SOURCE_PORT, RULE_DEST_PORT, offsetof(struct rule, range.start), 2},
    {"end", RULE_SOURCE_PORT, RULE_DEST_PORT, offsetof(struct rule, range.end), 2},
    {"start", RULE_FRAME_SIZE, RULE_FRAME_SIZE, offsetof(struct rule, range.start), 2},
    {"end", RULE_FRAME_SIZE, RULE_FRAME_SIZE, offsetof(struct rule, range.end), 2},
    {"probability", RULE_RANDOM, RULE_RANDOM, offsetof(struct rule, probability), 4},
    {"id", RULE_TAGS_DIFFERENCE, RULE_TAG_RECEIVER, offsetof(struct rule, id), 4},
    {"value", RULE_TAGS_DIFFERENCE, RULE_TAG_RECEIVER, offsetof(struct rule, value), 4},
    {"idx", RULE_INTEGER_RANGE, RULE_INTEGER_RANGE, offsetof(struct rule, integer.index), 2},
};

static uint64_t field_value(const struct rule *rule, size_t at, size_t size)
{
    uint64_t v = 0;

    memcpy(&v, (const char *)rule + at, size); /* the build machine is little-endian */
    return v;
}

static void check_ip(const struct rule *rule, const json_t *json)
{
    const char *text = vec_text(json, "ip");
    struct inetaddr ip;

    assert_int_equal(inetaddr_parse(text, strlen(text), &ip), 0);
    assert_memory_equal(rule->ip, ip.ip, inetaddr_ip_len(&ip));
    assert_int_equal(rule->prefix, ip.port);
}

static void check_texts(const struct rule *rule, const json_t *json)
{
    uint64_t mac;

    switch (rule->type) {
    case RULE_TEE:
    case RULE_WATCH:
    case RULE_REDIRECT:
        assert_int_equal(rule->forward.address, vec_hex_u64(json, "address"));
        break;
    case RULE_SOURCE_ADDRESS:
    case RULE_DEST_ADDRESS:
        assert_int_equal(rule->address, vec_hex_u64(json, "zt"));
        break;
    case RULE_MAC_SOURCE:
    case RULE_MAC_DEST:
        assert_int_equal(mac_parse(vec_text(json, "mac"), strlen(vec_text(json, "mac")), &mac), 0);
        assert_int_equal(rule->mac, mac);
        break;
    case RULE_IPV4_SOURCE:
    case RULE_IPV4_DEST:
    case RULE_IPV6_SOURCE:
    case RULE_IPV6_DEST:
        check_ip(rule, json);
        break;
    case RULE_CHARACTERISTICS:
        assert_int_equal(rule->mask, vec_hex_u64(json, "mask"));
        break;
    case RULE_ICMP:
        assert_int_equal((rule->icmp.flags & RULE_ICMP_CODE) != 0,
                         !json_is_null(vec_get(json, "icmpCode")));
        assert_int_equal(rule->icmp.code, json_integer_value(vec_get(json, "icmpCode")));
        break;
    case RULE_INTEGER_RANGE:
        assert_int_equal(rule->integer.start, vec_hex_u64(json, "start"));
        assert_int_equal(rule->integer.start + rule->integer.distance, vec_hex_u64(json, "end"));
        assert_int_equal((rule->integer.format & 0x3f) + 1, vec_int(json, "bits"));
        assert_int_equal((rule->integer.format & 0x80) != 0, vec_bool(json, "little"));
        break;
    default:
        break;
    }
}

static void check_fields(const struct rule *rule, const json_t *json)
{
    const char *type = vec_text(json, "type");

    if (json_object_get(json, "number") != NULL) {
        assert_int_equal(rule->type, vec_int(json, "number"));
        assert_false(rule_type_is_known(rule->type));
        assert_int_equal(rule_is_action(rule), strcmp(type, "UNKNOWN_ACTION") == 0);
        return;
    }
    assert_string_equal(rule_type_name(rule->type), type);
    assert_int_equal(rule_type_from_name(type), rule->type);
    assert_int_equal(rule->is_not, vec_bool_or(json, "not", false));
    assert_int_equal(rule->is_or, vec_bool_or(json, "or", false));
    for (size_t i = 0; i < COUNT_OF(fields); i++) {
        if (rule->type >= fields[i].first && rule->type <= fields[i].last &&
            json_object_get(json, fields[i].key) != NULL) {
            assert_int_equal(field_value(rule, fields[i].at, fields[i].size),
                             vec_int(json, fields[i].key));
        }
    }
    check_texts(rule, json);
}

/* RUL-1 */
static void test_each_type_both_ways(void **state)
{
    json_t *root = vectors_load("vl2.json");
    const json_t *list = vec_get(vec_get(root, "rules"), "each");
    const json_t *one;
    size_t i;

    (void)state;
    json_array_foreach(list, i, one)
    {
        struct rule rule = rule_of(vec_text(one, "hex"));

        check_fields(&rule, vec_get(one, "back"));
        check_encodes(&rule, 1, vec_text(one, "hex"));
        assert_true(rule_equal(&rule, &rule));
    }
    assert_int_equal(i, 42);
    json_decref(root);
}

/* RUL-1 */
static void test_sets_both_ways(void **state)
{
    json_t *root = vectors_load("vl2.json");
    const json_t *one;
    size_t i;

    (void)state;
    json_array_foreach(vec_get(vec_get(root, "rules"), "sets"), i, one)
    {
        const json_t *list = vec_get(one, "rules");
        size_t count = json_array_size(list);
        size_t len;
        uint8_t *bytes = vec_bytes(one, "hex", &len);
        struct rd r = rd_init(bytes, len);
        struct rule rules[16];

        assert_true(count <= COUNT_OF(rules));
        assert_int_equal(rules_count(r, RULES_BASE_MAX), count);
        assert_int_equal(rules_read(&r, rules, count), 0);
        assert_int_equal(rd_done(&r), 0);
        for (size_t k = 0; k < count; k++) {
            check_fields(&rules[k], json_array_get(list, k));
        }
        check_encodes(rules, count, vec_text(one, "hex"));
        free(bytes);
    }
    json_decref(root);
}

/* RUL-2: every rule of the vectors cut short, or with a shorter length byte, is refused. */
static void test_truncated_values_are_refused(void **state)
{
    json_t *root = vectors_load("vl2.json");
    const json_t *one;
    size_t i;

    (void)state;
    json_array_foreach(vec_get(vec_get(root, "rules"), "each"), i, one)
    {
        size_t len;
        uint8_t *bytes = vec_bytes(one, "hex", &len);

        for (size_t cut = 0; cut < len; cut++) {
            uint8_t *part = exact_copy(bytes, cut);
            struct rd r = rd_init(part, cut);
            struct rule rule;

            assert_int_equal(rule_read(&r, &rule), -EBADMSG);
            assert_true(r.bad);
            if (cut >= 2) {
                part[1] = (uint8_t)(cut - 2);
                r = rd_init(part, cut);
                assert_int_equal(rule_read(&r, &rule), -EBADMSG);
            }
            free(part);
        }
        free(bytes);
    }
    json_decref(root);
}

/* RUL-2: unknown types are skipped by their length; surplus bytes of a known type are ignored. */
static void test_unknown_and_longer_values_are_skipped(void **state)
{
    static const uint8_t bytes[] = {0x34, 3, 'a', 'b', 'c', 0x25, 4, 0x08, 0x06, 9, 9, 0x01, 0};
    struct rd r = rd_init(bytes, sizeof(bytes));
    struct rule rules[3];

    (void)state;
    assert_int_equal(rules_count(r, RULES_BASE_MAX), 3);
    assert_int_equal(rules_read(&r, rules, 3), 0);
    assert_int_equal(rules[0].type, 52);
    assert_int_equal(rules[1].type, RULE_ETHERTYPE);
    assert_int_equal(rules[1].number, 0x0806);
    assert_int_equal(rules[2].type, RULE_ACCEPT);
    check_encodes(rules, 3, "3400250208060100");
}

static void test_count_stops_at_the_limit(void **state)
{
    static uint8_t bytes[4000];

    (void)state;
    assert_int_equal(rules_count(rd_init(bytes, sizeof(bytes)), RULES_BASE_MAX), RULES_BASE_MAX);
    assert_int_equal(rules_count(rd_init(bytes, 3), RULES_BASE_MAX), -EBADMSG);
    assert_int_equal(rules_count(rd_init(bytes, 3), 1), 1);
    assert_int_equal(rules_count(rd_init(NULL, 0), 1), 0);
}

static void test_distance_wraps(void **state)
{
    struct rule rule = rule_of("3313ffffffffffffffff000000000000000100120f");

    (void)state;
    assert_int_equal(rule.integer.distance, 2);
    rule = rule_of("3313000000000000000000000002000000050012bf");
    assert_int_equal(rule.integer.distance, 5); /* modulo 2^32 */
}

static void test_equality_looks_at_used_fields(void **state)
{
    struct rule a = {.type = RULE_ETHERTYPE, .number = 0x0800};
    struct rule b = a;

    (void)state;
    b.prefix = 7; /* not a field of this type */
    assert_true(rule_equal(&a, &b));
    b.is_not = true;
    assert_false(rule_equal(&a, &b));
    assert_false(rules_equal(&a, 1, &a, 0));
    assert_int_equal(rule_type_from_name("MATCH_INTEGER_RANGE"), RULE_INTEGER_RANGE);
    assert_int_equal(rule_type_from_name("MATCH_NO_SUCH_THING"), -ENOENT);
    assert_null(rule_type_name(64));
}

/* Random bytes: what was read is read again from what was written. */
static void test_random_rules_survive(void **state)
{
    struct test_rng rng = test_rng_init("rules");

    (void)state;
    for (int i = 0; i < 100000; i++) {
        uint8_t bytes[RULE_WIRE_MAX];
        uint8_t out[RULE_WIRE_MAX];
        struct rd r = rd_init(bytes, sizeof(bytes));
        struct wr w = wr_init(out, sizeof(out));
        struct rule a;
        struct rule b;

        test_rng_fill(&rng, bytes, sizeof(bytes));
        bytes[1] = (uint8_t)test_rng_below(&rng, sizeof(bytes));
        if (rule_read(&r, &a) < 0) {
            continue;
        }
        rule_write(&w, &a);
        r = rd_init(out, wr_len(&w));
        assert_int_equal(rule_read(&r, &b), 0);
        assert_int_equal(rd_done(&r), 0);
        assert_true(rule_equal(&a, &b));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_each_type_both_ways),
        cmocka_unit_test(test_sets_both_ways),
        cmocka_unit_test(test_truncated_values_are_refused),
        cmocka_unit_test(test_unknown_and_longer_values_are_skipped),
        cmocka_unit_test(test_count_stops_at_the_limit),
        cmocka_unit_test(test_distance_wraps),
        cmocka_unit_test(test_equality_looks_at_used_fields),
        cmocka_unit_test(test_random_rules_survive),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
