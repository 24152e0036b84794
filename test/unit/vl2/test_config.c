/* Configurations in chunks: vectors [configChunks].received (CFG-1 to CFG-8), CFG-10 and Do better
 * 1 to 4. Source: spec 03 section 4. */
#include "bench.h"

#include "base/hex.h"
#include "wire/vl1msg.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

static const struct identity *by_address(const struct bench *b, uint64_t address)
{
    for (char l = 'B'; l <= 'E'; l++) {
        if (bench_id(b, l)->address == address) {
            return bench_id(b, l);
        }
    }
    fail();
    return NULL;
}

/* The update ID acknowledged in answer to a push, 0 if none was. */
static uint64_t acknowledged(const struct bench *b)
{
    const struct sent_packet *p = bench_sent(b, 0, VERB_OK, 0);

    if (p == NULL) {
        return 0;
    }
    assert_true(p->is_reply);
    assert_int_equal(p->len, OK_HEAD_LEN + 16);
    assert_int_equal(p->payload[0], VERB_ECHO); /* CFG-8 */
    assert_int_equal(be64_get(p->payload + 1), 0x7001);
    assert_int_equal(be64_get(p->payload + OK_HEAD_LEN), BENCH_NWID);
    return be64_get(p->payload + OK_HEAD_LEN + 8);
}

static void check_forwarded(const struct bench *b, const json_t *step)
{
    const json_t *list = json_object_get(step, "forwarded");
    const json_t *want;
    size_t i;

    assert_int_equal(bench_count(b, 0, VERB_NETWORK_CONFIG), json_array_size(list));
    json_array_foreach(list, i, want)
    {
        const struct sent_packet *p =
            bench_sent(b, vec_hex_u64(want, "dest"), VERB_NETWORK_CONFIG, 0);

        assert_non_null(p);
        assert_true(bench_same_hex(p->payload, p->len, vec_text(want, "payload")));
    }
}

static void take_step(struct bench *b, const json_t *step, bool refused, bool replayed)
{
    const struct network *net = vl2_find(b->vl2, BENCH_NWID);
    struct in_packet in = {.identity = by_address(b, vec_hex_u64(step, "from")),
                           .id = 0x7001,
                           .verb = VERB_NETWORK_CONFIG};
    uint64_t result = vec_hex_u64(step, "result");
    size_t len;
    uint8_t *payload = vec_bytes(step, "payload", &len);

    bench_clear(b);
    (void)bench_in_full(b, &in, payload, len);
    free(payload);
    /* Do better 3: a configuration that is not taken is not acknowledged. */
    assert_int_equal(acknowledged(b), refused || replayed ? 0 : result);
    assert_int_equal(net->has_conf, vec_bool(step, "haveConfig"));
    if (net->has_conf && !replayed) {
        assert_int_equal(net->conf.timestamp, vec_int(step, "configTimestamp"));
        assert_int_equal(net->conf.revision, vec_int(step, "configRevision"));
    }
    check_forwarded(b, step);
}

static void test_chunks_of_the_vectors(void **state)
{
    json_t *root = vectors_load("vl2.json");
    const json_t *list = vec_get(vec_get(root, "configChunks"), "received");
    const json_t *entry;
    size_t i;

    (void)state;
    json_array_foreach(list, i, entry)
    {
        const char *name = vec_text(entry, "name");
        bool refused = strstr(name, "issued to someone else") != NULL ||
                       strstr(name, "network id inside differs") != NULL;
        struct bench *b = bench_new();
        const json_t *step;
        size_t k;

        print_message("%s\n", name);
        bench_join(b, BENCH_NWID);
        for (char l = 'B'; l <= 'D'; l += 2) { /* B and D are known members */
            assert_non_null(
                member_get(vl2_find(b->vl2, BENCH_NWID), bench_id(b, l)->address, b->now));
        }
        json_array_foreach(vec_get(entry, "steps"), k, step)
        {
            /* Do better 1: the older one is refused. */
            bool replayed = k == 1 && strstr(name, "no replay check") != NULL;

            take_step(b, step, refused, replayed);
            assert_true(!replayed || vl2_find(b->vl2, BENCH_NWID)->conf.revision == 42);
        }
        bench_free(b);
    }
    assert_int_equal(i, json_array_size(list));
    assert_true(i >= 15);
    json_decref(root);
}

/* CFG-2: any altered byte. */
static void test_any_altered_byte_drops_a_chunk(void **state)
{
    struct bench *b = *state;
    uint8_t packet[PACKET_PAYLOAD_MAX];
    size_t total;
    char *text = bench_config(b, &(struct setup){0}, &total);
    size_t len = bench_chunk(b, BENCH_NWID, 5, text, total, 0, total, 0, packet, sizeof(packet));
    struct network *net;

    bench_join(b, BENCH_NWID);
    net = vl2_find(b->vl2, BENCH_NWID);
    for (size_t i = 0; i < len; i += i < 10 || i > len - 140 ? 1 : 7) {
        packet[i] ^= 0x10;
        b->now += BAD_SIGNATURE_MS;
        (void)bench_in(b, bench_id(b, 'B'), VERB_NETWORK_CONFIG, packet, len);
        assert_false(net->has_conf);
        packet[i] ^= 0x10;
    }
    /* Who just sent a bad signature is not worth another check; others are. */
    (void)bench_in(b, bench_id(b, 'B'), VERB_NETWORK_CONFIG, packet, len);
    assert_false(net->has_conf);
    b->now += BAD_SIGNATURE_MS;
    assert_int_equal(bench_in(b, bench_id(b, 'B'), VERB_NETWORK_CONFIG, packet, len), VL1_DONE);
    assert_true(net->has_conf);
    free(text);
}

/* CFG-6: with more interleaved updates than slots the newest completes, and memory stays bounded.
 */
static void test_interleaved_updates(void **state)
{
    struct bench *b = *state;
    uint8_t packet[PACKET_PAYLOAD_MAX];
    size_t total;
    char *text = bench_config(b, &(struct setup){.name = "newest"}, &total);
    size_t part = total / 4 + 1;
    struct network *net;

    bench_join(b, BENCH_NWID);
    net = vl2_find(b->vl2, BENCH_NWID);
    for (size_t at = 0; at < total; at += part) {
        for (uint64_t update = 1; update <= 7; update++) {
            size_t n = total - at < part ? total - at : part;
            size_t len =
                bench_chunk(b, BENCH_NWID, update, text, total, at, n, 0, packet, sizeof(packet));

            b->now++;
            assert_int_equal(bench_in(b, bench_id(b, 'B'), VERB_NETWORK_CONFIG, packet, len),
                             VL1_DONE);
        }
    }
    assert_true(net->has_conf);
    for (uint64_t update = 5; update <= 7; update++) {
        bool done = false;

        for (size_t i = 0; i < ASSEMBLY_DONE; i++) {
            done = done || net->done[i] == update;
        }
        assert_true(done);
    }
    free(text);
}

/* What the controller sends itself is not pushed out by parts that somebody else repeats. */
static void test_strangers_do_not_evict_the_controllers_update(void **state)
{
    struct bench *b = *state;
    uint8_t packet[PACKET_PAYLOAD_MAX];
    size_t total;
    char *text = bench_config(b, &(struct setup){0}, &total);
    struct network *net;
    size_t len;

    bench_join(b, BENCH_NWID);
    net = vl2_find(b->vl2, BENCH_NWID);
    len = bench_chunk(b, BENCH_NWID, 1, text, total, 0, 100, 0, packet, sizeof(packet));
    (void)bench_in(b, bench_id(b, 'C'), VERB_NETWORK_CONFIG, packet, len);
    for (uint64_t update = 2; update < 40; update++) {
        b->now++;
        len = bench_chunk(b, BENCH_NWID, update, text, total, 0, 90, 0, packet, sizeof(packet));
        (void)bench_in(b, bench_id(b, 'B'), VERB_NETWORK_CONFIG, packet, len);
    }
    len = bench_chunk(b, BENCH_NWID, 1, text, total, 100, total - 100, 0, packet, sizeof(packet));
    (void)bench_in(b, bench_id(b, 'C'), VERB_NETWORK_CONFIG, packet, len);
    assert_true(net->has_conf);
    free(text);
}

/* Do better 2: parts that overlap are refused, incomplete updates expire. */
static void test_overlaps_and_expiry(void **state)
{
    struct bench *b = *state;
    uint8_t packet[PACKET_PAYLOAD_MAX];
    size_t total;
    char *text = bench_config(b, &(struct setup){0}, &total);
    struct network *net;
    size_t len;

    bench_join(b, BENCH_NWID);
    net = vl2_find(b->vl2, BENCH_NWID);
    len = bench_chunk(b, BENCH_NWID, 1, text, total, 0, 100, 0, packet, sizeof(packet));
    (void)bench_in(b, bench_id(b, 'C'), VERB_NETWORK_CONFIG, packet, len);
    len = bench_chunk(b, BENCH_NWID, 1, text, total, 99, 100, 0, packet, sizeof(packet));
    (void)bench_in(b, bench_id(b, 'C'), VERB_NETWORK_CONFIG, packet, len);
    assert_int_equal(net->slots[0].have, 100);
    bench_run(b, ASSEMBLY_MS - 1);
    assert_int_equal(net->slots[0].update_id, 1);
    bench_run(b, 1);
    assert_int_equal(net->slots[0].update_id, 0);
    free(text);
}

/* Random cuts in random order always give the configuration, never an error of memory. */
static void test_random_cuts(void **state)
{
    struct bench *b = *state;
    struct test_rng rng = test_rng_init("random cuts");
    uint8_t packet[PACKET_PAYLOAD_MAX];
    size_t total;
    char *text = bench_config(b, &(struct setup){.tags = 20, .name = "cuts"}, &total);

    for (uint64_t round = 1; round <= 30; round++) {
        size_t cuts[64];
        size_t count = 0;
        size_t len;

        bench_join(b, BENCH_NWID);
        for (size_t at = 0; at < total && count < COUNT_OF(cuts) - 1;) {
            cuts[count++] = at;
            at += 1 + test_rng_below(&rng, total / 8);
        }
        cuts[count] = total;
        for (size_t left = count; left > 0;) {
            size_t i = test_rng_below(&rng, count);
            size_t n = (cuts[i + 1] & 0xffffff) - (cuts[i] & 0xffffff);

            if (cuts[i] >> 24 != 0) {
                continue; /* was sent */
            }
            len = bench_chunk(b, BENCH_NWID, round, text, total, cuts[i], n, 0, packet,
                              sizeof(packet));
            (void)bench_in(b, bench_id(b, 'B'), VERB_NETWORK_CONFIG, packet, len);
            cuts[i] |= (size_t)1 << 24;
            left--;
        }
        assert_true(vl2_find(b->vl2, BENCH_NWID)->has_conf);
        assert_string_equal(vl2_find(b->vl2, BENCH_NWID)->conf.name, "cuts");
        assert_int_equal(vl2_leave(b->vl2, BENCH_NWID, b->now), 0);
    }
    free(text);
}

/* CFG-10, Do better 1: older ones only as the controller's own answer. */
static void test_an_older_configuration_is_taken_only_as_answer(void **state)
{
    struct bench *b = *state;
    const struct setup newer = {.timestamp = BENCH_TIME + 5000, .revision = 7};
    const struct setup older = {.timestamp = BENCH_TIME, .revision = 8};
    const struct setup same_time = {.timestamp = BENCH_TIME + 5000, .revision = 6};
    uint8_t packet[PACKET_PAYLOAD_MAX];
    struct network *net = bench_configure(b, &newer);
    const struct setup *setups[] = {&older, &same_time};
    uint64_t update = 1;

    for (size_t i = 0; i < COUNT_OF(setups); i++) {
        size_t total;
        char *text = bench_config(b, setups[i], &total);
        size_t len =
            bench_chunk(b, BENCH_NWID, update++, text, total, 0, total, 0, packet, sizeof(packet));

        (void)bench_in(b, bench_id(b, 'C'), VERB_NETWORK_CONFIG, packet, len);
        assert_int_equal(net->conf.revision, 7);
        len =
            bench_chunk(b, BENCH_NWID, update++, text, total, 0, total, 0, packet, sizeof(packet));
        (void)bench_in_ok(b, bench_id(b, 'B'), VERB_NETWORK_CONFIG_REQUEST, packet, len);
        assert_int_equal(net->conf.revision, 7);
        assert_int_equal(b->vl1.sent_count, 0);
        free(text);
    }
    {
        size_t total;
        char *text = bench_config(b, &older, &total);
        size_t len =
            bench_chunk(b, BENCH_NWID, update++, text, total, 0, total, 0, packet, sizeof(packet));

        bench_member(b, 'B');
        (void)bench_in_ok(b, bench_id(b, 'C'), VERB_NETWORK_CONFIG_REQUEST, packet, len);
        assert_int_equal(net->conf.revision, 8);
        bench_member(b, 'B'); /* its certificate of before, newer by the clock, does not stay */
        free(text);
    }
}

/* Also the unsigned form of old controllers is believed only from a checked identity: a root must
 * not be able to make up the controller. */
static void test_an_unsigned_configuration_needs_a_checked_controller(void **state)
{
    struct bench *b = *state;
    uint8_t packet[PACKET_PAYLOAD_MAX];
    struct wr w = wr_init(packet, sizeof(packet));
    struct peer *controller = vl1_peer_find(&b->vl1, bench_id(b, 'C')->address, b->now);
    const struct network *net;
    size_t len;
    char *text = bench_config(b, &(struct setup){.revision = 1}, &len);

    bench_join(b, BENCH_NWID);
    net = vl2_find(b->vl2, BENCH_NWID);
    wr_u64(&w, BENCH_NWID);
    wr_u16(&w, (uint16_t)len);
    wr_bytes(&w, text, len);
    free(text);
    controller->unchecked = true;
    assert_int_equal(bench_in(b, bench_id(b, 'C'), VERB_NETWORK_CONFIG, packet, wr_len(&w)),
                     VL1_LATER);
    assert_false(net->has_conf);
    controller->unchecked = false;
    assert_int_equal(bench_in(b, bench_id(b, 'C'), VERB_NETWORK_CONFIG, packet, wr_len(&w)),
                     VL1_DONE);
    assert_true(net->has_conf);
}

/* Do better 4: the controller confirms an unchanged configuration after a refusal. */
static void test_an_identical_configuration_clears_a_refusal(void **state)
{
    struct bench *b = *state;
    uint8_t error[8];
    struct network *net = bench_configure(b, &(struct setup){.revision = 1});
    int64_t changed = net->conf_changed_ms;

    be64_put(error, BENCH_NWID);
    (void)bench_in_error(b, bench_id(b, 'C'), VERB_NETWORK_CONFIG_REQUEST,
                         ERROR_NETWORK_ACCESS_DENIED, error, sizeof(error));
    assert_int_equal(network_status(net), NETWORK_ACCESS_DENIED);
    assert_true(net->has_conf);
    b->now += 1500;
    bench_configure(b, &(struct setup){.revision = 1});
    assert_int_equal(network_status(net), NETWORK_OK);
    assert_int_equal(net->conf_changed_ms, changed);
}

/* The port hears of a configuration only when something it shows changed; files are spared. */
static void test_renewed_time_stamps_disturb_neither_port_nor_store(void **state)
{
    struct bench *b = *state;
    unsigned ports;

    bench_configure(b, &(struct setup){.timestamp = BENCH_TIME});
    ports = b->vl1.ports[PORT_CONFIG];
    assert_int_equal(ports, 1);
    bench_configure(b, &(struct setup){.timestamp = BENCH_TIME + 1});
    assert_int_equal(b->vl1.ports[PORT_CONFIG], ports);
    bench_configure(b, &(struct setup){.timestamp = BENCH_TIME + 2, .name = "other"});
    assert_int_equal(b->vl1.ports[PORT_CONFIG], ports + 1);
    assert_true(strstr((const char *)b->vl1.states[0].data, "n=other") != NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_chunks_of_the_vectors),
        WITH_BENCH(test_any_altered_byte_drops_a_chunk),
        WITH_BENCH(test_interleaved_updates),
        WITH_BENCH(test_strangers_do_not_evict_the_controllers_update),
        WITH_BENCH(test_overlaps_and_expiry),
        WITH_BENCH(test_random_cuts),
        WITH_BENCH(test_an_older_configuration_is_taken_only_as_answer),
        WITH_BENCH(test_an_unsigned_configuration_needs_a_checked_controller),
        WITH_BENCH(test_an_identical_configuration_clears_a_refusal),
        WITH_BENCH(test_renewed_time_stamps_disturb_neither_port_nor_store),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
