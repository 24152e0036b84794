/* Certificates of membership. Source: spec 03 section 6.1. */
#include "wire/com.h"

#include <errno.h>
#include <string.h>

int com_read(struct rd *r, struct com *ret)
{
    struct com com = {0};
    uint8_t version = rd_u8(r);
    uint16_t count = rd_u16(r);

    if (r->bad || version != COM_VERSION || count > COM_QUALIFIERS_MAX) {
        r->bad = true;
        return -EBADMSG;
    }
    com.count = (uint8_t)count;
    for (size_t i = 0; i < com.count; i++) {
        struct com_qualifier *q = &com.qualifiers[i];

        q->id = rd_u64(r);
        q->value = rd_u64(r);
        q->max_delta = rd_u64(r);
        r->bad = r->bad || (i > 0 && q->id < q[-1].id);
    }
    com.signer = rd_u40(r);
    if (com.signer != 0) {
        rd_copy(r, com.signature, SIGNATURE_LEN);
    }
    if (r->bad) {
        return -EBADMSG;
    }
    *ret = com;
    return 0;
}

static void qualifiers_write(struct wr *w, const struct com *com)
{
    for (size_t i = 0; i < com->count; i++) {
        wr_u64(w, com->qualifiers[i].id);
        wr_u64(w, com->qualifiers[i].value);
        wr_u64(w, com->qualifiers[i].max_delta);
    }
}

void com_write(struct wr *w, const struct com *com)
{
    wr_u8(w, COM_VERSION);
    wr_u16(w, com->count);
    qualifiers_write(w, com);
    wr_u40(w, com->signer);
    if (com->signer != 0) {
        wr_bytes(w, com->signature, SIGNATURE_LEN);
    }
}

size_t com_wire_len(const struct com *com)
{
    return 3 + (size_t)com->count * COM_QUALIFIER_LEN + 5 + (com->signer != 0 ? SIGNATURE_LEN : 0);
}

static const struct com_qualifier *find(const struct com *com, uint64_t id)
{
    for (size_t i = 0; i < com->count; i++) {
        if (com->qualifiers[i].id == id) {
            return &com->qualifiers[i];
        }
    }
    return NULL;
}

/* The last qualifier with this id: what counts in the other's certificate when mine is compared. */
static const struct com_qualifier *find_last(const struct com *com, uint64_t id)
{
    for (size_t i = com->count; i > 0; i--) {
        if (com->qualifiers[i - 1].id == id) {
            return &com->qualifiers[i - 1];
        }
    }
    return NULL;
}

uint64_t com_value(const struct com *com, uint64_t id)
{
    const struct com_qualifier *q = find(com, id);

    return q != NULL ? q->value : 0;
}

uint64_t com_max_delta(const struct com *com, uint64_t id)
{
    const struct com_qualifier *q = find(com, id);

    return q != NULL ? q->max_delta : 0;
}

void com_make(struct com *ret, uint64_t timestamp, uint64_t window, uint64_t network_id,
              const struct identity *holder)
{
    uint8_t hash[IDENTITY_HASH_LEN];
    struct com com = {
        .qualifiers =
            {
                {COM_TIMESTAMP, timestamp, window},
                {COM_NETWORK, network_id, 0},
                {COM_HOLDER, holder->address, UINT64_MAX},
            },
        .count = 3,
    };

    identity_hash(holder, hash);
    for (uint64_t id = COM_HASH_FIRST; id <= COM_HASH_LAST; id++) {
        com.qualifiers[com.count++] = (struct com_qualifier){
            .id = id,
            .value = be64_get(hash + 8 * (id - COM_HASH_FIRST)),
            .max_delta = UINT64_MAX,
        };
    }
    *ret = com;
}

size_t com_signed_image(const struct com *com, uint8_t *out)
{
    struct wr w = wr_init(out, COM_IMAGE_MAX);

    qualifiers_write(&w, com);
    return wr_len(&w);
}

void com_sign(struct com *com, const struct identity *signer)
{
    uint8_t image[COM_IMAGE_MAX];
    size_t len = com_signed_image(com, image);

    com->signer = signer->address;
    identity_sign(signer, image, len, com->signature);
}

uint64_t com_signer(const struct com *com)
{
    return com->signer == com_value(com, COM_NETWORK) >> 24 ? com->signer : 0;
}

int com_verify(const struct com *com, const struct identity *signer)
{
    uint8_t image[COM_IMAGE_MAX];
    size_t len = com_signed_image(com, image);

    if (com_signer(com) == 0 || com->signer != signer->address) {
        return -EACCES;
    }
    return identity_verify(signer, image, len, com->signature, SIGNATURE_LEN);
}

/* One qualifier of mine against the other's certificate. */
static bool qualifier_agrees(const struct com_qualifier *mine, const struct com *other)
{
    const struct com_qualifier *q = find_last(other, mine->id);

    if (q == NULL) {
        return false;
    }
    return (q->value > mine->value ? q->value - mine->value : mine->value - q->value) <=
           mine->max_delta;
}

/* The other certificate's hash words are all there and are those of its holder. */
static bool hash_agrees(const struct com *other, const struct identity *holder)
{
    uint8_t hash[IDENTITY_HASH_LEN];

    identity_hash(holder, hash);
    for (uint64_t id = COM_HASH_FIRST; id <= COM_HASH_LAST; id++) {
        const struct com_qualifier *q = find_last(other, id);

        if (q == NULL || q->value != be64_get(hash + 8 * (id - COM_HASH_FIRST))) {
            return false;
        }
    }
    return true;
}

static bool agrees(const struct com *mine, const struct com *other, const struct identity *holder,
                   bool with_time)
{
    bool wants_hash = false;

    if (mine->count == 0 || other->count == 0) {
        return false;
    }
    for (size_t i = 0; i < mine->count; i++) {
        const struct com_qualifier *q = &mine->qualifiers[i];
        bool skip = q->id == COM_TIMESTAMP && !with_time;

        if (skip ? find(other, q->id) == NULL : !qualifier_agrees(q, other)) {
            return false;
        }
        wants_hash = wants_hash || (q->id >= COM_HASH_FIRST && q->id <= COM_HASH_LAST);
    }
    return !wants_hash || hash_agrees(other, holder);
}

bool com_agrees(const struct com *mine, const struct com *other, const struct identity *holder)
{
    return agrees(mine, other, holder, true);
}

bool com_agrees_but_time(const struct com *mine, const struct com *other,
                         const struct identity *holder)
{
    return agrees(mine, other, holder, false);
}

bool com_times_agree(const struct com *mine, const struct com *other)
{
    for (size_t i = 0; i < mine->count; i++) {
        const struct com_qualifier *q = &mine->qualifiers[i];

        if (q->id == COM_TIMESTAMP && !qualifier_agrees(q, other)) {
            return false;
        }
    }
    return true;
}

bool com_equal(const struct com *a, const struct com *b)
{
    uint8_t a_bytes[COM_WIRE_MAX];
    uint8_t b_bytes[COM_WIRE_MAX];
    struct wr a_out = wr_init(a_bytes, sizeof(a_bytes));
    struct wr b_out = wr_init(b_bytes, sizeof(b_bytes));

    com_write(&a_out, a);
    com_write(&b_out, b);
    return wr_len(&a_out) == wr_len(&b_out) && memcmp(a_bytes, b_bytes, wr_len(&a_out)) == 0;
}
