/* The field `ssoConfig` of a network, as posted and as stored. Source: spec 04 sections 4.9, 6.4.
 */
#include "controller/coerce.h"
#include "controller/sso_priv.h"

#include <string.h>

enum { SSO_TEXT_MAX = 1023 };

static bool known_mode(const char *mode)
{
    return strcmp(mode, "default") == 0 || strcmp(mode, "email") == 0 || strcmp(mode, "group") == 0;
}

static json_t *allow_list(struct edit *e, const json_t *posted)
{
    json_t *list = json_array();
    size_t n = edit_array_len(e, posted, "ssoConfig.allowList");
    for (size_t i = 0; i < n; i++) {
        json_t *one = json_array_get(posted, i);
        if (json_is_string(one)) {
            json_array_append(list, one);
        } else {
            edit_warn(e, "ssoConfig.allowList: an element is no text and was dropped");
        }
    }
    return list;
}

/* Where tokens come from has to be safe from others on the way. */
static bool is_safe(const char *url)
{
    static const char *const starts[] = {"https://", "http://127.0.0.1", "http://localhost",
                                         "http://[::1]"};
    for (size_t i = 0; i < COUNT_OF(starts); i++) {
        size_t len = strlen(starts[i]);
        if (strncmp(url, starts[i], len) == 0 &&
            (i == 0 || url[len] == '\0' || url[len] == ':' || url[len] == '/')) {
            return true;
        }
    }
    return false;
}

json_t *sso_doc_edit(struct edit *e, const json_t *posted)
{
    static const char *const texts[] = {"issuer", "clientId", "provider", "authorizationEndpoint"};
    json_t *doc = json_object();
    char buf[COERCE_TEXT_LEN];
    for (size_t i = 0; i < COUNT_OF(texts); i++) {
        const char *text = coerce_text(json_object_get(posted, texts[i]), buf, "");
        if (strlen(text) > SSO_TEXT_MAX) {
            edit_warn(e, "ssoConfig.%s: longer than %d bytes, dropped", texts[i], SSO_TEXT_MAX);
            text = "";
        } else if (text[0] != '\0' && i != 1 && i != 2 && !is_safe(text)) {
            edit_warn(e, "ssoConfig.%s: does not begin with https://, dropped", texts[i]);
            text = "";
        }
        json_object_set_new(doc, texts[i], json_string(text));
    }
    const char *mode = coerce_text(json_object_get(posted, "mode"), buf, "default");
    if (!known_mode(mode)) {
        edit_warn(e, "ssoConfig.mode: is default, email or group; set to email, which lets in who "
                     "is on the list");
        mode = "email";
    }
    json_object_set_new(doc, "mode", json_string(mode));
    json_object_set_new(doc, "allowList", allow_list(e, json_object_get(posted, "allowList")));
    return doc;
}
