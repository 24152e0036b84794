/* "panlan root": the roots of planet and moons, seen and changed. Source: spec 02 sections 9 and
 * 10, doc/operations.md. */
#include "cli/root.h"
#include "cli/own.h"

#include "base/hex.h"
#include "daemon/config.h"
#include "daemon/keygen.h"
#include "os/clock.h"
#include "os/file.h"
#include "wire/identity.h"

#include <errno.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { TEXT_LEN = 96 };

/* One call of "panlan root". */
struct root_call {
    struct cli *cli;
    const char *key_file; /* --key, NULL: the usual place */
    const uint64_t *moon; /* --moon, NULL: the planet */
    uint64_t moon_id;
    bool force; /* --force */
};

static int help(FILE *out)
{
    (void)fputs(
        "Usage: panlan root COMMAND [--moon ID] [--key FILE]\n\n"
        "  show                          planet and moons of this node, their roots and versions\n"
        "  id                            this node's identity, and the command that makes it a "
        "root\n"
        "  add NODE IP[/PORT]...         make a node a root: this one, or any by address, "
        "identity\n"
        "                                or identity file\n"
        "  endpoints ADDRESS IP[/PORT]... where a root is reached from now on\n"
        "  retire ADDRESS [--force]      make a root an ordinary node again\n"
        "  rotate-key                    let another key sign what comes next\n"
        "  export FILE                   write planet or moon to a file\n"
        "  install FILE                  take a version from a file, or a new moon\n"
        "  moon [NODE [IP[/PORT]...]]    make a moon, with this node or another as its first root\n"
        "\n"
        "Changes go to the service of this machine and from there to all nodes by themselves. "
        "They\n"
        "concern the planet unless --moon names a moon, and are signed with the key in "
        "planet.json\n"
        "(or moons.d/ID.json) of the home directory unless --key names another file. A planet or\n"
        "moon has at most 4 roots with 32 addresses each. See \"Roots and moons\" in\n"
        "doc/operations.md.\n",
        out);
    return out == stdout ? CLI_OK : CLI_USAGE;
}

static const char *word(const struct root_call *call, int i)
{
    return i < call->cli->arg_count ? call->cli->args[i] : "";
}

/* ---- arguments ---- */

/* IP or IP/PORT words from index on. Complains. Returns 0 or an exit status. */
static int read_endpoints(const struct root_call *call, int index, struct world_root *root)
{
    root->endpoint_count = 0;
    for (int i = index; i < call->cli->arg_count; i++) {
        struct inetaddr address;
        const char *text = word(call, i);
        if (inetaddr_parse(text, strlen(text), &address) < 0 || address.family == INETADDR_NIL) {
            (void)fprintf(stderr, "panlan root: \"%s\" is not of the form IP/PORT\n", text);
            return CLI_USAGE;
        }
        enum inet_scope scope = inetaddr_scope(&address);
        if (scope == INET_SCOPE_NONE || scope == INET_SCOPE_MULTICAST ||
            scope == INET_SCOPE_LOOPBACK || scope == INET_SCOPE_LINK_LOCAL) {
            (void)fprintf(stderr, "panlan root: nobody else can reach a root at %s\n", text);
            return CLI_USAGE;
        }
        if (root->endpoint_count == WORLD_ENDPOINTS_MAX) {
            (void)fprintf(stderr, "panlan root: a root has at most %d addresses\n",
                          WORLD_ENDPOINTS_MAX);
            return CLI_USAGE;
        }
        address.port = address.port == 0 ? CONFIG_PRIMARY_PORT : address.port;
        root->endpoints[root->endpoint_count++] = address;
    }
    return 0;
}

static bool is_public(const struct world_root *root)
{
    for (size_t i = 0; i < root->endpoint_count; i++) {
        if (inetaddr_scope(&root->endpoints[i]) == INET_SCOPE_GLOBAL) {
            return true;
        }
    }
    return false;
}

/* A root with private addresses only, beside others that are public, is most likely a mistake. */
static void warn_private(const struct world *world, const struct world_root *root)
{
    bool others = false;
    for (size_t i = 0; i < world->root_count; i++) {
        others = others || (world->roots[i].identity.address != root->identity.address &&
                            is_public(&world->roots[i]));
    }
    if (others && root->endpoint_count > 0 && !is_public(root)) {
        (void)fprintf(stderr,
                      "warning: %010llx has private addresses only, while other roots are "
                      "public: nodes elsewhere cannot reach it\n",
                      (unsigned long long)root->identity.address);
    }
}

static int read_address(const struct root_call *call, int index, uint64_t *ret)
{
    const char *text = word(call, index);
    if (address_parse(text, strlen(text), ret) < 0) {
        (void)fprintf(stderr, "panlan root: \"%s\" is not a node address (10 hex digits)\n", text);
        return CLI_USAGE;
    }
    return 0;
}

static int known_identity(struct cli *cli, uint64_t address, struct identity *ret)
{
    char path[64];
    struct answer answer;
    (void)snprintf(path, sizeof(path), "/identity/%010llx", (unsigned long long)address);
    if (client_request(&cli->client, "GET", path, NULL, &answer) < 0) {
        return CLI_FAILED;
    }
    json_t *o = json_loadb(answer.body, answer.len, 0, NULL);
    const char *text = json_string_value(json_object_get(o, "identity"));
    int err = text == NULL ? -ENOENT : identity_parse(text, strlen(text), ret);
    json_decref(o);
    answer_done(&answer);
    if (err < 0) {
        (void)fprintf(stderr,
                      "panlan root: this node has not met %010llx; give its identity instead "
                      "(panlan root id there prints it)\n",
                      (unsigned long long)address);
        return CLI_FAILED;
    }
    return 0;
}

/* A node by address, identity or identity file; an empty word is this node. Its address hash is
 * checked. Complains. Returns 0 or an exit status. */
static int read_node(const struct root_call *call, const char *text, struct identity *ret)
{
    uint64_t address;
    char path[sizeof(call->cli->home) + 32];
    int status = 0;
    if (text[0] == '\0') {
        (void)snprintf(path, sizeof(path), "%s/identity.public", call->cli->home);
        text = path;
    }
    if (address_parse(text, strlen(text), &address) == 0) {
        status = known_identity(call->cli, address, ret);
    } else if (identity_argument(text, ret) < 0) {
        status = CLI_USAGE;
    }
    if (status == 0) {
        sodium_memzero(ret->priv, sizeof(ret->priv));
        ret->has_private = false;
    }
    if (status == 0 && keygen_validate(ret) < 0) {
        (void)fprintf(stderr, "panlan root: the address %010llx does not belong to this key\n",
                      (unsigned long long)ret->address);
        status = CLI_USAGE;
    }
    return status;
}

static int begin(const struct root_call *call, struct world_change *change)
{
    return world_change_begin(change, call->cli, call->moon, call->key_file);
}

/* Index of a root in the world to be changed. Complains. Returns 0 or an exit status. */
static int find_root(const struct world_change *change, uint64_t address, int *ret)
{
    char name[32];
    *ret = world_find_root(change->next, address);
    if (*ret < 0) {
        root_world_name(change->next, name);
        (void)fprintf(stderr, "panlan root: %010llx is not a root of %s\n",
                      (unsigned long long)address, name);
        return CLI_FAILED;
    }
    return 0;
}

/* ---- changes ---- */

static int add_root(struct world *world, const struct world_root *root)
{
    char name[32];
    root_world_name(world, name);
    if (world_find_root(world, root->identity.address) >= 0) {
        (void)fprintf(stderr,
                      "panlan root: %010llx is a root of %s already; for other addresses use "
                      "panlan root endpoints\n",
                      (unsigned long long)root->identity.address, name);
        return CLI_FAILED;
    }
    if (world->root_count == WORLD_ROOTS_MAX) {
        (void)fprintf(stderr,
                      "panlan root: %s has %d roots, more is not possible: retire one first\n",
                      name, WORLD_ROOTS_MAX);
        return CLI_FAILED;
    }
    world->roots[world->root_count++] = *root;
    warn_private(world, root);
    return 0;
}

static int cmd_add(struct root_call *call)
{
    struct world_change change;
    struct world_root root = {0};
    char what[TEXT_LEN];
    if (call->cli->arg_count < 2 || (call->cli->arg_count < 3 && call->moon == NULL)) {
        (void)fprintf(stderr, "Usage: panlan root add NODE IP[/PORT]...\n");
        return CLI_USAGE;
    }
    int status = read_endpoints(call, 2, &root);
    status = status != 0 ? status : cli_connect(call->cli);
    status = status != 0 ? status : read_node(call, word(call, 1), &root.identity);
    if (status != 0) {
        return status;
    }
    status = begin(call, &change);
    if (status == 0) {
        status = add_root(change.next, &root);
    }
    if (status == 0) {
        (void)snprintf(what, sizeof(what), "%010llx is a root now",
                       (unsigned long long)root.identity.address);
        status = world_change_commit(&change, what);
    }
    world_change_done(&change);
    return status;
}

static int cmd_endpoints(struct root_call *call)
{
    struct world_change change;
    struct world_root root = {0};
    uint64_t address;
    int index;
    char what[TEXT_LEN];
    if (call->cli->arg_count < 3) {
        (void)fprintf(stderr, "Usage: panlan root endpoints ADDRESS IP[/PORT]...\n");
        return CLI_USAGE;
    }
    int status = read_address(call, 1, &address);
    status = status != 0 ? status : read_endpoints(call, 2, &root);
    status = status != 0 ? status : cli_connect(call->cli);
    if (status != 0) {
        return status;
    }
    status = begin(call, &change);
    if (status == 0) {
        status = find_root(&change, address, &index);
    }
    if (status == 0) {
        root.identity = change.next->roots[index].identity;
        change.next->roots[index] = root;
        warn_private(change.next, &root);
        (void)snprintf(what, sizeof(what), "%010llx has %u address%s", (unsigned long long)address,
                       root.endpoint_count, root.endpoint_count == 1 ? "" : "es");
        status = world_change_commit(&change, what);
    }
    world_change_done(&change);
    return status;
}

/* True if a root of the planet other than this one answers. */
static bool another_answers(struct cli *cli, uint64_t address)
{
    json_t *status_json = NULL;
    size_t i;
    json_t *root;
    bool found = false;
    if (cli_get(cli, "/status", &status_json) != 0) {
        return false;
    }
    json_array_foreach(json_object_get(status_json, "roots"), i, root)
    {
        const char *text = json_string_value(json_object_get(root, "address"));
        uint64_t other = 0;
        bool here = json_is_true(json_object_get(root, "self")) ||
                    json_is_true(json_object_get(root, "online"));
        found = found || (text != NULL && address_parse(text, strlen(text), &other) == 0 &&
                          other != address && here);
    }
    json_decref(status_json);
    return found;
}

static int cmd_retire(struct root_call *call)
{
    struct world_change change;
    uint64_t address;
    int index = 0;
    char what[TEXT_LEN];
    if (call->cli->arg_count != 2) {
        (void)fprintf(stderr, "Usage: panlan root retire ADDRESS [--force]\n");
        return CLI_USAGE;
    }
    int status = read_address(call, 1, &address);
    status = status != 0 ? status : cli_connect(call->cli);
    if (status != 0) {
        return status;
    }
    status = begin(call, &change);
    if (status == 0) {
        status = find_root(&change, address, &index);
    }
    if (status == 0 && change.next->root_count == 1) {
        (void)fprintf(stderr, "panlan root: this is the only root: add another one first\n");
        status = CLI_FAILED;
    } else if (status == 0 && !call->force && call->moon == NULL &&
               !another_answers(call->cli, address)) {
        (void)fprintf(stderr, "panlan root: no other root answers this node now: without this one "
                              "nobody would be reachable (--force if you know better)\n");
        status = CLI_FAILED;
    }
    if (status == 0) {
        struct world_root *roots = change.next->roots;
        change.next->root_count--;
        memmove(roots + index, roots + index + 1,
                (change.next->root_count - (size_t)index) * sizeof(*roots));
        (void)snprintf(what, sizeof(what), "%010llx is an ordinary node now",
                       (unsigned long long)address);
        status = world_change_commit(&change, what);
    }
    world_change_done(&change);
    return status;
}

static int cmd_rotate(struct root_call *call)
{
    struct world_change change;
    int status = cli_connect(call->cli);
    if (status != 0) {
        return status;
    }
    status = begin(call, &change);
    if (status == 0) {
        change.fresh = calloc(1, sizeof(*change.fresh));
        status = change.fresh == NULL ? CLI_FAILED : 0;
    }
    if (status == 0) {
        world_key_generate(change.fresh);
        status = world_change_commit(&change, "another key signs from now on");
    }
    if (status == 0) {
        (void)printf("the new key is in %s: renew the copy you keep of it\n", change.key_path);
    }
    world_change_done(&change);
    return status;
}

/* ---- moons ---- */

static int make_moon(struct root_call *call, struct world *moon)
{
    struct world_key key;
    char path[sizeof(call->cli->home) + 64];
    char name[32];
    root_key_path(call->cli, moon, path, sizeof(path));
    root_world_name(moon, name);
    world_key_generate(&key);
    memcpy(moon->update_key, key.pub, sizeof(moon->update_key));
    moon->timestamp = (uint64_t)clock_wall_ms();
    world_sort(moon);
    world_sign(moon, key.priv, key.pub);
    int err = root_key_write(path, moon, &key, NULL);
    sodium_memzero(&key, sizeof(key));
    if (err < 0) {
        (void)fprintf(stderr, "panlan root: cannot write %s: %s\n", path, strerror(-err));
        return CLI_FAILED;
    }
    int status = root_install(call->cli, moon);
    if (status == 0) {
        (void)printf("%s; its key is in %s\non other nodes: panlan orbit %010llx %010llx\n", name,
                     path, (unsigned long long)moon->id,
                     (unsigned long long)moon->roots[0].identity.address);
    }
    return status;
}

static int cmd_moon(struct root_call *call)
{
    struct world *moon = calloc(1, sizeof(*moon));
    struct world *other = calloc(1, sizeof(*other));
    json_t *worlds = NULL;
    int status = moon == NULL || other == NULL ? CLI_FAILED : 0;
    if (status == 0) {
        status = read_endpoints(call, 2, &moon->roots[0]);
    }
    status = status != 0 ? status : cli_connect(call->cli);
    status = status != 0 ? status : read_node(call, word(call, 1), &moon->roots[0].identity);
    status = status != 0 ? status : cli_get(call->cli, "/world", &worlds);
    if (status == 0) {
        moon->type = WORLD_MOON;
        moon->id = moon->roots[0].identity.address;
        moon->root_count = 1;
        if (root_find_world(worlds, &moon->id, other) != -ENOENT) {
            (void)fprintf(
                stderr,
                "panlan root: there is a moon %010llx already; change it with panlan root "
                "add --moon %010llx ...\n",
                (unsigned long long)moon->id, (unsigned long long)moon->id);
            status = CLI_FAILED;
        }
    }
    status = status != 0 ? status : make_moon(call, moon);
    json_decref(worlds);
    free(moon);
    free(other);
    return status;
}

/* ---- files ---- */

static int cmd_export(struct root_call *call)
{
    struct world *world = calloc(1, sizeof(*world));
    json_t *worlds = NULL;
    uint8_t data[WORLD_WIRE_MAX];
    struct wr w = wr_init(data, sizeof(data));
    if (call->cli->arg_count != 2) {
        free(world);
        (void)fprintf(stderr, "Usage: panlan root export FILE [--moon ID]\n");
        return CLI_USAGE;
    }
    int status = world == NULL ? CLI_FAILED : cli_connect(call->cli);
    status = status != 0 ? status : cli_get(call->cli, "/world", &worlds);
    if (status == 0 && root_find_world(worlds, call->moon, world) < 0) {
        (void)fprintf(stderr, "panlan root: this node has no such world\n");
        status = CLI_FAILED;
    }
    if (status == 0) {
        world_write(&w, world);
        int err = file_write_atomic(word(call, 1), data, wr_len(&w), FILE_MODE_PUBLIC);
        if (err < 0) {
            (void)fprintf(stderr, "panlan root: cannot write %s: %s\n", word(call, 1),
                          strerror(-err));
            status = CLI_FAILED;
        }
    }
    json_decref(worlds);
    free(world);
    return status;
}

int root_install_file(struct cli *cli, const char *path)
{
    uint8_t data[WORLD_WIRE_MAX] = {0};
    struct world *world = calloc(1, sizeof(*world));
    char name[32];
    ssize_t len = world == NULL ? -ENOMEM : file_read_into(path, data, sizeof(data));
    struct rd r = rd_init(data, len < 0 ? 0 : (size_t)len);
    if (len < 0) {
        (void)fprintf(stderr, "panlan: cannot read %s: %s\n", path, strerror((int)-len));
    } else if (world_read(&r, world) < 0 || world->type == WORLD_NULL || rd_left(&r) > 0) {
        (void)fprintf(stderr, "panlan: %s is neither planet nor moon\n", path);
        len = -EBADMSG;
    }
    int status = len < 0 ? CLI_FAILED : root_install(cli, world);
    if (status == 0) {
        root_world_name(world, name);
        (void)printf("%s: version %llu with %u root%s\n", name,
                     (unsigned long long)world->timestamp, world->root_count,
                     world->root_count == 1 ? "" : "s");
    }
    free(world);
    return status;
}

static int cmd_install(struct root_call *call)
{
    if (call->cli->arg_count != 2) {
        (void)fprintf(stderr, "Usage: panlan root install FILE\n");
        return CLI_USAGE;
    }
    int status = cli_connect(call->cli);
    return status != 0 ? status : root_install_file(call->cli, word(call, 1));
}

/* ---- the command ---- */

static int cmd_show(struct root_call *call)
{
    return root_show(call->cli);
}

static int cmd_id(struct root_call *call)
{
    return root_show_id(call->cli);
}

int root_run(struct cli *cli)
{
    static const struct {
        const char *name;
        int (*run)(struct root_call *call);
    } table[] = {{"show", cmd_show},         {"id", cmd_id},
                 {"add", cmd_add},           {"retire", cmd_retire},
                 {"rotate-key", cmd_rotate}, {"endpoints", cmd_endpoints},
                 {"export", cmd_export},     {"install", cmd_install},
                 {"moon", cmd_moon}};
    struct root_call call = {.cli = cli, .force = own_flag(cli, "--force")};
    const char *moon = own_option(cli, "--moon");
    call.key_file = own_option(cli, "--key");
    if (cli->help) {
        return help(stdout);
    }
    if (moon != NULL) {
        if (hex_to_u64(moon, strlen(moon), 16, &call.moon_id) < 0 || call.moon_id == 0) {
            (void)fprintf(stderr, "panlan root: \"%s\" is not the ID of a moon\n", moon);
            return CLI_USAGE;
        }
        call.moon = &call.moon_id;
    }
    if (sodium_init() < 0) {
        return CLI_FAILED;
    }
    for (size_t i = 0; i < COUNT_OF(table); i++) {
        if (strcmp(table[i].name, word(&call, 0)) == 0) {
            return table[i].run(&call);
        }
    }
    return help(stderr);
}
