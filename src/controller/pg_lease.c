/* The lease on a controller's identity: one row with owner, epoch and end by the database's clock.
 * Whoever takes it raises the epoch; every transaction of a holder checks owner and epoch, so that
 * one that was paused or cut off can write nothing after another took over (CTL-91). Source: spec
 * 04 section 5.2. */
#include "controller/pg_store.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LEASE_END "clock_timestamp() + interval '6 seconds'"

/* Divides by zero, and so ends the transaction, if the lease is not ours. */
static const char fence[] = "WITH mine AS (UPDATE lease SET until = " LEASE_END
                            " WHERE id = 1 AND owner = $1 AND epoch = $2 RETURNING 1)"
                            " SELECT 1 / count(*) FROM mine";

static void epoch_text(const struct pg_store *s, char out[24])
{
    (void)snprintf(out, 24, "%lld", s->epoch);
}

int pg_lease_fence(struct pg_store *s)
{
    char epoch[24];
    epoch_text(s, epoch);
    const char *const values[] = {s->owner, epoch};
    return pq_send(&s->pq, fence, 2, values);
}

bool pg_lease_is_lost(const struct pg_store *s, int error)
{
    return error == -EBADMSG && strcmp(s->pq.sqlstate, "22012") == 0;
}

void pg_lease_renewed(struct pg_store *s, int64_t since_ms)
{
    s->next_renew_ms = since_ms + PG_RENEW_MS;
    atomic_store(&s->backend.holds_until_ms, since_ms + PG_LEASE_MS - PG_LEASE_MARGIN_MS);
}

int pg_lease_renew(struct pg_store *s)
{
    char epoch[24];
    epoch_text(s, epoch);
    const char *const values[] = {s->owner, epoch};
    int64_t since_ms = store_clock();
    int error = pq_exec(&s->pq, fence, 2, values, PG_QUERY_MS, NULL);
    if (error == 0) {
        pg_lease_renewed(s, since_ms);
    }
    return pg_lease_is_lost(s, error) ? -ESTALE : error;
}

void pg_lease_release(struct pg_store *s)
{
    static const char sql[] = "UPDATE lease SET until = clock_timestamp()"
                              " WHERE id = 1 AND owner = $1 AND epoch = $2";
    char epoch[24];
    epoch_text(s, epoch);
    const char *const values[] = {s->owner, epoch};
    const char *const note[] = {s->channel, "lease"};
    atomic_store(&s->backend.holds_until_ms, 0);
    s->holder = false;
    if (pq_exec(&s->pq, sql, 2, values, PG_QUERY_MS, NULL) == 0 && s->listening) {
        (void)!pq_exec(&s->pq, "SELECT pg_notify($1, $2)", 2, note, PG_QUERY_MS, NULL);
    }
}

/* The row as it was read. */
struct lease {
    char owner[17];
    char host[64];
    long long epoch;
    long long left_ms; /* until its end */
};

/* Returns 0; -ENOENT no row yet; error of pq_exec. */
static int lease_read(struct pg_store *s, struct lease *ret)
{
    static const char sql[] =
        "SELECT owner, host, epoch,"
        " CAST(1000 * extract(epoch FROM until - clock_timestamp()) AS bigint)"
        " FROM lease WHERE id = 1";
    PGresult *result = NULL;
    int error = pq_exec(&s->pq, sql, 0, NULL, PG_QUERY_MS, &result);
    if (error != 0) {
        return error;
    }
    if (s->pq.lib.ntuples(result) == 1) {
        (void)snprintf(ret->owner, sizeof(ret->owner), "%s", s->pq.lib.getvalue(result, 0, 0));
        (void)snprintf(ret->host, sizeof(ret->host), "%s", s->pq.lib.getvalue(result, 0, 1));
        ret->epoch = strtoll(s->pq.lib.getvalue(result, 0, 2), NULL, 10);
        ret->left_ms = strtoll(s->pq.lib.getvalue(result, 0, 3), NULL, 10);
    } else {
        error = -ENOENT;
    }
    s->pq.lib.clear(result);
    return error;
}

/* What the last owner left behind: a session that holds locks and does not go on (its machine is
 * gone, its process stopped). Servers that lack this function end such sessions by themselves. */
static void end_sessions_of(struct pg_store *s, const char *owner)
{
    char name[sizeof(s->name)];
    (void)snprintf(name, sizeof(name), "panlan-%010llx-%s", (unsigned long long)s->address, owner);
    const char *const values[] = {name};
    (void)!pq_exec(&s->pq,
                   "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity"
                   " WHERE application_name = $1",
                   1, values, PG_QUERY_MS, NULL);
}

/* Returns 0 with the new epoch if nobody was quicker; -EAGAIN; error of pq_exec. */
static int lease_grab(struct pg_store *s, const struct lease *lease)
{
    static const char sql[] = "UPDATE lease SET owner = $1, host = $2, epoch = epoch + 1,"
                              " until = " LEASE_END " WHERE id = 1 AND epoch = $3"
                              " AND (until < clock_timestamp() OR owner = $1) RETURNING epoch";
    char epoch[24];
    (void)snprintf(epoch, sizeof(epoch), "%lld", lease->epoch);
    const char *const values[] = {s->owner, s->host, epoch};
    int64_t since_ms = store_clock();
    PGresult *result = NULL;
    int error = pq_exec(&s->pq, sql, 3, values, PG_QUERY_MS, &result);
    if (error != 0) {
        return error;
    }
    if (s->pq.lib.ntuples(result) == 1) {
        s->epoch = strtoll(s->pq.lib.getvalue(result, 0, 0), NULL, 10);
        s->holder = true;
        pg_lease_renewed(s, since_ms);
    } else {
        error = -EAGAIN;
    }
    s->pq.lib.clear(result);
    return error;
}

int pg_lease_take(struct pg_store *s)
{
    struct lease lease;
    int error = lease_read(s, &lease);
    if (error == -ENOENT) {
        error = pq_exec(&s->pq,
                        "INSERT INTO lease(id, owner, host, epoch, until)"
                        " VALUES(1, '', '', 0, clock_timestamp() - interval '1 second') ON "
                        "CONFLICT(id) DO NOTHING",
                        0, NULL, PG_QUERY_MS, NULL);
        error = error == 0 ? lease_read(s, &lease) : error;
    }
    if (error == 0 && lease.left_ms >= 0 && strcmp(lease.owner, s->owner) != 0) {
        int64_t wait_ms = lease.left_ms + 10;
        s->next_look_ms = store_clock() + (wait_ms < PG_RENEW_MS ? wait_ms : PG_RENEW_MS);
        (void)snprintf(s->why, sizeof(s->why), "standing by: %s holds the identity", lease.host);
        return -EAGAIN;
    }
    if (error == 0 && lease.owner[0] != '\0' && strcmp(lease.owner, s->owner) != 0) {
        end_sessions_of(s, lease.owner);
    }
    error = error == 0 ? lease_grab(s, &lease) : error;
    if (error != 0) {
        s->next_look_ms = store_clock() + PG_RETRY_MS / 4;
        if (error != -EAGAIN) {
            (void)pg_fail(s, error, "the lease cannot be read", s->why, sizeof(s->why));
        }
        return -EAGAIN;
    }
    s->why[0] = '\0';
    return 0;
}
