/* Shared by the parts of the store on PostgreSQL. */
#pragma once

#include "controller/pq.h"
#include "controller/store.h"

enum {
    PG_LEASE_MS = 6000,        /* pg_lease.c has the same number in its SQL */
    PG_LEASE_MARGIN_MS = 1000, /* so long before its end a holder falls silent */
    PG_RENEW_MS = 2000,        /* between renewals */
    PG_RETRY_MS = 1000,        /* between tries to connect */
    PG_POLL_MS = 5000,         /* look for calls although nothing was notified */
    PG_POLL_DEAF_MS = 500,     /* the same with a server that has no notifications */
    PG_CONNECT_MS = 3000,      /* limit of connecting */
    PG_QUERY_MS = 5000,        /* limit of a statement, of a short transaction */
    PG_CALL_MS = 10000,        /* how long a call waits for its answer */
    PG_TAKEN_MAX = 256,        /* calls of others being carried out */
    PG_KEEP_MS = 3600000,      /* between removals of old answers */
    PG_WHY_LEN = 512,
};

struct pg_store {
    struct store_backend backend;
    struct pq pq;
    uint64_t address;
    char schema[24];
    char channel[24];
    char owner[17];          /* this instance, random */
    char name[40];           /* application_name of our sessions */
    char host[64];           /* shown to people */
    char why[PG_WHY_LEN];    /* why this instance does not act, empty: it does */
    long long epoch;         /* of our lease */
    bool listening;          /* the server has notifications */
    bool holder;             /* we had the lease when we looked last */
    bool loaded;             /* documents were handed over */
    int64_t next_connect_ms; /* points in time of store_clock */
    int64_t next_look_ms;    /* at somebody else's lease */
    int64_t next_renew_ms;
    int64_t next_poll_ms;
    int64_t next_clean_ms;
    struct store_backend *seed;   /* what a new schema begins with, NULL none */
    struct store_call *open;      /* left for the holder, not answered */
    uint64_t taken[PG_TAKEN_MAX]; /* calls handed up and not answered */
    size_t taken_count;
    char info[];
};

/* ---- store_postgres.c ---- */

/* Text for people about the last error of s->pq into why. Returns the errno that error stands for.
 */
int pg_fail(struct pg_store *s, int error, const char *what, char *why, size_t cap);

/* Connect and prepare the session if that is not done and it is time to try. Returns 0; -EAGAIN
 * with s->why; another negative errno with a text in why: it is no use to try again. */
MUST_CHECK int pg_ready(struct pg_store *s, char *why, size_t cap);

/* ---- pg_lease.c ---- */

/* Become the holder if nobody is. Returns 0; -EAGAIN with s->why. */
MUST_CHECK int pg_lease_take(struct pg_store *s);

/* Put the check of owner and epoch, which renews the lease too, into the transaction being sent. */
MUST_CHECK int pg_lease_fence(struct pg_store *s);

/* The same by itself. Returns 0; -ESTALE; -ENOTCONN and others with pq.why. */
MUST_CHECK int pg_lease_renew(struct pg_store *s);

/* After a success of either, sent at since_ms. */
void pg_lease_renewed(struct pg_store *s, int64_t since_ms);

/* After a failure: true if it means that somebody else has the lease. */
bool pg_lease_is_lost(const struct pg_store *s, int error);

/* Give it back, so that another need not wait for its end. */
void pg_lease_release(struct pg_store *s);

/* ---- pg_seed.c ---- */

/* All documents of s->seed as changes (pg_seed_free), NULL without one. Returns 0; negative errno
 * with a text in why. */
MUST_CHECK int pg_seed_read(struct pg_store *s, struct store_change **ret, char *why, size_t cap);
void pg_seed_free(struct store_change *changes);

/* It is not needed any more. */
void pg_seed_close(struct pg_store *s);

/* ---- pg_calls.c ---- */

/* Move calls as far as they go. told: a notification came. */
void pg_calls_run(struct pg_store *s, struct store_feed *feed, bool told);

/* Put the answer of a call into the transaction being sent; and after its commit. */
MUST_CHECK int pg_calls_answer(struct pg_store *s, const struct store_change *change);
void pg_calls_answered(struct pg_store *s, uint64_t seq);
