/* What workers of the data path need to handle unicast frames of known members by themselves:
 * published after the engine handled such a frame, withdrawn by whatever may change a decision.
 * Objects hold copies and IDs, no pointers into vl2. Nothing is published while vl1 publishes
 * nothing. Source: data path contract sections 1 to 4, spec 03 sections 7 to 10. */
#include "vl2/vl2_priv.h"

#include "datapath/published.h"

#include <stdlib.h>

/* ---- what was decided ---- */

/* The verdict about a member that holds now: nothing is looked up or judged anew. */
static bool is_allowed(const struct network *net, const struct member *m)
{
    return net->is_public ||
           (m->com != NULL && net->conf.com != NULL && m->judged == net->generation && m->allowed);
}

/* As member_refused, where a certificate that could not be judged yet counts as refused. */
static bool is_refused(const struct network *net, const struct member *m)
{
    return m->com != NULL && net->conf.com != NULL && !is_allowed(net, m);
}

/* What frames from and to a member would need nothing but what is published for. The first frame of
 * somebody not heard of before is the engine's: it has effects. */
static unsigned access_of(struct network *net, const struct member *m, int64_t now_ms)
{
    uint64_t mac = mac_of_member(net->id, m->node.key);
    unsigned access = 0;

    if (m->heard && is_allowed(net, m)) {
        access |= DP_ACCESS_IN;
    }
    if (!is_refused(net, m) && !push_is_due(net, m, now_ms) && bridge_of(net, mac, now_ms) == 0) {
        access |= DP_ACCESS_OUT;
    }
    return access;
}

/* Traits of what is evaluated before `t`, and of every capability. */
static struct filter_traits join(struct filter_traits t, const struct filter_credentials *creds)
{
    for (size_t i = 0; i < creds->capability_count; i++) {
        const struct filter_capability *cap = &creds->capabilities[i];

        t = filter_traits_join(t, filter_classify(cap->rules, cap->rule_count));
    }
    return t;
}

/* ---- publishing ---- */

/* Find or publish; NULL: no memory or no room. */
static struct dp_port *port_publish(struct published *pub, const struct network *net)
{
    struct dp_port *port = dp_port_find(pub, net->id);
    struct filter_network *filter;

    if (port != NULL || net->captured || trace_wants_frames(net) || !published_has_room(pub)) {
        return port;
    }
    filter = filter_network_copy(&net->filter);
    port = filter != NULL ? dp_port_new(pub, net->id) : NULL;
    if (port == NULL) {
        free(filter);
        return NULL;
    }
    port->is_public = net->is_public;
    port->is_bridge = net->is_bridge;
    port->multicast = net->conf.multicast_limit != 0;
    port->mac = net->mac;
    port->mtu = network_mtu(net);
    port->mss_mtu = net->mss_mtu;
    port->filter = filter;
    port->traits = join(filter_classify(filter->rules, filter->rule_count), &filter->own);
    dp_port_publish(port);
    return dp_port_find(pub, net->id);
}

static void make_member(struct published *pub, struct dp_port *port, const struct member *m,
                        unsigned access)
{
    struct filter_credentials *creds;
    struct dp_member *member;

    if (!published_has_room(pub)) {
        return;
    }
    creds = filter_credentials_copy(&m->creds);
    member = creds != NULL ? dp_member_new(pub, port, m->node.key) : NULL;
    if (member == NULL) {
        free(creds);
        return;
    }
    atomic_init(&member->access, access);
    member->is_bridge = network_is_bridge(m->network, m->node.key);
    member->creds = creds;
    member->traits = join(port->traits, creds);
    dp_member_publish(port, member);
}

/* The record of somebody a frame was sent to. On public networks there may be none: one is made for
 * peers with a session only, or frames to addresses that nobody has would fill the table. */
static struct member *record_of(const struct published *pub, struct network *net, uint64_t address,
                                int64_t now_ms)
{
    struct member *m = member_find(net, address);

    if (m == NULL && dp_session_find(pub, address) != NULL) {
        m = member_get(net, address, now_ms);
    }
    return m;
}

void member_publish(struct network *net, uint64_t address, int64_t now_ms)
{
    struct published *pub = vl1_published(net->vl2->vl1);
    struct dp_member *old;
    struct dp_port *port;
    struct member *m;
    unsigned access;
    unsigned had = 0;

    if (pub == NULL) {
        return;
    }
    m = record_of(pub, net, address, now_ms);
    port = m != NULL ? port_publish(pub, net) : NULL;
    if (port == NULL) {
        return;
    }
    access = access_of(net, m, now_ms);
    old = dp_member_find(port, address);
    if (old != NULL) {
        /* A right that is gone is taken in place: it must not wait for memory. */
        had = atomic_fetch_and(&old->access, access);
    }
    if ((access & ~had) != 0) {
        make_member(pub, port, m, access);
    }
}

/* ---- withdrawing ---- */

void port_withdraw(const struct network *net)
{
    struct published *pub = vl1_published(net->vl2->vl1);

    if (pub != NULL) {
        dp_port_withdraw(pub, net->id);
    }
}

void member_withdraw(const struct network *net, uint64_t address)
{
    struct published *pub = vl1_published(net->vl2->vl1);
    struct dp_port *port = pub != NULL ? dp_port_find(pub, net->id) : NULL;

    if (port != NULL) {
        dp_member_withdraw(port, address);
    }
}

void vl2_port_mss(struct vl2 *vl2, uint64_t nwid, uint32_t mtu)
{
    struct network *net = vl2_find(vl2, nwid);

    if (net != NULL && net->mss_mtu != mtu) {
        net->mss_mtu = mtu;
        port_withdraw(net);
    }
}

void vl2_limit_changed(struct vl2 *vl2)
{
    for (struct hmap_node *n = hmap_each(&vl2->networks, NULL); n != NULL;
         n = hmap_each(&vl2->networks, n)) {
        port_withdraw(CONTAINER_OF(n, struct network, node));
    }
}

/* ---- what flows back ---- */

/* Add what a word of all cells grew to since it was folded. */
static void fold(uint64_t *total, uint64_t *folded, uint64_t now)
{
    *total += now - *folded;
    *folded = now;
}

static void harvest_port(struct vl2 *vl2, struct dp_port *port)
{
    struct network *net = vl2_find(vl2, port->object.node.key);
    uint64_t sums[4] = {0};

    for (unsigned w = 0; w < port->object.pub->workers; w++) {
        struct port_cell *cell = &port->cells[w];

        for (unsigned i = 0; i < 2; i++) {
            sums[i] += atomic_load_explicit(&cell->in[i], memory_order_relaxed);
            sums[2 + i] += atomic_load_explicit(&cell->out[i], memory_order_relaxed);
        }
    }
    for (unsigned i = 0; net != NULL && i < 2; i++) {
        fold(&net->frames.in[i], &port->folded[i], sums[i]);
        fold(&net->frames.out[i], &port->folded[2 + i], sums[2 + i]);
    }
}

/* Do for the frames that workers handled what the engine does with each of its own; by the times
 * of frames: this may be the last look at an object that was withdrawn long after them. Only what
 * fell due by time: all else withdraws, and the next frame comes to the engine. */
static void harvest_member(struct vl2 *vl2, const struct dp_member *object, int64_t now_ms)
{
    struct network *net = vl2_find(vl2, object->nwid);
    struct member *m = net != NULL ? member_find(net, object->object.node.key) : NULL;
    int64_t in_ms = 0;
    int64_t out_ms = 0;

    if (m == NULL || !net->has_conf) {
        return;
    }
    for (unsigned w = 0; w < object->object.pub->workers; w++) {
        int64_t in = atomic_load_explicit(&object->cells[w].in_ms, memory_order_relaxed);
        int64_t out = atomic_load_explicit(&object->cells[w].out_ms, memory_order_relaxed);

        in_ms = in > in_ms ? in : in_ms;
        out_ms = out > out_ms ? out : out_ms;
    }
    member_touch(m, in_ms > out_ms ? in_ms : out_ms);
    if (in_ms != 0 && is_allowed(net, m)) {
        m->heard = true;
        if (m->last_announce_ms != NEVER && in_ms - m->last_announce_ms >= ANNOUNCE_MS) {
            announce_to_member(m, now_ms);
        }
    }
    if (m->last_push_ms >= net->conf_changed_ms && out_ms - m->last_push_ms > PUSH_MS &&
        !is_refused(net, m)) {
        (void)push_if_due(net, m, m->node.key, now_ms);
    }
}

void vl2_harvest_object(struct vl2 *vl2, struct dp_object *object, int64_t now_ms)
{
    vl2->now_ms = now_ms;
    if (object->kind == DP_PORT) {
        harvest_port(vl2, CONTAINER_OF(object, struct dp_port, object));
    } else if (object->kind == DP_MEMBER) {
        harvest_member(vl2, CONTAINER_OF(object, struct dp_member, object), now_ms);
    }
}

void vl2_harvest_counts(struct vl2 *vl2, const uint64_t counts[DP_COUNTS])
{
    vl2->counts[COUNT_RULES_IN] += counts[DP_DROP_RULES_IN];
    vl2->counts[COUNT_RULES_OUT] += counts[DP_DROP_RULES_OUT];
    vl2->counts[COUNT_TOO_BIG] += counts[DP_DROP_TOO_BIG];
    vl2->counts[COUNT_MALFORMED] += counts[DP_DROP_MALFORMED];
    vl2->counts[COUNT_HEADERS] += counts[DP_DROP_HEADERS];
}
