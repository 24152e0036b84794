/* The memory-hard address hash against the steps of the golden vectors and a naive model.
 * Checklist: ID-4. */
#include "vectors.h"

#include "base/cursor.h"
#include "crypto/identity.h"
#include "crypto/sha.h"

#include <setjmp.h>
#include <sodium.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum {
    BLOCKS = ADDRESS_HASH_MEMORY / 64,
    WORDS = ADDRESS_HASH_MEMORY / 8,
};

static json_t *vectors;
static uint8_t *scratch; /* of the implementation */
static uint8_t *memory;  /* of the model */

static int load(void **state)
{
    (void)state;
    vectors = vectors_load("identity-crypto.json");
    scratch = aligned_alloc(64, ADDRESS_HASH_MEMORY);
    memory = malloc(ADDRESS_HASH_MEMORY);
    return 0;
}

static int unload(void **state)
{
    (void)state;
    json_decref(vectors);
    free(scratch);
    free(memory);
    return 0;
}

/* The model: spec 01 section 2.2 to the letter, with the keystream of libsodium. */
struct model {
    uint8_t d[64];
    uint8_t key[32];
    uint8_t nonce[8];
    uint64_t counter;
    size_t p;
    size_t i1;
    size_t i2;
};

static void model_encrypt(struct model *m, const uint8_t *in, uint8_t *out)
{
    crypto_stream_salsa20_xor_ic(out, in, 64, m->nonce, m->counter++, m->key);
}

static void model_fill(struct model *m, const uint8_t *pub)
{
    static const uint8_t zero[64];

    memset(m, 0, sizeof(*m));
    sha512(pub, IDENTITY_PUBLIC_LEN, m->d);
    memcpy(m->key, m->d, 32);
    memcpy(m->nonce, m->d + 32, 8);
    for (size_t i = 0; i < BLOCKS; i++) {
        model_encrypt(m, i == 0 ? zero : memory + 64 * (i - 1), memory + 64 * i);
    }
}

static void model_step(struct model *m)
{
    uint8_t swap[8];

    m->i1 = be64_get(memory + 8 * m->p++) % 8;
    m->i2 = be64_get(memory + 8 * m->p++) % WORDS;
    memcpy(swap, m->d + 8 * m->i1, 8);
    memcpy(m->d + 8 * m->i1, memory + 8 * m->i2, 8);
    memcpy(memory + 8 * m->i2, swap, 8);
    model_encrypt(m, m->d, m->d);
}

static void expect(const json_t *entry, const char *key, const uint8_t *got, size_t len)
{
    size_t want_len;
    uint8_t *want = vec_bytes(entry, key, &want_len);

    assert_int_equal(want_len, len);
    assert_memory_equal(got, want, len);
    free(want);
}

/* The model reproduces every intermediate value, ours the final buffer and the digest. */
static void test_every_step_of_the_vectors(void **state)
{
    json_t *list = vec_get(vectors, "memory_hard_hash");
    json_t *entry;
    size_t i;

    (void)state;
    json_array_foreach(list, i, entry)
    {
        json_t *steps = vec_get(entry, "first_render_steps");
        size_t len;
        uint8_t *pub = vec_bytes(entry, "public_key", &len);
        uint8_t digest[64];
        struct model m;

        assert_int_equal(len, IDENTITY_PUBLIC_LEN);
        model_fill(&m, pub);
        expect(entry, "sha512", m.d, 64);
        expect(entry, "salsa_key", m.key, 32);
        expect(entry, "salsa_nonce", m.nonce, 8);
        expect(entry, "mem_block_0", memory, 64);
        expect(entry, "mem_block_1", memory + 64, 64);
        expect(entry, "mem_block_32767", memory + 64 * (BLOCKS - 1), 64);
        sha512(memory, ADDRESS_HASH_MEMORY, digest);
        expect(entry, "mem_after_fill_sha512", digest, 64);
        for (size_t j = 0; m.p < WORDS; j++) {
            model_step(&m);
            if (j < json_array_size(steps)) {
                json_t *step = json_array_get(steps, j);

                assert_int_equal(m.i1, vec_int(step, "idx1"));
                assert_int_equal(m.i2, vec_int(step, "idx2"));
                expect(step, "digest", m.d, 64);
            }
        }
        expect(entry, "digest", m.d, 64);

        memset(scratch, 0x55, ADDRESS_HASH_MEMORY);
        address_hash(pub, scratch, digest);
        expect(entry, "digest", digest, 64);
        assert_int_equal(digest[0] < 17, vec_bool(entry, "hashcash_ok"));
        assert_true(be40_get(digest + 59) == vec_hex_u64(entry, "address_from_digest"));
        sha512(scratch, ADDRESS_HASH_MEMORY, digest);
        expect(entry, "mem_final_sha512", digest, 64);
        free(pub);
    }
    assert_int_equal(i, 6);
}

static void test_random_keys_equal_the_model(void **state)
{
    struct test_rng rng = test_rng_init("address hash");

    (void)state;
    for (unsigned i = 0; i < 8; i++) {
        uint8_t pub[IDENTITY_PUBLIC_LEN];
        uint8_t digest[64];
        struct model m;

        test_rng_fill(&rng, pub, sizeof(pub));
        model_fill(&m, pub);
        while (m.p < WORDS) {
            model_step(&m);
        }
        address_hash(pub, scratch, digest);
        assert_memory_equal(digest, m.d, 64);
        assert_memory_equal(scratch, memory, ADDRESS_HASH_MEMORY);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_step_of_the_vectors),
        cmocka_unit_test(test_random_keys_equal_the_model),
    };

    return cmocka_run_group_tests(tests, load, unload);
}
