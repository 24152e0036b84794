/* What people, tokens and permissions do to the log and tell webhooks (CTL-104, CTL-119): each
 * write by the API of the hosted service, with old and new, and no secret. */
#include "fake.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "controller/central.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define TOKEN "0123456789abcdef0123456789abcdefSECRET"

/* An answer. */
struct answer {
    json_t *obj;
    unsigned status;
    bool done;
};

static void on_answer(void *ctx, unsigned status, const char *body, size_t len)
{
    struct answer *a = ctx;
    a->done = true;
    a->status = status;
    a->obj = len > 0 ? json_loadb(body, len, JSON_DECODE_ANY, NULL) : NULL;
}

/* A call by the administrator that has to succeed; new reference or NULL. */
static json_t *call(struct fake *f, const char *method, const char *path, const char *body)
{
    char full[200];
    struct answer a = {0};
    snprintf(full, sizeof(full), "/api/v1%s", path);
    struct central_request request = {.method = method,
                                      .path = full,
                                      .body = body,
                                      .body_len = body != NULL ? strlen(body) : 0,
                                      .caller = {.user = ACCOUNTS_ADMIN},
                                      .version = "1"};
    central_api(f->c, &request, f->now_ms, on_answer, &a);
    while (!a.done) {
        controller_wait(f->c, 5000);
        controller_poll(f->c, f->now_ms);
    }
    assert_int_equal(a.status, 200);
    return a.obj;
}

/* Check the newest entry; its halves as text. */
static void check(struct fake *f, const char *type, const char *has_old, const char *has_new)
{
    json_t *obj = fake_api(f, "GET", "/controller/log?limit=1", NULL);
    const json_t *entry = json_array_get(json_object_get(obj, "data"), 0);
    char *text = json_dumps(entry, JSON_COMPACT);
    char *before = json_dumps(json_object_get(entry, "old"), JSON_COMPACT | JSON_ENCODE_ANY);
    char *after = json_dumps(json_object_get(entry, "new"), JSON_COMPACT | JSON_ENCODE_ANY);
    assert_string_equal(js(entry, "type"), type);
    assert_non_null(strstr(before, has_old));
    assert_non_null(strstr(after, has_new));
    assert_null(strstr(text, "SECRET"));
    assert_string_equal(js(json_object_get(entry, "actor"), "kind"), "control token");
    free(text);
    free(before);
    free(after);
    json_decref(obj);
}

static void test_people_tokens_and_grants_are_noted(void **state)
{
    struct fake *f = *state;
    char path[200];
    char body[200];
    char id[32];
    json_t *obj = call(f, "POST", "/user", "{\"displayName\":\"Ann\",\"email\":\"ann@ex.org\"}");
    snprintf(id, sizeof(id), "%s", js(obj, "id"));
    json_decref(obj);
    check(f, "user.created", "null", "\"ann@ex.org\"");
    snprintf(path, sizeof(path), "/user/%s", id);
    json_decref(call(f, "POST", path, "{\"displayName\":\"Anna\"}"));
    check(f, "user.changed", "\"Ann\"", "\"Anna\"");
    snprintf(path, sizeof(path), "/user/%s/token", id);
    json_decref(call(f, "POST", path, "{\"tokenName\":\"ci\",\"token\":\"" TOKEN "\"}"));
    check(f, "token.created", "null", "\"hash\":\"***\"");
    snprintf(path, sizeof(path), "/user/%s/token/ci", id);
    json_decref(call(f, "DELETE", path, NULL));
    check(f, "token.deleted", "\"ci\"", "null");
    fake_network(f, "{}");
    snprintf(body, sizeof(body), "{\"permissions\":{\"%s\":{\"r\":true,\"a\":true}}}", id);
    json_decref(call(f, "POST", "/network/12a402e62ed49ba9", body));
    check(f, "grant.changed", "null", "\"a\":true");
    json_decref(call(f, "POST", "/network/12a402e62ed49ba9", body));
    snprintf(body, sizeof(body), "{\"permissions\":{\"%s\":{\"r\":true,\"a\":false}}}", id);
    json_decref(call(f, "POST", "/network/12a402e62ed49ba9", body));
    check(f, "grant.changed", "\"a\":true", "\"a\":false");
    obj = fake_api(f, "GET", "/controller/log?type=grant", NULL); /* the second post was no news */
    assert_int_equal(json_array_size(json_object_get(obj, "data")), 2);
    json_decref(obj);
    snprintf(path, sizeof(path), "/user/%s", id);
    json_decref(call(f, "DELETE", path, NULL));
    check(f, "user.deleted", "\"Anna\"", "null");
}

/* ORG_... of section 6.6 */
static void test_invitations_are_told(void **state)
{
    struct fake *f = *state;
    static const struct {
        const char *method;
        const char *type;
        const char *keys;
    } steps[] = {
        {"POST", "ORG_INVITE_ACCEPTED", "hook_id org_id hook_type user_id user_email network_ids "},
        {"DELETE", "ORG_INVITE_REJECTED", "hook_id org_id hook_type user_id user_email "},
    };
    fake_status(f, "POST", "/controller/hook", "{\"url\":\"http://a.ex\"}");
    for (size_t i = 0; i < COUNT_OF(steps); i++) {
        char path[100];
        char keys[200] = "";
        const char *key;
        json_t *value;
        fake_clear_posts(f);
        json_t *obj = call(f, "POST", "/org-invitation", "{\"email\":\"bob@ex.org\"}");
        snprintf(path, sizeof(path), "/org-invitation/%s", js(obj, "id"));
        char id[32];
        snprintf(id, sizeof(id), "%s", js(obj, "id"));
        json_decref(obj);
        assert_int_equal(f->post_count, 1);
        assert_non_null(strstr(f->posts[0].body, "\"hook_type\":\"ORG_INVITE_SENT\",\"user_id\":"));
        assert_non_null(strstr(f->posts[0].body, "\"invitee_email\":\"bob@ex.org\"}"));
        controller_hook_done(f->c, f->posts[0].delivery, 200, NULL, f->now_ms);
        json_decref(call(f, steps[i].method, path, "{}"));
        assert_int_equal(f->post_count, 2);
        obj = json_loads(f->posts[1].body, 0, NULL);
        json_object_foreach(obj, key, value)
        {
            snprintf(keys + strlen(keys), sizeof(keys) - strlen(keys), "%s ", key);
        }
        assert_string_equal(keys, steps[i].keys);
        assert_string_equal(js(obj, "hook_type"), steps[i].type);
        assert_string_equal(js(obj, "user_id"), id);
        assert_string_equal(js(obj, "user_email"), "bob@ex.org");
        json_decref(obj);
        controller_hook_done(f->c, f->posts[1].delivery, 200, NULL, f->now_ms);
        if (i == 0) {
            snprintf(path, sizeof(path), "/user/%s", id);
            json_decref(call(f, "DELETE", path, NULL));
            assert_non_null(strstr(f->posts[2].body, "\"ORG_MEMBER_REMOVED\""));
            controller_hook_done(f->c, f->posts[2].delivery, 200, NULL, f->now_ms);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_people_tokens_and_grants_are_noted, fake_setup,
                                        fake_teardown),
        cmocka_unit_test_setup_teardown(test_invitations_are_told, fake_setup, fake_teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
