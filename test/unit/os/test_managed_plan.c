/* From configuration to plan, and conflicts. Checklist: SV-82, SV-84, SV-85 (planning), MGD-1. */
#include "os/managed.h"
#include "wire/netconf.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

static struct inetaddr parse(const char *text)
{
    struct inetaddr a = {0};

    assert_int_equal(inetaddr_parse(text, strlen(text), &a), 0);
    return a;
}

/* An input under construction. */
struct fixture {
    struct managed_policy policy;
    struct inetaddr assigned[8];
    struct netconf_route routes[8];
    struct inetaddr device[8];
    struct managed_applied applied;
    struct managed_input in;
    struct managed_plan plan;
};

static void start(struct fixture *f)
{
    memset(f, 0, sizeof(*f));
    f->policy = managed_policy_default();
    f->in = (struct managed_input){
        .policy = &f->policy,
        .assigned = f->assigned,
        .routes = f->routes,
        .device_ips = f->device,
        .applied = &f->applied,
        .ifindex = 9,
        .online = true,
    };
}

static void assign(struct fixture *f, const char *ip)
{
    f->assigned[f->in.assigned_count++] = parse(ip);
}

static void on_device(struct fixture *f, const char *ip)
{
    f->device[f->in.device_ip_count++] = parse(ip);
}

static void route(struct fixture *f, const char *target, const char *via)
{
    struct netconf_route *r = &f->routes[f->in.route_count++];
    r->target = parse(target);
    r->via = parse(via);
}

static void check_route(const struct net_route *r, const char *target, const char *via,
                        const char *source, uint32_t metric)
{
    struct inetaddr t = parse(target);
    struct inetaddr v = parse(via);
    struct inetaddr s = parse(source);

    assert_true(inetaddr_equal(&r->target, &t));
    assert_true(inetaddr_ip_equal(&r->via, &v));
    assert_true(inetaddr_ip_equal(&r->source, &s));
    assert_int_equal(r->metric, metric);
    assert_int_equal(r->index, 9);
}

static void test_addresses_follow_policy(void **state)
{
    struct fixture f;

    (void)state;
    start(&f);
    assign(&f, "10.0.0.5/24");
    assign(&f, "8.8.4.4/24");
    f.in.assigned_count++; /* nil entry */
    assign(&f, "10.0.0.5/16");
    assign(&f, "fd00::5/88");
    assign(&f, "169.254.1.1/16");
    managed_plan_make(&f.in, &f.plan);
    assert_int_equal(f.plan.addr_count, 2);
    assert_true(inetaddr_equal(&f.plan.addrs[0], &f.assigned[0]));
    assert_true(inetaddr_equal(&f.plan.addrs[1], &f.assigned[4]));
    f.policy.allow_global = true;
    managed_plan_make(&f.in, &f.plan);
    assert_int_equal(f.plan.addr_count, 3);
    f.policy.allow_managed = false;
    managed_plan_make(&f.in, &f.plan);
    assert_int_equal(f.plan.addr_count, 0);
}

/* SV-84 */
static void test_routes_with_and_without_gateway(void **state)
{
    struct fixture f;

    (void)state;
    start(&f);
    assign(&f, "10.0.0.5/24");
    assign(&f, "10.78.0.9/32");
    assign(&f, "fd00::5/88");
    route(&f, "192.168.7.9/24", "10.0.0.1/0"); /* host bits are cleared */
    route(&f, "10.0.0.0/24", "");              /* connected */
    route(&f, "10.78.0.0/16", "");
    route(&f, "fd99:1::/48", "");
    route(&f, "fd98::/32", "fd00::1/0");
    route(&f, "8.8.8.0/24", "10.0.0.1/0");   /* global is not allowed */
    route(&f, "172.20.0.0/16", "fd00::1/0"); /* gateway of another family: none */
    managed_plan_make(&f.in, &f.plan);
    assert_int_equal(f.plan.route_count, 5);
    check_route(&f.plan.routes[0], "10.78.0.0/16", "", "10.78.0.9/0", 0);
    check_route(&f.plan.routes[1], "fd99:1::/48", "", "fd00::5/0", 0);
    check_route(&f.plan.routes[2], "172.20.0.0/16", "", "10.0.0.5/0", 0);
    check_route(&f.plan.routes[3], "192.168.7.0/24", "10.0.0.1/0", "10.0.0.5/0", 5000);
    check_route(&f.plan.routes[4], "fd98::/32", "fd00::1/0", "fd00::5/0", 5000);
    assert_false(f.plan.cut);
}

/* SV-84: we are the gateway, by a device address or an assigned one, applied or not. */
static void test_routes_via_ourselves_are_skipped(void **state)
{
    struct fixture f;

    (void)state;
    start(&f);
    f.policy.allow_global = false;
    assign(&f, "10.0.0.5/24");
    assign(&f, "8.8.8.8/24");
    on_device(&f, "10.0.0.77/24");
    route(&f, "192.168.1.0/24", "10.0.0.5/0");
    route(&f, "192.168.2.0/24", "8.8.8.8/0");
    route(&f, "192.168.3.0/24", "10.0.0.77/0");
    route(&f, "192.168.4.0/24", "10.0.0.78/0");
    managed_plan_make(&f.in, &f.plan);
    assert_int_equal(f.plan.route_count, 1);
    check_route(&f.plan.routes[0], "192.168.4.0/24", "10.0.0.78/0", "10.0.0.5/0", 5000);
}

static void test_source_is_the_nearest_address(void **state)
{
    struct fixture f;

    (void)state;
    start(&f);
    assign(&f, "10.0.0.5/24");
    assign(&f, "192.168.9.5/24");
    on_device(&f, "192.168.128.1/24");
    on_device(&f, "172.16.0.1/24");
    f.applied.addrs[f.applied.addr_count++] = parse("172.16.0.1/24"); /* ours, about to go */
    route(&f, "192.168.130.0/24", "");
    route(&f, "192.168.8.0/24", "");
    route(&f, "172.16.5.0/24", "");
    route(&f, "fd00::/8", ""); /* no address of the family */
    managed_plan_make(&f.in, &f.plan);
    assert_int_equal(f.plan.route_count, 3);
    check_route(&f.plan.routes[0], "192.168.130.0/24", "", "192.168.128.1/0", 0);
    check_route(&f.plan.routes[1], "192.168.8.0/24", "", "192.168.9.5/0", 0);
    /* 172 and 192 share the first bit, 172.16.0.1 is not considered */
    check_route(&f.plan.routes[2], "172.16.5.0/24", "", "192.168.9.5/0", 0);
    /* a link-local address lets the route be, but is no source for it */
    on_device(&f, "fe80::1/64");
    managed_plan_make(&f.in, &f.plan);
    assert_int_equal(f.plan.route_count, 4);
    check_route(&f.plan.routes[3], "fd00::/8", "", "", 0);
}

/* SV-85 */
static void test_default_route_is_split(void **state)
{
    struct fixture f;

    (void)state;
    start(&f);
    assign(&f, "10.0.0.5/24");
    assign(&f, "fd00::5/64");
    route(&f, "0.0.0.0/0", "10.0.0.1/0");
    route(&f, "::/0", "fd00::1/0");
    managed_plan_make(&f.in, &f.plan);
    assert_int_equal(f.plan.route_count, 0);
    f.policy.allow_default = true;
    managed_plan_make(&f.in, &f.plan);
    assert_int_equal(f.plan.route_count, 4);
    check_route(&f.plan.routes[0], "0.0.0.0/1", "10.0.0.1/0", "10.0.0.5/0", 5000);
    check_route(&f.plan.routes[1], "128.0.0.0/1", "10.0.0.1/0", "10.0.0.5/0", 5000);
    check_route(&f.plan.routes[2], "::/1", "fd00::1/0", "fd00::5/0", 5000);
    check_route(&f.plan.routes[3], "8000::/1", "fd00::1/0", "fd00::5/0", 5000);
    f.in.online = false;
    managed_plan_make(&f.in, &f.plan);
    assert_int_equal(f.plan.route_count, 0);
}

static void test_metric_and_repeats(void **state)
{
    struct fixture f;

    (void)state;
    start(&f);
    assign(&f, "10.0.0.5/24");
    route(&f, "192.168.1.0/24", "10.0.0.1/0");
    route(&f, "192.168.1.0/24", "10.0.0.2/0"); /* the first one wins */
    route(&f, "192.168.1.0/24", "10.0.0.3/0");
    f.routes[2].metric = 77;
    managed_plan_make(&f.in, &f.plan);
    assert_int_equal(f.plan.route_count, 2);
    check_route(&f.plan.routes[0], "192.168.1.0/24", "10.0.0.1/0", "10.0.0.5/0", 5000);
    check_route(&f.plan.routes[1], "192.168.1.0/24", "10.0.0.3/0", "10.0.0.5/0", 77);
}

static void test_tables_are_bounded(void **state)
{
    static struct inetaddr assigned[MANAGED_ADDRS_MAX + 10];
    static struct netconf_route routes[MANAGED_ROUTES_MAX + 10];
    struct fixture f;

    (void)state;
    start(&f);
    for (size_t i = 0; i < COUNT_OF(assigned); i++) {
        assigned[i] = parse("10.0.0.1/24");
        assigned[i].ip[2] = (uint8_t)i;
    }
    for (size_t i = 0; i < COUNT_OF(routes); i++) {
        routes[i].target = parse("192.168.0.0/30");
        routes[i].target.ip[2] = (uint8_t)(i >> 4);
        routes[i].target.ip[3] = (uint8_t)(i << 4);
    }
    f.in.assigned = assigned;
    f.in.assigned_count = COUNT_OF(assigned);
    f.in.routes = routes;
    f.in.route_count = COUNT_OF(routes);
    managed_plan_make(&f.in, &f.plan);
    assert_int_equal(f.plan.addr_count, MANAGED_ADDRS_MAX);
    assert_int_equal(f.plan.route_count, MANAGED_ROUTES_MAX);
    assert_true(f.plan.cut);
}

static void test_conflicts(void **state)
{
    struct net_iface ifaces[] = {
        {.index = 1, .kind = NET_IFACE_LOOPBACK},
        {.index = 2, .kind = NET_IFACE_PHYSICAL},
        {.index = 9, .kind = NET_IFACE_TUNNEL},
    };
    struct net_addr addrs[] = {
        {.ip = parse("127.0.0.1/8"), .index = 1},
        {.ip = parse("192.168.1.20/24"), .index = 2},
        {.ip = parse("fe80::1/64"), .index = 2},
        {.ip = parse("10.0.0.5/24"), .index = 9},
    };
    const struct net_snapshot snapshot = {
        .ifaces = ifaces, .iface_count = 3, .addrs = addrs, .addr_count = COUNT_OF(addrs)};
    struct managed_conflict out[8];
    struct fixture f;

    (void)state;
    start(&f);
    assign(&f, "10.0.0.5/24");
    route(&f, "192.168.1.0/24", "10.0.0.1/0");
    route(&f, "192.168.0.0/16", "10.0.0.1/0");
    route(&f, "192.168.2.0/24", "10.0.0.1/0");
    route(&f, "0.0.0.0/0", "10.0.0.1/0");
    f.policy.allow_default = true;
    managed_plan_make(&f.in, &f.plan);
    assert_int_equal(f.plan.route_count, 5);
    assert_int_equal(managed_conflicts(&f.plan, &snapshot, 9, out, COUNT_OF(out)), 2);
    assert_true(inetaddr_equal(&out[0].ours, &f.routes[0].target));
    assert_true(out[0].steals);
    assert_true(out[0].route);
    assert_int_equal(out[0].index, 2);
    assert_true(inetaddr_equal(&out[1].ours, &f.routes[1].target));
    assert_false(out[1].steals);
    assert_int_equal(managed_conflicts(&f.plan, &snapshot, 9, out, 1), 1);
    /* an address in the subnet of another card */
    start(&f);
    assign(&f, "192.168.1.77/24");
    managed_plan_make(&f.in, &f.plan);
    assert_int_equal(managed_conflicts(&f.plan, &snapshot, 9, out, COUNT_OF(out)), 1);
    assert_false(out[0].route);
    assert_true(out[0].steals);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_addresses_follow_policy),
        cmocka_unit_test(test_routes_with_and_without_gateway),
        cmocka_unit_test(test_routes_via_ourselves_are_skipped),
        cmocka_unit_test(test_source_is_the_nearest_address),
        cmocka_unit_test(test_default_route_is_split),
        cmocka_unit_test(test_metric_and_repeats),
        cmocka_unit_test(test_tables_are_bounded),
        cmocka_unit_test(test_conflicts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
