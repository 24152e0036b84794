/* Client of the TCP fallback relay. Engaged when no upstream answers, not when any UDP is silent,
 * and released when one is heard by UDP again. Source: spec 05 sections 5.5 and 12. */
#include "daemon/relay.h"

#include "daemon/api_json.h"
#include "daemon/log.h"
#include "daemon/service_priv.h"
#include "wire/tcp_relay.h"
#include "wire/world.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>

/* The relay of the public network. */
static const struct inetaddr public_relay = {
    .family = INETADDR_V4, .ip = {204, 80, 128, 1}, .port = 443};

/* A record on its way. */
struct relay_write {
    uv_write_t request;
    uint8_t data[];
};

static void on_timer(uv_timer_t *timer);

/* The relay to use: the configured one; the public one only for nodes of the public planet. */
static const struct inetaddr *relay_address(const struct service *svc)
{
    const struct world *planet = node_planet(svc->node);
    if (svc->config->tcp_relay.family != INETADDR_NIL) {
        return &svc->config->tcp_relay;
    }
    return planet != NULL && planet->id == WORLD_ID_EARTH ? &public_relay : NULL;
}

static bool is_allowed(const struct service *svc)
{
    const struct config *c = svc->config;
    return (c->allow_tcp_relay || c->force_tcp_relay) && relay_address(svc) != NULL;
}

static void start_timer(struct relay *relay, uint64_t delay_ms)
{
    (void)uv_timer_start(&relay->timer, on_timer, delay_ms, 0);
}

static void on_closed(uv_handle_t *handle)
{
    free(handle);
}

static void disconnect(struct relay *relay)
{
    if (relay->tcp == NULL) {
        return;
    }
    relay->tcp->data = NULL;
    uv_close((uv_handle_t *)relay->tcp, on_closed);
    relay->tcp = NULL;
    free(relay->in);
    relay->in = NULL;
    relay->in_len = 0;
    if (relay->connected) {
        relay->connected = false;
        sockets_set_relay(&relay->svc->sockets, false);
        log_write(LOG_LEVEL_INFO, "relay", "disconnected");
    }
}

static void fail(struct relay *relay, const char *what, int err)
{
    log_write(LOG_LEVEL_INFO, "relay", "%s error=\"%s\"", what, uv_strerror(err));
    disconnect(relay);
    start_timer(relay, RELAY_RETRY_MS);
}

static void on_written(uv_write_t *request, int status)
{
    (void)status; /* a broken connection is noticed by reading */
    free(CONTAINER_OF(request, struct relay_write, request));
}

static void write_record(struct relay *relay, struct relay_write *w, size_t len)
{
    uv_buf_t buf = uv_buf_init((char *)w->data, (unsigned)len);
    if (uv_write(&w->request, (uv_stream_t *)relay->tcp, &buf, 1, on_written) < 0) {
        free(w);
    }
}

static struct relay_write *new_record(size_t cap, struct wr *ret)
{
    struct relay_write *w = malloc(sizeof(*w) + cap);
    if (w != NULL) {
        *ret = wr_init(w->data, cap);
    }
    return w;
}

static void send_greeting(struct relay *relay)
{
    int version[3];
    struct wr w;
    struct relay_write *record = new_record(TCP_RELAY_GREETING_LEN, &w);
    if (record == NULL) {
        return;
    }
    api_version(version);
    tcp_relay_write_greeting(&w, (uint8_t)version[0], (uint8_t)version[1], (uint16_t)version[2]);
    write_record(relay, record, wr_len(&w));
}

void relay_send(struct relay *relay, const struct inetaddr *to, const void *data, size_t len)
{
    if (!relay->connected || len < RELAY_PACKET_MIN || to->family != INETADDR_V4 ||
        inetaddr_scope(to) != INET_SCOPE_GLOBAL ||
        uv_stream_get_write_queue_size((uv_stream_t *)relay->tcp) > RELAY_BACKLOG_MAX) {
        return;
    }
    struct wr w;
    struct relay_write *record = new_record(TCP_RELAY_DATAGRAM_HEAD_MAX + len, &w);
    if (record == NULL) {
        return;
    }
    tcp_relay_write_datagram(&w, to, data, len);
    if (w.bad) {
        free(record);
        return;
    }
    relay->tx_bytes += len;
    write_record(relay, record, wr_len(&w));
}

/* Take all complete records. Returns 0; -EBADMSG. */
static int take_records(struct relay *relay)
{
    struct rd r = rd_init(relay->in, relay->in_len);
    struct tcp_relay_record record;
    int n;
    while ((n = tcp_relay_next(&r, &record)) > 0) {
        if (record.kind == TCP_RELAY_DATAGRAM && record.address.family != INETADDR_NIL) {
            /* The bytes are ours; the engine may change them in place. */
            uint8_t *data = relay->in + (record.data - relay->in);
            relay->rx_bytes += record.len;
            node_receive(relay->svc->node, RELAY_SOCKET, &record.address, data, record.len,
                         service_now());
        }
    }
    size_t left = rd_left(&r);
    memmove(relay->in, relay->in + (relay->in_len - left), left);
    relay->in_len = left;
    return n;
}

static void on_space(uv_handle_t *handle, size_t suggested, uv_buf_t *buf)
{
    struct relay *relay = handle->data;
    (void)suggested;
    *buf = relay == NULL ? uv_buf_init(NULL, 0)
                         : uv_buf_init((char *)relay->in + relay->in_len,
                                       (unsigned)(TCP_RELAY_RECORD_MAX - relay->in_len));
}

static void on_read(uv_stream_t *stream, ssize_t count, const uv_buf_t *buf)
{
    struct relay *relay = stream->data;
    (void)buf;
    if (relay == NULL || count == 0) {
        return;
    }
    if (count < 0) {
        fail(relay, "connection lost", (int)count);
        return;
    }
    relay->in_len += (size_t)count;
    if (take_records(relay) < 0) {
        fail(relay, "the relay sends nonsense", UV_EPROTO);
    }
}

static void on_connected(uv_connect_t *request, int status)
{
    uv_stream_t *stream = request->handle;
    struct relay *relay = stream->data;
    free(request);
    if (relay == NULL) {
        return;
    }
    int err = status < 0 ? status : uv_read_start(stream, on_space, on_read);
    if (err < 0) {
        fail(relay, "cannot connect", err);
        return;
    }
    log_write(LOG_LEVEL_INFO, "relay", "connected");
    relay->connected = true;
    (void)uv_tcp_nodelay(relay->tcp, 1);
    send_greeting(relay);
    sockets_set_relay(&relay->svc->sockets, true);
    if (!relay->svc->config->force_tcp_relay) {
        start_timer(relay, RELAY_CHECK_MS);
    }
}

static int start_connection(struct relay *relay, const struct inetaddr *to)
{
    struct sockaddr_in sa = {.sin_family = AF_INET, .sin_port = htons(to->port)};
    memcpy(&sa.sin_addr, to->ip, 4);
    uv_connect_t *request = malloc(sizeof(*request));
    int err = request == NULL
                  ? UV_ENOMEM
                  : uv_tcp_connect(request, relay->tcp, (struct sockaddr *)&sa, on_connected);
    if (err < 0) {
        free(request);
    }
    return err;
}

static void connect_relay(struct relay *relay)
{
    const struct inetaddr *to = relay_address(relay->svc);
    if (to->family != INETADDR_V4) {
        return; /* the relay protocol's servers are IPv4 only */
    }
    relay->in = malloc(TCP_RELAY_RECORD_MAX);
    relay->tcp = calloc(1, sizeof(*relay->tcp));
    if (relay->in == NULL || relay->tcp == NULL || uv_tcp_init(&relay->svc->loop, relay->tcp) < 0) {
        free(relay->in);
        free(relay->tcp);
        relay->in = NULL;
        relay->tcp = NULL;
        return;
    }
    relay->tcp->data = relay;
    int err = start_connection(relay, to);
    if (err < 0) {
        fail(relay, "cannot connect", err);
    }
}

/* True if an upstream was heard by UDP lately. */
static bool udp_works(struct service *svc)
{
    struct node_peer_info *peers = NULL;
    int64_t now_ms = service_now();
    ssize_t count = node_peers(svc->node, now_ms, &peers);
    bool works = false;
    for (ssize_t i = 0; i < count; i++) {
        for (size_t k = 0; k < peers[i].path_count && peers[i].role != PEER_LEAF; k++) {
            const struct node_path_info *path = &peers[i].paths[k];
            works |= path->socket != RELAY_SOCKET && path->last_receive_ms != INT64_MIN &&
                     now_ms - path->last_receive_ms < RELAY_UDP_FRESH_MS;
        }
    }
    if (count >= 0) {
        node_peers_free(peers, (size_t)count);
    }
    return works;
}

static void on_timer(uv_timer_t *timer)
{
    struct relay *relay = timer->data;
    struct service *svc = relay->svc;
    bool forced = svc->config->force_tcp_relay;
    if (!is_allowed(svc) || (!forced && relay->connected && udp_works(svc))) {
        disconnect(relay);
        return;
    }
    if (relay->tcp == NULL && (forced || !svc->online)) {
        connect_relay(relay);
    }
    if (relay->connected && !forced) {
        start_timer(relay, RELAY_CHECK_MS);
    }
}

void relay_init(struct relay *relay, struct service *svc)
{
    *relay = (struct relay){.svc = svc};
    (void)uv_timer_init(&svc->loop, &relay->timer);
    relay->timer.data = relay;
    relay->timer_open = true;
}

void relay_stop(struct relay *relay)
{
    if (relay->timer_open) {
        disconnect(relay);
        uv_close((uv_handle_t *)&relay->timer, NULL);
        relay->timer_open = false;
    }
}

void relay_review(struct relay *relay)
{
    struct service *svc = relay->svc;
    if (!is_allowed(svc)) {
        /* Not here: the engine may be calling, and must not be called back. */
        if (relay->tcp != NULL) {
            start_timer(relay, 0);
        } else {
            (void)uv_timer_stop(&relay->timer);
        }
    } else if (relay->tcp == NULL && !uv_is_active((uv_handle_t *)&relay->timer) &&
               (svc->config->force_tcp_relay || !svc->online)) {
        start_timer(relay, svc->config->force_tcp_relay ? 0 : RELAY_ENGAGE_MS);
    } else if (relay->tcp == NULL && svc->online && !svc->config->force_tcp_relay) {
        (void)uv_timer_stop(&relay->timer);
    }
}
