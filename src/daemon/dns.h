/* Name servers of a network, given to systemd-resolved for its device. Nothing is done without it:
 * writing resolv.conf behind the back of its owner does more harm than good.
 * Source: spec 05 sections 6.4, 12; SV-87. */
#pragma once

#include "base/attr.h"
#include "wire/netconf.h"

#include <stdbool.h>
#include <uv.h>

enum {
    DNS_SERVER_LEN = 64,  /* address text and its NUL */
    DNS_DOMAIN_LEN = 160, /* "~", domain and its NUL */
};

/* What a device has been given. */
struct dns_setting {
    char domain[DNS_DOMAIN_LEN]; /* with "~" in front: names below it only; empty = nothing set */
    char servers[NETCONF_DNS_SERVERS][DNS_SERVER_LEN];
    size_t count;
};

/* What a configuration asks for; nothing if it is NULL, incomplete, or its domain is no domain.
 * Pure. */
struct dns_setting dns_setting_make(const struct netconf_dns *dns);

/* True if the system would be told the same. */
bool dns_setting_equal(const struct dns_setting *a, const struct dns_setting *b);

/* Bring the system from one setting to another for a device. Commands run in the background; a
 * failure is logged. */
void dns_apply(uv_loop_t *loop, const char *device, const struct dns_setting *setting);
