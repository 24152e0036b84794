/* Framing of the TCP fallback relay. Checklist: TC-1, TC-2. */
#include "vectors.h"

#include "wire/tcp_relay.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static json_t *relay;
static json_t *vl1;

static int load(void **state)
{
    (void)state;
    vl1 = vectors_load("vl1.json");
    relay = vec_get(vl1, "tcp_relay");
    return 0;
}

static int unload(void **state)
{
    (void)state;
    json_decref(vl1);
    return 0;
}

/* TC-1 */
static void test_greeting_vector(void **state)
{
    size_t len;
    uint8_t *bytes = vec_bytes(relay, "client_hello", &len);
    uint8_t out[TCP_RELAY_GREETING_LEN];
    struct wr w = wr_init(out, sizeof(out));
    struct rd in = rd_init(bytes, len);
    struct tcp_relay_record rec;

    (void)state;
    tcp_relay_write_greeting(&w, 1, 14, 1);
    assert_int_equal(wr_len(&w), len);
    assert_memory_equal(out, bytes, len);
    assert_int_equal(tcp_relay_next(&in, &rec), 1);
    assert_int_equal(rec.kind, TCP_RELAY_GREETING);
    assert_int_equal(rec.major, 1);
    assert_int_equal(rec.minor, 14);
    assert_int_equal(rec.revision, 1);
    assert_int_equal(rd_left(&in), 0);
    free(bytes);
}

static void check_frame(const char *name, const char *address_key)
{
    const json_t *c = vec_get(relay, name);
    size_t len;
    size_t payload_len;
    uint8_t *frame = vec_bytes(c, "frame", &len);
    uint8_t *payload = vec_bytes(c, "udp_payload", &payload_len);
    const char *text = vec_text(c, address_key);
    struct inetaddr address;
    uint8_t out[256];
    struct wr w = wr_init(out, sizeof(out));
    struct rd in = rd_init(frame, len);
    struct tcp_relay_record rec;

    assert_int_equal(inetaddr_parse(text, strlen(text), &address), 0);
    tcp_relay_write_datagram(&w, &address, payload, payload_len);
    assert_int_equal(wr_len(&w), len);
    assert_memory_equal(out, frame, len);
    assert_int_equal(tcp_relay_next(&in, &rec), 1);
    assert_int_equal(rec.kind, TCP_RELAY_DATAGRAM);
    assert_true(inetaddr_equal(&rec.address, &address));
    assert_int_equal(rec.len, payload_len);
    assert_memory_equal(rec.data, payload, payload_len);
    free(payload);
    free(frame);
}

/* TC-1 */
static void test_frame_vectors(void **state)
{
    (void)state;
    check_frame("ipv4_frame", "destination");
    check_frame("ipv6_frame_server_to_client", "source");
}

/* TC-2: what each content means. */
static void test_contents(void **state)
{
    static const struct {
        const char *hex;
        int result;
        enum tcp_relay_kind kind;
        size_t len;
    } cases[] = {
        {"1703030000", 1, TCP_RELAY_EMPTY, 0},
        {"0000000000", 1, TCP_RELAY_EMPTY, 0}, /* the first three bytes do not matter */
        {"170303000400112233", 1, TCP_RELAY_GREETING, 0},
        {"1703030004041122", 0, 0, 0},
        {"170303000100", 1, TCP_RELAY_DATAGRAM, 0}, /* no source */
        {"170303000600aabbccddee", 1, TCP_RELAY_DATAGRAM, 5},
        {"1703030007040a0000012709", 1, TCP_RELAY_DATAGRAM, 0},
        {"1703030006040a00000127", -EBADMSG, 0, 0},
        {"170303000104", -EBADMSG, 0, 0},
        {"17030300030400"
         "00",
         -EBADMSG, 0, 0},
        {"17030300130620010db80000000000000000000000012709", 1, TCP_RELAY_DATAGRAM, 0},
        {"17030300120620010db800000000000000000000000127", -EBADMSG, 0, 0},
        {"17030300050511223344", -EBADMSG, 0, 0},
        {"1703030005ff11223344", -EBADMSG, 0, 0},
        {"170303", 0, 0, 0},
        {"", 0, 0, 0},
    };

    (void)state;
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        size_t len;
        uint8_t *bytes = hex_bytes(cases[i].hex, &len);
        struct rd in = rd_init(bytes, len);
        struct tcp_relay_record rec;

        assert_int_equal(tcp_relay_next(&in, &rec), cases[i].result);
        if (cases[i].result == 1) {
            assert_int_equal(rec.kind, cases[i].kind);
            assert_int_equal(rec.len, cases[i].len);
            assert_int_equal(rd_left(&in), 0);
        } else {
            assert_int_equal(rd_left(&in), len); /* not moved */
            assert_false(in.bad);
        }
        free(bytes);
    }
}

/* TC-2: a stream of random records delivered in random pieces gives the same records. */
static void test_stream_in_pieces(void **state)
{
    enum { RECORDS = 300, LEN_MAX = 1500 };
    struct test_rng rng = test_rng_init("tcp relay");
    uint8_t *stream = malloc((size_t)RECORDS * (LEN_MAX + TCP_RELAY_DATAGRAM_HEAD_MAX));
    uint8_t *buf = malloc(TCP_RELAY_RECORD_MAX);
    size_t lens[RECORDS];
    struct wr w = wr_init(stream, (size_t)RECORDS * (LEN_MAX + TCP_RELAY_DATAGRAM_HEAD_MAX));
    size_t held = 0;
    size_t at = 0;
    size_t got = 0;

    (void)state;
    assert_non_null(stream);
    assert_non_null(buf);
    for (size_t i = 0; i < RECORDS; i++) {
        struct inetaddr to = {.family = i % 3 == 0 ? INETADDR_V6 : INETADDR_V4,
                              .port = (uint16_t)i};
        uint8_t data[LEN_MAX];

        lens[i] = test_rng_below(&rng, LEN_MAX + 1);
        memset(data, (int)i, lens[i]);
        tcp_relay_write_datagram(&w, &to, data, lens[i]);
    }
    assert_false(w.bad);
    while (at < wr_len(&w)) {
        size_t piece = 1 + test_rng_below(&rng, 4000);
        struct rd in;
        struct tcp_relay_record rec;

        piece = piece > wr_len(&w) - at ? wr_len(&w) - at : piece;
        memcpy(buf + held, stream + at, piece);
        at += piece;
        in = rd_init(buf, held + piece);
        while (tcp_relay_next(&in, &rec) > 0) {
            assert_int_equal(rec.address.port, got);
            assert_int_equal(rec.len, lens[got]);
            assert_true(rec.len == 0 || rec.data[rec.len - 1] == (uint8_t)got);
            got++;
        }
        held = rd_left(&in);
        memmove(buf, in.p, held);
    }
    assert_int_equal(got, RECORDS);
    assert_int_equal(held, 0);
    free(buf);
    free(stream);
}

static void test_encoder_refuses_what_does_not_fit(void **state)
{
    struct inetaddr to = {.family = INETADDR_V4};
    struct inetaddr nil = {0};
    uint8_t *data = calloc(1, 70000);
    uint8_t *out = malloc(80000);
    struct wr w = wr_init(out, 80000);

    (void)state;
    assert_non_null(data);
    assert_non_null(out);
    tcp_relay_write_datagram(&w, &to, data, 65535 - 7);
    assert_false(w.bad);
    assert_int_equal(wr_len(&w), TCP_RELAY_RECORD_MAX);
    w = wr_init(out, 80000);
    tcp_relay_write_datagram(&w, &to, data, 65535 - 6);
    assert_true(w.bad);
    assert_int_equal(wr_len(&w), 0);
    w = wr_init(out, 80000);
    tcp_relay_write_datagram(&w, &nil, data, 10);
    assert_true(w.bad);
    free(out);
    free(data);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_greeting_vector),
        cmocka_unit_test(test_frame_vectors),
        cmocka_unit_test(test_contents),
        cmocka_unit_test(test_stream_in_pieces),
        cmocka_unit_test(test_encoder_refuses_what_does_not_fit),
    };

    return cmocka_run_group_tests(tests, load, unload);
}
