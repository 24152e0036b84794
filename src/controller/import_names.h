/* Names that web consoles keep beside the reference's controller: ztncui, ztnet, zero-ui.
 * No I/O. Source: spec 04 section 3.2 item 5, section 8. */
#pragma once

#include "base/attr.h"

#include <jansson.h>
#include <stddef.h>

/* Read one file into names (the form that import_set_name takes, an object to begin with). Known
 * are:
 *   ztncui   a file of etc/storage: {"key":"<address>","value":"<name>"}
 *   zero-ui  {"networks":[{"id","additionalConfig":{...},"members":[...]}]}
 *   ztnet    text that pg_dump wrote (COPY of the tables network and network_members), or rows of
 *            these tables as JSON: [{"nwid","id","name"}]
 *   others   {"<address>":"<name>"} or {"<network>/<address>":"<name>"}
 * Returns how many names it held, 0 also if it is none of these. */
size_t import_names(json_t *names, const char *text, size_t len);
