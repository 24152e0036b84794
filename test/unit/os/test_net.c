/* Addresses, routes and their changes in a namespace of its own. Checklist: SV-82, SV-84 (installed
 * forms), SV-90 (notification). */
#include "netns.h"

#include "os/addr.h"
#include "os/tap.h"
#include "os/udp.h"

#include <errno.h>
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

static struct net *net;
static struct tap *tap;

static int set_up(void **state)
{
    (void)state;
    tap = netns_tap(0x8056c2e21c000001, 1);
    return net_open(&net);
}

static int tear_down(void **state)
{
    (void)state;
    net_close(net);
    tap_close(tap);
    return 0;
}

static bool is_on_tap(const struct inetaddr *ip)
{
    struct net_snapshot snapshot;
    bool found = false;

    assert_int_equal(net_snapshot_read(net, &snapshot), 0);
    assert_false(snapshot.cut);
    for (size_t i = 0; i < snapshot.addr_count; i++) {
        found = found || (snapshot.addrs[i].index == tap_ifindex(tap) &&
                          inetaddr_equal(&snapshot.addrs[i].ip, ip));
    }
    net_snapshot_done(&snapshot);
    return found;
}

static void test_snapshot_shows_loopback(void **state)
{
    struct net_snapshot snapshot;
    struct inetaddr home = netns_ip("127.0.0.1/8");
    bool found = false;

    (void)state;
    assert_int_equal(net_snapshot_read(net, &snapshot), 0);
    const struct net_iface *lo = net_iface_named(&snapshot, "lo");
    assert_non_null(lo);
    assert_int_equal(lo->kind, NET_IFACE_LOOPBACK);
    assert_int_equal(lo->flags & NET_IFACE_UP, NET_IFACE_UP);
    assert_ptr_equal(net_iface_find(&snapshot, lo->index), lo);
    assert_null(net_iface_find(&snapshot, 99999));
    assert_null(net_iface_named(&snapshot, "none"));
    for (size_t i = 0; i < snapshot.addr_count; i++) {
        found = found || inetaddr_equal(&snapshot.addrs[i].ip, &home);
    }
    assert_true(found);
    net_snapshot_done(&snapshot);
    net_snapshot_done(&snapshot);
}

/* SV-82 */
static void test_addresses_are_added_and_removed(void **state)
{
    static const char *const ips[] = {"10.77.0.1/24", "10.78.0.1/31", "10.79.0.1/32",
                                      "fd00:77::1/88", "fc12::1/40"};
    unsigned index = tap_ifindex(tap);

    (void)state;
    for (size_t i = 0; i < COUNT_OF(ips); i++) {
        struct inetaddr ip = netns_ip(ips[i]);
        assert_int_equal(net_addr_add(net, index, &ip), 0);
        assert_true(is_on_tap(&ip));
        assert_int_equal(net_addr_add(net, index, &ip), -EEXIST);
        assert_int_equal(net_addr_remove(net, index, &ip), 0);
        assert_false(is_on_tap(&ip));
        assert_int_equal(net_addr_remove(net, index, &ip), -EADDRNOTAVAIL);
    }
    struct inetaddr bad = netns_ip("10.0.0.1/33");
    assert_int_equal(net_addr_add(net, index, &bad), -EINVAL);
    struct inetaddr nil = {0};
    assert_int_equal(net_addr_add(net, index, &nil), -EINVAL);
    bad = netns_ip("10.0.0.1/24");
    assert_int_equal(net_addr_add(net, 99999, &bad), -ENODEV);
}

static struct net_route make_route(const char *target, const char *via, const char *source,
                                   uint32_t metric)
{
    return (struct net_route){
        .target = netns_ip(target),
        .via = netns_ip(via),
        .source = netns_ip(source),
        .index = tap_ifindex(tap),
        .metric = metric,
    };
}

static void check_listed(const struct net_route *routes, size_t count)
{
    struct net_route out[16];
    ssize_t listed = net_routes_list(net, tap_ifindex(tap), out, COUNT_OF(out));

    assert_int_equal(listed, count);
    for (size_t i = 0; i < count; i++) {
        size_t found = 0;
        for (ssize_t k = 0; k < listed; k++) {
            found += inetaddr_equal(&out[k].target, &routes[i].target) &&
                     inetaddr_ip_equal(&out[k].via, &routes[i].via) &&
                     inetaddr_ip_equal(&out[k].source, &routes[i].source) &&
                     out[k].metric == routes[i].metric && out[k].index == routes[i].index;
        }
        assert_int_equal(found, 1);
    }
}

/* SV-84, SV-85: the forms of spec 05 section 6.3, v4 and v6, with and without gateway. */
static void test_routes_are_added_and_removed(void **state)
{
    struct inetaddr v4 = netns_ip("10.77.0.1/24");
    struct inetaddr v6 = netns_ip("fd00:77::1/64");
    struct inetaddr found;
    unsigned index;

    (void)state;
    assert_int_equal(net_addr_add(net, tap_ifindex(tap), &v4), 0);
    assert_int_equal(net_addr_add(net, tap_ifindex(tap), &v6), 0);
    const struct net_route routes[] = {
        make_route("10.88.0.0/16", "", "10.77.0.1/0", 0),
        make_route("192.168.50.0/24", "10.77.0.9/0", "10.77.0.1/0", 5000),
        make_route("192.168.50.0/24", "10.77.0.8/0", "10.77.0.1/0", 70),
        make_route("0.0.0.0/1", "10.77.0.9/0", "10.77.0.1/0", 5000),
        make_route("128.0.0.0/1", "10.77.0.9/0", "10.77.0.1/0", 5000),
        make_route("fd99:1::/48", "", "", 0),
        make_route("fd98::/32", "fd00:77::9/0", "", 5000),
        make_route("::/1", "fd00:77::9/0", "", 5000),
        make_route("8000::/1", "fd00:77::9/0", "", 5000),
    };
    for (size_t i = 0; i < COUNT_OF(routes); i++) {
        assert_int_equal(net_route_add(net, &routes[i]), 0);
        assert_int_equal(net_route_add(net, &routes[i]), -EEXIST);
    }
    check_listed(routes, COUNT_OF(routes));

    struct inetaddr far = netns_ip("10.88.3.3/0");
    assert_int_equal(net_route_lookup(net, &far, &index, &found), 0);
    assert_int_equal(index, tap_ifindex(tap));
    assert_true(inetaddr_ip_equal(&found, &v4));
    far = netns_ip("fd99:1::7/0");
    assert_int_equal(net_route_lookup(net, &far, &index, &found), 0);
    assert_int_equal(index, tap_ifindex(tap));

    struct net_route lost = make_route("10.99.0.0/16", "10.1.1.1/0", "", 0);
    lost.via = netns_ip("198.51.100.1/0");
    for (size_t i = 0; i < COUNT_OF(routes); i++) {
        assert_int_equal(net_route_remove(net, &routes[i]), 0);
        assert_int_equal(net_route_remove(net, &routes[i]), -ESRCH);
    }
    check_listed(routes, 0);
    assert_int_equal(net_route_add(net, &lost), -ENETUNREACH);
    far = netns_ip("203.0.113.1/0");
    assert_int_equal(net_route_lookup(net, &far, &index, &found), -ENETUNREACH);
    lost.via = v6;
    assert_int_equal(net_route_add(net, &lost), -EINVAL);
    assert_int_equal(net_addr_remove(net, tap_ifindex(tap), &v4), 0);
    assert_int_equal(net_addr_remove(net, tap_ifindex(tap), &v6), 0);
}

/* Collect changes until all bits of what have come, at most two seconds. */
static bool wait_change(struct net_watch *watch, uint32_t what, unsigned index)
{
    struct pollfd p = {.fd = net_watch_fd(watch), .events = POLLIN};
    uint32_t seen = 0;
    bool named = false;

    for (int tries = 0; tries < 200 && ((seen & what) != what || !named); tries++) {
        struct net_change change;
        (void)poll(&p, 1, 10);
        assert_int_equal(net_watch_drain(watch, &change), 0);
        seen |= change.what;
        for (size_t i = 0; i < change.changed_count; i++) {
            named = named || change.changed[i] == index;
        }
    }
    return (seen & what) == what && named;
}

/* SV-90 */
static void test_changes_are_reported(void **state)
{
    struct net_watch *watch;
    struct net_change change;
    struct inetaddr ip = netns_ip("10.77.0.1/24");
    unsigned index = tap_ifindex(tap);

    (void)state;
    assert_int_equal(net_watch_open(&watch), 0);
    assert_int_equal(net_watch_drain(watch, &change), 0);
    assert_int_equal(change.what, 0);
    assert_int_equal(net_addr_add(net, index, &ip), 0);
    assert_true(wait_change(watch, NET_CHANGE_ADDR, index));
    const struct net_route route = make_route("10.88.0.0/16", "", "10.77.0.1/0", 0);
    assert_int_equal(net_route_add(net, &route), 0);
    assert_true(wait_change(watch, NET_CHANGE_ROUTE, index));
    assert_int_equal(net_route_remove(net, &route), 0);
    assert_true(wait_change(watch, NET_CHANGE_ROUTE, index));
    assert_int_equal(net_addr_remove(net, index, &ip), 0);
    assert_true(wait_change(watch, NET_CHANGE_ADDR, index));

    struct tap *other = netns_tap(0x8056c2e21c000002, 1);
    unsigned other_index = tap_ifindex(other);
    assert_true(wait_change(watch, NET_CHANGE_LINK, other_index));
    tap_close(other);
    assert_true(wait_change(watch, NET_CHANGE_LINK, other_index));
    net_watch_close(watch);
    net_watch_close(NULL);
}

/* Nothing is lost silently when more comes than the queue holds. */
static void test_flood_of_changes_is_noticed(void **state)
{
    struct net_watch *watch;
    struct net_change change;
    struct inetaddr ip = netns_ip("10.66.0.1/32");
    uint32_t seen = 0;

    (void)state;
    assert_int_equal(net_watch_open(&watch), 0);
    for (unsigned i = 0; i < 3000; i++) {
        ip.ip[2] = (uint8_t)(i >> 8);
        ip.ip[3] = (uint8_t)i;
        assert_int_equal(net_addr_add(net, tap_ifindex(tap), &ip), 0);
    }
    for (unsigned i = 0; i < 3000; i++) {
        ip.ip[2] = (uint8_t)(i >> 8);
        ip.ip[3] = (uint8_t)i;
        assert_int_equal(net_addr_remove(net, tap_ifindex(tap), &ip), 0);
    }
    do {
        assert_int_equal(net_watch_drain(watch, &change), 0);
        seen |= change.what;
    } while (change.what != 0);
    assert_int_equal(seen & NET_CHANGE_ADDR, NET_CHANGE_ADDR);
    net_watch_close(watch);
}

/* Two sockets of one port on two devices, told apart by SO_BINDTODEVICE. */
static void test_sockets_are_bound_to_their_device(void **state)
{
    struct inetaddr ip = netns_ip("10.77.0.1/24");
    struct udp_info info;

    (void)state;
    assert_int_equal(net_addr_add(net, tap_ifindex(tap), &ip), 0);
    struct udp_config config = {.local = ip, .device = tap_name(tap)};
    config.local.port = 9993;
    struct udp_socket *s;
    assert_int_equal(udp_open(&config, &s), 0);
    udp_info(s, &info);
    assert_true(info.device_bound);
    /* the same address on another device is another binding */
    config.device = "lo";
    struct udp_socket *other;
    assert_int_equal(udp_open(&config, &other), 0);
    udp_close(s);
    udp_close(other);
    config.device = "nosuchdevice";
    assert_int_equal(udp_open(&config, &s), 0);
    udp_info(s, &info);
    assert_false(info.device_bound);
    udp_close(s);
    assert_int_equal(net_addr_remove(net, tap_ifindex(tap), &ip), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_snapshot_shows_loopback),
        cmocka_unit_test(test_addresses_are_added_and_removed),
        cmocka_unit_test(test_routes_are_added_and_removed),
        cmocka_unit_test(test_changes_are_reported),
        cmocka_unit_test(test_flood_of_changes_is_noticed),
        cmocka_unit_test(test_sockets_are_bound_to_their_device),
    };
    netns_enter();
    netns_need_tun();
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
