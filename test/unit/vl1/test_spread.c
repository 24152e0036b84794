/* New versions of worlds on their way: told at once, changes of key in their order, roots that are
 * added and retired, the nearest root. Spec 02 sections 3.2, 7.2, 9.3, 9.4 and 10. */
#include "bench.h"

#include <sodium.h>
#include <stdlib.h>
#include <string.h>

static const char *const ROOT1_AT = "198.51.100.10/9993";
static const char *const ROOT2_AT = "203.0.113.20/443";
static const char *const ALICE_AT = "192.0.2.1/9993";
static const char *const BOB_AT = "192.0.2.2/9993";

/* Two roots and two clients, 10 ms apart. */
struct four {
    struct net *net;
    struct host *root1, *root2, *alice, *bob;
};

static struct four setup(void)
{
    struct four f = {.net = net_new(10)};

    f.root1 = net_add(f.net, "root1", ROOT1_AT, "planet_v1");
    f.root2 = net_add(f.net, "root2", ROOT2_AT, "planet_v1");
    f.alice = net_add(f.net, "alice", ALICE_AT, "planet_v1");
    f.bob = net_add(f.net, "bob", BOB_AT, "planet_v1");
    return f;
}

/* The key that a world of the vectors announces. */
struct key {
    uint8_t *priv;
    uint8_t *pub;
};

static struct key key_of(const char *world)
{
    json_t *key = vec_get(vl1_named("worlds", world), "update_key");
    size_t len;

    return (struct key){vec_bytes(key, "private", &len), vec_bytes(key, "public", &len)};
}

static void key_free(struct key key)
{
    free(key.priv);
    free(key.pub);
}

/* planet_v1 so many steps later: its roots, signed by one key, announcing another. */
static struct world *version(unsigned steps, const char *signer, const char *announced)
{
    struct world *world = world_named("planet_v1");
    struct key by = key_of(signer);
    struct key next = key_of(announced);

    world->timestamp += steps;
    memcpy(world->update_key, next.pub, sizeof(world->update_key));
    world_sign(world, by.priv, by.pub);
    key_free(by);
    key_free(next);
    return world;
}

static int offer(struct host *h, const struct world *world)
{
    int err;

    vl1_enter(h->vl1);
    err = vl1_world_offer(h->vl1, world, h->now_ms);
    vl1_leave(h->vl1, h->now_ms);
    return err;
}

static void expect_offered(struct host *h, struct world *world)
{
    assert_int_equal(offer(h, world), 0);
    free(world);
}

static uint64_t steps_of(const struct host *h)
{
    return vl1_planet(h->vl1)->timestamp - 1700000000000;
}

/* WD-11: a root that is given a new version tells everybody; nobody waits for the next HELLO. Two
 * versions within a second arrive both. */
static void test_update_is_told_at_once(void **state)
{
    struct four f = setup();
    struct host *all[] = {f.root2, f.alice, f.bob};

    (void)state;
    net_run(f.net, 5000);
    expect_offered(f.root1, version(1, "planet_v1", "planet_v1"));
    net_run(f.net, 300);
    for (size_t i = 0; i < COUNT_OF(all); i++) {
        assert_int_equal(steps_of(all[i]), 1);
    }
    expect_offered(f.root1, version(2, "planet_v1", "planet_v1"));
    net_run(f.net, 300);
    for (size_t i = 0; i < COUNT_OF(all); i++) {
        assert_int_equal(steps_of(all[i]), 2);
        assert_int_equal(spread_root_stamp(f.root1->vl1, all[i]->identity.address),
                         i == 0 ? 1700000000002 : 0);
    }
    net_free(f.net);
}

/* A client's word that there is a newer world changes nothing and costs no packet. */
static void test_leaf_that_names_a_newer_world(void **state)
{
    struct host *h = host_up("alice", "planet_v1");
    struct actor *bob = actor_new("bob", h);
    uint8_t pkt[PACKET_MAX];
    struct hello_moon moon = {7, 9};
    size_t len;

    (void)state;
    host_know(h, &bob->identity, 12);
    host_forget(h);
    len = actor_hello(bob, h, 12, "10.0.0.1/9993", &moon, 1, pkt);
    host_receive(h, SOCK, "192.0.2.7/9993", pkt, len);
    host_run(h, 100);
    assert_int_equal(actor_count(bob, h, VERB_OK, 0), 1);
    assert_in_range(actor_count(bob, h, VERB_HELLO, 0), 0, 1); /* the path is asked for */
    actor_free(bob);
    host_free(h);
}

/* 9.3: the key changed twice while alice was away, and again within a version that did not. One
 * OK(HELLO) brings the changes in their order. */
static void test_changes_of_key_reach_who_was_away(void **state)
{
    (void)state;
    for (unsigned restart = 0; restart < 2; restart++) {
        struct four f = setup();
        struct stored *links;
        size_t links_len;

        net_run(f.net, 2000);
        f.alice->silent = true;
        net_cut(f.net, ALICE_AT, ROOT1_AT);
        net_cut(f.net, ALICE_AT, ROOT2_AT);
        expect_offered(f.root1, version(1, "planet_v1", "planet_v2"));
        net_run(f.net, 500);
        expect_offered(f.root1, version(2, "planet_v2", "planet_v3"));
        net_run(f.net, 500);
        expect_offered(f.root1, version(3, "planet_v3", "planet_v3"));
        net_run(f.net, 500);
        assert_int_equal(steps_of(f.bob), 3);
        assert_int_equal(steps_of(f.alice), 0);
        links = host_stored(f.root1, STATE_WORLD_LINKS, vl1_planet(f.root1->vl1)->id);
        assert_non_null(links);
        links_len = links->len;
        if (restart == 1) { /* the other root goes, the first one comes back from its files */
            struct host *again = host_new("root1");
            const enum state_kind kinds[] = {STATE_PLANET, STATE_WORLD_LINKS};

            for (size_t i = 0; i < COUNT_OF(kinds); i++) {
                struct stored *s =
                    host_stored(f.root1, kinds[i], i == 0 ? 0 : vl1_planet(f.root1->vl1)->id);

                host_store(again, kinds[i], i == 0 ? 0 : vl1_planet(f.root1->vl1)->id, s->data,
                           s->len);
            }
            again->net = f.net;
            host_sockets(again, &ROOT1_AT, 1);
            again->now_ms = f.net->now_ms;
            host_start(again);
            host_free(f.root1);
            f.net->hosts[0] = f.root1 = again;
            f.root2->silent = true;
        }
        net_heal(f.net);
        f.alice->silent = false;
        net_run(f.net, 65000);
        assert_int_equal(steps_of(f.alice), 3);
        /* alice remembers them too, should she become a root */
        assert_int_equal(host_stored(f.alice, STATE_WORLD_LINKS, vl1_planet(f.alice->vl1)->id)->len,
                         links_len);
        net_free(f.net);
    }
}

/* Of very many changes the newest are kept. */
static void test_changes_of_key_are_bounded(void **state)
{
    static const char *const keys[] = {"planet_v1", "planet_v2"};
    struct host *h = host_up("root1", "planet_v1");
    struct stored *links;
    struct world first;
    struct rd in;

    (void)state;
    for (unsigned i = 0; i < WORLD_LINKS_MAX + 5; i++) {
        expect_offered(h, version(i + 1, keys[i % 2], keys[(i + 1) % 2]));
    }
    links = host_stored(h, STATE_WORLD_LINKS, vl1_planet(h->vl1)->id);
    in = rd_init(links->data, links->len);
    assert_int_equal(world_read(&in, &first), 0);
    assert_int_equal(first.timestamp - 1700000000000, 6);
    assert_int_equal(links->len, WORLD_LINKS_MAX * (links->len - rd_left(&in)));
    host_free(h);
}

/* Links of a moon go with it. */
static void test_changes_of_a_moon(void **state)
{
    struct host *h = host_new("alice");
    struct world *v2 = world_named("moon_v2");

    (void)state;
    host_store_world(h, "planet_v1");
    host_store_world(h, "moon_v1");
    host_start(h);
    assert_int_equal(vl1_orbit(h->vl1, v2->id, 0, h->now_ms), 0);
    assert_int_equal(offer(h, v2), 0);
    assert_non_null(host_stored(h, STATE_WORLD_LINKS, v2->id));
    assert_int_equal(vl1_deorbit(h->vl1, v2->id, h->now_ms), 0);
    assert_null(host_stored(h, STATE_WORLD_LINKS, v2->id));
    assert_true(list_is_empty(&h->vl1->world_links));
    free(v2);
    host_free(h);
}

/* Section 10: the root in use is retired: its clients go to the other at once, it becomes a leaf
 * and reaches everybody as one. Bob becomes the second root by the same update. */
static void test_root_retires_and_another_begins(void **state)
{
    struct four f = setup();
    struct world *world = version(1, "planet_v1", "planet_v1");
    struct key key = key_of("planet_v1");
    int gone = world_find_root(world, f.root1->identity.address);

    (void)state;
    net_run(f.net, 5000);
    assert_true(gone >= 0);
    world->roots[gone] = (struct world_root){.identity = f.bob->identity, .endpoint_count = 1};
    sodium_memzero(world->roots[gone].identity.priv, sizeof(world->roots[gone].identity.priv));
    world->roots[gone].identity.has_private = false;
    world->roots[gone].endpoints[0] = addr(BOB_AT);
    world_sign(world, key.priv, key.pub);
    expect_offered(f.root1, world);
    net_run(f.net, 2000);
    assert_false(vl1_is_root(f.root1->vl1));
    assert_true(vl1_is_root(f.bob->vl1));
    assert_int_equal(steps_of(f.alice), 1);
    assert_false(peer_is_upstream(host_peer(f.alice, f.root1->identity.address)));
    assert_true(peer_is_upstream(host_peer(f.alice, f.bob->identity.address)));
    assert_true(f.alice->vl1->relay == f.root2->identity.address ||
                f.alice->vl1->relay == f.bob->identity.address);
    f.root1->silent = true; /* switched off: nobody notices */
    net_run(f.net, 60000);
    assert_int_equal(host_events(f.alice, EVENT_OFFLINE), 0);
    assert_int_equal(host_events(f.root2, EVENT_OFFLINE), 0);
    f.root1->silent = false;
    net_run(f.net, 6000);
    host_frame(f.root1, f.alice->identity.address, "hi", 2);
    net_run(f.net, 1000);
    assert_int_equal(host_frames(f.alice, f.root1->identity.address, 0), 1);
    key_free(key);
    net_free(f.net);
}

/* RT-3, RT-4: a root that restarts with nothing in memory: what it does not know it has from the
 * other one, which relays for it meanwhile. */
static void test_root_restarts(void **state)
{
    struct four f = setup();
    struct host *again = host_new("root1");

    (void)state;
    net_run(f.net, 5000);
    net_cut(f.net, ALICE_AT, ROOT2_AT); /* alice has this root only, bob the other one */
    net_cut(f.net, BOB_AT, ROOT1_AT);
    net_cut(f.net, ALICE_AT, BOB_AT);
    net_run(f.net, 60000);
    host_store_world(again, "planet_v1");
    again->net = f.net;
    host_sockets(again, &ROOT1_AT, 1);
    again->now_ms = f.net->now_ms;
    host_start(again);
    host_free(f.root1);
    f.net->hosts[0] = f.root1 = again;
    assert_null(host_peer(f.root1, f.bob->identity.address));
    net_run(f.net, 60000); /* alice is heard again by then */
    host_frame(f.alice, f.bob->identity.address, "hi", 2);
    net_run(f.net, 2000);
    assert_int_equal(host_frames(f.bob, f.alice->identity.address, 0), 1);
    host_frame(f.bob, f.alice->identity.address, "hi", 2);
    net_run(f.net, 2000);
    assert_int_equal(host_frames(f.alice, f.bob->identity.address, 0), 1);
    net_free(f.net);
}

/* 7.2: the nearest root is preferred, whichever that is and in whatever order they were found; a
 * difference of little is not worth a change, and when distances change the choice follows. */
static void test_nearest_root_is_preferred(void **state)
{
    (void)state;
    for (unsigned round = 0; round < 2; round++) {
        struct four f = setup();
        struct host *near = round == 0 ? f.root1 : f.root2;
        struct host *far = round == 0 ? f.root2 : f.root1;

        far->distance_ms = 40;
        net_run(f.net, 60000);
        assert_int_equal(f.alice->vl1->relay, near->identity.address);
        assert_int_equal(f.bob->vl1->relay, near->identity.address);
        near->distance_ms = 41; /* about the same now: it stays */
        net_run(f.net, 600000);
        assert_int_equal(f.alice->vl1->relay, near->identity.address);
        near->distance_ms = 120;
        net_run(f.net, 600000);
        assert_int_equal(f.alice->vl1->relay, far->identity.address);
        net_free(f.net);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_update_is_told_at_once),
        cmocka_unit_test(test_leaf_that_names_a_newer_world),
        cmocka_unit_test(test_changes_of_key_reach_who_was_away),
        cmocka_unit_test(test_changes_of_key_are_bounded),
        cmocka_unit_test(test_changes_of_a_moon),
        cmocka_unit_test(test_root_retires_and_another_begins),
        cmocka_unit_test(test_root_restarts),
        cmocka_unit_test(test_nearest_root_is_preferred),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
