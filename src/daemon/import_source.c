/* Reads a working directory of the reference. */
#include "daemon/import_source.h"

#include "daemon/config.h"
#include "os/file.h"

#include <errno.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    PATH_LEN = 2048,
    DEPTH_MAX = 4,
    SOURCE_BYTES_MAX = 1 << 30, /* that all files of a source may have together */
};

const char import_legacy[] = "the database of a controller before version 1.2, whose networks are "
                             "not read";

static const char controller_dir[] = "controller.d";

/* ---- the list ---- */

int import_source_add(struct import_source *src, const char *path, char *data, size_t len,
                      const char *problem)
{
    int err = 0;
    if (src->count == src->cap) {
        size_t cap = src->cap == 0 ? 64 : src->cap * 2;
        struct import_file *grown = realloc(src->files, cap * sizeof(*grown));
        err = grown == NULL ? -ENOMEM : 0;
        if (err == 0) {
            src->files = grown;
            src->cap = cap;
        }
    }
    if (err == 0 && (src->count == IMPORT_FILES_MAX || len > SOURCE_BYTES_MAX - src->bytes)) {
        err = -EFBIG;
    }
    struct import_file file = {.data = data, .len = len};
    if (err == 0) {
        file.path = strdup(path);
        file.problem = problem != NULL ? strdup(problem) : NULL;
        err = file.path == NULL || (problem != NULL && file.problem == NULL) ? -ENOMEM : 0;
    }
    if (err < 0) {
        free(file.path);
        free(file.problem);
        free(data);
        return err;
    }
    src->files[src->count++] = file;
    src->bytes += len;
    return 0;
}

static int compare_files(const void *a, const void *b)
{
    return strcmp(((const struct import_file *)a)->path, ((const struct import_file *)b)->path);
}

void import_source_sort(struct import_source *src)
{
    if (src->count > 0) {
        qsort(src->files, src->count, sizeof(*src->files), compare_files);
    }
}

const struct import_file *import_source_find(const struct import_source *src, const char *path)
{
    for (size_t i = 0; i < src->count; i++) {
        if (strcmp(src->files[i].path, path) == 0) {
            return &src->files[i];
        }
    }
    return NULL;
}

void import_source_done(struct import_source *src)
{
    for (size_t i = 0; i < src->count; i++) {
        struct import_file *file = &src->files[i];
        if (file->data != NULL) {
            sodium_memzero(file->data, file->len);
        }
        free(file->data);
        free(file->path);
        free(file->problem);
    }
    free(src->files);
    *src = (struct import_source){0};
}

/* ---- directories ---- */

/* One level of a walk. */
struct walk {
    struct import_source *src;
    const char *dir;  /* that is walked */
    const char *name; /* of it in the source, "" for the working directory */
    const char *tail; /* suffix of names wanted, NULL: all */
    unsigned depth;   /* levels below it */
    int error;
};

static bool join(char *out, const char *dir, const char *name)
{
    int n = snprintf(out, PATH_LEN, dir[0] != '\0' ? "%s/%s" : "%s%s", dir, name);
    return n > 0 && n < PATH_LEN;
}

static int walk_dir(struct import_source *src, const char *dir, const char *name, const char *tail,
                    unsigned depth);

/* Read a file into the source, or note why not. Returns -EISDIR; 0; negative errno. */
static int read_one(struct import_source *src, const char *path, const char *name, size_t max)
{
    char *data = NULL;
    size_t len = 0;
    int err = file_read(path, max, &data, &len);
    if (err == -EISDIR || err == -ENOMEM) {
        return err;
    }
    const char *problem = err == -EFBIG    ? "too large"
                          : err == -EINVAL ? "not a regular file"
                                           : strerror(-err);
    return import_source_add(src, name, err < 0 ? NULL : data, len, err < 0 ? problem : NULL);
}

static bool visit(void *ctx, const char *name)
{
    struct walk *walk = ctx;
    char path[PATH_LEN];
    char inside[PATH_LEN];
    size_t len = strlen(name);
    size_t tail = walk->tail != NULL ? strlen(walk->tail) : 0;
    bool is_dump = len > 4 && strcmp(name + len - 4, ".sql") == 0;
    if (len < tail || (tail > 0 && strcmp(name + len - tail, walk->tail) != 0) ||
        strncmp(name, "controller.sqlite", strlen("controller.sqlite")) == 0) {
        return true;
    }
    if (!join(path, walk->dir, name) || !join(inside, walk->name, name)) {
        walk->error = -ENAMETOOLONG;
        return false;
    }
    walk->error = read_one(walk->src, path, inside, is_dump ? IMPORT_DUMP_MAX : IMPORT_FILE_MAX);
    bool is_place = strcmp(name, "network") == 0 || strcmp(name, "member") == 0;
    if (walk->error == 0 && is_place && walk->tail == NULL) {
        /* what cannot be listed is not the same as nothing */
        (void)snprintf(walk->src->trouble, sizeof(walk->src->trouble), "%.500s", path);
        walk->error = -ENOTDIR;
    } else if (walk->error == -EISDIR) {
        walk->error =
            walk->depth > 0 ? walk_dir(walk->src, path, inside, walk->tail, walk->depth - 1) : 0;
    }
    return walk->error == 0;
}

static int walk_dir(struct import_source *src, const char *dir, const char *name, const char *tail,
                    unsigned depth)
{
    struct walk walk = {.src = src, .dir = dir, .name = name, .tail = tail, .depth = depth};
    int err = file_each(dir, visit, &walk);
    if (err < 0 && err != -ENOENT) {
        (void)snprintf(src->trouble, sizeof(src->trouble), "%.500s", dir);
    }
    return err < 0 ? err : walk.error;
}

int import_source_controller(struct import_source *src, const char *dir)
{
    int err = walk_dir(src, dir, controller_dir, NULL, DEPTH_MAX);
    err = err == -ENOENT ? 0 : err;
    if (err == 0) {
        import_source_sort(src);
    }
    return err;
}

static bool exists(const char *dir, const char *name)
{
    char path[PATH_LEN];
    struct file_stamp stamp;
    return join(path, dir, name) && file_stat(path, &stamp) == 0;
}

static bool is_home(const char *dir)
{
    return exists(dir, "identity.secret") || exists(dir, controller_dir) ||
           exists(dir, "controller.db");
}

/* Where the controller's files are: controllerDbPath of local.conf, or controller.d. Returns 0;
 * -EOPNOTSUPP they are in PostgreSQL; negative errno. */
static int find_controller(const struct import_source *src, const char *home, char *out)
{
    const struct import_file *file = import_source_find(src, "local.conf");
    struct config *config = NULL;
    struct config_error error;
    int err = join(out, home, controller_dir) ? 0 : -ENAMETOOLONG;
    if (err < 0 || file == NULL || file->data == NULL ||
        config_parse(file->data, file->len, &config, &error) < 0) {
        return err;
    }
    if (strncmp(config->controller_db, "postgres:", strlen("postgres:")) == 0) {
        err = -EOPNOTSUPP;
    } else if (config->controller_db[0] != '\0') {
        (void)snprintf(out, PATH_LEN, "%s", config->controller_db);
    }
    config_free(config);
    return err;
}

static int read_home(struct import_source *src, const char *dir, char *why, size_t cap)
{
    static const char *const names[] = {"identity.secret",  "identity.public",
                                        "authtoken.secret", "metricstoken.secret",
                                        "planet",           "local.conf"};
    char path[PATH_LEN];
    int err = 0;
    for (size_t i = 0; i < COUNT_OF(names) && err == 0; i++) {
        if (exists(dir, names[i]) && join(path, dir, names[i])) {
            err = read_one(src, path, names[i], IMPORT_FILE_MAX);
        }
    }
    if (err == 0 && exists(dir, "controller.db")) {
        err = import_source_add(src, "controller.db", NULL, 0, import_legacy);
    }
    err = err == 0 && join(path, dir, "moons.d") ? walk_dir(src, path, "moons.d", ".moon", 0) : err;
    err = err == -ENOENT ? 0 : err;
    err = err == 0 && join(path, dir, "networks.d") ? walk_dir(src, path, "networks.d", ".conf", 0)
                                                    : err;
    err = err == -ENOENT ? 0 : err;
    err = err == 0 ? find_controller(src, dir, path) : err;
    if (err == -EOPNOTSUPP) {
        (void)snprintf(why, cap,
                       "the networks of this controller are in PostgreSQL (controllerDbPath"
                       " in local.conf): import from its API while it runs");
        return err;
    }
    return err == 0 ? import_source_controller(src, path) : err;
}

static int read_directory(struct import_source *src, const char *path, char *why, size_t cap)
{
    static const char *const inner[] = {"zerotier", "zerotier-one", "var/lib/zerotier-one"};
    char below[PATH_LEN];
    if (is_home(path)) {
        return read_home(src, path, why, cap);
    }
    for (size_t i = 0; i < COUNT_OF(inner); i++) {
        if (join(below, path, inner[i]) && is_home(below)) {
            int err = walk_dir(src, path, "", ".sql", 0); /* dumps of a backup beside it */
            return err == 0 ? read_home(src, below, why, cap) : err;
        }
    }
    if (exists(path, "network")) {
        return import_source_controller(src, path);
    }
    (void)snprintf(why, cap, "there is neither identity.secret nor controller.d");
    return -ENOENT;
}

int import_source_read(struct import_source *src, const char *path, char *why, size_t cap)
{
    why[0] = '\0';
    *src = (struct import_source){0};
    int err = file_each(path, visit, &(struct walk){.src = src, .tail = "/"});
    if (err == -ENOTDIR) {
        err = import_archive_read(src, path, why, cap);
    } else if (err == 0) {
        err = read_directory(src, path, why, cap);
    }
    if (err < 0) {
        if (why[0] == '\0') {
            (void)snprintf(why, cap, "%s%s%s", src->trouble, src->trouble[0] != '\0' ? ": " : "",
                           strerror(-err));
        }
        import_source_done(src);
        return err;
    }
    import_source_sort(src);
    return 0;
}
