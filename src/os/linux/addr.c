/* Interfaces and addresses of Linux over route netlink.
 * Implements: spec 05 sections 6.2 (addresses), 6.5 (enumeration), 7.3 (interfaces). */
#include "os/addr.h"

#include "os/linux/net_priv.h"

#include <errno.h>
#include <linux/if_addr.h>
#include <linux/if_link.h>
#include <net/if.h>
#include <net/if_arp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

/* A snapshot being read. */
struct reading {
    struct net_snapshot snapshot;
    size_t iface_cap;
    size_t addr_cap;
};

int net_open(struct net **ret)
{
    struct net *net = calloc(1, sizeof(*net));
    if (net == NULL) {
        return -ENOMEM;
    }
    int error = nl_open(&net->nl, 0);
    if (error != 0) {
        free(net);
        return error;
    }
    *ret = net;
    return 0;
}

void net_close(struct net *net)
{
    if (net == NULL) {
        return;
    }
    nl_done(&net->nl);
    free(net);
}

/* Room for one more element: grows array by doubling up to max elements. Returns 1; 0 at max;
 * -ENOMEM. */
static int make_room(void **array, size_t size, size_t count, size_t *cap, size_t max)
{
    if (count < *cap) {
        return 1;
    }
    if (count >= max) {
        return 0;
    }
    size_t grown = *cap == 0 ? 32 : *cap * 2;
    grown = grown < max ? grown : max;
    void *bigger = realloc(*array, grown * size);
    if (bigger == NULL) {
        return -ENOMEM;
    }
    *array = bigger;
    *cap = grown;
    return 1;
}

/* What the kernel calls the driver of a virtual interface, in our kinds. */
static enum net_iface_kind kind_of(const struct ifinfomsg *info, const struct rtattr *linkinfo)
{
    static const char *const tunnels[] = {
        "tun",       "wireguard", "gre",  "gretap",  "ip6gre", "ip6gretap", "erspan",
        "ip6erspan", "ip6tnl",    "ipip", "sit",     "vti",    "vti6",      "xfrm",
        "vxlan",     "geneve",    "gtp",  "bareudp", "ovpn",   "amt",       "nlmon",
    };
    const struct rtattr *attrs[IFLA_INFO_MAX + 1];
    char name[32];

    if ((info->ifi_flags & IFF_LOOPBACK) != 0) {
        return NET_IFACE_LOOPBACK;
    }
    nl_nested(linkinfo, attrs, IFLA_INFO_MAX);
    nl_text(attrs[IFLA_INFO_KIND], name, sizeof(name));
    for (size_t i = 0; i < COUNT_OF(tunnels); i++) {
        if (strcmp(name, tunnels[i]) == 0) {
            return NET_IFACE_TUNNEL;
        }
    }
    if (strcmp(name, "bridge") == 0 || strcmp(name, "openvswitch") == 0) {
        return NET_IFACE_BRIDGE;
    }
    if (info->ifi_type == ARPHRD_TUNNEL || info->ifi_type == ARPHRD_TUNNEL6 ||
        info->ifi_type == ARPHRD_SIT || info->ifi_type == ARPHRD_IPGRE) {
        return NET_IFACE_TUNNEL; /* drivers that do not name themselves */
    }
    return NET_IFACE_PHYSICAL;
}

static int read_link(void *ctx, const struct nlmsghdr *message)
{
    struct reading *r = ctx;
    const struct rtattr *attrs[IFLA_MAX + 1];
    const struct ifinfomsg *info = nl_body(message, sizeof(*info));

    if (message->nlmsg_type != RTM_NEWLINK || info == NULL || info->ifi_index <= 0) {
        return 0;
    }
    void *array = r->snapshot.ifaces;
    int room = make_room(&array, sizeof(*r->snapshot.ifaces), r->snapshot.iface_count,
                         &r->iface_cap, NET_IFACES_MAX);
    if (room <= 0) {
        r->snapshot.cut = true;
        return room;
    }
    r->snapshot.ifaces = array;
    nl_attrs(message, sizeof(*info), attrs, IFLA_MAX);

    struct net_iface iface = {
        .index = (unsigned)info->ifi_index,
        .kind = kind_of(info, attrs[IFLA_LINKINFO]),
        .mtu = nl_u32(attrs[IFLA_MTU]),
    };
    iface.flags |= (info->ifi_flags & IFF_UP) != 0 ? NET_IFACE_UP : 0;
    iface.flags |= (info->ifi_flags & IFF_RUNNING) != 0 ? NET_IFACE_RUNNING : 0;
    nl_text(attrs[IFLA_IFNAME], iface.name, sizeof(iface.name));
    if (attrs[IFLA_ADDRESS] != NULL && RTA_PAYLOAD(attrs[IFLA_ADDRESS]) == 6) {
        const uint8_t *mac = RTA_DATA(attrs[IFLA_ADDRESS]);
        for (size_t i = 0; i < 6; i++) {
            iface.mac = iface.mac << 8 | mac[i];
        }
    }
    r->snapshot.ifaces[r->snapshot.iface_count++] = iface;
    return 0;
}

static uint32_t addr_flags(const struct ifaddrmsg *info, const struct rtattr *wide)
{
    uint32_t flags = wide != NULL ? nl_u32(wide) : info->ifa_flags;
    uint32_t out = 0;

    if (info->ifa_family == AF_INET6 && (flags & IFA_F_TEMPORARY) != 0) {
        out |= NET_ADDR_TEMPORARY; /* the same bit means "secondary" for IPv4 */
    }
    out |= (flags & IFA_F_DEPRECATED) != 0 ? NET_ADDR_DEPRECATED : 0;
    out |= (flags & (IFA_F_TENTATIVE | IFA_F_DADFAILED)) != 0 ? NET_ADDR_TENTATIVE : 0;
    out |= (flags & IFA_F_PERMANENT) != 0 ? NET_ADDR_PERMANENT : 0;
    return out;
}

static int read_addr(void *ctx, const struct nlmsghdr *message)
{
    struct reading *r = ctx;
    const struct rtattr *attrs[IFA_MAX + 1];
    const struct ifaddrmsg *info = nl_body(message, sizeof(*info));

    if (message->nlmsg_type != RTM_NEWADDR || info == NULL) {
        return 0;
    }
    nl_attrs(message, sizeof(*info), attrs, IFA_MAX);
    struct net_addr addr = {
        .index = info->ifa_index,
        .flags = addr_flags(info, attrs[IFA_FLAGS]),
    };
    /* on point-to-point links "address" is the other end */
    uint8_t family = nl_family_of(info->ifa_family);
    if (!nl_ip(attrs[IFA_LOCAL], family, &addr.ip) &&
        !nl_ip(attrs[IFA_ADDRESS], family, &addr.ip)) {
        return 0;
    }
    addr.ip.port = info->ifa_prefixlen;

    void *array = r->snapshot.addrs;
    int room = make_room(&array, sizeof(*r->snapshot.addrs), r->snapshot.addr_count, &r->addr_cap,
                         NET_ADDRS_MAX);
    if (room <= 0) {
        r->snapshot.cut = true;
        return room;
    }
    r->snapshot.addrs = array;
    r->snapshot.addrs[r->snapshot.addr_count++] = addr;
    return 0;
}

static int compare_ifaces(const void *a, const void *b)
{
    const struct net_iface *x = a;
    const struct net_iface *y = b;
    return (x->index > y->index) - (x->index < y->index);
}

static int read_once(struct net *net, struct reading *r)
{
    struct nl_request req;
    const struct ifinfomsg link = {.ifi_family = AF_UNSPEC};
    const struct ifaddrmsg addr = {.ifa_family = AF_UNSPEC};

    nl_begin(&req, RTM_GETLINK, 0, &link, sizeof(link));
    nl_put_u32(&req, IFLA_EXT_MASK, RTEXT_FILTER_SKIP_STATS);
    int error = nl_dump(&net->nl, &req, read_link, r);
    if (error != 0) {
        return error;
    }
    nl_begin(&req, RTM_GETADDR, 0, &addr, sizeof(addr));
    return nl_dump(&net->nl, &req, read_addr, r);
}

int net_snapshot_read(struct net *net, struct net_snapshot *ret)
{
    int error = -EAGAIN;

    for (int tries = 0; tries < NET_DUMP_TRIES && error == -EAGAIN; tries++) {
        struct reading r = {0};
        error = read_once(net, &r);
        if (error != 0) {
            net_snapshot_done(&r.snapshot);
            continue;
        }
        if (r.snapshot.iface_count > 1) {
            qsort(r.snapshot.ifaces, r.snapshot.iface_count, sizeof(*r.snapshot.ifaces),
                  compare_ifaces);
        }
        *ret = r.snapshot;
    }
    return error;
}

void net_snapshot_done(struct net_snapshot *snapshot)
{
    free(snapshot->ifaces);
    free(snapshot->addrs);
    *snapshot = (struct net_snapshot){0};
}

/* Request with the fixed part and the addresses of RFC 3549 for one address. */
static void begin_addr(struct nl_request *req, uint16_t type, uint16_t flags, unsigned index,
                       const struct inetaddr *ip)
{
    const struct ifaddrmsg info = {
        .ifa_family = nl_family(ip),
        .ifa_prefixlen = (uint8_t)ip->port,
        /* Managed addresses are unique already: usable at once, not after a second of waiting. */
        .ifa_flags = IFA_F_PERMANENT | (ip->family == INETADDR_V6 ? IFA_F_NODAD : 0),
        .ifa_scope = RT_SCOPE_UNIVERSE,
        .ifa_index = index,
    };
    nl_begin(req, type, flags, &info, sizeof(info));
    nl_put_ip(req, IFA_LOCAL, ip);
    nl_put_ip(req, IFA_ADDRESS, ip);
}

static bool is_valid_prefix(const struct inetaddr *ip)
{
    size_t len = inetaddr_ip_len(ip);
    return len > 0 && ip->port <= len * 8;
}

int net_addr_add(struct net *net, unsigned index, const struct inetaddr *ip)
{
    struct nl_request req;
    char name[IF_NAMESIZE];

    if (!is_valid_prefix(ip)) {
        return -EINVAL;
    }
    begin_addr(&req, RTM_NEWADDR, NLM_F_CREATE | NLM_F_EXCL, index, ip);
    if (ip->family == INETADDR_V4) {
        if (ip->port < 31) { /* RFC 3021: a /31 has no broadcast address */
            struct inetaddr broadcast = *ip;
            for (unsigned bit = ip->port; bit < 32; bit++) {
                broadcast.ip[bit / 8] |= (uint8_t)(0x80u >> (bit % 8));
            }
            nl_put_ip(&req, IFA_BROADCAST, &broadcast);
        }
        if (if_indextoname(index, name) == NULL) {
            return -ENODEV;
        }
        nl_put(&req, IFA_LABEL, name, strlen(name) + 1);
    }
    return nl_call(&net->nl, &req);
}

int net_addr_remove(struct net *net, unsigned index, const struct inetaddr *ip)
{
    struct nl_request req;

    if (!is_valid_prefix(ip)) {
        return -EINVAL;
    }
    begin_addr(&req, RTM_DELADDR, 0, index, ip);
    return nl_call(&net->nl, &req);
}
