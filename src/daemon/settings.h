/* local.conf in the running daemon: reading, applying, watching. Source: spec 05 section 5.7. */
#pragma once

#include "base/attr.h"
#include "daemon/config.h"

struct service;

/* Read and parse local.conf; a missing file is an empty one. Returns 0 with *ret owned by the
 * caller; negative errno with *ret_error filled. */
MUST_CHECK int settings_read(struct service *svc, struct config **ret,
                             struct config_error *ret_error);

/* Log what was ignored in it and set the log level. */
void settings_announce(const struct config *config);

/* Give the engine the parts of the settings that are its own. */
void settings_apply_policy(struct service *svc);

/* Reload when the file changes. Returns 0; negative errno. */
MUST_CHECK int settings_watch(struct service *svc);
