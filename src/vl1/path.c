/* Paths of a peer: which addresses may be one, how one is proved, chosen, tested and given up.
 * Only awaited, authenticated answers prove a path; only authenticated packets keep it alive.
 * Source: spec 02 sections 6.2 to 6.7 and Do better 4, 5, 10, 13. */
#include "vl1/vl1_priv.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* ---- which addresses ---- */

static bool in_tunnel_broker(const struct inetaddr *a)
{
    return a->family == INETADDR_V6 && be32_get(a->ip) == 0x20010470;
}

static bool is_blacklisted(const struct vl1 *vl1, uint64_t address, const struct inetaddr *remote)
{
    struct hmap_node *n = hmap_find(&vl1->virtuals, address);

    for (size_t i = 0; i < vl1->physical_count; i++) {
        if (vl1->physical[i].blacklist && vl1->physical[i].net.port > 0 &&
            inetaddr_in_net(remote, &vl1->physical[i].net)) {
            return true;
        }
    }
    if (n != NULL) {
        const struct virtual_entry *e = CONTAINER_OF(n, struct virtual_entry, by_address);

        for (size_t i = 0; i < e->blacklist_count; i++) {
            if (inetaddr_in_net(remote, &e->blacklist[i])) {
                return true;
            }
        }
    }
    return false;
}

bool path_is_allowed(struct vl1 *vl1, const struct peer *peer, const struct inetaddr *remote)
{
    enum inet_scope scope = inetaddr_scope(remote);
    bool has_endpoints = false;

    if (scope != INET_SCOPE_PRIVATE && scope != INET_SCOPE_SHARED &&
        scope != INET_SCOPE_PSEUDO_PRIVATE && scope != INET_SCOPE_GLOBAL) {
        return false;
    }
    if (remote->port == 0 || in_tunnel_broker(remote)) {
        return false;
    }
    if (peer_is_upstream(peer) && !topology_is_stable_endpoint(vl1, peer, remote, &has_endpoints) &&
        has_endpoints) {
        return false;
    }
    if (vl1->upper.is_overlay_ip != NULL && vl1->upper.is_overlay_ip(vl1->upper.ctx, remote)) {
        return false;
    }
    if (is_blacklisted(vl1, peer->identity.address, remote)) {
        return false;
    }
    return vl1->env.may_reach == NULL || vl1->env.may_reach(vl1->env.ctx, remote);
}

/* Give up the paths of a peer that are not allowed any more. */
static void drop_forbidden(struct peer *peer)
{
    struct vl1 *vl1 = peer->vl1;
    unsigned before = peer->path_count;

    for (size_t i = peer->path_count; i-- > 0;) {
        if (!path_is_allowed(vl1, peer, &peer->paths[i].remote)) {
            path_remove(peer, &peer->paths[i]);
        }
    }
    if (peer->path_count < before) {
        path_settle(peer, vl1->now_ms);
        peer_schedule(peer, vl1->now_ms);
        if (peer_is_upstream(peer)) {
            topology_choose_relay(vl1, vl1->now_ms);
        }
    }
}

/* Routes of the system changed: paths that lead into our own networks now are given up. */
void vl1_check_paths(struct vl1 *vl1)
{
    for (struct hmap_node *n = hmap_each(&vl1->peers, NULL); n != NULL;
         n = hmap_each(&vl1->peers, n)) {
        drop_forbidden(CONTAINER_OF(n, struct peer, by_address));
    }
}

/* The settings of a remote address: those of the longest configured prefix, or NULL. */
const struct physical_entry *policy_find(const struct vl1 *vl1, const struct inetaddr *remote)
{
    const struct physical_entry *hit = NULL;

    for (size_t i = 0; i < vl1->physical_count; i++) {
        const struct physical_entry *e = &vl1->physical[i];

        if (inetaddr_in_net(remote, &e->net) && (hit == NULL || e->net.port > hit->net.port)) {
            hit = e;
        }
    }
    return hit;
}

/* UDP payload that an entry (or NULL) allows. */
unsigned policy_mtu(const struct physical_entry *entry)
{
    if (entry == NULL || entry->mtu == 0) {
        return MTU_PHYSICAL_DEFAULT;
    }
    return entry->mtu < MTU_PHYSICAL_MIN   ? MTU_PHYSICAL_MIN
           : entry->mtu > MTU_PHYSICAL_MAX ? MTU_PHYSICAL_MAX
                                           : entry->mtu;
}

static void apply_policy(const struct vl1 *vl1, struct path *path)
{
    const struct physical_entry *entry = policy_find(vl1, &path->remote);

    mtu_configured(vl1, path);
    path->trusted_id = entry != NULL ? entry->trusted_path_id : 0;
}

void paths_apply_policy(struct vl1 *vl1)
{
    for (struct hmap_node *n = hmap_each(&vl1->peers, NULL); n != NULL;
         n = hmap_each(&vl1->peers, n)) {
        struct peer *peer = CONTAINER_OF(n, struct peer, by_address);

        for (size_t i = 0; i < peer->path_count; i++) {
            apply_policy(vl1, &peer->paths[i]);
            peer_stale(peer);
        }
        drop_forbidden(peer);
    }
}

/* ---- state ---- */

struct path *path_find(struct peer *peer, uint32_t socket, const struct inetaddr *remote)
{
    for (size_t i = 0; i < peer->path_count; i++) {
        if (peer->paths[i].socket == socket && inetaddr_equal(&peer->paths[i].remote, remote)) {
            return &peer->paths[i];
        }
    }
    return NULL;
}

bool path_is_expired(const struct path *path, int64_t now_ms)
{
    /* NOLINTNEXTLINE(clang-analyzer-core.NullDereference): there is an array if there are paths */
    return now_ms - path->last_in_ms >= PATH_EXPIRY_MS;
}

/* Not expired and not found dead: two probes in a row without an answer. */
bool path_is_usable(const struct path *path, int64_t now_ms)
{
    if (path_is_expired(path, now_ms)) {
        return false;
    }
    return path->lost < PROBE_LOST_MAX ||
           (path->lost == PROBE_LOST_MAX && now_ms - path->last_probe_ms < path_patience(path));
}

void path_latency(struct path *path, int64_t sample_ms)
{
    int sample = sample_ms > 60000 ? 60000 : (int)sample_ms;

    path->latency_ms = path->latency_ms < 0 ? sample : (path->latency_ms + sample) / 2;
}

void path_remove(struct peer *peer, struct path *path)
{
    size_t i = (size_t)(path - peer->paths);

    peer->paths[i] = peer->paths[--peer->path_count];
    peer->best = -1;
    peer_stale(peer);
}

/* Round trip (at least half a millisecond counts) weighted by scope, so that a private address wins
 * over a global one of equal latency. */
static uint64_t path_length(const struct path *path)
{
    uint64_t latency = path->latency_ms < 0 ? 1000 : (uint64_t)path->latency_ms;

    return (2 * latency + 1) * (8 - (uint64_t)inetaddr_scope(&path->remote));
}

/* Lower is better. */
static uint64_t path_score(const struct path *path)
{
    return path->redirected ? 0 : path_length(path) + detour_penalty(path->socket);
}

/* When a path gives way to one that was proved since it was last heard: the peer has moved if what
 * is sent over this one gets no answer for some round trips. newest: when the youngest usable one
 * was proved. INT64_MAX: it does not. */
static int64_t superseded_ms(const struct path *path, int64_t newest_ms)
{
    int64_t patience = MOVED_MS + 2 * (int64_t)(path->latency_ms > 0 ? path->latency_ms : 0);

    return newest_ms > path->last_in_ms && path->silent_since_ms != TIME_NEVER
               ? path->silent_since_ms + patience
               : INT64_MAX;
}

/* When the youngest usable path of a peer was proved. */
static int64_t newest_path_ms(const struct peer *peer, int64_t now_ms)
{
    int64_t newest_ms = TIME_NEVER;

    for (size_t i = 0; i < peer->path_count; i++) {
        const struct path *p = &peer->paths[i];

        if (path_is_usable(p, now_ms) && p->learned_ms > newest_ms &&
            detour_penalty(p->socket) == 0) {
            newest_ms = p->learned_ms;
        }
    }
    return newest_ms;
}

/* When silence alone makes the path in use give way to another one, INT64_MAX: never. The engine
 * looks whenever it sends; workers must be told. */
int64_t path_gives_way_ms(const struct peer *peer, int64_t now_ms)
{
    int64_t at_ms = INT64_MAX;

    if (peer->path_count > 1 && peer->best >= 0 && peer->best < peer->path_count) {
        at_ms = superseded_ms(&peer->paths[peer->best], newest_path_ms(peer, now_ms));
    }
    return at_ms > now_ms ? at_ms : INT64_MAX;
}

/* A probe is not answered in time: others that are known to work are better. */
static bool is_suspect(const struct path *path, int64_t now_ms)
{
    return path->lost >= PROBE_LOST_MAX ||
           (path->lost == 1 && now_ms - path->last_probe_ms >= path_patience(path));
}

/* Nothing is open about whether the peer hears us over this path. */
static bool is_proved(const struct path *path)
{
    return path->lost == 0 && path->forgiven == 0;
}

/* Order of paths: those not suspect first, of these those without an open question, then by score.
 */
static bool is_better(const struct path *a, const struct path *b, int64_t now_ms)
{
    bool suspect = is_suspect(a, now_ms);

    if (suspect != is_suspect(b, now_ms)) {
        return !suspect;
    }
    if (is_proved(a) != is_proved(b)) {
        return is_proved(a);
    }
    return path_score(a) < path_score(b);
}

/* Is the path in use to stay, though another one is better? A little better or better for a moment
 * is not worth a change. One that took over a moment ago and was not heard since is no good. */
static bool is_good_enough(const struct peer *peer, const struct path *current,
                           const struct path *best, int64_t now_ms)
{
    int64_t took_over_ms = peer->live != NULL ? peer->live->best_ms : TIME_NEVER;
    uint64_t scope = 8 - (uint64_t)inetaddr_scope(&current->remote);

    if (is_suspect(current, now_ms) ||
        detour_penalty(current->socket) > detour_penalty(best->socket) || best->redirected ||
        inetaddr_scope(&current->remote) != inetaddr_scope(&best->remote) ||
        (!is_proved(current) && is_proved(best) && current->last_in_ms < took_over_ms &&
         best->last_in_ms >= took_over_ms)) {
        return false;
    }
    return path_score(best) + path_length(current) / 10 + 6 * scope >= path_score(current) ||
           (took_over_ms != TIME_NEVER && now_ms - took_over_ms < SETTLED_MS);
}

/* The path to use now, or NULL. Another one takes over only if it is better by a tenth and three
 * milliseconds for some time, or the one in use is silent. */
struct path *path_best(struct peer *peer, int64_t now_ms)
{
    struct path *current =
        peer->best >= 0 && peer->best < peer->path_count ? &peer->paths[peer->best] : NULL;
    struct path *best = NULL;
    int64_t newest_ms;

    if (current != NULL && path_is_usable(current, now_ms) && peer->path_count == 1) {
        return current;
    }
    newest_ms = newest_path_ms(peer, now_ms);
    for (size_t i = 0; i < peer->path_count; i++) {
        struct path *p = &peer->paths[i];

        if (path_is_usable(p, now_ms) && superseded_ms(p, newest_ms) > now_ms &&
            (best == NULL || is_better(p, best, now_ms))) {
            best = p;
        }
    }
    if (best == NULL) {
        peer->best = -1;
        return NULL;
    }
    if (current != NULL && current != best && path_is_usable(current, now_ms) &&
        superseded_ms(current, newest_ms) > now_ms && is_good_enough(peer, current, best, now_ms)) {
        best = current;
    }
    if (best != current && peer->live != NULL) {
        peer->live->best_ms = now_ms;
    }
    peer->best = (int8_t)(best - peer->paths);
    return best;
}

/* Tell the host when a peer becomes direct or falls back to the relay. */
void path_settle(struct peer *peer, int64_t now_ms)
{
    struct engine_env *env = &peer->vl1->env;
    bool has = path_best(peer, now_ms) != NULL;

    if (has != peer->had_path) {
        peer->had_path = has;
        env->event(env->ctx, has ? EVENT_PEER_DIRECT : EVENT_PEER_RELAYED, peer->identity.address,
                   NULL, 0);
        if (has &&
            (peer->last_save_ms == TIME_NEVER || now_ms - peer->last_save_ms >= PEER_SAVE_MS)) {
            peer_save(peer, now_ms);
        }
    }
}

/* ---- learning ---- */

/* Replies that come at once; others wait for a database or were kept for a retry. */
static bool is_prompt_reply(const struct opened *packet)
{
    return packet->in.verb == VERB_OK && !packet->in.retry &&
           (packet->in.re_verb == VERB_ECHO || packet->in.re_verb == VERB_HELLO);
}

static struct path *path_slot(struct peer *peer, uint32_t socket, const struct inetaddr *remote,
                              int64_t now_ms)
{
    struct path *oldest = NULL;

    /* A dead path of the same socket and IP is an old mapping of one NAT: its place is taken. */
    for (size_t i = 0; i < peer->path_count; i++) {
        struct path *p = &peer->paths[i];

        if (p->socket == socket && inetaddr_ip_equal(&p->remote, remote) &&
            !path_is_usable(p, now_ms)) {
            return p;
        }
        if (oldest == NULL || p->last_in_ms < oldest->last_in_ms) {
            oldest = p;
        }
    }
    if (peer->path_count == PEER_PATHS_MAX) {
        return oldest;
    }
    if (peer->path_count == peer->path_cap) {
        uint8_t cap = peer->path_cap == 0 ? 1 : (uint8_t)(2 * peer->path_cap);
        struct path *paths = realloc(peer->paths, cap * sizeof(*paths));

        if (paths == NULL) {
            return oldest;
        }
        peer->paths = paths;
        peer->path_cap = cap;
    }
    return &peer->paths[peer->path_count++];
}

static void path_add(struct peer *peer, const struct opened *packet)
{
    struct vl1 *vl1 = peer->vl1;
    int64_t now_ms = packet->at.now_ms;
    bool first = peer->path_count == 0 || path_best(peer, now_ms) == NULL;
    struct path *path = path_slot(peer, packet->at.socket, &packet->at.from, now_ms);

    if (path == NULL) {
        return;
    }
    *path = (struct path){
        .remote = packet->at.from,
        .socket = packet->at.socket,
        .latency_ms = -1,
        .learned_ms = now_ms,
        .last_in_ms = now_ms,
        .last_out_ms = TIME_NEVER,
        .silent_since_ms = TIME_NEVER,
        .last_probe_ms = TIME_NEVER,
        .echo_credit_ms = TIME_NEVER,
        .origin = origin_of(peer, &packet->at.from),
    };
    mtu_reset(vl1, path);
    apply_policy(vl1, path);
    peer_stale(peer);
    if (is_prompt_reply(packet)) {
        path_latency(path, now_ms - packet->request_sent_ms);
    }
    peer->attempts = 0;
    peer->confirm_left = 0;
    stranger_neighbour(vl1, &packet->at);
    if (vl1->env.log_level >= LOG_LEVEL_DEBUG) {
        char text[INETADDR_TEXT_LEN];

        inetaddr_print(&path->remote, text);
        engine_log(&vl1->env, LOG_LEVEL_DEBUG, "vl1: path learned peer=%010llx path=%s rtt=%d",
                   (unsigned long long)peer->identity.address, text, path->latency_ms);
    }
    path_settle(peer, now_ms);
    if (peer_is_upstream(peer)) {
        topology_online(vl1, now_ms);
    }
    if (first) {
        tx_flush(vl1, peer->identity.address, now_ms);
    }
    peer_schedule(peer, now_ms);
}

/* HELLO to an address that should become a path. While the peer has none, a lost datagram must not
 * cost seconds: it is sent again a few times. */
void path_confirm(struct peer *peer, uint32_t socket, const struct inetaddr *to, int64_t now_ms)
{
    hello_send(peer, socket, to, now_ms);
    if (path_best(peer, now_ms) == NULL) {
        peer->confirm_to = *to;
        peer->confirm_socket = socket;
        peer->confirm_left = CONFIRM_TRIES;
        peer->confirm_ms = now_ms + CONFIRM_FIRST_MS;
        peer_schedule(peer, now_ms);
    }
}

/* Has nothing come over the path in use since something was sent? The peer may have moved, so that
 * the proof of its new path must not take long though a datagram is lost. */
static bool best_is_silent(struct peer *peer, int64_t now_ms)
{
    const struct path *path = path_best(peer, now_ms);

    return path == NULL || path->lost > 0 ||
           (path->silent_since_ms != TIME_NEVER && now_ms - path->silent_since_ms >= MOVED_MS);
}

/* An answer came from where the peer asked to be reached (cluster redirect): only now the others
 * give way, so that a wrong address does no harm. They stay, in case this one dies. */
static void redirect_proved(struct peer *peer, const struct opened *packet)
{
    struct traversal *t = peer->traversal;
    struct path *path;

    if (t == NULL || packet->in.verb != VERB_OK ||
        !inetaddr_equal(&t->redirect, &packet->at.from) ||
        packet->at.now_ms - t->redirect_ms >= AWAIT_MS) {
        return;
    }
    path = path_find(peer, packet->at.socket, &packet->at.from);
    for (size_t i = 0; i < peer->path_count && path != NULL; i++) {
        peer->paths[i].redirected = &peer->paths[i] == path;
    }
    if (path != NULL) {
        t->redirect = (struct inetaddr){0};
        peer->best = (int8_t)(path - peer->paths);
        peer_stale(peer);
    }
}

void path_learn(struct peer *peer, const struct opened *packet)
{
    struct vl1 *vl1 = peer->vl1;
    struct path *path = path_find(peer, packet->at.socket, &packet->at.from);

    if (path != NULL) {
        if (is_prompt_reply(packet)) {
            path_latency(path, packet->at.now_ms - packet->request_sent_ms);
            peer_stale(peer); /* another path may be better now */
        }
        if (packet->in.verb == VERB_OK) {
            path_answered(peer, path, packet->at.now_ms);
            redirect_proved(peer, packet);
        } else {
            path_heard(peer, path, packet->in.verb == VERB_ECHO || packet->in.verb == VERB_HELLO,
                       packet->at.now_ms, packet->at.now_ms);
        }
        return;
    }
    if (!path_is_allowed(vl1, peer, &packet->at.from) ||
        (peer_is_upstream(peer) && punch_is_socket(vl1, packet->at.socket))) {
        return;
    }
    if (packet->in.verb == VERB_OK) {
        if (punch_adopt(peer, packet->at.socket, packet->at.now_ms)) {
            path_add(peer, packet);
            redirect_proved(peer, packet);
        }
    } else {
        struct probe_gate *gate =
            peer_probe_gate(peer, packet->at.socket, &packet->at.from, packet->at.now_ms);
        int64_t pause_ms =
            best_is_silent(peer, packet->at.now_ms) ? PROBE_GATE_LOST_MS : PROBE_GATE_MS;

        if (gate != NULL &&
            (gate->probed_ms == TIME_NEVER || packet->at.now_ms - gate->probed_ms >= pause_ms)) {
            gate->probed_ms = gate->used_ms = packet->at.now_ms;
            path_confirm(peer, packet->at.socket, &packet->at.from, packet->at.now_ms);
        }
    }
}

/* ---- testing ---- */

/* Make room for so many gates. NULL: no memory. */
static struct peer_search *search_grow(struct peer *peer, unsigned gates)
{
    struct peer_search *search = peer->search;
    unsigned from = search != NULL ? search->gate_count : 0;
    struct peer_search *grown = realloc(search, sizeof(*search) + gates * sizeof(search->gates[0]));

    if (grown == NULL) {
        return NULL;
    }
    if (search == NULL) {
        *grown = (struct peer_search){0};
    }
    for (unsigned i = from; i < gates; i++) {
        grown->gates[i] = (struct probe_gate){0, TIME_NEVER, TIME_NEVER, TIME_NEVER};
    }
    grown->gate_count = gates;
    peer->search = grown;
    return grown;
}

/* What is known of addresses tried for a peer, made if there is nothing yet; NULL: no memory. */
struct peer_search *peer_search(struct peer *peer)
{
    if (peer->search == NULL && search_grow(peer, 1) == NULL) {
        return NULL;
    }
    peer->search->used_ms = peer->vl1->now_ms;
    return peer->search;
}

void peer_search_free(struct peer *peer)
{
    if (peer->search != NULL) {
        free(peer->search->origins);
        free(peer->search);
        peer->search = NULL;
    }
}

/* The gate of an address that is no path, or NULL when too many were used in the last second: the
 * holder of a peer's key must not make us send to any number of forged addresses. */
struct probe_gate *peer_probe_gate(struct peer *peer, uint32_t socket, const struct inetaddr *to,
                                   int64_t now_ms)
{
    uint64_t key = arrival_key(socket, to);
    struct peer_search *search = peer_search(peer);
    struct probe_gate *oldest;

    if (search == NULL) {
        return NULL;
    }
    peer->tried = true;
    oldest = &search->gates[0];
    for (size_t i = 0; i < search->gate_count; i++) {
        if (search->gates[i].key == key) {
            return &search->gates[i];
        }
        if (search->gates[i].used_ms < oldest->used_ms) {
            oldest = &search->gates[i];
        }
    }
    if (oldest->used_ms != TIME_NEVER && now_ms - oldest->used_ms < PROBE_GATE_MS &&
        search->gate_count < PEER_PROBES) {
        search = search_grow(peer, 2 * search->gate_count);
        if (search == NULL) {
            return NULL;
        }
        oldest = &search->gates[search->gate_count / 2];
    }
    if (oldest->used_ms != TIME_NEVER && now_ms - oldest->used_ms < PROBE_GATE_MS) {
        return NULL;
    }
    *oldest = (struct probe_gate){key, now_ms, TIME_NEVER, TIME_NEVER};
    return oldest;
}

void peer_search_trim(struct peer *peer, int64_t now_ms)
{
    if (peer->search != NULL && now_ms - peer->search->used_ms >= SEARCH_MS) {
        peer_search_free(peer);
    }
}

static void echo_send(struct peer *peer, uint32_t socket, const struct inetaddr *to, int64_t now_ms)
{
    struct out_packet out;

    out_begin(peer->vl1, &out, peer->identity.address, VERB_ECHO);
    (void)!out_straight(peer->vl1, &out, peer, socket, to, OUT_EXPECT, now_ms);
}

void path_probe(struct peer *peer, struct path *path, int64_t now_ms)
{
    struct inetaddr to = path->remote;
    uint32_t socket = path->socket;

    path->last_probe_ms = now_ms;
    path->lost = (uint8_t)(path->lost < UINT8_MAX ? path->lost + 1 : path->lost);
    path->last_out_ms = now_ms;
    peer_stale(peer);
    if (peer_can_echo(peer)) {
        echo_send(peer, socket, &to, now_ms);
    } else {
        hello_send(peer, socket, &to, now_ms);
    }
    if (path->lost > PROBE_LOST_MAX) {
        path_settle(peer, now_ms);
    }
}

/* Try an address that may become a path: from one socket, or (0) from all of its family. */
void peer_probe_address(struct peer *peer, uint32_t socket, const struct inetaddr *to,
                        bool force_hello, int64_t now_ms)
{
    struct vl1 *vl1 = peer->vl1;

    if (force_hello || !peer_can_echo(peer)) {
        hello_send(peer, socket, to, now_ms);
        return;
    }
    for (size_t i = 0; i < vl1->socket_count; i++) {
        const struct socket_entry *s = &vl1->sockets[i];

        if ((socket == 0 ? !s->extra : s->id == socket) && s->local.family == to->family) {
            echo_send(peer, s->id, to, now_ms);
        }
    }
}
