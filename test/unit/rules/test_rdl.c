/* The rule language beyond the golden scripts: bounds, several errors, places, hints (RL-38, RL-39,
 * RL-45). */
#include "rules/number.h"
#include "rules/rdl.h"
#include "rules/unicode.h"
#include "rules/words.h"
#include "vectors.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

static struct rdl_result *compile_text(const char *source, size_t len, enum rdl_mode mode)
{
    struct rdl_result *result = NULL;
    assert_int_equal(rdl_compile(source, len, mode, &result), 0);
    return result;
}

static struct rdl_result *compile(const char *source)
{
    return compile_text(source, strlen(source), RDL_NORMAL);
}

static void assert_message(const struct rdl_error *error, const char *message)
{
    char text[256];
    (void)snprintf(text, sizeof(text), "%.*s", (int)error->message.len, error->message.p);
    assert_string_equal(text, message);
}

/* text, repeated, behind a head; to be freed. */
static char *repeated(const char *head, const char *text, size_t times)
{
    char *out = malloc(strlen(head) + strlen(text) * times + 1);
    assert_non_null(out);
    char *p = stpcpy(out, head);
    for (size_t i = 0; i < times; i++) {
        p = stpcpy(p, text);
    }
    return out;
}

static void test_text_beyond_a_bound_is_refused(void **state)
{
    static const struct {
        const char *head;
        const char *text;
        size_t times;
        const char *message;
    } cases[] = {
        {"", " ", RDL_SOURCE_MAX + 1, "The script is longer than 1 MiB."},
        {"", "x ", RDL_TOKENS_MAX + 1, "The script has too many words."},
        {"accept ", "dport 1 ", RDL_ENTRIES_MAX + 1, "Too many rules in a rule set."},
        {"", " drop", RDL_TOKENS_MAX - 1, "Unrecognized match type \"drop\"."},
        {"", "tag t id 1; ", 2000, "Multiple definition of tag name."},
        {"tag t id 1 ", "flag 1 \xff ", 1, "The script is not UTF-8 text."},
    };
    (void)state;
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        char *source = repeated(cases[i].head, cases[i].text, cases[i].times);
        struct rdl_result *result = compile(source);
        assert_false(result->is_ok);
        assert_in_range(result->error_count, 1, RDL_ERRORS_MAX);
        assert_message(&result->errors[0], cases[i].message);
        rdl_free(result);
        free(source);
    }
}

static void test_names_are_bounded(void **state)
{
    static const char *const messages[] = {"Too many tags.", "Too many capabilities.",
                                           "Too many macros."};
    (void)state;
    for (size_t i = 0; i < COUNT_OF(messages); i++) {
        char *source = malloc(32 * (RDL_NAMES_MAX + 1));
        char *p = source;
        for (size_t k = 0; k <= RDL_NAMES_MAX; k++) {
            p += i == 0   ? snprintf(p, 64, "tag n%zu id 1; ", k)
                 : i == 1 ? snprintf(p, 64, "cap n%zu id %zu; ", k, k)
                          : snprintf(p, 64, "macro n%zu x; ", k);
        }
        struct rdl_result *result = compile(source);
        assert_false(result->is_ok);
        assert_message(&result->errors[0], messages[i]);
        rdl_free(result);
        free(source);
    }
}

/* RL-38: each macro includes the one before twice. */
static void test_an_include_bomb_fails_fast(void **state)
{
    static const char *const leaves[] = {"macro m0 accept dport 1; ;\n", "macro m0 id; ;\n"};
    static const char *const messages[] = {"Too many rules in a rule set.",
                                           "Unrecognized action or directive in rule set."};
    (void)state;
    for (size_t leaf = 0; leaf < COUNT_OF(leaves); leaf++) {
        char source[8192];
        char *p = stpcpy(source, leaves[leaf]);
        for (int i = 1; i < 60; i++) {
            p += snprintf(p, 64, "macro m%d include m%d include m%d ;\n", i, i - 1, i - 1);
        }
        (void)stpcpy(p, "include m59\n");
        struct rdl_result *result = compile(source);
        assert_false(result->is_ok);
        assert_message(&result->errors[0], messages[leaf]);
        rdl_free(result);
    }
}

/* RL-39: names are searched for so often that it counts. */
static void test_many_names_and_matches_are_bounded(void **state)
{
    char *source = malloc(1 << 20);
    assert_non_null(source);
    char *p = source;
    (void)state;
    for (int i = 0; i < 1000; i++) {
        p += sprintf(p, "tag t%d id %d; cap c%d id %d include m ;\n", i, i, i, i);
    }
    p = stpcpy(p, "macro m ");
    for (int i = 0; i < 500; i++) {
        p = stpcpy(p, "accept teq nothing 1; ");
    }
    (void)stpcpy(stpcpy(p, "; "), "tag nothing id 1000;");
    clock_t begin = clock();
    struct rdl_result *result = compile(source);
    double seconds = (double)(clock() - begin) / CLOCKS_PER_SEC;
    assert_false(result->is_ok);
    bool found = false;
    for (size_t i = 0; i < result->error_count; i++) {
        found = found || text_is(result->errors[i].message, "The script expands to too much.");
    }
    assert_true(found);
    if (seconds > 5) { /* of processor time; instrumented builds are slow */
        fail_msg("%.1f s", seconds);
    }
    rdl_free(result);
    free(source);
}

static void test_inclusions_have_a_depth(void **state)
{
    char source[8192];
    char *p = stpcpy(source, "macro m0 accept dport 1; ;\n");
    (void)state;
    for (int i = 1; i <= RDL_INCLUDE_DEPTH_MAX; i++) {
        p += snprintf(p, 64, "macro m%d include m%d ;\n", i, i - 1);
    }
    char *end = p;
    (void)snprintf(end, 64, "include m%d\n", RDL_INCLUDE_DEPTH_MAX - 1);
    struct rdl_result *result = compile(source);
    assert_true(result->is_ok);
    rdl_free(result);
    (void)snprintf(end, 64, "include m%d\n", RDL_INCLUDE_DEPTH_MAX);
    result = compile(source);
    assert_false(result->is_ok);
    assert_message(&result->errors[0], "Macro inclusions are nested too deeply.");
    rdl_free(result);
}

static void test_all_errors_are_found(void **state)
{
    struct rdl_result *result = compile("tag t id x;\n"
                                        "cap c accept dport 1; ;\n"
                                        "accept dprot 22;\n"
                                        "drop\n"
                                        "  ethertype ipv5\n"
                                        "  and ipsrc 10.0.0.1\n"
                                        ";\n"
                                        "acept dport 5;\n"
                                        "accept teq t 1;\n");
    static const struct {
        const char *message;
        uint32_t line;
        const char *hint;
    } wanted[] = {
        {"Invalid or out of range tag ID.", 1, "a number from 0 to 4294967295"},
        {"Capability definition is missing a numeric ID.", 2, "add: id NUMBER"},
        {"Unrecognized match type \"dprot\".", 3, "did you mean dport?"},
        {"Invalid numeric value.", 5, "did you mean ipv4?"},
        {"Missing /bits netmask length designation in IP.", 6,
         "a single host is ADDRESS/32, by IPv6 ADDRESS/128"},
        {"Unrecognized action or directive in rule set.", 8, "did you mean accept?"},
    };
    (void)state;
    assert_false(result->is_ok);
    assert_int_equal(result->error_count, COUNT_OF(wanted));
    for (size_t i = 0; i < COUNT_OF(wanted); i++) {
        assert_message(&result->errors[i], wanted[i].message);
        assert_int_equal(result->errors[i].place.line, wanted[i].line);
        assert_int_equal(result->errors[i].hint.len, strlen(wanted[i].hint));
        assert_memory_equal(result->errors[i].hint.p, wanted[i].hint, strlen(wanted[i].hint));
    }
    rdl_free(result);
}

/* A terminator that is missing hides no error behind it, and makes none up. */
static void test_errors_are_found_behind_a_missing_terminator(void **state)
{
    struct rdl_result *result = compile("tag t id 1 enum 1 drop\n"
                                        "  enum 2 a\n"
                                        "cap c id 1\n"
                                        "  accept dport 80\n"
                                        "  drop dprot 90;\n"
                                        ";\n"
                                        "accept teq t a and teq c 1\n"
                                        "macro m accept ipsrc x; ;\n"
                                        "include\n"
                                        "m\n"
                                        "tga x;\n");
    static const struct {
        const char *message;
        uint32_t line;
    } wanted[] = {
        {"A ';' is missing before this word.", 3},
        {"A ';' is missing before this word.", 5},
        {"Unrecognized match type \"dprot\".", 5},
        {"Undefined tag name and invalid tag value.", 7},
        {"A ';' is missing before this word.", 8},
        {"Missing /bits netmask length designation in IP.", 8},
        {"Unrecognized action or directive in rule set.", 11},
    };
    (void)state;
    assert_false(result->is_ok);
    for (size_t i = 0; i < COUNT_OF(wanted) && i < result->error_count; i++) {
        assert_message(&result->errors[i], wanted[i].message);
        assert_int_equal(result->errors[i].place.line, wanted[i].line);
    }
    assert_int_equal(result->error_count, COUNT_OF(wanted));
    rdl_free(result);
}

/* What the script itself names is suggested too. */
static void test_names_of_the_script_are_suggested(void **state)
{
    static const struct {
        const char *source;
        const char *hint;
    } cases[] = {
        {"macro web accept dport 1; ; include wbe", "did you mean web?"},
        {"tag dept id 1 enum 1 staff; accept teq detp 1;", "did you mean dept?"},
        {"tag dept id 1 enum 1 staff; accept teq dept stff;", "did you mean staff?"},
        {"tag dept id 1 enun 1 staff;", "did you mean enum?"},
        {"accept dport drop;", "dport takes 1 argument; drop is a word of the language"},
        {"accept iptos 1", "iptos takes 2 arguments"},
        {"cap a id 1 drop dport 1; ; cap b id 1 drop dport 1; ;", "a has it"},
        {"cap a drop dport 1; ; cap b id 0 drop dport 1; ; cap c id 0 ;", "b has it"},
        {"priority 1;", "there is no such action"},
        {"accept dport 80 drop dport 81;",
         "a ';' is missing before this word, or the action above has no matches: put that one "
         "last, or into a macro"},
    };
    (void)state;
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct rdl_result *result = compile(cases[i].source);
        bool found = false;
        for (size_t k = 0; k < result->error_count; k++) {
            const struct rdl_text *hint = &result->errors[k].hint;
            found = found || (hint->len == strlen(cases[i].hint) &&
                              memcmp(hint->p, cases[i].hint, hint->len) == 0);
        }
        if (!found) {
            char *text = rdl_errors_text(result, cases[i].source, strlen(cases[i].source), "s");
            print_error("%s", text);
            free(text);
            fail();
        }
        rdl_free(result);
    }
}

static void test_an_error_shows_its_line(void **state)
{
    const char *source = "# first\r\n\taccept dport \xc3\xa4hm;\r\n"
                         "macro m($p) drop dport $p; ;\ninclude m(x)\n";
    struct rdl_result *result = compile(source);
    char *text = rdl_errors_text(result, source, strlen(source), "f");
    json_t *json = rdl_errors_json(result, source, strlen(source));
    (void)state;
    assert_string_equal(text, "f:2:15: Invalid numeric range.\n"
                              "     accept dport \xc3\xa4hm;\n"
                              "                  ^~~\n"
                              "    hint: N or N-M, from 0 to 65535; ports have no names\n"
                              "f:3:24: Invalid numeric range.\n"
                              "    macro m($p) drop dport $p; ;\n"
                              "                           ^~\n"
                              "    included at f:4:9\n"
                              "    hint: N or N-M, from 0 to 65535; ports have no names\n");
    assert_int_equal(json_array_size(json), 2);
    const json_t *first = json_array_get(json, 0);
    assert_int_equal(vec_int(first, "line"), 2);
    assert_int_equal(vec_int(first, "endColumn"), 18);
    assert_int_equal(vec_int(vec_get(first, "reference"), "line"), 3);
    free(text);
    json_decref(json);
    rdl_free(result);
}

static void test_a_range_may_be_two_numbers(void **state)
{
    const char *source = "accept dport 22 23 and iptos 0xff 4 8;";
    struct rdl_result *strict = compile_text(source, strlen(source), RDL_STRICT);
    struct rdl_result *result = compile(source);
    struct rdl_result *wrong = compile("accept dport 23 22;");
    (void)state;
    assert_true(result->is_ok);
    assert_int_equal(result->base.count, 3);
    assert_int_equal(result->base.entries[0].a, 22);
    assert_int_equal(result->base.entries[0].b, 23);
    assert_int_equal(result->base.entries[1].b, 4);
    assert_int_equal(result->base.entries[1].c, 8);
    assert_false(strict->is_ok);
    assert_false(wrong->is_ok);
    rdl_free(strict);
    rdl_free(result);
    rdl_free(wrong);
}

/* RL-45 */
static void test_every_rule_knows_its_word(void **state)
{
    const char *source = "macro m accept dport 1; ;\ncap c id 1 drop sport 2; ;\ninclude m\n";
    struct rdl_result *result = compile(source);
    const struct rdl_entry *e = result->base.entries;
    (void)state;
    assert_true(result->is_ok);
    assert_memory_equal(source + e[0].place.at, "dport", e[0].place.len);
    assert_memory_equal(source + e[1].place.at, "accept", e[1].place.len);
    assert_memory_equal(source + e[1].via->place.at, "m", e[1].via->place.len);
    assert_null(e[1].via->outer);
    e = result->capabilities[0].rules.entries;
    assert_memory_equal(source + e[0].place.at, "sport", e[0].place.len);
    assert_null(e[0].via);
    rdl_free(result);
}

/* RL-45: the same as JSON, an entry for each rule. */
static void test_the_source_map_has_all_rules(void **state)
{
    const char *source =
        "macro m($p) accept\r\n dport $p; ;\ncap c id 1 drop sport 2; ;\ninclude m(5)\n";
    struct rdl_result *result = compile(source);
    json_t *got = rdl_source_map_json(result, source, strlen(source));
    json_t *wanted = json_loads(
        "{\"rules\":[{\"line\":2,\"column\":2,\"endLine\":2,\"endColumn\":7,\"includedAt\":"
        "[{\"line\":4,\"column\":9}]},{\"line\":1,\"column\":13,\"endLine\":1,\"endColumn\":19,"
        "\"includedAt\":[{\"line\":4,\"column\":9}]}],\"capabilities\":{\"c\":[{\"line\":3,"
        "\"column\":17,\"endLine\":3,\"endColumn\":22,\"includedAt\":[]},{\"line\":3,\"column\":12,"
        "\"endLine\":3,\"endColumn\":16,\"includedAt\":[]}]}}",
        0, NULL);
    (void)state;
    assert_non_null(wanted);
    assert_true(json_equal(got, wanted));
    json_decref(got);
    json_decref(wanted);
    rdl_free(result);
}

/* RL-14, RL-16 */
static void test_numbers_are_read_leniently(void **state)
{
    static const struct {
        const char *text;
        int64_t value;
        bool is_whole;
    } cases[] = {{"80,443", 80, false}, {"1e4", 1, false},   {"0b11", 0, false},
                 {"0080", 80, true},    {"+80", 80, true},   {"0x", 0, false},
                 {"0x1fg", 31, false},  {"0xzz", -1, false}, {"http", -1, false},
                 {"-5", -5, true},      {"", -1, false}};
    static const struct {
        const char *text;
        int64_t value;
    } fractions[] = {{".5", 2147483647}, {"1.", 4294967295}, {"1e-3x", 4294967},       {"often", 0},
                     {"-1", 0},          {"2", 4294967295},  {"Infinity", 4294967295}, {".", 0},
                     {"0x1p3", 0}};
    (void)state;
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        assert_int_equal(number_read(text_of(cases[i].text)), cases[i].value);
        assert_int_equal(number_is_whole(text_of(cases[i].text)), cases[i].is_whole);
    }
    for (size_t i = 0; i < COUNT_OF(fractions); i++) {
        assert_int_equal(number_read_fraction(text_of(fractions[i].text)), fractions[i].value);
    }
    assert_int_equal(number_read_default(text_of("99999999999999999999999999999999")), 0);
    assert_int_equal(number_read_default(text_of("0x100000002")), 2);
}

static void test_names_may_be_of_any_letters(void **state)
{
    char out[16];
    (void)state;
    assert_true(word_is_name(text_of("\xc3\xa4\xd0\x96_9")));
    assert_false(word_is_name(text_of("a-b")));
    assert_false(word_is_name(text_of("\xf0\x9d\x94\x84"))); /* beyond the basic plane */
    size_t len = unicode_lower_text("\xc3\x84\xd0\x96Z", 5, out);
    assert_int_equal(len, 5);
    assert_memory_equal(out, "\xc3\xa4\xd0\xb6z", 5);
    len = unicode_lower_text("\xce\x9f\xce\xa3", 4, out);
    assert_memory_equal(out, "\xce\xbf\xcf\x82", len);
}

/* RL-39 */
static void test_random_words_never_crash(void **state)
{
    static const char *const words[] = {
        "accept", "drop;", "tee",  "-1", "deadbeef11", "cap",     "tag",    "macro",   "m($p)",
        "t",      "id",    "1",    ";",  "include",    "m(1)",    "dport",  "80-90",   "$p",
        "not",    "or",    "enum", "2",  "flag",       "default", "teq",    "ipsrc",   "::/0;",
        "#x\n",   "chr",   "\r\n", ";;", "redirect",   "icmp",    "random", "priority"};
    struct test_rng rng = test_rng_init("random words");
    (void)state;
    for (int round = 0; round < 3000; round++) {
        char source[1024];
        char *p = source;
        size_t count = test_rng_below(&rng, 60);
        for (size_t i = 0; i < count; i++) {
            p = stpcpy(p, words[test_rng_below(&rng, COUNT_OF(words))]);
            p = stpcpy(p, test_rng_below(&rng, 8) == 0 ? ";\n" : " ");
        }
        *p = '\0';
        struct rdl_result *strict = compile_text(source, (size_t)(p - source), RDL_STRICT);
        struct rdl_result *normal = compile(source);
        /* What the reference compiles, we do; what both refuse, has the same first error. */
        assert_true(!strict->is_ok || normal->is_ok);
        if (!strict->is_ok && !normal->is_ok && !strict->errors[0].is_internal) {
            assert_int_equal(strict->errors[0].place.at, normal->errors[0].place.at);
        }
        rdl_free(strict);
        rdl_free(normal);
    }
}

/* What the language cannot say is a comment, and counted; no text becomes words of its own. */
static void test_lost_entries_are_counted(void **state)
{
    json_t *network =
        json_loads("{\"rules\":[{\"type\":\"MATCH_NEW\"},{\"type\":\"ACTION_DROP\"},"
                   "{\"type\":\"MATCH_IPV4_SOURCE\",\"ip\":\"10.0.0.0/8\\n; accept;\"},"
                   "{\"type\":\"ACTION_PRIORITY\"},{\"type\":\"ACTION_BREAK\"},"
                   "{\"type\":\"ACTION_ACCEPT\"},{\"type\":\"MATCH_VLAN_ID\",\"vlanId\":1}]}",
                   0, NULL);
    size_t lost = 0;
    char *text = rdl_decompile(network, &lost);
    (void)state;
    assert_non_null(network);
    assert_int_equal(lost, 5);
    struct rdl_result *result = compile(text);
    assert_true(result->is_ok);
    assert_int_equal(result->base.count, 2);
    assert_null(strstr(text, "\n; accept"));
    rdl_free(result);
    free(text);
    json_decref(network);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_text_beyond_a_bound_is_refused),
        cmocka_unit_test(test_names_are_bounded),
        cmocka_unit_test(test_an_include_bomb_fails_fast),
        cmocka_unit_test(test_many_names_and_matches_are_bounded),
        cmocka_unit_test(test_inclusions_have_a_depth),
        cmocka_unit_test(test_all_errors_are_found),
        cmocka_unit_test(test_errors_are_found_behind_a_missing_terminator),
        cmocka_unit_test(test_names_of_the_script_are_suggested),
        cmocka_unit_test(test_an_error_shows_its_line),
        cmocka_unit_test(test_a_range_may_be_two_numbers),
        cmocka_unit_test(test_every_rule_knows_its_word),
        cmocka_unit_test(test_the_source_map_has_all_rules),
        cmocka_unit_test(test_numbers_are_read_leniently),
        cmocka_unit_test(test_names_may_be_of_any_letters),
        cmocka_unit_test(test_random_words_never_crash),
        cmocka_unit_test(test_lost_entries_are_counted),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
