/* Address resolution. Source: spec 03 section 12. */
#include "vl2/resolve.h"

#include "base/cursor.h"
#include "wire/mac.h"

#include <string.h>

enum {
    ETHERTYPE_ARP = 0x0806,
    ETHERTYPE_IPV4 = 0x0800,
    ETHERTYPE_IPV6 = 0x86dd,
    ARP_LEN = 28,
    ARP_REQUEST = 1, /* low byte of the operation; the high one is not looked at */
    ARP_AT_TARGET = 24,
    IPV6_HEADER = 40,
    IPV6_NEXT_HEADER_ICMP = 58,
    ND_AT_TARGET = 48,
    ND_SOLICITATION_LEN = 64,
    ND_SOLICITATION = 0x87,
    ND_ADVERTISEMENT = 0x88,
    ND_TARGET_LINK_OPTION = 2,
    RFC4193_PREFIX_LEN = 11,
    SIXPLANE_PREFIX_LEN = 5,
};

bool resolution_group(const struct inetaddr *ip, struct multicast_group *ret)
{
    switch (ip->family) {
    case INETADDR_V4:
        *ret = (struct multicast_group){.mac = MAC_BROADCAST, .adi = be32_get(ip->ip)};
        return true;
    case INETADDR_V6:
        *ret = (struct multicast_group){
            .mac = UINT64_C(0x3333ff000000) | (be32_get(ip->ip + 12) & 0xffffff),
        };
        return true;
    default:
        return false;
    }
}

bool arp_request_group(uint16_t ethertype, const uint8_t *payload, size_t len,
                       struct multicast_group *ret)
{
    if (ethertype != ETHERTYPE_ARP || len < ARP_LEN || be16_get(payload + 2) != ETHERTYPE_IPV4 ||
        payload[4] != 6 || payload[5] != 4 || payload[7] != ARP_REQUEST) {
        return false;
    }
    *ret = (struct multicast_group){
        .mac = MAC_BROADCAST,
        .adi = be32_get(payload + ARP_AT_TARGET),
    };
    return true;
}

/* Member whose address target is, if it follows the scheme of our address own; 0 if not. */
static uint64_t member_behind(uint64_t network_id, uint64_t self, const struct inetaddr *own,
                              const uint8_t target[16], bool *ret_follows)
{
    struct inetaddr sixplane = network_6plane(network_id, self);

    *ret_follows = false;
    if (own->family != INETADDR_V6) {
        return 0;
    }
    if (own->port == RFC4193_BITS && own->ip[0] == 0xfd && own->ip[9] == 0x99 &&
        own->ip[10] == 0x93 && memcmp(target, own->ip, RFC4193_PREFIX_LEN) == 0) {
        *ret_follows = true;
        return be40_get(target + RFC4193_PREFIX_LEN);
    }
    if (own->port == SIXPLANE_BITS && memcmp(own->ip, sixplane.ip, SIXPLANE_PREFIX_LEN) == 0 &&
        memcmp(target, own->ip, SIXPLANE_PREFIX_LEN) == 0) {
        *ret_follows = true;
        return be40_get(target + SIXPLANE_PREFIX_LEN);
    }
    return 0;
}

/* Ones' complement sum of 16-bit words; len is even. */
static uint32_t sum_words(const uint8_t *p, size_t len)
{
    uint32_t sum = 0;

    for (size_t i = 0; i < len; i += 2) {
        sum += be16_get(p + i);
    }
    return sum;
}

static uint16_t icmp6_checksum(const uint8_t packet[NDP_ADVERTISEMENT_LEN])
{
    uint32_t sum = sum_words(packet + 8, NDP_ADVERTISEMENT_LEN - 8) +
                   (NDP_ADVERTISEMENT_LEN - IPV6_HEADER) + IPV6_NEXT_HEADER_ICMP;

    sum = (sum & 0xffff) + (sum >> 16);
    sum = (sum & 0xffff) + (sum >> 16);
    return (uint16_t)~sum;
}

static void advertisement_write(const uint8_t target[16], const uint8_t own[16], uint64_t mac,
                                uint8_t out[NDP_ADVERTISEMENT_LEN])
{
    struct wr w = wr_init(out, NDP_ADVERTISEMENT_LEN);

    wr_u32(&w, 0x60000000);
    wr_u16(&w, NDP_ADVERTISEMENT_LEN - IPV6_HEADER);
    wr_u8(&w, IPV6_NEXT_HEADER_ICMP);
    wr_u8(&w, 255);
    wr_bytes(&w, target, 16);
    wr_bytes(&w, own, 16);
    wr_u8(&w, ND_ADVERTISEMENT);
    wr_u8(&w, 0);
    wr_u16(&w, 0);
    wr_u32(&w, 0x60000000); /* solicited, override */
    wr_bytes(&w, target, 16);
    wr_u8(&w, ND_TARGET_LINK_OPTION);
    wr_u8(&w, 1);
    mac_write(&w, mac);
    be16_put(out + IPV6_HEADER + 2, icmp6_checksum(out));
}

bool ndp_emulate(uint64_t network_id, uint64_t self, const struct inetaddr *addresses, size_t count,
                 uint16_t ethertype, const uint8_t *payload, size_t len, struct ndp_answer *ret)
{
    const uint8_t *target;

    if (ethertype != ETHERTYPE_IPV6 || len < ND_SOLICITATION_LEN ||
        payload[6] != IPV6_NEXT_HEADER_ICMP || payload[IPV6_HEADER] != ND_SOLICITATION) {
        return false;
    }
    target = payload + ND_AT_TARGET;
    for (size_t i = 0; i < count; i++) {
        bool follows;
        uint64_t member = member_behind(network_id, self, &addresses[i], target, &follows);

        if (!follows) {
            continue;
        }
        if (member == 0 || member == self) {
            return false;
        }
        ret->member = member;
        ret->source_mac = mac_of_member(network_id, member);
        advertisement_write(target, addresses[i].ip, ret->source_mac, ret->payload);
        return true;
    }
    return false;
}
