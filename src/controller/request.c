/* The pipeline of one configuration request, in the order of spec 04 section 4.4, with the rules of
 * section 5.3: nothing that a crash could take back is told to a member before it is committed. */
#include "controller/assign.h"
#include "controller/clash.h"
#include "controller/controller_priv.h"
#include "controller/join_defaults.h"
#include "controller/member_doc.h"
#include "controller/network_doc.h"
#include "controller/removed.h"
#include "controller/request_note.h"
#include "controller/sso_priv.h"

#include "base/bucket.h"
#include "base/dict.h"

#include <errno.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>

static void answer_error(struct controller *c, const struct ask *ask, enum error_code code,
                         int64_t now_ms)
{
    if (code == ERROR_NETWORK_ACCESS_DENIED) {
        c->counts.denied++;
    } else {
        c->counts.not_found++;
    }
    if (ask->request_id != 0 && controller_serves(c)) {
        c->env.send_error(c->env.ctx, ask->nwid, ask->identity.address, ask->request_id, code, NULL,
                          0, now_ms);
    }
}

/* ---- what was seen ---- */

void request_save_runtime(struct controller *c, struct cmember *m, int64_t now_ms)
{
    /* Losing it is harmless: while the disk does not take it, it must not pile up in memory. */
    bool wanted = c->store != NULL && store_backlog(c->store) <= CONTROLLER_BACKLOG_MAX;
    struct store_tx *tx = wanted ? store_tx_new() : NULL;
    json_t *doc = tx != NULL ? member_runtime_json(m) : NULL;
    char *text = doc != NULL ? doc_text(doc) : NULL;
    json_decref(doc);
    if (text == NULL || store_tx_put(tx, STORE_RUNTIME, m->net->nwid, m->address, text) != 0) {
        store_tx_free(tx);
        return;
    }
    m->runtime_saved_ms = now_ms;
    m->runtime_changed = false;
    controller_commit(c, tx, NULL, NULL);
}

/* Printable part of what a node says about its system; anything may come. */
static void take_os(struct cmember *m, const struct netconf_meta *meta)
{
    char os[sizeof(meta->os)];
    size_t n = 0;
    for (size_t i = 0; meta->os[i] != '\0' && i < sizeof(meta->os) - 1; i++) {
        if (meta->os[i] > ' ' && meta->os[i] < 0x7f) {
            os[n++] = meta->os[i];
        }
    }
    os[n] = '\0';
    if (n == 0 || (m->os != NULL && strcmp(m->os, os) == 0)) {
        return;
    }
    char *copy = strdup(os);
    if (copy != NULL) {
        free(m->os);
        m->os = copy;
        m->runtime_changed = true;
    }
}

static void note_seen(struct controller *c, struct cmember *m, const struct ask *ask,
                      const struct netconf_meta *meta, int64_t now_ms)
{
    uint32_t revision =
        meta->rules_revision > UINT32_MAX ? UINT32_MAX : (uint32_t)meta->rules_revision;
    m->seen_ms = controller_wall(c, now_ms);
    bool relayed = ask->from.family == INETADDR_NIL;
    if (!relayed && !inetaddr_equal(&m->from, &ask->from)) {
        m->from = ask->from;
        m->runtime_changed = true;
    }
    m->runtime_changed |= m->relayed != relayed;
    m->relayed = relayed;
    if (!m->has_meta || m->rules_revision != revision) {
        m->has_meta = true;
        m->rules_revision = revision;
        m->runtime_changed = true;
    }
    take_os(m, meta);
}

/* Versions are stored with the record, as the reference does. */
static bool take_versions(struct cmember *m, const struct netconf_meta *meta)
{
    const uint64_t told[4] = {meta->major, meta->minor, meta->revision, meta->protocol};
    bool changed = false;
    for (size_t i = 0; i < COUNT_OF(told); i++) {
        int32_t v = (int32_t)(told[i] & 0x7fffffff);
        changed |= m->version[i] != v;
        m->version[i] = v;
    }
    return changed;
}

/* ---- steps ---- */

/* The pinned key, or the first one that comes. Returns 0; -EACCES another key. */
static int check_identity(struct controller *c, struct cmember *m, const struct ask *ask,
                          struct request_changes *ch)
{
    const struct identity *id = &ask->identity;
    if (m->bad_identity == NULL && !m->has_pub) {
        memcpy(m->pub, id->pub, sizeof(m->pub));
        m->has_pub = true;
        ch->record = true;
        return 0;
    }
    if (m->bad_identity == NULL && sodium_memcmp(m->pub, id->pub, sizeof(m->pub)) == 0) {
        return 0;
    }
    controller_log(c, LOG_LEVEL_WARN,
                   "controller: another key for a known address nwid=%016llx node=%010llx",
                   (unsigned long long)m->net->nwid, (unsigned long long)m->address);
    controller_event(c, CONTROLLER_IDENTITY_MISMATCH, m->net->nwid, m->address);
    if (clash_note(m, id, &ask->from, controller_wall(c, c->now_ms))) {
        request_save_runtime(c, m, c->now_ms);
    }
    request_note_mismatch(c, m, &ask->from, c->now_ms);
    return -EACCES;
}

static void authorize(struct controller *c, struct cmember *m, enum cred_kind kind, char *cred,
                      struct request_changes *ch, int64_t now_ms)
{
    if (m->authorized_ms == 0 && member_add_default_caps(m) != 0) {
        controller_log(c, LOG_LEVEL_WARN, "controller: out of memory for default capabilities");
    }
    member_set_authorized(m, true);
    m->authorized_ms = controller_wall(c, now_ms);
    m->cred_kind = (uint8_t)kind;
    if (m->cred != NULL) {
        sodium_memzero(m->cred, strlen(m->cred));
        free(m->cred);
    }
    m->cred = cred;
    expiry_note(c, m);
    ch->record = true;
    ch->durable = true;
    c->counts.member_auths++;
    ch->authorized = true;
    controller_event(c, CONTROLLER_MEMBER_AUTHORIZED, m->net->nwid, m->address);
}

/* Count a use of a token in the document of the network. Returns 0; -ENOMEM. */
static int use_token(struct cnetwork *net, const char *key, struct request_changes *ch)
{
    if (json_object_get(json_object_get(net->doc, "authTokenUses"), key) == NULL) {
        return 0;
    }
    json_t *doc = json_deep_copy(net->doc);
    if (doc == NULL) {
        return -ENOMEM;
    }
    int used = network_doc_token_use(doc, key);
    int error = used < 0 ? used : doc_bump(doc);
    if (error != 0) {
        json_decref(doc);
        return error;
    }
    ch->network = true;
    return network_set_doc(net, doc);
}

/* Join authorization: "token:" and the token. None lets a member in again that was shut out: its
 * node goes on sending the one it came with. */
static bool try_token(struct controller *c, struct cmember *m, const struct netconf_meta *meta,
                      struct request_changes *ch, int64_t now_ms)
{
    static const char prefix[] = "token:";
    const char *token = meta->auth + sizeof(prefix) - 1;
    const char *key = NULL;
    if (strncmp(meta->auth, prefix, sizeof(prefix) - 1) != 0 || *token == '\0' ||
        m->deauthorized_ms != 0 ||
        !network_doc_token(m->net->doc, token, controller_wall(c, now_ms), &key)) {
        return false;
    }
    const json_t *defaults = json_object_get(json_object_get(m->net->doc, JOIN_DEFAULTS), key);
    bool first = m->authorized_ms == 0;
    char *cred = strdup(token);
    /* Uses are for first authorizations: who was a member before costs none. */
    if (cred == NULL ||
        (first && join_defaults_apply(m, defaults, controller_wall(c, now_ms)) != 0) ||
        (first && use_token(m->net, key, ch) != 0)) {
        free(cred);
        return false;
    }
    authorize(c, m, CRED_TOKEN, cred, ch, now_ms);
    return true;
}

static bool decide(struct controller *c, struct cmember *m, const struct netconf_meta *meta,
                   struct request_changes *ch, int64_t now_ms)
{
    if (m->blocked || member_access_is_over(m, controller_wall(c, now_ms))) {
        return false;
    }
    if (m->authorized) {
        return true;
    }
    if (!m->net->plan.is_private) {
        authorize(c, m, CRED_PUBLIC, NULL, ch, now_ms);
        return true;
    }
    return try_token(c, m, meta, ch, now_ms);
}

static void assign_one(struct controller *c, struct cmember *m, enum inetaddr_family family,
                       struct request_changes *ch)
{
    struct inetaddr ip;
    enum assign_result result = assign_pick(m, family, c->env.random, c->env.ctx, &ip);
    if (result == ASSIGN_DONE && member_add_ip(m, &ip) == 0) {
        ch->record = true;
        ch->durable = true;
    } else if (result == ASSIGN_EXHAUSTED) {
        controller_log(c, LOG_LEVEL_WARN,
                       "controller: no address left inside pools and routes nwid=%016llx node="
                       "%010llx",
                       (unsigned long long)m->net->nwid, (unsigned long long)m->address);
        controller_event(c, CONTROLLER_POOL_EXHAUSTED, m->net->nwid, m->address);
        request_note_exhausted(c, m, family == INETADDR_V6, c->now_ms);
    }
}

bool request_assign(struct controller *c, struct cmember *m)
{
    struct request_changes ch = {0};
    assign_one(c, m, INETADDR_V6, &ch);
    assign_one(c, m, INETADDR_V4, &ch);
    return ch.record;
}

/* ---- saving ---- */

/* The commit a request waited for has happened: go through it again, now without changes. */
static void committed(void *ctx, int error)
{
    struct ask *ask = ctx;
    struct controller *c = ask->c;
    struct cnetwork *net = model_find(&c->model, ask->nwid);
    struct cmember *m = net != NULL ? network_member(net, ask->identity.address) : NULL;
    if (m != NULL && error == 0 && !c->stopping && controller_serves(c)) {
        m->unsaved = false;
        request_serve(c, ask, c->now_ms);
    }
    sodium_memzero(ask->meta, sizeof(ask->meta));
    free(ask);
}

static struct ask *ask_copy(struct controller *c, const struct ask *ask)
{
    struct ask *copy = malloc(sizeof(*copy));
    if (copy != NULL) {
        *copy = *ask;
        copy->c = c;
    }
    return copy;
}

/* Store the member (and its network if that changed too). wait: serve the request after the
 * commit. Returns 0; -ENOMEM. */
static int save(struct controller *c, struct cmember *m, const struct ask *ask,
                const struct request_changes *ch, bool wait)
{
    if (ch->record) {
        m->revision++;
        c->counts.member_changes++;
    }
    if (c->store == NULL) {
        return request_note_changes(c, NULL, m, ch, c->now_ms);
    }
    struct store_tx *tx = store_tx_new();
    struct ask *copy = wait ? ask_copy(c, ask) : NULL;
    bool bad = tx == NULL || (wait && copy == NULL) || controller_put_member(tx, m) != 0;
    bad = bad || (ch->network && controller_put_network(tx, m->net) != 0);
    bad = bad || request_note_changes(c, tx, m, ch, c->now_ms) != 0;
    if (bad) {
        store_tx_free(tx);
        free(copy);
        m->unsaved = true;
        return -ENOMEM;
    }
    m->unsaved = wait;
    controller_commit(c, tx, wait ? committed : NULL, copy);
    return 0;
}

static void refuse(struct controller *c, struct cmember *m, const struct ask *ask,
                   const struct request_changes *ch, int64_t now_ms)
{
    if (ch->record) {
        m->revision++;
        c->counts.member_changes++;
    }
    request_note_stranger(c, m, now_ms);
    strangers_save(c, m, ch->record, ch->is_new, now_ms);
    m->sent_hash = 0;
    member_file_stranger(m);
    if (ch->is_new) {
        controller_event(c, CONTROLLER_MEMBER_PENDING, m->net->nwid, m->address);
    }
    if (m->blocked || sso_is_open(c, m, now_ms)) {
        answer_error(c, ask, ERROR_NETWORK_ACCESS_DENIED, now_ms);
    } else {
        sso_refuse(c, m, ask->request_id, now_ms);
    }
}

static void serve_config(struct controller *c, struct cmember *m, const struct ask *ask,
                         int64_t now_ms)
{
    int result = config_send(c, m, ask->request_id, now_ms);
    if (result < 0) {
        controller_log(c, LOG_LEVEL_WARN,
                       "controller: configuration not sent nwid=%016llx node=%010llx error=%d",
                       (unsigned long long)ask->nwid, (unsigned long long)m->address, -result);
        answer_error(c, ask, ERROR_OBJ_NOT_FOUND, now_ms);
        return;
    }
    c->counts.configs_sent++;
    revoke_hand_out(c, m, now_ms);
    bool idle = m->runtime_saved_ms == INT64_MIN ||
                now_ms - m->runtime_saved_ms >= CONTROLLER_RUNTIME_IDLE_MS;
    bool due = m->runtime_saved_ms == INT64_MIN ||
               now_ms - m->runtime_saved_ms >= CONTROLLER_RUNTIME_GAP_MS;
    if (idle || (m->runtime_changed && due)) {
        request_save_runtime(c, m, now_ms);
    }
}

/* The member that asks; a new one if there is room. NULL: nothing can be done. */
static struct cmember *find_or_make(struct controller *c, struct cnetwork *net,
                                    const struct ask *ask, struct request_changes *ch,
                                    int64_t now_ms)
{
    struct cmember *m = network_member(net, ask->identity.address);
    if (m != NULL) {
        return m;
    }
    strangers_make_room(c, net);
    bool was_removed = removed_find(net, ask->identity.address) != NULL;
    removed_lift(net, ask->identity.address); /* of a public network */
    if (member_new(&c->model, net, ask->identity.address, &m) != 0) {
        return NULL;
    }
    m->stored = was_removed;
    m->created_ms = controller_wall(c, now_ms);
    ch->record = true;
    return m;
}

void request_serve(struct controller *c, const struct ask *ask, int64_t now_ms)
{
    struct request_changes ch = {0};
    struct cnetwork *net = model_find(&c->model, ask->nwid);
    if (net == NULL) {
        answer_error(c, ask, ERROR_OBJ_NOT_FOUND, now_ms);
        return;
    }
    if (removed_refuses(net, ask->identity.address, controller_wall(c, now_ms))) {
        answer_error(c, ask, ERROR_NETWORK_ACCESS_DENIED, now_ms);
        return;
    }
    if (c->store != NULL && store_backlog(c->store) > CONTROLLER_BACKLOG_MAX &&
        network_member(net, ask->identity.address) == NULL) {
        c->counts.requests_dropped++; /* it asks again; the disk must catch up first */
        return;
    }
    struct cmember *m = find_or_make(c, net, ask, &ch, now_ms);
    if (m == NULL) {
        c->counts.requests_dropped++;
        return;
    }
    ch.is_new = ch.record;
    ch.ips_before = m->ip_count;
    memcpy(ch.version_before, m->version, sizeof(ch.version_before));
    struct netconf_meta meta;
    netconf_meta_decode(ask->meta, ask->meta_len, &meta);
    if (check_identity(c, m, ask, &ch) != 0) {
        answer_error(c, ask, ERROR_NETWORK_ACCESS_DENIED, now_ms);
        return;
    }
    m->last_request_ms = now_ms;
    note_seen(c, m, ask, &meta, now_ms);
    bool authorized = decide(c, m, &meta, &ch, now_ms);
    sodium_memzero(meta.auth, sizeof(meta.auth));
    if (!authorized || !sso_is_open(c, m, now_ms)) {
        refuse(c, m, ask, &ch, now_ms);
        return;
    }
    member_file_stranger(m);
    ch.version = take_versions(m, &meta);
    ch.record |= ch.version;
    assign_one(c, m, INETADDR_V6, &ch);
    assign_one(c, m, INETADDR_V4, &ch);
    bool wait = c->store != NULL && (ch.durable || m->unsaved);
    if ((ch.record || wait) && save(c, m, ask, &ch, wait) != 0) {
        c->counts.requests_dropped++;
        return;
    }
    if (!wait) {
        request_note_physical(c, m, now_ms);
        serve_config(c, m, ask, now_ms);
    }
}

/* ---- the door ---- */

static bool rate_limit(struct controller *c, const struct ask *ask, int64_t now_ms)
{
    struct cnetwork *net = model_find(&c->model, ask->nwid);
    struct cmember *m = net != NULL ? network_member(net, ask->identity.address) : NULL;
    if (m == NULL || !m->authorized) {
        bool unknown = m == NULL || m->last_request_ms == INT64_MIN;
        return (unknown || now_ms - m->last_request_ms > CONTROLLER_REQUEST_GAP_MS) &&
               strangers_pass(c, ask, unknown, now_ms);
    }
    /* A member that was restarted asks again at once: a few in a row, then one a second. */
    return bucket_take(&m->request_credit_ms, CONTROLLER_REQUEST_BURST, CONTROLLER_REQUEST_GAP_MS,
                       now_ms);
}

/* Keep a request until everything is loaded. */
static void wait_for_load(struct controller *c, const struct ask *ask)
{
    struct list *it;
    struct list *tmp;
    LIST_EACH(&c->waiting, it, tmp)
    {
        struct ask *other = CONTAINER_OF(it, struct ask, link);
        if (other->nwid == ask->nwid && other->identity.address == ask->identity.address) {
            return;
        }
    }
    struct ask *copy = c->waiting_count < CONTROLLER_WAITING_MAX ? ask_copy(c, ask) : NULL;
    if (copy == NULL) {
        c->counts.requests_dropped++;
        return;
    }
    c->waiting_count++;
    list_push(&c->waiting, &copy->link);
}

void controller_request(struct controller *c, uint64_t nwid, const struct inetaddr *from,
                        uint64_t request_id, const struct identity *identity, const void *meta,
                        size_t meta_len, int64_t now_ms)
{
    c->now_ms = now_ms;
    c->counts.requests++;
    bool silent = c->state != CONTROLLER_LOADING && !controller_serves(c);
    if (nwid >> 24 != c->identity.address || silent) {
        c->counts.requests_dropped++;
        return;
    }
    struct ask ask;
    memset(&ask, 0, sizeof(ask));
    ask.c = c;
    ask.nwid = nwid;
    ask.request_id = request_id;
    ask.from = *from;
    ask.identity.address = identity->address;
    memcpy(ask.identity.pub, identity->pub, sizeof(ask.identity.pub));
    ask.meta_len = meta_len < sizeof(ask.meta) ? meta_len : sizeof(ask.meta);
    if (ask.meta_len > 0) {
        memcpy(ask.meta, meta, ask.meta_len);
    }
    if (c->state == CONTROLLER_LOADING) {
        wait_for_load(c, &ask);
    } else if (request_id == 0 || rate_limit(c, &ask, now_ms)) {
        request_serve(c, &ask, now_ms);
    } else {
        c->counts.requests_limited++;
    }
    sodium_memzero(ask.meta, sizeof(ask.meta));
}
