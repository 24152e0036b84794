/* What requests must not cost: signatures, transactions, memory. Source: spec 04 sections 5.2, 11,
 * 12.1 to 12.3, 12.25, 12.28, 12.29. */
#include "fake.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "controller/store.h"

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
    counting.changes[STORE_CONTROLLER] = 0;
    for (unsigned poll = 0; poll < POLLS; poll++) {
        f.now_ms += 60000;
        for (uint64_t i = 1; i <= MEMBERS; i++) {
            (void)ask(&f, i);
            f.now_ms -= 1001;
        }
    }
    assert_int_equal(counts_of(&f).configs_sent, MEMBERS * (POLLS + 1));
    assert_int_equal(counting.changes[STORE_NETWORK], 1);
    assert_int_equal(counting.changes[STORE_MEMBER], MEMBERS);
    assert_int_equal(counting.changes[STORE_RUNTIME], MEMBERS);
    assert_in_range(counting.changes[STORE_CONTROLLER], 1, POLLS);
    fake_done(&f);
}

/* 12.28: strangers who ask again and again cost no transaction either. */
static void test_pending_requests_write_nothing(void **state)
{
    (void)state;
    struct counting counting;
    struct fake f;
    counting_init(&counting, &f);
    fake_network(&f, "{}");
    fake_request(&f, FAKE_NWID, M, NULL);
    fake_run(&f, 10000);
    fake_settle(&f);
    assert_int_equal(counting.changes[STORE_MEMBER], 1);
    unsigned batches = counting.batches;
    for (int i = 0; i < 100; i++) {
        f.now_ms += 4000;
        fake_request(&f, FAKE_NWID, M, NULL);
    }
    assert_int_equal(counts_of(&f).denied, 101);
    assert_int_equal(counting.batches, batches);
    fake_done(&f);
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
        cmocka_unit_test_setup_teardown(test_pushes_without_effect_take_turns, fake_setup,
                                        fake_teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
