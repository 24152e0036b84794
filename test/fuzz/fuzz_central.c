/* Requests to the API of the hosted service: the input's first line is a method and a path behind
 * /api, the rest the body; with a first byte above 0x7f the caller is a user with a token who may
 * read one network only. Every request is answered once, by JSON or nothing, and others than 200
 * say what and why. */
#include "fuzz.h"

#include "controller/central.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int on_config(void *ctx, uint64_t nwid, uint64_t dest, uint64_t request_id, const char *dict,
                     size_t len, int64_t now_ms)
{
    (void)ctx, (void)nwid, (void)dest, (void)request_id, (void)dict, (void)len, (void)now_ms;
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
    static unsigned char next;
    (void)ctx;
    for (size_t i = 0; i < len; i++) {
        next = (unsigned char)(next * 37 + 11);
        ((unsigned char *)out)[i] = next;
    }
}

static void on_log(void *ctx, enum log_level level, const char *text)
{
    (void)ctx, (void)level, (void)text;
}

/* What the last request came to. */
struct outcome {
    unsigned answers;
    unsigned status;
    char id[64]; /* of the object */
};

static void on_answer(void *ctx, unsigned status, const char *body, size_t len)
{
    struct outcome *o = ctx;
    json_t *obj = len > 0 ? json_loadb(body, len, JSON_DECODE_ANY, NULL) : NULL;
    const char *id = json_string_value(json_object_get(obj, "id"));
    fuzz_require(len == 0 || obj != NULL, "an answer is JSON");
    fuzz_require(status == 200 || json_is_string(json_object_get(obj, "message")),
                 "an error has a message");
    o->answers++;
    o->status = status;
    (void)snprintf(o->id, sizeof(o->id), "%s", id != NULL ? id : "");
    json_decref(obj);
}

static void ask(struct controller *c, struct caller caller, const char *method, const char *path,
                const char *body, size_t len, struct outcome *o)
{
    char full[272]; /* paths are shorter than 256 */
    (void)snprintf(full, sizeof(full), "/api/v1%s", path);
    struct central_request request = {.method = method,
                                      .path = full,
                                      .body = body,
                                      .body_len = len,
                                      .caller = caller,
                                      .version = "1.0.0",
                                      .started_ms = 1};
    o->answers = 0;
    central_api(c, &request, 1000, on_answer, o);
    fuzz_require(o->answers == 1, "one answer per call");
}

static void post(struct controller *c, const char *path, const char *body, struct outcome *o)
{
    ask(c, (struct caller){.user = ACCOUNTS_ADMIN}, "POST", path, body, strlen(body), o);
}

/* Put the ID of the network where the input says N. */
static void fill_path(const char *line, size_t len, const char *nwid, char *out, size_t cap)
{
    size_t n = 0;
    for (size_t i = 0; i < len && n + 17 < cap && line[i] != '\0'; i++) {
        if (line[i] == 'N') {
            n += (size_t)snprintf(out + n, cap - n, "%s", nwid);
        } else {
            out[n++] = line[i];
        }
    }
    out[n] = '\0';
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    static const char *const methods[] = {"GET", "POST", "DELETE", "PATCH"};
    static const char token[] = "0123456789abcdef0123456789abcdef";
    const struct controller_env env = {
        .send_config = on_config,
        .send_error = on_error,
        .send_revocations = on_revocations,
        .random = on_random,
        .log = on_log,
        .log_level = LOG_LEVEL_ERROR,
    };
    const struct identity id = {.address = UINT64_C(0x0102030405), .has_private = true};
    const char *text = (const char *)data;
    const char *end = len > 0 ? memchr(text, '\n', len) : NULL;
    struct outcome o = {0};
    char network[64];
    char path[256];
    char body[200];
    if (end == NULL) {
        return 0;
    }
    struct controller *c = controller_new(&env, &id, NULL, INT64_C(1700000000000), 1000);
    fuzz_require(c != NULL, "a controller");
    post(c, "/network", "{\"config\":{\"name\":\"n\"}}", &o);
    memcpy(network, o.id, sizeof(network));
    (void)snprintf(path, sizeof(path), "/network/%s/member/aabbccddee", network);
    post(c, path, "{\"config\":{\"authorized\":true}}", &o);
    post(c, "/user", "{\"displayName\":\"u\"}", &o);
    (void)snprintf(path, sizeof(path), "/user/%s/token", o.id);
    (void)snprintf(body, sizeof(body), "{\"tokenName\":\"t\",\"token\":\"%s\"}", token);
    char user[64];
    memcpy(user, o.id, sizeof(user));
    post(c, path, body, &o);
    (void)snprintf(path, sizeof(path), "/network/%s", network);
    (void)snprintf(body, sizeof(body), "{\"permissions\":{\"%s\":{\"r\":true}}}", user);
    post(c, path, body, &o);
    fuzz_require(o.status == 200, "the user may read");
    struct caller caller = {.user = ACCOUNTS_ADMIN};
    if (data[0] >= 0x80) {
        fuzz_require(access_authenticate(c, token, strlen(token), 1000, &caller), "the token");
    }
    fill_path(text + 1, (size_t)(end - text) - (end > text ? 1 : 0), network, path, sizeof(path));
    ask(c, caller, methods[data[0] & 3], path, end + 1, len - (size_t)(end + 1 - text), &o);
    bool restricted = caller.token != 0 && (data[0] & 3) != 0 &&
                      strncmp(path, "/network/", 9) == 0 && path[9] != '\0';
    fuzz_require(!restricted || o.status != 200, "who may read changes no network");
    ask(c, (struct caller){.user = ACCOUNTS_ADMIN}, "GET", "/network", NULL, 0, &o);
    controller_free(c, 2000);
    return 0;
}
