/* Names of virtual devices and the text of the multicast list. Pure.
 * Implements: spec 05 sections 2.2 (devicemap), 6.1 (names), 6.10; SV-15, SV-80, SV-95. */
#include "os/tap.h"

#include "base/hex.h"

#include <errno.h>
#include <string.h>

/* A view of text being cut into pieces. */
struct scan {
    const char *p;
    const char *end;
};

void tap_name_derive(uint64_t nwid, unsigned attempt, char ret[TAP_NAME_LEN])
{
    static const char alphabet[] = "abcdefghijklmnopqrstuvwxyz234567";

    uint64_t v = (nwid ^ (nwid >> 24)) + attempt;
    char *out = ret;
    *out++ = 'z';
    *out++ = 't';
    for (int shift = 35; shift >= 0; shift -= 5) {
        *out++ = alphabet[(v >> shift) & 31];
    }
    *out = '\0';
}

/* Next line without its end, empty ones left out. */
static bool next_line(struct scan *s, struct scan *ret)
{
    while (s->p < s->end && (*s->p == '\n' || *s->p == '\r')) {
        s->p++;
    }
    if (s->p == s->end) {
        return false;
    }
    ret->p = s->p;
    while (s->p < s->end && *s->p != '\n' && *s->p != '\r') {
        s->p++;
    }
    ret->end = s->p;
    return true;
}

/* Next word between blanks. */
static bool next_word(struct scan *s, struct scan *ret)
{
    while (s->p < s->end && (*s->p == ' ' || *s->p == '\t')) {
        s->p++;
    }
    ret->p = s->p;
    while (s->p < s->end && *s->p != ' ' && *s->p != '\t') {
        s->p++;
    }
    ret->end = s->p;
    return ret->p < ret->end;
}

static size_t scan_len(const struct scan *s)
{
    return (size_t)(s->end - s->p);
}

/* What the kernel accepts as an interface name. */
static bool is_legal_name(const char *name, size_t len)
{
    if (len == 0 || len >= TAP_NAME_LEN || (len == 1 && name[0] == '.') ||
        (len == 2 && memcmp(name, "..", 2) == 0)) {
        return false;
    }
    for (size_t i = 0; i < len; i++) {
        unsigned char c = (unsigned char)name[i];
        if (c <= ' ' || c == '/' || c == ':' || c == '%' || c == 0x7f) {
            return false;
        }
    }
    return true;
}

int tap_devicemap_find(const char *text, size_t len, uint64_t nwid, char ret[TAP_NAME_LEN])
{
    struct scan all = {.p = text, .end = text + len};
    struct scan line;

    while (next_line(&all, &line)) {
        uint64_t id;
        const char *equals = memchr(line.p, '=', scan_len(&line));
        if (equals == NULL || hex_to_u64(line.p, (size_t)(equals - line.p), 16, &id) != 0 ||
            id != nwid) {
            continue;
        }
        const char *name = equals + 1;
        size_t name_len = (size_t)(line.end - name);
        const char *more = memchr(name, '=', name_len);
        if (more != NULL) {
            name_len = (size_t)(more - name);
        }
        if (!is_legal_name(name, name_len)) {
            return -ENOENT;
        }
        memcpy(ret, name, name_len);
        ret[name_len] = '\0';
        return 0;
    }
    return -ENOENT;
}

/* Decimal number of a word; false if it is none or too big. */
static bool word_number(const struct scan *word, unsigned *ret)
{
    uint64_t v = 0;

    for (const char *p = word->p; p < word->end; p++) {
        if (*p < '0' || *p > '9') {
            return false;
        }
        v = v * 10 + (uint64_t)(*p - '0');
        if (v > UINT32_MAX) {
            return false;
        }
    }
    *ret = (unsigned)v;
    return true;
}

/* Insert into an ascending array without repeats; false when full. */
static bool insert_sorted(uint64_t *out, size_t *count, size_t cap, uint64_t value)
{
    size_t at = *count;

    while (at > 0 && out[at - 1] > value) {
        at--;
    }
    if (at > 0 && out[at - 1] == value) {
        return true;
    }
    if (*count == cap) {
        return false;
    }
    memmove(out + at + 1, out + at, (*count - at) * sizeof(*out));
    out[at] = value;
    (*count)++;
    return true;
}

size_t tap_multicast_parse(const char *text, size_t len, unsigned ifindex, uint64_t *out,
                           size_t cap)
{
    struct scan all = {.p = text, .end = text + len};
    struct scan line;
    size_t count = 0;

    /* index, name, users, users that are global, address in hexadecimal */
    while (next_line(&all, &line)) {
        struct scan words[5];
        size_t n = 0;
        while (n < COUNT_OF(words) && next_word(&line, &words[n])) {
            n++;
        }
        unsigned index;
        uint64_t mac;
        if (n != COUNT_OF(words) || !word_number(&words[0], &index) || index != ifindex ||
            scan_len(&words[4]) != 12 || hex_to_u64(words[4].p, 12, 12, &mac) != 0) {
            continue;
        }
        if (!insert_sorted(out, &count, cap, mac)) {
            break;
        }
    }
    return count;
}
