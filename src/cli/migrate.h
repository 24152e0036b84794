/* Moving networks between a controller of the reference and this one. Parts of "panlan controller".
 * Source: spec 04 section 3. */
#pragma once

#include "cli/cli.h"
#include "controller/store.h"
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

/* Path of the controller's database of a home. Returns 0; -EOPNOTSUPP it is in PostgreSQL;
 * -ENAMETOOLONG; -EBADMSG local.conf cannot be read. */
MUST_CHECK int migrate_store_path(const char *home, char out[MIGRATE_PATH_LEN]);
