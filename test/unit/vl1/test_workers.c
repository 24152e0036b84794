/* What vl1 publishes to workers and takes back: sessions follow paths, relays, policy and the end
 * of peers; what a worker notes keeps peers and paths alive and is counted once; duplicates are
 * found whoever took the first copy; roots publish routes. Data path contract sections 1, 2, 6. */
#include "bench.h"

#include <stdlib.h>
#include <string.h>

static const char *const ROOT1_AT = "198.51.100.10/9993";
static const char *const ROOT2_AT = "203.0.113.20/443";
static const char *const ALICE_AT = "192.0.2.1/9993";
static const char *const BOB_AT = "192.0.2.2/9993";

void __wrap_armor_keys_done(struct armor_keys *keys);
void __real_armor_keys_done(struct armor_keys *keys);

static unsigned keys_wiped;

void __wrap_armor_keys_done(struct armor_keys *keys)
{
    static const uint8_t zero[SHARED_KEY_LEN];

    __real_armor_keys_done(keys);
    assert_memory_equal(keys->secret, zero, sizeof(zero));
    keys_wiped++;
}

/* Two roots, and bob without workers; alice has one. */
struct world_of {
    struct net *net;
    struct host *root1, *root2, *alice, *bob;
};

static struct world_of setup(void)
{
    struct world_of t = {.net = net_new(10)};

    t.root1 = net_add(t.net, "root1", ROOT1_AT, "planet_v1");
    t.root2 = net_add(t.net, "root2", ROOT2_AT, "planet_v1");
    t.alice = net_add(t.net, "alice", ALICE_AT, "planet_v1");
    t.bob = net_add(t.net, "bob", BOB_AT, "planet_v1");
    host_workers(t.alice);
    t.bob->verdict = VL1_TRUST;
    net_run(t.net, 1000);
    return t;
}

/* Frames both ways every 20 ms. */
static void talk(const struct world_of *t, int64_t ms)
{
    for (int64_t at = 0; at < ms; at += 20) {
        host_frame(t->alice, t->bob->identity.address, "ping", 4);
        engine_frame(t->bob, t->alice->identity.address, "pong", 4);
        net_run(t->net, 20);
    }
}

static struct dp_session *session(const struct world_of *t)
{
    return dp_session_find(t->alice->worker->pub, t->bob->identity.address);
}

static struct peer *bob_of(const struct world_of *t)
{
    return host_peer(t->alice, t->bob->identity.address);
}

static bool leads_to(const struct dp_path *path, const char *at)
{
    struct inetaddr a = addr(at);

    return path->socket == SOCK && inetaddr_equal(&path->remote, &a);
}

static struct world_of talking(void)
{
    struct world_of t = setup();

    talk(&t, 3000);
    assert_non_null(session(&t));
    assert_false(session(&t)->is_relayed);
    return t;
}

static void set_physical(const struct world_of *t, const struct physical_entry *entry)
{
    vl1_enter(t->alice->vl1);
    vl1_set_physical(t->alice->vl1, entry, 1);
    vl1_leave(t->alice->vl1, t->alice->now_ms);
}

/* ---- sessions ---- */

/* Published with the first frame that left, by the relay; then direct. Frames that follow are not
 * the engine's any more. */
static void test_session_becomes_direct(void **state)
{
    struct world_of t = setup();
    bool was_relayed = false;
    unsigned given;
    unsigned written;
    unsigned frames;

    (void)state;
    assert_null(session(&t));
    host_frame(t.alice, t.bob->identity.address, "hi", 2);
    for (unsigned i = 0; i < 500; i++) {
        const struct dp_session *s = session(&t);

        if (s != NULL && s->is_relayed) {
            was_relayed = true;
            assert_true(s->can_send);
            assert_true(leads_to(
                &s->out, t.alice->vl1->relay == t.root1->identity.address ? ROOT1_AT : ROOT2_AT));
            assert_int_equal(s->path_count, 0);
        }
        net_run(t.net, 1);
    }
    assert_true(was_relayed);
    assert_non_null(session(&t));
    assert_true(session(&t)->can_send);
    assert_false(session(&t)->is_relayed);
    assert_true(leads_to(&session(&t)->out, BOB_AT));
    assert_int_equal(session(&t)->path_count, 1);
    assert_true(leads_to(&session(&t)->paths[0], BOB_AT));
    assert_int_equal(session(&t)->suite, SUITE_AES_GMAC_SIV);
    assert_int_equal(session(&t)->mtu, MTU_PHYSICAL_DEFAULT);
    assert_ptr_equal(session(&t)->keys, &bob_of(&t)->live->keys);
    assert_ptr_equal(session(&t)->replay, bob_of(&t)->live->replay);
    assert_null(dp_session_find(t.alice->worker->pub, t.root1->identity.address)); /* no frames */

    talk(&t, 100);
    given = t.alice->worker->given[DP_GIFT_FRAME];
    written = t.alice->worker->written;
    frames = host_frames(t.bob, t.alice->identity.address, 0);
    talk(&t, 1000);
    assert_int_equal(t.alice->worker->given[DP_GIFT_FRAME], given);
    assert_int_equal(t.alice->worker->written - written, 50);
    assert_int_equal(host_frames(t.bob, t.alice->identity.address, 0) - frames, 50);
    net_free(t.net);
}

/* Blacklisting holds at once, for both directions; MTU and trusted paths too. */
static void test_session_follows_policy(void **state)
{
    struct world_of t = talking();
    const struct physical_entry none = {.net = addr("10.0.0.0/8")};
    struct physical_entry entry = {.net = addr("192.0.2.0/24"), .mtu = MTU_PHYSICAL_MIN};
    unsigned opened;

    (void)state;
    set_physical(&t, &entry);
    assert_int_equal(session(&t)->mtu, MTU_PHYSICAL_MIN);
    entry.trusted_path_id = 77;
    set_physical(&t, &entry);
    assert_false(session(&t)->can_send); /* suite 2 is the engine's */
    set_physical(&t, &none);
    assert_true(session(&t)->can_send);
    assert_int_equal(session(&t)->mtu, MTU_PHYSICAL_DEFAULT);

    entry = (struct physical_entry){.net = addr("192.0.2.0/24"), .blacklist = true};
    set_physical(&t, &entry);
    assert_true(session(&t)->is_relayed);
    assert_int_equal(session(&t)->path_count, 0);
    opened = t.alice->worker->given[DP_GIFT_OPENED];
    talk(&t, 100);
    assert_true(t.alice->worker->given[DP_GIFT_OPENED] > opened); /* none of its paths */
    assert_int_equal(bob_of(&t)->path_count, 0);
    net_free(t.net);
}

static void test_session_follows_sockets_and_version(void **state)
{
    struct world_of t = talking();
    struct node_version old = {.protocol = 11, .major = 1, .minor = 8};

    (void)state;
    vl1_enter(t.alice->vl1);
    peer_set_version(bob_of(&t), &old);
    vl1_leave(t.alice->vl1, t.alice->now_ms);
    assert_int_equal(session(&t)->suite, SUITE_SALSA_POLY1305);
    vl1_enter(t.alice->vl1);
    assert_int_equal(vl1_set_sockets(t.alice->vl1, t.alice->sockets, 0, t.alice->now_ms), 0);
    assert_int_equal(session(&t)->path_count, 1); /* until the end of the input */
    vl1_leave(t.alice->vl1, t.alice->now_ms);
    assert_int_equal(session(&t)->path_count, 0);
    assert_false(session(&t)->can_send);
    net_free(t.net);
}

/* The direct way dies, then the relay: found by what the worker sends, as fast as by our own. */
static void test_session_follows_dead_paths(void **state)
{
    struct world_of t = talking();
    struct host *relay;
    int64_t began = t.net->now_ms;
    unsigned given = t.alice->worker->given[DP_GIFT_FRAME];

    (void)state;
    net_cut(t.net, ALICE_AT, BOB_AT);
    while (!session(&t)->is_relayed && t.net->now_ms - began < 5000) {
        talk(&t, 20);
    }
    printf("dead path left after %lld ms\n", (long long)(t.net->now_ms - began));
    assert_in_range(t.net->now_ms - began, 500, 1800);
    assert_int_equal(t.alice->worker->given[DP_GIFT_FRAME], given);

    relay = t.alice->vl1->relay == t.root1->identity.address ? t.root1 : t.root2;
    assert_true(leads_to(&session(&t)->out, relay == t.root1 ? ROOT1_AT : ROOT2_AT));
    relay->silent = true;
    began = t.net->now_ms;
    while (leads_to(&session(&t)->out, relay == t.root1 ? ROOT1_AT : ROOT2_AT) &&
           t.net->now_ms - began < 5000) {
        talk(&t, 20);
    }
    printf("dead relay left after %lld ms\n", (long long)(t.net->now_ms - began));
    assert_true(t.net->now_ms - began <= 4000);
    assert_true(session(&t)->is_relayed);
    assert_true(leads_to(&session(&t)->out, relay == t.root1 ? ROOT2_AT : ROOT1_AT));
    assert_int_equal(t.alice->worker->given[DP_GIFT_FRAME], given);
    net_free(t.net);
}

/* The peer moved: what one frame of a worker shows by its silence holds for the next, with no
 * traffic to look at the paths in between. */
static void test_silence_alone_moves_a_session(void **state)
{
    static const char *const next = "192.0.2.3/9993";
    struct world_of t = talking();

    (void)state;
    net_run(t.net, 1000);
    t.bob->now_ms = t.net->now_ms;
    host_sockets(t.bob, &next, 1);
    net_run(t.net, 1000);
    assert_int_equal(session(&t)->path_count, 2);
    assert_true(leads_to(&session(&t)->out, BOB_AT)); /* heard, and not asked since */
    host_frame(t.alice, t.bob->identity.address, "ping", 4);
    net_run(t.net, MOVED_MS + 2 * 20 + 1);
    assert_true(leads_to(&session(&t)->out, next));
    net_free(t.net);
}

/* Sessions of all who are reached by the relay follow what changes on the way to it. */
static void test_session_follows_the_way_to_the_relay(void **state)
{
    struct world_of t = talking();
    const struct physical_entry entry = {.net = addr("0.0.0.0/0"), .mtu = MTU_PHYSICAL_MIN};
    struct peer *relay;

    (void)state;
    net_cut(t.net, ALICE_AT, BOB_AT);
    talk(&t, 3000);
    assert_true(session(&t)->is_relayed);
    worker_harvest(t.alice);
    relay = host_peer(t.alice, t.alice->vl1->relay);
    vl1_enter(t.alice->vl1);
    relay->paths[0].mtu = MTU_PHYSICAL_MIN;
    peer_stale(relay);
    vl1_leave(t.alice->vl1, t.alice->now_ms);
    assert_int_equal(session(&t)->mtu, MTU_PHYSICAL_MIN);
    relay->paths[0].mtu = MTU_PHYSICAL_DEFAULT;
    set_physical(&t, &entry);
    assert_int_equal(session(&t)->mtu, MTU_PHYSICAL_MIN);
    net_free(t.net);
}

/* Too much waits for workers: nothing new is published, what would be wrong goes. */
static void test_nothing_new_without_room(void **state)
{
    struct world_of t = talking();
    struct limbo *limbo = &t.alice->worker->pub->limbo;
    const struct physical_entry entry = {.net = addr("192.0.2.0/24"), .mtu = MTU_PHYSICAL_MIN};
    unsigned frames;

    (void)state;
    t.alice->worker->holds = true;
    limbo->count += DP_RETIRED_MAX;
    set_physical(&t, &entry);
    assert_null(session(&t));
    frames = host_frames(t.bob, t.alice->identity.address, 0);
    talk(&t, 200);
    assert_null(session(&t));
    assert_true(host_frames(t.bob, t.alice->identity.address, 0) - frames >= 9);
    limbo->count -= DP_RETIRED_MAX;
    talk(&t, 40);
    assert_int_equal(session(&t)->mtu, MTU_PHYSICAL_MIN);
    net_free(t.net);
}

/* ---- the end of keys ---- */

/* The peer goes: out at once, its keys when no worker can have them. */
static void test_keys_of_a_removed_peer(void **state)
{
    struct world_of t = talking();
    struct published *pub = t.alice->worker->pub;
    const struct dp_session *held = session(&t);
    uint8_t secret[SHARED_KEY_LEN];
    uint64_t number;

    (void)state;
    memcpy(secret, bob_of(&t)->secret, sizeof(secret));
    t.alice->worker->holds = true;
    vl1_enter(t.alice->vl1);
    peer_free(bob_of(&t));
    assert_null(session(&t));
    assert_true(atomic_load(&held->object.is_dead));
    vl1_leave(t.alice->vl1, t.alice->now_ms);
    assert_null(bob_of(&t));
    assert_memory_equal(held->keys->secret, secret, sizeof(secret)); /* of a worker in its turn */
    keys_wiped = 0;
    number = pub->limbo.number;
    assert_int_equal(held->object.retired.number, number - 2);
    vl1_reclaim(t.alice->vl1, number - 1); /* session and route, not yet the keys */
    assert_int_equal(keys_wiped, 0);
    vl1_reclaim(t.alice->vl1, number);
    assert_int_equal(keys_wiped, 1);
    assert_int_equal(pub->limbo.count, 0);
    net_free(t.net);
}

/* Another key takes the address at once: it inherits nothing, and the old one's end leaves it
 * alone. What a worker opened before is not taken for a packet of the new one. */
static void test_address_of_another_key(void **state)
{
    struct world_of t = talking();
    struct identity other = identity_made_up(t.bob->identity.address);
    struct dp_session *old = session(&t);
    uint8_t pkt[PACKET_MIN];
    struct peer *peer;
    uint64_t packets;
    size_t seen;

    (void)state;
    t.alice->worker->holds = true;
    host_frame(t.alice, t.bob->identity.address, "ping", 4); /* not harvested yet */
    vl1_enter(t.alice->vl1);
    peer_free(bob_of(&t));
    peer = peer_new(t.alice->vl1, &other, t.alice->now_ms);
    assert_non_null(peer);
    assert_null(session(&t));
    vl1_leave(t.alice->vl1, t.alice->now_ms);

    packet_start(pkt, 1, t.alice->identity.address, other.address, VERB_NOP);
    seen = t.alice->packet_count;
    vl1_take(t.alice->vl1,
             &(struct dp_gift){.kind = DP_GIFT_OPENED,
                               .socket = SOCK,
                               .from = addr(BOB_AT),
                               .data = pkt,
                               .len = sizeof(pkt)},
             t.alice->now_ms);
    assert_int_equal(t.alice->packet_count, seen);
    assert_true(peer->last_receive_ms == TIME_NEVER);

    engine_frame(t.alice, other.address, "x", 1);
    assert_non_null(session(&t));
    assert_ptr_not_equal(session(&t), old);
    assert_ptr_equal(session(&t)->keys, &peer->live->keys);
    packets = peer->packets[1];
    worker_harvest(t.alice);
    vl1_reclaim(t.alice->vl1, t.alice->worker->pub->limbo.number);
    assert_non_null(session(&t));
    assert_int_equal(peer->packets[1], packets); /* the old one's are not its */
    net_free(t.net);
}

/* The same, and frames flow to the new one before the old one's memory went. */
static void test_session_of_another_key_stays(void **state)
{
    struct world_of t = talking();
    struct identity other = identity_made_up(t.bob->identity.address);
    struct peer *peer;

    (void)state;
    t.alice->worker->holds = true;
    vl1_enter(t.alice->vl1);
    peer_free(bob_of(&t));
    peer = peer_new(t.alice->vl1, &other, t.alice->now_ms);
    assert_non_null(peer);
    engine_frame(t.alice, other.address, "x", 1);
    vl1_leave(t.alice->vl1, t.alice->now_ms);
    assert_null(t.alice->vl1->gone);
    assert_non_null(session(&t));
    assert_ptr_equal(session(&t)->keys, &peer->live->keys);
    net_free(t.net);
}

/* Silence: the keys go, the session before them. */
static void test_session_of_an_idle_peer(void **state)
{
    struct world_of t = talking();

    (void)state;
    t.bob->silent = true;
    net_run(t.net, PEER_ACTIVE_MS + PEER_KEYS_IDLE_MS + 1000);
    assert_null(session(&t));
    if (bob_of(&t) != NULL) {
        assert_null(bob_of(&t)->live);
    }
    assert_int_equal(t.alice->worker->pub->sessions.count, 0);
    net_free(t.net);
}

/* ---- what flows back ---- */

static void test_harvest_keeps_peers_alive(void **state)
{
    struct world_of t = talking();
    struct peer *peer = bob_of(&t);
    struct path *path = path_best(peer, t.net->now_ms);
    uint64_t packets[2] = {peer->packets[0], peer->packets[1]};
    uint64_t datagrams[2];
    uint64_t frames[2];
    uint64_t opened;
    unsigned given = t.alice->worker->given[DP_GIFT_OPENED];
    unsigned sealed = t.alice->worker->given[DP_GIFT_SEALED];
    unsigned other;

    (void)state;
    worker_harvest(t.alice);
    packets[0] = peer->packets[0];
    packets[1] = peer->packets[1];
    datagrams[0] = host_count(t.alice, VL1_RX_DATAGRAMS);
    datagrams[1] = host_count(t.alice, VL1_TX_DATAGRAMS);
    frames[0] = vl1_tally(t.alice->vl1, false)->verbs[VERB_FRAME];
    frames[1] = vl1_tally(t.alice->vl1, true)->verbs[VERB_FRAME];
    opened = host_count(t.alice, VL1_RX_PACKETS);
    host_forget(t.alice);
    talk(&t, 2000);
    worker_harvest(t.alice);
    given = t.alice->worker->given[DP_GIFT_OPENED] - given;
    sealed = t.alice->worker->given[DP_GIFT_SEALED] - sealed;
    other = given + sealed;
    assert_in_range(t.net->now_ms - peer->last_receive_ms, 0, 20);
    assert_int_equal(peer->last_receive_ms, peer->last_trust_ms);
    assert_int_equal(peer->last_receive_ms, peer->last_activity_ms);
    assert_int_equal(path->last_in_ms, peer->last_receive_ms);
    assert_in_range(t.net->now_ms - path->last_out_ms, 0, 20);
    assert_int_equal(path->lost, 0);
    assert_int_equal(vl1_tally(t.alice->vl1, false)->verbs[VERB_FRAME] - frames[0], 100);
    assert_int_equal(vl1_tally(t.alice->vl1, true)->verbs[VERB_FRAME] - frames[1], 100);
    assert_in_range(peer->packets[0] - packets[0], 100, 100 + other);
    assert_in_range(peer->packets[1] - packets[1], 100, t.alice->sent_count);
    /* Each once, whoever handled it. */
    assert_int_equal(host_count(t.alice, VL1_RX_PACKETS) - opened, 100 + other);
    assert_int_equal(host_count(t.alice, VL1_RX_DATAGRAMS) - datagrams[0], 100 + other);
    assert_int_equal(host_count(t.alice, VL1_TX_DATAGRAMS) - datagrams[1], t.alice->sent_count);
    assert_true(host_count(t.alice, VL1_GIVEN) > 0);
    net_free(t.net);
}

static void test_harvest_counts_forgeries(void **state)
{
    struct world_of t = talking();
    struct inetaddr from = addr(BOB_AT);
    uint8_t pkt[64] = {0};
    uint64_t drops = host_count(t.alice, VL1_DROP_MAC);
    int64_t last;

    (void)state;
    worker_harvest(t.alice);
    last = bob_of(&t)->last_receive_ms;
    packet_start(pkt, 5, t.alice->identity.address, t.bob->identity.address, VERB_FRAME);
    pkt[PACKET_AT_FLAGS] = SUITE_AES_GMAC_SIV << 3;
    net_run(t.net, 30);
    worker_receive(t.alice, SOCK, &from, pkt, sizeof(pkt));
    worker_harvest(t.alice);
    assert_int_equal(bob_of(&t)->packet_errors, 1);
    assert_int_equal(host_count(t.alice, VL1_DROP_MAC), drops + 1);
    assert_true(bob_of(&t)->last_receive_ms - last <= 20); /* it refreshed nothing */
    net_free(t.net);
}

/* Cells say when; what is known already, or newer, stays. */
static void test_old_cells_refresh_nothing(void **state)
{
    struct world_of t = talking();
    struct peer *peer = bob_of(&t);
    struct path *path = path_best(peer, t.net->now_ms);
    int64_t in_ms;

    (void)state;
    worker_harvest(t.alice);
    in_ms = path->last_in_ms;
    /* Sent after the last receive: silent from then on, and probed after a while. */
    net_run(t.net, 100);
    in_ms = path->last_in_ms;
    host_frame(t.alice, t.bob->identity.address, "ping", 4);
    net_run(t.net, 30);
    worker_harvest(t.alice);
    assert_int_equal(path->last_in_ms, in_ms);
    assert_true(path->silent_since_ms != TIME_NEVER);
    assert_in_range(path->silent_since_ms, t.net->now_ms - DP_HARVEST_MS, t.net->now_ms - 30);
    assert_int_equal(path->last_out_ms, t.net->now_ms - 30);
    path->lost = 1;
    path->last_probe_ms = t.net->now_ms;
    dp_touch(t.alice->worker->pub, 0, &session(&t)->object); /* dirty, but nothing new */
    worker_harvest(t.alice);
    assert_int_equal(path->lost, 1);
    assert_int_equal(path->last_in_ms, in_ms);
    assert_true(path->silent_since_ms != TIME_NEVER);
    net_free(t.net);
}

/* What came to the engine since a worker's last packet is newer. */
static void test_newer_news_stay(void **state)
{
    struct world_of t = talking();
    struct peer *peer = bob_of(&t);
    struct path *path = path_best(peer, t.net->now_ms);
    uint8_t pkt[PACKET_MIN];

    (void)state;
    worker_harvest(t.alice);
    engine_frame(t.bob, t.alice->identity.address, "pong", 4);
    net_run(t.net, 20);
    packet_start(pkt, 9, t.alice->identity.address, t.bob->identity.address, VERB_NOP);
    vl1_take(t.alice->vl1,
             &(struct dp_gift){.kind = DP_GIFT_OPENED,
                               .socket = SOCK,
                               .from = addr(BOB_AT),
                               .data = pkt,
                               .len = sizeof(pkt)},
             t.alice->now_ms);
    assert_int_equal(path->last_in_ms, t.net->now_ms);
    worker_harvest(t.alice);
    assert_int_equal(path->last_in_ms, t.net->now_ms);
    assert_int_equal(peer->last_receive_ms, t.net->now_ms);
    assert_true(peer->last_activity_ms < t.net->now_ms);
    net_free(t.net);
}

static void test_what_was_heard_before_a_probe(void **state)
{
    struct world_of t = talking();
    struct peer *peer = bob_of(&t);
    struct path *path = path_best(peer, t.net->now_ms);
    int64_t now_ms = t.net->now_ms;

    (void)state;
    vl1_enter(t.alice->vl1);
    path->lost = PROBE_LOST_MAX;
    path->last_probe_ms = now_ms;
    path->silent_since_ms = now_ms - 5;
    path_heard(peer, path, false, now_ms - 10, now_ms);
    assert_int_equal(path->lost, 1); /* the probe since */
    assert_int_equal(path->silent_since_ms, now_ms - 5);
    path_heard(peer, path, false, now_ms, now_ms);
    assert_int_equal(path->lost, 0);
    assert_true(path->silent_since_ms == TIME_NEVER);
    path->last_out_ms = now_ms;
    path_carried(peer, path, now_ms - 1, now_ms); /* the engine sent later */
    assert_int_equal(path->last_out_ms, now_ms);
    assert_true(path->silent_since_ms == TIME_NEVER);
    vl1_leave(t.alice->vl1, now_ms);
    net_free(t.net);
}

/* A worker's packets make us tell the peer our addresses, and keep it active, as ours would. */
static void test_harvest_pushes_addresses(void **state)
{
    struct world_of t = talking();
    struct peer *peer = bob_of(&t);
    uint64_t pushes = vl1_tally(t.alice->vl1, true)->verbs[VERB_PUSH_DIRECT_PATHS];
    unsigned opened = t.alice->worker->given[DP_GIFT_OPENED];

    (void)state;
    talk(&t, 100);
    peer_traversal(peer)->push_ms = t.net->now_ms + 200 - PUSH_DIRECT_MS;
    talk(&t, 180);
    assert_int_equal(vl1_tally(t.alice->vl1, true)->verbs[VERB_PUSH_DIRECT_PATHS], pushes);
    talk(&t, 120);
    assert_int_equal(vl1_tally(t.alice->vl1, true)->verbs[VERB_PUSH_DIRECT_PATHS], pushes + 1);
    assert_int_equal(t.alice->worker->given[DP_GIFT_OPENED], opened); /* by frames alone */
    net_free(t.net);
}

/* ---- duplicates ---- */

/* The newest datagram bob sent to alice. */
static size_t last_of_bob(const struct world_of *t, uint8_t pkt[PACKET_MAX])
{
    const struct datagram *d = host_sent(t->bob, t->bob->sent_count - 1);

    memcpy(pkt, d->data, d->len);
    return d->len;
}

static void test_duplicates_whoever_was_first(void **state)
{
    struct world_of t = talking();
    struct inetaddr from = addr(BOB_AT);
    uint8_t pkt[PACKET_MAX];
    uint8_t copy[PACKET_MAX];
    uint64_t drops;
    size_t len;

    (void)state;
    net_run(t.net, 1000);
    worker_harvest(t.alice);
    drops = host_count(t.alice, VL1_DROP_DUPLICATE);
    for (unsigned first = 0; first < 2; first++) {
        unsigned written = t.alice->worker->written;
        size_t seen = t.alice->packet_count;

        t.bob->silent = true; /* we deliver it */
        engine_frame(t.bob, t.alice->identity.address, "pong", 4);
        t.bob->silent = false;
        len = last_of_bob(&t, pkt);
        for (unsigned i = 0; i < 3; i++) {
            memcpy(copy, pkt, len);
            if (i == first) { /* the engine takes one sealed, the worker two */
                vl1_take(t.alice->vl1,
                         &(struct dp_gift){.kind = DP_GIFT_SEALED,
                                           .socket = SOCK,
                                           .from = from,
                                           .data = copy,
                                           .len = len},
                         t.alice->now_ms);
            } else {
                worker_receive(t.alice, SOCK, &from, copy, len);
            }
        }
        assert_int_equal(t.alice->worker->written - written, first == 1);
        assert_int_equal(t.alice->packet_count - seen, 1);
        worker_harvest(t.alice);
        drops += 2;
        assert_int_equal(host_count(t.alice, VL1_DROP_DUPLICATE), drops);
    }
    net_free(t.net);
}

/* Above 50 packets a second, of which the worker saw most, the filter grows and forgets nothing. */
static void test_filter_grows_by_harvest(void **state)
{
    struct world_of t = setup();
    struct inetaddr from = addr(BOB_AT);
    struct replay *small;
    uint8_t pkt[PACKET_MAX];
    unsigned written;
    size_t len;

    (void)state;
    for (unsigned i = 0; i < 30; i++) { /* 10 a second */
        host_frame(t.alice, t.bob->identity.address, "ping", 4);
        engine_frame(t.bob, t.alice->identity.address, "pong", 4);
        net_run(t.net, 100);
    }
    small = bob_of(&t)->live->replay;
    assert_int_equal(small->sets, REPLAY_SETS_SMALL);
    t.bob->silent = true;
    engine_frame(t.bob, t.alice->identity.address, "pong", 4);
    t.bob->silent = false;
    len = last_of_bob(&t, pkt);
    written = t.alice->worker->written;
    worker_receive(t.alice, SOCK, &from, pkt, len);
    assert_int_equal(t.alice->worker->written, written + 1);
    for (unsigned i = 0; i < 100; i++) {
        engine_frame(t.bob, t.alice->identity.address, "pong", 4);
        net_run(t.net, 10);
    }
    net_run(t.net, 2 * DP_HARVEST_MS);
    assert_int_equal(bob_of(&t)->live->replay->sets, REPLAY_SETS_LARGE);
    assert_ptr_equal(bob_of(&t)->live->outgrown, small); /* a worker may still hold it */
    assert_ptr_equal(session(&t)->replay, bob_of(&t)->live->replay);
    written = t.alice->worker->written;
    worker_receive(t.alice, SOCK, &from, pkt, len);
    assert_int_equal(t.alice->worker->written, written);
    net_free(t.net);
}

/* The same by packets that came to the engine: the session has the new one at once. */
static void test_filter_grows_by_the_engine(void **state)
{
    struct world_of t = setup();
    uint8_t pkt[PACKET_MIN];

    (void)state;
    host_frame(t.alice, t.bob->identity.address, "ping", 4);
    net_run(t.net, 2000);
    assert_ptr_equal(session(&t)->replay, bob_of(&t)->live->replay);
    vl1_enter(t.alice->vl1);
    for (uint64_t id = 1; id <= 60; id++) {
        packet_start(pkt, id, t.alice->identity.address, t.bob->identity.address, VERB_NOP);
        assert_false(peer_is_replay(bob_of(&t), pkt, t.alice->now_ms));
    }
    vl1_leave(t.alice->vl1, t.alice->now_ms);
    assert_int_equal(session(&t)->replay->sets, REPLAY_SETS_LARGE);
    assert_ptr_equal(session(&t)->replay, bob_of(&t)->live->replay);
    net_free(t.net);
}

/* ---- gifts ---- */

/* A packet a worker opened is not counted or tested again; of an unknown peer it is dropped. */
static void test_opened_gifts(void **state)
{
    struct world_of t = talking();
    uint8_t pkt[PACKET_MIN + 4] = {0};
    struct dp_gift gift = {.kind = DP_GIFT_OPENED,
                           .socket = SOCK,
                           .from = addr(BOB_AT),
                           .data = pkt,
                           .len = sizeof(pkt)};
    uint64_t opened = host_count(t.alice, VL1_RX_PACKETS);
    uint64_t datagrams = host_count(t.alice, VL1_RX_DATAGRAMS);
    uint64_t packets = bob_of(&t)->packets[0];

    (void)state;
    net_run(t.net, 100);
    opened = host_count(t.alice, VL1_RX_PACKETS);
    datagrams = host_count(t.alice, VL1_RX_DATAGRAMS);
    packets = bob_of(&t)->packets[0];
    for (unsigned i = 0; i < 2; i++) { /* the worker found no duplicate */
        packet_start(pkt, 9, t.alice->identity.address, t.bob->identity.address, VERB_NOP);
        vl1_take(t.alice->vl1, &gift, t.alice->now_ms);
    }
    assert_int_equal(bob_of(&t)->packets[0] - packets, 2);
    assert_int_equal(bob_of(&t)->last_receive_ms, t.alice->now_ms);
    packet_start(pkt, 9, t.alice->identity.address, 0x1234567890, VERB_NOP);
    vl1_take(t.alice->vl1, &gift, t.alice->now_ms);
    assert_int_equal(host_count(t.alice, VL1_RX_PACKETS), opened);
    gift.kind = DP_GIFT_DATAGRAM;
    packet_start(pkt, 9, t.bob->identity.address, 0x1234567890, VERB_NOP);
    vl1_take(t.alice->vl1, &gift, t.alice->now_ms);
    assert_int_equal(host_count(t.alice, VL1_RX_DATAGRAMS), datagrams);
    net_free(t.net);
}

/* ---- routes ---- */

struct relaying {
    struct net *net;
    struct host *root, *alice, *bob;
};

static struct dp_route *route(const struct relaying *t)
{
    return dp_route_find(t->root->worker->pub, t->bob->identity.address);
}

static void one_way(const struct relaying *t, unsigned frames)
{
    for (unsigned i = 0; i < frames; i++) {
        engine_frame(t->alice, t->bob->identity.address, "ping", 4);
        net_run(t->net, 20);
    }
}

/* One root with a worker; alice and bob reach each other by it alone. */
static struct relaying relaying(void)
{
    struct relaying t = {.net = net_new(10)};

    t.root = net_add(t.net, "root1", ROOT1_AT, "planet_v1");
    t.alice = net_add(t.net, "alice", ALICE_AT, "planet_v1");
    t.bob = net_add(t.net, "bob", BOB_AT, "planet_v1");
    net_cut(t.net, ALICE_AT, BOB_AT);
    host_workers(t.root);
    net_run(t.net, 1000);
    return t;
}

static void test_routes_of_a_root(void **state)
{
    struct relaying t = relaying();
    unsigned by_engine;
    unsigned frames;
    uint64_t relayed;

    (void)state;
    assert_true(atomic_load(&t.root->worker->pub->is_root));
    one_way(&t, 50);
    assert_non_null(route(&t));
    assert_true(leads_to(&route(&t)->to, BOB_AT));
    one_way(&t, 10);
    by_engine = t.root->worker->given[DP_GIFT_DATAGRAM];
    relayed = t.root->worker->relayed;
    frames = host_frames(t.bob, t.alice->identity.address, 0);
    one_way(&t, 50); /* a second: at most a few go through the engine */
    assert_true(t.root->worker->given[DP_GIFT_DATAGRAM] - by_engine <= 5);
    assert_true(t.root->worker->relayed - relayed >= 45);
    assert_int_equal(host_frames(t.bob, t.alice->identity.address, 0) - frames, 50);
    worker_harvest(t.root);
    assert_true(host_count(t.root, VL1_RELAYED) >= 110);
    /* In use it stays: nothing takes the slow way. */
    t.root->worker->watched = t.bob->identity.address;
    frames = host_frames(t.bob, t.alice->identity.address, 0);
    one_way(&t, 1000);
    assert_int_equal(t.root->worker->watched_given, 0);
    assert_int_equal(host_frames(t.bob, t.alice->identity.address, 0) - frames, 1000);
    /* Nor after a pause. */
    net_run(t.net, 30000);
    one_way(&t, 1);
    assert_int_equal(t.root->worker->watched_given, 0);
    net_free(t.net);
}

static void test_routes_end_with_paths(void **state)
{
    static const char *const next = "192.0.2.3/9993";
    struct relaying t = relaying();
    struct peer *bob;
    int64_t began;

    (void)state;
    one_way(&t, 50);
    assert_non_null(route(&t));
    bob = host_peer(t.root, t.bob->identity.address);
    /* Gone at once with the path. */
    vl1_enter(t.root->vl1);
    path_remove(bob, path_best(bob, t.net->now_ms));
    vl1_leave(t.root->vl1, t.root->now_ms);
    assert_null(route(&t));
    net_run(t.net, 61000); /* bob's next HELLO */
    one_way(&t, 50);
    assert_non_null(route(&t));
    /* Another address: the newer path takes over, when what workers send has got no answer. */
    net_cut(t.net, ALICE_AT, next);
    t.bob->now_ms = t.net->now_ms;
    host_sockets(t.bob, &next, 1);
    one_way(&t, 100);
    assert_non_null(route(&t));
    assert_true(leads_to(&route(&t)->to, next));
    /* Dead, and so is the old one: found by what workers tell, as soon as by the engine itself. */
    net_cut(t.net, ROOT1_AT, next);
    began = t.net->now_ms;
    while (path_best(bob, t.net->now_ms) != NULL && t.net->now_ms - began < 30000) {
        one_way(&t, 1);
    }
    printf("dead destination found after %lld ms\n", (long long)(t.net->now_ms - began));
    assert_true(t.net->now_ms - began <= 2 * 2000);
    assert_null(route(&t));
    net_free(t.net);
}

static void test_only_roots_relay_by_routes(void **state)
{
    struct world_of t = talking();
    struct inetaddr from = addr(ROOT1_AT);
    uint8_t pkt[PACKET_MIN];

    (void)state;
    assert_false(atomic_load(&t.alice->worker->pub->is_root));
    relay_trust(t.alice->vl1,
                &(struct arrival){.socket = SOCK, .from = from, .now_ms = t.alice->now_ms});
    packet_start(pkt, 3, t.bob->identity.address, t.root1->identity.address, VERB_NOP);
    worker_receive(t.alice, SOCK, &from, pkt, sizeof(pkt));
    assert_int_equal(host_count(t.alice, VL1_RELAYED), 1);
    assert_int_equal(t.alice->worker->relayed, 0); /* the engine did, who knows whom it trusts */
    net_free(t.net);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_session_becomes_direct),
        cmocka_unit_test(test_session_follows_policy),
        cmocka_unit_test(test_session_follows_sockets_and_version),
        cmocka_unit_test(test_session_follows_dead_paths),
        cmocka_unit_test(test_silence_alone_moves_a_session),
        cmocka_unit_test(test_session_follows_the_way_to_the_relay),
        cmocka_unit_test(test_nothing_new_without_room),
        cmocka_unit_test(test_keys_of_a_removed_peer),
        cmocka_unit_test(test_address_of_another_key),
        cmocka_unit_test(test_session_of_another_key_stays),
        cmocka_unit_test(test_session_of_an_idle_peer),
        cmocka_unit_test(test_harvest_keeps_peers_alive),
        cmocka_unit_test(test_harvest_counts_forgeries),
        cmocka_unit_test(test_old_cells_refresh_nothing),
        cmocka_unit_test(test_newer_news_stay),
        cmocka_unit_test(test_what_was_heard_before_a_probe),
        cmocka_unit_test(test_harvest_pushes_addresses),
        cmocka_unit_test(test_duplicates_whoever_was_first),
        cmocka_unit_test(test_filter_grows_by_harvest),
        cmocka_unit_test(test_filter_grows_by_the_engine),
        cmocka_unit_test(test_opened_gifts),
        cmocka_unit_test(test_routes_of_a_root),
        cmocka_unit_test(test_routes_end_with_paths),
        cmocka_unit_test(test_only_roots_relay_by_routes),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
