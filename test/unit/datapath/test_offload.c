/* Splitting of super-frames against frames made one by one. Checklist: D-12, D-13, D-36. */
#include "segments.h"

#include "base/cursor.h"
#include "crypto/cpu.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static uint8_t payload[65536];
static uint8_t super[TEST_FRAME_MAX];
static uint8_t expected[TEST_FRAME_MAX];

static checksum_fn *fastest(void)
{
    return checksum_pick(cpu_features());
}

static void test_vnet_header_codec(void **state)
{
    static const uint8_t bytes[VNET_HEADER_LEN] = {1, 0x84, 0x42, 0x01, 0xa8, 0x05, 0x22, 0, 16, 0};
    struct vnet_header h;
    uint8_t out[VNET_HEADER_LEN];

    (void)state;
    vnet_header_read(bytes, &h);
    assert_int_equal(h.flags, VNET_NEEDS_CSUM);
    assert_int_equal(h.gso_type, VNET_GSO_TCPV6 | VNET_GSO_ECN);
    assert_int_equal(h.hdr_len, 0x142);
    assert_int_equal(h.gso_size, 1448);
    assert_int_equal(h.csum_start, 34);
    assert_int_equal(h.csum_offset, 16);
    vnet_header_write(&h, out);
    assert_memory_equal(out, bytes, sizeof(bytes));
}

/* Split one super-frame and compare each segment with the one made by itself. */
static void check_split(const struct flow *f, const struct frame_fields *v, uint16_t gso_size,
                        bool with_partial)
{
    struct vnet_header vnet;
    struct offload_split s;
    struct offload_frame got;
    unsigned count = v->len == 0 ? 1 : (unsigned)((v->len + gso_size - 1) / gso_size);
    size_t len = flow_super(f, v, gso_size, super, &vnet);
    uint8_t *exact = exact_copy(super, len);

    if (!with_partial) {
        vnet.flags = 0;
        vnet.csum_start = 0;
    }
    vnet.hdr_len = 0; /* is not to be trusted */
    assert_int_equal(offload_split_begin(&s, &vnet, exact, len, fastest()), count);
    for (unsigned i = 0; i < count; i++) {
        struct frame_fields part = flow_segment(v, gso_size, i);
        size_t want = flow_frame(f, &part, expected);

        if (i == 0) {
            assert_int_equal(offload_split_frame_len(&s), want);
        }
        assert_true(offload_split_next(&s, &got));
        assert_int_equal(got.len, want);
        assert_memory_equal(got.data, expected, want);
        /* what lies before it may be used */
        memset(exact, 0xee, (size_t)(got.data - exact));
    }
    assert_false(offload_split_next(&s, &got));
    free(exact);
}

/* D-12 */
static void test_segments_equal_frames_made_singly(void **state)
{
    struct test_rng rng = test_rng_init("split");

    (void)state;
    test_rng_fill(&rng, payload, sizeof(payload));
    for (unsigned i = 0; i < 1500; i++) {
        struct flow f = flow_random(&rng, false);
        size_t max = 65535 - flow_header_len(&f);
        struct frame_fields v = {
            .seq = (uint32_t)test_rng_u64(&rng),
            .id = (uint16_t)test_rng_u64(&rng),
            .flags = f.is_udp ? 0 : (uint8_t)(0x10 | test_rng_u64(&rng)),
            .payload = payload,
            .len = test_rng_below(&rng, i % 4 == 0 ? max + 1 : 5000),
        };
        uint16_t gso_size = (uint16_t)(1 + test_rng_below(&rng, i % 5 == 0 ? 200 : 3000));

        check_split(&f, &v, gso_size, i % 8 != 0);
    }
}

/* Pitfall 10, 11: numbers that wrap. */
static void test_wrapping_numbers(void **state)
{
    struct test_rng rng = test_rng_init("wrap");
    struct flow f = flow_random(&rng, true);
    struct frame_fields v = {
        .seq = 0xfffffff0, .id = 0xfffe, .flags = 0x99, .payload = payload, .len = 10000};

    (void)state;
    f.is_udp = false;
    f.is_v6 = false;
    check_split(&f, &v, 1000, true);
    v.len = 65535 - flow_header_len(&f);
    check_split(&f, &v, 1448, true);
}

/* D-13: frames that only lack their checksum. */
static void test_partial_checksums_are_completed(void **state)
{
    struct test_rng rng = test_rng_init("partial");
    struct offload_split s;
    struct offload_frame got;

    (void)state;
    for (unsigned i = 0; i < 500; i++) {
        struct flow f = flow_random(&rng, false);
        struct frame_fields v = {.flags = 0x10, .payload = payload};
        struct vnet_header vnet;

        v.len = test_rng_below(&rng, 2000);
        size_t want = flow_frame(&f, &v, expected);
        size_t len = flow_super(&f, &v, 1, super, &vnet);
        uint8_t *exact = exact_copy(super, len);
        vnet.gso_type = VNET_GSO_NONE;
        vnet.gso_size = 0;
        assert_int_equal(offload_split_begin(&s, &vnet, exact, len, fastest()), 1);
        assert_int_equal(offload_split_frame_len(&s), len);
        assert_true(offload_split_next(&s, &got));
        assert_int_equal(got.len, want);
        assert_memory_equal(got.data, expected, want);
        assert_false(offload_split_next(&s, &got));
        free(exact);
    }
}

/* D-13: a UDP checksum that comes out as 0 is sent as 0xffff, one of TCP stays 0. */
static void test_zero_checksums(void **state)
{
    struct test_rng rng = test_rng_init("zero");

    (void)state;
    for (unsigned udp = 0; udp < 2; udp++) {
        struct flow f = flow_random(&rng, true);
        uint8_t word[2] = {0, 0};
        struct frame_fields v = {.flags = 0x10, .payload = word, .len = 2};
        size_t at;

        f.is_udp = udp == 1;
        at = flow_l4(&f) + (f.is_udp ? 6 : 16);
        (void)flow_frame(&f, &v, expected);
        memcpy(word, expected + at, 2); /* makes the sum come out as all ones */
        (void)flow_frame(&f, &v, expected);
        assert_int_equal(be16_get(expected + at), f.is_udp ? 0xffff : 0);
        check_split(&f, &v, 100, true);

        struct vnet_header vnet;
        struct offload_split s;
        size_t len = flow_super(&f, &v, 100, super, &vnet);
        vnet.gso_type = VNET_GSO_NONE;
        assert_int_equal(offload_split_begin(&s, &vnet, super, len, fastest()), 1);
        assert_memory_equal(super, expected, len);
    }
}

/* A frame without anything to do is given as it is. */
static void test_plain_frames_pass(void **state)
{
    static const struct vnet_header none;
    uint8_t frame[20] = "abcdefghijklmnopqrs";
    struct offload_split s;
    struct offload_frame got;

    (void)state;
    assert_int_equal(offload_split_begin(&s, &none, frame, 20, fastest()), 1);
    assert_true(offload_split_next(&s, &got));
    assert_ptr_equal(got.data, frame);
    assert_int_equal(got.len, 20);
    assert_memory_equal(frame, "abcdefghijklmnopqrs", 20);
    assert_false(offload_split_next(&s, &got));
}

struct spoil {
    const char *what;
    size_t at;        /* byte of the frame that is changed */
    uint8_t value;    /* to this */
    uint8_t gso_type; /* 0: leave */
    int csum_start;   /* 0: leave, else added */
    int csum_offset;  /* 0: leave, else added */
    bool no_gso_size;
    int result;
};

static void test_contradictions_are_refused(void **state)
{
    static const struct spoil cases[] = {
        {.what = "ethertype", .at = 12, .value = 0x09, .result = -EBADMSG},
        {.what = "ip version", .at = 14, .value = 0x55, .result = -EBADMSG},
        {.what = "short ip header", .at = 14, .value = 0x44, .result = -EBADMSG},
        {.what = "longer ip header", .at = 14, .value = 0x46, .result = -EBADMSG},
        {.what = "fragment", .at = 21, .value = 0x01, .result = -EBADMSG},
        {.what = "more fragments", .at = 20, .value = 0x20, .result = -EBADMSG},
        {.what = "protocol", .at = 23, .value = 17, .result = -EBADMSG},
        {.what = "short tcp header", .at = 46, .value = 0x40, .result = -EBADMSG},
        {.what = "type of the other version", .gso_type = VNET_GSO_TCPV6, .result = -EBADMSG},
        {.what = "udp type", .gso_type = VNET_GSO_UDP_L4, .result = -EBADMSG},
        {.what = "ufo type", .gso_type = 3, .result = -EBADMSG},
        {.what = "unknown type", .gso_type = 0x41, .result = -EBADMSG},
        {.what = "bare ecn", .gso_type = VNET_GSO_ECN, .result = -EBADMSG},
        {.what = "start", .csum_start = 2, .result = -EBADMSG},
        {.what = "offset", .csum_offset = -10, .result = -EBADMSG},
        {.what = "gso size", .no_gso_size = true, .result = -EBADMSG},
        {.what = "nothing", .result = 5},
    };
    struct test_rng rng = test_rng_init("spoil");
    struct flow f = flow_random(&rng, true);
    struct frame_fields v = {.flags = 0x10, .payload = payload, .len = 5000};

    (void)state;
    f.is_udp = f.is_v6 = false;
    f.tags = 0;
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        const struct spoil *c = &cases[i];
        struct vnet_header vnet;
        struct offload_split s;
        size_t len = flow_super(&f, &v, 1000, super, &vnet);

        if (c->at != 0) {
            super[c->at] = c->value;
        }
        vnet.gso_type = c->gso_type != 0 ? c->gso_type : vnet.gso_type;
        vnet.csum_start = (uint16_t)(vnet.csum_start + c->csum_start);
        vnet.csum_offset = (uint16_t)(vnet.csum_offset + c->csum_offset);
        vnet.gso_size = c->no_gso_size ? 0 : vnet.gso_size;
        if (offload_split_begin(&s, &vnet, super, len, fastest()) != c->result) {
            fail_msg("case: %s", c->what);
        }
    }
}

/* Extension headers as long as they like. */
static void test_endless_headers(void **state)
{
    struct test_rng rng = test_rng_init("endless");
    struct flow f = flow_random(&rng, true);
    struct frame_fields v = {.flags = 0x10, .payload = payload, .len = 5000};
    struct vnet_header vnet;
    struct offload_split s;
    size_t l3;

    (void)state;
    f.is_v6 = true;
    f.is_udp = false;
    f.tags = 0;
    f.ip_options = 8;
    l3 = flow_l3(&f);
    size_t len = flow_super(&f, &v, 1000, super, &vnet);
    super[l3 + 41] = 200; /* of this extension */
    assert_int_equal(offload_split_begin(&s, &vnet, super, len, fastest()), -EMSGSIZE);
    for (size_t at = l3 + 40; at < len; at++) {
        super[at] = at % 8 == 0 ? 60 : 0; /* chains */
    }
    int r = offload_split_begin(&s, &vnet, super, len, fastest());
    assert_true(r == -EMSGSIZE || r == -EBADMSG);
}

/* D-36: cut frames and random headers do no harm; what is accepted can be split. */
static void test_random_truncation(void **state)
{
    struct test_rng rng = test_rng_init("truncation");

    (void)state;
    for (unsigned i = 0; i < 4000; i++) {
        struct flow f = flow_random(&rng, false);
        struct frame_fields v = {.flags = 0x18, .payload = payload};
        struct vnet_header vnet;
        struct offload_split s;
        struct offload_frame got;
        size_t total = 0;

        v.len = test_rng_below(&rng, 3000);
        size_t len = flow_super(&f, &v, (uint16_t)test_rng_below(&rng, 2000), super, &vnet);
        len = test_rng_below(&rng, len + 1);
        uint8_t *exact = exact_copy(super, len);
        for (unsigned k = 0; len > 0 && k < i % 4; k++) {
            size_t reach = len < 100 ? len : 100;
            exact[test_rng_below(&rng, reach)] = (uint8_t)test_rng_u64(&rng);
        }
        if (i % 5 == 0) {
            vnet.gso_type = (uint8_t)test_rng_below(&rng, 7);
            vnet.csum_start = (uint16_t)test_rng_below(&rng, 4000);
            vnet.csum_offset = (uint16_t)test_rng_u64(&rng);
        }
        int count = offload_split_begin(&s, &vnet, exact, len, fastest());
        for (int k = 0; k < count; k++) {
            assert_true(offload_split_next(&s, &got));
            assert_true(got.data >= exact && got.data + got.len <= exact + len);
            total += got.len - s.header_len;
        }
        assert_true(count < 0 || total + s.header_len == len);
        free(exact);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_vnet_header_codec),
        cmocka_unit_test(test_segments_equal_frames_made_singly),
        cmocka_unit_test(test_wrapping_numbers),
        cmocka_unit_test(test_partial_checksums_are_completed),
        cmocka_unit_test(test_zero_checksums),
        cmocka_unit_test(test_plain_frames_pass),
        cmocka_unit_test(test_contradictions_are_refused),
        cmocka_unit_test(test_endless_headers),
        cmocka_unit_test(test_random_truncation),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
