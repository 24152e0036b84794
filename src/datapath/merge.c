/* Merging frames into super-frames. A frame is looked at once: whether it belongs to a TCP or UDP
 * flow that can be told, and whether it may be part of a super-frame at all. Only what stands in
 * the way of a flow's order is let out early. Checksums are looked at when two frames are really to
 * be merged: that would mend wrong ones. Source: spec 09 section 6.6, D-14 to D-17. */
#include "datapath/merge.h"

#include "base/cursor.h"
#include "datapath/headers.h"

#include <string.h>

enum {
    ADDRESSES_AND_PORTS_V4 = 12, /* bytes, one after the other */
    ADDRESSES_AND_PORTS_V6 = 36,
    MERGE_FLAGS = TCP_ACK | TCP_PSH, /* no other may be set */
    IPV6_FRAGMENT = 44,
};

/* What a frame is to the flows being merged. */
enum relation {
    RELATION_NONE,    /* of no TCP or UDP flow */
    RELATION_UNCLEAR, /* maybe of one, which one is hard to tell */
    RELATION_FLOW,
};

/* A frame looked at. */
struct look {
    const struct merge_input *in;
    uint8_t ethernet[ETHERNET_LEN];
    size_t l3; /* offsets in in->payload */
    size_t l4;
    size_t header_len;
    size_t data_len; /* behind the headers */
    size_t flow_at;  /* addresses and ports: offset and length */
    size_t flow_len;
    uint32_t hash;
    uint8_t protocol;
    uint8_t tcp_flags;
    bool is_v6;
    bool is_mergeable;
};

void merger_init(struct merger *m, checksum_fn *checksum, merge_emit_fn emit, void *emit_ctx)
{
    m->checksum = checksum;
    m->emit = emit;
    m->emit_ctx = emit_ctx;
    m->uses = 0;
    m->open = 0;
    for (size_t i = 0; i < MERGE_BUILDERS; i++) {
        m->builders[i].frames = 0;
    }
}

static void write_ethernet(const struct merge_input *in, uint8_t out[ETHERNET_LEN])
{
    be16_put(out, (uint16_t)(in->dest_mac >> 32));
    be32_put(out + 2, (uint32_t)in->dest_mac);
    be16_put(out + 6, (uint16_t)(in->source_mac >> 32));
    be32_put(out + 8, (uint32_t)in->source_mac);
    be16_put(out + 12, in->ethertype);
}

/* Hash of addresses and ports; not unique. */
static uint32_t flow_hash(const uint8_t *p, size_t len, uint64_t port)
{
    uint64_t h = port + 0x9e3779b97f4a7c15;

    for (size_t i = 0; i < len; i += 4) {
        h = (h ^ be32_get(p + i)) * 0xff51afd7ed558ccd;
        h ^= h >> 32;
    }
    return (uint32_t)h;
}

/* Look at an IPv4 header. ret_end: where the packet ends by its own word. */
static enum relation look_v4(struct look *l, size_t *ret_end)
{
    const uint8_t *ip = l->in->payload + l->l3;

    if (l->in->len < l->l3 + IPV4_LEN || ip[0] >> 4 != 4) {
        return RELATION_UNCLEAR;
    }
    l->protocol = ip[IPV4_AT_PROTOCOL];
    if (l->protocol != IP_TCP && l->protocol != IP_UDP) {
        return RELATION_NONE;
    }
    if (ip[0] != 0x45 || (be16_get(ip + IPV4_AT_FRAGMENT) & IPV4_FRAGMENT_MASK) != 0) {
        return RELATION_UNCLEAR;
    }
    l->l4 = l->l3 + IPV4_LEN;
    l->flow_at = l->l3 + IPV4_AT_ADDRESSES;
    l->flow_len = ADDRESSES_AND_PORTS_V4;
    *ret_end = l->l3 + be16_get(ip + IPV4_AT_LENGTH);
    return RELATION_FLOW;
}

static enum relation look_v6(struct look *l, size_t *ret_end)
{
    const uint8_t *ip = l->in->payload + l->l3;

    if (l->in->len < l->l3 + IPV6_LEN || ip[0] >> 4 != 6) {
        return RELATION_UNCLEAR;
    }
    l->is_v6 = true;
    l->protocol = ip[IPV6_AT_NEXT];
    if (l->protocol == IPV6_HOP_BY_HOP || l->protocol == IPV6_ROUTING ||
        l->protocol == IPV6_DESTINATION || l->protocol == IPV6_FRAGMENT) {
        return RELATION_UNCLEAR;
    }
    if (l->protocol != IP_TCP && l->protocol != IP_UDP) {
        return RELATION_NONE;
    }
    l->l4 = l->l3 + IPV6_LEN;
    l->flow_at = l->l3 + IPV6_AT_ADDRESSES;
    l->flow_len = ADDRESSES_AND_PORTS_V6;
    *ret_end = l->l4 + be16_get(ip + IPV6_AT_LENGTH);
    return RELATION_FLOW;
}

/* Whether it may be merged with others of its flow, by its TCP header. */
static bool look_tcp(struct look *l)
{
    const uint8_t *tcp = l->in->payload + l->l4;
    size_t left = l->in->len - l->l4;
    size_t header = left >= TCP_LEN ? (size_t)(tcp[TCP_AT_OFFSET] >> 4) * 4 : 0;

    if (header < TCP_LEN || header >= left) {
        return false; /* also: no payload */
    }
    l->header_len = l->l4 + header;
    l->data_len = left - header;
    l->tcp_flags = tcp[TCP_AT_FLAGS];
    return (l->tcp_flags & TCP_ACK) != 0 && (l->tcp_flags & ~MERGE_FLAGS) == 0 &&
           (l->in->kinds & (l->is_v6 ? MERGE_TCP6 : MERGE_TCP4)) != 0;
}

static bool look_udp(struct look *l)
{
    const uint8_t *udp = l->in->payload + l->l4;
    const uint8_t *ip = l->in->payload + l->l3;
    size_t left = l->in->len - l->l4;

    if (left <= UDP_LEN || be16_get(udp + UDP_AT_LENGTH) != left ||
        be16_get(udp + UDP_AT_CHECKSUM) == 0) {
        return false;
    }
    l->header_len = l->l4 + UDP_LEN;
    l->data_len = left - UDP_LEN;
    return (l->is_v6 || (be16_get(ip + IPV4_AT_FRAGMENT) & IPV4_DF) != 0) &&
           (l->in->kinds & MERGE_UDP) != 0;
}

static enum relation look_at(struct look *l, const struct merge_input *in)
{
    enum relation relation;
    uint16_t type = in->ethertype;
    size_t end;

    l->in = in;
    l->l3 = 0;
    l->is_v6 = false;
    l->is_mergeable = false;
    l->tcp_flags = 0;
    l->hash = (uint32_t)((in->dest_mac ^ in->source_mac) * UINT64_C(0x9e3779b97f4a7c15) >> 32);
    write_ethernet(in, l->ethernet);
    if (type == ETHERTYPE_VLAN) {
        if (in->len < VLAN_TAG_LEN) {
            return RELATION_UNCLEAR;
        }
        type = be16_get(in->payload + 2);
        l->l3 = VLAN_TAG_LEN;
    }
    if (type == ETHERTYPE_IPV4) {
        relation = look_v4(l, &end);
    } else if (type == ETHERTYPE_IPV6) {
        relation = look_v6(l, &end);
    } else {
        /* a second tag may hide a flow, but not one that is merged */
        return RELATION_NONE;
    }
    if (relation != RELATION_FLOW) {
        return relation;
    }
    if (end > in->len || in->len < l->flow_at + l->flow_len) {
        return RELATION_UNCLEAR;
    }
    l->hash = flow_hash(in->payload + l->flow_at, l->flow_len, in->port);
    l->is_mergeable = end == in->len && (l->protocol == IP_TCP ? look_tcp(l) : look_udp(l));
    return RELATION_FLOW;
}

/* True if the checksums of IP and TCP or UDP are right. */
static bool is_intact(const struct merger *m, const uint8_t *ip, bool is_v6, uint8_t protocol,
                      const uint8_t *l4, size_t l4_len, const struct offload_piece *rest)
{
    uint32_t sum = checksum_pseudo(ip, protocol, l4_len) + m->checksum(l4, l4_len - rest->len);

    if (!is_v6 && checksum_fold(checksum_portable(ip, IPV4_LEN)) != 0xffff) {
        return false;
    }
    return checksum_fold((uint64_t)sum + m->checksum(rest->data, rest->len)) == 0xffff;
}

static bool is_look_intact(const struct merger *m, const struct look *l)
{
    static const struct offload_piece nothing;
    const uint8_t *p = l->in->payload;

    return is_intact(m, p + l->l3, l->is_v6, l->protocol, p + l->l4, l->in->len - l->l4, &nothing);
}

/* The same of the first frame of a builder, once. */
static bool is_first_intact(const struct merger *m, struct merge_builder *b, bool is_v6)
{
    if (!b->is_checked) {
        b->is_checked = is_intact(m, b->header + b->l3, is_v6, b->protocol, b->header + b->l4,
                                  b->len - b->l4, &b->pieces[1]);
    }
    return b->is_checked;
}

static void emit_single(struct merger *m, const struct look *l)
{
    const struct offload_piece pieces[2] = {
        {.data = l->ethernet, .len = ETHERNET_LEN},
        {.data = l->in->payload, .len = l->in->len},
    };
    const struct merge_output out = {
        .port = l->in->port,
        .frames = 1,
        .hash = l->hash,
        .pieces = pieces,
        .count = 2,
        .len = ETHERNET_LEN + l->in->len,
    };

    m->emit(m->emit_ctx, &out);
}

/* Make the headers those of a super-frame. */
static void finish_headers(struct merge_builder *b, struct vnet_header *ret)
{
    uint8_t *ip = b->header + b->l3;
    uint8_t *l4 = b->header + b->l4;
    size_t l4_len = b->len - b->l4;
    bool is_v6 = ip[0] >> 4 == 6;
    uint16_t partial = checksum_fold(checksum_pseudo(ip, b->protocol, l4_len));

    *ret = (struct vnet_header){
        .flags = VNET_NEEDS_CSUM,
        .hdr_len = b->header_len,
        .gso_size = b->gso_size,
        .csum_start = b->l4,
    };
    if (is_v6) {
        be16_put(ip + IPV6_AT_LENGTH, (uint16_t)l4_len);
    } else {
        be16_put(ip + IPV4_AT_LENGTH, (uint16_t)(b->len - b->l3));
        be16_put(ip + IPV4_AT_CHECKSUM, 0);
        be16_put(ip + IPV4_AT_CHECKSUM, (uint16_t)~checksum_portable(ip, IPV4_LEN));
    }
    if (b->protocol == IP_TCP) {
        ret->gso_type = is_v6 ? VNET_GSO_TCPV6 : VNET_GSO_TCPV4;
        ret->csum_offset = TCP_AT_CHECKSUM;
        l4[TCP_AT_FLAGS] = b->tcp_flags;
        be16_put(l4 + TCP_AT_CHECKSUM, partial);
    } else {
        ret->gso_type = VNET_GSO_UDP_L4;
        ret->csum_offset = UDP_AT_CHECKSUM;
        be16_put(l4 + UDP_AT_LENGTH, (uint16_t)l4_len);
        be16_put(l4 + UDP_AT_CHECKSUM, partial);
    }
}

/* Let a builder out. */
static void finish(struct merger *m, struct merge_builder *b)
{
    struct merge_output out = {
        .port = b->port,
        .frames = b->frames,
        .hash = b->hash,
        .pieces = b->pieces,
        .count = (size_t)b->frames + 1,
        .len = b->len,
    };

    if (b->frames > 1) {
        finish_headers(b, &out.vnet);
    }
    m->emit(m->emit_ctx, &out);
    b->frames = 0;
    m->open--;
}

static bool is_same_flow(const struct merge_builder *b, const struct look *l)
{
    const uint8_t *p = l->in->payload;

    return b->frames > 0 && b->hash == l->hash && b->port == l->in->port &&
           b->protocol == l->protocol && b->l3 == ETHERNET_LEN + l->l3 &&
           memcmp(b->header, l->ethernet, ETHERNET_LEN) == 0 &&
           memcmp(b->header + ETHERNET_LEN, p, l->l3) == 0 &&
           memcmp(b->header + ETHERNET_LEN + l->flow_at, p + l->flow_at, l->flow_len) == 0;
}

static struct merge_builder *find_builder(struct merger *m, const struct look *l)
{
    if (m->open == 0) {
        return NULL;
    }
    for (size_t i = 0; i < MERGE_BUILDERS; i++) {
        if (is_same_flow(&m->builders[i], l)) {
            return &m->builders[i];
        }
    }
    return NULL;
}

/* True if the IP headers differ in nothing but length, ID and checksum. */
static bool is_ip_alike(const struct merge_builder *b, const struct look *l)
{
    const uint8_t *ours = b->header + b->l3;
    const uint8_t *ip = l->in->payload + l->l3;

    if (l->is_v6) {
        return memcmp(ours, ip, IPV6_AT_LENGTH) == 0 &&
               memcmp(ours + IPV6_AT_NEXT, ip + IPV6_AT_NEXT, 2) == 0;
    }
    return ours[IPV4_AT_TOS] == ip[IPV4_AT_TOS] && ours[IPV4_AT_TTL] == ip[IPV4_AT_TTL] &&
           memcmp(ours + IPV4_AT_FRAGMENT, ip + IPV4_AT_FRAGMENT, 2) == 0 &&
           ((be16_get(ip + IPV4_AT_FRAGMENT) & IPV4_DF) != 0 ||
            be16_get(ip + IPV4_AT_ID) == b->next_id);
}

/* True if the TCP header is the builder's but for flags and checksum, and follows it. */
static bool is_tcp_alike(const struct merge_builder *b, const struct look *l)
{
    const uint8_t *ours = b->header + b->l4;
    const uint8_t *tcp = l->in->payload + l->l4;
    size_t options_at = TCP_AT_CHECKSUM + 2; /* and the urgent pointer */

    return be32_get(tcp + TCP_AT_SEQ) == b->next_seq &&
           memcmp(ours + TCP_AT_ACK, tcp + TCP_AT_ACK, TCP_AT_FLAGS - TCP_AT_ACK) == 0 &&
           memcmp(ours + TCP_AT_WINDOW, tcp + TCP_AT_WINDOW, 2) == 0 &&
           memcmp(ours + options_at, tcp + options_at, l->header_len - l->l4 - options_at) == 0;
}

static bool can_append(const struct merge_builder *b, const struct look *l)
{
    return l->is_mergeable && b->header_len == ETHERNET_LEN + l->header_len &&
           l->data_len <= b->gso_size && b->len + l->data_len <= MERGE_FRAME_MAX &&
           is_ip_alike(b, l) && (l->protocol == IP_UDP || is_tcp_alike(b, l));
}

static void append(struct merger *m, struct merge_builder *b, const struct look *l)
{
    b->pieces[b->frames + 1] =
        (struct offload_piece){.data = l->in->payload + l->header_len, .len = l->data_len};
    b->frames++;
    b->len += l->data_len;
    b->next_seq += (uint32_t)l->data_len;
    b->next_id++;
    b->tcp_flags = l->tcp_flags;
    b->used = m->uses++;
    if (l->data_len < b->gso_size || (l->tcp_flags & TCP_PSH) != 0 ||
        b->frames == MERGE_SEGMENTS_MAX) {
        finish(m, b);
    }
}

/* A free builder; the one longest unused is let out for it. */
static struct merge_builder *take_builder(struct merger *m)
{
    struct merge_builder *oldest = &m->builders[0];

    for (size_t i = 0; i < MERGE_BUILDERS; i++) {
        struct merge_builder *b = &m->builders[i];

        if (b->frames == 0) {
            return b;
        }
        if (b->used < oldest->used) {
            oldest = b;
        }
    }
    finish(m, oldest);
    return oldest;
}

static void start(struct merger *m, const struct look *l)
{
    struct merge_builder *b = take_builder(m);
    const uint8_t *p = l->in->payload;

    m->open++;
    b->frames = 1;
    b->port = l->in->port;
    b->hash = l->hash;
    b->protocol = l->protocol;
    b->l3 = (uint16_t)(ETHERNET_LEN + l->l3);
    b->l4 = (uint16_t)(ETHERNET_LEN + l->l4);
    b->header_len = (uint16_t)(ETHERNET_LEN + l->header_len);
    b->gso_size = (uint16_t)l->data_len;
    b->len = ETHERNET_LEN + l->in->len;
    b->next_seq = be32_get(p + l->l4 + TCP_AT_SEQ) + (uint32_t)l->data_len;
    b->next_id = (uint16_t)(be16_get(p + l->l3 + IPV4_AT_ID) + 1);
    b->tcp_flags = l->tcp_flags;
    b->is_checked = false;
    b->used = m->uses++;
    memcpy(b->header, l->ethernet, ETHERNET_LEN);
    memcpy(b->header + ETHERNET_LEN, p, l->header_len);
    b->pieces[0] = (struct offload_piece){.data = b->header, .len = b->header_len};
    b->pieces[1] = (struct offload_piece){.data = p + l->header_len, .len = l->data_len};
}

static void add_to_flow(struct merger *m, const struct look *l)
{
    struct merge_builder *b = find_builder(m, l);

    if (b != NULL) {
        if (can_append(b, l) && is_first_intact(m, b, l->is_v6)) {
            if (is_look_intact(m, l)) {
                append(m, b, l);
                return;
            }
            finish(m, b);
            emit_single(m, l);
            return;
        }
        finish(m, b);
    }
    if (l->is_mergeable && (l->tcp_flags & TCP_PSH) == 0 &&
        l->in->len <= UINT16_MAX - ETHERNET_LEN) {
        start(m, l);
        return;
    }
    emit_single(m, l);
}

void merger_add(struct merger *m, const struct merge_input *in)
{
    struct look l;

    switch (look_at(&l, in)) {
    case RELATION_FLOW:
        add_to_flow(m, &l);
        return;
    case RELATION_UNCLEAR:
        merger_flush(m);
        break;
    case RELATION_NONE:
        break;
    }
    emit_single(m, &l);
}

void merger_flush(struct merger *m)
{
    for (size_t i = 0; i < MERGE_BUILDERS && m->open > 0; i++) {
        if (m->builders[i].frames > 0) {
            finish(m, &m->builders[i]);
        }
    }
}

bool merger_is_empty(const struct merger *m)
{
    return m->open == 0;
}

void merge_output_copy(const struct merge_output *out, uint8_t *block)
{
    for (size_t i = 0; i < out->count; i++) {
        memcpy(block, out->pieces[i].data, out->pieces[i].len);
        block += out->pieces[i].len;
    }
}
