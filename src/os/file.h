/* Files: bounded reads, writes that a power cut cannot tear, directories. No file is left half
 * written and no secret is readable by others at any moment.
 * Source: spec 05 sections 2.2, 13 (items 4 and 6) and 7.3 (store). */
#pragma once

#include "base/attr.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

enum {
    FILE_MODE_SECRET = 0600,
    FILE_MODE_PUBLIC = 0644,
    FILE_NAMES_MAX = 65536, /* entries file_list reads of one directory */
};

/* What tells one version of a file from another. */
struct file_stamp {
    int64_t mtime_ns; /* last modification, Unix time in nanoseconds */
    uint64_t size;
    uint64_t inode;
};

/* Names in a directory; owns its memory. */
struct file_names {
    char **names; /* sorted, without "." and ".." */
    size_t count;
};

/* Read a whole regular file into buf (cap bytes). Returns its length; -EFBIG longer than cap;
 * -EISDIR, -EINVAL not a regular file; -ENOENT and other errors of open and read. */
MUST_CHECK ssize_t file_read_into(const char *path, void *buf, size_t cap);

/* Read a whole regular file of at most max bytes into new memory with a NUL after the last byte.
 * The caller frees *ret (and wipes it when secret). ret_len may be NULL.
 * Returns 0; errors of file_read_into; -ENOMEM. */
MUST_CHECK int file_read(const char *path, size_t max, char **ret, size_t *ret_len);

/* Replace a file in one step: temporary file beside it (name + ".tmp", one writer at a time) with
 * mode from its birth, fsync, rename, fsync of the directory. A file with the same bytes is left
 * alone except for its mode. The directory must exist. On any error the old or the new file is
 * there whole and no temporary file. Returns 0; negative errno. */
MUST_CHECK int file_write_atomic(const char *path, const void *data, size_t len, mode_t mode);

/* The same without waiting for the disk: for what may be lost or damaged when the power fails. */
MUST_CHECK int file_write_cache(const char *path, const void *data, size_t len, mode_t mode);

/* Remove a file. Returns 0, also when it is not there; negative errno. */
int file_erase(const char *path);

/* Make a directory and all missing ones above it. mode is for those made here. Returns 0, also
 * when it exists; -ENOTDIR; negative errno. */
MUST_CHECK int file_make_dirs(const char *path, mode_t mode);

/* List a directory. Release with file_names_done. Returns 0; -ENOENT; -EOVERFLOW more than
 * FILE_NAMES_MAX entries; negative errno. */
MUST_CHECK int file_list(const char *path, struct file_names *ret);
void file_names_done(struct file_names *names);

/* Call visit for each name in a directory (not "." and ".."), in the system's order, without bound
 * and without keeping them; the visitor may remove the entry, and ends the walk by returning false.
 * Returns 0; -ENOENT; negative errno. */
MUST_CHECK int file_each(const char *path, bool (*visit)(void *ctx, const char *name), void *ctx);

/* Stamp of a file. Returns 0; -ENOENT; negative errno. */
MUST_CHECK int file_stat(const char *path, struct file_stamp *ret);
bool file_stamp_equal(const struct file_stamp *a, const struct file_stamp *b);

/* Set the mode of a file (secrets are forced to 0600 at start). Returns 0; negative errno. */
int file_set_mode(const char *path, mode_t mode);
