/* Our credentials to others: vectors [credentialPush], CRD-9 (our side), CRD-10, Do better 9, 15,
 * 27; FRM-3, FRM-4, Do better 12. Source: spec 03 sections 7.4 to 7.6. */
#include "bench.h"

#include "wire/vl1msg.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

static const uint8_t payload[60] = {0x45};

static uint64_t address(const struct bench *b, char letter)
{
    return bench_id(b, letter)->address;
}

static void frame_to(struct bench *b, uint64_t nwid, char letter)
{
    vl2_frame(b->vl2, nwid, mac_of_member(nwid, address(b, letter)), vl2_find(b->vl2, nwid)->mac,
              0x0800, payload, sizeof(payload), b->now);
}

static size_t pushes(const struct bench *b)
{
    return bench_count(b, address(b, 'B'), VERB_NETWORK_CREDENTIALS);
}

/* Is every item of one packet somewhere in the other? The vectors have the tags in the order of the
 * controller, ours are sorted. */
static void assert_same_items(const struct sent_packet *p, const uint8_t *want, size_t len)
{
    struct credentials_reader r = credentials_reader_init(rd_init(p->payload, p->len));
    struct credential item;
    uint8_t bytes[2000];
    size_t count = 0;

    assert_int_equal(p->len, len);
    while (credentials_next(&r, &item) == 1) {
        struct wr w = wr_init(bytes, sizeof(bytes));

        if (item.type == CREDENTIAL_COM) {
            com_write(&w, &item.com);
        } else if (item.type == CREDENTIAL_CAPABILITY) {
            capability_write(&w, item.capability);
            capability_free(item.capability);
        } else if (item.type == CREDENTIAL_TAG) {
            tag_write(&w, &item.tag);
        } else {
            ownership_write(&w, &item.ownership);
        }
        assert_non_null(memmem(want, len, bytes, wr_len(&w)));
        count++;
    }
    assert_int_equal(count, 1 + 2 + 3 + 1);
}

static void test_pushes_of_the_vectors(void **state)
{
    struct bench *b = *state;
    const json_t *full = json_array_get(vec_get(b->vectors, "networkConfigs"), 0);
    const json_t *want = json_array_get(
        vec_get(json_array_get(vec_get(b->vectors, "credentialPush"), 0), "sent"), 0);
    uint8_t packet[PACKET_PAYLOAD_MAX];
    const struct sent_packet *p;
    size_t len;
    size_t n;
    uint8_t *text = vec_bytes(full, "dictionary", &len);
    size_t want_len;
    uint8_t *want_bytes = vec_bytes(want, "payload", &want_len);

    bench_join(b, BENCH_NWID);
    n = bench_chunk(b, BENCH_NWID, 3, (const char *)text, len, 0, len, 0, packet, sizeof(packet));
    assert_int_equal(bench_in(b, bench_id(b, 'C'), VERB_NETWORK_CONFIG, packet, n), VL1_DONE);
    bench_clear(b);
    push_on_request(vl2_find(b->vl2, BENCH_NWID), address(b, 'B'), b->now);
    p = bench_sent(b, address(b, 'B'), VERB_NETWORK_CREDENTIALS, 0);
    assert_non_null(p);
    assert_same_items(p, want_bytes, want_len);
    assert_int_equal(p->flags, OUT_COMPRESS);
    free(text);
    free(want_bytes);
}

static void test_nothing_to_push(void **state)
{
    struct bench *b = *state;

    bench_configure(b, &(struct setup){.is_public = true, .no_com = true});
    frame_to(b, BENCH_NWID, 'B');
    push_on_request(vl2_find(b->vl2, BENCH_NWID), address(b, 'B'), b->now);
    assert_int_equal(pushes(b), 0);
    assert_int_equal(bench_count(b, address(b, 'B'), VERB_FRAME), 1);
}

/* CRD-10. */
static void test_when_pushes_are_due(void **state)
{
    struct bench *b = *state;

    bench_configure(b, &(struct setup){0});
    frame_to(b, BENCH_NWID, 'B');
    assert_int_equal(pushes(b), 1); /* first frame */
    assert_ptr_equal(bench_sent(b, 0, VERB_NETWORK_CREDENTIALS, 0), &b->vl1.sent[0]);
    for (int i = 0; i < 50; i++) {
        bench_run(b, 10000);
        frame_to(b, BENCH_NWID, 'B');
        assert_int_equal(pushes(b), 1);
    }
    bench_run(b, 1);
    frame_to(b, BENCH_NWID, 'B');
    assert_int_equal(pushes(b), 2); /* after 500 s */
    bench_run(b, 10);
    bench_configure(b, &(struct setup){.timestamp = BENCH_TIME + 1});
    frame_to(b, BENCH_NWID, 'B');
    bench_run(b, 2000);
    assert_int_equal(pushes(b), 1); /* new configuration */
}

/* CRD-9: never two packets within 1100 ms; one more only for a peer that says it has none. */
static void test_packets_to_one_peer_are_spaced(void **state)
{
    struct bench *b = *state;
    struct test_rng rng = test_rng_init("push spacing");
    uint8_t need[8];
    int64_t asked[400] = {0};
    int64_t last = NEVER;
    size_t early = 0;
    bool was_early = false;

    be64_put(need, BENCH_NWID);
    bench_configure(b, &(struct setup){.tags = 90});
    for (int i = 0; i < 400; i++) {
        bench_run(b, (int64_t)test_rng_below(&rng, 700));
        switch (test_rng_below(&rng, 8)) {
        case 0:
            vl2_find(b->vl2, BENCH_NWID)->conf_changed_ms = b->now;
            break;
        case 1:
            asked[i] = b->now;
            (void)bench_in_error(b, bench_id(b, 'B'), VERB_FRAME, ERROR_NEED_MEMBERSHIP_CERTIFICATE,
                                 need, sizeof(need));
            break;
        default:
            frame_to(b, BENCH_NWID, 'B');
        }
    }
    assert_true(pushes(b) > 20);
    for (size_t i = 0; i < pushes(b); i++) {
        const struct sent_packet *p = bench_sent(b, address(b, 'B'), VERB_NETWORK_CREDENTIALS, i);

        if (last != NEVER && p->at_ms - last < PUSH_SPACING_MS) {
            bool was_asked = false;

            for (size_t k = 0; k < 400; k++) {
                was_asked = was_asked || asked[k] == p->at_ms;
            }
            assert_true(was_asked && !was_early && p->at_ms - last >= 100);
            was_early = true;
            early++;
        } else {
            was_early = false;
        }
        assert_true(p->len <= CREDENTIALS_PAYLOAD_MAX);
        last = p->at_ms;
    }
    assert_true(early > 0);
}

/* What does not fit one packet follows 1100 ms later, certificate first, all of it. */
static void test_large_pushes_come_in_parts(void **state)
{
    struct bench *b = *state;
    bool seen[101] = {false};
    struct credential item;
    size_t coms = 0;

    bench_configure(b, &(struct setup){.tags = 100});
    frame_to(b, BENCH_NWID, 'B');
    assert_int_equal(pushes(b), 1);
    bench_run(b, PUSH_SPACING_MS);
    assert_int_equal(pushes(b), 2);
    bench_run(b, 10000);
    assert_int_equal(pushes(b), 2);
    for (size_t i = 0; i < 2; i++) {
        const struct sent_packet *p = bench_sent(b, address(b, 'B'), VERB_NETWORK_CREDENTIALS, i);
        struct credentials_reader r = credentials_reader_init(rd_init(p->payload, p->len));

        while (credentials_next(&r, &item) == 1) {
            if (item.type == CREDENTIAL_COM) {
                assert_int_equal(i, 0);
                coms++;
            } else {
                assert_int_equal(item.type, CREDENTIAL_TAG);
                assert_false(seen[item.tag.id]);
                seen[item.tag.id] = true;
            }
        }
    }
    assert_int_equal(coms, 1);
    for (size_t id = 1; id <= 100; id++) {
        assert_true(seen[id]);
    }
}

/* Two networks shared with a peer go into one packet when both are due. */
static void test_networks_share_a_packet(void **state)
{
    struct bench *b = *state;
    const struct setup second = {.nwid = BENCH_NWID + 1};
    struct credential item;
    const struct sent_packet *p;
    struct credentials_reader r;
    size_t coms = 0;

    bench_configure(b, &(struct setup){0});
    bench_configure(b, &second);
    assert_non_null(member_get(vl2_find(b->vl2, BENCH_NWID + 1), address(b, 'B'), b->now));
    frame_to(b, BENCH_NWID, 'B');
    frame_to(b, BENCH_NWID + 1, 'B');
    assert_int_equal(pushes(b), 1);
    assert_int_equal(bench_count(b, address(b, 'B'), VERB_FRAME), 2);
    p = bench_sent(b, address(b, 'B'), VERB_NETWORK_CREDENTIALS, 0);
    r = credentials_reader_init(rd_init(p->payload, p->len));
    while (credentials_next(&r, &item) == 1) {
        coms += item.type == CREDENTIAL_COM;
    }
    assert_int_equal(coms, 2);
    bench_run(b, 10000);
    assert_int_equal(pushes(b), 1);
    assert_int_equal(b->vl2->pushes.links.count, 0);
}

/* FRM-3, FRM-4, Do better 12: kept for retry, asked for once a second, delivered later. */
static void test_frames_wait_for_the_certificate(void **state)
{
    struct bench *b = *state;
    struct in_packet in = {.identity = bench_id(b, 'B'), .id = 77, .verb = VERB_FRAME};
    uint8_t frame[20] = {0};
    struct com com = bench_com(b, 'B', BENCH_TIME);
    const struct credentials_set set = {.coms = &com, .com_count = 1};
    const struct sent_packet *p;

    be64_put(frame, BENCH_NWID);
    bench_configure(b, &(struct setup){0});
    for (int i = 0; i < 4; i++) { /* every 500 ms */
        assert_int_equal(bench_in_full(b, &in, frame, sizeof(frame)), VL1_LATER);
        in.retry = true;
        b->now += 500;
    }
    assert_int_equal(bench_count(b, address(b, 'B'), VERB_ERROR), 2);
    p = bench_sent(b, address(b, 'B'), VERB_ERROR, 0);
    assert_int_equal(p->len, ERROR_HEAD_LEN + 8);
    assert_int_equal(p->payload[0], VERB_FRAME);
    assert_int_equal(be64_get(p->payload + 1), 77);
    assert_int_equal(p->payload[9], ERROR_NEED_MEMBERSHIP_CERTIFICATE);
    assert_int_equal(be64_get(p->payload + 10), BENCH_NWID);
    assert_int_equal(bench_in_credentials(b, bench_id(b, 'B'), &set), VL1_TRUST);
    assert_int_equal(bench_in_full(b, &in, frame, sizeof(frame)), VL1_TRUST);
    assert_int_equal(b->vl1.frame_count, 1);
}

static void test_frames_before_the_configuration_wait_silently(void **state)
{
    struct bench *b = *state;
    uint8_t frame[20] = {0};

    be64_put(frame, BENCH_NWID);
    bench_join(b, BENCH_NWID);
    assert_int_equal(bench_in(b, bench_id(b, 'B'), VERB_FRAME, frame, sizeof(frame)), VL1_LATER);
    assert_int_equal(b->vl1.sent_count, 0);
}

/* Do better 15: nothing to a peer whose certificate is known to be bad, but he is asked for a new
 * one; to a peer we know nothing of it goes. */
static void test_no_frames_to_refused_peers(void **state)
{
    struct bench *b = *state;
    struct com fresh = bench_com(b, 'B', BENCH_TIME + 2 * BENCH_WINDOW);
    struct network *net = bench_configure(b, &(struct setup){0});
    struct revocation rev = {.network_id = BENCH_NWID,
                             .threshold = BENCH_TIME + 2 * BENCH_WINDOW,
                             .target = address(b, 'B'),
                             .type = CREDENTIAL_COM};

    bench_member(b, 'B');
    frame_to(b, BENCH_NWID, 'D'); /* unknown */
    assert_int_equal(bench_count(b, address(b, 'D'), VERB_FRAME), 1);
    frame_to(b, BENCH_NWID, 'B');
    assert_int_equal(bench_count(b, address(b, 'B'), VERB_FRAME), 1);
    bench_run(b, 5000);
    bench_configure(b, &(struct setup){.timestamp = BENCH_TIME + 2 * BENCH_WINDOW});
    frame_to(b, BENCH_NWID, 'B'); /* outside the window */
    assert_int_equal(bench_count(b, address(b, 'B'), VERB_FRAME), 0);
    assert_int_equal(bench_count(b, address(b, 'B'), VERB_ERROR), 1);
    assert_int_equal(pushes(b), 1);
    assert_int_equal(bench_counter(b, "vl2_peer_revoked"), 1);
    assert_int_equal(credential_add_com(net, &fresh, address(b, 'B'), b->now), ADD_NEW);
    frame_to(b, BENCH_NWID, 'B');
    assert_int_equal(bench_count(b, address(b, 'B'), VERB_FRAME), 1);
    revocation_sign(&rev, bench_id(b, 'C'));
    assert_int_equal(credential_add_revocation(net, &rev, address(b, 'D'), b->now), ADD_NEW);
    frame_to(b, BENCH_NWID, 'B');
    assert_int_equal(bench_count(b, address(b, 'B'), VERB_FRAME), 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        WITH_BENCH(test_pushes_of_the_vectors),
        WITH_BENCH(test_nothing_to_push),
        WITH_BENCH(test_when_pushes_are_due),
        WITH_BENCH(test_packets_to_one_peer_are_spaced),
        WITH_BENCH(test_large_pushes_come_in_parts),
        WITH_BENCH(test_networks_share_a_packet),
        WITH_BENCH(test_frames_wait_for_the_certificate),
        WITH_BENCH(test_frames_before_the_configuration_wait_silently),
        WITH_BENCH(test_no_frames_to_refused_peers),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
