/* What callers may do. */
#include "controller/access.h"

#include "controller/controller_priv.h"
#include "controller/member_doc.h"
#include "controller/network_doc.h"
#include "controller/note.h"

#include <errno.h>
#include <sodium.h>
#include <string.h>

/* The token of a caller, NULL with the control token; false if it is gone. */
static bool token_of(const struct controller *c, const struct caller *caller,
                     const struct api_token **ret)
{
    *ret = caller->token != 0 ? accounts_token(&c->model.accounts, caller->token) : NULL;
    return caller->token == 0 || *ret != NULL;
}

/* True if the user of a caller may come in at all; *ret_admin: to everything. */
static bool user_of(const struct controller *c, const struct caller *caller, bool *ret_admin)
{
    const struct person *p = accounts_person(&c->model.accounts, caller->user);
    *ret_admin = caller->user == ACCOUNTS_ADMIN || (p != NULL && p->admin);
    return caller->user == ACCOUNTS_ADMIN || (p != NULL && p->state == PERSON_ACTIVE);
}

/* Put a document (taken) into a transaction. */
static int put_doc(struct store_tx *tx, enum store_kind kind, uint64_t id, uint64_t node,
                   json_t *doc)
{
    char *text = doc != NULL ? doc_text(doc) : NULL;
    json_decref(doc);
    return text != NULL ? store_tx_put(tx, kind, id, node, text) : -ENOMEM;
}

int access_put_person(struct store_tx *tx, const struct person *p)
{
    return put_doc(tx, STORE_USER, p->id, 0, person_to_json(p));
}

int access_put_token(struct store_tx *tx, const struct api_token *t)
{
    return put_doc(tx, STORE_TOKEN, t->id, 0, api_token_to_json(t));
}

int access_put_grant(struct store_tx *tx, uint64_t nwid, const struct grant *g)
{
    return put_doc(tx, STORE_GRANT, nwid, g->user, grant_to_json(g));
}

int access_note_grant(struct controller *c, struct store_tx *tx, uint64_t nwid,
                      const struct actor *actor, const struct grant *before,
                      const struct grant *after, int64_t now_ms)
{
    json_t *was = before != NULL ? grant_to_json(before) : NULL;
    json_t *is = after != NULL ? grant_to_json(after) : NULL;
    struct note note = {.type = NOTE_GRANT_CHANGED,
                        .actor = actor,
                        .nwid = nwid,
                        .object = after != NULL ? after->user : before->user,
                        .before = was,
                        .after = is};
    int error = note_add(c, tx, &note, now_ms);
    json_decref(was);
    json_decref(is);
    return error;
}

int access_own(struct controller *c, uint64_t nwid, const struct caller *caller, int64_t now_ms)
{
    struct cnetwork *net = model_find(&c->model, nwid);
    struct grant grant = {.user = caller->user, .access = ACCESS_ALL, .owner = true};
    if (net == NULL || caller->user == ACCOUNTS_ADMIN) {
        return 0;
    }
    struct store_tx *tx = store_tx_new();
    int error = tx != NULL ? network_set_grant(net, &grant) : -ENOMEM;
    if (error == 0) {
        error = access_put_grant(tx, nwid, &grant);
    }
    if (error == 0) {
        struct actor actor = {.kind = ACTOR_API_TOKEN};
        access_actor(c, caller, &actor);
        error = access_note_grant(c, tx, nwid, &actor, NULL, &grant, now_ms);
    }
    if (error != 0) {
        store_tx_free(tx);
        return error;
    }
    controller_commit(c, tx, NULL, NULL);
    return 0;
}

/* Write when a token was used, now and then. */
static void save_used(struct controller *c, struct api_token *t)
{
    struct store_tx *tx = c->store != NULL ? store_tx_new() : NULL;
    if (tx == NULL || access_put_token(tx, t) != 0) {
        store_tx_free(tx);
        return;
    }
    t->saved_ms = t->used_ms;
    controller_commit(c, tx, NULL, NULL);
}

bool access_authenticate(struct controller *c, const char *token, size_t len, int64_t now_ms,
                         struct caller *ret)
{
    uint8_t hash[ACCOUNTS_HASH_LEN];
    if (len < ACCOUNTS_SECRET_MIN || len > ACCOUNTS_SECRET_MAX || !controller_serves(c)) {
        return false;
    }
    accounts_hash(token, len, hash);
    struct api_token *t = accounts_token_hashed(&c->model.accounts, hash);
    sodium_memzero(hash, sizeof(hash));
    int64_t wall = controller_wall(c, now_ms);
    bool admin;
    if (t == NULL || (t->expires_ms != 0 && t->expires_ms <= wall)) {
        return false;
    }
    struct caller caller = {.user = t->user, .token = t->id};
    if (!user_of(c, &caller, &admin)) {
        return false;
    }
    t->used_ms = wall;
    c->now_ms = now_ms;
    if (controller_serves(c) &&
        (wall - t->saved_ms >= ACCOUNTS_USED_SAVE_MS || wall < t->saved_ms)) {
        save_used(c, t);
    }
    *ret = caller;
    return true;
}

bool access_rate(struct controller *c, const struct caller *caller, int64_t now_ms,
                 struct caller_rate *ret)
{
    struct api_token *t = accounts_token(&c->model.accounts, caller->token);
    struct rate *rate = t != NULL ? &t->rate : &c->model.accounts.admin_rate;
    bool good = rate_take(rate, now_ms, &ret->left);
    ret->limit = ACCOUNTS_RATE_PER_S;
    ret->reset_ms = controller_wall(c, (now_ms / 1000 + 1) * 1000);
    return good;
}

void access_actor(const struct controller *c, const struct caller *caller, struct actor *ret)
{
    const struct api_token *t = accounts_token(&c->model.accounts, caller->token);
    const struct person *p = accounts_person(&c->model.accounts, caller->user);
    if (t == NULL) {
        return; /* the control token: as the transport describes it */
    }
    ret->kind = ACTOR_API_TOKEN;
    ret->user = caller->user;
    ret->token = t->id;
    ret->name = t->name;
    ret->email = p != NULL ? p->email : NULL;
}

uint8_t access_network(const struct controller *c, const struct caller *caller,
                       const struct cnetwork *net)
{
    const struct api_token *t;
    bool admin;
    if (!token_of(c, caller, &t) || !user_of(c, caller, &admin)) {
        return 0;
    }
    const struct grant *g = network_grant(net, caller->user);
    uint8_t access = g != NULL ? g->access : 0;
    if (admin || (g != NULL && g->owner)) {
        access = ACCESS_ALL;
    }
    return t != NULL ? access & api_token_scope(t, net->nwid) : access;
}

/* True if nothing restricts the token of a caller. */
static bool is_full(const struct controller *c, const struct caller *caller, bool *ret_admin)
{
    const struct api_token *t;
    return token_of(c, caller, &t) && user_of(c, caller, ret_admin) &&
           (t == NULL || api_token_is_full(t));
}

bool access_is_admin(const struct controller *c, const struct caller *caller)
{
    bool admin;
    return is_full(c, caller, &admin) && admin;
}

bool access_sees_person(const struct controller *c, const struct caller *caller, uint64_t id)
{
    return caller->user == id || access_is_admin(c, caller);
}

bool access_changes_person(const struct controller *c, const struct caller *caller, uint64_t id)
{
    bool admin;
    return is_full(c, caller, &admin) && (caller->user == id || admin);
}

/* Networks that a user owns. */
static size_t count_owned(const struct controller *c, uint64_t user)
{
    size_t n = 0;
    struct hmap_node *it = NULL;
    while ((it = hmap_each(&c->model.networks, it)) != NULL) {
        const struct grant *g = network_grant(CONTAINER_OF(it, struct cnetwork, node), user);
        n += g != NULL && g->owner ? 1 : 0;
    }
    return n;
}

bool access_creates(const struct controller *c, const struct caller *caller)
{
    const struct api_token *t;
    bool admin;
    return token_of(c, caller, &t) && user_of(c, caller, &admin) &&
           (t == NULL || (t->nwid_count == 0 && (t->scope & ACCESS_MODIFY) != 0)) &&
           (admin || count_owned(c, caller->user) < ACCOUNTS_NETWORKS_EACH);
}

bool access_member_edit(uint8_t access, const struct cmember *m, const json_t *body)
{
    static const char *const entry[] = {"authorized", "hidden", "blocked"};
    static const char *const labels[] = {"name", "description"};
    json_t *doc = m != NULL ? member_to_json(m) : NULL;
    bool good = (access & (ACCESS_AUTHORIZE | ACCESS_MODIFY)) != 0;
    const char *key;
    json_t *value;
    json_object_foreach((json_t *)body, key, value)
    {
        const json_t *now = json_object_get(doc, key);
        uint8_t needed = ACCESS_MODIFY;
        for (size_t i = 0; i < COUNT_OF(entry); i++) {
            needed = strcmp(key, entry[i]) == 0 ? ACCESS_AUTHORIZE : needed;
        }
        for (size_t i = 0; i < COUNT_OF(labels); i++) {
            needed = strcmp(key, labels[i]) == 0 ? ACCESS_AUTHORIZE | ACCESS_MODIFY : needed;
        }
        bool same = now != NULL ? json_equal(now, value) : json_is_false(value);
        good &= same || (access & needed) != 0;
    }
    json_decref(doc);
    return good;
}
