/* Addresses of members against the vectors of spec 04 section 4.8 (CTL-66 to CTL-71). */
#include "fake.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define NET "/controller/network/12a402e62ed49ba9"

/* A public network with one route and pool; each member gets an address by asking. */
static void make_network(struct fake *f, const char *route, const char *start, const char *end,
                         const char *more)
{
    char body[512];
    snprintf(body, sizeof(body),
             "{\"private\":false,\"routes\":[{\"target\":\"%s\"}],\"ipAssignmentPools\":[{"
             "\"ipRangeStart\":\"%s\",\"ipRangeEnd\":\"%s\"}]%s}",
             route, start, end, more);
    fake_network(f, body);
}

#define V4 ",\"v4AssignMode\":{\"zt\":true}"
#define V6 ",\"v6AssignMode\":{\"zt\":true}"

/* The addresses a member is told, joined by blanks. */
static const char *addresses(struct fake *f, uint64_t address, uint64_t *ret_flags)
{
    static char out[512];
    fake_clear(f);
    fake_request(f, FAKE_NWID, address, NULL);
    struct netconf conf;
    fake_config(f, address, &conf);
    out[0] = '\0';
    for (size_t i = 0; i < conf.address_count; i++) {
        char ip[INETADDR_TEXT_LEN];
        size_t len = strlen(out);
        snprintf(out + len, sizeof(out) - len, "%s%s", i > 0 ? " " : "", fake_ip(&conf, i, ip));
    }
    if (ret_flags != NULL) {
        *ret_flags = conf.flags;
    }
    netconf_free(&conf);
    return out;
}

/* CTL-67 */
static void test_pool_vectors(void **state)
{
    (void)state;
    static const struct {
        const char *route;
        const char *start;
        const char *end;
        const char *more;
        uint64_t node;
        const char *want;
    } cases[] = {
        {"10.9.0.0/24", "10.9.0.1", "10.9.0.254", V4, 0xbf0c867805, "10.9.0.125/24"},
        {"10.9.0.0/24", "10.9.0.1", "10.9.0.254", V4, 0x12a402e62e, "10.9.0.123/24"},
        {"10.147.17.0/24", "10.147.17.1", "10.147.17.254", V4, 0x1122334455, "10.147.17.149/24"},
        {"172.22.0.0/16", "172.22.0.1", "172.22.255.254", V4, 0xdeadbeef11, "172.22.248.82/16"},
        {"172.22.0.0/16", "172.22.0.1", "172.22.255.254", V4, 0xfe, "172.22.1.0/16"}, /* not .255 */
        {"fd11::/64", "fd11::1", "fd11::ffff:ffff:ffff:ffff", V6, 0x12a402e62e,
         "fd11::12:a402:e62f/64"},
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct fake f;
        fake_init(&f, NULL);
        make_network(&f, cases[i].route, cases[i].start, cases[i].end, cases[i].more);
        assert_string_equal(addresses(&f, cases[i].node, NULL), cases[i].want);
        assert_string_equal(addresses(&f, cases[i].node, NULL), cases[i].want); /* and stays */
        fake_done(&f);
    }
}

/* CTL-66, CTL-59 */
static void test_derived_ipv6(void **state)
{
    struct fake *f = *state;
    uint64_t flags = 0;
    fake_network(f, "{\"private\":false,\"v6AssignMode\":\"rfc4193,6plane\"}");
    assert_string_equal(
        addresses(f, FAKE_ADDRESS, &flags),
        "fd12:a402:e62e:d49b:a999:9312:a402:e62e/88 fc3c:7099:4f12:a402:e62e::1/40");
    assert_int_equal(flags, NETCONF_FLAG_BROADCAST | NETCONF_FLAG_NDP);
    json_t *obj = fake_api(f, "GET", NET "/member/12a402e62e", NULL);
    assert_int_equal(json_array_size(json_object_get(obj, "ipAssignments")), 0); /* not stored */
    json_decref(obj);
    fake_status(f, "POST", NET, "{\"enableBroadcast\":false,\"v6AssignMode\":{}}");
    assert_string_equal(addresses(f, FAKE_ADDRESS, &flags), "");
    assert_int_equal(flags, 0);
}

/* CTL-71: the last address is usable */
static void test_pool_of_two_serves_two(void **state)
{
    struct fake *f = *state;
    make_network(f, "10.7.0.0/24", "10.7.0.5", "10.7.0.6", V4);
    assert_string_equal(addresses(f, 1, NULL), "10.7.0.5/24");
    assert_string_equal(addresses(f, 2, NULL), "10.7.0.6/24");
    assert_string_equal(addresses(f, 3, NULL), ""); /* still a member, without address */
    assert_int_equal(f->events[CONTROLLER_POOL_EXHAUSTED], 1);
    assert_string_equal(addresses(f, 4, NULL), "");
    assert_int_equal(f->events[CONTROLLER_POOL_EXHAUSTED], 1); /* said once */
    assert_int_equal(fake_status(f, "DELETE", NET "/member/0000000001", NULL), 200);
    assert_string_equal(addresses(f, 4, NULL), "10.7.0.5/24");
}

static void test_single_address_and_inverted_pools(void **state)
{
    struct fake *f = *state;
    make_network(f, "10.7.0.0/24", "10.7.0.9", "10.7.0.2", V4);
    assert_string_equal(addresses(f, 1, NULL), "");
    fake_status(f, "POST", NET,
                "{\"ipAssignmentPools\":[{\"ipRangeStart\":\"10.7.0.9\",\"ipRangeEnd\":"
                "\"10.7.0.2\"},{\"ipRangeStart\":\"10.7.0.77\",\"ipRangeEnd\":\"10.7.0.77\"}]}");
    assert_string_equal(addresses(f, 1, NULL), "10.7.0.77/24");
}

/* 12.16: neither the network nor the broadcast address of a route, but .255 of a larger one */
static void test_network_and_broadcast_are_left_out(void **state)
{
    struct fake *f = *state;
    make_network(f, "10.7.0.0/30", "10.7.0.0", "10.7.0.3", V4);
    assert_string_equal(addresses(f, 4, NULL), "10.7.0.1/30");
    assert_string_equal(addresses(f, 5, NULL), "10.7.0.2/30");
    assert_string_equal(addresses(f, 6, NULL), "");
    fake_status(f, "POST", NET,
                "{\"routes\":[{\"target\":\"10.8.0.0/16\"}],\"ipAssignmentPools\":[{"
                "\"ipRangeStart\":\"10.8.1.254\",\"ipRangeEnd\":\"10.8.1.255\"}]}");
    assert_string_equal(addresses(f, 7, NULL), "10.8.1.254/16");
    assert_string_equal(addresses(f, 8, NULL), "10.8.1.255/16");
}

/* CTL-68 */
static void test_no_auto_assign(void **state)
{
    struct fake *f = *state;
    make_network(f, "10.9.0.0/24", "10.9.0.1", "10.9.0.254",
                 V4 ",\"v6AssignMode\":{\"rfc4193\":true,\"6plane\":true}");
    fake_status(f, "POST", NET "/member/0000000001",
                "{\"noAutoAssignIps\":true,\"ipAssignments\":[]}");
    assert_string_equal(addresses(f, 1, NULL), "");
    fake_status(f, "POST", NET "/member/0000000001", "{\"ipAssignments\":[\"10.9.0.200\"]}");
    assert_string_equal(addresses(f, 1, NULL), "10.9.0.200/24");
}

/* CTL-69, 12.21 */
static void test_stored_addresses_follow_routes(void **state)
{
    struct fake *f = *state;
    fake_network(f, "{\"private\":false,\"routes\":[{\"target\":\"10.9.0.0/16\"},{\"target\":"
                    "\"10.9.1.0/24\",\"via\":\"10.9.0.1\"}]}");
    fake_status(f, "POST", NET "/member/0000000001",
                "{\"ipAssignments\":[\"10.9.1.7\",\"192.168.1.1\",\"10.9.2.2\"]}");
    assert_string_equal(addresses(f, 1, NULL), "10.9.1.7/24 10.9.2.2/16");
    json_t *obj = fake_api(f, "GET", NET "/member/0000000001", NULL);
    assert_int_equal(json_array_size(json_object_get(obj, "ipAssignments")), 3);
    json_decref(obj);
}

/* An address somebody else was given by hand is not given out again. */
static void test_manual_addresses_are_taken(void **state)
{
    struct fake *f = *state;
    make_network(f, "10.9.0.0/24", "10.9.0.1", "10.9.0.254", V4);
    fake_status(f, "POST", NET "/member/0000000001", "{\"ipAssignments\":[\"10.9.0.123\"]}");
    assert_string_equal(addresses(f, 0x12a402e62e, NULL), "10.9.0.124/24");
    /* two hold it, one goes: still taken */
    fake_status(f, "POST", NET "/member/0000000002", "{\"ipAssignments\":[\"10.9.0.123\"]}");
    fake_status(f, "DELETE", NET "/member/0000000001", NULL);
    assert_string_equal(addresses(f, 0x11a402e62e, NULL), "10.9.0.125/24");
}

/* CTL-70: a full /25, every address exactly once */
static void test_pool_is_used_up_without_duplicates(void **state)
{
    struct fake *f = *state;
    make_network(f, "10.9.0.0/25", "10.9.0.1", "10.9.0.126", V4);
    bool seen[128] = {false};
    for (uint64_t i = 0; i < 126; i++) {
        const char *text = addresses(f, UINT64_C(0x5500000000) + i * 37, NULL);
        assert_int_equal(strncmp(text, "10.9.0.", 7), 0);
        int host = atoi(text + 7);
        assert_in_range(host, 1, 126);
        assert_false(seen[host]);
        seen[host] = true;
    }
    assert_string_equal(addresses(f, 0x99, NULL), "");
}

static void test_small_ipv6_pool(void **state)
{
    struct fake *f = *state;
    make_network(f, "fd11::/64", "fd11::5", "fd11::6", V6);
    assert_string_equal(addresses(f, 1, NULL), "fd11::5/64");
    assert_string_equal(addresses(f, 2, NULL), "fd11::6/64");
    assert_string_equal(addresses(f, 3, NULL), "");
}

/* IPv6 wants a route without gateway. */
static void test_ipv6_route_with_via_does_not_count(void **state)
{
    struct fake *f = *state;
    fake_network(f,
                 "{\"private\":false,\"routes\":[{\"target\":\"fd11::/64\",\"via\":\"fd11::1\"}],"
                 "\"ipAssignmentPools\":[{\"ipRangeStart\":\"fd11::2\",\"ipRangeEnd\":"
                 "\"fd11::ffff\"}]" V6 "}");
    assert_string_equal(addresses(f, 1, NULL), "");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_pool_vectors),
        cmocka_unit_test_setup_teardown(test_derived_ipv6, fake_setup, fake_teardown),
        cmocka_unit_test_setup_teardown(test_pool_of_two_serves_two, fake_setup, fake_teardown),
        cmocka_unit_test_setup_teardown(test_single_address_and_inverted_pools, fake_setup,
                                        fake_teardown),
        cmocka_unit_test_setup_teardown(test_network_and_broadcast_are_left_out, fake_setup,
                                        fake_teardown),
        cmocka_unit_test_setup_teardown(test_no_auto_assign, fake_setup, fake_teardown),
        cmocka_unit_test_setup_teardown(test_stored_addresses_follow_routes, fake_setup,
                                        fake_teardown),
        cmocka_unit_test_setup_teardown(test_manual_addresses_are_taken, fake_setup, fake_teardown),
        cmocka_unit_test_setup_teardown(test_pool_is_used_up_without_duplicates, fake_setup,
                                        fake_teardown),
        cmocka_unit_test_setup_teardown(test_small_ipv6_pool, fake_setup, fake_teardown),
        cmocka_unit_test_setup_teardown(test_ipv6_route_with_via_does_not_count, fake_setup,
                                        fake_teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
