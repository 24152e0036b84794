/* TAP devices of Linux. Implements: spec 05 sections 6.1 and 6.10; SV-80, SV-81, SV-95, SV-98,
 * SV-99. Configuration of the interface goes by ioctl on the device's own name; addresses and
 * routes are os/addr.h's. */
#include "os/tap.h"

#include "base/cursor.h"
#include "os/file.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <net/if_arp.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

enum {
    TAP_NAME_TRIALS = 1024,          /* names tried for one network */
    TAP_MCAST_TEXT_MAX = 512 * 1024, /* text of dev_mcast read at most */
};

_Static_assert(TAP_NAME_LEN == IFNAMSIZ, "interface names");

struct tap {
    int fds[TAP_QUEUES_MAX]; /* one per queue */
    unsigned queues;         /* how many are open */
    int control;             /* datagram socket for interface ioctls */
    unsigned ifindex;
    atomic_uint mtu; /* read by all queues; a late view drops a frame at worst */
    char name[TAP_NAME_LEN];
};

/* Text for people: what failed and what would help. Returns the error. */
static int explain(char error[TAP_ERROR_LEN], const char *what, int code)
{
    const char *help = strerror(-code);

    if (code == -ENOENT || code == -ENODEV || code == -ENXIO) {
        help = "there is no TUN driver here: load the module 'tun', or give the container "
               "the device /dev/net/tun";
    } else if (code == -EPERM || code == -EACCES) {
        help = "not permitted: run as root or with CAP_NET_ADMIN";
    }
    (void)snprintf(error, TAP_ERROR_LEN, "%s: %s", what, help);
    return code;
}

/* Open the clone device. Returns a descriptor. */
static int open_clone(void)
{
    int fd = open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC);
    if (fd >= 0) {
        return fd;
    }
    int error = -errno;
    if (error != -ENOENT) {
        return error;
    }
    fd = open("/dev/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC);
    return fd >= 0 ? fd : error;
}

static struct ifreq request_for(const char *name)
{
    struct ifreq req = {0};

    memcpy(req.ifr_name, name, strnlen(name, IFNAMSIZ - 1));
    return req;
}

/* Ask for the interface on a clone descriptor. first: it must not exist yet. */
static int attach(int fd, const char *name, bool first, bool multi)
{
    struct ifreq req = request_for(name);

    unsigned flags = IFF_TAP | IFF_NO_PI;
    flags |= multi ? IFF_MULTI_QUEUE : 0;
    flags |= first ? IFF_TUN_EXCL : 0;
    req.ifr_flags = (short)flags;
    return ioctl(fd, TUNSETIFF, &req) == 0 ? 0 : -errno;
}

/* Create the interface under the first free name. */
static int create_named(struct tap *tap, const struct tap_config *config)
{
    bool multi = config->queues > 1;
    int error = -EBUSY;

    if (config->preferred != NULL && strlen(config->preferred) < TAP_NAME_LEN &&
        config->preferred[0] != '\0' && if_nametoindex(config->preferred) == 0) {
        (void)snprintf(tap->name, sizeof(tap->name), "%s", config->preferred);
        error = attach(tap->fds[0], tap->name, true, multi);
        if (error == 0) {
            return 0;
        }
    }
    for (unsigned attempt = 0; attempt < TAP_NAME_TRIALS; attempt++) {
        tap_name_derive(config->nwid, attempt, tap->name);
        if (if_nametoindex(tap->name) != 0) {
            error = -EBUSY;
            continue;
        }
        error = attach(tap->fds[0], tap->name, true, multi);
        if (error != -EBUSY && error != -EEXIST) {
            return error; /* done, or nothing that another name would cure */
        }
    }
    return error;
}

int tap_set_mtu(struct tap *tap, uint32_t mtu)
{
    struct ifreq req = request_for(tap->name);

    if (mtu < TAP_MTU_MIN || mtu > TAP_MTU_MAX) {
        return -EINVAL;
    }
    req.ifr_mtu = (int)mtu;
    if (ioctl(tap->control, SIOCSIFMTU, &req) != 0) {
        return -errno;
    }
    atomic_store_explicit(&tap->mtu, mtu, memory_order_relaxed);
    return 0;
}

int tap_set_mac(struct tap *tap, uint64_t mac)
{
    struct ifreq req = request_for(tap->name);
    uint8_t bytes[8];

    be64_put(bytes, mac);
    req.ifr_hwaddr.sa_family = ARPHRD_ETHER;
    memcpy(req.ifr_hwaddr.sa_data, bytes + 2, 6);
    return ioctl(tap->control, SIOCSIFHWADDR, &req) == 0 ? 0 : -errno;
}

static int bring_up(struct tap *tap)
{
    struct ifreq req = request_for(tap->name);

    if (ioctl(tap->control, SIOCGIFFLAGS, &req) != 0) {
        return -errno;
    }
    req.ifr_flags = (short)(req.ifr_flags | IFF_UP | IFF_MULTICAST);
    return ioctl(tap->control, SIOCSIFFLAGS, &req) == 0 ? 0 : -errno;
}

/* Open the queues after the first. */
static int open_more_queues(struct tap *tap, unsigned queues)
{
    while (tap->queues < queues) {
        int fd = open_clone();
        if (fd < 0) {
            return fd;
        }
        tap->fds[tap->queues++] = fd;
        int error = attach(fd, tap->name, false, true);
        if (error != 0) {
            return error;
        }
    }
    return 0;
}

/* Everything after the allocation. */
static int tap_set_up(struct tap *tap, const struct tap_config *config, char error[TAP_ERROR_LEN])
{
    int fd = open_clone();
    if (fd < 0) {
        return explain(error, "could not open TUN/TAP device", fd);
    }
    tap->fds[tap->queues++] = fd;
    int code = create_named(tap, config);
    if (code == 0) {
        code = open_more_queues(tap, config->queues);
    }
    if (code != 0) {
        return explain(error, "could not create TAP interface", code);
    }
    tap->control = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (tap->control < 0 && errno == EAFNOSUPPORT) {
        tap->control = socket(AF_INET6, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    }
    tap->ifindex = if_nametoindex(tap->name);
    if (tap->control < 0 || tap->ifindex == 0) {
        return explain(error, "could not configure TAP interface", -errno);
    }
    /* while it is down: no event shows a half made device, and no wait is needed */
    code = tap_set_mac(tap, config->mac);
    if (code != 0) {
        return explain(error, "could not set the MAC of the TAP interface", code);
    }
    code = tap_set_mtu(tap, config->mtu);
    if (code != 0) {
        return explain(error, "could not set the MTU of the TAP interface", code);
    }
    code = bring_up(tap);
    return code == 0 ? 0 : explain(error, "could not bring the TAP interface up", code);
}

int tap_open(const struct tap_config *config, struct tap **ret, char error[TAP_ERROR_LEN])
{
    if (config->queues == 0 || config->queues > TAP_QUEUES_MAX || config->mtu < TAP_MTU_MIN ||
        config->mtu > TAP_MTU_MAX) {
        return explain(error, "could not create TAP interface", -EINVAL);
    }
    struct tap *tap = calloc(1, sizeof(*tap));
    if (tap == NULL) {
        return explain(error, "could not create TAP interface", -ENOMEM);
    }
    tap->control = -1;
    int code = tap_set_up(tap, config, error);
    if (code != 0) {
        tap_close(tap);
        return code;
    }
    *ret = tap;
    return 0;
}

void tap_close(struct tap *tap)
{
    if (tap == NULL) {
        return;
    }
    if (tap->control >= 0) {
        (void)close(tap->control);
    }
    for (unsigned i = 0; i < tap->queues; i++) {
        (void)close(tap->fds[i]); /* the interface goes with the last one */
    }
    free(tap);
}

const char *tap_name(const struct tap *tap)
{
    return tap->name;
}

unsigned tap_ifindex(const struct tap *tap)
{
    return tap->ifindex;
}

uint32_t tap_mtu(const struct tap *tap)
{
    return atomic_load_explicit(&tap->mtu, memory_order_relaxed);
}

int tap_fd(const struct tap *tap, unsigned queue)
{
    return tap->fds[queue];
}

int tap_read(struct tap *tap, unsigned queue, struct tap_frame *batch, size_t count)
{
    size_t limit = TAP_HEADER_LEN + (size_t)tap_mtu(tap);
    size_t out = 0;

    if (count > TAP_BATCH_MAX) {
        count = TAP_BATCH_MAX;
    }
    /* reads are bounded too, so that a flood of unusable frames cannot hold the caller */
    for (size_t reads = 0; reads < TAP_BATCH_MAX && out < count; reads++) {
        ssize_t len = read(tap->fds[queue], batch[out].data, batch[out].cap);
        if (len < 0) {
            if (errno == EINTR) {
                continue;
            }
            if (errno == EAGAIN || errno == EWOULDBLOCK || out > 0) {
                break;
            }
            return errno == EBADFD ? -EIO : -errno;
        }
        if ((size_t)len > TAP_HEADER_LEN && (size_t)len <= limit) {
            batch[out++].len = (size_t)len;
        }
    }
    return (int)out;
}

/* Result of a write for the caller. */
static int write_result(ssize_t written)
{
    if (written >= 0) {
        return 0;
    }
    if (errno == EWOULDBLOCK || errno == EINTR) {
        return -EAGAIN;
    }
    return errno == EBADFD ? -EIO : -errno;
}

/* True if a frame with this payload may be written. */
static bool fits(const struct tap *tap, size_t payload)
{
    return payload > 0 && payload <= tap_mtu(tap);
}

int tap_write(struct tap *tap, unsigned queue, const uint8_t *frame, size_t len)
{
    if (len <= TAP_HEADER_LEN || !fits(tap, len - TAP_HEADER_LEN)) {
        return -EMSGSIZE;
    }
    return write_result(write(tap->fds[queue], frame, len));
}

int tap_write_parts(struct tap *tap, unsigned queue, uint64_t dest_mac, uint64_t source_mac,
                    uint16_t ethertype, const void *payload, size_t len)
{
    uint8_t header[TAP_HEADER_LEN];

    if (!fits(tap, len)) {
        return -EMSGSIZE;
    }
    struct wr w = wr_init(header, sizeof(header));
    wr_u16(&w, (uint16_t)(dest_mac >> 32));
    wr_u32(&w, (uint32_t)dest_mac);
    wr_u16(&w, (uint16_t)(source_mac >> 32));
    wr_u32(&w, (uint32_t)source_mac);
    wr_u16(&w, ethertype);

    /* the kernel only reads it, the type is shared with readv */
    union {
        const void *in;
        void *out;
    } borrowed = {.in = payload};
    struct iovec parts[2] = {
        {.iov_base = header, .iov_len = sizeof(header)},
        {.iov_base = borrowed.out, .iov_len = len},
    };
    return write_result(writev(tap->fds[queue], parts, 2));
}

ssize_t tap_multicast_macs(const struct tap *tap, uint64_t *out, size_t cap)
{
    char *text;
    size_t len;

    int error = file_read("/proc/net/dev_mcast", TAP_MCAST_TEXT_MAX, &text, &len);
    if (error != 0) {
        return error;
    }
    size_t count = tap_multicast_parse(text, len, tap->ifindex, out, cap);
    free(text);
    return (ssize_t)count;
}
