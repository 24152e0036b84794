/* How the addresses of a peer became known: kept for the last few that were tried, so that a path
 * can tell. Only shown to people, nothing is decided by it. Source: spec 05 section 12. */
#include "vl1/vl1_priv.h"

#include <stdlib.h>

const char *path_origin_name(enum path_origin origin)
{
    static const char *const names[] = {
        [ORIGIN_CONTACT] = "contact",       [ORIGIN_WORLD] = "world",
        [ORIGIN_CACHE] = "cache",           [ORIGIN_SETTING] = "local.conf",
        [ORIGIN_RENDEZVOUS] = "rendezvous", [ORIGIN_PUSH] = "push",
    };

    return (size_t)origin < COUNT_OF(names) ? names[origin] : "contact";
}

/* An address is about to be tried. */
void origin_note(struct peer *peer, const struct inetaddr *to, enum path_origin origin)
{
    uint64_t key = arrival_key(0, to);
    struct peer_search *search = peer_search(peer);
    struct origin *slot = NULL;

    if (search != NULL && search->origins == NULL) {
        search->origins = calloc(PEER_ORIGINS, sizeof(*search->origins));
    }
    if (search == NULL || search->origins == NULL) {
        return;
    }
    for (size_t i = 0; i < PEER_ORIGINS && slot == NULL; i++) {
        if (search->origins[i].key == key) {
            slot = &search->origins[i];
        }
    }
    if (slot == NULL) {
        slot = &search->origins[search->origin_next++ % PEER_ORIGINS];
    }
    *slot = (struct origin){.key = key, .origin = origin};
}

/* Where a path comes from that was just proved. */
enum path_origin origin_of(const struct peer *peer, const struct inetaddr *remote)
{
    uint64_t key = arrival_key(0, remote);

    for (size_t i = 0; peer->search != NULL && peer->search->origins != NULL && i < PEER_ORIGINS;
         i++) {
        if (peer->search->origins[i].key == key) {
            return peer->search->origins[i].origin;
        }
    }
    return peer_is_upstream(peer) ? ORIGIN_WORLD : ORIGIN_CONTACT;
}
