/* How new versions of worlds travel: what an OK(HELLO) carries, who is told at once that there is
 * something new, and the versions that changed the key of a world, which nodes that were away need
 * in their order. Source: spec 02 sections 3.2, 9.3 and 9.4. */
#include "vl1/vl1_priv.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* A version that announced another key than the one before it. */
struct world_link {
    struct list link;
    uint64_t world_id;
    uint8_t type; /* enum world_type */
    uint64_t timestamp;
    size_t len;
    uint8_t data[]; /* serialized */
};

static bool is_of(const struct world_link *l, const struct world *world)
{
    return l->world_id == world->id && l->type == world->type;
}

static void link_free(struct world_link *l)
{
    list_remove(&l->link);
    free(l);
}

/* ---- versions that changed the key ---- */

/* Remember a version; of too many of one world the oldest goes. */
static void link_add(struct vl1 *vl1, const struct world *world)
{
    struct world_link *l = calloc(1, sizeof(*l) + WORLD_WIRE_MAX);
    struct world_link *smaller;
    struct world_link *oldest = NULL;
    struct list *it;
    struct list *tmp;
    unsigned count = 0;
    struct wr w;

    if (l == NULL) {
        return; /* who needs it then finds it at another root */
    }
    w = wr_init(l->data, WORLD_WIRE_MAX);
    world_write(&w, world);
    l->world_id = world->id;
    l->type = world->type;
    l->timestamp = world->timestamp;
    l->len = wr_len(&w);
    smaller = realloc(l, sizeof(*l) + l->len);
    l = smaller != NULL ? smaller : l;
    LIST_EACH(&vl1->world_links, it, tmp)
    {
        struct world_link *other = CONTAINER_OF(it, struct world_link, link);

        if (is_of(other, world)) {
            oldest = oldest == NULL ? other : oldest;
            count++;
        }
    }
    if (count >= WORLD_LINKS_MAX) {
        link_free(oldest);
    }
    list_push(&vl1->world_links, &l->link);
}

static void links_store(struct vl1 *vl1, const struct world *world)
{
    size_t cap = (size_t)WORLD_LINKS_MAX * WORLD_WIRE_MAX;
    uint8_t *buf = malloc(cap);
    struct wr w = wr_init(buf, buf != NULL ? cap : 0);
    struct list *it;
    struct list *tmp;

    LIST_EACH(&vl1->world_links, it, tmp)
    {
        const struct world_link *l = CONTAINER_OF(it, struct world_link, link);

        if (is_of(l, world)) {
            wr_bytes(&w, l->data, l->len);
        }
    }
    if (!w.bad && wr_len(&w) > 0) {
        vl1->env.state_store(vl1->env.ctx, STATE_WORLD_LINKS, world->id, buf, wr_len(&w));
    }
    free(buf);
}

static void links_drop(struct vl1 *vl1, const struct world *world)
{
    struct list *it;
    struct list *tmp;

    LIST_EACH(&vl1->world_links, it, tmp)
    {
        struct world_link *l = CONTAINER_OF(it, struct world_link, link);

        if (is_of(l, world)) {
            link_free(l);
        }
    }
}

void spread_replaced(struct vl1 *vl1, const struct world *old, const struct world *fresh)
{
    if (old != NULL && memcmp(old->update_key, fresh->update_key, sizeof(old->update_key)) != 0) {
        link_add(vl1, fresh);
        links_store(vl1, fresh);
    }
}

void spread_load(struct vl1 *vl1, const struct world *world)
{
    size_t cap = (size_t)WORLD_LINKS_MAX * WORLD_WIRE_MAX;
    uint8_t *buf = malloc(cap);
    struct world *old = calloc(1, sizeof(*old));
    ssize_t n = buf != NULL && old != NULL
                    ? vl1->env.state_load(vl1->env.ctx, STATE_WORLD_LINKS, world->id, buf, cap)
                    : -ENOMEM;
    struct rd in = rd_init(buf, n > 0 ? (size_t)n : 0);

    links_drop(vl1, world);
    while (rd_left(&in) > 0 && world_read(&in, old) == 0) {
        if (old->id == world->id && old->type == world->type) {
            link_add(vl1, old);
        }
    }
    free(old);
    free(buf);
}

void spread_forget(struct vl1 *vl1, const struct world *world)
{
    links_drop(vl1, world);
    vl1->env.state_erase(vl1->env.ctx, STATE_WORLD_LINKS, world->id);
}

bool spread_remembers(const struct vl1 *vl1, const struct world *world)
{
    struct list *it;
    struct list *tmp;

    LIST_EACH(&vl1->world_links, it, tmp)
    {
        const struct world_link *l = CONTAINER_OF(it, struct world_link, link);

        if (is_of(l, world) && l->timestamp == world->timestamp) {
            return true;
        }
    }
    return false;
}

/* ---- giving ---- */

/* Append a world for one who holds the version of time since, 0: none. The changes of its key go
 * first, since each version can only be verified with the key of one before. What does not fit is
 * left for the next HELLO. */
static void write_since(struct vl1 *vl1, const struct world *world, uint64_t since, struct wr *w)
{
    struct wr undo = *w;
    struct list *it;
    struct list *tmp;

    LIST_EACH(&vl1->world_links, it, tmp)
    {
        const struct world_link *l = CONTAINER_OF(it, struct world_link, link);

        if (since != 0 && is_of(l, world) && l->timestamp > since &&
            l->timestamp < world->timestamp) {
            undo = *w;
            wr_bytes(w, l->data, l->len);
        }
        if (w->bad) {
            *w = undo;
            return;
        }
    }
    undo = *w;
    world_write(w, world);
    *w = w->bad ? undo : *w;
}

static const struct world *newer_moon(const struct vl1 *vl1, const struct hello_moon *theirs)
{
    for (size_t i = 0; i < vl1->moon_count; i++) {
        const struct world *world = vl1->moons[i].world;

        if (vl1->moons[i].id == theirs->id && world != NULL &&
            world->timestamp > theirs->timestamp) {
            return world;
        }
    }
    return NULL;
}

void spread_give(struct peer *peer, const struct hello *h, struct hello_moons moons, int64_t now_ms,
                 struct wr *w)
{
    struct vl1 *vl1 = peer->vl1;
    struct hello_moon moon;

    if (peer->last_worlds_ms != TIME_NEVER && now_ms - peer->last_worlds_ms < WORLDS_MS) {
        return;
    }
    if (vl1->planet != NULL && h->planet_id != 0 && h->planet_id == vl1->planet->id &&
        vl1->planet->timestamp > h->planet_timestamp) {
        write_since(vl1, vl1->planet, h->planet_timestamp, w);
    }
    while (hello_moons_next(&moons, &moon)) {
        const struct world *world = newer_moon(vl1, &moon);

        if (world != NULL) {
            write_since(vl1, world, moon.timestamp, w);
        }
    }
    if (wr_len(w) > 0) {
        peer->last_worlds_ms = now_ms;
    }
}

/* ---- taking ---- */

int spread_take(struct vl1 *vl1, const struct ok_hello *ok, uint64_t from, int64_t now_ms)
{
    struct rd in = rd_init(ok->worlds, ok->worlds_len);
    struct world *world = calloc(1, sizeof(*world));
    int err = 0;

    if (world == NULL) {
        return -ENOMEM;
    }
    while (rd_left(&in) > 0 && err == 0) {
        err = world_read(&in, world);
        if (err == 0) {
            (void)!topology_offer(vl1, world, from, false, now_ms);
        }
    }
    free(world);
    return err;
}

/* Does a HELLO name a version that is newer than ours? */
static bool names_newer(const struct vl1 *vl1, const struct hello *h, struct hello_moons moons)
{
    struct hello_moon moon;

    if (vl1->planet != NULL && h->planet_id == vl1->planet->id &&
        h->planet_timestamp > vl1->planet->timestamp) {
        return true;
    }
    while (hello_moons_next(&moons, &moon)) {
        for (size_t i = 0; i < vl1->moon_count; i++) {
            const struct world *world = vl1->moons[i].world;

            if (vl1->moons[i].id == moon.id &&
                moon.timestamp > (world != NULL ? world->timestamp : 0)) {
                return true;
            }
        }
    }
    return false;
}

static void note_root_stamp(struct vl1 *vl1, uint64_t address, uint64_t stamp)
{
    struct root_stamp *slot = NULL;

    for (size_t i = 0; i < COUNT_OF(vl1->root_stamps) && slot == NULL; i++) {
        slot = vl1->root_stamps[i].address == address ? &vl1->root_stamps[i] : NULL;
    }
    if (slot == NULL) {
        slot = &vl1->root_stamps[vl1->root_stamp_next++ % COUNT_OF(vl1->root_stamps)];
    }
    *slot = (struct root_stamp){address, stamp};
}

uint64_t spread_root_stamp(const struct vl1 *vl1, uint64_t address)
{
    for (size_t i = 0; i < COUNT_OF(vl1->root_stamps); i++) {
        if (vl1->root_stamps[i].address == address) {
            return vl1->root_stamps[i].stamp;
        }
    }
    return 0;
}

void spread_heard(struct peer *peer, const struct hello *h, struct hello_moons moons,
                  int64_t now_ms)
{
    struct vl1 *vl1 = peer->vl1;

    if (peer->planet_root && vl1->planet != NULL && h->planet_id == vl1->planet->id) {
        note_root_stamp(vl1, peer->identity.address, h->planet_timestamp);
    }
    if (names_newer(vl1, h, moons) && topology_accepts_worlds_from(vl1, peer->identity.address)) {
        peer->last_hello_ms = now_ms - FULL_HELLO_MS; /* its OK will bring it */
        peer_schedule(peer, now_ms);
    }
}

/* ---- telling ---- */

static void tell_one(struct peer *peer, int64_t now_ms)
{
    const struct path *path = path_best(peer, now_ms);

    if (path != NULL) {
        peer->last_worlds_ms = TIME_NEVER; /* of what was new before */
        hello_send(peer, path->socket, &path->remote, now_ms);
    }
}

static void tell_timer(struct timer *timer, int64_t now_ms)
{
    struct vl1 *vl1 = CONTAINER_OF(timer, struct vl1, tell_timer);

    for (unsigned i = 0; i < TELL_BURST && vl1->tell_count > 0; i++) {
        struct peer *peer = peer_in_memory(vl1, vl1->tell[--vl1->tell_count]);

        if (peer != NULL) {
            tell_one(peer, now_ms);
        }
    }
    if (vl1->tell_count == 0 || timers_arm(&vl1->timers, timer, now_ms + TELL_MS) < 0) {
        free(vl1->tell);
        vl1->tell = NULL;
        vl1->tell_count = 0;
    }
}

void spread_tell(struct vl1 *vl1, int64_t now_ms)
{
    uint64_t *tell = calloc(vl1->peers.count + 1, sizeof(*tell));
    size_t count = 0;

    if (tell == NULL) {
        return; /* they hear of it by their next HELLO */
    }
    for (struct hmap_node *n = hmap_each(&vl1->peers, NULL); n != NULL;
         n = hmap_each(&vl1->peers, n)) {
        struct peer *peer = CONTAINER_OF(n, struct peer, by_address);

        if (peer_is_upstream(peer)) {
            tell_one(peer, now_ms); /* other roots first: they tell theirs */
        } else if (peer->path_count > 0) {
            tell[count++] = peer->identity.address;
        }
    }
    free(vl1->tell);
    vl1->tell = tell;
    vl1->tell_count = count;
    vl1->tell_timer.fire = tell_timer;
    (void)!timers_arm(&vl1->timers, &vl1->tell_timer, now_ms + TELL_MS);
}

void spread_done(struct vl1 *vl1)
{
    struct list *link;

    while ((link = list_first(&vl1->world_links)) != NULL) {
        link_free(CONTAINER_OF(link, struct world_link, link));
    }
    free(vl1->tell);
    vl1->tell = NULL;
}
