/* Where the TCP relay listens and what it carries. */
#include "daemon/relay_server.h"

#include "daemon/api_json.h"
#include "daemon/log.h"
#include "daemon/service_priv.h"
#include "os/tcp.h"
#include "wire/world.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* ---- rules ---- */

/* Where an endpoint of ours is reached from this machine: itself, or behind a NAT the socket it
 * must be mapped to. */
static struct inetaddr reached_at(const struct service *svc, const struct inetaddr *endpoint,
                                  const struct inetaddr *locals, size_t count)
{
    struct inetaddr best = *endpoint;
    bool found = false;
    for (size_t i = 0; i < count; i++) {
        bool same_family = locals[i].family == endpoint->family;
        if (inetaddr_ip_equal(&locals[i], endpoint)) {
            return *endpoint;
        }
        if (same_family && !found && locals[i].port == svc->primary_port) {
            best = locals[i];
            found = true;
        }
    }
    return best;
}

static void add_root(struct gate_rules *rules, const struct world_root *root)
{
    for (size_t i = 0; i < root->endpoint_count && rules->root_count < GATE_ROOTS_MAX; i++) {
        rules->roots[rules->root_count++] = root->endpoints[i];
    }
}

/* Further addresses of this machine: services of it may listen at any. */
static void add_machine(const struct service *svc, struct gate_rules *rules)
{
    struct net_snapshot system;
    if (svc->net == NULL || net_snapshot_read(svc->net, &system) < 0) {
        return;
    }
    for (size_t i = 0; i < system.addr_count && rules->machine_count < GATE_MACHINE_MAX; i++) {
        rules->machine[rules->machine_count++] = system.addrs[i].ip;
    }
    net_snapshot_done(&system);
}

static void add_world(const struct service *svc, struct gate_rules *rules,
                      const struct world *world)
{
    for (size_t i = 0; world != NULL && i < world->root_count; i++) {
        const struct world_root *root = &world->roots[i];
        if (root->identity.address != svc->identity.address) {
            add_root(rules, root);
            continue;
        }
        for (size_t k = 0; k < root->endpoint_count && rules->self_count < GATE_OWN_MAX; k++) {
            const struct inetaddr *e = &root->endpoints[k];
            rules->self[rules->self_count++] = (struct gate_self){
                .endpoint = *e, .local = reached_at(svc, e, rules->machine, rules->machine_count)};
        }
    }
}

static void set_rules(struct relay_server *server)
{
    const struct service *svc = server->svc;
    struct gate_rules *rules = calloc(1, sizeof(*rules));
    struct node_moon_info moon;
    int err = -ENOMEM;
    if (rules != NULL) {
        rules->private_too = svc->config->tcp_relay_private;
        rules->rate = svc->config->tcp_relay_rate;
        rules->machine_count = sockets_list(&svc->sockets, rules->machine, GATE_OWN_MAX);
        add_world(svc, rules, node_planet(svc->node));
        for (size_t i = 0; node_moon(svc->node, i, &moon); i++) {
            add_world(svc, rules, moon.world);
        }
        add_machine(svc, rules); /* last: what is above are sockets */
        err = relay_hub_rules(server->hub, rules);
        free(rules);
    }
    if (err < 0) {
        log_write(LOG_LEVEL_ERROR, "relay", "cannot set rules error=\"%s\"", strerror(-err));
    }
}

/* ---- listening ---- */

/* Where to listen: what the settings say; by default a root at all addresses. */
static struct config_addrs choose(const struct service *svc)
{
    struct config_addrs all = {
        .items = {{.family = INETADDR_V4, .port = RELAY_PORT},
                  {.family = INETADDR_V6, .port = RELAY_PORT}},
        .count = 2,
    };
    struct node_status status;
    node_get_status(svc->node, service_now(), &status);
    if (svc->config->has_tcp_listen) {
        return svc->config->tcp_listen;
    }
    return status.root ? all : (struct config_addrs){0};
}

static bool same_list(const struct config_addrs *a, const struct config_addrs *b)
{
    bool same = a->count == b->count;
    for (size_t i = 0; same && i < a->count; i++) {
        same = inetaddr_equal(&a->items[i], &b->items[i]);
    }
    return same;
}

static void start(struct relay_server *server)
{
    int fds[HUB_LISTENERS_MAX];
    size_t count = 0;
    int version[3];
    for (size_t i = 0; i < server->wanted.count && count < HUB_LISTENERS_MAX; i++) {
        char text[INETADDR_TEXT_LEN];
        int fd = tcp_listen(&server->wanted.items[i]);
        inetaddr_print(&server->wanted.items[i], text);
        if (fd >= 0) {
            fds[count++] = fd;
            log_write(LOG_LEVEL_INFO, "relay", "TCP relay listens address=%s", text);
        } else if (fd != -EAFNOSUPPORT) {
            log_write(LOG_LEVEL_WARN, "relay",
                      "no TCP relay for nodes without UDP address=%s error=\"%s\" (setting "
                      "tcpRelayListen)",
                      text, strerror(-fd));
        }
    }
    api_version(version);
    int err = count == 0 ? 0 : relay_hub_new(fds, count, version, &server->hub);
    if (err < 0) {
        log_write(LOG_LEVEL_ERROR, "relay", "cannot start the TCP relay error=\"%s\"",
                  strerror(-err));
    }
}

void relay_server_review(struct relay_server *server)
{
    struct config_addrs wanted = choose(server->svc);
    if (!server->tried || !same_list(&wanted, &server->wanted)) {
        relay_server_stop(server);
        server->wanted = wanted;
        server->tried = true;
        start(server);
    }
    if (server->hub != NULL) {
        set_rules(server);
    }
}

void relay_server_stop(struct relay_server *server)
{
    relay_hub_free(server->hub);
    server->hub = NULL;
    server->tried = false;
}
