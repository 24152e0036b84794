/* /network and /moon. Source: spec 05 sections 3.6, 3.8; SV-27 to SV-31, SV-33. */
#include "base/hex.h"
#include "daemon/api_json.h"
#include "daemon/api_priv.h"
#include "daemon/service_priv.h"
#include "wire/world.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum {
    NETWORKS_MAX = 4096,
    NWID_DIGITS = 16,
};

/* Object of one network, or NULL if we are not in it. */
static json_t *network_object(struct service *svc, uint64_t nwid)
{
    struct node_network_info *info = malloc(sizeof(*info));
    json_t *o = NULL;
    if (info != NULL && node_network_get(svc->node, nwid, info) == 0) {
        struct port_info port = {.device = "", .why = "", .policy = managed_policy_default()};
        (void)!ports_info(&svc->ports, nwid, &port); /* no port yet: the defaults */
        o = api_json_network(info, &port);
    }
    free(info);
    return o;
}

static json_t *network_array(struct service *svc)
{
    json_t *array = json_array();
    uint64_t *ids = calloc(NETWORKS_MAX, sizeof(*ids));
    if (ids == NULL) {
        json_decref(array);
        return NULL;
    }
    size_t count = node_networks(svc->node, ids, NETWORKS_MAX);
    for (size_t i = 0; i < count && i < NETWORKS_MAX; i++) {
        json_t *o = network_object(svc, ids[i]);
        if (o != NULL) {
            (void)json_array_append_new(array, o);
        }
    }
    free(ids);
    return array;
}

/* Is the MTU that a body asks for one that can be had? 0: none of our own. */
static bool is_mtu_ok(const json_t *body)
{
    const json_t *value = json_object_get(body, "mtuOverride");
    json_int_t mtu = json_integer_value(value);
    return value == NULL || (json_is_integer(value) &&
                             (mtu == 0 || (mtu >= MANAGED_MTU_MIN && mtu <= MANAGED_MTU_MAX)));
}

/* Put what a body has over the settings of a network. */
static void apply_settings(struct service *svc, uint64_t nwid, const json_t *body)
{
    struct port_info port;
    if (ports_info(&svc->ports, nwid, &port) < 0) {
        return;
    }
    struct {
        const char *key;
        bool *value;
    } table[] = {
        {"allowManaged", &port.policy.allow_managed}, {"allowGlobal", &port.policy.allow_global},
        {"allowDefault", &port.policy.allow_default}, {"allowDNS", &port.policy.allow_dns},
        {"clampMSS", &port.policy.clamp_mss},
    };
    for (size_t i = 0; i < COUNT_OF(table); i++) {
        const json_t *value = json_object_get(body, table[i].key);
        if (json_is_boolean(value)) {
            *table[i].value = json_is_true(value);
        }
    }
    const json_t *mtu = json_object_get(body, "mtuOverride");
    if (mtu != NULL) {
        port.policy.mtu = (uint32_t)json_integer_value(mtu);
    }
    (void)!ports_set_policy(&svc->ports, nwid, &port.policy); /* the file's failure is logged */
    ports_settle(&svc->ports);
}

/* Join if need be, apply settings, answer with the object. A body member "token" is the join token
 * of an invitation. */
static void post_network(struct api_call *call, uint64_t nwid)
{
    struct service *svc = call->svc;
    json_t *body = json_loadb(call->request->body, call->request->body_len, 0, NULL);
    const char *token = json_string_value(json_object_get(body, "token"));
    struct port_info port;
    int err = is_mtu_ok(body) ? 0 : -ERANGE;
    if (err == 0 && (token != NULL || ports_info(&svc->ports, nwid, &port) < 0)) {
        err = node_join(svc->node, nwid, token, service_now());
        ports_settle(&svc->ports);
    }
    if (err == 0) {
        apply_settings(svc, nwid, body);
    }
    json_decref(body);
    if (err < 0) {
        api_reply_error(call, strerror(-err));
        return;
    }
    api_reply_json(call, 200, network_object(svc, nwid));
}

static void delete_network(struct api_call *call, uint64_t nwid)
{
    json_t *o = json_object();
    if (node_leave(call->svc->node, nwid, service_now()) == 0) {
        ports_settle(&call->svc->ports);
        (void)json_object_set_new(o, "result", json_true());
    }
    api_reply_json(call, 200, o);
}

/* POST /network/ID/capture {"socket": NAME, "snaplen": BYTES}. */
static void post_capture(struct api_call *call, uint64_t nwid)
{
    json_t *body = json_loadb(call->request->body, call->request->body_len, 0, NULL);
    const char *name = json_string_value(json_object_get(body, "socket"));
    const json_t *snaplen = json_object_get(body, "snaplen");
    json_int_t bytes = json_is_integer(snaplen) ? json_integer_value(snaplen) : CAPTURE_RECORD_MAX;
    int err = name == NULL || bytes < 1 ? -EINVAL : 0;
    if (err == 0) {
        bytes = bytes < CAPTURE_RECORD_MAX ? bytes : CAPTURE_RECORD_MAX;
        err = captures_begin(&call->svc->captures, nwid, name, (uint32_t)bytes);
    }
    json_decref(body);
    if (err < 0) {
        api_reply_error(call, strerror(-err));
        return;
    }
    json_t *o = json_object();
    (void)json_object_set_new(o, "result", json_true());
    api_reply_json(call, 200, o);
}

bool api_network_handle(struct api_call *call, const char *path)
{
    static const char prefix[] = "/network/";
    uint64_t nwid;
    if (strcmp(path, "/network") == 0 && call->read) {
        api_reply_json(call, 200, network_array(call->svc));
        return true;
    }
    if (strncmp(path, prefix, strlen(prefix)) != 0 || strlen(path + strlen(prefix)) < NWID_DIGITS ||
        hex_to_u64(path + strlen(prefix), NWID_DIGITS, NWID_DIGITS, &nwid) < 0) {
        return false;
    }
    const char *what = path + strlen(prefix) + NWID_DIGITS;
    if (strcmp(what, "/capture") == 0 && call->write) {
        post_capture(call, nwid);
        return true;
    }
    if (what[0] != '\0') {
        return false;
    }
    if (call->write) {
        post_network(call, nwid);
    } else if (call->erase) {
        delete_network(call, nwid);
    } else {
        json_t *o = network_object(call->svc, nwid);
        api_reply_json(call, o == NULL ? 404 : 200, o == NULL ? json_object() : o);
    }
    return true;
}

static json_t *moon_array(struct service *svc)
{
    json_t *array = json_array();
    struct node_moon_info moon;
    for (size_t i = 0; node_moon(svc->node, i, &moon); i++) {
        if (moon.world != NULL) { /* those still being fetched are not listed */
            (void)json_array_append_new(array, api_json_moon(&moon));
        }
    }
    return array;
}

/* Object of one moon, or NULL. */
static json_t *moon_object(struct service *svc, uint64_t id)
{
    struct node_moon_info moon;
    for (size_t i = 0; node_moon(svc->node, i, &moon); i++) {
        if (moon.id == id) {
            return api_json_moon(&moon);
        }
    }
    return NULL;
}

static uint64_t body_seed(const struct http_request *request)
{
    json_t *body = json_loadb(request->body, request->body_len, 0, NULL);
    const char *text = json_string_value(json_object_get(body, "seed"));
    uint64_t seed = 0;
    if (text == NULL || hex_to_u64(text, strlen(text), 10, &seed) < 0) {
        seed = 0;
    }
    json_decref(body);
    return seed;
}

static void reply_moon(struct api_call *call, uint64_t id)
{
    json_t *o = moon_object(call->svc, id);
    api_reply_json(call, 200, o == NULL ? json_object() : o);
}

bool api_moon_handle(struct api_call *call, const char *path)
{
    static const char prefix[] = "/moon/";
    uint64_t id;
    struct service *svc = call->svc;
    if (strcmp(path, "/moon") == 0 && call->read) {
        api_reply_json(call, 200, moon_array(svc));
        return true;
    }
    if (strncmp(path, prefix, strlen(prefix)) != 0) {
        return false;
    }
    const char *digits = path + strlen(prefix);
    if (hex_to_u64(digits, strlen(digits), 16, &id) < 0 || id == 0) {
        return false;
    }
    if (call->erase) {
        json_t *o = json_object();
        (void)node_deorbit(svc->node, id, service_now());
        (void)json_object_set_new(o, "result", json_true());
        api_reply_json(call, 200, o);
        return true;
    }
    if (call->write) {
        /* Without file and seed nothing happens, which the answer shows. */
        (void)!node_orbit(svc->node, id, body_seed(call->request), service_now());
    }
    reply_moon(call, id);
    return true;
}
