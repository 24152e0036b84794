/* Network configurations: what a controller tells a member, as plain data and as dictionary, and
 * the meta-data of requests for them. Source: spec 03 sections 3 and 5, spec 04 section 4.6. */
#pragma once

#include "base/attr.h"
#include "wire/capability.h"
#include "wire/com.h"
#include "wire/credential.h"
#include "wire/inetaddr.h"
#include "wire/rule.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    NETCONF_VERSION = 7,
    NETCONF_VERSION_MIN = 6,
    NETCONF_MTU_DEFAULT = 2800,
    NETCONF_MTU_MIN = 1280,
    NETCONF_MTU_MAX = 10000,
    NETCONF_NAME_MAX = 127,
    NETCONF_ROUTES_MAX = 128,
    NETCONF_ADDRESSES_MAX = 32,
    NETCONF_SPECIALISTS_MAX = 256,
    NETCONF_DNS_SERVERS = 4,
    NETCONF_DNS_DOMAIN_MAX = 127,
    NETCONF_DICT_MAX = 1024 * 1024, /* longest dictionary taken or written */

    NETCONF_TYPE_PRIVATE = 0,
    NETCONF_TYPE_PUBLIC = 1,

    NETCONF_FLAG_BROADCAST = 0x02,
    NETCONF_FLAG_NDP = 0x04,           /* IPv6 neighbour discovery emulation */
    NETCONF_FLAG_UNKNOWN_MATCH = 0x08, /* result of a match of unknown type */
    NETCONF_FLAG_NO_COMPRESSION = 0x10,
};

/* Role bits of a specialist above the 40 bits of its address. */
#define SPECIALIST_BRIDGE     UINT64_C(0x0000020000000000)
#define SPECIALIST_ANCHOR     UINT64_C(0x0000040000000000)
#define SPECIALIST_REPLICATOR UINT64_C(0x0000080000000000)

struct netconf_route {
    struct inetaddr target; /* port = prefix length */
    struct inetaddr via;    /* nil = directly */
    uint16_t flags;         /* carried, not used */
    uint16_t metric;        /* carried, not used */
};

struct netconf_dns {
    char domain[NETCONF_DNS_DOMAIN_MAX + 1];
    struct inetaddr servers[NETCONF_DNS_SERVERS]; /* nil = unused */
};

/* Single sign-on; texts are never NULL in a decoded configuration ("" when absent). */
struct netconf_sso {
    uint64_t version; /* 0 or 1 */
    bool enabled;
    int64_t auth_expiry;    /* version 0 */
    const char *auth_url;   /* version 0 */
    const char *issuer_url; /* version 1, and all below */
    const char *central_url;
    const char *nonce;
    const char *state;
    const char *client_id;
    const char *provider; /* "default" when absent */
};

/* Lists are heap arrays of exact size in a decoded configuration (freed by netconf_free); who
 * builds one to encode it may point to his own memory. Empty lists are NULL. */
struct netconf {
    uint64_t network_id;
    uint64_t timestamp; /* controller clock, ms */
    uint64_t window;    /* ctmd, ms */
    uint64_t revision;
    uint64_t member;       /* issued to */
    uint64_t trace_target; /* 0 = none */
    uint64_t trace_level;
    uint64_t flags; /* NETCONF_FLAG_* */
    uint32_t multicast_limit;
    uint32_t type; /* NETCONF_TYPE_*; others count as private */
    uint16_t mtu;
    uint16_t capability_count;
    uint16_t tag_count;
    uint16_t ownership_count;
    uint16_t specialist_count;
    uint16_t route_count;
    uint16_t address_count;
    uint16_t rule_count;
    char name[NETCONF_NAME_MAX + 1];
    struct com *com;                  /* NULL = none */
    struct capability **capabilities; /* ascending id */
    struct tag *tags;                 /* ascending id */
    struct ownership *ownerships;
    uint64_t *specialists; /* address and SPECIALIST_* bits */
    struct netconf_route *routes;
    struct inetaddr *addresses; /* assigned; port = prefix length; nil never */
    struct rule *rules;
    struct netconf_dns *dns; /* NULL = empty */
    struct netconf_sso *sso; /* NULL = version 0, not enabled */
};

/* Parse a configuration dictionary of current form (version 6 and above).
 * text: len bytes, borrowed. Returns 0 with *ret owned by the caller (netconf_free); -EBADMSG
 * refused (damaged, legacy, without network or member, above NETCONF_DICT_MAX); -ENOMEM. */
MUST_CHECK int netconf_decode(const void *text, size_t len, struct netconf *ret);

/* Release what the lists point to and zero the struct. Accepts a zeroed struct. */
void netconf_free(struct netconf *conf);

/* Write conf as a dictionary with the keys in the order of the reference.
 * text: cap bytes, a NUL is appended. Returns 0 with *ret_len (without NUL); -ENOSPC; -ENOMEM. */
MUST_CHECK int netconf_encode(const struct netconf *conf, char *text, size_t cap, size_t *ret_len);

/* An upper bound of the bytes netconf_encode needs, with the NUL. */
size_t netconf_encode_bound(const struct netconf *conf);

/* Same content in every field. */
bool netconf_equal(const struct netconf *a, const struct netconf *b);

/* Role bits (SPECIALIST_*) of an address in conf, 0 if none. */
uint64_t netconf_roles(const struct netconf *conf, uint64_t address);

enum {
    NETCONF_META_MAX = 1023, /* longest meta-data a reference controller reads whole */
};

/* What a node tells about itself in a request. */
struct netconf_meta {
    uint64_t version;              /* v: configuration version understood */
    uint64_t vendor;               /* vend: 0 unspecified, 1 ZeroTier */
    uint64_t protocol;             /* pv */
    uint64_t major;                /* majv */
    uint64_t minor;                /* minv */
    uint64_t revision;             /* revv */
    uint64_t max_rules;            /* mr */
    uint64_t max_capabilities;     /* mc */
    uint64_t max_capability_rules; /* mcr */
    uint64_t max_tags;             /* mt */
    uint64_t flags;                /* f */
    uint64_t rules_revision;       /* revr: 0 = no rules engine */
    char os[64];                   /* o: "linux/x86_64" */
    char auth[256];                /* a: "token:...", empty = not sent; a secret */
};

/* Meta-data of this program without version numbers of the product, os and auth. */
struct netconf_meta netconf_meta_default(void);

/* Write the dictionary (keys in the order of the reference). text: cap bytes with the NUL.
 * Returns 0; -ENOSPC. */
MUST_CHECK int netconf_meta_encode(const struct netconf_meta *meta, char *text, size_t cap,
                                   size_t *ret_len);

/* Read meta-data; absent or overlong values count as 0 or "". Never fails. */
void netconf_meta_decode(const void *text, size_t len, struct netconf_meta *ret);
