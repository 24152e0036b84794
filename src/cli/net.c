/* "panlan net" and "panlan member": networks and members of this machine's controller, through its
 * HTTP API. Source: spec 04 section 2. */
#include "cli/format.h"
#include "cli/own.h"

#include "base/hex.h"
#include "wire/identity.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    PATH_LEN = 160,
    PAGE = 1000, /* entries asked for at once */
};

static const char *word(const struct cli *cli, int i)
{
    return i < cli->arg_count ? cli->args[i] : "";
}

static int net_usage(void)
{
    (void)fprintf(stderr, "Usage: panlan net list\n"
                          "       panlan net create [--name NAME] [--subnet NET/BITS]\n"
                          "       panlan net show NETWORK\n"
                          "       panlan net set NETWORK KEY=VALUE...\n"
                          "       panlan net delete NETWORK\n");
    return CLI_USAGE;
}

static int member_usage(void)
{
    (void)fprintf(stderr,
                  "Usage: panlan member list NETWORK\n"
                  "       panlan member show|authorize|deauthorize|delete NETWORK NODE\n"
                  "       panlan member set NETWORK NODE KEY=VALUE...   (ip=A,B name=TEXT)\n");
    return CLI_USAGE;
}

/* Send a body (taken, may be NULL) and show the object that comes back, with -j or verbose as JSON,
 * else as the line in done. Returns an exit status. */
static int send_object(struct cli *cli, const char *method, const char *path, json_t *body,
                       const char *done)
{
    json_t *object = NULL;
    int status = cli_send_json(cli, method, path, body, &object);
    if (status != 0) {
        return status;
    }
    if (cli->json) {
        format_json(stdout, object);
    } else {
        const char *id = json_string_value(json_object_get(object, "id"));
        (void)printf("%s %s\n", done, id == NULL ? "" : id);
    }
    size_t i;
    json_t *warning;
    json_array_foreach(json_object_get(object, "warnings"), i, warning)
    {
        const char *line = json_string_value(warning);
        (void)fprintf(stderr, "warning: %s\n", line == NULL ? "?" : line);
    }
    json_decref(object);
    return CLI_OK;
}

static long long count_of(const json_t *object, const char *key)
{
    return (long long)json_integer_value(json_object_get(object, key));
}

/* All entries of a list that the API gives in pages. Returns 0 with a new array, or an exit status.
 */
static int get_all(struct cli *cli, const char *base, json_t **ret)
{
    char path[PATH_LEN];
    json_t *all = json_array();
    (void)snprintf(path, sizeof(path), "%s?limit=%d", base, PAGE);
    for (bool more = true; more;) {
        json_t *answer = NULL;
        int status = cli_get(cli, path, &answer);
        if (status != 0) {
            json_decref(all);
            return status;
        }
        (void)json_array_extend(all, json_object_get(answer, "data"));
        const char *next = cli_text(json_object_get(answer, "meta"), "nextCursor");
        more = next[0] != '\0';
        (void)snprintf(path, sizeof(path), "%s?limit=%d&cursor=%.16s", base, PAGE, next);
        json_decref(answer);
    }
    *ret = all;
    return 0;
}

static int net_list(struct cli *cli)
{
    json_t *data = NULL;
    int status = get_all(cli, "/unstable/controller/network", &data);
    if (status != 0) {
        return status;
    }
    size_t i;
    json_t *network;
    if (cli->json) {
        format_json(stdout, data);
    } else {
        (void)printf("%-16s  %-8s %8s %10s  %s\n", "network", "access", "members", "authorized",
                     "name");
    }
    json_array_foreach(data, i, network)
    {
        const json_t *meta = json_object_get(network, "meta");
        if (!cli->json) {
            (void)printf("%-16s  %-8s %8lld %10lld  %s\n", cli_text(network, "id"),
                         json_is_true(json_object_get(network, "private")) ? "private" : "public",
                         count_of(meta, "totalMemberCount"),
                         count_of(meta, "authorizedMemberCount"), cli_text(network, "name"));
        }
    }
    json_decref(data);
    return CLI_OK;
}

static uint32_t v4_number(const struct inetaddr *a)
{
    return (uint32_t)a->ip[0] << 24 | (uint32_t)a->ip[1] << 16 | (uint32_t)a->ip[2] << 8 | a->ip[3];
}

static void v4_text(uint32_t n, char out[INETADDR_TEXT_LEN])
{
    (void)snprintf(out, INETADDR_TEXT_LEN, "%u.%u.%u.%u", n >> 24, n >> 16 & 255, n >> 8 & 255,
                   n & 255);
}

/* Route, pool and assignment mode for an IPv4 subnet. Returns NULL if it is none. */
static json_t *subnet_body(const char *subnet, const char *name)
{
    struct inetaddr net;
    if (inetaddr_parse(subnet, strlen(subnet), &net) < 0 || net.family != INETADDR_V4 ||
        strchr(subnet, '/') == NULL || net.port < 8 || net.port > 30) {
        return NULL;
    }
    uint32_t mask = UINT32_MAX << (32 - net.port);
    uint32_t first = v4_number(&net) & mask;
    char base[INETADDR_TEXT_LEN];
    char target[INETADDR_TEXT_LEN + 8];
    char start[INETADDR_TEXT_LEN];
    char end[INETADDR_TEXT_LEN];
    v4_text(first, base);
    (void)snprintf(target, sizeof(target), "%s/%u", base, net.port);
    v4_text(first + 1, start);
    v4_text((first | ~mask) - 1, end);
    return json_pack("{s:s, s:b, s:{s:b}, s:[{s:s, s:n}], s:[{s:s, s:s}]}", "name", name, "private",
                     1, "v4AssignMode", "zt", 1, "routes", "target", target, "via",
                     "ipAssignmentPools", "ipRangeStart", start, "ipRangeEnd", end);
}

static int net_create(struct cli *cli)
{
    const char *name = own_option(cli, "--name");
    const char *subnet = own_option(cli, "--subnet");
    if (cli->arg_count != 1) {
        return net_usage();
    }
    name = name == NULL ? "" : name;
    if (subnet == NULL) {
        return send_object(cli, "POST", "/controller/network/default",
                           json_pack("{s:s}", "name", name), "created");
    }
    json_t *body = subnet_body(subnet, name);
    if (body == NULL) {
        (void)fprintf(stderr, "panlan: --subnet wants an IPv4 network such as 10.20.0.0/16\n");
        return CLI_USAGE;
    }
    return send_object(cli, "POST", "/controller/network", body, "created");
}

/* "key=value" words from index on as an object; values that are JSON are taken as such. Returns
 * NULL if a word is not of that form. */
static json_t *pairs_body(const struct cli *cli, int index)
{
    json_t *body = json_object();
    for (int i = index; i < cli->arg_count; i++) {
        const char *equals = strchr(cli->args[i], '=');
        char key[64];
        if (equals == NULL || equals == cli->args[i] ||
            (size_t)(equals - cli->args[i]) >= sizeof(key)) {
            json_decref(body);
            return NULL;
        }
        (void)snprintf(key, sizeof(key), "%.*s", (int)(equals - cli->args[i]), cli->args[i]);
        json_t *value = json_loads(equals + 1, JSON_DECODE_ANY, NULL);
        (void)json_object_set_new(body, key, value == NULL ? json_string(equals + 1) : value);
    }
    return body;
}

/* Run "net show|set|delete NETWORK". */
static int net_one(struct cli *cli, const char *verb)
{
    char path[PATH_LEN];
    uint64_t nwid;
    int status = own_nwid(cli, 1, &nwid);
    if (status != 0) {
        return status;
    }
    (void)snprintf(path, sizeof(path), "/controller/network/%016llx", (unsigned long long)nwid);
    if (strcmp(verb, "show") == 0) {
        json_t *network = NULL;
        status = cli_get(cli, path, &network);
        if (status == 0) {
            format_json(stdout, network);
            json_decref(network);
        }
        return status;
    }
    if (strcmp(verb, "delete") == 0) {
        return send_object(cli, "DELETE", path, NULL, "deleted");
    }
    json_t *body = pairs_body(cli, 2);
    if (strcmp(verb, "set") != 0 || body == NULL || cli->arg_count < 3) {
        json_decref(body);
        return net_usage();
    }
    return send_object(cli, "POST", path, body, "changed");
}

int net_run(struct cli *cli)
{
    int status = cli_connect(cli);
    if (status != 0) {
        return status;
    }
    const char *verb = word(cli, 0);
    if (strcmp(verb, "list") == 0) {
        return net_list(cli);
    }
    if (strcmp(verb, "create") == 0) {
        return net_create(cli);
    }
    return cli->arg_count < 2 ? net_usage() : net_one(cli, verb);
}

static void print_member(const json_t *member)
{
    char ips[512] = "";
    size_t used = 0;
    size_t i;
    json_t *ip;
    json_array_foreach(json_object_get(member, "ipAssignments"), i, ip)
    {
        const char *text = json_string_value(ip);
        if (text != NULL && used + strlen(text) + 2 < sizeof(ips)) {
            used +=
                (size_t)snprintf(ips + used, sizeof(ips) - used, "%s%s", i == 0 ? "" : ",", text);
        }
    }
    (void)printf("%-10s  %-12s  %-24s  %s\n", cli_text(member, "id"),
                 json_is_true(json_object_get(member, "authorized")) ? "authorized" : "waiting",
                 used == 0 ? "-" : ips, cli_text(member, "name"));
}

static int member_list(struct cli *cli, uint64_t nwid)
{
    char path[PATH_LEN];
    json_t *data = NULL;
    (void)snprintf(path, sizeof(path), "/unstable/controller/network/%016llx/member",
                   (unsigned long long)nwid);
    int status = get_all(cli, path, &data);
    if (status != 0) {
        return status;
    }
    size_t i;
    json_t *member;
    if (cli->json) {
        format_json(stdout, data);
    } else {
        (void)printf("%-10s  %-12s  %-24s  %s\n", "node", "state", "addresses", "name");
        json_array_foreach(data, i, member)
        {
            print_member(member);
        }
    }
    json_decref(data);
    return CLI_OK;
}

/* "ip=A,B" becomes the list the API wants. */
static int expand_ip(json_t *body)
{
    const json_t *value = json_object_get(body, "ip");
    const char *rest = json_string_value(value);
    if (rest == NULL) {
        return value == NULL ? 0 : -EINVAL;
    }
    json_t *list = json_array();
    while (*rest != '\0') {
        struct inetaddr parsed;
        size_t len = strcspn(rest, ",");
        if (inetaddr_parse(rest, len, &parsed) < 0 || parsed.family == INETADDR_NIL) {
            json_decref(list);
            return -EINVAL;
        }
        (void)json_array_append_new(list, json_stringn(rest, len));
        rest += len + (rest[len] == ',');
    }
    (void)json_object_del(body, "ip");
    (void)json_object_set_new(body, "ipAssignments", list);
    return 0;
}

/* Body of a member change, or NULL with a complaint. */
static json_t *member_body(const struct cli *cli, const char *verb)
{
    if (strcmp(verb, "authorize") == 0 || strcmp(verb, "deauthorize") == 0) {
        return json_pack("{s:b}", "authorized", verb[0] == 'a');
    }
    json_t *body = strcmp(verb, "set") == 0 && cli->arg_count > 3 ? pairs_body(cli, 3) : NULL;
    if (body == NULL || expand_ip(body) < 0) {
        json_decref(body);
        (void)member_usage();
        return NULL;
    }
    return body;
}

int member_run(struct cli *cli)
{
    char path[PATH_LEN];
    uint64_t nwid;
    uint64_t address;
    const char *verb = word(cli, 0);
    const char *node = word(cli, 2);
    if (cli->arg_count < 2) {
        return member_usage();
    }
    int status = own_nwid(cli, 1, &nwid);
    status = status != 0 ? status : cli_connect(cli);
    if (status != 0) {
        return status;
    }
    if (strcmp(verb, "list") == 0) {
        return member_list(cli, nwid);
    }
    if (address_parse(node, strlen(node), &address) < 0) {
        (void)fprintf(stderr, "panlan: \"%s\" is not a node address (10 hex digits)\n", node);
        return CLI_USAGE;
    }
    (void)snprintf(path, sizeof(path), "/controller/network/%016llx/member/%010llx",
                   (unsigned long long)nwid, (unsigned long long)address);
    if (strcmp(verb, "show") == 0) {
        json_t *member = NULL;
        status = cli_get(cli, path, &member);
        if (status == 0) {
            format_json(stdout, member);
            json_decref(member);
        }
        return status;
    }
    if (strcmp(verb, "delete") == 0) {
        return send_object(cli, "DELETE", path, NULL, "deleted");
    }
    json_t *body = member_body(cli, verb);
    return body == NULL ? CLI_USAGE : send_object(cli, "POST", path, body, "changed");
}
