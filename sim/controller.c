/* A controller on a simulated node: the real one, without a store. */
#include "sim_priv.h"

#include "controller/api.h"
#include "wire/mac.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

static int env_config(void *ctx, uint64_t nwid, uint64_t dest, uint64_t request_id,
                      const char *dict, size_t len, int64_t now_ms)
{
    const struct sim_node *node = ctx;

    return node_config_send(node->node, nwid, dest, request_id, dict, len, now_ms);
}

static void env_error(void *ctx, uint64_t nwid, uint64_t dest, uint64_t request_id,
                      enum error_code code, const void *data, size_t len, int64_t now_ms)
{
    const struct sim_node *node = ctx;

    node_config_error(node->node, nwid, dest, request_id, code, data, len, now_ms);
}

static int env_revocations(void *ctx, uint64_t dest, const struct revocation *revocations,
                           size_t count, int64_t now_ms)
{
    const struct sim_node *node = ctx;

    return node_revocations_send(node->node, dest, revocations, count, now_ms);
}

static void env_random(void *ctx, void *out, size_t len)
{
    struct sim_node *node = ctx;
    uint8_t *p = out;

    for (size_t i = 0; i < len; i++) {
        p[i] = (uint8_t)sim_random(node->sim, 256);
    }
}

static void env_log(void *ctx, enum log_level level, const char *text)
{
    const struct sim_node *node = ctx;

    if (node->sim->verbose) {
        (void)fprintf(stderr, "n%u controller %d %s\n", node->index, level, text);
    }
}

static void on_request(void *ctx, uint64_t nwid, const struct inetaddr *from, uint64_t request_id,
                       const struct identity *identity, const void *meta, size_t meta_len,
                       int64_t now_ms)
{
    const struct sim_node *node = ctx;

    controller_request(node->controller, nwid, from, request_id, identity, meta, meta_len, now_ms);
}

void sim_controller(struct sim_node *node)
{
    struct controller_env env = {
        .send_config = env_config,
        .send_error = env_error,
        .send_revocations = env_revocations,
        .random = env_random,
        .log = env_log,
        .ctx = node,
        .log_level = node->sim->verbose ? LOG_LEVEL_DEBUG : LOG_LEVEL_ERROR,
    };

    node->controller =
        controller_new(&env, &node->identity, NULL, 1700000000000, node->sim->now_ms);
    assert(node->controller != NULL);
    node_set_controller(node->node, &(struct node_controller){.ctx = node, .request = on_request});
}

void sim_controller_stop(struct sim_node *node)
{
    if (node->controller != NULL) {
        controller_free(node->controller, node->sim->now_ms);
        node->controller = NULL;
    }
}

struct answer {
    unsigned status;
    uint64_t nwid;
};

static void on_answer(void *ctx, unsigned status, const char *body, size_t len)
{
    struct answer *answer = ctx;
    const char *id = len > 0 ? strstr(body, "\"id\":\"") : NULL;

    answer->status = status;
    if (id != NULL && strlen(id) >= 22) {
        (void)!network_id_parse(id + 6, 16, &answer->nwid);
    }
}

static uint64_t call(struct sim_node *node, const char *path, const char *json)
{
    struct answer answer = {0};
    struct controller_api_request request = {
        .method = "POST", .path = path, .body = json, .body_len = strlen(json)};

    controller_api(node->controller, &request, node->sim->now_ms, on_answer, &answer);
    if (answer.status != 200) {
        (void)fprintf(stderr, "POST %s: %u\n", path, answer.status);
        abort();
    }
    return answer.nwid;
}

uint64_t sim_create_network(struct sim_node *node, const char *json)
{
    char path[64];

    (void)snprintf(path, sizeof(path), "/controller/network/%010llx______",
                   (unsigned long long)node->identity.address);
    return call(node, path, json);
}

void sim_set_network(struct sim_node *node, uint64_t nwid, const char *json)
{
    char path[64];

    (void)snprintf(path, sizeof(path), "/controller/network/%016llx", (unsigned long long)nwid);
    (void)call(node, path, json);
}

void sim_set_member(struct sim_node *node, uint64_t nwid, const struct sim_node *member,
                    const char *json)
{
    char path[96];

    (void)snprintf(path, sizeof(path), "/controller/network/%016llx/member/%010llx",
                   (unsigned long long)nwid, (unsigned long long)member->identity.address);
    (void)call(node, path, json);
}
