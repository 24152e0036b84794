/* The JSON API against spec 04 sections 2.1 to 2.8 (CTL-3, CTL-8 to CTL-34). */
#include "fake.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define NET    "/controller/network/12a402e62ed49ba9"
#define MEMBER NET "/member/aabbccddee"

/* POST a body, then the value of a key of the answer as compact JSON equals want. */
static void check_post(struct fake *f, const char *path, const char *body, const char *key,
                       const char *want)
{
    json_t *obj = fake_api(f, "POST", path, body);
    assert_int_equal(f->status, 200);
    json_t *value = json_object_get(obj, key);
    char *text = value != NULL ? json_dumps(value, JSON_COMPACT | JSON_SORT_KEYS | JSON_ENCODE_ANY)
                               : strdup("absent");
    if (strcmp(text, want) != 0) {
        fail_msg("%s %s: %s is %s, not %s", path, body, key, text, want);
    }
    free(text);
    json_decref(obj);
}

/* CTL-8 */
static void test_status(void **state)
{
    struct fake *f = *state;
    json_t *obj = fake_api(f, "GET", "/controller", NULL);
    assert_int_equal(f->status, 200);
    assert_true(json_is_true(json_object_get(obj, "controller")));
    assert_true(json_is_true(json_object_get(obj, "databaseReady")));
    assert_int_equal(ji(obj, "apiVersion"), 4);
    assert_int_equal(ji(obj, "clock"), f->now_ms + f->wall_offset_ms);
    json_decref(obj);
    assert_true(controller_api_owns("/controller"));
    assert_true(controller_api_owns("/unstable/controller/network"));
    assert_false(controller_api_owns("/controllers"));
    assert_false(controller_api_owns("/network"));
}

/* CTL-6 (with token; without one is the transport's) */
static void test_unroutable_paths_are_404_and_empty(void **state)
{
    struct fake *f = *state;
    static const char *const paths[][2] = {
        {"GET", "/controller/"},
        {"POST", "/controller"},
        {"GET", "/controller/networks"},
        {"GET", "/controller/network/"},
        {"GET", "/controller/network/12a402e62ed49ba"},
        {"GET", "/controller/network/12a402e62ed49ba90"},
        {"GET", "/controller/network/12a402e62ed49bag"},
        {"GET", NET},
        {"DELETE", NET},
        {"GET", NET "/member"},
        {"POST", NET "/member/aabbccddee"},
        {"PATCH", "/controller/network"},
        {"OPTIONS", "/controller/network"},
        {"DELETE", "/controller/network"},
        {"GET", "/unstable/controller"},
        {"GET", "/unstable/controller/network/12a402e62ed49ba9/member"},
        {"GET", "/controller/network/12a402e62e______"},
        {"GET", "/controller//network"},
        {"GET", "/a/b/c/d/e/f/g/h/i/j/k"},
    };
    for (size_t i = 0; i < COUNT_OF(paths); i++) {
        assert_int_equal(fake_status(f, paths[i][0], paths[i][1], "{}"), 404);
        assert_int_equal(f->body_len, 0);
    }
}

/* CTL-1, CTL-10, CTL-26 */
static void test_new_network_has_all_defaults(void **state)
{
    struct fake *f = *state;
    static const char *const defaults =
        "{\"name\":\"\",\"private\":true,\"enableBroadcast\":true,\"multicastLimit\":32,"
        "\"mtu\":2800,\"v4AssignMode\":{\"zt\":false},\"v6AssignMode\":{\"rfc4193\":false,"
        "\"zt\":false,\"6plane\":false},\"routes\":[],\"ipAssignmentPools\":[],\"rules\":"
        "[{\"type\":\"ACTION_ACCEPT\",\"not\":false,\"or\":false}],\"capabilities\":[],\"tags\":"
        "[],\"dns\":[],\"authTokens\":[null],\"remoteTraceTarget\":null,\"remoteTraceLevel\":0,"
        "\"rulesSource\":\"\",\"ssoEnabled\":false,\"clientId\":\"\",\"authorizationEndpoint\":"
        "\"\",\"revision\":1,\"objtype\":\"network\"}";
    static const char *const methods[] = {"POST", "PUT"};
    for (size_t i = 0; i < COUNT_OF(methods); i++) {
        json_t *want = json_loads(defaults, 0, NULL);
        json_t *obj = fake_api(f, methods[i], "/controller/network", "{}");
        assert_int_equal(f->status, 200);
        const char *id = js(obj, "id");
        assert_int_equal(strlen(id), 16);
        assert_int_equal(strncmp(id, "12a402e62e", 10), 0);
        assert_string_not_equal(id + 10, "000000");
        json_object_set(want, "id", json_object_get(obj, "id"));
        json_object_set(want, "nwid", json_object_get(obj, "id"));
        json_object_set_new(want, "creationTime", json_integer(f->now_ms + f->wall_offset_ms));
        assert_true(json_equal(obj, want));
        json_decref(obj);
        json_decref(want);
    }
}

/* CTL-1: never an ID that exists */
static void test_random_ids_do_not_collide(void **state)
{
    struct fake *f = *state;
    for (int i = 0; i < 300; i++) {
        assert_int_equal(fake_status(f, "POST", "/controller/network", "{}"), 200);
    }
    json_t *list = fake_api(f, "GET", "/controller/network", NULL);
    assert_int_equal(json_array_size(list), 300);
    for (size_t i = 1; i < 300; i++) { /* CTL-9: ascending, so distinct */
        assert_true(strcmp(json_string_value(json_array_get(list, i - 1)),
                           json_string_value(json_array_get(list, i))) < 0);
    }
    json_decref(list);
}

/* CTL-11 */
static void test_creation_with_underscores(void **state)
{
    struct fake *f = *state;
    json_t *obj = fake_api(f, "POST", "/controller/network/12a402e62e______", "{\"name\":\"x\"}");
    assert_int_equal(f->status, 200);
    assert_string_equal(js(obj, "name"), "x");
    assert_int_equal(strncmp(js(obj, "id"), "12a402e62e", 10), 0);
    json_decref(obj);
    assert_int_equal(fake_status(f, "PUT", "/controller/network/12a402e62e______", "{}"), 200);
    assert_int_equal(fake_status(f, "POST", "/controller/network/aaaaaaaaaa______", "{}"), 400);
    assert_int_equal(f->body_len, 0);
    assert_int_equal(fake_status(f, "POST", "/controller/network/12A402E62E______", "{}"), 400);
}

/* CTL-12, CTL-13 */
static void test_create_update_delete_by_id(void **state)
{
    struct fake *f = *state;
    json_t *obj = fake_api(f, "POST", "/controller/network/12A402E62ED49BA9", "{\"name\":\"a\"}");
    assert_string_equal(js(obj, "id"), "12a402e62ed49ba9");
    json_decref(obj);
    assert_int_equal(fake_status(f, "GET", "/controller/network/12A402e62ed49BA9", NULL), 200);
    obj = fake_api(f, "PUT", NET, "{\"name\":\"b\"}");
    assert_string_equal(js(obj, "name"), "b");
    assert_int_equal(ji(obj, "revision"), 2);
    json_decref(obj);
    assert_int_equal(fake_status(f, "POST", "/controller/network/1111111111000001", "{}"), 200);
    assert_int_equal(fake_status(f, "POST", MEMBER, "{}"), 200);
    obj = fake_api(f, "DELETE", MEMBER, NULL);
    assert_int_equal(f->status, 200);
    assert_string_equal(js(obj, "id"), "aabbccddee");
    json_decref(obj);
    assert_int_equal(fake_status(f, "GET", MEMBER, NULL), 404);
    assert_int_equal(fake_status(f, "DELETE", MEMBER, NULL), 404);
    obj = fake_api(f, "DELETE", NET, NULL);
    assert_int_equal(f->status, 200);
    assert_string_equal(js(obj, "name"), "b");
    json_decref(obj);
    assert_int_equal(fake_status(f, "GET", NET, NULL), 404);
}

/* CTL-14, CTL-15 */
static void test_lists(void **state)
{
    struct fake *f = *state;
    fake_network(f, "{}");
    fake_status(f, "POST", NET "/member/aabbccddee", "{\"authorized\":true,\"name\":\"Anna\"}");
    fake_status(f, "POST", NET "/member/AABBCCDD01", "{}");
    fake_status(f, "POST", NET "/member/0000000002", "{\"ipAssignments\":[\"10.9.0.7\"]}");
    json_t *obj = fake_api(f, "GET", NET "/member", NULL);
    assert_int_equal(json_object_size(obj), 3);
    assert_int_equal(ji(obj, "aabbccddee"), 1);
    assert_int_equal(ji(obj, "aabbccdd01"), 1);
    json_decref(obj);
    obj = fake_api(f, "GET", "/unstable/controller/network", NULL);
    json_t *meta = json_object_get(json_array_get(json_object_get(obj, "data"), 0), "meta");
    assert_int_equal(ji(meta, "totalMemberCount"), 3);
    assert_int_equal(ji(meta, "authorizedMemberCount"), 1);
    assert_int_equal(ji(json_object_get(obj, "meta"), "networkCount"), 1);
    json_decref(obj);
    static const struct {
        const char *query;
        const char *first; /* address */
        size_t count;
        const char *next;
    } cases[] = {
        {"", "0000000002", 3, "?"},
        {"?limit=2", "0000000002", 2, "aabbccdd01"},
        {"?limit=2&cursor=aabbccdd01", "aabbccddee", 1, "?"},
        {"?filter=authorized", "aabbccddee", 1, "?"},
        {"?filter=pending", "0000000002", 2, "?"},
        {"?q=ANN", "aabbccddee", 1, "?"},
        {"?q=bbccdd", "aabbccdd01", 2, "?"},
        {"?q=10%2e9.0", "0000000002", 1, "?"},
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        char path[160];
        snprintf(path, sizeof(path), "/unstable%s/member%s", NET, cases[i].query);
        obj = fake_api(f, "GET", path, NULL);
        const json_t *data = json_object_get(obj, "data");
        assert_int_equal(json_array_size(data), cases[i].count);
        assert_string_equal(js(json_array_get(data, 0), "id"), cases[i].first);
        assert_string_equal(js(json_object_get(obj, "meta"), "nextCursor"), cases[i].next);
        assert_int_equal(ji(json_object_get(obj, "meta"), "totalCount"), 3);
        assert_int_equal(ji(json_object_get(obj, "meta"), "authorizedCount"), 1);
        json_decref(obj);
    }
}

/* 12.32 */
static void test_networks_by_pages_and_words(void **state)
{
    struct fake *f = *state;
    static const struct {
        const char *id;
        const char *body;
    } nets[] = {
        {"12a402e62e000001", "{\"name\":\"Office\",\"routes\":[{\"target\":\"10.4.0.0/16\"}]}"},
        {"12a402e62e000002", "{\"name\":\"home\",\"private\":false}"},
        {"12a402e62e000003", "{\"name\":\"office two\"}"},
    };
    static const struct {
        const char *query;
        const char *first;
        size_t count;
        const char *next;
    } cases[] = {
        {"", "12a402e62e000001", 3, "?"},
        {"?limit=2", "12a402e62e000001", 2, "12a402e62e000002"},
        {"?limit=2&cursor=12a402e62e000002", "12a402e62e000003", 1, "?"},
        {"?q=office", "12a402e62e000001", 2, "?"},
        {"?q=OFFICE&limit=1", "12a402e62e000001", 1, "12a402e62e000001"},
        {"?q=10.4.", "12a402e62e000001", 1, "?"},
        {"?q=0002", "12a402e62e000002", 1, "?"},
        {"?filter=public", "12a402e62e000002", 1, "?"},
        {"?filter=private&q=two", "12a402e62e000003", 1, "?"},
        {"?q=nothing", "?", 0, "?"},
    };
    for (size_t i = 0; i < COUNT_OF(nets); i++) {
        char path[80];
        snprintf(path, sizeof(path), "/controller/network/%s", nets[i].id);
        fake_status(f, "POST", path, nets[i].body);
    }
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        char path[120];
        snprintf(path, sizeof(path), "/unstable/controller/network%s", cases[i].query);
        json_t *obj = fake_api(f, "GET", path, NULL);
        const json_t *data = json_object_get(obj, "data");
        assert_int_equal(json_array_size(data), cases[i].count);
        if (cases[i].count > 0) {
            assert_string_equal(js(json_array_get(data, 0), "id"), cases[i].first);
        }
        assert_string_equal(js(json_object_get(obj, "meta"), "nextCursor"), cases[i].next);
        assert_int_equal(ji(json_object_get(obj, "meta"), "networkCount"), 3);
        json_decref(obj);
    }
}

/* CTL-16, CTL-3 */
static void test_coercion(void **state)
{
    struct fake *f = *state;
    static const struct {
        const char *body;
        const char *key;
        const char *want;
    } cases[] = {
        {"{\"private\":\"false\"}", "private", "false"},
        {"{\"private\":\"true\"}", "private", "true"},
        {"{\"private\":\"yes\"}", "private", "false"},
        {"{\"private\":\"1\"}", "private", "true"},
        {"{\"private\":\"0\"}", "private", "false"},
        {"{\"private\":\"T\"}", "private", "true"},
        {"{\"private\":\"\"}", "private", "false"},
        {"{\"private\":null}", "private", "true"},
        {"{\"private\":0}", "private", "false"},
        {"{\"private\":2}", "private", "true"},
        {"{\"private\":-1}", "private", "true"},
        {"{\"private\":0.5}", "private", "false"},
        {"{\"private\":[]}", "private", "true"},
        {"{\"enableBroadcast\":null}", "enableBroadcast", "false"},
        {"{\"enableBroadcast\":true}", "enableBroadcast", "true"},
        {"{\"multicastLimit\":\"64\"}", "multicastLimit", "64"},
        {"{\"multicastLimit\":7.9}", "multicastLimit", "7"},
        {"{\"multicastLimit\":true}", "multicastLimit", "1"},
        {"{\"multicastLimit\":\"x\"}", "multicastLimit", "0"},
        {"{\"multicastLimit\":{}}", "multicastLimit", "32"},
        {"{\"multicastLimit\":-1}", "multicastLimit", "4294967295"},
        {"{\"mtu\":100}", "mtu", "1280"},
        {"{\"mtu\":20000}", "mtu", "10000"},
        {"{\"mtu\":\"1500\"}", "mtu", "1500"},
        {"{\"mtu\":null}", "mtu", "2800"},
        {"{\"mtu\":18446744073709551617}", "mtu", "10000"},
        {"{\"name\":17}", "name", "\"17\""},
        {"{\"name\":true}", "name", "\"1\""},
        {"{\"name\":false}", "name", "\"0\""},
        {"{\"name\":null}", "name", "\"\""},
        {"{\"name\":\"f\\u00fcr \\\"alle\\\"\"}", "name", "\"f\u00fcr \\\"alle\\\"\""},
        {"{\"remoteTraceTarget\":\"12a402e62e\"}", "remoteTraceTarget", "\"12a402e62e\""},
        {"{\"remoteTraceTarget\":\"12a402e62\"}", "remoteTraceTarget", "null"},
        {"{\"remoteTraceTarget\":5}", "remoteTraceTarget", "null"},
        {"{\"remoteTraceLevel\":\"15\"}", "remoteTraceLevel", "15"},
    };
    fake_network(f, "{}");
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        check_post(f, NET, cases[i].body, cases[i].key, cases[i].want);
    }
}

/* CTL-17, CTL-18 */
static void test_bad_bodies(void **state)
{
    struct fake *f = *state;
    fake_network(f, "{\"name\":\"keep\"}");
    static const char *const bad[] = {"", "{", "{\"a\":}", "name=x", "{} x", "{\"a\":\"\\ud800\"}"};
    for (size_t i = 0; i < COUNT_OF(bad); i++) {
        json_t *obj = fake_api(f, "POST", NET, bad[i]);
        assert_int_equal(f->status, 500);
        assert_int_equal(ji(obj, "error"), 500);
        assert_true(ji(obj, "line") >= 1);
        assert_true(json_is_integer(json_object_get(obj, "column")));
        assert_string_not_equal(js(obj, "description"), "?");
        json_decref(obj);
        assert_int_equal(fake_status(f, "POST", NET "?strict=1", bad[i]), 400);
    }
    check_post(f, NET, "[1,2]", "revision", "1");
    check_post(f, NET, "5", "revision", "1");
    check_post(f, NET, "{}", "name", "\"keep\"");
    char *big = malloc(102400 + 64);
    assert_non_null(big);
    int n = sprintf(big, "{\"rulesSource\":\"");
    memset(big + n, 'a', 102400);
    strcpy(big + n + 102400, "\"}");
    assert_int_equal(fake_status(f, "POST", NET, big), 200);
    free(big);
}

/* CTL-19, CTL-20, CTL-21 */
static void test_revision_counts_real_changes(void **state)
{
    struct fake *f = *state;
    fake_network(f, "{\"remoteTraceLevel\":10,\"name\":\"n\",\"mtu\":1500}");
    check_post(f, NET, "{\"name\":\"n\"}", "revision", "1");
    check_post(f, NET, "{\"name\":\"m\"}", "revision", "2");
    check_post(f, NET, "{\"unknownThing\":5}", "unknownThing", "absent");
    check_post(f, NET, "{\"revision\":50,\"id\":\"x\",\"creationTime\":1}", "revision", "2");
    check_post(f, NET, "{\"private\":false}", "remoteTraceLevel", "10");
    check_post(f, NET, "{}", "mtu", "1500");
    fake_status(f, "POST", MEMBER, "{\"remoteTraceLevel\":20,\"authorized\":true}");
    check_post(f, MEMBER, "{\"name\":\"x\"}", "remoteTraceLevel", "20");
    check_post(f, MEMBER, "{\"name\":\"x\"}", "revision", "2");
    check_post(f, MEMBER, "{\"foo\":1}", "foo", "absent");
}

/* CTL-22 */
static void test_assign_modes(void **state)
{
    struct fake *f = *state;
    fake_network(f, "{}");
    check_post(f, NET, "{\"v4AssignMode\":\"zt\"}", "v4AssignMode", "{\"zt\":true}");
    check_post(f, NET, "{\"v4AssignMode\":\"none\"}", "v4AssignMode", "{\"zt\":false}");
    check_post(f, NET, "{\"v4AssignMode\":{\"zt\":\"true\",\"x\":1}}", "v4AssignMode",
               "{\"zt\":true}");
    check_post(f, NET, "{\"v4AssignMode\":5}", "v4AssignMode", "{\"zt\":false}");
    check_post(f, NET, "{\"v6AssignMode\":\"rfc4193,6plane\"}", "v6AssignMode",
               "{\"6plane\":true,\"rfc4193\":true,\"zt\":false}");
    check_post(f, NET, "{\"v6AssignMode\":{\"zt\":true}}", "v6AssignMode", "{\"zt\":true}");
}

/* CTL-23 */
static void test_routes(void **state)
{
    struct fake *f = *state;
    fake_network(f, "{}");
    check_post(f, NET,
               "{\"routes\":[{\"target\":\"10.9.0.0/24\"},{\"target\":\"x\"},{\"via\":\"1.2.3.4\"},"
               "{\"target\":\"10.2.0.0\"},{\"target\":\"10.3.0.0/33\"},5,"
               "{\"target\":\"10.99.0.7/16\",\"via\":\"10.9.0.5/24\"},"
               "{\"target\":\"fd00::/8\",\"via\":\"10.9.0.5\"},"
               "{\"target\":\"999.1.1.1/8\"}]}",
               "routes",
               "[{\"target\":\"10.9.0.0/24\",\"via\":null},{\"target\":\"10.99.0.0/16\",\"via\":"
               "\"10.9.0.5\"},{\"target\":\"fd00::/8\",\"via\":null}]");
    json_t *obj = fake_api(f, "POST", NET, "{\"routes\":[{\"target\":\"10.2.0.0\"}]}");
    assert_int_equal(json_array_size(json_object_get(obj, "warnings")), 1);
    json_decref(obj);
    obj = fake_api(f, "GET", NET, NULL); /* warnings are never stored */
    assert_null(json_object_get(obj, "warnings"));
    json_decref(obj);
    /* 12.12: strict refuses and changes nothing */
    check_post(f, NET, "{}", "revision", "3");
    obj = fake_api(f, "POST", NET "?strict=1", "{\"name\":\"z\",\"routes\":[{\"target\":\"q\"}]}");
    assert_int_equal(f->status, 400);
    assert_int_equal(json_array_size(json_object_get(obj, "warnings")), 1);
    json_decref(obj);
    check_post(f, NET, "{}", "name", "\"\"");
    check_post(f, NET, "{\"routes\":7}", "routes", "[]");
    assert_int_equal(fake_status(f, "POST", NET "?strict=1",
                                 "{\"routes\":[{\"target\":\"0.0.0.0/0\",\"via\":\"10.1.1.1\"}]}"),
                     200); /* a default route is only noted */
}

/* CTL-24, CTL-122 */
static void test_pools(void **state)
{
    struct fake *f = *state;
    fake_network(f, "{}");
    check_post(f, NET,
               "{\"ipAssignmentPools\":[{\"ipRangeStart\":\"10.9.0.1/24\",\"ipRangeEnd\":"
               "\"10.9.0.9\"},{\"ipRangeStart\":\"10.9.0.1\",\"ipRangeEnd\":\"fd00::1\"},"
               "{\"ipRangeStart\":\"999.1.1.1\",\"ipRangeEnd\":\"10.0.0.1\"},{},"
               "{\"ipRangeStart\":\"10.9.0.9\",\"ipRangeEnd\":\"10.9.0.2\"}]}",
               "ipAssignmentPools",
               "[{\"ipRangeEnd\":\"10.9.0.9\",\"ipRangeStart\":\"10.9.0.1\"},"
               "{\"ipRangeEnd\":\"10.9.0.2\",\"ipRangeStart\":\"10.9.0.9\"}]");
    json_t *obj = fake_api(f, "POST", NET,
                           "{\"ipAssignmentPools\":[{\"ipRangeStart\":\"10.9.0.9\","
                           "\"ipRangeEnd\":\"10.9.0.2\"}]}");
    assert_int_equal(json_array_size(json_object_get(obj, "warnings")), 2); /* order, no route */
    json_decref(obj);
}

/* True if the list of warnings of the network has one of a kind (and member). */
static bool warned(struct fake *f, const char *kind, const char *member)
{
    json_t *obj = fake_api(f, "GET", "/unstable" NET "/warnings", NULL);
    const json_t *data = json_object_get(obj, "data");
    bool found = false;
    for (size_t i = 0; i < json_array_size(data); i++) {
        const json_t *w = json_array_get(data, i);
        found = found || (strcmp(js(w, "kind"), kind) == 0 && strcmp(js(w, "member"), member) == 0);
    }
    json_decref(obj);
    return found;
}

/* CTL-122: at the change that causes it and as long as it lasts. */
static void test_mistakes_are_visible(void **state)
{
    struct fake *f = *state;
    static const struct {
        const char *path;
        const char *body;
        const char *kind;
        const char *member;
    } cases[] = {
        {NET,
         "{\"ipAssignmentPools\":[{\"ipRangeStart\":\"10.8.0.1\",\"ipRangeEnd\":\"10.8.0.9\"}]}",
         "pool-outside-routes", "?"},
        {NET,
         "{\"ipAssignmentPools\":[{\"ipRangeStart\":\"10.9.0.9\",\"ipRangeEnd\":\"10.9.0.1\"}]}",
         "empty-pool", "?"},
        {NET, "{\"routes\":[{\"target\":\"10.9.0.0/24\"},{\"target\":\"10.9.0.128/25\"}]}",
         "overlapping-routes", "?"},
        {NET, "{\"routes\":[{\"target\":\"10.9.0.0/24\"},{\"target\":\"0.0.0.0/0\"}]}",
         "default-route", "?"},
        {MEMBER, "{\"ipAssignments\":[\"10.9.0.1\"]}", "duplicate-address", "aabbccddee"},
        {NET, "{\"routes\":[{\"target\":\"10.7.0.0/24\"}]}", "address-outside-routes",
         "aabbccddee"},
    };
    fake_network(f, "{\"v4AssignMode\":\"zt\",\"private\":false,\"routes\":[{\"target\":"
                    "\"10.9.0.0/24\"}],\"ipAssignmentPools\":[{\"ipRangeStart\":\"10.9.0.1\","
                    "\"ipRangeEnd\":\"10.9.0.1\"}]}");
    fake_request(f, FAKE_NWID, 0x11, NULL);
    assert_false(warned(f, "exhausted-pool", "?"));
    fake_request(f, FAKE_NWID, 0x12, NULL);
    assert_true(warned(f, "exhausted-pool", "?"));
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        assert_false(warned(f, cases[i].kind, cases[i].member));
        json_t *obj = fake_api(f, "POST", cases[i].path, cases[i].body);
        if (!warned(f, cases[i].kind, cases[i].member) ||
            json_object_get(obj, "warnings") == NULL) {
            fail_msg("case %zu: %s", i, cases[i].kind);
        }
        json_decref(obj);
    }
}

/* CTL-26, CTL-27 */
static void test_rules_of_a_network(void **state)
{
    struct fake *f = *state;
    fake_network(f, "{}");
    check_post(f, NET, "{\"rules\":[]}", "rules", "[]");
    check_post(f, NET,
               "{\"rules\":[{\"type\":\"NO_SUCH\"},{\"type\":\"ACTION_PRIORITY\",\"qosBucket\":1},"
               "{\"type\":\"ACTION_DROP\",\"not\":true},{\"type\":\"MATCH_ETHERTYPE\","
               "\"etherType\":\"2048\",\"or\":1}]}",
               "rules",
               "[{\"type\":\"ACTION_DROP\"},{\"etherType\":2048,\"not\":false,\"or\":true,\"type\":"
               "\"MATCH_ETHERTYPE\"}]");
    json_t *obj = fake_api(f, "POST", NET,
                           "{\"rules\":[{\"type\":\"MATCH_CHARACTERISTICS\","
                           "\"mask\":{}}]}");
    assert_int_equal(f->status, 500);
    assert_int_equal(ji(obj, "error"), 500);
    json_decref(obj);
    check_post(f, NET, "{\"rulesSource\":\"accept;\"}", "rulesSource", "\"accept;\""); /* CTL-34 */
}

/* CTL-28 */
static void test_capabilities_and_tags(void **state)
{
    struct fake *f = *state;
    fake_network(f, "{}");
    check_post(f, NET,
               "{\"capabilities\":[{\"id\":7,\"default\":\"true\",\"rules\":[{\"type\":"
               "\"ACTION_ACCEPT\",\"x\":1}],\"extra\":1},{\"id\":2,\"rules\":5},{\"id\":7,"
               "\"default\":false,\"rules\":[]},9]}",
               "capabilities",
               "[{\"default\":false,\"id\":2,\"rules\":[]},{\"default\":false,\"id\":7,\"rules\":"
               "[]}]");
    check_post(f, NET,
               "{\"tags\":[{\"id\":4294967297,\"default\":3},{\"id\":9,\"default\":null},{\"id\":1,"
               "\"default\":\"12\"},{\"id\":5}]}",
               "tags",
               "[{\"default\":12,\"id\":1},{\"default\":null,\"id\":5},{\"default\":null,\"id\":"
               "9}]");
}

/* CTL-29, CTL-30, CTL-31 */
static void test_member_fields(void **state)
{
    struct fake *f = *state;
    fake_network(f, "{}");
    json_t *obj = fake_api(f, "POST", NET "/member/AABBCCDDEE", "{}");
    static const char *const defaults =
        "{\"id\":\"aabbccddee\",\"address\":\"aabbccddee\",\"nwid\":\"12a402e62ed49ba9\","
        "\"objtype\":\"member\",\"authorized\":false,\"lastAuthorizedTime\":0,"
        "\"lastDeauthorizedTime\":0,\"lastAuthorizedCredentialType\":null,"
        "\"lastAuthorizedCredential\":null,\"activeBridge\":false,\"noAutoAssignIps\":false,"
        "\"ipAssignments\":[],\"tags\":[],\"capabilities\":[],\"revision\":1,\"vMajor\":-1,"
        "\"vMinor\":-1,\"vRev\":-1,\"vProto\":-1,\"remoteTraceTarget\":null,"
        "\"remoteTraceLevel\":0,\"authenticationExpiryTime\":0,\"ssoExempt\":false}";
    json_t *want = json_loads(defaults, 0, NULL);
    json_object_set_new(want, "creationTime", json_integer(f->now_ms + f->wall_offset_ms));
    assert_true(json_equal(obj, want));
    json_decref(obj);
    json_decref(want);
    int64_t first = f->now_ms + f->wall_offset_ms;
    obj = fake_api(f, "POST", MEMBER, "{\"authorized\":\"true\"}");
    assert_int_equal(ji(obj, "lastAuthorizedTime"), first);
    assert_string_equal(js(obj, "lastAuthorizedCredentialType"), "api");
    json_decref(obj);
    f->now_ms += 5000;
    obj = fake_api(f, "POST", MEMBER, "{\"authorized\":1}");
    assert_int_equal(ji(obj, "lastAuthorizedTime"), first);
    assert_int_equal(ji(obj, "revision"), 2);
    json_decref(obj);
    obj = fake_api(f, "POST", MEMBER, "{\"authorized\":\"no\"}");
    assert_int_equal(ji(obj, "lastDeauthorizedTime"), first + 5000);
    json_decref(obj);
    check_post(f, MEMBER, "{\"ipAssignments\":[\"10.9.0.5/24\",\"nonsense\",\"FD00:0:0::1\"]}",
               "ipAssignments", "[\"10.9.0.5\",\"fd00::1\"]");
    check_post(f, MEMBER, "{\"ipAssignments\":\"10.9.0.6\"}", "ipAssignments",
               "[\"10.9.0.5\",\"fd00::1\"]");
    assert_int_equal(fake_status(f, "POST", MEMBER, "{\"ipAssignments\":[5]}"), 500);
    assert_int_equal(fake_status(f, "POST", MEMBER "?strict=1", "{\"ipAssignments\":[5]}"), 400);
    check_post(f, MEMBER, "{\"tags\":[[5,1],[4294967299,\"7\"],[5,4294967298],[1],3]}", "tags",
               "[[3,7],[5,2]]");
    check_post(f, MEMBER, "{\"tags\":[]}", "tags", "[]");
    check_post(f, MEMBER, "{\"capabilities\":[9,4294967298,9,null]}", "capabilities", "[0,2,9]");
    check_post(f, MEMBER, "{\"name\":\"x\"}", "name", "\"x\"");
    check_post(f, MEMBER, "{\"name\":null}", "name", "\"\"");
    check_post(f, MEMBER, "{\"authenticationURL\":\"http://x\"}", "authenticationURL", "absent");
    check_post(f, MEMBER, "{\"identity\":\"x\"}", "identity", "absent");
}

static void test_duplicate_address_gives_a_warning(void **state)
{
    struct fake *f = *state;
    fake_network(f, "{\"routes\":[{\"target\":\"10.9.0.0/24\"}]}");
    fake_status(f, "POST", NET "/member/0000000001", "{\"ipAssignments\":[\"10.9.0.5\"]}");
    assert_int_equal(fake_status(f, "POST", NET "/member/0000000001?strict=1",
                                 "{\"ipAssignments\":[\"10.9.0.6\",\"10.9.0.5\"]}"),
                     200); /* its own does not count */
    json_t *obj = fake_api(f, "POST", MEMBER, "{\"ipAssignments\":[\"10.9.0.5\"]}");
    assert_int_equal(json_array_size(json_object_get(obj, "warnings")), 1);
    json_decref(obj);
    assert_int_equal(fake_status(f, "POST", NET "/member/0000000003?strict=1",
                                 "{\"ipAssignments\":[\"10.9.0.5\"]}"),
                     400);
    assert_int_equal(fake_status(f, "GET", NET "/member/0000000003", NULL), 404);
}

/* CTL-32, CTL-33 */
static void test_tokens_and_dns(void **state)
{
    struct fake *f = *state;
    fake_network(f, "{}");
    check_post(f, NET, "{\"authTokens\":{\"a\":0,\"b\":123,\"c\":-1,\"d\":\"x\"}}", "authTokens",
               "{\"a\":0,\"b\":123}");
    check_post(f, NET, "{\"authTokens\":{}}", "authTokens", "null");
    check_post(f, NET, "{\"authTokens\":[5]}", "authTokens", "[null]");
    check_post(f, NET, "{\"authTokens\":null}", "authTokens", "[null]");
    check_post(f, NET, "{\"dns\":{\"domain\":\"lan\",\"servers\":[\"10.9.0.1\"]}}", "dns",
               "{\"domain\":\"lan\",\"servers\":[\"10.9.0.1\"]}");
    check_post(f, NET, "{\"dns\":[]}", "dns", "{\"domain\":\"lan\",\"servers\":[\"10.9.0.1\"]}");
    check_post(f, NET, "{\"dns\":{}}", "dns", "{\"domain\":\"\",\"servers\":[]}");
}

static void test_invite_tokens(void **state)
{
    struct fake *f = *state;
    fake_network(f, "{}");
    json_t *obj = fake_api(f, "POST", NET "/invite-token", "{\"uses\":2}");
    assert_int_equal(f->status, 200);
    assert_int_equal(strlen(js(obj, "token")), 20);
    assert_int_equal(ji(obj, "uses"), 2);
    assert_int_equal(ji(obj, "expires"), 0);
    assert_string_equal(js(obj, "nwid"), "12a402e62ed49ba9");
    char path[160];
    snprintf(path, sizeof(path), "%s/invite-token/%s", NET, js(obj, "token"));
    json_t *net = fake_api(f, "GET", NET, NULL);
    assert_int_equal(ji(json_object_get(net, "authTokens"), js(obj, "token")), 0);
    assert_int_equal(ji(json_object_get(net, "authTokenUses"), js(obj, "token")), 2);
    json_decref(net);
    json_decref(obj);
    obj = fake_api(f, "POST", NET "/invite-token",
                   "{\"token\":\"secret\",\"expires\":9999999999999}");
    assert_string_equal(js(obj, "token"), "secret");
    json_decref(obj);
    obj = fake_api(f, "GET", NET "/invite-token", NULL);
    assert_int_equal(json_array_size(json_object_get(obj, "data")), 2);
    json_decref(obj);
    assert_int_equal(fake_status(f, "POST", NET "/invite-token", "{\"token\":\"a/b\"}"), 400);
    assert_int_equal(fake_status(f, "POST", NET "/invite-token", "{\"uses\":-1}"), 400);
    assert_int_equal(fake_status(f, "DELETE", path, NULL), 200);
    assert_int_equal(fake_status(f, "DELETE", path, NULL), 404);
    /* counts go with their tokens */
    fake_status(f, "POST", NET "/invite-token", "{\"token\":\"t\",\"uses\":3}");
    check_post(f, NET, "{\"authTokens\":{\"t\":5,\"u\":6}}", "authTokenUses", "{\"t\":3}");
    check_post(f, NET, "{\"authTokens\":{\"u\":6}}", "authTokenUses", "absent");
}

static void test_default_network_is_ready_to_use(void **state)
{
    struct fake *f = *state;
    json_t *obj = fake_api(f, "POST", "/controller/network/default",
                           "{\"name\":\"home\",\"avoid\":[\"10.64.0.0/11\",\"10.96.0.0/11\"]}");
    assert_int_equal(f->status, 200);
    assert_string_equal(js(obj, "name"), "home");
    assert_true(json_is_true(json_object_get(obj, "private")));
    const json_t *route = json_array_get(json_object_get(obj, "routes"), 0);
    const json_t *pool = json_array_get(json_object_get(obj, "ipAssignmentPools"), 0);
    int second = atoi(js(route, "target") + 3);
    assert_in_range(second, 128, 239);
    assert_non_null(strstr(js(pool, "ipRangeEnd"), ".254"));
    char path[64];
    snprintf(path, sizeof(path), "/controller/network/%s", js(obj, "id"));
    assert_int_equal(fake_status(f, "GET", path, NULL), 200);
    assert_null(json_object_get(obj, "warnings"));
    json_decref(obj);
    assert_int_equal(
        fake_status(f, "POST", "/controller/network/default", "{\"avoid\":[\"10.0.0.0/8\"]}"), 503);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_status, fake_setup, fake_teardown),
        cmocka_unit_test_setup_teardown(test_unroutable_paths_are_404_and_empty, fake_setup,
                                        fake_teardown),
        cmocka_unit_test_setup_teardown(test_new_network_has_all_defaults, fake_setup,
                                        fake_teardown),
        cmocka_unit_test_setup_teardown(test_random_ids_do_not_collide, fake_setup, fake_teardown),
        cmocka_unit_test_setup_teardown(test_creation_with_underscores, fake_setup, fake_teardown),
        cmocka_unit_test_setup_teardown(test_create_update_delete_by_id, fake_setup, fake_teardown),
        cmocka_unit_test_setup_teardown(test_lists, fake_setup, fake_teardown),
        cmocka_unit_test_setup_teardown(test_networks_by_pages_and_words, fake_setup,
                                        fake_teardown),
        cmocka_unit_test_setup_teardown(test_coercion, fake_setup, fake_teardown),
        cmocka_unit_test_setup_teardown(test_bad_bodies, fake_setup, fake_teardown),
        cmocka_unit_test_setup_teardown(test_revision_counts_real_changes, fake_setup,
                                        fake_teardown),
        cmocka_unit_test_setup_teardown(test_assign_modes, fake_setup, fake_teardown),
        cmocka_unit_test_setup_teardown(test_routes, fake_setup, fake_teardown),
        cmocka_unit_test_setup_teardown(test_pools, fake_setup, fake_teardown),
        cmocka_unit_test_setup_teardown(test_mistakes_are_visible, fake_setup, fake_teardown),
        cmocka_unit_test_setup_teardown(test_rules_of_a_network, fake_setup, fake_teardown),
        cmocka_unit_test_setup_teardown(test_capabilities_and_tags, fake_setup, fake_teardown),
        cmocka_unit_test_setup_teardown(test_member_fields, fake_setup, fake_teardown),
        cmocka_unit_test_setup_teardown(test_duplicate_address_gives_a_warning, fake_setup,
                                        fake_teardown),
        cmocka_unit_test_setup_teardown(test_tokens_and_dns, fake_setup, fake_teardown),
        cmocka_unit_test_setup_teardown(test_invite_tokens, fake_setup, fake_teardown),
        cmocka_unit_test_setup_teardown(test_default_network_is_ready_to_use, fake_setup,
                                        fake_teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
