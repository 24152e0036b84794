/* Names of devices, devicemap, multicast list. Checklist: SV-15 (lookup), SV-80, SV-95. */
#include "os/tap.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

/* SV-80: the five vectors of spec 05 section 6.1. */
static void test_names_of_the_spec(void **state)
{
    static const struct {
        uint64_t nwid;
        const char *name;
    } cases[] = {
        {0x5529eed27c20dc17, "ztq5k44dtl"}, {0x08c5257b53abcdef, "ztooli5nv4"},
        {0xabcdef0123456789, "ztvlxkuzvk"}, {0xabcdef0123456788, "ztvlxkuzvl"},
        {0x8056c2e21c000001, "ztmjfmfyq5"},
    };

    (void)state;
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        char name[TAP_NAME_LEN];
        tap_name_derive(cases[i].nwid, 0, name);
        assert_string_equal(name, cases[i].name);
    }
}

/* SV-80: a taken name is followed by that of the next number. */
static void test_next_name_counts_up(void **state)
{
    char name[TAP_NAME_LEN];

    (void)state;
    tap_name_derive(0x8056c2e21c000001, 1, name);
    assert_string_equal(name, "ztmjfmfyq6");
    /* 40 low bits all ones: wraps into the next digit and is cut */
    tap_name_derive(0x000000ffffffffff ^ (0x000000ffffffffff >> 24), 0, name);
    char next[TAP_NAME_LEN];
    tap_name_derive(0x000000ffffffffff ^ (0x000000ffffffffff >> 24), 1, next);
    assert_string_equal(name, "zt77777777");
    assert_string_equal(next, "ztaaaaaaaa");
}

/* SV-15 */
static void test_devicemap_lookup(void **state)
{
    static const struct {
        const char *text;
        const char *name; /* NULL: none */
    } cases[] = {
        {"8056c2e21c000001=mynet\n", "mynet"},
        {"8056C2E21C000001=mynet", "mynet"},
        {"\r\n\n1111111111111111=other\r\n8056c2e21c000001=mynet\r\n", "mynet"},
        {"8056c2e21c000001=first\n8056c2e21c000001=second\n", "first"},
        {"8056c2e21c000001=name=rest\n", "name"},
        {"8056c2e21c000001=fifteencharname\n", "fifteencharname"},
        {"8056c2e21c000001=sixteencharname1\n", NULL},
        {"8056c2e21c000001=\n", NULL},
        {"8056c2e21c000001=a/b\n", NULL},
        {"8056c2e21c000001=..\n", NULL},
        {"8056c2e21c000001=a b\n", NULL},
        {"8056c2e21c000001=a%d\n", NULL},
        {"8056c2e21c000002=mynet\n", NULL},
        {"8056c2e21c000001\n", NULL},
        {"=mynet\n", NULL},
        {"", NULL},
    };

    (void)state;
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        char name[TAP_NAME_LEN] = "untouched";
        int error =
            tap_devicemap_find(cases[i].text, strlen(cases[i].text), 0x8056c2e21c000001, name);
        assert_int_equal(error, cases[i].name != NULL ? 0 : -ENOENT);
        assert_string_equal(name, cases[i].name != NULL ? cases[i].name : "untouched");
    }
}

/* SV-95 */
static void test_multicast_list(void **state)
{
    static const char text[] = "1    lo              1     0     333300000001\n"
                               "7    zt0             1     0     3333ff123456\n"
                               "17   zt1             1     0     01005e0000aa\n"
                               "7    zt0             2     0     01005e000001\n"
                               "7    zt0             1     0     3333ff123456\n"
                               "7    zt0             1     0     333300\n"
                               "7    zt0             1     0\n"
                               "99999999999999999999 x 1 0 01005e0000bb\n"
                               "7    zt0             1     0     333300000001";
    static const uint64_t expected[] = {0x01005e000001, 0x333300000001, 0x3333ff123456};
    uint64_t macs[8];

    (void)state;
    assert_int_equal(tap_multicast_parse(text, sizeof(text) - 1, 7, macs, COUNT_OF(macs)), 3);
    assert_memory_equal(macs, expected, sizeof(expected));
    assert_int_equal(tap_multicast_parse(text, sizeof(text) - 1, 7, macs, 2), 2);
    assert_int_equal(tap_multicast_parse(text, sizeof(text) - 1, 8, macs, COUNT_OF(macs)), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_names_of_the_spec),
        cmocka_unit_test(test_next_name_counts_up),
        cmocka_unit_test(test_devicemap_lookup),
        cmocka_unit_test(test_multicast_list),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
