/* Where an import comes from: a working directory of the reference, or an archive of one, read into
 * memory. The source is only read, and nothing of an archive is written anywhere, so that no path
 * or link in it leads astray. Source: spec 04 sections 3.1, 3.2. */
#pragma once

#include "base/attr.h"
#include "controller/import_set.h"

#include <stddef.h>

enum {
    IMPORT_DUMP_MAX = 256 << 20,   /* bytes of a database dump (*.sql) */
    IMPORT_FILES_MAX = 4000000,    /* files of a source */
    IMPORT_ENTRIES_MAX = 16000000, /* entries of an archive */
};

/* Files by their path below the working directory, sorted. */
struct import_source {
    struct import_file *files;
    size_t count;
    size_t cap;
    size_t bytes;      /* of all data */
    char trouble[512]; /* directory that could not be read, "" none */
};

/* Read a working directory (also a directory with one in "zerotier" or "zerotier-one", or a
 * controller.d alone) or an archive of one (tar, also compressed, or zip).
 * Returns 0; negative errno with a text for people in why (cap bytes). */
MUST_CHECK int import_source_read(struct import_source *src, const char *path, char *why,
                                  size_t cap);

/* Read only what is below a controller.d. Returns 0; negative errno (a directory cannot be read).
 */
MUST_CHECK int import_source_controller(struct import_source *src, const char *dir);

/* Add a file; data (malloc'd, or NULL with a problem) is taken. Returns 0; -ENOMEM; -EFBIG more
 * than the source may hold. */
MUST_CHECK int import_source_add(struct import_source *src, const char *path, char *data,
                                 size_t len, const char *problem);

/* Bring what was added into order. */
void import_source_sort(struct import_source *src);

/* A file of a sorted source, borrowed, or NULL. */
const struct import_file *import_source_find(const struct import_source *src, const char *path);

/* Wipe and release everything. */
void import_source_done(struct import_source *src);

/* What is wrong with a controller.db: it is named, never read. */
extern const char import_legacy[];

/* Reads an archive (import_archive.c); for import_source_read. */
MUST_CHECK int import_archive_read(struct import_source *src, const char *path, char *why,
                                   size_t cap);
