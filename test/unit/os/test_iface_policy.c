/* Which addresses get sockets. Checklist: SV-62 (binding), SV-68, SV-69, SV-88, SV-89, SV-90
 * (comparison), SV-92 (bound). */
#include "os/iface_policy.h"

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

static struct net_iface iface_named(const char *name, enum net_iface_kind kind)
{
    struct net_iface iface = {.index = 5, .kind = kind, .flags = NET_IFACE_UP};

    (void)snprintf(iface.name, sizeof(iface.name), "%s", name);
    return iface;
}

/* SV-88 */
static void test_interfaces_by_name_and_kind(void **state)
{
    static const struct {
        const char *name;
        enum net_iface_kind kind;
        enum bind_verdict verdict;
    } cases[] = {
        {"eth0", NET_IFACE_PHYSICAL, BIND_OK},
        {"enp3s0", NET_IFACE_PHYSICAL, BIND_OK},
        {"eth0.100", NET_IFACE_PHYSICAL, BIND_OK},
        {"vlan7", NET_IFACE_PHYSICAL, BIND_OK},
        {"bond0", NET_IFACE_PHYSICAL, BIND_OK},
        {"ppp0", NET_IFACE_PHYSICAL, BIND_OK},
        {"wlan0", NET_IFACE_PHYSICAL, BIND_OK},
        {"br0", NET_IFACE_BRIDGE, BIND_OK},
        {"TUN0", NET_IFACE_PHYSICAL, BIND_OK},
        {"lo", NET_IFACE_LOOPBACK, BIND_KIND},
        {"dummy", NET_IFACE_LOOPBACK, BIND_KIND},
        {"lo1", NET_IFACE_PHYSICAL, BIND_NAME},
        {"ztq5k44dtl", NET_IFACE_TUNNEL, BIND_NAME},
        {"tun0", NET_IFACE_TUNNEL, BIND_NAME},
        {"tap3", NET_IFACE_TUNNEL, BIND_NAME},
        {"wg7", NET_IFACE_TUNNEL, BIND_NAME},
        {"docker0", NET_IFACE_BRIDGE, BIND_NAME},
        {"docker_gwbridge", NET_IFACE_BRIDGE, BIND_NAME},
        {"veth12ab", NET_IFACE_PHYSICAL, BIND_NAME},
        {"br-0123456789ab", NET_IFACE_BRIDGE, BIND_NAME},
        {"virbr0", NET_IFACE_BRIDGE, BIND_NAME},
        {"cni0", NET_IFACE_BRIDGE, BIND_NAME},
        {"flannel.1", NET_IFACE_TUNNEL, BIND_NAME},
        {"cali1234", NET_IFACE_PHYSICAL, BIND_NAME},
        {"tailscale0", NET_IFACE_TUNNEL, BIND_NAME},
        {"cilium_host", NET_IFACE_PHYSICAL, BIND_NAME},
        {"kube-ipvs0", NET_IFACE_PHYSICAL, BIND_NAME},
        {"lxdbr0", NET_IFACE_BRIDGE, BIND_NAME},
        {"podman1", NET_IFACE_BRIDGE, BIND_NAME},
        {"mesh0", NET_IFACE_TUNNEL, BIND_KIND},
    };
    const struct bind_policy policy = {0};
    const struct net_addr addr = {.ip = parse("192.168.1.2/24"), .index = 5};

    (void)state;
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct net_iface iface = iface_named(cases[i].name, cases[i].kind);
        enum bind_verdict verdict = bind_check(&policy, &iface, &addr);
        if (verdict != cases[i].verdict) {
            print_error("%s: %s\n", cases[i].name, bind_verdict_name(verdict));
        }
        assert_int_equal(verdict, cases[i].verdict);
    }
}

/* SV-69, and the allow list */
static void test_configured_lists(void **state)
{
    static const char *const deny[] = {"eth1", "ppp", ""};
    static const char *const allow[] = {"wg*", "br-lan"};
    static const struct {
        const char *name;
        enum net_iface_kind kind;
        enum bind_verdict verdict;
    } cases[] = {
        {"eth0", NET_IFACE_PHYSICAL, BIND_OK},      {"eth1", NET_IFACE_PHYSICAL, BIND_DENIED},
        {"eth10", NET_IFACE_PHYSICAL, BIND_DENIED}, {"ppp0", NET_IFACE_PHYSICAL, BIND_DENIED},
        {"wg0", NET_IFACE_TUNNEL, BIND_OK},         {"br-lan", NET_IFACE_BRIDGE, BIND_OK},
        {"br-lan2", NET_IFACE_BRIDGE, BIND_NAME},   {"lo", NET_IFACE_LOOPBACK, BIND_KIND},
    };
    const struct bind_policy policy = {
        .deny_prefixes = deny,
        .deny_count = COUNT_OF(deny),
        .allow = allow,
        .allow_count = COUNT_OF(allow),
    };
    const struct net_addr addr = {.ip = parse("192.168.1.2/24"), .index = 5};

    (void)state;
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct net_iface iface = iface_named(cases[i].name, cases[i].kind);
        assert_int_equal(bind_check(&policy, &iface, &addr), cases[i].verdict);
    }
    struct net_iface down = iface_named("eth0", NET_IFACE_PHYSICAL);
    down.flags = NET_IFACE_RUNNING;
    assert_int_equal(bind_check(&policy, &down, &addr), BIND_DOWN);
}

/* SV-62, SV-89, scopes of spec 05 section 6.5 */
static void test_addresses(void **state)
{
    static const struct {
        const char *ip;
        uint32_t flags;
        enum bind_verdict verdict;
    } cases[] = {
        {"192.168.1.2/24", NET_ADDR_PERMANENT, BIND_OK},
        {"8.8.8.8/24", 0, BIND_OK},
        {"100.64.1.1/10", 0, BIND_OK},
        {"25.1.1.1/8", 0, BIND_OK},
        {"2a00:1450::1/64", 0, BIND_OK},
        {"fd00::1/64", 0, BIND_OK},
        {"2a00:1450::2/64", NET_ADDR_DEPRECATED, BIND_OK},
        {"2a00:1450::3/64", NET_ADDR_TEMPORARY, BIND_TEMPORARY},
        {"2a00:1450::4/64", NET_ADDR_TENTATIVE, BIND_TEMPORARY},
        {"127.0.0.1/8", 0, BIND_SCOPE},
        {"169.254.3.3/16", 0, BIND_SCOPE},
        {"fe80::1234/64", 0, BIND_SCOPE},
        {"::1/128", 0, BIND_SCOPE},
        {"224.0.0.1/4", 0, BIND_SCOPE},
        {"0.0.0.0/0", 0, BIND_SCOPE},
        {"10.9.0.1/16", 0, BIND_BLACKLIST},
        {"10.10.0.1/16", 0, BIND_OK},
        {"fd12::1/64", 0, BIND_BLACKLIST},
        {"172.22.1.1/24", 0, BIND_MANAGED},
        {"172.22.1.2/24", 0, BIND_OK},
    };
    const struct inetaddr blacklist[] = {parse("10.9.0.0/16"), parse("fd12::/16")};
    const struct inetaddr managed[] = {parse("172.22.1.1/16")};
    const struct bind_policy policy = {
        .blacklist = blacklist,
        .blacklist_count = COUNT_OF(blacklist),
        .managed = managed,
        .managed_count = COUNT_OF(managed),
    };
    struct net_iface iface = iface_named("eth0", NET_IFACE_PHYSICAL);

    (void)state;
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        const struct net_addr addr = {
            .ip = parse(cases[i].ip), .index = 5, .flags = cases[i].flags};
        enum bind_verdict verdict = bind_check(&policy, &iface, &addr);
        if (verdict != cases[i].verdict) {
            print_error("%s: %s\n", cases[i].ip, bind_verdict_name(verdict));
        }
        assert_int_equal(verdict, cases[i].verdict);
    }
}

/* SV-68: exactly the listed addresses, without device. */
static void test_bind_list_replaces_the_scan(void **state)
{
    const struct inetaddr fixed[] = {
        parse("127.0.0.1/0"), parse("10.0.0.1/55"), parse("10.0.0.1/0"), {0}};
    struct net_iface ifaces[] = {iface_named("eth0", NET_IFACE_PHYSICAL)};
    struct net_addr addrs[] = {{.ip = parse("192.168.1.2/24"), .index = 5}};
    const struct net_snapshot snapshot = {
        .ifaces = ifaces, .iface_count = 1, .addrs = addrs, .addr_count = 1};
    const struct bind_policy policy = {.fixed = fixed, .fixed_count = COUNT_OF(fixed)};
    struct bind_target out[4];

    (void)state;
    assert_int_equal(bind_select(&policy, &snapshot, out, COUNT_OF(out), NULL), 2);
    assert_true(inetaddr_ip_equal(&out[0].ip, &fixed[0]));
    assert_true(inetaddr_ip_equal(&out[1].ip, &fixed[1]));
    assert_int_equal(out[1].ip.port, 0);
    assert_string_equal(out[0].device, "");
    assert_int_equal(out[0].index, 0);
}

static void test_unreadable_system_gives_wildcards(void **state)
{
    const struct bind_policy policy = {0};
    struct bind_target out[4];

    (void)state;
    assert_int_equal(bind_select(&policy, NULL, out, COUNT_OF(out), NULL), 2);
    assert_int_equal(out[0].ip.family, INETADDR_V4);
    assert_int_equal(out[1].ip.family, INETADDR_V6);
    assert_int_equal(inetaddr_scope(&out[0].ip), INET_SCOPE_NONE);
}

/* The interface of the default route first, deprecated addresses last; the device is named. */
static void test_selection_order(void **state)
{
    struct net_iface ifaces[] = {iface_named("eth0", NET_IFACE_PHYSICAL),
                                 iface_named("wlan0", NET_IFACE_PHYSICAL)};
    struct net_addr addrs[] = {
        {.ip = parse("192.168.1.2/24"), .index = 5},
        {.ip = parse("2a00::1/64"), .index = 6, .flags = NET_ADDR_DEPRECATED},
        {.ip = parse("10.0.0.2/24"), .index = 6},
        {.ip = parse("10.0.0.2/16"), .index = 6},
        {.ip = parse("10.0.0.3/24"), .index = 9}, /* its interface is gone already */
    };
    const struct net_snapshot snapshot = {
        .ifaces = ifaces, .iface_count = 2, .addrs = addrs, .addr_count = COUNT_OF(addrs)};
    const struct bind_policy policy = {.preferred_index = 6};
    struct bind_target out[8];
    size_t left_out = 99;

    (void)state;
    ifaces[1].index = 6;
    assert_int_equal(bind_select(&policy, &snapshot, out, COUNT_OF(out), &left_out), 3);
    assert_int_equal(left_out, 0);
    assert_true(inetaddr_ip_equal(&out[0].ip, &addrs[2].ip));
    assert_string_equal(out[0].device, "wlan0");
    assert_int_equal(out[0].index, 6);
    assert_true(inetaddr_ip_equal(&out[1].ip, &addrs[0].ip));
    assert_true(inetaddr_ip_equal(&out[2].ip, &addrs[1].ip));
}

/* SV-92 */
static void test_many_addresses_are_bounded(void **state)
{
    struct net_iface ifaces[] = {iface_named("eth0", NET_IFACE_PHYSICAL)};
    struct net_addr addrs[500];
    struct bind_target out[BIND_TARGETS_MAX];
    const struct bind_policy policy = {0};
    size_t left_out;

    (void)state;
    for (size_t i = 0; i < COUNT_OF(addrs); i++) {
        addrs[i] = (struct net_addr){.ip = parse("10.1.0.0/16"), .index = 5};
        addrs[i].ip.ip[2] = (uint8_t)(i >> 8);
        addrs[i].ip.ip[3] = (uint8_t)i;
    }
    const struct net_snapshot snapshot = {
        .ifaces = ifaces, .iface_count = 1, .addrs = addrs, .addr_count = COUNT_OF(addrs)};
    assert_int_equal(bind_select(&policy, &snapshot, out, COUNT_OF(out), &left_out),
                     BIND_TARGETS_MAX);
    assert_int_equal(left_out, 500 - BIND_TARGETS_MAX);
    assert_true(inetaddr_ip_equal(&out[0].ip, &addrs[0].ip));
}

/* SV-90: the trap of spec 05 section 6.5. */
static void test_targets_differ_by_device_and_index(void **state)
{
    const struct bind_target a = {.ip = parse("10.0.0.1/0"), .index = 3, .device = "eth0"};
    struct bind_target b = a;

    (void)state;
    assert_true(bind_target_equal(&a, &b));
    b.index = 4;
    assert_false(bind_target_equal(&a, &b));
    b = a;
    b.device[3] = '1';
    assert_false(bind_target_equal(&a, &b));
    b = a;
    b.ip.ip[3] = 2;
    assert_false(bind_target_equal(&a, &b));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_interfaces_by_name_and_kind),
        cmocka_unit_test(test_configured_lists),
        cmocka_unit_test(test_addresses),
        cmocka_unit_test(test_bind_list_replaces_the_scan),
        cmocka_unit_test(test_unreadable_system_gives_wildcards),
        cmocka_unit_test(test_selection_order),
        cmocka_unit_test(test_many_addresses_are_bounded),
        cmocka_unit_test(test_targets_differ_by_device_and_index),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
