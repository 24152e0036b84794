/* A joined network: joining and leaving, its status, requests for its configuration and refusals by
 * its controller. What a configuration changes is in netapply.c, chunks are in assembly.c.
 * Source: spec 03 sections 2 and 3 with Do better 4, 8, 26. */
#include "vl2/sso.h"
#include "vl2/vl2_priv.h"

#include <errno.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>

static const char auth_prefix[] = "token:";

static int cmp_u64(const void *a, const void *b)
{
    const uint64_t *x = a;
    const uint64_t *y = b;

    return *x < *y ? -1 : *x > *y;
}

/* ---- status ---- */

enum network_status network_status(const struct network *net)
{
    if (net->port_error != 0) {
        return NETWORK_PORT_ERROR;
    }
    if (net->failure != NETWORK_REQUESTING_CONFIGURATION) {
        return net->failure;
    }
    return net->has_conf ? NETWORK_OK : NETWORK_REQUESTING_CONFIGURATION;
}

void network_show_status(struct network *net)
{
    const struct engine_env *env = net->vl2->env;
    enum network_status status = network_status(net);

    if (status != net->shown) {
        net->shown = status;
        env->event(env->ctx, EVENT_NETWORK_STATUS, net->id, NULL, 0);
    }
}

void network_set_failure(struct network *net, enum network_status failure, int64_t now_ms)
{
    net->failure = failure;
    if (failure != NETWORK_AUTHENTICATION_REQUIRED) {
        sso_free(net->sso);
        net->sso = NULL;
    }
    if (failure != NETWORK_REQUESTING_CONFIGURATION) {
        network_schedule_request(net, now_ms);
    }
    network_show_status(net);
}

unsigned network_mtu(const struct network *net)
{
    unsigned mtu = net->has_conf ? net->conf.mtu : NETCONF_MTU_DEFAULT;
    size_t limit = vl1_packet_limit(net->vl2->vl1);

    if (mtu > FRAME_MTU_MAX) {
        mtu = FRAME_MTU_MAX;
    }
    if (limit > FRAME_OVERHEAD && mtu > limit - FRAME_OVERHEAD) {
        mtu = (unsigned)(limit - FRAME_OVERHEAD);
    }
    return mtu;
}

uint64_t network_roles(const struct network *net, uint64_t address)
{
    uint64_t roles = net->has_conf ? netconf_roles(&net->conf, address) : 0;

    if (net->hub != 0 && address == net->hub) {
        roles |= SPECIALIST_ANCHOR;
    }
    return roles;
}

bool network_is_bridge(const struct network *net, uint64_t address)
{
    return net->conf.specialist_count > 0 && (network_roles(net, address) & SPECIALIST_BRIDGE) != 0;
}

/* ---- requests ---- */

/* Pauses after the n-th request that was lost, and after one that was refused. A reference
 * controller ignores requests that follow each other by 1000 ms or less. */
static const int64_t lost_ms[] = {
    1100, 1100, 2000, 2000, 5000, 10000, 20000, 30000, CONFIG_REFRESH_MS};
static const int64_t refused_ms[] = {
    5000, 5000, 5000, 10000, 20000, 30000, 60000, 60000, CONFIG_REFRESH_MS};

_Static_assert(COUNT_OF(lost_ms) == COUNT_OF(refused_ms), "one index for both");

static int64_t next_request_at(const struct network *net)
{
    size_t n = net->attempts > 0 ? net->attempts - 1 : 0;
    int64_t wait;

    if (net->failure == NETWORK_REQUESTING_CONFIGURATION && !net->outstanding &&
        net->conf_confirmed_ms != NEVER) {
        wait = CONFIG_REFRESH_MS;
        if (net->vl2->low_bandwidth) {
            wait *= LOW_BANDWIDTH_FACTOR;
        }
        return net->conf_confirmed_ms + wait;
    }
    n = n < COUNT_OF(lost_ms) ? n : COUNT_OF(lost_ms) - 1;
    wait = net->failure != NETWORK_REQUESTING_CONFIGURATION ? refused_ms[n] : lost_ms[n];
    if (net->vl2->low_bandwidth && wait < LOW_BANDWIDTH_TICK_MS) {
        wait = LOW_BANDWIDTH_TICK_MS;
    }
    return net->last_request_ms + wait;
}

void network_schedule_request(struct network *net, int64_t now_ms)
{
    int64_t at;

    if (net->controller == 0 || net->last_request_ms == NEVER ||
        (net->controller == net->vl2->self && !net->vl2->has_controller)) {
        timers_cancel(net->vl2->timers, &net->request_timer);
        return;
    }
    at = next_request_at(net);
    if (timers_arm(net->vl2->timers, &net->request_timer, at > now_ms ? at : now_ms + 1) != 0) {
        vl2_count(net->vl2, COUNT_NO_MEMORY);
    }
}

static int write_meta(const struct network *net, char *text, size_t cap, size_t *ret_len)
{
    struct netconf_meta meta = netconf_meta_default();
    int err;

    meta.major = net->vl2->version[0];
    meta.minor = net->vl2->version[1];
    meta.revision = net->vl2->version[2];
    memcpy(meta.os, net->vl2->platform, sizeof(net->vl2->platform));
    if (net->auth != NULL) {
        memcpy(meta.auth, net->auth, strlen(net->auth) + 1);
    }
    err = netconf_meta_encode(&meta, text, cap, ret_len);
    sodium_memzero(meta.auth, sizeof(meta.auth));
    return err;
}

static void send_request(struct network *net, const char *meta, size_t len, int64_t now_ms)
{
    struct config_request req = {
        .network_id = net->id,
        .revision = net->has_conf ? net->conf.revision : 0,
        .timestamp = net->has_conf ? net->conf.timestamp : 0,
        .meta = (const uint8_t *)meta,
        .meta_len = len,
    };
    struct out_packet out;

    out_begin(net->vl2->vl1, &out, net->controller, VERB_NETWORK_CONFIG_REQUEST);
    config_request_write(&out.w, &req);
    vl2_send(net->vl2, &out, OUT_COMPRESS | OUT_EXPECT, now_ms);
    sodium_memzero(out.data, sizeof(out.data));
}

static void request_adhoc(struct network *net, int64_t now_ms)
{
    if (!net->has_conf && network_apply_adhoc(net, now_ms) == -ENOENT) {
        network_set_failure(net, NETWORK_NOT_FOUND, now_ms);
    }
}

void network_request(struct network *net, int64_t now_ms)
{
    char meta[NETCONF_META_MAX + 1];
    size_t len;

    if (net->controller == 0) {
        request_adhoc(net, now_ms);
        return;
    }
    net->last_request_ms = now_ms;
    net->outstanding = true;
    net->attempts++;
    if (net->controller == net->vl2->self && !net->vl2->has_controller) {
        network_set_failure(net, NETWORK_NOT_FOUND, now_ms);
        return;
    }
    network_schedule_request(net, now_ms);
    if (write_meta(net, meta, sizeof(meta), &len) != 0) {
        return;
    }
    if (net->controller == net->vl2->self) {
        controller_ask_self(net, meta, len);
    } else {
        send_request(net, meta, len, now_ms);
    }
    sodium_memzero(meta, sizeof(meta));
}

void network_ask_anew(struct network *net, int64_t now_ms)
{
    net->conf_confirmed_ms = NEVER;
    net->attempts = 0;
    network_schedule_request(net, now_ms);
}

static void request_due(struct timer *timer, int64_t now_ms)
{
    struct network *net = CONTAINER_OF(timer, struct network, request_timer);

    net->vl2->now_ms = now_ms;
    members_clean(net, now_ms);
    network_request(net, now_ms);
}

enum vl1_verdict network_error(struct vl2 *vl2, const struct in_packet *in, int64_t now_ms)
{
    struct rd payload = in->payload;
    struct network *net = vl2_find(vl2, rd_u64(&payload));

    if (payload.bad) {
        vl2_count(vl2, COUNT_MALFORMED);
        return VL1_DROP;
    }
    if (net == NULL || net->controller == 0 || in->source != net->controller ||
        in->re_verb != VERB_NETWORK_CONFIG_REQUEST) {
        vl2_count(vl2, COUNT_ERROR_REFUSED);
        return VL1_DONE;
    }
    switch (in->error) {
    case ERROR_OBJ_NOT_FOUND:
    case ERROR_UNSUPPORTED_OPERATION:
        network_set_failure(net, NETWORK_NOT_FOUND, now_ms);
        break;
    case ERROR_NETWORK_ACCESS_DENIED:
        network_set_failure(net, NETWORK_ACCESS_DENIED, now_ms);
        break;
    case ERROR_NETWORK_AUTHENTICATION_REQUIRED:
        if (sso_from_error(payload, &net->sso) == 0) {
            net->shown = NETWORK_CLIENT_TOO_OLD; /* never set: the host is told of a new URL too */
            network_set_failure(net, NETWORK_AUTHENTICATION_REQUIRED, now_ms);
        }
        break;
    default:
        break;
    }
    return VL1_DONE;
}

/* ---- life ---- */

static struct network *network_new(struct vl2 *vl2, uint64_t nwid)
{
    struct network *net = calloc(1, sizeof(*net));

    if (net == NULL) {
        return NULL;
    }
    net->vl2 = vl2;
    net->id = nwid;
    net->mac = mac_of_member(nwid, vl2->self);
    net->controller = network_is_adhoc(nwid) ? 0 : network_controller(nwid);
    if (net->controller == 0 && network_number(nwid) != 0 && (nwid & 0xff) == 1) {
        net->hub = nwid >> 8 & UINT64_C(0xffffffffff);
    }
    net->conf_confirmed_ms = net->conf_stored_ms = net->last_request_ms = NEVER;
    net->last_announce_ms = NEVER;
    net->conf_changed_ms = NEVER;
    net->generation = 1;
    net->request_timer.fire = request_due;
    net->announce_timer.fire = announce_timer;
    net->assembly_timer.fire = assembly_timeout;
    list_init(&net->lru);
    hmap_init(&net->members, vl2->seed);
    hmap_init(&net->revoked, vl2->seed);
    hmap_init(&net->bridges, vl2->seed);
    hmap_init(&net->routes, vl2->seed);
    return net;
}

void network_free(struct network *net)
{
    struct timers *timers = net->vl2->timers;

    timers_cancel(timers, &net->request_timer);
    timers_cancel(timers, &net->announce_timer);
    timers_cancel(timers, &net->assembly_timer);
    assembly_clear(net);
    members_clear(net);
    revocations_clear(net);
    bridges_clear(net);
    network_conf_clear(net);
    for (size_t i = 0; i < net->contact_count; i++) {
        vl1_contact_release(net->vl2->vl1, net->contacts[i]);
    }
    free(net->contacts);
    sso_free(net->sso);
    if (net->auth != NULL) {
        sodium_memzero(net->auth, strlen(net->auth));
    }
    free(net->auth);
    free(net->port_groups);
    free(net->port_addresses);
    free(net->groups);
    free(net->behind);
    free(net);
}

/* Use what was stored, or note that the network is joined. */
static void load_stored(struct network *net, int64_t now_ms)
{
    const struct engine_env *env = net->vl2->env;
    char *text;
    ssize_t len;

    if (net->controller == 0) {
        env->state_store(env->ctx, STATE_NETWORK, net->id, "\n", 1);
        return;
    }
    text = malloc(NETCONF_DICT_MAX);
    if (text == NULL) {
        return;
    }
    len = env->state_load(env->ctx, STATE_NETWORK, net->id, text, NETCONF_DICT_MAX);
    if (len < 0) {
        env->state_store(env->ctx, STATE_NETWORK, net->id, "\n", 1);
    } else if (len > 1 && network_apply(net, text, (size_t)len, CONFIG_STORED, now_ms) != 0) {
        engine_log(env, LOG_LEVEL_WARN, "vl2: stored configuration not usable network=%016llx",
                   (unsigned long long)net->id);
    }
    free(text);
}

static int set_token(struct network *net, const char *token)
{
    size_t prefix = sizeof(auth_prefix) - 1;
    size_t len = token != NULL ? strlen(token) : 0;
    char *auth = NULL;

    if (len > sizeof(((struct netconf_meta *)NULL)->auth) - 1 - prefix) {
        return -EINVAL;
    }
    if (len > 0) {
        auth = malloc(prefix + len + 1);
        if (auth == NULL) {
            return -ENOMEM;
        }
        memcpy(auth, auth_prefix, prefix);
        memcpy(auth + prefix, token, len + 1);
    }
    if (net->auth != NULL) {
        sodium_memzero(net->auth, strlen(net->auth));
        free(net->auth);
    }
    net->auth = auth;
    return 0;
}

int vl2_join(struct vl2 *vl2, uint64_t nwid, const char *token, int64_t now_ms)
{
    const struct engine_env *env = vl2->env;
    struct network *net = vl2_find(vl2, nwid);
    int err;

    vl2->now_ms = now_ms;
    if (nwid == 0) {
        return -EINVAL;
    }
    if (net != NULL) {
        err = set_token(net, token);
        if (err == 0 && token != NULL && net->failure == NETWORK_ACCESS_DENIED) {
            net->attempts = 0;
            network_set_failure(net, NETWORK_REQUESTING_CONFIGURATION, now_ms);
            network_request(net, now_ms);
        }
        return err;
    }
    if (vl2->networks.count >= NETWORKS_MAX) {
        return -ENOSPC;
    }
    vl2->joins++;
    net = network_new(vl2, nwid);
    if (net == NULL) {
        return -ENOMEM;
    }
    err = set_token(net, token);
    if (err == 0) {
        err = hmap_insert(&vl2->networks, &net->node, nwid);
    }
    if (err != 0) {
        network_free(net);
        return err;
    }
    load_stored(net, now_ms);
    revocations_load(net);
    net->shown_port = true;
    env->port(env->ctx, nwid, PORT_CREATE);
    network_show_status(net);
    network_request(net, now_ms);
    return 0;
}

int vl2_leave(struct vl2 *vl2, uint64_t nwid, int64_t now_ms)
{
    const struct engine_env *env = vl2->env;
    struct network *net = vl2_find(vl2, nwid);

    vl2->now_ms = now_ms;
    if (net == NULL) {
        return -ENOENT;
    }
    hmap_remove(&vl2->networks, &net->node);
    groups_drop_network(vl2, nwid);
    network_free(net);
    env->port(env->ctx, nwid, PORT_DESTROY);
    env->state_erase(env->ctx, STATE_NETWORK, nwid);
    env->state_erase(env->ctx, STATE_REVOCATIONS, nwid);
    return 0;
}

size_t vl2_networks(const struct vl2 *vl2, uint64_t *out, size_t cap)
{
    uint64_t *ids = out;
    size_t count = 0;

    if (vl2->networks.count > cap) {
        /* A prefix of the sorted list needs all of it. */
        ids = malloc(vl2->networks.count * sizeof(*ids));
        if (ids == NULL) {
            return vl2->networks.count;
        }
    }
    for (struct hmap_node *n = hmap_each(&vl2->networks, NULL); n != NULL;
         n = hmap_each(&vl2->networks, n)) {
        ids[count++] = n->key;
    }
    if (count > 1) {
        qsort(ids, count, sizeof(*ids), cmp_u64);
    }
    if (ids != out) {
        if (cap > 0) {
            memcpy(out, ids, cap * sizeof(*out));
        }
        free(ids);
    }
    return count;
}

int vl2_network_get(const struct vl2 *vl2, uint64_t nwid, struct node_network_info *ret)
{
    const struct network *net = vl2_find(vl2, nwid);
    const struct netconf_sso *sso;

    if (net == NULL) {
        return -ENOENT;
    }
    sso = net->sso != NULL ? net->sso : net->conf.sso;
    *ret = (struct node_network_info){
        .nwid = nwid,
        .mac = net->mac,
        .status = network_status(net),
        .port_error = net->port_error,
        .mtu = network_mtu(net),
        .config = net->has_conf ? &net->conf : NULL,
        .groups = net->groups,
        .group_count = net->group_count,
        .frames = net->frames,
        .sso = sso,
        .auth_expiry_ms = sso != NULL ? sso->auth_expiry : 0,
    };
    if (sso != NULL && sso->auth_url != NULL && strlen(sso->auth_url) < sizeof(ret->auth_url)) {
        memcpy(ret->auth_url, sso->auth_url, strlen(sso->auth_url) + 1);
    }
    return 0;
}

void vl2_port_result(struct vl2 *vl2, uint64_t nwid, int error, int64_t now_ms)
{
    struct network *net = vl2_find(vl2, nwid);

    vl2->now_ms = now_ms;
    if (net != NULL) {
        net->port_error = error;
        network_show_status(net);
    }
}

void vl2_set_controller(struct vl2 *vl2, const struct node_controller *controller)
{
    vl2->has_controller = controller != NULL;
    vl2->controller = controller != NULL ? *controller : (struct node_controller){0};
    for (struct hmap_node *n = hmap_each(&vl2->networks, NULL); n != NULL;
         n = hmap_each(&vl2->networks, n)) {
        struct network *net = CONTAINER_OF(n, struct network, node);

        if (net->controller == vl2->self && vl2->has_controller &&
            timers_arm(vl2->timers, &net->request_timer, vl2->now_ms) != 0) {
            vl2_count(vl2, COUNT_NO_MEMORY);
        }
    }
}
