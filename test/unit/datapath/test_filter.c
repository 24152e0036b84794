/* The rule evaluator against golden vectors: RUL-3, RUL-4, RUL-5, RUL-6, RUL-7, RUL-8, RUL-9,
 * SEC-3, CRD-7. Source: spec 03 section 16. */
#include "filter_case.h"
#include "vectors.h"

#include "base/hex.h"
#include "datapath/filter.h"
#include "datapath/filter_program.h"
#include "wire/mac.h"
#include "wire/netconf.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static void assert_same_result(const struct filter_result *a, const struct filter_result *b)
{
    assert_int_equal(a->verdict, b->verdict);
    assert_int_equal(a->base, b->base);
    assert_int_equal(a->bucket, b->bucket);
    assert_int_equal(a->by_capability, b->by_capability);
    if (a->by_capability) {
        assert_int_equal(a->capability_id, b->capability_id);
    }
    assert_int_equal(a->effect_count, b->effect_count);
    for (size_t i = 0; i < a->effect_count; i++) {
        assert_int_equal(a->effects[i].target, b->effects[i].target);
        assert_int_equal(a->effects[i].len, b->effects[i].len);
        assert_int_equal(a->effects[i].flags, b->effects[i].flags);
        assert_int_equal(a->effects[i].is_redirect, b->effects[i].is_redirect);
    }
}

/* The same credentials with capabilities made ready, in the memory given. */
static struct filter_credentials
make_ready(const struct filter_credentials *from,
           struct filter_capability caps[FILTER_CASE_CAP_MAX],
           struct filter_op ops[FILTER_CASE_CAP_MAX][RULES_CAPABILITY_MAX])
{
    struct filter_credentials to = *from;

    assert_in_range(from->capability_count, 0, FILTER_CASE_CAP_MAX);
    for (size_t i = 0; i < from->capability_count; i++) {
        caps[i] = from->capabilities[i];
        filter_compile(caps[i].rules, caps[i].rule_count, ops[i]);
        caps[i].program = ops[i];
    }
    to.capabilities = caps;
    return to;
}

/* Evaluate the rules as they are, and made ready: no difference can be told. */
static void evaluate_both(const struct filter_input *in, bool is_inbound, struct filter_result *ret)
{
    static struct filter_op ops[RULES_BASE_MAX];
    static struct filter_op cap_ops[2][FILTER_CASE_CAP_MAX][RULES_CAPABILITY_MAX];
    struct filter_capability caps[2][FILTER_CASE_CAP_MAX];
    struct filter_network network = *in->network;
    struct filter_credentials remote;
    struct filter_input ready = *in;
    struct filter_result got;

    filter_compile(network.rules, network.rule_count, ops);
    network.program = ops;
    network.own = make_ready(&network.own, caps[0], cap_ops[0]);
    ready.network = &network;
    if (in->remote != NULL) {
        remote = make_ready(in->remote, caps[1], cap_ops[1]);
        ready.remote = &remote;
    }
    (is_inbound ? filter_inbound : filter_outbound)(in, ret);
    (is_inbound ? filter_inbound : filter_outbound)(&ready, &got);
    assert_same_result(ret, &got);
}

static void evaluate(const struct filter_case *c, struct filter_result *ret)
{
    evaluate_both(&c->in, c->is_inbound, ret);
}

static const char *outcome_name(enum filter_outcome outcome)
{
    static const char *const names[] = {
        [FILTER_NO_MATCH] = "NO_MATCH",
        [FILTER_SET_DROP] = "DROP",
        [FILTER_SET_REDIRECT] = "REDIRECT",
        [FILTER_SET_ACCEPT] = "ACCEPT",
        [FILTER_SET_SUPER_ACCEPT] = "SUPER_ACCEPT",
    };

    return names[outcome];
}

static bool effects_agree(const struct filter_case *c, const struct filter_result *got)
{
    const json_t *sent = vec_get(c->expect, "sent");
    const json_t *one;
    size_t i;

    if (json_array_size(sent) != got->effect_count) {
        return false;
    }
    json_array_foreach(sent, i, one)
    {
        const struct filter_effect *e = &got->effects[i];
        size_t len;
        uint8_t *payload = vec_bytes(one, "payload", &len);
        bool same = e->target == vec_hex_u64(one, "dest") && e->flags == vec_int(one, "flags") &&
                    e->len == len && memcmp(payload, c->payload, len) == 0 &&
                    vec_mac(one, "macDest") == c->frame.dest_mac &&
                    vec_mac(one, "macSource") == c->frame.source_mac &&
                    vec_int(one, "etherType") == c->frame.ethertype;

        free(payload);
        if (!same) {
            return false;
        }
    }
    return true;
}

/* True if the result is the expected one; else says so. */
static bool agrees(const struct filter_case *c, const struct filter_result *got)
{
    bool is_exception = filter_case_verdict(c) != vec_int(c->expect, "accept");
    bool ok = (int64_t)got->verdict == filter_case_verdict(c) && effects_agree(c, got) &&
              (is_exception || strcmp(outcome_name(got->base), vec_text(c->expect, "base")) == 0) &&
              (c->is_inbound || got->bucket == vec_int(c->expect, "qosBucket"));

    if (!ok) {
        printf("%s: got verdict %d base %s bucket %u effects %u\n", c->name, (int)got->verdict,
               outcome_name(got->base), got->bucket, got->effect_count);
    }
    return ok;
}

struct all_cases {
    json_t *root;
    struct filter_case *cases;
    size_t count;
};

static int load_all(void **state)
{
    struct all_cases *all = calloc(1, sizeof(*all));
    json_t *list;

    if (all == NULL) {
        return -1;
    }
    all->root = vectors_load("vl2.json");
    list = vec_get(all->root, "filter");
    all->count = json_array_size(list);
    all->cases = calloc(all->count, sizeof(*all->cases));
    if (all->cases == NULL) {
        return -1;
    }
    for (size_t i = 0; i < all->count; i++) {
        filter_case_load(&all->cases[i], json_array_get(list, i), vec_get(all->root, "meta"));
    }
    *state = all;
    return 0;
}

static int free_all(void **state)
{
    struct all_cases *all = *state;

    for (size_t i = 0; i < all->count; i++) {
        filter_case_free(&all->cases[i]);
    }
    free(all->cases);
    json_decref(all->root);
    free(all);
    return 0;
}

/* RUL-3, RUL-8, RUL-9, SEC-3 */
static void test_vectors_agree(void **state)
{
    struct all_cases *all = *state;
    size_t bad = 0;

    assert_int_equal(all->count, 462);
    for (size_t i = 0; i < all->count; i++) {
        struct filter_result got;

        evaluate(&all->cases[i], &got);
        bad += !agrees(&all->cases[i], &got);
    }
    assert_int_equal(bad, 0);
}

/* RUL-4: in random order, over and over. */
static void test_no_state_leaks(void **state)
{
    struct all_cases *all = *state;
    struct test_rng rng = test_rng_init("filter order");

    for (size_t i = 0; i < 20 * all->count; i++) {
        const struct filter_case *c = &all->cases[test_rng_below(&rng, all->count)];
        struct filter_result got;

        evaluate(c, &got);
        assert_true(agrees(c, &got));
    }
}

/* RUL-5: every frame cut at every length, in memory of exactly that size. */
static void test_truncated_frames_stay_in_bounds(void **state)
{
    struct all_cases *all = *state;

    for (size_t i = 0; i < all->count; i++) {
        struct filter_case c = all->cases[i];

        for (size_t len = 0; len < all->cases[i].frame.len; len++) {
            struct filter_result got;
            uint8_t *cut = exact_copy(all->cases[i].payload, len);

            c.frame.payload = cut;
            c.frame.len = len;
            c.in.frame = &c.frame;
            evaluate(&c, &got);
            assert_in_range(got.effect_count, 0, FILTER_EFFECTS_MAX);
            for (size_t k = 0; k < got.effect_count; k++) {
                assert_in_range(got.effects[k].len, 0, len);
            }
            free(cut);
        }
    }
}

/* RUL-5 for random rules and bytes: no field combination reads outside. */
static void test_random_rules_stay_in_bounds(void **state)
{
    struct test_rng rng = test_rng_init("random rules");
    static const uint16_t types[] = {0x0800, 0x86dd, 0x0806};
    struct filter_network network = {.network_id = 1, .self = 2, .flags = 0xff};

    (void)state;
    for (int round = 0; round < 20000; round++) {
        struct rule rules[8];
        uint8_t bytes[8 * RULE_WIRE_MAX];
        struct rd r;
        size_t len = test_rng_below(&rng, 100);
        uint8_t *payload = calloc(1, len + 1);
        struct filter_frame frame = {
            .payload = exact_copy(payload, len),
            .len = len,
            .ethertype = types[test_rng_below(&rng, 3)],
        };
        struct filter_input in = {
            .network = &network, .frame = &frame, .source = 2, .dest = 3, .draw = filter_case_draw};
        struct filter_result got;

        free(payload);
        test_rng_fill(&rng, (void *)(uintptr_t)frame.payload, len);
        if (len > 6 && test_rng_below(&rng, 2) == 0) {
            ((uint8_t *)(uintptr_t)frame.payload)[6] =
                (uint8_t[]){0, 43, 60, 135, 6, 58}[round % 6];
        }
        for (size_t i = 0; i < 8; i++) {
            uint8_t *at = bytes + i * RULE_WIRE_MAX;

            test_rng_fill(&rng, at, RULE_WIRE_MAX);
            at[1] = RULE_WIRE_MAX - 2;
        }
        r = rd_init(bytes, sizeof(bytes));
        assert_int_equal(rules_read(&r, rules, 8), 0);
        network.rules = rules;
        network.rule_count = 8;
        evaluate_both(&in, (round & 1) != 0, &got);
        free((void *)(uintptr_t)frame.payload);
    }
}

/* A rule that is about as likely to hold as not for frames of the next test. */
static struct rule likely_rule(struct test_rng *rng)
{
    static const uint8_t types[] = {RULE_DROP,
                                    RULE_ACCEPT,
                                    RULE_TEE,
                                    RULE_WATCH,
                                    RULE_REDIRECT,
                                    RULE_BREAK,
                                    RULE_PRIORITY,
                                    9,
                                    RULE_DROP,
                                    RULE_DROP,
                                    RULE_BREAK,
                                    RULE_SOURCE_ADDRESS,
                                    RULE_DEST_ADDRESS,
                                    RULE_VLAN_ID,
                                    RULE_MAC_SOURCE,
                                    RULE_MAC_DEST,
                                    RULE_IPV4_SOURCE,
                                    RULE_IPV4_DEST,
                                    RULE_IPV6_SOURCE,
                                    RULE_IPV6_DEST,
                                    RULE_IP_TOS,
                                    RULE_IP_PROTOCOL,
                                    RULE_ETHERTYPE,
                                    RULE_ICMP,
                                    RULE_SOURCE_PORT,
                                    RULE_DEST_PORT,
                                    RULE_CHARACTERISTICS,
                                    RULE_FRAME_SIZE,
                                    RULE_RANDOM,
                                    RULE_TAGS_EQUAL,
                                    RULE_TAG_SENDER,
                                    RULE_TAG_RECEIVER,
                                    RULE_INTEGER_RANGE,
                                    RULE_TAGS_XOR,
                                    60};
    static const uint16_t numbers[] = {0, 6, 17, 58, 0x800, 0x86dd};
    struct rule rule = {.type = types[test_rng_below(rng, sizeof(types))],
                        .is_not = test_rng_below(rng, 3) == 0,
                        .is_or = test_rng_below(rng, 4) == 0,
                        .id = (uint32_t)test_rng_below(rng, 3)};
    uint16_t small = (uint16_t)test_rng_below(rng, 4);

    switch (rule.type) {
    case RULE_TEE:
    case RULE_WATCH:
    case RULE_REDIRECT:
        rule.forward.address = small;
        rule.forward.length = (uint16_t)test_rng_below(rng, 60);
        break;
    case RULE_SOURCE_ADDRESS:
    case RULE_DEST_ADDRESS:
    case RULE_MAC_SOURCE:
    case RULE_MAC_DEST:
        rule.address = small;
        break;
    case RULE_IPV4_SOURCE:
    case RULE_IPV4_DEST:
    case RULE_IPV6_SOURCE:
    case RULE_IPV6_DEST:
        rule.prefix =
            (uint8_t[]){0, 1, 8, 31, 32, 33, 63, 64, 65, 127, 128, 200}[test_rng_below(rng, 12)];
        rule.ip[test_rng_below(rng, 16)] = (uint8_t)small;
        break;
    case RULE_SOURCE_PORT:
    case RULE_DEST_PORT:
    case RULE_FRAME_SIZE:
        rule.range.start = (uint16_t)test_rng_below(rng, 60);
        rule.range.end = (uint16_t)test_rng_below(rng, 80);
        break;
    case RULE_IP_TOS:
        rule.tos.mask = (uint8_t)(small == 3 ? 0xff : small);
        rule.tos.end = (uint8_t)test_rng_below(rng, 4);
        break;
    case RULE_CHARACTERISTICS:
        rule.mask = UINT64_C(1) << test_rng_below(rng, 64) | UINT64_C(1) << test_rng_below(rng, 12);
        break;
    case RULE_RANDOM:
        rule.probability = 0x80000000;
        break;
    case RULE_INTEGER_RANGE:
        rule.integer.distance = small;
        rule.integer.index = (uint16_t)test_rng_below(rng, 40);
        break;
    case RULE_TAGS_EQUAL:
    case RULE_TAGS_XOR:
    case RULE_TAG_SENDER:
    case RULE_TAG_RECEIVER:
        rule.value = small;
        break;
    case RULE_ICMP:
        rule.icmp.type = (uint8_t)small;
        rule.icmp.flags = (uint8_t)test_rng_below(rng, 2);
        break;
    default:
        rule.number = numbers[test_rng_below(rng, 6)];
        break;
    }
    return rule;
}

/* A frame whose fields have the small values that these rules name. */
static size_t likely_frame(struct test_rng *rng, uint8_t payload[100], uint16_t *ret_type)
{
    bool v6 = test_rng_below(rng, 2) == 0;
    size_t len = 1 + test_rng_below(rng, 99);

    for (size_t i = 0; i < 100; i++) {
        payload[i] = (uint8_t)(test_rng_below(rng, 3) == 0 ? test_rng_below(rng, 64) : 0);
    }
    *ret_type = v6 ? 0x86dd : 0x0800;
    if (v6) {
        payload[6] = (uint8_t[]){0, 43, 60, 6, 17, 58, 44}[test_rng_below(rng, 7)];
        payload[40] = (uint8_t[]){0, 6, 17, 58, 1, 3}[test_rng_below(rng, 6)];
        payload[41] = (uint8_t)test_rng_below(rng, 2);
    } else {
        payload[0] = (uint8_t)(0x45 + test_rng_below(rng, 2));
        payload[9] = (uint8_t[]){1, 6, 17, 132, 2}[test_rng_below(rng, 5)];
    }
    return test_rng_below(rng, 3) == 0 ? len : 100;
}

static uint32_t draw_counted(void *ctx)
{
    unsigned *draws = ctx;

    return ++*draws % 2 == 0 ? 0 : UINT32_MAX;
}

/* RUL-3: long programs whose matches hold half of the time, with every join: what was made ready
 * decides the same, by the same number of draws. */
static void test_made_ready_or_not(void **state)
{
    static const struct filter_tag tags[2][2] = {{{.id = 0, .value = 1}, {.id = 1, .value = 2}},
                                                 {{.id = 1, .value = 2}, {.id = 2, .value = 0}}};
    struct test_rng rng = test_rng_init("made ready");
    unsigned verdicts[3] = {0};

    (void)state;
    for (int round = 0; round < 60000; round++) {
        struct rule rules[40];
        struct filter_op ops[40];
        uint8_t payload[100];
        bool is_inbound = test_rng_below(&rng, 2) == 0;
        const struct filter_credentials remote = {.tags = tags[1], .tag_count = 2};
        struct filter_network network = {.self = 2,
                                         .flags = test_rng_below(&rng, 2) == 0 ? 0xff : 0,
                                         .rules = rules,
                                         .rule_count = (uint16_t)(1 + test_rng_below(&rng, 40)),
                                         .own = {.tags = tags[0], .tag_count = 2}};
        struct filter_frame frame = {.source_mac = test_rng_below(&rng, 3),
                                     .dest_mac = test_rng_below(&rng, 3),
                                     .payload = payload};
        unsigned draws = 0;
        unsigned again = 0;
        struct filter_input in = {.network = &network,
                                  .remote = test_rng_below(&rng, 4) == 0 ? NULL : &remote,
                                  .frame = &frame,
                                  .source = is_inbound ? 1 : 2,
                                  .dest = is_inbound ? 2 : test_rng_below(&rng, 4),
                                  .draw = draw_counted,
                                  .draw_ctx = &draws};
        struct filter_result one;
        struct filter_result two;

        frame.len = likely_frame(&rng, payload, &frame.ethertype);
        for (size_t i = 0; i < network.rule_count; i++) {
            rules[i] = likely_rule(&rng);
        }
        (is_inbound ? filter_inbound : filter_outbound)(&in, &one);
        filter_compile(rules, network.rule_count, ops);
        network.program = ops;
        in.draw_ctx = &again;
        (is_inbound ? filter_inbound : filter_outbound)(&in, &two);
        assert_same_result(&one, &two);
        assert_int_equal(draws, again);
        verdicts[one.verdict]++;
    }
    assert_true(verdicts[0] > 1000 && verdicts[1] > 1000 && verdicts[2] > 100);
}

/* CRD-7: exactly the window is valid, one more is not, both directions; thresholds count with
 * equality. */
static void test_validity_edges(void **state)
{
    const uint64_t ts = UINT64_C(1700000000000);
    const uint64_t window = 1800000;
    const struct {
        uint64_t tag_ts;
        uint64_t revoked;
        bool valid;
    } table[] = {
        {ts, 0, true},          {ts + window, 0, true},      {ts + window + 1, 0, false},
        {ts - window, 0, true}, {ts - window - 1, 0, false}, {ts, ts - 1, true},
        {ts, ts, false},        {ts, ts + 1, false},         {0, 0, false},
        {UINT64_MAX, 0, false},
    };

    (void)state;
    for (size_t i = 0; i < COUNT_OF(table); i++) {
        struct filter_tag local = {.id = 1, .value = 5};
        struct filter_tag remote = {
            .id = 1, .value = 5, .timestamp = table[i].tag_ts, .revoked = table[i].revoked};
        struct rule rules[] = {
            {.type = RULE_TAGS_EQUAL, .id = 1, .value = 5},
            {.type = RULE_ACCEPT},
        };
        struct filter_network network = {
            .self = 2,
            .timestamp = ts,
            .window = window,
            .rules = rules,
            .rule_count = 2,
            .own = {.tags = &local, .tag_count = 1},
        };
        struct filter_credentials creds = {.tags = &remote, .tag_count = 1};
        struct filter_frame frame = {.payload = (const uint8_t *)"", .len = 0};
        struct filter_input in = {
            .network = &network, .remote = &creds, .frame = &frame, .source = 3, .dest = 2};
        struct filter_result got;

        filter_inbound(&in, &got);
        assert_int_equal(got.verdict, table[i].valid ? FILTER_ACCEPT : FILTER_DROP);
    }
}

/* RUL-9: the first accepting capability in the given (ascending) order counts, both directions. */
static void test_capabilities_in_order(void **state)
{
    struct rule drop = {.type = RULE_DROP};
    struct rule bucket3 = {.type = RULE_PRIORITY, .bucket = 3};
    struct rule accept = {.type = RULE_ACCEPT};
    struct filter_capability caps[] = {
        {.id = 1, .rules = &drop, .rule_count = 1},
        {.id = 5, .rules = &bucket3, .rule_count = 1},
        {.id = 9, .rules = &accept, .rule_count = 1},
    };
    struct filter_credentials creds = {.capabilities = caps, .capability_count = 3};
    struct filter_network network = {.self = 2, .own = creds};
    struct filter_frame frame = {.payload = (const uint8_t *)"", .len = 0};
    struct filter_input in = {
        .network = &network, .remote = &creds, .frame = &frame, .source = 2, .dest = 3};
    struct filter_result got;

    (void)state;
    filter_outbound(&in, &got);
    assert_int_equal(got.verdict, FILTER_ACCEPT);
    assert_true(got.by_capability);
    assert_int_equal(got.capability_id, 5);
    assert_int_equal(got.bucket, 3);
    in.source = 3;
    in.dest = 2;
    caps[1].revoked = 1; /* threshold 1 >= timestamp 0 */
    filter_inbound(&in, &got);
    assert_int_equal(got.verdict, FILTER_ACCEPT);
    assert_int_equal(got.capability_id, 9);
}

static uint32_t draw_rng(void *ctx)
{
    return (uint32_t)test_rng_u64(ctx);
}

/* RUL-7 */
static void test_random_distribution(void **state)
{
    struct test_rng rng = test_rng_init("random match");
    struct rule rules[] = {{.type = RULE_RANDOM, .probability = 0x40000000}, {.type = RULE_ACCEPT}};
    struct filter_network network = {.rules = rules, .rule_count = 2};
    struct filter_frame frame = {.payload = (const uint8_t *)"", .len = 0};
    struct filter_input in = {
        .network = &network, .frame = &frame, .draw = draw_rng, .draw_ctx = &rng};
    size_t accepted = 0;

    (void)state;
    for (int i = 0; i < 1000000; i++) {
        struct filter_result got;

        filter_outbound(&in, &got);
        accepted += got.verdict == FILTER_ACCEPT;
    }
    assert_in_range(accepted, 247500, 252500);
}

/* RUL-6: bounded by the number of rules; the measured time is printed. */
static void test_largest_program_is_fast_enough(void **state)
{
    static struct rule rules[RULES_BASE_MAX];
    static struct rule cap_rules[RULES_CAPABILITY_MAX];
    static struct filter_capability caps[128];
    uint8_t payload[60] = {0x45, [9] = 6};
    struct filter_network network = {
        .rules = rules,
        .rule_count = RULES_BASE_MAX,
        .own = {.capabilities = caps, .capability_count = 128},
    };
    struct filter_frame frame = {.payload = payload, .len = sizeof(payload), .ethertype = 0x0800};
    struct filter_input in = {.network = &network, .frame = &frame, .source = 2, .dest = 3};
    struct filter_result got;
    struct timespec a;
    struct timespec b;
    double us;

    (void)state;
    for (size_t i = 0; i < RULES_BASE_MAX; i++) {
        rules[i] = (struct rule){.type = RULE_DEST_PORT, .is_or = true, .range = {1, 2}};
    }
    memcpy(cap_rules, &rules[1], sizeof(cap_rules));
    for (size_t i = 0; i < COUNT_OF(caps); i++) {
        caps[i] = (struct filter_capability){
            .id = (uint32_t)i, .rules = cap_rules, .rule_count = RULES_CAPABILITY_MAX};
    }
    clock_gettime(CLOCK_MONOTONIC, &a);
    for (int i = 0; i < 100; i++) {
        filter_outbound(&in, &got);
        assert_int_equal(got.verdict, FILTER_DROP);
    }
    clock_gettime(CLOCK_MONOTONIC, &b);
    us = ((double)(b.tv_sec - a.tv_sec) * 1e6 + (double)(b.tv_nsec - a.tv_nsec) / 1e3) / 100;
    printf("1024 base rules and 128 capabilities of 64: %.1f us a frame\n", us);
    assert_true(us < 20000);
}

/* Rule logs of remote traces, from the vectors. */
static void test_log_of_rules(void **state)
{
    struct all_cases *all = *state;
    const json_t *trace;
    size_t i;
    size_t seen = 0;

    json_array_foreach(vec_get(all->root, "remoteTraces"), i, trace)
    {
        const json_t *fields;
        const char *want;
        bool is_inbound;
        struct filter_log log;
        struct filter_result got;
        struct filter_network network = {0};
        struct filter_frame frame = {.ethertype = 0x0800};
        struct filter_input in = {.network = &network, .frame = &frame, .log = &log};
        size_t rules_len;
        uint8_t *bytes;
        uint8_t *payload;
        struct rule rules[16];
        struct rd r;
        char text[17];

        if (json_object_get(trace, "rulesHex") == NULL) {
            continue;
        }
        fields = vec_get(json_array_get(vec_get(trace, "sent"), 0), "fields");
        want = vec_text(fields, "filterBaseRuleLogFirst8");
        is_inbound = strcmp(vec_text(fields, "filterInbound"), "1") == 0;
        bytes = vec_bytes(trace, "rulesHex", &rules_len);
        payload = vec_bytes(trace, "frame", &frame.len);
        frame.payload = payload;
        in.source = vec_hex_u64(fields, "sourceZtAddr");
        in.dest = vec_hex_u64(fields, "destZtAddr");
        r = rd_init(bytes, rules_len);
        network.rule_count = (uint16_t)rules_count(r, 16);
        assert_int_equal(rules_read(&r, rules, network.rule_count), 0);
        network.rules = rules;
        network.self = is_inbound ? in.dest : in.source;
        if (is_inbound) {
            filter_inbound(&in, &got);
        } else {
            filter_outbound(&in, &got);
        }
        assert_int_equal(got.verdict, vec_hex_u64(fields, "filterResult"));
        hex_encode(log.base, 8, text);
        assert_memory_equal(text, want, 16);
        seen++;
        free(bytes);
        free(payload);
    }
    assert_int_equal(seen, 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_vectors_agree),
        cmocka_unit_test(test_no_state_leaks),
        cmocka_unit_test(test_truncated_frames_stay_in_bounds),
        cmocka_unit_test(test_random_rules_stay_in_bounds),
        cmocka_unit_test(test_made_ready_or_not),
        cmocka_unit_test(test_validity_edges),
        cmocka_unit_test(test_capabilities_in_order),
        cmocka_unit_test(test_random_distribution),
        cmocka_unit_test(test_largest_program_is_fast_enough),
        cmocka_unit_test(test_log_of_rules),
    };

    return cmocka_run_group_tests(tests, load_all, free_all);
}
