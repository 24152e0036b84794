/* Sockets that are a detour, by which the host carries datagrams where UDP does not pass (a TCP
 * connection to a relay): a path over one is used like any other, but never instead of one without.
 * While a root is reached only so, the ordinary sockets are tried again and again.
 * Source: spec 02 section 12 and Do better 26. */
#include "vl1/vl1_priv.h"

enum {
    DETOUR_RETRY_MS =
        3000, /* between HELLOs by ordinary sockets while roots are reached by a detour */
    DETOUR_SCORE = 0x10000000, /* worse than any latency */
};

static bool is_detour(uint32_t socket)
{
    return socket >= SOCKET_DETOUR_FIRST;
}

uint64_t detour_penalty(uint32_t socket)
{
    return is_detour(socket) ? DETOUR_SCORE : 0;
}

/* Has it a path that is no detour? */
static bool has_plain_path(const struct peer *peer, int64_t now_ms)
{
    for (size_t i = 0; i < peer->path_count; i++) {
        if (path_is_usable(&peer->paths[i], now_ms) && !is_detour(peer->paths[i].socket)) {
            return true;
        }
    }
    return false;
}

static bool has_detour(const struct vl1 *vl1)
{
    for (size_t i = 0; i < vl1->socket_count; i++) {
        if (is_detour(vl1->sockets[i].id)) {
            return true;
        }
    }
    return false;
}

/* Is it an upstream that only a detour leads to? */
static bool needs_detour(const struct peer *peer, int64_t now_ms)
{
    return peer_is_upstream(peer) && peer->path_count > 0 && has_detour(peer->vl1) &&
           !has_plain_path(peer, now_ms);
}

/* When the ordinary sockets are to be tried next; INT64_MAX: no need. */
int64_t detour_due(const struct peer *peer, int64_t now_ms)
{
    return needs_detour(peer, now_ms) ? peer->vl1->detour_ms + DETOUR_RETRY_MS : INT64_MAX;
}

/* All upstreams at once. */
void detour_retry(struct vl1 *vl1, int64_t now_ms)
{
    if (now_ms - vl1->detour_ms < DETOUR_RETRY_MS) {
        return;
    }
    for (size_t i = 0; i < vl1->upstream_count; i++) {
        struct peer *peer = peer_in_memory(vl1, vl1->upstreams[i]);

        if (peer != NULL && needs_detour(peer, now_ms)) {
            vl1->detour_ms = now_ms;
            (void)peer_greet_endpoints(peer, now_ms);
        }
    }
}

bool vl1_upstream_without_detour(const struct vl1 *vl1, int64_t now_ms)
{
    for (size_t i = 0; i < vl1->upstream_count; i++) {
        const struct peer *peer = peer_in_memory(vl1, vl1->upstreams[i]);

        if (peer != NULL && has_plain_path(peer, now_ms)) {
            return true;
        }
    }
    return vl1->upstream_count == 0;
}

bool vl1_upstream_by_detour(const struct vl1 *vl1, int64_t now_ms)
{
    for (size_t i = 0; i < vl1->upstream_count; i++) {
        const struct peer *peer = peer_in_memory(vl1, vl1->upstreams[i]);

        for (size_t k = 0; peer != NULL && k < peer->path_count; k++) {
            if (is_detour(peer->paths[k].socket) && path_is_usable(&peer->paths[k], now_ms)) {
                return true;
            }
        }
    }
    return false;
}
