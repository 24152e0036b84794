/* Who asks, and what that caller may do: decisions on people, tokens and grants of the model, and
 * the controller's own JSON API behind them (CTL-101). Source: spec 04 sections 6.4 and 10.5. */
#pragma once

#include "controller/accounts.h"
#include "controller/api.h"

#include <jansson.h>

struct cnetwork;
struct cmember;
struct store_tx;

/* Who makes a request. By value: a token that is revoked meanwhile simply may nothing any more. */
struct caller {
    uint64_t user;  /* ACCOUNTS_ADMIN or a person */
    uint64_t token; /* 0: the control token, which may everything */
};

/* What a caller has left of the requests per second. */
struct caller_rate {
    unsigned limit;
    unsigned left;
    int64_t reset_ms; /* wall clock at which it starts anew */
};

/* Find the token with this text and note that it is used. Returns true with *ret filled; false if
 * there is none, it has expired, or its owner may not come in. */
bool access_authenticate(struct controller *c, const char *token, size_t len, int64_t now_ms,
                         struct caller *ret);

/* Count one request. Returns false if it is one too many. */
bool access_rate(struct controller *c, const struct caller *caller, int64_t now_ms,
                 struct caller_rate *ret);

/* The caller as the log of events wants it; texts are borrowed from the model. */
void access_actor(const struct controller *c, const struct caller *caller, struct actor *ret);

/* ACCESS_... of a caller on a network. */
uint8_t access_network(const struct controller *c, const struct caller *caller,
                       const struct cnetwork *net);

/* True if the caller may do everything with this instance. */
bool access_is_admin(const struct controller *c, const struct caller *caller);

/* True if the caller may see, may change a person and the tokens of that person. */
bool access_sees_person(const struct controller *c, const struct caller *caller, uint64_t id);
bool access_changes_person(const struct controller *c, const struct caller *caller, uint64_t id);

/* True if the caller may make networks. */
bool access_creates(const struct controller *c, const struct caller *caller);

/* Make a caller the owner of a network and commit that; nothing for the built-in administrator, who
 * owns what nobody else does. Returns 0; negative errno. */
int access_own(struct controller *c, uint64_t nwid, const struct caller *caller, int64_t now_ms);

/* Put a person, token or grant into a transaction. Return 0; -ENOMEM. */
MUST_CHECK int access_put_person(struct store_tx *tx, const struct person *p);
MUST_CHECK int access_put_token(struct store_tx *tx, const struct api_token *t);
MUST_CHECK int access_put_grant(struct store_tx *tx, uint64_t nwid, const struct grant *g);

/* Note for the log what a person may do with a network from now on; one of both may be NULL.
 * Returns 0; -ENOMEM. */
MUST_CHECK int access_note_grant(struct controller *c, struct store_tx *tx, uint64_t nwid,
                                 const struct actor *actor, const struct grant *before,
                                 const struct grant *after, int64_t now_ms);

/* True if these rights suffice to post body (the controller's form) to a member, NULL if it is not
 * there yet. Keys that say what is so already need no right. */
bool access_member_edit(uint8_t access, const struct cmember *m, const json_t *body);

/* controller_api for a caller with a token. Networks the caller may not read do not exist; other
 * refusals are 403; join tokens are shown to those who may authorize only. request->actor is filled
 * in here but for its source. */
void access_controller_api(struct controller *c, const struct caller *caller,
                           const struct controller_api_request *request, int64_t now_ms,
                           controller_api_done done, void *ctx);
