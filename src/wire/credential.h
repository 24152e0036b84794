/* Tags, certificates of ownership and revocations, and what all credentials but certificates of
 * membership share: the signature block. Capabilities: wire/capability.h.
 *
 * Verification is pure: X_signer names the address whose identity is needed (0: cannot be valid),
 * the caller finds it (unknown: WHOIS and retry), X_verify decides. Timestamps are ms of the
 * controller's clock. Source: spec 03 sections 6.2, 6.3, 6.5. */
#pragma once

#include "base/attr.h"
#include "base/cursor.h"
#include "crypto/identity.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Type numbers as in revocations and traces. */
enum credential_type {
    CREDENTIAL_NONE = 0,
    CREDENTIAL_COM = 1,
    CREDENTIAL_CAPABILITY = 2,
    CREDENTIAL_TAG = 3,
    CREDENTIAL_OWNERSHIP = 4,
    CREDENTIAL_REVOCATION = 6,
};

enum {
    OWNERSHIP_THINGS_MAX = 16,
    OWNERSHIPS_MAX = 4, /* per member */
    TAGS_MAX = 128,     /* per member */
    TAG_WIRE_LEN = 135,
    REVOCATION_WIRE_LEN = 152,
    OWNERSHIP_WIRE_MAX = 141 + 17 * OWNERSHIP_THINGS_MAX,
    SIGNED_IMAGE_MAX = 330, /* longest image of the kinds in this header */
    SIGNATURE_TYPE = 1,     /* the only type that verifies */
};

/* Signature block: u8 type, u16 length, bytes. Of an unknown type only the number is kept. */
struct signature {
    uint8_t type; /* SIGNATURE_TYPE, else never verifies */
    uint8_t bytes[SIGNATURE_LEN];
};

struct tag {
    uint64_t network_id;
    uint64_t timestamp;
    uint64_t holder;
    uint64_t signer;
    uint32_t id;
    uint32_t value;
    struct signature signature;
};

enum thing_type {
    THING_MAC = 1,
    THING_IPV4 = 2,
    THING_IPV6 = 3,
};

struct thing {
    uint8_t type;      /* enum thing_type; others never match */
    uint8_t value[16]; /* 6, 4 or 16 bytes count, the rest is padding */
};

struct ownership {
    uint64_t network_id;
    uint64_t timestamp;
    uint64_t flags; /* 0 */
    uint64_t holder;
    uint64_t signer;
    uint32_t id;
    uint16_t count; /* things used */
    struct thing things[OWNERSHIP_THINGS_MAX];
    struct signature signature;
};

#define REVOCATION_FAST UINT64_C(1) /* flags: members pass it on */

struct revocation {
    uint64_t network_id;
    uint64_t threshold; /* credentials with a timestamp up to this are invalid */
    uint64_t flags;     /* REVOCATION_FAST */
    uint64_t target;    /* member */
    uint64_t signer;
    uint32_t id;            /* arbitrary */
    uint32_t credential_id; /* of what is revoked; 0 for COM */
    uint8_t type;           /* enum credential_type of what is revoked */
    struct signature signature;
};

/* Signature block and the trailing "extra length" with its bytes (skipped), for credentials. */
void signature_read(struct rd *r, struct signature *ret);
void signature_write(struct wr *w, const struct signature *sig);
void credential_skip_extra(struct rd *r);
bool signature_equal(const struct signature *a, const struct signature *b);

/* Read one object; what follows stays in r. Returns 0; -EBADMSG. */
MUST_CHECK int tag_read(struct rd *r, struct tag *ret);
MUST_CHECK int ownership_read(struct rd *r, struct ownership *ret);
MUST_CHECK int revocation_read(struct rd *r, struct revocation *ret);

/* Write one object. */
void tag_write(struct wr *w, const struct tag *tag);
void ownership_write(struct wr *w, const struct ownership *own);
void revocation_write(struct wr *w, const struct revocation *rev);

/* Bytes ownership_write writes (with a signature of SIGNATURE_TYPE). */
size_t ownership_wire_len(const struct ownership *own);

/* The bytes a signature covers, at most SIGNED_IMAGE_MAX. Return the length. */
size_t tag_signed_image(const struct tag *tag, uint8_t *out);
size_t ownership_signed_image(const struct ownership *own, uint8_t *out);
size_t revocation_signed_image(const struct revocation *rev, uint8_t *out);

/* Sign as signer (private half needed); sets signer and signature. */
void tag_sign(struct tag *tag, const struct identity *signer);
void ownership_sign(struct ownership *own, const struct identity *signer);
void revocation_sign(struct revocation *rev, const struct identity *signer);

/* Address whose identity is needed to verify, or 0 if nothing can make it valid (not signed by
 * the controller of its network, or an unknown signature type). */
uint64_t tag_signer(const struct tag *tag);
uint64_t ownership_signer(const struct ownership *own);
uint64_t revocation_signer(const struct revocation *rev);

/* Verify against the identity of X_signer. Returns 0; -EACCES. */
MUST_CHECK int tag_verify(const struct tag *tag, const struct identity *signer);
MUST_CHECK int ownership_verify(const struct ownership *own, const struct identity *signer);
MUST_CHECK int revocation_verify(const struct revocation *rev, const struct identity *signer);

/* Same content and signature. */
bool tag_equal(const struct tag *a, const struct tag *b);
bool ownership_equal(const struct ownership *a, const struct ownership *b);

/* Add a thing. ip_len: 4 or 16. Returns 0; -ENOSPC when there are 16. */
MUST_CHECK int ownership_add_ip(struct ownership *own, const uint8_t *ip, size_t ip_len);
MUST_CHECK int ownership_add_mac(struct ownership *own, uint64_t mac);

/* True if one of count things is this IP (ip_len 4 or 16), this MAC. */
bool things_own_ip(const struct thing *things, size_t count, const uint8_t *ip, size_t ip_len);
bool things_own_mac(const struct thing *things, size_t count, uint64_t mac);
bool ownership_owns_ip(const struct ownership *own, const uint8_t *ip, size_t ip_len);
bool ownership_owns_mac(const struct ownership *own, uint64_t mac);
