/* Two instances of one controller on one PostgreSQL: lease, fence, calls that go through the
 * database, a database that crashes (spec 04 sections 5.2, 5.3; CTL-70, CTL-72, CTL-90 to CTL-93).
 */
#include "controller/store.h"
#include "fake.h"
#include "pg_server.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define NET    "/controller/network/12a402e62ed49ba9"
#define SCHEMA "panlan_12a402e62e"

static struct fake a; /* takes the lease first */
static struct fake b; /* stands by */

static void poll_both(void)
{
    controller_wait(a.c, 1);
    controller_poll(a.c, a.now_ms);
    controller_wait(b.c, 1);
    controller_poll(b.c, b.now_ms);
}

static enum controller_state state_of(const struct fake *f)
{
    return controller_get_state(f->c, NULL);
}

static void start_other(int64_t wall_offset_ms)
{
    memset(&b, 0, sizeof(b));
    b.identity = a.identity;
    snprintf(b.path, sizeof(b.path), "%s", a.path);
    b.now_ms = 7000;
    b.wall_offset_ms = wall_offset_ms;
    b.random = 99;
    fake_start(&b);
    while (state_of(&b) != CONTROLLER_STANDBY) {
        poll_both();
    }
}

static int setup(void **state)
{
    (void)state;
    pg_server_run("DROP SCHEMA IF EXISTS " SCHEMA " CASCADE");
    fake_init(&a, pg_server_path());
    assert_int_equal(state_of(&a), CONTROLLER_RUNNING);
    fake_network(&a, "{\"private\":false,\"v4AssignMode\":\"zt\","
                     "\"routes\":[{\"target\":\"10.1.0.0/24\"}],\"ipAssignmentPools\":"
                     "[{\"ipRangeStart\":\"10.1.0.1\",\"ipRangeEnd\":\"10.1.0.126\"}]}");
    start_other(a.wall_offset_ms);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    fake_done(&a);
    fake_done(&b);
    return 0;
}

static long present_epoch(void)
{
    return strtol(pg_server_ask("SELECT epoch FROM " SCHEMA ".lease"), NULL, 10);
}

/* As if the holder of that epoch had been cut off or stopped for longer than its lease. To be
 * repeated, as what it writes meanwhile renews it. */
static void end_lease(long epoch)
{
    char sql[160];
    snprintf(sql, sizeof(sql),
             "UPDATE " SCHEMA ".lease SET until = clock_timestamp() - interval '1 second'"
             " WHERE epoch = %ld",
             epoch);
    pg_server_run(sql);
    pg_server_run("NOTIFY " SCHEMA);
}

static void other_takes_over(void)
{
    long epoch = present_epoch();
    while (state_of(&b) != CONTROLLER_RUNNING) {
        end_lease(epoch);
        controller_wait(b.c, 100);
        controller_poll(b.c, b.now_ms);
    }
}

struct answer {
    bool done;
    unsigned status;
    char name[40];
};

static void on_answer(void *ctx, unsigned status, const char *body, size_t len)
{
    struct answer *answer = ctx;
    assert_false(answer->done);
    answer->done = true;
    answer->status = status;
    json_t *obj = len > 0 ? json_loadb(body, len, 0, NULL) : NULL;
    snprintf(answer->name, sizeof(answer->name), "%s", js(obj, "name"));
    json_decref(obj);
}

static void ask(struct fake *f, const char *method, const char *path, const char *body,
                struct answer *ret)
{
    struct controller_api_request request = {
        .method = method,
        .path = path,
        .body = body,
        .body_len = body != NULL ? strlen(body) : 0,
        .actor = f->actor,
    };
    *ret = (struct answer){.done = false};
    controller_api(f->c, &request, f->now_ms, on_answer, ret);
}

/* CTL-90: only the holder answers members; the other one is silent and says why. */
static void test_one_acts_the_other_stands_by(void **state)
{
    (void)state;
    fake_request(&a, FAKE_NWID, 1, NULL);
    assert_int_equal(fake_count(&a, FAKE_CONFIG, 1), 1);
    struct identity id = fake_member(2);
    struct inetaddr from = {.family = INETADDR_NIL};
    controller_request(b.c, FAKE_NWID, &from, 1, &id, NULL, 0, b.now_ms);
    assert_false(controller_serves(b.c));
    assert_int_equal(b.sent_count, 0);
    json_t *obj = fake_api(&b, "GET", "/controller", NULL);
    assert_int_equal(b.status, 503);
    assert_non_null(strstr(js(obj, "reason"), "standing by"));
    json_decref(obj);
    /* a clean end gives the lease away at once */
    controller_free(a.c, a.now_ms);
    while (state_of(&b) != CONTROLLER_RUNNING) {
        controller_wait(b.c, 1000);
        controller_poll(b.c, b.now_ms);
    }
    fake_request(&b, FAKE_NWID, 1, NULL);
    struct netconf before;
    struct netconf after;
    fake_config(&a, 1, &before);
    fake_config(&b, 1, &after);
    assert_int_equal(before.address_count, 1);
    assert_memory_equal(&before.addresses[0], &after.addresses[0], sizeof(before.addresses[0]));
    netconf_free(&before);
    netconf_free(&after);
    a.c = NULL;
}

/* CTL-91: what a holder writes that does not know yet that it is none any more, is refused */
static void test_stale_holder_writes_nothing(void **state)
{
    (void)state;
    other_takes_over();
    assert_int_equal(fake_status(&b, "POST", NET, "{\"name\":\"by b\"}"), 200);
    assert_int_equal(state_of(&a), CONTROLLER_RUNNING); /* so it thinks */
    fake_clear(&a);
    struct identity id = fake_member(5);
    struct inetaddr from = {.family = INETADDR_NIL};
    controller_request(a.c, FAKE_NWID, &from, 1, &id, NULL, 0, a.now_ms);
    struct answer answer;
    ask(&a, "POST", NET, "{\"name\":\"by a\"}", &answer);
    while (state_of(&a) != CONTROLLER_LOST) {
        poll_both();
    }
    controller_free(a.c, a.now_ms); /* it begins anew, standing by */
    assert_true(answer.done);
    assert_int_equal(answer.status, 503);
    assert_int_equal(a.sent_count, 0); /* the member got no address that is not stored */
    assert_string_equal(pg_server_ask("SELECT doc::json->>'name' FROM " SCHEMA ".network"), "by b");
    assert_string_equal(pg_server_ask("SELECT count(*) FROM " SCHEMA ".member"), "0");
    fake_start(&a);
    while (state_of(&a) != CONTROLLER_STANDBY) {
        poll_both();
    }
}

static void ignore_document(void *ctx, enum store_kind kind, uint64_t nwid, uint64_t node,
                            const char *text)
{
    (void)ctx;
    (void)kind;
    (void)nwid;
    (void)node;
    (void)text;
}

/* CTL-91: the fence itself, with the lease taken away between two transactions */
static void test_fence(void **state)
{
    (void)state;
    char why[512] = "";
    struct store_feed feed = {.stop = true};
    struct store_change change = {.kind = STORE_MEMBER, .nwid = 1, .node = 2, .text = strdup("{}")};
    struct store_backend *backend = store_postgres_new(pg_server_info(), 0x1122334455);
    assert_non_null(backend);
    assert_int_equal(backend->open(backend, ignore_document, NULL, why, sizeof(why)), 0);
    assert_int_equal(backend->apply(backend, &change, why, sizeof(why)), 0);
    static const char *const takeovers[] = {
        "UPDATE panlan_1122334455.lease SET epoch = epoch + 1",
        "UPDATE panlan_1122334455.lease SET epoch = epoch - 1, owner = 'somebody'",
    };
    for (size_t i = 0; i < COUNT_OF(takeovers); i++) {
        pg_server_run(takeovers[i]);
        change.node = 3;
        assert_int_equal(backend->apply(backend, &change, why, sizeof(why)), -ESTALE);
        assert_string_equal(pg_server_ask("SELECT count(*) FROM panlan_1122334455.member"), "1");
    }
    (void)backend->shared->tend(backend, &feed, why, sizeof(why));
    backend->destroy(backend);
    free(change.text);
    assert_string_equal(pg_server_ask("SELECT owner FROM panlan_1122334455.lease"), "somebody");
}

/* CTL-72: the other instance's clock is behind */
static void test_time_stamps_go_on(void **state)
{
    (void)state;
    struct netconf conf;
    uint64_t last = 0;
    controller_set_wall_offset(b.c, a.wall_offset_ms - 12000);
    for (unsigned i = 0; i < 5; i++) {
        a.now_ms += 4000;
        fake_request(&a, FAKE_NWID, 1, NULL);
        fake_config(&a, 1, &conf);
        assert_true(conf.timestamp >= last);
        last = conf.timestamp;
        netconf_free(&conf);
    }
    other_takes_over();
    fake_request(&b, FAKE_NWID, 1, NULL);
    fake_config(&b, 1, &conf);
    assert_true(conf.timestamp >= last);
    netconf_free(&conf);
}

/* CTL-70: a hundred new members while the identity changes hands three times */
static void test_no_address_twice(void **state)
{
    (void)state;
    char sent[200][INETADDR_TEXT_LEN] = {{0}};
    struct fake *on = &a;
    struct fake *off = &b;
    struct inetaddr from = {.family = INETADDR_NIL};
    for (unsigned i = 0; i < 100; i++) {
        struct identity id = fake_member(0x100 + i);
        controller_request(on->c, FAKE_NWID, &from, i + 1, &id, NULL, 0, on->now_ms);
        if (i % 25 == 24) { /* the last ones are on their way to the database, or not */
            long epoch = present_epoch();
            while (state_of(off) != CONTROLLER_RUNNING) {
                end_lease(epoch);
                poll_both();
            }
            while (state_of(on) != CONTROLLER_LOST) {
                poll_both();
            }
            controller_free(on->c, on->now_ms);
            fake_start(on);
            struct fake *next = off;
            off = on;
            on = next;
        }
    }
    for (unsigned i = 0; i < 100; i++) {
        fake_request(on, FAKE_NWID, 0x100 + i, NULL);
    }
    const struct fake *const all[] = {&a, &b};
    for (size_t k = 0; k < 2; k++) {
        for (size_t i = 0; i < all[k]->sent_count; i++) {
            struct netconf conf;
            const struct fake_sent *s = &all[k]->sent[i];
            if (s->kind != FAKE_CONFIG) {
                continue;
            }
            char text[INETADDR_TEXT_LEN];
            assert_int_equal(netconf_decode(s->dict, s->len, &conf), 0);
            fake_ip(&conf, 0, text);
            netconf_free(&conf);
            char *known = sent[s->dest - 0x100];
            assert_true(known[0] == '\0' ||
                        strcmp(known, text) == 0); /* it keeps what it was told */
            snprintf(known, INETADDR_TEXT_LEN, "%s", text);
        }
    }
    for (unsigned i = 0; i < 100; i++) {
        assert_true(sent[i][0] != '\0');
        for (unsigned j = 0; j < i; j++) {
            assert_string_not_equal(sent[i], sent[j]);
        }
    }
}

/* CTL-92: through the instance that stands by, also when the holder's connection is down meanwhile
 */
static void test_calls_reach_the_holder(void **state)
{
    (void)state;
    struct answer answer;
    fake_request(&a, FAKE_NWID, 1, NULL);
    fake_clear(&a);
    b.actor = (struct actor){.kind = ACTOR_CLI,
                             .source = {.family = INETADDR_V4, .ip = {192, 0, 2, 44}, .port = 9}};
    ask(&b, "POST", NET, "{\"name\":\"one\"}", &answer);
    while (!answer.done) {
        poll_both();
    }
    assert_int_equal(answer.status, 200);
    json_t *log = fake_api(&a, "GET", "/controller/log?limit=1", NULL);
    const json_t *entry = json_array_get(json_object_get(log, "data"), 0);
    assert_string_equal(js(json_object_get(entry, "actor"), "kind"), "cli"); /* who asked there */
    assert_string_equal(js(entry, "source"), "192.0.2.44");
    json_decref(log);
    assert_string_equal(answer.name, "one");
    fake_run(&a, 500);
    assert_int_equal(fake_count(&a, FAKE_CONFIG, 1), 1); /* pushed */
    static const char cut[] = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity"
                              " WHERE application_name LIKE 'panlan-%'";
    ask(&b, "GET", NET "/member/0000000001", NULL, &answer);
    pg_server_run(cut);
    pg_server_run("INSERT INTO " SCHEMA ".request(method, path, body)"
                  " VALUES('POST', '" NET "', '{\"name\":\"two\"}')");
    while (strcmp(pg_server_ask("SELECT count(*) FROM " SCHEMA ".request WHERE status IS NULL"),
                  "0") != 0) {
        poll_both();
    }
    while (!answer.done) {
        poll_both();
    }
    assert_true(answer.status == 200 || answer.status == 503); /* as far as it had got */
    ask(&b, "GET", NET, NULL, &answer);
    while (!answer.done) {
        poll_both();
    }
    assert_string_equal(answer.name, "two");
    ask(&b, "POST", NET, "{nonsense", &answer);
    while (!answer.done) {
        poll_both();
    }
    assert_int_equal(answer.status, 500); /* as the holder itself answers it */
}

/* CTL-93: acknowledged changes are there after a crash of the database, and writes go on */
static void test_server_crash_loses_nothing(void **state)
{
    (void)state;
    char name[80];
    for (unsigned i = 0; i < 30; i++) {
        snprintf(name, sizeof(name), "%s/member/%010x", NET, i + 1);
        assert_int_equal(fake_status(&a, "POST", name, "{\"name\":\"kept\"}"), 200);
    }
    pg_server_kill();
    assert_int_equal(fake_status(&a, "POST", NET "/member/00000000aa", "{}"), 503);
    pg_server_restart();
    assert_string_equal(pg_server_ask("SELECT count(*) FROM " SCHEMA ".member WHERE doc LIKE "
                                      "'%\"kept\"%'"),
                        "30");
    while (fake_status(&a, "POST", NET "/member/00000000bb", "{}") != 200) {
    }
    assert_string_equal(pg_server_ask("SELECT count(*) FROM " SCHEMA ".member WHERE node LIKE "
                                      "'00000000__'"),
                        "32"); /* the one in between was tried again */
    assert_int_equal(state_of(&a), CONTROLLER_RUNNING);
}

static void count_document(void *ctx, enum store_kind kind, uint64_t nwid, uint64_t node,
                           const char *text)
{
    (void)nwid;
    (void)node;
    (void)text;
    ((unsigned *)ctx)[kind]++;
}

/* A controller moves from its file to a server: once, with everything, or not at all. */
static void test_schema_begins_with_a_file(void **state)
{
    (void)state;
    char path[128];
    char why[512] = "";
    static struct answer answers[3000];
    struct fake f;
    struct store_feed feed = {.stop = true};
    fake_db_name(path, sizeof(path), "seed");
    fake_init(&f, path);
    fake_network(&f, "{\"private\":false}");
    for (uint64_t i = 1; i <= 3000; i++) {
        char name[80];
        snprintf(name, sizeof(name), NET "/member/%010llx", (unsigned long long)i);
        ask(&f, "POST", name, "{}", &answers[i - 1]);
        if (i % 500 == 0) {
            fake_settle(&f);
        }
    }
    fake_settle(&f);
    fake_done(&f);
    pg_server_run("DROP SCHEMA IF EXISTS panlan_99aabbccdd CASCADE");
    for (int round = 0; round < 2; round++) {
        unsigned counts[STORE_KINDS] = {0};
        struct store_backend *backend = store_postgres_new(pg_server_info(), 0x99aabbccdd);
        assert_non_null(backend);
        store_postgres_seed(backend, store_sqlite_new(path));
        assert_int_equal(backend->open(backend, count_document, counts, why, sizeof(why)), 0);
        assert_int_equal(counts[STORE_NETWORK], 1);
        assert_int_equal(counts[STORE_MEMBER], 3000 - round);
        struct store_change gone = {.kind = STORE_MEMBER, .nwid = FAKE_NWID, .node = 7};
        assert_int_equal(backend->apply(backend, &gone, why, sizeof(why)), 0);
        (void)backend->shared->tend(backend, &feed, why, sizeof(why));
        backend->destroy(backend);
    }
    fake_db_remove(path);
}

static void test_later_schema_is_refused(void **state)
{
    (void)state;
    pg_server_run("UPDATE " SCHEMA ".meta SET value = '99'");
    while (state_of(&b) != CONTROLLER_FAILED) {
        poll_both();
        pg_server_run("NOTIFY " SCHEMA);
    }
    const char *reason = NULL;
    (void)controller_get_state(b.c, &reason);
    assert_non_null(strstr(reason, "newer"));
}

static void test_names_of_stores(void **state)
{
    (void)state;
    static const struct {
        const char *path;
        const char *info; /* NULL: not ours */
    } cases[] = {
        {"postgres:host=/run dbname=x", "host=/run dbname=x"},
        {"postgres://u@h/db", "postgres://u@h/db"},
        {"postgresql://u@h/db", "postgresql://u@h/db"},
        {"postgres:", ""},
        {"/var/lib/postgres", NULL},
        {"", NULL},
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        const char *info = NULL;
        assert_int_equal(store_postgres_owns(cases[i].path, &info), cases[i].info != NULL);
        if (cases[i].info != NULL) {
            assert_string_equal(info, cases[i].info);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_one_acts_the_other_stands_by, setup, teardown),
        cmocka_unit_test_setup_teardown(test_stale_holder_writes_nothing, setup, teardown),
        cmocka_unit_test(test_fence),
        cmocka_unit_test_setup_teardown(test_time_stamps_go_on, setup, teardown),
        cmocka_unit_test_setup_teardown(test_no_address_twice, setup, teardown),
        cmocka_unit_test_setup_teardown(test_calls_reach_the_holder, setup, teardown),
        cmocka_unit_test_setup_teardown(test_server_crash_loses_nothing, setup, teardown),
        cmocka_unit_test(test_schema_begins_with_a_file),
        cmocka_unit_test_setup_teardown(test_later_schema_is_refused, setup, teardown),
    };
    const struct CMUnitTest none[] = {cmocka_unit_test(test_names_of_stores)};
    int failed = cmocka_run_group_tests_name("no database", none, NULL, NULL);
    if (!pg_server_start()) {
        return failed != 0 ? failed : 77; /* skipped */
    }
    failed += cmocka_run_group_tests_name("two instances", tests, NULL, NULL);
    pg_server_stop();
    return failed;
}
