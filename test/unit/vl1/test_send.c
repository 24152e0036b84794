/* Routed sending, queues and lookups. Spec 02 section 5. */
#include "bench.h"

#include "wire/identity.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static const char *const BOB_AT = "46.0.0.1/9993";
static const char *const ROOT1_AT = "198.51.100.10/9993";

static struct host *alice_up(struct actor **ret_root, struct actor **ret_bob)
{
    struct host *h = host_up("alice", "planet_v1");

    *ret_root = actor_new("root1", h);
    *ret_bob = actor_new("bob", h);
    return h;
}

static void ok_whois(struct actor *root, struct host *h, const struct identity *id)
{
    struct opened_packet *p = actor_find(root, h, VERB_WHOIS, 0);
    uint8_t body[128];
    struct wr w = wr_init(body, sizeof(body));

    assert_non_null(p);
    ok_head_write(&w, &(struct reply_head){VERB_WHOIS, p->id});
    identity_write(&w, id, false);
    actor_send(root, h, ROOT1_AT, SUITE_AES_GMAC_SIV, VERB_OK, body, wr_len(&w));
    free(p);
}

/* TX-1: queued without identity and path, sent as soon as both are there, dropped after 5 s. */
static void test_packets_wait_for_identity_and_path(void **state)
{
    (void)state;
    for (unsigned late = 0; late < 2; late++) {
        struct actor *root;
        struct actor *bob;
        struct host *h = alice_up(&root, &bob);
        struct opened_packet *p;
        struct inetaddr relay = addr(ROOT1_AT);

        host_frame(h, bob->identity.address, "one", 3);
        host_frame(h, bob->identity.address, "two", 3);
        assert_int_equal(actor_count(bob, h, -1, 0), 0);
        host_run(h, late == 1 ? 5100 : 300);
        assert_true(actor_answer(root, h, ROOT1_AT, 0, 12) > 0);
        assert_int_equal(actor_count(root, h, VERB_WHOIS, 0), late == 0);
        if (late == 0) {
            ok_whois(root, h, &bob->identity);
            p = actor_find(bob, h, VERB_FRAME, 0);
            assert_non_null(p);
            assert_memory_equal(p->data, "one", 3);
            assert_true(inetaddr_equal(&p->to, &relay));
            assert_int_equal(p->suite, SUITE_SALSA_POLY1305);
            free(p);
        } else {
            host_know(h, &bob->identity, 12);
            host_run(h, 1000);
        }
        assert_int_equal(actor_count(bob, h, VERB_FRAME, 0), late == 0 ? 2 : 0);
        assert_int_equal(h->vl1->tx_count, 0);
        actor_free(root);
        actor_free(bob);
        host_free(h);
    }
}

/* TX-2: bounds per destination and in all; the oldest goes. */
static void test_send_queue_is_bounded(void **state)
{
    struct actor *root;
    struct actor *bob;
    struct host *h = alice_up(&root, &bob);
    struct opened_packet *p;

    (void)state;
    for (uint8_t i = 0; i < 2 * TX_QUEUE_PEER_MAX; i++) {
        host_frame(h, bob->identity.address, &i, 1);
    }
    assert_int_equal(h->vl1->tx_count, TX_QUEUE_PEER_MAX);
    assert_true(actor_answer(root, h, ROOT1_AT, 0, 12) > 0);
    ok_whois(root, h, &bob->identity);
    assert_int_equal(actor_count(bob, h, VERB_FRAME, 0), TX_QUEUE_PEER_MAX);
    p = actor_find(bob, h, VERB_FRAME, 0);
    assert_int_equal(p->data[0], TX_QUEUE_PEER_MAX);
    free(p);
    for (uint64_t i = 0; i < 2 * TX_QUEUE_MAX; i++) {
        host_frame(h, 0x1000000000 + i, "x", 1);
    }
    assert_int_equal(h->vl1->tx_count, TX_QUEUE_MAX);
    host_run(h, 6000);
    assert_int_equal(h->vl1->tx_count, 0);
    assert_int_equal(h->vl1->tx_bytes, 0);
    actor_free(root);
    actor_free(bob);
    host_free(h);
}

/* D-30: bounds in bytes, per destination and in all. */
static void test_send_queue_is_bounded_in_bytes(void **state)
{
    static uint8_t frame[8000];
    struct actor *root;
    struct actor *bob;
    struct host *h = alice_up(&root, &bob);

    (void)state;
    for (uint8_t i = 0; i < 30; i++) {
        frame[0] = i;
        host_frame(h, bob->identity.address, frame, sizeof(frame));
        assert_true(h->vl1->tx_bytes <= TX_QUEUE_PEER_BYTES);
    }
    assert_int_equal(h->vl1->tx_count, TX_QUEUE_PEER_BYTES / (sizeof(frame) + 28));
    for (uint64_t i = 0; i < 300; i++) {
        host_frame(h, 0x1000000000 + i, frame, sizeof(frame));
        assert_true(h->vl1->tx_bytes <= TX_QUEUE_BYTES);
    }
    assert_int_equal(h->vl1->tx_count, TX_QUEUE_BYTES / (sizeof(frame) + 28));
    host_run(h, 6000);
    assert_int_equal(h->vl1->tx_bytes, 0);
    actor_free(root);
    actor_free(bob);
    host_free(h);
}

/* TX-3 */
static void test_whois_is_repeated_every_500_ms(void **state)
{
    struct actor *root;
    struct actor *bob;
    struct host *h = alice_up(&root, &bob);

    (void)state;
    assert_true(actor_answer(root, h, ROOT1_AT, 0, 12) > 0);
    for (unsigned i = 0; i < 100; i++) {
        host_frame(h, bob->identity.address, "x", 1);
        actor_run(root, h, ROOT1_AT, 20, 12);
    }
    assert_in_range(actor_count(root, h, VERB_WHOIS, 0), 4, 5);
    actor_run(root, h, ROOT1_AT, 10000, 12);
    host_forget(h);
    actor_run(root, h, ROOT1_AT, 5000, 12);
    assert_int_equal(actor_count(root, h, VERB_WHOIS, 0), 0);
    actor_free(root);
    actor_free(bob);
    host_free(h);
}

/* TX-4: direct before relay, relay before an expired path, that before nothing. */
static void test_choice_of_route(void **state)
{
    struct actor *root;
    struct actor *bob;
    struct host *h = alice_up(&root, &bob);
    struct inetaddr direct = addr(BOB_AT);
    struct inetaddr relay = addr(ROOT1_AT);
    struct opened_packet *p;
    struct peer *peer;

    (void)state;
    assert_true(actor_answer(root, h, ROOT1_AT, 0, 12) > 0);
    actor_meet(bob, h, BOB_AT, 12);
    peer = host_peer(h, bob->identity.address);
    host_forget(h);
    host_frame(h, bob->identity.address, "x", 1);
    p = actor_find(bob, h, VERB_FRAME, 0);
    assert_true(inetaddr_equal(&p->to, &direct));
    assert_int_equal(p->suite, SUITE_AES_GMAC_SIV);
    free(p);

    peer->paths[0].last_in_ms = h->now_ms - PATH_EXPIRY_MS; /* PP-7 */
    host_forget(h);
    host_frame(h, bob->identity.address, "x", 1);
    p = actor_find(bob, h, VERB_FRAME, 0);
    assert_true(inetaddr_equal(&p->to, &relay));
    free(p);

    for (size_t i = 0; i < 2; i++) {
        struct peer *up = host_peer(h, h->vl1->upstreams[i]);

        for (size_t k = 0; k < up->path_count; k++) {
            up->paths[k].last_in_ms = h->now_ms - PATH_EXPIRY_MS;
        }
    }
    host_forget(h);
    host_frame(h, bob->identity.address, "x", 1);
    p = actor_find(bob, h, VERB_FRAME, 0);
    assert_true(inetaddr_equal(&p->to, &direct));
    free(p);
    actor_free(root);
    actor_free(bob);
    host_free(h);
}

/* TX-5, FR-6: the flag is there exactly when the packet is above the mtu of its path; 8 parts are
 * refused. Above 1500 bytes nothing is sent unproved (D-5). */
static void test_fragmented_flag(void **state)
{
    static const struct {
        unsigned mtu;
        size_t packet;
        unsigned datagrams; /* 0: refused */
    } cases[] = {{0, 1432, 1},    {0, 1433, 2},    {0, 2848, 2},      {0, 2849, 3},
                 {0, 9928, 7},    {0, 9929, 0},    {1400, 1400, 1},   {1400, 1401, 2},
                 {1400, 9704, 7}, {1400, 9705, 0}, {10324, 10024, 7}, {1, 1401, 2}};

    (void)state;
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct actor *root;
        struct actor *bob;
        struct host *h = alice_up(&root, &bob);
        struct physical_entry entry = {.net = addr("46.0.0.0/8"), .mtu = cases[i].mtu};
        struct out_packet out;
        struct opened_packet *p;
        int err;

        vl1_set_physical(h->vl1, &entry, 1);
        actor_meet(bob, h, BOB_AT, 12);
        host_forget(h);
        out_begin(h->vl1, &out, bob->identity.address, VERB_FRAME);
        wr_zero(&out.w, cases[i].packet - PACKET_AT_PAYLOAD);
        err = out_send(h->vl1, &out, 0, h->now_ms);
        assert_int_equal(err, cases[i].datagrams == 0 ? -EMSGSIZE : 0);
        assert_int_equal(h->sent_count, cases[i].datagrams);
        if (cases[i].datagrams > 0) {
            p = actor_find(bob, h, VERB_FRAME, 0);
            assert_int_equal(p->datagrams, cases[i].datagrams);
            assert_int_equal(packet_is_fragmented(host_sent(h, 0)->data), p->datagrams > 1);
            assert_int_equal(p->len, cases[i].packet - PACKET_AT_PAYLOAD);
            free(p);
        }
        actor_free(root);
        actor_free(bob);
        host_free(h);
    }
}

static unsigned hellos_to(struct actor *a, struct host *h, const struct inetaddr *to)
{
    struct opened_packet *p;
    unsigned count = 0;

    for (size_t at = 0; (p = actor_find(a, h, VERB_HELLO, at)) != NULL; free(p)) {
        at = p->index + 1;
        count += inetaddr_equal(&p->to, to);
    }
    return count;
}

/* TX-6, TX-8: answers go to where the request came from, by the socket it came to, also when that
 * is a relay. */
static void test_replies_go_back_the_same_way(void **state)
{
    static const char *const locals[] = {"10.0.0.1/9993", "10.0.0.1/5555", "2606:4700::9/9993"};
    static const struct {
        uint32_t socket;
        const char *from;
        unsigned hops;
    } cases[] = {{SOCK, "46.0.0.1/1", 0},
                 {SOCK_B, "46.0.0.1/2", 0},
                 {SOCK_V6, "2606:4700::1/3", 0},
                 {SOCK_B, "198.51.100.10/9993", 1},
                 {SOCK, "198.51.100.10/9993", 3}};
    struct host *h = host_up("alice", NULL);
    struct actor *bob = actor_new("bob", h);

    (void)state;
    host_sockets(h, locals, 3);
    host_know(h, &bob->identity, 12);
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        uint8_t pkt[PACKET_MAX];
        size_t len = actor_seal(bob, h, SUITE_AES_GMAC_SIV, VERB_ECHO, "x", 1, pkt, NULL);
        struct inetaddr to = addr(cases[i].from);
        struct opened_packet *p;

        for (unsigned k = 0; k < cases[i].hops; k++) {
            packet_add_hop(pkt);
        }
        host_forget(h);
        host_run(h, 300);
        host_receive(h, cases[i].socket, cases[i].from, pkt, len);
        p = actor_find(bob, h, VERB_OK, 0);
        assert_non_null(p);
        assert_true(inetaddr_equal(&p->to, &to));
        assert_int_equal(p->socket, cases[i].socket);
        assert_int_equal(p->hops, 0);
        free(p);
        /* a relayed request proves nothing about paths */
        assert_int_equal(hellos_to(bob, h, &to), cases[i].hops == 0);
    }
    assert_int_equal(host_peer(h, bob->identity.address)->path_count, 0);
    actor_free(bob);
    host_free(h);
}

/* AR-6, 8.7: trusted paths for routed packets, not for what goes straight; HELLO stays suite 0
 * (HE-3). */
static void test_trusted_path_is_used_for_routed_packets(void **state)
{
    struct actor *root;
    struct actor *bob;
    struct host *h = alice_up(&root, &bob);
    struct physical_entry entry = {.net = addr("46.0.0.0/8"), .trusted_path_id = 0x75bcd15};
    struct opened_packet *p;

    (void)state;
    vl1_set_physical(h->vl1, &entry, 1);
    actor_meet(bob, h, BOB_AT, 12);
    p = actor_find(bob, h, VERB_HELLO, 0);
    assert_int_equal(p->suite, SUITE_POLY1305);
    free(p);
    p = actor_find(bob, h, VERB_OK, 0);
    assert_int_equal(p->suite, SUITE_AES_GMAC_SIV);
    free(p);
    host_forget(h);
    host_frame(h, bob->identity.address, "x", 1);
    p = actor_find(bob, h, VERB_FRAME, 0);
    assert_int_equal(p->suite, SUITE_TRUSTED);
    assert_int_equal(be64_get(host_sent(h, 0)->data + PACKET_AT_MAC), 0x75bcd15);
    free(p);
    actor_free(root);
    actor_free(bob);
    host_free(h);
}

/* Destinations that cannot be. */
static void test_impossible_destinations(void **state)
{
    const uint64_t bad[] = {0, 0xff00000001, 0};
    struct host *h = host_up("alice", "planet_v1");
    struct out_packet out;

    (void)state;
    for (size_t i = 0; i < COUNT_OF(bad); i++) {
        uint64_t dest = i == 2 ? h->identity.address : bad[i];

        out_begin(h->vl1, &out, dest, VERB_FRAME);
        assert_int_equal(out_send(h->vl1, &out, 0, h->now_ms), -EINVAL);
    }
    assert_int_equal(h->vl1->tx_count, 0);
    host_free(h);
}

/* 11.2: a configured hint, at most every 30 s while there is traffic and no path. */
static void test_hints(void **state)
{
    struct actor *root;
    struct actor *bob;
    struct host *h = alice_up(&root, &bob);
    struct inetaddr hint = addr("46.9.9.9/1234");
    unsigned hellos = 0;

    (void)state;
    assert_int_equal(vl1_add_virtual(h->vl1, bob->identity.address, &hint, 1, NULL, 0), 0);
    assert_true(actor_answer(root, h, ROOT1_AT, 0, 12) > 0);
    host_know(h, &bob->identity, 12);
    for (unsigned s = 0; s < 61; s++) {
        host_forget(h);
        host_frame(h, bob->identity.address, "x", 1);
        for (size_t i = 0; i < h->sent_count; i++) {
            hellos += inetaddr_equal(&host_sent(h, i)->to, &hint);
        }
        actor_run(root, h, ROOT1_AT, 1000, 12);
    }
    assert_int_equal(hellos, 3);
    actor_free(root);
    actor_free(bob);
    host_free(h);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_packets_wait_for_identity_and_path),
        cmocka_unit_test(test_send_queue_is_bounded),
        cmocka_unit_test(test_send_queue_is_bounded_in_bytes),
        cmocka_unit_test(test_whois_is_repeated_every_500_ms),
        cmocka_unit_test(test_choice_of_route),
        cmocka_unit_test(test_fragmented_flag),
        cmocka_unit_test(test_replies_go_back_the_same_way),
        cmocka_unit_test(test_trusted_path_is_used_for_routed_packets),
        cmocka_unit_test(test_impossible_destinations),
        cmocka_unit_test(test_hints),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
