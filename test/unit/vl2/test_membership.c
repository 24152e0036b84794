/* Credentials of members: vectors of section [membership] (CRD-6), and CRD-7, CRD-9, CRD-12,
 * CRD-14, CRD-15, SEC-2 with Do better 5, 7, 8, 9, 10, 11. Source: spec 03 section 7. */
#include "bench.h"

#include "base/hex.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

static uint64_t b_address(const struct bench *b)
{
    return bench_id(b, 'B')->address;
}

static struct network *net_of(struct bench *b)
{
    return vl2_find(b->vl2, BENCH_NWID);
}

static bool b_allowed(struct bench *b)
{
    return member_allowed(net_of(b), member_find(net_of(b), b_address(b)), bench_id(b, 'B'),
                          b->now);
}

/* What rules see of a tag of B: by a rule set that accepts only this value, from a frame of B. */
static bool tag_visible(struct bench *b, uint32_t id, uint32_t value)
{
    static const uint8_t payload[64];
    const struct rule rules[] = {
        {.type = RULE_TAG_SENDER, .id = id, .value = value},
        {.type = RULE_ACCEPT},
    };
    const struct filter_frame frame = {
        .source_mac = 1, .dest_mac = 2, .payload = payload, .len = sizeof(payload)};
    struct network *net = net_of(b);
    struct filter_network saved = net->filter;
    enum filter_verdict verdict;

    net->filter.rules = rules;
    net->filter.rule_count = COUNT_OF(rules);
    verdict = switch_filter_in(net, &frame, b_address(b), member_find(net, b_address(b)), b->now);
    net->filter = saved;
    return verdict != FILTER_DROP;
}

static enum add_result add(struct bench *b, const char *op, const char *hex)
{
    struct network *net = net_of(b);
    enum add_result result = ADD_REJECTED;
    struct revocation rev;
    struct com com;
    struct tag tag;
    size_t len;
    uint8_t *bytes = hex_bytes(hex, &len);
    struct rd r = rd_init(bytes, len);

    if (strcmp(op, "COM") == 0) {
        assert_int_equal(com_read(&r, &com), 0);
        result = credential_add_com(net, &com, b_address(b), b->now);
    } else if (strcmp(op, "TAG") == 0) {
        assert_int_equal(tag_read(&r, &tag), 0);
        result = credential_add_tag(net, &tag, b->now);
    } else if (strcmp(op, "REVOKE") == 0) {
        assert_int_equal(revocation_read(&r, &rev), 0);
        result = credential_add_revocation(net, &rev, b_address(b), b->now);
    } else {
        fail_msg("op %s", op);
    }
    assert_int_equal(rd_done(&r), 0);
    free(bytes);
    return result;
}

static enum add_result result_of(const char *text)
{
    return strcmp(text, "accepted_new") == 0         ? ADD_NEW
           : strcmp(text, "accepted_redundant") == 0 ? ADD_REDUNDANT
           : strcmp(text, "deferred_whois") == 0     ? ADD_LATER
                                                     : ADD_REJECTED;
}

static void take_step(struct bench *b, const json_t *step, struct setup *setup)
{
    const char *op = vec_text(step, "op");
    const json_t *visible = json_object_get(step, "visibleValue");

    if (strcmp(op, "OWN_CONFIG") == 0) {
        setup->timestamp = (uint64_t)vec_int(step, "timestamp");
        bench_configure(b, setup);
    } else if (json_object_get(step, "credential") != NULL) {
        assert_int_equal(add(b, op, vec_text(step, "credential")),
                         result_of(vec_text(step, "result")));
    }
    if (visible != NULL && json_is_null(visible)) {
        for (uint32_t value = 0; value < 16; value++) {
            assert_false(tag_visible(b, 100, value));
        }
    } else if (visible != NULL) {
        assert_true(tag_visible(b, 100, (uint32_t)json_integer_value(visible)));
    }
}

static void test_membership_sequences_of_the_vectors(void **state)
{
    json_t *root = vectors_load("vl2.json");
    const json_t *entry;
    size_t i;

    (void)state;
    json_array_foreach(vec_get(root, "membership"), i, entry)
    {
        struct setup setup = {.is_public = !vec_bool(entry, "private")};
        /* Do better 7: there the tag's revocation must not touch the certificate. */
        bool exception = strstr(vec_text(entry, "name"), "(reference behaviour)") != NULL;
        struct bench *b = bench_new();
        const json_t *step;
        size_t k;

        print_message("%s\n", vec_text(entry, "name"));
        bench_configure(b, &setup);
        json_array_foreach(vec_get(entry, "steps"), k, step)
        {
            if (exception && k >= 2) {
                assert_int_equal(add(b, "COM", vec_text(step, "credential")), ADD_NEW);
            } else {
                take_step(b, step, &setup);
            }
            assert_int_equal(b_allowed(b), exception || vec_bool(step, "allowedAfter"));
        }
        bench_free(b);
    }
    assert_int_equal(i, 12);
    json_decref(root);
}

/* CRD-7: exactly the window is valid, one more is not, in both directions. */
static void test_window_edges(void **state)
{
    static const struct {
        int64_t offset;
        bool allowed;
    } cases[] = {
        {0, true},
        {(int64_t)BENCH_WINDOW, true},
        {(int64_t)BENCH_WINDOW + 1, false},
        {-(int64_t)BENCH_WINDOW, true},
        {-(int64_t)BENCH_WINDOW - 1, false},
    };

    (void)state;
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        uint64_t ts = BENCH_TIME + (uint64_t)cases[i].offset;
        struct tag tag = {.network_id = BENCH_NWID, .timestamp = ts, .id = 1, .value = 5};
        struct bench *b = bench_new();
        struct com com = bench_com(b, 'B', ts);

        bench_configure(b, &(struct setup){0});
        tag.holder = b_address(b);
        tag_sign(&tag, bench_id(b, 'C'));
        assert_int_equal(credential_add_com(net_of(b), &com, b_address(b), b->now), ADD_NEW);
        assert_int_equal(credential_add_tag(net_of(b), &tag, b->now), ADD_NEW);
        assert_int_equal(b_allowed(b), cases[i].allowed);
        assert_int_equal(tag_visible(b, 1, 5), cases[i].allowed);
        bench_free(b);
    }
}

/* CRD-9, Do better 11. */
static void test_one_credentials_packet_a_second_is_looked_at(void **state)
{
    struct bench *b = *state;
    struct com com = bench_com(b, 'B', BENCH_TIME);
    const struct credentials_set none = {0};
    const struct credentials_set set = {.coms = &com, .com_count = 1};

    bench_configure(b, &(struct setup){0});
    assert_int_equal(bench_in_credentials(b, bench_id(b, 'B'), &none), VL1_DONE);
    b->now += 999;
    assert_int_equal(bench_in_credentials(b, bench_id(b, 'B'), &set), VL1_DROP);
    assert_false(b_allowed(b));
    assert_int_equal(bench_in_credentials(b, bench_id(b, 'D'), &none), VL1_DONE);
    b->now += 1;
    assert_int_equal(bench_in_credentials(b, bench_id(b, 'B'), &set), VL1_TRUST);
    assert_true(b_allowed(b));
}

/* CRD-14: WHOIS for the signer, then the same packet again, which the rate limit must not stop. */
static void test_unknown_signer_is_looked_up_and_the_packet_tried_again(void **state)
{
    struct bench *b = *state;
    struct identity controller = *bench_id(b, 'C');
    struct com com = bench_com(b, 'B', BENCH_TIME);
    const struct credentials_set set = {.coms = &com, .com_count = 1};
    struct in_packet in = {.identity = bench_id(b, 'B'), .id = 9, .verb = VERB_NETWORK_CREDENTIALS};
    uint8_t packet[1000];
    struct wr w = wr_init(packet, sizeof(packet));

    bench_configure(b, &(struct setup){0});
    bench_forget_peer(b, controller.address);
    assert_int_equal(credentials_write(&w, &set, 0), 1);
    assert_int_equal(bench_in_full(b, &in, packet, wr_len(&w)), VL1_LATER);
    assert_int_equal(b->vl1.whois_count, 1);
    assert_int_equal(b->vl1.whois[0], controller.address);
    bench_add_peer(b, &controller)->unchecked = true;
    in.retry = true;
    assert_int_equal(bench_in_full(b, &in, packet, wr_len(&w)), VL1_LATER);
    vl1_peer_find(&b->vl1, controller.address, b->now)->unchecked = false;
    assert_int_equal(bench_in_full(b, &in, packet, wr_len(&w)), VL1_TRUST);
    assert_true(b_allowed(b));
}

/* CRD-15, Do better 5 and 6: nothing unverified is stored. */
static void test_forged_credentials_leave_no_trace(void **state)
{
    struct bench *b = *state;
    struct network *net = bench_configure(b, &(struct setup){0});

    for (uint64_t i = 1; i <= 3000; i++) {
        struct identity victim = bench_crowd(0x1000000000 + i);
        struct com com = bench_com_of(b, &victim, BENCH_TIME);
        struct tag tag = {.network_id = BENCH_NWID, .timestamp = BENCH_TIME, .holder = i};
        struct revocation rev = {
            .network_id = BENCH_NWID, .threshold = BENCH_TIME, .target = i, .type = CREDENTIAL_COM};

        com.signature[i % SIGNATURE_LEN] ^= 1;
        tag_sign(&tag, bench_id(b, 'B')); /* not the controller */
        revocation_sign(&rev, bench_id(b, 'B'));
        assert_int_equal(credential_add_com(net, &com, b_address(b), b->now), ADD_REJECTED);
        assert_int_equal(credential_add_tag(net, &tag, b->now), ADD_REJECTED);
        assert_int_equal(credential_add_revocation(net, &rev, b_address(b), b->now), ADD_REJECTED);
    }
    assert_int_equal(net->members.count, 0);
    assert_int_equal(net->revoked.count, 0);
}

static struct capability *make_capability(struct bench *b, uint32_t id, uint64_t holder)
{
    const struct rule rule = {.type = RULE_ACCEPT};
    struct capability *cap = capability_make(BENCH_NWID, BENCH_TIME, id, &rule, 1);

    assert_int_equal(capability_sign(cap, bench_id(b, 'C'), holder), 0);
    return cap;
}

/* Do better 10. */
static void test_a_capability_is_taken_only_from_its_holder(void **state)
{
    struct bench *b = *state;
    struct network *net = bench_configure(b, &(struct setup){0});
    struct capability *cap = make_capability(b, 7, b_address(b));
    struct capability *other = make_capability(b, 3, b_address(b));
    const struct member *m;

    assert_int_equal(credential_add_capability(net, cap, bench_id(b, 'D')->address, b->now),
                     ADD_REJECTED);
    assert_null(member_find(net, b_address(b)));
    assert_int_equal(credential_add_capability(net, cap, b_address(b), b->now), ADD_NEW);
    assert_int_equal(credential_add_capability(net, cap, b_address(b), b->now), ADD_REDUNDANT);
    assert_int_equal(credential_add_capability(net, other, b_address(b), b->now), ADD_NEW);
    m = member_find(net, b_address(b));
    assert_int_equal(m->creds.capability_count, 2); /* RUL-9: ascending */
    assert_int_equal(m->creds.capabilities[0].id, 3);
    assert_int_equal(m->creds.capabilities[1].id, 7);
}

/* CRD-12: a rule type we do not know, signed as it is. */
static void test_capability_with_unknown_rule_verifies_over_received_bytes(void **state)
{
    struct bench *b = *state;
    struct network *net = bench_configure(b, &(struct setup){0});
    const json_t *list = vec_get(vec_get(b->vectors, "credentials"), "capabilityParse");
    const json_t *entry = json_array_get(list, json_array_size(list) - 1);
    struct capability *cap;
    size_t len;
    uint8_t *bytes = vec_bytes(entry, "bytes", &len);
    struct rd r = rd_init(bytes, len);

    assert_int_equal(capability_read(&r, &cap), 0);
    assert_int_equal(credential_add_capability(net, cap, capability_holder(cap), b->now), ADD_NEW);
    free(bytes);
}

static struct revocation make_revocation(struct bench *b, char target, uint8_t type, uint32_t id,
                                         uint64_t threshold, uint64_t flags)
{
    struct revocation rev = {
        .network_id = BENCH_NWID,
        .threshold = threshold,
        .flags = flags,
        .target = bench_id(b, target)->address,
        .credential_id = id,
        .type = type,
    };

    revocation_sign(&rev, bench_id(b, 'C'));
    return rev;
}

/* SEC-2, Do better 8. */
static void test_a_revocation_survives_a_restart(void **state)
{
    struct bench *b = *state;
    struct network *net = bench_configure(b, &(struct setup){0});
    struct revocation rev = make_revocation(b, 'B', CREDENTIAL_COM, 0, BENCH_TIME, 0);
    struct com com = bench_com(b, 'B', BENCH_TIME);
    struct com later = bench_com(b, 'B', BENCH_TIME + 1);

    assert_int_equal(credential_add_revocation(net, &rev, b_address(b), b->now), ADD_NEW);
    vl2_free(b->vl2);
    b->vl2 = vl2_new(&b->vl1, b->now);
    bench_join(b, BENCH_NWID);
    net = net_of(b);
    assert_true(net->has_conf); /* NET-6 */
    assert_int_equal(credential_add_com(net, &com, b_address(b), b->now), ADD_REJECTED);
    assert_int_equal(credential_add_com(net, &later, b_address(b), b->now), ADD_NEW);
    assert_true(b_allowed(b));
    assert_int_equal(vl2_leave(b->vl2, BENCH_NWID, b->now), 0);
    for (size_t i = 0; i < BENCH_STATES; i++) { /* NET-9 */
        assert_false(b->vl1.states[i].used);
    }
}

/* A revocation so old that it cannot matter is not kept. */
static void test_spent_revocations_are_dropped(void **state)
{
    struct bench *b = *state;
    struct network *net = bench_configure(b, &(struct setup){0});
    struct revocation old = make_revocation(b, 'B', CREDENTIAL_TAG, 1, BENCH_TIME, 0);
    struct revocation new = make_revocation(b, 'D', CREDENTIAL_TAG, 1, BENCH_TIME + 9000000, 0);

    assert_int_equal(credential_add_revocation(net, &old, b_address(b), b->now), ADD_NEW);
    bench_configure(b, &(struct setup){.timestamp = BENCH_TIME + 9000000});
    assert_int_equal(credential_add_revocation(net, &new, b_address(b), b->now), ADD_NEW);
    assert_int_equal(net->revoked.count, 1);
    assert_int_equal(revocation_threshold(net, bench_id(b, 'D')->address, CREDENTIAL_TAG, 1),
                     BENCH_TIME + 9000000);
}

/* Do better 7: thresholds never go down, other credentials are not touched. */
static void test_revocations_act_on_what_they_name_only(void **state)
{
    struct bench *b = *state;
    struct network *net = bench_configure(b, &(struct setup){0});
    struct revocation high = make_revocation(b, 'B', CREDENTIAL_TAG, 1, BENCH_TIME, 0);
    struct revocation low = make_revocation(b, 'B', CREDENTIAL_TAG, 1, BENCH_TIME - 5, 0);
    struct tag tag = {.network_id = BENCH_NWID,
                      .timestamp = BENCH_TIME,
                      .holder = b_address(b),
                      .id = 1,
                      .value = 5};
    struct tag other;

    bench_member(b, 'B');
    tag_sign(&tag, bench_id(b, 'C'));
    other = tag;
    other.id = 2;
    tag_sign(&other, bench_id(b, 'C'));
    assert_int_equal(credential_add_tag(net, &tag, b->now), ADD_NEW);
    assert_int_equal(credential_add_tag(net, &other, b->now), ADD_NEW);
    assert_int_equal(credential_add_revocation(net, &high, b_address(b), b->now), ADD_NEW);
    assert_int_equal(credential_add_revocation(net, &low, b_address(b), b->now), ADD_REDUNDANT);
    assert_false(tag_visible(b, 1, 5));
    assert_true(tag_visible(b, 2, 5));
    assert_true(b_allowed(b));
}

/* CRD-11, Do better 9: once, not to sender, signer and target; merged with what waits already. */
static void test_fast_revocations_are_passed_on_merged(void **state)
{
    struct bench *b = *state;
    struct network *net = bench_configure(b, &(struct setup){0});
    uint64_t e = bench_id(b, 'E')->address;
    struct revocation first =
        make_revocation(b, 'D', CREDENTIAL_TAG, 1, BENCH_TIME, REVOCATION_FAST);
    struct revocation second =
        make_revocation(b, 'D', CREDENTIAL_TAG, 2, BENCH_TIME, REVOCATION_FAST);
    struct revocation third =
        make_revocation(b, 'D', CREDENTIAL_TAG, 3, BENCH_TIME, REVOCATION_FAST);

    bench_member(b, 'B');
    bench_member(b, 'D');
    bench_member(b, 'E');
    assert_int_equal(credential_add_revocation(net, &first, b_address(b), b->now), ADD_NEW);
    assert_int_equal(credential_add_revocation(net, &first, b_address(b), b->now), ADD_REDUNDANT);
    assert_int_equal(b->vl1.sent_count, 1);
    assert_int_equal(bench_count(b, e, VERB_NETWORK_CREDENTIALS), 1);
    assert_int_equal(credential_add_revocation(net, &second, b_address(b), b->now), ADD_NEW);
    assert_int_equal(credential_add_revocation(net, &third, b_address(b), b->now), ADD_NEW);
    assert_int_equal(b->vl1.sent_count, 1);
    bench_run(b, PUSH_SPACING_MS - 1);
    assert_int_equal(b->vl1.sent_count, 1);
    bench_run(b, 1);
    assert_int_equal(b->vl1.sent_count, 2);
    assert_int_equal(bench_sent(b, e, VERB_NETWORK_CREDENTIALS, 1)->len,
                     1 + 4 * 2 + 2 * REVOCATION_WIRE_LEN);
}

/* One that no credential can be touched by any more is not kept, so it would be new each time that
 * it comes, and members would pass it to each other for ever. */
static void test_a_spent_revocation_is_not_passed_on(void **state)
{
    struct bench *b = *state;
    struct network *net = bench_configure(b, &(struct setup){0});
    struct revocation spent =
        make_revocation(b, 'D', CREDENTIAL_COM, 0, BENCH_TIME - 3 * BENCH_WINDOW, REVOCATION_FAST);

    bench_member(b, 'B');
    bench_member(b, 'D');
    bench_member(b, 'E');
    for (unsigned i = 0; i < 2; i++) {
        assert_int_equal(credential_add_revocation(net, &spent, b_address(b), b->now),
                         ADD_REDUNDANT);
    }
    bench_run(b, PUSH_SPACING_MS);
    assert_int_equal(bench_count(b, 0, VERB_NETWORK_CREDENTIALS), 0);
}

/* What is not looked at closely, as it tells nothing new, proves nothing of who brought it. */
static void test_forged_items_that_tell_nothing_new_give_no_trust(void **state)
{
    struct bench *b = *state;
    struct revocation rev =
        make_revocation(b, 'B', CREDENTIAL_COM, 0, BENCH_TIME - 1000, REVOCATION_FAST);
    struct tag tag = {.network_id = BENCH_NWID,
                      .timestamp = BENCH_TIME,
                      .holder = b_address(b),
                      .id = 1,
                      .value = 2};
    struct credentials_set set = {.revocations = &rev, .revocation_count = 1};

    bench_configure(b, &(struct setup){0});
    bench_member(b, 'B');
    assert_int_equal(bench_in_credentials(b, bench_id(b, 'B'), &set), VL1_TRUST);
    rev.signature.bytes[0] ^= 1;
    rev.threshold--;
    bench_run(b, PUSH_SPACING_MS);
    assert_int_equal(bench_in_credentials(b, bench_id(b, 'D'), &set), VL1_DONE);
    set = (struct credentials_set){.tags = &tag, .tag_count = 1};
    tag_sign(&tag, bench_id(b, 'C'));
    bench_run(b, PUSH_SPACING_MS);
    assert_int_equal(bench_in_credentials(b, bench_id(b, 'B'), &set), VL1_TRUST);
    tag.signature.bytes[0] ^= 1;
    bench_run(b, PUSH_SPACING_MS);
    assert_int_equal(bench_in_credentials(b, bench_id(b, 'D'), &set), VL1_DONE);
}

/* Do better 6: a certificate delivered by somebody else is good, and its holder is tried again. */
static void test_a_certificate_may_come_from_another_member(void **state)
{
    struct bench *b = *state;
    struct com com = bench_com(b, 'B', BENCH_TIME);
    const struct credentials_set set = {.coms = &com, .com_count = 1};

    bench_configure(b, &(struct setup){0});
    assert_int_equal(bench_in_credentials(b, bench_id(b, 'D'), &set), VL1_TRUST);
    assert_true(b_allowed(b));
    assert_int_equal(b->vl1.retried_count, 1);
    assert_int_equal(b->vl1.retried[0], b_address(b));
}

/* Do better 5: bounded, those that are not allowed go first; idle ones are forgotten. */
static void test_member_records_are_bounded_and_forgotten(void **state)
{
    struct bench *b = *state;
    struct network *net = bench_configure(b, &(struct setup){0});

    bench_member(b, 'B');
    for (uint64_t i = 0; i < MEMBERS_MAX + 100; i++) {
        assert_non_null(member_get(net, 0x1000000000 + i, b->now));
    }
    assert_int_equal(net->members.count, MEMBERS_MAX);
    assert_non_null(member_find(net, b_address(b)));
    b->now += MEMBER_IDLE_MS;
    member_touch(member_find(net, b_address(b)), b->now);
    members_clean(net, b->now);
    assert_int_equal(net->members.count, 1);
    assert_non_null(member_find(net, b_address(b)));
}

static void test_old_credentials_are_purged(void **state)
{
    struct bench *b = *state;
    struct network *net = bench_configure(b, &(struct setup){0});
    struct member *m;

    bench_member(b, 'B');
    for (uint32_t i = 0; i < 20; i++) {
        struct tag tag = {.network_id = BENCH_NWID,
                          .timestamp = BENCH_TIME + (i % 2) * 1000,
                          .holder = b_address(b),
                          .id = i};

        tag_sign(&tag, bench_id(b, 'C'));
        assert_int_equal(credential_add_tag(net, &tag, b->now), ADD_NEW);
        assert_int_equal(credential_add_capability(net, make_capability(b, i, b_address(b)),
                                                   b_address(b), b->now),
                         ADD_NEW);
    }
    m = member_find(net, b_address(b));
    bench_configure(b, &(struct setup){.timestamp = BENCH_TIME + BENCH_WINDOW + 1});
    members_clean(net, b->now);
    assert_int_equal(m->creds.tag_count, 10);
    assert_int_equal(m->creds.capability_count, 0);
    for (size_t i = 0; i < m->creds.tag_count; i++) {
        assert_int_equal(m->tags[i].id % 2, 1);
    }
}

/* CRD-8: items of several networks in one packet, one of them not joined. */
static void test_items_of_several_networks_in_one_packet(void **state)
{
    struct bench *b = *state;
    struct com coms[2] = {bench_com(b, 'B', BENCH_TIME)};
    const struct credentials_set set = {.coms = coms, .com_count = 2};

    com_make(&coms[1], BENCH_TIME, BENCH_WINDOW, BENCH_NWID + 1, bench_id(b, 'B'));
    com_sign(&coms[1], bench_id(b, 'C'));
    bench_configure(b, &(struct setup){0});
    assert_int_equal(bench_in_credentials(b, bench_id(b, 'B'), &set), VL1_TRUST);
    assert_true(b_allowed(b));
    assert_int_equal(bench_counter(b, "vl2_credential_rejected"), 1);
    bench_join(b, BENCH_NWID + 1);
    b->now += 1000;
    assert_int_equal(bench_in_credentials(b, bench_id(b, 'B'), &set), VL1_TRUST);
    assert_non_null(member_find(vl2_find(b->vl2, BENCH_NWID + 1), b_address(b)));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_membership_sequences_of_the_vectors),
        cmocka_unit_test(test_window_edges),
        WITH_BENCH(test_one_credentials_packet_a_second_is_looked_at),
        WITH_BENCH(test_unknown_signer_is_looked_up_and_the_packet_tried_again),
        WITH_BENCH(test_forged_credentials_leave_no_trace),
        WITH_BENCH(test_a_capability_is_taken_only_from_its_holder),
        WITH_BENCH(test_capability_with_unknown_rule_verifies_over_received_bytes),
        WITH_BENCH(test_a_revocation_survives_a_restart),
        WITH_BENCH(test_spent_revocations_are_dropped),
        WITH_BENCH(test_revocations_act_on_what_they_name_only),
        WITH_BENCH(test_fast_revocations_are_passed_on_merged),
        WITH_BENCH(test_a_spent_revocation_is_not_passed_on),
        WITH_BENCH(test_forged_items_that_tell_nothing_new_give_no_trust),
        WITH_BENCH(test_a_certificate_may_come_from_another_member),
        WITH_BENCH(test_member_records_are_bounded_and_forgotten),
        WITH_BENCH(test_old_credentials_are_purged),
        WITH_BENCH(test_items_of_several_networks_in_one_packet),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
