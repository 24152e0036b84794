/* Life of the daemon: start in the order in which things are needed, the loop, the stop.
 * Source: design section 4, spec 05 sections 9.2 to 9.6. */
#include "daemon/service.h"

#include "daemon/api.h"
#include "daemon/api_json.h"
#include "daemon/keygen.h"
#include "daemon/log.h"
#include "daemon/notify.h"
#include "daemon/service_priv.h"
#include "os/clock.h"
#include "os/file.h"
#include "os/random.h"
#include "os/udp.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <malloc.h>
#include <signal.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>
#include <unistd.h>

enum {
    STOP_LIMIT_S = 2,     /* after that the process ends without cleaning up */
    SETTLE_DELAY_MS = 30, /* a burst of system changes is one change */
    CONF_DELAY_MS = 50,   /* editors write in several steps */
    SWEEP_FIRST_MS = 60000,
    SWEEP_MS = 24 * 3600 * 1000,
    COLLISIONS_MAX = 3, /* new identities an hour */
    NETWORKS_MAX = 4096,
    MOONS_MAX = 64,
    RENEW_MS = 120000, /* offline for so long: another secondary port */
    WALL_STEP_MS = 20, /* smaller differences of the clocks are rounding */
};

int64_t service_now(void)
{
    return clock_mono_ms();
}

int64_t service_wall(const struct service *svc, int64_t mono_ms)
{
    return mono_ms + svc->wall_offset_ms;
}

void service_stop(struct service *svc)
{
    svc->stopping = true;
    uv_stop(&svc->loop);
}

static int fatal(const char *fmt, ...) PRINTF_LIKE(1, 2);

/* One line on stderr in the form of the reference. Returns the exit status. */
static int fatal(const char *fmt, ...)
{
    va_list args;
    (void)fprintf(stderr, "%s: fatal error: ", program_invocation_short_name);
    va_start(args, fmt);
    (void)vfprintf(stderr, fmt, args);
    va_end(args);
    (void)fputc('\n', stderr);
    return 1;
}

/* A random port, or 0 if none is free. */
static uint16_t random_port(bool with_tcp)
{
    uint16_t start;
    random_bytes(&start, sizeof(start));
    int port = udp_port_search(start, with_tcp);
    return port > 0 ? (uint16_t)port : 0;
}

/* Long offline: a box in between may have taken a dislike to our secondary port. */
static void on_renew(uv_timer_t *timer)
{
    struct service *svc = timer->data;
    svc->secondary_port = random_port(false);
    log_write(LOG_LEVEL_INFO, "udp", "still offline, new secondary port=%u", svc->secondary_port);
    service_rebind(svc);
}

/* The secondary port is renewed while we are offline, if it is ours to choose. */
static void watch_offline(struct service *svc)
{
    bool random = svc->config->allow_secondary_port && svc->config->secondary_port == 0;
    if (svc->online || !random) {
        (void)uv_timer_stop(&svc->renew);
    } else {
        (void)uv_timer_start(&svc->renew, on_renew, RENEW_MS, RENEW_MS);
    }
}

/* ---- engine upcalls ---- */

static void env_send(void *ctx, uint32_t socket, const struct inetaddr *to, const void *data,
                     size_t len, unsigned ttl)
{
    struct service *svc = ctx;
    sockets_send(&svc->sockets, socket, to, data, len, ttl);
}

static void env_deliver(void *ctx, uint64_t nwid, uint64_t dest_mac, uint64_t source_mac,
                        uint16_t ethertype, const void *payload, size_t len)
{
    struct service *svc = ctx;
    ports_deliver(&svc->ports, nwid, dest_mac, source_mac, ethertype, payload, len);
}

static void env_port(void *ctx, uint64_t nwid, enum port_change change)
{
    struct service *svc = ctx;
    ports_change(&svc->ports, nwid, change);
}

static ssize_t env_load(void *ctx, enum state_kind kind, uint64_t id, void *buf, size_t cap)
{
    struct service *svc = ctx;
    return state_object_load(&svc->state, kind, id, buf, cap);
}

static void env_store(void *ctx, enum state_kind kind, uint64_t id, const void *data, size_t len)
{
    struct service *svc = ctx;
    state_object_store(&svc->state, kind, id, data, len);
}

static void env_erase(void *ctx, enum state_kind kind, uint64_t id)
{
    struct service *svc = ctx;
    state_object_erase(&svc->state, kind, id);
}

static void env_random(void *ctx, void *out, size_t len)
{
    struct service *svc = ctx;
    random_source_fill(svc->random, out, len);
}

static void env_log(void *ctx, enum log_level level, const char *text)
{
    (void)ctx;
    log_write(level, "node", "%s", text);
}

static int env_job(void *ctx, struct engine_job *job)
{
    struct service *svc = ctx;
    return jobs_add(&svc->jobs, job);
}

static void env_event(void *ctx, enum event_kind kind, uint64_t id, const void *data, size_t len)
{
    struct service *svc = ctx;
    (void)data;
    (void)len;
    switch (kind) {
    case EVENT_ONLINE:
    case EVENT_OFFLINE:
        svc->online = kind == EVENT_ONLINE;
        log_write(LOG_LEVEL_INFO, "node", "%s", svc->online ? "online" : "offline");
        ports_resync(&svc->ports); /* default routes depend on it */
        watch_offline(svc);
        break;
    case EVENT_IDENTITY_COLLISION:
        svc->collided = true;
        service_stop(svc);
        break;
    case EVENT_PEER_DIRECT:
        log_write(LOG_LEVEL_INFO, "node", "direct path peer=%010" PRIx64, id);
        break;
    case EVENT_PEER_RELAYED:
        log_write(LOG_LEVEL_INFO, "node", "no direct path peer=%010" PRIx64, id);
        break;
    case EVENT_NETWORK_STATUS:
        log_write(LOG_LEVEL_INFO, "node", "status changed network=%016" PRIx64, id);
        break;
    case EVENT_USER_MESSAGE:
    case EVENT_REMOTE_TRACE:
    case EVENT_SURFACE_ADDRESS:
        break;
    }
}

static struct engine_env make_env(struct service *svc)
{
    return (struct engine_env){
        .send = env_send,
        .deliver = env_deliver,
        .port = env_port,
        .state_load = env_load,
        .state_store = env_store,
        .state_erase = env_erase,
        .random = env_random,
        .event = env_event,
        .log = env_log,
        .job = env_job,
        .ctx = svc,
        .log_level = log_get_level(),
    };
}

/* ---- the loop ---- */

static void on_job_done(void *ctx, struct engine_job *job)
{
    struct service *svc = ctx;
    node_job_done(svc->node, job, service_now());
}

static void on_deadline(uv_timer_t *timer)
{
    struct service *svc = timer->data;
    svc->deadline_ms = -1;
    (void)node_tick(svc->node, service_now());
    ctl_tick(&svc->ctl, service_now());
}

/* The earlier of two deadlines; -1 is none. */
static int64_t earlier(int64_t a, int64_t b)
{
    return a < 0 || (b >= 0 && b < a) ? b : a;
}

/* Before each wait: carry out what the engine announced, set the timer to its deadline. */
static void on_settle(uv_prepare_t *prepare)
{
    struct service *svc = prepare->data;
    ports_settle(&svc->ports);
    int64_t deadline_ms = earlier(node_deadline(svc->node), ctl_deadline(&svc->ctl));
    if (deadline_ms == svc->deadline_ms) {
        return;
    }
    svc->deadline_ms = deadline_ms;
    if (deadline_ms < 0) {
        (void)uv_timer_stop(&svc->deadline);
        return;
    }
    int64_t now_ms = service_now();
    uv_update_time(&svc->loop);
    (void)uv_timer_start(&svc->deadline, on_deadline,
                         deadline_ms > now_ms ? (uint64_t)(deadline_ms - now_ms) : 0, 0);
}

static void on_signal(uv_signal_t *handle, int signum)
{
    struct service *svc = handle->data;
    if (signum == SIGHUP) {
        (void)service_reload(svc);
        return;
    }
    log_write(LOG_LEVEL_INFO, "service", "stopping signal=%d", signum);
    service_stop(svc);
}

static void on_clock_changed(void *ctx, bool slept)
{
    struct service *svc = ctx;
    int64_t offset_ms = clock_wall_ms() - clock_mono_ms();
    if (llabs(offset_ms - svc->wall_offset_ms) > WALL_STEP_MS) {
        svc->wall_offset_ms = offset_ms;
        node_set_wall_offset(svc->node, offset_ms);
        ctl_set_wall_offset(&svc->ctl, offset_ms);
    }
    if (slept) {
        log_write(LOG_LEVEL_INFO, "service", "woke up");
        service_rebind(svc);
        ports_resync(&svc->ports);
    }
}

static void on_net_delay(uv_timer_t *timer)
{
    service_rebind(timer->data);
}

static void on_net_change(uv_poll_t *poll, int status, int events)
{
    struct service *svc = poll->data;
    struct net_change change = {0};
    (void)status;
    (void)events;
    if (net_watch_drain(svc->net_watch, &change) < 0) {
        change = (struct net_change){.what = NET_CHANGE_LOST};
    }
    ports_system_changed(&svc->ports, &change);
    if ((change.what & (NET_CHANGE_LINK | NET_CHANGE_ADDR | NET_CHANGE_LOST)) != 0 &&
        !uv_is_active((uv_handle_t *)&svc->net_delay)) {
        (void)uv_timer_start(&svc->net_delay, on_net_delay, SETTLE_DELAY_MS, 0);
    }
}

static void on_sweep(uv_timer_t *timer)
{
    struct service *svc = timer->data;
    state_sweep_peers(&svc->state, clock_wall_ms());
}

void service_rebind(struct service *svc)
{
    uint16_t ports[2] = {svc->primary_port, svc->secondary_port};
    size_t count = svc->secondary_port == 0 ? 1 : 2;
    int err = sockets_rebind(&svc->sockets, ports, count);
    if (err < 0) {
        log_write(LOG_LEVEL_ERROR, "udp", "cannot bind error=\"%s\"", strerror(-err));
    }
}

/* ---- settings ---- */

static void log_warnings(const struct config *config)
{
    for (size_t i = 0; i < config->warning_count; i++) {
        log_write(LOG_LEVEL_WARN, "config", "local.conf: %s", config->warnings[i]);
    }
}

/* Read and parse local.conf; a missing file is an empty one. */
static int read_config(struct service *svc, struct config **ret, struct config_error *ret_error)
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
static void apply_policy(struct service *svc)
{
    const struct config *c = svc->config;
    struct node_virtual *virt = calloc(c->virt_count + 1, sizeof(*virt));
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
    int err = read_config(svc, &fresh, &error);
    if (err < 0) {
        log_write(LOG_LEVEL_ERROR, "config",
                  "local.conf line %d column %d: %s; the running settings stay", error.line,
                  error.column, error.text);
        return err;
    }
    struct config *old = svc->config;
    svc->config = fresh;
    log_warnings(fresh);
    apply_log_level(fresh);
    apply_policy(svc);
    if (svc->http != NULL) {
        (void)http_set_open(svc->http, fresh->management.count > 0);
    }
    service_rebind(svc);
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

/* ---- start ---- */

/* Everything that needs no engine. Returns 0, or the exit status. */
static int start_state(struct service *svc)
{
    const char *home = svc->options.home;
    int err = state_open(home, &svc->state);
    if (err == -EBUSY) {
        return fatal("another process uses %s", home);
    }
    if (err == -EEXIST) {
        return fatal("%s/controller.db is of an old version that this program cannot read: "
                     "migrate its contents, then remove it",
                     home);
    }
    if (err < 0) {
        return fatal("cannot use %s: %s", home, strerror(-err));
    }
    struct config_error error;
    err = read_config(svc, &svc->config, &error);
    if (err < 0) {
        return fatal("%s/local.conf line %d column %d: %s", home, error.line, error.column,
                     error.text);
    }
    log_warnings(svc->config);
    apply_log_level(svc->config);
    err = state_token(&svc->state, "authtoken.secret", svc->api_token);
    if (err == 0) {
        err = state_token(&svc->state, "metricstoken.secret", svc->metrics_token);
    }
    return err < 0 ? fatal("cannot use the token files in %s: %s", home, strerror(-err)) : 0;
}

/* Returns 0, or the exit status. */
static int start_identity(struct service *svc)
{
    const char *home = svc->options.home;
    int err = state_identity_load(&svc->state, &svc->identity);
    if (err == -ENOENT) {
        err = keygen_identity(NULL, NULL, &svc->identity);
        if (err == 0) {
            err = state_identity_store(&svc->state, &svc->identity);
        }
        return err < 0 ? fatal("cannot make an identity in %s: %s", home, strerror(-err)) : 0;
    }
    if (err == 0) {
        err = keygen_validate(&svc->identity);
    }
    if (err == 0) {
        err = identity_check_private(&svc->identity);
    }
    return err < 0 ? fatal("identity.secret in %s is invalid or corrupt", home) : 0;
}

/* Returns 0, or the exit status. */
static int choose_ports(struct service *svc)
{
    const struct config *c = svc->config;
    int wanted = c->primary_port >= 0 ? c->primary_port : svc->options.primary_port;
    wanted = wanted < 0 ? CONFIG_PRIMARY_PORT : wanted;
    if (wanted == 0) {
        wanted = random_port(true);
    } else if (!udp_port_is_free((uint16_t)wanted, true)) {
        return fatal("cannot bind to port %d: UDP or TCP is taken by another program", wanted);
    }
    if (wanted <= 0) {
        return fatal("cannot find a free port");
    }
    svc->primary_port = (uint16_t)wanted;
    svc->secondary_port = c->allow_secondary_port ? c->secondary_port : 0;
    if (c->allow_secondary_port && c->secondary_port == 0) {
        svc->secondary_port = random_port(false);
    }
    char text[8];
    int len = snprintf(text, sizeof(text), "%u", svc->primary_port);
    (void)!state_write(&svc->state, "zerotier-one.port", text, (size_t)len, FILE_MODE_PUBLIC);
    return 0;
}

static int start_loop(struct service *svc)
{
    static const int signals[] = {SIGINT, SIGTERM, SIGQUIT, SIGHUP};
    int err = uv_loop_init(&svc->loop);
    if (err < 0) {
        return err;
    }
    uv_timer_t *timers[] = {&svc->deadline, &svc->conf_delay, &svc->sweep, &svc->net_delay,
                            &svc->renew};
    for (size_t i = 0; i < COUNT_OF(timers); i++) {
        (void)uv_timer_init(&svc->loop, timers[i]);
        timers[i]->data = svc;
    }
    (void)uv_prepare_init(&svc->loop, &svc->settle);
    svc->settle.data = svc;
    for (size_t i = 0; i < COUNT_OF(signals); i++) {
        (void)uv_signal_init(&svc->loop, &svc->signals[i]);
        svc->signals[i].data = svc;
        err = err < 0 ? err : uv_signal_start(&svc->signals[i], on_signal, signals[i]);
    }
    (void)uv_fs_event_init(&svc->loop, &svc->conf_watch);
    svc->conf_watch.data = svc;
    if (err == 0) {
        err = jobs_init(&svc->jobs, &svc->loop, on_job_done, svc);
    }
    return err < 0 ? err : sockets_init(&svc->sockets, svc);
}

/* Watch what may change under us. What cannot be watched is said once and lived without. */
static void start_watches(struct service *svc)
{
    int err = clockwatch_start(&svc->clockwatch, &svc->loop, on_clock_changed, svc);
    if (err < 0) {
        log_write(LOG_LEVEL_WARN, "service", "cannot watch the clock error=\"%s\"", strerror(-err));
    }
    err = net_watch_open(&svc->net_watch);
    if (err == 0) {
        err = uv_poll_init(&svc->loop, &svc->net_poll, net_watch_fd(svc->net_watch));
        svc->net_poll_open = err == 0;
    }
    if (err == 0) {
        svc->net_poll.data = svc;
        err = uv_poll_start(&svc->net_poll, UV_READABLE, on_net_change);
    }
    if (err < 0) {
        log_write(LOG_LEVEL_WARN, "service", "cannot watch the network error=\"%s\"",
                  strerror(-err));
    }
    err = uv_fs_event_start(&svc->conf_watch, on_conf_event, svc->state.home, 0);
    if (err < 0) {
        log_write(LOG_LEVEL_WARN, "service", "cannot watch local.conf error=\"%s\"",
                  uv_strerror(err));
    }
    (void)uv_timer_start(&svc->sweep, on_sweep, SWEEP_FIRST_MS, SWEEP_MS);
    watch_offline(svc);
}

static int start_node(struct service *svc)
{
    struct engine_env env = make_env(svc);
    struct utsname system;
    char platform[sizeof(system.sysname) + sizeof(system.machine)] = "";
    int version[3];
    api_version(version);
    if (uname(&system) == 0) {
        (void)snprintf(platform, sizeof(platform), "%s/%s",
                       strcmp(system.sysname, "Linux") == 0 ? "linux" : system.sysname,
                       system.machine);
    }
    struct node_options options = {
        .wall_offset_ms = clock_wall_ms() - clock_mono_ms(),
        .version = {(uint16_t)version[0], (uint16_t)version[1], (uint16_t)version[2]},
        .low_bandwidth = svc->config->low_bandwidth,
        .platform = platform,
    };
    svc->wall_offset_ms = options.wall_offset_ms;
    svc->node = node_new(&env, &svc->identity, &options, service_now());
    return svc->node == NULL ? -ENOMEM : 0;
}

/* Join the stored networks, orbit the stored moons. */
static void restore_networks(struct service *svc)
{
    uint64_t moons[MOONS_MAX];
    size_t count = state_list_moons(&svc->state, moons, MOONS_MAX);
    for (size_t i = 0; i < count; i++) {
        int err = node_orbit(svc->node, moons[i], 0, service_now());
        if (err < 0) {
            log_write(LOG_LEVEL_WARN, "service", "cannot orbit moon=%016" PRIx64 " error=\"%s\"",
                      moons[i], strerror(-err));
        }
    }
    uint64_t *ids = calloc(NETWORKS_MAX, sizeof(*ids));
    count = ids == NULL ? 0 : state_list_networks(&svc->state, ids, NETWORKS_MAX);
    for (size_t i = 0; i < count; i++) {
        int err = node_join(svc->node, ids[i], NULL, service_now());
        if (err < 0) {
            log_write(LOG_LEVEL_WARN, "service", "cannot join network=%016" PRIx64 " error=\"%s\"",
                      ids[i], strerror(-err));
        }
    }
    free(ids);
}

/* Tell whoever started us that the API answers. */
static void announce_ready(struct service *svc)
{
    if (svc->options.ready_fd >= 0) {
        (void)!write(svc->options.ready_fd, "1", 1);
        (void)close(svc->options.ready_fd);
        svc->options.ready_fd = -1;
    }
    notify_manager("READY=1");
    log_write(LOG_LEVEL_INFO, "service",
              "started address=%010" PRIx64 " version=%s port=%u "
              "home=%s",
              svc->identity.address, PANLAN_VERSION, svc->primary_port, svc->state.home);
}

/* All that needs the loop. Returns 0, or the exit status. */
static int start_parts(struct service *svc)
{
    int err = net_open(&svc->net);
    if (err < 0) {
        log_write(LOG_LEVEL_ERROR, "service", "no access to the network configuration error=\"%s\"",
                  strerror(-err));
        svc->net = NULL;
    }
    err = start_node(svc);
    if (err < 0) {
        return fatal("cannot start: %s", strerror(-err));
    }
    apply_policy(svc);
    err = http_start(&svc->loop, svc->primary_port, svc->config->management.count > 0, api_handle,
                     svc, &svc->http);
    if (err == -EADDRINUSE) {
        return fatal("cannot bind to port %u: TCP is taken by another program", svc->primary_port);
    }
    if (err < 0) {
        (void)fatal("cannot open the local API: %s", strerror(-err));
        return 255;
    }
    err = ctl_init(&svc->ctl, svc);
    if (err < 0) {
        log_write(LOG_LEVEL_ERROR, "controller", "does not run error=\"%s\"", strerror(-err));
    }
    service_rebind(svc);
    restore_networks(svc);
    ports_settle(&svc->ports);
    start_watches(svc);
    (void)uv_prepare_start(&svc->settle, on_settle);
    (void)!home_write_pid(svc->state.home, "zerotier-one.pid"); /* for people only */
    announce_ready(svc);
    return 0;
}

/* ---- stop ---- */

static void on_alarm(int signum)
{
    (void)signum;
    _exit(0);
}

static void close_handle(uv_handle_t *handle, void *ctx)
{
    (void)ctx;
    if (!uv_is_closing(handle)) {
        uv_close(handle, NULL);
    }
}

/* Release what start_parts and start_loop made, in any state. */
static void stop_parts(struct service *svc)
{
    char path[STATE_PATH_MAX];
    notify_manager("STOPPING=1");
    (void)uv_prepare_stop(&svc->settle);
    ctl_stop(&svc->ctl); /* answers what the API still waits for */
    http_stop(svc->http);
    svc->http = NULL;
    jobs_stop(&svc->jobs);
    ports_done(&svc->ports);
    if (svc->node != NULL) {
        node_free(svc->node, service_now());
        svc->node = NULL;
    }
    sockets_done(&svc->sockets);
    clockwatch_stop(&svc->clockwatch);
    if (svc->net_poll_open) {
        (void)uv_poll_stop(&svc->net_poll);
    }
    uv_walk(&svc->loop, close_handle, NULL);
    (void)uv_run(&svc->loop, UV_RUN_DEFAULT);
    (void)uv_loop_close(&svc->loop);
    net_watch_close(svc->net_watch);
    net_close(svc->net);
    state_path(&svc->state, "zerotier-one.pid", path);
    (void)file_erase(path);
}

/* One life: until a signal, or an identity collision. Returns the exit status. */
static int live(struct service *svc)
{
    int status = start_identity(svc);
    if (status != 0) {
        return status;
    }
    status = choose_ports(svc);
    if (status != 0) {
        return status;
    }
    int err = start_loop(svc);
    if (err == 0) {
        err = ports_init(&svc->ports, svc);
    }
    if (err < 0) {
        return fatal("cannot start: %s", strerror(-err));
    }
    status = start_parts(svc);
    if (status == 0) {
        (void)uv_run(&svc->loop, UV_RUN_DEFAULT);
    }
    (void)alarm(STOP_LIMIT_S);
    stop_parts(svc);
    (void)alarm(0);
    return status;
}

/* Small stacks and one heap: threads are few and short-lived. */
static void tune_process(void)
{
    (void)mallopt(M_ARENA_MAX, 1);
    (void)mallopt(M_MMAP_THRESHOLD, 128 * 1024);
    (void)mallopt(M_TRIM_THRESHOLD, 128 * 1024);
    (void)signal(SIGPIPE, SIG_IGN);
    (void)signal(SIGUSR1, SIG_IGN);
    (void)signal(SIGUSR2, SIG_IGN);
    (void)signal(SIGALRM, on_alarm);
}

int service_run(const struct service_options *options)
{
    if (options->require_root && geteuid() != 0) {
        (void)fprintf(stderr, "%s: must be run as root (uid 0)\n", program_invocation_short_name);
        return 1;
    }
    if (sodium_init() < 0) {
        return fatal("no cryptography library");
    }
    tune_process();
    struct service *svc = calloc(1, sizeof(*svc));
    if (svc == NULL) {
        return fatal("out of memory");
    }
    svc->options = *options;
    svc->clockwatch.fd = -1;
    svc->random = random_source_new();
    int status = svc->random == NULL ? fatal("out of memory") : start_state(svc);
    for (int lives = 0; status == 0; lives++) {
        svc->stopping = svc->collided = false;
        svc->deadline_ms = -1;
        status = live(svc);
        if (status != 0 || !svc->collided) {
            break;
        }
        log_write(LOG_LEVEL_ERROR, "service", "address collision address=%010" PRIx64,
                  svc->identity.address);
        if (lives >= COLLISIONS_MAX || state_identity_retire(&svc->state) < 0) {
            status = fatal("address collision");
        }
    }
    identity_wipe(&svc->identity);
    config_free(svc->config);
    state_close(&svc->state);
    random_source_free(svc->random);
    free(svc);
    return status;
}
