/* Numbers and lists. Accumulation saturates; fractions are read by strtod from a copy that holds
 * nothing but what the language calls a fraction. */
#include "rules/number.h"

#include <stdlib.h>
#include <string.h>

enum { NUMBER_MAX_SHIFT = 62 };

static const char infinity[] = "Infinity";

static int digit(char c, unsigned base)
{
    int value = c >= '0' && c <= '9'   ? c - '0'
                : c >= 'a' && c <= 'f' ? c - 'a' + 10
                : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                       : 99;
    return value < (int)base ? value : -1;
}

/* The base that a number is written in; "0x" in front of it is skipped. */
static unsigned skip_base(struct rdl_text *t)
{
    if (t->len > 2 && t->p[0] == '0' && (t->p[1] == 'x' || t->p[1] == 'X')) {
        t->p += 2;
        t->len -= 2;
        return 16;
    }
    return 10;
}

/* Sign at the front, which is skipped. */
static bool skip_sign(struct rdl_text *t)
{
    bool is_minus = t->len > 0 && t->p[0] == '-';
    if (is_minus || (t->len > 0 && t->p[0] == '+')) {
        t->p++;
        t->len--;
    }
    return is_minus;
}

int64_t number_read(struct rdl_text t)
{
    const int64_t most = INT64_C(1) << NUMBER_MAX_SHIFT;
    unsigned base = skip_base(&t);
    bool is_minus = skip_sign(&t);
    int64_t value = 0;
    size_t i = 0;
    for (; i < t.len && digit(t.p[i], base) >= 0; i++) {
        value = value >= most / base ? most : value * base + digit(t.p[i], base);
    }
    if (i == 0) {
        return -1;
    }
    return is_minus ? -value : value;
}

uint32_t number_read_default(struct rdl_text t)
{
    const double two32 = 4294967296.0;
    (void)skip_sign(&t);
    unsigned base = skip_base(&t);
    /* As far as 64 bits go the digits are exact, and rounded once, as the reference does. */
    uint64_t exact = 0;
    double value = 0;
    for (size_t i = 0; i < t.len && digit(t.p[i], base) >= 0; i++) {
        uint64_t next = (uint64_t)digit(t.p[i], base);
        bool fits = value < 1e18;
        exact = fits ? exact * base + next : exact;
        value = fits ? (double)exact : value * base + (double)next;
    }
    if (!(value < 0x1p85)) {
        return 0; /* a double this large is a multiple of 2^32 */
    }
    uint64_t upper = (uint64_t)(value / two32);
    return (uint32_t)(value - (double)upper * two32);
}

static size_t skip_digits(struct rdl_text t, size_t i)
{
    while (i < t.len && t.p[i] >= '0' && t.p[i] <= '9') {
        i++;
    }
    return i;
}

/* How many characters at the front are a fraction. */
static size_t fraction_len(struct rdl_text t)
{
    size_t i = t.len > 0 && (t.p[0] == '+' || t.p[0] == '-') ? 1 : 0;
    size_t whole = skip_digits(t, i);
    size_t digits = whole - i;
    i = whole;
    if (i < t.len && t.p[i] == '.') {
        size_t end = skip_digits(t, i + 1);
        digits += end - i - 1;
        i = digits > 0 ? end : i;
    }
    if (digits == 0) {
        return 0;
    }
    if (i < t.len && (t.p[i] == 'e' || t.p[i] == 'E')) {
        size_t sign = i + 1 < t.len && (t.p[i + 1] == '+' || t.p[i + 1] == '-') ? 1 : 0;
        size_t end = skip_digits(t, i + 1 + sign);
        i = end > i + 1 + sign ? end : i;
    }
    return i;
}

int64_t number_read_fraction(struct rdl_text t)
{
    struct rdl_text rest = t;
    bool is_minus = skip_sign(&rest);
    if (rest.len >= sizeof(infinity) - 1 && memcmp(rest.p, infinity, sizeof(infinity) - 1) == 0) {
        return is_minus ? 0 : UINT32_MAX;
    }
    size_t len = fraction_len(t);
    char *copy = malloc(len + 1);
    if (copy == NULL) {
        return -1;
    }
    memcpy(copy, t.p, len);
    copy[len] = '\0';
    double value = strtod(copy, NULL);
    free(copy);
    value = value < 0 ? 0 : value > 1 ? 1 : value;
    return (int64_t)(value * 4294967295.0);
}

bool number_is_none(struct rdl_text t)
{
    unsigned base = skip_base(&t);
    (void)skip_sign(&t);
    return t.len == 0 || digit(t.p[0], base) < 0;
}

bool number_fraction_is_whole(struct rdl_text t)
{
    struct rdl_text rest = t;
    (void)skip_sign(&rest);
    return (rest.len == sizeof(infinity) - 1 &&
            memcmp(rest.p, infinity, sizeof(infinity) - 1) == 0) ||
           (t.len > 0 && fraction_len(t) == t.len);
}

bool number_fraction_is_none(struct rdl_text t)
{
    struct rdl_text rest = t;
    (void)skip_sign(&rest);
    return fraction_len(t) == 0 &&
           (rest.len < sizeof(infinity) - 1 || memcmp(rest.p, infinity, sizeof(infinity) - 1) != 0);
}

bool number_is_whole(struct rdl_text t)
{
    (void)skip_sign(&t);
    unsigned base = skip_base(&t);
    size_t i = 0;
    while (i < t.len && digit(t.p[i], base) >= 0) {
        i++;
    }
    return i == t.len && i > 0;
}

static bool is_one_of(char c, const char *set)
{
    return c != '\0' && strchr(set, c) != NULL;
}

bool number_next_piece(struct rdl_text list, const char *separators, size_t *at,
                       struct rdl_text *ret)
{
    if (*at > list.len) {
        return false;
    }
    size_t start = *at;
    size_t end = start;
    while (end < list.len && !is_one_of(list.p[end], separators)) {
        end++;
    }
    size_t next = end;
    while (next < list.len && is_one_of(list.p[next], separators)) {
        next++;
    }
    *at = next > end ? next : list.len + 1;
    *ret = (struct rdl_text){list.p + start, end - start};
    return true;
}

bool number_read_prefix(struct rdl_text text, unsigned family, struct inetaddr *ret)
{
    struct inetaddr ip;
    const char *slash = memchr(text.p, '/', text.len);
    size_t digits = slash != NULL ? text.len - (size_t)(slash + 1 - text.p) : 0;
    int64_t bits = 0;
    for (size_t i = 0; i < digits; i++) {
        if (digit(slash[1 + i], 10) < 0 || bits > 128) {
            return false;
        }
        bits = bits * 10 + digit(slash[1 + i], 10);
    }
    if (digits == 0 || slash == text.p ||
        inetaddr_parse(text.p, (size_t)(slash - text.p), &ip) != 0 || ip.family != family ||
        bits > (family == INETADDR_V4 ? 32 : 128)) {
        return false;
    }
    ip.port = (uint16_t)bits;
    *ret = ip;
    return true;
}
