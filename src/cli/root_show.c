/* "panlan root show" and "panlan root id". Source: spec 02 section 9, Do better 12;
 * doc/operations.md.
 */
#include "cli/format.h"
#include "cli/root.h"

#include "base/hex.h"
#include "os/file.h"
#include "wire/inetaddr.h"

#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum {
    ENDPOINTS_SHOWN = 8, /* suggested by "root id" */
    KEY_FILE_MAX = 1 << 20,
};

/* Addresses under which others may reach this node: the public ones, else those seen from outside,
 * else the local ones. */
static size_t own_endpoints(const json_t *status_json, struct inetaddr *out, size_t cap)
{
    const json_t *settings = json_object_get(json_object_get(status_json, "config"), "settings");
    const json_t *lists[] = {json_object_get(settings, "listeningOn"),
                             json_object_get(status_json, "surfaceAddresses"),
                             json_object_get(settings, "listeningOn")};
    json_int_t port = json_integer_value(json_object_get(settings, "primaryPort"));
    size_t count = 0;
    for (size_t k = 0; k < COUNT_OF(lists) && count == 0; k++) {
        size_t i;
        json_t *item;
        json_array_foreach(lists[k], i, item)
        {
            struct inetaddr a;
            const char *text = json_string_value(item);
            enum inet_scope scope = INET_SCOPE_NONE;
            if (text != NULL && inetaddr_parse(text, strlen(text), &a) == 0) {
                scope = inetaddr_scope(&a);
            }
            bool wanted = scope == INET_SCOPE_GLOBAL ||
                          (k == 2 && scope != INET_SCOPE_NONE && scope != INET_SCOPE_LOOPBACK &&
                           scope != INET_SCOPE_LINK_LOCAL && scope != INET_SCOPE_MULTICAST);
            if (wanted && (k == 1 || a.port == port) && count < cap) {
                out[count++] = a;
            }
        }
    }
    return count;
}

int root_show_id(struct cli *cli)
{
    json_t *status_json = NULL;
    struct inetaddr endpoints[ENDPOINTS_SHOWN];
    int status = cli_connect(cli);
    status = status != 0 ? status : cli_get(cli, "/status", &status_json);
    if (status != 0) {
        return status;
    }
    const char *identity = json_string_value(json_object_get(status_json, "publicIdentity"));
    size_t count = own_endpoints(status_json, endpoints, COUNT_OF(endpoints));
    (void)printf("%s\n\nTo make this node a root, where the planet was made:\n\npanlan root add %s",
                 identity == NULL ? "" : identity, identity == NULL ? "" : identity);
    for (size_t i = 0; i < count; i++) {
        char text[INETADDR_TEXT_LEN];
        inetaddr_print(&endpoints[i], text);
        (void)printf(" %s", text);
    }
    (void)printf("%s\n", count == 0 ? " IP/PORT" : "");
    json_decref(status_json);
    return CLI_OK;
}

/* What is known of a root, from GET /status; NULL: nothing. */
static const json_t *root_state(const json_t *status_json, const char *address)
{
    size_t i;
    json_t *root;
    json_array_foreach(json_object_get(status_json, "roots"), i, root)
    {
        const char *text = json_string_value(json_object_get(root, "address"));
        if (text != NULL && strcmp(text, address) == 0) {
            return root;
        }
    }
    return NULL;
}

static void show_root(const json_t *root, const json_t *status_json, json_int_t timestamp,
                      bool planet)
{
    const char *identity = json_string_value(json_object_get(root, "identity"));
    char address[11] = "";
    char state[32] = "no answer";
    size_t i;
    json_t *endpoint;
    (void)snprintf(address, sizeof(address), "%.10s", identity == NULL ? "" : identity);
    const json_t *known = root_state(status_json, address);
    json_int_t latency = json_integer_value(json_object_get(known, "latency"));
    json_int_t has = json_integer_value(json_object_get(known, "planetTimestamp"));
    if (json_is_true(json_object_get(known, "self"))) {
        (void)snprintf(state, sizeof(state), "this node");
    } else if (json_is_true(json_object_get(known, "online")) && latency >= 0) {
        (void)snprintf(state, sizeof(state), "%lld ms%s", (long long)latency,
                       json_is_true(json_object_get(known, "relay")) ? ", in use" : "");
    } else if (json_is_true(json_object_get(known, "online"))) {
        (void)snprintf(state, sizeof(state), "answers");
    }
    (void)printf("  %s  %-16s", address, state);
    json_array_foreach(json_object_get(root, "stableEndpoints"), i, endpoint)
    {
        (void)printf(" %s", json_string_value(endpoint));
    }
    if (planet && has != 0 && has != timestamp) {
        (void)printf(has < timestamp ? "  (has an older version)" : "  (has a newer version)");
    }
    (void)printf("\n");
}

/* Who signs: say whether it can be done here. */
static void show_signer(const struct cli *cli, const json_t *worlds, const json_t *item)
{
    struct world *world = calloc(1, sizeof(*world));
    uint64_t id = 0;
    const char *text = json_string_value(json_object_get(item, "id"));
    const char *type = json_string_value(json_object_get(item, "type"));
    bool moon = type != NULL && strcmp(type, "moon") == 0;
    char path[sizeof(cli->home) + 64];
    struct world_key key;
    if (world != NULL && text != NULL && hex_to_u64(text, strlen(text), 16, &id) == 0 &&
        root_find_world(worlds, moon ? &id : NULL, world) == 0) {
        root_key_path(cli, world, path, sizeof(path));
        char *data = NULL;
        size_t len = 0;
        json_t *json = NULL;
        if (file_read(path, KEY_FILE_MAX, &data, &len) == 0) {
            json = json_loadb(data, len, 0, NULL);
            sodium_memzero(data, len);
            free(data);
        }
        if (json != NULL && world_json_key(json, world->update_key, &key) == 0) {
            (void)printf("  changes are signed here, with the key in %s\n", path);
            sodium_memzero(&key, sizeof(key));
        }
        json_decref(json);
    }
    free(world);
}

static void show_world(const struct cli *cli, const json_t *worlds, const json_t *item,
                       const json_t *status_json)
{
    const char *type = json_string_value(json_object_get(item, "type"));
    const char *seed = json_string_value(json_object_get(item, "seed"));
    json_int_t timestamp = json_integer_value(json_object_get(item, "timestamp"));
    time_t seconds = (time_t)(timestamp / 1000);
    struct tm utc;
    char when[32] = "";
    size_t i;
    json_t *root;
    (void)printf("%s %s", type, json_string_value(json_object_get(item, "id")));
    if (json_is_true(json_object_get(item, "waiting"))) {
        (void)printf("  waiting for %s\n", seed == NULL ? "its file" : seed);
        return;
    }
    if (gmtime_r(&seconds, &utc) != NULL) {
        (void)strftime(when, sizeof(when), "%Y-%m-%d %H:%M:%S UTC", &utc);
    }
    (void)printf("  version %lld (%s)%s\n", (long long)timestamp, when,
                 json_is_true(json_object_get(item, "verified"))
                     ? ""
                     : "  NOT VERIFIED: it came with no signature of its own key");
    json_array_foreach(json_object_get(item, "roots"), i, root)
    {
        show_root(root, status_json, timestamp, type != NULL && strcmp(type, "planet") == 0);
    }
    show_signer(cli, worlds, item);
}

int root_show(struct cli *cli)
{
    json_t *worlds = NULL;
    json_t *status_json = NULL;
    size_t i;
    json_t *item;
    int status = cli_connect(cli);
    status = status != 0 ? status : cli_get(cli, "/world", &worlds);
    status = status != 0 ? status : cli_get(cli, "/status", &status_json);
    if (status == 0 && cli->json) {
        format_json(stdout, worlds);
    } else if (status == 0) {
        json_array_foreach(worlds, i, item)
        {
            show_world(cli, worlds, item, status_json);
        }
    }
    json_decref(worlds);
    json_decref(status_json);
    return status;
}
