/* What is done behind our own symmetric NAT to be reached, and what it leaves alone. Spec 02
 * section 7.7, Do better 6; doc/nat.md. */
#include "bench.h"

#include <stdlib.h>
#include <string.h>

enum { EXTRA = 1000 }; /* sockets opened by the engine begin here */

static const char *const ROOT_AT[] = {"198.51.100.10/9993", "203.0.113.20/443"};

static unsigned opened;

static size_t open_extra(void *ctx, uint32_t like, struct engine_socket *ret, size_t count)
{
    (void)ctx;
    assert_int_equal(like, SOCK);
    for (size_t i = 0; i < count; i++) {
        ret[i] = (struct engine_socket){EXTRA + opened++, addr("10.0.0.1/40000")};
    }
    return count;
}

static void close_extra(void *ctx, uint32_t id, bool keep)
{
    (void)ctx;
    (void)keep;
    assert_in_range(id, EXTRA, EXTRA + opened - 1);
}

struct scene {
    struct host *h;
    struct actor *roots[2];
    struct actor *bob;
    size_t seen; /* datagrams looked at */
};

/* A root says at which port it sees the socket of a packet. */
static void answer(struct scene *s, size_t root, const struct opened_packet *p, const char *mine)
{
    uint8_t body[128];
    uint8_t pkt[PACKET_MAX];
    struct wr w = wr_init(body, sizeof(body));
    struct inetaddr from = addr(ROOT_AT[root]);
    struct hello hello;
    size_t n;

    assert_int_equal(hello_decode(rd_init(p->data, p->len), &hello), 0);
    ok_head_write(&w, &(struct reply_head){VERB_HELLO, p->id});
    ok_hello_encode(&w, &(struct ok_hello){.timestamp = hello.timestamp,
                                           .version = {12, 1, 14, 1},
                                           .has_address = true,
                                           .address = addr(mine),
                                           .has_worlds = true});
    n = actor_seal(s->roots[root], s->h, SUITE_AES_GMAC_SIV, VERB_OK, body, wr_len(&w), pkt, NULL);
    host_receive_addr(s->h, p->socket, &from, pkt, n);
}

/* A while in which the roots see the usual socket at usual[] and others at extra[]; NULL: no
 * answer. */
static void run(struct scene *s, int64_t ms, const char *const usual[2], const char *const extra[2])
{
    int64_t end = s->h->now_ms + ms;

    while (s->h->now_ms < end) {
        size_t stop = s->h->sent_count;

        for (size_t i = 0; i < 2; i++) {
            struct opened_packet *p;

            for (size_t at = s->seen;
                 (p = actor_find(s->roots[i], s->h, VERB_HELLO, at)) != NULL && p->index < stop;) {
                const char *mine = p->socket == SOCK ? usual[i] : extra[i];
                struct inetaddr to = addr(ROOT_AT[i]);

                at = p->index + 1;
                if (mine != NULL && inetaddr_equal(&p->to, &to)) {
                    answer(s, i, p, mine);
                }
                free(p);
            }
            free(p);
        }
        s->seen = stop;
        host_run(s->h, 50);
    }
}

static void introduce(struct scene *s, const char *at)
{
    uint8_t body[RENDEZVOUS_MAX];
    struct wr w = wr_init(body, sizeof(body));

    rendezvous_encode(&w,
                      &(struct rendezvous){.address = s->bob->identity.address, .at = addr(at)});
    actor_send(s->roots[0], s->h, ROOT_AT[0], SUITE_AES_GMAC_SIV, VERB_RENDEZVOUS, body,
               wr_len(&w));
}

/* Bob shares a network and says that his NAT is a good one. */
static void trust(struct scene *s)
{
    struct peer *peer = host_peer(s->h, s->bob->identity.address);

    peer->last_trust_ms = peer->last_receive_ms = s->h->now_ms;
    peer_traversal(peer)->nat[0] = NAT_CONE;
    peer->traversal->next_ms = 0;
}

static struct scene scene_new(void)
{
    static const char *const names[] = {"root1", "root2"};
    struct scene s = {.h = host_up("alice", "planet_v1")};

    opened = 0;
    s.h->vl1->env.extra_open = open_extra;
    s.h->vl1->env.extra_close = close_extra;
    for (size_t i = 0; i < 2; i++) {
        s.roots[i] = actor_new(names[i], s.h);
    }
    s.bob = actor_new("bob", s.h);
    host_know(s.h, &s.bob->identity, 12);
    return s;
}

static void scene_free(struct scene *s)
{
    for (size_t i = 0; i < 2; i++) {
        actor_free(s->roots[i]);
    }
    actor_free(s->bob);
    host_free(s->h);
}

static unsigned sent_to(struct host *h, const char *ip)
{
    struct inetaddr to = addr(ip);
    unsigned count = 0;

    for (size_t i = 0; i < h->sent_count; i++) {
        count += inetaddr_ip_equal(&host_sent(h, i)->to, &to);
    }
    return count;
}

/* What is not tried as a path is not sent to by this either, whoever names it. */
static void test_only_where_paths_may_lead(void **state)
{
    static const char *const usual[] = {"10.9.9.9/5000", "10.9.9.9/61000"};
    static const char *const extra[] = {"10.9.9.9/7000", "10.9.9.9/50000"};
    struct scene s = scene_new();

    (void)state;
    s.h->overlay = addr("46.6.6.0/24");
    run(&s, 2000, usual, extra);
    assert_int_equal(nat_of_socket(s.h->vl1, SOCK), NAT_RANDOM);
    trust(&s);
    introduce(&s, "46.6.6.6/1000"); /* in a network of ours */
    run(&s, 10000, usual, extra);
    trust(&s);
    introduce(&s, "127.0.0.1/22");
    run(&s, 10000, usual, extra);
    assert_int_equal(opened, 0);
    assert_int_equal(sent_to(s.h, "46.6.6.6/1"), 0);
    assert_int_equal(sent_to(s.h, "127.0.0.1/1"), 0);
    trust(&s);
    introduce(&s, "46.7.7.7/1000");
    run(&s, 200, usual, extra);
    s.h->overlay = addr("46.7.7.0/24"); /* joined meanwhile */
    host_forget(s.h);
    s.seen = 0;
    run(&s, 10000, usual, extra);
    assert_int_equal(opened, 0);
    assert_int_equal(sent_to(s.h, "46.7.7.7/1"), 0);
    trust(&s);
    introduce(&s, "46.8.8.8/1000");
    run(&s, 10000, usual, extra);
    assert_int_equal(opened, 1 + PUNCH_SOCKETS);
    assert_in_range(sent_to(s.h, "46.8.8.8/1"), PUNCH_SOCKETS, PUNCH_SOCKETS + 16);
    scene_free(&s);
}

/* True if Bob is asked to seek us, false if ports were guessed. */
static bool is_asked_to_seek(struct scene *s)
{
    struct opened_packet *p;
    bool seek = false;
    bool guess = false;

    for (size_t at = 0; (p = actor_find(s->bob, s->h, VERB_PUSH_DIRECT_PATHS, at)) != NULL;
         free(p)) {
        struct push_paths walk;
        struct push_path rec;

        at = p->index + 1;
        assert_int_equal(push_paths_decode(rd_init(p->data, p->len), &walk), 0);
        while (push_paths_next(&walk, &rec) > 0) {
            seek = seek || (rec.note.flags & PUSH_NOTE_SEEK) != 0;
            guess = guess || (rec.note.there && rec.note.nat == NAT_SEQUENTIAL);
        }
    }
    assert_true(seek != guess);
    return seek;
}

/* How one NAT counts its ports is not believed of the next one. */
static void test_measurement_of_another_nat(void **state)
{
    static const char *const usual[] = {"10.9.9.9/5000", "10.9.9.9/5003"};
    static const char *const extra[] = {"10.9.9.9/7000", "10.9.9.9/7003"};
    static const char *const usual_b[] = {"10.8.8.8/5000", "10.8.8.8/61000"};
    static const char *const extra_b[] = {"10.8.8.8/7000", NULL};
    struct scene s = scene_new();

    (void)state;
    run(&s, 2000, usual, extra);
    assert_int_equal(nat_of_socket(s.h->vl1, SOCK), NAT_SEQUENTIAL);
    trust(&s);
    introduce(&s, "46.7.7.7/1000");
    run(&s, 2000, usual, extra);
    assert_false(is_asked_to_seek(&s));
    run(&s, 120000, usual_b, extra_b);
    assert_int_equal(nat_of_socket(s.h->vl1, SOCK), NAT_RANDOM);
    host_forget(s.h);
    s.seen = 0;
    trust(&s);
    introduce(&s, "46.7.7.7/1000");
    run(&s, 10000, usual_b, extra_b);
    assert_true(is_asked_to_seek(&s));
    scene_free(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_only_where_paths_may_lead),
        cmocka_unit_test(test_measurement_of_another_nat),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
