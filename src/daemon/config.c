/* Parser of local.conf. Wrong types never fail: scalars are converted loosely, containers of the
 * wrong kind count as absent; only text that is no JSON object is refused.
 * Source: spec 05 sections 5, 5.1 to 5.3, 5.9. */
#include "daemon/config.h"

#include "base/hex.h"
#include "datapath/published.h"
#include "wire/identity.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    RELAY_RATE_MAX = 1000000000,
    PAIR_RATE_MAX = 1000000, /* Mbit/s */
    PEERS_LEAST = 256,
    PEERS_MOST = 16000000,
};

/* Bytes a second. */
static const json_int_t TCP_RELAY_RATE_MAX = INT64_C(1000000000000);

static void warn(struct config *c, const char *fmt, ...) PRINTF_LIKE(2, 3);

static void warn(struct config *c, const char *fmt, ...)
{
    if (c->warning_count == CONFIG_WARNINGS_MAX) {
        return;
    }
    va_list args;
    va_start(args, fmt);
    (void)vsnprintf(c->warnings[c->warning_count++], CONFIG_WARNING_LEN, fmt, args);
    va_end(args);
}

int64_t config_loose_int(const json_t *value, int64_t fallback)
{
    if (json_is_integer(value)) {
        return json_integer_value(value);
    }
    if (json_is_real(value)) {
        double d = json_real_value(value);
        return d > -9e18 && d < 9e18 ? (int64_t)d : fallback;
    }
    if (json_is_string(value)) {
        return (int64_t)strtoll(json_string_value(value), NULL, 10);
    }
    return json_is_boolean(value) ? json_is_true(value) : fallback;
}

bool config_loose_bool(const json_t *value, bool fallback)
{
    if (json_is_boolean(value)) {
        return json_is_true(value);
    }
    if (json_is_number(value)) {
        return json_number_value(value) > 0;
    }
    if (json_is_string(value)) {
        char first = json_string_value(value)[0];
        return first == 't' || first == 'T' || first == '1';
    }
    return fallback;
}

bool config_loose_text(const json_t *value, char *out, size_t cap)
{
    if (json_is_string(value)) {
        (void)snprintf(out, cap, "%s", json_string_value(value));
        return true;
    }
    if (json_is_integer(value)) {
        (void)snprintf(out, cap, "%lld", (long long)json_integer_value(value));
        return true;
    }
    if (json_is_real(value)) {
        (void)snprintf(out, cap, "%g", json_real_value(value));
        return true;
    }
    if (json_is_boolean(value)) {
        (void)snprintf(out, cap, "%s", json_is_true(value) ? "true" : "false");
        return true;
    }
    return false;
}

static int parse_addr(const char *text, struct inetaddr *ret)
{
    struct inetaddr a;
    int err = inetaddr_parse(text, strlen(text), &a);
    if (err < 0 || a.family == INETADDR_NIL) {
        return -EBADMSG;
    }
    *ret = a;
    return 0;
}

static int parse_net(const char *text, struct inetaddr *ret)
{
    struct inetaddr a;
    if (strchr(text, '/') == NULL || parse_addr(text, &a) < 0 || a.port > 8 * inetaddr_ip_len(&a)) {
        return -EBADMSG;
    }
    *ret = a;
    return 0;
}

typedef int (*parse_fn)(const char *text, struct inetaddr *ret);

/* Addresses of a JSON array into out; bad ones are left out with a warning. */
static size_t parse_list(struct config *c, const char *what, const json_t *array, parse_fn parse,
                         struct inetaddr *out, size_t cap)
{
    size_t count = 0;
    size_t i;
    json_t *item;
    if (array != NULL && !json_is_array(array)) {
        warn(c, "%s must be an array, ignored", what);
        return 0;
    }
    json_array_foreach((json_t *)array, i, item)
    {
        struct inetaddr a;
        if (!json_is_string(item) || parse(json_string_value(item), &a) < 0) {
            warn(c, "%s: entry %zu is no usable address, ignored", what, i + 1);
        } else if (count == cap) {
            warn(c, "%s: more than %zu entries, rest ignored", what, cap);
            break;
        } else {
            out[count++] = a;
        }
    }
    return count;
}

static unsigned physical_mtu(int64_t mtu)
{
    if (mtu <= 0) {
        return 0;
    }
    return mtu < 1400 ? 1400 : mtu > 10324 ? 10324 : (unsigned)mtu;
}

static uint64_t loose_u64(const json_t *value)
{
    if (json_is_string(value)) {
        return strtoull(json_string_value(value), NULL, 10);
    }
    return (uint64_t)config_loose_int(value, 0);
}

static void parse_physical(struct config *c, json_t *physical)
{
    const char *key;
    json_t *value;
    json_object_foreach(physical, key, value)
    {
        struct inetaddr net;
        if (!json_is_object(value) || parse_net(key, &net) < 0) {
            warn(c, "physical: \"%s\" is no network with settings, ignored", key);
            continue;
        }
        if (c->physical_count == CONFIG_PHYSICAL_MAX) {
            warn(c, "physical: more than %d entries, rest ignored", CONFIG_PHYSICAL_MAX);
            return;
        }
        c->physical[c->physical_count++] = (struct node_physical){
            .net = net,
            .blacklist =
                net.port > 0 && config_loose_bool(json_object_get(value, "blacklist"), false),
            .trusted_path_id = loose_u64(json_object_get(value, "trustedPathId")),
            .mtu = physical_mtu(config_loose_int(json_object_get(value, "mtu"), 0)),
        };
    }
}

static int parse_virtual(struct config *c, json_t *virt)
{
    size_t count = json_object_size(virt);
    if (count == 0) {
        return 0;
    }
    if (count > CONFIG_VIRTUAL_MAX) {
        warn(c, "virtual: more than %d entries, rest ignored", CONFIG_VIRTUAL_MAX);
        count = CONFIG_VIRTUAL_MAX;
    }
    c->virt = calloc(count, sizeof(*c->virt));
    if (c->virt == NULL) {
        return -ENOMEM;
    }
    const char *key;
    json_t *value;
    json_object_foreach(virt, key, value)
    {
        uint64_t address;
        if (c->virt_count == count) {
            break;
        }
        if (!json_is_object(value) || address_parse(key, strlen(key), &address) < 0) {
            warn(c, "virtual: \"%s\" is no node address with settings, ignored", key);
            continue;
        }
        struct config_virtual *v = &c->virt[c->virt_count++];
        v->address = address;
        v->try_count = parse_list(c, "virtual try", json_object_get(value, "try"), parse_addr,
                                  v->try_paths, CONFIG_PATHS_MAX);
        v->blacklist_count = parse_list(c, "virtual blacklist", json_object_get(value, "blacklist"),
                                        parse_net, v->blacklist, CONFIG_PATHS_MAX);
    }
    return 0;
}

/* A port key: out of range counts as absent, with a warning. */
static int parse_port(struct config *c, const json_t *settings, const char *key, int fallback)
{
    const json_t *value = json_object_get(settings, key);
    int64_t port = config_loose_int(value, fallback);
    if (port == fallback) {
        return fallback;
    }
    if (port < 0 || port > 65535) {
        warn(c, "settings: %s is no port number, ignored", key);
        return fallback;
    }
    return (int)port;
}

/* Names: an array of strings, or a single string (a common mistake that used to be ignored). */
static size_t parse_names(struct config *c, const json_t *settings, const char *key,
                          char out[][CONFIG_NAME_LEN])
{
    json_t *value = json_object_get(settings, key);
    if (json_is_string(value)) {
        (void)config_loose_text(value, out[0], CONFIG_NAME_LEN);
        return out[0][0] != '\0';
    }
    if (value != NULL && !json_is_array(value)) {
        warn(c, "settings: %s must be an array of names, ignored", key);
        return 0;
    }
    size_t count = 0;
    size_t i;
    json_t *item;
    json_array_foreach(value, i, item)
    {
        const char *name = json_string_value(item);
        if (name == NULL || name[0] == '\0' || strlen(name) >= CONFIG_NAME_LEN) {
            warn(c, "settings: %s: entry %zu is no name, ignored", key, i + 1);
        } else if (count < CONFIG_LIST_MAX) {
            (void)snprintf(out[count++], CONFIG_NAME_LEN, "%s", name);
        }
    }
    return count;
}

static void parse_relay(struct config *c, const json_t *settings)
{
    c->allow_tcp_relay =
        config_loose_bool(json_object_get(settings, "allowTcpFallbackRelay"), true);
    c->force_tcp_relay = config_loose_bool(json_object_get(settings, "forceTcpRelay"), false);
    char text[CONFIG_TEXT_LEN];
    if (config_loose_text(json_object_get(settings, "tcpFallbackRelay"), text, sizeof(text)) &&
        (parse_addr(text, &c->tcp_relay) < 0 || c->tcp_relay.port == 0)) {
        warn(c, "settings: tcpFallbackRelay is not \"IP/port\", ignored");
        c->tcp_relay = (struct inetaddr){0};
    }
    (void)config_loose_text(json_object_get(settings, "tcpRelayName"), c->tcp_relay_name,
                            sizeof(c->tcp_relay_name));
}

/* An address with a port. */
static int parse_listen(const char *text, struct inetaddr *ret)
{
    struct inetaddr a;
    if (inetaddr_parse(text, strlen(text), &a) < 0 || a.family == INETADDR_NIL || a.port == 0) {
        return -EBADMSG;
    }
    *ret = a;
    return 0;
}

/* The TCP relay that a root offers. */
static void parse_relay_server(struct config *c, const json_t *settings)
{
    const json_t *listen = json_object_get(settings, "tcpRelayListen");
    const json_t *rate = json_object_get(settings, "tcpRelayRate");
    c->has_tcp_listen = json_is_array(listen);
    c->tcp_listen.count = parse_list(c, "settings: tcpRelayListen", listen, parse_listen,
                                     c->tcp_listen.items, CONFIG_LIST_MAX);
    c->tcp_relay_private = config_loose_bool(json_object_get(settings, "tcpRelayPrivate"), false);
    c->tcp_relay_rate = CONFIG_TCP_RELAY_RATE;
    if (rate != NULL && (!json_is_integer(rate) || json_integer_value(rate) < 0 ||
                         json_integer_value(rate) > TCP_RELAY_RATE_MAX)) {
        warn(c, "settings: tcpRelayRate is not a number from 0 to %lld, ignored",
             (long long)TCP_RELAY_RATE_MAX);
    } else if (rate != NULL) {
        c->tcp_relay_rate = (uint64_t)json_integer_value(rate);
    }
}

/* A whole number from least to most. */
static uint32_t parse_number(struct config *c, const json_t *settings, const char *key,
                             uint32_t usual, int least, int most)
{
    const json_t *value = json_object_get(settings, key);
    if (value == NULL) {
        return usual;
    }
    if (!json_is_integer(value) || json_integer_value(value) < least ||
        json_integer_value(value) > most) {
        warn(c, "settings: %s is not a number from %d to %d, ignored", key, least, most);
        return usual;
    }
    return (uint32_t)json_integer_value(value);
}

/* Keys this program reads but does not act on: one line each tells the operator. */
static void warn_unused(struct config *c, const json_t *settings)
{
    static const char *const keys[] = {
        "defaultBondingPolicy", "policies",        "peerSpecificBonds", "redis", "vault",
        "controllerDb",         "multicoreEnabled"};
    for (size_t i = 0; i < COUNT_OF(keys); i++) {
        if (json_object_get(settings, keys[i]) != NULL) {
            warn(c, "settings: %s has no effect in this program", keys[i]);
        }
    }
    char text[CONFIG_NAME_LEN];
    if (config_loose_text(json_object_get(settings, "softwareUpdate"), text, sizeof(text)) &&
        strcmp(text, "disable") != 0) {
        warn(c, "settings: softwareUpdate is not supported, taken as \"disable\"");
    }
}

static void parse_settings(struct config *c, const json_t *settings)
{
    c->primary_port = parse_port(c, settings, "primaryPort", -1);
    c->allow_secondary_port =
        config_loose_bool(json_object_get(settings, "allowSecondaryPort"), true);
    c->secondary_port = (uint16_t)parse_port(c, settings, "secondaryPort", 0);
    c->port_mapping = config_loose_bool(json_object_get(settings, "portMappingEnabled"), true);
    c->tertiary_port = (uint16_t)parse_port(c, settings, "tertiaryPort", 0);
    c->bind.count = parse_list(c, "settings: bind", json_object_get(settings, "bind"), parse_addr,
                               c->bind.items, CONFIG_LIST_MAX);
    c->iface_deny_count = parse_names(c, settings, "interfacePrefixBlacklist", c->iface_deny);
    c->iface_allow_count = parse_names(c, settings, "interfaceAllowlist", c->iface_allow);
    c->management.count = parse_list(c, "settings: allowManagementFrom",
                                     json_object_get(settings, "allowManagementFrom"), parse_net,
                                     c->management.items, CONFIG_LIST_MAX);
    parse_relay(c, settings);
    parse_relay_server(c, settings);
    c->low_bandwidth = config_loose_bool(json_object_get(settings, "lowBandwidthMode"), false);
    c->no_default_planet = config_loose_bool(json_object_get(settings, "noDefaultPlanet"), false);
    c->relay_rate = parse_number(c, settings, "relayRate", DP_RELAY_RATE, 0, RELAY_RATE_MAX);
    c->relay_pair_rate = parse_number(c, settings, "relayPairRate", 0, 0, PAIR_RATE_MAX);
    c->max_peers = parse_number(c, settings, "maxPeers", 0, PEERS_LEAST, PEERS_MOST);
    c->announce_protocol = (uint8_t)parse_number(c, settings, "announceProtocol", 0, 4, 12);
    c->web_server = config_loose_bool(json_object_get(settings, "enableWebServer"), false);
    (void)snprintf(c->update_channel, sizeof(c->update_channel), "release");
    (void)config_loose_text(json_object_get(settings, "softwareUpdateChannel"), c->update_channel,
                            sizeof(c->update_channel));
    (void)config_loose_text(json_object_get(settings, "controllerDbPath"), c->controller_db,
                            sizeof(c->controller_db));
    (void)config_loose_text(json_object_get(settings, "ssoRedirectURL"), c->sso_url,
                            sizeof(c->sso_url));
    (void)config_loose_text(json_object_get(settings, "logLevel"), c->log_level,
                            sizeof(c->log_level));
    warn_unused(c, settings);
}

static bool is_blank(const char *text, size_t len)
{
    size_t i = 0;
    while (i < len && (text[i] == ' ' || text[i] == '\t' || text[i] == '\r' || text[i] == '\n')) {
        i++;
    }
    return i == len;
}

static json_t *load_raw(const char *text, size_t len, struct config_error *ret_error)
{
    if (len == 0 || is_blank(text, len)) {
        return json_object();
    }
    json_error_t error;
    json_t *raw = json_loadb(text, len, 0, &error);
    if (raw == NULL) {
        ret_error->line = error.line;
        ret_error->column = error.column;
        (void)snprintf(ret_error->text, sizeof(ret_error->text), "%s", error.text);
        return NULL;
    }
    if (!json_is_object(raw)) {
        json_decref(raw);
        ret_error->line = 1;
        ret_error->column = 1;
        (void)snprintf(ret_error->text, sizeof(ret_error->text), "expected an object: { ... }");
        return NULL;
    }
    return raw;
}

static json_t *object_member(struct config *c, const char *key)
{
    json_t *value = json_object_get(c->raw, key);
    if (value != NULL && !json_is_object(value)) {
        warn(c, "%s must be an object, ignored", key);
        return NULL;
    }
    return value;
}

int config_parse(const char *text, size_t len, struct config **ret, struct config_error *ret_error)
{
    struct config *c = calloc(1, sizeof(*c));
    if (c == NULL) {
        return -ENOMEM;
    }
    *ret_error = (struct config_error){0};
    c->raw = load_raw(text, len, ret_error);
    if (c->raw == NULL) {
        free(c);
        return -EBADMSG;
    }
    parse_physical(c, object_member(c, "physical"));
    parse_settings(c, object_member(c, "settings"));
    int err = parse_virtual(c, object_member(c, "virtual"));
    if (err < 0) {
        config_free(c);
        return err;
    }
    *ret = c;
    return 0;
}

void config_free(struct config *config)
{
    if (config == NULL) {
        return;
    }
    json_decref(config->raw);
    free(config->virt);
    free(config);
}

int config_merge_settings(const struct config *config, json_t *changes, char **ret)
{
    json_t *root = json_deep_copy(config->raw);
    json_t *settings = json_object_get(root, "settings");
    int err = 0;
    if (!json_is_object(settings)) {
        settings = json_object();
        err = json_object_set_new(root, "settings", settings);
    }
    char *text = NULL;
    if (root != NULL && err == 0 && json_object_update(settings, changes) == 0) {
        text = json_dumps(root, JSON_INDENT(4) | JSON_SORT_KEYS);
    }
    json_decref(root);
    if (text == NULL) {
        return -ENOMEM;
    }
    *ret = text;
    return 0;
}
