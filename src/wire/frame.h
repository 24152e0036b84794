/* Payloads that carry Ethernet frames and multicast groups. All views borrow the packet. The OK and
 * ERROR headers in front of replies are not part of these codecs.
 * Source: spec 03 sections 8 and 11. */
#pragma once

#include "base/attr.h"
#include "base/cursor.h"
#include "wire/com.h"
#include "wire/mac.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    FRAME_HEADER_LEN = 10,     /* FRAME before the frame payload */
    EXT_FRAME_HEADER_LEN = 23, /* EXT_FRAME without COM before the frame payload */
    FRAME_PAYLOAD_MAX = 10000, /* longest Ethernet payload in a MULTICAST_FRAME */

    EXT_FRAME_COM = 0x01, /* legacy: COM attached */
    EXT_FRAME_TEE_OUT = 0x02,
    EXT_FRAME_REDIRECT_OUT = 0x04,
    EXT_FRAME_WATCH_OUT = 0x16, /* with EXT_FRAME_ACK */
    EXT_FRAME_TEE_IN = 0x08,
    EXT_FRAME_REDIRECT_IN = 0x0a,
    EXT_FRAME_WATCH_IN = 0x1c, /* with EXT_FRAME_ACK */
    EXT_FRAME_ACK = 0x10,      /* acknowledgement wanted */

    MULTICAST_COM = 0x01, /* legacy: COM attached (also GATHER and OK(MULTICAST_FRAME)) */
    MULTICAST_GATHER_LIMIT =
        0x02, /* gather limit present; in OK(MULTICAST_FRAME): results follow */
    MULTICAST_SOURCE_MAC = 0x04,
    MULTICAST_REPLICATE = 0x08,

    MULTICAST_LIKE_LEN = 18,
    MULTICAST_LIKES_MAX = 537, /* records our senders put into one packet */
};

/* A multicast group of a network. */
struct multicast_group {
    uint64_t mac;
    uint32_t adi; /* 0, or the IPv4 address of an ARP group */
};

/* FRAME, and the part of the others that is an Ethernet frame. */
struct frame {
    uint64_t network_id;
    const uint8_t *payload; /* without the 14 bytes of Ethernet header */
    size_t len;
    uint16_t ethertype;
};

/* Returns 0; -EBADMSG shorter than its header. */
MUST_CHECK int frame_read(struct rd r, struct frame *ret);

/* Write the header only / header and payload. */
void frame_write_header(struct wr *w, uint64_t network_id, uint16_t ethertype);
void frame_write(struct wr *w, const struct frame *frame);

struct ext_frame {
    uint64_t network_id;
    uint64_t dest_mac;
    uint64_t source_mac;
    const uint8_t *payload;
    size_t len;
    struct com *com; /* points to the caller's buffer if one was attached, else NULL */
    uint16_t ethertype;
    uint8_t flags;  /* EXT_FRAME_* */
    bool has_frame; /* false: packet payload of 9 to 23 bytes, the frame fields are 0 */
};

/* Read EXT_FRAME. com_buf: where an attached COM goes; NULL: such packets are not wanted here and
 * give -EPROTO. Returns 0; -EBADMSG; -EPROTO. */
MUST_CHECK int ext_frame_read(struct rd r, struct com *com_buf, struct ext_frame *ret);

/* Write EXT_FRAME with its payload; COM if com is set (sets that flag too). */
void ext_frame_write(struct wr *w, const struct ext_frame *frame);

/* Payload of OK: in-re verb EXT_FRAME, packet ID, network ID. */
void ext_frame_ack_write(struct wr *w, uint64_t in_re_packet_id, uint64_t network_id);

struct multicast_like {
    uint64_t network_id;
    struct multicast_group group;
};

/* Next record of MULTICAST_LIKE. Returns 1; 0 at the end; -EBADMSG partial record. */
MUST_CHECK int multicast_like_next(struct rd *r, struct multicast_like *ret);
void multicast_like_write(struct wr *w, const struct multicast_like *like);

struct multicast_gather {
    uint64_t network_id;
    struct multicast_group group;
    uint32_t limit;
    uint8_t flags;   /* MULTICAST_COM */
    struct com *com; /* points to the caller's buffer, NULL if none or damaged */
};

/* Read MULTICAST_GATHER; com_buf may be NULL (COM ignored). A damaged COM is ignored.
 * Returns 0; -EBADMSG. */
MUST_CHECK int multicast_gather_read(struct rd r, struct com *com_buf,
                                     struct multicast_gather *ret);
void multicast_gather_write(struct wr *w, const struct multicast_gather *gather);

/* Results of a gather: what follows the header of OK(MULTICAST_GATHER) or OK(MULTICAST_FRAME). */
struct gather_result {
    uint64_t network_id;
    struct multicast_group group;
    uint32_t total;           /* members known to the answerer */
    uint16_t count;           /* addresses, 5 bytes each, all present */
    const uint8_t *addresses; /* read with be40_get */
    struct com *com;          /* OK(MULTICAST_FRAME), legacy: the caller's buffer, else NULL */
    bool has_result;          /* OK(MULTICAST_FRAME): false = only group (and COM) */
};

/* Returns 0; -EBADMSG (also if count addresses do not fit). com_buf may be NULL: a packet with
 * a COM then gives -EPROTO. */
MUST_CHECK int gather_ok_read(struct rd r, struct gather_result *ret);
MUST_CHECK int multicast_frame_ok_read(struct rd r, struct com *com_buf, struct gather_result *ret);

/* Write network ID, group (and flags 0x02 for the second) and total; then call
 * gather_result_count with the returned mark after the addresses were appended (wr_u40 each). */
size_t gather_ok_write(struct wr *w, uint64_t network_id, const struct multicast_group *group,
                       uint32_t total);
size_t multicast_frame_ok_write(struct wr *w, uint64_t network_id,
                                const struct multicast_group *group, uint32_t total);
void gather_result_count(struct wr *w, size_t mark, uint16_t count);

struct multicast_frame {
    uint64_t network_id;
    uint64_t source_mac;          /* 0 without MULTICAST_SOURCE_MAC */
    struct multicast_group group; /* destination MAC and ADI */
    const uint8_t *payload;
    size_t len;
    struct com *com;       /* the caller's buffer if attached, else NULL */
    uint32_t gather_limit; /* 0 without MULTICAST_GATHER_LIMIT */
    uint16_t ethertype;
    uint8_t flags; /* MULTICAST_* */
};

/* Read MULTICAST_FRAME. com_buf as in ext_frame_read. Returns 0; -EBADMSG; -EPROTO. */
MUST_CHECK int multicast_frame_read(struct rd r, struct com *com_buf, struct multicast_frame *ret);

/* Write MULTICAST_FRAME: the optional parts follow flags; COM only if com is set. */
void multicast_frame_write(struct wr *w, const struct multicast_frame *frame);
