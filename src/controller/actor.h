/* Who makes a change, for the log of events and for webhooks. Source: spec 04 sections 10.5, 11. */
#pragma once

#include "wire/inetaddr.h"

#include <stdint.h>

enum actor_kind {
    ACTOR_CONTROL_TOKEN, /* whoever has the token of the local API */
    ACTOR_CLI,           /* the same by this program's command line */
    ACTOR_API_TOKEN,     /* a named token of the API */
    ACTOR_USER,          /* a person who is logged in */
    ACTOR_PROTOCOL,      /* the controller by itself, on behalf of a member's request */
};

/* Texts are borrowed. */
struct actor {
    enum actor_kind kind;
    uint64_t user;          /* id of the person, owner of the token; 0 none */
    uint64_t token;         /* id of the API token, 0 none */
    const char *name;       /* of the token or person, NULL none */
    const char *email;      /* of the person, NULL none */
    struct inetaddr source; /* where from, nil unknown */
};
