/* Peers: creation from an identity or the cache, keepalive and the end.
 * Source: spec 02 sections 6.1, 6.6 and 13. */
#include "vl1/vl1_priv.h"

#include "base/bucket.h"
#include "wire/peer_cache.h"

#include <errno.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>

static void peer_timer(struct timer *timer, int64_t now_ms);

static int64_t time_max(int64_t a, int64_t b)
{
    return a > b ? a : b;
}

struct peer *peer_in_memory(const struct vl1 *vl1, uint64_t address)
{
    struct hmap_node *n = hmap_find(&vl1->peers, address);

    return n != NULL ? CONTAINER_OF(n, struct peer, by_address) : NULL;
}

const struct peer *vl1_peer_known(const struct vl1 *vl1, uint64_t address)
{
    return peer_in_memory(vl1, address);
}

bool peer_is_upstream(const struct peer *peer)
{
    return peer->planet_root || peer->moon_root;
}

bool peer_is_kept(const struct peer *peer)
{
    return peer_is_upstream(peer) || peer->keep > 0;
}

/* When it was heard last, or made known. */
static int64_t heard_ms(const struct peer *peer)
{
    return time_max(peer->last_receive_ms, peer->created_ms);
}

/* True if what the cache says of it is not old. */
static bool is_saved(const struct peer *peer, int64_t now_ms)
{
    return peer->last_save_ms != TIME_NEVER && now_ms - peer->last_save_ms < PEER_SAVE_MS;
}

/* The table is full: let a peer go that was silent for long. */
static void make_room(struct vl1 *vl1, int64_t now_ms)
{
    struct peer *oldest = NULL;
    unsigned looked = 0;
    uint64_t at;

    /* A sample of 64 from a random place finds an old one, and bounds the work. */
    vl1->env.random(vl1->env.ctx, &at, sizeof(at));
    for (struct hmap_node *n = hmap_sample(&vl1->peers, at); n != NULL && looked < 64;
         n = hmap_each(&vl1->peers, n), looked++) {
        struct peer *peer = CONTAINER_OF(n, struct peer, by_address);

        if (!peer_is_kept(peer) && (oldest == NULL || heard_ms(peer) < heard_ms(oldest))) {
            oldest = peer;
        }
    }
    if (oldest != NULL) {
        if (!is_saved(oldest, now_ms)) {
            peer_save(oldest, now_ms);
        }
        peer_free(oldest);
    }
}

static size_t peers_max(const struct vl1 *vl1)
{
    return vl1->max_peers > 0 ? vl1->max_peers : vl1->root ? PEERS_ROOT_MAX : PEERS_MAX;
}

void vl1_set_max_peers(struct vl1 *vl1, uint32_t count)
{
    vl1->max_peers = count;
}

struct peer *peer_new(struct vl1 *vl1, const struct identity *id, int64_t now_ms)
{
    struct peer *peer;

    if (vl1->peers.count >= peers_max(vl1)) {
        make_room(vl1, now_ms);
    }
    peer = calloc(1, sizeof(*peer));
    if (peer == NULL) {
        return NULL;
    }
    peer->vl1 = vl1;
    peer->identity = *id;
    sodium_memzero(peer->identity.priv, sizeof(peer->identity.priv));
    peer->identity.has_private = false;
    peer->best = -1;
    peer->last_receive_ms = peer->last_activity_ms = peer->last_trust_ms = TIME_NEVER;
    peer->last_hello_ms = peer->last_relayed_hello_ms = peer->last_whois_ms = TIME_NEVER;
    peer->greet_credit_ms = peer->hello_stamp_ms = peer->hello_credit_ms = TIME_NEVER;
    peer->last_save_ms = peer->last_worlds_ms = peer->moved_credit_ms = TIME_NEVER;
    peer->created_ms = now_ms;
    peer->timer.fire = peer_timer;
    if (identity_agree(&vl1->identity, id, peer->secret) < 0 ||
        hmap_insert(&vl1->peers, &peer->by_address, id->address) < 0) {
        sodium_memzero(peer, sizeof(*peer));
        free(peer);
        return NULL;
    }
    /* Forgotten if nothing is ever heard of it. */
    (void)!timers_arm(&vl1->timers, &peer->timer, now_ms + PEER_ALIVE_MS);
    return peer;
}

static void peer_release(struct peer *peer)
{
    peer_live_free(peer);
    peer_search_free(peer);
    free(peer->paths);
    free(peer->traversal);
    sodium_memzero(peer, sizeof(*peer));
    free(peer);
}

/* Forgotten at once. The memory goes at the end of the outermost input, since handlers further up
 * may still hold the peer (its own packet can be what made it go). */
void peer_free(struct peer *peer)
{
    if (peer == NULL || peer->gone) {
        return;
    }
    peer_withdraw(peer);
    timers_cancel(&peer->vl1->timers, &peer->timer);
    hmap_remove(&peer->vl1->peers, &peer->by_address);
    peer->gone = true;
    peer->next_gone = peer->vl1->gone;
    peer->vl1->gone = peer;
}

void peers_bury(struct vl1 *vl1)
{
    struct peer *peer;

    while ((peer = vl1->gone) != NULL) {
        vl1->gone = peer->next_gone;
        peer_release(peer);
    }
}

static void peer_store(struct peer *peer, int64_t now_ms);

/* All of them, at the end of everything. */
void peers_done(struct vl1 *vl1, int64_t now_ms)
{
    unsigned stored = 0;

    for (struct hmap_node *n = hmap_each(&vl1->peers, NULL); n != NULL;
         n = hmap_each(&vl1->peers, n)) {
        struct peer *peer = CONTAINER_OF(n, struct peer, by_address);

        if (stored < SAVES_AT_END && !is_saved(peer, now_ms)) {
            peer_store(peer, now_ms);
            stored++;
        }
        peer_withdraw(peer);
        timers_cancel(&vl1->timers, &peer->timer);
        peer->next_gone = vl1->gone;
        vl1->gone = peer;
    }
    hmap_done(&vl1->peers);
    peers_bury(vl1);
}

/* ---- what a packet means ---- */

static bool is_activity(unsigned verb)
{
    return verb == VERB_FRAME || verb == VERB_EXT_FRAME || verb == VERB_NETWORK_CONFIG_REQUEST ||
           verb == VERB_NETWORK_CONFIG || verb == VERB_MULTICAST_FRAME;
}

bool peer_is_active(const struct peer *peer, int64_t now_ms)
{
    return peer->last_activity_ms != TIME_NEVER && now_ms - peer->last_activity_ms < PEER_ACTIVE_MS;
}

/* Is the relay in use reached at this remote address? */
static bool is_relay_address(const struct vl1 *vl1, const struct inetaddr *from)
{
    const struct peer *relay = peer_in_memory(vl1, vl1->relay);

    for (size_t i = 0; relay != NULL && i < relay->path_count; i++) {
        if (inetaddr_equal(&relay->paths[i].remote, from)) {
            return true;
        }
    }
    return false;
}

void peer_received(struct peer *peer, const struct opened *packet, bool trust)
{
    struct vl1 *vl1 = peer->vl1;
    int64_t now_ms = packet->at.now_ms;
    bool was_active = peer_is_active(peer, now_ms);

    peer->last_receive_ms = now_ms;
    peer_answered(peer, now_ms);
    if (is_activity(packet->in.verb)) {
        peer->last_activity_ms = now_ms;
    }
    if (trust) {
        peer->last_trust_ms = now_ms;
        if (packet->in.verb == VERB_FRAME || packet->in.verb == VERB_EXT_FRAME) {
            peer_has_frames(peer);
        }
        if (packet->in.hops == 0) {
            relay_trust(vl1, &packet->at);
        }
    }
    if (packet->in.hops == 0) {
        path_learn(peer, packet);
    } else if (vl1->relay != 0 && !peer_is_upstream(peer)) {
        peer_came_by(peer, !is_relay_address(vl1, &packet->at.from), now_ms);
    }
    if (peer_is_trusted(peer, now_ms)) {
        push_maybe(peer, packet);
    }
    if (trust || packet->in.verb == VERB_NETWORK_CREDENTIALS) {
        rx_mark_due(vl1, packet->in.source);
    }
    if (!was_active && peer_is_active(peer, now_ms)) {
        peer_schedule(peer, now_ms);
    }
}

/* Workers handled frames of it: the last at in_ms, the last of a shared network at trust_ms. */
void peer_seen(struct peer *peer, int64_t in_ms, int64_t trust_ms, int64_t now_ms)
{
    bool was_active = peer_is_active(peer, now_ms);

    peer->last_receive_ms = time_max(peer->last_receive_ms, in_ms);
    peer->last_activity_ms = time_max(peer->last_activity_ms, in_ms);
    peer->last_trust_ms = time_max(peer->last_trust_ms, trust_ms);
    peer_answered(peer, in_ms);
    push_relayed(peer, now_ms);
    if (!was_active && peer_is_active(peer, now_ms)) {
        peer_schedule(peer, now_ms);
    }
}

bool peer_is_trusted(const struct peer *peer, int64_t now_ms)
{
    return peer->last_trust_ms != TIME_NEVER && now_ms - peer->last_trust_ms < TRUST_MS;
}

void peer_set_version(struct peer *peer, const struct node_version *version)
{
    peer->version = *version;
    peer_stale(peer);
}

bool peer_can_echo(const struct peer *peer)
{
    const struct node_version *v = &peer->version;

    return v->protocol >= 5 && !(v->major == 1 && v->minor == 1 && v->revision == 0);
}

/* ---- keepalive ---- */

/* HELLO to one stable endpoint of each family, to others at the next call. Returns how many there
 * are. */
size_t peer_greet_endpoints(struct peer *peer, int64_t now_ms)
{
    struct vl1 *vl1 = peer->vl1;
    struct inetaddr at[WORLD_ENDPOINTS_MAX];
    size_t count = topology_endpoints(vl1, peer->identity.address, at, COUNT_OF(at));
    bool sent_v4 = false;
    bool sent_v6 = false;

    for (size_t i = 0; i < count; i++) {
        const struct inetaddr *to = &at[(peer->endpoint + i) % count];
        bool *sent = to->family == INETADDR_V4 ? &sent_v4 : &sent_v6;

        if (!*sent) {
            *sent = true;
            origin_note(peer, to, ORIGIN_WORLD);
            hello_send(peer, 0, to, now_ms);
        }
    }
    peer->endpoint++;
    return count;
}

/* To a peer that must be reached and has no path. */
void peer_contact_round(struct peer *peer, int64_t now_ms)
{
    size_t count = peer_greet_endpoints(peer, now_ms);

    if (count == 0 || peer->attempts >= 4) {
        hello_send_relayed(peer, now_ms);
    }
    peer->attempts++;
    peer->last_hello_ms = now_ms;
}

/* When the next such HELLO leaves: soon in the first minute, in which a network may come up. */
static int64_t contact_due(const struct peer *peer)
{
    int64_t last = peer->attempts < UPSTREAM_EAGER ? UPSTREAM_EAGER_MS : UPSTREAM_RETRY_LAST_MS;
    int64_t delay = UPSTREAM_RETRY_FIRST_MS;

    if (peer->last_hello_ms == TIME_NEVER) {
        return TIME_NEVER;
    }
    for (unsigned i = 1; i < peer->attempts && delay < last; i++) {
        delay *= 2;
    }
    return peer->last_hello_ms + (delay < last ? delay : last);
}

/* Time of the next heartbeat of a path. */
static int64_t path_due(const struct peer *peer, const struct path *path)
{
    int64_t beat = peer_is_upstream(peer)             ? UPSTREAM_ECHO_MS
                   : peer->vl1->options.low_bandwidth ? HEARTBEAT_LOW_MS
                                                      : HEARTBEAT_MS;
    int64_t last = time_max(path->last_probe_ms, path->learned_ms);

    /* A path is tested by its heartbeat also while it sends: upstreams by any authenticated answer,
     * leaves by their own heartbeat. */
    if (!peer_is_upstream(peer) && path->lost == 0) {
        last = time_max(last, path->last_out_ms);
    }
    return last + beat;
}

static void heartbeat(struct peer *peer, int64_t now_ms)
{
    int64_t hello_due =
        peer->last_hello_ms == TIME_NEVER ? now_ms : peer->last_hello_ms + FULL_HELLO_MS;
    struct path *best = path_best(peer, now_ms);

    for (size_t i = 0; i < peer->path_count; i++) {
        struct path *path = &peer->paths[i];

        if (path == best && hello_due <= now_ms) {
            peer->last_hello_ms = now_ms;
            hello_send(peer, path->socket, &path->remote, now_ms);
            path->last_probe_ms = now_ms;
            path->lost = (uint8_t)(path->lost < UINT8_MAX ? path->lost + 1 : path->lost);
            peer_stale(peer);
            path_sent(peer, path, now_ms);
        } else if (path_due(peer, path) <= now_ms) {
            path_probe(peer, path, now_ms);
        }
    }
}

static int64_t next_heartbeat(const struct peer *peer, int64_t now_ms)
{
    int64_t next = INT64_MAX;

    for (size_t i = 0; i < peer->path_count; i++) {
        int64_t due = path_due(peer, &peer->paths[i]);

        next = due < next ? due : next;
    }
    if (peer->path_count > 0 && peer->last_hello_ms != TIME_NEVER) {
        int64_t due = peer->last_hello_ms + FULL_HELLO_MS;

        next = due < next ? due : next;
    }
    return time_max(next, now_ms + 1);
}

bool peer_has_direct_path(const struct peer *peer, int64_t now_ms)
{
    for (size_t i = 0; i < peer->path_count; i++) {
        if (path_is_usable(&peer->paths[i], now_ms)) {
            return true;
        }
    }
    return false;
}

static void expire_paths(struct peer *peer, int64_t now_ms)
{
    for (size_t i = peer->path_count; i-- > 0;) {
        if (path_is_expired(&peer->paths[i], now_ms)) {
            path_remove(peer, &peer->paths[i]);
        }
    }
}

static int64_t peer_expiry(const struct peer *peer)
{
    return heard_ms(peer) + PEER_ALIVE_MS;
}

void peer_schedule(struct peer *peer, int64_t now_ms)
{
    int64_t at = peer_expiry(peer);
    int64_t next;

    if (peer->gone) {
        return;
    }
    if (peer_is_kept(peer) && !peer_has_direct_path(peer, now_ms)) {
        at = contact_due(peer);
    } else if (peer->path_count > 0 && (peer_is_kept(peer) || peer_is_active(peer, now_ms))) {
        next = next_heartbeat(peer, now_ms);
        at = next < at || peer_is_kept(peer) ? next : at;
    } else if (peer->validating) {
        at = now_ms + PEER_KEYS_IDLE_MS; /* whatever else: until the check is back */
    } else if (peer->live != NULL) {
        at = now_ms + PEER_KEYS_IDLE_MS < at ? now_ms + PEER_KEYS_IDLE_MS : at;
    }
    for (size_t i = 0; i < peer->path_count; i++) {
        next = path_question_ms(peer, &peer->paths[i]);
        at = next < at ? next : at;
    }
    next = peer_relay_question_ms(peer, now_ms);
    at = next < at ? next : at;
    next = peer->vl1->pub != NULL ? path_gives_way_ms(peer, now_ms) : INT64_MAX;
    at = next < at ? next : at;
    next = detour_due(peer, now_ms);
    at = next < at ? next : at;
    if (peer->confirm_left > 0 && peer->confirm_ms < at) {
        at = peer->confirm_ms;
    }
    (void)!timers_arm(&peer->vl1->timers, &peer->timer, time_max(at, now_ms + 1));
}

/* The HELLO that should prove a path got no answer: again. */
static void confirm_again(struct peer *peer, int64_t now_ms)
{
    if (peer->confirm_left == 0 || peer->confirm_ms > now_ms) {
        return;
    }
    peer->confirm_left--;
    peer->confirm_ms = now_ms + ((int64_t)CONFIRM_FIRST_MS << (CONFIRM_TRIES - peer->confirm_left));
    if (peer_has_direct_path(peer, now_ms) ||
        !path_is_allowed(peer->vl1, peer, &peer->confirm_to) ||
        !probe_allowance(peer->vl1, now_ms)) {
        peer->confirm_left = 0;
    } else {
        hello_send(peer, peer->confirm_socket, &peer->confirm_to, now_ms);
    }
}

static void peer_timer(struct timer *timer, int64_t now_ms)
{
    struct peer *peer = CONTAINER_OF(timer, struct peer, timer);
    struct vl1 *vl1 = peer->vl1;
    bool silent =
        peer->last_receive_ms == TIME_NEVER || now_ms - peer->last_receive_ms >= PEER_KEYS_IDLE_MS;

    peer_stale(peer);
    peer_search_trim(peer, now_ms);
    expire_paths(peer, now_ms);
    if (peer->last_save_ms == TIME_NEVER && peer->path_count > 0) {
        peer_save(peer, now_ms); /* there was no time for it */
    }
    if (!peer_is_kept(peer) && !peer->validating && peer_expiry(peer) <= now_ms) {
        if (!is_saved(peer, now_ms)) {
            peer_save(peer, now_ms);
        }
        peer_free(peer);
        return;
    }
    if (peer->path_count > 0 && (peer_is_kept(peer) || peer_is_active(peer, now_ms))) {
        heartbeat(peer, now_ms);
    }
    peer_question(peer, now_ms);
    peer_relay_question(peer, now_ms);
    confirm_again(peer, now_ms);
    if (peer_is_kept(peer) && !peer_has_direct_path(peer, now_ms)) {
        if (contact_due(peer) <= now_ms) {
            peer_contact_round(peer, now_ms);
        }
    } else if (silent && !peer_is_active(peer, now_ms)) {
        peer_live_free(peer);
    }
    path_settle(peer, now_ms);
    if (peer_is_upstream(peer)) {
        detour_retry(vl1, now_ms);
        topology_choose_relay(vl1, now_ms);
    }
    peer_schedule(peer, now_ms);
}

/* All peers are to be asked at once: if they are very many, those with traffic are enough; the
 * others ask us in their own time. */
bool peer_is_worth_asking(const struct peer *peer, int64_t now_ms)
{
    return peer->vl1->peers.count <= ASKED_AT_ONCE || peer_is_kept(peer) ||
           peer_is_active(peer, now_ms);
}

int vl1_contact_keep(struct vl1 *vl1, uint64_t address, int64_t now_ms)
{
    struct peer *peer = vl1_peer_find(vl1, address, now_ms);

    if (address == vl1->identity.address || address_is_reserved(address)) {
        return -EINVAL;
    }
    if (peer == NULL) {
        vl1_whois(vl1, address, now_ms);
        return -EAGAIN;
    }
    if (peer->keep++ == 0 && !peer_has_direct_path(peer, now_ms)) {
        hello_send_relayed(peer, now_ms);
    }
    peer_schedule(peer, now_ms);
    return 0;
}

void vl1_contact_release(struct vl1 *vl1, uint64_t address)
{
    struct peer *peer = peer_in_memory(vl1, address);

    if (peer != NULL && peer->keep > 0) {
        peer->keep--;
    }
}

/* ---- cache ---- */

/* Write a peer down, whatever it costs. */
static void peer_store(struct peer *peer, int64_t now_ms)
{
    struct engine_env *env = &peer->vl1->env;
    struct peer_record *rec;
    uint8_t *buf;

    if (peer->last_receive_ms == TIME_NEVER || env->state_store == NULL) {
        return; /* never heard: nothing worth keeping */
    }
    rec = calloc(1, sizeof(*rec) + PEER_RECORD_LEN_MAX);
    if (rec == NULL) {
        return;
    }
    buf = (uint8_t *)(rec + 1);
    rec->identity = peer->identity;
    rec->protocol = peer->version.protocol;
    rec->major = peer->version.major;
    rec->minor = peer->version.minor;
    rec->revision = peer->version.revision;
    for (size_t i = 0; i < peer->path_count; i++) {
        bool twice = false;

        for (size_t k = 0; k < rec->path_count; k++) {
            twice = twice || inetaddr_equal(&rec->paths[k], &peer->paths[i].remote);
        }
        if (!twice) {
            rec->paths[rec->path_count++] = peer->paths[i].remote;
        }
    }
    struct wr w = wr_init(buf, PEER_RECORD_LEN_MAX);

    peer_record_encode(&w, rec);
    if (!w.bad) {
        env->state_store(env->ctx, STATE_PEER, peer->identity.address, buf, wr_len(&w));
        peer->last_save_ms = now_ms;
    }
    free(rec);
}

/* The same if not too much was written lately: strangers cause this. */
void peer_save(struct peer *peer, int64_t now_ms)
{
    if (peer->last_receive_ms != TIME_NEVER &&
        bucket_take(&peer->vl1->save_credit_ms, SAVES_BURST, SAVE_GAP_MS, now_ms)) {
        peer_store(peer, now_ms);
    }
}

static struct peer *peer_from_cache(struct vl1 *vl1, uint64_t address, int64_t now_ms)
{
    struct peer *peer = NULL;
    struct peer_record *rec = calloc(1, sizeof(*rec) + PEER_RECORD_LEN_MAX);
    uint8_t *buf;
    ssize_t n;

    if (rec == NULL) {
        return NULL;
    }
    buf = (uint8_t *)(rec + 1);
    n = vl1->env.state_load != NULL
            ? vl1->env.state_load(vl1->env.ctx, STATE_PEER, address, buf, PEER_RECORD_LEN_MAX)
            : -ENOENT;
    if (n > 0 && peer_record_decode(rd_init(buf, (size_t)n), rec) == 0 &&
        rec->identity.address == address) {
        peer = peer_new(vl1, &rec->identity, now_ms);
    }
    if (peer != NULL) {
        peer->version = (struct node_version){(uint8_t)rec->protocol, (uint8_t)rec->major,
                                              (uint8_t)rec->minor, rec->revision};
        for (size_t i = 0; i < rec->path_count && i < PUSH_PER_CLASS; i++) {
            origin_note(peer, &rec->paths[i], ORIGIN_CACHE);
            peer_probe_address(peer, 0, &rec->paths[i], true, now_ms);
        }
    }
    free(rec);
    return peer;
}

struct peer *vl1_peer_find(struct vl1 *vl1, uint64_t address, int64_t now_ms)
{
    struct peer *peer = peer_in_memory(vl1, address);

    if (peer != NULL || address_is_reserved(address) || address == vl1->identity.address ||
        hmap_find(&vl1->whois, address) != NULL) {
        return peer; /* while a WHOIS is out the cache was asked already */
    }
    return peer_from_cache(vl1, address, now_ms);
}

void vl1_recall(struct vl1 *vl1, uint64_t address, int64_t now_ms)
{
    struct peer *peer = vl1_peer_find(vl1, address, now_ms);

    if (peer != NULL) {
        /* It may hold on to a dead path of ours for a while: heartbeats will show it the new one.
         */
        peer->last_activity_ms = now_ms;
        peer_schedule(peer, now_ms);
    }
}

/* ---- looking in ---- */

const struct identity *peer_identity(const struct peer *peer)
{
    return &peer->identity;
}

uint64_t peer_address(const struct peer *peer)
{
    return peer->identity.address;
}

int64_t peer_last_receive(const struct peer *peer)
{
    return peer->last_receive_ms;
}

int peer_latency(const struct peer *peer, int64_t now_ms)
{
    const struct path *best = path_best((struct peer *)peer, now_ms);

    return best != NULL ? best->latency_ms : -1;
}

size_t vl1_peer_count(const struct vl1 *vl1)
{
    return vl1->peers.count;
}

const struct peer *vl1_peer_each(const struct vl1 *vl1, const struct peer *after)
{
    struct hmap_node *n =
        hmap_each(&vl1->peers, after != NULL ? (struct hmap_node *)&after->by_address : NULL);

    return n != NULL ? CONTAINER_OF(n, struct peer, by_address) : NULL;
}

void peer_look(const struct peer *peer, int64_t now_ms, struct peer_view *ret)
{
    bool known = peer->version.protocol != 0;

    *ret = (struct peer_view){
        .address = peer->identity.address,
        .version = {known ? peer->version.major : -1, known ? peer->version.minor : -1,
                    known ? peer->version.revision : -1},
        .protocol = peer->version.protocol,
        .planet_root = peer->planet_root,
        .moon_root = peer->moon_root,
        .planet_stamp = spread_root_stamp(peer->vl1, peer->identity.address),
        .latency_ms = peer_latency(peer, now_ms),
        .last_receive_ms = peer->last_receive_ms,
        .packets = {peer->packets[0], peer->packets[1]},
        .relayed = {peer->relayed[0], peer->relayed[1]},
        .packet_errors = peer->packet_errors,
        .relay_reason = peer_relay_reason(peer, now_ms),
    };
    for (size_t i = 0; peer->traversal != NULL && i < COUNT_OF(ret->nat); i++) {
        ret->nat[i] = peer->traversal->nat[i];
    }
    for (size_t i = 0; i < peer->path_count; i++) {
        ret->path_count += path_is_usable(&peer->paths[i], now_ms);
    }
    if (ret->path_count == 0 && peer->vl1->relay != peer->identity.address) {
        ret->relay = peer->vl1->relay;
    }
}

bool peer_look_path(const struct peer *peer, size_t index, int64_t now_ms, struct path_view *ret)
{
    const struct path *best = path_best((struct peer *)peer, now_ms);

    for (size_t i = 0; i < peer->path_count; i++) {
        const struct path *p = &peer->paths[i];

        if (path_is_usable(p, now_ms) && index-- == 0) {
            *ret = (struct path_view){.remote = p->remote,
                                      .socket = p->socket,
                                      .last_send_ms = p->last_out_ms,
                                      .last_receive_ms = p->last_in_ms,
                                      .latency_ms = p->latency_ms,
                                      .trusted_path_id = p->trusted_id,
                                      .preferred = p == best,
                                      .mtu = p->mtu,
                                      .learned_ms = p->learned_ms,
                                      .origin = p->origin};
            return true;
        }
    }
    return false;
}
