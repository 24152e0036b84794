/* Our answers to recorded requests beside those of the reference (CTL-3, CTL-8 to CTL-33): the file
 * and its form are described in test/netns/interop_controller.py, which writes it. */
#include "fake.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SELF "12a402e62e"

/* One replay. */
struct replay {
    struct fake *f;
    char last[17]; /* network created without ID */
    json_t *seen;  /* last answer by path, cleaned */
};

static char *replace_all(const char *text, const char *from, const char *to)
{
    char *out = calloc(1, strlen(text) * (strlen(to) + 1) + 1);
    assert_non_null(out);
    size_t n = 0;
    while (*text != '\0') {
        if (from[0] != '\0' && strncmp(text, from, strlen(from)) == 0) {
            memcpy(out + n, to, strlen(to));
            n += strlen(to);
            text += strlen(from);
        } else {
            out[n++] = *text++;
        }
    }
    return out;
}

static bool is_time(const char *key, const json_t *v)
{
    static const char *const times[] = {"creationTime", "lastAuthorizedTime",
                                        "lastDeauthorizedTime", "clock"};
    for (size_t i = 0; i < COUNT_OF(times); i++) {
        if (strcmp(key, times[i]) == 0) {
            return json_integer_value(v) > INT64_C(1500000000000);
        }
    }
    return false;
}

/* A copy with addresses and times replaced and what only we have left out. */
static json_t *clean(const struct replay *r, const char *key, const json_t *v)
{
    if (json_is_string(v)) {
        char *a = replace_all(json_string_value(v), r->last, "LAST");
        char *b = replace_all(a, SELF, "SELF");
        json_t *out = json_string(b);
        free(a);
        free(b);
        return out;
    }
    if (json_is_array(v)) {
        json_t *out = json_array();
        for (size_t i = 0; i < json_array_size(v); i++) {
            json_array_append_new(out, clean(r, "", json_array_get(v, i)));
        }
        return out;
    }
    if (json_is_object(v)) {
        json_t *out = json_object();
        const char *name;
        json_t *value;
        json_object_foreach((json_t *)v, name, value)
        {
            if (strcmp(name, "warnings") != 0 && strcmp(name, "live") != 0) {
                json_object_set_new(out, name, clean(r, name, value));
            }
        }
        return out;
    }
    return is_time(key, v) ? json_string("TIME") : json_deep_copy(v);
}

/* What is expected: the reference's answer, or ours where that is decided to differ. */
static const json_t *expected(const json_t *entry, const char *part)
{
    const json_t *ours = json_object_get(entry, "ours");
    return json_object_get(ours != NULL ? ours : entry, part);
}

/* The network or member expected after this exchange: a new reference. */
static json_t *expected_object(const struct replay *r, const json_t *entry, const char *path)
{
    json_t *before = json_object_get(r->seen, path);
    json_t *out = before != NULL ? json_copy(before) : json_object();
    json_int_t revision = json_integer_value(json_object_get(out, "revision"));
    json_object_update(out, (json_t *)expected(entry, "set"));
    const json_t *gone = expected(entry, "gone");
    for (size_t i = 0; i < json_array_size(gone); i++) {
        json_object_del(out, json_string_value(json_array_get(gone, i)));
    }
    const json_t *added = json_object_get(expected(entry, "set"), "revision");
    if (json_is_string(added)) {
        revision += atoi(json_string_value(added));
    }
    json_object_set_new(out, "revision", json_integer(revision));
    return out;
}

static void differ(const json_t *entry, const json_t *got, const json_t *want)
{
    char *a = json_dumps(entry, JSON_COMPACT | JSON_SORT_KEYS);
    char *b = json_dumps(got, JSON_COMPACT | JSON_SORT_KEYS | JSON_ENCODE_ANY);
    char *c = json_dumps(want, JSON_COMPACT | JSON_SORT_KEYS | JSON_ENCODE_ANY);
    print_error("exchange %s\nanswered %s\nexpected %s\n", a, b, c);
    fail();
}

static void check(struct replay *r, const json_t *entry, const char *path, const json_t *answer)
{
    bool one = json_object_get(answer, "objtype") != NULL;
    json_t *want =
        one ? expected_object(r, entry, path) : json_deep_copy(expected(entry, "answer"));
    if (want == NULL) {
        want = json_null();
    }
    json_t *got = answer != NULL ? clean(r, "", answer) : json_null();
    if (!json_equal(got, want)) {
        differ(entry, got, want);
    }
    if (one) {
        json_object_set(r->seen, path, got);
    }
    json_decref(got);
    json_decref(want);
}

static void exchange(struct replay *r, const json_t *entry)
{
    char method[8];
    const char *path = strchr(js(entry, "do"), ' ') + 1;
    snprintf(method, sizeof(method), "%.*s", (int)(path - js(entry, "do") - 1), js(entry, "do"));
    char *with_last = replace_all(path, "LAST", r->last);
    char *real = replace_all(with_last, "SELF", SELF);
    const json_t *raw = json_object_get(entry, "raw");
    const json_t *body = json_object_get(entry, "body");
    char *text = raw != NULL ? strdup(json_string_value(raw)) : json_dumps(body, JSON_ENCODE_ANY);
    json_t *answer = fake_api(r->f, method, real, text);
    const json_t *status = expected(entry, "status");
    unsigned wanted = status != NULL ? (unsigned)json_integer_value(status) : 200;
    if (r->f->status != wanted) {
        print_error("status %u\n", r->f->status);
        differ(entry, answer, NULL);
    }
    size_t len = strlen(path);
    if (answer != NULL && (strcmp(method, "POST") == 0 || strcmp(method, "PUT") == 0) &&
        (strcmp(path + len - 6, "______") == 0 || strcmp(path, "/controller/network") == 0)) {
        snprintf(r->last, sizeof(r->last), "%s", js(answer, "id"));
    }
    /* HEAD is GET here; the transport leaves the body out. */
    if (wanted != 500 && strcmp(method, "HEAD") != 0) {
        check(r, entry, path, answer);
    }
    json_decref(answer);
    free(text);
    free(real);
    free(with_last);
}

/* Replay a file of at least so many exchanges. */
static void replay(struct fake *f, const char *path, size_t least)
{
    struct replay r = {.f = f, .seen = json_object()};
    json_error_t error;
    json_t *list = json_load_file(path, 0, &error);
    if (list == NULL) {
        fail_msg("%s:%d: %s", path, error.line, error.text);
    }
    assert_true(json_array_size(list) >= least);
    for (size_t i = 0; i < json_array_size(list); i++) {
        exchange(&r, json_array_get(list, i));
    }
    json_decref(list);
    json_decref(r.seen);
}

static void test_recorded_exchanges_of_the_reference(void **state)
{
    replay(*state, DATA_DIR "/controller_exchanges.json", 2000);
}

/* CTL-35: what ztncui, run for real, asked; the same of the server half of zero-ui. */
static void test_recorded_session_of_ztncui(void **state)
{
    replay(*state, DATA_DIR "/client_ztncui.json", 40);
}

static void test_recorded_session_of_zero_ui(void **state)
{
    replay(*state, DATA_DIR "/client_zero_ui.json", 40);
}

/* CTL-36: the requests that the source of ztnet makes. */
static void test_recorded_requests_of_ztnet(void **state)
{
    replay(*state, DATA_DIR "/client_ztnet.json", 30);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_recorded_exchanges_of_the_reference, fake_setup,
                                        fake_teardown),
        cmocka_unit_test_setup_teardown(test_recorded_session_of_ztncui, fake_setup, fake_teardown),
        cmocka_unit_test_setup_teardown(test_recorded_session_of_zero_ui, fake_setup,
                                        fake_teardown),
        cmocka_unit_test_setup_teardown(test_recorded_requests_of_ztnet, fake_setup, fake_teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
