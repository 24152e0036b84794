/* Interfaces, addresses and routes of the system: look, change, watch. In an inetaddr that stands
 * for an assigned address or a prefix, port is the prefix length.
 * Source: spec 05 sections 6.2, 6.3, 6.5, 6.8 and 7.3. */
#pragma once

#include "base/attr.h"
#include "wire/inetaddr.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

enum {
    NET_NAME_LEN = 16,     /* interface name and its NUL */
    NET_IFACES_MAX = 4096, /* interfaces a snapshot holds */
    NET_ADDRS_MAX = 8192,  /* addresses a snapshot holds */
    NET_CHANGED_MAX = 32,  /* interfaces named by one net_change */
};

enum net_iface_kind {
    NET_IFACE_PHYSICAL, /* a card, or what stands for one: VLAN, bond, PPP, veth, macvlan, dummy */
    NET_IFACE_LOOPBACK,
    NET_IFACE_TUNNEL, /* tun, tap, WireGuard, GRE, IPIP, SIT, VXLAN... */
    NET_IFACE_BRIDGE,
};

/* Bits of net_iface.flags. */
enum {
    NET_IFACE_UP = 1,      /* administratively up */
    NET_IFACE_RUNNING = 2, /* has carrier */
};

struct net_iface {
    unsigned index;
    char name[NET_NAME_LEN];
    enum net_iface_kind kind;
    uint32_t flags; /* NET_IFACE_ bits */
    uint32_t mtu;
    uint64_t mac; /* 0 without one of 6 bytes */
};

/* Bits of net_addr.flags. */
enum {
    NET_ADDR_TEMPORARY = 1,  /* IPv6 privacy address */
    NET_ADDR_DEPRECATED = 2, /* not to be used for new connections */
    NET_ADDR_TENTATIVE = 4,  /* duplicate address detection not finished, or failed */
    NET_ADDR_PERMANENT = 8,  /* without lifetime */
};

struct net_addr {
    struct inetaddr ip; /* port = prefix length */
    unsigned index;     /* interface */
    uint32_t flags;     /* NET_ADDR_ bits */
};

/* Interfaces and addresses at one moment; owns its memory. */
struct net_snapshot {
    struct net_iface *ifaces; /* ascending by index */
    size_t iface_count;
    struct net_addr *addrs; /* in the order of the system */
    size_t addr_count;
    bool cut; /* more than NET_IFACES_MAX or NET_ADDRS_MAX were there */
};

struct net_route {
    struct inetaddr target; /* port = prefix length */
    struct inetaddr via;    /* gateway, nil = on link; port ignored */
    struct inetaddr source; /* preferred source, nil = none; port ignored */
    unsigned index;         /* output interface */
    uint32_t metric;        /* 0 = default of the system */
};

struct net;       /* a connection to the system's network configuration */
struct net_watch; /* a subscription to its changes */

/* Open; not thread safe, calls wait for the kernel's answer (well under a millisecond).
 * Returns 0; -ENOMEM; negative errno. */
MUST_CHECK int net_open(struct net **ret);
void net_close(struct net *net);

/* Read interfaces and addresses. Release with net_snapshot_done. Returns 0; -ENOMEM; negative
 * errno. */
MUST_CHECK int net_snapshot_read(struct net *net, struct net_snapshot *ret);
void net_snapshot_done(struct net_snapshot *snapshot);

/* The interface with this index or name, borrowed, or NULL. */
const struct net_iface *net_iface_find(const struct net_snapshot *snapshot, unsigned index);
const struct net_iface *net_iface_named(const struct net_snapshot *snapshot, const char *name);

/* Add or remove an address (spec 05 section 6.2). Returns 0; -EEXIST; -EADDRNOTAVAIL not there;
 * -ENODEV; -EPERM; negative errno. */
MUST_CHECK int net_addr_add(struct net *net, unsigned index, const struct inetaddr *ip);
MUST_CHECK int net_addr_remove(struct net *net, unsigned index, const struct inetaddr *ip);

/* Add or remove a unicast route of the main table (protocol static; scope link without gateway).
 * Returns 0; -EEXIST; -ESRCH not there; -ENETUNREACH gateway not on link; -EINVAL; -EPERM; other.
 */
MUST_CHECK int net_route_add(struct net *net, const struct net_route *route);
MUST_CHECK int net_route_remove(struct net *net, const struct net_route *route);

/* Static unicast routes of the main table through one interface: writes up to cap. Returns how many
 * were written; negative errno. */
MUST_CHECK ssize_t net_routes_list(struct net *net, unsigned index, struct net_route *out,
                                   size_t cap);

/* Which interface and source address a packet to this IP would take. Sends nothing.
 * Returns 0; -ENETUNREACH, -EHOSTUNREACH no route; negative errno. */
MUST_CHECK int net_route_lookup(struct net *net, const struct inetaddr *ip, unsigned *ret_index,
                                struct inetaddr *ret_source);

/* Bits of net_change.what. */
enum {
    NET_CHANGE_LINK = 1,  /* interfaces came, went or changed state */
    NET_CHANGE_ADDR = 2,  /* addresses came or went */
    NET_CHANGE_ROUTE = 4, /* routes of the main table came or went */
    NET_CHANGE_LOST = 8,  /* messages were lost: anything may have changed */
};

struct net_change {
    uint32_t what;                     /* NET_CHANGE_ bits, 0 = nothing */
    unsigned changed[NET_CHANGED_MAX]; /* interfaces concerned, without repeats */
    size_t changed_count;              /* NET_CHANGE_LOST is set too when there were more */
};

/* Subscribe. Poll net_watch_fd for reading and drain. Returns 0; -ENOMEM; negative errno. */
MUST_CHECK int net_watch_open(struct net_watch **ret);
void net_watch_close(struct net_watch *watch);
int net_watch_fd(const struct net_watch *watch);

/* Read all that has come. Returns 0 (ret filled, what may be 0); negative errno: reopen. */
MUST_CHECK int net_watch_drain(struct net_watch *watch, struct net_change *ret);
