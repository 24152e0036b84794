/* Shared by the parts of the controller: the struct itself and what they ask of each other. */
#pragma once

#include "base/timers.h"
#include "controller/controller.h"
#include "controller/model.h"
#include "controller/store.h"

enum {
    CONTROLLER_LIMIT_SLOTS = 4096,       /* of each rate limit of strangers to our tables */
    CONTROLLER_WAITING_MAX = 256,        /* requests kept while loading */
    CONTROLLER_BACKLOG_MAX = 20000,      /* changes in the store's queue before requests that would
                                            add to it are dropped */
    CONTROLLER_TS_RESERVE_MS = 15000,    /* stored time stamp is ahead by up to this */
    CONTROLLER_RUNTIME_GAP_MS = 10000,   /* between two writes of what was seen of a member */
    CONTROLLER_RUNTIME_IDLE_MS = 600000, /* the same when only the time of a request changed */
    CONTROLLER_REVOCATIONS_KEPT = 1024,  /* per network, handed out later */
    CONTROLLER_REVOCATION_QUEUE = 1024,  /* per destination, the oldest goes first */
    CONTROLLER_REVOCATION_PACKETS_S = 2000, /* when many destinations get the same one */
    CONTROLLER_REVOCATION_GAP_MS = 1000,    /* MUST: reference receivers drop faster ones */
    CONTROLLER_FAREWELL_COPIES = 90, /* destinations told of each member of a deleted network */
    CONTROLLER_META_MAX = NETCONF_META_MAX,
    CONTROLLER_REUSE_MS = 60000,       /* a configuration may be given again for so long */
    CONTROLLER_REUSE_SLOTS = 32768,    /* of them kept */
    CONTROLLER_REUSE_BYTES = 16 << 20, /* of text in all of them */
};

struct loader;
struct sso;
struct remote_call;
struct eventlog;
struct hooks;

/* A rate-limited stranger. */
struct limit_slot {
    uint64_t key;
    int64_t at_ms;
};

/* One request, copied when it has to wait. */
struct ask {
    struct list link; /* in controller.waiting */
    struct controller *c;
    uint64_t nwid;
    uint64_t request_id;
    struct inetaddr from;
    struct identity identity; /* public half */
    size_t meta_len;
    uint8_t meta[CONTROLLER_META_MAX];
};

/* What a configuration was made for; all of it must be the same to give it again. */
struct reuse_key {
    uint64_t nwid;
    uint64_t address;
    uint64_t hash;     /* of the content */
    uint64_t revision; /* of the network */
};

struct reuse_slot;

struct controller {
    struct controller_env env;
    struct identity identity;
    struct model model;
    struct eventlog *eventlog; /* not NULL while RUNNING */
    struct hooks *hooks;       /* likewise */
    struct store *store;       /* NULL: nothing is kept */
    struct loader *loader;     /* while loading */
    enum controller_state state;
    char reason[512]; /* why it does not run, empty: unknown */
    int64_t wall_offset_ms;
    int64_t now_ms;             /* of the input being handled, for completions */
    uint64_t last_ts;           /* highest time stamp issued; never issue a lower one */
    uint64_t saved_ts;          /* as stored or queued */
    uint64_t reserved_ts;       /* shared store: committed, none above it may be issued */
    bool reserving;             /* a higher reserved_ts is on its way */
    struct remote_call *remote; /* whose call is being carried out, NULL: this instance's */
    bool clock_warned;
    bool store_broken; /* writes fail at present */
    bool stopping;
    struct controller_counts counts;
    struct list waiting; /* struct ask while loading */
    size_t waiting_count;
    struct list changed;    /* struct cnetwork by push_link, oldest first */
    struct list push_queue; /* struct cmember by push_link */
    int64_t push_credit;    /* pushes allowed now */
    int64_t push_refill_ms;
    struct timers timers;
    struct sso *sso;        /* single sign-on, NULL while no network wants it */
    int64_t expiry_next_ms; /* wall clock: no access ends before, INT64_MAX none */
    struct hmap outboxes;   /* struct outbox by destination */
    struct list farewells;  /* struct farewell, running */
    struct list listings;   /* struct listing: answers being put together */
    struct list repeats;    /* struct repeat */
    struct limit_slot limits[CONTROLLER_LIMIT_SLOTS];
    int64_t node_limits[CONTROLLER_LIMIT_SLOTS]; /* buckets of nodes that are no members */
    int64_t ip_limits[CONTROLLER_LIMIT_SLOTS];   /* of their IPs */
    struct list unsaved;                         /* struct cmember by unsaved_link */
    int64_t first_credit_ms;                     /* notes of unknown nodes are paid for up to it */
    struct timer unsaved_timer;                  /* to write some of them */
    struct reuse_slot *reuse; /* CONTROLLER_REUSE_SLOTS, or NULL before the first is kept */
    size_t reuse_bytes;       /* of text in it */
    uint64_t seed;
};

/* ---- controller.c ---- */

int64_t controller_wall(const struct controller *c, int64_t now_ms);

/* A time stamp for credentials: the wall clock, but never below one issued before, over restarts
 * too. */
uint64_t controller_timestamp(struct controller *c, int64_t now_ms);

void controller_log(const struct controller *c, enum log_level level, const char *fmt, ...)
    PRINTF_LIKE(3, 4);
void controller_event(const struct controller *c, enum controller_event event, uint64_t nwid,
                      uint64_t member);

/* Put the present document of a network, of a member into a transaction. Return 0; -ENOMEM. */
MUST_CHECK int controller_put_network(struct store_tx *tx, const struct cnetwork *net);
MUST_CHECK int controller_put_member(struct store_tx *tx, struct cmember *m);

/* Queue a transaction (taken; NULL: nothing to write) and call done (may be NULL) when it is
 * committed: from controller_poll, or at once without a store. */
void controller_commit(struct controller *c, struct store_tx *tx, store_done_fn done, void *ctx);

/* Store the highest time stamp that may be issued before the next such write. done may be NULL.
 * Returns false out of memory. */
bool controller_save_timestamp(struct controller *c, uint64_t ts, store_done_fn done, void *ctx);

/* All that is needed is loaded: run. Does nothing in other states than LOADING. */
void controller_loaded(struct controller *c);

/* Remove a member from memory and its queues. */
void controller_forget(struct controller *c, struct cmember *m);

/* True if it asked lately. */
bool member_is_online(const struct cmember *m, int64_t now_ms);

/* ---- expiry.c ---- */

/* The time set for the end of its access has come. */
bool member_access_is_over(const struct cmember *m, int64_t wall_ms);

/* The member may have a new such time. */
void expiry_note(struct controller *c, const struct cmember *m);

/* Look through all members; what is due; when something is due, or -1. */
void expiry_scan(struct controller *c, int64_t now_ms);
void expiry_run(struct controller *c, int64_t now_ms);
int64_t expiry_deadline(const struct controller *c);

/* ---- config.c ---- */

/* Build, sign and send the configuration of an authorized member with a pinned key. request_id 0
 * is a push, which is left out when nothing but time stamps would differ from what it got last.
 * Returns 1 sent, 0 left out; negative errno. */
int config_send(struct controller *c, struct cmember *m, uint64_t request_id, int64_t now_ms);

/* ---- api_list.c ---- */

/* Answer what is still asked for: there will be no more. */
void api_list_done(struct controller *c);

/* ---- strangers.c ---- */

void strangers_init(struct controller *c);

/* May a node that is no member be answered now? unknown: it has not asked this network lately. */
bool strangers_pass(struct controller *c, const struct ask *ask, bool unknown, int64_t now_ms);

/* Room for one more stranger: the longest silent one goes. */
void strangers_make_room(struct controller *c, struct cnetwork *net);

/* The record of a member that is refused, changed by this request or by one before: it is written
 * some time after its second request. */
void strangers_save(struct controller *c, struct cmember *m, bool changed, bool is_new,
                    int64_t now_ms);

/* Write all that are not written yet; before the end. */
void strangers_save_all(struct controller *c);

/* ---- reuse.c ---- */

/* A configuration made for exactly this whose time stamp is less than CONTROLLER_REUSE_MS and a
 * quarter of the window older than ts, the one that would be issued now; borrowed until the next
 * call. Returns false: none. */
bool reuse_find(const struct controller *c, const struct reuse_key *key, uint64_t window_ms,
                uint64_t ts, const char **ret_text, size_t *ret_len);

/* Keep a configuration with this time stamp (malloc'd text, taken) if there is room. */
void reuse_keep(struct controller *c, const struct reuse_key *key, uint64_t ts, char *text,
                size_t len);

/* Credentials of a member (address 0: of all members of the network) issued so far must not be
 * given again. */
void reuse_forget(struct controller *c, uint64_t nwid, uint64_t address);

void reuse_done(struct controller *c);

/* ---- request.c ---- */

/* Handle a request whose rate limit has been checked. */
void request_serve(struct controller *c, const struct ask *ask, int64_t now_ms);

/* Give a member the addresses its network promises, as its next request would. Returns true if it
 * got one: then it has to be stored. */
bool request_assign(struct controller *c, struct cmember *m);

/* Write what was seen of a member. */
void request_save_runtime(struct controller *c, struct cmember *m, int64_t now_ms);

/* ---- push.c ---- */

void push_network(struct controller *c, struct cnetwork *net, int64_t now_ms);
void push_member(struct controller *c, struct cmember *m, int64_t now_ms);
void push_run(struct controller *c, int64_t now_ms);
int64_t push_deadline(const struct controller *c);

/* ---- revoke.c ---- */

/* Revoke the membership of an address that was authorized: sign, keep, store (into tx) and send to
 * whoever is online. Returns 0; -ENOMEM. */
MUST_CHECK int revoke_member(struct controller *c, struct cnetwork *net, uint64_t address,
                             struct store_tx *tx, int64_t now_ms);

/* Give a member the revocations it has not got; after a configuration was sent to it. */
void revoke_hand_out(struct controller *c, struct cmember *m, int64_t now_ms);

/* A stored revocation while loading. Returns true if it is still of use and was kept. */
bool revoke_load(struct model *model, const struct identity *signer, uint64_t nwid, uint64_t node,
                 const json_t *doc, uint64_t wall_ms);

/* Members of a network that is about to be deleted: they will be told one of another. */
struct farewell;
struct farewell *farewell_new(struct controller *c, const struct cnetwork *net, int64_t now_ms);
void farewell_start(struct farewell *f, int64_t now_ms);
void farewell_free(struct farewell *f);

void revoke_done(struct controller *c);

/* ---- share.c ---- */

/* Reserve time stamps ahead if that is due; shared stores only. */
void share_reserve(struct controller *c, int64_t now_ms);

/* When that is due next, -1: not before the store has news. */
int64_t share_deadline(const struct controller *c);

/* Carry out the calls that other instances left for us. */
void share_take_calls(struct controller *c);
