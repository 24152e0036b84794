/* Our credentials on their way to members. Receivers look at one NETWORK_CREDENTIALS packet per
 * second and peer, so everything for one peer, of all networks, goes into as few packets as it
 * needs, at least 1100 ms apart. A peer that asks for them has not received the last packet, or has
 * restarted: it gets one more at once. Source: spec 03 sections 7.5 and 7.6 with Do better 9, 27.
 */
#include "vl2/vl2_priv.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum {
    LINKS_MAX = 65536,       /* peers pushed to within the last 1100 ms, or waiting */
    LINK_NETWORKS_MAX = 256, /* networks waiting to be pushed to one peer */
    LINK_REVOCATIONS_MAX = 256,
    REQUEST_MS = 100, /* least age of the last push that is repeated on request */
};

/* Copies of credentials that are being sent, perhaps in several packets. */
struct push_batch {
    struct credentials_set set; /* views of the arrays below */
    size_t next;                /* first item not sent yet */
    struct com *coms;
    struct capability **capabilities;
    struct tag *tags;
    struct ownership *ownerships;
    struct revocation *revocations;
};

static struct push_link *of_order(struct list *link)
{
    return CONTAINER_OF(link, struct push_link, order);
}

/* ---- batches ---- */

static void batch_free(struct push_batch *batch)
{
    if (batch == NULL) {
        return;
    }
    for (size_t i = 0; i < batch->set.capability_count; i++) {
        capability_free(batch->capabilities[i]);
    }
    free(batch->coms);
    free(batch->capabilities);
    free(batch->tags);
    free(batch->ownerships);
    free(batch->revocations);
    free(batch);
}

static void batch_add_network(struct push_batch *batch, const struct netconf *conf)
{
    struct credentials_set *s = &batch->set;

    if (conf->com != NULL) {
        batch->coms[s->com_count++] = *conf->com;
    }
    for (size_t i = 0; i < conf->capability_count; i++) {
        struct capability *copy = capability_dup(conf->capabilities[i]);

        if (copy != NULL) {
            batch->capabilities[s->capability_count++] = copy;
        }
    }
    for (size_t i = 0; i < conf->tag_count; i++) {
        batch->tags[s->tag_count++] = conf->tags[i];
    }
    for (size_t i = 0; i < conf->ownership_count; i++) {
        batch->ownerships[s->ownership_count++] = conf->ownerships[i];
    }
}

/* Room for what waits on a link. False: out of memory. */
static bool batch_alloc(struct vl2 *vl2, struct push_batch *batch, const struct push_link *link)
{
    size_t capabilities = 1;
    size_t tags = 1;
    size_t ownerships = 1;

    for (size_t i = 0; i < link->network_count; i++) {
        const struct network *net = vl2_find(vl2, link->networks[i]);

        if (net != NULL) {
            capabilities += net->conf.capability_count;
            tags += net->conf.tag_count;
            ownerships += net->conf.ownership_count;
        }
    }
    batch->coms = calloc(link->network_count + 1, sizeof(*batch->coms));
    batch->capabilities = calloc(capabilities, sizeof(struct capability *));
    batch->tags = calloc(tags, sizeof(*batch->tags));
    batch->ownerships = calloc(ownerships, sizeof(*batch->ownerships));
    batch->set.coms = batch->coms;
    batch->set.capabilities = batch->capabilities;
    batch->set.tags = batch->tags;
    batch->set.ownerships = batch->ownerships;
    return batch->coms != NULL && batch->capabilities != NULL && batch->tags != NULL &&
           batch->ownerships != NULL;
}

/* Take what waits on a link. NULL out of memory: it goes on waiting. */
static struct push_batch *batch_make(struct vl2 *vl2, struct push_link *link)
{
    struct push_batch *batch = calloc(1, sizeof(*batch));

    if (batch == NULL || !batch_alloc(vl2, batch, link)) {
        batch_free(batch);
        return NULL;
    }
    for (size_t i = 0; i < link->network_count; i++) {
        const struct network *net = vl2_find(vl2, link->networks[i]);

        if (net != NULL) {
            batch_add_network(batch, &net->conf);
        }
    }
    batch->revocations = link->revocations;
    batch->set.revocations = link->revocations;
    batch->set.revocation_count = link->revocation_count;
    link->revocations = NULL;
    link->revocation_count = 0;
    link->network_count = 0;
    return batch;
}

/* ---- links ---- */

static bool is_waiting(const struct push_link *link)
{
    return link->batch != NULL || link->network_count > 0 || link->revocation_count > 0;
}

static void link_free(struct vl2 *vl2, struct push_link *link)
{
    hmap_remove(&vl2->pushes.links, &link->node);
    list_remove(&link->order);
    batch_free(link->batch);
    free(link->networks);
    free(link->revocations);
    free(link);
}

static void arm(struct vl2 *vl2, int64_t now_ms)
{
    struct list *first = list_first(&vl2->pushes.order);
    int64_t at;

    if (first == NULL) {
        timers_cancel(vl2->timers, &vl2->pushes.timer);
        return;
    }
    at = of_order(first)->last_send_ms + PUSH_SPACING_MS;
    if (timers_arm(vl2->timers, &vl2->pushes.timer, at > now_ms ? at : now_ms + 1) != 0) {
        vl2_count(vl2, COUNT_NO_MEMORY);
    }
}

/* Send one packet of what waits. */
static void link_send(struct vl2 *vl2, struct push_link *link, int64_t now_ms)
{
    size_t limit = vl2_payload_limit(vl2, CREDENTIALS_PAYLOAD_MAX);
    struct out_packet out;
    size_t next;

    if (link->batch == NULL) {
        link->batch = batch_make(vl2, link);
        if (link->batch == NULL) {
            vl2_count(vl2, COUNT_NO_MEMORY);
            return;
        }
    }
    out_begin(vl2->vl1, &out, link->node.key, VERB_NETWORK_CREDENTIALS);
    if ((size_t)(out.w.end - out.w.p) > limit) {
        out.w.end = out.w.p + limit;
    }
    next = credentials_write(&out.w, &link->batch->set, link->batch->next);
    if (next > link->batch->next) {
        vl2_send(vl2, &out, OUT_COMPRESS, now_ms);
        link->last_send_ms = now_ms;
        list_remove(&link->order);
        list_push(&vl2->pushes.order, &link->order);
    } else {
        next = credentials_count(&link->batch->set); /* nothing, or an item larger than a packet */
    }
    link->batch->next = next;
    if (next == credentials_count(&link->batch->set)) {
        batch_free(link->batch);
        link->batch = NULL;
    }
}

static void spacing_over(struct timer *timer, int64_t now_ms)
{
    struct vl2 *vl2 = CONTAINER_OF(timer, struct vl2, pushes.timer);
    struct list *first;

    while ((first = list_first(&vl2->pushes.order)) != NULL) {
        struct push_link *link = of_order(first);

        if (now_ms - link->last_send_ms < PUSH_SPACING_MS) {
            break;
        }
        link->repeated = false;
        if (is_waiting(link)) {
            link_send(vl2, link, now_ms);
        }
        if (link->last_send_ms != now_ms && !is_waiting(link)) {
            link_free(vl2, link);
        } else if (link->last_send_ms != now_ms) { /* could not be sent: try again later */
            link->last_send_ms = now_ms;
            list_remove(&link->order);
            list_push(&vl2->pushes.order, &link->order);
        }
    }
    arm(vl2, now_ms);
}

static struct push_link *link_get(struct vl2 *vl2, uint64_t address)
{
    struct hmap_node *n = hmap_find(&vl2->pushes.links, address);
    struct push_link *link;

    if (n != NULL) {
        return CONTAINER_OF(n, struct push_link, node);
    }
    if (vl2->pushes.links.count >= LINKS_MAX) {
        vl2_count(vl2, COUNT_PUSH_FULL);
        return NULL;
    }
    link = calloc(1, sizeof(*link));
    if (link == NULL || hmap_insert(&vl2->pushes.links, &link->node, address) != 0) {
        vl2_count(vl2, COUNT_NO_MEMORY);
        free(link);
        return NULL;
    }
    link->last_send_ms = NEVER;
    list_init(&link->order);
    return link;
}

/* Something was added to a link: send it now if the spacing allows, or the peer asked for it. */
static void link_kick(struct vl2 *vl2, struct push_link *link, bool asked, int64_t now_ms)
{
    if (link->last_send_ms != NEVER) {
        if (!asked || link->repeated || link->batch != NULL ||
            now_ms - link->last_send_ms < REQUEST_MS) {
            return; /* the timer will */
        }
        link->repeated = true;
    }
    link_send(vl2, link, now_ms);
    if (link->last_send_ms == NEVER) { /* nothing to send after all */
        link_free(vl2, link);
    }
    arm(vl2, now_ms);
}

/* Note on a link that a network's credentials wait. False: no room or no memory. */
static bool link_add_network(struct push_link *link, uint64_t nwid)
{
    uint64_t *networks;

    for (size_t i = 0; i < link->network_count; i++) {
        if (link->networks[i] == nwid) {
            return true;
        }
    }
    if (link->network_count >= LINK_NETWORKS_MAX) {
        return false;
    }
    networks = realloc(link->networks, (link->network_count + 1) * sizeof(*networks));
    if (networks == NULL) {
        return false;
    }
    link->networks = networks;
    link->networks[link->network_count++] = nwid;
    return true;
}

/* ---- when ---- */

static bool has_credentials(const struct network *net)
{
    const struct netconf *c = &net->conf;

    return c->com != NULL || c->capability_count > 0 || c->tag_count > 0 || c->ownership_count > 0;
}

/* Other networks shared with this peer whose push is due go along in the same packet. */
static void add_others(struct network *net, struct push_link *link, int64_t now_ms)
{
    struct vl2 *vl2 = net->vl2;

    if (vl2->networks.count < 2) {
        return;
    }
    for (struct hmap_node *n = hmap_each(&vl2->networks, NULL); n != NULL;
         n = hmap_each(&vl2->networks, n)) {
        struct network *other = CONTAINER_OF(n, struct network, node);
        struct member *m = other != net ? member_find(other, link->node.key) : NULL;

        if (m != NULL && other->has_conf && has_credentials(other) &&
            m->last_push_ms < other->conf_changed_ms && link_add_network(link, other->id)) {
            m->last_push_ms = now_ms;
        }
    }
}

static void push_now(struct network *net, struct member *member, bool asked, int64_t now_ms)
{
    struct push_link *link = link_get(net->vl2, member->node.key);

    if (link == NULL) {
        return;
    }
    if (link_add_network(link, net->id)) {
        member->last_push_ms = now_ms;
        member_touch(member, now_ms);
        add_others(net, link, now_ms);
    } else {
        vl2_count(net->vl2, COUNT_PUSH_FULL);
    }
    link_kick(net->vl2, link, asked, now_ms);
}

bool push_is_due(const struct network *net, const struct member *member, int64_t now_ms)
{
    if (member != NULL && member->last_push_ms >= net->conf_changed_ms &&
        now_ms - member->last_push_ms <= PUSH_MS) {
        return false;
    }
    return has_credentials(net);
}

struct member *push_if_due(struct network *net, struct member *member, uint64_t address,
                           int64_t now_ms)
{
    if (!push_is_due(net, member, now_ms)) {
        return member;
    }
    if (member == NULL) {
        member = member_get(net, address, now_ms);
    }
    if (member != NULL) {
        push_now(net, member, false, now_ms);
    }
    return member;
}

void push_on_request(struct network *net, uint64_t address, int64_t now_ms)
{
    struct member *m = member_find(net, address);

    if (!net->has_conf || net->conf.com == NULL) {
        return;
    }
    if (m == NULL) {
        m = member_get(net, address, now_ms);
    }
    if (m != NULL &&
        (m->last_push_ms < net->conf_changed_ms || now_ms - m->last_push_ms > REQUEST_MS)) {
        push_now(net, m, true, now_ms);
    }
}

int push_revocations(struct vl2 *vl2, uint64_t address, const struct revocation *revs, size_t count,
                     int64_t now_ms)
{
    struct push_link *link = link_get(vl2, address);
    struct revocation *all;

    if (link == NULL) {
        return -ENOSPC;
    }
    all = link->revocation_count + count <= LINK_REVOCATIONS_MAX
              ? realloc(link->revocations, (link->revocation_count + count) * sizeof(*all))
              : NULL;
    if (all == NULL) {
        vl2_count(vl2, COUNT_PUSH_FULL);
        if (link->last_send_ms == NEVER) {
            link_free(vl2, link);
        }
        return -ENOMEM;
    }
    memcpy(all + link->revocation_count, revs, count * sizeof(*revs));
    link->revocations = all;
    link->revocation_count += count;
    link_kick(vl2, link, false, now_ms);
    return 0;
}

/* ---- life ---- */

void pushes_init(struct vl2 *vl2)
{
    hmap_init(&vl2->pushes.links, vl2->seed);
    list_init(&vl2->pushes.order);
    vl2->pushes.timer.fire = spacing_over;
}

void pushes_done(struct vl2 *vl2)
{
    struct hmap_node *n;

    timers_cancel(vl2->timers, &vl2->pushes.timer);
    while ((n = hmap_each(&vl2->pushes.links, NULL)) != NULL) {
        link_free(vl2, CONTAINER_OF(n, struct push_link, node));
    }
    hmap_done(&vl2->pushes.links);
}
