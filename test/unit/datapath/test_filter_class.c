/* Traits of rule programs: table, and random programs whose safe verdicts must not depend on what
 * the traits leave out (contract section 4, invariant 13). */
#include "vectors.h"

#include "datapath/filter_class.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

static void test_classes(void **state)
{
    static const struct {
        struct rule rules[4];
        size_t count;
        enum filter_class class;
        uint32_t reads;
        bool accepts_all;
    } table[] = {
        {{{0}}, 0, FILTER_CONSTANT, 0, false},
        {{{.type = RULE_ACCEPT}}, 1, FILTER_CONSTANT, 0, true},
        /* nothing after an unconditional end counts */
        {{{.type = RULE_ACCEPT}, {.type = RULE_RANDOM}, {.type = RULE_TEE}},
         3,
         FILTER_CONSTANT,
         0,
         true},
        {{{.type = RULE_DROP}, {.type = RULE_ACCEPT}, {.type = RULE_RANDOM}},
         3,
         FILTER_CONSTANT,
         0,
         false},
        {{{.type = RULE_ETHERTYPE, .is_not = true}, {.type = RULE_DROP}, {.type = RULE_ACCEPT}},
         3,
         FILTER_CONSTANT,
         FILTER_READS_ETHERTYPE,
         false},
        {{{.type = RULE_DEST_PORT}, {.type = RULE_ACCEPT}},
         2,
         FILTER_SAFE,
         FILTER_READS_ETHERTYPE | FILTER_READS_IP_PROTOCOL | FILTER_READS_PORTS,
         false},
        {{{.type = RULE_CHARACTERISTICS, .mask = 0x12}, {.type = RULE_ACCEPT}},
         2,
         FILTER_SAFE,
         FILTER_READS_ETHERTYPE | FILTER_READS_IP_PROTOCOL,
         false},
        {{{.type = RULE_CHARACTERISTICS, .mask = 0x01}, {.type = RULE_ACCEPT}},
         2,
         FILTER_UNSAFE,
         FILTER_READS_ETHERTYPE | FILTER_READS_IP_PROTOCOL,
         false},
        {{{.type = RULE_CHARACTERISTICS, .mask = 0x08}},
         1,
         FILTER_UNSAFE,
         FILTER_READS_ETHERTYPE | FILTER_READS_IP_PROTOCOL,
         false},
        {{{.type = RULE_CHARACTERISTICS, .mask = 0x80}},
         1,
         FILTER_UNSAFE,
         FILTER_READS_ETHERTYPE | FILTER_READS_IP_PROTOCOL,
         false},
        {{{.type = RULE_CHARACTERISTICS, .mask = RULE_CHAR_SENDER_IP}},
         1,
         FILTER_SAFE,
         FILTER_READS_ETHERTYPE | FILTER_READS_SENDER_IP | FILTER_READS_CREDENTIALS,
         false},
        {{{.type = RULE_FRAME_SIZE}}, 1, FILTER_UNSAFE, 0, false},
        {{{.type = RULE_RANDOM}}, 1, FILTER_UNSAFE, 0, false},
        {{{.type = RULE_INTEGER_RANGE}}, 1, FILTER_UNSAFE, 0, false},
        {{{.type = 60}}, 1, FILTER_UNSAFE, 0, false},
        {{{.type = RULE_TEE}, {.type = RULE_ACCEPT}}, 2, FILTER_UNSAFE, 0, false},
        {{{.type = RULE_TAG_SENDER}, {.type = RULE_ACCEPT}},
         2,
         FILTER_SAFE,
         FILTER_READS_CREDENTIALS,
         false},
    };

    (void)state;
    for (size_t i = 0; i < COUNT_OF(table); i++) {
        struct filter_traits t = filter_classify(table[i].rules, table[i].count);

        assert_int_equal(t.class, table[i].class);
        assert_int_equal(t.reads, table[i].reads);
        assert_int_equal(t.accepts_all, table[i].accepts_all);
    }
}

static void test_join_is_as_unsafe_as_the_worst(void **state)
{
    struct filter_traits a = {.class = FILTER_SAFE, .reads = 1, .tcp_flags = 2};
    struct filter_traits b = {.class = FILTER_UNSAFE, .reads = 4, .tcp_flags = 16};
    struct filter_traits t = filter_traits_join(a, b);

    (void)state;
    assert_int_equal(t.class, FILTER_UNSAFE);
    assert_int_equal(t.reads, 5);
    assert_int_equal(t.tcp_flags, 18);
}

/* A random rule with small values so that matches do happen. */
static struct rule random_rule(struct test_rng *rng)
{
    static const uint8_t types[] = {
        RULE_DROP,        RULE_ACCEPT,      RULE_BREAK,     RULE_MAC_SOURCE,      RULE_MAC_DEST,
        RULE_IPV4_SOURCE, RULE_IPV4_DEST,   RULE_IP_TOS,    RULE_IP_PROTOCOL,     RULE_ETHERTYPE,
        RULE_ICMP,        RULE_SOURCE_PORT, RULE_DEST_PORT, RULE_CHARACTERISTICS, RULE_FRAME_SIZE,
    };
    struct rule rule = {
        .type = types[test_rng_below(rng, sizeof(types))],
        .is_not = test_rng_below(rng, 2) == 0,
        .is_or = test_rng_below(rng, 3) == 0,
    };

    switch (rule.type) {
    case RULE_MAC_SOURCE:
    case RULE_MAC_DEST:
        rule.mac = test_rng_below(rng, 2);
        break;
    case RULE_IPV4_SOURCE:
    case RULE_IPV4_DEST:
        rule.ip[3] = (uint8_t)test_rng_below(rng, 2);
        rule.prefix = 32;
        break;
    case RULE_IP_TOS:
        rule.tos.mask = 0xff;
        rule.tos.end = (uint8_t)test_rng_below(rng, 2);
        break;
    case RULE_IP_PROTOCOL:
        rule.number = (uint16_t[]){1, 6, 17}[test_rng_below(rng, 3)];
        break;
    case RULE_ETHERTYPE:
        rule.number = 0x0800;
        break;
    case RULE_SOURCE_PORT:
    case RULE_DEST_PORT:
        rule.range.end = (uint16_t)test_rng_below(rng, 2);
        break;
    case RULE_CHARACTERISTICS:
        rule.mask = UINT64_C(1) << test_rng_below(rng, 12) | UINT64_C(1)
                                                                 << (60 + test_rng_below(rng, 4));
        break;
    case RULE_FRAME_SIZE:
        rule.range.end = 60;
        break;
    default:
        break;
    }
    return rule;
}

/* A frame whose inputs the mask does not name are drawn again, the others kept. */
static void redraw(struct test_rng *rng, const struct filter_traits *t, struct filter_frame *f,
                   uint8_t payload[64])
{
    bool all = t == NULL;
    uint32_t reads = all ? 0 : t->reads;

    if ((reads & (FILTER_READS_MACS | FILTER_READS_DEST_KIND)) == 0) {
        f->source_mac = test_rng_below(rng, 2);
        f->dest_mac = test_rng_below(rng, 2);
    }
    if (all) {
        f->ethertype = test_rng_below(rng, 4) == 0 ? 0x1234 : 0x0800;
        payload[0] = 0x45;
        payload[9] = (uint8_t[]){1, 6, 17}[test_rng_below(rng, 3)];
    }
    if ((reads & (FILTER_READS_IP_SOURCE | FILTER_READS_SENDER_IP)) == 0) {
        payload[15] = (uint8_t)test_rng_below(rng, 2);
    }
    if ((reads & FILTER_READS_IP_DEST) == 0) {
        payload[19] = (uint8_t)test_rng_below(rng, 2);
    }
    if ((reads & FILTER_READS_TOS) == 0) {
        payload[1] = (uint8_t)test_rng_below(rng, 3);
    }
    if ((reads & (FILTER_READS_PORTS | FILTER_READS_ICMP)) == 0) {
        payload[21] = (uint8_t)test_rng_below(rng, 2);
        payload[23] = (uint8_t)test_rng_below(rng, 2);
    }
    {
        uint16_t keep = all ? 0 : t->tcp_flags;

        payload[33] =
            (uint8_t)((payload[33] & keep) | (test_rng_u64(rng) & ~(uint64_t)keep & 0xff));
        payload[32] = (uint8_t)((payload[32] & keep >> 8) |
                                (test_rng_u64(rng) & ~(uint64_t)(keep >> 8) & 0x0f));
    }
    f->len = 40 + test_rng_below(rng, 25);
}

static void test_safe_verdicts_depend_on_named_inputs_only(void **state)
{
    struct test_rng rng = test_rng_init("program traits");
    size_t safe = 0;
    size_t verdicts[2] = {0};

    (void)state;
    for (int round = 0; round < 30000; round++) {
        struct rule rules[6];
        uint8_t payload[64] = {0};
        struct filter_frame frame = {.payload = payload};
        struct filter_network network = {.rules = rules, .rule_count = 6, .self = 5};
        struct filter_input in = {.network = &network, .frame = &frame, .source = 5, .dest = 6};
        struct filter_traits t;
        struct filter_result first;

        for (size_t i = 0; i < COUNT_OF(rules); i++) {
            rules[i] = random_rule(&rng);
        }
        t = filter_classify(rules, COUNT_OF(rules));
        if (t.class == FILTER_UNSAFE) {
            continue;
        }
        safe++;
        redraw(&rng, NULL, &frame, payload);
        filter_outbound(&in, &first);
        verdicts[first.verdict == FILTER_ACCEPT]++;
        assert_true(!t.accepts_all || first.verdict == FILTER_ACCEPT);
        for (int k = 0; k < 10; k++) {
            struct filter_result again;

            redraw(&rng, &t, &frame, payload);
            filter_outbound(&in, &again);
            assert_int_equal(again.verdict, first.verdict);
        }
    }
    assert_true(safe > 3000 && verdicts[0] > 500 && verdicts[1] > 500);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_classes),
        cmocka_unit_test(test_join_is_as_unsafe_as_the_worst),
        cmocka_unit_test(test_safe_verdicts_depend_on_named_inputs_only),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
