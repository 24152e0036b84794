/* Packet IDs. Checklist: PK-9. */
#include "vectors.h"

#include "crypto/packet_id.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { IDS = 1 << 20 };

static void draw(void *ctx, void *out, size_t len)
{
    test_rng_fill(ctx, out, len);
}

static int compare(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a;
    uint64_t y = *(const uint64_t *)b;

    return x < y ? -1 : x > y;
}

/* The test vector of the paper of Speck, for block 64 and key 128. */
static void test_permutation_is_speck(void **state)
{
    static const uint32_t key[4] = {0x03020100, 0x0b0a0908, 0x13121110, 0x1b1a1918};
    struct packet_id_source s;

    (void)state;
    packet_id_set_key(&s, key);
    assert_true(packet_id_permute(&s, 0x3b7265747475432d) == 0x8c6fa548454e028b);
}

/* PK-9: four lanes together, no ID twice, each bit set about half of the time. */
static void test_ids_never_coincide_and_bits_are_balanced(void **state)
{
    struct test_rng rng = test_rng_init("packet ids");
    struct packet_id_source lanes[4];
    uint64_t *ids = malloc(IDS * sizeof(*ids));
    unsigned ones[64] = {0};

    (void)state;
    packet_id_init(&lanes[0], draw, &rng);
    for (unsigned lane = 1; lane < 4; lane++) {
        packet_id_init_lane(&lanes[lane], &lanes[0], lane == 3 ? PACKET_ID_LANES - 1 : lane);
    }
    for (size_t i = 0; i < IDS; i++) {
        ids[i] = packet_id_next(&lanes[i % 4]);
        for (unsigned bit = 0; bit < 64; bit++) {
            ones[bit] += (unsigned)(ids[i] >> bit & 1);
        }
    }
    for (unsigned bit = 0; bit < 64; bit++) {
        /* Six standard deviations of a fair coin. */
        assert_in_range(ones[bit], IDS / 2 - 3072, IDS / 2 + 3072);
    }
    qsort(ids, IDS, sizeof(*ids), compare);
    for (size_t i = 1; i < IDS; i++) {
        assert_true(ids[i] != ids[i - 1]);
    }
    free(ids);
}

static void test_two_sources_differ(void **state)
{
    struct test_rng rng = test_rng_init("packet id sources");
    struct packet_id_source a;
    struct packet_id_source b;

    (void)state;
    packet_id_init(&a, draw, &rng);
    packet_id_init(&b, draw, &rng);
    assert_true(packet_id_next(&a) != packet_id_next(&b));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_permutation_is_speck),
        cmocka_unit_test(test_ids_never_coincide_and_bits_are_balanced),
        cmocka_unit_test(test_two_sources_differ),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
