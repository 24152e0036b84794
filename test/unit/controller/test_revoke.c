/* Revocations: merged per destination, at most one packet a second, repeated, handed to members
 * served later (spec 04 section 4.12; CTL-74 to CTL-77). */
#include "fake.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define NET "/controller/network/12a402e62ed49ba9"

static int setup(void **state)
{
    struct fake *f = malloc(sizeof(*f));
    assert_non_null(f);
    fake_init(f, NULL);
    fake_network(f, "{}");
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    fake_done(*state);
    free(*state);
    return 0;
}

static void member(struct fake *f, uint64_t address, const char *body)
{
    char path[80];
    snprintf(path, sizeof(path), "%s/member/%010llx", NET, (unsigned long long)address);
    assert_int_equal(fake_status(f, "POST", path, body), 200);
}

/* Members 1 to n, authorized and online. */
static void members(struct fake *f, uint64_t n)
{
    for (uint64_t i = 1; i <= n; i++) {
        member(f, i, "{\"authorized\":true}");
        fake_request(f, FAKE_NWID, i, NULL);
        f->now_ms -= 1001;
    }
    f->now_ms += 1001;
    fake_clear(f);
}

/* Distinct targets a destination was told, and that packets keep their distance. */
static size_t told(const struct fake *f, uint64_t dest, bool targets[1024])
{
    int64_t last = INT64_MIN;
    size_t n = 0;
    memset(targets, 0, 1024 * sizeof(*targets));
    for (size_t i = 0; i < f->sent_count; i++) {
        const struct fake_sent *s = &f->sent[i];
        if (s->kind != FAKE_REVOCATIONS || s->dest != dest) {
            continue;
        }
        assert_true(last == INT64_MIN || s->now_ms - last >= 1000);
        last = s->now_ms;
        for (size_t k = 0; k < s->rev_count; k++) {
            assert_int_equal(revocation_verify(&s->revs[k], &f->identity), 0);
            assert_in_range(s->revs[k].target, 1, 1023);
            n += targets[s->revs[k].target] ? 0 : 1;
            targets[s->revs[k].target] = true;
        }
    }
    return n;
}

/* CTL-74 */
static void test_deauthorization_revokes(void **state)
{
    struct fake *f = *state;
    members(f, 3);
    fake_request(f, FAKE_NWID, 9, NULL); /* a stranger */
    fake_clear(f);
    int64_t wall = f->now_ms + f->wall_offset_ms;
    member(f, 2, "{\"authorized\":false}");
    fake_run(f, 500);
    for (uint64_t dest = 1; dest <= 3; dest++) {
        const struct fake_sent *s = fake_last(f, FAKE_REVOCATIONS, dest);
        assert_non_null(s);
        assert_int_equal(s->rev_count, 1);
        const struct revocation *r = &s->revs[0];
        assert_int_equal(r->network_id, FAKE_NWID);
        assert_int_equal(r->target, 2);
        assert_int_equal(r->type, CREDENTIAL_COM);
        assert_int_equal(r->flags, REVOCATION_FAST);
        assert_int_equal(r->credential_id, 0);
        assert_int_equal(r->threshold, wall);
        assert_int_equal(revocation_signer(r), FAKE_ADDRESS);
        assert_int_equal(revocation_verify(r, &f->identity), 0);
    }
    assert_null(fake_last(f, FAKE_REVOCATIONS, 9));
    fake_clear(f);
    fake_request(f, FAKE_NWID, 2, NULL);
    assert_int_equal(fake_last(f, FAKE_ERROR, 2)->code, ERROR_NETWORK_ACCESS_DENIED);
    /* authorized again at the same instant: the new certificate is above the threshold */
    member(f, 2, "{\"authorized\":true}");
    fake_run(f, 100);
    struct netconf conf;
    fake_config(f, 2, &conf);
    assert_true(conf.timestamp > (uint64_t)wall);
    netconf_free(&conf);
}

static void test_new_certificate_beats_the_threshold_at_once(void **state)
{
    struct fake *f = *state;
    members(f, 2);
    member(f, 2, "{\"authorized\":false}");
    member(f, 2, "{\"authorized\":true}");
    controller_tick(f->c, f->now_ms);
    uint64_t threshold = fake_last(f, FAKE_REVOCATIONS, 1)->revs[0].threshold;
    struct netconf conf;
    fake_config(f, 2, &conf); /* pushed in the same millisecond */
    assert_true(conf.timestamp > threshold);
    netconf_free(&conf);
}

/* CTL-75 */
static void test_ten_within_a_second_reach_everybody(void **state)
{
    struct fake *f = *state;
    bool targets[1024];
    members(f, 40);
    for (uint64_t i = 1; i <= 10; i++) {
        member(f, i, "{\"authorized\":false}");
    }
    fake_run(f, 5000);
    for (uint64_t dest = 11; dest <= 40; dest++) {
        assert_int_equal(told(f, dest, targets), 10);
        assert_in_range(fake_count(f, FAKE_REVOCATIONS, dest), 2, 3);
    }
    /* repeated twice, then done */
    fake_run(f, 30000);
    assert_in_range(fake_count(f, FAKE_REVOCATIONS, 40), 4, 6);
    fake_run(f, 80000);
    size_t all = fake_count(f, FAKE_REVOCATIONS, 40);
    assert_in_range(all, 6, 9);
    assert_int_equal(told(f, 40, targets), 10);
    fake_run(f, 200000);
    assert_int_equal(fake_count(f, FAKE_REVOCATIONS, 40), all);
    assert_true(fake_is_idle(f));
}

/* CTL-76 */
static void test_offline_member_learns_later(void **state)
{
    struct fake *f = *state;
    bool targets[1024];
    members(f, 4);
    f->now_ms += 200000; /* all offline */
    member(f, 1, "{\"authorized\":false}");
    member(f, 2, "{\"authorized\":false}");
    fake_run(f, 1000);
    assert_int_equal(fake_count(f, FAKE_REVOCATIONS, 3), 0);
    fake_request(f, FAKE_NWID, 3, NULL);
    fake_run(f, 10);
    assert_int_equal(told(f, 3, targets), 2);
    assert_int_equal(fake_count(f, FAKE_REVOCATIONS, 3), 1);
    fake_clear(f);
    fake_run(f, 600000); /* the repetitions are over */
    fake_clear(f);
    fake_request(f, FAKE_NWID, 3, NULL);
    fake_run(f, 2000);
    assert_int_equal(fake_count(f, FAKE_REVOCATIONS, 3), 0); /* has them */
    f->now_ms += 3600000;
    fake_request(f, FAKE_NWID, 4, NULL);
    fake_run(f, 2000);
    assert_int_equal(fake_count(f, FAKE_REVOCATIONS, 4), 0); /* too old to matter */
}

/* CTL-77 */
static void test_deleted_network(void **state)
{
    struct fake *f = *state;
    static bool targets[1024];
    members(f, 200);
    assert_int_equal(fake_status(f, "DELETE", NET, NULL), 200);
    fake_run(f, 300000);
    unsigned covered[201] = {0};
    for (uint64_t dest = 1; dest <= 200; dest++) {
        size_t n = told(f, dest, targets);
        assert_true(n >= 80);
        assert_true(fake_count(f, FAKE_REVOCATIONS, dest) <= 2 * (90 / 9 + 3));
        for (size_t i = 1; i <= 200; i++) {
            covered[i] += targets[i] ? 1 : 0;
        }
    }
    for (size_t i = 1; i <= 200; i++) {
        assert_true(covered[i] >= 89);
    }
    assert_true(fake_is_idle(f));
    fake_clear(f);
    fake_request(f, FAKE_NWID, 5, NULL);
    assert_int_equal(fake_last(f, FAKE_ERROR, 5)->code, ERROR_OBJ_NOT_FOUND);
}

static void test_deleted_member(void **state)
{
    struct fake *f = *state;
    members(f, 2);
    assert_int_equal(fake_status(f, "DELETE", NET "/member/0000000002", NULL), 200);
    fake_run(f, 100);
    assert_int_equal(fake_last(f, FAKE_REVOCATIONS, 1)->revs[0].target, 2);
    fake_request(f, FAKE_NWID, 2, NULL); /* does not come back */
    assert_int_equal(fake_last(f, FAKE_ERROR, 2)->code, ERROR_NETWORK_ACCESS_DENIED);
    assert_int_equal(fake_status(f, "GET", NET "/member/0000000002", NULL), 404);
    assert_int_equal(fake_status(f, "POST", NET "/member/0000000002", "{}"), 200);
    fake_clear(f);
    assert_int_equal(fake_status(f, "DELETE", NET "/member/0000000002", NULL), 200);
    fake_run(f, 2000);
    assert_int_equal(fake_count(f, FAKE_REVOCATIONS, 1), 0); /* was not authorized */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_deauthorization_revokes, setup, teardown),
        cmocka_unit_test_setup_teardown(test_new_certificate_beats_the_threshold_at_once, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(test_ten_within_a_second_reach_everybody, setup, teardown),
        cmocka_unit_test_setup_teardown(test_offline_member_learns_later, setup, teardown),
        cmocka_unit_test_setup_teardown(test_deleted_network, setup, teardown),
        cmocka_unit_test_setup_teardown(test_deleted_member, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
