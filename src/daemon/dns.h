/* Name servers of a network, given to whoever cares for names on this machine: a program of its
 * owner, else systemd-resolved, else resolvconf. Nothing is done without any of them: writing
 * resolv.conf behind the back of its owner does more harm than good.
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

/* The owner's program, in the home directory: called with "set DEVICE DOMAIN SERVER..." or
 * "clear DEVICE". */
#define DNS_HOOK "dns-hook"

/* Bring a device to a setting; one without servers clears it. home: where the owner's program may
 * be. Commands run in the background; a failure is logged. */
void dns_apply(uv_loop_t *loop, const char *home, const char *device,
               const struct dns_setting *setting);

/* True if what was set outlives the device, so that it has to be cleared. */
bool dns_outlives_device(const char *home);
