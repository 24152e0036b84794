/* We moved, or the network around us changed: whoever is to reach us is told at once, not when its
 * packets were lost. Source: spec 02 sections 6.6 and 8, spec 05 section 6.8. */
#include "vl1/vl1_priv.h"

enum {
    GONE_MAX = 8,         /* addresses of a peer greeted again */
    ASKED_PEERS_MAX = 256 /* peers asked after one change */
};

static bool has_socket(const struct vl1 *vl1, const struct path *path)
{
    for (size_t i = 0; i < vl1->socket_count; i++) {
        if (vl1->sockets[i].id == path->socket && !vl1->sockets[i].moved) {
            return true;
        }
    }
    return false;
}

static size_t note_gone(struct inetaddr *gone, size_t count, const struct inetaddr *remote)
{
    for (size_t i = 0; i < count; i++) {
        if (inetaddr_equal(&gone[i], remote)) {
            return count;
        }
    }
    if (count < GONE_MAX) {
        gone[count++] = *remote;
    }
    return count;
}

/* End the paths over sockets that are gone; where they led to, the one in use first. */
static size_t end_paths(struct peer *peer, struct inetaddr gone[GONE_MAX], int64_t now_ms)
{
    const struct path *best = path_best(peer, now_ms);
    size_t count =
        best != NULL && !has_socket(peer->vl1, best) ? note_gone(gone, 0, &best->remote) : 0;

    for (size_t i = peer->path_count; i-- > 0;) {
        struct path *path = &peer->paths[i];

        if (!has_socket(peer->vl1, path)) {
            count = note_gone(gone, count, &path->remote);
            origin_note(peer, &path->remote, path->origin);
            path_remove(peer, path);
        }
    }
    return count;
}

/* The last address that was a path: tried when there is none, until it or another one answers. */
static void try_again(struct peer *peer, const struct inetaddr *to, int64_t now_ms)
{
    peer->confirm_to = *to;
    peer->confirm_socket = 0;
    peer->confirm_left = CONFIRM_TRIES;
    peer->confirm_ms = now_ms + CONFIRM_FIRST_MS;
}

/* What the peer was told of our addresses is outdated. */
static void push_again(struct peer *peer)
{
    if (peer->traversal != NULL) {
        peer->traversal->push_ms = TIME_NEVER;
    }
}

/* Local sockets changed: paths over those that are gone end; where they led, we say HELLO from
 * those there are, now or when there are some again. */
void peer_contact_now(struct peer *peer, int64_t now_ms)
{
    struct vl1 *vl1 = peer->vl1;
    struct inetaddr gone[GONE_MAX];
    size_t count = end_paths(peer, gone, now_ms);

    if (!peer_is_worth_asking(peer, now_ms)) {
        count = 0;
    }
    push_again(peer);
    if (count == 0 && peer->path_count == 0 && peer->confirm_to.family != INETADDR_NIL &&
        peer_is_active(peer, now_ms)) {
        gone[count++] = peer->confirm_to;
    }
    for (size_t i = 0; i < count && vl1->socket_count > 0; i++) {
        peer_probe_address(peer, 0, &gone[i], true, now_ms);
    }
    if (count > 0 && peer->path_count == 0) {
        try_again(peer, &gone[0], now_ms);
    }
    if (peer_is_kept(peer)) {
        peer->attempts = 0;
        if (peer->path_count == 0 && vl1->socket_count > 0) {
            peer_contact_round(peer, now_ms);
        }
    }
    path_settle(peer, now_ms);
    peer_schedule(peer, now_ms);
}

/* Ask all paths, also those given up. */
static void ask(struct peer *peer, int64_t now_ms)
{
    for (size_t i = 0; i < peer->path_count; i++) {
        struct path *path = &peer->paths[i];

        if (path->last_probe_ms == TIME_NEVER || now_ms - path->last_probe_ms >= PROBE_AGAIN_MS) {
            path_probe(peer, path, now_ms);
        }
    }
    if (peer_is_kept(peer) && !peer_has_direct_path(peer, now_ms)) {
        peer->attempts = 0;
        peer_contact_round(peer, now_ms);
    }
    peer_schedule(peer, now_ms);
}

void vl1_network_changed(struct vl1 *vl1, int64_t now_ms)
{
    unsigned asked = 0;

    for (size_t i = 0; i < vl1->upstream_count; i++) {
        struct peer *peer = peer_in_memory(vl1, vl1->upstreams[i]);

        if (peer != NULL) {
            ask(peer, now_ms);
        }
    }
    for (struct hmap_node *n = hmap_each(&vl1->peers, NULL); n != NULL && asked < ASKED_PEERS_MAX;
         n = hmap_each(&vl1->peers, n)) {
        struct peer *peer = CONTAINER_OF(n, struct peer, by_address);

        if (!peer_is_upstream(peer) && (peer_is_kept(peer) || peer_is_active(peer, now_ms))) {
            push_again(peer);
            ask(peer, now_ms);
            asked++;
        }
    }
    topology_choose_relay(vl1, now_ms);
}
