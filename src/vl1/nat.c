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

static const struct inetaddr *local_of(const struct vl1 *vl1, uint32_t socket)
{
    for (size_t i = 0; i < vl1->socket_count; i++) {
        if (vl1->sockets[i].id == socket) {
            return &vl1->sockets[i].local;
        }
    }
    return NULL;
}

/* What two reports of different reporters about one socket say. */
static enum nat_kind compare(const struct surface *a, const struct surface *b,
                             const struct inetaddr *local)
{
    if (!inetaddr_equal(&a->mine, &b->mine)) {
        return NAT_RANDOM;
    }
    return inetaddr_equal(&a->mine, local) ? NAT_NONE : NAT_CONE;
}

enum nat_kind vl1_nat_kind(const struct vl1 *vl1, uint8_t family)
{
    enum nat_kind kind = NAT_UNKNOWN;

    for (size_t i = 0; i < vl1->surface_count; i++) {
        const struct surface *a = &vl1->surfaces[i];
        const struct inetaddr *local = local_of(vl1, a->socket);

        for (size_t k = 0; k < i && a->mine.family == family && local != NULL; k++) {
            const struct surface *b = &vl1->surfaces[k];

            if (b->socket == a->socket && b->mine.family == family && b->reporter != a->reporter &&
                inetaddr_scope(&a->mine) == inetaddr_scope(&b->mine)) {
                enum nat_kind now = compare(a, b, local);

                kind = now > kind ? now : kind;
            }
        }
    }
    return kind;
}

enum relay_reason peer_relay_reason(const struct peer *peer, int64_t now_ms)
{
    if (peer_has_direct_path(peer, now_ms)) {
        return RELAY_REASON_NONE;
    }
    if (peer->last_receive_ms == TIME_NEVER || now_ms - peer->last_receive_ms >= PATH_EXPIRY_MS) {
        return RELAY_REASON_SILENT;
    }
    return peer->tried || peer->confirm_socket != 0 ? RELAY_REASON_NO_ANSWER
                                                    : RELAY_REASON_NOT_TRIED;
}
