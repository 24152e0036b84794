/* Moving networks between a controller of the reference and this one. Parts of "panlan controller".
 * Source: spec 04 section 3. */
#pragma once

#include "cli/cli.h"
#include "controller/store.h"
#include "daemon/config.h"
#include "daemon/import_source.h"

enum {
    MIGRATE_WHY_LEN = 512,
    MIGRATE_PATH_LEN = 2048,
};

/* panlan controller import SOURCE ..., panlan controller export DIR ...; exit statuses. */
int import_run(struct cli *cli);
int export_run(struct cli *cli);

/* panlan controller backup FILE; exit status. */
int backup_run(struct cli *cli);

/* panlan controller ... */
int controller_run(struct cli *cli);

/* Read networks and members from a running controller into src, as if they were its files. url:
 * http://HOST[:PORT]; token: of its API; *ret_address: its node address. Returns 0; negative errno
 * with a text in why (MIGRATE_WHY_LEN). */
MUST_CHECK int import_live(struct import_source *src, const char *url, const char *token,
                           uint64_t *ret_address, char *why);

/* Where a home keeps the data of its controller. */
struct migrate_store {
    char path[MIGRATE_PATH_LEN];  /* of the file, "" = in PostgreSQL */
    char shared[CONFIG_TEXT_LEN]; /* controllerDbPath that names a server, else "" */
};

/* Find it by the settings of the home. Returns 0; -ENAMETOOLONG; -EBADMSG local.conf cannot be
 * read. */
MUST_CHECK int migrate_store_find(const char *home, struct migrate_store *ret);

/* True if it is a file that exists. */
bool migrate_store_exists(const struct migrate_store *store);

/* A backend for it; address: of the controller. Returns NULL out of memory. */
struct store_backend *migrate_store_new(const struct migrate_store *store, uint64_t address);

/* Give the lease of a shared one back and release it. Accepts NULL. */
void migrate_store_free(struct store_backend *backend);
