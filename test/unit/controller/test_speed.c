/* What requests must not cost: signatures, transactions, memory. Source: spec 04 sections 5.2, 11,
 * 12.1 to 12.3, 12.25, 12.28, 12.29. */
#include "fake.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/cursor.h"
#include "controller/store.h"

#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define NET    "/controller/network/12a402e62ed49ba9"
#define M      UINT64_C(0xaabbccddee)
#define MEMBER NET "/member/aabbccddee"
#define ROUTED                                                                                     \
    "{\"private\":false,\"routes\":[{\"target\":\"10.9.0.0/24\"}],\"v4AssignMode\":\"zt\","        \
    "\"ipAssignmentPools\":[{\"ipRangeStart\":\"10.9.0.1\",\"ipRangeEnd\":\"10.9.0.254\"}]}"

static struct controller_counts counts_of(const struct fake *f)
{
    struct controller_counts counts;
    controller_get_counts(f->c, &counts);
    return counts;
}

/* A request at the present time. Returns the time stamp of the configuration it got. */
static uint64_t ask(struct fake *f, uint64_t address)
{
    struct netconf conf;
    fake_clear(f);
    fake_request(f, FAKE_NWID, address, NULL);
    fake_config(f, address, &conf);
    uint64_t ts = conf.timestamp;
    assert_int_equal(conf.com->qualifiers[0].value, ts);
    netconf_free(&conf);
    return ts;
}

/* 12.29: credentials are given again for less than a minute, with their time stamp. */
static void test_credentials_are_reused_for_a_minute(void **state)
{
    struct fake *f = *state;
    fake_network(f, ROUTED);
    uint64_t first = ask(f, M); /* fake_request lets 1001 ms pass */
    assert_int_equal(counts_of(f).signatures, 2);
    for (int i = 0; i < 5; i++) {
        assert_int_equal(ask(f, M), first);
    }
    f->now_ms += 60000 - 6 * 1001 - 1;
    assert_int_equal(ask(f, M), first); /* 59999 ms old */
    assert_int_equal(counts_of(f).configs_reused, 6);
    assert_int_equal(counts_of(f).signatures, 2);
    assert_true(ask(f, M) > first);
    assert_int_equal(counts_of(f).signatures, 4);
}

/* 12.29: anything that changes ends it. */
static void test_no_reuse_after_a_change(void **state)
{
    static const struct {
        const char *method;
        const char *path;
        const char *body;
    } changes[] = {
        {"POST", NET, "{\"name\":\"another\"}"},
        {"POST", NET, "{\"rules\":[{\"type\":\"ACTION_DROP\"}]}"},
        {"POST", NET, "{\"authTokens\":{\"a\":0}}"}, /* the revision is in the configuration */
        {"POST", MEMBER, "{\"ipAssignments\":[\"10.9.0.77\"]}"},
        {"POST", MEMBER, "{\"tags\":[[1,2]]}"},
        {"POST", NET "/member/0000000002", "{\"authorized\":true,\"activeBridge\":true}"},
    };
    struct fake *f = *state;
    fake_network(f, ROUTED);
    uint64_t last = ask(f, M);
    for (size_t i = 0; i < COUNT_OF(changes); i++) {
        assert_int_equal(ask(f, M), last);
        assert_int_equal(fake_status(f, changes[i].method, changes[i].path, changes[i].body), 200);
        uint64_t ts = ask(f, M);
        assert_true(ts > last);
        last = ts;
    }
}

/* 12.29: never across a revocation of the member, by whatever it came. */
static void test_no_reuse_across_a_revocation(void **state)
{
    struct fake *f = *state;
    fake_network(f, "{}");
    fake_status(f, "POST", MEMBER, "{\"authorized\":true}");
    uint64_t first = ask(f, M);
    fake_status(f, "POST", MEMBER, "{\"authorized\":false}");
    fake_run(f, 50); /* the revocation leaves */
    const struct fake_sent *s = fake_last(f, FAKE_REVOCATIONS, M);
    assert_non_null(s);
    uint64_t threshold = s->revs[0].threshold;
    assert_true(threshold >= first);
    fake_status(f, "POST", MEMBER, "{\"authorized\":true}");
    assert_true(ask(f, M) > threshold);

    uint64_t second = ask(f, M);
    assert_int_equal(fake_status(f, "DELETE", MEMBER, NULL), 200);
    fake_status(f, "POST", MEMBER, "{\"authorized\":true}");
    assert_true(ask(f, M) > second);

    second = ask(f, M);
    assert_int_equal(fake_status(f, "DELETE", NET, NULL), 200);
    fake_network(f, "{}");
    fake_status(f, "POST", MEMBER, "{\"authorized\":true}");
    assert_true(ask(f, M) > second);
}

/* A member whose key was forgotten and that comes with another one gets certificates of it. */
static void test_no_reuse_for_another_key(void **state)
{
    struct fake *f = *state;
    fake_network(f, "{\"private\":false}");
    uint64_t first = ask(f, M);
    assert_int_equal(fake_status(f, "DELETE", MEMBER, NULL), 200);
    struct identity id = fake_member(M);
    id.pub[0] ^= 1;
    struct netconf_meta meta = netconf_meta_default();
    fake_clear(f);
    fake_request_meta(f, FAKE_NWID, &id, &meta);
    struct netconf conf;
    fake_config(f, M, &conf);
    assert_true(conf.timestamp > first);
    netconf_free(&conf);
}

/* ---- transactions ---- */

/* A store that counts. */
struct counting {
    struct store_backend backend;
    unsigned changes[STORE_KINDS];
    unsigned batches;
};

static int counting_open(struct store_backend *b, store_load_fn load, void *ctx, char *why,
                         size_t cap)
{
    (void)b, (void)load, (void)ctx, (void)why, (void)cap;
    return 0;
}

static int counting_apply(struct store_backend *b, const struct store_change *changes, char *why,
                          size_t cap)
{
    struct counting *counting = CONTAINER_OF(b, struct counting, backend);
    (void)why, (void)cap;
    for (; changes != NULL; changes = changes->next) {
        counting->changes[changes->kind]++;
    }
    counting->batches++;
    return 0;
}

static void counting_destroy(struct store_backend *b)
{
    (void)b;
}

/* All changes but those of the highest time stamp. */
static unsigned changes_of(const struct counting *counting)
{
    unsigned sum = 0;
    for (int kind = 0; kind < STORE_KINDS; kind++) {
        sum += kind != STORE_CONTROLLER ? counting->changes[kind] : 0;
    }
    return sum;
}

static void counting_init(struct counting *counting, struct fake *f)
{
    *counting = (struct counting){
        .backend = {.open = counting_open, .apply = counting_apply, .destroy = counting_destroy}};
    fake_init_backend(f, &counting->backend);
}

/* Section 11: no SQL on the path of an unchanged request; what remains is the highest time stamp,
 * every 10 s at most for all members together, and when members were seen, every 10 minutes. */
static void test_unchanged_requests_write_nothing(void **state)
{
    enum { MEMBERS = 50, POLLS = 9 };
    (void)state;
    struct counting counting;
    struct fake f;
    counting_init(&counting, &f);
    fake_network(&f, ROUTED);
    for (uint64_t i = 1; i <= MEMBERS; i++) {
        (void)ask(&f, i);
        f.now_ms -= 1001;
    }
    assert_int_equal(counting.changes[STORE_MEMBER], MEMBERS);
    assert_int_equal(counting.changes[STORE_RUNTIME], MEMBERS);
    unsigned changes = changes_of(&counting);
    counting.changes[STORE_CONTROLLER] = 0;
    for (unsigned poll = 0; poll < POLLS; poll++) {
        f.now_ms += 60000;
        for (uint64_t i = 1; i <= MEMBERS; i++) {
            (void)ask(&f, i);
            f.now_ms -= 1001;
        }
    }
    assert_int_equal(counts_of(&f).configs_sent, MEMBERS * (POLLS + 1));
    assert_int_equal(changes_of(&counting), changes);
    assert_in_range(counting.changes[STORE_CONTROLLER], 1, POLLS);
    fake_done(&f);
}

/* 12.3, 12.28: strangers who ask again and again cost one transaction. */
static void test_pending_requests_write_nothing(void **state)
{
    (void)state;
    struct counting counting;
    struct fake f;
    counting_init(&counting, &f);
    fake_network(&f, "{}");
    fake_request(&f, FAKE_NWID, M, NULL);
    fake_run(&f, 5000);
    fake_settle(&f);
    assert_int_equal(counting.changes[STORE_MEMBER], 0); /* it asked once */
    fake_request(&f, FAKE_NWID, M, NULL);
    fake_run(&f, 5000);
    fake_settle(&f);
    assert_int_equal(counting.changes[STORE_MEMBER], 1);
    unsigned batches = counting.batches;
    for (int i = 0; i < 100; i++) {
        f.now_ms += 4000;
        fake_request(&f, FAKE_NWID, M, NULL);
    }
    assert_int_equal(counts_of(&f).denied, 102);
    assert_int_equal(counting.batches, batches);
    fake_done(&f);
}

/* ---- floods: CTL-81, 12.1 to 12.3 ---- */

/* A node asks; nothing but memory and clock of the test matter. Returns true if it was answered. */
static bool flood(struct fake *f, uint64_t nwid, uint64_t address, uint32_t ip)
{
    struct identity id = fake_member(address);
    struct inetaddr from = {.family = INETADDR_V4, .port = 9993};
    size_t sent = f->sent_count;
    be32_put(from.ip, ip);
    controller_request(f->c, nwid, &from, ++f->request, &id, "", 0, f->now_ms);
    bool answered = f->sent_count > sent;
    if (f->sent_count > 1000) {
        fake_clear(f);
    }
    return answered;
}

/* Bytes in use. 0 where malloc is not the C library's. */
static size_t allocated(void)
{
    struct mallinfo2 info = mallinfo2();
    return info.uordblks + info.hblkhd;
}

/* Random networks, random addresses: bounded memory, nothing stored, members served. */
static void test_flood_of_random_requests(void **state)
{
    enum { FLOOD = 100000 };
    (void)state;
    struct counting counting;
    struct fake f;
    counting_init(&counting, &f);
    fake_network(&f, "{}");
    fake_status(&f, "POST", MEMBER, "{\"authorized\":true}");
    (void)ask(&f, M);
    size_t before = allocated();
    unsigned changes = counting.changes[STORE_MEMBER];
    unsigned served = 0;
    for (uint32_t i = 0; i < FLOOD; i++) {
        uint64_t nwid = i % 4 == 0 ? FAKE_NWID : FAKE_ADDRESS << 24 | i;
        (void)flood(&f, nwid, UINT64_C(0x2000000000) + i, i);
        if (i % 1000 == 0) {
            fake_clear(&f);
            served += flood(&f, FAKE_NWID, M, 1) && fake_last(&f, FAKE_CONFIG, M) != NULL;
            f.now_ms += 1000;
        }
    }
    fake_clear(&f);
    assert_int_equal(served, FLOOD / 1000);
    assert_int_equal(counts_of(&f).members, CONTROLLER_PENDING_MAX + 1);
    fake_settle(&f);
    assert_int_equal(counting.changes[STORE_MEMBER], changes + 1); /* no versions in its requests */
    assert_in_range(counting.changes[STORE_RUNTIME], 1, 2);        /* another source */
    assert_true(allocated() < before + 2000000);
    fake_done(&f);
}

/* Strangers who ask on are written, but no faster than some of them at a time. */
static void test_flood_is_written_slowly(void **state)
{
    enum { NODES = 1000, SECONDS = 30 };
    (void)state;
    struct counting counting;
    struct fake f;
    counting_init(&counting, &f);
    fake_network(&f, "{}");
    for (uint32_t second = 0; second < SECONDS; second++) {
        for (uint32_t i = 0; i < NODES; i++) { /* a new thousand each ten seconds */
            (void)flood(&f, FAKE_NWID, UINT64_C(0x2000000000) + second / 10 * NODES + i, i);
        }
        fake_run(&f, 1050);
    }
    fake_settle(&f);
    /* Written and, by half, removed for others. */
    assert_in_range(counting.changes[STORE_MEMBER], NODES, SECONDS * 256);
    assert_int_equal(counts_of(&f).members, NODES);
    fake_done(&f);
}

/* One node, and all nodes of one IP, get only so many answers, whatever they ask for. */
static void test_refusals_are_limited(void **state)
{
    struct fake *f = *state;
    fake_network(f, "{}");
    fake_status(f, "POST", MEMBER, "{\"authorized\":true}");
    unsigned answers = 0;
    for (uint32_t i = 0; i < 10000; i++) { /* in 10 s */
        f->now_ms += 1;
        answers += flood(f, FAKE_ADDRESS << 24 | (i + 1), 7, i);
    }
    assert_in_range(answers, 128, 128 + 10000 / 31 + 1);
    answers = 0;
    for (uint32_t i = 0; i < 10000; i++) {
        answers += flood(f, FAKE_NWID, UINT64_C(0x3000000000) + i, 0x0a000001);
    }
    assert_int_equal(answers, 2048);
    assert_true(flood(f, FAKE_NWID, 8, 0x0a000002));  /* another IP */
    assert_false(flood(f, FAKE_NWID, 9, 0x0a000001)); /* the same */
    assert_true(flood(f, FAKE_NWID, M, 0x0a000001));  /* but a member */
    f->now_ms += CONTROLLER_REQUEST_GAP_MS + 1;
    assert_true(flood(f, FAKE_NWID, 9, 0x0a000001));
}

/* ---- long turns ---- */

/* 12.25: a change that is in nobody's configuration is looked at in pieces, so that requests that
 * come meanwhile do not wait for all members. */
static void test_pushes_without_effect_take_turns(void **state)
{
    enum { MEMBERS = 1000 };
    struct fake *f = *state;
    fake_network(f, "{\"private\":false}");
    for (uint64_t i = 1; i <= MEMBERS; i++) {
        (void)ask(f, i);
        f->now_ms -= 1001;
    }
    fake_clear(f);
    fake_status(f, "POST", NET, "{\"authTokens\":{\"x\":0}}");
    f->now_ms += CONTROLLER_PUSH_DELAY_MS;
    unsigned turns = 0;
    uint64_t last = 0;
    while (counts_of(f).pushes_skipped < MEMBERS) {
        assert_in_range(controller_deadline(f->c), 0, f->now_ms); /* goes on at once */
        controller_tick(f->c, f->now_ms);
        uint64_t skipped = counts_of(f).pushes_skipped;
        assert_in_range(skipped - last, 1, 100);
        last = skipped;
        turns++;
    }
    assert_true(turns >= 10);
    assert_int_equal(f->sent_count, 0);
}

/* What the API answered. */
struct answer {
    unsigned status;
    json_t *obj;
};

static void on_answer(void *ctx, unsigned status, const char *body, size_t len)
{
    struct answer *a = ctx;
    a->status = status;
    a->obj = len > 0 ? json_loadb(body, len, 0, NULL) : NULL;
}

static void get(struct fake *f, const char *path, const char *query, struct answer *ret)
{
    const struct controller_api_request request = {.method = "GET", .path = path, .query = query};
    *ret = (struct answer){0};
    controller_api(f->c, &request, f->now_ms, on_answer, ret);
}

/* A list of all members is put together in turns; who is removed meanwhile is left out (12.32). */
static void test_long_lists_take_turns(void **state)
{
    enum { MEMBERS = 1000 };
    static const char path[] = "/unstable" NET "/member";
    struct fake *f = *state;
    struct answer a;
    fake_network(f, "{\"private\":false}");
    for (uint64_t i = 1; i <= MEMBERS; i++) {
        (void)ask(f, i);
        f->now_ms -= 1001;
    }
    get(f, path, "limit=100", &a); /* a page comes at once */
    assert_int_equal(a.status, 200);
    assert_int_equal(json_array_size(json_object_get(a.obj, "data")), 100);
    assert_string_equal(js(json_object_get(a.obj, "meta"), "nextCursor"), "0000000064");
    json_decref(a.obj);
    get(f, path, NULL, &a);
    assert_int_equal(a.status, 0);
    assert_int_equal(fake_status(f, "DELETE", NET "/member/00000003e8", NULL), 200);
    unsigned turns = 0;
    for (; a.status == 0; turns++) {
        f->now_ms++;
        assert_in_range(controller_deadline(f->c), 0, f->now_ms);
        controller_tick(f->c, f->now_ms);
    }
    assert_in_range(turns, 5, 20);
    assert_int_equal(a.status, 200);
    const json_t *data = json_object_get(a.obj, "data");
    assert_int_equal(json_array_size(data), MEMBERS - 1);
    for (size_t i = 0; i < MEMBERS - 1; i++) {
        char address[11];
        snprintf(address, sizeof(address), "%010zx", i + 1);
        assert_string_equal(js(json_array_get(data, i), "id"), address);
        assert_non_null(json_object_get(json_array_get(data, i), "live"));
    }
    const json_t *meta = json_object_get(a.obj, "meta");
    assert_int_equal(ji(meta, "totalCount"), MEMBERS);
    assert_int_equal(ji(meta, "authorizedCount"), MEMBERS);
    assert_null(json_object_get(meta, "nextCursor"));
    json_decref(a.obj);
}

/* A controller that ends answers what it was asked. */
static void test_long_list_at_the_end(void **state)
{
    struct fake *f = *state;
    struct answer a;
    fake_network(f, "{\"private\":false}");
    for (uint64_t i = 1; i <= 500; i++) {
        (void)ask(f, i);
        f->now_ms -= 1001;
    }
    get(f, "/unstable" NET "/member", NULL, &a);
    assert_int_equal(a.status, 0);
    fake_restart(f);
    assert_int_equal(a.status, 503);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_credentials_are_reused_for_a_minute, fake_setup,
                                        fake_teardown),
        cmocka_unit_test_setup_teardown(test_no_reuse_after_a_change, fake_setup, fake_teardown),
        cmocka_unit_test_setup_teardown(test_no_reuse_across_a_revocation, fake_setup,
                                        fake_teardown),
        cmocka_unit_test_setup_teardown(test_no_reuse_for_another_key, fake_setup, fake_teardown),
        cmocka_unit_test(test_unchanged_requests_write_nothing),
        cmocka_unit_test(test_pending_requests_write_nothing),
        cmocka_unit_test(test_flood_of_random_requests),
        cmocka_unit_test(test_flood_is_written_slowly),
        cmocka_unit_test_setup_teardown(test_refusals_are_limited, fake_setup, fake_teardown),
        cmocka_unit_test_setup_teardown(test_pushes_without_effect_take_turns, fake_setup,
                                        fake_teardown),
        cmocka_unit_test_setup_teardown(test_long_lists_take_turns, fake_setup, fake_teardown),
        cmocka_unit_test_setup_teardown(test_long_list_at_the_end, fake_setup, fake_teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
