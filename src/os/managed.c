/* Managed addresses and routes: from configuration to plan, from plan to the device.
 * Implements: spec 03 section 14, spec 05 sections 6.2 and 6.3; SV-82 to SV-85. The traps of 6.3
 * are avoided: routes are compared whole, and one without gateway goes to the device with our own
 * address as source. */
#include "os/managed.h"

#include "wire/netconf.h"

#include <errno.h>
#include <string.h>

/* Same IP and same prefix length. */
static bool has_prefix_addr(const struct inetaddr *list, size_t count, const struct inetaddr *ip)
{
    for (size_t i = 0; i < count; i++) {
        if (inetaddr_equal(&list[i], ip)) {
            return true;
        }
    }
    return false;
}

static bool has_ip(const struct inetaddr *list, size_t count, const struct inetaddr *ip)
{
    for (size_t i = 0; i < count; i++) {
        if (inetaddr_ip_equal(&list[i], ip)) {
            return true;
        }
    }
    return false;
}

/* The network of a prefix: bits after it cleared. */
static struct inetaddr network_of(const struct inetaddr *prefix)
{
    struct inetaddr net = *prefix;

    size_t bits = inetaddr_ip_len(prefix) * 8;
    for (size_t bit = prefix->port; bit < bits; bit++) {
        net.ip[bit / 8] &= (uint8_t) ~(0x80u >> (bit % 8));
    }
    return net;
}

/* Leading bits that two IPs of one family share. */
static unsigned common_bits(const struct inetaddr *a, const struct inetaddr *b)
{
    size_t bits = inetaddr_ip_len(a) * 8;

    for (size_t bit = 0; bit < bits; bit++) {
        if (((a->ip[bit / 8] ^ b->ip[bit / 8]) & (0x80u >> (bit % 8))) != 0) {
            return (unsigned)bit;
        }
    }
    return (unsigned)bits;
}

static void plan_addrs(const struct managed_input *in, struct managed_plan *plan)
{
    for (size_t i = 0; i < in->assigned_count; i++) {
        const struct inetaddr *ip = &in->assigned[i];
        if (managed_check(in->policy, ip) != MANAGED_ALLOWED ||
            has_ip(plan->addrs, plan->addr_count, ip)) {
            continue;
        }
        if (plan->addr_count == MANAGED_ADDRS_MAX) {
            plan->cut = true;
            return;
        }
        plan->addrs[plan->addr_count++] = *ip;
    }
}

/* A choice of source address under way. */
struct source_choice {
    struct inetaddr best; /* nil = none yet */
    unsigned bits;        /* leading bits best shares with the target */
    bool link_local;      /* a link-local address of the family is there */
};

static void consider_source(struct source_choice *choice, const struct inetaddr *ip,
                            const struct inetaddr *target)
{
    if (ip->family != target->family) {
        return;
    }
    enum inet_scope scope = inetaddr_scope(ip);
    if (scope == INET_SCOPE_LINK_LOCAL ||
        scope == INET_SCOPE_LOOPBACK) { /* fe80::1 is the latter */
        choice->link_local = true;      /* good enough to install a route, not as its source */
        return;
    }
    unsigned bits = common_bits(ip, target);
    if (choice->best.family == INETADDR_NIL || bits > choice->bits) {
        choice->best = *ip;
        choice->best.port = 0;
        choice->bits = bits;
    }
}

/* Choose the source of a route. Returns false if the device has no address of the family; *ret is
 * nil if it has a link-local one only. */
static bool choose_source(const struct managed_input *in, const struct managed_plan *plan,
                          const struct inetaddr *target, struct inetaddr *ret)
{
    struct source_choice choice = {0};

    for (size_t i = 0; i < plan->addr_count; i++) {
        consider_source(&choice, &plan->addrs[i], target);
    }
    for (size_t i = 0; i < in->device_ip_count; i++) {
        const struct inetaddr *ip = &in->device_ips[i];
        /* ours, but not in the plan any more: about to go */
        if (in->applied == NULL ||
            !has_prefix_addr(in->applied->addrs, in->applied->addr_count, ip)) {
            consider_source(&choice, ip, target);
        }
    }
    *ret = choice.best;
    return choice.best.family != INETADDR_NIL || choice.link_local;
}

/* True if an address of the plan brings this route by itself. */
static bool is_connected(const struct managed_plan *plan, const struct inetaddr *target)
{
    for (size_t i = 0; i < plan->addr_count; i++) {
        if (plan->addrs[i].port == target->port && inetaddr_in_net(&plan->addrs[i], target)) {
            return true;
        }
    }
    return false;
}

/* Append unless a route of the same target and metric is there: the first one wins. */
static void plan_add_route(struct managed_plan *plan, const struct net_route *route)
{
    for (size_t i = 0; i < plan->route_count; i++) {
        if (inetaddr_equal(&plan->routes[i].target, &route->target) &&
            plan->routes[i].metric == route->metric) {
            return;
        }
    }
    if (plan->route_count == MANAGED_ROUTES_MAX) {
        plan->cut = true;
        return;
    }
    plan->routes[plan->route_count++] = *route;
}

/* Put one configured route into the plan if it belongs there. */
static void plan_route(const struct managed_input *in, struct managed_plan *plan,
                       const struct netconf_route *wanted, bool gateway)
{
    struct net_route route = {.index = in->ifindex, .metric = wanted->metric};

    if (gateway) {
        route.via = wanted->via;
        route.via.port = 0;
        route.metric = wanted->metric != 0 ? wanted->metric : MANAGED_METRIC_VIA;
    }
    route.target = network_of(&wanted->target);
    if (is_connected(plan, &route.target) ||
        !choose_source(in, plan, &route.target, &route.source)) {
        return;
    }
    if (route.target.port != 0) {
        plan_add_route(plan, &route);
        return;
    }
    /* two halves outrank the real default route without deleting it */
    route.target.port = 1;
    plan_add_route(plan, &route);
    route.target.ip[0] = 0x80;
    plan_add_route(plan, &route);
}

void managed_plan_make(const struct managed_input *in, struct managed_plan *ret)
{
    memset(ret, 0, sizeof(*ret));
    plan_addrs(in, ret);
    /* without gateway first, so that gateways are reachable */
    for (int gateway = 0; gateway < 2; gateway++) {
        for (size_t i = 0; i < in->route_count; i++) {
            const struct netconf_route *wanted = &in->routes[i];
            bool has_via =
                wanted->via.family != INETADDR_NIL && wanted->via.family == wanted->target.family;
            if (has_via != (gateway == 1) ||
                managed_check(in->policy, &wanted->target) != MANAGED_ALLOWED ||
                (wanted->target.port == 0 && !in->online)) {
                continue;
            }
            if (has_via && (has_ip(in->device_ips, in->device_ip_count, &wanted->via) ||
                            has_ip(in->assigned, in->assigned_count, &wanted->via))) {
                continue; /* we are that gateway */
            }
            plan_route(in, ret, wanted, has_via);
        }
    }
}

/* ---- conflicts ---- */

/* Conflicts being collected. */
struct conflict_search {
    const struct net_snapshot *snapshot;
    unsigned ifindex; /* our own device */
    struct managed_conflict *out;
    size_t cap;
    size_t count;
};

static void search_conflicts(struct conflict_search *s, const struct inetaddr *ours, bool route)
{
    for (size_t i = 0; i < s->snapshot->addr_count && s->count < s->cap; i++) {
        const struct net_addr *other = &s->snapshot->addrs[i];
        const struct net_iface *iface = net_iface_find(s->snapshot, other->index);
        enum inet_scope scope = inetaddr_scope(&other->ip);
        if (other->index == s->ifindex || scope == INET_SCOPE_LINK_LOCAL ||
            scope == INET_SCOPE_LOOPBACK || (iface != NULL && iface->kind == NET_IFACE_LOOPBACK)) {
            continue;
        }
        struct inetaddr net = network_of(&other->ip);
        if (inetaddr_in_net(ours, &net) || inetaddr_in_net(&net, ours)) {
            s->out[s->count++] = (struct managed_conflict){
                .ours = *ours,
                .other = other->ip,
                .index = other->index,
                .route = route,
                .steals = ours->port >= other->ip.port,
            };
        }
    }
}

size_t managed_conflicts(const struct managed_plan *plan, const struct net_snapshot *snapshot,
                         unsigned ifindex, struct managed_conflict *out, size_t cap)
{
    struct conflict_search s = {.snapshot = snapshot, .ifindex = ifindex, .out = out, .cap = cap};

    for (size_t i = 0; i < plan->addr_count; i++) {
        search_conflicts(&s, &plan->addrs[i], false);
    }
    for (size_t i = 0; i < plan->route_count; i++) {
        if (plan->routes[i].target.port > 1) {
            search_conflicts(&s, &plan->routes[i].target, true);
        }
    }
    return s.count;
}
