/* Shared by the two halves of single sign-on: what members are told, and posted tokens. */
#pragma once

#include "controller/sso.h"

/* A login of a member, begun or done. */
struct sso_session {
    struct hmap_node node; /* in model.sso_sessions, by the start of the nonce */
    struct cmember *member;
    uint8_t nonce[SSO_NONCE_LEN];
    int64_t made_ms;
    bool used;     /* somebody logged in with it */
    bool ended;    /* its expiry was acted upon */
    char *subject; /* who, as the issuer names him; NULL until used */
};

/* Settings of a network; texts are borrowed from its document and never NULL. */
struct sso_settings {
    const char *issuer;
    const char *client_id;
    const char *provider;
    const char *mode;
    const char *endpoint;
    const json_t *allow; /* NULL none */
};

/* Read them; false if the network wants no login. */
bool sso_settings(const struct cnetwork *net, struct sso_settings *ret);

/* The session with this nonce, borrowed, or NULL. Compared in constant time. */
struct sso_session *sso_session_find(const struct model *model, const uint8_t nonce[SSO_NONCE_LEN]);

/* The state that belongs to a nonce, as text. */
void sso_state_text(const struct controller *c, const uint8_t nonce[SSO_NONCE_LEN],
                    char ret[SSO_STATE_TEXT + 1]);

/* Put a used session into the member's document. */
void sso_store(struct cmember *m);
