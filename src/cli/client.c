/* libcurl by dlopen: commands that need no HTTP start without it. Source: spec 05 section 4.2. */
#include "cli/client.h"

#include "daemon/http.h"
#include "daemon/state.h"
#include "os/file.h"
#include "os/home.h"
#include "os/library.h"

#include <curl/curl.h>
#include <errno.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#undef curl_easy_setopt
#undef curl_easy_getinfo

enum {
    QUIET_LIMIT_S = 60, /* time without activity */
    PATH_LEN = 1100,
    URL_LEN = 4096,
};

struct curl_lib {
    void *library;
    CURL *handle;
    CURL *(*easy_init)(void);
    CURLcode (*easy_setopt)(CURL *handle, CURLoption option, ...);
    CURLcode (*easy_perform)(CURL *handle);
    CURLcode (*easy_getinfo)(CURL *handle, CURLINFO info, ...);
    void (*easy_cleanup)(CURL *handle);
    void (*easy_reset)(CURL *handle);
    struct curl_slist *(*slist_append)(struct curl_slist *list, const char *text);
    void (*slist_free_all)(struct curl_slist *list);
};

static int read_small(const char *home, const char *name, char *out, size_t cap)
{
    char path[PATH_LEN];
    int err = home_path(home, name, path, sizeof(path));
    if (err < 0) {
        return err;
    }
    ssize_t len = file_read_into(path, out, cap - 1);
    if (len < 0) {
        return (int)len;
    }
    out[len] = '\0';
    state_token_trim(out);
    return out[0] == '\0' ? -ENOENT : 0;
}

int client_discover(struct client *client, const char *home)
{
    char text[CLIENT_TOKEN_MAX];
    if (client->port == 0) {
        if (read_small(home, "zerotier-one.port", text, sizeof(text)) < 0) {
            return -ENOENT;
        }
        unsigned long port = strtoul(text, NULL, 10);
        if (port == 0 || port > 65535) {
            return -ENOENT;
        }
        client->port = (unsigned)port;
    }
    if (client->token[0] != '\0') {
        state_token_trim(client->token);
        return 0;
    }
    int err = read_small(home, "authtoken.secret", client->token, sizeof(client->token));
    const char *user = getenv("HOME");
    if (err < 0 && user != NULL) {
        err = read_small(user, ".zeroTierOneAuthToken", client->token, sizeof(client->token));
    }
    return err < 0 ? -EACCES : 0;
}

static int curl_load(struct curl_lib **ret)
{
    struct curl_lib *c = calloc(1, sizeof(*c));
    if (c == NULL) {
        return -ENOMEM;
    }
    const struct library_symbol table[] = {
        {"curl_easy_init", &c->easy_init},       {"curl_easy_setopt", &c->easy_setopt},
        {"curl_easy_perform", &c->easy_perform}, {"curl_easy_getinfo", &c->easy_getinfo},
        {"curl_easy_cleanup", &c->easy_cleanup}, {"curl_easy_reset", &c->easy_reset},
        {"curl_slist_append", &c->slist_append}, {"curl_slist_free_all", &c->slist_free_all},
    };
    const char *error;
    int err = library_open("libcurl.so.4", table, COUNT_OF(table), &c->library, &error);
    if (err < 0) {
        err = library_open("libcurl-gnutls.so.4", table, COUNT_OF(table), &c->library, &error);
    }
    if (err == 0) {
        c->handle = c->easy_init();
        err = c->handle == NULL ? -ENOMEM : 0;
    }
    if (err < 0) {
        library_close(c->library);
        free(c);
        return err;
    }
    *ret = c;
    return 0;
}

static size_t on_data(char *data, size_t size, size_t count, void *ctx)
{
    struct answer *a = ctx;
    size_t len = size * count;
    if (len > CLIENT_ANSWER_MAX - a->len) {
        return 0;
    }
    char *grown = realloc(a->body, a->len + len + 1);
    if (grown == NULL) {
        return 0;
    }
    memcpy(grown + a->len, data, len);
    a->body = grown;
    a->len += len;
    a->body[a->len] = '\0';
    return len;
}

static void set_common(struct curl_lib *c, const char *url, struct curl_slist *headers,
                       struct answer *answer)
{
    (void)c->easy_setopt(c->handle, CURLOPT_URL, url);
    (void)c->easy_setopt(c->handle, CURLOPT_USERAGENT, HTTP_AGENT_CLI "/" PANLAN_VERSION);
    (void)c->easy_setopt(c->handle, CURLOPT_NOPROXY, "*");
    (void)c->easy_setopt(c->handle, CURLOPT_NOSIGNAL, 1L);
    (void)c->easy_setopt(c->handle, CURLOPT_HTTPHEADER, headers);
    (void)c->easy_setopt(c->handle, CURLOPT_LOW_SPEED_LIMIT, 1L);
    (void)c->easy_setopt(c->handle, CURLOPT_LOW_SPEED_TIME, (long)QUIET_LIMIT_S);
    (void)c->easy_setopt(c->handle, CURLOPT_WRITEFUNCTION, on_data);
    (void)c->easy_setopt(c->handle, CURLOPT_WRITEDATA, (void *)answer);
}

/* Without connection the body tells why. */
static int explain(CURLcode code, struct answer *answer)
{
    free(answer->body);
    answer->status = 0;
    answer->body = strdup(code == CURLE_OPERATION_TIMEDOUT ? "timed out" : "connection failed");
    answer->len = answer->body == NULL ? 0 : strlen(answer->body);
    return answer->body == NULL ? -ENOMEM : 0;
}

int client_request(struct client *client, const char *method, const char *path, const char *body,
                   struct answer *ret)
{
    char url[URL_LEN];
    char header[CLIENT_TOKEN_MAX + 32];
    int err = client->curl == NULL ? curl_load(&client->curl) : 0;
    if (err < 0) {
        return err;
    }
    struct curl_lib *c = client->curl;
    bool v6 = strchr(client->host, ':') != NULL;
    (void)snprintf(url, sizeof(url), v6 ? "http://[%s]:%u%s" : "http://%s:%u%s", client->host,
                   client->port, path);
    (void)snprintf(header, sizeof(header), "X-ZT1-Auth: %s", client->token);
    struct curl_slist *headers = c->slist_append(NULL, header);
    headers = c->slist_append(headers, "Content-Type: application/json");
    headers = c->slist_append(headers, "Expect:");
    struct answer answer = {.body = strdup("")};
    c->easy_reset(c->handle);
    set_common(c, url, headers, &answer);
    if (strcmp(method, "GET") != 0) {
        (void)c->easy_setopt(c->handle, CURLOPT_CUSTOMREQUEST, method);
    }
    if (strcmp(method, "POST") == 0) {
        (void)c->easy_setopt(c->handle, CURLOPT_POSTFIELDS, body == NULL ? "" : body);
    }
    CURLcode code = c->easy_perform(c->handle);
    if (code == CURLE_OK) {
        (void)c->easy_getinfo(c->handle, CURLINFO_RESPONSE_CODE, &answer.status);
    } else {
        err = explain(code, &answer);
    }
    c->slist_free_all(headers);
    sodium_memzero(header, sizeof(header));
    if (err < 0 || answer.body == NULL) {
        free(answer.body);
        return -ENOMEM;
    }
    *ret = answer;
    return 0;
}

void answer_done(struct answer *answer)
{
    free(answer->body);
    *answer = (struct answer){0};
}

void client_close(struct client *client)
{
    if (client->curl != NULL) {
        client->curl->easy_cleanup(client->curl->handle); /* the library stays to the end */
        free(client->curl);
        client->curl = NULL;
    }
    sodium_memzero(client->token, sizeof(client->token));
}
