/* The golden scripts of the rule language: strict results and errors (RL-1, RL-2), normal results
 * (RL-3). By groups of scripts: lexical RL-4, RL-5, RL-6; positions RL-7; blocks RL-8, RL-9, RL-10,
 * RL-11, RL-37; realistic RL-12; macros RL-13, RL-28, RL-29; ranges RL-15; matches RL-16, RL-17,
 * RL-18, RL-20, RL-35; ip RL-19; characteristics RL-21, RL-22; tags RL-23, RL-24, RL-25, RL-26,
 * RL-32, RL-36; capabilities RL-27; operators RL-30, RL-31; actions RL-33, RL-34; seed documents
 * RL-48 and CTL-107. RL-46 follows from the first three: where a vector has no "better", both modes
 * are held against the same. */
#include "rules/rdl.h"
#include "vectors.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

/* Scripts that we compile though the vectors say nothing of it: a range as two numbers. */
static const char *const two_numbers[] = {"surplus argument is an unknown match",
                                          "blog article, tag and TCP whitelist"};

static bool is_two_numbers(const char *name)
{
    for (size_t i = 0; i < COUNT_OF(two_numbers); i++) {
        if (strcmp(name, two_numbers[i]) == 0) {
            return true;
        }
    }
    return false;
}

static struct rdl_result *compile(const json_t *vector, enum rdl_mode mode)
{
    const json_t *source = vec_get(vector, "source");
    struct rdl_result *result = NULL;
    uint8_t *copy = exact_copy(json_string_value(source), json_string_length(source));
    assert_int_equal(rdl_compile((const char *)copy, json_string_length(source), mode, &result), 0);
    free(copy);
    return result;
}

/* 1 if the result is not what the vector wants, with a line about it. */
static int differs(const json_t *vector, const json_t *wanted, const struct rdl_result *got,
                   const char *mode)
{
    const char *name = vec_text(vector, "name");
    if (vec_bool(wanted, "ok") != got->is_ok) {
        printf("%s: %s: ok is %d\n", mode, name, (int)got->is_ok);
        return 1;
    }
    if (got->is_ok) {
        json_t *json = rdl_result_json(got);
        int bad = !json_equal(json, vec_get(wanted, "json"));
        if (bad) {
            char *text = json_dumps(json, JSON_COMPACT);
            printf("%s: %s: %s\n", mode, name, text);
            free(text);
        }
        json_decref(json);
        return bad;
    }
    const json_t *error = vec_get(wanted, "error");
    const struct rdl_error *first = &got->errors[0];
    if (!vec_bool_or(error, "message_exact", true)) {
        return 0;
    }
    const char *message = vec_text(error, "message");
    if (vec_int(error, "line") == first->place.line &&
        vec_int(error, "column") == first->place.column && strlen(message) == first->message.len &&
        memcmp(message, first->message.p, first->message.len) == 0) {
        return 0;
    }
    printf("%s: %s: (%u,%u) %.*s\n", mode, name, first->place.line, first->place.column,
           (int)first->message.len, first->message.p);
    return 1;
}

static void test_strict_mode_is_the_reference(void **state)
{
    json_t *vectors = vectors_load("rules-language.json");
    int bad = 0;
    size_t i;
    json_t *vector;
    (void)state;
    assert_int_equal(json_array_size(vectors), 425);
    json_array_foreach(vectors, i, vector)
    {
        struct rdl_result *got = compile(vector, RDL_STRICT);
        bad += differs(vector, vector, got, "strict");
        rdl_free(got);
    }
    json_decref(vectors);
    assert_int_equal(bad, 0);
}

static void test_normal_mode_is_better_where_it_says_so(void **state)
{
    json_t *vectors = vectors_load("rules-language.json");
    int bad = 0;
    size_t i;
    json_t *vector;
    (void)state;
    json_array_foreach(vectors, i, vector)
    {
        struct rdl_result *got = compile(vector, RDL_NORMAL);
        const json_t *better = json_object_get(vector, "better");
        if (is_two_numbers(vec_text(vector, "name"))) {
            assert_true(got->is_ok);
        } else {
            bad += differs(vector, better != NULL ? better : vector, got, "normal");
        }
        if (better != NULL && got->is_ok) {
            const char *tree = json_string_value(json_object_get(better, "tree"));
            assert_int_equal(got->is_documented, tree != NULL && strcmp(tree, "documented") == 0);
        }
        rdl_free(got);
    }
    json_decref(vectors);
    assert_int_equal(bad, 0);
}

/* RL-43: every script that compiles can be laid out anew, and then stays as it is. */
static void test_formatting_changes_no_rule(void **state)
{
    json_t *vectors = vectors_load("rules-language.json");
    int bad = 0;
    int formatted = 0;
    size_t i;
    json_t *vector;
    (void)state;
    json_array_foreach(vectors, i, vector)
    {
        const json_t *source = vec_get(vector, "source");
        struct rdl_result *got = compile(vector, RDL_NORMAL);
        char *once = NULL;
        char *twice = NULL;
        int error = rdl_format(json_string_value(source), json_string_length(source), &once);
        if (error != (got->is_ok ? 0 : -EINVAL)) {
            printf("%s: format: %d\n", vec_text(vector, "name"), error);
            bad++;
        } else if (error == 0) {
            formatted++;
            error = rdl_format(once, strlen(once), &twice);
            if (error != 0 || strcmp(once, twice) != 0) {
                printf("%s: format again: %d\n%s---\n%s", vec_text(vector, "name"), error, once,
                       error == 0 ? twice : "");
                bad++;
            }
        }
        free(once);
        free(twice);
        rdl_free(got);
    }
    json_decref(vectors);
    assert_int_equal(bad, 0);
    assert_in_range(formatted, 250, 425);
}

/* What 16.8 excepts: characteristics with bit 31 or 63 in a list and flags of bit 31 where the
 * reference's arithmetic is wrong, names that open blocks. */
static bool is_excepted(const char *name)
{
    return strstr(name, "is miscompiled") != NULL || strstr(name, "like an action") != NULL;
}

/* 1 unless the result, decompiled and compiled again, is the result. */
static int comes_back_changed(const char *name, const struct rdl_result *result, enum rdl_mode mode)
{
    json_t *json = rdl_result_json(result);
    size_t lost = 1;
    char *text = rdl_decompile(json, &lost);
    struct rdl_result *again = NULL;
    assert_non_null(text);
    assert_int_equal(rdl_compile(text, strlen(text), mode, &again), 0);
    json_t *back = again->is_ok ? rdl_result_json(again) : json_null();
    int bad = !json_equal(json, back) || lost != 0 ? 1 : 0;
    if (bad) {
        printf("decompile: %s: lost %zu\n%s\n", name, lost, text);
    }
    json_decref(json);
    json_decref(back);
    rdl_free(again);
    free(text);
    return bad;
}

/* RL-42 */
static void test_decompiled_rules_compile_to_the_same(void **state)
{
    static const enum rdl_mode modes[] = {RDL_STRICT, RDL_NORMAL};
    json_t *vectors = vectors_load("rules-language.json");
    int bad = 0;
    size_t i;
    json_t *vector;
    (void)state;
    json_array_foreach(vectors, i, vector)
    {
        for (size_t m = 0; m < COUNT_OF(modes); m++) {
            struct rdl_result *got = compile(vector, modes[m]);
            const char *name = vec_text(vector, "name");
            if (got->is_ok && !is_excepted(name)) {
                bad += comes_back_changed(name, got, modes[m]);
            }
            rdl_free(got);
        }
    }
    json_decref(vectors);
    assert_int_equal(bad, 0);
}

/* RL-40: the set of codes of a script, sorted. */
static void test_lint_finds_what_the_vectors_say(void **state)
{
    json_t *vectors = vectors_load("rules-language.json");
    int bad = 0;
    size_t checked = 0;
    size_t i;
    json_t *vector;
    (void)state;
    json_array_foreach(vectors, i, vector)
    {
        const json_t *wanted = json_object_get(vector, "lint");
        struct rdl_result *got = compile(vector, RDL_NORMAL);
        const json_t *source = vec_get(vector, "source");
        if (got->is_ok) {
            assert_int_equal(rdl_lint(got, json_string_value(source), json_string_length(source)),
                             0);
        }
        bool has[300] = {false};
        for (size_t k = 0; k < got->finding_count; k++) {
            has[got->findings[k].code] = true;
            assert_true(got->findings[k].place.at <= json_string_length(source));
        }
        json_t *codes = json_array();
        for (unsigned code = 0; code < COUNT_OF(has); code++) {
            if (has[code]) {
                json_array_append_new(codes, json_sprintf("W%u", code));
            }
        }
        if (wanted != NULL && !json_equal(codes, wanted)) {
            char *text = json_dumps(codes, JSON_COMPACT);
            printf("lint: %s: %s\n", vec_text(vector, "name"), text);
            free(text);
            bad++;
        }
        checked += wanted != NULL ? 1 : 0;
        json_decref(codes);
        rdl_free(got);
    }
    json_decref(vectors);
    assert_int_equal(checked, 26);
    assert_int_equal(bad, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_strict_mode_is_the_reference),
        cmocka_unit_test(test_normal_mode_is_better_where_it_says_so),
        cmocka_unit_test(test_formatting_changes_no_rule),
        cmocka_unit_test(test_decompiled_rules_compile_to_the_same),
        cmocka_unit_test(test_lint_finds_what_the_vectors_say),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
