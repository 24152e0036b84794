/* The token endpoint: what a browser or a node posts after a login at the provider. Everything in
 * it is a stranger's until signature, claims, nonce and state have been checked.
 * Source: spec 04 section 4.9, RFC 6749 appendix B. */
#include "base/hex.h"
#include "controller/note.h"
#include "controller/sso.h"
#include "controller/sso_priv.h"

#include <errno.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

struct sso_login {
    struct jwt jwt;
    uint8_t nonce[SSO_NONCE_LEN];
    bool refresh;
    char *issuer;
    char *token; /* text of the token */
};

/* ---- the form ---- */

static int unhex(char ch)
{
    if (ch >= '0' && ch <= '9') {
        return ch - '0';
    }
    ch |= 0x20;
    return ch >= 'a' && ch <= 'f' ? ch - 'a' + 10 : -1;
}

/* Decoded copy of a form value. NULL: broken, with a NUL inside, or no memory. */
static char *decode_value(const char *text, size_t len)
{
    char *out = malloc(len + 1);
    size_t n = 0;
    for (size_t i = 0; out != NULL && i < len; i++) {
        int ch = (unsigned char)text[i];
        if (ch == '+') {
            ch = ' ';
        } else if (ch == '%') {
            if (len - i < 3 || unhex(text[i + 1]) < 0 || unhex(text[i + 2]) < 0) {
                ch = 0;
            } else {
                ch = unhex(text[i + 1]) * 16 + unhex(text[i + 2]);
                i += 2;
            }
        }
        if (ch == 0) {
            free(out);
            return NULL;
        }
        out[n++] = (char)ch;
    }
    if (out != NULL) {
        out[n] = '\0';
    }
    return out;
}

/* The value of a field of the form, decoded; NULL if it is absent or broken. Free it. */
static char *form_get(const char *form, size_t len, const char *name)
{
    size_t name_len = strlen(name);
    const char *end = form + len;
    while (form < end) {
        const char *amp = memchr(form, '&', (size_t)(end - form));
        const char *stop = amp != NULL ? amp : end;
        if ((size_t)(stop - form) > name_len && form[name_len] == '=' &&
            memcmp(form, name, name_len) == 0) {
            return decode_value(form + name_len + 1, (size_t)(stop - form) - name_len - 1);
        }
        form = stop + (stop < end ? 1 : 0);
    }
    return NULL;
}

/* ---- first look ---- */

/* The state is the one of the nonce, for this network if it names one. */
static bool state_fits(const struct controller *c, const struct sso_login *login, const char *state,
                       uint64_t nwid)
{
    char want[SSO_STATE_TEXT + 1];
    uint64_t named = 0;
    sso_state_text(c, login->nonce, want);
    if (strlen(state) < SSO_STATE_TEXT || sodium_memcmp(state, want, SSO_STATE_TEXT) != 0) {
        return false;
    }
    const char *rest = state + SSO_STATE_TEXT;
    return *rest == '\0' ||
           (*rest == '_' && hex_to_u64(rest + 1, strlen(rest + 1), 16, &named) == 0 &&
            named == nwid);
}

static bool take_nonce(struct sso_login *login, const char *text)
{
    return text != NULL && strlen(text) == SSO_NONCE_TEXT &&
           hex_decode(text, SSO_NONCE_TEXT, login->nonce, sizeof(login->nonce)) == 0;
}

/* The session the form is about; NULL with a text. */
static struct sso_session *match(struct controller *c, const struct sso_login *login,
                                 const char *state, int64_t now_ms, const char **ret_why)
{
    struct sso_session *s = c->sso != NULL ? sso_session_find(&c->model, login->nonce) : NULL;
    *ret_why = "this login is unknown or took too long; start again";
    if (s == NULL) {
        return NULL;
    }
    if (login->refresh) {
        return s->used && s->subject != NULL ? s : NULL;
    }
    if (s->used || now_ms - s->made_ms >= SSO_LOGIN_MS) {
        return NULL;
    }
    *ret_why = "the state does not belong to this login";
    return state_fits(c, login, state, s->member->net->nwid) ? s : NULL;
}

static int look(struct controller *c, struct sso_login *login, const char *state,
                const char *extra_nonce, int64_t now_ms, const char **ret_why)
{
    struct sso_settings settings;
    login->refresh = strcmp(state, "refresh") == 0;
    const char *nonce = login->refresh
                            ? extra_nonce
                            : json_string_value(json_object_get(login->jwt.claims, "nonce"));
    if (!take_nonce(login, nonce)) {
        *ret_why = "the token carries no nonce of ours";
        return -EBADMSG;
    }
    const struct sso_session *s = match(c, login, state, now_ms, ret_why);
    if (s == NULL) {
        return -ENOENT;
    }
    if (!sso_settings(s->member->net, &settings) || settings.issuer[0] == '\0' ||
        settings.client_id[0] == '\0') {
        *ret_why = "the network wants no login";
        return -ENOENT;
    }
    login->issuer = strdup(settings.issuer);
    return login->issuer != NULL ? 0 : -ENOMEM;
}

int sso_login_new(struct controller *c, const char *form, size_t len, int64_t now_ms,
                  struct sso_login **ret, const char **ret_why)
{
    struct sso_login *login = len <= SSO_FORM_MAX ? calloc(1, sizeof(*login)) : NULL;
    char *state = form_get(form, len, "state");
    char *extra = form_get(form, len, "extra_nonce");
    int error = login == NULL ? -ENOMEM : -EBADMSG;
    *ret_why = "the form lacks id_token or state";
    if (login != NULL) {
        login->token = form_get(form, len, "id_token");
        if (login->token != NULL && state != NULL) {
            error = jwt_parse(login->token, strlen(login->token), &login->jwt);
            *ret_why = "the ID token cannot be read";
        }
        if (error == 0) {
            error = look(c, login, state, extra, now_ms, ret_why);
        }
    }
    free(state);
    free(extra);
    if (error != 0) {
        sso_login_free(login);
        return error;
    }
    *ret = login;
    return 0;
}

const char *sso_login_issuer(const struct sso_login *login)
{
    return login->issuer;
}

void sso_login_free(struct sso_login *login)
{
    if (login != NULL) {
        jwt_free(&login->jwt);
        free(login->issuer);
        free(login->token);
        free(login);
    }
}

/* ---- who may in ---- */

static bool listed(const json_t *allow, const char *text)
{
    size_t i;
    const json_t *one;
    json_array_foreach(allow, i, one)
    {
        if (json_is_string(one) && strcasecmp(json_string_value(one), text) == 0) {
            return true;
        }
    }
    return false;
}

static bool has_listed_group(const json_t *claims, const json_t *allow)
{
    static const char *const names[] = {"roles", "groups", "https://my.zerotier.com/roles"};
    for (size_t n = 0; n < COUNT_OF(names); n++) {
        const json_t *v = json_object_get(claims, names[n]);
        size_t i;
        const json_t *one;
        if (json_is_string(v) && listed(allow, json_string_value(v))) {
            return true;
        }
        json_array_foreach(v, i, one)
        {
            if (json_is_string(one) && listed(allow, json_string_value(one))) {
                return true;
            }
        }
    }
    return false;
}

/* What a provider says of an address; some say it as a text, some nothing. */
static bool may_be_verified(const json_t *said)
{
    return said == NULL || json_is_true(said) ||
           (json_is_string(said) && strcmp(json_string_value(said), "true") == 0);
}

/* CTL-88. An address that its provider has not verified is no address. */
static bool mode_lets_in(const struct sso_settings *settings, const json_t *claims)
{
    const char *email = json_string_value(json_object_get(claims, "email"));
    if (strcmp(settings->mode, "default") == 0) {
        return true;
    }
    if (strcmp(settings->mode, "email") == 0) {
        return email != NULL && may_be_verified(json_object_get(claims, "email_verified")) &&
               listed(settings->allow, email);
    }
    return strcmp(settings->mode, "group") == 0 && has_listed_group(claims, settings->allow);
}

/* Note a login, or why (not NULL) there was none. claims: NULL if they are not proved. */
static int note_login(struct controller *c, struct store_tx *tx, const struct cmember *m,
                      const json_t *claims, const char *why, int64_t now_ms)
{
    json_t *after = json_pack("{sO*ss*}", "email", json_object_get(claims, "email"), "error", why);
    struct note note = {.type = why != NULL ? NOTE_SSO_FAILED : NOTE_SSO_LOGIN,
                        .nwid = m->net->nwid,
                        .member = m->address,
                        .anyone = why != NULL,
                        .after = after};
    int error = after != NULL ? note_add(c, tx, &note, now_ms) : -ENOMEM;
    json_decref(after);
    return error;
}

/* The member is logged in: remember it, tell it. Returns 0; -ENOMEM. */
static int let_in(struct controller *c, struct sso_session *s, const json_t *claims, int64_t now_ms)
{
    struct cmember *m = s->member;
    char *subject = strdup(json_string_value(json_object_get(claims, "sub")));
    struct store_tx *tx = store_tx_new();
    if (subject == NULL || tx == NULL) {
        free(subject);
        store_tx_free(tx);
        return -ENOMEM;
    }
    free(s->subject);
    s->subject = subject;
    s->used = true;
    s->ended = false;
    m->auth_expiry_ms = jwt_expiry_ms(claims);
    if (m->authorized && m->has_meta && member_is_online(m, now_ms)) {
        (void)request_assign(c, m); /* it waits: the push shall bring its addresses */
    }
    m->revision++;
    c->counts.member_changes++;
    if (controller_put_member(tx, m) != 0 || note_login(c, tx, m, claims, NULL, now_ms) != 0) {
        store_tx_free(tx);
        m->unsaved = true;
        return -ENOMEM;
    }
    controller_commit(c, tx, NULL, NULL);
    if (sso_is_open(c, m, now_ms)) { /* arranges for the end, too */
        m->sent_hash = 0;
        push_member(c, m, now_ms);
    }
    return 0;
}

/* NULL if the token lets the member in, else why not; *ret_signed: its claims are proved. */
static const char *judge(struct controller *c, const struct sso_login *login,
                         const struct sso_session *s, const struct jwt_key *keys, size_t count,
                         jwt_verify_fn verify, void *ctx, int64_t now_ms, bool *ret_signed)
{
    struct sso_settings settings;
    char nonce[SSO_NONCE_TEXT + 1];
    hex_encode(login->nonce, SSO_NONCE_LEN, nonce);
    nonce[SSO_NONCE_TEXT] = '\0';
    if (!sso_settings(s->member->net, &settings) || strcmp(settings.issuer, login->issuer) != 0) {
        return "the network's settings have changed; start again";
    }
    if (!jwt_is_signed(&login->jwt, keys, count, verify, ctx)) {
        return "the token is not signed by its issuer";
    }
    *ret_signed = true;
    struct jwt_expect expect = {.issuer = settings.issuer,
                                .client_id = settings.client_id,
                                .nonce = login->refresh ? NULL : nonce,
                                .now_s = controller_wall(c, now_ms) / 1000};
    const char *why = jwt_check(login->jwt.claims, &expect);
    if (why != NULL) {
        return why;
    }
    const char *subject = json_string_value(json_object_get(login->jwt.claims, "sub"));
    if (login->refresh && (s->subject == NULL || strcmp(subject, s->subject) != 0)) {
        return "the token is of another person";
    }
    return mode_lets_in(&settings, login->jwt.claims) ? NULL
                                                      : "you are not on the list of this network";
}

unsigned sso_login_finish(struct controller *c, struct sso_login *login, const char *keys,
                          size_t len, jwt_verify_fn verify, void *ctx, int64_t now_ms,
                          const char **ret_text)
{
    struct jwt_key *parsed = NULL;
    size_t count = 0;
    struct sso_session *s = sso_session_find(&c->model, login->nonce);
    unsigned status = 403;
    c->now_ms = now_ms;
    if (!controller_serves(c)) {
        *ret_text = "the controller is not ready; try again";
        status = 503;
    } else if (s == NULL || (s->used && !login->refresh)) {
        *ret_text = "this login is unknown or took too long; start again";
    } else if (keys == NULL || jwt_keys_parse(keys, len, &parsed, &count) != 0) {
        *ret_text = "the keys of the login service cannot be had; try again";
        status = 502;
    } else {
        bool is_signed = false;
        *ret_text = judge(c, login, s, parsed, count, verify, ctx, now_ms, &is_signed);
        if (*ret_text != NULL &&
            note_login(c, NULL, s->member, is_signed ? login->jwt.claims : NULL, *ret_text,
                       now_ms) != 0) {
            controller_log(c, LOG_LEVEL_WARN, "controller: out of memory, a login is not noted");
        }
        if (*ret_text == NULL && let_in(c, s, login->jwt.claims, now_ms) == 0) {
            *ret_text = "you are logged in; this window can be closed";
            status = 200;
        } else if (*ret_text == NULL) {
            *ret_text = "out of memory; try again";
            status = 503;
        }
    }
    free(parsed);
    sso_login_free(login);
    return status;
}
