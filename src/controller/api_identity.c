/* An administrator accepts another key for the address of a member: the one that clashed, or one
 * told in advance. Source: spec 04 sections 10.3, 12 item 7. */
#include "controller/api_priv.h"
#include "controller/clash.h"
#include "wire/identity.h"

#include <errno.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>

/* The posted identity: of this address, and either seen to clash (so it was proven) or one whose
 * address is its own. Returns 0; -EINVAL; -ENOMEM. */
static int posted_identity(const struct call *call, const struct cmember *m, struct identity *ret)
{
    const char *text = json_string_value(json_object_get(call->body, "identity"));
    if (text == NULL || identity_parse(text, strlen(text), ret) != 0 ||
        ret->address != m->address) {
        return -EINVAL;
    }
    const struct clash *clash = clash_find(m);
    if (clash != NULL && memcmp(clash->pub, ret->pub, sizeof(clash->pub)) == 0) {
        return 0;
    }
    void *scratch = aligned_alloc(64, ADDRESS_HASH_MEMORY);
    int error = scratch != NULL ? identity_validate(ret, scratch) : -ENOMEM;
    free(scratch);
    return error == 0 || error == -ENOMEM ? error : -EINVAL;
}

/* Pin a key. What the old one holds is revoked. Returns 0; -ENOMEM. */
static int pin(struct call *call, struct cmember *m, const struct identity *id, struct store_tx *tx)
{
    memcpy(m->pub, id->pub, sizeof(m->pub));
    m->has_pub = true;
    free(m->bad_identity);
    m->bad_identity = NULL;
    m->sent_hash = 0;
    m->revision++;
    clash_forget(m);
    member_file_stranger(m);
    call->c->counts.member_changes++;
    controller_log(call->c, LOG_LEVEL_WARN,
                   "controller: another key was accepted nwid=%016llx node=%010llx",
                   (unsigned long long)m->net->nwid, (unsigned long long)m->address);
    int error = controller_put_member(tx, m);
    if (error == 0 && m->authorized) {
        error = revoke_member(call->c, m->net, m->address, tx, call->now_ms);
    }
    return error;
}

void api_accept_identity(struct call *call, struct cmember *m)
{
    struct identity id;
    if (!api_parse_body(call) || api_conflict(call, m->revision)) {
        return;
    }
    int error = posted_identity(call, m, &id);
    if (error != 0) {
        api_error(call, error == -ENOMEM ? 500 : 400,
                  "\"identity\" must be the whole public identity to accept for this address");
        return;
    }
    if (m->bad_identity == NULL && m->has_pub &&
        sodium_memcmp(m->pub, id.pub, sizeof(m->pub)) == 0) {
        identity_wipe(&id); /* a private half may have been posted by mistake */
        api_answer(call, 200, member_to_json(m));
        return;
    }
    struct after after = {.nwid = m->net->nwid, .node = m->address, .push_member = true};
    struct store_tx *tx = store_tx_new();
    json_t *before = member_to_json(m);
    error = tx != NULL && before != NULL ? pin(call, m, &id, tx) : -ENOMEM;
    identity_wipe(&id);
    json_t *now = error == 0 ? member_to_json(m) : NULL;
    if (error == 0) {
        error = now != NULL
                    ? api_note(call, tx, NOTE_MEMBER_CHANGED, m->net->nwid, m->address, before, now)
                    : -ENOMEM;
    }
    json_decref(before);
    json_decref(now);
    if (error != 0) {
        store_tx_free(tx);
        m->unsaved = true;
        api_error(call, 500, "out of memory");
        return;
    }
    api_commit(call, tx, member_to_json(m), &after);
}
