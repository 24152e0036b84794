/* What webhooks are told of a note: types, fields and order of spec 04 section 6.6; CTL-104. */
#include "controller/hooks.h"

#include "base/hex.h"
#include "controller/controller_priv.h"
#include "controller/network_doc.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* What goes into a body besides the first three fields. */
enum fields {
    WITH_NETWORK = 1,
    WITH_MEMBER = 2,
    WITH_USER = 4,        /* user_id, user_email: who did it */
    WITH_CREATED = 8,     /* network_config */
    WITH_OLD = 16,        /* old_config */
    WITH_NEW = 32,        /* new_config */
    WITH_SSO = 64,        /* sso_user_email */
    WITH_ERROR = 128,     /* error */
    WITH_INVITEE = 256,   /* user_id of who invites, invitee_email */
    WITH_PERSON = 512,    /* user_id, user_email: whom it is about */
    WITH_NETWORKS = 1024, /* network_ids */
};

static const struct {
    const char *name;
    unsigned fields;
} types[HOOK_TYPES] = {
    [HOOK_NETWORK_JOIN] = {"NETWORK_JOIN", WITH_NETWORK | WITH_MEMBER},
    [HOOK_NETWORK_AUTH] = {"NETWORK_AUTH", WITH_NETWORK | WITH_MEMBER | WITH_USER},
    [HOOK_NETWORK_DEAUTH] = {"NETWORK_DEAUTH", WITH_NETWORK | WITH_MEMBER | WITH_USER},
    [HOOK_NETWORK_SSO_LOGIN] = {"NETWORK_SSO_LOGIN", WITH_NETWORK | WITH_MEMBER | WITH_SSO},
    [HOOK_NETWORK_SSO_LOGIN_ERROR] = {"NETWORK_SSO_LOGIN_ERROR",
                                      WITH_NETWORK | WITH_MEMBER | WITH_SSO | WITH_ERROR},
    [HOOK_NETWORK_CREATED] = {"NETWORK_CREATED", WITH_NETWORK | WITH_CREATED | WITH_USER},
    [HOOK_NETWORK_CONFIG_CHANGED] = {"NETWORK_CONFIG_CHANGED",
                                     WITH_NETWORK | WITH_OLD | WITH_NEW | WITH_USER},
    [HOOK_NETWORK_DELETED] = {"NETWORK_DELETED", WITH_NETWORK | WITH_OLD | WITH_USER},
    [HOOK_MEMBER_CONFIG_CHANGED] = {"MEMBER_CONFIG_CHANGED",
                                    WITH_NETWORK | WITH_MEMBER | WITH_OLD | WITH_NEW | WITH_USER},
    [HOOK_MEMBER_DELETED] = {"MEMBER_DELETED", WITH_NETWORK | WITH_MEMBER | WITH_OLD | WITH_USER},
    [HOOK_ORG_INVITE_SENT] = {"ORG_INVITE_SENT", WITH_INVITEE},
    [HOOK_ORG_INVITE_ACCEPTED] = {"ORG_INVITE_ACCEPTED", WITH_PERSON | WITH_NETWORKS},
    [HOOK_ORG_INVITE_REJECTED] = {"ORG_INVITE_REJECTED", WITH_PERSON},
    [HOOK_ORG_MEMBER_REMOVED] = {"ORG_MEMBER_REMOVED", WITH_PERSON},
    [HOOK_TEST] = {"TEST", 0},
};

const char *hook_type_name(enum hook_type type)
{
    return types[type].name;
}

/* ---- configurations as the hosted service shows them ---- */

/* Never null and never an array. */
static void shape_dns(json_t *config)
{
    if (!json_is_object(json_object_get(config, "dns"))) {
        json_object_set_new(config, "dns", json_pack("{sssn}", "domain", "", "servers"));
    }
}

/* Routes without gateway have no "via". Makes routes of their own. */
static void shape_routes(json_t *config)
{
    json_t *routes = json_deep_copy(json_object_get(config, "routes"));
    size_t i;
    json_t *route;
    json_array_foreach(routes, i, route)
    {
        if (json_is_null(json_object_get(route, "via"))) {
            json_object_del(route, "via");
        }
    }
    if (routes != NULL) {
        json_object_set_new(config, "routes", routes);
    }
}

/* Remove join tokens and everything that is kept by them: their texts are secrets. */
static void strip_tokens(json_t *config)
{
    const char *key;
    json_t *value;
    void *tmp;
    json_object_foreach_safe(config, tmp, key, value)
    {
        if (strncmp(key, "authToken", strlen("authToken")) == 0) {
            json_object_del(config, key);
        }
    }
}

/* The document of a network or member for others: new reference, null without one. No join token
 * and no credential leaves. */
static json_t *shape(const json_t *doc)
{
    json_t *config = doc != NULL ? json_copy((json_t *)(uintptr_t)doc) : json_null();
    if (doc == NULL || config == NULL) {
        return config;
    }
    if (json_object_get(config, "authTokens") != NULL) {
        strip_tokens(config);
        json_object_set_new(config, "authTokens", json_null());
        shape_dns(config);
        shape_routes(config);
    }
    if (json_object_get(config, "lastAuthorizedCredential") != NULL) {
        json_object_set_new(config, "lastAuthorizedCredential", json_null());
    }
    return config;
}

/* ---- bodies ---- */

static void set_text(json_t *body, const char *key, const char *text)
{
    json_object_set_new(body, key, json_string(text != NULL ? text : ""));
}

static void set_hex(json_t *body, const char *key, uint64_t id, unsigned digits)
{
    char text[17] = "";
    if (id != 0) {
        hex_from_u64(id, digits, text);
    }
    set_text(body, key, text);
}

static void set_user(json_t *body, const struct actor *actor)
{
    set_hex(body, "user_id", actor != NULL ? actor->user : 0, 16);
    set_text(body, "user_email", actor != NULL ? actor->email : NULL);
}

/* What invitations and logins tell is in the document of their note. */
static void set_from(json_t *body, const char *key, const struct note *note, const char *from)
{
    const json_t *doc = note->after != NULL ? note->after : note->before;
    set_text(body, key, json_string_value(json_object_get(doc, from)));
}

static void set_people(json_t *body, unsigned fields, const struct note *note)
{
    if ((fields & WITH_SSO) != 0) {
        set_from(body, "sso_user_email", note, "email");
    }
    if ((fields & WITH_ERROR) != 0) {
        set_from(body, "error", note, "error");
    }
    if ((fields & WITH_INVITEE) != 0) {
        set_hex(body, "user_id", note->actor != NULL ? note->actor->user : 0, 16);
        set_from(body, "invitee_email", note, "email");
    }
    if ((fields & WITH_PERSON) != 0) {
        set_hex(body, "user_id", note->object, 16);
        set_from(body, "user_email", note, "email");
    }
    if ((fields & WITH_NETWORKS) != 0) {
        json_t *networks = json_object_get(note->after, "networks");
        json_object_set_new(body, "network_ids",
                            networks != NULL ? json_incref(networks) : json_array());
    }
}

static json_t *begin(const struct controller *c, const struct hook *hook, enum hook_type type)
{
    json_t *body = json_object();
    if (body != NULL) {
        set_hex(body, "hook_id", hook->id, 16);
        set_hex(body, "org_id", c->identity.address, 16);
        set_text(body, "hook_type", types[type].name);
    }
    return body;
}

static char *end(json_t *body)
{
    char *text = body != NULL ? json_dumps(body, JSON_COMPACT) : NULL;
    json_decref(body);
    return text;
}

/* lean: null for configurations, which are too large. malloc'd, NULL out of memory. */
static char *make_body(const struct controller *c, const struct hook *hook, enum hook_type type,
                       const struct note *note, bool lean)
{
    unsigned fields = types[type].fields;
    json_t *body = begin(c, hook, type);
    if (body == NULL) {
        return NULL;
    }
    if ((fields & WITH_NETWORK) != 0) {
        set_hex(body, "network_id", note->nwid, 16);
    }
    if ((fields & WITH_MEMBER) != 0) {
        set_hex(body, "member_id", note->member, 10);
    }
    if ((fields & WITH_CREATED) != 0) {
        json_object_set_new(body, "network_config", shape(lean ? NULL : note->after));
    }
    if ((fields & WITH_OLD) != 0) {
        json_object_set_new(body, "old_config", shape(lean ? NULL : note->before));
    }
    if ((fields & WITH_NEW) != 0) {
        json_object_set_new(body, "new_config", shape(lean ? NULL : note->after));
    }
    if ((fields & WITH_USER) != 0) {
        set_user(body, note->actor);
    }
    set_people(body, fields, note);
    return end(body);
}

char *hook_test_body(const struct controller *c, const struct hook *hook)
{
    return end(begin(c, hook, HOOK_TEST));
}

/* ---- which notes ---- */

/* True if more than what NETWORK_AUTH tells, versions and keys have changed. */
static bool config_differs(const json_t *before, const json_t *after)
{
    static const char *const other[] = {"revision",
                                        "authorized",
                                        "lastAuthorizedTime",
                                        "lastDeauthorizedTime",
                                        "vMajor",
                                        "lastAuthorizedCredential",
                                        "lastAuthorizedCredentialType",
                                        "vMinor",
                                        "vRev",
                                        "vProto",
                                        NULL};
    json_t *a = json_copy((json_t *)(uintptr_t)before);
    json_t *b = json_copy((json_t *)(uintptr_t)after);
    doc_remove(a, other);
    doc_remove(b, other);
    bool differs = !json_equal(a, b);
    json_decref(a);
    json_decref(b);
    return differs;
}

/* Join tokens are no configuration that is told. */
static bool network_differs(const json_t *before, const json_t *after)
{
    json_t *a = json_copy((json_t *)(uintptr_t)before);
    json_t *b = json_copy((json_t *)(uintptr_t)after);
    json_object_del(a, "revision");
    json_object_del(b, "revision");
    strip_tokens(a);
    strip_tokens(b);
    bool differs = !json_equal(a, b);
    json_decref(a);
    json_decref(b);
    return differs;
}

/* Bits of the types a note is told as. */
static uint32_t types_of(const struct note *note)
{
    static const uint8_t simple[NOTE_TYPES] = {
        [NOTE_NETWORK_CREATED] = HOOK_NETWORK_CREATED + 1,
        [NOTE_NETWORK_DELETED] = HOOK_NETWORK_DELETED + 1,
        [NOTE_MEMBER_ADDED] = HOOK_MEMBER_CONFIG_CHANGED + 1,
        [NOTE_MEMBER_ADDRESS] = HOOK_MEMBER_CONFIG_CHANGED + 1,
        [NOTE_MEMBER_DELETED] = HOOK_MEMBER_DELETED + 1,
        [NOTE_MEMBER_REQUEST] = HOOK_NETWORK_JOIN + 1,
        [NOTE_MEMBER_AUTHORIZED] = HOOK_NETWORK_AUTH + 1,
        [NOTE_MEMBER_DEAUTHORIZED] = HOOK_NETWORK_DEAUTH + 1,
        [NOTE_SSO_LOGIN] = HOOK_NETWORK_SSO_LOGIN + 1,
        [NOTE_SSO_FAILED] = HOOK_NETWORK_SSO_LOGIN_ERROR + 1,
        [NOTE_ORG_INVITED] = HOOK_ORG_INVITE_SENT + 1,
        [NOTE_ORG_ACCEPTED] = HOOK_ORG_INVITE_ACCEPTED + 1,
        [NOTE_ORG_REJECTED] = HOOK_ORG_INVITE_REJECTED + 1,
        [NOTE_USER_DELETED] = HOOK_ORG_MEMBER_REMOVED + 1,
    };
    uint32_t bits = simple[note->type] != 0 ? UINT32_C(1) << (simple[note->type] - 1) : 0;
    bool member = note->type == NOTE_MEMBER_AUTHORIZED || note->type == NOTE_MEMBER_DEAUTHORIZED ||
                  note->type == NOTE_MEMBER_CHANGED;
    if (member && note->after != NULL && config_differs(note->before, note->after)) {
        bits |= UINT32_C(1) << HOOK_MEMBER_CONFIG_CHANGED;
    }
    if (note->type == NOTE_NETWORK_CHANGED && network_differs(note->before, note->after)) {
        bits |= UINT32_C(1) << HOOK_NETWORK_CONFIG_CHANGED;
    }
    return bits;
}

/* Returns 0; -ENOMEM. */
static int tell(struct controller *c, struct store_tx *tx, struct hook *hook, enum hook_type type,
                const struct note *note, int64_t now_ms)
{
    char *body = make_body(c, hook, type, note, false);
    if (body != NULL && strlen(body) > HOOK_BODY_MAX) {
        free(body);
        body = make_body(c, hook, type, note, true);
    }
    if (body == NULL) {
        return -ENOMEM;
    }
    bool anyone = note->actor == NULL && note->anyone;
    return hook_queue(c, tx, hook, type, anyone, body, NULL, now_ms);
}

int hooks_note(struct controller *c, struct store_tx *tx, const struct note *note, int64_t now_ms)
{
    struct hooks *hooks = c->hooks;
    uint32_t bits = hooks->count > 0 ? types_of(note) : 0;
    int error = 0;
    for (struct list *it = hooks->list.next; bits != 0 && it != &hooks->list && error == 0;
         it = it->next) {
        struct hook *hook = CONTAINER_OF(it, struct hook, link);
        uint32_t wanted = hook->enabled ? bits & (hook->types != 0 ? hook->types : UINT32_MAX) : 0;
        for (int i = 0; i < HOOK_TYPES_REAL && error == 0; i++) {
            if ((wanted >> i & 1) != 0) {
                error = tell(c, tx, hook, (enum hook_type)i, note, now_ms);
            }
        }
    }
    return error;
}
