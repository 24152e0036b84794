/* Durable state of a controller: one thread of its own runs a backend, so that no statement is on
 * the path of a request. Everything is loaded at start; later only changes go down, grouped in
 * transactions, and their completions come back up.
 *
 * What is stored are documents (JSON text, owned by the controller) under a kind and a key; the
 * backend looks into none of them. One writer per controller identity keeps addresses unique (in
 * memory), so a backend shared by several instances makes sure of the one writer (lease and epoch,
 * spec 04 section 5.2), and brings the others' API calls to it. Source: spec 04 sections 3 and 5.
 */
#pragma once

#include "base/attr.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Documents in the order in which they are loaded. */
enum store_kind {
    STORE_CONTROLLER, /* per identity: node = its address, nwid 0 */
    STORE_NETWORK,    /* nwid; deleting it deletes all that is below it */
    STORE_MEMBER,     /* nwid, node */
    STORE_RUNTIME,    /* nwid, node: what was seen of the member; losing it is harmless */
    STORE_REVOCATION, /* nwid, node; outlives its network */
    STORE_USER,       /* id of a person, node 0 */
    STORE_TOKEN,      /* id of an API token, node 0 */
    STORE_GRANT,      /* nwid, id of a person as node: what the person may do with the network */
    STORE_HOOK,       /* id of a webhook, node 0 */
    STORE_DELIVERY,   /* id of what a webhook still has to be told or was told last, node 0 */
    STORE_EVENT,      /* sequence number, node 0 */
    STORE_KINDS,
    STORE_ANSWER = STORE_KINDS, /* no document: answer of a call that came through the store; nwid
                                   is its number, node the status. Only in shared stores */
};

/* Name of the table that holds a kind; the same in every backend. */
const char *store_kind_table(enum store_kind kind);

/* True if the documents of a kind go with their network. */
bool store_kind_is_below_network(enum store_kind kind);

/* One document wanted or gone. */
struct store_change {
    struct store_change *next;
    enum store_kind kind;
    uint64_t nwid;
    uint64_t node;
    char *text; /* NULL: delete */
};

/* Takes one stored document while loading; called on the store's thread. text: borrowed. */
typedef void (*store_load_fn)(void *ctx, enum store_kind kind, uint64_t nwid, uint64_t node,
                              const char *text);

/* A request to the controller's API that goes through a store several instances share: whoever
 * cannot answer it leaves it there, the instance that holds the identity takes it. */
struct store_call {
    struct store_call *next;
    uint64_t seq; /* number in the store */
    char *method;
    char *path;
    char *query;      /* "" if none */
    char *body;       /* "" if none */
    char *if_match;   /* the header, "" if none */
    char *actor;      /* who asks, for the holder's log, "" unknown */
    unsigned status;  /* of the answer */
    char *answer;     /* NULL: without body */
    int64_t until_ms; /* for the backend: when waiting for the answer ends */
    void (*done)(void *ctx, unsigned status, const char *body, size_t len);
    void *ctx;
};

/* Release a call. */
void store_call_free(struct store_call *call);

/* What goes between a store and a shared backend in one turn. Lists are in order. */
struct store_feed {
    struct store_call *send;     /* for the holder; taken by the backend */
    struct store_call *answered; /* ours that are answered: status is set */
    struct store_call *incoming; /* for us, each once */
    bool stop;                   /* last turn: answer all that are open with status 503 */
};

struct store_backend;

/* What only a backend has that several instances share: one of them holds the identity. */
struct store_shared {
    /* One turn: keep the lease, move calls. Returns 0; -EAGAIN while the lease cannot be renewed
     * (as after a failed apply nothing is lost by that); -ESTALE another instance holds it now:
     * what is in memory is of no more use. With a text in why. */
    int (*tend)(struct store_backend *b, struct store_feed *feed, char *why, size_t cap);

    /* Wait until there is something to do, or kick. */
    void (*wait)(struct store_backend *b);

    /* Let wait return. Any thread. */
    void (*kick)(struct store_backend *b);
};

/* A way of storing. All functions are called on the store's thread only, except destroy, kick. */
struct store_backend {
    /* Open, check and hand every document to load. Returns 0, or a negative errno with a text
     * for people in why (cap bytes). Never repairs or removes anything. A shared one returns
     * -EAGAIN while another instance holds the identity or the database cannot be reached: it is
     * called again; -ESTALE if it has called load and has to begin anew. */
    int (*open)(struct store_backend *b, store_load_fn load, void *ctx, char *why, size_t cap);

    /* Apply the list in order as one transaction, durable on return. Returns 0, or a negative
     * errno with nothing changed and a text in why. */
    int (*apply)(struct store_backend *b, const struct store_change *changes, char *why,
                 size_t cap);

    /* Close and release the backend, opened or not. Called when the thread has ended. */
    void (*destroy)(struct store_backend *b);

    /* Write a copy of all that is committed to a new file. NULL: cannot. Returns 0, or a negative
     * errno with a text in why. */
    int (*backup)(struct store_backend *b, const char *path, char *why, size_t cap);

    const struct store_shared *shared; /* NULL: all ours */

    /* Shared: up to when (store_clock) this instance may act for the identity. Any thread. */
    _Atomic int64_t holds_until_ms;
};

struct store;

enum store_state {
    STORE_LOADING,
    STORE_STANDBY, /* another instance holds the identity, or it is not known who does */
    STORE_READY,
    STORE_LOST, /* another instance has taken over; close it and open a new one */
    STORE_FAILED,
};

/* How a transaction ended: 0 committed; negative errno: not committed yet (it is tried again until
 * it is) or, with -ECANCELED, the store was closed before. */
typedef void (*store_done_fn)(void *ctx, int error);

/* Start a store: backend is taken (also on failure), load is called on its thread. wake: called on
 * its thread when there is something to poll. Returns NULL out of memory, no thread. */
struct store *store_new(struct store_backend *backend, store_load_fn load, void *load_ctx,
                        void (*wake)(void *ctx), void *wake_ctx);

/* Try all that is queued once more, stop the thread, run the remaining completions. Returns 0 if
 * everything was committed, else the error of the last try. */
int store_free(struct store *s);

/* State; *ret_why (may be NULL): reason when not READY, last write error while writes fail, or
 * NULL; valid until the next call. */
enum store_state store_get_state(struct store *s, const char **ret_why);

/* A transaction being put together. */
struct store_tx;

/* Returns NULL out of memory. */
struct store_tx *store_tx_new(void);

/* Add a change at the end; text (malloc'd) is taken in every case, NULL deletes.
 * Returns 0; -ENOMEM. */
MUST_CHECK int store_tx_put(struct store_tx *tx, enum store_kind kind, uint64_t nwid, uint64_t node,
                            char *text);

/* Give it up. Accepts NULL. */
void store_tx_free(struct store_tx *tx);

/* Queue it (taken). All its changes commit together, after those queued before. done may be NULL;
 * it is called by store_poll or store_free on their thread. */
void store_submit(struct store *s, struct store_tx *tx, store_done_fn done, void *ctx);

/* Write a copy of the store to a new file at path (copied), after what was queued before. */
void store_backup(struct store *s, const char *path, store_done_fn done, void *ctx);

/* True if several instances may use it at once. */
bool store_is_shared(const struct store *s);

/* Milliseconds this instance may go on acting for the identity: INT64_MAX if it need not share, 0
 * or less: it must be silent. */
int64_t store_hold_ms(struct store *s);

/* The clock of leases: it goes on while the machine sleeps. */
int64_t store_clock(void);

/* Leave a call for the holder (taken). Its done is called by store_poll or store_free. */
void store_pass(struct store *s, struct store_call *call);

/* A call for us, or NULL; owned by the caller, who submits a STORE_ANSWER. */
struct store_call *store_next_call(struct store *s);

/* Changes queued and not committed. */
size_t store_backlog(struct store *s);

/* Commits that failed so far. */
uint64_t store_failures(struct store *s);

/* Run completions. Returns true if the state changed since the last call. */
bool store_poll(struct store *s);

/* Block until store_poll has something to do, at most timeout_ms. Returns true if it has. */
bool store_wait(struct store *s, int timeout_ms);
