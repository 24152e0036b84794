/* Bringing a device to its plan. Implements: spec 05 sections 6.2 and 6.3 (order, replacement,
 * idempotence); SV-82 to SV-85. */
#include "os/managed.h"

#include <errno.h>
#include <string.h>

/* One synchronization under way. */
struct sync {
    const struct managed_ops *ops;
    struct managed_applied *applied;
    const struct managed_plan *plan;
    const struct inetaddr *device_ips;
    size_t device_ip_count;
    unsigned ifindex;
    struct managed_report *report;
};

static int real_addr_add(void *ctx, unsigned index, const struct inetaddr *ip)
{
    return net_addr_add(ctx, index, ip);
}

static int real_addr_remove(void *ctx, unsigned index, const struct inetaddr *ip)
{
    return net_addr_remove(ctx, index, ip);
}

static int real_route_add(void *ctx, const struct net_route *route)
{
    return net_route_add(ctx, route);
}

static int real_route_remove(void *ctx, const struct net_route *route)
{
    return net_route_remove(ctx, route);
}

static ssize_t real_routes_list(void *ctx, unsigned index, struct net_route *out, size_t cap)
{
    return net_routes_list(ctx, index, out, cap);
}

struct managed_ops managed_ops_net(struct net *net)
{
    return (struct managed_ops){
        .addr_add = real_addr_add,
        .addr_remove = real_addr_remove,
        .route_add = real_route_add,
        .route_remove = real_route_remove,
        .routes_list = real_routes_list,
        .ctx = net,
    };
}

static void fail(struct sync *s, enum managed_action action, const struct inetaddr *target,
                 int error)
{
    if (s->report->failure_count == MANAGED_FAILURES_MAX) {
        return;
    }
    s->report->failures[s->report->failure_count++] =
        (struct managed_failure){.action = action, .target = *target, .error = error};
}

static bool contains_addr(const struct inetaddr *list, size_t count, const struct inetaddr *ip)
{
    for (size_t i = 0; i < count; i++) {
        if (inetaddr_equal(&list[i], ip)) {
            return true;
        }
    }
    return false;
}

/* Same route, whatever its source: the kernel clears the source of an IPv6 route whose address
 * goes. */
static bool route_same_key(const struct net_route *a, const struct net_route *b)
{
    return a->index == b->index && a->metric == b->metric &&
           inetaddr_equal(&a->target, &b->target) && inetaddr_ip_equal(&a->via, &b->via);
}

/* The route of the list with the same key, or NULL. */
static const struct net_route *find_route(const struct net_route *list, size_t count,
                                          const struct net_route *route)
{
    for (size_t i = 0; i < count; i++) {
        if (route_same_key(&list[i], route)) {
            return &list[i];
        }
    }
    return NULL;
}

/* True if the list has exactly this route. */
static bool contains_route(const struct net_route *list, size_t count,
                           const struct net_route *route)
{
    const struct net_route *found = find_route(list, count, route);
    return found != NULL && inetaddr_ip_equal(&found->source, &route->source);
}

/* Take back our addresses that are not wanted any more. */
static void remove_addrs(struct sync *s)
{
    struct managed_applied *applied = s->applied;
    size_t kept = 0;

    for (size_t i = 0; i < applied->addr_count; i++) {
        const struct inetaddr ip = applied->addrs[i];
        if (contains_addr(s->plan->addrs, s->plan->addr_count, &ip)) {
            applied->addrs[kept++] = ip;
            continue;
        }
        int error = s->ops->addr_remove(s->ops->ctx, s->ifindex, &ip);
        if (error == 0) {
            s->report->removed++;
        } else if (error != -EADDRNOTAVAIL && error != -ENODEV) {
            fail(s, MANAGED_ADDR_REMOVE, &ip, error);
            applied->addrs[kept++] = ip; /* tried again next time */
        }
    }
    applied->addr_count = kept;
}

/* Remove the same IP with another prefix length from the device. */
static void remove_other_prefix(struct sync *s, const struct inetaddr *ip)
{
    for (size_t i = 0; i < s->device_ip_count; i++) {
        const struct inetaddr *old = &s->device_ips[i];
        if (!inetaddr_ip_equal(old, ip) || old->port == ip->port) {
            continue;
        }
        int error = s->ops->addr_remove(s->ops->ctx, s->ifindex, old);
        if (error == 0) {
            s->report->removed++;
        } else if (error != -EADDRNOTAVAIL) {
            fail(s, MANAGED_ADDR_REMOVE, old, error);
        }
    }
}

static void remember_addr(struct managed_applied *applied, const struct inetaddr *ip)
{
    if (!contains_addr(applied->addrs, applied->addr_count, ip) &&
        applied->addr_count < MANAGED_ADDRS_MAX) {
        applied->addrs[applied->addr_count++] = *ip;
    }
}

static void add_addrs(struct sync *s)
{
    for (size_t i = 0; i < s->plan->addr_count; i++) {
        const struct inetaddr *ip = &s->plan->addrs[i];
        if (contains_addr(s->device_ips, s->device_ip_count, ip)) {
            continue; /* also when another program put it there: then it is not ours to remove */
        }
        remove_other_prefix(s, ip);
        int error = s->ops->addr_add(s->ops->ctx, s->ifindex, ip);
        if (error != 0 && error != -EEXIST) {
            fail(s, MANAGED_ADDR_ADD, ip, error);
            continue;
        }
        s->report->added += error == 0;
        remember_addr(s->applied, ip);
    }
}

/* Take back our routes that are not wanted any more, or not in this form. */
static void remove_routes(struct sync *s, const struct net_route *there, size_t there_count)
{
    struct managed_applied *applied = s->applied;
    size_t kept = 0;

    for (size_t i = 0; i < applied->route_count; i++) {
        const struct net_route *route = find_route(there, there_count, &applied->routes[i]);
        if (route == NULL) {
            continue; /* the kernel or another program took it away */
        }
        if (contains_route(s->plan->routes, s->plan->route_count, route)) {
            applied->routes[kept++] = *route;
            continue;
        }
        int error = s->ops->route_remove(s->ops->ctx, route);
        if (error == 0) {
            s->report->removed++;
        } else if (error != -ESRCH && error != -ENODEV) {
            fail(s, MANAGED_ROUTE_REMOVE, &route->target, error);
            applied->routes[kept++] = *route;
        }
    }
    applied->route_count = kept;
}

static void add_routes(struct sync *s, const struct net_route *there, size_t there_count)
{
    for (size_t i = 0; i < s->plan->route_count; i++) {
        struct net_route route = s->plan->routes[i];
        if (contains_route(there, there_count, &route)) {
            continue;
        }
        int error = s->ops->route_add(s->ops->ctx, &route);
        if (error == -EINVAL && route.target.family == INETADDR_V6 &&
            route.source.family != INETADDR_NIL) {
            /* the source is still tentative: the next run puts it in */
            route.source = (struct inetaddr){0};
            error = s->ops->route_add(s->ops->ctx, &route);
        }
        if (error != 0) {
            fail(s, MANAGED_ROUTE_ADD, &route.target, error);
            continue;
        }
        s->report->added++;
        if (s->applied->route_count < MANAGED_ROUTES_MAX) {
            s->applied->routes[s->applied->route_count++] = route;
        }
    }
}

void managed_sync(const struct managed_ops *ops, struct managed_applied *applied,
                  const struct managed_plan *plan, const struct inetaddr *device_ips,
                  size_t device_ip_count, unsigned ifindex, struct managed_report *ret)
{
    struct net_route there[MANAGED_ROUTES_MAX];
    struct sync s = {
        .ops = ops,
        .applied = applied,
        .plan = plan,
        .device_ips = device_ips,
        .device_ip_count = device_ip_count,
        .ifindex = ifindex,
        .report = ret,
    };

    *ret = (struct managed_report){0};
    remove_addrs(&s);
    add_addrs(&s);
    /* after the addresses: the kernel drops routes whose source goes */
    ssize_t count = ops->routes_list(ops->ctx, ifindex, there, COUNT_OF(there));
    if (count < 0) {
        fail(&s, MANAGED_ROUTE_ADD, &(struct inetaddr){0}, (int)count);
        return;
    }
    remove_routes(&s, there, (size_t)count);
    add_routes(&s, there, (size_t)count);
}
