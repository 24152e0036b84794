/* API calls that go through the database: whoever is not the holder (an instance standing by, a
 * tool) adds a row to "request", the holder carries it out like a call of its own and puts the
 * answer into the same row, in the transaction of the change itself. A notification only says that
 * there is something; rows without status are what counts, so that none is missed however they come
 * (CTL-92). Source: spec 04 section 5.2. */
#include "controller/pg_store.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { CALL_BATCH = 64 };

static void seq_text(uint64_t seq, char out[24])
{
    (void)snprintf(out, 24, "%" PRIu64, seq);
}

/* ---- as the holder ---- */

static bool is_taken(const struct pg_store *s, uint64_t seq)
{
    for (size_t i = 0; i < s->taken_count; i++) {
        if (s->taken[i] == seq) {
            return true;
        }
    }
    return false;
}

void pg_calls_answered(struct pg_store *s, uint64_t seq)
{
    for (size_t i = 0; i < s->taken_count; i++) {
        if (s->taken[i] == seq) {
            s->taken[i] = s->taken[--s->taken_count];
            return;
        }
    }
}

int pg_calls_answer(struct pg_store *s, const struct store_change *change)
{
    char seq[24];
    char status[24];
    seq_text(change->nwid, seq);
    seq_text(change->node, status);
    const char *const values[] = {seq, status, change->text};
    int error = pq_send(&s->pq,
                        "UPDATE request SET status = $2, answer = $3,"
                        " answered = clock_timestamp() WHERE seq = $1",
                        3, values);
    const char *const note[] = {s->channel, seq};
    if (error == 0 && s->listening) {
        error = pq_send(&s->pq, "SELECT pg_notify($1, $2)", 2, note);
    }
    return error;
}

/* A copy of a column; NULL becomes "". */
static char *column(struct pg_store *s, const PGresult *result, int row, int col)
{
    return strdup(s->pq.lib.getisnull(result, row, col) ? ""
                                                        : s->pq.lib.getvalue(result, row, col));
}

static struct store_call *call_of_row(struct pg_store *s, const PGresult *result, int row)
{
    struct store_call *call = calloc(1, sizeof(*call));
    if (call == NULL) {
        return NULL;
    }
    call->seq = strtoull(s->pq.lib.getvalue(result, row, 0), NULL, 10);
    call->method = column(s, result, row, 1);
    call->path = column(s, result, row, 2);
    call->query = column(s, result, row, 3);
    call->body = column(s, result, row, 4);
    call->if_match = column(s, result, row, 5);
    call->actor = column(s, result, row, 6);
    if (call->method == NULL || call->path == NULL || call->query == NULL || call->body == NULL ||
        call->if_match == NULL || call->actor == NULL) {
        store_call_free(call);
        return NULL;
    }
    return call;
}

/* Take calls that nobody has answered. Returns true if there may be more. */
static bool fetch(struct pg_store *s, struct store_feed *feed)
{
    static const char sql[] = "SELECT seq, method, path, query, body, if_match, actor FROM request"
                              " WHERE status IS NULL ORDER BY seq LIMIT 320";
    struct store_call **tail = &feed->incoming;
    PGresult *result = NULL;
    size_t fresh = 0;
    if (pq_exec(&s->pq, sql, 0, NULL, PG_QUERY_MS, &result) != 0) {
        return true;
    }
    int rows = s->pq.lib.ntuples(result);
    for (int i = 0; i < rows && s->taken_count < PG_TAKEN_MAX && fresh < CALL_BATCH; i++) {
        uint64_t seq = strtoull(s->pq.lib.getvalue(result, i, 0), NULL, 10);
        struct store_call *call = is_taken(s, seq) ? NULL : call_of_row(s, result, i);
        if (call != NULL) {
            *tail = call;
            tail = &call->next;
            s->taken[s->taken_count++] = seq;
            fresh++;
        }
    }
    s->pq.lib.clear(result);
    return fresh == CALL_BATCH;
}

/* ---- as one that stands by ---- */

static void finish(struct store_call *call, struct store_feed *feed, unsigned status,
                   const char *answer)
{
    struct store_call **tail = &feed->answered;
    while (*tail != NULL) {
        tail = &(*tail)->next;
    }
    call->status = status;
    call->answer = answer != NULL ? strdup(answer) : NULL;
    call->next = NULL;
    *tail = call;
}

/* Give a call up with an error object. */
static void refuse(struct store_call *call, struct store_feed *feed, unsigned status,
                   const char *text)
{
    char answer[160];
    (void)snprintf(answer, sizeof(answer), "{\"description\":\"%s\",\"error\":%u}", text, status);
    finish(call, feed, status, answer);
}

/* Put a call into the database. */
static void pass(struct pg_store *s, struct store_call *call, struct store_feed *feed)
{
    static const char sql[] = "INSERT INTO request(method, path, query, body, if_match, actor)"
                              " VALUES($1, $2, $3, $4, $5, $6) RETURNING seq";
    const char *const values[] = {call->method, call->path,     call->query,
                                  call->body,   call->if_match, call->actor};
    PGresult *result = NULL;
    int error = pq_exec(&s->pq, sql, 6, values, PG_QUERY_MS, &result);
    if (error != 0) {
        refuse(call, feed, error == -EBADMSG ? 400 : 503,
               error == -EBADMSG ? "the database does not take this text"
                                 : "the database cannot be reached; see /controller");
        return;
    }
    call->seq = strtoull(s->pq.lib.getvalue(result, 0, 0), NULL, 10);
    call->until_ms = store_clock() + PG_CALL_MS;
    s->pq.lib.clear(result);
    call->next = s->open;
    s->open = call;
    char seq[24];
    seq_text(call->seq, seq);
    const char *const note[] = {s->channel, seq};
    if (s->listening) {
        (void)!pq_exec(&s->pq, "SELECT pg_notify($1, $2)", 2, note, PG_QUERY_MS, NULL);
    }
}

/* Look for the answer of a call. Returns true if it is finished. */
static bool look(struct pg_store *s, struct store_call *call, struct store_feed *feed)
{
    char seq[24];
    seq_text(call->seq, seq);
    const char *const values[] = {seq};
    PGresult *result = NULL;
    if (pq_exec(&s->pq, "SELECT status, answer FROM request WHERE seq = $1 AND status IS NOT NULL",
                1, values, PG_QUERY_MS, &result) != 0) {
        return false;
    }
    bool found = s->pq.lib.ntuples(result) == 1;
    if (found) {
        const char *answer =
            s->pq.lib.getisnull(result, 0, 1) ? NULL : s->pq.lib.getvalue(result, 0, 1);
        finish(call, feed, (unsigned)strtoul(s->pq.lib.getvalue(result, 0, 0), NULL, 10), answer);
    }
    s->pq.lib.clear(result);
    return found;
}

static void check_open(struct pg_store *s, struct store_feed *feed, bool looking)
{
    int64_t now_ms = store_clock();
    for (struct store_call **it = &s->open; *it != NULL;) {
        struct store_call *call = *it;
        struct store_call *next = call->next;
        bool over = looking && look(s, call, feed);
        if (!over && (feed->stop || now_ms >= call->until_ms)) {
            refuse(call, feed, feed->stop ? 503 : 504,
                   "no answer of the holder in time; it may still carry this out");
            over = true;
        }
        if (over) {
            *it = next;
        } else {
            it = &call->next;
        }
    }
}

/* ---- both ---- */

void pg_calls_run(struct pg_store *s, struct store_feed *feed, bool told)
{
    int64_t now_ms = store_clock();
    struct store_call *call;
    while ((call = feed->send) != NULL) {
        feed->send = call->next;
        if (feed->stop || s->pq.conn == NULL) {
            refuse(call, feed, 503, "the database cannot be reached; see /controller");
        } else {
            pass(s, call, feed);
        }
    }
    bool looking = s->pq.conn != NULL && (told || now_ms >= s->next_poll_ms);
    check_open(s, feed, looking);
    if (looking) {
        s->next_poll_ms = now_ms + (s->listening ? PG_POLL_MS : PG_POLL_DEAF_MS);
        if (s->holder && s->loaded && !feed->stop && fetch(s, feed)) {
            s->next_poll_ms = now_ms;
        }
    }
    if (s->holder && s->loaded && s->pq.conn != NULL && now_ms >= s->next_clean_ms) {
        s->next_clean_ms = now_ms + PG_KEEP_MS;
        (void)!pq_exec(&s->pq,
                       "DELETE FROM request WHERE answered < clock_timestamp() - interval '1 day'",
                       0, NULL, PG_QUERY_MS, NULL);
    }
}
