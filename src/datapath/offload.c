/* Splitting super-frames in place. What all segments share is summed once; a segment then costs a
 * copy of the headers, a few additions and the sum over its payload.
 * Source: spec 09 sections 6.3 and 10 (items 1 to 3, 6, 10, 12). */
#include "datapath/offload.h"

#include "base/cursor.h"
#include "datapath/headers.h"

#include <errno.h>
#include <string.h>

static uint16_t le16_get(const uint8_t *p)
{
    return (uint16_t)(p[0] | p[1] << 8);
}

static void le16_put(uint8_t *p, uint16_t v)
{
    p[0] = (uint8_t)v;
    p[1] = (uint8_t)(v >> 8);
}

void vnet_header_read(const uint8_t in[VNET_HEADER_LEN], struct vnet_header *ret)
{
    *ret = (struct vnet_header){
        .flags = in[0],
        .gso_type = in[1],
        .hdr_len = le16_get(in + 2),
        .gso_size = le16_get(in + 4),
        .csum_start = le16_get(in + 6),
        .csum_offset = le16_get(in + 8),
    };
}

void vnet_header_write(const struct vnet_header *h, uint8_t out[VNET_HEADER_LEN])
{
    out[0] = h->flags;
    out[1] = h->gso_type;
    le16_put(out + 2, h->hdr_len);
    le16_put(out + 4, h->gso_size);
    le16_put(out + 6, h->csum_start);
    le16_put(out + 8, h->csum_offset);
}

/* Write the checksum a plain frame still lacks. */
static int complete_checksum(const struct vnet_header *vnet, uint8_t *frame, size_t len,
                             checksum_fn *checksum)
{
    size_t start = vnet->csum_start;
    size_t at = start + vnet->csum_offset;
    uint16_t sum;

    if (at + 2 > len) {
        return -EBADMSG;
    }
    sum = (uint16_t)~checksum(frame + start, len - start);
    if (sum == 0 && vnet->csum_offset == UDP_AT_CHECKSUM) {
        sum = 0xffff; /* 0 would mean that there is none */
    }
    be16_put(frame + at, sum);
    return 0;
}

/* Offset of the IP header behind at most two VLAN tags, 0 if there is none. */
static size_t find_ip(const uint8_t *frame, size_t len)
{
    size_t at = ETHERNET_LEN - 2;

    for (unsigned tags = 0; at + 2 <= len; tags++) {
        uint16_t type = be16_get(frame + at);

        if (type == ETHERTYPE_IPV4 || type == ETHERTYPE_IPV6) {
            return at + 2;
        }
        if ((type != ETHERTYPE_VLAN && type != ETHERTYPE_QINQ) || tags == 2) {
            return 0;
        }
        at += VLAN_TAG_LEN;
    }
    return 0;
}

/* Fill l4 and protocol behind an IPv6 header and those extensions that may stand before TCP. */
static int find_l4_v6(struct offload_split *s, const uint8_t *frame, size_t len)
{
    size_t at = (size_t)s->l3 + IPV6_LEN;
    uint8_t type = frame[s->l3 + IPV6_AT_NEXT];

    while (type == IPV6_HOP_BY_HOP || type == IPV6_ROUTING || type == IPV6_DESTINATION) {
        if (at + 8 > len || at > OFFLOAD_HEADERS_MAX) {
            return -EBADMSG;
        }
        type = frame[at];
        at += ((size_t)frame[at + 1] + 1) * 8;
    }
    if (at > OFFLOAD_HEADERS_MAX) {
        return -EMSGSIZE;
    }
    s->l4 = (uint16_t)at;
    s->protocol = type;
    return 0;
}

static int find_l4(struct offload_split *s, const uint8_t *frame, size_t len)
{
    size_t l3 = find_ip(frame, len);

    if (l3 == 0 || l3 + IPV4_LEN > len) {
        return -EBADMSG;
    }
    const uint8_t *ip = frame + l3;

    s->l3 = (uint16_t)l3;
    s->ip_version = ip[0] >> 4;
    if (s->ip_version == 4) {
        size_t header = (size_t)(ip[0] & 0x0f) * 4;

        s->l4 = (uint16_t)(l3 + header);
        s->protocol = ip[IPV4_AT_PROTOCOL];
        return header >= IPV4_LEN && (be16_get(ip + IPV4_AT_FRAGMENT) & IPV4_FRAGMENT_MASK) == 0
                   ? 0
                   : -EBADMSG;
    }
    if (s->ip_version != 6 || l3 + IPV6_LEN > len) {
        return -EBADMSG;
    }
    return find_l4_v6(s, frame, len);
}

/* Find all headers of a super-frame and compare them with what the virtio-net header says. */
static int read_headers(struct offload_split *s, const struct vnet_header *vnet,
                        const uint8_t *frame, size_t len)
{
    bool is_udp = vnet->gso_type == VNET_GSO_UDP_L4;
    uint8_t tcp_type = vnet->gso_type & (uint8_t)~VNET_GSO_ECN;
    size_t l4_header = is_udp ? UDP_LEN : TCP_LEN;

    int r = find_l4(s, frame, len);
    if (r < 0) {
        return r;
    }
    if (s->protocol != (is_udp ? IP_UDP : IP_TCP) ||
        (!is_udp && tcp_type != (s->ip_version == 4 ? VNET_GSO_TCPV4 : VNET_GSO_TCPV6)) ||
        vnet->gso_size == 0 || s->l4 + l4_header > len) {
        return -EBADMSG;
    }
    if (!is_udp) {
        l4_header = (size_t)(frame[s->l4 + TCP_AT_OFFSET] >> 4) * 4;
    }
    if ((vnet->flags & VNET_NEEDS_CSUM) != 0 &&
        (vnet->csum_start != s->l4 ||
         vnet->csum_offset != (is_udp ? UDP_AT_CHECKSUM : TCP_AT_CHECKSUM))) {
        return -EBADMSG;
    }
    if (s->l4 + l4_header > len || l4_header < (is_udp ? UDP_LEN : TCP_LEN)) {
        return -EBADMSG;
    }
    if (s->l4 + l4_header > OFFLOAD_HEADERS_MAX) {
        return -EMSGSIZE;
    }
    s->header_len = (uint16_t)(s->l4 + l4_header);
    return 0;
}

/* Take from the headers what varies and sum the rest. with_partial: the checksum field holds the
 * sum of the pseudo-header. */
static void sum_headers(struct offload_split *s, bool with_partial, size_t l4_len)
{
    uint8_t *ip = s->header + s->l3;
    uint8_t *l4 = s->header + s->l4;
    size_t checksum_at = s->protocol == IP_TCP ? TCP_AT_CHECKSUM : UDP_AT_CHECKSUM;
    /* the partial one is right also where the destination is not in the IP header (routing) */
    uint32_t pseudo = with_partial
                          ? (uint32_t)be16_get(l4 + checksum_at) + (uint16_t)~checksum_fold(l4_len)
                          : checksum_pseudo(ip, s->protocol, 0);

    if (s->ip_version == 4) {
        s->ip_id = be16_get(ip + IPV4_AT_ID);
        be16_put(ip + IPV4_AT_LENGTH, 0);
        be16_put(ip + IPV4_AT_ID, 0);
        be16_put(ip + IPV4_AT_CHECKSUM, 0);
        s->ip_sum = checksum_portable(ip, (size_t)(s->l4 - s->l3));
    }
    be16_put(l4 + checksum_at, 0);
    if (s->protocol == IP_TCP) {
        s->seq = be32_get(l4 + TCP_AT_SEQ);
        s->tcp_flags = l4[TCP_AT_FLAGS];
        be32_put(l4 + TCP_AT_SEQ, 0);
        l4[TCP_AT_FLAGS] = 0;
    } else {
        be16_put(l4 + UDP_AT_LENGTH, 0);
    }
    s->l4_sum = pseudo + checksum_portable(l4, (size_t)(s->header_len - s->l4));
}

int offload_split_begin(struct offload_split *s, const struct vnet_header *vnet, uint8_t *frame,
                        size_t len, checksum_fn *checksum)
{
    bool needs_csum = (vnet->flags & VNET_NEEDS_CSUM) != 0;
    int r;

    s->checksum = checksum;
    s->index = 0;
    if (vnet->gso_type == VNET_GSO_NONE) {
        r = needs_csum ? complete_checksum(vnet, frame, len, checksum) : 0;
        s->header_len = 0;
        s->next = frame;
        s->left = len;
        s->count = 1;
        return r < 0 ? r : 1;
    }
    r = len <= OFFLOAD_FRAME_MAX ? read_headers(s, vnet, frame, len) : -EBADMSG;
    if (r < 0) {
        return r;
    }
    memcpy(s->header, frame, s->header_len);
    sum_headers(s, needs_csum, len - s->l4);
    s->gso_size = vnet->gso_size;
    s->next = frame + s->header_len;
    s->left = len - s->header_len;
    s->count = s->left == 0 ? 1 : (unsigned)((s->left + s->gso_size - 1) / s->gso_size);
    return (int)s->count;
}

size_t offload_split_frame_len(const struct offload_split *s)
{
    if (s->header_len == 0 || s->left < s->gso_size) {
        return (size_t)s->header_len + s->left;
    }
    return (size_t)s->header_len + s->gso_size;
}

/* Finish the TCP header of the segment with these n bytes of payload. Returns the sum of what
 * varies. */
static uint32_t write_tcp(const struct offload_split *s, uint8_t *l4, bool is_last)
{
    uint32_t seq = s->seq + s->index * s->gso_size;
    uint8_t flags = s->tcp_flags;

    if (!is_last) {
        flags &= (uint8_t) ~(TCP_FIN | TCP_PSH);
    }
    if (s->index > 0) {
        flags &= (uint8_t)~TCP_CWR;
    }
    be32_put(l4 + TCP_AT_SEQ, seq);
    l4[TCP_AT_FLAGS] = flags;
    return (seq >> 16) + (seq & 0xffff) + flags;
}

bool offload_split_next(struct offload_split *s, struct offload_frame *ret)
{
    size_t n = s->left < s->gso_size ? s->left : s->gso_size;

    if (s->index == s->count) {
        return false;
    }
    if (s->header_len == 0) {
        *ret = (struct offload_frame){.data = s->next, .len = s->left};
        s->index++;
        return true;
    }
    uint8_t *frame = s->next - s->header_len;
    uint8_t *ip = frame + s->l3;
    uint8_t *l4 = frame + s->l4;
    uint16_t ip_len = (uint16_t)(s->header_len - s->l3 + n);
    uint16_t l4_len = (uint16_t)(s->header_len - s->l4 + n);
    uint32_t sum = s->l4_sum + s->checksum(s->next, n) + l4_len;

    memcpy(frame, s->header, s->header_len);
    if (s->ip_version == 4) {
        uint16_t id = (uint16_t)(s->ip_id + s->index);

        be16_put(ip + IPV4_AT_LENGTH, ip_len);
        be16_put(ip + IPV4_AT_ID, id);
        be16_put(ip + IPV4_AT_CHECKSUM,
                 (uint16_t)~checksum_fold((uint64_t)s->ip_sum + ip_len + id));
    } else {
        be16_put(ip + IPV6_AT_LENGTH, (uint16_t)(ip_len - IPV6_LEN));
    }
    if (s->protocol == IP_TCP) {
        sum += write_tcp(s, l4, n == s->left);
        be16_put(l4 + TCP_AT_CHECKSUM, (uint16_t)~checksum_fold(sum));
    } else {
        uint16_t result = (uint16_t)~checksum_fold((uint64_t)sum + l4_len);

        be16_put(l4 + UDP_AT_LENGTH, l4_len);
        be16_put(l4 + UDP_AT_CHECKSUM, result != 0 ? result : 0xffff);
    }
    *ret = (struct offload_frame){.data = frame, .len = (size_t)s->header_len + n};
    s->next += n;
    s->left -= n;
    s->index++;
    return true;
}
