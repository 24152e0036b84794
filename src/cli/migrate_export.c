/* "panlan controller export": networks and members in the layout of the reference, so that it can
 * take them over. Source: spec 04 sections 3.1, 3.2; CTL-40. */
#include "cli/format.h"
#include "cli/migrate.h"
#include "cli/own.h"

#include "base/hex.h"
#include "controller/import_doc.h"
#include "os/file.h"
#include "os/home.h"
#include "wire/identity.h"

#include <errno.h>
#include <sodium.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum {
    SMALL_FILE_MAX = 1 << 16,
    DEPTH_MAX = 6,
};

/* One export. */
struct export
{
    char part[MIGRATE_PATH_LEN]; /* directory while it is being written */
    uint64_t only;               /* network wanted, 0 all */
    uint64_t dir_of;             /* network whose member directory exists */
    unsigned networks;
    unsigned members;
    unsigned blocked; /* members whose exclusion the reference does not know */
    int error;
};

static int path_in(const struct export *ex, char *out, const char *fmt, ...) PRINTF_LIKE(3, 4);

static int path_in(const struct export *ex, char *out, const char *fmt, ...)
{
    char name[128];
    va_list args;
    va_start(args, fmt);
    (void)vsnprintf(name, sizeof(name), fmt, args);
    va_end(args);
    int n = snprintf(out, MIGRATE_PATH_LEN, "%s/%s", ex->part, name);
    return n < MIGRATE_PATH_LEN ? 0 : -ENAMETOOLONG;
}

static int member_dir(struct export *ex, uint64_t nwid)
{
    char path[MIGRATE_PATH_LEN];
    if (ex->dir_of == nwid) {
        return 0;
    }
    int err = path_in(ex, path, "controller.d/network/%016llx/member", (unsigned long long)nwid);
    err = err == 0 ? file_make_dirs(path, 0700) : err;
    ex->dir_of = err == 0 ? nwid : ex->dir_of;
    return err;
}

static int write_document(struct export *ex, enum store_kind kind, uint64_t nwid, uint64_t node,
                          const char *text)
{
    char path[MIGRATE_PATH_LEN];
    unsigned long long network = nwid;
    json_t *doc = json_loads(text, 0, NULL);
    int err = doc == NULL ? -EBADMSG : export_doc(doc);
    char *out = err == 0 ? import_print(doc) : NULL;
    err = err == 0 && out == NULL ? -ENOMEM : err;
    if (err == 0 && kind == STORE_NETWORK) {
        ex->networks++;
        err = path_in(ex, path, "controller.d/network/%016llx.json", network);
    } else if (err == 0) {
        ex->members++;
        ex->blocked += json_is_true(json_object_get(doc, "blocked")) ? 1 : 0;
        err = member_dir(ex, nwid);
        err = err == 0 ? path_in(ex, path, "controller.d/network/%016llx/member/%010llx.json",
                                 network, (unsigned long long)node)
                       : err;
    }
    err = err == 0 ? file_write_cache(path, out, strlen(out), FILE_MODE_SECRET) : err;
    free(out);
    json_decref(doc);
    return err;
}

/* As store_load_fn. */
static void on_document(void *ctx, enum store_kind kind, uint64_t nwid, uint64_t node,
                        const char *text)
{
    struct export *ex = ctx;
    bool wanted = (kind == STORE_NETWORK || kind == STORE_MEMBER) &&
                  (ex->only == 0 || ex->only == nwid) && ex->error == 0;
    if (wanted) {
        ex->error = write_document(ex, kind, nwid, node, text);
    }
}

static int copy_file(const struct export *ex, const char *home, const char *name)
{
    char from[MIGRATE_PATH_LEN];
    char to[MIGRATE_PATH_LEN];
    char *data = NULL;
    size_t len = 0;
    int err = home_path(home, name, from, sizeof(from));
    err = err == 0 ? file_read(from, SMALL_FILE_MAX, &data, &len) : err;
    if (err == -ENOENT) {
        return 0;
    }
    err = err == 0 ? path_in(ex, to, "%s", name) : err;
    err = err == 0 ? file_write_cache(to, data, len, FILE_MODE_SECRET) : err;
    if (data != NULL) {
        sodium_memzero(data, len);
    }
    free(data);
    return err;
}

/* ---- a directory that is not finished ---- */

struct removal {
    const char *dir;
    unsigned depth;
};

static void remove_tree(const char *dir, unsigned depth);

static bool remove_one(void *ctx, const char *name)
{
    const struct removal *removal = ctx;
    char path[MIGRATE_PATH_LEN];
    int n = snprintf(path, sizeof(path), "%s/%s", removal->dir, name);
    if (n < MIGRATE_PATH_LEN && unlink(path) != 0 && removal->depth > 0) {
        remove_tree(path, removal->depth - 1);
    }
    return true;
}

static void remove_tree(const char *dir, unsigned depth)
{
    struct removal removal = {.dir = dir, .depth = depth};
    (void)!file_each(dir, remove_one, &removal);
    (void)rmdir(dir);
}

/* ---- the command ---- */

static int fail(const char *what, int err)
{
    (void)fprintf(stderr, "panlan controller export: %s: %s\n", what, strerror(-err));
    return CLI_FAILED;
}

/* Address of the home's identity. Returns 0; negative errno. */
static int own_address(const char *home, uint64_t *ret)
{
    char path[MIGRATE_PATH_LEN];
    char text[ADDRESS_TEXT_LEN];
    int err = home_path(home, "identity.public", path, sizeof(path));
    char *data = NULL;
    size_t len = 0;
    err = err == 0 ? file_read(path, SMALL_FILE_MAX, &data, &len) : err;
    if (err == 0) {
        (void)snprintf(text, sizeof(text), "%.10s", data);
        err = address_parse(text, strlen(text), ret);
    }
    free(data);
    return err;
}

/* Read the store and write everything below ex->part. Returns 0 or an exit status. */
static int write_all(struct export *ex, const char *home, const struct migrate_store *place)
{
    static const char *const names[] = {"identity.secret", "identity.public", "authtoken.secret",
                                        "planet"};
    char path[MIGRATE_PATH_LEN];
    char why[MIGRATE_WHY_LEN] = "";
    int err = path_in(ex, path, "controller.d/network");
    err = err == 0 ? file_make_dirs(path, 0700) : err;
    err = err == 0 ? path_in(ex, path, "controller.d/trace") : err;
    err = err == 0 ? file_make_dirs(path, 0700) : err;
    for (size_t i = 0; i < COUNT_OF(names) && err == 0; i++) {
        err = copy_file(ex, home, names[i]);
    }
    uint64_t address = 0;
    err = err == 0 ? own_address(home, &address) : err;
    if (err < 0) {
        return fail(home, err);
    }
    struct store_backend *backend = migrate_store_new(place, address);
    err = backend == NULL ? -ENOMEM : backend->open(backend, on_document, ex, why, sizeof(why));
    migrate_store_free(backend);
    if (err < 0) {
        (void)fprintf(stderr, "panlan controller export: %s\n", why[0] ? why : strerror(-err));
        return CLI_FAILED;
    }
    return ex->error < 0 ? fail("cannot write", ex->error) : 0;
}

static int usage(void)
{
    (void)fprintf(stderr, "Usage: panlan controller export DIR [--network ID]\n");
    return CLI_USAGE;
}

static void print_done(const struct cli *cli, const struct export *ex, const char *dir)
{
    if (cli->json) {
        json_t *o = json_pack("{s:s, s:I, s:I}", "directory", dir, "networks",
                              (json_int_t)ex->networks, "members", (json_int_t)ex->members);
        format_json(stdout, o);
        json_decref(o);
    } else {
        (void)printf("exported %u networks, %u members to %s\n", ex->networks, ex->members, dir);
    }
    if (ex->blocked > 0) {
        (void)fprintf(stderr,
                      "warning: %u members are blocked, which the reference does not know: it lets "
                      "them into public networks\n",
                      ex->blocked);
    }
    (void)fprintf(stderr,
                  "The directory holds identity.secret: keep it secret. Only one controller "
                  "with this identity may run at a time.\n");
}

int export_run(struct cli *cli)
{
    struct export ex = {0};
    struct migrate_store place;
    struct file_stamp stamp;
    const char *network = own_option(cli, "--network");
    if (cli->arg_count != 1 ||
        (network != NULL && hex_to_u64(network, strlen(network), 16, &ex.only) < 0)) {
        return usage();
    }
    const char *dir = cli->args[0];
    int n = snprintf(ex.part, sizeof(ex.part), "%s.part", dir);
    if (dir[0] == '\0' || dir[strlen(dir) - 1] == '/' || n >= MIGRATE_PATH_LEN) {
        return usage();
    }
    int err = migrate_store_find(cli->home, &place);
    if (err == 0 && place.shared[0] == '\0' && !migrate_store_exists(&place)) {
        err = -ENOENT;
    }
    if (err < 0) {
        return fail(err == -ENOENT ? "this home has no controller" : cli->home, err);
    }
    if (file_stat(ex.part, &stamp) == 0 || mkdir(ex.part, 0700) < 0) {
        (void)fprintf(stderr, "panlan controller export: cannot make %s: %s\n", ex.part,
                      strerror(errno != 0 ? errno : EEXIST));
        return CLI_FAILED;
    }
    int status = write_all(&ex, cli->home, &place);
    if (status == 0 && ex.only != 0 && ex.networks == 0) {
        (void)fprintf(stderr, "panlan controller export: there is no network %s\n", network);
        status = CLI_FAILED;
    }
    if (status == 0) {
        sync(); /* whole on the disk before it gets its name */
        status = rename(ex.part, dir) < 0 ? fail(dir, -errno) : 0;
    }
    if (status != 0) {
        remove_tree(ex.part, DEPTH_MAX);
        return status;
    }
    print_done(cli, &ex, dir);
    return 0;
}
