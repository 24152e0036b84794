/* Frames do not overtake those of the same flow that were given to the engine, in either direction,
 * as long as the engine is not long about it. Source: spec 09 section 6.8. */
#include "dphost.h"

#include "base/cursor.h"
#include "datapath/dp_priv.h"
#include "wire/mac.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

enum { TYPE = 0x88b5, LEN = 60 };

static struct host h;
static struct remote alice;
static struct remote bob;

static int set_up(void **state)
{
    (void)state;
    host_init(&h, 1);
    remote_init(&alice, 1, SUITE_AES_GMAC_SIV);
    remote_init(&bob, 2, SUITE_AES_GMAC_SIV);
    host_session(&h, &alice, 1432);
    host_session(&h, &bob, 1432);
    host_port(&h, HOST_NWID, NULL, 0);
    host_member(&h, HOST_NWID, bob.address);
    h.is_late = true;
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    host_done(&h);
    remote_done(&alice);
    remote_done(&bob);
    return 0;
}

/* A frame to a remote. */
static void put_out(struct remote *r)
{
    uint8_t frame[ETHERNET_LEN + LEN] = {0};

    mac_put(frame, mac_of_member(HOST_NWID, r->address));
    mac_put(frame + MAC_LEN, mac_of_member(HOST_NWID, HOST_SELF));
    be16_put(frame + 2 * MAC_LEN, TYPE);
    host_send(&h, HOST_NWID, NULL, frame, sizeof(frame));
}

/* A frame from a remote. */
static void put_in(struct remote *r)
{
    static const uint8_t payload[LEN];
    struct wire wire = {0};
    struct packet p;

    packet_frame(r, HOST_NWID, TYPE, payload, sizeof(payload), &p);
    wire_seal(&wire, r, &p, 1432);
    host_receive(&h, &wire, WIRE_SINGLE, 1);
    wire_free(&wire);
}

struct direction {
    void (*put)(struct remote *r);
    const size_t *fast; /* count of what takes the short way */
};

static const struct direction directions[] = {{put_out, &h.sent_count}, {put_in, &h.frame_count}};

/* Is the next frame given? */
static bool is_given(const struct direction *d, struct remote *r)
{
    size_t gifts;
    size_t fast;

    host_clear(&h);
    d->put(r);
    dp_flush(h.dp);
    gifts = h.gift_count;
    fast = *d->fast;
    assert_int_equal(gifts + fast, 1);
    return gifts == 1;
}

static void test_frames_follow_those_that_were_given(void **state)
{
    (void)state;
    for (size_t i = 0; i < 2; i++) {
        const struct direction *d = &directions[i];

        assert_true(is_given(d, &alice)); /* no member yet */
        host_member(&h, HOST_NWID, alice.address);
        assert_true(is_given(d, &alice)); /* the first one is under way */
        h.taken = h.given - 1;
        assert_true(is_given(d, &alice)); /* the second */
        assert_false(is_given(d, &bob));  /* another's are not its concern */
        h.taken = h.given;
        assert_false(is_given(d, &alice));
        h.taken = 0;
        assert_false(is_given(d, &alice)); /* nothing was given since */
        dp_member_withdraw(dp_port_find(h.pub, HOST_NWID), alice.address);
    }
}

/* Who sends faster than the engine can go would never get away from it. */
static void test_they_do_not_follow_for_ever(void **state)
{
    (void)state;
    for (size_t i = 0; i < 2; i++) {
        const struct direction *d = &directions[i];

        h.now_ms += 2 * (int64_t)DP_HOLD_PAUSE_MS;
        assert_true(is_given(d, &alice));
        host_member(&h, HOST_NWID, alice.address);
        for (unsigned ms = 0; ms < DP_HOLD_MS; ms++) {
            assert_true(is_given(d, &alice));
            h.now_ms++;
        }
        assert_false(is_given(d, &alice));
        h.now_ms += DP_HOLD_PAUSE_MS / 2;
        assert_false(is_given(d, &alice));
        h.now_ms += DP_HOLD_PAUSE_MS / 2;
        assert_true(is_given(d, &alice)); /* the engine did not move in a whole second */
        h.taken = h.given;
        dp_member_withdraw(dp_port_find(h.pub, HOST_NWID), alice.address);
    }
}

/* Nor does what is given overtake what the turn has done before it. */
static void test_what_was_there_before_leaves_before(void **state)
{
    struct wire wire = {0};
    struct packet p;
    static const uint8_t payload[LEN];

    (void)state;
    put_out(&bob);
    assert_int_equal(h.sent_count, 0); /* waits for the end of the turn */
    put_out(&alice);
    assert_int_equal(h.sent_count, 1);
    assert_int_equal(h.gift_count, 1);
    packet_frame(&bob, HOST_NWID, TYPE, payload, sizeof(payload), &p);
    wire_seal(&wire, &bob, &p, 1432);
    packet_frame(&alice, HOST_NWID, TYPE, payload, sizeof(payload), &p);
    wire_seal(&wire, &alice, &p, 1432);
    host_receive(&h, &wire, WIRE_SINGLE, 2);
    assert_int_equal(h.frame_count, 1);
    assert_int_equal(h.gift_count, 2);
    wire_free(&wire);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_frames_follow_those_that_were_given, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(test_they_do_not_follow_for_ever, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_what_was_there_before_leaves_before, set_up,
                                        tear_down),
    };

    return cmocka_run_group_tests_name("dp_order", tests, NULL, NULL);
}
