/* Packets from members against the golden vectors: FRM-1, FRM-3 to FRM-5, BRG-1, MC-4, MC-8, MC-9,
 * MC-13, CRD-8, CRD-10, NET-4. Source: spec 03, section [inbound] of vl2.json. */
#include "bench.h"

#include "base/hex.h"
#include "wire/vl1msg.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* What the vectors leave unsaid: who else is known before the packet comes. */
struct stage {
    const char *name;
    const char *subscribed; /* groups of ours: "fb" 33:33:..:fb, "arp" of 10.1.9.8 */
    const char *group;      /* the group that members are in */
    const char *members;    /* letters */
    const char *records;    /* letters with a membership record */
};

static const struct stage stages[] = {
    {"MULTICAST_FRAME with implicit gather, we are a subscriber and know D", "fb", "fb", "D", ""},
    {"MULTICAST_FRAME inline COM (legacy) and gather", "arp", "arp", "D", ""},
    {"MULTICAST_FRAME replicate flag, we are a replicator: copied to other members with the "
     "source MAC",
     "", "fb", "BDE", "DE"},
    {"MULTICAST_GATHER", "fb", "fb", "D", ""},
    {"MULTICAST_GATHER limit 1 with ourselves subscribed", "fb", "fb", "D", ""},
    {"MULTICAST_GATHER limit 0", "fb", "fb", "D", ""},
    {"MULTICAST_GATHER asker is excluded but counted", "fb", "fb", "BD", ""},
    {"MULTICAST_GATHER not authorized: silence", "fb", "fb", "D", ""},
    {"MULTICAST_GATHER with COM attached", "fb", "fb", "D", ""},
    {"NETWORK_CREDENTIALS fast propagation to other known members", "", "", "", "DE"},
    {"ERROR unwanted multicast removes the sender from the group", "", "fb", "BD", ""},
};

static struct multicast_group group_named(const char *name)
{
    return strcmp(name, "fb") == 0
               ? (struct multicast_group){.mac = 0x3333000000fb}
               : (struct multicast_group){.mac = MAC_BROADCAST, .adi = 0x0a010908};
}

static void prepare(struct bench *b, const json_t *entry, const struct stage *stage)
{
    const json_t *config = vec_get(entry, "config");
    struct setup setup = {
        .is_public = !vec_bool(config, "private"),
        .flags = vec_hex_u64(config, "flags"),
        .multicast_limit = (uint32_t)vec_int(config, "multicastLimit"),
        .rules = vec_text(config, "rulesHex"),
    };
    const json_t *specialist;
    struct network *net;
    size_t i;

    json_array_foreach(vec_get(config, "specialists"), i, specialist)
    {
        setup.specialists[setup.specialist_count++] =
            strtoull(json_string_value(specialist), NULL, 16);
    }
    net = bench_configure(b, &setup);
    b->vl1.upstreams[b->vl1.upstream_count++] = 0xcafe9efeb9;
    if (vec_bool(entry, "senderComKnown")) {
        bench_member(b, 'B');
    }
    if (stage == NULL) {
        return;
    }
    for (const char *l = stage->records; *l != 0; l++) {
        bench_member(b, *l);
        member_find(net, bench_id(b, *l)->address)->last_push_ms = NEVER;
    }
    if (stage->subscribed[0] != 0) {
        struct multicast_group g = group_named(stage->subscribed);

        vl2_port_groups(b->vl2, BENCH_NWID, &g, 1, b->now);
    }
    for (const char *l = stage->members; *l != 0; l++) {
        struct multicast_group g = group_named(stage->group);

        group_learn(b->vl2, BENCH_NWID, &g, bench_id(b, *l)->address, b->now);
    }
    bench_clear(b);
}

/* Deviations of ours (spec 03 section 21). */
static bool is_ours(const char *name, const char *dest, enum verb verb)
{
    if (strstr(name, "we are a replicator") != NULL) { /* the origin gets nothing back */
        return strcmp(dest, "720407abc2") != 0;
    }
    if (strstr(name, "fast propagation") != NULL || strstr(name, "all kinds") != NULL) {
        return verb != VERB_NETWORK_CREDENTIALS || strcmp(dest, "d227516ad6") != 0;
    }
    return true;
}

/* Every expected packet was sent, and nothing else. */
static void check_sent(const struct bench *b, const json_t *entry)
{
    const char *name = vec_text(entry, "name");
    size_t expected = 0;
    const json_t *want;
    size_t i;

    json_array_foreach(vec_get(vec_get(entry, "expect"), "sent"), i, want)
    {
        uint64_t dest = vec_hex_u64(want, "dest");
        enum verb verb = bench_verb(vec_text(want, "verb"));
        bool found = false;

        if (!is_ours(name, vec_text(want, "dest"), verb)) {
            continue;
        }
        expected++;
        for (size_t k = 0; k < bench_count(b, dest, verb); k++) {
            const struct sent_packet *p = bench_sent(b, dest, verb, k);

            found = found || bench_same_hex(p->payload, p->len, vec_text(want, "payload"));
        }
        if (!found) {
            fail_msg("%s: %s to %s not sent", name, vec_text(want, "verb"), vec_text(want, "dest"));
        }
    }
    if (b->vl1.sent_count != expected) {
        fail_msg("%s: %zu packets instead of %zu, first %s to %010llx", name, b->vl1.sent_count,
                 expected, verb_name(b->vl1.sent[0].verb), (unsigned long long)b->vl1.sent[0].dest);
    }
}

static void check_tap(const struct bench *b, const json_t *entry)
{
    const json_t *frames = vec_get(vec_get(entry, "expect"), "toTap");
    const json_t *want;
    size_t i;

    assert_int_equal(b->vl1.frame_count, json_array_size(frames));
    json_array_foreach(frames, i, want)
    {
        const struct tap_frame *f = &b->vl1.frames[i];
        uint64_t mac;

        assert_int_equal(f->nwid, vec_hex_u64(want, "networkId"));
        assert_int_equal(mac_parse(vec_text(want, "macSource"), 17, &mac), 0);
        assert_int_equal(f->source_mac, mac);
        assert_int_equal(mac_parse(vec_text(want, "macDest"), 17, &mac), 0);
        assert_int_equal(f->dest_mac, mac);
        assert_int_equal(f->ethertype, vec_int(want, "etherType"));
        assert_true(bench_same_hex(f->payload, f->len, vec_text(want, "payload")));
    }
}

static void check_routes(struct bench *b, const json_t *expect)
{
    const json_t *routes = json_object_get(expect, "bridgeRoutes");
    struct network *net = vl2_find(b->vl2, BENCH_NWID);
    const json_t *route;
    size_t i;

    if (routes == NULL) {
        return;
    }
    assert_int_equal(net->routes.count, json_array_size(routes));
    json_array_foreach(routes, i, route)
    {
        uint64_t mac;

        assert_int_equal(mac_parse(vec_text(route, "mac"), 17, &mac), 0);
        assert_int_equal(bridge_find(net, mac, b->now), vec_hex_u64(route, "via"));
    }
}

static void check_groups(struct bench *b, const json_t *expect)
{
    const json_t *groups = json_object_get(expect, "groups");
    size_t records = 0;
    const json_t *entry;
    size_t i;

    if (groups == NULL) {
        return;
    }
    json_array_foreach(groups, i, entry)
    {
        struct multicast_group id = {.adi = (uint32_t)vec_int(entry, "adi")};
        uint64_t nwid = vec_hex_u64(entry, "networkId");
        struct group *group;
        const json_t *member;
        size_t k;

        assert_int_equal(mac_parse(vec_text(entry, "mac"), 17, &id.mac), 0);
        group = group_find(b->vl2, nwid, &id);
        if (nwid != BENCH_NWID) { /* Do better 13: not carried over */
            assert_null(group);
            continue;
        }
        assert_non_null(group);
        json_array_foreach(vec_get(entry, "members"), k, member)
        {
            assert_true(group_has(group, strtoull(json_string_value(member), NULL, 16)));
            records++;
        }
    }
    assert_int_equal(b->vl2->multicast.record_count, records);
}

static const struct filter_tag *tag_of(const struct member *m, uint32_t id)
{
    for (size_t i = 0; m != NULL && i < m->creds.tag_count; i++) {
        if (m->creds.tags[i].id == id) {
            return &m->creds.tags[i];
        }
    }
    return NULL;
}

static void check_credentials(struct bench *b, const json_t *expect)
{
    static const uint8_t ip[4] = {10, 1, 9, 8};
    struct network *net = vl2_find(b->vl2, BENCH_NWID);
    struct member *m = member_find(net, bench_id(b, 'B')->address);
    const struct filter_tag *tag = tag_of(m, 100);
    bool owns = false;

    if (json_object_get(expect, "allowed") == NULL) {
        return;
    }
    assert_int_equal(member_allowed(net, m, NULL, b->now), vec_bool(expect, "allowed"));
    if (json_is_null(json_object_get(expect, "tag100"))) {
        assert_null(tag);
    } else {
        assert_non_null(tag);
        assert_int_equal(tag->value, vec_int(expect, "tag100"));
    }
    assert_int_equal(m != NULL ? m->creds.capability_count : 0, vec_int(expect, "capabilities"));
    for (size_t i = 0; m != NULL && i < m->creds.ownership_count; i++) {
        owns = owns || things_own_ip(m->creds.ownerships[i].things, m->creds.ownerships[i].count,
                                     ip, sizeof(ip));
    }
    assert_int_equal(owns, vec_bool(expect, "owns10.1.9.8"));
    assert_int_equal(revocation_threshold(net, bench_id(b, 'D')->address, CREDENTIAL_COM, 0),
                     vec_int(expect, "revocationThresholdOfD"));
}

static enum vl1_verdict send_in(struct bench *b, const json_t *entry)
{
    enum verb verb = bench_verb(vec_text(entry, "verb"));
    struct in_packet in = {
        .identity = bench_id(b, 'B'), .id = vec_hex_u64(entry, "packetId"), .verb = verb};
    size_t len;
    uint8_t *payload = vec_bytes(entry, "payload", &len);
    size_t head = verb == VERB_ERROR ? ERROR_HEAD_LEN : 0;
    enum vl1_verdict verdict;

    if (verb == VERB_ERROR) {
        in.re_verb = payload[0];
        in.re_id = be64_get(payload + 1);
        in.error = payload[OK_HEAD_LEN];
    }
    verdict = bench_in_full(b, &in, payload + head, len - head);
    free(payload);
    return verdict;
}

static void check_outcome(const json_t *entry, enum vl1_verdict verdict)
{
    const char *outcome = vec_text(vec_get(entry, "expect"), "outcome");

    if (strcmp(outcome, "retry-later") == 0) {
        assert_int_equal(verdict, VL1_LATER);
    } else if (strcmp(outcome, "malformed") == 0) {
        assert_int_equal(verdict, VL1_DROP);
    } else {
        assert_true(verdict == VL1_DONE || verdict == VL1_TRUST);
    }
}

static void test_packets_of_members_have_the_effects_of_the_vectors(void **state)
{
    json_t *root = vectors_load("vl2.json");
    const json_t *entry;
    size_t i;

    (void)state;
    json_array_foreach(vec_get(root, "inbound"), i, entry)
    {
        const char *name = vec_text(entry, "name");
        const json_t *expect = vec_get(entry, "expect");
        const struct stage *stage = NULL;
        struct bench *b = bench_new();

        for (size_t k = 0; k < COUNT_OF(stages); k++) {
            stage = strcmp(stages[k].name, name) == 0 ? &stages[k] : stage;
        }
        print_message("%s\n", name);
        prepare(b, entry, stage);
        if (strstr(name, "certificate: credentials are pushed") != NULL) {
            member_find(vl2_find(b->vl2, BENCH_NWID), bench_id(b, 'B')->address)->last_push_ms =
                NEVER;
        }
        if (strstr(name, "1001 ms ago") != NULL) {
            b->now += 1001;
        }
        check_outcome(entry, send_in(b, entry));
        check_sent(b, entry);
        check_tap(b, entry);
        check_routes(b, expect);
        check_groups(b, expect);
        check_credentials(b, expect);
        if (json_object_get(expect, "status") != NULL) {
            assert_int_equal(network_status(vl2_find(b->vl2, BENCH_NWID)),
                             vec_int(expect, "status"));
        }
        bench_free(b);
    }
    assert_int_equal(i, 60);
    json_decref(root);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_packets_of_members_have_the_effects_of_the_vectors),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
