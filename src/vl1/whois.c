/* Identity lookups, both sides. Source: spec 02 section 3.5. */
#include "vl1/vl1_priv.h"

#include "wire/identity.h"

#include <stdlib.h>

static void whois_free(struct whois *w)
{
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

/* Ask the relay; a repetition asks the other upstreams too. */
static void whois_ask(struct whois *w, int64_t now_ms)
{
    struct vl1 *vl1 = w->vl1;
    struct out_packet out;
    bool again = w->sent_ms != TIME_NEVER;

    if (vl1->relay == 0) {
        return; /* whois_resend_all comes when one is there */
    }
    out_begin(vl1, &out, vl1->relay, VERB_WHOIS);
    whois_encode(&out.w, &w->by_address.key, 1);
    w->sent_ms = now_ms;
    (void)!out_send(vl1, &out, OUT_EXPECT, now_ms);
    for (size_t i = 0; again && i < vl1->upstream_count; i++) {
        struct peer *up = peer_in_memory(vl1, vl1->upstreams[i]);

        if (up != NULL && vl1->upstreams[i] != vl1->relay && peer_has_direct_path(up, now_ms)) {
            out_redirect(&out, vl1->upstreams[i]);
            (void)!out_send(vl1, &out, OUT_EXPECT, now_ms);
        }
    }
}

static void whois_timer(struct timer *timer, int64_t now_ms)
{
    struct whois *w = CONTAINER_OF(timer, struct whois, timer);

    if (now_ms >= w->expires_ms ||
        timers_arm(&w->vl1->timers, timer, now_ms + WHOIS_RETRY_MS) < 0) {
        whois_free(w);
        return;
    }
    whois_ask(w, now_ms);
}

void vl1_whois(struct vl1 *vl1, uint64_t address, int64_t now_ms)
{
    struct hmap_node *n = hmap_find(&vl1->whois, address);
    struct whois *w;

    if (n != NULL) {
        CONTAINER_OF(n, struct whois, by_address)->expires_ms = now_ms + WHOIS_GIVE_UP_MS;
        return;
    }
    if (address_is_reserved(address) || address == vl1->identity.address ||
        vl1->whois.count >= WHOIS_MAX || vl1->upstream_count == 0) {
        return;
    }
    w = calloc(1, sizeof(*w));
    if (w == NULL) {
        return;
    }
    w->vl1 = vl1;
    w->timer.fire = whois_timer;
    w->sent_ms = TIME_NEVER;
    w->expires_ms = now_ms + WHOIS_GIVE_UP_MS;
    if (hmap_insert(&vl1->whois, &w->by_address, address) < 0) {
        free(w);
        return;
    }
    if (timers_arm(&vl1->timers, &w->timer, now_ms + WHOIS_RETRY_MS) < 0) {
        whois_free(w);
        return;
    }
    whois_ask(w, now_ms);
}

/* A relay came up: what waited for one is asked now. */
void whois_resend_all(struct vl1 *vl1, int64_t now_ms)
{
    for (struct hmap_node *n = hmap_each(&vl1->whois, NULL); n != NULL;
         n = hmap_each(&vl1->whois, n)) {
        struct whois *w = CONTAINER_OF(n, struct whois, by_address);

        if (w->sent_ms == TIME_NEVER || now_ms - w->sent_ms >= WHOIS_RETRY_MS) {
            whois_ask(w, now_ms);
        }
    }
}

/* ---- answering ---- */

static void remember_asker(struct vl1 *vl1, const struct opened *packet, uint64_t address)
{
    vl1->askers[vl1->asker_next++ % ASKERS_MAX] = (struct asker){
        .address = address,
        .peer = packet->in.source,
        .re_id = packet->in.id,
        .at = packet->at,
    };
}

enum vl1_verdict whois_receive(struct peer *peer, struct opened *packet)
{
    struct vl1 *vl1 = peer->vl1;
    int64_t now_ms = packet->at.now_ms;
    struct out_packet out;
    uint64_t address;
    size_t found = 0;

    if (!vl1->root && peer->last_whois_ms != TIME_NEVER &&
        now_ms - peer->last_whois_ms < WHOIS_GATE_MS) {
        vl1_count(vl1, VL1_DROP_RATE);
        return VL1_DROP;
    }
    peer->last_whois_ms = now_ms;
    out_begin_ok(vl1, &out, &packet->in);
    while (whois_next(&packet->in.payload, &address) && wr_left(&out.w) >= IDENTITY_WIRE_PUBLIC) {
        const struct peer *wanted =
            vl1->root ? vl1_peer_find(vl1, address, now_ms) : peer_in_memory(vl1, address);

        if (address == vl1->identity.address) {
            identity_write(&out.w, &vl1->identity, false);
            found++;
        } else if (wanted != NULL) {
            identity_write(&out.w, &wanted->identity, false);
            found++;
        } else {
            remember_asker(vl1, packet, address);
            vl1_whois(vl1, address, now_ms);
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
