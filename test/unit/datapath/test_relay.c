/* Forwarding by a root: what is gathered in runs is neither lost nor disordered, whatever lies how;
 * shares of addresses; what the engine is given under floods. Data path contract section 3 (RX 2),
 * section 7 "strangers"; spec 02 section 4.2, 09 section 6.9. */
#include "dphost.h"

#include "base/cursor.h"
#include "wire/mac.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum {
    ROUTES = 200,
    SOURCE = 0x5500000001,
};

static struct host h;

static uint64_t dest_of(unsigned route)
{
    return UINT64_C(0x4400000000) + route * 7919;
}

/* Where a route leads. */
static struct dp_path way_of(unsigned route)
{
    return (struct dp_path){
        .remote = {.family = INETADDR_V4, .ip = {10, 1, (uint8_t)route}, .port = 9993},
        .socket = HOST_SOCKET + route % 2};
}

static int set_up(void **state)
{
    (void)state;
    host_init(&h, 2);
    atomic_store(&h.pub->is_root, true);
    for (unsigned i = 0; i < ROUTES; i++) {
        struct dp_route *r = dp_route_new(h.pub, dest_of(i));

        assert_non_null(r);
        r->to = way_of(i);
        dp_route_publish(r);
    }
    return 0;
}

/* A node is known to be there. */
static void know(uint64_t address, const struct inetaddr *at)
{
    struct dp_route *r = dp_route_new(h.pub, address);

    assert_non_null(r);
    r->to = (struct dp_path){.remote = *at, .socket = HOST_SOCKET + 7};
    r->ways[r->way_count++] = (struct dp_path){.remote = *at, .socket = HOST_SOCKET};
    dp_route_publish(r);
}

static int tear_down(void **state)
{
    (void)state;
    host_done(&h);
    return 0;
}

static struct inetaddr sender(unsigned n, uint16_t port)
{
    return (struct inetaddr){
        .family = INETADDR_V4, .ip = {192, 0, (uint8_t)(n >> 8), (uint8_t)n}, .port = port};
}

/* A packet or fragment for a node, with a number in its last four bytes. */
static void make(uint8_t *out, uint64_t dest, uint64_t source, bool is_fragment, size_t len,
                 uint32_t number)
{
    memset(out, 0x5a, len);
    be40_put(out + PACKET_AT_DEST, dest);
    if (is_fragment) {
        out[FRAGMENT_AT_INDICATOR] = FRAGMENT_INDICATOR;
        out[FRAGMENT_AT_NUMBERS] = 0x21;
        out[FRAGMENT_AT_HOPS] = 0;
    } else {
        be40_put(out + PACKET_AT_SOURCE, source);
        out[PACKET_AT_FLAGS] = SUITE_AES_GMAC_SIV << 3;
    }
    be32_put(out + len - 4, number);
}

/* Let so many packets of one sender and pair come, in messages of their own. */
static void flood_hops(uint64_t dest, uint64_t source, const struct inetaddr *from, unsigned count,
                       unsigned hops)
{
    static uint8_t data[DP_MESSAGES_MAX][64];
    struct dp_message messages[DP_MESSAGES_MAX];

    while (count > 0) {
        unsigned n = count < DP_MESSAGES_MAX ? count : DP_MESSAGES_MAX;

        for (unsigned i = 0; i < n; i++) {
            make(data[i], dest, source, false, 64, i);
            data[i][PACKET_AT_FLAGS] |= (uint8_t)hops;
            messages[i] = (struct dp_message){
                .data = data[i], .len = 64, .cap = 64, .segment = 64, .from = *from};
        }
        dp_receive(h.dp, HOST_SOCKET, messages, n, h.now_ms);
        count -= n;
    }
}

static void flood(uint64_t dest, uint64_t source, const struct inetaddr *from, unsigned count)
{
    flood_hops(dest, source, from, count, 0);
}

/* ---- runs ---- */

/* Datagrams that lie apart, for several nodes in turn: one run for each, in order. */
static void test_scattered_datagrams_leave_together(void **state)
{
    static uint8_t data[60][2000];
    struct dp_message messages[60];
    const struct inetaddr from = sender(1, 9993);

    (void)state;
    know(SOURCE, &from);
    for (unsigned i = 0; i < 60; i++) {
        make(data[i], dest_of(i % 3), SOURCE, false, 1000, i);
        messages[i] = (struct dp_message){
            .data = data[i], .len = 1000, .cap = 2000, .segment = 1000, .from = from};
    }
    dp_receive(h.dp, HOST_SOCKET, messages, 60, h.now_ms);
    assert_int_equal(h.run_count, 3);
    assert_int_equal(h.sent_count, 60);
    for (unsigned i = 0; i < 60; i++) {
        const struct host_datagram *d = &h.sent[i];
        const struct dp_path to = way_of(i / 20);

        assert_true(inetaddr_equal(&d->to.remote, &to.remote) && d->to.socket == to.socket);
        assert_int_equal(be32_get(d->block.data + 996), i % 20 * 3 + i / 20);
        assert_int_equal(packet_hops(d->block.data), 1);
    }
    assert_int_equal(h.gift_count, 3); /* told of the pairs */
}

/* A shorter one ends a run, a longer one begins another. */
static void test_sizes_of_a_run(void **state)
{
    static const size_t sizes[] = {100, 100, 60, 60, 100, 300, 300, 300, 20};
    static uint8_t data[COUNT_OF(sizes)][300];
    struct dp_message messages[COUNT_OF(sizes)];

    (void)state;
    for (unsigned i = 0; i < COUNT_OF(sizes); i++) {
        make(data[i], dest_of(1), SOURCE, true, sizes[i], i);
        messages[i] = (struct dp_message){.data = data[i],
                                          .len = sizes[i],
                                          .cap = 300,
                                          .segment = sizes[i],
                                          .from = sender(1, 9993)};
    }
    dp_receive(h.dp, HOST_SOCKET, messages, COUNT_OF(sizes), h.now_ms);
    assert_int_equal(h.run_count, 4); /* 100 100 60, 60, 100, 300 300 300 20 */
    assert_int_equal(h.sent_count, COUNT_OF(sizes));
    for (unsigned i = 0; i < COUNT_OF(sizes); i++) {
        assert_int_equal(h.sent[i].block.len, sizes[i]);
        assert_int_equal(be32_get(h.sent[i].block.data + sizes[i] - 4), i);
    }
}

/* What the model knows of one forwarded datagram. */
struct expected {
    unsigned route;
    size_t len;
    bool is_fragment;
};

/* One random batch. Returns the number of datagrams. */
static unsigned random_batch(struct test_rng *rng, struct dp_message *messages, uint8_t *memory,
                             size_t stride, struct expected *expected, unsigned max)
{
    static const size_t sizes[] = {32, 128, 500, 1432};
    unsigned routes = test_rng_below(rng, 2) == 0 ? 3 : ROUTES;
    unsigned count = 0;

    for (unsigned m = 0; m < DP_MESSAGES_MAX; m++) {
        size_t segment = sizes[test_rng_below(rng, COUNT_OF(sizes))];
        size_t n = test_rng_below(rng, 3) == 0 ? 1 + test_rng_below(rng, 40) : 1;
        size_t last = test_rng_below(rng, 2) == 0 ? segment : segment - test_rng_below(rng, 4);
        unsigned route = (unsigned)test_rng_below(rng, routes);
        bool mixed = test_rng_below(rng, 4) == 0;
        uint8_t *at = memory + m * stride;

        n = n < max - count ? n : max - count;
        n = n * segment <= stride ? n : stride / segment;
        messages[m] = (struct dp_message){
            .data = at, .cap = stride, .segment = segment, .from = sender(m % 5, 9993)};
        for (size_t i = 0; i < n; i++) {
            struct expected *e = &expected[count];

            e->route = mixed ? (unsigned)test_rng_below(rng, routes) : route;
            e->len = i + 1 == n ? last : segment;
            e->is_fragment = test_rng_below(rng, 3) == 0;
            make(at + i * segment, dest_of(e->route), SOURCE, e->is_fragment, e->len, count++);
            messages[m].len += e->len;
        }
        if (n == 0) {
            make(at, HOST_SELF, SOURCE, true, 32, 0); /* a stray part for us */
            messages[m].len = messages[m].segment = 32;
        }
    }
    return count;
}

static void test_random_batches_against_a_model(void **state)
{
    enum { STRIDE = 64 * 1024, MAX = HOST_LIST };
    static struct expected expected[MAX];
    static unsigned next[ROUTES]; /* the number sent last for a route, plus 1 */
    struct test_rng rng = test_rng_init("relayed batches");
    uint8_t *memory = malloc((size_t)DP_MESSAGES_MAX * STRIDE);
    struct dp_message messages[DP_MESSAGES_MAX];
    uint64_t relayed = 0;

    (void)state;
    assert_non_null(memory);
    for (unsigned round = 0; round < 60; round++) {
        unsigned count = random_batch(&rng, messages, memory, STRIDE, expected, MAX);

        h.now_ms += 1000;
        host_clear(&h);
        dp_receive(h.dp, HOST_SOCKET, messages, DP_MESSAGES_MAX, h.now_ms);
        assert_int_equal(h.sent_count, count); /* each exactly once */
        relayed += count;
        memset(next, 0, sizeof(next));
        for (unsigned i = 0; i < count; i++) {
            const struct host_datagram *d = &h.sent[i];
            uint32_t number = be32_get(d->block.data + d->block.len - 4);
            const struct expected *e = &expected[number];
            const struct dp_path to = way_of(e->route);

            assert_true(number < count && number >= next[e->route]);
            next[e->route] = number + 1;
            assert_int_equal(d->block.len, e->len);
            assert_true(inetaddr_equal(&d->to.remote, &to.remote) && d->to.socket == to.socket);
            assert_int_equal(d->block.data[e->is_fragment ? FRAGMENT_AT_HOPS : PACKET_AT_FLAGS] & 7,
                             1);
        }
    }
    assert_int_equal(host_count(&h, DP_RELAYED), relayed);
    free(memory);
}

/* More datagrams, destinations and bytes than are gathered: sent in between, in order. */
static void test_more_than_is_gathered(void **state)
{
    static uint8_t data[DP_MESSAGES_MAX][60 * 1400];
    struct dp_message messages[DP_MESSAGES_MAX];
    unsigned next[ROUTES] = {0};

    (void)state;
    for (unsigned m = 0; m < DP_MESSAGES_MAX; m++) {
        for (unsigned i = 0; i < 46; i++) {
            make(data[m] + i * 1400, dest_of((m * 46 + i) % ROUTES), SOURCE, true, 1400,
                 m * 46 + i);
        }
        messages[m] = (struct dp_message){.data = data[m],
                                          .len = 46 * 1400,
                                          .cap = 60 * 1400,
                                          .segment = 1400,
                                          .from = sender(1, 9993)};
    }
    dp_receive(h.dp, HOST_SOCKET, messages, DP_MESSAGES_MAX, h.now_ms);
    assert_int_equal(h.sent_count, DP_MESSAGES_MAX * 46);
    for (unsigned i = 0; i < h.sent_count; i++) {
        uint32_t number = be32_get(h.sent[i].block.data + 1396);

        assert_true(number >= next[number % ROUTES]);
        next[number % ROUTES] = number + 1;
    }
}

/* 09 6.9: our own leave first. */
static void test_own_traffic_comes_first(void **state)
{
    const struct inetaddr from = sender(1, 9993);
    struct remote alice;
    uint8_t frame[ETHERNET_LEN + 20] = {0};

    (void)state;
    remote_init(&alice, 1, SUITE_AES_GMAC_SIV);
    host_session(&h, &alice, 1432);
    host_port(&h, HOST_NWID, NULL, 0);
    host_member(&h, HOST_NWID, alice.address);
    mac_put(frame, mac_of_member(HOST_NWID, alice.address));
    mac_put(frame + MAC_LEN, mac_of_member(HOST_NWID, HOST_SELF));
    host_send(&h, HOST_NWID, NULL, frame, sizeof(frame));
    assert_int_equal(h.sent_count, 0);
    flood(dest_of(1), SOURCE, &from, 2);
    assert_int_equal(h.sent_count, 3);
    assert_true(inetaddr_equal(&h.sent[0].to.remote, &alice.at));
    assert_int_equal(packet_dest(h.sent[1].block.data), dest_of(1));
    assert_int_equal(packet_dest(h.sent[2].block.data), dest_of(1));
    dp_flush(h.dp);
    assert_int_equal(h.sent_count, 3);
    remote_done(&alice);
}

/* A loop would begin with a route to where a packet came from. */
static void test_never_back_to_where_it_came_from(void **state)
{
    const struct dp_path way = way_of(1);

    (void)state;
    flood(dest_of(1), SOURCE, &way.remote, 3);
    assert_int_equal(h.sent_count + h.gift_count, 0);
    assert_int_equal(host_count(&h, DP_DROP_NO_ROUTE), 3);
    flood(dest_of(2), SOURCE, &way.remote, 3);
    assert_int_equal(h.sent_count, 3);
}

static void test_use_of_routes_is_noted(void **state)
{
    const struct inetaddr from = sender(1, 9993);
    const struct dp_route *r = dp_route_find(h.pub, dest_of(1));

    (void)state;
    flood(dest_of(1), SOURCE, &from, 1);
    assert_int_equal(atomic_load(&r->used_ms[1]), h.now_ms);
    assert_int_equal(atomic_load(&r->used_ms[0]), 0); /* the other worker */
    assert_int_equal(atomic_load(&dp_route_find(h.pub, dest_of(2))->used_ms[1]), 0);
}

/* ---- shares ---- */

/* How many of so many packets of a sender are forwarded now. */
static size_t pass(const struct inetaddr *from, unsigned count)
{
    host_clear(&h);
    flood(dest_of(1), SOURCE, from, count);
    return h.sent_count;
}

static void test_share_of_an_address(void **state)
{
    const struct inetaddr one = sender(1, 9993);
    const struct inetaddr other_port = sender(1, 1234);
    const struct inetaddr two = sender(2, 9993);
    uint64_t received;

    (void)state;
    atomic_store(&h.pub->relay_cost_ns, 1000000); /* 1000 a second, 100 at once */
    assert_int_equal(pass(&one, 300), 100);
    assert_int_equal(pass(&one, 10), 0);
    assert_int_equal(pass(&other_port, 10), 0); /* ports cost nothing */
    assert_int_equal(pass(&two, 90), 90);       /* another one's is its own */
    h.now_ms += 50;
    assert_int_equal(pass(&one, 300), 50);
    h.now_ms += 100000;
    assert_int_equal(pass(&one, 300), 100); /* nothing is saved up */
    received = host_count(&h, DP_RX_DATAGRAMS);
    assert_int_equal(host_count(&h, DP_RELAYED) + host_count(&h, DP_DROP_RELAY_RATE), received);
    atomic_store(&h.pub->relay_cost_ns, 0);
    assert_int_equal(pass(&one, 4000), 4000);
}

static void test_share_of_an_ipv6_network(void **state)
{
    struct inetaddr from = {.family = INETADDR_V6, .ip = {0x20, 1, 13, 184}, .port = 9993};

    (void)state;
    atomic_store(&h.pub->relay_cost_ns, 1000000);
    assert_int_equal(pass(&from, 300), 100);
    from.ip[15] = 1;
    assert_int_equal(pass(&from, 300), 0);
    from.ip[7] = 1; /* the next /64 */
    assert_int_equal(pass(&from, 300), 100);
}

static void test_usual_share(void **state)
{
    const struct inetaddr from = sender(1, 9993);
    size_t passed = 0;

    (void)state;
    for (unsigned ms = 0; ms < 100; ms++, h.now_ms++) {
        passed += pass(&from, 2000); /* 2 million a second */
    }
    assert_in_range(passed, DP_RELAY_RATE / 10 * 2 - 1000, DP_RELAY_RATE / 10 * 2);
}

/* ---- what the engine is given ---- */

static void test_unknown_destinations_are_given_sparingly(void **state)
{
    const struct inetaddr from = sender(1, 9993);
    unsigned given = 0;

    (void)state;
    for (unsigned root = 0; root < 2; root++) {
        atomic_store(&h.pub->is_root, root == 0);
        h.now_ms += 10000;
        given = 0;
        for (unsigned ms = 0; ms < 1000; ms++, h.now_ms++) { /* one address: 1000 a second */
            host_clear(&h);
            flood(0x6600000000, SOURCE, &from, 20);
            assert_int_equal(h.sent_count, 0);
            given += (unsigned)h.gift_count;
        }
        assert_in_range(given, 1900, 2010);
    }
    h.now_ms += 10000;
    given = 0;
    for (unsigned ms = 0; ms < 1000; ms++, h.now_ms++) { /* 40000 addresses: 20000 a second */
        host_clear(&h);
        for (unsigned i = 0; i < 40; i++) {
            const struct inetaddr many = sender(ms * 40 + i, 9993);

            flood(0x6600000000, SOURCE, &many, 1);
        }
        given += (unsigned)h.gift_count;
    }
    assert_in_range(given, 23000, 24100);
    assert_int_equal(host_count(&h, DP_GIVEN) + host_count(&h, DP_DROP_NO_ROUTE),
                     host_count(&h, DP_RX_DATAGRAMS));
}

/* A node's name alone makes no pair: what did not come from where that node is known to be is
 * forwarded, and that is all. */
static void test_borrowed_names(void **state)
{
    const struct inetaddr from = sender(1, 9993);
    const struct inetaddr other_port = sender(1, 9994);

    (void)state;
    flood(dest_of(1), SOURCE, &from, 1); /* nobody is known */
    know(SOURCE, &from);
    flood(dest_of(1), SOURCE, &other_port, 1);
    assert_int_equal(h.sent_count, 2);
    assert_int_equal(h.gift_count, 0);
    flood(dest_of(1), SOURCE, &from, 1);
    assert_int_equal(h.gift_count, 1);
}

/* Sealed packets of known peers are told from strangers' by where they come from, up to a rate. */
static void test_sealed_packets_of_known_peers(void **state)
{
    const struct inetaddr from = sender(1, 9993);
    const struct inetaddr other = sender(2, 9993);
    unsigned known = 0;

    (void)state;
    know(SOURCE, &from);
    flood(h.pub->self, SOURCE, &other, 1);
    flood(h.pub->self, SOURCE + 1, &from, 1);
    flood(h.pub->self, SOURCE, &from, 1);
    assert_int_equal(h.gift_count, 3);
    for (unsigned i = 0; i < 3; i++) {
        assert_int_equal(h.gifts[i].kind, DP_GIFT_SEALED);
        assert_int_equal(h.gifts[i].is_known, i == 2);
    }
    for (unsigned ms = 0; ms < 1000; ms++, h.now_ms++) {
        host_clear(&h);
        flood(h.pub->self, SOURCE, &from, 10);
        assert_int_equal(h.gift_count, 10); /* the others are strangers' */
        for (size_t i = 0; i < h.gift_count; i++) {
            known += h.gifts[i].is_known;
        }
    }
    assert_in_range(known, 1900, 2010);
}

/* A flood of made-up pairs: all is forwarded, little is told, and pairs told of stay known. They
 * come through another node, else their sources would have to be known here. */
static void test_made_up_pairs(void **state)
{
    const struct inetaddr from = sender(1, 9993);
    const struct inetaddr honest = sender(2, 9993);
    unsigned told = 0;
    unsigned again = 0;

    (void)state;
    know(SOURCE, &honest);
    flood(dest_of(5), SOURCE, &honest, 1);
    assert_int_equal(h.gift_count, 1);
    for (unsigned ms = 0; ms < 1000; ms++, h.now_ms++) {
        for (unsigned i = 0; i < 20; i++) {
            host_clear(&h);
            flood_hops(dest_of(1), UINT64_C(0x7700000000) + ms * 20 + i, &from, 1, 1);
            assert_int_equal(h.sent_count, 1);
            for (size_t g = 0; g < h.gift_count; g++) {
                assert_int_equal(h.gifts[g].kind, DP_GIFT_PAIR);
            }
            told += (unsigned)h.gift_count;
        }
        host_clear(&h);
        flood(dest_of(5), SOURCE, &honest, 1);
        again += (unsigned)h.gift_count;
    }
    assert_in_range(told, 1000, 1210);
    assert_in_range(again, 0, 10);
    h.now_ms += 10;
    host_clear(&h);
    flood(dest_of(6), SOURCE, &honest, 1); /* others are told of at once */
    assert_int_equal(h.gift_count, 1);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(test_scattered_datagrams_leave_together),
        TEST(test_sizes_of_a_run),
        TEST(test_random_batches_against_a_model),
        TEST(test_more_than_is_gathered),
        TEST(test_own_traffic_comes_first),
        TEST(test_never_back_to_where_it_came_from),
        TEST(test_use_of_routes_is_noted),
        TEST(test_share_of_an_address),
        TEST(test_share_of_an_ipv6_network),
        TEST(test_usual_share),
        TEST(test_unknown_destinations_are_given_sparingly),
        TEST(test_borrowed_names),
        TEST(test_sealed_packets_of_known_peers),
        TEST(test_made_up_pairs),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
