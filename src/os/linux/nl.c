/* Route netlink transport. The kernel answers while the request is being sent, so waiting for an
 * answer does not block in practice; a timeout guards against a broken kernel.
 * Implements the ground of: spec 05 sections 6.2, 6.3, 6.5, 6.8. */
#include "os/linux/nl_priv.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

enum {
    NL_TIMEOUT_S = 2,              /* for an answer that never comes */
    NL_WATCH_BUFFER = 1024 * 1024, /* queue of notifications: bursts of route changes */
};

static int set_option(int fd, int level, int name, int value)
{
    return setsockopt(fd, level, name, &value, sizeof(value)) == 0 ? 0 : -errno;
}

int nl_open(struct nl *nl, uint32_t groups)
{
    struct sockaddr_nl local = {.nl_family = AF_NETLINK, .nl_groups = groups};
    struct timeval timeout = {.tv_sec = NL_TIMEOUT_S};
    int block = groups == 0 ? 0 : SOCK_NONBLOCK;

    *nl = (struct nl){.fd = -1};
    nl->buffer = malloc(NL_BUFFER_LEN);
    if (nl->buffer == NULL) {
        return -ENOMEM;
    }
    nl->fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC | block, NETLINK_ROUTE);
    if (nl->fd < 0 || bind(nl->fd, (const struct sockaddr *)&local, sizeof(local)) != 0) {
        int error = -errno;
        nl_done(nl);
        return error;
    }
    if (groups != 0) {
        if (set_option(nl->fd, SOL_SOCKET, SO_RCVBUFFORCE, NL_WATCH_BUFFER) != 0) {
            (void)set_option(nl->fd, SOL_SOCKET, SO_RCVBUF, NL_WATCH_BUFFER);
        }
        return 0;
    }
    (void)setsockopt(nl->fd, SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof(timeout));
    /* lets the kernel filter dumps; before 4.20 we do it alone */
    (void)set_option(nl->fd, SOL_NETLINK, NETLINK_GET_STRICT_CHK, 1);
    return 0;
}

void nl_done(struct nl *nl)
{
    if (nl->fd >= 0) {
        (void)close(nl->fd);
        nl->fd = -1;
    }
    free(nl->buffer);
    nl->buffer = NULL;
}

void nl_begin(struct nl_request *req, uint16_t type, uint16_t flags, const void *body, size_t len)
{
    *req = (struct nl_request){0};
    req->u.header.nlmsg_type = type;
    req->u.header.nlmsg_flags = (uint16_t)(flags | NLM_F_REQUEST);
    memcpy(req->u.bytes + NLMSG_HDRLEN, body, len);
    req->len = NLMSG_HDRLEN + NLMSG_ALIGN(len);
}

void nl_put(struct nl_request *req, uint16_t type, const void *data, size_t len)
{
    struct rtattr attr = {.rta_len = (uint16_t)RTA_LENGTH(len), .rta_type = type};

    if (req->len + RTA_SPACE(len) > sizeof(req->u.bytes)) {
        abort(); /* programming error: attributes are few and small */
    }
    memcpy(req->u.bytes + req->len, &attr, sizeof(attr));
    memcpy(req->u.bytes + req->len + RTA_LENGTH(0), data, len);
    req->len += RTA_SPACE(len);
}

void nl_put_u32(struct nl_request *req, uint16_t type, uint32_t value)
{
    nl_put(req, type, &value, sizeof(value));
}

void nl_put_ip(struct nl_request *req, uint16_t type, const struct inetaddr *ip)
{
    nl_put(req, type, ip->ip, inetaddr_ip_len(ip));
}

static int nl_send(struct nl *nl, struct nl_request *req)
{
    struct sockaddr_nl kernel = {.nl_family = AF_NETLINK};

    req->u.header.nlmsg_len = (uint32_t)req->len;
    req->u.header.nlmsg_seq = ++nl->sequence;
    for (;;) {
        ssize_t sent = sendto(nl->fd, req->u.bytes, req->len, 0, (const struct sockaddr *)&kernel,
                              sizeof(kernel));
        if (sent >= 0) {
            return 0;
        }
        if (errno != EINTR) {
            return -errno;
        }
    }
}

ssize_t nl_receive(struct nl *nl)
{
    struct sockaddr_nl from = {0};
    struct iovec iov = {.iov_base = nl->buffer, .iov_len = NL_BUFFER_LEN};

    for (;;) {
        struct msghdr msg = {
            .msg_name = &from,
            .msg_namelen = sizeof(from),
            .msg_iov = &iov,
            .msg_iovlen = 1,
        };
        ssize_t len = recvmsg(nl->fd, &msg, 0);
        if (len < 0) {
            if (errno == EINTR) {
                continue;
            }
            return -errno;
        }
        if (from.nl_pid != 0) {
            continue; /* another process may write to us */
        }
        return (msg.msg_flags & MSG_TRUNC) != 0 ? -ENOBUFS : len;
    }
}

/* Look at one message of an answer. Returns 1: a message for the handler; 0: the end, all well;
 * 2: not ours; negative errno: the kernel's error. */
static int classify(const struct nl *nl, const struct nlmsghdr *message)
{
    if (message->nlmsg_seq != nl->sequence) {
        return 2; /* late answer to a request that was given up */
    }
    if (message->nlmsg_type == NLMSG_DONE) {
        /* a dump may end with an error */
        const int *code = nl_body(message, sizeof(*code));
        return code != NULL && *code < 0 ? *code : 0;
    }
    if (message->nlmsg_type == NLMSG_ERROR) {
        const struct nlmsgerr *answer = nl_body(message, sizeof(*answer));
        return answer == NULL ? -EBADMSG : answer->error;
    }
    return 1;
}

int nl_call(struct nl *nl, struct nl_request *req)
{
    req->u.header.nlmsg_flags |= NLM_F_ACK;
    const struct nlmsghdr *answer;

    int error = nl_get(nl, req, &answer);
    return error == -ENODATA ? 0 : error;
}

int nl_get(struct nl *nl, struct nl_request *req, const struct nlmsghdr **ret)
{
    int error = nl_send(nl, req);
    if (error != 0) {
        return error;
    }
    for (;;) {
        ssize_t got = nl_receive(nl);
        if (got < 0) {
            return got == -EAGAIN ? -ETIMEDOUT : (int)got;
        }
        size_t left = (size_t)got;
        const struct nlmsghdr *m = (const void *)nl->buffer;
        for (; NLMSG_OK(m, left); m = NLMSG_NEXT(m, left)) {
            int kind = classify(nl, m);
            if (kind == 2) {
                continue;
            }
            if (kind == 1) {
                *ret = m;
                return 0;
            }
            return kind == 0 ? -ENODATA : kind;
        }
    }
}

int nl_dump(struct nl *nl, struct nl_request *req, nl_handler handler, void *ctx)
{
    bool interrupted = false;
    int result = 0;

    req->u.header.nlmsg_flags |= NLM_F_DUMP;
    int error = nl_send(nl, req);
    if (error != 0) {
        return error;
    }
    for (;;) {
        ssize_t got = nl_receive(nl);
        if (got < 0) {
            return got == -EAGAIN ? -ETIMEDOUT : (int)got;
        }
        size_t left = (size_t)got;
        const struct nlmsghdr *m = (const void *)nl->buffer;
        for (; NLMSG_OK(m, left); m = NLMSG_NEXT(m, left)) {
            int kind = classify(nl, m);
            if (kind == 2) {
                continue;
            }
            interrupted = interrupted || (m->nlmsg_flags & NLM_F_DUMP_INTR) != 0;
            if (kind != 1) {
                error = kind < 0 ? kind : result;
                return error == 0 && interrupted ? -EAGAIN : error;
            }
            if (result == 0) {
                result = handler(ctx, m); /* after an error the rest is read and forgotten */
            }
        }
    }
}

const void *nl_body(const struct nlmsghdr *message, size_t size)
{
    return message->nlmsg_len < NLMSG_LENGTH(size) ? NULL : NLMSG_DATA(message);
}

static void sort_attrs(const struct rtattr *first, size_t len, const struct rtattr **out,
                       size_t max)
{
    memset(out, 0, (max + 1) * sizeof(struct rtattr *));
    for (const struct rtattr *a = first; RTA_OK(a, len); a = RTA_NEXT(a, len)) {
        size_t type = a->rta_type & (unsigned)NLA_TYPE_MASK;
        if (type <= max) {
            out[type] = a;
        }
    }
}

void nl_attrs(const struct nlmsghdr *message, size_t size, const struct rtattr **out, size_t max)
{
    size_t skip = NLMSG_SPACE(size);
    const uint8_t *start = (const uint8_t *)message;

    size_t len = message->nlmsg_len > skip ? message->nlmsg_len - skip : 0;
    sort_attrs((const void *)(start + skip), len, out, max);
}

void nl_nested(const struct rtattr *attr, const struct rtattr **out, size_t max)
{
    if (attr == NULL) {
        memset(out, 0, (max + 1) * sizeof(struct rtattr *));
        return;
    }
    sort_attrs(RTA_DATA(attr), RTA_PAYLOAD(attr), out, max);
}

uint32_t nl_u32(const struct rtattr *attr)
{
    uint32_t value = 0;

    if (attr != NULL && RTA_PAYLOAD(attr) >= sizeof(value)) {
        memcpy(&value, RTA_DATA(attr), sizeof(value));
    }
    return value;
}

bool nl_ip(const struct rtattr *attr, uint8_t family, struct inetaddr *ret)
{
    struct inetaddr ip = {.family = family};

    size_t len = inetaddr_ip_len(&ip);
    if (attr == NULL || len == 0 || RTA_PAYLOAD(attr) < len) {
        return false;
    }
    memcpy(ip.ip, RTA_DATA(attr), len);
    *ret = ip;
    return true;
}

void nl_text(const struct rtattr *attr, char *out, size_t cap)
{
    size_t len = 0;

    if (attr != NULL) {
        len = strnlen(RTA_DATA(attr), RTA_PAYLOAD(attr));
        len = len < cap ? len : cap - 1;
        memcpy(out, RTA_DATA(attr), len);
    }
    out[len] = '\0';
}

uint8_t nl_family(const struct inetaddr *ip)
{
    return ip->family == INETADDR_V4 ? AF_INET : AF_INET6;
}

uint8_t nl_family_of(uint8_t af)
{
    if (af == AF_INET) {
        return INETADDR_V4;
    }
    return af == AF_INET6 ? INETADDR_V6 : INETADDR_NIL;
}
