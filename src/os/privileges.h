/* Giving up root while keeping what a node needs of it. Source: spec 05 section 6.11; SV-96. */
#pragma once

#include "base/attr.h"

/* Become user (a name), keeping only the capabilities to configure networks, to use raw sockets and
 * to bind low ports; home and all in it is given to the user first. Only while the process has one
 * thread and runs as root. Returns 0; -ENOENT no such user, -EPERM not root, both with nothing
 * changed; other negative errno: the change failed half way. */
MUST_CHECK int privileges_drop(const char *user, const char *home);
