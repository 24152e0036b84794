/* Virtual devices on the control loop. Source: spec 05 sections 6.1 to 6.4, 6.10. */
#include "daemon/ports.h"

#include "base/cursor.h"
#include "crypto/cpu.h"
#include "daemon/log.h"
#include "daemon/service_priv.h"
#include "os/file.h"
#include "os/memory.h"
#include "os/random.h"
#include "wire/mac.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum {
    PORT_ERROR_NO_DEVICE = -999, /* what the API of the reference shows */
    RETRY_FIRST_MS = 5000,
    RETRY_NEXT_MS = 30000,
    SCAN_SOON_MS = 20,       /* after a membership report: the system's list is up to date then */
    SCAN_LATE_MS = 60000,    /* safety net for groups that no report announces */
    ARENA_LEN = 1024 * 1024, /* payloads that wait to be merged */
    DEVICEMAP_MAX = 65536,
    PROTO_IGMP = 2,
    IPV6_HOP_BY_HOP = 0,
};

/* A device on its way out: closed when no worker uses it any more. */
struct closing {
    struct retired retired;
    struct tap *tap;
};

/* The device of one network. */
struct port {
    struct hmap_node node; /* in ports.by_nwid */
    struct ports *owner;
    struct tap *tap;         /* NULL = none */
    struct closing *closing; /* for the device */
    bool wanted;             /* the engine wants it */
    bool dirty;              /* something to do at the next settling */
    bool announce;           /* the engine waits for node_port_result */
    bool scan;               /* look at multicast groups soon */
    unsigned capped;         /* MTU below the configured one that was told last, 0 none */
    int error;               /* 0 or negative errno of the last try to make it */
    char why[TAP_ERROR_LEN]; /* why there is none, for people */
    int64_t retry_ms;        /* when to try again, 0 = no */
    struct addressing addressing;
    uint64_t refused; /* super-frames of the engine that the device refused */
};

static struct port *port_of(struct hmap_node *node)
{
    return node == NULL ? NULL : CONTAINER_OF(node, struct port, node);
}

static struct port *port_find(const struct ports *ports, uint64_t nwid)
{
    return port_of(hmap_find(&ports->by_nwid, nwid));
}

static void on_handle_closed(uv_handle_t *handle)
{
    free(handle);
}

static void on_scan(uv_timer_t *timer)
{
    struct ports *ports = timer->data;
    struct hmap_node *node = NULL;
    while ((node = hmap_each(&ports->by_nwid, node)) != NULL) {
        port_of(node)->dirty = true;
    }
    ports->dirty = true;
}

static void on_retry(uv_timer_t *timer)
{
    struct ports *ports = timer->data;
    int64_t now_ms = service_now();
    struct hmap_node *node = NULL;
    while ((node = hmap_each(&ports->by_nwid, node)) != NULL) {
        struct port *port = port_of(node);
        if (port->retry_ms != 0 && port->retry_ms <= now_ms) {
            port->dirty = true;
            ports->dirty = true;
        }
    }
}

/* ---- frames to a device ---- */

/* The device refuses a super-frame: cut it again. */
static void write_cut(struct ports *ports, struct port *port, const struct merge_output *out)
{
    uint8_t *block = malloc(out->len);
    port->refused++;
    if (block != NULL) {
        tap_write_segments(port->tap, 0, out, block, ports->checksum);
        free(block);
    }
}

static void write_merged(void *ctx, const struct merge_output *out)
{
    struct ports *ports = ctx;
    struct port *port = ports->merging;
    int err = tap_write_super(port->tap, 0, &out->vnet, out->pieces, out->count);
    if ((err == -EINVAL || err == -EOPNOTSUPP) && out->frames > 1) {
        write_cut(ports, port, out);
    }
}

void ports_flush(struct ports *ports)
{
    if (ports->merging != NULL) {
        merger_flush(&ports->merger);
        ports->merging = NULL;
    }
    ports->arena_used = 0;
}

void ports_trim(struct ports *ports)
{
    ports_flush(ports);
    memory_release(ports->arena, ARENA_LEN);
}

void ports_deliver(struct ports *ports, uint64_t nwid, uint64_t dest_mac, uint64_t source_mac,
                   uint16_t ethertype, const void *payload, size_t len)
{
    struct port *port = port_find(ports, nwid);
    if (port == NULL || port->tap == NULL) {
        return;
    }
    unsigned kinds = tap_merge_kinds(port->tap);
    if (kinds == 0 || len > tap_longest(port->tap)) {
        (void)tap_write_parts(port->tap, 0, dest_mac, source_mac, ethertype, payload, len);
        return;
    }
    if ((ports->merging != NULL && ports->merging != port) || ports->arena_used + len > ARENA_LEN) {
        ports_flush(ports);
    }
    ports->merging = port;
    uint8_t *copy = ports->arena + ports->arena_used; /* the engine's memory is good for the call */
    memcpy(copy, payload, len);
    ports->arena_used += (len + 15) / 16 * 16;
    merger_add(&ports->merger, &(struct merge_input){.dest_mac = dest_mac,
                                                     .source_mac = source_mac,
                                                     .payload = copy,
                                                     .len = len,
                                                     .kinds = kinds,
                                                     .ethertype = ethertype});
}

static uv_timer_t *timer_new(struct ports *ports)
{
    uv_timer_t *timer = calloc(1, sizeof(*timer));
    if (timer != NULL) {
        (void)uv_timer_init(&ports->svc->loop, timer);
        timer->data = ports;
    }
    return timer;
}

int ports_init(struct ports *ports, struct service *svc)
{
    uint64_t seed;
    random_bytes(&seed, sizeof(seed));
    *ports = (struct ports){.svc = svc};
    hmap_init(&ports->by_nwid, seed);
    ports->scan = timer_new(ports);
    ports->retry = timer_new(ports);
    ports->checksum = checksum_pick(cpu_features());
    merger_init(&ports->merger, ports->checksum, write_merged, ports);
    ports->arena = malloc(ARENA_LEN);
    return ports->scan == NULL || ports->retry == NULL || ports->arena == NULL ? -ENOMEM : 0;
}

static void closing_release(struct retired *r)
{
    struct closing *closing = CONTAINER_OF(r, struct closing, retired);
    tap_close(closing->tap);
    free(closing);
}

static void close_device(struct port *port)
{
    if (port->tap == NULL) {
        return;
    }
    ports_flush(port->owner);
    addressing_end(&port->addressing, port->owner->svc, port->tap);
    port->closing->tap = port->tap;
    workers_remove_device(port->owner->svc->workers, port->node.key, &port->closing->retired,
                          closing_release);
    port->closing = NULL;
    port->tap = NULL;
}

void ports_done(struct ports *ports)
{
    struct hmap_node *node;
    while ((node = hmap_drain(&ports->by_nwid)) != NULL) {
        struct port *port = port_of(node);
        close_device(port);
        free(port);
    }
    hmap_done(&ports->by_nwid);
    uv_timer_t *timers[] = {ports->scan, ports->retry};
    for (size_t i = 0; i < COUNT_OF(timers); i++) {
        if (timers[i] != NULL) {
            uv_close((uv_handle_t *)timers[i], on_handle_closed);
        }
    }
    free(ports->arena);
    ports->arena = NULL;
}

void ports_change(struct ports *ports, uint64_t nwid, enum port_change change)
{
    struct port *port = port_find(ports, nwid);
    if (port == NULL) {
        port = calloc(1, sizeof(*port));
        if (port == NULL || hmap_insert(&ports->by_nwid, &port->node, nwid) < 0) {
            free(port);
            log_write(LOG_LEVEL_ERROR, "port", "out of memory network=%016llx",
                      (unsigned long long)nwid);
            return;
        }
        port->owner = ports;
        port->addressing.policy = state_policy_load(&ports->svc->state, nwid);
    }
    port->wanted = change != PORT_DESTROY;
    port->announce |= change == PORT_CREATE;
    port->dirty = true;
    ports->dirty = true;
}

/* A membership report tells that the system's list of groups changed. */
static bool is_membership_report(uint16_t ethertype, const uint8_t *payload, size_t len)
{
    if (ethertype == 0x0800) {
        return len > 9 && payload[9] == PROTO_IGMP;
    }
    return ethertype == 0x86dd && len > 6 && payload[6] == IPV6_HOP_BY_HOP;
}

void ports_seen(struct ports *ports, uint64_t nwid, const uint8_t *data, size_t frame_len)
{
    struct port *port = port_find(ports, nwid);
    struct rd r = rd_init(data, frame_len);
    uint64_t dest = mac_read(&r);
    (void)mac_read(&r);
    uint16_t ethertype = rd_u16(&r);
    if (r.bad || port == NULL || port->scan || !mac_is_multicast(dest)) {
        return;
    }
    size_t len = rd_left(&r);
    if (is_membership_report(ethertype, rd_bytes(&r, len), len)) {
        port->scan = true;
        (void)uv_timer_start(ports->scan, on_scan, SCAN_SOON_MS, SCAN_LATE_MS);
    }
}

static void schedule_retry(struct port *port, int64_t delay_ms)
{
    struct ports *ports = port->owner;
    port->retry_ms = service_now() + delay_ms;
    if (!uv_is_active((uv_handle_t *)ports->retry)) {
        uv_update_time(&ports->svc->loop); /* or it may come too early, and then much later again */
        (void)uv_timer_start(ports->retry, on_retry, (uint64_t)delay_ms + 1, RETRY_FIRST_MS);
    }
}

void ports_lost(struct ports *ports, uint64_t nwid)
{
    struct port *port = port_find(ports, nwid);
    if (port == NULL || port->tap == NULL) {
        return;
    }
    log_write(LOG_LEVEL_WARN, "port", "device lost network=%016llx device=%s",
              (unsigned long long)nwid, tap_name(port->tap));
    close_device(port);
    schedule_retry(port, 1000);
}

/* What the network allows. */
static uint32_t network_mtu(const struct node_network_info *info)
{
    uint32_t mtu = info->mtu == 0 ? NETCONF_MTU_DEFAULT : info->mtu;
    return mtu < TAP_MTU_MIN ? TAP_MTU_MIN : mtu > TAP_MTU_MAX ? TAP_MTU_MAX : mtu;
}

/* What the owner wants of that. */
static uint32_t wanted_mtu(const struct port *port, const struct node_network_info *info)
{
    uint32_t mtu = network_mtu(info);
    uint32_t own = port->addressing.policy.mtu;
    return own != 0 && own < mtu ? own : mtu;
}

/* Name wanted by the devicemap file, or NULL. */
static const char *mapped_name(struct port *port, char out[TAP_NAME_LEN])
{
    char path[STATE_PATH_MAX];
    char *text = NULL;
    size_t len = 0;
    state_path(&port->owner->svc->state, "devicemap", path);
    if (file_read(path, DEVICEMAP_MAX, &text, &len) < 0) {
        return NULL;
    }
    int err = tap_devicemap_find(text, len, port->node.key, out);
    free(text);
    return err < 0 ? NULL : out;
}

static void open_device(struct port *port, const struct node_network_info *info)
{
    char name[TAP_NAME_LEN];
    struct tap_config config = {
        .nwid = info->nwid,
        .preferred = mapped_name(port, name),
        .mac = info->mac,
        .mtu = wanted_mtu(port, info),
        .queues = workers_queues(port->owner->svc->workers),
        .offloads = port->owner->svc->options.tap_offloads,
    };
    int before = port->error;
    port->retry_ms = 0;
    port->why[0] = '\0';
    port->closing = calloc(1, sizeof(*port->closing));
    port->error = port->closing == NULL ? -ENOMEM : tap_open(&config, &port->tap, port->why);
    if (port->error < 0) {
        free(port->closing);
        port->closing = NULL;
    } else {
        port->error = workers_add_device(port->owner->svc->workers, info->nwid, port->tap);
        if (port->error < 0) {
            close_device(port);
        }
    }
    if (port->error == 0) {
        port->scan = true;
        port->refused = 0;
        unsigned offloads = tap_offloads(port->tap);
        log_write(LOG_LEVEL_INFO, "port",
                  "device up network=%016llx device=%s vnet=%d csum=%d tso=%d uso=%d",
                  (unsigned long long)info->nwid, tap_name(port->tap),
                  (offloads & TAP_OFFLOAD_VNET) != 0, (offloads & TAP_OFFLOAD_CSUM) != 0,
                  (offloads & TAP_OFFLOAD_TSO4) != 0, (offloads & TAP_OFFLOAD_USO) != 0);
    } else {
        schedule_retry(port, before == 0 ? RETRY_FIRST_MS : RETRY_NEXT_MS);
    }
    if (port->error < 0 && port->why[0] == '\0') {
        (void)snprintf(port->why, sizeof(port->why), "%s", strerror(-port->error));
    }
    if (port->error < 0 && port->error != before) {
        log_write(LOG_LEVEL_ERROR, "port", "no device network=%016llx error=\"%s\"",
                  (unsigned long long)info->nwid, port->why);
    }
    if (port->announce || port->error != before) {
        port->announce = false;
        node_port_result(port->owner->svc->node, info->nwid, port->error, service_now());
    }
}

static int compare_groups(const void *a, const void *b)
{
    const struct multicast_group *x = a;
    const struct multicast_group *y = b;
    return x->mac < y->mac ? -1 : x->mac > y->mac;
}

/* Tell the engine the groups the system listens to. */
static void announce_groups(struct port *port)
{
    uint64_t macs[TAP_MACS_MAX];
    ssize_t count = tap_multicast_macs(port->tap, macs, TAP_MACS_MAX);
    if (count < 0) {
        return;
    }
    struct multicast_group groups[TAP_MACS_MAX];
    for (ssize_t i = 0; i < count; i++) {
        groups[i] = (struct multicast_group){.mac = macs[i]};
    }
    qsort(groups, (size_t)count, sizeof(groups[0]), compare_groups);
    node_port_groups(port->owner->svc->node, port->node.key, groups, (size_t)count, service_now());
}

static void sync_device(struct port *port, const struct node_network_info *info)
{
    uint32_t mtu = wanted_mtu(port, info);
    if (info->config != NULL && info->config->mtu > info->mtu && port->capped != info->mtu) {
        log_write(LOG_LEVEL_WARN, "port",
                  "mtu capped network=%016llx configured=%u usable=%u: longer frames need more "
                  "datagrams than a packet may have",
                  (unsigned long long)info->nwid, (unsigned)info->config->mtu, info->mtu);
        port->capped = info->mtu;
    }
    if (mtu != tap_mtu(port->tap)) {
        int err = tap_set_mtu(port->tap, mtu);
        log_write(err < 0 ? LOG_LEVEL_WARN : LOG_LEVEL_INFO, "port",
                  "mtu network=%016llx mtu=%u error=%d", (unsigned long long)info->nwid, mtu, err);
    }
    tap_set_longest(port->tap, network_mtu(info));
    addressing_sync(&port->addressing, port->owner->svc, port->tap, info);
    node_port_mss(port->owner->svc->node, port->node.key,
                  port->addressing.policy.clamp_mss ? mtu : 0, service_now());
    announce_groups(port);
    port->scan = false;
}

static void settle_port(struct port *port)
{
    struct service *svc = port->owner->svc;
    port->dirty = false;
    struct node_network_info *info = malloc(sizeof(*info));
    if (info == NULL) {
        return;
    }
    if (node_network_get(svc->node, port->node.key, info) < 0) {
        free(info);
        return;
    }
    if (port->tap == NULL && (port->retry_ms == 0 || port->retry_ms <= service_now())) {
        open_device(port, info);
        /* What the engine lent may have moved with the result. */
        if (node_network_get(svc->node, port->node.key, info) < 0) {
            free(info);
            return;
        }
    } else if (port->announce) {
        port->announce = false;
        node_port_result(svc->node, port->node.key, port->error, service_now());
    }
    if (port->tap != NULL) {
        sync_device(port, info);
    }
    free(info);
}

static struct port *next_dirty(const struct ports *ports)
{
    struct hmap_node *node = NULL;
    while ((node = hmap_each(&ports->by_nwid, node)) != NULL) {
        if (port_of(node)->dirty) {
            return port_of(node);
        }
    }
    return NULL;
}

/* The slow timers run only while there is something to look at. */
static void arm_timers(struct ports *ports)
{
    bool any = false;
    bool retry = false;
    struct hmap_node *node = NULL;
    while ((node = hmap_each(&ports->by_nwid, node)) != NULL) {
        any |= port_of(node)->tap != NULL;
        retry |= port_of(node)->retry_ms != 0;
    }
    if (any && !uv_is_active((uv_handle_t *)ports->scan)) {
        (void)uv_timer_start(ports->scan, on_scan, SCAN_LATE_MS, SCAN_LATE_MS);
    } else if (!any) {
        (void)uv_timer_stop(ports->scan);
    }
    if (!retry) {
        (void)uv_timer_stop(ports->retry);
    }
}

/* True if a network has our default route (in halves). */
static bool has_default_route(const struct ports *ports)
{
    struct hmap_node *node = NULL;
    while ((node = hmap_each(&ports->by_nwid, node)) != NULL) {
        if (addressing_has_default(&port_of(node)->addressing)) {
            return true;
        }
    }
    return false;
}

void ports_settle(struct ports *ports)
{
    struct port *port;
    if (!ports->dirty) {
        return;
    }
    while ((port = next_dirty(ports)) != NULL) {
        if (port->wanted) {
            settle_port(port);
            continue;
        }
        log_write(LOG_LEVEL_INFO, "port", "device removed network=%016llx",
                  (unsigned long long)port->node.key);
        hmap_remove(&ports->by_nwid, &port->node);
        state_policy_erase(&ports->svc->state, port->node.key);
        close_device(port);
        free(port);
    }
    ports->dirty = false;
    sockets_hold(&ports->svc->sockets, has_default_route(ports));
    arm_timers(ports);
}

void ports_resync(struct ports *ports)
{
    struct hmap_node *node = NULL;
    while ((node = hmap_each(&ports->by_nwid, node)) != NULL) {
        port_of(node)->dirty = true;
        ports->dirty = true;
    }
}

bool ports_has_device(const struct ports *ports, unsigned index)
{
    struct hmap_node *node = NULL;
    while ((node = hmap_each(&ports->by_nwid, node)) != NULL) {
        const struct port *port = port_of(node);
        if (port->tap != NULL && (index == 0 || tap_ifindex(port->tap) == index)) {
            return true;
        }
    }
    return false;
}

/* The port whose device has this index, or NULL. */
static struct port *port_of_device(const struct ports *ports, unsigned ifindex)
{
    struct hmap_node *node = NULL;
    while ((node = hmap_each(&ports->by_nwid, node)) != NULL) {
        struct port *port = port_of(node);
        if (port->tap != NULL && tap_ifindex(port->tap) == ifindex) {
            return port;
        }
    }
    return NULL;
}

bool ports_are_all(const struct ports *ports, const struct net_change *change)
{
    for (size_t i = 0; i < change->changed_count; i++) {
        if (port_of_device(ports, change->changed[i]) == NULL) {
            return false;
        }
    }
    return (change->what & NET_CHANGE_LOST) == 0;
}

void ports_system_changed(struct ports *ports, const struct net_change *change)
{
    if ((change->what & NET_CHANGE_LOST) != 0) {
        ports_resync(ports);
        return;
    }
    for (size_t i = 0; i < change->changed_count; i++) {
        struct port *port = port_of_device(ports, change->changed[i]);
        if (port != NULL) {
            port->dirty = true;
            ports->dirty = true;
        } else if ((change->what & NET_CHANGE_ADDR) != 0) {
            ports_resync(ports); /* what conflicts with our routes may be another now */
        }
    }
}

size_t ports_managed(const struct ports *ports, struct inetaddr *out, size_t cap)
{
    size_t count = 0;
    struct hmap_node *node = NULL;
    while ((node = hmap_each(&ports->by_nwid, node)) != NULL) {
        const struct managed_applied *applied = &port_of(node)->addressing.applied;
        for (size_t i = 0; i < applied->addr_count && count < cap; i++) {
            out[count++] = applied->addrs[i];
        }
    }
    return count;
}

int ports_info(const struct ports *ports, uint64_t nwid, struct port_info *ret)
{
    const struct port *port = port_find(ports, nwid);
    if (port == NULL) {
        return -ENOENT;
    }
    *ret = (struct port_info){.device = port->tap == NULL ? "" : tap_name(port->tap),
                              .error = port->error < 0 ? PORT_ERROR_NO_DEVICE : 0,
                              .why = port->error < 0 ? port->why : "",
                              .policy = port->addressing.policy,
                              .conflicts = port->addressing.conflicts,
                              .conflict_count = port->addressing.conflict_count};
    return 0;
}

static int compare_devices(const void *a, const void *b)
{
    const struct device_info *x = a;
    const struct device_info *y = b;
    return x->nwid < y->nwid ? -1 : x->nwid > y->nwid;
}

size_t ports_devices(const struct ports *ports, struct device_info *out, size_t cap)
{
    const struct workers *workers = ports->svc->workers;
    size_t count = 0;
    struct hmap_node *node = NULL;
    while ((node = hmap_each(&ports->by_nwid, node)) != NULL && count < cap) {
        const struct port *port = port_of(node);
        if (port->tap == NULL) {
            continue;
        }
        struct device_info *info = &out[count++];
        *info = (struct device_info){.nwid = port->node.key,
                                     .name = tap_name(port->tap),
                                     .mtu = tap_mtu(port->tap),
                                     .queues = workers_queues(workers),
                                     .offloads = tap_offloads(port->tap)};
        workers_device(workers, info->nwid, &info->io);
        info->io.refused += port->refused;
    }
    qsort(out, count, sizeof(*out), compare_devices);
    return count;
}

int ports_set_policy(struct ports *ports, uint64_t nwid, const struct managed_policy *policy)
{
    struct port *port = port_find(ports, nwid);
    if (port == NULL) {
        return -ENOENT;
    }
    port->addressing.policy = *policy;
    port->dirty = true;
    ports->dirty = true;
    return state_policy_store(&ports->svc->state, nwid, policy);
}
