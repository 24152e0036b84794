/* Single sign-on values that a controller sends with its refusal. Source: spec 03 section 18. */
#pragma once

#include "base/attr.h"
#include "base/cursor.h"
#include "wire/netconf.h"

/* Read what follows the network ID in ERROR NETWORK_AUTHENTICATION_REQUIRED and replace *sso
 * (owned, NULL = none yet) by the result; values that the refusal does not name stay as they were.
 * Returns 0; -EBADMSG ignored, *sso unchanged; -ENOMEM. */
MUST_CHECK int sso_from_error(struct rd payload, struct netconf_sso **sso);

/* Free with all texts; accepts NULL. */
void sso_free(struct netconf_sso *sso);
