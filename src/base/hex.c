/* Hexadecimal text, strict in both directions: see hex.h. */
#include "base/hex.h"

#include <errno.h>

static const char digits_lower[] = "0123456789abcdef";

static int digit_value(char c)
{
    if (c >= '0' && c <= '9') {
        return c - '0';
    }
    if (c >= 'a' && c <= 'f') {
        return c - 'a' + 10;
    }
    if (c >= 'A' && c <= 'F') {
        return c - 'A' + 10;
    }
    return -1;
}

void hex_encode(const void *data, size_t len, char *out)
{
    const uint8_t *p = data;

    for (size_t i = 0; i < len; i++) {
        *out++ = digits_lower[p[i] >> 4];
        *out++ = digits_lower[p[i] & 15];
    }
    *out = '\0';
}

void hex_from_u64(uint64_t v, unsigned digits, char *out)
{
    for (unsigned i = 0; i < digits; i++) {
        out[i] = digits_lower[v >> 4 * (digits - 1 - i) & 15];
    }
    out[digits] = '\0';
}

int hex_decode(const char *text, size_t text_len, void *out, size_t len)
{
    uint8_t *p = out;

    if (text_len != 2 * len) {
        return -EBADMSG;
    }
    for (size_t i = 0; i < len; i++) {
        int high = digit_value(text[2 * i]);
        int low = digit_value(text[2 * i + 1]);

        if (high < 0 || low < 0) {
            return -EBADMSG;
        }
        p[i] = (uint8_t)(high << 4 | low);
    }
    return 0;
}

int hex_to_u64(const char *text, size_t text_len, unsigned max_digits, uint64_t *ret)
{
    uint64_t v = 0;

    if (text_len == 0 || text_len > max_digits || text_len > 16) {
        return -EBADMSG;
    }
    for (size_t i = 0; i < text_len; i++) {
        int d = digit_value(text[i]);

        if (d < 0) {
            return -EBADMSG;
        }
        v = v << 4 | (uint64_t)d;
    }
    *ret = v;
    return 0;
}
