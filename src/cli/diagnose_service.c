/* Diagnosis of the service, of its ports, and of what it says of its way to others.
 * Source: spec 05 section 12. */
#include "cli/diagnose.h"

#include "cli/advice.h"
#include "os/udp.h"

#include <string.h>

enum {
    BUFFER_SMALL = 1 << 20, /* bytes: less is worth a word */
};

/* "3 d 4 h", "12 min", "5 s" */
static void span_text(int64_t ms, char *out, size_t cap)
{
    long long s = ms < 0 ? 0 : (long long)(ms / 1000);
    if (s >= 86400) {
        (void)snprintf(out, cap, "%lld d %lld h", s / 86400, s % 86400 / 3600);
    } else if (s >= 3600) {
        (void)snprintf(out, cap, "%lld h %lld min", s / 3600, s % 3600 / 60);
    } else if (s >= 60) {
        (void)snprintf(out, cap, "%lld min", s / 60);
    } else {
        (void)snprintf(out, cap, "%lld s", s);
    }
}

/* ---- the service ---- */

static void check_running(struct diagnosis *d)
{
    const json_t *s = d->status != NULL ? d->status : d->health;
    const char *version = diagnose_text(s, "version");
    char up[64];
    if (s == NULL) {
        return; /* said already */
    }
    span_text(diagnose_number(s, "uptime"), up, sizeof(up));
    if (d->answers) {
        find(&d->findings, RESULT_OK, "service", NULL,
             "version %s, node %s, up %s, process %ld, API port %u, home %s", version,
             diagnose_text(s, "address"), up, d->pid, d->cli->client.port, d->cli->home);
    }
    if (strcmp(version, PANLAN_VERSION) != 0) {
        find(&d->findings, RESULT_WARN, "service", "restart the service after an update",
             "the service has version %s, this command %s", version, PANLAN_VERSION);
    }
}

static void check_online(struct diagnosis *d)
{
    const json_t *s = d->status != NULL ? d->status : d->health;
    if (s == NULL) {
        return;
    }
    if (diagnose_is_true(s, "online")) {
        find(&d->findings, RESULT_OK, "online", NULL, "a root answers, or this node is one");
    } else {
        find(&d->findings, RESULT_FAIL, "online",
             "see the lines root, port, interface and firewall below",
             "OFFLINE: no root answers, nothing can be reached");
    }
}

/* ---- ports ---- */

static void check_sockets(struct diagnosis *d)
{
    struct findings *f = &d->findings;
    json_t *sockets = json_object_get(d->datapath, "sockets");
    size_t i;
    json_t *s;
    bool primary = false;
    bool small = false;
    json_array_foreach(sockets, i, s)
    {
        char end[16];
        const char *address = diagnose_text(s, "address");
        (void)snprintf(end, sizeof(end), "/%u", d->port);
        const char *at = strrchr(address, '/');
        primary |= at != NULL && strcmp(at, end) == 0;
        int64_t rx = diagnose_number(s, "receiveBuffer");
        int64_t tx = diagnose_number(s, "sendBuffer");
        small |= rx < BUFFER_SMALL || tx < BUFFER_SMALL;
        find(f, diagnose_number(s, "kernelDrops") > 0 ? RESULT_WARN : RESULT_OK, "port",
             diagnose_number(s, "kernelDrops") > 0
                 ? "bursts are lost: raise the buffers, see doc/operations.md "
                   "\"When it is slow\""
                 : NULL,
             "UDP %s on %s, buffers %lld and %lld KiB, %lld dropped by the system", address,
             diagnose_text(s, "device")[0] != '\0' ? diagnose_text(s, "device") : "no interface",
             (long long)rx / 1024, (long long)tx / 1024,
             (long long)diagnose_number(s, "kernelDrops"));
    }
    if (small) {
        find(f, RESULT_WARN, "port",
             "sysctl net.core.rmem_max=8388608 net.core.wmem_max=8388608, or start with "
             "CAP_NET_ADMIN",
             "the system granted small socket buffers");
    }
    if (json_array_size(sockets) == 0 &&
        !diagnose_is_true(json_object_get(d->status, "tcpRelay"), "forced")) {
        find(f, RESULT_FAIL, "port", "see the interface lines, and \"bind\" in local.conf",
             "no UDP socket is open");
    } else if (!primary && json_array_size(sockets) > 0) {
        find(f, RESULT_WARN, "port", "another program may have it: ss -ulpn",
             "UDP port %u is bound on no address", d->port);
    }
}

static void check_ports(struct diagnosis *d)
{
    if (d->datapath != NULL) {
        check_sockets(d);
    } else if (d->health == NULL && !udp_port_is_free((uint16_t)d->port, true)) {
        find(&d->findings, RESULT_FAIL, "port",
             "find out who with ss -ulpn and ss -tlpn; give one of the two another port (--port, "
             "primaryPort)",
             "port %u (UDP or TCP) is in use by another program", d->port);
    } else if (d->health == NULL) {
        find(&d->findings, RESULT_OK, "port", NULL, "port %u is free for the service", d->port);
    }
}

void diagnose_service(struct diagnosis *d)
{
    check_running(d);
    check_online(d);
    check_ports(d);
}

/* ---- the way to others ---- */

/* Where a root was heard, or could be: its endpoints with their round trips. */
static void check_root(struct diagnosis *d, const json_t *root)
{
    struct words heard = {{0}, 0, 0};
    struct words silent = {{0}, 0, 0};
    size_t i;
    json_t *e;
    json_array_foreach(json_object_get(root, "endpoints"), i, e)
    {
        if (diagnose_number(e, "lastReceive") > 0) {
            words_add(&heard, "%s (%lld ms)", diagnose_text(e, "address"),
                      (long long)diagnose_number(e, "latency"));
        } else {
            words_add(&silent, "%s", diagnose_text(e, "address"));
        }
    }
    if (diagnose_is_true(root, "self")) {
        find(&d->findings, RESULT_INFO, "root", NULL, "%s is this node",
             diagnose_text(root, "address"));
    } else if (diagnose_is_true(root, "online")) {
        find(&d->findings, RESULT_OK, "root", NULL, "%s%s answers at %s%s%s",
             diagnose_text(root, "address"),
             diagnose_is_true(root, "relay") ? " (relays for us)" : "",
             heard.len > 0 ? words_end(&heard) : "another address",
             silent.len > 0 ? "; not at " : "", silent.len > 0 ? words_end(&silent) : "");
    } else {
        bool any = diagnose_is_true(d->status, "online");
        find(&d->findings, any ? RESULT_WARN : RESULT_FAIL, "root",
             any ? "is it down? other roots do its work"
                 : "is it up, and can this machine reach its address? does a firewall drop "
                   "outgoing UDP "
                   "or the answers?",
             "%s does not answer at %s", diagnose_text(root, "address"),
             silent.len > 0 ? words_end(&silent) : "any address (it has none)");
    }
}

static void check_roots(struct diagnosis *d)
{
    const json_t *roots = json_object_get(d->status, "roots");
    size_t i;
    json_t *root;
    if (d->answers && json_array_size(roots) == 0) {
        find(&d->findings, RESULT_FAIL, "root",
             "put a planet file into the home, join with an invitation, or remove noDefaultPlanet",
             "there is no planet: this node knows no root");
    }
    json_array_foreach((json_t *)roots, i, root)
    {
        check_root(d, root);
    }
}

static void check_nat(struct diagnosis *d)
{
    static const char *const families[][2] = {{"ipv4", "IPv4"}, {"ipv6", "IPv6"}};
    const json_t *nat = json_object_get(d->status, "nat");
    struct words surface = {{0}, 0, 0};
    size_t i;
    json_t *a;
    for (size_t k = 0; k < COUNT_OF(families) && nat != NULL; k++) {
        const char *kind = diagnose_text(nat, families[k][0]);
        bool symmetric = strstr(kind, "symmetric") != NULL;
        find(&d->findings, symmetric ? RESULT_WARN : RESULT_INFO, "nat",
             symmetric ? "forward UDP port 9993 in the router, switch on port mapping there "
                         "(NAT-PMP, PCP, UPnP), "
                         "or use IPv6"
                       : NULL,
             "%s: %s (%s)", families[k][1], kind, advice_nat(kind));
    }
    json_array_foreach(json_object_get(d->status, "surfaceAddresses"), i, a)
    {
        words_add(&surface, "%s", json_string_value(a) == NULL ? "" : json_string_value(a));
    }
    if (d->answers) {
        find(&d->findings, RESULT_INFO, "nat", NULL, "others see us at %s",
             surface.len > 0 ? words_end(&surface) : "no address yet");
    }
}

static void check_mapping(struct diagnosis *d)
{
    const json_t *map = json_object_get(d->status, "portMapping");
    const char *state = diagnose_text(map, "state");
    const char *gateway = diagnose_text(map, "gateway");
    struct findings *f = &d->findings;
    if (map == NULL) {
        return;
    }
    if (strcmp(state, "mapped") == 0) {
        bool nested = diagnose_is_true(map, "behindAnotherNat");
        find(f, nested ? RESULT_WARN : RESULT_OK, "mapping",
             nested ? "map the port in the outer router too, or put the inner one into bridge mode"
                    : NULL,
             "gateway %s forwards %s to us by %s%s", gateway, diagnose_text(map, "external"),
             diagnose_text(map, "protocol"), nested ? ", but is itself behind a NAT" : "");
    } else if (strcmp(state, "off") == 0) {
        find(f, RESULT_INFO, "mapping", NULL, "port mapping is off (portMappingEnabled)");
    } else if (strcmp(state, "asking") == 0) {
        find(f, RESULT_INFO, "mapping", NULL, "gateway %s is being asked", gateway);
    } else if (gateway[0] != '\0') {
        find(f, RESULT_INFO, "mapping",
             "if peers are relayed to: switch on PCP, NAT-PMP or UPnP there",
             "gateway %s grants no mapping", gateway);
    } else {
        find(f, RESULT_INFO, "mapping", NULL, "not needed: no private address behind a gateway");
    }
}

static void check_tcp_relay(struct diagnosis *d)
{
    const json_t *relay = json_object_get(d->status, "tcpRelay");
    const char *state = diagnose_text(relay, "state");
    if (relay == NULL) {
        return;
    }
    if (diagnose_is_true(d->status, "tcpFallbackActive")) {
        find(&d->findings, RESULT_WARN, "tcp-relay",
             diagnose_is_true(relay, "forced")
                 ? "remove forceTcpRelay from local.conf"
                 : "UDP is blocked: open outgoing UDP in the firewall",
             "everything goes through one TCP connection to %s (%s): slow",
             diagnose_text(relay, "address"), diagnose_text(relay, "transport"));
    } else if (!diagnose_is_true(relay, "allowed")) {
        find(&d->findings, RESULT_INFO, "tcp-relay", NULL, "off (allowTcpFallbackRelay)");
    } else if (strcmp(state, "idle") == 0) {
        find(&d->findings, RESULT_INFO, "tcp-relay", NULL, "not needed");
    } else {
        find(&d->findings, RESULT_WARN, "tcp-relay",
             "no root answers by UDP: open outgoing UDP in the firewall, or TCP to a relay",
             "UDP is silent; the relay is not in use yet: %s", state);
    }
}

void diagnose_reach(struct diagnosis *d)
{
    check_roots(d);
    check_nat(d);
    check_mapping(d);
    check_tcp_relay(d);
}
