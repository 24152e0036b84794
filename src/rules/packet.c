/* The frame of a described packet. */
#include "rules/packet.h"

#include "base/cursor.h"
#include "rules/unicode.h"
#include "wire/mac.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

enum {
    ETHERTYPE_IPV4 = 0x0800,
    ETHERTYPE_ARP = 0x0806,
    ETHERTYPE_VLAN = 0x8100,
    ETHERTYPE_IPV6 = 0x86dd,
    PROTO_ICMP = 1,
    PROTO_TCP = 6,
    PROTO_ICMPV6 = 58,
    IPV4_HEADER = 20,
    IPV6_HEADER = 40,
    ARP_LEN = 28,
    OTHER_LEN = 46, /* of frames that are none of these: the shortest of Ethernet */
    TCP_HEADER = 20,
    UPPER_LEN = 8, /* of other upper layers: up to and with what rules look at */
    ICMP_ECHO = 8,
    ICMPV6_ECHO = 128,
    CLIENT_PORT = 49152,
    TTL = 64,
};

/* The network of explanations: no rule looks at its number. */
#define NETWORK_ID UINT64_C(0x8056c2e21c000001)

void packet_init(struct packet *p)
{
    memset(p, 0, sizeof(*p));
    p->ethertype = p->protocol = p->tos = p->source_port = p->dest_port = -1;
    p->tcp_flags = p->icmp_type = p->icmp_code = p->vlan = p->size = -1;
}

int packet_fail(struct packet_error *error, size_t at, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    (void)vsnprintf(error->text, sizeof(error->text), format, args);
    va_end(args);
    error->at = at;
    return -EINVAL;
}

bool packet_set_tag(struct packet_member *m, uint32_t id, uint32_t value)
{
    uint16_t i = 0;
    while (i < m->tag_count && m->tags[i].id != id) {
        i++;
    }
    if (i == TAGS_MAX) {
        return false;
    }
    m->tag_count = i == m->tag_count ? (uint16_t)(i + 1) : m->tag_count;
    m->tags[i] = (struct filter_tag){.id = id, .value = value, .timestamp = 1};
    return true;
}

bool packet_give(struct packet_member *m, uint32_t id)
{
    for (uint16_t i = 0; i < m->capability_count; i++) {
        if (m->capabilities[i] == id) {
            return true;
        }
    }
    if (m->capability_count == CAPABILITIES_MAX) {
        return false;
    }
    m->capabilities[m->capability_count++] = id;
    return true;
}

/* ---- what was not said ---- */

static bool is_v6(const struct packet *p)
{
    return p->source_ip.family == INETADDR_V6 || p->dest_ip.family == INETADDR_V6 ||
           p->protocol == PROTO_ICMPV6;
}

static void default_ip(struct inetaddr *ip, bool v6, uint8_t last)
{
    static const uint8_t v4_start[] = {10, 0, 0};
    if (ip->family != INETADDR_NIL) {
        return;
    }
    ip->family = v6 ? INETADDR_V6 : INETADDR_V4;
    if (v6) {
        ip->ip[0] = 0xfd;
        ip->ip[15] = last;
    } else {
        memcpy(ip->ip, v4_start, sizeof(v4_start));
        ip->ip[3] = last;
    }
}

static int fill_addresses(struct packet *p, struct packet_error *error)
{
    bool v6 = p->ethertype == ETHERTYPE_IPV6;
    default_ip(&p->source_ip, v6, 1);
    default_ip(&p->dest_ip, v6, 2);
    bool has_v6 = p->source_ip.family == INETADDR_V6 || p->dest_ip.family == INETADDR_V6;
    bool has_v4 = p->source_ip.family == INETADDR_V4 || p->dest_ip.family == INETADDR_V4;
    if (v6 ? has_v4 : has_v6) {
        return packet_fail(error, 0, "an IP address is not of the packet's family");
    }
    return 0;
}

static void fill_members(struct packet *p)
{
    const uint64_t made_up[] = {UINT64_C(0xaaaaaaaaaa), UINT64_C(0xbbbbbbbbbb)};
    if (p->sender.address == 0) {
        p->sender.address = made_up[p->receiver.address == made_up[0] ? 1 : 0];
    }
    if (p->receiver.address == 0) {
        p->receiver.address = made_up[p->sender.address == made_up[1] ? 0 : 1];
    }
    if (p->source_mac == 0) {
        p->source_mac = mac_of_member(NETWORK_ID, p->sender.address);
    }
    if (p->dest_mac != 0) {
        return;
    }
    if (p->is_broadcast || (p->ethertype == ETHERTYPE_ARP && !p->is_multicast)) {
        p->dest_mac = MAC_BROADCAST;
    } else if (p->is_multicast) {
        p->dest_mac =
            p->ethertype == ETHERTYPE_IPV6 ? UINT64_C(0x333300000001) : UINT64_C(0x01005e000001);
    } else {
        p->dest_mac = mac_of_member(NETWORK_ID, p->receiver.address);
    }
}

static int fill(struct packet *p, struct packet_error *error)
{
    if (p->protocol < 0 && p->tcp_flags >= 0) {
        p->protocol = PROTO_TCP;
    }
    if (p->protocol < 0 && p->icmp_type >= 0) {
        bool v6 = p->ethertype == ETHERTYPE_IPV6 || is_v6(p);
        p->protocol = v6 ? PROTO_ICMPV6 : PROTO_ICMP;
    }
    if (p->protocol < 0 && (p->source_port >= 0 || p->dest_port >= 0)) {
        return packet_fail(error, 0, "ports of which protocol? say tcp or udp");
    }
    if (p->ethertype < 0) {
        p->ethertype = is_v6(p) ? ETHERTYPE_IPV6 : ETHERTYPE_IPV4;
    }
    fill_members(p);
    return fill_addresses(p, error);
}

/* ---- bytes ---- */

static void write_tcp(const struct packet *p, struct wr *w)
{
    enum { SYN = 1 << 1, WORDS = TCP_HEADER / 4 };
    unsigned flags = (unsigned)(p->tcp_flags >= 0 ? p->tcp_flags : SYN);
    wr_u32(w, 0); /* sequence */
    wr_u32(w, 0); /* acknowledgment */
    /* Flags 8 to 11 are the low four bits of the byte with the length. */
    wr_u8(w, (uint8_t)(WORDS << 4 | flags >> 8));
    wr_u8(w, (uint8_t)flags);
    wr_u16(w, 0); /* window */
    wr_u32(w, 0); /* checksum, urgent */
}

static void write_upper(const struct packet *p, struct wr *w)
{
    if (p->protocol == PROTO_ICMP || p->protocol == PROTO_ICMPV6) {
        int64_t echo = p->protocol == PROTO_ICMP ? ICMP_ECHO : ICMPV6_ECHO;
        wr_u8(w, (uint8_t)(p->icmp_type >= 0 ? p->icmp_type : echo));
        wr_u8(w, (uint8_t)(p->icmp_code >= 0 ? p->icmp_code : 0));
        wr_u16(w, 0);
        wr_u32(w, 0);
        return;
    }
    wr_u16(w, (uint16_t)(p->source_port >= 0 ? p->source_port : CLIENT_PORT));
    wr_u16(w, (uint16_t)(p->dest_port >= 0 ? p->dest_port : 0));
    if (p->protocol == PROTO_TCP) {
        write_tcp(p, w);
    } else {
        wr_u16(w, UPPER_LEN);
        wr_u16(w, 0);
    }
}

static void write_ipv4(const struct packet *p, struct wr *w)
{
    unsigned upper = p->protocol == PROTO_TCP ? TCP_HEADER : UPPER_LEN;
    wr_u8(w, 0x45);
    wr_u8(w, (uint8_t)(p->tos >= 0 ? p->tos : 0));
    wr_u16(w, (uint16_t)(IPV4_HEADER + upper));
    wr_u32(w, 0); /* identification, fragment */
    wr_u8(w, TTL);
    wr_u8(w, (uint8_t)(p->protocol >= 0 ? p->protocol : UINT8_MAX));
    wr_u16(w, 0);
    wr_bytes(w, p->source_ip.ip, 4);
    wr_bytes(w, p->dest_ip.ip, 4);
    write_upper(p, w);
}

static void write_ipv6(const struct packet *p, struct wr *w)
{
    uint32_t tos = (uint32_t)(p->tos >= 0 ? p->tos : 0);
    unsigned upper = p->protocol == PROTO_TCP ? TCP_HEADER : UPPER_LEN;
    wr_u32(w, UINT32_C(6) << 28 | tos << 20);
    wr_u16(w, (uint16_t)upper);
    wr_u8(w, (uint8_t)(p->protocol >= 0 ? p->protocol : UINT8_MAX));
    wr_u8(w, TTL);
    wr_bytes(w, p->source_ip.ip, 16);
    wr_bytes(w, p->dest_ip.ip, 16);
    write_upper(p, w);
}

static void write_arp(const struct packet *p, struct wr *w)
{
    uint8_t zeros[MAC_LEN] = {0};
    wr_u16(w, 1); /* Ethernet */
    wr_u16(w, ETHERTYPE_IPV4);
    wr_u8(w, MAC_LEN);
    wr_u8(w, 4);
    wr_u16(w, 1); /* request */
    mac_write(w, p->source_mac);
    wr_bytes(w, p->source_ip.ip, 4);
    wr_bytes(w, zeros, sizeof(zeros));
    wr_bytes(w, p->dest_ip.ip, 4);
}

int packet_build(struct packet *p, struct packet_error *error)
{
    struct wr w = wr_init(p->payload, sizeof(p->payload));
    int bad = 0;
    if (p->is_raw) {
        fill_members(p);
        return 0;
    }
    bad = fill(p, error);
    if (bad < 0) {
        return bad;
    }
    if (p->vlan >= 0) {
        /* Nodes see the tag as the frame's type, and behind it nothing. */
        wr_u16(&w, (uint16_t)p->vlan);
        wr_u16(&w, (uint16_t)p->ethertype);
    }
    if (p->ethertype == ETHERTYPE_IPV4) {
        write_ipv4(p, &w);
    } else if (p->ethertype == ETHERTYPE_IPV6) {
        write_ipv6(p, &w);
    } else if (p->ethertype == ETHERTYPE_ARP) {
        write_arp(p, &w);
    }
    p->len = wr_len(&w) > 0 ? wr_len(&w) : OTHER_LEN;
    if (p->size >= 0) {
        p->len = (size_t)p->size;
    }
    if (p->vlan >= 0) {
        p->ethertype = ETHERTYPE_VLAN;
    }
    return 0;
}

int packet_read(const struct policy *policy, struct rdl_text text, struct packet *ret,
                struct packet_error *ret_error)
{
    packet_init(ret);
    for (size_t i = 0; i < text.len;) {
        uint32_t c;
        int n = unicode_read(text.p + i, text.len - i, &c);
        if (n < 0) {
            return packet_fail(ret_error, i, "this is not UTF-8 text");
        }
        i += (size_t)n;
    }
    bool is_json = text.len > 0 && text.p[0] == '{';
    int error = is_json ? packet_read_json(text, ret, ret_error)
                        : packet_read_words(policy, text, ret, ret_error);
    return error < 0 ? error : packet_build(ret, ret_error);
}
