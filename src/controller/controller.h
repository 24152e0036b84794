/* The network controller: owns networks, decides who is a member, gives out addresses, signs
 * configurations and credentials, and tells members of changes. It knows neither sockets nor HTTP
 * nor struct node: requests come in by controller_request, effects go out through struct
 * controller_env; the HTTP API is in controller/api.h, storage behind controller/store.h.
 *
 * One thread at a time (the daemon's control thread). now_ms is monotonic and never goes back; the
 * wall clock is now_ms plus the offset last told. Source: spec 04 sections 1 to 5. */
#pragma once

#include "base/attr.h"
#include "crypto/identity.h"
#include "vl1/env.h"
#include "wire/credential.h"
#include "wire/inetaddr.h"
#include "wire/packet.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct controller;
struct store_backend;

/* What the owner of the controller may want to show or to pass on. */
enum controller_event {
    CONTROLLER_MEMBER_PENDING,    /* an unknown node asks and is not authorized */
    CONTROLLER_MEMBER_AUTHORIZED, /* by whatever means */
    CONTROLLER_MEMBER_DEAUTHORIZED,
    CONTROLLER_MEMBER_DELETED,
    CONTROLLER_NETWORK_CHANGED,   /* created or changed; member is 0 */
    CONTROLLER_NETWORK_DELETED,   /* member is 0 */
    CONTROLLER_IDENTITY_MISMATCH, /* an address with another key than the pinned one (CTL-50) */
    CONTROLLER_POOL_EXHAUSTED,    /* no address left for this member */
    CONTROLLER_READY,             /* everything is loaded; both IDs 0 */
    CONTROLLER_STORE_FAILED,      /* cannot load (state FAILED) or cannot write for now */
    CONTROLLER_STORE_RECOVERED,   /* writes succeed again */
};

/* Something to be told to a webhook: a POST of JSON. All is borrowed for the call. */
struct controller_post {
    uint64_t delivery;     /* for controller_hook_done */
    const char *url;       /* http or https */
    const char *signature; /* value of X-ZTC-Signature */
    const char *body;
    size_t len;
};

/* Effects. The controller calls them from inside its own inputs; they must not call back into it.
 */
struct controller_env {
    /* Send a configuration dictionary (node_config_send). request_id 0: a push. Returns 0 or a
     * negative errno. */
    int (*send_config)(void *ctx, uint64_t nwid, uint64_t dest, uint64_t request_id,
                       const char *dict, size_t len, int64_t now_ms);

    /* Answer a request with an error (node_config_error). */
    void (*send_error)(void *ctx, uint64_t nwid, uint64_t dest, uint64_t request_id,
                       enum error_code code, const void *data, size_t len, int64_t now_ms);

    /* Send at most CONTROLLER_REVOCATIONS_PER_PACKET revocations in one packet
     * (node_revocations_send). Returns 0 or a negative errno. */
    int (*send_revocations)(void *ctx, uint64_t dest, const struct revocation *revocations,
                            size_t count, int64_t now_ms);

    /* Cryptographically good random bytes. */
    void (*random)(void *ctx, void *out, size_t len);

    /* One line of log text; called only for levels up to log_level. */
    void (*log)(void *ctx, enum log_level level, const char *text);

    /* Something happened. May be NULL. */
    void (*event)(void *ctx, enum controller_event event, uint64_t nwid, uint64_t member);

    /* Start a POST without waiting; its result comes by controller_hook_done, later. Redirects are
     * not followed. Returns 0; negative errno: not now. NULL: webhooks are not told. */
    int (*post)(void *ctx, const struct controller_post *post);

    /* Called on ANY thread: the store has something for controller_poll. Must only wake the
     * controller's thread. Not needed without a store. */
    void (*wake)(void *ctx);

    void *ctx;
    enum log_level log_level;
};

enum {
    CONTROLLER_REVOCATIONS_PER_PACKET = 9, /* fit an unfragmented packet */
    CONTROLLER_REQUEST_GAP_MS = 1000,      /* per member: later requests are answered */
    CONTROLLER_REQUEST_BURST = 3,          /* and so many of an authorized one in a row */
    CONTROLLER_ONLINE_MS = 120000,         /* a member that asked within this time is online */
    CONTROLLER_PUSH_DELAY_MS = 200,        /* changes within this time are pushed as one */
    CONTROLLER_PUSHES_PER_S = 500,
    CONTROLLER_PENDING_MAX = 1000, /* strangers kept per network; the longest silent goes first */
};

enum controller_state {
    CONTROLLER_LOADING, /* requests wait, the API answers 503 */
    CONTROLLER_RUNNING,
    CONTROLLER_STANDBY, /* another instance acts for the identity: nothing is answered */
    CONTROLLER_LOST,    /* another instance has taken over: free this one, make a new one */
    CONTROLLER_FAILED,  /* the store could not be opened: nothing is answered, see the reason */
};

/* Create a controller. env is copied; identity (with private half) too.
 * backend: storage, taken in every case; NULL: nothing is kept (tests, simulation) and the
 * controller runs at once. Otherwise loading goes on in the store's own thread and
 * controller_poll ends it. wall_offset_ms: wall clock (Unix ms) minus now_ms.
 * Returns NULL out of memory or if no thread could be made. */
struct controller *controller_new(const struct controller_env *env, const struct identity *identity,
                                  struct store_backend *backend, int64_t wall_offset_ms,
                                  int64_t now_ms);

/* Write what is not written yet, wait for the commit, release everything. */
void controller_free(struct controller *c, int64_t now_ms);

/* The wall clock was set or drifted. Time stamps issued never go back all the same. */
void controller_set_wall_offset(struct controller *c, int64_t wall_offset_ms);

/* State; *ret_reason (may be NULL) is a text when it does not run and one is known, else NULL. */
enum controller_state controller_get_state(const struct controller *c, const char **ret_reason);

/* True if the store is shared by several instances with this identity. */
bool controller_is_shared(const struct controller *c);

/* True if this instance acts for its identity now: it runs and, with a shared store, holds the
 * lease. While it does not, nothing is sent, and its node must be silent in the network too. */
bool controller_serves(struct controller *c);

/* Write a copy of all that is stored to a new file. done: 0; -EOPNOTSUPP the store cannot (a
 * database server has its own means); negative errno; from controller_poll, controller_free, or at
 * once. */
void controller_backup(struct controller *c, const char *path, void (*done)(void *ctx, int error),
                       void *ctx);

/* A member asks (struct node_controller, request). from: physical source, nil if not direct.
 * request_id: all ones when this node asks itself. identity: of the authenticated asker. */
void controller_request(struct controller *c, uint64_t nwid, const struct inetaddr *from,
                        uint64_t request_id, const struct identity *identity, const void *meta,
                        size_t meta_len, int64_t now_ms);

/* The configuration that a member says it has (struct node_controller, holds), for the API. */
void controller_holds(struct controller *c, uint64_t nwid, const struct identity *identity,
                      uint64_t revision, uint64_t timestamp);

/* A REMOTE_TRACE dictionary came (struct node_controller, trace): the last ones of members whose
 * trace target is this controller are kept for the API. */
void controller_trace(struct controller *c, uint64_t source, const void *dict, size_t len,
                      int64_t now_ms);

/* A POST ended. status: of the answer, 0 without one; error: text for people, or NULL. */
void controller_hook_done(struct controller *c, uint64_t delivery, unsigned status,
                          const char *error, int64_t now_ms);

/* The store woke us: finish loading, answer what waited for a commit. */
void controller_poll(struct controller *c, int64_t now_ms);

/* Wait (blocking, at most timeout_ms) until the store has something for controller_poll, for
 * tests and for stopping. Returns true if it has. */
bool controller_wait(struct controller *c, int timeout_ms);

/* Run what is due. Returns the next deadline or -1. */
int64_t controller_tick(struct controller *c, int64_t now_ms);

/* Next deadline or -1; any input may have moved it. */
int64_t controller_deadline(const struct controller *c);

/* Counts for metrics (spec 04 section 4.15) and status. */
struct controller_counts {
    uint64_t networks;
    uint64_t members;
    uint64_t network_changes;
    uint64_t member_changes;
    uint64_t member_auths;
    uint64_t member_deauths;
    uint64_t requests;         /* NETWORK_CONFIG_REQUEST received */
    uint64_t requests_limited; /* dropped: second one within CONTROLLER_REQUEST_GAP_MS */
    uint64_t requests_dropped; /* dropped: not ours, while loading, out of memory */
    uint64_t denied;           /* answered ACCESS_DENIED */
    uint64_t not_found;        /* answered OBJ_NOT_FOUND */
    uint64_t sso_checks;       /* looks for logins that have ended */
    uint64_t sso_timeouts;     /* logins that ended */
    uint64_t configs_sent;     /* answers */
    uint64_t configs_reused;   /* of these as given before, see CONTROLLER_REUSE_MS */
    uint64_t signatures;       /* of credentials; chunks of configurations are signed by the node */
    uint64_t pushes_sent;
    uint64_t pushes_skipped; /* nothing had changed for the member */
    uint64_t revocation_packets;
    uint64_t pending_evicted; /* strangers forgotten for newer ones */
    uint64_t store_failures;  /* commits that failed and were tried again */
    uint64_t store_backlog;   /* changes not committed yet */
};

/* What was counted since the start, and the present sizes. */
void controller_get_counts(const struct controller *c, struct controller_counts *ret);
