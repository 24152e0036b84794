/* Values of every wrong kind in every place of what clients post: an answer in order each time,
 * nothing stored by a refused request, a controller that still serves its members, and memory that
 * does not grow (spec 04 sections 2.3 and 12; CTL-16, CTL-17, CTL-23, CTL-24, CTL-27, CTL-30). */
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

static const char network_body[] =
    "{\"name\":\"n\",\"private\":true,\"enableBroadcast\":true,\"multicastLimit\":32,\"mtu\":2800,"
    "\"v4AssignMode\":{\"zt\":true},\"v6AssignMode\":{\"zt\":true,\"rfc4193\":true,\"6plane\":true}"
    ","
    "\"routes\":[{\"target\":\"10.1.0.0/24\",\"via\":null},"
    "{\"target\":\"10.2.0.0/16\",\"via\":\"10.1.0.2\"}],"
    "\"ipAssignmentPools\":[{\"ipRangeStart\":\"10.1.0.10\",\"ipRangeEnd\":\"10.1.0.20\"}],"
    "\"rules\":[{\"type\":\"MATCH_IP_DEST_PORT_RANGE\",\"not\":false,\"or\":true,\"start\":1,"
    "\"end\":2},{\"type\":\"MATCH_IPV4_SOURCE\",\"ip\":\"10.0.0.0/8\"},"
    "{\"type\":\"MATCH_MAC_SOURCE\",\"mac\":\"aa:bb:cc:dd:ee:ff\"},"
    "{\"type\":\"MATCH_CHARACTERISTICS\",\"mask\":\"8000000000000000\"},"
    "{\"type\":\"MATCH_ICMP\",\"icmpType\":8,\"icmpCode\":null},"
    "{\"type\":\"ACTION_TEE\",\"address\":\"0102030405\",\"flags\":0,\"length\":128},"
    "{\"type\":\"ACTION_ACCEPT\"}],"
    "\"capabilities\":[{\"id\":1,\"default\":true,\"rules\":[{\"type\":\"ACTION_ACCEPT\"}]}],"
    "\"tags\":[{\"id\":7,\"default\":3}],"
    "\"dns\":{\"domain\":\"a.example\",\"servers\":[\"10.1.0.1\"]},"
    "\"authTokens\":{\"t\":0},\"remoteTraceTarget\":\"0102030405\",\"remoteTraceLevel\":2}";

static const char member_body[] =
    "{\"name\":\"m\",\"authorized\":true,\"activeBridge\":true,\"noAutoAssignIps\":false,"
    "\"ipAssignments\":[\"10.1.0.9\",\"fd00::9\"],\"tags\":[[7,4]],\"capabilities\":[1],"
    "\"remoteTraceTarget\":null,\"remoteTraceLevel\":1,\"authenticationExpiryTime\":0,"
    "\"blocked\":false}";

static const char token_body[] = "{\"uses\":3,\"expires\":1,\"token\":\"abcdefgh\"}";

/* What is put in. The last ones are made when the test starts. */
static const char *const values[] = {
    "null",
    "true",
    "false",
    "0",
    "-1",
    "1.5",
    "-1e308",
    "9223372036854775807",
    "1e400",
    "\"\"",
    "\"yes\"",
    "\"\\u0000\"",
    "\"\\n=\\\\\"",
    "\"999.1.1.1/99\"",
    "\"10.1.0.1\"",
    "\"::/0\"",
    "\"ffffffffffffffffffff\"",
    "[]",
    "{}",
    "[null]",
    "[[]]",
    "[{}]",
    "{\"a\":{}}",
    "[[1]]",
    "[[1,2,3]]",
    "[[\"x\",\"y\"]]",
    "[\"10.1.0.1\",5]",
};

/* Every place in a document, the document itself first; they are borrowed with their parents. */
struct places {
    struct {
        json_t *parent; /* NULL: the document */
        const char *key;
        size_t index;
    } place[256];
    size_t count;
};

static void collect(struct places *p, json_t *value)
{
    const char *key;
    json_t *child;
    size_t i;
    if (json_is_object(value)) {
        json_object_foreach(value, key, child)
        {
            assert_true(p->count < COUNT_OF(p->place));
            p->place[p->count].parent = value;
            p->place[p->count++].key = key;
            collect(p, child);
        }
    }
    json_array_foreach(value, i, child)
    {
        assert_true(p->count < COUNT_OF(p->place));
        p->place[p->count].parent = value;
        p->place[p->count].key = NULL;
        p->place[p->count++].index = i;
        collect(p, child);
    }
}

/* The template with one place replaced, as text. */
static char *with_value(const char *template_text, size_t place, const char *value)
{
    struct places places = {.count = 0};
    json_t *doc = json_loads(template_text, 0, NULL);
    assert_non_null(doc);
    collect(&places, doc);
    if (place >= places.count) {
        json_decref(doc);
        return NULL;
    }
    /* a mark that jansson writes and we exchange: so the value may be what jansson cannot hold */
    json_t *mark = json_string("@@VALUE@@");
    json_t *parent = places.place[place].parent;
    const char *key = places.place[place].key;
    assert_int_equal(key != NULL ? json_object_set_new(parent, key, mark)
                                 : json_array_set_new(parent, places.place[place].index, mark),
                     0);
    char *text = json_dumps(doc, JSON_COMPACT);
    json_decref(doc);
    assert_non_null(text);
    char *at = strstr(text, "\"@@VALUE@@\"");
    assert_non_null(at);
    size_t head = (size_t)(at - text);
    size_t size = strlen(text) + strlen(value) + 1;
    char *out = malloc(size);
    assert_non_null(out);
    snprintf(out, size, "%.*s%s%s", (int)head, text, value, at + strlen("\"@@VALUE@@\""));
    free(text);
    return out;
}

static char *get_text(struct fake *f, const char *path)
{
    json_t *obj = fake_api(f, "GET", path, NULL);
    assert_int_equal(f->status, 200);
    char *text = json_dumps(obj, JSON_COMPACT | JSON_SORT_KEYS);
    json_decref(obj);
    assert_non_null(text);
    return text;
}

/* A member asks and gets what decodes: whatever was stored, it can be served. */
static void expect_service(struct fake *f)
{
    struct netconf conf;
    fake_clear(f);
    fake_status(f, "POST", NET "/member/1122334455", "{\"authorized\":true}");
    fake_run(f, 1100);
    fake_clear(f);
    fake_request(f, FAKE_NWID, UINT64_C(0x1122334455), NULL);
    fake_config(f, UINT64_C(0x1122334455), &conf);
    netconf_free(&conf);
}

static void post_hostile(struct fake *f, const char *path, const char *body)
{
    char strict[160];
    snprintf(strict, sizeof(strict), "%s?strict=1", path);
    bool readable = strstr(path, "token") == NULL;
    char *before = readable ? get_text(f, path) : NULL;
    json_t *obj = fake_api(f, "POST", strict, body); /* an answer that is no JSON fails in there */
    assert_true(f->status == 200 || f->status == 400);
    if (f->status == 400) {
        assert_string_not_equal(js(obj, "description"), "?");
        if (readable) {
            char *after = get_text(f, path);
            assert_string_equal(before, after);
            free(after);
        }
    }
    json_decref(obj);
    free(before);
    json_decref(fake_api(f, "POST", path, body));
    if (f->status != 200 && f->status != 400 && f->status != 500) {
        fail_msg("%s: status %u for %s", path, f->status, body);
    }
}

static void every_place(struct fake *f, const char *path, const char *template_text)
{
    size_t places = 0;
    for (;; places++) {
        char *probe = with_value(template_text, places, "0");
        if (probe == NULL) {
            break;
        }
        free(probe);
        for (size_t v = 0; v < COUNT_OF(values); v++) {
            char *body = with_value(template_text, places, values[v]);
            assert_non_null(body);
            post_hostile(f, path, body);
            free(body);
        }
        expect_service(f);
    }
    assert_true(places > 2);
}

static void test_wrong_types_in_every_field(void **state)
{
    struct fake *f = *state;
    fake_network(f, network_body);
    assert_int_equal(fake_status(f, "POST", MEMBER, member_body), 200);
    every_place(f, NET, network_body);
    every_place(f, MEMBER, member_body);
    every_place(f, NET "/invite-token", token_body);
    assert_int_equal(fake_status(f, "POST", NET, network_body), 200); /* and all is well again */
    expect_service(f);
}

/* open repeated n times, then close repeated n times. */
static char *nest(const char *open, const char *close, size_t n)
{
    char *out = malloc(n * (strlen(open) + strlen(close)) + 1);
    assert_non_null(out);
    char *at = out;
    for (size_t i = 0; i < n; i++) {
        at = stpcpy(at, open);
    }
    for (size_t i = 0; i < n; i++) {
        at = stpcpy(at, close);
    }
    return out;
}

static void test_giant_and_deep_bodies_are_refused_and_leave_nothing(void **state)
{
    struct fake *f = *state;
    fake_network(f, network_body);
    char *before = get_text(f, NET);
    static const struct {
        const char *open;
        const char *close;
        size_t n;
    } deep[] = {
        {"[", "]", 1000000},
        {"{\"a\":", "}", 1000000},
        {"[", "", 2000000},
        {"{\"rules\":[", "]}", 9000},
    };
    for (size_t i = 0; i < COUNT_OF(deep); i++) {
        char *body = nest(deep[i].open, deep[i].close, deep[i].n);
        json_t *obj = fake_api(f, "POST", NET, body);
        assert_int_equal(f->status, 500);
        assert_string_not_equal(js(obj, "description"), "?");
        json_decref(obj);
        char *after = get_text(f, NET);
        assert_string_equal(before, after);
        free(after);
        free(body);
    }
    free(before);
}

/* Arrays are cut to 16384 elements (spec 04 section 1), and again and again does not add up. */
static void test_long_arrays_are_cut(void **state)
{
    struct fake *f = *state;
    static const struct {
        const char *path;
        const char *key;
        const char *element;
        size_t most;
    } arrays[] = {
        {NET, "rules", "{\"type\":\"ACTION_DROP\"},", 16384},
        {NET, "routes", "{\"target\":\"10.1.0.0/24\"},", 16384},
        {NET, "ipAssignmentPools", "{\"ipRangeStart\":\"10.1.0.1\",\"ipRangeEnd\":\"10.1.0.2\"},",
         16384},
        {MEMBER, "ipAssignments", "\"10.1.0.1\",", 16384},
        {MEMBER, "capabilities", "1,", 16384},
    };
    fake_network(f, "{}");
    assert_int_equal(fake_status(f, "POST", MEMBER, "{}"), 200);
    for (size_t i = 0; i < COUNT_OF(arrays); i++) {
        char *list = nest(arrays[i].element, "", 40000);
        list[strlen(list) - 1] = '\0';
        size_t size = strlen(list) + 64;
        char *body = malloc(size);
        assert_non_null(body);
        snprintf(body, size, "{\"%s\":[%s]}", arrays[i].key, list);
        json_t *obj = fake_api(f, "POST", arrays[i].path, body);
        assert_int_equal(f->status, 200);
        assert_true(json_array_size(json_object_get(obj, arrays[i].key)) <= arrays[i].most);
        json_decref(obj);
        free(body);
        free(list);
    }
    expect_service(f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_wrong_types_in_every_field, fake_setup, fake_teardown),
        cmocka_unit_test_setup_teardown(test_giant_and_deep_bodies_are_refused_and_leave_nothing,
                                        fake_setup, fake_teardown),
        cmocka_unit_test_setup_teardown(test_long_arrays_are_cut, fake_setup, fake_teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
