/* The home directory: where it is, and that it belongs to one running daemon only.
 * Source: spec 05 sections 2.1, 2.2 and 13 item 6; SV-1, SV-17, SV-19. */
#pragma once

#include "base/attr.h"

#include <stddef.h>

enum {
    HOME_PATH_MAX = 1024, /* buffer for a home path and its NUL */
};

/* Default home of this platform. */
const char *home_default(void);

/* Choose the home: argument (NULL or empty: none), then variable (value of ZEROTIER_HOME, NULL or
 * empty: none), then the default. Trailing slashes go. Returns 0; -ENAMETOOLONG. */
MUST_CHECK int home_choose(const char *argument, const char *variable, char ret[HOME_PATH_MAX]);

/* Join home and name with a slash. Returns 0; -ENAMETOOLONG. */
MUST_CHECK int home_path(const char *home, const char *name, char *ret, size_t cap);

/* Take the home for this process: a lock on "panlan.lock" that ends with the process, whatever
 * kills it (one just killed is waited for, half a second at most). Returns the descriptor, to be
 * kept open and closed by the caller; -EBUSY another process has it; negative errno. */
MUST_CHECK int home_lock(const char *home);

/* Write the decimal process id to a file (spec name zerotier-one.pid), without newline, 0644.
 * Returns 0; negative errno. */
MUST_CHECK int home_write_pid(const char *home, const char *name);
