/* Is a path alive, is the relay? What is sent and not answered makes a path be asked after a few
 * round trips, two questions without answer make it be left; others are asked along with it, so
 * that the next one in use is known to work. A stream that is never answered is asked about less
 * and less often as long as the questions are answered. Timers do all of this, so that it takes
 * the same time however rarely something is sent.
 * Source: spec 02 sections 6.7 and 7.2, Do better 4, 5, 8. */
#include "vl1/vl1_priv.h"

/* ---- patience ---- */

static int64_t round_trip(const struct path *path)
{
    return path->latency_ms >= 0 ? path->latency_ms : PROBE_UNKNOWN_MS;
}

/* How long the answer to a probe may take before it counts as lost. */
int64_t path_patience(const struct path *path)
{
    return PROBE_AGAIN_MS + 2 * round_trip(path);
}

/* How long the answer to what was sent may take until the path is asked. */
static int64_t first_patience(const struct peer *peer, const struct path *path)
{
    int64_t calm_ms =
        peer_is_upstream(peer) || peer->vl1->root ? PROBE_CALM_RELAY_MS : PROBE_CALM_MS;
    int64_t wait_ms = (int64_t)PROBE_FIRST_MS << path->calm;

    if (peer->vl1->options.low_bandwidth) {
        wait_ms *= LOW_BANDWIDTH_FACTOR;
        calm_ms *= LOW_BANDWIDTH_FACTOR;
    }
    return (wait_ms < calm_ms ? wait_ms : calm_ms) + 2 * round_trip(path);
}

/* When a path is to be asked (again), whether or not something is sent meanwhile; INT64_MAX: when
 * its heartbeat is due. */
int64_t path_question_ms(const struct peer *peer, const struct path *path)
{
    unsigned over = path->lost > PROBE_LOST_MAX ? path->lost - PROBE_LOST_MAX : 0;

    if (path->lost == 0) {
        return path->silent_since_ms == TIME_NEVER
                   ? INT64_MAX
                   : path->silent_since_ms + first_patience(peer, path);
    }
    if (over > PROBE_DEAD_MAX) {
        return INT64_MAX;
    }
    over = (unsigned)(path_patience(path) << over);
    return path->last_probe_ms + (over < HEARTBEAT_MS ? over : HEARTBEAT_MS);
}

static void wake_by(struct peer *peer, int64_t at_ms)
{
    if (!peer->gone && (!timer_is_armed(&peer->timer) || peer->timer.at_ms > at_ms)) {
        (void)!timers_arm(&peer->vl1->timers, &peer->timer, at_ms);
    }
}

/* ---- what happens on a path ---- */

/* A path that was asked is in use again. */
static void revive(struct peer *peer, int64_t now_ms)
{
    peer_stale(peer);
    peer->attempts = 0;
    path_settle(peer, now_ms);
    peer_schedule(peer, now_ms);
    if (peer_is_upstream(peer)) {
        topology_online(peer->vl1, now_ms);
    }
}

/* An authenticated packet came over a path of the peer at heard_ms, now or a little ago. That it
 * can reach us does not prove that we reach it: a question of its own is no answer to us, and amid
 * other packets a question of ours remains open but for a few times, in which the answer may just
 * have been lost in a flood. A path that was given up is asked. */
void path_heard(struct peer *peer, struct path *path, bool is_question, int64_t heard_ms,
                int64_t now_ms)
{
    path->last_in_ms = heard_ms;
    if (!is_question && path->lost == 0) {
        path->calm = 0; /* it says something by itself */
    }
    if (!is_question && path->silent_since_ms <= heard_ms) {
        path->silent_since_ms = TIME_NEVER;
    }
    if (path->lost > PROBE_LOST_MAX) {
        if (now_ms - path->last_probe_ms >= PROBE_AGAIN_MS) {
            path_probe(peer, path, now_ms);
            peer_schedule(peer, now_ms);
        }
    } else if (path->lost > 0 && !is_question && path->forgiven < PROBE_FORGIVEN_MAX) {
        path->forgiven++;
        path->lost = heard_ms < path->last_probe_ms; /* one that left since is open */
        revive(peer, now_ms);
    }
}

/* An awaited answer came over a path. */
void path_answered(struct peer *peer, struct path *path, int64_t now_ms)
{
    bool was_lost = path->lost > 0;

    path->lost = path->forgiven = 0;
    path->last_in_ms = now_ms;
    path->silent_since_ms = TIME_NEVER;
    if (was_lost) {
        revive(peer, now_ms);
    }
}

/* Something left over the path at out_ms and was not answered yet. */
static void begin_silence(struct peer *peer, struct path *path, int64_t out_ms, int64_t now_ms)
{
    int64_t at_ms;

    path->silent_since_ms = out_ms;
    at_ms = path_question_ms(peer, path);
    if (peer->vl1->pub != NULL) {
        int64_t gives_way_ms = path_gives_way_ms(peer, now_ms);

        at_ms = gives_way_ms < at_ms ? gives_way_ms : at_ms;
    }
    if (at_ms != INT64_MAX) {
        wake_by(peer, at_ms > now_ms ? at_ms : now_ms + 1);
    }
}

/* A datagram of use leaves over the path. */
void path_sent(struct peer *peer, struct path *path, int64_t now_ms)
{
    path->last_out_ms = now_ms;
    if (path->silent_since_ms == TIME_NEVER) {
        begin_silence(peer, path, now_ms, now_ms);
    }
}

/* The same of what workers sent since they were asked last, the last at out_ms. When the first left
 * is not known: not before the last harvest. */
void path_carried(struct peer *peer, struct path *path, int64_t out_ms, int64_t now_ms)
{
    int64_t first_ms = now_ms - DP_HARVEST_MS;

    if (out_ms <= path->last_out_ms) {
        return; /* the engine sent since */
    }
    path->last_out_ms = out_ms;
    if (out_ms > path->last_in_ms && path->silent_since_ms == TIME_NEVER) {
        first_ms = first_ms > path->last_in_ms ? first_ms : path->last_in_ms;
        begin_silence(peer, path, first_ms < out_ms ? first_ms : out_ms, now_ms);
    }
}

/* ---- questions ---- */

/* Was a path asked, or did it show itself, so lately that asking again is of no use? */
static bool is_fresh(const struct path *path, int64_t now_ms)
{
    return path->lost > 0 || now_ms - path->last_in_ms < PROBE_AGAIN_MS ||
           (path->last_probe_ms != TIME_NEVER && now_ms - path->last_probe_ms < PROBE_AGAIN_MS);
}

/* Ask all paths of a peer that may be alive. */
static void ask_all(struct peer *peer, int64_t now_ms)
{
    unsigned asked = 0;

    for (size_t i = 0; i < peer->path_count && asked < PROBE_ALONG_MAX; i++) {
        if (!is_fresh(&peer->paths[i], now_ms)) {
            path_probe(peer, &peer->paths[i], now_ms);
            asked++;
        }
    }
    if (asked > 0) {
        peer_schedule(peer, now_ms);
    }
}

/* What goes by the relay may be lost: ask it, and those that may take its place. */
void upstreams_ask(struct vl1 *vl1, int64_t now_ms)
{
    for (size_t i = 0; i < vl1->upstream_count; i++) {
        struct peer *peer = peer_in_memory(vl1, vl1->upstreams[i]);

        if (peer != NULL) {
            ask_all(peer, now_ms);
        }
    }
}

/* Others may have to take the place of a path that is silent; and if that is because our own
 * address is another one now, the roots should know. */
static void ask_others(struct peer *peer, int64_t now_ms)
{
    if (!peer_is_upstream(peer)) {
        ask_all(peer, now_ms);
    }
    upstreams_ask(peer->vl1, now_ms);
}

/* Ask the paths of a peer whose time has come. */
void peer_question(struct peer *peer, int64_t now_ms)
{
    for (size_t i = 0; i < peer->path_count; i++) {
        struct path *path = &peer->paths[i];
        bool is_stream = path->lost == 0 && path->calm > 0; /* that is never answered: go easy */

        if (path_question_ms(peer, path) > now_ms) {
            continue;
        }
        if (path->lost == 0 && path->calm < PROBE_CALM_MAX) {
            path->calm++;
        } else if (path->lost > 0) {
            path->calm = 0;
        }
        path_probe(peer, path, now_ms);
        if (path->lost <= PROBE_LOST_MAX && !is_stream) {
            ask_others(peer, now_ms);
        }
    }
}

/* ---- the relay ---- */

/* How long an answer may take that comes and goes by relays. */
static int64_t relay_patience(const struct vl1 *vl1, int64_t now_ms)
{
    struct peer *relay = vl1->relay != 0 ? peer_in_memory(vl1, vl1->relay) : NULL;
    const struct path *path = relay != NULL ? path_best(relay, now_ms) : NULL;

    return PROBE_FIRST_MS + 4 * (path != NULL ? round_trip(path) : PROBE_UNKNOWN_MS);
}

/* Something left for a peer by the relay at out_ms. */
void peer_relayed_to(struct peer *peer, int64_t out_ms, int64_t now_ms)
{
    struct peer_live *live = peer->live;

    if (live != NULL && live->unanswered_ms == TIME_NEVER && out_ms > peer->last_receive_ms) {
        live->unanswered_ms = out_ms;
        wake_by(peer, now_ms + relay_patience(peer->vl1, now_ms));
    }
}

/* Something authentic came from a peer. */
void peer_answered(struct peer *peer, int64_t in_ms)
{
    struct peer_live *live = peer->live;

    if (live != NULL && in_ms >= live->unanswered_ms) {
        live->unanswered_ms = TIME_NEVER;
        live->relay_asked = false;
    }
}

/* When the relay is to be asked since a peer does not answer; INT64_MAX: never, or that was done.
 */
int64_t peer_relay_question_ms(const struct peer *peer, int64_t now_ms)
{
    const struct peer_live *live = peer->live;

    return live == NULL || live->unanswered_ms == TIME_NEVER || live->relay_asked
               ? INT64_MAX
               : live->unanswered_ms + relay_patience(peer->vl1, now_ms);
}

void peer_relay_question(struct peer *peer, int64_t now_ms)
{
    if (peer_relay_question_ms(peer, now_ms) <= now_ms) {
        peer->live->relay_asked = true;
        if (path_best(peer, now_ms) == NULL) {
            upstreams_ask(peer->vl1, now_ms);
        }
    }
}

/* A packet of a peer came by our relay, or by another one. That it begins to may mean that it found
 * ours dead; that it does not come directly, that the direct path is: it counts as a missed answer.
 */
void peer_came_by(struct peer *peer, bool is_other, int64_t now_ms)
{
    struct path *path = path_best(peer, now_ms);

    if (peer->live != NULL && peer->live->crossed != is_other) {
        peer->live->crossed = is_other;
        if (is_other) {
            upstreams_ask(peer->vl1, now_ms);
        }
    }
    if (path != NULL && path->lost == 0 && now_ms - path->last_in_ms >= PROBE_AGAIN_MS &&
        (path->last_probe_ms == TIME_NEVER || now_ms - path->last_probe_ms >= PROBE_GATE_MS)) {
        path_probe(peer, path, now_ms);
        path->lost = PROBE_LOST_MAX;
        ask_all(peer, now_ms);
        peer_schedule(peer, now_ms);
    }
}
