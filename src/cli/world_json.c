/* JSON of worlds. Source: spec 05 section 4.5, spec 02 section 9.1. */
#include "cli/world_json.h"

#include "base/hex.h"
#include "os/random.h"
#include "wire/identity.h"

#include <errno.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>

void world_key_generate(struct world_key *ret)
{
    uint8_t ed_secret[crypto_sign_SECRETKEYBYTES];
    random_bytes(ret->priv, sizeof(ret->priv));
    (void)crypto_scalarmult_base(ret->pub, ret->priv);
    (void)crypto_sign_seed_keypair(ret->pub + 32, ed_secret, ret->priv + 32);
    sodium_memzero(ed_secret, sizeof(ed_secret));
}

static void set_hex(json_t *object, const char *key, const uint8_t *data, size_t len)
{
    char text[2 * IDENTITY_PRIVATE_LEN + 1];
    hex_encode(data, len, text);
    (void)json_object_set_new(object, key, json_string(text));
    sodium_memzero(text, sizeof(text));
}

static void set_key(json_t *object, const char *pub, const char *priv, const struct world_key *key)
{
    set_hex(object, pub, key->pub, sizeof(key->pub));
    set_hex(object, priv, key->priv, sizeof(key->priv));
}

static json_t *root_object(const struct world_root *root)
{
    char text[IDENTITY_TEXT_LEN];
    json_t *r = json_object();
    json_t *endpoints = json_array();
    identity_print(&root->identity, false, text);
    (void)json_object_set_new(r, "identity", json_string(text));
    for (size_t i = 0; i < root->endpoint_count; i++) {
        char address[INETADDR_TEXT_LEN];
        inetaddr_print(&root->endpoints[i], address);
        (void)json_array_append_new(endpoints, json_string(address));
    }
    (void)json_object_set_new(r, "stableEndpoints", endpoints);
    return r;
}

json_t *world_json_source(const struct world *world, const struct world_key *key,
                          const struct world_key *next)
{
    char digits[17];
    json_t *o = json_object();
    json_t *roots = json_array();
    hex_from_u64(world->id, world->id >> ADDRESS_BITS != 0 ? 16 : 10, digits);
    for (size_t i = 0; i < world->root_count; i++) {
        (void)json_array_append_new(roots, root_object(&world->roots[i]));
    }
    (void)json_object_set_new(o, "id", json_string(digits));
    (void)json_object_set_new(o, "objtype", json_string("world"));
    (void)json_object_set_new(o, "worldType",
                              json_string(world->type == WORLD_MOON ? "moon" : "planet"));
    (void)json_object_set_new(o, "roots", roots);
    set_key(o, "signingKey", "signingKey_SECRET", key);
    set_hex(o, "updatesMustBeSignedBy", world->update_key, sizeof(world->update_key));
    if (next != NULL) {
        set_key(o, "nextSigningKey", "nextSigningKey_SECRET", next);
    }
    return o;
}

json_t *world_json_template(const struct identity *root, const char *type, uint64_t id,
                            const struct world_key *key)
{
    struct world *world = calloc(1, sizeof(*world));
    if (world == NULL) {
        return NULL;
    }
    world->type = type[0] == 'm' ? WORLD_MOON : WORLD_PLANET;
    world->id = id;
    world->root_count = 1;
    world->roots[0].identity = *root;
    memcpy(world->update_key, key->pub, sizeof(world->update_key));
    json_t *o = world_json_source(world, key, NULL);
    sodium_memzero(world, sizeof(*world)); /* root may hold its secret */
    free(world);
    return o;
}

static int fail(const char *why, const char **ret_why)
{
    *ret_why = why;
    return -EBADMSG;
}

static int get_hex(const json_t *json, const char *key, uint8_t *out, size_t len)
{
    const char *text = json_string_value(json_object_get(json, key));
    return text == NULL ? -EBADMSG : hex_decode(text, strlen(text), out, len);
}

/* By family, port, address (spec 02 section 9.5). */
static int compare_endpoints(const void *a, const void *b)
{
    const struct inetaddr *x = a;
    const struct inetaddr *y = b;
    if (x->family == y->family && x->port != y->port) {
        return x->port < y->port ? -1 : 1;
    }
    return inetaddr_compare(x, y);
}

static int compare_roots(const void *a, const void *b)
{
    const struct world_root *x = a;
    const struct world_root *y = b;
    return identity_compare(&x->identity, &y->identity);
}

static int read_root(const json_t *json, struct world_root *ret, const char **ret_why)
{
    const char *text = json_string_value(json_object_get(json, "identity"));
    if (text == NULL || identity_parse(text, strlen(text), &ret->identity) < 0) {
        return fail("a root has no valid identity", ret_why);
    }
    sodium_memzero(ret->identity.priv, sizeof(ret->identity.priv));
    ret->identity.has_private = false;
    size_t i;
    json_t *item;
    json_array_foreach(json_object_get(json, "stableEndpoints"), i, item)
    {
        struct inetaddr *endpoint = &ret->endpoints[ret->endpoint_count];
        const char *address = json_string_value(item);
        if (i == WORLD_ENDPOINTS_MAX) {
            return fail("a root has too many endpoints", ret_why);
        }
        if (address == NULL || inetaddr_parse(address, strlen(address), endpoint) < 0 ||
            endpoint->family == INETADDR_NIL || endpoint->port == 0) {
            return fail("an endpoint is not of the form IP/port", ret_why);
        }
        ret->endpoint_count++;
    }
    return 0;
}

static int read_head(const json_t *json, struct world *world, const char **ret_why)
{
    const char *type = json_string_value(json_object_get(json, "worldType"));
    const char *id = json_string_value(json_object_get(json, "id"));
    if (type == NULL || (strcmp(type, "moon") != 0 && strcmp(type, "planet") != 0)) {
        return fail("worldType must be moon or planet", ret_why);
    }
    world->type = type[0] == 'm' ? WORLD_MOON : WORLD_PLANET;
    if (id == NULL || hex_to_u64(id, strlen(id), 16, &world->id) < 0 || world->id == 0) {
        return fail("id must be up to 16 hex digits, not zero", ret_why);
    }
    if (get_hex(json, "updatesMustBeSignedBy", world->update_key, sizeof(world->update_key)) < 0) {
        return fail("updatesMustBeSignedBy must be 128 hex digits", ret_why);
    }
    return 0;
}

int world_json_key(const json_t *json, const uint8_t wanted[IDENTITY_PUBLIC_LEN],
                   struct world_key *ret)
{
    static const char *const names[][2] = {{"signingKey", "signingKey_SECRET"},
                                           {"nextSigningKey", "nextSigningKey_SECRET"}};
    struct world_key key;
    int err = -EBADMSG;
    for (size_t i = 0; i < COUNT_OF(names) && err != 0; i++) {
        if (get_hex(json, names[i][0], key.pub, sizeof(key.pub)) == 0 &&
            get_hex(json, names[i][1], key.priv, sizeof(key.priv)) == 0) {
            err = memcmp(key.pub, wanted, sizeof(key.pub)) == 0 ? 0 : -ENOENT;
        }
    }
    if (err == 0) {
        *ret = key;
    }
    sodium_memzero(&key, sizeof(key));
    return err;
}

void world_sort(struct world *world)
{
    for (size_t i = 0; i < world->root_count; i++) {
        qsort(world->roots[i].endpoints, world->roots[i].endpoint_count,
              sizeof(world->roots[i].endpoints[0]), compare_endpoints);
    }
    qsort(world->roots, world->root_count, sizeof(world->roots[0]), compare_roots);
}

int world_json_sign(const json_t *json, uint64_t timestamp, struct world *ret, const char **ret_why)
{
    struct world world = {.timestamp = timestamp};
    struct world_key key;
    size_t i;
    json_t *item;
    int err = read_head(json, &world, ret_why);
    if (err < 0) {
        return err;
    }
    json_array_foreach(json_object_get(json, "roots"), i, item)
    {
        if (i == WORLD_ROOTS_MAX) {
            return fail("a world has at most 4 roots", ret_why);
        }
        err = read_root(item, &world.roots[i], ret_why);
        if (err < 0) {
            return err;
        }
        world.root_count++;
    }
    if (world.root_count == 0) {
        return fail("no roots", ret_why);
    }
    world_sort(&world);
    if (get_hex(json, "signingKey", key.pub, sizeof(key.pub)) < 0 ||
        get_hex(json, "signingKey_SECRET", key.priv, sizeof(key.priv)) < 0) {
        return fail("signingKey and signingKey_SECRET must be 128 hex digits each", ret_why);
    }
    world_sign(&world, key.priv, key.pub);
    sodium_memzero(&key, sizeof(key));
    *ret = world;
    return 0;
}
