/* The PostgreSQL backend of controller/store.h: session, schema, loading, transactions. The lease
 * is in pg_lease.c, calls of other instances in pg_calls.c. The same documents in the same tables
 * as in SQLite, in a schema of each identity. Source: spec 04 sections 5.2, 5.3, 11. */
#include "controller/store_postgres.h"

#include "base/hex.h"
#include "controller/pg_store.h"

#include <errno.h>
#include <sodium.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum {
    PG_SCHEMA_VERSION = 2, /* the same tables as SQLite's */
    PG_PAGE_ROWS = 2000,   /* read at once while loading */
    PG_CHANGE_MS = 2,      /* more time for each change of a transaction */
};

bool store_postgres_owns(const char *path, const char **ret_info)
{
    static const char prefix[] = "postgres:";
    static const char *const uris[] = {"postgres://", "postgresql://"};
    for (size_t i = 0; i < COUNT_OF(uris); i++) {
        if (strncmp(path, uris[i], strlen(uris[i])) == 0) {
            *ret_info = path;
            return true;
        }
    }
    if (strncmp(path, prefix, strlen(prefix)) != 0) {
        return false;
    }
    *ret_info = path + strlen(prefix);
    return true;
}

/* ---- session ---- */

int pg_fail(struct pg_store *s, int error, const char *what, char *why, size_t cap)
{
    (void)snprintf(why, cap, "PostgreSQL: %s: %s%s%s", what, s->pq.why,
                   s->pq.sqlstate[0] != '\0' ? ", SQLSTATE " : "", s->pq.sqlstate);
    if (error != -EBADMSG) {
        return -EAGAIN;
    }
    return strncmp(s->pq.sqlstate, "53", 2) == 0 ? -ENOSPC : -EIO;
}

/* The text in the only field of a statement's only row, cut to cap; empty without rows. */
static int ask_text(struct pg_store *s, const char *sql, const char *value, char *out, size_t cap)
{
    const char *const values[] = {value};
    PGresult *result = NULL;
    int error = pq_exec(&s->pq, sql, value != NULL ? 1 : 0, values, PG_QUERY_MS, &result);
    if (error == 0) {
        bool any = s->pq.lib.ntuples(result) > 0;
        (void)snprintf(out, cap, "%s", any ? s->pq.lib.getvalue(result, 0, 0) : "");
        s->pq.lib.clear(result);
    }
    return error;
}

/* What every version of the program needs to agree on who is the holder. Made once by whoever comes
 * first; who may not make it can be given it by an administrator. */
static int make_base(struct pg_store *s)
{
    static const char *const tables[] = {
        "CREATE TABLE IF NOT EXISTS meta(key TEXT PRIMARY KEY, value TEXT NOT NULL)",
        ("CREATE TABLE IF NOT EXISTS request(seq BIGSERIAL PRIMARY KEY,"
         " at TIMESTAMPTZ NOT NULL DEFAULT clock_timestamp(), method TEXT NOT NULL,"
         " path TEXT NOT NULL, query TEXT, body TEXT, if_match TEXT, actor TEXT, status BIGINT, "
         "answer TEXT,"
         " answered TIMESTAMPTZ)"),
        "CREATE INDEX IF NOT EXISTS request_open ON request(seq) WHERE status IS NULL",
        ("CREATE TABLE IF NOT EXISTS lease(id BIGINT PRIMARY KEY, owner TEXT NOT NULL,"
         " host TEXT NOT NULL, epoch BIGINT NOT NULL, until TIMESTAMPTZ NOT NULL)"),
    };
    char found[8];
    char sql[64];
    int error = ask_text(s,
                         "SELECT 1 FROM information_schema.tables"
                         " WHERE table_schema = $1 AND table_name = 'lease'",
                         s->schema, found, sizeof(found));
    if (error != 0 || found[0] != '\0') {
        return error;
    }
    error = ask_text(s, "SELECT 1 FROM information_schema.schemata WHERE schema_name = $1",
                     s->schema, found, sizeof(found));
    if (error == 0 && found[0] == '\0') {
        (void)snprintf(sql, sizeof(sql), "CREATE SCHEMA IF NOT EXISTS %s", s->schema);
        error = pq_exec(&s->pq, sql, 0, NULL, PG_QUERY_MS, NULL);
    }
    for (size_t i = 0; i < COUNT_OF(tables) && error == 0; i++) {
        error = pq_exec(&s->pq, tables[i], 0, NULL, PG_QUERY_MS, NULL);
    }
    return error;
}

/* Settings of a new session. Locks are waited for shortly, and a session that we left in the middle
 * of a transaction ends; commits are durable even if the administrator said otherwise. */
static int set_up_session(struct pg_store *s)
{
    static const char *const settings[] = {
        "SET lock_timeout = 2000",
        "SET statement_timeout = 60000",
        "SET idle_in_transaction_session_timeout = 4000",
        ("SELECT set_config('synchronous_commit', 'on', false)"
         " WHERE current_setting('synchronous_commit') = 'off'"),
    };
    char sql[64];
    (void)snprintf(sql, sizeof(sql), "SET search_path = %s", s->schema);
    int error = pq_exec(&s->pq, sql, 0, NULL, PG_QUERY_MS, NULL);
    for (size_t i = 0; i < COUNT_OF(settings) && error == 0; i++) {
        error = pq_exec(&s->pq, settings[i], 0, NULL, PG_QUERY_MS, NULL);
    }
    if (error == 0) {
        (void)snprintf(sql, sizeof(sql), "LISTEN %s", s->channel);
        error = pq_exec(&s->pq, sql, 0, NULL, PG_QUERY_MS, NULL);
        s->listening = error == 0;
        error = error == -EBADMSG ? 0 : error; /* a server without: its tables are polled */
    }
    return error == 0 ? make_base(s) : error;
}

int pg_ready(struct pg_store *s, char *why, size_t cap)
{
    char encoding[16] = "";
    if (s->pq.lib.handle == NULL) {
        int error = pq_lib_load(&s->pq.lib, why, cap);
        if (error != 0) {
            return error;
        }
    }
    if (s->pq.conn != NULL) {
        return 0;
    }
    if (store_clock() < s->next_connect_ms) {
        return -EAGAIN;
    }
    int error = pq_connect(&s->pq, s->info, s->name, PG_CONNECT_MS);
    if (error == 0) {
        error = ask_text(s, "SHOW server_encoding", NULL, encoding, sizeof(encoding));
    }
    if (error == 0 && strcmp(encoding, "UTF8") != 0) {
        (void)snprintf(why, cap, "PostgreSQL: the database has encoding %s, UTF8 is needed",
                       encoding);
        return -EINVAL;
    }
    error = error == 0 ? set_up_session(s) : error;
    if (error != 0) {
        (void)pg_fail(s, error, "cannot be used", s->why, sizeof(s->why));
        pq_close(&s->pq);
        s->next_connect_ms = store_clock() + PG_RETRY_MS;
        return -EAGAIN;
    }
    s->next_look_ms = 0;
    s->next_poll_ms = 0;
    s->next_renew_ms = 0;
    return 0;
}

/* ---- opening ---- */

/* Version of the tables, 0 none yet. Returns 0; -EINVAL a later one; error of pq_exec. */
static int read_version(struct pg_store *s, int *ret, char *why, size_t cap)
{
    char text[16];
    int error =
        ask_text(s, "SELECT value FROM meta WHERE key = 'schema'", NULL, text, sizeof(text));
    if (error != 0) {
        return error;
    }
    *ret = (int)strtol(text, NULL, 10);
    if (*ret > PG_SCHEMA_VERSION) {
        (void)snprintf(why, cap,
                       "PostgreSQL: schema %s was written by a newer version (%d, this knows %d)",
                       s->schema, *ret, PG_SCHEMA_VERSION);
        return -EINVAL;
    }
    return 0;
}

/* Send a change. A network takes with it what is below it. */
static int send_change(struct pg_store *s, const struct store_change *change)
{
    char sql[200];
    char nwid[17];
    char node[11];
    if (change->kind == STORE_ANSWER) {
        return pg_calls_answer(s, change);
    }
    hex_from_u64(change->nwid, 16, nwid);
    hex_from_u64(change->node, 10, node);
    const char *const values[] = {nwid, node, change->text};
    const char *table = store_kind_table(change->kind);
    if (change->text != NULL) {
        (void)snprintf(sql, sizeof(sql),
                       "INSERT INTO %s(nwid, node, doc) VALUES($1, $2, $3)"
                       " ON CONFLICT(nwid, node) DO UPDATE SET doc = excluded.doc",
                       table);
        return pq_send(&s->pq, sql, 3, values);
    }
    (void)snprintf(sql, sizeof(sql), "DELETE FROM %s WHERE nwid = $1 AND node = $2", table);
    int error = pq_send(&s->pq, sql, 2, values);
    for (int i = 0; i < STORE_KINDS && error == 0 && change->kind == STORE_NETWORK; i++) {
        if (store_kind_is_below_network((enum store_kind)i)) {
            (void)snprintf(sql, sizeof(sql), "DELETE FROM %s WHERE nwid = $1",
                           store_kind_table((enum store_kind)i));
            error = pq_send(&s->pq, sql, 1, values);
        }
    }
    return error;
}

static int send_tables(struct pg_store *s)
{
    char sql[200];
    int error = 0;
    for (int i = 0; i < STORE_KINDS && error == 0; i++) {
        (void)snprintf(sql, sizeof(sql),
                       "CREATE TABLE IF NOT EXISTS %s(nwid TEXT NOT NULL, node TEXT NOT NULL,"
                       " doc TEXT NOT NULL, PRIMARY KEY(nwid, node))",
                       store_kind_table((enum store_kind)i));
        error = pq_send(&s->pq, sql, 0, NULL);
    }
    return error;
}

/* Make the tables that are not there yet, with what they begin with, as the holder. */
static int migrate(struct pg_store *s, const struct store_change *seed)
{
    char version[16];
    int timeout_ms = 4 * PG_QUERY_MS;
    (void)snprintf(version, sizeof(version), "%d", PG_SCHEMA_VERSION);
    const char *const values[] = {version};
    int error = pq_begin(&s->pq);
    error = error == 0 ? pq_send(&s->pq, "BEGIN", 0, NULL) : error;
    error = error == 0 ? send_tables(s) : error;
    for (; seed != NULL && error == 0; seed = seed->next) {
        error = send_change(s, seed);
        timeout_ms += PG_CHANGE_MS;
    }
    if (error == 0) {
        error = pq_send(&s->pq,
                        "INSERT INTO meta(key, value) VALUES('schema', $1)"
                        " ON CONFLICT(key) DO UPDATE SET value = excluded.value",
                        1, values);
    }
    error = error == 0 ? pg_lease_fence(s) : error;
    error = error == 0 ? pq_send(&s->pq, "COMMIT", 0, NULL) : error;
    int64_t since_ms = store_clock();
    error = error == 0 ? pq_finish(&s->pq, timeout_ms) : error;
    if (error == -EBADMSG) {
        pq_close(&s->pq); /* rolls back */
    } else if (error == 0) {
        pg_lease_renewed(s, since_ms);
    }
    return error;
}

/* Hand over the rows of a page. Returns 0; -EBADMSG with s->pq.why. */
static int load_rows(struct pg_store *s, const PGresult *page, enum store_kind kind,
                     store_load_fn load, void *ctx)
{
    int rows = s->pq.lib.ntuples(page);
    for (int i = 0; i < rows; i++) {
        const char *nwid_text = s->pq.lib.getvalue(page, i, 0);
        const char *node_text = s->pq.lib.getvalue(page, i, 1);
        uint64_t nwid = 0;
        uint64_t node = 0;
        if (hex_to_u64(nwid_text, strlen(nwid_text), 16, &nwid) != 0 ||
            hex_to_u64(node_text, strlen(node_text), 10, &node) != 0) {
            (void)snprintf(s->pq.why, sizeof(s->pq.why), "a row of table %s has no proper key",
                           store_kind_table(kind));
            return -EBADMSG;
        }
        load(ctx, kind, nwid, node, s->pq.lib.getvalue(page, i, 2));
    }
    return 0;
}

/* Load a table in pages; the lease is renewed between them. Nobody else writes meanwhile. */
static int load_kind(struct pg_store *s, enum store_kind kind, store_load_fn load, void *ctx)
{
    char sql[160];
    char nwid[24] = "";
    char node[16] = "";
    (void)snprintf(sql, sizeof(sql),
                   "SELECT nwid, node, doc FROM %s WHERE (nwid, node) > ($1, $2)"
                   " ORDER BY nwid, node LIMIT %d",
                   store_kind_table(kind), PG_PAGE_ROWS);
    for (int rows = PG_PAGE_ROWS; rows == PG_PAGE_ROWS;) {
        const char *const values[] = {nwid, node};
        PGresult *page = NULL;
        int error = store_clock() >= s->next_renew_ms ? pg_lease_renew(s) : 0;
        error = error == 0 ? pq_exec(&s->pq, sql, 2, values, PG_QUERY_MS, &page) : error;
        if (error != 0) {
            return error;
        }
        rows = s->pq.lib.ntuples(page);
        error = load_rows(s, page, kind, load, ctx);
        if (error == 0 && rows > 0) {
            (void)snprintf(nwid, sizeof(nwid), "%s", s->pq.lib.getvalue(page, rows - 1, 0));
            (void)snprintf(node, sizeof(node), "%s", s->pq.lib.getvalue(page, rows - 1, 1));
        }
        s->pq.lib.clear(page);
        if (error != 0) {
            return error;
        }
    }
    return 0;
}

/* Standing by: why, and try again later. */
static int not_now(const struct pg_store *s, char *why, size_t cap)
{
    (void)snprintf(why, cap, "%s", s->why);
    return -EAGAIN;
}

/* Bring the tables to our version, as the holder. Returns 0; -EAGAIN with s->why; another negative
 * errno with a text in why. */
static int update_schema(struct pg_store *s, int version, char *why, size_t cap)
{
    struct store_change *seed = NULL;
    if (version == PG_SCHEMA_VERSION) {
        return 0;
    }
    int error = version == 0 ? pg_seed_read(s, &seed, why, cap) : 0;
    if (error != 0) {
        return error;
    }
    error = migrate(s, seed);
    pg_seed_free(seed);
    if (error != 0) {
        (void)pg_fail(s, error, "tables cannot be made", s->why, sizeof(s->why));
        s->next_look_ms = store_clock() + PG_RETRY_MS;
        return -EAGAIN;
    }
    return 0;
}

static int pg_open(struct store_backend *b, store_load_fn load, void *ctx, char *why, size_t cap)
{
    struct pg_store *s = CONTAINER_OF(b, struct pg_store, backend);
    int version = 0;
    int error = pg_ready(s, why, cap);
    if (error != 0) {
        return error == -EAGAIN ? not_now(s, why, cap) : error;
    }
    if (!s->pq.notified && store_clock() < s->next_look_ms) {
        return not_now(s, why, cap);
    }
    error = read_version(s, &version, why, cap);
    if (error == -EINVAL) {
        return error;
    }
    if (error != 0) {
        (void)pg_fail(s, error, "cannot be used", s->why, sizeof(s->why));
        s->next_look_ms = store_clock() + PG_RETRY_MS;
        return not_now(s, why, cap);
    }
    error = pg_lease_take(s);
    error = error == 0 ? update_schema(s, version, why, cap) : error;
    if (error != 0) {
        return error == -EAGAIN ? not_now(s, why, cap) : error;
    }
    pg_seed_close(s);
    for (int kind = 0; kind < STORE_KINDS && error == 0; kind++) {
        error = load_kind(s, (enum store_kind)kind, load, ctx);
    }
    if (error != 0) {
        (void)pg_fail(s, error, "cannot be read", why, cap);
        return error == -EBADMSG && s->pq.sqlstate[0] == '\0' ? -EBADMSG : -ESTALE;
    }
    s->loaded = true;
    return 0;
}

/* ---- transactions ---- */

/* The whole transaction goes out at once and costs one round trip. */
static int send_all(struct pg_store *s, const struct store_change *changes)
{
    int timeout_ms = PG_QUERY_MS;
    int error = pq_begin(&s->pq);
    error = error == 0 ? pq_send(&s->pq, "BEGIN", 0, NULL) : error;
    for (const struct store_change *ch = changes; ch != NULL && error == 0; ch = ch->next) {
        error = send_change(s, ch);
        timeout_ms += PG_CHANGE_MS;
    }
    error = error == 0 ? pg_lease_fence(s) : error;
    error = error == 0 ? pq_send(&s->pq, "COMMIT", 0, NULL) : error;
    return error == 0 ? pq_finish(&s->pq, timeout_ms) : error;
}

static int pg_apply(struct store_backend *b, const struct store_change *changes, char *why,
                    size_t cap)
{
    struct pg_store *s = CONTAINER_OF(b, struct pg_store, backend);
    int64_t since_ms = store_clock();
    if (!s->holder) {
        (void)snprintf(why, cap, "another instance has taken over");
        return -ESTALE;
    }
    if (pg_ready(s, why, cap) != 0) {
        (void)snprintf(why, cap, "%s", s->why);
        return -EAGAIN;
    }
    int error = send_all(s, changes);
    if (error != 0) {
        bool stale = pg_lease_is_lost(s, error);
        int code = pg_fail(s, error, "cannot be written", why, cap);
        if (error == -EBADMSG && pq_exec(&s->pq, "ROLLBACK", 0, NULL, PG_QUERY_MS, NULL) != 0) {
            pq_close(&s->pq);
        }
        s->next_renew_ms = store_clock() + PG_RETRY_MS / 4; /* then find out, and try again */
        return stale ? -ESTALE : code;
    }
    pg_lease_renewed(s, since_ms);
    for (const struct store_change *ch = changes; ch != NULL; ch = ch->next) {
        if (ch->kind == STORE_ANSWER) {
            pg_calls_answered(s, ch->nwid);
        }
    }
    return 0;
}

/* ---- turns ---- */

/* Returns 0; -EAGAIN with s->why; -ESTALE. */
static int keep_lease(struct pg_store *s, char *why, size_t cap)
{
    int error = pg_ready(s, why, cap);
    if (error != 0) {
        return -EAGAIN;
    }
    if (store_clock() < s->next_renew_ms) {
        return s->why[0] != '\0' ? -EAGAIN : 0;
    }
    error = pg_lease_renew(s);
    if (error == 0) {
        s->why[0] = '\0';
        return 0;
    }
    if (error == -ESTALE) {
        s->holder = false;
        atomic_store(&s->backend.holds_until_ms, 0);
        (void)snprintf(s->why, sizeof(s->why), "another instance has taken over");
        return -ESTALE;
    }
    (void)pg_fail(s, error, "the lease cannot be renewed", s->why, sizeof(s->why));
    s->next_renew_ms = store_clock() + PG_RETRY_MS / 2;
    return -EAGAIN;
}

static int pg_tend(struct store_backend *b, struct store_feed *feed, char *why, size_t cap)
{
    struct pg_store *s = CONTAINER_OF(b, struct pg_store, backend);
    int error = 0;
    bool told = s->pq.notified;
    s->pq.notified = false;
    if (s->holder && s->loaded && !feed->stop) {
        error = keep_lease(s, why, cap);
        (void)snprintf(why, cap, "%s", s->why);
    }
    pg_calls_run(s, feed, told);
    if (feed->stop && s->holder && s->pq.conn != NULL) {
        pg_lease_release(s);
    }
    return error;
}

static int64_t sooner(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

static void pg_wait(struct store_backend *b)
{
    struct pg_store *s = CONTAINER_OF(b, struct pg_store, backend);
    int64_t now_ms = store_clock();
    int64_t at_ms = now_ms + PG_POLL_MS;
    if (s->pq.conn == NULL) {
        at_ms = sooner(at_ms, s->next_connect_ms);
    } else {
        at_ms = sooner(at_ms, s->holder ? s->next_renew_ms : s->next_look_ms);
        at_ms = sooner(at_ms, s->next_poll_ms);
    }
    for (const struct store_call *call = s->open; call != NULL; call = call->next) {
        at_ms = sooner(at_ms, call->until_ms);
    }
    if (at_ms > now_ms && !s->pq.notified) {
        pq_wait(&s->pq, (int)(at_ms - now_ms));
    }
}

static void pg_kick(struct store_backend *b)
{
    struct pg_store *s = CONTAINER_OF(b, struct pg_store, backend);
    pq_kick(&s->pq);
}

static void pg_destroy(struct store_backend *b)
{
    struct pg_store *s = CONTAINER_OF(b, struct pg_store, backend);
    pg_seed_close(s);
    pq_done(&s->pq);
    sodium_memzero(s->info, strlen(s->info));
    free(s);
}

void store_postgres_seed(struct store_backend *b, struct store_backend *from)
{
    struct pg_store *s = CONTAINER_OF(b, struct pg_store, backend);
    pg_seed_close(s);
    s->seed = from;
}

struct store_backend *store_postgres_new(const char *info, uint64_t address)
{
    static const struct store_shared shared = {
        .tend = pg_tend,
        .wait = pg_wait,
        .kick = pg_kick,
    };
    size_t len = strlen(info) + 1;
    struct pg_store *s = calloc(1, sizeof(*s) + len);
    uint64_t id;
    if (s == NULL || pq_init(&s->pq) != 0) {
        free(s);
        return NULL;
    }
    memcpy(s->info, info, len);
    s->address = address;
    randombytes_buf(&id, sizeof(id));
    hex_from_u64(id, 16, s->owner);
    (void)snprintf(s->schema, sizeof(s->schema), "panlan_%010llx", (unsigned long long)address);
    (void)snprintf(s->channel, sizeof(s->channel), "%s", s->schema);
    (void)snprintf(s->name, sizeof(s->name), "panlan-%010llx-%s", (unsigned long long)address,
                   s->owner);
    if (gethostname(s->host, sizeof(s->host) - 1) != 0) {
        (void)snprintf(s->host, sizeof(s->host), "unknown");
    }
    s->backend.open = pg_open;
    s->backend.apply = pg_apply;
    s->backend.destroy = pg_destroy;
    s->backend.shared = &shared;
    return &s->backend;
}
