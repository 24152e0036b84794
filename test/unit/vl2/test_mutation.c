/* Packets of the vectors, damaged at random, in random order, with frames and time in between:
 * nothing breaks and nothing grows without bound (CRD-15). Best run with sanitizers. */
#include "bench.h"

#include "wire/vl1msg.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

enum { ROUNDS = 30000, PACKETS_MAX = 128 };

struct sample {
    enum verb verb;
    size_t len;
    uint8_t *payload;
};

static size_t load(struct bench *b, struct sample *out)
{
    const json_t *inbound = vec_get(b->vectors, "inbound");
    const json_t *chunks = vec_get(vec_get(b->vectors, "configChunks"), "received");
    const json_t *entry;
    size_t count = 0;
    size_t i;

    json_array_foreach(inbound, i, entry)
    {
        struct sample *s = &out[count++];

        s->verb = bench_verb(vec_text(entry, "verb"));
        s->payload = vec_bytes(entry, "payload", &s->len);
    }
    json_array_foreach(chunks, i, entry)
    {
        struct sample *s = &out[count++];

        s->verb = VERB_NETWORK_CONFIG;
        s->payload = vec_bytes(json_array_get(vec_get(entry, "steps"), 0), "payload", &s->len);
    }
    assert_true(count <= PACKETS_MAX);
    return count;
}

static void damage(struct test_rng *rng, uint8_t *data, size_t *len)
{
    size_t n = test_rng_below(rng, 4);

    for (size_t i = 0; i<n && * len> 0; i++) {
        size_t at = test_rng_below(rng, 4) == 0 ? test_rng_below(rng, *len)
                                                : test_rng_below(rng, *len < 40 ? *len : 40);

        data[at] ^= (uint8_t)(1u << test_rng_below(rng, 8));
    }
    if (*len > 0 && test_rng_below(rng, 8) == 0) {
        *len = test_rng_below(rng, *len);
    }
}

static void packet_in(struct bench *b, struct test_rng *rng, const struct sample *samples,
                      size_t count)
{
    const struct sample *s = &samples[test_rng_below(rng, count)];
    uint8_t *data = exact_copy(s->payload, s->len);
    struct in_packet in = {
        .identity = bench_id(b, (char)('B' + test_rng_below(rng, 4))),
        .id = test_rng_u64(rng),
        .verb = s->verb,
        .retry = test_rng_below(rng, 2) == 0,
    };
    size_t len = s->len;
    size_t head = 0;

    damage(rng, data, &len);
    if (s->verb == VERB_ERROR && len >= ERROR_HEAD_LEN) {
        head = ERROR_HEAD_LEN;
        in.re_verb = data[0];
        in.error = data[9];
    } else if (test_rng_below(rng, 6) == 0) { /* as an answer */
        in.verb = VERB_OK;
        in.re_verb = s->verb == VERB_NETWORK_CONFIG ? VERB_NETWORK_CONFIG_REQUEST : s->verb;
    }
    (void)bench_in_full(b, &in, data + head, len - head);
    free(data);
}

static void frame_out(struct bench *b, struct test_rng *rng)
{
    static const uint64_t macs[] = {MAC_BROADCAST, 0x3333000000fb, 0x3333ff000001, 0x001122334455,
                                    0x027204dbecac};
    const struct network *net = vl2_find(b->vl2, BENCH_NWID);
    uint8_t payload[120];
    size_t len = test_rng_below(rng, sizeof(payload));
    uint64_t source = test_rng_below(rng, 4) == 0 ? 0x00aabbccddee : net->mac;
    static const uint16_t types[] = {0x0800, 0x0806, 0x86dd};

    test_rng_fill(rng, payload, sizeof(payload));
    payload[6] = 58;
    vl2_frame(b->vl2, BENCH_NWID, macs[test_rng_below(rng, COUNT_OF(macs))], source,
              types[test_rng_below(rng, COUNT_OF(types))], payload, len, b->now);
}

static void test_damaged_packets(void **state)
{
    struct bench *b = *state;
    struct test_rng rng = test_rng_init("damaged packets");
    struct sample samples[PACKETS_MAX];
    size_t count = load(b, samples);
    struct network *net;

    b->vl1.upstreams[b->vl1.upstream_count++] = 0xcafe9efeb9;
    bench_configure(b, &(struct setup){
                           .multicast_limit = 8,
                           .flags = NETCONF_FLAG_BROADCAST | NETCONF_FLAG_NDP,
                           .specialists = {SPECIALIST_BRIDGE | b->vl2->self,
                                           SPECIALIST_BRIDGE | bench_id(b, 'B')->address},
                           .specialist_count = 2,
                       });
    net = vl2_find(b->vl2, BENCH_NWID);
    for (int i = 0; i < ROUNDS; i++) {
        if (test_rng_below(&rng, 4) == 0) {
            frame_out(b, &rng);
        } else {
            packet_in(b, &rng, samples, count);
        }
        bench_run(b, (int64_t)test_rng_below(&rng, 400));
        bench_clear(b);
        assert_true(net->members.count <= 600); /* nothing but our own pushes and signed things */
        assert_true(b->vl2->multicast.pending_count <= 1024);
    }
    for (size_t i = 0; i < count; i++) {
        free(samples[i].payload);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        WITH_BENCH(test_damaged_packets),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
