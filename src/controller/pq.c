/* Calls to PostgreSQL with limits in time, on top of libpq's asynchronous half. */
#include "controller/pq.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

int64_t pq_now(void)
{
    struct timespec ts = {0};
    (void)clock_gettime(CLOCK_BOOTTIME, &ts);
    return (int64_t)ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

int pq_init(struct pq *pq)
{
    *pq = (struct pq){.wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)};
    return pq->wake < 0 ? -errno : 0;
}

void pq_done(struct pq *pq)
{
    pq_close(pq);
    pq_lib_unload(&pq->lib);
    if (pq->wake >= 0) {
        (void)close(pq->wake);
        pq->wake = -1;
    }
}

void pq_close(struct pq *pq)
{
    if (pq->conn != NULL) {
        pq->lib.finish(pq->conn);
        pq->conn = NULL;
    }
}

/* Keep a text without the line breaks libpq puts in. */
static void note_why(struct pq *pq, const char *text)
{
    size_t n = 0;
    for (; *text != '\0' && n < sizeof(pq->why) - 1; text++) {
        pq->why[n++] = '\0' < *text && *text < ' ' ? ' ' : *text;
    }
    while (n > 0 && pq->why[n - 1] == ' ') {
        n--;
    }
    pq->why[n] = '\0';
}

/* The connection is of no more use. text: why, NULL = what libpq says. */
static int lost(struct pq *pq, const char *text)
{
    const char *said = pq->conn != NULL ? pq->lib.errorMessage(pq->conn) : "out of memory";
    note_why(pq, text != NULL ? text : said);
    pq->sqlstate[0] = '\0';
    pq_close(pq);
    return -ENOTCONN;
}

/* Wait for the socket until a point in time. Returns false when that is over. */
static bool wait_socket(struct pq *pq, short events, int64_t until_ms)
{
    int64_t left = until_ms - pq_now();
    struct pollfd fd = {.fd = pq->lib.socket(pq->conn), .events = events};
    if (left <= 0) {
        return false;
    }
    int n = poll(&fd, 1, (int)left);
    return n > 0 || (n < 0 && errno == EINTR);
}

/* What the server remarks goes to stderr otherwise. */
static void ignore_notice(void *ctx, const char *text)
{
    (void)ctx;
    (void)text;
}

int pq_connect(struct pq *pq, const char *info, const char *name, int timeout_ms)
{
    /* What stands before the connection string can be changed by it, what follows cannot. */
    const char *const keys[] = {
        "keepalives_idle",
        "keepalives_interval",
        "keepalives_count",
        "dbname",
        "application_name",
        "client_encoding",
        NULL,
    };
    const char *const values[] = {"2", "1", "3", info, name, "UTF8", NULL};
    int64_t until_ms = pq_now() + timeout_ms;
    pq_close(pq);
    pq->sqlstate[0] = '\0';
    pq->conn = pq->lib.connectStartParams(keys, values, 1);
    if (pq->conn == NULL || pq->lib.status(pq->conn) == CONNECTION_BAD) {
        return lost(pq, NULL);
    }
    PostgresPollingStatusType status = PGRES_POLLING_WRITING;
    while (status != PGRES_POLLING_OK) {
        if (status == PGRES_POLLING_FAILED) {
            return lost(pq, NULL);
        }
        if (!wait_socket(pq, status == PGRES_POLLING_READING ? POLLIN : POLLOUT, until_ms)) {
            return lost(pq, "the database server does not answer");
        }
        status = pq->lib.connectPoll(pq->conn);
    }
    (void)pq->lib.setNoticeProcessor(pq->conn, ignore_notice, NULL);
    if (pq->lib.setnonblocking(pq->conn, 1) != 0) {
        return lost(pq, NULL);
    }
    pq->notified = true; /* whatever was told while nobody listened */
    return 0;
}

static void take_notifications(struct pq *pq)
{
    PGnotify *note;
    while ((note = pq->lib.notifies(pq->conn)) != NULL) {
        pq->lib.freemem(note);
        pq->notified = true;
    }
}

/* Send what is buffered and take in what comes until a result can be read. */
static int wait_result(struct pq *pq, int64_t until_ms)
{
    for (;;) {
        int unsent = pq->lib.flush(pq->conn);
        if (unsent < 0) {
            return lost(pq, NULL);
        }
        if (unsent == 0 && pq->lib.isBusy(pq->conn) == 0) {
            return 0;
        }
        if (!wait_socket(pq, (short)(unsent > 0 ? POLLIN | POLLOUT : POLLIN), until_ms)) {
            return lost(pq, "the database server does not answer");
        }
        if (pq->lib.consumeInput(pq->conn) == 0) {
            return lost(pq, NULL);
        }
        take_notifications(pq);
    }
}

/* Note what a result says. Returns 0; -EBADMSG. */
static int check_result(struct pq *pq, const PGresult *result)
{
    ExecStatusType status = pq->lib.resultStatus(result);
    if (status == PGRES_COMMAND_OK || status == PGRES_TUPLES_OK || status == PGRES_PIPELINE_SYNC) {
        return 0;
    }
    const char *state = pq->lib.resultErrorField(result, PG_DIAG_SQLSTATE);
    const char *text = pq->lib.resultErrorField(result, PG_DIAG_MESSAGE_PRIMARY);
    (void)snprintf(pq->sqlstate, sizeof(pq->sqlstate), "%s", state != NULL ? state : "");
    note_why(pq, text != NULL ? text : pq->lib.errorMessage(pq->conn));
    return -EBADMSG;
}

int pq_exec(struct pq *pq, const char *sql, int count, const char *const *values, int timeout_ms,
            PGresult **ret)
{
    int64_t until_ms = pq_now() + timeout_ms;
    int error = 0;
    PGresult *kept = NULL;
    if (pq->conn == NULL) {
        return -ENOTCONN;
    }
    pq->sqlstate[0] = '\0';
    if (pq->lib.sendQueryParams(pq->conn, sql, count, NULL, values, NULL, NULL, 0) == 0) {
        return lost(pq, NULL);
    }
    for (;;) {
        if (wait_result(pq, until_ms) != 0) {
            pq->lib.clear(kept);
            return -ENOTCONN;
        }
        PGresult *result = pq->lib.getResult(pq->conn);
        if (result == NULL) {
            break;
        }
        error = error == 0 ? check_result(pq, result) : error;
        pq->lib.clear(kept);
        kept = result;
    }
    if (pq->lib.status(pq->conn) == CONNECTION_BAD) {
        pq->lib.clear(kept);
        return lost(pq, error != 0 ? pq->why : NULL);
    }
    take_notifications(pq); /* that came along with the last result */
    if (error != 0 || ret == NULL) {
        pq->lib.clear(kept);
        return error;
    }
    *ret = kept;
    return 0;
}

int pq_begin(struct pq *pq)
{
    pq->sqlstate[0] = '\0';
    if (pq->conn == NULL) {
        return -ENOTCONN;
    }
    return pq->lib.enterPipelineMode(pq->conn) == 1 ? 0 : lost(pq, NULL);
}

int pq_send(struct pq *pq, const char *sql, int count, const char *const *values)
{
    int sent = pq->lib.sendQueryParams(pq->conn, sql, count, NULL, values, NULL, NULL, 0);
    return sent == 1 ? 0 : lost(pq, NULL);
}

int pq_finish(struct pq *pq, int timeout_ms)
{
    int64_t until_ms = pq_now() + timeout_ms;
    int error = 0;
    bool synced = false;
    if (pq->lib.pipelineSync(pq->conn) == 0) {
        return lost(pq, NULL);
    }
    while (!synced) {
        if (wait_result(pq, until_ms) != 0) {
            return -ENOTCONN;
        }
        PGresult *result = pq->lib.getResult(pq->conn);
        if (result == NULL) { /* the end of one statement, or of the connection */
            if (pq->lib.status(pq->conn) == CONNECTION_BAD) {
                return lost(pq, error != 0 ? pq->why : NULL);
            }
            continue;
        }
        synced = pq->lib.resultStatus(result) == PGRES_PIPELINE_SYNC;
        error = error == 0 ? check_result(pq, result) : error;
        pq->lib.clear(result);
    }
    take_notifications(pq);
    return pq->lib.exitPipelineMode(pq->conn) == 1 ? error : lost(pq, NULL);
}

void pq_wait(struct pq *pq, int timeout_ms)
{
    struct pollfd fds[2] = {{.fd = pq->wake, .events = POLLIN}, {.fd = -1, .events = POLLIN}};
    uint64_t kicks;
    if (pq->conn != NULL) {
        fds[1].fd = pq->lib.socket(pq->conn);
    }
    if (poll(fds, 2, timeout_ms) <= 0) {
        return;
    }
    if ((fds[0].revents & POLLIN) != 0) {
        (void)!read(pq->wake, &kicks, sizeof(kicks));
    }
    if (fds[1].revents != 0 && pq->conn != NULL) {
        if (pq->lib.consumeInput(pq->conn) == 0) {
            (void)lost(pq, NULL);
            return;
        }
        take_notifications(pq);
    }
}

void pq_kick(struct pq *pq)
{
    uint64_t one = 1;
    (void)!write(pq->wake, &one, sizeof(one));
}
