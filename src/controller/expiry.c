/* The end of a member's access at a set time, whether the member asks or not. Source: spec 04
 * sections 4.9, 10.3. */
#include "controller/controller_priv.h"
#include "controller/member_doc.h"
#include "controller/note.h"

#include <errno.h>

bool member_access_is_over(const struct cmember *m, int64_t wall_ms)
{
    return m->access_expiry_ms != 0 && m->access_expiry_ms <= wall_ms;
}

void expiry_note(struct controller *c, const struct cmember *m)
{
    if (m->authorized && m->access_expiry_ms != 0 && m->access_expiry_ms < c->expiry_next_ms) {
        c->expiry_next_ms = m->access_expiry_ms;
    }
}

static int note_end(struct controller *c, struct store_tx *tx, const struct cmember *m,
                    int64_t now_ms)
{
    json_t *after = member_to_json(m);
    json_t *before = after != NULL ? json_copy(after) : NULL;
    if (before != NULL) {
        json_object_set_new(before, "authorized", json_true());
    }
    struct note note = {.type = NOTE_MEMBER_DEAUTHORIZED,
                        .nwid = m->net->nwid,
                        .member = m->address,
                        .before = before,
                        .after = after};
    int error = before != NULL && after != NULL ? note_add(c, tx, &note, now_ms) : -ENOMEM;
    json_decref(before);
    json_decref(after);
    return error;
}

/* De-authorize a member whose time is over. */
static void shut_out(struct controller *c, struct cmember *m, int64_t now_ms)
{
    controller_log(c, LOG_LEVEL_INFO, "controller: access has expired nwid=%016llx node=%010llx",
                   (unsigned long long)m->net->nwid, (unsigned long long)m->address);
    member_set_authorized(m, false);
    m->deauthorized_ms = controller_wall(c, now_ms);
    m->revision++;
    m->sent_hash = 0;
    c->counts.member_changes++;
    c->counts.member_deauths++;
    if (m->bridge) {
        push_network(c, m->net, now_ms);
    }
    struct store_tx *tx = store_tx_new();
    if (tx == NULL || controller_put_member(tx, m) != 0 ||
        revoke_member(c, m->net, m->address, tx, now_ms) != 0 || note_end(c, tx, m, now_ms) != 0) {
        store_tx_free(tx);
        m->unsaved = true;
        controller_log(c, LOG_LEVEL_ERROR, "controller: out of memory, an expiry is not stored");
    } else {
        controller_commit(c, tx, NULL, NULL);
    }
    controller_event(c, CONTROLLER_MEMBER_DEAUTHORIZED, m->net->nwid, m->address);
}

void expiry_scan(struct controller *c, int64_t now_ms)
{
    int64_t wall = controller_wall(c, now_ms);
    c->expiry_next_ms = INT64_MAX;
    struct cmember *m = NULL;
    while ((m = model_next_member(&c->model, m)) != NULL) {
        if (m->authorized && member_access_is_over(m, wall)) {
            shut_out(c, m, now_ms);
        }
        expiry_note(c, m);
    }
}

void expiry_run(struct controller *c, int64_t now_ms)
{
    if (c->state == CONTROLLER_RUNNING && c->expiry_next_ms <= controller_wall(c, now_ms)) {
        expiry_scan(c, now_ms);
    }
}

int64_t expiry_deadline(const struct controller *c)
{
    if (c->expiry_next_ms == INT64_MAX) {
        return -1;
    }
    int64_t at = c->expiry_next_ms - c->wall_offset_ms;
    return at > c->now_ms ? at : c->now_ms;
}
