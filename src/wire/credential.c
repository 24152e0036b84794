/* Tags, certificates of ownership, revocations. Source: spec 03 sections 6.2, 6.3, 6.5. */
#include "wire/credential.h"

#include <errno.h>
#include <string.h>

/* The marker at both ends of a signed image. */
#define IMAGE_MARK UINT64_C(0x7f7f7f7f7f7f7f7f)

void signature_read(struct rd *r, struct signature *ret)
{
    struct signature sig = {.type = rd_u8(r)};
    uint16_t len = rd_u16(r);

    if (sig.type == SIGNATURE_TYPE && len != SIGNATURE_LEN) {
        r->bad = true;
    } else if (sig.type == SIGNATURE_TYPE) {
        rd_copy(r, sig.bytes, SIGNATURE_LEN);
    } else {
        rd_skip(r, len);
    }
    *ret = sig;
}

void signature_write(struct wr *w, const struct signature *sig)
{
    wr_u8(w, sig->type);
    wr_u16(w, sig->type == SIGNATURE_TYPE ? SIGNATURE_LEN : 0);
    wr_bytes(w, sig->bytes, sig->type == SIGNATURE_TYPE ? SIGNATURE_LEN : 0);
}

void credential_skip_extra(struct rd *r)
{
    rd_skip(r, rd_u16(r));
}

bool signature_equal(const struct signature *a, const struct signature *b)
{
    return a->type == b->type && memcmp(a->bytes, b->bytes, SIGNATURE_LEN) == 0;
}

/* The controller of the network if it is the signer and the signature is of the known type. */
static uint64_t usable_signer(uint64_t network_id, uint64_t signer, const struct signature *sig)
{
    return signer == network_id >> 24 && sig->type == SIGNATURE_TYPE ? signer : 0;
}

static int verify_image(uint64_t expected, const struct identity *signer, const uint8_t *image,
                        size_t len, const struct signature *sig)
{
    if (expected == 0 || signer->address != expected) {
        return -EACCES;
    }
    return identity_verify(signer, image, len, sig->bytes, SIGNATURE_LEN);
}

static void sign_image(const struct identity *signer, const uint8_t *image, size_t len,
                       struct signature *sig)
{
    sig->type = SIGNATURE_TYPE;
    identity_sign(signer, image, len, sig->bytes);
}

static struct wr image_begin(uint8_t *out)
{
    struct wr w = wr_init(out, SIGNED_IMAGE_MAX);

    wr_u64(&w, IMAGE_MARK);
    return w;
}

static size_t image_end(struct wr *w)
{
    wr_u16(w, 0);
    wr_u64(w, IMAGE_MARK);
    return wr_len(w);
}

/* Tags */

int tag_read(struct rd *r, struct tag *ret)
{
    struct tag tag = {
        .network_id = rd_u64(r),
    };

    tag.timestamp = rd_u64(r);
    tag.id = rd_u32(r);
    tag.value = rd_u32(r);
    tag.holder = rd_u40(r);
    tag.signer = rd_u40(r);
    signature_read(r, &tag.signature);
    credential_skip_extra(r);
    if (r->bad) {
        return -EBADMSG;
    }
    *ret = tag;
    return 0;
}

static void tag_fields_write(struct wr *w, const struct tag *tag)
{
    wr_u64(w, tag->network_id);
    wr_u64(w, tag->timestamp);
    wr_u32(w, tag->id);
    wr_u32(w, tag->value);
    wr_u40(w, tag->holder);
    wr_u40(w, tag->signer);
}

void tag_write(struct wr *w, const struct tag *tag)
{
    tag_fields_write(w, tag);
    signature_write(w, &tag->signature);
    wr_u16(w, 0);
}

size_t tag_signed_image(const struct tag *tag, uint8_t *out)
{
    struct wr w = image_begin(out);

    tag_fields_write(&w, tag);
    return image_end(&w);
}

void tag_sign(struct tag *tag, const struct identity *signer)
{
    uint8_t image[SIGNED_IMAGE_MAX];

    tag->signer = signer->address;
    sign_image(signer, image, tag_signed_image(tag, image), &tag->signature);
}

uint64_t tag_signer(const struct tag *tag)
{
    return usable_signer(tag->network_id, tag->signer, &tag->signature);
}

int tag_verify(const struct tag *tag, const struct identity *signer)
{
    uint8_t image[SIGNED_IMAGE_MAX];
    size_t len = tag_signed_image(tag, image);

    return verify_image(tag_signer(tag), signer, image, len, &tag->signature);
}

bool tag_equal(const struct tag *a, const struct tag *b)
{
    return a->network_id == b->network_id && a->timestamp == b->timestamp && a->id == b->id &&
           a->value == b->value && a->holder == b->holder && a->signer == b->signer &&
           signature_equal(&a->signature, &b->signature);
}

/* Certificates of ownership */

int ownership_read(struct rd *r, struct ownership *ret)
{
    struct ownership own = {
        .network_id = rd_u64(r),
    };

    own.timestamp = rd_u64(r);
    own.flags = rd_u64(r);
    own.id = rd_u32(r);
    own.count = rd_u16(r);
    if (r->bad || own.count > OWNERSHIP_THINGS_MAX) {
        r->bad = true;
        return -EBADMSG;
    }
    for (size_t i = 0; i < own.count; i++) {
        own.things[i].type = rd_u8(r);
        rd_copy(r, own.things[i].value, sizeof(own.things[i].value));
    }
    own.holder = rd_u40(r);
    own.signer = rd_u40(r);
    signature_read(r, &own.signature);
    credential_skip_extra(r);
    if (r->bad) {
        return -EBADMSG;
    }
    *ret = own;
    return 0;
}

static void ownership_fields_write(struct wr *w, const struct ownership *own)
{
    wr_u64(w, own->network_id);
    wr_u64(w, own->timestamp);
    wr_u64(w, own->flags);
    wr_u32(w, own->id);
    wr_u16(w, own->count);
    for (size_t i = 0; i < own->count; i++) {
        wr_u8(w, own->things[i].type);
        wr_bytes(w, own->things[i].value, sizeof(own->things[i].value));
    }
    wr_u40(w, own->holder);
    wr_u40(w, own->signer);
}

void ownership_write(struct wr *w, const struct ownership *own)
{
    ownership_fields_write(w, own);
    signature_write(w, &own->signature);
    wr_u16(w, 0);
}

size_t ownership_wire_len(const struct ownership *own)
{
    return OWNERSHIP_WIRE_MAX - (size_t)17 * (OWNERSHIP_THINGS_MAX - own->count);
}

size_t ownership_signed_image(const struct ownership *own, uint8_t *out)
{
    struct wr w = image_begin(out);

    ownership_fields_write(&w, own);
    return image_end(&w);
}

void ownership_sign(struct ownership *own, const struct identity *signer)
{
    uint8_t image[SIGNED_IMAGE_MAX];

    own->signer = signer->address;
    sign_image(signer, image, ownership_signed_image(own, image), &own->signature);
}

uint64_t ownership_signer(const struct ownership *own)
{
    return usable_signer(own->network_id, own->signer, &own->signature);
}

int ownership_verify(const struct ownership *own, const struct identity *signer)
{
    uint8_t image[SIGNED_IMAGE_MAX];
    size_t len = ownership_signed_image(own, image);

    return verify_image(ownership_signer(own), signer, image, len, &own->signature);
}

bool ownership_equal(const struct ownership *a, const struct ownership *b)
{
    if (a->network_id != b->network_id || a->timestamp != b->timestamp || a->flags != b->flags ||
        a->id != b->id || a->holder != b->holder || a->signer != b->signer ||
        a->count != b->count || !signature_equal(&a->signature, &b->signature)) {
        return false;
    }
    for (size_t i = 0; i < a->count; i++) {
        if (a->things[i].type != b->things[i].type ||
            memcmp(a->things[i].value, b->things[i].value, sizeof(a->things[i].value)) != 0) {
            return false;
        }
    }
    return true;
}

/* Revocations */

int revocation_read(struct rd *r, struct revocation *ret)
{
    struct revocation rev = {0};

    rd_skip(r, 4);
    rev.id = rd_u32(r);
    rev.network_id = rd_u64(r);
    rd_skip(r, 4);
    rev.credential_id = rd_u32(r);
    rev.threshold = rd_u64(r);
    rev.flags = rd_u64(r);
    rev.target = rd_u40(r);
    rev.signer = rd_u40(r);
    rev.type = rd_u8(r);
    signature_read(r, &rev.signature);
    credential_skip_extra(r);
    if (r->bad) {
        return -EBADMSG;
    }
    *ret = rev;
    return 0;
}

static void revocation_fields_write(struct wr *w, const struct revocation *rev)
{
    wr_u32(w, 0);
    wr_u32(w, rev->id);
    wr_u64(w, rev->network_id);
    wr_u32(w, 0);
    wr_u32(w, rev->credential_id);
    wr_u64(w, rev->threshold);
    wr_u64(w, rev->flags);
    wr_u40(w, rev->target);
    wr_u40(w, rev->signer);
    wr_u8(w, rev->type);
}

void revocation_write(struct wr *w, const struct revocation *rev)
{
    revocation_fields_write(w, rev);
    signature_write(w, &rev->signature);
    wr_u16(w, 0);
}

size_t revocation_signed_image(const struct revocation *rev, uint8_t *out)
{
    struct wr w = image_begin(out);

    revocation_fields_write(&w, rev);
    return image_end(&w);
}

void revocation_sign(struct revocation *rev, const struct identity *signer)
{
    uint8_t image[SIGNED_IMAGE_MAX];

    rev->signer = signer->address;
    sign_image(signer, image, revocation_signed_image(rev, image), &rev->signature);
}

uint64_t revocation_signer(const struct revocation *rev)
{
    return usable_signer(rev->network_id, rev->signer, &rev->signature);
}

int revocation_verify(const struct revocation *rev, const struct identity *signer)
{
    uint8_t image[SIGNED_IMAGE_MAX];
    size_t len = revocation_signed_image(rev, image);

    return verify_image(revocation_signer(rev), signer, image, len, &rev->signature);
}
