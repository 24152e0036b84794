/* Capabilities. Source: spec 03 section 6.4. */
#include "wire/capability.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* The marker at both ends of the signed image. */
#define IMAGE_MARK UINT64_C(0x7f7f7f7f7f7f7f7f)

enum {
    HEAD_LEN = 8 + 8 + 4 + 2,               /* network, timestamp, id, number of rules */
    IMAGE_EXTRA = 8 + HEAD_LEN + 1 + 2 + 8, /* image without the rules */
    LINK_LEN = 5 + 5 + 3 + SIGNATURE_LEN,
};

/* One block for everything: struct, rules, links, rule bytes. */
static struct capability *block_new(size_t rule_count, size_t link_count, size_t raw_len)
{
    size_t rules_at = sizeof(struct capability);
    size_t links_at = rules_at + rule_count * sizeof(struct rule);
    size_t raw_at = links_at + link_count * sizeof(struct custody);
    struct capability *cap = calloc(1, raw_at + raw_len);

    if (cap != NULL) {
        cap->rules = (struct rule *)(void *)((uint8_t *)cap + rules_at);
        cap->links = (struct custody *)(void *)((uint8_t *)cap + links_at);
        cap->raw = (uint8_t *)cap + raw_at;
        cap->rule_count = (uint8_t)rule_count;
        cap->link_count = (uint8_t)link_count;
        cap->raw_len = (uint32_t)raw_len;
    }
    return cap;
}

_Static_assert(sizeof(struct capability) % _Alignof(struct rule) == 0, "rules follow the struct");
_Static_assert(sizeof(struct rule) % _Alignof(struct custody) == 0, "links follow the rules");

/* Read the links up to and with the zero address that ends them; r goes bad when there are more
 * than max. Returns their number. */
static size_t links_read(struct rd *r, size_t max, struct custody *links)
{
    size_t n = 0;

    for (;;) {
        uint64_t to = rd_u40(r);

        if (r->bad || to == 0) {
            return n;
        }
        if (n >= max) {
            r->bad = true;
            return n;
        }
        links[n].to = to;
        links[n].from = rd_u40(r);
        signature_read(r, &links[n].signature);
        n++;
    }
}

int capability_read(struct rd *r, struct capability **ret)
{
    struct custody links[CUSTODY_MAX];
    struct rule rules[RULES_CAPABILITY_MAX];
    uint64_t network_id = rd_u64(r);
    uint64_t timestamp = rd_u64(r);
    uint32_t id = rd_u32(r);
    uint16_t rule_count = rd_u16(r);
    struct capability *cap;
    const uint8_t *raw = r->p;
    size_t raw_len;
    size_t link_count;
    uint8_t max_links;

    if (r->bad || rule_count > RULES_CAPABILITY_MAX || rules_read(r, rules, rule_count) < 0) {
        r->bad = true;
        return -EBADMSG;
    }
    raw_len = (size_t)(r->p - raw);
    max_links = rd_u8(r);
    if (max_links < 1 || max_links > CUSTODY_MAX) {
        r->bad = true;
        return -EBADMSG;
    }
    link_count = links_read(r, max_links, links);
    credential_skip_extra(r);
    if (r->bad) {
        return -EBADMSG;
    }
    cap = block_new(rule_count, link_count, raw_len);
    if (cap == NULL) {
        return -ENOMEM;
    }
    cap->network_id = network_id;
    cap->timestamp = timestamp;
    cap->id = id;
    cap->max_links = max_links;
    memcpy(cap->rules, rules, rule_count * sizeof(*rules));
    memcpy(cap->links, links, link_count * sizeof(*links));
    memcpy(cap->raw, raw, raw_len);
    *ret = cap;
    return 0;
}

struct capability *capability_make(uint64_t network_id, uint64_t timestamp, uint32_t id,
                                   const struct rule *rules, size_t count)
{
    size_t used = count < RULES_CAPABILITY_MAX ? count : RULES_CAPABILITY_MAX;
    size_t raw_len = rules_wire_len(rules, used);
    struct capability *cap = block_new(used, 1, raw_len);
    struct wr w;

    if (cap == NULL) {
        return NULL;
    }
    cap->network_id = network_id;
    cap->timestamp = timestamp;
    cap->id = id;
    cap->max_links = 1;
    cap->link_count = 0;
    if (used > 0) {
        memcpy(cap->rules, rules, used * sizeof(*rules));
    }
    w = wr_init(cap->raw, raw_len);
    rules_write(&w, rules, used);
    return cap;
}

int capability_sign(struct capability *cap, const struct identity *signer, uint64_t holder)
{
    size_t len = capability_image_len(cap);
    uint8_t *image = malloc(len);
    struct custody *link = &cap->links[0];

    if (image == NULL) {
        return -ENOMEM;
    }
    capability_signed_image(cap, image);
    link->to = holder;
    link->from = signer->address;
    link->signature.type = SIGNATURE_TYPE;
    identity_sign(signer, image, len, link->signature.bytes);
    cap->link_count = 1;
    free(image);
    return 0;
}

struct capability *capability_dup(const struct capability *cap)
{
    struct capability *copy =
        block_new(cap->rule_count, cap->link_count > 0 ? cap->link_count : 1, cap->raw_len);

    if (copy != NULL) {
        copy->network_id = cap->network_id;
        copy->timestamp = cap->timestamp;
        copy->id = cap->id;
        copy->max_links = cap->max_links;
        copy->link_count = cap->link_count;
        memcpy(copy->rules, cap->rules, cap->rule_count * sizeof(*cap->rules));
        memcpy(copy->links, cap->links, cap->link_count * sizeof(*cap->links));
        memcpy(copy->raw, cap->raw, cap->raw_len);
    }
    return copy;
}

void capability_free(struct capability *cap)
{
    free(cap);
}

static void head_write(struct wr *w, const struct capability *cap)
{
    wr_u64(w, cap->network_id);
    wr_u64(w, cap->timestamp);
    wr_u32(w, cap->id);
    wr_u16(w, cap->rule_count);
    wr_bytes(w, cap->raw, cap->raw_len);
    wr_u8(w, cap->max_links);
}

void capability_write(struct wr *w, const struct capability *cap)
{
    head_write(w, cap);
    for (size_t i = 0; i < cap->link_count; i++) {
        wr_u40(w, cap->links[i].to);
        wr_u40(w, cap->links[i].from);
        signature_write(w, &cap->links[i].signature);
    }
    wr_u40(w, 0);
    wr_u16(w, 0);
}

size_t capability_wire_len(const struct capability *cap)
{
    size_t len = HEAD_LEN + cap->raw_len + 1 + 5 + 2;

    for (size_t i = 0; i < cap->link_count; i++) {
        len += cap->links[i].signature.type == SIGNATURE_TYPE ? LINK_LEN : LINK_LEN - SIGNATURE_LEN;
    }
    return len;
}

size_t capability_image_len(const struct capability *cap)
{
    return IMAGE_EXTRA + cap->raw_len;
}

void capability_signed_image(const struct capability *cap, uint8_t *out)
{
    struct wr w = wr_init(out, capability_image_len(cap));

    wr_u64(&w, IMAGE_MARK);
    head_write(&w, cap);
    wr_u16(&w, 0);
    wr_u64(&w, IMAGE_MARK);
}

uint64_t capability_holder(const struct capability *cap)
{
    return cap->link_count > 0 ? cap->links[cap->link_count - 1].to : 0;
}

/* The chain begins at the controller, is unbroken and of signatures that can be checked. */
static bool chain_is_sound(const struct capability *cap)
{
    uint64_t from = cap->network_id >> 24;

    for (size_t i = 0; i < cap->link_count; i++) {
        const struct custody *link = &cap->links[i];

        if (link->from == 0 || link->from != from || link->to == 0 ||
            link->signature.type != SIGNATURE_TYPE) {
            return false;
        }
        from = link->to;
    }
    return cap->link_count > 0;
}

uint64_t capability_signer(const struct capability *cap, size_t i)
{
    return i < cap->link_count && chain_is_sound(cap) ? cap->links[i].from : 0;
}

int capability_verify(const struct capability *cap, size_t i, const struct identity *signer)
{
    uint64_t expected = capability_signer(cap, i);
    size_t len = capability_image_len(cap);
    uint8_t *image;
    int err;

    if (expected == 0 || signer->address != expected) {
        return -EACCES;
    }
    image = malloc(len);
    if (image == NULL) {
        return -ENOMEM;
    }
    capability_signed_image(cap, image);
    err = identity_verify(signer, image, len, cap->links[i].signature.bytes, SIGNATURE_LEN);
    free(image);
    return err;
}

bool capability_equal(const struct capability *a, const struct capability *b)
{
    if (a->network_id != b->network_id || a->timestamp != b->timestamp || a->id != b->id ||
        a->rule_count != b->rule_count || a->max_links != b->max_links ||
        a->link_count != b->link_count || a->raw_len != b->raw_len ||
        memcmp(a->raw, b->raw, a->raw_len) != 0) {
        return false;
    }
    for (size_t i = 0; i < a->link_count; i++) {
        const struct custody *x = &a->links[i];
        const struct custody *y = &b->links[i];

        if (x->to != y->to || x->from != y->from ||
            !signature_equal(&x->signature, &y->signature)) {
            return false;
        }
    }
    return true;
}
