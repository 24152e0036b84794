/* Two simulated networks live through the same: in one every node has a worker of the data path, in
 * the other the engines are alone. Nobody can tell them apart: the devices get the same frames of
 * each flow in the same order, members and counters of rules agree, and what is cut off is cut off.
 * Invariant 3 of the data path contract, section 5; D-23, D-24. */
#include "sim.h"

#include "base/cursor.h"
#include "base/hmap.h"
#include "datapath/checksum.h"
#include "datapath/headers.h"
#include "datapath/offload.h"
#include "wire/mac.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum {
    MEMBERS = 6,
    STEPS = 120,
    QUIET_EVERY = 10,
    QUIET_MS = 8000,
    DRAIN_MS = 100,
    SETTLE_ROUNDS = 4,
    SETTLE_MS = 1500,
    SEEDS = 12,
    NODES = MEMBERS + 2,
    FLOW_FRAMES = 16384,
    ETHERTYPE_FLOW = 0x88b6,
    ETHERTYPE_SETTLE = 0x88b8,
    ETHERTYPE_REFUSED = 0x88b7, /* by some of the programs below */
};

/* What a device got of one sender (by source MAC, known or not), in order. */
struct flow_log {
    uint64_t hashes[FLOW_FRAMES];
    uint64_t flows[FLOW_FRAMES]; /* what keeps its order: both MACs and EtherType */
    int64_t times[FLOW_FRAMES];  /* to tell where a difference is */
    uint32_t lens[FLOW_FRAMES];
    size_t count;
};

/* What is compared of each member in the end. */
static const char *const counters[] = {
    "drop_mac",         "drop_malformed",    "vl2_malformed",   "vl2_no_network", "vl2_no_config",
    "vl2_not_bridge",   "vl2_bridge_source", "vl2_bridge_dest", "vl2_source_mac", "vl2_bad_dest",
    "vl2_no_bridge",    "vl2_rules_in",      "vl2_rules_out",   "vl2_too_big",    "vl2_headers",
    "vl2_peer_revoked", "vl2_multicast_bad",
};

enum { COUNTERS = sizeof(counters) / sizeof(counters[0]) };

/* One of the two worlds. */
struct lan {
    struct sim *sim;
    struct sim_node *root;
    struct sim_node *controller;
    struct sim_node *members[MEMBERS];
    uint64_t nwid;
    struct flow_log *logs; /* [receiver][sender] */
    size_t frames;
    uint64_t counts[MEMBERS * COUNTERS]; /* without those of what is not compared */
};

static const char settings[] =
    "{\"private\":true,\"v4AssignMode\":{\"zt\":true},\"mtu\":2800,"
    "\"routes\":[{\"target\":\"10.121.0.0/16\"}],"
    "\"ipAssignmentPools\":[{\"ipRangeStart\":\"10.121.0.1\",\"ipRangeEnd\":\"10.121.255.254\"}]}";

/* Programs of every class. */
static const char *const programs[] = {
    "[{\"type\":\"ACTION_ACCEPT\"}]",
    "[{\"type\":\"MATCH_ETHERTYPE\",\"etherType\":34999},{\"type\":\"ACTION_DROP\"},"
    "{\"type\":\"ACTION_ACCEPT\"}]",
    "[{\"type\":\"MATCH_FRAME_SIZE_RANGE\",\"start\":300,\"end\":900},{\"type\":\"ACTION_DROP\"},"
    "{\"type\":\"ACTION_ACCEPT\"}]",
    "[{\"type\":\"MATCH_CHARACTERISTICS\",\"mask\":\"0000000000000008\"},"
    "{\"type\":\"ACTION_DROP\"},{\"type\":\"ACTION_ACCEPT\"}]",
    "[{\"type\":\"MATCH_IP_PROTOCOL\",\"ipProtocol\":6},{\"type\":\"ACTION_ACCEPT\"},"
    "{\"type\":\"MATCH_ETHERTYPE\",\"etherType\":34998},{\"type\":\"ACTION_ACCEPT\"},"
    "{\"type\":\"ACTION_DROP\"}]",
    "TEE",
    "REDIRECT",
};

static size_t index_of(const struct lan *lan, uint64_t mac)
{
    for (size_t i = 0; i < MEMBERS; i++) {
        if (mac_of_member(lan->nwid, sim_address(lan->members[i])) == mac) {
            return i;
        }
    }
    return MEMBERS; /* somebody behind a bridge */
}

static void on_frame(void *ctx, struct sim_node *node, uint64_t nwid, uint64_t dest_mac,
                     uint64_t source_mac, uint16_t ethertype, const void *payload, size_t len)
{
    struct lan *lan = ctx;
    uint64_t hash = hash_mix(dest_mac ^ nwid, source_mac ^ ethertype);
    const uint8_t *p = payload;
    struct flow_log *log;
    size_t to = 0;

    while (to < MEMBERS && lan->members[to] != node) {
        to++;
    }
    if (to == MEMBERS || ethertype == ETHERTYPE_SETTLE) {
        return;
    }
    for (size_t i = 0; i < len; i++) {
        bool is_id = ethertype == ETHERTYPE_IPV4 && i >= IPV4_AT_ID && i < IPV4_AT_CHECKSUM + 2 &&
                     (i < IPV4_AT_FRAGMENT || i >= IPV4_AT_CHECKSUM);

        hash = hash_mix(is_id ? 0 : p[i], hash); /* merging may renumber what is never cut */
    }
    log = &lan->logs[to * (MEMBERS + 1) + index_of(lan, source_mac)];
    assert_true(log->count < FLOW_FRAMES);
    log->hashes[log->count] = hash_mix(len, hash);
    log->times[log->count] = sim_now(lan->sim);
    log->lens[log->count] = (uint32_t)len;
    log->flows[log->count++] = hash_mix(dest_mac ^ nwid, source_mac ^ (uint64_t)ethertype << 48);
    lan->frames++;
}

static bool all_ok(void *ctx)
{
    const struct lan *lan = ctx;

    for (size_t i = 0; i < MEMBERS; i++) {
        if (!sim_network_ok(lan->members[i], lan->nwid)) {
            return false;
        }
    }
    return true;
}

static void lan_start(struct lan *lan, bool datapath, uint64_t seed)
{
    struct sim_options options = {.seed = seed,
                                  .latency_ms = 10,
                                  .hash_ms = 5,
                                  .datapath = datapath,
                                  .frame = on_frame,
                                  .frame_ctx = lan};

    *lan = (struct lan){.sim = sim_new(&options)};
    lan->logs = calloc(MEMBERS * (MEMBERS + 1), sizeof(*lan->logs));
    assert_true(lan->sim != NULL && lan->logs != NULL);
    lan->root = sim_add(lan->sim, SIM_NAT_NONE);
    sim_planet(lan->sim, &lan->root, 1);
    sim_start(lan->root);
    lan->controller = sim_add(lan->sim, SIM_NAT_NONE);
    sim_start(lan->controller);
    sim_controller(lan->controller);
    lan->nwid = sim_create_network(lan->controller, settings);
    for (size_t i = 0; i < MEMBERS; i++) {
        lan->members[i] = sim_add(lan->sim, i == 2 ? SIM_NAT_SYMMETRIC : SIM_NAT_NONE);
        sim_set_member(lan->controller, lan->nwid, lan->members[i],
                       i == 3 ? "{\"authorized\":true,\"activeBridge\":true}"
                              : "{\"authorized\":true}");
        if (i == 1) {
            sim_set_protocol(lan->members[i], 11); /* suite 1 */
        }
        sim_start(lan->members[i]);
        assert_int_equal(node_join(sim_engine(lan->members[i]), lan->nwid, NULL, sim_now(lan->sim)),
                         0);
    }
    assert_true(sim_run(lan->sim, 10000, all_ok, lan));
    (void)sim_run(lan->sim, 2000, NULL, NULL);
}

static void lan_stop(struct lan *lan)
{
    sim_free(lan->sim);
    free(lan->logs);
}

/* ---- what happens, the same in both ---- */

struct script {
    uint64_t random;
    uint32_t serial;
};

static uint64_t below(struct script *s, uint64_t bound)
{
    return hash_mix(++s->random, 99) % bound;
}

static void send_frame(struct lan *lan, size_t from, uint64_t dest_mac, uint64_t source_mac,
                       uint16_t ethertype, uint32_t serial, size_t len)
{
    uint8_t frame[ETHERNET_LEN + 2800] = {0};

    mac_put(frame, dest_mac);
    mac_put(frame + MAC_LEN, source_mac);
    be16_put(frame + ETHERNET_LEN - 2, ethertype);
    be32_put(frame + ETHERNET_LEN, serial);
    sim_send(lan->members[from], lan->nwid, NULL, frame, ETHERNET_LEN + len);
}

static uint64_t member_mac(const struct lan *lan, size_t i)
{
    return mac_of_member(lan->nwid, sim_address(lan->members[i]));
}

static void burst(struct lan *lan, struct script s)
{
    size_t from = below(&s, MEMBERS);
    size_t count = 1 + below(&s, 30);

    for (size_t i = 0; i < count; i++) {
        uint16_t type = below(&s, 5) == 0 ? ETHERTYPE_REFUSED : ETHERTYPE_FLOW;
        size_t len = 4 + below(&s, below(&s, 2) == 0 ? 100 : 2797);

        send_frame(lan, from, member_mac(lan, below(&s, MEMBERS)), member_mac(lan, from), type,
                   (uint32_t)s.random, len);
    }
}

/* Frames to groups, to nobody, from and to MACs behind the bridge. */
static void oddities(struct lan *lan, struct script s)
{
    size_t from = below(&s, MEMBERS);
    uint64_t own = member_mac(lan, from);
    uint32_t serial = (uint32_t)s.random;

    send_frame(lan, from, MAC_BROADCAST, own, ETHERTYPE_FLOW, serial, 40);
    send_frame(lan, from, 0x333300000000 | below(&s, 4), own, ETHERTYPE_FLOW, serial, 60);
    send_frame(lan, from, mac_of_member(lan->nwid, 0x123456789a), own, ETHERTYPE_FLOW, serial, 60);
    send_frame(lan, from, member_mac(lan, (from + 1) % MEMBERS), 0x020000000007, ETHERTYPE_FLOW,
               serial, 80); /* only the bridge may */
    send_frame(lan, from, own, own, ETHERTYPE_FLOW, serial, 50);
    send_frame(lan, 3, member_mac(lan, from), 0x020000000009, ETHERTYPE_FLOW, serial, 90);
    send_frame(lan, from, 0x020000000009, own, ETHERTYPE_FLOW, serial, 90); /* learned above */
}

/* A TCP stream: super-frames. */
static void stream(struct lan *lan, struct script s)
{
    static uint8_t frame[70000];
    size_t from = below(&s, MEMBERS);
    size_t to = below(&s, MEMBERS);
    uint8_t *ip = frame + ETHERNET_LEN;
    uint8_t *tcp = ip + IPV4_LEN;
    uint32_t seq = (uint32_t)s.random;

    for (unsigned i = 0; i < 3; i++) {
        uint16_t gso_size = (uint16_t)(200 + below(&s, 2500));
        size_t len = 1 + below(&s, 50000);
        size_t total = ETHERNET_LEN + IPV4_LEN + TCP_LEN + len;
        struct vnet_header vnet = {.flags = VNET_NEEDS_CSUM,
                                   .gso_type = VNET_GSO_TCPV4,
                                   .gso_size = gso_size,
                                   .csum_start = ETHERNET_LEN + IPV4_LEN,
                                   .csum_offset = TCP_AT_CHECKSUM};

        for (size_t k = 0; k < total; k++) {
            frame[k] = (uint8_t)(k * 7 + s.random);
        }
        mac_put(frame, member_mac(lan, to));
        mac_put(frame + MAC_LEN, member_mac(lan, from));
        be16_put(frame + 12, ETHERTYPE_IPV4);
        memset(ip, 0, IPV4_LEN + TCP_LEN);
        ip[0] = 0x45;
        be16_put(ip + IPV4_AT_FRAGMENT, IPV4_DF);
        ip[IPV4_AT_TTL] = 64;
        ip[IPV4_AT_PROTOCOL] = IP_TCP;
        be32_put(ip + IPV4_AT_ADDRESSES, 0x0a790001 + (uint32_t)from);
        be32_put(ip + IPV4_AT_ADDRESSES + 4, 0x0a790001 + (uint32_t)to);
        be32_put(tcp + TCP_AT_SEQ, seq);
        tcp[TCP_AT_OFFSET] = 5 << 4;
        tcp[TCP_AT_FLAGS] = (uint8_t)(TCP_ACK | (below(&s, 2) == 0 ? TCP_PSH : 0));
        be16_put(tcp + TCP_AT_CHECKSUM,
                 checksum_fold(checksum_pseudo(ip, IP_TCP, total - ETHERNET_LEN - IPV4_LEN)));
        sim_send(lan->members[from], lan->nwid, &vnet, frame, total);
        seq += (uint32_t)len;
    }
}

static uint64_t counter(struct sim_node *node, const char *name)
{
    const char *is = "";
    uint64_t value = 0;

    for (size_t i = 0; is != NULL; i++) {
        value = node_counter(sim_engine(node), i, &is);
        if (is != NULL && strcmp(is, name) == 0) {
            return value;
        }
    }
    fail();
    return 0;
}

/* Add what is counted now, or take it away. */
static void count_all(struct lan *lan, int sign)
{
    for (size_t i = 0; i < MEMBERS; i++) {
        sim_worker_harvest(lan->members[i]);
        for (size_t k = 0; k < COUNTERS; k++) {
            uint64_t n = counter(lan->members[i], counters[k]);

            lan->counts[i * COUNTERS + k] += sign > 0 ? n : -n;
        }
    }
}

/* Everybody says something to everybody over VL1, member or not. */
static void speak(struct lan *lan)
{
    static const uint8_t text[] = {1, 2, 3};
    struct sim_node *nodes[NODES] = {lan->root, lan->controller};

    memcpy(nodes + 2, lan->members, sizeof(lan->members));
    for (size_t i = 0; i < (size_t)NODES * NODES; i++) {
        struct sim_node *to = nodes[i % NODES];
        struct sim_node *from = nodes[i / NODES];

        if (from != to && node_user_message(sim_engine(from), sim_address(to), 0, text,
                                            sizeof(text), sim_now(lan->sim)) < 0) {
            fail();
        }
        sim_end_input(from);
    }
}

/* Paths changed: let everybody find out. Of the data path the engine hears up to DP_HARVEST_MS
 * later than of what it sends itself, so a path may be tested and left that much later, and what
 * was sent meanwhile is lost. That is the one race between the two networks, so what happens here
 * is neither compared nor counted, and in the end all have looked at all paths. */
static void settle(struct lan *lan)
{
    count_all(lan, 1);
    for (unsigned round = 0; round < SETTLE_ROUNDS; round++) {
        for (size_t i = 0; i < MEMBERS * MEMBERS; i++) {
            size_t from = i / MEMBERS;

            send_frame(lan, from, member_mac(lan, i % MEMBERS), member_mac(lan, from),
                       ETHERTYPE_SETTLE, 0, 20);
        }
        if (round > 0) { /* first by what workers tell alone */
            speak(lan);
        }
        (void)sim_run(lan->sim, SETTLE_MS, NULL, NULL);
    }
    count_all(lan, -1);
}

static void set_rules(struct lan *lan, size_t program)
{
    char json[600];
    char rules[300];

    if (programs[program][0] == '[') {
        (void)snprintf(rules, sizeof(rules), "%s", programs[program]);
    } else {
        (void)snprintf(rules, sizeof(rules),
                       "[{\"type\":\"MATCH_ETHERTYPE\",\"etherType\":34998},"
                       "{\"type\":\"ACTION_%s\",\"address\":\"%010llx\",\"length\":64},"
                       "{\"type\":\"ACTION_ACCEPT\"}]",
                       programs[program], (unsigned long long)sim_address(lan->members[5]));
    }
    (void)snprintf(json, sizeof(json), "{\"rules\":%s}", rules);
    sim_set_network(lan->controller, lan->nwid, json);
}

static void step(struct lan *lan, struct script s)
{
    size_t who = below(&s, MEMBERS);
    bool yes = below(&s, 2) == 0;

    switch (below(&s, 16)) {
    case 0: /* what comes in one batch with the news may pass */
        (void)sim_run(lan->sim, DRAIN_MS, NULL, NULL);
        sim_set_member(lan->controller, lan->nwid, lan->members[who],
                       yes ? "{\"authorized\":true}" : "{\"authorized\":false}");
        (void)sim_run(lan->sim, DRAIN_MS, NULL, NULL);
        break;
    case 1:
        (void)sim_run(lan->sim, DRAIN_MS, NULL, NULL);
        set_rules(lan, below(&s, sizeof(programs) / sizeof(programs[0])));
        (void)sim_run(lan->sim, DRAIN_MS, NULL, NULL);
        break;
    case 2:
        sim_partition(lan->members[who], lan->members[(who + 1) % MEMBERS], yes);
        settle(lan);
        break;
    case 3:
        sim_move(lan->members[who]);
        settle(lan);
        break;
    case 4:
        oddities(lan, s);
        break;
    case 5:
    case 6:
    case 7:
        stream(lan, s);
        break;
    default:
        burst(lan, s);
        break;
    }
    (void)sim_run(lan->sim, (int64_t)(below(&s, 4) == 0 ? below(&s, 3000) : below(&s, 60)), NULL,
                  NULL);
}

/* ---- what is compared ---- */

static int by_flow(const void *a, const void *b, void *flows)
{
    const uint64_t *f = flows;
    size_t i = *(const uint32_t *)a;
    size_t k = *(const uint32_t *)b;

    if (f[i] != f[k]) {
        return f[i] < f[k] ? -1 : 1;
    }
    return i < k ? -1 : 1;
}

/* Indices of a log, flow by flow, each in order. */
static const uint32_t *sort_flows(const struct flow_log *log, uint32_t order[FLOW_FRAMES])
{
    for (size_t i = 0; i < log->count; i++) {
        order[i] = (uint32_t)i;
    }
    qsort_r(order, log->count, sizeof(*order), by_flow, (void *)(uintptr_t)log->flows);
    return order;
}

/* Every frame of each flow in the same order. */
static bool same_flows(const struct flow_log *la, const struct flow_log *lb)
{
    static uint32_t orders[2][FLOW_FRAMES];
    const uint32_t *oa = sort_flows(la, orders[0]);
    const uint32_t *ob = sort_flows(lb, orders[1]);

    for (size_t i = 0; i < la->count && i < lb->count; i++) {
        if (la->hashes[oa[i]] != lb->hashes[ob[i]]) {
            print_message("at %lld ms %u bytes, and at %lld ms %u bytes\n",
                          (long long)la->times[oa[i]], la->lens[oa[i]], (long long)lb->times[ob[i]],
                          lb->lens[ob[i]]);
            return false;
        }
    }
    return la->count == lb->count;
}

static void compare_flows(const struct lan *a, const struct lan *b, unsigned at)
{
    for (size_t i = 0; i < MEMBERS * (MEMBERS + 1); i++) {
        if (!same_flows(&a->logs[i], &b->logs[i])) {
            print_message("step %u: member %zu from %zu: %zu and %zu frames\n", at,
                          i / (MEMBERS + 1), i % (MEMBERS + 1), a->logs[i].count, b->logs[i].count);
            fail();
        }
    }
}

static void compare_counters(struct lan *a, struct lan *b)
{
    count_all(a, 1);
    count_all(b, 1);
    for (size_t i = 0; i < MEMBERS * COUNTERS; i++) {
        if (a->counts[i] != b->counts[i]) {
            print_message("member %zu %s: %llu and %llu\n", i / COUNTERS, counters[i % COUNTERS],
                          (unsigned long long)a->counts[i], (unsigned long long)b->counts[i]);
        }
        assert_int_equal(a->counts[i], b->counts[i]);
    }
}

static void run(uint64_t seed)
{
    static struct lan a;
    static struct lan b;
    struct script s = {.random = seed << 32};

    lan_start(&a, true, seed);
    lan_start(&b, false, seed);
    settle(&a);
    settle(&b);
    for (unsigned i = 0; i < STEPS; i++) {
        bool is_quiet = i % QUIET_EVERY == QUIET_EVERY - 1;

        step(&a, s);
        step(&b, s);
        s.random += 1000;
        if (is_quiet) {
            (void)sim_run(a.sim, QUIET_MS, NULL, NULL);
            (void)sim_run(b.sim, QUIET_MS, NULL, NULL);
            compare_flows(&a, &b, i);
        }
    }
    compare_counters(&a, &b);
    print_message("seed %llu: %zu frames, %llu of %llu packets given\n", (unsigned long long)seed,
                  a.frames, (unsigned long long)counter(a.members[0], "given_to_engine"),
                  (unsigned long long)counter(a.members[0], "rx_packets"));
    assert_true(a.frames > 100);
    lan_stop(&a);
    lan_stop(&b);
}

/* TEST_SEED=n: that seed alone; TEST_SEEDS=n: 1 to n. */
static void test_nobody_can_tell_them_apart(void **state)
{
    const char *one = getenv("TEST_SEED");
    const char *many = getenv("TEST_SEEDS");
    uint64_t first = one != NULL ? strtoull(one, NULL, 10) : 1;
    uint64_t last = one != NULL ? first : many != NULL ? strtoull(many, NULL, 10) : SEEDS;

    (void)state;
    for (uint64_t seed = first; seed <= last; seed++) {
        run(seed);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_nobody_can_tell_them_apart),
    };

    return cmocka_run_group_tests_name("sim_differential", tests, NULL, NULL);
}
