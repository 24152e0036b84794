/* Frames for tests of splitting and merging, made field by field and with a checksum loop of their
 * own, so that nothing under test takes part. */
#pragma once

#include "datapath/offload.h"
#include "vectors.h"

/* A flow and what its frames share. */
struct flow {
    uint64_t dest_mac;
    uint64_t source_mac;
    unsigned tags; /* VLAN tags, 0..2 */
    bool is_v6;
    bool is_udp;
    bool df;              /* IPv4 */
    unsigned ip_options;  /* IPv4: bytes, a multiple of 4; IPv6: bytes of extensions, of 8 */
    unsigned tcp_options; /* bytes, a multiple of 4 */
    uint8_t tos;
    uint8_t ttl;
    uint32_t label; /* IPv6 flow label */
    uint8_t source[16];
    uint8_t dest[16];
    uint16_t source_port;
    uint16_t dest_port;
    uint32_t ack;
    uint16_t window;
    uint8_t fill; /* of options */
};

/* What differs between frames of a flow. */
struct frame_fields {
    uint32_t seq;
    uint16_t id;
    uint8_t flags; /* TCP */
    const uint8_t *payload;
    size_t len;
};

enum { TEST_FRAME_MAX = 70000 };

/* A random flow. plain: without options, extensions and tags beyond one. */
struct flow flow_random(struct test_rng *rng, bool plain);

/* Bytes of all headers. */
size_t flow_header_len(const struct flow *f);

/* Offset of the IP and the TCP or UDP header. */
size_t flow_l3(const struct flow *f);
size_t flow_l4(const struct flow *f);

/* Write a whole frame with correct checksums; returns its length. */
size_t flow_frame(const struct flow *f, const struct frame_fields *v, uint8_t *out);

/* A TCP frame whose options (4 bytes at least) are an MSS option after `before` bytes of NOP.
 * is_partial: its checksum is of the pseudo-header only. Returns its length. */
size_t flow_syn(const struct flow *f, const struct frame_fields *v, unsigned before, uint16_t mss,
                bool is_partial, uint8_t *out);

/* The same as a super-frame as the kernel gives it: partial checksum, virtio-net header. */
size_t flow_super(const struct flow *f, const struct frame_fields *v, uint16_t gso_size,
                  uint8_t *out, struct vnet_header *vnet);

/* The fields of segment i of a super-frame with these fields. */
struct frame_fields flow_segment(const struct frame_fields *v, uint16_t gso_size, unsigned i);

/* Checksum, word by word; not complemented. */
uint16_t naive_sum(const uint8_t *data, size_t len, uint32_t start);
