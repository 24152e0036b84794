/* A worker of the data path before the engine of a host: what the daemon does with threads and
 * rings is done inline. It plays vl2's part too: one network that accepts everything. */
#include "bench.h"

#include "wire/frame.h"
#include "wire/mac.h"

#include <stdlib.h>
#include <string.h>

enum { ETHERTYPE = 0x88b5, DEVICE_MTU = 2800 };

struct kept_gift {
    struct list link;
    struct dp_gift gift;
    uint8_t data[];
};

/* ---- what the worker asks of its host ---- */

static void env_give(void *ctx, const struct dp_gift *gift)
{
    struct worker *w = ctx;
    struct kept_gift *kept = malloc(sizeof(*kept) + gift->len);

    assert_non_null(kept);
    kept->gift = *gift;
    kept->gift.data = kept->data;
    memcpy(kept->data, gift->data, gift->len);
    list_init(&kept->link);
    list_push(&w->gifts, &kept->link);
    w->given[gift->kind]++;
    w->watched_given += gift->kind == DP_GIFT_DATAGRAM && packet_dest(gift->data) == w->watched;
}

static void env_send(void *ctx, const struct dp_run *runs, size_t count)
{
    struct worker *w = ctx;

    for (size_t i = 0; i < count; i++) {
        for (size_t at = 0; at < runs[i].len; at += runs[i].size) {
            size_t left = runs[i].len - at;

            host_emit(w->host, runs[i].to.socket, &runs[i].to.remote, runs[i].data + at,
                      left < runs[i].size ? left : runs[i].size);
            w->relayed += packet_source(runs[i].data) != w->host->identity.address;
        }
    }
}

static void env_write(void *ctx, uint64_t nwid, const struct merge_output *out)
{
    struct worker *w = ctx;
    struct host *h = w->host;
    uint8_t *frame = malloc(out->len);
    struct seen_packet *p = &h->packets[h->packet_count];

    assert_non_null(frame);
    assert_int_equal(nwid, BENCH_NET);
    assert_int_equal(out->frames, 1);
    merge_output_copy(out, frame);
    w->written++;
    if (h->packet_count < EVENTS_MAX) {
        *p = (struct seen_packet){
            .verb = VERB_FRAME,
            .source = mac_member_address(nwid, mac_get(frame + MAC_LEN)),
            .hops = HOPS_UNKNOWN,
            .len = out->len - ETHERNET_LEN,
        };
        memcpy(p->data, frame + ETHERNET_LEN, p->len < sizeof(p->data) ? p->len : sizeof(p->data));
        h->packet_count++;
    }
    free(frame);
}

static unsigned env_kinds(void *ctx, uint64_t nwid)
{
    (void)ctx;
    (void)nwid;
    return 0;
}

static void env_wake(void *ctx)
{
    struct worker *w = ctx;

    if (w->harvest_ms == INT64_MAX) {
        w->harvest_ms = w->host->now_ms + DP_HARVEST_MS;
    }
}

/* ---- the engine's side ---- */

void worker_member(struct host *h, uint64_t address)
{
    struct dp_port *port = dp_port_find(h->worker->pub, BENCH_NET);
    const struct filter_credentials none = {0};
    struct dp_member *member;

    if (dp_member_find(port, address) != NULL) {
        return;
    }
    member = dp_member_new(h->worker->pub, port, address);
    assert_non_null(member);
    member->creds = filter_credentials_copy(&none);
    assert_non_null(member->creds);
    member->traits = port->traits;
    atomic_store(&member->access, (unsigned)DP_ACCESS_IN | DP_ACCESS_OUT);
    dp_member_publish(port, member);
}

void engine_frame(struct host *h, uint64_t dest, const void *data, size_t len)
{
    struct out_packet out;

    vl1_enter(h->vl1);
    out_begin(h->vl1, &out, dest, VERB_FRAME);
    frame_write_header(&out.w, BENCH_NET, ETHERTYPE);
    wr_bytes(&out.w, data, len);
    (void)!out_send(h->vl1, &out, 0, h->now_ms);
    if (h->worker != NULL) {
        worker_member(h, dest);
    }
    vl1_leave(h->vl1, h->now_ms);
}

static void take(struct host *h, const struct dp_gift *gift)
{
    if (gift->kind == DP_GIFT_FRAME) {
        assert_int_equal(gift->nwid, BENCH_NET);
        assert_true(gift->len >= ETHERNET_LEN);
        engine_frame(h, mac_member_address(BENCH_NET, mac_get(gift->data)),
                     gift->data + ETHERNET_LEN, gift->len - ETHERNET_LEN);
    } else {
        vl1_take(h->vl1, gift, h->now_ms);
    }
}

static void end_turn(struct host *h)
{
    struct worker *w = h->worker;
    struct list *link;

    dp_flush(w->dp);
    while ((link = list_first(&w->gifts)) != NULL) {
        struct kept_gift *kept = CONTAINER_OF(link, struct kept_gift, link);

        list_remove(link);
        take(h, &kept->gift);
        free(kept);
    }
    if (h->job_mode != JOBS_HOLD) {
        host_jobs(h);
    }
    if (!w->holds) {
        vl1_reclaim(h->vl1, w->pub->limbo.number);
    }
}

void worker_harvest(struct host *h)
{
    uint64_t counts[DP_COUNTS];

    h->worker->harvest_ms = INT64_MAX;
    if (vl1_harvest(h->vl1, counts, h->now_ms)) {
        h->worker->harvest_ms = h->now_ms + DP_HARVEST_MS;
    }
    end_turn(h);
}

void worker_receive(struct host *h, uint32_t socket, const struct inetaddr *from, const void *data,
                    size_t len)
{
    uint8_t *copy = exact_copy(data, len);
    const struct dp_message message = {
        .data = copy, .len = len, .cap = len, .segment = len, .from = *from};

    dp_receive(h->worker->dp, socket, &message, 1, h->now_ms);
    end_turn(h);
    free(copy);
}

void worker_frame(struct host *h, uint64_t dest, const void *data, size_t len)
{
    uint8_t *block = calloc(1, DP_HEADROOM + ETHERNET_LEN + len);
    uint8_t *frame = block + DP_HEADROOM;

    assert_non_null(block);
    mac_put(frame, mac_of_member(BENCH_NET, dest));
    mac_put(frame + MAC_LEN, mac_of_member(BENCH_NET, h->identity.address));
    be16_put(frame + 2 * MAC_LEN, ETHERTYPE);
    memcpy(frame + ETHERNET_LEN, data, len);
    dp_send(h->worker->dp, BENCH_NET, &(struct vnet_header){0}, frame, ETHERNET_LEN + len,
            h->now_ms);
    end_turn(h);
    free(block);
}

/* ---- frames ---- */

void host_frame(struct host *from, uint64_t dest, const void *data, size_t len)
{
    struct out_packet out;

    if (from->worker != NULL) {
        worker_frame(from, dest, data, len);
        return;
    }
    vl1_enter(from->vl1);
    out_begin(from->vl1, &out, dest, VERB_FRAME);
    wr_bytes(&out.w, data, len);
    bench_in_engine++;
    (void)!out_send(from->vl1, &out, 0, from->now_ms);
    bench_in_engine--;
    vl1_leave(from->vl1, from->now_ms);
}

unsigned host_frames(const struct host *h, uint64_t source, size_t since)
{
    unsigned count = 0;

    for (size_t i = since; i < h->packet_count; i++) {
        count += h->packets[i].verb == VERB_FRAME && h->packets[i].source == source;
    }
    return count;
}

/* ---- life ---- */

static void publish_port(struct worker *w)
{
    const struct rule accept = {.type = RULE_ACCEPT};
    const struct filter_network net = {.network_id = BENCH_NET,
                                       .self = w->host->identity.address,
                                       .rules = &accept,
                                       .rule_count = 1};
    struct dp_port *port = dp_port_new(w->pub, BENCH_NET);

    assert_non_null(port);
    port->mac = mac_of_member(BENCH_NET, w->host->identity.address);
    port->mtu = DEVICE_MTU;
    port->filter = filter_network_copy(&net);
    assert_non_null(port->filter);
    port->traits = filter_classify(&accept, 1);
    dp_port_publish(port);
}

void host_workers(struct host *h)
{
    struct worker *w = calloc(1, sizeof(*w));
    const struct dp_env env = {.give = env_give,
                               .send = env_send,
                               .write = env_write,
                               .kinds = env_kinds,
                               .wake = env_wake,
                               .ctx = w};

    assert_non_null(w);
    w->host = h;
    w->harvest_ms = INT64_MAX;
    list_init(&w->gifts);
    assert_int_equal(vl1_publish(h->vl1, 1), 0);
    w->pub = vl1_published(h->vl1);
    w->dp = dp_new(w->pub, 0, &env, h->identity.address);
    assert_non_null(w->dp);
    h->worker = w;
    h->verdict = VL1_TRUST;
    publish_port(w);
}

void host_workers_done(struct host *h)
{
    if (h->worker != NULL) {
        dp_free(h->worker->dp);
        free(h->worker);
        h->worker = NULL;
    }
}
