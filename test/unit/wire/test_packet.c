/* Packet headers, datagram classes, compression. Checklist: PK-1, PK-2, PK-3, PK-6, PK-8, LZ-1 to
 * LZ-4, LZ-6, CO-1. */
#include "vectors.h"

#include "wire/packet.h"

#include <errno.h>
#include <setjmp.h>
#include <sodium.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static json_t *vectors;

static int load(void **state)
{
    (void)state;
    vectors = vectors_load("identity-crypto.json");
    return 0;
}

static int unload(void **state)
{
    (void)state;
    json_decref(vectors);
    return 0;
}

/* PK-1 */
static void test_header_fields(void **state)
{
    uint8_t pkt[PACKET_MIN];

    (void)state;
    memset(pkt, 0xee, sizeof(pkt));
    packet_start(pkt, 0x0102030405060708, 0xa1a2a3a4a5, 0xb1b2b3b4b5, VERB_EXT_FRAME);
    assert_memory_equal(pkt,
                        "\x01\x02\x03\x04\x05\x06\x07\x08\xa1\xa2\xa3\xa4\xa5\xb1\xb2\xb3\xb4\xb5"
                        "\x00\x00\x00\x00\x00\x00\x00\x00\x00\x07",
                        PACKET_MIN);
    assert_true(packet_id(pkt) == 0x0102030405060708);
    assert_true(packet_dest(pkt) == 0xa1a2a3a4a5);
    assert_true(packet_source(pkt) == 0xb1b2b3b4b5);
    assert_int_equal(packet_verb(pkt), VERB_EXT_FRAME);
    assert_int_equal(packet_suite(pkt), 0);
    assert_int_equal(packet_hops(pkt), 0);
    assert_false(packet_is_fragmented(pkt));
}

/* PK-2: every flags byte, every suite. */
static void test_suite_keeps_fragmented_and_hops(void **state)
{
    static const uint8_t typical[] = {0x00, 0x88, 0x10, 0x18}; /* spec 01 section 6.3 */
    uint8_t pkt[PACKET_MIN] = {0};

    (void)state;
    for (unsigned flags = 0; flags < 256; flags++) {
        for (unsigned suite = 0; suite < 4; suite++) {
            pkt[PACKET_AT_FLAGS] = (uint8_t)flags;
            packet_set_suite(pkt, suite);
            assert_int_equal(pkt[PACKET_AT_FLAGS], typical[suite] | (flags & 0x47));
            assert_int_equal(packet_suite(pkt), suite);
            assert_int_equal(packet_hops(pkt), flags & 7);
            packet_set_fragmented(pkt, true);
            assert_int_equal(pkt[PACKET_AT_FLAGS], typical[suite] | 0x40 | (flags & 7));
            assert_true(packet_is_fragmented(pkt));
            packet_set_fragmented(pkt, false);
            assert_int_equal(pkt[PACKET_AT_FLAGS], typical[suite] | (flags & 7));
        }
    }
}

/* PK-3 */
static void test_hop_wraps_and_leaves_the_rest(void **state)
{
    uint8_t pkt[PACKET_MIN] = {0};

    (void)state;
    for (unsigned flags = 0; flags < 256; flags++) {
        pkt[PACKET_AT_FLAGS] = (uint8_t)flags;
        packet_add_hop(pkt);
        assert_int_equal(pkt[PACKET_AT_FLAGS], (flags & 0xf8) | ((flags + 1) & 7));
        pkt[FRAGMENT_AT_HOPS] = (uint8_t)flags;
        fragment_add_hop(pkt);
        assert_int_equal(pkt[FRAGMENT_AT_HOPS], (flags + 1) & 7);
        pkt[FRAGMENT_AT_HOPS] = 0;
    }
    for (size_t i = 0; i < sizeof(pkt); i++) {
        assert_true(i == PACKET_AT_FLAGS || pkt[i] == 0);
    }
}

/* PK-1, PK-6: every length up to beyond the maximum, with and without ff at offset 13. */
static void test_datagram_classes(void **state)
{
    (void)state;
    for (size_t len = 0; len <= PACKET_MAX + 2; len++) {
        uint8_t *data = calloc(1, len > 0 ? len : 1);
        enum datagram_kind expected = DATAGRAM_PACKET;

        assert_non_null(data);
        if (len == 13) {
            expected = DATAGRAM_BEACON;
        } else if (len < PACKET_MIN || len > PACKET_MAX) {
            expected = DATAGRAM_DROP;
        }
        assert_int_equal(datagram_classify(data, len), expected);
        if (len > FRAGMENT_AT_INDICATOR) {
            data[FRAGMENT_AT_INDICATOR] = 0xff;
            assert_int_equal(datagram_classify(data, len),
                             len <= 16 ? DATAGRAM_DROP : DATAGRAM_FRAGMENT);
        }
        free(data);
    }
}

/* PK-8, and names */
static void test_verb_ignores_high_bits(void **state)
{
    uint8_t pkt[PACKET_MIN] = {0};

    (void)state;
    for (unsigned byte = 0; byte < 256; byte++) {
        pkt[PACKET_AT_VERB] = (uint8_t)byte;
        assert_int_equal(packet_verb(pkt), byte & 0x1f);
        assert_non_null(verb_name(byte));
    }
    assert_string_equal(verb_name(VERB_NOP), "NOP");
    assert_string_equal(verb_name(VERB_PATH_NEGOTIATION_REQUEST), "PATH_NEGOTIATION_REQUEST");
    assert_string_equal(verb_name(0x0f), "unknown");
    assert_string_equal(verb_name(0x11), "unknown");
    assert_string_equal(verb_name(0x17), "unknown");
    assert_string_equal(verb_name(0x1f), "unknown");
}

/* CO-1: the constants of spec 01 section 16 that this header carries. */
static void test_constants(void **state)
{
    static const struct {
        int have;
        int want;
    } table[] = {
        {PROTOCOL_VERSION, 12},       {PROTOCOL_VERSION_MIN, 4},     {PACKET_MIN, 28},
        {PACKET_MAX, 10024},          {PACKET_PAYLOAD_MAX, 9996},    {FRAGMENT_AT_DATA, 16},
        {FRAGMENTS_MAX, 7},           {PACKET_HOPS_MAX, 3},          {PACKET_HOPS_MASK, 7},
        {PACKET_AT_DEST, 8},          {PACKET_AT_SOURCE, 13},        {PACKET_AT_FLAGS, 18},
        {PACKET_AT_MAC, 19},          {PACKET_AT_VERB, 27},          {PACKET_AT_PAYLOAD, 28},
        {FRAGMENT_AT_NUMBERS, 14},    {FRAGMENT_AT_HOPS, 15},        {FRAGMENT_INDICATOR, 0xff},
        {MTU_PHYSICAL_DEFAULT, 1432}, {MTU_PHYSICAL_MIN, 1400},      {MTU_PHYSICAL_MAX, 10324},
        {PORT_DEFAULT, 9993},         {PACKET_FLAG_ENCRYPTED, 0x80}, {PACKET_FLAG_FRAGMENTED, 0x40},
        {VERB_COMPRESSED, 0x80},      {ERROR_IDENTITY_COLLISION, 4},
    };

    (void)state;
    for (size_t i = 0; i < COUNT_OF(table); i++) {
        assert_int_equal(table[i].have, table[i].want);
    }
}

/* A packet in a buffer with the room in-place decompression asks for. */
static uint8_t *packet_buffer(const uint8_t *data, size_t len)
{
    uint8_t *pkt = calloc(1, len > PACKET_MAX ? len : PACKET_MAX);

    assert_non_null(pkt);
    memcpy(pkt, data, len);
    return pkt;
}

static void check_result(const json_t *c, const uint8_t *pkt, size_t len)
{
    if (json_object_get(c, "after") != NULL) {
        size_t after_len;
        uint8_t *after = vec_bytes(c, "after", &after_len);

        assert_int_equal(len, after_len);
        assert_memory_equal(pkt, after, len);
        free(after);
    } else {
        uint8_t sum[crypto_hash_sha512_BYTES];
        size_t sum_len;
        uint8_t *expected = vec_bytes(c, "after_sha512", &sum_len);

        assert_int_equal(len, vec_int(c, "after_len"));
        crypto_hash_sha512(sum, pkt, len);
        assert_int_equal(sum_len, sizeof(sum));
        assert_memory_equal(sum, expected, sizeof(sum));
        free(expected);
    }
}

/* LZ-1, LZ-4 */
static void test_decompression_vectors(void **state)
{
    const json_t *cases = vec_get(vectors, "decompression");
    uint8_t scratch[PACKET_MAX];

    (void)state;
    for (size_t i = 0; i < json_array_size(cases); i++) {
        const json_t *c = json_array_get(cases, i);
        size_t len;
        uint8_t *before = vec_bytes(c, "before", &len);
        uint8_t *pkt = packet_buffer(before, len);
        int n = packet_decompress(pkt, len, scratch);

        if (vec_bool(c, "ok")) {
            assert_true(n > 0);
            check_result(c, pkt, (size_t)n);
        } else {
            assert_int_equal(n, -EBADMSG);
        }
        free(pkt);
        free(before);
    }
}

/* LZ-2, LZ-3: the reference's output opens, and ours opens and is kept in the same cases. */
static void test_compression_vectors(void **state)
{
    const json_t *cases = vec_get(vectors, "compression");
    uint8_t scratch[PACKET_MAX];

    (void)state;
    for (size_t i = 0; i < json_array_size(cases); i++) {
        const json_t *c = json_array_get(cases, i);
        size_t before_len;
        size_t after_len;
        uint8_t *before = vec_bytes(c, "before", &before_len);
        uint8_t *after = vec_bytes(c, "after", &after_len);
        uint8_t *pkt = packet_buffer(after, after_len);
        size_t len;

        assert_int_equal(packet_decompress(pkt, after_len, scratch), before_len);
        assert_memory_equal(pkt, before, before_len);
        len = packet_compress(pkt, before_len, scratch);
        assert_int_equal((pkt[PACKET_AT_VERB] & VERB_COMPRESSED) != 0, vec_bool(c, "compressed"));
        assert_int_equal(len < before_len, vec_bool(c, "compressed"));
        assert_int_equal(packet_decompress(pkt, len, scratch), before_len);
        assert_memory_equal(pkt, before, before_len);
        free(pkt);
        free(after);
        free(before);
    }
}

/* LZ-6, and no second compression */
static void test_hello_and_compressed_are_left_alone(void **state)
{
    uint8_t pkt[200] = {0};
    uint8_t scratch[PACKET_MAX];

    (void)state;
    packet_start(pkt, 1, 2, 3, VERB_HELLO);
    assert_int_equal(packet_compress(pkt, sizeof(pkt), scratch), sizeof(pkt));
    assert_int_equal(pkt[PACKET_AT_VERB], VERB_HELLO);
    pkt[PACKET_AT_VERB] = VERB_COMPRESSED | VERB_FRAME;
    assert_int_equal(packet_compress(pkt, sizeof(pkt), scratch), sizeof(pkt));
}

/* LZ-3, LZ-4: random compressible packets up to the maximum come back, in place. */
static void test_compression_round_trip(void **state)
{
    struct test_rng rng = test_rng_init("lz4");
    uint8_t pkt[PACKET_MAX];
    uint8_t copy[PACKET_MAX];
    uint8_t scratch[PACKET_MAX];

    (void)state;
    for (unsigned round = 0; round < 1000; round++) {
        size_t len = round == 0 ? PACKET_MAX : PACKET_MIN + test_rng_below(&rng, PACKET_MAX - 27);
        size_t run = 1 + test_rng_below(&rng, 200);
        size_t n;

        packet_start(pkt, round, 2, 3, VERB_FRAME);
        for (size_t i = PACKET_AT_PAYLOAD; i < len; i++) {
            bool again = i >= PACKET_AT_PAYLOAD + run && test_rng_below(&rng, 50) != 0;

            pkt[i] = again ? pkt[i - run] : (uint8_t)test_rng_u64(&rng);
        }
        memcpy(copy, pkt, len);
        n = packet_compress(pkt, len, scratch);
        assert_true(n == len || (n < len && pkt[PACKET_AT_VERB] == (VERB_FRAME | VERB_COMPRESSED)));
        assert_true(len > PACKET_MIN + 64 || n == len);
        assert_int_equal(packet_decompress(pkt, n, scratch), len);
        assert_memory_equal(pkt, copy, len);
    }
}

/* Random and damaged blocks are refused or give at most PACKET_MAX bytes (sanitizer run). */
static void test_hostile_blocks_are_harmless(void **state)
{
    struct test_rng rng = test_rng_init("lz4 hostile");
    uint8_t scratch[PACKET_MAX];

    (void)state;
    for (unsigned round = 0; round < 30000; round++) {
        size_t len = PACKET_MIN + test_rng_below(&rng, 60);
        uint8_t *pkt = calloc(1, PACKET_MAX);
        int n;

        assert_non_null(pkt);
        packet_start(pkt, 1, 2, 3, VERB_FRAME);
        test_rng_fill(&rng, pkt + PACKET_AT_PAYLOAD, len - PACKET_AT_PAYLOAD);
        for (size_t i = PACKET_AT_PAYLOAD; i < len; i++) {
            pkt[i] &= test_rng_below(&rng, 2) == 0 ? 0x13 : 0xff;
        }
        pkt[PACKET_AT_VERB] |= VERB_COMPRESSED;
        n = packet_decompress(pkt, len, scratch);
        assert_true(n == -EBADMSG || (n >= PACKET_MIN && n <= PACKET_MAX));
        free(pkt);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_header_fields),
        cmocka_unit_test(test_suite_keeps_fragmented_and_hops),
        cmocka_unit_test(test_hop_wraps_and_leaves_the_rest),
        cmocka_unit_test(test_datagram_classes),
        cmocka_unit_test(test_verb_ignores_high_bits),
        cmocka_unit_test(test_constants),
        cmocka_unit_test(test_decompression_vectors),
        cmocka_unit_test(test_compression_vectors),
        cmocka_unit_test(test_hello_and_compressed_are_left_alone),
        cmocka_unit_test(test_compression_round_trip),
        cmocka_unit_test(test_hostile_blocks_are_harmless),
    };

    return cmocka_run_group_tests(tests, load, unload);
}
