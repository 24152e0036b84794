/* Clamping of the MSS that the ends of a TCP connection tell each other, to what fits an MTU on the
 * way. For paths on which the messages that would tell them of it (ICMP "too big") get lost. Pure.
 * Source: RFC 879, RFC 9293 section 3.7.1, RFC 1624; the local settings of a network
 * (os/managed.h). */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* What is to be rewritten; offsets in the payload of the frame. */
struct mss_place {
    size_t tcp;     /* the TCP header */
    size_t at;      /* value of the option */
    uint16_t value; /* the new one */
};

/* Look for a TCP SYN or SYN-ACK whose MSS is above what segments of this MTU carry (with headers of
 * 40 bytes over IPv4, 60 over IPv6). payload: len bytes behind the Ethernet header. Fragments are
 * left alone, and what has no MSS option: that means the smallest. Returns true with the place. */
bool mss_find(uint16_t ethertype, const uint8_t *payload, size_t len, unsigned mtu,
              struct mss_place *ret);

/* Rewrite it, and with it the checksum unless that is a partial one (it covers the pseudo-header
 * only, see VNET_NEEDS_CSUM). */
void mss_rewrite(uint8_t *payload, const struct mss_place *place, bool is_partial);

/* Both. */
void mss_clamp(uint16_t ethertype, uint8_t *payload, size_t len, unsigned mtu, bool is_partial);
