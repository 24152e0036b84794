/* What vl2 publishes to workers after which frame, and that whatever may change a decision takes it
 * back at once: a frame whose gate starts later is refused by vl2 or judged anew (contract
 * invariant 5). Source: data path contract sections 1, 3, 4, 6; spec 03 sections 7 to 10. */
#include "rig.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

enum { TYPE = 0x88b5, BOTH = DP_ACCESS_IN | DP_ACCESS_OUT };

static const uint64_t foreign = 0x001122334455;

static struct network *net_of(const struct rig *r)
{
    return vl2_find(r->b->vl2, BENCH_NWID);
}

static uint64_t address(const struct rig *r, char letter)
{
    return bench_id(r->b, letter)->address;
}

/* ---- credentials ---- */

static void add_com(struct rig *r, char letter, uint64_t timestamp)
{
    struct com com = bench_com(r->b, letter, timestamp);

    assert_int_equal(credential_add_com(net_of(r), &com, address(r, letter), r->b->now), ADD_NEW);
}

static void add_tag(struct rig *r, uint32_t value)
{
    struct tag tag = {.network_id = BENCH_NWID,
                      .timestamp = BENCH_TIME,
                      .holder = address(r, 'B'),
                      .id = 3,
                      .value = value};

    tag_sign(&tag, bench_id(r->b, 'C'));
    assert_int_equal(credential_add_tag(net_of(r), &tag, r->b->now), ADD_NEW);
}

static void add_capability(struct rig *r, const struct rule *rules, size_t count)
{
    struct capability *cap = capability_make(BENCH_NWID, BENCH_TIME, 3, rules, count);

    assert_int_equal(capability_sign(cap, bench_id(r->b, 'C'), address(r, 'B')), 0);
    assert_int_equal(credential_add_capability(net_of(r), cap, address(r, 'B'), r->b->now),
                     ADD_NEW);
}

static void add_ownership(struct rig *r)
{
    struct ownership own = {
        .network_id = BENCH_NWID, .timestamp = BENCH_TIME, .holder = address(r, 'B'), .id = 3};

    ownership_sign(&own, bench_id(r->b, 'C'));
    assert_int_equal(credential_add_ownership(net_of(r), &own, r->b->now), ADD_NEW);
}

static void revoke(struct rig *r, enum credential_type type)
{
    struct revocation rev = {.network_id = BENCH_NWID,
                             .threshold = BENCH_TIME,
                             .target = address(r, 'B'),
                             .credential_id = 3,
                             .type = (uint8_t)type};

    revocation_sign(&rev, bench_id(r->b, 'C'));
    assert_int_equal(credential_add_revocation(net_of(r), &rev, address(r, 'C'), r->b->now),
                     ADD_NEW);
}

/* ---- what is published when ---- */

static void test_nothing_before_a_unicast_frame(void **state)
{
    struct rig *r = *state;

    r->setup = (struct setup){.multicast_limit = 8, .flags = NETCONF_FLAG_BROADCAST};
    rig_network(r);
    assert_null(rig_port(r));
    assert_int_equal(rig_frame_out(r, MAC_BROADCAST, TYPE, 50), WAY_GIVEN);
    assert_int_equal(rig_frame_out(r, foreign, TYPE, 50), WAY_GIVEN);
    assert_int_equal(rig_frame_out(r, rig_mac(r, 'A'), TYPE, 50), WAY_GIVEN);
    assert_null(rig_port(r));
}

static void test_the_port_shows_the_configuration(void **state)
{
    static const struct {
        struct setup setup;
        enum filter_class class;
    } cases[] = {
        {{.mtu = 2800}, FILTER_CONSTANT},
        {{.mtu = 1400,
          .multicast_limit = 8,
          .is_public = true,
          .rules = "25020806"
                   "0000"
                   "0100"},
         FILTER_CONSTANT},
        {{.rules = "30080000000100000005"
                   "0000"
                   "0100"},
         FILTER_SAFE}, /* tags: drop; accept */
        {{.rules = "2b0480000000"
                   "0000"
                   "0100"},
         FILTER_UNSAFE}, /* random: drop; accept */
    };

    (void)state;
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct rig *r = rig_new(true);
        struct network *net;
        const struct dp_port *port;

        r->setup = cases[i].setup;
        net = rig_network(r);
        (void)rig_frame_in(r, 'B', TYPE, 50);
        port = rig_port(r);
        assert_non_null(port);
        assert_int_equal(port->is_public, cases[i].setup.is_public);
        assert_int_equal(port->multicast, cases[i].setup.multicast_limit != 0);
        assert_false(port->is_bridge);
        assert_true(port->mac == rig_mac(r, 'A'));
        assert_int_equal(port->mtu, network_mtu(net));
        assert_int_equal(port->traits.class, cases[i].class);
        assert_int_equal(rig_member(r, 'B')->traits.class, cases[i].class);
        assert_int_equal(port->filter->rule_count, net->conf.rule_count);
        assert_ptr_not_equal(port->filter->rules, net->filter.rules);
        rig_free(r);
    }
}

static void test_a_frame_in_publishes_what_is_complete(void **state)
{
    struct rig *r = *state;

    rig_network(r);
    add_com(r, 'D', BENCH_TIME);
    assert_int_equal(rig_frame_in(r, 'B', TYPE, 50), WAY_GIVEN);
    assert_int_equal(rig_access(r, 'B'), BOTH); /* everything was pushed to it */
    assert_int_equal(rig_frame_in(r, 'B', TYPE, 50), WAY_FAST);
    assert_int_equal(rig_frame_out(r, rig_mac(r, 'B'), TYPE, 50), WAY_FAST);
    assert_int_equal(r->written, 1);
    assert_int_equal(r->sent, 1);

    assert_int_equal(rig_frame_in(r, 'D', TYPE, 50), WAY_GIVEN);
    assert_int_equal(rig_access(r, 'D'), DP_ACCESS_IN); /* it has no credentials of ours */
    assert_int_equal(rig_frame_out(r, rig_mac(r, 'D'), TYPE, 50), WAY_GIVEN);
    assert_int_equal(bench_count(r->b, address(r, 'D'), VERB_NETWORK_CREDENTIALS), 1);
    assert_int_equal(rig_access(r, 'D'), BOTH);
    assert_int_equal(rig_frame_out(r, rig_mac(r, 'D'), TYPE, 50), WAY_FAST);
}

static void test_a_frame_out_publishes_one_way(void **state)
{
    struct rig *r = *state;

    rig_network(r);
    assert_int_equal(rig_frame_out(r, rig_mac(r, 'B'), TYPE, 50), WAY_GIVEN);
    assert_int_equal(rig_access(r, 'B'), DP_ACCESS_OUT); /* not heard of yet */
    assert_int_equal(rig_frame_in(r, 'B', TYPE, 50), WAY_GIVEN);
    assert_true(member_find(net_of(r), address(r, 'B'))->heard);
    assert_int_equal(rig_access(r, 'B'), BOTH);

    /* No certificate of E is known: frames may go, none are taken. */
    assert_int_equal(rig_frame_out(r, rig_mac(r, 'E'), TYPE, 50), WAY_GIVEN);
    assert_int_equal(rig_access(r, 'E'), DP_ACCESS_OUT);
    assert_int_equal(rig_frame_out(r, rig_mac(r, 'E'), TYPE, 50), WAY_FAST);
    assert_int_equal(rig_frame_in(r, 'E', TYPE, 50), WAY_GIVEN);
    assert_int_equal(rig_frame_in(r, 'E', TYPE, 50), WAY_GIVEN);
    assert_int_equal(bench_counter(r->b, "vl2_not_member"), 2);
}

/* Without credentials of ours nothing is pushed and no record needed, but one is made of peers. */
static void test_public_networks(void **state)
{
    struct rig *r = *state;
    uint64_t nobody = mac_of_member(BENCH_NWID, 0x2000000001);

    r->setup = (struct setup){.is_public = true, .no_com = true};
    bench_configure(r->b, &r->setup);
    assert_int_equal(rig_frame_out(r, nobody, TYPE, 50), WAY_GIVEN);
    assert_int_equal(rig_frame_out(r, nobody, TYPE, 50), WAY_GIVEN);
    assert_int_equal(net_of(r)->members.count, 0);
    assert_int_equal(rig_frame_out(r, rig_mac(r, 'E'), TYPE, 50), WAY_GIVEN);
    assert_int_equal(rig_access(r, 'E'), DP_ACCESS_OUT);
    assert_int_equal(rig_frame_out(r, rig_mac(r, 'E'), TYPE, 50), WAY_FAST);
    assert_int_equal(rig_frame_in(r, 'E', TYPE, 50), WAY_GIVEN);
    assert_int_equal(rig_frame_in(r, 'E', TYPE, 50), WAY_FAST);
}

/* Frames that need more than is published stay vl2's. */
static void test_frames_that_are_always_given(void **state)
{
    struct rig *r = *state;
    uint64_t b_mac;
    uint64_t own;

    rig_network(r);
    b_mac = rig_mac(r, 'B');
    own = rig_mac(r, 'A');
    (void)rig_frame_in(r, 'B', TYPE, 50);
    assert_int_equal(rig_access(r, 'B'), BOTH);
    assert_int_equal(rig_ext_in(r, 'B', own, b_mac, 50), WAY_FAST);
    assert_int_equal(rig_ext_in(r, 'B', own, foreign, 50), WAY_GIVEN);
    assert_int_equal(rig_ext_in(r, 'B', foreign, b_mac, 50), WAY_GIVEN);
    assert_int_equal(rig_ext_in(r, 'B', MAC_BROADCAST, b_mac, 50), WAY_GIVEN); /* off */
    assert_int_equal(rig_frame_out_from(r, b_mac, foreign, 50), WAY_GIVEN);
    assert_int_equal(bench_counter(r->b, "vl2_bridge_source"), 1);
    assert_int_equal(bench_counter(r->b, "vl2_bridge_dest"), 1);
    assert_int_equal(bench_counter(r->b, "vl2_multicast_off"), 1);
    assert_int_equal(bench_counter(r->b, "vl2_not_bridge"), 1);
}

/* ---- bridges ---- */

static void test_as_a_bridge(void **state)
{
    struct rig *r = *state;
    uint64_t b_mac = rig_mac(r, 'B');

    r->setup = (struct setup){.multicast_limit = 8,
                              .specialists = {SPECIALIST_BRIDGE | r->b->vl2->self},
                              .specialist_count = 1};
    rig_network(r);
    (void)rig_frame_in(r, 'B', TYPE, 50);
    assert_true(rig_port(r)->is_bridge);
    assert_int_equal(rig_ext_in(r, 'B', foreign, b_mac, 50), WAY_FAST);
    assert_int_equal(rig_ext_in(r, 'B', MAC_BROADCAST, b_mac, 50), WAY_GIVEN); /* may be a loop */
    assert_int_equal(rig_frame_out_from(r, b_mac, foreign, 50), WAY_FAST);
    assert_int_equal(r->written, 1);
    assert_int_equal(r->sent, 1);
}

/* A MAC that looks like a member's may belong to a host behind a bridge (Do better 18). */
static void test_a_mac_moves_behind_a_bridge_and_back(void **state)
{
    struct rig *r = *state;
    uint64_t e_mac = rig_mac(r, 'E');

    r->setup =
        (struct setup){.specialists = {SPECIALIST_BRIDGE | address(r, 'D')}, .specialist_count = 1};
    rig_network(r);
    bench_member(r->b, 'D');
    assert_int_equal(rig_frame_out(r, e_mac, TYPE, 50), WAY_GIVEN);
    assert_int_equal(rig_access(r, 'E'), DP_ACCESS_OUT);
    (void)rig_ext_in(r, 'D', rig_mac(r, 'A'), e_mac, 50);
    assert_true(rig_member(r, 'D')->is_bridge);
    assert_null(rig_member(r, 'E'));
    bench_clear(r->b);
    assert_int_equal(rig_frame_out(r, e_mac, TYPE, 50), WAY_GIVEN);
    assert_int_equal(rig_frame_out(r, e_mac, TYPE, 50), WAY_GIVEN);
    assert_int_equal(bench_count(r->b, address(r, 'D'), VERB_EXT_FRAME), 2);
    assert_int_equal(rig_access(r, 'E'), 0);

    add_com(r, 'E', BENCH_TIME); /* there is such a member */
    assert_int_equal(rig_frame_out(r, e_mac, TYPE, 50), WAY_GIVEN);
    assert_int_equal(bench_count(r->b, address(r, 'E'), VERB_FRAME), 1);
    assert_int_equal(rig_frame_out(r, e_mac, TYPE, 50), WAY_FAST);
    (void)rig_ext_in(r, 'D', rig_mac(r, 'A'), e_mac, 50);
    assert_int_equal(rig_frame_out(r, e_mac, TYPE, 50), WAY_FAST);
}

/* ---- withdrawal ---- */

static const struct rule accept_all = {.type = RULE_ACCEPT};

static void have_tag(struct rig *r)
{
    add_tag(r, 1);
}

static void have_capability(struct rig *r)
{
    add_capability(r, &accept_all, 1);
}

static void revoke_com(struct rig *r)
{
    revoke(r, CREDENTIAL_COM);
}

static void revoke_tag(struct rig *r)
{
    revoke(r, CREDENTIAL_TAG);
}

static void revoke_capability(struct rig *r)
{
    revoke(r, CREDENTIAL_CAPABILITY);
}

static void revoke_ownership(struct rig *r)
{
    revoke(r, CREDENTIAL_OWNERSHIP);
}

static void change_tag(struct rig *r)
{
    add_tag(r, 2);
}

static void disagree(struct rig *r)
{
    add_com(r, 'B', BENCH_TIME + BENCH_WINDOW + 1);
}

/* De-authorized by the controller: the new certificate of our own no longer agrees with its. */
static void deauthorize(struct rig *r)
{
    r->setup.timestamp = BENCH_TIME + BENCH_WINDOW + 1;
    bench_configure(r->b, &r->setup);
}

static void reconfigure(struct rig *r)
{
    r->setup.timestamp = BENCH_TIME + 1;
    bench_configure(r->b, &r->setup);
}

static void forbid(struct rig *r)
{
    r->setup.rules = "0000";
    reconfigure(r);
}

static void set_back(struct rig *r)
{
    size_t len;
    char *text;

    r->setup.timestamp = BENCH_TIME - 1;
    text = bench_config(r->b, &r->setup, &len);
    assert_int_equal(network_apply(net_of(r), text, len, CONFIG_ANSWERED, r->b->now), 0);
    free(text);
}

static void leave(struct rig *r)
{
    assert_int_equal(vl2_leave(r->b->vl2, BENCH_NWID, r->b->now), 0);
}

static void change_limit(struct rig *r)
{
    r->b->vl1.packet_limit = 9704;
    vl2_limit_changed(r->b->vl2);
}

static void greet(struct rig *r)
{
    vl2_greeted(r->b->vl2, address(r, 'B'), r->b->now);
}

static void idle(struct rig *r)
{
    r->b->now += MEMBER_IDLE_MS;
    members_clean(net_of(r), r->b->now);
}

/* Something happens while both directions are the worker's; then both are vl2's, at once. */
static const struct cause {
    const char *name;
    void (*before)(struct rig *r);
    void (*happen)(struct rig *r);
    const char *rules;
    bool taken; /* a frame in, afterwards */
    bool sent;  /* a frame out, afterwards */
} causes[] = {
    {"certificate revoked", NULL, revoke_com, NULL, false, false},
    {"tag revoked", have_tag, revoke_tag, NULL, true, true},
    {"ownership revoked", add_ownership, revoke_ownership, NULL, true, true},
    {"capability revoked", have_capability, revoke_capability,
     "2502"
     "0806"
     "0100",
     false, false},
    {"capability added", NULL, have_capability,
     "2502"
     "0806"
     "0100",
     true, false},
    {"tag added", NULL, have_tag, NULL, true, true},
    {"tag changed", have_tag, change_tag, NULL, true, true},
    {"ownership added", NULL, add_ownership, NULL, true, true},
    {"certificate disagrees", NULL, disagree, NULL, false, false},
    {"de-authorized", NULL, deauthorize, NULL, false, false},
    {"configuration", NULL, reconfigure, NULL, true, true},
    {"configuration forbids", NULL, forbid, NULL, false, false},
    {"configuration set back", NULL, set_back, NULL, false, true}, /* nobody is known any more */
    {"left", NULL, leave, NULL, false, false},
    {"limit", NULL, change_limit, NULL, true, true},
    {"greeted", NULL, greet, NULL, true, true},
    {"idle", NULL, idle, NULL, false, true},
};

/* Both directions by the worker. */
static void get_fast(struct rig *r)
{
    (void)rig_frame_in(r, 'B', TYPE, 50);
    (void)rig_frame_out(r, rig_mac(r, 'B'), TYPE, 50);
    assert_int_equal(rig_frame_in(r, 'B', TYPE, 50), WAY_FAST);
    assert_int_equal(rig_frame_out(r, rig_mac(r, 'B'), TYPE, 50), WAY_FAST);
}

/* Frames that worker and vl2 together took in, and sent. */
static size_t taken_in(const struct rig *r)
{
    return r->written + r->b->vl1.frame_count;
}

static size_t sent_out(const struct rig *r)
{
    return r->sent + bench_count(r->b, address(r, 'B'), VERB_FRAME);
}

/* The first frame after it happened, and the next ones, in one direction. */
static void check_after(struct rig *r, const struct cause *c, bool out)
{
    size_t before = out ? sent_out(r) : taken_in(r);
    size_t more = (out ? c->sent : c->taken) ? 1 : 0;
    enum way way;

    for (size_t n = 1; n <= 3; n++) {
        way = out ? rig_frame_out(r, rig_mac(r, 'B'), TYPE, 50) : rig_frame_in(r, 'B', TYPE, 50);
        if (n == 1) {
            assert_int_equal(way, WAY_GIVEN);
        } else if (more > 0) {
            assert_int_equal(way, WAY_FAST);
        }
        assert_int_equal(out ? sent_out(r) : taken_in(r), before + n * more);
        rig_harvest(r);
        rig_reclaim(r);
    }
}

static void test_every_cause_withdraws(void **state)
{
    (void)state;
    for (size_t i = 0; i < 2 * COUNT_OF(causes); i++) {
        struct rig *r = rig_new(true);
        const struct cause *c = &causes[i / 2];
        struct dp_member *member;

        print_message("%s, %s first\n", c->name, i % 2 != 0 ? "out" : "in");
        r->setup.rules = c->rules;
        rig_network(r);
        if (c->before != NULL) {
            c->before(r);
        }
        get_fast(r);
        bench_clear(r->b);
        member = rig_member(r, 'B');
        c->happen(r);
        assert_null(rig_member(r, 'B'));
        assert_int_equal(atomic_load(&member->access), 0); /* also for who holds it */
        check_after(r, c, i % 2 != 0);
        rig_free(r);
    }
}

static void test_a_captured_network_is_the_engines(void **state)
{
    struct rig *r = *state;

    rig_network(r);
    get_fast(r);
    assert_int_equal(vl2_capture(r->b->vl2, BENCH_NWID, true), 0);
    assert_int_equal(rig_frame_in(r, 'B', TYPE, 50), WAY_GIVEN);
    assert_int_equal(rig_frame_in(r, 'B', TYPE, 50), WAY_GIVEN);
    assert_null(rig_port(r));
    assert_int_equal(vl2_capture(r->b->vl2, BENCH_NWID, false), 0);
    assert_int_equal(rig_frame_in(r, 'B', TYPE, 50), WAY_GIVEN);
    assert_int_equal(rig_frame_in(r, 'B', TYPE, 50), WAY_FAST);
}

/* What does not touch a decision leaves what is published alone. */
static void test_a_renewed_certificate_changes_nothing(void **state)
{
    struct rig *r = *state;
    struct dp_member *member;

    rig_network(r);
    get_fast(r);
    member = rig_member(r, 'B');
    add_com(r, 'B', BENCH_TIME + 60000);
    add_com(r, 'D', BENCH_TIME);
    assert_ptr_equal(rig_member(r, 'B'), member);
    assert_int_equal(rig_frame_in(r, 'B', TYPE, 50), WAY_FAST);
}

/* Others of the network go on. */
static void test_a_revocation_is_its_targets(void **state)
{
    struct rig *r = *state;

    rig_network(r);
    bench_member(r->b, 'D');
    get_fast(r);
    (void)rig_frame_in(r, 'D', TYPE, 50);
    revoke_com(r);
    assert_int_equal(rig_frame_in(r, 'D', TYPE, 50), WAY_FAST);
    assert_int_equal(rig_frame_in(r, 'B', TYPE, 50), WAY_GIVEN);
    assert_int_equal(rig_frame_in(r, 'D', TYPE, 50), WAY_FAST);
}

/* In the middle of a turn, from a memo of the member and of a verdict that holds for it. */
static void test_revoked_within_a_turn(void **state)
{
    static uint8_t bufs[3][PACKET_MAX];
    struct rig *r = *state;
    struct dp_message messages[3];
    uint8_t payload[100] = {0};
    struct wr w = wr_init(payload, sizeof(payload));
    struct inetaddr at;
    size_t written;

    rig_network(r);
    get_fast(r);
    written = r->written;
    frame_write_header(&w, BENCH_NWID, TYPE);
    assert_int_equal(inetaddr_parse("192.0.2.7/9993", 14, &at), 0);
    for (size_t i = 0; i < 3; i++) {
        size_t len = rig_seal(r, i == 1 ? 'D' : 'B', i == 1 ? VERB_NETWORK_CREDENTIALS : VERB_FRAME,
                              payload, sizeof(payload), bufs[i]);

        messages[i] = (struct dp_message){
            .data = bufs[i], .len = len, .cap = sizeof(bufs[i]), .segment = len, .from = at};
    }
    r->meanwhile = revoke_com;
    dp_receive(r->dp, 1, messages, 3, r->b->now);
    dp_flush(r->dp);
    assert_int_equal(r->written, written + 1);
    assert_int_equal(r->gift_count, 2);
    bench_clear(r->b);
    rig_serve(r);
    assert_int_equal(r->b->vl1.frame_count, 0);
}

/* Losing rights needs no memory; nothing new is given while too much waits. */
static void test_no_room(void **state)
{
    struct rig *r = *state;

    rig_network(r);
    get_fast(r);
    r->pub->limbo.count += DP_RETIRED_MAX;
    revoke_com(r);
    assert_null(rig_member(r, 'B'));
    assert_int_equal(rig_frame_in(r, 'B', TYPE, 50), WAY_GIVEN);
    bench_member(r->b, 'D');
    (void)rig_frame_in(r, 'D', TYPE, 50);
    assert_int_equal(rig_frame_in(r, 'D', TYPE, 50), WAY_GIVEN);
    assert_null(rig_member(r, 'D'));
    reconfigure(r);
    assert_int_equal(rig_frame_in(r, 'D', TYPE, 50), WAY_GIVEN);
    assert_null(rig_port(r));
    r->pub->limbo.count -= DP_RETIRED_MAX;
    (void)rig_frame_in(r, 'D', TYPE, 50);
    assert_int_equal(rig_frame_in(r, 'D', TYPE, 50), WAY_FAST);
}

/* A push that fell due is seen by vl2 first where it handles a frame. */
static void test_what_fell_due_is_taken_in_place(void **state)
{
    struct rig *r = *state;
    struct dp_member *member;

    rig_network(r);
    get_fast(r);
    member = rig_member(r, 'B');
    r->b->now += 500001;
    assert_int_equal(rig_ext_in(r, 'B', foreign, rig_mac(r, 'B'), 50), WAY_GIVEN);
    assert_ptr_equal(rig_member(r, 'B'), member);
    assert_int_equal(rig_access(r, 'B'), DP_ACCESS_IN);
    assert_int_equal(rig_frame_out(r, rig_mac(r, 'B'), TYPE, 50), WAY_GIVEN);
    assert_int_equal(bench_count(r->b, address(r, 'B'), VERB_NETWORK_CREDENTIALS), 1);
    assert_int_equal(rig_access(r, 'B'), BOTH);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        WITH_RIG(test_nothing_before_a_unicast_frame),
        cmocka_unit_test(test_the_port_shows_the_configuration),
        WITH_RIG(test_a_frame_in_publishes_what_is_complete),
        WITH_RIG(test_a_frame_out_publishes_one_way),
        WITH_RIG(test_public_networks),
        WITH_RIG(test_frames_that_are_always_given),
        WITH_RIG(test_as_a_bridge),
        WITH_RIG(test_a_mac_moves_behind_a_bridge_and_back),
        cmocka_unit_test(test_every_cause_withdraws),
        WITH_RIG(test_a_captured_network_is_the_engines),
        WITH_RIG(test_a_renewed_certificate_changes_nothing),
        WITH_RIG(test_a_revocation_is_its_targets),
        WITH_RIG(test_revoked_within_a_turn),
        WITH_RIG(test_no_room),
        WITH_RIG(test_what_fell_due_is_taken_in_place),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
