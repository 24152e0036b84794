/* MSS clamping against frames made with the lower MSS in the first place and a checksum summed
 * anew, and on frames that must stay as they are. Source: RFC 1624; spec 05 section 2.4 (the
 * settings of a network, MGD-2). */
#include "segments.h"

#include "base/cursor.h"
#include "datapath/mss.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { ROUNDS = 20000 };

static uint8_t frame[TEST_FRAME_MAX];
static uint8_t want[TEST_FRAME_MAX];

/* A random flow of TCP with options, untagged. */
static struct flow tcp_flow(struct test_rng *rng)
{
    struct flow f = flow_random(rng, false);

    f.tags = 0;
    f.is_udp = false;
    f.tcp_options = 4 + (unsigned)test_rng_below(rng, 10) * 4;
    return f;
}

static void clamp(size_t len, unsigned mtu, bool is_partial)
{
    uint8_t *copy = malloc(len); /* exactly as long, for the sanitizer */

    assert_non_null(copy);
    memcpy(copy, frame + ETHERNET_LEN, len - ETHERNET_LEN);
    mss_clamp(be16_get(frame + 12), copy, len - ETHERNET_LEN, mtu, is_partial);
    memcpy(frame + ETHERNET_LEN, copy, len - ETHERNET_LEN);
    free(copy);
}

static void test_as_if_made_so(void **state)
{
    struct test_rng rng = test_rng_init("as if made so");
    uint8_t payload[64];

    (void)state;
    for (unsigned i = 0; i < ROUNDS; i++) {
        struct flow f = tcp_flow(&rng);
        struct frame_fields v = {.seq = (uint32_t)test_rng_u64(&rng),
                                 .flags = (uint8_t)(test_rng_u64(&rng) | 0x02),
                                 .payload = payload,
                                 .len = test_rng_below(&rng, sizeof(payload))};
        unsigned before = (unsigned)test_rng_below(&rng, f.tcp_options - 3);
        uint16_t mss = (uint16_t)test_rng_u64(&rng);
        unsigned mtu = 1280 + (unsigned)test_rng_below(&rng, 9000);
        unsigned most = mtu - (f.is_v6 ? 60 : 40);
        bool is_partial = test_rng_below(&rng, 2) == 1;
        size_t len;

        test_rng_fill(&rng, payload, sizeof(payload));
        len = flow_syn(&f, &v, before, mss, is_partial, frame);
        (void)flow_syn(&f, &v, before, mss < most ? mss : (uint16_t)most, is_partial, want);
        clamp(len, mtu, is_partial);
        assert_memory_equal(frame, want, len);
        clamp(len, mtu, is_partial); /* once more changes nothing */
        assert_memory_equal(frame, want, len);
    }
}

/* No SYN, no option, a broken one, a fragment, another protocol: not a byte changes. */
static void test_others_stay(void **state)
{
    struct flow v4 = {.tcp_options = 8};
    struct flow v6 = {.tcp_options = 8, .is_v6 = true};
    const struct {
        const struct flow *flow;
        size_t at; /* byte that is changed, behind Ethernet */
        uint8_t value;
    } cases[] = {
        {&v4, 33, 0x10},     /* ACK */
        {&v4, 9, 17},        /* not TCP */
        {&v4, 6, 0x20},      /* more fragments */
        {&v4, 7, 1},         /* a later one */
        {&v4, 0, 0x65},      /* version */
        {&v4, 0, 0x44},      /* header too short */
        {&v4, 0, 0x4f},      /* header beyond the end */
        {&v4, 32, 0x40},     /* TCP header too short */
        {&v4, 32, 0xf0},     /* TCP header beyond the end */
        {&v4, 40, 0},        /* end of options before it */
        {&v4, 41, 3},        /* another option */
        {&v4, 42, 3},        /* wrong length */
        {&v4, 42, 200},      /* beyond the header */
        {&v4, 40, 8},        /* an option that swallows it */
        {&v6, 6, 44},        /* fragment */
        {&v6, 6, 17},        /* UDP */
        {&v6, 6, 60},        /* extensions that end nowhere */
        {&v6, 40 + 13, 0x10} /* ACK */
    };
    const struct frame_fields v = {.flags = 0x02};

    (void)state;
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        size_t len = flow_syn(cases[i].flow, &v, 1, 1460, false, frame);

        frame[ETHERNET_LEN + cases[i].at] = cases[i].value;
        memcpy(want, frame, len);
        clamp(len, 1300, false);
        assert_memory_equal(frame, want, len);
    }
}

/* Cut and damaged frames: nothing beyond the end is looked at, nothing but the option and the
 * checksum changes. */
static void test_any_bytes(void **state)
{
    struct test_rng rng = test_rng_init("any bytes");

    (void)state;
    for (unsigned i = 0; i < ROUNDS; i++) {
        struct flow f = tcp_flow(&rng);
        const struct frame_fields v = {.flags = 0x02};
        size_t len = flow_syn(&f, &v, 0, 9000, false, frame);
        unsigned changed = 0;

        for (size_t n = test_rng_below(&rng, 4); n > 0; n--) {
            frame[ETHERNET_LEN + test_rng_below(&rng, len - ETHERNET_LEN)] =
                (uint8_t)test_rng_u64(&rng);
        }
        len = ETHERNET_LEN + 1 + test_rng_below(&rng, len - ETHERNET_LEN);
        memcpy(want, frame, len);
        clamp(len, 1300, test_rng_below(&rng, 2) == 1);
        for (size_t k = 0; k < len; k++) {
            changed += frame[k] != want[k];
        }
        assert_true(changed <= 4);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_as_if_made_so),
        cmocka_unit_test(test_others_stay),
        cmocka_unit_test(test_any_bytes),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
