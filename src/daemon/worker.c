/* The loop of a worker: wait, serve what is ready in bounded batches, let everything leave. Nothing
 * ever waits for a batch to fill. Source: spec 09 sections 6.3 to 6.9; D-17, D-20, D-21, D-29. */
#include "daemon/worker.h"

#include "crypto/cpu.h"
#include "os/clock.h"
#include "os/cpu.h"
#include "os/memory.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

enum {
    EVENTS_MAX = 16,      /* lanes served in a turn */
    BUFFERS = 64,         /* messages of one receive, each of up to 64 KiB of merged datagrams */
    QUANTUM = 512 * 1024, /* bytes a lane may give in a turn */
    FRAME_COST = 2048,    /* a frame counts at least as so many */
    DATAGRAM_COST = 256,  /* a datagram as so many more than it has */
    FRAME_LEN = DP_HEADROOM + TAP_SUPER_BUFFER,
    FULL_WAIT_MS = 1, /* for a socket without room, then its datagrams are dropped */
    TRIM_MS = 3000,   /* memory of bulk traffic is given back so often, to be had anew as needed */
    BULK_LEN = 16384, /* a frame or message of this length is bulk traffic */
    REFUSALS_MAX = 8, /* super-frames a device may refuse in a minute */
    REFUSALS_MS = 60000,
    UNCUT_MS = 60000,  /* datagrams leave singly for so long where runs do not fit the path */
    FLOOD_FRAMES = 96, /* of a lane in one turn are a flood: its queue is likely full */
    FLOOD_MS = 100,    /* so long flows are kept away from it */
    SLICE_NS = 100000, /* of the processor: frames of small flows must not wait for a tick */
    STACK_LEN = 512 * 1024,
    RING_OPENED_LEN = 256 * 1024,
    RING_FRAMES_LEN = 1024 * 1024,
    RING_SEALED_LEN = 256 * 1024,
    RING_OTHERS_LEN = 256 * 1024,
};

#define STOP_NUMBER UINT64_MAX

static struct source *source_of(struct table_node *node)
{
    return node == NULL ? NULL : CONTAINER_OF(node, struct source, by_number);
}

static struct source *device_of(const struct worker *w, uint64_t nwid)
{
    struct table_node *node = table_find(&w->devices, nwid);

    return node == NULL ? NULL : CONTAINER_OF(node, struct source, by_nwid);
}

/* ---- what the data path asks of its host ---- */

/* Returns false: the ring is full, which counts for itself. */
static bool put(struct worker *w, unsigned ring, const struct ring_record *record, const void *data)
{
    bool is_in = ring_put(&w->rings[ring], record, data);

    w->notify(w->notify_ctx);
    return is_in;
}

static const unsigned rings[] = {[DP_GIFT_DATAGRAM] = WORKER_RING_OTHERS,
                                 [DP_GIFT_SEALED] = WORKER_RING_OTHERS,
                                 [DP_GIFT_OPENED] = WORKER_RING_OPENED,
                                 [DP_GIFT_FRAME] = WORKER_RING_FRAMES,
                                 [DP_GIFT_PAIR] = WORKER_RING_OTHERS};

static uint64_t on_given(void *ctx, enum dp_gift_kind kind)
{
    const struct worker *w = ctx;

    return atomic_load_explicit(&w->rings[rings[kind]].head, memory_order_relaxed);
}

static uint64_t on_taken(void *ctx, enum dp_gift_kind kind)
{
    const struct worker *w = ctx;

    return atomic_load_explicit(&w->taken[rings[kind]], memory_order_acquire);
}

static void on_give(void *ctx, const struct dp_gift *gift)
{
    const struct ring_record record = {.kind = gift->kind,
                                       .socket = gift->socket,
                                       .len = (uint32_t)gift->len,
                                       .nwid = gift->nwid,
                                       .addr = gift->from};

    (void)put(ctx, gift->is_known ? WORKER_RING_SEALED : rings[gift->kind], &record, gift->data);
}

static bool is_uncut(const struct worker *w, const struct inetaddr *to)
{
    if (w->uncut_ms <= w->now_ms) {
        return false;
    }
    for (size_t i = 0; i < WORKER_UNCUT; i++) {
        if (w->uncut[i].until_ms > w->now_ms && inetaddr_equal(&w->uncut[i].to, to)) {
            return true;
        }
    }
    return false;
}

/* Remember where runs were refused; the oldest memory goes for it. */
static void note_uncut(struct worker *w, const struct udp_run *runs, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        size_t oldest = 0;

        if (!runs[i].no_gso || is_uncut(w, &runs[i].to)) {
            continue;
        }
        for (size_t k = 1; k < WORKER_UNCUT; k++) {
            oldest = w->uncut[k].until_ms < w->uncut[oldest].until_ms ? k : oldest;
        }
        w->uncut_ms = w->now_ms + UNCUT_MS;
        w->uncut[oldest] = (struct uncut){.to = runs[i].to, .until_ms = w->uncut_ms};
    }
}

/* Send runs over one socket; what finds no room for a while is dropped. */
static void send_over(struct worker *w, struct udp_socket *udp, struct udp_run *runs, size_t count)
{
    size_t done = udp_send_runs(udp, w->bulk, runs, count);

    if (done < count) {
        struct pollfd wait = {.fd = udp_fd(udp), .events = POLLOUT};

        if (poll(&wait, 1, FULL_WAIT_MS) > 0) {
            done += udp_send_runs(udp, w->bulk, runs + done, count - done);
        }
    }
    note_uncut(w, runs, count);
    for (; done < count; done++) {
        dp_add(&w->lost, (runs[done].len + runs[done].segment - 1) / runs[done].segment);
    }
}

/* Datagrams for a socket of control's. */
static void send_by_control(struct worker *w, const struct dp_run *run)
{
    for (size_t at = 0; at < run->len; at += run->size) {
        size_t left = run->len - at;
        const struct ring_record record = {
            .kind = WORKER_SEND,
            .socket = run->to.socket,
            .len = (uint32_t)(left < run->size ? left : run->size),
            .addr = run->to.remote,
        };

        (void)put(w, WORKER_RING_OTHERS, &record, run->data + at);
    }
}

static void on_send(void *ctx, const struct dp_run *runs, size_t count)
{
    struct worker *w = ctx;
    struct udp_run batch[UDP_BULK_BUFFERS_MAX];
    size_t i = 0;

    while (i < count) {
        uint32_t socket = runs[i].to.socket;
        const struct source *source = source_of(table_find(&w->sources, socket));
        size_t n = 0;

        if (source == NULL) {
            send_by_control(w, &runs[i++]);
            continue;
        }
        for (; i < count && n < COUNT_OF(batch) && runs[i].to.socket == socket; i++) {
            batch[n++] = (struct udp_run){.data = runs[i].data,
                                          .len = runs[i].len,
                                          .segment = runs[i].size,
                                          .to = runs[i].to.remote,
                                          .no_gso = is_uncut(w, &runs[i].to.remote)};
            dp_add(&w->tx_bytes, runs[i].len);
        }
        send_over(w, source->udp[0], batch, n);
    }
}

/* The device refuses a super-frame: cut it again; if that happens often, merge no more. */
static void write_cut(struct worker *w, struct source *device, unsigned queue,
                      const struct merge_output *out)
{
    dp_add(&w->device_cut, 1);
    dp_add(&device->refused, 1);
    tap_write_segments(device->tap, queue, out, w->scratch, w->checksum);
    if (w->now_ms - device->refused_ms > REFUSALS_MS) {
        device->refused_ms = w->now_ms;
        device->refusals = 0;
    }
    if (++device->refusals >= REFUSALS_MAX) {
        device->kinds &= out->vnet.gso_type == VNET_GSO_UDP_L4 ? ~(unsigned)MERGE_UDP : MERGE_UDP;
    }
}

static bool is_flooded(const struct worker *w, const struct source *device, unsigned lane)
{
    return w->now_ms - device->flooded_ms[lane] < FLOOD_MS;
}

/* The lane by which a frame goes to its device. The system sends answers of the flow to the queue
 * it came from: they are kept out of lanes where a flood would drown them. */
static unsigned choose_lane(const struct worker *w, const struct source *device, uint32_t hash)
{
    unsigned lane = hash % w->lanes;

    for (unsigned i = 0; i < w->lanes; i++) {
        unsigned other = (lane + i) % w->lanes;

        if (!is_flooded(w, device, other)) {
            return other;
        }
    }
    return lane;
}

static void on_write(void *ctx, uint64_t nwid, const struct merge_output *out)
{
    struct worker *w = ctx;
    struct source *device = device_of(w, nwid);
    unsigned queue = device == NULL ? 0 : worker_queue(w, choose_lane(w, device, out->hash));
    int err = device == NULL
                  ? 0
                  : tap_write_super(device->tap, queue, &out->vnet, out->pieces, out->count);

    if ((err == -EINVAL || err == -EOPNOTSUPP) && out->frames > 1) {
        write_cut(w, device, queue, out);
    } else if (err < 0) {
        dp_add(&w->device_full, out->frames);
        dp_add(&device->full, out->frames);
    }
}

static unsigned on_kinds(void *ctx, uint64_t nwid)
{
    const struct source *device = device_of(ctx, nwid);

    return device == NULL ? 0 : device->kinds;
}

static void on_wake(void *ctx)
{
    struct worker *w = ctx;

    w->notify(w->notify_ctx);
}

/* ---- turns ---- */

/* Large buffers are in use. */
static void note_bulk(struct worker *w, size_t len)
{
    if (len >= BULK_LEN && w->bulk_ms == 0) {
        w->bulk_ms = w->now_ms;
    }
}

/* Receive one batch. Returns its cost. */
static int64_t serve_socket(struct worker *w, struct source *source, unsigned lane)
{
    struct dp_message messages[BUFFERS];
    const struct udp_message *batch;
    int count = udp_receive_bulk(source->udp[lane], w->bulk, &batch);
    uint64_t bytes = 0;
    uint64_t datagrams = 0;

    for (int i = 0; i < count; i++) {
        const struct udp_message *m = &batch[i];

        messages[i] = (struct dp_message){
            .data = m->data, .len = m->len, .cap = m->cap, .segment = m->segment, .from = m->from};
        bytes += m->len;
        datagrams += (m->len + m->segment - 1) / m->segment;
    }
    if (count <= 0) {
        return QUANTUM; /* nothing more in this turn */
    }
    dp_add(&w->rx_bytes, bytes);
    dp_receive(w->dp, (uint32_t)source->by_number.key, messages, (size_t)count, w->now_ms);
    note_bulk(w, bytes);
    return udp_bulk_was_full(w->bulk) ? (int64_t)(bytes + datagrams * DATAGRAM_COST) : QUANTUM;
}

/* The device is gone: control makes it anew. If it cannot be told now, it is in the next turn. */
static void give_up(struct worker *w, const struct source *source)
{
    const struct ring_record record = {.kind = WORKER_LOST, .nwid = source->by_number.key};

    if (!put(w, WORKER_RING_OPENED, &record, NULL)) {
        return;
    }
    for (unsigned lane = 0; lane < w->lanes; lane++) {
        (void)epoll_ctl(w->epoll, EPOLL_CTL_DEL, tap_fd(source->tap, worker_queue(w, lane)), NULL);
    }
}

/* Read one frame or super-frame: its memory stays warm. Returns the cost. */
static int64_t serve_device(struct worker *w, struct source *source, unsigned lane)
{
    struct tap_super frame = {.data = w->frame + DP_HEADROOM, .cap = TAP_SUPER_BUFFER};
    int count = tap_read_super(source->tap, worker_queue(w, lane), &frame, 1);

    if (count < 0) {
        give_up(w, source);
    }
    if (count <= 0) {
        return QUANTUM; /* nothing more in this turn */
    }
    dp_send(w->dp, source->by_nwid.key, &frame.vnet, frame.data, frame.len, w->now_ms);
    note_bulk(w, frame.len);
    return frame.len > FRAME_COST ? (int64_t)frame.len : FRAME_COST;
}

/* A lane of a socket was served. */
static void note_behind(struct worker *w, struct source *source, unsigned lane, bool is_empty)
{
    if (is_empty) {
        source->behind_ms[lane] = 0;
    }
    dp_served(w->dp,
              source->behind_ms[lane] != 0 && w->now_ms - source->behind_ms[lane] >= FAIR_WINDOW_MS,
              w->now_ms);
}

/* Serve a lane until its share of this turn is spent or it is empty. */
static void serve_lane(struct worker *w, struct source *source, unsigned lane)
{
    int64_t *deficit = &source->deficits[lane];
    unsigned rounds = 0;
    bool is_empty = false;

    *deficit = *deficit + QUANTUM < QUANTUM ? *deficit + QUANTUM : QUANTUM;
    if (source->tap == NULL && source->behind_ms[lane] == 0) {
        source->behind_ms[lane] = w->now_ms;
    }
    for (; *deficit > 0; rounds++) {
        int64_t cost =
            source->tap == NULL ? serve_socket(w, source, lane) : serve_device(w, source, lane);

        is_empty = cost == QUANTUM;
        *deficit -= cost;
    }
    if (source->tap == NULL) {
        note_behind(w, source, lane, is_empty);
    }
    if (rounds >= FLOOD_FRAMES) {
        source->flooded_ms[lane] = w->now_ms;
    }
}

static bool serve(struct worker *w, const struct epoll_event *events, int count)
{
    bool is_stopped = false;

    for (int i = 0; i < count; i++) {
        uint64_t key = events[i].data.u64;
        struct source *source;

        if (key == STOP_NUMBER) {
            is_stopped = true;
            continue;
        }
        source = source_of(table_find(&w->sources, key / WORKER_LANES));
        if (source != NULL) { /* else it was removed meanwhile */
            serve_lane(w, source, (unsigned)(key % WORKER_LANES));
        }
    }
    dp_flush(w->dp);
    return !is_stopped;
}

/* Give the memory of bulk transfers back to the system. */
static void trim(struct worker *w)
{
    void *slab;
    size_t len;

    udp_bulk_trim(w->bulk);
    dp_idle_memory(w->dp, &slab, &len);
    memory_release(slab, len);
    memory_release(w->frame, FRAME_LEN);
    memory_release(w->scratch, MERGE_FRAME_MAX);
    for (size_t i = 0; i < WORKER_RINGS; i++) {
        ring_trim(&w->rings[i]);
    }
    w->bulk_ms = 0;
}

/* Milliseconds until a time, not below 0; -1 stands for never. */
static int until(const struct worker *w, int64_t at_ms)
{
    return at_ms > w->now_ms ? (int)(at_ms - w->now_ms) : 0;
}

/* What time alone makes due. Returns how long to wait at most. */
static int look_after(struct worker *w)
{
    int64_t due_ms = dp_expire(w->dp, w->now_ms);
    int wait = due_ms < 0 ? -1 : until(w, due_ms);

    if (w->bulk_ms != 0 && w->now_ms - w->bulk_ms >= TRIM_MS) {
        trim(w);
    }
    if (w->bulk_ms != 0) {
        int left = until(w, w->bulk_ms + TRIM_MS);

        wait = wait < 0 || left < wait ? left : wait;
    }
    return wait;
}

static void *run(void *arg)
{
    struct worker *w = arg;
    struct epoll_event events[EVENTS_MAX];
    bool is_going = true;

    (void)cpu_set_slice(SLICE_NS); /* best effort */
    while (is_going) {
        int count = epoll_wait(w->epoll, events, EVENTS_MAX, look_after(w));

        w->now_ms = clock_mono_ms();
        if (count > 0) {
            quiesce_begin(w->quiesce, w->index);
            is_going = serve(w, events, count);
            quiesce_end(w->quiesce, w->index);
        }
    }
    return NULL;
}

/* ---- life ---- */

static int open_descriptors(struct worker *w)
{
    struct epoll_event event = {.events = EPOLLIN, .data.u64 = STOP_NUMBER};

    w->epoll = epoll_create1(EPOLL_CLOEXEC);
    w->stop_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (w->epoll < 0 || w->stop_fd < 0 ||
        epoll_ctl(w->epoll, EPOLL_CTL_ADD, w->stop_fd, &event) < 0) {
        return -errno;
    }
    return 0;
}

struct worker *worker_new(struct published *pub, unsigned index, unsigned lanes,
                          struct limbo *limbo, struct quiesce *quiesce, uint64_t seed)
{
    static const size_t lengths[WORKER_RINGS] = {RING_OPENED_LEN, RING_FRAMES_LEN, RING_SEALED_LEN,
                                                 RING_OTHERS_LEN};
    struct worker *w = aligned_alloc(64, (sizeof(*w) + 63) / 64 * 64);
    const struct dp_env env = {.give = on_give,
                               .given = on_given,
                               .taken = on_taken,
                               .send = on_send,
                               .write = on_write,
                               .kinds = on_kinds,
                               .wake = on_wake,
                               .ctx = w};
    int err = 0;

    if (w == NULL) {
        return NULL;
    }
    memset(w, 0, sizeof(*w));
    w->index = index;
    w->lanes = lanes;
    w->workers = pub->workers;
    w->quiesce = quiesce;
    w->epoll = w->stop_fd = -1;
    w->checksum = checksum_pick(cpu_features());
    table_init(&w->sources, seed, limbo);
    table_init(&w->devices, seed, limbo);
    for (size_t i = 0; i < WORKER_RINGS && err == 0; i++) {
        err = ring_init(&w->rings[i], lengths[i]);
    }
    w->frame = malloc(FRAME_LEN);
    w->scratch = malloc(MERGE_FRAME_MAX + 1);
    w->dp = dp_new(pub, index, &env, seed);
    if (err < 0 || w->frame == NULL || w->scratch == NULL || w->dp == NULL ||
        udp_bulk_new(BUFFERS, &w->bulk) < 0 || open_descriptors(w) < 0) {
        worker_free(w);
        return NULL;
    }
    return w;
}

int worker_start(struct worker *w)
{
    pthread_attr_t attr;
    sigset_t all;
    sigset_t before;
    int err = pthread_attr_init(&attr);

    if (err != 0) {
        return -err;
    }
    (void)pthread_attr_setstacksize(&attr, STACK_LEN);
    (void)sigfillset(&all); /* signals are control's */
    (void)pthread_sigmask(SIG_SETMASK, &all, &before);
    err = pthread_create(&w->thread, &attr, run, w);
    (void)pthread_sigmask(SIG_SETMASK, &before, NULL);
    (void)pthread_attr_destroy(&attr);
    w->is_running = err == 0;
    return -err;
}

void worker_free(struct worker *w)
{
    if (w == NULL) {
        return;
    }
    if (w->is_running) {
        (void)!write(w->stop_fd, &(uint64_t){1}, sizeof(uint64_t));
        (void)pthread_join(w->thread, NULL);
    }
    dp_free(w->dp);
    udp_bulk_free(w->bulk);
    for (size_t i = 0; i < WORKER_RINGS; i++) {
        ring_done(&w->rings[i]);
    }
    table_done(&w->sources);
    table_done(&w->devices);
    free(w->frame);
    free(w->scratch);
    if (w->epoll >= 0) {
        (void)close(w->epoll);
    }
    if (w->stop_fd >= 0) {
        (void)close(w->stop_fd);
    }
    free(w);
}
