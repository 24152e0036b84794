/* Durability: what was acknowledged survives a kill, damage is found and left alone, failed writes
 * are told and tried again (spec 04 sections 5.2, 5.3; CTL-8, CTL-20, CTL-72, CTL-76, CTL-93). */
#include "fake.h"
#include "pg_server.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/hmap.h"
#include "controller/sqlite_lib.h"
#include "controller/store.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define NET "/controller/network/12a402e62ed49ba9"

static char path[128];

/* The tests of what both kinds of store promise run twice. */
static bool on_postgres;

static int setup(void **state)
{
    (void)state;
    if (on_postgres) {
        snprintf(path, sizeof(path), "%s", pg_server_path());
        pg_server_run("DROP SCHEMA IF EXISTS panlan_12a402e62e CASCADE");
        return 0;
    }
    fake_db_name(path, sizeof(path), "store");
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    if (!on_postgres) {
        fake_db_remove(path);
    }
    return 0;
}

static json_t *dump(struct fake *f)
{
    json_t *all = json_object();
    json_t *nets = fake_api(f, "GET", "/controller/network", NULL);
    for (size_t i = 0; i < json_array_size(nets); i++) {
        const char *id = json_string_value(json_array_get(nets, i));
        char name[100];
        snprintf(name, sizeof(name), "/controller/network/%s", id);
        json_object_set_new(all, id, fake_api(f, "GET", name, NULL));
        strcat(name, "/member");
        json_t *list = fake_api(f, "GET", name, NULL);
        const char *key;
        json_t *value;
        json_object_foreach(list, key, value)
        {
            char member[160];
            snprintf(member, sizeof(member), "%s/%s", name, key);
            json_object_set_new(all, member, fake_api(f, "GET", member, NULL));
        }
        json_decref(list);
    }
    json_decref(nets);
    return all;
}

static void test_everything_survives_a_restart(void **state)
{
    (void)state;
    struct fake f;
    fake_init(&f, path);
    struct stat st;
    if (!on_postgres) {
        assert_int_equal(stat(path, &st), 0);
        assert_int_equal(st.st_mode & 0777, 0600);
    }
    fake_network(&f, "{\"name\":\"\\u20ac\",\"routes\":[{\"target\":\"10.9.0.0/24\"}],"
                     "\"ipAssignmentPools\":[{\"ipRangeStart\":\"10.9.0.1\",\"ipRangeEnd\":"
                     "\"10.9.0.254\"}],\"v4AssignMode\":\"zt\",\"dns\":{\"domain\":\"x\"},"
                     "\"capabilities\":[{\"id\":1,\"default\":1,\"rules\":[]}]}");
    fake_status(&f, "POST", NET "/invite-token", "{\"token\":\"t\",\"uses\":3}");
    fake_request(&f, FAKE_NWID, 1, "t");
    fake_request(&f, FAKE_NWID, 2, NULL);
    fake_status(&f, "POST", NET "/member/0000000003",
                "{\"name\":\"n\",\"authorized\":1,\"tags\":[[1,2]],\"activeBridge\":true,"
                "\"ipAssignments\":[\"10.9.0.9\",\"fd00::1\"],\"remoteTraceTarget\":"
                "\"1234567890\",\"blocked\":false}");
    fake_status(&f, "POST", NET "/member/0000000004", "{\"blocked\":true}");
    fake_status(&f, "POST", "/controller/network/12a402e62e000001", "{}");
    fake_status(&f, "DELETE", "/controller/network/12a402e62e000001", NULL);
    json_t *before = dump(&f);
    fake_restart(&f);
    json_t *after = dump(&f);
    assert_int_equal(json_object_size(before), 5);
    assert_true(json_equal(before, after));
    json_decref(before);
    json_decref(after);
    assert_int_equal(f.events[CONTROLLER_READY], 2);
    fake_done(&f);
}

/* 12.31: pushes work right after a restart; CTL-72: time stamps go on from where they were */
static void test_runtime_and_time_survive(void **state)
{
    (void)state;
    struct fake f;
    fake_init(&f, path);
    fake_network(&f, "{\"private\":false}");
    fake_request(&f, FAKE_NWID, 1, NULL);
    struct netconf conf;
    fake_config(&f, 1, &conf);
    uint64_t ts = conf.timestamp;
    netconf_free(&conf);
    f.wall_offset_ms -= 600000; /* the clock is set back while we are away */
    fake_restart(&f);
    fake_clear(&f);
    fake_status(&f, "POST", NET, "{\"name\":\"new\"}");
    fake_run(&f, 500);
    fake_config(&f, 1, &conf);
    assert_true(conf.timestamp >= ts);
    assert_string_equal(conf.name, "new");
    netconf_free(&conf);
    json_t *obj = fake_api(&f, "GET", "/unstable" NET "/member", NULL);
    const json_t *live = json_object_get(json_array_get(json_object_get(obj, "data"), 0), "live");
    assert_string_equal(js(live, "os"), "linux/x86_64");
    json_decref(obj);
    fake_done(&f);
}

/* CTL-76 over a restart */
static void test_revocations_survive(void **state)
{
    (void)state;
    struct fake f;
    fake_init(&f, path);
    fake_network(&f, "{}");
    fake_status(&f, "POST", NET "/member/0000000001", "{\"authorized\":true}");
    fake_status(&f, "POST", NET "/member/0000000002", "{\"authorized\":true}");
    fake_request(&f, FAKE_NWID, 1, NULL);
    f.now_ms += 300000;
    fake_status(&f, "POST", NET "/member/0000000002", "{\"authorized\":false}");
    fake_restart(&f);
    fake_clear(&f);
    fake_request(&f, FAKE_NWID, 1, NULL);
    fake_run(&f, 100);
    const struct fake_sent *s = fake_last(&f, FAKE_REVOCATIONS, 1);
    assert_non_null(s);
    assert_int_equal(s->revs[0].target, 2);
    assert_int_equal(revocation_verify(&s->revs[0], &f.identity), 0);
    f.now_ms += 4000000; /* twice the window: of no more use, removed at the next start */
    fake_restart(&f);
    fake_clear(&f);
    fake_request(&f, FAKE_NWID, 1, NULL);
    fake_run(&f, 100);
    assert_null(fake_last(&f, FAKE_REVOCATIONS, 1));
    fake_done(&f);
}

/* Requests that come while loading are answered afterwards (CTL-8: the API says 503 meanwhile). */
static void test_requests_wait_for_loading(void **state)
{
    (void)state;
    struct fake f;
    fake_init(&f, path);
    fake_network(&f, "{\"private\":false}");
    controller_free(f.c, f.now_ms);
    fake_clear(&f);
    fake_start(&f); /* does not wait */
    assert_int_equal(controller_get_state(f.c, NULL), CONTROLLER_LOADING);
    assert_int_equal(fake_status(&f, "GET", "/controller", NULL), 503);
    assert_true(f.body_len > 0);
    if (!on_postgres) { /* there it is answered later, by whoever holds the identity then */
        assert_int_equal(fake_status(&f, "GET", "/controller/network", NULL), 503);
    }
    struct identity id = fake_member(1);
    struct inetaddr from = {.family = INETADDR_NIL};
    controller_request(f.c, FAKE_NWID, &from, 77, &id, NULL, 0, f.now_ms);
    assert_int_equal(f.sent_count, 0);
    fake_wait_loaded(&f);
    fake_settle(&f);
    assert_int_equal(fake_last(&f, FAKE_CONFIG, 1)->request_id, 77);
    fake_done(&f);
}

/* 5.3: what a crash could take back is told only after the commit */
static void test_first_answer_waits_for_the_commit(void **state)
{
    (void)state;
    struct fake f;
    fake_init(&f, path);
    fake_network(&f, "{\"private\":false}");
    struct identity id = fake_member(1);
    struct inetaddr from = {.family = INETADDR_NIL};
    controller_request(f.c, FAKE_NWID, &from, 1, &id, NULL, 0, f.now_ms);
    assert_int_equal(f.sent_count, 0); /* just authorized */
    fake_settle(&f);
    assert_int_equal(f.sent_count, 1);
    f.now_ms += 60000;
    fake_ready(&f);
    controller_request(f.c, FAKE_NWID, &from, 2, &id, NULL, 0, f.now_ms);
    assert_int_equal(f.sent_count, 2); /* nothing new: at once */
    fake_done(&f);
}

/* As a tool would that works on the database. */
static bool edit_documents(void)
{
    static const char *const edits[] = {
        "UPDATE network SET doc=json_set(doc,'$.custom','kept','$.certificateTimeoutWindowSize',"
        "400000,'$.clock',5)",
        "UPDATE member SET doc=json_set(doc,'$.mine',json('[1,2]'),"
        "'$.lastAuthorizedCredentialType','sso','$.recentLog',1)",
    };
    if (on_postgres) {
        pg_server_run(
            "UPDATE panlan_12a402e62e.network SET doc=(doc::jsonb || '{\"custom\":\"kept\","
            "\"certificateTimeoutWindowSize\":400000,\"clock\":5}')::text");
        pg_server_run("UPDATE panlan_12a402e62e.member SET doc=(doc::jsonb || '{\"mine\":[1,2],"
                      "\"lastAuthorizedCredentialType\":\"sso\",\"recentLog\":1}')::text");
        return true;
    }
    for (size_t i = 0; i < COUNT_OF(edits); i++) {
        char command[512];
        snprintf(command, sizeof(command), "sqlite3 %s \"%s\"", path, edits[i]);
        if (system(command) != 0) {
            return false;
        }
    }
    return true;
}

/* CTL-20: unknown keys in storage survive updates */
static void test_unknown_keys_survive_updates(void **state)
{
    (void)state;
    struct fake f;
    fake_init(&f, path);
    fake_network(&f, "{}");
    fake_status(&f, "POST", NET "/member/0000000001", "{}");
    controller_free(f.c, f.now_ms);
    if (!edit_documents()) {
        f.c = NULL;
        fake_done(&f);
        skip(); /* no sqlite3 program here */
    }
    fake_start(&f);
    fake_wait_loaded(&f);
    fake_status(&f, "POST", NET, "{\"name\":\"x\",\"private\":false}");
    fake_status(&f, "POST", NET "/member/0000000001", "{\"name\":\"y\"}");
    fake_restart(&f);
    json_t *obj = fake_api(&f, "GET", NET, NULL);
    assert_string_equal(js(obj, "custom"), "kept");
    assert_null(json_object_get(obj, "clock"));
    json_decref(obj);
    obj = fake_api(&f, "GET", NET "/member/0000000001", NULL);
    assert_int_equal(json_array_size(json_object_get(obj, "mine")), 2);
    assert_string_equal(js(obj, "lastAuthorizedCredentialType"), "sso");
    assert_null(json_object_get(obj, "recentLog"));
    json_decref(obj);
    struct netconf conf;
    fake_request(&f, FAKE_NWID, 1, NULL);
    fake_config(&f, 1, &conf);
    assert_int_equal(conf.window, 400000);
    netconf_free(&conf);
    fake_done(&f);
}

/* ---- damage ---- */

static void overwrite(long offset, const void *data, size_t len)
{
    FILE *file = fopen(path, "r+b");
    assert_non_null(file);
    assert_int_equal(fseek(file, offset, SEEK_SET), 0);
    assert_int_equal(fwrite(data, 1, len, file), len);
    assert_int_equal(fclose(file), 0);
}

static void expect_refusal(const char *part)
{
    struct fake f;
    const char *reason = NULL;
    struct stat before;
    struct stat after;
    assert_int_equal(stat(path, &before), 0);
    fake_init(&f, path);
    assert_int_equal(controller_get_state(f.c, &reason), CONTROLLER_FAILED);
    assert_non_null(reason);
    if (strstr(reason, part) == NULL) {
        fail_msg("reason %s lacks %s", reason, part);
    }
    assert_non_null(strstr(reason, path));
    /* the controller answers nothing, but says why, and the node lives */
    fake_request(&f, FAKE_NWID, 1, NULL);
    assert_int_equal(f.sent_count, 0);
    json_t *obj = fake_api(&f, "GET", "/controller", NULL);
    assert_int_equal(f.status, 503);
    assert_string_equal(js(obj, "reason"), reason);
    json_decref(obj);
    assert_int_equal(fake_status(&f, "POST", "/controller/network", "{}"), 503);
    assert_int_equal(f.events[CONTROLLER_STORE_FAILED], 1);
    fake_done(&f);
    assert_int_equal(stat(path, &after), 0); /* left alone */
    assert_int_equal(before.st_size, after.st_size);
}

static void make_database(void)
{
    struct fake f;
    fake_init(&f, path);
    fake_network(&f, "{}");
    for (int i = 1; i <= 200; i++) {
        char name[80];
        snprintf(name, sizeof(name), "%s/member/%010x", NET, i);
        fake_status(&f, "POST", name, "{\"name\":\"somebody\"}");
    }
    fake_done(&f);
}

static void test_damaged_file_is_refused(void **state)
{
    (void)state;
    make_database();
    struct stat st;
    assert_int_equal(stat(path, &st), 0);
    char junk[4096];
    memset(junk, 0x5a, sizeof(junk));
    overwrite(st.st_size / 8192 * 4096, junk, sizeof(junk)); /* a page in the middle */
    expect_refusal("damaged");
    /* the explicit decision to start anew */
    assert_int_equal(store_sqlite_move_aside(path, "7"), 0);
    struct fake f;
    fake_init(&f, path);
    assert_int_equal(controller_get_state(f.c, NULL), CONTROLLER_RUNNING);
    fake_done(&f);
    char aside[160];
    snprintf(aside, sizeof(aside), "%s.damaged-7", path);
    assert_int_equal(access(aside, F_OK), 0);
    fake_db_remove(aside);
}

static void test_foreign_files_are_refused(void **state)
{
    (void)state;
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    fputs("this is a text and no database, but longer than the header of one: "
          "0123456789012345678901234567890123456789012345678901234567890123456789",
          file);
    fclose(file);
    assert_int_equal(chmod(path, 0600), 0);
    expect_refusal("not a database");
    assert_int_equal(chmod(path, 0644), 0);
    expect_refusal("chmod 600");
    fake_db_remove(path);
    make_database();
    overwrite(60, "\0\0\0\xff", 4); /* user_version of a later program */
    expect_refusal("newer");
    overwrite(60, "\0\0\0\1", 4);
    overwrite(68, "ABCD", 4); /* application_id */
    expect_refusal("another program");
}

/* A file as the first version of the program made them: five tables. */
static void make_version_1(void)
{
    static const char *const tables[] = {"controller", "network", "member", "member_runtime",
                                         "revocation"};
    struct sqlite_lib lib;
    sqlite3 *db = NULL;
    char why[200];
    char sql[300];
    assert_int_equal(sqlite_lib_load(&lib, why, sizeof(why)), 0);
    assert_int_equal(lib.open_v2(path, &db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE, NULL),
                     SQLITE_OK);
    for (size_t i = 0; i < COUNT_OF(tables); i++) {
        snprintf(sql, sizeof(sql),
                 "CREATE TABLE %s(nwid TEXT NOT NULL, node TEXT NOT NULL, doc TEXT NOT NULL,"
                 " PRIMARY KEY(nwid, node)) WITHOUT ROWID",
                 tables[i]);
        assert_int_equal(lib.exec(db, sql, NULL, NULL, NULL), SQLITE_OK);
    }
    static const char rows[] =
        "INSERT INTO controller VALUES('0000000000000000','12a402e62e','{\"lastTs\":9}');"
        "INSERT INTO network VALUES('12a402e62ed49ba9','0000000000','{\"name\":\"old\"}');"
        "INSERT INTO member VALUES('12a402e62ed49ba9','0000000001','{\"name\":\"m\"}');"
        "PRAGMA application_id=1346457164; PRAGMA user_version=1; PRAGMA journal_mode=WAL";
    assert_int_equal(lib.exec(db, rows, NULL, NULL, NULL), SQLITE_OK);
    lib.close_v2(db);
    sqlite_lib_unload(&lib);
    assert_int_equal(chmod(path, 0600), 0);
}

static void test_file_of_version_1_is_migrated(void **state)
{
    (void)state;
    struct fake f;
    make_version_1();
    for (int i = 0; i < 2; i++) { /* the second time there is nothing to do */
        fake_init(&f, path);
        assert_int_equal(controller_get_state(f.c, NULL), CONTROLLER_RUNNING);
        json_t *obj = fake_api(&f, "GET", NET, NULL);
        assert_string_equal(js(obj, "name"), "old");
        json_decref(obj);
        obj = fake_api(&f, "GET", NET "/member/0000000001", NULL);
        assert_string_equal(js(obj, "name"), "m");
        json_decref(obj);
        assert_int_equal(fake_status(&f, "POST", NET "/member/0000000002", "{}"), 200);
        fake_done(&f);
    }
}

/* ---- backup ---- */

static void on_backup(void *ctx, int error)
{
    *(int *)ctx = error;
}

static int backup_to(struct fake *f, const char *to)
{
    int result = 1;
    controller_backup(f->c, to, on_backup, &result);
    while (result == 1) {
        controller_wait(f->c, 1000);
        controller_poll(f->c, f->now_ms);
    }
    return result;
}

/* CTL-121: a copy taken while changes are on their way has all that was acknowledged before. */
static void test_backup_is_a_store(void **state)
{
    (void)state;
    char to[160];
    struct fake f;
    snprintf(to, sizeof(to), "%s.backup", path);
    fake_db_remove(to);
    fake_init(&f, path);
    fake_network(&f, "{\"private\":false}");
    for (uint64_t i = 1; i < 50; i++) {
        fake_request(&f, FAKE_NWID, i, NULL);
    }
    json_t *before = dump(&f);
    if (on_postgres) { /* a server has its own means */
        assert_int_equal(backup_to(&f, to), -EOPNOTSUPP);
        json_decref(before);
        fake_done(&f);
        return;
    }
    struct inetaddr from = {.family = INETADDR_NIL};
    struct identity id = fake_member(77);
    controller_request(f.c, FAKE_NWID, &from, 1, &id, NULL, 0, f.now_ms);
    assert_int_equal(backup_to(&f, to), 0);
    assert_int_equal(backup_to(&f, to), -EEXIST); /* never over another one */
    fake_done(&f);
    struct stat st;
    assert_int_equal(stat(to, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
    struct fake g;
    fake_init(&g, to);
    assert_int_equal(controller_get_state(g.c, NULL), CONTROLLER_RUNNING);
    assert_int_equal(fake_status(&g, "GET", NET "/member/000000004d", NULL), 200);
    assert_int_equal(fake_status(&g, "DELETE", NET "/member/000000004d", NULL), 200);
    json_t *after = dump(&g);
    assert_true(json_equal(before, after));
    json_decref(before);
    json_decref(after);
    fake_done(&g);
    fake_db_remove(to);
}

/* ---- kill ---- */

/* What a child tells its parent. */
struct told {
    uint32_t member;
    uint32_t name;  /* that was acknowledged, or */
    uint32_t octet; /* of the address that the member was sent, 0 none */
};

enum { KILL_MEMBERS = 50 };

/* Child: change things as fast as possible, telling what was acknowledged and what members got. */
static void kill_child(int fd, uint64_t seed)
{
    struct fake f;
    fake_init(&f, path);
    for (uint64_t i = 0;; i++) {
        struct told told = {.member = (uint32_t)(hash_mix(i, seed) % KILL_MEMBERS + 1)};
        if (hash_mix(i, seed + 1000) % 2 == 0) {
            char name[80];
            char body[64];
            told.name = (uint32_t)i + 1;
            snprintf(name, sizeof(name), "%s/member/%010x", NET, told.member);
            snprintf(body, sizeof(body), "{\"name\":\"%u\"}", told.name);
            if (fake_status(&f, "POST", name, body) != 200) {
                _exit(1);
            }
        } else {
            struct netconf conf;
            fake_clear(&f);
            f.now_ms += 1100;
            fake_request(&f, FAKE_NWID, told.member, NULL);
            fake_config(&f, told.member, &conf);
            told.octet = conf.addresses[0].ip[3];
            netconf_free(&conf);
        }
        if (write(fd, &told, sizeof(told)) != sizeof(told)) {
            _exit(1);
        }
    }
}

/* What was told up to the kill, of all rounds. */
struct ledger {
    uint32_t name[KILL_MEMBERS + 1];  /* of the running round, 0 none */
    uint32_t octet[KILL_MEMBERS + 1]; /* 0 none */
    uint32_t owner[256];              /* by octet */
};

/* Let a child work and kill it after so many messages. */
static void kill_round(struct ledger *ledger, uint64_t seed, size_t limit)
{
    int fds[2];
    assert_int_equal(pipe(fds), 0);
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        close(fds[0]);
        kill_child(fds[1], seed);
    }
    close(fds[1]);
    struct told told;
    size_t seen = 0;
    memset(ledger->name, 0, sizeof(ledger->name));
    while (read(fds[0], &told, sizeof(told)) == sizeof(told)) {
        if (told.octet != 0) {
            uint32_t owner = ledger->owner[told.octet];
            assert_true(owner == 0 || owner == told.member); /* nobody else ever had it */
            assert_true(ledger->octet[told.member] == 0 ||
                        ledger->octet[told.member] == told.octet);
            ledger->owner[told.octet] = told.member;
            ledger->octet[told.member] = told.octet;
        } else {
            ledger->name[told.member] = told.name;
        }
        if (++seen == limit) {
            kill(pid, SIGKILL);
        }
    }
    close(fds[0]);
    int status;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFSIGNALED(status));
    assert_true(seen >= limit);
}

/* CTL-70, CTL-93: a killed process loses no acknowledged change and no address it gave out */
static void test_kill_loses_nothing_told(void **state)
{
    (void)state;
    static struct ledger ledger;
    struct fake f;
    memset(&ledger, 0, sizeof(ledger));
    fake_init(&f, path);
    fake_network(&f, "{\"private\":false,\"v4AssignMode\":\"zt\","
                     "\"routes\":[{\"target\":\"10.1.0.0/24\"}],\"ipAssignmentPools\":"
                     "[{\"ipRangeStart\":\"10.1.0.1\",\"ipRangeEnd\":\"10.1.0.60\"}]}");
    fake_done(&f);
    for (size_t round = 0; round < 5; round++) {
        kill_round(&ledger, round + 1, 20 + round * 30);
        if (on_postgres) { /* or the next one waits for the end of the lease */
            pg_server_run("UPDATE panlan_12a402e62e.lease SET until = clock_timestamp()");
        }
        fake_init(&f, path);
        assert_int_equal(controller_get_state(f.c, NULL), CONTROLLER_RUNNING);
        for (uint32_t i = 1; i <= KILL_MEMBERS; i++) {
            char name[80];
            snprintf(name, sizeof(name), "%s/member/%010x", NET, i);
            json_t *obj = fake_api(&f, "GET", name, NULL);
            if (ledger.name[i] !=
                0) { /* the last one told, or one that could not be told any more */
                assert_int_equal(f.status, 200);
                assert_true(strtoul(js(obj, "name"), NULL, 10) >= ledger.name[i]);
            }
            if (ledger.octet[i] != 0) {
                char ip[20];
                const json_t *ips = json_object_get(obj, "ipAssignments");
                snprintf(ip, sizeof(ip), "10.1.0.%u", ledger.octet[i]);
                assert_int_equal(json_array_size(ips), 1);
                assert_string_equal(json_string_value(json_array_get(ips, 0)), ip);
            }
            json_decref(obj);
        }
        fake_done(&f);
    }
}

/* ---- the store itself, over a backend that fails when told ---- */

struct flaky {
    struct store_backend backend;
    volatile int fail; /* commits still to fail */
    unsigned applied;  /* changes committed */
    unsigned batches;
    bool destroyed;
};

static int flaky_open(struct store_backend *b, store_load_fn load, void *ctx, char *why, size_t cap)
{
    (void)b;
    (void)why;
    (void)cap;
    load(ctx, STORE_NETWORK, 1, 0, "{}");
    return 0;
}

static int flaky_apply(struct store_backend *b, const struct store_change *changes, char *why,
                       size_t cap)
{
    struct flaky *flaky = CONTAINER_OF(b, struct flaky, backend);
    if (__atomic_load_n(&flaky->fail, __ATOMIC_SEQ_CST) > 0) {
        __atomic_fetch_sub(&flaky->fail, 1, __ATOMIC_SEQ_CST);
        snprintf(why, cap, "disk is full");
        return -ENOSPC;
    }
    uint64_t last = 0;
    for (; changes != NULL; changes = changes->next) {
        assert_true(changes->node > last); /* in order */
        last = changes->node;
        flaky->applied++;
    }
    flaky->batches++;
    return 0;
}

static void flaky_destroy(struct store_backend *b)
{
    CONTAINER_OF(b, struct flaky, backend)->destroyed = true;
}

static void nothing(void *ctx)
{
    (void)ctx;
}

static void count_load(void *ctx, enum store_kind kind, uint64_t nwid, uint64_t node,
                       const char *text)
{
    (void)kind;
    (void)nwid;
    (void)node;
    (void)text;
    ++*(int *)ctx;
}

struct result {
    unsigned good;
    unsigned failed;
};

static void on_done(void *ctx, int error)
{
    struct result *r = ctx;
    r->good += error == 0 ? 1 : 0;
    r->failed += error != 0 ? 1 : 0;
}

static void submit(struct store *s, uint64_t node, struct result *r)
{
    struct store_tx *tx = store_tx_new();
    assert_non_null(tx);
    if (node != 0) {
        assert_int_equal(store_tx_put(tx, STORE_MEMBER, 1, node, strdup("{}")), 0);
    }
    store_submit(s, tx, r != NULL ? on_done : NULL, r);
}

static void test_failed_commits_are_told_and_tried_again(void **state)
{
    (void)state;
    struct flaky flaky = {
        .backend = {.open = flaky_open, .apply = flaky_apply, .destroy = flaky_destroy}};
    int loaded = 0;
    struct result r = {0, 0};
    struct store *s = store_new(&flaky.backend, count_load, &loaded, nothing, NULL);
    assert_non_null(s);
    while (store_get_state(s, NULL) == STORE_LOADING) {
        store_wait(s, 1000);
        store_poll(s);
    }
    assert_int_equal(loaded, 1);
    __atomic_store_n(&flaky.fail, 1, __ATOMIC_SEQ_CST);
    submit(s, 1, &r);
    while (r.failed == 0) {
        store_wait(s, 1000);
        store_poll(s);
    }
    const char *why = NULL;
    assert_int_equal(store_get_state(s, &why), STORE_READY);
    assert_int_equal(store_backlog(s), 1); /* kept */
    assert_int_equal(store_failures(s), 1);
    submit(s, 2, &r);
    submit(s, 0, &r); /* a barrier without changes */
    while (r.good < 2) {
        store_wait(s, 1000);
        store_poll(s);
    }
    assert_int_equal(flaky.applied, 2);
    assert_int_equal(store_backlog(s), 0);
    store_get_state(s, &why);
    assert_null(why);
    assert_int_equal(r.failed, 1); /* told once each */
    assert_int_equal(store_free(s), 0);
    assert_true(flaky.destroyed);
}

static void test_stop_with_failing_disk(void **state)
{
    (void)state;
    struct flaky flaky = {
        .backend = {.open = flaky_open, .apply = flaky_apply, .destroy = flaky_destroy},
        .fail = 1000};
    int loaded = 0;
    struct result r = {0, 0};
    struct store *s = store_new(&flaky.backend, count_load, &loaded, nothing, NULL);
    assert_non_null(s);
    submit(s, 1, &r);
    submit(s, 2, NULL);
    assert_int_equal(store_free(s), -ENOSPC);
    assert_int_equal(r.failed, 1);
    assert_true(flaky.destroyed);
}

/* A disk that takes everything, or nothing. */
static int full_apply(struct store_backend *b, const struct store_change *changes, char *why,
                      size_t cap)
{
    struct flaky *flaky = CONTAINER_OF(b, struct flaky, backend);
    (void)changes;
    snprintf(why, cap, "disk is full");
    return __atomic_load_n(&flaky->fail, __ATOMIC_SEQ_CST) > 0 ? -ENOSPC : 0;
}

static uint64_t backlog_of(const struct fake *f)
{
    struct controller_counts counts;
    controller_get_counts(f->c, &counts);
    return counts.store_backlog;
}

/* A disk that takes nothing: neither strangers nor members that are seen fill the memory. */
static void test_a_full_disk_does_not_fill_the_memory(void **state)
{
    (void)state;
    struct flaky flaky = {
        .backend = {.open = flaky_open, .apply = full_apply, .destroy = flaky_destroy}};
    struct fake f;
    fake_init_backend(&f, &flaky.backend);
    fake_network(&f, "{\"private\":false}");
    uint64_t member = UINT64_C(0xaabbccddee);
    fake_request(&f, FAKE_NWID, member, NULL);
    assert_non_null(fake_last(&f, FAKE_CONFIG, member));
    __atomic_store_n(&flaky.fail, 1, __ATOMIC_SEQ_CST);
    struct inetaddr from = {.family = INETADDR_V4, .ip = {192, 0, 2, 1}, .port = 9993};
    for (uint64_t i = 0; i < 25000; i++) {
        struct identity id = fake_member(0x1000000000 + i);
        from.ip[2] = (uint8_t)i; /* of one IP not so many would be answered */
        controller_request(f.c, FAKE_NWID, &from, i + 1, &id, "", 0, f.now_ms);
    }
    uint64_t full = backlog_of(&f);
    assert_in_range(full, 20000, 20100);
    struct identity id = fake_member(member);
    fake_clear(&f);
    for (unsigned i = 0; i < 100; i++) {
        f.now_ms += 11000;
        from.port++;
        controller_request(f.c, FAKE_NWID, &from, 100000 + i, &id, "", 0, f.now_ms);
    }
    assert_int_equal(fake_count(&f, FAKE_CONFIG, member), 100); /* members are served */
    assert_in_range(backlog_of(&f), full, full + 110);          /* the last time stamps issued */
    __atomic_store_n(&flaky.fail, 0, __ATOMIC_SEQ_CST);
    fake_done(&f);
}

int main(void)
{
#define BOTH(test) cmocka_unit_test_setup_teardown(test, setup, teardown)
    const struct CMUnitTest both[] = {
        BOTH(test_everything_survives_a_restart),
        BOTH(test_runtime_and_time_survive),
        BOTH(test_revocations_survive),
        BOTH(test_requests_wait_for_loading),
        BOTH(test_first_answer_waits_for_the_commit),
        BOTH(test_unknown_keys_survive_updates),
        BOTH(test_kill_loses_nothing_told),
        BOTH(test_backup_is_a_store),
    };
#undef BOTH
    const struct CMUnitTest sqlite[] = {
        cmocka_unit_test_setup_teardown(test_damaged_file_is_refused, setup, teardown),
        cmocka_unit_test_setup_teardown(test_foreign_files_are_refused, setup, teardown),
        cmocka_unit_test_setup_teardown(test_file_of_version_1_is_migrated, setup, teardown),
    };
    const struct CMUnitTest none[] = {
        cmocka_unit_test(test_failed_commits_are_told_and_tried_again),
        cmocka_unit_test(test_a_full_disk_does_not_fill_the_memory),
        cmocka_unit_test(test_stop_with_failing_disk),
    };
    int failed = cmocka_run_group_tests_name("SQLite", both, NULL, NULL);
    failed += cmocka_run_group_tests_name("SQLite alone", sqlite, NULL, NULL);
    failed += cmocka_run_group_tests_name("no database", none, NULL, NULL);
    if (pg_server_start()) {
        on_postgres = true;
        failed += cmocka_run_group_tests_name("PostgreSQL", both, NULL, NULL);
        pg_server_stop();
    }
    return failed;
}
