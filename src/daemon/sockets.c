/* Underlay sockets on the control loop. Source: spec 05 sections 6.5 to 6.8. */
#include "daemon/sockets.h"

#include "daemon/extras.h"
#include "daemon/log.h"
#include "daemon/service_priv.h"
#include "os/memory.h"
#include "os/random.h"
#include "os/udp.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    SOCKETS_MAX = 256,
    BUFFER_MUCH = UDP_BUFFER_DEFAULT / 2, /* less is worth a warning */
};

/* One address and port: as many sockets as the workers want, which serve them; the first is used by
 * control to send, too. */
struct usock {
    struct hmap_node node; /* in sockets.by_id */
    struct sockets *owner;
    struct retired retired; /* closed when no worker uses it any more */
    struct udp_socket *udp[TAP_QUEUES_MAX];
    struct bind_target target;
    uint16_t port;
    bool extra;  /* opened by the engine, kept while its address is there */
    bool wanted; /* scratch of sockets_rebind */
};

static uint32_t usock_id(const struct usock *s)
{
    return (uint32_t)s->node.key;
}

static struct usock *usock_of(struct hmap_node *node)
{
    return node == NULL ? NULL : CONTAINER_OF(node, struct usock, node);
}

int sockets_init(struct sockets *sockets, struct service *svc)
{
    uint64_t seed;
    random_bytes(&seed, sizeof(seed));
    *sockets = (struct sockets){.svc = svc, .next_id = 1};
    hmap_init(&sockets->by_id, seed);
    hmap_init(&sockets->extras, seed);
    int err = udp_bulk_new(1, &sockets->bulk); /* to send only */
    return err < 0 ? err : outbox_init(&sockets->outbox, sockets->bulk);
}

/* Close what was opened. */
static void usock_free(struct usock *s)
{
    for (size_t i = 0; i < TAP_QUEUES_MAX; i++) {
        udp_close(s->udp[i]);
    }
    free(s);
}

static void usock_release(struct retired *r)
{
    usock_free(CONTAINER_OF(r, struct usock, retired));
}

static void usock_close(struct usock *s)
{
    outbox_flush(&s->owner->outbox);
    hmap_remove(&s->owner->by_id, &s->node);
    workers_remove_socket(s->owner->svc->workers, usock_id(s), &s->retired, usock_release);
}

void sockets_done(struct sockets *sockets)
{
    struct usock *s;
    extras_done(sockets);
    while ((s = usock_of(hmap_each(&sockets->by_id, NULL))) != NULL) {
        usock_close(s);
    }
    hmap_done(&sockets->by_id);
    outbox_done(&sockets->outbox);
    udp_bulk_free(sockets->bulk);
    sockets->bulk = NULL;
}

static void hold(struct usock *s)
{
    int err = 0;
    for (size_t i = 0; i < TAP_QUEUES_MAX && s->udp[i] != NULL && err == 0; i++) {
        err = udp_set_device(s->udp[i], s->owner->held ? s->target.device : "");
    }
    if (err < 0) {
        log_write(LOG_LEVEL_WARN, "udp", "cannot tie socket to device=%s error=\"%s\"",
                  s->target.device, strerror(-err));
    }
}

void sockets_hold(struct sockets *sockets, bool held)
{
    struct hmap_node *node = NULL;
    if (sockets->held == held) {
        return;
    }
    sockets->held = held;
    while ((node = hmap_each(&sockets->by_id, node)) != NULL) {
        hold(usock_of(node));
    }
    extras_hold(sockets);
}

static void usock_info(const struct usock *s, struct socket_info *ret)
{
    *ret = (struct socket_info){.id = usock_id(s),
                                .local = s->target.ip,
                                .offloads = UDP_OFFLOAD_ALL,
                                .receive_buffer = UINT32_MAX,
                                .send_buffer = UINT32_MAX};
    ret->local.port = s->port;
    (void)snprintf(ret->device, sizeof(ret->device), "%s", s->target.device);
    for (; ret->count < TAP_QUEUES_MAX && s->udp[ret->count] != NULL; ret->count++) {
        struct udp_info info;
        udp_info(s->udp[ret->count], &info);
        ret->offloads &= info.offloads;
        ret->receive_buffer = info.rcvbuf < ret->receive_buffer ? info.rcvbuf : ret->receive_buffer;
        ret->send_buffer = info.sndbuf < ret->send_buffer ? info.sndbuf : ret->send_buffer;
        ret->kernel_drops += info.kernel_drops;
        ret->send_errors += info.tx_errors;
        ret->gso_replays += info.gso_replays;
        ret->truncated += info.rx_truncated;
    }
}

/* Say what was obtained, and once what to do if that is little (D-25). */
static void log_bound(struct usock *s)
{
    char text[INETADDR_TEXT_LEN];
    struct socket_info info;
    usock_info(s, &info);
    inetaddr_print(&info.local, text);
    log_write(
        LOG_LEVEL_INFO, "udp",
        "bound address=%s device=%s sockets=%u receive_buffer=%u send_buffer=%u gso=%d gro=%d",
        text, info.device, info.count, info.receive_buffer, info.send_buffer,
        (info.offloads & UDP_OFFLOAD_GSO) != 0, (info.offloads & UDP_OFFLOAD_GRO) != 0);
    if (!s->owner->warned &&
        (info.receive_buffer < BUFFER_MUCH || info.send_buffer < BUFFER_MUCH)) {
        s->owner->warned = true;
        log_write(LOG_LEVEL_WARN, "udp",
                  "socket buffers are small, bursts will be lost: set sysctl net.core.rmem_max and "
                  "net.core.wmem_max to %u, or start with CAP_NET_ADMIN",
                  (unsigned)UDP_BUFFER_DEFAULT);
    }
}

/* Open them. Bound to the address, not to the device: we stay reachable at it
 * through every interface. */
static int usock_bind(struct usock *s)
{
    const struct service *svc = s->owner->svc;
    unsigned count = workers_queues(svc->workers);
    struct udp_config config = {
        .local = s->target.ip, .share_port = count > 1, .offloads = svc->options.udp_offloads};
    int err = 0;
    config.local.port = s->port;
    for (unsigned i = 0; i < count && err == 0; i++) {
        config.join_port = i > 0;
        err = udp_open(&config, &s->udp[i]);
    }
    return err;
}

static int usock_open(struct sockets *owner, const struct bind_target *target, uint16_t port)
{
    struct usock *s = calloc(1, sizeof(*s));
    if (s == NULL) {
        return -ENOMEM;
    }
    s->owner = owner;
    s->target = *target;
    s->port = port;
    s->wanted = true;
    int err = usock_bind(s);
    if (err == 0) {
        err = hmap_insert(&owner->by_id, &s->node, owner->next_id);
    }
    if (err < 0) {
        usock_free(s);
        return err;
    }
    if (owner->held) {
        hold(s);
    }
    err = workers_add_socket(owner->svc->workers, owner->next_id++, s->udp);
    if (err < 0) {
        usock_close(s);
        return err;
    }
    log_bound(s);
    return 0;
}

bool sockets_target(const struct sockets *sockets, uint32_t id, struct bind_target *ret)
{
    const struct usock *s = usock_of(hmap_find(&sockets->by_id, id));
    if (s != NULL) {
        *ret = s->target;
    }
    return s != NULL;
}

int sockets_adopt(struct sockets *sockets, uint32_t id, const struct bind_target *target,
                  struct udp_socket *udp)
{
    struct usock *s = calloc(1, sizeof(*s));
    struct udp_info info;
    if (s == NULL) {
        udp_close(udp);
        return -ENOMEM;
    }
    udp_info(udp, &info);
    s->owner = sockets;
    s->target = *target;
    s->port = info.local.port;
    s->extra = s->wanted = true;
    s->udp[0] = udp;
    int err = hmap_insert(&sockets->by_id, &s->node, id);
    if (err < 0) {
        usock_free(s);
        return err;
    }
    hold(s);
    err = workers_add_socket(sockets->svc->workers, id, s->udp);
    if (err < 0) {
        usock_close(s);
        return err;
    }
    log_bound(s);
    return 0;
}

void sockets_drop(struct sockets *sockets, uint32_t id)
{
    struct usock *s = usock_of(hmap_find(&sockets->by_id, id));
    if (s != NULL && s->extra) {
        usock_close(s);
    }
}

static struct usock *find_target(struct sockets *sockets, const struct bind_target *target,
                                 uint16_t port)
{
    struct hmap_node *node = NULL;
    while ((node = hmap_each(&sockets->by_id, node)) != NULL) {
        struct usock *s = usock_of(node);
        if (s->port == port && !s->extra && bind_target_equal(&s->target, target)) {
            return s;
        }
    }
    return NULL;
}

/* Interfaces the built-in filter skips but that are better than nothing: where only these exist
 * (containers, namespaces), they are the way out. */
static const char *const last_resort[] = {"veth*", "docker*", "br-*", "virbr*", "wg*", "cni*"};

static size_t choose_targets(struct service *svc, struct bind_target *out)
{
    const struct config *c = svc->config;
    const char *deny[CONFIG_LIST_MAX];
    const char *allow[CONFIG_LIST_MAX];
    struct inetaddr blacklist[CONFIG_PHYSICAL_MAX];
    struct inetaddr managed[CONFIG_LIST_MAX * 4];
    size_t blacklist_count = 0;
    for (size_t i = 0; i < c->iface_deny_count; i++) {
        deny[i] = c->iface_deny[i];
    }
    for (size_t i = 0; i < c->iface_allow_count; i++) {
        allow[i] = c->iface_allow[i];
    }
    for (size_t i = 0; i < c->physical_count; i++) {
        if (c->physical[i].blacklist) {
            blacklist[blacklist_count++] = c->physical[i].net;
        }
    }
    struct bind_policy policy = {
        .deny_prefixes = deny,
        .deny_count = c->iface_deny_count,
        .allow = allow,
        .allow_count = c->iface_allow_count,
        .blacklist = blacklist,
        .blacklist_count = blacklist_count,
        .managed = managed,
        .managed_count = ports_managed(&svc->ports, managed, COUNT_OF(managed)),
        .fixed = c->bind.items,
        .fixed_count = c->bind.count,
    };
    struct net_snapshot snapshot;
    int err = svc->net == NULL ? -ENOSYS : net_snapshot_read(svc->net, &snapshot);
    if (err < 0) {
        return bind_select(&policy, NULL, out, BIND_TARGETS_MAX, NULL);
    }
    const struct inetaddr outside[] = {{.family = INETADDR_V4, .ip = {1, 1, 1, 1}},
                                       {.family = INETADDR_V6, .ip = {0x26, 0x06, 0x47}}};
    struct inetaddr source;
    if (net_route_lookup(svc->net, &outside[0], &policy.preferred_index, &source) < 0) {
        (void)!net_route_lookup(svc->net, &outside[1], &policy.preferred_index, &source);
    }
    size_t left_out = 0;
    size_t count = bind_select(&policy, &snapshot, out, BIND_TARGETS_MAX, &left_out);
    if (count == 0) {
        policy.allow = last_resort;
        policy.allow_count = COUNT_OF(last_resort);
        count = bind_select(&policy, &snapshot, out, BIND_TARGETS_MAX, &left_out);
    }
    net_snapshot_done(&snapshot);
    if (left_out > 0) {
        log_write(LOG_LEVEL_WARN, "udp", "too many local addresses bound=%zu left_out=%zu", count,
                  left_out);
    }
    return count;
}

/* Close sockets nobody asked for. Returns true if there were any. */
static bool close_unwanted(struct sockets *sockets)
{
    bool changed = false;
    struct hmap_node *node = NULL;
    while ((node = hmap_each(&sockets->by_id, node)) != NULL) {
        struct usock *s = usock_of(node);
        if (!s->wanted) {
            char text[INETADDR_TEXT_LEN];
            struct inetaddr local = sockets_local(sockets, usock_id(s));
            inetaddr_print(&local, text);
            log_write(LOG_LEVEL_INFO, "udp", "unbound address=%s device=%s", text,
                      s->target.device);
            usock_close(s);
            changed = true;
            node = NULL;
        }
    }
    return changed;
}

static bool open_missing(struct sockets *sockets, const struct bind_target *target, uint16_t port)
{
    if (find_target(sockets, target, port) != NULL) {
        return false;
    }
    char text[INETADDR_TEXT_LEN];
    struct inetaddr local = target->ip;
    local.port = port;
    inetaddr_print(&local, text);
    int err = usock_open(sockets, target, port);
    if (err < 0) {
        log_write(LOG_LEVEL_WARN, "udp", "cannot bind address=%s device=%s error=\"%s\"", text,
                  target->device, strerror(-err));
        return false;
    }
    return true;
}

static int compare_ids(const void *a, const void *b)
{
    const struct node_socket *x = a;
    const struct node_socket *y = b;
    return x->id < y->id ? -1 : x->id > y->id;
}

/* All sockets in order of creation. */
static size_t collect(const struct sockets *sockets, struct node_socket *out, size_t cap)
{
    size_t count = 0;
    struct hmap_node *node = NULL;
    while ((node = hmap_each(&sockets->by_id, node)) != NULL && count < cap) {
        struct usock *s = usock_of(node);
        out[count].id = usock_id(s);
        out[count].local = s->target.ip;
        out[count].mtu = s->target.mtu;
        out[count++].local.port = s->port;
    }
    qsort(out, count, sizeof(*out), compare_ids);
    return count;
}

/* Tell the engine which sockets there are. */
static int announce(struct sockets *sockets)
{
    struct node_socket list[SOCKETS_MAX];
    size_t count = collect(sockets, list, SOCKETS_MAX - 2);
    if (sockets->relay > 0) {
        list[count++] = (struct node_socket){.id = RELAY_SOCKET, .local = {.family = INETADDR_V4}};
    }
    if (sockets->relay > 1) {
        list[count++] =
            (struct node_socket){.id = RELAY_SOCKET_V6, .local = {.family = INETADDR_V6}};
    }
    return node_set_sockets(sockets->svc->node, list, count, service_now());
}

/* Sockets of an address stay: those of these ports, and those the engine opened. Returns true if
 * something about one changed. */
static bool want_target(struct sockets *sockets, const struct bind_target *target,
                        const uint16_t *ports, size_t port_count)
{
    struct hmap_node *node = NULL;
    bool changed = false;
    while ((node = hmap_each(&sockets->by_id, node)) != NULL) {
        struct usock *s = usock_of(node);
        bool listed = s->extra && port_count > 0;
        for (size_t p = 0; p < port_count; p++) {
            listed |= !s->extra && s->port == ports[p];
        }
        if (listed && bind_target_equal(&s->target, target)) {
            s->wanted = true;
            changed |= s->target.mtu != target->mtu;
            s->target.mtu = target->mtu;
        }
    }
    return changed;
}

int sockets_rebind(struct sockets *sockets, const uint16_t *ports, size_t port_count)
{
    struct service *svc = sockets->svc;
    struct bind_target targets[BIND_TARGETS_MAX];
    size_t target_count = choose_targets(svc, targets);
    bool changed = false;
    struct hmap_node *node = NULL;
    while ((node = hmap_each(&sockets->by_id, node)) != NULL) {
        usock_of(node)->wanted = false;
    }
    for (size_t i = 0; i < target_count; i++) {
        changed |= want_target(sockets, &targets[i], ports, port_count);
    }
    changed |= close_unwanted(sockets); /* first: an address may have moved to another device */
    for (size_t i = 0; i < target_count; i++) {
        for (size_t p = 0; p < port_count; p++) {
            changed |= open_missing(sockets, &targets[i], ports[p]);
        }
    }
    return changed ? announce(sockets) : 0;
}

void sockets_set_relay(struct sockets *sockets, unsigned families)
{
    if (sockets->relay != families && sockets->svc->node != NULL) {
        sockets->relay = families;
        int err = announce(sockets);
        if (err < 0) {
            log_write(LOG_LEVEL_ERROR, "udp", "cannot tell the engine error=\"%s\"",
                      strerror(-err));
        }
    }
}

void sockets_send(struct sockets *sockets, uint32_t id, const struct inetaddr *to, const void *data,
                  size_t len, unsigned how)
{
    struct usock *s = usock_of(hmap_find(&sockets->by_id, id));
    if (id >= SOCKET_DETOUR_FIRST) {
        relay_send(&sockets->svc->relay, to, data, len);
        return;
    }
    if (s == NULL) {
        extras_send(sockets, id, to, data, len, how);
        return;
    }
    sockets->svc->tx_bytes += len;
    if (how == 0) {
        outbox_add(&sockets->outbox, s->udp[0], to, data, len);
        return;
    }
    outbox_flush(&sockets->outbox);
    (void)!udp_send(s->udp[0], to, data, len, how & SEND_TTL, (how & SEND_WHOLE) != 0);
}

void sockets_flush(struct sockets *sockets)
{
    outbox_flush(&sockets->outbox);
    relay_flush(&sockets->svc->relay);
}

void sockets_trim(struct sockets *sockets)
{
    outbox_flush(&sockets->outbox);
    memory_release(sockets->outbox.memory, UDP_RUN_BYTES_MAX);
}

size_t sockets_list(const struct sockets *sockets, struct inetaddr *out, size_t cap)
{
    struct node_socket list[SOCKETS_MAX];
    size_t count = collect(sockets, list, cap < SOCKETS_MAX ? cap : SOCKETS_MAX);
    for (size_t i = 0; i < count; i++) {
        out[i] = list[i].local;
    }
    return count;
}

struct inetaddr sockets_local(const struct sockets *sockets, uint32_t id)
{
    struct usock *s = usock_of(hmap_find(&sockets->by_id, id));
    struct inetaddr local = {0};
    if (s != NULL) {
        local = s->target.ip;
        local.port = s->port;
    }
    return local;
}

static int compare_infos(const void *a, const void *b)
{
    const struct socket_info *x = a;
    const struct socket_info *y = b;
    return x->id < y->id ? -1 : x->id > y->id;
}

size_t sockets_info(const struct sockets *sockets, struct socket_info *out, size_t cap)
{
    size_t count = 0;
    struct hmap_node *node = NULL;
    while ((node = hmap_each(&sockets->by_id, node)) != NULL && count < cap) {
        usock_info(usock_of(node), &out[count++]);
    }
    qsort(out, count, sizeof(*out), compare_infos);
    return count;
}

void sockets_drops(const struct sockets *sockets, uint64_t *ret_kernel, uint64_t *ret_tx)
{
    *ret_kernel = 0;
    *ret_tx = sockets->outbox.lost;
    struct hmap_node *node = NULL;
    while ((node = hmap_each(&sockets->by_id, node)) != NULL) {
        struct socket_info info;
        usock_info(usock_of(node), &info);
        *ret_kernel += info.kernel_drops;
        *ret_tx += info.send_errors;
    }
}
