/* UPnP client. */
#include "daemon/upnp.h"

#include "daemon/log.h"
#include "daemon/service_priv.h"

#include <errno.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
    DATAGRAM_MAX = 1500,
    MULTICAST_TTL = 2,
    IGD_VERSIONS = 2,
};

#define SEARCH_GROUP 0xeffffffaU /* 239.255.255.250 */

static void on_closed(uv_handle_t *handle)
{
    free(handle);
}

/* The search is over. */
static void close_socket(struct upnp *upnp)
{
    (void)uv_timer_stop(&upnp->timer);
    if (upnp->poll != NULL) {
        (void)uv_poll_stop(upnp->poll);
        uv_close((uv_handle_t *)upnp->poll, on_closed);
        upnp->poll = NULL;
    }
    if (upnp->fd >= 0) {
        (void)close(upnp->fd);
        upnp->fd = -1;
    }
}

static void fail(struct upnp *upnp)
{
    upnp_stop(upnp);
    portmap_failed(upnp->map);
}

/* ---- calls ---- */

static void on_done(void *ctx, const struct upnp_http *http);

static struct upnp_mapping mapping_of(const struct upnp *upnp)
{
    return (struct upnp_mapping){.local = upnp->map->local,
                                 .external = upnp->external.port,
                                 .lifetime_s = upnp->permanent ? 0 : PORTMAP_LIFETIME_S,
                                 .node = upnp->map->svc->identity.address};
}

/* Send a request, or fail. */
static void request(struct upnp *upnp, enum upnp_step step, uint16_t port, const char *text,
                    size_t len)
{
    upnp->step = step;
    upnp->http =
        lanhttp_start(&upnp->map->svc->loop, &upnp->map->gateway, port, text, len, on_done, upnp);
    if (upnp->http == NULL) {
        fail(upnp);
    }
}

static void call(struct upnp *upnp, enum upnp_step step)
{
    static const enum upnp_call calls[] = {[UPNP_ADDRESS] = UPNP_GET_ADDRESS,
                                           [UPNP_LOOK] = UPNP_GET_MAPPING,
                                           [UPNP_ADD] = UPNP_ADD_MAPPING,
                                           [UPNP_DELETE] = UPNP_DELETE_MAPPING};
    const struct upnp_service *service = &upnp->services[upnp->service];
    struct upnp_mapping mapping = mapping_of(upnp);
    char text[UPNP_REQUEST_MAX];
    size_t len = upnp_call_write(text, &upnp->map->gateway, service, calls[step], &mapping);
    request(upnp, step, service->control.port, text, len);
}

/* This service does not help: the next one, from its external address on. */
static void next_service(struct upnp *upnp)
{
    upnp->service++;
    if (upnp->service < upnp->service_count) {
        call(upnp, UPNP_ADDRESS);
    } else {
        fail(upnp);
    }
}

static void next_port(struct upnp *upnp)
{
    upnp->tries++;
    if (upnp->tries == UPNP_PORTS_TRIED) {
        fail(upnp);
        return;
    }
    upnp->external.port = upnp->external.port == UINT16_MAX ? 1024 : upnp->external.port + 1;
    call(upnp, UPNP_LOOK);
}

static void take_description(struct upnp *upnp, const struct upnp_http *http)
{
    upnp->service = 0;
    upnp->service_count = http->status != 200
                              ? 0
                              : upnp_services_read(http->body, http->body_len, &upnp->map->gateway,
                                                   &upnp->location, upnp->services);
    if (upnp->service_count == 0) {
        fail(upnp);
    } else {
        call(upnp, UPNP_ADDRESS);
    }
}

static void take_address(struct upnp *upnp, const struct upnp_answer *answer)
{
    const struct inetaddr *last = &upnp->map->grant.external;
    if (answer->error != 0 || !portmap_is_usable(&answer->ip)) {
        next_service(upnp);
        return;
    }
    upnp->external = answer->ip;
    upnp->external.port = last->family == INETADDR_NIL ? upnp->map->local.port : last->port;
    upnp->tries = 0;
    call(upnp, UPNP_LOOK);
}

static void take_look(struct upnp *upnp, const struct upnp_answer *answer)
{
    bool taken = answer->error == 0 && answer->client.family != INETADDR_NIL &&
                 !inetaddr_equal(&answer->client, &upnp->map->local);
    if (taken) {
        next_port(upnp);
    } else {
        call(upnp, UPNP_ADD);
    }
}

static void take_added(struct upnp *upnp, const struct upnp_answer *answer)
{
    if (answer->error == UPNP_ERROR_PERMANENT && !upnp->permanent) {
        upnp->permanent = true;
        call(upnp, UPNP_ADD);
    } else if (answer->error == UPNP_ERROR_CONFLICT) {
        next_port(upnp);
    } else if (answer->error != 0) {
        log_write(LOG_LEVEL_DEBUG, "portmap", "refused protocol=upnp error=%u", answer->error);
        next_service(upnp);
    } else {
        struct portmap_grant grant = {.protocol = PORTMAP_BY_UPNP,
                                      .external = upnp->external,
                                      .lifetime_s = PORTMAP_LIFETIME_S};
        upnp->step = UPNP_IDLE;
        portmap_granted(upnp->map, &grant);
    }
}

static void on_done(void *ctx, const struct upnp_http *http)
{
    struct upnp *upnp = ctx;
    struct upnp_answer answer;
    upnp->http = NULL;
    if (upnp->step == UPNP_DELETE) {
        upnp->step = UPNP_IDLE;
        return;
    }
    if (http == NULL) {
        fail(upnp);
        return;
    }
    if (upnp->step == UPNP_DESCRIBE) {
        take_description(upnp, http);
        return;
    }
    upnp_answer_read(http, &answer);
    if (upnp->step == UPNP_ADDRESS) {
        take_address(upnp, &answer);
    } else if (upnp->step == UPNP_LOOK) {
        take_look(upnp, &answer);
    } else {
        take_added(upnp, &answer);
    }
}

/* ---- search ---- */

static void describe(struct upnp *upnp)
{
    char text[UPNP_REQUEST_MAX];
    size_t len = upnp_get_write(text, &upnp->map->gateway, &upnp->location);
    close_socket(upnp);
    request(upnp, UPNP_DESCRIBE, upnp->location.port, text, len);
}

static void on_answer(uv_poll_t *poll, int status, int events)
{
    struct upnp *upnp = poll->data;
    const struct inetaddr *gateway = &upnp->map->gateway;
    char text[DATAGRAM_MAX];
    struct sockaddr_in from;
    socklen_t from_len = sizeof(from);
    (void)status;
    (void)events;
    ssize_t len =
        recvfrom(upnp->fd, text, sizeof(text), MSG_DONTWAIT, (struct sockaddr *)&from, &from_len);
    if (len > 0 && memcmp(&from.sin_addr, gateway->ip, 4) == 0 &&
        upnp_search_read(text, (size_t)len, gateway, &upnp->location) == 0) {
        describe(upnp);
    }
}

/* Ask the gateway itself and everybody: some answer only the one, some only the other. */
static void search(uv_timer_t *timer)
{
    struct upnp *upnp = timer->data;
    struct sockaddr_in to[2] = {{.sin_addr.s_addr = htonl(SEARCH_GROUP)}};
    char text[UPNP_SEARCH_MAX];
    memcpy(&to[1].sin_addr, upnp->map->gateway.ip, 4);
    if (upnp->tries == UPNP_SEARCHES) {
        fail(upnp);
        return;
    }
    upnp->tries++;
    for (unsigned version = 1; version <= IGD_VERSIONS; version++) {
        size_t len = upnp_search_write(text, version);
        for (size_t i = 0; i < COUNT_OF(to); i++) {
            to[i].sin_family = AF_INET;
            to[i].sin_port = htons(UPNP_SSDP_PORT);
            (void)!sendto(upnp->fd, text, len, MSG_DONTWAIT | MSG_NOSIGNAL,
                          (struct sockaddr *)&to[i], sizeof(to[i]));
        }
    }
    (void)uv_timer_start(&upnp->timer, search, UPNP_SEARCH_MS, 0);
}

static int open_socket(struct upnp *upnp)
{
    struct sockaddr_in own = {.sin_family = AF_INET};
    struct ip_mreqn outgoing = {0};
    int ttl = MULTICAST_TTL;
    memcpy(&own.sin_addr, upnp->map->local.ip, 4);
    outgoing.imr_address = own.sin_addr;
    upnp->fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (upnp->fd < 0) {
        return -errno;
    }
    (void)setsockopt(upnp->fd, IPPROTO_IP, IP_MULTICAST_TTL, &ttl, sizeof(ttl));
    (void)setsockopt(upnp->fd, IPPROTO_IP, IP_MULTICAST_IF, &outgoing, sizeof(outgoing));
    if (bind(upnp->fd, (struct sockaddr *)&own, sizeof(own)) < 0) {
        return -errno;
    }
    uv_poll_t *poll = calloc(1, sizeof(*poll));
    int err = poll == NULL ? -ENOMEM : uv_poll_init(&upnp->map->svc->loop, poll, upnp->fd);
    if (err < 0) {
        free(poll);
        return err;
    }
    poll->data = upnp;
    upnp->poll = poll;
    return uv_poll_start(poll, UV_READABLE, on_answer);
}

/* ---- life ---- */

void upnp_init(struct upnp *upnp, struct portmap *map)
{
    *upnp = (struct upnp){.map = map, .fd = -1};
    (void)uv_timer_init(&map->svc->loop, &upnp->timer);
    upnp->timer.data = upnp;
}

int upnp_start(struct upnp *upnp, bool again)
{
    if (again && upnp->service < upnp->service_count) {
        if (upnp->step == UPNP_IDLE) {
            call(upnp, UPNP_ADDRESS);
        }
        return 0;
    }
    upnp_stop(upnp);
    int err = open_socket(upnp);
    if (err < 0) {
        upnp_stop(upnp);
        return err;
    }
    upnp->step = UPNP_SEARCH;
    upnp->permanent = false;
    search(&upnp->timer);
    return 0;
}

void upnp_release(struct upnp *upnp, bool wait)
{
    char text[UPNP_REQUEST_MAX];
    if (upnp->service >= upnp->service_count) {
        return;
    }
    const struct upnp_service *service = &upnp->services[upnp->service];
    upnp->external = upnp->map->grant.external;
    struct upnp_mapping mapping = mapping_of(upnp);
    size_t len = upnp_call_write(text, &upnp->map->gateway, service, UPNP_DELETE_MAPPING, &mapping);
    upnp_stop(upnp);
    if (wait) {
        lanhttp_send_and_wait(&upnp->map->gateway, service->control.port, text, len,
                              UPNP_FAREWELL_MS);
        return;
    }
    upnp->step = UPNP_DELETE;
    upnp->http = lanhttp_start(&upnp->map->svc->loop, &upnp->map->gateway, service->control.port,
                               text, len, on_done, upnp);
}

void upnp_stop(struct upnp *upnp)
{
    close_socket(upnp);
    if (upnp->http != NULL) {
        lanhttp_cancel(upnp->http);
        upnp->http = NULL;
    }
    upnp->step = UPNP_IDLE;
    upnp->tries = 0;
    upnp->service_count = 0;
    upnp->service = 0;
}

void upnp_done(struct upnp *upnp)
{
    upnp_stop(upnp);
    uv_close((uv_handle_t *)&upnp->timer, NULL);
}
