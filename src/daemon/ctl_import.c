/* Import of controller.d/network/<nwid>.json and <nwid>/member/<address>.json.
 * Source: spec 04 sections 3.1, 3.2. */
#include "daemon/ctl_import.h"

#include "base/hex.h"
#include "daemon/log.h"
#include "os/file.h"

#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    FILE_MAX = 4 << 20,
    PATH_LEN = 1400,
    NWID_DIGITS = 16,
    ADDRESS_DIGITS = 10,
    REASON_LEN = 160,
};

static const char suffix[] = ".json";

/* The import so far: changes in order, networks before their members. */
struct import {
    const char *dir;
    struct store_change *first;
    struct store_change **last;
    int networks;
    int error; /* why the walk ended early */
};

static int append(struct import *im, enum store_kind kind, uint64_t nwid, uint64_t node, char *text)
{
    struct store_change *change = calloc(1, sizeof(*change));
    if (change == NULL) {
        free(text);
        return -ENOMEM;
    }
    *change = (struct store_change){.kind = kind, .nwid = nwid, .node = node, .text = text};
    *im->last = change;
    im->last = &change->next;
    return 0;
}

static void release(struct import *im)
{
    while (im->first != NULL) {
        struct store_change *next = im->first->next;
        free(im->first->text);
        free(im->first);
        im->first = next;
    }
}

/* Number in a name of so many digits and ".json". */
static bool name_number(const char *name, unsigned digits, uint64_t *ret)
{
    return strlen(name) == digits + strlen(suffix) && strcmp(name + digits, suffix) == 0 &&
           hex_to_u64(name, digits, digits, ret) == 0;
}

/* Compact text of a file that holds an object, or NULL with a log line. */
static char *read_object(const char *path)
{
    char *text = NULL;
    size_t len = 0;
    json_error_t error = {0};
    int err = file_read(path, FILE_MAX, &text, &len);
    json_t *object = err < 0 ? NULL : json_loadb(text, len, 0, &error);
    free(text);
    if (!json_is_object(object)) {
        log_write(LOG_LEVEL_WARN, "controller", "import leaves out file=%s reason=\"%s\"", path,
                  err < 0                 ? strerror(-err)
                  : error.text[0] != '\0' ? error.text
                                          : "no object");
        json_decref(object);
        return NULL;
    }
    char *compact = json_dumps(object, JSON_COMPACT | JSON_SORT_KEYS);
    json_decref(object);
    return compact;
}

/* Members of one network. */
struct member_walk {
    struct import *im;
    const char *dir;
    uint64_t nwid;
    int error;
};

static bool import_member(void *ctx, const char *name)
{
    struct member_walk *walk = ctx;
    char path[PATH_LEN];
    uint64_t address;
    if (name_number(name, ADDRESS_DIGITS, &address)) {
        (void)snprintf(path, sizeof(path), "%s/%s", walk->dir, name);
        char *text = read_object(path);
        walk->error = text == NULL ? 0 : append(walk->im, STORE_MEMBER, walk->nwid, address, text);
    }
    return walk->error == 0;
}

static int import_members(struct import *im, uint64_t nwid)
{
    char path[PATH_LEN];
    struct member_walk walk = {.im = im, .dir = path, .nwid = nwid};
    (void)snprintf(path, sizeof(path), "%s/network/%016llx/member", im->dir,
                   (unsigned long long)nwid);
    int err = file_each(path, import_member, &walk);
    if (err == -ENOENT) {
        return 0; /* a network without members has no directory */
    }
    return err < 0 ? err : walk.error;
}

static bool import_network(void *ctx, const char *name)
{
    struct import *im = ctx;
    char path[PATH_LEN];
    uint64_t nwid;
    if (!name_number(name, NWID_DIGITS, &nwid)) {
        return true;
    }
    (void)snprintf(path, sizeof(path), "%s/network/%s", im->dir, name);
    char *text = read_object(path);
    if (text == NULL) {
        return true;
    }
    im->networks++;
    im->error = append(im, STORE_NETWORK, nwid, 0, text);
    if (im->error == 0) {
        im->error = import_members(im, nwid);
    }
    return im->error == 0;
}

static int import_networks(struct import *im)
{
    char path[PATH_LEN];
    (void)snprintf(path, sizeof(path), "%s/network", im->dir);
    int err = file_each(path, import_network, im);
    if (err == -ENOENT) {
        return 0;
    }
    return err < 0 ? err : im->error;
}

static void ignore_document(void *ctx, enum store_kind kind, uint64_t nwid, uint64_t node,
                            const char *text)
{
    (void)ctx;
    (void)kind;
    (void)nwid;
    (void)node;
    (void)text;
}

int ctl_import(const char *dir, struct store_backend *backend)
{
    char why[REASON_LEN] = "";
    struct import im = {.dir = dir};
    im.last = &im.first;
    int err = import_networks(&im);
    if (err == 0 && im.first != NULL) {
        err = backend->open(backend, ignore_document, NULL, why, sizeof(why));
        err = err < 0 ? err : backend->apply(backend, im.first, why, sizeof(why));
    }
    release(&im);
    if (err < 0) {
        log_write(LOG_LEVEL_ERROR, "controller", "import failed directory=%s reason=\"%s\"", dir,
                  why[0] != '\0' ? why : strerror(-err));
        return err;
    }
    return im.networks;
}
