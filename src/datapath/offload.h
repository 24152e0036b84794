/* Super-frames: one large TCP or UDP frame that stands for many segments of equal size, described
 * by a virtio-net header. This file holds the header's codec and the split of what a TAP device
 * gives into single frames; datapath/merge.h is the way back. Pure, no allocation. Source: spec 09
 * sections 6.3, 6.6 and 10. */
#pragma once

#include "base/attr.h"
#include "datapath/checksum.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    VNET_HEADER_LEN = 10, /* without the count of buffers */
    VNET_NEEDS_CSUM = 0x01,
    VNET_GSO_NONE = 0,
    VNET_GSO_TCPV4 = 1,
    VNET_GSO_TCPV6 = 4,
    VNET_GSO_UDP_L4 = 5,
    VNET_GSO_ECN = 0x80, /* flag beside the TCP types */

    ETHERNET_LEN = 14,
    OFFLOAD_FRAME_MAX = 65600, /* longest super-frame, with Ethernet and tags */
    OFFLOAD_HEADERS_MAX = 192, /* Ethernet, tags, IP with extensions, TCP or UDP */
    OFFLOAD_HEADROOM = 64,     /* room to keep before a frame that is sealed in place */
};

/* The virtio-net header of a frame; on the device it is VNET_HEADER_LEN bytes, little-endian. */
struct vnet_header {
    uint8_t flags;        /* VNET_NEEDS_CSUM */
    uint8_t gso_type;     /* VNET_GSO_* */
    uint16_t hdr_len;     /* length of all headers; a hint, wrong in forwarded frames */
    uint16_t gso_size;    /* payload of each segment but the last */
    uint16_t csum_start;  /* from the first byte of the frame */
    uint16_t csum_offset; /* from csum_start */
};

/* A part of a frame that lies in several places. */
struct offload_piece {
    const uint8_t *data; /* borrowed */
    size_t len;
};

/* The header's bytes, as virtio has them (little-endian). */
void vnet_header_read(const uint8_t in[VNET_HEADER_LEN], struct vnet_header *ret);
void vnet_header_write(const struct vnet_header *h, uint8_t out[VNET_HEADER_LEN]);

/* A frame being split. It is done in place: the headers of a segment are written in front of its
 * payload, over what was there of the segment before. All members are offload.c's. */
struct offload_split {
    uint8_t *next;                       /* payload of the next segment */
    size_t left;                         /* bytes of payload left */
    unsigned count;                      /* frames this one stands for */
    unsigned index;                      /* of the next one */
    uint16_t header_len;                 /* all headers; 0: a plain frame */
    uint16_t l3;                         /* offset of the IP header */
    uint16_t l4;                         /* offset of the TCP or UDP header */
    uint16_t gso_size;                   /* payload of each segment but the last */
    uint16_t ip_id;                      /* of the first segment */
    uint32_t seq;                        /* of the first segment */
    uint32_t ip_sum;                     /* of the IPv4 header without length, ID and checksum */
    uint32_t l4_sum;                     /* of pseudo-header and L4 header without what varies */
    uint8_t protocol;                    /* TCP or UDP */
    uint8_t ip_version;                  /* 4 or 6 */
    uint8_t tcp_flags;                   /* of the super-frame */
    checksum_fn *checksum;               /* borrowed */
    uint8_t header[OFFLOAD_HEADERS_MAX]; /* of the super-frame */
};

/* One Ethernet frame. */
struct offload_frame {
    uint8_t *data; /* in the buffer of the super-frame; good until the next step */
    size_t len;
};

/* Begin with a frame and its virtio-net header. frame: len bytes that the split may change, used
 * until its end; a partial checksum is completed. The lengths come from the frame itself, the
 * header's are only compared. Returns the number of frames (1 for a plain one); -EBADMSG header and
 * frame contradict; -EMSGSIZE headers above OFFLOAD_HEADERS_MAX. */
MUST_CHECK int offload_split_begin(struct offload_split *s, const struct vnet_header *vnet,
                                   uint8_t *frame, size_t len, checksum_fn *checksum);

/* Length of the longest frame that will come (that of the first). */
size_t offload_split_frame_len(const struct offload_split *s);

/* The next frame: complete, with correct checksums, contiguous. What lies before it in the buffer
 * (the headroom and segments already taken) is the caller's to write to, until the next call.
 * Returns false at the end. */
bool offload_split_next(struct offload_split *s, struct offload_frame *ret);
