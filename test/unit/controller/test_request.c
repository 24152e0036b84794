/* The request pipeline, configurations and credentials (spec 04 sections 4.2 to 4.11). */
#include "fake.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/dict.h"
#include "base/hex.h"
#include "wire/mac.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define NET    "/controller/network/12a402e62ed49ba9"
#define M      UINT64_C(0xaabbccddee)
#define MEMBER NET "/member/aabbccddee"

static int setup(void **state)
{
    struct fake *f = malloc(sizeof(*f));
    assert_non_null(f);
    fake_init(f, NULL);
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    fake_done(*state);
    free(*state);
    return 0;
}

static enum error_code last_error(const struct fake *f, uint64_t dest)
{
    const struct fake_sent *s = fake_last(f, FAKE_ERROR, dest);
    return s != NULL ? s->code : ERROR_NONE;
}

/* The member asks and gets a configuration, decoded. */
static void get_config(struct fake *f, uint64_t address, struct netconf *ret)
{
    fake_clear(f);
    uint64_t request = fake_request(f, FAKE_NWID, address, NULL);
    const struct fake_sent *s = fake_last(f, FAKE_CONFIG, address);
    assert_non_null(s);
    assert_int_equal(s->request_id, request);
    fake_config(f, address, ret);
}

/* CTL-47, CTL-49, CTL-51 */
static void test_pending_until_authorized(void **state)
{
    struct fake *f = *state;
    uint64_t request = fake_request(f, FAKE_NWID, M, NULL);
    assert_int_equal(last_error(f, M), ERROR_OBJ_NOT_FOUND);
    assert_int_equal(fake_last(f, FAKE_ERROR, M)->request_id, request);
    fake_network(f, "{}");
    fake_request(f, FAKE_NWID, M, NULL);
    assert_int_equal(last_error(f, M), ERROR_NETWORK_ACCESS_DENIED);
    assert_int_equal(f->events[CONTROLLER_MEMBER_PENDING], 1);
    json_t *obj = fake_api(f, "GET", MEMBER, NULL);
    assert_int_equal(strncmp(js(obj, "identity"), "aabbccddee:0:", 13), 0);
    assert_int_equal(ji(obj, "vMajor"), -1);
    assert_int_equal(ji(obj, "revision"), 1);
    json_decref(obj);
    fake_request(f, FAKE_NWID, M, NULL); /* asking again changes nothing */
    obj = fake_api(f, "GET", MEMBER, NULL);
    assert_int_equal(ji(obj, "revision"), 1);
    json_decref(obj);
    fake_clear(f);
    fake_status(f, "POST", MEMBER, "{\"authorized\":true}");
    fake_run(f, 100);
    const struct fake_sent *s = fake_last(f, FAKE_CONFIG, M);
    assert_non_null(s); /* CTL-73: told at once */
    assert_int_equal(s->request_id, 0);
    struct netconf conf;
    get_config(f, M, &conf);
    netconf_free(&conf);
    assert_int_equal(fake_count(f, FAKE_ERROR, M), 0);
    obj = fake_api(f, "GET", MEMBER, NULL);
    assert_int_equal(ji(obj, "vMajor"), 1); /* CTL-54 */
    assert_int_equal(ji(obj, "vMinor"), 14);
    assert_int_equal(ji(obj, "vRev"), 1);
    assert_true(ji(obj, "vProto") > 0);
    json_decref(obj);
}

/* CTL-60: the certificate of membership verifies and binds the member */
static void test_com_verifies(void **state)
{
    struct fake *f = *state;
    fake_network(f, "{}");
    fake_status(f, "POST", MEMBER, "{\"authorized\":true}");
    struct netconf conf;
    get_config(f, M, &conf);
    assert_non_null(conf.com);
    assert_int_equal(conf.com->count, 7);
    assert_int_equal(com_wire_len(conf.com), 272);
    assert_int_equal(com_signer(conf.com), FAKE_ADDRESS);
    assert_int_equal(com_verify(conf.com, &f->identity), 0);
    assert_int_equal(com_value(conf.com, COM_NETWORK), FAKE_NWID);
    assert_int_equal(com_value(conf.com, COM_HOLDER), M);
    assert_int_equal(com_value(conf.com, COM_TIMESTAMP), f->now_ms + f->wall_offset_ms);
    assert_int_equal(com_max_delta(conf.com, COM_TIMESTAMP), 1800000);
    struct identity id = fake_member(M);
    assert_true(com_agrees(conf.com, conf.com, &id));
    struct identity other = fake_member(M + 1);
    other.address = M;
    assert_false(com_agrees(conf.com, conf.com, &other));
    netconf_free(&conf);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_pending_until_authorized, setup, teardown),
        cmocka_unit_test_setup_teardown(test_com_verifies, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
