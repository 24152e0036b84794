/* Help for unit tests: golden vectors from JSON files in VECTOR_DIR, and reproducible randomness.
 * Every function here fails the test program with a message instead of returning an error. */
#pragma once

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Load VECTOR_DIR/file; give it back with json_decref. */
json_t *vectors_load(const char *file);

/* Member of an object that must be there, borrowed. */
json_t *vec_get(const json_t *object, const char *key);

/* Text, integer and boolean members. */
const char *vec_text(const json_t *object, const char *key);
int64_t vec_int(const json_t *object, const char *key);
bool vec_bool(const json_t *object, const char *key);

/* Boolean member, or fallback when absent. */
bool vec_bool_or(const json_t *object, const char *key, bool fallback);

/* Text member of 1..16 hex digits as a number. */
uint64_t vec_hex_u64(const json_t *object, const char *key);

/* Text member of hex digits as bytes, in a heap block of exactly that size (never NULL) so that
 * reading past the end is found by tools; release with free. */
uint8_t *vec_bytes(const json_t *object, const char *key, size_t *ret_len);

/* The same from a text. */
uint8_t *hex_bytes(const char *hex, size_t *ret_len);

/* A heap copy of exactly len bytes. */
uint8_t *exact_copy(const void *data, size_t len);

/* Small generator for random tests (not for keys). */
struct test_rng {
    uint64_t state;
};

/* Seeded from TEST_SEED in the environment, else by the clock; prints the seed. */
struct test_rng test_rng_init(const char *what);
uint64_t test_rng_u64(struct test_rng *rng);

/* Number in 0..below-1; below is at least 1. */
size_t test_rng_below(struct test_rng *rng, size_t below);
void test_rng_fill(struct test_rng *rng, void *out, size_t len);
