/* The token endpoint of single sign-on. Source: spec 04 section 4.9; OpenID Connect Discovery 1.0
 * section 4. */
#include "daemon/login.h"

#include "controller/sso.h"
#include "daemon/fetch.h"
#include "daemon/log.h"
#include "daemon/pubkey.h"
#include "daemon/service_priv.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { URL_LEN = 2048 };

/* A login that waits for the keys of its issuer. */
struct login {
    struct sso_login *sso;
    struct http_request *request;
    bool has_place; /* the answer that comes is the key set, not where it is */
};

void logins_init(struct logins *logins, struct service *svc)
{
    *logins = (struct logins){.svc = svc};
}

/* ---- answers ---- */

/* A page for people; nodes look at the status only. */
static void answer(struct http_request *request, unsigned status, const char *text)
{
    static const char page[] = "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\">"
                               "<meta name=\"viewport\" content=\"width=device-width\">"
                               "<title>Panlan</title><p>%s.</p></html>\n";
    size_t cap = sizeof(page) + strlen(text);
    char *body = malloc(cap);
    struct http_reply reply = {.status = status, .body = body};
    if (body != NULL) {
        reply.len = (size_t)snprintf(body, cap, page, text);
        reply.type = "text/html; charset=utf-8";
    }
    http_answer(request, &reply);
}

/* Finish with a key set, or without (NULL). */
static void finish(struct service *svc, struct sso_login *sso, struct http_request *request,
                   const char *keys, size_t len)
{
    const char *text = "the controller is stopping; try again";
    unsigned status = 503;
    if (svc->ctl.controller == NULL) {
        sso_login_free(sso);
    } else {
        status = sso_login_finish(svc->ctl.controller, sso, keys, len, pubkey_verify, NULL,
                                  service_now(), &text);
    }
    if (status != 200) {
        log_write(LOG_LEVEL_INFO, "sso", "login refused status=%u reason=\"%s\"", status, text);
    }
    answer(request, status, text);
}

/* ---- keys ---- */

static struct login_keys *keys_find(struct logins *logins, const char *issuer)
{
    for (size_t i = 0; i < LOGIN_ISSUERS_MAX; i++) {
        struct login_keys *k = &logins->keys[i];
        if (k->issuer != NULL && strcmp(k->issuer, issuer) == 0) {
            return k;
        }
    }
    return NULL;
}

static void keys_clear(struct login_keys *k)
{
    free(k->issuer);
    free(k->text);
    *k = (struct login_keys){0};
}

/* Where keys of an issuer go: to the old ones, a free place, or that of the oldest. */
static struct login_keys *keys_place(struct logins *logins, const char *issuer)
{
    struct login_keys *best = keys_find(logins, issuer);
    for (size_t i = 0; best == NULL && i < LOGIN_ISSUERS_MAX; i++) {
        best = logins->keys[i].issuer == NULL ? &logins->keys[i] : NULL;
    }
    if (best != NULL) {
        return best;
    }
    best = &logins->keys[0];
    for (size_t i = 1; i < LOGIN_ISSUERS_MAX; i++) {
        best = logins->keys[i].fetched_ms < best->fetched_ms ? &logins->keys[i] : best;
    }
    return best;
}

static void keys_keep(struct logins *logins, const char *issuer, const char *text, size_t len)
{
    struct login_keys *k = keys_place(logins, issuer);
    struct login_keys next = {.issuer = strdup(issuer), .text = malloc(len + 1), .len = len};
    if (next.issuer == NULL || next.text == NULL) {
        keys_clear(&next);
        return;
    }
    memcpy(next.text, text, len);
    next.text[len] = '\0';
    next.fetched_ms = service_now();
    keys_clear(k);
    *k = next;
}

/* Where the key set is, out of the issuer's description of itself. Returns false if it does not
 * say, or describes another. */
static bool find_place(const char *text, size_t len, const char *issuer, char ret[URL_LEN])
{
    json_t *doc = json_loadb(text, len, JSON_REJECT_DUPLICATES, NULL);
    const char *self = json_string_value(json_object_get(doc, "issuer"));
    const char *url = json_string_value(json_object_get(doc, "jwks_uri"));
    /* Keys come as safely as the description did. */
    const char *mark = strstr(issuer, "://");
    size_t scheme = mark != NULL ? (size_t)(mark - issuer) + 3 : 0;
    bool good = self != NULL && url != NULL && strcmp(self, issuer) == 0 && strlen(url) < URL_LEN &&
                (strncmp(url, "https://", 8) == 0 || strncmp(url, issuer, scheme) == 0);
    if (good) {
        memcpy(ret, url, strlen(url) + 1);
    }
    json_decref(doc);
    return good;
}

/* ---- waiting ---- */

static void on_fetched(void *ctx, uint64_t slot, const struct fetch_answer *answer);

static void login_end(struct logins *logins, size_t slot, const char *keys, size_t len)
{
    struct login *l = logins->waiting[slot];
    logins->waiting[slot] = NULL;
    finish(logins->svc, l->sso, l->request, keys, len);
    free(l);
}

static bool fetch_go(struct logins *logins, size_t slot, const char *url)
{
    struct fetch_request request = {.id = slot, .url = url, .done = on_fetched, .ctx = logins};
    return fetch_start(&logins->svc->fetch, &request) == 0;
}

static void on_fetched(void *ctx, uint64_t slot, const struct fetch_answer *answer)
{
    struct logins *logins = ctx;
    struct login *l = logins->waiting[slot];
    char url[URL_LEN];
    const char *issuer = sso_login_issuer(l->sso);
    bool good = answer->status == 200 && !answer->is_cut;
    if (!good) {
        log_write(LOG_LEVEL_WARN, "sso", "no keys of a login service issuer=%s status=%u", issuer,
                  answer->status);
    } else if (l->has_place) {
        keys_keep(logins, issuer, answer->body, answer->len);
        login_end(logins, slot, answer->body, answer->len);
        return;
    } else if (find_place(answer->body, answer->len, issuer, url)) {
        l->has_place = true;
        if (fetch_go(logins, slot, url)) {
            return;
        }
    }
    login_end(logins, slot, NULL, 0);
}

static void wait_for_keys(struct logins *logins, struct sso_login *sso,
                          struct http_request *request)
{
    char url[URL_LEN];
    const char *issuer = sso_login_issuer(sso);
    size_t len = strlen(issuer);
    size_t slot = 0;
    while (slot < LOGIN_WAITING_MAX && logins->waiting[slot] != NULL) {
        slot++;
    }
    while (len > 0 && issuer[len - 1] == '/') {
        len--;
    }
    int n = snprintf(url, sizeof(url), "%.*s/.well-known/openid-configuration", (int)len, issuer);
    struct login *l = slot < LOGIN_WAITING_MAX ? calloc(1, sizeof(*l)) : NULL;
    if (l == NULL || n < 0 || (size_t)n >= sizeof(url)) {
        free(l);
        finish(logins->svc, sso, request, NULL, 0);
        return;
    }
    *l = (struct login){.sso = sso, .request = request};
    logins->waiting[slot] = l;
    if (!fetch_go(logins, slot, url)) {
        login_end(logins, slot, NULL, 0);
    }
}

bool api_login_handle(struct api_call *call, const char *path)
{
    struct service *svc = call->svc;
    struct http_request *request = call->request;
    struct sso_login *sso = NULL;
    const char *why = NULL;
    if (strcmp(path, "/sso") != 0 || !call->write || svc->ctl.controller == NULL) {
        return false;
    }
    if (sso_login_new(svc->ctl.controller, request->body, request->body_len, service_now(), &sso,
                      &why) != 0) {
        answer(request, 400, why);
        return true;
    }
    const struct login_keys *k = keys_find(&svc->logins, sso_login_issuer(sso));
    if (k != NULL && service_now() - k->fetched_ms < LOGIN_KEYS_MS) {
        finish(svc, sso, request, k->text, k->len);
    } else {
        wait_for_keys(&svc->logins, sso, request);
    }
    return true;
}

void logins_stop(struct logins *logins)
{
    for (size_t i = 0; i < LOGIN_WAITING_MAX; i++) {
        if (logins->waiting[i] != NULL) {
            login_end(logins, i, NULL, 0);
        }
    }
    for (size_t i = 0; i < LOGIN_ISSUERS_MAX; i++) {
        keys_clear(&logins->keys[i]);
    }
}
