/* Worlds. Checklist: WD-1, WD-2, WD-3, WD-4 and WD-5 as far as the codec goes, WD-6. */
#include "vectors.h"

#include "wire/default_planet.h"
#include "wire/identity.h"
#include "wire/world.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static json_t *vl1;
static struct world world; /* large: kept off the stack */
static struct world other;

static int load(void **state)
{
    (void)state;
    vl1 = vectors_load("vl1.json");
    return 0;
}

static int unload(void **state)
{
    (void)state;
    json_decref(vl1);
    return 0;
}

static void read_world(const json_t *object, const char *key, struct world *ret)
{
    size_t len;
    uint8_t *bytes = vec_bytes(object, key, &len);
    struct rd r = rd_init(bytes, len);

    assert_int_equal(world_read(&r, ret), 0);
    assert_int_equal(rd_done(&r), 0);
    free(bytes);
}

static void check_bytes(const struct wr *w, const json_t *object, const char *key)
{
    size_t len;
    uint8_t *bytes = vec_bytes(object, key, &len);

    assert_false(w->bad);
    assert_int_equal(wr_len(w), len);
    assert_memory_equal(w->start, bytes, len);
    free(bytes);
}

static void check_fixed(const uint8_t *have, size_t len, const json_t *object, const char *key)
{
    size_t n;
    uint8_t *bytes = vec_bytes(object, key, &n);

    assert_int_equal(n, len);
    assert_memory_equal(have, bytes, len);
    free(bytes);
}

static void check_roots(const struct world *w, const json_t *roots)
{
    assert_int_equal(w->root_count, json_array_size(roots));
    for (size_t i = 0; i < json_array_size(roots); i++) {
        const json_t *c = json_array_get(roots, i);
        const json_t *endpoints = vec_get(c, "stable_endpoints");
        const struct world_root *root = &w->roots[i];
        char text[IDENTITY_TEXT_LEN];

        identity_print(&root->identity, true, text);
        assert_string_equal(text, vec_text(c, "identity"));
        assert_int_equal(root->endpoint_count, json_array_size(endpoints));
        for (size_t k = 0; k < json_array_size(endpoints); k++) {
            char at[INETADDR_TEXT_LEN];

            inetaddr_print(&root->endpoints[k], at);
            assert_string_equal(at, json_string_value(json_array_get(endpoints, k)));
        }
        assert_int_equal(world_find_root(w, root->identity.address), i);
        assert_true(world_has_root(w, &root->identity));
    }
}

/* WD-1 */
static void test_world_vectors(void **state)
{
    const json_t *cases = vec_get(vl1, "worlds");
    static uint8_t out[WORLD_SIGNED_MAX];

    (void)state;
    assert_int_equal(json_array_size(cases), 13);
    for (size_t i = 0; i < json_array_size(cases); i++) {
        const json_t *c = json_array_get(cases, i);
        const json_t *signer = vec_get(c, "signed_with");
        size_t len;
        uint8_t *pub = vec_bytes(signer, "public", &len);
        uint8_t *priv = vec_bytes(signer, "private", &len);
        struct wr w;

        read_world(c, "serialized", &world);
        assert_int_equal(world.type, vec_int(c, "type_code"));
        assert_true(world.id == vec_hex_u64(c, "id"));
        assert_true(world.timestamp == (uint64_t)vec_int(c, "timestamp"));
        check_fixed(world.update_key, sizeof(world.update_key), c, "updates_must_be_signed_by");
        check_fixed(world.signature, sizeof(world.signature), c, "signature");
        check_roots(&world, vec_get(c, "roots"));
        w = wr_init(out, sizeof(out));
        world_write(&w, &world);
        check_bytes(&w, c, "serialized");
        w = wr_init(out, sizeof(out));
        world_signed_message(&w, &world);
        check_bytes(&w, c, "unsigned_message");
        assert_int_equal(world_verify(&world, pub), 0);
        assert_int_equal(world_verify_self(&world),
                         memcmp(pub, world.update_key, 64) == 0 ? 0 : -EACCES);
        memset(world.signature, 0, sizeof(world.signature));
        assert_int_equal(world_verify(&world, pub), -EACCES);
        world_sign(&world, priv, pub);
        check_fixed(world.signature, sizeof(world.signature), c, "signature");
        free(pub);
        free(priv);
    }
}

/* WD-2 */
static void test_world_parse_vectors(void **state)
{
    const json_t *cases = vec_get(vl1, "world_parse");

    (void)state;
    for (size_t i = 0; i < json_array_size(cases); i++) {
        const json_t *c = json_array_get(cases, i);
        size_t len;
        uint8_t *bytes = vec_bytes(c, "bytes", &len);
        struct rd r = rd_init(bytes, len);
        int err;

        world.root_count = 99;
        err = world_read(&r, &world);
        if (vec_bool(c, "ok")) {
            assert_int_equal(err, 0);
            assert_int_equal(len - rd_left(&r), vec_int(c, "consumed"));
            assert_int_equal(world.type, vec_int(c, "type_code"));
            assert_int_equal(world.root_count, vec_int(c, "roots"));
        } else {
            assert_int_equal(err, -EBADMSG);
            assert_true(r.bad);
            assert_int_equal(world.root_count, 99);
        }
        free(bytes);
    }
}

static void test_truncated_worlds_are_refused(void **state)
{
    const json_t *cases = vec_get(vl1, "worlds");

    (void)state;
    for (size_t i = 0; i < json_array_size(cases); i += 4) {
        size_t len;
        uint8_t *bytes = vec_bytes(json_array_get(cases, i), "serialized", &len);

        for (size_t cut = 0; cut < len; cut++) {
            uint8_t *part = exact_copy(bytes, cut);
            struct rd r = rd_init(part, cut);

            assert_int_equal(world_read(&r, &world), -EBADMSG);
            free(part);
        }
        free(bytes);
    }
}

/* WD-3 */
static void test_update_chains(void **state)
{
    const json_t *chains = vec_get(vl1, "update_chains");
    static struct world current;

    (void)state;
    for (size_t i = 0; i < json_array_size(chains); i++) {
        const json_t *chain = json_array_get(chains, i);
        const json_t *steps = vec_get(chain, "steps");

        read_world(chain, "initial", &current);
        assert_int_equal(world_update_check(NULL, &current), 0);
        for (size_t k = 0; k < json_array_size(steps); k++) {
            const json_t *step = json_array_get(steps, k);
            int err;

            read_world(step, "serialized", &world);
            err = world_update_check(&current, &world);
            assert_int_equal(err == 0, vec_bool(step, "accepted"));
            if (err == 0) {
                current = world;
            }
            assert_true(current.timestamp == (uint64_t)vec_int(step, "timestamp_after"));
        }
    }
}

/* Each reason of refusal has its own result. */
static void test_update_refusals(void **state)
{
    const json_t *steps = vec_get(json_array_get(vec_get(vl1, "update_chains"), 0), "steps");
    static const int expected[] = {-ESTALE, -ESTALE, -EPROTO, -EACCES, -EACCES, -EACCES, 0};
    static struct world null_world;

    (void)state;
    read_world(json_array_get(vec_get(vl1, "update_chains"), 0), "initial", &other);
    for (size_t k = 0; k < COUNT_OF(expected); k++) {
        read_world(json_array_get(steps, k), "serialized", &world);
        assert_int_equal(world_update_check(&other, &world), expected[k]);
    }
    null_world = other;
    null_world.type = WORLD_NULL;
    assert_int_equal(world_update_check(NULL, &null_world), -EPROTO);
    assert_int_equal(world_update_check(&null_world, &null_world), -EPROTO);
}

/* WD-4, codec part: all parse as moons; only the damaged one fails under its own key. */
static void test_moons_offered_first(void **state)
{
    const json_t *cases = vec_get(vl1, "moon_first_acceptance");

    (void)state;
    for (size_t i = 0; i < json_array_size(cases); i++) {
        const json_t *c = json_array_get(cases, i);
        bool damaged = strstr(vec_text(c, "name"), "does not verify") != NULL;

        read_world(c, "serialized", &world);
        assert_int_equal(world.type, WORLD_MOON);
        assert_int_equal(world_update_check(NULL, &world), 0);
        assert_int_equal(world_verify_self(&world), damaged ? -EACCES : 0);
        if (json_object_get(c, "seed") != NULL && vec_bool(c, "accepted")) {
            assert_true(world_find_root(&world, vec_hex_u64(c, "seed")) >= 0);
            assert_true(world.id == vec_hex_u64(c, "orbit_id"));
        }
    }
    assert_int_equal(world_find_root(&world, 0xf43e72f23b), -1);
}

static void read_default(struct world *ret)
{
    struct rd r = rd_init(default_planet, sizeof(default_planet));

    assert_int_equal(world_read(&r, ret), 0);
    assert_int_equal(rd_done(&r), 0);
}

/* WD-5, codec part: the built-in planet does not replace any of these files. */
static void test_custom_planet_files_stay(void **state)
{
    const json_t *cases = vec_get(vl1, "custom_planet_file");

    (void)state;
    read_default(&other);
    for (size_t i = 0; i < json_array_size(cases); i++) {
        const json_t *c = json_array_get(cases, i);

        read_world(c, "serialized", &world);
        assert_true(world_update_check(&world, &other) < 0);
        assert_true(world.id == vec_hex_u64(c, "planet_id_in_use"));
        assert_true(world.timestamp == (uint64_t)vec_int(c, "planet_timestamp_in_use"));
    }
}

/* WD-6 */
static void test_default_planet(void **state)
{
    const json_t *c = vec_get(vl1, "default_planet");

    (void)state;
    check_fixed(default_planet, sizeof(default_planet), c, "serialized");
    read_default(&world);
    assert_int_equal(world.type, WORLD_PLANET);
    assert_true(world.id == WORLD_ID_EARTH);
    assert_true(world.timestamp == (uint64_t)vec_int(c, "timestamp"));
    check_fixed(world.update_key, sizeof(world.update_key), c, "updates_must_be_signed_by");
    check_fixed(world.signature, sizeof(world.signature), c, "signature");
    check_roots(&world, vec_get(c, "roots"));
    assert_int_equal(world_verify_self(&world), 0);
}

/* The message is rebuilt from the fields: a dictionary, private halves and skipped address types
 * leave no trace in it. */
static void test_signed_message_is_rebuilt(void **state)
{
    static uint8_t out[WORLD_SIGNED_MAX];
    const json_t *moon = json_array_get(vec_get(vl1, "worlds"), 8);
    size_t len;
    uint8_t *bytes = vec_bytes(moon, "serialized", &len);
    uint8_t *longer = calloc(1, len + 3);
    struct wr w = wr_init(out, sizeof(out));
    struct rd r;

    (void)state;
    assert_non_null(longer);
    memcpy(longer, bytes, len);
    longer[len - 1] = 3;
    r = rd_init(longer, len + 3);
    assert_int_equal(world_read(&r, &world), 0);
    assert_int_equal(rd_done(&r), 0);
    world_signed_message(&w, &world);
    check_bytes(&w, moon, "unsigned_message");
    assert_int_equal(world_verify_self(&world), 0);
    free(longer);
    free(bytes);
}

/* The largest world there can be is below the reference's limit and comes back. */
static void test_largest_world(void **state)
{
    static uint8_t out[WORLD_WIRE_MAX];
    struct wr w = wr_init(out, sizeof(out));
    struct rd r;

    (void)state;
    memset(&world, 0, sizeof(world));
    world.type = WORLD_MOON;
    world.root_count = WORLD_ROOTS_MAX;
    for (size_t i = 0; i < WORLD_ROOTS_MAX; i++) {
        world.roots[i].identity.address = i + 1;
        world.roots[i].endpoint_count = WORLD_ENDPOINTS_MAX;
        for (size_t k = 0; k < WORLD_ENDPOINTS_MAX; k++) {
            world.roots[i].endpoints[k].family = INETADDR_V6;
            world.roots[i].endpoints[k].port = (uint16_t)k;
        }
    }
    world_write(&w, &world);
    assert_false(w.bad);
    r = rd_init(out, wr_len(&w));
    assert_int_equal(world_read(&r, &other), 0);
    assert_int_equal(rd_done(&r), 0);
    assert_int_equal(other.roots[3].endpoints[31].port, 31);
    world_sign(&world, (const uint8_t[64]){1}, (const uint8_t[64]){2});
    assert_int_equal(world_verify_self(&world), -EACCES);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_world_vectors),
        cmocka_unit_test(test_world_parse_vectors),
        cmocka_unit_test(test_truncated_worlds_are_refused),
        cmocka_unit_test(test_update_chains),
        cmocka_unit_test(test_update_refusals),
        cmocka_unit_test(test_moons_offered_first),
        cmocka_unit_test(test_custom_planet_files_stay),
        cmocka_unit_test(test_default_planet),
        cmocka_unit_test(test_signed_message_is_rebuilt),
        cmocka_unit_test(test_largest_world),
    };

    return cmocka_run_group_tests(tests, load, unload);
}
