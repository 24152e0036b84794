/* The table of multicast groups: who subscribed to what, as announcements and gather results told.
 * Networks need not be joined: roots and controllers answer for others. Everything expires and is
 * bounded, also per sender. Source: spec 03 sections 11.3, 11.4 and 11.6. */
#include "vl2/vl2_priv.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum {
    RECORD_MS = 600000,         /* a subscription expires */
    CLEAN_MS = 30000,           /* least distance of two cleanings */
    RECORDS_MAX = 262144,       /* subscriptions kept by a leaf */
    RECORDS_ROOT_MAX = 4194304, /* by a root or controller */
    SENDER_RECORDS_MAX = 4096,  /* about one address */
};

static uint64_t group_key(const struct vl2 *vl2, uint64_t nwid, const struct multicast_group *id)
{
    return hash_mix(nwid, vl2->seed) ^ (id->mac << 16) ^ (uint64_t)id->adi * 0x9e3779b97f4a7c15u;
}

struct group *group_find(const struct vl2 *vl2, uint64_t nwid, const struct multicast_group *id)
{
    for (struct hmap_node *n = hmap_find(&vl2->multicast.groups, group_key(vl2, nwid, id));
         n != NULL; n = hmap_next_same(n)) {
        struct group *g = CONTAINER_OF(n, struct group, node);

        if (g->nwid == nwid && g->id.mac == id->mac && g->id.adi == id->adi) {
            return g;
        }
    }
    return NULL;
}

static size_t records_max(const struct vl2 *vl2)
{
    return vl2->has_controller || vl1_is_root(vl2->vl1) ? RECORDS_ROOT_MAX : RECORDS_MAX;
}

static void arm_clean(struct vl2 *vl2, int64_t at_ms)
{
    if (!timer_is_armed(&vl2->multicast.clean_timer) &&
        timers_arm(vl2->timers, &vl2->multicast.clean_timer, at_ms) != 0) {
        vl2_count(vl2, COUNT_NO_MEMORY);
    }
}

struct group *group_get(struct vl2 *vl2, uint64_t nwid, const struct multicast_group *id,
                        int64_t now_ms)
{
    struct group *g = group_find(vl2, nwid, id);

    if (g != NULL) {
        return g;
    }
    if (vl2->multicast.groups.count >= records_max(vl2)) {
        vl2_count(vl2, COUNT_MULTICAST_FULL);
        return NULL;
    }
    g = calloc(1, sizeof(*g));
    if (g == NULL || hmap_insert(&vl2->multicast.groups, &g->node, group_key(vl2, nwid, id)) != 0) {
        free(g);
        vl2_count(vl2, COUNT_NO_MEMORY);
        return NULL;
    }
    g->nwid = nwid;
    g->id = *id;
    g->gathered_ms = NEVER;
    list_init(&g->pending);
    arm_clean(vl2, now_ms + RECORD_MS);
    return g;
}

/* ---- shares of senders ---- */

static struct group_sender *sender_find(struct vl2 *vl2, uint64_t address)
{
    struct hmap_node *n = hmap_find(&vl2->multicast.senders, address);

    return n != NULL ? CONTAINER_OF(n, struct group_sender, node) : NULL;
}

/* One more record about address. Returns 0; -ENOSPC; -ENOMEM. */
static int sender_add(struct vl2 *vl2, uint64_t address)
{
    struct group_sender *s = sender_find(vl2, address);

    if (vl2->multicast.record_count >= records_max(vl2) ||
        (s != NULL && s->count >= SENDER_RECORDS_MAX)) {
        vl2_count(vl2, COUNT_MULTICAST_FULL);
        return -ENOSPC;
    }
    if (s == NULL) {
        s = calloc(1, sizeof(*s));
        if (s == NULL || hmap_insert(&vl2->multicast.senders, &s->node, address) != 0) {
            free(s);
            vl2_count(vl2, COUNT_NO_MEMORY);
            return -ENOMEM;
        }
    }
    s->count++;
    vl2->multicast.record_count++;
    return 0;
}

static void sender_remove(struct vl2 *vl2, uint64_t address)
{
    struct group_sender *s = sender_find(vl2, address);

    vl2->multicast.record_count--;
    if (s != NULL && --s->count == 0) {
        hmap_remove(&vl2->multicast.senders, &s->node);
        free(s);
    }
}

/* ---- records ---- */

/* Index of the first record whose address is not below. */
static size_t lower_bound(const struct group *g, uint64_t address)
{
    size_t low = 0;
    size_t high = g->count;

    while (low < high) {
        size_t mid = low + (high - low) / 2;

        if (g->records[mid].address < address) {
            low = mid + 1;
        } else {
            high = mid;
        }
    }
    return low;
}

bool group_has(const struct group *group, uint64_t address)
{
    size_t at = lower_bound(group, address);

    return at < group->count && group->records[at].address == address;
}

static int grow(struct group *g)
{
    size_t cap = g->cap > 0 ? 2 * g->cap : 1;
    struct group_record *records;

    if (g->count < g->cap) {
        return 0;
    }
    records = realloc(g->records, cap * sizeof(*records));
    if (records == NULL) {
        return -ENOMEM;
    }
    g->records = records;
    g->cap = cap;
    return 0;
}

void group_learn(struct vl2 *vl2, uint64_t nwid, const struct multicast_group *id, uint64_t address,
                 int64_t now_ms)
{
    struct group *g;
    size_t at;

    if (address == vl2->self || address_is_reserved(address)) {
        return;
    }
    g = group_get(vl2, nwid, id, now_ms);
    if (g == NULL) {
        return;
    }
    at = lower_bound(g, address);
    if (at < g->count && g->records[at].address == address) {
        g->records[at].learned_ms = now_ms;
    } else {
        if (grow(g) != 0 || sender_add(vl2, address) != 0) {
            return;
        }
        memmove(g->records + at + 1, g->records + at, (g->count - at) * sizeof(*g->records));
        g->records[at] = (struct group_record){address, now_ms};
        g->count++;
    }
    if (!list_is_empty(&g->pending)) {
        multicast_learned(vl2, g, address, now_ms);
    }
}

void group_forget(struct vl2 *vl2, uint64_t nwid, const struct multicast_group *id,
                  uint64_t address)
{
    struct group *g = group_find(vl2, nwid, id);
    size_t at;

    if (g == NULL || !group_has(g, address)) {
        return;
    }
    at = lower_bound(g, address);
    memmove(g->records + at, g->records + at + 1, (g->count - at - 1) * sizeof(*g->records));
    g->count--;
    sender_remove(vl2, address);
}

void group_trim(struct vl2 *vl2, struct group *group, int64_t now_ms)
{
    size_t kept = 0;

    for (size_t i = 0; i < group->count; i++) {
        if (now_ms - group->records[i].learned_ms >= RECORD_MS) {
            sender_remove(vl2, group->records[i].address);
        } else {
            group->records[kept++] = group->records[i];
        }
    }
    group->count = kept;
}

static void group_free(struct vl2 *vl2, struct group *g)
{
    struct list *link;

    while ((link = list_first(&g->pending)) != NULL) {
        multicast_pending_free(vl2, CONTAINER_OF(link, struct pending_frame, in_group));
    }
    for (size_t i = 0; i < g->count; i++) {
        sender_remove(vl2, g->records[i].address);
    }
    hmap_remove(&vl2->multicast.groups, &g->node);
    free(g->records);
    free(g);
}

/* Free the groups for which test holds. They are chained first, because freeing disturbs a walk. */
static void free_groups(struct vl2 *vl2, bool (*test)(const struct group *g, uint64_t arg),
                        uint64_t arg)
{
    struct group *doomed = NULL;

    for (struct hmap_node *n = hmap_each(&vl2->multicast.groups, NULL); n != NULL;
         n = hmap_each(&vl2->multicast.groups, n)) {
        struct group *g = CONTAINER_OF(n, struct group, node);

        if (test(g, arg)) {
            g->next_doomed = doomed;
            doomed = g;
        }
    }
    while (doomed != NULL) {
        struct group *g = doomed;

        doomed = g->next_doomed;
        group_free(vl2, g);
    }
}

static bool is_of_network(const struct group *g, uint64_t nwid)
{
    return g->nwid == nwid;
}

void groups_drop_network(struct vl2 *vl2, uint64_t nwid)
{
    free_groups(vl2, is_of_network, nwid);
}

static bool is_unused(const struct group *g, uint64_t now_ms)
{
    return g->count == 0 && list_is_empty(&g->pending) &&
           (g->gathered_ms == NEVER || (int64_t)now_ms - g->gathered_ms >= ANNOUNCE_MS);
}

static void clean(struct timer *timer, int64_t now_ms)
{
    struct vl2 *vl2 = CONTAINER_OF(timer, struct vl2, multicast.clean_timer);
    int64_t oldest = now_ms;

    for (struct hmap_node *n = hmap_each(&vl2->multicast.groups, NULL); n != NULL;
         n = hmap_each(&vl2->multicast.groups, n)) {
        struct group *g = CONTAINER_OF(n, struct group, node);

        group_trim(vl2, g, now_ms);
        for (size_t i = 0; i < g->count; i++) {
            oldest = g->records[i].learned_ms < oldest ? g->records[i].learned_ms : oldest;
        }
    }
    free_groups(vl2, is_unused, (uint64_t)now_ms);
    if (vl2->multicast.groups.count > 0) {
        int64_t at = oldest + RECORD_MS;

        arm_clean(vl2, at > now_ms + CLEAN_MS ? at : now_ms + CLEAN_MS);
    }
}

void groups_init(struct vl2 *vl2)
{
    hmap_init(&vl2->multicast.groups, vl2->seed);
    hmap_init(&vl2->multicast.senders, vl2->seed);
    list_init(&vl2->multicast.pending);
    vl2->multicast.clean_timer.fire = clean;
    vl2->multicast.pending_timer.fire = multicast_pending_expire;
}

void groups_done(struct vl2 *vl2)
{
    struct hmap_node *n;

    timers_cancel(vl2->timers, &vl2->multicast.clean_timer);
    while ((n = hmap_each(&vl2->multicast.groups, NULL)) != NULL) {
        group_free(vl2, CONTAINER_OF(n, struct group, node));
    }
    timers_cancel(vl2->timers, &vl2->multicast.pending_timer);
    while ((n = hmap_drain(&vl2->multicast.senders)) != NULL) {
        free(CONTAINER_OF(n, struct group_sender, node));
    }
    hmap_done(&vl2->multicast.groups);
    hmap_done(&vl2->multicast.senders);
}

/* ---- choosing at random ---- */

static size_t gcd(size_t a, size_t b)
{
    while (b != 0) {
        size_t t = a % b;

        a = b;
        b = t;
    }
    return a;
}

struct shuffle shuffle_init(struct vl2 *vl2, size_t n)
{
    struct shuffle s = {.n = n, .start = 0, .step = 1};

    if (n > 1) {
        s.start = (size_t)vl2_random_below(vl2, n);
        s.step = 1 + (size_t)vl2_random_below(vl2, n - 1);
        while (gcd(s.step, n) != 1) {
            s.step = s.step % (n - 1) + 1;
        }
    }
    return s;
}

size_t shuffle_at(const struct shuffle *s, size_t i)
{
    return (size_t)((s->start + (uint64_t)i * s->step) % s->n);
}
