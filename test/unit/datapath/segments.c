/* Frames for tests of splitting and merging. */
#include "segments.h"

#include "base/cursor.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

uint16_t naive_sum(const uint8_t *data, size_t len, uint32_t start)
{
    uint32_t sum = start;

    for (size_t i = 0; i < len; i++) {
        sum += (uint32_t)data[i] << (i % 2 == 0 ? 8 : 0);
        sum = (sum & 0xffff) + (sum >> 16);
    }
    return (uint16_t)sum;
}

struct flow flow_random(struct test_rng *rng, bool plain)
{
    struct flow f = {
        .dest_mac = 0x02aabbccdd00 + test_rng_below(rng, 256),
        .source_mac = 0x02aabbccee00 + test_rng_below(rng, 256),
        .tags = (unsigned)test_rng_below(rng, plain ? 2 : 3),
        .is_v6 = test_rng_below(rng, 2) == 1,
        .is_udp = test_rng_below(rng, 3) == 0,
        .df = test_rng_below(rng, 2) == 1,
        .tcp_options = (unsigned)test_rng_below(rng, 11) * 4,
        .tos = (uint8_t)test_rng_u64(rng),
        .ttl = (uint8_t)(1 + test_rng_below(rng, 255)),
        .label = (uint32_t)test_rng_below(rng, 1 << 20),
        .source_port = (uint16_t)test_rng_u64(rng),
        .dest_port = (uint16_t)test_rng_u64(rng),
        .ack = (uint32_t)test_rng_u64(rng),
        .window = (uint16_t)test_rng_u64(rng),
        .fill = (uint8_t)test_rng_u64(rng),
    };

    if (!plain) {
        f.ip_options = (unsigned)test_rng_below(rng, f.is_v6 ? 4 : 11) * (f.is_v6 ? 8 : 4);
    }
    test_rng_fill(rng, f.source, sizeof(f.source));
    test_rng_fill(rng, f.dest, sizeof(f.dest));
    return f;
}

size_t flow_l3(const struct flow *f)
{
    return ETHERNET_LEN + 4 * (size_t)f->tags;
}

size_t flow_l4(const struct flow *f)
{
    return flow_l3(f) + (f->is_v6 ? 40 : 20) + f->ip_options;
}

size_t flow_header_len(const struct flow *f)
{
    return flow_l4(f) + (f->is_udp ? 8 : 20 + f->tcp_options);
}

static void write_ip(const struct flow *f, const struct frame_fields *v, struct wr *w)
{
    size_t at = wr_len(w);
    size_t upper = flow_header_len(f) - flow_l4(f) + v->len;
    uint8_t protocol = f->is_udp ? 17 : 6;

    if (f->is_v6) {
        wr_u32(w, 6u << 28 | (uint32_t)f->tos << 20 | f->label);
        wr_u16(w, (uint16_t)(f->ip_options + upper));
        wr_u8(w, f->ip_options > 0 ? 60 : protocol);
        wr_u8(w, f->ttl);
        wr_bytes(w, f->source, 16);
        wr_bytes(w, f->dest, 16);
        if (f->ip_options > 0) {
            wr_u8(w, protocol);
            wr_u8(w, (uint8_t)(f->ip_options / 8 - 1));
            wr_u16(w, (uint16_t)(1 << 8 | (f->ip_options - 4))); /* PadN */
            wr_zero(w, f->ip_options - 4);
        }
        return;
    }
    wr_u8(w, (uint8_t)(0x45 + f->ip_options / 4));
    wr_u8(w, f->tos);
    wr_u16(w, (uint16_t)(20 + f->ip_options + upper));
    wr_u16(w, v->id);
    wr_u16(w, f->df ? 0x4000 : 0);
    wr_u8(w, f->ttl);
    wr_u8(w, protocol);
    wr_u16(w, 0);
    wr_bytes(w, f->source, 4);
    wr_bytes(w, f->dest, 4);
    for (unsigned i = 0; i < f->ip_options; i++) {
        wr_u8(w, 1); /* no operation */
    }
    be16_put(w->start + at + 10, (uint16_t)~naive_sum(w->start + at, 20 + f->ip_options, 0));
}

/* Sum of the pseudo-header. */
static uint16_t pseudo(const struct flow *f, size_t upper)
{
    size_t n = f->is_v6 ? 16 : 4;
    uint32_t sum = naive_sum(f->source, n, naive_sum(f->dest, n, 0));

    return naive_sum(NULL, 0, 0) +
           naive_sum((const uint8_t[]){0, f->is_udp ? 17 : 6}, 2,
                     sum + (uint32_t)(upper & 0xffff) + (uint32_t)(upper >> 16));
}

/* Everything but the checksum of TCP or UDP, whose offset it returns. */
static size_t write_frame(const struct flow *f, const struct frame_fields *v, struct wr *w)
{
    size_t upper = flow_header_len(f) - flow_l4(f) + v->len;

    wr_u16(w, (uint16_t)(f->dest_mac >> 32));
    wr_u32(w, (uint32_t)f->dest_mac);
    wr_u16(w, (uint16_t)(f->source_mac >> 32));
    wr_u32(w, (uint32_t)f->source_mac);
    for (unsigned i = 0; i < f->tags; i++) {
        wr_u16(w, i == 0 && f->tags == 2 ? 0x88a8 : 0x8100);
        wr_u16(w, (uint16_t)(100 + i));
    }
    wr_u16(w, f->is_v6 ? 0x86dd : 0x0800);
    write_ip(f, v, w);
    wr_u16(w, f->source_port);
    wr_u16(w, f->dest_port);
    if (f->is_udp) {
        wr_u16(w, (uint16_t)upper);
        wr_u16(w, 0);
    } else {
        wr_u32(w, v->seq);
        wr_u32(w, f->ack);
        wr_u8(w, (uint8_t)((5 + f->tcp_options / 4) << 4));
        wr_u8(w, v->flags);
        wr_u16(w, f->window);
        wr_u32(w, 0);
        for (unsigned i = 0; i < f->tcp_options; i++) {
            wr_u8(w, f->fill);
        }
    }
    wr_bytes(w, v->payload, v->len);
    assert_false(w->bad);
    return flow_l4(f) + (f->is_udp ? 6 : 16);
}

size_t flow_frame(const struct flow *f, const struct frame_fields *v, uint8_t *out)
{
    struct wr w = wr_init(out, TEST_FRAME_MAX);
    size_t at = write_frame(f, v, &w);
    size_t upper = wr_len(&w) - flow_l4(f);
    uint16_t sum = (uint16_t)~naive_sum(out + flow_l4(f), upper, pseudo(f, upper));

    be16_put(out + at, sum == 0 && f->is_udp ? 0xffff : sum);
    return wr_len(&w);
}

size_t flow_syn(const struct flow *f, const struct frame_fields *v, unsigned before, uint16_t mss,
                bool is_partial, uint8_t *out)
{
    struct flow own = *f;
    struct wr w = wr_init(out, TEST_FRAME_MAX);
    uint8_t *tcp = out + flow_l4(f);
    size_t upper;
    uint16_t start;

    assert_true(before + 4 <= f->tcp_options && !f->is_udp);
    own.fill = 1;
    (void)write_frame(&own, v, &w);
    tcp[20 + before] = 2;
    tcp[21 + before] = 4;
    be16_put(tcp + 22 + before, mss);
    upper = wr_len(&w) - flow_l4(f);
    start = pseudo(f, upper);
    be16_put(tcp + 16, is_partial ? start : (uint16_t)~naive_sum(tcp, upper, start));
    return wr_len(&w);
}

size_t flow_super(const struct flow *f, const struct frame_fields *v, uint16_t gso_size,
                  uint8_t *out, struct vnet_header *vnet)
{
    struct wr w = wr_init(out, TEST_FRAME_MAX);
    size_t at = write_frame(f, v, &w);
    uint8_t tcp = f->is_v6 ? VNET_GSO_TCPV6 : VNET_GSO_TCPV4;

    be16_put(out + at, pseudo(f, wr_len(&w) - flow_l4(f)));
    *vnet = (struct vnet_header){
        .flags = VNET_NEEDS_CSUM,
        .gso_type = f->is_udp ? VNET_GSO_UDP_L4 : tcp,
        .hdr_len = (uint16_t)flow_header_len(f),
        .gso_size = gso_size,
        .csum_start = (uint16_t)flow_l4(f),
        .csum_offset = f->is_udp ? 6 : 16,
    };
    if (!f->is_udp && (v->flags & 0x80) != 0) {
        vnet->gso_type |= VNET_GSO_ECN;
    }
    return wr_len(&w);
}

struct frame_fields flow_segment(const struct frame_fields *v, uint16_t gso_size, unsigned i)
{
    size_t at = (size_t)i * gso_size;
    size_t left = v->len - at;
    struct frame_fields s = {
        .seq = v->seq + (uint32_t)at,
        .id = (uint16_t)(v->id + i),
        .flags = v->flags,
        .payload = v->payload + at,
        .len = left < gso_size ? left : gso_size,
    };

    if (s.len < left) {
        s.flags &= (uint8_t)~0x09;
    }
    if (i > 0) {
        s.flags &= (uint8_t)~0x80;
    }
    return s;
}
