/* The log of events: every change with who, from where, old and new (CTL-119); secrets masked;
 * bounds by class and member; what strangers cannot push out; restarts. */
#include "fake.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "controller/controller_priv.h"
#include "controller/eventlog.h"
#include "controller/note.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define NET    "/controller/network/12a402e62ed49ba9"
#define MEMBER NET "/member/aabbccddee"

static json_t *log_data(struct fake *f, const char *query)
{
    char path[256];
    snprintf(path, sizeof(path), "/controller/log%s", query);
    json_t *obj = fake_api(f, "GET", path, NULL);
    assert_int_equal(f->status, 200);
    json_t *data = json_incref(json_object_get(obj, "data"));
    json_decref(obj);
    assert_true(json_is_array(data));
    return data;
}

/* The newest entry: new reference. */
static json_t *newest(struct fake *f)
{
    json_t *data = log_data(f, "?limit=1");
    json_t *entry = json_incref(json_array_get(data, 0));
    json_decref(data);
    return entry;
}

static void assert_half(const json_t *entry, const char *half, const char *want)
{
    char *text =
        json_dumps(json_object_get(entry, half), JSON_COMPACT | JSON_SORT_KEYS | JSON_ENCODE_ANY);
    assert_string_equal(text, want);
    free(text);
}

/* CTL-119 */
static void test_every_write_is_logged_with_old_and_new(void **state)
{
    struct fake *f = *state;
    f->actor = (struct actor){.kind = ACTOR_API_TOKEN,
                              .user = 7,
                              .token = 9,
                              .name = "ci",
                              .source = {.family = INETADDR_V4, .ip = {192, 0, 2, 9}, .port = 5}};
    static const struct {
        const char *method;
        const char *path;
        const char *body;
        const char *type;
        const char *old;
        const char *new;
    } steps[] = {
        {"POST", NET, "{}", "network.created", "null", NULL},
        {"POST", NET, "{\"name\":\"a\",\"mtu\":1400}", "network.changed",
         "{\"mtu\":2800,\"name\":\"\"}", "{\"mtu\":1400,\"name\":\"a\"}"},
        {"POST", NET, "{\"authTokens\":{\"s3cret\":5}}", "network.changed", "{\"authTokens\":null}",
         "{\"authTokens\":{\"token 1\":5}}"},
        {"POST", NET, "{\"authTokens\":{\"s3cret\":6,\"a\":0}}", "network.changed",
         "{\"authTokens\":{\"token 2\":5}}", "{\"authTokens\":{\"token 1\":0,\"token 2\":6}}"},
        {"POST", NET "/invite-token", "{\"token\":\"s3cret2\"}", "invite.created", "null",
         "{\"expires\":0,\"nwid\":\"12a402e62ed49ba9\",\"token\":\"***\",\"uses\":0}"},
        {"DELETE", NET "/invite-token/s3cret2", NULL, "invite.deleted",
         "{\"expires\":0,\"nwid\":\"12a402e62ed49ba9\",\"token\":\"***\",\"uses\":0}", "null"},
        {"POST", MEMBER, "{\"name\":\"x\"}", "member.added", "null", NULL},
        {"POST", MEMBER, "{\"name\":\"y\"}", "member.changed", "{\"name\":\"x\"}",
         "{\"name\":\"y\"}"},
        {"POST", MEMBER, "{\"authorized\":true}", "member.authorized", NULL, NULL},
        {"POST", MEMBER, "{\"authorized\":false}", "member.deauthorized", NULL, NULL},
        {"DELETE", MEMBER, NULL, "member.deleted", NULL, "null"},
        {"DELETE", NET, NULL, "network.deleted", NULL, "null"},
    };
    for (size_t i = 0; i < COUNT_OF(steps); i++) {
        assert_int_equal(fake_status(f, steps[i].method, steps[i].path, steps[i].body), 200);
        json_t *entry = newest(f);
        assert_string_equal(js(entry, "type"), steps[i].type);
        assert_string_equal(js(entry, "network"), "12a402e62ed49ba9");
        assert_string_equal(js(entry, "source"), "192.0.2.9");
        assert_string_equal(js(json_object_get(entry, "actor"), "kind"), "token");
        assert_string_equal(js(json_object_get(entry, "actor"), "name"), "ci");
        assert_string_equal(js(json_object_get(entry, "actor"), "user"), "0000000000000007");
        assert_int_equal(ji(entry, "at"), f->now_ms + f->wall_offset_ms);
        if (steps[i].old != NULL) {
            assert_half(entry, "old", steps[i].old);
        }
        if (steps[i].new != NULL) {
            assert_half(entry, "new", steps[i].new);
        }
        char *text = json_dumps(entry, 0);
        assert_null(strstr(text, "s3cret"));
        free(text);
        json_decref(entry);
    }
    /* what changes nothing makes no entry */
    json_t *all = log_data(f, "");
    assert_int_equal(json_array_size(all), COUNT_OF(steps));
    json_decref(all);
    fake_status(f, "POST", NET, "{}");
    fake_status(f, "POST", NET, "{}");
    fake_status(f, "POST", NET "?strict=1", "{\"routes\":[1]}");
    all = log_data(f, "");
    assert_int_equal(json_array_size(all), COUNT_OF(steps) + 1);
    json_decref(all);
}

static void test_history_tells_what_the_protocol_did(void **state)
{
    struct fake *f = *state;
    fake_network(f, "{\"routes\":[{\"target\":\"10.9.0.0/24\"}],\"ipAssignmentPools\":["
                    "{\"ipRangeStart\":\"10.9.0.1\",\"ipRangeEnd\":\"10.9.0.1\"}],"
                    "\"v4AssignMode\":\"zt\",\"authTokens\":{\"t0ken\":0}}");
    fake_request(f, FAKE_NWID, 0xaabbccddee, NULL);
    fake_request(f, FAKE_NWID, 0xaabbccddee, "t0ken");
    fake_request(f, FAKE_NWID, 0xaabbccddee, NULL);
    struct netconf_meta meta = netconf_meta_default();
    meta.major = 2;
    struct identity id = fake_member(0xaabbccddee);
    fake_request_meta(f, FAKE_NWID, &id, &meta);
    id.pub[3] ^= 1;
    fake_request_meta(f, FAKE_NWID, &id, &meta);
    fake_request_meta(f, FAKE_NWID, &id, &meta); /* the same within the hour is no news */
    fake_request(f, FAKE_NWID, 0x1122334455, "t0ken");
    fake_request(f, FAKE_NWID, 0x1122334455, "t0ken");
    json_t *obj = fake_api(f, "GET", MEMBER "/history", NULL);
    json_t *data = json_object_get(obj, "data");
    static const char *const types[] = {"member.mismatch", "member.version",    "member.version",
                                        "member.address",  "member.authorized", "member.request"};
    assert_int_equal(json_array_size(data), COUNT_OF(types));
    for (size_t i = 0; i < COUNT_OF(types); i++) {
        const json_t *entry = json_array_get(data, i);
        assert_string_equal(js(entry, "type"), types[i]);
        assert_string_equal(js(json_object_get(entry, "actor"), "kind"), "protocol");
        assert_string_equal(js(entry, "member"), "aabbccddee");
    }
    assert_half(json_array_get(data, 0), "new", "{\"physicalAddress\":\"192.0.2.7\"}");
    assert_half(json_array_get(data, 3), "old", "{\"ipAssignments\":[]}");
    assert_half(json_array_get(data, 3), "new", "{\"ipAssignments\":[\"10.9.0.1\"]}");
    assert_half(json_array_get(data, 4), "new",
                "{\"authorized\":true,\"lastAuthorizedCredentialType\":\"token\"}");
    json_decref(obj);
    obj = fake_api(f, "GET", NET "/member/1122334455/history", NULL);
    data = json_object_get(obj, "data");
    size_t exhausted = 0;
    for (size_t i = 0; i < json_array_size(data); i++) {
        exhausted += strcmp(js(json_array_get(data, i), "type"), "member.exhausted") == 0 ? 1 : 0;
    }
    assert_int_equal(exhausted, 1);
    json_decref(obj);
    /* the history outlives its member and its network */
    fake_status(f, "DELETE", NET, NULL);
    obj = fake_api(f, "GET", MEMBER "/history?limit=2", NULL);
    assert_int_equal(json_array_size(json_object_get(obj, "data")), 2);
    assert_non_null(json_object_get(json_object_get(obj, "meta"), "nextCursor"));
    json_decref(obj);
}

static void test_physical_address_is_noted_when_it_moves(void **state)
{
    struct fake *f = *state;
    fake_network(f, "{}");
    fake_status(f, "POST", MEMBER, "{\"authorized\":true}");
    struct identity id = fake_member(0xaabbccddee);
    static const char meta[] = "majv=1";
    for (unsigned i = 0; i < 100; i++) {
        struct inetaddr from = {.family = i % 2 != 0 ? INETADDR_V4 : INETADDR_NIL,
                                .ip = {198, 51, 100, i < 50 ? 1 : (uint8_t)i},
                                .port = (uint16_t)(1000 + i)};
        if (from.family == INETADDR_NIL) {
            memset(&from, 0, sizeof(from));
        }
        f->now_ms += 1100;
        controller_request(f->c, FAKE_NWID, &from, i + 1, &id, meta, strlen(meta), f->now_ms);
    }
    json_t *data = log_data(f, "?type=member.physical");
    /* relays and other ports are none; a member that changes all the time has its pace */
    assert_in_range(json_array_size(data), 8, 11);
    assert_half(json_array_get(data, json_array_size(data) - 1), "new",
                "{\"physicalAddress\":\"198.51.100.1\"}");
    json_decref(data);
}

static void test_filters_and_pages(void **state)
{
    struct fake *f = *state;
    for (int i = 0; i < 7; i++) {
        char body[64];
        snprintf(body, sizeof(body), "{\"name\":\"n%d\"}", i);
        f->actor.kind = i % 2 != 0 ? ACTOR_USER : ACTOR_CLI;
        f->actor.name = i % 2 != 0 ? "Eve" : NULL;
        f->now_ms += 1000;
        fake_status(f, "POST", NET, body);
        fake_status(f, "POST", MEMBER, body);
    }
    static const struct {
        const char *query;
        size_t count;
    } cases[] = {
        {"", 14},
        {"?type=network", 7},
        {"?type=network.created", 1},
        {"?type=net", 0},
        {"?actor=eve", 6},
        {"?actor=cli", 8},
        {"?network=12a402e62ed49ba9", 14},
        {"?network=12a402e62ed49baa", 0},
        {"?member=aabbccddee", 7},
        {"?member=aabbccddee&network=12a402e62ed49ba9&type=member.added", 1},
        {"?since=1700000011001", 2},
        {"?limit=3", 3},
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        json_t *data = log_data(f, cases[i].query);
        assert_int_equal(json_array_size(data), cases[i].count);
        json_decref(data);
    }
    assert_int_equal(fake_status(f, "GET", "/controller/log?network=xyz", NULL), 400);
    assert_int_equal(fake_status(f, "POST", "/controller/log", "{}"), 404);
    size_t seen = 0;
    char query[64] = "?limit=5";
    char last[32] = "g";
    while (query[0] != '\0') {
        char path[100];
        snprintf(path, sizeof(path), "/controller/log%s", query);
        json_t *obj = fake_api(f, "GET", path, NULL);
        json_t *data = json_object_get(obj, "data");
        for (size_t i = 0; i < json_array_size(data); i++, seen++) {
            const char *id = js(json_array_get(data, i), "id");
            assert_true(strcmp(id, last) < 0);
            snprintf(last, sizeof(last), "%s", id);
        }
        const json_t *next = json_object_get(json_object_get(obj, "meta"), "nextCursor");
        query[0] = '\0';
        if (next != NULL) {
            snprintf(query, sizeof(query), "?limit=5&cursor=%s", json_string_value(next));
        }
        json_decref(obj);
    }
    assert_int_equal(seen, 14);
}

/* What anyone can cause stays within its share, and leaves administrators' entries alone. */
static void test_strangers_push_out_only_their_own(void **state)
{
    struct fake *f = *state;
    fake_network(f, "{}");
    const struct log_bounds *bounds = &eventlog_bounds[LOG_CLASS_ANYONE];
    for (uint64_t i = 0; i < 500; i++) {
        struct identity id = fake_member(0x1000000000 + i);
        struct inetaddr from = {.family = INETADDR_V4, .ip = {192, 0, 2, 7}, .port = 9993};
        f->now_ms += 10;
        controller_request(f->c, FAKE_NWID, &from, i + 1, &id, "majv=1", 6, f->now_ms);
    }
    const struct eventlog *log = f->c->eventlog;
    assert_in_range(log->count[LOG_CLASS_ANYONE], 32, 40); /* a flood is not noted one by one */
    for (uint64_t i = 0; i < bounds->count + 500; i++) {
        struct note note = {
            .type = NOTE_MEMBER_REQUEST, .nwid = FAKE_NWID, .member = i + 1, .anyone = true};
        assert_int_equal(note_add(f->c, NULL, &note, f->now_ms), 0);
    }
    assert_in_range(log->count[LOG_CLASS_ANYONE], 1000, bounds->count);
    assert_true(log->bytes[LOG_CLASS_ANYONE] <= bounds->bytes);
    assert_int_equal(log->count[LOG_CLASS_ADMIN], 1);
    assert_int_equal(log->count[LOG_CLASS_PROTOCOL], 0);
    json_t *data = log_data(f, "?type=network.created");
    assert_int_equal(json_array_size(data), 1);
    json_decref(data);
}

static void add_note(struct fake *f, struct store_tx *tx, uint64_t member, const char *text)
{
    json_t *after = json_pack("{ss}", "vendor", text);
    struct note note = {
        .type = NOTE_MEMBER_VERSION, .nwid = FAKE_NWID, .member = member, .after = after};
    assert_int_equal(note_add(f->c, tx, &note, f->now_ms), 0);
    json_decref(after);
}

static void test_one_member_has_its_share(void **state)
{
    struct fake *f = *state;
    add_note(f, NULL, 1, "a");
    for (int i = 0; i < 3 * EVENTLOG_PER_MEMBER; i++) {
        add_note(f, NULL, 2, "b");
    }
    assert_int_equal(f->c->eventlog->count[LOG_CLASS_PROTOCOL], EVENTLOG_PER_MEMBER + 1);
}

/* A large value is left out, many large ones make no entry above the bound. */
static void test_entries_are_bounded(void **state)
{
    struct fake *f = *state;
    fake_network(f, "{}");
    json_t *rules = json_array();
    for (int i = 0; i < 1000; i++) {
        json_array_append_new(rules, json_pack("{ss}", "type", "ACTION_DROP"));
    }
    json_t *body = json_pack("{soss}", "rules", rules, "name", "small");
    char *text = json_dumps(body, 0);
    fake_status(f, "POST", NET, text);
    free(text);
    json_decref(body);
    json_t *entry = newest(f);
    const json_t *after = json_object_get(entry, "new");
    assert_string_equal(js(after, "name"), "small");
    assert_true(ji(json_object_get(after, "rules"), "omittedBytes") > 10000);
    json_decref(entry);
}

static void test_age_ends_entries(void **state)
{
    struct fake *f = *state;
    fake_network(f, "{}");
    f->now_ms += eventlog_bounds[LOG_CLASS_ADMIN].age_ms - 1000;
    controller_tick(f->c, f->now_ms);
    assert_int_equal(f->c->eventlog->count[LOG_CLASS_ADMIN], 1);
    f->now_ms += 120000;
    controller_tick(f->c, f->now_ms);
    assert_int_equal(f->c->eventlog->count[LOG_CLASS_ADMIN], 0);
}

/* The log is in the store: the same after a restart, and so is what fell out of it. */
static void test_log_survives_a_restart(void **state)
{
    (void)state;
    char path[128];
    struct fake f;
    fake_db_name(path, sizeof(path), "eventlog");
    fake_init(&f, path);
    fake_network(&f, "{}");
    fake_request(&f, FAKE_NWID, 0xaabbccddee, NULL);
    fake_status(&f, "POST", MEMBER, "{\"authorized\":true,\"name\":\"z\"}");
    fake_request(&f, FAKE_NWID, 0xaabbccddee, NULL);
    for (int i = 0; i < EVENTLOG_PER_MEMBER + 10; i++) {
        add_note(&f, NULL, 5, "b");
    }
    json_t *before = log_data(&f, "?limit=1000");
    fake_restart(&f);
    json_t *after = log_data(&f, "?limit=1000");
    assert_true(json_array_size(before) >= EVENTLOG_PER_MEMBER + 4);
    assert_true(json_equal(before, after));
    f.wall_offset_ms -= 3600000; /* the clock went back: new entries are still the newest */
    fake_restart(&f);
    fake_status(&f, "POST", NET, "{\"name\":\"later\"}");
    json_t *entry = newest(&f);
    assert_string_equal(js(entry, "type"), "network.changed");
    json_decref(entry);
    json_decref(before);
    json_decref(after);
    fake_done(&f);
    fake_db_remove(path);
}

static void assert_masked(const char *old, const char *new, const char *want)
{
    json_t *a = json_loads(old, 0, NULL);
    json_t *b = json_loads(new, 0, NULL);
    json_t *diff = note_diff(a, b);
    char *text = json_dumps(diff, JSON_COMPACT | JSON_SORT_KEYS);
    assert_string_equal(text, want);
    free(text);
    json_decref(diff);
    json_decref(a);
    json_decref(b);
}

static void test_secrets_are_masked(void **state)
{
    (void)state;
    assert_masked("{\"lastAuthorizedCredential\":\"x\",\"a\":1}", "{\"a\":1}",
                  "{\"lastAuthorizedCredential\":\"***\"}");
    assert_masked("{\"secrets\":[\"00\",\"11\"]}", "{}", "{\"secrets\":[\"***\",\"***\"]}");
    assert_masked("{\"o\":{\"hash\":\"00\",\"b\":{\"password\":\"1\",\"c\":null}}}", "{}",
                  "{\"o\":{\"b\":{\"c\":null,\"password\":\"***\"},\"hash\":\"***\"}}");
    assert_masked("{\"url\":\"https://u:p@ex.org:8443/hook/k3y?x=y\"}", "{}",
                  "{\"url\":\"https://ex.org:8443/***\"}");
    assert_masked("{\"url\":\"https://ex.org/\"}", "{}", "{\"url\":\"https://ex.org\"}");
    assert_masked("{\"authTokens\":{\"a\":1,\"b\":2},\"authTokenUses\":{\"b\":3}}",
                  "{\"authTokens\":{\"a\":1}}",
                  "{\"authTokenUses\":{\"token 2\":3},\"authTokens\":{\"token 2\":2}}");
    assert_masked("{\"authTokens\":[null]}", "{}", "{\"authTokens\":null}");
    assert_masked("{\"revision\":1,\"secret\":null}", "{}", "{\"secret\":null}");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_every_write_is_logged_with_old_and_new, fake_setup,
                                        fake_teardown),
        cmocka_unit_test_setup_teardown(test_history_tells_what_the_protocol_did, fake_setup,
                                        fake_teardown),
        cmocka_unit_test_setup_teardown(test_physical_address_is_noted_when_it_moves, fake_setup,
                                        fake_teardown),
        cmocka_unit_test_setup_teardown(test_filters_and_pages, fake_setup, fake_teardown),
        cmocka_unit_test_setup_teardown(test_strangers_push_out_only_their_own, fake_setup,
                                        fake_teardown),
        cmocka_unit_test_setup_teardown(test_one_member_has_its_share, fake_setup, fake_teardown),
        cmocka_unit_test_setup_teardown(test_entries_are_bounded, fake_setup, fake_teardown),
        cmocka_unit_test_setup_teardown(test_age_ends_entries, fake_setup, fake_teardown),
        cmocka_unit_test(test_log_survives_a_restart),
        cmocka_unit_test(test_secrets_are_masked),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
