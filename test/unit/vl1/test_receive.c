/* From datagram to packet: classification, suites, relaying, fragments, strangers, duplicates.
 * Spec 01 sections 7 to 11, spec 02 section 4. */
#include "bench.h"

#include "wire/identity.h"

#include <stdlib.h>
#include <string.h>

static const char *const ALICE_AT = "46.0.0.1/9993";
static const char *const BOB_AT = "46.0.0.2/9993";
static const char *const ROOT1_AT = "198.51.100.10/9993";

static struct host *online(const char *name, struct actor **ret_root)
{
    struct host *h = host_up(name, "planet_v1");
    struct actor *root = actor_new("root1", h);

    assert_true(actor_answer(root, h, ROOT1_AT, 0, 12) > 0);
    host_forget(h);
    *ret_root = root;
    return h;
}

/* RX-1 */
static void test_runts_and_beacons_have_no_effect(void **state)
{
    struct host *h = host_up("bob", "planet_v1");
    struct identity alice = vl1_identity_of("alice");
    uint8_t data[64];

    (void)state;
    host_know(h, &alice, 12);
    host_forget(h);
    for (size_t len = 0; len < 28; len++) {
        memset(data, 0, sizeof(data));
        be40_put(data + 8, h->identity.address);
        be40_put(data + 13, alice.address);
        host_receive(h, SOCK, ALICE_AT, data, len);
    }
    assert_int_equal(h->sent_count + h->event_count + h->packet_count + h->loads, 0);
    assert_int_equal(host_count(h, VL1_DROP_BEACON), 1);
    assert_int_equal(host_count(h, VL1_DROP_RUNT), 27);
    host_free(h);
}

/* RX-2, PK-5 */
static void test_own_source_is_dropped(void **state)
{
    struct host *h = host_up("bob", NULL);
    struct actor *self = actor_new_identity(&h->identity, h);

    (void)state;
    actor_send(self, h, ALICE_AT, SUITE_AES_GMAC_SIV, VERB_ECHO, "x", 1);
    assert_int_equal(h->sent_count, 0);
    assert_int_equal(host_count(h, VL1_DROP_OWN_SOURCE), 1);
    actor_free(self);
    host_free(h);
}

/* A host that relays between alice and bob, who have paths to it. */
static struct host *relay_host(const char *name, struct actor **ret_alice, struct actor **ret_bob)
{
    struct host *h = host_up(name, "planet_v1");

    *ret_alice = actor_new("alice", h);
    *ret_bob = actor_new("bob", h);
    actor_meet(*ret_alice, h, ALICE_AT, 12);
    actor_meet(*ret_bob, h, BOB_AT, 12);
    host_forget(h);
    return h;
}

/* RX-3, RX-4, PK-4: bytes identical but for the hop count. */
static void test_relay_forwards_hops_vectors(void **state)
{
    json_t *it;
    size_t i;

    (void)state;
    for (unsigned root = 0; root < 2; root++) {
        json_array_foreach(vec_get(vl1_vectors(), "hops"), i, it)
        {
            struct actor *alice;
            struct actor *bob;
            struct host *h = relay_host(root == 1 ? "root1" : "carol", &alice, &bob);
            size_t len;
            uint8_t *pkt = vec_bytes(it, "packet", &len);
            bool forwards = root == 1 && vec_bool(it, "reference_forwards");
            struct inetaddr to = addr(BOB_AT);

            host_receive(h, SOCK, ALICE_AT, pkt, len);
            assert_int_equal(host_count(h, VL1_RELAYED), forwards);
            if (forwards) {
                const struct datagram *d = host_sent(h, 0);

                assert_int_equal(d->len, len);
                assert_true(inetaddr_equal(&d->to, &to));
                pkt[PACKET_AT_FLAGS]++;
                assert_memory_equal(d->data, pkt, len);
                assert_int_equal(h->sent_count, 3); /* and the introduction */
            } else {
                assert_int_equal(h->sent_count, 0);
            }
            free(pkt);
            actor_free(alice);
            actor_free(bob);
            host_free(h);
        }
    }
}

/* RX-3: who proved shared membership over a path may relay over it, for 600 s. */
static void test_trusted_remote_may_relay(void **state)
{
    struct actor *alice;
    struct actor *bob;
    struct host *h = relay_host("carol", &alice, &bob);
    size_t len;
    uint8_t *pkt = vec_bytes(json_array_get(vec_get(vl1_vectors(), "hops"), 0), "packet", &len);

    (void)state;
    h->verdict = VL1_TRUST;
    actor_send(alice, h, ALICE_AT, SUITE_AES_GMAC_SIV, VERB_FRAME, "x", 1);
    host_receive(h, SOCK, "46.0.0.1/9994", pkt, len);
    assert_int_equal(host_count(h, VL1_RELAYED), 0);
    host_receive(h, SOCK, ALICE_AT, pkt, len);
    assert_int_equal(host_count(h, VL1_RELAYED), 1);
    host_run(h, 200000);
    actor_send(bob, h, BOB_AT, SUITE_AES_GMAC_SIV, VERB_ECHO, "x", 1);
    host_run(h, 200000);
    actor_send(bob, h, BOB_AT, SUITE_AES_GMAC_SIV, VERB_ECHO, "x", 1);
    host_run(h, 200001);
    host_receive(h, SOCK, ALICE_AT, pkt, len);
    assert_int_equal(host_count(h, VL1_RELAYED), 1);
    free(pkt);
    actor_free(alice);
    actor_free(bob);
    host_free(h);
}

/* RX-5, FR-10 */
static void test_fragments_are_relayed(void **state)
{
    struct actor *alice;
    struct actor *bob;
    struct host *h = relay_host("root1", &alice, &bob);

    (void)state;
    for (unsigned hops = 0; hops < 256; hops++) {
        uint8_t frag[20] = {1, 2, 3, 4, 5, 6, 7, 8};

        be40_put(frag + 8, bob->identity.address);
        frag[13] = 0xff;
        frag[14] = 0x21;
        frag[15] = (uint8_t)hops;
        host_forget(h);
        host_receive(h, SOCK, ALICE_AT, frag, sizeof(frag));
        assert_int_equal(h->sent_count, hops < 3);
        if (hops < 3) {
            frag[15]++;
            assert_memory_equal(host_sent(h, 0)->data, frag, sizeof(frag));
        }
    }
    assert_int_equal(h->vl1->assembly.parts, 0);
    actor_free(alice);
    actor_free(bob);
    host_free(h);
}

/* RX-6: what an upstream sends for somebody unknown does not go back to it; what others send goes
 * up, and without introduction. */
static void test_unknown_destination_goes_upstream_but_not_back(void **state)
{
    static const char *const root2_at = "203.0.113.20/443";
    struct host *h = host_up("root1", "planet_v1");
    struct actor *root2 = actor_new("root2", h);
    struct actor *alice = actor_new("alice", h);
    struct inetaddr up = addr(root2_at);
    uint8_t frag[20] = {0};
    size_t len;
    uint8_t *pkt = vec_bytes(json_array_get(vec_get(vl1_vectors(), "hops"), 0), "packet", &len);

    (void)state;
    assert_true(actor_answer(root2, h, root2_at, 0, 12) > 0);
    actor_meet(alice, h, ALICE_AT, 12);
    host_forget(h);
    host_receive(h, SOCK, ALICE_AT, pkt, len);
    assert_int_equal(h->sent_count, 1);
    assert_true(inetaddr_equal(&host_sent(h, 0)->to, &up));
    host_forget(h);
    host_receive(h, SOCK, root2_at, pkt, len);
    assert_int_equal(h->sent_count, 0);
    be40_put(pkt + PACKET_AT_SOURCE, root2->identity.address);
    host_receive(h, SOCK, "203.0.113.20/5555", pkt, len);
    assert_int_equal(h->sent_count, 0);
    be40_put(frag + 8, 0x1234567890);
    frag[13] = 0xff;
    frag[14] = 0x21;
    host_receive(h, SOCK, root2_at, frag, sizeof(frag));
    assert_int_equal(h->sent_count, 0);
    host_receive(h, SOCK, ALICE_AT, frag, sizeof(frag));
    assert_int_equal(h->sent_count, 1);
    free(pkt);
    actor_free(alice);
    actor_free(root2);
    host_free(h);
}

static void ok_whois(struct actor *root, struct host *h, const struct identity *id)
{
    struct opened_packet *p = actor_find(root, h, VERB_WHOIS, 0);
    uint8_t body[128];
    struct wr w = wr_init(body, sizeof(body));

    assert_non_null(p);
    assert_int_equal(be40_get(p->data), id->address);
    ok_head_write(&w, &(struct reply_head){VERB_WHOIS, p->id});
    identity_write(&w, id, false);
    actor_send(root, h, ROOT1_AT, SUITE_AES_GMAC_SIV, VERB_OK, body, wr_len(&w));
    free(p);
}

/* RX-7 */
static void test_packet_of_an_unknown_source_waits(void **state)
{
    (void)state;
    for (unsigned late = 0; late < 2; late++) {
        struct actor *root;
        struct host *h = online("bob", &root);
        struct actor *alice = actor_new("alice", h);

        actor_send(alice, h, ALICE_AT, SUITE_SALSA_POLY1305, VERB_FRAME, "one", 3);
        actor_send(alice, h, ALICE_AT, SUITE_AES_GMAC_SIV, VERB_FRAME, "two", 3);
        assert_int_equal(actor_count(root, h, VERB_WHOIS, 0), 1);
        assert_int_equal(h->packet_count, 0);
        actor_run(root, h, ROOT1_AT, late == 1 ? 5001 : 4900, 12);
        assert_in_range(actor_count(root, h, VERB_WHOIS, 0), 9, 11);
        ok_whois(root, h, &alice->identity);
        assert_int_equal(h->packet_count, late == 1 ? 0 : 2);
        if (late == 0) {
            assert_memory_equal(h->packets[0].data, "one", 3);
            assert_memory_equal(h->packets[1].data, "two", 3);
            assert_int_equal(h->known_calls, 1);
        }
        actor_run(root, h, ROOT1_AT, 10000, 12);
        host_forget(h);
        actor_run(root, h, ROOT1_AT, 4000, 12);
        assert_int_equal(actor_count(root, h, VERB_WHOIS, 0), 0);
        assert_int_equal(h->vl1->rx_count, 0);
        actor_free(alice);
        actor_free(root);
        host_free(h);
    }
}

/* Packets of forged sources: few lookups, few reads of the cache, bounded memory; and packets of
 * others still get their turn. */
static void test_forged_sources_cost_little(void **state)
{
    struct actor *root;
    struct host *h = online("bob", &root);
    struct actor *alice = actor_new("alice", h);
    uint8_t pkt[64];
    unsigned asked;

    (void)state;
    for (unsigned i = 0; i < 5000; i++) {
        char from[INETADDR_TEXT_LEN];

        snprintf(from, sizeof(from), "47.%u.%u.1/9993", i / 200, i % 200);
        packet_start(pkt, i, h->identity.address, 0x1000000000 + i, VERB_FRAME);
        packet_set_suite(pkt, SUITE_AES_GMAC_SIV);
        host_receive(h, SOCK, i % 2 == 0 ? "47.0.0.1/1" : from, pkt, sizeof(pkt));
    }
    assert_in_range(h->vl1->rx_count, 1, RX_QUEUE_MAX);
    assert_in_range(h->vl1->whois.count, 1, WHOIS_STRANGERS_MAX);
    assert_in_range(h->loads, 1, WHOIS_STRANGERS_MAX);
    asked = actor_count(root, h, VERB_WHOIS, 0);
    assert_in_range(asked, 1, WHOIS_STRANGERS_MAX);
    actor_run(root, h, ROOT1_AT, 5600, 12);
    assert_int_equal(h->vl1->rx_count + h->vl1->whois.count, 0);
    host_forget(h);
    actor_send(alice, h, ALICE_AT, SUITE_AES_GMAC_SIV, VERB_FRAME, "x", 1);
    ok_whois(root, h, &alice->identity);
    assert_int_equal(h->packet_count, 1);
    actor_free(alice);
    actor_free(root);
    host_free(h);
}

/* RX-8, PK-7, PK-8 */
static void test_unknown_verbs_refresh_the_peer(void **state)
{
    static const unsigned verbs[] = {0x0f, 0x11, 0x17, 0x1f, 0x20, 0x60 | 0x1e};
    struct host *h = host_up("bob", NULL);
    struct actor *alice = actor_new("alice", h);

    (void)state;
    actor_meet(alice, h, ALICE_AT, 12);
    for (size_t i = 0; i < COUNT_OF(verbs); i++) {
        host_run(h, 100);
        host_forget(h);
        actor_send(alice, h, ALICE_AT, SUITE_AES_GMAC_SIV, (enum verb)verbs[i], "abc", 3);
        assert_int_equal(host_peer(h, alice->identity.address)->last_receive_ms, h->now_ms);
        assert_int_equal(host_peer(h, alice->identity.address)->paths[0].last_in_ms, h->now_ms);
        assert_int_equal(h->sent_count + h->packet_count + h->event_count, 0);
    }
    actor_free(alice);
    host_free(h);
}

/* RX-9: every proper prefix of payloads with a fixed form; and no prefix of any does harm. */
static void test_truncated_payloads(void **state)
{
    static const struct {
        enum verb verb;
        const char *hex;
        size_t needs; /* shorter ones are malformed */
    } cases[] = {
        {VERB_ERROR, "0b515253545556575803ab1bac9345000001", 18},
        {VERB_ERROR, "0b515253545556575808ab1bac934500000100112233445500000001", 28},
        {VERB_OK, "080a0b0c0d0e0f1011", 9},
        {VERB_RENDEZVOUS, "00f43e72f23bc3500401020304", 13},
        {VERB_RENDEZVOUS, "00f43e72f23bc3501001020304050607080102030405060708", 25},
        {VERB_PUSH_DIRECT_PATHS, "00020000000406010203040010000001ff090201020000", 0},
        {VERB_PUSH_DIRECT_PATHS,
         "000200000004062e0203040010000000061226064700000000000000000000000001"
         "2710",
         34},
        {VERB_WHOIS, "f43e72f23bab1bac9345", 0},
        {VERB_USER_MESSAGE, "deadbeefcafef00d00", 0},
        {VERB_REMOTE_TRACE, "613d310a00", 0},
        {VERB_ECHO, "0102", 0},
    };

    (void)state;
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        size_t len;
        uint8_t *body = hex_bytes(cases[i].hex, &len);

        for (size_t cut = 0; cut <= len; cut++) {
            struct host *h = host_up("alice", "planet_v1");
            struct actor *root = actor_new("root1", h);
            struct peer *peer = host_peer(h, root->identity.address);

            await_add(h->vl1, 0x0a0b0c0d0e0f1011, peer->identity.address, VERB_ECHO, h->now_ms);
            host_forget(h);
            actor_send(root, h, ROOT1_AT, SUITE_AES_GMAC_SIV, cases[i].verb, body, cut);
            if (cut < cases[i].needs) {
                assert_true(peer->last_receive_ms == TIME_NEVER);
                assert_int_equal(h->sent_count, 0);
            } else if (cut == len) {
                assert_true(peer->last_receive_ms == h->now_ms);
            }
            actor_free(root);
            host_free(h);
        }
        free(body);
    }
}

/* RX-10, AR-6, AR-7 */
static void test_trusted_path_vectors(void **state)
{
    json_t *it;
    size_t i;

    (void)state;
    json_array_foreach(vec_get(vl1_vectors(), "trusted_path"), i, it)
    {
        struct host *h = host_up("bob", NULL);
        struct identity alice = vl1_identity_of("alice");
        struct physical_entry entry = {.net = addr(vec_text(it, "configured_network")),
                                       .trusted_path_id =
                                           vec_hex_u64(it, "configured_trusted_path_id")};
        size_t len;
        uint8_t *pkt = vec_bytes(it, "packet", &len);
        bool inside = vec_bool(it, "new_implementation_must_accept_from_inside");
        struct peer *peer = host_know(h, &alice, 12);

        host_receive(h, SOCK, vec_text(it, "sender"), pkt, len);
        assert_true(peer->last_receive_ms == TIME_NEVER); /* no entry */
        vl1_set_physical(h->vl1, &entry, 1);
        host_receive(h, SOCK, "10.1.0.2/9993", pkt, len); /* outside */
        assert_true(peer->last_receive_ms == TIME_NEVER);
        pkt[PACKET_AT_MAC + 7] ^= 1; /* other ID */
        host_receive(h, SOCK, vec_text(it, "sender"), pkt, len);
        pkt[PACKET_AT_MAC + 7] ^= 1;
        packet_add_hop(pkt); /* relayed */
        host_receive(h, SOCK, vec_text(it, "sender"), pkt, len);
        assert_true(peer->last_receive_ms == TIME_NEVER);
        assert_int_equal(h->sent_count, 0);
        pkt[PACKET_AT_FLAGS]--;
        host_receive(h, SOCK, vec_text(it, "sender"), pkt, len);
        assert_true((peer->last_receive_ms == h->now_ms) == inside);
        assert_int_equal(h->sent_count > 0, inside);
        free(pkt);
        host_free(h);
    }
}

/* AR-7: the longest prefix counts, also when it takes trust away. */
static void test_trusted_path_of_the_longest_prefix(void **state)
{
    struct host *h = host_up("bob", NULL);
    struct identity alice = vl1_identity_of("alice");
    struct physical_entry entries[] = {{.net = addr("10.0.0.0/8"), .trusted_path_id = 7},
                                       {.net = addr("10.0.0.0/24"), .mtu = 1400}};
    struct peer *peer = host_know(h, &alice, 12);
    uint8_t pkt[PACKET_MIN];

    (void)state;
    vl1_set_physical(h->vl1, entries, 2);
    packet_start(pkt, 1, h->identity.address, alice.address, VERB_NOP);
    armor_seal_trusted(pkt, 7);
    host_receive(h, SOCK, "10.0.0.2/9993", pkt, sizeof(pkt));
    assert_true(peer->last_receive_ms == TIME_NEVER);
    host_receive(h, SOCK, "10.0.1.2/9993", pkt, sizeof(pkt));
    assert_true(peer->last_receive_ms == h->now_ms);
    host_free(h);
}

/* AR-5, AR-11, AR-12: any flipped bit outside the hop count: no reply, no change. */
static void test_tampered_packets_have_no_effect(void **state)
{
    static const enum cipher_suite suites[] = {SUITE_POLY1305, SUITE_SALSA_POLY1305,
                                               SUITE_AES_GMAC_SIV};

    (void)state;
    for (size_t s = 0; s < COUNT_OF(suites); s++) {
        struct host *h = host_up("bob", NULL);
        struct actor *alice = actor_new("alice", h);
        uint8_t pkt[PACKET_MAX];
        size_t len = actor_seal(alice, h, suites[s], VERB_ECHO, "abc", 3, pkt, NULL);
        struct peer *peer = host_know(h, &alice->identity, 12);

        for (size_t bit = 0; bit < 8 * len; bit++) {
            bool hops = bit / 8 == PACKET_AT_FLAGS && bit % 8 < 3;

            pkt[bit / 8] ^= (uint8_t)(1 << bit % 8);
            if (!hops) {
                host_receive(h, SOCK, ALICE_AT, pkt, len);
                assert_int_equal(h->sent_count + h->packet_count, 0);
                assert_true(peer->last_receive_ms == TIME_NEVER);
            }
            pkt[bit / 8] ^= (uint8_t)(1 << bit % 8);
        }
        assert_int_equal(vl1_peer_count(h->vl1), 1);
        host_receive(h, SOCK, ALICE_AT, pkt, len);
        assert_int_equal(actor_count(alice, h, VERB_OK, 0), 1);
        actor_free(alice);
        host_free(h);
    }
}

/* AR-8: the announced version alone decides; nothing but 12 and above gets suite 3. */
static void test_suite_follows_the_version(void **state)
{
    static const uint8_t versions[] = {0, 4, 9, 11, 12, 13, 255};

    (void)state;
    for (size_t i = 0; i < COUNT_OF(versions); i++) {
        for (uint8_t mine = 11; mine <= 12; mine++) {
            struct host *h = host_up("bob", NULL);
            struct actor *alice = actor_new("alice", h);
            struct opened_packet *p;

            host_options(h, &(struct vl1_options){.protocol = mine, .no_default_planet = true});
            host_know(h, &alice->identity, versions[i]);
            actor_send(alice, h, ALICE_AT, SUITE_SALSA_POLY1305, VERB_ECHO, "x", 1);
            p = actor_find(alice, h, VERB_OK, 0);
            assert_non_null(p);
            assert_int_equal(p->suite, versions[i] >= 12 && mine == 12 ? SUITE_AES_GMAC_SIV
                                                                       : SUITE_SALSA_POLY1305);
            free(p);
            actor_free(alice);
            host_free(h);
        }
    }
}

/* RX-12, CB-1: a peer in the cache is usable for the very packet that asked for it; its addresses
 * get one HELLO each. CB-2: damaged records do not count. */
static void test_cached_peer_is_used_at_once(void **state)
{
    (void)state;
    for (unsigned damaged = 0; damaged < 3; damaged++) {
        struct actor *root;
        struct host *h = online("bob", &root);
        struct actor *alice = actor_new("alice", h);
        struct inetaddr cached = addr("198.51.100.50/9993");
        size_t len;
        uint8_t *record = vec_bytes(vec_get(vl1_vectors(), "peer_cache"), "bytes", &len);
        struct opened_packet *p;

        record[damaged == 1 ? 0 : len - 1] ^= damaged == 1;
        host_store(h, STATE_PEER, alice->identity.address, record, damaged == 2 ? len - 1 : len);
        actor_send(alice, h, ALICE_AT, SUITE_AES_GMAC_SIV, VERB_FRAME, "x", 1);
        assert_int_equal(h->packet_count, damaged == 0);
        assert_int_equal(actor_count(root, h, VERB_WHOIS, 0), damaged != 0);
        if (damaged == 0) {
            assert_int_equal(host_peer(h, alice->identity.address)->version.protocol, 12);
            assert_int_equal(host_peer(h, alice->identity.address)->path_count, 0);
            p = actor_find(alice, h, VERB_HELLO, 0);
            assert_non_null(p);
            assert_true(inetaddr_equal(&p->to, &cached));
            free(p);
        }
        free(record);
        actor_free(alice);
        actor_free(root);
        host_free(h);
    }
}

/* ---- fragments ---- */

struct parts {
    uint8_t data[FRAGMENTS_MAX][MTU_PHYSICAL_DEFAULT];
    size_t len[FRAGMENTS_MAX];
    unsigned total;
};

static void cut(struct actor *a, const struct host *h, size_t payload_len, uint8_t fill,
                struct parts *ret)
{
    uint8_t body[PACKET_MAX];
    uint8_t pkt[PACKET_MAX];
    struct fragment_plan plan;
    size_t len = PACKET_AT_PAYLOAD + payload_len;

    memset(body, fill, payload_len);
    packet_start(pkt, a->next_id++, h->identity.address, a->identity.address, VERB_FRAME);
    memcpy(pkt + PACKET_AT_PAYLOAD, body, payload_len);
    packet_set_fragmented(pkt, true);
    armor_seal(pkt, len, SUITE_AES_GMAC_SIV, &a->keys);
    assert_int_equal(fragment_plan(len, MTU_PHYSICAL_DEFAULT, &plan), 0);
    ret->total = plan.total;
    for (unsigned i = 0; i < plan.total; i++) {
        struct fragment_piece piece;

        fragment_cut(pkt, &plan, i, &piece);
        memcpy(ret->data[i], piece.head, piece.head_len);
        memcpy(ret->data[i] + piece.head_len, piece.data, piece.len);
        ret->len[i] = piece.head_len + piece.len;
    }
}

/* FR-7, FR-2: interleaved, and in any order. */
static void test_interleaved_fragments(void **state)
{
    struct test_rng rng = test_rng_init("interleaved");
    struct host *h = host_up("bob", NULL);
    struct actor *alice = actor_new("alice", h);
    struct parts *parts = calloc(4, sizeof(*parts));

    (void)state;
    actor_meet(alice, h, ALICE_AT, 12);
    for (unsigned round = 0; round < 50; round++) {
        unsigned order[4 * FRAGMENTS_MAX];
        unsigned count = 0;

        host_forget(h);
        for (unsigned k = 0; k < 4; k++) {
            cut(alice, h, 1500 + test_rng_below(&rng, 8300), (uint8_t)(k + 1), &parts[k]);
            for (unsigned i = 0; i < parts[k].total; i++) {
                order[count++] = k * FRAGMENTS_MAX + i;
            }
        }
        for (unsigned i = count - 1; i > 0; i--) {
            unsigned other = (unsigned)test_rng_below(&rng, i + 1);
            unsigned swap = order[i];

            order[i] = order[other];
            order[other] = swap;
        }
        for (unsigned i = 0; i < count; i++) {
            const struct parts *p = &parts[order[i] / FRAGMENTS_MAX];
            unsigned n = order[i] % FRAGMENTS_MAX;

            host_receive(h, SOCK, ALICE_AT, p->data[n], p->len[n]);
        }
        assert_int_equal(h->packet_count, 4);
        host_run(h, 10);
    }
    free(parts);
    actor_free(alice);
    host_free(h);
}

/* FR-5 */
static void test_missing_part_is_forgotten(void **state)
{
    struct host *h = host_up("bob", NULL);
    struct actor *alice = actor_new("alice", h);
    struct parts *parts = calloc(1, sizeof(*parts));

    (void)state;
    actor_meet(alice, h, ALICE_AT, 12);
    for (unsigned missing = 0; missing < 4; missing++) {
        cut(alice, h, 5000, 1, parts);
        assert_int_equal(parts->total, 4);
        for (unsigned i = 0; i < 4; i++) {
            if (i != missing) {
                host_receive(h, SOCK, ALICE_AT, parts->data[i], parts->len[i]);
            }
        }
        assert_int_equal(h->packet_count, 0);
        assert_int_equal(h->vl1->assembly.parts, 3);
        host_run(h, 1000);
        assert_int_equal(h->vl1->assembly.parts, 0);
    }
    host_run(h, 20000);
    assert_false(timer_is_armed(&h->vl1->queue_timer));
    free(parts);
    actor_free(alice);
    host_free(h);
}

/* FR-8: a flood of parts from elsewhere. */
static void test_fragment_flood(void **state)
{
    struct host *h = host_up("bob", NULL);
    struct actor *alice = actor_new("alice", h);
    struct parts *parts = calloc(1, sizeof(*parts));
    struct test_rng rng = test_rng_init("flood");
    uint8_t frag[1400] = {0};

    (void)state;
    actor_meet(alice, h, ALICE_AT, 12);
    cut(alice, h, 4000, 9, parts);
    be40_put(frag + 8, h->identity.address);
    frag[13] = 0xff;
    for (unsigned i = 0; i < 6000; i++) {
        char from[INETADDR_TEXT_LEN];

        if (i % 2000 == 1000) {
            host_receive(h, SOCK, ALICE_AT, parts->data[i / 2000], parts->len[i / 2000]);
        }
        test_rng_fill(&rng, frag, 8);
        frag[14] = 0x71;
        snprintf(from, sizeof(from), "47.0.%u.1/9993", i % 10);
        host_receive(h, SOCK, from, frag, sizeof(frag));
        assert_true(h->vl1->assembly.parts <= ASSEMBLY_PARTS_MAX);
    }
    assert_int_equal(h->packet_count, 1);
    free(parts);
    actor_free(alice);
    host_free(h);
}

/* ---- duplicates ---- */

/* RP-1, RP-2: dispatched once, whatever path the copy takes, for ten seconds; a copy of a packet
 * whose first copy was damaged is not one. */
static void test_duplicates_are_dropped(void **state)
{
    struct host *h = host_up("bob", NULL);
    struct actor *alice = actor_new("alice", h);
    uint8_t pkts[60][40];
    size_t len = 0;

    (void)state;
    actor_meet(alice, h, ALICE_AT, 12);
    for (unsigned i = 0; i < 60; i++) {
        uint8_t pkt[PACKET_MAX];

        len = actor_seal(alice, h, SUITE_AES_GMAC_SIV, VERB_FRAME, "x", 1, pkt, NULL);
        memcpy(pkts[i], pkt, len);
    }
    pkts[0][len - 1] ^= 1;
    host_receive(h, SOCK, ALICE_AT, pkts[0], len);
    pkts[0][len - 1] ^= 1;
    for (unsigned i = 0; i < 60; i++) { /* the table grows meanwhile */
        host_receive(h, SOCK, ALICE_AT, pkts[i], len);
    }
    assert_int_equal(h->packet_count, 60);
    for (unsigned i = 0; i < 60; i++) {
        host_receive(h, SOCK, i % 2 == 0 ? ALICE_AT : "46.0.0.99/1", pkts[i], len);
    }
    assert_int_equal(h->packet_count, 60);
    assert_int_equal(host_count(h, VL1_DROP_DUPLICATE), 60);
    host_run(h, 9000);
    host_receive(h, SOCK, ALICE_AT, pkts[7], len);
    assert_int_equal(h->packet_count, 60);
    actor_free(alice);
    host_free(h);
}

/* At a rate that fills the table in one tick, a copy that comes a dozen packets later is still
 * known. */
static void test_duplicates_are_dropped_at_speed(void **state)
{
    enum { COUNT = 20000, BEHIND = 12, PER_MS = 50 };
    struct host *h = host_up("bob", NULL);
    struct actor *alice = actor_new("alice", h);
    uint8_t pkts[BEHIND][40];

    (void)state;
    actor_meet(alice, h, ALICE_AT, 12);
    for (unsigned i = 0; i < COUNT; i++) {
        uint8_t pkt[PACKET_MAX];
        size_t len = actor_seal(alice, h, SUITE_AES_GMAC_SIV, VERB_FRAME, "x", 1, pkt, NULL);

        host_receive(h, SOCK, ALICE_AT, pkt, len);
        if (i % PER_MS == 0) {
            host_run(h, 1);
        }
        if (i >= BEHIND) {
            host_receive(h, SOCK, ALICE_AT, pkts[i % BEHIND], len);
        }
        memcpy(pkts[i % BEHIND], pkt, len);
    }
    assert_int_equal(host_count(h, VL1_DROP_DUPLICATE), COUNT - BEHIND);
    actor_free(alice);
    host_free(h);
}

/* A packet answered "later" is no duplicate of itself and is tried again; it keeps its deadline. */
static void test_packets_for_later_are_retried(void **state)
{
    struct host *h = host_up("bob", NULL);
    struct actor *alice = actor_new("alice", h);

    (void)state;
    actor_meet(alice, h, ALICE_AT, 12);
    h->verdict = VL1_LATER;
    host_run(h, 100);
    actor_send(alice, h, ALICE_AT, SUITE_AES_GMAC_SIV, VERB_FRAME, "x", 1);
    assert_int_equal(h->packet_count, 1);
    assert_false(h->packets[0].retry);
    assert_true(host_peer(h, alice->identity.address)->last_receive_ms < h->now_ms);
    host_run(h, 1100);
    assert_int_equal(h->packet_count, 3);
    assert_true(h->packets[2].retry);
    host_run(h, 10000);
    assert_in_range(h->packet_count, 9, 11);
    assert_int_equal(h->vl1->rx_count, 0);

    host_forget(h);
    actor_send(alice, h, ALICE_AT, SUITE_AES_GMAC_SIV, VERB_FRAME, "y", 1);
    h->verdict = VL1_TRUST;
    vl1_retry_from(h->vl1, alice->identity.address, h->now_ms);
    assert_int_equal(h->packet_count, 2);
    assert_int_equal(h->vl1->rx_count, 0);
    assert_int_equal(host_peer(h, alice->identity.address)->last_trust_ms, h->now_ms);
    actor_free(alice);
    host_free(h);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_runts_and_beacons_have_no_effect),
        cmocka_unit_test(test_own_source_is_dropped),
        cmocka_unit_test(test_relay_forwards_hops_vectors),
        cmocka_unit_test(test_trusted_remote_may_relay),
        cmocka_unit_test(test_fragments_are_relayed),
        cmocka_unit_test(test_unknown_destination_goes_upstream_but_not_back),
        cmocka_unit_test(test_packet_of_an_unknown_source_waits),
        cmocka_unit_test(test_forged_sources_cost_little),
        cmocka_unit_test(test_unknown_verbs_refresh_the_peer),
        cmocka_unit_test(test_truncated_payloads),
        cmocka_unit_test(test_trusted_path_vectors),
        cmocka_unit_test(test_trusted_path_of_the_longest_prefix),
        cmocka_unit_test(test_tampered_packets_have_no_effect),
        cmocka_unit_test(test_suite_follows_the_version),
        cmocka_unit_test(test_cached_peer_is_used_at_once),
        cmocka_unit_test(test_interleaved_fragments),
        cmocka_unit_test(test_missing_part_is_forgotten),
        cmocka_unit_test(test_fragment_flood),
        cmocka_unit_test(test_duplicates_are_dropped),
        cmocka_unit_test(test_duplicates_are_dropped_at_speed),
        cmocka_unit_test(test_packets_for_later_are_retried),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
