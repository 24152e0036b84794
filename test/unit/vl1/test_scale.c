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
    assert_true(sizeof(*peer) + sizeof(struct path) <= 640);
    actor_free(bob);
    host_free(h);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_keys_of_so_many_peers),
        cmocka_unit_test(test_filters_stay_longer_than_keys),
        cmocka_unit_test(test_forged_packets_make_no_keys),
        cmocka_unit_test(test_silent_peer_is_small),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
