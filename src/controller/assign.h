/* Automatic addresses of members. Source: spec 04 section 4.8, with sections 12.16 and 12.21. */
#pragma once

#include "base/attr.h"
#include "controller/model.h"
#include "crypto/identity.h"

enum assign_result {
    ASSIGN_NOTHING = 0,   /* nothing to do */
    ASSIGN_DONE = 1,      /* *ret is free and suits the member */
    ASSIGN_EXHAUSTED = 2, /* wanted, but no pool has one left inside a route; said only once until
                             something changes, later ASSIGN_NOTHING */
};

/* Pick an IPv4 (or IPv6) address for a member that wants one. It is not claimed yet:
 * member_add_ip does that. rnd: randomness for IPv6. */
enum assign_result assign_pick(const struct cmember *m, enum inetaddr_family family, random_fn rnd,
                               void *rnd_ctx, struct inetaddr *ret);

/* Addresses of a member for its configuration, in order, port = prefix length: rfc4193, 6plane,
 * stored ones inside routes. Returns how many; *ret_ndp: an address of the first two kinds is
 * among them. */
size_t assign_addresses(const struct cmember *m, struct inetaddr out[NETCONF_ADDRESSES_MAX],
                        bool *ret_ndp);
