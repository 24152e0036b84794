/* An import as a whole: files of the reference's controller.d and what the store holds go in, the
 * changes to the store and a report come out. What the store has stays as it is, so that a second
 * import changes nothing. No I/O. Source: spec 04 sections 3.1, 3.2. */
#pragma once

#include "base/attr.h"
#include "controller/store.h"

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    IMPORT_FILE_MAX = 4 << 20,  /* bytes of a file */
    IMPORT_FINDINGS_MAX = 5000, /* entries of each list of the report, the rest is counted */
};

/* A file of a source, by its path below the working directory ("controller.d/network/..."). */
struct import_file {
    char *path;
    char *data; /* NULL: it could not be read, see problem */
    size_t len;
    char *problem; /* why not, else NULL */
};

struct import_options {
    uint64_t address; /* of the controller's identity; 0: not known, nothing is foreign */
    bool foreign;     /* networks of other controllers too */
    bool update;      /* documents of the source replace those that are in the store */
};

struct import_set;

/* Returns NULL out of memory. */
struct import_set *import_set_new(const struct import_options *options);
void import_set_free(struct import_set *set);

/* Other options, before anything was taken. */
void import_set_set_options(struct import_set *set, const struct import_options *options);

/* What the store has: as store_load_fn with the set as ctx, before anything else. */
void import_set_load(void *set, enum store_kind kind, uint64_t nwid, uint64_t node,
                     const char *text);

/* Take files in any order; those below controller.d count, of others only
 * that they cannot be read. Returns 0; -ENOMEM. */
MUST_CHECK int import_set_take(struct import_set *set, const struct import_file *files,
                               size_t count);

/* Names collected by import_names: {"members":{"[<nwid>/]<address>":{"name","description"}},
 * "networks":{"<nwid>":{"name","description","rulesSource","tagsByName","capabilitiesByName"}}}.
 * They fill what is empty, for members that were in the store too. Returns 0; -ENOMEM. */
MUST_CHECK int import_set_name(struct import_set *set, const json_t *names);

/* Look for addresses that several members have, and give the changes: networks before their
 * members, in ascending order; the texts stay the set's. *ret NULL: nothing to write.
 * Returns 0; -ENOMEM. */
MUST_CHECK int import_set_finish(struct import_set *set, const struct store_change **ret);

/* Note something in the report. where: file, network or "". */
void import_set_left_out(struct import_set *set, const char *where, const char *why);
void import_set_warn(struct import_set *set, const char *where, const char *text);

/* The report, borrowed: {"networks":{"imported","updated","present","foreign"},
 * "members":{...},"names":{"set","unknown"},"leftOut":[{"where","text"}],"warnings":[...]}. */
json_t *import_set_report(struct import_set *set);
