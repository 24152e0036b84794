/* Packet armor: authentication and encryption of whole packets between two nodes.
 * Source: spec 01 sections 8 and 10.2. */
#pragma once

#include "base/attr.h"
#include "crypto/aes_gmac_siv.h"
#include "crypto/identity.h"
#include "crypto/salsa_poly.h"
#include "wire/packet.h"

#include <stddef.h>
#include <stdint.h>

/* Everything derived from the shared secret of two nodes. About 2 KiB; constant after init, so
 * any number of threads may use it. */
struct armor_keys {
    uint8_t secret[SHARED_KEY_LEN]; /* first 32 bytes: Salsa20 key of suites 0 and 1 */
    struct salsa_poly salsa_poly;   /* kernels */
    struct aes_gmac_siv aes;        /* suite 3 */
};

/* Derive all keys from the secret of identity_agree, with the kernels that suit this machine. A
 * few microseconds: once for a session. */
void armor_keys_init(struct armor_keys *keys, const uint8_t secret[SHARED_KEY_LEN]);

/* Wipe. */
void armor_keys_done(struct armor_keys *keys);

/* Seal a packet in place. The header is final but for suite and MAC: ID chosen, fragmented flag and
 * compression done, hops 0. suite: 0, 1 or 3; it is written to the flags. Suite 3 replaces the
 * packet ID: note the one on the wire afterwards. len: PACKET_MIN to PACKET_MAX. */
void armor_seal(uint8_t *pkt, size_t len, enum cipher_suite suite, const struct armor_keys *keys);

/* Mark a packet for a trusted path: suite 2, the path's ID (not 0) in the place of the MAC. */
void armor_seal_trusted(uint8_t *pkt, uint64_t trusted_id);

/* Open a packet in place by the suite in its flags (0, 1 or 3; whatever the hop count). The header
 * stays as received. Returns 0; -EACCES not authentic, or another suite (2 is the caller's to
 * judge); -EBADMSG len is not that of a packet. After a failure pkt is as it was received. */
MUST_CHECK int armor_open(uint8_t *pkt, size_t len, const struct armor_keys *keys);

/* Mask or unmask (the same) the tail of a HELLO, bytes start to len - 1. Before armor_seal, after
 * armor_open. start: at least PACKET_AT_PAYLOAD, at most len. Source: spec 01 section 10.2. */
void hello_mask(uint8_t *pkt, size_t len, size_t start, const struct armor_keys *keys);
