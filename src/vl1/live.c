/* Keys and duplicate filters: only peers with traffic have them, and no more than LIVES_MAX peers,
 * which stand in a list by their last use. Nobody gets them by packets that are not authentic.
 * Source: spec 01 section 11, data path contract section 6, design "inactive peers hold no AES
 * context". */
#include "vl1/vl1_priv.h"

#include <errno.h>
#include <stdlib.h>

enum { LIVES_LOOKED_AT = 8 };

static void live_release(struct retired *r)
{
    struct peer_live *live = CONTAINER_OF(r, struct peer_live, retired);

    armor_keys_done(&live->keys);
    free(live->replay);
    free(live->outgrown);
    free(live);
}

/* Wipe keys and filter: at once, or when no worker can hold them. */
void peer_live_free(struct peer *peer)
{
    struct published *pub = peer->vl1->pub;
    struct peer_live *live = peer->live;

    if (live == NULL) {
        return;
    }
    peer->live = NULL;
    list_remove(&live->link);
    peer->vl1->live_count--;
    if (pub == NULL) {
        live_release(&live->retired);
        return;
    }
    if (!peer->gone) { /* else that was done, and its address may be another peer's */
        dp_session_withdraw(pub, peer->identity.address);
    }
    limbo_retire(&pub->limbo, &live->retired, live_release);
}

/* The table is full: the peer whose loss costs least. What the others' filters remember would else
 * let copies pass. */
static struct peer *live_victim(const struct vl1 *vl1)
{
    struct list *it = list_first(&vl1->lives);
    struct peer *victim = CONTAINER_OF(it, struct peer_live, link)->peer;

    for (unsigned i = 0; i < LIVES_LOOKED_AT && it != &vl1->lives; i++, it = it->next) {
        const struct peer_live *live = CONTAINER_OF(it, struct peer_live, link);

        if (live->replay == NULL || vl1->now_ms - live->used_ms >= REPLAY_MS) {
            return live->peer;
        }
    }
    return victim;
}

static struct peer_live *live_new(struct peer *peer)
{
    struct peer_live *live = calloc(1, sizeof(*live));

    if (live != NULL) {
        live->peer = peer;
        live->best_ms = live->unanswered_ms = TIME_NEVER;
        armor_keys_init(&live->keys, peer->secret);
    }
    return live;
}

static void live_use(struct peer_live *live)
{
    struct vl1 *vl1 = live->peer->vl1;

    live->used_ms = vl1->now_ms;
    list_remove(&live->link);
    list_push(&vl1->lives, &live->link);
}

static void live_attach(struct peer *peer, struct peer_live *live)
{
    struct vl1 *vl1 = peer->vl1;

    if (vl1->live_count >= LIVES_MAX) {
        peer_live_free(live_victim(vl1));
    }
    peer->live = live;
    live->used_ms = vl1->now_ms;
    list_push(&vl1->lives, &live->link);
    vl1->live_count++;
}

struct armor_keys *peer_keys(struct peer *peer)
{
    if (peer->live != NULL) {
        live_use(peer->live);
    } else {
        struct peer_live *live = live_new(peer);

        if (live == NULL) {
            return NULL;
        }
        live_attach(peer, live);
    }
    return &peer->live->keys;
}

void peer_live_used(struct peer *peer)
{
    if (peer->live != NULL) {
        live_use(peer->live);
    }
}

/* Open a packet that says it is the peer's. Only an authentic one makes us keep its keys. */
int peer_open(struct peer *peer, uint8_t *pkt, size_t len)
{
    struct peer_live *live = peer->live != NULL ? peer->live : live_new(peer);
    int err = live == NULL ? -ENOMEM : armor_open(pkt, len, &live->keys);

    if (err < 0 && live != NULL && live != peer->live) {
        live_release(&live->retired);
    } else if (err == 0 && peer->live == NULL) {
        live_attach(peer, live);
    } else if (err == 0) {
        live_use(live);
    }
    return err;
}

struct replay *peer_replay(struct peer *peer, int64_t now_ms)
{
    struct peer_live *live = peer->live;

    if (live->replay == NULL) {
        live->replay = replay_new(REPLAY_SETS_SMALL, peer->vl1->seed, NULL, now_ms);
    }
    return live->replay;
}

/* Packets came: above 50 in a second the filter grows, once. */
void peer_replay_count(struct peer *peer, uint64_t count, int64_t now_ms)
{
    struct peer_live *live = peer->live;
    bool was_busy;
    struct replay *large;

    if (now_ms / 1000 != live->replay_second) {
        live->replay_second = now_ms / 1000;
        live->replay_count = 0;
    }
    was_busy = live->replay_count >= REPLAY_BUSY;
    live->replay_count += count;
    if (was_busy || live->replay_count < REPLAY_BUSY || live->replay == NULL ||
        live->outgrown != NULL) {
        return;
    }
    large = replay_new(REPLAY_SETS_LARGE, peer->vl1->seed, live->replay, now_ms);
    if (large != NULL) { /* else the smaller one goes on */
        live->outgrown = live->replay;
        live->replay = large;
        peer_stale(peer);
    }
}

/* True if this very packet (wire ID and MAC) was accepted in the last ten seconds; notes it. */
bool peer_is_replay(struct peer *peer, const uint8_t *pkt, int64_t now_ms)
{
    struct replay *replay;

    if (peer->live == NULL) {
        return false; /* trusted path only: nothing authenticates the copy anyway */
    }
    peer_replay_count(peer, 1, now_ms);
    replay = peer_replay(peer, now_ms);
    return replay != NULL && replay_seen(replay, pkt, now_ms);
}
