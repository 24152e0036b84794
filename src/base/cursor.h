/* Byte cursors: the only way bytes from outside are read or packets are written.
 *
 * Both are sticky: after the first step that does not fit, `bad` is set, reads give zero or NULL
 * and writes do nothing, so a codec runs straight through and tests once. Test before a value is
 * used as a length, an index or a loop bound. All integers are big-endian. No allocation, no
 * ownership: a cursor borrows its bytes. */
#pragma once

#include "base/attr.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct rd {
    const uint8_t *p;   /* next byte */
    const uint8_t *end; /* one past the last */
    bool bad;           /* a read did not fit */
};

struct wr {
    uint8_t *p;     /* next byte */
    uint8_t *end;   /* one past the last */
    uint8_t *start; /* first byte */
    bool bad;       /* a write did not fit */
};

/* A reader over len bytes at data (borrowed; data may be NULL when len is 0). */
struct rd rd_init(const void *data, size_t len);

/* Bytes not yet read; 0 once bad. */
size_t rd_left(const struct rd *r);

/* Next unsigned integer of 8, 16, 24, 32, 40 or 64 bits; 0 and bad when short. */
uint8_t rd_u8(struct rd *r);
uint16_t rd_u16(struct rd *r);
uint32_t rd_u24(struct rd *r);
uint32_t rd_u32(struct rd *r);
uint64_t rd_u40(struct rd *r);
uint64_t rd_u64(struct rd *r);

/* Borrowed view of the next len bytes, or NULL and bad when short. */
const uint8_t *rd_bytes(struct rd *r, size_t len);

/* Copy the next len bytes to out; when short out is zeroed and the reader goes bad. */
void rd_copy(struct rd *r, void *out, size_t len);

/* Skip len bytes. */
void rd_skip(struct rd *r, size_t len);

/* A reader over the next len bytes; this one moves past them. Both are bad when short. */
struct rd rd_sub(struct rd *r, size_t len);

/* 0 if everything was read and nothing failed, else -EBADMSG. */
MUST_CHECK int rd_done(const struct rd *r);

/* A writer over cap bytes at data (borrowed). */
struct wr wr_init(void *data, size_t cap);

/* Bytes written so far. */
size_t wr_len(const struct wr *w);

/* Room left; 0 once bad. */
size_t wr_left(const struct wr *w);

/* Append an unsigned integer of 8, 16, 24, 32, 40 or 64 bits (higher bits are dropped). */
void wr_u8(struct wr *w, uint8_t v);
void wr_u16(struct wr *w, uint16_t v);
void wr_u24(struct wr *w, uint32_t v);
void wr_u32(struct wr *w, uint32_t v);
void wr_u40(struct wr *w, uint64_t v);
void wr_u64(struct wr *w, uint64_t v);

/* Append len bytes (data may be NULL when len is 0). */
void wr_bytes(struct wr *w, const void *data, size_t len);

/* Append len zero bytes. */
void wr_zero(struct wr *w, size_t len);

/* Reserve len bytes to be patched later; returns their offset from start. */
size_t wr_mark(struct wr *w, size_t len);

/* Write a 16-bit value at an offset returned by wr_mark; ignored once bad. */
void wr_patch_u16(struct wr *w, size_t mark, uint16_t v);

/* Plain big-endian access to a fixed place whose size the caller knows. */
uint16_t be16_get(const uint8_t *p);
uint32_t be32_get(const uint8_t *p);
uint64_t be40_get(const uint8_t *p);
uint64_t be64_get(const uint8_t *p);
void be16_put(uint8_t *p, uint16_t v);
void be32_put(uint8_t *p, uint32_t v);
void be40_put(uint8_t *p, uint64_t v);
void be64_put(uint8_t *p, uint64_t v);
