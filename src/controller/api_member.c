/* Members in the JSON API. Source: spec 04 sections 2.2, 2.8. */
#include "base/hex.h"
#include "controller/api_priv.h"
#include "controller/clash.h"
#include "controller/removed.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

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

/* What the controller knows of a member besides its record. */
static json_t *live_json(const struct cmember *m, int64_t now_ms)
{
    char ip[INETADDR_TEXT_LEN];
    inetaddr_print_ip(&m->from, ip);
    bool known = m->from.family != INETADDR_NIL;
    return json_pack("{sbsbsIss?ss?sIsI}", "online", (int)member_is_online(m, now_ms), "direct",
                     (int)(known && !m->relayed), "lastSeen", (json_int_t)m->seen_ms,
                     "physicalAddress", known ? ip : NULL, "os", m->os, "configRevision",
                     (json_int_t)m->held_revision, "configTime", (json_int_t)m->held_ms);
}

json_t *api_member_json(const struct cmember *m, int64_t now_ms)
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
        api_answer(call, 200, api_member_json(m, call->now_ms));
    }
}
