/* Single sign-on: members of a network with `ssoEnabled` get a configuration only while a login at
 * an OpenID Connect provider is valid. The member's node is sent where to log in (ERROR 0x09), the
 * provider's ID token is posted to us, and at its expiry the membership is revoked until the next
 * login. Neither HTTP nor signatures of providers are done here: the host posts the form, fetches
 * the provider's keys and checks with them.
 *
 * Settings of a network: `ssoEnabled`, and in `ssoConfig` `issuer`, `clientId`, `provider`, `mode`
 * ("default", "email", "group"), `allowList`, and `authorizationEndpoint`: with it members are sent
 * a URL for any browser (version 0), without it what a node needs to log in by itself (version 1).
 * Source: spec 04 section 4.9; CTL-85 to CTL-89. The controller's thread. */
#pragma once

#include "controller/controller.h"
#include "controller/jwt.h"

enum {
    SSO_NONCE_LEN = 16,
    SSO_NONCE_TEXT = 2 * SSO_NONCE_LEN, /* digits */
    SSO_STATE_TEXT = 96,                /* digits */
    SSO_LOGIN_MS = 300000,              /* a login not finished by then starts anew */
    SSO_SWEEP_MS = 500,
    SSO_FORM_MAX = 65536,
    SSO_URL_MAX = 2048,
};

/* Where members and browsers reach the token endpoint from outside ("" or NULL: not set, then no
 * member can log in). Copied, cut at SSO_URL_MAX. */
void controller_set_sso_url(struct controller *c, const char *url);

/* A posted form on its way: id_token, state, extra_nonce. */
struct sso_login;

/* Read a form (application/x-www-form-urlencoded). Returns 0; -EBADMSG, -ENOTSUP, -ENOENT with
 * *ret_why a static text; -ENOMEM. */
MUST_CHECK int sso_login_new(struct controller *c, const char *form, size_t len, int64_t now_ms,
                             struct sso_login **ret, const char **ret_why);

/* Whose keys are needed. */
const char *sso_login_issuer(const struct sso_login *login);

/* Finish with the issuer's key set (NULL: could not be had) and free the login. Returns an HTTP
 * status: 200 let in; 400, 403 with a text for the person, static or in the login's network. */
unsigned sso_login_finish(struct controller *c, struct sso_login *login, const char *keys,
                          size_t len, jwt_verify_fn verify, void *ctx, int64_t now_ms,
                          const char **ret_text);

/* Give a login up. Accepts NULL. */
void sso_login_free(struct sso_login *login);
