/* What kind of NAT is in front of us, from what others say our address is; and why a peer is
 * reached only by a relay. Source: spec 02 sections 7.7, 8 and Do better 6. */
#include "vl1/nat.h"

#include "vl1/vl1_priv.h"

const char *nat_kind_text(enum nat_kind kind)
{
    static const char *const text[] = {
        [NAT_UNKNOWN] = "unknown",
        [NAT_NONE] = "none",
        [NAT_CONE] = "cone",
        [NAT_SEQUENTIAL] = "symmetric, sequential ports",
        [NAT_RANDOM] = "symmetric, random ports",
    };

    return (size_t)kind < COUNT_OF(text) ? text[kind] : text[NAT_UNKNOWN];
}

const char *relay_reason_text(enum relay_reason reason)
{
    static const char *const text[] = {
        [RELAY_REASON_NONE] = "direct",
        [RELAY_REASON_NOT_TRIED] = "not tried yet",
        [RELAY_REASON_SILENT] = "peer silent",
        [RELAY_REASON_NO_UDP] = "UDP blocked",
        [RELAY_REASON_NO_ADDRESS] = "peer's addresses unknown",
        [RELAY_REASON_POLICY] = "excluded by local settings",
        [RELAY_REASON_NO_ANSWER] = "no answer",
        [RELAY_REASON_BOTH_SYMMETRIC] = "both symmetric",
    };

    return (size_t)reason < COUNT_OF(text) ? text[reason] : text[RELAY_REASON_NOT_TRIED];
}

/* ---- what reports say ---- */

/* Reports about one socket that can be compared: fresh ones of one scope, those of upstreams first
 * and counted. */
struct reports {
    const struct surface *list[SURFACE_MAX];
    size_t count;
    size_t upstreams;
};

static bool is_upstream(const struct vl1 *vl1, uint64_t address)
{
    const struct peer *peer = peer_in_memory(vl1, address);

    return peer != NULL && peer_is_upstream(peer);
}

static bool is_about(const struct surface *s, const struct socket_entry *socket)
{
    return s->socket == socket->id && s->mine.family == socket->local.family &&
           s->at_ms >= socket->remapped_ms;
}

/* The view that counts: of the newest report of an upstream, else the widest one. */
static const struct surface *reference_view(const struct vl1 *vl1,
                                            const struct socket_entry *socket)
{
    const struct surface *best = NULL;
    bool best_up = false;

    for (size_t i = 0; i < vl1->surface_count; i++) {
        const struct surface *s = &vl1->surfaces[i];
        bool up;

        if (!is_about(s, socket)) {
            continue;
        }
        up = is_upstream(vl1, s->reporter);
        if (best == NULL || (up && (!best_up || s->at_ms > best->at_ms)) ||
            (!up && !best_up && inetaddr_scope(&s->mine) == INET_SCOPE_GLOBAL)) {
            best = s;
            best_up = up;
        }
    }
    return best;
}

static void collect(const struct vl1 *vl1, const struct socket_entry *socket, struct reports *ret)
{
    const struct surface *view = reference_view(vl1, socket);
    int64_t newest_ms = TIME_NEVER;

    *ret = (struct reports){0};
    for (size_t i = 0; i < vl1->surface_count && view != NULL; i++) {
        const struct surface *s = &vl1->surfaces[i];

        if (is_about(s, socket) && s->at_ms > newest_ms) {
            newest_ms = s->at_ms;
        }
    }
    for (unsigned upstreams = 2; upstreams-- > 0 && view != NULL;) {
        for (size_t i = 0; i < vl1->surface_count; i++) {
            const struct surface *s = &vl1->surfaces[i];

            if (is_about(s, socket) && newest_ms - s->at_ms < NAT_FRESH_MS &&
                inetaddr_scope(&s->mine) == inetaddr_scope(&view->mine) &&
                is_upstream(vl1, s->reporter) == (upstreams == 1)) {
                ret->list[ret->count++] = s;
            }
        }
        ret->upstreams = upstreams == 1 ? ret->count : ret->upstreams;
    }
}

/* Of the first `count`: how many different reporters there are, if any two of them agree, and if
 * any two do not. */
struct verdict {
    size_t reporters;
    bool agree;
    bool differ;
};

static struct verdict compare(const struct reports *r, size_t count)
{
    struct verdict v = {0};

    for (size_t i = 0; i < count; i++) {
        bool first = true;

        for (size_t k = 0; k < i; k++) {
            bool same = inetaddr_equal(&r->list[i]->mine, &r->list[k]->mine);

            if (r->list[i]->reporter == r->list[k]->reporter) {
                first = false;
                continue;
            }
            v.agree = v.agree || same;
            v.differ = v.differ || !same;
        }
        v.reporters += first;
    }
    return v;
}

/* Symmetric: do the ports lie close together? A measurement of late knows better (punch.c). */
static enum nat_kind order_of(const struct vl1 *vl1, const struct reports *r, size_t count)
{
    const struct punching *p = vl1->punching;
    uint16_t low = UINT16_MAX;
    uint16_t high = 0;

    if (p != NULL && p->measured >= NAT_SEQUENTIAL &&
        r->list[0]->at_ms - p->measured_ms < SURFACE_MS &&
        inetaddr_ip_equal(&p->outside, &r->list[0]->mine)) {
        return p->measured;
    }
    for (size_t i = 0; i < count; i++) {
        low = r->list[i]->mine.port < low ? r->list[i]->mine.port : low;
        high = r->list[i]->mine.port > high ? r->list[i]->mine.port : high;
    }
    return (size_t)(high - low) <= NAT_STEP_MAX * (count - 1) ? NAT_SEQUENTIAL : NAT_RANDOM;
}

/* Two upstreams are believed whatever leaves say. A leaf alone can confirm, but it takes three
 * reporters of whom no two agree to make a symmetric NAT without two upstreams. */
static enum nat_kind kind_of(const struct vl1 *vl1, const struct socket_entry *socket)
{
    struct reports r;
    struct verdict v;
    size_t count;

    collect(vl1, socket, &r);
    v = compare(&r, r.upstreams);
    count = v.reporters >= 2 ? r.upstreams : r.count;
    if (v.reporters < 2) {
        v = compare(&r, r.count);
        if (v.agree) {
            v.differ = false;
        } else if (v.reporters < 3) {
            return NAT_UNKNOWN;
        }
    }
    if (v.differ) {
        return order_of(vl1, &r, count);
    }
    return inetaddr_equal(&r.list[0]->mine, &socket->local) ? NAT_NONE : NAT_CONE;
}

/* Reports about a socket changed. */
void nat_update(struct vl1 *vl1, uint32_t socket)
{
    for (size_t i = 0; i < vl1->socket_count; i++) {
        struct socket_entry *s = &vl1->sockets[i];

        if ((s->id == socket || socket == 0) && !s->extra && detour_penalty(s->id) == 0) {
            s->nat = (uint8_t)kind_of(vl1, s);
        }
    }
}

enum nat_kind nat_of_socket(const struct vl1 *vl1, uint32_t socket)
{
    const struct socket_entry *s = socket_find(vl1, socket);

    return s != NULL ? s->nat : NAT_UNKNOWN;
}

/* Of several sockets (interfaces, ports) the best way out counts. */
enum nat_kind vl1_nat_kind(const struct vl1 *vl1, uint8_t family)
{
    enum nat_kind kind = NAT_UNKNOWN;

    for (size_t i = 0; i < vl1->socket_count; i++) {
        const struct socket_entry *s = &vl1->sockets[i];

        if (s->local.family == family && s->nat != NAT_UNKNOWN &&
            (kind == NAT_UNKNOWN || s->nat < kind)) {
            kind = s->nat;
        }
    }
    return kind;
}

/* ---- why a peer is relayed to ---- */

/* Are roots reached, but only by a detour? */
static bool is_without_udp(const struct vl1 *vl1, int64_t now_ms)
{
    bool detour = false;

    for (size_t i = 0; i < vl1->upstream_count; i++) {
        const struct peer *root = peer_in_memory(vl1, vl1->upstreams[i]);

        for (size_t k = 0; root != NULL && k < root->path_count; k++) {
            if (path_is_usable(&root->paths[k], now_ms)) {
                if (detour_penalty(root->paths[k].socket) == 0) {
                    return false;
                }
                detour = true;
            }
        }
    }
    return detour;
}

enum relay_reason peer_relay_reason(const struct peer *peer, int64_t now_ms)
{
    const struct vl1 *vl1 = peer->vl1;
    const struct traversal *t = peer->traversal;

    if (peer_has_direct_path(peer, now_ms)) {
        return RELAY_REASON_NONE;
    }
    if (peer->last_receive_ms == TIME_NEVER || now_ms - peer->last_receive_ms >= PATH_EXPIRY_MS) {
        return RELAY_REASON_SILENT;
    }
    if (is_without_udp(vl1, now_ms)) {
        return RELAY_REASON_NO_UDP;
    }
    if (t == NULL || !t->addressed) {
        /* Upstreams are tried at the addresses of their worlds. */
        return peer_is_upstream(peer) || peer->tried  ? RELAY_REASON_NO_ANSWER
               : peer->last_activity_ms != TIME_NEVER ? RELAY_REASON_NO_ADDRESS
                                                      : RELAY_REASON_NOT_TRIED;
    }
    if (t->nat[0] >= NAT_SEQUENTIAL && vl1_nat_kind(vl1, INETADDR_V4) >= NAT_SEQUENTIAL) {
        return RELAY_REASON_BOTH_SYMMETRIC;
    }
    return t->tried || peer->tried ? RELAY_REASON_NO_ANSWER : RELAY_REASON_POLICY;
}
