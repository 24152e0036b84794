/* Cutting and joining packets. Checklist: FR-1 to FR-11 (FR-10 of the sender), D-1 to D-3, D-7,
 * D-27.
 */
#include "vectors.h"

#include "base/cursor.h"
#include "crypto/sha.h"
#include "datapath/armor.h"
#include "datapath/fragment.h"
#include "wire/identity.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static json_t *vectors;
static struct armor_keys keys; /* of identities 0 and 1 */
static uint64_t addresses[2];
static const struct inetaddr here = {.family = INETADDR_V4, .ip = {10, 0, 0, 1}, .port = 9993};

static int load(void **state)
{
    struct identity ids[2];
    uint8_t secret[SHARED_KEY_LEN];

    (void)state;
    vectors = vectors_load("identity-crypto.json");
    for (size_t i = 0; i < 2; i++) {
        const char *text = vec_text(json_array_get(vec_get(vectors, "identities"), i), "secret");

        assert_int_equal(identity_parse(text, strlen(text), &ids[i]), 0);
        addresses[i] = ids[i].address;
    }
    assert_int_equal(identity_agree(&ids[0], &ids[1], secret), 0);
    armor_keys_init(&keys, secret);
    return 0;
}

static int unload(void **state)
{
    (void)state;
    json_decref(vectors);
    return 0;
}

/* A datagram of its own, to be freed. */
struct datagram {
    uint8_t *data;
    size_t len;
};

static struct datagram datagram_of(const struct fragment_piece *piece)
{
    struct datagram d = {.len = piece->head_len + piece->len};

    d.data = malloc(d.len);
    memcpy(d.data, piece->head, piece->head_len);
    memcpy(d.data + piece->head_len, piece->data, piece->len);
    return d;
}

/* Cut by a plan; returns the number of datagrams. */
static unsigned cut(const uint8_t *pkt, const struct fragment_plan *plan,
                    struct datagram ret[FRAGMENTS_MAX])
{
    for (unsigned i = 0; i < plan->total; i++) {
        struct fragment_piece piece;

        fragment_cut(pkt, plan, i, &piece);
        ret[i] = datagram_of(&piece);
    }
    return plan->total;
}

static void release(struct datagram *list, unsigned count)
{
    for (unsigned i = 0; i < count; i++) {
        free(list[i].data);
    }
}

/* A packet with random content whose ID is id and whose length is len. */
static uint8_t *packet_make(struct test_rng *rng, uint64_t id, size_t len)
{
    uint8_t *pkt = malloc(len);

    test_rng_fill(rng, pkt, len);
    packet_start(pkt, id, addresses[1], addresses[0], VERB_FRAME);
    packet_set_fragmented(pkt, true);
    return pkt;
}

/* Offer one datagram from `here`. */
static int offer(struct assembly *a, const struct datagram *d, int64_t now_ms, uint8_t *out,
                 struct assembled *ret)
{
    return assembly_add(a, d->data, d->len, &here, 7, ASSEMBLY_SHARE, now_ms, out, ret);
}

/* P(seed, n) of the vectors. */
static void pattern(const char *seed, uint8_t *out, size_t len)
{
    uint8_t in[64];
    uint8_t digest[64];
    size_t seed_len = strlen(seed);

    memcpy(in, seed, seed_len);
    for (uint32_t i = 0; i * 64 < len; i++) {
        size_t n = len - i * 64 < 64 ? len - i * 64 : 64;

        be32_put(in + seed_len, i);
        sha512(in, seed_len + 4, digest);
        memcpy(out + i * 64, digest, n);
    }
}

/* The packet of an entry of [fragmentation] before armor. */
static uint8_t *plain_of(const json_t *entry, size_t len)
{
    uint8_t *pkt;

    if (json_object_get(entry, "plain") != NULL) {
        return vec_bytes(entry, "plain", &len);
    }
    pkt = malloc(len);
    packet_start(pkt, vec_hex_u64(entry, "plain_packet_id"), addresses[1], addresses[0],
                 VERB_FRAME);
    packet_set_fragmented(pkt, vec_int(entry, "total_fragments") > 1);
    pattern(vec_text(entry, "plain_payload_seed"), pkt + PACKET_AT_PAYLOAD,
            len - PACKET_AT_PAYLOAD);
    return pkt;
}

static void check_cut(const json_t *entry, const struct datagram *list, unsigned count)
{
    uint8_t *all = malloc(2 * PACKET_MAX);
    size_t len = 0;

    assert_int_equal(count, vec_int(entry, "total_fragments"));
    for (unsigned i = 0; i < count; i++) {
        json_t *size = json_array_get(vec_get(entry, "datagram_sizes"), i);

        assert_int_equal(list[i].len, json_integer_value(size));
        if (json_object_get(entry, "datagrams") != NULL) {
            size_t want_len;
            uint8_t *want = hex_bytes(
                json_string_value(json_array_get(vec_get(entry, "datagrams"), i)), &want_len);

            assert_int_equal(list[i].len, want_len);
            assert_memory_equal(list[i].data, want, want_len);
            free(want);
        }
        memcpy(all + len, list[i].data, list[i].len);
        len += list[i].len;
    }
    if (json_object_get(entry, "datagrams_concatenated_sha512") != NULL) {
        uint8_t digest[64];
        size_t want_len;
        uint8_t *want = vec_bytes(entry, "datagrams_concatenated_sha512", &want_len);

        sha512(all, len, digest);
        assert_memory_equal(digest, want, 64);
        free(want);
    }
    free(all);
}

/* FR-1, FR-6: the cut of the reference, joined again, opened again. */
static void test_vectors_of_both_suites(void **state)
{
    json_t *list = vec_get(vectors, "fragmentation");
    json_t *entry;
    size_t i;

    (void)state;
    json_array_foreach(list, i, entry)
    {
        size_t len = (size_t)vec_int(entry, "packet_size");
        size_t mtu = (size_t)vec_int(entry, "mtu");
        uint8_t *pkt = plain_of(entry, len);
        uint8_t *plain = exact_copy(pkt, len);
        struct datagram parts[FRAGMENTS_MAX];
        struct fragment_plan plan;
        int r = fragment_plan(len, mtu, &plan);

        assert_int_equal(fragment_is_needed(len, mtu), packet_is_fragmented(pkt));
        assert_int_equal(r == 0, vec_bool(entry, "reference_receiver_accepts"));
        if (r == 0) {
            struct assembly a;
            struct assembled got;
            uint8_t out[PACKET_MAX];
            unsigned count;

            armor_seal(pkt, len, (enum cipher_suite)vec_int(entry, "suite"), &keys);
            count = cut(pkt, &plan, parts);
            check_cut(entry, parts, count);
            assembly_init(&a, i);
            for (unsigned j = 0; count > 1 && j < count; j++) {
                assert_int_equal(offer(&a, &parts[j], 0, out, &got), j + 1 == count);
            }
            if (count > 1) {
                assert_int_equal(got.len, len);
                assert_memory_equal(out, pkt, len);
                assert_int_equal(armor_open(out, len, &keys), 0);
                assert_memory_equal(out + PACKET_AT_VERB, plain + PACKET_AT_VERB,
                                    len - PACKET_AT_VERB);
            }
            assembly_done(&a);
            release(parts, count);
        } else {
            assert_int_equal(r, -EMSGSIZE);
        }
        free(pkt);
        free(plain);
    }
    assert_int_equal(i, 34);
}

/* D-1 */
static void test_equal_cut_of_common_sizes(void **state)
{
    static const struct {
        size_t len;
        unsigned total;
        size_t size;
    } cases[] = {{2838, 2, 1427}, {2851, 3, 961},  {1538, 2, 777}, {1551, 2, 784},
                 {9038, 7, 1305}, {1432, 1, 1432}, {28, 1, 28}};

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct fragment_plan plan;

        assert_int_equal(fragment_plan_equal(cases[i].len, 1432, &plan), 0);
        assert_int_equal(plan.total, cases[i].total);
        assert_int_equal(plan.size, cases[i].size);
    }
}

static void check_plan(const uint8_t *pkt, size_t len, size_t mtu, const struct fragment_plan *plan)
{
    size_t sum = 0;

    assert_int_equal(plan->packet_len, len);
    for (unsigned i = 0; i < plan->total; i++) {
        struct fragment_piece piece;
        size_t size;

        fragment_cut(pkt, plan, i, &piece);
        size = piece.head_len + piece.len;
        assert_true(piece.len >= 1 && size <= mtu && size <= plan->size);
        assert_int_equal(piece.head_len, i == 0 ? 0 : FRAGMENT_AT_DATA);
        assert_ptr_equal(piece.data, pkt + sum - (i > 0 ? i - 1 : 0) * (size_t)FRAGMENT_AT_DATA);
        assert_true(i > 0 || piece.len >= PACKET_MIN);
        assert_true(i + 1 == plan->total || size == plan->size);
        if (i > 0) {
            assert_memory_equal(piece.head, pkt, FRAGMENT_AT_INDICATOR); /* D-7 */
            assert_int_equal(piece.head[FRAGMENT_AT_INDICATOR], FRAGMENT_INDICATOR);
            assert_int_equal(piece.head[FRAGMENT_AT_NUMBERS], plan->total << 4 | i);
            assert_int_equal(piece.head[FRAGMENT_AT_HOPS], 0); /* FR-10 */
        }
        sum += size;
    }
    assert_int_equal(sum, len + FRAGMENT_AT_DATA * (size_t)(plan->total - 1));
}

/* D-2, FR-6 */
static void test_plans_of_every_length(void **state)
{
    static const size_t mtus[] = {1400, 1432, 1472, 2000, 10324};
    struct test_rng rng = test_rng_init("plans");
    uint8_t *pkt = packet_make(&rng, 1, PACKET_MAX);
    struct fragment_plan plan;

    (void)state;
    for (size_t m = 0; m < sizeof(mtus) / sizeof(mtus[0]); m++) {
        size_t mtu = mtus[m];
        size_t limit = mtu + (FRAGMENTS_MAX - 1) * (mtu - FRAGMENT_AT_DATA);

        for (size_t len = PACKET_MIN; len <= PACKET_MAX + 10; len++) {
            bool possible = len <= limit && len <= PACKET_MAX;
            size_t least = len <= mtu ? 1 : (len - FRAGMENT_AT_DATA + mtu - 17) / (mtu - 16);

            assert_int_equal(fragment_plan(len, mtu, &plan), possible ? 0 : -EMSGSIZE);
            if (possible) {
                assert_int_equal(plan.total, least);
                check_plan(pkt, len, mtu, &plan);
                assert_int_equal(fragment_plan_equal(len, mtu, &plan), 0);
                assert_int_equal(plan.total, least);
                check_plan(pkt, len, mtu, &plan);
            } else {
                assert_int_equal(fragment_plan_equal(len, mtu, &plan), -EMSGSIZE);
            }
        }
    }
    assert_int_equal(fragment_plan(100, 63, &plan), -EMSGSIZE);
    free(pkt);
}

/* Next permutation of count numbers in lexical order; false after the last. */
static bool permute(unsigned *order, unsigned count)
{
    unsigned i = count - 1;
    unsigned j = count - 1;
    unsigned t;

    while (i > 0 && order[i - 1] > order[i]) {
        i--;
    }
    if (i == 0) {
        return false;
    }
    while (order[j] < order[i - 1]) {
        j--;
    }
    t = order[i - 1];
    order[i - 1] = order[j];
    order[j] = t;
    for (j = count - 1; i < j; i++, j--) {
        t = order[i];
        order[i] = order[j];
        order[j] = t;
    }
    return true;
}

/* FR-2, FR-3, D-3: all orders of up to 5 parts, each part offered twice. The packet's origin is
 * that of its head. */
static void test_every_order_of_arrival(void **state)
{
    static const struct inetaddr there = {.family = INETADDR_V6, .ip = {0xfd}, .port = 1};
    struct test_rng rng = test_rng_init("orders");

    (void)state;
    for (unsigned count = 2; count <= 5; count++) {
        size_t len = 1432 + (count - 2) * 1416 + 700;
        uint8_t *pkt = packet_make(&rng, 42, len);
        unsigned order[5] = {0, 1, 2, 3, 4};
        struct datagram parts[FRAGMENTS_MAX];
        struct fragment_plan plan;
        struct assembly a;
        int64_t now_ms = 0;

        assembly_init(&a, 5);
        assert_int_equal(fragment_plan(len, 1432, &plan), 0);
        assert_int_equal(cut(pkt, &plan, parts), count);
        do {
            uint8_t out[PACKET_MAX];
            struct assembled got = {0};

            for (unsigned i = 0; i < count; i++) {
                const struct datagram *d = &parts[order[i]];
                bool head = order[i] == 0;
                int r = assembly_add(&a, d->data, d->len, head ? &there : &here, head ? 9 : 7,
                                     ASSEMBLY_SHARE, now_ms, out, &got);

                assert_int_equal(r, i + 1 == count);
                if (r == 0) {
                    assert_int_equal(offer(&a, d, now_ms, out, &got), 0);
                }
            }
            assert_int_equal(got.len, len);
            assert_int_equal(got.socket, 9);
            assert_true(inetaddr_equal(&got.from, &there));
            assert_memory_equal(out, pkt, len);
            assert_int_equal(a.parts, 0);
            assert_int_equal(a.bytes, 0);
            now_ms++;
        } while (permute(order, count));
        assert_true(a.stats.duplicate == (uint64_t)now_ms * (count - 1));
        assert_true(a.stats.completed == (uint64_t)now_ms);
        assembly_done(&a);
        release(parts, count);
        free(pkt);
    }
}

/* FR-4: the entry the reference accepts with number above total is refused. */
static void test_fragment_header_cases(void **state)
{
    json_t *list = vec_get(vectors, "fragment_header_cases");
    json_t *entry;
    size_t i;

    (void)state;
    json_array_foreach(list, i, entry)
    {
        struct datagram d;
        struct assembly a;
        struct assembled got;
        uint8_t out[PACKET_MAX];
        bool want =
            vec_bool(entry, "accepted") && vec_int(entry, "fragment_no") < vec_int(entry, "total");

        d.data = vec_bytes(entry, "datagram", &d.len);
        assembly_init(&a, i);
        assert_int_equal(offer(&a, &d, 0, out, &got), want ? 0 : -EBADMSG);
        assert_int_equal(a.parts, want ? 1 : 0);
        assert_true(a.stats.bad_numbers == (want ? 0 : 1));
        assembly_done(&a);
        free(d.data);
    }
    assert_int_equal(i, 11);
}

/* Datagrams that are no part at all, of exact size. */
static void test_runts_and_whole_packets_are_refused(void **state)
{
    struct test_rng rng = test_rng_init("runts");
    struct assembly a;
    struct assembled got;
    uint8_t out[PACKET_MAX];

    (void)state;
    assembly_init(&a, 1);
    for (size_t len = 0; len < 40; len++) {
        struct datagram d = {.data = packet_make(&rng, 1, 40), .len = len};
        uint8_t *exact = exact_copy(d.data, len);

        free(d.data);
        d.data = exact;
        assert_int_equal(offer(&a, &d, 0, out, &got), len < PACKET_MIN ? -EBADMSG : 0);
        if (len >= PACKET_MIN) {
            d.data[PACKET_AT_FLAGS] = 0;
            assert_int_equal(offer(&a, &d, 0, out, &got), -EBADMSG);
        }
        free(d.data);
    }
    assembly_done(&a);
}

/* FR-5: nothing is delivered, the memory goes at a known time, and the rest of it when idle. */
static void test_missing_part_expires(void **state)
{
    struct test_rng rng = test_rng_init("expiry");
    uint8_t *pkt = packet_make(&rng, 77, 4000);
    struct datagram parts[FRAGMENTS_MAX];
    struct fragment_plan plan;
    struct assembly a;
    struct assembled got;
    uint8_t out[PACKET_MAX];

    (void)state;
    assembly_init(&a, 1);
    assert_true(assembly_deadline(&a) == INT64_MAX);
    assert_int_equal(fragment_plan(4000, 1432, &plan), 0);
    assert_int_equal(cut(pkt, &plan, parts), 3);
    assert_int_equal(offer(&a, &parts[0], 1000, out, &got), 0);
    assert_int_equal(offer(&a, &parts[2], 1100, out, &got), 0);
    assert_true(assembly_deadline(&a) == 1000 + ASSEMBLY_TIMEOUT_MS);
    assembly_expire(&a, 1000 + ASSEMBLY_TIMEOUT_MS - 1);
    assert_int_equal(a.parts, 2);
    assembly_expire(&a, 1000 + ASSEMBLY_TIMEOUT_MS);
    assert_int_equal(a.parts, 0);
    assert_true(a.stats.timeout == 1);

    /* Too late: this opens a new, never completed set. */
    assert_int_equal(offer(&a, &parts[1], 2000, out, &got), 0);
    assembly_expire(&a, 2000 + ASSEMBLY_TIMEOUT_MS);
    assert_int_equal(a.parts, 0);
    assert_true(assembly_deadline(&a) == 2000 + ASSEMBLY_IDLE_MS);
    assembly_expire(&a, 2000 + ASSEMBLY_IDLE_MS);
    assert_int_equal(a.free_parts.count, 0);
    assert_true(assembly_deadline(&a) == INT64_MAX);
    assembly_done(&a);
    release(parts, 3);
    free(pkt);
}

/* Another total for the same ID is refused, and does no harm. */
static void test_totals_must_agree(void **state)
{
    struct test_rng rng = test_rng_init("totals");
    uint8_t *pkt = packet_make(&rng, 78, 4000);
    struct datagram parts[FRAGMENTS_MAX];
    struct fragment_plan plan;
    struct assembly a;
    struct assembled got;
    uint8_t out[PACKET_MAX];

    (void)state;
    assembly_init(&a, 1);
    assert_int_equal(fragment_plan(4000, 1432, &plan), 0);
    assert_int_equal(cut(pkt, &plan, parts), 3);
    assert_int_equal(offer(&a, &parts[1], 0, out, &got), 0);
    parts[2].data[FRAGMENT_AT_NUMBERS] = 4 << 4 | 2;
    assert_int_equal(offer(&a, &parts[2], 0, out, &got), -EBADMSG);
    assert_true(a.stats.bad_total == 1);
    parts[2].data[FRAGMENT_AT_NUMBERS] = 3 << 4 | 2;
    assert_int_equal(offer(&a, &parts[2], 0, out, &got), 0);
    assert_int_equal(offer(&a, &parts[0], 0, out, &got), 1);
    assert_memory_equal(out, pkt, 4000);
    assembly_done(&a);
    release(parts, 3);
    free(pkt);
}

/* FR-9 */
static void test_oversize_is_dropped(void **state)
{
    struct test_rng rng = test_rng_init("oversize");

    (void)state;
    for (size_t extra = 0; extra < 2; extra++) {
        uint8_t *pkt = packet_make(&rng, 79, PACKET_MAX + 1);
        struct fragment_plan plan = {.packet_len = PACKET_MAX + extra, .size = 5100, .total = 2};
        struct datagram parts[FRAGMENTS_MAX];
        struct assembly a;
        struct assembled got;
        uint8_t out[PACKET_MAX];

        assembly_init(&a, 1);
        (void)cut(pkt, &plan, parts);
        assert_int_equal(offer(&a, &parts[0], 0, out, &got), 0);
        assert_int_equal(offer(&a, &parts[1], 0, out, &got), extra == 0 ? 1 : -EBADMSG);
        assert_true(a.stats.oversize == extra);
        assert_int_equal(a.parts, 0);
        assembly_done(&a);
        release(parts, 2);
        free(pkt);
    }
}

/* A packet on its way in the random test. */
struct flight {
    uint8_t *pkt;
    size_t len;
    struct datagram parts[FRAGMENTS_MAX];
    unsigned total;
    unsigned arrived; /* bits of the parts offered */
};

static void flight_start(struct flight *f, struct test_rng *rng, uint64_t id)
{
    size_t mtu = 1400 + test_rng_below(rng, 600);
    struct fragment_plan plan;

    f->len = mtu + 1 + test_rng_below(rng, 9704 - mtu - 1);
    f->pkt = packet_make(rng, id, f->len);
    if (test_rng_below(rng, 2) == 0) {
        assert_int_equal(fragment_plan(f->len, mtu, &plan), 0);
    } else {
        assert_int_equal(fragment_plan_equal(f->len, mtu, &plan), 0);
    }
    f->total = cut(f->pkt, &plan, f->parts);
    f->arrived = 0;
}

/* FR-3, FR-7, FR-11: many packets of senders with different mtu and cut at once, parts in random
 * order and often repeated, against a model that counts. */
static void test_interleaved_packets(void **state)
{
    enum { FLIGHTS = 9, STEPS = 30000 }; /* at most 63 parts: within the share of one IP */
    struct test_rng rng = test_rng_init("interleaved");
    struct flight flights[FLIGHTS];
    struct assembly a;
    struct assembled got;
    uint8_t out[PACKET_MAX];
    uint64_t id = 0;
    unsigned completed = 0;

    (void)state;
    assembly_init(&a, test_rng_u64(&rng));
    for (size_t i = 0; i < FLIGHTS; i++) {
        flight_start(&flights[i], &rng, ++id);
    }
    for (unsigned step = 0; step < STEPS; step++) {
        struct flight *f = &flights[test_rng_below(&rng, FLIGHTS)];
        unsigned n = (unsigned)test_rng_below(&rng, f->total);
        int want;

        f->arrived |= 1U << n;
        want = f->arrived == (1U << f->total) - 1;
        assert_int_equal(offer(&a, &f->parts[n], step / 1000, out, &got), want);
        if (want) {
            assert_int_equal(got.len, f->len);
            assert_memory_equal(out, f->pkt, f->len);
            release(f->parts, f->total);
            free(f->pkt);
            flight_start(f, &rng, ++id);
            completed++;
        }
    }
    assert_true(a.stats.completed == completed);
    assert_true(completed > STEPS / 40);
    assert_true(a.stats.evicted == 0 && a.stats.timeout == 0);
    for (size_t i = 0; i < FLIGHTS; i++) {
        release(flights[i].parts, flights[i].total);
        free(flights[i].pkt);
    }
    assembly_done(&a);
}

/* Send a whole packet from `here`, head first, with junk of `flood` between the parts. */
static int send_under_flood(struct assembly *a, struct test_rng *rng, uint64_t id,
                            void (*flood)(struct assembly *, struct test_rng *, int64_t))
{
    uint8_t *pkt = packet_make(rng, id, 4000);
    struct datagram parts[FRAGMENTS_MAX];
    struct fragment_plan plan;
    struct assembled got;
    uint8_t out[PACKET_MAX];
    int r = 0;

    assert_int_equal(fragment_plan(4000, 1432, &plan), 0);
    (void)cut(pkt, &plan, parts);
    for (unsigned i = 0; i < plan.total; i++) {
        r = offer(a, &parts[i], 0, out, &got);
        flood(a, rng, 0);
    }
    if (r == 1) {
        assert_memory_equal(out, pkt, 4000);
    }
    release(parts, plan.total);
    free(pkt);
    return r;
}

static void check_bounds(const struct assembly *a)
{
    assert_in_range(a->parts, 0, ASSEMBLY_PARTS_MAX);
    assert_in_range(a->bytes, 0, ASSEMBLY_BYTES_MAX);
    assert_true(a->sets.count <= a->parts && a->sources.count <= a->parts);
}

/* Random fragments from one IP. */
static void flood_one(struct assembly *a, struct test_rng *rng, int64_t now_ms)
{
    static const struct inetaddr bad = {.family = INETADDR_V4, .ip = {6, 6, 6, 6}, .port = 6};
    uint8_t out[PACKET_MAX];
    struct assembled got;

    for (unsigned i = 0; i < 2000; i++) {
        uint8_t junk[100];

        test_rng_fill(rng, junk, sizeof(junk));
        junk[FRAGMENT_AT_INDICATOR] = FRAGMENT_INDICATOR;
        junk[FRAGMENT_AT_NUMBERS] = 7 << 4 | 3;
        assert_int_equal(
            assembly_add(a, junk, sizeof(junk), &bad, 0, ASSEMBLY_SHARE, now_ms, out, &got), 0);
        check_bounds(a);
    }
    assert_in_range(a->parts, 1, ASSEMBLY_SHARE + 3);
}

/* Random heads and fragments from the addresses of one IPv6 /64, and from 100 IPv4 hosts with large
 * parts. */
static void flood_many(struct assembly *a, struct test_rng *rng, int64_t now_ms)
{
    static uint8_t junk[9000];
    uint8_t out[PACKET_MAX];
    struct assembled got;

    for (unsigned i = 0; i < 4000; i++) {
        struct inetaddr bad = {.family = INETADDR_V6, .ip = {0x20, 1}, .port = (uint16_t)i};
        size_t len = 100;

        test_rng_fill(rng, junk, 100);
        test_rng_fill(rng, bad.ip + 8, 8);
        if (i % 2 == 0) {
            bad = (struct inetaddr){.family = INETADDR_V4, .ip = {6, 6, 6, (uint8_t)(i % 200)}};
            len = 100 + test_rng_below(rng, sizeof(junk) - 100);
        }
        junk[FRAGMENT_AT_INDICATOR] = i % 3 == 0 ? 1 : FRAGMENT_INDICATOR;
        junk[FRAGMENT_AT_NUMBERS] = 7 << 4 | 3;
        junk[PACKET_AT_FLAGS] |= PACKET_FLAG_FRAGMENTED;
        assert_int_equal(assembly_add(a, junk, len, &bad, 0, ASSEMBLY_SHARE, now_ms, out, &got), 0);
        check_bounds(a);
    }
}

/* FR-8, D-27 */
static void test_flood_does_not_stop_others(void **state)
{
    struct test_rng rng = test_rng_init("flood");
    struct assembly a;

    (void)state;
    assembly_init(&a, 3);
    for (uint64_t i = 0; i < 10; i++) {
        assert_int_equal(send_under_flood(&a, &rng, i, flood_one), 1);
    }
    assert_int_equal(a.sources.count, 1);
    for (uint64_t i = 0; i < 10; i++) {
        assert_int_equal(send_under_flood(&a, &rng, i, flood_many), 1);
    }
    assert_true(a.stats.evicted > 0);
    assembly_expire(&a, ASSEMBLY_TIMEOUT_MS);
    assert_int_equal(a.parts, 0);
    assert_int_equal(a.bytes, 0);
    assert_int_equal(a.sources.count, 0);
    assembly_expire(&a, ASSEMBLY_IDLE_MS);
    assert_null(a.sets.buckets);
    assembly_done(&a);
}

/* An upstream may hold more, up to its own share; the oldest of its sets goes first. */
static void test_share_of_an_upstream(void **state)
{
    struct assembly a;
    struct assembled got;
    uint8_t out[PACKET_MAX];
    uint8_t part[20] = {0};

    (void)state;
    assembly_init(&a, 4);
    part[FRAGMENT_AT_INDICATOR] = FRAGMENT_INDICATOR;
    part[FRAGMENT_AT_NUMBERS] = 2 << 4 | 1;
    for (uint32_t i = 0; i < 400; i++) {
        be32_put(part, i);
        assert_int_equal(
            assembly_add(&a, part, sizeof(part), &here, 0, ASSEMBLY_SHARE_UPSTREAM, 0, out, &got),
            0);
        assert_int_equal(a.parts, i < ASSEMBLY_SHARE_UPSTREAM ? i + 1 : ASSEMBLY_SHARE_UPSTREAM);
    }
    /* Set 143 has gone, 144 is still there: its head completes it. */
    assert_true(a.stats.evicted == 400 - ASSEMBLY_SHARE_UPSTREAM);
    for (uint32_t i = 143; i < 145; i++) {
        uint8_t head[PACKET_MIN] = {0};

        be32_put(head, i);
        head[PACKET_AT_FLAGS] = PACKET_FLAG_FRAGMENTED;
        assert_int_equal(assembly_add(&a, head, sizeof(head), &(struct inetaddr){.family = 4}, 0,
                                      ASSEMBLY_SHARE, 0, out, &got),
                         i == 144);
    }
    assembly_done(&a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_vectors_of_both_suites),
        cmocka_unit_test(test_equal_cut_of_common_sizes),
        cmocka_unit_test(test_plans_of_every_length),
        cmocka_unit_test(test_every_order_of_arrival),
        cmocka_unit_test(test_fragment_header_cases),
        cmocka_unit_test(test_runts_and_whole_packets_are_refused),
        cmocka_unit_test(test_missing_part_expires),
        cmocka_unit_test(test_totals_must_agree),
        cmocka_unit_test(test_oversize_is_dropped),
        cmocka_unit_test(test_interleaved_packets),
        cmocka_unit_test(test_flood_does_not_stop_others),
        cmocka_unit_test(test_share_of_an_upstream),
    };

    return cmocka_run_group_tests(tests, load, unload);
}
