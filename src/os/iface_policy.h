/* Which local addresses get underlay sockets. Pure. The system is read elsewhere (os/addr.h).
 * Source: spec 05 sections 2.4 (scopes), 6.5 and 12, spec 02 section 11.5; SV-68, SV-69, SV-88,
 * SV-89, SV-92. */
#pragma once

#include "os/addr.h"

enum {
    BIND_TARGETS_MAX =
        64, /* addresses bound at most; with three ports below node_set_sockets' 256 */
};

struct bind_policy {
    const char *const *deny_prefixes; /* interfacePrefixBlacklist */
    size_t deny_count;
    const char *const
        *allow; /* shell patterns of interfaces that the built-in filter must not skip */
    size_t allow_count;
    const struct inetaddr *blacklist; /* physical networks with blacklist; port = prefix length */
    size_t blacklist_count;
    const struct inetaddr *managed; /* our managed addresses on all networks */
    size_t managed_count;
    const struct inetaddr *fixed; /* "bind": exactly these addresses, nothing else is looked at */
    size_t fixed_count;
    unsigned preferred_index; /* interface of the default route, 0 = unknown: bound first */
};

/* Why an address is bound or not. */
enum bind_verdict {
    BIND_OK,
    BIND_NAME,      /* built-in name filter: lo zt tun tap wg docker veth br- virbr ... */
    BIND_KIND,      /* loopback, tunnel */
    BIND_DENIED,    /* configured prefix */
    BIND_DOWN,      /* interface is not up */
    BIND_TEMPORARY, /* temporary or tentative address */
    BIND_SCOPE,     /* not private, pseudo-private, shared or global */
    BIND_BLACKLIST, /* in a blacklisted network */
    BIND_MANAGED,   /* one of our own managed addresses */
};

/* An address to bind. Sockets are kept only while all members but mtu stay the same. */
struct bind_target {
    struct inetaddr ip;        /* port 0 */
    unsigned index;            /* interface, 0 = none */
    char device[NET_NAME_LEN]; /* interface to bind to, empty = none */
    uint32_t mtu;              /* of the interface that has the address, 0 = unknown */
};

/* Judge one address of one interface. */
enum bind_verdict bind_check(const struct bind_policy *policy, const struct net_iface *iface,
                             const struct net_addr *addr);

/* A short word for a verdict, for logs. */
const char *bind_verdict_name(enum bind_verdict verdict);

/* Choose what to bind: writes up to cap targets without repeats, those on the preferred interface
 * first, deprecated ones last. snapshot NULL: the system could not be read: the two
 * wildcards. Returns how many were written; *ret_left_out (may be NULL) = suitable addresses beyond
 * cap. */
size_t bind_select(const struct bind_policy *policy, const struct net_snapshot *snapshot,
                   struct bind_target *out, size_t cap, size_t *ret_left_out);

/* Same address, device and interface index. */
bool bind_target_equal(const struct bind_target *a, const struct bind_target *b);
