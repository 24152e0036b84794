/* The flat text map "key=value" of spec 01 section 14: network configurations, request meta-data,
 * remote traces. Reading works on borrowed bytes; writing appends to a caller's buffer. */
#pragma once

#include "base/attr.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* A dictionary to read: bytes up to the length or the first NUL. */
struct dict {
    const char *text;
    size_t len;
};

/* A dictionary being written. An entry that does not fit is refused whole. */
struct dict_writer {
    char *text;
    size_t cap; /* bytes at text, one of them kept for the terminating NUL */
    size_t len; /* bytes written, without the NUL */
    bool bad;   /* an entry was refused */
};

/* View of len bytes (borrowed); a NUL inside ends the dictionary. */
struct dict dict_init(const void *text, size_t len);

/* True if key is present (first of duplicates counts). */
bool dict_has(struct dict d, const char *key);

/* Unescape the value of key into out (cap bytes), ret_len set to its length. A NUL is appended when
 * there is room for it. Returns 0; -ENOENT absent; -EMSGSIZE does not fit (nothing usable in out).
 */
MUST_CHECK int dict_get(struct dict d, const char *key, void *out, size_t cap, size_t *ret_len);

/* Length the unescaped value of key would have. Returns 0; -ENOENT. */
MUST_CHECK int dict_value_len(struct dict d, const char *key, size_t *ret_len);

/* Boolean: first character 1, t or T is true; present otherwise is false; absent: fallback. */
bool dict_get_bool(struct dict d, const char *key, bool fallback);

/* Hexadecimal number as the reference reads it (blanks, sign, 0x, stops at the first other
 * character, saturates); absent or empty: fallback. Source: spec 01 section 14.2. */
uint64_t dict_get_u64(struct dict d, const char *key, uint64_t fallback);

/* The same, signed. */
int64_t dict_get_i64(struct dict d, const char *key, int64_t fallback);

/* A writer over cap bytes (at least 1) at text, which is kept until the writer is given up. */
struct dict_writer dict_writer_init(char *text, size_t cap);

/* Append key=value with value escaped. key: no NUL, CR, LF or '='; must not be there already.
 * Returns 0; -ENOSPC does not fit, -EEXIST duplicate, -EINVAL bad key (dictionary unchanged, bad
 * set). */
int dict_put(struct dict_writer *w, const char *key, const void *value, size_t len);

/* The same for text, a number as 16 digits, a negative number as '-' and 16 digits, 0 or 1, and an
 * address as 10 digits. Results as dict_put. */
int dict_put_text(struct dict_writer *w, const char *key, const char *value);
int dict_put_u64(struct dict_writer *w, const char *key, uint64_t value);
int dict_put_i64(struct dict_writer *w, const char *key, int64_t value);
int dict_put_bool(struct dict_writer *w, const char *key, bool value);
int dict_put_addr10(struct dict_writer *w, const char *key, uint64_t address);
