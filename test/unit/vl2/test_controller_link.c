/* A controller on this node: NET-8, chunk sending (vectors [configChunks].sent in meaning), errors,
 * revocations, and our own request to it. Source: spec 03 sections 2.3, 3, 4, spec 04 section 4.10.
 */
#include "bench.h"

#include "wire/vl1msg.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

/* The network of the bench node's own controller. */
static uint64_t own_nwid(const struct bench *b)
{
    return network_id_make(b->vl2->self, 1);
}

struct asked {
    struct bench *bench;
    unsigned count;
    uint64_t nwid;
    uint64_t request_id;
    uint64_t asker;
    struct inetaddr from;
    size_t meta_len;
    uint64_t held_revision;
    uint64_t held_time;
    const char *answer; /* sent from inside the request, NULL = none */
};

static void request(void *ctx, uint64_t nwid, const struct inetaddr *from, uint64_t request_id,
                    const struct identity *identity, const void *meta, size_t meta_len,
                    int64_t now_ms)
{
    struct asked *a = ctx;

    (void)meta;
    a->count++;
    a->nwid = nwid;
    a->request_id = request_id;
    a->asker = identity->address;
    a->from = *from;
    a->meta_len = meta_len;
    if (a->answer != NULL) {
        assert_int_equal(vl2_config_send(a->bench->vl2, nwid, identity->address, request_id,
                                         a->answer, strlen(a->answer), now_ms),
                         0);
    }
}

static void holds(void *ctx, uint64_t nwid, const struct identity *identity, uint64_t revision,
                  uint64_t timestamp)
{
    struct asked *a = ctx;

    assert_int_equal(nwid, a->nwid);
    assert_int_equal(identity->address, a->asker);
    a->held_revision = revision;
    a->held_time = timestamp;
}

static struct node_controller controller_of(struct asked *a)
{
    return (struct node_controller){.ctx = a, .request = request, .holds = holds};
}

static enum vl1_verdict request_in(struct bench *b, unsigned hops)
{
    const struct config_request req = {.network_id = own_nwid(b),
                                       .meta = (const uint8_t *)"v=7\n",
                                       .meta_len = 4,
                                       .revision = 12,
                                       .timestamp = 1700000000077};
    const struct in_packet in = {
        .identity = bench_id(b, 'B'),
        .id = 0x1234,
        .verb = VERB_NETWORK_CONFIG_REQUEST,
        .hops = hops,
        .from = {.family = INETADDR_V4, .ip = {192, 0, 2, 1}, .port = 9993},
    };
    uint8_t packet[100];
    struct wr w = wr_init(packet, sizeof(packet));

    config_request_write(&w, &req);
    return bench_in_full(b, &in, packet, wr_len(&w));
}

/* NET-8. */
static void test_without_controller_requests_are_refused(void **state)
{
    struct bench *b = *state;
    const struct sent_packet *p;

    assert_int_equal(request_in(b, 0), VL1_DONE);
    p = bench_sent(b, bench_id(b, 'B')->address, VERB_ERROR, 0);
    assert_non_null(p);
    assert_int_equal(p->len, ERROR_HEAD_LEN + 8);
    assert_int_equal(p->payload[0], VERB_NETWORK_CONFIG_REQUEST);
    assert_int_equal(be64_get(p->payload + 1), 0x1234);
    assert_int_equal(p->payload[9], ERROR_UNSUPPORTED_OPERATION);
    assert_int_equal(be64_get(p->payload + 10), own_nwid(b));
}

static void test_requests_go_to_the_controller(void **state)
{
    struct bench *b = *state;
    struct asked a = {.bench = b};
    const struct node_controller ctl = controller_of(&a);

    vl2_set_controller(b->vl2, &ctl);
    assert_int_equal(request_in(b, 0), VL1_DONE);
    assert_int_equal(a.count, 1);
    assert_int_equal(a.nwid, own_nwid(b));
    assert_int_equal(a.request_id, 0x1234);
    assert_int_equal(a.asker, bench_id(b, 'B')->address);
    assert_int_equal(a.from.port, 9993);
    assert_int_equal(a.meta_len, 4);
    assert_int_equal(a.held_revision, 12);
    assert_int_equal(a.held_time, 1700000000077);
    assert_int_equal(request_in(b, 1), VL1_DONE); /* relayed: no physical source */
    assert_int_equal(a.from.family, INETADDR_NIL);
}

/* CTL-56: the dictionaries of the vectors come out whole, in chunks that every path carries. */
static void test_configurations_are_cut_and_signed(void **state)
{
    struct bench *b = *state;
    const json_t *list = vec_get(vec_get(b->vectors, "configChunks"), "sent");
    uint64_t dest = bench_id(b, 'B')->address;
    const json_t *entry;
    size_t i;

    json_array_foreach(list, i, entry)
    {
        uint64_t request_id = vec_hex_u64(entry, "requestPacketId");
        enum verb verb = request_id != 0 ? VERB_OK : VERB_NETWORK_CONFIG;
        const struct sent_packet *p;
        uint64_t update = 0;
        size_t len;
        uint8_t *text = vec_bytes(entry, "dictionary", &len);
        size_t at = 0;

        bench_clear(b);
        assert_int_equal(
            vl2_config_send(b->vl2, own_nwid(b), dest, request_id, (const char *)text, len, b->now),
            0);
        for (size_t k = 0; (p = bench_sent(b, dest, verb, k)) != NULL; k++) {
            struct rd r = rd_init(p->payload, p->len);
            struct config_chunk chunk;
            struct reply_head head;

            assert_true(p->len + PACKET_AT_PAYLOAD <= 9704);
            if (request_id != 0) {
                assert_int_equal(ok_head_read(&r, &head), 0);
                assert_int_equal(head.verb, VERB_NETWORK_CONFIG_REQUEST);
                assert_int_equal(head.id, request_id);
            }
            assert_int_equal(config_chunk_read(r, &chunk), 0);
            assert_int_equal(config_chunk_verify(&chunk, bench_id(b, 'A')), 0);
            assert_int_equal(chunk.network_id, own_nwid(b));
            assert_int_equal(chunk.total, len);
            assert_int_equal(chunk.index, at);
            assert_true(chunk.data_len <= 9541);
            assert_int_equal(chunk.flags, 0);
            assert_true(k == 0 || chunk.update_id == update);
            update = chunk.update_id;
            assert_memory_equal(chunk.data, text + at, chunk.data_len);
            at += chunk.data_len;
        }
        assert_int_equal(at, len);
        free(text);
    }
    assert_true(i >= 3);
    assert_int_equal(vl2_config_send(b->vl2, BENCH_NWID, dest, 0, "x", 1, b->now), -EINVAL);
    assert_int_equal(vl2_config_send(b->vl2, own_nwid(b), dest, 0, "x", 0, b->now), -EMSGSIZE);
}

static void test_errors_to_members(void **state)
{
    struct bench *b = *state;
    uint64_t dest = bench_id(b, 'B')->address;
    struct error_msg msg;
    const struct sent_packet *p;

    vl2_config_error(b->vl2, own_nwid(b), dest, 0, ERROR_NETWORK_ACCESS_DENIED, NULL, 0, b->now);
    assert_int_equal(b->vl1.sent_count, 0); /* pushes are not refused */
    vl2_config_error(b->vl2, own_nwid(b), dest, 9, ERROR_NETWORK_AUTHENTICATION_REQUIRED, "aV=1", 4,
                     b->now);
    p = bench_sent(b, dest, VERB_ERROR, 0);
    assert_int_equal(error_decode(rd_init(p->payload, p->len), &msg), 0);
    assert_int_equal(msg.head.verb, VERB_NETWORK_CONFIG_REQUEST);
    assert_int_equal(msg.head.id, 9);
    assert_int_equal(msg.code, ERROR_NETWORK_AUTHENTICATION_REQUIRED);
    assert_int_equal(msg.network_id, own_nwid(b));
    assert_int_equal(msg.data_len, 4);
}

static void test_revocations_to_members(void **state)
{
    struct bench *b = *state;
    uint64_t dest = bench_id(b, 'B')->address;
    struct revocation revs[10] = {{.network_id = own_nwid(b), .type = CREDENTIAL_COM}};

    for (size_t i = 0; i < COUNT_OF(revs); i++) {
        revs[i].target = i;
        revocation_sign(&revs[i], bench_id(b, 'A'));
    }
    assert_int_equal(vl2_revocations_send(b->vl2, dest, revs, 10, b->now), -EMSGSIZE);
    assert_int_equal(vl2_revocations_send(b->vl2, dest, revs, 9, b->now), 0);
    assert_int_equal(bench_sent(b, dest, VERB_NETWORK_CREDENTIALS, 0)->len, 9 + 9 * 152);
    assert_int_equal(vl2_revocations_send(b->vl2, dest, revs, 1, b->now), 0);
    assert_int_equal(bench_count(b, dest, VERB_NETWORK_CREDENTIALS), 1);
    bench_run(b, 1100);
    assert_int_equal(bench_count(b, dest, VERB_NETWORK_CREDENTIALS), 2);
}

static enum network_status status_of(const struct bench *b)
{
    struct node_network_info info;

    assert_int_equal(vl2_network_get(b->vl2, own_nwid(b), &info), 0);
    return info.status;
}

/* CTL-82 */
static void test_a_controller_is_member_of_its_own_network(void **state)
{
    struct bench *b = *state;
    struct asked a = {.bench = b};
    const struct node_controller ctl = controller_of(&a);
    const struct setup setup = {.nwid = own_nwid(b), .name = "own"};
    size_t len;
    char *text = bench_config(b, &setup, &len);

    assert_int_equal(vl2_join(b->vl2, own_nwid(b), NULL, b->now), 0);
    assert_int_equal(status_of(b), NETWORK_NOT_FOUND);
    bench_run(b, 600000);
    assert_int_equal(timers_next(&b->vl1.timers), TIMERS_NEVER); /* nothing to ask */
    a.answer = text;
    vl2_set_controller(b->vl2, &ctl);
    bench_run(b, 0);
    assert_int_equal(a.count, 1);
    assert_int_equal(a.request_id, UINT64_MAX);
    assert_int_equal(a.asker, b->vl2->self);
    assert_int_equal(status_of(b), NETWORK_OK);
    assert_int_equal(b->vl1.sent_count, 0);
    bench_run(b, CONFIG_REFRESH_MS);
    assert_int_equal(a.count, 2);
    struct revocation rev = {
        .network_id = own_nwid(b),
        .type = CREDENTIAL_COM,
        .flags = REVOCATION_FAST,
        .target = bench_id(b, 'B')->address,
        .threshold = vl2_find(b->vl2, own_nwid(b))->conf.timestamp,
    };
    revocation_sign(&rev, bench_id(b, 'A'));
    assert_int_equal(vl2_revocations_send(b->vl2, b->vl2->self, &rev, 1, b->now), 0);
    assert_int_equal(
        revocation_threshold(vl2_find(b->vl2, own_nwid(b)), rev.target, CREDENTIAL_COM, 0),
        rev.threshold);
    assert_int_equal(b->vl1.sent_count, 0);
    vl2_config_error(b->vl2, own_nwid(b), b->vl2->self, UINT64_MAX, ERROR_NETWORK_ACCESS_DENIED,
                     NULL, 0, b->now);
    assert_int_equal(status_of(b), NETWORK_ACCESS_DENIED);
    free(text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        WITH_BENCH(test_without_controller_requests_are_refused),
        WITH_BENCH(test_requests_go_to_the_controller),
        WITH_BENCH(test_configurations_are_cut_and_signed),
        WITH_BENCH(test_errors_to_members),
        WITH_BENCH(test_revocations_to_members),
        WITH_BENCH(test_a_controller_is_member_of_its_own_network),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
