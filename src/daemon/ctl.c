/* The controller as a part of the daemon. Source: spec 04 sections 3, 4. */
#include "daemon/ctl.h"

#include "controller/controller.h"
#include "controller/sso.h"
#include "controller/store_postgres.h"
#include "controller/store_sqlite.h"
#include "daemon/ctl_import.h"
#include "daemon/ctl_post.h"
#include "daemon/log.h"
#include "daemon/service_priv.h"
#include "os/file.h"
#include "os/random.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

enum {
    PATH_LEN = STATE_PATH_MAX + CONFIG_TEXT_LEN,
    LOAD_WAIT_MS = 2000, /* how long the first API request waits for a store being opened */
    WATCH_MS = 250,      /* looks at the lease of a shared store */
};

#define STORE_NAME "controller.sqlite"

/* ---- effects ---- */

static int send_config(void *ctx, uint64_t nwid, uint64_t dest, uint64_t request_id,
                       const char *dict, size_t len, int64_t now_ms)
{
    struct ctl *ctl = ctx;
    return node_config_send(ctl->svc->node, nwid, dest, request_id, dict, len, now_ms);
}

static void send_error(void *ctx, uint64_t nwid, uint64_t dest, uint64_t request_id,
                       enum error_code code, const void *data, size_t len, int64_t now_ms)
{
    struct ctl *ctl = ctx;
    node_config_error(ctl->svc->node, nwid, dest, request_id, code, data, len, now_ms);
}

static int send_revocations(void *ctx, uint64_t dest, const struct revocation *revocations,
                            size_t count, int64_t now_ms)
{
    struct ctl *ctl = ctx;
    return node_revocations_send(ctl->svc->node, dest, revocations, count, now_ms);
}

static void fill_random(void *ctx, void *out, size_t len)
{
    struct ctl *ctl = ctx;
    random_source_fill(ctl->svc->random, out, len);
}

static void write_log(void *ctx, enum log_level level, const char *text)
{
    (void)ctx;
    log_write(level, "controller", "%s", text);
}

static void note_event(void *ctx, enum controller_event event, uint64_t nwid, uint64_t member)
{
    static const char *const names[] = {
        [CONTROLLER_MEMBER_PENDING] = "member asks for access",
        [CONTROLLER_MEMBER_AUTHORIZED] = "member authorized",
        [CONTROLLER_MEMBER_DEAUTHORIZED] = "member deauthorized",
        [CONTROLLER_MEMBER_DELETED] = "member deleted",
        [CONTROLLER_NETWORK_CHANGED] = "network changed",
        [CONTROLLER_NETWORK_DELETED] = "network deleted",
        [CONTROLLER_IDENTITY_MISMATCH] = "member with another key than before",
        [CONTROLLER_POOL_EXHAUSTED] = "no address left",
        [CONTROLLER_READY] = "ready",
        [CONTROLLER_STORE_FAILED] = "the store fails",
        [CONTROLLER_STORE_RECOVERED] = "the store works again",
    };
    bool bad = event == CONTROLLER_IDENTITY_MISMATCH || event == CONTROLLER_POOL_EXHAUSTED ||
               event == CONTROLLER_STORE_FAILED;
    (void)ctx;
    log_write(bad ? LOG_LEVEL_WARN : LOG_LEVEL_INFO, "controller",
              "%s network=%016" PRIx64 " member=%010" PRIx64, names[event], nwid, member);
}

/* Any thread. */
static void wake_loop(void *ctx)
{
    struct ctl *ctl = ctx;
    (void)uv_async_send(&ctl->wake);
}

/* The identity is bound to the network while this instance holds it: two nodes of one address would
 * confuse everybody. */
static void follow_lease(struct ctl *ctl)
{
    struct service *svc = ctl->svc;
    if (!controller_is_shared(ctl->controller) ||
        svc->silent != controller_serves(ctl->controller)) {
        return;
    }
    svc->silent = !svc->silent;
    log_write(LOG_LEVEL_WARN, "controller", "%s",
              svc->silent ? "silent: another instance may act for this identity"
                          : "this instance acts for its identity");
    service_rebind(svc);
    relay_review(&svc->relay);
    portmap_review(&svc->portmap);
    if (!svc->silent) {
        node_network_changed(svc->node, service_now());
    }
}

static void on_wake(uv_async_t *async)
{
    struct ctl *ctl = async->data;
    if (ctl->controller != NULL) {
        controller_poll(ctl->controller, service_now());
        follow_lease(ctl);
    }
}

static void on_request(void *ctx, uint64_t nwid, const struct inetaddr *from, uint64_t request_id,
                       const struct identity *identity, const void *meta, size_t meta_len,
                       int64_t now_ms)
{
    struct ctl *ctl = ctx;
    controller_request(ctl->controller, nwid, from, request_id, identity, meta, meta_len, now_ms);
}

static void on_holds(void *ctx, uint64_t nwid, const struct identity *identity, uint64_t revision,
                     uint64_t timestamp)
{
    struct ctl *ctl = ctx;
    controller_holds(ctl->controller, nwid, identity, revision, timestamp);
}

static void on_trace(void *ctx, uint64_t source, const void *dict, size_t len, int64_t now_ms)
{
    struct ctl *ctl = ctx;
    controller_trace(ctl->controller, source, dict, len, now_ms);
}

/* ---- life ---- */

/* Directory of the store: controllerDbPath, or controller.d in the home. */
static void store_dir(const struct ctl *ctl, char out[STATE_PATH_MAX])
{
    const char *path = ctl->svc->config->controller_db;
    const char *info = NULL;
    if (path[0] != '\0' && !store_postgres_owns(path, &info)) {
        (void)snprintf(out, STATE_PATH_MAX, "%s", path);
        return;
    }
    state_path(&ctl->svc->state, "controller.d", out);
}

static bool exists(const char *dir, const char *name)
{
    char path[PATH_LEN];
    struct file_stamp stamp;
    (void)snprintf(path, sizeof(path), "%s/%s", dir, name);
    return file_stat(path, &stamp) == 0;
}

/* Remove what an import left that did not end. */
static void erase_part(const char *part)
{
    static const char *const tails[] = {"", "-wal", "-shm"};
    for (size_t i = 0; i < COUNT_OF(tails); i++) {
        char path[PATH_LEN + 16];
        (void)snprintf(path, sizeof(path), "%s%s", part, tails[i]);
        (void)file_erase(path);
    }
}

/* Data of the reference and no store of ours: take it over, whole or not at all. It becomes the
 * store by its last step, so that a next start tries again whatever happens here. */
static int import_once(const char *dir, const char *path)
{
    char part[PATH_LEN + 8];
    if (exists(dir, STORE_NAME) || !exists(dir, "network")) {
        return 0;
    }
    (void)snprintf(part, sizeof(part), "%s.import", path);
    erase_part(part);
    struct store_backend *backend = store_sqlite_new(part);
    if (backend == NULL) {
        return -ENOMEM;
    }
    int count = ctl_import(dir, backend);
    backend->destroy(backend);
    if (count > 0 && rename(part, path) < 0) {
        count = -errno;
    }
    if (count <= 0) {
        erase_part(part);
        return count;
    }
    log_write(LOG_LEVEL_INFO, "controller", "imported networks=%d directory=%s", count, dir);
    return 0;
}

/* The store in a file of ours. Returns 0; negative errno. */
static int open_file(struct ctl *ctl, struct store_backend **ret)
{
    char dir[STATE_PATH_MAX];
    char path[PATH_LEN];
    store_dir(ctl, dir);
    int err = file_make_dirs(dir, 0700);
    if (err < 0) {
        log_write(LOG_LEVEL_ERROR, "controller", "cannot make directory=%s error=\"%s\"", dir,
                  strerror(-err));
        return err;
    }
    (void)snprintf(path, sizeof(path), "%s/%s", dir, STORE_NAME);
    err = import_once(dir, path);
    if (err < 0) {
        return err;
    }
    *ret = store_sqlite_new(path);
    return *ret != NULL ? 0 : -ENOMEM;
}

/* The store on a database server; what a file of ours holds moves there if nothing is there yet.
 * Returns 0; -ENOMEM. */
static int open_server(struct ctl *ctl, const char *info, struct store_backend **ret)
{
    char dir[STATE_PATH_MAX];
    char path[PATH_LEN];
    struct store_backend *backend = store_postgres_new(info, ctl->svc->identity.address);
    if (backend == NULL) {
        return -ENOMEM;
    }
    store_dir(ctl, dir);
    if (exists(dir, STORE_NAME)) {
        (void)snprintf(path, sizeof(path), "%s/%s", dir, STORE_NAME);
        store_postgres_seed(backend, store_sqlite_new(path));
    }
    *ret = backend;
    return 0;
}

/* Start on a store, which is taken. Returns 0; -ENOMEM. */
static int start_on(struct ctl *ctl, struct store_backend *backend)
{
    struct service *svc = ctl->svc;
    struct controller_env env = {
        .send_config = send_config,
        .send_error = send_error,
        .send_revocations = send_revocations,
        .random = fill_random,
        .log = write_log,
        .event = note_event,
        .post = ctl_post,
        .wake = wake_loop,
        .ctx = ctl,
        .log_level = log_get_level(),
    };
    ctl->controller =
        controller_new(&env, &svc->identity, backend, svc->wall_offset_ms, service_now());
    if (ctl->controller == NULL) {
        return -ENOMEM;
    }
    controller_set_sso_url(ctl->controller, svc->config->sso_url);
    struct node_controller handler = {
        .ctx = ctl, .request = on_request, .holds = on_holds, .trace = on_trace};
    node_set_controller(svc->node, &handler);
    return 0;
}

int ctl_start(struct ctl *ctl)
{
    const char *info = NULL;
    struct store_backend *backend = NULL;
    if (ctl->controller != NULL) {
        return 0;
    }
    if (store_postgres_owns(ctl->svc->config->controller_db, &info)) {
        int err = open_server(ctl, info, &backend);
        return err == 0 ? start_on(ctl, backend) : err;
    }
    int err = open_file(ctl, &backend);
    err = err == 0 ? start_on(ctl, backend) : err;
    if (err == 0 && controller_wait(ctl->controller, LOAD_WAIT_MS)) {
        controller_poll(ctl->controller, service_now());
    }
    return err;
}

static void end_controller(struct ctl *ctl)
{
    if (ctl->controller != NULL) {
        node_set_controller(ctl->svc->node, NULL);
        controller_free(ctl->controller, service_now());
        ctl->controller = NULL;
    }
}

/* A lease ends without anybody telling us. Who lost it begins anew, standing by. */
static void on_watch(uv_timer_t *timer)
{
    struct ctl *ctl = timer->data;
    if (ctl->controller != NULL && controller_get_state(ctl->controller, NULL) == CONTROLLER_LOST) {
        end_controller(ctl);
    }
    if (ctl_start(ctl) == 0) {
        controller_poll(ctl->controller, service_now());
        follow_lease(ctl);
    }
}

/* With a shared store the controller runs from the start, and the node is silent at first. */
static int start_shared(struct ctl *ctl)
{
    ctl->svc->silent = true;
    (void)uv_timer_init(&ctl->svc->loop, &ctl->watch);
    ctl->watch.data = ctl;
    ctl->watch_open = true;
    (void)uv_timer_start(&ctl->watch, on_watch, WATCH_MS, WATCH_MS);
    return ctl_start(ctl);
}

int ctl_init(struct ctl *ctl, struct service *svc)
{
    char dir[STATE_PATH_MAX];
    const char *info = NULL;
    *ctl = (struct ctl){.svc = svc};
    int err = uv_async_init(&svc->loop, &ctl->wake, on_wake);
    if (err < 0) {
        return err;
    }
    ctl->wake.data = ctl;
    ctl->wake_open = true;
    ctl->svc->silent = false;
    if (store_postgres_owns(svc->config->controller_db, &info)) {
        return start_shared(ctl);
    }
    store_dir(ctl, dir);
    return exists(dir, STORE_NAME) || exists(dir, "network") ? ctl_start(ctl) : 0;
}

void ctl_stop(struct ctl *ctl)
{
    end_controller(ctl);
    if (ctl->watch_open) {
        uv_close((uv_handle_t *)&ctl->watch, NULL);
        ctl->watch_open = false;
    }
    if (ctl->wake_open) {
        uv_close((uv_handle_t *)&ctl->wake, NULL);
        ctl->wake_open = false;
    }
}

int64_t ctl_deadline(const struct ctl *ctl)
{
    return ctl->controller == NULL ? -1 : controller_deadline(ctl->controller);
}

void ctl_tick(struct ctl *ctl, int64_t now_ms)
{
    if (ctl->controller != NULL) {
        (void)controller_tick(ctl->controller, now_ms);
    }
}

void ctl_set_wall_offset(struct ctl *ctl, int64_t wall_offset_ms)
{
    if (ctl->controller != NULL) {
        controller_set_wall_offset(ctl->controller, wall_offset_ms);
    }
}
