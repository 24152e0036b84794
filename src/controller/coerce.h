/* Coercion of JSON values to the wanted type, as clients of the reference rely on it, and the
 * record of what a request had dropped or changed. Source: spec 04 section 2.3. */
#pragma once

#include "base/attr.h"

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    COERCE_TEXT_LEN = 32,   /* buffer for numbers as text */
    EDIT_ARRAY_MAX = 16384, /* elements of an array that are looked at */
    EDIT_WARNINGS_MAX = 64, /* warnings kept per request */
};

/* Number that is not 0 as coerce_u64 reads it; text that begins with t, T or 1; true. Else
 * fallback. v may be NULL. */
bool coerce_bool(const json_t *v, bool fallback);

/* Number truncated toward zero (negative wraps to 2^64), decimal text, 0 or 1; else fallback. */
uint64_t coerce_u64(const json_t *v, uint64_t fallback);

/* The text itself, a number as decimal text, "1" or "0"; else fallback. The result borrows from v
 * or buf. */
const char *coerce_text(const json_t *v, char buf[COERCE_TEXT_LEN], const char *fallback);

/* Hexadecimal text as the reference reads it: digits up to the first other character, low 64 bits.
 */
uint64_t hex_prefix(const char *text);

/* One request that edits an object. */
struct edit {
    json_t *warnings;     /* array of texts, or NULL so far */
    unsigned dropped;     /* warnings that a strict request is refused for */
    unsigned status;      /* 0 so far, else the request fails with it */
    char error[200];      /* why */
    json_t *source_error; /* of a script that does not compile (rules_source.h), or NULL */
};

/* Note that something was dropped or changed. */
void edit_warn(struct edit *e, const char *fmt, ...) PRINTF_LIKE(2, 3);

/* Note something that is done as wanted but may be a mistake. */
void edit_note(struct edit *e, const char *fmt, ...) PRINTF_LIKE(2, 3);

/* The request fails; the first failure counts. */
void edit_fail(struct edit *e, unsigned status, const char *fmt, ...) PRINTF_LIKE(3, 4);

/* Release it. */
void edit_done(struct edit *e);

/* Elements of an array to look at, with a warning when there are more. */
size_t edit_array_len(struct edit *e, const json_t *array, const char *name);

/* A list of IDs being collected, each with where it came from. */
struct id_list {
    struct id_entry {
        uint32_t id;
        uint32_t value;
        size_t pos; /* in the source array */
    } * entries;
    size_t count;
};

/* Room for n entries. Returns 0; -ENOMEM. */
MUST_CHECK int id_list_init(struct id_list *list, size_t n);
void id_list_add(struct id_list *list, uint32_t id, uint32_t value, size_t pos);

/* Sort by ID; of equal ones the last added stays. */
void id_list_unique(struct id_list *list);
void id_list_done(struct id_list *list);

/* Set key of obj to value (a new reference, NULL when out of memory: the request fails). */
void edit_set(struct edit *e, json_t *obj, const char *key, json_t *value);
