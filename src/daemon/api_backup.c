/* POST /controller/backup: a copy of the controller's database in <home>/backups, taken while it
 * runs. Source: spec 04 section 10.6; CTL-121. */
#include "controller/controller.h"
#include "daemon/api_priv.h"
#include "daemon/log.h"
#include "daemon/service_priv.h"
#include "os/clock.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

/* A backup that is being written. */
struct backup {
    struct http_request *request;
    char path[STATE_PATH_MAX];
};

static void answer(struct http_request *request, unsigned status, json_t *value)
{
    char *text = json_dumps(value, JSON_COMPACT | JSON_SORT_KEYS);
    json_decref(value);
    if (text == NULL) {
        http_answer(request, &(struct http_reply){.status = 500});
        return;
    }
    struct http_reply reply = {
        .status = status, .body = text, .len = strlen(text), .type = "application/json"};
    http_answer(request, &reply);
}

static void on_done(void *ctx, int error)
{
    struct backup *backup = ctx;
    struct file_stamp stamp = {0};
    if (error == 0) {
        error = file_stat(backup->path, &stamp);
    }
    if (error == 0) {
        log_write(LOG_LEVEL_INFO, "controller", "backup file=%s bytes=%llu", backup->path,
                  (unsigned long long)stamp.size);
        answer(backup->request, 200,
               json_pack("{sssI}", "path", backup->path, "bytes", (json_int_t)stamp.size));
    } else {
        const char *text = error == -EOPNOTSUPP
                               ? "the store is a database server's: use its means (pg_dump)"
                               : strerror(-error);
        unsigned status = error == -EOPNOTSUPP ? 501 : error == -EAGAIN ? 503 : 500;
        log_write(LOG_LEVEL_ERROR, "controller", "no backup file=%s error=\"%s\"", backup->path,
                  text);
        answer(backup->request, status,
               json_pack("{sisssb}", "error", (int)status, "description", text, "controller", 1));
    }
    free(backup);
}

/* <home>/backups/controller-<time>.sqlite; the directory is made. Returns 0; negative errno. */
static int choose_path(const struct service *svc, char out[STATE_PATH_MAX])
{
    char dir[STATE_PATH_MAX];
    char stamp[24];
    struct tm parts;
    int64_t now_ms = clock_wall_ms();
    time_t now = (time_t)(now_ms / 1000);
    state_path(&svc->state, "backups", dir);
    (void)gmtime_r(&now, &parts);
    (void)strftime(stamp, sizeof(stamp), "%Y%m%dT%H%M%S", &parts);
    int n = snprintf(out, STATE_PATH_MAX, "%s/controller-%s.%03dZ.sqlite", dir, stamp,
                     (int)(now_ms % 1000));
    return n < STATE_PATH_MAX ? file_make_dirs(dir, 0700) : -ENAMETOOLONG;
}

bool api_backup_handle(struct api_call *call, const char *path)
{
    if (strcmp(path, "/controller/backup") != 0 || !call->write) {
        return false;
    }
    if (call->caller.token != 0) { /* it holds what only the owner of the home may see */
        api_reply_empty(call, 403);
        return true;
    }
    struct backup *backup = calloc(1, sizeof(*backup));
    if (backup == NULL || ctl_start(&call->svc->ctl) < 0) {
        free(backup);
        api_reply_empty(call, 503);
        return true;
    }
    backup->request = call->request;
    int err = choose_path(call->svc, backup->path);
    if (err < 0) {
        on_done(backup, err);
    } else {
        controller_backup(call->svc->ctl.controller, backup->path, on_done, backup);
    }
    return true;
}
