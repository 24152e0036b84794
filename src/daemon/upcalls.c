/* What the engine asks of the daemon. Source: vl1/env.h. */
#include "daemon/extras.h"
#include "daemon/log.h"
#include "daemon/service_priv.h"
#include "os/random.h"

#include <inttypes.h>

static void env_send(void *ctx, uint32_t socket, const struct inetaddr *to, const void *data,
                     size_t len, unsigned how)
{
    struct service *svc = ctx;
    sockets_send(&svc->sockets, socket, to, data, len, how);
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

static void env_captured(void *ctx, const struct captured_frame *frame)
{
    struct service *svc = ctx;
    captures_frame(&svc->captures, frame);
}

static bool env_may_reach(void *ctx, const struct inetaddr *remote)
{
    struct service *svc = ctx;
    unsigned index = 0;
    struct inetaddr source;
    if (svc->net == NULL || svc->sockets.held ||
        net_route_lookup(svc->net, remote, &index, &source) < 0) {
        return true; /* tied to their interfaces datagrams leave there; or nowhere, for now */
    }
    return !ports_has_device(&svc->ports, index);
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
        service_watch_offline(svc);
        relay_review(&svc->relay);
        break;
    case EVENT_IDENTITY_COLLISION:
        svc->collided = true;
        service_stop(svc);
        break;
    case EVENT_PEER_DIRECT:
        log_write(LOG_LEVEL_INFO, "node", "direct path peer=%010" PRIx64, id);
        relay_review(&svc->relay);
        break;
    case EVENT_PEER_RELAYED:
        log_write(LOG_LEVEL_INFO, "node", "no direct path peer=%010" PRIx64, id);
        relay_review(&svc->relay);
        break;
    case EVENT_NETWORK_STATUS:
        log_write(LOG_LEVEL_INFO, "node", "status changed network=%016" PRIx64, id);
        break;
    case EVENT_USER_MESSAGE:
    case EVENT_REMOTE_TRACE:
    case EVENT_SURFACE_ADDRESS:
        break;
    case EVENT_WORLD:
        service_rebind_soon(svc); /* whether we are a root, and where */
        break;
    }
}

struct engine_env service_env(struct service *svc)
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
        .captured = env_captured,
        .may_reach = env_may_reach,
        .job = env_job,
        .extra_open = extras_open,
        .extra_close = extras_close,
        .ctx = svc,
        .log_level = log_get_level(),
    };
}
