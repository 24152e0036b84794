/* Capabilities: rule sets a member may use, handed on by a chain of custody. A capability lives in
 * one heap block of exact size and is immutable once read or made; the received rule bytes are
 * kept, because the signature is checked over them. Source: spec 03 section 6.4. */
#pragma once

#include "base/attr.h"
#include "base/cursor.h"
#include "crypto/identity.h"
#include "wire/credential.h"
#include "wire/rule.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    CAPABILITIES_MAX = 128, /* per member */
    CUSTODY_MAX = 7,
};

struct custody {
    uint64_t to;   /* not covered by the signature */
    uint64_t from; /* who signed */
    struct signature signature;
};

struct capability {
    uint64_t network_id;
    uint64_t timestamp;
    uint32_t id;
    uint32_t raw_len;      /* bytes at raw, at most 64 * 257 */
    uint8_t rule_count;    /* at most RULES_CAPABILITY_MAX */
    uint8_t max_links;     /* 1..CUSTODY_MAX */
    uint8_t link_count;    /* 0..max_links */
    struct rule *rules;    /* in the same block */
    struct custody *links; /* in the same block */
    uint8_t *raw;          /* binary rules as received, in the same block */
};

/* Read one capability; what follows stays in r. *ret is freed by the caller with capability_free.
 * Returns 0; -EBADMSG; -ENOMEM. */
MUST_CHECK int capability_read(struct rd *r, struct capability **ret);

/* Make one with count rules (copied, at most 64), no links yet and max_links 1.
 * Returns NULL out of memory. */
struct capability *capability_make(uint64_t network_id, uint64_t timestamp, uint32_t id,
                                   const struct rule *rules, size_t count);

/* Make the only link: from signer (private half needed) to holder. The capability must come from
 * capability_make and have no link yet. Returns 0; -ENOMEM. */
MUST_CHECK int capability_sign(struct capability *cap, const struct identity *signer,
                               uint64_t holder);

/* A copy. Returns NULL out of memory. */
struct capability *capability_dup(const struct capability *cap);

/* Free; accepts NULL. */
void capability_free(struct capability *cap);

/* Write it with the rule bytes as received. */
void capability_write(struct wr *w, const struct capability *cap);

/* Bytes capability_write writes. */
size_t capability_wire_len(const struct capability *cap);

/* The bytes every link's signature covers: capability_image_len of them to out. */
size_t capability_image_len(const struct capability *cap);
void capability_signed_image(const struct capability *cap, uint8_t *out);

/* The last link's receiver, 0 without links. */
uint64_t capability_holder(const struct capability *cap);

/* Address whose identity is needed to verify link number i (0 .. link_count - 1), or 0 if nothing
 * can make the capability valid: no link, broken chain, first link not from the controller,
 * unknown signature type. Independent of i as far as validity goes. */
uint64_t capability_signer(const struct capability *cap, size_t i);

/* Verify the signature of link i with the identity of capability_signer(cap, i); a capability is
 * valid if all links are. Returns 0; -EACCES; -ENOMEM. */
MUST_CHECK int capability_verify(const struct capability *cap, size_t i,
                                 const struct identity *signer);

/* Same content and signatures. */
bool capability_equal(const struct capability *a, const struct capability *b);
