/* Virtual Ethernet devices, non-blocking. A device gives and takes plain frames, or, where it was
 * asked for and the system can, super-frames with virtio-net headers (datapath/offload.h). The
 * device goes with the process, with its addresses and routes. Different threads may use different
 * queues of one device. Source: spec 05 sections 6.1 and 6.10, spec 09 sections 5 and 6.10. */
#pragma once

#include "base/attr.h"
#include "datapath/merge.h"
#include "wire/inetaddr.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

enum {
    TAP_NAME_LEN = 16,   /* interface name and its NUL */
    TAP_ERROR_LEN = 160, /* error text and its NUL */
    TAP_HEADER_LEN = 14, /* destination, source, EtherType */
    TAP_QUEUES_MAX = 16, /* queues of one device */
    TAP_MTU_MIN = 1280,  /* spec 05 section 6.1 */
    TAP_MTU_MAX = 10000,
    TAP_FRAME_BUFFER =
        TAP_HEADER_LEN + TAP_MTU_MAX + 2, /* holds any frame, and tells longer ones */
    TAP_BATCH_MAX = 32,                   /* frames tap_read gives at most */
    TAP_MACS_MAX = 1024,                  /* multicast addresses tap_multicast_macs gives at most */
    TAP_SUPER_BUFFER = OFFLOAD_FRAME_MAX + 1, /* holds any super-frame, and tells longer ones */
    TAP_PIECES_MAX = 80,                      /* pieces tap_write_super takes */
    TAP_TX_QUEUE_LEN = 128,                   /* super-frames queued for us (spec 09 section 6.8) */
};

/* What a device does beyond plain frames; bits. */
enum tap_offload {
    TAP_OFFLOAD_VNET = 0x01, /* virtio-net headers; needed by all others */
    TAP_OFFLOAD_CSUM = 0x02, /* frames may come with partial checksums; needed by those below */
    TAP_OFFLOAD_TSO4 = 0x04, /* TCP super-frames come */
    TAP_OFFLOAD_TSO6 = 0x08,
    TAP_OFFLOAD_ECN = 0x10, /* also of flows with ECN */
    TAP_OFFLOAD_USO = 0x20, /* UDP super-frames come and may be written (Linux 6.2) */
    TAP_OFFLOAD_ALL = 0x3f,
};

struct tap_config {
    uint64_t nwid;         /* names the device */
    const char *preferred; /* name wanted (devicemap), NULL: none; not used if taken */
    uint64_t mac;          /* hardware address */
    uint32_t mtu;          /* TAP_MTU_MIN..TAP_MTU_MAX */
    unsigned queues;       /* 1..TAP_QUEUES_MAX */
    unsigned offloads;     /* enum tap_offload bits wanted; what is missing is done without */
    unsigned tx_queue_len; /* frames the system queues for us; 0: TAP_TX_QUEUE_LEN if
                              super-frames come, else the system's */
};

/* A frame being read. */
struct tap_frame {
    uint8_t *data; /* in: buffer of the caller, at least MTU + 16 bytes */
    size_t cap;    /* in: its size */
    size_t len;    /* out: bytes of the frame, header included */
};

/* A super-frame, or a plain frame, being read. */
struct tap_super {
    uint8_t *data;           /* in: buffer of the caller, TAP_SUPER_BUFFER bytes */
    size_t cap;              /* in: its size */
    size_t len;              /* out: bytes of the frame, header included */
    struct vnet_header vnet; /* out; zero from a device without TAP_OFFLOAD_VNET */
};

struct tap;

/* The attempt-th name for a network: "zt" and 8 base32 characters of the folded ID plus attempt.
 * Pure. Source: spec 05 section 6.1, SV-80. */
void tap_name_derive(uint64_t nwid, unsigned attempt, char ret[TAP_NAME_LEN]);

/* Find the name for nwid in the text of a devicemap file ("<16 hex digits>=<name>" lines, first
 * one counts). Pure. Returns 0; -ENOENT none, or the name is not a legal interface name. */
MUST_CHECK int tap_devicemap_find(const char *text, size_t len, uint64_t nwid,
                                  char ret[TAP_NAME_LEN]);

/* Create a device, set MAC and MTU, bring it up. On failure error holds one line for people.
 * Returns 0; -ENOENT or -ENODEV no TUN driver here; -EPERM or -EACCES not permitted; -EINVAL bad
 * config; -EBUSY no free name; -ENOMEM; other errors of the system. */
MUST_CHECK int tap_open(const struct tap_config *config, struct tap **ret,
                        char error[TAP_ERROR_LEN]);

/* Remove the device; NULL is allowed. */
void tap_close(struct tap *tap);

/* Whether the system has what devices are made of, without making one. Returns 0; -ENOENT, -ENXIO,
 * -ENODEV it has not; -EACCES, -EPERM it may not be used; -ENOTTY something else stands in its
 * place.
 */
MUST_CHECK int tap_probe(void);

/* What the device is at present; the name is borrowed. */
const char *tap_name(const struct tap *tap);
unsigned tap_ifindex(const struct tap *tap);
uint32_t tap_mtu(const struct tap *tap);

/* Longest payload of a frame that may be written: the MTU, or more if tap_set_longest said so. */
uint32_t tap_longest(const struct tap *tap);

/* What was obtained, enum tap_offload bits. */
unsigned tap_offloads(const struct tap *tap);

/* Take away TAP_OFFLOAD_TSO4 to TAP_OFFLOAD_USO bits of a live device (those in `keep` stay, if
 * they were there). Returns 0; negative errno. */
MUST_CHECK int tap_limit_offloads(struct tap *tap, unsigned keep);

/* Descriptor of a queue, to poll. */
int tap_fd(const struct tap *tap, unsigned queue);

/* Change MTU or MAC of the live device. Returns 0; -EINVAL out of range; negative errno. */
MUST_CHECK int tap_set_mtu(struct tap *tap, uint32_t mtu);
MUST_CHECK int tap_set_mac(struct tap *tap, uint64_t mac);

/* Frames with such a payload may be written although the MTU is lower: that binds the system's own
 * frames only. */
void tap_set_longest(struct tap *tap, uint32_t payload);

/* Read up to count (at most TAP_BATCH_MAX) frames. Frames without payload and frames whose payload
 * exceeds the MTU are skipped. Returns how many, 0 if there is none to give now (poll
 * level-triggered: more may wait); negative errno (-EIO: the device is down or gone; -EOPNOTSUPP it
 * has virtio-net headers: use tap_read_super). */
MUST_CHECK int tap_read(struct tap *tap, unsigned queue, struct tap_frame *batch, size_t count);

/* The same for super-frames; works on every device. Those as long as their buffer are skipped, and
 * plain frames whose payload exceeds the MTU (the segments of super-frames are for the caller to
 * judge). */
MUST_CHECK int tap_read_super(struct tap *tap, unsigned queue, struct tap_super *batch,
                              size_t count);

/* Write a frame that lies in count (at most TAP_PIECES_MAX) pieces, of which the first holds the
 * Ethernet header; a super-frame if vnet says so. Returns as tap_write; -EINVAL the system refuses
 * this super-frame; -EOPNOTSUPP one for a device without TAP_OFFLOAD_VNET. */
int tap_write_super(struct tap *tap, unsigned queue, const struct vnet_header *vnet,
                    const struct offload_piece *pieces, size_t count);

/* What may be merged for the device: enum merge_kind bits (datapath/merge.h). */
unsigned tap_merge_kinds(const struct tap *tap);

/* Write a super-frame that the device refused as its segments. block: room for out->len bytes. */
void tap_write_segments(struct tap *tap, unsigned queue, const struct merge_output *out,
                        uint8_t *block, checksum_fn *checksum);

/* Write one whole frame. Returns 0; -EMSGSIZE payload above tap_longest (or no payload), nothing
 * written; -EAGAIN full; -EIO device is down; negative errno. */
int tap_write(struct tap *tap, unsigned queue, const uint8_t *frame, size_t len);

/* The same with the header made from its fields. */
int tap_write_parts(struct tap *tap, unsigned queue, uint64_t dest_mac, uint64_t source_mac,
                    uint16_t ethertype, const void *payload, size_t len);

/* Multicast MAC addresses the system listens to on the device (ADI 0; the groups that follow from
 * IP addresses are the engine's affair): writes up to cap, ascending, without repeats. Returns how
 * many were written; negative errno. */
MUST_CHECK ssize_t tap_multicast_macs(const struct tap *tap, uint64_t *out, size_t cap);

/* The same from the text of /proc/net/dev_mcast. Pure. */
size_t tap_multicast_parse(const char *text, size_t len, unsigned ifindex, uint64_t *out,
                           size_t cap);
