/* Remote traces that a configuration asks for. TRC-1. */
#include "bench.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

static const json_t *trace_named(const json_t *all, const char *name)
{
    size_t i;
    json_t *it;

    json_array_foreach(all, i, it)
    {
        if (strcmp(vec_text(it, "name"), name) == 0) {
            return it;
        }
    }
    fail_msg("no vector %s", name);
    return NULL;
}

static struct network *traced(struct bench *b, const char *rules, uint64_t level)
{
    struct network *net = bench_configure(b, &(struct setup){.rules = rules});

    if (member_find(net, bench_id(b, 'B')->address) == NULL) {
        bench_member(b, 'B');
    }
    net->conf.trace_target = bench_id(b, 'D')->address;
    net->conf.trace_level = level;
    bench_clear(b);
    return net;
}

/* The one trace sent is that of the vector. */
static void expect_trace(struct bench *b, const json_t *vector)
{
    const json_t *want = json_array_get(vec_get(vector, "sent"), 0);
    const struct sent_packet *sent = bench_sent(b, 0, VERB_REMOTE_TRACE, 0);

    assert_int_equal(bench_count(b, 0, VERB_REMOTE_TRACE), 1);
    assert_non_null(sent);
    assert_int_equal(sent->flags & OUT_COMPRESS, OUT_COMPRESS);
    assert_int_equal(sent->dest, bench_id(b, 'D')->address);
    assert_true(bench_same_hex(sent->payload, sent->len, vec_text(want, "payload")));
    bench_clear(b);
}

static void frame_out(struct bench *b, const struct network *net, const uint8_t *frame, size_t len)
{
    vl2_frame(b->vl2, net->id, mac_of_member(net->id, bench_id(b, 'B')->address), net->mac, 0x0800,
              frame, len, b->now);
}

static void frame_in(struct bench *b, const struct network *net, const uint8_t *frame, size_t len)
{
    uint8_t packet[200];
    struct wr w = wr_init(packet, sizeof(packet));

    frame_write_header(&w, net->id, 0x0800);
    wr_bytes(&w, frame, len);
    (void)bench_in(b, bench_id(b, 'B'), VERB_FRAME, packet, wr_len(&w));
}

/* What rules decide, byte for byte, only from level 15 on and with a target that is not we. */
static void test_decisions_about_frames(void **state)
{
    static const char *const names[] = {"filter accept out", "filter drop in"};
    struct bench *b = *state;
    const json_t *all = vec_get(b->vectors, "remoteTraces");

    for (size_t i = 0; i < COUNT_OF(names); i++) {
        const json_t *vector = trace_named(all, names[i]);
        struct network *net = traced(b, vec_text(vector, "rulesHex"), 15);
        size_t len;
        uint8_t *frame = vec_bytes(vector, "frame", &len);
        void (*pass)(struct bench *, const struct network *, const uint8_t *, size_t) =
            i == 0 ? frame_out : frame_in;

        assert_true(trace_wants_frames(net));
        pass(b, net, frame, len);
        expect_trace(b, vector);
        net->conf.trace_level = 14;
        pass(b, net, frame, len);
        net->conf.trace_level = 30;
        net->conf.trace_target = b->vl2->self;
        pass(b, net, frame, len);
        net->conf.trace_target = 0;
        pass(b, net, frame, len);
        assert_false(trace_wants_frames(net));
        assert_int_equal(bench_count(b, 0, VERB_REMOTE_TRACE), 0);
        free(frame);
    }
}

/* Credentials that are rejected, at any level. */
static void test_rejected_credentials(void **state)
{
    struct bench *b = *state;
    const json_t *all = vec_get(b->vectors, "remoteTraces");
    struct network *net = traced(b, NULL, 0);
    struct com old = bench_com(b, 'B', BENCH_TIME - 1);
    struct tag tag = {.network_id = BENCH_NWID,
                      .timestamp = BENCH_TIME,
                      .id = 100,
                      .value = 7,
                      .holder = bench_id(b, 'B')->address};
    struct credentials_set set = {.coms = &old, .com_count = 1};

    (void)bench_in_credentials(b, bench_id(b, 'B'), &set);
    expect_trace(b, trace_named(all, "credential rejected: old COM"));
    bench_run(b, 2000);
    bench_clear(b);
    tag_sign(&tag, bench_id(b, 'B')); /* not the controller */
    set = (struct credentials_set){.tags = &tag, .tag_count = 1};
    (void)bench_in_credentials(b, bench_id(b, 'B'), &set);
    expect_trace(b, trace_named(all, "credential rejected: invalid tag"));
    net->conf.trace_target = 0;
    bench_run(b, 2000);
    (void)bench_in_credentials(b, bench_id(b, 'B'), &set);
    assert_int_equal(bench_count(b, 0, VERB_REMOTE_TRACE), 0);
}

/* However many frames: 256 at once, then 200 a second. */
static void test_rate_of_traces(void **state)
{
    static const uint8_t frame[64] = {0x45};
    struct bench *b = *state;
    struct network *net = traced(b, NULL, 15);

    for (unsigned i = 0; i < 1000; i++) {
        frame_out(b, net, frame, sizeof(frame));
    }
    assert_int_equal(bench_count(b, 0, VERB_REMOTE_TRACE), 256);
    bench_run(b, 1000);
    for (unsigned i = 0; i < 1000; i++) {
        frame_out(b, net, frame, sizeof(frame));
    }
    assert_in_range(bench_count(b, 0, VERB_REMOTE_TRACE), 256 + 199, 256 + 201);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        WITH_BENCH(test_decisions_about_frames),
        WITH_BENCH(test_rejected_credentials),
        WITH_BENCH(test_rate_of_traces),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
