/* Managed addresses and routes on a real device. Checklist: SV-82 to SV-86. */
#include "netns.h"

#include "os/clock.h"
#include "os/managed.h"
#include "os/tap.h"
#include "wire/netconf.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

static struct net *net;
static struct tap *tap;

/* A network's configuration and what was made of it. */
struct fixture {
    struct managed_policy policy;
    struct inetaddr assigned[8];
    size_t assigned_count;
    struct netconf_route routes[8];
    size_t route_count;
    struct managed_applied applied;
    struct managed_plan plan;
    struct managed_report report;
};

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

/* Addresses on the device now. */
static size_t device_ips(struct inetaddr *out, size_t cap)
{
    struct net_snapshot snapshot;
    size_t count = 0;

    assert_int_equal(net_snapshot_read(net, &snapshot), 0);
    for (size_t i = 0; i < snapshot.addr_count; i++) {
        if (snapshot.addrs[i].index == tap_ifindex(tap) && count < cap) {
            out[count++] = snapshot.addrs[i].ip;
        }
    }
    net_snapshot_done(&snapshot);
    return count;
}

/* What the daemon does at each event. Returns the number of changes. */
static size_t sync_once(struct fixture *f)
{
    struct inetaddr ips[64];
    size_t count = device_ips(ips, COUNT_OF(ips));
    const struct managed_input in = {
        .policy = &f->policy,
        .assigned = f->assigned,
        .assigned_count = f->assigned_count,
        .routes = f->routes,
        .route_count = f->route_count,
        .device_ips = ips,
        .device_ip_count = count,
        .applied = &f->applied,
        .ifindex = tap_ifindex(tap),
        .online = true,
    };
    struct managed_ops ops = managed_ops_net(net);

    managed_plan_make(&in, &f->plan);
    managed_sync(&ops, &f->applied, &f->plan, ips, count, tap_ifindex(tap), &f->report);
    for (size_t i = 0; i < f->report.failure_count; i++) {
        char text[INETADDR_TEXT_LEN];
        inetaddr_print(&f->report.failures[i].target, text);
        print_error("action %d %s: %s\n", (int)f->report.failures[i].action, text,
                    strerror(-f->report.failures[i].error));
    }
    assert_int_equal(f->report.failure_count, 0);
    return f->report.added + f->report.removed;
}

/* Until nothing changes any more (duplicate address detection takes a second or two). */
static void sync_settled(struct fixture *f)
{
    const struct timespec pause = {.tv_nsec = 50000000};
    int64_t end = clock_mono_ms() + 5000;
    int quiet = 0;

    while (quiet < 2) {
        quiet = sync_once(f) == 0 ? quiet + 1 : 0;
        assert_true(clock_mono_ms() < end);
        if (quiet == 0) {
            (void)nanosleep(&pause, NULL);
        }
    }
}

static bool has_device_ip(const char *text)
{
    struct inetaddr ips[64];
    struct inetaddr ip = netns_ip(text);
    size_t count = device_ips(ips, COUNT_OF(ips));

    for (size_t i = 0; i < count; i++) {
        if (inetaddr_equal(&ips[i], &ip)) {
            return true;
        }
    }
    return false;
}

static size_t route_total(void)
{
    struct net_route out[32];
    ssize_t count = net_routes_list(net, tap_ifindex(tap), out, COUNT_OF(out));

    assert_true(count >= 0);
    return (size_t)count;
}

static void add_route(struct fixture *f, const char *target, const char *via)
{
    f->routes[f->route_count++] =
        (struct netconf_route){.target = netns_ip(target), .via = netns_ip(via)};
}

static void start(struct fixture *f)
{
    memset(f, 0, sizeof(*f));
    f->policy = managed_policy_default();
    f->assigned[f->assigned_count++] = netns_ip("10.77.0.1/24");
    f->assigned[f->assigned_count++] = netns_ip("fd00:77::1/88");
    add_route(f, "10.77.0.0/24", ""); /* the connected one */
    add_route(f, "10.88.0.0/16", "");
    add_route(f, "fd99:1::/48", "");
    add_route(f, "192.168.50.0/24", "10.77.0.9/0");
    add_route(f, "fd98::/32", "fd00:77::9/0");
}

/* SV-82 to SV-84 on the kernel: applied, stable, restored, changed, taken back. */
static void test_life_of_a_configuration(void **state)
{
    struct fixture f;
    struct inetaddr foreign = netns_ip("10.1.1.1/24");

    (void)state;
    start(&f);
    assert_int_equal(net_addr_add(net, tap_ifindex(tap), &foreign), 0);
    sync_settled(&f);
    assert_true(has_device_ip("10.77.0.1/24"));
    assert_true(has_device_ip("fd00:77::1/88"));
    assert_int_equal(route_total(), 4);
    /* every route has its source, the IPv6 ones too */
    for (size_t i = 0; i < f.plan.route_count; i++) {
        assert_int_not_equal(f.plan.routes[i].source.family, INETADDR_NIL);
    }
    /* another program deletes: restored in one run */
    assert_int_equal(net_addr_remove(net, tap_ifindex(tap), &f.assigned[0]), 0);
    assert_int_equal(net_route_remove(net, &f.plan.routes[1]), 0);
    assert_true(sync_once(&f) > 0);
    sync_settled(&f);
    assert_true(has_device_ip("10.77.0.1/24"));
    assert_int_equal(route_total(), 4);
    /* another gateway, another prefix length */
    f.routes[3].via = netns_ip("10.77.0.10/0");
    f.assigned[0].port = 25;
    sync_settled(&f);
    assert_true(has_device_ip("10.77.0.1/25"));
    assert_false(has_device_ip("10.77.0.1/24"));
    assert_int_equal(route_total(), 5); /* 10.77.0.0/24 is not the connected one any more */
    /* the user forbids */
    f.policy.allow_managed = false;
    sync_settled(&f);
    assert_int_equal(route_total(), 0);
    assert_false(has_device_ip("10.77.0.1/25"));
    assert_true(has_device_ip("10.1.1.1/24"));
    assert_int_equal(net_addr_remove(net, tap_ifindex(tap), &foreign), 0);
}

/* SV-85 */
static void test_full_tunnel(void **state)
{
    struct fixture f;
    struct inetaddr far = netns_ip("203.0.113.9/0");
    struct inetaddr source;
    unsigned index = 0;

    (void)state;
    start(&f);
    f.route_count = 0;
    add_route(&f, "0.0.0.0/0", "10.77.0.9/0");
    add_route(&f, "::/0", "fd00:77::9/0");
    sync_settled(&f);
    assert_int_equal(route_total(), 0);
    assert_int_equal(net_route_lookup(net, &far, &index, &source), -ENETUNREACH);
    f.policy.allow_default = true;
    sync_settled(&f);
    assert_int_equal(route_total(), 4);
    assert_int_equal(net_route_lookup(net, &far, &index, &source), 0);
    assert_int_equal(index, tap_ifindex(tap));
    assert_true(inetaddr_ip_equal(&source, &f.assigned[0]));
    f.policy.allow_default = false;
    sync_settled(&f);
    assert_int_equal(route_total(), 0);
    f.assigned_count = 0;
    sync_settled(&f);
}

/* SV-86: nothing is left when the device goes. */
static void test_everything_goes_with_the_device(void **state)
{
    struct fixture f;
    struct inetaddr far = netns_ip("10.88.1.1/0");
    struct inetaddr source;
    unsigned index;

    (void)state;
    start(&f);
    sync_settled(&f);
    assert_int_equal(net_route_lookup(net, &far, &index, &source), 0);
    tap_close(tap);
    tap = NULL;
    assert_int_equal(net_route_lookup(net, &far, &index, &source), -ENETUNREACH);
    /* taking back on a device that is gone is no failure */
    struct managed_ops ops = managed_ops_net(net);
    const struct managed_plan empty = {0};
    managed_sync(&ops, &f.applied, &empty, NULL, 0, 99999, &f.report);
    assert_int_equal(f.report.failure_count, 0);
    assert_int_equal(f.applied.addr_count + f.applied.route_count, 0);
    tap = netns_tap(0x8056c2e21c000001, 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_life_of_a_configuration),
        cmocka_unit_test(test_full_tunnel),
        cmocka_unit_test(test_everything_goes_with_the_device),
    };
    netns_enter();
    netns_need_tun();
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
