/* The largest datagram that a path carries. A path begins with the usual size; while large packets
 * flow over it, an ECHO of one datagram that may not be cut shows that this size still passes.
 * Where it does not, but small ones do, datagrams are small at once, and the size that passes is
 * searched for; larger sizes than in use are tried now and then. Nothing is sent on idle paths, nor
 * where the size is configured. An answer proves the way and the buffers of the peer, so datagrams
 * above 1500 bytes are sent after proof only.
 * Source: spec 09 section 10 (13 to 15), spec 05 section 12, spec 02 section 3.7; D-5, D-32. */
#include "vl1/vl1_priv.h"

#include <string.h>

enum {
    IP_OVERHEAD_V4 = 28, /* headers of IP and UDP */
    IP_OVERHEAD_V6 = 48,
    ETHERNET = 1500,
    MTU_SILENCES_MAX = 4, /* doublings of the time between tests */
    GRAIN = 512,          /* above the usual size the search ends when the rest is smaller */
};

/* Tenths of a second from now_ms on, never 0: small, as every path has two. */
static uint32_t mtu_clock(int64_t now_ms)
{
    return (uint32_t)(now_ms / 100) + 1;
}

/* Time since then. */
static int64_t since(uint32_t clock, int64_t now_ms)
{
    return (int64_t)(mtu_clock(now_ms) - clock) * 100;
}

/* ---- what may be ---- */

static unsigned ip_overhead(const struct inetaddr *remote)
{
    return remote->family == INETADDR_V4 ? IP_OVERHEAD_V4 : IP_OVERHEAD_V6;
}

/* The largest size worth a try: what the interface carries, or what is configured beyond the sizes
 * that are sent unproved. */
static unsigned mtu_ceiling(const struct vl1 *vl1, const struct path *path)
{
    const struct physical_entry *entry = policy_find(vl1, &path->remote);
    const struct socket_entry *s = socket_find(vl1, path->socket);
    unsigned overhead = ip_overhead(&path->remote);
    unsigned ceiling = MTU_PHYSICAL_DEFAULT;

    if (entry != NULL && entry->mtu != 0) {
        ceiling = policy_mtu(entry);
    } else if (s != NULL && s->mtu > overhead) {
        ceiling = s->mtu - overhead;
    }
    ceiling = ceiling > MTU_PROVABLE_MAX ? MTU_PROVABLE_MAX : ceiling;
    return ceiling < MTU_PHYSICAL_FLOOR ? MTU_PHYSICAL_FLOOR : ceiling;
}

/* Begin anew: with what is configured, or the usual size, unproved. What is configured beyond the
 * sizes that may be sent so is only the largest to try. */
void mtu_reset(const struct vl1 *vl1, struct path *path)
{
    const struct physical_entry *entry = policy_find(vl1, &path->remote);
    bool is_configured = entry != NULL && entry->mtu != 0;
    unsigned first = is_configured ? MTU_UNPROVED_MAX : MTU_PHYSICAL_DEFAULT;
    unsigned ceiling = mtu_ceiling(vl1, path);

    path->mtu_fixed = is_configured && ceiling <= MTU_UNPROVED_MAX;
    path->mtu = (uint16_t)(ceiling < first ? ceiling : first);
    path->mtu_raises = 0;
    path->mtu_silences = 0;
    path->large = 0;
    path->mtu_proved = path->mtu_raise = 0;
}

/* The settings were replaced. What was found stays where it is not touched. */
void mtu_configured(const struct vl1 *vl1, struct path *path)
{
    const struct physical_entry *entry = policy_find(vl1, &path->remote);

    if (path->mtu_fixed || (entry != NULL && entry->mtu != 0)) {
        mtu_reset(vl1, path);
    }
}

/* An interface carries more or less than before. */
void mtu_socket_changed(struct vl1 *vl1, uint32_t socket)
{
    for (struct hmap_node *n = hmap_each(&vl1->peers, NULL); n != NULL;
         n = hmap_each(&vl1->peers, n)) {
        struct peer *peer = CONTAINER_OF(n, struct peer, by_address);

        for (size_t i = 0; i < peer->path_count; i++) {
            if (peer->paths[i].socket == socket && !peer->paths[i].mtu_fixed) {
                mtu_reset(vl1, &peer->paths[i]);
                peer_stale(peer);
            }
        }
    }
}

/* The size of datagrams for a packet of len bytes. */
size_t mtu_for(const struct path *path, size_t len)
{
    return path->mtu_fixed ? path->mtu : fragment_mtu(len, path->mtu);
}

/* ---- searching ---- */

static void set_mtu(struct peer *peer, struct path *path, unsigned mtu)
{
    struct vl1 *vl1 = peer->vl1;

    if (path->mtu == mtu) {
        return;
    }
    path->mtu = (uint16_t)mtu;
    peer_stale(peer);
    if (vl1->env.log_level >= LOG_LEVEL_DEBUG) {
        char text[INETADDR_TEXT_LEN];

        inetaddr_print(&path->remote, text);
        engine_log(&vl1->env, LOG_LEVEL_DEBUG, "vl1: path mtu peer=%010llx path=%s mtu=%u",
                   (unsigned long long)peer->identity.address, text, mtu);
    }
}

static int64_t answer_patience(const struct path *path)
{
    return MTU_ANSWER_MS + 2 * (int64_t)(path->latency_ms > 0 ? path->latency_ms : 0);
}

static void search_end(struct vl1 *vl1, struct mtu_search *s)
{
    *s = vl1->mtu_searches[--vl1->mtu_search_count];
}

/* True if it is time to try larger sizes. */
static bool may_raise(const struct path *path, int64_t now_ms)
{
    uint16_t late = (uint16_t)((uint16_t)(now_ms / 1000) - path->mtu_raise);

    return path->mtu_raises == 0 || late <= INT16_MAX ||
           since(path->mtu_proved, now_ms) >= MTU_RAISE_LAST_MS;
}

/* All is known that was asked. */
static void search_done(struct vl1 *vl1, struct mtu_search *s, struct path *path, int64_t now_ms)
{
    if (path->mtu >= mtu_ceiling(vl1, path)) {
        path->mtu_raises = 0;
    } else if (s->low > 0) {
        int64_t wait = (int64_t)MTU_RAISE_FIRST_MS << path->mtu_raises;

        if (wait < MTU_RAISE_LAST_MS) {
            path->mtu_raises++;
        } else {
            wait = MTU_RAISE_LAST_MS;
        }
        path->mtu_raise = (uint16_t)((now_ms + wait) / 1000);
    }
    search_end(vl1, s);
}

/* The next size to try, 0: there is none. First those that links often carry. */
static unsigned next_size(const struct mtu_search *s)
{
    const unsigned usual[] = {MTU_PHYSICAL_DEFAULT, ETHERNET - ip_overhead(&s->remote)};

    for (size_t i = 0; i < COUNT_OF(usual); i++) {
        if (s->low < usual[i] && s->high >= usual[i]) {
            return usual[i];
        }
    }
    unsigned grain = s->low >= MTU_PHYSICAL_DEFAULT ? GRAIN : 1;

    return s->high >= s->low + grain ? (s->low + s->high + 1) / 2 : 0;
}

static void try_size(struct mtu_search *s, unsigned size, int64_t now_ms)
{
    s->size = size;
    s->tries = 0;
    s->is_asked = false;
    s->first_ms = now_ms;
    s->next_ms = s->sent_ms == TIME_NEVER ? now_ms : s->sent_ms + MTU_GAP_MS;
    s->next_ms = s->next_ms > now_ms ? s->next_ms : now_ms;
}

static void go_on(struct vl1 *vl1, struct mtu_search *s, struct path *path, int64_t now_ms)
{
    unsigned size = next_size(s);

    if (size == 0) {
        search_done(vl1, s, path, now_ms);
    } else {
        try_size(s, size, now_ms);
    }
}

static void size_passed(struct peer *peer, struct mtu_search *s, struct path *path, unsigned size,
                        int64_t now_ms)
{
    struct vl1 *vl1 = peer->vl1;
    bool is_first = s->low == 0;
    unsigned ceiling = mtu_ceiling(vl1, path);
    bool is_raised = is_first && ceiling > size && may_raise(path, now_ms);

    path->mtu_proved = mtu_clock(now_ms);
    if (size < s->low) {
        return; /* an old answer, nothing new */
    }
    s->low = size;
    s->high = s->high > size ? s->high : size;
    set_mtu(peer, path, size);
    if (!is_first) {
        go_on(vl1, s, path, now_ms);
    } else if (is_raised) {
        s->high = ceiling;
        try_size(s, ceiling, now_ms);
    } else {
        s->low = 0; /* nothing larger was tried */
        search_done(vl1, s, path, now_ms);
    }
}

static void size_failed(struct peer *peer, struct mtu_search *s, struct path *path, int64_t now_ms)
{
    if (s->low == 0) { /* the one in use */
        s->low = MTU_PHYSICAL_FLOOR;
        path->mtu_raises = 0;
        set_mtu(peer, path, MTU_PHYSICAL_FLOOR);
    }
    s->high = s->size > s->low ? s->size - 1 : s->low;
    go_on(peer->vl1, s, path, now_ms);
}

static void send_probe(struct peer *peer, struct mtu_search *s, struct path *path, int64_t now_ms)
{
    struct mtu_probe *probe = &s->probes[s->probe_next++ % MTU_PROBES];

    s->tries++;
    s->sent_ms = now_ms;
    s->next_ms = now_ms + answer_patience(path);
    *probe = (struct mtu_probe){.size = s->size};
    path->last_out_ms = now_ms;
    (void)!out_probe(peer, path, s->size, &probe->id, now_ms);
}

static void watch_end(struct vl1 *vl1, struct mtu_search *s, struct path *path, int64_t now_ms);

/* What is due of a search. A size fails if it was tried a few times while something else was heard
 * over the path, for which the path may have to be asked. */
static void search_step(struct peer *peer, struct mtu_search *s, struct path *path, int64_t now_ms)
{
    bool is_heard = path->last_in_ms >= s->first_ms;
    unsigned tries = s->low == 0 ? MTU_TRIES_IN_USE : MTU_TRIES;

    if (s->size == 0) {
        watch_end(peer->vl1, s, path, now_ms);
    } else if (s->tries == 0 || (s->tries < tries && (is_heard || s->is_asked))) {
        send_probe(peer, s, path, now_ms);
    } else if (s->tries < tries) {
        s->is_asked = true;
        s->next_ms = now_ms + MTU_GAP_MS;
        path_probe(peer, path, now_ms);
        peer_schedule(peer, now_ms);
    } else if (is_heard) {
        size_failed(peer, s, path, now_ms);
    } else {
        search_end(peer->vl1, s); /* nothing passes: the path's liveness is another matter */
    }
}

static struct path *path_of(const struct vl1 *vl1, const struct mtu_search *s,
                            struct peer **ret_peer)
{
    struct peer *peer = peer_in_memory(vl1, s->peer);

    *ret_peer = peer;
    return peer != NULL ? path_find(peer, s->socket, &s->remote) : NULL;
}

static void schedule(struct vl1 *vl1, int64_t now_ms)
{
    int64_t at = INT64_MAX;

    for (size_t i = 0; i < vl1->mtu_search_count; i++) {
        at = vl1->mtu_searches[i].next_ms < at ? vl1->mtu_searches[i].next_ms : at;
    }
    if (at == INT64_MAX) {
        timers_cancel(&vl1->timers, &vl1->mtu_timer);
    } else {
        (void)!timers_arm(&vl1->timers, &vl1->mtu_timer, at > now_ms ? at : now_ms + 1);
    }
}

void mtu_timer(struct timer *timer, int64_t now_ms)
{
    struct vl1 *vl1 = CONTAINER_OF(timer, struct vl1, mtu_timer);

    for (size_t i = vl1->mtu_search_count; i-- > 0;) {
        struct mtu_search *s = &vl1->mtu_searches[i];
        struct peer *peer;
        struct path *path = path_of(vl1, s, &peer);

        if (path == NULL || path->mtu_fixed) {
            search_end(vl1, s);
        } else if (s->next_ms <= now_ms) {
            search_step(peer, s, path, now_ms);
        }
    }
    schedule(vl1, now_ms);
}

/* ---- when ---- */

/* True if the size in use was not tested for so long. */
static bool is_older(const struct path *path, int64_t wait_ms, int64_t now_ms)
{
    return path->mtu_proved == 0 || since(path->mtu_proved, now_ms) >= wait_ms;
}

static void test_begin(struct mtu_search *s, struct path *path, int64_t now_ms)
{
    path->large = 0;
    try_size(s, path->mtu, now_ms);
}

/* A large packet left a little ago: if nothing came back since, it may have vanished for its size.
 * Tested less often when that was not so. */
static void watch_end(struct vl1 *vl1, struct mtu_search *s, struct path *path, int64_t now_ms)
{
    bool is_silent = path->last_in_ms <= s->first_ms;

    if (!is_silent) {
        path->mtu_silences = 0;
    }
    if (!is_silent || !is_older(path, MTU_TEST_SILENT_MS << path->mtu_silences, now_ms)) {
        search_end(vl1, s);
        return;
    }
    if (path->mtu_silences < MTU_SILENCES_MAX) {
        path->mtu_silences++;
    }
    test_begin(s, path, now_ms);
}

static struct mtu_search *search_of(struct vl1 *vl1, const struct peer *peer,
                                    const struct path *path)
{
    for (size_t i = 0; i < vl1->mtu_search_count; i++) {
        struct mtu_search *s = &vl1->mtu_searches[i];

        if (s->peer == peer->identity.address && s->socket == path->socket &&
            inetaddr_equal(&s->remote, &path->remote)) {
            return s;
        }
    }
    if (vl1->mtu_search_count == MTU_SEARCHES_MAX) {
        return NULL;
    }
    vl1->mtu_searches[vl1->mtu_search_count] = (struct mtu_search){.peer = peer->identity.address,
                                                                   .socket = path->socket,
                                                                   .remote = path->remote,
                                                                   .sent_ms = TIME_NEVER};
    return &vl1->mtu_searches[vl1->mtu_search_count++];
}

void mtu_sent(struct peer *peer, struct path *path, uint64_t large, int64_t now_ms)
{
    struct vl1 *vl1 = peer->vl1;
    struct mtu_search *s;

    if (large == 0 || path->mtu_fixed || !peer_can_echo(peer)) {
        return;
    }
    large += path->large;
    path->large = (large < MTU_LARGE_MANY ? (unsigned)large : MTU_LARGE_MANY) & 0x1f;
    s = search_of(vl1, peer, path);
    if (s == NULL || s->size != 0) {
        return; /* later, or under way */
    }
    if (is_older(path, path->large < MTU_LARGE_MANY ? MTU_TEST_MS : MTU_TEST_BUSY_MS, now_ms)) {
        test_begin(s, path, now_ms);
    } else if (s->next_ms == 0) {
        s->first_ms = now_ms;
        s->next_ms = now_ms + answer_patience(path);
    }
    schedule(vl1, now_ms);
}

void mtu_answered(struct peer *peer, const struct opened *packet)
{
    struct vl1 *vl1 = peer->vl1;

    for (size_t i = 0; i < vl1->mtu_search_count; i++) {
        struct mtu_search *s = &vl1->mtu_searches[i];

        for (size_t k = 0; k < MTU_PROBES; k++) {
            const struct mtu_probe *probe = &s->probes[k];
            struct path *path;

            if (probe->size == 0 || probe->id != packet->in.re_id || s->peer != packet->in.source) {
                continue;
            }
            path = path_of(vl1, s, &peer);
            if (path != NULL && !path->mtu_fixed) {
                size_passed(peer, s, path, probe->size, packet->at.now_ms);
                schedule(vl1, packet->at.now_ms);
            }
            return;
        }
    }
}
