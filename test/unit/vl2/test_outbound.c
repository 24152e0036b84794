/* Frames from the port against the golden vectors: FRM-2, FRM-6, FRM-8, BRG-2 to BRG-4, MC-5, MC-7,
 * MC-8, MC-10, MC-14, RES-1, RES-3 to RES-6. Source: spec 03, section [outbound] of vl2.json. */
#include "bench.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

static const char first_pass[] = "multicast filtered in the first pass";
static const char second_pass[] = "multicast filtered for one recipient in the second pass";
static const char bridged[] = "bridged multicast carries the source MAC and is announced";
static const char replicator[] = "replicator alive: one copy, replicate flag";

/* The recipients of multicast copies are members here (Do better 14). */
static void admit(struct bench *b, uint64_t address)
{
    for (char l = 'B'; l <= 'E'; l++) {
        struct network *net = vl2_find(b->vl2, BENCH_NWID);

        if (bench_id(b, l)->address == address && !net->is_public) {
            bench_member(b, l);
            member_find(net, address)->last_push_ms = NEVER;
        }
    }
}

static void add_groups(struct bench *b, const json_t *entry)
{
    const json_t *group = json_object_get(entry, "group");
    struct multicast_group id;
    const json_t *member;
    size_t i;

    if (group == NULL) {
        return;
    }
    id.adi = (uint32_t)vec_int(group, "adi");
    assert_int_equal(mac_parse(vec_text(group, "mac"), 17, &id.mac), 0);
    json_array_foreach(vec_get(group, "members"), i, member)
    {
        uint64_t address = strtoull(json_string_value(member), NULL, 16);

        admit(b, address);
        group_learn(b->vl2, BENCH_NWID, &id, address, b->now);
    }
}

static void add_routes(struct bench *b, const json_t *entry)
{
    const json_t *routes = json_object_get(entry, "bridgeRoutes");
    const json_t *route;
    size_t i;

    json_array_foreach(routes, i, route)
    {
        uint64_t mac;

        assert_int_equal(mac_parse(vec_text(route, "mac"), 17, &mac), 0);
        bridge_learn(vl2_find(b->vl2, BENCH_NWID), mac, vec_hex_u64(route, "via"), b->now);
    }
}

static void prepare(struct bench *b, const json_t *entry)
{
    static const uint64_t roots[] = {0xcafe9efeb9, 0xcafe04eba9, 0x62f865ae71, 0x778cde7190};
    const json_t *config = vec_get(entry, "config");
    const char *name = vec_text(entry, "name");
    struct setup setup = {
        .no_com = strlen(vec_text(config, "com")) < 64,
        .flags = vec_hex_u64(config, "flags"),
        .multicast_limit = (uint32_t)vec_int(config, "multicastLimit"),
        .mtu = NETCONF_MTU_MAX,
        .rules = "0100",
    };
    const json_t *item;
    size_t i;

    if (strcmp(name, first_pass) == 0) {
        setup.rules = "0000";
    } else if (strcmp(name, second_pass) == 0) {
        setup.rules = "1905720407abc200000100"; /* destination B: drop; accept */
    }
    setup.is_public = setup.no_com; /* nobody is allowed on a private network without it */
    json_array_foreach(vec_get(config, "specialists"), i, item)
    {
        setup.specialists[setup.specialist_count++] = strtoull(json_string_value(item), NULL, 16);
    }
    json_array_foreach(vec_get(config, "staticIps"), i, item)
    {
        const char *text = json_string_value(item);

        assert_int_equal(
            inetaddr_parse(text, strlen(text), &setup.addresses[setup.address_count++]), 0);
    }
    bench_configure(b, &setup);
    memcpy(b->vl1.upstreams, roots, sizeof(roots));
    b->vl1.upstream_count = COUNT_OF(roots);
    for (i = 0; i < setup.specialist_count; i++) {
        if ((setup.specialists[i] & SPECIALIST_BRIDGE) != 0) {
            admit(b, setup.specialists[i] & 0xffffffffff);
        }
    }
    add_groups(b, entry);
    add_routes(b, entry);
    if (strcmp(name, replicator) == 0) {
        vl1_peer_find(&b->vl1, bench_id(b, 'E')->address, b->now)->direct = true;
    }
    bench_clear(b);
}

static bool was_sent(const struct bench *b, const json_t *want)
{
    uint64_t dest = vec_hex_u64(want, "dest");
    enum verb verb = bench_verb(vec_text(want, "verb"));
    const struct sent_packet *p;

    for (size_t k = 0; (p = bench_sent(b, dest, verb, k)) != NULL; k++) {
        if (bench_same_hex(p->payload, p->len, vec_text(want, "payload"))) {
            return true;
        }
    }
    return false;
}

/* Is the entry a repetition of an earlier one? The reference asks anchors twice (Do better 16). */
static bool is_repeated(const json_t *list, size_t at)
{
    for (size_t i = 0; i < at; i++) {
        if (json_equal(json_array_get(list, i), json_array_get(list, at))) {
            return true;
        }
    }
    return false;
}

static void check_sent(const struct bench *b, const json_t *entry)
{
    const char *name = vec_text(entry, "name");
    const json_t *list = vec_get(entry, "sent");
    size_t expected = 0;
    size_t extra = 0;
    const json_t *want;
    size_t i;

    json_array_foreach(list, i, want)
    {
        uint64_t dest = vec_hex_u64(want, "dest");

        if (is_repeated(list, i)) {
            continue;
        }
        /* Announcements to members of a new group: here they are members already. */
        expected++;
        if (!was_sent(b, want)) {
            fail_msg("%s: %s to %s not sent", name, vec_text(want, "verb"), vec_text(want, "dest"));
        }
        /* Do better 27: credentials also go to bridges. */
        if (strcmp(vec_text(want, "verb"), "EXT_FRAME") == 0 && strstr(name, "bridge") != NULL &&
            dest != bench_id(b, 'B')->address) {
            extra += bench_count(b, dest, VERB_NETWORK_CREDENTIALS);
            assert_int_equal(bench_count(b, dest, VERB_NETWORK_CREDENTIALS), 1);
        }
    }
    if (strcmp(name, bridged) == 0) {
        /* B is a known member here, who is told of the new group too. */
        assert_int_equal(bench_count(b, bench_id(b, 'B')->address, VERB_MULTICAST_LIKE), 1);
        extra++;
    }
    if (b->vl1.sent_count != expected + extra) {
        fail_msg("%s: %zu packets instead of %zu", name, b->vl1.sent_count, expected + extra);
    }
}

static void check_tap(const struct bench *b, const json_t *entry)
{
    const json_t *frames = vec_get(entry, "toTap");
    const json_t *want;
    size_t i;

    assert_int_equal(b->vl1.frame_count, json_array_size(frames));
    json_array_foreach(frames, i, want)
    {
        const struct tap_frame *f = &b->vl1.frames[i];
        uint64_t mac;

        assert_int_equal(mac_parse(vec_text(want, "macSource"), 17, &mac), 0);
        assert_int_equal(f->source_mac, mac);
        assert_int_equal(mac_parse(vec_text(want, "macDest"), 17, &mac), 0);
        assert_int_equal(f->dest_mac, mac);
        assert_int_equal(f->ethertype, vec_int(want, "etherType"));
        assert_true(bench_same_hex(f->payload, f->len, vec_text(want, "payload")));
    }
}

static void frame_out(struct bench *b, const json_t *entry)
{
    uint64_t source;
    uint64_t dest;
    size_t len;
    uint8_t *payload = vec_bytes(entry, "payload", &len);

    assert_int_equal(mac_parse(vec_text(entry, "macSource"), 17, &source), 0);
    assert_int_equal(mac_parse(vec_text(entry, "macDest"), 17, &dest), 0);
    vl2_frame(b->vl2, BENCH_NWID, dest, source, (uint16_t)vec_int(entry, "etherType"), payload, len,
              b->now);
    free(payload);
}

static void test_frames_of_the_port_have_the_effects_of_the_vectors(void **state)
{
    json_t *root = vectors_load("vl2.json");
    const json_t *entry;
    size_t i;

    (void)state;
    json_array_foreach(vec_get(root, "outbound"), i, entry)
    {
        struct bench *b = bench_new();

        print_message("%s\n", vec_text(entry, "name"));
        prepare(b, entry);
        frame_out(b, entry);
        check_sent(b, entry);
        check_tap(b, entry);
        assert_int_equal(bench_counter(b, "vl2_too_big"),
                         vec_bool_or(entry, "tooLarge", false) ? 1 : 0);
        bench_free(b);
    }
    assert_int_equal(i, 38);
    json_decref(root);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_frames_of_the_port_have_the_effects_of_the_vectors),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
