/* TAP devices of Linux. Implements: spec 05 sections 6.1 and 6.10, spec 09 sections 5 and 6.10;
 * SV-80, SV-81, SV-95, SV-98, SV-99, D-18, D-26. Configuration of the interface goes by ioctl on
 * the device's own name; addresses and routes are os/addr.h's. */
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
    TAP_SUPER_BITS = TAP_OFFLOAD_TSO4 | TAP_OFFLOAD_TSO6 | TAP_OFFLOAD_USO,

    /* not in the headers of older systems */
    TUN_USO4 = 0x20,
    TUN_USO6 = 0x40,
};

_Static_assert(TAP_NAME_LEN == IFNAMSIZ, "interface names");

struct tap {
    int fds[TAP_QUEUES_MAX]; /* one per queue */
    unsigned queues;         /* how many are open */
    int control;             /* datagram socket for interface ioctls */
    unsigned ifindex;
    atomic_uint offloads; /* enum tap_offload bits; TAP_OFFLOAD_VNET never changes */
    atomic_uint mtu;      /* read by all queues; a late view drops a frame at worst */
    atomic_uint longest;  /* payload of frames that may be written, if it is above the MTU */
    char name[TAP_NAME_LEN];
};

/* Text for people: what failed and what would help. Returns the error. */
static int explain(char error[TAP_ERROR_LEN], const char *what, int code)
{
    const char *help = strerror(-code);

    if (code == -ENOENT || code == -ENODEV || code == -ENXIO) {
        help = "there is no TUN device here: run modprobe tun, or give the container "
               "--device /dev/net/tun --cap-add NET_ADMIN";
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

/* Whether frames carry virtio-net headers. */
static bool has_vnet(const struct tap *tap)
{
    return (tap_offloads(tap) & TAP_OFFLOAD_VNET) != 0;
}

/* Ask for the interface on a clone descriptor. first: it must not exist yet. */
static int attach(const struct tap *tap, int fd, bool first, bool multi)
{
    struct ifreq req = request_for(tap->name);

    unsigned flags = IFF_TAP | IFF_NO_PI;
    flags |= multi ? IFF_MULTI_QUEUE : 0;
    flags |= has_vnet(tap) ? IFF_VNET_HDR : 0;
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
        error = attach(tap, tap->fds[0], true, multi);
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
        error = attach(tap, tap->fds[0], true, multi);
        if (error != -EBUSY && error != -EEXIST) {
            return error; /* done, or nothing that another name would cure */
        }
    }
    return error;
}

/* Whether the driver knows virtio-net headers at all. */
static bool driver_has_vnet(int fd)
{
    unsigned features = 0;

    return ioctl(fd, TUNGETFEATURES, &features) == 0 && (features & IFF_VNET_HDR) != 0;
}

/* The driver's word for what we want to come to us. */
static unsigned long driver_bits(unsigned offloads)
{
    unsigned long bits = 0;

    bits |= (offloads & TAP_OFFLOAD_CSUM) != 0 ? TUN_F_CSUM : 0;
    bits |= (offloads & TAP_OFFLOAD_TSO4) != 0 ? TUN_F_TSO4 : 0;
    bits |= (offloads & TAP_OFFLOAD_TSO6) != 0 ? TUN_F_TSO6 : 0;
    bits |= (offloads & TAP_OFFLOAD_ECN) != 0 ? TUN_F_TSO_ECN : 0;
    bits |= (offloads & TAP_OFFLOAD_USO) != 0 ? TUN_USO4 | TUN_USO6 : 0;
    return bits;
}

/* Leave out what cannot be without something else that is missing. */
static unsigned consistent(unsigned offloads)
{
    if ((offloads & TAP_OFFLOAD_VNET) == 0) {
        return 0;
    }
    if ((offloads & TAP_OFFLOAD_CSUM) == 0) {
        return TAP_OFFLOAD_VNET;
    }
    if ((offloads & (TAP_OFFLOAD_TSO4 | TAP_OFFLOAD_TSO6)) == 0) {
        offloads &= ~(unsigned)TAP_OFFLOAD_ECN;
    }
    return offloads & TAP_OFFLOAD_ALL;
}

/* Agree with the driver on these, or less: one after the other is given up, the youngest first. */
static int set_offloads(struct tap *tap, unsigned wanted)
{
    static const unsigned give_up[] = {
        0, TAP_OFFLOAD_USO, TAP_OFFLOAD_ECN, TAP_OFFLOAD_TSO6, TAP_OFFLOAD_TSO4, TAP_OFFLOAD_CSUM};

    for (size_t i = 0; i < COUNT_OF(give_up); i++) {
        wanted = consistent(wanted & ~give_up[i]);
        if (ioctl(tap->fds[0], TUNSETOFFLOAD, driver_bits(wanted)) == 0) {
            atomic_store_explicit(&tap->offloads, wanted, memory_order_relaxed);
            return 0;
        }
    }
    return -errno;
}

/* Size and byte order of the virtio-net header, and the features. */
static int set_up_vnet(struct tap *tap, unsigned wanted)
{
    int size = VNET_HEADER_LEN;
    int little = 1;

    if (!has_vnet(tap)) {
        return 0;
    }
    if (ioctl(tap->fds[0], TUNSETVNETHDRSZ, &size) != 0) {
        return -errno;
    }
    /* before Linux 4.0 there is only the machine's own order */
    if (ioctl(tap->fds[0], TUNSETVNETLE, &little) != 0 &&
        __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__) {
        return -errno;
    }
    return set_offloads(tap, wanted);
}

unsigned tap_offloads(const struct tap *tap)
{
    return atomic_load_explicit(&tap->offloads, memory_order_relaxed);
}

int tap_limit_offloads(struct tap *tap, unsigned keep)
{
    unsigned now = tap_offloads(tap);

    keep |= TAP_OFFLOAD_VNET | TAP_OFFLOAD_CSUM;
    return has_vnet(tap) ? set_offloads(tap, now & keep) : 0;
}

/* Length of the queue of frames for us; best effort. */
static void set_tx_queue(const struct tap *tap, unsigned len)
{
    struct ifreq req = request_for(tap->name);

    if (len == 0 && (tap_offloads(tap) & TAP_SUPER_BITS) != 0) {
        len = TAP_TX_QUEUE_LEN;
    }
    if (len != 0) {
        req.ifr_qlen = (int)len;
        (void)ioctl(tap->control, SIOCSIFTXQLEN, &req);
    }
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

void tap_set_longest(struct tap *tap, uint32_t payload)
{
    atomic_store_explicit(&tap->longest, payload, memory_order_relaxed);
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
        int error = attach(tap, fd, false, true);
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
    unsigned wanted = driver_has_vnet(fd) ? consistent(config->offloads) : 0;
    atomic_init(&tap->offloads, wanted & TAP_OFFLOAD_VNET);
    int code = create_named(tap, config);
    if (code == 0) {
        code = set_up_vnet(tap, wanted);
    }
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
    set_tx_queue(tap, config->tx_queue_len);
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

int tap_probe(void)
{
    unsigned features;
    int fd = open_clone();
    int err = fd < 0 ? fd : 0;

    if (fd >= 0) {
        err = ioctl(fd, TUNGETFEATURES, &features) == 0 ? 0 : -errno;
        (void)close(fd);
    }
    return err;
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

uint32_t tap_longest(const struct tap *tap)
{
    uint32_t mtu = tap_mtu(tap);
    uint32_t longest = atomic_load_explicit(&tap->longest, memory_order_relaxed);

    return longest > mtu ? longest : mtu;
}

int tap_fd(const struct tap *tap, unsigned queue)
{
    return tap->fds[queue];
}

/* Error of a read for the caller; 0: there is nothing now. */
static int read_error(int code)
{
    if (code == EAGAIN || code == EWOULDBLOCK) {
        return 0;
    }
    return code == EBADFD ? -EIO : -code;
}

int tap_read(struct tap *tap, unsigned queue, struct tap_frame *batch, size_t count)
{
    size_t limit = TAP_HEADER_LEN + (size_t)tap_mtu(tap);
    size_t out = 0;

    if (has_vnet(tap)) {
        return -EOPNOTSUPP;
    }
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
            return out > 0 ? (int)out : read_error(errno);
        }
        if ((size_t)len > TAP_HEADER_LEN && (size_t)len <= limit) {
            batch[out++].len = (size_t)len;
        }
    }
    return (int)out;
}

/* Take what a read of len bytes gave into an entry. Returns false if it is not usable. */
static bool take_super(struct tap_super *s, size_t header, const uint8_t *vnet, size_t len,
                       size_t limit)
{
    if (len <= header + TAP_HEADER_LEN || len - header >= s->cap) {
        return false;
    }
    s->len = len - header;
    s->vnet = (struct vnet_header){0};
    if (header > 0) {
        vnet_header_read(vnet, &s->vnet);
    }
    return s->vnet.gso_type != VNET_GSO_NONE || s->len <= limit;
}

int tap_read_super(struct tap *tap, unsigned queue, struct tap_super *batch, size_t count)
{
    size_t limit = TAP_HEADER_LEN + (size_t)tap_mtu(tap);
    size_t header = has_vnet(tap) ? VNET_HEADER_LEN : 0;
    uint8_t vnet[VNET_HEADER_LEN];
    size_t out = 0;

    if (count > TAP_BATCH_MAX) {
        count = TAP_BATCH_MAX;
    }
    for (size_t reads = 0; reads < TAP_BATCH_MAX && out < count; reads++) {
        struct iovec parts[2] = {
            {.iov_base = vnet, .iov_len = header},
            {.iov_base = batch[out].data, .iov_len = batch[out].cap},
        };
        ssize_t len = readv(tap->fds[queue], parts, 2);
        if (len < 0) {
            if (errno == EINTR) {
                continue;
            }
            return out > 0 ? (int)out : read_error(errno);
        }
        out += take_super(&batch[out], header, vnet, (size_t)len, limit) ? 1 : 0;
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

/* A part of a frame to be written. */
static struct iovec piece_vector(const void *data, size_t len)
{
    /* the kernel only reads it, the type is shared with readv */
    union {
        const void *in;
        void *out;
    } borrowed = {.in = data};

    return (struct iovec){.iov_base = borrowed.out, .iov_len = len};
}

/* True if a frame with this payload may be written. */
static bool fits(const struct tap *tap, size_t payload)
{
    return payload > 0 && payload <= tap_longest(tap);
}

/* Begin a vector with the virtio-net header, if the device has them. Returns the entries used. */
static int begin_write(const struct tap *tap, const uint8_t vnet[VNET_HEADER_LEN],
                       struct iovec *parts)
{
    if (!has_vnet(tap)) {
        return 0;
    }
    parts[0] = piece_vector(vnet, VNET_HEADER_LEN);
    return 1;
}

int tap_write(struct tap *tap, unsigned queue, const uint8_t *frame, size_t len)
{
    static const uint8_t vnet[VNET_HEADER_LEN];
    struct iovec parts[2];

    if (len <= TAP_HEADER_LEN || !fits(tap, len - TAP_HEADER_LEN)) {
        return -EMSGSIZE;
    }
    int n = begin_write(tap, vnet, parts);
    parts[n++] = piece_vector(frame, len);
    return write_result(writev(tap->fds[queue], parts, n));
}

int tap_write_parts(struct tap *tap, unsigned queue, uint64_t dest_mac, uint64_t source_mac,
                    uint16_t ethertype, const void *payload, size_t len)
{
    static const uint8_t vnet[VNET_HEADER_LEN];
    uint8_t header[TAP_HEADER_LEN];
    struct iovec parts[3];

    if (!fits(tap, len)) {
        return -EMSGSIZE;
    }
    struct wr w = wr_init(header, sizeof(header));
    wr_u16(&w, (uint16_t)(dest_mac >> 32));
    wr_u32(&w, (uint32_t)dest_mac);
    wr_u16(&w, (uint16_t)(source_mac >> 32));
    wr_u32(&w, (uint32_t)source_mac);
    wr_u16(&w, ethertype);

    int n = begin_write(tap, vnet, parts);
    parts[n++] = piece_vector(header, sizeof(header));
    parts[n++] = piece_vector(payload, len);
    return write_result(writev(tap->fds[queue], parts, n));
}

int tap_write_super(struct tap *tap, unsigned queue, const struct vnet_header *vnet,
                    const struct offload_piece *pieces, size_t count)
{
    struct iovec parts[TAP_PIECES_MAX + 1];
    uint8_t header[VNET_HEADER_LEN];
    size_t total = 0;

    if (count == 0 || count > TAP_PIECES_MAX) {
        return -EMSGSIZE;
    }
    if (!has_vnet(tap) && (vnet->flags != 0 || vnet->gso_type != VNET_GSO_NONE)) {
        return -EOPNOTSUPP;
    }
    vnet_header_write(vnet, header);
    int n = begin_write(tap, header, parts);
    for (size_t i = 0; i < count; i++) {
        parts[n++] = piece_vector(pieces[i].data, pieces[i].len);
        total += pieces[i].len;
    }
    if (vnet->gso_type != VNET_GSO_NONE) {
        size_t longest = (size_t)vnet->hdr_len + vnet->gso_size;
        total = total < longest ? total : longest;
    }
    if (total <= TAP_HEADER_LEN || !fits(tap, total - TAP_HEADER_LEN)) {
        return -EMSGSIZE;
    }
    return write_result(writev(tap->fds[queue], parts, n));
}

unsigned tap_merge_kinds(const struct tap *tap)
{
    unsigned offloads = tap_offloads(tap);
    unsigned kinds = (offloads & TAP_OFFLOAD_CSUM) != 0 ? MERGE_TCP4 | MERGE_TCP6 : 0;

    return (offloads & TAP_OFFLOAD_USO) != 0 ? kinds | MERGE_UDP : kinds;
}

void tap_write_segments(struct tap *tap, unsigned queue, const struct merge_output *out,
                        uint8_t *block, checksum_fn *checksum)
{
    struct offload_split split;
    struct offload_frame frame;

    merge_output_copy(out, block);
    if (offload_split_begin(&split, &out->vnet, block, out->len, checksum) > 0) {
        while (offload_split_next(&split, &frame)) {
            (void)tap_write(tap, queue, frame.data, frame.len);
        }
    }
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
