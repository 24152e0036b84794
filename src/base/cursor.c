/* Reading and writing bytes by cursors; the only arithmetic on bytes from outside: see cursor.h. */
#include "base/cursor.h"

#include <errno.h>
#include <string.h>

struct rd rd_init(const void *data, size_t len)
{
    static const uint8_t none[1];
    const uint8_t *p = data != NULL ? data : none;

    return (struct rd){.p = p, .end = p + (data != NULL ? len : 0), .bad = data == NULL && len > 0};
}

size_t rd_left(const struct rd *r)
{
    return r->bad ? 0 : (size_t)(r->end - r->p);
}

const uint8_t *rd_bytes(struct rd *r, size_t len)
{
    const uint8_t *at = r->p;

    if (r->bad || len > (size_t)(r->end - r->p)) {
        r->bad = true;
        return NULL;
    }
    r->p += len;
    return at;
}

static uint64_t rd_uint(struct rd *r, size_t len)
{
    const uint8_t *p = rd_bytes(r, len);
    uint64_t v = 0;

    if (p == NULL) {
        return 0;
    }
    for (size_t i = 0; i < len; i++) {
        v = v << 8 | p[i];
    }
    return v;
}

uint8_t rd_u8(struct rd *r)
{
    return (uint8_t)rd_uint(r, 1);
}

uint16_t rd_u16(struct rd *r)
{
    return (uint16_t)rd_uint(r, 2);
}

uint32_t rd_u24(struct rd *r)
{
    return (uint32_t)rd_uint(r, 3);
}

uint32_t rd_u32(struct rd *r)
{
    return (uint32_t)rd_uint(r, 4);
}

uint64_t rd_u40(struct rd *r)
{
    return rd_uint(r, 5);
}

uint64_t rd_u64(struct rd *r)
{
    return rd_uint(r, 8);
}

void rd_copy(struct rd *r, void *out, size_t len)
{
    const uint8_t *p = rd_bytes(r, len);

    if (p != NULL) {
        memcpy(out, p, len);
    } else {
        memset(out, 0, len);
    }
}

void rd_skip(struct rd *r, size_t len)
{
    (void)rd_bytes(r, len);
}

struct rd rd_sub(struct rd *r, size_t len)
{
    const uint8_t *p = rd_bytes(r, len);
    struct rd sub = rd_init(p, p != NULL ? len : 0);

    sub.bad = p == NULL;
    return sub;
}

int rd_done(const struct rd *r)
{
    return !r->bad && r->p == r->end ? 0 : -EBADMSG;
}

struct wr wr_init(void *data, size_t cap)
{
    return (struct wr){.p = data, .end = (uint8_t *)data + cap, .start = data, .bad = false};
}

size_t wr_len(const struct wr *w)
{
    return (size_t)(w->p - w->start);
}

size_t wr_left(const struct wr *w)
{
    return w->bad ? 0 : (size_t)(w->end - w->p);
}

static uint8_t *wr_take(struct wr *w, size_t len)
{
    uint8_t *at = w->p;

    if (w->bad || len > (size_t)(w->end - w->p)) {
        w->bad = true;
        return NULL;
    }
    w->p += len;
    return at;
}

static void wr_uint(struct wr *w, uint64_t v, size_t len)
{
    uint8_t *p = wr_take(w, len);

    for (size_t i = 0; p != NULL && i < len; i++) {
        p[i] = (uint8_t)(v >> 8 * (len - 1 - i));
    }
}

void wr_u8(struct wr *w, uint8_t v)
{
    wr_uint(w, v, 1);
}

void wr_u16(struct wr *w, uint16_t v)
{
    wr_uint(w, v, 2);
}

void wr_u24(struct wr *w, uint32_t v)
{
    wr_uint(w, v, 3);
}

void wr_u32(struct wr *w, uint32_t v)
{
    wr_uint(w, v, 4);
}

void wr_u40(struct wr *w, uint64_t v)
{
    wr_uint(w, v, 5);
}

void wr_u64(struct wr *w, uint64_t v)
{
    wr_uint(w, v, 8);
}

void wr_bytes(struct wr *w, const void *data, size_t len)
{
    uint8_t *p = wr_take(w, len);

    if (p != NULL && len > 0) {
        memcpy(p, data, len);
    }
}

void wr_zero(struct wr *w, size_t len)
{
    uint8_t *p = wr_take(w, len);

    if (p != NULL && len > 0) {
        memset(p, 0, len);
    }
}

size_t wr_mark(struct wr *w, size_t len)
{
    size_t at = wr_len(w);

    wr_zero(w, len);
    return at;
}

void wr_patch_u16(struct wr *w, size_t mark, uint16_t v)
{
    if (!w->bad) {
        be16_put(w->start + mark, v);
    }
}

uint16_t be16_get(const uint8_t *p)
{
    return (uint16_t)(p[0] << 8 | p[1]);
}

uint32_t be32_get(const uint8_t *p)
{
    return (uint32_t)be16_get(p) << 16 | be16_get(p + 2);
}

uint64_t be40_get(const uint8_t *p)
{
    return (uint64_t)be32_get(p) << 8 | p[4];
}

uint64_t be64_get(const uint8_t *p)
{
    return (uint64_t)be32_get(p) << 32 | be32_get(p + 4);
}

void be16_put(uint8_t *p, uint16_t v)
{
    p[0] = (uint8_t)(v >> 8);
    p[1] = (uint8_t)v;
}

void be32_put(uint8_t *p, uint32_t v)
{
    be16_put(p, (uint16_t)(v >> 16));
    be16_put(p + 2, (uint16_t)v);
}

void be40_put(uint8_t *p, uint64_t v)
{
    be32_put(p, (uint32_t)(v >> 8));
    p[4] = (uint8_t)v;
}

void be64_put(uint8_t *p, uint64_t v)
{
    be32_put(p, (uint32_t)(v >> 32));
    be32_put(p + 4, (uint32_t)v);
}
