/* What a member goes through besides being let in: removal, hiding, the end of its access, another
 * key, join tokens that say more (spec 04 sections 10.3, 12; CTL-115). */
#include "fake.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "wire/identity.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define NET      "/controller/network/12a402e62ed49ba9"
#define MEMBER   NET "/member/00000000aa"
#define UNSTABLE "/unstable" NET

/* Number of elements of "data" of a list. */
static size_t listed(struct fake *f, const char *path)
{
    json_t *obj = fake_api(f, "GET", path, NULL);
    assert_int_equal(f->status, 200);
    size_t n = json_array_size(json_object_get(obj, "data"));
    json_decref(obj);
    return n;
}

/* A request after the pause between two; true if it was answered with a configuration. */
static bool asks(struct fake *f, uint64_t address, const char *token)
{
    fake_clear(f);
    fake_run(f, 1500);
    fake_request(f, FAKE_NWID, address, token);
    return fake_last(f, FAKE_CONFIG, address) != NULL;
}

static json_int_t wall(const struct fake *f)
{
    return f->now_ms + f->wall_offset_ms;
}

/* CTL-115: pending, allowed, removed, asking on, added again; over a restart. */
static void test_removed_member_stays_removed(void **state)
{
    (void)state;
    char db[128];
    struct fake f;
    fake_db_name(db, sizeof(db), "removed");
    fake_init(&f, db);
    fake_network(&f, "{}");
    assert_false(asks(&f, 0xaa, NULL));
    assert_int_equal(listed(&f, UNSTABLE "/member?filter=pending"), 1);
    assert_int_equal(fake_status(&f, "DELETE", MEMBER, NULL), 200);
    for (int i = 0; i < 3; i++) {
        assert_false(asks(&f, 0xaa, NULL));
        assert_int_equal(fake_last(&f, FAKE_ERROR, 0xaa)->code, ERROR_NETWORK_ACCESS_DENIED);
        assert_int_equal(listed(&f, UNSTABLE "/member"), 0);
        assert_int_equal(fake_status(&f, "GET", MEMBER, NULL), 404);
        fake_restart(&f);
    }
    assert_false(asks(&f, 0xaa, NULL));
    json_t *obj = fake_api(&f, "GET", UNSTABLE "/removed/00000000aa", NULL);
    assert_string_equal(js(obj, "id"), "00000000aa");
    assert_true(ji(obj, "removedTime") < wall(&f));
    assert_int_equal(ji(obj, "lastSeen"), wall(&f));
    json_decref(obj);
    assert_int_equal(listed(&f, UNSTABLE "/removed"), 1);
    assert_int_equal(fake_status(&f, "POST", MEMBER, "{\"authorized\":true}"), 200);
    assert_int_equal(listed(&f, UNSTABLE "/removed"), 0);
    assert_true(asks(&f, 0xaa, NULL));
    fake_restart(&f);
    assert_int_equal(fake_status(&f, "GET", MEMBER, NULL), 200);
    fake_done(&f);
    fake_db_remove(db);
}

/* A refused request to bring it back does not, and it may be allowed to ask again. */
static void test_removed_member_may_ask_again(void **state)
{
    struct fake *f = *state;
    fake_network(f, "{\"authTokens\":{\"sesame\":0}}");
    asks(f, 0xaa, NULL);
    fake_status(f, "DELETE", MEMBER, NULL);
    assert_int_equal(fake_status(f, "POST", MEMBER, "{\"ipAssignments\":[5]}"), 500);
    assert_int_equal(fake_status(f, "POST", MEMBER "?strict=1", "{\"ipAssignments\":[\"x\"]}"),
                     400);
    assert_false(asks(f, 0xaa, "sesame"));
    assert_int_equal(fake_status(f, "GET", MEMBER, NULL), 404);
    assert_int_equal(fake_status(f, "POST", UNSTABLE "/removed/00000000aa", "{}"), 404);
    assert_int_equal(fake_status(f, "DELETE", UNSTABLE "/removed/00000000ab", NULL), 404);
    assert_int_equal(fake_status(f, "DELETE", UNSTABLE "/removed/00000000aa", NULL), 200);
    assert_int_equal(fake_status(f, "DELETE", UNSTABLE "/removed/00000000aa", NULL), 404);
    assert_true(asks(f, 0xaa, "sesame"));
}

static void test_public_network_takes_removed_members_back(void **state)
{
    struct fake *f = *state;
    fake_network(f, "{\"private\":false}");
    assert_true(asks(f, 0xaa, NULL));
    fake_status(f, "DELETE", MEMBER, NULL);
    assert_true(asks(f, 0xaa, NULL));
    fake_status(f, "POST", MEMBER, "{\"blocked\":true}");
    assert_false(asks(f, 0xaa, NULL));
}

/* CTL-115: a denied node is no pending one any more. */
static void test_denied_and_hidden_members(void **state)
{
    struct fake *f = *state;
    fake_network(f, "{}");
    asks(f, 0xaa, NULL);
    asks(f, 0xab, NULL);
    fake_status(f, "POST", MEMBER, "{\"blocked\":true}");
    fake_status(f, "POST", NET "/member/00000000ab",
                "{\"hidden\":\"true\",\"description\":\"spare\"}");
    for (int i = 0; i < 2; i++) {
        assert_int_equal(listed(f, UNSTABLE "/member?filter=pending"), 0);
        assert_int_equal(listed(f, UNSTABLE "/member?filter=hidden"), 1);
        assert_int_equal(listed(f, UNSTABLE "/member?filter=blocked"), 1);
        assert_int_equal(listed(f, UNSTABLE "/member"), 2);
        assert_false(asks(f, 0xaa, NULL));
        assert_false(asks(f, 0xab, NULL));
    }
    json_t *obj = fake_api(f, "GET", NET "/member/00000000ab", NULL);
    assert_true(json_is_true(json_object_get(obj, "hidden")));
    assert_string_equal(js(obj, "description"), "spare");
    json_decref(obj);
    obj = fake_api(f, "POST", NET "/member/00000000ab", "{\"hidden\":false,\"description\":7}");
    assert_null(json_object_get(obj, "hidden"));
    assert_string_equal(js(obj, "description"), "7");
    json_decref(obj);
}

/* The end of access: revocation, stored, kept out of public networks too, and ended by hand. */
static void test_access_ends_at_its_time(void **state)
{
    (void)state;
    char db[128];
    char body[100];
    struct fake f;
    fake_db_name(db, sizeof(db), "expiry");
    fake_init(&f, db);
    fake_network(&f, "{}");
    asks(&f, 0xbb, NULL);
    fake_status(&f, "POST", NET "/member/00000000bb", "{\"authorized\":true}");
    snprintf(body, sizeof(body), "{\"authorized\":true,\"accessExpiryTime\":%lld}",
             (long long)wall(&f) + 10000);
    fake_status(&f, "POST", MEMBER, body);
    assert_true(asks(&f, 0xaa, NULL));
    assert_true(asks(&f, 0xbb, NULL));
    fake_restart(&f);
    assert_true(asks(&f, 0xaa, NULL));
    assert_true(asks(&f, 0xbb, NULL));
    fake_clear(&f);
    unsigned before = f.events[CONTROLLER_MEMBER_DEAUTHORIZED];
    fake_run(&f, 10000);
    assert_int_equal(f.events[CONTROLLER_MEMBER_DEAUTHORIZED], before + 1);
    assert_int_equal(fake_last(&f, FAKE_REVOCATIONS, 0xbb)->revs[0].target, 0xaa);
    fake_restart(&f);
    json_t *obj = fake_api(&f, "GET", MEMBER, NULL);
    assert_true(json_is_false(json_object_get(obj, "authorized")));
    assert_true(ji(obj, "lastDeauthorizedTime") >= ji(obj, "accessExpiryTime"));
    json_decref(obj);
    assert_false(asks(&f, 0xaa, NULL));
    fake_status(&f, "POST", NET, "{\"private\":false}");
    assert_false(asks(&f, 0xaa, NULL));
    obj = fake_api(&f, "POST", MEMBER, "{\"authorized\":true}");
    assert_null(json_object_get(obj, "accessExpiryTime"));
    assert_int_equal(json_array_size(json_object_get(obj, "warnings")), 1);
    json_decref(obj);
    assert_true(asks(&f, 0xaa, NULL));
    fake_done(&f);
    fake_db_remove(db);
}

static void test_access_that_ended_while_we_were_away(void **state)
{
    (void)state;
    char db[128];
    char body[100];
    struct fake f;
    fake_db_name(db, sizeof(db), "expired");
    fake_init(&f, db);
    fake_network(&f, "{}");
    snprintf(body, sizeof(body), "{\"authorized\":true,\"accessExpiryTime\":%lld}",
             (long long)wall(&f) + 5000);
    fake_status(&f, "POST", MEMBER, body);
    assert_true(asks(&f, 0xaa, NULL));
    controller_free(f.c, f.now_ms);
    f.now_ms += 60000;
    fake_start(&f);
    fake_wait_loaded(&f);
    assert_false(asks(&f, 0xaa, NULL));
    json_t *obj = fake_api(&f, "GET", MEMBER, NULL);
    assert_true(json_is_false(json_object_get(obj, "authorized")));
    json_decref(obj);
    obj = fake_api(&f, "POST", MEMBER, "{\"accessExpiryTime\":null}");
    assert_null(json_object_get(obj, "accessExpiryTime"));
    json_decref(obj);
    fake_done(&f);
    fake_db_remove(db);
}

/* CTL-50, 12.7: another key is refused, kept and shown, and accepted only by name. */
static void test_other_key_is_accepted_only_explicitly(void **state)
{
    (void)state;
    char db[128];
    char body[300];
    struct fake f;
    fake_db_name(db, sizeof(db), "clash");
    fake_init(&f, db);
    fake_network(&f, "{}");
    fake_status(&f, "POST", MEMBER, "{\"authorized\":true}");
    fake_status(&f, "POST", NET "/member/00000000bb", "{\"authorized\":true}");
    assert_true(asks(&f, 0xbb, NULL));
    assert_true(asks(&f, 0xaa, NULL));
    json_t *obj = fake_api(&f, "GET", MEMBER, NULL);
    char *old = strdup(js(obj, "identity"));
    assert_null(json_object_get(obj, "identityClash"));
    json_decref(obj);
    struct netconf_meta meta = {.protocol = 12, .rules_revision = 1};
    struct identity other = fake_member(0xaa);
    other.pub[3] ^= 1;
    for (int i = 0; i < 2; i++) {
        fake_clear(&f);
        fake_run(&f, 1500);
        fake_request_meta(&f, FAKE_NWID, &other, &meta);
        assert_int_equal(fake_last(&f, FAKE_ERROR, 0xaa)->code, ERROR_NETWORK_ACCESS_DENIED);
    }
    fake_restart(&f); /* first sight was stored */
    obj = fake_api(&f, "GET", MEMBER, NULL);
    const json_t *clash = json_object_get(obj, "identityClash");
    assert_string_equal(js(obj, "identity"), old);
    assert_string_not_equal(js(clash, "identity"), old);
    assert_true(ji(clash, "count") >= 1);
    snprintf(body, sizeof(body), "{\"identity\":\"%s\"}", js(clash, "identity"));
    json_decref(obj);
    static const char path[] = MEMBER "/accept-identity";
    assert_int_equal(fake_status(&f, "POST", path, "{}"), 400);
    assert_int_equal(fake_status(&f, "POST", path, "{\"identity\":\"00000000aa:0:12\"}"), 400);
    assert_int_equal(fake_status(&f, "POST", NET "/member/00000000cc/accept-identity", body), 404);
    assert_int_equal(fake_status(&f, "POST", NET "/member/00000000bb/accept-identity", body), 400);
    assert_true(asks(&f, 0xaa, NULL)); /* the old one is still good */
    assert_true(asks(&f, 0xbb, NULL));
    fake_clear(&f);
    obj = fake_api(&f, "POST", path, body);
    assert_int_equal(f.status, 200);
    assert_string_not_equal(js(obj, "identity"), old);
    assert_true(json_is_true(json_object_get(obj, "authorized")));
    json_decref(obj);
    fake_run(&f, 1500);
    assert_int_equal(fake_last(&f, FAKE_REVOCATIONS, 0xbb)->revs[0].target, 0xaa);
    fake_restart(&f);
    fake_clear(&f);
    fake_run(&f, 1500);
    fake_request_meta(&f, FAKE_NWID, &other, &meta);
    assert_non_null(fake_last(&f, FAKE_CONFIG, 0xaa));
    assert_false(asks(&f, 0xaa, NULL)); /* now this one clashes */
    obj = fake_api(&f, "GET", UNSTABLE "/member/00000000aa", NULL);
    assert_string_equal(js(json_object_get(obj, "identityClash"), "identity"), old);
    assert_non_null(json_object_get(obj, "live"));
    json_decref(obj);
    free(old);
    fake_done(&f);
    fake_db_remove(db);
}

/* A key told in advance must belong to the address. */
static void test_key_is_pinned_in_advance(void **state)
{
    struct fake *f = *state;
    json_t *vectors = json_load_file(VECTOR_DIR "/identity-crypto.json", 0, NULL);
    const json_t *known = json_array_get(json_object_get(vectors, "identities"), 0);
    const char *text = js(known, "public");
    char member[100];
    char path[120];
    char body[400];
    fake_network(f, "{}");
    snprintf(member, sizeof(member), NET "/member/%.10s", text);
    snprintf(path, sizeof(path), "%s/accept-identity", member);
    snprintf(body, sizeof(body), "{\"identity\":\"%s\"}", text);
    assert_int_equal(fake_status(f, "POST", path, body), 404);
    fake_status(f, "POST", member, "{}");
    json_t *obj = fake_api(f, "POST", path, body);
    assert_int_equal(f->status, 200);
    assert_string_equal(js(obj, "identity"), text);
    assert_int_equal(ji(obj, "revision"), 2);
    json_decref(obj);
    obj = fake_api(f, "POST", path, body);
    assert_int_equal(ji(obj, "revision"), 2);
    json_decref(obj);
    char *digit = strchr(strchr(body, ':') + 1, ':') + 20; /* inside the key */
    *digit = *digit == '0' ? '1' : '0';
    assert_int_equal(fake_status(f, "POST", path, body), 400);
    json_decref(vectors);
}

/* CTL-118: a change of an old revision is refused. */
static void test_second_editor_gets_a_conflict(void **state)
{
    struct fake *f = *state;
    fake_network(f, "{\"name\":\"a\"}");
    fake_status(f, "POST", MEMBER, "{}");
    static const struct {
        const char *method;
        const char *path;
        const char *body;
        unsigned status;
    } cases[] = {
        {"POST", NET "?revision=1", "{\"name\":\"b\"}", 200},
        {"POST", NET "?revision=1", "{\"name\":\"c\"}", 409},
        {"POST", NET "?revision=%222%22", "{\"name\":\"d\"}", 200},
        {"POST", NET "?revision=x", "{\"name\":\"e\"}", 400},
        {"DELETE", NET "?revision=2", NULL, 409},
        {"POST", MEMBER "?revision=0", "{}", 409},
        {"POST", MEMBER "?revision=1", "{\"name\":\"x\"}", 200},
        {"POST", MEMBER "?revision=1", "{\"name\":\"y\"}", 409},
        {"POST", MEMBER "/accept-identity?revision=1", "{}", 409},
        {"DELETE", MEMBER "?revision=1", NULL, 409},
        {"GET", MEMBER "?revision=1", NULL, 200},
        {"POST", NET "/member/00000000bb?revision=0", "{}", 200},
        {"DELETE", MEMBER "?revision=2", NULL, 200},
        {"POST", MEMBER "?revision=2", "{}", 409},
        {"DELETE", NET "?revision=3", NULL, 200},
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        json_t *obj = fake_api(f, cases[i].method, cases[i].path, cases[i].body);
        if (f->status != cases[i].status) {
            fail_msg("case %zu: status %u", i, f->status);
        }
        assert_true(f->status != 409 || json_is_integer(json_object_get(obj, "revision")));
        json_decref(obj);
    }
}

/* 10.4: a token names, tags and limits those it lets in. */
static void test_join_token_with_defaults(void **state)
{
    struct fake *f = *state;
    fake_network(f, "{\"capabilities\":[{\"id\":7,\"rules\":[]},{\"id\":9,\"default\":true}],"
                    "\"tags\":[{\"id\":1,\"default\":4},{\"id\":2}]}");
    json_t *obj = fake_api(f, "POST", NET "/invite-token",
                           "{\"token\":\"guest\",\"uses\":2,\"name\":\"guest-{address}!\",\"tags\":"
                           "[[1,5],[2,6]],\"capabilities\":[7],\"accessDuration\":60000}");
    assert_int_equal(f->status, 200);
    assert_string_equal(js(obj, "name"), "guest-{address}!");
    assert_int_equal(ji(obj, "accessDuration"), 60000);
    json_decref(obj);
    fake_status(f, "POST", NET "/member/00000000bb", "{\"name\":\"mine\",\"tags\":[[1,8]]}");
    static const struct {
        const char *path;
        uint64_t address;
        const char *name;
        json_int_t tag;
    } cases[] = {
        {MEMBER, 0xaa, "guest-00000000aa!", 5},
        {NET "/member/00000000bb", 0xbb, "mine", 8},
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        assert_true(asks(f, cases[i].address, "guest"));
        struct netconf conf;
        fake_config(f, cases[i].address, &conf);
        assert_int_equal(conf.tag_count, 2);
        assert_int_equal(conf.capability_count, 2);
        netconf_free(&conf);
        obj = fake_api(f, "GET", cases[i].path, NULL);
        assert_string_equal(js(obj, "name"), cases[i].name);
        assert_int_equal(ji(obj, "accessExpiryTime"), wall(f) + 60000);
        const json_t *tag = json_array_get(json_object_get(obj, "tags"), 0);
        assert_int_equal(json_integer_value(json_array_get(tag, 1)), cases[i].tag);
        json_decref(obj);
    }
    obj = fake_api(f, "GET", NET, NULL); /* used up, nothing is left of it */
    assert_null(json_object_get(obj, "authTokenDefaults"));
    json_decref(obj);
    fake_run(f, 61000);
    assert_false(asks(f, 0xaa, "guest"));
    static const char *const bad[] = {
        "{\"name\":5}",
        "{\"tags\":[1]}",
        "{\"tags\":[[1,\"x\"]]}",
        "{\"capabilities\":3}",
        "{\"capabilities\":[\"x\"]}",
        "{\"accessDuration\":\"x1\"}",
        "{\"accessDuration\":-4}",
    };
    for (size_t i = 0; i < COUNT_OF(bad); i++) {
        assert_int_equal(fake_status(f, "POST", NET "/invite-token", bad[i]), 400);
    }
}

/* 12.30: what the controller knows of a member by itself, kept over a restart. */
static void test_live_state_of_a_member(void **state)
{
    (void)state;
    char db[128];
    struct fake f;
    fake_db_name(db, sizeof(db), "live");
    fake_init(&f, db);
    fake_network(&f, "{\"private\":false}");
    struct identity id = fake_member(0xaa);
    controller_holds(f.c, FAKE_NWID, &id, 9, 1); /* nobody there */
    assert_true(asks(&f, 0xaa, NULL));
    json_int_t seen = wall(&f);
    controller_holds(f.c, FAKE_NWID, &id, 3, 1700000001234);
    struct identity other = id;
    other.pub[0] ^= 1;
    controller_holds(f.c, FAKE_NWID, &other, 4, 5); /* another key says nothing */
    for (int i = 0; i < 2; i++) {
        json_t *obj = fake_api(&f, "GET", UNSTABLE "/member/00000000aa", NULL);
        const json_t *live = json_object_get(obj, "live");
        assert_true(json_is_true(json_object_get(live, "online")));
        assert_true(json_is_true(json_object_get(live, "direct")));
        assert_string_equal(js(live, "physicalAddress"), "192.0.2.7");
        assert_string_equal(js(live, "os"), "linux/x86_64");
        assert_int_equal(ji(live, "lastSeen"), seen);
        assert_int_equal(ji(live, "configRevision"), 3);
        assert_int_equal(ji(live, "configTime"), 1700000001234);
        json_decref(obj);
        fake_restart(&f);
    }
    fake_done(&f);
    fake_db_remove(db);
}

/* CTL-116: a relayed member is online, and it is known where it was seen directly before. */
static void test_relayed_member_is_online(void **state)
{
    (void)state;
    char db[128];
    char text[NETCONF_META_MAX + 1];
    size_t len = 0;
    struct fake f;
    struct inetaddr nowhere = {.family = INETADDR_NIL};
    struct netconf_meta meta = netconf_meta_default();
    struct identity id = fake_member(0xaa);
    fake_db_name(db, sizeof(db), "relayed");
    fake_init(&f, db);
    fake_network(&f, "{\"private\":false}");
    assert_true(asks(&f, 0xaa, NULL));
    fake_run(&f, 1500);
    meta.major = 1;
    meta.minor = 16;
    assert_int_equal(netconf_meta_encode(&meta, text, sizeof(text), &len), 0);
    controller_request(f.c, FAKE_NWID, &nowhere, ++f.request, &id, text, len, f.now_ms);
    fake_settle(&f);
    json_int_t seen = wall(&f);
    for (int i = 0; i < 2; i++) {
        json_t *obj = fake_api(&f, "GET", UNSTABLE "/member/00000000aa", NULL);
        const json_t *live = json_object_get(obj, "live");
        assert_true(json_is_true(json_object_get(live, "online")));
        assert_true(json_is_false(json_object_get(live, "direct")));
        assert_string_equal(js(live, "physicalAddress"), "192.0.2.7");
        assert_int_equal(ji(live, "lastSeen"), seen);
        assert_int_equal(ji(obj, "vMinor"), 16);
        json_decref(obj);
        fake_restart(&f);
    }
    fake_done(&f);
    fake_db_remove(db);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_removed_member_stays_removed),
        cmocka_unit_test_setup_teardown(test_removed_member_may_ask_again, fake_setup,
                                        fake_teardown),
        cmocka_unit_test_setup_teardown(test_public_network_takes_removed_members_back, fake_setup,
                                        fake_teardown),
        cmocka_unit_test_setup_teardown(test_denied_and_hidden_members, fake_setup, fake_teardown),
        cmocka_unit_test(test_access_ends_at_its_time),
        cmocka_unit_test(test_other_key_is_accepted_only_explicitly),
        cmocka_unit_test_setup_teardown(test_key_is_pinned_in_advance, fake_setup, fake_teardown),
        cmocka_unit_test_setup_teardown(test_second_editor_gets_a_conflict, fake_setup,
                                        fake_teardown),
        cmocka_unit_test_setup_teardown(test_join_token_with_defaults, fake_setup, fake_teardown),
        cmocka_unit_test(test_live_state_of_a_member),
        cmocka_unit_test(test_relayed_member_is_online),
        cmocka_unit_test(test_access_that_ended_while_we_were_away),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
