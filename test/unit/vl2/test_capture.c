/* What a capture tells of frames: direction, other side, verdict and why, once for each frame; and
 * that frames waiting are told of once. Source: doc/operations.md. */
#include "bench.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#include <errno.h>
#include <string.h>

static const uint8_t payload[64] = {0x45};

/* The frames told of. */
static struct {
    size_t count;
    struct captured_frame last;
} told;

static void on_captured(void *ctx, const struct captured_frame *frame)
{
    (void)ctx;
    told.count++;
    told.last = *frame;
    assert_int_equal(frame->len, sizeof(payload));
    assert_memory_equal(frame->payload, payload, sizeof(payload));
}

static uint64_t address(const struct bench *b, char letter)
{
    return bench_id(b, letter)->address;
}

static struct network *net_of(struct bench *b)
{
    return vl2_find(b->vl2, BENCH_NWID);
}

static void begin(struct bench *b, const struct setup *setup)
{
    memset(&told, 0, sizeof(told));
    b->vl1.env.captured = on_captured;
    bench_configure(b, setup);
    bench_member(b, 'B');
    assert_int_equal(vl2_capture(b->vl2, BENCH_NWID, true), 0);
}

static void frame_out(struct bench *b, uint64_t dest, uint64_t source)
{
    vl2_frame(b->vl2, BENCH_NWID, dest, source, 0x0800, payload, sizeof(payload), b->now);
}

static void frame_in(struct bench *b, char from)
{
    uint8_t packet[100];
    struct wr w = wr_init(packet, sizeof(packet));

    frame_write_header(&w, BENCH_NWID, 0x0800);
    wr_bytes(&w, payload, sizeof(payload));
    (void)bench_in(b, bench_id(b, from), VERB_FRAME, packet, wr_len(&w));
}

static void expect(size_t count, bool outbound, uint64_t remote, const char *reason)
{
    assert_int_equal(told.count, count);
    assert_int_equal(told.last.nwid, BENCH_NWID);
    assert_int_equal(told.last.outbound, outbound);
    assert_int_equal(told.last.remote, remote);
    if (reason == NULL) {
        assert_null(told.last.reason);
    } else {
        assert_string_equal(told.last.reason, reason);
    }
}

static void test_frames_that_pass(void **state)
{
    struct bench *b = *state;

    begin(b, &(struct setup){0});
    frame_out(b, mac_of_member(BENCH_NWID, address(b, 'B')), net_of(b)->mac);
    expect(1, true, address(b, 'B'), NULL);
    frame_in(b, 'B');
    expect(2, false, address(b, 'B'), NULL);
    assert_int_equal(told.last.dest_mac, net_of(b)->mac);
    assert_int_equal(vl2_capture(b->vl2, BENCH_NWID, false), 0);
    frame_in(b, 'B');
    assert_int_equal(told.count, 2);
    assert_int_equal(vl2_capture(b->vl2, BENCH_NWID + 1, true), -ENOENT);
}

static void test_frames_that_do_not(void **state)
{
    struct bench *b = *state;

    begin(b, &(struct setup){.rules = "0000"}); /* drop everything */
    frame_out(b, mac_of_member(BENCH_NWID, address(b, 'B')), net_of(b)->mac);
    expect(1, true, address(b, 'B'), "vl2_rules_out");
    frame_in(b, 'B');
    expect(2, false, address(b, 'B'), "vl2_rules_in");
    frame_out(b, 0x001122334455, 0x00aabbccddee);
    expect(3, true, 0, "vl2_not_bridge");
    frame_out(b, 0xffffffffffff, net_of(b)->mac);
    expect(4, true, 0, "vl2_broadcast_off");
}

/* A frame that waits for a certificate is told of when it comes, not each time it is tried. */
static void test_frame_of_a_stranger(void **state)
{
    struct bench *b = *state;
    struct in_packet in = {.verb = VERB_FRAME, .retry = true};
    uint8_t packet[100];
    struct wr w = wr_init(packet, sizeof(packet));

    begin(b, &(struct setup){0});
    frame_in(b, 'C');
    expect(1, false, address(b, 'C'), "vl2_not_member");
    frame_write_header(&w, BENCH_NWID, 0x0800);
    wr_bytes(&w, payload, sizeof(payload));
    in.identity = bench_id(b, 'C');
    in.source = in.identity->address;
    (void)bench_in_full(b, &in, packet, wr_len(&w));
    assert_int_equal(told.count, 1);
    bench_member(b, 'C');
    (void)bench_in_full(b, &in, packet, wr_len(&w));
    expect(2, false, address(b, 'C'), NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        WITH_BENCH(test_frames_that_pass),
        WITH_BENCH(test_frames_that_do_not),
        WITH_BENCH(test_frame_of_a_stranger),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
