/* The one organization and its invitations in the Central API. An invitation is a person who has
 * not come in yet; nothing is mailed. Source: spec 04 sections 6.3, 6.4. */
#include "base/hex.h"
#include "controller/central_priv.h"

#include <string.h>
#include <strings.h>

void central_org_id(const struct central_call *call, char ret[CENTRAL_ID_LEN])
{
    hex_from_u64(call->c->identity.address, 16, ret);
}

bool central_is_org(const struct central_call *call, const char *id)
{
    char own[CENTRAL_ID_LEN];
    central_org_id(call, own);
    return strcasecmp(own, id) == 0;
}

static json_t *member_of_org(const struct central_call *call, uint64_t user)
{
    char org[CENTRAL_ID_LEN];
    char id[CENTRAL_ID_LEN];
    const struct person *p = accounts_person(&call->c->model.accounts, user);
    central_org_id(call, org);
    central_user_id(user, id);
    return json_pack("{ssssssss}", "orgId", org, "userId", id, "name",
                     p != NULL ? p->name : "administrator", "email", p != NULL ? p->email : "");
}

/* Everybody, as a new array. */
static json_t *members_of_org(const struct central_call *call)
{
    const struct accounts *a = &call->c->model.accounts;
    json_t *array = json_array();
    json_array_append_new(array, member_of_org(call, ACCOUNTS_ADMIN));
    for (size_t i = 0; i < a->person_count; i++) {
        if (a->persons[i]->state == PERSON_ACTIVE) {
            json_array_append_new(array, member_of_org(call, a->persons[i]->id));
        }
    }
    return array;
}

void central_org(struct central_call *call)
{
    char org[CENTRAL_ID_LEN];
    char owner[CENTRAL_ID_LEN];
    central_org_id(call, org);
    central_user_id(ACCOUNTS_ADMIN, owner);
    central_answer(call, json_pack("{sssssssos{sbs[]}}", "id", org, "ownerId", owner, "ownerEmail",
                                   "", "members", members_of_org(call), "ssoConfig", "enabled", 0,
                                   "issuers"));
}

void central_org_users(struct central_call *call)
{
    central_answer(call, members_of_org(call));
}

/* ---- invitations ---- */

static json_t *invitation_json(const struct central_call *call, uint64_t id)
{
    static const char *const words[] = {
        [PERSON_ACTIVE] = "accepted",
        [PERSON_INVITED] = "pending",
        [PERSON_CANCELED] = "canceled",
    };
    char org[CENTRAL_ID_LEN];
    char text[CENTRAL_ID_LEN];
    const struct person *p = accounts_person(&call->c->model.accounts, id);
    central_org_id(call, org);
    central_user_id(id, text);
    return p == NULL
               ? NULL
               : json_pack("{sssssssIsIssss}", "orgId", org, "email", p->email, "id", text,
                           "creation_time", (json_int_t)p->created_ms, "update_time",
                           (json_int_t)p->updated_ms, "status", words[p->state], "ownerEmail", "");
}

static void list_invitations(struct central_call *call)
{
    const struct accounts *a = &call->c->model.accounts;
    json_t *array = json_array();
    for (size_t i = 0; i < a->person_count; i++) {
        if (a->persons[i]->state != PERSON_ACTIVE) {
            json_array_append_new(array, invitation_json(call, a->persons[i]->id));
        }
    }
    central_answer(call, array);
}

/* An invitation that waits, or a person, of this address. */
static bool email_is_known(const struct central_call *call, const char *email)
{
    const struct accounts *a = &call->c->model.accounts;
    for (size_t i = 0; i < a->person_count; i++) {
        if (a->persons[i]->state != PERSON_CANCELED &&
            strcasecmp(a->persons[i]->email, email) == 0) {
            return true;
        }
    }
    return false;
}

static void invite(struct central_call *call)
{
    const char *email = json_string_value(json_object_get(call->body, "email"));
    json_int_t wall = (json_int_t)central_wall(call);
    size_t len = email != NULL ? strlen(email) : 0;
    if (len < 3 || len > ACCOUNTS_TEXT_MAX || strchr(email, '@') == NULL) {
        central_error(call, 400, "email must be an address");
        return;
    }
    if (email_is_known(call, email)) {
        central_error(call, 400, "this address is invited or a user already");
        return;
    }
    json_t *doc = json_pack("{sssssssbsssIsI}", "displayName", email, "email", email, "smsNumber",
                            "", "admin", 0, "state", "invited", "created", wall, "updated", wall);
    central_put_person(call, central_new_id(call), doc, NOTE_ORG_INVITED, invitation_json);
}

void central_invitations(struct central_call *call)
{
    if (!access_is_admin(call->c, &call->caller)) {
        central_error(call, 403, "for administrators only");
    } else if (call->write) {
        invite(call);
    } else if (call->read) {
        list_invitations(call);
    } else {
        central_error(call, 404, "not found");
    }
}

void central_invitation(struct central_call *call, uint64_t id)
{
    const struct person *p = accounts_person(&call->c->model.accounts, id);
    if (!access_is_admin(call->c, &call->caller)) {
        central_error(call, 403, "for administrators only");
        return;
    }
    if (p == NULL || !(call->read || call->write || call->remove)) {
        central_error(call, 404, "no such invitation");
        return;
    }
    if (call->read) {
        central_answer(call, invitation_json(call, id));
        return;
    }
    if (p->state != PERSON_INVITED) {
        central_error(call, 400, "this invitation does not wait any more");
        return;
    }
    json_t *doc = person_to_json(p);
    json_object_set_new(doc, "state", json_string(call->write ? "active" : "canceled"));
    json_object_set_new(doc, "updated", json_integer((json_int_t)central_wall(call)));
    central_put_person(call, id, doc, call->write ? NOTE_ORG_ACCEPTED : NOTE_ORG_REJECTED,
                       invitation_json);
}
