/* HELLO and OK(HELLO) through vl1. Spec 01 section 10, spec 02 section 3.2. */
#include "bench.h"

#include "wire/identity.h"

#include <stdlib.h>
#include <string.h>

static const char *const ALICE_AT = "198.51.100.50/9993";

static struct ok_hello ok_hello_of(const struct opened_packet *p, uint64_t *ret_re_id)
{
    struct rd in = rd_init(p->data, p->len);
    struct reply_head head;
    struct ok_hello ok;

    assert_int_equal(p->verb, VERB_OK);
    assert_int_equal(ok_head_read(&in, &head), 0);
    assert_int_equal(head.verb, VERB_HELLO);
    assert_int_equal(ok_hello_decode(in, &ok), 0);
    *ret_re_id = head.id;
    return ok;
}

/* VB-1, VB-6, HE-7, VE-2: every HELLO authenticates, parses and is answered; then the other
 * direction is tried, to the address it came from only. */
static void test_hello_vectors_are_answered(void **state)
{
    json_t *it;
    size_t i;

    (void)state;
    json_array_foreach(vec_get(vl1_vectors(), "hello"), i, it)
    {
        struct host *bob = host_up("bob", "planet_v1");
        struct actor *alice = actor_new("alice", bob);
        const json_t *fields = vec_get(it, "fields");
        int64_t protocol = vec_int(fields, "protocol");
        struct inetaddr at = addr(ALICE_AT);
        struct inetaddr seen = at;
        size_t len;
        uint8_t *hello = vec_bytes(it, "armored", &len);
        struct opened_packet *ok;
        struct opened_packet *back;
        struct ok_hello msg;
        uint64_t re_id;

        host_forget(bob);
        host_receive(bob, SOCK, ALICE_AT, hello, len);
        assert_int_equal(actor_count(alice, bob, -1, 0), 2);
        ok = actor_find(alice, bob, VERB_OK, 0);
        back = actor_find(alice, bob, VERB_HELLO, 0);
        assert_non_null(ok);
        assert_non_null(back);
        msg = ok_hello_of(ok, &re_id);
        seen.port = protocol < 5 ? 0 : seen.port;
        assert_int_equal(re_id, vec_hex_u64(it, "wire_packet_id"));
        assert_int_equal(msg.timestamp, vec_int(fields, "timestamp"));
        assert_int_equal(msg.version.protocol, 12);
        assert_true(msg.has_address && inetaddr_equal(&msg.address, &seen));
        assert_true(msg.has_worlds && msg.worlds_len == 0);
        assert_int_equal(PACKET_AT_PAYLOAD + ok->len, 59);
        assert_true(inetaddr_equal(&ok->to, &at) && ok->socket == SOCK);
        assert_true(inetaddr_equal(&back->to, &at) && back->socket == SOCK);
        assert_int_equal(back->suite, SUITE_POLY1305);
        assert_int_equal(PACKET_AT_PAYLOAD + back->len, 137);
        assert_int_equal(host_peer(bob, alice->identity.address)->version.protocol, protocol);
        assert_int_equal(host_peer(bob, alice->identity.address)->path_count, 0);
        free(ok);
        free(back);
        free(hello);
        actor_free(alice);
        host_free(bob);
    }
}

/* VB-2, HE-4 */
static void test_hello_rejected_vectors_have_no_effect(void **state)
{
    json_t *it;
    size_t i;

    (void)state;
    json_array_foreach(vec_get(vl1_vectors(), "hello_rejected"), i, it)
    {
        struct host *bob = host_up("bob", NULL);
        size_t len;
        uint8_t *hello = vec_bytes(it, "armored", &len);

        host_receive(bob, SOCK, ALICE_AT, hello, len);
        host_jobs(bob);
        assert_int_equal(bob->sent_count, 0);
        assert_int_equal(vl1_peer_count(bob->vl1), 0);
        free(hello);
        host_free(bob);
    }
}

/* Seal the first len bytes of a HELLO payload. */
static size_t hello_cut(struct actor *a, const struct host *h, enum cipher_suite suite,
                        uint8_t protocol, size_t len, uint8_t pkt[PACKET_MAX])
{
    uint8_t whole[PACKET_MAX];
    uint8_t payload[PACKET_MAX];

    (void)!actor_hello(a, h, protocol, "10.0.0.1/9993", NULL, 0, whole);
    memcpy(payload, whole + PACKET_AT_PAYLOAD, len);
    return actor_seal(a, h, suite, VERB_HELLO, payload, len, pkt, NULL);
}

/* HE-4, HE-7: authentic HELLOs that end in the middle of a field are dropped; those that end after
 * the identity, the address or the planet are old forms. */
static void test_truncated_hello_is_dropped(void **state)
{
    (void)state;
    for (size_t len = 0; len <= 91; len++) {
        struct host *bob = host_up("bob", NULL);
        struct actor *alice = actor_new("alice", bob);
        uint8_t pkt[PACKET_MAX];
        size_t n = hello_cut(alice, bob, SUITE_POLY1305, 12, len, pkt);
        bool whole = len == 84 || len == 91;

        host_receive(bob, SOCK, ALICE_AT, pkt, n);
        assert_int_equal(actor_count(alice, bob, VERB_OK, 0), whole);
        assert_int_equal(vl1_peer_count(bob->vl1), whole);
        actor_free(alice);
        host_free(bob);
    }
}

/* HE-8: a moon count larger than the data. */
static void test_moon_count_beyond_data_is_dropped(void **state)
{
    struct host *bob = host_up("bob", NULL);
    struct actor *alice = actor_new("alice", bob);
    uint8_t pkt[PACKET_MAX];
    size_t len = actor_hello(alice, bob, 12, "10.0.0.1/9993", NULL, 0, pkt);
    size_t tail = len - 2;

    (void)state;
    hello_mask(pkt, len, tail, &alice->keys);
    be16_put(pkt + tail, 1);
    hello_mask(pkt, len, tail, &alice->keys);
    armor_seal(pkt, len, SUITE_POLY1305, &alice->keys);
    host_receive(bob, SOCK, ALICE_AT, pkt, len);
    assert_int_equal(bob->sent_count, 0);
    actor_free(alice);
    host_free(bob);
}

/* HE-4: authentic HELLOs with an identity or address of unknown type. */
static void test_unknown_types_are_dropped(void **state)
{
    static const size_t at[] = {HELLO_AT_IDENTITY + 5, 84};

    (void)state;
    for (size_t i = 0; i < COUNT_OF(at); i++) {
        for (unsigned type = 5; type < 256; type += 2) {
            struct host *bob = host_up("bob", NULL);
            struct actor *alice = actor_new("alice", bob);
            uint8_t whole[PACKET_MAX];
            uint8_t pkt[PACKET_MAX];
            size_t len = hello_cut(alice, bob, SUITE_POLY1305, 12, 107, whole);

            whole[PACKET_AT_PAYLOAD + at[i]] = (uint8_t)type;
            len = actor_seal(alice, bob, SUITE_POLY1305, VERB_HELLO, whole + PACKET_AT_PAYLOAD,
                             len - PACKET_AT_PAYLOAD, pkt, NULL);
            host_receive(bob, SOCK, ALICE_AT, pkt, len);
            assert_int_equal(bob->sent_count, 0);
            assert_int_equal(vl1_peer_count(bob->vl1), 0);
            actor_free(alice);
            host_free(bob);
        }
    }
}

/* HE-8: an entry that is no moon is skipped, the moon behind it is brought. */
static void test_entries_of_other_types_are_skipped(void **state)
{
    const json_t *vec = vl1_named("hello", "first tuple not a moon (skipped), then a wanted moon");
    struct host *bob = host_new("bob");
    struct actor *alice = actor_new("alice", bob);
    size_t len;
    uint8_t *hello = vec_bytes(vec, "armored", &len);
    size_t moon_len;
    uint8_t *moon = vec_bytes(vl1_named("worlds", "moon_v1"), "serialized", &moon_len);
    struct opened_packet *p;
    struct ok_hello ok;
    uint64_t re_id;

    (void)state;
    host_store_world(bob, "planet_v1");
    host_store_world(bob, "moon_v1");
    host_start(bob);
    assert_int_equal(vl1_orbit(bob->vl1, 0xab1bac9345, 0, bob->now_ms), 0);
    host_receive(bob, SOCK, ALICE_AT, hello, len);
    p = actor_find(alice, bob, VERB_OK, 0);
    assert_non_null(p);
    ok = ok_hello_of(p, &re_id);
    assert_int_equal(ok.worlds_len, moon_len);
    assert_memory_equal(ok.worlds, moon, moon_len);
    free(p);
    free(moon);
    free(hello);
    actor_free(alice);
    host_free(bob);
}

/* HE-9: HELLO in any suite from a known peer. */
static void test_hello_in_other_suites_of_a_known_peer(void **state)
{
    static const enum cipher_suite suites[] = {SUITE_SALSA_POLY1305, SUITE_AES_GMAC_SIV};

    (void)state;
    for (size_t i = 0; i < COUNT_OF(suites); i++) {
        struct host *bob = host_up("bob", NULL);
        struct actor *alice = actor_new("alice", bob);
        uint8_t pkt[PACKET_MAX];
        size_t len = hello_cut(alice, bob, suites[i], 9, 107, pkt);

        host_know(bob, &alice->identity, 0);
        host_receive(bob, SOCK, ALICE_AT, pkt, len);
        assert_int_equal(actor_count(alice, bob, VERB_OK, 0), 1);
        assert_int_equal(host_peer(bob, alice->identity.address)->version.protocol, 9);
        actor_free(alice);
        host_free(bob);
    }
}

/* HE-5: no job for a HELLO with a wrong MAC; the real check refuses a made-up address. */
static void test_mac_comes_before_the_address_hash(void **state)
{
    struct host *bob = host_up("bob", NULL);
    struct actor *alice = actor_new("alice", bob);
    struct identity forged = identity_made_up(0x1122334455);
    struct actor *liar = actor_new_identity(&forged, bob);
    uint8_t pkt[PACKET_MAX];
    size_t len = actor_hello(alice, bob, 12, "10.0.0.1/9993", NULL, 0, pkt);

    (void)state;
    bob->job_mode = JOBS_HOLD;
    pkt[PACKET_AT_MAC] ^= 1;
    host_receive(bob, SOCK, ALICE_AT, pkt, len);
    assert_int_equal(bob->job_count, 0);
    pkt[PACKET_AT_MAC] ^= 1;
    host_receive(bob, SOCK, ALICE_AT, pkt, len);
    assert_int_equal(bob->job_count, 1);
    assert_int_equal(bob->sent_count, 0);
    assert_int_equal(vl1_peer_count(bob->vl1), 0);

    len = actor_hello(liar, bob, 12, "10.0.0.1/9993", NULL, 0, pkt);
    host_receive(bob, SOCK, "46.0.0.9/9993", pkt, len);
    assert_int_equal(bob->job_count, 2);
    bob->job_mode = JOBS_RUN;
    host_jobs(bob);
    assert_non_null(host_peer(bob, alice->identity.address));
    assert_null(host_peer(bob, forged.address));
    assert_int_equal(actor_count(liar, bob, -1, 0), 0);
    actor_free(alice);
    actor_free(liar);
    host_free(bob);
}

/* HE-5: per source block, and for all blocks together. */
static void test_strangers_are_rate_gated(void **state)
{
    struct host *bob = host_up("bob", NULL);
    uint8_t pkt[PACKET_MAX];
    unsigned agreed = 0;

    (void)state;
    bob->job_mode = JOBS_REFUSE; /* what comes that far has cost a key agreement */
    for (unsigned i = 0; i < 40; i++) {
        struct identity id = identity_made_up(0x1000000000 + i);
        struct actor *a = actor_new_identity(&id, bob);
        size_t len = actor_hello(a, bob, 12, "10.0.0.1/9993", NULL, 0, pkt);
        char from[INETADDR_TEXT_LEN];

        pkt[len - 1] ^= 1; /* MAC wrong: counted as such when it was checked */
        snprintf(from, sizeof(from), "46.1.2.%u/9993", i);
        host_receive(bob, SOCK, from, pkt, len);
        actor_free(a);
    }
    agreed = (unsigned)host_count(bob, VL1_DROP_MAC);
    assert_int_equal(agreed, VALIDATE_BURST);
    assert_int_equal(host_count(bob, VL1_DROP_HELLO_RATE), 40 - VALIDATE_BURST);
    assert_int_equal(bob->loads, VALIDATE_BURST);
    host_run(bob, 1000);
    for (unsigned i = 0; i < 2000; i++) {
        struct identity id = identity_made_up(0x2000000000);
        struct actor *a = actor_new_identity(&id, bob);
        size_t len = actor_hello(a, bob, 12, "10.0.0.1/9993", NULL, 0, pkt);
        char from[INETADDR_TEXT_LEN];

        pkt[len - 1] ^= 1;
        snprintf(from, sizeof(from), "46.%u.%u.1/9993", i / 200, i % 200);
        host_receive(bob, SOCK, from, pkt, len);
        actor_free(a);
    }
    assert_int_equal(host_count(bob, VL1_DROP_MAC) - agreed, STRANGERS_BURST);
    host_free(bob);
}

/* VB-18: copies over different paths, also while the sender is still being checked. */
static void test_copies_of_a_hello_are_each_answered(void **state)
{
    static const char *const from[] = {ALICE_AT, "198.51.100.50/40000", "198.51.100.51/9993"};
    struct host *bob = host_up("bob", NULL);
    struct actor *alice = actor_new("alice", bob);
    uint8_t pkt[PACKET_MAX];
    size_t len = actor_hello(alice, bob, 12, "10.0.0.1/9993", NULL, 0, pkt);

    (void)state;
    for (unsigned known = 0; known < 2; known++) {
        bob->job_mode = JOBS_HOLD;
        host_forget(bob);
        for (size_t i = 0; i < COUNT_OF(from); i++) {
            host_receive(bob, SOCK, from[i], pkt, len);
            host_receive(bob, SOCK, from[0], pkt, len);
        }
        assert_int_equal(bob->job_count, known == 0);
        host_jobs(bob);
        for (size_t i = 0; i < COUNT_OF(from); i++) {
            struct inetaddr to = addr(from[i]);
            struct opened_packet *p;
            unsigned oks = 0;

            for (size_t at = 0; (p = actor_find(alice, bob, VERB_OK, at)) != NULL; free(p)) {
                at = p->index + 1;
                oks += inetaddr_equal(&p->to, &to);
            }
            assert_true(oks >= 1);
        }
    }
    actor_free(alice);
    host_free(bob);
}

/* HE-6, VB-21: the known peer does not change, and the new identity can read the ERROR whatever
 * version the known one has. */
static void test_collision_is_told_in_keys_of_the_hello(void **state)
{
    json_t *section = vec_get(vl1_vectors(), "identity_collision");
    const char *fake_text = vec_text(section, "fake_secret");
    struct identity fake;
    json_t *reply;
    size_t i;

    (void)state;
    assert_int_equal(identity_parse(fake_text, strlen(fake_text), &fake), 0);
    json_array_foreach(vec_get(section, "replies"), i, reply)
    {
        struct host *bob = host_up("bob", NULL);
        struct identity alice = vl1_identity_of("alice");
        struct actor *liar = actor_new_identity(&fake, bob);
        size_t len;
        size_t want_len;
        uint8_t *hello = vec_bytes(section, "hello_armored", &len);
        uint8_t *want = hex_bytes("01d1b65698410d98a604", &want_len);
        struct opened_packet *p;

        host_know(bob, &alice, (uint8_t)vec_int(reply, "known_alice_protocol"));
        host_receive(bob, SOCK, ALICE_AT, hello, len);
        p = actor_find(liar, bob, VERB_ERROR, 0);
        assert_non_null(p);
        assert_int_equal(bob->sent_count, 1);
        assert_int_equal(p->len, want_len);
        assert_memory_equal(p->data, want, want_len);
        assert_true(identity_equal(&host_peer(bob, alice.address)->identity, &alice));
        assert_true(host_peer(bob, alice.address)->last_receive_ms == TIME_NEVER);
        free(p);
        free(hello);
        free(want);
        actor_free(liar);
        host_free(bob);
    }
}

/* A recorded HELLO is answered, but tells nothing any more: no version, no address, no life of a
 * path. The newest may come by several paths for ten seconds; a clock set back is believed later.
 */
static void test_outdated_hello_tells_nothing(void **state)
{
    struct host *h = host_up("alice", NULL);
    struct actor *bob = actor_new("bob", h);
    uint8_t old[PACKET_MAX];
    size_t len = actor_hello(bob, h, 11, "10.0.0.99/9993", NULL, 0, old);
    uint8_t newer[PACKET_MAX];
    size_t newer_len;
    struct peer *peer;
    struct inetaddr seen[4];

    (void)state;
    host_run(h, 1000);
    actor_meet(bob, h, "10.0.0.7/9993", 12);
    peer = host_peer(h, bob->identity.address);
    assert_int_equal(vl1_surfaces(h->vl1, seen, 4), 1);
    host_run(h, 20000);
    host_forget(h);
    host_receive(h, SOCK, "10.0.0.7/9993", old, len);
    assert_int_equal(actor_count(bob, h, VERB_OK, 0), 1);
    assert_int_equal(peer->version.protocol, 12);
    assert_int_equal(vl1_surfaces(h->vl1, seen, 4), 1);
    assert_int_equal(peer->last_receive_ms, h->now_ms - 20000);
    assert_int_equal(peer->paths[0].last_in_ms, h->now_ms - 20000);

    host_forget(h); /* but from a new address it may be somebody whose clock was set back */
    host_receive(h, SOCK, "10.0.0.8/9993", old, len);
    assert_int_equal(actor_count(bob, h, VERB_HELLO, 0), 1);

    newer_len = actor_hello(bob, h, 12, "10.0.0.1/9993", NULL, 0, newer);
    host_receive(h, SOCK, "10.0.0.7/9993", newer, newer_len);
    assert_int_equal(peer->last_receive_ms, h->now_ms);
    host_run(h, 9000);
    host_receive(h, SOCK, "10.0.0.7/9993", newer, newer_len);
    assert_int_equal(peer->last_receive_ms, h->now_ms);
    host_run(h, 2000);
    host_receive(h, SOCK, "10.0.0.7/9993", newer, newer_len);
    assert_int_equal(peer->last_receive_ms, h->now_ms - 2000);
    actor_run(bob, h, "10.0.0.7/9993", 300000, 12);
    actor_send(bob, h, "10.0.0.7/9993", SUITE_AES_GMAC_SIV, VERB_NOP, "", 0);
    actor_run(bob, h, "10.0.0.7/9993", 300000, 12);
    host_receive(h, SOCK, "10.0.0.7/9993", old, len);
    assert_int_equal(host_peer(h, bob->identity.address)->version.protocol, 11);
    actor_free(bob);
    host_free(h);
}

/* VB-4, VB-7, RX-11: an OK(HELLO) is believed only when awaited. Worlds only from whom they may
 * come. */
static void test_ok_hello_vectors(void **state)
{
    json_t *it;
    size_t i;

    (void)state;
    json_array_foreach(vec_get(vl1_vectors(), "ok_hello"), i, it)
    {
        for (unsigned seed = 0; seed < 2; seed++) {
            struct host *alice = host_up("alice", "planet_v1");
            struct identity bob = vl1_identity_of("bob");
            struct peer *peer = host_know(alice, &bob, 0);
            const json_t *fields = vec_get(it, "fields");
            size_t len;
            uint8_t *ok = vec_bytes(it, "armored", &len);
            bool has_address = json_object_get(fields, "your_address") != NULL;
            bool worlds = has_address && vec_int(fields, "worlds") > 0;
            struct inetaddr mine =
                has_address ? addr(vec_text(fields, "your_address")) : (struct inetaddr){0};
            const char *from =
                mine.family == INETADDR_V6 ? "2001:db8:10::1/9993" : "198.51.100.10/9993";
            struct inetaddr reported[4];

            if (seed == 1) {
                assert_int_equal(vl1_orbit(alice->vl1, 0xab1bac9345, bob.address, alice->now_ms),
                                 0);
            }
            host_receive(alice, SOCK, from, ok, len);
            assert_int_equal(peer->version.protocol, 0);
            assert_int_equal(peer->path_count, 0);
            assert_true(peer->last_receive_ms == TIME_NEVER);
            assert_int_equal(vl1_planet(alice->vl1)->timestamp, 1700000000000);
            assert_int_equal(vl1_surfaces(alice->vl1, reported, 4), 0);

            host_run(alice, 11000); /* the filter of duplicates has forgotten it */
            await_add(alice->vl1, 0x1122334455667700, bob.address, VERB_HELLO, alice->now_ms - 30);
            host_receive(alice, SOCK, from, ok, len);
            assert_int_equal(peer->version.protocol, 12);
            assert_int_equal(peer->version.minor, 14);
            assert_int_equal(peer->path_count, 1);
            assert_int_equal(peer->paths[0].latency_ms, 30);
            assert_int_equal(vl1_planet(alice->vl1)->timestamp,
                             seed == 1 && worlds ? 1700000001000 : 1700000000000);
            assert_false(vl1_is_root(alice->vl1));
            if (has_address) {
                assert_int_equal(vl1_surfaces(alice->vl1, reported, 4), 1);
                assert_true(inetaddr_equal(&reported[0], &mine));
            }
            free(ok);
            host_free(alice);
        }
    }
}

/* VB-7 */
static void test_ok_hello_of_protocol_3_is_ignored(void **state)
{
    struct host *alice = host_up("alice", NULL);
    struct actor *bob = actor_new("bob", alice);
    struct peer *peer = host_know(alice, &bob->identity, 0);
    uint8_t body[64];

    (void)state;
    for (uint8_t protocol = 3; protocol <= 4; protocol++) {
        struct wr w = wr_init(body, sizeof(body));

        await_add(alice->vl1, 5, bob->identity.address, VERB_HELLO, alice->now_ms);
        ok_head_write(&w, &(struct reply_head){VERB_HELLO, 5});
        ok_hello_encode(&w, &(struct ok_hello){.version = {.protocol = protocol}});
        actor_send(bob, alice, "46.0.0.1/9993", SUITE_SALSA_POLY1305, VERB_OK, body, wr_len(&w));
        assert_int_equal(peer->path_count, protocol - 3);
        assert_int_equal(peer->version.protocol, protocol == 3 ? 0 : 4);
    }
    actor_free(bob);
    host_free(alice);
}

static struct ok_hello answer_to(struct actor *a, struct host *h, uint64_t planet_id,
                                 uint64_t planet_ts, const struct hello_moon *moons, size_t count,
                                 struct opened_packet **ret_p)
{
    uint8_t pkt[PACKET_MAX];
    struct hello hello = {.version = {.protocol = 12},
                          .identity = a->identity,
                          .has_address = true,
                          .has_planet = true,
                          .planet_id = planet_id,
                          .planet_timestamp = planet_ts,
                          .has_tail = true};
    struct wr w = wr_init(pkt + PACKET_AT_PAYLOAD, PACKET_PAYLOAD_MAX);
    size_t since = h->sent_count;
    uint64_t re_id;
    size_t tail;

    packet_start(pkt, a->next_id++, h->identity.address, a->identity.address, VERB_HELLO);
    tail = hello_encode(&w, &hello, moons, count);
    hello_mask(pkt, PACKET_AT_PAYLOAD + wr_len(&w), PACKET_AT_PAYLOAD + tail, &a->keys);
    armor_seal(pkt, PACKET_AT_PAYLOAD + wr_len(&w), SUITE_POLY1305, &a->keys);
    host_receive(h, SOCK, "46.0.0.1/9993", pkt, PACKET_AT_PAYLOAD + wr_len(&w));
    *ret_p = actor_find(a, h, VERB_OK, since);
    assert_non_null(*ret_p);
    return ok_hello_of(*ret_p, &re_id);
}

/* VB-5, TX-7: which worlds an OK brings, and that it is cut when it is large. */
static void test_ok_hello_brings_newer_worlds(void **state)
{
    static const struct {
        uint64_t planet_id;
        uint64_t planet_ts;
        int moon; /* -1 not listed, 0 wanted, 1 older, 2 same, 3 another one listed */
        unsigned worlds;
    } cases[] = {
        {0xc0ffee01, 1700000000000, -1, 0},
        {0xc0ffee01, 1699999999999, -1, 1},
        {0, 0, -1, 0},
        {0xc0ffee02, 1, -1, 0},
        {0xc0ffee01, 1700000000001, 0, 1},
        {0xc0ffee01, 1700000000000, 1, 1},
        {0xc0ffee01, 1700000000000, 2, 0},
        {0xc0ffee01, 1700000000000, 3, 0},
        {0xc0ffee01, 1, 0, 2},
    };
    struct host *bob = host_new("bob");
    struct actor *alice = actor_new("alice", bob);

    (void)state;
    host_store_world(bob, "planet_v1");
    host_store_world(bob, "moon_v1");
    host_start(bob);
    assert_int_equal(vl1_orbit(bob->vl1, 0xab1bac9345, 0, bob->now_ms), 0);
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        static const uint64_t stamps[] = {0, 1699999999999, 1700000000000, 0};
        struct hello_moon moon = {cases[i].moon == 3 ? 0xab1bac9346 : 0xab1bac9345,
                                  cases[i].moon >= 0 ? stamps[cases[i].moon] : 0};
        struct opened_packet *p;
        struct ok_hello ok = answer_to(alice, bob, cases[i].planet_id, cases[i].planet_ts, &moon,
                                       cases[i].moon >= 0, &p);
        struct rd in = rd_init(ok.worlds, ok.worlds_len);
        unsigned count = 0;
        struct world *world = calloc(1, sizeof(*world));

        while (rd_left(&in) > 0) {
            assert_int_equal(world_read(&in, world), 0);
            count++;
        }
        assert_int_equal(count, cases[i].worlds);
        free(world);
        free(p);
        host_run(bob, WORLDS_MS); /* they are not given twice at once */
    }
    actor_free(alice);
    host_free(bob);
}

/* What a forged source address can make of a HELLO: not more than one large answer a second. */
static void test_worlds_are_not_given_twice_in_a_second(void **state)
{
    struct host *bob = host_up("bob", "planet_v1");
    struct actor *alice = actor_new("alice", bob);
    struct opened_packet *p;

    (void)state;
    assert_true(answer_to(alice, bob, 0xc0ffee01, 1, NULL, 0, &p).worlds_len > 0);
    free(p);
    assert_int_equal(answer_to(alice, bob, 0xc0ffee01, 1, NULL, 0, &p).worlds_len, 0);
    free(p);
    host_run(bob, 1000);
    assert_true(answer_to(alice, bob, 0xc0ffee01, 1, NULL, 0, &p).worlds_len > 0);
    free(p);
    actor_free(alice);
    host_free(bob);
}

/* However many identities somebody makes, few large answers a second go to where they only say to
 * be; who is proved to be there gets his. */
static void test_worlds_for_the_unproved_are_bounded(void **state)
{
    struct host *bob = host_up("bob", "planet_v1");
    struct actor *alice = actor_new("alice", bob);
    struct opened_packet *p;
    struct peer *peer;
    unsigned given = 0;

    (void)state;
    for (unsigned i = 0; i < 2 * WORLDS_BURST; i++) {
        given += answer_to(alice, bob, 0xc0ffee01, 1, NULL, 0, &p).worlds_len > 0;
        free(p);
        peer = host_peer(bob, alice->identity.address);
        peer->last_worlds_ms = peer->hello_credit_ms = TIME_NEVER; /* as if another */
        host_run(bob, 1);
    }
    assert_in_range(given, WORLDS_BURST, WORLDS_BURST + 2 * WORLDS_BURST / WORLDS_GAP_MS + 1);
    host_run(bob, PROBE_GATE_MS);
    actor_meet(alice, bob, "46.0.0.1/9993", 12);
    bob->vl1->worlds_credit_ms = bob->now_ms + 2 * WORLDS_BURST * WORLDS_GAP_MS;
    peer->last_worlds_ms = peer->hello_credit_ms = TIME_NEVER;
    assert_true(answer_to(alice, bob, 0xc0ffee01, 1, NULL, 0, &p).worlds_len > 0);
    free(p);
    actor_free(alice);
    host_free(bob);
}

/* TX-7 */
static void test_large_ok_hello_is_fragmented(void **state)
{
    struct host *bob = host_new("bob");
    struct actor *alice = actor_new("alice", bob);
    struct world *planet = world_named("planet_v1");
    uint8_t bytes[WORLD_WIRE_MAX];
    struct wr w = wr_init(bytes, sizeof(bytes));
    struct opened_packet *p;
    struct ok_hello ok;

    (void)state;
    for (unsigned r = 0; r < planet->root_count; r++) {
        planet->roots[r].endpoint_count = WORLD_ENDPOINTS_MAX;
        for (unsigned k = 0; k < WORLD_ENDPOINTS_MAX; k++) {
            planet->roots[r].endpoints[k] = addr("2606:4700::1/9993");
            planet->roots[r].endpoints[k].port = (uint16_t)(k + 1);
        }
    }
    world_write(&w, planet);
    host_store(bob, STATE_PLANET, 0, bytes, wr_len(&w));
    host_start(bob);
    ok = answer_to(alice, bob, 0xc0ffee01, 1, NULL, 0, &p);
    assert_int_equal(ok.worlds_len, wr_len(&w));
    assert_memory_equal(ok.worlds, bytes, wr_len(&w));
    assert_int_equal(p->datagrams, 2);
    for (size_t i = 0; i < bob->sent_count; i++) {
        assert_true(host_sent(bob, i)->len <= MTU_PHYSICAL_DEFAULT);
    }
    free(p);
    free(planet);
    actor_free(alice);
    host_free(bob);
}

/* VB-3: what our HELLO says, moons included. */
static void test_own_hello_lists_worlds(void **state)
{
    struct host *alice = host_new("alice");
    struct actor *root = actor_new("root1", alice);
    struct inetaddr at = addr("198.51.100.10/9993");
    struct opened_packet *p = NULL;
    struct hello hello;
    struct hello_moons moons;
    struct hello_moon moon;
    uint8_t pkt[PACKET_MAX];

    (void)state;
    host_store_world(alice, "planet_v1");
    host_store_world(alice, "moon_v1");
    host_start(alice);
    assert_int_equal(vl1_orbit(alice->vl1, 0xab1bac9345, 0, alice->now_ms), 0);
    assert_int_equal(vl1_orbit(alice->vl1, 0x77, 0x8888888888, alice->now_ms), 0);
    host_forget(alice);
    host_run(alice, 20000);
    for (size_t i = 0; p == NULL || !inetaddr_equal(&p->to, &at);) {
        free(p);
        p = actor_find(root, alice, VERB_HELLO, i);
        assert_non_null(p);
        i = p->index + 1;
    }
    assert_int_equal(p->suite, SUITE_POLY1305);
    assert_int_equal(hello_decode(rd_init(p->data, p->len), &hello), 0);
    assert_true(hello.has_address && inetaddr_equal(&hello.address, &at));
    assert_int_equal(hello.version.protocol, 12);
    assert_int_equal(hello.version.major, 1);
    assert_int_equal(hello.version.minor, 2);
    assert_int_equal(hello.version.revision, 3);
    assert_int_equal(hello.timestamp, 1700000000000 + host_sent(alice, p->index)->at_ms - NOW);
    assert_true(identity_equal(&hello.identity, &alice->identity));
    assert_int_equal(hello.planet_id, 0xc0ffee01);
    assert_int_equal(hello.planet_timestamp, 1700000000000);
    assert_true(hello.has_tail);
    packet_start(pkt, p->id, p->dest, p->source, VERB_HELLO);
    memcpy(pkt + PACKET_AT_PAYLOAD, p->data, p->len);
    hello_mask(pkt, PACKET_AT_PAYLOAD + p->len, PACKET_AT_PAYLOAD + hello.tail_at, &root->keys);
    assert_int_equal(
        hello_decode_tail(pkt + PACKET_AT_PAYLOAD + hello.tail_at, p->len - hello.tail_at, &moons),
        0);
    assert_true(hello_moons_next(&moons, &moon));
    assert_int_equal(moon.id, 0xab1bac9345);
    assert_int_equal(moon.timestamp, 1700000000000);
    assert_true(hello_moons_next(&moons, &moon));
    assert_int_equal(moon.id, 0x77);
    assert_int_equal(moon.timestamp, 0);
    assert_false(hello_moons_next(&moons, &moon));
    free(p);
    actor_free(root);
    host_free(alice);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_hello_vectors_are_answered),
        cmocka_unit_test(test_hello_rejected_vectors_have_no_effect),
        cmocka_unit_test(test_truncated_hello_is_dropped),
        cmocka_unit_test(test_moon_count_beyond_data_is_dropped),
        cmocka_unit_test(test_unknown_types_are_dropped),
        cmocka_unit_test(test_entries_of_other_types_are_skipped),
        cmocka_unit_test(test_hello_in_other_suites_of_a_known_peer),
        cmocka_unit_test(test_mac_comes_before_the_address_hash),
        cmocka_unit_test(test_strangers_are_rate_gated),
        cmocka_unit_test(test_copies_of_a_hello_are_each_answered),
        cmocka_unit_test(test_collision_is_told_in_keys_of_the_hello),
        cmocka_unit_test(test_outdated_hello_tells_nothing),
        cmocka_unit_test(test_ok_hello_vectors),
        cmocka_unit_test(test_ok_hello_of_protocol_3_is_ignored),
        cmocka_unit_test(test_ok_hello_brings_newer_worlds),
        cmocka_unit_test(test_worlds_are_not_given_twice_in_a_second),
        cmocka_unit_test(test_worlds_for_the_unproved_are_bounded),
        cmocka_unit_test(test_large_ok_hello_is_fragmented),
        cmocka_unit_test(test_own_hello_lists_worlds),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
