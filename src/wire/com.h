/* Certificates of membership: proof of a controller that a node belongs to a network.
 * Decides nothing about time or peers beyond the agreement test. Source: spec 03 section 6.1. */
#pragma once

#include "base/attr.h"
#include "base/cursor.h"
#include "crypto/identity.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    COM_VERSION = 1,
    COM_QUALIFIERS_MAX = 8,
    COM_QUALIFIER_LEN = 24,
    COM_IMAGE_MAX = COM_QUALIFIERS_MAX * COM_QUALIFIER_LEN, /* signed bytes */
    COM_WIRE_MAX = 3 + COM_QUALIFIERS_MAX * COM_QUALIFIER_LEN + 5 + SIGNATURE_LEN,
};

/* Qualifier ids with a meaning. */
enum com_qualifier_id {
    COM_TIMESTAMP = 0, /* controller clock, ms; its max delta is the time window */
    COM_NETWORK = 1,
    COM_HOLDER = 2,
    COM_HASH_FIRST = 3, /* 3..6: first 32 bytes of the holder's identity hash */
    COM_HASH_LAST = 6,
};

struct com_qualifier {
    uint64_t id; /* not decreasing within a certificate */
    uint64_t value;
    uint64_t max_delta; /* largest distance to the other's value that agrees */
};

struct com {
    struct com_qualifier qualifiers[COM_QUALIFIERS_MAX];
    uint64_t signer; /* address, 0 = unsigned */
    uint8_t signature[SIGNATURE_LEN];
    uint8_t count; /* qualifiers used */
};

/* Read one certificate; what follows it stays in r. Returns 0; -EBADMSG. */
MUST_CHECK int com_read(struct rd *r, struct com *ret);

/* Write it; signature only if the signer is not 0. */
void com_write(struct wr *w, const struct com *com);

/* Bytes com_write writes. */
size_t com_wire_len(const struct com *com);

/* Value and max delta of the first qualifier with this id, 0 if absent. */
uint64_t com_value(const struct com *com, uint64_t id);
uint64_t com_max_delta(const struct com *com, uint64_t id);

/* An unsigned certificate with the 7 usual qualifiers.
 * timestamp, window: ms of the controller's clock. holder: public half is used. */
void com_make(struct com *ret, uint64_t timestamp, uint64_t window, uint64_t network_id,
              const struct identity *holder);

/* The signed bytes: exactly the qualifier records. Returns their length.
 * out: COM_IMAGE_MAX bytes. */
size_t com_signed_image(const struct com *com, uint8_t *out);

/* Sign as signer (private half needed); sets signer and signature. */
void com_sign(struct com *com, const struct identity *signer);

/* Address whose identity com_verify needs, or 0 if no signature can be good: unsigned, or not
 * signed by the controller of its network. */
uint64_t com_signer(const struct com *com);

/* Verify against the identity of com_signer. Returns 0; -EACCES. */
MUST_CHECK int com_verify(const struct com *com, const struct identity *signer);

/* Agreement test, asymmetric: my window decides.
 * holder: the identity known here for the owner of other. */
bool com_agrees(const struct com *mine, const struct com *other, const struct identity *holder);

/* The same without the comparison of the timestamps (other must still have one if mine has): what
 * stays true while both are renewed. com_agrees = this and com_times_agree. */
bool com_agrees_but_time(const struct com *mine, const struct com *other,
                         const struct identity *holder);

/* Only the comparison of the timestamps; true if mine has none. */
bool com_times_agree(const struct com *mine, const struct com *other);

/* Same content and signature. */
bool com_equal(const struct com *a, const struct com *b);
