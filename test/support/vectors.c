/* Golden vectors and random numbers for unit tests. */
#include "vectors.h"

#include "base/hex.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static void PRINTF_LIKE(1, 2) __attribute__((noreturn)) die(const char *format, ...)
{
    va_list args;

    va_start(args, format);
    vfprintf(stderr, format, args);
    va_end(args);
    fputc('\n', stderr);
    abort();
}

json_t *vectors_load(const char *file)
{
    char path[4096];
    json_error_t err;
    json_t *root;

    snprintf(path, sizeof(path), "%s/%s", VECTOR_DIR, file);
    root = json_load_file(path, 0, &err);
    if (root == NULL) {
        die("%s:%d: %s", path, err.line, err.text);
    }
    return root;
}

json_t *vec_get(const json_t *object, const char *key)
{
    json_t *value = json_object_get(object, key);

    if (value == NULL) {
        die("vector has no member %s", key);
    }
    return value;
}

const char *vec_text(const json_t *object, const char *key)
{
    const char *text = json_string_value(vec_get(object, key));

    if (text == NULL) {
        die("vector member %s is no text", key);
    }
    return text;
}

int64_t vec_int(const json_t *object, const char *key)
{
    const json_t *value = vec_get(object, key);

    if (!json_is_integer(value)) {
        die("vector member %s is no integer", key);
    }
    return json_integer_value(value);
}

bool vec_bool(const json_t *object, const char *key)
{
    const json_t *value = vec_get(object, key);

    if (!json_is_boolean(value)) {
        die("vector member %s is no boolean", key);
    }
    return json_is_true(value);
}

bool vec_bool_or(const json_t *object, const char *key, bool fallback)
{
    return json_object_get(object, key) != NULL ? vec_bool(object, key) : fallback;
}

uint64_t vec_hex_u64(const json_t *object, const char *key)
{
    const char *text = vec_text(object, key);
    uint64_t v;

    if (hex_to_u64(text, strlen(text), 16, &v) < 0) {
        die("vector member %s is no hex number: %s", key, text);
    }
    return v;
}

static void *alloc_or_die(size_t len)
{
    void *p = malloc(len > 0 ? len : 1);

    if (p == NULL) {
        die("out of memory");
    }
    return p;
}

uint8_t *hex_bytes(const char *hex, size_t *ret_len)
{
    size_t len = strlen(hex) / 2;
    uint8_t *out = alloc_or_die(len);

    if (hex_decode(hex, strlen(hex), out, len) < 0) {
        die("not hex: %s", hex);
    }
    *ret_len = len;
    return out;
}

uint8_t *vec_bytes(const json_t *object, const char *key, size_t *ret_len)
{
    return hex_bytes(vec_text(object, key), ret_len);
}

uint8_t *exact_copy(const void *data, size_t len)
{
    uint8_t *out = alloc_or_die(len);

    if (len > 0) {
        memcpy(out, data, len);
    }
    return out;
}

struct test_rng test_rng_init(const char *what)
{
    const char *text = getenv("TEST_SEED");
    struct timespec now;
    struct test_rng rng;

    clock_gettime(CLOCK_REALTIME, &now);
    rng.state = text != NULL ? strtoull(text, NULL, 0)
                             : (uint64_t)now.tv_sec * 1000000007u + (uint64_t)now.tv_nsec;
    printf("%s: TEST_SEED=%llu\n", what, (unsigned long long)rng.state);
    return rng;
}

/* splitmix64 */
uint64_t test_rng_u64(struct test_rng *rng)
{
    uint64_t x = rng->state += 0x9e3779b97f4a7c15u;

    x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9u;
    x = (x ^ x >> 27) * 0x94d049bb133111ebu;
    return x ^ x >> 31;
}

size_t test_rng_below(struct test_rng *rng, size_t below)
{
    return (size_t)(test_rng_u64(rng) % below);
}

void test_rng_fill(struct test_rng *rng, void *out, size_t len)
{
    uint8_t *p = out;

    for (size_t i = 0; i < len; i++) {
        p[i] = (uint8_t)test_rng_u64(rng);
    }
}
