/* HELLO and OK(HELLO): who a stranger is, which versions are spoken, which worlds are newer, what
 * our address looks like from outside. Source: spec 01 section 10, spec 02 section 3.2. */
#include "vl1/vl1_priv.h"

#include "base/bucket.h"

#include <errno.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>

enum { OK_HELLO_ROOM = 128 }; /* bytes of an OK(HELLO) without its worlds, and some */

static struct node_version own_version(const struct vl1 *vl1)
{
    return (struct node_version){
        .protocol = vl1->options.protocol,
        .major = (uint8_t)vl1->options.version[0],
        .minor = (uint8_t)vl1->options.version[1],
        .revision = vl1->options.version[2],
    };
}

/* ---- sending ---- */

/* Build and seal a HELLO in vl1->wire. Returns its length, 0 if there is no memory for keys. */
static size_t hello_build(struct peer *peer, const struct inetaddr *address, int64_t now_ms)
{
    struct vl1 *vl1 = peer->vl1;
    struct armor_keys *keys = peer_keys(peer);
    struct hello_moon moons[MOONS_MAX];
    size_t moon_count = topology_hello_moons(vl1, moons, COUNT_OF(moons));
    struct hello h = {
        .version = own_version(vl1),
        .timestamp = (uint64_t)vl1_wall(vl1, now_ms),
        .identity = vl1->identity,
        .has_address = true,
        .address = *address,
        .has_planet = true,
        .planet_id = vl1->planet != NULL ? vl1->planet->id : 0,
        .planet_timestamp = vl1->planet != NULL ? vl1->planet->timestamp : 0,
        .has_tail = true,
    };
    struct wr w = wr_init(vl1->wire + PACKET_AT_PAYLOAD, MTU_PHYSICAL_DEFAULT - PACKET_AT_PAYLOAD);
    size_t tail;
    size_t len;
    uint64_t id = packet_id_next(&vl1->ids);

    if (keys == NULL) {
        return 0;
    }
    packet_start(vl1->wire, id, peer->identity.address, vl1->identity.address, VERB_HELLO);
    tail = hello_encode(&w, &h, moons, moon_count);
    sodium_memzero(h.identity.priv, sizeof(h.identity.priv));
    if (w.bad) {
        return 0;
    }
    len = PACKET_AT_PAYLOAD + wr_len(&w);
    hello_mask(vl1->wire, len, PACKET_AT_PAYLOAD + tail, keys);
    armor_seal(vl1->wire, len, SUITE_POLY1305, keys);
    await_add(vl1, id, peer->identity.address, VERB_HELLO, now_ms);
    vl1_tally_packet(vl1, true, vl1->wire, len);
    peer->packets[1]++;
    return len;
}

/* One in vl1->wire that goes to many addresses, so it names none. Returns its length, 0: none. */
size_t hello_make(struct peer *peer, int64_t now_ms)
{
    static const struct inetaddr nil;

    return hello_build(peer, &nil, now_ms);
}

/* To a physical address from one socket, or (0) from every one of its family. */
void hello_send(struct peer *peer, uint32_t socket, const struct inetaddr *to, int64_t now_ms)
{
    struct vl1 *vl1 = peer->vl1;
    size_t len = hello_build(peer, to, now_ms);

    if (len == 0) {
        return;
    }
    if (socket == 0) {
        vl1_emit_all(vl1, to, vl1->wire, len);
    } else {
        vl1_emit(vl1, socket, to, vl1->wire, len, 0);
    }
}

/* Through the relay: makes us known to a peer that has no path to us, and tells us its version. */
void hello_send_relayed(struct peer *peer, int64_t now_ms)
{
    static const struct inetaddr nil;
    struct vl1 *vl1 = peer->vl1;
    struct peer *relay = vl1->relay != 0 ? peer_in_memory(vl1, vl1->relay) : NULL;
    struct path *path = relay != NULL && relay != peer ? path_best(relay, now_ms) : NULL;
    size_t len;

    if (path == NULL || (peer->last_relayed_hello_ms != TIME_NEVER &&
                         now_ms - peer->last_relayed_hello_ms < RELAYED_HELLO_MS)) {
        return;
    }
    peer->last_relayed_hello_ms = now_ms;
    len = hello_build(peer, &nil, now_ms);
    if (len > 0) {
        peer->relayed[1]++;
        vl1_emit(vl1, path->socket, &path->remote, vl1->wire, len, 0);
    }
}

/* ---- answering ---- */

/* Worlds are many times larger than a HELLO: where its sender is not proved to be, with a bound. */
static bool may_give_worlds(struct peer *peer, const struct opened *packet)
{
    return is_proved_source(peer, &packet->at) ||
           bucket_take(&peer->vl1->worlds_credit_ms, WORLDS_BURST, WORLDS_GAP_MS,
                       packet->at.now_ms);
}

static void hello_answer(struct peer *peer, struct opened *packet, const struct hello *h,
                         struct hello_moons moons)
{
    struct vl1 *vl1 = peer->vl1;
    struct out_packet out;
    uint8_t worlds[PACKET_PAYLOAD_MAX - OK_HELLO_ROOM];
    struct wr w = wr_init(worlds, sizeof(worlds));
    struct ok_hello ok = {
        .timestamp = h->timestamp,
        .version = own_version(vl1),
        .has_address = true,
        .address = ok_hello_address_for(&packet->at.from, h->version.protocol),
        .has_worlds = true,
    };

    spread_give(peer, h, moons, packet->at.now_ms, &w);
    ok.worlds = worlds;
    ok.worlds_len = !w.bad && wr_len(&w) > 0 && may_give_worlds(peer, packet) ? wr_len(&w) : 0;
    out_begin_ok(vl1, &out, &packet->in);
    ok_hello_encode(&out.w, &ok);
    (void)!out_reply(vl1, &out, &packet->in, 0, packet->at.now_ms);
}

/* ---- receiving ---- */

/* Tell the layer above that the peer may have forgotten it. */
static void greeted(struct peer *peer, int64_t now_ms)
{
    struct vl1 *vl1 = peer->vl1;

    if (vl1->upper.greeted != NULL &&
        bucket_take(&peer->greet_credit_ms, GREET_BURST, GREET_MS, now_ms)) {
        vl1->upper.greeted(vl1->upper.ctx, peer->identity.address, now_ms);
    }
}

/* HELLOs are exempt from the duplicate filter, since copies come by several paths. So an old one is
 * known by the clock of its sender: whoever recorded it could otherwise tell us outdated addresses
 * and versions, and keep dead paths alive. A clock that was set back is believed after a while. */
static bool is_outdated(struct peer *peer, const struct hello *h, int64_t now_ms)
{
    if (peer->hello_stamp_ms != TIME_NEVER && now_ms - peer->hello_stamp_ms < HELLO_CLOCK_MS) {
        if (h->timestamp < peer->hello_stamp) {
            return true;
        }
        if (h->timestamp == peer->hello_stamp) {
            return now_ms - peer->hello_stamp_ms > HELLO_COPIES_MS;
        }
    }
    peer->hello_stamp = h->timestamp;
    peer->hello_stamp_ms = now_ms;
    return false;
}

/* An authentic HELLO of a known peer, whatever suite it came in. */
enum vl1_verdict hello_authenticated(struct peer *peer, struct opened *packet)
{
    struct vl1 *vl1 = peer->vl1;
    struct hello h;
    struct hello_moons moons;
    struct armor_keys *keys;
    size_t tail;

    if (hello_decode(packet->in.payload, &h) < 0 || h.version.protocol < PROTOCOL_VERSION_MIN ||
        !identity_equal(&h.identity, &peer->identity)) {
        vl1_count(vl1, VL1_DROP_HELLO);
        return VL1_DROP;
    }
    tail = PACKET_AT_PAYLOAD + h.tail_at;
    keys = peer_keys(peer);
    if (keys == NULL) {
        vl1_count(vl1, VL1_DROP_MEMORY);
        return VL1_DROP;
    }
    hello_mask(packet->pkt, packet->len, tail, keys);
    if (hello_decode_tail(packet->pkt + tail, packet->len - tail, &moons) < 0) {
        vl1_count(vl1, VL1_DROP_MALFORMED);
        return VL1_DROP;
    }
    if (peer->hello_stamp_ms != TIME_NEVER && h.timestamp <= peer->hello_stamp &&
        !bucket_take(&peer->hello_credit_ms, HELLO_COPIES, HELLO_COPY_MS, packet->at.now_ms)) {
        vl1_count(vl1, VL1_DROP_HELLO_RATE); /* anybody can send again what was recorded */
        return VL1_DROP;
    }
    if (is_outdated(peer, &h, packet->at.now_ms)) {
        hello_answer(peer, packet, &h, moons);
        if (packet->in.hops == 0 && path_find(peer, packet->at.socket, &packet->at.from) == NULL) {
            path_learn(peer, packet); /* asks there: a recording cannot answer */
        }
        vl1_count(vl1, VL1_DROP_DUPLICATE);
        return VL1_DROP;
    }
    if (packet->in.hops == 0 && h.has_address && h.address.family != INETADDR_NIL) {
        surface_report(peer, &packet->at, &h.address);
    }
    peer_set_version(peer, &h.version);
    hello_answer(peer, packet, &h, moons);
    spread_heard(peer, &h, moons, packet->at.now_ms);
    greeted(peer, packet->at.now_ms);
    return VL1_DONE;
}

/* The address is taken by another key. The one who asks is told so, in keys he can read. */
static void collision(struct vl1 *vl1, const struct arrival *at, const struct hello *h,
                      const uint8_t *pkt, const struct armor_keys *keys)
{
    uint8_t error[PACKET_AT_PAYLOAD + ERROR_HEAD_LEN];
    struct wr w = wr_init(error + PACKET_AT_PAYLOAD, ERROR_HEAD_LEN);
    bool new_suite = h->version.protocol >= 12 && vl1->options.protocol >= 12;

    packet_start(error, packet_id_next(&vl1->ids), h->identity.address, vl1->identity.address,
                 VERB_ERROR);
    error_encode(&w, &(struct error_msg){.head = {.verb = VERB_HELLO, .id = packet_id(pkt)},
                                         .code = ERROR_IDENTITY_COLLISION});
    armor_seal(error, sizeof(error), new_suite ? SUITE_AES_GMAC_SIV : SUITE_SALSA_POLY1305, keys);
    vl1_emit(vl1, at->socket, &at->from, error, sizeof(error), 0);
}

static void run_validate(struct engine_job *job)
{
    struct validate_job *vj = CONTAINER_OF(job, struct validate_job, job);
    void *scratch = aligned_alloc(64, ADDRESS_HASH_MEMORY); /* nothing secret */

    vj->result = -ENOMEM;
    if (scratch != NULL) {
        vj->result = identity_validate(&vj->identity, scratch);
        free(scratch);
    }
    job->done = true;
}

/* A HELLO whose sender is being checked came again, by another path: it is answered there too. */
static void validate_copy(struct validate *v, const struct arrival *at, const uint8_t *packet,
                          size_t len)
{
    if (len == 0 || len != v->len || v->at_count == VALIDATE_COPIES ||
        memcmp(packet + PACKET_AT_ID, v->packet + PACKET_AT_ID, PACKET_AT_DEST) != 0) {
        return;
    }
    for (unsigned i = 0; i < v->at_count; i++) {
        if (v->at[i].socket == at->socket && inetaddr_equal(&v->at[i].from, &at->from)) {
            return;
        }
    }
    v->at[v->at_count++] = *at;
}

/* Start the check of an address hash. packet: the HELLO to go on with, or NULL for a known peer. */
static int validate_start(struct vl1 *vl1, const struct identity *id, const struct arrival *at,
                          const uint8_t *packet, size_t len, unsigned limit)
{
    struct validate *v;
    struct list *it;
    struct list *tmp;

    if (vl1->validation_count >= limit || len > sizeof(v->packet)) {
        return -EAGAIN;
    }
    LIST_EACH(&vl1->validations, it, tmp)
    {
        v = CONTAINER_OF(it, struct validate, link);
        if (identity_equal(&v->job.identity, id)) {
            validate_copy(v, at, packet, len);
            return 0; /* under way */
        }
    }
    v = calloc(1, sizeof(*v));
    if (v == NULL) {
        return -ENOMEM;
    }
    v->job.job.run = run_validate;
    v->job.identity = *id;
    v->at[v->at_count++] = *at;
    v->len = len;
    if (len > 0) {
        memcpy(v->packet, packet, len);
    }
    list_push(&vl1->validations, &v->link);
    vl1->validation_count++;
    if (vl1->env.job(vl1->env.ctx, &v->job.job) < 0) {
        list_remove(&v->link);
        vl1->validation_count--;
        free(v);
        return -EAGAIN;
    }
    return 0;
}

static void stranger(struct vl1 *vl1, const struct arrival *at, const struct hello *h, uint8_t *pkt,
                     size_t len, const struct peer *known, enum stranger_class class)
{
    static const unsigned limits[] = {[STRANGER_FIRST] = VALIDATE_JOBS_MAX / 2,
                                      [STRANGER_AGAIN] = VALIDATE_JOBS_MAX * 3 / 4,
                                      [STRANGER_NEAR] = VALIDATE_JOBS_MAX};
    uint8_t secret[SHARED_KEY_LEN];
    struct armor_keys keys;

    if (identity_agree(&vl1->identity, &h->identity, secret) < 0) {
        vl1_count(vl1, VL1_DROP_HELLO);
        return;
    }
    armor_keys_init(&keys, secret);
    if (armor_open(pkt, len, &keys) < 0) {
        vl1_count(vl1, VL1_DROP_MAC);
    } else if (known != NULL) {
        collision(vl1, at, h, pkt, &keys);
    } else if (validate_start(vl1, &h->identity, at, pkt, len, limits[class]) < 0) {
        vl1_count(vl1, VL1_DROP_HELLO_RATE);
    }
    armor_keys_done(&keys);
    sodium_memzero(secret, sizeof(secret));
}

/* A HELLO in suite 0, not authenticated yet. */
void hello_receive(struct vl1 *vl1, const struct arrival *at, uint8_t *pkt, size_t len)
{
    enum stranger_class class = STRANGER_NO;
    struct hello h;
    struct peer *peer;

    if (hello_decode(rd_init(pkt + PACKET_AT_PAYLOAD, len - PACKET_AT_PAYLOAD), &h) < 0 ||
        h.version.protocol < PROTOCOL_VERSION_MIN || h.identity.address != packet_source(pkt) ||
        address_is_reserved(h.identity.address)) {
        vl1_count(vl1, VL1_DROP_HELLO);
        return;
    }
    peer = peer_in_memory(vl1, h.identity.address);
    if (peer == NULL || !identity_equal(&peer->identity, &h.identity)) {
        class = stranger_admit(vl1, at, h.identity.address);
        if (class == STRANGER_NO) {
            vl1_count(vl1, VL1_DROP_HELLO_RATE);
            return;
        }
        peer = peer != NULL ? peer : vl1_peer_find(vl1, h.identity.address, at->now_ms);
    }
    if (peer == NULL || !identity_equal(&peer->identity, &h.identity)) {
        stranger(vl1, at, &h, pkt, len, peer, class);
        return;
    }
    if (peer_open(peer, pkt, len) < 0) {
        vl1_count(vl1, VL1_DROP_MAC);
        return;
    }
    vl1_dispatch(vl1, peer, at, pkt, len, DISPATCH_NEW);
}

/* Each copy of the HELLO is handled where it came from. */
static void process_copies(struct vl1 *vl1, struct peer *peer, const struct validate *v,
                           int64_t now_ms)
{
    for (unsigned i = 0; i < v->at_count && !peer->gone; i++) {
        uint8_t packet[sizeof(v->packet)];
        struct arrival at = v->at[i];

        at.now_ms = now_ms;
        memcpy(packet, v->packet, v->len);
        vl1_dispatch(vl1, peer, &at, packet, v->len, DISPATCH_NEW);
    }
}

/* The check of an identity came back. */
void hello_validated(struct vl1 *vl1, struct validate *v, int64_t now_ms)
{
    struct peer *peer = peer_in_memory(vl1, v->job.identity.address);
    bool valid = v->job.job.done && v->job.result == 0;

    list_remove(&v->link);
    vl1->validation_count--;
    if (peer != NULL && identity_equal(&peer->identity, &v->job.identity)) {
        peer->validating = false;
        peer->validated = peer->validated || valid;
        peer->invalid = v->job.job.done && v->job.result == -EACCES;
        if (valid) {
            rx_mark_due(vl1, peer->identity.address);
        }
    }
    if (v->len > 0 && valid && peer == NULL) {
        peer = peer_new(vl1, &v->job.identity, now_ms);
        if (peer != NULL) {
            peer->validated = true;
            process_copies(vl1, peer, v, now_ms);
            whois_peer_known(vl1, peer, now_ms);
        }
    } else if (v->len > 0 && valid && identity_equal(&peer->identity, &v->job.identity)) {
        process_copies(vl1, peer, v, now_ms);
    } else if (v->len > 0) {
        vl1_count(vl1, VL1_DROP_HELLO);
    }
    if (peer != NULL && peer->invalid && !peer_is_upstream(peer)) {
        engine_log(&vl1->env, LOG_LEVEL_ERROR,
                   "vl1: an upstream handed out a forged identity address=%010llx",
                   (unsigned long long)peer->identity.address);
        peer_free(peer);
    }
    free(v);
}

void validations_drop(struct vl1 *vl1)
{
    struct list *link;

    while ((link = list_first(&vl1->validations)) != NULL) {
        list_remove(link);
        free(CONTAINER_OF(link, struct validate, link));
    }
    vl1->validation_count = 0;
}

bool vl1_peer_is_validated(struct vl1 *vl1, struct peer *peer, int64_t now_ms)
{
    struct arrival at = {.now_ms = now_ms};

    if (!peer->validated && !peer->validating) {
        peer->validating =
            validate_start(vl1, &peer->identity, &at, NULL, 0, VALIDATE_JOBS_MAX) == 0;
    }
    return peer->validated;
}

/* ---- OK(HELLO) ---- */

enum vl1_verdict hello_ok(struct peer *peer, struct opened *packet)
{
    struct vl1 *vl1 = peer->vl1;
    uint64_t source = peer->identity.address;
    struct ok_hello ok;

    if (ok_hello_decode(packet->in.payload, &ok) < 0 ||
        ok.version.protocol < PROTOCOL_VERSION_MIN) {
        vl1_count(vl1, VL1_DROP_MALFORMED);
        return VL1_DROP;
    }
    if (ok.has_worlds && ok.worlds_len > 0 && topology_accepts_worlds_from(vl1, source) &&
        spread_take(vl1, &ok, source, packet->at.now_ms) < 0) {
        vl1_count(vl1, VL1_DROP_MALFORMED);
        return VL1_DROP;
    }
    peer_set_version(peer, &ok.version);
    peer->last_hello_ms = packet->at.now_ms;
    if (packet->in.hops == 0 && ok.has_address && ok.address.family != INETADDR_NIL) {
        surface_report(peer, &packet->at, &ok.address);
    }
    return VL1_DONE;
}
