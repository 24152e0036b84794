/* HELLO and OK(HELLO) payloads. Source: spec 01 section 10, spec 02 section 3.2.
 *
 * A received HELLO is read in two steps: hello_decode on the clear bytes (before authentication it
 * tells whose HELLO it claims to be), then, once authenticated and unmasked, hello_decode_tail on
 * the bytes from tail_at. Masking itself is the armor's work (datapath/armor.h). */
#pragma once

#include "base/attr.h"
#include "base/cursor.h"
#include "crypto/identity.h"
#include "wire/inetaddr.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    HELLO_AT_IDENTITY = 13, /* payload offset of the sender's identity */
    HELLO_MOON_LEN = 17,
    HELLO_MOON_TYPE = 127,
    HELLO_FIXED_MAX = 13 + 71 + 19 + 16 + 2, /* payload without moon entries */
};

/* Versions a node announces. */
struct node_version {
    uint8_t protocol;
    uint8_t major;
    uint8_t minor;
    uint16_t revision;
};

struct hello {
    struct node_version version;
    uint64_t timestamp;        /* sender's clock, ms; echoed in the OK */
    struct identity identity;  /* public half of the sender */
    bool has_address;          /* false: an old HELLO that ends after the identity */
    struct inetaddr address;   /* physical address it was sent to; may be nil */
    bool has_planet;           /* the two planet fields were there */
    uint64_t planet_id;        /* 0 when absent */
    uint64_t planet_timestamp; /* 0 when absent */
    bool has_tail;             /* bytes of the masked tail follow */
    size_t tail_at;            /* their payload offset; payload length if none */
};

struct hello_moon {
    uint64_t id;
    uint64_t timestamp; /* 0: wanted, not yet known */
};

/* Entries of an unmasked tail: a borrowed view to be walked by hello_moons_next. */
struct hello_moons {
    struct rd entries;
};

/* Decode the clear part of a HELLO payload (bytes after the verb byte).
 * in:  whole payload, borrowed for the call
 * ret: filled on success, nothing in it borrows
 * Does not look at the tail and not at the protocol version's value.
 * Returns 0; -EBADMSG. */
MUST_CHECK int hello_decode(struct rd in, struct hello *ret);

/* Decode an unmasked tail of len bytes (0 allowed); trailing bytes are ignored.
 * Returns 0 with a view that borrows tail; -EBADMSG count larger than the data. */
MUST_CHECK int hello_decode_tail(const void *tail, size_t len, struct hello_moons *ret);

/* Next moon of the view; entries of other types are skipped. False at the end. */
bool hello_moons_next(struct hello_moons *moons, struct hello_moon *ret);

/* Append a HELLO payload with its tail still unmasked. h->tail_at is not used. A HELLO of today has
 * has_address, has_planet and has_tail set, also without moons; false ends it there, as old
 * versions do, and moons without a tail make w bad. Returns the offset of the tail from the
 * beginning of the payload (as tail_at in hello_decode). */
size_t hello_encode(struct wr *w, const struct hello *h, const struct hello_moon *moons,
                    size_t count);

struct ok_hello {
    uint64_t timestamp; /* copied from the HELLO */
    struct node_version version;
    bool has_address;        /* false: old responder */
    struct inetaddr address; /* where the HELLO came from, as the responder saw it */
    bool has_worlds;         /* the length field was there */
    const uint8_t *worlds;   /* world definitions back to back, borrowed */
    size_t worlds_len;
};

/* Decode what follows the OK header (see vl1msg.h). Returns 0, ret->worlds borrows from in;
 * -EBADMSG. Bytes after the worlds are ignored. */
MUST_CHECK int ok_hello_decode(struct rd in, struct ok_hello *ret);

/* Append the same. An address given to a requester of a protocol version below 5 has port 0: the
 * caller sets it (ok_hello_address_for). worlds_len: up to 65535. */
void ok_hello_encode(struct wr *w, const struct ok_hello *ok);

/* The address to report in an OK to a requester of this protocol version. */
struct inetaddr ok_hello_address_for(const struct inetaddr *seen, uint8_t requester_protocol);
