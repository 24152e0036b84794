/* PCP and NAT-PMP client. */
#include "daemon/pcp.h"

#include "daemon/log.h"
#include "daemon/service_priv.h"
#include "os/random.h"

#include <errno.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define NOTICE_GROUP 0xe0000001U /* 224.0.0.1 */

static void on_closed(uv_handle_t *handle)
{
    free(handle);
}

static void close_poll(uv_poll_t **poll, int *fd)
{
    if (*poll != NULL) {
        (void)uv_poll_stop(*poll);
        uv_close((uv_handle_t *)*poll, on_closed);
        *poll = NULL;
    }
    if (*fd >= 0) {
        (void)close(*fd);
        *fd = -1;
    }
}

/* Watch fd (taken also on failure). Returns 0; negative errno. */
static int open_poll(struct pcp *pcp, int fd, uv_poll_cb cb, uv_poll_t **ret_poll, int *ret_fd)
{
    uv_poll_t *poll = calloc(1, sizeof(*poll));
    int err = poll == NULL ? -ENOMEM : uv_poll_init(&pcp->map->svc->loop, poll, fd);
    if (err < 0) {
        free(poll);
        (void)close(fd);
        return err;
    }
    poll->data = pcp;
    *ret_poll = poll;
    *ret_fd = fd;
    err = uv_poll_start(poll, UV_READABLE, cb);
    if (err < 0) {
        close_poll(ret_poll, ret_fd);
    }
    return err;
}

static void fail(struct pcp *pcp)
{
    pcp_stop(pcp);
    portmap_failed(pcp->map);
}

static void send_text(struct pcp *pcp, const uint8_t *data, const struct wr *w)
{
    (void)!send(pcp->fd, data, wr_len(w), MSG_DONTWAIT | MSG_NOSIGNAL);
}

static struct portmap_request request_of(const struct pcp *pcp, uint32_t lifetime_s)
{
    struct portmap_request request = {.local = pcp->map->local, .lifetime_s = lifetime_s};
    memcpy(request.nonce, pcp->nonce, sizeof(request.nonce));
    request.wanted = pcp->map->grant.external;
    if (request.wanted.family == INETADDR_NIL) {
        request.wanted.port = pcp->map->local.port;
    }
    return request;
}

static void send_request(struct pcp *pcp, bool by_pcp, uint32_t lifetime_s)
{
    uint8_t data[PORTMAP_REQUEST_MAX];
    struct wr w = wr_init(data, sizeof(data));
    struct portmap_request request = request_of(pcp, lifetime_s);
    if (by_pcp) {
        portmap_write_pcp(&w, &request);
    } else if (lifetime_s == 0 || pcp->address.family != INETADDR_NIL) {
        portmap_write_natpmp(&w, &request);
    } else {
        portmap_write_natpmp_address(&w);
    }
    send_text(pcp, data, &w);
}

static void on_timer(uv_timer_t *timer);

/* Ask what is open (again), with doubling pauses. */
static void ask(struct pcp *pcp)
{
    if (pcp->tries == PCP_TRIES) {
        fail(pcp);
        return;
    }
    bool both = !pcp->pcp && !pcp->natpmp;
    if (pcp->pcp || both) {
        send_request(pcp, true, PORTMAP_LIFETIME_S);
    }
    if (pcp->natpmp || (both && pcp->tries > 0)) {
        send_request(pcp, false, PORTMAP_LIFETIME_S);
    }
    (void)uv_timer_start(&pcp->timer, on_timer, (uint64_t)PCP_FIRST_MS << pcp->tries, 0);
    pcp->tries++;
}

static void on_timer(uv_timer_t *timer)
{
    ask(timer->data);
}

/* ---- notices of the gateway ---- */

static void look_at_notice(struct pcp *pcp, const struct portmap_answer *notice)
{
    struct portmap *map = pcp->map;
    int64_t now_ms = service_now();
    if (notice->op != PORTMAP_OP_ADDRESS || notice->result != 0 || pcp->tries > 0 ||
        now_ms - pcp->notice_ms < PCP_NOTICE_GAP_MS) {
        return;
    }
    /* An epoch so young may have begun after our last answer; the rule of the RFC cannot tell. */
    bool young = notice->epoch_s <= (now_ms - pcp->epoch.at_ms) / 1000 + PCP_NOTICE_YOUNG_S;
    bool moved = notice->version == PORTMAP_VERSION_NATPMP &&
                 !inetaddr_ip_equal(&notice->external, &map->grant.external);
    if (moved || young || portmap_epoch_lost(&pcp->epoch, notice->epoch_s, now_ms)) {
        pcp->notice_ms = now_ms;
        log_write(LOG_LEVEL_INFO, "portmap", "the gateway forgot its mappings");
        portmap_renew(map);
    }
}

static void on_notice(uv_poll_t *poll, int status, int events)
{
    struct pcp *pcp = poll->data;
    const struct inetaddr *gateway = &pcp->map->gateway;
    uint8_t data[PORTMAP_ANSWER_MAX];
    struct sockaddr_in from;
    socklen_t from_len = sizeof(from);
    struct portmap_answer notice;
    (void)status;
    (void)events;
    ssize_t len = recvfrom(pcp->notice_fd, data, sizeof(data), MSG_DONTWAIT,
                           (struct sockaddr *)&from, &from_len);
    if (len > 0 && from.sin_port == htons(PORTMAP_SERVER_PORT) &&
        memcmp(&from.sin_addr, gateway->ip, 4) == 0 &&
        portmap_answer_read(data, (size_t)len, &notice) == 0) {
        look_at_notice(pcp, &notice);
    }
}

/* Without it a restart is seen at the next renewal. */
static void open_notices(struct pcp *pcp)
{
    int on = 1;
    struct sockaddr_in group = {.sin_family = AF_INET,
                                .sin_port = htons(PORTMAP_NOTICE_PORT),
                                .sin_addr.s_addr = htonl(NOTICE_GROUP)};
    struct ip_mreqn member = {.imr_multiaddr = group.sin_addr};
    memcpy(&member.imr_address, pcp->map->local.ip, 4);
    int fd = pcp->notice_fd >= 0 ? -1 : socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd < 0) {
        return;
    }
    (void)setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
    (void)setsockopt(fd, IPPROTO_IP, IP_ADD_MEMBERSHIP, &member, sizeof(member));
    if (bind(fd, (struct sockaddr *)&group, sizeof(group)) < 0) {
        (void)close(fd);
        return;
    }
    (void)!open_poll(pcp, fd, on_notice, &pcp->notice, &pcp->notice_fd);
}

/* ---- answers ---- */

static void granted(struct pcp *pcp, const struct portmap_answer *answer,
                    const struct inetaddr *external)
{
    bool by_pcp = answer->version == PORTMAP_VERSION_PCP;
    struct portmap_grant grant = {.protocol = by_pcp ? PORTMAP_BY_PCP : PORTMAP_BY_NATPMP,
                                  .external = *external,
                                  .lifetime_s = answer->lifetime_s};
    pcp->tries = 0;
    pcp->pcp = by_pcp;
    pcp->natpmp = !by_pcp;
    (void)uv_timer_stop(&pcp->timer);
    open_notices(pcp);
    portmap_granted(pcp->map, &grant);
}

/* It does not know PCP, or does not want it: NAT-PMP may still do. */
static void ask_natpmp(struct pcp *pcp)
{
    pcp->pcp = false;
    pcp->natpmp = true;
    pcp->tries = 0;
    ask(pcp);
}

static void take_pcp(struct pcp *pcp, const struct portmap_answer *answer)
{
    if (pcp->natpmp || answer->op != PORTMAP_OP_MAP ||
        memcmp(answer->nonce, pcp->nonce, sizeof(pcp->nonce)) != 0 ||
        answer->internal != pcp->map->local.port) {
        return;
    }
    if (answer->result == 0) {
        granted(pcp, answer, &answer->external);
    } else {
        log_write(LOG_LEVEL_DEBUG, "portmap", "refused protocol=pcp result=%u", answer->result);
        ask_natpmp(pcp);
    }
}

static void take_natpmp(struct pcp *pcp, const struct portmap_answer *answer)
{
    if (answer->result == PORTMAP_BAD_VERSION) { /* to each PCP request, maybe late */
        if (!pcp->natpmp) {
            ask_natpmp(pcp);
        }
    } else if (pcp->pcp) {
        return;
    } else if (answer->result != 0) {
        log_write(LOG_LEVEL_DEBUG, "portmap", "refused protocol=nat-pmp result=%u", answer->result);
        fail(pcp);
    } else if (answer->op == PORTMAP_OP_ADDRESS && pcp->address.family == INETADDR_NIL) {
        pcp->address = answer->external;
        pcp->natpmp = true;
        pcp->tries = 0;
        ask(pcp);
    } else if (answer->op == PORTMAP_OP_MAP && pcp->address.family != INETADDR_NIL &&
               answer->internal == pcp->map->local.port) {
        struct inetaddr external = pcp->address;
        external.port = answer->external.port;
        pcp->address = (struct inetaddr){0};
        granted(pcp, answer, &external);
    }
}

static void on_answer(uv_poll_t *poll, int status, int events)
{
    struct pcp *pcp = poll->data;
    struct portmap_answer answer;
    uint8_t data[PORTMAP_ANSWER_MAX];
    (void)status;
    (void)events;
    ssize_t len = recv(pcp->fd, data, sizeof(data), MSG_DONTWAIT);
    if (pcp->tries == 0) {
        return; /* nothing was asked */
    }
    if (len < 0 && errno != EAGAIN && errno != EINTR) { /* port unreachable: nobody there */
        fail(pcp);
        return;
    }
    if (len < 0 || portmap_answer_read(data, (size_t)len, &answer) < 0) {
        return;
    }
    if (answer.result == 0) {
        pcp->epoch = (struct portmap_epoch){
            .known = true, .server_s = answer.epoch_s, .at_ms = service_now()};
    }
    if (answer.version == PORTMAP_VERSION_PCP) {
        take_pcp(pcp, &answer);
    } else {
        take_natpmp(pcp, &answer);
    }
}

/* ---- life ---- */

static int open_socket(struct pcp *pcp)
{
    const struct inetaddr *gateway = &pcp->map->gateway;
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(PORTMAP_SERVER_PORT)};
    memcpy(&to.sin_addr, gateway->ip, 4);
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0) {
        return -errno;
    }
    if (connect(fd, (struct sockaddr *)&to, sizeof(to)) < 0) {
        int err = -errno;
        (void)close(fd);
        return err;
    }
    random_bytes(pcp->nonce, sizeof(pcp->nonce));
    return open_poll(pcp, fd, on_answer, &pcp->poll, &pcp->fd);
}

void pcp_init(struct pcp *pcp, struct portmap *map)
{
    *pcp = (struct pcp){.map = map, .fd = -1, .notice_fd = -1, .notice_ms = INT64_MIN / 2};
    (void)uv_timer_init(&map->svc->loop, &pcp->timer);
    pcp->timer.data = pcp;
}

int pcp_start(struct pcp *pcp, bool only_pcp, bool only_natpmp)
{
    int err = pcp->fd < 0 ? open_socket(pcp) : 0;
    if (err < 0) {
        return err;
    }
    pcp->address = (struct inetaddr){0};
    pcp->pcp = only_pcp;
    pcp->natpmp = only_natpmp;
    pcp->tries = 0;
    ask(pcp);
    return 0;
}

void pcp_release(struct pcp *pcp)
{
    if (pcp->fd >= 0) {
        send_request(pcp, pcp->map->grant.protocol == PORTMAP_BY_PCP, 0);
    }
}

void pcp_stop(struct pcp *pcp)
{
    (void)uv_timer_stop(&pcp->timer);
    pcp->tries = 0;
    pcp->epoch.known = false;
    close_poll(&pcp->poll, &pcp->fd);
    close_poll(&pcp->notice, &pcp->notice_fd);
}

void pcp_done(struct pcp *pcp)
{
    pcp_stop(pcp);
    uv_close((uv_handle_t *)&pcp->timer, NULL);
}
