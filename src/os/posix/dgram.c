/* Datagram sockets of one machine. */
#include "os/dgram.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

enum { RECEIVE_BUFFER = 4 << 20 }; /* bytes asked for: bursts while the receiver writes to a disk */

static int make_address(const char *path, struct sockaddr_un *ret)
{
    size_t len = strlen(path);

    if (len >= sizeof(ret->sun_path)) {
        return -ENAMETOOLONG;
    }
    *ret = (struct sockaddr_un){.sun_family = AF_UNIX};
    memcpy(ret->sun_path, path, len + 1);
    return 0;
}

static int make_socket(void)
{
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

    return fd < 0 ? -errno : fd;
}

/* Owner of the directory that a name is in. */
static int directory_owner(const char *path, uid_t *ret)
{
    char dir[sizeof(((struct sockaddr_un *)NULL)->sun_path)] = ".";
    const char *slash = strrchr(path, '/');
    struct stat st;

    if (slash != NULL) {
        size_t len = slash == path ? 1 : (size_t)(slash - path);
        memcpy(dir, path, len); /* make_address has seen that it is short enough */
        dir[len] = '\0';
    }
    if (stat(dir, &st) < 0) {
        return -errno;
    }
    *ret = st.st_uid;
    return 0;
}

/* Bind as the owner of the directory, for the owner alone. Nothing is done by the name afterwards:
 * the owner could have put something else there. */
static int bind_private(int fd, const struct sockaddr_un *address, uid_t owner)
{
    uid_t own = geteuid();
    mode_t mask;
    int err = 0;

    if (own == 0 && owner != 0 && seteuid(owner) < 0) {
        return -errno;
    }
    mask = umask(0177);
    if (bind(fd, (const struct sockaddr *)address, sizeof(*address)) < 0) {
        err = -errno;
    }
    (void)umask(mask);
    return geteuid() == own || seteuid(own) == 0 ? err : -errno;
}

int dgram_listen(const char *path)
{
    struct sockaddr_un address;
    uid_t owner = 0;
    int size = RECEIVE_BUFFER;
    int err = make_address(path, &address);

    err = err < 0 ? err : directory_owner(path, &owner);
    int fd = err < 0 ? err : make_socket();
    if (fd < 0) {
        return fd;
    }
    (void)setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &size, sizeof(size));
    err = bind_private(fd, &address, owner);
    if (err < 0) {
        (void)close(fd);
        return err;
    }
    return fd;
}

int dgram_connect(const char *path)
{
    struct sockaddr_un address;
    int err = make_address(path, &address);
    int fd = err < 0 ? err : make_socket();

    if (fd < 0) {
        return fd;
    }
    if (connect(fd, (const struct sockaddr *)&address, sizeof(address)) < 0) {
        err = -errno;
        (void)close(fd);
        return err;
    }
    return fd;
}

int dgram_send(int fd, const void *data, size_t len)
{
    return send(fd, data, len, MSG_NOSIGNAL) < 0 ? -errno : 0;
}

ssize_t dgram_receive(int fd, void *buf, size_t cap, int timeout_ms)
{
    struct pollfd wait = {.fd = fd, .events = POLLIN};
    int ready = poll(&wait, 1, timeout_ms);
    ssize_t n;

    if (ready <= 0) {
        return ready < 0 ? -errno : 0;
    }
    n = recv(fd, buf, cap, 0);
    return n < 0 ? -errno : n;
}

void dgram_close(int fd, const char *path)
{
    if (path != NULL) {
        (void)unlink(path);
    }
    (void)close(fd);
}
