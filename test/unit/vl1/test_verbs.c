/* The verbs of VL1 as a host receives them. Spec 02 section 3. */
#include "bench.h"

#include "wire/identity.h"

#include <stdlib.h>
#include <string.h>

static const char *const BOB_AT = "46.0.0.1/9993";
static const char *const ROOT1_AT = "198.51.100.10/9993";
static const char *const ROOT2_AT = "203.0.113.20/443";

/* alice with planet_v1, online with root1. */
static struct host *online(struct actor **ret_root)
{
    struct host *h = host_up("alice", "planet_v1");
    struct actor *root = actor_new("root1", h);

    assert_true(actor_answer(root, h, ROOT1_AT, 0, 12) > 0);
    assert_true(vl1_online(h->vl1));
    assert_int_equal(h->online_calls, 1);
    host_forget(h);
    *ret_root = root;
    return h;
}

static void known_addresses(uint8_t *body, const uint64_t *addresses, size_t count)
{
    struct wr w = wr_init(body, count * 5);

    whois_encode(&w, addresses, count);
    assert_false(w.bad);
}

/* ---- WHOIS ---- */

/* VB-9: one OK with the known ones, nothing when none is known; a remainder is ignored. */
static void test_whois_answers_what_is_known(void **state)
{
    struct host *h = host_up("alice", "planet_v1");
    struct actor *bob = actor_new("bob", h);
    struct identity carol = vl1_identity_of("carol");
    struct identity dave = vl1_identity_of("dave");
    const uint64_t ask[] = {dave.address, carol.address, h->identity.address};
    uint8_t body[64];
    struct opened_packet *p;
    struct identity got;
    struct reply_head head;
    struct rd in;
    uint64_t id;

    (void)state;
    host_know(h, &carol, 12);
    actor_meet(bob, h, BOB_AT, 12);
    host_forget(h);
    known_addresses(body, ask, 3);
    id = actor_send(bob, h, BOB_AT, SUITE_AES_GMAC_SIV, VERB_WHOIS, body, 15 + 4);
    assert_int_equal(actor_count(bob, h, VERB_OK, 0), 1);
    p = actor_find(bob, h, VERB_OK, 0);
    in = rd_init(p->data, p->len);
    assert_int_equal(ok_head_read(&in, &head), 0);
    assert_int_equal(head.verb, VERB_WHOIS);
    assert_int_equal(head.id, id);
    assert_int_equal(ok_whois_next(&in, &got), 1);
    assert_true(identity_equal(&got, &carol));
    assert_int_equal(ok_whois_next(&in, &got), 1);
    assert_true(identity_equal(&got, &h->identity));
    assert_false(got.has_private);
    assert_int_equal(ok_whois_next(&in, &got), 0);
    free(p);

    host_run(h, 200);
    host_forget(h);
    known_addresses(body, ask, 1);
    actor_send(bob, h, BOB_AT, SUITE_AES_GMAC_SIV, VERB_WHOIS, body, 5);
    assert_int_equal(actor_count(bob, h, VERB_OK, 0), 0);
    actor_free(bob);
    host_free(h);
}

/* Where its sender is not known to be one address of a question is answered: the answer may be many
 * times larger, and whoever has a key could have it sent to anybody. */
static void test_whois_is_no_amplifier(void **state)
{
    static const char *const from[] = {BOB_AT, "46.0.0.2/9993", "203.0.113.20/443"};
    static const unsigned answers[] = {3, 1, 3};
    static const unsigned hops[] = {0, 0, 1};
    struct host *h = host_up("root1", "planet_v1");
    struct actor *bob = actor_new("bob", h);
    struct actor *root2 = actor_new("root2", h);
    uint8_t body[15];

    (void)state;
    actor_meet(bob, h, BOB_AT, 12);
    actor_meet(root2, h, "203.0.113.20/443", 12);
    for (size_t i = 0; i < COUNT_OF(from); i++) {
        uint64_t self = h->identity.address;
        struct opened_packet *p;

        host_forget(h);
        known_addresses(body, (uint64_t[]){self, self, self}, 3);
        actor_send_hops(bob, h, from[i], SUITE_AES_GMAC_SIV, VERB_WHOIS, body, 15, hops[i]);
        p = actor_find(bob, h, VERB_OK, 0);
        assert_non_null(p);
        assert_int_equal(p->len, 9 + answers[i] * IDENTITY_WIRE_PUBLIC);
        free(p);
    }
    actor_free(root2);
    actor_free(bob);
    host_free(h);
}

/* VB-10 */
static void test_whois_gate(void **state)
{
    static const struct {
        bool root;
        int64_t pause_ms;
        unsigned answers;
    } cases[] = {{false, 99, 1}, {false, 100, 2}, {true, 0, 2}};

    (void)state;
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct host *h = host_up(cases[i].root ? "root1" : "alice", "planet_v1");
        struct actor *bob = actor_new("bob", h);
        uint8_t body[5];
        int64_t before;

        assert_int_equal(vl1_is_root(h->vl1), cases[i].root);
        known_addresses(body, &h->identity.address, 1);
        actor_meet(bob, h, BOB_AT, 12);
        host_forget(h);
        actor_send(bob, h, BOB_AT, SUITE_AES_GMAC_SIV, VERB_WHOIS, body, 5);
        before = host_peer(h, bob->identity.address)->last_receive_ms;
        host_run(h, cases[i].pause_ms);
        actor_send(bob, h, BOB_AT, SUITE_AES_GMAC_SIV, VERB_WHOIS, body, 5);
        assert_int_equal(actor_count(bob, h, VERB_OK, 0), cases[i].answers);
        if (cases[i].answers == 1) { /* a gated one does not count as received */
            assert_int_equal(host_peer(h, bob->identity.address)->last_receive_ms, before);
        }
        actor_free(bob);
        host_free(h);
    }
}

/* VB-9: an address that becomes known within seconds is answered then, once. */
static void test_whois_is_answered_late(void **state)
{
    struct host *h = host_up("root1", "planet_v1");
    struct actor *bob = actor_new("bob", h);
    struct actor *carol = actor_new("carol", h);
    uint8_t body[5];

    (void)state;
    known_addresses(body, &carol->identity.address, 1);
    actor_meet(bob, h, BOB_AT, 12);
    host_forget(h);
    for (unsigned i = 0; i < 3; i++) {
        actor_send(bob, h, BOB_AT, SUITE_AES_GMAC_SIV, VERB_WHOIS, body, 5);
        host_run(h, 500);
    }
    assert_int_equal(actor_count(bob, h, VERB_OK, 0), 0);
    actor_meet(carol, h, "46.0.0.2/9993", 12);
    assert_int_equal(actor_count(bob, h, VERB_OK, 0), 1);
    actor_free(bob);
    actor_free(carol);
    host_free(h);
}

/* One packet full of unknown addresses costs a bounded number of lookups. */
static void test_whois_of_many_unknown_is_bounded(void **state)
{
    struct host *h = host_up("root1", "planet_v1");
    struct actor *bob = actor_new("bob", h);
    uint8_t body[5 * 1000];
    struct wr w = wr_init(body, sizeof(body));

    (void)state;
    for (uint64_t i = 0; i < 1000; i++) {
        wr_u40(&w, 0x1000000000 + i);
    }
    actor_meet(bob, h, BOB_AT, 12);
    host_forget(h);
    actor_send(bob, h, BOB_AT, SUITE_AES_GMAC_SIV, VERB_WHOIS, body, sizeof(body));
    assert_in_range(h->loads, 1, WHOIS_ASKED_PACKET_MAX);
    assert_int_equal(h->vl1->whois.count, WHOIS_ASKED_PACKET_MAX);
    for (unsigned i = 1; i < 200; i++) { /* and the table keeps room for our own */
        w = wr_init(body, sizeof(body));
        for (uint64_t k = 0; k < 8; k++) {
            wr_u40(&w, 0x2000000000 + 8 * i + k);
        }
        actor_send(bob, h, BOB_AT, SUITE_AES_GMAC_SIV, VERB_WHOIS, body, 40);
    }
    assert_int_equal(h->vl1->whois.count, WHOIS_ASKED_MAX);
    host_run(h, 6000);
    assert_int_equal(h->vl1->whois.count, 0);
    actor_free(bob);
    host_free(h);
}

static void ok_whois(struct actor *from, struct host *h, const char *at, uint64_t re_id,
                     const struct identity *ids, size_t count)
{
    uint8_t body[512];
    struct wr w = wr_init(body, sizeof(body));

    ok_head_write(&w, &(struct reply_head){VERB_WHOIS, re_id});
    for (size_t i = 0; i < count; i++) {
        identity_write(&w, &ids[i], false);
    }
    actor_send(from, h, at, SUITE_AES_GMAC_SIV, VERB_OK, body, wr_len(&w));
}

/* VB-11, TX-3: believed from an upstream only, when awaited; all identities are read; nobody is
 * replaced. */
static void test_ok_whois(void **state)
{
    struct actor *root;
    struct host *h = online(&root);
    struct actor *bob = actor_new("bob", h);
    struct identity ids[] = {vl1_identity_of("carol"), vl1_identity_of("dave")};
    struct identity other = identity_made_up(ids[0].address);
    struct opened_packet *p;

    (void)state;
    actor_meet(bob, h, BOB_AT, 12);
    await_add(h->vl1, 5, bob->identity.address, VERB_WHOIS, h->now_ms);
    ok_whois(bob, h, BOB_AT, 5, ids, 2);
    assert_null(host_peer(h, ids[0].address));
    ok_whois(root, h, ROOT1_AT, 6, ids, 2);
    assert_null(host_peer(h, ids[0].address));

    host_forget(h);
    vl1_whois(h->vl1, ids[0].address, h->now_ms);
    p = actor_find(root, h, VERB_WHOIS, 0);
    assert_non_null(p);
    assert_int_equal(p->len, 5);
    assert_int_equal(be40_get(p->data), ids[0].address);
    ok_whois(root, h, ROOT1_AT, p->id, ids, 2);
    assert_non_null(host_peer(h, ids[0].address));
    assert_non_null(host_peer(h, ids[1].address));
    assert_int_equal(h->known_calls, 2);
    ok_whois(root, h, ROOT1_AT, p->id, &other, 1);
    assert_true(identity_equal(&host_peer(h, ids[0].address)->identity, &ids[0]));
    free(p);
    actor_free(root);
    actor_free(bob);
    host_free(h);
}

/* ---- RENDEZVOUS ---- */

static void rendezvous(struct actor *from, struct host *h, const char *from_at, uint64_t with,
                       const char *at)
{
    uint8_t body[RENDEZVOUS_MAX];
    struct wr w = wr_init(body, sizeof(body));

    rendezvous_encode(&w, &(struct rendezvous){.address = with, .at = addr(at)});
    actor_send(from, h, from_at, SUITE_AES_GMAC_SIV, VERB_RENDEZVOUS, body, wr_len(&w));
}

/* VB-12, VB-13: 4 bytes with TTL 2 and a probe, both from the socket it came to. */
static void test_rendezvous(void **state)
{
    static const uint8_t versions[] = {0, 12};

    (void)state;
    for (size_t i = 0; i < COUNT_OF(versions); i++) {
        static const char *const locals[] = {"10.0.0.1/9993", "10.0.0.1/5555"};
        struct actor *root;
        struct host *h = online(&root);
        struct actor *bob = actor_new("bob", h);
        struct actor *dave = actor_new("dave", h);
        struct inetaddr to = addr("46.1.1.1/50000");
        struct opened_packet *p;

        host_sockets(h, locals, 2);
        host_know(h, &bob->identity, versions[i]);
        host_know(h, &dave->identity, 12);
        host_forget(h);
        rendezvous(dave, h, "46.0.0.9/9993", bob->identity.address, "46.1.1.1/50000");
        assert_int_equal(actor_count(bob, h, -1, 0), 0);
        host_forget(h);
        rendezvous(root, h, ROOT1_AT, bob->identity.address, "46.1.1.1/50000");
        assert_int_equal(h->sent_count, 2);
        assert_int_equal(host_sent(h, 0)->len, 4);
        assert_int_equal(host_sent(h, 0)->ttl, 2);
        assert_int_equal(host_sent(h, 0)->socket, SOCK);
        assert_true(inetaddr_equal(&host_sent(h, 0)->to, &to));
        p = actor_find(bob, h, -1, 0);
        assert_non_null(p);
        assert_true(p->verb == VERB_HELLO || (p->verb == VERB_ECHO && versions[i] == 12));
        assert_int_equal(p->socket, SOCK);
        assert_true(inetaddr_equal(&p->to, &to));
        assert_int_equal(host_sent(h, 1)->ttl, 0);
        free(p);
        actor_free(root);
        actor_free(bob);
        actor_free(dave);
        host_free(h);
    }
}

/* VB-14: addresses that may not be a path; bad port and length. They count as received. */
static void test_rendezvous_to_impossible_addresses(void **state)
{
    static const char *const bad[] = {"127.0.0.1/9993", "169.254.1.1/9993", "224.0.0.1/9993",
                                      "46.7.7.7/9993",  "fe80::9/9993",     "25.5.5.5/9993",
                                      "46.9.9.9/9993"};
    struct actor *root;
    struct host *h = online(&root);
    struct actor *bob = actor_new("bob", h);
    struct physical_entry black = {.net = addr("46.7.0.0/16"), .blacklist = true};
    struct inetaddr theirs = addr("46.9.0.0/16");
    uint8_t body[RENDEZVOUS_MAX] = {0};

    (void)state;
    h->overlay = addr("25.0.0.0/8");
    vl1_set_physical(h->vl1, &black, 1);
    assert_int_equal(vl1_add_virtual(h->vl1, bob->identity.address, NULL, 0, &theirs, 1), 0);
    host_know(h, &bob->identity, 12);
    host_forget(h);
    for (size_t i = 0; i < COUNT_OF(bad); i++) {
        rendezvous(root, h, ROOT1_AT, bob->identity.address, bad[i]);
    }
    be40_put(body + 1, bob->identity.address);
    body[8] = 4;
    body[9] = 46;
    actor_send(root, h, ROOT1_AT, SUITE_AES_GMAC_SIV, VERB_RENDEZVOUS, body, 13); /* port 0 */
    be16_put(body + 6, 9993);
    body[8] = 5;
    host_run(h, 1);
    actor_send(root, h, ROOT1_AT, SUITE_AES_GMAC_SIV, VERB_RENDEZVOUS, body, 14);
    assert_int_equal(h->sent_count, 0);
    assert_int_equal(host_peer(h, root->identity.address)->last_receive_ms, h->now_ms);
    rendezvous(root, h, ROOT1_AT, bob->identity.address, "46.8.8.8/9993");
    assert_int_equal(h->sent_count, 2);
    actor_free(root);
    actor_free(bob);
    host_free(h);
}

/* VB-15 */
static void test_rendezvous_for_an_unknown_peer_waits(void **state)
{
    (void)state;
    for (int64_t late = 0; late < 2; late++) {
        struct actor *root;
        struct host *h = online(&root);
        struct actor *bob = actor_new("bob", h);
        struct opened_packet *p;

        rendezvous(root, h, ROOT1_AT, bob->identity.address, "46.1.1.1/50000");
        assert_int_equal(h->sent_count, 0);
        host_run(h, late == 1 ? 5001 : 400);
        host_forget(h);
        vl1_whois(h->vl1, bob->identity.address, h->now_ms);
        p = actor_find(root, h, VERB_WHOIS, 0);
        ok_whois(root, h, ROOT1_AT, p->id, &bob->identity, 1);
        assert_int_equal(actor_count(bob, h, VERB_HELLO, 0), late == 0);
        free(p);
        actor_free(root);
        actor_free(bob);
        host_free(h);
    }
}

/* A peer that was never heard is not forgotten before its time because of the timer that says HELLO
 * to it again. */
static void test_rendezvous_is_tried_again(void **state)
{
    struct actor *root;
    struct host *h = online(&root);
    struct actor *bob = actor_new("bob", h);

    (void)state;
    host_know(h, &bob->identity, 0);
    host_forget(h);
    rendezvous(root, h, ROOT1_AT, bob->identity.address, "46.1.1.1/50000");
    assert_int_equal(actor_count(bob, h, VERB_HELLO, 0), 1);
    host_run(h, 20000);
    assert_int_equal(actor_count(bob, h, VERB_HELLO, 0), 1 + CONFIRM_TRIES);
    assert_non_null(peer_in_memory(h->vl1, bob->identity.address));
    host_run(h, PEER_ALIVE_MS);
    assert_null(peer_in_memory(h->vl1, bob->identity.address));
    actor_free(root);
    actor_free(bob);
    host_free(h);
}

/* ---- ECHO ---- */

/* VB-16, VB-18, AR-10: the same payload, once in 166 ms and path, three saved up. */
static void test_echo(void **state)
{
    struct host *h = host_up("alice", NULL);
    struct actor *bob = actor_new("bob", h);
    uint8_t pkt[PACKET_MAX];
    uint64_t id;
    size_t len;
    struct opened_packet *p;

    (void)state;
    actor_meet(bob, h, BOB_AT, 12);
    host_forget(h);
    id = actor_send(bob, h, BOB_AT, SUITE_AES_GMAC_SIV, VERB_ECHO, "hello world", 11);
    p = actor_find(bob, h, VERB_OK, 0);
    assert_non_null(p);
    assert_int_equal(p->len, 9 + 11);
    assert_int_equal(p->data[0], VERB_ECHO);
    assert_int_equal(be64_get(p->data + 1), id);
    assert_memory_equal(p->data + 9, "hello world", 11);
    free(p);
    for (unsigned i = 0; i < 3; i++) {
        actor_send(bob, h, BOB_AT, SUITE_AES_GMAC_SIV, VERB_ECHO, "", 0);
    }
    assert_int_equal(actor_count(bob, h, VERB_OK, 0), 3);
    host_run(h, 165);
    actor_send(bob, h, BOB_AT, SUITE_AES_GMAC_SIV, VERB_ECHO, "", 0);
    assert_int_equal(actor_count(bob, h, VERB_OK, 0), 3);
    host_run(h, 2);
    actor_send(bob, h, BOB_AT, SUITE_AES_GMAC_SIV, VERB_ECHO, "", 0);
    assert_int_equal(actor_count(bob, h, VERB_OK, 0), 4);

    /* copies of one ECHO over paths, proved or not */
    host_run(h, 500);
    host_forget(h);
    len = actor_seal(bob, h, SUITE_AES_GMAC_SIV, VERB_ECHO, "x", 1, pkt, NULL);
    host_receive(h, SOCK, BOB_AT, pkt, len);
    host_receive(h, SOCK, "46.0.0.2/9993", pkt, len);
    host_receive(h, SOCK, "46.0.0.1/5555", pkt, len);
    host_receive(h, SOCK, "46.0.0.1/5555", pkt, len);
    assert_int_equal(actor_count(bob, h, VERB_OK, 0), 3);
    actor_free(bob);
    host_free(h);
}

/* The largest ECHO has no room for its answer; large ones are cut. */
static void test_large_echo(void **state)
{
    static const size_t lens[] = {1395, 1396, 5000, 9928 - 37, PACKET_PAYLOAD_MAX};
    struct host *h = host_up("alice", NULL);
    struct actor *bob = actor_new("bob", h);
    uint8_t body[PACKET_MAX] = {1, 2, 3};

    (void)state;
    actor_meet(bob, h, BOB_AT, 12);
    for (size_t i = 0; i < COUNT_OF(lens); i++) {
        struct opened_packet *p;

        host_forget(h);
        host_run(h, 1000);
        actor_send(bob, h, BOB_AT, SUITE_AES_GMAC_SIV, VERB_ECHO, body, lens[i]);
        p = actor_find(bob, h, VERB_OK, 0);
        assert_int_equal(p != NULL, lens[i] < PACKET_PAYLOAD_MAX);
        if (p != NULL) {
            assert_int_equal(p->len, 9 + lens[i]);
            assert_memory_equal(p->data + 9, body, lens[i]);
        }
        free(p);
    }
    actor_free(bob);
    host_free(h);
}

/* The answer is as long as the question was before it was compressed: only an address that is
 * proved gets one to a compressed ECHO, else whoever has a key could multiply what he sends. */
static void test_compressed_echo(void **state)
{
    static const char *const from[] = {BOB_AT, "46.0.0.2/9993"};
    struct host *h = host_up("alice", NULL);
    struct actor *bob = actor_new("bob", h);

    (void)state;
    actor_meet(bob, h, BOB_AT, 12);
    for (size_t i = 0; i < COUNT_OF(from); i++) {
        uint8_t pkt[PACKET_MAX] = {0};
        uint8_t scratch[PACKET_MAX];
        size_t len = PACKET_AT_PAYLOAD + 9000;

        host_forget(h);
        packet_start(pkt, 77 + i, h->identity.address, bob->identity.address, VERB_ECHO);
        len = packet_compress(pkt, len, scratch);
        assert_true(len < 200);
        armor_seal(pkt, len, SUITE_AES_GMAC_SIV, &bob->keys);
        host_receive(h, SOCK, from[i], pkt, len);
        assert_int_equal(actor_count(bob, h, VERB_OK, 0), i == 0);
    }
    actor_free(bob);
    host_free(h);
}

/* ---- PUSH_DIRECT_PATHS ---- */

static void push(struct actor *from, struct host *h, const char *from_at,
                 const struct push_path *paths, size_t count)
{
    uint8_t body[PACKET_MAX];
    struct wr w = wr_init(body, PACKET_PAYLOAD_MAX);

    assert_int_equal(push_paths_encode(&w, paths, count), count);
    actor_send(from, h, from_at, SUITE_AES_GMAC_SIV, VERB_PUSH_DIRECT_PATHS, body, wr_len(&w));
}

static void trust(struct host *h, const struct actor *a)
{
    host_peer(h, a->identity.address)->last_trust_ms = h->now_ms;
}

/* Verb of the packet to a that is datagram `index`. */
static enum verb actor_find_at(struct actor *a, struct host *h, size_t index)
{
    struct opened_packet *p = actor_find(a, h, -1, index);
    enum verb verb;

    assert_true(p != NULL && p->index == index);
    verb = p->verb;
    free(p);
    return verb;
}

/* VB-17: vectors, with what each must cause. */
static void test_push_vectors(void **state)
{
    static const struct {
        const char *name;
        unsigned v4;
        unsigned v6;
    } cases[] = {
        {"PUSH_DIRECT_PATHS v4 and v6", 2, 2},
        {"PUSH_DIRECT_PATHS compressible", 10, 0},
        {"PUSH_DIRECT_PATHS with unknown type and extension and cluster redirect flag", 2, 0},
    };
    static const char *const locals[] = {"10.0.0.1/9993", "10.0.0.1/5555", "2606:4700::9/9993"};

    (void)state;
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        const json_t *vec = vl1_named("packets", cases[i].name);
        struct host *h = host_up("bob", NULL);
        struct actor *alice = actor_new("alice", h);
        size_t len;
        uint8_t *pkt = vec_bytes(vec, "armored", &len);
        unsigned probes[2] = {0}; /* v4 leave from two sockets, v6 from one */

        host_sockets(h, locals, 3);
        host_know(h, &alice->identity, 12);
        trust(h, alice);
        host_receive(h, SOCK, "46.0.0.9/9993", pkt, len);
        for (size_t k = 0; k < h->sent_count; k++) {
            const struct datagram *d = host_sent(h, k);

            if (d->to.ip[0] != 46) { /* not the HELLO to where it came from */
                bool redirect = d->to.family == INETADDR_V4 && d->to.ip[0] == 8;

                assert_int_equal(actor_find_at(alice, h, k), redirect ? VERB_HELLO : VERB_ECHO);
                probes[d->to.family == INETADDR_V6]++;
            }
        }
        assert_int_equal(probes[0], 2 * cases[i].v4);
        assert_int_equal(probes[1], cases[i].v6);
        free(pkt);
        actor_free(alice);
        host_free(h);
    }
}

/* VB-17: 8 of a class; forgotten, own and known addresses are left out; untrusted peers get 4. */
static void test_push_limits(void **state)
{
    (void)state;
    for (unsigned trusted = 0; trusted < 2; trusted++) {
        struct host *h = host_up("bob", NULL);
        struct actor *alice = actor_new("alice", h);
        struct push_path paths[24] = {0};
        struct inetaddr known = addr(BOB_AT);
        unsigned probes = 0;

        actor_meet(alice, h, BOB_AT, 12);
        if (trusted == 1) {
            trust(h, alice);
        }
        paths[0].at = known;
        paths[1].at = addr("10.0.0.1/9993"); /* our own */
        paths[2].at = addr("46.3.3.3/9993");
        paths[2].flags = PUSH_FLAG_FORGET;
        for (unsigned i = 3; i < 24; i++) {
            paths[i].at = addr(i < 13 ? "46.4.4.4/1000" : "10.4.4.4/1000");
            paths[i].at.port = (uint16_t)(1000 + i);
        }
        host_forget(h);
        push(alice, h, BOB_AT, paths, 24);
        for (size_t k = 0; k < h->sent_count; k++) {
            const struct datagram *d = host_sent(h, k);

            if (actor_find_at(alice, h, k) == VERB_ECHO) { /* else our own push */
                assert_true(d->to.port >= 1003);
                probes++;
            }
        }
        assert_int_equal(probes, trusted == 1 ? 16 : 4);
        actor_free(alice);
        host_free(h);
    }
}

/* VB-19, [push_gate]: what the reference processes we process too, and pushes spaced 15 s for ever;
 * a burst is cut after 8. */
static void test_push_gate(void **state)
{
    json_t *it;
    size_t i;

    (void)state;
    json_array_foreach(vec_get(vl1_vectors(), "push_gate"), i, it)
    {
        struct host *h = host_up("bob", NULL);
        struct actor *alice = actor_new("alice", h);
        json_t *times = vec_get(it, "receive_times");
        int64_t last = 0;
        unsigned processed = 0;

        host_know(h, &alice->identity, 12);
        for (size_t k = 0; k < json_array_size(times); k++) {
            struct push_path path = {.at = addr("46.5.5.5/9993")};
            int64_t t = json_integer_value(json_array_get(times, k));
            bool done;

            path.at.port = (uint16_t)(1000 + k);
            host_run(h, t - last);
            last = t;
            host_forget(h);
            push(alice, h, "46.0.0.9/9993", &path, 1);
            done = actor_count(alice, h, VERB_ECHO, 0) == 1;
            processed += done;
            if (json_is_true(json_array_get(vec_get(it, "processed"), k))) {
                assert_true(done);
            }
            if (k > 0 && t - json_integer_value(json_array_get(times, k - 1)) >= 15000) {
                assert_true(done);
            }
            assert_int_equal(host_peer(h, alice->identity.address)->last_receive_ms, h->now_ms);
        }
        if (last < 60000) {
            assert_int_equal(processed, 9); /* 8 of the burst, one after 30 s */
        }
        actor_free(alice);
        host_free(h);
    }
}

/* VB-19, NT-6: own pushes, to trusted peers only, by relay 15 s apart and then above 30 s. */
static void test_own_pushes(void **state)
{
    static const char *const locals[] = {"10.0.0.1/9993", "127.0.0.1/9993"};
    struct actor *root;
    struct host *h = online(&root);
    struct actor *bob = actor_new("bob", h);
    struct inetaddr mapped = addr("46.6.6.6/1234");
    struct opened_packet *p;
    struct push_paths paths;
    struct push_path rec;
    int64_t gap = 0;
    int64_t last = 0;
    unsigned pushes = 0;

    (void)state;
    host_sockets(h, locals, 2);
    vl1_set_mapped(h->vl1, &mapped, 1);
    host_know(h, &bob->identity, 12);
    host_forget(h);
    actor_send_hops(bob, h, ROOT1_AT, SUITE_AES_GMAC_SIV, VERB_FRAME, "x", 1, 1);
    assert_int_equal(actor_count(bob, h, VERB_PUSH_DIRECT_PATHS, 0), 0);
    h->verdict = VL1_TRUST;
    for (unsigned i = 0; i < 600; i++) {
        host_forget(h);
        actor_send_hops(bob, h, ROOT1_AT, SUITE_AES_GMAC_SIV, VERB_FRAME, "x", 1, 1);
        p = actor_find(bob, h, VERB_PUSH_DIRECT_PATHS, 0);
        if (p != NULL) {
            struct inetaddr want[] = {mapped, addr("10.0.0.1/9993")};
            struct inetaddr to = addr(ROOT1_AT);
            unsigned found = 0;

            pushes++;
            gap = last != 0 ? h->now_ms - last : 0;
            last = h->now_ms;
            assert_true(inetaddr_equal(&p->to, &to));
            assert_int_equal(push_paths_decode(rd_init(p->data, p->len), &paths), 0);
            while (push_paths_next(&paths, &rec) > 0) {
                assert_int_equal(rec.flags, 0);
                assert_true(inetaddr_scope(&rec.at) != INET_SCOPE_LOOPBACK);
                for (size_t k = 0; k < COUNT_OF(want); k++) {
                    found += inetaddr_equal(&rec.at, &want[k]);
                }
            }
            assert_int_equal(found, 2); /* each once */
            free(p);
        }
        host_run(h, 1000);
    }
    assert_true(gap > 30000); /* a gate that resets after 30 s has been reset */
    assert_in_range(pushes, 15, 25);
    actor_free(root);
    actor_free(bob);
    host_free(h);
}

/* ---- ERROR ---- */

/* VB-20: codes of networks go up; a collision is fatal only from an upstream; all count as
 * received.
 */
static void test_error_vectors(void **state)
{
    json_t *it;
    size_t i;

    (void)state;
    json_array_foreach(vec_get(vl1_vectors(), "errors"), i, it)
    {
        struct host *h = host_up("alice", "planet_v1");
        struct actor *from = actor_new(vec_text(it, "from"), h);
        const json_t *fields = vec_get(it, "fields");
        int64_t code = vec_int(fields, "code");
        size_t len;
        uint8_t *pkt = vec_bytes(it, "armored", &len);
        struct peer *peer = host_peer(h, from->identity.address);

        peer = peer != NULL ? peer : host_know(h, &from->identity, 12);
        host_receive(h, SOCK, BOB_AT, pkt, len);
        assert_int_equal(peer->last_receive_ms, h->now_ms);
        if (code == ERROR_IDENTITY_COLLISION) {
            assert_int_equal(host_events(h, EVENT_IDENTITY_COLLISION), peer_is_upstream(peer));
        } else {
            assert_int_equal(h->packet_count, 1);
            assert_int_equal(h->packets[0].error, code);
            assert_int_equal(h->packets[0].re_verb, vec_int(fields, "in_re_verb"));
            assert_int_equal(h->packets[0].len + 10, strlen(vec_text(it, "payload")) / 2);
        }
        free(pkt);
        actor_free(from);
        host_free(h);
    }
}

static void test_collision_from_a_leaf_has_no_effect(void **state)
{
    struct actor *root;
    struct host *h = online(&root);
    struct actor *bob = actor_new("bob", h);
    static const uint8_t body[10] = {VERB_HELLO, 1, 2, 3, 4, 5, 6, 7, 8, ERROR_IDENTITY_COLLISION};

    (void)state;
    host_know(h, &bob->identity, 12);
    actor_send(bob, h, BOB_AT, SUITE_AES_GMAC_SIV, VERB_ERROR, body, 10);
    assert_int_equal(host_events(h, EVENT_IDENTITY_COLLISION), 0);
    actor_send(root, h, ROOT1_AT, SUITE_AES_GMAC_SIV, VERB_ERROR, body, 10);
    assert_int_equal(host_events(h, EVENT_IDENTITY_COLLISION), 1);
    assert_int_equal(h->packet_count, 0);
    actor_free(root);
    actor_free(bob);
    host_free(h);
}

/* ---- the small ones ---- */

/* VB-22 */
static void test_user_message(void **state)
{
    struct host *h = host_up("bob", NULL);
    struct actor *alice = actor_new("alice", h);
    size_t len;
    uint8_t *pkt = vec_bytes(vl1_named("packets", "USER_MESSAGE"), "armored", &len);

    (void)state;
    host_know(h, &alice->identity, 12);
    host_receive(h, SOCK, BOB_AT, pkt, len);
    assert_int_equal(host_events(h, EVENT_USER_MESSAGE), 1);
    assert_int_equal(h->events[0].id, alice->identity.address);
    assert_int_equal(h->events[0].len, 15);
    assert_int_equal(be64_get(h->events[0].data), 0xdeadbeefcafef00d);
    assert_memory_equal(h->events[0].data + 8, "payload", 7);
    host_run(h, 10);
    actor_send(alice, h, BOB_AT, SUITE_AES_GMAC_SIV, VERB_USER_MESSAGE, "1234567", 7);
    assert_int_equal(host_events(h, EVENT_USER_MESSAGE), 1);
    assert_int_equal(host_peer(h, alice->identity.address)->last_receive_ms, h->now_ms);
    free(pkt);
    actor_free(alice);
    host_free(h);
}

/* VB-23 */
static void test_remote_trace(void **state)
{
    struct host *h = host_up("bob", NULL);
    struct actor *alice = actor_new("alice", h);

    (void)state;
    host_know(h, &alice->identity, 12);
    actor_send(alice, h, BOB_AT, SUITE_AES_GMAC_SIV, VERB_REMOTE_TRACE, "a=1\n\0\0b=2\n\0c=3", 14);
    assert_int_equal(host_events(h, EVENT_REMOTE_TRACE), 2);
    assert_int_equal(h->events[0].len, 4);
    assert_memory_equal(h->events[0].data, "a=1\n", 4);
    assert_memory_equal(h->events[1].data, "b=2\n", 4);
    assert_int_equal(host_peer(h, alice->identity.address)->last_receive_ms, h->now_ms);
    actor_free(alice);
    host_free(h);
}

/* VB-24 */
static void test_bond_verbs_without_a_bond(void **state)
{
    static const enum verb verbs[] = {VERB_ACK, VERB_QOS_MEASUREMENT,
                                      VERB_PATH_NEGOTIATION_REQUEST};
    static const uint8_t body[40];
    struct host *h = host_up("bob", NULL);
    struct actor *alice = actor_new("alice", h);

    (void)state;
    actor_meet(alice, h, BOB_AT, 12);
    host_run(h, 100);
    host_forget(h);
    for (size_t i = 0; i < COUNT_OF(verbs); i++) {
        actor_send(alice, h, BOB_AT, SUITE_POLY1305, verbs[i], body, 20);
        actor_send(alice, h, "46.7.7.7/9993", SUITE_AES_GMAC_SIV, verbs[i], body, 2);
    }
    assert_int_equal(h->sent_count + h->event_count + h->packet_count, 0);
    assert_int_equal(host_peer(h, alice->identity.address)->last_receive_ms, NOW);
    actor_free(alice);
    host_free(h);
}

/* VB-8, AR-2, AR-9: every packet of the vectors opens, whatever its suite, and is treated by the
 * one it is for. */
static void test_packet_vectors_are_received(void **state)
{
    json_t *it;
    size_t i;

    (void)state;
    json_array_foreach(vec_get(vl1_vectors(), "packets"), i, it)
    {
        struct host *h = host_up(vec_text(it, "to"), "planet_v1");
        struct identity from = vl1_identity_of(vec_text(it, "from"));
        struct peer *peer = host_peer(h, from.address);
        int64_t verb = vec_int(it, "verb");
        size_t len;
        uint8_t *pkt = vec_bytes(it, "armored", &len);

        peer = peer != NULL ? peer : host_know(h, &from, 12);
        if (verb == VERB_OK) {
            await_add(h->vl1, vec_hex_u64(vec_get(it, "fields"), "in_re_packet_id"), from.address,
                      strstr(vec_text(it, "name"), "WHOIS") != NULL ? VERB_WHOIS : VERB_ECHO,
                      h->now_ms);
        }
        host_receive(h, SOCK, ROOT2_AT, pkt, len);
        assert_int_equal(host_count(h, VL1_RX_PACKETS), 1);
        assert_true(peer->last_receive_ms == (verb == VERB_ACK || verb == VERB_QOS_MEASUREMENT ||
                                                      verb == VERB_PATH_NEGOTIATION_REQUEST
                                                  ? TIME_NEVER
                                                  : h->now_ms));
        if (strcmp(vec_text(it, "name"), "OK(WHOIS) two") == 0) {
            struct identity carol = vl1_identity_of("carol");

            assert_non_null(host_peer(h, carol.address));
        }
        free(pkt);
        host_free(h);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_whois_answers_what_is_known),
        cmocka_unit_test(test_whois_is_no_amplifier),
        cmocka_unit_test(test_whois_gate),
        cmocka_unit_test(test_whois_is_answered_late),
        cmocka_unit_test(test_whois_of_many_unknown_is_bounded),
        cmocka_unit_test(test_ok_whois),
        cmocka_unit_test(test_rendezvous),
        cmocka_unit_test(test_rendezvous_to_impossible_addresses),
        cmocka_unit_test(test_rendezvous_for_an_unknown_peer_waits),
        cmocka_unit_test(test_rendezvous_is_tried_again),
        cmocka_unit_test(test_echo),
        cmocka_unit_test(test_large_echo),
        cmocka_unit_test(test_compressed_echo),
        cmocka_unit_test(test_push_vectors),
        cmocka_unit_test(test_push_limits),
        cmocka_unit_test(test_push_gate),
        cmocka_unit_test(test_own_pushes),
        cmocka_unit_test(test_error_vectors),
        cmocka_unit_test(test_collision_from_a_leaf_has_no_effect),
        cmocka_unit_test(test_user_message),
        cmocka_unit_test(test_remote_trace),
        cmocka_unit_test(test_bond_verbs_without_a_bond),
        cmocka_unit_test(test_packet_vectors_are_received),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
