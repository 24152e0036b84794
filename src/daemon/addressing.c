/* What a network puts on its device beside frames. */
#include "daemon/addressing.h"

#include "daemon/log.h"
#include "daemon/service_priv.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum { DEVICE_IPS_MAX = 64 };

/* What is looked at and worked out in one go. */
struct sync {
    struct addressing *addressing;
    struct service *svc;
    uint64_t nwid;
    unsigned ifindex; /* of the device */
    struct net_snapshot system;
    struct inetaddr ips[DEVICE_IPS_MAX]; /* on the device now */
    size_t ip_count;
    struct managed_plan plan;
};

/* Read what the system has. Returns 0; negative errno. */
static int look(struct sync *s)
{
    int err = net_snapshot_read(s->svc->net, &s->system);
    s->ip_count = 0;
    if (err < 0) {
        return err;
    }
    for (size_t i = 0; i < s->system.addr_count && s->ip_count < DEVICE_IPS_MAX; i++) {
        if (s->system.addrs[i].index == s->ifindex) {
            s->ips[s->ip_count++] = s->system.addrs[i].ip;
        }
    }
    return 0;
}

static void log_report(const struct sync *s, const struct managed_report *report)
{
    static const char *const actions[] = {"add address", "remove address", "add route",
                                          "remove route"};
    unsigned long long nwid = (unsigned long long)s->nwid;
    for (size_t i = 0; i < report->failure_count; i++) {
        const struct managed_failure *f = &report->failures[i];
        char text[INETADDR_TEXT_LEN];
        inetaddr_print(&f->target, text);
        log_write(LOG_LEVEL_WARN, "port", "cannot %s network=%016llx target=%s error=\"%s\"",
                  actions[f->action], nwid, text, strerror(-f->error));
    }
    if (report->added + report->removed > 0) {
        log_write(LOG_LEVEL_INFO, "port",
                  "addresses and routes network=%016llx added=%zu removed=%zu", nwid, report->added,
                  report->removed);
    }
}

/* ---- conflicts ---- */

static bool is_known(const struct addressing *a, const struct addressing_conflict *c)
{
    for (size_t i = 0; i < a->conflict_count; i++) {
        const struct managed_conflict *old = &a->conflicts[i].found;
        if (inetaddr_equal(&old->ours, &c->found.ours) && old->route == c->found.route &&
            inetaddr_equal(&old->other, &c->found.other) && old->index == c->found.index) {
            return true;
        }
    }
    return false;
}

static void log_conflict(const struct sync *s, const struct addressing_conflict *c)
{
    char ours[INETADDR_TEXT_LEN];
    char other[INETADDR_TEXT_LEN];
    inetaddr_print(&c->found.ours, ours);
    inetaddr_print(&c->found.other, other);
    log_write(c->found.steals ? LOG_LEVEL_WARN : LOG_LEVEL_INFO, "port",
              "%s %s network=%016llx meets address=%s interface=%s%s",
              c->found.route ? "route" : "address", ours, (unsigned long long)s->nwid, other,
              c->interface, c->skipped ? ": left out, allow it by naming it in allowManaged" : "");
}

static void leave_out(struct managed_plan *plan, const struct inetaddr *target)
{
    size_t kept = 0;
    for (size_t i = 0; i < plan->route_count; i++) {
        if (!inetaddr_equal(&plan->routes[i].target, target)) {
            plan->routes[kept++] = plan->routes[i];
        }
    }
    plan->route_count = kept;
}

/* A route to the very subnet of an interface would compete with that one's own. A narrower one may
 * be meant (a site within a large private net), and is only told of. Who lists what may be managed
 * has said what he wants. */
static bool must_be_left_out(const struct sync *s, const struct managed_conflict *c)
{
    const struct net_iface *iface = net_iface_find(&s->system, c->index);
    return c->route && c->ours.port == c->other.port &&
           s->addressing->policy.whitelist_count == 0 &&
           (iface == NULL || iface->kind != NET_IFACE_TUNNEL);
}

static void settle_conflicts(struct sync *s)
{
    struct managed_conflict found[ADDRESSING_CONFLICTS_MAX];
    struct addressing_conflict now[ADDRESSING_CONFLICTS_MAX];
    size_t count = managed_conflicts(&s->plan, &s->system, s->ifindex, found, COUNT_OF(found));
    memset(now, 0, sizeof(now));
    for (size_t i = 0; i < count; i++) {
        const struct net_iface *iface = net_iface_find(&s->system, found[i].index);
        now[i].found = found[i];
        now[i].skipped = must_be_left_out(s, &found[i]);
        if (iface != NULL) {
            memcpy(now[i].interface, iface->name, sizeof(now[i].interface));
        }
        if (now[i].skipped) {
            leave_out(&s->plan, &found[i].ours);
        }
        if (!is_known(s->addressing, &now[i])) {
            log_conflict(s, &now[i]);
        }
    }
    memcpy(s->addressing->conflicts, now, sizeof(now));
    s->addressing->conflict_count = count;
}

/* ---- bringing it there ---- */

static void sync_managed(struct sync *s, const struct netconf *conf)
{
    struct addressing *a = s->addressing;
    struct managed_input input = {
        .policy = &a->policy,
        .device_ips = s->ips,
        .device_ip_count = s->ip_count,
        .applied = &a->applied,
        .ifindex = s->ifindex,
        .online = s->svc->online,
    };
    if (conf != NULL) {
        input.assigned = conf->addresses;
        input.assigned_count = conf->address_count;
        input.routes = conf->routes;
        input.route_count = conf->route_count;
    }
    struct managed_report report = {0};
    struct managed_ops ops = managed_ops_net(s->svc->net);
    managed_plan_make(&input, &s->plan);
    settle_conflicts(s);
    managed_sync(&ops, &a->applied, &s->plan, s->ips, s->ip_count, s->ifindex, &report);
    log_report(s, &report);
    if (report.added + report.removed > 0) {
        net_snapshot_done(&s->system);
        if (look(s) < 0) {
            s->system = (struct net_snapshot){0};
        }
    }
}

static void sync_dns(struct addressing *a, struct service *svc, const char *device,
                     const struct netconf *conf)
{
    bool wanted = a->policy.allow_dns && conf != NULL;
    struct dns_setting setting = dns_setting_make(wanted ? conf->dns : NULL);
    const char *home = svc->state.home;
    if (!dns_setting_equal(&setting, &a->dns) || (!a->dns_known && dns_outlives_device(home))) {
        dns_apply(&svc->loop, home, device, &setting);
        a->dns = setting;
    }
    a->dns_known = true;
}

void addressing_sync(struct addressing *a, struct service *svc, const struct tap *tap,
                     const struct node_network_info *info)
{
    struct sync *s = calloc(1, sizeof(*s));
    if (s == NULL) {
        return;
    }
    s->addressing = a;
    s->svc = svc;
    s->nwid = info->nwid;
    s->ifindex = tap_ifindex(tap);
    if (svc->net != NULL && look(s) == 0) {
        sync_managed(s, info->config);
        net_snapshot_done(&s->system);
        node_port_addresses(svc->node, s->nwid, s->ips, s->ip_count, service_now());
    }
    free(s);
    sync_dns(a, svc, tap_name(tap), info->config);
}

void addressing_end(struct addressing *a, struct service *svc, const struct tap *tap)
{
    const char *home = svc->state.home;
    bool had_dns = a->dns.count > 0;

    a->applied = (struct managed_applied){0};
    a->dns = (struct dns_setting){0};
    a->dns_known = false;
    if (had_dns && dns_outlives_device(home)) {
        dns_apply(&svc->loop, home, tap_name(tap), &a->dns);
    }
    a->conflict_count = 0;
}

bool addressing_has_default(const struct addressing *a)
{
    for (size_t i = 0; i < a->applied.route_count; i++) {
        if (a->applied.routes[i].target.port <= 1) {
            return true;
        }
    }
    return false;
}
