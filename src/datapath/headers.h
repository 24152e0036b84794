/* Places and values in the headers that splitting and merging rewrite.
 * Source: RFC 768, 791, 8200, 9293, IEEE 802.1Q. */
#pragma once

enum {
    ETHERTYPE_IPV4 = 0x0800,
    ETHERTYPE_IPV6 = 0x86dd,
    ETHERTYPE_VLAN = 0x8100,
    ETHERTYPE_QINQ = 0x88a8,
    VLAN_TAG_LEN = 4,

    IP_TCP = 6,
    IP_UDP = 17,

    IPV4_LEN = 20, /* without options */
    IPV4_AT_TOS = 1,
    IPV4_AT_LENGTH = 2,
    IPV4_AT_ID = 4,
    IPV4_AT_FRAGMENT = 6,
    IPV4_AT_TTL = 8,
    IPV4_AT_PROTOCOL = 9,
    IPV4_AT_CHECKSUM = 10,
    IPV4_AT_ADDRESSES = 12,
    IPV4_DF = 0x4000,
    IPV4_FRAGMENT_MASK = 0x3fff, /* offset and "more" */

    IPV6_LEN = 40,
    IPV6_AT_LENGTH = 4,
    IPV6_AT_NEXT = 6,
    IPV6_AT_ADDRESSES = 8,
    IPV6_HOP_BY_HOP = 0,
    IPV6_ROUTING = 43,
    IPV6_DESTINATION = 60,

    TCP_LEN = 20, /* without options */
    TCP_AT_SEQ = 4,
    TCP_AT_ACK = 8,
    TCP_AT_OFFSET = 12,
    TCP_AT_FLAGS = 13,
    TCP_AT_WINDOW = 14,
    TCP_AT_CHECKSUM = 16,
    TCP_FIN = 0x01,
    TCP_PSH = 0x08,
    TCP_ACK = 0x10,
    TCP_CWR = 0x80,

    UDP_LEN = 8,
    UDP_AT_LENGTH = 4,
    UDP_AT_CHECKSUM = 6,
};
