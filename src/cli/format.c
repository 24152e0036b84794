/* Layouts of the command line. Source: spec 05 section 4.4. */
#include "cli/format.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

enum {
    PREFIX_LEN = 24, /* ip6prefix: characters of a 6PLANE address */
    RULE_LEN = 120,  /* dashes below a table header */
    VERSION_LEN = 32,
    LINK_LEN = 128,
};

static const char *text(const json_t *object, const char *key)
{
    const char *value = json_string_value(json_object_get(object, key));
    return value == NULL ? "" : value;
}

static int64_t number(const json_t *object, const char *key)
{
    return json_integer_value(json_object_get(object, key));
}

static double real(const json_t *object, const char *key)
{
    return json_number_value(json_object_get(object, key));
}

static bool is_true(const json_t *object, const char *key)
{
    return json_is_true(json_object_get(object, key));
}

/* Length of the control character at p (UTF-8), 0 if there is none. */
static size_t control_len(const unsigned char *p)
{
    if (p[0] < 0x20 || p[0] == 0x7f) {
        return 1;
    }
    return p[0] == 0xc2 && p[1] >= 0x80 && p[1] < 0xa0 ? 2 : 0;
}

static void clean_string(json_t *value)
{
    const unsigned char *from = (const unsigned char *)json_string_value(value);
    char *text = malloc(json_string_length(value) + 1);
    char *to = text;
    if (text == NULL) {
        (void)json_string_set(value, ""); /* rather nothing than anything */
        return;
    }
    while (*from != '\0') {
        size_t len = control_len(from);
        *to++ = '?';
        if (len == 0) {
            memcpy(to - 1, from, 1);
        }
        from += len > 0 ? len : 1;
    }
    *to = '\0';
    (void)json_string_set(value, text);
    free(text);
}

/* NOLINTNEXTLINE(misc-no-recursion): the parser has bounded the depth */
void format_clean(json_t *value)
{
    if (json_is_string(value)) {
        clean_string(value);
        return;
    }
    size_t i;
    json_t *item;
    json_array_foreach(value, i, item)
    {
        format_clean(item);
    }
    const char *key;
    json_object_foreach(value, key, item)
    {
        format_clean(item);
    }
}

void format_json(FILE *out, const json_t *value)
{
    (void)json_dumpf(value, out, JSON_INDENT(1) | JSON_SORT_KEYS | JSON_ENCODE_ANY);
    (void)fputc('\n', out);
}

void format_info(FILE *out, const json_t *status)
{
    const char *state = is_true(status, "tcpFallbackActive") ? "TUNNELED"
                        : is_true(status, "online")          ? "ONLINE"
                                                             : "OFFLINE";
    (void)fprintf(out, "200 info %s %s %s\n", text(status, "address"), text(status, "version"),
                  state);
}

static void format_sso(FILE *out, const json_t *network, int64_t wall_ms)
{
    const char *status = text(network, "status");
    if (!is_true(network, "ssoEnabled")) {
        return;
    }
    if (strcmp(status, "AUTHENTICATION_REQUIRED") == 0) {
        (void)fprintf(out, "    AUTH EXPIRED, URL: %s\n", text(network, "authenticationURL"));
    } else if (strcmp(status, "OK") == 0) {
        int64_t left_s = (number(network, "authenticationExpiryTime") - wall_ms) / 1000;
        if (left_s >= 0) {
            (void)fprintf(out, "    AUTH OK, expires in: %lld seconds\n", (long long)left_s);
        }
    }
}

void format_networks(FILE *out, const json_t *networks, int64_t wall_ms)
{
    size_t i;
    json_t *network;
    (void)fputs("200 listnetworks <nwid> <name> <mac> <status> <type> <dev> <ZT assigned ips>\n",
                out);
    json_array_foreach((json_t *)networks, i, network)
    {
        (void)fprintf(out, "200 listnetworks %s %s %s %s %s %s ", text(network, "nwid"),
                      text(network, "name"), text(network, "mac"), text(network, "status"),
                      text(network, "type"), text(network, "portDeviceName"));
        size_t a;
        json_t *address;
        json_t *addresses = json_object_get(network, "assignedAddresses");
        json_array_foreach(addresses, a, address)
        {
            const char *ip = json_string_value(address);
            (void)fprintf(out, "%s%s", a == 0 ? "" : ",", ip == NULL ? "" : ip);
        }
        (void)fputs(json_array_size(addresses) == 0 ? "-\n" : "\n", out);
        format_sso(out, network, wall_ms);
    }
}

void format_networks_advised(FILE *out, const json_t *networks, int64_t wall_ms)
{
    size_t i;
    json_t *network;
    format_networks(out, networks, wall_ms);
    json_array_foreach((json_t *)networks, i, network)
    {
        if (text(network, "statusAdvice")[0] != '\0') {
            (void)fprintf(out, "%s: %s\n", text(network, "nwid"), text(network, "statusAdvice"));
        }
    }
}

/* "a.b.c", or "-" when unknown. */
static void version_text(const json_t *peer, char out[VERSION_LEN])
{
    int64_t major = number(peer, "versionMajor");
    if (major < 0) {
        (void)snprintf(out, VERSION_LEN, "-");
        return;
    }
    (void)snprintf(out, VERSION_LEN, "%lld.%lld.%lld", (long long)major,
                   (long long)number(peer, "versionMinor"), (long long)number(peer, "versionRev"));
}

static const json_t *preferred_path(const json_t *peer)
{
    size_t i;
    json_t *path;
    json_array_foreach(json_object_get(peer, "paths"), i, path)
    {
        if (is_true(path, "preferred") && !is_true(path, "expired")) {
            return path;
        }
    }
    return NULL;
}

/* Milliseconds since a wall clock time, -1 for never. */
static int64_t since(const json_t *path, const char *key, int64_t wall_ms)
{
    int64_t at_ms = number(path, key);
    return at_ms <= 0 ? -1 : wall_ms < at_ms ? 0 : wall_ms - at_ms;
}

void format_listpeers(FILE *out, const json_t *peers, int64_t wall_ms)
{
    size_t i;
    json_t *peer;
    (void)fputs("200 listpeers <ztaddr> <path> <latency> <version> <role>\n", out);
    json_array_foreach((json_t *)peers, i, peer)
    {
        char version[VERSION_LEN];
        char link[LINK_LEN] = "-";
        const json_t *path = preferred_path(peer);
        if (path != NULL) {
            (void)snprintf(link, sizeof(link), "%s;%lld;%lld", text(path, "address"),
                           (long long)since(path, "lastSend", wall_ms),
                           (long long)since(path, "lastReceive", wall_ms));
        }
        version_text(peer, version);
        (void)fprintf(out, "200 listpeers %s %s %d %s %s\n", text(peer, "address"), link,
                      (int)number(peer, "latency"), version, text(peer, "role"));
    }
}

static void link_text(const json_t *peer, int64_t wall_ms, char out[LINK_LEN])
{
    const json_t *path = preferred_path(peer);
    bool tunneled = is_true(peer, "tunneled");
    if (path == NULL) {
        (void)snprintf(out, LINK_LEN, "RELAY");
        return;
    }
    (void)snprintf(out, LINK_LEN, "%s %-8d %-8d %s", tunneled ? "RELAY" : "DIRECT  ",
                   (int)since(path, "lastSend", wall_ms), (int)since(path, "lastReceive", wall_ms),
                   text(path, "address"));
}

void format_peers(FILE *out, const json_t *peers, int64_t wall_ms)
{
    size_t i;
    json_t *peer;
    bool tunneled = false;
    (void)fputs("200 peers\n<ztaddr>   <ver>  <role> <lat> <link>   <lastTX> <lastRX> <path>\n",
                out);
    json_array_foreach((json_t *)peers, i, peer)
    {
        char version[VERSION_LEN];
        char link[LINK_LEN];
        version_text(peer, version);
        link_text(peer, wall_ms, link);
        tunneled |= is_true(peer, "tunneled");
        (void)fprintf(out, "%s %-6s %-6s %5d %s\n", text(peer, "address"), version,
                      text(peer, "role"), (int)number(peer, "latency"), link);
    }
    if (tunneled) {
        (void)fputs("NOTE: Currently tunneling through a TCP relay. Ensure that UDP is not "
                    "blocked.\n",
                    out);
    }
}

void format_bonds(FILE *out, const json_t *peers)
{
    size_t i;
    json_t *peer;
    bool any = false;
    (void)fputs("    <peer>                        <bondtype>     <links>\n", out);
    json_array_foreach((json_t *)peers, i, peer)
    {
        if (is_true(peer, "isBonded")) {
            any = true;
            (void)fprintf(out, "%10s  %32s         %d/%d\n", text(peer, "address"),
                          text(peer, "bondingPolicyStr"), (int)number(peer, "numAliveLinks"),
                          (int)number(peer, "numTotalLinks"));
        }
    }
    if (!any) {
        (void)fputs("      NONE\t\t\t\tNONE\t    NONE       NONE\n", out);
    }
}

static void rule(FILE *out)
{
    for (int i = 0; i < RULE_LEN; i++) {
        (void)fputc('-', out);
    }
    (void)fputc('\n', out);
}

void format_bond(FILE *out, const json_t *peer)
{
    size_t i;
    json_t *path;
    json_t *paths = json_object_get(peer, "paths");
    (void)fprintf(out, "%-23s: %s\n", "Peer", text(peer, "address"));
    (void)fprintf(out, "%-23s: %s\n", "Bond", text(peer, "bondingPolicyStr"));
    (void)fprintf(out, "%-23s: %d\n", "Link Select Method", (int)number(peer, "linkSelectMethod"));
    (void)fprintf(out, "%-23s: %d/%d\n", "Links", (int)number(peer, "numAliveLinks"),
                  (int)number(peer, "numTotalLinks"));
    (void)fprintf(out, "%-23s: %d\n", "Failover Interval (ms)",
                  (int)number(peer, "failoverInterval"));
    (void)fprintf(out, "%-23s: %d\n", "Up Delay (ms)", (int)number(peer, "upDelay"));
    (void)fprintf(out, "%-23s: %d\n", "Down Delay (ms)", (int)number(peer, "downDelay"));
    (void)fprintf(out, "%-23s: %d\n", "Packets Per Link", (int)number(peer, "packetsPerLink"));
    (void)fprintf(out, "\nidx %26s %51s %16s %12s\n", "interface", "path", "socket", "local port");
    rule(out);
    json_array_foreach(paths, i, path)
    {
        (void)fprintf(out, "%2d: %26s %51s %.16llx %12d\n", (int)i, text(path, "ifname"),
                      text(path, "address"), (unsigned long long)number(path, "localSocket"),
                      (int)number(path, "localPort"));
    }
    (void)fprintf(out, "\nidx %8s %8s %10s %7s %11s %11s %9s %7s %7s\n", "lat", "pdv", "capacity",
                  "qual", "rx_age", "tx_age", "eligible", "bonded", "flows");
    rule(out);
    json_array_foreach(paths, i, path)
    {
        (void)fprintf(out, "%2d: %8.2f %8.2f %10d %7.4f %11d %11d %9d %7d %7d\n", (int)i,
                      real(path, "latencyMean"), real(path, "latencyVariance"),
                      (int)number(path, "givenLinkSpeed"), real(path, "relativeQuality"),
                      (int)number(path, "lastInAge"), (int)number(path, "lastOutAge"),
                      (int)number(path, "eligible"), (int)number(path, "bonded"),
                      (int)number(path, "assignedFlowCount"));
    }
}

/* The address without "/bits". */
static void print_address(FILE *out, const char *address, size_t max)
{
    size_t len = strcspn(address, "/");
    (void)fprintf(out, "%.*s\n", (int)(len < max ? len : max), address);
}

/* Returns false if the property names no selection of addresses. */
static bool format_addresses(FILE *out, const json_t *network, const char *property)
{
    static const char *const known[] = {"ip", "ip4", "ip6", "ip6plane", "ip6prefix"};
    size_t which = 0;
    while (which < COUNT_OF(known) && strcmp(known[which], property) != 0) {
        which++;
    }
    if (which == COUNT_OF(known)) {
        return false;
    }
    size_t i;
    json_t *item;
    json_array_foreach(json_object_get(network, "assignedAddresses"), i, item)
    {
        const char *address = json_string_value(item);
        if (address == NULL) {
            continue;
        }
        bool v6 = strchr(address, ':') != NULL;
        bool plane = strncmp(address, "fc", 2) == 0;
        if (which == 0 || (which == 1 && !v6) || (which == 2 && v6) || (which == 3 && plane)) {
            print_address(out, address, strlen(address));
        } else if (which == 4 && plane) {
            print_address(out, address, PREFIX_LEN);
        }
    }
    return true;
}

int format_property(FILE *out, const json_t *network, const char *property)
{
    const json_t *value = json_object_get(network, property);
    if (json_is_string(value)) {
        (void)fprintf(out, "%s\n", json_string_value(value));
    } else if (json_is_integer(value)) {
        (void)fprintf(out, "%lld\n", (long long)json_integer_value(value));
    } else if (json_is_real(value)) {
        (void)fprintf(out, "%g\n", json_real_value(value));
    } else if (json_is_boolean(value)) {
        (void)fprintf(out, "%d\n", json_is_true(value));
    } else if (!format_addresses(out, network, property)) {
        return -ENOENT;
    }
    return 0;
}
