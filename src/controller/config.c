/* Builds the configuration of a member and signs what belongs to it. Source: spec 04 sections 4.6,
 * 4.7; 12.6, 12.14, 12.17, 12.21, 12.22, 12.25. */
#include "controller/assign.h"
#include "controller/coerce.h"
#include "controller/controller_priv.h"
#include "controller/sso_priv.h"

#include <errno.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>

/* A configuration being built: the struct to encode and the memory behind its lists. */
struct build {
    struct netconf conf;
    struct com com;
    struct tag tags[TAGS_MAX];
    struct capability *caps[CAPABILITIES_MAX];
    const struct cap_def *cap_defs[CAPABILITIES_MAX]; /* what caps are made of */
    struct ownership ownerships[OWNERSHIPS_MAX];
    struct inetaddr addresses[NETCONF_ADDRESSES_MAX];
    uint64_t specialists[NETCONF_SPECIALISTS_MAX];
    struct rule accept; /* the only rule for nodes without rules engine */
    struct netconf_dns dns;
};

/* Tags of the member and defaults of the network it lacks, ascending, unsigned. */
static void collect_tags(struct build *b, const struct cmember *m)
{
    const struct plan *plan = &m->net->plan;
    size_t mine = 0;
    size_t def = 0;
    size_t n = 0;
    while (n < TAGS_MAX && (mine < m->tag_count || def < plan->tag_count)) {
        bool take_mine = def == plan->tag_count ||
                         (mine < m->tag_count && m->tags[mine].id <= plan->tags[def].id);
        if (take_mine) {
            if (def < plan->tag_count && plan->tags[def].id == m->tags[mine].id) {
                def++;
            }
            b->tags[n].id = m->tags[mine].id;
            b->tags[n++].value = m->tags[mine++].value;
        } else {
            if (plan->tags[def].has_default) {
                b->tags[n].id = plan->tags[def].id;
                b->tags[n++].value = plan->tags[def].value;
            }
            def++;
        }
    }
    b->conf.tags = n > 0 ? b->tags : NULL;
    b->conf.tag_count = (uint16_t)n;
}

static void collect_caps(struct build *b, const struct cmember *m)
{
    const struct plan *plan = &m->net->plan;
    size_t def = 0;
    size_t n = 0;
    for (size_t i = 0; i < m->cap_count && n < CAPABILITIES_MAX; i++) {
        while (def < plan->cap_count && plan->caps[def].id < m->caps[i]) {
            def++;
        }
        if (def < plan->cap_count && plan->caps[def].id == m->caps[i]) {
            b->cap_defs[n++] = &plan->caps[def];
        }
    }
    b->conf.capability_count = (uint16_t)n;
}

static int collect_specialists(struct build *b, struct cnetwork *net)
{
    const uint64_t *bridges = NULL;
    size_t count = 0;
    int error = network_bridges(net, &bridges, &count);
    if (error != 0) {
        return error;
    }
    count = count < NETCONF_SPECIALISTS_MAX ? count : NETCONF_SPECIALISTS_MAX;
    for (size_t i = 0; i < count; i++) {
        b->specialists[i] = bridges[i] | SPECIALIST_BRIDGE;
    }
    b->conf.specialists = count > 0 ? b->specialists : NULL;
    b->conf.specialist_count = (uint16_t)count;
    return 0;
}

static void collect_rules(struct build *b, const struct cmember *m)
{
    const struct plan *plan = &m->net->plan;
    if (m->rules_revision == 0) {
        b->accept.type = RULE_ACCEPT;
        b->conf.rules = &b->accept;
        b->conf.rule_count = 1;
        return;
    }
    b->conf.rules = plan->rule_count > 0 ? plan->rules : NULL;
    b->conf.rule_count = plan->rule_count;
    collect_tags(b, m);
    collect_caps(b, m);
}

static void collect_trace(struct netconf *conf, const struct cmember *m)
{
    if (m->trace_target[0] != '\0') {
        conf->trace_target = hex_prefix(m->trace_target) & UINT64_C(0xffffffffff);
        conf->trace_level = m->trace_level;
    } else {
        conf->trace_target = m->net->plan.trace_target;
        conf->trace_level = m->net->plan.trace_level;
    }
}

/* Everything but time stamp, revision and credentials. */
static int collect(struct build *b, struct cmember *m)
{
    const struct plan *plan = &m->net->plan;
    struct netconf *conf = &b->conf;
    bool ndp = false;
    conf->network_id = m->net->nwid;
    conf->window = plan->window_ms;
    conf->member = m->address;
    conf->multicast_limit = plan->multicast_limit;
    conf->type = plan->is_private ? NETCONF_TYPE_PRIVATE : NETCONF_TYPE_PUBLIC;
    conf->mtu = plan->mtu;
    memcpy(conf->name, plan->name, sizeof(conf->name));
    conf->routes = plan->route_count > 0 ? plan->routes : NULL;
    conf->route_count = plan->route_count;
    conf->address_count = (uint16_t)assign_addresses(m, b->addresses, &ndp);
    conf->addresses = conf->address_count > 0 ? b->addresses : NULL;
    conf->flags = (plan->broadcast ? NETCONF_FLAG_BROADCAST : 0) | (ndp ? NETCONF_FLAG_NDP : 0);
    b->dns = plan->dns;
    conf->dns = &b->dns;
    collect_trace(conf, m);
    collect_rules(b, m);
    return collect_specialists(b, m->net);
}

/* Encode; *ret is malloc'd. */
static int encode(const struct netconf *conf, char **ret, size_t *ret_len)
{
    size_t cap = netconf_encode_bound(conf);
    char *text = malloc(cap);
    if (text == NULL) {
        return -ENOMEM;
    }
    int error = netconf_encode(conf, text, cap, ret_len);
    if (error != 0) {
        free(text);
        return error;
    }
    *ret = text;
    return 0;
}

static void hash_rules(crypto_generichash_state *state, const struct rule *rules, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        uint8_t bytes[RULE_WIRE_MAX];
        struct wr w = wr_init(bytes, sizeof(bytes));
        rule_write(&w, &rules[i]);
        crypto_generichash_update(state, bytes, wr_len(&w));
    }
}

/* Digest of all a member would notice, credentials by their content. */
static int content_hash(const struct build *b, const struct cmember *m, uint64_t *ret)
{
    struct netconf bare = b->conf;
    bare.tags = NULL;
    bare.tag_count = 0;
    bare.capabilities = NULL;
    bare.capability_count = 0;
    char *text = NULL;
    size_t len = 0;
    int error = encode(&bare, &text, &len);
    if (error != 0) {
        return error;
    }
    crypto_generichash_state state;
    crypto_generichash_init(&state, NULL, 0, crypto_generichash_BYTES_MIN);
    crypto_generichash_update(&state, (const uint8_t *)text, len);
    free(text);
    crypto_generichash_update(&state, m->pub, sizeof(m->pub)); /* certificates are bound to it */
    for (size_t i = 0; i < b->conf.tag_count; i++) {
        uint8_t bytes[8];
        be32_put(bytes, b->tags[i].id);
        be32_put(bytes + 4, b->tags[i].value);
        crypto_generichash_update(&state, bytes, sizeof(bytes));
    }
    for (size_t i = 0; i < b->conf.capability_count; i++) {
        uint8_t bytes[8];
        be32_put(bytes, b->cap_defs[i]->id);
        be32_put(bytes + 4, b->cap_defs[i]->rule_count);
        crypto_generichash_update(&state, bytes, sizeof(bytes));
        hash_rules(&state, b->cap_defs[i]->rules, b->cap_defs[i]->rule_count);
    }
    uint8_t digest[crypto_generichash_BYTES_MIN];
    crypto_generichash_final(&state, digest, sizeof(digest));
    *ret = be64_get(digest) | 1; /* never "none" */
    return 0;
}

static int sign_ownerships(struct build *b, const struct cmember *m, const struct identity *signer)
{
    size_t n = 0;
    for (size_t i = 0; i < b->conf.address_count; i++) {
        if (i % OWNERSHIP_THINGS_MAX == 0) {
            if (n == OWNERSHIPS_MAX) {
                break;
            }
            b->ownerships[n] = (struct ownership){.network_id = m->net->nwid,
                                                  .timestamp = b->conf.timestamp,
                                                  .holder = m->address,
                                                  .id = (uint32_t)n + 1};
            n++;
        }
        const struct inetaddr *ip = &b->addresses[i];
        int error = ownership_add_ip(&b->ownerships[n - 1], ip->ip, inetaddr_ip_len(ip));
        if (error != 0) {
            return error;
        }
    }
    for (size_t i = 0; i < n; i++) {
        ownership_sign(&b->ownerships[i], signer);
    }
    b->conf.ownerships = n > 0 ? b->ownerships : NULL;
    b->conf.ownership_count = (uint16_t)n;
    return 0;
}

static int sign_all(struct build *b, const struct cmember *m, const struct identity *signer)
{
    struct identity holder;
    uint64_t ts = b->conf.timestamp;
    member_identity(m, &holder);
    com_make(&b->com, ts, b->conf.window, m->net->nwid, &holder);
    com_sign(&b->com, signer);
    b->conf.com = &b->com;
    for (size_t i = 0; i < b->conf.tag_count; i++) {
        b->tags[i].network_id = m->net->nwid;
        b->tags[i].timestamp = ts;
        b->tags[i].holder = m->address;
        tag_sign(&b->tags[i], signer);
    }
    for (size_t i = 0; i < b->conf.capability_count; i++) {
        const struct cap_def *def = b->cap_defs[i];
        b->caps[i] = capability_make(m->net->nwid, ts, def->id, def->rules, def->rule_count);
        if (b->caps[i] == NULL || capability_sign(b->caps[i], signer, m->address) != 0) {
            return -ENOMEM;
        }
    }
    b->conf.capabilities = b->conf.capability_count > 0 ? b->caps : NULL;
    return sign_ownerships(b, m, signer);
}

/* Sign and encode; *ret is malloc'd. */
static int make(struct controller *c, struct build *b, const struct cmember *m, char **ret,
                size_t *ret_len)
{
    b->conf.revision = m->net->plan.revision;
    int error = sign_all(b, m, &c->identity);
    if (error == 0) {
        error = encode(&b->conf, ret, ret_len);
    }
    c->counts.signatures +=
        1 + (uint64_t)b->conf.tag_count + b->conf.capability_count + b->conf.ownership_count;
    for (size_t i = 0; i < b->conf.capability_count; i++) {
        capability_free(b->caps[i]);
    }
    return error;
}

/* Send what this member got lately, or a new configuration. */
static int issue(struct controller *c, struct build *b, struct cmember *m, uint64_t hash,
                 uint64_t request_id, int64_t now_ms)
{
    const struct reuse_key key = {.nwid = m->net->nwid,
                                  .address = m->address,
                                  .hash = hash,
                                  .revision = m->net->plan.revision};
    const char *kept = NULL;
    char *text = NULL;
    size_t len = 0;
    uint64_t ts = controller_timestamp(c, now_ms);
    if (reuse_find(c, &key, b->conf.window, ts, &kept, &len)) {
        c->counts.configs_reused++;
        return c->env.send_config(c->env.ctx, key.nwid, key.address, request_id, kept, len, now_ms);
    }
    b->conf.timestamp = ts;
    int error = make(c, b, m, &text, &len);
    if (error != 0) {
        return error;
    }
    error = c->env.send_config(c->env.ctx, key.nwid, key.address, request_id, text, len, now_ms);
    reuse_keep(c, &key, ts, text, len);
    return error;
}

int config_send(struct controller *c, struct cmember *m, uint64_t request_id, int64_t now_ms)
{
    if (!controller_serves(c)) {
        return -ESHUTDOWN;
    }
    struct build *b = calloc(1, sizeof(*b));
    if (b == NULL) {
        return -ENOMEM;
    }
    uint64_t hash = 0;
    int result = collect(b, m);
    b->conf.sso = sso_config(c, m, now_ms);
    if (result == 0) {
        result = content_hash(b, m, &hash);
    }
    if (result == 0 && (request_id != 0 || hash != m->sent_hash)) {
        result = issue(c, b, m, hash, request_id, now_ms);
        if (result == 0) {
            m->sent_hash = hash;
            result = 1;
        }
    }
    free(b);
    return result;
}
