/* Shared by the files of the controller's JSON API. */
#pragma once

#include "controller/api.h"
#include "controller/coerce.h"
#include "controller/controller_priv.h"
#include "controller/member_doc.h"
#include "controller/network_doc.h"
#include "controller/note.h"

#include <jansson.h>

enum { API_SEGMENTS_MAX = 8 };

/* A segment of the path, borrowed. */
struct segment {
    const char *text;
    size_t len;
};

/* One request on its way through the API. */
struct call {
    struct controller *c;
    controller_api_done done;
    void *ctx;
    const struct actor *actor;
    const struct caller *reader; /* whose networks are listed; NULL: all */
    struct remote_call *remote;  /* whose answer goes into the store, NULL: the caller's */
    const char *query;           /* "" if none */
    const char *text;            /* body */
    size_t text_len;
    json_t *body; /* parsed, for methods that have one */
    struct edit edit;
    int64_t now_ms;
    bool read;   /* GET, HEAD */
    bool write;  /* POST, PUT */
    bool remove; /* DELETE */
    bool strict;
    bool conditional;  /* only if the object still has this revision */
    uint64_t revision; /* 0: is not there yet */
    struct segment segments[API_SEGMENTS_MAX];
    size_t segment_count;
};

/* What follows a committed change. */
struct after {
    bool push_network;
    bool push_member;
    uint64_t nwid;
    uint64_t node;
    struct farewell *farewell; /* taken, may be NULL */
};

/* ---- api.c ---- */

/* Answer without body. */
void api_empty(const struct call *call, unsigned status);

/* Answer with an object (taken; NULL: out of memory). */
void api_answer(const struct call *call, unsigned status, json_t *obj);

/* Answer with an error object. */
void api_error(const struct call *call, unsigned status, const char *text);

/* Answer an object (taken) with the warnings of the edit, after tx (taken) is committed; then do
 * what follows. */
void api_commit(const struct call *call, struct store_tx *tx, json_t *obj,
                const struct after *after);

/* Add to tx, as its last part, the note of what this call changes. Returns 0; -ENOMEM. */
MUST_CHECK int api_note(const struct call *call, struct store_tx *tx, enum note_type type,
                        uint64_t nwid, uint64_t member, const json_t *before, const json_t *after);

/* Refuse if the edit failed, or had warnings and is strict. Returns true if answered. */
bool api_refused(const struct call *call);

/* Add the warnings of the edit to an object. */
void api_add_warnings(const struct call *call, json_t *obj);

/* Parse the body. Returns false after having answered. */
bool api_parse_body(struct call *call);

/* Parameter of the query, decoded, in out (cut to cap - 1 bytes). Returns false if absent. */
bool api_query(const struct call *call, const char *name, char *out, size_t cap);

/* Refuse a change that was made of another revision than the present one. Returns true if answered.
 */
bool api_conflict(const struct call *call, uint64_t present);

/* ---- api_identity.c ---- */

void api_accept_identity(struct call *call, struct cmember *m);

/* ---- share.c ---- */

/* Leave a request for the instance that holds the identity. */
void share_pass(struct controller *c, const struct controller_api_request *request,
                controller_api_done done, void *ctx);

/* Put the answer of a remote call (NULL: none) into the transaction of its changes. */
void share_answer_in(struct remote_call *remote, struct store_tx *tx, const char *body);

/* ---- api_network.c ---- */

void api_network_list(struct call *call);
void api_network_create(struct call *call);
void api_network_default(struct call *call);
void api_network(struct call *call, uint64_t nwid);
void api_network_list_full(struct call *call);
void api_invite_tokens(struct call *call, struct cnetwork *net);
void api_invite_token(struct call *call, struct cnetwork *net, const char *token);

/* ---- api_removed.c ---- */

void api_removed_list(struct call *call, const struct cnetwork *net);
void api_removed(struct call *call, struct cnetwork *net, uint64_t address);

/* ---- api_log.c ---- */

/* The log, or of it what is about one member (net and address, also one that is gone). */
void api_log(struct call *call);
void api_member_history(struct call *call, uint64_t nwid, uint64_t address);

/* ---- api_hook.c ---- */

/* Webhooks; one; its test; its deliveries; one of them, again: send it once more. */
void api_hooks(struct call *call);
void api_hook(struct call *call, uint64_t id);
void api_hook_test(struct call *call, uint64_t id);
void api_hook_deliveries(struct call *call, uint64_t id);
void api_hook_delivery(struct call *call, uint64_t id, uint64_t delivery, bool again);

/* ---- api_list.c ---- */

/* A long list is answered later. */
void api_member_list_full(struct call *call, const struct cnetwork *net);

/* ---- api_warnings.c ---- */

void api_warnings(struct call *call, const struct cnetwork *net);

/* ---- api_member.c ---- */

void api_member_list(struct call *call, const struct cnetwork *net);
void api_member(struct call *call, struct cnetwork *net, uint64_t address);

/* Its document and what is known of it besides; a new reference, NULL out of memory. */
json_t *api_member_json(const struct cmember *m, int64_t now_ms);
void api_member_full(struct call *call, const struct cnetwork *net, uint64_t address);
void api_member_traces(struct call *call, const struct cnetwork *net, uint64_t address);
