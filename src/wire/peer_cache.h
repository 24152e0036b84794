/* Records of the peer cache, peers.d/<address>.peer. Source: spec 02 section 13, spec 05 section
 * 2.5. */
#pragma once

#include "base/attr.h"
#include "base/cursor.h"
#include "crypto/identity.h"
#include "wire/inetaddr.h"

#include <stddef.h>
#include <stdint.h>

enum {
    PEER_RECORD_FORMAT = 2,
    PEER_RECORD_PATHS_MAX = 64,
    PEER_RECORD_LEN_MAX = 1 + 71 + 8 + 2 + PEER_RECORD_PATHS_MAX * INETADDR_WIRE_MAX,
};

struct peer_record {
    struct identity identity; /* public half */
    uint16_t protocol;        /* versions the peer announced, 0 = unknown */
    uint16_t major;
    uint16_t minor;
    uint16_t revision;
    uint16_t path_count;
    struct inetaddr paths[PEER_RECORD_PATHS_MAX]; /* addresses to try */
};

/* Decode a record. Nil paths and those above the maximum are left out, trailing bytes ignored. The
 * identity is not validated. Returns 0; -EBADMSG: treat the record as absent. */
MUST_CHECK int peer_record_decode(struct rd in, struct peer_record *ret);

/* Append a record; at most PEER_RECORD_LEN_MAX bytes. */
void peer_record_encode(struct wr *w, const struct peer_record *rec);
