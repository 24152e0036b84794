/* Bringing a device to its plan, against a model of the system. Checklist: SV-82, SV-83, SV-84. */
#include "vectors.h"

#include "os/managed.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

enum { MODEL_MAX = 128, IFINDEX = 9 };

/* A device that behaves as the kernel's. */
struct model {
    struct inetaddr addrs[MODEL_MAX];
    size_t addr_count;
    struct net_route routes[MODEL_MAX];
    size_t route_count;
    unsigned calls;       /* changes asked for */
    bool tentative;       /* IPv6 addresses cannot be sources yet */
    int fail_addr_add;    /* error to give, 0 = none */
    int fail_addr_remove; /* the same */
};

static size_t find_addr(const struct model *m, const struct inetaddr *ip)
{
    size_t i = 0;

    while (i < m->addr_count && !inetaddr_equal(&m->addrs[i], ip)) {
        i++;
    }
    return i;
}

static int model_addr_add(void *ctx, unsigned index, const struct inetaddr *ip)
{
    struct model *m = ctx;

    assert_int_equal(index, IFINDEX);
    m->calls++;
    if (m->fail_addr_add != 0) {
        return m->fail_addr_add;
    }
    if (find_addr(m, ip) < m->addr_count) {
        return -EEXIST;
    }
    assert_true(m->addr_count < MODEL_MAX);
    m->addrs[m->addr_count++] = *ip;
    return 0;
}

static int model_addr_remove(void *ctx, unsigned index, const struct inetaddr *ip)
{
    struct model *m = ctx;

    assert_int_equal(index, IFINDEX);
    m->calls++;
    if (m->fail_addr_remove != 0) {
        return m->fail_addr_remove;
    }
    size_t i = find_addr(m, ip);
    if (i == m->addr_count) {
        return -EADDRNOTAVAIL;
    }
    m->addrs[i] = m->addrs[--m->addr_count];
    /* routes with that source go with it (IPv4), or lose it (IPv6) */
    for (size_t r = 0; r < m->route_count;) {
        if (!inetaddr_ip_equal(&m->routes[r].source, ip)) {
            r++;
        } else if (ip->family == INETADDR_V6) {
            m->routes[r++].source = (struct inetaddr){0};
        } else {
            m->routes[r] = m->routes[--m->route_count];
        }
    }
    return 0;
}

static int model_route_add(void *ctx, const struct net_route *route)
{
    struct model *m = ctx;
    bool source_ok = route->source.family == INETADDR_NIL;

    m->calls++;
    for (size_t i = 0; i < m->addr_count; i++) {
        source_ok = source_ok || inetaddr_ip_equal(&m->addrs[i], &route->source);
    }
    if (!source_ok || (m->tentative && route->source.family == INETADDR_V6)) {
        return -EINVAL;
    }
    for (size_t i = 0; i < m->route_count; i++) {
        if (inetaddr_equal(&m->routes[i].target, &route->target) &&
            m->routes[i].metric == route->metric) {
            return -EEXIST;
        }
    }
    assert_true(m->route_count < MODEL_MAX);
    m->routes[m->route_count++] = *route;
    return 0;
}

static bool same_route(const struct net_route *a, const struct net_route *b)
{
    return inetaddr_equal(&a->target, &b->target) && inetaddr_ip_equal(&a->via, &b->via) &&
           inetaddr_ip_equal(&a->source, &b->source) && a->metric == b->metric;
}

static int model_route_remove(void *ctx, const struct net_route *route)
{
    struct model *m = ctx;

    m->calls++;
    for (size_t i = 0; i < m->route_count; i++) {
        if (same_route(&m->routes[i], route)) {
            m->routes[i] = m->routes[--m->route_count];
            return 0;
        }
    }
    return -ESRCH;
}

static ssize_t model_routes_list(void *ctx, unsigned index, struct net_route *out, size_t cap)
{
    struct model *m = ctx;

    assert_int_equal(index, IFINDEX);
    size_t n = m->route_count < cap ? m->route_count : cap;
    memcpy(out, m->routes, n * sizeof(*out));
    return (ssize_t)n;
}

static struct managed_ops ops_of(struct model *m)
{
    return (struct managed_ops){
        .addr_add = model_addr_add,
        .addr_remove = model_addr_remove,
        .route_add = model_route_add,
        .route_remove = model_route_remove,
        .routes_list = model_routes_list,
        .ctx = m,
    };
}

static struct inetaddr parse(const char *text)
{
    struct inetaddr a = {0};

    assert_int_equal(inetaddr_parse(text, strlen(text), &a), 0);
    return a;
}

static void plan_addr(struct managed_plan *plan, const char *ip)
{
    plan->addrs[plan->addr_count++] = parse(ip);
}

static void plan_route(struct managed_plan *plan, const char *target, const char *via,
                       const char *source)
{
    struct net_route *r = &plan->routes[plan->route_count++];
    *r = (struct net_route){
        .target = parse(target), .via = parse(via), .source = parse(source), .index = IFINDEX};
    r->source.port = 0;
    r->metric = r->via.family != INETADDR_NIL ? MANAGED_METRIC_VIA : 0;
}

static struct managed_report run(struct model *m, struct managed_applied *applied,
                                 const struct managed_plan *plan)
{
    struct managed_ops ops = ops_of(m);
    struct managed_report report;
    struct inetaddr device[MODEL_MAX];
    size_t count = m->addr_count;

    memcpy(device, m->addrs, count * sizeof(*device));
    m->calls = 0;
    managed_sync(&ops, applied, plan, device, count, IFINDEX, &report);
    return report;
}

static bool has_addr(const struct model *m, const char *ip)
{
    struct inetaddr a = parse(ip);
    return find_addr(m, &a) < m->addr_count;
}

/* SV-82, SV-83 */
static void test_addresses_come_go_and_come_back(void **state)
{
    struct model m = {0};
    struct managed_applied applied = {0};
    struct managed_plan plan = {0};

    (void)state;
    m.addrs[m.addr_count++] = parse("10.9.9.9/24"); /* foreign */
    m.addrs[m.addr_count++] = parse("10.0.0.8/24"); /* foreign, and wanted as well */
    plan_addr(&plan, "10.0.0.5/24");
    plan_addr(&plan, "10.0.0.8/24");
    plan_addr(&plan, "fd00::5/88");
    struct managed_report report = run(&m, &applied, &plan);
    assert_int_equal(report.added, 2);
    assert_int_equal(report.failure_count, 0);
    assert_int_equal(m.addr_count, 4);
    report = run(&m, &applied, &plan);
    assert_int_equal(m.calls, 0);
    assert_int_equal(report.added + report.removed, 0);
    /* another program deletes one: it comes back */
    m.addrs[find_addr(&m, &plan.addrs[0])] = m.addrs[--m.addr_count];
    report = run(&m, &applied, &plan);
    assert_int_equal(report.added, 1);
    assert_true(has_addr(&m, "10.0.0.5/24"));
    /* another prefix length replaces */
    plan.addrs[0].port = 16;
    report = run(&m, &applied, &plan);
    assert_true(has_addr(&m, "10.0.0.5/16"));
    assert_false(has_addr(&m, "10.0.0.5/24"));
    assert_int_equal(report.failure_count, 0);
    /* all taken back: the foreign ones stay */
    const struct managed_plan empty = {0};
    report = run(&m, &applied, &empty);
    assert_int_equal(report.removed, 2);
    assert_int_equal(m.addr_count, 2);
    assert_true(has_addr(&m, "10.9.9.9/24"));
    assert_true(has_addr(&m, "10.0.0.8/24"));
}

/* A foreign address with our IP but another prefix gives way. */
static void test_wrong_prefix_of_others_is_replaced(void **state)
{
    struct model m = {0};
    struct managed_applied applied = {0};
    struct managed_plan plan = {0};

    (void)state;
    m.addrs[m.addr_count++] = parse("10.0.0.5/32");
    plan_addr(&plan, "10.0.0.5/24");
    struct managed_report report = run(&m, &applied, &plan);
    assert_int_equal(report.added, 1);
    assert_int_equal(report.removed, 1);
    assert_int_equal(m.addr_count, 1);
    assert_true(has_addr(&m, "10.0.0.5/24"));
}

/* SV-83, SV-84 */
static void test_routes_come_change_and_go(void **state)
{
    struct model m = {0};
    struct managed_applied applied = {0};
    struct managed_plan plan = {0};

    (void)state;
    m.routes[m.route_count++] = (struct net_route){.target = parse("172.31.0.0/16"), .index = 9};
    plan_addr(&plan, "10.0.0.5/24");
    plan_route(&plan, "10.78.0.0/16", "", "10.0.0.5/0");
    plan_route(&plan, "192.168.1.0/24", "10.0.0.1/0", "10.0.0.5/0");
    struct managed_report report = run(&m, &applied, &plan);
    assert_int_equal(report.added, 3);
    assert_int_equal(m.route_count, 3);
    (void)run(&m, &applied, &plan);
    assert_int_equal(m.calls, 0);
    /* the controller changes the gateway */
    plan.routes[1].via = parse("10.0.0.2/0");
    report = run(&m, &applied, &plan);
    assert_int_equal(report.added, 1);
    assert_int_equal(report.removed, 1);
    assert_int_equal(m.route_count, 3);
    /* another program deletes one */
    assert_int_equal(model_route_remove(&m, &plan.routes[0]), 0);
    report = run(&m, &applied, &plan);
    assert_int_equal(report.added, 1);
    /* the address goes and takes its routes along */
    plan = (struct managed_plan){0};
    plan_addr(&plan, "10.0.0.6/24");
    plan_route(&plan, "10.78.0.0/16", "", "10.0.0.6/0");
    report = run(&m, &applied, &plan);
    assert_int_equal(report.failure_count, 0);
    assert_int_equal(m.route_count, 2);
    assert_int_equal(applied.route_count, 1);
    const struct managed_plan empty = {0};
    (void)run(&m, &applied, &empty);
    assert_int_equal(m.route_count, 1);
    assert_int_equal(m.addr_count, 0);
    assert_int_equal(applied.addr_count + applied.route_count, 0);
}

static void test_tentative_source_is_put_in_later(void **state)
{
    struct model m = {.tentative = true};
    struct managed_applied applied = {0};
    struct managed_plan plan = {0};

    (void)state;
    plan_addr(&plan, "fd00::5/64");
    plan_route(&plan, "fd99::/32", "fd00::1/0", "fd00::5/0");
    struct managed_report report = run(&m, &applied, &plan);
    assert_int_equal(report.failure_count, 0);
    assert_int_equal(m.route_count, 1);
    assert_int_equal(m.routes[0].source.family, INETADDR_NIL);
    m.tentative = false;
    report = run(&m, &applied, &plan);
    assert_int_equal(report.failure_count, 0);
    assert_int_equal(m.route_count, 1);
    assert_true(inetaddr_ip_equal(&m.routes[0].source, &plan.routes[0].source));
    (void)run(&m, &applied, &plan);
    assert_int_equal(m.calls, 0);
}

static void test_failures_are_reported_and_retried(void **state)
{
    struct model m = {.fail_addr_add = -EPERM};
    struct managed_applied applied = {0};
    struct managed_plan plan = {0};

    (void)state;
    plan_addr(&plan, "10.0.0.5/24");
    struct managed_report report = run(&m, &applied, &plan);
    assert_int_equal(report.failure_count, 1);
    assert_int_equal(report.failures[0].action, MANAGED_ADDR_ADD);
    assert_int_equal(report.failures[0].error, -EPERM);
    assert_int_equal(applied.addr_count, 0);
    m.fail_addr_add = 0;
    report = run(&m, &applied, &plan);
    assert_int_equal(report.added, 1);
    m.fail_addr_remove = -EIO;
    const struct managed_plan empty = {0};
    report = run(&m, &applied, &empty);
    assert_int_equal(report.failure_count, 1);
    assert_int_equal(report.failures[0].action, MANAGED_ADDR_REMOVE);
    assert_int_equal(applied.addr_count, 1);
    m.fail_addr_remove = 0;
    report = run(&m, &applied, &empty);
    assert_int_equal(report.removed, 1);
    /* a route of another program on the same target */
    m.routes[m.route_count++] = (struct net_route){.target = parse("10.78.0.0/16"), .index = 9};
    plan_route(&plan, "10.78.0.0/16", "", "10.0.0.5/0");
    report = run(&m, &applied, &plan);
    assert_int_equal(report.failure_count, 1);
    assert_int_equal(report.failures[0].action, MANAGED_ROUTE_ADD);
    assert_int_equal(report.failures[0].error, -EEXIST);
}

/* Any sequence of plans and of meddling ends, after two runs, with exactly the plan plus what
 * others put there. */
static void test_random_plans_converge(void **state)
{
    struct test_rng rng = test_rng_init("managed_sync");
    struct model m = {0};
    struct managed_applied applied = {0};

    (void)state;
    for (int round = 0; round < 3000; round++) {
        struct managed_plan plan = {0};
        bool v6 = test_rng_below(&rng, 4) == 0;
        for (unsigned i = 0; i < 6; i++) {
            if (test_rng_below(&rng, 2) == 0) {
                struct inetaddr ip = parse(v6 ? "fd00::/24" : "10.0.0.1/24");
                ip.ip[3] = (uint8_t)(1 + i);
                ip.port = (uint16_t)(test_rng_below(&rng, 4) == 0 ? 16 : 24);
                plan.addrs[plan.addr_count++] = ip;
            }
        }
        for (unsigned i = 0; i < 6 && plan.addr_count > 0; i++) {
            if (test_rng_below(&rng, 2) == 0) {
                struct net_route r = {.index = IFINDEX};
                r.target = parse(v6 ? "fd99::/24" : "192.168.0.0/24");
                r.target.ip[2] = (uint8_t)i;
                r.via = parse(v6 ? "fd00::/0" : "10.0.0.100/0");
                r.via.ip[3] = (uint8_t)(100 + test_rng_below(&rng, 3));
                r.source = plan.addrs[test_rng_below(&rng, plan.addr_count)];
                r.source.port = 0;
                r.metric = MANAGED_METRIC_VIA;
                plan.routes[plan.route_count++] = r;
            }
        }
        if (m.addr_count > 0 && test_rng_below(&rng, 3) == 0) {
            struct inetaddr victim = m.addrs[test_rng_below(&rng, m.addr_count)];
            (void)model_addr_remove(&m, IFINDEX, &victim);
        }
        if (m.route_count > 0 && test_rng_below(&rng, 3) == 0) {
            struct net_route victim = m.routes[test_rng_below(&rng, m.route_count)];
            (void)model_route_remove(&m, &victim);
        }
        (void)run(&m, &applied, &plan);
        struct managed_report report = run(&m, &applied, &plan);
        assert_int_equal(report.failure_count, 0);
        assert_int_equal(m.addr_count, plan.addr_count);
        assert_int_equal(m.route_count, plan.route_count);
        for (size_t i = 0; i < plan.addr_count; i++) {
            assert_true(find_addr(&m, &plan.addrs[i]) < m.addr_count);
        }
        for (size_t i = 0; i < plan.route_count; i++) {
            size_t found = 0;
            for (size_t k = 0; k < m.route_count; k++) {
                found += same_route(&m.routes[k], &plan.routes[i]);
            }
            assert_int_equal(found, 1);
        }
        (void)run(&m, &applied, &plan);
        assert_int_equal(m.calls, 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_addresses_come_go_and_come_back),
        cmocka_unit_test(test_wrong_prefix_of_others_is_replaced),
        cmocka_unit_test(test_routes_come_change_and_go),
        cmocka_unit_test(test_tentative_source_is_put_in_later),
        cmocka_unit_test(test_failures_are_reported_and_retried),
        cmocka_unit_test(test_random_plans_converge),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
