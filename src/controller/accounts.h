/* Who may use the APIs of a controller: people, their API tokens, and what they may do with which
 * network. Pure data, kept in the model and stored as documents; one administrator is built in and
 * needs no record. Source: spec 04 sections 6.4, 10.5 and 11. */
#pragma once

#include "base/attr.h"

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    ACCOUNTS_PERSONS_MAX = 1024,
    ACCOUNTS_TOKENS_MAX = 4096,    /* of all people */
    ACCOUNTS_TOKENS_EACH = 64,     /* of one that is no administrator */
    ACCOUNTS_NETWORKS_EACH = 256,  /* owned by one that is no administrator */
    ACCOUNTS_GRANTS_MAX = 1024,    /* per network */
    ACCOUNTS_TOKEN_NETWORKS = 256, /* a token may be restricted to so many networks */
    ACCOUNTS_TEXT_MAX = 256,       /* bytes of a name, an e-mail address */
    ACCOUNTS_HASH_LEN = 32,        /* SHA-256 */
    ACCOUNTS_SECRET_MIN = 32,      /* characters of a token */
    ACCOUNTS_SECRET_MAX = 200,
    ACCOUNTS_RATE_PER_S = 500,     /* requests of a token */
    ACCOUNTS_USED_SAVE_MS = 60000, /* between two writes of when a token was used last */
    ACCOUNTS_ADMIN = 1,            /* ID of the built-in administrator */
};

/* What may be done with a network, and what a token may do at most. */
enum {
    ACCESS_READ = 1,
    ACCESS_AUTHORIZE = 2, /* let members in and out */
    ACCESS_MODIFY = 4,    /* settings of network and members */
    ACCESS_DELETE = 8,    /* the network */
    ACCESS_ALL = 15,
};

enum person_state {
    PERSON_ACTIVE,
    PERSON_INVITED, /* an invitation that waits */
    PERSON_CANCELED,
};

struct person {
    uint64_t id; /* 40 bits, like the addresses that it is stored in place of */
    char *name;  /* shown */
    char *email; /* "" none */
    char *sms;   /* "" none */
    bool admin;  /* of the instance */
    enum person_state state;
    int64_t created_ms; /* wall clock */
    int64_t updated_ms;
};

/* Requests counted per second. */
struct rate {
    int64_t second;
    unsigned used;
};

struct api_token {
    uint64_t id;
    uint64_t user; /* ACCOUNTS_ADMIN or a person */
    char *name;    /* one of each per user */
    uint8_t hash[ACCOUNTS_HASH_LEN];
    uint8_t scope;     /* ACCESS_... */
    uint64_t *nwids;   /* the only networks it is good for; NULL: all */
    size_t nwid_count; /* 0: all */
    int64_t created_ms;
    int64_t expires_ms; /* 0 never */
    int64_t used_ms;    /* 0 never */
    int64_t saved_ms;   /* used_ms as stored */
    struct rate rate;
};

/* What one person may do with a network; an array of them is in struct cnetwork. */
struct grant {
    uint64_t user;
    uint8_t access; /* ACCESS_... */
    bool owner;     /* then everything */
};

struct accounts {
    struct person **persons;
    size_t person_count;
    struct api_token **tokens;
    size_t token_count;
    struct rate admin_rate; /* of whoever has the control token */
};

void accounts_done(struct accounts *a);

/* A person or token by ID, borrowed, or NULL. */
struct person *accounts_person(const struct accounts *a, uint64_t id);
struct api_token *accounts_token(const struct accounts *a, uint64_t id);

/* A token of a user by name, or NULL. */
struct api_token *accounts_token_named(const struct accounts *a, uint64_t user, const char *name);

/* The token with this hash; all are compared in constant time. NULL if there is none. */
struct api_token *accounts_token_hashed(const struct accounts *a,
                                        const uint8_t hash[ACCOUNTS_HASH_LEN]);

/* Hash of a token's text. */
void accounts_hash(const char *text, size_t len, uint8_t ret[ACCOUNTS_HASH_LEN]);

/* Tokens of a user. */
size_t accounts_count_tokens(const struct accounts *a, uint64_t user);

/* Add or replace one from its document. Returns 0; -EINVAL unusable; -ENOSPC; -ENOMEM. */
MUST_CHECK int accounts_put_person(struct accounts *a, uint64_t id, const json_t *doc);
MUST_CHECK int accounts_put_token(struct accounts *a, uint64_t id, const json_t *doc);

/* Remove one from memory. */
void accounts_drop_person(struct accounts *a, struct person *p);
void accounts_drop_token(struct accounts *a, struct api_token *t);

/* Stored documents: new reference; NULL out of memory. */
json_t *person_to_json(const struct person *p);
json_t *api_token_to_json(const struct api_token *t);

/* What a token lets be done with a network at most. */
uint8_t api_token_scope(const struct api_token *t, uint64_t nwid);

/* True if nothing restricts what its owner may do by it. */
bool api_token_is_full(const struct api_token *t);

/* Array of the names in a set of ACCESS_..., and back: names of an array of texts; unknown ones
 * make it -EINVAL. */
json_t *access_names(uint8_t access);
MUST_CHECK int access_from_names(const json_t *names, uint8_t *ret);

/* {"a","d","m","r"} of a set, and back: keys that are absent or null leave their bit. */
json_t *access_json(uint8_t access);
uint8_t access_from_json(const json_t *obj, uint8_t access);

/* Document of a grant, and back. */
json_t *grant_to_json(const struct grant *g);
void grant_from_json(struct grant *g, uint64_t user, const json_t *doc);

/* Count a request. Returns true if it is within the limit; *ret_left: requests left this second. */
bool rate_take(struct rate *r, int64_t now_ms, unsigned *ret_left);
