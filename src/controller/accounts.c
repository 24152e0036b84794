/* People, API tokens and permissions in memory and as documents. */
#include "controller/accounts.h"

#include "base/hex.h"
#include "controller/coerce.h"

#include <errno.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>

static const struct {
    const char *name;   /* of a scope */
    const char *letter; /* key of a permission */
    uint8_t bit;
} kinds[] = {
    {"read", "r", ACCESS_READ},
    {"authorize", "a", ACCESS_AUTHORIZE},
    {"modify", "m", ACCESS_MODIFY},
    {"delete", "d", ACCESS_DELETE},
};

/* ---- sets of permissions ---- */

json_t *access_names(uint8_t access)
{
    json_t *array = json_array();
    for (size_t i = 0; i < COUNT_OF(kinds); i++) {
        if ((access & kinds[i].bit) != 0) {
            json_array_append_new(array, json_string(kinds[i].name));
        }
    }
    return array;
}

int access_from_names(const json_t *names, uint8_t *ret)
{
    uint8_t access = 0;
    for (size_t i = 0; i < json_array_size(names); i++) {
        const char *name = json_string_value(json_array_get(names, i));
        size_t k = 0;
        while (k < COUNT_OF(kinds) && (name == NULL || strcmp(name, kinds[k].name) != 0)) {
            k++;
        }
        if (k == COUNT_OF(kinds)) {
            return -EINVAL;
        }
        access |= kinds[k].bit;
    }
    *ret = access;
    return 0;
}

json_t *access_json(uint8_t access)
{
    json_t *obj = json_object();
    for (size_t i = 0; i < COUNT_OF(kinds); i++) {
        json_object_set_new(obj, kinds[i].letter, json_boolean((access & kinds[i].bit) != 0));
    }
    return obj;
}

uint8_t access_from_json(const json_t *obj, uint8_t access)
{
    for (size_t i = 0; i < COUNT_OF(kinds); i++) {
        const json_t *v = json_object_get(obj, kinds[i].letter);
        if (json_is_true(v)) {
            access |= kinds[i].bit;
        } else if (v != NULL && !json_is_null(v)) {
            access &= (uint8_t)~kinds[i].bit;
        }
    }
    return access;
}

json_t *grant_to_json(const struct grant *g)
{
    json_t *obj = access_json(g->access);
    if (obj != NULL && g->owner) {
        json_object_set_new(obj, "owner", json_true());
    }
    return obj;
}

void grant_from_json(struct grant *g, uint64_t user, const json_t *doc)
{
    *g = (struct grant){.user = user,
                        .access = access_from_json(doc, 0),
                        .owner = json_is_true(json_object_get(doc, "owner"))};
}

bool rate_take(struct rate *r, int64_t now_ms, unsigned *ret_left)
{
    int64_t second = now_ms / 1000;
    if (r->second != second) {
        *r = (struct rate){.second = second};
    }
    bool good = r->used < ACCOUNTS_RATE_PER_S;
    r->used += good ? 1 : 0;
    *ret_left = ACCOUNTS_RATE_PER_S - r->used;
    return good;
}

/* ---- people ---- */

static void person_free(struct person *p)
{
    if (p != NULL) {
        free(p->name);
        free(p->email);
        free(p->sms);
        free(p);
    }
}

struct person *accounts_person(const struct accounts *a, uint64_t id)
{
    for (size_t i = 0; i < a->person_count; i++) {
        if (a->persons[i]->id == id) {
            return a->persons[i];
        }
    }
    return NULL;
}

/* A copy of a text of a document, "" if absent; NULL out of memory. */
static char *text_of(const json_t *doc, const char *key)
{
    const char *text = json_string_value(json_object_get(doc, key));
    return strdup(text != NULL ? text : "");
}

static int64_t time_of(const json_t *doc, const char *key)
{
    return (int64_t)coerce_u64(json_object_get(doc, key), 0);
}

static const char *const states[] = {
    [PERSON_ACTIVE] = "active",
    [PERSON_INVITED] = "invited",
    [PERSON_CANCELED] = "canceled",
};

static enum person_state state_of(const json_t *doc)
{
    const char *text = json_string_value(json_object_get(doc, "state"));
    for (int i = PERSON_ACTIVE; text != NULL && i <= PERSON_CANCELED; i++) {
        if (strcmp(text, states[i]) == 0) {
            return (enum person_state)i;
        }
    }
    return PERSON_CANCELED;
}

int accounts_put_person(struct accounts *a, uint64_t id, const json_t *doc)
{
    struct person *p = calloc(1, sizeof(*p));
    if (p == NULL) {
        return -ENOMEM;
    }
    p->id = id;
    p->name = text_of(doc, "displayName");
    p->email = text_of(doc, "email");
    p->sms = text_of(doc, "smsNumber");
    p->admin = json_is_true(json_object_get(doc, "admin"));
    p->state = state_of(doc);
    p->created_ms = time_of(doc, "created");
    p->updated_ms = time_of(doc, "updated");
    struct person *old = accounts_person(a, id);
    int error = p->name == NULL || p->email == NULL || p->sms == NULL ? -ENOMEM : 0;
    if (error == 0 && old == NULL && a->person_count == ACCOUNTS_PERSONS_MAX) {
        error = -ENOSPC;
    }
    if (error == 0 && old == NULL) {
        struct person **grown = realloc(a->persons, (a->person_count + 1) * sizeof(*grown));
        error = grown != NULL ? 0 : -ENOMEM;
        a->persons = grown != NULL ? grown : a->persons;
    }
    if (error != 0) {
        person_free(p);
        return error;
    }
    if (old != NULL) { /* pointers to it stay good */
        struct person swap = *old;
        *old = *p;
        *p = swap;
        person_free(p);
    } else {
        a->persons[a->person_count++] = p;
    }
    return 0;
}

void accounts_drop_person(struct accounts *a, struct person *p)
{
    for (size_t i = 0; i < a->person_count; i++) {
        if (a->persons[i] == p) {
            a->persons[i] = a->persons[--a->person_count];
            person_free(p);
            return;
        }
    }
}

json_t *person_to_json(const struct person *p)
{
    return json_pack("{sssssssbsssIsI}", "displayName", p->name, "email", p->email, "smsNumber",
                     p->sms, "admin", (int)p->admin, "state", states[p->state], "created",
                     (json_int_t)p->created_ms, "updated", (json_int_t)p->updated_ms);
}

/* ---- tokens ---- */

static void token_free(struct api_token *t)
{
    if (t != NULL) {
        free(t->name);
        free(t->nwids);
        free(t);
    }
}

void accounts_hash(const char *text, size_t len, uint8_t ret[ACCOUNTS_HASH_LEN])
{
    (void)crypto_hash_sha256(ret, (const unsigned char *)text, len);
}

struct api_token *accounts_token(const struct accounts *a, uint64_t id)
{
    for (size_t i = 0; i < a->token_count; i++) {
        if (a->tokens[i]->id == id) {
            return a->tokens[i];
        }
    }
    return NULL;
}

struct api_token *accounts_token_named(const struct accounts *a, uint64_t user, const char *name)
{
    for (size_t i = 0; i < a->token_count; i++) {
        if (a->tokens[i]->user == user && strcmp(a->tokens[i]->name, name) == 0) {
            return a->tokens[i];
        }
    }
    return NULL;
}

size_t accounts_count_tokens(const struct accounts *a, uint64_t user)
{
    size_t n = 0;
    for (size_t i = 0; i < a->token_count; i++) {
        n += a->tokens[i]->user == user ? 1 : 0;
    }
    return n;
}

struct api_token *accounts_token_hashed(const struct accounts *a,
                                        const uint8_t hash[ACCOUNTS_HASH_LEN])
{
    struct api_token *found = NULL;
    for (size_t i = 0; i < a->token_count; i++) {
        if (sodium_memcmp(a->tokens[i]->hash, hash, ACCOUNTS_HASH_LEN) == 0) {
            found = a->tokens[i];
        }
    }
    return found;
}

static int networks_of(struct api_token *t, const json_t *array)
{
    size_t n = json_array_size(array);
    if (n > ACCOUNTS_TOKEN_NETWORKS) {
        return -EINVAL;
    }
    if (n == 0) {
        return 0;
    }
    t->nwids = calloc(n, sizeof(*t->nwids));
    if (t->nwids == NULL) {
        return -ENOMEM;
    }
    for (size_t i = 0; i < n; i++) {
        const char *text = json_string_value(json_array_get(array, i));
        if (text == NULL || strlen(text) != 16 || hex_to_u64(text, 16, 16, &t->nwids[i]) != 0) {
            return -EINVAL;
        }
    }
    t->nwid_count = n;
    return 0;
}

static int token_of(struct api_token *t, const json_t *doc)
{
    const char *hash = json_string_value(json_object_get(doc, "hash"));
    const char *user = json_string_value(json_object_get(doc, "user"));
    if (hash == NULL || user == NULL || strlen(hash) != (size_t)2 * ACCOUNTS_HASH_LEN ||
        hex_decode(hash, strlen(hash), t->hash, sizeof(t->hash)) != 0 ||
        hex_to_u64(user, strlen(user), 16, &t->user) != 0 ||
        access_from_names(json_object_get(doc, "scope"), &t->scope) != 0) {
        return -EINVAL;
    }
    t->created_ms = time_of(doc, "created");
    t->expires_ms = time_of(doc, "expires");
    t->used_ms = t->saved_ms = time_of(doc, "lastUsed");
    t->name = text_of(doc, "name");
    return t->name != NULL ? networks_of(t, json_object_get(doc, "networks")) : -ENOMEM;
}

int accounts_put_token(struct accounts *a, uint64_t id, const json_t *doc)
{
    struct api_token *t = calloc(1, sizeof(*t));
    if (t == NULL) {
        return -ENOMEM;
    }
    t->id = id;
    int error = token_of(t, doc);
    if (error == 0 && a->token_count == ACCOUNTS_TOKENS_MAX) {
        error = -ENOSPC;
    }
    if (error == 0) {
        struct api_token **grown = realloc(a->tokens, (a->token_count + 1) * sizeof(*grown));
        error = grown != NULL ? 0 : -ENOMEM;
        a->tokens = grown != NULL ? grown : a->tokens;
    }
    if (error != 0) {
        token_free(t);
        return error;
    }
    a->tokens[a->token_count++] = t;
    return 0;
}

void accounts_drop_token(struct accounts *a, struct api_token *t)
{
    for (size_t i = 0; i < a->token_count; i++) {
        if (a->tokens[i] == t) {
            a->tokens[i] = a->tokens[--a->token_count];
            token_free(t);
            return;
        }
    }
}

json_t *api_token_to_json(const struct api_token *t)
{
    char user[17];
    char hash[2 * ACCOUNTS_HASH_LEN + 1];
    hex_from_u64(t->user, 16, user);
    hex_encode(t->hash, sizeof(t->hash), hash);
    json_t *networks = json_array();
    for (size_t i = 0; i < t->nwid_count; i++) {
        char nwid[17];
        hex_from_u64(t->nwids[i], 16, nwid);
        json_array_append_new(networks, json_string(nwid));
    }
    return json_pack("{sssssssososIsIsI}", "name", t->name, "user", user, "hash", hash, "scope",
                     access_names(t->scope), "networks", networks, "created",
                     (json_int_t)t->created_ms, "expires", (json_int_t)t->expires_ms, "lastUsed",
                     (json_int_t)t->used_ms);
}

uint8_t api_token_scope(const struct api_token *t, uint64_t nwid)
{
    if (t->nwid_count == 0) {
        return t->scope;
    }
    for (size_t i = 0; i < t->nwid_count; i++) {
        if (t->nwids[i] == nwid) {
            return t->scope;
        }
    }
    return 0;
}

bool api_token_is_full(const struct api_token *t)
{
    return t->scope == ACCESS_ALL && t->nwid_count == 0;
}

void accounts_done(struct accounts *a)
{
    for (size_t i = 0; i < a->person_count; i++) {
        person_free(a->persons[i]);
    }
    for (size_t i = 0; i < a->token_count; i++) {
        token_free(a->tokens[i]);
    }
    free(a->persons);
    free(a->tokens);
    memset(a, 0, sizeof(*a));
}
