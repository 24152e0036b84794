/* Worlds as JSON. Checklist: SV-54, WD-1 in part. */
#include "cli/world_json.h"

#include "daemon/keygen.h"

#include <errno.h>
#include <setjmp.h>
#include <sodium.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

static struct world world; /* large: kept off the stack */

static json_t *template(const char *type, struct identity *root, struct world_key *key)
{
    assert_int_equal(keygen_identity(NULL, NULL, root), 0);
    world_key_generate(key);
    json_t *json = world_json_template(root, type, root->address, key);
    assert_non_null(json);
    return json;
}

static void test_template_has_the_fields_of_the_reference(void **state)
{
    (void)state;
    static const char *const keys[] = {"id",
                                       "objtype",
                                       "worldType",
                                       "roots",
                                       "signingKey",
                                       "signingKey_SECRET",
                                       "updatesMustBeSignedBy"};
    struct identity root;
    struct world_key key;
    json_t *json = template("moon", &root, &key);
    assert_int_equal(json_object_size(json), COUNT_OF(keys));
    for (size_t i = 0; i < COUNT_OF(keys); i++) {
        assert_non_null(json_object_get(json, keys[i]));
    }
    assert_int_equal(json_string_length(json_object_get(json, "id")), 10);
    assert_int_equal(json_string_length(json_object_get(json, "signingKey_SECRET")), 128);
    json_t *first = json_array_get(json_object_get(json, "roots"), 0);
    assert_int_equal(json_string_length(json_object_get(first, "identity")), 141); /* no secret */
    json_decref(json);
}

static void test_signed_world_verifies_and_is_sorted(void **state)
{
    (void)state;
    struct identity root;
    struct world_key key;
    const char *why = "";
    json_t *json = template("planet", &root, &key);
    json_t *first = json_array_get(json_object_get(json, "roots"), 0);
    json_t *endpoints = json_object_get(first, "stableEndpoints");
    assert_int_equal(json_array_append_new(endpoints, json_string("2001:db8::1/9993")), 0);
    assert_int_equal(json_array_append_new(endpoints, json_string("192.0.2.9/9993")), 0);
    assert_int_equal(json_array_append_new(endpoints, json_string("192.0.2.1/9993")), 0);
    assert_int_equal(world_json_sign(json, 1234, &world, &why), 0);
    assert_int_equal(world.type, WORLD_PLANET);
    assert_true(world.id == root.address);
    assert_true(world.timestamp == 1234);
    assert_int_equal(world_verify(&world, key.pub), 0);
    assert_int_equal(world_verify_self(&world), 0);
    assert_int_equal(world.roots[0].endpoint_count, 3);
    assert_int_equal(world.roots[0].endpoints[0].ip[3], 1);
    assert_int_equal(world.roots[0].endpoints[2].family, INETADDR_V6);
    assert_true(world_has_root(&world, &root));
    json_decref(json);
}

/* One member replaced by something useless. */
static void test_faults_are_named(void **state)
{
    (void)state;
    static const struct {
        const char *key;
        const char *value; /* JSON */
    } table[] = {
        {"worldType", "\"star\""},
        {"worldType", "7"},
        {"id", "\"\""},
        {"id", "\"0\""},
        {"id", "\"xyz\""},
        {"roots", "[]"},
        {"roots", "[{\"identity\":\"nonsense\"}]"},
        {"roots", "[7]"},
        {"signingKey", "\"00\""},
        {"signingKey_SECRET", "null"},
        {"updatesMustBeSignedBy", "\"zz\""},
    };
    struct identity root;
    struct world_key key;
    json_t *json = template("moon", &root, &key);
    for (size_t i = 0; i < COUNT_OF(table); i++) {
        const char *why = NULL;
        json_t *broken = json_deep_copy(json);
        json_t *value = json_loads(table[i].value, JSON_DECODE_ANY, NULL);
        assert_int_equal(json_object_set_new(broken, table[i].key, value), 0);
        assert_int_equal(world_json_sign(broken, 1, &world, &why), -EBADMSG);
        assert_non_null(why);
        json_decref(broken);
    }
    json_decref(json);
}

static void test_bad_endpoints_are_refused(void **state)
{
    (void)state;
    static const char *const texts[] = {"192.0.2.1", "192.0.2.1/0", "x/9993", ""};
    struct identity root;
    struct world_key key;
    for (size_t i = 0; i < COUNT_OF(texts); i++) {
        const char *why = NULL;
        json_t *json = template("moon", &root, &key);
        json_t *first = json_array_get(json_object_get(json, "roots"), 0);
        json_t *endpoints = json_object_get(first, "stableEndpoints");
        assert_int_equal(json_array_append_new(endpoints, json_string(texts[i])), 0);
        assert_int_equal(world_json_sign(json, 1, &world, &why), -EBADMSG);
        json_decref(json);
    }
}

/* The source of a world and its key go to a file and come back; the key is chosen by the world. */
static void test_source_and_key_come_back(void **state)
{
    (void)state;
    static struct world again;
    struct identity root;
    struct world_key key;
    struct world_key next;
    struct world_key got;
    const char *why = "";
    json_t *json = template("planet", &root, &key);
    json_t *first = json_array_get(json_object_get(json, "roots"), 0);
    json_t *endpoints = json_object_get(first, "stableEndpoints");
    assert_int_equal(json_array_append_new(endpoints, json_string("192.0.2.9/9993")), 0);
    assert_int_equal(world_json_sign(json, 1234, &world, &why), 0);
    json_decref(json);
    json = world_json_source(&world, &key, NULL);
    assert_int_equal(world_json_sign(json, 1234, &again, &why), 0);
    assert_memory_equal(&again, &world, sizeof(world));
    json_decref(json);
    world_key_generate(&next);
    json = world_json_source(&world, &key, &next);
    assert_int_equal(world_json_key(json, key.pub, &got), 0);
    assert_memory_equal(&got, &key, sizeof(key));
    assert_int_equal(world_json_key(json, next.pub, &got), 0);
    assert_memory_equal(&got, &next, sizeof(next));
    assert_int_equal(world_json_key(json, root.pub, &got), -ENOENT);
    assert_memory_equal(&got, &next, sizeof(next));
    assert_int_equal(json_object_set_new(json, "signingKey_SECRET", json_string("00")), 0);
    assert_int_equal(world_json_key(json, key.pub, &got), -ENOENT);
    assert_int_equal(json_object_del(json, "nextSigningKey"), 0);
    assert_int_equal(world_json_key(json, key.pub, &got), -EBADMSG);
    json_decref(json);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_template_has_the_fields_of_the_reference),
        cmocka_unit_test(test_signed_world_verifies_and_is_sorted),
        cmocka_unit_test(test_faults_are_named),
        cmocka_unit_test(test_bad_endpoints_are_refused),
        cmocka_unit_test(test_source_and_key_come_back),
    };
    return sodium_init() < 0 ? 1 : cmocka_run_group_tests(tests, NULL, NULL);
}
