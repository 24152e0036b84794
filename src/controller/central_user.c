/* People and their tokens in the Central API. Source: spec 04 sections 6.3, 6.4, 10.5; CTL-103. */
#include "base/hex.h"
#include "controller/central_priv.h"

#include <errno.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>

enum {
    RANDOM_LEN = 32, /* characters of a token made here */
    RANDOM_BYTES = 32,
};

void central_user_id(uint64_t id, char ret[CENTRAL_ID_LEN])
{
    hex_from_u64(id, 16, ret);
}

bool central_parse_user_id(const char *text, uint64_t *ret)
{
    return strlen(text) == 16 && hex_to_u64(text, 16, 16, ret) == 0;
}

/* ---- what is shown ---- */

/* What a person may do with every network. */
static uint8_t global_access(const struct person *p, uint64_t id)
{
    return id == ACCOUNTS_ADMIN || (p != NULL && p->admin) ? ACCESS_ALL : 0;
}

static json_t *token_names(const struct central_call *call, uint64_t user)
{
    const struct accounts *a = &call->c->model.accounts;
    json_t *array = json_array();
    for (size_t i = 0; i < a->token_count; i++) {
        if (a->tokens[i]->user == user) {
            json_array_append_new(array, json_string(a->tokens[i]->name));
        }
    }
    return array;
}

json_t *central_user_json(const struct central_call *call, uint64_t id)
{
    char text[CENTRAL_ID_LEN];
    char org[CENTRAL_ID_LEN];
    const struct person *p = accounts_person(&call->c->model.accounts, id);
    const char *email = p != NULL ? p->email : "";
    central_user_id(id, text);
    central_org_id(call, org);
    json_t *auth =
        json_pack("{ss?snsn}", "local", email[0] != '\0' ? email : NULL, "google", "oidc");
    return json_pack("{sssssssssssssososo}", "id", text, "orgId", org, "type", "User",
                     "displayName", p != NULL ? p->name : "administrator", "email", email,
                     "smsNumber", p != NULL ? p->sms : "", "auth", auth, "tokens",
                     token_names(call, id), "globalPermissions", access_json(global_access(p, id)));
}

static json_t *token_json(const struct api_token *t)
{
    json_t *obj = api_token_to_json(t);
    if (obj != NULL) {
        json_object_del(obj, "hash");
        json_object_set_new(obj, "tokenName", json_string(t->name));
    }
    return obj;
}

/* ---- people ---- */

static const struct central_field user_fields[] = {{"displayName", CENTRAL_TEXT},
                                                   {"smsNumber", CENTRAL_TEXT},
                                                   {"email", CENTRAL_TEXT},
                                                   {"admin", CENTRAL_BOOL}};

/* Check the fields of a posted user. Returns false after having answered. */
static bool check_user(struct central_call *call)
{
    if (!central_check(call, call->body, "", user_fields, COUNT_OF(user_fields))) {
        return false;
    }
    for (size_t i = 0; i < COUNT_OF(user_fields); i++) {
        if (json_string_length(json_object_get(call->body, user_fields[i].key)) >
            ACCOUNTS_TEXT_MAX) {
            central_error(call, 400, "%s is too long", user_fields[i].key);
            return false;
        }
    }
    return true;
}

uint64_t central_new_id(struct central_call *call)
{
    const struct accounts *a = &call->c->model.accounts;
    uint64_t id;
    do { /* of people and tokens, so that nobody mistakes one for the other */
        call->c->env.random(call->c->env.ctx, &id, sizeof(id));
        id &= (UINT64_C(1) << 40) - 1; /* stored where addresses are, in grants */
    } while (id <= UINT32_MAX || accounts_person(a, id) != NULL || accounts_token(a, id) != NULL);
    return id;
}

/* Keep a person and note it. */
static int store_person(struct central_call *call, uint64_t id, const json_t *doc,
                        enum note_type type, struct store_tx *tx)
{
    struct accounts *a = &call->c->model.accounts;
    const struct person *old = accounts_person(a, id);
    json_t *before = old != NULL ? person_to_json(old) : NULL;
    int error = accounts_put_person(a, id, doc);
    if (error == 0) {
        error = access_put_person(tx, accounts_person(a, id));
    }
    if (error == 0) {
        error = central_note(call, tx, type, id, before, doc);
    }
    json_decref(before);
    return error;
}

void central_put_person(struct central_call *call, uint64_t id, json_t *doc, enum note_type type,
                        json_t *(*answer)(const struct central_call *call, uint64_t id))
{
    struct store_tx *tx = store_tx_new();
    int error = tx != NULL && doc != NULL ? store_person(call, id, doc, type, tx) : -ENOMEM;
    json_decref(doc);
    if (error != 0) {
        store_tx_free(tx);
        if (error == -ENOSPC) {
            central_error(call, 400, "there are too many users");
        } else {
            central_no_memory(call);
        }
        return;
    }
    central_commit(call, tx, answer(call, id));
}

/* POST /user: a person who needs no invitation. */
static void create_user(struct central_call *call)
{
    const char *name = json_string_value(json_object_get(call->body, "displayName"));
    const char *email = json_string_value(json_object_get(call->body, "email"));
    bool admin = json_is_true(json_object_get(call->body, "admin"));
    json_int_t wall = (json_int_t)central_wall(call);
    if (!check_user(call)) {
        return;
    }
    if (name == NULL && email == NULL) {
        central_error(call, 400, "displayName or email is needed");
        return;
    }
    json_t *doc = json_pack("{sssssssbsssIsI}", "displayName", name != NULL ? name : email, "email",
                            email != NULL ? email : "", "smsNumber", "", "admin", (int)admin,
                            "state", "active", "created", wall, "updated", wall);
    central_put_person(call, central_new_id(call), doc, NOTE_USER_CREATED, central_user_json);
}

void central_users(struct central_call *call)
{
    const struct accounts *a = &call->c->model.accounts;
    if (!access_is_admin(call->c, &call->caller)) {
        central_error(call, 403, "for administrators only");
    } else if (call->write) {
        create_user(call);
    } else if (call->read) {
        json_t *array = json_array();
        json_array_append_new(array, central_user_json(call, ACCOUNTS_ADMIN));
        for (size_t i = 0; i < a->person_count; i++) {
            if (a->persons[i]->state == PERSON_ACTIVE) {
                json_array_append_new(array, central_user_json(call, a->persons[i]->id));
            }
        }
        central_answer(call, array);
    } else {
        central_error(call, 404, "not found");
    }
}

static void edit_user(struct central_call *call, const struct person *p)
{
    if (!check_user(call)) {
        return;
    }
    json_t *doc = person_to_json(p);
    for (size_t i = 0; i < COUNT_OF(user_fields); i++) {
        json_t *value = central_get(call->body, user_fields[i].key);
        bool own = i < 2; /* e-mail address and rank are given by administrators */
        if (value != NULL && (own || access_is_admin(call->c, &call->caller))) {
            json_object_set(doc, user_fields[i].key, value);
        }
    }
    json_object_set_new(doc, "updated", json_integer((json_int_t)central_wall(call)));
    central_put_person(call, p->id, doc, NOTE_USER_CHANGED, central_user_json);
}

/* Everything of a person goes; networks fall to the administrator. Returns 0; -ENOMEM. */
static int remove_person(struct central_call *call, struct person *p, struct store_tx *tx)
{
    struct controller *c = call->c;
    struct accounts *a = &c->model.accounts;
    int error = store_tx_put(tx, STORE_USER, p->id, 0, NULL);
    json_t *doc = person_to_json(p);
    if (error == 0) {
        error = central_note(call, tx, NOTE_USER_DELETED, p->id, doc, NULL);
    }
    json_decref(doc);
    for (size_t i = a->token_count; i-- > 0 && error == 0;) {
        if (a->tokens[i]->user == p->id) {
            error = store_tx_put(tx, STORE_TOKEN, a->tokens[i]->id, 0, NULL);
            accounts_drop_token(a, a->tokens[i]);
        }
    }
    struct hmap_node *it = NULL;
    while (error == 0 && (it = hmap_each(&c->model.networks, it)) != NULL) {
        struct cnetwork *net = CONTAINER_OF(it, struct cnetwork, node);
        if (network_grant(net, p->id) != NULL) {
            error = store_tx_put(tx, STORE_GRANT, net->nwid, p->id, NULL);
            network_drop_grant(net, p->id);
        }
    }
    accounts_drop_person(a, p);
    return error;
}

static void delete_user(struct central_call *call, struct person *p)
{
    struct store_tx *tx = store_tx_new();
    if (tx == NULL || remove_person(call, p, tx) != 0) {
        store_tx_free(tx);
        central_no_memory(call);
        return;
    }
    central_commit(call, tx, json_null());
}

void central_user(struct central_call *call, uint64_t id)
{
    struct person *p = accounts_person(&call->c->model.accounts, id);
    if (!access_sees_person(call->c, &call->caller, id) ||
        (id != ACCOUNTS_ADMIN && (p == NULL || p->state != PERSON_ACTIVE))) {
        central_error(call, 404, "no such user");
    } else if (call->read) {
        central_answer(call, central_user_json(call, id));
    } else if (!access_changes_person(call->c, &call->caller, id)) {
        central_error(call, 403, "this token may not change users");
    } else if (p == NULL) {
        central_error(call, 403, "the built-in administrator cannot be changed");
    } else if (call->write) {
        edit_user(call, p);
    } else if (call->remove) {
        delete_user(call, p);
    } else {
        central_error(call, 404, "not found");
    }
}

/* ---- tokens ---- */

static void random_text(struct controller *c, char out[RANDOM_LEN + 1])
{
    static const char letters[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
    for (size_t n = 0; n < RANDOM_LEN;) {
        uint8_t bytes[RANDOM_BYTES];
        c->env.random(c->env.ctx, bytes, sizeof(bytes));
        for (size_t i = 0; i < sizeof(bytes) && n < RANDOM_LEN; i++) {
            if ((bytes[i] & 63) < sizeof(letters) - 1) {
                out[n++] = letters[bytes[i] & 63];
            }
        }
        sodium_memzero(bytes, sizeof(bytes));
    }
    out[RANDOM_LEN] = '\0';
}

void central_random_token(struct central_call *call)
{
    uint8_t bytes[RANDOM_BYTES];
    char hex[2 * RANDOM_BYTES + 1];
    char token[RANDOM_LEN + 1];
    call->c->env.random(call->c->env.ctx, bytes, sizeof(bytes));
    hex_encode(bytes, sizeof(bytes), hex);
    random_text(call->c, token);
    central_answer(call, json_pack("{sIssss}", "clock", (json_int_t)central_wall(call), "hex", hex,
                                   "token", token));
    sodium_memzero(token, sizeof(token));
}

/* 32 characters or more that go into a header. */
static bool secret_is_good(const char *text)
{
    size_t len = strlen(text);
    for (size_t i = 0; i < len; i++) {
        if (text[i] <= ' ' || text[i] > '~') {
            return false;
        }
    }
    return len >= ACCOUNTS_SECRET_MIN && len <= ACCOUNTS_SECRET_MAX;
}

static bool name_is_good(const char *text)
{
    return text != NULL && text[0] != '\0' && strlen(text) <= ACCOUNTS_TEXT_MAX / 2 &&
           strchr(text, '/') == NULL;
}

/* When a token ends: not after the one that makes it. */
static int64_t expiry_of(const struct central_call *call, int64_t wanted)
{
    const struct api_token *own = accounts_token(&call->c->model.accounts, call->caller.token);
    int64_t latest = own != NULL ? own->expires_ms : 0;
    return latest != 0 && (wanted == 0 || wanted > latest) ? latest : wanted;
}

/* The document of a token that is asked for: a new reference, NULL after having answered. */
static json_t *token_doc(struct central_call *call, uint64_t user, const char *secret)
{
    static const struct central_field fields[] = {{"tokenName", CENTRAL_TEXT},
                                                  {"token", CENTRAL_TEXT},
                                                  {"scope", CENTRAL_ARRAY},
                                                  {"networks", CENTRAL_ARRAY},
                                                  {"expires", CENTRAL_NUMBER}};
    const char *name = json_string_value(json_object_get(call->body, "tokenName"));
    json_t *scope = central_get(call->body, "scope");
    json_t *networks = central_get(call->body, "networks");
    uint64_t expires = coerce_u64(central_get(call->body, "expires"), 0);
    char id[CENTRAL_ID_LEN];
    char hex[2 * ACCOUNTS_HASH_LEN + 1];
    uint8_t hash[ACCOUNTS_HASH_LEN];
    uint8_t access;
    if (!central_check(call, call->body, "", fields, COUNT_OF(fields))) {
        return NULL;
    }
    if (!name_is_good(name)) {
        central_error(call, 400, "tokenName must be a text of 1 to %d bytes without slash",
                      ACCOUNTS_TEXT_MAX / 2);
    } else if (!secret_is_good(secret)) {
        central_error(call, 400, "token must have %d to %d printable characters without blanks",
                      ACCOUNTS_SECRET_MIN, ACCOUNTS_SECRET_MAX);
    } else if (access_from_names(scope, &access) != 0 || (scope != NULL && access == 0)) {
        central_error(call, 400, "scope must be a list of read, authorize, modify and delete");
    } else if (expires > INT64_MAX) {
        central_error(call, 400, "expires must be a time in milliseconds");
    } else {
        central_user_id(user, id);
        accounts_hash(secret, strlen(secret), hash);
        hex_encode(hash, sizeof(hash), hex);
        return json_pack("{sssssssososIsIsI}", "name", name, "user", id, "hash", hex, "scope",
                         access_names(scope != NULL ? access : ACCESS_ALL), "networks",
                         networks != NULL ? json_incref(networks) : json_array(), "created",
                         (json_int_t)central_wall(call), "expires",
                         (json_int_t)expiry_of(call, (int64_t)expires), "lastUsed", (json_int_t)0);
    }
    return NULL;
}

static bool token_exists(struct central_call *call, uint64_t user, const json_t *doc)
{
    const struct accounts *a = &call->c->model.accounts;
    const char *hex = json_string_value(json_object_get(doc, "hash"));
    uint8_t hash[ACCOUNTS_HASH_LEN];
    return accounts_token_named(a, user, json_string_value(json_object_get(doc, "name"))) != NULL ||
           (hex_decode(hex, strlen(hex), hash, sizeof(hash)) == 0 &&
            accounts_token_hashed(a, hash) != NULL);
}

/* POST /user/{id}/token */
static void create_token(struct central_call *call, uint64_t user)
{
    struct accounts *a = &call->c->model.accounts;
    const json_t *posted = central_get(call->body, "token");
    char secret[ACCOUNTS_SECRET_MAX + 2] = "";
    if (posted == NULL) {
        random_text(call->c, secret);
    } else if (json_string_length(posted) <= ACCOUNTS_SECRET_MAX && json_is_string(posted)) {
        memcpy(secret, json_string_value(posted), json_string_length(posted) + 1);
    }
    json_t *doc = token_doc(call, user, secret);
    if (doc == NULL) {
        sodium_memzero(secret, sizeof(secret));
        return;
    }
    uint64_t id = central_new_id(call);
    struct store_tx *tx = store_tx_new();
    const struct person *p = accounts_person(a, user);
    bool full = p != NULL && !p->admin && accounts_count_tokens(a, user) >= ACCOUNTS_TOKENS_EACH;
    int error = tx == NULL ? -ENOMEM : 0;
    if (error == 0 && full) {
        error = -ENOSPC;
    } else if (error == 0) {
        error = token_exists(call, user, doc) ? -EEXIST : accounts_put_token(a, id, doc);
    }
    struct api_token *t = error == 0 ? accounts_token(a, id) : NULL;
    if (t != NULL) {
        error = access_put_token(tx, t);
        error = error == 0 ? central_note(call, tx, NOTE_TOKEN_CREATED, id, NULL, doc) : error;
    }
    json_decref(doc);
    if (error != 0) {
        store_tx_free(tx);
        sodium_memzero(secret, sizeof(secret));
        central_error(call, error == -ENOMEM ? 500 : 400, "%s",
                      error == -EEXIST   ? "there is a token of this name or text already"
                      : error == -ENOSPC ? "there are too many tokens"
                      : error == -EINVAL ? "networks must be a list of network IDs"
                                         : "out of memory");
        return;
    }
    json_t *obj = token_json(t);
    if (obj != NULL) {
        json_object_set_new(obj, "token", json_string(secret));
    }
    sodium_memzero(secret, sizeof(secret));
    central_commit(call, tx, obj);
}

/* True if there is this user and the caller may do that; else answered. */
static bool may_tokens(struct central_call *call, uint64_t user)
{
    const struct person *p = accounts_person(&call->c->model.accounts, user);
    bool there = user == ACCOUNTS_ADMIN || (p != NULL && p->state == PERSON_ACTIVE);
    if (!there || !access_sees_person(call->c, &call->caller, user)) {
        central_error(call, 404, "no such user");
        return false;
    }
    if (!call->read && !access_changes_person(call->c, &call->caller, user)) {
        central_error(call, 403, "this token may not change tokens");
        return false;
    }
    return true;
}

void central_tokens(struct central_call *call, uint64_t user)
{
    const struct accounts *a = &call->c->model.accounts;
    if (!may_tokens(call, user)) {
        return;
    }
    if (call->write) {
        create_token(call, user);
    } else if (call->read) {
        json_t *array = json_array();
        for (size_t i = 0; i < a->token_count; i++) {
            if (a->tokens[i]->user == user) {
                json_array_append_new(array, token_json(a->tokens[i]));
            }
        }
        central_answer(call, array);
    } else {
        central_error(call, 404, "not found");
    }
}

/* DELETE /user/{id}/token/{name} */
void central_token(struct central_call *call, uint64_t user, const char *name)
{
    struct accounts *a = &call->c->model.accounts;
    if (!may_tokens(call, user)) {
        return;
    }
    struct api_token *t = accounts_token_named(a, user, name);
    if (t == NULL || !(call->remove || call->read)) {
        central_error(call, 404, "no such token");
        return;
    }
    if (call->read) {
        central_answer(call, token_json(t));
        return;
    }
    struct store_tx *tx = store_tx_new();
    json_t *doc = api_token_to_json(t);
    int error = tx != NULL ? store_tx_put(tx, STORE_TOKEN, t->id, 0, NULL) : -ENOMEM;
    if (error == 0) {
        error = central_note(call, tx, NOTE_TOKEN_DELETED, t->id, doc, NULL);
    }
    json_decref(doc);
    if (error != 0) {
        store_tx_free(tx);
        central_no_memory(call);
        return;
    }
    accounts_drop_token(a, t);
    central_commit(call, tx, json_null());
}
