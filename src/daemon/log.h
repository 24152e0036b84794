/* The log of the daemon: one line per event on stderr, "time level module text". The level is the
 * only global state of the program. Any thread. Source: spec 05 section 9.1. */
#pragma once

#include "base/attr.h"
#include "vl1/env.h"

/* Lines above this level are dropped; changeable at any time. Default info. */
void log_set_level(enum log_level level);
enum log_level log_get_level(void);

/* Level from its name (error, warn, info, debug, trace). Returns 0; -EINVAL. */
MUST_CHECK int log_level_parse(const char *name, enum log_level *ret);

/* Write a line. Control characters of the text are escaped. Never log keys, tokens or payload. */
void log_write(enum log_level level, const char *module, const char *fmt, ...) PRINTF_LIKE(3, 4);
