/* "panlan up": one command from a bare machine to a planet of one's own with a first network.
 * Source: README.md, doc/operations.md. */
#include "cli/migrate.h"
#include "cli/own.h"
#include "cli/spawn.h"
#include "cli/world_json.h"

#include "base/hex.h"
#include "daemon/config.h"
#include "daemon/invitation.h"
#include "daemon/keygen.h"
#include "daemon/state.h"
#include "os/addr.h"
#include "os/clock.h"
#include "os/file.h"
#include "os/iface_policy.h"
#include "os/random.h"
#include "wire/identity.h"

#include <errno.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    PATH_LEN = 1100,
    OK_TIMEOUT_MS = 10000,
    PLANET_ID_BITS = 52, /* exact in every JSON reader */
    INVITE_DAYS = 7,
    ENDPOINTS_MAX = WORLD_ENDPOINTS_MAX,
};

/* The planet with its signing key, in the form of "identity genmoon". */
#define PLANET_JSON "planet.json"

/* What the command line asks for. */
struct up {
    struct cli *cli;
    const char *name; /* of the first network */
    const char *roots[ENDPOINTS_MAX];
    size_t root_count;
    bool fresh; /* something was made */
};

static int failed(const char *what, int err)
{
    (void)fprintf(stderr, "panlan up: %s: %s\n", what, strerror(-err));
    return CLI_FAILED;
}

/* UDP port of the service to be: option, local.conf, default. */
static unsigned service_port(const struct up *up)
{
    char path[PATH_LEN];
    char *text = NULL;
    size_t len = 0;
    struct config *config = NULL;
    struct config_error error;
    unsigned port = up->cli->client.port == 0 ? CONFIG_PRIMARY_PORT : up->cli->client.port;
    if (home_path(up->cli->home, "local.conf", path, sizeof(path)) == 0 &&
        file_read(path, CONFIG_FILE_MAX, &text, &len) == 0 &&
        config_parse(text, len, &config, &error) == 0 && config->primary_port > 0) {
        port = (unsigned)config->primary_port;
    }
    config_free(config);
    free(text);
    return port;
}

static void append_endpoint(json_t *endpoints, const struct inetaddr *address)
{
    char text[INETADDR_TEXT_LEN];
    inetaddr_print(address, text);
    (void)json_array_append_new(endpoints, json_string(text));
}

/* Addresses under which others can reach this machine. Returns 0; negative errno. */
static int local_endpoints(json_t *endpoints, unsigned port)
{
    static const char *const containers[] = {"veth*"};
    struct net *net = NULL;
    struct net_snapshot snapshot;
    struct bind_target targets[ENDPOINTS_MAX];
    struct bind_policy policy = {0};
    int err = net_open(&net);
    if (err < 0) {
        return err;
    }
    err = net_snapshot_read(net, &snapshot);
    if (err == 0) {
        size_t count = bind_select(&policy, &snapshot, targets, COUNT_OF(targets), NULL);
        if (count == 0) {
            policy.allow = containers;
            policy.allow_count = COUNT_OF(containers);
            count = bind_select(&policy, &snapshot, targets, COUNT_OF(targets), NULL);
        }
        for (size_t i = 0; i < count; i++) {
            targets[i].ip.port = (uint16_t)port;
            append_endpoint(endpoints, &targets[i].ip);
        }
        net_snapshot_done(&snapshot);
    }
    net_close(net);
    return err;
}

static int fill_endpoints(const struct up *up, json_t *template)
{
    json_t *root = json_array_get(json_object_get(template, "roots"), 0);
    json_t *endpoints = json_object_get(root, "stableEndpoints");
    for (size_t i = 0; i < up->root_count; i++) {
        struct inetaddr address;
        if (inetaddr_parse(up->roots[i], strlen(up->roots[i]), &address) < 0 ||
            address.family == INETADDR_NIL) {
            (void)fprintf(stderr, "panlan up: --root wants IP/PORT, not \"%s\"\n", up->roots[i]);
            return CLI_USAGE;
        }
        if (address.port == 0) {
            address.port = (uint16_t)service_port(up);
        }
        append_endpoint(endpoints, &address);
    }
    if (up->root_count > 0) {
        return 0;
    }
    int err = local_endpoints(endpoints, service_port(up));
    if (err < 0) {
        return failed("cannot read the addresses of this machine", err);
    }
    if (json_array_size(endpoints) == 0) {
        (void)fprintf(stderr, "panlan up: this machine has no usable address; give one with --root "
                              "IP/PORT\n");
        return CLI_FAILED;
    }
    return 0;
}

/* Sign the planet, write it and, for later changes, its source with the key. */
static int write_planet(struct state *st, const json_t *template)
{
    const char *why = "";
    uint8_t data[WORLD_WIRE_MAX];
    struct wr w = wr_init(data, sizeof(data));
    struct world *world = malloc(sizeof(*world));
    char *text = json_dumps(template, JSON_INDENT(1) | JSON_SORT_KEYS);
    int err = world == NULL || text == NULL ? -ENOMEM : 0;
    if (err == 0 && world_json_sign(template, (uint64_t)clock_wall_ms(), world, &why) < 0) {
        (void)fprintf(stderr, "panlan up: %s\n", why);
        err = -EINVAL;
    }
    if (err == 0) {
        world_write(&w, world);
        err = w.bad ? -EMSGSIZE : state_write(st, PLANET_JSON, text, strlen(text), 0600);
    }
    if (err == 0) {
        err = state_write(st, "planet", data, wr_len(&w), FILE_MODE_PUBLIC);
    }
    if (text != NULL) {
        sodium_memzero(text, strlen(text));
    }
    free(text);
    free(world);
    return err < 0 ? failed("cannot write the planet", err) : 0;
}

static int make_planet(const struct up *up, struct state *st, const struct identity *id)
{
    struct world_key key;
    uint64_t planet_id;
    random_bytes(&planet_id, sizeof(planet_id));
    planet_id = planet_id >> (64 - PLANET_ID_BITS) | UINT64_C(1) << (PLANET_ID_BITS - 1);
    world_key_generate(&key);
    json_t *template = world_json_template(id, "planet", planet_id, &key);
    sodium_memzero(&key, sizeof(key));
    int status = template == NULL ? CLI_FAILED : fill_endpoints(up, template);
    if (status == 0) {
        status = write_planet(st, template);
    }
    json_decref(template);
    return status;
}

static int refuse_public(const struct up *up)
{
    (void)fprintf(stderr,
                  "panlan up: the node in %s lives on the public planet already; use another "
                  "--home\n",
                  up->cli->home);
    return CLI_FAILED;
}

/* True if networks were moved here from a controller on the public planet. */
static bool has_controller(const char *home)
{
    struct migrate_store place;
    return migrate_store_find(home, &place) == 0 &&
           (place.shared[0] != '\0' || migrate_store_exists(&place));
}

/* Identity and planet of a home whose service does not run. Returns 0 or an exit status. */
static int prepare_home(struct up *up)
{
    struct state st;
    struct identity id;
    int err = state_open(up->cli->home, &st);
    if (err < 0) {
        return failed(up->cli->home, err);
    }
    err = state_identity_load(&st, &id);
    if (err == -ENOENT) {
        err = keygen_identity(NULL, NULL, &id);
        if (err == 0) {
            err = state_identity_store(&st, &id);
        }
    }
    int status = err < 0 ? failed("cannot use the identity", err) : 0;
    struct world *planet = malloc(sizeof(*planet));
    if (status == 0 && planet != NULL) {
        err = own_planet_read(up->cli->home, planet);
        if (err == -ENOENT) {
            up->fresh = true;
            status = make_planet(up, &st, &id);
        } else if (err == 0 && planet->id == WORLD_ID_EARTH && !has_controller(up->cli->home)) {
            status = refuse_public(up);
        } else if (err < 0) {
            status = failed("cannot read the planet file", err);
        }
    }
    free(planet);
    identity_wipe(&id);
    state_close(&st);
    return status;
}

/* Subnets in use here, so that the first network gets another. */
static json_t *local_subnets(void)
{
    json_t *list = json_array();
    struct net *net = NULL;
    struct net_snapshot snapshot;
    if (net_open(&net) < 0) {
        return list;
    }
    if (net_snapshot_read(net, &snapshot) == 0) {
        for (size_t i = 0; i < snapshot.addr_count; i++) {
            if (snapshot.addrs[i].ip.family == INETADDR_V4) {
                append_endpoint(list, &snapshot.addrs[i].ip);
            }
        }
        net_snapshot_done(&snapshot);
    }
    net_close(net);
    return list;
}

/* POST a JSON value (taken). Returns 0 with *ret the answer's JSON, or an exit status. */
static int post_json(struct cli *cli, const char *path, json_t *body, json_t **ret)
{
    struct answer answer;
    char *text = json_dumps(body, JSON_COMPACT);
    json_decref(body);
    int status = text == NULL ? CLI_FAILED : cli_send(cli, "POST", path, text, &answer);
    free(text);
    if (status == 0) {
        *ret = json_loadb(answer.body, answer.len, JSON_DECODE_ANY, NULL);
        answer_done(&answer);
    }
    return status;
}

/* The first network of our controller; made if there is none. Returns 0 or an exit status. */
static int find_network(struct up *up, uint64_t *ret_nwid)
{
    json_t *list = NULL;
    json_t *network = NULL;
    int status = cli_get(up->cli, "/controller/network", &list);
    if (status != 0) {
        return status;
    }
    const char *id = json_string_value(json_array_get(list, 0));
    if (id == NULL) {
        json_t *body = json_object();
        (void)json_object_set_new(body, "name", json_string(up->name));
        (void)json_object_set_new(body, "avoid", local_subnets());
        up->fresh = true;
        status = post_json(up->cli, "/controller/network/default", body, &network);
        id = json_string_value(json_object_get(network, "id"));
    }
    if (status == 0 && (id == NULL || hex_to_u64(id, strlen(id), 16, ret_nwid) < 0)) {
        (void)fprintf(stderr, "panlan up: the controller gave no network\n");
        status = CLI_FAILED;
    }
    json_decref(list);
    json_decref(network);
    return status;
}

/* Authorize ourselves and join, unless that is done. Returns 0 or an exit status. */
static int join_own(struct up *up, uint64_t nwid, const char *address, json_t **ret)
{
    char path[128];
    char id[17];
    json_t *networks = NULL;
    json_t *answer = NULL;
    hex_from_u64(nwid, 16, id);
    int status = cli_get(up->cli, "/network", &networks);
    size_t i;
    json_t *network;
    bool joined = false;
    json_array_foreach(networks, i, network)
    {
        const char *have = json_string_value(json_object_get(network, "id"));
        joined |= have != NULL && strcmp(have, id) == 0;
    }
    json_decref(networks);
    if (status == 0 && !joined) {
        up->fresh = true;
        json_t *body = json_pack("{s:b}", "authorized", 1);
        (void)snprintf(path, sizeof(path), "/controller/network/%s/member/%s", id, address);
        status = post_json(up->cli, path, body, &answer);
        json_decref(answer);
        answer = NULL;
        if (status == 0) {
            (void)snprintf(path, sizeof(path), "/network/%s", id);
            status = post_json(up->cli, path, json_object(), &answer);
            json_decref(answer);
        }
    }
    return status != 0 ? status : own_wait_network(up->cli, nwid, OK_TIMEOUT_MS, ret);
}

/* An invitation that is still good, or a new one on the first run. *ret NULL: none. */
static int find_invitation(struct up *up, uint64_t nwid, char **ret)
{
    char path[96];
    json_t *list = NULL;
    (void)snprintf(path, sizeof(path), "/controller/network/%016llx/invite-token",
                   (unsigned long long)nwid);
    *ret = NULL;
    int status = cli_get(up->cli, path, &list);
    if (status != 0) {
        return status;
    }
    size_t i;
    json_t *item;
    json_array_foreach(json_object_get(list, "data"), i, item)
    {
        const char *token = json_string_value(json_object_get(item, "token"));
        int64_t expires_ms = json_integer_value(json_object_get(item, "expires"));
        bool unlimited = json_integer_value(json_object_get(item, "uses")) == 0;
        if (token != NULL && invitation_token_fits(token) && unlimited &&
            (expires_ms == 0 || expires_ms > clock_wall_ms())) {
            status = invite_print(up->cli, nwid, token, ret);
            json_decref(list);
            return status;
        }
    }
    json_decref(list);
    if (!up->fresh) {
        return 0;
    }
    int64_t expires_ms = clock_wall_ms() + INVITE_DAYS * INT64_C(86400000);
    return invite_make(up->cli, nwid, 0, expires_ms, ret);
}

/* What this node is in its planet, in words. */
static const char *root_text(const json_t *status)
{
    size_t i;
    json_t *root;
    size_t count = 0;
    bool is_root = false;
    json_array_foreach(json_object_get(status, "roots"), i, root)
    {
        const char *role = json_string_value(json_object_get(root, "role"));
        if (role != NULL && strcmp(role, "PLANET") == 0) {
            count++;
            is_root = is_root || json_is_true(json_object_get(root, "self"));
        }
    }
    if (!is_root) {
        return "this node is not one of its roots";
    }
    return count == 1 ? "this node is its root" : "this node is one of its roots";
}

static void print_result(const struct up *up, const json_t *status, const json_t *network,
                         const char *invitation)
{
    const char *state = json_string_value(json_object_get(network, "status"));
    (void)printf("node       %s (version %s)\n",
                 json_string_value(json_object_get(status, "address")),
                 json_string_value(json_object_get(status, "version")));
    (void)printf("home       %s\n", up->cli->home);
    (void)printf("planet     %016llx, %s\n",
                 (unsigned long long)json_integer_value(json_object_get(status, "planetWorldId")),
                 root_text(status));
    (void)printf("network    %s \"%s\" %s\n", json_string_value(json_object_get(network, "id")),
                 json_string_value(json_object_get(network, "name")), state == NULL ? "" : state);
    size_t i;
    json_t *address;
    json_array_foreach(json_object_get(network, "assignedAddresses"), i, address)
    {
        (void)printf("address    %s\n", json_string_value(address));
    }
    (void)printf("API        http://127.0.0.1:%u (token in %s/authtoken.secret)\n",
                 up->cli->client.port, up->cli->home);
    if (invitation != NULL) {
        (void)printf("\nOn another machine:\n\npanlan join %s\n", invitation);
    } else {
        (void)printf("\nFor an invitation: panlan invite %s\n",
                     json_string_value(json_object_get(network, "id")));
    }
}

/* A controller that was moved here goes on as it was: nothing is made, nobody joins. */
static int show_moved(const struct up *up, const json_t *status_json)
{
    json_t *list = NULL;
    int status = cli_get(up->cli, "/controller/network", &list);
    size_t count = json_array_size(list);
    json_decref(list);
    if (status != 0 || count == 0) {
        return status != 0 ? status : refuse_public(up);
    }
    (void)printf("node       %s (version %s)\n",
                 json_string_value(json_object_get(status_json, "address")),
                 json_string_value(json_object_get(status_json, "version")));
    (void)printf("home       %s\n", up->cli->home);
    uint64_t planet = (uint64_t)json_integer_value(json_object_get(status_json, "planetWorldId"));
    (void)printf("planet     %016llx%s\n", (unsigned long long)planet,
                 planet == WORLD_ID_EARTH ? ", the public one" : "");
    (void)printf("networks   %zu (panlan net list)\n", count);
    (void)printf("API        http://127.0.0.1:%u (token in %s/authtoken.secret)\n",
                 up->cli->client.port, up->cli->home);
    return CLI_OK;
}

/* True if a network has members and this node is none of them: it was made elsewhere. */
static bool is_moved(struct up *up, uint64_t nwid, const char *address)
{
    char path[96];
    json_t *members = NULL;
    (void)snprintf(path, sizeof(path), "/controller/network/%016llx/member",
                   (unsigned long long)nwid);
    bool moved = cli_get(up->cli, path, &members) == 0 && json_object_size(members) > 0 &&
                 json_object_get(members, address) == NULL;
    json_decref(members);
    return moved;
}

/* With the service running: network, membership, invitation. */
static int bring_up(struct up *up)
{
    json_t *status_json = NULL;
    json_t *network = NULL;
    char *invitation = NULL;
    uint64_t nwid = 0;
    int status = cli_get(up->cli, "/status", &status_json);
    if (status == 0 &&
        json_integer_value(json_object_get(status_json, "planetWorldId")) == WORLD_ID_EARTH) {
        status = show_moved(up, status_json);
        json_decref(status_json);
        return status;
    }
    if (status == 0) {
        status = find_network(up, &nwid);
    }
    const char *address = json_string_value(json_object_get(status_json, "address"));
    if (status == 0 && !up->fresh && is_moved(up, nwid, address)) {
        status = show_moved(up, status_json);
        json_decref(status_json);
        return status;
    }
    if (status == 0) {
        status = join_own(up, nwid, address, &network);
    }
    if (status == 0) {
        status = find_invitation(up, nwid, &invitation);
    }
    if (status == 0) {
        print_result(up, status_json, network, invitation);
    }
    free(invitation);
    json_decref(network);
    json_decref(status_json);
    return status;
}

int up_run(struct cli *cli)
{
    struct up up = {.cli = cli, .name = own_option(cli, "--name")};
    const char *root;
    if (up.name == NULL) {
        up.name = "home";
    }
    while (up.root_count < ENDPOINTS_MAX && (root = own_option(cli, "--root")) != NULL) {
        up.roots[up.root_count++] = root;
    }
    if (cli->arg_count > 0) {
        (void)fprintf(stderr, "Usage: panlan up [--root IP/PORT]... [--name NAME]\n");
        return CLI_USAGE;
    }
    if (sodium_init() < 0) {
        return CLI_FAILED;
    }
    int status = 0;
    if (!spawn_is_running(cli)) {
        status = prepare_home(&up);
        if (status == 0) {
            status = spawn_service(cli);
        }
    }
    return status != 0 ? status : bring_up(&up);
}
