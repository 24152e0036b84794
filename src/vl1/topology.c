/* Worlds: the planet and moons, who is an upstream, which upstream is the relay.
 * Source: spec 02 sections 7.1, 7.2, 9 and 10, Do better 12. */
#include "vl1/vl1_priv.h"

#include "wire/default_planet.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum {
    ORBIT_LEN = 16,        /* bytes of a stored pending orbit */
    RELAY_CLASS = 1000000, /* more than any latency: upstreams that answer are better than others,
                              those without detour than those with one */
};

static void online_timer(struct timer *timer, int64_t now_ms);

/* ---- the list of upstreams ---- */

static void add_roots(struct vl1 *vl1, const struct world *world, int64_t now_ms)
{
    for (size_t i = 0; world != NULL && i < world->root_count; i++) {
        const struct identity *id = &world->roots[i].identity;
        struct peer *peer;
        bool listed = false;

        if (identity_equal(id, &vl1->identity)) {
            vl1->root = true;
            continue;
        }
        if (address_is_reserved(id->address) || id->address == vl1->identity.address) {
            continue;
        }
        peer = vl1_peer_find(vl1, id->address, now_ms);
        if (peer != NULL && !identity_equal(&peer->identity, id)) {
            peer_free(peer); /* a signed world is right about its roots */
            peer = NULL;
        }
        if (peer == NULL) {
            peer = peer_new(vl1, id, now_ms);
        }
        if (peer == NULL) {
            continue;
        }
        peer->validated = true;
        peer->planet_root = peer->planet_root || world->type == WORLD_PLANET;
        peer->moon_root = peer->moon_root || world->type == WORLD_MOON;
        for (size_t k = 0; k < vl1->upstream_count; k++) {
            listed = listed || vl1->upstreams[k] == id->address;
        }
        if (!listed && vl1->upstream_count < COUNT_OF(vl1->upstreams)) {
            vl1->upstreams[vl1->upstream_count++] = id->address;
        }
    }
}

static void rebuild(struct vl1 *vl1, int64_t now_ms)
{
    struct hmap_node *n;

    for (n = hmap_each(&vl1->peers, NULL); n != NULL; n = hmap_each(&vl1->peers, n)) {
        struct peer *peer = CONTAINER_OF(n, struct peer, by_address);

        peer->planet_root = peer->moon_root = false;
    }
    vl1->root = false;
    vl1->upstream_count = 0;
    add_roots(vl1, vl1->planet, now_ms);
    for (size_t i = 0; i < vl1->moon_count; i++) {
        add_roots(vl1, vl1->moons[i].world, now_ms);
    }
    for (size_t i = 0; i < vl1->upstream_count; i++) {
        peer_contact_now(peer_in_memory(vl1, vl1->upstreams[i]), now_ms);
    }
    topology_choose_relay(vl1, now_ms);
    published_root(vl1);
}

size_t vl1_upstreams(const struct vl1 *vl1, uint64_t *out, size_t cap)
{
    for (size_t i = 0; i < vl1->upstream_count && i < cap; i++) {
        out[i] = vl1->upstreams[i];
    }
    return vl1->upstream_count;
}

static const struct world *world_at(const struct vl1 *vl1, size_t index)
{
    return index == 0 ? vl1->planet : vl1->moons[index - 1].world;
}

/* Is ip one of the stable endpoints of a root, in any world? */
bool topology_is_stable_endpoint(const struct vl1 *vl1, const struct peer *peer,
                                 const struct inetaddr *ip, bool *ret_has_any)
{
    bool always = true;

    for (size_t i = 0; i <= vl1->moon_count; i++) {
        const struct world *world = world_at(vl1, i);
        int r = world != NULL ? world_find_root(world, peer->identity.address) : -1;

        if (r < 0) {
            continue;
        }
        always = always && world->roots[r].endpoint_count > 0;
        for (size_t k = 0; k < world->roots[r].endpoint_count; k++) {
            if (inetaddr_ip_equal(&world->roots[r].endpoints[k], ip)) {
                *ret_has_any = true;
                return true;
            }
        }
    }
    *ret_has_any = always;
    return false;
}

size_t topology_endpoints(const struct vl1 *vl1, uint64_t address, struct inetaddr *out, size_t cap)
{
    size_t count = 0;

    for (size_t i = 0; i <= vl1->moon_count; i++) {
        const struct world *world = world_at(vl1, i);
        int r = world != NULL ? world_find_root(world, address) : -1;

        for (size_t k = 0; r >= 0 && k < world->roots[r].endpoint_count && count < cap; k++) {
            bool twice = world->roots[r].endpoints[k].family == INETADDR_NIL;

            for (size_t s = 0; s < count; s++) {
                twice = twice || inetaddr_equal(&out[s], &world->roots[r].endpoints[k]);
            }
            if (!twice) {
                out[count++] = world->roots[r].endpoints[k];
            }
        }
    }
    return count;
}

/* ---- the relay ---- */

static int64_t relay_score(const struct peer *peer, int64_t now_ms)
{
    const struct path *path = path_best((struct peer *)peer, now_ms);

    if (path == NULL) {
        return INT64_MAX;
    }
    /* One probe without answer yet is the regular heartbeat, not a loss. */
    return (path->latency_ms < 0 ? 1000 : path->latency_ms) +
           (int64_t)RELAY_CLASS * ((path->lost > 1) + 2 * (detour_penalty(path->socket) > 0));
}

void topology_choose_relay(struct vl1 *vl1, int64_t now_ms)
{
    const struct peer *current = vl1->relay != 0 ? peer_in_memory(vl1, vl1->relay) : NULL;
    int64_t current_score = INT64_MAX;
    int64_t best_score = INT64_MAX;
    uint64_t best = 0;

    for (size_t i = 0; i < vl1->upstream_count; i++) {
        const struct peer *peer = peer_in_memory(vl1, vl1->upstreams[i]);
        int64_t score = peer != NULL ? relay_score(peer, now_ms) : INT64_MAX;

        if (peer == current && peer != NULL) {
            current_score = score;
        }
        if (score < best_score) {
            best_score = score;
            best = vl1->upstreams[i];
        }
    }
    /* A little better, or better for a moment, is not worth a change. */
    if (best != vl1->relay &&
        (best == 0 || best_score / RELAY_CLASS < current_score / RELAY_CLASS ||
         (best_score + best_score % RELAY_CLASS / 10 + 3 < current_score &&
          now_ms - vl1->relay_ms >= SETTLED_MS))) {
        vl1->relay_stale = true;
        vl1->relay = best;
        vl1->relay_ms = now_ms;
    }
    if (vl1->relay == 0 && vl1->online && !timer_is_armed(&vl1->online_timer)) {
        (void)!timers_arm(&vl1->timers, &vl1->online_timer, now_ms + OFFLINE_MS);
    }
}

uint64_t vl1_best_upstream(const struct vl1 *vl1, int64_t now_ms)
{
    (void)now_ms;
    return vl1->relay != 0 || vl1->upstream_count == 0 ? vl1->relay : vl1->upstreams[0];
}

static void online_timer(struct timer *timer, int64_t now_ms)
{
    struct vl1 *vl1 = CONTAINER_OF(timer, struct vl1, online_timer);

    (void)now_ms;
    if (vl1->relay == 0 && vl1->online) {
        vl1->online = false;
        vl1->env.event(vl1->env.ctx, EVENT_OFFLINE, 0, NULL, 0);
    }
}

/* A path to an upstream came up, for the first time or again. */
void topology_online(struct vl1 *vl1, int64_t now_ms)
{
    bool had_relay = vl1->relay != 0;

    topology_choose_relay(vl1, now_ms);
    if (vl1->relay == 0) {
        return;
    }
    timers_cancel(&vl1->timers, &vl1->online_timer);
    if (!vl1->online) {
        vl1->online = true;
        vl1->env.event(vl1->env.ctx, EVENT_ONLINE, vl1->relay, NULL, 0);
    }
    if (!had_relay) {
        whois_resend_all(vl1, now_ms);
        seeds_contact(vl1, now_ms);
        tx_flush(vl1, 0, now_ms);
        if (vl1->upper.online != NULL) {
            vl1->upper.online(vl1->upper.ctx, now_ms);
        }
    }
}

/* ---- worlds ---- */

static struct moon *moon_find(struct vl1 *vl1, uint64_t id)
{
    for (size_t i = 0; i < vl1->moon_count; i++) {
        if (vl1->moons[i].id == id) {
            return &vl1->moons[i];
        }
    }
    return NULL;
}

static void orbits_store(struct vl1 *vl1)
{
    uint8_t buf[MOONS_MAX * ORBIT_LEN];
    struct wr w = wr_init(buf, sizeof(buf));

    for (size_t i = 0; i < vl1->moon_count; i++) {
        if (vl1->moons[i].world == NULL) {
            wr_u64(&w, vl1->moons[i].id);
            wr_u64(&w, vl1->moons[i].seed);
        }
    }
    if (wr_len(&w) > 0) {
        vl1->env.state_store(vl1->env.ctx, STATE_ORBITS, 0, buf, wr_len(&w));
    } else {
        vl1->env.state_erase(vl1->env.ctx, STATE_ORBITS, 0);
    }
}

static void world_store(struct vl1 *vl1, const struct world *world)
{
    uint8_t *buf = malloc(WORLD_WIRE_MAX);

    if (buf != NULL) {
        struct wr w = wr_init(buf, WORLD_WIRE_MAX);

        world_write(&w, world);
        if (!w.bad) {
            vl1->env.state_store(vl1->env.ctx,
                                 world->type == WORLD_PLANET ? STATE_PLANET : STATE_MOON,
                                 world->type == WORLD_PLANET ? 0 : world->id, buf, wr_len(&w));
        }
        free(buf);
    }
}

static struct world *world_copy(const struct world *world)
{
    struct world *copy = malloc(sizeof(*copy));

    if (copy != NULL) {
        *copy = *world;
    }
    return copy;
}

static struct world *world_load(struct vl1 *vl1, enum state_kind kind, uint64_t id)
{
    uint8_t *buf = calloc(1, WORLD_WIRE_MAX);
    struct world *world = calloc(1, sizeof(*world));
    ssize_t n = buf != NULL && world != NULL
                    ? vl1->env.state_load(vl1->env.ctx, kind, id, buf, WORLD_WIRE_MAX)
                    : -ENOMEM;
    struct rd in = rd_init(buf, n > 0 ? (size_t)n : 0);

    if (n <= 0 || world_read(&in, world) < 0) {
        free(world);
        world = NULL;
        if (n > 0) {
            engine_log(&vl1->env, LOG_LEVEL_WARN,
                       "vl1: stored world is damaged and ignored kind=%s id=%016llx",
                       kind == STATE_PLANET ? "planet" : "moon", (unsigned long long)id);
        }
    }
    free(buf);
    return world;
}

/* First sight of a moon: from where is it to be believed? */
static int first_moon(struct vl1 *vl1, const struct moon *moon, const struct world *world,
                      uint64_t from, bool local_file)
{
    bool verified = world_verify_self(world) == 0 || spread_remembers(vl1, world);

    if (!local_file) {
        if (moon == NULL || moon->seed == 0 || world_find_root(world, moon->seed) < 0) {
            return -EACCES;
        }
        if (!verified && from != moon->seed) {
            return -EACCES;
        }
    }
    if (!verified) {
        engine_log(&vl1->env, LOG_LEVEL_WARN,
                   "vl1: moon accepted without a signature of its own key id=%016llx",
                   (unsigned long long)world->id);
    }
    return verified;
}

static void seed_release(struct vl1 *vl1, struct moon *moon)
{
    if (moon->kept) {
        vl1_contact_release(vl1, moon->seed);
        moon->kept = false;
    }
}

static int offer_moon(struct vl1 *vl1, const struct world *world, uint64_t from, bool local_file)
{
    struct moon *moon = moon_find(vl1, world->id);
    struct world *copy;
    int verdict;

    if (moon != NULL && moon->world != NULL) {
        verdict = world_update_check(moon->world, world);
        verdict = verdict < 0 ? verdict : moon->verified;
    } else {
        verdict = first_moon(vl1, moon, world, from, local_file);
    }
    if (verdict < 0) {
        return -EACCES;
    }
    if (moon == NULL) {
        if (vl1->moon_count == MOONS_MAX) {
            return -ENOSPC;
        }
        moon = &vl1->moons[vl1->moon_count];
        *moon = (struct moon){.id = world->id};
        vl1->moon_count++;
    }
    copy = world_copy(world);
    if (copy == NULL) {
        return -ENOMEM;
    }
    seed_release(vl1, moon);
    spread_replaced(vl1, moon->world, copy);
    free(moon->world);
    moon->world = copy;
    moon->verified = verdict > 0;
    moon->seed = 0;
    return 0;
}

static int offer_planet(struct vl1 *vl1, const struct world *world, bool local_file)
{
    struct world *copy;

    if (vl1->planet != NULL ? world_update_check(vl1->planet, world) < 0
                            : !local_file && world_verify_self(world) < 0) {
        return -EACCES;
    }
    copy = world_copy(world);
    if (copy == NULL) {
        return -ENOMEM;
    }
    if (vl1->planet == NULL) {
        vl1->planet_verified = world_verify_self(world) == 0;
    }
    spread_replaced(vl1, vl1->planet, copy);
    free(vl1->planet);
    vl1->planet = copy;
    return 0;
}

int topology_offer(struct vl1 *vl1, const struct world *world, uint64_t from, bool local_file,
                   int64_t now_ms)
{
    int err = -EACCES;
    bool was_root = vl1->root;

    if (world->type == WORLD_PLANET) {
        err = offer_planet(vl1, world, local_file);
    } else if (world->type == WORLD_MOON) {
        err = offer_moon(vl1, world, from, local_file);
    }
    if (err < 0) {
        return err;
    }
    engine_log(&vl1->env, LOG_LEVEL_INFO, "vl1: world accepted id=%016llx timestamp=%llu",
               (unsigned long long)world->id, (unsigned long long)world->timestamp);
    world_store(vl1, world);
    orbits_store(vl1);
    rebuild(vl1, now_ms);
    if (was_root || vl1->root) {
        spread_tell(vl1, now_ms);
    }
    vl1->env.event(vl1->env.ctx, EVENT_WORLD, world->id, NULL, 0);
    return 0;
}

int vl1_world_offer(struct vl1 *vl1, const struct world *world, int64_t now_ms)
{
    return topology_offer(vl1, world, 0, true, now_ms);
}

bool topology_accepts_worlds_from(const struct vl1 *vl1, uint64_t address)
{
    const struct peer *peer = peer_in_memory(vl1, address);

    if (peer != NULL && peer_is_upstream(peer)) {
        return true;
    }
    for (size_t i = 0; i < vl1->moon_count; i++) {
        if (vl1->moons[i].world == NULL && vl1->moons[i].seed == address) {
            return true;
        }
    }
    return false;
}

size_t topology_hello_moons(const struct vl1 *vl1, struct hello_moon *out, size_t cap)
{
    size_t count = 0;

    for (size_t i = 0; i < vl1->moon_count && count < cap; i++) {
        const struct world *world = vl1->moons[i].world;

        out[count++] = (struct hello_moon){vl1->moons[i].id, world != NULL ? world->timestamp : 0};
    }
    return count;
}

/* Ask the seeds of moons we wait for: each HELLO names the moon, the OK brings it. */
void seeds_contact(struct vl1 *vl1, int64_t now_ms)
{
    bool unknown = false;

    for (size_t i = 0; i < vl1->moon_count; i++) {
        struct peer *peer;

        if (vl1->moons[i].world != NULL) {
            continue;
        }
        peer = vl1_peer_find(vl1, vl1->moons[i].seed, now_ms);
        if (peer != NULL && !vl1->moons[i].kept) {
            vl1->moons[i].kept = vl1_contact_keep(vl1, vl1->moons[i].seed, now_ms) == 0;
        }
        if (peer == NULL) {
            unknown = true;
            vl1_whois(vl1, vl1->moons[i].seed, now_ms);
        } else if (path_best(peer, now_ms) == NULL) {
            hello_send_relayed(peer, now_ms);
        } else {
            struct path *path = path_best(peer, now_ms);

            hello_send(peer, path->socket, &path->remote, now_ms);
        }
    }
    if (unknown) {
        (void)!timers_arm(&vl1->timers, &vl1->seed_timer, now_ms + SEED_RETRY_MS);
    }
}

static void seed_timer(struct timer *timer, int64_t now_ms)
{
    seeds_contact(CONTAINER_OF(timer, struct vl1, seed_timer), now_ms);
}

int vl1_orbit(struct vl1 *vl1, uint64_t world_id, uint64_t seed, int64_t now_ms)
{
    struct moon *moon = moon_find(vl1, world_id);
    struct world *world;

    if (moon != NULL && moon->world != NULL) {
        return 0;
    }
    world = world_load(vl1, STATE_MOON, world_id);
    if (world != NULL && world->type == WORLD_MOON && world->id == world_id) {
        int err;

        spread_load(vl1, world);
        err = topology_offer(vl1, world, 0, true, now_ms);
        free(world);
        return err;
    }
    free(world);
    if (seed == 0) {
        return -ENOENT;
    }
    if (moon == NULL) {
        if (vl1->moon_count == MOONS_MAX) {
            return -ENOSPC;
        }
        moon = &vl1->moons[vl1->moon_count++];
        *moon = (struct moon){.id = world_id};
    }
    seed_release(vl1, moon); /* of an earlier call with another seed */
    *moon = (struct moon){.id = world_id, .seed = seed};
    orbits_store(vl1);
    seeds_contact(vl1, now_ms);
    return 0;
}

int vl1_deorbit(struct vl1 *vl1, uint64_t world_id, int64_t now_ms)
{
    struct moon *moon = moon_find(vl1, world_id);

    if (moon == NULL) {
        return -ENOENT;
    }
    seed_release(vl1, moon);
    if (moon->world != NULL) {
        spread_forget(vl1, moon->world);
    }
    free(moon->world);
    *moon = vl1->moons[--vl1->moon_count];
    vl1->env.state_erase(vl1->env.ctx, STATE_MOON, world_id);
    orbits_store(vl1);
    rebuild(vl1, now_ms);
    vl1->env.event(vl1->env.ctx, EVENT_WORLD, world_id, NULL, 0);
    return 0;
}

const struct world *vl1_planet(const struct vl1 *vl1)
{
    return vl1->planet;
}

bool vl1_planet_is_verified(const struct vl1 *vl1)
{
    return vl1->planet_verified;
}

const struct world *vl1_moon(const struct vl1 *vl1, size_t index, uint64_t *ret_id,
                             uint64_t *ret_seed, bool *ret_verified)
{
    if (index >= vl1->moon_count) {
        *ret_id = 0;
        return NULL;
    }
    *ret_id = vl1->moons[index].id;
    *ret_seed = vl1->moons[index].seed;
    *ret_verified = vl1->moons[index].verified;
    return vl1->moons[index].world;
}

/* ---- start ---- */

static void orbits_load(struct vl1 *vl1)
{
    uint8_t buf[MOONS_MAX * ORBIT_LEN];
    ssize_t n = vl1->env.state_load(vl1->env.ctx, STATE_ORBITS, 0, buf, sizeof(buf));
    struct rd in = rd_init(buf, n > 0 ? (size_t)n : 0);

    while (rd_left(&in) >= ORBIT_LEN && vl1->moon_count < MOONS_MAX) {
        uint64_t id = rd_u64(&in);
        uint64_t seed = rd_u64(&in);

        if (moon_find(vl1, id) == NULL && !address_is_reserved(seed) && seed >> ADDRESS_BITS == 0) {
            vl1->moons[vl1->moon_count++] = (struct moon){.id = id, .seed = seed};
        }
    }
}

int topology_load(struct vl1 *vl1, int64_t now_ms)
{
    struct rd in = rd_init(default_planet, DEFAULT_PLANET_LEN);
    struct world *builtin;

    vl1->online_timer.fire = online_timer;
    vl1->seed_timer.fire = seed_timer;
    vl1->planet = world_load(vl1, STATE_PLANET, 0);
    if (vl1->planet != NULL && vl1->planet->type != WORLD_PLANET) {
        free(vl1->planet);
        vl1->planet = NULL;
    }
    if (vl1->planet != NULL) {
        spread_load(vl1, vl1->planet);
        vl1->planet_verified =
            world_verify_self(vl1->planet) == 0 || spread_remembers(vl1, vl1->planet);
        if (!vl1->planet_verified) {
            engine_log(&vl1->env, LOG_LEVEL_WARN,
                       "vl1: planet accepted without a signature of its own key id=%016llx",
                       (unsigned long long)vl1->planet->id);
        }
    }
    if (!vl1->options.no_default_planet) {
        builtin = calloc(1, sizeof(*builtin));
        if (builtin == NULL) {
            return -ENOMEM;
        }
        if (world_read(&in, builtin) == 0 && offer_planet(vl1, builtin, true) == 0) {
            world_store(vl1, builtin);
        }
        free(builtin);
    }
    orbits_load(vl1);
    rebuild(vl1, now_ms);
    seeds_contact(vl1, now_ms);
    return 0;
}

void topology_done(struct vl1 *vl1)
{
    spread_done(vl1);
    free(vl1->planet);
    for (size_t i = 0; i < vl1->moon_count; i++) {
        free(vl1->moons[i].world);
    }
    vl1->moon_count = 0;
}
