/* What the TCP relay carries for whom. Spec 02 section 12.3; TC-5. */
#include "daemon/relay_gate.h"

#include "base/cursor.h"
#include "base/hmap.h"
#include "wire/packet.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { NOW = 1000000, LEN = 100 };

static struct gate gate;
static struct gate_client client;
static uint8_t packet[GATE_PAYLOAD_MAX + 1];

static struct inetaddr addr(const char *text)
{
    struct inetaddr a;
    assert_int_equal(inetaddr_parse(text, strlen(text), &a), 0);
    return a;
}

/* A root at 46.0.0.1, known behind a NAT as 47.0.0.1 too; another root with port 443. */
static int setup(void **state)
{
    (void)state;
    gate_init(&gate, 7);
    gate_client_init(&client);
    gate.rules.self[0] = (struct gate_self){addr("46.0.0.1/9993"), addr("46.0.0.1/9993")};
    gate.rules.self[1] = (struct gate_self){addr("47.0.0.1/9993"), addr("10.0.0.1/9993")};
    gate.rules.self_count = 2;
    gate.rules.machine[0] = addr("46.0.0.1/9993");
    gate.rules.machine[1] = addr("10.0.0.1/9993");
    gate.rules.machine_count = 2;
    gate.rules.roots[0] = addr("46.0.0.9/443");
    gate.rules.root_count = 1;
    memset(packet, 0, sizeof(packet));
    packet_start(packet, 42, 0x1122334455, 0x2122334455, VERB_NOP);
    return 0;
}

static enum gate_verdict out(const char *to, size_t len, int64_t now_ms)
{
    struct inetaddr a = addr(to);
    struct inetaddr target;
    return gate_out(&gate, &client, &a, packet, len, now_ms, &target);
}

static void test_destinations(void **state)
{
    static const struct {
        const char *to;
        enum gate_verdict open;    /* by default */
        enum gate_verdict private; /* where private destinations are allowed */
    } table[] = {
        {"46.0.0.1/9993", GATE_SELF, GATE_SELF},
        {"47.0.0.1/9993", GATE_SELF, GATE_SELF},
        {"46.0.0.9/443", GATE_SEND, GATE_SEND},
        {"46.0.0.9/444", GATE_ADDRESS, GATE_ADDRESS},
        {"48.0.0.1/9993", GATE_SEND, GATE_SEND},
        {"48.0.0.1/1025", GATE_SEND, GATE_SEND},
        {"48.0.0.1/1024", GATE_ADDRESS, GATE_ADDRESS},
        {"48.0.0.1/53", GATE_ADDRESS, GATE_ADDRESS},
        {"48.0.0.1/0", GATE_ADDRESS, GATE_ADDRESS},
        {"2a00::1/9993", GATE_SEND, GATE_SEND},
        {"46.0.0.1/11211", GATE_CLIENT, GATE_CLIENT}, /* no service of this machine */
        {"46.0.0.1/22", GATE_ADDRESS, GATE_ADDRESS},
        {"10.0.0.1/40000", GATE_CLIENT, GATE_CLIENT},
        {"10.0.0.2/9993", GATE_ADDRESS, GATE_SEND},
        {"192.168.1.1/9993", GATE_ADDRESS, GATE_SEND},
        {"100.64.0.1/9993", GATE_ADDRESS, GATE_SEND},
        {"fd00::1/9993", GATE_ADDRESS, GATE_SEND},
        {"127.0.0.1/9993", GATE_ADDRESS, GATE_ADDRESS},
        {"::1/9993", GATE_ADDRESS, GATE_ADDRESS},
        {"0.0.0.0/9993", GATE_ADDRESS, GATE_ADDRESS},
        {"224.0.0.1/9993", GATE_ADDRESS, GATE_ADDRESS},
        {"255.255.255.255/9993", GATE_ADDRESS, GATE_ADDRESS},
        {"169.254.0.1/9993", GATE_ADDRESS, GATE_ADDRESS},
        {"fe80::1/9993", GATE_ADDRESS, GATE_ADDRESS},
        {"ff02::1/9993", GATE_ADDRESS, GATE_ADDRESS},
    };
    (void)state;
    for (size_t i = 0; i < COUNT_OF(table); i++) {
        gate.rules.private_too = false;
        assert_int_equal(out(table[i].to, LEN, NOW), table[i].open);
        gate.rules.private_too = true;
        assert_int_equal(out(table[i].to, LEN, NOW), table[i].private);
    }
}

static void test_sizes(void **state)
{
    static const struct {
        size_t len;
        enum gate_verdict verdict;
    } table[] = {
        {0, GATE_SIZE},  {15, GATE_SIZE},   {16, GATE_FORM},   {27, GATE_FORM},
        {28, GATE_SELF}, {1432, GATE_SELF}, {2047, GATE_SELF}, {2048, GATE_SIZE},
    };
    struct inetaddr from = addr("48.0.0.1/9993");
    struct inetaddr source;
    (void)state;
    for (size_t i = 0; i < COUNT_OF(table); i++) {
        assert_int_equal(out("46.0.0.1/9993", table[i].len, NOW), table[i].verdict);
    }
    assert_int_equal(gate_in(&gate, &client, &from, packet, 15, NOW, &source), GATE_SIZE);
    assert_int_equal(gate_in(&gate, &client, &from, packet, 16, NOW, &source), GATE_SEND);
    assert_int_equal(gate_in(&gate, &client, &from, packet, 2048, NOW, &source), GATE_SIZE);
}

/* Other protocols are not carried. */
static void test_only_packets_of_the_network(void **state)
{
    static const struct {
        size_t at;
        uint8_t value;
        enum gate_verdict verdict;
    } table[] = {
        {PACKET_AT_DEST, 0xff, GATE_FORM},    /* reserved address */
        {PACKET_AT_SOURCE, 0xff, GATE_SELF},  /* a fragment */
        {PACKET_AT_FLAGS, 4 << 3, GATE_FORM}, /* no such suite */
        {PACKET_AT_FLAGS, 3 << 3, GATE_SELF},
        {PACKET_AT_SOURCE, 0x11, GATE_FORM}, /* source = destination */
    };
    (void)state;
    for (size_t i = 0; i < COUNT_OF(table); i++) {
        (void)setup(NULL);
        packet[table[i].at] = table[i].value;
        assert_int_equal(out("46.0.0.1/9993", LEN, NOW), table[i].verdict);
    }
    memset(packet, 0, LEN);
    assert_int_equal(out("46.0.0.1/9993", LEN, NOW), GATE_FORM);
}

/* Whoever does not answer gets little, from one client and from many. */
static void test_silent_destinations_are_spared(void **state)
{
    unsigned sent = 0;
    struct inetaddr from = addr("48.0.0.1/9993");
    struct inetaddr source;
    (void)state;
    for (unsigned i = 0; i < 10000; i++) {
        sent += out("48.0.0.1/9993", LEN, NOW + i / 10) == GATE_SEND;
    }
    assert_in_range(sent, GATE_TARGET_BURST, GATE_TARGET_BURST + 1000 / GATE_TARGET_MS + 1);
    for (unsigned i = 0; i < 100; i++) { /* other clients, other ports: the same bucket */
        gate_client_init(&client);
        assert_int_equal(out("48.0.0.1/9994", LEN, NOW + 999), GATE_UNANSWERED);
    }
    gate_client_init(&client);
    sent = 0;
    for (unsigned i = 0; i < 10000; i++) { /* one client, many destinations */
        char to[64];
        (void)snprintf(to, sizeof(to), "49.%u.%u.1/9993", i / 200, i % 200);
        sent += out(to, LEN, NOW) == GATE_SEND;
    }
    assert_int_equal(sent, GATE_CLIENT_BURST);
    /* An answer opens its own address for a minute, and no other. */
    (void)setup(NULL);
    for (unsigned i = 0; i < 100; i++) {
        (void)out("48.0.0.1/9993", LEN, NOW);
    }
    assert_int_equal(out("48.0.0.1/9993", LEN, NOW), GATE_UNANSWERED);
    assert_false(client.answered);
    assert_int_equal(gate_in(&gate, &client, &from, packet, LEN, NOW, &source), GATE_SEND);
    assert_true(client.answered);
    assert_int_equal(out("48.0.0.1/9993", LEN, NOW + GATE_ANSWER_MS), GATE_SEND);
    assert_int_equal(out("48.0.0.1/9994", LEN, NOW), GATE_UNANSWERED);
    for (unsigned i = 0; i < 100; i++) {
        (void)out("48.0.0.1/9993", LEN, NOW + GATE_ANSWER_MS + 1);
    }
    assert_int_equal(out("48.0.0.1/9993", LEN, NOW + GATE_ANSWER_MS + 1), GATE_UNANSWERED);
    /* What is no packet is none, such as the complaint of a program that speaks otherwise. */
    (void)setup(NULL);
    from = addr("48.0.0.1/9993");
    static const uint8_t complaint[LEN] = {0};
    for (unsigned i = 0; i < GATE_TARGET_BURST; i++) {
        (void)out("48.0.0.1/9993", LEN, NOW);
    }
    assert_int_equal(gate_in(&gate, &client, &from, complaint, LEN, NOW, &source), GATE_SEND);
    assert_false(client.answered);
    assert_int_equal(out("48.0.0.1/9993", LEN, NOW), GATE_UNANSWERED);
    /* What nobody asked for is no answer. */
    from = addr("50.0.0.1/9993");
    gate_client_init(&client);
    assert_int_equal(gate_in(&gate, &client, &from, packet, LEN, NOW, &source), GATE_SEND);
    assert_false(client.answered);
}

/* Each connection may cost a handshake. */
static void test_newcomers_come_slowly(void **state)
{
    unsigned count = 0;
    struct inetaddr from = addr("2a00:1::1/40000");
    struct inetaddr other = addr("48.0.0.2/40000");
    (void)state;
    for (unsigned i = 0; i < 10000; i++) {
        from.port = (uint16_t)i;
        from.ip[15] = (uint8_t)i; /* the same /64 */
        count += gate_admit(&gate, &from, NOW + i / 10);
    }
    assert_in_range(count, GATE_NEW_BURST, GATE_NEW_BURST + 1000 / GATE_NEW_MS + 1);
    assert_true(gate_admit(&gate, &other, NOW + 1000));
}

/* The inverse of hash_mix in its first argument. */
static uint64_t unmix(uint64_t x, uint64_t seed)
{
    x ^= x >> 31 ^ x >> 62;
    x *= UINT64_C(0x319642b2d24d8ec3);
    x ^= x >> 27 ^ x >> 54;
    x *= UINT64_C(0x96de1b173f119089);
    x ^= x >> 30 ^ x >> 60;
    x ^= seed << 32 | seed >> 32;
    x ^= x >> 31 ^ x >> 62;
    x *= UINT64_C(0x319642b2d24d8ec3);
    x ^= x >> 27 ^ x >> 54;
    x *= UINT64_C(0x96de1b173f119089);
    x ^= x >> 30 ^ x >> 60;
    return x ^ seed;
}

/* Who has a /64 can find an address in it with the hash of any other. */
static void test_hash_of_an_answer_opens_nothing(void **state)
{
    static const char *const victims[] = {"48.0.0.1/9993", "2a00::1/9993"};
    struct inetaddr source;
    (void)state;
    for (size_t i = 0; i < COUNT_OF(victims); i++) {
        struct inetaddr victim = addr(victims[i]);
        struct inetaddr own = addr("2a01:4f8::/9993");
        uint64_t head = hash_mix(be64_get(own.ip), (uint64_t)own.family << 16 | own.port);
        be64_put(own.ip + 8, unmix(inetaddr_key(&victim), head));
        assert_int_equal(inetaddr_key(&own), inetaddr_key(&victim));
        (void)setup(NULL);
        assert_int_equal(gate_out(&gate, &client, &own, packet, LEN, NOW, &source), GATE_SEND);
        assert_int_equal(gate_in(&gate, &client, &own, packet, LEN, NOW, &source), GATE_SEND);
        for (unsigned k = 0; k < GATE_TARGET_BURST; k++) {
            (void)out(victims[i], LEN, NOW);
        }
        assert_int_equal(out(victims[i], LEN, NOW), GATE_UNANSWERED);
    }
}

static void test_rate_of_a_client(void **state)
{
    uint64_t bytes[2] = {0, 0};
    struct inetaddr from = addr("46.0.0.1/9993");
    struct inetaddr source;
    (void)state;
    gate.rules.rate = 1000000;
    for (int64_t ms = 0; ms < 10000; ms++) {
        for (unsigned i = 0; i < 5; i++) {
            bytes[0] += out("46.0.0.1/9993", 1000, NOW + ms) == GATE_SELF ? 1000 : 0;
            bytes[1] += gate_in(&gate, &client, &from, packet, 1000, NOW + ms, &source) == GATE_SEND
                            ? 1000
                            : 0;
        }
    }
    for (unsigned way = 0; way < 2; way++) {
        assert_in_range(bytes[way], 9900000, 10200000);
    }
    gate.rules.rate = 0;
    for (unsigned i = 0; i < 1000; i++) {
        assert_int_equal(out("46.0.0.1/9993", 1000, NOW + 10000), GATE_SELF);
    }
}

/* Behind a NAT the root is reached inside, and seen as from outside. */
static void test_root_behind_nat(void **state)
{
    struct inetaddr to = addr("47.0.0.1/9993");
    struct inetaddr inside = addr("10.0.0.1/9993");
    struct inetaddr target = {0};
    struct inetaddr source = {0};
    (void)state;
    assert_int_equal(gate_out(&gate, &client, &to, packet, LEN, NOW, &target), GATE_SELF);
    assert_true(inetaddr_equal(&target, &inside));
    assert_int_equal(gate_in(&gate, &client, &inside, packet, LEN, NOW, &source), GATE_SEND);
    assert_true(inetaddr_equal(&source, &to));
    assert_true(client.answered);
}

/* TC-5: 300 s idle, and everything that is faster. */
static void test_clockwork(void **state)
{
    static const struct {
        struct gate_times times; /* relative to NOW */
        const char *why;
    } table[] = {
        {{0, 0, -1, -1, true}, NULL},
        {{-999999, -299999, -1, -1, true}, NULL},
        {{-999999, -300000, -1, -1, true}, "idle"},
        {{-9999, -9999, -1, -1, false}, NULL},
        {{-10000, -1, -1, -1, false}, "no greeting"},
        {{-99999, -1, -9999, -1, true}, NULL},
        {{-99999, -1, -10000, -1, true}, "slow sender"},
        {{-99999, -1, -1, -14999, true}, NULL},
        {{-99999, -1, -1, -15000, true}, "slow reader"},
    };
    (void)state;
    for (size_t i = 0; i < COUNT_OF(table); i++) {
        struct gate_times t = table[i].times;
        t.accepted_ms += NOW;
        t.record_ms += NOW;
        t.carry_ms += t.carry_ms == -1 ? 0 : NOW;
        t.blocked_ms += t.blocked_ms == -1 ? 0 : NOW;
        const char *why = gate_overdue(&t, NOW);
        assert_int_equal(why == NULL, table[i].why == NULL);
        if (why != NULL) {
            assert_string_equal(why, table[i].why);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_destinations, setup),
        cmocka_unit_test_setup(test_sizes, setup),
        cmocka_unit_test_setup(test_only_packets_of_the_network, setup),
        cmocka_unit_test_setup(test_silent_destinations_are_spared, setup),
        cmocka_unit_test_setup(test_newcomers_come_slowly, setup),
        cmocka_unit_test_setup(test_hash_of_an_answer_opens_nothing, setup),
        cmocka_unit_test_setup(test_rate_of_a_client, setup),
        cmocka_unit_test_setup(test_root_behind_nat, setup),
        cmocka_unit_test_setup(test_clockwork, setup),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
