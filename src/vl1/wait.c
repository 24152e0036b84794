/* Queues of packets that wait: received ones for an identity or a credential, and the timer that
 * ages both directions. Bounded in number, per source and in time. Source: spec 02 sections 4.3 and
 * 5, spec 01 section 15.5. */
#include "vl1/vl1_priv.h"

#include <stdlib.h>
#include <string.h>

static void queue_timer(struct timer *timer, int64_t now_ms);

void queues_init(struct vl1 *vl1)
{
    list_init(&vl1->tx_queue);
    list_init(&vl1->rx_queue);
    vl1->queue_timer.fire = queue_timer;
    vl1->retry_ms = INT64_MAX;
}

static void rx_drop(struct vl1 *vl1, struct rx_wait *wait)
{
    list_remove(&wait->link);
    vl1->rx_count--;
    free(wait);
}

void queues_done(struct vl1 *vl1)
{
    struct list *link;

    while ((link = list_first(&vl1->rx_queue)) != NULL) {
        rx_drop(vl1, CONTAINER_OF(link, struct rx_wait, link));
    }
    while ((link = list_first(&vl1->tx_queue)) != NULL) {
        list_remove(link);
        free(CONTAINER_OF(link, struct tx_wait, link));
    }
    timers_cancel(&vl1->timers, &vl1->queue_timer);
}

/* How many packets wait that count against this source: its own, and while nothing vouches for the
 * source, all that came from the same IP (unless that is a relay of ours). */
static unsigned rx_wait_same(const struct vl1 *vl1, const struct arrival *at, uint64_t source,
                             bool opened)
{
    bool by_ip = !opened && !is_upstream_address(vl1, &at->from);
    unsigned same = 0;
    struct list *it;
    struct list *tmp;

    LIST_EACH(&vl1->rx_queue, it, tmp)
    {
        const struct rx_wait *w = CONTAINER_OF(it, struct rx_wait, link);

        same += w->source == source || (by_ip && inetaddr_ip_equal(&w->at.from, &at->from));
    }
    return same;
}

bool rx_wait_has_room(const struct vl1 *vl1, const struct arrival *at, uint64_t source)
{
    return rx_wait_same(vl1, at, source, false) < RX_QUEUE_SOURCE_MAX;
}

void rx_wait_add(struct vl1 *vl1, const struct arrival *at, uint64_t source, const uint8_t *pkt,
                 size_t len, bool opened)
{
    struct rx_wait *wait = malloc(sizeof(*wait) + len);
    unsigned same = rx_wait_same(vl1, at, source, opened);

    if (wait == NULL || same >= RX_QUEUE_SOURCE_MAX) {
        vl1_count(vl1, wait == NULL ? VL1_DROP_MEMORY : VL1_DROP_RX_QUEUE);
        free(wait);
        return;
    }
    if (vl1->rx_count >= RX_QUEUE_MAX) {
        rx_drop(vl1, CONTAINER_OF(list_first(&vl1->rx_queue), struct rx_wait, link));
        vl1_count(vl1, VL1_DROP_RX_QUEUE);
    }
    wait->at = *at;
    wait->source = source;
    wait->expires_ms = at->now_ms + QUEUE_MS;
    wait->opened = opened;
    wait->due = false;
    wait->len = len;
    memcpy(wait->data, pkt, len);
    list_push(&vl1->rx_queue, &wait->link);
    vl1->rx_count++;
    queues_schedule(vl1, at->now_ms);
}

/* Packets of a source (0: all) can be tried again; done at the end of the present input. */
void rx_mark_due(struct vl1 *vl1, uint64_t source)
{
    struct list *it;
    struct list *tmp;

    LIST_EACH(&vl1->rx_queue, it, tmp)
    {
        struct rx_wait *w = CONTAINER_OF(it, struct rx_wait, link);

        if (source == 0 || w->source == source) {
            w->due = true;
            vl1->rx_due = true;
        }
    }
}

void vl1_retry_from(struct vl1 *vl1, uint64_t source, int64_t now_ms)
{
    rx_mark_due(vl1, source);
    if (vl1->depth == 0) {
        vl1_enter(vl1);
        vl1_leave(vl1, now_ms);
    }
}

static void retry(struct vl1 *vl1, struct rx_wait *wait, int64_t now_ms)
{
    struct arrival at = wait->at;
    struct peer *peer;

    at.now_ms = now_ms;
    if (!wait->opened) {
        memcpy(vl1->open, wait->data, wait->len);
        vl1_packet_in(vl1, &at, vl1->open, wait->len);
        return;
    }
    peer = vl1_peer_find(vl1, wait->source, now_ms);
    if (peer != NULL) {
        vl1_dispatch(vl1, peer, &at, wait->data, wait->len, DISPATCH_RETRY);
    }
}

/* Try what is due. Each packet gets one try here; one that must wait again keeps its old deadline.
 */
void rx_run_due(struct vl1 *vl1, int64_t now_ms)
{
    for (unsigned rounds = 0; vl1->rx_due && rounds < 4; rounds++) {
        struct list again;
        struct list *it;
        struct list *tmp;

        vl1->rx_due = false;
        list_init(&again);
        LIST_EACH(&vl1->rx_queue, it, tmp)
        {
            struct rx_wait *w = CONTAINER_OF(it, struct rx_wait, link);

            if (w->due) {
                list_remove(&w->link);
                vl1->rx_count--;
                list_push(&again, &w->link);
            }
        }
        while ((it = list_first(&again)) != NULL) {
            struct rx_wait *w = CONTAINER_OF(it, struct rx_wait, link);
            struct list *last = vl1->rx_queue.prev;

            list_remove(&w->link);
            if (w->expires_ms > now_ms) {
                retry(vl1, w, now_ms);
                if (vl1->rx_queue.prev != last && vl1->rx_count > 0) {
                    CONTAINER_OF(vl1->rx_queue.prev, struct rx_wait, link)->expires_ms =
                        w->expires_ms;
                }
            }
            free(w);
        }
    }
    queues_schedule(vl1, now_ms);
}

void queues_schedule(struct vl1 *vl1, int64_t now_ms)
{
    int64_t at = assembly_deadline(&vl1->assembly);

    if (vl1->rx_count == 0 && vl1->tx_count == 0) {
        vl1->retry_ms = INT64_MAX;
    } else if (vl1->retry_ms == INT64_MAX) {
        vl1->retry_ms = now_ms + LATER_RETRY_MS;
    }
    at = vl1->retry_ms < at ? vl1->retry_ms : at;
    if (at == INT64_MAX) {
        timers_cancel(&vl1->timers, &vl1->queue_timer);
    } else if (!timer_is_armed(&vl1->queue_timer) || vl1->queue_timer.at_ms > at) {
        (void)!timers_arm(&vl1->timers, &vl1->queue_timer, at);
    }
}

/* What waits is tried again. */
static void retry_all(struct vl1 *vl1, int64_t now_ms)
{
    struct list *it;
    struct list *tmp;

    vl1->retry_ms = INT64_MAX;
    LIST_EACH(&vl1->rx_queue, it, tmp)
    {
        struct rx_wait *w = CONTAINER_OF(it, struct rx_wait, link);

        if (w->expires_ms <= now_ms) {
            rx_drop(vl1, w);
            vl1_count(vl1, VL1_DROP_RX_QUEUE);
        }
    }
    rx_mark_due(vl1, 0);
    tx_flush(vl1, 0, now_ms);
}

static void queue_timer(struct timer *timer, int64_t now_ms)
{
    struct vl1 *vl1 = CONTAINER_OF(timer, struct vl1, queue_timer);

    vl1_enter(vl1);
    assembly_expire(&vl1->assembly, now_ms);
    if (vl1->retry_ms <= now_ms) {
        retry_all(vl1, now_ms);
    }
    vl1_leave(vl1, now_ms);
    queues_schedule(vl1, now_ms);
}
