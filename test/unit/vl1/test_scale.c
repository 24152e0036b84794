/* What many peers cost: keys, gates and cache files are bounded, however many are known.
 * Source: design "root: 1 000 000 known peers", doc/limits.md. */
#include "bench.h"

#include <stdlib.h>
#include <string.h>

#define BOB_AT "10.0.0.2/9993"

/* A peer in memory without the agreement of a key, which would take long. */
static struct peer *cheap_peer(struct host *h, uint64_t address)
{
    struct peer *peer = calloc(1, sizeof(*peer));

    assert_non_null(peer);
    peer->vl1 = h->vl1;
    peer->identity.address = address;
    memcpy(peer->secret, &address, sizeof(address));
    peer->best = -1;
    peer->last_receive_ms = TIME_NEVER;
    peer->created_ms = h->now_ms;
    assert_int_equal(hmap_insert(&h->vl1->peers, &peer->by_address, address), 0);
    return peer;
}

/* Keys are for peers with traffic: the longest unused go when there are too many. */
static void test_keys_of_so_many_peers(void **state)
{
    enum { MORE = 100 };
    struct host *h = host_up("root1", "planet_v1");
    uint64_t first = 0x4000000000;
    size_t before = h->vl1->live_count;

    (void)state;
    for (uint64_t i = 0; i < LIVES_MAX - before + MORE; i++) {
        assert_non_null(peer_keys(cheap_peer(h, first + i)));
        assert_non_null(peer_keys(peer_in_memory(h->vl1, first))); /* this one is in use */
    }
    assert_int_equal(h->vl1->live_count, LIVES_MAX);
    assert_non_null(host_peer(h, first)->live);
    assert_null(host_peer(h, first + 1)->live);
    assert_non_null(host_peer(h, first + LIVES_MAX - before + MORE - 1)->live);
    host_free(h);
}

/* A duplicate filter that still remembers goes after keys alone. */
static void test_filters_stay_longer_than_keys(void **state)
{
    struct host *h = host_up("root1", "planet_v1");
    uint64_t first = 0x4000000000;
    struct peer *filtered;

    (void)state;
    while (h->vl1->live_count > 0) {
        peer_live_free(CONTAINER_OF(list_first(&h->vl1->lives), struct peer_live, link)->peer);
    }
    filtered = cheap_peer(h, first);
    assert_non_null(peer_keys(filtered));
    assert_non_null(peer_replay(filtered, h->now_ms));
    for (uint64_t i = 1; i <= LIVES_MAX; i++) {
        assert_non_null(peer_keys(cheap_peer(h, first + i)));
    }
    assert_int_equal(h->vl1->live_count, LIVES_MAX);
    assert_non_null(filtered->live);
    assert_null(host_peer(h, first + 1)->live);
    h->vl1->now_ms += REPLAY_MS;
    assert_non_null(peer_keys(cheap_peer(h, first + LIVES_MAX + 1)));
    assert_null(filtered->live);
    host_free(h);
}

/* Whoever does not know a peer's key cannot make us keep its cipher contexts. */
static void test_forged_packets_make_no_keys(void **state)
{
    struct host *h = host_up("root1", "planet_v1");
    struct actor *bob = actor_new("bob", h);
    struct peer *peer;
    uint8_t pkt[PACKET_MAX];
    size_t len;

    (void)state;
    actor_meet(bob, h, BOB_AT, 12);
    peer = host_peer(h, bob->identity.address);
    peer_live_free(peer);
    len = actor_hello(bob, h, 12, "10.0.0.1/9993", NULL, 0, pkt);
    pkt[len - 1] ^= 1;
    host_receive(h, SOCK, BOB_AT, pkt, len);
    assert_null(peer->live);
    len = actor_seal(bob, h, SUITE_AES_GMAC_SIV, VERB_ECHO, "ping", 4, pkt, NULL);
    pkt[len - 1] ^= 1;
    host_receive(h, SOCK, BOB_AT, pkt, len);
    assert_null(peer->live);
    assert_int_equal(host_count(h, VL1_DROP_MAC), 2);
    pkt[len - 1] ^= 1;
    host_receive(h, SOCK, BOB_AT, pkt, len);
    assert_non_null(peer->live);
    actor_free(bob);
    host_free(h);
}

/* A silent peer is not much more than its identity, its key and its path. */
static void test_silent_peer_is_small(void **state)
{
    struct host *h = host_up("root1", "planet_v1");
    struct actor *bob = actor_new("bob", h);
    struct peer *peer;

    (void)state;
    actor_meet(bob, h, BOB_AT, 12);
    peer = host_peer(h, bob->identity.address);
    assert_non_null(peer->live);
    host_run(h, 2 * PEER_KEYS_IDLE_MS + 1000);
    assert_ptr_equal(host_peer(h, bob->identity.address), peer);
    assert_null(peer->live);
    assert_null(peer->search);
    assert_true(sizeof(*peer) + sizeof(struct path) <= 720);
    actor_free(bob);
    host_free(h);
}

/* ---- strangers ---- */

static struct arrival from_nowhere(struct host *h)
{
    struct arrival at = {.socket = SOCK, .now_ms = h->now_ms};

    at.from = (struct inetaddr){.family = INETADDR_V4, .port = 9993};
    test_rng_fill(&h->rng, at.from.ip, 4);
    return at;
}

/* So many HELLOs of forged sources in this millisecond. Returns how many were let in. */
static unsigned flood(struct host *h, unsigned count)
{
    unsigned in = 0;

    for (unsigned i = 0; i < count; i++) {
        struct arrival at = from_nowhere(h);

        in += stranger_admit(h->vl1, &at, 0x5000000000 + i) != STRANGER_NO;
    }
    return in;
}

/* While many forged sources fill the share of those who were never seen, a newcomer gets in when it
 * asks again, and one beside whom others are known at once. */
static void test_newcomers_amid_a_flood(void **state)
{
    struct host *h = host_up("root1", "planet_v1");
    struct arrival near = {.socket = SOCK, .from = addr("81.2.3.4/9993")};
    struct arrival neighbour = {.socket = SOCK, .from = addr("81.2.3.99/1024")};
    unsigned in = 0;
    unsigned again = 0;
    unsigned vouched = 0;

    (void)state;
    for (unsigned ms = 0; ms < 2000; ms++, h->now_ms++) {
        in += flood(h, 50);
    }
    assert_in_range(in, 256 + 380, 256 + 402); /* 200 a second */
    neighbour.now_ms = h->now_ms;
    stranger_neighbour(h->vl1, &neighbour);
    for (unsigned n = 0; n < 40; n++) {
        struct arrival new = from_nowhere(h);

        (void)flood(h, 50);
        (void)stranger_admit(h->vl1, &new, 0x6000000000 + n);
        for (unsigned ms = 0; ms < 100; ms++, h->now_ms++) { /* the second HELLO comes then */
            (void)flood(h, 50);
        }
        new.now_ms = near.now_ms = h->now_ms;
        near.from.ip[3] = (uint8_t)(n + 1);
        again += stranger_admit(h->vl1, &new, 0x6000000000 + n) == STRANGER_AGAIN;
        vouched += stranger_admit(h->vl1, &near, 0x7000000000 + n) == STRANGER_NEAR;
    }
    assert_in_range(again, 36, 40);   /* some places were taken by the flood meanwhile */
    assert_in_range(vouched, 30, 40); /* 16, then four a second */
    host_free(h);
}

/* What was recorded of a peer is answered now and then only, wherever it comes from. */
static void test_copies_of_a_hello(void **state)
{
    struct host *h = host_up("root1", "planet_v1");
    struct actor *bob = actor_new("bob", h);
    uint8_t pkt[PACKET_MAX];
    uint8_t copy[PACKET_MAX];
    size_t len;

    (void)state;
    actor_meet(bob, h, BOB_AT, 12);
    host_run(h, 1000);
    len = actor_hello(bob, h, 12, "10.0.0.1/9993", NULL, 0, pkt);
    host_forget(h);
    for (unsigned i = 0; i < 2000; i++) {
        memcpy(copy, pkt, len);
        host_receive(h, SOCK, BOB_AT, copy, len);
    }
    assert_in_range(actor_count(bob, h, VERB_OK, 0), HELLO_COPIES, HELLO_COPIES + 1);
    host_run(h, 1000);
    len = actor_hello(bob, h, 12, "10.0.0.1/9993", NULL, 0, pkt); /* a new one is */
    host_forget(h);
    host_receive(h, SOCK, BOB_AT, pkt, len);
    assert_int_equal(actor_count(bob, h, VERB_OK, 0), 1);
    actor_free(bob);
    host_free(h);
}

/* ---- work that others cause ---- */

/* A hostile root tells us of another address in each packet: paths are tested now and then only. */
static void test_changing_reports_of_our_address(void **state)
{
    struct host *h = host_up("root1", "planet_v1");
    struct actor *bob = actor_new("bob", h);
    struct identity root2 = vl1_identity_of("root2");
    struct peer *reporter = host_peer(h, root2.address);
    struct arrival at = {.socket = SOCK, .from = addr("46.0.0.9/9993")};
    struct inetaddr bob_at = addr("46.0.0.2/9993");
    unsigned probes = 0;

    (void)state;
    actor_meet(bob, h, "46.0.0.2/9993", 12);
    for (unsigned i = 0; i < 600; i++) {
        struct inetaddr mine = addr("46.0.1.1/9993");

        mine.ip[3] = (uint8_t)(1 + i % 200);
        at.now_ms = h->now_ms;
        host_forget(h);
        vl1_enter(h->vl1);
        surface_report(reporter, &at, &mine);
        vl1_leave(h->vl1, h->now_ms);
        for (size_t k = 0; k < h->sent_count; k++) {
            probes += inetaddr_equal(&host_sent(h, k)->to, &bob_at);
        }
        actor_run(bob, h, "46.0.0.2/9993", 100, 12);
    }
    assert_in_range(probes, MOVED_BURST, MOVED_BURST + 6); /* a minute */
    actor_free(bob);
    host_free(h);
}

static unsigned stored_peers(struct host *h)
{
    struct list *it;
    struct list *tmp;
    unsigned count = 0;

    LIST_EACH(&h->stored, it, tmp)
    {
        count += CONTAINER_OF(it, struct stored, link)->kind == STATE_PEER;
    }
    return count;
}

/* The disk is not kept busy by who comes and goes. */
static void test_writes_to_the_cache(void **state)
{
    struct host *h = host_up("root1", "planet_v1");
    unsigned before = stored_peers(h);

    (void)state;
    for (uint64_t i = 0; i < 3000; i++) {
        struct peer *peer = cheap_peer(h, 0x4000000000 + i);

        peer->last_receive_ms = h->now_ms;
        peer_save(peer, h->now_ms + (int64_t)(i / 1500) * 1000);
    }
    assert_in_range(stored_peers(h) - before, SAVES_BURST + 249, SAVES_BURST + 252);
    host_free(h);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_keys_of_so_many_peers),
        cmocka_unit_test(test_filters_stay_longer_than_keys),
        cmocka_unit_test(test_forged_packets_make_no_keys),
        cmocka_unit_test(test_silent_peer_is_small),
        cmocka_unit_test(test_newcomers_amid_a_flood),
        cmocka_unit_test(test_copies_of_a_hello),
        cmocka_unit_test(test_changing_reports_of_our_address),
        cmocka_unit_test(test_writes_to_the_cache),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
