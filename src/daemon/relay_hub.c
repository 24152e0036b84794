/* Clients of the TCP relay and their UDP sockets, on a loop of their own. */
#include "daemon/relay_hub.h"

#include "base/hmap.h"
#include "base/list.h"
#include "daemon/log.h"
#include "daemon/outbox.h"
#include "daemon/relay_stream.h"
#include "os/clock.h"
#include "os/random.h"
#include "os/tcp.h"
#include "os/udp_bulk.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include <uv.h>

enum {
    STACK_LEN = 512 * 1024,
    SWEEP_MS = 1000,
    RECEIVES_MAX = 16,        /* reads of one client in its turn */
    UDP_BUFFER = 1024 * 1024, /* of each client's sockets */
    BULK_BUFFERS = 16,
    EVICT_MS = 2000,    /* a client that reached nobody for so long may have to make room */
    FIRST_PLAIN = 0x17, /* first byte: a record, */
    FIRST_TLS = 0x16,   /* or a handshake */
};

enum state {
    STATE_FIRST,     /* nothing came yet */
    STATE_HANDSHAKE, /* of TLS */
    STATE_GREETING,  /* waiting for the greeting */
    STATE_OPEN,
};

/* A client's UDP socket of one family. */
struct side {
    struct client *client;
    struct hmap_node by_port;
    struct udp_socket *udp; /* NULL: none yet */
    uv_poll_t poll;
};

struct client {
    struct list link;
    struct list dirty; /* in hub.dirty while something is to be flushed */
    bool is_dirty;
    struct relay_hub *hub;
    struct inetaddr from;
    enum state state;
    int64_t accepted_ms;
    int64_t record_ms;
    uv_poll_t poll;
    unsigned handles;     /* not closed yet */
    uint64_t lost;        /* of the stream, counted so far */
    struct side sides[2]; /* IPv4, IPv6 */
    struct gate_client gate;
    struct relay_stream stream;
};

struct listener {
    struct relay_hub *hub;
    int fd;
    uv_poll_t poll;
};

/* Counters as the thread writes them. */
struct cells {
    _Atomic uint64_t clients;
    _Atomic uint64_t accepted;
    _Atomic uint64_t refused;
    _Atomic uint64_t ended;
    _Atomic uint64_t datagrams[2];
    _Atomic uint64_t drops[GATE_VERDICTS];
    _Atomic uint64_t lost;
};

struct relay_hub {
    pthread_t thread;
    pthread_mutex_t lock;     /* guards the next two */
    struct gate_rules *rules; /* to be taken over, NULL: none */
    bool stop;
    uv_async_t wake; /* one of them is there */
    struct cells cells;
    /* the thread's own: */
    uv_loop_t loop;
    uv_timer_t sweep;
    struct listener listeners[HUB_LISTENERS_MAX];
    size_t listener_count;
    bool paused; /* no descriptors left: nothing is accepted until the next sweep */
    int version[3];
    struct list clients;
    unsigned client_count;
    struct list dirty;
    struct hmap ports; /* struct side by family and port */
    struct gate *gate;
    bool has_rules;
    struct tls *tls;
    bool tls_failed;
    struct udp_bulk *bulk;
    struct outbox outbox;
    uint8_t *scratch;
};

static void add(_Atomic uint64_t *cell, uint64_t n)
{
    atomic_fetch_add_explicit(cell, n, memory_order_relaxed);
}

static uint64_t get(const _Atomic uint64_t *cell)
{
    return atomic_load_explicit(cell, memory_order_relaxed);
}

/* ---- clients end ---- */

static void on_closed(uv_handle_t *handle)
{
    struct client *c = handle->data;
    if (--c->handles == 0) {
        free(c);
    }
}

static void close_side(struct side *side)
{
    struct relay_hub *hub = side->client->hub;
    if (side->udp != NULL) {
        outbox_flush(&hub->outbox); /* it may hold datagrams of this socket */
        hmap_remove(&hub->ports, &side->by_port);
        uv_close((uv_handle_t *)&side->poll, on_closed);
        udp_close(side->udp);
        side->udp = NULL;
    }
}

static void client_close(struct client *c, const char *why)
{
    struct relay_hub *hub = c->hub;
    if (why != NULL) {
        char text[INETADDR_TEXT_LEN];
        inetaddr_print(&c->from, text);
        log_write(LOG_LEVEL_DEBUG, "relay", "client ended address=%s reason=\"%s\"", text, why);
    }
    list_remove(&c->link);
    if (c->is_dirty) {
        list_remove(&c->dirty);
    }
    hub->client_count--;
    add(&hub->cells.clients, UINT64_MAX); /* one less */
    for (size_t i = 0; i < COUNT_OF(c->sides); i++) {
        close_side(&c->sides[i]);
    }
    uv_close((uv_handle_t *)&c->poll, on_closed);
    relay_stream_close(&c->stream);
}

/* The client did something it should not. */
static void client_end(struct client *c, const char *why)
{
    add(&c->hub->cells.ended, 1);
    client_close(c, why);
}

/* ---- sending to clients ---- */

static void on_tcp(uv_poll_t *poll, int status, int events);

static void client_poll(struct client *c, bool write)
{
    (void)uv_poll_start(&c->poll, UV_READABLE | (write ? UV_WRITABLE : 0), on_tcp);
}

static void mark_dirty(struct client *c)
{
    if (!c->is_dirty) {
        c->is_dirty = true;
        list_push(&c->hub->dirty, &c->dirty);
    }
}

/* The end of a callback: what was gathered leaves. */
static void settle(struct relay_hub *hub)
{
    struct list *link;
    int64_t now_ms = clock_mono_ms();
    outbox_flush(&hub->outbox);
    while ((link = list_first(&hub->dirty)) != NULL) {
        struct client *c = CONTAINER_OF(link, struct client, dirty);
        list_remove(link);
        c->is_dirty = false;
        int err = relay_stream_flush(&c->stream, now_ms);
        add(&hub->cells.lost, c->stream.lost - c->lost);
        c->lost = c->stream.lost;
        if (err < 0 && err != -EAGAIN) {
            client_close(c, "connection lost");
        } else {
            client_poll(c, err == -EAGAIN);
        }
    }
}

/* A datagram for a client. */
static void give(struct client *c, const struct inetaddr *from, const uint8_t *data, size_t len,
                 int64_t now_ms)
{
    struct relay_hub *hub = c->hub;
    struct inetaddr source;
    enum gate_verdict verdict = gate_in(hub->gate, &c->gate, from, data, len, now_ms, &source);
    if (verdict != GATE_SEND) {
        add(&hub->cells.drops[verdict], 1);
    } else if (relay_stream_put(&c->stream, &source, data, len, now_ms)) {
        add(&hub->cells.datagrams[1], 1);
    }
    mark_dirty(c);
}

/* ---- UDP ---- */

static void on_udp(uv_poll_t *poll, int status, int events)
{
    struct client *c = poll->data;
    struct side *side = CONTAINER_OF(poll, struct side, poll);
    struct relay_hub *hub = c->hub;
    const struct udp_message *messages = NULL;
    (void)status;
    (void)events;
    int count = udp_receive_bulk(side->udp, hub->bulk, &messages);
    int64_t now_ms = clock_mono_ms();
    for (int i = 0; i < count; i++) {
        const struct udp_message *m = &messages[i];
        for (size_t at = 0; at < m->len; at += m->segment) {
            size_t len = m->len - at < m->segment ? m->len - at : m->segment;
            give(c, &m->from, m->data + at, len, now_ms);
        }
    }
    settle(hub);
}

static uint64_t port_key(uint8_t family, uint16_t port)
{
    return (uint64_t)family << 16 | port;
}

static int open_side(struct side *side, uint8_t family)
{
    struct relay_hub *hub = side->client->hub;
    struct udp_config config = {
        .local = {.family = family}, .buffer = UDP_BUFFER, .offloads = UDP_OFFLOAD_ALL};
    struct udp_info info;
    int err = udp_open(&config, &side->udp);
    if (err < 0) {
        side->udp = NULL;
        return err;
    }
    udp_info(side->udp, &info);
    err = hmap_insert(&hub->ports, &side->by_port, port_key(family, info.local.port));
    if (err < 0 || uv_poll_init(&hub->loop, &side->poll, udp_fd(side->udp)) < 0) {
        if (err == 0) {
            hmap_remove(&hub->ports, &side->by_port);
        }
        udp_close(side->udp);
        side->udp = NULL;
        return -ENOMEM;
    }
    side->poll.data = side->client;
    side->client->handles++;
    return uv_poll_start(&side->poll, UV_READABLE, on_udp);
}

/* The client's socket for a destination, or NULL. */
static struct side *side_for(struct client *c, const struct inetaddr *to)
{
    struct side *side = &c->sides[to->family == INETADDR_V6];
    return side->udp != NULL || open_side(side, to->family) == 0 ? side : NULL;
}

/* To another client's port on this machine. Returns what came of it. */
static enum gate_verdict give_neighbour(struct relay_hub *hub, const struct side *side,
                                        const struct inetaddr *to, const uint8_t *data, size_t len,
                                        int64_t now_ms)
{
    struct hmap_node *node = hmap_find(&hub->ports, port_key(to->family, to->port));
    struct inetaddr from = *to;
    if (node == NULL) {
        return GATE_ADDRESS;
    }
    from.port = (uint16_t)side->by_port.key;
    give(CONTAINER_OF(node, struct side, by_port)->client, &from, data, len, now_ms);
    return GATE_CLIENT;
}

static void carry(struct client *c, const struct inetaddr *to, const uint8_t *data, size_t len,
                  int64_t now_ms)
{
    struct relay_hub *hub = c->hub;
    struct inetaddr target = *to;
    enum gate_verdict verdict = hub->has_rules
                                    ? gate_out(hub->gate, &c->gate, to, data, len, now_ms, &target)
                                    : GATE_ADDRESS;
    struct side *side = gate_reason(verdict) == NULL ? side_for(c, &target) : NULL;
    if (side != NULL && verdict == GATE_CLIENT) {
        verdict = give_neighbour(hub, side, to, data, len, now_ms);
    } else if (side != NULL) {
        outbox_add(&hub->outbox, side->udp, &target, data, len);
    }
    add(gate_reason(verdict) == NULL ? &hub->cells.datagrams[0] : &hub->cells.drops[verdict], 1);
}

/* ---- TCP ---- */

static int on_record(void *ctx, const struct tcp_relay_record *record, uint8_t *data)
{
    struct client *c = ctx;
    int64_t now_ms = clock_mono_ms();
    c->record_ms = now_ms;
    if (record->kind == TCP_RELAY_GREETING && c->state == STATE_GREETING) {
        c->state = STATE_OPEN;
        relay_stream_greet(&c->stream, c->hub->version, now_ms);
        mark_dirty(c);
    }
    if (c->state != STATE_OPEN) {
        return -EPROTO;
    }
    if (record->kind == TCP_RELAY_DATAGRAM && record->address.family != INETADDR_NIL) {
        carry(c, &record->address, data, record->len, now_ms);
    }
    return 0;
}

/* The first byte tells what follows. Returns 0; -EAGAIN; another negative errno. */
static int look_at_first(struct client *c)
{
    struct relay_hub *hub = c->hub;
    uint8_t first;
    ssize_t n = recv(c->stream.fd, &first, 1, MSG_PEEK);
    if (n <= 0) {
        return n == 0 ? -EPIPE : errno == EWOULDBLOCK || errno == EINTR ? -EAGAIN : -errno;
    }
    if (first == FIRST_PLAIN) {
        c->state = STATE_GREETING;
        return 0;
    }
    if (first == FIRST_TLS && hub->tls == NULL && !hub->tls_failed) {
        hub->tls_failed = tls_new(true, &hub->tls) < 0;
    }
    if (first != FIRST_TLS || hub->tls == NULL) {
        return -EPROTO;
    }
    c->stream.tls = tls_session_new(hub->tls, c->stream.fd, NULL);
    c->state = STATE_HANDSHAKE;
    return c->stream.tls == NULL ? -ENOMEM : 0;
}

/* Go on until the greeting may come. Returns 0; -EAGAIN; another negative errno. */
static int begin(struct client *c)
{
    bool write = false;
    int err = c->state == STATE_FIRST ? look_at_first(c) : 0;
    if (err == 0 && c->state == STATE_HANDSHAKE) {
        err = tls_handshake(c->stream.tls, &write);
        if (err == -EAGAIN) {
            client_poll(c, write);
        } else if (err == 0) {
            c->state = STATE_GREETING;
            client_poll(c, false);
        }
    }
    return err;
}

static void on_tcp(uv_poll_t *poll, int status, int events)
{
    struct client *c = poll->data;
    struct relay_hub *hub = c->hub;
    int64_t now_ms = clock_mono_ms();
    int err = status < 0 ? status : c->state < STATE_GREETING ? begin(c) : 0;
    if (err == 0 && (events & UV_WRITABLE) != 0) {
        mark_dirty(c);
    }
    for (unsigned i = 0; i < RECEIVES_MAX && err >= 0; i++) {
        err = relay_stream_receive(&c->stream, hub->scratch, on_record, c, now_ms);
        err = err == 0 ? -EPIPE : err;
    }
    if (err == -EBADMSG || err == -EPROTO) {
        client_end(c, "nonsense");
    } else if (err < 0 && err != -EAGAIN) {
        client_close(c, "connection lost");
    }
    settle(hub);
}

/* ---- clients come ---- */

/* The address, or of IPv6 its network. */
static bool same_net(const struct inetaddr *a, const struct inetaddr *b)
{
    size_t len = a->family == INETADDR_V6 ? 8 : 4;
    return a->family == b->family && memcmp(a->ip, b->ip, len) == 0;
}

/* The table is full: end the oldest client that has reached nobody. */
static bool make_room(struct relay_hub *hub, int64_t now_ms)
{
    struct list *it;
    struct list *tmp;
    LIST_EACH(&hub->clients, it, tmp)
    {
        struct client *c = CONTAINER_OF(it, struct client, link);
        if (!c->gate.answered && now_ms - c->accepted_ms >= EVICT_MS) {
            client_close(c, "made room");
            return true;
        }
    }
    return false;
}

static bool may_enter(struct relay_hub *hub, const struct inetaddr *from, int64_t now_ms)
{
    struct list *it;
    struct list *tmp;
    unsigned count = 0;
    LIST_EACH(&hub->clients, it, tmp)
    {
        count += same_net(&CONTAINER_OF(it, struct client, link)->from, from);
    }
    return count < HUB_CLIENTS_NET && gate_admit(hub->gate, from, now_ms) &&
           (hub->client_count < HUB_CLIENTS_MAX || make_room(hub, now_ms));
}

static void on_sweep(uv_timer_t *timer);

static void client_new(struct relay_hub *hub, int fd, const struct inetaddr *from)
{
    int64_t now_ms = clock_mono_ms();
    struct client *c = may_enter(hub, from, now_ms) ? malloc(sizeof(*c)) : NULL;
    if (c == NULL) {
        add(&hub->cells.refused, 1);
        (void)close(fd);
        return;
    }
    memset(c, 0, offsetof(struct client, gate));
    c->hub = hub;
    c->from = *from;
    c->accepted_ms = c->record_ms = now_ms;
    gate_client_init(&c->gate);
    relay_stream_init(&c->stream);
    for (size_t i = 0; i < COUNT_OF(c->sides); i++) {
        c->sides[i].client = c;
    }
    if (uv_poll_init(&hub->loop, &c->poll, fd) < 0) {
        (void)close(fd);
        free(c);
        return;
    }
    c->poll.data = c;
    c->handles = 1;
    relay_stream_open(&c->stream, fd);
    c->stream.strict = true;
    list_push(&hub->clients, &c->link);
    hub->client_count++;
    add(&hub->cells.clients, 1);
    add(&hub->cells.accepted, 1);
    client_poll(c, false);
    if (!uv_is_active((uv_handle_t *)&hub->sweep)) {
        (void)uv_timer_start(&hub->sweep, on_sweep, SWEEP_MS, SWEEP_MS);
    }
}

static void on_listener(uv_poll_t *poll, int status, int events)
{
    struct listener *l = poll->data;
    struct inetaddr from;
    (void)status;
    (void)events;
    int fd = tcp_accept(l->fd, &from);
    if (fd >= 0) {
        client_new(l->hub, fd, &from);
    } else if (fd == -EMFILE || fd == -ENFILE || fd == -ENOBUFS || fd == -ENOMEM) {
        l->hub->paused = true; /* it stays readable: do not spin */
        (void)uv_poll_stop(poll);
        (void)uv_timer_start(&l->hub->sweep, on_sweep, SWEEP_MS, SWEEP_MS);
    }
}

static void listen_all(struct relay_hub *hub)
{
    for (size_t i = 0; i < hub->listener_count; i++) {
        (void)uv_poll_start(&hub->listeners[i].poll, UV_READABLE, on_listener);
    }
    hub->paused = false;
}

static void on_sweep(uv_timer_t *timer)
{
    struct relay_hub *hub = timer->data;
    int64_t now_ms = clock_mono_ms();
    struct list *it;
    struct list *tmp;
    LIST_EACH(&hub->clients, it, tmp)
    {
        struct client *c = CONTAINER_OF(it, struct client, link);
        struct gate_times times = {
            .accepted_ms = c->accepted_ms,
            .record_ms = c->record_ms,
            .carry_ms = c->stream.carry_len > 0 ? c->stream.carry_ms : -1,
            .blocked_ms = c->stream.blocked_ms,
            .greeted = c->state == STATE_OPEN,
        };
        const char *why = gate_overdue(&times, now_ms);
        if (why != NULL) {
            client_end(c, why);
        } else {
            relay_stream_trim(&c->stream);
        }
    }
    if (hub->paused) {
        listen_all(hub);
    }
    if (hub->client_count == 0) {
        (void)uv_timer_stop(timer);
        udp_bulk_trim(hub->bulk);
    }
}

/* ---- the thread ---- */

static void close_handle(uv_handle_t *handle, void *ctx)
{
    (void)ctx;
    if (!uv_is_closing(handle)) {
        uv_close(handle, NULL);
    }
}

static void on_wake(uv_async_t *async)
{
    struct relay_hub *hub = async->data;
    struct list *it;
    struct list *tmp;
    (void)pthread_mutex_lock(&hub->lock);
    struct gate_rules *rules = hub->rules;
    bool stop = hub->stop;
    hub->rules = NULL;
    (void)pthread_mutex_unlock(&hub->lock);
    if (rules != NULL) {
        hub->gate->rules = *rules;
        hub->has_rules = true;
        free(rules);
    }
    if (stop) {
        LIST_EACH(&hub->clients, it, tmp)
        {
            client_close(CONTAINER_OF(it, struct client, link), NULL);
        }
        uv_walk(&hub->loop, close_handle, NULL); /* which ends the loop */
    }
}

static void *run(void *arg)
{
    struct relay_hub *hub = arg;
    (void)uv_run(&hub->loop, UV_RUN_DEFAULT);
    return NULL;
}

/* Release what relay_hub_new made; no handle is open. */
static void release(struct relay_hub *hub)
{
    for (size_t i = 0; i < hub->listener_count; i++) {
        (void)close(hub->listeners[i].fd);
    }
    (void)uv_loop_close(&hub->loop);
    hmap_done(&hub->ports);
    outbox_done(&hub->outbox);
    udp_bulk_free(hub->bulk);
    tls_free(hub->tls);
    free(hub->rules);
    free(hub->scratch);
    free(hub->gate);
    (void)pthread_mutex_destroy(&hub->lock);
    free(hub);
}

static int start_thread(struct relay_hub *hub)
{
    pthread_attr_t attr;
    int err = pthread_attr_init(&attr);
    if (err == 0) {
        (void)pthread_attr_setstacksize(&attr, STACK_LEN);
        err = pthread_create(&hub->thread, &attr, run, hub);
        (void)pthread_attr_destroy(&attr);
    }
    return -err;
}

static int prepare(struct relay_hub *hub)
{
    uint64_t seed;
    random_bytes(&seed, sizeof(seed));
    hmap_init(&hub->ports, seed);
    hub->gate = malloc(sizeof(*hub->gate));
    hub->scratch = malloc(RELAY_RECORD_MAX + RELAY_SCRATCH);
    int err = hub->gate == NULL || hub->scratch == NULL ? -ENOMEM : 0;
    if (err == 0) {
        gate_init(hub->gate, ~seed);
        err = udp_bulk_new(BULK_BUFFERS, &hub->bulk);
    }
    err = err < 0 ? err : outbox_init(&hub->outbox, hub->bulk);
    return err;
}

static int open_handles(struct relay_hub *hub)
{
    int err = uv_async_init(&hub->loop, &hub->wake, on_wake);
    hub->wake.data = hub;
    if (err == 0) {
        (void)uv_timer_init(&hub->loop, &hub->sweep);
        hub->sweep.data = hub;
    }
    for (size_t i = 0; i < hub->listener_count && err == 0; i++) {
        err = uv_poll_init(&hub->loop, &hub->listeners[i].poll, hub->listeners[i].fd);
        hub->listeners[i].poll.data = &hub->listeners[i];
    }
    return err;
}

int relay_hub_new(const int *listeners, size_t count, const int version[3], struct relay_hub **ret)
{
    struct relay_hub *hub = calloc(1, sizeof(*hub));
    if (hub == NULL || uv_loop_init(&hub->loop) < 0) {
        for (size_t i = 0; i < count; i++) {
            (void)close(listeners[i]);
        }
        free(hub);
        return -ENOMEM;
    }
    (void)pthread_mutex_init(&hub->lock, NULL);
    list_init(&hub->clients);
    list_init(&hub->dirty);
    memcpy(hub->version, version, sizeof(hub->version));
    for (size_t i = 0; i < count && i < HUB_LISTENERS_MAX; i++) {
        hub->listeners[hub->listener_count++] = (struct listener){.hub = hub, .fd = listeners[i]};
    }
    int err = prepare(hub);
    err = err < 0 ? err : open_handles(hub);
    if (err == 0) {
        listen_all(hub);
        err = start_thread(hub);
    }
    if (err < 0) {
        uv_walk(&hub->loop, close_handle, NULL);
        (void)uv_run(&hub->loop, UV_RUN_DEFAULT);
        release(hub);
        return err;
    }
    *ret = hub;
    return 0;
}

int relay_hub_rules(struct relay_hub *hub, const struct gate_rules *rules)
{
    struct gate_rules *copy = malloc(sizeof(*copy));
    if (copy == NULL) {
        return -ENOMEM;
    }
    *copy = *rules;
    (void)pthread_mutex_lock(&hub->lock);
    free(hub->rules);
    hub->rules = copy;
    (void)pthread_mutex_unlock(&hub->lock);
    (void)uv_async_send(&hub->wake);
    return 0;
}

void relay_hub_stats(const struct relay_hub *hub, struct relay_hub_stats *ret)
{
    const struct cells *c = &hub->cells;
    *ret = (struct relay_hub_stats){
        .clients = get(&c->clients),
        .accepted = get(&c->accepted),
        .refused = get(&c->refused),
        .ended = get(&c->ended),
        .datagrams = {get(&c->datagrams[0]), get(&c->datagrams[1])},
        .lost = get(&c->lost),
    };
    for (size_t i = 0; i < GATE_VERDICTS; i++) {
        ret->drops[i] = get(&c->drops[i]);
    }
}

void relay_hub_free(struct relay_hub *hub)
{
    if (hub == NULL) {
        return;
    }
    (void)pthread_mutex_lock(&hub->lock);
    hub->stop = true;
    (void)pthread_mutex_unlock(&hub->lock);
    (void)uv_async_send(&hub->wake);
    (void)pthread_join(hub->thread, NULL);
    release(hub);
}
