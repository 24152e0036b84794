/* Local settings and the decision table. Checklist: MGD-1, SV-9, SV-10. */
#include "os/managed.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static struct inetaddr parse(const char *text)
{
    struct inetaddr a;

    assert_int_equal(inetaddr_parse(text, strlen(text), &a), 0);
    return a;
}

/* Which settings permit a target: bit 0 allowGlobal, bit 1 allowDefault. One entry per setting. */
struct scope_case {
    const char *target;
    enum managed_verdict verdict[4]; /* none, global, default, both */
};

#define ALWAYS                                                                                     \
    {                                                                                              \
        MANAGED_ALLOWED, MANAGED_ALLOWED, MANAGED_ALLOWED, MANAGED_ALLOWED                         \
    }
#define NEVER                                                                                      \
    {                                                                                              \
        MANAGED_SCOPE, MANAGED_SCOPE, MANAGED_SCOPE, MANAGED_SCOPE                                 \
    }
#define WITH_GLOBAL                                                                                \
    {                                                                                              \
        MANAGED_GLOBAL, MANAGED_ALLOWED, MANAGED_GLOBAL, MANAGED_ALLOWED                           \
    }
#define WITH_DEFAULT                                                                               \
    {                                                                                              \
        MANAGED_DEFAULT_ROUTE, MANAGED_DEFAULT_ROUTE, MANAGED_ALLOWED, MANAGED_ALLOWED             \
    }

/* MGD-1, SV-10: every scope of both families against every setting. */
static void test_decision_table(void **state)
{
    static const struct scope_case cases[] = {
        {"10.1.2.3/24", ALWAYS},
        {"172.16.0.0/12", ALWAYS},
        {"192.168.1.0/24", ALWAYS},
        {"100.64.0.1/10", ALWAYS},
        {"25.1.0.0/16", ALWAYS},
        {"240.0.0.1/8", ALWAYS},
        {"fd00::1/64", ALWAYS},
        {"fc00:1::/40", ALWAYS},
        {"8.8.8.0/24", WITH_GLOBAL},
        {"128.0.0.0/1", WITH_GLOBAL},
        {"2a00:1450::/32", WITH_GLOBAL},
        {"0.0.0.0/0", WITH_DEFAULT},
        {"::/0", WITH_DEFAULT},
        {"10.0.0.1/0", WITH_DEFAULT},
        {"0.0.0.0/1", NEVER},
        {"0.1.2.3/8", NEVER},
        {"255.1.1.1/8", NEVER},
        {"127.0.0.1/8", NEVER},
        {"169.254.0.0/16", NEVER},
        {"224.0.0.0/4", NEVER},
        {"::1/128", NEVER},
        {"fe80::/10", NEVER},
        {"ff00::/8", NEVER},
        {"::/1", NEVER},
        {"10.0.0.1/33", NEVER},
        {"fd00::1/129", NEVER},
    };

    (void)state;
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct inetaddr target = parse(cases[i].target);
        for (unsigned settings = 0; settings < 4; settings++) {
            struct managed_policy policy = {
                .allow_managed = true,
                .allow_global = (settings & 1) != 0,
                .allow_default = (settings & 2) != 0,
            };
            enum managed_verdict verdict = managed_check(&policy, &target);
            if (verdict != cases[i].verdict[settings]) {
                print_error("%s settings %u: %d\n", cases[i].target, settings, (int)verdict);
            }
            assert_int_equal(verdict, cases[i].verdict[settings]);
            policy.allow_managed = false;
            assert_int_equal(managed_check(&policy, &target), MANAGED_OFF);
        }
    }
    const struct inetaddr nil = {0};
    const struct managed_policy policy = managed_policy_default();
    assert_int_equal(managed_check(&policy, &nil), MANAGED_SCOPE);
}

/* MGD-1, SV-9: the list comes before everything but allowManaged. */
static void test_whitelist(void **state)
{
    static const struct {
        const char *target;
        enum managed_verdict verdict;
    } cases[] = {
        {"10.1.2.3/24", MANAGED_ALLOWED},       {"10.1.0.0/16", MANAGED_ALLOWED},
        {"10.0.0.0/8", MANAGED_NOT_LISTED},     {"10.2.0.0/16", MANAGED_NOT_LISTED},
        {"8.8.8.8/32", MANAGED_GLOBAL},         {"9.9.9.9/32", MANAGED_NOT_LISTED},
        {"0.0.0.0/0", MANAGED_NOT_LISTED},      {"::/0", MANAGED_DEFAULT_ROUTE},
        {"fd00::1/64", MANAGED_ALLOWED},        {"fe80::1/64", MANAGED_SCOPE},
        {"192.168.0.1/24", MANAGED_NOT_LISTED},
    };
    struct managed_policy policy = managed_policy_default();

    (void)state;
    policy.whitelist[policy.whitelist_count++] = parse("10.1.0.0/16");
    policy.whitelist[policy.whitelist_count++] = parse("8.8.8.8/32");
    policy.whitelist[policy.whitelist_count++] = parse("::/0");
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct inetaddr target = parse(cases[i].target);
        assert_int_equal(managed_check(&policy, &target), cases[i].verdict);
    }
}

/* SV-9 */
static void test_settings_are_read(void **state)
{
    static const struct {
        const char *text;
        bool managed, global, def, dns;
        size_t listed;
    } cases[] = {
        {"", true, false, false, false, 0},
        {"allowManaged=1\nallowGlobal=0\nallowDefault=0\nallowDNS=0\n", true, false, false, false,
         0},
        {"allowManaged=0\nallowGlobal=1\nallowDefault=1\nallowDNS=1\n", false, true, true, true, 0},
        {"allowManaged=true\nallowGlobal=True\n", true, true, false, false, 0},
        {"allowManaged=false\n", false, false, false, false, 0},
        {"allowManaged=no\nother=1\n", false, false, false, false, 0},
        {"allowManaged=10.0.0.0/8\n", true, false, false, false, 1},
        {"allowManaged=10.0.0.0/8,fd00::/8, 192.168.0.0/16\n", true, false, false, false, 3},
        {"allowManaged=10.0.0.0/8,junk,,300.1.1.1/8,10.0.0.0/40,1.2.3.4\n", true, false, false,
         false, 1},
        {"allowManaged=\n", true, false, false, false, 0},
    };

    (void)state;
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct managed_policy p = managed_policy_parse(cases[i].text, strlen(cases[i].text));
        if (p.allow_managed != cases[i].managed || p.whitelist_count != cases[i].listed) {
            print_error("%s\n", cases[i].text);
        }
        assert_int_equal(p.allow_managed, cases[i].managed);
        assert_int_equal(p.allow_global, cases[i].global);
        assert_int_equal(p.allow_default, cases[i].def);
        assert_int_equal(p.allow_dns, cases[i].dns);
        assert_int_equal(p.whitelist_count, cases[i].listed);
    }
}

/* The MTU is decimal, as people write it; what is out of range is none. */
static void test_mtu_and_clamping_are_read(void **state)
{
    static const struct {
        const char *text;
        uint32_t mtu;
        bool clamp;
    } cases[] = {
        {"", 0, false},
        {"mtu=1280\n", 1280, false},
        {"mtu=10000\nclampMSS=1\n", 10000, true},
        {"mtu=1279\nclampMSS=0\n", 0, false},
        {"mtu=10001\nclampMSS=true\n", 0, true},
        {"mtu=0x600\n", 0, false},
        {"mtu=\n", 0, false},
        {"mtu=1400 \n", 0, false},
        {"mtu=99999999999999\n", 0, false},
    };

    (void)state;
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct managed_policy p = managed_policy_parse(cases[i].text, strlen(cases[i].text));
        assert_int_equal(p.mtu, cases[i].mtu);
        assert_int_equal(p.clamp_mss, cases[i].clamp);
    }
}

/* SV-9: what is written is read back the same, the list included. */
static void test_settings_survive_a_write(void **state)
{
    static const char *const texts[] = {
        "allowManaged=1\nallowGlobal=0\nallowDefault=0\nallowDNS=0\n",
        "allowManaged=0\nallowGlobal=1\nallowDefault=1\nallowDNS=1\n",
        "allowManaged=10.0.0.0/8,fd00::/8\nallowGlobal=0\nallowDefault=1\nallowDNS=0\n",
        "allowManaged=1\nallowGlobal=0\nallowDefault=0\nallowDNS=0\nmtu=1400\nclampMSS=1\n",
    };
    char out[MANAGED_SETTINGS_LEN];

    (void)state;
    for (size_t i = 0; i < COUNT_OF(texts); i++) {
        struct managed_policy p = managed_policy_parse(texts[i], strlen(texts[i]));
        size_t len = managed_policy_print(&p, out);
        assert_int_equal(len, strlen(out));
        /* the last line end may be there or not */
        assert_memory_equal(out, texts[i], strlen(texts[i]) - 1);
    }
    /* short enough to be taken for a "no" */
    struct managed_policy p = managed_policy_default();
    p.whitelist[p.whitelist_count++] = parse("::/0");
    size_t len = managed_policy_print(&p, out);
    p = managed_policy_parse(out, len);
    assert_true(p.allow_managed);
    assert_int_equal(p.whitelist_count, 1);
    /* the longest list fits the file */
    while (p.whitelist_count < MANAGED_WHITELIST_MAX) {
        p.whitelist[p.whitelist_count] = parse("fd00:1111:2222:3333:4444:5555:6666:7777/128");
        p.whitelist_count++;
    }
    p.mtu = MANAGED_MTU_MAX;
    p.clamp_mss = true;
    len = managed_policy_print(&p, out);
    assert_true(len < MANAGED_SETTINGS_LEN);
    struct managed_policy back = managed_policy_parse(out, len);
    assert_true(back.allow_managed);
    assert_true(back.whitelist_count > 64);
    assert_non_null(strstr(out, "allowDNS=0"));
    assert_int_equal(back.mtu, MANAGED_MTU_MAX);
    assert_true(back.clamp_mss);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_decision_table),
        cmocka_unit_test(test_whitelist),
        cmocka_unit_test(test_settings_are_read),
        cmocka_unit_test(test_mtu_and_clamping_are_read),
        cmocka_unit_test(test_settings_survive_a_write),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
