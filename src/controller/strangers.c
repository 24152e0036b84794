/* Nodes that ask and are no members: what they may cost. They are bounded in number, in answers and
 * in what is written for them. Source: spec 04 sections 12.1 to 12.3, 12.28, CTL-81. */
#include "controller/controller_priv.h"
#include "controller/request_note.h"

#include "base/bucket.h"

#include <string.h>

enum {
    SAVE_AFTER_MS = 2000, /* who waits for the store is gathered for so long */
    SAVE_AT_ONCE = 256,   /* records written then; the rest waits for the next time */
    NODE_BURST = 128,     /* answers to one node in a row, for any networks */
    NODE_EACH_MS = 31,    /* and then one each */
    IP_BURST = 2048,      /* the same for all nodes at one IP (IPv6: /64) */
    IP_EACH_MS = 2,
};

/* ---- answers ---- */

/* The same network again, too early? */
static bool too_early(struct controller *c, uint64_t nwid, uint64_t address, int64_t now_ms)
{
    uint64_t key = hash_mix(nwid ^ hash_mix(address, c->seed), c->seed);
    struct limit_slot *slot = &c->limits[key % CONTROLLER_LIMIT_SLOTS];
    if (slot->key == key && now_ms - slot->at_ms <= CONTROLLER_REQUEST_GAP_MS) {
        return true;
    }
    slot->key = key;
    slot->at_ms = now_ms;
    return false;
}

/* What addresses of one network of a host share; 0 unknown. */
static uint64_t ip_key(const struct inetaddr *from)
{
    struct inetaddr bare = *from;
    bare.port = 0;
    if (bare.family == INETADDR_V6) {
        memset(bare.ip + 8, 0, 8);
    }
    return bare.family != INETADDR_NIL ? inetaddr_key(&bare) : 0;
}

bool strangers_pass(struct controller *c, const struct ask *ask, bool unknown, int64_t now_ms)
{
    uint64_t address = ask->identity.address;
    if (unknown && too_early(c, ask->nwid, address, now_ms)) {
        return false;
    }
    uint64_t place = hash_mix(address, c->seed + 1) % CONTROLLER_LIMIT_SLOTS;
    if (!bucket_take(&c->node_limits[place], NODE_BURST, NODE_EACH_MS, now_ms)) {
        return false;
    }
    uint64_t ip = ip_key(&ask->from);
    place = hash_mix(ip, c->seed + 2) % CONTROLLER_LIMIT_SLOTS;
    return ip == 0 || bucket_take(&c->ip_limits[place], IP_BURST, IP_EACH_MS, now_ms);
}

/* ---- records ---- */

void strangers_make_room(struct controller *c, struct cnetwork *net)
{
    while (net->stranger_count >= CONTROLLER_PENDING_MAX) {
        struct cmember *old =
            CONTAINER_OF(list_first(&net->strangers), struct cmember, stranger_link);
        struct store_tx *tx = c->store != NULL && old->stored ? store_tx_new() : NULL;
        if (tx != NULL && store_tx_put(tx, STORE_MEMBER, net->nwid, old->address, NULL) == 0 &&
            store_tx_put(tx, STORE_RUNTIME, net->nwid, old->address, NULL) == 0) {
            controller_commit(c, tx, NULL, NULL);
        } else {
            store_tx_free(tx);
        }
        controller_forget(c, old);
        c->counts.pending_evicted++;
    }
}

static bool arm(struct controller *c, int64_t now_ms)
{
    return timer_is_armed(&c->unsaved_timer) ||
           timers_arm(&c->timers, &c->unsaved_timer, now_ms + SAVE_AFTER_MS) == 0;
}

void strangers_save(struct controller *c, struct cmember *m, bool changed, bool is_new,
                    int64_t now_ms)
{
    m->unsaved |= changed && c->store != NULL;
    /* Who asks once costs no write: most never come again in a flood. */
    if (m->unsaved && !is_new && list_is_empty(&m->unsaved_link) && arm(c, now_ms)) {
        list_push(&c->unsaved, &m->unsaved_link);
    }
}

/* Write up to n of those that wait. */
static void write_some(struct controller *c, size_t n)
{
    struct store_tx *tx = store_tx_new();
    struct list *link;
    while (tx != NULL && n-- > 0 && (link = list_first(&c->unsaved)) != NULL) {
        struct cmember *m = CONTAINER_OF(link, struct cmember, unsaved_link);
        list_remove(link);
        if (!m->unsaved) {
            continue;
        }
        if (controller_put_member(tx, m) != 0 || request_note_first(c, tx, m, c->now_ms) != 0) {
            break; /* it comes again with its next request */
        }
        m->unsaved = false;
    }
    if (tx != NULL) {
        controller_commit(c, tx, NULL, NULL);
    }
}

static void fire(struct timer *timer, int64_t now_ms)
{
    struct controller *c = CONTAINER_OF(timer, struct controller, unsaved_timer);
    if (store_backlog(c->store) <= CONTROLLER_BACKLOG_MAX) {
        write_some(c, SAVE_AT_ONCE);
    }
    if (!list_is_empty(&c->unsaved)) {
        (void)arm(c, now_ms);
    }
}

void strangers_init(struct controller *c)
{
    list_init(&c->unsaved);
    c->unsaved_timer.fire = fire;
}

void strangers_save_all(struct controller *c)
{
    struct hmap_node *net_it = NULL;
    while ((net_it = hmap_each(&c->model.networks, net_it)) != NULL) {
        struct cnetwork *net = CONTAINER_OF(net_it, struct cnetwork, node);
        struct list *link;
        struct list *tmp;
        LIST_EACH(&net->strangers, link, tmp)
        {
            struct cmember *m = CONTAINER_OF(link, struct cmember, stranger_link);
            if (m->unsaved && list_is_empty(&m->unsaved_link)) {
                list_push(&c->unsaved, &m->unsaved_link);
            }
        }
    }
    write_some(c, SIZE_MAX);
}
