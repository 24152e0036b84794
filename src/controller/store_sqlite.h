/* Storage of a controller in one SQLite file. The library is loaded at the first open: a node
 * without a controller never maps it. Source: spec 04 section 5.2. */
#pragma once

#include "controller/store.h"

/* A backend over the file at path (copied), made with mode 0600 if absent. open refuses a file that
 * others may read, one of another program or a newer version, and a damaged one (with what the
 * check found); a damaged file is never touched. Returns NULL out of memory. */
struct store_backend *store_sqlite_new(const char *path);

/* The explicit decision to start anew: rename the file and its companions to
 * "<name>.damaged-<stamp>". Only while no store has it open. Returns 0; negative errno. */
MUST_CHECK int store_sqlite_move_aside(const char *path, const char *stamp);
