/* Speed of rules: what judging one frame costs, for rule sets of 1000 entries of the usual kinds,
 * as the data path holds them. The frame is one that no entry before the last matches: the worst
 * case. Source: spec 03 section 16, RUL-6. */
#include "measure.h"

#include "base/cursor.h"
#include "datapath/filter.h"
#include "datapath/headers.h"
#include "datapath/published.h"

#include <stdio.h>
#include <stdlib.h>

enum { RULES = 1000, ROUNDS = 100, FRAME_LEN = 100 };

struct bench {
    struct filter_input in;
    bool is_inbound;
};

static uint32_t draw(void *ctx)
{
    (void)ctx;
    return 0;
}

static void judge(void *ctx)
{
    struct bench *b = ctx;
    struct filter_result result;

    for (unsigned i = 0; i < ROUNDS; i++) {
        (b->is_inbound ? filter_inbound : filter_outbound)(&b->in, &result);
        if (result.verdict != FILTER_ACCEPT) {
            (void)fprintf(stderr, "bench-rules: refused\n");
            exit(EXIT_FAILURE);
        }
    }
}

/* ---- programs: each writes the k-th group and returns its length ---- */

/* ipprotocol tcp and dport K; accept */
static unsigned by_port(struct rule *r, unsigned k)
{
    uint16_t port = (uint16_t)(1000 + k);

    r[0] = (struct rule){.type = RULE_IP_PROTOCOL, .number = IP_TCP};
    r[1] = (struct rule){.type = RULE_DEST_PORT, .range = {.start = port, .end = port}};
    r[2] = (struct rule){.type = RULE_DROP};
    return 3;
}

/* ethertype ipv4 and ipsrc NET/24; drop */
static unsigned by_address(struct rule *r, unsigned k)
{
    r[0] = (struct rule){.type = RULE_ETHERTYPE, .number = ETHERTYPE_IPV4};
    r[1] = (struct rule){
        .type = RULE_IPV4_SOURCE, .prefix = 24, .ip = {10, (uint8_t)(k / 256 + 1), (uint8_t)k, 0}};
    r[2] = (struct rule){.type = RULE_DROP};
    return 3;
}

/* ztsrc MEMBER; drop */
static unsigned by_member(struct rule *r, unsigned k)
{
    r[0] = (struct rule){.type = RULE_SOURCE_ADDRESS, .address = 0x1000000000 + k};
    r[1] = (struct rule){.type = RULE_DROP};
    return 2;
}

/* not ethertype ipv4 and not ethertype arp and not ethertype ipv6; drop; ... with chr and tags */
static unsigned mixed(struct rule *r, unsigned k)
{
    static const uint16_t types[] = {ETHERTYPE_IPV4, 0x0806, ETHERTYPE_IPV6};

    switch (k % 4) {
    case 0:
        for (unsigned i = 0; i < 3; i++) {
            r[i] = (struct rule){.type = RULE_ETHERTYPE, .is_not = true, .number = types[i]};
        }
        r[3] = (struct rule){.type = RULE_DROP};
        return 4;
    case 1:
        r[0] = (struct rule){.type = RULE_CHARACTERISTICS, .mask = 2};
        r[1] = (struct rule){.type = RULE_CHARACTERISTICS, .is_not = true, .mask = 0x10};
        r[2] = (struct rule){.type = RULE_DROP};
        return 3;
    case 2:
        r[0] = (struct rule){.type = RULE_TAGS_EQUAL, .id = 1, .value = k};
        r[1] = (struct rule){.type = RULE_DROP};
        return 2;
    default:
        return by_port(r, k);
    }
}

static size_t fill(struct rule *rules, unsigned (*group)(struct rule *, unsigned), size_t count)
{
    size_t n = 0;

    for (unsigned k = 0; n + 5 < count; k++) {
        n += group(rules + n, k);
    }
    rules[n++] = (struct rule){.type = RULE_ACCEPT};
    return n;
}

static void show(const char *name, unsigned (*group)(struct rule *, unsigned), size_t count)
{
    static struct rule rules[RULES];
    static const struct filter_tag tag = {.id = 1, .value = 1};
    static const struct filter_credentials creds = {.tags = &tag, .tag_count = 1};
    uint8_t payload[FRAME_LEN] = {0x45, [9] = IP_TCP, [12] = 10, 250, 0,          1,
                                  10,   250,          0,         2,   [33] = 0x10};
    const struct filter_frame frame = {.source_mac = 2,
                                       .dest_mac = 4,
                                       .payload = payload,
                                       .len = FRAME_LEN,
                                       .ethertype = ETHERTYPE_IPV4};
    const struct filter_network plain = {.self = 1,
                                         .window = 1,
                                         .rules = rules,
                                         .rule_count = (uint16_t)fill(rules, group, count),
                                         .own = creds};
    struct filter_network *held = filter_network_copy(&plain);
    struct bench b = {.in = {.remote = &creds, .frame = &frame, .draw = draw}};
    double ns[2][2];

    be16_put(payload + 22, 9);
    if (held == NULL) {
        exit(EXIT_FAILURE);
    }
    for (unsigned i = 0; i < 2; i++) {
        for (unsigned inbound = 0; inbound < 2; inbound++) {
            b.in.network = i == 0 ? &plain : held;
            b.in.source = inbound ? 2 : 1;
            b.in.dest = inbound ? 1 : 2;
            b.is_inbound = inbound == 1;
            ns[i][inbound] = measure(judge, &b) / ROUNDS;
        }
    }
    printf("%-10s %5u | %8.0f %8.0f | %8.0f %8.0f\n", name, plain.rule_count, ns[1][0], ns[1][1],
           ns[0][0], ns[0][1]);
    free(held);
}

int main(void)
{
    static const size_t counts[] = {12, 100, RULES};

    printf("ns a frame       |   held by workers |        by the engine\nrules            |      "
           "out       in |      out       in\n");
    for (size_t i = 0; i < sizeof(counts) / sizeof(counts[0]); i++) {
        show("ports", by_port, counts[i]);
        show("addresses", by_address, counts[i]);
        show("members", by_member, counts[i]);
        show("mixed", mixed, counts[i]);
    }
    return 0;
}
