/* Checks of identities, and what node/ sees of vl1. Spec 02 sections 6.1, 17 (Do better 23). */
#include "bench.h"

#include "wire/identity.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static const char *const BOB_AT = "46.0.0.1/9993";
static const char *const ROOT1_AT = "198.51.100.10/9993";

/* A peer handed out by an upstream is checked on demand, once; packets for later are tried then. */
static void test_known_peer_is_checked_once(void **state)
{
    struct host *h = host_up("alice", "planet_v1");
    struct actor *bob = actor_new("bob", h);
    struct peer *peer = host_know(h, &bob->identity, 12);

    (void)state;
    h->job_mode = JOBS_REFUSE;
    assert_false(vl1_peer_is_validated(h->vl1, peer, h->now_ms));
    assert_int_equal(h->vl1->validation_count, 0);
    h->job_mode = JOBS_HOLD;
    assert_false(vl1_peer_is_validated(h->vl1, peer, h->now_ms));
    assert_false(vl1_peer_is_validated(h->vl1, peer, h->now_ms));
    assert_int_equal(h->job_count, 1);
    h->verdict = VL1_LATER;
    actor_send(bob, h, BOB_AT, SUITE_AES_GMAC_SIV, VERB_FRAME, "x", 1);
    h->verdict = VL1_DONE;
    assert_int_equal(h->packet_count, 1);
    host_jobs(h);
    assert_true(vl1_peer_is_validated(h->vl1, peer, h->now_ms));
    assert_int_equal(h->packet_count, 2);
    assert_true(vl1_peer_is_validated(h->vl1, host_peer(h, h->vl1->upstreams[0]), h->now_ms));
    actor_free(bob);
    host_free(h);
}

/* A forged one is forgotten; while its check is out it stays, and the timer does not spin. */
static void test_forged_peer_is_forgotten(void **state)
{
    struct host *h = host_up("alice", NULL);
    struct identity forged = identity_made_up(0x1234567890);
    struct peer *peer = host_know(h, &forged, 12);

    (void)state;
    h->job_mode = JOBS_HOLD;
    assert_false(vl1_peer_is_validated(h->vl1, peer, h->now_ms));
    peer_schedule(peer, h->now_ms);
    host_run(h, 600000);
    assert_ptr_equal(host_peer(h, forged.address), peer);
    assert_true(h->wakeups < 20);
    h->job_mode = JOBS_TRUST;
    host_jobs(h);
    assert_null(host_peer(h, forged.address));
    host_free(h);
}

/* The sender of a HELLO becomes known another way while it is being checked. */
static void test_peer_known_before_its_check_is_done(void **state)
{
    struct host *h = host_up("alice", NULL);
    struct actor *bob = actor_new("bob", h);
    uint8_t pkt[PACKET_MAX];
    size_t len = actor_hello(bob, h, 12, "10.0.0.1/9993", NULL, 0, pkt);

    (void)state;
    h->job_mode = JOBS_HOLD;
    host_receive(h, SOCK, BOB_AT, pkt, len);
    assert_int_equal(h->sent_count, 0);
    host_know(h, &bob->identity, 0);
    host_jobs(h);
    assert_int_equal(actor_count(bob, h, VERB_OK, 0), 1);
    assert_true(host_peer(h, bob->identity.address)->validated);

    actor_free(bob);
    host_free(h);
}

/* Or another key got its address meanwhile. */
static void test_address_taken_before_its_check_is_done(void **state)
{
    struct host *h = host_up("alice", NULL);
    struct actor *bob = actor_new("bob", h);
    struct identity other = identity_made_up(bob->identity.address);
    uint8_t pkt[PACKET_MAX];
    size_t len;

    (void)state;
    h->job_mode = JOBS_HOLD;
    len = actor_hello(bob, h, 12, "10.0.0.1/9993", NULL, 0, pkt);
    host_receive(h, SOCK, BOB_AT, pkt, len);
    host_know(h, &other, 0);
    host_jobs(h);
    assert_int_equal(h->sent_count, 0);
    assert_true(identity_equal(&host_peer(h, other.address)->identity, &other));
    actor_free(bob);
    host_free(h);
}

/* The host stops with checks still out: they are handed back before, not run. */
static void test_checks_handed_back_undone(void **state)
{
    struct host *h = host_up("alice", NULL);
    struct actor *bob = actor_new("bob", h);
    uint8_t pkt[PACKET_MAX];
    size_t len = actor_hello(bob, h, 12, "10.0.0.1/9993", NULL, 0, pkt);

    (void)state;
    h->job_mode = JOBS_HOLD;
    host_receive(h, SOCK, BOB_AT, pkt, len);
    assert_int_equal(h->job_count, 1);
    vl1_job_done(h->vl1, h->jobs[0], h->now_ms);
    h->job_count = 0;
    assert_int_equal(vl1_peer_count(h->vl1), 0);
    assert_int_equal(h->vl1->validation_count, 0);
    host_receive(h, SOCK, BOB_AT, pkt, len); /* this one is dropped with everything else */
    actor_free(bob);
    host_free(h);
}

/* Peers below protocol 5 and of software 1.1.0 are probed by HELLO. */
static void test_old_peers_are_probed_by_hello(void **state)
{
    static const struct node_version versions[] = {
        {0, 0, 0, 0}, {4, 1, 0, 6}, {5, 1, 1, 0}, {5, 1, 1, 1}, {12, 1, 14, 1}};
    static const bool echo[] = {false, false, false, true, true};

    (void)state;
    for (size_t i = 0; i < COUNT_OF(versions); i++) {
        struct host *h = host_up("alice", NULL);
        struct actor *bob = actor_new("bob", h);
        struct peer *peer;

        actor_meet(bob, h, BOB_AT, 12);
        peer = host_peer(h, bob->identity.address);
        peer->version = versions[i];
        assert_int_equal(peer_can_echo(peer), echo[i]);
        host_forget(h);
        path_probe(peer, &peer->paths[0], h->now_ms);
        assert_int_equal(actor_count(bob, h, VERB_ECHO, 0), echo[i]);
        assert_int_equal(actor_count(bob, h, VERB_HELLO, 0), !echo[i]);
        actor_free(bob);
        host_free(h);
    }
}

static void test_looking_at_peers(void **state)
{
    struct host *h = host_up("alice", "planet_v1");
    struct actor *root = actor_new("root1", h);
    struct actor *bob = actor_new("bob", h);
    struct inetaddr at = addr(BOB_AT);
    struct peer_view view;
    struct path_view path;
    const struct peer *peer = NULL;
    unsigned seen = 0;

    (void)state;
    actor_meet(bob, h, BOB_AT, 12);
    while ((peer = vl1_peer_each(h->vl1, peer)) != NULL) {
        bool is_bob = peer_address(peer) == bob->identity.address;

        peer_look(peer, h->now_ms, &view);
        assert_int_equal(view.address, peer_identity(peer)->address);
        assert_int_equal(view.planet_root, !is_bob);
        assert_false(view.moon_root);
        assert_int_equal(view.path_count, is_bob);
        assert_int_equal(view.version[0], is_bob ? 1 : -1);
        assert_int_equal(view.version[1], is_bob ? 14 : -1);
        assert_int_equal(view.protocol, is_bob ? 12 : 0);
        assert_true((peer_last_receive(peer) == NOW) == is_bob);
        assert_int_equal(peer_look_path(peer, 0, h->now_ms, &path), is_bob);
        if (is_bob) {
            assert_true(inetaddr_equal(&path.remote, &at));
            assert_int_equal(path.socket, SOCK);
            assert_true(path.preferred);
            assert_int_equal(path.latency_ms, 0);
            assert_int_equal(path.last_receive_ms, NOW);
            assert_false(peer_look_path(peer, 1, h->now_ms, &path));
        }
        seen++;
    }
    assert_int_equal(seen, 3);
    actor_free(root);
    actor_free(bob);
    host_free(h);
}

static void test_counters_have_names(void **state)
{
    (void)state;
    for (size_t i = 0; i < VL1_COUNTERS; i++) {
        assert_non_null(vl1_counter_name(i));
        for (size_t k = 0; k < i; k++) {
            assert_string_not_equal(vl1_counter_name(i), vl1_counter_name(k));
        }
    }
    assert_null(vl1_counter_name(VL1_COUNTERS));
}

static void test_packet_limit_is_of_the_smallest_mtu(void **state)
{
    static const struct {
        unsigned mtu;
        size_t limit;
    } cases[] = {{0, 9928}, {1400, 9704}, {1300, 9704}, {9000, 9928}};
    struct host *h = host_up("alice", NULL);

    (void)state;
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct physical_entry entry = {.net = addr("46.0.0.0/8"), .mtu = cases[i].mtu};

        vl1_set_physical(h->vl1, &entry, 1);
        assert_int_equal(vl1_packet_limit(h->vl1), cases[i].limit);
    }
    host_free(h);
}

/* Contact is kept with an address as often as it is asked for, and found by lookup and relay. */
static void test_contact_is_kept(void **state)
{
    struct host *h = host_up("alice", "planet_v1");
    struct actor *root = actor_new("root1", h);
    struct actor *bob = actor_new("bob", h);
    unsigned hellos;

    (void)state;
    assert_int_equal(vl1_contact_keep(h->vl1, h->identity.address, h->now_ms), -EINVAL);
    assert_int_equal(vl1_contact_keep(h->vl1, 0, h->now_ms), -EINVAL);
    assert_int_equal(vl1_contact_keep(h->vl1, bob->identity.address, h->now_ms), -EAGAIN);
    assert_true(actor_answer(root, h, ROOT1_AT, 0, 12) > 0);
    host_know(h, &bob->identity, 12);
    assert_int_equal(vl1_contact_keep(h->vl1, bob->identity.address, h->now_ms), 0);
    assert_int_equal(vl1_contact_keep(h->vl1, bob->identity.address, h->now_ms), 0);
    vl1_contact_release(h->vl1, bob->identity.address);
    host_forget(h);
    actor_run(root, h, ROOT1_AT, 600000, 12);
    hellos = actor_count(bob, h, VERB_HELLO, 0);
    assert_in_range(hellos, 100, 130); /* every 5 s by the relay */
    assert_non_null(host_peer(h, bob->identity.address));
    vl1_contact_release(h->vl1, bob->identity.address);
    vl1_contact_release(h->vl1, bob->identity.address); /* one too many does no harm */
    actor_run(root, h, ROOT1_AT, 600000, 12);
    assert_null(host_peer(h, bob->identity.address));
    actor_free(root);
    actor_free(bob);
    host_free(h);
}

/* A stranger's lookup becomes our own when we want to send; a full table of strangers leaves room.
 */
static void test_reasons_of_lookups(void **state)
{
    struct host *h = host_up("alice", "planet_v1");
    struct actor *root = actor_new("root1", h);
    struct actor *bob = actor_new("bob", h);
    struct actor *carol = actor_new("carol", h);
    uint8_t body[5];

    (void)state;
    assert_true(actor_answer(root, h, ROOT1_AT, 0, 12) > 0);
    actor_meet(carol, h, BOB_AT, 12);
    be40_put(body, bob->identity.address);
    actor_send(carol, h, BOB_AT, SUITE_AES_GMAC_SIV, VERB_WHOIS, body, 5);
    assert_int_equal(h->vl1->whois_count[WHOIS_ASKED], 1);
    host_forget(h);
    actor_run(root, h, ROOT1_AT, 2000, 12);
    assert_int_equal(actor_count(root, h, VERB_WHOIS, 0), 0); /* who wants it asks again */
    actor_send(bob, h, "46.0.0.9/1", SUITE_AES_GMAC_SIV, VERB_FRAME, "x", 1);
    assert_int_equal(h->vl1->whois_count[WHOIS_ASKED], 0);
    assert_int_equal(h->vl1->whois_count[WHOIS_OWN], 1);
    assert_int_equal(actor_count(root, h, VERB_WHOIS, 0), 1);
    actor_run(root, h, ROOT1_AT, 2000, 12);
    assert_int_equal(actor_count(root, h, VERB_WHOIS, 0), 5);
    actor_run(root, h, ROOT1_AT, 10000, 12);
    assert_int_equal(h->vl1->whois.count, 0);
    assert_int_equal(h->vl1->whois_count[WHOIS_OWN], 0);
    actor_free(root);
    actor_free(bob);
    actor_free(carol);
    host_free(h);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_known_peer_is_checked_once),
        cmocka_unit_test(test_forged_peer_is_forgotten),
        cmocka_unit_test(test_peer_known_before_its_check_is_done),
        cmocka_unit_test(test_address_taken_before_its_check_is_done),
        cmocka_unit_test(test_checks_handed_back_undone),
        cmocka_unit_test(test_old_peers_are_probed_by_hello),
        cmocka_unit_test(test_looking_at_peers),
        cmocka_unit_test(test_counters_have_names),
        cmocka_unit_test(test_packet_limit_is_of_the_smallest_mtu),
        cmocka_unit_test(test_contact_is_kept),
        cmocka_unit_test(test_reasons_of_lookups),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
