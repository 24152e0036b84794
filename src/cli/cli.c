/* Options of zerotier-cli and zerotier-one, as scripts use them. Source: spec 05 sections 2.1, 4.1,
 * 4.2; SV-40 to SV-42. */
#include "cli/cli.h"

#include "daemon/service.h"
#include "os/home.h"
#include "os/tap.h"
#include "os/udp.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define PANLAN_HOME "/var/lib/panlan"

int cli_choose_home(bool panlan, const char *argument, char *out, size_t cap)
{
    char home[HOME_PATH_MAX];
    const char *chosen = argument;
    if (panlan && (argument == NULL || argument[0] == '\0')) {
        chosen = PANLAN_HOME;
    }
    int err = home_choose(chosen, panlan ? NULL : getenv("ZEROTIER_HOME"), home);
    if (err < 0 || strlen(home) >= cap) {
        return -ENAMETOOLONG;
    }
    (void)snprintf(out, cap, "%s", home);
    return 0;
}

static void cli_help(FILE *out, const char *name)
{
    (void)fprintf(
        out,
        "Panlan %s, client of the local service\n"
        "Usage: %s [-switches] <command/path> [<args>]\n\n"
        "Available switches:\n"
        "  -h                      - Display this help\n"
        "  -v                      - Show version\n"
        "  -j                      - Display full raw JSON output\n"
        "  -D<path>                - Home path of the service, for port and token\n"
        "  -p<port>                - HTTP port (default: read from the home path)\n"
        "  -T<token>               - Authentication token (default: read from the home path)\n"
        "  -H<ip>                  - Address of the service (default: 127.0.0.1)\n\n"
        "Available commands:\n"
        "  info                    - Display status info\n"
        "  listpeers               - List all peers\n"
        "  peers                   - List all peers (prettier)\n"
        "  listnetworks            - List all networks\n"
        "  join <network ID>       - Join a network\n"
        "  leave <network ID>      - Leave a network\n"
        "  set <network ID> <setting>=<value> - Set a network setting\n"
        "  get <network ID> <setting> - Get a network setting\n"
        "  listmoons               - List moons (federated root sets)\n"
        "  orbit <world ID> <seed> - Join a moon via any member root\n"
        "  deorbit <world ID>      - Leave a moon\n"
        "  dump                    - Debug settings dump for support\n"
        "  bond list | <peer> show | <peer> rotate | setmtu <mtu> <iface> <ip>\n\n"
        "Settings to use with set: allowManaged allowGlobal allowDefault allowDNS\n"
        "clampMSS (0 or 1), mtu (a number, 0: the network's)\n",
        PANLAN_VERSION, name);
}

static void daemon_help(FILE *out, const char *name)
{
    (void)fprintf(
        out,
        "Panlan %s\n"
        "Usage: %s [-switches] [home directory]\n\n"
        "Available switches:\n"
        "  -h                - Display this help\n"
        "  -v                - Show version\n"
        "  -U                - Skip privilege check and do not attempt to drop privileges\n"
        "  -p<port>          - Port for UDP and TCP/HTTP (default: 9993, 0 for random)\n"
        "  -d                - Fork and run as daemon\n"
        "  -i                - Generate and manage identities (zerotier-idtool)\n"
        "  -q                - Query API (zerotier-cli)\n",
        PANLAN_VERSION, name);
}

/* The value of a one-letter switch: attached, or the next word for -p. NULL without one. */
static const char *switch_value(int argc, char **argv, int *i)
{
    const char *attached = argv[*i] + 2;
    if (attached[0] != '\0') {
        return attached;
    }
    return *i + 1 < argc ? argv[++*i] : "";
}

static bool parse_port(const char *text, unsigned long min, unsigned *ret)
{
    char *end;
    unsigned long port = strtoul(text, &end, 10);
    if (text[0] == '\0' || *end != '\0' || port < min || port > 65535) {
        return false;
    }
    *ret = (unsigned)port;
    return true;
}

/* One switch of zerotier-cli. Returns -1 to go on, or an exit status. */
static int cli_switch(struct cli *cli, const char **home, int argc, char **argv, int *i)
{
    const char *a = argv[*i];
    switch (a[1]) {
    case 'q':
        return -1;
    case 'j':
        if (a[2] != '\0') {
            cli_help(stdout, cli->name);
            return CLI_FAILED;
        }
        cli->json = true;
        return -1;
    case 'p':
        if (!parse_port(switch_value(argc, argv, i), 1, &cli->client.port)) {
            cli_help(stdout, cli->name);
            return CLI_FAILED;
        }
        return -1;
    case 'D':
        *home = switch_value(argc, argv, i);
        return -1;
    case 'H':
        cli->client.host = switch_value(argc, argv, i);
        return -1;
    case 'T':
        (void)snprintf(cli->client.token, sizeof(cli->client.token), "%s",
                       switch_value(argc, argv, i));
        return -1;
    case 'v':
        if (a[2] == '\0') {
            (void)printf("%s\n", PANLAN_VERSION);
            return CLI_OK;
        }
        break;
    default:
        break;
    }
    cli_help(stdout, cli->name);
    return CLI_OK;
}

int cli_main(int argc, char **argv)
{
    struct cli cli = {.name = argv[0], .client = {.host = "127.0.0.1"}};
    const char *home = NULL;
    for (int i = 1; i < argc; i++) {
        if (argv[i][0] == '-') {
            int status = cli_switch(&cli, &home, argc, argv, &i);
            if (status >= 0) {
                return status;
            }
        } else if (cli.command == NULL) {
            cli.command = argv[i];
        } else if ((size_t)cli.arg_count < COUNT_OF(cli.args)) {
            cli.args[cli.arg_count++] = argv[i];
        }
    }
    if (cli.command == NULL) {
        cli_help(stderr, cli.name);
        return CLI_USAGE;
    }
    if (cli_choose_home(false, home, cli.home, sizeof(cli.home)) < 0) {
        (void)fprintf(stderr, "%s: home path too long\n", cli.name);
        return CLI_USAGE;
    }
    int status = commands_run(&cli);
    if (status < 0) {
        cli_help(stderr, cli.name);
        status = CLI_USAGE;
    }
    client_close(&cli.client);
    return status;
}

/* Fork once and go on in the child; the parent ends. */
static bool fork_away(void)
{
    pid_t pid = fork();
    if (pid > 0) {
        exit(0);
    }
    return pid == 0;
}

int daemon_main(int argc, char **argv)
{
    struct service_options options = {.primary_port = -1,
                                      .require_root = true,
                                      .user = "zerotier-one",
                                      .ready_fd = -1,
                                      .udp_offloads = UDP_OFFLOAD_ALL,
                                      .tap_offloads = TAP_OFFLOAD_ALL};
    char home[HOME_PATH_MAX];
    const char *argument = NULL;
    for (int i = 1; i < argc; i++) {
        const char *a = argv[i];
        unsigned port;
        if (a[0] != '-') {
            if (argument != NULL) {
                daemon_help(stdout, argv[0]);
                return 0;
            }
            argument = a;
        } else if (strcmp(a, "-U") == 0) {
            options.require_root = false;
            options.user = NULL;
        } else if (a[1] == 'p') {
            if (!parse_port(switch_value(argc, argv, &i), 0, &port)) {
                daemon_help(stdout, argv[0]);
                return 1;
            }
            options.primary_port = (int)port;
        } else if (strcmp(a, "-v") == 0) {
            (void)printf("%s\n", PANLAN_VERSION);
            return 0;
        } else if (strcmp(a, "-d") != 0) {
            daemon_help(stdout, argv[0]);
            return 0;
        } else if (!fork_away()) {
            (void)fprintf(stderr, "%s: cannot fork: %s\n", argv[0], strerror(errno));
            return 1;
        }
    }
    if (cli_choose_home(false, argument, home, sizeof(home)) < 0) {
        (void)fprintf(stderr, "%s: home path too long\n", argv[0]);
        return 1;
    }
    options.home = home;
    return service_run(&options);
}
