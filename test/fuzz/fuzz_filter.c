/* The rule evaluator and address resolution: length of the rules (2 bytes), direction and EtherType
 * choice (1 byte), rules, frame. */
#include "fuzz.h"

#include "datapath/filter.h"
#include "datapath/filter_class.h"
#include "datapath/filter_program.h"
#include "vl2/resolve.h"
#include "wire/mac.h"

#include <string.h>

static const uint64_t network_id = UINT64_C(0x14d76e47dc000001);
static const uint64_t self = UINT64_C(0x80d8389363);
static const uint64_t other = UINT64_C(0x720407abc2);

static uint32_t draw_half(void *ctx)
{
    (void)ctx;
    return UINT32_C(0x80000000);
}

static void check_result(const struct filter_result *got, const struct filter_frame *frame)
{
    fuzz_require(got->effect_count <= FILTER_EFFECTS_MAX && got->bucket < RULE_QOS_BUCKETS,
                 "bounded result");
    for (size_t i = 0; i < got->effect_count; i++) {
        fuzz_require(got->effects[i].len <= frame->len && got->effects[i].target != self &&
                         got->effects[i].target != 0,
                     "sensible effect");
        fuzz_require(!got->effects[i].is_redirect || got->verdict == FILTER_DROP,
                     "a redirect consumes");
    }
}

static void evaluate(const struct rule *rules, size_t count, struct filter_frame *frame,
                     bool is_inbound)
{
    const struct inetaddr own[] = {network_6plane(network_id, self),
                                   network_rfc4193(network_id, self)};
    const struct filter_tag tags[] = {{.id = 1, .value = 1}, {.id = 2, .value = 3}};
    const struct thing things[] = {{.type = THING_IPV4, .value = {10, 0, 0, 1}}};
    const struct filter_ownership ownership = {.things = things, .count = 1};
    static struct filter_op program[RULES_BASE_MAX];
    struct filter_capability cap = {.rules = rules, .rule_count = (uint32_t)count};
    const struct filter_credentials credentials = {
        .tags = tags,
        .tag_count = 2,
        .ownerships = &ownership,
        .ownership_count = 1,
        .capabilities = &cap,
        .capability_count = 1,
    };
    struct filter_network network = {
        .network_id = network_id,
        .self = self,
        .flags = 0x0f,
        .rules = rules,
        .rule_count = (uint16_t)count,
        .addresses = own,
        .address_count = 2,
        .own = credentials,
    };
    struct filter_log log;
    struct filter_input in = {
        .network = &network,
        .remote = &credentials,
        .frame = frame,
        .source = is_inbound ? other : self,
        .dest = is_inbound ? self : other,
        .draw = draw_half,
        .log = &log,
    };
    struct filter_result one;
    struct filter_result two;
    struct filter_traits traits = filter_classify(rules, count);

    memset(&one, 0, sizeof(one));
    memset(&two, 0, sizeof(two));
    (is_inbound ? filter_inbound : filter_outbound)(&in, &one);
    filter_compile(rules, count, program);
    network.program = cap.program = program;
    in.log = NULL; /* or the program would not be used */
    (is_inbound ? filter_inbound : filter_outbound)(&in, &two);
    check_result(&one, frame);
    fuzz_require(one.verdict == two.verdict && one.effect_count == two.effect_count &&
                     one.base == two.base && one.bucket == two.bucket &&
                     one.by_capability == two.by_capability,
                 "the same again, made ready");
    for (size_t i = 0; i < one.effect_count; i++) {
        fuzz_require(one.effects[i].target == two.effects[i].target &&
                         one.effects[i].len == two.effects[i].len &&
                         one.effects[i].flags == two.effects[i].flags,
                     "the same effects, made ready");
    }
    fuzz_require(!traits.accepts_all || one.verdict == FILTER_ACCEPT, "accepts all");
    fuzz_require(traits.class == FILTER_UNSAFE || one.effect_count == 0, "no effect if not unsafe");
}

static void resolve(const struct filter_frame *frame)
{
    const struct inetaddr own[] = {network_6plane(network_id, self),
                                   network_rfc4193(network_id, self)};
    struct multicast_group group;
    struct ndp_answer answer;

    if (arp_request_group(frame->ethertype, frame->payload, frame->len, &group)) {
        fuzz_require(group.mac == MAC_BROADCAST, "ARP group");
    }
    if (ndp_emulate(network_id, self, own, 2, frame->ethertype, frame->payload, frame->len,
                    &answer)) {
        fuzz_require(answer.member != self && answer.member != 0, "answer for another member");
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    static struct rule rules[RULES_BASE_MAX];
    static const uint16_t ethertypes[] = {0x0800, 0x86dd, 0x0806, 0x8100};
    struct rd r = rd_init(data, len);
    size_t rules_len = rd_u16(&r);
    uint8_t choice = rd_u8(&r);
    struct rd of_rules = rd_sub(&r, rules_len);
    int count = rules_count(of_rules, RULES_BASE_MAX);
    struct filter_frame frame = {
        .source_mac = UINT64_C(0x027204dbecac),
        .dest_mac = (choice & 0x10) != 0 ? MAC_BROADCAST : UINT64_C(0x0280d8e4d40d),
        .ethertype = ethertypes[choice & 3],
        .len = rd_left(&r),
        .payload = r.p,
    };

    if (r.bad || count < 0 || rules_read(&of_rules, rules, (size_t)count) < 0) {
        return 0;
    }
    evaluate(rules, (size_t)count, &frame, (choice & 0x80) != 0);
    resolve(&frame);
    return 0;
}
