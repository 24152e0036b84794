/* Shared by the files of the Central API. */
#pragma once

#include "controller/central.h"
#include "controller/controller_priv.h"
#include "controller/member_doc.h"
#include "controller/network_doc.h"
#include "controller/note.h"

#include <jansson.h>

enum { CENTRAL_SEGMENTS_MAX = 4 };

struct central_call;

/* What goes on when the controller's API has answered with status 200; obj: its answer, borrowed,
 * NULL if empty. */
typedef void (*central_step)(struct central_call *call, const json_t *obj);

/* A request on its way, on the heap: it ends with one of the answers below. */
struct central_call {
    struct controller *c;
    controller_api_done done;
    void *ctx;
    struct caller caller;
    struct actor actor;
    const char *version;
    int64_t started_ms;
    int64_t now_ms;
    bool read;    /* GET, HEAD */
    bool write;   /* POST, PUT */
    bool remove;  /* DELETE */
    json_t *body; /* object, for requests that write */
    char path[160];
    const char *segments[CENTRAL_SEGMENTS_MAX]; /* inside path */
    size_t segment_count;
    uint64_t nwid; /* of the network in question */
    uint64_t node;
    central_step then;
    struct grant *grants; /* of the network from now on, if has_grants */
    size_t grant_count;
    bool has_grants;
};

/* ---- central.c ---- */

/* The answers; each ends the call. obj is taken, NULL: out of memory. */
void central_answer(struct central_call *call, json_t *obj);
void central_empty(struct central_call *call);
void central_error(struct central_call *call, unsigned status, const char *fmt, ...)
    PRINTF_LIKE(3, 4);
void central_no_memory(struct central_call *call);

/* Commit tx (taken), then answer obj (taken; json_null(): an empty body). */
void central_commit(struct central_call *call, struct store_tx *tx, json_t *obj);

/* Ask the controller's own API, strictly; body (taken) NULL: none. Errors end the call. */
void central_ask(struct central_call *call, const char *method, const char *path, json_t *body,
                 central_step then);

int64_t central_wall(const struct central_call *call);

/* Who asks; texts are borrowed from the model. */
struct actor central_actor(const struct central_call *call);

/* Note for the log a change of a person or token (documents borrowed, NULL: not there). Returns 0;
 * -ENOMEM. */
MUST_CHECK int central_note(struct central_call *call, struct store_tx *tx, enum note_type type,
                            uint64_t object, const json_t *before, const json_t *after);

/* ---- what is wrong with a body ---- */

enum central_kind {
    CENTRAL_TEXT,
    CENTRAL_BOOL,
    CENTRAL_NUMBER,
    CENTRAL_ARRAY,
    CENTRAL_OBJECT,
};

/* A key that may be posted. */
struct central_field {
    const char *key;
    enum central_kind kind;
};

/* Check that each key of the list that is there and not null has its type. prefix: what stands
 * before keys in the message. Returns false after having answered 400. */
bool central_check(struct central_call *call, const json_t *obj, const char *prefix,
                   const struct central_field *fields, size_t count);

/* The value of a key, NULL if absent or null. */
json_t *central_get(const json_t *obj, const char *key);

/* ---- central_network.c ---- */

void central_network_list(struct central_call *call);
void central_network_create(struct central_call *call);
void central_network(struct central_call *call, uint64_t nwid);

/* The network if the caller has these rights on it, NULL after having answered 403 or 404. */
struct cnetwork *central_network_with(struct central_call *call, uint64_t nwid, uint8_t access);

/* ---- central_member.c ---- */

void central_member_list(struct central_call *call, const struct cnetwork *net);
void central_member(struct central_call *call, struct cnetwork *net, uint64_t address);

/* ---- central_user.c ---- */

/* IDs of people are 16 hex digits. */
enum { CENTRAL_ID_LEN = 17 };
void central_user_id(uint64_t id, char ret[CENTRAL_ID_LEN]);
bool central_parse_user_id(const char *text, uint64_t *ret);

/* Object of a user: a new reference, NULL out of memory. */
json_t *central_user_json(const struct central_call *call, uint64_t id);

/* A number that no person and no token has. */
uint64_t central_new_id(struct central_call *call);

/* Keep a person with this document (taken), note it, then answer what answer makes of it. Ends the
 * call. */
void central_put_person(struct central_call *call, uint64_t id, json_t *doc, enum note_type type,
                        json_t *(*answer)(const struct central_call *call, uint64_t id));

void central_users(struct central_call *call);
void central_user(struct central_call *call, uint64_t id);
void central_tokens(struct central_call *call, uint64_t user);
void central_token(struct central_call *call, uint64_t user, const char *name);
void central_random_token(struct central_call *call);

/* ---- central_org.c ---- */

void central_org(struct central_call *call);
void central_org_users(struct central_call *call);
bool central_is_org(const struct central_call *call, const char *id);
void central_org_id(const struct central_call *call, char ret[CENTRAL_ID_LEN]);
void central_invitations(struct central_call *call);
void central_invitation(struct central_call *call, uint64_t id);
