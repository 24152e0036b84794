/* Diagnosis of interfaces and addresses: which carry our datagrams, which do not and why.
 * Source: spec 05 sections 6.5, 12. */
#include "cli/diagnose.h"

#include "os/iface_policy.h"

#include <stdlib.h>
#include <string.h>

enum {
    MTU_LEAST = 1280, /* smaller ones are not worth much, and IPv6 does not work with them */
    MANAGED_LIST_MAX = 256,
};

/* What bind_check needs, from settings and networks. */
struct policy {
    struct bind_policy bind;
    const char *deny[CONFIG_LIST_MAX];
    const char *allow[CONFIG_LIST_MAX];
    struct inetaddr blacklist[CONFIG_PHYSICAL_MAX];
    struct inetaddr managed[MANAGED_LIST_MAX];
};

static const char *verdict_text(enum bind_verdict verdict)
{
    static const char *const text[] = {
        [BIND_OK] = "not bound",
        [BIND_NAME] = "name of a virtual interface",
        [BIND_KIND] = "loopback or tunnel",
        [BIND_DENIED] = "interfacePrefixBlacklist",
        [BIND_DOWN] = "interface is down",
        [BIND_TEMPORARY] = "temporary or tentative",
        [BIND_SCOPE] = "link-local",
        [BIND_BLACKLIST] = "blacklisted in local.conf",
        [BIND_MANAGED] = "of a virtual network",
    };
    return (size_t)verdict < COUNT_OF(text) ? text[verdict] : "unknown";
}

static void fill_managed(const struct diagnosis *d, struct policy *p)
{
    size_t i;
    size_t k;
    json_t *network;
    json_t *text;
    json_array_foreach(d->networks, i, network)
    {
        json_array_foreach(json_object_get(network, "assignedAddresses"), k, text)
        {
            const char *ip = json_string_value(text);
            if (ip != NULL && p->bind.managed_count < MANAGED_LIST_MAX &&
                inetaddr_parse(ip, strlen(ip), &p->managed[p->bind.managed_count]) == 0) {
                p->bind.managed_count++;
            }
        }
    }
}

static void fill_policy(const struct diagnosis *d, struct policy *p)
{
    const struct config *c = d->config;
    memset(p, 0, sizeof(*p));
    p->bind.deny_prefixes = p->deny;
    p->bind.allow = p->allow;
    p->bind.blacklist = p->blacklist;
    p->bind.managed = p->managed;
    for (size_t i = 0; c != NULL && i < c->iface_deny_count; i++) {
        p->deny[p->bind.deny_count++] = c->iface_deny[i];
    }
    for (size_t i = 0; c != NULL && i < c->iface_allow_count; i++) {
        p->allow[p->bind.allow_count++] = c->iface_allow[i];
    }
    for (size_t i = 0; c != NULL && i < c->physical_count; i++) {
        if (c->physical[i].blacklist) {
            p->blacklist[p->bind.blacklist_count++] = c->physical[i].net;
        }
    }
    fill_managed(d, p);
}

/* True if the service has a socket at this address, or at all addresses. */
static bool is_bound(const struct diagnosis *d, const struct inetaddr *ip)
{
    static const struct inetaddr none;
    size_t i;
    json_t *s;
    json_array_foreach(json_object_get(d->datapath, "sockets"), i, s)
    {
        const char *text = diagnose_text(s, "address");
        struct inetaddr at;
        if (inetaddr_parse(text, strlen(text), &at) == 0 && at.family == ip->family &&
            (inetaddr_ip_equal(&at, ip) || memcmp(at.ip, none.ip, sizeof(at.ip)) == 0)) {
            return true;
        }
    }
    return false;
}

/* One interface: its addresses in use. Those that are not are added to skipped. Returns how many
 * are in use. */
static size_t check_interface(struct diagnosis *d, const struct policy *policy,
                              const struct net_iface *iface, struct words *skipped)
{
    struct words used = {{0}, 0, 0};
    size_t count = 0;
    for (size_t i = 0; i < d->snapshot.addr_count; i++) {
        const struct net_addr *addr = &d->snapshot.addrs[i];
        if (addr->index != iface->index) {
            continue;
        }
        char text[INETADDR_TEXT_LEN];
        enum bind_verdict verdict = bind_check(&policy->bind, iface, addr);
        inetaddr_print_ip(&addr->ip, text);
        if (d->datapath != NULL ? is_bound(d, &addr->ip) : verdict == BIND_OK) {
            words_add(&used, "%s", text);
            count++;
        } else if (iface->kind != NET_IFACE_LOOPBACK &&
                   inetaddr_scope(&addr->ip) != INET_SCOPE_LINK_LOCAL) {
            words_add(skipped, "%s %s (%s)", iface->name, text, verdict_text(verdict));
        }
    }
    if (count > 0) {
        bool carrier = (iface->flags & NET_IFACE_RUNNING) != 0;
        bool small = iface->mtu < MTU_LEAST;
        find(&d->findings, carrier && !small ? RESULT_OK : RESULT_WARN, "interface",
             !carrier ? "is the cable in, the radio on?"
             : small  ? "raise its MTU to 1280 or more"
                      : NULL,
             "%s, mtu %u%s: %s", iface->name, iface->mtu, carrier ? "" : ", no carrier",
             words_end(&used));
    }
    return count;
}

/* Strict reverse path filter drops what comes in by another interface than answers leave by. */
static void check_rp_filter(struct diagnosis *d, const struct net_iface *iface, size_t used)
{
    char path[96];
    char all[16];
    char own[16];
    diagnose_line("/proc/sys/net/ipv4/conf/all/rp_filter", all, sizeof(all));
    (void)snprintf(path, sizeof(path), "/proc/sys/net/ipv4/conf/%s/rp_filter", iface->name);
    diagnose_line(path, own, sizeof(own));
    long value = strtol(all, NULL, 10) > strtol(own, NULL, 10) ? strtol(all, NULL, 10)
                                                               : strtol(own, NULL, 10);
    if (value == 1 && used > 1) {
        find(&d->findings, RESULT_WARN, "rp-filter",
             "sysctl net.ipv4.conf.all.rp_filter=2 (loose), when peers do not answer on this "
             "interface",
             "%s: strict reverse path filter, and there are several interfaces", iface->name);
    }
}

static bool has_route(struct diagnosis *d, const struct inetaddr *to)
{
    unsigned index;
    struct inetaddr source;
    return d->net != NULL && net_route_lookup(d->net, to, &index, &source) == 0;
}

static void check_routes(struct diagnosis *d)
{
    static const struct inetaddr v4 = {.family = INETADDR_V4, .ip = {1, 1, 1, 1}};
    static const struct inetaddr v6 = {.family = INETADDR_V6, .ip = {0x26}};
    char off[16];
    bool global = false;
    for (size_t i = 0; i < d->snapshot.addr_count; i++) {
        const struct net_addr *a = &d->snapshot.addrs[i];
        global |= a->ip.family == INETADDR_V6 && inetaddr_scope(&a->ip) == INET_SCOPE_GLOBAL;
    }
    if (!has_route(d, &v4)) {
        find(&d->findings, RESULT_INFO, "route", NULL,
             "no IPv4 route to the Internet: only local networks can be reached");
    }
    diagnose_line("/proc/sys/net/ipv6/conf/all/disable_ipv6", off, sizeof(off));
    if (off[0] == '\0' || off[0] == '1') {
        find(&d->findings, RESULT_INFO, "ipv6", NULL, "IPv6 is switched off on this machine");
    } else if (global && has_route(d, &v6)) {
        find(&d->findings, RESULT_OK, "ipv6", NULL, "global address and route to the Internet");
    } else {
        find(&d->findings, RESULT_INFO, "ipv6",
             "not needed, but two nodes that have it need no tricks with NATs", "%s",
             global ? "global address, but no route to the Internet" : "no global address");
    }
}

void diagnose_interfaces(struct diagnosis *d)
{
    struct policy policy;
    struct words skipped = {{0}, 0, 0};
    size_t addresses = 0;
    size_t used = 0;
    if (d->net == NULL) {
        find(&d->findings, RESULT_WARN, "interface", NULL, "the interfaces cannot be read");
        return;
    }
    bool *in_use = calloc(d->snapshot.iface_count + 1, sizeof(*in_use));
    fill_policy(d, &policy);
    for (size_t i = 0; in_use != NULL && i < d->snapshot.iface_count; i++) {
        size_t count = check_interface(d, &policy, &d->snapshot.ifaces[i], &skipped);
        in_use[i] = count > 0;
        used += count > 0;
        addresses += count;
    }
    for (size_t i = 0; in_use != NULL && i < d->snapshot.iface_count; i++) {
        if (in_use[i]) {
            check_rp_filter(d, &d->snapshot.ifaces[i], used);
        }
    }
    free(in_use);
    if (addresses == 0) {
        find(&d->findings, RESULT_FAIL, "interface",
             "connect the machine to a network; allow a skipped interface by interfaceAllowlist in "
             "local.conf",
             "no interface has an address that is used");
    }
    if (skipped.len > 0) {
        find(&d->findings, RESULT_INFO, "interface", NULL, "not used: %s", words_end(&skipped));
    }
    check_routes(d);
}
