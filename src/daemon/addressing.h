/* Addresses, routes and name servers of one network on its device: what configuration and local
 * settings say is brought to the system and kept there. Routes that would take traffic of a subnet
 * this machine is in are left out, and said. Source: spec 03 section 14, spec 05 sections 6.2 to
 * 6.4, 12. */
#pragma once

#include "daemon/dns.h"
#include "os/managed.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct node_network_info;
struct service;
struct tap;

enum { ADDRESSING_CONFLICTS_MAX = 16 };

/* A conflict and what was done about it. */
struct addressing_conflict {
    struct managed_conflict found;
    char interface[NET_NAME_LEN]; /* the other one */
    bool skipped;                 /* the route was left out */
};

/* Plain data; starts as {0} with the policy of the network. */
struct addressing {
    struct managed_policy policy;
    struct managed_applied applied;
    struct dns_setting dns; /* given to the system */
    bool dns_known;         /* else what a killed service left may be there */
    struct addressing_conflict conflicts[ADDRESSING_CONFLICTS_MAX];
    size_t conflict_count;
};

/* Bring the device of a network to what should be there; tell the engine what is. Doing it again
 * changes nothing. */
void addressing_sync(struct addressing *a, struct service *svc, const struct tap *tap,
                     const struct node_network_info *info);

/* The device is about to go, and with it all that is on it; what is not goes now. */
void addressing_end(struct addressing *a, struct service *svc, const struct tap *tap);

/* True if a half of a default route is among what was put there. */
bool addressing_has_default(const struct addressing *a);
