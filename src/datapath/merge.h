/* Merging received frames of one flow into super-frames for a TAP device. A super-frame is a list
 * of pieces: headers of its own, then the payloads where they lie, so that nothing is copied.
 * Within a flow the order of frames is kept in every case; cutting a super-frame gives the very
 * frames it was made of (of IPv4 frames that must not be fragmented the ID, which then means
 * nothing, is renumbered). Pure, no allocation. Source: spec 09 sections 6.5 and 6.6. */
#pragma once

#include "datapath/offload.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    MERGE_BUILDERS = 8,      /* flows merged at the same time */
    MERGE_SEGMENTS_MAX = 64, /* frames in a super-frame */
    MERGE_PIECES_MAX = MERGE_SEGMENTS_MAX + 1,
    MERGE_FRAME_MAX = 65535, /* bytes of a super-frame */
    MERGE_HEADERS_MAX = 144, /* Ethernet, one tag, IP, TCP */
};

/* What may be merged; bits. */
enum merge_kind {
    MERGE_TCP4 = 0x01,
    MERGE_TCP6 = 0x02,
    MERGE_UDP = 0x04, /* only for devices with TAP_OFFLOAD_USO */
    MERGE_ALL = 0x07,
};

/* A received frame, authenticated and permitted. */
struct merge_input {
    uint64_t dest_mac;
    uint64_t source_mac;
    const uint8_t *payload; /* behind the Ethernet header; borrowed until the next flush */
    size_t len;
    uint64_t port;  /* number of the device, the caller's */
    unsigned kinds; /* enum merge_kind bits: what may be merged for this device */
    uint16_t ethertype;
};

/* A frame or super-frame to be written. */
struct merge_output {
    uint64_t port;                      /* as given */
    unsigned frames;                    /* it stands for */
    uint32_t hash;                      /* the same for all frames of a flow */
    struct vnet_header vnet;            /* zero for a single frame */
    const struct offload_piece *pieces; /* the first begins with the Ethernet header */
    size_t count;                       /* of pieces, at most MERGE_PIECES_MAX */
    size_t len;                         /* of all pieces */
};

/* Takes one output; it is borrowed for the call. */
typedef void (*merge_emit_fn)(void *ctx, const struct merge_output *out);

/* A super-frame being built. */
struct merge_builder {
    unsigned frames; /* 0: free */
    uint64_t port;
    uint32_t hash;     /* of the flow */
    uint32_t next_seq; /* TCP */
    uint16_t next_id;  /* IPv4 */
    uint16_t l3;       /* offset of the IP header in header[] */
    uint16_t l4;       /* of the TCP or UDP header */
    uint16_t header_len;
    uint16_t gso_size; /* payload of the first frame */
    bool is_checked;   /* the checksums of the first frame are right */
    uint8_t protocol;  /* TCP or UDP */
    uint8_t tcp_flags; /* of the last frame */
    size_t len;        /* of the whole super-frame */
    uint64_t used;     /* number of the last append, to find the oldest */
    struct offload_piece pieces[MERGE_PIECES_MAX];
    uint8_t header[MERGE_HEADERS_MAX];
};

/* One for a worker. All members are merge.c's. */
struct merger {
    checksum_fn *checksum;
    merge_emit_fn emit;
    void *emit_ctx;
    uint64_t uses;
    unsigned open; /* builders in use */
    struct merge_builder builders[MERGE_BUILDERS];
};

/* checksum, emit_ctx: borrowed until the end. */
void merger_init(struct merger *m, checksum_fn *checksum, merge_emit_fn emit, void *emit_ctx);

/* Take a frame; it, and others before it, may come out at once. */
void merger_add(struct merger *m, const struct merge_input *in);

/* Let everything out: at the end of a batch, before the thread waits (D-17). */
void merger_flush(struct merger *m);

/* True if nothing is held back. */
bool merger_is_empty(const struct merger *m);

/* Copy an output into one block of out->len bytes, to split it again where the device refuses it.
 */
void merge_output_copy(const struct merge_output *out, uint8_t *block);
