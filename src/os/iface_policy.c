/* Which local addresses get underlay sockets. Pure.
 * Implements: spec 05 section 6.5 with the tunnel and container filter of section 12. */
#include "os/iface_policy.h"

#include <fnmatch.h>
#include <string.h>

/* Beginnings of interface names that are not the way to the world: ourselves and other tunnels,
 * container and virtual machine plumbing. The first four are the reference's. */
static const char *const builtin_prefixes[] = {
    "lo",   "zt",        "tun", "tap",    "wg",    "docker", "veth", "virbr", "br-",    "flannel",
    "cali", "tailscale", "cni", "cilium", "weave", "kube-",  "lxc",  "lxdbr", "podman", "vboxnet",
};

static bool has_prefix(const char *name, const char *prefix)
{
    return strncmp(name, prefix, strlen(prefix)) == 0;
}

static bool is_allowed_by_name(const struct bind_policy *policy, const char *name)
{
    for (size_t i = 0; i < policy->allow_count; i++) {
        if (fnmatch(policy->allow[i], name, 0) == 0) {
            return true;
        }
    }
    return false;
}

/* Judge the interface alone. */
static enum bind_verdict check_iface(const struct bind_policy *policy,
                                     const struct net_iface *iface)
{
    if (iface->kind == NET_IFACE_LOOPBACK) {
        return BIND_KIND;
    }
    for (size_t i = 0; i < policy->deny_count; i++) {
        if (policy->deny_prefixes[i][0] != '\0' &&
            has_prefix(iface->name, policy->deny_prefixes[i])) {
            return BIND_DENIED;
        }
    }
    if ((iface->flags & NET_IFACE_UP) == 0) {
        return BIND_DOWN;
    }
    if (is_allowed_by_name(policy, iface->name)) {
        return BIND_OK;
    }
    for (size_t i = 0; i < COUNT_OF(builtin_prefixes); i++) {
        if (has_prefix(iface->name, builtin_prefixes[i])) {
            return BIND_NAME;
        }
    }
    return iface->kind == NET_IFACE_TUNNEL ? BIND_KIND : BIND_OK;
}

static bool is_scope_bound(enum inet_scope scope)
{
    return scope == INET_SCOPE_PRIVATE || scope == INET_SCOPE_PSEUDO_PRIVATE ||
           scope == INET_SCOPE_SHARED || scope == INET_SCOPE_GLOBAL;
}

enum bind_verdict bind_check(const struct bind_policy *policy, const struct net_iface *iface,
                             const struct net_addr *addr)
{
    enum bind_verdict verdict = check_iface(policy, iface);

    if (verdict != BIND_OK) {
        return verdict;
    }
    if ((addr->flags & (NET_ADDR_TEMPORARY | NET_ADDR_TENTATIVE)) != 0) {
        return BIND_TEMPORARY;
    }
    if (!is_scope_bound(inetaddr_scope(&addr->ip))) {
        return BIND_SCOPE;
    }
    for (size_t i = 0; i < policy->blacklist_count; i++) {
        if (inetaddr_in_net(&addr->ip, &policy->blacklist[i])) {
            return BIND_BLACKLIST;
        }
    }
    for (size_t i = 0; i < policy->managed_count; i++) {
        if (inetaddr_ip_equal(&addr->ip, &policy->managed[i])) {
            return BIND_MANAGED;
        }
    }
    return BIND_OK;
}

const char *bind_verdict_name(enum bind_verdict verdict)
{
    static const char *const names[] = {
        [BIND_OK] = "ok",         [BIND_NAME] = "name",           [BIND_KIND] = "kind",
        [BIND_DENIED] = "denied", [BIND_DOWN] = "down",           [BIND_TEMPORARY] = "temporary",
        [BIND_SCOPE] = "scope",   [BIND_BLACKLIST] = "blacklist", [BIND_MANAGED] = "managed",
    };
    return (size_t)verdict < COUNT_OF(names) ? names[verdict] : "unknown";
}

bool bind_target_equal(const struct bind_target *a, const struct bind_target *b)
{
    return a->index == b->index && inetaddr_equal(&a->ip, &b->ip) &&
           strncmp(a->device, b->device, sizeof(a->device)) == 0;
}

/* Targets being collected. */
struct selection {
    struct bind_target *out;
    size_t count;
    size_t cap;
    size_t left_out; /* suitable, but beyond cap */
};

static void select_target(struct selection *s, const struct inetaddr *ip,
                          const struct net_iface *iface)
{
    struct bind_target target = {.ip = *ip};

    target.ip.port = 0;
    if (iface != NULL) {
        target.index = iface->index;
        memcpy(target.device, iface->name, sizeof(target.device));
        target.mtu = iface->mtu;
    }
    for (size_t i = 0; i < s->count; i++) {
        if (bind_target_equal(&s->out[i], &target)) {
            return;
        }
    }
    if (s->count == s->cap) {
        s->left_out++;
        return;
    }
    s->out[s->count++] = target;
}

/* Order in which addresses are taken: 0 first. */
static unsigned rank_of(const struct bind_policy *policy, const struct net_addr *addr)
{
    unsigned rank = (addr->flags & NET_ADDR_DEPRECATED) != 0 ? 2 : 0;
    return policy->preferred_index == addr->index ? rank : rank + 1;
}

static void select_scanned(struct selection *s, const struct bind_policy *policy,
                           const struct net_snapshot *snapshot)
{
    for (unsigned rank = 0; rank < 4; rank++) {
        for (size_t i = 0; i < snapshot->addr_count; i++) {
            const struct net_addr *addr = &snapshot->addrs[i];
            const struct net_iface *iface = net_iface_find(snapshot, addr->index);
            if (iface != NULL && rank_of(policy, addr) == rank &&
                bind_check(policy, iface, addr) == BIND_OK) {
                select_target(s, &addr->ip, iface);
            }
        }
    }
}

/* The interface that has an address, or NULL. */
static const struct net_iface *iface_of(const struct net_snapshot *snapshot,
                                        const struct inetaddr *ip)
{
    for (size_t i = 0; snapshot != NULL && i < snapshot->addr_count; i++) {
        if (inetaddr_ip_equal(&snapshot->addrs[i].ip, ip)) {
            return net_iface_find(snapshot, snapshot->addrs[i].index);
        }
    }
    return NULL;
}

static void select_fixed(struct selection *s, const struct inetaddr *ip,
                         const struct net_snapshot *snapshot)
{
    const struct net_iface *iface = iface_of(snapshot, ip);
    size_t before = s->count;

    select_target(s, ip, NULL);
    if (s->count > before && iface != NULL) {
        s->out[before].mtu = iface->mtu;
    }
}

size_t bind_select(const struct bind_policy *policy, const struct net_snapshot *snapshot,
                   struct bind_target *out, size_t cap, size_t *ret_left_out)
{
    struct selection s = {.out = out, .cap = cap};

    if (policy->fixed_count > 0) {
        for (size_t i = 0; i < policy->fixed_count; i++) {
            if (policy->fixed[i].family != INETADDR_NIL) {
                select_fixed(&s, &policy->fixed[i], snapshot);
            }
        }
    } else if (snapshot == NULL) {
        select_target(&s, &(struct inetaddr){.family = INETADDR_V4}, NULL);
        select_target(&s, &(struct inetaddr){.family = INETADDR_V6}, NULL);
    } else {
        select_scanned(&s, policy, snapshot);
    }
    if (ret_left_out != NULL) {
        *ret_left_out = s.left_out;
    }
    return s.count;
}
