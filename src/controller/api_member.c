/* Members in the JSON API. Source: spec 04 sections 2.2, 2.8. */
#include "base/hex.h"
#include "controller/api_priv.h"
#include "controller/clash.h"
#include "controller/removed.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

enum { LIST_LIMIT_MAX = 1000 };

void api_member_list(struct call *call, const struct cnetwork *net)
{
    json_t *obj = json_object();
    struct hmap_node *it = NULL;
    while (obj != NULL && (it = hmap_each(&net->members, it)) != NULL) {
        const struct cmember *m = CONTAINER_OF(it, struct cmember, node);
        char address[11];
        hex_from_u64(m->address, 10, address);
        json_object_set_new(obj, address, json_integer((json_int_t)m->revision));
    }
    api_answer(call, 200, obj);
}

/* ---- one member ---- */

/* What a change of a member means beyond its record. Returns 0; -ENOMEM. */
static int follow_up(struct controller *c, struct cmember *m, bool was_authorized,
                     struct store_tx *tx, int64_t now_ms)
{
    if (m->authorized == was_authorized) {
        return 0;
    }
    m->sent_hash = 0; /* it needs a certificate above the threshold, whatever else is the same */
    if (m->authorized) {
        c->counts.member_auths++;
        controller_event(c, CONTROLLER_MEMBER_AUTHORIZED, m->net->nwid, m->address);
        return 0;
    }
    c->counts.member_deauths++;
    controller_event(c, CONTROLLER_MEMBER_DEAUTHORIZED, m->net->nwid, m->address);
    return revoke_member(c, m->net, m->address, tx, now_ms);
}

/* What a change of a member that was as in before (NULL: not there) is called. */
static enum note_type type_of_change(const struct cmember *m, const json_t *before,
                                     bool was_authorized)
{
    if (m->authorized != was_authorized) {
        return m->authorized ? NOTE_MEMBER_AUTHORIZED : NOTE_MEMBER_DEAUTHORIZED;
    }
    return before != NULL ? NOTE_MEMBER_CHANGED : NOTE_MEMBER_ADDED;
}

static int note_change(struct call *call, const struct cmember *m, const json_t *before,
                       bool was_authorized, struct store_tx *tx)
{
    json_t *after = member_to_json(m);
    int error = after == NULL ? -ENOMEM
                              : api_note(call, tx, type_of_change(m, before, was_authorized),
                                         m->net->nwid, m->address, before, after);
    json_decref(after);
    return error;
}

/* Make a changed document (borrowed) the member's and store it. before: NULL if it is new.
 * Returns 0; -ENOMEM. */
static int apply_doc(struct call *call, struct cmember *m, const json_t *before, json_t *doc,
                     struct store_tx *tx, struct after *after)
{
    bool was_authorized = m->authorized;
    bool was_bridge = m->authorized && m->bridge;
    int error = doc_bump(doc);
    if (error == 0) {
        error = member_from_json(m, doc);
    }
    if (error == 0 && m->authorized && !was_authorized && m->has_meta &&
        member_is_online(m, call->now_ms)) {
        (void)request_assign(call->c, m); /* it waits: the push shall bring its addresses */
    }
    if (error == 0) {
        removed_lift(m->net, m->address);
        expiry_note(call->c, m);
        error = controller_put_member(tx, m);
    }
    if (error == 0) {
        error = follow_up(call->c, m, was_authorized, tx, call->now_ms);
    }
    if (error == 0) {
        error = note_change(call, m, before, was_authorized, tx);
    }
    member_file_stranger(m);
    call->c->counts.member_changes++;
    after->push_member = true;
    after->push_network = was_bridge != (m->authorized && m->bridge);
    return error;
}

static void put_member(struct call *call, struct cmember *m, const json_t *before, json_t *doc)
{
    struct after after = {.nwid = m->net->nwid, .node = m->address};
    struct store_tx *tx = store_tx_new();
    int error = tx != NULL ? apply_doc(call, m, before, doc, tx, &after) : -ENOMEM;
    if (error != 0) {
        store_tx_free(tx);
        m->unsaved = true;
        api_error(call, 500, "out of memory");
        return;
    }
    api_commit(call, tx, member_to_json(m), &after);
}

static void edit_member(struct call *call, struct cnetwork *net, uint64_t address)
{
    struct controller *c = call->c;
    int64_t wall = controller_wall(c, call->now_ms);
    struct cmember *m = network_member(net, address);
    bool is_new = m == NULL;
    if (api_conflict(call, is_new ? 0 : m->revision)) {
        return;
    }
    if (is_new) {
        if (member_new(&c->model, net, address, &m) != 0) {
            api_error(call, 500, "out of memory");
            return;
        }
        m->created_ms = wall;
        m->first_noted = true;
    }
    json_t *before = member_to_json(m);
    json_t *doc = before != NULL ? json_deep_copy(before) : NULL;
    bool refused = true;
    if (doc == NULL) {
        api_error(call, 500, "out of memory");
    } else {
        member_doc_edit(&call->edit, doc, call->body, net, m, wall);
        refused = api_refused(call);
    }
    if (refused) {
        if (is_new) {
            controller_forget(c, m);
        }
    } else if (!is_new && doc_equal(before, doc)) {
        api_add_warnings(call, doc);
        api_answer(call, 200, json_incref(doc));
    } else {
        put_member(call, m, is_new ? NULL : before, doc);
    }
    json_decref(before);
    json_decref(doc);
}

static void delete_member(struct call *call, struct cmember *m)
{
    struct controller *c = call->c;
    struct cnetwork *net = m->net;
    uint64_t address = m->address;
    struct after after = {.nwid = net->nwid, .push_network = m->authorized && m->bridge};
    struct store_tx *tx = store_tx_new();
    json_t *doc = member_to_json(m);
    bool good = tx != NULL && doc != NULL &&
                removed_add(net, address, controller_wall(c, call->now_ms), tx) == 0 &&
                store_tx_put(tx, STORE_RUNTIME, net->nwid, address, NULL) == 0 &&
                (!m->authorized || revoke_member(c, net, address, tx, call->now_ms) == 0) &&
                api_note(call, tx, NOTE_MEMBER_DELETED, net->nwid, address, doc, NULL) == 0;
    if (!good) {
        store_tx_free(tx);
        json_decref(doc);
        api_error(call, 500, "out of memory");
        return;
    }
    c->counts.member_deauths += m->authorized ? 1 : 0;
    c->counts.member_changes++;
    controller_forget(c, m);
    controller_event(c, CONTROLLER_MEMBER_DELETED, net->nwid, address);
    api_commit(call, tx, doc, &after);
}

/* Its document and what else an old client may be told. */
static json_t *shown_json(const struct cmember *m)
{
    json_t *obj = member_to_json(m);
    if (obj != NULL && clash_find(m) != NULL) {
        json_object_set_new(obj, "identityClash", clash_json(clash_find(m)));
    }
    return obj;
}

void api_member(struct call *call, struct cnetwork *net, uint64_t address)
{
    struct cmember *m = network_member(net, address);
    if (call->write) {
        if (api_parse_body(call)) {
            edit_member(call, net, address);
        }
    } else if (m == NULL || !(call->read || call->remove)) {
        api_empty(call, 404);
    } else if (call->read) {
        api_answer(call, 200, shown_json(m));
    } else if (!api_conflict(call, m->revision)) {
        delete_member(call, m);
    }
}

void api_member_traces(struct call *call, const struct cnetwork *net, uint64_t address)
{
    const struct cmember *m = network_member(net, address);
    if (m == NULL) {
        api_empty(call, 404);
    } else {
        json_t *data = m->traces != NULL ? json_incref(m->traces) : json_array();
        api_answer(call, 200, json_pack("{so}", "data", data));
    }
}

/* ---- the full list ---- */

/* What a list is asked for. */
struct list_query {
    char q[64];      /* part of address, name or IP; "" all */
    char filter[16]; /* "" all */
    uint64_t cursor; /* only addresses above; UINT64_MAX: from the start */
    size_t limit;
};

static void read_query(const struct call *call, struct list_query *ret)
{
    char text[32];
    memset(ret, 0, sizeof(*ret));
    ret->cursor = UINT64_MAX;
    ret->limit = SIZE_MAX;
    if (api_query(call, "cursor", text, sizeof(text)) &&
        hex_to_u64(text, strlen(text), 10, &ret->cursor) != 0) {
        ret->cursor = UINT64_MAX;
    }
    if (api_query(call, "limit", text, sizeof(text))) {
        size_t limit = strtoul(text, NULL, 10);
        ret->limit = limit < 1 ? 1 : (limit > LIST_LIMIT_MAX ? LIST_LIMIT_MAX : limit);
    }
    if (!api_query(call, "q", ret->q, sizeof(ret->q))) {
        ret->q[0] = '\0';
    }
    if (!api_query(call, "filter", ret->filter, sizeof(ret->filter))) {
        ret->filter[0] = '\0';
    }
}

static bool matches_filter(const struct cmember *m, const char *filter, int64_t now_ms)
{
    if (strcmp(filter, "authorized") == 0) {
        return m->authorized;
    }
    if (strcmp(filter, "pending") == 0) {
        return !m->authorized && !m->blocked && !m->hidden;
    }
    if (strcmp(filter, "hidden") == 0) {
        return m->hidden;
    }
    if (strcmp(filter, "blocked") == 0) {
        return m->blocked;
    }
    if (strcmp(filter, "online") == 0) {
        return member_is_online(m, now_ms);
    }
    if (strcmp(filter, "bridge") == 0) {
        return m->bridge;
    }
    return true;
}

static bool matches_text(const struct cmember *m, const char *q)
{
    char text[INETADDR_TEXT_LEN];
    hex_from_u64(m->address, 10, text);
    bool found = q[0] == '\0' || strcasestr(text, q) != NULL ||
                 (m->name != NULL && strcasestr(m->name, q) != NULL);
    for (size_t i = 0; !found && i < m->ip_count; i++) {
        inetaddr_print_ip(&m->ips[i].ip, text);
        found = strstr(text, q) != NULL;
    }
    return found;
}

static int compare_members(const void *a, const void *b)
{
    uint64_t x = (*(const struct cmember *const *)a)->address;
    uint64_t y = (*(const struct cmember *const *)b)->address;
    return x < y ? -1 : x > y;
}

/* What the controller knows of a member besides its record. */
static json_t *live_json(const struct cmember *m, int64_t now_ms)
{
    char ip[INETADDR_TEXT_LEN];
    inetaddr_print_ip(&m->from, ip);
    bool direct = m->from.family != INETADDR_NIL;
    return json_pack("{sbsbsIss?ss?}", "online", (int)member_is_online(m, now_ms), "direct",
                     (int)direct, "lastSeen", (json_int_t)m->seen_ms, "physicalAddress",
                     direct ? ip : NULL, "os", m->os);
}

static json_t *full_json(const struct cmember *m, int64_t now_ms)
{
    json_t *obj = shown_json(m);
    if (obj != NULL) {
        json_object_set_new(obj, "live", live_json(m, now_ms));
    }
    return obj;
}

void api_member_full(struct call *call, const struct cnetwork *net, uint64_t address)
{
    const struct cmember *m = network_member(net, address);
    if (m == NULL) {
        api_empty(call, 404);
    } else {
        api_answer(call, 200, full_json(m, call->now_ms));
    }
}

void api_member_list_full(struct call *call, const struct cnetwork *net)
{
    struct list_query query;
    read_query(call, &query);
    const struct cmember **list = calloc(net->members.count + 1, sizeof(const struct cmember *));
    json_t *data = json_array();
    json_t *next = NULL;
    size_t n = 0;
    struct hmap_node *it = NULL;
    while (list != NULL && (it = hmap_each(&net->members, it)) != NULL) {
        const struct cmember *m = CONTAINER_OF(it, struct cmember, node);
        if ((query.cursor == UINT64_MAX || m->address > query.cursor) &&
            matches_filter(m, query.filter, call->now_ms) && matches_text(m, query.q)) {
            list[n++] = m;
        }
    }
    if (n > 0) {
        qsort(list, n, sizeof(const struct cmember *), compare_members);
    }
    for (size_t i = 0; i < n; i++) {
        if (i == query.limit) {
            char address[11];
            hex_from_u64(list[i - 1]->address, 10, address);
            next = json_string(address);
            break;
        }
        json_t *obj = full_json(list[i], call->now_ms);
        if (obj != NULL) {
            json_array_append_new(data, obj);
        }
    }
    free(list);
    api_answer(call, 200,
               json_pack("{sos{sIsIso*}}", "data", data, "meta", "totalCount",
                         (json_int_t)net->members.count, "authorizedCount",
                         (json_int_t)net->authorized, "nextCursor", next));
}
