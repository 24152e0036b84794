/* The data path of a simulated node, played without threads: one worker called inline. What came at
 * the same moment is one batch; gifts are handed over right after a call, what was withdrawn is
 * released at the end of every input, so that tools see who still uses it. Source: data path
 * contract section 5. */
#include "sim_priv.h"

#include "base/hmap.h"
#include "datapath/dp.h"
#include "wire/mac.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

enum { ROOM = PACKET_MAX };

struct sim_gift {
    struct sim_gift *next;
    struct dp_gift gift;
    uint8_t data[];
};

struct sim_worker {
    struct dp *dp;
    struct sim_gift *gifts;
    struct sim_gift **gifts_end;
    int64_t harvest_at; /* -1: nothing to harvest */
    int64_t expire_at;  /* -1: no incomplete packets */
};

static void env_give(void *ctx, const struct dp_gift *gift)
{
    struct sim_node *node = ctx;
    struct sim_gift *copy = malloc(sizeof(*copy) + gift->len);

    assert(copy != NULL);
    *copy = (struct sim_gift){.gift = *gift};
    memcpy(copy->data, gift->data, gift->len);
    copy->gift.data = copy->data;
    *node->worker->gifts_end = copy;
    node->worker->gifts_end = &copy->next;
}

static void env_send(void *ctx, const struct dp_run *runs, size_t count)
{
    struct sim_node *node = ctx;

    for (size_t i = 0; i < count; i++) {
        for (size_t at = 0; at < runs[i].len; at += runs[i].size) {
            size_t left = runs[i].len - at;

            sim_transmit(node, runs[i].to.socket, &runs[i].to.remote, runs[i].data + at,
                         left < runs[i].size ? left : runs[i].size, 0);
        }
    }
}

static void env_write(void *ctx, uint64_t nwid, const struct merge_output *out)
{
    uint8_t *block = malloc(out->len);
    struct offload_split split;
    struct offload_frame f;

    assert(block != NULL);
    merge_output_copy(out, block);
    if (offload_split_begin(&split, &out->vnet, block, out->len, checksum_portable) !=
        (int)out->frames) {
        abort();
    }
    while (offload_split_next(&split, &f)) {
        sim_deliver(ctx, nwid, mac_get(f.data), mac_get(f.data + MAC_LEN),
                    be16_get(f.data + ETHERNET_LEN - 2), f.data + ETHERNET_LEN,
                    f.len - ETHERNET_LEN);
    }
    free(block);
}

static unsigned env_kinds(void *ctx, uint64_t nwid)
{
    (void)ctx;
    (void)nwid;
    return MERGE_ALL;
}

static void env_wake(void *ctx)
{
    struct sim_node *node = ctx;

    if (node->worker->harvest_at < 0) {
        node->worker->harvest_at = node->sim->now_ms + DP_HARVEST_MS;
    }
}

void sim_worker_start(struct sim_node *node)
{
    const struct dp_env env = {.give = env_give,
                               .send = env_send,
                               .write = env_write,
                               .kinds = env_kinds,
                               .wake = env_wake,
                               .ctx = node};
    struct published *pub = node_publish(node->node, 1);

    node->worker = calloc(1, sizeof(*node->worker));
    assert(pub != NULL && node->worker != NULL);
    node->worker->gifts_end = &node->worker->gifts;
    node->worker->harvest_at = -1;
    node->worker->expire_at = -1;
    node->worker->dp = dp_new(pub, 0, &env, node->identity.address);
    assert(node->worker->dp != NULL);
}

void sim_worker_stop(struct sim_node *node)
{
    if (node->worker != NULL) {
        assert(node->worker->gifts == NULL);
        dp_free(node->worker->dp);
        free(node->worker);
        node->worker = NULL;
    }
}

void sim_worker_end_input(struct sim_node *node)
{
    struct sim_worker *worker = node->worker;
    struct sim_gift *gift;

    if (worker == NULL) {
        return;
    }
    dp_flush(worker->dp);
    while ((gift = worker->gifts) != NULL) {
        worker->gifts = gift->next;
        if (worker->gifts == NULL) {
            worker->gifts_end = &worker->gifts;
        }
        node_take(node->node, &gift->gift, node->sim->now_ms);
        free(gift);
    }
    node_reclaim(node->node, node_retired(node->node));
}

void sim_end_input(struct sim_node *node)
{
    sim_worker_end_input(node);
}

int64_t sim_worker_deadline(const struct sim_node *node)
{
    const struct sim_worker *worker = node->worker;

    if (worker == NULL) {
        return -1;
    }
    if (worker->harvest_at < 0 || worker->expire_at < 0) {
        return worker->harvest_at < 0 ? worker->expire_at : worker->harvest_at;
    }
    return worker->harvest_at < worker->expire_at ? worker->harvest_at : worker->expire_at;
}

void sim_worker_tick(struct sim_node *node)
{
    struct sim_worker *worker = node->worker;
    int64_t now = node->sim->now_ms;

    if (worker->harvest_at >= 0 && worker->harvest_at <= now) {
        worker->harvest_at = node_harvest(node->node, now) ? now + DP_HARVEST_MS : -1;
    }
    worker->expire_at = dp_expire(worker->dp, now);
}

void sim_worker_harvest(struct sim_node *node)
{
    if (node->worker != NULL && node->node != NULL) {
        (void)node_harvest(node->node, node->sim->now_ms);
    }
}

void sim_worker_receive(struct sim_node *node, struct sim_event *const *events, size_t count)
{
    struct dp_message messages[DP_MESSAGES_MAX];
    size_t n = 0;

    assert(count <= DP_MESSAGES_MAX);
    for (size_t i = 0; i < count; i++) {
        const struct sim_event *e = events[i];
        struct dp_message *m = n > 0 ? &messages[n - 1] : NULL;

        /* as the kernel merges: one sender, equal sizes, a shorter one ends it */
        if (m == NULL || !inetaddr_equal(&m->from, &e->from) || m->len % m->segment != 0 ||
            e->len > m->segment) {
            m = &messages[n++];
            *m = (struct dp_message){.segment = e->len, .from = e->from};
        }
        m->data = realloc(m->data, m->len + e->len);
        assert(m->data != NULL);
        memcpy(m->data + m->len, e->data, e->len);
        m->len += e->len;
        m->cap = m->len;
    }
    if (sim_random(node->sim, 2) == 0) {
        struct dp_message *last = &messages[n - 1];

        last->cap = last->len + ROOM;
        last->data = realloc(last->data, last->cap);
        assert(last->data != NULL);
    }
    dp_receive(node->worker->dp, 1, messages, n, node->sim->now_ms);
    node->worker->expire_at = dp_expire(node->worker->dp, node->sim->now_ms);
    for (size_t i = 0; i < n; i++) {
        free(messages[i].data);
    }
}

/* Frames one by one into the engine, as a host without data path. */
static void send_alone(struct sim_node *node, uint64_t nwid, const struct vnet_header *vnet,
                       uint8_t *frame, size_t len)
{
    struct offload_split split;
    struct offload_frame f;

    if (offload_split_begin(&split, vnet, frame, len, checksum_portable) <= 0) {
        return;
    }
    while (offload_split_next(&split, &f)) {
        node_send_frame(node->node, nwid, mac_get(f.data), mac_get(f.data + MAC_LEN),
                        be16_get(f.data + ETHERNET_LEN - 2), f.data + ETHERNET_LEN,
                        f.len - ETHERNET_LEN, node->sim->now_ms);
    }
}

void sim_send(struct sim_node *node, uint64_t nwid, const struct vnet_header *vnet,
              const void *frame, size_t len)
{
    static const struct vnet_header none;
    uint8_t *buffer = malloc(DP_HEADROOM + len);

    assert(buffer != NULL && len >= ETHERNET_LEN);
    memcpy(buffer + DP_HEADROOM, frame, len);
    vnet = vnet != NULL ? vnet : &none;
    if (node->worker != NULL) {
        dp_send(node->worker->dp, nwid, vnet, buffer + DP_HEADROOM, len, node->sim->now_ms);
    } else {
        send_alone(node, nwid, vnet, buffer + DP_HEADROOM, len);
    }
    free(buffer);
    sim_worker_end_input(node);
}
