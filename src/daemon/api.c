/* Authorization and routing of API requests, and the smaller endpoints.
 * Source: spec 05 sections 3.2 to 3.5, 3.7, 3.10; SV-20 to SV-26, SV-30, SV-32, SV-35. */
#include "daemon/api.h"

#include "base/hex.h"
#include "daemon/api_json.h"
#include "daemon/api_priv.h"
#include "daemon/auth.h"
#include "daemon/datapath_info.h"
#include "daemon/login.h"
#include "daemon/metrics.h"
#include "daemon/service_priv.h"
#include "os/clock.h"
#include "os/file.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    JSONP_NAME_MAX = 64,
    SURFACE_MAX = 64,
    LISTENING_MAX = 256,
    ADDRESS_DIGITS = 10,
};

static const char type_json[] = "application/json";

void api_reply_empty(struct api_call *call, unsigned status)
{
    http_answer(call->request, &(struct http_reply){.status = status});
}

/* The name of a callback, or NULL: only what can be an identifier is echoed. */
static const char *jsonp_name(const struct api_call *call)
{
    static const char allowed[] =
        "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_$.";
    const char *name = http_query(call->request, "jsonp");
    if (name == NULL || name[0] == '\0' || strlen(name) > JSONP_NAME_MAX ||
        strspn(name, allowed) != strlen(name)) {
        return NULL;
    }
    return name;
}

/* Answer with heap text, taken. */
static void reply_take(struct api_call *call, unsigned status, const char *type, char *text)
{
    if (text == NULL) {
        api_reply_empty(call, 500);
        return;
    }
    struct http_reply reply = {.status = status, .type = type, .body = text, .len = strlen(text)};
    http_answer(call->request, &reply);
}

void api_reply_json(struct api_call *call, unsigned status, json_t *value)
{
    char *text = json_dumps(value, JSON_COMPACT | JSON_SORT_KEYS | JSON_ENCODE_ANY);
    json_decref(value);
    const char *name = jsonp_name(call);
    if (name == NULL || text == NULL) {
        reply_take(call, status, type_json, text);
        return;
    }
    size_t cap = strlen(name) + strlen(text) + 4;
    char *wrapped = malloc(cap);
    if (wrapped != NULL) {
        (void)snprintf(wrapped, cap, "%s(%s);", name, text);
    }
    free(text);
    reply_take(call, status, "application/javascript", wrapped);
}

void api_reply_error(struct api_call *call, const char *description)
{
    json_t *o = json_object();
    (void)json_object_set_new(o, "error", json_integer(500));
    (void)json_object_set_new(o, "description", api_json_text(description));
    api_reply_json(call, 500, o);
}

/* True if the request may be served; *ret is who asks. */
static bool admit(struct service *svc, const struct http_request *request, struct caller *ret)
{
    struct auth_rules rules = {
        .api_token = svc->api_token,
        .metrics_token = svc->metrics_token,
        .management = &svc->config->management,
    };
    struct auth_request auth = {
        .path = request->path,
        .from = request->from,
        .token_header = http_header(request, "X-ZT1-Auth"),
        .token_query = http_query(request, "auth"),
        .authorization = http_header(request, "Authorization"),
        .host = http_header(request, "Host"),
        .origin = http_header(request, "Origin"),
    };
    *ret = (struct caller){.user = ACCOUNTS_ADMIN};
    return auth_allowed(&rules, &auth) || api_token_caller(svc, request, &rules, &auth, ret);
}

bool api_admit(void *ctx, const struct http_request *request)
{
    struct caller caller;
    return admit(ctx, request, &caller);
}

static void reply_status(struct api_call *call, bool full)
{
    struct service *svc = call->svc;
    int64_t now_ms = service_now();
    struct node_status status;
    struct inetaddr listening[LISTENING_MAX];
    struct inetaddr surface[SURFACE_MAX];
    node_get_status(svc->node, now_ms, &status);
    struct api_status in = {
        .node = &status,
        .identity = &svc->identity,
        .config = svc->config,
        .home = svc->state.home,
        .wall_ms = clock_wall_ms(),
        .tcp_relay = relay_in_use(&svc->relay) != NULL,
        .primary_port = svc->primary_port,
        .secondary_port = svc->secondary_port,
        .listening = listening,
        .listening_count = sockets_list(&svc->sockets, listening, LISTENING_MAX),
        .surface = surface,
        .surface_count = node_surface_addresses(svc->node, surface, SURFACE_MAX),
    };
    json_t *o = full ? api_json_status(&in) : api_json_health(&in);
    if (full) {
        api_reach_add(o, svc);
    }
    api_reply_json(call, 200, o);
}

static json_t *peer_array(struct service *svc)
{
    struct node_peer_info *peers = NULL;
    ssize_t count = node_peers(svc->node, service_now(), &peers);
    if (count < 0) {
        return NULL;
    }
    json_t *array = json_array();
    for (ssize_t i = 0; i < count; i++) {
        (void)json_array_append_new(array, api_json_peer(&peers[i], svc->wall_offset_ms,
                                                         relay_in_use(&svc->relay) != NULL));
    }
    node_peers_free(peers, (size_t)count);
    return array;
}

static json_t *peer_object(struct service *svc, uint64_t address)
{
    struct node_peer_info peer;
    int err = node_peer(svc->node, address, service_now(), &peer);
    if (err < 0) {
        return err == -ENOENT ? json_object() : NULL;
    }
    json_t *o = api_json_peer(&peer, svc->wall_offset_ms, relay_in_use(&svc->relay) != NULL);
    free(peer.paths);
    return o;
}

static bool handle_peer(struct api_call *call, const char *path)
{
    uint64_t address;
    if (!call->read) {
        return false;
    }
    if (strcmp(path, "/peer") == 0) {
        api_reply_json(call, 200, peer_array(call->svc));
        return true;
    }
    if (strncmp(path, "/peer/", strlen("/peer/")) != 0) {
        return false;
    }
    const char *digits = path + strlen("/peer/");
    size_t len = strlen(digits);
    if (len != ADDRESS_DIGITS || hex_to_u64(digits, len, ADDRESS_DIGITS, &address) < 0) {
        return false;
    }
    api_reply_json(call, 200, peer_object(call->svc, address));
    return true;
}

/* POST /config/settings: merge, write local.conf, apply. */
static void post_settings(struct api_call *call)
{
    struct service *svc = call->svc;
    json_error_t error;
    json_t *changes =
        json_loadb(call->request->body, call->request->body_len, JSON_DECODE_ANY, &error);
    if (changes == NULL) {
        api_reply_error(call, error.text);
        return;
    }
    int err = 0;
    char *text = NULL;
    if (json_is_object(changes)) {
        err = config_merge_settings(svc->config, changes, &text);
        if (err == 0) {
            err = state_write(&svc->state, "local.conf", text, strlen(text), FILE_MODE_PUBLIC);
        }
        if (err == 0) {
            err = service_reload(svc);
        }
        free(text);
    }
    json_decref(changes);
    if (err < 0) {
        api_reply_error(call, strerror(-err));
        return;
    }
    api_reply_json(call, 200, json_object());
}

static bool handle_config(struct api_call *call, const char *path)
{
    if (strcmp(path, "/config") == 0 && call->read) {
        api_reply_json(call, 200, json_deep_copy(call->svc->config->raw));
        return true;
    }
    if (strcmp(path, "/config/settings") == 0 && call->write) {
        post_settings(call);
        return true;
    }
    return false;
}

/* Bonding is not in use in this program: every bond request that exists is answered so. */
static bool handle_bond(struct api_call *call, const char *path)
{
    static const struct {
        const char *prefix;
        bool write;
    } table[] = {{"/bond/show/", false}, {"/bond/rotate/", true}, {"/bond/setmtu/", true}};
    for (size_t i = 0; i < COUNT_OF(table); i++) {
        if (strncmp(path, table[i].prefix, strlen(table[i].prefix)) == 0 &&
            call->write == table[i].write && !call->erase) {
            api_reply_json(call, 400, json_object());
            return true;
        }
    }
    return false;
}

/* GET /datapath: what the threads that carry frames obtained and did; the reference has none. */
static void reply_datapath(struct api_call *call)
{
    struct datapath_info info;
    if (datapath_info_read(call->svc, &info) < 0) {
        api_reply_empty(call, 500);
        return;
    }
    api_reply_json(call, 200, datapath_info_json(&info));
    datapath_info_done(&info);
}

static bool handle_simple(struct api_call *call, const char *path)
{
    if (!call->read) {
        return false;
    }
    if (strcmp(path, "/status") == 0) {
        reply_status(call, true);
    } else if (strcmp(path, "/health") == 0) {
        reply_status(call, false);
    } else if (strcmp(path, "/datapath") == 0) {
        reply_datapath(call);
    } else if (strcmp(path, "/metrics") == 0) {
        reply_take(call, 200, "text/plain; version=0.0.4; charset=utf-8", metrics_text(call->svc));
    } else {
        return false;
    }
    return true;
}

void api_handle(void *ctx, struct http_request *request)
{
    const char *method = request->method;
    const char *path = request->path;
    struct api_call call = {
        .svc = ctx,
        .request = request,
        .read = strcmp(method, "GET") == 0 || strcmp(method, "HEAD") == 0,
        .write = strcmp(method, "POST") == 0 || strcmp(method, "PUT") == 0,
        .erase = strcmp(method, "DELETE") == 0,
    };
    if (!admit(ctx, request, &call.caller)) {
        if (api_central_owns(path) && api_tokens_unknown(call.svc)) {
            api_central_error(&call, 503, "the controller is not ready");
        } else if (api_central_owns(path)) {
            api_central_error(&call, 401, "no valid token");
        } else {
            api_reply_json(&call, 401, json_object());
        }
        return;
    }
    workers_harvest(call.svc->workers);    /* what is shown is of now */
    if (api_central_handle(&call, path)) { /* any method */
        return;
    }
    bool known = call.read || call.write || call.erase;
    if (!known ||
        !(handle_simple(&call, path) || handle_peer(&call, path) || handle_config(&call, path) ||
          handle_bond(&call, path) || api_network_handle(&call, path) ||
          api_moon_handle(&call, path) || api_world_handle(&call, path) ||
          api_app_handle(&call, path) || api_login_handle(&call, path) ||
          api_backup_handle(&call, path) || api_controller_handle(&call, path))) {
        api_reply_empty(&call, 404);
    }
}
