/* Rules as JSON against the golden vectors and spec 04 section 2.6 (CTL-25, CTL-27). */
#include "controller/rules_json.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/hex.h"
#include "wire/rule.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static json_t *vectors;

static int setup(void **state)
{
    (void)state;
    vectors = json_load_file(VECTOR_DIR "/vl2.json", 0, NULL);
    return vectors != NULL ? 0 : -1;
}

static int teardown(void **state)
{
    (void)state;
    json_decref(vectors);
    return 0;
}

static void rule_hex(const struct rule *rule, char out[64])
{
    uint8_t bytes[RULE_WIRE_MAX];
    struct wr w = wr_init(bytes, sizeof(bytes));
    rule_write(&w, rule);
    assert_false(w.bad);
    hex_encode(bytes, wr_len(&w), out);
}

/* CTL-25: JSON -> wire -> JSON for each type. */
static void test_each_rule_round_trips(void **state)
{
    (void)state;
    const json_t *each = json_object_get(json_object_get(vectors, "rules"), "each");
    size_t checked = 0;
    for (size_t i = 0; i < json_array_size(each); i++) {
        const json_t *entry = json_array_get(each, i);
        const json_t *json = json_object_get(entry, "rule");
        const char *type = json_string_value(json_object_get(json, "type"));
        struct rule rule;
        if (strncmp(type, "UNKNOWN", 7) == 0 || strcmp(type, "ACTION_PRIORITY") == 0) {
            assert_int_equal(rule_from_json(json, &rule), -ENOENT);
            continue;
        }
        char hex[64];
        assert_int_equal(rule_from_json(json, &rule), 0);
        rule_hex(&rule, hex);
        assert_string_equal(hex, json_string_value(json_object_get(entry, "hex")));
        /* and back, from the bytes */
        uint8_t bytes[RULE_WIRE_MAX];
        assert_int_equal(hex_decode(hex, strlen(hex), bytes, strlen(hex) / 2), 0);
        struct rd r = rd_init(bytes, strlen(hex) / 2);
        struct rule back;
        assert_int_equal(rule_read(&r, &back), 0);
        json_t *rendered = rule_to_json(&back);
        assert_true(json_equal(rendered, json_object_get(entry, "back")));
        json_decref(rendered);
        checked++;
    }
    assert_in_range(checked, 35, 100);
}

static void test_accepted_forms_give_the_vector_bytes(void **state)
{
    (void)state;
    const json_t *list = json_object_get(json_object_get(vectors, "rules"), "fromJson");
    assert_in_range(json_array_size(list), 20, 1000);
    for (size_t i = 0; i < json_array_size(list); i++) {
        const json_t *entry = json_array_get(list, i);
        const json_t *json = json_object_get(entry, "json");
        struct rule rule;
        const char *type = json_string_value(json_object_get(json, "type"));
        if (type != NULL && strcmp(type, "INTEGER_RANGE") == 0) {
            assert_int_equal(rule_from_json(json, &rule), 0); /* 12.20: ours accepts it */
        } else if (json_is_true(json_object_get(entry, "accepted"))) {
            char hex[64];
            assert_int_equal(rule_from_json(json, &rule), 0);
            rule_hex(&rule, hex);
            assert_string_equal(hex, json_string_value(json_object_get(entry, "hex")));
        } else {
            assert_int_equal(rule_from_json(json, &rule), -ENOENT);
        }
    }
}

/* Values as they come from careless clients, and what is read back. */
static void test_traps_of_the_table(void **state)
{
    (void)state;
    static const struct {
        const char *in;
        const char *out; /* NULL: refused with error */
        int error;
    } cases[] = {
        {"{\"type\":\"MATCH_IP_PROTOCOL\",\"ipProtocol\":300}",
         "{\"type\":\"MATCH_IP_PROTOCOL\",\"ipProtocol\":44,\"not\":false,\"or\":false}", 0},
        {"{\"type\":\"MATCH_IP_TOS\",\"mask\":255,\"start\":8}",
         "{\"type\":\"MATCH_IP_TOS\",\"mask\":255,\"start\":8,\"end\":0,\"not\":false,\"or\":"
         "false}",
         0},
        {"{\"type\":\"MATCH_MAC_SOURCE\",\"mac\":\"aa-bb-CC\"}",
         "{\"type\":\"MATCH_MAC_SOURCE\",\"mac\":\"aa:bb:cc:00:00:00\",\"not\":false,\"or\":false}",
         0},
        {"{\"type\":\"MATCH_IPV4_SOURCE\",\"ip\":\"10.1.2.3\"}",
         "{\"type\":\"MATCH_IPV4_SOURCE\",\"ip\":\"10.1.2.3/0\",\"not\":false,\"or\":false}", 0},
        {"{\"type\":\"MATCH_IPV6_SOURCE\",\"ip\":\"fd00::1/200\",\"not\":\"true\"}",
         "{\"type\":\"MATCH_IPV6_SOURCE\",\"ip\":\"fd00::1/128\",\"not\":true,\"or\":false}", 0},
        {"{\"type\":\"MATCH_SOURCE_ZEROTIER_ADDRESS\",\"zt\":\"1\"}",
         "{\"type\":\"MATCH_SOURCE_ZEROTIER_ADDRESS\",\"zt\":\"0000000001\",\"not\":false,\"or\":"
         "false}",
         0},
        {"{\"type\":\"MATCH_IP_SOURCE_PORT_RANGE\",\"start\":90,\"end\":80}",
         "{\"type\":\"MATCH_IP_SOURCE_PORT_RANGE\",\"start\":90,\"end\":80,\"not\":false,\"or\":"
         "false}",
         0},
        {"{\"type\":\"MATCH_CHARACTERISTICS\"}",
         "{\"type\":\"MATCH_CHARACTERISTICS\",\"mask\":\"0000000000000000\",\"not\":false,\"or\":"
         "false}",
         0},
        {"{\"type\":\"MATCH_CHARACTERISTICS\",\"mask\":[]}", NULL, -EINVAL},
        {"{\"type\":\"ACTION_REDIRECT\",\"address\":\"12a402e62e\",\"length\":7,\"not\":true}",
         "{\"type\":\"ACTION_REDIRECT\",\"address\":\"12a402e62e\",\"flags\":0}", 0},
        /* CTL-27: both spellings */
        {"{\"type\":\"MATCH_INTEGER_RANGE\",\"start\":5,\"end\":\"10\",\"idx\":3,\"bits\":8}",
         "{\"type\":\"INTEGER_RANGE\",\"start\":\"0000000000000005\",\"end\":\"0000000000000010\","
         "\"idx\":3,\"little\":false,\"bits\":8,\"not\":false,\"or\":false}",
         0},
        {"{\"type\":\"INTEGER_RANGE\",\"start\":5,\"end\":6,\"idx\":3,\"bits\":65}", NULL, -ENOENT},
        {"{\"type\":7}", NULL, -ENOENT},
        {"[]", NULL, -ENOENT},
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        json_t *in = json_loads(cases[i].in, 0, NULL);
        struct rule rule;
        assert_non_null(in);
        assert_int_equal(rule_from_json(in, &rule), cases[i].error);
        if (cases[i].error == 0) {
            json_t *want = json_loads(cases[i].out, 0, NULL);
            json_t *got = rule_to_json(&rule);
            assert_non_null(want);
            assert_true(json_equal(got, want));
            json_decref(got);
            json_decref(want);
        }
        json_decref(in);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_each_rule_round_trips),
        cmocka_unit_test(test_accepted_forms_give_the_vector_bytes),
        cmocka_unit_test(test_traps_of_the_table),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
