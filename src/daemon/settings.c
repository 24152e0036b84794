/* local.conf in the running daemon. Source: spec 05 sections 5.7, 13 item 7; SV-35, SV-60. */
#include "daemon/settings.h"

#include "controller/sso.h"
#include "daemon/log.h"
#include "daemon/service_priv.h"
#include "os/file.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    CONF_DELAY_MS = 50, /* editors write in several steps */
};

static void log_warnings(const struct config *config)
{
    for (size_t i = 0; i < config->warning_count; i++) {
        log_write(LOG_LEVEL_WARN, "config", "local.conf: %s", config->warnings[i]);
    }
}

/* Read and parse local.conf; a missing file is an empty one. */
int settings_read(struct service *svc, struct config **ret, struct config_error *ret_error)
{
    char path[STATE_PATH_MAX];
    char *text = NULL;
    size_t len = 0;
    state_path(&svc->state, "local.conf", path);
    if (file_stat(path, &svc->conf_stamp) < 0) {
        svc->conf_stamp = (struct file_stamp){0};
    }
    int err = file_read(path, CONFIG_FILE_MAX, &text, &len);
    if (err == -ENOENT) {
        return config_parse("", 0, ret, ret_error);
    }
    if (err < 0) {
        *ret_error = (struct config_error){0};
        (void)snprintf(ret_error->text, sizeof(ret_error->text), "%s", strerror(-err));
        return err;
    }
    err = config_parse(text, len, ret, ret_error);
    free(text);
    return err;
}

/* Give the engine the parts of the settings that are its own. */
void settings_apply_policy(struct service *svc)
{
    const struct config *c = svc->config;
    struct node_virtual *virt = calloc(c->virt_count + 1, sizeof(*virt));
    node_set_relay_rate(svc->node, c->relay_rate);
    node_set_relay_pair_rate(svc->node, c->relay_pair_rate * UINT64_C(125000));
    node_set_max_peers(svc->node, c->max_peers);
    if (virt == NULL) {
        return;
    }
    for (size_t i = 0; i < c->virt_count; i++) {
        virt[i] = (struct node_virtual){
            .address = c->virt[i].address,
            .try_paths = c->virt[i].try_paths,
            .try_count = c->virt[i].try_count,
            .blacklist = c->virt[i].blacklist,
            .blacklist_count = c->virt[i].blacklist_count,
        };
    }
    int err = node_set_policy(svc->node, c->physical, c->physical_count, virt, c->virt_count,
                              service_now());
    free(virt);
    if (err < 0) {
        log_write(LOG_LEVEL_ERROR, "config", "cannot apply policy error=\"%s\"", strerror(-err));
    }
}

static void apply_log_level(const struct config *config)
{
    enum log_level level;
    if (config->log_level[0] == '\0') {
        return;
    }
    if (log_level_parse(config->log_level, &level) < 0) {
        log_write(LOG_LEVEL_WARN, "config", "local.conf: settings: logLevel is unknown, ignored");
        return;
    }
    log_set_level(level);
}

int service_reload(struct service *svc)
{
    struct config *fresh = NULL;
    struct config_error error;
    int err = settings_read(svc, &fresh, &error);
    if (err < 0) {
        log_write(LOG_LEVEL_ERROR, "config",
                  "local.conf line %d column %d: %s; the running settings stay", error.line,
                  error.column, error.text);
        return err;
    }
    struct config *old = svc->config;
    svc->config = fresh;
    settings_announce(fresh);
    settings_apply_policy(svc);
    if (svc->ctl.controller != NULL) {
        controller_set_sso_url(svc->ctl.controller, fresh->sso_url);
    }
    if (svc->http != NULL) {
        (void)http_set_open(svc->http, fresh->management.count > 0);
    }
    service_rebind(svc);
    relay_review(&svc->relay);
    portmap_review(&svc->portmap);
    ports_resync(&svc->ports);
    if (fresh->primary_port != old->primary_port ||
        fresh->allow_secondary_port != old->allow_secondary_port ||
        fresh->secondary_port != old->secondary_port) {
        log_write(LOG_LEVEL_WARN, "config", "local.conf: changed ports need a restart");
    }
    config_free(old);
    log_write(LOG_LEVEL_INFO, "config", "local.conf applied");
    return 0;
}

static void on_conf_delay(uv_timer_t *timer)
{
    struct service *svc = timer->data;
    char path[STATE_PATH_MAX];
    struct file_stamp stamp = {0};
    state_path(&svc->state, "local.conf", path);
    (void)!file_stat(path, &stamp);
    if (!file_stamp_equal(&stamp, &svc->conf_stamp)) {
        (void)service_reload(svc);
    }
}

static void on_conf_event(uv_fs_event_t *handle, const char *name, int events, int status)
{
    struct service *svc = handle->data;
    (void)events;
    if (status == 0 && name != NULL && strcmp(name, "local.conf") == 0) {
        (void)uv_timer_start(&svc->conf_delay, on_conf_delay, CONF_DELAY_MS, 0);
    }
}

void settings_announce(const struct config *config)
{
    log_warnings(config);
    apply_log_level(config);
}

int settings_watch(struct service *svc)
{
    return uv_fs_event_start(&svc->conf_watch, on_conf_event, svc->state.home, 0);
}
