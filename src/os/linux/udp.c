/* UDP sockets of Linux: recvmmsg and sendmmsg on arrays that live in the socket, so that a packet
 * costs no allocation. Implements: spec 05 sections 6.5 to 6.7, spec 02 section 11.5; SV-93. */
#include "os/udp.h"

#include "os/linux/udp_priv.h"
#include "os/tcp.h"

#include <errno.h>
#include <linux/sock_diag.h>
#include <net/if.h>
#include <netinet/udp.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum {
    UDP_TTL = 255,           /* spec 05 section 6.6 */
    UDP_PORT_TRIALS = 1000,  /* spec 05 section 6.7 */
    UDP_RECEIVE_RETRIES = 3, /* errors left behind by sent datagrams, taken before giving up */
};

socklen_t udp_sockaddr_from(const struct inetaddr *a, uint32_t scope, union udp_sockaddr *ret)
{
    if (a->family == INETADDR_V4) {
        ret->v4 = (struct sockaddr_in){.sin_family = AF_INET, .sin_port = htons(a->port)};
        memcpy(&ret->v4.sin_addr, a->ip, 4);
        return sizeof(ret->v4);
    }
    bool link_local = a->ip[0] == 0xfe && (a->ip[1] & 0xc0) == 0x80;
    ret->v6 = (struct sockaddr_in6){
        .sin6_family = AF_INET6,
        .sin6_port = htons(a->port),
        .sin6_scope_id = link_local ? scope : 0,
    };
    memcpy(&ret->v6.sin6_addr, a->ip, 16);
    return sizeof(ret->v6);
}

void udp_sockaddr_to(const union udp_sockaddr *sa, struct inetaddr *ret)
{
    *ret = (struct inetaddr){0};
    if (sa->any.sa_family == AF_INET) {
        ret->family = INETADDR_V4;
        ret->port = ntohs(sa->v4.sin_port);
        memcpy(ret->ip, &sa->v4.sin_addr, 4);
    } else if (sa->any.sa_family == AF_INET6) {
        ret->family = INETADDR_V6;
        ret->port = ntohs(sa->v6.sin6_port);
        memcpy(ret->ip, &sa->v6.sin6_addr, 16);
    }
}

void udp_count(atomic_ullong *counter)
{
    atomic_fetch_add_explicit(counter, 1, memory_order_relaxed);
}

static int set_int(int fd, int level, int name, int value)
{
    return setsockopt(fd, level, name, &value, sizeof(value)) == 0 ? 0 : -errno;
}

/* Ask for a buffer, past the system's limit where we may. Returns what was granted: the kernel
 * reports twice the payload it grants. */
static uint32_t set_buffer(int fd, int force, int plain, uint32_t bytes)
{
    int value = 0;
    socklen_t len = sizeof(value);

    if (set_int(fd, SOL_SOCKET, force, (int)bytes) != 0) {
        (void)set_int(fd, SOL_SOCKET, plain, (int)bytes);
    }
    if (getsockopt(fd, SOL_SOCKET, plain, &value, &len) != 0 || value < 0) {
        return 0;
    }
    return (uint32_t)value / 2;
}

/* Options that follow from the family. */
static int set_family_options(int fd, uint8_t family)
{
    int error;

    if (family == INETADDR_V4) {
        error = set_int(fd, IPPROTO_IP, IP_MTU_DISCOVER, IP_PMTUDISC_DONT);
        if (error == 0) {
            error = set_int(fd, IPPROTO_IP, IP_TTL, UDP_TTL);
        }
        return error == 0 ? set_int(fd, SOL_SOCKET, SO_BROADCAST, 1) : error;
    }
    error = set_int(fd, IPPROTO_IPV6, IPV6_V6ONLY, 1);
    if (error == 0) {
        error = set_int(fd, IPPROTO_IPV6, IPV6_MTU_DISCOVER, IPV6_PMTUDISC_DONT);
    }
    return error == 0 ? set_int(fd, IPPROTO_IPV6, IPV6_UNICAST_HOPS, UDP_TTL) : error;
}

int udp_set_device(struct udp_socket *s, const char *device)
{
    if (device == NULL) {
        device = "";
    }
    size_t len = strlen(device);
    if (len >= IFNAMSIZ) {
        return -ENODEV;
    }
    if (setsockopt(s->fd, SOL_SOCKET, SO_BINDTODEVICE, device, (socklen_t)len + 1) < 0) {
        return -errno;
    }
    s->device_bound = len > 0;
    return 0;
}

/* Bind to the device if one is named: best effort, it needs CAP_NET_RAW on old kernels. */
static void bind_device(struct udp_socket *s, const char *device)
{
    if (device != NULL && device[0] != '\0') {
        (void)udp_set_device(s, device);
        s->scope = if_nametoindex(device);
    }
}

/* Find out what the kernel does for bulk transfers (4.18 and 5.0). */
static unsigned probe_offloads(int fd, unsigned wanted)
{
    unsigned got = wanted & UDP_OFFLOAD_BATCH; /* seen at the first call */

    if ((wanted & UDP_OFFLOAD_GSO) != 0 && set_int(fd, SOL_UDP, UDP_SEGMENT, 0) == 0) {
        got |= UDP_OFFLOAD_GSO;
    }
    if ((wanted & UDP_OFFLOAD_GRO) != 0 && set_int(fd, SOL_UDP, UDP_GRO, 1) == 0) {
        got |= UDP_OFFLOAD_GRO;
    }
    return got;
}

/* Everything after socket(). */
static int udp_set_up(struct udp_socket *s, const struct udp_config *config)
{
    union udp_sockaddr sa;
    uint32_t buffer = config->buffer != 0 ? config->buffer : UDP_BUFFER_DEFAULT;

    int error = set_family_options(s->fd, config->local.family);
    if (error == 0 && config->join_port) {
        error = set_int(s->fd, SOL_SOCKET, SO_REUSEPORT, 1);
    }
    if (error != 0) {
        return error;
    }
    s->rcvbuf = set_buffer(s->fd, SO_RCVBUFFORCE, SO_RCVBUF, buffer);
    s->sndbuf = set_buffer(s->fd, SO_SNDBUFFORCE, SO_SNDBUF, buffer);
    bind_device(s, config->device);
    atomic_init(&s->offloads, probe_offloads(s->fd, config->offloads));

    socklen_t len = udp_sockaddr_from(&config->local, s->scope, &sa);
    if (bind(s->fd, &sa.any, len) != 0) {
        return -errno;
    }
    len = sizeof(sa);
    if (getsockname(s->fd, &sa.any, &len) != 0) {
        return -errno;
    }
    udp_sockaddr_to(&sa, &s->local);
    /* Only now, so that binding failed if any other socket had the address, also one that would
     * share it: a second program of our user must not take half of our datagrams by mistake. */
    return config->share_port ? set_int(s->fd, SOL_SOCKET, SO_REUSEPORT, 1) : 0;
}

static void vector_init(struct udp_vector *v)
{
    for (size_t i = 0; i < UDP_BATCH_MAX; i++) {
        v->msgs[i].msg_hdr = (struct msghdr){
            .msg_name = &v->addrs[i],
            .msg_iov = &v->iovs[i],
            .msg_iovlen = 1,
        };
    }
}

int udp_open(const struct udp_config *config, struct udp_socket **ret)
{
    uint8_t family = config->local.family;

    if (family != INETADDR_V4 && family != INETADDR_V6) {
        return -EAFNOSUPPORT;
    }
    struct udp_socket *s = calloc(1, sizeof(*s));
    if (s == NULL) {
        return -ENOMEM;
    }
    s->fd = socket(family == INETADDR_V4 ? AF_INET : AF_INET6,
                   SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (s->fd < 0) {
        int error = -errno;
        free(s);
        return error;
    }
    int error = udp_set_up(s, config);
    if (error != 0) {
        udp_close(s);
        return error;
    }
    vector_init(&s->rx);
    vector_init(&s->tx);
    *ret = s;
    return 0;
}

void udp_close(struct udp_socket *s)
{
    if (s == NULL) {
        return;
    }
    (void)close(s->fd);
    free(s);
}

int udp_fd(const struct udp_socket *s)
{
    return s->fd;
}

void udp_info(const struct udp_socket *s, struct udp_info *ret)
{
    uint32_t mem[SK_MEMINFO_VARS] = {0};
    socklen_t len = sizeof(mem);

    if (getsockopt(s->fd, SOL_SOCKET, SO_MEMINFO, mem, &len) != 0) {
        mem[SK_MEMINFO_DROPS] = 0; /* kernel before 4.12 */
    }
    *ret = (struct udp_info){
        .local = s->local,
        .device_bound = s->device_bound,
        .rcvbuf = s->rcvbuf,
        .sndbuf = s->sndbuf,
        .offloads = atomic_load_explicit(&s->offloads, memory_order_relaxed),
        .rx_truncated = atomic_load_explicit(&s->rx_truncated, memory_order_relaxed),
        .tx_errors = atomic_load_explicit(&s->tx_errors, memory_order_relaxed),
        .gso_replays = atomic_load_explicit(&s->gso_replays, memory_order_relaxed),
        .kernel_drops = mem[SK_MEMINFO_DROPS],
    };
}

/* Give the results of recvmmsg to the batch, leaving truncated ones out. */
static int take_received(struct udp_socket *s, struct udp_rx *batch, size_t received)
{
    size_t out = 0;

    for (size_t i = 0; i < received; i++) {
        if ((s->rx.msgs[i].msg_hdr.msg_flags & MSG_TRUNC) != 0) {
            udp_count(&s->rx_truncated);
            continue;
        }
        if (out != i) {
            struct udp_rx free_entry = batch[out];
            batch[out].data = batch[i].data;
            batch[out].cap = batch[i].cap;
            batch[i].data = free_entry.data;
            batch[i].cap = free_entry.cap;
        }
        batch[out].len = s->rx.msgs[i].msg_len;
        udp_sockaddr_to(&s->rx.addrs[i], &batch[out].from);
        out++;
    }
    return (int)out;
}

int udp_receive(struct udp_socket *s, struct udp_rx *batch, size_t count)
{
    if (count > UDP_BATCH_MAX) {
        count = UDP_BATCH_MAX;
    }
    for (size_t i = 0; i < count; i++) {
        s->rx.iovs[i] = (struct iovec){.iov_base = batch[i].data, .iov_len = batch[i].cap};
        s->rx.msgs[i].msg_hdr.msg_namelen = sizeof(s->rx.addrs[i]);
    }
    int error = 0;
    for (int tries = 0; tries < UDP_RECEIVE_RETRIES; tries++) {
        int received = recvmmsg(s->fd, s->rx.msgs, (unsigned)count, MSG_DONTWAIT, NULL);
        if (received >= 0) {
            return take_received(s, batch, (size_t)received);
        }
        if (errno == EAGAIN || errno == EWOULDBLOCK) {
            return 0;
        }
        error = -errno;
    }
    return error == -EINTR ? 0 : error;
}

/* Prepare the longest run of datagrams of our family, at most UDP_BATCH_MAX. */
static size_t fill_run(struct udp_socket *s, const struct udp_tx *batch, size_t count)
{
    size_t n = 0;

    while (n < count && n < UDP_BATCH_MAX && batch[n].to.family == s->local.family) {
        /* the kernel only reads it, the type is shared with receiving */
        union {
            const uint8_t *in;
            void *out;
        } data = {.in = batch[n].data};
        s->tx.iovs[n] = (struct iovec){.iov_base = data.out, .iov_len = batch[n].len};
        s->tx.msgs[n].msg_hdr.msg_namelen =
            udp_sockaddr_from(&batch[n].to, s->scope, &s->tx.addrs[n]);
        n++;
    }
    return n;
}

static void refuse(struct udp_socket *s, struct udp_tx *tx, int error)
{
    tx->error = error;
    udp_count(&s->tx_errors);
}

size_t udp_send_batch(struct udp_socket *s, struct udp_tx *batch, size_t count)
{
    size_t done = 0;

    while (done < count) {
        size_t run = fill_run(s, batch + done, count - done);
        if (run == 0) {
            refuse(s, &batch[done++], -EAFNOSUPPORT);
            continue;
        }
        int sent = sendmmsg(s->fd, s->tx.msgs, (unsigned)run, MSG_DONTWAIT);
        if (sent < 0) {
            if (errno == EAGAIN || errno == EWOULDBLOCK) {
                break;
            }
            if (errno != EINTR) {
                refuse(s, &batch[done++], -errno);
            }
            continue;
        }
        for (int i = 0; i < sent; i++) {
            batch[done++].error = 0;
        }
    }
    return done;
}

/* Whether IP may cut datagrams. If not, they are as large as the interface allows, whatever was
 * heard of links further on. */
static int set_cutting(struct udp_socket *s, bool allowed)
{
    if (s->local.family == INETADDR_V4) {
        return set_int(s->fd, IPPROTO_IP, IP_MTU_DISCOVER,
                       allowed ? IP_PMTUDISC_DONT : IP_PMTUDISC_PROBE);
    }
    return set_int(s->fd, IPPROTO_IPV6, IPV6_MTU_DISCOVER,
                   allowed ? IPV6_PMTUDISC_DONT : IPV6_PMTUDISC_PROBE);
}

static int send_message(struct udp_socket *s, const struct msghdr *msg)
{
    while (sendmsg(s->fd, msg, MSG_DONTWAIT) < 0) {
        if (errno != EINTR) {
            return errno == EWOULDBLOCK ? -EAGAIN : -errno;
        }
    }
    return 0;
}

/* Attach the hop limit of one datagram. control: room for one int. */
static void attach_ttl(struct msghdr *msg, uint8_t family, int ttl)
{
    struct cmsghdr *c = CMSG_FIRSTHDR(msg);

    c->cmsg_level = family == INETADDR_V4 ? IPPROTO_IP : IPPROTO_IPV6;
    c->cmsg_type = family == INETADDR_V4 ? IP_TTL : IPV6_HOPLIMIT;
    c->cmsg_len = CMSG_LEN(sizeof(ttl));
    memcpy(CMSG_DATA(c), &ttl, sizeof(ttl));
}

int udp_send(struct udp_socket *s, const struct inetaddr *to, const void *data, size_t len,
             unsigned ttl, bool whole)
{
    union udp_sockaddr sa;
    union {
        struct cmsghdr align;
        uint8_t bytes[CMSG_SPACE(sizeof(int))];
    } control = {0};

    if (to->family != s->local.family) {
        return -EAFNOSUPPORT;
    }
    if (ttl > UDP_TTL) {
        return -EINVAL;
    }
    union {
        const void *in;
        void *out;
    } borrowed = {.in = data};
    struct iovec iov = {.iov_base = borrowed.out, .iov_len = len};
    struct msghdr msg = {.msg_name = &sa, .msg_iov = &iov, .msg_iovlen = 1};
    msg.msg_namelen = udp_sockaddr_from(to, s->scope, &sa);
    if (ttl != 0) {
        msg.msg_control = control.bytes;
        msg.msg_controllen = sizeof(control.bytes);
        attach_ttl(&msg, to->family, (int)ttl);
    }
    if (whole) {
        (void)set_cutting(s, false);
    }
    int error = send_message(s, &msg);
    if (whole) {
        (void)set_cutting(s, true);
    }
    return error;
}

/* Outcome of a trial bind. */
enum trial {
    TRIAL_FREE,
    TRIAL_TAKEN,
    TRIAL_NO_FAMILY, /* the family does not exist here */
};

static enum trial try_bind(uint8_t family, int type, uint16_t port)
{
    union udp_sockaddr sa;
    struct inetaddr wildcard = {.family = family, .port = port};

    if (type == SOCK_STREAM) { /* old connections do not count */
        int listener = tcp_listen(&wildcard);
        if (listener >= 0) {
            (void)close(listener);
        }
        return listener >= 0                                             ? TRIAL_FREE
               : listener == -EADDRNOTAVAIL || listener == -EAFNOSUPPORT ? TRIAL_NO_FAMILY
                                                                         : TRIAL_TAKEN;
    }
    int fd = socket(family == INETADDR_V4 ? AF_INET : AF_INET6, type | SOCK_CLOEXEC, 0);
    if (fd < 0) {
        return TRIAL_NO_FAMILY;
    }
    if (family == INETADDR_V6) {
        (void)set_int(fd, IPPROTO_IPV6, IPV6_V6ONLY, 1);
    }
    enum trial result = TRIAL_FREE;
    socklen_t len = udp_sockaddr_from(&wildcard, 0, &sa);
    if (bind(fd, &sa.any, len) != 0) {
        result = errno == EADDRNOTAVAIL ? TRIAL_NO_FAMILY : TRIAL_TAKEN;
    }
    (void)close(fd);
    return result;
}

bool udp_port_is_free(uint16_t port, bool with_tcp)
{
    static const uint8_t families[] = {INETADDR_V4, INETADDR_V6};
    bool any = false;

    for (size_t i = 0; i < COUNT_OF(families); i++) {
        enum trial udp = try_bind(families[i], SOCK_DGRAM, port);
        enum trial tcp = with_tcp ? try_bind(families[i], SOCK_STREAM, port) : TRIAL_FREE;
        if (udp == TRIAL_TAKEN || tcp == TRIAL_TAKEN) {
            return false;
        }
        any = any || (udp == TRIAL_FREE && tcp == TRIAL_FREE);
    }
    return any;
}

int udp_port_search(uint16_t start, bool with_tcp)
{
    const unsigned span = UDP_PORT_RANDOM_LAST - UDP_PORT_RANDOM_FIRST + 1;
    unsigned port = start;

    if (port < UDP_PORT_RANDOM_FIRST || port > UDP_PORT_RANDOM_LAST) {
        port = UDP_PORT_RANDOM_FIRST + port % span;
    }
    for (unsigned i = 0; i < UDP_PORT_TRIALS; i++) {
        if (udp_port_is_free((uint16_t)port, with_tcp)) {
            return (int)port;
        }
        port = port == UINT16_MAX ? UDP_PORT_RANDOM_FIRST : port + 1;
    }
    return -EADDRINUSE;
}
