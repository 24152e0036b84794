/* Payload of NETWORK_CREDENTIALS: reading item by item and writing, also in parts when everything
 * does not fit one packet. Source: spec 03 section 7.6. */
#pragma once

#include "base/attr.h"
#include "base/cursor.h"
#include "wire/capability.h"
#include "wire/com.h"
#include "wire/credential.h"

#include <stddef.h>
#include <stdint.h>

/* One item read. */
struct credential {
    enum credential_type type; /* which member counts */
    union {
        struct com com;
        struct capability *capability; /* the receiver's to free */
        struct tag tag;
        struct revocation revocation;
        struct ownership ownership;
    };
};

/* Position in a payload. */
struct credentials_reader {
    struct rd r;
    enum credential_type section; /* of the next item */
    uint16_t left;                /* items of the section still to come */
};

/* Start reading a payload (borrowed while reading). */
struct credentials_reader credentials_reader_init(struct rd payload);

/* Next item. The payload may end after any section. Returns 1 with *ret filled; 0 at the end;
 * -EBADMSG malformed (the rest is lost); -ENOMEM. */
MUST_CHECK int credentials_next(struct credentials_reader *it, struct credential *ret);

/* Items to send, all borrowed. Their order is: COMs, capabilities, tags, revocations, ownerships.
 */
struct credentials_set {
    const struct com *coms;
    size_t com_count;
    struct capability *const *capabilities;
    size_t capability_count;
    const struct tag *tags;
    size_t tag_count;
    const struct revocation *revocations;
    size_t revocation_count;
    const struct ownership *ownerships;
    size_t ownership_count;
};

/* Number of items. */
size_t credentials_count(const struct credentials_set *set);

/* Write a complete payload with as many items as fit, beginning with item number first (in the
 * order above). Returns the number of the first item not written: credentials_count when all are
 * in, first (and nothing written) when not even one fits or none is left. */
size_t credentials_write(struct wr *w, const struct credentials_set *set, size_t first);
