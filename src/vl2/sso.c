/* Single sign-on values of ERROR NETWORK_AUTHENTICATION_REQUIRED: what is shown to the user so that
 * he can authenticate. No client of any sign-on protocol. Source: spec 03 section 18. */
#include "vl2/sso.h"

#include "base/dict.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum {
    SSO_URL_MAX = 2047,
    SSO_NONCE_MAX = 63,
    SSO_STATE_MAX = 127,
    SSO_CLIENT_MAX = 255,
    SSO_PROVIDER_MAX = 63,
    SSO_DICT_MAX = 8191,
};

static void free_text(const char *text)
{
    void *owned;

    memcpy(&owned, &text, sizeof(owned)); /* const only for those who read the struct */
    free(owned);
}

void sso_free(struct netconf_sso *sso)
{
    if (sso != NULL) {
        free_text(sso->auth_url);
        free_text(sso->issuer_url);
        free_text(sso->central_url);
        free_text(sso->nonce);
        free_text(sso->state);
        free_text(sso->client_id);
        free_text(sso->provider);
        free(sso);
    }
}

/* The value of key, "" or fallback if it is absent or too long; NULL out of memory. */
static char *take_text(struct dict d, const char *key, size_t max, const char *fallback)
{
    char *text;
    size_t len;

    if (dict_value_len(d, key, &len) != 0 || len == 0 || len > max) {
        return strdup(fallback);
    }
    text = malloc(len + 1);
    if (text != NULL && dict_get(d, key, text, len + 1, &len) != 0) {
        len = 0;
    }
    if (text != NULL) {
        text[len] = 0;
    }
    return text;
}

static char *keep_text(const char *old, const char *fallback)
{
    return strdup(old != NULL ? old : fallback);
}

static bool complete(const struct netconf_sso *sso)
{
    return sso->auth_url != NULL && sso->issuer_url != NULL && sso->central_url != NULL &&
           sso->nonce != NULL && sso->state != NULL && sso->client_id != NULL &&
           sso->provider != NULL;
}

int sso_from_error(struct rd payload, struct netconf_sso **sso)
{
    const struct netconf_sso none = {.provider = NULL};
    const struct netconf_sso *old = *sso != NULL ? *sso : &none;
    struct netconf_sso *new;
    struct dict d = dict_init("", 0);
    uint64_t version = 0;
    bool has_data = rd_left(&payload) > 2;

    if (has_data) {
        size_t len = rd_u16(&payload);
        const uint8_t *text = rd_bytes(&payload, len);

        if (text == NULL || len > SSO_DICT_MAX) {
            return -EBADMSG;
        }
        d = dict_init(text, len);
        version = dict_get_u64(d, "aV", 0);
        if (version > 1 || (version == 0 && !dict_has(d, "aU"))) {
            return -EBADMSG;
        }
    }
    new = calloc(1, sizeof(*new));
    if (new == NULL) {
        return -ENOMEM;
    }
    new->version = version;
    new->enabled = true;
    new->auth_url =
        version == 0 ? take_text(d, "aU", SSO_URL_MAX, "") : keep_text(old->auth_url, "");
    if (version == 1) {
        new->issuer_url = take_text(d, "iU", SSO_URL_MAX, "");
        new->central_url = take_text(d, "aCU", SSO_URL_MAX, "");
        new->nonce = take_text(d, "aN", SSO_NONCE_MAX, "");
        new->state = take_text(d, "aS", SSO_STATE_MAX, "");
        new->client_id = take_text(d, "aCID", SSO_CLIENT_MAX, "");
        new->provider = take_text(d, "aSSOp", SSO_PROVIDER_MAX, "default");
    } else {
        new->issuer_url = keep_text(old->issuer_url, "");
        new->central_url = keep_text(old->central_url, "");
        new->nonce = keep_text(old->nonce, "");
        new->state = keep_text(old->state, "");
        new->client_id = keep_text(old->client_id, "");
        new->provider = keep_text(old->provider, "default");
    }
    if (!complete(new)) {
        sso_free(new);
        return -ENOMEM;
    }
    sso_free(*sso);
    *sso = new;
    return 0;
}
