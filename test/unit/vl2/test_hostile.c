/* Batches in which good frames of a member are mixed with tampered, cut and repeated ones while the
 * member loses its rights at a random place. Only what passed the gate before is taken, each packet
 * once; from then on nothing passes, from the memos of the running turn either. Data path contract
 * section 7, section 8 invariants 1, 5 and 11. */
#include "rig.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#include <string.h>

enum {
    RUNS = 60,
    BATCHES = 3,
    BATCH = 24,
    TYPE = 0x88b5,
    FRAME = 60, /* bytes of payload */
};

/* A datagram as it was on the wire. */
struct sealed {
    uint8_t data[PACKET_MIN + FRAME_HEADER_LEN + FRAME];
    size_t len;
};

struct mix {
    struct rig *r;
    struct test_rng *rng;
    struct sealed good[BATCHES * BATCH]; /* sent before, untouched */
    size_t good_count;
    struct sealed batch[BATCH];
    size_t count;
    size_t fresh;    /* of the batch: good and new, before the loss */
    size_t late;     /* the same after it */
    size_t broken;   /* of all batches */
    size_t repeated; /* the same */
    bool is_lost;    /* the rights */
};

static struct network *net_of(const struct rig *r)
{
    return vl2_find(r->b->vl2, BENCH_NWID);
}

/* ---- how rights are lost ---- */

static void revoke(struct rig *r)
{
    struct revocation rev = {.network_id = BENCH_NWID,
                             .threshold = BENCH_TIME,
                             .target = bench_id(r->b, 'B')->address,
                             .type = CREDENTIAL_COM};

    revocation_sign(&rev, bench_id(r->b, 'C'));
    assert_int_equal(
        credential_add_revocation(net_of(r), &rev, bench_id(r->b, 'C')->address, r->b->now),
        ADD_NEW);
}

static void disagree(struct rig *r)
{
    struct com com = bench_com(r->b, 'B', BENCH_TIME + BENCH_WINDOW + 1);

    assert_int_equal(credential_add_com(net_of(r), &com, bench_id(r->b, 'B')->address, r->b->now),
                     ADD_NEW);
}

static void deauthorize(struct rig *r)
{
    r->setup.timestamp = BENCH_TIME + BENCH_WINDOW + 1;
    bench_configure(r->b, &r->setup);
}

static void leave(struct rig *r)
{
    assert_int_equal(vl2_leave(r->b->vl2, BENCH_NWID, r->b->now), 0);
}

static void (*const losses[])(struct rig *) = {revoke, disagree, deauthorize, leave};

/* ---- batches ---- */

static void seal(struct mix *m, char from, enum verb verb, struct sealed *s)
{
    uint8_t buf[PACKET_MAX];
    uint8_t payload[FRAME_HEADER_LEN + FRAME] = {0};
    struct wr w = wr_init(payload, sizeof(payload));

    frame_write_header(&w, BENCH_NWID, TYPE);
    s->len = rig_seal(m->r, from, verb, payload, sizeof(payload), buf);
    assert_true(s->len <= sizeof(s->data));
    memcpy(s->data, buf, s->len);
}

/* A bit of what is authenticated: not one that decides where the packet goes. */
static void tamper(struct mix *m, struct sealed *s)
{
    size_t at = test_rng_below(m->rng, s->len - PACKET_AT_MAC + 8);

    at = at < 8 ? at : at - 8 + PACKET_AT_MAC;
    s->data[at] ^= (uint8_t)(1U << test_rng_below(m->rng, 8));
    m->broken++;
}

static void add_good(struct mix *m, const struct sealed *s)
{
    m->batch[m->count++] = *s;
    m->good[m->good_count++] = *s;
    *(m->is_lost ? &m->late : &m->fresh) += 1;
}

static void add_one(struct mix *m)
{
    struct sealed s;

    seal(m, 'B', VERB_FRAME, &s);
    switch (test_rng_below(m->rng, 5)) {
    case 0:
        if (m->good_count > 0) {
            m->batch[m->count++] = m->good[test_rng_below(m->rng, m->good_count)];
            m->repeated++;
        }
        break;
    case 1: /* the copy that was tampered with does not make the other a repetition */
        m->batch[m->count] = s;
        tamper(m, &m->batch[m->count++]);
        if (m->count < BATCH) {
            add_good(m, &s);
        }
        break;
    case 2:
        m->batch[m->count] = s;
        m->batch[m->count++].len -= 1 + test_rng_below(m->rng, FRAME);
        m->broken++;
        break;
    default:
        add_good(m, &s);
        break;
    }
}

/* Random datagrams; after `before` of them the one by whose gift control runs in between. */
static void fill(struct mix *m, size_t before)
{
    m->count = m->fresh = m->late = 0;
    while (m->count < BATCH) {
        if (m->count >= before && !m->is_lost) {
            seal(m, 'D', VERB_NETWORK_CREDENTIALS, &m->batch[m->count++]);
            m->is_lost = true;
        } else {
            add_one(m);
        }
    }
}

static void receive(struct mix *m)
{
    struct dp_message messages[BATCH];
    struct inetaddr at;

    assert_int_equal(inetaddr_parse("192.0.2.7/9993", 14, &at), 0);
    for (size_t i = 0; i < m->count; i++) {
        struct sealed *s = &m->batch[i];

        messages[i] = (struct dp_message){
            .data = s->data, .len = s->len, .cap = sizeof(s->data), .segment = s->len, .from = at};
    }
    dp_receive(m->r->dp, 1, messages, m->count, m->r->b->now);
    dp_flush(m->r->dp);
}

/* ---- tests ---- */

static void check_batch(struct mix *m, bool has_loss)
{
    struct rig *r = m->r;
    size_t written = r->written;
    uint64_t counts[DP_COUNTS];

    receive(m);
    assert_int_equal(r->written - written, m->fresh);
    assert_int_equal(r->gift_count, m->late + has_loss);
    published_totals(r->pub, counts);
    assert_int_equal(counts[DP_DROP_MAC], m->broken);
    assert_int_equal(counts[DP_DROP_DUPLICATE], m->repeated);
    bench_clear(r->b);
    rig_serve(r);
    assert_int_equal(r->b->vl1.frame_count, 0); /* nor does vl2 let one pass */
}

static void run(struct test_rng *rng)
{
    static struct mix m;
    struct rig *r = rig_new(true);
    size_t sent;

    m = (struct mix){.r = r, .rng = rng};
    rig_network(r);
    (void)rig_frame_in(r, 'B', TYPE, FRAME);
    (void)rig_frame_out(r, rig_mac(r, 'B'), TYPE, FRAME);
    assert_int_equal(rig_frame_in(r, 'B', TYPE, FRAME), WAY_FAST);
    assert_int_equal(rig_frame_out(r, rig_mac(r, 'B'), TYPE, FRAME), WAY_FAST);
    r->meanwhile = losses[test_rng_below(rng, COUNT_OF(losses))];
    for (unsigned i = 0; i < BATCHES; i++) {
        bool was_lost = m.is_lost;

        fill(&m, i == 1 ? test_rng_below(rng, BATCH - 1) : BATCH); /* some add two */
        check_batch(&m, m.is_lost && !was_lost);
        if (test_rng_below(rng, 2) == 0) {
            rig_harvest(r);
            rig_reclaim(r);
        }
    }
    sent = r->sent;
    bench_clear(r->b);
    for (unsigned i = 0; i < 3; i++) {
        assert_int_equal(rig_frame_out(r, rig_mac(r, 'B'), TYPE, FRAME), WAY_GIVEN);
    }
    assert_int_equal(r->sent, sent);
    assert_int_equal(bench_count(r->b, bench_id(r->b, 'B')->address, VERB_FRAME), 0);
    rig_free(r);
}

static void test_nothing_passes_after_rights_are_lost(void **state)
{
    struct test_rng rng = test_rng_init("hostile");

    (void)state;
    for (unsigned i = 0; i < RUNS; i++) {
        run(&rng);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_nothing_passes_after_rights_are_lost),
    };

    return cmocka_run_group_tests_name("hostile", tests, NULL, NULL);
}
