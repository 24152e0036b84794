/* Settings of a webhook: as posted, as stored. Source: spec 04 section 6.6. */
#include "base/hex.h"
#include "controller/hooks.h"

#include <ctype.h>
#include <errno.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

/* ---- stored ---- */

static json_t *types_json(uint32_t types)
{
    json_t *list = json_array();
    for (int i = 0; i < HOOK_TYPES_REAL; i++) {
        if ((types >> i & 1) != 0) {
            json_array_append_new(list, json_string(hook_type_name((enum hook_type)i)));
        }
    }
    return list;
}

static json_t *secrets_json(const struct hook *hook)
{
    json_t *list = json_array();
    for (size_t i = 0; i < hook->secret_count; i++) {
        char text[2 * HOOK_SECRET_MAX + 1];
        hex_encode(hook->secrets[i].bytes, hook->secrets[i].len, text);
        json_array_append_new(list, json_string(text));
        sodium_memzero(text, sizeof(text));
    }
    return list;
}

json_t *hook_json(const struct hook *hook)
{
    char id[17];
    hex_from_u64(hook->id, 16, id);
    return json_pack("{ss ss ss so so sb sI}", "id", id, "url", hook->url, "description",
                     hook->description, "types", types_json(hook->types), "secrets",
                     secrets_json(hook), "enabled", (int)hook->enabled, "created",
                     (json_int_t)hook->created_ms);
}

/* Returns the bit of a name, 0 if it is none. */
static uint32_t type_bit(const char *name)
{
    for (int i = 0; name != NULL && i < HOOK_TYPES_REAL; i++) {
        if (strcmp(name, hook_type_name((enum hook_type)i)) == 0) {
            return UINT32_C(1) << i;
        }
    }
    return 0;
}

static bool read_secret(const char *text, struct hook_secret *ret)
{
    size_t len = text != NULL ? strlen(text) : 0;
    if (len % 2 != 0 || len < 2 * HOOK_SECRET_MIN || len > 2 * HOOK_SECRET_MAX) {
        return false;
    }
    ret->len = len / 2;
    return hex_decode(text, len, ret->bytes, ret->len) == 0;
}

static int read_secrets(const json_t *list, struct hook *ret)
{
    size_t count = json_array_size(list);
    if (count == 0 || count > HOOK_SECRETS_MAX) {
        return -EINVAL;
    }
    for (size_t i = 0; i < count; i++) {
        if (!read_secret(json_string_value(json_array_get(list, i)), &ret->secrets[i])) {
            return -EINVAL;
        }
    }
    ret->secret_count = count;
    return 0;
}

static char *copy_text(const json_t *doc, const char *key)
{
    const char *text = json_string_value(json_object_get(doc, key));
    return strdup(text != NULL ? text : "");
}

int hook_from_json(struct hook *hook, const json_t *doc)
{
    struct hook fresh = {0};
    size_t i;
    json_t *name;
    int error = read_secrets(json_object_get(doc, "secrets"), &fresh);
    if (error != 0) {
        sodium_memzero(&fresh, sizeof(fresh));
        return error;
    }
    char *url = copy_text(doc, "url");
    char *description = copy_text(doc, "description");
    if (url == NULL || description == NULL) {
        free(url);
        free(description);
        sodium_memzero(&fresh, sizeof(fresh));
        return -ENOMEM;
    }
    hook->types = 0;
    json_array_foreach(json_object_get(doc, "types"), i, name)
    {
        hook->types |= type_bit(json_string_value(name));
    }
    free(hook->url);
    free(hook->description);
    hook->url = url;
    hook->description = description;
    hook->enabled = json_is_true(json_object_get(doc, "enabled"));
    hook->created_ms = json_integer_value(json_object_get(doc, "created"));
    memcpy(hook->secrets, fresh.secrets, sizeof(hook->secrets));
    hook->secret_count = fresh.secret_count;
    sodium_memzero(&fresh, sizeof(fresh));
    return 0;
}

/* ---- posted ---- */

/* http or https, a host, and nothing that could end a line of a request. */
static bool url_is_good(const char *url)
{
    static const char *const schemes[] = {"http://", "https://"};
    size_t len = strlen(url);
    const char *host = NULL;
    for (size_t i = 0; i < 2; i++) {
        if (strncasecmp(url, schemes[i], strlen(schemes[i])) == 0) {
            host = url + strlen(schemes[i]);
        }
    }
    if (host == NULL || len > HOOK_URL_MAX || strcspn(host, "/?#") == 0 || host[0] == ':') {
        return false;
    }
    for (size_t i = 0; i < len; i++) {
        if (url[i] <= ' ' || url[i] > '~' || url[i] == '\\') {
            return false;
        }
    }
    return true;
}

static void edit_url(struct edit *e, json_t *doc, const json_t *value)
{
    const char *url = json_string_value(value);
    if (url == NULL || !url_is_good(url)) {
        edit_fail(e, 400,
                  "url must begin with http:// or https://, name a host, and have at most "
                  "%d printable characters",
                  HOOK_URL_MAX);
        return;
    }
    edit_set(e, doc, "url", json_string(url));
}

static void edit_types(struct edit *e, json_t *doc, const json_t *value)
{
    size_t i;
    json_t *name;
    if (!json_is_array(value) && !json_is_null(value)) {
        edit_fail(e, 400, "types must be an array of names; an empty one means all");
        return;
    }
    uint32_t types = 0;
    json_array_foreach((json_t *)(uintptr_t)value, i, name)
    {
        const char *text = json_string_value(name);
        uint32_t bit = type_bit(text);
        if (bit == 0) {
            edit_fail(e, 400, "unknown type %.40s", text != NULL ? text : "");
            return;
        }
        types |= bit;
    }
    edit_set(e, doc, "types", types_json(types));
}

/* An element that is the mask stands for the secret in its place. */
static void edit_secrets(struct edit *e, json_t *doc, const json_t *value)
{
    const json_t *old = json_object_get(doc, "secrets");
    json_t *list = json_array();
    size_t i;
    json_t *element;
    bool good = json_array_size(value) > 0 && json_array_size(value) <= HOOK_SECRETS_MAX;
    json_array_foreach((json_t *)(uintptr_t)value, i, element)
    {
        const char *text = json_string_value(element);
        struct hook_secret secret;
        if (text != NULL && strcmp(text, HOOK_MASK) == 0) {
            element = json_array_get(old, i);
            text = json_string_value(element);
        }
        good = good && read_secret(text, &secret);
        if (!good) {
            break;
        }
        json_array_append(list, element);
        sodium_memzero(&secret, sizeof(secret));
    }
    if (!good) {
        json_decref(list);
        edit_fail(e, 400, "secrets must be 1 to %d texts of %d to %d hexadecimal digits",
                  HOOK_SECRETS_MAX, 2 * HOOK_SECRET_MIN, 2 * HOOK_SECRET_MAX);
        return;
    }
    edit_set(e, doc, "secrets", list);
}

void hook_doc_edit(struct edit *e, json_t *doc, const json_t *body)
{
    const json_t *v;
    if (!json_is_object(body)) {
        edit_fail(e, 400, "the body must be an object");
        return;
    }
    if ((v = json_object_get(body, "url")) != NULL) {
        edit_url(e, doc, v);
    }
    if ((v = json_object_get(body, "description")) != NULL) {
        const char *text = json_string_value(v);
        if (text == NULL || strlen(text) > HOOK_DESCRIPTION_MAX) {
            edit_fail(e, 400, "description must be a text of at most %d bytes",
                      HOOK_DESCRIPTION_MAX);
        } else {
            edit_set(e, doc, "description", json_string(text));
        }
    }
    if ((v = json_object_get(body, "types")) != NULL) {
        edit_types(e, doc, v);
    }
    if ((v = json_object_get(body, "secrets")) != NULL) {
        edit_secrets(e, doc, v);
    }
    if ((v = json_object_get(body, "enabled")) != NULL) {
        edit_set(e, doc, "enabled", json_boolean(coerce_bool(v, true)));
    }
    if (json_object_get(doc, "url") == NULL) {
        edit_fail(e, 400, "a webhook needs a url");
    }
}
