/* What control publishes to workers and what flows back: objects found and withdrawn, slots,
 * harvests, the last visit before an object is released, counters; also with workers in threads
 * (and under the thread sanitizer). Source: data path contract sections 1 and 2. */
#include "vectors.h"

#include "datapath/published.h"

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { SELF = 0x1111111111, WORKERS = 3, VISITS_MAX = 4096 };

#define NWID UINT64_C(0x8056c2e21c000001)

static struct published *pub;
static struct dp_object *visits[VISITS_MAX];
static size_t visit_count;

static void visit(void *ctx, struct dp_object *object)
{
    assert_ptr_equal(ctx, &visit_count);
    assert_true(visit_count < VISITS_MAX);
    visits[visit_count++] = object;
}

static int set_up(void **state)
{
    struct packet_id_source ids = {.next = 0};

    (void)state;
    packet_id_set_key(&ids, (const uint32_t[4]){1, 2, 3, 4});
    visit_count = 0;
    pub = published_new(SELF, WORKERS, &ids, 77, visit, &visit_count);
    return pub == NULL ? -1 : 0;
}

static int tear_down(void **state)
{
    (void)state;
    published_free(pub); /* address sanitizer: nothing is left */
    return 0;
}

static struct dp_session *session_put(uint64_t address)
{
    struct dp_session *s = dp_session_new(pub, address);

    assert_non_null(s);
    dp_session_publish(s);
    assert_ptr_equal(dp_session_find(pub, address), s);
    return s;
}

static struct dp_port *port_put(uint64_t nwid)
{
    struct dp_port *p = dp_port_new(pub, nwid);

    assert_non_null(p);
    dp_port_publish(p);
    assert_ptr_equal(dp_port_find(pub, nwid), p);
    return p;
}

static struct dp_member *member_put(struct dp_port *port, uint64_t address)
{
    struct dp_member *m = dp_member_new(pub, port, address);

    assert_non_null(m);
    dp_member_publish(port, m);
    assert_ptr_equal(dp_member_find(port, address), m);
    return m;
}

static bool is_dead(const struct dp_object *object)
{
    return atomic_load(&object->is_dead);
}

static void test_new_objects_are_zero_and_aligned(void **state)
{
    struct dp_session *s = session_put(1);
    struct dp_port *p = port_put(NWID);
    struct dp_member *m = member_put(p, 1);

    (void)state;
    assert_int_equal((uintptr_t)s % 64, 0);
    assert_int_equal((uintptr_t)s->cells % 64, 0);
    assert_int_equal((uintptr_t)p->cells % 64, 0);
    assert_int_equal((uintptr_t)m->cells % 64, 0);
    for (unsigned w = 0; w < WORKERS; w++) {
        assert_int_equal(atomic_load(&s->cells[w].packets[1]), 0);
        assert_int_equal(atomic_load(&p->cells[w].in[1]), 0);
        assert_int_equal(atomic_load(&m->cells[w].in_ms), 0);
    }
    assert_int_equal(m->nwid, NWID);
    assert_int_equal(atomic_load(&m->access), 0);
    assert_false(s->can_send);
}

static void test_what_is_replaced_or_withdrawn_is_retired(void **state)
{
    struct dp_session *old = session_put(5);
    struct dp_session *new = session_put(5);

    (void)state;
    assert_true(is_dead(&old->object));
    assert_false(is_dead(&new->object));
    assert_int_equal(pub->limbo.count, 1);
    assert_int_equal(pub->limbo.number, 1);
    dp_session_withdraw(pub, 6); /* not there */
    assert_int_equal(pub->limbo.number, 1);
    dp_session_withdraw(pub, 5);
    dp_session_withdraw(pub, 5);
    assert_null(dp_session_find(pub, 5));
    assert_true(is_dead(&new->object));
    assert_int_equal(pub->limbo.count, 2);
    limbo_reclaim(&pub->limbo, pub->limbo.number);
    assert_int_equal(visit_count, 2); /* each for the last time */
    assert_ptr_equal(visits[0], &old->object);
    assert_ptr_equal(visits[1], &new->object);
}

static void test_members_go_with_their_port(void **state)
{
    struct dp_port *port = port_put(NWID);
    struct dp_port *other = port_put(NWID + 1);
    struct dp_member *m = member_put(port, 7);
    struct dp_member *far = member_put(other, 7);

    (void)state;
    assert_ptr_not_equal(m, far);
    dp_port_withdraw(pub, NWID);
    assert_null(dp_port_find(pub, NWID));
    assert_null(dp_member_find(port, 7)); /* a worker that still has the port */
    assert_true(is_dead(&m->object));
    assert_ptr_equal(dp_member_find(other, 7), far);
    limbo_reclaim(&pub->limbo, pub->limbo.number);
    assert_int_equal(visit_count, 2);
    assert_int_equal(pub->member_count, 1);
    port_put(NWID + 1); /* a new configuration: members are judged anew */
    assert_null(dp_member_find(other, 7));
    assert_null(dp_member_find(dp_port_find(pub, NWID + 1), 7));
    limbo_reclaim(&pub->limbo, pub->limbo.number);
    assert_int_equal(pub->member_count, 0);
}

static void test_routes_are_harvested(void **state)
{
    struct dp_route *r = dp_route_new(pub, 9);

    (void)state;
    assert_non_null(r);
    dp_route_publish(r);
    assert_ptr_equal(dp_route_find(pub, 9), r);
    (void)dp_touch(pub, 0, &r->object);
    assert_int_equal(published_harvest(pub), 1);
    assert_int_equal(visit_count, 1);
    dp_route_withdraw(pub, 9);
    assert_null(dp_route_find(pub, 9));
    limbo_reclaim(&pub->limbo, pub->limbo.number);
    assert_int_equal(visit_count, 2); /* once more when it was released */
}

static void test_harvest_visits_what_was_touched_once(void **state)
{
    struct dp_session *a = session_put(1);
    struct dp_session *b = session_put(2);

    (void)state;
    session_put(3);
    assert_false(published_is_dirty(pub));
    assert_int_equal(published_harvest(pub), 0);
    assert_true(dp_touch(pub, 0, &a->object)); /* the first wakes control */
    assert_false(dp_touch(pub, 0, &a->object));
    assert_false(dp_touch(pub, 0, &b->object));
    assert_true(dp_touch(pub, 2, &a->object)); /* another worker: at most once for each */
    assert_false(dp_touch(pub, 2, &a->object));
    assert_true(published_is_dirty(pub));
    assert_int_equal(published_harvest(pub), 2);
    assert_int_equal(visit_count, 2);
    assert_ptr_equal(visits[0], &a->object);
    assert_ptr_equal(visits[1], &b->object);
    assert_false(published_is_dirty(pub));
    assert_int_equal(published_harvest(pub), 0);
    assert_true(dp_touch(pub, 2, &b->object));
    assert_int_equal(published_harvest(pub), 1);
}

/* What a worker still wrote after an object was withdrawn is seen before it is released. */
static void test_last_visit_on_release(void **state)
{
    struct dp_session *s = session_put(1);

    (void)state;
    (void)dp_touch(pub, 1, &s->object);
    assert_int_equal(published_harvest(pub), 1);
    dp_session_withdraw(pub, 1);
    dp_add(&s->cells[1].packets[0], 3);
    (void)dp_touch(pub, 1, &s->object);
    assert_int_equal(published_harvest(pub), 1); /* it is still known by its slot */
    dp_add(&s->cells[1].packets[0], 4);
    (void)dp_touch(pub, 1, &s->object);
    limbo_reclaim(&pub->limbo, pub->limbo.number);
    assert_int_equal(visit_count, 3);
    assert_int_equal(published_harvest(pub), 0); /* its bit points nowhere now */
}

/* Every object has a slot of its own as long as it may be written to. */
static void test_slots_are_unique_and_used_again(void **state)
{
    struct test_rng rng = test_rng_init("slots");
    enum { ADDRESSES = 300 };
    static uint8_t used[4 * ADDRESSES + 64];

    (void)state;
    for (size_t i = 0; i < 5000; i++) {
        uint64_t address = 1 + test_rng_below(&rng, ADDRESSES);

        if (test_rng_below(&rng, 3) == 0) {
            dp_session_withdraw(pub, address);
        } else {
            session_put(address);
        }
        if (i % 64 == 0) {
            visit_count = 0;
            limbo_reclaim(&pub->limbo, pub->limbo.number);
        }
        if (i % 250 == 0) {
            size_t at = 0;
            struct table_node *node;

            memset(used, 0, sizeof(used));
            while ((node = table_each(&pub->sessions, &at)) != NULL) {
                struct dp_object *o = CONTAINER_OF(node, struct dp_object, node);

                assert_in_range(o->slot, 0, pub->slot_count - 1);
                assert_true(o->slot < sizeof(used) && !used[o->slot]);
                used[o->slot] = 1;
                assert_ptr_equal(pub->slots[o->slot], o);
            }
        }
    }
    assert_true(pub->slot_count <= 1024); /* not 5000: they are used again */
    visit_count = 0;
}

static size_t releases; /* too many to note */

static void count_visit(void *ctx, struct dp_object *object)
{
    (void)ctx;
    (void)object;
    releases++;
}

static void test_bounds(void **state)
{
    (void)state;
    pub->visit = count_visit;
    for (uint64_t a = 1; a <= DP_SESSIONS_MAX; a++) {
        session_put(a);
    }
    assert_null(dp_session_new(pub, DP_SESSIONS_MAX + 1));
    assert_true(published_has_room(pub));
    for (uint64_t a = 1; a <= DP_SESSIONS_MAX; a++) {
        dp_session_withdraw(pub, a);
    }
    assert_false(published_has_room(pub));
    limbo_reclaim(&pub->limbo, pub->limbo.number);
    assert_int_equal(releases, DP_SESSIONS_MAX);
    assert_true(published_has_room(pub));
    session_put(DP_SESSIONS_MAX + 1);
}

static void test_counts_are_sums_of_what_is_new(void **state)
{
    uint64_t counts[DP_COUNTS];

    (void)state;
    for (unsigned w = 0; w < WORKERS; w++) {
        dp_add(&pub->shared[w]->counts[DP_DROP_MAC], 1 + w);
    }
    dp_add(&pub->shared[1]->counts[DP_RX_FRAMES], 100);
    published_counts(pub, counts);
    for (size_t i = 0; i < DP_COUNTS; i++) {
        assert_int_equal(counts[i], i == DP_DROP_MAC ? 6 : i == DP_RX_FRAMES ? 100 : 0);
    }
    published_counts(pub, counts);
    assert_int_equal(counts[DP_DROP_MAC], 0);
    dp_add(&pub->shared[2]->counts[DP_DROP_MAC], 5);
    published_counts(pub, counts);
    assert_int_equal(counts[DP_DROP_MAC], 5);
}

/* ---- copies ---- */

static void test_copies_stand_alone(void **state)
{
    struct thing things[2] = {{.type = THING_MAC, .value = {0x22}},
                              {.type = THING_MAC, .value = {0x33}}};
    struct rule rules[3] = {
        {.type = RULE_ETHERTYPE, .number = 0x0800}, {.type = RULE_DROP}, {.type = RULE_ACCEPT}};
    struct filter_tag tags[2] = {{.id = 1, .value = 10}, {.id = 2, .value = 20}};
    struct filter_ownership ownerships[2] = {{.things = things, .count = 2}, {.count = 0}};
    struct filter_capability capabilities[2] = {{.id = 4, .rules = rules, .rule_count = 3},
                                                {.id = 5, .rules = rules + 1, .rule_count = 1}};
    struct inetaddr addresses[2] = {{.family = INETADDR_V4, .ip = {10}},
                                    {.family = INETADDR_V6, .ip = {0xfd}}};
    const struct filter_network net = {
        .network_id = NWID,
        .rules = rules,
        .rule_count = 3,
        .addresses = addresses,
        .address_count = 2,
        .own = {.tags = tags,
                .ownerships = ownerships,
                .capabilities = capabilities,
                .tag_count = 2,
                .ownership_count = 2,
                .capability_count = 2},
    };
    struct filter_network *copy = filter_network_copy(&net);
    struct filter_credentials *creds = filter_credentials_copy(&net.own);

    (void)state;
    assert_non_null(copy);
    assert_non_null(creds);
    memset(things, 0, sizeof(things));
    memset(rules, 0, sizeof(rules));
    memset(tags, 0, sizeof(tags));
    memset(ownerships, 0, sizeof(ownerships));
    memset(capabilities, 0, sizeof(capabilities));
    memset(addresses, 0, sizeof(addresses));
    for (const struct filter_credentials *c = creds;; c = &copy->own) {
        assert_int_equal(c->tags[0].value, 10);
        assert_int_equal(c->tags[1].id, 2);
        assert_int_equal(c->ownerships[0].count, 2);
        assert_int_equal(c->ownerships[0].things[1].value[0], 0x33);
        assert_int_equal(c->ownerships[1].count, 0);
        assert_int_equal(c->capabilities[0].id, 4);
        assert_int_equal(c->capabilities[0].rules[0].number, 0x0800);
        assert_int_equal(c->capabilities[1].rules[0].type, RULE_DROP);
        if (c == &copy->own) {
            break;
        }
    }
    assert_int_equal(copy->network_id, NWID);
    assert_int_equal(copy->rules[2].type, RULE_ACCEPT);
    assert_int_equal(copy->addresses[1].ip[0], 0xfd);
    free(copy);
    free(creds);
}

static void test_copy_of_nothing(void **state)
{
    const struct filter_network net = {.network_id = NWID};
    struct filter_network *copy = filter_network_copy(&net);
    struct filter_credentials *creds = filter_credentials_copy(&net.own);

    (void)state;
    assert_non_null(copy);
    assert_non_null(creds);
    assert_int_equal(copy->rule_count, 0);
    assert_int_equal(creds->tag_count, 0);
    free(copy);
    free(creds);
}

/* ---- workers in threads ---- */

enum { ADDRESSES = 64, ROUNDS = 1500 };

struct worker {
    pthread_t thread;
    unsigned index;
    uint64_t added; /* to cells */
    uint64_t woke;
};

static _Atomic uint64_t turns[WORKERS];
static _Atomic bool stop;
static uint64_t folded_total;

/* As the engine does: takes the difference to what it took before. */
static void fold(void *ctx, struct dp_object *object)
{
    struct dp_session *s = CONTAINER_OF(object, struct dp_session, object);
    uint64_t sum = 0;

    (void)ctx;
    for (unsigned w = 0; w < WORKERS; w++) {
        sum += atomic_load_explicit(&s->cells[w].packets[0], memory_order_relaxed);
    }
    folded_total += sum - s->folded[0];
    s->folded[0] = sum;
}

static void *work(void *arg)
{
    struct worker *self = arg;
    struct test_rng rng = {.state = 5 + self->index};

    while (!atomic_load(&stop)) {
        atomic_fetch_add(&turns[self->index], 1);
        for (unsigned i = 0; i < 16; i++) {
            uint64_t address = 1 + test_rng_below(&rng, ADDRESSES);
            struct dp_session *s = dp_session_find(pub, address);

            if (s != NULL) {
                assert_int_equal(s->object.node.key, address);
                dp_add(&s->cells[self->index].packets[0], 1);
                self->woke += dp_touch(pub, self->index, &s->object);
                self->added++;
            }
            dp_add(&pub->shared[self->index]->counts[DP_RX_PACKETS], 1);
        }
        atomic_fetch_add(&turns[self->index], 1);
    }
    return NULL;
}

static void wait_for_workers(void)
{
    for (unsigned i = 0; i < WORKERS; i++) {
        uint64_t turn = atomic_load(&turns[i]);

        while ((turn & 1) != 0 && atomic_load(&turns[i]) == turn) {
            (void)sched_yield();
        }
    }
}

/* All that workers wrote to cells arrives, once. */
static void test_workers_in_threads(void **state)
{
    struct test_rng rng = test_rng_init("published");
    struct worker workers[WORKERS] = {{0}};
    uint64_t counts[DP_COUNTS];
    uint64_t counted = 0;
    uint64_t added = 0;

    (void)state;
    pub->visit = fold;
    for (unsigned i = 0; i < WORKERS; i++) {
        workers[i].index = i;
        assert_int_equal(pthread_create(&workers[i].thread, NULL, work, &workers[i]), 0);
    }
    for (size_t i = 0; i < ROUNDS; i++) {
        uint64_t address = 1 + test_rng_below(&rng, ADDRESSES);

        if (test_rng_below(&rng, 3) == 0) {
            dp_session_withdraw(pub, address);
        } else {
            session_put(address);
        }
        if (i % 16 == 0) {
            (void)published_harvest(pub);
            published_counts(pub, counts);
            counted += counts[DP_RX_PACKETS];
        }
        if (i % 100 == 99) {
            uint64_t number = pub->limbo.number;

            wait_for_workers();
            limbo_reclaim(&pub->limbo, number);
        }
    }
    atomic_store(&stop, true);
    for (unsigned i = 0; i < WORKERS; i++) {
        assert_int_equal(pthread_join(workers[i].thread, NULL), 0);
        added += workers[i].added;
    }
    (void)published_harvest(pub);
    for (uint64_t a = 1; a <= ADDRESSES; a++) {
        dp_session_withdraw(pub, a);
    }
    limbo_reclaim(&pub->limbo, UINT64_MAX);
    assert_int_equal(folded_total, added);
    published_counts(pub, counts);
    counted += counts[DP_RX_PACKETS];
    assert_true(counted >= added && counted % 16 == 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_new_objects_are_zero_and_aligned, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_what_is_replaced_or_withdrawn_is_retired, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(test_members_go_with_their_port, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_routes_are_harvested, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_harvest_visits_what_was_touched_once, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(test_last_visit_on_release, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_slots_are_unique_and_used_again, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_bounds, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_counts_are_sums_of_what_is_new, set_up, tear_down),
        cmocka_unit_test(test_copies_stand_alone),
        cmocka_unit_test(test_copy_of_nothing),
        cmocka_unit_test_setup_teardown(test_workers_in_threads, set_up, tear_down),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
