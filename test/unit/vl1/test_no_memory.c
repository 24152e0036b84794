/* Out of memory at any single allocation: the packet is dropped or the request fails, nothing
 * breaks and nothing leaks, and vl1 works on once there is memory again. */
#include "bench.h"

#include "wire/identity.h"

#include <stdlib.h>
#include <string.h>

/* Allocation of the engine that fails, counting from 1; 0 = none. */
static unsigned long fail_at;
static unsigned long allocations;

void *__real_malloc(size_t size);
void *__real_calloc(size_t count, size_t size);
void *__real_realloc(void *ptr, size_t size);
void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t count, size_t size);
void *__wrap_realloc(void *ptr, size_t size);

static bool must_fail(void)
{
    return bench_in_engine > 0 && ++allocations == fail_at;
}

void *__wrap_malloc(size_t size)
{
    return must_fail() ? NULL : __real_malloc(size);
}

void *__wrap_calloc(size_t count, size_t size)
{
    return must_fail() ? NULL : __real_calloc(count, size);
}

void *__wrap_realloc(void *ptr, size_t size)
{
    return must_fail() ? NULL : __real_realloc(ptr, size);
}

static const char *const ROOT1_AT = "198.51.100.10/9993";
static const char *const BOB_AT = "46.0.0.1/9993";

static void whois_answer(struct actor *root, struct host *h, const struct identity *id)
{
    uint8_t body[128];
    struct wr w = wr_init(body, sizeof(body));

    await_add(h->vl1, 5, root->identity.address, VERB_WHOIS, h->now_ms);
    ok_head_write(&w, &(struct reply_head){VERB_WHOIS, 5});
    identity_write(&w, id, false);
    actor_send(root, h, ROOT1_AT, SUITE_AES_GMAC_SIV, VERB_OK, body, wr_len(&w));
}

static void world_update(struct actor *root, struct host *h)
{
    uint8_t body[PACKET_MAX];
    struct wr w = wr_init(body, PACKET_PAYLOAD_MAX);
    size_t len;
    uint8_t *v2 = vec_bytes(vl1_named("worlds", "planet_v2"), "serialized", &len);

    await_add(h->vl1, 6, root->identity.address, VERB_HELLO, h->now_ms);
    ok_head_write(&w, &(struct reply_head){VERB_HELLO, 6});
    ok_hello_encode(&w, &(struct ok_hello){.version = {12, 1, 14, 1},
                                           .has_address = true,
                                           .has_worlds = true,
                                           .worlds = v2,
                                           .worlds_len = len});
    actor_send(root, h, ROOT1_AT, SUITE_AES_GMAC_SIV, VERB_OK, body, wr_len(&w));
    free(v2);
}

static void fragmented_frame(struct actor *a, struct host *h)
{
    uint8_t pkt[PACKET_MAX] = {0};
    struct fragment_plan plan;

    packet_start(pkt, a->next_id++, h->identity.address, a->identity.address, VERB_FRAME);
    packet_set_fragmented(pkt, true);
    armor_seal(pkt, 3000, SUITE_AES_GMAC_SIV, &a->keys);
    assert_int_equal(fragment_plan(3000, MTU_PHYSICAL_DEFAULT, &plan), 0);
    for (unsigned i = 0; i < plan.total; i++) {
        uint8_t part[MTU_PHYSICAL_DEFAULT];
        struct fragment_piece piece;

        fragment_cut(pkt, &plan, i, &piece);
        memcpy(part, piece.head, piece.head_len);
        memcpy(part + piece.head_len, piece.data, piece.len);
        host_receive(h, SOCK, BOB_AT, part, piece.head_len + piece.len);
    }
}

/* A bit of everything that allocates. Nothing is asserted about what came of it. */
static void live(struct host *h, struct actor *root, struct actor *bob, struct actor *carol)
{
    uint8_t pkt[PACKET_MAX];
    size_t len;

    (void)actor_answer(root, h, ROOT1_AT, 0, 12);
    len = actor_hello(bob, h, 12, "10.0.0.1/9993", NULL, 0, pkt);
    host_receive(h, SOCK, BOB_AT, pkt, len);
    (void)actor_answer(bob, h, BOB_AT, 0, 12);
    actor_send(carol, h, "46.0.0.3/9993", SUITE_AES_GMAC_SIV, VERB_FRAME, "x", 1);
    host_frame(h, carol->identity.address, "x", 1);
    whois_answer(root, h, &carol->identity);
    actor_send(bob, h, BOB_AT, SUITE_AES_GMAC_SIV, VERB_FRAME, "x", 1);
    h->verdict = VL1_LATER;
    actor_send(bob, h, BOB_AT, SUITE_AES_GMAC_SIV, VERB_FRAME, "y", 1);
    h->verdict = VL1_TRUST;
    fragmented_frame(bob, h);
    for (unsigned i = 0; i < 60; i++) {
        actor_send(bob, h, BOB_AT, SUITE_AES_GMAC_SIV, VERB_NOP, "", 0);
    }
    bench_in_engine++;
    vl1_enter(h->vl1);
    (void)vl1_peer_is_validated(h->vl1, host_peer(h, h->vl1->upstreams[0]), h->now_ms);
    (void)!vl1_orbit(h->vl1, 0x99, carol->identity.address, h->now_ms);
    (void)!vl1_add_virtual(h->vl1, 1, NULL, 0, NULL, 0);
    (void)!vl1_set_sockets(h->vl1, h->sockets, h->socket_count, h->now_ms);
    vl1_leave(h->vl1, h->now_ms);
    bench_in_engine--;
    host_run(h, 1000);
    world_update(root, h);
    (void)vl1_deorbit(h->vl1, 0x99, h->now_ms);
    host_run(h, 20000);
}

static void one_life(unsigned long which)
{
    struct host *h = host_up("alice", "planet_v1");
    struct actor *root = actor_new("root1", h);
    struct actor *bob = actor_new("bob", h);
    struct actor *carol = actor_new("carol", h);

    allocations = 0;
    fail_at = which;
    live(h, root, bob, carol);
    fail_at = 0;
    /* there is memory again: it works */
    host_run(h, 15000);
    host_forget(h);
    actor_meet(bob, h, "46.0.0.2/9993", 12);
    host_forget(h);
    host_frame(h, bob->identity.address, "z", 1);
    assert_int_equal(actor_count(bob, h, VERB_FRAME, 0), 1);
    actor_free(root);
    actor_free(bob);
    actor_free(carol);
    host_free(h);
}

static void test_each_allocation_may_fail(void **state)
{
    unsigned long which = 1;

    (void)state;
    do {
        one_life(which);
    } while (allocations >= which++);
    printf("%lu allocations, each failed once\n", which - 2);
    assert_true(which > 30);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_each_allocation_may_fail),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
