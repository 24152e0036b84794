/* Webhooks: bodies and signature (vector of spec 04 section 6.6), once per change (CTL-104), two
 * secrets (CTL-105), retries with growing pauses over restarts (CTL-106), bounded queues. */
#include "fake.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/hex.h"
#include "controller/controller_priv.h"
#include "controller/hooks.h"

#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define NET    "/controller/network/12a402e62ed49ba9"
#define MEMBER NET "/member/aabbccddee"
#define SECRET "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f"

/* Make a webhook from a body; its path, for use before the next call. */
static const char *make(struct fake *f, const char *body)
{
    static char path[64];
    json_t *obj = fake_api(f, "POST", "/controller/hook", body);
    assert_int_equal(f->status, 200);
    snprintf(path, sizeof(path), "/controller/hook/%s", js(obj, "id"));
    json_decref(obj);
    return path;
}

static const char *sub(const char *path, const char *rest)
{
    static char out[400];
    snprintf(out, sizeof(out), "%s/%s", path, rest);
    return out;
}

/* Answer everything that is posted until nothing more comes. */
static void answer_all(struct fake *f, unsigned status)
{
    for (size_t done = f->posts_done; done < f->post_count; done = f->posts_done) {
        f->posts_done++;
        controller_hook_done(f->c, f->posts[done].delivery, status, NULL, f->now_ms);
        fake_settle(f);
    }
}

/* A post as JSON: new reference. */
static json_t *posted(const struct fake *f, size_t i)
{
    assert_true(i < f->post_count);
    json_t *obj = json_loads(f->posts[i].body, 0, NULL);
    assert_non_null(obj);
    return obj;
}

/* Types posted since the start, joined by commas. */
static const char *posted_types(const struct fake *f)
{
    static char out[1024];
    out[0] = '\0';
    for (size_t i = 0; i < f->post_count; i++) {
        json_t *obj = posted(f, i);
        snprintf(out + strlen(out), sizeof(out) - strlen(out), "%s%s", i > 0 ? "," : "",
                 js(obj, "hook_type"));
        json_decref(obj);
    }
    return out;
}

/* CTL-105 */
static void test_signature_vector(void **state)
{
    (void)state;
    static const char body[] = "{\"hook_id\":\"1\",\"org_id\":\"2\",\"hook_type\":\"NETWORK_JOIN\","
                               "\"network_id\":\"8056c2e21c000001\",\"member_id\":\"deadbeef11\"}";
    struct hook hook = {.secret_count = 1};
    char out[HOOK_SIGNATURE_LEN];
    assert_int_equal(hex_decode(SECRET, strlen(SECRET), hook.secrets[0].bytes, 32), 0);
    hook.secrets[0].len = 32;
    hook_sign(&hook, 1700000000, body, strlen(body), out);
    assert_string_equal(out,
                        "t=1700000000,v1=16a045e3bd88c2b6d5ba70ec808d5035aa799d85308254ae5fc45c"
                        "7e820151d5");
    for (size_t i = 1; i < HOOK_SECRETS_MAX; i++) {
        hook.secrets[i].len = HOOK_SECRET_MAX;
        hook.secret_count++;
    }
    hook_sign(&hook, INT64_MAX, body, strlen(body), out); /* the longest there is */
    assert_non_null(strstr(out, ",v4="));
    assert_int_equal(strlen(strstr(out, ",v4=")), 4 + 64);
}

static void assert_keys(const json_t *obj, const char *want)
{
    char text[300] = "";
    const char *key;
    json_t *value;
    json_object_foreach((json_t *)(uintptr_t)obj, key, value)
    {
        snprintf(text + strlen(text), sizeof(text) - strlen(text), "%s ", key);
    }
    assert_string_equal(text, want);
}

/* CTL-104: each change is told once, with its fields in their order. */
static void test_each_change_is_told_once(void **state)
{
    struct fake *f = *state;
    f->actor = (struct actor){.kind = ACTOR_USER, .user = 5, .name = "Eve", .email = "eve@ex.org"};
    make(f, "{\"url\":\"https://ex.org/h\",\"secrets\":[\"" SECRET "\"]}");
    static const struct {
        const char *method; /* NULL: the member asks */
        const char *path;
        const char *body;
        const char *types;
    } steps[] = {
        {"POST", NET, "{\"authTokens\":{\"t0ken\":0}}", "NETWORK_CREATED"},
        {"POST", NET, "{\"name\":\"n\",\"routes\":[{\"target\":\"10.1.0.0/24\"}]}",
         "NETWORK_CONFIG_CHANGED"},
        {"POST", NET, "{\"name\":\"n\"}", ""},
        {"POST", NET, "{\"authTokens\":{\"t0ken2\":0}}", ""},
        {"POST", NET "/invite-token", "{\"token\":\"t0ken3\",\"uses\":2,\"name\":\"n\"}", ""},
        {"POST", NET, "{\"name\":\"n2\"}", "NETWORK_CONFIG_CHANGED"},
        {NULL, NULL, NULL, "NETWORK_JOIN"},
        {NULL, NULL, NULL, ""},
        {"POST", MEMBER, "{\"authorized\":true}", "NETWORK_AUTH"},
        {NULL, NULL, NULL, ""},
        {"POST", MEMBER, "{\"name\":\"x\"}", "MEMBER_CONFIG_CHANGED"},
        {"POST", MEMBER, "{\"name\":\"y\",\"authorized\":false}",
         "NETWORK_DEAUTH,MEMBER_CONFIG_CHANGED"},
        {"DELETE", MEMBER, NULL, "MEMBER_DELETED"},
        {"POST", NET "/member/0000000001", "{\"authorized\":true}",
         "NETWORK_AUTH,MEMBER_CONFIG_CHANGED"},
        {"DELETE", NET, NULL, "NETWORK_DELETED"},
    };
    for (size_t i = 0; i < COUNT_OF(steps); i++) {
        fake_clear_posts(f);
        if (steps[i].method != NULL) {
            assert_int_equal(fake_status(f, steps[i].method, steps[i].path, steps[i].body), 200);
        } else {
            fake_request(f, FAKE_NWID, 0xaabbccddee, NULL);
        }
        fake_settle(f);
        answer_all(f, 204);
        assert_string_equal(posted_types(f), steps[i].types);
        for (size_t j = 0; j < f->post_count; j++) {
            assert_null(strstr(f->posts[j].body, "t0ken"));
        }
    }
}

static void test_bodies_have_the_fields_of_the_hosted_service(void **state)
{
    struct fake *f = *state;
    const char *path = make(f, "{\"url\":\"http://ex.org\",\"secrets\":[\"" SECRET "\"]}");
    char id[17];
    snprintf(id, sizeof(id), "%s", strrchr(path, '/') + 1);
    f->actor = (struct actor){.kind = ACTOR_USER, .user = 5, .name = "Eve", .email = "eve@ex.org"};
    fake_network(f, "{\"routes\":[{\"target\":\"10.1.0.0/24\"},{\"target\":\"10.2.0.0/24\","
                    "\"via\":\"10.1.0.1\"}],\"authTokens\":{\"t\":0}}");
    fake_status(f, "POST", NET, "{\"name\":\"n\"}");
    fake_request(f, FAKE_NWID, 0xaabbccddee, "t");
    fake_status(f, "DELETE", MEMBER, NULL);
    fake_settle(f);
    answer_all(f, 200);
    assert_string_equal(posted_types(f), "NETWORK_CREATED,NETWORK_CONFIG_CHANGED,NETWORK_JOIN,"
                                         "NETWORK_AUTH,MEMBER_DELETED");
    json_t *obj = posted(f, 0);
    assert_keys(obj, "hook_id org_id hook_type network_id network_config user_id user_email ");
    assert_string_equal(js(obj, "hook_id"), id);
    assert_string_equal(js(obj, "org_id"), "00000012a402e62e");
    assert_string_equal(js(obj, "user_id"), "0000000000000005");
    assert_string_equal(js(obj, "user_email"), "eve@ex.org");
    const json_t *config = json_object_get(obj, "network_config");
    assert_true(json_is_null(json_object_get(config, "authTokens")));
    assert_string_equal(js(json_object_get(config, "dns"), "domain"), "");
    assert_true(json_is_null(json_object_get(json_object_get(config, "dns"), "servers")));
    const json_t *routes = json_object_get(config, "routes");
    assert_keys(json_array_get(routes, 0), "target ");
    assert_string_equal(js(json_array_get(routes, 1), "via"), "10.1.0.1");
    json_decref(obj);
    obj = posted(f, 1);
    assert_keys(obj,
                "hook_id org_id hook_type network_id old_config new_config user_id user_email ");
    assert_string_equal(js(json_object_get(obj, "old_config"), "name"), "");
    assert_string_equal(js(json_object_get(obj, "new_config"), "name"), "n");
    json_decref(obj);
    char want[300];
    snprintf(want, sizeof(want),
             "{\"hook_id\":\"%s\",\"org_id\":\"00000012a402e62e\",\"hook_type\":\"NETWORK_JOIN\","
             "\"network_id\":\"12a402e62ed49ba9\",\"member_id\":\"aabbccddee\"}",
             id);
    assert_string_equal(f->posts[2].body, want);
    obj = posted(f, 3);
    assert_keys(obj, "hook_id org_id hook_type network_id member_id user_id user_email ");
    assert_string_equal(js(obj, "user_id"), "");
    json_decref(obj);
    obj = posted(f, 4);
    assert_keys(obj,
                "hook_id org_id hook_type network_id member_id old_config user_id user_email ");
    config = json_object_get(obj, "old_config");
    assert_true(json_is_null(json_object_get(config, "lastAuthorizedCredential")));
    assert_string_equal(js(config, "lastAuthorizedCredentialType"), "token");
    json_decref(obj);
}

static void test_types_and_enabled_decide(void **state)
{
    struct fake *f = *state;
    make(f, "{\"url\":\"http://a.ex\",\"types\":[\"NETWORK_DELETED\",\"NETWORK_CREATED\"]}");
    char path[64];
    snprintf(path, sizeof(path), "%s", make(f, "{\"url\":\"http://b.ex\",\"enabled\":false}"));
    fake_network(f, "{}");
    fake_status(f, "POST", NET, "{\"name\":\"n\"}");
    answer_all(f, 200);
    assert_string_equal(posted_types(f), "NETWORK_CREATED");
    assert_int_equal(fake_status(f, "POST", sub(path, "test"), ""), 409);
    assert_int_equal(fake_status(f, "POST", path, "{\"enabled\":true}"), 200);
    assert_int_equal(fake_status(f, "POST", sub(path, "test"), ""), 200);
    fake_settle(f);
    answer_all(f, 200);
    assert_string_equal(posted_types(f), "NETWORK_CREATED,TEST");
}

static void test_settings_are_checked_and_secrets_hidden(void **state)
{
    struct fake *f = *state;
    static const char *const bad[] = {
        "{}",
        "[]",
        "{\"url\":5}",
        "{\"url\":\"ftp://ex.org\"}",
        "{\"url\":\"file:///etc/passwd\"}",
        "{\"url\":\"http://\"}",
        "{\"url\":\"http:///x\"}",
        "{\"url\":\"http://ex.org/ x\"}",
        "{\"url\":\"http://ex.org/\\r\\nX: y\"}",
        "{\"url\":\"http://ex.org\",\"types\":[\"NOPE\"]}",
        "{\"url\":\"http://ex.org\",\"types\":\"NETWORK_JOIN\"}",
        "{\"url\":\"http://ex.org\",\"secrets\":[]}",
        "{\"url\":\"http://ex.org\",\"secrets\":[\"00\"]}",
        "{\"url\":\"http://ex.org\",\"secrets\":[\"********\"]}",
        "{\"url\":\"http://ex.org\",\"secrets\":\"" SECRET "\"}",
        "{\"url\":\"http://ex.org\",\"secrets\":[\"" SECRET "\",\"" SECRET "\",\"" SECRET
        "\",\"" SECRET "\",\"" SECRET "\"]}",
        "{\"url\":\"http://ex.org\",\"description\":4}",
    };
    for (size_t i = 0; i < COUNT_OF(bad); i++) {
        assert_int_equal(fake_status(f, "POST", "/controller/hook", bad[i]), 400);
    }
    /* a secret that is made here is shown once */
    json_t *obj = fake_api(f, "POST", "/controller/hook", "{\"url\":\"https://ex.org/k3y\"}");
    const char *made = json_string_value(json_array_get(json_object_get(obj, "secrets"), 0));
    assert_int_equal(strlen(made), 64);
    char path[64];
    char first[65];
    snprintf(path, sizeof(path), "/controller/hook/%s", js(obj, "id"));
    snprintf(first, sizeof(first), "%s", made);
    json_decref(obj);
    obj = fake_api(f, "GET", path, NULL);
    made = json_string_value(json_array_get(json_object_get(obj, "secrets"), 0));
    assert_string_equal(made, HOOK_MASK);
    /* what was read can be posted, and a second secret beside the one that is hidden */
    char *text = json_dumps(obj, 0);
    assert_int_equal(fake_status(f, "POST", path, text), 200);
    free(text);
    json_decref(obj);
    assert_int_equal(
        fake_status(f, "PUT", path, "{\"secrets\":[\"" HOOK_MASK "\",\"" SECRET "\"]}"), 200);
    const struct hook *hook = CONTAINER_OF(f->c->hooks->list.next, struct hook, link);
    char hex[2 * HOOK_SECRET_MAX + 1];
    assert_int_equal(hook->secret_count, 2);
    hex_encode(hook->secrets[0].bytes, hook->secrets[0].len, hex);
    assert_string_equal(hex, first);
    hex_encode(hook->secrets[1].bytes, hook->secrets[1].len, hex);
    assert_string_equal(hex, SECRET);
    /* and none of it is in the log */
    json_t *log = fake_api(f, "GET", "/controller/log", NULL);
    text = json_dumps(log, 0);
    assert_null(strstr(text, first));
    assert_null(strstr(text, SECRET));
    assert_null(strstr(text, "k3y"));
    assert_non_null(strstr(text, "hook.created"));
    assert_non_null(strstr(text, "hook.changed"));
    free(text);
    json_decref(log);
    for (int i = 1; i < HOOKS_MAX; i++) {
        make(f, "{\"url\":\"http://ex.org\"}");
    }
    assert_int_equal(fake_status(f, "POST", "/controller/hook", "{\"url\":\"http://e.x\"}"), 409);
    assert_int_equal(fake_status(f, "DELETE", path, NULL), 200);
    assert_int_equal(fake_status(f, "GET", path, NULL), 404);
    obj = fake_api(f, "GET", "/controller/hook", NULL);
    assert_int_equal(json_array_size(json_object_get(obj, "data")), HOOKS_MAX - 1);
    json_decref(obj);
}

/* CTL-106 with a clock of our own. */
static void test_retries_grow_to_an_hour_and_end(void **state)
{
    struct fake *f = *state;
    static const int64_t pauses_s[] = {60, 120, 240, 480, 960, 1920, 3600, 3600, 3600};
    char path[64];
    snprintf(path, sizeof(path), "%s", make(f, "{\"url\":\"http://a.ex\"}"));
    fake_status(f, "POST", sub(path, "test"), "");
    fake_settle(f);
    for (size_t i = 0; i < HOOK_ATTEMPTS_MAX; i++) {
        assert_int_equal(f->post_count, i + 1);
        f->posts_done = i;
        answer_all(f, i % 2 != 0 ? 500 : 0);
        if (i < COUNT_OF(pauses_s)) {
            f->now_ms += pauses_s[i] * 1000 - 1;
            controller_tick(f->c, f->now_ms);
            assert_int_equal(f->post_count, i + 1);
            f->now_ms++;
            controller_tick(f->c, f->now_ms);
        }
    }
    f->now_ms += 86400000;
    controller_tick(f->c, f->now_ms);
    assert_int_equal(f->post_count, HOOK_ATTEMPTS_MAX);
    json_t *obj = fake_api(f, "GET", sub(path, "delivery"), NULL);
    const json_t *d = json_array_get(json_object_get(obj, "data"), 0);
    assert_string_equal(js(d, "state"), "failed");
    assert_int_equal(ji(d, "attempt"), 10);
    assert_int_equal(ji(d, "status"), 500);
    assert_true(json_is_null(json_object_get(d, "next")));
    assert_int_equal(json_array_size(json_object_get(d, "attempts")), 10);
    char one[160];
    snprintf(one, sizeof(one), "%s/delivery/%s", path, js(d, "id"));
    json_decref(obj);
    obj = fake_api(f, "GET", "/controller/log?type=hook.failed", NULL);
    assert_int_equal(json_array_size(json_object_get(obj, "data")), 1);
    json_decref(obj);
    /* by hand it goes from the start */
    assert_int_equal(fake_status(f, "POST", sub(one, "retry"), ""), 200);
    fake_settle(f);
    assert_int_equal(f->post_count, HOOK_ATTEMPTS_MAX + 1);
    assert_int_equal(fake_status(f, "POST", sub(one, "retry"), ""), 409);
    f->posts_done = f->post_count - 1;
    answer_all(f, 200);
    obj = fake_api(f, "GET", one, NULL);
    assert_string_equal(js(obj, "state"), "delivered");
    assert_non_null(strstr(js(obj, "body"), "\"TEST\""));
    json_decref(obj);
}

/* Over restarts: what waits goes on where it was, what was told is told no more. */
static void test_restart_goes_on(void **state)
{
    (void)state;
    char db[128];
    struct fake f;
    fake_db_name(db, sizeof(db), "hooks");
    fake_init(&f, db);
    char path[64];
    snprintf(path, sizeof(path), "%s",
             make(&f, "{\"url\":\"http://a.ex\",\"secrets\":[\"" SECRET "\"]}"));
    fake_network(&f, "{}");
    fake_settle(&f);
    answer_all(&f, 500);
    fake_status(&f, "POST", NET, "{\"name\":\"a\"}");
    fake_settle(&f);
    answer_all(&f, 200);
    fake_status(&f, "POST", NET, "{\"name\":\"b\"}");
    fake_settle(&f);
    assert_string_equal(posted_types(&f),
                        "NETWORK_CREATED,NETWORK_CONFIG_CHANGED,NETWORK_CONFIG_CHANGED");
    fake_clear_posts(&f);
    fake_restart(&f); /* the last one was under way */
    controller_tick(f.c, f.now_ms);
    fake_settle(&f);
    answer_all(&f, 200);
    assert_string_equal(posted_types(&f), "NETWORK_CONFIG_CHANGED");
    json_t *obj = posted(&f, 0);
    assert_string_equal(js(json_object_get(obj, "new_config"), "name"), "b");
    json_decref(obj);
    fake_clear_posts(&f);
    f.now_ms += 60001;
    fake_restart(&f);
    fake_settle(&f);
    answer_all(&f, 200);
    assert_string_equal(posted_types(&f), "NETWORK_CREATED");
    fake_clear_posts(&f);
    f.now_ms += 86400000;
    fake_restart(&f);
    controller_tick(f.c, f.now_ms);
    fake_settle(&f);
    assert_int_equal(f.post_count, 0);
    obj = fake_api(&f, "GET", sub(path, "delivery"), NULL);
    assert_int_equal(json_array_size(json_object_get(obj, "data")), 3);
    for (size_t i = 0; i < 3; i++) {
        assert_string_equal(js(json_array_get(json_object_get(obj, "data"), i), "state"),
                            "delivered");
    }
    json_decref(obj);
    /* a deleted webhook leaves nothing behind */
    fake_status(&f, "DELETE", path, NULL);
    fake_restart(&f);
    assert_int_equal(f.c->hooks->count, 0);
    assert_int_equal(f.errors, 0);
    fake_done(&f);
    fake_db_remove(db);
}

/* Nothing is told before its change is committed. */
static void test_nothing_leaves_before_the_commit(void **state)
{
    (void)state;
    char db[128];
    struct fake f;
    fake_db_name(db, sizeof(db), "hooks-commit");
    fake_init(&f, db);
    make(&f, "{\"url\":\"http://a.ex\"}");
    fake_network(&f, "{}");
    struct store_tx *tx = store_tx_new();
    struct note note = {.type = NOTE_MEMBER_REQUEST, .nwid = FAKE_NWID, .member = 1};
    answer_all(&f, 200);
    fake_clear_posts(&f);
    assert_int_equal(note_add(f.c, tx, &note, f.now_ms), 0);
    hooks_run(f.c, f.now_ms);
    controller_tick(f.c, f.now_ms);
    assert_int_equal(f.post_count, 0);
    controller_commit(f.c, tx, NULL, NULL);
    fake_settle(&f);
    assert_int_equal(f.post_count, 1);
    fake_done(&f);
    fake_db_remove(db);
}

static void tell(struct fake *f, bool anyone, int n)
{
    for (int i = 0; i < n; i++) {
        struct note note = {.type = NOTE_MEMBER_REQUEST,
                            .nwid = FAKE_NWID,
                            .member = (uint64_t)i + 1,
                            .anyone = anyone};
        assert_int_equal(note_add(f->c, NULL, &note, f->now_ms), 0);
        controller_commit(f->c, NULL, NULL, NULL);
    }
}

static void test_queue_is_bounded_and_strangers_have_a_share(void **state)
{
    struct fake *f = *state;
    char path[64];
    snprintf(path, sizeof(path), "%s", make(f, "{\"url\":\"http://a.ex\"}"));
    struct hook *hook = CONTAINER_OF(f->c->hooks->list.next, struct hook, link);
    tell(f, false, 10);
    tell(f, true, 2 * HOOK_QUEUE_MAX);
    assert_int_equal(hook->pending_anyone, HOOK_QUEUE_ANYONE);
    assert_int_equal(hook->pending_count, HOOK_QUEUE_ANYONE + 10);
    tell(f, false, 2 * HOOK_QUEUE_MAX);
    assert_int_equal(hook->pending_count, HOOK_QUEUE_MAX);
    assert_int_equal(hook->finished_count, HOOK_KEPT);
    json_t *obj = fake_api(f, "GET", "/controller/log?type=hook.dropped", NULL);
    assert_int_equal(json_array_size(json_object_get(obj, "data")), 1);
    json_decref(obj);
    obj = fake_api(f, "GET", sub(path, "delivery"), NULL);
    assert_int_equal(json_array_size(json_object_get(obj, "data")), HOOK_QUEUE_MAX + HOOK_KEPT);
    json_decref(obj);
}

static void test_large_configurations_are_left_out(void **state)
{
    struct fake *f = *state;
    make(f, "{\"url\":\"http://a.ex\"}");
    char *text = malloc(HOOK_BODY_MAX + 100);
    int n = snprintf(text, 100, "{\"rulesSource\":\"#");
    memset(text + n, 'a', HOOK_BODY_MAX);
    snprintf(text + n + HOOK_BODY_MAX, 50, "\\naccept;\"}");
    fake_network(f, text);
    free(text);
    answer_all(f, 200);
    json_t *obj = posted(f, 0);
    assert_string_equal(js(obj, "hook_type"), "NETWORK_CREATED");
    assert_true(json_is_null(json_object_get(obj, "network_config")));
    json_decref(obj);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_signature_vector),
        cmocka_unit_test_setup_teardown(test_each_change_is_told_once, fake_setup, fake_teardown),
        cmocka_unit_test_setup_teardown(test_bodies_have_the_fields_of_the_hosted_service,
                                        fake_setup, fake_teardown),
        cmocka_unit_test_setup_teardown(test_types_and_enabled_decide, fake_setup, fake_teardown),
        cmocka_unit_test_setup_teardown(test_settings_are_checked_and_secrets_hidden, fake_setup,
                                        fake_teardown),
        cmocka_unit_test_setup_teardown(test_retries_grow_to_an_hour_and_end, fake_setup,
                                        fake_teardown),
        cmocka_unit_test(test_restart_goes_on),
        cmocka_unit_test(test_nothing_leaves_before_the_commit),
        cmocka_unit_test_setup_teardown(test_queue_is_bounded_and_strangers_have_a_share,
                                        fake_setup, fake_teardown),
        cmocka_unit_test_setup_teardown(test_large_configurations_are_left_out, fake_setup,
                                        fake_teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
