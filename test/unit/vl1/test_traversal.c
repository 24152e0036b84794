/* Introductions by a root, surface addresses, the recorded bootstrap. Spec 02 sections 7, 8, 14. */
#include "bench.h"

#include "wire/identity.h"

#include <stdlib.h>
#include <string.h>

/* Addresses of a class for one of the two. */
static const char *class_address(const char *class, bool alice)
{
    if (strcmp(class, "private4") == 0) {
        return alice ? "10.9.0.1/9993" : "10.9.0.2/9993";
    }
    if (strcmp(class, "private6") == 0) {
        return alice ? "fd00::1/9993" : "fd00::2/9993";
    }
    if (strcmp(class, "global4") == 0) {
        return alice ? "45.0.0.1/9993" : "46.0.0.1/9993";
    }
    return alice ? "2606:4700::1/9993" : "2606:4700::2/9993";
}

static void give_paths(struct actor *a, struct host *h, const json_t *classes, bool alice)
{
    for (size_t i = 0; i < json_array_size(classes); i++) {
        actor_meet(a, h, class_address(json_string_value(json_array_get(classes, i)), alice), 12);
    }
}

/* What a was told: class of the address in the RENDEZVOUS, "none" without one. */
static void expect_told(struct actor *a, struct host *h, const char *class, bool alice,
                        uint64_t about)
{
    struct opened_packet *p = actor_find(a, h, VERB_RENDEZVOUS, 0);
    struct rendezvous msg;
    struct inetaddr at;
    struct inetaddr over;

    if (strcmp(class, "none") == 0) {
        assert_null(p);
        return;
    }
    assert_non_null(p);
    at = addr(class_address(class, !alice));
    over = addr(class_address(class, alice));
    assert_int_equal(rendezvous_decode(rd_init(p->data, p->len), &msg), 0);
    assert_int_equal(msg.flags, 0);
    assert_int_equal(msg.address, about);
    assert_true(inetaddr_equal(&msg.at, &at));
    assert_true(inetaddr_equal(&p->to, &over));
    assert_int_equal(actor_count(a, h, VERB_RENDEZVOUS, 0), 1);
    free(p);
}

/* A packet from one actor to another, which the host only relays. */
static void relay_one(struct host *h, const struct actor *from, const char *from_at, uint64_t to)
{
    uint8_t pkt[40] = {0};

    packet_start(pkt, (uint64_t)h->now_ms, to, from->identity.address, VERB_FRAME);
    packet_set_suite(pkt, SUITE_AES_GMAC_SIV);
    host_receive(h, addr(from_at).family == INETADDR_V6 ? SOCK_V6 : SOCK, from_at, pkt,
                 sizeof(pkt));
}

static struct host *root_up(void)
{
    static const char *const locals[] = {"198.51.100.10/9993", "10.9.0.9/9993", "fd00::9/9993"};
    struct host *h = host_up("root1", "planet_v1");

    host_sockets(h, locals, 3);
    return h;
}

/* NT-1 */
static void test_rendezvous_choice_vectors(void **state)
{
    json_t *it;
    size_t i;

    (void)state;
    json_array_foreach(vec_get(vl1_vectors(), "rendezvous_choice"), i, it)
    {
        struct host *h = root_up();
        struct actor *alice = actor_new("alice", h);
        struct actor *bob = actor_new("bob", h);
        const json_t *classes = vec_get(it, "alice");

        give_paths(alice, h, classes, true);
        give_paths(bob, h, vec_get(it, "bob"), false);
        host_forget(h);
        relay_one(h, alice, class_address(json_string_value(json_array_get(classes, 0)), true),
                  bob->identity.address);
        assert_int_equal(host_count(h, VL1_RELAYED), 1);
        expect_told(alice, h, vec_text(it, "alice_is_told"), true, bob->identity.address);
        expect_told(bob, h, vec_text(it, "bob_is_told"), false, alice->identity.address);
        actor_free(alice);
        actor_free(bob);
        host_free(h);
    }
}

/* NT-2: once per unordered pair and 30 s; every pair has its own time. */
static void test_introductions_are_spaced(void **state)
{
    struct host *h = root_up();
    struct actor *alice = actor_new("alice", h);
    struct actor *bob = actor_new("bob", h);
    struct actor *carol = actor_new("carol", h);
    size_t seen = 0;

    (void)state;
    actor_meet(alice, h, "45.0.0.1/9993", 12);
    actor_meet(bob, h, "46.0.0.1/9993", 12);
    actor_meet(carol, h, "46.0.0.3/9993", 12);
    for (unsigned s = 0; s <= 60; s++) {
        relay_one(h, alice, "45.0.0.1/9993", bob->identity.address);
        host_run(h, 1);
        relay_one(h, bob, "46.0.0.1/9993", alice->identity.address);
        if (s == 1) {
            assert_int_equal(host_count(h, VL1_INTRODUCTIONS), 1);
            relay_one(h, carol, "46.0.0.3/9993", alice->identity.address);
            assert_int_equal(host_count(h, VL1_INTRODUCTIONS), 2);
        }
        for (unsigned k = 0; k < 10; k++) {
            size_t since = seen;

            host_run(h, 100);
            seen = h->sent_count;
            (void)actor_answer_range(alice, h, "45.0.0.1/9993", since, seen, 12);
            (void)actor_answer_range(bob, h, "46.0.0.1/9993", since, seen, 12);
        }
    }
    assert_in_range(host_count(h, VL1_INTRODUCTIONS), 3, 4);
    actor_free(alice);
    actor_free(bob);
    actor_free(carol);
    host_free(h);
}

/* Relayed packets are not authentic: forged ones cause a bounded number of introductions. */
static void test_forged_pairs_cause_few_introductions(void **state)
{
    enum { COUNT = 40 };
    struct host *h = root_up();
    struct actor *all[COUNT];

    (void)state;
    h->trust_all = true;
    for (unsigned i = 0; i < COUNT; i++) {
        struct identity id = identity_made_up(0x3000000000 + i);
        char at[INETADDR_TEXT_LEN];

        snprintf(at, sizeof(at), "46.1.%u.1/9993", i);
        all[i] = actor_new_identity(&id, h);
        actor_meet(all[i], h, at, 12);
    }
    for (unsigned i = 0; i < COUNT * COUNT; i++) {
        if (i % COUNT != i / COUNT) {
            relay_one(h, all[i / COUNT], "47.0.0.1/9993", all[i % COUNT]->identity.address);
        }
    }
    assert_true(host_count(h, VL1_INTRODUCTIONS) <= INTRODUCTIONS_PER_SECOND);
    for (unsigned i = 0; i < COUNT; i++) {
        actor_free(all[i]);
    }
    host_free(h);
}

/* ---- surface addresses ---- */

/* A HELLO of the actor that says the host's address is `mine`. */
static void report(struct actor *a, struct host *h, const char *from, const char *mine)
{
    uint8_t pkt[PACKET_MAX];
    size_t len = actor_hello(a, h, 12, mine, NULL, 0, pkt);

    host_receive(h, addr(from).family == INETADDR_V6 ? SOCK_V6 : SOCK, from, pkt, len);
}

/* NT-7: kept only if the scopes agree. */
static void test_surface_reports_of_other_scopes(void **state)
{
    static const struct {
        const char *from;
        const char *mine;
        bool kept;
    } cases[] = {
        {"46.0.0.1/9993", "47.0.0.1/1", true},     {"46.0.0.1/9993", "10.0.0.1/1", false},
        {"10.0.0.1/9993", "47.0.0.1/1", false},    {"10.0.0.1/9993", "192.168.0.1/1", true},
        {"46.0.0.1/9993", "127.0.0.1/1", false},   {"127.0.0.1/9993", "127.0.0.1/1", false},
        {"46.0.0.1/9993", "2606:4700::1/1", true}, {"46.0.0.1/9993", "0.0.0.0/1", false},
        {"224.0.0.1/9993", "224.0.0.1/1", false},
    };

    (void)state;
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct host *h = host_up("alice", NULL);
        struct actor *bob = actor_new("bob", h);
        struct inetaddr seen[4];

        report(bob, h, cases[i].from, cases[i].mine);
        assert_int_equal(vl1_surfaces(h->vl1, seen, 4), cases[i].kept);
        assert_int_equal(host_events(h, EVENT_SURFACE_ADDRESS), cases[i].kept);
        actor_free(bob);
        host_free(h);
    }
}

/* NT-7: an upstream's news of another IP resets paths of that scope and family; another port does
 * not, nor does a leaf. */
static void test_change_of_surface_address(void **state)
{
    static const struct {
        bool root;
        const char *mine;
        bool resets;
    } cases[] = {{true, "47.0.0.2/9993", true},
                 {true, "47.0.0.1/1234", false},
                 {false, "47.0.0.2/9993", false}};

    (void)state;
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct host *h = host_new("alice");
        struct actor *root = actor_new("root1", h);
        struct actor *bob = actor_new("bob", h);
        struct actor *dave = actor_new("dave", h);
        struct actor *reporter = cases[i].root ? root : dave;
        struct world *planet = world_named("planet_v1");
        uint8_t bytes[WORLD_WIRE_MAX];
        struct wr w = wr_init(bytes, sizeof(bytes));
        struct peer *peer;
        struct inetaddr seen[4];

        for (unsigned r = 0; r < planet->root_count; r++) { /* at a global address */
            planet->roots[r].endpoint_count = 1;
            planet->roots[r].endpoints[0] = addr("46.0.0.9/9993");
        }
        world_write(&w, planet);
        host_store(h, STATE_PLANET, 0, bytes, wr_len(&w));
        host_start(h);
        actor_meet(bob, h, "46.0.0.1/9993", 12);
        actor_meet(bob, h, "10.0.0.7/9993", 12);
        report(reporter, h, "46.0.0.9/9993", "47.0.0.1/9993");
        peer = host_peer(h, bob->identity.address);
        host_run(h, 100);
        host_forget(h);
        report(reporter, h, "46.0.0.9/9993", cases[i].mine);
        assert_int_equal(path_is_usable(&peer->paths[0], h->now_ms), !cases[i].resets);
        assert_int_equal(actor_count(bob, h, VERB_ECHO, 0), cases[i].resets);
        assert_true(path_is_usable(&peer->paths[1], h->now_ms));
        assert_int_equal(vl1_surfaces(h->vl1, seen, 4), 2); /* the newest, and bob's private one */
        (void)actor_answer(bob, h, "46.0.0.1/9993", 0, 12);
        assert_true(path_is_usable(&peer->paths[0], h->now_ms));
        free(planet);
        actor_free(root);
        actor_free(bob);
        actor_free(dave);
        host_free(h);
    }
}

/* Section 8: forgotten after 600 s, when something else is reported. One leaf fills four places. */
static void test_surface_table(void **state)
{
    struct host *h = host_up("alice", NULL);
    struct actor *bob = actor_new("bob", h);
    struct actor *carol = actor_new("carol", h);
    struct inetaddr seen[SURFACE_MAX];

    (void)state;
    for (unsigned i = 0; i < 100; i++) {
        char from[INETADDR_TEXT_LEN];
        char mine[INETADDR_TEXT_LEN];

        snprintf(from, sizeof(from), "46.0.0.%u/9993", i);
        snprintf(mine, sizeof(mine), "47.0.0.%u/9993", i);
        report(bob, h, from, mine);
    }
    assert_int_equal(vl1_surfaces(h->vl1, seen, SURFACE_MAX), SURFACE_REPORTER_MAX);
    host_run(h, 600000);
    report(carol, h, "46.1.1.1/9993", "47.1.1.1/9993");
    assert_int_equal(vl1_surfaces(h->vl1, seen, SURFACE_MAX), 1);
    actor_free(bob);
    actor_free(carol);
    host_free(h);
}

/* ---- the recorded bootstrap ---- */

static struct identity by_address(uint64_t address, const char **ret_name)
{
    json_t *it;
    size_t i;

    json_array_foreach(vec_get(vl1_vectors(), "identities"), i, it)
    {
        struct identity id = vl1_identity_of(vec_text(it, "name"));

        if (id.address == address) {
            *ret_name = vec_text(it, "name");
            return id;
        }
    }
    fail_msg("no identity");
    return (struct identity){0};
}

static const char *const suite_verbs[] = {
    [VERB_NOP] = "NOP",
    [VERB_HELLO] = "HELLO",
    [VERB_ERROR] = "ERROR",
    [VERB_OK] = "OK",
    [VERB_WHOIS] = "WHOIS",
    [VERB_RENDEZVOUS] = "RENDEZVOUS",
    [VERB_FRAME] = "FRAME",
    [VERB_ECHO] = "ECHO",
    [VERB_MULTICAST_LIKE] = "MULTICAST_LIKE",
    [VERB_NETWORK_CREDENTIALS] = "NETWORK_CREDENTIALS",
    [VERB_NETWORK_CONFIG_REQUEST] = "NETWORK_CONFIG_REQUEST",
    [VERB_PUSH_DIRECT_PATHS] = "PUSH_DIRECT_PATHS",
};

/* CB-3: every datagram opens with the listed identities and is what its summary says. */
static void test_bootstrap_transcript_decodes(void **state)
{
    json_t *it;
    size_t i;
    unsigned opened = 0;

    (void)state;
    json_array_foreach(vec_get(vec_get(vl1_vectors(), "transcript_bootstrap"), "datagrams"), i, it)
    {
        size_t len;
        uint8_t *pkt = vec_bytes(it, "data", &len);
        const char *summary = vec_text(it, "summary");
        const char *from = "";
        const char *to = "";
        char text[128];

        if (len >= PACKET_MIN) {
            struct identity source = by_address(packet_source(pkt), &from);
            struct identity dest = by_address(packet_dest(pkt), &to);
            uint8_t secret[SHARED_KEY_LEN];
            struct armor_keys keys;
            const char *verb;

            assert_int_equal(identity_agree(&dest, &source, secret), 0);
            armor_keys_init(&keys, secret);
            assert_int_equal(armor_open(pkt, len, &keys), 0);
            verb = packet_verb(pkt) < COUNT_OF(suite_verbs) ? suite_verbs[packet_verb(pkt)] : NULL;
            snprintf(text, sizeof(text), "[%s>%s] hops %u c%u %s", from, to, packet_hops(pkt),
                     packet_suite(pkt), verb != NULL ? verb : "?");
            if (strncmp(summary, text, strlen(text)) != 0) {
                fail_msg("%s is not %s", text, summary);
            }
            opened++;
        } else {
            assert_int_equal(len, 4);
        }
        free(pkt);
    }
    assert_true(opened > 150);
}

/* The same datagrams as far as they go to one node, given to ours in its place and at their times:
 * all are authentic, nothing is malformed, and roots and peers of the recording get answers. */
static void test_bootstrap_transcript_is_received(void **state)
{
    static const char *const names[] = {"alice", "bob", "root1", "carol"};
    json_t *section = vec_get(vl1_vectors(), "transcript_bootstrap");
    size_t planet_len;
    uint8_t *planet = vec_bytes(section, "planet", &planet_len);

    (void)state;
    for (size_t n = 0; n < COUNT_OF(names); n++) {
        struct host *h = host_new(names[n]);
        int64_t t0 = h->now_ms;
        json_t *it;
        size_t i;
        unsigned given = 0;

        host_store(h, STATE_PLANET, 0, planet, planet_len);
        host_start(h);
        json_array_foreach(vec_get(section, "datagrams"), i, it)
        {
            size_t len;
            uint8_t *data = vec_bytes(it, "data", &len);
            int64_t at = t0 + vec_int(it, "t_ms") + 10;

            if (len >= PACKET_MIN && packet_dest(data) == h->identity.address &&
                json_object_get(it, "fate") == NULL) {
                if (at > h->now_ms) {
                    host_run(h, at - h->now_ms);
                }
                host_receive(h, SOCK, vec_text(it, "src"), data, len);
                given++;
            }
            free(data);
        }
        assert_true(given > 10);
        assert_int_equal(host_count(h, VL1_DROP_MAC) + host_count(h, VL1_DROP_MALFORMED) +
                             host_count(h, VL1_DROP_LZ4) + host_count(h, VL1_DROP_HELLO) +
                             host_count(h, VL1_DROP_SUITE),
                         0);
        assert_true(host_count(h, VL1_RX_PACKETS) > 10);
        host_free(h);
    }
    free(planet);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rendezvous_choice_vectors),
        cmocka_unit_test(test_introductions_are_spaced),
        cmocka_unit_test(test_forged_pairs_cause_few_introductions),
        cmocka_unit_test(test_surface_reports_of_other_scopes),
        cmocka_unit_test(test_change_of_surface_address),
        cmocka_unit_test(test_surface_table),
        cmocka_unit_test(test_bootstrap_transcript_decodes),
        cmocka_unit_test(test_bootstrap_transcript_is_received),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
