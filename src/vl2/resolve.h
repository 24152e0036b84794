/* Address resolution on a virtual network: which multicast group a query goes to, and the emulation
 * of IPv6 neighbour discovery. Pure functions. Source: spec 03 section 12. */
#pragma once

#include "base/attr.h"
#include "wire/frame.h"
#include "wire/inetaddr.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    NDP_ADVERTISEMENT_LEN = 72,
};

/* The group in which an address is resolved: (broadcast, IPv4 address) or 33:33:ff:... of IPv6.
 * Returns false for nil. */
bool resolution_group(const struct inetaddr *ip, struct multicast_group *ret);

/* Group of a broadcast frame that is an IPv4 ARP request. Returns false if it is none. */
bool arp_request_group(uint16_t ethertype, const uint8_t *payload, size_t len,
                       struct multicast_group *ret);

/* An emulated neighbour advertisement. */
struct ndp_answer {
    uint64_t member;                        /* whose address was asked for */
    uint64_t source_mac;                    /* its member MAC */
    uint8_t payload[NDP_ADVERTISEMENT_LEN]; /* of ethertype 0x86dd, to the asker's MAC */
};

/* Answer a multicast frame from the tap if it is a neighbour solicitation for an address from which
 * a member follows. The caller has tested that emulation is on.
 * addresses: count addresses assigned to us, in order. Returns true with *ret filled; false: treat
 * the frame as normal multicast. */
bool ndp_emulate(uint64_t network_id, uint64_t self, const struct inetaddr *addresses, size_t count,
                 uint16_t ethertype, const uint8_t *payload, size_t len, struct ndp_answer *ret);
