/* Packet armor. Checklist: AR-1 to AR-6, AR-9 to AR-12, HE-2, LZ-5. */
#include "vectors.h"

#include "base/cursor.h"
#include "crypto/cpu.h"
#include "crypto/salsa_poly.h"
#include "crypto/sha.h"
#include "datapath/armor.h"
#include "wire/identity.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { PAIRS = 6 }; /* more kernels than any machine has */

static json_t *vectors;
static struct armor_keys keys; /* of identities 0 and 1 */

static struct identity identity_at(size_t index)
{
    const char *text = vec_text(json_array_get(vec_get(vectors, "identities"), index), "secret");
    struct identity id = {0};

    assert_int_equal(identity_parse(text, strlen(text), &id), 0);
    return id;
}

static void secret_of(size_t a, size_t b, uint8_t secret[SHARED_KEY_LEN])
{
    struct identity mine = identity_at(a);
    struct identity theirs = identity_at(b);

    assert_int_equal(identity_agree(&mine, &theirs, secret), 0);
}

static int load(void **state)
{
    uint8_t secret[SHARED_KEY_LEN];

    (void)state;
    vectors = vectors_load("identity-crypto.json");
    secret_of(0, 1, secret);
    armor_keys_init(&keys, secret);
    return 0;
}

static int unload(void **state)
{
    (void)state;
    armor_keys_done(&keys);
    json_decref(vectors);
    return 0;
}

/* The same keys with pair `n` of kernels, until false: every kernel of this machine is met. */
static bool keys_with_kernels(size_t n, const struct armor_keys *of, struct armor_keys *ret)
{
    unsigned features = cpu_features();
    uint8_t k0[SHA384_LEN];
    uint8_t k1[SHA384_LEN];
    const struct aes_kernel *aes = NULL;
    struct salsa_poly salsa_poly = {NULL, NULL};
    size_t usable = 0;

    for (size_t i = 0; aes_kernels[i] != NULL; i++) {
        if ((aes_kernels[i]->needs & ~features) == 0 && usable++ <= n) {
            aes = aes_kernels[i];
        }
    }
    if (n >= PAIRS) {
        return false;
    }
    usable = 0;
    for (size_t i = 0; salsa_kernels[i] != NULL; i++) {
        if ((salsa_kernels[i]->needs & ~features) == 0 && usable++ <= n) {
            salsa_poly.salsa = salsa_kernels[i];
        }
    }
    usable = 0;
    for (size_t i = 0; poly1305_kernels[i] != NULL; i++) {
        if ((poly1305_kernels[i]->needs & ~features) == 0 && usable++ <= n) {
            salsa_poly.poly1305 = poly1305_kernels[i];
        }
    }
    *ret = *of;
    kbkdf(of->secret, '0', 0, 0, k0);
    kbkdf(of->secret, '1', 0, 0, k1);
    ret->salsa_poly = salsa_poly;
    aes_gmac_siv_init(&ret->aes, aes, k0, k1);
    return true;
}

static void check_packet(const uint8_t *plain, size_t len, enum cipher_suite suite,
                         const uint8_t *armored, const struct armor_keys *k)
{
    uint8_t *pkt = exact_copy(plain, len);

    armor_seal(pkt, len, suite, k);
    assert_memory_equal(pkt, armored, len);
    assert_int_equal(armor_open(pkt, len, k), 0);
    assert_memory_equal(pkt, armored, PACKET_AT_VERB);
    assert_memory_equal(pkt + PACKET_AT_VERB, plain + PACKET_AT_VERB, len - PACKET_AT_VERB);
    free(pkt);
}

/* AR-1, AR-2, AR-9 (all verb numbers occur), with every kernel. */
static void test_packets_of_every_suite(void **state)
{
    static const char *const suites[] = {"0", "1", "3"};
    json_t *list = vec_get(vectors, "packets");
    json_t *entry;
    size_t i;

    (void)state;
    json_array_foreach(list, i, entry)
    {
        size_t len;
        uint8_t *plain = vec_bytes(entry, "plain", &len);
        uint8_t secret[SHARED_KEY_LEN];
        struct armor_keys own;
        struct armor_keys k;

        secret_of((size_t)vec_int(entry, "from"), (size_t)vec_int(entry, "to"), secret);
        armor_keys_init(&own, secret);
        for (size_t n = 0; keys_with_kernels(n, &own, &k); n++) {
            for (size_t s = 0; s < 3; s++) {
                size_t armored_len;
                uint8_t *armored = vec_bytes(vec_get(entry, "armored"), suites[s], &armored_len);

                assert_int_equal(armored_len, len);
                check_packet(plain, len, (enum cipher_suite)atoi(suites[s]), armored, &k);
                free(armored);
            }
        }
        free(plain);
    }
    assert_int_equal(i, 207);
}

static void expect(const json_t *entry, const char *key, const uint8_t *got, size_t len)
{
    size_t want_len;
    uint8_t *want = vec_bytes(entry, key, &want_len);

    assert_int_equal(want_len, len);
    assert_memory_equal(got, want, len);
    free(want);
}

static void check_salsa_steps(const json_t *entry, const uint8_t *pkt, size_t len,
                              const struct salsa_poly *kernels)
{
    size_t n;
    uint8_t *key = vec_bytes(entry, "mangled_key", &n);
    uint8_t stream[64];
    uint8_t *rest = malloc(len);
    uint8_t mac[SALSA_POLY_MAC_LEN];
    bool encrypt = vec_int(entry, "suite") == SUITE_SALSA_POLY1305;
    struct salsa s;

    expect(entry, "nonce", pkt, SALSA_NONCE_LEN);
    salsa_init(&s, kernels->salsa, SALSA_ROUNDS_PACKET, key, pkt);
    salsa_xor(&s, 0, NULL, stream, sizeof(stream));
    expect(entry, "poly1305_key", stream, 32);
    len -= PACKET_AT_VERB;
    if (encrypt) {
        expect(entry, "unused_keystream_32_to_63", stream + 32, 32);
        salsa_xor(&s, SALSA_BLOCK_LEN, NULL, rest, len);
        expect(entry, "payload_keystream", rest, len);
    }
    memcpy(rest, pkt + PACKET_AT_VERB, len);
    salsa_poly_seal(kernels, key, pkt, encrypt, rest, len, mac);
    if (encrypt) {
        expect(entry, "ciphertext", rest, len);
    }
    free(key);
    key = vec_bytes(entry, "poly1305_tag16", &n);
    assert_memory_equal(mac, key, sizeof(mac));
    free(key);
    free(rest);
}

/* A tag is the cipher of nonce and folded MAC, so the right one has them right. */
static void check_siv_steps(const json_t *entry, const uint8_t *pkt, size_t len,
                            const struct armor_keys *k)
{
    uint8_t *start = vec_bytes(entry, "ctr_initial_block", &(size_t){0});
    uint8_t zero[16] = {0};
    uint8_t tag[16];
    uint8_t got[16];
    uint8_t want[16];
    size_t n;
    uint8_t *input = vec_bytes(entry, "gmac_input", &n);
    const struct aes_aad aad = {be64_get(input), be64_get(input + 8)};

    assert_int_equal(n, 16 + len - PACKET_AT_VERB);
    aes_gmac_siv_tag(&k->aes, pkt, &aad, input + 16, n - 16, tag);
    expect(entry, "encrypted_block", tag, 16);
    /* The keystream of a tag is that of its start block. */
    aes_gmac_siv_ctr(&k->aes, tag, 0, zero, got, 16);
    aes_gmac_siv_ctr(&k->aes, start, 0, zero, want, 16);
    assert_memory_equal(got, want, 16);
    assert_int_equal(start[12], tag[12] & 0x7f);
    free(start);
    free(input);
}

/* AR-3 */
static void test_intermediate_values(void **state)
{
    json_t *list = vec_get(vectors, "armor_intermediates");
    json_t *entry;
    size_t i;

    (void)state;
    json_array_foreach(list, i, entry)
    {
        size_t len;
        uint8_t *plain = vec_bytes(entry, "plain", &len);
        uint8_t *armored = vec_bytes(entry, "armored", &len);
        enum cipher_suite suite = (enum cipher_suite)vec_int(entry, "suite");
        struct armor_keys k;

        for (size_t n = 0; keys_with_kernels(n, &keys, &k); n++) {
            if (suite == SUITE_AES_GMAC_SIV) {
                check_siv_steps(entry, plain, len, &k);
            } else {
                check_salsa_steps(entry, plain, len, &k.salsa_poly);
            }
            check_packet(plain, len, suite, armored, &k);
        }
        free(plain);
        free(armored);
    }
    assert_int_equal(i, 24);
}

/* AR-3: the cleared counter bit was 0 and was 1. */
static void test_counter_mask_examples(void **state)
{
    json_t *list = vec_get(vectors, "suite3_ctr_mask_examples");
    json_t *entry;
    size_t i;

    (void)state;
    json_array_foreach(list, i, entry)
    {
        size_t len;
        uint8_t *plain = vec_bytes(entry, "plain", &len);
        uint8_t *armored = vec_bytes(entry, "armored", &len);
        struct armor_keys k;

        assert_int_equal(armored[PACKET_AT_MAC + 4] >> 7, vec_int(entry, "masked_bit_was"));
        for (size_t n = 0; keys_with_kernels(n, &keys, &k); n++) {
            check_packet(plain, len, SUITE_AES_GMAC_SIV, armored, &k);
        }
        free(plain);
        free(armored);
    }
    assert_int_equal(i, 4);
}

/* Opening a changed copy; a refused packet must be left as it was. */
static bool opens(const uint8_t *pkt, size_t len)
{
    uint8_t *copy = exact_copy(pkt, len);
    int r = armor_open(copy, len, &keys);

    if (r < 0) {
        assert_int_equal(r, -EACCES);
        assert_memory_equal(copy, pkt, len);
    }
    free(copy);
    return r == 0;
}

/* AR-4, AR-11, AR-12 */
static void test_every_change_but_hops_is_refused(void **state)
{
    json_t *list = vec_get(vectors, "tamper");
    json_t *entry;
    size_t i;

    (void)state;
    json_array_foreach(list, i, entry)
    {
        size_t len;
        uint8_t *armored = vec_bytes(entry, "armored", &len);
        uint8_t *longer = calloc(1, len + 1);
        json_t *flag_bits = vec_get(entry, "single_bit_flips_of_flags_byte");
        json_t *flip;
        size_t j;

        assert_true(opens(armored, len));
        for (size_t bit = 0; bit < len * 8; bit++) {
            bool hop_bit = bit / 8 == PACKET_AT_FLAGS && bit % 8 < 3;

            armored[bit / 8] ^= (uint8_t)(1 << bit % 8);
            assert_int_equal(opens(armored, len), hop_bit);
            armored[bit / 8] ^= (uint8_t)(1 << bit % 8);
        }
        json_array_foreach(flag_bits, j, flip)
        {
            assert_int_equal(vec_bool(flip, "ok"), vec_int(flip, "bit") < 3);
        }
        for (uint8_t hops = 0; hops < 8; hops++) {
            armored[PACKET_AT_FLAGS] = (uint8_t)((armored[PACKET_AT_FLAGS] & 0xf8) | hops);
            assert_true(opens(armored, len));
        }
        memcpy(longer, armored, len);
        assert_false(opens(longer, len - 1));
        assert_false(opens(longer, len + 1));
        free(armored);
        free(longer);
    }
    assert_int_equal(i, 3);
}

/* AR-5, and suite 2 is never taken for authentic here. Lengths outside of a packet's. */
static void test_other_suites_and_lengths_are_refused(void **state)
{
    uint8_t *pkt = calloc(1, PACKET_MAX + 1);

    (void)state;
    packet_start(pkt, 1, 2, 3, VERB_NOP);
    for (unsigned suite = 2; suite < 8; suite++) {
        if (suite != SUITE_AES_GMAC_SIV) {
            pkt[PACKET_AT_FLAGS] = (uint8_t)(suite << 3);
            assert_int_equal(armor_open(pkt, 100, &keys), -EACCES);
        }
    }
    for (size_t len = 0; len < PACKET_MIN; len++) {
        assert_int_equal(armor_open(pkt, len, &keys), -EBADMSG);
    }
    assert_int_equal(armor_open(pkt, PACKET_MAX + 1, &keys), -EBADMSG);
    free(pkt);
}

/* AR-12: an assembled packet keeps the flag; without it the MAC fails. Hops do not matter. */
static void test_fragmented_flag_is_authenticated(void **state)
{
    static const enum cipher_suite suites[] = {SUITE_POLY1305, SUITE_SALSA_POLY1305,
                                               SUITE_AES_GMAC_SIV};

    (void)state;
    for (size_t s = 0; s < 3; s++) {
        uint8_t pkt[200] = {0};

        packet_start(pkt, 0x1122334455667788, 2, 3, VERB_FRAME);
        packet_set_fragmented(pkt, true);
        armor_seal(pkt, sizeof(pkt), suites[s], &keys);
        assert_true(packet_is_fragmented(pkt));
        assert_true(opens(pkt, sizeof(pkt)));
        packet_set_fragmented(pkt, false);
        assert_false(opens(pkt, sizeof(pkt)));
    }
}

/* AR-10: suites 0 and 1 keep the packet ID, suite 3 replaces it, and opening does not put the old
 * one back. The length goes to the limit. */
static void test_wire_id_and_longest_packet(void **state)
{
    struct test_rng rng = test_rng_init("longest packet");
    uint8_t *plain = malloc(PACKET_MAX);

    (void)state;
    test_rng_fill(&rng, plain, PACKET_MAX);
    packet_start(plain, 0x1122334455667788, 2, 3, VERB_FRAME);
    for (unsigned suite = 0; suite <= 3; suite++) {
        uint8_t *pkt = exact_copy(plain, PACKET_MAX);
        uint64_t wire_id;

        if (suite != SUITE_TRUSTED) {
            armor_seal(pkt, PACKET_MAX, (enum cipher_suite)suite, &keys);
            wire_id = packet_id(pkt);
            assert_int_equal(wire_id == 0x1122334455667788, suite != SUITE_AES_GMAC_SIV);
            assert_int_equal(armor_open(pkt, PACKET_MAX, &keys), 0);
            assert_true(packet_id(pkt) == wire_id);
            assert_memory_equal(pkt + PACKET_AT_VERB, plain + PACKET_AT_VERB,
                                PACKET_MAX - PACKET_AT_VERB);
        }
        free(pkt);
    }
    free(plain);
}

/* AR-6 */
static void test_trusted_path(void **state)
{
    json_t *list = vec_get(vectors, "trusted_path");
    json_t *entry;
    size_t i;

    (void)state;
    json_array_foreach(list, i, entry)
    {
        size_t len;
        uint8_t *pkt = vec_bytes(entry, "plain", &len);
        uint64_t id = vec_hex_u64(entry, "trusted_path_id_hex");

        armor_seal_trusted(pkt, id);
        expect(entry, "wire", pkt, len);
        assert_true(be64_get(pkt + PACKET_AT_MAC) == id);
        packet_set_fragmented(pkt, true);
        armor_seal_trusted(pkt, id);
        assert_int_equal(pkt[PACKET_AT_FLAGS], vec_int(entry, "plain_fragmented_head_flags"));
        free(pkt);
    }
    assert_int_equal(i, 3);
}

/* HE-2 */
static void test_hello_tail(void **state)
{
    json_t *list = vec_get(vectors, "crypt_field");
    json_t *entry;
    size_t i;
    bool low_bits_seen = false;

    (void)state;
    json_array_foreach(list, i, entry)
    {
        uint8_t secret[SHARED_KEY_LEN] = {0};
        struct armor_keys own;
        struct armor_keys k;
        size_t len;
        uint8_t *key = vec_bytes(entry, "key32", &len);
        uint8_t *before = vec_bytes(entry, "before", &len);
        size_t start = (size_t)vec_int(entry, "start");

        memcpy(secret, key, 32);
        armor_keys_init(&own, secret);
        low_bits_seen |= (before[7] & 7) != 0;
        for (size_t n = 0; keys_with_kernels(n, &own, &k); n++) {
            uint8_t *pkt = exact_copy(before, len);

            hello_mask(pkt, len, start, &k);
            expect(entry, "after", pkt, len);
            hello_mask(pkt, len, start, &k);
            assert_memory_equal(pkt, before, len);
            hello_mask(pkt, len, len, &k);
            assert_memory_equal(pkt, before, len);
            free(pkt);
        }
        free(key);
        free(before);
    }
    assert_int_equal(i, 4);
    assert_true(low_bits_seen);
}

/* LZ-5, and whole HELLOs: the masked form sealed, and back. */
static void test_hello_and_compressed_packets(void **state)
{
    json_t *hellos = vec_get(vectors, "hello");
    json_t *packed = vec_get(vectors, "compressed_then_armored");
    json_t *entry;
    size_t i;

    (void)state;
    json_array_foreach(hellos, i, entry)
    {
        size_t len;
        uint8_t *pkt = vec_bytes(entry, "plain", &len);
        size_t start = (size_t)vec_int(entry, "masked_from_offset");

        hello_mask(pkt, len, start, &keys);
        expect(entry, "after_tail_masking", pkt, len);
        armor_seal(pkt, len, SUITE_POLY1305, &keys);
        expect(entry, "armored", pkt, len);
        assert_int_equal(armor_open(pkt, len, &keys), 0);
        free(pkt);
    }
    assert_int_equal(i, 3);
    json_array_foreach(packed, i, entry)
    {
        uint8_t room[PACKET_MAX];
        uint8_t scratch[PACKET_MAX];
        size_t len;
        uint8_t *armored = vec_bytes(entry, "armored", &len);
        int r;

        memcpy(room, armored, len);
        assert_int_equal(armor_open(room, len, &keys), 0);
        r = packet_decompress(room, len, scratch);
        assert_true(r > 0);
        free(armored);
        armored = vec_bytes(entry, "plain", &len);
        assert_int_equal(r, len);
        assert_memory_equal(room + PACKET_AT_VERB, armored + PACKET_AT_VERB, len - PACKET_AT_VERB);
        free(armored);
    }
    assert_int_equal(i, 2);
}

static void test_done_wipes(void **state)
{
    static const struct armor_keys zero;
    struct armor_keys k = keys;

    (void)state;
    armor_keys_done(&k);
    assert_memory_equal(&k, &zero, sizeof(k));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_packets_of_every_suite),
        cmocka_unit_test(test_intermediate_values),
        cmocka_unit_test(test_counter_mask_examples),
        cmocka_unit_test(test_every_change_but_hops_is_refused),
        cmocka_unit_test(test_other_suites_and_lengths_are_refused),
        cmocka_unit_test(test_fragmented_flag_is_authenticated),
        cmocka_unit_test(test_wire_id_and_longest_packet),
        cmocka_unit_test(test_trusted_path),
        cmocka_unit_test(test_hello_tail),
        cmocka_unit_test(test_hello_and_compressed_packets),
        cmocka_unit_test(test_done_wipes),
    };

    return cmocka_run_group_tests(tests, load, unload);
}
