/* Revocations of membership. Each is signed once and shared. Per destination they are gathered and
 * sent at most once a second, because reference receivers drop what comes faster; everything is
 * repeated, because delivery is not acknowledged; members served later get what is still of use.
 * Source: spec 04 sections 4.12, 12.26. */
#include "controller/coerce.h"
#include "controller/controller_priv.h"

#include <errno.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

/* When a revocation is repeated, ms after it was issued. */
static const int64_t repeat_after_ms[] = {20000, 90000};

enum {
    BURST = 32, /* destinations at once: we may not live to serve more, but they spread it */
    FAREWELL_STEP = 50, /* members revoked per step */
    FAREWELL_STEP_MS = 100,
    FAREWELL_ROUNDS = 2,
    FAREWELL_PAUSE_MS = 20000,
};

/* What a destination still has to get. Stays for a second after the last packet. */
struct outbox {
    struct hmap_node node; /* by destination */
    struct controller *c;
    struct timer timer; /* next packet, or end */
    struct shared_revocation **queue;
    size_t count;
    size_t cap;
};

/* A revocation to be repeated to the members of a network. */
struct repeat {
    struct list link;
    struct controller *c;
    struct timer timer;
    int64_t issued_ms;
    size_t round;
    uint64_t nwid;
    uint32_t seq;
    struct shared_revocation *rev;
};

struct farewell {
    struct list link; /* in controller.farewells once started */
    struct controller *c;
    struct timer timer;
    uint64_t nwid;
    uint64_t threshold;
    uint64_t *targets;
    struct shared_revocation **revs; /* of the targets, NULL until signed */
    size_t target_count;
    uint64_t *dests;
    size_t dest_count;
    size_t pos; /* next target */
    unsigned round;
};

/* ---- outboxes ---- */

static void outbox_free(struct outbox *o)
{
    timers_cancel(&o->c->timers, &o->timer);
    hmap_remove(&o->c->outboxes, &o->node);
    for (size_t i = 0; i < o->count; i++) {
        shared_unref(o->queue[i]);
    }
    free(o->queue);
    free(o);
}

/* Forget the oldest n. */
static void outbox_drop(struct outbox *o, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        shared_unref(o->queue[i]);
    }
    o->count -= n;
    for (size_t i = 0; i < o->count; i++) {
        o->queue[i] = o->queue[i + n];
    }
}

static void outbox_send(struct outbox *o, int64_t now_ms)
{
    struct revocation packet[CONTROLLER_REVOCATIONS_PER_PACKET];
    size_t n = o->count < COUNT_OF(packet) ? o->count : COUNT_OF(packet);
    memset(packet, 0, sizeof(packet));
    for (size_t i = 0; i < n; i++) {
        packet[i] = o->queue[i]->revocation;
    }
    struct controller *c = o->c;
    if (controller_serves(c) &&
        c->env.send_revocations(c->env.ctx, o->node.key, packet, n, now_ms) == 0) {
        c->counts.revocation_packets++;
    }
    outbox_drop(o, n);
}

static void outbox_fire(struct timer *timer, int64_t now_ms)
{
    struct outbox *o = CONTAINER_OF(timer, struct outbox, timer);
    if (o->count == 0) {
        outbox_free(o);
        return;
    }
    outbox_send(o, now_ms);
    if (timers_arm(&o->c->timers, &o->timer, now_ms + CONTROLLER_REVOCATION_GAP_MS) != 0) {
        outbox_free(o);
    }
}

static struct outbox *outbox_get(struct controller *c, uint64_t dest, int64_t at_ms)
{
    struct hmap_node *it = hmap_find(&c->outboxes, dest);
    if (it != NULL) {
        return CONTAINER_OF(it, struct outbox, node);
    }
    struct outbox *o = calloc(1, sizeof(*o));
    if (o == NULL) {
        return NULL;
    }
    o->c = c;
    o->timer.fire = outbox_fire;
    if (hmap_insert(&c->outboxes, &o->node, dest) != 0) {
        free(o);
        return NULL;
    }
    if (timers_arm(&c->timers, &o->timer, at_ms) != 0) {
        outbox_free(o);
        return NULL;
    }
    return o;
}

static bool outbox_has(const struct outbox *o, const struct shared_revocation *rev)
{
    for (size_t i = 0; i < o->count; i++) {
        if (o->queue[i] == rev) {
            return true;
        }
    }
    return false;
}

/* Queue a revocation for a destination; not before at_ms. Out of memory loses it, as a packet could
 * be lost. */
static void outbox_add(struct controller *c, uint64_t dest, struct shared_revocation *rev,
                       int64_t at_ms)
{
    struct outbox *o = outbox_get(c, dest, at_ms);
    if (o == NULL || outbox_has(o, rev)) {
        return;
    }
    if (o->count == CONTROLLER_REVOCATION_QUEUE) {
        outbox_drop(o, 1);
    }
    if (o->count == o->cap) {
        size_t cap = o->cap == 0 ? 4 : o->cap * 2;
        struct shared_revocation **queue =
            realloc(o->queue, cap * sizeof(struct shared_revocation *));
        if (queue == NULL) {
            return;
        }
        o->queue = queue;
        o->cap = cap;
    }
    o->queue[o->count++] = shared_ref(rev);
}

/* ---- one revocation ---- */

static struct shared_revocation *sign(const struct identity *signer, uint64_t nwid, uint64_t target,
                                      uint64_t threshold, uint32_t id)
{
    struct shared_revocation *rev = calloc(1, sizeof(*rev));
    if (rev == NULL) {
        return NULL;
    }
    rev->refs = 1;
    rev->revocation.network_id = nwid;
    rev->revocation.threshold = threshold;
    rev->revocation.flags = REVOCATION_FAST;
    rev->revocation.target = target;
    rev->revocation.id = id;
    rev->revocation.type = CREDENTIAL_COM;
    revocation_sign(&rev->revocation, signer);
    return rev;
}

/* Put it in front of those kept (taken); an older one of the same member goes. */
static int keep(struct cnetwork *net, struct shared_revocation *rev)
{
    struct live_revocation *live = calloc(1, sizeof(*live));
    if (live == NULL) {
        shared_unref(rev);
        return -ENOMEM;
    }
    live->rev = rev;
    live->seq = ++net->revocation_seq;
    live->next = net->revocations;
    net->revocations = live;
    net->revocation_count++;
    struct live_revocation **place = &live->next;
    for (size_t n = 1; *place != NULL; n++) {
        struct live_revocation *old = *place;
        if (old->rev->revocation.target == rev->revocation.target ||
            n >= CONTROLLER_REVOCATIONS_KEPT) {
            *place = old->next;
            shared_unref(old->rev);
            free(old);
            net->revocation_count--;
            n--;
        } else {
            place = &old->next;
        }
    }
    return 0;
}

/* Queue for all members of the network that are online and could believe in the target. */
static void spread(struct controller *c, struct cnetwork *net, struct shared_revocation *rev,
                   uint32_t seq, int64_t now_ms)
{
    struct hmap_node *it = NULL;
    int64_t sent = 0;
    while ((it = hmap_each(&net->members, it)) != NULL) {
        struct cmember *m = CONTAINER_OF(it, struct cmember, node);
        if (m->authorized_ms == 0 || !member_is_online(m, now_ms)) {
            continue;
        }
        int64_t delay = sent / BURST * BURST * 1000 / CONTROLLER_REVOCATION_PACKETS_S;
        sent++;
        outbox_add(c, m->address, rev, now_ms + delay);
        if (m->revocation_seq + 1 == seq) {
            m->revocation_seq = seq;
        }
    }
}

static void repeat_free(struct repeat *r)
{
    timers_cancel(&r->c->timers, &r->timer);
    list_remove(&r->link);
    shared_unref(r->rev);
    free(r);
}

static void repeat_fire(struct timer *timer, int64_t now_ms)
{
    struct repeat *r = CONTAINER_OF(timer, struct repeat, timer);
    struct cnetwork *net = model_find(&r->c->model, r->nwid);
    if (net != NULL) {
        spread(r->c, net, r->rev, r->seq, now_ms);
        r->round++;
    }
    if (net == NULL || r->round == COUNT_OF(repeat_after_ms) ||
        timers_arm(&r->c->timers, timer, r->issued_ms + repeat_after_ms[r->round]) != 0) {
        repeat_free(r);
    }
}

static void repeat_later(struct controller *c, const struct cnetwork *net,
                         struct shared_revocation *rev, int64_t now_ms)
{
    struct repeat *r = calloc(1, sizeof(*r));
    if (r == NULL) {
        return;
    }
    r->c = c;
    r->timer.fire = repeat_fire;
    r->issued_ms = now_ms;
    r->nwid = net->nwid;
    r->seq = net->revocation_seq;
    r->rev = shared_ref(rev);
    list_push(&c->repeats, &r->link);
    if (timers_arm(&c->timers, &r->timer, now_ms + repeat_after_ms[0]) != 0) {
        repeat_free(r);
    }
}

/* A threshold that covers all credentials issued so far and none issued later. */
static uint64_t take_threshold(struct controller *c, int64_t now_ms)
{
    uint64_t threshold = controller_timestamp(c, now_ms);
    c->last_ts = threshold + 1;
    return threshold;
}

int revoke_member(struct controller *c, struct cnetwork *net, uint64_t address, struct store_tx *tx,
                  int64_t now_ms)
{
    uint32_t id;
    c->env.random(c->env.ctx, &id, sizeof(id));
    uint64_t threshold = take_threshold(c, now_ms);
    reuse_forget(c, net->nwid, address);
    json_t *doc = json_pack("{sIsI}", "threshold", (json_int_t)threshold, "id", (json_int_t)id);
    char *text = doc != NULL ? json_dumps(doc, JSON_COMPACT | JSON_SORT_KEYS) : NULL;
    json_decref(doc);
    if (text == NULL) {
        return -ENOMEM;
    }
    int error = store_tx_put(tx, STORE_REVOCATION, net->nwid, address, text);
    struct shared_revocation *rev =
        error == 0 ? sign(&c->identity, net->nwid, address, threshold, id) : NULL;
    if (rev == NULL || keep(net, rev) != 0) {
        return -ENOMEM;
    }
    spread(c, net, rev, net->revocation_seq, now_ms);
    repeat_later(c, net, rev, now_ms);
    return 0;
}

void revoke_hand_out(struct controller *c, struct cmember *m, int64_t now_ms)
{
    struct cnetwork *net = m->net;
    uint64_t horizon = 2 * net->plan.window_ms;
    size_t n = 0;
    for (struct live_revocation *live = net->revocations; live != NULL; live = live->next) {
        bool fresh = live->rev->revocation.threshold + horizon > c->last_ts;
        if (live->seq <= m->revocation_seq || !fresh || n == CONTROLLER_FAREWELL_COPIES) {
            break;
        }
        if (live->rev->revocation.target != m->address) {
            outbox_add(c, m->address, live->rev, now_ms);
            n++;
        }
    }
    m->revocation_seq = net->revocation_seq;
}

bool revoke_load(struct model *model, const struct identity *signer, uint64_t nwid, uint64_t node,
                 const json_t *doc, uint64_t wall_ms)
{
    struct cnetwork *net = model_find(model, nwid);
    uint64_t threshold = coerce_u64(json_object_get(doc, "threshold"), 0);
    uint32_t id = (uint32_t)coerce_u64(json_object_get(doc, "id"), 0);
    if (net == NULL || threshold + 2 * net->plan.window_ms <= wall_ms) {
        return false;
    }
    struct shared_revocation *rev = sign(signer, nwid, node, threshold, id);
    return rev != NULL && keep(net, rev) == 0;
}

/* ---- deleted networks ---- */

void farewell_free(struct farewell *f)
{
    if (f == NULL) {
        return;
    }
    timers_cancel(&f->c->timers, &f->timer);
    list_remove(&f->link);
    for (size_t i = 0; f->revs != NULL && i < f->target_count; i++) {
        shared_unref(f->revs[i]);
    }
    free(f->revs);
    free(f->targets);
    free(f->dests);
    free(f);
}

static void farewell_fire(struct timer *timer, int64_t now_ms)
{
    struct farewell *f = CONTAINER_OF(timer, struct farewell, timer);
    struct controller *c = f->c;
    size_t copies =
        f->dest_count < CONTROLLER_FAREWELL_COPIES ? f->dest_count : CONTROLLER_FAREWELL_COPIES;
    for (int i = 0; i < FAREWELL_STEP && f->pos < f->target_count; i++, f->pos++) {
        if (f->revs[f->pos] == NULL) {
            uint32_t id;
            c->env.random(c->env.ctx, &id, sizeof(id));
            f->revs[f->pos] = sign(&c->identity, f->nwid, f->targets[f->pos], f->threshold, id);
        }
        for (size_t k = 0; f->revs[f->pos] != NULL && k < copies; k++) {
            uint64_t dest = f->dests[(f->pos + k) % f->dest_count];
            if (dest != f->targets[f->pos]) {
                outbox_add(c, dest, f->revs[f->pos], now_ms);
            }
        }
    }
    int64_t next = now_ms + FAREWELL_STEP_MS;
    if (f->pos == f->target_count) {
        f->pos = 0;
        f->round++;
        next = now_ms + FAREWELL_PAUSE_MS;
    }
    if (f->round == FAREWELL_ROUNDS || timers_arm(&c->timers, timer, next) != 0) {
        farewell_free(f);
    }
}

struct farewell *farewell_new(struct controller *c, const struct cnetwork *net, int64_t now_ms)
{
    struct farewell *f = calloc(1, sizeof(*f));
    size_t n = net->members.count + 1;
    if (f == NULL) {
        return NULL;
    }
    list_init(&f->link);
    f->c = c;
    f->timer.fire = farewell_fire;
    f->nwid = net->nwid;
    f->threshold = take_threshold(c, now_ms);
    reuse_forget(c, net->nwid, 0);
    f->targets = calloc(n, sizeof(*f->targets));
    f->dests = calloc(n, sizeof(*f->dests));
    f->revs = calloc(n, sizeof(struct shared_revocation *));
    if (f->targets == NULL || f->dests == NULL || f->revs == NULL) {
        farewell_free(f);
        return NULL;
    }
    /* Who was not seen for longer than this holds nothing that agrees with the others. */
    int64_t horizon = controller_wall(c, now_ms) - 2 * (int64_t)net->plan.window_ms;
    struct hmap_node *it = NULL;
    while ((it = hmap_each(&net->members, it)) != NULL) {
        const struct cmember *m = CONTAINER_OF(it, struct cmember, node);
        if (m->authorized && m->seen_ms > horizon) {
            f->targets[f->target_count++] = m->address;
            if (member_is_online(m, now_ms)) {
                f->dests[f->dest_count++] = m->address;
            }
        }
    }
    return f;
}

void farewell_start(struct farewell *f, int64_t now_ms)
{
    list_push(&f->c->farewells, &f->link);
    if (f->dest_count == 0 || timers_arm(&f->c->timers, &f->timer, now_ms) != 0) {
        farewell_free(f);
    }
}

void revoke_done(struct controller *c)
{
    struct list *link;
    while ((link = list_first(&c->farewells)) != NULL) {
        farewell_free(CONTAINER_OF(link, struct farewell, link));
    }
    while ((link = list_first(&c->repeats)) != NULL) {
        repeat_free(CONTAINER_OF(link, struct repeat, link));
    }
    struct hmap_node *it;
    while ((it = hmap_each(&c->outboxes, NULL)) != NULL) {
        outbox_free(CONTAINER_OF(it, struct outbox, node));
    }
    hmap_done(&c->outboxes);
}
