/* Logins of members: nonces, states, what members are told, expiry. The posted token is handled in
 * sso_login.c. Source: spec 04 section 4.9. */
#include "controller/sso.h"

#include "base/dict.h"
#include "base/hex.h"
#include "controller/coerce.h"
#include "controller/note.h"
#include "controller/sso_priv.h"
#include "crypto/sha.h"

#include <errno.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define KEY_SESSION "ssoSession" /* in stored documents of members only */

enum { SSO_DICT_MAX = 8191 };

struct sso {
    char url[SSO_URL_MAX]; /* of the token endpoint, "" not set */
    struct timer timer;
    struct controller *c;
    uint8_t key[SHA384_LEN]; /* of states; from the identity, so it needs no storage */
    /* Texts of the configuration made last. */
    struct netconf_sso conf;
    char nonce[SSO_NONCE_TEXT + 1];
    char state[SSO_STATE_TEXT + 18];
    char login_url[SSO_URL_MAX];
};

/* ---- settings ---- */

static const char *text_in(const json_t *obj, const char *key, const char *fallback)
{
    const char *text = json_string_value(json_object_get(obj, key));
    return text != NULL && text[0] != '\0' ? text : fallback;
}

bool sso_settings(const struct cnetwork *net, struct sso_settings *ret)
{
    const json_t *conf = json_object_get(net->doc, "ssoConfig");
    if (!net->plan.wants_login) {
        return false;
    }
    ret->issuer = text_in(conf, "issuer", "");
    ret->client_id = text_in(conf, "clientId", text_in(net->doc, "clientId", ""));
    ret->provider = text_in(conf, "provider", "default");
    ret->mode = text_in(conf, "mode", "default");
    ret->endpoint =
        text_in(conf, "authorizationEndpoint", text_in(net->doc, "authorizationEndpoint", ""));
    ret->allow = json_object_get(conf, "allowList");
    return true;
}

/* ---- sessions ---- */

static struct sso *sso_of(struct controller *c)
{
    if (c->sso == NULL) {
        static const char label[] = "panlan sso state";
        c->sso = calloc(1, sizeof(*c->sso));
        if (c->sso != NULL) {
            c->sso->c = c;
            hmac_sha384(c->identity.priv, sizeof(c->identity.priv), label, sizeof(label) - 1,
                        c->sso->key);
        }
    }
    return c->sso;
}

void controller_set_sso_url(struct controller *c, const char *url)
{
    struct sso *sso = sso_of(c);
    if (sso != NULL) {
        (void)snprintf(sso->url, sizeof(sso->url), "%s", url != NULL ? url : "");
    }
}

static uint64_t key_of(const uint8_t nonce[SSO_NONCE_LEN])
{
    return be64_get(nonce);
}

struct sso_session *sso_session_find(const struct model *model, const uint8_t nonce[SSO_NONCE_LEN])
{
    struct hmap_node *it = hmap_find(&model->sso_sessions, key_of(nonce));
    for (; it != NULL; it = hmap_next_same(it)) {
        struct sso_session *s = CONTAINER_OF(it, struct sso_session, node);
        if (sodium_memcmp(s->nonce, nonce, SSO_NONCE_LEN) == 0) {
            return s;
        }
    }
    return NULL;
}

/* A session with a nonce of its own for the member. Returns 0; -ENOMEM. */
static int session_add(struct model *model, struct cmember *m, const uint8_t nonce[SSO_NONCE_LEN],
                       int64_t now_ms)
{
    struct sso_session *s = calloc(1, sizeof(*s));
    if (s == NULL) {
        return -ENOMEM;
    }
    memcpy(s->nonce, nonce, SSO_NONCE_LEN);
    s->member = m;
    s->made_ms = now_ms;
    if (hmap_insert(&model->sso_sessions, &s->node, key_of(nonce)) != 0) {
        free(s);
        return -ENOMEM;
    }
    m->sso = s;
    return 0;
}

void sso_forget(struct model *model, struct cmember *m)
{
    if (m->sso != NULL) {
        hmap_remove(&model->sso_sessions, &m->sso->node);
        free(m->sso->subject);
        free(m->sso);
        m->sso = NULL;
    }
}

/* The member's session; a new one if there is none that is of use. NULL out of memory. */
static struct sso_session *session_of(struct controller *c, struct cmember *m, int64_t now_ms)
{
    struct sso_session *s = m->sso;
    bool valid = m->auth_expiry_ms > controller_wall(c, now_ms);
    if (s != NULL && (s->used ? valid : now_ms - s->made_ms < SSO_LOGIN_MS)) {
        return s;
    }
    uint8_t nonce[SSO_NONCE_LEN];
    c->env.random(c->env.ctx, nonce, sizeof(nonce));
    sso_forget(&c->model, m);
    return session_add(&c->model, m, nonce, now_ms) == 0 ? m->sso : NULL;
}

void sso_state_text(const struct controller *c, const uint8_t nonce[SSO_NONCE_LEN],
                    char ret[SSO_STATE_TEXT + 1])
{
    uint8_t mac[SHA384_LEN];
    hmac_sha384(c->sso->key, sizeof(c->sso->key), nonce, SSO_NONCE_LEN, mac);
    hex_encode(mac, sizeof(mac), ret);
    ret[SSO_STATE_TEXT] = '\0';
}

/* ---- expiry ---- */

static void arm(struct controller *c, int64_t delay_ms, int64_t now_ms);

/* The login of a member is over: its membership is, too, until the next one. Its `authorized` is
 * as it was (CTL-89). */
static void end_login(struct controller *c, struct sso_session *s, int64_t now_ms)
{
    struct cmember *m = s->member;
    struct store_tx *tx = store_tx_new();
    struct note note = {.type = NOTE_SSO_ENDED, .nwid = m->net->nwid, .member = m->address};
    s->ended = true;
    c->counts.sso_timeouts++;
    m->sent_hash = 0;
    if (tx == NULL || (m->authorized && (revoke_member(c, m->net, m->address, tx, now_ms) != 0 ||
                                         note_add(c, tx, &note, now_ms) != 0))) {
        controller_log(c, LOG_LEVEL_WARN, "controller: out of memory, a login ends unsaid");
        store_tx_free(tx);
        return;
    }
    controller_commit(c, tx, NULL, NULL);
}

static void sweep(struct timer *timer, int64_t now_ms)
{
    struct sso *sso = CONTAINER_OF(timer, struct sso, timer);
    struct controller *c = sso->c;
    int64_t wall = controller_wall(c, now_ms);
    int64_t next = -1;
    struct hmap_node *it = NULL;
    c->counts.sso_checks++;
    while ((it = hmap_each(&c->model.sso_sessions, it)) != NULL) {
        struct sso_session *s = CONTAINER_OF(it, struct sso_session, node);
        struct sso_settings settings;
        if (s->ended || s->member->auth_expiry_ms == 0 || s->member->sso_exempt ||
            !sso_settings(s->member->net, &settings)) {
            continue;
        }
        int64_t left = s->member->auth_expiry_ms - wall;
        if (left <= 0) {
            end_login(c, s, now_ms);
        } else if (next < 0 || left < next) {
            next = left;
        }
    }
    if (next >= 0) {
        arm(c, next, now_ms);
    }
}

/* Look again in delay_ms, or earlier if that is arranged. */
static void arm(struct controller *c, int64_t delay_ms, int64_t now_ms)
{
    struct sso *sso = c->sso;
    int64_t at_ms = now_ms + (delay_ms < SSO_SWEEP_MS ? SSO_SWEEP_MS : delay_ms);
    sso->timer.fire = sweep;
    if (timer_is_armed(&sso->timer) && sso->timer.at_ms <= at_ms) {
        return;
    }
    if (timers_arm(&c->timers, &sso->timer, at_ms) != 0) {
        controller_log(c, LOG_LEVEL_WARN, "controller: out of memory for the end of a login");
    }
}

bool sso_is_open(struct controller *c, struct cmember *m, int64_t now_ms)
{
    struct sso_settings settings;
    if (m->sso_exempt || !sso_settings(m->net, &settings)) {
        return true;
    }
    int64_t left = m->auth_expiry_ms - controller_wall(c, now_ms);
    if (left <= 0 || sso_of(c) == NULL) {
        return false;
    }
    struct sso_session *s = session_of(c, m, now_ms);
    if (s != NULL) {
        s->ended = false;
        arm(c, left, now_ms);
    }
    return true;
}

/* ---- what members are told ---- */

/* Append text with everything but unreserved characters of RFC 3986 escaped. */
static size_t put_escaped(char *out, size_t cap, size_t used, const char *text)
{
    for (; *text != '\0'; text++) {
        unsigned char ch = (unsigned char)*text;
        bool plain = (ch >= 'a' && ch <= 'z') || (ch >= 'A' && ch <= 'Z') ||
                     (ch >= '0' && ch <= '9') || strchr("-._~", ch) != NULL;
        int n = snprintf(out + used, cap - used, plain ? "%c" : "%%%02X", ch);
        if (n < 0 || (size_t)n >= cap - used) {
            return cap; /* does not fit */
        }
        used += (size_t)n;
    }
    return used;
}

/* The URL of version 0. Returns false if it does not fit. */
static bool make_login_url(struct sso *sso, const struct sso_settings *settings)
{
    size_t cap = sizeof(sso->login_url);
    int n = snprintf(sso->login_url, cap,
                     "%s%cresponse_type=id_token&response_mode=form_post"
                     "&scope=openid+email+profile&redirect_uri=",
                     settings->endpoint, strchr(settings->endpoint, '?') != NULL ? '&' : '?');
    if (n < 0 || (size_t)n >= cap) {
        return false;
    }
    size_t used = put_escaped(sso->login_url, cap, (size_t)n, sso->url);
    if (used >= cap) {
        return false;
    }
    n = snprintf(sso->login_url + used, cap - used, "&nonce=%s&state=%s&client_id=", sso->nonce,
                 sso->state);
    if (n < 0 || (size_t)n >= cap - used) {
        return false;
    }
    return put_escaped(sso->login_url, cap, used + (size_t)n, settings->client_id) < cap;
}

struct netconf_sso *sso_config(struct controller *c, struct cmember *m, int64_t now_ms)
{
    struct sso_settings settings;
    if (m->sso_exempt || !sso_settings(m->net, &settings) || sso_of(c) == NULL) {
        return NULL;
    }
    struct sso *sso = c->sso;
    struct sso_session *s = session_of(c, m, now_ms);
    if (s == NULL || settings.issuer[0] == '\0' || settings.client_id[0] == '\0' ||
        sso->url[0] == '\0') {
        return NULL;
    }
    hex_encode(s->nonce, SSO_NONCE_LEN, sso->nonce);
    sso->nonce[SSO_NONCE_TEXT] = '\0';
    sso_state_text(c, s->nonce, sso->state);
    sso->conf = (struct netconf_sso){.enabled = true,
                                     .auth_expiry = m->auth_expiry_ms,
                                     .auth_url = "",
                                     .issuer_url = "",
                                     .central_url = "",
                                     .nonce = "",
                                     .state = "",
                                     .client_id = "",
                                     .provider = "default"};
    if (settings.endpoint[0] != '\0') {
        sso->conf.auth_url = sso->login_url;
        return make_login_url(sso, &settings) ? &sso->conf : NULL;
    }
    sso->conf.version = 1;
    (void)snprintf(sso->state + SSO_STATE_TEXT, sizeof(sso->state) - SSO_STATE_TEXT, "_%016llx",
                   (unsigned long long)m->net->nwid);
    sso->conf.issuer_url = settings.issuer;
    sso->conf.central_url = sso->url;
    sso->conf.nonce = sso->nonce;
    sso->conf.state = sso->state;
    sso->conf.client_id = settings.client_id;
    sso->conf.provider = settings.provider;
    return &sso->conf;
}

int sso_refuse(struct controller *c, struct cmember *m, uint64_t request_id, int64_t now_ms)
{
    const struct netconf_sso *conf = sso_config(c, m, now_ms);
    char text[SSO_DICT_MAX + 1];
    struct dict_writer w = dict_writer_init(text, sizeof(text));
    c->counts.denied++;
    if (request_id == 0) {
        return 0;
    }
    if (conf != NULL) {
        dict_put_u64(&w, "aV", conf->version);
    }
    if (conf != NULL && conf->version == 0) {
        dict_put_text(&w, "aU", conf->auth_url);
    } else if (conf != NULL) {
        dict_put_text(&w, "iU", conf->issuer_url);
        dict_put_text(&w, "aCU", conf->central_url);
        dict_put_text(&w, "aN", conf->nonce);
        dict_put_text(&w, "aS", conf->state);
        dict_put_text(&w, "aCID", conf->client_id);
        dict_put_text(&w, "aSSOp", conf->provider);
    }
    bool good = conf != NULL && !w.bad;
    c->env.send_error(c->env.ctx, m->net->nwid, m->address, request_id,
                      ERROR_NETWORK_AUTHENTICATION_REQUIRED, good ? text : NULL, good ? w.len : 0,
                      now_ms);
    return good ? 0 : -EINVAL;
}

/* ---- over restarts ---- */

int sso_store(const struct cmember *m, json_t *doc)
{
    char nonce[SSO_NONCE_TEXT + 1];
    if (m->sso == NULL || !m->sso->used || m->sso->subject == NULL) {
        return 0;
    }
    hex_encode(m->sso->nonce, SSO_NONCE_LEN, nonce);
    nonce[SSO_NONCE_TEXT] = '\0';
    return json_object_set_new(doc, KEY_SESSION,
                               json_pack("{ssss}", "nonce", nonce, "subject", m->sso->subject));
}

static void restore(struct controller *c, struct cmember *m, const json_t *stored, int64_t now_ms)
{
    const char *nonce_text = json_string_value(json_object_get(stored, "nonce"));
    const char *subject = json_string_value(json_object_get(stored, "subject"));
    uint8_t nonce[SSO_NONCE_LEN];
    if (m->auth_expiry_ms == 0 || nonce_text == NULL || subject == NULL ||
        hex_decode(nonce_text, strlen(nonce_text), nonce, sizeof(nonce)) != 0 ||
        session_add(&c->model, m, nonce, now_ms) != 0) {
        return;
    }
    m->sso->used = true;
    m->sso->subject = strdup(subject);
    if (sso_of(c) != NULL) {
        arm(c, m->auth_expiry_ms - controller_wall(c, now_ms), now_ms);
    }
}

void sso_restore(struct controller *c, int64_t now_ms)
{
    struct cmember *m = NULL;
    while ((m = model_next_member(&c->model, m)) != NULL) {
        const json_t *stored = json_object_get(m->extra, KEY_SESSION);
        if (stored != NULL) {
            restore(c, m, stored, now_ms);
            (void)json_object_del(m->extra, KEY_SESSION); /* shown to nobody */
        }
    }
}

void sso_done(struct controller *c)
{
    if (c->sso != NULL) {
        timers_cancel(&c->timers, &c->sso->timer);
        sodium_memzero(c->sso, sizeof(*c->sso));
        free(c->sso);
        c->sso = NULL;
    }
}
