/* The commands of zerotier-cli, which panlan has too. Source: spec 05 sections 4.3, 4.4; SV-46 to
 * SV-52. */
#include "cli/cli.h"
#include "cli/dump.h"
#include "cli/format.h"

#include "base/hex.h"
#include "os/clock.h"

#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    NWID_DIGITS = 16,
    ADDRESS_DIGITS = 10,
    PATH_LEN = 512,
    MTU_MIN = 1280, /* what the service takes */
    MTU_MAX = 10000,
};

int cli_connect(struct cli *cli)
{
    int err = client_discover(&cli->client, cli->home);
    if (err == -ENOENT) {
        (void)fprintf(stderr, "%s: missing port and zerotier-one.port not found in %s\n", cli->name,
                      cli->home);
        return CLI_USAGE;
    }
    if (err < 0) {
        (void)fprintf(stderr,
                      "%s: authtoken.secret not found or readable in %s (try again as root)\n",
                      cli->name, cli->home);
        return CLI_USAGE;
    }
    return 0;
}

static int request(struct cli *cli, const char *method, const char *path, const char *body,
                   struct answer *ret)
{
    int err = client_request(&cli->client, method, path, body, ret);
    if (err < 0) {
        (void)fprintf(stderr, "%s: %s\n", cli->name,
                      err == -ENOENT ? "libcurl is not installed" : strerror(-err));
        return CLI_FAILED;
    }
    return 0;
}

static void complain_no_connection(const struct cli *cli, const char *why)
{
    if (cli->plain) {
        (void)fprintf(stderr, "panlan: no service answers on port %u of %s: %s\n", cli->client.port,
                      cli->client.host, why);
        return;
    }
    (void)printf("Cannot contact the service: %s\n\nPlease check that it is running and that "
                 "TCP port %u can be reached on %s.\n",
                 why, cli->client.port, cli->client.host);
}

/* In words, what an answer other than 200 to a request for path means. */
static void complain_plainly(const struct cli *cli, const char *path, const struct answer *answer)
{
    static const char network[] = "/controller/network/";
    static const char member[] = "/member/";
    const char *nwid = strncmp(path, network, strlen(network)) == 0 ? path + strlen(network) : "";
    const char *node = strstr(path, member);
    json_t *body = json_loadb(answer->body, answer->len, 0, NULL);
    const char *why = json_string_value(json_object_get(body, "description"));
    static const char *const others[] = {"reason", "message"};
    for (size_t i = 0; i < COUNT_OF(others) && why == NULL; i++) {
        why = json_string_value(json_object_get(body, others[i]));
    }
    if (answer->status == 401) {
        (void)fprintf(stderr, "panlan: the service refuses the token of %s\n", cli->home);
    } else if (answer->status == 404 && node != NULL) {
        (void)fprintf(stderr, "panlan: no member %s in network %.16s\n", node + strlen(member),
                      nwid);
    } else if (answer->status == 404 && nwid[0] != '\0') {
        (void)fprintf(stderr, "panlan: no network %.16s on this machine's controller\n", nwid);
    } else {
        (void)fprintf(stderr, "panlan: %s %s: the service answers %ld%s%s\n", cli->command, path,
                      answer->status, why == NULL ? "" : ": ", why == NULL ? "" : why);
    }
    json_decref(body);
}

static void complain(const struct cli *cli, const char *path, const struct answer *answer)
{
    if (!cli->plain) {
        (void)printf("%ld %s %s\n", answer->status, cli->command, answer->body);
    } else if (answer->status == 0) {
        complain_no_connection(cli, answer->body);
    } else {
        complain_plainly(cli, path, answer);
    }
}

int cli_send(struct cli *cli, const char *method, const char *path, const char *body,
             struct answer *ret)
{
    struct answer answer;
    int status = request(cli, method, path, body, &answer);
    if (status != 0) {
        return status;
    }
    if (answer.status != 200) {
        complain(cli, path, &answer);
        answer_done(&answer);
        return CLI_FAILED;
    }
    *ret = answer;
    return 0;
}

int cli_send_json(struct cli *cli, const char *method, const char *path, json_t *body, json_t **ret)
{
    struct answer answer;
    char *text = body != NULL ? json_dumps(body, JSON_COMPACT) : NULL;
    bool failed = body != NULL && text == NULL;
    json_decref(body);
    int status = failed ? CLI_FAILED : cli_send(cli, method, path, text, &answer);
    free(text);
    if (status == 0) {
        *ret = json_loadb(answer.body, answer.len, JSON_DECODE_ANY, NULL);
        answer_done(&answer);
        if (!cli->json) {
            format_clean(*ret);
        }
    }
    return status;
}

const char *cli_text(const json_t *object, const char *key)
{
    const char *text = json_string_value(json_object_get(object, key));
    return text != NULL ? text : "";
}

int cli_get(struct cli *cli, const char *path, json_t **ret)
{
    struct answer answer;
    json_error_t error;
    int status = request(cli, "GET", path, NULL, &answer);
    if (status != 0) {
        return status;
    }
    status = CLI_FAILED;
    json_t *value = NULL;
    if (answer.status == 0) {
        complain_no_connection(cli, answer.body);
    } else if (answer.status != 200) {
        complain(cli, path, &answer);
    } else {
        value = json_loadb(answer.body, answer.len, JSON_DECODE_ANY, &error);
        if (value == NULL) {
            (void)printf("%ld %s invalid JSON: %s\n", answer.status, cli->command, error.text);
        } else {
            status = 0;
        }
    }
    answer_done(&answer);
    if (status == 0) {
        if (!cli->json) {
            format_clean(value);
        }
        *ret = value;
    }
    return status;
}

typedef void (*layout_fn)(FILE *out, const json_t *value, int64_t wall_ms);

static void layout_info(FILE *out, const json_t *value, int64_t wall_ms)
{
    (void)wall_ms;
    format_info(out, value);
}

static void layout_bonds(FILE *out, const json_t *value, int64_t wall_ms)
{
    (void)wall_ms;
    format_bonds(out, value);
}

static void layout_json(FILE *out, const json_t *value, int64_t wall_ms)
{
    (void)wall_ms;
    format_json(out, value);
}

/* GET and print, in the layout or, with -j, as JSON. */
static int show(struct cli *cli, const char *path, layout_fn layout)
{
    json_t *value = NULL;
    int status = cli_get(cli, path, &value);
    if (status != 0) {
        return status;
    }
    (cli->json ? layout_json : layout)(stdout, value, clock_wall_ms());
    json_decref(value);
    return CLI_OK;
}

static const char *arg(const struct cli *cli, int i)
{
    return i < cli->arg_count ? cli->args[i] : "";
}

static int cmd_info(struct cli *cli)
{
    return show(cli, "/status", layout_info);
}

static int cmd_networks(struct cli *cli)
{
    return show(cli, "/network", format_networks_advised);
}

/* The layout of the reference, which scripts read. */
static int cmd_listnetworks(struct cli *cli)
{
    return show(cli, "/network", format_networks);
}

static int cmd_listpeers(struct cli *cli)
{
    return show(cli, "/peer", format_listpeers);
}

static int cmd_peers(struct cli *cli)
{
    return show(cli, "/peer", format_peers);
}

static int cmd_moons(struct cli *cli)
{
    return show(cli, "/moon", layout_json);
}

static int cmd_bonds(struct cli *cli)
{
    return show(cli, "/peer", layout_bonds);
}

static bool is_nwid(const char *text)
{
    uint64_t nwid;
    return hex_to_u64(text, strlen(text), NWID_DIGITS, &nwid) == 0 && strlen(text) == NWID_DIGITS;
}

static int bad_nwid(const struct cli *cli)
{
    (void)fprintf(cli->plain ? stderr : stdout, "invalid network id\n");
    return CLI_USAGE;
}

/* Send and print "200 <command> OK", or the body with -j. */
static int change(struct cli *cli, const char *method, const char *path, const char *body,
                  const char *word, bool json)
{
    struct answer answer;
    int status = cli_send(cli, method, path, body, &answer);
    if (status != 0) {
        return status;
    }
    if (json) {
        (void)fputs(answer.body, stdout);
    } else {
        (void)printf("200 %s OK\n", word);
    }
    answer_done(&answer);
    return CLI_OK;
}

static int cmd_join(struct cli *cli)
{
    char path[PATH_LEN];
    if (!is_nwid(arg(cli, 0))) {
        return bad_nwid(cli);
    }
    (void)snprintf(path, sizeof(path), "/network/%s", arg(cli, 0));
    return change(cli, "POST", path, "{}", "join", cli->json);
}

static int cmd_leave(struct cli *cli)
{
    char path[PATH_LEN];
    if (!is_nwid(arg(cli, 0))) {
        return bad_nwid(cli);
    }
    (void)snprintf(path, sizeof(path), "/network/%s", arg(cli, 0));
    return change(cli, "DELETE", path, NULL, "leave", cli->json);
}

/* "set NETWORK mtu=N"; 0 is the network's. */
static int set_mtu(struct cli *cli, const char *path, const char *value)
{
    char body[64];
    char *end = NULL;
    long mtu = strtol(value, &end, 10);
    if (end == value || *end != '\0' || (mtu != 0 && (mtu < MTU_MIN || mtu > MTU_MAX))) {
        (void)fprintf(stderr, "%s: an MTU is 0 (the network's) or %d to %d\n", cli->name, MTU_MIN,
                      MTU_MAX);
        return CLI_USAGE;
    }
    (void)snprintf(body, sizeof(body), "{\"mtuOverride\":%ld}", mtu);
    return change(cli, "POST", path, body, "set", true);
}

static int cmd_set(struct cli *cli)
{
    static const char *const keys[] = {"allowManaged", "allowGlobal", "allowDefault", "allowDNS",
                                       "clampMSS"};
    char path[PATH_LEN];
    char body[64];
    if (!is_nwid(arg(cli, 0))) {
        (void)fprintf(stderr, "%s: invalid network id\n", cli->name);
        return CLI_USAGE;
    }
    const char *equals = strchr(arg(cli, 1), '=');
    if (equals == NULL) {
        (void)fprintf(stderr, "%s: a setting has the form name=value\n", cli->name);
        return CLI_USAGE;
    }
    size_t len = (size_t)(equals - arg(cli, 1));
    (void)snprintf(path, sizeof(path), "/network/%s", arg(cli, 0));
    if (len == strlen("mtu") && strncmp("mtu", arg(cli, 1), len) == 0) {
        return set_mtu(cli, path, equals + 1);
    }
    for (size_t i = 0; i < COUNT_OF(keys); i++) {
        if (strlen(keys[i]) != len || strncmp(keys[i], arg(cli, 1), len) != 0) {
            continue;
        }
        bool on = equals[1] == 't' || equals[1] == '1';
        (void)snprintf(body, sizeof(body), "{\"%s\":%s}", keys[i], on ? "true" : "false");
        return change(cli, "POST", path, body, "set", true);
    }
    (void)fprintf(stderr, "%s: unknown setting\n", cli->name);
    return CLI_USAGE;
}

static int cmd_get(struct cli *cli)
{
    if (!is_nwid(arg(cli, 0)) || arg(cli, 1)[0] == '\0') {
        (void)fprintf(stderr, "%s: get needs a network id and a property\n", cli->name);
        return CLI_USAGE;
    }
    json_t *networks = NULL;
    int status = cli_get(cli, "/network", &networks);
    if (status != 0) {
        return status;
    }
    size_t i;
    json_t *network;
    json_t *found = NULL;
    uint64_t wanted = strtoull(arg(cli, 0), NULL, 16);
    json_array_foreach(networks, i, network)
    {
        const char *id = json_string_value(json_object_get(network, "nwid"));
        if (id != NULL && strtoull(id, NULL, 16) == wanted) {
            found = network;
        }
    }
    status = CLI_OK;
    if (found == NULL) {
        (void)fprintf(stderr, "%s: unknown network id\n", cli->name);
        status = CLI_FAILED;
    } else if (format_property(stdout, found, arg(cli, 1)) < 0) {
        (void)printf("unknown property\n");
        status = CLI_FAILED;
    }
    json_decref(networks);
    return status;
}

static int cmd_orbit(struct cli *cli)
{
    char path[PATH_LEN];
    char body[64];
    uint64_t id;
    uint64_t seed;
    const char *world = arg(cli, 0);
    if (hex_to_u64(world, strlen(world), 16, &id) < 0 || id == 0 ||
        hex_to_u64(arg(cli, 1), strlen(arg(cli, 1)), ADDRESS_DIGITS, &seed) < 0 || seed == 0) {
        (void)fprintf(stderr,
                      "%s: orbit needs the id of a moon and the address of one of its "
                      "roots\n",
                      cli->name);
        return CLI_USAGE;
    }
    (void)snprintf(path, sizeof(path), "/moon/%0*llx", strlen(world) > ADDRESS_DIGITS ? 16 : 10,
                   (unsigned long long)id);
    (void)snprintf(body, sizeof(body), "{\"seed\":\"%010llx\"}", (unsigned long long)seed);
    return change(cli, "POST", path, body, "orbit", false);
}

static int cmd_deorbit(struct cli *cli)
{
    char path[PATH_LEN];
    uint64_t id;
    const char *world = arg(cli, 0);
    if (hex_to_u64(world, strlen(world), 16, &id) < 0) {
        (void)fprintf(stderr, "%s: deorbit needs the id of a moon\n", cli->name);
        return CLI_USAGE;
    }
    (void)snprintf(path, sizeof(path), "/moon/%0*llx", strlen(world) > ADDRESS_DIGITS ? 16 : 10,
                   (unsigned long long)id);
    return change(cli, "DELETE", path, NULL, "deorbit", cli->json);
}

static int bond_show(struct cli *cli, const char *address)
{
    char path[PATH_LEN];
    json_t *peer = NULL;
    (void)snprintf(path, sizeof(path), "/bond/show/%s", address);
    int status = cli_get(cli, path, &peer);
    if (status != 0) {
        return status;
    }
    (cli->json ? format_json : format_bond)(stdout, peer);
    json_decref(peer);
    return CLI_OK;
}

static int cmd_bond(struct cli *cli)
{
    char path[PATH_LEN];
    if (strcmp(arg(cli, 0), "list") == 0) {
        return cmd_bonds(cli);
    }
    if (strcmp(arg(cli, 0), "setmtu") == 0 && cli->arg_count >= 4) {
        (void)snprintf(path, sizeof(path), "/bond/setmtu/%s/%s/%s", arg(cli, 1), arg(cli, 2),
                       arg(cli, 3));
        return change(cli, "POST", path, "{}", "setmtu", false);
    }
    if (strlen(arg(cli, 0)) == ADDRESS_DIGITS && strcmp(arg(cli, 1), "show") == 0) {
        return bond_show(cli, arg(cli, 0));
    }
    if (strlen(arg(cli, 0)) == ADDRESS_DIGITS && strcmp(arg(cli, 1), "rotate") == 0) {
        (void)snprintf(path, sizeof(path), "/bond/rotate/%s", arg(cli, 0));
        return change(cli, "POST", path, "{}", "rotate", cli->json);
    }
    (void)printf("bond commands: list | ADDRESS show | ADDRESS rotate | setmtu MTU INTERFACE IP\n");
    return CLI_USAGE;
}

/* A raw GET. */
static int cmd_raw(struct cli *cli)
{
    struct answer answer;
    int status = cli_send(cli, "GET", cli->command, NULL, &answer);
    if (status != 0) {
        return status;
    }
    (void)printf("%s%s", answer.body, cli->plain ? "\n" : ""); /* scripts get it as it is */
    answer_done(&answer);
    return CLI_OK;
}

int commands_run(struct cli *cli)
{
    static const struct {
        const char *name;
        int (*run)(struct cli *cli);
    } table[] = {
        {"info", cmd_info},
        {"status", cmd_info},
        {"listnetworks", cmd_listnetworks},
        {"networks", cmd_networks},
        {"listpeers", cmd_listpeers},
        {"peers", cmd_peers},
        {"listmoons", cmd_moons},
        {"moons", cmd_moons},
        {"listbonds", cmd_bonds},
        {"bond", cmd_bond},
        {"join", cmd_join},
        {"leave", cmd_leave},
        {"set", cmd_set},
        {"get", cmd_get},
        {"orbit", cmd_orbit},
        {"deorbit", cmd_deorbit},
        {"dump", dump_run},
    };
    int (*run)(struct cli *) = cli->command[0] == '/' ? cmd_raw : NULL;
    for (size_t i = 0; i < COUNT_OF(table) && run == NULL; i++) {
        if (strcmp(table[i].name, cli->command) == 0) {
            run = table[i].run;
        }
    }
    if (run == NULL) {
        return -1;
    }
    int status = cli_connect(cli);
    return status != 0 ? status : run(cli);
}
