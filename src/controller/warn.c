/* Warnings about networks. Source: spec 04 CTL-122. */
#include "controller/warn.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/* Where findings go. */
struct sink {
    warn_fn found;
    void *ctx;
};

static void tell(const struct sink *to, const char *kind, uint64_t member, const char *fmt, ...)
    PRINTF_LIKE(4, 5);

static void tell(const struct sink *to, const char *kind, uint64_t member, const char *fmt, ...)
{
    char text[240];
    va_list args;
    va_start(args, fmt);
    (void)vsnprintf(text, sizeof(text), fmt, args);
    va_end(args);
    to->found(to->ctx, kind, member, text);
}

static void warn_routes(const struct plan *plan, const struct sink *to)
{
    for (size_t i = 0; i < plan->route_count; i++) {
        char a[INETADDR_TEXT_LEN];
        const struct inetaddr *target = &plan->routes[i].target;
        inetaddr_print(target, a);
        if (target->port == 0) {
            tell(to, "default-route", 0, "routes: %s is a default route", a);
            continue; /* it overlaps with everything */
        }
        for (size_t k = i + 1; k < plan->route_count; k++) {
            char b[INETADDR_TEXT_LEN];
            const struct inetaddr *other = &plan->routes[k].target;
            inetaddr_print(other, b);
            if (inetaddr_equal(target, other)) {
                tell(to, "overlapping-routes", 0, "routes: target %s occurs twice", a);
            } else if (other->port != 0 &&
                       (inetaddr_in_net(target, other) || inetaddr_in_net(other, target))) {
                tell(to, "overlapping-routes", 0, "routes: %s and %s overlap", a, b);
            }
        }
    }
}

static void warn_pools(const struct plan *plan, const struct sink *to)
{
    for (size_t i = 0; i < plan->pool_count; i++) {
        char a[INETADDR_TEXT_LEN];
        char b[INETADDR_TEXT_LEN];
        const struct pool *pool = &plan->pools[i];
        inetaddr_print_ip(&pool->start, a);
        inetaddr_print_ip(&pool->end, b);
        if (memcmp(pool->start.ip, pool->end.ip, sizeof(pool->start.ip)) > 0) {
            tell(to, "empty-pool", 0,
                 "ipAssignmentPools: %s - %s ends before it starts and never gives an address", a,
                 b);
        }
        if (plan_route(plan, &pool->start, false) == NULL ||
            plan_route(plan, &pool->end, false) == NULL) {
            tell(to, "pool-outside-routes", 0,
                 "ipAssignmentPools: %s - %s is not inside a route, its addresses outside are not "
                 "given out",
                 a, b);
        }
    }
}

void warn_plan(const struct plan *plan, warn_fn found, void *ctx)
{
    const struct sink to = {.found = found, .ctx = ctx};
    warn_routes(plan, &to);
    warn_pools(plan, &to);
}

static void warn_member(const struct cnetwork *net, const struct cmember *m, const struct sink *to)
{
    for (size_t i = 0; i < m->ip_count; i++) {
        char ip[INETADDR_TEXT_LEN];
        inetaddr_print_ip(&m->ips[i].ip, ip);
        const struct cmember *other = network_ip_owner(net, &m->ips[i].ip, m);
        if (other != NULL) {
            tell(to, "duplicate-address", m->address, "%s is also assigned to %010llx", ip,
                 (unsigned long long)other->address);
        }
        if (plan_route(&net->plan, &m->ips[i].ip, false) == NULL) {
            tell(to, "address-outside-routes", m->address, "%s is in no route and is not sent", ip);
        }
    }
}

void warn_network(const struct cnetwork *net, warn_fn found, void *ctx)
{
    const struct sink to = {.found = found, .ctx = ctx};
    warn_plan(&net->plan, found, ctx);
    if ((net->exhausted & MODEL_NO_V4) != 0) {
        tell(&to, "exhausted-pool", 0, "ipAssignmentPools: no IPv4 address is left");
    }
    if ((net->exhausted & MODEL_NO_V6) != 0) {
        tell(&to, "exhausted-pool", 0, "ipAssignmentPools: no IPv6 address is left");
    }
    struct hmap_node *it = NULL;
    while ((it = hmap_each(&net->clashes, it)) != NULL) {
        tell(&to, "identity-clash", it->key, "another key came with the address of this member");
    }
    it = NULL;
    while ((it = hmap_each(&net->members, it)) != NULL) {
        warn_member(net, CONTAINER_OF(it, struct cmember, node), &to);
    }
}
