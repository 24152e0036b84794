/* TCP descriptors. */
#include "os/tcp.h"

#include "os/linux/udp_priv.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

enum { BACKLOG = 128 };

static int open_socket(const struct inetaddr *a)
{
    int family = a->family == INETADDR_V6 ? AF_INET6 : AF_INET;
    int fd = socket(family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    return fd < 0 ? -errno : fd;
}

/* Close after a failed call; its error. */
static int give_up(int fd)
{
    int err = -errno;
    (void)close(fd);
    return err;
}

/* True unless nobody listens at an address. */
static bool is_served(const union udp_sockaddr *sa, socklen_t len)
{
    const struct timeval patience = {.tv_usec = 200000};
    int fd = socket(sa->any.sa_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0) {
        return true;
    }
    (void)setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof(patience));
    bool refused = connect(fd, &sa->any, len) < 0 && errno == ECONNREFUSED;
    (void)close(fd);
    return !refused;
}

/* Bind a port. Closed connections of a program that had it keep others away for a minute unless it
 * allowed sharing addresses; the reference allows sharing ports instead, which is as good as long
 * as it does not run. */
static int bind_port(int fd, const union udp_sockaddr *sa, socklen_t len)
{
    int one = 1;
    if (bind(fd, &sa->any, len) == 0) {
        return 0;
    }
    if (errno != EADDRINUSE) {
        return -1;
    }
    if (is_served(sa, len)) {
        errno = EADDRINUSE;
        return -1;
    }
    (void)setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &one, sizeof(one));
    return bind(fd, &sa->any, len);
}

int tcp_listen(const struct inetaddr *local)
{
    union udp_sockaddr sa;
    socklen_t len = udp_sockaddr_from(local, 0, &sa);
    int one = 1;
    int fd = open_socket(local);
    if (fd < 0) {
        return fd;
    }
    if (setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one)) < 0 ||
        (local->family == INETADDR_V6 &&
         setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &one, sizeof(one)) < 0) ||
        bind_port(fd, &sa, len) < 0 || listen(fd, BACKLOG) < 0) {
        return give_up(fd);
    }
    return fd;
}

int tcp_accept(int listener, struct inetaddr *ret_from)
{
    union udp_sockaddr sa = {0};
    socklen_t len = sizeof(sa);
    int fd = accept4(listener, &sa.any, &len, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd < 0) {
        return errno == EWOULDBLOCK ? -EAGAIN : -errno;
    }
    udp_sockaddr_to(&sa, ret_from);
    return fd;
}

int tcp_connect(const struct inetaddr *to, const char *device)
{
    union udp_sockaddr sa;
    socklen_t len = udp_sockaddr_from(to, 0, &sa);
    int fd = open_socket(to);
    if (fd < 0) {
        return fd;
    }
    if (device != NULL && device[0] != '\0' &&
        setsockopt(fd, SOL_SOCKET, SO_BINDTODEVICE, device, (socklen_t)strlen(device)) < 0) {
        return give_up(fd);
    }
    if (connect(fd, &sa.any, len) < 0 && errno != EINPROGRESS) {
        return give_up(fd);
    }
    return fd;
}

int tcp_connected(int fd)
{
    int err = 0;
    socklen_t len = sizeof(err);
    return getsockopt(fd, SOL_SOCKET, SO_ERROR, &err, &len) < 0 ? -errno : -err;
}

bool tcp_is_stranded(int fd)
{
    union udp_sockaddr sa = {0};
    struct inetaddr local = {0};
    socklen_t len = sizeof(sa);
    if (getsockname(fd, &sa.any, &len) < 0) {
        return true;
    }
    udp_sockaddr_to(&sa, &local);
    local.port = 0;
    int probe = open_socket(&local);
    if (probe < 0) {
        return false;
    }
    len = udp_sockaddr_from(&local, 0, &sa);
    bool gone = bind(probe, &sa.any, len) < 0 && errno == EADDRNOTAVAIL;
    (void)close(probe);
    return gone;
}
