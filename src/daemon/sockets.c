/* Underlay sockets on the control loop. Source: spec 05 sections 6.5 to 6.8. */
#include "daemon/sockets.h"

#include "daemon/log.h"
#include "daemon/service_priv.h"
#include "os/memory.h"
#include "os/random.h"
#include "os/udp.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum {
    RX_BUFFERS = 16, /* messages of one batch, each of up to 64 KiB of merged datagrams */
    RX_ROUNDS = 4,   /* batches per wake before other work gets its turn */
    SOCKETS_MAX = 256,
};

/* One UDP socket. */
struct usock {
    struct hmap_node node; /* in sockets.by_id */
    struct sockets *owner;
    struct udp_socket *udp;
    uv_poll_t poll;
    struct bind_target target;
    uint16_t port;
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
    int err = udp_bulk_new(RX_BUFFERS, &sockets->bulk);
    return err < 0 ? err : outbox_init(&sockets->outbox, sockets->bulk);
}

/* Give the datagrams of a message to the engine, in place. */
static void take_message(struct usock *s, const struct udp_message *message, int64_t now_ms)
{
    struct service *svc = s->owner->svc;
    svc->rx_bytes += message->len;
    for (size_t at = 0; at < message->len; at += message->segment) {
        size_t left = message->len - at;
        node_receive(svc->node, usock_id(s), &message->from, message->data + at,
                     left < message->segment ? left : message->segment, now_ms);
    }
}

/* Give one batch to the engine. Returns how many messages there were; negative errno. */
static int receive_batch(struct usock *s)
{
    const struct udp_message *batch;
    int count = udp_receive_bulk(s->udp, s->owner->bulk, &batch);
    int64_t now_ms = service_now();
    for (int i = 0; i < count; i++) {
        take_message(s, &batch[i], now_ms);
    }
    if (count > 1) {
        service_bulk_seen(s->owner->svc);
    }
    ports_flush(&s->owner->svc->ports);
    sockets_flush(s->owner);
    return count;
}

static void on_readable(uv_poll_t *poll, int status, int events)
{
    struct usock *s = poll->data;
    (void)events;
    if (status < 0) { /* the loop stopped watching: look, then watch again */
        (void)uv_poll_start(poll, UV_READABLE, on_readable);
    }
    for (int round = 0; round < RX_ROUNDS; round++) {
        int count = receive_batch(s);
        if (count < 0) {
            log_write(LOG_LEVEL_DEBUG, "udp", "receive failed port=%u error=\"%s\"", s->port,
                      strerror(-count));
        }
        if (count < RX_BUFFERS) {
            return;
        }
    }
}

static void on_closed(uv_handle_t *handle)
{
    free(handle->data);
}

static void usock_close(struct usock *s)
{
    outbox_flush(&s->owner->outbox);
    hmap_remove(&s->owner->by_id, &s->node);
    (void)uv_poll_stop(&s->poll);
    udp_close(s->udp);
    uv_close((uv_handle_t *)&s->poll, on_closed);
}

void sockets_done(struct sockets *sockets)
{
    struct usock *s;
    while ((s = usock_of(hmap_each(&sockets->by_id, NULL))) != NULL) {
        usock_close(s);
    }
    hmap_done(&sockets->by_id);
    outbox_done(&sockets->outbox);
    udp_bulk_free(sockets->bulk);
    sockets->bulk = NULL;
}

static int usock_watch(struct usock *s)
{
    int err = uv_poll_init(&s->owner->svc->loop, &s->poll, udp_fd(s->udp));
    if (err < 0) {
        return err;
    }
    s->poll.data = s;
    err = uv_poll_start(&s->poll, UV_READABLE, on_readable);
    return err < 0 ? err : hmap_insert(&s->owner->by_id, &s->node, s->owner->next_id);
}

static void hold(struct usock *s)
{
    int err = udp_set_device(s->udp, s->owner->held ? s->target.device : "");
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
    /* Bound to the address, not to the device: we stay reachable at it through every interface. */
    struct udp_config config = {.local = target->ip, .offloads = owner->svc->options.udp_offloads};
    config.local.port = port;
    int err = udp_open(&config, &s->udp);
    if (err < 0) {
        free(s);
        return err;
    }
    err = usock_watch(s);
    if (err < 0) {
        udp_close(s->udp);
        free(s);
        return err;
    }
    owner->next_id++;
    if (owner->held) {
        hold(s);
    }
    return 0;
}

static struct usock *find_target(struct sockets *sockets, const struct bind_target *target,
                                 uint16_t port)
{
    struct hmap_node *node = NULL;
    while ((node = hmap_each(&sockets->by_id, node)) != NULL) {
        struct usock *s = usock_of(node);
        if (s->port == port && bind_target_equal(&s->target, target)) {
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
    struct inetaddr outside = {.family = INETADDR_V4, .ip = {1, 1, 1, 1}};
    struct inetaddr source;
    (void)!net_route_lookup(svc->net, &outside, &policy.preferred_index, &source);
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
    struct usock *s = find_target(sockets, target, port);
    if (s != NULL) {
        s->wanted = true;
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
    log_write(LOG_LEVEL_INFO, "udp", "bound address=%s device=%s", text, target->device);
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
        out[count++].local.port = s->port;
    }
    qsort(out, count, sizeof(*out), compare_ids);
    return count;
}

/* Tell the engine which sockets there are. */
static int announce(struct sockets *sockets)
{
    struct node_socket list[SOCKETS_MAX];
    size_t count = collect(sockets, list, SOCKETS_MAX - 1);
    if (sockets->relay) {
        list[count++] = (struct node_socket){.id = RELAY_SOCKET, .local = {.family = INETADDR_V4}};
    }
    return node_set_sockets(sockets->svc->node, list, count, service_now());
}

int sockets_rebind(struct sockets *sockets, const uint16_t *ports, size_t port_count)
{
    struct service *svc = sockets->svc;
    struct bind_target targets[BIND_TARGETS_MAX];
    size_t target_count = choose_targets(svc, targets);
    struct hmap_node *node = NULL;
    while ((node = hmap_each(&sockets->by_id, node)) != NULL) {
        usock_of(node)->wanted = false;
    }
    bool changed = false;
    for (size_t i = 0; i < target_count; i++) {
        for (size_t p = 0; p < port_count; p++) {
            changed |= open_missing(sockets, &targets[i], ports[p]);
        }
    }
    changed |= close_unwanted(sockets);
    return changed ? announce(sockets) : 0;
}

void sockets_set_relay(struct sockets *sockets, bool there)
{
    if (sockets->relay != there && sockets->svc->node != NULL) {
        sockets->relay = there;
        int err = announce(sockets);
        if (err < 0) {
            log_write(LOG_LEVEL_ERROR, "udp", "cannot tell the engine error=\"%s\"",
                      strerror(-err));
        }
    }
}

static struct usock *any_socket(const struct sockets *sockets, uint8_t family)
{
    struct hmap_node *node = NULL;
    while ((node = hmap_each(&sockets->by_id, node)) != NULL) {
        if (usock_of(node)->target.ip.family == family) {
            return usock_of(node);
        }
    }
    return NULL;
}

void sockets_send(struct sockets *sockets, uint32_t id, const struct inetaddr *to, const void *data,
                  size_t len, unsigned ttl)
{
    struct usock *s = usock_of(hmap_find(&sockets->by_id, id));
    if (id == RELAY_SOCKET) {
        relay_send(&sockets->svc->relay, to, data, len);
        s = any_socket(sockets, to->family); /* by UDP too: that is how it is found to work again */
    }
    if (s == NULL) {
        return;
    }
    sockets->svc->tx_bytes += len;
    if (ttl == 0) {
        outbox_add(&sockets->outbox, s->udp, to, data, len);
        return;
    }
    outbox_flush(&sockets->outbox);
    (void)!udp_send(s->udp, to, data, len, ttl);
}

void sockets_flush(struct sockets *sockets)
{
    outbox_flush(&sockets->outbox);
}

void sockets_trim(struct sockets *sockets)
{
    outbox_flush(&sockets->outbox);
    memory_release(sockets->outbox.memory, UDP_RUN_BYTES_MAX);
    udp_bulk_trim(sockets->bulk);
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

void sockets_drops(const struct sockets *sockets, uint64_t *ret_kernel, uint64_t *ret_tx)
{
    *ret_kernel = 0;
    *ret_tx = sockets->outbox.lost;
    struct hmap_node *node = NULL;
    while ((node = hmap_each(&sockets->by_id, node)) != NULL) {
        struct udp_info info;
        udp_info(usock_of(node)->udp, &info);
        *ret_kernel += info.kernel_drops;
        *ret_tx += info.tx_errors;
    }
}
