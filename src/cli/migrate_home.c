/* What an import does to the home besides the controller's data: the identity and the files of the
 * working directory. Source: spec 04 sections 3.1, 3.2; CTL-45. */
#include "cli/migrate_priv.h"

#include "daemon/keygen.h"
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
    NAME_LEN = 256,
};

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
            return import_complain(im->identity_path, strerror((int)-n));
        }
        data = text;
        len = (size_t)n;
    }
    if (data != NULL && (identity_parse(data, len, &im->identity) < 0 ||
                         !im->identity.has_private || keygen_validate(&im->identity) < 0)) {
        identity_wipe(&im->identity);
        im->identity.address = 0;
        status = import_complain(im->identity_path != NULL ? im->identity_path : "identity.secret",
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
    return err < 0 ? import_complain(path, strerror(-err)) : 0;
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
    return import_complain(im->source, text);
}

int import_plan_identity(struct import *im)
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
        status = import_complain(im->identity_path, "the running controller has another identity");
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
            status = import_complain(im->cli->home, why);
        }
    }
    identity_wipe(&home);
    return status;
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

/* True for a file right in a directory ("name/"). */
static bool is_in(const char *path, const char *dir)
{
    return strncmp(path, dir, strlen(dir)) == 0 && strchr(path + strlen(dir), '/') == NULL;
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
                     strcmp(path, "metricstoken.secret") == 0 || is_in(path, "networks.d/");
    bool is_public = strcmp(path, "planet") == 0 || is_in(path, "moons.d/");
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

int import_write_home(struct import *im)
{
    int err = 0;
    if (im->plan == IDENTITY_NEW) {
        err = put_identity_aside(im);
        err = err == 0 ? state_identity_store(&im->state, &im->identity) : err;
    }
    err = err == 0 ? copy_home(im) : err;
    return err < 0 ? import_complain(im->cli->home, strerror(-err)) : 0;
}
