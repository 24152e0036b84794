/* Peers and paths: what becomes a path, which is used, how one is kept, tested and given up.
 * Spec 02 section 6. */
#include "bench.h"

#include "wire/identity.h"
#include "wire/peer_cache.h"

#include <stdlib.h>
#include <string.h>

static const char *const A1 = "46.0.0.1/9993";
static const char *const A2 = "46.0.0.2/9993";
static const char *const ROOT1_AT = "198.51.100.10/9993";
static const char *const ROOT2_AT = "203.0.113.20/443";

/* PP-1 */
static void test_ip_scopes_vectors(void **state)
{
    struct host *h = host_up("alice", NULL);
    struct identity bob = vl1_identity_of("bob");
    struct peer *peer = host_know(h, &bob, 12);
    json_t *it;
    size_t i;

    (void)state;
    json_array_foreach(vec_get(vl1_vectors(), "ip_scopes"), i, it)
    {
        struct inetaddr a = addr(vec_text(it, "ip"));

        a.port = 9993;
        assert_int_equal(path_is_allowed(h->vl1, peer, &a), vec_bool(it, "valid_for_path"));
    }
    host_free(h);
}

/* PP-2 */
static void test_latency_smoothing_vectors(void **state)
{
    struct path path = {.latency_ms = -1};
    json_t *it;
    size_t i;

    (void)state;
    json_array_foreach(vec_get(vl1_vectors(), "latency_smoothing"), i, it)
    {
        path_latency(&path, vec_int(it, "sample"));
        assert_int_equal(path.latency_ms, vec_int(it, "latency_after"));
    }
}

static unsigned count_to(struct actor *a, struct host *h, int verb, const char *at, size_t since)
{
    struct inetaddr to = addr(at);
    struct opened_packet *p;
    unsigned count = 0;

    while ((p = actor_find(a, h, verb, since)) != NULL) {
        since = p->index + 1;
        count += inetaddr_equal(&p->to, &to);
        free(p);
    }
    return count;
}

/* PP-3: one HELLO at once, no other within the second, and nothing else before the OK. */
static void test_unknown_path_is_confirmed_first(void **state)
{
    struct host *h = host_up("alice", "planet_v1");
    struct actor *root = actor_new("root1", h);
    struct actor *bob = actor_new("bob", h);

    (void)state;
    assert_true(actor_answer(root, h, ROOT1_AT, 0, 12) > 0);
    host_know(h, &bob->identity, 12);
    host_forget(h);
    for (unsigned i = 0; i < 5; i++) {
        actor_send(bob, h, A1, SUITE_AES_GMAC_SIV, VERB_FRAME, "x", 1);
    }
    assert_int_equal(count_to(bob, h, VERB_HELLO, A1, 0), 1);
    host_frame(h, bob->identity.address, "x", 1);
    assert_int_equal(count_to(bob, h, VERB_FRAME, A1, 0), 0);
    assert_int_equal(count_to(bob, h, VERB_FRAME, ROOT1_AT, 0), 1);
    assert_int_equal(host_peer(h, bob->identity.address)->path_count, 0);
    assert_int_equal(actor_answer(bob, h, A1, 0, 12), 1);
    assert_int_equal(host_peer(h, bob->identity.address)->path_count, 1);
    assert_int_equal(host_events(h, EVENT_PEER_DIRECT), 1);
    host_frame(h, bob->identity.address, "x", 1);
    assert_int_equal(count_to(bob, h, VERB_FRAME, A1, 0), 1);
    actor_free(root);
    actor_free(bob);
    host_free(h);
}

/* The holder of a key who forges many sources does not make us send to all of them. */
static void test_many_unknown_paths_are_bounded(void **state)
{
    struct host *h = host_up("alice", NULL);
    struct actor *bob = actor_new("bob", h);

    (void)state;
    host_know(h, &bob->identity, 12);
    for (unsigned i = 0; i < 1000; i++) {
        char from[INETADDR_TEXT_LEN];

        snprintf(from, sizeof(from), "46.1.%u.%u/9993", i / 200, i % 200);
        actor_send(bob, h, from, SUITE_AES_GMAC_SIV, i % 2 == 0 ? VERB_FRAME : VERB_ECHO, "x", 1);
    }
    assert_true(h->sent_count <= 3 * PEER_PROBES);
    host_free(h);
    actor_free(bob);
}

/* PP-4: refreshed by every direct authentic packet, by no relayed one. */
static void test_paths_live_by_direct_packets(void **state)
{
    struct host *h = host_up("alice", NULL);
    struct actor *bob = actor_new("bob", h);
    struct path *path;

    (void)state;
    actor_meet(bob, h, A1, 12);
    path = &host_peer(h, bob->identity.address)->paths[0];
    assert_int_equal(path->last_in_ms, h->now_ms);
    host_run(h, 100);
    actor_send_hops(bob, h, A1, SUITE_AES_GMAC_SIV, VERB_FRAME, "x", 1, 1);
    assert_int_equal(path->last_in_ms, h->now_ms - 100);
    actor_send(bob, h, A1, SUITE_AES_GMAC_SIV, VERB_NOP, "", 0);
    assert_int_equal(path->last_in_ms, h->now_ms);
    assert_int_equal(host_peer(h, bob->identity.address)->path_count, 1);
    actor_free(bob);
    host_free(h);
}

/* PP-5 */
static void test_roots_only_at_their_endpoints(void **state)
{
    struct host *h = host_up("alice", "planet_v1");
    struct actor *root = actor_new("root1", h);
    struct peer *peer = host_peer(h, root->identity.address);

    (void)state;
    actor_send(root, h, "46.0.0.9/9993", SUITE_SALSA_POLY1305, VERB_NOP, "", 0);
    assert_int_equal(count_to(root, h, VERB_HELLO, "46.0.0.9/9993", 0), 0);
    await_add(h->vl1, 5, root->identity.address, VERB_ECHO, h->now_ms);
    actor_send(root, h, "46.0.0.9/9993", SUITE_SALSA_POLY1305, VERB_OK, "\x08\0\0\0\0\0\0\0\x05",
               9);
    assert_int_equal(peer->path_count, 0);
    host_run(h, 1);
    actor_send(root, h, "198.51.100.10/1234", SUITE_SALSA_POLY1305, VERB_OK,
               "\x08\0\0\0\0\0\0\0\x05", 9);
    assert_int_equal(peer->path_count, 1);
    actor_free(root);
    host_free(h);
}

/* PP-6, 6.2.5: inside networks and blacklists there are no paths; replies are given anyway. */
static void test_no_path_inside_networks(void **state)
{
    struct host *h = host_up("alice", NULL);
    struct actor *bob = actor_new("bob", h);
    struct physical_entry black = {.net = addr("47.0.0.0/8"), .blacklist = true};

    (void)state;
    h->overlay = addr("46.0.0.0/24");
    vl1_set_physical(h->vl1, &black, 1);
    host_know(h, &bob->identity, 12);
    actor_send(bob, h, A1, SUITE_AES_GMAC_SIV, VERB_ECHO, "x", 1);
    actor_send(bob, h, "47.1.1.1/9993", SUITE_AES_GMAC_SIV, VERB_ECHO, "x", 1);
    assert_int_equal(actor_count(bob, h, VERB_OK, 0), 2);
    assert_int_equal(actor_count(bob, h, VERB_HELLO, 0), 0);
    actor_meet(bob, h, "48.0.0.1/9993", 12);
    black.net = addr("48.0.0.0/8"); /* a path that is forbidden later ends */
    vl1_set_physical(h->vl1, &black, 1);
    assert_int_equal(host_peer(h, bob->identity.address)->path_count, 0);
    assert_int_equal(host_events(h, EVENT_PEER_RELAYED), 1); /* which is said */
    actor_meet(bob, h, "49.0.0.1/9993", 12);
    h->overlay = addr("49.0.0.0/24");
    vl1_check_paths(h->vl1);
    assert_int_equal(host_events(h, EVENT_PEER_RELAYED), 2);
    actor_free(bob);
    host_free(h);
}

/* PP-8 */
static void test_64_paths_at_most(void **state)
{
    struct host *h = host_up("alice", NULL);
    struct actor *bob = actor_new("bob", h);
    struct peer *peer = host_know(h, &bob->identity, 12);

    (void)state;
    for (unsigned i = 0; i < 200; i++) {
        char from[INETADDR_TEXT_LEN];
        size_t since = h->sent_count;

        snprintf(from, sizeof(from), "46.1.1.%u/9993", i);
        actor_send(bob, h, from, SUITE_AES_GMAC_SIV, VERB_NOP, "", 0);
        (void)actor_answer(bob, h, from, since, 12);
        assert_true(peer->path_count == (i < PEER_PATHS_MAX ? i + 1 : PEER_PATHS_MAX));
        assert_non_null(path_best(peer, h->now_ms));
        host_run(h, 100);
        host_forget(h);
    }
    actor_free(bob);
    host_free(h);
}

/* PP-11: forgotten after 500 s of silence, found again in the cache with its version. */
static void test_silent_peer_goes_to_the_cache(void **state)
{
    struct host *h = host_up("alice", NULL);
    struct actor *bob = actor_new("bob", h);
    struct inetaddr at = addr(A1);
    struct stored *s;
    struct peer_record *rec = calloc(1, sizeof(*rec));

    (void)state;
    actor_meet(bob, h, A1, 12);
    actor_send(bob, h, A1, SUITE_AES_GMAC_SIV, VERB_FRAME, "x", 1);
    host_run(h, 499000);
    assert_non_null(host_peer(h, bob->identity.address));
    host_run(h, 2000);
    assert_null(host_peer(h, bob->identity.address));
    s = host_stored(h, STATE_PEER, bob->identity.address);
    assert_non_null(s);
    assert_int_equal(peer_record_decode(rd_init(s->data, s->len), rec), 0);
    assert_true(identity_equal(&rec->identity, &bob->identity));
    assert_int_equal(rec->protocol, 12);
    host_forget(h);
    actor_send(bob, h, A2, SUITE_AES_GMAC_SIV, VERB_FRAME, "x", 1);
    assert_int_equal(h->packet_count, 1);
    assert_int_equal(host_peer(h, bob->identity.address)->version.protocol, 12);
    for (unsigned i = 0; i < rec->path_count; i++) {
        assert_true(inetaddr_equal(&rec->paths[i], &at));
    }
    free(rec);
    actor_free(bob);
    host_free(h);
}

/* A root keeps a client for 500 s of silence, and answers WHOIS for it so long (RT-4). */
static void test_root_remembers_clients(void **state)
{
    struct host *h = host_up("root1", "planet_v1");
    struct actor *bob = actor_new("bob", h);
    struct actor *alice = actor_new("alice", h);
    uint8_t body[5];

    (void)state;
    be40_put(body, bob->identity.address);
    actor_meet(bob, h, A1, 12);
    host_run(h, 480000);
    actor_meet(alice, h, A2, 12);
    host_forget(h);
    actor_send(alice, h, A2, SUITE_AES_GMAC_SIV, VERB_WHOIS, body, 5);
    assert_int_equal(actor_count(alice, h, VERB_OK, 0), 1);
    actor_free(alice);
    actor_free(bob);
    host_free(h);
}

/* Frames every 50 ms for up to 10 s; the actor answers at `alive` only. Returns after how long they
 * went there, or -1. */
static int64_t failover(struct actor *a, struct host *h, const char *alive)
{
    int64_t began = h->now_ms;

    while (h->now_ms - began < 10000) {
        size_t since = h->sent_count;

        host_frame(h, a->identity.address, "x", 1);
        if (count_to(a, h, VERB_FRAME, alive, since) > 0) {
            return h->now_ms - began;
        }
        host_run(h, 50);
        (void)actor_answer(a, h, alive, since, 12);
    }
    return -1;
}

/* PP-12: the path in use is blackholed under traffic, another is there. */
static void test_dead_path_is_left(void **state)
{
    struct host *h = host_up("alice", NULL);
    struct actor *bob = actor_new("bob", h);
    int64_t took;

    (void)state;
    actor_meet(bob, h, A1, 12);
    actor_meet(bob, h, A2, 12);
    actor_run(bob, h, A1, 50, 12);
    host_peer(h, bob->identity.address)->paths[0].latency_ms = 5;
    host_peer(h, bob->identity.address)->paths[1].latency_ms = 50;
    host_frame(h, bob->identity.address, "x", 1);
    assert_int_equal(count_to(bob, h, VERB_FRAME, A1, 0), 1);
    took = failover(bob, h, A2);
    printf("left the dead path after %lld ms\n", (long long)took);
    assert_in_range(took, 300, 700);
    assert_int_equal(host_events(h, EVENT_PEER_RELAYED), 0);
    /* and it comes back when the path does */
    actor_send(bob, h, A2, SUITE_AES_GMAC_SIV, VERB_FRAME, "x", 1);
    for (unsigned i = 0; i < 400; i++) {
        size_t since = h->sent_count;

        host_run(h, 50);
        host_frame(h, bob->identity.address, "x", 1);
        (void)actor_answer(bob, h, A1, since, 12);
        (void)actor_answer(bob, h, A2, since, 12);
    }
    assert_int_equal(host_peer(h, bob->identity.address)->paths[0].lost, 0);
    actor_free(bob);
    host_free(h);
}

/* PP-13: the only path dies: the relay takes over. */
static void test_relay_takes_over(void **state)
{
    struct host *h = host_up("alice", "planet_v1");
    struct actor *root = actor_new("root1", h);
    struct actor *bob = actor_new("bob", h);
    struct inetaddr relay = addr(ROOT1_AT);
    int64_t began;
    bool relayed = false;

    (void)state;
    assert_true(actor_answer(root, h, ROOT1_AT, 0, 12) > 0);
    actor_meet(bob, h, A1, 12);
    began = h->now_ms;
    while (!relayed && h->now_ms - began < 10000) {
        size_t since = h->sent_count;
        struct opened_packet *p;

        host_frame(h, bob->identity.address, "x", 1);
        p = actor_find(bob, h, VERB_FRAME, since);
        relayed = p != NULL && inetaddr_equal(&p->to, &relay);
        free(p);
        host_run(h, 50);
        (void)actor_answer(root, h, ROOT1_AT, since, 12);
    }
    printf("relayed after %lld ms\n", (long long)(h->now_ms - began));
    assert_true(relayed);
    assert_in_range(h->now_ms - began, 500, 2000);
    assert_int_equal(host_events(h, EVENT_PEER_RELAYED), 1);
    actor_free(root);
    actor_free(bob);
    host_free(h);
}

/* Patience grows with the round trip: 700 ms there and back is no death. */
static void test_long_round_trips_are_no_loss(void **state)
{
    struct host *h = host_up("alice", NULL);
    struct actor *bob = actor_new("bob", h);
    struct {
        size_t index;
        int64_t due;
    } *pending = calloc(10000, sizeof(*pending));
    size_t first = 0;
    size_t count = 0;

    (void)state;
    actor_meet(bob, h, A1, 12);
    host_peer(h, bob->identity.address)->paths[0].latency_ms = 900;
    actor_send(bob, h, A1, SUITE_AES_GMAC_SIV, VERB_FRAME, "x", 1);
    for (unsigned step = 0; step < 2400; step++) { /* two minutes, frames one way only */
        size_t since = h->sent_count;

        if (step % 4 == 0) {
            host_frame(h, bob->identity.address, "x", 1);
        }
        host_run(h, 50);
        for (size_t i = since; i < h->sent_count && count < 10000; i++) {
            pending[count].index = i;
            pending[count++].due = h->now_ms + 900;
        }
        while (first < count && pending[first].due <= h->now_ms) {
            struct opened_packet *p = actor_find(bob, h, -1, pending[first].index);

            if (p != NULL && p->index == pending[first].index && p->verb == VERB_ECHO) {
                uint8_t body[64];
                struct wr w = wr_init(body, sizeof(body));

                ok_head_write(&w, &(struct reply_head){VERB_ECHO, p->id});
                actor_send(bob, h, A1, SUITE_AES_GMAC_SIV, VERB_OK, body, wr_len(&w));
            } else if (p != NULL && p->index == pending[first].index && p->verb == VERB_HELLO) {
                (void)actor_answer(bob, h, A1, p->index, 12);
            }
            free(p);
            first++;
        }
    }
    assert_int_equal(host_events(h, EVENT_PEER_RELAYED), 0);
    free(pending);
    actor_free(bob);
    host_free(h);
}

/* Do better 10: equals do not alternate, a heartbeat under way changes nothing; a private address
 * and a much shorter way win. */
static void test_choice_among_paths_is_steady(void **state)
{
    struct host *h = host_up("alice", NULL);
    struct actor *bob = actor_new("bob", h);
    struct peer *peer;
    struct inetaddr first;
    unsigned changes = 0;
    size_t sent[20] = {0};
    size_t done = 0;

    (void)state;
    actor_meet(bob, h, A1, 12);
    actor_meet(bob, h, A2, 12);
    actor_send(bob, h, A1, SUITE_AES_GMAC_SIV, VERB_FRAME, "x", 1);
    peer = host_peer(h, bob->identity.address);
    peer->paths[0].latency_ms = 20;
    peer->paths[1].latency_ms = 19;
    first = path_best(peer, h->now_ms)->remote;
    for (unsigned i = 0; i < 120000; i++) { /* answers 20 ms late, to both */
        size_t since = done;

        host_run(h, 1);
        done = sent[i % 20];
        sent[i % 20] = h->sent_count;
        if (done > since) {
            (void)actor_answer_range(bob, h, A1, since, done, 12);
            (void)actor_answer_range(bob, h, A2, since, done, 12);
        }
        changes += !inetaddr_equal(&path_best(peer, h->now_ms)->remote, &first);
    }
    assert_in_range(peer->paths[0].latency_ms, 18, 22);
    assert_int_equal(changes, 0);
    peer->paths[0].latency_ms = 20;
    peer->paths[1].latency_ms = 10;
    assert_ptr_equal(path_best(peer, h->now_ms), &peer->paths[1]);
    actor_meet(bob, h, "10.0.0.7/9993", 12);
    path_find(peer, SOCK,
              &(struct inetaddr){.family = INETADDR_V4, .ip = {10, 0, 0, 7}, .port = 9993})
        ->latency_ms = 9;
    assert_int_equal(path_best(peer, h->now_ms)->remote.ip[0], 10);
    actor_free(bob);
    host_free(h);
}

/* The relay does not change at each heartbeat, and does when it is silent. */
static void test_relay_is_steady(void **state)
{
    struct host *h = host_up("alice", "planet_v1");
    struct actor *root1 = actor_new("root1", h);
    struct actor *root2 = actor_new("root2", h);
    size_t seen = h->sent_count;
    uint64_t relay;
    int64_t began;

    (void)state;
    assert_true(actor_answer(root1, h, ROOT1_AT, 0, 12) > 0);
    assert_true(actor_answer(root2, h, ROOT2_AT, 0, 12) > 0);
    relay = h->vl1->relay;
    for (unsigned i = 0; i < 2400; i++) {
        size_t since = seen;

        host_run(h, 50);
        seen = h->sent_count;
        assert_int_equal(h->vl1->relay, relay);
        (void)actor_answer(root1, h, ROOT1_AT, since, 12);
        (void)actor_answer(root2, h, ROOT2_AT, since, 12);
    }
    began = h->now_ms;
    while (h->vl1->relay == relay && h->now_ms - began < 60000) {
        size_t since = h->sent_count;

        host_frame(h, 0x1234567890, "x", 1);
        host_run(h, 50);
        (void)actor_answer(relay == root1->identity.address ? root2 : root1, h,
                           relay == root1->identity.address ? ROOT2_AT : ROOT1_AT, since, 12);
    }
    printf("other relay after %lld ms\n", (long long)(h->now_ms - began));
    assert_true(h->now_ms - began < 4000); /* RT-6 asks for 10 s */
    actor_free(root1);
    actor_free(root2);
    host_free(h);
}

/* 6.7, 6.1: a peer that becomes active again gets its keepalive at once. */
static void test_keepalive_begins_again(void **state)
{
    struct host *h = host_up("alice", NULL);
    struct actor *bob = actor_new("bob", h);

    (void)state;
    actor_meet(bob, h, A1, 12);
    actor_send(bob, h, A1, SUITE_AES_GMAC_SIV, VERB_FRAME, "x", 1);
    for (unsigned i = 0; i < 600; i++) { /* alive, but no frames for ten minutes */
        host_run(h, 1000);
        actor_send(bob, h, A1, SUITE_AES_GMAC_SIV, VERB_NOP, "", 0);
    }
    host_forget(h);
    actor_send(bob, h, A1, SUITE_AES_GMAC_SIV, VERB_FRAME, "x", 1);
    host_run(h, 15000);
    assert_true(actor_count(bob, h, VERB_ECHO, 0) + actor_count(bob, h, VERB_HELLO, 0) > 0);
    actor_free(bob);
    host_free(h);
}

/* A retried OK, and one that waited for a database, say nothing about latency. */
static void test_latency_comes_from_prompt_replies(void **state)
{
    struct host *h = host_up("alice", NULL);
    struct actor *bob = actor_new("bob", h);
    struct peer *peer = host_know(h, &bob->identity, 12);
    static const uint8_t body[] = {VERB_NETWORK_CONFIG_REQUEST, 0, 0, 0, 0, 0, 0, 0, 5};

    (void)state;
    await_add(h->vl1, 5, bob->identity.address, VERB_NETWORK_CONFIG_REQUEST, h->now_ms);
    host_run(h, 2000);
    h->verdict = VL1_LATER;
    actor_send(bob, h, A1, SUITE_AES_GMAC_SIV, VERB_OK, body, sizeof(body));
    h->verdict = VL1_DONE;
    host_run(h, 600);
    assert_int_equal(peer->path_count, 1);
    assert_int_equal(peer->paths[0].latency_ms, -1);
    actor_free(bob);
    host_free(h);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_ip_scopes_vectors),
        cmocka_unit_test(test_latency_smoothing_vectors),
        cmocka_unit_test(test_unknown_path_is_confirmed_first),
        cmocka_unit_test(test_many_unknown_paths_are_bounded),
        cmocka_unit_test(test_paths_live_by_direct_packets),
        cmocka_unit_test(test_roots_only_at_their_endpoints),
        cmocka_unit_test(test_no_path_inside_networks),
        cmocka_unit_test(test_64_paths_at_most),
        cmocka_unit_test(test_silent_peer_goes_to_the_cache),
        cmocka_unit_test(test_root_remembers_clients),
        cmocka_unit_test(test_dead_path_is_left),
        cmocka_unit_test(test_relay_takes_over),
        cmocka_unit_test(test_long_round_trips_are_no_loss),
        cmocka_unit_test(test_choice_among_paths_is_steady),
        cmocka_unit_test(test_relay_is_steady),
        cmocka_unit_test(test_keepalive_begins_again),
        cmocka_unit_test(test_latency_comes_from_prompt_replies),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
