/* Coercion of JSON values. Source: spec 04 section 2.3. */
#include "controller/coerce.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

bool coerce_bool(const json_t *v, bool fallback)
{
    switch (v != NULL ? json_typeof(v) : JSON_NULL) {
    case JSON_TRUE:
        return true;
    case JSON_FALSE:
        return false;
    case JSON_INTEGER:
    case JSON_REAL:
        return coerce_u64(v, 0) > 0;
    case JSON_STRING: {
        char c = json_string_value(v)[0];
        return c == 't' || c == 'T' || c == '1';
    }
    default:
        return fallback;
    }
}

/* Decimal digits at the start, behind blanks and a sign; saturates. */
static uint64_t decimal_prefix(const char *text)
{
    while (*text == ' ' || *text == '\t') {
        text++;
    }
    bool negative = *text == '-';
    if (*text == '-' || *text == '+') {
        text++;
    }
    uint64_t v = 0;
    for (; *text >= '0' && *text <= '9'; text++) {
        uint64_t digit = (uint64_t)(*text - '0');
        if (v > (UINT64_MAX - digit) / 10) {
            v = UINT64_MAX;
            break;
        }
        v = v * 10 + digit;
    }
    return negative ? 0 - v : v;
}

static uint64_t real_to_u64(double d)
{
    if (d >= 18446744073709551615.0) {
        return UINT64_MAX;
    }
    if (d >= 0.0) {
        return (uint64_t)d;
    }
    if (d > -9223372036854775808.0) {
        return (uint64_t)(int64_t)d;
    }
    return (uint64_t)INT64_MIN; /* also not a number */
}

uint64_t coerce_u64(const json_t *v, uint64_t fallback)
{
    switch (v != NULL ? json_typeof(v) : JSON_NULL) {
    case JSON_TRUE:
        return 1;
    case JSON_FALSE:
        return 0;
    case JSON_INTEGER:
        return (uint64_t)json_integer_value(v);
    case JSON_REAL:
        return real_to_u64(json_real_value(v));
    case JSON_STRING:
        return decimal_prefix(json_string_value(v));
    default:
        return fallback;
    }
}

const char *coerce_text(const json_t *v, char buf[COERCE_TEXT_LEN], const char *fallback)
{
    switch (v != NULL ? json_typeof(v) : JSON_NULL) {
    case JSON_TRUE:
        return "1";
    case JSON_FALSE:
        return "0";
    case JSON_INTEGER:
    case JSON_REAL:
        (void)snprintf(buf, COERCE_TEXT_LEN, "%" PRIu64, coerce_u64(v, 0));
        return buf;
    case JSON_STRING:
        return json_string_value(v);
    default:
        return fallback;
    }
}

uint64_t hex_prefix(const char *text)
{
    uint64_t v = 0;
    if (text[0] == '0' && (text[1] == 'x' || text[1] == 'X')) {
        text += 2;
    }
    for (;; text++) {
        char c = *text;
        unsigned digit;
        if (c >= '0' && c <= '9') {
            digit = (unsigned)(c - '0');
        } else if ((c | 0x20) >= 'a' && (c | 0x20) <= 'f') {
            digit = (unsigned)((c | 0x20) - 'a') + 10;
        } else {
            return v;
        }
        v = v << 4 | digit;
    }
}

static void add_warning(struct edit *e, const char *text)
{
    if (e->warnings == NULL) {
        e->warnings = json_array();
    }
    if (json_array_size(e->warnings) < EDIT_WARNINGS_MAX) {
        /* Values of the request may have been cut inside a character. */
        json_t *value = json_string(text);
        json_array_append_new(e->warnings, value != NULL ? value : json_string("value dropped"));
    }
}

void edit_warn(struct edit *e, const char *fmt, ...)
{
    char text[200];
    va_list args;
    va_start(args, fmt);
    (void)vsnprintf(text, sizeof(text), fmt, args);
    va_end(args);
    e->dropped++;
    add_warning(e, text);
}

void edit_note(struct edit *e, const char *fmt, ...)
{
    char text[200];
    va_list args;
    va_start(args, fmt);
    (void)vsnprintf(text, sizeof(text), fmt, args);
    va_end(args);
    add_warning(e, text);
}

void edit_fail(struct edit *e, unsigned status, const char *fmt, ...)
{
    if (e->status == 0) {
        va_list args;
        va_start(args, fmt);
        (void)vsnprintf(e->error, sizeof(e->error), fmt, args);
        va_end(args);
        e->status = status;
    }
}

void edit_done(struct edit *e)
{
    json_decref(e->warnings);
    e->warnings = NULL;
    json_decref(e->source_error);
    e->source_error = NULL;
}

size_t edit_array_len(struct edit *e, const json_t *array, const char *name)
{
    size_t n = json_array_size(array);
    if (n > EDIT_ARRAY_MAX) {
        edit_warn(e, "%s: only the first %d elements are kept", name, EDIT_ARRAY_MAX);
        n = EDIT_ARRAY_MAX;
    }
    return n;
}

int id_list_init(struct id_list *list, size_t n)
{
    list->count = 0;
    list->entries = calloc(n + 1, sizeof(*list->entries));
    return list->entries != NULL ? 0 : -ENOMEM;
}

void id_list_add(struct id_list *list, uint32_t id, uint32_t value, size_t pos)
{
    list->entries[list->count++] = (struct id_entry){.id = id, .value = value, .pos = pos};
}

static int compare_entries(const void *a, const void *b)
{
    const struct id_entry *x = a;
    const struct id_entry *y = b;
    if (x->id != y->id) {
        return x->id < y->id ? -1 : 1;
    }
    return x->pos < y->pos ? -1 : x->pos > y->pos;
}

void id_list_unique(struct id_list *list)
{
    if (list->count == 0) {
        return;
    }
    qsort(list->entries, list->count, sizeof(*list->entries), compare_entries);
    size_t n = 0;
    for (size_t i = 0; i < list->count; i++) {
        if (i + 1 == list->count || list->entries[i + 1].id != list->entries[i].id) {
            list->entries[n++] = list->entries[i];
        }
    }
    list->count = n;
}

void id_list_done(struct id_list *list)
{
    free(list->entries);
    list->entries = NULL;
}

void edit_set(struct edit *e, json_t *obj, const char *key, json_t *value)
{
    if (value == NULL || json_object_set_new(obj, key, value) != 0) {
        edit_fail(e, 500, "out of memory");
    }
}
