/* Sockets that are a detour: used while nothing else works, and no longer. Spec 02 section 12. */
#include "bench.h"

#include "vl1/host.h"

#include <stdlib.h>
#include <string.h>

static const char *const ROOT1_AT = "198.51.100.10/9993";
static const char *const BOB_AT = "46.0.0.1/9993";

/* Alice with an ordinary socket and a detour. */
static struct host *alice_with_detour(const char *planet)
{
    struct host *h = host_up("alice", planet);

    h->socket_count = 2;
    h->sockets[0] = (struct vl1_socket){.id = SOCK, .local = addr("10.0.0.1/9993")};
    h->sockets[1] = (struct vl1_socket){.id = SOCKET_DETOUR_FIRST, .local = addr("0.0.0.0/0")};
    vl1_enter(h->vl1);
    assert_int_equal(vl1_set_sockets(h->vl1, h->sockets, 2, h->now_ms), 0);
    vl1_leave(h->vl1, h->now_ms);
    return h;
}

/* The actor answers what came to it by one socket from the datagram `since` on; returns how many
 * came by the other. */
static unsigned answer_by(struct actor *a, struct host *h, const char *at, uint32_t socket,
                          size_t since)
{
    size_t end = h->sent_count;
    unsigned others = 0;

    while (since < end) {
        struct opened_packet *p = actor_find(a, h, -1, since);

        if (p == NULL || p->index >= end) {
            free(p);
            break;
        }
        since = p->index + 1;
        if (p->socket == socket) {
            (void)actor_answer_range(a, h, at, p->index, p->index + 1, 12);
        } else {
            others++;
        }
        free(p);
    }
    return others;
}

/* A while in which only one of the sockets works; returns how much was tried by the other. */
static unsigned run_by(struct actor *a, struct host *h, const char *at, uint32_t socket, int64_t ms)
{
    unsigned others = 0;
    int64_t end = h->now_ms + ms;
    size_t seen = h->sent_count;

    while (h->now_ms < end) {
        host_run(h, 50);
        others += answer_by(a, h, at, socket, seen);
        seen = h->sent_count;
    }
    return others;
}

static bool by_detour(const struct path *path)
{
    return path != NULL && path->socket == SOCKET_DETOUR_FIRST;
}

/* A root that answers by the detour alone is used so, and tried otherwise every few seconds; as
 * soon as it answers otherwise the detour is left. */
static void test_detour_is_used_until_something_else_works(void **state)
{
    struct host *h = alice_with_detour("planet_v1");
    struct actor *root = actor_new("root1", h);
    struct peer *peer = host_peer(h, root->identity.address);
    unsigned tries;

    (void)state;
    assert_false(vl1_upstream_without_detour(h->vl1, h->now_ms));
    assert_false(vl1_upstream_by_detour(h->vl1, h->now_ms));
    (void)run_by(root, h, ROOT1_AT, SOCKET_DETOUR_FIRST, 2000);
    assert_true(by_detour(path_best(peer, h->now_ms)));
    assert_int_equal(host_events(h, EVENT_ONLINE), 1);
    assert_true(vl1_upstream_by_detour(h->vl1, h->now_ms));
    assert_false(vl1_upstream_without_detour(h->vl1, h->now_ms));
    tries = run_by(root, h, ROOT1_AT, SOCKET_DETOUR_FIRST, 60000);
    assert_in_range(tries, 15, 25);
    (void)run_by(root, h, ROOT1_AT, SOCK, 5000);
    assert_int_equal(path_best(peer, h->now_ms)->socket, SOCK);
    assert_true(vl1_upstream_without_detour(h->vl1, h->now_ms));
    assert_int_equal(host_events(h, EVENT_OFFLINE), 0);
    actor_free(root);
    host_free(h);
}

/* However quick it is. */
static void test_detour_is_never_better(void **state)
{
    struct host *h = alice_with_detour(NULL);
    struct actor *bob = actor_new("bob", h);
    struct peer *peer = host_know(h, &bob->identity, 12);
    struct inetaddr at = addr(BOB_AT);

    (void)state;
    for (unsigned i = 0; i < 2; i++) {
        uint32_t socket = i == 0 ? SOCKET_DETOUR_FIRST : SOCK;
        size_t since = h->sent_count;

        peer_probe_address(peer, socket, &at, true, h->now_ms);
        host_run(h, i == 0 ? 1 : 400);
        (void)answer_by(bob, h, BOB_AT, socket, since);
        assert_int_equal(path_best(peer, h->now_ms)->socket, socket);
    }
    assert_int_equal(peer->path_count, 2);
    actor_free(bob);
    host_free(h);
}

/* Nobody changes for a little, with detours no more than without. */
static void test_choice_among_detours_is_steady(void **state)
{
    struct host *h = alice_with_detour("planet_v1");
    struct actor *roots[] = {actor_new("root1", h), actor_new("root2", h)};
    struct actor *bob = actor_new("bob", h);
    struct peer *peers[3] = {NULL, NULL, host_know(h, &bob->identity, 12)};
    static const char *const at[] = {"198.51.100.10/9993", "203.0.113.20/443"};
    static const char *const bob_at[] = {"46.0.0.1/9993", "46.0.0.1/443"};
    uint64_t relay;

    (void)state;
    for (size_t i = 0; i < 2; i++) {
        struct inetaddr to = addr(bob_at[i]);
        size_t since = h->sent_count;

        (void)run_by(roots[i], h, at[i], SOCKET_DETOUR_FIRST, 2000);
        peers[i] = host_peer(h, roots[i]->identity.address);
        assert_true(by_detour(path_best(peers[i], h->now_ms)));
        peer_probe_address(peers[2], SOCKET_DETOUR_FIRST, &to, true, h->now_ms);
        (void)answer_by(bob, h, bob_at[i], SOCKET_DETOUR_FIRST, since);
        peers[2]->paths[i].latency_ms = i == 0 ? 20 : 19;
    }
    relay = h->vl1->relay;
    assert_true(relay != 0);
    assert_int_equal(peers[2]->path_count, 2);
    assert_int_equal(path_best(peers[2], h->now_ms)->remote.port, 9993);
    for (size_t i = 0; i < 2; i++) {
        path_best(peers[i], h->now_ms)->latency_ms =
            vl1_best_upstream(h->vl1, 0) == peers[i]->identity.address ? 20 : 19;
    }
    topology_choose_relay(h->vl1, h->now_ms);
    assert_int_equal(h->vl1->relay, relay);
    for (size_t i = 0; i < 2; i++) {
        path_best(peers[i], h->now_ms)->latency_ms = relay == peers[i]->identity.address ? 20 : 9;
    }
    h->vl1->relay_ms = h->now_ms - SETTLED_MS;
    topology_choose_relay(h->vl1, h->now_ms);
    assert_int_not_equal(h->vl1->relay, relay);
    peers[2]->paths[1].latency_ms = 9;
    peer_keys(peers[2]);
    peers[2]->live->best_ms = h->now_ms - SETTLED_MS;
    assert_int_equal(path_best(peers[2], h->now_ms)->remote.port, 443);
    actor_free(roots[0]);
    actor_free(roots[1]);
    actor_free(bob);
    host_free(h);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_detour_is_used_until_something_else_works),
        cmocka_unit_test(test_detour_is_never_better),
        cmocka_unit_test(test_choice_among_detours_is_steady),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
