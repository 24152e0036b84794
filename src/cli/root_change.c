/* Making the next version of a planet or moon: the key that signs, the service that takes it, the
 * roots that follow. Source: spec 02 sections 9.3 and 9.4. */
#include "cli/root.h"

#include "base/hex.h"
#include "os/clock.h"
#include "os/file.h"
#include "os/home.h"
#include "wire/identity.h"

#include <errno.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum {
    KEY_FILE_MAX = 1 << 20,
    SPREAD_MS = 5000, /* wait so long for other roots */
    SPREAD_STEP_MS = 50,
    KEY_SHOWN = 16, /* digits of a key in messages */
};

void root_world_name(const struct world *world, char out[32])
{
    (void)snprintf(out, 32, "%s %016llx", world->type == WORLD_MOON ? "moon" : "planet",
                   (unsigned long long)world->id);
}

int root_find_world(const json_t *worlds, const uint64_t *moon, struct world *ret)
{
    size_t i;
    json_t *item;
    uint8_t data[WORLD_WIRE_MAX];
    json_array_foreach(worlds, i, item)
    {
        const char *type = json_string_value(json_object_get(item, "type"));
        const char *id = json_string_value(json_object_get(item, "id"));
        const char *hex = json_string_value(json_object_get(item, "serialized"));
        uint64_t number;
        if (type == NULL || id == NULL || hex_to_u64(id, strlen(id), 16, &number) < 0 ||
            (strcmp(type, "moon") == 0) != (moon != NULL) || (moon != NULL && number != *moon) ||
            hex == NULL) {
            continue;
        }
        size_t len = strlen(hex) / 2;
        if (len > sizeof(data) || hex_decode(hex, strlen(hex), data, len) < 0) {
            return -EBADMSG;
        }
        struct rd r = rd_init(data, len);
        return world_read(&r, ret);
    }
    return -ENOENT;
}

void root_key_path(const struct cli *cli, const struct world *world, char *out, size_t cap)
{
    if (world->type == WORLD_MOON) {
        (void)snprintf(out, cap, "%s/moons.d/%016llx.json", cli->home,
                       (unsigned long long)world->id);
    } else {
        (void)snprintf(out, cap, "%s/planet.json", cli->home);
    }
}

/* ---- the key ---- */

int root_key_write(const char *path, const struct world *world, const struct world_key *key,
                   const struct world_key *next)
{
    json_t *json = world_json_source(world, key, next);
    char *text = json_dumps(json, JSON_INDENT(1) | JSON_SORT_KEYS);
    int err =
        text == NULL ? -ENOMEM : file_write_atomic(path, text, strlen(text), FILE_MODE_SECRET);
    json_decref(json);
    if (text != NULL) {
        sodium_memzero(text, strlen(text));
    }
    free(text);
    return err;
}

static int no_key(const struct world_change *change, int err)
{
    char name[32];
    char wanted[KEY_SHOWN + 1];
    root_world_name(change->held, name);
    hex_encode(change->held->update_key, KEY_SHOWN / 2, wanted);
    if (err == -ENOENT || err == -ENOKEY) {
        (void)fprintf(stderr,
                      "panlan root: %s %s the key that signs %s (its public half begins "
                      "%s): changes are made on the machine that made it, or with a copy of its "
                      "file and --key FILE\n",
                      change->key_path,
                      err == -ENOENT ? "does not exist, so this machine has not" : "does not hold",
                      name, wanted);
    } else {
        (void)fprintf(stderr, "panlan root: cannot use the key in %s: %s\n", change->key_path,
                      err == -EBADMSG ? "it is damaged" : strerror(-err));
    }
    return CLI_FAILED;
}

static int load_key(struct world_change *change)
{
    char *text = NULL;
    size_t len = 0;
    int err = file_read(change->key_path, KEY_FILE_MAX, &text, &len);
    if (err == 0) {
        json_t *json = json_loadb(text, len, 0, NULL);
        err =
            json == NULL ? -EBADMSG : world_json_key(json, change->held->update_key, &change->key);
        err = err == -ENOENT ? -ENOKEY : err;
        json_decref(json);
        sodium_memzero(text, len);
        free(text);
    }
    return err == 0 ? 0 : no_key(change, err);
}

/* ---- a change ---- */

int world_change_begin(struct world_change *change, struct cli *cli, const uint64_t *moon,
                       const char *key_file)
{
    json_t *worlds = NULL;
    *change = (struct world_change){.cli = cli,
                                    .held = calloc(1, sizeof(struct world)),
                                    .next = calloc(1, sizeof(struct world))};
    if (change->held == NULL || change->next == NULL) {
        return CLI_FAILED;
    }
    int status = cli_get(cli, "/world", &worlds);
    if (status != 0) {
        return status;
    }
    int err = root_find_world(worlds, moon, change->held);
    json_decref(worlds);
    if (err < 0) {
        (void)fprintf(stderr, "panlan root: this node has no %s\n",
                      moon == NULL ? "planet" : "such moon (panlan root show lists them)");
        return CLI_FAILED;
    }
    if (change->held->type == WORLD_PLANET && change->held->id == WORLD_ID_EARTH) {
        (void)fprintf(stderr, "panlan root: this node lives on the public planet, which others "
                              "sign; make one with panlan up, or a moon with panlan root moon\n");
        return CLI_FAILED;
    }
    *change->next = *change->held;
    if (key_file != NULL) {
        (void)snprintf(change->key_path, sizeof(change->key_path), "%s", key_file);
    } else {
        root_key_path(cli, change->held, change->key_path, sizeof(change->key_path));
    }
    return load_key(change);
}

void world_change_done(struct world_change *change)
{
    sodium_memzero(&change->key, sizeof(change->key));
    if (change->fresh != NULL) {
        sodium_memzero(change->fresh, sizeof(*change->fresh));
    }
    free(change->fresh);
    free(change->held);
    free(change->next);
}

int root_install(struct cli *cli, const struct world *world)
{
    uint8_t data[WORLD_WIRE_MAX];
    struct wr w = wr_init(data, sizeof(data));
    struct answer answer;
    world_write(&w, world);
    char *text = malloc(2 * wr_len(&w) + 1);
    if (text == NULL || w.bad) {
        free(text);
        return CLI_FAILED;
    }
    hex_encode(data, wr_len(&w), text);
    json_t *body = json_pack("{s:s}", "serialized", text);
    free(text);
    text = json_dumps(body, JSON_COMPACT);
    json_decref(body);
    int status = text == NULL ? CLI_FAILED : cli_send(cli, "POST", "/world", text, &answer);
    free(text);
    if (status == 0) {
        answer_done(&answer);
    }
    return status;
}

/* Count the other roots of the planet and those of them that are known to have a version. */
static int count_followers(struct cli *cli, uint64_t timestamp, unsigned *ret_all,
                           unsigned *ret_have)
{
    json_t *status_json = NULL;
    size_t i;
    json_t *root;
    int status = cli_get(cli, "/status", &status_json);
    *ret_all = *ret_have = 0;
    json_array_foreach(json_object_get(status_json, "roots"), i, root)
    {
        const char *role = json_string_value(json_object_get(root, "role"));
        if (role != NULL && strcmp(role, "PLANET") == 0 &&
            !json_is_true(json_object_get(root, "self"))) {
            json_int_t has = json_integer_value(json_object_get(root, "planetTimestamp"));
            (*ret_all)++;
            *ret_have += (uint64_t)has >= timestamp;
        }
    }
    json_decref(status_json);
    return status;
}

/* Wait a moment until all other roots have the version, and say so. */
static void await_roots(const struct world_change *change)
{
    unsigned all = 0;
    unsigned have = 0;
    int64_t end_ms = clock_mono_ms() + SPREAD_MS;
    while (count_followers(change->cli, change->next->timestamp, &all, &have) == 0 && have < all &&
           clock_mono_ms() < end_ms) {
        (void)nanosleep(&(struct timespec){.tv_nsec = SPREAD_STEP_MS * 1000000L}, NULL);
    }
    if (all > 0 && have == all) {
        (void)printf("the other roots have it\n");
    } else if (all > 0) {
        (void)printf("%u of %u other roots have it so far: keep this node running until panlan "
                     "root show says that all do\n",
                     have, all);
    }
}

int world_change_commit(struct world_change *change, const char *what)
{
    struct world *next = change->next;
    char name[32];
    uint64_t now = (uint64_t)clock_wall_ms();
    next->timestamp = now > change->held->timestamp ? now : change->held->timestamp + 1;
    if (change->fresh != NULL) {
        memcpy(next->update_key, change->fresh->pub, sizeof(next->update_key));
    }
    world_sort(next);
    world_sign(next, change->key.priv, change->key.pub);
    /* A new key is kept before anybody is told of it, the old one until the service took it. */
    int err = change->fresh == NULL
                  ? 0
                  : root_key_write(change->key_path, change->held, &change->key, change->fresh);
    int status = err < 0 ? CLI_FAILED : root_install(change->cli, next);
    if (status == 0) {
        err = root_key_write(change->key_path, next,
                             change->fresh != NULL ? change->fresh : &change->key, NULL);
    }
    if (err < 0) {
        (void)fprintf(stderr, "panlan root: cannot write %s: %s\n", change->key_path,
                      strerror(-err));
        return CLI_FAILED;
    }
    if (status != 0) {
        return status;
    }
    root_world_name(next, name);
    (void)printf("%s: %s; %u root%s, version %llu\n", name, what, next->root_count,
                 next->root_count == 1 ? "" : "s", (unsigned long long)next->timestamp);
    if (next->type == WORLD_PLANET) {
        await_roots(change);
    }
    return CLI_OK;
}
