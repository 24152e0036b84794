/* The dictionary of spec 01 section 14: escaping, look-up, numbers as the reference reads them. */
#include "base/dict.h"

#include "base/hex.h"

#include <errno.h>
#include <string.h>

struct dict dict_init(const void *text, size_t len)
{
    const char *nul = len > 0 ? memchr(text, 0, len) : NULL;

    return (struct dict){.text = text,
                         .len = nul != NULL ? (size_t)(nul - (const char *)text) : len};
}

/* Find the raw (still escaped) value of key. */
static const char *find_raw(struct dict d, const char *key, size_t *ret_len)
{
    size_t key_len = strlen(key);
    size_t at = 0;

    while (at < d.len) {
        size_t end = at;

        while (end < d.len && d.text[end] != '\n' && d.text[end] != '\r') {
            end++;
        }
        if (end - at > key_len && d.text[at + key_len] == '=' &&
            memcmp(d.text + at, key, key_len) == 0 && memchr(key, '=', key_len) == NULL) {
            *ret_len = end - at - key_len - 1;
            return d.text + at + key_len + 1;
        }
        at = end + 1;
    }
    return NULL;
}

/* The next unescaped byte of a raw value; *i moves on. -1 for a lone backslash at the end. */
static int next_byte(const char *raw, size_t raw_len, size_t *i)
{
    char c = raw[(*i)++];

    if (c != '\\') {
        return (uint8_t)c;
    }
    if (*i >= raw_len) {
        return -1;
    }
    c = raw[(*i)++];
    switch (c) {
    case '0':
        return 0;
    case 'r':
        return '\r';
    case 'n':
        return '\n';
    case 'e':
        return '=';
    default:
        return (uint8_t)c;
    }
}

bool dict_has(struct dict d, const char *key)
{
    size_t len;

    return find_raw(d, key, &len) != NULL;
}

int dict_value_len(struct dict d, const char *key, size_t *ret_len)
{
    size_t raw_len;
    size_t n = 0;
    const char *raw = find_raw(d, key, &raw_len);

    if (raw == NULL) {
        return -ENOENT;
    }
    for (size_t i = 0; i < raw_len;) {
        n += next_byte(raw, raw_len, &i) >= 0;
    }
    *ret_len = n;
    return 0;
}

int dict_get(struct dict d, const char *key, void *out, size_t cap, size_t *ret_len)
{
    size_t raw_len;
    size_t n = 0;
    const char *raw = find_raw(d, key, &raw_len);
    uint8_t *to = out;

    if (raw == NULL) {
        return -ENOENT;
    }
    for (size_t i = 0; i < raw_len;) {
        int c = next_byte(raw, raw_len, &i);

        if (c < 0) {
            break;
        }
        if (n >= cap) {
            return -EMSGSIZE;
        }
        to[n++] = (uint8_t)c;
    }
    if (n < cap) {
        to[n] = 0;
    }
    *ret_len = n;
    return 0;
}

bool dict_get_bool(struct dict d, const char *key, bool fallback)
{
    size_t len;
    const char *raw = find_raw(d, key, &len);

    if (raw == NULL) {
        return fallback;
    }
    return len > 0 && (raw[0] == '1' || raw[0] == 't' || raw[0] == 'T');
}

/* A value being scanned, unescaped byte by byte. */
struct scan {
    const char *raw;
    size_t raw_len;
    size_t i; /* next raw byte */
    int c;    /* byte in hand, -1 at the end */
};

static void scan_step(struct scan *s)
{
    s->c = s->i < s->raw_len ? next_byte(s->raw, s->raw_len, &s->i) : -1;
}

static bool scan_digit(const struct scan *s, uint64_t *ret)
{
    char c = (char)s->c;

    return s->c > 0 && hex_to_u64(&c, 1, 1, ret) == 0;
}

/* What the base-16 scan of a value found. */
struct number {
    uint64_t magnitude; /* saturated */
    bool saturated;
    bool negative;
};

/* Scan the value of key as C's strtoull does with base 16. False if absent or empty. */
static bool scan_number(struct dict d, const char *key, struct number *ret)
{
    struct scan s = {0};
    struct number n = {0};
    uint64_t digit;

    s.raw = find_raw(d, key, &s.raw_len);
    if (s.raw == NULL) {
        return false;
    }
    scan_step(&s);
    if (s.c < 0) {
        return false;
    }
    while (s.c == ' ' || (s.c >= '\t' && s.c <= '\r')) {
        scan_step(&s);
    }
    if (s.c == '+' || s.c == '-') {
        n.negative = s.c == '-';
        scan_step(&s);
    }
    if (s.c == '0') {
        scan_step(&s);
        if (s.c == 'x' || s.c == 'X') {
            scan_step(&s); /* without a digit behind it the number is the 0 before it */
        }
    }
    for (; scan_digit(&s, &digit); scan_step(&s)) {
        n.saturated = n.saturated || n.magnitude >> 60 != 0;
        n.magnitude = n.saturated ? UINT64_MAX : n.magnitude << 4 | digit;
    }
    *ret = n;
    return true;
}

uint64_t dict_get_u64(struct dict d, const char *key, uint64_t fallback)
{
    struct number n;

    if (!scan_number(d, key, &n)) {
        return fallback;
    }
    return n.negative && !n.saturated ? 0 - n.magnitude : n.magnitude;
}

int64_t dict_get_i64(struct dict d, const char *key, int64_t fallback)
{
    struct number n;

    if (!scan_number(d, key, &n)) {
        return fallback;
    }
    if (n.magnitude > INT64_MAX) {
        return n.negative ? INT64_MIN : INT64_MAX;
    }
    return n.negative ? -(int64_t)n.magnitude : (int64_t)n.magnitude;
}

struct dict_writer dict_writer_init(char *text, size_t cap)
{
    text[0] = '\0';
    return (struct dict_writer){.text = text, .cap = cap};
}

static bool emit(struct dict_writer *w, size_t *at, char c)
{
    if (*at + 1 >= w->cap) {
        return false;
    }
    w->text[(*at)++] = c;
    return true;
}

static bool emit_escaped(struct dict_writer *w, size_t *at, char c)
{
    static const char from[] = {'\0', '\r', '\n', '\\', '='};
    static const char to[] = {'0', 'r', 'n', '\\', 'e'};
    const char *hit = memchr(from, c, sizeof(from));

    if (hit == NULL) {
        return emit(w, at, c);
    }
    return emit(w, at, '\\') && emit(w, at, to[hit - from]);
}

int dict_put(struct dict_writer *w, const char *key, const void *value, size_t len)
{
    const char *from = value;
    size_t at = w->len;
    bool ok = true;

    if (key[0] == '\0' || strpbrk(key, "\r\n=") != NULL) {
        w->bad = true;
        return -EINVAL;
    }
    if (dict_has((struct dict){w->text, w->len}, key)) {
        w->bad = true;
        return -EEXIST;
    }
    if (at > 0) {
        ok = emit(w, &at, '\n');
    }
    for (size_t i = 0; ok && key[i] != '\0'; i++) {
        ok = emit(w, &at, key[i]);
    }
    ok = ok && emit(w, &at, '=');
    for (size_t i = 0; ok && i < len; i++) {
        ok = emit_escaped(w, &at, from[i]);
    }
    if (!ok) {
        w->text[w->len] = '\0';
        w->bad = true;
        return -ENOSPC;
    }
    w->text[at] = '\0';
    w->len = at;
    return 0;
}

int dict_put_text(struct dict_writer *w, const char *key, const char *value)
{
    return dict_put(w, key, value, strlen(value));
}

int dict_put_u64(struct dict_writer *w, const char *key, uint64_t value)
{
    char text[17];

    hex_from_u64(value, 16, text);
    return dict_put_text(w, key, text);
}

int dict_put_i64(struct dict_writer *w, const char *key, int64_t value)
{
    char text[18] = "-";

    if (value >= 0) {
        return dict_put_u64(w, key, (uint64_t)value);
    }
    hex_from_u64(0 - (uint64_t)value, 16, text + 1);
    return dict_put_text(w, key, text);
}

int dict_put_bool(struct dict_writer *w, const char *key, bool value)
{
    return dict_put(w, key, value ? "1" : "0", 1);
}

int dict_put_addr10(struct dict_writer *w, const char *key, uint64_t address)
{
    char text[11];

    hex_from_u64(address, 10, text);
    return dict_put_text(w, key, text);
}
