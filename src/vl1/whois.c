/* Identity lookups, both sides. Source: spec 02 section 3.5. */
#include "vl1/vl1_priv.h"

#include "wire/identity.h"

#include <limits.h>
#include <stdlib.h>

static void whois_free(struct whois *w)
{
    w->vl1->whois_count[w->reason]--;
    hmap_remove(&w->vl1->whois, &w->by_address);
    timers_cancel(&w->vl1->timers, &w->timer);
    free(w);
}

void whois_done(struct vl1 *vl1)
{
    struct hmap_node *n;

    while ((n = hmap_each(&vl1->whois, NULL)) != NULL) {
        whois_free(CONTAINER_OF(n, struct whois, by_address));
    }
    hmap_done(&vl1->whois);
}

static void ask_one(struct whois *w, uint64_t upstream, int64_t now_ms)
{
    struct out_packet out;

    out_begin(w->vl1, &out, upstream, VERB_WHOIS);
    whois_encode(&out.w, &w->by_address.key, 1);
    (void)!out_send(w->vl1, &out, OUT_EXPECT, now_ms);
}

/* Ask the relay; a repetition asks the other upstreams too. */
static void whois_ask(struct whois *w, int64_t now_ms)
{
    struct vl1 *vl1 = w->vl1;
    bool again = w->sent_ms != TIME_NEVER;

    if (vl1->relay == 0) {
        return; /* whois_resend_all comes when one is there */
    }
    w->sent_ms = now_ms;
    ask_one(w, vl1->relay, now_ms);
    for (size_t i = 0; again && i < vl1->upstream_count; i++) {
        struct peer *up = peer_in_memory(vl1, vl1->upstreams[i]);

        if (up != NULL && vl1->upstreams[i] != vl1->relay && peer_has_direct_path(up, now_ms)) {
            ask_one(w, vl1->upstreams[i], now_ms);
        }
    }
}

/* Ask one upstream for somebody else: the relay, but not the asker itself. Two roots that both do
 * not know an address must not ask each other for ever. */
static void whois_ask_for(struct whois *w, uint64_t asker, int64_t now_ms)
{
    struct vl1 *vl1 = w->vl1;
    uint64_t upstream = vl1->relay != asker ? vl1->relay : 0;

    for (size_t i = 0; upstream == 0 && i < vl1->upstream_count; i++) {
        struct peer *up = peer_in_memory(vl1, vl1->upstreams[i]);

        if (up != NULL && vl1->upstreams[i] != asker && peer_has_direct_path(up, now_ms)) {
            upstream = vl1->upstreams[i];
        }
    }
    if (upstream != 0) {
        w->sent_ms = now_ms;
        ask_one(w, upstream, now_ms);
    }
}

static void whois_timer(struct timer *timer, int64_t now_ms)
{
    struct whois *w = CONTAINER_OF(timer, struct whois, timer);
    int64_t next = w->reason == WHOIS_ASKED ? w->expires_ms : now_ms + WHOIS_RETRY_MS;

    if (now_ms >= w->expires_ms || timers_arm(&w->vl1->timers, timer, next) < 0) {
        whois_free(w);
    } else if (w->reason != WHOIS_ASKED) {
        whois_ask(w, now_ms);
    }
}

bool whois_has_room(const struct vl1 *vl1, enum whois_reason reason)
{
    static const size_t most[WHOIS_REASONS] = {WHOIS_MAX, WHOIS_STRANGERS_MAX, WHOIS_ASKED_MAX};

    return vl1->whois.count < WHOIS_MAX && vl1->whois_count[reason] < most[reason];
}

static struct whois *whois_new(struct vl1 *vl1, uint64_t address, enum whois_reason reason,
                               int64_t now_ms)
{
    struct whois *w;

    if (address_is_reserved(address) || address >> ADDRESS_BITS != 0 ||
        address == vl1->identity.address || !whois_has_room(vl1, reason)) {
        return NULL;
    }
    w = calloc(1, sizeof(*w));
    if (w == NULL) {
        return NULL;
    }
    w->vl1 = vl1;
    w->reason = reason;
    w->timer.fire = whois_timer;
    w->sent_ms = TIME_NEVER;
    w->expires_ms = now_ms + WHOIS_GIVE_UP_MS;
    if (hmap_insert(&vl1->whois, &w->by_address, address) < 0) {
        free(w);
        return NULL;
    }
    vl1->whois_count[reason]++;
    if (timers_arm(&vl1->timers, &w->timer, now_ms + WHOIS_RETRY_MS) < 0) {
        whois_free(w);
        return NULL;
    }
    return w;
}

static struct whois *whois_find(const struct vl1 *vl1, uint64_t address)
{
    struct hmap_node *n = hmap_find(&vl1->whois, address);

    return n != NULL ? CONTAINER_OF(n, struct whois, by_address) : NULL;
}

void vl1_whois(struct vl1 *vl1, uint64_t address, int64_t now_ms)
{
    struct whois *w = whois_find(vl1, address);

    if (w == NULL) {
        w = whois_new(vl1, address, WHOIS_OWN, now_ms);
        if (w != NULL) {
            whois_ask(w, now_ms);
        }
        return;
    }
    w->expires_ms = now_ms + WHOIS_GIVE_UP_MS;
    if (w->reason != WHOIS_OWN) {
        /* Now it matters to us: repeated from here on, by the timer that is armed. */
        vl1->whois_count[w->reason]--;
        w->reason = WHOIS_OWN;
        vl1->whois_count[w->reason]++;
        (void)!timers_arm(&vl1->timers, &w->timer, now_ms + WHOIS_RETRY_MS);
        if (w->sent_ms == TIME_NEVER || now_ms - w->sent_ms >= WHOIS_RETRY_MS) {
            whois_ask(w, now_ms);
        }
    }
}

/* For a packet of an unknown source. False if such lookups have no room: drop it. */
bool whois_stranger(struct vl1 *vl1, uint64_t address, int64_t now_ms)
{
    struct whois *w = whois_find(vl1, address);

    if (w == NULL) {
        w = whois_new(vl1, address, WHOIS_STRANGER, now_ms);
        if (w == NULL) {
            return false;
        }
        whois_ask(w, now_ms);
    } else if (w->reason == WHOIS_ASKED) {
        vl1_whois(vl1, address, now_ms);
    }
    return true; /* not prolonged: a packet that still waits begins another one by its retry */
}

/* For somebody who asked us. A client asks again every 500 ms, and so do we then; an upstream's
 * question is passed on once. */
static void whois_asked(struct vl1 *vl1, const struct peer *asker, uint64_t address, int64_t now_ms)
{
    struct whois *w = whois_find(vl1, address);

    if (w == NULL) {
        w = whois_new(vl1, address, WHOIS_ASKED, now_ms);
    } else if (w->reason != WHOIS_ASKED || peer_is_upstream(asker) ||
               (w->sent_ms != TIME_NEVER && now_ms - w->sent_ms < WHOIS_RETRY_MS)) {
        return;
    }
    if (w != NULL) {
        whois_ask_for(w, asker->identity.address, now_ms);
    }
}

/* A relay came up: what waited for one is asked now. */
void whois_resend_all(struct vl1 *vl1, int64_t now_ms)
{
    for (struct hmap_node *n = hmap_each(&vl1->whois, NULL); n != NULL;
         n = hmap_each(&vl1->whois, n)) {
        struct whois *w = CONTAINER_OF(n, struct whois, by_address);

        if (w->reason != WHOIS_ASKED &&
            (w->sent_ms == TIME_NEVER || now_ms - w->sent_ms >= WHOIS_RETRY_MS)) {
            whois_ask(w, now_ms);
        }
    }
}

/* ---- answering ---- */

static void remember_asker(struct vl1 *vl1, const struct opened *packet, uint64_t address)
{
    struct asker *slot = NULL;

    /* Only the last question of each counts. */
    for (size_t i = 0; i < ASKERS_MAX && slot == NULL; i++) {
        if (vl1->askers[i].peer == packet->in.source && vl1->askers[i].address == address) {
            slot = &vl1->askers[i];
        }
    }
    if (slot == NULL) {
        slot = &vl1->askers[vl1->asker_next++ % ASKERS_MAX];
    }
    *slot = (struct asker){
        .address = address,
        .peer = packet->in.source,
        .re_id = packet->in.id,
        .at = packet->at,
    };
}

enum vl1_verdict whois_receive(struct peer *peer, struct opened *packet)
{
    struct vl1 *vl1 = peer->vl1;
    unsigned left = is_proved_source(peer, &packet->at) ? UINT_MAX : 1;
    int64_t now_ms = packet->at.now_ms;
    struct out_packet out;
    uint64_t address;
    size_t found = 0;
    unsigned unknown = 0;

    if (!vl1->root && peer->last_whois_ms != TIME_NEVER &&
        now_ms - peer->last_whois_ms < WHOIS_GATE_MS) {
        vl1_count(vl1, VL1_DROP_RATE);
        return VL1_DROP;
    }
    peer->last_whois_ms = now_ms;
    out_begin_ok(vl1, &out, &packet->in);
    while (left-- > 0 && whois_next(&packet->in.payload, &address) &&
           wr_left(&out.w) >= IDENTITY_WIRE_PUBLIC) {
        const struct peer *wanted = peer_in_memory(vl1, address);

        if (wanted == NULL && vl1->root && unknown < WHOIS_ASKED_PACKET_MAX &&
            whois_has_room(vl1, WHOIS_ASKED)) {
            wanted = vl1_peer_find(vl1, address, now_ms); /* perhaps in the cache */
        }
        if (address == vl1->identity.address) {
            identity_write(&out.w, &vl1->identity, false);
            found++;
        } else if (wanted != NULL) {
            identity_write(&out.w, &wanted->identity, false);
            found++;
        } else if (unknown++ < WHOIS_ASKED_PACKET_MAX) {
            remember_asker(vl1, packet, address);
            whois_asked(vl1, peer, address, now_ms);
        }
    }
    if (found > 0) {
        (void)!out_reply(vl1, &out, &packet->in, 0, now_ms);
    }
    return VL1_DONE;
}

/* An address that was asked for in the last seconds is known now: answer late rather than never. */
static void answer_askers(struct vl1 *vl1, const struct peer *known, int64_t now_ms)
{
    for (size_t i = 0; i < ASKERS_MAX; i++) {
        struct asker *asker = &vl1->askers[i];
        struct peer *peer;
        struct out_packet out;

        if (asker->address != known->identity.address || asker->peer == 0) {
            continue;
        }
        peer = peer_in_memory(vl1, asker->peer);
        if (peer != NULL && now_ms - asker->at.now_ms <= WHOIS_GIVE_UP_MS) {
            out_begin(vl1, &out, asker->peer, VERB_OK);
            ok_head_write(&out.w, &(struct reply_head){.verb = VERB_WHOIS, .id = asker->re_id});
            identity_write(&out.w, &known->identity, false);
            (void)!out_straight(vl1, &out, peer, asker->at.socket, &asker->at.from, 0, now_ms);
        }
        asker->peer = 0;
    }
}

/* ---- an identity came ---- */

void whois_peer_known(struct vl1 *vl1, struct peer *peer, int64_t now_ms)
{
    uint64_t address = peer->identity.address;
    struct hmap_node *n = hmap_find(&vl1->whois, address);

    if (n != NULL) {
        whois_free(CONTAINER_OF(n, struct whois, by_address));
    }
    answer_askers(vl1, peer, now_ms);
    rendezvous_peer_known(vl1, peer, now_ms);
    rx_mark_due(vl1, address);
    tx_flush(vl1, address, now_ms);
    for (size_t i = 0; i < vl1->moon_count; i++) {
        if (vl1->moons[i].world == NULL && vl1->moons[i].seed == address) {
            seeds_contact(vl1, now_ms);
        }
    }
    if (vl1->upper.identity_known != NULL) {
        vl1->upper.identity_known(vl1->upper.ctx, address, now_ms);
    }
}

enum vl1_verdict whois_ok(struct peer *peer, struct opened *packet)
{
    struct vl1 *vl1 = peer->vl1;
    struct identity id;
    int got;

    if (!peer_is_upstream(peer)) {
        return VL1_DROP;
    }
    while ((got = ok_whois_next(&packet->in.payload, &id)) > 0) {
        struct peer *known;

        if (address_is_reserved(id.address) || id.address == vl1->identity.address ||
            peer_in_memory(vl1, id.address) != NULL) {
            continue;
        }
        known = peer_new(vl1, &id, packet->at.now_ms);
        if (known != NULL) {
            whois_peer_known(vl1, known, packet->at.now_ms);
        }
    }
    if (got < 0) {
        vl1_count(vl1, VL1_DROP_MALFORMED);
        return VL1_DROP;
    }
    return VL1_DONE;
}
