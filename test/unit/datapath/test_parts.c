/* Sealing into datagrams and opening out of them, with every kernel, against sealing in one piece
 * and cutting. Checklist: D-3, D-6, D-7, D-9 (cut output, pieces), D-10, D-11, D-36. */
#include "vectors.h"

#include "crypto/cpu.h"
#include "datapath/fragment.h"
#include "datapath/parts.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { KERNELS_MAX = 8, ROOM = PACKET_MAX + 7 * 32 };

/* Keys with each kernel of this machine. */
static struct armor_keys keys[KERNELS_MAX];
static size_t kernels;

static int set_up(void **state)
{
    uint8_t secret[SHARED_KEY_LEN];
    struct test_rng rng = test_rng_init("keys");
    unsigned features = cpu_features();

    (void)state;
    test_rng_fill(&rng, secret, sizeof(secret));
    for (size_t i = 0; aes_kernels[i] != NULL; i++) {
        if ((aes_kernels[i]->needs & ~features) == 0) {
            armor_keys_init(&keys[kernels], secret);
            aes_gmac_siv_init(&keys[kernels++].aes, aes_kernels[i], secret, secret + 16);
        }
    }
    assert_true(kernels > 0);
    return 0;
}

static void make_packet(struct test_rng *rng, uint8_t *pkt, size_t len, bool fragmented)
{
    test_rng_fill(rng, pkt, len);
    packet_start(pkt, test_rng_u64(rng), 0x1122334455, 0x66778899aa, VERB_FRAME);
    packet_set_fragmented(pkt, fragmented);
}

static enum cipher_suite any_suite(struct test_rng *rng)
{
    return test_rng_below(rng, 4) == 0 ? SUITE_SALSA_POLY1305 : SUITE_AES_GMAC_SIV;
}

/* A plan with datagrams of any size that will do. */
static struct fragment_plan any_plan(struct test_rng *rng, size_t len)
{
    struct fragment_plan plan;
    size_t mtu;

    do {
        mtu = 64 + test_rng_below(rng, test_rng_below(rng, 2) == 0 ? 10300 : len + 40);
    } while (fragment_plan(len, mtu, &plan) < 0 ||
             (test_rng_below(rng, 2) == 0 && fragment_plan_equal(len, mtu, &plan) < 0));
    return plan;
}

/* Check datagrams against the packet sealed in one piece. */
static void check_datagrams(const struct parts_layout *layout, const struct fragment_plan *plan,
                            const uint8_t *sealed)
{
    for (unsigned i = 0; i < plan->total; i++) {
        struct fragment_piece want;

        fragment_cut(sealed, plan, i, &want);
        assert_memory_equal(layout->datagrams[i], want.head, want.head_len);
        assert_memory_equal(layout->datagrams[i] + want.head_len, want.data, want.len);
    }
}

/* Seal one packet into datagrams that follow each other, or lie in blocks of their own. */
static void check_seal(struct test_rng *rng, const struct armor_keys *k, size_t len, bool apart)
{
    static uint8_t pkt[PACKET_MAX];
    static uint8_t sealed[PACKET_MAX];
    struct fragment_plan plan = any_plan(rng, len);
    enum cipher_suite suite = any_suite(rng);
    struct parts_layout layout = {.size = plan.size, .total = plan.total};
    size_t bytes = len + 16 * (size_t)(plan.total - 1);
    uint8_t *memory = apart ? NULL : malloc(bytes);

    make_packet(rng, pkt, len, plan.total > 1);
    memcpy(sealed, pkt, len);
    armor_seal(sealed, len, suite, &keys[0]);
    for (unsigned i = 0; i < plan.total; i++) {
        size_t slack = i + 1 < plan.total ? PARTS_SLACK : 0;
        size_t size = i + 1 < plan.total ? plan.size : bytes - i * plan.size;
        layout.datagrams[i] = apart ? malloc(size + slack) : memory + i * plan.size;
        assert_non_null(layout.datagrams[i]);
    }
    parts_seal(pkt, len, suite, k, &layout);
    check_datagrams(&layout, &plan, sealed);
    for (unsigned i = 0; apart && i < plan.total; i++) {
        free(layout.datagrams[i]);
    }
    free(memory);
}

/* D-6, D-7, D-9, D-10 (exact blocks, under the address sanitizer) */
static void test_sealing_equals_cutting(void **state)
{
    struct test_rng rng = test_rng_init("seal");

    (void)state;
    for (size_t k = 0; k < kernels; k++) {
        for (size_t len = PACKET_MIN; len <= 3000; len++) {
            check_seal(&rng, &keys[k], len, len % 2 == 0);
        }
        for (size_t i = 0; i < 300; i++) {
            size_t len = 3000 + test_rng_below(&rng, PACKET_MAX - 2999);
            check_seal(&rng, &keys[k], len, i % 2 == 0);
        }
    }
}

/* A packet sealed and cut somehow: the parts in memory one after the other, or each on its own. */
static unsigned cut_anyhow(struct test_rng *rng, const uint8_t *sealed, size_t len, uint8_t *memory,
                           struct part *parts)
{
    unsigned total = len < 60 ? 1 : 1 + (unsigned)test_rng_below(rng, FRAGMENTS_MAX);
    size_t at = 0;
    uint8_t *out = memory;

    for (unsigned i = 0; i < total; i++) {
        size_t least = i == 0 ? PACKET_MIN : 1;
        size_t rest = len - at - (total - 1 - i); /* the others need a byte each */
        size_t n = i + 1 == total ? len - at : least + test_rng_below(rng, rest - least + 1);

        parts[i].data = out;
        if (i > 0) {
            memcpy(out, sealed, 13);
            out[13] = 0xff;
            out[14] = (uint8_t)(total << 4 | i);
            out[15] = (uint8_t)test_rng_below(rng, 8);
            out += 16;
        }
        memcpy(out, sealed + at, n);
        at += n;
        out += n;
        parts[i].len = (size_t)(out - parts[i].data);
    }
    return total;
}

static void check_open(struct test_rng *rng, const struct armor_keys *k, size_t len, bool in_place,
                       bool tampered)
{
    static uint8_t plain[PACKET_MAX];
    static uint8_t sealed[PACKET_MAX];
    static uint8_t memory[ROOM];
    struct part parts[FRAGMENTS_MAX];
    uint8_t *out = in_place ? memory : malloc(len);
    enum cipher_suite suite = any_suite(rng);

    assert_non_null(out);
    make_packet(rng, plain, len, len >= 60);
    memcpy(sealed, plain, len);
    armor_seal(sealed, len, suite, &keys[0]);
    if (tampered) {
        size_t at = test_rng_below(rng, len);
        unsigned bit = at == PACKET_AT_FLAGS ? 0x40 : 1u << test_rng_below(rng, 8);
        sealed[at] = (uint8_t)(sealed[at] ^ bit);
    }
    unsigned total = cut_anyhow(rng, sealed, len, memory, parts);
    assert_int_equal(parts_packet_len(parts, total), len);
    assert_true(parts_are_adjacent(parts, total));
    if (!tampered) {
        assert_int_equal(parts_open(parts, total, k, out), 0);
        assert_memory_equal(out, sealed, PACKET_AT_VERB);
        assert_memory_equal(out + PACKET_AT_VERB, plain + PACKET_AT_VERB, len - PACKET_AT_VERB);
    } else {
        assert_int_equal(parts_open(parts, total, k, out), -EACCES);
    }
    if (!in_place) {
        free(out);
    }
}

/* D-3, D-9, D-11 */
static void test_any_cut_opens(void **state)
{
    struct test_rng rng = test_rng_init("open");

    (void)state;
    for (size_t k = 0; k < kernels; k++) {
        for (size_t len = PACKET_MIN; len <= 3000; len++) {
            check_open(&rng, &keys[k], len, len % 2 == 0, false);
        }
        for (size_t i = 0; i < 600; i++) {
            size_t len = PACKET_MIN + test_rng_below(&rng, PACKET_MAX - PACKET_MIN + 1);
            check_open(&rng, &keys[k], len, i % 2 == 0, i % 3 == 0);
        }
    }
}

static void test_other_suites(void **state)
{
    struct test_rng rng = test_rng_init("suites");
    uint8_t pkt[200];
    uint8_t out[200];
    struct part part = {.data = pkt, .len = sizeof(pkt)};

    (void)state;
    make_packet(&rng, pkt, sizeof(pkt), false);
    armor_seal(pkt, sizeof(pkt), SUITE_POLY1305, &keys[0]);
    assert_int_equal(parts_open(&part, 1, &keys[0], out), 0);
    packet_set_suite(pkt, SUITE_TRUSTED);
    assert_int_equal(parts_open(&part, 1, &keys[0], out), -EACCES);
}

/* The forward overlap the kernels promise (out below in by any distance). */
static void test_ctr_moves_down(void **state)
{
    struct test_rng rng = test_rng_init("ctr");
    uint8_t tag[AES_SIV_TAG_LEN];
    static uint8_t buffer[4000];
    static uint8_t want[4000];

    (void)state;
    for (unsigned i = 0; i < 400; i++) {
        const struct aes_gmac_siv *c = &keys[i % kernels].aes;
        size_t shift = i % 120;
        size_t offset = test_rng_below(&rng, 4) == 0 ? test_rng_below(&rng, 100) : 0;
        size_t len = test_rng_below(&rng, sizeof(buffer) - shift);

        test_rng_fill(&rng, tag, sizeof(tag));
        test_rng_fill(&rng, buffer, sizeof(buffer));
        aes_gmac_siv_ctr(c, tag, offset, buffer + shift, want, len);
        aes_gmac_siv_ctr(c, tag, offset, buffer + shift, buffer, len);
        assert_memory_equal(buffer, want, len);
    }
}

static void test_gather(void **state)
{
    struct test_rng rng = test_rng_init("gather");
    uint8_t sealed[500];
    uint8_t memory[ROOM];
    struct part parts[FRAGMENTS_MAX + 1];
    struct part saved;
    unsigned total;

    (void)state;
    make_packet(&rng, sealed, sizeof(sealed), true);
    do {
        total = cut_anyhow(&rng, sealed, sizeof(sealed), memory, parts);
    } while (total < 3);
    parts[total] = parts[0];
    assert_int_equal(parts_gather(parts, total), total);
    assert_int_equal(parts_gather(parts, total + 1), total);
    assert_int_equal(parts_gather(parts, total - 1), 0);
    assert_int_equal(parts_gather(parts, 1), 0);
    assert_int_equal(parts_gather(parts, 0), 0);
    assert_int_equal(parts_gather(parts + 1, total - 1), 0); /* no head */
    saved = parts[1];
    parts[1] = parts[2];
    assert_int_equal(parts_gather(parts, total), 0); /* order */
    assert_false(parts_are_adjacent(parts, total));
    parts[1] = saved;
    parts[2].data[3] ^= 1;
    assert_int_equal(parts_gather(parts, total), 0); /* another packet */
    parts[2].data[3] ^= 1;
    parts[2].data[14] ^= 0x10;
    assert_int_equal(parts_gather(parts, total), 0); /* another total */
    parts[2].data[14] ^= 0x10;
    for (unsigned cut = 0; cut <= 16; cut++) {
        struct part shorter[FRAGMENTS_MAX + 1];
        memcpy(shorter, parts, sizeof(shorter));
        shorter[1].len = cut;
        assert_int_equal(parts_gather(shorter, total), 0);
        shorter[0].len = cut;
        assert_int_equal(parts_gather(shorter, total), 0);
    }
    parts[1].data[14] = 0x81;
    assert_int_equal(parts_gather(parts, total), 0);
    parts[1].data[14] = 0x01;
    assert_int_equal(parts_gather(parts, total), 0);
    packet_set_fragmented(parts[0].data, false);
    assert_int_equal(parts_gather(parts, total), 1);
}

/* Parts may claim more than a packet holds. */
static void test_oversize(void **state)
{
    static uint8_t memory[2][6000];
    static uint8_t out[PACKET_MAX];
    struct part parts[2] = {{memory[0], 5100}, {memory[1], 5100}};

    (void)state;
    packet_set_fragmented(memory[0], true);
    memory[1][13] = 0xff;
    memory[1][14] = 0x21;
    assert_int_equal(parts_gather(parts, 2), 2);
    assert_int_equal(parts_open(parts, 2, &keys[0], out), -EBADMSG);
    parts[1].len = PACKET_MAX - 5100 + 16;
    assert_int_equal(parts_open(parts, 2, &keys[0], out), -EACCES);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_sealing_equals_cutting),
        cmocka_unit_test(test_any_cut_opens),
        cmocka_unit_test(test_other_suites),
        cmocka_unit_test(test_ctr_moves_down),
        cmocka_unit_test(test_gather),
        cmocka_unit_test(test_oversize),
    };
    return cmocka_run_group_tests(tests, set_up, NULL);
}
