/* VL1 as a whole: creation, policy, and the way of a datagram up to the handler of its verb.
 * Source: spec 02 section 4, spec 01 section 9. */
#include "vl1/vl1_priv.h"

#include "base/bucket.h"
#include "datapath/dp.h"

#include <errno.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>

static const char *const counter_names[VL1_COUNTERS] = {
    [VL1_RX_DATAGRAMS] = "rx_datagrams",
    [VL1_RX_PACKETS] = "rx_packets",
    [VL1_TX_DATAGRAMS] = "tx_datagrams",
    [VL1_RELAYED] = "relayed",
    [VL1_INTRODUCTIONS] = "introductions",
    [VL1_DROP_RUNT] = "drop_runt",
    [VL1_DROP_BEACON] = "drop_beacon",
    [VL1_DROP_OWN_SOURCE] = "drop_own_source",
    [VL1_DROP_NOT_OURS] = "drop_not_ours",
    [VL1_DROP_HOPS] = "drop_hops",
    [VL1_DROP_NO_ROUTE] = "drop_no_route",
    [VL1_DROP_RELAY_RATE] = "drop_relay_rate",
    [VL1_DROP_RELAY_PAIR] = "drop_relay_pair",
    [VL1_DROP_FRAGMENT] = "drop_fragment",
    [VL1_DROP_SUITE] = "drop_suite",
    [VL1_DROP_TRUSTED_PATH] = "drop_trusted_path",
    [VL1_DROP_MAC] = "drop_mac",
    [VL1_DROP_DUPLICATE] = "drop_duplicate",
    [VL1_DROP_LZ4] = "drop_lz4",
    [VL1_DROP_MALFORMED] = "drop_malformed",
    [VL1_DROP_UNAWAITED] = "drop_unawaited",
    [VL1_DROP_HELLO] = "drop_hello",
    [VL1_DROP_HELLO_RATE] = "drop_hello_rate",
    [VL1_DROP_RATE] = "drop_rate",
    [VL1_DROP_RX_QUEUE] = "drop_rx_queue",
    [VL1_DROP_TX_QUEUE] = "drop_tx_queue",
    [VL1_DROP_TOO_BIG] = "drop_too_big",
    [VL1_DROP_MEMORY] = "drop_memory",
    [VL1_GIVEN] = "given_to_engine",
    [VL1_SLOW_JOIN] = "slow_joins",
};

const char *vl1_counter_name(size_t index)
{
    return index < VL1_COUNTERS ? counter_names[index] : NULL;
}

void vl1_count(struct vl1 *vl1, enum vl1_counter counter)
{
    vl1->counters[counter]++;
}

uint64_t vl1_counter_value(const struct vl1 *vl1, enum vl1_counter counter)
{
    return vl1->counters[counter];
}

const struct packet_tally *vl1_tally(const struct vl1 *vl1, bool sent)
{
    return &vl1->tally[sent];
}

void vl1_tally_packet(struct vl1 *vl1, bool sent, const uint8_t *pkt, size_t len)
{
    struct packet_tally *tally = &vl1->tally[sent];
    unsigned verb = pkt[PACKET_AT_VERB] & VERB_MASK;

    tally->verbs[verb]++;
    if (verb == VERB_ERROR && len > PACKET_AT_PAYLOAD + 9) {
        unsigned code = pkt[PACKET_AT_PAYLOAD + 9]; /* behind verb and ID of the request */

        tally->errors[code < TALLY_ERRORS ? code : 0]++;
    }
}

uint64_t arrival_key(uint32_t socket, const struct inetaddr *addr)
{
    return hash_mix(inetaddr_key(addr), socket);
}

/* ---- life ---- */

struct vl1 *vl1_new(const struct engine_env *env, const struct identity *identity,
                    const struct vl1_options *options, int64_t now_ms)
{
    struct vl1 *vl1 = calloc(1, sizeof(*vl1));

    if (vl1 == NULL) {
        return NULL;
    }
    (void)now_ms;
    vl1->env = *env;
    vl1->identity = *identity;
    vl1->options = *options;
    if (vl1->options.protocol == 0) {
        vl1->options.protocol = PROTOCOL_VERSION;
    }
    env->random(env->ctx, &vl1->seed, sizeof(vl1->seed));
    packet_id_init(&vl1->ids, env->random, env->ctx);
    vl1->relay_rate = DP_RELAY_RATE;
    timers_init(&vl1->timers);
    hmap_init(&vl1->peers, vl1->seed);
    hmap_init(&vl1->whois, vl1->seed);
    hmap_init(&vl1->virtuals, vl1->seed);
    list_init(&vl1->validations);
    list_init(&vl1->lives);
    list_init(&vl1->world_links);
    assembly_init(&vl1->assembly, vl1->seed);
    queues_init(vl1);
    vl1->mtu_timer.fire = mtu_timer;
    for (size_t i = 0; i < TRUSTED_REMOTES; i++) {
        vl1->trusted_remotes[i].at_ms = TIME_NEVER;
    }
    return vl1;
}

void vl1_set_upper(struct vl1 *vl1, const struct vl1_upper *upper)
{
    vl1->upper = *upper;
}

int vl1_start(struct vl1 *vl1, int64_t now_ms)
{
    return topology_load(vl1, now_ms);
}

void vl1_free(struct vl1 *vl1, int64_t now_ms)
{
    if (vl1 == NULL) {
        return;
    }
    vl1->upper = (struct vl1_upper){0}; /* it went before */
    validations_drop(vl1);
    punch_done(vl1);
    peers_done(vl1, now_ms);
    published_done(vl1);
    whois_done(vl1);
    queues_done(vl1);
    vl1_clear_virtual(vl1);
    hmap_done(&vl1->virtuals);
    topology_done(vl1);
    assembly_done(&vl1->assembly);
    timers_done(&vl1->timers);
    free(vl1->sockets);
    strangers_done(vl1);
    free(vl1->pairs);
    sodium_memzero(vl1, sizeof(*vl1));
    free(vl1);
}

void vl1_set_wall_offset(struct vl1 *vl1, int64_t offset_ms)
{
    vl1->options.wall_offset_ms = offset_ms;
}

const struct engine_env *vl1_env(const struct vl1 *vl1)
{
    return &vl1->env;
}

struct timers *vl1_timers(struct vl1 *vl1)
{
    return &vl1->timers;
}

const struct identity *vl1_identity(const struct vl1 *vl1)
{
    return &vl1->identity;
}

int64_t vl1_wall(const struct vl1 *vl1, int64_t now_ms)
{
    return now_ms + vl1->options.wall_offset_ms;
}

bool vl1_is_root(const struct vl1 *vl1)
{
    return vl1->root;
}

bool vl1_online(const struct vl1 *vl1)
{
    return vl1->root || vl1->online;
}

/* ---- policy ---- */

int vl1_set_sockets(struct vl1 *vl1, const struct vl1_socket *sockets, size_t count, int64_t now_ms)
{
    struct socket_entry *fresh;

    count = count < SOCKETS_MAX ? count : SOCKETS_MAX;
    fresh = calloc(count > 0 ? count : 1, sizeof(*fresh));
    if (fresh == NULL) {
        return -ENOMEM;
    }
    for (size_t i = 0; i < count; i++) {
        fresh[i] = (struct socket_entry){
            .id = sockets[i].id, .local = sockets[i].local, .mtu = sockets[i].mtu};
        for (size_t k = 0; k < vl1->socket_count; k++) {
            const struct socket_entry *old = &vl1->sockets[k];

            if (old->id == fresh[i].id) {
                fresh[i].extra = old->extra;
                fresh[i].resized = old->mtu != fresh[i].mtu;
                fresh[i].moved = !inetaddr_equal(&old->local, &fresh[i].local);
                if (!fresh[i].moved) {
                    fresh[i].nat = old->nat;
                    fresh[i].remapped_ms = old->remapped_ms;
                }
            }
        }
    }
    free(vl1->sockets);
    vl1->sockets = fresh;
    vl1->socket_count = count;
    surfaces_check(vl1);
    for (struct hmap_node *n = hmap_each(&vl1->peers, NULL); n != NULL;
         n = hmap_each(&vl1->peers, n)) {
        peer_contact_now(CONTAINER_OF(n, struct peer, by_address), now_ms);
    }
    for (size_t i = 0; i < count; i++) {
        fresh[i].moved = false;
        if (fresh[i].resized) {
            mtu_socket_changed(vl1, fresh[i].id);
        }
    }
    topology_choose_relay(vl1, now_ms);
    return 0;
}

/* One of our sockets, or NULL. */
struct socket_entry *socket_find(const struct vl1 *vl1, uint32_t id)
{
    for (size_t i = 0; i < vl1->socket_count; i++) {
        if (vl1->sockets[i].id == id) {
            return &vl1->sockets[i];
        }
    }
    return NULL;
}

void vl1_set_physical(struct vl1 *vl1, const struct physical_entry *entries, size_t count)
{
    vl1->physical_count = count < PHYSICAL_MAX ? count : PHYSICAL_MAX;
    if (vl1->physical_count > 0) {
        memcpy(vl1->physical, entries, vl1->physical_count * sizeof(*entries));
    }
    paths_apply_policy(vl1);
}

static struct inetaddr *copy_addrs(const struct inetaddr *addrs, size_t count)
{
    struct inetaddr *copy = calloc(count > 0 ? count : 1, sizeof(*copy));

    if (copy != NULL && count > 0) {
        memcpy(copy, addrs, count * sizeof(*copy));
    }
    return copy;
}

int vl1_add_virtual(struct vl1 *vl1, uint64_t address, const struct inetaddr *try_paths,
                    size_t try_count, const struct inetaddr *blacklist, size_t blacklist_count)
{
    struct virtual_entry *entry;

    if (vl1->virtuals.count >= VIRTUAL_MAX) {
        return 0;
    }
    entry = calloc(1, sizeof(*entry));
    if (entry == NULL) {
        return -ENOMEM;
    }
    entry->try_paths = copy_addrs(try_paths, try_count);
    entry->try_count = try_count;
    entry->blacklist = copy_addrs(blacklist, blacklist_count);
    entry->blacklist_count = blacklist_count;
    if (entry->try_paths == NULL || entry->blacklist == NULL ||
        hmap_insert(&vl1->virtuals, &entry->by_address, address) < 0) {
        free(entry->try_paths);
        free(entry->blacklist);
        free(entry);
        return -ENOMEM;
    }
    return 0;
}

void vl1_clear_virtual(struct vl1 *vl1)
{
    struct hmap_node *n;

    while ((n = hmap_drain(&vl1->virtuals)) != NULL) {
        struct virtual_entry *entry = CONTAINER_OF(n, struct virtual_entry, by_address);

        free(entry->try_paths);
        free(entry->blacklist);
        free(entry);
    }
}

void vl1_set_mapped(struct vl1 *vl1, const struct inetaddr *addrs, size_t count)
{
    vl1->mapped_count = count < MAPPED_MAX ? count : MAPPED_MAX;
    if (vl1->mapped_count > 0) {
        memcpy(vl1->mapped, addrs, vl1->mapped_count * sizeof(*addrs));
    }
}

/* ---- from datagram to packet ---- */

/* True if an upstream is reached at this remote address: it brings parts of many peers. */
bool is_upstream_address(const struct vl1 *vl1, const struct inetaddr *from)
{
    for (size_t i = 0; i < vl1->upstream_count; i++) {
        const struct peer *peer = peer_in_memory(vl1, vl1->upstreams[i]);

        for (size_t k = 0; peer != NULL && k < peer->path_count; k++) {
            if (inetaddr_ip_equal(&peer->paths[k].remote, from)) {
                return true;
            }
        }
    }
    return false;
}

/* A packet may come from anywhere by what its sender wrote. True if an answer that is many times
 * larger may go there: the peer was proved to be there, or an upstream passed the packet on. */
bool is_proved_source(struct peer *peer, const struct arrival *at)
{
    return path_find(peer, at->socket, &at->from) != NULL ||
           is_upstream_address(peer->vl1, &at->from);
}

/* Suite 2: believed only from inside a configured prefix, with its ID, unrelayed. */
static bool is_trusted_path(const struct vl1 *vl1, const struct arrival *at, const uint8_t *pkt)
{
    uint64_t id = be64_get(pkt + PACKET_AT_MAC);
    const struct physical_entry *hit = policy_find(vl1, &at->from);

    return hit != NULL && hit->trusted_path_id != 0 && hit->trusted_path_id == id &&
           packet_hops(pkt) == 0;
}

/* The source of a packet is not in memory: it may be in the cache, else it is looked up and the
 * packet waits. Anybody can cause this with any source address, so a packet that has no place to
 * wait, or whose lookup has none, goes before it costs more. */
static struct peer *stranger_find(struct vl1 *vl1, const struct arrival *at, const uint8_t *pkt,
                                  size_t len)
{
    uint64_t source = packet_source(pkt);
    struct peer *peer = NULL;

    if (rx_wait_has_room(vl1, at, source) &&
        (hmap_find(&vl1->whois, source) != NULL || whois_has_room(vl1, WHOIS_STRANGER))) {
        peer = vl1_peer_find(vl1, source, at->now_ms);
        if (peer == NULL && whois_stranger(vl1, source, at->now_ms)) {
            rx_wait_add(vl1, at, source, pkt, len, false);
            return NULL;
        }
    }
    if (peer == NULL) {
        vl1_count(vl1, VL1_DROP_RX_QUEUE);
    }
    return peer;
}

/* A whole packet for this node, sealed. */
void vl1_packet_in(struct vl1 *vl1, const struct arrival *at, uint8_t *pkt, size_t len)
{
    unsigned suite = packet_suite(pkt);
    bool trusted = suite == SUITE_TRUSTED && is_trusted_path(vl1, at, pkt);
    struct peer *peer;

    if (suite == SUITE_TRUSTED && !trusted) {
        vl1_count(vl1, VL1_DROP_TRUSTED_PATH);
        return;
    }
    if (suite > SUITE_AES_GMAC_SIV) {
        vl1_count(vl1, VL1_DROP_SUITE);
        return;
    }
    if (suite == SUITE_POLY1305 && packet_verb(pkt) == VERB_HELLO) {
        hello_receive(vl1, at, pkt, len);
        return;
    }
    peer = peer_in_memory(vl1, packet_source(pkt));
    if (peer == NULL) {
        peer = stranger_find(vl1, at, pkt, len);
    }
    if (peer == NULL) {
        return;
    }
    if (!trusted) {
        int err = peer_open(peer, pkt, len);

        if (err == -ENOMEM) {
            vl1_count(vl1, VL1_DROP_MEMORY);
            return;
        }
        if (err < 0) {
            vl1_count(vl1, VL1_DROP_MAC);
            peer->packet_errors++;
            return;
        }
    }
    vl1_dispatch(vl1, peer, at, pkt, len, DISPATCH_NEW);
}

static enum vl1_verdict handle_ok(struct peer *peer, struct opened *packet)
{
    struct vl1 *vl1 = peer->vl1;
    struct reply_head head;

    if (ok_head_read(&packet->in.payload, &head) < 0) {
        vl1_count(vl1, VL1_DROP_MALFORMED);
        return VL1_DROP;
    }
    packet->in.re_verb = head.verb;
    packet->in.re_id = head.id;
    if (!packet->in.retry && !await_take(vl1, head.id, packet->in.source, head.verb,
                                         packet->at.now_ms, &packet->request_sent_ms)) {
        vl1_count(vl1, VL1_DROP_UNAWAITED);
        return VL1_DROP;
    }
    switch (head.verb) {
    case VERB_HELLO:
        return hello_ok(peer, packet);
    case VERB_WHOIS:
        return whois_ok(peer, packet);
    case VERB_NETWORK_CONFIG_REQUEST:
    case VERB_MULTICAST_GATHER:
    case VERB_MULTICAST_FRAME:
    case VERB_EXT_FRAME:
        return vl1->upper.packet(vl1->upper.ctx, &packet->in, packet->at.now_ms);
    default:
        mtu_answered(peer, packet);
        return VL1_DONE; /* ECHO: its arrival is the news */
    }
}

static enum vl1_verdict handle_error(struct peer *peer, struct opened *packet)
{
    struct vl1 *vl1 = peer->vl1;
    struct rd whole = packet->in.payload;
    struct error_msg msg;

    if (error_decode(whole, &msg) < 0) {
        vl1_count(vl1, VL1_DROP_MALFORMED);
        return VL1_DROP;
    }
    rd_skip(&packet->in.payload, ERROR_HEAD_LEN);
    packet->in.re_verb = msg.head.verb;
    packet->in.re_id = msg.head.id;
    packet->in.error = msg.code;
    if (msg.code == ERROR_IDENTITY_COLLISION) {
        if (peer_is_upstream(peer)) {
            engine_log(&vl1->env, LOG_LEVEL_ERROR,
                       "vl1: a root says that our address belongs to another identity root=%010llx",
                       (unsigned long long)packet->in.source);
            vl1->env.event(vl1->env.ctx, EVENT_IDENTITY_COLLISION, packet->in.source, NULL, 0);
        }
        return VL1_DONE;
    }
    return vl1->upper.packet(vl1->upper.ctx, &packet->in, packet->at.now_ms);
}

static enum vl1_verdict handle_echo(struct peer *peer, struct opened *packet)
{
    struct vl1 *vl1 = peer->vl1;
    struct path *path = path_find(peer, packet->at.socket, &packet->at.from);
    struct probe_gate *gate = NULL;
    struct out_packet out;

    if (path == NULL && packet->is_expanded) {
        vl1_count(vl1, VL1_DROP_RATE); /* the answer may be many times larger: not to anybody */
        return VL1_DROP;
    }
    if (path == NULL) {
        gate = peer_probe_gate(peer, packet->at.socket, &packet->at.from, packet->at.now_ms);
        if (gate == NULL) {
            vl1_count(vl1, VL1_DROP_RATE);
            return VL1_DROP;
        }
        gate->used_ms = packet->at.now_ms;
    }
    /* Over a path a few may follow each other: liveness and size are asked for independently. */
    if (!bucket_take(path != NULL ? &path->echo_credit_ms : &gate->echo_credit_ms,
                     path != NULL ? ECHO_BURST : 1, ECHO_GATE_MS, packet->at.now_ms)) {
        vl1_count(vl1, VL1_DROP_RATE);
        return VL1_DROP;
    }
    out_begin_ok(vl1, &out, &packet->in);
    wr_bytes(&out.w, packet->in.payload.p, rd_left(&packet->in.payload));
    (void)!out_echo_answer(vl1, &out, &packet->in, packet->at.now_ms);
    if (path != NULL) {
        path->last_out_ms = packet->at.now_ms;
    }
    return VL1_DONE;
}

static enum vl1_verdict handle_user_message(struct peer *peer, struct opened *packet)
{
    struct vl1 *vl1 = peer->vl1;
    struct user_message msg;

    if (user_message_decode(packet->in.payload, &msg) == 0) {
        vl1->env.event(vl1->env.ctx, EVENT_USER_MESSAGE, packet->in.source, packet->in.payload.p,
                       rd_left(&packet->in.payload));
    }
    return VL1_DONE;
}

static enum vl1_verdict handle_trace(struct peer *peer, struct opened *packet)
{
    struct vl1 *vl1 = peer->vl1;
    struct dict d;

    while (remote_trace_next(&packet->in.payload, &d)) {
        vl1->env.event(vl1->env.ctx, EVENT_REMOTE_TRACE, packet->in.source, d.text, d.len);
    }
    return VL1_DONE;
}

static enum vl1_verdict handle_verb(struct peer *peer, struct opened *packet)
{
    struct vl1 *vl1 = peer->vl1;

    switch (packet->in.verb) {
    case VERB_HELLO:
        return hello_authenticated(peer, packet);
    case VERB_ERROR:
        return handle_error(peer, packet);
    case VERB_OK:
        return handle_ok(peer, packet);
    case VERB_WHOIS:
        return whois_receive(peer, packet);
    case VERB_RENDEZVOUS:
        return rendezvous_receive(peer, packet);
    case VERB_ECHO:
        return handle_echo(peer, packet);
    case VERB_PUSH_DIRECT_PATHS:
        return push_receive(peer, packet);
    case VERB_USER_MESSAGE:
        return handle_user_message(peer, packet);
    case VERB_REMOTE_TRACE:
        return handle_trace(peer, packet);
    case VERB_FRAME:
    case VERB_EXT_FRAME:
    case VERB_MULTICAST_LIKE:
    case VERB_NETWORK_CREDENTIALS:
    case VERB_NETWORK_CONFIG_REQUEST:
    case VERB_NETWORK_CONFIG:
    case VERB_MULTICAST_GATHER:
    case VERB_MULTICAST_FRAME:
        return vl1->upper.packet(vl1->upper.ctx, &packet->in, packet->at.now_ms);
    case VERB_ACK:
    case VERB_QOS_MEASUREMENT:
    case VERB_PATH_NEGOTIATION_REQUEST:
        return VL1_DROP; /* without a bond: no effect, not counted as received */
    case VERB_NOP:
    default:
        return VL1_DONE;
    }
}

/* An opened packet: duplicate test, decompression, verb, and what its arrival means. */
void vl1_dispatch(struct vl1 *vl1, struct peer *peer, const struct arrival *at, uint8_t *pkt,
                  size_t len, enum dispatch how)
{
    struct opened packet = {.at = *at};
    unsigned verb = pkt[PACKET_AT_VERB] & VERB_MASK;
    bool retry = how == DISPATCH_RETRY;
    enum vl1_verdict verdict;

    if (!punch_takes(vl1, peer, at->socket, verb, at->now_ms)) {
        vl1_count(vl1, VL1_DROP_RATE);
        return;
    }
    if (how == DISPATCH_NEW) {
        vl1_count(vl1, VL1_RX_PACKETS);
        if (verb != VERB_HELLO && verb != VERB_ECHO && peer_is_replay(peer, pkt, at->now_ms)) {
            vl1_count(vl1, VL1_DROP_DUPLICATE);
            return;
        }
    }
    if (!retry) {
        if ((pkt[PACKET_AT_VERB] & VERB_COMPRESSED) != 0) {
            int n;

            if (pkt != vl1->open) {
                memcpy(vl1->open, pkt, len);
                pkt = vl1->open;
            }
            n = packet_decompress(pkt, len, vl1->scratch);
            if (n < 0) {
                vl1_count(vl1, VL1_DROP_LZ4);
                return;
            }
            len = (size_t)n;
            packet.is_expanded = true;
        }
    }
    packet.pkt = pkt;
    packet.len = len;
    packet.in = (struct in_packet){
        .peer = peer,
        .identity = &peer->identity,
        .source = peer->identity.address,
        .id = packet_id(pkt),
        .verb = verb,
        .hops = packet_hops(pkt),
        .socket = at->socket,
        .from = at->from,
        .payload = rd_init(pkt + PACKET_AT_PAYLOAD, len - PACKET_AT_PAYLOAD),
        .retry = retry,
    };
    if (!retry) {
        vl1_tally_packet(vl1, false, pkt, len);
        peer->packets[0]++;
        peer->relayed[0] += packet_hops(pkt) > 0;
    }
    verdict = handle_verb(peer, &packet);
    if (verdict == VL1_LATER) {
        rx_wait_add(vl1, at, packet.in.source, pkt, len, true);
    } else if (verdict != VL1_DROP && !peer->gone) {
        peer_received(peer, &packet, verdict == VL1_TRUST);
    }
}

static void fragmented_in(struct vl1 *vl1, const struct arrival *at, uint8_t *data, size_t len)
{
    struct assembled whole;
    bool upstream = is_upstream_address(vl1, &at->from);
    int result = assembly_add(&vl1->assembly, data, len, &at->from, at->socket,
                              upstream ? ASSEMBLY_SHARE_UPSTREAM : ASSEMBLY_SHARE, at->now_ms,
                              vl1->open, &whole);

    if (result < 0) {
        vl1_count(vl1, VL1_DROP_FRAGMENT);
    } else if (result > 0) {
        struct arrival head = {.socket = whole.socket, .from = whole.from, .now_ms = at->now_ms};

        vl1_packet_in(vl1, &head, vl1->open, whole.len);
    }
    queues_schedule(vl1, at->now_ms);
}

/* A packet of ours came back to us: what we send is sent to us, by another tunnel that has our
 * datagrams as payload, or by a mirrored port. Said once; from: NULL unknown. */
void own_came_back(struct vl1 *vl1, const struct inetaddr *from)
{
    char text[INETADDR_TEXT_LEN] = "";

    if (vl1->loop_told) {
        return;
    }
    vl1->loop_told = true;
    if (from != NULL) {
        inetaddr_print(from, text);
    }
    engine_log(&vl1->env, LOG_LEVEL_WARN, "vl1: our own packets come back: loop by=%s", text);
}

static void datagram_in(struct vl1 *vl1, const struct arrival *at, uint8_t *data, size_t len)
{
    switch (datagram_classify(data, len)) {
    case DATAGRAM_FRAGMENT:
        if (packet_dest(data) != vl1->identity.address) {
            relay_fragment(vl1, at, data, len);
        } else {
            fragmented_in(vl1, at, data, len);
        }
        break;
    case DATAGRAM_PACKET:
        if (packet_source(data) == vl1->identity.address) {
            vl1_count(vl1, VL1_DROP_OWN_SOURCE);
            own_came_back(vl1, &at->from);
        } else if (packet_dest(data) != vl1->identity.address) {
            relay_packet(vl1, at, data, len);
        } else if (packet_is_fragmented(data)) {
            fragmented_in(vl1, at, data, len);
        } else {
            vl1_packet_in(vl1, at, data, len);
        }
        break;
    case DATAGRAM_BEACON:
        vl1_count(vl1, VL1_DROP_BEACON);
        break;
    case DATAGRAM_DROP:
    default:
        vl1_count(vl1, VL1_DROP_RUNT);
        break;
    }
}

void vl1_enter(struct vl1 *vl1)
{
    vl1->depth++;
}

void vl1_leave(struct vl1 *vl1, int64_t now_ms)
{
    if (vl1->depth == 1) {
        rx_run_due(vl1, now_ms);
        published_settle(vl1, now_ms);
        peers_bury(vl1);
        vl1->now_ms = now_ms;
    }
    vl1->depth--;
}

void vl1_receive(struct vl1 *vl1, uint32_t socket, const struct inetaddr *from, uint8_t *data,
                 size_t len, int64_t now_ms)
{
    struct arrival at = {.socket = socket, .from = *from, .now_ms = now_ms};

    vl1_count(vl1, VL1_RX_DATAGRAMS);
    vl1->now_ms = now_ms;
    vl1_enter(vl1);
    datagram_in(vl1, &at, data, len);
    vl1_leave(vl1, now_ms);
}

/* What a worker left to us. It counted datagrams, and what it opened. */
void vl1_take(struct vl1 *vl1, const struct dp_gift *gift, int64_t now_ms)
{
    struct arrival at = {.socket = gift->socket, .from = gift->from, .now_ms = now_ms};
    struct peer *peer;

    vl1->now_ms = now_ms;
    vl1_enter(vl1);
    switch (gift->kind) {
    case DP_GIFT_DATAGRAM:
        datagram_in(vl1, &at, gift->data, gift->len);
        break;
    case DP_GIFT_SEALED:
        vl1_packet_in(vl1, &at, gift->data, gift->len);
        break;
    case DP_GIFT_OPENED:
        /* Opened with the keys of a session: not those of a peer that came to be since. */
        peer = peer_in_memory(vl1, packet_source(gift->data));
        if (peer != NULL && peer->had_session) {
            vl1_dispatch(vl1, peer, &at, gift->data, gift->len, DISPATCH_TESTED);
        }
        break;
    case DP_GIFT_PAIR:
        relay_pair(vl1, &at, gift->data);
        break;
    case DP_GIFT_FRAME:
    default:
        break; /* the layer above has these */
    }
    vl1_leave(vl1, now_ms);
}

void vl1_job_done(struct vl1 *vl1, struct engine_job *job, int64_t now_ms)
{
    struct validate_job *vj = CONTAINER_OF(job, struct validate_job, job);

    vl1_enter(vl1);
    hello_validated(vl1, CONTAINER_OF(vj, struct validate, job), now_ms);
    vl1_leave(vl1, now_ms);
}

size_t vl1_packet_limit(const struct vl1 *vl1)
{
    unsigned mtu = MTU_PHYSICAL_DEFAULT;

    for (size_t i = 0; i < vl1->physical_count; i++) {
        unsigned allowed = policy_mtu(&vl1->physical[i]);

        mtu = allowed < mtu ? allowed : mtu;
    }
    return mtu + (FRAGMENTS_MAX - 1) * (mtu - FRAGMENT_AT_DATA);
}
