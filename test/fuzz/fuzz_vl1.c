/* The peer-to-peer engine: a script of datagrams, time steps, sends and changes of policy. Besides
 * raw datagrams the script can have packets sealed by peers that the engine knows, so that it gets
 * behind the MAC, and answers to what the engine has just sent, so that they are awaited. Keys are
 * made up and address hashes are decided by the script. */
#include "fuzz.h"

#include "vl1/vl1_priv.h"

#include <sodium.h>
#include <stdlib.h>
#include <string.h>

enum {
    ME = 0, /* the engine; a root in some scripts */
    ROOT_A, /* roots of the planet */
    ROOT_B,
    KNOWN,    /* a peer from the beginning */
    STRANGER, /* has keys, is unknown */
    LIAR,     /* has the address of KNOWN and other keys */
    ACTORS,
    ACTIONS_MAX = 64,
    AWAITED_MAX = 32,
    JOBS_MAX = 64,
};

struct sent_id {
    uint64_t id;
    uint64_t dest;
    uint8_t verb;
};

struct bench {
    struct vl1 *vl1;
    int64_t now_ms;
    uint64_t random;
    enum vl1_verdict verdict;
    struct sent_id sent[AWAITED_MAX]; /* last packets the engine sent */
    size_t sent_count;
    size_t sent_bytes;
    struct engine_job *jobs[JOBS_MAX];
    size_t job_count;
    uint8_t planet[WORLD_WIRE_MAX];
    size_t planet_len;
};

static struct identity actors[ACTORS];
static struct armor_keys keys[ACTORS]; /* with ME */

static const struct inetaddr places[] = {
    {.family = INETADDR_V4, .ip = {46, 0, 0, 1}, .port = 9993},
    {.family = INETADDR_V4, .ip = {46, 0, 0, 2}, .port = 9993},
    {.family = INETADDR_V4, .ip = {46, 0, 0, 2}, .port = 50000},
    {.family = INETADDR_V4, .ip = {10, 0, 0, 7}, .port = 9993},
    {.family = INETADDR_V4, .ip = {127, 0, 0, 1}, .port = 9993},
    {.family = INETADDR_V6, .ip = {0x26, 6, 0x47, 0, 1}, .port = 9993},
    {.family = INETADDR_V6, .ip = {0xfd, 0, 1}, .port = 443},
    {.family = INETADDR_V4, .ip = {46, 0, 0, 9}, .port = 9993},
};

/* ---- who takes part ---- */

static void make_actors(void)
{
    for (unsigned i = 0; i < ACTORS; i++) {
        uint8_t secret[SHARED_KEY_LEN];

        actors[i].address = 0x1000000001 * (i == LIAR ? KNOWN + 1 : i + 1);
        actors[i].has_private = true;
        memset(actors[i].priv, (int)i + 1, sizeof(actors[i].priv));
        fuzz_require(crypto_scalarmult_base(actors[i].pub, actors[i].priv) == 0, "keys");
        fuzz_require(crypto_sign_seed_keypair(actors[i].pub + 32, (uint8_t[64]){0},
                                              actors[i].priv + 32) == 0,
                     "keys");
        fuzz_require(identity_agree(&actors[ME], &actors[i], secret) == 0, "agreement");
        armor_keys_init(&keys[i], secret);
    }
}

/* A planet of both roots, or with the engine as one of them, signed by KNOWN's key. */
static size_t make_world(uint8_t out[WORLD_WIRE_MAX], uint8_t type, bool me, uint64_t timestamp,
                         bool liar)
{
    static struct world world;
    struct wr w = wr_init(out, WORLD_WIRE_MAX);

    world = (struct world){.type = type, .id = 77, .timestamp = timestamp, .root_count = 2};
    memcpy(world.update_key, actors[KNOWN].pub, sizeof(world.update_key));
    world.roots[0].identity = actors[me ? ME : ROOT_A];
    world.roots[1].identity = actors[ROOT_B];
    if (liar) { /* a root with another key than before */
        world.roots[1].identity = actors[LIAR];
        world.roots[1].identity.address = actors[ROOT_B].address;
    }
    for (unsigned i = 0; i < 2; i++) {
        world.roots[i].identity.has_private = false;
        world.roots[i].endpoint_count = 2;
        world.roots[i].endpoints[0] = places[i];
        world.roots[i].endpoints[1] = places[5];
    }
    world_sign(&world, actors[KNOWN].priv, actors[KNOWN].pub);
    world_write(&w, &world);
    return wr_len(&w);
}

/* ---- environment ---- */

static void env_send(void *ctx, uint32_t socket, const struct inetaddr *to, const void *data,
                     size_t len, unsigned ttl)
{
    struct bench *b = ctx;
    const uint8_t *pkt = data;

    (void)socket;
    (void)ttl;
    fuzz_require(len > 0 && len <= MTU_PHYSICAL_MAX, "length of a datagram");
    fuzz_require(to->family == INETADDR_V4 || to->family == INETADDR_V6, "family of a datagram");
    b->sent_bytes += len;
    if (datagram_classify(pkt, len) == DATAGRAM_PACKET &&
        packet_source(pkt) == actors[ME].address && packet_suite(pkt) != SUITE_TRUSTED) {
        struct sent_id *s = &b->sent[b->sent_count++ % AWAITED_MAX];
        uint8_t copy[MTU_PHYSICAL_MAX];

        *s = (struct sent_id){packet_id(pkt), packet_dest(pkt), 0xff};
        for (unsigned i = 1; i < ACTORS && len <= PACKET_MAX && !packet_is_fragmented(pkt); i++) {
            memcpy(copy, pkt, len);
            if (actors[i].address == s->dest && armor_open(copy, len, &keys[i]) == 0) {
                s->verb = copy[PACKET_AT_VERB] & VERB_MASK;
            }
        }
    }
}

static ssize_t env_load(void *ctx, enum state_kind kind, uint64_t id, void *buf, size_t cap)
{
    struct bench *b = ctx;

    (void)id;
    if (kind != STATE_PLANET || b->planet_len > cap) {
        return -1;
    }
    memcpy(buf, b->planet, b->planet_len);
    return (ssize_t)b->planet_len;
}

static void env_store(void *ctx, enum state_kind kind, uint64_t id, const void *data, size_t len)
{
    (void)ctx;
    (void)kind;
    (void)id;
    fuzz_require(data != NULL && len > 0, "stored object");
}

static void env_erase(void *ctx, enum state_kind kind, uint64_t id)
{
    (void)ctx;
    (void)kind;
    (void)id;
}

static void env_random(void *ctx, void *out, size_t len)
{
    struct bench *b = ctx;
    uint8_t *p = out;

    for (size_t i = 0; i < len; i++) {
        p[i] = (uint8_t)hash_mix(b->random++, 3);
    }
}

static void env_event(void *ctx, enum event_kind kind, uint64_t id, const void *data, size_t len)
{
    volatile uint8_t sum = 0;

    (void)ctx;
    (void)kind;
    (void)id;
    for (size_t i = 0; i < len; i++) {
        sum = (uint8_t)(sum + ((const uint8_t *)data)[i]);
    }
}

static int env_job(void *ctx, struct engine_job *job)
{
    struct bench *b = ctx;

    if (b->job_count == JOBS_MAX) {
        return -1;
    }
    b->jobs[b->job_count++] = job;
    return 0;
}

static enum vl1_verdict up_packet(void *ctx, const struct in_packet *in, int64_t now_ms)
{
    struct bench *b = ctx;
    volatile uint8_t sum = 0;

    fuzz_require(now_ms == b->now_ms, "time of an upcall");
    fuzz_require(peer_in_memory(b->vl1, in->source) == in->peer, "sender of an upcall");
    for (size_t i = 0; i < rd_left(&in->payload); i++) {
        sum = (uint8_t)(sum + in->payload.p[i]);
    }
    return b->verdict;
}

static void up_online(void *ctx, int64_t now_ms)
{
    (void)ctx;
    (void)now_ms;
}

static void up_known(void *ctx, uint64_t address, int64_t now_ms)
{
    struct bench *b = ctx;

    (void)now_ms;
    vl1_retry_from(b->vl1, address, b->now_ms);
}

/* ---- actions of the script ---- */

static void receive(struct bench *b, uint32_t socket, uint8_t place, const uint8_t *data,
                    size_t len)
{
    uint8_t *copy = malloc(len > 0 ? len : 1);

    fuzz_require(copy != NULL, "memory");
    memcpy(copy, data, len);
    vl1_receive(b->vl1, socket, &places[place % COUNT_OF(places)], copy, len, b->now_ms);
    free(copy);
}

/* Nobody gets more out of a datagram that proves nothing than a lookup or its forwarding. */
static void act_raw(struct bench *b, struct rd *in)
{
    uint8_t place = rd_u8(in);
    struct rd part = rd_sub(in, rd_u8(in));
    size_t len = rd_left(&part);
    uint8_t data[256];
    uint64_t authentic = vl1_counter_value(b->vl1, VL1_RX_PACKETS);
    size_t before = b->sent_bytes;

    rd_copy(&part, data, len);
    if (len >= 13) {
        be40_put(data + 8, data[0] % 4 == 0 ? actors[KNOWN].address : actors[ME].address);
    }
    receive(b, 1, place, data, len);
    if (vl1_counter_value(b->vl1, VL1_RX_PACKETS) == authentic) {
        fuzz_require(b->sent_bytes - before <= 3 * len + 300, "amplification");
    }
}

static void deliver_cut(struct bench *b, uint8_t place, const uint8_t *pkt, size_t len,
                        unsigned order)
{
    struct fragment_plan plan;

    if (fragment_plan_equal(len, len / 3 + 64, &plan) < 0) {
        return;
    }
    for (unsigned i = 0; i < plan.total; i++) {
        struct fragment_piece piece;
        uint8_t data[PACKET_MAX + FRAGMENT_AT_DATA];

        fragment_cut(pkt, &plan, (i + order) % plan.total, &piece);
        memcpy(data, piece.head, piece.head_len);
        memcpy(data + piece.head_len, piece.data, piece.len);
        receive(b, 1, place, data, piece.head_len + piece.len);
    }
}

/* Seal and deliver a payload. how: suite 0, 1, 3 in bits 0-1, hops in 2-3, cut in bit 4. */
static void deliver_sealed(struct bench *b, unsigned who, uint8_t how, uint8_t place, uint8_t verb,
                           const uint8_t *payload, size_t len)
{
    static const enum cipher_suite suites[] = {SUITE_POLY1305, SUITE_SALSA_POLY1305,
                                               SUITE_AES_GMAC_SIV, SUITE_AES_GMAC_SIV};
    uint8_t pkt[PACKET_MAX];
    size_t total = PACKET_AT_PAYLOAD + len;
    bool cut = (how & 16) != 0 && total > 128;

    packet_start(pkt, hash_mix(b->random++, 4), actors[ME].address, actors[who].address,
                 (enum verb)verb);
    memcpy(pkt + PACKET_AT_PAYLOAD, payload, len);
    packet_set_fragmented(pkt, cut);
    armor_seal(pkt, total, suites[how & 3], &keys[who]);
    for (unsigned i = 0; i < (how >> 2 & 3); i++) {
        packet_add_hop(pkt);
    }
    if (cut) {
        deliver_cut(b, place, pkt, total, how >> 5);
    } else {
        receive(b, 1 + (how >> 7), place, pkt, total);
    }
}

static void act_sealed(struct bench *b, struct rd *in)
{
    unsigned who = ROOT_A + rd_u8(in) % (ACTORS - ROOT_A);
    uint8_t how = rd_u8(in);
    uint8_t place = rd_u8(in);
    uint8_t verb = rd_u8(in);
    struct rd part = rd_sub(in, rd_u16(in) & 0x7ff);
    uint8_t payload[2048];
    size_t len = rd_left(&part);

    rd_copy(&part, payload, len);
    deliver_sealed(b, who, how, place, verb, payload, len);
}

/* OK or ERROR to the last thing the engine sent to somebody. */
static void act_reply(struct bench *b, struct rd *in)
{
    uint8_t which = rd_u8(in);
    uint8_t how = rd_u8(in);
    uint8_t place = rd_u8(in);
    struct rd part = rd_sub(in, rd_u16(in) & 0x7ff);
    uint8_t payload[2048 + 9];
    size_t len = rd_left(&part);
    const struct sent_id *s;

    if (b->sent_count == 0) {
        return;
    }
    s = &b->sent[(b->sent_count - 1 - which % AWAITED_MAX % b->sent_count) % AWAITED_MAX];
    payload[0] = s->verb;
    be64_put(payload + 1, s->id);
    rd_copy(&part, payload + 9, len);
    for (unsigned i = ROOT_A; i < ACTORS; i++) {
        if (actors[i].address == s->dest && i != LIAR) {
            deliver_sealed(b, i, how, place, (how & 32) != 0 ? VERB_ERROR : VERB_OK, payload,
                           9 + len);
        }
    }
}

/* A well-formed HELLO, its tail from the script. */
static void act_hello(struct bench *b, struct rd *in)
{
    unsigned who = ROOT_A + rd_u8(in) % (ACTORS - ROOT_A);
    uint8_t place = rd_u8(in);
    struct rd part = rd_sub(in, rd_u8(in));
    size_t len = rd_left(&part);
    uint8_t pkt[PACKET_MAX];
    struct wr w = wr_init(pkt + PACKET_AT_PAYLOAD, PACKET_PAYLOAD_MAX);
    struct hello hello = {.version = {.protocol = (uint8_t)(len + 4)},
                          .identity = actors[who],
                          .has_address = true,
                          .address = places[place % COUNT_OF(places)],
                          .has_planet = true,
                          .planet_id = 77,
                          .planet_timestamp = place};
    size_t tail;

    hello.identity.has_private = false;
    packet_start(pkt, hash_mix(b->random++, 5), actors[ME].address, actors[who].address,
                 VERB_HELLO);
    tail = PACKET_AT_PAYLOAD + hello_encode(&w, &hello, NULL, 0);
    rd_copy(&part, w.p, len);
    hello_mask(pkt, tail + len, tail, &keys[who]);
    armor_seal(pkt, tail + len, SUITE_POLY1305, &keys[who]);
    receive(b, 1, place, pkt, tail + len);
}

static void tick(struct bench *b)
{
    vl1_enter(b->vl1);
    timers_run(vl1_timers(b->vl1), b->now_ms);
    vl1_leave(b->vl1, b->now_ms);
    fuzz_require(vl1_timers(b->vl1)->count == 0 || timers_next(vl1_timers(b->vl1)) > b->now_ms,
                 "a tick leaves nothing due");
}

static void act_time(struct bench *b, struct rd *in)
{
    int64_t end = b->now_ms + ((int64_t)rd_u16(in) << (rd_u8(in) % 6));
    unsigned ticks = 0;

    while (timers_next(vl1_timers(b->vl1)) != TIMERS_NEVER &&
           timers_next(vl1_timers(b->vl1)) <= end && ticks++ < 50) {
        b->now_ms = timers_next(vl1_timers(b->vl1));
        tick(b);
    }
    b->now_ms = end;
    tick(b);
}

static void act_send(struct bench *b, struct rd *in)
{
    unsigned who = rd_u8(in) % ACTORS;
    uint8_t verb = rd_u8(in);
    uint8_t flags = rd_u8(in) & 3;
    struct out_packet out;

    vl1_enter(b->vl1);
    out_begin(b->vl1, &out, actors[who].address, (enum verb)(verb & VERB_MASK));
    wr_zero(&out.w, rd_u16(in));
    (void)!out_send(b->vl1, &out, flags, b->now_ms);
    vl1_leave(b->vl1, b->now_ms);
}

static void act_jobs(struct bench *b, struct rd *in)
{
    uint8_t how = rd_u8(in);

    while (b->job_count > 0) {
        struct engine_job *job = b->jobs[--b->job_count];
        struct validate_job *vj = CONTAINER_OF(job, struct validate_job, job);

        vj->result = (how & 2) != 0 ? -13 : 0; /* EACCES */
        job->done = (how & 1) == 0;
        vl1_job_done(b->vl1, job, b->now_ms);
    }
}

static void set_sockets(struct bench *b, uint8_t how)
{
    struct vl1_socket sockets[] = {
        {1, {.family = INETADDR_V4, .ip = {10, 0, 0, 1}, .port = 9993}, 0},
        {2, {.family = INETADDR_V6, .ip = {0xfd, 0, 9}, .port = 9993}, 1400},
        {3, {.family = INETADDR_V4, .ip = {10, 0, 0, 1}, .port = 5555}, 9000},
    };

    sockets[0].local.ip[3] = (uint8_t)(1 + (how >> 2 & 1));
    fuzz_require(vl1_set_sockets(b->vl1, sockets, how & 3, b->now_ms) == 0, "sockets");
}

static void act_policy(struct bench *b, struct rd *in)
{
    uint8_t what = rd_u8(in);
    uint8_t arg = rd_u8(in);
    uint8_t world[WORLD_WIRE_MAX];
    size_t len;
    struct world parsed;
    struct rd part;
    struct physical_entry entry = {.net = {.family = INETADDR_V4, .ip = {46}, .port = 8},
                                   .blacklist = (arg & 1) != 0,
                                   .trusted_path_id = arg >> 1 & 1,
                                   .mtu = arg * 100u};
    const struct inetaddr hint = places[arg % COUNT_OF(places)];

    vl1_enter(b->vl1);
    switch (what % 10) {
    case 0:
        set_sockets(b, arg);
        break;
    case 1:
        vl1_set_physical(b->vl1, &entry, arg >> 7);
        break;
    case 2:
        vl1_clear_virtual(b->vl1);
        (void)!vl1_add_virtual(b->vl1, actors[arg % ACTORS].address, &hint, 1, NULL, 0);
        break;
    case 3:
        (void)!vl1_orbit(b->vl1, arg % 4 == 0 ? 77 : arg, actors[arg % ACTORS].address, b->now_ms);
        break;
    case 4:
        (void)vl1_deorbit(b->vl1, arg % 4 == 0 ? 77 : arg, b->now_ms);
        break;
    case 5:
        (void)vl1_contact_keep(b->vl1, actors[arg % ACTORS].address, b->now_ms);
        break;
    case 6:
        vl1_contact_release(b->vl1, actors[arg % ACTORS].address);
        break;
    case 7:
        vl1_whois(b->vl1, actors[arg % ACTORS].address + arg / ACTORS, b->now_ms);
        break;
    case 8:
        b->verdict = (enum vl1_verdict)(arg % 4);
        break;
    default:
        len = make_world(world, (arg & 1) != 0 ? WORLD_MOON : WORLD_PLANET, (arg & 2) != 0,
                         arg + 10u, (arg & 4) != 0);
        part = rd_init(world, len);
        fuzz_require(world_read(&part, &parsed) == 0, "own world");
        if ((arg & 8) != 0) {
            (void)!vl1_world_offer(b->vl1, &parsed, b->now_ms);
        } else {
            (void)!topology_offer(b->vl1, &parsed, actors[ROOT_A].address, false, b->now_ms);
        }
        break;
    }
    vl1_leave(b->vl1, b->now_ms);
}

/* OK(HELLO) of a root that brings a world. */
static void act_world(struct bench *b, struct rd *in)
{
    uint8_t arg = rd_u8(in);
    uint8_t world[WORLD_WIRE_MAX];
    size_t len = make_world(world, (arg & 1) != 0 ? WORLD_MOON : WORLD_PLANET, (arg & 2) != 0,
                            arg + 10u, (arg & 4) != 0);
    uint8_t payload[2048];
    struct wr w = wr_init(payload, sizeof(payload));
    unsigned who = (arg & 16) != 0 ? ROOT_B : ROOT_A;

    await_add(b->vl1, 5, actors[who].address, VERB_HELLO, b->now_ms);
    ok_head_write(&w, &(struct reply_head){VERB_HELLO, 5});
    ok_hello_encode(&w, &(struct ok_hello){.version = {12, 1, 14, 1},
                                           .has_address = true,
                                           .address = places[arg % COUNT_OF(places)],
                                           .has_worlds = true,
                                           .worlds = world,
                                           .worlds_len = len});
    fuzz_require(!w.bad, "room for a world");
    deliver_sealed(b, who, 2, who == ROOT_A ? 0 : 1, VERB_OK, payload, wr_len(&w));
}

static void check_bounds(const struct bench *b)
{
    const struct vl1 *vl1 = b->vl1;

    fuzz_require(vl1->rx_count <= RX_QUEUE_MAX && vl1->tx_count <= TX_QUEUE_MAX, "queues");
    fuzz_require(vl1->whois.count == vl1->whois_count[WHOIS_OWN] +
                                         vl1->whois_count[WHOIS_STRANGER] +
                                         vl1->whois_count[WHOIS_ASKED],
                 "count of lookups");
    fuzz_require(vl1->validation_count <= VALIDATE_JOBS_MAX, "validations");
    fuzz_require(vl1->surface_count <= SURFACE_MAX, "surfaces");
    fuzz_require(vl1->gone == NULL && vl1->depth == 0, "end of an input");
    for (struct hmap_node *n = hmap_each(&vl1->peers, NULL); n != NULL;
         n = hmap_each(&vl1->peers, n)) {
        const struct peer *peer = CONTAINER_OF(n, struct peer, by_address);

        fuzz_require(!peer->gone && timer_is_armed(&peer->timer), "every peer has its timer");
        fuzz_require(peer->path_count <= PEER_PATHS_MAX, "paths");
    }
}

static void begin(struct bench *b, bool root)
{
    struct engine_env env = {.send = env_send,
                             .state_load = env_load,
                             .state_store = env_store,
                             .state_erase = env_erase,
                             .random = env_random,
                             .event = env_event,
                             .job = env_job,
                             .ctx = b};

    b->planet_len = make_world(b->planet, WORLD_PLANET, root, 5, false);
    b->vl1 =
        vl1_new(&env, &actors[ME], &(struct vl1_options){.no_default_planet = true}, b->now_ms);
    fuzz_require(b->vl1 != NULL, "memory");
    vl1_set_upper(b->vl1, &(struct vl1_upper){.ctx = b,
                                              .packet = up_packet,
                                              .online = up_online,
                                              .identity_known = up_known});
    vl1_enter(b->vl1);
    fuzz_require(vl1_start(b->vl1, b->now_ms) == 0, "start");
    set_sockets(b, 3);
    fuzz_require(peer_new(b->vl1, &actors[KNOWN], b->now_ms) != NULL, "memory");
    vl1_leave(b->vl1, b->now_ms);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    static void (*const actions[])(struct bench *, struct rd *) = {
        act_raw,  act_sealed, act_reply,  act_hello, act_time,
        act_send, act_jobs,   act_policy, act_world,
    };
    static struct bench bench;
    struct rd in = rd_init(data, len);

    if (actors[0].address == 0) {
        make_actors();
    }
    memset(&bench, 0, sizeof(bench));
    bench.now_ms = 1000000;
    bench.verdict = VL1_DONE;
    begin(&bench, (rd_u8(&in) & 1) != 0);
    for (unsigned i = 0; i < ACTIONS_MAX && rd_left(&in) > 0; i++) {
        actions[rd_u8(&in) % COUNT_OF(actions)](&bench, &in);
        check_bounds(&bench);
    }
    act_jobs(&bench, &(struct rd){0});
    vl1_free(bench.vl1, bench.now_ms);
    return 0;
}
