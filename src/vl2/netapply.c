/* A configuration takes effect: judged, compared with the present one, taken over, stored, told to
 * the port. Source: spec 03 sections 4.4 and 7.3 with Do better 1, 3, 4. */
#include "vl2/vl2_priv.h"

#include <errno.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>

enum {
    /* A configuration that differs only in time stamps is stored again after this time: it must
     * not get older than the smallest window of credentials. */
    STORE_MS = 240000,
};

/* ---- what the evaluator reads ---- */

struct own_views {
    struct filter_tag *tags;
    struct filter_ownership *ownerships;
    struct filter_capability *capabilities;
};

static void own_views_free(struct own_views *own)
{
    free(own->tags);
    free(own->ownerships);
    free(own->capabilities);
}

static int own_views_make(const struct netconf *conf, struct own_views *ret)
{
    struct own_views own = {
        .tags = calloc(conf->tag_count + 1u, sizeof(*own.tags)),
        .ownerships = calloc(conf->ownership_count + 1u, sizeof(*own.ownerships)),
        .capabilities = calloc(conf->capability_count + 1u, sizeof(*own.capabilities)),
    };

    if (own.tags == NULL || own.ownerships == NULL || own.capabilities == NULL) {
        own_views_free(&own);
        return -ENOMEM;
    }
    for (size_t i = 0; i < conf->tag_count; i++) {
        const struct tag *tag = &conf->tags[i];

        own.tags[i] =
            (struct filter_tag){.timestamp = tag->timestamp, .id = tag->id, .value = tag->value};
    }
    for (size_t i = 0; i < conf->ownership_count; i++) {
        const struct ownership *o = &conf->ownerships[i];

        own.ownerships[i] = (struct filter_ownership){
            .timestamp = o->timestamp, .things = o->things, .count = o->count};
    }
    for (size_t i = 0; i < conf->capability_count; i++) {
        const struct capability *cap = conf->capabilities[i];

        own.capabilities[i] = (struct filter_capability){.timestamp = cap->timestamp,
                                                         .rules = cap->rules,
                                                         .id = cap->id,
                                                         .rule_count = cap->rule_count};
    }
    *ret = own;
    return 0;
}

static void take_views(struct network *net, const struct own_views *own)
{
    const struct netconf *conf = &net->conf;

    net->own_tags = own->tags;
    net->own_ownerships = own->ownerships;
    net->own_capabilities = own->capabilities;
    net->filter = (struct filter_network){
        .network_id = net->id,
        .self = net->vl2->self,
        .timestamp = conf->timestamp,
        .window = conf->window,
        .flags = conf->flags,
        .rules = conf->rules,
        .addresses = conf->addresses,
        .rule_count = conf->rule_count,
        .address_count = conf->address_count,
        .own =
            {
                .tags = own->tags,
                .ownerships = own->ownerships,
                .capabilities = own->capabilities,
                .tag_count = conf->tag_count,
                .ownership_count = conf->ownership_count,
                .capability_count = conf->capability_count,
            },
    };
}

/* ---- contact with anchors and replicators ---- */

static void keep_contacts(struct network *net, int64_t now_ms)
{
    struct vl1 *vl1 = net->vl2->vl1;
    uint64_t *contacts = calloc(net->conf.specialist_count + 1u, sizeof(*contacts));
    size_t count = 0;

    if (contacts == NULL) {
        return;
    }
    for (size_t i = 0; i < net->conf.specialist_count; i++) {
        uint64_t address = net->conf.specialists[i] & UINT64_C(0xffffffffff);
        uint64_t roles = network_roles(net, address);

        if ((roles & (SPECIALIST_ANCHOR | SPECIALIST_REPLICATOR)) != 0 &&
            address != net->vl2->self && vl1_contact_keep(vl1, address, now_ms) == 0) {
            contacts[count++] = address;
        }
    }
    for (size_t i = 0; i < net->contact_count; i++) {
        vl1_contact_release(vl1, net->contacts[i]);
    }
    free(net->contacts);
    net->contacts = contacts;
    net->contact_count = count;
}

/* ---- comparing ---- */

static bool dns_equal(const struct netconf_dns *a, const struct netconf_dns *b)
{
    if (a == NULL || b == NULL) {
        return a == b;
    }
    for (size_t i = 0; i < NETCONF_DNS_SERVERS; i++) {
        if (!inetaddr_equal(&a->servers[i], &b->servers[i])) {
            return false;
        }
    }
    return strcmp(a->domain, b->domain) == 0;
}

/* Does the port look the same under both? */
static bool port_equal(const struct netconf *a, const struct netconf *b)
{
    if (a->mtu != b->mtu || a->type != b->type || a->flags != b->flags ||
        a->address_count != b->address_count || a->route_count != b->route_count ||
        strcmp(a->name, b->name) != 0 || !dns_equal(a->dns, b->dns)) {
        return false;
    }
    for (size_t i = 0; i < a->address_count; i++) {
        if (!inetaddr_equal(&a->addresses[i], &b->addresses[i])) {
            return false;
        }
    }
    for (size_t i = 0; i < a->route_count; i++) {
        const struct netconf_route *x = &a->routes[i];
        const struct netconf_route *y = &b->routes[i];

        if (!inetaddr_equal(&x->target, &y->target) || !inetaddr_equal(&x->via, &y->via) ||
            x->flags != y->flags || x->metric != y->metric) {
            return false;
        }
    }
    return true;
}

static bool is_older(const struct netconf *a, const struct netconf *b)
{
    return a->timestamp < b->timestamp ||
           (a->timestamp == b->timestamp && a->revision < b->revision);
}

/* ---- taking over ---- */

void network_conf_clear(struct network *net)
{
    struct own_views own = {net->own_tags, net->own_ownerships, net->own_capabilities};

    port_withdraw(net);
    own_views_free(&own);
    net->own_tags = NULL;
    net->own_ownerships = NULL;
    net->own_capabilities = NULL;
    netconf_free(&net->conf);
    net->has_conf = false;
}

/* conf is taken on success. */
static int take_conf(struct network *net, struct netconf *conf, int64_t now_ms)
{
    const struct engine_env *env = net->vl2->env;
    bool first = !net->has_conf;
    bool same_port = !first && port_equal(&net->conf, conf);
    bool was_traced = trace_wants_frames(net);
    struct own_views own;
    uint64_t roles;

    if (own_views_make(conf, &own) != 0) {
        return -ENOMEM;
    }
    network_conf_clear(net);
    net->conf = *conf;
    net->has_conf = true;
    take_views(net, &own);
    roles = network_roles(net, net->vl2->self);
    net->is_public = conf->type == NETCONF_TYPE_PUBLIC;
    net->is_bridge = (roles & SPECIALIST_BRIDGE) != 0;
    net->is_replicator = (roles & SPECIALIST_REPLICATOR) != 0;
    net->generation++;
    net->conf_changed_ms = now_ms;
    keep_contacts(net, now_ms);
    if (trace_wants_frames(net) && !was_traced) {
        engine_log(env, LOG_LEVEL_WARN,
                   "vl2: the controller has decisions about frames, and their beginnings, told to "
                   "%010llx network=%016llx",
                   (unsigned long long)conf->trace_target, (unsigned long long)net->id);
    }
    if (net->shown_port && !same_port) {
        env->port(env->ctx, net->id, PORT_CONFIG);
    }
    if (announce_update(net, now_ms) != 0) {
        vl2_count(net->vl2, COUNT_NO_MEMORY);
    }
    if (first) {
        announce_all(net, now_ms);
    }
    return 0;
}

static void store(struct network *net, const char *text, size_t len, bool urgent, int64_t now_ms)
{
    const struct engine_env *env = net->vl2->env;

    if (urgent || net->conf_stored_ms == NEVER || now_ms - net->conf_stored_ms >= STORE_MS) {
        net->conf_stored_ms = now_ms;
        env->state_store(env->ctx, STATE_NETWORK, net->id, text, len);
    }
}

/* The controller has just spoken for us. */
static void confirm(struct network *net, int64_t now_ms)
{
    net->conf_confirmed_ms = now_ms;
    net->outstanding = false;
    net->attempts = 0;
    network_set_failure(net, NETWORK_REQUESTING_CONFIGURATION, now_ms);
    network_schedule_request(net, now_ms);
}

/* conf is taken on success. */
static int replace(struct network *net, struct netconf *conf, const char *text, size_t len,
                   enum config_source source, int64_t now_ms)
{
    bool older = net->has_conf && is_older(conf, &net->conf);
    bool urgent =
        !net->has_conf || conf->revision != net->conf.revision || !port_equal(&net->conf, conf);
    int err;

    if (older && source != CONFIG_ANSWERED) {
        return -ESTALE;
    }
    if (older) {
        engine_log(net->vl2->env, LOG_LEVEL_WARN,
                   "vl2: controller answers with an older configuration network=%016llx ts=%llu "
                   "present=%llu",
                   (unsigned long long)net->id, (unsigned long long)conf->timestamp,
                   (unsigned long long)net->conf.timestamp);
        /* The controller's clock was set back: certificates of others from before would for ever
         * count as newer than the ones they have now. */
        members_clear(net);
    }
    err = take_conf(net, conf, now_ms);
    if (err != 0) {
        return err;
    }
    if (source == CONFIG_STORED) {
        return 0;
    }
    store(net, text, len, urgent, now_ms);
    confirm(net, now_ms);
    return 0;
}

int network_apply(struct network *net, const char *text, size_t len, enum config_source source,
                  int64_t now_ms)
{
    uint8_t hash[sizeof(net->conf_hash)];
    struct netconf conf;
    int err = netconf_decode(text, len, &conf);

    if (err == 0 && (conf.member != net->vl2->self || conf.network_id != net->id)) {
        err = -EACCES;
        netconf_free(&conf);
    }
    if (err != 0) {
        vl2_count(net->vl2, COUNT_CONFIG_REFUSED);
        return err;
    }
    crypto_generichash(hash, sizeof(hash), (const uint8_t *)text, len, NULL, 0);
    if (net->has_conf && memcmp(hash, net->conf_hash, sizeof(hash)) == 0) {
        netconf_free(&conf);
        if (source != CONFIG_RELAYED) {
            confirm(net, now_ms);
        }
        return 0;
    }
    err = replace(net, &conf, text, len, source, now_ms);
    if (err != 0) {
        netconf_free(&conf);
        vl2_count(net->vl2, COUNT_CONFIG_REFUSED);
        return err;
    }
    memcpy(net->conf_hash, hash, sizeof(hash));
    return 0;
}

int network_apply_adhoc(struct network *net, int64_t now_ms)
{
    struct netconf conf;
    int err = adhoc_config(net->id, net->vl2->self, vl1_wall(net->vl2->vl1, now_ms), &conf);

    if (err != 0) {
        return err;
    }
    err = take_conf(net, &conf, now_ms);
    if (err != 0) {
        netconf_free(&conf);
        return err;
    }
    network_show_status(net);
    return 0;
}
