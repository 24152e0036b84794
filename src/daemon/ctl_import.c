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
    struct store_change *first;
    struct store_change **last;
    int networks;
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

static int import_members(struct import *im, const char *dir, const char *nwid_text, uint64_t nwid)
{
    char path[PATH_LEN];
    struct file_names names;
    (void)snprintf(path, sizeof(path), "%s/network/%s/member", dir, nwid_text);
    if (file_list(path, &names) < 0) {
        return 0; /* a network without members has no directory */
    }
    int err = 0;
    for (size_t i = 0; i < names.count && err == 0; i++) {
        uint64_t address;
        if (name_number(names.names[i], ADDRESS_DIGITS, &address)) {
            (void)snprintf(path, sizeof(path), "%s/network/%s/member/%s", dir, nwid_text,
                           names.names[i]);
            char *text = read_object(path);
            err = text == NULL ? 0 : append(im, STORE_MEMBER, nwid, address, text);
        }
    }
    file_names_done(&names);
    return err;
}

static int import_networks(struct import *im, const char *dir)
{
    char path[PATH_LEN];
    struct file_names names;
    (void)snprintf(path, sizeof(path), "%s/network", dir);
    int err = file_list(path, &names);
    if (err < 0) {
        return err == -ENOENT ? 0 : err;
    }
    for (size_t i = 0; i < names.count && err == 0; i++) {
        uint64_t nwid;
        if (!name_number(names.names[i], NWID_DIGITS, &nwid)) {
            continue;
        }
        (void)snprintf(path, sizeof(path), "%s/network/%s", dir, names.names[i]);
        char *text = read_object(path);
        if (text == NULL) {
            continue;
        }
        err = append(im, STORE_NETWORK, nwid, 0, text);
        im->networks++;
        if (err == 0) {
            char digits[NWID_DIGITS + 1];
            (void)snprintf(digits, sizeof(digits), "%s", names.names[i]);
            err = import_members(im, dir, digits, nwid);
        }
    }
    file_names_done(&names);
    return err;
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
    struct import im = {.networks = 0};
    im.last = &im.first;
    int err = import_networks(&im, dir);
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
