/* MAC addresses and IPv6 addresses of members, network IDs. A MAC is a uint64_t of 48 bits, first
 * octet in bits 47..40. Source: spec 01 sections 13.4 to 13.6. */
#pragma once

#include "base/attr.h"
#include "base/cursor.h"
#include "wire/inetaddr.h"

#include <stdbool.h>
#include <stdint.h>

#define MAC_BROADCAST UINT64_C(0xffffffffffff)

enum {
    MAC_LEN = 6,
    MAC_TEXT_LEN = 18,        /* six pairs, five colons, NUL */
    NETWORK_ID_TEXT_LEN = 17, /* sixteen digits, NUL */
    RFC4193_BITS = 88,
    SIXPLANE_BITS = 40, /* as a route and an assignment */
    LINK_LOCAL_BITS = 64,
};

/* Big-endian access to the six bytes of a MAC. */
uint64_t mac_get(const uint8_t p[MAC_LEN]);
void mac_put(uint8_t p[MAC_LEN], uint64_t mac);
uint64_t mac_read(struct rd *r);
void mac_write(struct wr *w, uint64_t mac);

/* MAC of a member of a network. */
uint64_t mac_of_member(uint64_t network_id, uint64_t address);

/* Address behind a MAC made by mac_of_member (meaningful if mac_is_member). */
uint64_t mac_member_address(uint64_t network_id, uint64_t mac);

/* First octet of the MACs of a network's members. */
uint8_t mac_first_octet(uint64_t network_id);

/* True if the MAC has the network's first octet: presumed a member, anything else is bridged. */
bool mac_is_member(uint64_t network_id, uint64_t mac);

/* Group bit set (broadcast included); all ones. */
bool mac_is_multicast(uint64_t mac);
bool mac_is_broadcast(uint64_t mac);

/* Text "aa:bb:cc:dd:ee:ff". Reading takes either case. Returns 0; -EBADMSG. */
MUST_CHECK int mac_parse(const char *text, size_t len, uint64_t *ret);
void mac_print(uint64_t mac, char out[MAC_TEXT_LEN]);

/* Parts of a network ID: address of the controller, number on it. */
uint64_t network_controller(uint64_t network_id);
uint32_t network_number(uint64_t network_id);
uint64_t network_id_make(uint64_t controller, uint32_t number);

/* True for IDs whose top byte is ff: ad-hoc networks without controller. */
bool network_is_adhoc(uint64_t network_id);

/* Text of a network ID: exactly sixteen digits; reading takes either case. Returns 0; -EBADMSG. */
MUST_CHECK int network_id_parse(const char *text, size_t len, uint64_t *ret);
void network_id_print(uint64_t network_id, char out[NETWORK_ID_TEXT_LEN]);

/* Derived IPv6 addresses of a member; port holds the prefix length (88, 40, 64). */
struct inetaddr network_rfc4193(uint64_t network_id, uint64_t address);
struct inetaddr network_6plane(uint64_t network_id, uint64_t address);
struct inetaddr mac_link_local(uint64_t mac);
