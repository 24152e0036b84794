/* Control's side of the workers: sources come and go, gifts go into the engine, what was withdrawn
 * is released. Source: data path contract sections 1, 2 and 6. */
#include "daemon/workers.h"

#include "daemon/log.h"
#include "daemon/service_priv.h"
#include "daemon/worker.h"
#include "os/cpu.h"
#include "os/random.h"

#include <errno.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>

enum {
    RECLAIM_MS = 5,     /* between two looks whether the workers moved on */
    PASS_LIMIT_MS = 50, /* to wait for workers; who is stuck for longer is not waited for */
    PASS_YIELD_MS = 2,  /* of this, without sleeping: the length of a busy turn */
    STUCK_MS = 1000,    /* a worker that does not move for so long is reported */
    BUSY_GIFTS = 64,    /* so many at once are bulk traffic */
};

/* Gifts taken of each ring before other work gets its turn: strangers must delay neither
 * credentials nor timers. */
static const unsigned shares[WORKER_RINGS] = {256, 128, 128, 32};

#define FIRST_DEVICE (UINT64_C(1) << 32) /* numbers of devices lie above those of sockets */

struct workers {
    struct service *svc;
    unsigned count;
    unsigned lanes;        /* of each */
    struct published *pub; /* the node's */
    uint64_t next_device;
    struct limbo limbo; /* sources and arrays of their tables */
    struct quiesce quiesce;
    struct quiesce_mark mark;
    uint64_t marked_node; /* retired before the mark: by the engine, here; 0: no mark */
    uint64_t marked_here;
    bool is_marked;
    int64_t marked_ms;   /* when */
    bool is_reported;    /* that a worker is stuck, until it moves on */
    bool is_late;        /* something could not be closed in time */
    uv_async_t *ready;   /* a worker has something for us */
    uv_timer_t *harvest; /* the next harvest, while there is traffic */
    uv_timer_t *reclaim; /* the next look at the mark */
    struct worker *list[DP_WORKERS_MAX];
};

/* ---- release ---- */

/* Release what was withdrawn before the mark, if the workers passed it. */
static void try_reclaim(struct workers *workers)
{
    if (workers->is_marked && quiesce_passed(&workers->quiesce, &workers->mark)) {
        workers->is_marked = workers->is_reported = false;
        node_reclaim(workers->svc->node, workers->marked_node);
        limbo_reclaim(&workers->limbo, workers->marked_here);
        if (workers->is_late) { /* an address that was still taken may be free now */
            workers->is_late = false;
            service_rebind_soon(workers->svc);
        }
    }
}

static void mark_withdrawn(struct workers *workers);

static void on_reclaim(uv_timer_t *timer)
{
    struct workers *workers = timer->data;

    mark_withdrawn(workers);
    if (workers->is_marked && !workers->is_reported &&
        service_now() - workers->marked_ms > STUCK_MS) {
        workers->is_reported = true;
        log_write(LOG_LEVEL_WARN, "workers", "a worker is stuck");
    }
}

static void mark_withdrawn(struct workers *workers)
{
    uint64_t node;

    try_reclaim(workers);
    node = node_retired(workers->svc->node);
    if (!workers->is_marked &&
        (node != workers->marked_node || workers->limbo.number != workers->marked_here)) {
        workers->marked_node = node;
        workers->marked_here = workers->limbo.number;
        workers->is_marked = true;
        workers->marked_ms = service_now();
        quiesce_note(&workers->quiesce, &workers->mark);
        try_reclaim(workers);
    }
    if (workers->is_marked && !uv_is_active((uv_handle_t *)workers->reclaim)) {
        (void)uv_timer_start(workers->reclaim, on_reclaim, RECLAIM_MS, 0);
    }
}

/* What came of the gifts that were taken has left. */
static void tell_taken(struct workers *workers)
{
    for (unsigned i = 0; i < workers->count; i++) {
        struct worker *w = workers->list[i];

        for (size_t r = 0; r < WORKER_RINGS; r++) {
            atomic_store_explicit(&w->taken[r],
                                  atomic_load_explicit(&w->rings[r].tail, memory_order_relaxed),
                                  memory_order_release);
        }
    }
}

void workers_settle(struct workers *workers)
{
    if (workers != NULL) {
        tell_taken(workers);
        mark_withdrawn(workers);
    }
}

/* Have something closed that was withdrawn from all workers. They are waited for, but not long:
 * it is released with the next mark at the latest. */
static void close_after(struct workers *workers, struct retired *closing,
                        void (*release)(struct retired *r))
{
    struct quiesce_mark mark;
    int64_t begin_ms = service_now();

    limbo_retire(&workers->limbo, closing, release);
    quiesce_note(&workers->quiesce, &mark);
    while (!quiesce_passed(&workers->quiesce, &mark)) {
        int64_t waited_ms = service_now() - begin_ms;

        if (waited_ms > PASS_LIMIT_MS) {
            workers->is_late = true;
            return;
        }
        if (waited_ms <= PASS_YIELD_MS) {
            (void)sched_yield();
        } else {
            uv_sleep(1);
        }
    }
    limbo_reclaim(&workers->limbo, workers->limbo.number);
}

/* ---- gifts ---- */

/* A device does not work any more, unless it was removed meanwhile. */
static void lost_device(struct workers *workers, uint64_t number)
{
    struct table_node *node = table_find(&workers->list[0]->sources, number);

    if (node != NULL) {
        ports_lost(&workers->svc->ports, CONTAINER_OF(node, struct source, by_number)->by_nwid.key);
    }
}

static void take_gift(struct workers *workers, struct ring_record *record)
{
    struct service *svc = workers->svc;
    struct dp_gift gift = {.kind = record->kind,
                           .socket = record->socket,
                           .from = record->addr,
                           .nwid = record->nwid,
                           .data = ring_data(record),
                           .len = record->len};

    switch (record->kind) {
    case WORKER_SEND:
        sockets_send(&svc->sockets, record->socket, &record->addr, gift.data, gift.len, 0);
        break;
    case WORKER_LOST:
        lost_device(workers, record->nwid);
        break;
    case DP_GIFT_FRAME:
        ports_seen(&svc->ports, record->nwid, gift.data, gift.len);
        node_take(svc->node, &gift, service_now());
        break;
    default:
        node_take(svc->node, &gift, service_now());
        break;
    }
}

/* Take what the rings hold, up to their shares. Returns how many gifts there were. */
static unsigned take_gifts(struct workers *workers, bool *ret_more)
{
    unsigned total = 0;

    for (size_t r = 0; r < WORKER_RINGS; r++) {
        for (unsigned w = 0; w < workers->count; w++) {
            struct ring *ring = &workers->list[w]->rings[r];
            struct ring_record *record = NULL;
            unsigned n = 0;

            while (n < shares[r] && (record = ring_peek(ring)) != NULL) {
                take_gift(workers, record);
                ring_drop(ring, record);
                n++;
            }
            *ret_more |= record != NULL;
            total += n;
        }
    }
    return total;
}

static void on_harvest(uv_timer_t *timer)
{
    struct workers *workers = timer->data;

    if (node_harvest(workers->svc->node, service_now())) {
        (void)uv_timer_start(timer, on_harvest, DP_HARVEST_MS, 0);
    }
}

void workers_harvest(struct workers *workers)
{
    if (workers != NULL) {
        (void)node_harvest(workers->svc->node, service_now());
    }
}

static void on_ready(uv_async_t *async)
{
    struct workers *workers = async->data;
    bool more = false;

    if (take_gifts(workers, &more) > BUSY_GIFTS) {
        service_bulk_seen(workers->svc);
    }
    if (more) {
        (void)uv_async_send(async);
    }
    if (published_is_dirty(workers->pub) && !uv_is_active((uv_handle_t *)workers->harvest)) {
        uv_update_time(&workers->svc->loop);
        (void)uv_timer_start(workers->harvest, on_harvest, DP_HARVEST_MS, 0);
    }
}

/* Any thread. */
static void notify(void *ctx)
{
    const struct workers *workers = ctx;

    (void)uv_async_send(workers->ready);
}

/* ---- sources ---- */

static void source_release(struct retired *r)
{
    free(CONTAINER_OF(r, struct source, retired));
}

static int lane_fd(const struct worker *w, const struct source *source, unsigned lane)
{
    return source->tap == NULL ? udp_fd(source->udp[lane])
                               : tap_fd(source->tap, worker_queue(w, lane));
}

static void remove_source(struct worker *w, struct limbo *limbo, struct source *source)
{
    for (unsigned lane = 0; lane < source->lanes; lane++) {
        (void)epoll_ctl(w->epoll, EPOLL_CTL_DEL, lane_fd(w, source, lane), NULL);
    }
    table_remove(&w->sources, &source->by_number);
    if (source->tap != NULL) {
        table_remove(&w->devices, &source->by_nwid);
    }
    limbo_retire(limbo, &source->retired, source_release);
}

/* Have a worker serve a source, which is its own from here on; NULL: -ENOMEM. */
static int add_source(struct workers *workers, struct worker *w, struct source *source)
{
    int err = source == NULL ? -ENOMEM : table_insert(&w->sources, &source->by_number);

    if (err < 0) {
        free(source);
        return err;
    }
    if (source->tap != NULL) {
        err = table_insert(&w->devices, &source->by_nwid);
        if (err < 0) {
            table_remove(&w->sources, &source->by_number);
            limbo_retire(&workers->limbo, &source->retired, source_release);
            return err;
        }
    }
    for (unsigned lane = 0; lane < source->lanes; lane++) {
        struct epoll_event event = {.events = EPOLLIN, .data.u64 = worker_event(source, lane)};

        if (epoll_ctl(w->epoll, EPOLL_CTL_ADD, lane_fd(w, source, lane), &event) < 0) {
            err = -errno;
        }
    }
    if (err < 0) {
        remove_source(w, &workers->limbo, source);
    }
    return err;
}

int workers_add_socket(struct workers *workers, uint32_t id, struct udp_socket *const *udp)
{
    int err = 0;

    for (unsigned i = 0; i < workers->count && err == 0; i++) {
        struct worker *w = workers->list[i];
        struct source *source = calloc(1, sizeof(*source));

        for (unsigned lane = 0; source != NULL && lane < w->lanes; lane++) {
            unsigned queue = worker_queue(w, lane);

            /* One alone is read by the first worker; all send by it. */
            source->by_number.key = id;
            source->udp[lane] = udp[queue] != NULL ? udp[queue] : udp[0];
            source->lanes += udp[queue] != NULL;
        }
        err = add_source(workers, w, source);
    }
    return err;
}

int workers_add_device(struct workers *workers, uint64_t nwid, struct tap *tap)
{
    uint64_t number = FIRST_DEVICE + workers->next_device++;
    int err = 0;

    for (unsigned i = 0; i < workers->count && err == 0; i++) {
        struct source *source = calloc(1, sizeof(*source));

        if (source != NULL) {
            source->by_number.key = number;
            source->by_nwid.key = nwid;
            source->tap = tap;
            source->lanes = workers->list[i]->lanes;
            source->kinds = tap_merge_kinds(tap);
        }
        err = add_source(workers, workers->list[i], source);
    }
    return err;
}

void workers_remove_socket(struct workers *workers, uint32_t id, struct retired *closing,
                           void (*release)(struct retired *r))
{
    if (workers == NULL) {
        release(closing);
        return;
    }
    for (unsigned i = 0; i < workers->count; i++) {
        struct table_node *node = table_find(&workers->list[i]->sources, id);

        if (node != NULL) {
            remove_source(workers->list[i], &workers->limbo,
                          CONTAINER_OF(node, struct source, by_number));
        }
    }
    close_after(workers, closing, release);
}

void workers_remove_device(struct workers *workers, uint64_t nwid, struct retired *closing,
                           void (*release)(struct retired *r))
{
    if (workers == NULL) {
        release(closing);
        return;
    }
    for (unsigned i = 0; i < workers->count; i++) {
        struct table_node *node = table_find(&workers->list[i]->devices, nwid);

        if (node != NULL) {
            remove_source(workers->list[i], &workers->limbo,
                          CONTAINER_OF(node, struct source, by_nwid));
        }
    }
    close_after(workers, closing, release);
}

/* ---- life ---- */

unsigned workers_queues(const struct workers *workers)
{
    return workers->count * workers->lanes;
}

/* One up to two cores, then half of them, at most four (spec 09 section 6.1). */
static unsigned usual_count(void)
{
    unsigned cores = cpu_count();

    return cores <= 2 ? 1 : cores / 2 < 4 ? cores / 2 : 4;
}

static void on_closed(uv_handle_t *handle)
{
    free(handle);
}

static int open_handles(struct workers *workers)
{
    uv_loop_t *loop = &workers->svc->loop;

    workers->ready = calloc(1, sizeof(*workers->ready));
    workers->harvest = calloc(1, sizeof(*workers->harvest));
    workers->reclaim = calloc(1, sizeof(*workers->reclaim));
    if (workers->ready == NULL || workers->harvest == NULL || workers->reclaim == NULL) {
        free(workers->ready);
        free(workers->harvest);
        free(workers->reclaim);
        workers->ready = NULL;
        return -ENOMEM;
    }
    (void)uv_async_init(loop, workers->ready, on_ready);
    (void)uv_timer_init(loop, workers->harvest);
    (void)uv_timer_init(loop, workers->reclaim);
    workers->ready->data = workers->harvest->data = workers->reclaim->data = workers;
    return 0;
}

int workers_start(struct service *svc, unsigned count, struct workers **ret)
{
    struct workers *workers = calloc(1, sizeof(*workers));
    int err;

    if (workers == NULL) {
        return -ENOMEM;
    }
    count = count == 0 ? usual_count() : count < DP_WORKERS_MAX ? count : DP_WORKERS_MAX;
    workers->svc = svc;
    workers->lanes = TAP_QUEUES_MAX / count < WORKER_LANES ? TAP_QUEUES_MAX / count : WORKER_LANES;
    limbo_init(&workers->limbo);
    quiesce_init(&workers->quiesce, count);
    err = open_handles(workers);
    workers->pub = err < 0 ? NULL : node_publish(svc->node, count);
    for (; workers->pub != NULL && err == 0 && workers->count < count; workers->count++) {
        uint64_t seed;

        random_bytes(&seed, sizeof(seed));
        struct worker *w = worker_new(workers->pub, workers->count, workers->lanes, &workers->limbo,
                                      &workers->quiesce, seed);
        if (w == NULL) {
            break;
        }
        w->notify = notify;
        w->notify_ctx = workers;
        workers->list[workers->count] = w;
        err = worker_start(w);
    }
    if (err < 0 || workers->count < count) {
        workers_stop(workers);
        return err < 0 ? err : -ENOMEM;
    }
    *ret = workers;
    return 0;
}

void workers_stop(struct workers *workers)
{
    if (workers == NULL) {
        return;
    }
    for (unsigned i = 0; i < workers->count; i++) {
        worker_free(workers->list[i]);
    }
    if (workers->ready != NULL) {
        uv_handle_t *handles[] = {(uv_handle_t *)workers->ready, (uv_handle_t *)workers->harvest,
                                  (uv_handle_t *)workers->reclaim};

        for (size_t i = 0; i < COUNT_OF(handles); i++) {
            uv_close(handles[i], on_closed);
        }
    }
    limbo_reclaim(&workers->limbo, UINT64_MAX);
    free(workers);
}

void workers_stats(const struct workers *workers, struct workers_stats *ret)
{
    *ret = (struct workers_stats){.count = workers->count, .lanes = workers->lanes};
    published_totals(workers->pub, ret->counts);
    for (unsigned i = 0; i < workers->count; i++) {
        const struct worker *w = workers->list[i];

        ret->rx_bytes += atomic_load_explicit(&w->rx_bytes, memory_order_relaxed);
        ret->tx_bytes += atomic_load_explicit(&w->tx_bytes, memory_order_relaxed);
        ret->lost += atomic_load_explicit(&w->lost, memory_order_relaxed);
        ret->device_full += atomic_load_explicit(&w->device_full, memory_order_relaxed);
        ret->device_cut += atomic_load_explicit(&w->device_cut, memory_order_relaxed);
        for (size_t r = 0; r < WORKER_RINGS; r++) {
            ret->ring_full[r] += atomic_load_explicit(&w->rings[r].full, memory_order_relaxed);
        }
    }
}

void workers_device(const struct workers *workers, uint64_t nwid, struct workers_device *ret)
{
    *ret = (struct workers_device){.kinds = MERGE_ALL};
    for (unsigned i = 0; i < workers->count; i++) {
        struct table_node *node = table_find(&workers->list[i]->devices, nwid);

        if (node == NULL) { /* all serve a device, or none */
            ret->kinds = 0;
            return;
        }
        const struct source *source = CONTAINER_OF(node, struct source, by_nwid);

        ret->kinds &= atomic_load_explicit(&source->kinds, memory_order_relaxed);
        ret->refused += atomic_load_explicit(&source->refused, memory_order_relaxed);
        ret->full += atomic_load_explicit(&source->full, memory_order_relaxed);
    }
}
