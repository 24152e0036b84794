/* Sockets the engine opens for a while. Source: doc/nat.md. */
#include "daemon/extras.h"

#include "daemon/log.h"
#include "daemon/service_priv.h"
#include "os/udp.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum {
    EXTRAS_MAX = 1024,  /* at once */
    BUFFER = 64 * 1024, /* of each: little comes, until one wins */
    BATCH = 8,          /* datagrams read at once */
    DATAGRAM_MAX = 2048,
};

struct extra {
    struct hmap_node node; /* in sockets.extras */
    struct sockets *owner;
    struct udp_socket *udp;
    struct bind_target target;
    uv_poll_t poll;
};

static struct extra *extra_find(const struct sockets *sockets, uint32_t id)
{
    struct hmap_node *node = hmap_find(&sockets->extras, id);
    return node == NULL ? NULL : CONTAINER_OF(node, struct extra, node);
}

static void on_closed(uv_handle_t *handle)
{
    free(CONTAINER_OF((uv_poll_t *)handle, struct extra, poll));
}

/* Its memory goes when the loop let go of the handle. */
static void extra_end(struct extra *e, bool close)
{
    hmap_remove(&e->owner->extras, &e->node);
    (void)uv_poll_stop(&e->poll);
    uv_close((uv_handle_t *)&e->poll, on_closed);
    if (close) {
        udp_close(e->udp);
    }
    e->udp = NULL;
}

static void on_readable(uv_poll_t *poll, int status, int events)
{
    struct extra *e = CONTAINER_OF(poll, struct extra, poll);
    struct service *svc = e->owner->svc;
    uint32_t id = (uint32_t)e->node.key;
    uint8_t memory[BATCH][DATAGRAM_MAX];
    struct udp_rx batch[BATCH];
    (void)status;
    (void)events;
    for (size_t i = 0; i < BATCH; i++) {
        batch[i] = (struct udp_rx){.data = memory[i], .cap = DATAGRAM_MAX};
    }
    int count = udp_receive(e->udp, batch, BATCH);
    /* The engine may close it meanwhile, or keep it. */
    for (int i = 0; i < count; i++) {
        node_receive(svc->node, id, &batch[i].from, batch[i].data, batch[i].len, service_now());
    }
}

static int extra_new(struct sockets *sockets, const struct bind_target *target,
                     struct engine_socket *ret)
{
    struct udp_config config = {.local = target->ip,
                                .device = sockets->held ? target->device : "",
                                .buffer = BUFFER,
                                .offloads = sockets->svc->options.udp_offloads &
                                            ~(unsigned)UDP_OFFLOAD_GRO};
    struct udp_info info;
    struct extra *e = calloc(1, sizeof(*e));
    if (e == NULL) {
        return -ENOMEM;
    }
    e->owner = sockets;
    e->target = *target;
    config.local.port = 0;
    int err = udp_open(&config, &e->udp);
    if (err == 0) {
        err = uv_poll_init(&sockets->svc->loop, &e->poll, udp_fd(e->udp));
    }
    if (err == 0 && hmap_insert(&sockets->extras, &e->node, sockets->next_id) < 0) {
        uv_close((uv_handle_t *)&e->poll, on_closed);
        udp_close(e->udp);
        return -ENOMEM;
    }
    if (err < 0) {
        udp_close(e->udp);
        free(e);
        return err;
    }
    sockets->next_id++;
    (void)uv_poll_start(&e->poll, UV_READABLE, on_readable);
    udp_info(e->udp, &info);
    *ret = (struct engine_socket){.id = (uint32_t)e->node.key, .local = info.local};
    return 0;
}

size_t extras_open(void *ctx, uint32_t like, struct engine_socket *ret, size_t count)
{
    struct service *svc = ctx;
    struct sockets *sockets = &svc->sockets;
    struct bind_target target;
    size_t n = 0;
    if (!sockets_target(sockets, like, &target)) {
        return 0;
    }
    while (n < count && sockets->extras.count < EXTRAS_MAX) {
        int err = extra_new(sockets, &target, &ret[n]);
        if (err < 0) {
            log_write(LOG_LEVEL_DEBUG, "udp", "cannot open more sockets opened=%zu error=\"%s\"", n,
                      strerror(-err));
            break;
        }
        n++;
    }
    return n;
}

void extras_close(void *ctx, uint32_t id, bool keep)
{
    struct service *svc = ctx;
    struct sockets *sockets = &svc->sockets;
    struct extra *e = extra_find(sockets, id);
    if (e == NULL) {
        sockets_drop(sockets, id); /* one that was kept */
        return;
    }
    struct udp_socket *udp = e->udp;
    struct bind_target target = e->target;
    extra_end(e, !keep);
    if (keep) {
        int err = sockets_adopt(sockets, id, &target, udp);
        if (err < 0) {
            log_write(LOG_LEVEL_WARN, "udp", "cannot keep a socket error=\"%s\"", strerror(-err));
        }
    }
}

void extras_send(struct sockets *sockets, uint32_t id, const struct inetaddr *to, const void *data,
                 size_t len, unsigned how)
{
    struct extra *e = extra_find(sockets, id);
    if (e != NULL) {
        sockets->svc->tx_bytes += len;
        (void)!udp_send(e->udp, to, data, len, how & SEND_TTL, (how & SEND_WHOLE) != 0);
    }
}

void extras_hold(const struct sockets *sockets)
{
    struct hmap_node *node = NULL;
    while ((node = hmap_each(&sockets->extras, node)) != NULL) {
        struct extra *e = CONTAINER_OF(node, struct extra, node);
        (void)!udp_set_device(e->udp, sockets->held ? e->target.device : ""); /* for seconds */
    }
}

void extras_done(struct sockets *sockets)
{
    struct hmap_node *node;
    while ((node = hmap_each(&sockets->extras, NULL)) != NULL) {
        extra_end(CONTAINER_OF(node, struct extra, node), true);
    }
    hmap_done(&sockets->extras);
}
