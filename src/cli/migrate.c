/* "panlan controller import": a controller of the reference moves in, with its identity, so that no
 * member has to do anything. Source: spec 04 sections 3.1, 3.2; CTL-38 to CTL-46. */
#include "cli/migrate_priv.h"

#include "cli/accounts.h"
#include "cli/ctl_log.h"
#include "cli/format.h"
#include "cli/own.h"
#include "controller/import_names.h"
#include "controller/import_note.h"
#include "controller/store_postgres.h"
#include "controller/store_sqlite.h"
#include "daemon/config.h"
#include "os/clock.h"
#include "os/file.h"
#include "wire/identity.h"

#include <errno.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    NAMES_FILE_MAX = 64 << 20,
};

int import_complain(const char *what, const char *why)
{
    (void)fprintf(stderr, "panlan controller import: %s%s%s\n", what, why[0] != '\0' ? ": " : "",
                  why);
    return CLI_FAILED;
}

static bool is_url(const char *text)
{
    return strncmp(text, "http://", 7) == 0 || strncmp(text, "https://", 8) == 0;
}

/* ---- places ---- */

int migrate_store_find(const char *home, struct migrate_store *ret)
{
    char path[MIGRATE_PATH_LEN];
    char *text = NULL;
    size_t len = 0;
    const char *info = NULL;
    struct config *config = NULL;
    struct config_error error;
    int err = home_path(home, "local.conf", path, sizeof(path));
    if (err == 0 && file_read(path, CONFIG_FILE_MAX, &text, &len) == 0) {
        err = config_parse(text, len, &config, &error) < 0 ? -EBADMSG : 0;
    }
    const char *dir = config != NULL ? config->controller_db : "";
    *ret = (struct migrate_store){0};
    if (err == 0 && store_postgres_owns(dir, &info)) {
        (void)snprintf(ret->shared, sizeof(ret->shared), "%s", dir);
    } else if (err == 0) {
        int n = dir[0] != '\0' ? snprintf(ret->path, MIGRATE_PATH_LEN, "%s/controller.sqlite", dir)
                               : snprintf(ret->path, MIGRATE_PATH_LEN,
                                          "%s/controller.d/controller.sqlite", home);
        err = n < MIGRATE_PATH_LEN ? 0 : -ENAMETOOLONG;
    }
    config_free(config);
    free(text);
    return err;
}

bool migrate_store_exists(const struct migrate_store *store)
{
    struct file_stamp stamp;
    return store->path[0] != '\0' && file_stat(store->path, &stamp) == 0;
}

struct store_backend *migrate_store_new(const struct migrate_store *store, uint64_t address)
{
    const char *info = NULL;
    return store_postgres_owns(store->shared, &info) ? store_postgres_new(info, address)
                                                     : store_sqlite_new(store->path);
}

void migrate_store_free(struct store_backend *backend)
{
    char why[MIGRATE_WHY_LEN];
    if (backend != NULL && backend->shared != NULL) {
        struct store_feed feed = {.stop = true};
        (void)!backend->shared->tend(backend, &feed, why, sizeof(why));
    }
    if (backend != NULL) {
        backend->destroy(backend);
    }
}

/* Take the home, so that no service runs on it; a look needs that only if there is a database. */
static int open_home(struct import *im)
{
    int err = migrate_store_find(im->cli->home, &im->place);
    if (err < 0) {
        return import_complain(im->cli->home,
                               err == -EBADMSG ? "local.conf cannot be read" : strerror(-err));
    }
    im->has_database = migrate_store_exists(&im->place);
    if (im->dry_run && !im->has_database) {
        return 0;
    }
    err = state_open(im->cli->home, &im->state);
    if (err == -EBUSY) {
        return import_complain(
            im->cli->home, "a service runs on this home, which keeps networks in memory: stop it "
                           "first (panlan down, or systemctl stop of its unit), then import");
    }
    if (err < 0) {
        return import_complain(im->cli->home, err == -EEXIST
                                                  ? "there is a controller.db of an old version"
                                                  : strerror(-err));
    }
    im->locked = true;
    return 0;
}

/* ---- reading ---- */

static int read_source(struct import *im)
{
    char why[MIGRATE_WHY_LEN];
    int err = is_url(im->source)
                  ? import_live(&im->src, im->source, im->cli->client.token, &im->live_address, why)
                  : import_source_read(&im->src, im->source, why, sizeof(why));
    return err < 0 ? import_complain(im->source, why) : 0;
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
        return import_complain(im->names_path, "no names of ztncui, ztnet or zero-ui are in there");
    }
    return err < 0 ? import_complain(im->names_path, strerror(-err)) : 0;
}

/* ---- the store ---- */

static int make_database_dir(const struct import *im)
{
    char dir[MIGRATE_PATH_LEN];
    if (im->place.path[0] == '\0') {
        return 0;
    }
    (void)snprintf(dir, sizeof(dir), "%s", im->place.path);
    *strrchr(dir, '/') = '\0';
    return file_make_dirs(dir, 0700);
}

static void erase_database(const struct import *im)
{
    static const char *const tails[] = {"", "-wal", "-shm"};
    for (size_t i = 0; i < COUNT_OF(tails); i++) {
        char path[MIGRATE_PATH_LEN + 8];
        (void)snprintf(path, sizeof(path), "%s%s", im->place.path, tails[i]);
        (void)file_erase(path);
    }
}

static int convert(struct import *im, const struct store_change **ret)
{
    int err = import_set_take(im->set, im->src.files, im->src.count);
    err = err == 0 ? import_set_name(im->set, im->names) : err;
    return err == 0 ? import_set_finish(im->set, ret) : err;
}

/* Write the changes and what the log shall say of them. Returns 0; negative errno. */
static int apply(struct import *im, struct store_backend *backend,
                 const struct store_change *changes, char *why, size_t cap)
{
    struct import_note note = {0};
    struct actor actor = {.kind = ACTOR_CLI};
    int err = import_note_add(&note, import_set_report(im->set), &actor, clock_wall_ms(), &changes);
    err = err == 0 ? backend->apply(backend, changes, why, cap) : err;
    import_note_done(&note);
    return err;
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
        backend = migrate_store_new(&im->place, im->identity.address);
        err = backend == NULL ? -ENOMEM : err;
        err = err == 0 ? backend->open(backend, import_set_load, im->set, why, sizeof(why)) : err;
    }
    err = err == 0 ? convert(im, &changes) : err;
    int status = 0;
    if (err == 0 && !im->dry_run) {
        status = import_write_home(im);
        if (status == 0 && changes != NULL) {
            err = apply(im, backend, changes, why, sizeof(why));
        }
    }
    migrate_store_free(backend);
    if (im->place.path[0] != '\0' && !im->has_database && opens && (err < 0 || status != 0)) {
        erase_database(im);
    }
    return err < 0 ? import_complain(im->place.path[0] != '\0' ? im->place.path : "PostgreSQL",
                                     why[0] != '\0' ? why : strerror(-err))
                   : status;
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
    status = status != 0 ? status : import_plan_identity(im);
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
                     ? import_complain("out of memory", "")
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
        "    --network ID           only this network\n"
        "  backup FILE              write identity, settings and database to a tar file, while "
        "the\n"
        "                           service runs; to restore: tar -xpf FILE -C HOME\n"
        "  token create NAME        a token for the API, for scripts and other machines\n"
        "    --scope WORDS          of read,authorize,modify,delete; default all\n"
        "    --network ID,...       only for these networks\n"
        "    --expires 12h|30d      default never\n"
        "    --user ID              of somebody else than the administrator\n"
        "  token list | revoke NAME\n"
        "  user add NAME            a person, with [--email ADDRESS] [--admin]; prints the ID\n"
        "  user list | delete ID\n"
        "  user grant ID NETWORK WORDS|none   what the person may do with a network\n"
        "  log [--network ID] [--member NODE] [--actor TEXT] [--type TYPE] [--since 12h|7d]\n"
        "      [--limit N]          what was changed, by whom\n"
        "  history NETWORK NODE     the same about one member\n"
        "  hook list|add|show|set|delete|test|deliveries|retry   webhooks\n\n"
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
    if (strcmp(command, "token") == 0) {
        return token_run(cli);
    }
    if (strcmp(command, "user") == 0) {
        return user_run(cli);
    }
    if (strcmp(command, "backup") == 0) {
        return backup_run(cli);
    }
    if (strcmp(command, "log") == 0) {
        return log_run(cli);
    }
    if (strcmp(command, "history") == 0) {
        return history_run(cli);
    }
    if (strcmp(command, "hook") == 0) {
        return hook_run(cli);
    }
    return strcmp(command, "export") == 0 ? export_run(cli) : help(stderr);
}
