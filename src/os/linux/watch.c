/* Changes of interfaces, addresses and routes as route netlink reports them.
 * Implements: spec 05 section 6.8 (subscription). */
#include "os/addr.h"

#include "os/linux/nl_priv.h"

#include <errno.h>
#include <linux/if_addr.h>
#include <linux/if_link.h>
#include <stdlib.h>

enum {
    WATCH_READS_MAX = 256, /* datagrams a drain takes; the rest keeps the descriptor readable */
};

struct net_watch {
    struct nl nl;
};

int net_watch_open(struct net_watch **ret)
{
    const uint32_t groups = RTMGRP_LINK | RTMGRP_IPV4_IFADDR | RTMGRP_IPV6_IFADDR |
                            RTMGRP_IPV4_ROUTE | RTMGRP_IPV6_ROUTE;

    struct net_watch *watch = calloc(1, sizeof(*watch));
    if (watch == NULL) {
        return -ENOMEM;
    }
    int error = nl_open(&watch->nl, groups);
    if (error != 0) {
        free(watch);
        return error;
    }
    *ret = watch;
    return 0;
}

void net_watch_close(struct net_watch *watch)
{
    if (watch == NULL) {
        return;
    }
    nl_done(&watch->nl);
    free(watch);
}

int net_watch_fd(const struct net_watch *watch)
{
    return watch->nl.fd;
}

static void note(struct net_change *change, uint32_t what, unsigned index)
{
    change->what |= what;
    for (size_t i = 0; i < change->changed_count; i++) {
        if (change->changed[i] == index) {
            return;
        }
    }
    if (change->changed_count == NET_CHANGED_MAX) {
        change->what |= NET_CHANGE_LOST;
        return;
    }
    change->changed[change->changed_count++] = index;
}

static void note_link(struct net_change *change, const struct nlmsghdr *message)
{
    const struct rtattr *attrs[IFLA_MAX + 1];
    const struct ifinfomsg *info = nl_body(message, sizeof(*info));

    if (info == NULL) {
        return;
    }
    nl_attrs(message, sizeof(*info), attrs, IFLA_MAX);
    if (attrs[IFLA_WIRELESS] == NULL) { /* scan results and the like come many a minute */
        note(change, NET_CHANGE_LINK, (unsigned)info->ifi_index);
    }
}

static void note_route(struct net_change *change, const struct nlmsghdr *message)
{
    const struct rtattr *attrs[RTA_MAX + 1];
    const struct rtmsg *info = nl_body(message, sizeof(*info));

    if (info == NULL || info->rtm_table != RT_TABLE_MAIN || (info->rtm_flags & RTM_F_CLONED) != 0) {
        return;
    }
    nl_attrs(message, sizeof(*info), attrs, RTA_MAX);
    note(change, NET_CHANGE_ROUTE, nl_u32(attrs[RTA_OIF]));
}

static void note_message(struct net_change *change, const struct nlmsghdr *message)
{
    const struct ifaddrmsg *addr;

    switch (message->nlmsg_type) {
    case RTM_NEWLINK:
    case RTM_DELLINK:
        note_link(change, message);
        break;
    case RTM_NEWADDR:
    case RTM_DELADDR:
        addr = nl_body(message, sizeof(*addr));
        if (addr != NULL) {
            note(change, NET_CHANGE_ADDR, addr->ifa_index);
        }
        break;
    case RTM_NEWROUTE:
    case RTM_DELROUTE:
        note_route(change, message);
        break;
    default:
        break;
    }
}

int net_watch_drain(struct net_watch *watch, struct net_change *ret)
{
    struct net_change change = {0};

    for (int reads = 0; reads < WATCH_READS_MAX; reads++) {
        ssize_t got = nl_receive(&watch->nl);
        if (got == -EAGAIN) {
            break;
        }
        if (got == -ENOBUFS) {
            change.what |= NET_CHANGE_LOST;
            continue;
        }
        if (got < 0) {
            return (int)got;
        }
        size_t left = (size_t)got;
        const struct nlmsghdr *m = (const void *)watch->nl.buffer;
        for (; NLMSG_OK(m, left); m = NLMSG_NEXT(m, left)) {
            note_message(&change, m);
        }
    }
    *ret = change;
    return 0;
}
