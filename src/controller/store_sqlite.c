/* The SQLite backend of controller/store.h: one table per kind of document, WAL, every commit
 * synced. Source: spec 04 sections 5.2 and 11 (documents instead of columns: the controller holds
 * everything in memory and looks nothing up here). */
#include "controller/store_sqlite.h"

#include "base/hex.h"
#include "controller/sqlite_lib.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum {
    SQLITE_APPLICATION_ID = 0x50414e4c, /* "PANL" */
    SQLITE_SCHEMA_VERSION = 2,          /* 1 had the first five tables */
};

struct sqlite_store {
    struct store_backend backend;
    struct sqlite_lib lib;
    sqlite3 *db;
    sqlite3_stmt *put[STORE_KINDS];
    sqlite3_stmt *del[STORE_KINDS];
    sqlite3_stmt *del_below[STORE_KINDS]; /* all rows of a network; only where that makes sense */
    char path[];
};

/* Negative errno for a result code of SQLite. */
static int error_of(int code)
{
    switch (code & 0xff) {
    case SQLITE_OK:
        return 0;
    case SQLITE_NOMEM:
        return -ENOMEM;
    case SQLITE_FULL:
        return -ENOSPC;
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
        return -EBUSY;
    case SQLITE_CORRUPT:
    case SQLITE_NOTADB:
        return -EBADMSG;
    case SQLITE_PERM:
    case SQLITE_READONLY:
    case SQLITE_CANTOPEN:
        return -EACCES;
    default:
        return -EIO;
    }
}

static int fail(struct sqlite_store *s, const char *what, char *why, size_t cap)
{
    int code = s->db != NULL ? s->lib.extended_errcode(s->db) : SQLITE_NOMEM;
    (void)snprintf(why, cap, "%s: %s: %s (SQLite code %d)", s->path, what,
                   s->db != NULL ? s->lib.errmsg(s->db) : "out of memory", code);
    int error = error_of(code);
    return error != 0 ? error : -EIO;
}

static int run(struct sqlite_store *s, const char *sql, const char *what, char *why, size_t cap)
{
    if (s->lib.exec(s->db, sql, NULL, NULL, NULL) != SQLITE_OK) {
        return fail(s, what, why, cap);
    }
    return 0;
}

/* Make the file with a private mode, or check the mode of the one there is. */
static int check_file(const struct sqlite_store *s, char *why, size_t cap)
{
    int fd = open(s->path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0) {
        int error = -errno;
        (void)snprintf(why, cap, "%s: cannot be opened: %s", s->path, strerror(-error));
        return error;
    }
    struct stat st;
    int error = fstat(fd, &st) == 0 ? 0 : -errno;
    if (error == 0 && (st.st_mode & 077) != 0) {
        (void)snprintf(why, cap, "%s: mode %03o lets others in; run chmod 600 on it", s->path,
                       (unsigned)(st.st_mode & 0777));
        error = -EACCES;
    }
    close(fd);
    return error;
}

static int pragma_int(struct sqlite_store *s, const char *sql, int64_t *ret, char *why, size_t cap)
{
    sqlite3_stmt *stmt = NULL;
    if (s->lib.prepare_v2(s->db, sql, -1, &stmt, NULL) != SQLITE_OK ||
        s->lib.step(stmt) != SQLITE_ROW) {
        int error = fail(s, "cannot be read", why, cap);
        s->lib.finalize(stmt);
        return error;
    }
    *ret = s->lib.column_int64(stmt, 0);
    s->lib.finalize(stmt);
    return 0;
}

/* Refuse files of other programs and of later versions; 0 tables and ID 0 is a new file. */
static int check_owner(struct sqlite_store *s, char *why, size_t cap)
{
    int64_t id = 0;
    int64_t version = 0;
    int64_t objects = 0;
    int error = pragma_int(s, "PRAGMA application_id", &id, why, cap);
    if (error == 0) {
        error = pragma_int(s, "PRAGMA user_version", &version, why, cap);
    }
    if (error == 0) {
        error = pragma_int(s, "SELECT count(*) FROM sqlite_master", &objects, why, cap);
    }
    if (error != 0) {
        return error;
    }
    if (id != SQLITE_APPLICATION_ID && (id != 0 || objects != 0)) {
        (void)snprintf(why, cap, "%s: is a database of another program", s->path);
        return -EINVAL;
    }
    if (version > SQLITE_SCHEMA_VERSION) {
        (void)snprintf(why, cap, "%s: was written by a newer version (schema %lld, this knows %d)",
                       s->path, (long long)version, SQLITE_SCHEMA_VERSION);
        return -EINVAL;
    }
    return 0;
}

/* Run the integrity check; the first findings go into why. */
static int check_integrity(struct sqlite_store *s, char *why, size_t cap)
{
    sqlite3_stmt *stmt = NULL;
    if (s->lib.prepare_v2(s->db, "PRAGMA integrity_check(5)", -1, &stmt, NULL) != SQLITE_OK) {
        return fail(s, "the integrity check cannot run", why, cap);
    }
    size_t used = 0;
    int code;
    bool good = false;
    while ((code = s->lib.step(stmt)) == SQLITE_ROW) {
        const char *text = (const char *)s->lib.column_text(stmt, 0);
        if (text != NULL && used == 0 && strcmp(text, "ok") == 0) {
            good = true;
            continue;
        }
        good = false;
        int n = snprintf(why + used, cap - used, "%s%s", used == 0 ? s->path : "",
                         used == 0 ? ": the database is damaged:" : "");
        used += n > 0 && (size_t)n < cap - used ? (size_t)n : 0;
        n = snprintf(why + used, cap - used, " [%s]", text != NULL ? text : "?");
        used += n > 0 && (size_t)n < cap - used ? (size_t)n : 0;
    }
    if (code != SQLITE_DONE) {
        int error = fail(s, "the database is damaged", why, cap);
        s->lib.finalize(stmt);
        return error;
    }
    s->lib.finalize(stmt);
    return good ? 0 : -EBADMSG;
}

/* Prepare the text made of the parts before and behind the name of a table. */
static int prepare(struct sqlite_store *s, const char *before, enum store_kind kind,
                   const char *behind, sqlite3_stmt **ret, char *why, size_t cap)
{
    char sql[160];
    (void)snprintf(sql, sizeof(sql), "%s %s %s", before, store_kind_table(kind), behind);
    if (s->lib.prepare_v2(s->db, sql, -1, ret, NULL) != SQLITE_OK) {
        return fail(s, "a statement cannot be prepared", why, cap);
    }
    return 0;
}

static int prepare_all(struct sqlite_store *s, char *why, size_t cap)
{
    static const char upsert[] = "(nwid, node, doc) VALUES(?1, ?2, ?3)"
                                 " ON CONFLICT(nwid, node) DO UPDATE SET doc=excluded.doc";
    int error = 0;
    for (int i = 0; i < STORE_KINDS && error == 0; i++) {
        enum store_kind kind = (enum store_kind)i;
        error = prepare(s, "INSERT INTO", kind, upsert, &s->put[i], why, cap);
        if (error == 0) {
            error =
                prepare(s, "DELETE FROM", kind, "WHERE nwid=?1 AND node=?2", &s->del[i], why, cap);
        }
        if (error == 0 && store_kind_is_below_network(kind)) {
            error = prepare(s, "DELETE FROM", kind, "WHERE nwid=?1", &s->del_below[i], why, cap);
        }
    }
    return error;
}

static int load_kind(struct sqlite_store *s, enum store_kind kind, store_load_fn load, void *ctx,
                     char *why, size_t cap)
{
    sqlite3_stmt *stmt = NULL;
    int error =
        prepare(s, "SELECT nwid, node, doc FROM", kind, "ORDER BY nwid, node", &stmt, why, cap);
    if (error != 0) {
        return error;
    }
    int code;
    while ((code = s->lib.step(stmt)) == SQLITE_ROW) {
        const char *nwid_text = (const char *)s->lib.column_text(stmt, 0);
        const char *node_text = (const char *)s->lib.column_text(stmt, 1);
        const char *doc = (const char *)s->lib.column_text(stmt, 2);
        uint64_t nwid = 0;
        uint64_t node = 0;
        if (nwid_text == NULL || node_text == NULL || doc == NULL ||
            hex_to_u64(nwid_text, strlen(nwid_text), 16, &nwid) != 0 ||
            hex_to_u64(node_text, strlen(node_text), 10, &node) != 0) {
            (void)snprintf(why, cap, "%s: a row of table %s has no proper key", s->path,
                           store_kind_table(kind));
            s->lib.finalize(stmt);
            return -EBADMSG;
        }
        load(ctx, kind, nwid, node, doc);
    }
    if (code != SQLITE_DONE) {
        error = fail(s, "cannot be read", why, cap);
    }
    s->lib.finalize(stmt);
    return error;
}

/* Make the tables that are not there yet; keys are text of fixed width, so that their order is
 * that of the numbers. */
static int make_tables(struct sqlite_store *s, char *why, size_t cap)
{
    static const char what[] = "tables cannot be made";
    int error = run(s, "BEGIN IMMEDIATE", what, why, cap);
    char sql[200];
    for (int i = 0; i < STORE_KINDS && error == 0; i++) {
        (void)snprintf(sql, sizeof(sql),
                       "CREATE TABLE IF NOT EXISTS %s(nwid TEXT NOT NULL, node TEXT NOT NULL,"
                       " doc TEXT NOT NULL, PRIMARY KEY(nwid, node)) WITHOUT ROWID",
                       store_kind_table((enum store_kind)i));
        error = run(s, sql, what, why, cap);
    }
    if (error == 0) {
        (void)snprintf(sql, sizeof(sql), "PRAGMA application_id=%d; PRAGMA user_version=%d; COMMIT",
                       SQLITE_APPLICATION_ID, SQLITE_SCHEMA_VERSION);
        error = run(s, sql, what, why, cap);
    }
    return error;
}

static int open_db(struct sqlite_store *s, char *why, size_t cap)
{
    int error = check_file(s, why, cap);
    if (error != 0) {
        return error;
    }
    int flags = SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_PRIVATECACHE;
    if (s->lib.open_v2(s->path, &s->db, flags, NULL) != SQLITE_OK) {
        return fail(s, "cannot be opened", why, cap);
    }
    s->lib.busy_timeout(s->db, 5000);
    error = check_owner(s, why, cap);
    if (error == 0) {
        error = check_integrity(s, why, cap);
    }
    if (error == 0) {
        error = run(s, "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL; PRAGMA foreign_keys=ON;",
                    "cannot be set up", why, cap);
    }
    if (error == 0) {
        error = make_tables(s, why, cap);
    }
    return error;
}

static int sqlite_store_open(struct store_backend *b, store_load_fn load, void *ctx, char *why,
                             size_t cap)
{
    struct sqlite_store *s = CONTAINER_OF(b, struct sqlite_store, backend);
    int error = sqlite_lib_load(&s->lib, why, cap);
    if (error == 0) {
        error = open_db(s, why, cap);
    }
    if (error == 0) {
        error = prepare_all(s, why, cap);
    }
    for (int kind = 0; kind < STORE_KINDS && error == 0; kind++) {
        error = load_kind(s, (enum store_kind)kind, load, ctx, why, cap);
    }
    return error;
}

/* Run a prepared statement with the key and, if it takes one, the document. */
static int execute(struct sqlite_store *s, sqlite3_stmt *stmt, const struct store_change *change,
                   int parameters, char *why, size_t cap)
{
    char nwid[17];
    char node[11];
    hex_from_u64(change->nwid, 16, nwid);
    hex_from_u64(change->node, 10, node);
    int code = s->lib.bind_text(stmt, 1, nwid, -1, SQLITE_STATIC);
    if (code == SQLITE_OK && parameters > 1) {
        code = s->lib.bind_text(stmt, 2, node, -1, SQLITE_STATIC);
    }
    if (code == SQLITE_OK && parameters > 2) {
        code = s->lib.bind_text(stmt, 3, change->text, -1, SQLITE_STATIC);
    }
    if (code == SQLITE_OK) {
        code = s->lib.step(stmt);
    }
    int error = code == SQLITE_DONE ? 0 : fail(s, "cannot be written", why, cap);
    s->lib.reset(stmt);
    return error;
}

static int apply_one(struct sqlite_store *s, const struct store_change *change, char *why,
                     size_t cap)
{
    if (change->text != NULL) {
        return execute(s, s->put[change->kind], change, 3, why, cap);
    }
    int error = execute(s, s->del[change->kind], change, 2, why, cap);
    for (int i = 0; i < STORE_KINDS && error == 0 && change->kind == STORE_NETWORK; i++) {
        if (s->del_below[i] != NULL) {
            error = execute(s, s->del_below[i], change, 1, why, cap);
        }
    }
    return error;
}

static int sqlite_store_apply(struct store_backend *b, const struct store_change *changes,
                              char *why, size_t cap)
{
    struct sqlite_store *s = CONTAINER_OF(b, struct sqlite_store, backend);
    int error = run(s, "BEGIN IMMEDIATE", "cannot be written", why, cap);
    if (error != 0) {
        return error;
    }
    for (const struct store_change *ch = changes; ch != NULL && error == 0; ch = ch->next) {
        error = apply_one(s, ch, why, cap);
    }
    if (error == 0) {
        error = run(s, "COMMIT", "cannot be committed", why, cap);
    }
    if (error != 0) {
        s->lib.exec(s->db, "ROLLBACK", NULL, NULL, NULL);
    }
    return error;
}

/* Copy all pages to an open database and make it a single file. */
static int copy_to(struct sqlite_store *s, sqlite3 *to)
{
    sqlite3_backup *backup = s->lib.backup_init(to, "main", s->db, "main");
    int code = backup != NULL ? s->lib.backup_step(backup, -1) : SQLITE_NOMEM;
    int end = backup != NULL ? s->lib.backup_finish(backup) : SQLITE_NOMEM;
    if (code == SQLITE_DONE && end == SQLITE_OK) {
        code = s->lib.exec(to, "PRAGMA journal_mode=DELETE", NULL, NULL, NULL);
    }
    return code == SQLITE_OK ? 0 : error_of(code) != 0 ? error_of(code) : -EIO;
}

static int sqlite_store_backup(struct store_backend *b, const char *path, char *why, size_t cap)
{
    struct sqlite_store *s = CONTAINER_OF(b, struct sqlite_store, backend);
    sqlite3 *to = NULL;
    int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd < 0) {
        int error = -errno;
        (void)snprintf(why, cap, "%s: cannot be made: %s", path, strerror(-error));
        return error;
    }
    close(fd);
    int code = s->lib.open_v2(path, &to, SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX, NULL);
    int error = code == SQLITE_OK ? copy_to(s, to) : -EIO;
    s->lib.close_v2(to);
    if (error != 0) {
        (void)snprintf(why, cap, "%s: cannot be written: %s", path, strerror(-error));
        (void)unlink(path);
    }
    return error;
}

static void sqlite_store_destroy(struct store_backend *b)
{
    struct sqlite_store *s = CONTAINER_OF(b, struct sqlite_store, backend);
    if (s->db != NULL) {
        for (int kind = 0; kind < STORE_KINDS; kind++) {
            s->lib.finalize(s->put[kind]);
            s->lib.finalize(s->del[kind]);
            s->lib.finalize(s->del_below[kind]);
        }
        s->lib.close_v2(s->db);
    }
    sqlite_lib_unload(&s->lib);
    free(s);
}

struct store_backend *store_sqlite_new(const char *path)
{
    size_t len = strlen(path) + 1;
    struct sqlite_store *s = calloc(1, sizeof(*s) + len);
    if (s == NULL) {
        return NULL;
    }
    memcpy(s->path, path, len);
    s->backend.open = sqlite_store_open;
    s->backend.apply = sqlite_store_apply;
    s->backend.destroy = sqlite_store_destroy;
    s->backend.backup = sqlite_store_backup;
    return &s->backend;
}

int store_sqlite_move_aside(const char *path, const char *stamp)
{
    static const char *const suffixes[] = {"", "-wal", "-shm"};
    for (size_t i = 0; i < COUNT_OF(suffixes); i++) {
        char from[4096];
        char to[4096];
        int n = snprintf(from, sizeof(from), "%s%s", path, suffixes[i]);
        int m = snprintf(to, sizeof(to), "%s.damaged-%s%s", path, stamp, suffixes[i]);
        if (n < 0 || m < 0 || (size_t)n >= sizeof(from) || (size_t)m >= sizeof(to)) {
            return -ENAMETOOLONG;
        }
        if (rename(from, to) != 0 && (i == 0 || errno != ENOENT)) {
            return -errno;
        }
    }
    return 0;
}
