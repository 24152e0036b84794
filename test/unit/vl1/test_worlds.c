/* Planet and moons: update rule, first acceptance, orbits, files. Spec 02 section 9. */
#include "bench.h"

#include "wire/identity.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static const char *const ROOT1_AT = "198.51.100.10/9993";

static uint64_t timestamp_of(struct host *h, bool planet)
{
    uint64_t id;
    uint64_t seed;
    bool verified;
    const struct world *world =
        planet ? vl1_planet(h->vl1) : vl1_moon(h->vl1, 0, &id, &seed, &verified);

    return world != NULL ? world->timestamp : 0;
}

/* WD-3, WD-7: each step, offered by an upstream; what is accepted is stored byte for byte. */
static void test_update_chain_vectors(void **state)
{
    json_t *chain;
    size_t i;

    (void)state;
    json_array_foreach(vec_get(vl1_vectors(), "update_chains"), i, chain)
    {
        struct world *initial = world_from_hex(vec_text(chain, "initial"));
        bool planet = initial->type == WORLD_PLANET;
        struct host *h = host_new("alice");
        uint8_t *bytes;
        size_t len;
        json_t *step;
        size_t k;

        bytes = vec_bytes(chain, "initial", &len);
        host_store(h, planet ? STATE_PLANET : STATE_MOON, planet ? 0 : initial->id, bytes, len);
        host_start(h);
        if (!planet) {
            assert_int_equal(vl1_orbit(h->vl1, initial->id, 0, h->now_ms), 0);
        }
        free(bytes);
        json_array_foreach(vec_get(chain, "steps"), k, step)
        {
            struct world *world = world_from_hex(vec_text(step, "serialized"));
            bool accepted = vec_bool(step, "accepted");
            int err;

            vl1_enter(h->vl1);
            err =
                topology_offer(h->vl1, world, initial->roots[0].identity.address, false, h->now_ms);
            vl1_leave(h->vl1, h->now_ms);
            assert_int_equal(err, accepted ? 0 : -EACCES);
            assert_int_equal(timestamp_of(h, planet), vec_int(step, "timestamp_after"));
            if (accepted) {
                struct stored *s =
                    host_stored(h, planet ? STATE_PLANET : STATE_MOON, planet ? 0 : initial->id);

                bytes = vec_bytes(step, "serialized", &len);
                assert_non_null(s);
                assert_int_equal(s->len, len);
                assert_memory_equal(s->data, bytes, len);
                free(bytes);
            }
            free(world);
        }
        free(initial);
        host_free(h);
    }
}

static void ok_hello_with(struct actor *from, struct host *h, const char *at, const uint8_t *worlds,
                          size_t len)
{
    uint8_t body[PACKET_MAX];
    struct wr w = wr_init(body, PACKET_PAYLOAD_MAX);

    await_add(h->vl1, 5, from->identity.address, VERB_HELLO, h->now_ms);
    ok_head_write(&w, &(struct reply_head){VERB_HELLO, 5});
    ok_hello_encode(&w, &(struct ok_hello){.version = {12, 1, 14, 1},
                                           .has_address = true,
                                           .has_worlds = true,
                                           .worlds = worlds,
                                           .worlds_len = len});
    assert_false(w.bad);
    actor_send(from, h, at, SUITE_AES_GMAC_SIV, VERB_OK, body, wr_len(&w));
}

static bool has_upstream(struct host *h, uint64_t address)
{
    uint64_t all[64];
    size_t count = vl1_upstreams(h->vl1, all, 64);

    for (size_t i = 0; i < count; i++) {
        if (all[i] == address) {
            return true;
        }
    }
    return false;
}

static void expect_upstreams(struct host *h, const json_t *want)
{
    assert_int_equal(vl1_upstreams(h->vl1, NULL, 0), json_array_size(want));
    for (size_t i = 0; i < json_array_size(want); i++) {
        uint64_t address;
        const char *text = json_string_value(json_array_get(want, i));

        assert_int_equal(address_parse(text, strlen(text), &address), 0);
        assert_true(has_upstream(h, address));
        assert_true(peer_is_upstream(host_peer(h, address)));
    }
}

/* WD-4, WD-7 */
static void test_moon_first_acceptance_vectors(void **state)
{
    json_t *it;
    size_t i;

    (void)state;
    json_array_foreach(vec_get(vl1_vectors(), "moon_first_acceptance"), i, it)
    {
        struct host *h = host_up("alice", "planet_v1");
        struct actor *root = actor_new("root1", h);
        size_t len;
        uint8_t *bytes = vec_bytes(it, "serialized", &len);
        json_t *wanted = vec_get(it, "still_wanted");
        unsigned waiting = 0;
        uint64_t id = 0;
        uint64_t seed;
        bool verified;

        if (json_object_get(it, "orbit_id") != NULL) {
            assert_int_equal(
                vl1_orbit(h->vl1, vec_hex_u64(it, "orbit_id"), vec_hex_u64(it, "seed"), h->now_ms),
                0);
        }
        if (vec_bool(it, "from_local_file")) {
            host_store(h, STATE_MOON, be64_get(bytes + 1), bytes, len);
            assert_int_equal(vl1_orbit(h->vl1, be64_get(bytes + 1), 0, h->now_ms), 0);
        } else {
            ok_hello_with(root, h, ROOT1_AT, bytes, len);
        }
        expect_upstreams(h, vec_get(it, "upstreams_after"));
        for (size_t k = 0; k < 4; k++) {
            if (vl1_moon(h->vl1, k, &id, &seed, &verified) == NULL && id != 0) {
                assert_int_equal(id,
                                 strtoull(json_string_value(json_array_get(wanted, 0)), NULL, 16));
                waiting++;
            }
        }
        assert_int_equal(waiting, json_array_size(wanted));
        assert_int_equal(host_stored(h, STATE_MOON, be64_get(bytes + 1)) != NULL,
                         vec_bool(it, "accepted"));
        assert_int_equal(host_stored(h, STATE_ORBITS, 0) != NULL, waiting > 0);
        if (vec_bool(it, "accepted")) {
            assert_non_null(vl1_moon(h->vl1, 0, &id, &seed, &verified));
            assert_int_equal(seed, 0);
            assert_int_equal(verified, i != 6);
        }
        free(bytes);
        actor_free(root);
        host_free(h);
    }
}

/* WD-4, Do better 12: a world that does not verify under its own key is believed from the seed
 * only, and shown as not verified. */
static void test_unverified_moon_only_from_the_seed(void **state)
{
    json_t *last = json_array_get(vec_get(vl1_vectors(), "moon_first_acceptance"), 6);
    size_t len;
    uint8_t *bytes = vec_bytes(last, "serialized", &len);
    struct world *world = world_from_hex(vec_text(last, "serialized"));
    struct host *h = host_up("alice", "planet_v1");
    struct actor *root = actor_new("root1", h);
    struct actor *seed = actor_new("carol", h);
    uint64_t id;
    uint64_t from;
    bool verified = true;

    (void)state;
    assert_int_equal(seed->identity.address, 0xab1bac9345);
    assert_int_equal(vl1_orbit(h->vl1, world->id, seed->identity.address, h->now_ms), 0);
    host_know(h, &seed->identity, 12);
    ok_hello_with(root, h, ROOT1_AT, bytes, len);
    assert_null(vl1_moon(h->vl1, 0, &id, &from, &verified));
    ok_hello_with(seed, h, "192.0.2.77/9993", bytes, len);
    assert_non_null(vl1_moon(h->vl1, 0, &id, &from, &verified));
    assert_false(verified);
    assert_true(has_upstream(h, seed->identity.address));
    free(world);
    free(bytes);
    actor_free(root);
    actor_free(seed);
    host_free(h);
}

/* WD-5 */
static void test_custom_planet_file_vectors(void **state)
{
    json_t *it;
    size_t i;

    (void)state;
    json_array_foreach(vec_get(vl1_vectors(), "custom_planet_file"), i, it)
    {
        struct host *h = host_new("alice");
        size_t len;
        uint8_t *bytes = vec_bytes(it, "serialized", &len);
        struct stored *s;

        host_options(h, &(struct vl1_options){0});
        host_store(h, STATE_PLANET, 0, bytes, len);
        host_start(h);
        assert_int_equal(vl1_planet(h->vl1)->id, vec_hex_u64(it, "planet_id_in_use"));
        assert_int_equal(vl1_planet(h->vl1)->timestamp, vec_int(it, "planet_timestamp_in_use"));
        s = host_stored(h, STATE_PLANET, 0);
        assert_int_equal(s->len == len && memcmp(s->data, bytes, len) == 0,
                         vec_bool(it, "file_kept"));
        free(bytes);
        host_free(h);
    }
}

/* WD-6, 9.5: without a readable file the built-in planet is used and stored. */
static void test_default_planet(void **state)
{
    size_t len;
    uint8_t *bytes = vec_bytes(vec_get(vl1_vectors(), "default_planet"), "serialized", &len);

    (void)state;
    for (unsigned damaged = 0; damaged < 3; damaged++) {
        struct host *h = host_new("alice");
        struct stored *s;

        host_options(h, &(struct vl1_options){0});
        if (damaged == 1) {
            host_store(h, STATE_PLANET, 0, bytes, len - 1);
        } else if (damaged == 2) {
            host_store_world(h, "moon_v1");
            s = host_stored(h, STATE_MOON, 0xab1bac9345);
            host_store(h, STATE_PLANET, 0, s->data, s->len);
        }
        host_start(h);
        assert_int_equal(vl1_planet(h->vl1)->id, WORLD_ID_EARTH);
        assert_int_equal(vl1_upstreams(h->vl1, NULL, 0), 4);
        s = host_stored(h, STATE_PLANET, 0);
        assert_int_equal(s->len, len);
        assert_memory_equal(s->data, bytes, len);
        host_free(h);
    }
    free(bytes);
}

/* WD-8: worlds of anybody else are skipped, the rest of the OK counts. */
static void test_worlds_of_a_leaf_are_ignored(void **state)
{
    struct host *h = host_up("alice", "planet_v1");
    struct actor *bob = actor_new("bob", h);
    struct actor *root = actor_new("root1", h);
    size_t len;
    uint8_t *v2 = vec_bytes(vl1_named("worlds", "planet_v2"), "serialized", &len);

    (void)state;
    host_know(h, &bob->identity, 0);
    ok_hello_with(bob, h, "46.0.0.1/9993", v2, len);
    assert_int_equal(timestamp_of(h, true), 1700000000000);
    assert_int_equal(host_peer(h, bob->identity.address)->version.protocol, 12);
    assert_int_equal(host_peer(h, bob->identity.address)->path_count, 1);
    ok_hello_with(root, h, ROOT1_AT, v2, len);
    assert_int_equal(timestamp_of(h, true), 1700000001000);
    assert_int_equal(vl1_upstreams(h->vl1, NULL, 0), 1); /* root2 is a leaf now */
    free(v2);
    actor_free(bob);
    actor_free(root);
    host_free(h);
}

/* 3.2: a malformed definition ends the OK; those before it have been applied. */
static void test_malformed_world_ends_the_ok(void **state)
{
    struct host *h = host_up("alice", "planet_v1");
    struct actor *root = actor_new("root1", h);
    size_t len;
    uint8_t *v2 = vec_bytes(vl1_named("worlds", "planet_v2"), "serialized", &len);
    uint8_t both[2048];

    (void)state;
    memcpy(both, v2, len);
    memcpy(both + len, v2, len - 1);
    ok_hello_with(root, h, ROOT1_AT, both, 2 * len - 1);
    assert_int_equal(timestamp_of(h, true), 1700000001000);
    assert_true(host_peer(h, root->identity.address)->last_receive_ms == TIME_NEVER);
    free(v2);
    actor_free(root);
    host_free(h);
}

/* A signed update may give the very root that brings it another key: its peer goes while its packet
 * is being handled. */
static void test_update_that_replaces_its_bearer(void **state)
{
    struct host *h = host_up("alice", "planet_v1");
    struct actor *root = actor_new("root1", h);
    const json_t *v1 = vl1_named("worlds", "planet_v1");
    struct world *world = world_named("planet_v1");
    struct identity fresh = identity_made_up(root->identity.address);
    uint8_t bytes[WORLD_WIRE_MAX];
    struct wr w = wr_init(bytes, sizeof(bytes));
    size_t key_len;
    uint8_t *priv = vec_bytes(vec_get(v1, "update_key"), "private", &key_len);
    uint8_t *pub = vec_bytes(vec_get(v1, "update_key"), "public", &key_len);

    (void)state;
    for (unsigned i = 0; i < world->root_count; i++) {
        if (world->roots[i].identity.address == fresh.address) {
            world->roots[i].identity = fresh;
        }
    }
    world->timestamp++;
    world_sign(world, priv, pub);
    world_write(&w, world);
    assert_true(actor_answer(root, h, ROOT1_AT, 0, 12) > 0);
    ok_hello_with(root, h, ROOT1_AT, bytes, wr_len(&w));
    assert_int_equal(timestamp_of(h, true), 1700000000001);
    assert_true(identity_equal(&host_peer(h, fresh.address)->identity, &fresh));
    assert_true(host_peer(h, fresh.address)->last_receive_ms == TIME_NEVER);
    assert_int_equal(host_peer(h, fresh.address)->path_count, 0);
    host_run(h, 60000);
    free(priv);
    free(pub);
    free(world);
    actor_free(root);
    host_free(h);
}

/* 9.6: pending orbits are stored and come back after a restart; the seed is asked as soon as there
 * is a relay, and again when nobody knew it. */
static void test_pending_orbit_is_kept(void **state)
{
    struct identity carol = vl1_identity_of("carol");

    (void)state;
    for (unsigned restart = 0; restart < 2; restart++) {
        struct host *h = host_new("alice");
        struct actor *root = actor_new("root1", h);
        uint8_t record[16];
        uint64_t id;
        uint64_t seed;
        bool verified;
        struct opened_packet *p;

        host_store_world(h, "planet_v1");
        be64_put(record, 0xab1bac9345);
        be64_put(record + 8, carol.address);
        if (restart == 1) {
            host_store(h, STATE_ORBITS, 0, record, 16);
        }
        host_start(h);
        if (restart == 0) {
            assert_int_equal(vl1_orbit(h->vl1, 0xab1bac9345, carol.address, h->now_ms), 0);
            assert_int_equal(host_stored(h, STATE_ORBITS, 0)->len, 16);
            assert_memory_equal(host_stored(h, STATE_ORBITS, 0)->data, record, 16);
        }
        assert_null(vl1_moon(h->vl1, 0, &id, &seed, &verified));
        assert_int_equal(seed, carol.address);
        host_run(h, 20000);
        host_forget(h);
        host_run(h, 100);
        while (h->sent_count == 0) {
            host_run(h, 100);
        }
        assert_true(actor_answer(root, h, ROOT1_AT, 0, 12) > 0);
        p = actor_find(root, h, VERB_WHOIS, 0);
        assert_non_null(p);
        assert_int_equal(be40_get(p->data), carol.address);
        free(p);
        actor_run(root, h, ROOT1_AT, 10000, 12);
        host_forget(h);
        actor_run(root, h, ROOT1_AT, 60000, 12);
        assert_in_range(actor_count(root, h, VERB_WHOIS, 0), 1, 30);
        actor_free(root);
        host_free(h);
    }
}

/* WD-10 */
static void test_deorbit(void **state)
{
    struct host *h = host_new("alice");
    uint64_t id;
    uint64_t seed;
    bool verified;

    (void)state;
    host_store_world(h, "planet_v1");
    host_store_world(h, "moon_v1");
    host_start(h);
    assert_int_equal(vl1_orbit(h->vl1, 0xab1bac9345, 0, h->now_ms), 0);
    assert_int_equal(vl1_orbit(h->vl1, 0x99, 0x1234567890, h->now_ms), 0);
    assert_int_equal(vl1_upstreams(h->vl1, NULL, 0), 4);
    assert_int_equal(vl1_deorbit(h->vl1, 0xab1bac9345, h->now_ms), 0);
    assert_int_equal(vl1_upstreams(h->vl1, NULL, 0), 2);
    assert_null(host_stored(h, STATE_MOON, 0xab1bac9345));
    assert_false(peer_is_upstream(host_peer(h, 0xab1bac9345)));
    assert_int_equal(vl1_deorbit(h->vl1, 0xab1bac9345, h->now_ms), -ENOENT);
    assert_null(vl1_moon(h->vl1, 0, &id, &seed, &verified));
    assert_int_equal(id, 0x99);
    assert_int_equal(vl1_deorbit(h->vl1, 0x99, h->now_ms), 0);
    assert_null(host_stored(h, STATE_ORBITS, 0));
    assert_int_equal(vl1_orbit(h->vl1, 0x99, 0, h->now_ms), -ENOENT);
    host_free(h);
}

/* The table of moons is bounded; another seed for a pending one releases the first. */
static void test_orbits_are_bounded(void **state)
{
    struct host *h = host_up("alice", "planet_v1");
    struct identity bob = vl1_identity_of("bob");
    struct identity carol = vl1_identity_of("carol");

    (void)state;
    host_know(h, &bob, 12);
    host_know(h, &carol, 12);
    assert_int_equal(vl1_orbit(h->vl1, 1, bob.address, h->now_ms), 0);
    assert_int_equal(host_peer(h, bob.address)->keep, 1);
    assert_int_equal(vl1_orbit(h->vl1, 1, carol.address, h->now_ms), 0);
    assert_int_equal(host_peer(h, bob.address)->keep, 0);
    assert_int_equal(host_peer(h, carol.address)->keep, 1);
    for (uint64_t i = 2; i <= MOONS_MAX; i++) {
        assert_int_equal(vl1_orbit(h->vl1, i, 0x1234567890, h->now_ms), 0);
    }
    assert_int_equal(vl1_orbit(h->vl1, 1000, 0x1234567890, h->now_ms), -ENOSPC);
    host_run(h, 60000);
    host_free(h);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_update_chain_vectors),
        cmocka_unit_test(test_moon_first_acceptance_vectors),
        cmocka_unit_test(test_unverified_moon_only_from_the_seed),
        cmocka_unit_test(test_custom_planet_file_vectors),
        cmocka_unit_test(test_default_planet),
        cmocka_unit_test(test_worlds_of_a_leaf_are_ignored),
        cmocka_unit_test(test_malformed_world_ends_the_ok),
        cmocka_unit_test(test_update_that_replaces_its_bearer),
        cmocka_unit_test(test_pending_orbit_is_kept),
        cmocka_unit_test(test_deorbit),
        cmocka_unit_test(test_orbits_are_bounded),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
