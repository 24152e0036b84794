/* local.conf: the settings of the daemon, parsed whole before anything is applied.
 * Pure. Source: spec 05 section 5; SV-60 to SV-75. */
#pragma once

#include "base/attr.h"
#include "node/node.h"
#include "wire/inetaddr.h"

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    CONFIG_FILE_MAX = 1024 * 1024, /* bytes of a local.conf read at most */
    CONFIG_PHYSICAL_MAX = 32,
    CONFIG_VIRTUAL_MAX = 1024,
    CONFIG_PATHS_MAX = 32, /* addresses in one "try" or "blacklist" */
    CONFIG_LIST_MAX = 64,  /* entries of other lists */
    CONFIG_NAME_LEN = 32,  /* interface name prefix and its NUL */
    CONFIG_TEXT_LEN = 512, /* other texts and their NUL */
    CONFIG_WARNINGS_MAX = 16,
    CONFIG_WARNING_LEN = 160,
    CONFIG_PRIMARY_PORT = 9993,
    CONFIG_TCP_RELAY_RATE = 12500000, /* 100 Mbit/s */
};

/* One entry of "virtual". */
struct config_virtual {
    uint64_t address;
    struct inetaddr try_paths[CONFIG_PATHS_MAX];
    size_t try_count;
    struct inetaddr blacklist[CONFIG_PATHS_MAX]; /* port = prefix length */
    size_t blacklist_count;
};

struct config_addrs {
    struct inetaddr items[CONFIG_LIST_MAX];
    size_t count;
};

struct config {
    json_t *raw; /* the file as it is, always an object */

    struct node_physical physical[CONFIG_PHYSICAL_MAX];
    size_t physical_count;
    struct config_virtual *virt; /* heap array */
    size_t virt_count;

    int primary_port; /* -1 = not given, 0 = random */
    bool allow_secondary_port;
    uint16_t secondary_port; /* 0 = random */
    bool port_mapping;
    uint16_t tertiary_port;
    struct config_addrs bind;
    char iface_deny[CONFIG_LIST_MAX][CONFIG_NAME_LEN]; /* interfacePrefixBlacklist */
    size_t iface_deny_count;
    char iface_allow[CONFIG_LIST_MAX][CONFIG_NAME_LEN]; /* interfaceAllowlist, shell patterns */
    size_t iface_allow_count;
    struct config_addrs management; /* allowManagementFrom; port = prefix length */
    bool allow_tcp_relay;
    bool force_tcp_relay;
    struct inetaddr tcp_relay;            /* tcpFallbackRelay, nil: not given */
    char tcp_relay_name[CONFIG_TEXT_LEN]; /* tcpRelayName, empty: none */
    bool has_tcp_listen;                  /* tcpRelayListen is given: tcp_listen counts */
    struct config_addrs tcp_listen;
    bool tcp_relay_private;  /* tcpRelayPrivate */
    uint64_t tcp_relay_rate; /* tcpRelayRate, bytes a second, 0 = no limit */
    bool low_bandwidth;
    uint32_t relay_rate;       /* relayRate, 0 = no limit */
    uint32_t relay_pair_rate;  /* relayPairRate, Mbit/s, 0 = no limit */
    uint32_t max_peers;        /* maxPeers, 0 = by role */
    bool no_default_planet;    /* noDefaultPlanet: none instead of the public one */
    uint8_t announce_protocol; /* announceProtocol, 0 = ours */
    bool web_server;
    char update_channel[CONFIG_TEXT_LEN];
    char controller_db[CONFIG_TEXT_LEN]; /* controllerDbPath, empty = default */
    char sso_url[CONFIG_TEXT_LEN];       /* ssoRedirectURL, empty = none */
    char log_level[CONFIG_NAME_LEN];     /* logLevel, empty = default */

    char warnings[CONFIG_WARNINGS_MAX][CONFIG_WARNING_LEN]; /* what was ignored and why */
    size_t warning_count;
};

struct config_error {
    int line;       /* 0 = not about a place */
    int column;     /* from 1 */
    char text[160]; /* what is wrong */
};

/* Parse the text of a local.conf; an empty one gives the defaults. Returns 0 with *ret owned by the
 * caller; -EBADMSG with *ret_error filled; -ENOMEM. */
MUST_CHECK int config_parse(const char *text, size_t len, struct config **ret,
                            struct config_error *ret_error);

/* Release; NULL is allowed. */
void config_free(struct config *config);

/* A new text (4-space indentation, keys sorted, newline at the end) with the members of changes put
 * over "settings". The caller frees *ret. Returns 0; -ENOMEM. */
MUST_CHECK int config_merge_settings(const struct config *config, json_t *changes, char **ret);

/* Loose scalar conversions of local.conf; fallback where value is NULL or of another kind. */
int64_t config_loose_int(const json_t *value, int64_t fallback);
bool config_loose_bool(const json_t *value, bool fallback);

/* Text form of a string, number or boolean into out (cut to cap). Returns false for other kinds. */
bool config_loose_text(const json_t *value, char *out, size_t cap);
