/* Picks addresses. The first choice of a member is derived from its node address, as in the
 * reference, so that the same node tends to get the same address; after that the first gap. */
#include "controller/assign.h"

#include "base/cursor.h"
#include "wire/mac.h"

#include <string.h>

enum {
    ASSIGN_DERIVED_TRIES = 1000, /* addresses derived from the node address, or random (IPv6) */
    ASSIGN_GAP_EXTRA = 4,        /* steps of a gap search beyond the addresses in use */
};

/* True if the member has a stored address of this family inside a route. */
static bool has_managed(const struct cmember *m, enum inetaddr_family family)
{
    for (size_t i = 0; i < m->ip_count; i++) {
        const struct inetaddr *ip = &m->ips[i].ip;
        if (ip->family == family && plan_route(&m->net->plan, ip, false) != NULL) {
            return true;
        }
    }
    return false;
}

static bool is_free(const struct cmember *m, const struct inetaddr *ip)
{
    return network_ip_owner(m->net, ip, NULL) == NULL;
}

static struct inetaddr v4_make(uint32_t v)
{
    struct inetaddr ip = {.family = INETADDR_V4};
    be32_put(ip.ip, v);
    return ip;
}

/* Free, inside a route, and neither the network nor the broadcast address of that route. */
static bool v4_suits(const struct cmember *m, uint32_t v)
{
    struct inetaddr ip = v4_make(v);
    const struct inetaddr *route = plan_route(&m->net->plan, &ip, false);
    if (route == NULL || route->port == 0 || !is_free(m, &ip)) {
        return false;
    }
    uint32_t host = route->port >= 31 ? 0 : UINT32_MAX >> route->port;
    return host == 0 || ((v & host) != 0 && (v & host) != host);
}

/* The first gap between two addresses, both included. What is in use bounds the search, because
 * the range lies inside one route. */
static bool v4_gap(const struct cmember *m, uint32_t from, uint32_t to, uint32_t *ret)
{
    uint64_t steps = m->net->ips.count + 2 * (uint64_t)m->net->plan.route_count + ASSIGN_GAP_EXTRA;
    uint64_t last = from + steps;
    for (uint64_t v = from; v <= to && v <= last; v++) {
        if (v4_suits(m, (uint32_t)v)) {
            *ret = (uint32_t)v;
            return true;
        }
    }
    return false;
}

static bool v4_from_pool(const struct cmember *m, uint32_t start, uint32_t end, uint32_t *ret)
{
    uint32_t len = end - start;
    uint32_t c = (uint32_t)m->address;
    for (uint32_t i = 0; i <= len && i < ASSIGN_DERIVED_TRIES; i++, c++) {
        uint32_t v = len > 0 ? start + c % len : start;
        if ((v & 0xff) != 0xff && v4_suits(m, v)) {
            *ret = v;
            return true;
        }
    }
    const struct plan *plan = &m->net->plan;
    for (size_t i = 0; i < plan->route_count; i++) {
        const struct inetaddr *net = &plan->routes[i].target;
        if (net->family != INETADDR_V4 || net->port == 0) {
            continue;
        }
        uint32_t low = be32_get(net->ip);
        uint32_t high = low | (net->port >= 32 ? 0 : UINT32_MAX >> net->port);
        low = low > start ? low : start;
        high = high < end ? high : end;
        if (low <= high && v4_gap(m, low, high, ret)) {
            return true;
        }
    }
    return false;
}

static bool pick_v4(const struct cmember *m, struct inetaddr *ret)
{
    const struct plan *plan = &m->net->plan;
    for (size_t i = 0; i < plan->pool_count; i++) {
        if (plan->pools[i].start.family != INETADDR_V4) {
            continue;
        }
        uint32_t start = be32_get(plan->pools[i].start.ip);
        uint32_t end = be32_get(plan->pools[i].end.ip);
        uint32_t v;
        if (start != 0 && end >= start && v4_from_pool(m, start, end, &v)) {
            *ret = v4_make(v);
            return true;
        }
    }
    return false;
}

static struct inetaddr v6_make(uint64_t high, uint64_t low)
{
    struct inetaddr ip = {.family = INETADDR_V6};
    be64_put(ip.ip, high);
    be64_put(ip.ip + 8, low);
    return ip;
}

static bool v6_suits(const struct cmember *m, uint64_t high, uint64_t low)
{
    struct inetaddr ip = v6_make(high, low);
    return plan_route(&m->net->plan, &ip, true) != NULL && is_free(m, &ip);
}

static bool v6_from_pool(const struct cmember *m, const struct pool *pool, random_fn rnd,
                         void *rnd_ctx, struct inetaddr *ret)
{
    uint64_t high = be64_get(pool->start.ip);
    uint64_t low = be64_get(pool->start.ip + 8);
    uint64_t high_span = be64_get(pool->end.ip) - high;
    uint64_t low_span = be64_get(pool->end.ip + 8) - low;
    if (memcmp(pool->start.ip, pool->end.ip, 16) > 0) {
        return false;
    }
    if (be64_get(pool->end.ip + 8) > low && low_span >= UINT64_C(0xffffffffff) &&
        v6_suits(m, high, low + m->address)) {
        *ret = v6_make(high, low + m->address);
        return true;
    }
    uint64_t offset[2];
    for (int i = 0; i < ASSIGN_DERIVED_TRIES; i++) {
        rnd(rnd_ctx, offset, sizeof(offset));
        uint64_t h = high + (high_span > 0 ? offset[0] % high_span : 0);
        uint64_t l = low + (low_span > 0 ? offset[1] % low_span : 0);
        if (v6_suits(m, h, l)) {
            *ret = v6_make(h, l);
            return true;
        }
    }
    /* A small pool may be nearly full: look for the first gap. */
    for (uint64_t i = 0; i <= m->net->ips.count + ASSIGN_GAP_EXTRA; i++) {
        if ((high_span > 0 || i <= low_span) && v6_suits(m, high, low + i)) {
            *ret = v6_make(high, low + i);
            return true;
        }
    }
    return false;
}

static bool pick_v6(const struct cmember *m, random_fn rnd, void *rnd_ctx, struct inetaddr *ret)
{
    const struct plan *plan = &m->net->plan;
    for (size_t i = 0; i < plan->pool_count; i++) {
        if (plan->pools[i].start.family == INETADDR_V6 &&
            v6_from_pool(m, &plan->pools[i], rnd, rnd_ctx, ret)) {
            return true;
        }
    }
    return false;
}

enum assign_result assign_pick(const struct cmember *m, enum inetaddr_family family, random_fn rnd,
                               void *rnd_ctx, struct inetaddr *ret)
{
    const struct plan *plan = &m->net->plan;
    bool wanted = family == INETADDR_V4 ? plan->v4_zt : plan->v6_zt;
    if (!wanted || m->no_auto_ips || m->ip_count >= NETCONF_ADDRESSES_MAX ||
        has_managed(m, family)) {
        return ASSIGN_NOTHING;
    }
    uint8_t flag = family == INETADDR_V4 ? MODEL_NO_V4 : MODEL_NO_V6;
    if ((m->net->exhausted & flag) != 0) {
        return ASSIGN_NOTHING;
    }
    bool found = family == INETADDR_V4 ? pick_v4(m, ret) : pick_v6(m, rnd, rnd_ctx, ret);
    if (found) {
        return ASSIGN_DONE;
    }
    m->net->exhausted |= flag;
    for (size_t i = 0; i < plan->pool_count; i++) {
        if (plan->pools[i].start.family == family) {
            return ASSIGN_EXHAUSTED;
        }
    }
    return ASSIGN_NOTHING;
}

size_t assign_addresses(const struct cmember *m, struct inetaddr out[NETCONF_ADDRESSES_MAX],
                        bool *ret_ndp)
{
    const struct plan *plan = &m->net->plan;
    size_t n = 0;
    if (plan->v6_rfc4193 && !m->no_auto_ips) {
        out[n++] = network_rfc4193(m->net->nwid, m->address);
    }
    if (plan->v6_6plane && !m->no_auto_ips) {
        out[n++] = network_6plane(m->net->nwid, m->address);
    }
    *ret_ndp = n > 0;
    for (size_t i = 0; i < m->ip_count && n < NETCONF_ADDRESSES_MAX; i++) {
        const struct inetaddr *route = plan_route(plan, &m->ips[i].ip, false);
        if (route != NULL) {
            out[n] = m->ips[i].ip;
            out[n++].port = route->port;
        }
    }
    return n;
}
