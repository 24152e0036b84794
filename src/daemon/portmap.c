/* Port mapping: which protocol, when, and what is done with the result. */
#include "daemon/portmap.h"

#include "daemon/log.h"
#include "daemon/service_priv.h"
#include "os/file.h"

#include <errno.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
    ROUTES_MAX = 65536,
};

static int read_gateway(struct inetaddr *ret)
{
    char *text = malloc(ROUTES_MAX + 1);
    if (text == NULL) {
        return -ENOMEM;
    }
    ssize_t len = file_read_into("/proc/net/route", text, ROUTES_MAX);
    int err = len < 0 ? (int)len : 0;
    if (err == 0) {
        text[len] = '\0';
        err = portmap_gateway_parse(text, ret);
    }
    free(text);
    return err;
}

/* Our address towards the gateway. Returns 0; negative errno. */
static int read_local(const struct inetaddr *gateway, struct inetaddr *ret)
{
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(gateway->port)};
    struct sockaddr_in own = {0};
    socklen_t len = sizeof(own);
    memcpy(&to.sin_addr, gateway->ip, 4);
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd < 0) {
        return -errno;
    }
    int err = 0;
    if (connect(fd, (struct sockaddr *)&to, sizeof(to)) < 0 ||
        getsockname(fd, (struct sockaddr *)&own, &len) < 0) {
        err = -errno;
    }
    (void)close(fd);
    if (err == 0) {
        *ret = (struct inetaddr){.family = INETADDR_V4};
        memcpy(ret->ip, &own.sin_addr, 4);
    }
    return err;
}

/* Gateway and our address towards it; both nil if there is nothing to map. */
static void find_gateway(const struct portmap *map, struct inetaddr *gateway,
                         struct inetaddr *local)
{
    *gateway = *local = (struct inetaddr){0};
    int err = read_gateway(gateway);
    err = err < 0 ? err : read_local(gateway, local);
    enum inet_scope scope = inetaddr_scope(local);
    if (err < 0 || (scope != INET_SCOPE_PRIVATE && scope != INET_SCOPE_SHARED)) {
        *gateway = *local = (struct inetaddr){0};
        return;
    }
    local->port = map->svc->primary_port;
}

static bool is_enabled(const struct portmap *map)
{
    const struct config *c = map->svc->config;
    return c->port_mapping && !c->force_tcp_relay && !map->svc->silent;
}

const char *portmap_protocol_name(enum portmap_protocol protocol)
{
    static const char *const names[] = {
        [PORTMAP_BY_NONE] = "none",
        [PORTMAP_BY_PCP] = "pcp",
        [PORTMAP_BY_NATPMP] = "nat-pmp",
        [PORTMAP_BY_UPNP] = "upnp",
    };
    return names[protocol];
}

bool portmap_is_usable(const struct inetaddr *external)
{
    enum inet_scope scope = inetaddr_scope(external);
    return external->family == INETADDR_V4 &&
           (scope == INET_SCOPE_GLOBAL || scope == INET_SCOPE_PSEUDO_PRIVATE ||
            scope == INET_SCOPE_PRIVATE || scope == INET_SCOPE_SHARED);
}

bool portmap_is_nested(const struct portmap_grant *grant)
{
    return grant->protocol != PORTMAP_BY_NONE &&
           (inetaddr_scope(&grant->external) == INET_SCOPE_PRIVATE ||
            inetaddr_scope(&grant->external) == INET_SCOPE_SHARED);
}

/* Remember what we have, and tell the engine if it is another one. */
static void set_grant(struct portmap *map, const struct portmap_grant *grant)
{
    static const struct portmap_grant none;
    grant = grant == NULL ? &none : grant;
    bool same = inetaddr_equal(&grant->external, &map->grant.external) &&
                grant->protocol == map->grant.protocol;
    map->grant = *grant;
    if (same) {
        return;
    }
    size_t count = grant->protocol == PORTMAP_BY_NONE ? 0 : 1;
    char external[INETADDR_TEXT_LEN];
    char gateway[INETADDR_TEXT_LEN];
    inetaddr_print(&grant->external, external);
    inetaddr_print_ip(&map->gateway, gateway);
    if (count == 0) {
        log_write(LOG_LEVEL_INFO, "portmap", "mapping gone");
    } else {
        log_write(LOG_LEVEL_INFO, "portmap", "mapped protocol=%s external=%s lease=%u gateway=%s%s",
                  portmap_protocol_name(grant->protocol), external, grant->lifetime_s, gateway,
                  portmap_is_nested(grant) ? " (behind another NAT)" : "");
    }
    node_set_mapped_addresses(map->svc->node, &grant->external, count);
}

static void on_timer(uv_timer_t *timer);

static void start_timer(struct portmap *map, int64_t delay_ms)
{
    (void)uv_timer_start(&map->timer, on_timer, (uint64_t)delay_ms, 0);
}

/* Ask nobody any more. */
static void silence(struct portmap *map)
{
    (void)uv_timer_stop(&map->timer);
    pcp_stop(&map->pcp);
    upnp_stop(&map->upnp);
    map->asks = PORTMAP_BY_NONE;
    map->renewing = false;
}

/* Nothing to be had for now. */
static void give_up(struct portmap *map)
{
    int64_t delay_ms = PORTMAP_RETRY_MAX_MS;
    if (map->failures < 7) {
        delay_ms = (int64_t)PORTMAP_RETRY_FIRST_MS << map->failures;
        map->failures++;
    }
    silence(map);
    set_grant(map, NULL);
    start_timer(map, delay_ms);
}

/* Look for a gateway and ask it in every way. What is mapped stays until that is over. */
static void begin(struct portmap *map)
{
    silence(map);
    map->begun_ms = service_now();
    find_gateway(map, &map->gateway, &map->local);
    if (map->gateway.family == INETADDR_NIL) {
        give_up(map);
        return;
    }
    map->asks = PORTMAP_BY_PCP;
    if (pcp_start(&map->pcp, false, false) < 0) {
        portmap_failed(map);
    }
}

void portmap_failed(struct portmap *map)
{
    if (map->renewing) {
        begin(map);
    } else if (map->asks == PORTMAP_BY_PCP) {
        pcp_stop(&map->pcp);
        map->asks = PORTMAP_BY_UPNP;
        if (upnp_start(&map->upnp, false) < 0) {
            give_up(map);
        }
    } else {
        give_up(map);
    }
}

void portmap_granted(struct portmap *map, const struct portmap_grant *grant)
{
    struct portmap_grant g = *grant;
    if (!portmap_is_usable(&g.external) || g.external.port == 0) {
        portmap_failed(map);
        return;
    }
    g.lifetime_s = g.lifetime_s < PORTMAP_LIFETIME_MIN_S ? PORTMAP_LIFETIME_MIN_S
                   : g.lifetime_s > PORTMAP_LIFETIME_S   ? PORTMAP_LIFETIME_S
                                                         : g.lifetime_s;
    map->asks = PORTMAP_BY_NONE;
    map->renewing = false;
    map->failures = 0;
    map->until_ms = service_now() + (int64_t)g.lifetime_s * 1000;
    set_grant(map, &g);
    start_timer(map, (int64_t)g.lifetime_s * 1000 / 2);
}

void portmap_renew(struct portmap *map)
{
    enum portmap_protocol protocol = map->grant.protocol;
    if (protocol == PORTMAP_BY_NONE) {
        begin(map);
        return;
    }
    if (map->renewing || map->asks != PORTMAP_BY_NONE) {
        return;
    }
    map->renewing = true;
    map->asks = protocol == PORTMAP_BY_UPNP ? PORTMAP_BY_UPNP : PORTMAP_BY_PCP;
    int err = protocol == PORTMAP_BY_UPNP
                  ? upnp_start(&map->upnp, true)
                  : pcp_start(&map->pcp, protocol == PORTMAP_BY_PCP, protocol == PORTMAP_BY_NATPMP);
    if (err < 0) {
        begin(map);
    }
}

static void on_timer(uv_timer_t *timer)
{
    portmap_renew(timer->data);
}

/* Tell the gateway that the mapping is no longer needed; wait: now, without the loop. */
static void release(struct portmap *map, bool wait)
{
    struct portmap_grant grant = map->grant;
    (void)uv_timer_stop(&map->timer);
    map->asks = PORTMAP_BY_NONE;
    map->renewing = false;
    if (grant.protocol == PORTMAP_BY_UPNP) {
        upnp_release(&map->upnp, wait);
    } else if (grant.protocol != PORTMAP_BY_NONE) {
        pcp_release(&map->pcp);
    }
    pcp_stop(&map->pcp);
}

void portmap_init(struct portmap *map, struct service *svc)
{
    *map = (struct portmap){.svc = svc};
    (void)uv_timer_init(&svc->loop, &map->timer);
    map->timer.data = map;
    pcp_init(&map->pcp, map);
    upnp_init(&map->upnp, map);
    map->open = true;
}

void portmap_review(struct portmap *map)
{
    if (is_enabled(map)) {
        map->failures = 0;
        if (map->asks == PORTMAP_BY_NONE) {
            portmap_renew(map);
        }
        return;
    }
    if (map->grant.protocol == PORTMAP_BY_NONE) {
        silence(map);
    } else {
        release(map, false);
        set_grant(map, NULL);
    }
    map->gateway = map->local = (struct inetaddr){0};
}

void portmap_network_changed(struct portmap *map)
{
    struct inetaddr gateway;
    struct inetaddr local;
    if (!is_enabled(map)) {
        return;
    }
    find_gateway(map, &gateway, &local);
    bool other = !inetaddr_equal(&gateway, &map->gateway) || !inetaddr_equal(&local, &map->local);
    bool idle = map->grant.protocol == PORTMAP_BY_NONE && map->asks == PORTMAP_BY_NONE &&
                gateway.family != INETADDR_NIL &&
                service_now() - map->begun_ms >= PORTMAP_REVIEW_GAP_MS;
    if (other) {
        map->failures = 0;
        set_grant(map, NULL);
    }
    if (other || idle) {
        begin(map);
    }
}

void portmap_stop(struct portmap *map)
{
    if (map->open) {
        release(map, true);
        pcp_done(&map->pcp);
        upnp_done(&map->upnp);
        uv_close((uv_handle_t *)&map->timer, NULL);
        map->open = false;
    }
}

void portmap_status(const struct portmap *map, struct portmap_status *ret)
{
    int64_t left_ms = map->until_ms - service_now();
    *ret = (struct portmap_status){.enabled = is_enabled(map),
                                   .asking = map->asks != PORTMAP_BY_NONE,
                                   .grant = map->grant,
                                   .gateway = map->gateway,
                                   .internal = map->local.port,
                                   .left_s = left_ms > 0 ? left_ms / 1000 : 0};
}
