/* Managed addresses and routes of one network: what the local settings permit, what the system
 * should hold, and bringing it there. All pure except that managed_sync acts through a table of
 * functions. Source: spec 03 section 14 (MGD-1), spec 05 sections 2.4, 6.2, 6.3; SV-9, SV-10, SV-82
 * to SV-86. */
#pragma once

#include "os/addr.h"

struct netconf_route; /* wire/netconf.h */

enum {
    MANAGED_ADDRS_MAX = 64,      /* managed addresses applied per network */
    MANAGED_ROUTES_MAX = 256,    /* routes applied per network, halves of defaults counted */
    MANAGED_WHITELIST_MAX = 256, /* prefixes of allowManaged */
    MANAGED_FAILURES_MAX = 16,   /* failures a report names */
    MANAGED_METRIC_VIA = 5000,   /* metric of routes with a gateway (spec 05 section 6.3) */
    MANAGED_SETTINGS_LEN = 4096, /* text of a settings file and its NUL */
    MANAGED_MTU_MIN = 1280,      /* of what an owner may ask for: IPv6 needs as much */
    MANAGED_MTU_MAX = 10000,
};

/* Local settings of one network. */
struct managed_policy {
    bool allow_managed;
    bool allow_global;
    bool allow_default;
    bool allow_dns;
    bool clamp_mss; /* keep TCP connections to the MTU of the device */
    uint32_t mtu;   /* of the device at most, 0: the network's; MANAGED_MTU_MIN..MAX */
    struct inetaddr whitelist[MANAGED_WHITELIST_MAX]; /* empty = everything; port = prefix length */
    size_t whitelist_count;
};

/* The settings when nothing is stored: managed only. */
struct managed_policy managed_policy_default(void);

/* Read the text of a networks.d/<id>.local.conf; keys that are missing keep their default. */
struct managed_policy managed_policy_parse(const char *text, size_t len);

/* Write it back, whitelist kept. Returns the length without NUL. */
size_t managed_policy_print(const struct managed_policy *policy, char out[MANAGED_SETTINGS_LEN]);

/* Outcome of the decision table for one address or route target. */
enum managed_verdict {
    MANAGED_ALLOWED,
    MANAGED_OFF,           /* allowManaged is false */
    MANAGED_NOT_LISTED,    /* whitelist has no prefix that contains it */
    MANAGED_DEFAULT_ROUTE, /* default route, allowDefault is false */
    MANAGED_SCOPE,         /* scope none, multicast, loopback, link-local */
    MANAGED_GLOBAL,        /* global scope, allowGlobal is false */
};

/* Decide about an address or route target; port = prefix length. */
enum managed_verdict managed_check(const struct managed_policy *policy,
                                   const struct inetaddr *target);

struct managed_applied;

/* What the configuration asks for, and what the host knows. All arrays are borrowed. */
struct managed_input {
    const struct managed_policy *policy;
    const struct inetaddr *assigned; /* port = prefix length; nil entries are ignored */
    size_t assigned_count;
    const struct netconf_route *routes;
    size_t route_count;
    const struct inetaddr *device_ips; /* addresses on the device now, managed or foreign */
    size_t device_ip_count;
    const struct managed_applied *applied; /* tells ours from foreign ones; NULL: all foreign */
    unsigned ifindex;                      /* of the device */
    bool online;                           /* default routes only while true */
};

/* What the device should hold. */
struct managed_plan {
    struct inetaddr addrs[MANAGED_ADDRS_MAX];
    size_t addr_count;
    struct net_route routes[MANAGED_ROUTES_MAX]; /* without gateway first */
    size_t route_count;
    bool cut; /* more was allowed than the tables hold */
};

/* Work out the plan. */
void managed_plan_make(const struct managed_input *input, struct managed_plan *ret);

/* A managed address or route that meets a subnet of another interface. */
struct managed_conflict {
    struct inetaddr ours;  /* port = prefix length */
    struct inetaddr other; /* address of the other interface, port = prefix length */
    unsigned index;        /* the other interface */
    bool route;            /* ours is a route target, not an address */
    bool steals;           /* ours is as narrow or narrower: traffic to the other subnet changes */
};

/* Find conflicts with the subnets of other interfaces: writes up to cap, returns how many were
 * written. Default routes and their halves are not conflicts. */
size_t managed_conflicts(const struct managed_plan *plan, const struct net_snapshot *snapshot,
                         unsigned ifindex, struct managed_conflict *out, size_t cap);

/* How managed_sync looks at the system and changes it; results as the functions of os/addr.h. */
struct managed_ops {
    int (*addr_add)(void *ctx, unsigned index, const struct inetaddr *ip);
    int (*addr_remove)(void *ctx, unsigned index, const struct inetaddr *ip);
    int (*route_add)(void *ctx, const struct net_route *route);
    int (*route_remove)(void *ctx, const struct net_route *route);
    ssize_t (*routes_list)(void *ctx, unsigned index, struct net_route *out, size_t cap);
    void *ctx;
};

/* The real thing. */
struct managed_ops managed_ops_net(struct net *net);

/* What this network has put on its device. Plain data, starts as {0}. */
struct managed_applied {
    struct inetaddr addrs[MANAGED_ADDRS_MAX];
    size_t addr_count;
    struct net_route routes[MANAGED_ROUTES_MAX];
    size_t route_count;
};

enum managed_action {
    MANAGED_ADDR_ADD,
    MANAGED_ADDR_REMOVE,
    MANAGED_ROUTE_ADD,
    MANAGED_ROUTE_REMOVE,
};

struct managed_failure {
    enum managed_action action;
    struct inetaddr target; /* address or route target */
    int error;              /* negative errno */
};

/* What one synchronization did. */
struct managed_report {
    size_t added;   /* addresses and routes */
    size_t removed; /* addresses and routes */
    struct managed_failure failures[MANAGED_FAILURES_MAX];
    size_t failure_count; /* failures named; more may have happened */
};

/* Bring the device from what is there to the plan: remove addresses no longer wanted (only those we
 * applied), add missing ones, then the same for routes. What another program deleted comes back;
 * what another program added stays. A route whose gateway, source or metric changed is replaced.
 * An IPv6 source address that the kernel still checks for duplicates is left out of a route at
 * first. Doing it again changes nothing. device_ips as in managed_input, fresh. An empty plan takes
 * all back. */
void managed_sync(const struct managed_ops *ops, struct managed_applied *applied,
                  const struct managed_plan *plan, const struct inetaddr *device_ips,
                  size_t device_ip_count, unsigned ifindex, struct managed_report *ret);
