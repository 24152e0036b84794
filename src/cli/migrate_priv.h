/* One import, shared by its parts. */
#pragma once

#include "cli/migrate.h"

#include "controller/import_set.h"
#include "crypto/identity.h"
#include "daemon/state.h"

#include <jansson.h>

/* How the identity of the source and that of the home stand to each other. */
enum identity_plan {
    IDENTITY_SAME,    /* the home has it already */
    IDENTITY_NEW,     /* to be written */
    IDENTITY_MISSING, /* the source has none: only for a look */
};

/* One import. */
struct import {
    struct cli *cli;
    const char *source;
    const char *names_path;    /* --names, NULL: none */
    const char *identity_path; /* --identity, NULL: of the source */
    bool dry_run;
    bool foreign;
    bool update;
    bool replace; /* another identity of the home is put aside */
    struct state state;
    bool locked;
    bool has_database; /* the home has a file already */
    struct migrate_store place;
    struct import_source src;
    uint64_t live_address; /* of a running source, else 0 */
    struct identity identity;
    enum identity_plan plan;
    struct import_set *set;
    json_t *names;
    json_t *copied; /* names of files taken over */
};

/* Say on stderr why the import ends. Returns the exit status. */
int import_complain(const char *what, const char *why);

/* Compare the identity of the source with that of the home: fills identity and plan. Returns 0 or
 * an exit status. */
MUST_CHECK int import_plan_identity(struct import *im);

/* Make the home that of the same node: identity, and files as far as it has none of its own.
 * Returns 0 or an exit status. */
MUST_CHECK int import_write_home(struct import *im);
