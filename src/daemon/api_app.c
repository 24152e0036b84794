/* Static files of <home>/app under /app, with enableWebServer. Source: spec 05 section 3.11. */
#include "daemon/api_priv.h"
#include "daemon/service_priv.h"
#include "os/file.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    APP_FILE_MAX = 64 << 20,
    APP_PATH_MAX = STATE_PATH_MAX + 2048,
};

static const char *content_type(const char *path)
{
    static const char *const types[][2] = {
        {".html", "text/html; charset=utf-8"},
        {".css", "text/css; charset=utf-8"},
        {".js", "text/javascript; charset=utf-8"},
        {".json", "application/json"},
        {".svg", "image/svg+xml"},
        {".png", "image/png"},
        {".jpg", "image/jpeg"},
        {".ico", "image/x-icon"},
        {".woff2", "font/woff2"},
        {".txt", "text/plain; charset=utf-8"},
        {".wasm", "application/wasm"},
    };
    const char *dot = strrchr(path, '.');
    for (size_t i = 0; dot != NULL && i < COUNT_OF(types); i++) {
        if (strcmp(dot, types[i][0]) == 0) {
            return types[i][1];
        }
    }
    return "application/octet-stream";
}

/* No component may lead upward or hide. */
static bool is_safe(const char *path)
{
    for (const char *p = path; (p = strchr(p, '/')) != NULL;) {
        p++;
        if (*p == '.') {
            return false;
        }
    }
    return strchr(path, '\\') == NULL;
}

/* Answer with a file below the home; false if there is no such regular file. */
static bool send_file(struct api_call *call, const char *name)
{
    char path[APP_PATH_MAX];
    char *text = NULL;
    size_t len = 0;
    if (snprintf(path, sizeof(path), "%s%s", call->svc->state.home, name) >= (int)sizeof(path)) {
        return false;
    }
    char *real = realpath(path, NULL); /* links must not lead out of it either */
    char root[APP_PATH_MAX];
    (void)snprintf(root, sizeof(root), "%s/app", call->svc->state.home);
    char *real_root = realpath(root, NULL);
    size_t root_len = real_root == NULL ? 0 : strlen(real_root);
    bool inside = real != NULL && real_root != NULL && strncmp(real, real_root, root_len) == 0 &&
                  real[root_len] == '/';
    int err = inside ? file_read(real, APP_FILE_MAX, &text, &len) : -ENOENT;
    free(real);
    free(real_root);
    if (err < 0) {
        return false;
    }
    struct http_reply reply = {.status = 200, .type = content_type(name), .body = text, .len = len};
    http_answer(call->request, &reply);
    return true;
}

static bool send_joined(struct api_call *call, const char *path, const char *suffix)
{
    char name[2048];
    if (snprintf(name, sizeof(name), "%s%s", path, suffix) >= (int)sizeof(name)) {
        return false;
    }
    return send_file(call, name);
}

/* "/app/<first>/index.html" for a path below it. */
static bool send_first(struct api_call *call, const char *path)
{
    char name[2048];
    const char *first = path + strlen("/app/");
    const char *slash = strchr(first, '/');
    size_t len = slash == NULL ? strlen("/app") : (size_t)(slash - path);
    if (snprintf(name, sizeof(name), "%.*s/index.html", (int)len, path) >= (int)sizeof(name)) {
        return false;
    }
    return send_file(call, name);
}

static void redirect(struct api_call *call, const char *path)
{
    char location[2048];
    if (snprintf(location, sizeof(location), "%s/", path) >= (int)sizeof(location)) {
        api_reply_empty(call, 404);
        return;
    }
    struct http_reply reply = {.status = 301, .location = location};
    http_answer(call->request, &reply);
}

bool api_app_handle(struct api_call *call, const char *path)
{
    bool below = strncmp(path, "/app/", strlen("/app/")) == 0;
    if (!call->svc->config->web_server || !call->read || !is_safe(path) ||
        (!below && strcmp(path, "/app") != 0)) {
        return false;
    }
    if (path[strlen(path) - 1] == '/') {
        return send_joined(call, path, "index.html") || send_first(call, path);
    }
    if (strchr(strrchr(path, '/'), '.') != NULL) {
        return send_file(call, path);
    }
    if (!send_joined(call, path, ".html")) {
        redirect(call, path);
    }
    return true;
}
