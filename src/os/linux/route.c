/* Routes of Linux over route netlink. Implements: spec 05 section 6.3 (installed form; the traps
 * named there: a route without gateway gets its device and preferred source, scope link). */
#include "os/addr.h"

#include "os/linux/net_priv.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>

enum {
    ROUTE_METRIC_V6 = 1024, /* what the kernel makes of "no metric" for IPv6 */
};

/* A list being read. */
struct route_list {
    unsigned index;
    struct net_route *out;
    size_t cap;
    size_t count;
};

/* True if the target and what goes with it are of one family and in range. */
static bool is_valid_route(const struct net_route *route)
{
    size_t len = inetaddr_ip_len(&route->target);

    if (len == 0 || route->target.port > len * 8 || route->index == 0) {
        return false;
    }
    return (route->via.family == INETADDR_NIL || route->via.family == route->target.family) &&
           (route->source.family == INETADDR_NIL || route->source.family == route->target.family);
}

static void put_route(struct nl_request *req, const struct net_route *route)
{
    nl_put_ip(req, RTA_DST, &route->target);
    nl_put_u32(req, RTA_OIF, route->index);
    if (route->via.family != INETADDR_NIL) {
        nl_put_ip(req, RTA_GATEWAY, &route->via);
    }
    if (route->source.family != INETADDR_NIL) {
        nl_put_ip(req, RTA_PREFSRC, &route->source);
    }
    if (route->metric != 0) {
        nl_put_u32(req, RTA_PRIORITY, route->metric);
    }
}

int net_route_add(struct net *net, const struct net_route *route)
{
    struct nl_request req;

    if (!is_valid_route(route)) {
        return -EINVAL;
    }
    bool on_link = route->via.family == INETADDR_NIL;
    const struct rtmsg info = {
        .rtm_family = nl_family(&route->target),
        .rtm_dst_len = (uint8_t)route->target.port,
        .rtm_table = RT_TABLE_MAIN,
        .rtm_protocol = RTPROT_STATIC,
        .rtm_scope = on_link ? RT_SCOPE_LINK : RT_SCOPE_UNIVERSE,
        .rtm_type = RTN_UNICAST,
    };
    nl_begin(&req, RTM_NEWROUTE, NLM_F_CREATE | NLM_F_EXCL, &info, sizeof(info));
    put_route(&req, route);
    return nl_call(&net->nl, &req);
}

int net_route_remove(struct net *net, const struct net_route *route)
{
    struct nl_request req;

    if (!is_valid_route(route)) {
        return -EINVAL;
    }
    const struct rtmsg info = {
        .rtm_family = nl_family(&route->target),
        .rtm_dst_len = (uint8_t)route->target.port,
        .rtm_table = RT_TABLE_MAIN,
        .rtm_protocol = RTPROT_STATIC,
        .rtm_scope = RT_SCOPE_NOWHERE, /* any scope */
        .rtm_type = RTN_UNICAST,
    };
    nl_begin(&req, RTM_DELROUTE, 0, &info, sizeof(info));
    put_route(&req, route);
    return nl_call(&net->nl, &req);
}

static int read_route(void *ctx, const struct nlmsghdr *message)
{
    struct route_list *list = ctx;
    const struct rtattr *attrs[RTA_MAX + 1];
    const struct rtmsg *info = nl_body(message, sizeof(*info));

    if (message->nlmsg_type != RTM_NEWROUTE || info == NULL || info->rtm_table != RT_TABLE_MAIN ||
        info->rtm_type != RTN_UNICAST || info->rtm_protocol != RTPROT_STATIC ||
        list->count == list->cap) {
        return 0;
    }
    nl_attrs(message, sizeof(*info), attrs, RTA_MAX);
    uint8_t family = nl_family_of(info->rtm_family);
    if (family == INETADDR_NIL || nl_u32(attrs[RTA_OIF]) != list->index) {
        return 0;
    }
    struct net_route route = {
        .index = list->index,
        .metric = nl_u32(attrs[RTA_PRIORITY]),
    };
    if (!nl_ip(attrs[RTA_DST], family, &route.target)) {
        route.target.family = family; /* default route */
    }
    route.target.port = info->rtm_dst_len;
    (void)nl_ip(attrs[RTA_GATEWAY], family, &route.via);
    (void)nl_ip(attrs[RTA_PREFSRC], family, &route.source);
    if (family == INETADDR_V6 && route.metric == ROUTE_METRIC_V6) {
        route.metric = 0;
    }
    list->out[list->count++] = route;
    return 0;
}

ssize_t net_routes_list(struct net *net, unsigned index, struct net_route *out, size_t cap)
{
    static const uint8_t families[] = {AF_INET, AF_INET6};
    struct route_list list = {.index = index, .out = out, .cap = cap};

    for (size_t i = 0; i < COUNT_OF(families); i++) {
        struct nl_request req;
        const struct rtmsg info = {
            .rtm_family = families[i],
            .rtm_table = RT_TABLE_MAIN,
            .rtm_protocol = RTPROT_STATIC,
        };
        size_t before = list.count;
        int error = -EAGAIN;
        for (int tries = 0; tries < NET_DUMP_TRIES && error == -EAGAIN; tries++) {
            list.count = before;
            nl_begin(&req, RTM_GETROUTE, 0, &info, sizeof(info));
            nl_put_u32(&req, RTA_OIF, index);
            error = nl_dump(&net->nl, &req, read_route, &list);
        }
        if (error == -ENODEV || error == -ENOENT || error == -EOPNOTSUPP ||
            error == -EAFNOSUPPORT) {
            continue; /* no such device, no main table yet, no such family here: no routes */
        }
        if (error != 0) {
            return error;
        }
    }
    return (ssize_t)list.count;
}

int net_route_lookup(struct net *net, const struct inetaddr *ip, unsigned *ret_index,
                     struct inetaddr *ret_source)
{
    struct nl_request req;
    const struct nlmsghdr *answer;
    const struct rtattr *attrs[RTA_MAX + 1];

    size_t len = inetaddr_ip_len(ip);
    if (len == 0) {
        return -EINVAL;
    }
    const struct rtmsg ask = {.rtm_family = nl_family(ip), .rtm_dst_len = (uint8_t)(len * 8)};
    nl_begin(&req, RTM_GETROUTE, 0, &ask, sizeof(ask));
    nl_put_ip(&req, RTA_DST, ip);
    int error = nl_get(&net->nl, &req, &answer);
    if (error != 0) {
        return error;
    }
    const struct rtmsg *info = nl_body(answer, sizeof(*info));
    if (answer->nlmsg_type != RTM_NEWROUTE || info == NULL) {
        return -EBADMSG;
    }
    nl_attrs(answer, sizeof(*info), attrs, RTA_MAX);
    if (info->rtm_type != RTN_UNICAST && info->rtm_type != RTN_LOCAL) {
        return -ENETUNREACH;
    }
    struct inetaddr source = {0};
    (void)nl_ip(attrs[RTA_PREFSRC], ip->family, &source);
    *ret_index = nl_u32(attrs[RTA_OIF]);
    *ret_source = source;
    return 0;
}
