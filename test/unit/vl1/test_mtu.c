/* The size of datagrams on a path: tested while large packets flow, made smaller where they vanish,
 * found exactly, made larger by proof only. Spec 09 section 10, spec 05 section 12. */
#include "bench.h"

#include <stdlib.h>
#include <string.h>

static const char *const ROOT1_AT = "198.51.100.10/9993";
static const char *const ALICE_AT = "192.0.2.1/9993";
static const char *const BOB_AT = "192.0.2.2/9993";

enum { FRAME_LEN = 2800 };

static bool with_workers; /* the second round: workers stand before all engines */

struct two {
    struct net *net;
    struct host *root, *alice, *bob;
};

static struct path *path_to(struct host *h, const struct host *to)
{
    struct peer *peer = host_peer(h, to->identity.address);

    return peer != NULL ? path_best(peer, h->now_ms) : NULL;
}

/* A large frame from alice to bob each 20 ms, bob answers with small ones if he got something. */
static void transfer(const struct two *t, int64_t ms)
{
    static uint8_t data[FRAME_LEN];
    size_t got = t->bob->packet_count;

    for (int64_t at = 0; at < ms; at += 20) {
        host_frame(t->alice, t->bob->identity.address, data, sizeof(data));
        net_run(t->net, 20);
        if (t->bob->packet_count > got) {
            host_frame(t->bob, t->alice->identity.address, "ack", 3);
        }
        host_forget(t->alice);
        host_forget(t->bob);
        got = t->bob->packet_count;
    }
}

/* Alice and bob know each other directly; links are wide still. */
static struct two setup(void)
{
    struct two t = {.net = net_new(10)};

    t.root = net_add(t.net, "root1", ROOT1_AT, "planet_v1");
    t.alice = net_add(t.net, "alice", ALICE_AT, "planet_v1");
    t.bob = net_add(t.net, "bob", BOB_AT, "planet_v1");
    t.alice->verdict = t.bob->verdict = VL1_TRUST;
    for (size_t i = 0; i < t.net->host_count && with_workers; i++) {
        host_workers(t.net->hosts[i]);
    }
    net_run(t.net, 1000);
    for (unsigned i = 0; i < 50 && path_to(t.alice, t.bob) == NULL; i++) {
        host_frame(t.alice, t.bob->identity.address, "hello", 5);
        host_frame(t.bob, t.alice->identity.address, "hello", 5);
        net_run(t.net, 100);
    }
    assert_non_null(path_to(t.alice, t.bob));
    assert_non_null(path_to(t.bob, t.alice));
    return t;
}

static void set_interface(struct host *h, unsigned mtu)
{
    h->sockets[0].mtu = mtu;
    vl1_enter(h->vl1);
    assert_int_equal(vl1_set_sockets(h->vl1, h->sockets, h->socket_count, h->now_ms), 0);
    vl1_leave(h->vl1, h->now_ms);
}

static void set_physical(struct host *h, unsigned mtu)
{
    const struct physical_entry entry = {.net = addr("192.0.2.0/24"), .mtu = mtu};

    vl1_enter(h->vl1);
    vl1_set_physical(h->vl1, &entry, 1);
    vl1_leave(h->vl1, h->now_ms);
}

/* Large frames of alice that arrive within the next second, of 50. */
static unsigned arriving(const struct two *t)
{
    static uint8_t data[FRAME_LEN];
    unsigned count = 0;

    for (unsigned i = 0; i < 50; i++) {
        host_forget(t->bob);
        host_frame(t->alice, t->bob->identity.address, data, sizeof(data));
        net_run(t->net, 20);
        count += host_frames(t->bob, t->alice->identity.address, 0);
    }
    return count;
}

/* D-32: where larger datagrams vanish, also as fragments of IP, traffic goes on within two seconds,
 * and the exact size is found. */
static void test_black_holes_are_found(void **state)
{
    static const unsigned mtus[] = {1200, 1232, 1252, 1352, 1372, 1400, 1431};

    (void)state;
    for (size_t i = 0; i < COUNT_OF(mtus); i++) {
        struct two t = setup();

        t.net->mtu = mtus[i];
        transfer(&t, 1500);
        assert_in_range(arriving(&t), 48, 50);
        transfer(&t, 6000);
        assert_int_equal(path_to(t.alice, t.bob)->mtu, mtus[i]);
        assert_in_range(arriving(&t), 48, 50);
        assert_int_equal(path_to(t.bob, t.alice)->mtu, MTU_PHYSICAL_DEFAULT); /* sends none */
        net_free(t.net);
    }
}

/* The MTU falls amid a transfer, and rises again: the size follows down at once, up later. */
static void test_links_that_change(void **state)
{
    struct two t = setup();

    (void)state;
    transfer(&t, 5000);
    assert_int_equal(path_to(t.alice, t.bob)->mtu, MTU_PHYSICAL_DEFAULT);
    t.net->mtu = 1280;
    transfer(&t, 4000); /* tested each two seconds, or when silent */
    assert_in_range(arriving(&t), 48, 50);
    transfer(&t, 6000);
    assert_int_equal(path_to(t.alice, t.bob)->mtu, 1280);
    t.net->mtu = 1210;
    transfer(&t, 4000);
    assert_in_range(arriving(&t), 48, 50);
    t.net->mtu = 0;
    transfer(&t, MTU_RAISE_FIRST_MS + 15000);
    assert_int_equal(path_to(t.alice, t.bob)->mtu, MTU_PHYSICAL_DEFAULT);
    net_free(t.net);
}

/* Fragments of IP pass: nothing is lost, but datagrams are not cut twice for long. */
static void test_what_ip_cuts_is_made_smaller(void **state)
{
    struct two t = setup();

    (void)state;
    t.net->mtu = 1372;
    t.net->cuts = true;
    assert_in_range(arriving(&t), 49, 50);
    transfer(&t, 8000);
    assert_int_equal(path_to(t.alice, t.bob)->mtu, 1372);
    net_free(t.net);
}

/* D-5: nothing above 1500 bytes but probes, until one of that size was answered; then the size of
 * the interface is used. */
static void test_jumbo_only_by_proof(void **state)
{
    struct two t = setup();

    (void)state;
    set_interface(t.alice, 9000);
    t.net->mtu = 1472;
    t.net->largest = 0;
    transfer(&t, 20000);
    assert_in_range(path_to(t.alice, t.bob)->mtu, MTU_PHYSICAL_DEFAULT, 1472);
    assert_in_range(t.net->largest, 1, 1472);
    assert_in_range(arriving(&t), 49, 50);

    t.net->mtu = 8972;
    transfer(&t, 200000);
    assert_int_equal(path_to(t.alice, t.bob)->mtu, 8972);
    t.net->largest = 0;
    assert_in_range(arriving(&t), 49, 50);
    assert_in_range(t.net->largest, FRAME_LEN, 8972);

    t.net->mtu = 1472; /* and back, at once */
    transfer(&t, 4000);
    assert_in_range(arriving(&t), 48, 50);
    net_free(t.net);
}

/* What is configured is used as it is, and never tested; beyond 1500 bytes it is what is tried. */
static void test_configured_sizes(void **state)
{
    struct two t = setup();

    (void)state;
    set_physical(t.alice, 1400);
    t.net->mtu = 1300;
    transfer(&t, 5000);
    assert_int_equal(path_to(t.alice, t.bob)->mtu, 1400);
    assert_int_equal(t.alice->vl1->mtu_search_count, 0);
    set_physical(t.alice, 9000);
    t.net->mtu = 0;
    assert_int_equal(path_to(t.alice, t.bob)->mtu, MTU_UNPROVED_MAX);
    transfer(&t, 5000);
    assert_int_equal(path_to(t.alice, t.bob)->mtu, 9000);
    set_physical(t.alice, 1400);
    assert_int_equal(path_to(t.alice, t.bob)->mtu, 1400);
    set_physical(t.alice, 0);
    assert_int_equal(path_to(t.alice, t.bob)->mtu, MTU_PHYSICAL_DEFAULT);
    net_free(t.net);
}

/* An interface that carries less is taken into account before anything is sent. */
static void test_small_interfaces(void **state)
{
    struct two t = setup();

    (void)state;
    set_interface(t.alice, 1280);
    assert_int_equal(path_to(t.alice, t.bob)->mtu, 1252);
    set_interface(t.alice, 576);
    assert_int_equal(path_to(t.alice, t.bob)->mtu, MTU_PHYSICAL_FLOOR);
    set_interface(t.alice, 1500);
    assert_int_equal(path_to(t.alice, t.bob)->mtu, MTU_PHYSICAL_DEFAULT);
    transfer(&t, 3000);
    assert_int_equal(path_to(t.alice, t.bob)->mtu, 1472);
    net_free(t.net);
}

static unsigned probes_of(struct host *h, size_t since)
{
    unsigned count = 0;

    for (size_t i = since; i < h->sent_count; i++) {
        count += (host_sent(h, i)->ttl & SEND_WHOLE) != 0;
    }
    return count;
}

/* Idle paths and small packets cause no probes; traffic causes few. */
static void test_probes_are_rare(void **state)
{
    static uint8_t data[FRAME_LEN];
    struct two t = setup();
    unsigned probes = 0;

    (void)state;
    host_forget(t.alice);
    for (unsigned i = 0; i < 200; i++) {
        host_frame(t.alice, t.bob->identity.address, "small", 5);
        host_frame(t.bob, t.alice->identity.address, "small", 5);
        net_run(t.net, 100);
    }
    net_run(t.net, 100000);
    assert_int_equal(probes_of(t.alice, 0), 0);
    for (unsigned i = 0; i < 600; i++) { /* a minute of one large packet each 100 ms, both ways */
        host_forget(t.alice);
        host_frame(t.alice, t.bob->identity.address, data, sizeof(data));
        host_frame(t.bob, t.alice->identity.address, data, sizeof(data));
        net_run(t.net, 100);
        probes += probes_of(t.alice, 0);
    }
    assert_in_range(probes, 6, 31);
    host_forget(t.alice);
    net_run(t.net, 60000);
    assert_int_equal(probes_of(t.alice, 0), 0);
    net_free(t.net);
}

/* A path that is dead altogether, or lossy, is not mistaken for a narrow one for long. */
static void test_loss_is_not_narrowness(void **state)
{
    struct two t = setup();

    (void)state;
    net_cut(t.net, "192.0.2.1", "192.0.2.2");
    net_cut(t.net, "192.0.2.1", "198.51.100.10");
    transfer(&t, 20000);
    net_heal(t.net);
    for (unsigned i = 0; i < 300 && path_to(t.alice, t.bob) == NULL; i++) {
        transfer(&t, 100);
    }
    assert_non_null(path_to(t.alice, t.bob));
    assert_int_equal(path_to(t.alice, t.bob)->mtu, MTU_PHYSICAL_DEFAULT);
    t.net->loss_percent = 20;
    transfer(&t, 60000);
    t.net->loss_percent = 0;
    transfer(&t, MTU_RAISE_LAST_MS + 30000);
    assert_int_equal(path_to(t.alice, t.bob)->mtu, MTU_PHYSICAL_DEFAULT);
    net_free(t.net);
}

/* What is relayed follows the size of the way to the relay. */
static void test_way_to_the_relay(void **state)
{
    struct two t = setup();

    (void)state;
    net_cut(t.net, "192.0.2.1", "192.0.2.2");
    t.net->mtu = 1300;
    transfer(&t, 20000);
    assert_null(path_to(t.alice, t.bob));
    assert_int_equal(path_to(t.alice, t.root)->mtu, 1300);
    assert_in_range(arriving(&t), 48, 50);
    net_free(t.net);
}

static int set_workers(void **state)
{
    (void)state;
    with_workers = true;
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_black_holes_are_found),
        cmocka_unit_test(test_links_that_change),
        cmocka_unit_test(test_what_ip_cuts_is_made_smaller),
        cmocka_unit_test(test_jumbo_only_by_proof),
        cmocka_unit_test(test_configured_sizes),
        cmocka_unit_test(test_small_interfaces),
        cmocka_unit_test(test_probes_are_rare),
        cmocka_unit_test(test_loss_is_not_narrowness),
        cmocka_unit_test(test_way_to_the_relay),
    };
    int failed = cmocka_run_group_tests_name("mtu", tests, NULL, NULL);

    return failed + cmocka_run_group_tests_name("mtu, with workers", tests, set_workers, NULL);
}
