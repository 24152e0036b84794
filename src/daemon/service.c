/* Life of the daemon: start in the order in which things are needed, the loop, the stop.
 * Source: doc/architecture.md, spec 05 sections 9.2 to 9.6. */
#include "daemon/service.h"

#include "base/bucket.h"
#include "daemon/api.h"
#include "daemon/api_json.h"
#include "daemon/keygen.h"
#include "daemon/log.h"
#include "daemon/notify.h"
#include "daemon/service_priv.h"
#include "daemon/settings.h"
#include "os/clock.h"
#include "os/file.h"
#include "os/privileges.h"
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
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/utsname.h>
#include <unistd.h>

enum {
    STOP_LIMIT_S = 2,     /* after that the process ends without cleaning up */
    SETTLE_DELAY_MS = 30, /* a burst of system changes is one change */
    SWEEP_FIRST_MS = 60000,
    SWEEP_MS = 24 * 3600 * 1000,
    COLLISIONS_MAX = 3, /* new identities until the program ends */
    NETWORKS_MAX = 4096,
    MOONS_MAX = 64,
    TRIM_MS = 3000,    /* after bulk traffic: memory is given back */
    RECALL_MAX = 64,   /* peers greeted at start */
    RENEW_MS = 120000, /* offline for so long: another secondary port */
    FILES_MAX = 65536, /* descriptors we may want */
    STOPPED_MS = 2000, /* a deadline so late: we were stopped */
    CHANGE_BURST = 4,  /* changes of the network that peers are asked after, in a row */
    CHANGE_MS = 10000, /* and one more each time of this */
    WALL_STEP_MS = 20, /* smaller differences of the clocks are rounding */
};

int64_t service_now(void)
{
    return clock_mono_ms();
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

/* The secondary port: the same at every start as long as it is free, so that peers find us again
 * where they left us. */
static uint16_t usual_port(uint64_t address)
{
    uint64_t span = UDP_PORT_RANDOM_LAST - UDP_PORT_RANDOM_FIRST + 1;
    int port = udp_port_search((uint16_t)(UDP_PORT_RANDOM_FIRST + address % span), false);
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

void service_watch_offline(struct service *svc)
{
    bool random = svc->config->allow_secondary_port && svc->config->secondary_port == 0;
    if (svc->online || !random) {
        (void)uv_timer_stop(&svc->renew);
    } else {
        (void)uv_timer_start(&svc->renew, on_renew, RENEW_MS, RENEW_MS);
    }
}

/* ---- the loop ---- */

static void on_trim(uv_timer_t *timer)
{
    struct service *svc = timer->data;
    if (svc->bulk) { /* it goes on: look again later */
        svc->bulk = false;
        (void)uv_timer_start(timer, on_trim, TRIM_MS, 0);
        return;
    }
    ports_trim(&svc->ports);
    sockets_trim(&svc->sockets);
}

void service_bulk_seen(struct service *svc)
{
    if (uv_is_active((uv_handle_t *)&svc->trim)) {
        svc->bulk = true;
    } else {
        (void)uv_timer_start(&svc->trim, on_trim, TRIM_MS, 0);
    }
}

/* Whoever we talk to may have given us up, or be reached otherwise now: ask at once. */
static void network_changed(struct service *svc)
{
    int64_t now_ms = service_now();
    if (bucket_take(&svc->change_credit_ms, CHANGE_BURST, CHANGE_MS, now_ms)) {
        node_network_changed(svc->node, now_ms);
    }
}

static void woke_up(struct service *svc)
{
    log_write(LOG_LEVEL_INFO, "service", "woke up");
    service_rebind(svc);
    network_changed(svc);
    ports_resync(&svc->ports);
}

static void on_deadline(uv_timer_t *timer)
{
    struct service *svc = timer->data;
    int64_t late_ms = service_now() - svc->deadline_ms;
    if (late_ms > STOPPED_MS) {
        woke_up(svc);
    }
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
    ports_flush(&svc->ports);
    sockets_flush(&svc->sockets);
    captures_settle(&svc->captures);
    workers_settle(svc->workers);
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
        woke_up(svc);
    }
}

static void on_net_delay(uv_timer_t *timer)
{
    struct service *svc = timer->data;
    service_rebind(svc);
    if (svc->net_changed) {
        svc->net_changed = false;
        network_changed(svc);
    }
    relay_network_changed(&svc->relay);
    portmap_network_changed(&svc->portmap);
}

void service_rebind_soon(struct service *svc)
{
    if (!svc->stopping && !uv_is_active((uv_handle_t *)&svc->net_delay)) {
        (void)uv_timer_start(&svc->net_delay, on_net_delay, SETTLE_DELAY_MS, 0);
    }
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
    if (change.what != 0) {
        svc->net_changed |= !ports_are_all(&svc->ports, &change);
        service_rebind_soon(svc);
    }
}

/* Files of the peer cache that are too many or too old are removed, not by the main thread: a root
 * may have a million. */
struct sweep {
    struct engine_job job;
    const struct service *svc;
    size_t most;
};

static void run_sweep(struct engine_job *job)
{
    const struct sweep *sweep = CONTAINER_OF(job, struct sweep, job);
    state_sweep_peers(&sweep->svc->state, clock_wall_ms(), sweep->most, &sweep->svc->no_sweep);
}

static void on_sweep(uv_timer_t *timer)
{
    struct service *svc = timer->data;
    struct sweep *sweep = calloc(1, sizeof(*sweep));
    if (sweep == NULL) {
        return; /* tomorrow, then */
    }
    sweep->job.run = run_sweep;
    sweep->svc = svc;
    sweep->most = svc->config->max_peers > 0 ? svc->config->max_peers
                  : node_is_root(svc->node)  ? STATE_PEERS_ROOT_MAX
                                             : STATE_PEERS_MAX;
    if (jobs_add(&svc->jobs, &sweep->job) < 0) {
        free(sweep);
    }
}

static void on_job_done(void *ctx, struct engine_job *job)
{
    struct service *svc = ctx;
    if (job->run == run_sweep) {
        free(CONTAINER_OF(job, struct sweep, job));
        return;
    }
    node_job_done(svc->node, job, service_now());
}

void service_rebind(struct service *svc)
{
    uint16_t ports[2] = {svc->primary_port, svc->secondary_port};
    size_t count = svc->silent || svc->config->force_tcp_relay ? 0
                   : svc->secondary_port == 0                  ? 1
                                                               : 2;
    int err = sockets_rebind(&svc->sockets, ports, count);
    if (err < 0) {
        log_write(LOG_LEVEL_ERROR, "udp", "cannot bind error=\"%s\"", strerror(-err));
    }
    relay_server_review(&svc->relay_server);
    if (svc->node != NULL && ports_has_device(&svc->ports, 0)) {
        node_check_paths(svc->node, service_now());
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
    err = settings_read(svc, &svc->config, &error);
    if (err < 0) {
        return fatal("%s/local.conf line %d column %d: %s", home, error.line, error.column,
                     error.text);
    }
    settings_announce(svc->config);
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
        svc->secondary_port = usual_port(svc->identity.address);
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
    relay_init(&svc->relay, svc);
    err = fetch_init(&svc->fetch, &svc->loop);
    logins_init(&svc->logins, svc);
    captures_init(&svc->captures, svc);
    svc->relay_server = (struct relay_server){.svc = svc};
    portmap_init(&svc->portmap, svc);
    uv_timer_t *timers[] = {&svc->deadline,  &svc->conf_delay, &svc->sweep,
                            &svc->net_delay, &svc->renew,      &svc->trim};
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
    err = settings_watch(svc);
    if (err < 0) {
        log_write(LOG_LEVEL_WARN, "service", "cannot watch local.conf error=\"%s\"",
                  uv_strerror(err));
    }
    (void)uv_timer_start(&svc->sweep, on_sweep, SWEEP_FIRST_MS, SWEEP_MS);
    service_watch_offline(svc);
}

static int start_node(struct service *svc)
{
    struct engine_env env = service_env(svc);
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
        .no_default_planet = svc->config->no_default_planet,
        .protocol = svc->config->announce_protocol,
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

/* Say HELLO to the peers of the last hours: we are back. */
static void recall_peers(struct service *svc)
{
    uint64_t peers[RECALL_MAX];
    size_t count = state_list_recent_peers(&svc->state, clock_wall_ms(), peers, RECALL_MAX);
    node_recall(svc->node, peers, count, service_now());
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
    if (err == 0) {
        err = workers_start(svc, svc->options.workers, &svc->workers);
    }
    if (err < 0) {
        return fatal("cannot start: %s", strerror(-err));
    }
    settings_apply_policy(svc);
    err = http_start(&svc->loop, svc->primary_port, svc->config->management.count > 0, api_admit,
                     api_handle, svc, &svc->http);
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
    relay_review(&svc->relay);
    portmap_review(&svc->portmap);
    restore_networks(svc);
    recall_peers(svc);
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

static void on_process_closed(uv_handle_t *handle)
{
    free(handle);
}

/* What is left in the loop at the end. Programs that still run (dns.c) go on without us. */
static void close_handle(uv_handle_t *handle, void *ctx)
{
    (void)ctx;
    if (!uv_is_closing(handle)) {
        uv_close(handle, handle->type == UV_PROCESS ? on_process_closed : NULL);
    }
}

/* Release what start_parts and start_loop made, in any state. */
static void stop_parts(struct service *svc)
{
    char path[STATE_PATH_MAX];
    notify_manager("STOPPING=1");
    (void)uv_prepare_stop(&svc->settle);
    fetch_stop(&svc->fetch);
    logins_stop(&svc->logins);
    ctl_stop(&svc->ctl); /* answers what the API still waits for */
    http_stop(svc->http);
    svc->http = NULL;
    captures_stop(&svc->captures);
    relay_stop(&svc->relay);
    relay_server_stop(&svc->relay_server);
    portmap_stop(&svc->portmap);
    atomic_store(&svc->no_sweep, true);
    jobs_stop(&svc->jobs);
    ports_done(&svc->ports);
    sockets_done(&svc->sockets);
    workers_stop(svc->workers);
    svc->workers = NULL;
    if (svc->node != NULL) {
        node_free(svc->node, service_now());
        svc->node = NULL;
    }
    clockwatch_stop(&svc->clockwatch);
    if (svc->net_poll_open) {
        (void)uv_poll_stop(&svc->net_poll);
    }
    uv_walk(&svc->loop, close_handle, NULL);
    (void)uv_run(&svc->loop, UV_RUN_DEFAULT);
    (void)uv_loop_close(&svc->loop);
    net_watch_close(svc->net_watch);
    net_close(svc->net);
    svc->net_watch = NULL;
    svc->net = NULL;
    svc->net_poll_open = svc->online = svc->bulk = false;
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

/* Each lane of each address and each network is a descriptor, and the usual limit is low. */
static void allow_files(void)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur < FILES_MAX) {
        limit.rlim_cur = limit.rlim_max < FILES_MAX ? limit.rlim_max : FILES_MAX;
        (void)setrlimit(RLIMIT_NOFILE, &limit);
    }
}

/* Small stacks and one heap: threads are few and short-lived. */
static void tune_process(void)
{
    allow_files();
    (void)mallopt(M_ARENA_MAX, 1);
    (void)mallopt(M_MMAP_THRESHOLD, 128 * 1024);
    (void)mallopt(M_TRIM_THRESHOLD, 128 * 1024);
    (void)signal(SIGPIPE, SIG_IGN);
    (void)signal(SIGUSR1, SIG_IGN);
    (void)signal(SIGUSR2, SIG_IGN);
    (void)signal(SIGALRM, on_alarm);
}

/* Become the service's user if there is one. */
static void drop_privileges(const struct service *svc)
{
    const char *user = svc->options.user;
    struct stat device;
    if (user != NULL && stat("/dev/net/tun", &device) == 0 && (device.st_mode & 0006) != 0006) {
        log_write(LOG_LEVEL_WARN, "service",
                  "staying root: others than root may not open /dev/net/tun");
        return;
    }
    int err = user == NULL ? -ENOENT : privileges_drop(user, svc->state.home);
    if (err == 0) {
        log_write(LOG_LEVEL_INFO, "service", "running as user=%s", user);
    } else if (err != -ENOENT && err != -EPERM) {
        log_write(LOG_LEVEL_WARN, "service", "cannot become user=%s error=\"%s\"", user,
                  strerror(-err));
    }
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
    svc->started_ms = service_now();
    svc->clockwatch.fd = -1;
    svc->random = random_source_new();
    int status = svc->random == NULL ? fatal("out of memory") : start_state(svc);
    if (status == 0) {
        drop_privileges(svc);
    }
    for (int lives = 0; status == 0; lives++) {
        svc->stopping = svc->collided = false;
        atomic_store(&svc->no_sweep, false);
        svc->deadline_ms = -1;
        svc->change_credit_ms = INT64_MIN;
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
