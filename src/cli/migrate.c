/* "panlan controller import": a controller of the reference moves in, with its identity, so that no
 * member has to do anything. Source: spec 04 sections 3.1, 3.2; CTL-38 to CTL-46. */
#include "cli/migrate.h"

#include "cli/format.h"
#include "cli/own.h"
#include "controller/import_doc.h"
#include "controller/import_names.h"
#include "controller/import_set.h"
#include "controller/store_sqlite.h"
#include "daemon/config.h"
#include "daemon/keygen.h"
#include "daemon/state.h"
#include "os/file.h"
#include "wire/default_planet.h"
#include "wire/identity.h"

#include <errno.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    IDENTITY_FILE_MAX = 4096,
    NAMES_FILE_MAX = 64 << 20,
    NAME_LEN = 256,
};

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
    bool has_database; /* the home has one already */
    char database[MIGRATE_PATH_LEN];
    struct import_source src;
    uint64_t live_address; /* of a running source, else 0 */
    struct identity identity;
    enum identity_plan plan;
    struct import_set *set;
    json_t *names;
    json_t *copied; /* names of files taken over */
};

static int complain(const struct import *im, const char *what, const char *why)
{
    (void)im;
    (void)fprintf(stderr, "panlan controller import: %s%s%s\n", what, why[0] != '\0' ? ": " : "",
                  why);
    return CLI_FAILED;
}

static bool is_url(const char *text)
{
    return strncmp(text, "http://", 7) == 0 || strncmp(text, "https://", 8) == 0;
}

/* ---- places ---- */

int migrate_store_path(const char *home, char out[MIGRATE_PATH_LEN])
{
    char path[MIGRATE_PATH_LEN];
    char *text = NULL;
    size_t len = 0;
    struct config *config = NULL;
    struct config_error error;
    int err = home_path(home, "local.conf", path, sizeof(path));
    if (err == 0 && file_read(path, CONFIG_FILE_MAX, &text, &len) == 0) {
        err = config_parse(text, len, &config, &error) < 0 ? -EBADMSG : 0;
    }
    const char *dir = config != NULL ? config->controller_db : "";
    if (err == 0 && strncmp(dir, "postgres:", strlen("postgres:")) == 0) {
        err = -EOPNOTSUPP;
    }
    if (err == 0) {
        int n = dir[0] != '\0'
                    ? snprintf(out, MIGRATE_PATH_LEN, "%s/controller.sqlite", dir)
                    : snprintf(out, MIGRATE_PATH_LEN, "%s/controller.d/controller.sqlite", home);
        err = n < MIGRATE_PATH_LEN ? 0 : -ENAMETOOLONG;
    }
    config_free(config);
    free(text);
    return err;
}

/* Take the home, so that no service runs on it; a look needs that only if there is a database. */
static int open_home(struct import *im)
{
    struct file_stamp stamp;
    int err = migrate_store_path(im->cli->home, im->database);
    if (err < 0) {
        return complain(im, im->cli->home,
                        err == -EOPNOTSUPP ? "its controller keeps its data in PostgreSQL, which "
                                             "an import does not write"
                        : err == -EBADMSG  ? "local.conf cannot be read"
                                           : strerror(-err));
    }
    im->has_database = file_stat(im->database, &stamp) == 0;
    if (im->dry_run && !im->has_database) {
        return 0;
    }
    err = state_open(im->cli->home, &im->state);
    if (err == -EBUSY) {
        return complain(im, im->cli->home,
                        "a service runs on this home, which keeps networks in memory: stop it "
                        "first (panlan down, or systemctl stop of its unit), then import");
    }
    if (err < 0) {
        return complain(im, im->cli->home,
                        err == -EEXIST ? "there is a controller.db of an old version"
                                       : strerror(-err));
    }
    im->locked = true;
    return 0;
}

/* ---- identity ---- */

static bool same_identity(const struct identity *a, const struct identity *b)
{
    return a->address == b->address && sodium_memcmp(a->pub, b->pub, sizeof(a->pub)) == 0;
}

/* The identity the networks come with: --identity, or of the source. Returns 0 (address 0: there is
 * none) or an exit status. */
static int source_identity(struct import *im)
{
    const struct import_file *file = import_source_find(&im->src, "identity.secret");
    char text[IDENTITY_FILE_MAX];
    const char *data = file != NULL ? file->data : NULL;
    size_t len = file != NULL ? file->len : 0;
    int status = 0;
    if (im->identity_path != NULL) {
        ssize_t n = file_read_into(im->identity_path, text, sizeof(text));
        if (n < 0) {
            return complain(im, im->identity_path, strerror((int)-n));
        }
        data = text;
        len = (size_t)n;
    }
    if (data != NULL && (identity_parse(data, len, &im->identity) < 0 ||
                         !im->identity.has_private || keygen_validate(&im->identity) < 0)) {
        identity_wipe(&im->identity);
        im->identity.address = 0;
        status = complain(im, im->identity_path != NULL ? im->identity_path : "identity.secret",
                          "this is not a whole identity with its secret half; a copy of "
                          "identity.secret can be given with --identity FILE");
    }
    sodium_memzero(text, sizeof(text));
    return status;
}

/* The identity of the home; address 0: none. Returns 0 or an exit status. */
static int home_identity(struct import *im, struct identity *ret)
{
    char path[MIGRATE_PATH_LEN];
    char text[IDENTITY_FILE_MAX];
    *ret = (struct identity){0};
    int err = home_path(im->cli->home, "identity.secret", path, sizeof(path));
    ssize_t len = err < 0 ? err : file_read_into(path, text, sizeof(text));
    if (len == -ENOENT) {
        return 0;
    }
    err = len < 0 ? (int)len : identity_parse(text, (size_t)len, ret);
    sodium_memzero(text, sizeof(text));
    return err < 0 ? complain(im, path, strerror(-err)) : 0;
}

/* Without its secret the source's identity may still be the home's. */
static int plan_without_secret(struct import *im, const struct identity *home)
{
    const struct import_file *file = import_source_find(&im->src, "identity.public");
    struct identity public = {.address = im->live_address};
    if (file != NULL && file->data != NULL) {
        (void)!identity_parse(file->data, file->len, &public);
    }
    if (home->address != 0 && (public.address == 0 || public.address == home->address)) {
        im->plan = IDENTITY_SAME;
        im->identity = *home;
        return 0;
    }
    char text[256];
    (void)snprintf(text, sizeof(text),
                   "the secret of the controller's identity is needed, which %s: give its "
                   "identity.secret with --identity FILE. Without it networks would get new IDs "
                   "and every member would have to join again",
                   im->live_address != 0 ? "no API tells" : "is not in the source");
    im->plan = IDENTITY_MISSING;
    im->identity.address = public.address;
    if (im->dry_run) {
        import_set_warn(im->set, "identity.secret", text);
        return 0;
    }
    return complain(im, im->source, text);
}

static int plan_identity(struct import *im)
{
    struct identity home;
    int status = source_identity(im);
    status = status != 0 ? status : home_identity(im, &home);
    if (status != 0) {
        return status;
    }
    if (im->identity.address == 0) {
        status = plan_without_secret(im, &home);
    } else if (im->live_address != 0 && im->live_address != im->identity.address) {
        status = complain(im, im->identity_path, "the running controller has another identity");
    } else {
        im->plan = same_identity(&im->identity, &home) ? IDENTITY_SAME : IDENTITY_NEW;
        if (im->plan == IDENTITY_NEW && home.address != 0 && !im->replace) {
            char why[256];
            (void)snprintf(why, sizeof(why),
                           "this home is node %010llx, the source is %010llx: use another --home, "
                           "or --replace-identity, which keeps the old one as "
                           "identity.secret.%010llx",
                           (unsigned long long)home.address,
                           (unsigned long long)im->identity.address,
                           (unsigned long long)home.address);
            status = complain(im, im->cli->home, why);
        }
    }
    identity_wipe(&home);
    return status;
}

/* ---- reading ---- */

static int read_source(struct import *im)
{
    char why[MIGRATE_WHY_LEN];
    int err = is_url(im->source)
                  ? import_live(&im->src, im->source, im->cli->client.token, &im->live_address, why)
                  : import_source_read(&im->src, im->source, why, sizeof(why));
    return err < 0 ? complain(im, im->source, why) : 0;
}

/* A walk over a directory of names. */
struct names_walk {
    struct import *im;
    const char *dir;
};

static void read_names_file(struct import *im, const char *path)
{
    char *text = NULL;
    size_t len = 0;
    int err = file_read(path, NAMES_FILE_MAX, &text, &len);
    if (err == 0) {
        (void)import_names(im->names, text, len);
    } else if (err != -EISDIR) {
        import_set_left_out(im->set, path, strerror(-err));
    }
    free(text);
}

static bool read_names_entry(void *ctx, const char *name)
{
    const struct names_walk *walk = ctx;
    char path[MIGRATE_PATH_LEN];
    if (snprintf(path, sizeof(path), "%s/%s", walk->dir, name) < MIGRATE_PATH_LEN) {
        read_names_file(walk->im, path);
    }
    return true;
}

/* Names of a file or a directory: ztncui's, its etc/storage. Returns 0 or an exit status. */
static int read_names(struct import *im)
{
    char storage[MIGRATE_PATH_LEN];
    struct names_walk walk = {.im = im, .dir = storage};
    for (size_t i = 0; i < im->src.count; i++) {
        const struct import_file *file = &im->src.files[i];
        size_t len = strlen(file->path);
        if (len > 4 && strcmp(file->path + len - 4, ".sql") == 0 && file->data != NULL) {
            (void)import_names(im->names, file->data, file->len);
        }
    }
    if (im->names_path == NULL) {
        return 0;
    }
    int n = snprintf(storage, sizeof(storage), "%s/etc/storage", im->names_path);
    int err = n < MIGRATE_PATH_LEN ? file_each(storage, read_names_entry, &walk) : -ENAMETOOLONG;
    walk.dir = im->names_path;
    err = err == -ENOENT ? file_each(im->names_path, read_names_entry, &walk) : err;
    if (err == -ENOTDIR) {
        read_names_file(im, im->names_path);
        err = 0;
    }
    if (err == 0 && json_object_size(im->names) == 0) {
        return complain(im, im->names_path, "no names of ztncui, ztnet or zero-ui are in there");
    }
    return err < 0 ? complain(im, im->names_path, strerror(-err)) : 0;
}

/* ---- files of the working directory ---- */

/* local.conf without the place of the old controller's data; malloc'd, NULL if it is no JSON. */
static char *clean_config(const struct import_file *file)
{
    json_t *root = json_loadb(file->data, file->len, 0, NULL);
    (void)json_object_del(json_object_get(root, "settings"), "controllerDbPath");
    char *text = root != NULL ? json_dumps(root, JSON_INDENT(2)) : NULL;
    json_decref(root);
    return text;
}

/* Write a file unless the home has one. Returns 0; negative errno. */
static int copy_one(struct import *im, const char *name, const void *data, size_t len, mode_t mode)
{
    char path[STATE_PATH_MAX];
    char *have = NULL;
    size_t have_len = 0;
    state_path(&im->state, name, path);
    int err = file_read(path, IMPORT_FILE_MAX, &have, &have_len);
    if (err == -ENOENT) {
        err = state_write(&im->state, name, data, len, mode);
        (void)json_array_append_new(im->copied, json_string(name));
    } else if (err == 0 && (have_len != len || memcmp(have, data, len) != 0)) {
        bool is_planet = strcmp(name, "planet") == 0;
        import_set_warn(im->set, name,
                        is_planet ? "the home has another one, which stays: if it is not a later "
                                    "version of the same planet, members will not find this node"
                                  : "the home has another one, which stays");
    }
    if (have != NULL) {
        sodium_memzero(have, have_len);
    }
    free(have);
    return err;
}

static bool begins(const char *text, const char *with)
{
    return strncmp(text, with, strlen(with)) == 0;
}

static int copy_file(struct import *im, const struct import_file *file)
{
    const char *path = file->path;
    if (file->data == NULL || strlen(path) >= NAME_LEN || strstr(path, "..") != NULL) {
        return 0;
    }
    if (strcmp(path, "local.conf") == 0) {
        char *text = clean_config(file);
        if (text == NULL) {
            import_set_left_out(im->set, path, "it cannot be read");
            return 0;
        }
        int err = copy_one(im, path, text, strlen(text), FILE_MODE_SECRET);
        free(text);
        return err;
    }
    bool is_secret = strcmp(path, "authtoken.secret") == 0 ||
                     strcmp(path, "metricstoken.secret") == 0 || begins(path, "networks.d/");
    bool is_public = strcmp(path, "planet") == 0 || begins(path, "moons.d/");
    mode_t mode = is_secret ? FILE_MODE_SECRET : FILE_MODE_PUBLIC;
    return is_secret || is_public ? copy_one(im, path, file->data, file->len, mode) : 0;
}

/* What makes the home that of the same node, but for what it has of its own. */
static int copy_home(struct import *im)
{
    int err = 0;
    for (size_t i = 0; i < im->src.count && err == 0; i++) {
        err = copy_file(im, &im->src.files[i]);
    }
    char path[STATE_PATH_MAX];
    struct file_stamp stamp;
    state_path(&im->state, "planet", path);
    if (err == 0 && file_stat(path, &stamp) == -ENOENT) {
        /* a node without the file lives on the public planet: it stays there */
        err = copy_one(im, "planet", default_planet, DEFAULT_PLANET_LEN, FILE_MODE_PUBLIC);
    }
    size_t token_len = strlen(im->cli->client.token);
    if (err == 0 && im->live_address != 0 && token_len > 0) {
        err = copy_one(im, "authtoken.secret", im->cli->client.token, token_len, FILE_MODE_SECRET);
    }
    return err;
}

/* Keep the home's identity under another name. */
static int put_identity_aside(struct import *im)
{
    char path[STATE_PATH_MAX];
    char name[64];
    struct identity old;
    struct file_stamp stamp;
    state_path(&im->state, "identity.secret", path);
    if (file_stat(path, &stamp) == -ENOENT) {
        return 0;
    }
    int err = state_identity_load(&im->state, &old);
    if (err == 0) {
        char text[IDENTITY_TEXT_LEN];
        identity_print(&old, true, text);
        (void)snprintf(name, sizeof(name), "identity.secret.%010llx",
                       (unsigned long long)old.address);
        err = state_write(&im->state, name, text, strlen(text), FILE_MODE_SECRET);
        sodium_memzero(text, sizeof(text));
        identity_wipe(&old);
    }
    return err;
}

static int write_home(struct import *im)
{
    int err = 0;
    if (im->plan == IDENTITY_NEW) {
        err = put_identity_aside(im);
        err = err == 0 ? state_identity_store(&im->state, &im->identity) : err;
    }
    err = err == 0 ? copy_home(im) : err;
    return err < 0 ? complain(im, im->cli->home, strerror(-err)) : 0;
}

/* ---- the store ---- */

static int make_database_dir(const struct import *im)
{
    char dir[MIGRATE_PATH_LEN];
    (void)snprintf(dir, sizeof(dir), "%s", im->database);
    *strrchr(dir, '/') = '\0';
    return file_make_dirs(dir, 0700);
}

static void erase_database(const struct import *im)
{
    static const char *const tails[] = {"", "-wal", "-shm"};
    for (size_t i = 0; i < COUNT_OF(tails); i++) {
        char path[MIGRATE_PATH_LEN + 8];
        (void)snprintf(path, sizeof(path), "%s%s", im->database, tails[i]);
        (void)file_erase(path);
    }
}

static int convert(struct import *im, const struct store_change **ret)
{
    int err = import_set_take(im->set, im->src.files, im->src.count);
    err = err == 0 ? import_set_name(im->set, im->names) : err;
    return err == 0 ? import_set_finish(im->set, ret) : err;
}

/* Convert, and write unless it is a dry run. Returns 0 or an exit status. */
static int store(struct import *im)
{
    const struct store_change *changes = NULL;
    char why[MIGRATE_WHY_LEN] = "";
    struct store_backend *backend = NULL;
    int err = 0;
    bool opens = im->has_database || !im->dry_run;
    if (opens) {
        err = make_database_dir(im);
        backend = store_sqlite_new(im->database);
        err = backend == NULL ? -ENOMEM : err;
        err = err == 0 ? backend->open(backend, import_set_load, im->set, why, sizeof(why)) : err;
    }
    err = err == 0 ? convert(im, &changes) : err;
    int status = 0;
    if (err == 0 && !im->dry_run) {
        status = write_home(im);
        if (status == 0 && changes != NULL) {
            err = backend->apply(backend, changes, why, sizeof(why));
        }
    }
    if (backend != NULL) {
        backend->destroy(backend);
    }
    if (!im->has_database && opens && (err < 0 || status != 0)) {
        erase_database(im);
    }
    return err < 0 ? complain(im, im->database, why[0] != '\0' ? why : strerror(-err)) : status;
}

/* ---- the report ---- */

static const char *plan_name(const struct import *im)
{
    switch (im->plan) {
    case IDENTITY_SAME:
        return "present";
    case IDENTITY_NEW:
        return "imported";
    default:
        return "missing";
    }
}

static json_int_t number(const json_t *report, const char *group, const char *key)
{
    return json_integer_value(json_object_get(json_object_get(report, group), key));
}

static void print_counts(const json_t *report, const char *group)
{
    (void)printf("%-10s %lld imported", group, (long long)number(report, group, "imported"));
    static const struct {
        const char *key;
        const char *text;
    } others[] = {{"updated", "updated"},
                  {"present", "there already"},
                  {"foreign", "of other controllers left out"}};
    for (size_t i = 0; i < COUNT_OF(others); i++) {
        long long n = number(report, group, others[i].key);
        if (n > 0) {
            (void)printf(", %lld %s", n, others[i].text);
        }
    }
    (void)printf("\n");
}

static void print_findings(const json_t *report, const char *list, const char *what)
{
    size_t i;
    json_t *entry;
    char more[32];
    json_array_foreach(json_object_get(report, list), i, entry)
    {
        (void)printf("%-10s %s: %s\n", what, json_string_value(json_object_get(entry, "where")),
                     json_string_value(json_object_get(entry, "text")));
    }
    (void)snprintf(more, sizeof(more), "%sMore", list);
    long long n = (long long)json_integer_value(json_object_get(report, more));
    if (n > 0) {
        (void)printf("%-10s and %lld more\n", what, n);
    }
}

static void print_text(const struct import *im, json_t *report)
{
    size_t i;
    json_t *name;
    format_clean(report);
    (void)printf("source     %s\n", im->source);
    (void)printf("identity   %010llx, %s\n", (unsigned long long)im->identity.address,
                 im->plan == IDENTITY_NEW    ? "taken over"
                 : im->plan == IDENTITY_SAME ? "that of this home"
                                             : "its secret is missing");
    print_counts(report, "networks");
    print_counts(report, "members");
    if (json_object_size(im->names) > 0) {
        (void)printf("names      %lld set, %lld of unknown members\n",
                     (long long)number(report, "names", "set"),
                     (long long)number(report, "names", "unknown"));
    }
    json_array_foreach(im->copied, i, name)
    {
        (void)printf("%-10s %s\n", "file", json_string_value(name));
    }
    print_findings(report, "leftOut", "left out");
    print_findings(report, "warnings", "warning");
    if (im->dry_run) {
        (void)printf("\nDry run: nothing was written.\n");
        return;
    }
    (void)printf(
        "\nThe other controller must not run any more: two with one identity get into each "
        "other's way.\nStop it for good there, then start this one: panlan --home %s "
        "service\n",
        im->cli->home);
}

static void print_report(const struct import *im)
{
    json_t *report = import_set_report(im->set);
    if (!im->cli->json) {
        print_text(im, report);
        return;
    }
    char address[ADDRESS_TEXT_LEN];
    address_print(im->identity.address, address);
    (void)json_object_set_new(report, "source", json_string(im->source));
    (void)json_object_set_new(report, "home", json_string(im->cli->home));
    (void)json_object_set_new(report, "address", json_string(address));
    (void)json_object_set_new(report, "identity", json_string(plan_name(im)));
    (void)json_object_set_new(report, "dryRun", json_boolean(im->dry_run));
    (void)json_object_set(report, "files", im->copied);
    format_json(stdout, report);
}

/* ---- the commands ---- */

static int run(struct import *im)
{
    int status = open_home(im);
    status = status != 0 ? status : read_source(im);
    status = status != 0 ? status : plan_identity(im);
    if (status != 0) {
        return status;
    }
    struct import_options options = {
        .address = im->identity.address, .foreign = im->foreign, .update = im->update};
    import_set_set_options(im->set, &options);
    status = read_names(im);
    status = status != 0 ? status : store(im);
    if (status == 0) {
        print_report(im);
    }
    return status;
}

static int usage(void)
{
    (void)fprintf(stderr, "Usage: panlan controller import SOURCE [--dry-run] [--names FILE|DIR] "
                          "[--identity FILE]\n"
                          "       [--foreign] [--update] [--replace-identity]\n");
    return CLI_USAGE;
}

int import_run(struct cli *cli)
{
    struct import im = {.cli = cli, .state = {.lock_fd = -1}};
    im.names_path = own_option(cli, "--names");
    im.identity_path = own_option(cli, "--identity");
    im.dry_run = own_flag(cli, "--dry-run");
    im.foreign = own_flag(cli, "--foreign");
    im.update = own_flag(cli, "--update");
    im.replace = own_flag(cli, "--replace-identity");
    if (cli->arg_count != 1 || cli->args[0][0] == '-') {
        return usage();
    }
    if (sodium_init() < 0) {
        return CLI_FAILED;
    }
    im.source = cli->args[0];
    im.set = import_set_new(&(struct import_options){0});
    im.names = json_object();
    im.copied = json_array();
    int status = im.set == NULL || im.names == NULL || im.copied == NULL
                     ? complain(&im, "out of memory", "")
                     : run(&im);
    if (im.locked) {
        state_close(&im.state);
    }
    import_set_free(im.set);
    import_source_done(&im.src);
    json_decref(im.names);
    json_decref(im.copied);
    identity_wipe(&im.identity);
    return status;
}

static int help(FILE *out)
{
    (void)fputs(
        "Usage: panlan controller COMMAND\n\n"
        "  import SOURCE            take over a controller of the reference: networks, members "
        "and\n"
        "                           its identity, so that members keep working as they are.\n"
        "                           SOURCE: its working directory (/var/lib/zerotier-one), an\n"
        "                           archive of it (tar, tar.gz, zip), or http://HOST[:PORT] with\n"
        "                           --token TOKEN and --identity FILE\n"
        "    --dry-run              only report what would be imported\n"
        "    --names FILE|DIR       names of members kept by ztncui (its directory), ztnet\n"
        "                           (pg_dump text) or zero-ui (its JSON file)\n"
        "    --identity FILE        identity.secret of the controller, if SOURCE has none\n"
        "    --update               take over again what is here already, from SOURCE\n"
        "    --foreign              networks of other controllers too\n"
        "    --replace-identity     although this home is another node; the old identity is kept\n"
        "  export DIR               write everything in the layout of the reference\n"
        "    --network ID           only this network\n\n"
        "The service of this home must not run during an import, and the other controller never\n"
        "again after it. See \"Moving from a ZeroTier controller\" in doc/operations.md.\n",
        out);
    return out == stdout ? CLI_OK : CLI_USAGE;
}

int controller_run(struct cli *cli)
{
    if (cli->help || cli->arg_count == 0) {
        return help(cli->help ? stdout : stderr);
    }
    const char *command = cli->args[0];
    cli->arg_count--;
    memmove(&cli->args[0], &cli->args[1], (size_t)cli->arg_count * sizeof(cli->args[0]));
    if (strcmp(command, "import") == 0) {
        return import_run(cli);
    }
    return strcmp(command, "export") == 0 ? export_run(cli) : help(stderr);
}
