/* Making notes: what differs, without secrets, in the form in which it is kept. */
#include "controller/note.h"

#include "base/hex.h"
#include "controller/controller_priv.h"
#include "controller/eventlog.h"
#include "controller/hooks.h"
#include "controller/network_doc.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum {
    VALUE_MAX = 1024,      /* bytes of a value that stays in an entry that is too large */
    TOKENS_SHOWN_MAX = 64, /* join tokens that differ, beyond that only their number */
    DEPTH_MAX = 16,
};

#define MASK "***"

static const char *const type_names[NOTE_TYPES] = {
    [NOTE_NETWORK_CREATED] = "network.created",
    [NOTE_NETWORK_CHANGED] = "network.changed",
    [NOTE_NETWORK_DELETED] = "network.deleted",
    [NOTE_MEMBER_ADDED] = "member.added",
    [NOTE_MEMBER_CHANGED] = "member.changed",
    [NOTE_MEMBER_AUTHORIZED] = "member.authorized",
    [NOTE_MEMBER_DEAUTHORIZED] = "member.deauthorized",
    [NOTE_MEMBER_DELETED] = "member.deleted",
    [NOTE_MEMBER_FORGOTTEN] = "member.forgotten",
    [NOTE_MEMBER_REQUEST] = "member.request",
    [NOTE_MEMBER_MISMATCH] = "member.mismatch",
    [NOTE_MEMBER_EXHAUSTED] = "member.exhausted",
    [NOTE_MEMBER_ADDRESS] = "member.address",
    [NOTE_MEMBER_VERSION] = "member.version",
    [NOTE_MEMBER_PHYSICAL] = "member.physical",
    [NOTE_INVITE_CREATED] = "invite.created",
    [NOTE_INVITE_DELETED] = "invite.deleted",
    [NOTE_TOKEN_CREATED] = "token.created",
    [NOTE_TOKEN_DELETED] = "token.deleted",
    [NOTE_USER_CREATED] = "user.created",
    [NOTE_USER_CHANGED] = "user.changed",
    [NOTE_USER_DELETED] = "user.deleted",
    [NOTE_GRANT_CHANGED] = "grant.changed",
    [NOTE_SSO_LOGIN] = "sso.login",
    [NOTE_SSO_FAILED] = "sso.failed",
    [NOTE_SSO_ENDED] = "sso.ended",
    [NOTE_ORG_INVITED] = "org.invited",
    [NOTE_ORG_ACCEPTED] = "org.accepted",
    [NOTE_ORG_REJECTED] = "org.rejected",
    [NOTE_HOOK_CREATED] = "hook.created",
    [NOTE_HOOK_CHANGED] = "hook.changed",
    [NOTE_HOOK_DELETED] = "hook.deleted",
    [NOTE_HOOK_TESTED] = "hook.tested",
    [NOTE_HOOK_RETRIED] = "hook.retried",
    [NOTE_HOOK_FAILED] = "hook.failed",
    [NOTE_HOOK_DROPPED] = "hook.dropped",
    [NOTE_IMPORTED] = "controller.imported",
};

const char *note_type_name(enum note_type type)
{
    return type < NOTE_TYPES ? type_names[type] : "";
}

enum note_type note_type_find(const char *name, size_t len)
{
    for (int i = 0; i < NOTE_TYPES; i++) {
        if (strlen(type_names[i]) == len && memcmp(type_names[i], name, len) == 0) {
            return (enum note_type)i;
        }
    }
    return NOTE_TYPES;
}

/* ---- secrets ---- */

static bool is_secret(const char *key)
{
    static const char *const keys[] = {"lastAuthorizedCredential",
                                       "secret",
                                       "secrets",
                                       "token",
                                       "password",
                                       "passwordHash",
                                       "hash",
                                       "salt",
                                       "totp",
                                       "totpSecret",
                                       "recoveryCodes",
                                       "clientSecret"};
    for (size_t i = 0; i < COUNT_OF(keys); i++) {
        if (strcmp(key, keys[i]) == 0) {
            return true;
        }
    }
    return false;
}

/* Scheme and host of a URL: what is behind it, and a user before it, is often a secret. */
static json_t *mask_url(const char *url)
{
    const char *host = strstr(url, "://");
    if (host == NULL) {
        return json_string(MASK);
    }
    host += 3;
    size_t len = strcspn(host, "/?#");
    for (const char *at; (at = memchr(host, '@', len)) != NULL;) {
        len -= (size_t)(at + 1 - host);
        host = at + 1;
    }
    size_t scheme = (size_t)(strstr(url, "://") + 3 - url);
    bool more = host[len] != '\0' && strcmp(host + len, "/") != 0;
    return json_sprintf("%.*s%.*s%s", (int)scheme, url, (int)len, host, more ? "/" MASK : "");
}

static json_t *masked(const char *key, const json_t *value, int depth);

static json_t *masked_array(const char *key, const json_t *value, int depth)
{
    json_t *out = json_array();
    size_t i;
    json_t *element;
    json_array_foreach((json_t *)(uintptr_t)value, i, element)
    {
        if (json_array_append_new(out, masked(key, element, depth + 1)) != 0) {
            json_decref(out);
            return NULL;
        }
    }
    return out;
}

static json_t *masked_object(const json_t *value, int depth)
{
    json_t *out = json_object();
    const char *key;
    json_t *element;
    json_object_foreach((json_t *)(uintptr_t)value, key, element)
    {
        if (json_object_set_new(out, key, masked(key, element, depth + 1)) != 0) {
            json_decref(out);
            return NULL;
        }
    }
    return out;
}

/* A copy of a value under a key without what is secret; NULL out of memory. */
static json_t *masked(const char *key, const json_t *value, int depth)
{
    if (depth > DEPTH_MAX) {
        return json_string(MASK);
    }
    if (json_is_array(value)) {
        return masked_array(key, value, depth);
    }
    if (is_secret(key)) {
        return json_is_null(value) ? json_null() : json_string(MASK);
    }
    if (json_is_object(value)) {
        return masked_object(value, depth);
    }
    if (json_is_string(value) && strcmp(key, "url") == 0) {
        return mask_url(json_string_value(value));
    }
    return json_deep_copy(value);
}

/* ---- join tokens, which are keys ---- */

static size_t tokens_before(const json_t *tokens, const json_t *except, const char *token)
{
    size_t n = 0;
    const char *key;
    json_t *value;
    json_object_foreach((json_t *)(uintptr_t)tokens, key, value)
    {
        n += strcmp(key, token) < 0 && json_object_get(except, key) == NULL ? 1 : 0;
    }
    return n;
}

/* The tokens in value that differ from those in other, as "token 1" and so on. all, all_other:
 * "authTokens" of both documents, from which the numbers are. */
static json_t *masked_tokens(const json_t *value, const json_t *other, const json_t *all,
                             const json_t *all_other)
{
    json_t *out = json_is_object(value) ? json_object() : json_null();
    size_t differ = 0;
    const char *key;
    json_t *element;
    json_object_foreach((json_t *)(uintptr_t)value, key, element)
    {
        const json_t *same = json_object_get(other, key);
        if (same != NULL && json_equal(same, element)) {
            continue;
        }
        if (++differ > TOKENS_SHOWN_MAX) {
            continue;
        }
        char name[32];
        size_t number = tokens_before(all, NULL, key) + tokens_before(all_other, all, key);
        (void)snprintf(name, sizeof(name), "token %zu", number + 1);
        if (json_object_set_new(out, name, json_deep_copy(element)) != 0) {
            json_decref(out);
            return NULL;
        }
    }
    if (differ > TOKENS_SHOWN_MAX) {
        json_object_set_new(out, "more", json_integer((json_int_t)(differ - TOKENS_SHOWN_MAX)));
    }
    return out;
}

json_t *note_diff(const json_t *a, const json_t *b)
{
    json_t *out = json_object();
    const char *key;
    json_t *value;
    json_object_foreach((json_t *)(uintptr_t)a, key, value)
    {
        const json_t *other = json_object_get(b, key);
        if (strcmp(key, "revision") == 0 || (other != NULL && json_equal(value, other))) {
            continue;
        }
        bool tokens = strncmp(key, "authToken", strlen("authToken")) == 0;
        json_t *shown = tokens ? masked_tokens(value, other, json_object_get(a, "authTokens"),
                                               json_object_get(b, "authTokens"))
                               : masked(key, value, 0);
        if (json_object_set_new(out, key, shown) != 0) {
            json_decref(out);
            return NULL;
        }
    }
    return out;
}

/* ---- the document ---- */

static const char *actor_kind_name(const struct actor *actor)
{
    static const char *const names[] = {
        [ACTOR_CONTROL_TOKEN] = "control token",
        [ACTOR_CLI] = "cli",
        [ACTOR_API_TOKEN] = "token",
        [ACTOR_USER] = "user",
        [ACTOR_PROTOCOL] = "protocol",
    };
    return names[actor != NULL ? actor->kind : ACTOR_PROTOCOL];
}

/* Set a hexadecimal ID unless it is 0. */
static void set_id(json_t *obj, const char *key, uint64_t id, unsigned digits)
{
    char text[17];
    if (id != 0) {
        hex_from_u64(id, digits, text);
        json_object_set_new(obj, key, json_string(text));
    }
}

static json_t *actor_json(const struct actor *actor)
{
    json_t *obj = json_pack("{ss}", "kind", actor_kind_name(actor));
    if (actor != NULL && obj != NULL) {
        if (actor->name != NULL) {
            json_object_set_new(obj, "name", json_string(actor->name));
        }
        set_id(obj, "user", actor->user, 16);
        set_id(obj, "token", actor->token, 16);
    }
    return obj;
}

/* Leave values of an object out that are longer than VALUE_MAX. */
static void shorten(json_t *obj)
{
    const char *key;
    json_t *value;
    void *tmp;
    json_object_foreach_safe(obj, tmp, key, value)
    {
        size_t len = json_dumpb(value, NULL, 0, JSON_COMPACT | JSON_ENCODE_ANY);
        if (len > VALUE_MAX) {
            json_object_set_new(obj, key, json_pack("{sI}", "omittedBytes", (json_int_t)len));
        }
    }
}

/* Keep an entry within EVENTLOG_ENTRY_MAX. */
static void fit(json_t *doc)
{
    static const char *const halves[] = {"old", "new"};
    for (int round = 0; round < 2; round++) {
        for (size_t i = 0; i < COUNT_OF(halves); i++) {
            json_t *half = json_object_get(doc, halves[i]);
            if (json_dumpb(doc, NULL, 0, JSON_COMPACT) <= EVENTLOG_ENTRY_MAX || half == NULL) {
                continue;
            }
            if (round == 0) {
                shorten(half);
            } else {
                json_object_clear(half);
                json_object_set_new(half, "omitted", json_true());
            }
        }
    }
}

json_t *note_json(const struct note *note, uint64_t id, int64_t wall_ms)
{
    const char *type = note_type_name(note->type);
    json_t *before = note->before != NULL ? note_diff(note->before, note->after) : NULL;
    json_t *after = note->after != NULL ? note_diff(note->after, note->before) : NULL;
    json_t *actor = actor_json(note->actor);
    json_t *doc = json_pack("{sIsssssoso?so?}", "at", (json_int_t)wall_ms, "type", type, "class",
                            eventlog_class_name(eventlog_class(note)), "actor", actor, "old",
                            before, "new", after);
    if (doc == NULL) {
        return NULL;
    }
    set_id(doc, "id", id, 16);
    set_id(doc, "network", note->nwid, 16);
    set_id(doc, "member", note->member, 10);
    set_id(doc, "object", note->object, 16);
    if (note->actor != NULL && note->actor->source.family != INETADDR_NIL) {
        char ip[INETADDR_TEXT_LEN];
        inetaddr_print_ip(&note->actor->source, ip);
        json_object_set_new(doc, "source", json_string(ip));
    }
    fit(doc);
    return doc;
}

/* Returns 0; -ENOMEM. */
static int add(struct controller *c, struct store_tx *tx, const struct note *note, int64_t now_ms)
{
    int64_t wall_ms = controller_wall(c, now_ms);
    uint64_t id = eventlog_next_id(c->eventlog, wall_ms);
    json_t *doc = note_json(note, id, wall_ms);
    int error = doc != NULL ? eventlog_append(c->eventlog, tx, id, doc, wall_ms) : -ENOMEM;
    json_decref(doc);
    return error == 0 ? hooks_note(c, tx, note, now_ms) : error;
}

int note_add(struct controller *c, struct store_tx *tx, const struct note *note, int64_t now_ms)
{
    if (eventlog_repeats(c->eventlog, note, controller_wall(c, now_ms))) {
        return 0;
    }
    if (c->store == NULL) {
        int result = add(c, NULL, note, now_ms);
        hooks_submitted(c);
        return result;
    }
    if (tx != NULL) {
        return add(c, tx, note, now_ms);
    }
    tx = store_tx_new();
    int error = tx != NULL ? add(c, tx, note, now_ms) : -ENOMEM;
    if (error != 0) {
        store_tx_free(tx);
        return error;
    }
    controller_commit(c, tx, NULL, NULL);
    return 0;
}
