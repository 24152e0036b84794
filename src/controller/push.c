/* Tells members of changes without waiting for their next poll: changes of a network are gathered
 * for a moment, pushes are paced, members for whom nothing changed are left out. Source: spec 04
 * sections 4.11, 12.25. */
#include "controller/controller_priv.h"
#include "controller/sso_priv.h"

enum {
    PUSH_BURST = 50,       /* pushes at once after a pause */
    PUSH_LOOKS = 64,       /* members looked at in one turn */
    PUSH_SIGNATURES = 256, /* and credentials signed, about: others must not wait for long */
};

void push_network(struct controller *c, struct cnetwork *net, int64_t now_ms)
{
    if (list_is_empty(&net->push_link)) {
        net->push_at_ms = now_ms + CONTROLLER_PUSH_DELAY_MS;
        list_push(&c->changed, &net->push_link);
    }
}

void push_member(struct controller *c, struct cmember *m, int64_t now_ms)
{
    if (m->authorized && m->has_pub && m->has_meta && member_is_online(m, now_ms) &&
        list_is_empty(&m->push_link)) {
        list_push(&c->push_queue, &m->push_link);
    }
}

static void queue_members(struct controller *c, struct cnetwork *net, int64_t now_ms)
{
    struct hmap_node *it = NULL;
    while ((it = hmap_each(&net->members, it)) != NULL) {
        push_member(c, CONTAINER_OF(it, struct cmember, node), now_ms);
    }
}

/* Add what time has earned, at most a burst. */
static void refill(struct controller *c, int64_t now_ms)
{
    int64_t earned = (now_ms - c->push_refill_ms) * CONTROLLER_PUSHES_PER_S / 1000;
    if (earned > 0) {
        c->push_refill_ms += earned * 1000 / CONTROLLER_PUSHES_PER_S;
        c->push_credit += earned;
        if (c->push_credit > PUSH_BURST) {
            c->push_credit = PUSH_BURST;
            c->push_refill_ms = now_ms;
        }
    }
}

/* The members of networks that have been left alone for long enough. */
static void queue_changed(struct controller *c, int64_t now_ms)
{
    struct list *link;
    while ((link = list_first(&c->changed)) != NULL) {
        struct cnetwork *net = CONTAINER_OF(link, struct cnetwork, push_link);
        if (net->push_at_ms > now_ms) {
            break;
        }
        list_remove(link);
        queue_members(c, net, now_ms);
    }
}

void push_run(struct controller *c, int64_t now_ms)
{
    struct list *link;
    uint64_t signatures = c->counts.signatures + PUSH_SIGNATURES;
    queue_changed(c, now_ms);
    refill(c, now_ms);
    for (int looks = 0; looks < PUSH_LOOKS && c->counts.signatures < signatures; looks++) {
        link = c->push_credit > 0 ? list_first(&c->push_queue) : NULL;
        if (link == NULL) {
            return;
        }
        struct cmember *m = CONTAINER_OF(link, struct cmember, push_link);
        list_remove(link);
        int result = m->authorized && sso_is_open(c, m, now_ms) ? config_send(c, m, 0, now_ms) : 0;
        if (result > 0) {
            c->counts.pushes_sent++;
            c->push_credit--;
        } else if (result == 0) {
            c->counts.pushes_skipped += m->authorized ? 1 : 0;
        } else {
            controller_log(c, LOG_LEVEL_DEBUG, "controller: push failed nwid=%016llx node=%010llx",
                           (unsigned long long)m->net->nwid, (unsigned long long)m->address);
        }
    }
}

int64_t push_deadline(const struct controller *c)
{
    int64_t at = -1;
    struct list *link = list_first(&c->changed);
    if (link != NULL) {
        at = CONTAINER_OF(link, struct cnetwork, push_link)->push_at_ms;
    }
    if (!list_is_empty(&c->push_queue)) {
        int64_t next = c->push_refill_ms;
        if (c->push_credit <= 0) {
            next += (1000 + CONTROLLER_PUSHES_PER_S - 1) / CONTROLLER_PUSHES_PER_S;
        }
        at = at < 0 || next < at ? next : at;
    }
    return at;
}
