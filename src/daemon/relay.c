/* Client of the TCP relay: when it is engaged, which of several relays is used, when it is left. */
#include "daemon/relay.h"

#include "daemon/api_json.h"
#include "daemon/log.h"
#include "daemon/service_priv.h"
#include "os/tcp.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum { RECEIVES_MAX = 16 }; /* reads in one turn of the loop */

/* A connection or an attempt at one. */
struct relay_link {
    struct relay *relay; /* NULL: given up */
    struct relay_way way;
    int64_t begin_ms;
    bool connected; /* TCP is */
    int events;     /* polled for */
    uv_poll_t poll;
    struct relay_stream stream;
};

static void step(struct relay *relay);
static void on_event(uv_poll_t *poll, int status, int events);

static void on_timer(uv_timer_t *timer)
{
    step(timer->data);
}

static void wake_in(struct relay *relay, int64_t delay_ms)
{
    uv_update_time(&relay->svc->loop);
    (void)uv_timer_start(&relay->timer, on_timer, delay_ms > 0 ? (uint64_t)delay_ms : 0, 0);
}

static void enter(struct relay *relay, enum relay_state state)
{
    relay->state = state;
    relay->since_ms = service_now();
}

/* A root that its clients cannot reach by UDP is none. */
static bool is_allowed(const struct service *svc)
{
    struct node_status status;
    node_get_status(svc->node, service_now(), &status);
    return !svc->silent &&
           (svc->config->force_tcp_relay || (svc->config->allow_tcp_relay && !status.root));
}

const struct relay_way *relay_in_use(const struct relay *relay)
{
    return relay->state == RELAY_UP && relay->links[0] != NULL ? &relay->links[0]->way : NULL;
}

/* ---- connections ---- */

static void on_closed(uv_handle_t *handle)
{
    free(handle->data);
}

static void link_close(struct relay *relay, size_t index)
{
    struct relay_link *link = relay->links[index];
    relay->links[index] = NULL;
    link->relay = NULL;
    uv_close((uv_handle_t *)&link->poll, on_closed);
    relay_stream_close(&link->stream);
}

static void close_all(struct relay *relay)
{
    for (size_t i = 0; i < RELAY_LINKS_MAX; i++) {
        if (relay->links[i] != NULL) {
            link_close(relay, i);
        }
    }
    if (relay->state == RELAY_UP) {
        sockets_set_relay(&relay->svc->sockets, 0);
    }
    free(relay->scratch);
    relay->scratch = NULL;
}

static void log_way(enum log_level level, const struct relay_way *way, const char *what,
                    const char *why)
{
    char text[INETADDR_TEXT_LEN];
    inetaddr_print(&way->to, text);
    log_write(level, "relay", "%s address=%s transport=%s%s%s", what, text,
              way->tls ? "tls" : "plain", why[0] != '\0' ? " reason=" : "", why);
}

static void poll_for(struct relay_link *link, int events)
{
    if (link->events != events) {
        link->events = events;
        (void)uv_poll_start(&link->poll, events, on_event);
    }
}

/* Begin an attempt. Returns 0; negative errno. */
static int link_begin(struct relay *relay, const struct relay_way *way)
{
    size_t at = 0;
    while (at < RELAY_LINKS_MAX && relay->links[at] != NULL) {
        at++;
    }
    if (way->tls && relay->tls == NULL && !relay->tls_failed) {
        relay->tls_failed = tls_new(false, &relay->tls) < 0;
    }
    if (at == RELAY_LINKS_MAX || (way->tls && relay->tls == NULL)) {
        return -EPROTONOSUPPORT;
    }
    /* While a network has our default route, connections must not enter it. */
    struct sockets *sockets = &relay->svc->sockets;
    struct socket_info info;
    bool held = sockets->held && sockets_info(sockets, &info, 1) == 1;
    struct relay_link *link = malloc(sizeof(*link));
    int fd = link == NULL ? -ENOMEM : tcp_connect(&way->to, held ? info.device : NULL);
    if (fd < 0) {
        free(link);
        return fd;
    }
    link->relay = relay;
    link->way = *way;
    link->begin_ms = service_now();
    link->connected = false;
    link->events = 0;
    relay_stream_open(&link->stream, fd);
    if (uv_poll_init(&relay->svc->loop, &link->poll, fd) < 0) {
        relay_stream_close(&link->stream);
        free(link);
        return -ENOMEM;
    }
    link->poll.data = link;
    relay->links[at] = link;
    poll_for(link, UV_WRITABLE);
    return 0;
}

/* Go on connecting. Returns 0 ready; -EAGAIN; another negative errno. */
static int link_advance(struct relay_link *link)
{
    struct relay *relay = link->relay;
    bool write = false;
    int err = link->connected ? 0 : tcp_connected(link->stream.fd);
    if (err < 0 || !link->way.tls) {
        return err;
    }
    link->connected = true;
    if (link->stream.tls == NULL) {
        const char *name = relay->svc->config->tcp_relay_name;
        link->stream.tls =
            tls_session_new(relay->tls, link->stream.fd, name[0] != '\0' ? name : NULL);
        if (link->stream.tls == NULL) {
            return -ENOMEM;
        }
    }
    err = tls_handshake(link->stream.tls, &write);
    if (err == -EAGAIN) {
        poll_for(link, write ? UV_WRITABLE : UV_READABLE);
    }
    return err;
}

/* The first that is ready is used, the others are given up. */
static void use(struct relay *relay, struct relay_link *link)
{
    int version[3];
    for (size_t i = 0; i < RELAY_LINKS_MAX; i++) {
        if (relay->links[i] != NULL && relay->links[i] != link) {
            link_close(relay, i);
        }
    }
    memset(relay->links, 0, sizeof(relay->links));
    relay->links[0] = link;
    link->connected = true;
    relay->speaks_v6 = relay->proven = false;
    relay->udp_ms = -1;
    enter(relay, RELAY_UP);
    relay->proven_ms = relay->sent_ms = relay->since_ms;
    log_way(LOG_LEVEL_DEBUG, &link->way, "connected", "");
    api_version(version);
    relay_stream_greet(&link->stream, version, relay->since_ms);
    poll_for(link, UV_READABLE);
    sockets_set_relay(&relay->svc->sockets, 1);
    wake_in(relay, RELAY_CHECK_MS);
}

static void mark_bad(struct relay *relay, const struct relay_way *way)
{
    for (size_t i = 0; i < relay->way_count; i++) {
        struct relay_way *w = &relay->ways[i];
        w->bad = w->bad || (w->tls == way->tls && inetaddr_equal(&w->to, &way->to));
    }
}

/* A connection failed. */
static void link_failed(struct relay_link *link, const char *why)
{
    struct relay *relay = link->relay;
    bool in_use = relay->state == RELAY_UP;
    log_way(in_use && relay->proven ? LOG_LEVEL_INFO : LOG_LEVEL_DEBUG, &link->way,
            in_use ? "TCP relay lost" : "cannot connect", why);
    mark_bad(relay, &link->way);
    for (size_t i = 0; i < RELAY_LINKS_MAX; i++) {
        if (relay->links[i] == link) {
            link_close(relay, i);
        }
    }
    if (in_use) {
        sockets_set_relay(&relay->svc->sockets, 0);
        enter(relay, RELAY_TRY);
        /* If it worked: a rest, then the same again. Else the others, of which it cut off some. */
        relay->way_next = relay->proven ? relay->way_count : 0;
        relay->kind = RELAY_NONE;
    }
    wake_in(relay, 0);
}

/* ---- datagrams ---- */

static int on_record(void *ctx, const struct tcp_relay_record *record, uint8_t *data)
{
    struct relay_link *link = ctx;
    struct relay *relay = link->relay;
    if (relay == NULL) {
        return -ECANCELED;
    }
    if (record->kind == TCP_RELAY_GREETING && !relay->speaks_v6) {
        relay->speaks_v6 = true;
        sockets_set_relay(&relay->svc->sockets, 2);
    }
    if (record->kind == TCP_RELAY_DATAGRAM && record->address.family != INETADDR_NIL) {
        bool v6 = record->address.family == INETADDR_V6;
        relay->rx_bytes += record->len;
        node_receive(relay->svc->node, v6 ? RELAY_SOCKET_V6 : RELAY_SOCKET, &record->address, data,
                     record->len, service_now());
    }
    return 0;
}

static int receive(struct relay_link *link)
{
    struct relay *relay = link->relay;
    int err = 1;
    if (relay->scratch == NULL) {
        relay->scratch = malloc(RELAY_RECORD_MAX + RELAY_SCRATCH);
    }
    if (relay->scratch == NULL) {
        return -ENOMEM;
    }
    for (unsigned i = 0; i < RECEIVES_MAX && err > 0; i++) {
        err = relay_stream_receive(&link->stream, relay->scratch, on_record, link, service_now());
    }
    return err == 0 ? -ECONNRESET : err;
}

static void on_event(uv_poll_t *poll, int status, int events)
{
    struct relay_link *link = poll->data;
    struct relay *relay = link->relay;
    int err = status;
    if (relay == NULL) {
        return;
    }
    if (relay->state != RELAY_UP) {
        err = err < 0 ? err : link_advance(link);
        if (err == 0) {
            use(relay, link);
        }
    } else if (err == 0) {
        err = (events & UV_READABLE) != 0 ? receive(link) : 0;
    }
    if (err < 0 && err != -EAGAIN) {
        link_failed(link, err == -EPROTO ? "\"no TLS\"" : uv_err_name(err));
    }
}

void relay_send(struct relay *relay, const struct inetaddr *to, const void *data, size_t len)
{
    const struct relay_way *way = relay_in_use(relay);
    enum inet_scope scope = inetaddr_scope(to);
    if (way == NULL || len < RELAY_PAYLOAD_MIN ||
        (scope != INET_SCOPE_GLOBAL && scope != inetaddr_scope(&way->to)) ||
        (to->family != INETADDR_V4 && !relay->speaks_v6)) {
        return;
    }
    relay->sent_ms = service_now();
    if (relay_stream_put(&relay->links[0]->stream, to, data, len, relay->sent_ms)) {
        relay->tx_bytes += len;
    }
}

void relay_flush(struct relay *relay)
{
    struct relay_link *link = relay->links[0];
    if (relay_in_use(relay) == NULL) {
        return;
    }
    int err = relay_stream_flush(&link->stream, service_now());
    if (err == 0 || err == -EAGAIN) {
        poll_for(link, err == 0 ? UV_READABLE : UV_READABLE | UV_WRITABLE);
    }
    /* A broken connection is noticed by reading. */
}

/* ---- decisions ---- */

/* May the next way be tried now? Its kind waits for those before it. */
static bool is_due(const struct relay *relay, int64_t now_ms, bool idle)
{
    const struct relay_way *next = &relay->ways[relay->way_next];
    if (idle) {
        return true; /* nothing is under way */
    }
    if (relay->kind != next->kind) {
        return now_ms - relay->kind_ms >= RELAY_KIND_MS;
    }
    return now_ms - relay->tried_ms >= RELAY_STAGGER_MS;
}

static void try_next(struct relay *relay, int64_t now_ms)
{
    const struct relay_way *way = &relay->ways[relay->way_next];
    if (relay->kind != way->kind) {
        relay->kind = way->kind;
        relay->kind_ms = now_ms;
    }
    relay->way_next++;
    relay->tried_ms = now_ms;
    int err = link_begin(relay, way);
    if (err < 0) {
        log_way(LOG_LEVEL_DEBUG, way, "cannot connect", uv_err_name(err));
        mark_bad(relay, way);
    }
}

/* Any way left? relay->way_next is it then. */
static bool find_next(struct relay *relay)
{
    while (relay->way_next < relay->way_count && relay->ways[relay->way_next].bad) {
        relay->way_next++;
    }
    return relay->way_next < relay->way_count;
}

static unsigned drop_overdue(struct relay *relay, int64_t now_ms)
{
    unsigned count = 0;
    for (size_t i = 0; i < RELAY_LINKS_MAX; i++) {
        if (relay->links[i] != NULL && now_ms - relay->links[i]->begin_ms >= RELAY_CONNECT_MS) {
            log_way(LOG_LEVEL_DEBUG, &relay->links[i]->way, "cannot connect", "timeout");
            mark_bad(relay, &relay->links[i]->way);
            link_close(relay, i);
        }
        count += relay->links[i] != NULL;
    }
    return count;
}

static void step_try(struct relay *relay, int64_t now_ms)
{
    unsigned links = drop_overdue(relay, now_ms);
    while (links < RELAY_LINKS_MAX && find_next(relay) && is_due(relay, now_ms, links == 0)) {
        try_next(relay, now_ms);
        links = drop_overdue(relay, now_ms);
    }
    if (links > 0 || find_next(relay)) {
        wake_in(relay, RELAY_STAGGER_MS / 2);
        return;
    }
    relay->pause_ms = relay->rest_ms;
    relay->rest_ms =
        2 * relay->rest_ms < RELAY_REST_LAST_MS ? 2 * relay->rest_ms : RELAY_REST_LAST_MS;
    enter(relay, RELAY_REST);
    wake_in(relay, relay->pause_ms);
}

static void begin_try(struct relay *relay)
{
    relay_find_ways(relay);
    relay->kind = RELAY_NONE;
    enter(relay, RELAY_TRY);
    relay->proven = false;
    step_try(relay, relay->since_ms);
}

/* An upstream answers by UDP again, and goes on: leave. */
static bool is_released(struct relay *relay, bool udp_works, int64_t now_ms)
{
    if (!udp_works) {
        relay->udp_ms = -1;
        return false;
    }
    relay->udp_ms = relay->udp_ms < 0 ? now_ms : relay->udp_ms;
    if (now_ms - relay->udp_ms < relay->hold_ms) {
        return false;
    }
    log_way(LOG_LEVEL_INFO, &relay->links[0]->way, "left the TCP relay", "\"UDP works again\"");
    relay->left_ms = now_ms;
    return true;
}

/* How long UDP must work next time: longer if it did not for long the last time. */
static void choose_hold(struct relay *relay, int64_t now_ms)
{
    bool flaps = relay->left_ms > 0 && now_ms - relay->left_ms < RELAY_FLAP_MS;
    int64_t twice = 2 * relay->hold_ms;
    relay->hold_ms = !flaps                       ? RELAY_HOLD_FIRST_MS
                     : twice < RELAY_HOLD_LAST_MS ? twice
                                                  : RELAY_HOLD_LAST_MS;
}

static void step_up(struct relay *relay, bool udp_works, int64_t now_ms)
{
    if (is_released(relay, udp_works, now_ms)) {
        close_all(relay);
        enter(relay, RELAY_IDLE);
        return;
    }
    if (node_upstream_by_detour(relay->svc->node, now_ms)) {
        if (!relay->proven) {
            log_way(LOG_LEVEL_INFO, &relay->links[0]->way, "using a TCP relay",
                    relay->svc->config->force_tcp_relay ? "forced" : "\"no answer by UDP\"");
            choose_hold(relay, now_ms);
        }
        relay->proven = true;
        relay->proven_ms = now_ms;
        relay->rest_ms = RELAY_REST_FIRST_MS;
    } else if (now_ms - relay->proven_ms >= RELAY_PROVE_MS && !udp_works) {
        link_failed(relay->links[0], "\"no upstream answers through it\"");
        return;
    }
    if (now_ms - relay->sent_ms >= RELAY_KEEP_MS) {
        relay->sent_ms = now_ms;
        relay_stream_keep(&relay->links[0]->stream, now_ms);
    }
    relay_stream_trim(&relay->links[0]->stream);
    wake_in(relay, RELAY_CHECK_MS);
}

static void step_waiting(struct relay *relay, int64_t patience_ms, int64_t now_ms)
{
    int64_t left_ms = relay->since_ms + patience_ms - now_ms;
    if (left_ms > 0) {
        wake_in(relay, left_ms);
    } else {
        begin_try(relay);
    }
}

/* Look at the situation and do what is due. */
static void step(struct relay *relay)
{
    struct service *svc = relay->svc;
    int64_t now_ms = service_now();
    bool forced = svc->config->force_tcp_relay;
    bool udp_works = !forced && node_upstream_without_detour(svc->node, now_ms);
    if (!is_allowed(svc) || (udp_works && relay->state != RELAY_UP)) {
        close_all(relay);
        enter(relay, RELAY_IDLE);
        (void)uv_timer_stop(&relay->timer);
        return;
    }
    if (relay->state == RELAY_IDLE) {
        relay->rest_ms = RELAY_REST_FIRST_MS;
        enter(relay, RELAY_WAIT);
    }
    switch (relay->state) {
    case RELAY_IDLE:
    case RELAY_WAIT:
        step_waiting(relay, forced ? 0 : RELAY_ENGAGE_MS, now_ms);
        break;
    case RELAY_TRY:
        step_try(relay, now_ms);
        break;
    case RELAY_UP:
        step_up(relay, udp_works, now_ms);
        break;
    case RELAY_REST:
        step_waiting(relay, relay->pause_ms, now_ms);
        break;
    }
}

void relay_review(struct relay *relay)
{
    if (relay->timer_open) {
        wake_in(relay, 0); /* not now: the engine may be calling, and must not be called back */
    }
}

void relay_network_changed(struct relay *relay)
{
    relay->rest_ms = RELAY_REST_FIRST_MS;
    relay->pause_ms = 0;
    if (relay->state == RELAY_UP && tcp_is_stranded(relay->links[0]->stream.fd)) {
        link_failed(relay->links[0], "\"the address is gone\"");
    } else {
        relay_review(relay);
    }
}

void relay_init(struct relay *relay, struct service *svc)
{
    *relay =
        (struct relay){.svc = svc, .rest_ms = RELAY_REST_FIRST_MS, .hold_ms = RELAY_HOLD_FIRST_MS};
    (void)uv_timer_init(&svc->loop, &relay->timer);
    relay->timer.data = relay;
    relay->timer_open = true;
}

void relay_stop(struct relay *relay)
{
    if (relay->timer_open) {
        relay->timer_open = false;
        close_all(relay);
        relay->state = RELAY_IDLE;
        uv_close((uv_handle_t *)&relay->timer, NULL);
        tls_free(relay->tls);
        relay->tls = NULL;
    }
}
