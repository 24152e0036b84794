/* What looks like a mistake in a network and its members, for people. Nothing is changed because of
 * it. Source: spec 04 sections 10.2, 12 items 16 and 19, CTL-122. */
#pragma once

#include "controller/model.h"

/* One finding: kind is a fixed word, member 0 if it is about none. */
typedef void (*warn_fn)(void *ctx, const char *kind, uint64_t member, const char *text);

/* Routes and pools: a default route, overlapping routes, ranges outside every route or without any
 * address. */
void warn_plan(const struct plan *plan, warn_fn found, void *ctx);

/* All of it: the same, exhausted pools, addresses of several members or outside every route,
 * members with two keys. */
void warn_network(const struct cnetwork *net, warn_fn found, void *ctx);
