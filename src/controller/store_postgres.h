/* Storage of a controller in PostgreSQL (and what speaks its protocol), for several instances with
 * one identity: whoever has the lease serves it, the others stand by and take over. libpq is loaded
 * at the first open. Source: spec 04 sections 3.1, 5.2, 5.3. */
#pragma once

#include "controller/store.h"

/* True if a controllerDbPath selects this store; *ret_info (borrowed) is the connection string. */
bool store_postgres_owns(const char *path, const char **ret_info);

/* A backend over the schema "panlan_<address>" of the database that info (copied) names: made and
 * migrated by whoever holds the lease. Returns NULL out of memory. */
struct store_backend *store_postgres_new(const char *info, uint64_t address);

/* What a schema that has no tables yet begins with: all of another, unopened store, which is taken.
 * Before the first open. */
void store_postgres_seed(struct store_backend *b, struct store_backend *from);
