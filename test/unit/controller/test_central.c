/* The Central API against spec 04 sections 6.2 to 6.5 and the rights of its callers (CTL-94 to
 * CTL-103). The transport is the daemon's: test/netns/central.py. */
#include "fake.h"

#include "controller/central.h"
#include "controller/controller_priv.h"
#include "controller/store_sqlite.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MEMBER "aabbccddee"

/* A fake with callers. */
struct world {
    struct fake f;
    struct caller caller; /* of the calls to come */
    json_t *answer;       /* last one */
    bool done;
    bool told;    /* the last answer holds the join token "sesame" */
    char net[64]; /* "/network/<id>" of make_network */
};

static const struct caller admin = {.user = ACCOUNTS_ADMIN};

static void on_answer(void *ctx, unsigned status, const char *body, size_t len)
{
    struct world *w = ctx;
    assert_false(w->done);
    w->done = true;
    w->f.status = status;
    json_decref(w->answer);
    w->answer = len > 0 ? json_loadb(body, len, JSON_DECODE_ANY, NULL) : NULL;
    assert_true(len == 0 || w->answer != NULL);
    if (status != 200) { /* CTL-95 */
        assert_true(json_is_string(json_object_get(w->answer, "type")));
        assert_true(json_is_string(json_object_get(w->answer, "message")));
    }
}

static void wait_answer(struct world *w)
{
    while (!w->done) {
        controller_wait(w->f.c, 5000);
        controller_poll(w->f.c, w->f.now_ms);
    }
}

/* One call; the answer is borrowed until the next one, NULL for an empty body. */
static json_t *call_len(struct world *w, const char *method, const char *path, const char *body,
                        size_t len)
{
    char full[400];
    snprintf(full, sizeof(full), "/api/v1%s", path);
    struct central_request request = {
        .method = method,
        .path = full,
        .body = body,
        .body_len = len,
        .caller = w->caller,
        .version = "9.8.7",
        .started_ms = w->f.now_ms - 5000,
    };
    w->done = false;
    central_api(w->f.c, &request, w->f.now_ms, on_answer, w);
    wait_answer(w);
    return w->answer;
}

static json_t *call(struct world *w, const char *method, const char *path, const char *body)
{
    return call_len(w, method, path, body, body != NULL ? strlen(body) : 0);
}

static unsigned status(struct world *w, const char *method, const char *path, const char *body)
{
    (void)call(w, method, path, body);
    return w->f.status;
}

static json_t *good(struct world *w, const char *method, const char *path, const char *body)
{
    json_t *obj = call(w, method, path, body);
    if (w->f.status != 200) {
        fail_msg("%s %s %s: %u %s", method, path, body != NULL ? body : "", w->f.status,
                 js(obj, "message"));
    }
    return obj;
}

/* Compact text of what stands at "a.b.c" of an object; to be freed. */
static char *at(json_t *obj, const char *where)
{
    char path[100];
    snprintf(path, sizeof(path), "%s", where);
    json_t *v = obj;
    for (char *save = NULL, *key = strtok_r(path, ".", &save); key != NULL;
         key = strtok_r(NULL, ".", &save)) {
        v = json_object_get(v, key);
    }
    return v != NULL ? json_dumps(v, JSON_COMPACT | JSON_SORT_KEYS | JSON_ENCODE_ANY)
                     : strdup("absent");
}

static void check(json_t *obj, const char *where, const char *want)
{
    char *text = at(obj, where);
    if (strcmp(text, want) != 0) {
        fail_msg("%s is %s, not %s", where, text, want);
    }
    free(text);
}

static int setup(void **state)
{
    struct world *w = calloc(1, sizeof(*w));
    fake_init(&w->f, NULL);
    w->caller = admin;
    *state = w;
    return 0;
}

static int teardown(void **state)
{
    struct world *w = *state;
    json_decref(w->answer);
    fake_done(&w->f);
    free(w);
    return 0;
}

/* Make a network as the present caller; w->net is its path. */
static const char *make_network(struct world *w, const char *body)
{
    snprintf(w->net, sizeof(w->net), "/network/%s", js(good(w, "POST", "/network", body), "id"));
    return w->net;
}

static const char *below(const struct world *w, const char *rest)
{
    static char path[200];
    snprintf(path, sizeof(path), "%s%s", w->net, rest);
    return path;
}

/* ---- paths, status ---- */

/* CTL-94 (schemes are the transport's) */
static void test_both_bases_are_served(void **state)
{
    struct world *w = *state;
    static const char *const paths[] = {"/api/v1/status", "/api/status", "/api/v1/status/"};
    for (size_t i = 0; i < COUNT_OF(paths); i++) {
        struct central_request request = {
            .method = "GET", .path = paths[i], .caller = admin, .version = "1"};
        w->done = false;
        assert_true(central_owns(paths[i]));
        central_api(w->f.c, &request, w->f.now_ms, on_answer, w);
        assert_true(w->done);
        assert_int_equal(w->f.status, 200);
    }
    assert_false(central_owns("/apiary"));
    assert_false(central_owns("/status"));
    assert_true(central_owns("/api"));
}

static void test_status(void **state)
{
    struct world *w = *state;
    json_t *obj = good(w, "GET", "/status", NULL);
    check(obj, "id", "\"central_status\"");
    check(obj, "type", "\"CentralStatus\"");
    check(obj, "apiVersion", "\"4\"");
    check(obj, "version", "\"9.8.7\"");
    check(obj, "uptime", "5000");
    check(obj, "readOnlyMode", "false");
    check(obj, "loginMethods.local", "true");
    check(obj, "loginMethods.oidc", "false");
    check(obj, "user.id", "\"0000000000000001\"");
    assert_int_equal(ji(obj, "clock"), w->f.now_ms + w->f.wall_offset_ms);
}

/* CTL-95 */
static void test_unknown_paths_and_methods_are_404(void **state)
{
    struct world *w = *state;
    static const char *const paths[][2] = {
        {"GET", ""},
        {"GET", "/"},
        {"GET", "/nothing"},
        {"POST", "/status"},
        {"GET", "/network/12a402e62ed49ba"},
        {"GET", "/network/12a402e62ed49bag"},
        {"GET", "/network/12a402e62ed49ba9"},
        {"POST", "/network/12a402e62ed49ba9"},
        {"DELETE", "/network/12a402e62ed49ba9"},
        {"GET", "/network/12a402e62ed49ba9/member"},
        {"DELETE", "/network"},
        {"PATCH", "/network"},
        {"OPTIONS", "/user"},
        {"GET", "/user/1"},
        {"GET", "/user/00000000000000aa"},
        {"GET", "/user/0000000000000001/tokens"},
        {"GET", "/org/0000000000000001"},
        {"GET", "/org-invitation/00000000000000aa"},
        {"GET", "/a/b/c/d/e"},
        {"GET", "//network"},
    };
    for (size_t i = 0; i < COUNT_OF(paths); i++) {
        if (status(w, paths[i][0], paths[i][1], "{}") != 404) {
            fail_msg("%s %s: %u", paths[i][0], paths[i][1], w->f.status);
        }
    }
    char path[300];
    memset(path, 'a', sizeof(path) - 1);
    path[0] = '/';
    path[sizeof(path) - 1] = '\0';
    assert_int_equal(status(w, "GET", path, NULL), 404);
}

/* ---- networks ---- */

/* CTL-96 */
static void test_create_with_nothing_and_with_a_name(void **state)
{
    struct world *w = *state;
    json_t *obj = good(w, "POST", "/network", "{}");
    static const char *const wanted[][2] = {
        {"type", "\"Network\""},
        {"description", "\"\""},
        {"ownerId", "\"0000000000000001\""},
        {"permissions", "{\"0000000000000001\":{\"a\":true,\"d\":true,\"m\":true,\"r\":true}}"},
        {"onlineMemberCount", "0"},
        {"authorizedMemberCount", "0"},
        {"totalMemberCount", "0"},
        {"capabilitiesByName", "{}"},
        {"tagsByName", "{}"},
        {"config.name", "\"\""},
        {"config.private", "true"},
        {"config.enableBroadcast", "true"},
        {"config.multicastLimit", "32"},
        {"config.mtu", "2800"},
        {"config.ipAssignmentPools", "[]"},
        {"config.routes", "[]"},
        {"config.v4AssignMode", "{\"zt\":false}"},
        {"config.v6AssignMode", "{\"6plane\":false,\"rfc4193\":false,\"zt\":false}"},
        {"config.dns", "{\"domain\":\"\",\"servers\":[]}"},
        {"config.capabilities", "[]"},
        {"config.tags", "[]"},
        {"config.ssoConfig.enabled", "false"},
        {"config.ssoConfig.mode", "\"default\""},
        {"config.ssoConfig.allowList", "[]"},
    };
    for (size_t i = 0; i < COUNT_OF(wanted); i++) {
        check(obj, wanted[i][0], wanted[i][1]);
    }
    assert_int_equal(strlen(js(obj, "id")), 16);
    assert_int_equal(strncmp(js(obj, "id"), "12a402e62e", 10), 0);
    assert_string_equal(js(json_object_get(obj, "config"), "id"), js(obj, "id"));
    assert_non_null(strstr(js(obj, "rulesSource"), "accept"));
    assert_int_equal(ji(json_object_get(obj, "config"), "creationTime"),
                     w->f.now_ms + w->f.wall_offset_ms);
    obj = good(w, "POST", "/network", "{\"config\":{\"name\":\"home\"},\"description\":\"d\"}");
    check(obj, "config.name", "\"home\"");
    check(obj, "description", "\"d\"");
    assert_int_equal(json_array_size(good(w, "GET", "/network", NULL)), 2);
    assert_int_equal(status(w, "POST", "/network", NULL), 400);
}

/* CTL-97: absent and null keys stay, objects are merged, arrays replaced */
static void test_partial_merge_of_a_network(void **state)
{
    struct world *w = *state;
    static const struct {
        const char *body;
        const char *where;
        const char *want;
    } steps[] = {
        {"{\"config\":{\"v4AssignMode\":{\"zt\":true}}}", "config.v4AssignMode", "{\"zt\":true}"},
        {"{\"config\":{\"v6AssignMode\":{\"rfc4193\":true}}}", "config.v6AssignMode",
         "{\"6plane\":false,\"rfc4193\":true,\"zt\":false}"},
        {"{\"config\":{\"v6AssignMode\":{\"6plane\":true,\"zt\":null}}}", "config.v6AssignMode",
         "{\"6plane\":true,\"rfc4193\":true,\"zt\":false}"},
        {"{\"config\":{\"dns\":{\"domain\":\"x.test\"}}}", "config.dns",
         "{\"domain\":\"x.test\",\"servers\":[]}"},
        {"{\"config\":{\"dns\":{\"servers\":[\"10.1.0.1\"]}}}", "config.dns",
         "{\"domain\":\"x.test\",\"servers\":[\"10.1.0.1\"]}"},
        {"{\"config\":{\"dns\":{\"servers\":[\"10.1.0.2\"]}}}", "config.dns",
         "{\"domain\":\"x.test\",\"servers\":[\"10.1.0.2\"]}"},
        {"{\"config\":{\"dns\":null}}", "config.dns.domain", "\"x.test\""},
        {"{\"config\":{\"dns\":[]}}", "config.dns", "{\"domain\":\"\",\"servers\":[]}"},
        {"{\"description\":\"d\"}", "config.v4AssignMode", "{\"zt\":true}"},
        {"{\"config\":{\"name\":\"n\"}}", "description", "\"d\""},
        {"{\"config\":null,\"description\":null,\"permissions\":null}", "config.name", "\"n\""},
        {"{\"config\":{\"routes\":[{\"target\":\"10.2.0.0/16\",\"via\":null},"
         "{\"target\":\"10.1.0.0/16\"},{\"target\":\"0.0.0.0/0\",\"via\":\"10.1.0.9\"}]}}",
         "config.routes",
         "[{\"target\":\"10.2.0.0/16\",\"via\":null},{\"target\":\"10.1.0.0/16\",\"via\":null},"
         "{\"target\":\"0.0.0.0/0\",\"via\":\"10.1.0.9\"}]"},
        {"{\"config\":{\"routes\":[{\"target\":\"10.1.0.0/16\"}]}}", "config.routes",
         "[{\"target\":\"10.1.0.0/16\",\"via\":null}]"},
        {"{\"config\":{\"ipAssignmentPools\":[{\"ipRangeStart\":\"10.1.9.1\",\"ipRangeEnd\":"
         "\"10.1.9.9\"},{\"ipRangeStart\":\"10.1.1.1\",\"ipRangeEnd\":\"10.1.1.9\"}]}}",
         "config.ipAssignmentPools",
         "[{\"ipRangeEnd\":\"10.1.9.9\",\"ipRangeStart\":\"10.1.9.1\"},{\"ipRangeEnd\":"
         "\"10.1.1.9\",\"ipRangeStart\":\"10.1.1.1\"}]"},
        {"{\"config\":{\"ssoConfig\":{\"enabled\":true,\"issuer\":\"https://id.test\"}}}",
         "config.ssoConfig.enabled", "true"},
        {"{\"config\":{\"ssoConfig\":{\"mode\":\"email\",\"allowList\":[\"a@b\"]}}}",
         "config.ssoConfig.issuer", "\"https://id.test\""},
        {"{\"config\":{\"ssoConfig\":{\"enabled\":false,\"mode\":\"email\",\"allowList\":"
         "[\"a@b\"],\"clientId\":\"\"}}}",
         "config.ssoConfig.allowList", "[\"a@b\"]"},
        {"{\"config\":{\"private\":false,\"multicastLimit\":64,\"mtu\":1500,"
         "\"enableBroadcast\":false}}",
         "config.mtu", "1500"},
        {"{\"clock\":1,\"id\":\"zz\",\"type\":7,\"config\":{\"id\":5,\"creationTime\":0,"
         "\"lastModified\":\"x\"},\"totalMemberCount\":9}",
         "totalMemberCount", "0"},
    };
    make_network(w, "{}");
    for (size_t i = 0; i < COUNT_OF(steps); i++) {
        check(good(w, "POST", w->net, steps[i].body), steps[i].where, steps[i].want);
        check(good(w, "GET", w->net, NULL), steps[i].where, steps[i].want);
    }
    check(w->answer, "config.private", "false");
}

/* What is read and posted back changes nothing: zeronsd and rules editors do that. */
static void test_posting_back_changes_nothing(void **state)
{
    struct world *w = *state;
    make_network(w, "{\"rulesSource\":\"drop not ethertype ipv4;\\naccept;\",\"config\":{\"name\":"
                    "\"n\",\"dns\":{\"domain\":\"a.b\",\"servers\":[\"10.0.0.1\"]}}}");
    char path[100];
    snprintf(path, sizeof(path), "/controller%s", w->net);
    json_t *before = fake_api(&w->f, "GET", path, NULL);
    char *text = json_dumps(good(w, "GET", w->net, NULL), 0);
    good(w, "POST", w->net, text);
    free(text);
    json_t *after = fake_api(&w->f, "GET", path, NULL);
    assert_true(json_equal(before, after)); /* the revision included */
    json_decref(before);
    json_decref(after);
}

/* What was stored otherwise may be as it is, and does not keep others from being changed. */
static void test_what_is_unchanged_is_not_judged(void **state)
{
    struct world *w = *state;
    make_network(w, "{}");
    char path[100];
    snprintf(path, sizeof(path), "/controller%s", w->net);
    assert_int_equal(
        fake_status(&w->f, "POST", path, "{\"dns\":{\"domain\":\"a\",\"servers\":[\"bad\"]}}"),
        200);
    json_t *obj = json_deep_copy(good(w, "GET", w->net, NULL));
    json_object_set_new(json_object_get(obj, "config"), "name", json_string("new"));
    char *text = json_dumps(obj, 0);
    json_decref(obj);
    check(good(w, "POST", w->net, text), "config.name", "\"new\"");
    check(w->answer, "config.dns.servers", "[\"bad\"]");
    free(text);
}

/* CTL-98 */
static void test_rules_source_replaces_all_it_says(void **state)
{
    struct world *w = *state;
    static const char source[] =
        "{\"rulesSource\":\"tag dept id 1000 default 1 enum 1 sales enum 2 it;\\ncap ssh id 5 "
        "accept "
        "ipprotocol tcp and dport 22 ; ;\\ndrop not ethertype ipv4;\\naccept;\\n\","
        "\"config\":{\"tags\":[{\"id\":7,\"default\":null}],\"rules\":[]}}";
    make_network(w, "{}");
    json_t *obj = call(w, "POST", w->net, source);
    if (w->f.status != 200) {
        fail_msg("%s", js(obj, "message"));
    }
    check(obj, "config.tags", "[{\"default\":1,\"id\":1000}]");
    assert_int_equal(json_array_size(json_object_get(json_object_get(obj, "config"), "rules")), 3);
    assert_non_null(json_object_get(json_object_get(obj, "tagsByName"), "dept"));
    assert_non_null(json_object_get(json_object_get(obj, "capabilitiesByName"), "ssh"));
    assert_non_null(strstr(js(obj, "rulesSource"), "tag dept"));
    json_t *before = json_deep_copy(obj);
    obj = call(w, "POST", w->net,
               "{\"config\":{\"name\":\"x\"},\"rulesSource\":\"drop;\\nnonsense "
               "here;\"}");
    assert_int_equal(w->f.status, 400);
    check(obj, "line", "2");
    assert_true(json_is_integer(json_object_get(obj, "column")));
    obj = good(w, "GET", w->net, NULL);
    json_object_del(obj, "clock");
    json_object_del(before, "clock");
    assert_true(json_equal(obj, before));
    json_decref(before);
    /* rules of one's own instead: the source says what they are */
    obj = good(w, "POST", w->net, "{\"config\":{\"rules\":[{\"type\":\"ACTION_DROP\"}]}}");
    assert_null(strstr(js(obj, "rulesSource"), "tag dept id 1000 default 1 enum 1"));
    assert_non_null(strstr(js(obj, "rulesSource"), "drop"));
    check(obj, "config.rules", "[{\"type\":\"ACTION_DROP\"}]");
    check(good(w, "POST", w->net, "{\"rulesSource\":\"accept;\"}"), "rulesSource", "\"accept;\"");
}

/* Every field with every wrong type: 400, and nothing has changed. */
static void test_wrong_types_change_nothing(void **state)
{
    struct world *w = *state;
    static const char *const fields[][2] = {
        /* key, types that are right */
        {"description", "s"},
        {"rulesSource", "s"},
        {"permissions", "o"},
        {"ownerId", ""},
        {"capabilitiesByName", "o"},
        {"tagsByName", "o"},
        {"config", "o"},
        {"config.name", "s"},
        {"config.private", "b"},
        {"config.enableBroadcast", "b"},
        {"config.multicastLimit", "n"},
        {"config.mtu", ""}, /* 7 is too small */
        {"config.ipAssignmentPools", "a"},
        {"config.routes", "a"},
        {"config.v4AssignMode", "oa"},
        {"config.v6AssignMode", "oa"},
        {"config.dns", "oa"},
        {"config.rules", "a"},
        {"config.capabilities", "a"},
        {"config.tags", "a"},
        {"config.ssoConfig", "o"},
        {"config.v4AssignMode.zt", "b"},
        {"config.v6AssignMode.6plane", "b"},
        {"config.dns.domain", "s"},
        {"config.dns.servers", "a"},
    };
    static const struct {
        char kind;
        const char *text;
    } values[] = {{'s', "\"accept;\""}, {'b', "true"}, {'n', "7"},
                  {'a', "[]"},          {'o', "{}"},   {'x', "-1"}};
    make_network(w, "{\"config\":{\"name\":\"same\"}}");
    json_t *before = json_deep_copy(good(w, "GET", w->net, NULL));
    for (size_t i = 0; i < COUNT_OF(fields); i++) {
        for (size_t k = 0; k < COUNT_OF(values); k++) {
            char path[60];
            char body[200] = "";
            char close[8] = "";
            snprintf(path, sizeof(path), "%s", fields[i][0]);
            for (char *save = NULL, *key = strtok_r(path, ".", &save); key != NULL;
                 key = strtok_r(NULL, ".", &save)) {
                size_t len = strlen(body);
                snprintf(body + len, sizeof(body) - len, "{\"%s\":", key);
                strcat(close, "}");
            }
            strcat(strcat(body, values[k].text), close);
            if (strchr(fields[i][1], values[k].kind) != NULL) {
                continue;
            }
            if (status(w, "POST", w->net, body) != 400) {
                fail_msg("%s: %u", body, w->f.status);
            }
        }
    }
    json_t *after = good(w, "GET", w->net, NULL);
    json_object_del(before, "clock");
    json_object_del(after, "clock");
    assert_true(json_equal(before, after));
    json_decref(before);
}

/* Elements that the controller would drop are refused: what is posted reads back or fails. */
static void test_bad_elements_are_refused(void **state)
{
    struct world *w = *state;
    static const char *const bodies[] = {
        "{\"config\":{\"routes\":[{\"target\":\"10.0.0.0\"}]}}",
        "{\"config\":{\"routes\":[null]}}",
        "{\"config\":{\"routes\":[7,\"x\",[]]}}",
        "{\"config\":{\"routes\":[{\"target\":\"10.0.0.0/8\",\"via\":\"fd00::1\"}]}}",
        "{\"config\":{\"ipAssignmentPools\":[{\"ipRangeStart\":\"10.0.0.1\"}]}}",
        "{\"config\":{\"ipAssignmentPools\":[{\"ipRangeStart\":1,\"ipRangeEnd\":2}]}}",
        "{\"config\":{\"rules\":[{\"type\":\"NONSENSE\"}]}}",
        "{\"config\":{\"rules\":[{\"type\":5}]}}",
        "{\"config\":{\"rules\":[{\"type\":\"MATCH_CHARACTERISTICS\",\"mask\":{}}]}}",
        "{\"config\":{\"tags\":[5]}}",
        "{\"config\":{\"capabilities\":[[]]}}",
        "{\"config\":{\"dns\":{\"servers\":[\"nothing\"]}}}",
        "{\"config\":{\"dns\":{\"servers\":[{}]}}}",
        "{\"config\":{\"mtu\":100}}",
        "{\"config\":{\"multicastLimit\":-1}}",
        "{\"config\":{\"ssoConfig\":{\"enabled\":5}}}",
        "{\"config\":{\"ssoConfig\":{\"issuer\":5}}}",
        "{\"config\":{\"ssoConfig\":{\"issuer\":\"ftp://x\"}}}",
        "{\"config\":{\"ssoConfig\":{\"allowList\":[5]}}}",
        "{\"permissions\":{\"me\":{\"r\":true}}}",
        "{\"permissions\":{\"00000000000000ff\":{\"r\":true}}}",
        "{\"ownerId\":\"00000000000000ff\"}",
        "[]",
        "null",
        "5",
        "\"text\"",
        "",
        "{",
        "{\"a\":}",
        "{\"description\":\"\xff\xfe\"}",
        "{\"description\":\"\\u0000\"}",
    };
    make_network(w, "{}");
    for (size_t i = 0; i < COUNT_OF(bodies); i++) {
        if (status(w, "POST", w->net, bodies[i]) != 400) {
            fail_msg("%s: %u", bodies[i], w->f.status);
        }
    }
}

/* Deep and long bodies. */
static void test_hostile_bodies(void **state)
{
    struct world *w = *state;
    enum { DEEP = 100000, LONG = CONTROLLER_API_BODY_MAX + 1 };
    make_network(w, "{}");
    char *deep = malloc(DEEP);
    memset(deep, '[', DEEP);
    (void)call_len(w, "POST", w->net, deep, DEEP);
    assert_int_equal(w->f.status, 400);
    char *objects = malloc(6 * 2000 + 1);
    objects[0] = '\0';
    for (size_t i = 0; i < 2000; i++) {
        memcpy(objects + 5 * i, "{\"a\":", 6);
    }
    (void)call_len(w, "POST", w->net, objects, strlen(objects));
    assert_int_equal(w->f.status, 400);
    char *big = calloc(1, LONG);
    (void)call_len(w, "POST", w->net, big, LONG);
    assert_int_equal(w->f.status, 413);
    /* many users in the permissions */
    size_t len = (size_t)snprintf(big, LONG, "{\"permissions\":{");
    for (unsigned i = 0; i < 20000; i++) {
        len += (size_t)snprintf(big + len, LONG - len, "%s\"%016x\":{}", i > 0 ? "," : "", i + 100);
    }
    len += (size_t)snprintf(big + len, LONG - len, "}}");
    (void)call_len(w, "POST", w->net, big, len);
    assert_int_equal(w->f.status, 400);
    free(deep);
    free(objects);
    free(big);
}

static void test_delete_answers_200_and_nothing(void **state)
{
    struct world *w = *state;
    make_network(w, "{}");
    good(w, "POST", below(w, "/member/" MEMBER), "{}");
    assert_null(good(w, "DELETE", below(w, "/member/" MEMBER), NULL));
    assert_null(good(w, "DELETE", w->net, NULL));
    assert_int_equal(status(w, "DELETE", w->net, NULL), 404);
    assert_int_equal(json_array_size(good(w, "GET", "/network", NULL)), 0);
}

/* ---- members ---- */

static void test_member_object(void **state)
{
    struct world *w = *state;
    make_network(w, "{}");
    json_t *obj = good(w, "POST", below(w, "/member/" MEMBER), "{}");
    char id[40];
    char want[64];
    snprintf(id, sizeof(id), "\"%s-" MEMBER "\"", w->net + strlen("/network/"));
    check(obj, "id", id);
    snprintf(want, sizeof(want), "\"%s\"", w->net + strlen("/network/"));
    check(obj, "networkId", want);
    check(obj, "config.nwid", want);
    static const char *const wanted[][2] = {
        {"type", "\"Member\""},
        {"nodeId", "\"" MEMBER "\""},
        {"controllerId", "\"12a402e62e\""},
        {"hidden", "false"},
        {"name", "\"\""},
        {"description", "\"\""},
        {"lastSeen", "0"},
        {"lastOnline", "0"},
        {"online", "false"},
        {"physicalAddress", "null"},
        {"clientVersion", "null"},
        {"protocolVersion", "0"},
        {"supportsRulesEngine", "false"},
        {"config.id", "\"" MEMBER "\""},
        {"config.address", "\"" MEMBER "\""},
        {"config.authorized", "false"},
        {"config.activeBridge", "false"},
        {"config.noAutoAssignIps", "false"},
        {"config.ssoExempt", "false"},
        {"config.identity", "null"},
        {"config.ipAssignments", "[]"},
        {"config.capabilities", "[]"},
        {"config.tags", "[]"},
        {"config.vMajor", "-1"},
        {"config.remoteTraceTarget", "null"},
        {"config.remoteTraceLevel", "0"},
        {"config.lastAuthorizedTime", "0"},
        {"config.revision", "1"},
    };
    for (size_t i = 0; i < COUNT_OF(wanted); i++) {
        check(obj, wanted[i][0], wanted[i][1]);
    }
    uint64_t nwid = strtoull(w->net + strlen("/network/"), NULL, 16);
    good(w, "POST", below(w, "/member/" MEMBER), "{\"config\":{\"authorized\":true}}");
    fake_request(&w->f, nwid, UINT64_C(0xaabbccddee), NULL);
    obj = json_array_get(good(w, "GET", below(w, "/member"), NULL), 0);
    check(obj, "online", "true");
    check(obj, "physicalAddress", "\"192.0.2.7\"");
    check(obj, "clientVersion", "\"1.14.1\"");
    check(obj, "supportsRulesEngine", "true");
    assert_int_equal(ji(obj, "lastSeen"), w->f.now_ms + w->f.wall_offset_ms);
    check(good(w, "GET", w->net, NULL), "onlineMemberCount", "1");
    check(w->answer, "authorizedMemberCount", "1");
}

/* CTL-97 */
static void test_partial_merge_of_a_member(void **state)
{
    struct world *w = *state;
    static const struct {
        const char *body;
        const char *where;
        const char *want;
    } steps[] = {
        {"{\"config\":{\"authorized\":true},\"name\":\"n\"}", "config.authorized", "true"},
        {"{\"description\":\"d\"}", "name", "\"n\""},
        {"{\"name\":null,\"config\":null}", "description", "\"d\""},
        {"{\"config\":{\"ipAssignments\":[\"10.1.0.9\",\"10.1.0.3\"]}}", "config.ipAssignments",
         "[\"10.1.0.9\",\"10.1.0.3\"]"},
        {"{\"config\":{\"ipAssignments\":[\"10.1.0.4\"]}}", "config.ipAssignments",
         "[\"10.1.0.4\"]"},
        {"{\"config\":{\"tags\":[[1000,2],[5,true]],\"capabilities\":[9,4]}}", "config.tags",
         "[[5,1],[1000,2]]"},
        {"{\"config\":{\"activeBridge\":true,\"noAutoAssignIps\":true,\"ssoExempt\":true}}",
         "config.capabilities", "[4,9]"},
        {"{\"config\":{\"authorized\":false}}", "config.activeBridge", "true"},
        {"{\"config\":{\"tags\":[]}}", "config.tags", "[]"},
    };
    make_network(w, "{\"config\":{\"routes\":[{\"target\":\"10.1.0.0/24\"}]}}");
    for (size_t i = 0; i < COUNT_OF(steps); i++) {
        check(good(w, "POST", below(w, "/member/" MEMBER), steps[i].body), steps[i].where,
              steps[i].want);
        check(good(w, "GET", below(w, "/member/AABBCCDDEE"), NULL), steps[i].where, steps[i].want);
    }
    char *text = json_dumps(w->answer, 0);
    char *revision = at(w->answer, "config.revision");
    check(good(w, "POST", below(w, "/member/" MEMBER), text), "config.revision", revision);
    free(revision);
    free(text);
}

/* CTL-102: a deleted node that asks on does not come back by that, a hidden one is flagged. */
static void test_deleted_and_hidden_members(void **state)
{
    struct world *w = *state;
    make_network(w, "{}");
    uint64_t nwid = strtoull(w->net + strlen("/network/"), NULL, 16);
    fake_request(&w->f, nwid, UINT64_C(0xaabbccddee), NULL);
    assert_int_equal(json_array_size(good(w, "GET", below(w, "/member"), NULL)), 1);
    good(w, "POST", below(w, "/member/" MEMBER), "{\"config\":{\"authorized\":true}}");
    good(w, "DELETE", below(w, "/member/" MEMBER), NULL);
    fake_request(&w->f, nwid, UINT64_C(0xaabbccddee), NULL);
    fake_request(&w->f, nwid, UINT64_C(0xaabbccddee), NULL);
    assert_int_equal(json_array_size(good(w, "GET", below(w, "/member"), NULL)), 0);
    assert_int_equal(status(w, "GET", below(w, "/member/" MEMBER), NULL), 404);
    check(good(w, "GET", w->net, NULL), "totalMemberCount", "0");
    check(good(w, "POST", below(w, "/member/" MEMBER), "{\"hidden\":true}"), "hidden", "true");
    fake_request(&w->f, nwid, UINT64_C(0xaabbccddee), NULL);
    json_t *obj = json_array_get(good(w, "GET", below(w, "/member"), NULL), 0);
    check(obj, "hidden", "true");
    check(obj, "online", "true");
    check(good(w, "POST", below(w, "/member/" MEMBER), "{\"hidden\":false}"), "hidden", "false");
}

static void test_wrong_types_in_a_member_are_400(void **state)
{
    struct world *w = *state;
    static const char *const bodies[] = {
        "{\"hidden\":1}",
        "{\"hidden\":\"true\"}",
        "{\"name\":5}",
        "{\"name\":{}}",
        "{\"description\":[]}",
        "{\"config\":5}",
        "{\"config\":[]}",
        "{\"config\":{\"authorized\":\"true\"}}",
        "{\"config\":{\"authorized\":1}}",
        "{\"config\":{\"activeBridge\":{}}}",
        "{\"config\":{\"noAutoAssignIps\":[]}}",
        "{\"config\":{\"ssoExempt\":0}}",
        "{\"config\":{\"ipAssignments\":\"10.0.0.1\"}}",
        "{\"config\":{\"ipAssignments\":[5]}}",
        "{\"config\":{\"ipAssignments\":[\"x\"]}}",
        "{\"config\":{\"capabilities\":{}}}",
        "{\"config\":{\"capabilities\":[[]]}}",
        "{\"config\":{\"tags\":7}}",
        "{\"config\":{\"tags\":[7]}}",
        "{\"config\":{\"tags\":[[1]]}}",
        "{\"config\":{\"tags\":[[1,\"x\"]]}}",
        "{\"config\":{\"tags\":[[1,2,3]]}}",
        "{\"config\":{\"tags\":[[\"1\",2]]}}",
    };
    make_network(w, "{}");
    for (size_t i = 0; i < COUNT_OF(bodies); i++) {
        if (status(w, "POST", below(w, "/member/" MEMBER), bodies[i]) != 400) {
            fail_msg("%s: %u", bodies[i], w->f.status);
        }
        assert_int_equal(status(w, "GET", below(w, "/member/" MEMBER), NULL), 404);
    }
}

/* ---- people and tokens ---- */

/* Make a person; its ID in out. */
static uint64_t make_user(struct world *w, const char *name, char out[17])
{
    struct caller was = w->caller;
    char body[100];
    w->caller = admin;
    snprintf(body, sizeof(body), "{\"displayName\":\"%s\",\"email\":\"%s@x.test\"}", name, name);
    json_t *obj = good(w, "POST", "/user", body);
    snprintf(out, 17, "%s", js(obj, "id"));
    w->caller = was;
    return strtoull(out, NULL, 16);
}

/* A token for a user, as a caller. */
static struct caller make_token(struct world *w, const char *user, const char *body)
{
    struct caller was = w->caller;
    struct caller ret;
    char path[64];
    w->caller = admin;
    snprintf(path, sizeof(path), "/user/%s/token", user);
    const char *token = js(good(w, "POST", path, body), "token");
    assert_true(access_authenticate(w->f.c, token, strlen(token), w->f.now_ms, &ret));
    w->caller = was;
    return ret;
}

static void test_users(void **state)
{
    struct world *w = *state;
    char ann[17];
    char path[64];
    make_user(w, "ann", ann);
    snprintf(path, sizeof(path), "/user/%s", ann);
    json_t *obj = good(w, "GET", path, NULL);
    check(obj, "displayName", "\"ann\"");
    check(obj, "email", "\"ann@x.test\"");
    check(obj, "smsNumber", "\"\"");
    check(obj, "tokens", "[]");
    check(obj, "auth", "{\"google\":null,\"local\":\"ann@x.test\",\"oidc\":null}");
    check(obj, "orgId", "\"00000012a402e62e\"");
    check(obj, "globalPermissions", "{\"a\":false,\"d\":false,\"m\":false,\"r\":false}");
    obj = good(w, "POST", path, "{\"displayName\":\"Ann\",\"smsNumber\":\"+1\"}");
    check(obj, "displayName", "\"Ann\"");
    check(obj, "email", "\"ann@x.test\"");
    assert_int_equal(json_array_size(good(w, "GET", "/user", NULL)), 2);
    assert_int_equal(status(w, "POST", path, "{\"displayName\":5}"), 400);
    assert_int_equal(status(w, "POST", "/user", "{}"), 400);
    assert_int_equal(status(w, "DELETE", "/user/0000000000000001", NULL), 403);
    check(good(w, "GET", "/user/0000000000000001", NULL), "globalPermissions.d", "true");
    /* a user sees and changes that user only */
    w->caller = make_token(w, ann, "{\"tokenName\":\"t\"}");
    check(good(w, "GET", path, NULL), "tokens", "[\"t\"]");
    check(good(w, "POST", path, "{\"admin\":true,\"email\":\"root@x\"}"), "email",
          "\"ann@x.test\"");
    check(w->answer, "globalPermissions.m", "false");
    assert_int_equal(status(w, "GET", "/user/0000000000000001", NULL), 404);
    assert_int_equal(status(w, "GET", "/user", NULL), 403);
    assert_int_equal(status(w, "POST", "/user", "{\"email\":\"x@y\"}"), 403);
    make_network(w, "{}");
    assert_null(good(w, "DELETE", path, NULL)); /* herself, with her token */
    assert_int_equal(status(w, "GET", "/network", NULL), 200);
    assert_int_equal(json_array_size(w->answer), 0);
    w->caller = admin;
    check(good(w, "GET", w->net, NULL), "ownerId", "\"0000000000000001\"");
    assert_int_equal(status(w, "GET", path, NULL), 404);
}

/* CTL-103 */
static void test_tokens_are_shown_once_and_end(void **state)
{
    struct world *w = *state;
    static const char tokens[] = "/user/0000000000000001/token";
    struct caller caller;
    json_t *obj = good(w, "POST", tokens,
                       "{\"tokenName\":\"ci\",\"token\":\"0123456789abcdef0123456789abcdef\"}");
    check(obj, "token", "\"0123456789abcdef0123456789abcdef\"");
    check(obj, "tokenName", "\"ci\"");
    obj = json_array_get(good(w, "GET", tokens, NULL), 0);
    check(obj, "token", "absent");
    check(obj, "hash", "absent");
    check(obj, "lastUsed", "0");
    check(obj, "scope", "[\"read\",\"authorize\",\"modify\",\"delete\"]");
    static const char right[] = "0123456789abcdef0123456789abcdef";
    static const char wrong[] = "0123456789abcdef0123456789abcdeg";
    assert_true(access_authenticate(w->f.c, right, 32, w->f.now_ms, &caller));
    assert_int_equal(caller.user, ACCOUNTS_ADMIN);
    assert_false(access_authenticate(w->f.c, wrong, 32, w->f.now_ms, &caller));
    assert_false(access_authenticate(w->f.c, right, 31, w->f.now_ms, &caller));
    assert_false(access_authenticate(w->f.c, "", 0, w->f.now_ms, &caller));
    obj = json_array_get(good(w, "GET", tokens, NULL), 0);
    assert_int_equal(ji(obj, "lastUsed"), w->f.now_ms + w->f.wall_offset_ms);
    /* names and texts are there once */
    assert_int_equal(status(w, "POST", tokens, "{\"tokenName\":\"ci\"}"), 400);
    assert_int_equal(status(w, "POST", tokens,
                            "{\"tokenName\":\"b\",\"token\":\"0123456789abcdef0123456789abcdef\"}"),
                     400);
    /* expiry */
    char body[100];
    int64_t wall = w->f.now_ms + w->f.wall_offset_ms;
    snprintf(body, sizeof(body), "{\"tokenName\":\"short\",\"expires\":%lld}",
             (long long)wall + 1000);
    obj = good(w, "POST", tokens, body);
    char *text = strdup(js(obj, "token"));
    assert_int_equal(strlen(text), 32);
    assert_true(access_authenticate(w->f.c, text, 32, w->f.now_ms, &caller));
    w->caller = caller; /* what it makes does not live longer */
    obj = good(w, "POST", tokens, "{\"tokenName\":\"child\"}");
    assert_int_equal(ji(obj, "expires"), wall + 1000);
    w->caller = admin;
    assert_false(access_authenticate(w->f.c, text, 32, w->f.now_ms + 1000, &caller));
    free(text);
    assert_null(good(w, "DELETE", "/user/0000000000000001/token/ci", NULL));
    assert_false(access_authenticate(w->f.c, right, 32, w->f.now_ms, &caller));
    assert_int_equal(status(w, "DELETE", "/user/0000000000000001/token/ci", NULL), 404);
}

static void test_bad_tokens_are_refused(void **state)
{
    struct world *w = *state;
    static const char *const bodies[] = {
        "{}",
        "{\"tokenName\":\"\"}",
        "{\"tokenName\":5}",
        "{\"tokenName\":\"a/b\"}",
        "{\"tokenName\":\"a\",\"token\":\"short\"}",
        "{\"tokenName\":\"a\",\"token\":5}",
        "{\"tokenName\":\"a\",\"token\":\"0123456789abcdef 123456789abcdef\"}",
        "{\"tokenName\":\"a\",\"scope\":\"read\"}",
        "{\"tokenName\":\"a\",\"scope\":[]}",
        "{\"tokenName\":\"a\",\"scope\":[\"everything\"]}",
        "{\"tokenName\":\"a\",\"scope\":[5]}",
        "{\"tokenName\":\"a\",\"networks\":{}}",
        "{\"tokenName\":\"a\",\"networks\":[5]}",
        "{\"tokenName\":\"a\",\"networks\":[\"xyz\"]}",
        "{\"tokenName\":\"a\",\"networks\":[\"12a402e62e\"]}",
        "{\"tokenName\":\"a\",\"expires\":\"soon\"}",
        "{\"tokenName\":\"a\",\"expires\":-1}",
    };
    for (size_t i = 0; i < COUNT_OF(bodies); i++) {
        if (status(w, "POST", "/user/0000000000000001/token", bodies[i]) != 400) {
            fail_msg("%s: %u", bodies[i], w->f.status);
        }
    }
    assert_int_equal(json_array_size(good(w, "GET", "/user/0000000000000001/token", NULL)), 0);
}

static void test_random_token(void **state)
{
    struct world *w = *state;
    char first[40];
    json_t *obj = good(w, "GET", "/randomToken", NULL);
    assert_int_equal(strlen(js(obj, "hex")), 64);
    assert_int_equal(strlen(js(obj, "token")), 32);
    assert_true(json_is_integer(json_object_get(obj, "clock")));
    snprintf(first, sizeof(first), "%s", js(obj, "token"));
    assert_string_not_equal(js(good(w, "GET", "/randomToken", NULL), "token"), first);
}

static void test_rate(void **state)
{
    struct world *w = *state;
    struct caller_rate rate;
    for (unsigned i = 0; i < ACCOUNTS_RATE_PER_S; i++) {
        assert_true(access_rate(w->f.c, &admin, 5000, &rate));
        assert_int_equal(rate.limit, ACCOUNTS_RATE_PER_S);
        assert_int_equal(rate.left, ACCOUNTS_RATE_PER_S - 1 - i);
    }
    assert_int_equal(rate.reset_ms, 6000 + w->f.wall_offset_ms);
    assert_false(access_rate(w->f.c, &admin, 5999, &rate));
    assert_int_equal(rate.left, 0);
    struct caller other = make_token(w, "0000000000000001", "{\"tokenName\":\"o\"}");
    assert_true(access_rate(w->f.c, &other, 5999, &rate));
    assert_true(access_rate(w->f.c, &admin, 6000, &rate));
}

/* ---- organization ---- */

static void test_organization_and_invitations(void **state)
{
    struct world *w = *state;
    json_t *obj = good(w, "GET", "/org", NULL);
    check(obj, "ownerId", "\"0000000000000001\"");
    check(obj, "ssoConfig", "{\"enabled\":false,\"issuers\":[]}");
    assert_int_equal(json_array_size(json_object_get(obj, "members")), 1);
    char path[64];
    snprintf(path, sizeof(path), "/org/%s/user", js(obj, "id"));
    check(json_array_get(good(w, "GET", path, NULL), 0), "userId", "\"0000000000000001\"");
    path[strlen(path) - 5] = '\0';
    good(w, "GET", path, NULL);
    assert_int_equal(status(w, "POST", "/org-invitation", "{\"email\":\"nobody\"}"), 400);
    assert_int_equal(status(w, "POST", "/org-invitation", "{\"email\":7}"), 400);
    obj = good(w, "POST", "/org-invitation", "{\"email\":\"bob@x.test\"}");
    check(obj, "status", "\"pending\"");
    check(obj, "email", "\"bob@x.test\"");
    char id[17];
    snprintf(id, sizeof(id), "%s", js(obj, "id"));
    assert_int_equal(status(w, "POST", "/org-invitation", "{\"email\":\"Bob@x.test\"}"), 400);
    assert_int_equal(json_array_size(good(w, "GET", "/org-invitation", NULL)), 1);
    snprintf(path, sizeof(path), "/user/%s", id);
    assert_int_equal(status(w, "GET", path, NULL), 404); /* no user yet */
    snprintf(path, sizeof(path), "/org-invitation/%s", id);
    check(good(w, "GET", path, NULL), "status", "\"pending\"");
    check(good(w, "POST", path, NULL), "status", "\"accepted\"");
    assert_int_equal(status(w, "DELETE", path, NULL), 400);
    snprintf(path, sizeof(path), "/user/%s", id);
    check(good(w, "GET", path, NULL), "email", "\"bob@x.test\"");
    obj = good(w, "POST", "/org-invitation", "{\"email\":\"eve@x.test\"}");
    snprintf(path, sizeof(path), "/org-invitation/%s", js(obj, "id"));
    check(good(w, "DELETE", path, NULL), "status", "\"canceled\"");
    w->caller = make_token(w, id, "{\"tokenName\":\"t\"}");
    assert_int_equal(status(w, "GET", "/org-invitation", NULL), 403);
    assert_int_equal(status(w, "POST", "/org-invitation", "{\"email\":\"x@y\"}"), 403);
    good(w, "GET", "/org", NULL);
}

/* ---- rights ---- */

/* A request and the rights that it needs, by the Central API and by the controller's own. */
struct need {
    const char *method;
    const char *rest; /* behind the network */
    const char *body;
    const char *own_body; /* for the controller's API */
    uint8_t any;          /* one of these, beside reading; 0 reading suffices */
};

static const struct need needs[] = {
    {"GET", "", NULL, NULL, 0},
    {"GET", "/member", NULL, NULL, 0},
    {"GET", "/member/" MEMBER, NULL, NULL, 0},
    {"POST", "", "{\"config\":{\"mtu\":1400}}", "{\"mtu\":1400}", ACCESS_MODIFY},
    {"POST", "", "{\"rulesSource\":\"drop;\"}", "{\"rulesSource\":\"drop;\"}", ACCESS_MODIFY},
    {"POST", "/member/" MEMBER, "{\"config\":{\"authorized\":true}}", "{\"authorized\":true}",
     ACCESS_AUTHORIZE},
    {"POST", "/member/" MEMBER, "{\"name\":\"n\"}", "{\"name\":\"n\"}",
     ACCESS_AUTHORIZE | ACCESS_MODIFY},
    {"POST", "/member/" MEMBER, "{\"config\":{\"activeBridge\":true}}", "{\"activeBridge\":true}",
     ACCESS_MODIFY},
    {"POST", "/member/" MEMBER, "{\"config\":{\"ipAssignments\":[\"10.1.0.9\"]}}",
     "{\"ipAssignments\":[\"10.1.0.9\"]}", ACCESS_MODIFY},
    {"POST", "/member/0000000001", "{}", "{}", ACCESS_AUTHORIZE | ACCESS_MODIFY},
    {"DELETE", "/member/" MEMBER, NULL, NULL, ACCESS_AUTHORIZE},
    {"DELETE", "", NULL, NULL, ACCESS_DELETE},
};

static void on_own_answer(void *ctx, unsigned status, const char *body, size_t len)
{
    struct world *w = ctx;
    w->done = true;
    w->told = len > 0 && memmem(body, len, "sesame", 6) != NULL;
    w->f.status = status;
    json_decref(w->answer);
    w->answer = len > 0 ? json_loadb(body, len, JSON_DECODE_ANY, NULL) : NULL;
}

/* The controller's own API as the present caller. */
static json_t *own(struct world *w, const char *method, const char *path, const char *body)
{
    char bare[200];
    const char *mark = strchr(path, '?');
    snprintf(bare, sizeof(bare), "%.*s", (int)strcspn(path, "?"), path);
    struct controller_api_request request = {.method = method,
                                             .path = bare,
                                             .query = mark != NULL ? mark + 1 : NULL,
                                             .body = body,
                                             .body_len = body != NULL ? strlen(body) : 0};
    w->done = false;
    access_controller_api(w->f.c, &w->caller, &request, w->f.now_ms, on_own_answer, w);
    wait_answer(w);
    return w->answer;
}

/* A network with a member, which a user may do these things with. */
static void share(struct world *w, const char *user, uint8_t access)
{
    char body[200];
    w->caller = admin;
    make_network(w, "{\"config\":{\"routes\":[{\"target\":\"10.1.0.0/24\"}]}}");
    good(w, "POST", below(w, "/member/" MEMBER), "{}");
    snprintf(body, sizeof(body), "{\"permissions\":{\"%s\":{\"r\":%s,\"a\":%s,\"m\":%s,\"d\":%s}}}",
             user, (access & ACCESS_READ) != 0 ? "true" : "false",
             (access & ACCESS_AUTHORIZE) != 0 ? "true" : "false",
             (access & ACCESS_MODIFY) != 0 ? "true" : "false",
             (access & ACCESS_DELETE) != 0 ? "true" : "false");
    good(w, "POST", w->net, body);
}

/* CTL-101: each request with each set of rights, by both APIs */
static void test_rights(void **state)
{
    struct world *w = *state;
    char ann[17];
    make_user(w, "ann", ann);
    struct caller caller = make_token(w, ann, "{\"tokenName\":\"t\"}");
    for (unsigned access = 0; access < 16; access++) {
        for (size_t i = 0; i < 2 * COUNT_OF(needs); i++) {
            const struct need *need = &needs[i / 2];
            bool central = i % 2 == 0;
            unsigned want = need->any == 0 || (access & need->any) != 0 ? 200 : 403;
            char path[200];
            share(w, ann, (uint8_t)access);
            w->caller = caller;
            snprintf(path, sizeof(path), "%s%s", w->net, need->rest);
            want = (access & ACCESS_READ) == 0 ? 404 : want;
            if (central) {
                (void)call(w, need->method, path, need->body);
            } else {
                snprintf(path, sizeof(path), "/controller%s%s", w->net, need->rest);
                (void)own(w, need->method, path, need->own_body);
            }
            if (w->f.status != want) {
                fail_msg("%s %s %s with %x: %u, not %u", need->method, path,
                         need->body != NULL ? need->body : "", access, w->f.status, want);
            }
            w->caller = admin;
            (void)call(w, "DELETE", w->net, NULL);
        }
    }
}

/* CTL-101: the same by the scope of an administrator's token */
static void test_scopes(void **state)
{
    struct world *w = *state;
    char body[200];
    for (size_t i = 0; i < COUNT_OF(needs); i++) {
        for (unsigned access = 1; access < 16; access++) {
            unsigned want = needs[i].any == 0 || (access & needs[i].any) != 0 ? 200 : 403;
            want = (access & ACCESS_READ) == 0 ? 404 : want;
            w->caller = admin;
            make_network(w, "{\"config\":{\"routes\":[{\"target\":\"10.1.0.0/24\"}]}}");
            good(w, "POST", below(w, "/member/" MEMBER), "{}");
            json_t *names = access_names((uint8_t)access);
            char *scope = json_dumps(names, JSON_COMPACT);
            snprintf(body, sizeof(body), "{\"tokenName\":\"%zu-%x\",\"scope\":%s}", i, access,
                     scope);
            free(scope);
            json_decref(names);
            w->caller = make_token(w, "0000000000000001", body);
            if (status(w, needs[i].method, below(w, needs[i].rest), needs[i].body) != want) {
                fail_msg("%s %s with %x: %u, not %u", needs[i].method, needs[i].rest, access,
                         w->f.status, want);
            }
            assert_int_equal(status(w, "POST", "/network", "{}"),
                             (access & ACCESS_MODIFY) != 0 ? 200 : 403);
            assert_int_equal(status(w, "GET", "/user", NULL), access == ACCESS_ALL ? 200 : 403);
            assert_int_equal(status(w, "POST", "/user/0000000000000001/token",
                                    access == ACCESS_ALL ? "{}" : "{\"tokenName\":\"z\"}"),
                             access == ACCESS_ALL ? 400 : 403);
        }
    }
}

static void test_token_for_some_networks(void **state)
{
    struct world *w = *state;
    char body[100];
    char other[64];
    make_network(w, "{}");
    memcpy(other, w->net, sizeof(other));
    make_network(w, "{}");
    snprintf(body, sizeof(body), "{\"tokenName\":\"t\",\"networks\":[\"%s\"]}",
             w->net + strlen("/network/"));
    w->caller = make_token(w, "0000000000000001", body);
    assert_int_equal(json_array_size(good(w, "GET", "/network", NULL)), 1);
    good(w, "POST", w->net, "{\"description\":\"d\"}");
    assert_int_equal(status(w, "GET", other, NULL), 404);
    assert_int_equal(status(w, "POST", other, "{}"), 404);
    assert_int_equal(status(w, "POST", "/network", "{}"), 403);
    assert_int_equal(json_array_size(own(w, "GET", "/controller/network", NULL)), 1);
    (void)own(w, "GET", "/unstable/controller/network", NULL);
    assert_int_equal(json_array_size(json_object_get(w->answer, "data")), 1);
    check(w->answer, "meta.networkCount", "1");
}

/* CTL-101: who makes a network owns it; grants and owner are for the owner */
static void test_owner(void **state)
{
    struct world *w = *state;
    char ann[17];
    char bob[17];
    char body[200];
    make_user(w, "ann", ann);
    make_user(w, "bob", bob);
    struct caller a = make_token(w, ann, "{\"tokenName\":\"t\"}");
    struct caller b = make_token(w, bob, "{\"tokenName\":\"t\"}");
    w->caller = a;
    make_network(w, "{}");
    snprintf(body, sizeof(body), "\"%s\"", ann);
    check(w->answer, "ownerId", body);
    w->caller = b;
    assert_int_equal(status(w, "GET", w->net, NULL), 404);
    w->caller = a;
    snprintf(body, sizeof(body), "{\"permissions\":{\"%s\":{\"r\":true,\"m\":true}}}", bob);
    good(w, "POST", w->net, body);
    w->caller = b;
    good(w, "POST", w->net, "{\"description\":\"by bob\"}");
    snprintf(body, sizeof(body), "{\"permissions\":{\"%s\":{\"d\":true}}}", bob);
    assert_int_equal(status(w, "POST", w->net, body), 403);
    snprintf(body, sizeof(body), "{\"ownerId\":\"%s\"}", bob);
    assert_int_equal(status(w, "POST", w->net, body), 403);
    w->caller = a;
    check(good(w, "POST", w->net, body), "description", "\"by bob\"");
    snprintf(body, sizeof(body), "{\"permissions\":{\"%s\":null}}", ann);
    w->caller = b;
    good(w, "POST", w->net, body);
    w->caller = a;
    assert_int_equal(status(w, "GET", w->net, NULL), 404);
    /* by the controller's API as well */
    (void)own(w, "POST", "/controller/network/12a402e62e______", "{}");
    assert_int_equal(w->f.status, 200);
    assert_int_equal(json_array_size(own(w, "GET", "/controller/network", NULL)), 1);
    (void)own(w, "POST", "/controller/network/default", "{}");
    assert_int_equal(json_array_size(own(w, "GET", "/controller/network", NULL)), 2);
    (void)own(w, "GET", "/controller", NULL);
    assert_int_equal(w->f.status, 200);
    (void)own(w, "GET", "/controller/whatever", NULL);
    assert_int_equal(w->f.status, 403);
}

/* Nobody but administrators fills the tables of all. */
static void test_bounds_of_a_person(void **state)
{
    struct world *w = *state;
    char ann[17];
    char path[64];
    char body[64];
    make_user(w, "ann", ann);
    w->caller = make_token(w, ann, "{\"tokenName\":\"first\"}");
    snprintf(path, sizeof(path), "/user/%s/token", ann);
    for (unsigned i = 1; i < ACCOUNTS_TOKENS_EACH; i++) {
        snprintf(body, sizeof(body), "{\"tokenName\":\"t%u\"}", i);
        good(w, "POST", path, body);
    }
    assert_int_equal(status(w, "POST", path, "{\"tokenName\":\"last\"}"), 400);
    for (unsigned i = 0; i < ACCOUNTS_NETWORKS_EACH; i++) {
        good(w, "POST", "/network", "{}");
    }
    assert_int_equal(status(w, "POST", "/network", "{}"), 403);
    (void)own(w, "POST", "/controller/network", "{}");
    assert_int_equal(w->f.status, 403);
}

/* Join tokens let members in: for those who may authorize. */
static void test_join_tokens_are_hidden(void **state)
{
    struct world *w = *state;
    char ann[17];
    char path[100];
    make_user(w, "ann", ann);
    struct caller caller = make_token(w, ann, "{\"tokenName\":\"t\"}");
    for (unsigned access = ACCESS_READ; access < 16; access += 2) {
        bool sees = (access & ACCESS_AUTHORIZE) != 0;
        share(w, ann, (uint8_t)access);
        w->caller = admin;
        snprintf(path, sizeof(path), "/controller%s/invite-token", w->net);
        (void)own(w, "POST", path, "{\"token\":\"sesame\"}");
        assert_int_equal(w->f.status, 200);
        w->caller = caller;
        (void)own(w, "GET", path, NULL);
        assert_int_equal(w->f.status, sees ? 200 : 403);
        (void)own(w, "POST", path, "{}");
        assert_int_equal(w->f.status, sees ? 200 : 403);
        snprintf(path, sizeof(path), "/controller%s", w->net);
        json_t *obj = own(w, "GET", path, NULL);
        assert_int_equal(json_object_get(obj, "authTokens") != NULL, sees);
        (void)own(w, "POST", path, "{\"authTokens\":{\"x\":0}}");
        assert_int_equal(w->f.status, sees && (access & ACCESS_MODIFY) != 0 ? 200 : 403);
    }
}

/* A document nested so deep that the list of it could not be read again gets nothing past the
 * filter. */
static void test_deep_documents_hide_nothing_less(void **state)
{
    enum { DEPTH = 2040 };
    struct world *w = *state;
    char ann[17];
    char path[100];
    char *body = calloc(1, 3 * DEPTH + 200);
    make_user(w, "ann", ann);
    struct caller caller = make_token(w, ann, "{\"tokenName\":\"t\"}");
    share(w, ann, ACCESS_READ | ACCESS_MODIFY);
    w->caller = admin;
    snprintf(path, sizeof(path), "/controller%s/invite-token", w->net);
    (void)own(w, "POST", path, "{\"token\":\"sesame\"}");
    for (int deep = DEPTH; deep < DEPTH + 8; deep++) {
        size_t n = (size_t)sprintf(body, "{\"tagsByName\":{\"x\":");
        memset(body + n, '[', (size_t)deep);
        memset(body + n + deep, ']', (size_t)deep);
        strcpy(body + n + 2 * deep, "}}");
        snprintf(path, sizeof(path), "/controller%s", w->net);
        w->caller = caller;
        (void)own(w, "POST", path, body);
        const char *const lists[] = {"/unstable/controller/network", path};
        for (size_t i = 0; i < COUNT_OF(lists); i++) {
            (void)own(w, "GET", lists[i], NULL);
            assert_int_equal(w->f.status, 200);
            assert_false(w->told);
        }
    }
    free(body);
}

/* Pages and searches tell of nothing that may not be read. */
static void test_pages_of_networks_that_may_be_read(void **state)
{
    struct world *w = *state;
    char ann[17];
    make_user(w, "ann", ann);
    struct caller caller = make_token(w, ann, "{\"tokenName\":\"t\"}");
    w->caller = admin;
    for (int i = 0; i < 4; i++) {
        make_network(w, "{\"config\":{\"name\":\"secret\"}}");
    }
    w->caller = caller;
    json_t *list = own(w, "GET", "/unstable/controller/network", NULL);
    check(list, "meta.networkCount", "0");
    make_network(w, "{\"config\":{\"name\":\"mine\"}}");
    list = own(w, "GET", "/unstable/controller/network?limit=1", NULL);
    assert_int_equal(json_array_size(json_object_get(list, "data")), 1);
    assert_null(json_object_get(json_object_get(list, "meta"), "nextCursor"));
}

/* Who may not let members in cannot make a member another node either. */
static void test_rights_to_accept_an_identity(void **state)
{
    struct world *w = *state;
    char ann[17];
    char path[160];
    make_user(w, "ann", ann);
    struct caller caller = make_token(w, ann, "{\"tokenName\":\"t\"}");
    for (unsigned access = ACCESS_READ; access < 16; access += 2) {
        share(w, ann, (uint8_t)access);
        w->caller = admin;
        good(w, "POST", below(w, "/member/" MEMBER), "{}");
        snprintf(path, sizeof(path), "/controller%s/member/" MEMBER "/accept-identity", w->net);
        w->caller = caller;
        (void)own(w, "POST", path, "{}");
        assert_int_equal(w->f.status, (access & ACCESS_AUTHORIZE) != 0 ? 400 : 403);
    }
}

/* A token that may less than its owner gives nobody more. */
static void test_grants_need_a_token_for_everything(void **state)
{
    struct world *w = *state;
    char ann[17];
    char bob[17];
    char body[200];
    make_user(w, "ann", ann);
    make_user(w, "bob", bob);
    struct caller whole = make_token(w, ann, "{\"tokenName\":\"t\"}");
    struct caller part =
        make_token(w, ann, "{\"tokenName\":\"u\",\"scope\":[\"read\",\"modify\"]}");
    w->caller = whole;
    make_network(w, "{}");
    snprintf(body, sizeof(body), "{\"permissions\":{\"%s\":{\"r\":true,\"d\":true}}}", bob);
    w->caller = part;
    good(w, "POST", w->net, "{\"description\":\"d\"}");
    assert_int_equal(status(w, "POST", w->net, body), 403);
    w->caller = whole;
    good(w, "POST", w->net, body);
}

/* What was done by whom is in the log, without secrets. The history of what is gone is for those
 * who may see everything. */
static void test_changes_are_noted(void **state)
{
    struct world *w = *state;
    char ann[17];
    char path[200];
    char body[200];
    make_user(w, "ann", ann);
    struct caller caller = make_token(
        w, ann, "{\"tokenName\":\"robot\",\"token\":\"0123456789abcdef0123456789abcdef\"}");
    w->caller = caller;
    make_network(w, "{}");
    good(w, "POST", below(w, "/member/" MEMBER), "{\"name\":\"n\"}");
    w->caller = admin;
    snprintf(body, sizeof(body), "{\"permissions\":{\"%s\":{\"r\":true}}}", ann);
    good(w, "POST", w->net, body);
    snprintf(path, sizeof(path), "/user/%s/token/robot", ann);
    json_t *log = own(w, "GET", "/controller/log", NULL);
    assert_int_equal(w->f.status, 200);
    char *text = json_dumps(log, JSON_COMPACT);
    static const char *const wanted[] = {"user.created",    "token.created", "grant.changed",
                                         "network.created", "robot",         "ann@x.test"};
    for (size_t i = 0; i < COUNT_OF(wanted); i++) {
        if (strstr(text, wanted[i]) == NULL) {
            fail_msg("%s is not in %s", wanted[i], text);
        }
    }
    uint8_t hash[ACCOUNTS_HASH_LEN];
    accounts_hash("0123456789abcdef0123456789abcdef", 32, hash);
    json_t *doc = api_token_to_json(accounts_token(&w->f.c->model.accounts, caller.token));
    assert_null(strstr(text, "0123456789abcdef0123456789abcdef"));
    assert_null(strstr(text, js(doc, "hash")));
    json_decref(doc);
    free(text);
    w->caller = caller;
    (void)own(w, "GET", "/controller/log", NULL);
    assert_int_equal(w->f.status, 403);
    (void)own(w, "GET", "/controller/hook", NULL);
    assert_int_equal(w->f.status, 403);
    snprintf(path, sizeof(path), "/controller%s/member/" MEMBER "/history", w->net);
    (void)own(w, "GET", path, NULL);
    assert_int_equal(w->f.status, 200);
    snprintf(body, sizeof(body), "/controller%s/member/0000000000/history", w->net);
    (void)own(w, "GET", body, NULL); /* nobody's would be everybody's */
    assert_int_equal(w->f.status, 404);
    good(w, "DELETE", w->net, NULL);
    (void)own(w, "GET", path, NULL);
    assert_int_equal(w->f.status, 404);
    w->caller = admin;
    (void)own(w, "GET", path, NULL);
    assert_int_equal(w->f.status, 200);
}

/* ---- storage ---- */

static void test_all_is_there_after_a_restart(void **state)
{
    (void)state;
    char db[128];
    char ann[17];
    char body[200];
    struct caller caller;
    struct world *w = calloc(1, sizeof(*w));
    fake_db_name(db, sizeof(db), "central");
    fake_init(&w->f, db);
    w->caller = admin;
    make_user(w, "ann", ann);
    snprintf(body, sizeof(body),
             "{\"tokenName\":\"t\",\"scope\":[\"read\"],\"networks\":[],\"token\":"
             "\"0123456789abcdef0123456789abcdef\"}");
    caller = make_token(w, ann, body);
    share(w, ann, ACCESS_ALL);
    good(w, "POST", w->net, "{\"description\":\"d\"}");
    good(w, "POST", below(w, "/member/" MEMBER), "{\"description\":\"e\"}");
    fake_restart(&w->f);
    w->caller = (struct caller){0};
    assert_true(access_authenticate(w->f.c, "0123456789abcdef0123456789abcdef", 32, w->f.now_ms,
                                    &w->caller));
    assert_int_equal(w->caller.user, caller.user);
    assert_int_equal(w->caller.token, caller.token);
    check(good(w, "GET", w->net, NULL), "description", "\"d\"");
    check(good(w, "GET", below(w, "/member/" MEMBER), NULL), "description", "\"e\"");
    assert_int_equal(status(w, "POST", w->net, "{\"description\":\"x\"}"), 403);
    w->caller = admin;
    snprintf(body, sizeof(body), "/user/%s", ann);
    good(w, "DELETE", body, NULL);
    fake_restart(&w->f);
    assert_false(
        access_authenticate(w->f.c, "0123456789abcdef0123456789abcdef", 32, w->f.now_ms, &caller));
    assert_int_equal(status(w, "GET", body, NULL), 404);
    json_decref(w->answer);
    fake_done(&w->f);
    free(w);
    /* no text of a token is in the file */
    char command[300];
    FILE *file = fopen(db, "rb");
    assert_non_null(file);
    size_t n = 0;
    int c;
    while ((c = fgetc(file)) != EOF) {
        command[n % 32] = (char)c;
        n++;
        if (n >= 32) {
            char window[33] = "";
            for (size_t i = 0; i < 32; i++) {
                window[i] = command[(n + i) % 32];
            }
            assert_int_not_equal(memcmp(window, "0123456789abcdef0123456789abcdef", 32), 0);
        }
    }
    (void)fclose(file);
    fake_db_remove(db);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(test_both_bases_are_served),
        T(test_status),
        T(test_unknown_paths_and_methods_are_404),
        T(test_create_with_nothing_and_with_a_name),
        T(test_partial_merge_of_a_network),
        T(test_posting_back_changes_nothing),
        T(test_what_is_unchanged_is_not_judged),
        T(test_rules_source_replaces_all_it_says),
        T(test_wrong_types_change_nothing),
        T(test_bad_elements_are_refused),
        T(test_hostile_bodies),
        T(test_delete_answers_200_and_nothing),
        T(test_member_object),
        T(test_partial_merge_of_a_member),
        T(test_deleted_and_hidden_members),
        T(test_wrong_types_in_a_member_are_400),
        T(test_users),
        T(test_tokens_are_shown_once_and_end),
        T(test_bad_tokens_are_refused),
        T(test_random_token),
        T(test_rate),
        T(test_organization_and_invitations),
        T(test_rights),
        T(test_scopes),
        T(test_token_for_some_networks),
        T(test_owner),
        T(test_bounds_of_a_person),
        T(test_join_tokens_are_hidden),
        T(test_deep_documents_hide_nothing_less),
        T(test_pages_of_networks_that_may_be_read),
        T(test_rights_to_accept_an_identity),
        T(test_grants_need_a_token_for_everything),
        T(test_changes_are_noted),
        cmocka_unit_test(test_all_is_there_after_a_restart),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
