/* Making an identity with all processors: the address hash is a search. Source: spec 01 section
 * 2.3. */
#pragma once

#include "base/attr.h"
#include "crypto/identity.h"

#include <stdbool.h>
#include <stddef.h>

/* Called on every new identity found; true keeps it and ends the search. Any thread, one at a
 * time. */
typedef bool (*keygen_accept_fn)(void *ctx, const struct identity *identity);

/* Search until accept says yes (accept NULL: the first one). Uses one thread a processor and waits
 * for them. Returns 0; -ENOMEM. Wipe *ret after use. */
MUST_CHECK int keygen_identity(keygen_accept_fn accept, void *ctx, struct identity *ret);

/* Local validation with scratch memory of its own: as identity_validate, or -ENOMEM. */
MUST_CHECK int keygen_validate(const struct identity *identity);
