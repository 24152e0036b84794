/* NAT-PMP client. Source: RFC 6886 section 3, spec 05 section 6.9. */
#include "daemon/portmap.h"

#include "base/cursor.h"
#include "base/hex.h"
#include "daemon/log.h"
#include "daemon/service_priv.h"
#include "os/file.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
    OP_ADDRESS = 0,
    OP_MAP_UDP = 1,
    OP_ANSWER = 128,
    REQUEST_MAX = 12,
    ANSWER_MAX = 64,
    ROUTES_MAX = 65536,
    ROUTE_FIELDS = 3, /* interface, destination, gateway */
};

int portmap_answer_read(const void *data, size_t len, struct portmap_answer *ret)
{
    struct rd r = rd_init(data, len);
    struct portmap_answer a = {0};
    unsigned version = rd_u8(&r);
    unsigned op = rd_u8(&r);
    a.op = op - OP_ANSWER;
    a.result = rd_u16(&r);
    if (r.bad || version != 0 || op < OP_ANSWER || a.op > OP_MAP_UDP) {
        return -EBADMSG;
    }
    if (a.result == 0) {
        rd_skip(&r, 4); /* time since the gateway's start */
        if (a.op == OP_ADDRESS) {
            rd_copy(&r, a.ip, sizeof(a.ip));
        } else {
            a.internal = rd_u16(&r);
            a.external = rd_u16(&r);
            a.lifetime_s = rd_u32(&r);
        }
    }
    if (r.bad) {
        return -EBADMSG;
    }
    *ret = a;
    return 0;
}

/* One line "iface dest gateway ...", numbers in hex as the machine stores them. */
static bool parse_route(const char *line, struct inetaddr *ret)
{
    const char *field[ROUTE_FIELDS];
    size_t len[ROUTE_FIELDS];
    uint32_t gateway;
    for (size_t i = 0; i < ROUTE_FIELDS; i++) {
        line += strspn(line, " \t");
        field[i] = line;
        len[i] = strcspn(line, " \t\n");
        line += len[i];
    }
    if (len[1] != 8 || memcmp(field[1], "00000000", 8) != 0 || len[2] != 8 ||
        hex_decode(field[2], len[2], &gateway, sizeof(gateway)) < 0 || gateway == 0) {
        return false;
    }
    /* The text is the number printed by this machine: digits of its value, not of its bytes. */
    gateway = ntohl(gateway);
    *ret = (struct inetaddr){.family = INETADDR_V4, .port = PORTMAP_SERVER_PORT};
    memcpy(ret->ip, &gateway, sizeof(gateway));
    return true;
}

int portmap_gateway_parse(const char *text, struct inetaddr *ret)
{
    for (const char *line = text; line != NULL && *line != '\0';) {
        if (parse_route(line, ret)) {
            return 0;
        }
        line = strchr(line, '\n');
        line = line == NULL ? NULL : line + 1;
    }
    return -ENOENT;
}

static int read_gateway(struct inetaddr *ret)
{
    char *text = malloc(ROUTES_MAX + 1);
    if (text == NULL) {
        return -ENOMEM;
    }
    ssize_t len = file_read_into("/proc/net/route", text, ROUTES_MAX);
    int err = len < 0 ? (int)len : 0;
    if (err == 0) {
        text[len] = '\0';
        err = portmap_gateway_parse(text, ret);
    }
    free(text);
    return err;
}

static void on_timer(uv_timer_t *timer);

static void start_timer(struct portmap *map, uint64_t delay_ms)
{
    (void)uv_timer_start(&map->timer, on_timer, delay_ms, 0);
}

static void on_closed(uv_handle_t *handle)
{
    free(handle);
}

static void close_socket(struct portmap *map)
{
    if (map->poll != NULL) {
        (void)uv_poll_stop(map->poll);
        uv_close((uv_handle_t *)map->poll, on_closed);
        map->poll = NULL;
    }
    if (map->fd >= 0) {
        (void)close(map->fd);
        map->fd = -1;
    }
}

static void set_mapped(struct portmap *map, const struct inetaddr *mapped)
{
    static const struct inetaddr none;
    mapped = mapped == NULL ? &none : mapped;
    if (inetaddr_equal(mapped, &map->mapped)) {
        return;
    }
    map->mapped = *mapped;
    size_t count = mapped->family == INETADDR_NIL ? 0 : 1;
    char text[INETADDR_TEXT_LEN];
    inetaddr_print(mapped, text);
    log_write(LOG_LEVEL_INFO, "portmap", count == 0 ? "mapping gone%s" : "mapped external=%s",
              text);
    node_set_mapped_addresses(map->svc->node, mapped, count);
}

/* Nothing to be had from this gateway. */
static void give_up(struct portmap *map)
{
    close_socket(map);
    map->tries = 0;
    set_mapped(map, NULL);
    start_timer(map, PORTMAP_ABSENT_MS);
}

static void send_request(struct portmap *map, uint32_t lifetime_s)
{
    uint8_t data[REQUEST_MAX];
    struct wr w = wr_init(data, sizeof(data));
    bool mapping = map->address.family != INETADDR_NIL;
    wr_u8(&w, 0);
    wr_u8(&w, mapping ? OP_MAP_UDP : OP_ADDRESS);
    if (mapping) {
        uint16_t port = map->svc->primary_port;
        wr_u16(&w, 0);
        wr_u16(&w, port);
        wr_u16(&w, lifetime_s == 0                      ? 0
                   : map->mapped.family != INETADDR_NIL ? map->mapped.port
                                                        : port);
        wr_u32(&w, lifetime_s);
    }
    (void)!send(map->fd, data, wr_len(&w), MSG_DONTWAIT | MSG_NOSIGNAL);
}

/* Ask the open question (again), with doubling pauses. */
static void ask(struct portmap *map)
{
    if (map->tries == PORTMAP_TRIES) {
        give_up(map);
        return;
    }
    send_request(map, PORTMAP_LIFETIME_S);
    start_timer(map, (uint64_t)PORTMAP_FIRST_MS << map->tries);
    map->tries++;
}

static void take_mapping(struct portmap *map, const struct portmap_answer *answer)
{
    struct inetaddr mapped = map->address;
    uint32_t lifetime_s = answer->lifetime_s < PORTMAP_LIFETIME_MIN_S ? PORTMAP_LIFETIME_MIN_S
                          : answer->lifetime_s > PORTMAP_LIFETIME_S   ? PORTMAP_LIFETIME_S
                                                                      : answer->lifetime_s;
    mapped.port = answer->external;
    map->tries = 0;
    map->address = (struct inetaddr){0};
    set_mapped(map, &mapped);
    start_timer(map, (uint64_t)lifetime_s * 1000 / 2);
}

static void on_answer(uv_poll_t *poll, int status, int events)
{
    struct portmap *map = poll->data;
    struct portmap_answer answer;
    uint8_t data[ANSWER_MAX];
    (void)events;
    ssize_t len = recv(map->fd, data, sizeof(data), MSG_DONTWAIT);
    if (status < 0 || (len < 0 && errno != EAGAIN)) { /* port unreachable: no NAT-PMP there */
        give_up(map);
        return;
    }
    bool mapping = map->address.family != INETADDR_NIL;
    if (len < 0 || map->tries == 0 || portmap_answer_read(data, (size_t)len, &answer) < 0 ||
        answer.op != (mapping ? OP_MAP_UDP : OP_ADDRESS)) {
        return;
    }
    if (answer.result != 0 || (mapping && answer.internal != map->svc->primary_port)) {
        give_up(map);
    } else if (mapping) {
        take_mapping(map, &answer);
    } else {
        map->address = (struct inetaddr){.family = INETADDR_V4};
        memcpy(map->address.ip, answer.ip, sizeof(answer.ip));
        map->tries = 0;
        ask(map);
    }
}

/* A socket to the gateway; only from a private address, anything else needs no mapping.
 * Returns 0; negative errno. */
static int open_socket(struct portmap *map, const struct inetaddr *gateway)
{
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(gateway->port)};
    struct sockaddr_in own = {0};
    struct inetaddr local = {.family = INETADDR_V4};
    socklen_t len = sizeof(own);
    memcpy(&to.sin_addr, gateway->ip, 4);
    map->fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (map->fd < 0) {
        return -errno;
    }
    if (connect(map->fd, (struct sockaddr *)&to, sizeof(to)) < 0 ||
        getsockname(map->fd, (struct sockaddr *)&own, &len) < 0) {
        return -errno;
    }
    memcpy(local.ip, &own.sin_addr, 4);
    if (inetaddr_scope(&local) != INET_SCOPE_PRIVATE) {
        return -EADDRNOTAVAIL;
    }
    map->poll = calloc(1, sizeof(*map->poll));
    if (map->poll == NULL) {
        return -ENOMEM;
    }
    int err = uv_poll_init(&map->svc->loop, map->poll, map->fd);
    if (err < 0) {
        free(map->poll);
        map->poll = NULL;
        return err;
    }
    map->poll->data = map;
    return uv_poll_start(map->poll, UV_READABLE, on_answer);
}

/* Begin with the external address; it may have changed since the last time. */
static void begin(struct portmap *map)
{
    close_socket(map);
    map->tries = 0;
    map->address = (struct inetaddr){0};
    map->gateway = (struct inetaddr){0};
    int err = read_gateway(&map->gateway);
    if (err == 0) {
        err = open_socket(map, &map->gateway);
    }
    if (err < 0) {
        give_up(map);
        return;
    }
    ask(map);
}

static void on_timer(uv_timer_t *timer)
{
    struct portmap *map = timer->data;
    if (map->tries > 0) {
        ask(map);
    } else {
        begin(map);
    }
}

void portmap_init(struct portmap *map, struct service *svc)
{
    *map = (struct portmap){.svc = svc, .fd = -1};
    (void)uv_timer_init(&svc->loop, &map->timer);
    map->timer.data = map;
    map->timer_open = true;
}

/* Tell the gateway that the mapping is no longer needed. */
static void release(struct portmap *map)
{
    if (map->mapped.family != INETADDR_NIL && map->fd >= 0) {
        map->address = map->mapped;
        send_request(map, 0);
    }
}

void portmap_review(struct portmap *map)
{
    const struct config *c = map->svc->config;
    if (c->port_mapping && !c->force_tcp_relay) {
        begin(map);
        return;
    }
    release(map);
    close_socket(map);
    (void)uv_timer_stop(&map->timer);
    set_mapped(map, NULL);
}

void portmap_network_changed(struct portmap *map)
{
    struct inetaddr gateway = {0};
    const struct config *c = map->svc->config;
    (void)!read_gateway(&gateway); /* none is nil */
    if (c->port_mapping && !c->force_tcp_relay && !inetaddr_equal(&gateway, &map->gateway)) {
        begin(map);
    }
}

void portmap_stop(struct portmap *map)
{
    if (map->timer_open) {
        release(map);
        close_socket(map);
        uv_close((uv_handle_t *)&map->timer, NULL);
        map->timer_open = false;
    }
}
