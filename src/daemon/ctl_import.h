/* Taking over the controller data of the reference: the JSON files of its controller.d, read once
 * into a new store. Source: spec 04 sections 3.1, 3.2; SV-122. */
#pragma once

#include "base/attr.h"
#include "controller/store.h"

#include <stddef.h>

/* Put the networks and members below dir (".../controller.d") into a new store. Files are only
 * read; one that is damaged is left out with a log line. backend stays the caller's.
 * Returns how many networks came over; negative errno. */
MUST_CHECK int ctl_import(const char *dir, struct store_backend *backend);
