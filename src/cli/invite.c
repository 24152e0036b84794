/* Invitations: making one on the controller's machine, using one anywhere. Source:
 * doc/invitation.md. */
#include "cli/own.h"
#include "cli/spawn.h"

#include "base/hex.h"
#include "daemon/invitation.h"
#include "daemon/state.h"
#include "os/clock.h"
#include "os/file.h"
#include "os/home.h"
#include "wire/mac.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum {
    PATH_LEN = 1100,
    STEP_MS = 20,
    JOIN_TIMEOUT_MS = 15000,
    EXPIRES_DEFAULT_S = 7 * 24 * 3600,
};

int own_planet_read(const char *home, struct world *ret)
{
    char path[PATH_LEN];
    uint8_t data[WORLD_WIRE_MAX];
    int err = home_path(home, "planet", path, sizeof(path));
    if (err < 0) {
        return err;
    }
    ssize_t len = file_read_into(path, data, sizeof(data));
    if (len < 0) {
        return (int)len;
    }
    struct rd r = rd_init(data, (size_t)len);
    err = world_read(&r, ret);
    return err < 0 || ret->type != WORLD_PLANET ? -EBADMSG : 0;
}

const char *own_option(struct cli *cli, const char *name)
{
    for (int i = 0; i + 1 < cli->arg_count; i++) {
        if (strcmp(cli->args[i], name) == 0) {
            const char *value = cli->args[i + 1];
            for (int k = i; k + 2 < cli->arg_count; k++) {
                cli->args[k] = cli->args[k + 2];
            }
            cli->arg_count -= 2;
            return value;
        }
    }
    return NULL;
}

bool own_flag(struct cli *cli, const char *name)
{
    for (int i = 0; i < cli->arg_count; i++) {
        if (strcmp(cli->args[i], name) == 0) {
            cli->arg_count--;
            memmove(&cli->args[i], &cli->args[i + 1],
                    (size_t)(cli->arg_count - i) * sizeof(cli->args[0]));
            return true;
        }
    }
    return false;
}

int own_nwid(const struct cli *cli, int index, uint64_t *ret)
{
    const char *text = index < cli->arg_count ? cli->args[index] : "";
    if (network_id_parse(text, strlen(text), ret) < 0) {
        (void)fprintf(stderr, "panlan: \"%s\" is not a network ID (16 hex digits)\n", text);
        return CLI_USAGE;
    }
    return 0;
}

int own_wait_network(struct cli *cli, uint64_t nwid, int timeout_ms, json_t **ret)
{
    char path[64];
    int64_t end_ms = clock_mono_ms() + timeout_ms;
    (void)snprintf(path, sizeof(path), "/network/%016llx", (unsigned long long)nwid);
    for (;;) {
        json_t *network = NULL;
        int status = cli_get(cli, path, &network);
        if (status != 0) {
            return status;
        }
        const char *state = json_string_value(json_object_get(network, "status"));
        bool waiting = state == NULL || strcmp(state, "REQUESTING_CONFIGURATION") == 0;
        if (!waiting || clock_mono_ms() >= end_ms) {
            *ret = network;
            return 0;
        }
        json_decref(network);
        (void)nanosleep(&(struct timespec){.tv_nsec = STEP_MS * 1000000L}, NULL);
    }
}

int invite_print(struct cli *cli, uint64_t nwid, const char *token, char **ret)
{
    struct invitation *inv = calloc(1, sizeof(*inv));
    char *text = malloc(INVITATION_TEXT_MAX);
    json_t *network = NULL;
    char path[64];
    (void)snprintf(path, sizeof(path), "/controller/network/%016llx", (unsigned long long)nwid);
    int status = inv == NULL || text == NULL ? CLI_FAILED : cli_get(cli, path, &network);
    if (status == 0 && !invitation_token_fits(token)) {
        (void)fprintf(stderr, "panlan: this token cannot be part of an invitation\n");
        status = CLI_FAILED;
    }
    if (status == 0) {
        const char *name = json_string_value(json_object_get(network, "name"));
        inv->nwid = nwid;
        (void)snprintf(inv->token, sizeof(inv->token), "%s", token);
        (void)snprintf(inv->name, sizeof(inv->name), "%s", name == NULL ? "" : name);
        int err = own_planet_read(cli->home, &inv->planet);
        inv->has_planet = err == 0 && inv->planet.id != WORLD_ID_EARTH;
        if ((err < 0 && err != -ENOENT) || invitation_print(inv, text) < 0) {
            (void)fprintf(stderr, "panlan: cannot make an invitation from %s/planet\n", cli->home);
            status = CLI_FAILED;
        }
    }
    json_decref(network);
    free(inv);
    if (status != 0) {
        free(text);
        return status;
    }
    *ret = text;
    return 0;
}

int invite_make(struct cli *cli, uint64_t nwid, int uses, int64_t expires_ms, char **ret)
{
    char path[96];
    char body[96];
    struct answer answer;
    (void)snprintf(path, sizeof(path), "/controller/network/%016llx/invite-token",
                   (unsigned long long)nwid);
    (void)snprintf(body, sizeof(body), "{\"uses\":%d,\"expires\":%lld}", uses,
                   (long long)expires_ms);
    int status = cli_send(cli, "POST", path, body, &answer);
    if (status != 0) {
        return status;
    }
    json_t *object = json_loadb(answer.body, answer.len, 0, NULL);
    const char *token = json_string_value(json_object_get(object, "token"));
    if (token == NULL) {
        (void)fprintf(stderr, "panlan: the controller gave no token\n");
        status = CLI_FAILED;
    } else {
        status = invite_print(cli, nwid, token, ret);
    }
    json_decref(object);
    answer_done(&answer);
    return status;
}

int64_t own_expiry(const char *text)
{
    static const struct {
        const char *unit;
        int64_t seconds;
    } units[] = {{"", 1}, {"s", 1}, {"m", 60}, {"h", 3600}, {"d", 86400}, {"w", 604800}};
    char *end;
    if (strcmp(text, "never") == 0) {
        return 0;
    }
    long long count = strtoll(text, &end, 10);
    if (end == text || count <= 0 || count > 1000000000) {
        return -1;
    }
    for (size_t i = 0; i < COUNT_OF(units); i++) {
        if (strcmp(end, units[i].unit) == 0) {
            return clock_wall_ms() + count * units[i].seconds * 1000;
        }
    }
    return -1;
}

int invite_run(struct cli *cli)
{
    const char *uses_text = own_option(cli, "--uses");
    const char *expires_text = own_option(cli, "--expires");
    char *end = NULL;
    uint64_t nwid;
    long uses = uses_text == NULL ? 0 : strtol(uses_text, &end, 10);
    int64_t expires_ms = expires_text == NULL ? clock_wall_ms() + (int64_t)EXPIRES_DEFAULT_S * 1000
                                              : own_expiry(expires_text);
    if (cli->arg_count != 1 || uses < 0 || uses > 1000000 || (end != NULL && *end != '\0') ||
        (uses_text != NULL && uses == 0) || expires_ms < 0) {
        (void)fprintf(stderr, "Usage: panlan invite NETWORK [--uses N] "
                              "[--expires 30m|12h|7d|never]\n");
        return CLI_USAGE;
    }
    int status = own_nwid(cli, 0, &nwid);
    if (status == 0) {
        status = cli_connect(cli);
    }
    char *text = NULL;
    if (status == 0) {
        status = invite_make(cli, nwid, (int)uses, expires_ms, &text);
    }
    if (status == 0) {
        (void)printf("%s\n", text);
        free(text);
    }
    return status;
}

static int refuse_planet(uint64_t ours, uint64_t theirs, const char *home)
{
    (void)fprintf(stderr,
                  "panlan: this node (%s) belongs to planet %016llx, the invitation to %s%016llx; "
                  "use another --home for a second node\n",
                  home, (unsigned long long)ours,
                  theirs == WORLD_ID_EARTH ? "the public one, " : "", (unsigned long long)theirs);
    return CLI_FAILED;
}

/* Is the running service on the planet of the invitation? Returns 0 or an exit status. */
static int check_running(struct cli *cli, uint64_t planet_id)
{
    json_t *status_json = NULL;
    int status = cli_get(cli, "/status", &status_json);
    if (status != 0) {
        return status;
    }
    uint64_t ours = (uint64_t)json_integer_value(json_object_get(status_json, "planetWorldId"));
    json_decref(status_json);
    return ours == planet_id ? 0 : refuse_planet(ours, planet_id, cli->home);
}

/* Put the planet of the invitation into a home without one. Returns 0 or an exit status. */
static int place_planet(struct cli *cli, const struct invitation *inv, uint64_t planet_id)
{
    struct world *have = malloc(sizeof(*have));
    int err = have == NULL ? -ENOMEM : own_planet_read(cli->home, have);
    if (err == 0) {
        uint64_t ours = have->id;
        free(have);
        return ours == planet_id ? 0 : refuse_planet(ours, planet_id, cli->home);
    }
    free(have);
    struct state st;
    uint8_t data[WORLD_WIRE_MAX];
    struct wr w = wr_init(data, sizeof(data));
    err = state_open(cli->home, &st);
    if (err == 0 && inv->has_planet) {
        world_write(&w, &inv->planet);
        err = w.bad ? -EMSGSIZE : state_write(&st, "planet", data, wr_len(&w), FILE_MODE_PUBLIC);
    }
    if (err < 0) {
        (void)fprintf(stderr, "panlan: cannot use %s: %s\n", cli->home, strerror(-err));
        return CLI_FAILED;
    }
    state_close(&st);
    return 0;
}

/* Say how joining ended. Returns the exit status. */
static int report(const json_t *network, const struct invitation *inv)
{
    const char *state = json_string_value(json_object_get(network, "status"));
    unsigned long long nwid = (unsigned long long)inv->nwid;
    if (state == NULL) {
        state = "";
    }
    if (strcmp(state, "OK") == 0) {
        (void)printf("joined %016llx %s\n", nwid,
                     json_string_value(json_object_get(network, "name")));
        size_t i;
        json_t *address;
        json_array_foreach(json_object_get(network, "assignedAddresses"), i, address)
        {
            (void)printf("address %s\n", json_string_value(address));
        }
        return CLI_OK;
    }
    const char *why = json_string_value(json_object_get(network, "statusAdvice"));
    if (strcmp(state, "ACCESS_DENIED") == 0) {
        why =
            inv->token[0] == '\0'
                ? "not authorized yet: an administrator has to approve this node"
                : "refused: the invitation is used up, expired or withdrawn, or this node was shut "
                  "out; ask for a new one";
    }
    (void)fprintf(stderr, "panlan: network %016llx: %s: %s\n", nwid, state, why == NULL ? "" : why);
    return CLI_FAILED;
}

static int join_with(struct cli *cli, const struct invitation *inv)
{
    char path[64];
    char body[128];
    struct answer answer;
    json_t *network = NULL;
    (void)snprintf(path, sizeof(path), "/network/%016llx", (unsigned long long)inv->nwid);
    (void)snprintf(body, sizeof(body), inv->token[0] == '\0' ? "{}%s" : "{\"token\":\"%s\"}",
                   inv->token);
    int status = cli_send(cli, "POST", path, body, &answer);
    if (status != 0) {
        return status;
    }
    answer_done(&answer);
    status = own_wait_network(cli, inv->nwid, JOIN_TIMEOUT_MS, &network);
    if (status == 0) {
        status = report(network, inv);
        json_decref(network);
    }
    return status;
}

int invite_join(struct cli *cli, const char *text)
{
    enum invitation_fault fault;
    struct invitation *inv = calloc(1, sizeof(*inv));
    if (inv == NULL) {
        return CLI_FAILED;
    }
    if (invitation_parse(text, inv, &fault) < 0) {
        (void)fprintf(stderr, "panlan: %s\n", invitation_fault_text(fault));
        free(inv);
        return CLI_USAGE;
    }
    uint64_t planet_id = inv->has_planet ? inv->planet.id : WORLD_ID_EARTH;
    int status;
    if (spawn_is_running(cli)) {
        status = check_running(cli, planet_id);
    } else {
        status = place_planet(cli, inv, planet_id);
        if (status == 0) {
            status = spawn_service(cli);
        }
    }
    if (status == 0) {
        status = join_with(cli, inv);
    }
    free(inv);
    return status;
}
