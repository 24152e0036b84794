/* Posted bodies, paths and meta-data against a controller without a store. Input: a line that
 * selects what to do, then the body. Every answer with a body must be JSON, and what members are
 * sent must decode. */
#include "fuzz.h"

#include "controller/api.h"
#include "controller/controller.h"
#include "wire/netconf.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define NWID UINT64_C(0x0102030405000001)

static const char *const paths[] = {
    "/controller/network/0102030405000001",
    "/controller/network/0102030405000001/member/aabbccddee",
    "/controller/network/0102030405000001/invite-token",
    "/controller/network/default",
    "/controller/network/0102030405______",
    "/controller/hook",
    "/controller/log",
    "/controller/network/0102030405000001/member/aabbccddee/history",
};

static int on_config(void *ctx, uint64_t nwid, uint64_t dest, uint64_t request_id, const char *dict,
                     size_t len, int64_t now_ms)
{
    struct netconf conf;
    (void)ctx, (void)nwid, (void)dest, (void)request_id, (void)now_ms;
    fuzz_require(netconf_decode(dict, len, &conf) == 0, "a sent configuration decodes");
    netconf_free(&conf);
    return 0;
}

static void on_error(void *ctx, uint64_t nwid, uint64_t dest, uint64_t request_id,
                     enum error_code code, const void *data, size_t len, int64_t now_ms)
{
    (void)ctx, (void)nwid, (void)dest, (void)request_id, (void)code, (void)data, (void)len;
    (void)now_ms;
}

static int on_revocations(void *ctx, uint64_t dest, const struct revocation *revocations,
                          size_t count, int64_t now_ms)
{
    (void)ctx, (void)dest, (void)revocations, (void)count, (void)now_ms;
    return 0;
}

static void on_random(void *ctx, void *out, size_t len)
{
    (void)ctx;
    for (size_t i = 0; i < len; i++) {
        ((unsigned char *)out)[i] = (unsigned char)(i * 37 + 5);
    }
}

static void on_log(void *ctx, enum log_level level, const char *text)
{
    (void)ctx, (void)level, (void)text;
}

static void on_answer(void *ctx, unsigned status, const char *body, size_t len)
{
    (void)status;
    ++*(unsigned *)ctx;
    if (len > 0) {
        json_t *obj = json_loadb(body, len, JSON_DECODE_ANY, NULL);
        fuzz_require(obj != NULL, "an answer is JSON");
        json_decref(obj);
    }
}

static void ask(struct controller *c, const void *meta, size_t len, int64_t now_ms)
{
    struct inetaddr from = {.family = INETADDR_NIL};
    struct identity id = {.address = UINT64_C(0xaabbccddee)};
    controller_request(c, NWID, &from, 1, &id, meta, len, now_ms);
    controller_tick(c, now_ms);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    static const char first[] = "{\"private\":false}";
    const struct controller_env env = {
        .send_config = on_config,
        .send_error = on_error,
        .send_revocations = on_revocations,
        .random = on_random,
        .log = on_log,
        .log_level = LOG_LEVEL_ERROR,
    };
    const struct identity id = {.address = UINT64_C(0x0102030405), .has_private = true};
    struct controller *c = controller_new(&env, &id, NULL, INT64_C(1700000000000), 1000);
    unsigned answers = 0;
    fuzz_require(c != NULL, "a controller");
    struct controller_api_request request = {
        .method = "POST", .path = paths[0], .body = first, .body_len = strlen(first)};
    controller_api(c, &request, 1000, on_answer, &answers);
    if (len > 0) {
        const char *body = (const char *)data + 1;
        request.path = paths[data[0] % COUNT_OF(paths)];
        request.query = data[0] >= 128 ? "strict=1" : NULL;
        request.body = body;
        request.body_len = len - 1;
        controller_api(c, &request, 1000, on_answer, &answers);
        ask(c, body, len - 1, 5000);
        char query[128];
        (void)snprintf(query, sizeof(query), "%.*s", (int)(len - 1), body);
        request =
            (struct controller_api_request){.method = "GET", .path = request.path, .query = query};
        controller_api(c, &request, 5000, on_answer, &answers);
        controller_trace(c, UINT64_C(0xaabbccddee), body, len - 1, 5000);
        request.method = "DELETE";
        controller_api(c, &request, 5000, on_answer, &answers);
        fuzz_require(answers == 4, "one answer per call, the first included");
        ask(c, "revr=1", 6, 9000);
    }
    controller_free(c, 9000);
    return 0;
}
