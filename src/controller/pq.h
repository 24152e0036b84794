/* A connection to PostgreSQL on which nothing waits for ever: every call has a limit in time, after
 * which the connection is given up, so that a database that went silent holds up its thread for
 * seconds at most. One thread, except pq_kick. */
#pragma once

#include "base/attr.h"
#include "controller/pq_lib.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { PQ_WHY_LEN = 320 };

struct pq {
    struct pq_lib lib;
    PGconn *conn;         /* NULL = not connected */
    int wake;             /* eventfd of pq_kick */
    bool notified;        /* a notification came since this was cleared last */
    char sqlstate[6];     /* of the last error of a statement, else empty */
    char why[PQ_WHY_LEN]; /* text of the last error; never has the connection string in it */
};

/* Milliseconds of a clock that goes on while the machine sleeps. */
int64_t pq_now(void);

/* Prepare without library (pq_lib_load into pq->lib) and connection. Returns 0; -errno. */
MUST_CHECK int pq_init(struct pq *pq);
void pq_done(struct pq *pq);

/* Connect (again). info: connection string or URI; name: application_name. Returns 0; -ENOTCONN. */
MUST_CHECK int pq_connect(struct pq *pq, const char *info, const char *name, int timeout_ms);

/* Close it; accepts a closed one. */
void pq_close(struct pq *pq);

/* One statement, its parameters (NULL: null) as text. Returns 0 with the result, which the caller
 * clears, in *ret (NULL: not wanted); -EBADMSG the server refused it (sqlstate is set); -ENOTCONN
 * the connection was lost or is too slow, and is closed. */
MUST_CHECK int pq_exec(struct pq *pq, const char *sql, int count, const char *const *values,
                       int timeout_ms, PGresult **ret);

/* Many statements sent in one go: begin, send each, finish. Errors are those of pq_exec; after the
 * first the server skips the rest. */
MUST_CHECK int pq_begin(struct pq *pq);
MUST_CHECK int pq_send(struct pq *pq, const char *sql, int count, const char *const *values);
MUST_CHECK int pq_finish(struct pq *pq, int timeout_ms);

/* Wait until pq_kick, until the server sends something, at most timeout_ms; what it sent is taken
 * in: notifications set pq->notified, a lost connection is closed. */
void pq_wait(struct pq *pq, int timeout_ms);

/* Let pq_wait return. Any thread. */
void pq_kick(struct pq *pq);
