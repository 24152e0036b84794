/* What the parts of the controller know of single sign-on. */
#pragma once

#include "controller/controller_priv.h"
#include "controller/sso.h"

struct edit;

/* The stored form of a posted `ssoConfig` (a JSON object); what was dropped is noted in e. New
 * reference, NULL out of memory. */
json_t *sso_doc_edit(struct edit *e, const json_t *posted);

/* True if the member may have a configuration now: the network wants no login, the member needs
 * none, or it has a valid one. */
bool sso_is_open(struct controller *c, struct cmember *m, int64_t now_ms);

/* Tell a member where to log in. Returns 0; -ENOMEM; -EINVAL (not set up: told without data). */
int sso_refuse(struct controller *c, struct cmember *m, uint64_t request_id, int64_t now_ms);

/* The part of a configuration about single sign-on; NULL where the network wants none. Texts live
 * until the next call or change of the network. */
struct netconf_sso *sso_config(struct controller *c, struct cmember *m, int64_t now_ms);

/* After loading: remember the logins that are stored with members. */
void sso_restore(struct controller *c, int64_t now_ms);

/* Forget the login of a member that is being removed. */
void sso_forget(struct model *model, struct cmember *m);

/* Release what controller and model hold. */
void sso_done(struct controller *c);

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

/* Put a used session into the document of its member that is to be stored; it is in no other.
 * Returns 0; negative out of memory. */
int sso_store(const struct cmember *m, json_t *doc);
