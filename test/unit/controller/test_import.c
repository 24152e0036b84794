/* Files of the reference as documents and back, the import as a whole, names of consoles. Spec 04
 * section 3; CTL-38 to CTL-44. */
#include "controller/coerce.h"
#include "controller/import_doc.h"
#include "controller/import_names.h"
#include "controller/import_set.h"
#include "fake.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/hex.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define NETWORK "controller.d/network/12a402e62ed49ba9.json"
#define MEMBERS "controller.d/network/12a402e62ed49ba9/member/"

static json_t *parse(const char *text)
{
    char why[200];
    json_t *doc = import_parse(text, strlen(text), why, sizeof(why));
    if (doc == NULL) {
        fail_msg("%s: %s", text, why);
    }
    return doc;
}

/* ---- documents ---- */

struct oddity {
    const char *source;
    const char *key;     /* whose value is looked at */
    const char *wanted;  /* what is stored, NULL: as in the source */
    const char *warning; /* part of a warning, NULL: none */
};

/* Every odd form that spec 04 section 3.2 names, and some more. */
static const struct oddity networks[] = {
    {"{\"dns\":[]}", "dns", NULL, NULL},
    {"{\"dns\":null}", "dns", NULL, NULL},
    {"{\"dns\":{\"domain\":\"a\",\"servers\":[\"10.0.0.1\"]}}", "dns", NULL, NULL},
    {"{\"authTokens\":[null]}", "authTokens", NULL, NULL},
    {"{\"authTokens\":null}", "authTokens", NULL, NULL},
    {"{\"authTokens\":{\"t\":0}}", "authTokens", NULL, NULL},
    {"{\"authTokens\":{\"t\":0,\"u\":\"x\"}}", "authTokens", "{\"t\":0}", "no number"},
    {"{\"v6AssignMode\":{\"zt\":true}}", "v6AssignMode", NULL, NULL},
    {"{\"x\":1}", "routes", NULL, NULL},
    {"{\"capabilities\":[{\"id\":4294967297,\"default\":true,\"rules\":[]}]}", "capabilities",
     "[{\"id\":1,\"default\":true,\"rules\":[]}]", "32 bits"},
    {"{\"tags\":[{\"id\":4294967298,\"default\":3}]}", "tags", "[{\"id\":2,\"default\":3}]",
     "32 bits"},
    {"{\"tags\":[{\"id\":18446744073709551615,\"default\":null}]}", "tags",
     "[{\"id\":4294967295,\"default\":null}]", "32 bits"},
    {"{\"tags\":[{\"id\":2,\"default\":18446744073709551615}]}", "tags",
     "[{\"id\":2,\"default\":4294967295}]", NULL},
    {"{\"multicastLimit\":18446744073709551615}", "multicastLimit", "32", "set to 32"},
    {"{\"multicastLimit\":4294967296}", "multicastLimit", "32", "set to 32"},
    {"{\"multicastLimit\":4294967295}", "multicastLimit", NULL, NULL},
    {"{\"ipAssignmentPools\":[{\"ipRangeStart\":\"10.0.0.9\",\"ipRangeEnd\":\"10.0.0.2\"}]}",
     "ipAssignmentPools", NULL, "ends before it starts"},
    {"{\"routes\":[{\"target\":\"10.0.0.5/24\",\"via\":null,\"note\":1}]}", "routes",
     "[{\"target\":\"10.0.0.0/24\",\"via\":null}]", "host bits"},
    {"{\"routes\":[{\"target\":\"0.0.0.0/0\",\"via\":null}]}", "routes", NULL,
     "probably a mistake"},
    {"{\"routes\":[{\"target\":\"10.0.0.0/24\",\"via\":null,\"note\":1}]}", "routes", NULL, NULL},
    {"{\"rules\":[{\"type\":\"ACTION_ACCEPT\",\"not\":false,\"or\":false}]}", "rules", NULL, NULL},
    {"{\"rules\":[{\"type\":\"MATCH_FUTURE\"},{\"type\":\"ACTION_DROP\"}]}", "rules",
     "[{\"type\":\"ACTION_DROP\"}]", "MATCH_FUTURE"},
    {"{\"rules\":[{\"type\":\"MATCH_CHARACTERISTICS\",\"mask\":[]}]}", "rules", NULL, "mask"},
    {"{\"mtu\":20000}", "mtu", "10000", "mtu"},
    {"{\"unknown\":{\"a\":[18446744073709551615,-99999999999999999999]}}", "unknown", NULL, NULL},
};

static const struct oddity members[] = {
    {"{\"authorized\":true,\"lastAuthorizedTime\":1700000000000,\"revision\":7}", "revision", NULL,
     NULL},
    {"{\"authorized\":\"true\"}", "authorized", "true", "authorized"},
    {"{\"name\":5}", "name", "", "name"},
    {"{\"ipAssignments\":[\"10.0.0.5/24\",\"x\"]}", "ipAssignments", "[\"10.0.0.5\"]", "ipAssig"},
    {"{\"ipAssignments\":[\"10.0.0.5\"]}", "ipAssignments", NULL, NULL},
    {"{\"tags\":[[1,2],[1,3],7]}", "tags", "[[1,3]]", "tags"},
    {"{\"tags\":null}", "tags", NULL, NULL},
    {"{\"capabilities\":[18446744073709551615,2]}", "capabilities", "[2,4294967295]", "capab"},
    {"{\"vMajor\":-1,\"vRev\":1}", "vMajor", NULL, NULL},
    {"{\"recentLog\":[1],\"physicalAddr\":\"1.2.3.4\"}", "recentLog", NULL, NULL},
    {"{\"identity\":\"\"}", "identity", NULL, "empty"},
    {"{\"identity\":\"nonsense\"}", "identity", NULL, "does not fit"},
    {"{\"whatever\":[{\"deep\":null}]}", "whatever", NULL, NULL},
    {"{\"importedValues\":3,\"revision\":\"4\"}", "revision", "4", "revision"},
};

static bool contains(const json_t *texts, const char *part)
{
    for (size_t i = 0; i < json_array_size(texts); i++) {
        if (strstr(json_string_value(json_array_get(texts, i)), part) != NULL) {
            return true;
        }
    }
    return false;
}

/* All keys of one are in the other, but for IDs. */
static void assert_kept(const char *what, const json_t *source, const json_t *export)
{
    const char *key;
    json_t *value;
    json_object_foreach((json_t *)source, key, value)
    {
        if (!json_equal(value, json_object_get(export, key))) {
            fail_msg("%s: %s is not given back", what, key);
        }
    }
}

static void check_oddity(const struct oddity *odd, bool is_member)
{
    json_t *source = parse(odd->source);
    json_t *doc = json_deep_copy(source);
    json_t *warnings = json_array();
    int err = is_member ? import_member_doc(doc, FAKE_NWID, UINT64_C(0xaabbccddee), warnings)
                        : import_network_doc(doc, FAKE_NWID, warnings);
    assert_int_equal(err, 0);
    json_t *wanted = odd->wanted == NULL
                         ? json_incref(json_object_get(source, odd->key))
                         : json_loads(odd->wanted, JSON_DECODE_ANY, NULL); /* "": none */
    json_t *have = json_object_get(doc, odd->key);
    if (wanted == NULL ? have != NULL : !json_equal(wanted, have)) {
        char *text = json_dumps(doc, JSON_SORT_KEYS);
        fail_msg("%s: %s", odd->source, text);
    }
    if (odd->warning == NULL ? json_array_size(warnings) > 0 : !contains(warnings, odd->warning)) {
        char *text = json_dumps(warnings, 0);
        fail_msg("%s: %s", odd->source, text);
    }
    assert_int_equal(export_doc(doc), 0);
    assert_kept(odd->source, source, doc);
    json_decref(wanted);
    json_decref(source);
    json_decref(warnings);
    json_decref(doc);
}

/* CTL-40, CTL-83: odd values are put right, and come out again as they were. */
static void test_odd_documents(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT_OF(networks); i++) {
        check_oddity(&networks[i], false);
    }
    for (size_t i = 0; i < COUNT_OF(members); i++) {
        check_oddity(&members[i], true);
    }
}

static void test_value_set_since_the_import_is_exported(void **state)
{
    (void)state;
    json_t *doc = parse("{\"multicastLimit\":18446744073709551615,\"mtu\":1}");
    json_t *warnings = json_array();
    assert_int_equal(import_network_doc(doc, FAKE_NWID, warnings), 0);
    json_object_set_new(doc, "multicastLimit", json_integer(64));
    assert_int_equal(export_doc(doc), 0);
    char *text = import_print(doc);
    assert_string_equal(text, "{\"id\":\"12a402e62ed49ba9\",\"mtu\":1,\"multicastLimit\":64,"
                              "\"nwid\":\"12a402e62ed49ba9\"}");
    free(text);
    json_decref(doc);
    json_decref(warnings);
}

/* Integers of the reference that are no 64-bit signed ones. */
static void test_big_integers(void **state)
{
    static const char *const same[] = {
        "{\"a\":18446744073709551615}",
        "{\"a\":[9223372036854775807,9223372036854775808,-9223372036854775809]}",
        "{\"18446744073709551615\":\"18446744073709551615\",\"b\":99999999999999999999}",
        "{\"a\":\"x\\\"18446744073709551615\",\"b\":18446744073709551615}",
    };
    (void)state;
    for (size_t i = 0; i < COUNT_OF(same); i++) {
        json_t *doc = parse(same[i]);
        char *text = import_print(doc);
        assert_string_equal(text, same[i]);
        free(text);
        json_decref(doc);
    }
    json_t *doc = parse("{\"a\":18446744073709551615,\"b\":36893488147419103232}");
    assert_true(coerce_u64(json_object_get(doc, "a"), 0) == UINT64_MAX);
    assert_true(coerce_u64(json_object_get(doc, "b"), 0) == UINT64_MAX);
    json_decref(doc);
}

/* ---- sets ---- */

#define MEMBER_A "{\"id\":\"aabbccddee\",\"authorized\":true,\"ipAssignments\":[\"10.0.0.1\"]}"
#define MEMBER_B "{\"id\":\"aabbccddef\",\"authorized\":true,\"ipAssignments\":[\"10.0.0.1\"]}"

static const struct import_file files[] = {
    {.path = (char *)(uintptr_t)MEMBERS "aabbccddee.json",
     .data = (char *)(uintptr_t)MEMBER_A,
     .len = sizeof(MEMBER_A) - 1},
    {.path = (char *)(uintptr_t)MEMBERS "AABBCCDDEF.json",
     .data = (char *)(uintptr_t)MEMBER_B,
     .len = sizeof(MEMBER_B) - 1},
    {.path = (char *)(uintptr_t)MEMBERS "aabbccddef.json",
     .data = (char *)(uintptr_t)MEMBER_B,
     .len = sizeof(MEMBER_B) - 1},
    {.path = (char *)(uintptr_t)MEMBERS "0000000001.json",
     .data = (char *)(uintptr_t) "{\"cut\":",
     .len = 7},
    {.path = (char *)(uintptr_t)MEMBERS "0000000002.json",
     .data = (char *)(uintptr_t) "",
     .len = 0},
    {.path = (char *)(uintptr_t)MEMBERS "0000000003.json",
     .problem = (char *)(uintptr_t) "Permission denied"},
    {.path = (char *)(uintptr_t)MEMBERS "0000000003.json.bak",
     .data = (char *)(uintptr_t) "{}",
     .len = 2},
    {.path = (char *)(uintptr_t) "controller.d/network/8056c2e21c000001.json",
     .data = (char *)(uintptr_t) "{}",
     .len = 2},
    {.path = (char *)(uintptr_t) "controller.d/network/8056c2e21c000001/member/aabbccddee.json",
     .data = (char *)(uintptr_t) "{}",
     .len = 2},
    {.path = (char *)(uintptr_t) "controller.d/network/12a402e62e000001/member/aabbccddee.json",
     .data = (char *)(uintptr_t) "{}",
     .len = 2},
    {.path = (char *)(uintptr_t)NETWORK,
     .data = (char *)(uintptr_t) "{\"name\":\"one\",\"foo\":[1],\"routes\":[{\"target\":\"10.0.0.0/"
                                 "24\"}]}",
     .len = 60},
};

static long long number(struct import_set *set, const char *group, const char *key)
{
    return json_integer_value(json_object_get(json_object_get(import_set_report(set), group), key));
}

static void assert_noted(struct import_set *set, const char *list, const char *where,
                         const char *text)
{
    const json_t *entries = json_object_get(import_set_report(set), list);
    for (size_t i = 0; i < json_array_size(entries); i++) {
        const json_t *entry = json_array_get(entries, i);
        if (strcmp(json_string_value(json_object_get(entry, "where")), where) == 0 &&
            strstr(json_string_value(json_object_get(entry, "text")), text) != NULL) {
            return;
        }
    }
    fail_msg("not in %s: %s: %s", list, where, text);
}

static struct import_set *new_set(bool update, bool foreign)
{
    struct import_options options = {.address = FAKE_ADDRESS, .update = update, .foreign = foreign};
    struct import_set *set = import_set_new(&options);
    assert_non_null(set);
    return set;
}

static size_t length(const struct store_change *change)
{
    size_t n = 0;
    for (; change != NULL; change = change->next) {
        n++;
    }
    return n;
}

/* CTL-41, CTL-42, CTL-43. */
static void test_set_of_odd_files(void **state)
{
    const struct store_change *changes = NULL;
    (void)state;
    struct import_set *set = new_set(false, false);
    assert_int_equal(import_set_take(set, files, COUNT_OF(files)), 0);
    assert_int_equal(import_set_finish(set, &changes), 0);
    assert_int_equal(length(changes), 3);
    assert_int_equal(changes->kind, STORE_NETWORK);
    assert_string_equal(changes->text,
                        "{\"foo\":[1],\"id\":\"12a402e62ed49ba9\",\"name\":\"one\",\"nwid\":"
                        "\"12a402e62ed49ba9\",\"routes\":[{\"target\":\"10.0.0.0/24\"}]}");
    assert_int_equal(changes->next->kind, STORE_MEMBER);
    assert_true(changes->next->node == UINT64_C(0xaabbccddee));
    assert_int_equal(number(set, "networks", "imported"), 1);
    assert_int_equal(number(set, "networks", "foreign"), 1);
    assert_int_equal(number(set, "members", "imported"), 2);
    assert_int_equal(number(set, "members", "foreign"), 1);
    assert_noted(set, "leftOut", MEMBERS "0000000001.json", "damaged");
    assert_noted(set, "leftOut", MEMBERS "0000000002.json", "empty");
    assert_noted(set, "leftOut", MEMBERS "0000000003.json", "Permission denied");
    assert_noted(set, "leftOut", MEMBERS "0000000003.json.bak", "not a name");
    assert_noted(set, "leftOut", MEMBERS "AABBCCDDEF.json", "second");
    assert_noted(set, "leftOut", "controller.d/network/8056c2e21c000001.json",
                 "another controller");
    assert_noted(set, "leftOut", "controller.d/network/12a402e62e000001/member/aabbccddee.json",
                 "not there");
    assert_noted(set, "warnings", "12a402e62ed49ba9", "10.0.0.1; both keep it");
    import_set_free(set);
    set = new_set(false, true);
    assert_int_equal(import_set_take(set, files, COUNT_OF(files)), 0);
    assert_int_equal(number(set, "networks", "imported"), 2);
    assert_noted(set, "warnings", "controller.d/network/8056c2e21c000001.json", "never served");
    import_set_free(set);
}

/* CTL-39: what is in the store stays, unless told otherwise. */
static void test_second_import_changes_nothing(void **state)
{
    const struct store_change *changes = NULL;
    (void)state;
    for (int update = 0; update < 2; update++) {
        struct import_set *set = new_set(update != 0, false);
        import_set_load(set, STORE_NETWORK, FAKE_NWID, 0, "{\"name\":\"changed\"}");
        import_set_load(set, STORE_MEMBER, FAKE_NWID, UINT64_C(0xaabbccddee), "{}");
        import_set_load(set, STORE_MEMBER, FAKE_NWID, UINT64_C(0xaabbccddef), "{}");
        import_set_load(set, STORE_RUNTIME, FAKE_NWID, UINT64_C(0xaabbccddef), "{}");
        assert_int_equal(import_set_take(set, files, COUNT_OF(files)), 0);
        assert_int_equal(import_set_finish(set, &changes), 0);
        assert_int_equal(length(changes), update != 0 ? 3 : 0);
        assert_int_equal(number(set, "networks", update != 0 ? "updated" : "present"), 1);
        assert_int_equal(number(set, "members", "imported"), 0);
        import_set_free(set);
    }
}

/* ---- names ---- */

static const char dump[] =
    "SET client_encoding = 'UTF8';\n"
    "COPY public.network (nwid, name, \"nwname\", description, \"flowRule\", \"tagsByName\") FROM "
    "stdin;\n"
    "12a402e62ed49ba9\tOffice\t\\N\tthe \\\"big\\\" one\\tor so\tdrop;\\naccept;\\n\t{\"t\": "
    "{\"id\": 1}}\n"
    "\\.\n"
    "COPY public.\"User\" (id, name) FROM stdin;\n"
    "aabbccddee\tsomebody\n"
    "\\.\n"
    "COPY public.network_members (nwid_ref, id, nwid, name, deleted) FROM stdin;\n"
    "1\taabbccddee\t12a402e62ed49ba9\tprinter \xc3\xa4\tf\n"
    "1\taabbccddef\t12a402e62ed49ba9\t\\N\tf\n"
    "1\tshort\n"
    "\\.\n";

static const struct {
    const char *text;
    size_t count;
    const char *member; /* key of a member and its name */
    const char *name;
} names_table[] = {
    {"{\"key\":\"AABBCCDDEE\",\"value\":\"one\"}", 1, "aabbccddee", "one"}, /* ztncui */
    {"{\"networks\":[{\"id\":\"12a402e62ed49ba9\",\"additionalConfig\":{\"description\":\"d\","
     "\"rulesSource\":\"accept;\"},\"members\":[{\"id\":\"aabbccddee\",\"additionalConfig\":"
     "{\"name\":\"two\",\"description\":\"x\"}}]}]}",
     4, "12a402e62ed49ba9/aabbccddee", "two"},                    /* zero-ui */
    {dump, 5, "12a402e62ed49ba9/aabbccddee", "printer \xc3\xa4"}, /* ztnet */
    {"[{\"nwid\":\"12a402e62ed49ba9\",\"id\":\"aabbccddee\",\"name\":\"three\"}]", 1,
     "12a402e62ed49ba9/aabbccddee", "three"},
    {"{\"aabbccddee\":\"four\",\"no\":\"x\",\"12a402e62ed49ba9/aabbccddee\":\"five\"}", 2,
     "12a402e62ed49ba9/aabbccddee", "five"},
    {"{\"key\":\"short\",\"value\":\"one\"}", 0, NULL, NULL},
    {"[1,{\"nwid\":3}]", 0, NULL, NULL},
    {"COPY network_members (", 0, NULL, NULL},
    {"COPY network_members () FROM stdin;\nx\n", 0, NULL, NULL},
    {"", 0, NULL, NULL},
};

/* CTL-44. */
static void test_names_of_consoles(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT_OF(names_table); i++) {
        json_t *names = json_object();
        size_t n = import_names(names, names_table[i].text, strlen(names_table[i].text));
        if (n != names_table[i].count) {
            fail_msg("%s: %zu names", names_table[i].text, n);
        }
        if (names_table[i].member != NULL) {
            const json_t *entry =
                json_object_get(json_object_get(names, "members"), names_table[i].member);
            assert_string_equal(json_string_value(json_object_get(entry, "name")),
                                names_table[i].name);
        }
        json_decref(names);
    }
}

/* CTL-44: names fill what is empty, of members in the store too, and only that. */
static void test_names_fill_what_is_empty(void **state)
{
    static const char other[] = "{\"aabbccddef\":\"other\",\"0000000009\":\"x\"}";
    const struct store_change *changes = NULL;
    (void)state;
    struct import_set *set = new_set(false, false);
    json_t *names = json_object();
    import_set_load(set, STORE_NETWORK, FAKE_NWID, 0, "{\"name\":\"mine\",\"rulesSource\":\"\"}");
    import_set_load(set, STORE_MEMBER, FAKE_NWID, UINT64_C(0xaabbccddee), "{}");
    import_set_load(set, STORE_MEMBER, FAKE_NWID, UINT64_C(0xaabbccddef), "{\"name\":\"b\"}");
    assert_int_equal(import_names(names, dump, strlen(dump)), 5);
    assert_int_equal(import_names(names, other, strlen(other)), 2);
    assert_int_equal(import_set_name(set, names), 0);
    assert_int_equal(import_set_finish(set, &changes), 0);
    assert_int_equal(length(changes), 2);
    json_t *network = json_loads(changes->text, 0, NULL);
    assert_string_equal(json_string_value(json_object_get(network, "name")), "mine");
    assert_string_equal(json_string_value(json_object_get(network, "rulesSource")),
                        "drop;\naccept;\n");
    assert_int_equal(json_object_size(json_object_get(network, "tagsByName")), 1);
    assert_string_equal(json_string_value(json_object_get(network, "description")),
                        "the \"big\" one\tor so");
    assert_string_equal(changes->next->text, "{\"name\":\"printer \xc3\xa4\"}");
    assert_int_equal(number(set, "names", "set"), 2);
    json_decref(network);
    json_decref(names);
    import_set_free(set);
}

/* ---- with a controller ---- */

/* CTL-38, CTL-43: what was imported is what the controller has and sends, and what it writes again
 * is exported as it came. */
static void test_controller_serves_what_was_imported(void **state)
{
    char path[128];
    char why[200];
    const struct store_change *changes = NULL;
    (void)state;
    fake_db_name(path, sizeof(path), "import");
    struct import_set *set = new_set(false, false);
    assert_int_equal(import_set_take(set, files, COUNT_OF(files)), 0);
    assert_int_equal(import_set_finish(set, &changes), 0);
    struct store_backend *backend = store_sqlite_new(path);
    assert_int_equal(backend->open(backend, import_set_load, set, why, sizeof(why)), 0);
    assert_int_equal(backend->apply(backend, changes, why, sizeof(why)), 0);
    backend->destroy(backend);
    import_set_free(set);
    struct fake f;
    fake_init(&f, path);
    json_t *o = fake_api(&f, "GET", "/controller/network/12a402e62ed49ba9", NULL);
    assert_string_equal(json_string_value(json_object_get(o, "name")), "one");
    assert_int_equal(json_array_size(json_object_get(o, "foo")), 1);
    json_decref(o);
    for (uint64_t member = UINT64_C(0xaabbccddee); member <= UINT64_C(0xaabbccddef); member++) {
        struct netconf conf;
        char ip[INETADDR_TEXT_LEN];
        fake_request(&f, FAKE_NWID, member, NULL);
        fake_config(&f, member, &conf);
        assert_int_equal(conf.address_count, 1);
        assert_string_equal(fake_ip(&conf, 0, ip), "10.0.0.1/24");
        netconf_free(&conf);
    }
    fake_done(&f);
    fake_db_remove(path);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_odd_documents),
        cmocka_unit_test(test_value_set_since_the_import_is_exported),
        cmocka_unit_test(test_big_integers),
        cmocka_unit_test(test_set_of_odd_files),
        cmocka_unit_test(test_second_import_changes_nothing),
        cmocka_unit_test(test_names_of_consoles),
        cmocka_unit_test(test_names_fill_what_is_empty),
        cmocka_unit_test(test_controller_serves_what_was_imported),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
