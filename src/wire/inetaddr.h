/* Socket addresses: text and binary forms, scopes. Source: spec 01 section 13. */
#pragma once

#include "base/attr.h"
#include "base/cursor.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum inetaddr_family {
    INETADDR_NIL = 0,
    INETADDR_V4 = 4,
    INETADDR_V6 = 6,
};

/* Scopes in the order of preference for paths (spec 01 section 13.3). */
enum inet_scope {
    INET_SCOPE_NONE = 0,
    INET_SCOPE_MULTICAST = 1,
    INET_SCOPE_LOOPBACK = 2,
    INET_SCOPE_PSEUDO_PRIVATE = 3,
    INET_SCOPE_GLOBAL = 4,
    INET_SCOPE_LINK_LOCAL = 5,
    INET_SCOPE_SHARED = 6,
    INET_SCOPE_PRIVATE = 7,
};

enum {
    INETADDR_TEXT_LEN = 64, /* buffer that holds any text form and its NUL */
    INETADDR_WIRE_MAX = 19, /* longest binary form written */
};

/* Plain data; unused bytes of ip are zero, so two values can be compared by inetaddr_equal only. */
struct inetaddr {
    uint8_t family; /* enum inetaddr_family */
    uint8_t ip[16]; /* 4 or 16 bytes used */
    uint16_t port;  /* UDP port, or prefix length where an address is an assignment or a route */
};

/* Binary form (1, 7 or 19 bytes). Types 1 to 3 are skipped and read as nil; others make r bad. */
struct inetaddr inetaddr_read(struct rd *r);
void inetaddr_write(struct wr *w, const struct inetaddr *a);

/* "IP/PORT" text. Reading is strict: the empty text is nil, a missing port is 0.
 * Returns 0; -EBADMSG. Writing gives a NUL-terminated text of at most INETADDR_TEXT_LEN bytes. */
MUST_CHECK int inetaddr_parse(const char *text, size_t len, struct inetaddr *ret);
void inetaddr_print(const struct inetaddr *a, char out[INETADDR_TEXT_LEN]);

/* The IP alone, without "/port". */
void inetaddr_print_ip(const struct inetaddr *a, char out[INETADDR_TEXT_LEN]);

/* Family, IP and port equal; IP (and family) equal. */
bool inetaddr_equal(const struct inetaddr *a, const struct inetaddr *b);
bool inetaddr_ip_equal(const struct inetaddr *a, const struct inetaddr *b);

/* Total order by family, port, IP: <0, 0, >0 (the order of world tools). */
int inetaddr_compare(const struct inetaddr *a, const struct inetaddr *b);

/* Scope of the IP. */
enum inet_scope inetaddr_scope(const struct inetaddr *a);

/* True if ip lies in net / net->port (port = prefix length); families must agree. */
bool inetaddr_in_net(const struct inetaddr *ip, const struct inetaddr *net);

/* Bytes of the IP: 0, 4 or 16. */
size_t inetaddr_ip_len(const struct inetaddr *a);

/* A 64-bit key made of family, IP and port for hash maps (not unique). */
uint64_t inetaddr_key(const struct inetaddr *a);
