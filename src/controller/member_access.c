/* Posted fields of a member that the reference does not have. */
#include "controller/member_doc.h"

#define KEY_EXPIRY "accessExpiryTime"

static void edit_expiry(struct edit *e, json_t *doc, const json_t *posted, bool newly_authorized,
                        int64_t wall_ms)
{
    if (posted != NULL) {
        uint64_t at = coerce_u64(posted, 0);
        if (at > INT64_MAX) {
            edit_warn(e, KEY_EXPIRY ": removed, it is no time");
            at = 0;
        }
        if (at == 0) {
            json_object_del(doc, KEY_EXPIRY);
        } else {
            edit_set(e, doc, KEY_EXPIRY, json_integer((json_int_t)at));
        }
    }
    const json_t *stored = json_object_get(doc, KEY_EXPIRY);
    if (stored == NULL || json_integer_value(stored) > wall_ms) {
        return;
    }
    if (posted != NULL) {
        edit_note(e, KEY_EXPIRY ": is over, access ends at once");
    } else if (newly_authorized) {
        edit_note(e, KEY_EXPIRY ": was over and is removed");
        json_object_del(doc, KEY_EXPIRY);
    }
}

void member_access_edit(struct edit *e, json_t *doc, const json_t *body, bool was_authorized,
                        int64_t wall_ms)
{
    char buf[COERCE_TEXT_LEN];
    const json_t *v = json_object_get(body, "description");
    if (v != NULL) {
        edit_set(e, doc, "description", json_string(coerce_text(v, buf, "")));
    }
    v = json_object_get(body, "hidden");
    if (v != NULL && coerce_bool(v, false)) {
        edit_set(e, doc, "hidden", json_true());
    } else if (v != NULL) {
        json_object_del(doc, "hidden");
    }
    bool authorized = json_is_true(json_object_get(doc, "authorized"));
    edit_expiry(e, doc, json_object_get(body, KEY_EXPIRY), authorized && !was_authorized, wall_ms);
}
