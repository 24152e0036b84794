/* Scripts posted to the controller (CTL-34, CTL-98, RL-36, RL-47). */
#include "controller/rules_source.h"

#include "fake.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define NET "/controller/network/12a402e62ed49ba9"

static const char script[] = "tag group id 7 enum 3 admins default 0;\n"
                             "cap ssh id 9 default accept ipprotocol tcp and dport 22; ;\n"
                             "drop treq group admins;\n"
                             "tee -1 deadbeef11;\n"
                             "accept;\n";

/* {key: value} with a text as value. */
static char *body_of(const char *key, const char *value)
{
    json_t *obj = json_pack("{ss}", key, value);
    char *text = json_dumps(obj, JSON_COMPACT);
    json_decref(obj);
    assert_non_null(text);
    return text;
}

static json_t *post_source(struct fake *f, const char *path, const char *source)
{
    char *body = body_of("rulesSource", source);
    json_t *obj = fake_api(f, "POST", path, body);
    free(body);
    return obj;
}

static void assert_json(const json_t *obj, const char *key, const char *want)
{
    json_t *value = json_object_get(obj, key);
    json_t *wanted = json_loads(want, JSON_DECODE_ANY, NULL);
    assert_non_null(wanted);
    if (!json_equal(value, wanted)) {
        char *text = json_dumps(value, JSON_COMPACT | JSON_ENCODE_ANY);
        fail_msg("%s is %s, not %s", key, text != NULL ? text : "absent", want);
    }
    json_decref(wanted);
}

/* CTL-34, CTL-98: rules, capabilities, tags and names are replaced, as a client would post them. */
static void test_a_posted_script_is_compiled(void **state)
{
    struct fake *f = *state;
    fake_network(f, "{\"tags\":[{\"id\":1}]}");
    json_t *obj = post_source(f, NET, script);
    assert_int_equal(f->status, 200);
    assert_json(
        obj, "rules",
        "[{\"type\":\"MATCH_TAG_RECEIVER\",\"not\":false,\"or\":false,\"id\":7,\"value\":3},"
        "{\"type\":\"ACTION_DROP\"},{\"type\":\"ACTION_TEE\",\"address\":\"deadbeef11\","
        "\"flags\":0,\"length\":65535},{\"type\":\"ACTION_ACCEPT\"}]");
    assert_json(
        obj, "capabilities",
        "[{\"id\":9,\"default\":true,\"rules\":[{\"type\":\"MATCH_IP_PROTOCOL\",\"not\":"
        "false,\"or\":false,\"ipProtocol\":6},{\"type\":\"MATCH_IP_DEST_PORT_RANGE\","
        "\"not\":false,\"or\":false,\"start\":22,\"end\":22},{\"type\":\"ACTION_ACCEPT\"}]}]");
    assert_json(obj, "tags", "[{\"id\":7,\"default\":0}]");
    assert_json(obj, "capabilitiesByName", "{\"ssh\":9}");
    assert_json(obj, "tagsByName",
                "{\"group\":{\"id\":7,\"default\":0,\"enums\":{\"admins\":3},\"flags\":{}}}");
    assert_string_equal(js(obj, "rulesSource"), script);
    assert_int_equal(json_array_size(json_object_get(obj, "warnings")), 1); /* W210 */
    json_decref(obj);
    obj = fake_api(f, "GET", NET, NULL);
    assert_string_equal(js(obj, "rulesSource"), script);
    assert_json(obj, "capabilitiesByName", "{\"ssh\":9}");
    assert_int_equal(ji(obj, "revision"), 2);
    json_decref(obj);
    obj = post_source(f, NET, script);
    assert_int_equal(ji(obj, "revision"), 2); /* the same again is no change */
    json_decref(obj);
}

/* CTL-34: who posts both knows what the text compiles to. */
static void test_posted_rules_win_over_the_script(void **state)
{
    struct fake *f = *state;
    fake_network(f, "{}");
    json_t *obj = fake_api(f, "POST", NET,
                           "{\"rulesSource\":\"accept;\",\"rules\":[{\"type\":\"ACTION_DROP\"}],"
                           "\"capabilitiesByName\":{\"x\":1},\"tagsByName\":5}");
    assert_int_equal(f->status, 200);
    assert_json(obj, "rules", "[{\"type\":\"ACTION_DROP\"}]");
    assert_json(obj, "capabilitiesByName", "{\"x\":1}");
    assert_null(json_object_get(obj, "tagsByName"));
    assert_string_equal(js(obj, "rulesSource"), "accept;");
    json_decref(obj);
}

/* RL-40: what compiles and may not be meant is said, and done. */
static void test_what_lint_finds_is_a_warning(void **state)
{
    struct fake *f = *state;
    fake_network(f, "{}");
    json_t *obj = post_source(f, NET "?strict=1", "accept dport 80,443 or chr tcp_ack;");
    assert_int_equal(f->status, 200);
    assert_json(obj, "warnings",
                "[\"rulesSource: line 1 column 14: W101: Text after the number is ignored.\"]");
    json_decref(obj);
}

/* An empty text is no script that takes all rules away. */
static void test_a_blank_script_leaves_the_rules(void **state)
{
    struct fake *f = *state;
    fake_network(f, "{}");
    json_t *obj = post_source(f, NET, " \n");
    assert_string_equal(js(obj, "rulesSource"), " \n");
    assert_json(obj, "rules", "[{\"type\":\"ACTION_ACCEPT\",\"not\":false,\"or\":false}]");
    json_decref(obj);
}

/* CTL-34, CTL-98: with its place, once as a warning and once as a refusal. */
static void test_an_error_in_a_script_is_told_with_its_place(void **state)
{
    struct fake *f = *state;
    static const char bad[] =
        "accept ethertype arp;\r\naccept dprot 22;\r\ndrop ipsrc 10.0.0.1;\r\n";
    fake_network(f, "{}");
    json_t *obj = post_source(f, NET "?strict=1", bad);
    assert_int_equal(f->status, 400);
    assert_int_equal(ji(obj, "line"), 2);
    assert_int_equal(ji(obj, "column"), 8);
    assert_string_equal(js(obj, "message"), "Unrecognized match type \"dprot\".");
    assert_int_equal(json_array_size(json_object_get(obj, "errors")), 2);
    json_decref(obj);
    obj = fake_api(f, "GET", NET, NULL);
    assert_string_equal(js(obj, "rulesSource"), "");
    assert_int_equal(ji(obj, "revision"), 1);
    json_decref(obj);

    obj = post_source(f, NET, bad);
    assert_int_equal(f->status, 200);
    assert_string_equal(js(obj, "rulesSource"), bad);
    assert_json(obj, "rules", "[{\"type\":\"ACTION_ACCEPT\",\"not\":false,\"or\":false}]");
    const char *warning = json_string_value(json_array_get(json_object_get(obj, "warnings"), 0));
    assert_non_null(warning);
    assert_non_null(strstr(warning, "line 2 column 8: Unrecognized match type \"dprot\"."));
    json_decref(obj);
}

/* RL-41, RL-47: what would match everything, or would not be sent, is refused with its place. */
static void test_what_would_be_stored_as_something_else_is_refused(void **state)
{
    struct fake *f = *state;
    static const char *const ips[] = {"10.0.0.0/", "10.0.0.0/abc", "300.1.2.3/8", "x", "fd00::/8"};
    char body[200];
    fake_network(f, "{}");
    for (size_t i = 0; i < COUNT_OF(ips); i++) {
        (void)snprintf(body, sizeof(body),
                       "{\"rules\":[{\"type\":\"MATCH_IPV4_SOURCE\",\"ip\":\"%s\"},"
                       "{\"type\":\"ACTION_ACCEPT\"}]}",
                       ips[i]);
        json_decref(fake_api(f, "POST", NET, body));
        assert_int_equal(f->status, 400);
    }
    json_t *obj = fake_api(f, "POST", NET,
                           "{\"rules\":[{\"type\":\"MATCH_IPV4_DEST\",\"ip\":\"10.0.0.0\"}]}");
    assert_int_equal(f->status, 200); /* as the reference, which means it so */
    assert_int_equal(json_array_size(json_object_get(obj, "warnings")), 1);
    json_decref(obj);
    obj = post_source(f, NET "?strict=1", "accept;\ndrop ipsrc 10.0.0.0/33;");
    assert_int_equal(f->status, 400);
    assert_int_equal(ji(obj, "line"), 2);
    assert_int_equal(ji(obj, "column"), 12);
    json_decref(obj);
    char long_cap[4096] = "cap c id 1\n";
    char *p = long_cap + strlen(long_cap);
    for (int i = 0; i < 40; i++) {
        p = stpcpy(p, "drop dport 1;\n");
    }
    json_decref(post_source(f, NET "?strict=1", long_cap));
    assert_int_equal(f->status, 400);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_a_posted_script_is_compiled, fake_setup,
                                        fake_teardown),
        cmocka_unit_test_setup_teardown(test_posted_rules_win_over_the_script, fake_setup,
                                        fake_teardown),
        cmocka_unit_test_setup_teardown(test_what_lint_finds_is_a_warning, fake_setup,
                                        fake_teardown),
        cmocka_unit_test_setup_teardown(test_a_blank_script_leaves_the_rules, fake_setup,
                                        fake_teardown),
        cmocka_unit_test_setup_teardown(test_an_error_in_a_script_is_told_with_its_place,
                                        fake_setup, fake_teardown),
        cmocka_unit_test_setup_teardown(test_what_would_be_stored_as_something_else_is_refused,
                                        fake_setup, fake_teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
