/* MSS clamping. Source: see mss.h. */
#include "datapath/mss.h"

#include "base/cursor.h"
#include "datapath/checksum.h"
#include "datapath/headers.h"

enum {
    TCP_SYN = 0x02,
    OPTION_END = 0,
    OPTION_NOP = 1,
    OPTION_MSS = 2,
    OPTION_MSS_LEN = 4,
};

/* Offset of the TCP header, 0 if there is none to be seen. */
static size_t tcp_of_v4(const uint8_t *ip, size_t len)
{
    size_t header;

    if (len < IPV4_LEN || ip[0] >> 4 != 4 || ip[IPV4_AT_PROTOCOL] != IP_TCP ||
        (be16_get(ip + IPV4_AT_FRAGMENT) & IPV4_FRAGMENT_MASK) != 0) {
        return 0;
    }
    header = (size_t)(ip[0] & 0x0f) * 4;
    return header >= IPV4_LEN ? header : 0;
}

static size_t tcp_of_v6(const uint8_t *ip, size_t len)
{
    size_t at = IPV6_LEN;
    uint8_t type;

    if (len < IPV6_LEN || ip[0] >> 4 != 6) {
        return 0;
    }
    type = ip[IPV6_AT_NEXT];
    while (type == IPV6_HOP_BY_HOP || type == IPV6_ROUTING || type == IPV6_DESTINATION) {
        if (at + 8 > len) {
            return 0;
        }
        type = ip[at];
        at += ((size_t)ip[at + 1] + 1) * 8;
    }
    return type == IP_TCP ? at : 0;
}

/* Offset of the value of the MSS option within a header of len bytes, 0 if it has none. */
static size_t find_option(const uint8_t *tcp, size_t len)
{
    size_t at = TCP_LEN;

    while (at < len && tcp[at] != OPTION_END) {
        size_t option = 1;

        if (tcp[at] != OPTION_NOP) {
            option = at + 1 < len ? tcp[at + 1] : 0;
            if (option < 2 || at + option > len) {
                return 0;
            }
            if (tcp[at] == OPTION_MSS) {
                return option == OPTION_MSS_LEN ? at + 2 : 0;
            }
        }
        at += option;
    }
    return 0;
}

bool mss_find(uint16_t ethertype, const uint8_t *payload, size_t len, unsigned mtu,
              struct mss_place *ret)
{
    size_t tcp = 0;
    size_t ip_len = ethertype == ETHERTYPE_IPV4 ? IPV4_LEN : IPV6_LEN;
    size_t header;
    size_t option;
    size_t mss;

    if (ethertype == ETHERTYPE_IPV4) {
        tcp = tcp_of_v4(payload, len);
    } else if (ethertype == ETHERTYPE_IPV6) {
        tcp = tcp_of_v6(payload, len);
    }
    if (tcp == 0 || tcp + TCP_LEN > len || (payload[tcp + TCP_AT_FLAGS] & TCP_SYN) == 0) {
        return false;
    }
    header = (size_t)(payload[tcp + TCP_AT_OFFSET] >> 4) * 4;
    option = header >= TCP_LEN && tcp + header <= len ? find_option(payload + tcp, header) : 0;
    mss = mtu > ip_len + TCP_LEN ? mtu - ip_len - TCP_LEN : 0;
    if (option == 0 || mss == 0 || be16_get(payload + tcp + option) <= mss) {
        return false;
    }
    *ret = (struct mss_place){.tcp = tcp, .at = tcp + option, .value = (uint16_t)mss};
    return true;
}

static uint16_t swap(uint16_t v)
{
    return (uint16_t)(v << 8 | v >> 8);
}

void mss_rewrite(uint8_t *payload, const struct mss_place *place, bool is_partial)
{
    uint8_t *checksum = payload + place->tcp + TCP_AT_CHECKSUM;
    uint16_t before = be16_get(payload + place->at);
    uint16_t after = place->value;

    be16_put(payload + place->at, after);
    if (is_partial) {
        return;
    }
    if ((place->at - place->tcp) % 2 != 0) { /* its bytes are halves of two words */
        before = swap(before);
        after = swap(after);
    }
    /* RFC 1624, equation 3 */
    be16_put(checksum, (uint16_t)~checksum_fold((uint64_t)(uint16_t)~be16_get(checksum) +
                                                (uint16_t)~before + after));
}

void mss_clamp(uint16_t ethertype, uint8_t *payload, size_t len, unsigned mtu, bool is_partial)
{
    struct mss_place place;

    if (mss_find(ethertype, payload, len, mtu, &place)) {
        mss_rewrite(payload, &place, is_partial);
    }
}
