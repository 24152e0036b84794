/* A PostgreSQL server of the test's own: an unprivileged user's, in a temporary directory, on a
 * Unix socket. It ends with the test, also if that crashes. */
#pragma once

#include <stdbool.h>

/* Start it. Returns false, with the reason on stderr, if no server is installed here. */
bool pg_server_start(void);

/* The connection string (without "postgres:"), and the same with it for a controllerDbPath. */
const char *pg_server_info(void);
const char *pg_server_path(void);

/* Kill every process of it, as a crash does; bring it up again. */
void pg_server_kill(void);
void pg_server_restart(void);

/* End it and remove its files. Accepts one that was not started. */
void pg_server_stop(void);

/* Run a statement; the test fails if it is refused. */
void pg_server_run(const char *sql);

/* The first field of the first row of a statement, "" without rows; valid until the next call. */
const char *pg_server_ask(const char *sql);
