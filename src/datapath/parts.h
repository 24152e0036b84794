/* Packets that lie in datagrams: sealing straight into them, with the cipher as the only copy, and
 * opening them where they lie. Pure, no allocation; packets whose parts do not lie together go
 * through the table of datapath/fragment.h. Source: spec 01 section 7, spec 09 sections 6.3
 * and 6.5.
 */
#pragma once

#include "base/attr.h"
#include "datapath/armor.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { PARTS_SLACK = 16 }; /* bytes behind a datagram that parts_seal may write to */

/* Where the datagrams of a packet go. */
struct parts_layout {
    uint8_t *datagrams[FRAGMENTS_MAX]; /* total of them */
    size_t size;    /* of each, fragment header included, but the last, which may be shorter;
                       at least 64 */
    unsigned total; /* 1..FRAGMENTS_MAX */
};

/* Seal a packet into datagrams. pkt: as for armor_seal, the fragmented flag set if total > 1; it is
 * destroyed. suite: 1 or 3. Datagrams are written in ascending order; up to PARTS_SLACK bytes
 * behind each but the last are overwritten, nothing behind the last. */
void parts_seal(uint8_t *pkt, size_t len, enum cipher_suite suite, const struct armor_keys *keys,
                const struct parts_layout *layout);

/* A received datagram. */
struct part {
    uint8_t *data;
    size_t len;
};

/* How many of these count datagrams (of one sender, in order of arrival) make up the packet that
 * begins with the first: 1 for a packet that was not cut, 2..FRAGMENTS_MAX for one whose fragments
 * follow in order. Returns 0 if they do not, if the first is no head, or something is malformed. */
unsigned parts_gather(const struct part *parts, unsigned count);

/* Bytes of the packet these count datagrams (as parts_gather found them) make up. */
size_t parts_packet_len(const struct part *parts, unsigned count);

/* True if these datagrams lie one after the other in memory. */
bool parts_are_adjacent(const struct part *parts, unsigned count);

/* Open the packet of these datagrams by the suite in its flags (0, 1 or 3), header included, into
 * out, parts_packet_len bytes: apart from all of them, or where the head lies, if behind it there
 * is nothing but the other parts in order (parts_are_adjacent) or free room. Returns 0; -EACCES not
 * authentic or another suite: out and parts hold nothing of use; -EBADMSG longer than a packet. */
MUST_CHECK int parts_open(const struct part *parts, unsigned count, const struct armor_keys *keys,
                          uint8_t *out);
