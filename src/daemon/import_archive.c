/* Reads an archive of a working directory with libarchive, which is loaded when one is given.
 * Nothing is unpacked to the disk: names are compared, never used. */
#include "daemon/import_source.h"
#include "os/library.h"

#include <errno.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/types.h>

enum {
    ARCHIVE_WARN = -20, /* libarchive's result codes */
    ARCHIVE_OK = 0,
    ARCHIVE_EOF = 1,
    BLOCK_LEN = 65536,
    PATH_LEN = 2048,
};

struct archive;
struct archive_entry;

struct archive_lib {
    void *library;
    struct archive *(*read_new)(void);
    int (*filter_gzip)(struct archive *a);
    int (*filter_bzip2)(struct archive *a);
    int (*filter_xz)(struct archive *a);
    int (*filter_zstd)(struct archive *a);
    int (*format_tar)(struct archive *a);
    int (*format_zip)(struct archive *a);
    int (*open_filename)(struct archive *a, const char *path, size_t block);
    int (*next_header)(struct archive *a, struct archive_entry **entry);
    ssize_t (*read_data)(struct archive *a, void *buf, size_t len);
    const char *(*error_string)(struct archive *a);
    int (*read_free)(struct archive *a);
    const char *(*pathname)(struct archive_entry *entry);
    mode_t (*filetype)(struct archive_entry *entry);
    const char *(*hardlink)(struct archive_entry *entry);
};

static int lib_load(struct archive_lib *lib, char *why, size_t cap)
{
    const struct library_symbol table[] = {
        {"archive_read_new", &lib->read_new},
        {"archive_read_support_filter_gzip", &lib->filter_gzip},
        {"archive_read_support_filter_bzip2", &lib->filter_bzip2},
        {"archive_read_support_filter_xz", &lib->filter_xz},
        {"archive_read_support_filter_zstd", &lib->filter_zstd},
        {"archive_read_support_format_tar", &lib->format_tar},
        {"archive_read_support_format_zip", &lib->format_zip},
        {"archive_read_open_filename", &lib->open_filename},
        {"archive_read_next_header", &lib->next_header},
        {"archive_read_data", &lib->read_data},
        {"archive_error_string", &lib->error_string},
        {"archive_read_free", &lib->read_free},
        {"archive_entry_pathname", &lib->pathname},
        {"archive_entry_filetype", &lib->filetype},
        {"archive_entry_hardlink", &lib->hardlink},
    };
    const char *error = "";
    int err = library_open("libarchive.so.13", table, COUNT_OF(table), &lib->library, &error);
    if (err < 0) {
        (void)snprintf(why, cap,
                       "reading archives needs libarchive (Debian: libarchive13), or unpack it and "
                       "give the directory: %s",
                       error);
    }
    return err;
}

/* ---- names ---- */

static bool has_tail(const char *path, const char *tail)
{
    size_t len = strlen(path);
    size_t n = strlen(tail);
    return len >= n && strcmp(path + len - n, tail) == 0;
}

/* A file with this name in any directory. */
static bool is_named(const char *path, const char *name)
{
    return has_tail(path, name) &&
           (strlen(path) == strlen(name) || path[strlen(path) - strlen(name) - 1] == '/');
}

/* Begin of a directory "name/" in a path, NULL if it is in none. */
static const char *inside(const char *path, const char *name)
{
    for (const char *at = path; (at = strstr(at, name)) != NULL; at++) {
        if (at == path || at[-1] == '/') {
            return at;
        }
    }
    return NULL;
}

static bool is_wanted(const char *path)
{
    static const char *const names[] = {
        "identity.secret", "identity.public", "authtoken.secret", "metricstoken.secret",
        "planet",          "local.conf",      "controller.db"};
    for (size_t i = 0; i < COUNT_OF(names); i++) {
        if (is_named(path, names[i])) {
            return true;
        }
    }
    return (inside(path, "controller.d/") != NULL &&
            strstr(path, "controller.d/controller.sqlite") == NULL) ||
           (inside(path, "moons.d/") != NULL && has_tail(path, ".moon")) ||
           (inside(path, "networks.d/") != NULL && has_tail(path, ".conf")) ||
           has_tail(path, ".sql");
}

/* True for a path that would lead out of the directory it is unpacked in. */
static bool leads_out(const char *path)
{
    for (const char *at = path; at != NULL; at = strchr(at, '/')) {
        at += *at == '/' ? 1 : 0;
        if (strncmp(at, "..", 2) == 0 && (at[2] == '/' || at[2] == '\0')) {
            return true;
        }
    }
    return path[0] == '/';
}

/* ---- contents ---- */

/* The data of the present entry; NULL with a problem. */
static char *read_entry(const struct archive_lib *lib, struct archive *a, size_t max,
                        size_t *ret_len, const char **ret_problem)
{
    char *data = NULL;
    size_t len = 0;
    size_t room = 0;
    for (;;) {
        if (room - len < BLOCK_LEN) {
            room = room == 0 ? BLOCK_LEN : room * 2;
            char *grown = realloc(data, room);
            if (grown == NULL) {
                *ret_problem = strerror(ENOMEM);
                break;
            }
            data = grown;
        }
        ssize_t got = lib->read_data(a, data + len, BLOCK_LEN);
        if (got == 0) {
            *ret_len = len;
            return data;
        }
        if (got < 0 || len + (size_t)got > max) {
            *ret_problem = got < 0 ? "damaged in the archive" : "too large";
            break;
        }
        len += (size_t)got;
    }
    free(data);
    return NULL;
}

static int take_entry(struct import_source *src, const struct archive_lib *lib, struct archive *a,
                      struct archive_entry *entry)
{
    const char *path = lib->pathname(entry);
    const char *problem = NULL;
    char *data = NULL;
    size_t len = 0;
    while (path != NULL && strncmp(path, "./", 2) == 0) {
        path += 2;
    }
    if (path == NULL || strlen(path) >= PATH_LEN || !is_wanted(path) ||
        S_ISDIR(lib->filetype(entry))) {
        return 0;
    }
    if (leads_out(path)) {
        problem = "its path leads out of the archive";
    } else if (!S_ISREG(lib->filetype(entry)) || lib->hardlink(entry) != NULL) {
        problem = "a link or device, not a file";
    } else if (is_named(path, "controller.db")) {
        problem = import_legacy;
    } else {
        size_t max = has_tail(path, ".sql") ? IMPORT_DUMP_MAX : IMPORT_FILE_MAX;
        data = read_entry(lib, a, max, &len, &problem);
    }
    return import_source_add(src, path, data, len, problem);
}

static int read_entries(struct import_source *src, const struct archive_lib *lib, struct archive *a,
                        char *why, size_t cap)
{
    struct archive_entry *entry = NULL;
    int err = 0;
    for (int i = 0; err == 0; i++) {
        int code = lib->next_header(a, &entry);
        if (code == ARCHIVE_EOF) {
            return 0;
        }
        if (code < ARCHIVE_WARN || i == IMPORT_ENTRIES_MAX) {
            const char *text = code < ARCHIVE_WARN ? lib->error_string(a) : "too many entries";
            (void)snprintf(why, cap, "%s", text != NULL ? text : "damaged archive");
            return -EBADMSG;
        }
        err = take_entry(src, lib, a, entry);
    }
    return err;
}

/* Length of the part of a path before the working directory's files, or SIZE_MAX if it tells
 * nothing. */
static size_t root_of(const char *path)
{
    const char *controller = inside(path, "controller.d/");
    if (controller != NULL) {
        return (size_t)(controller - path);
    }
    return is_named(path, "identity.secret") || is_named(path, "controller.db")
               ? (size_t)(strrchr(path, '/') != NULL ? strrchr(path, '/') + 1 - path : 0)
               : SIZE_MAX;
}

/* Take the directory in front of all paths off; what is beside it goes, but for dumps. */
static int settle(struct import_source *src, char *why, size_t cap)
{
    char root[PATH_LEN] = "";
    size_t shortest = SIZE_MAX;
    for (size_t i = 0; i < src->count; i++) {
        const struct import_file *file = &src->files[i];
        bool tells = file->problem == NULL || is_named(file->path, "controller.db");
        size_t n = tells ? root_of(file->path) : SIZE_MAX;
        if (n < shortest) {
            shortest = n;
            (void)snprintf(root, sizeof(root), "%.*s", (int)n, src->files[i].path);
        }
    }
    if (shortest == SIZE_MAX) {
        (void)snprintf(why, cap, "the archive has neither identity.secret nor controller.d");
        return -ENOENT;
    }
    for (size_t i = 0; i < src->count; i++) {
        char *path = src->files[i].path;
        if (leads_out(path)) {
            continue; /* to be named as it was */
        }
        if (strncmp(path, root, shortest) == 0) {
            memmove(path, path + shortest, strlen(path + shortest) + 1);
        } else if (!has_tail(path, ".sql") && src->files[i].problem == NULL) {
            path[0] = '\0'; /* of no meaning */
        }
    }
    return 0;
}

int import_archive_read(struct import_source *src, const char *path, char *why, size_t cap)
{
    struct archive_lib lib = {0};
    int err = lib_load(&lib, why, cap);
    if (err < 0) {
        return err;
    }
    struct archive *a = lib.read_new();
    err = a == NULL ? -ENOMEM : 0;
    if (err == 0) {
        (void)lib.filter_gzip(a);
        (void)lib.filter_bzip2(a);
        (void)lib.filter_xz(a);
        (void)lib.filter_zstd(a);
        (void)lib.format_tar(a);
        (void)lib.format_zip(a);
        if (lib.open_filename(a, path, BLOCK_LEN) != ARCHIVE_OK) {
            const char *text = lib.error_string(a);
            (void)snprintf(why, cap, "%s", text != NULL ? text : "not an archive");
            err = -EBADMSG;
        }
    }
    err = err == 0 ? read_entries(src, &lib, a, why, cap) : err;
    err = err == 0 ? settle(src, why, cap) : err;
    if (a != NULL) {
        (void)lib.read_free(a);
    }
    library_close(lib.library);
    return err;
}
