/* What kind of NAT reports show, why peers are relayed to, what others can make us send to find
 * them, and cluster redirects. Spec 02 sections 6.8, 7.7 and 8, Do better 6 and 19; doc/nat.md. */
#include "bench.h"

#include <stdlib.h>
#include <string.h>

static const char *const ROOT1_AT = "198.51.100.10/9993";
static const char *const BOB_AT = "46.0.0.1/9993";

/* A HELLO that says the host's address is `mine`. */
static void report(struct actor *a, struct host *h, const char *from, const char *mine)
{
    uint8_t pkt[PACKET_MAX];
    size_t len = actor_hello(a, h, 12, mine, NULL, 0, pkt);

    host_receive(h, SOCK, from, pkt, len);
}

enum who { NOBODY, ROOT1, ROOT2, BOB, CAROL, DAVE, ALL };

struct crowd {
    struct host *h;
    struct actor *actors[ALL];
};

static struct crowd crowd_new(void)
{
    static const char *const names[ALL] = {NULL, "root1", "root2", "bob", "carol", "dave"};
    struct crowd c = {.h = host_up("alice", "planet_v1")};

    for (size_t i = 1; i < ALL; i++) {
        c.actors[i] = actor_new(names[i], c.h);
    }
    return c;
}

static void crowd_free(struct crowd *c)
{
    for (size_t i = 1; i < ALL; i++) {
        actor_free(c->actors[i]);
    }
    host_free(c->h);
}

/* Roots and the others are at addresses of one scope with what they see. */
static void say(struct crowd *c, enum who who, const char *mine)
{
    static const char *const at[ALL] = {
        NULL, "198.51.100.10/9993", "203.0.113.20/443", "10.7.0.1/1", "10.7.0.2/1", "10.7.0.3/1",
    };

    report(c->actors[who], c->h, at[who], mine);
}

static void test_kinds(void **state)
{
    static const struct {
        struct {
            enum who who;
            const char *mine;
        } says[5];
        enum nat_kind kind;
    } cases[] = {
        {{{NOBODY, NULL}}, NAT_UNKNOWN},
        {{{ROOT1, "10.9.9.9/5000"}}, NAT_UNKNOWN},
        {{{ROOT1, "10.9.9.9/5000"}, {ROOT2, "10.9.9.9/5000"}}, NAT_CONE},
        {{{ROOT1, "10.0.0.1/9993"}, {ROOT2, "10.0.0.1/9993"}}, NAT_NONE},
        {{{ROOT1, "10.9.9.9/5000"}, {ROOT2, "10.9.9.9/5001"}}, NAT_SEQUENTIAL},
        {{{ROOT1, "10.9.9.9/5016"}, {ROOT2, "10.9.9.9/5000"}}, NAT_SEQUENTIAL},
        {{{ROOT1, "10.9.9.9/5000"}, {ROOT2, "10.9.9.9/5017"}}, NAT_RANDOM},
        {{{ROOT1, "10.9.9.9/5000"}, {ROOT2, "10.9.9.9/61000"}}, NAT_RANDOM},
        /* a leaf confirms, but does not refute, alone or against two roots */
        {{{ROOT1, "10.9.9.9/5000"}, {BOB, "10.9.9.9/5000"}}, NAT_CONE},
        {{{ROOT1, "10.9.9.9/5000"}, {BOB, "10.9.9.9/7000"}}, NAT_UNKNOWN},
        {{{ROOT1, "10.9.9.9/5000"}, {BOB, "10.9.9.9/7000"}, {CAROL, "10.9.9.9/30000"}}, NAT_RANDOM},
        {{{ROOT1, "10.9.9.9/5000"}, {BOB, "10.9.9.9/7000"}, {CAROL, "10.9.9.9/5000"}}, NAT_CONE},
        {{{ROOT1, "10.9.9.9/5000"}, {ROOT2, "10.9.9.9/5000"}, {BOB, "10.9.9.9/7000"}}, NAT_CONE},
        {{{ROOT1, "10.9.9.9/5000"},
          {ROOT2, "10.9.9.9/61000"},
          {BOB, "10.9.9.9/5000"},
          {CAROL, "10.9.9.9/5000"}},
         NAT_RANDOM},
        {{{BOB, "10.9.9.9/5000"}, {CAROL, "10.9.9.9/5000"}}, NAT_CONE},
        {{{BOB, "10.9.9.9/5000"}, {CAROL, "10.9.9.9/61000"}}, NAT_UNKNOWN},
        {{{BOB, "10.9.9.9/5000"}, {CAROL, "10.9.9.9/61000"}, {DAVE, "10.9.9.9/30000"}}, NAT_RANDOM},
        /* one reporter, twice */
        {{{ROOT1, "10.9.9.9/5000"}, {ROOT1, "10.9.9.9/5000"}}, NAT_UNKNOWN},
    };

    (void)state;
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct crowd c = crowd_new();

        for (size_t k = 0; k < COUNT_OF(cases[i].says) && cases[i].says[k].who != NOBODY; k++) {
            say(&c, cases[i].says[k].who, cases[i].says[k].mine);
            host_run(c.h, 10);
        }
        if (vl1_nat_kind(c.h->vl1, INETADDR_V4) != cases[i].kind) {
            fail_msg("case %zu: %s", i, nat_kind_text(vl1_nat_kind(c.h->vl1, INETADDR_V4)));
        }
        assert_int_equal(vl1_nat_kind(c.h->vl1, INETADDR_V6), NAT_UNKNOWN);
        crowd_free(&c);
    }
}

/* A mapping that changed is not compared with what was seen before; nor are reports of long ago. */
static void test_kind_follows_changes(void **state)
{
    struct crowd c = crowd_new();

    (void)state;
    say(&c, ROOT1, "10.9.9.9/5000");
    say(&c, ROOT2, "10.9.9.9/5000");
    assert_int_equal(vl1_nat_kind(c.h->vl1, INETADDR_V4), NAT_CONE);
    host_run(c.h, 1000);
    say(&c, ROOT1, "10.9.9.9/50000");
    assert_int_equal(vl1_nat_kind(c.h->vl1, INETADDR_V4), NAT_UNKNOWN);
    host_run(c.h, 1000);
    say(&c, ROOT2, "10.9.9.9/50000");
    say(&c, ROOT1, "10.9.9.9/50000");
    assert_int_equal(vl1_nat_kind(c.h->vl1, INETADDR_V4), NAT_CONE);
    host_run(c.h, 1000);
    say(&c, ROOT1, "10.8.8.8/50000"); /* another IP */
    assert_int_equal(vl1_nat_kind(c.h->vl1, INETADDR_V4), NAT_UNKNOWN);
    say(&c, ROOT2, "10.8.8.8/50000");
    assert_int_equal(vl1_nat_kind(c.h->vl1, INETADDR_V4), NAT_CONE);
    host_run(c.h, NAT_FRESH_MS);
    say(&c, ROOT1, "10.8.8.8/50000");
    assert_int_equal(vl1_nat_kind(c.h->vl1, INETADDR_V4), NAT_UNKNOWN);
    crowd_free(&c);
}

/* What was said about a socket is not told to others when it is gone or has another address. */
static void test_reports_end_with_the_socket(void **state)
{
    static const struct vl1_socket other[] = {
        {.id = SOCK, .local = {INETADDR_V4, {10, 0, 0, 2}, 9993}},
        {.id = SOCK_B, .local = {INETADDR_V4, {10, 0, 0, 1}, 9993}},
    };

    (void)state;
    for (size_t i = 0; i < COUNT_OF(other); i++) {
        struct crowd c = crowd_new();
        struct inetaddr seen[4];

        say(&c, ROOT1, "10.9.9.9/5000");
        say(&c, ROOT2, "10.9.9.9/61000");
        assert_int_equal(vl1_surfaces(c.h->vl1, seen, COUNT_OF(seen)), 2);
        assert_int_equal(vl1_nat_kind(c.h->vl1, INETADDR_V4), NAT_RANDOM);
        host_forget(c.h);
        vl1_enter(c.h->vl1);
        assert_int_equal(vl1_set_sockets(c.h->vl1, c.h->sockets, 1, c.h->now_ms), 0);
        assert_int_equal(vl1_surfaces(c.h->vl1, seen, COUNT_OF(seen)), 2); /* nothing changed */
        assert_int_equal(vl1_set_sockets(c.h->vl1, &other[i], 1, c.h->now_ms), 0);
        vl1_leave(c.h->vl1, c.h->now_ms);
        assert_int_equal(vl1_surfaces(c.h->vl1, seen, COUNT_OF(seen)), 0);
        assert_int_equal(vl1_nat_kind(c.h->vl1, INETADDR_V4), NAT_UNKNOWN);
        crowd_free(&c);
    }
}

/* ---- pushes ---- */

static void push(struct actor *from, struct host *h, const struct push_path *paths, size_t count)
{
    uint8_t body[PACKET_MAX];
    struct wr w = wr_init(body, PACKET_PAYLOAD_MAX);

    assert_int_equal(push_paths_encode(&w, paths, count), count);
    actor_send_hops(from, h, ROOT1_AT, SUITE_AES_GMAC_SIV, VERB_PUSH_DIRECT_PATHS, body, wr_len(&w),
                    1);
}

static void introduce(struct crowd *c, enum who who, const char *at)
{
    uint8_t body[RENDEZVOUS_MAX];
    struct wr w = wr_init(body, sizeof(body));

    rendezvous_encode(
        &w, &(struct rendezvous){.address = c->actors[who]->identity.address, .at = addr(at)});
    actor_send(c->actors[ROOT1], c->h, ROOT1_AT, SUITE_AES_GMAC_SIV, VERB_RENDEZVOUS, body,
               wr_len(&w));
}

/* Our pushes tell the kind, once in a packet and family. */
static void test_push_tells_the_kind(void **state)
{
    struct crowd c = crowd_new();
    struct opened_packet *p;
    struct push_paths walk;
    struct push_path rec;
    unsigned notes = 0;

    (void)state;
    assert_true(actor_answer(c.actors[ROOT1], c.h, ROOT1_AT, 0, 12) > 0);
    say(&c, ROOT1, "10.9.9.9/5000");
    say(&c, ROOT2, "10.9.9.9/61000");
    host_know(c.h, &c.actors[BOB]->identity, 12);
    host_forget(c.h);
    c.h->verdict = VL1_TRUST;
    actor_send_hops(c.actors[BOB], c.h, ROOT1_AT, SUITE_AES_GMAC_SIV, VERB_FRAME, "x", 1, 1);
    p = actor_find(c.actors[BOB], c.h, VERB_PUSH_DIRECT_PATHS, 0);
    assert_non_null(p);
    assert_int_equal(push_paths_decode(rd_init(p->data, p->len), &walk), 0);
    while (push_paths_next(&walk, &rec) > 0) {
        notes += rec.note.there;
        assert_true(!rec.note.there || (rec.note.nat == NAT_RANDOM && rec.note.flags == 0));
    }
    assert_int_equal(notes, 1);
    free(p);
    crowd_free(&c);
}

/* ---- seeking ---- */

/* Datagrams to an IP since `since`; *ret_second: most of them within a second. */
static unsigned count_to(struct host *h, const char *ip, size_t since, unsigned *ret_second)
{
    struct inetaddr to = addr(ip);
    unsigned count = 0;

    *ret_second = 0;
    for (size_t i = since; i < h->sent_count; i++) {
        const struct datagram *d = host_sent(h, i);
        unsigned second = 0;

        if (!inetaddr_ip_equal(&d->to, &to)) {
            continue;
        }
        count++;
        for (size_t k = i; k < h->sent_count && host_sent(h, k)->at_ms < d->at_ms + 1000; k++) {
            second += inetaddr_ip_equal(&host_sent(h, k)->to, &to);
        }
        *ret_second = second > *ret_second ? second : *ret_second;
    }
    return count;
}

static void ask_to_seek(struct crowd *c, enum who who, const char *at)
{
    struct push_path rec = {
        .at = addr(at),
        .note = {.there = true, .nat = NAT_RANDOM, .flags = PUSH_NOTE_SEEK},
    };

    push(c->actors[who], c->h, &rec, 1);
}

/* What is sent within ten seconds to the IP of `at` after it was asked for. */
static unsigned sought(struct crowd *c, enum who who, const char *at)
{
    unsigned second;

    host_forget(c->h);
    ask_to_seek(c, who, at);
    host_run(c->h, 9000);
    return count_to(c->h, at, 0, &second);
}

static void trust(struct crowd *c, enum who who)
{
    host_peer(c->h, c->actors[who]->identity.address)->last_trust_ms = c->h->now_ms;
}

static struct crowd seekers(void)
{
    struct crowd c = crowd_new();

    assert_true(actor_answer(c.actors[ROOT1], c.h, ROOT1_AT, 0, 12) > 0);
    host_know(c.h, &c.actors[BOB]->identity, 12);
    host_know(c.h, &c.actors[CAROL]->identity, 12);
    return c;
}

static void test_seeking_needs_trust_and_a_voucher(void **state)
{
    struct crowd c = seekers();

    (void)state;
    trust(&c, BOB);
    assert_int_equal(sought(&c, BOB, "46.5.5.5/1000"), 0); /* nobody vouches for it */
    introduce(&c, BOB, "46.6.6.6/1000");
    host_run(c.h, 10000);
    assert_int_equal(sought(&c, BOB, "46.5.5.5/1000"), 0); /* for another one */
    introduce(&c, CAROL, "46.7.7.7/1000");
    host_run(c.h, 10000);
    assert_int_equal(sought(&c, CAROL, "46.7.7.7/1000"), 0); /* not trusted */
    trust(&c, CAROL);
    assert_int_equal(sought(&c, CAROL, "46.7.7.7/1000"), SEEK_PORTS);
    for (unsigned i = 0; i < 3; i++) { /* not forgotten */
        host_run(c.h, MET_MS / 3);
        actor_send_hops(c.actors[BOB], c.h, ROOT1_AT, SUITE_AES_GMAC_SIV, VERB_NOP, "", 0, 1);
    }
    trust(&c, BOB);
    assert_int_equal(sought(&c, BOB, "46.6.6.6/1000"), 0); /* long ago */
    crowd_free(&c);
}

static void test_seeking_is_bounded(void **state)
{
    struct crowd c = seekers();
    unsigned char seen[65536 / 8] = {0};
    unsigned second;
    unsigned near = 0;

    (void)state;
    trust(&c, BOB);
    trust(&c, CAROL);
    introduce(&c, BOB, "46.6.6.6/1030");
    introduce(&c, CAROL, "46.6.6.6/2000"); /* the same IP */
    host_run(c.h, 10000);
    host_forget(c.h);
    ask_to_seek(&c, BOB, "46.6.6.6/1030");
    host_run(c.h, 1000);
    ask_to_seek(&c, CAROL, "46.6.6.6/2000"); /* one at a time */
    host_run(c.h, 8000);
    assert_int_equal(count_to(c.h, "46.6.6.6/1", 0, &second), SEEK_PORTS);
    assert_in_range(second, 200, 1000 / SEEK_TICK_MS * SEEK_TICK_PORTS);
    for (size_t i = 0; i < c.h->sent_count; i++) {
        const struct datagram *d = host_sent(c.h, i);

        if (d->to.ip[0] == 46) {
            assert_true(d->to.port >= 1024);
            near += d->to.port >= 1030 - SEEK_NEAR && d->to.port <= 1030 + SEEK_NEAR / 2;
            seen[d->to.port / 8] |= (unsigned char)(1u << d->to.port % 8);
        }
    }
    assert_true(near >= SEEK_NEAR / 2);
    second = 0;
    for (unsigned port = 0; port < 65536; port++) {
        second += (unsigned)seen[port / 8] >> port % 8 & 1u;
    }
    assert_true(second >= SEEK_PORTS - SEEK_NEAR); /* no port twice, but near ones by chance */
    /* 10 s, 45 s, then 4 min apart, whoever asks */
    assert_int_equal(sought(&c, CAROL, "46.6.6.6/2000"), 0);
    assert_int_equal(sought(&c, CAROL, "46.6.6.6/2000"), SEEK_PORTS);
    assert_int_equal(sought(&c, BOB, "46.6.6.6/1030"), 0);
    host_run(c.h, 35000);
    assert_int_equal(sought(&c, BOB, "46.6.6.6/1030"), SEEK_PORTS);
    host_run(c.h, 225000);
    assert_int_equal(sought(&c, BOB, "46.6.6.6/1030"), 0);
    assert_int_equal(sought(&c, BOB, "46.6.6.6/1030"), SEEK_PORTS);
    crowd_free(&c);
}

/* Behind a symmetric NAT ourselves there is no use. */
static void test_symmetric_does_not_seek(void **state)
{
    struct crowd c = seekers();

    (void)state;
    trust(&c, BOB);
    introduce(&c, BOB, "46.6.6.6/1000");
    say(&c, ROOT1, "10.9.9.9/5000");
    say(&c, ROOT2, "10.9.9.9/61000");
    host_run(c.h, 10000);
    assert_int_equal(sought(&c, BOB, "46.6.6.6/1000"), 0);
    crowd_free(&c);
}

/* ---- reasons ---- */

static enum relay_reason reason_of(struct crowd *c, enum who who)
{
    struct peer_view view;

    peer_look(host_peer(c->h, c->actors[who]->identity.address), c->h->now_ms, &view);
    return view.relay_reason;
}

static void test_reasons(void **state)
{
    struct crowd c = seekers();
    struct physical_entry black = {.net = addr("46.0.0.0/8"), .blacklist = true};
    struct push_path rec = {.at = addr("46.5.5.5/1000"),
                            .note = {.there = true, .nat = NAT_RANDOM}};

    (void)state;
    assert_int_equal(reason_of(&c, BOB), RELAY_REASON_SILENT);
    actor_send_hops(c.actors[BOB], c.h, ROOT1_AT, SUITE_AES_GMAC_SIV, VERB_NOP, "", 0, 1);
    assert_int_equal(reason_of(&c, BOB), RELAY_REASON_NOT_TRIED);
    actor_send_hops(c.actors[BOB], c.h, ROOT1_AT, SUITE_AES_GMAC_SIV, VERB_FRAME, "x", 1, 1);
    assert_int_equal(reason_of(&c, BOB), RELAY_REASON_NO_ADDRESS);
    vl1_set_physical(c.h->vl1, &black, 1);
    trust(&c, BOB);
    push(c.actors[BOB], c.h, &rec, 1);
    assert_int_equal(reason_of(&c, BOB), RELAY_REASON_POLICY);
    vl1_set_physical(c.h->vl1, NULL, 0);
    push(c.actors[BOB], c.h, &rec, 1);
    assert_int_equal(reason_of(&c, BOB), RELAY_REASON_NO_ANSWER);
    say(&c, ROOT1, "10.9.9.9/5000");
    say(&c, ROOT2, "10.9.9.9/61000");
    assert_int_equal(reason_of(&c, BOB), RELAY_REASON_BOTH_SYMMETRIC);
    host_forget(c.h);
    actor_meet(c.actors[BOB], c.h, BOB_AT, 12);
    assert_int_equal(reason_of(&c, BOB), RELAY_REASON_NONE);
    crowd_free(&c);
}

static void test_texts(void **state)
{
    (void)state;
    for (int i = 0; i <= NAT_RANDOM; i++) {
        assert_true(strlen(nat_kind_text((enum nat_kind)i)) > 0);
    }
    for (int i = 0; i <= RELAY_REASON_BOTH_SYMMETRIC; i++) {
        assert_true(strlen(relay_reason_text((enum relay_reason)i)) > 0);
    }
    assert_non_null(nat_kind_text((enum nat_kind)99));
    assert_non_null(relay_reason_text((enum relay_reason)99));
}

/* ---- cluster redirect ---- */

/* Where frames to bob go now. */
static bool goes_to(struct crowd *c, const char *at)
{
    struct inetaddr want = addr(at);
    struct opened_packet *p;
    bool same;

    host_forget(c->h);
    host_frame(c->h, c->actors[BOB]->identity.address, "x", 1);
    p = actor_find(c->actors[BOB], c->h, VERB_FRAME, 0);
    assert_non_null(p);
    same = inetaddr_equal(&p->to, &want);
    free(p);
    return same;
}

/* PP-15: traffic moves when the new address answered, not before; a dead one does no harm, neither
 * at once nor later. */
static void test_cluster_redirect(void **state)
{
    static const char *const far_at = "46.0.0.2/9993";
    struct crowd c = crowd_new();
    struct push_path rec = {.flags = PUSH_FLAG_REDIRECT, .at = addr("46.0.0.9/9993")};
    struct actor *bob = c.actors[BOB];

    (void)state;
    actor_meet(bob, c.h, BOB_AT, 12);
    trust(&c, BOB);
    push(bob, c.h, &rec, 1); /* dead */
    assert_true(goes_to(&c, BOB_AT));
    actor_run(bob, c.h, BOB_AT, 20000, 12);
    assert_true(goes_to(&c, BOB_AT));
    host_forget(c.h);
    rec.at = addr(far_at);
    push(bob, c.h, &rec, 1);
    host_run(c.h, 300); /* three hundred times slower than the old one */
    assert_true(actor_answer(bob, c.h, far_at, 0, 12) > 0);
    assert_true(goes_to(&c, far_at));
    host_run(c.h, 100);
    assert_true(goes_to(&c, far_at));
    actor_run(bob, c.h, BOB_AT, 10000, 12); /* it dies: only the old one answers */
    assert_true(goes_to(&c, BOB_AT));
    crowd_free(&c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_kinds),
        cmocka_unit_test(test_kind_follows_changes),
        cmocka_unit_test(test_reports_end_with_the_socket),
        cmocka_unit_test(test_push_tells_the_kind),
        cmocka_unit_test(test_seeking_needs_trust_and_a_voucher),
        cmocka_unit_test(test_seeking_is_bounded),
        cmocka_unit_test(test_symmetric_does_not_seek),
        cmocka_unit_test(test_reasons),
        cmocka_unit_test(test_texts),
        cmocka_unit_test(test_cluster_redirect),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
