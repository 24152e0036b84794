/* The command "panlan": the same service and commands under plain names. Source: README.md,
 * doc/man/panlan.1. */
#include "cli/cli.h"
#include "cli/diagnose.h"
#include "cli/migrate.h"
#include "cli/own.h"
#include "cli/spawn.h"

#include "daemon/invitation.h"
#include "daemon/service.h"
#include "datapath/published.h"
#include "os/tap.h"
#include "os/udp.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int help(FILE *out)
{
    (void)fprintf(
        out,
        "Panlan %s: one LAN for the planet\n"
        "Usage: panlan [--home DIR] [--json] COMMAND [ARGS]\n\n"
        "  up [--root IP/PORT] [--name NAME] own planet, controller and network on this machine\n"
        "  down                              stop the service in the background\n"
        "  service [--port N]                run the service in the foreground\n"
        "  status                            this node: address, version, state\n"
        "  join INVITATION | NETWORK         join a network, starting the service if need be\n"
        "  leave NETWORK                     leave a network\n"
        "  networks, peers, moons            what this node knows\n"
        "  peers -v, peers --watch [SECONDS] why peers are relayed to; a live table\n"
        "  diagnose [--redact]               what is in the way, on one page\n"
        "  datapath                          how frames are carried here, what was lost\n"
        "  capture NETWORK [-w FILE] [FILTER] frames with verdicts, as text or for Wireshark\n"
        "  get NETWORK NAME                  one property of a network\n"
        "  set NETWORK NAME=VALUE            allowManaged allowGlobal allowDefault allowDNS\n"
        "                                    clampMSS (0 or 1), mtu (0: the network's)\n"
        "  invite NETWORK [--uses N] [--expires 30m|12h|7d|never]\n"
        "  net list|create|show|set|delete   networks of this machine's controller\n"
        "  member list|show|authorize|deauthorize|delete|set NETWORK [NODE]\n"
        "  controller import SOURCE          move a ZeroTier controller to this machine\n"
        "  controller export DIR             and back (panlan controller --help)\n"
        "  controller token|user ...         tokens and people of the controller's APIs\n"
        "  controller log|history|hook ...   what was changed by whom; webhooks\n"
        "  root show|id|add|endpoints|retire|rotate-key|export|install|moon\n"
        "                                    roots of planet and moons (panlan root --help)\n"
        "  orbit MOON SEED | FILE            add a moon, by one of its roots or its file\n"
        "  deorbit MOON                      remove a moon\n"
        "  rules check|compile|format|decompile FILE  the rule language, offline\n"
        "  identity COMMAND                  identities and worlds, offline\n"
        "  dump                              collect facts for support\n"
        "  /PATH                             raw GET from the local API\n\n"
        "The home directory is /var/lib/panlan unless --home names another.\n",
        PANLAN_VERSION);
    return out == stdout ? CLI_OK : CLI_USAGE;
}

/* Value of "--name VALUE" or "--name=VALUE"; NULL if argv[*i] is another word. */
static const char *option(int argc, char **argv, int *i, const char *name)
{
    size_t len = strlen(name);
    /* NOLINTNEXTLINE(clang-analyzer-core.NonNullParamChecker): words up to argc are there */
    if (strncmp(argv[*i], name, len) != 0) {
        return NULL;
    }
    if (argv[*i][len] == '=') {
        return argv[*i] + len + 1;
    }
    if (argv[*i][len] == '\0' && *i + 1 < argc) {
        return argv[++*i];
    }
    return NULL;
}

static bool parse_number(const char *text, long max, int *ret)
{
    char *end;
    long value = strtol(text, &end, 10);
    if (text[0] == '\0' || *end != '\0' || value < 0 || value > max) {
        return false;
    }
    *ret = (int)value;
    return true;
}

/* Take away what a --no-... switch names. Returns false if it names nothing. */
static bool switch_off(struct service_options *options, const char *arg)
{
    static const struct {
        const char *name;
        unsigned udp;
        unsigned tap;
    } switches[] = {
        {"--no-offload", UDP_OFFLOAD_ALL, TAP_OFFLOAD_ALL},
        {"--no-gso", UDP_OFFLOAD_GSO, 0},
        {"--no-gro", UDP_OFFLOAD_GRO, 0},
        {"--no-mmsg", UDP_OFFLOAD_BATCH, 0},
        {"--no-tso", 0, TAP_OFFLOAD_TSO4 | TAP_OFFLOAD_TSO6 | TAP_OFFLOAD_ECN | TAP_OFFLOAD_USO},
        {"--no-uso", 0, TAP_OFFLOAD_USO},
        {"--no-csum", 0, TAP_OFFLOAD_ALL & ~(unsigned)TAP_OFFLOAD_VNET},
        {"--no-vnet", 0, TAP_OFFLOAD_ALL},
    };
    for (size_t i = 0; i < COUNT_OF(switches); i++) {
        if (strcmp(arg, switches[i].name) == 0) {
            options->udp_offloads &= ~switches[i].udp;
            options->tap_offloads &= ~switches[i].tap;
            return true;
        }
    }
    return false;
}

/* panlan service [--port N] [--ready-fd N] [--workers N] [-U]
 * [--no-offload|gso|gro|mmsg|tso|uso|csum|vnet] */
static int cmd_service(struct cli *cli)
{
    struct service_options options = {.home = cli->home,
                                      .primary_port = -1,
                                      .ready_fd = -1,
                                      .udp_offloads = UDP_OFFLOAD_ALL,
                                      .tap_offloads = TAP_OFFLOAD_ALL};
    int workers = 0;
    if (cli->client.port != 0) {
        options.primary_port = (int)cli->client.port;
    }
    for (int i = 0; i < cli->arg_count; i++) {
        const char *next = i + 1 < cli->arg_count ? cli->args[i + 1] : "";
        if (strcmp(cli->args[i], "--ready-fd") == 0 &&
            parse_number(next, 1 << 20, &options.ready_fd)) {
            i++;
        } else if (strcmp(cli->args[i], "--workers") == 0 &&
                   parse_number(next, DP_WORKERS_MAX, &workers)) {
            i++;
        } else if (strcmp(cli->args[i], "-U") != 0 && !switch_off(&options, cli->args[i])) {
            (void)fprintf(stderr, "panlan service: what is %s?\n", cli->args[i]);
            return CLI_USAGE;
        }
    }
    options.workers = (unsigned)workers;
    return service_run(&options);
}

/* panlan join INVITATION | NETWORK */
static int cmd_join(struct cli *cli)
{
    if (cli->arg_count >= 1 && invitation_looks_like(cli->args[0])) {
        return invite_join(cli, cli->args[0]);
    }
    uint64_t nwid;
    int status = own_nwid(cli, 0, &nwid);
    status = status != 0 ? status : spawn_service(cli);
    return status != 0 ? status : commands_run(cli);
}

/* panlan orbit MOON SEED | FILE */
static int cmd_orbit(struct cli *cli)
{
    int status = cli->arg_count == 1 ? cli_connect(cli) : 0;
    if (status != 0) {
        return status;
    }
    return cli->arg_count == 1 ? root_install_file(cli, cli->args[0]) : commands_run(cli);
}

static int cmd_identity(struct cli *cli)
{
    return idtool_run(cli->arg_count, cli->args);
}

/* Global options may stand anywhere. Returns -1 to go on, or an exit status. */
static int parse_words(struct cli *cli, int argc, char **argv, const char **home)
{
    for (int i = 1; i < argc; i++) {
        const char *value;
        int port;
        if ((value = option(argc, argv, &i, "--home")) != NULL) {
            *home = value;
        } else if ((value = option(argc, argv, &i, "--token")) != NULL) {
            (void)snprintf(cli->client.token, sizeof(cli->client.token), "%s", value);
        } else if ((value = option(argc, argv, &i, "--port")) != NULL) {
            if (!parse_number(value, 65535, &port)) {
                (void)fprintf(stderr, "panlan: --port wants a number up to 65535, not \"%s\"\n",
                              value);
                return CLI_USAGE;
            }
            cli->client.port = (unsigned)port;
            /* NOLINTNEXTLINE(clang-analyzer-core.NonNullParamChecker): as above */
        } else if (strcmp(argv[i], "--json") == 0 || strcmp(argv[i], "-j") == 0) {
            cli->json = true;
        } else if ((strcmp(argv[i], "-v") == 0 && cli->command == NULL) ||
                   strcmp(argv[i], "--version") == 0) {
            (void)printf("%s\n", PANLAN_VERSION);
            return CLI_OK;
        } else if (strcmp(argv[i], "-h") == 0 || strcmp(argv[i], "--help") == 0) {
            if (cli->command == NULL ||
                (strcmp(cli->command, "root") != 0 && strcmp(cli->command, "controller") != 0)) {
                return help(stdout);
            }
            cli->help = true;
        } else if (cli->command == NULL) {
            cli->command = argv[i];
        } else if ((size_t)cli->arg_count < COUNT_OF(cli->args)) {
            cli->args[cli->arg_count++] = argv[i];
        } else {
            return help(stderr);
        }
    }
    return cli->command == NULL ? help(stderr) : -1;
}

int panlan_main(int argc, char **argv)
{
    static const struct {
        const char *name;
        int (*run)(struct cli *cli);
    } table[] = {{"service", cmd_service},
                 {"identity", cmd_identity},
                 {"up", up_run},
                 {"down", spawn_stop},
                 {"invite", invite_run},
                 {"join", cmd_join},
                 {"net", net_run},
                 {"member", member_run},
                 {"datapath", datapath_run},
                 {"peers", peers_run},
                 {"diagnose", diagnose_run},
                 {"capture", capture_run},
                 {"controller", controller_run},
                 {"root", root_run},
                 {"orbit", cmd_orbit},
                 {"rules", rules_run}};
    struct cli cli = {.name = "panlan", .plain = true, .client = {.host = "127.0.0.1"}};
    const char *home = NULL;
    int status = parse_words(&cli, argc, argv, &home);
    if (status >= 0) {
        return status;
    }
    if (cli_choose_home(true, home, cli.home, sizeof(cli.home)) < 0) {
        (void)fprintf(stderr, "panlan: home path too long\n");
        return CLI_USAGE;
    }
    for (size_t i = 0; i < COUNT_OF(table); i++) {
        if (strcmp(table[i].name, cli.command) == 0) {
            status = table[i].run(&cli);
            client_close(&cli.client);
            return status;
        }
    }
    status = commands_run(&cli);
    if (status < 0) {
        (void)fprintf(stderr, "panlan: unknown command %s\n\n", cli.command);
        status = help(stderr);
    }
    client_close(&cli.client);
    return status;
}
