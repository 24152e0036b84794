/* Socket addresses: binary and text forms, comparison, scopes. Source: spec 01 section 13. */
#include "wire/inetaddr.h"

#include "base/hmap.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

/* Type bytes of the binary form (13.1). */
enum {
    WIRE_NIL = 0,
    WIRE_ETHERNET = 1,
    WIRE_BLUETOOTH = 2,
    WIRE_OTHER = 3,
};

size_t inetaddr_ip_len(const struct inetaddr *a)
{
    switch (a->family) {
    case INETADDR_V4:
        return 4;
    case INETADDR_V6:
        return 16;
    default:
        return 0;
    }
}

struct inetaddr inetaddr_read(struct rd *r)
{
    struct inetaddr a = {0};
    uint8_t type = rd_u8(r);

    if (r->bad) {
        return a;
    }
    switch (type) {
    case WIRE_NIL:
        break;
    case WIRE_ETHERNET:
    case WIRE_BLUETOOTH:
        rd_skip(r, 6);
        break;
    case WIRE_OTHER:
        rd_skip(r, rd_u16(r));
        break;
    case INETADDR_V4:
    case INETADDR_V6:
        a.family = type;
        rd_copy(r, a.ip, inetaddr_ip_len(&a));
        a.port = rd_u16(r);
        break;
    default:
        r->bad = true;
        break;
    }
    return r->bad ? (struct inetaddr){0} : a;
}

void inetaddr_write(struct wr *w, const struct inetaddr *a)
{
    size_t ip_len = inetaddr_ip_len(a);

    wr_u8(w, ip_len > 0 ? a->family : WIRE_NIL);
    if (ip_len > 0) {
        wr_bytes(w, a->ip, ip_len);
        wr_u16(w, a->port);
    }
}

/* Decimal 0..65535; the empty text is 0. */
static int parse_port(const char *text, size_t len, uint16_t *ret)
{
    unsigned v = 0;

    if (len > 5) {
        return -EBADMSG;
    }
    for (size_t i = 0; i < len; i++) {
        if (text[i] < '0' || text[i] > '9') {
            return -EBADMSG;
        }
        v = v * 10 + (unsigned)(text[i] - '0');
    }
    if (v > UINT16_MAX) {
        return -EBADMSG;
    }
    *ret = (uint16_t)v;
    return 0;
}

int inetaddr_parse(const char *text, size_t len, struct inetaddr *ret)
{
    struct inetaddr a = {0};
    char ip[INETADDR_TEXT_LEN];
    size_t ip_len = 0;

    if (len == 0) {
        *ret = a;
        return 0;
    }
    if (len >= INETADDR_TEXT_LEN || memchr(text, '\0', len) != NULL) {
        return -EBADMSG;
    }
    while (ip_len < len && text[ip_len] != '/') {
        ip_len++;
    }
    memcpy(ip, text, ip_len);
    ip[ip_len] = '\0';
    a.family = strchr(ip, ':') != NULL ? INETADDR_V6 : INETADDR_V4;
    if (inet_pton(a.family == INETADDR_V6 ? AF_INET6 : AF_INET, ip, a.ip) != 1) {
        return -EBADMSG;
    }
    if (ip_len < len && parse_port(text + ip_len + 1, len - ip_len - 1, &a.port) < 0) {
        return -EBADMSG;
    }
    *ret = a;
    return 0;
}

void inetaddr_print_ip(const struct inetaddr *a, char out[INETADDR_TEXT_LEN])
{
    int family = a->family == INETADDR_V6 ? AF_INET6 : AF_INET;

    if (inetaddr_ip_len(a) == 0 || inet_ntop(family, a->ip, out, INETADDR_TEXT_LEN) == NULL) {
        out[0] = '\0';
    }
}

void inetaddr_print(const struct inetaddr *a, char out[INETADDR_TEXT_LEN])
{
    size_t len;

    inetaddr_print_ip(a, out);
    len = strlen(out);
    if (len > 0) {
        /* 45 characters of IPv6 at most, '/', 5 digits: always fits */
        (void)snprintf(out + len, INETADDR_TEXT_LEN - len, "/%u", (unsigned)a->port);
    }
}

bool inetaddr_ip_equal(const struct inetaddr *a, const struct inetaddr *b)
{
    return a->family == b->family && memcmp(a->ip, b->ip, inetaddr_ip_len(a)) == 0;
}

bool inetaddr_equal(const struct inetaddr *a, const struct inetaddr *b)
{
    return inetaddr_ip_equal(a, b) && (inetaddr_ip_len(a) == 0 || a->port == b->port);
}

int inetaddr_compare(const struct inetaddr *a, const struct inetaddr *b)
{
    if (a->family != b->family) {
        return a->family < b->family ? -1 : 1;
    }
    if (inetaddr_ip_len(a) > 0 && a->port != b->port) {
        return a->port < b->port ? -1 : 1;
    }
    return memcmp(a->ip, b->ip, inetaddr_ip_len(a));
}

static enum inet_scope scope_v4(const uint8_t ip[4])
{
    static const uint8_t pseudo_private[] = {6, 11, 21, 22, 25, 26, 28, 29, 30, 51, 55, 56};
    uint32_t v = be32_get(ip);

    if (ip[0] == 0 || ip[0] == 255) {
        return INET_SCOPE_NONE;
    }
    if (ip[0] == 127) {
        return INET_SCOPE_LOOPBACK;
    }
    if (ip[0] >= 224) {
        return ip[0] < 240 ? INET_SCOPE_MULTICAST : INET_SCOPE_PSEUDO_PRIVATE;
    }
    if (memchr(pseudo_private, ip[0], sizeof(pseudo_private)) != NULL) {
        return INET_SCOPE_PSEUDO_PRIVATE;
    }
    if (v >> 16 == 0xa9fe) { /* 169.254/16 */
        return INET_SCOPE_LINK_LOCAL;
    }
    if (ip[0] == 10 || v >> 22 == 0x64400000u >> 22 /* 100.64/10 */ ||
        v >> 20 == 0xac1 /* 172.16/12 */ || v >> 16 == 0xc0a8 /* 192.168/16 */ ||
        v >> 8 == 0xc00002 /* 192.0.2/24 */ || v >> 17 == 0xc6120000u >> 17 /* 198.18/15 */ ||
        v >> 8 == 0xc63364 /* 198.51.100/24 */ || v >> 8 == 0xcb0071 /* 203.0.113/24 */) {
        return INET_SCOPE_PRIVATE;
    }
    return INET_SCOPE_GLOBAL;
}

static enum inet_scope scope_v6(const uint8_t ip[16])
{
    static const uint8_t zero[16];
    bool link_local = ip[0] == 0xfe && (ip[1] & 0xc0) == 0x80;

    if (memcmp(ip, zero, 16) == 0) {
        return INET_SCOPE_NONE;
    }
    if (ip[0] == 0xff) {
        return INET_SCOPE_MULTICAST;
    }
    if (ip[15] == 1 && memcmp(ip + 2, zero, 13) == 0 &&
        (link_local || (ip[0] == 0 && ip[1] == 0))) {
        return INET_SCOPE_LOOPBACK;
    }
    /* ::ffff:127.0.0.0/104; byte 9 is not looked at */
    if (memcmp(ip, zero, 9) == 0 && ip[10] == 0xff && ip[11] == 0xff && ip[12] == 127) {
        return INET_SCOPE_LOOPBACK;
    }
    if (link_local) {
        return INET_SCOPE_LINK_LOCAL;
    }
    return (ip[0] & 0xfe) == 0xfc ? INET_SCOPE_PRIVATE : INET_SCOPE_GLOBAL;
}

enum inet_scope inetaddr_scope(const struct inetaddr *a)
{
    switch (a->family) {
    case INETADDR_V4:
        return scope_v4(a->ip);
    case INETADDR_V6:
        return scope_v6(a->ip);
    default:
        return INET_SCOPE_NONE;
    }
}

bool inetaddr_in_net(const struct inetaddr *ip, const struct inetaddr *net)
{
    size_t bits = net->port;
    size_t whole = bits / 8;
    unsigned rest = bits % 8;

    if (ip->family != net->family || inetaddr_ip_len(ip) == 0 || bits > 8 * inetaddr_ip_len(ip)) {
        return false;
    }
    if (memcmp(ip->ip, net->ip, whole) != 0) {
        return false;
    }
    return rest == 0 || (ip->ip[whole] ^ net->ip[whole]) >> (8 - rest) == 0;
}

uint64_t inetaddr_key(const struct inetaddr *a)
{
    uint64_t key = hash_mix(be64_get(a->ip), (uint64_t)a->family << 16 | a->port);

    return a->family == INETADDR_V6 ? hash_mix(be64_get(a->ip + 8), key) : key;
}
