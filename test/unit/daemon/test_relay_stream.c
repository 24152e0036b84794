/* Records over a connection: both transports, a slow other end, nonsense. Spec 02 section 12.1;
 * TC-2. */
#include "daemon/relay_stream.h"

#include "base/attr.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

enum { NOW = 1000 };

static struct relay_stream a;
static struct relay_stream b;
static uint8_t scratch[RELAY_RECORD_MAX + RELAY_SCRATCH];

/* What came. */
struct seen {
    unsigned greetings;
    unsigned empty;
    unsigned datagrams;
    uint32_t last; /* number at the begin of the last datagram */
    bool ordered;
};

static struct inetaddr to = {.family = INETADDR_V4, .ip = {46, 0, 0, 1}, .port = 9993};

static int setup(void **state)
{
    int fds[2];
    (void)state;
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fds), 0);
    relay_stream_open(&a, fds[0]);
    relay_stream_open(&b, fds[1]);
    b.strict = true;
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    relay_stream_close(&a);
    relay_stream_close(&b);
    return 0;
}

static int on_record(void *ctx, const struct tcp_relay_record *record, uint8_t *data)
{
    struct seen *seen = ctx;
    uint32_t number = 0;
    seen->greetings += record->kind == TCP_RELAY_GREETING;
    seen->empty += record->kind == TCP_RELAY_EMPTY;
    if (record->kind == TCP_RELAY_DATAGRAM) {
        assert_true(inetaddr_equal(&record->address, &to));
        memcpy(&number, data, sizeof(number));
        seen->ordered = (seen->datagrams == 0 || seen->ordered) && number >= seen->last;
        seen->last = number;
        seen->datagrams++;
    }
    return 0;
}

/* Receive all there is; the last result. */
static int receive_all(struct seen *seen)
{
    int err = 1;
    while (err > 0) {
        err = relay_stream_receive(&b, scratch, on_record, seen, NOW);
    }
    return err;
}

static bool put(uint32_t number, size_t len, int64_t now_ms)
{
    static uint8_t data[RELAY_RECORD_MAX];
    memcpy(data, &number, sizeof(number));
    return relay_stream_put(&a, &to, data, len, now_ms);
}

static void test_records_arrive_in_order(void **state)
{
    static const int version[3] = {1, 14, 1};
    struct seen seen = {0};
    (void)state;
    relay_stream_greet(&a, version, NOW);
    for (uint32_t i = 0; i < 1000; i++) {
        assert_true(put(i, 16 + i % 2000, NOW));
        if (i % 7 == 0) {
            (void)relay_stream_flush(&a, NOW);
            assert_int_equal(receive_all(&seen), -EAGAIN);
        }
    }
    relay_stream_keep(&a, NOW);
    for (int err = -EAGAIN; err == -EAGAIN;) {
        err = relay_stream_flush(&a, NOW);
        assert_int_equal(receive_all(&seen), -EAGAIN);
    }
    assert_int_equal(seen.datagrams, 1000);
    assert_int_equal(seen.greetings, 1);
    assert_int_equal(seen.empty, 1);
    assert_true(seen.ordered);
    assert_int_equal(a.lost, 0);
    assert_int_equal(a.bytes[1], b.bytes[0]);
}

/* A slow end costs a bounded queue; what waited too long is left out, the rest comes whole. */
static void test_slow_end_loses_datagrams(void **state)
{
    struct seen seen = {0};
    uint32_t taken = 0;
    (void)state;
    for (uint32_t i = 0; i < 5000; i++) {
        taken += put(i, 1400, NOW);
    }
    assert_true(taken < 1000 && a.lost == 5000 - taken);
    assert_int_equal(relay_stream_flush(&a, NOW), -EAGAIN);
    assert_int_equal(a.blocked_ms, NOW);
    for (int err = -EAGAIN; err == -EAGAIN;) {
        assert_int_equal(receive_all(&seen), -EAGAIN);
        err = relay_stream_flush(&a, NOW + RELAY_QUEUE_MS + 1);
    }
    (void)receive_all(&seen);
    assert_int_equal(a.blocked_ms, -1);
    assert_int_equal(seen.datagrams, 5000 - a.lost);
    assert_true(a.lost > 5000 - taken); /* those that were in the queue */
    assert_true(put(9999, 100, NOW + 1000));
    assert_int_equal(relay_stream_flush(&a, NOW + 1000), 0);
    (void)receive_all(&seen);
    assert_int_equal(seen.last, 9999);
    relay_stream_trim(&a);
    assert_null(a.queue);
}

static void test_nonsense_is_refused(void **state)
{
    static const struct {
        const char *bytes;
        size_t len;
        int result;
    } table[] = {
        {"\x17\x03\x03\x00\x04\x01\x0e\x00\x01", 9, -EAGAIN},
        {"\x17\x03\x03\x00", 4, -EAGAIN},
        {"\x16\x03\x03\x00\x04\x01\x0e\x00\x01", 9, -EBADMSG},
        {"G", 1, -EBADMSG},
        {"\x17\x03\x03\xff\xff", 5, -EBADMSG},           /* too long, before it comes */
        {"\x17\x03\x03\x00\x05\x07xxxx", 10, -EBADMSG},  /* unknown type */
        {"\x17\x03\x03\x00\x06\x04xxxxx", 11, -EBADMSG}, /* cut address */
        {"\x17\x03\x03\x00\x00\x17\x03\x03\x00\x00", 10, -EAGAIN},
        {"\x17\x03\x03\x00\x00\x18", 6, -EBADMSG},
    };
    (void)state;
    for (size_t i = 0; i < COUNT_OF(table); i++) {
        struct seen seen = {0};
        (void)setup(NULL);
        assert_int_equal(write(a.fd, table[i].bytes, table[i].len), (ssize_t)table[i].len);
        assert_int_equal(receive_all(&seen), table[i].result);
        (void)teardown(NULL);
    }
    (void)setup(NULL);
    relay_stream_close(&a);
    assert_int_equal(receive_all(NULL), 0);
}

/* The same through TLS, both sides in one thread. */
static void test_records_in_tls(void **state)
{
    struct tls *server = NULL;
    struct tls *user = NULL;
    struct seen seen = {0};
    bool write = false;
    int done[2] = {-EAGAIN, -EAGAIN};
    (void)state;
    assert_int_equal(tls_new(true, &server), 0);
    assert_int_equal(tls_new(false, &user), 0);
    a.tls = tls_session_new(user, a.fd, "example.org");
    b.tls = tls_session_new(server, b.fd, NULL);
    assert_non_null(a.tls);
    assert_non_null(b.tls);
    for (unsigned i = 0; i < 100 && (done[0] != 0 || done[1] != 0); i++) {
        done[0] = done[0] == -EAGAIN ? tls_handshake(a.tls, &write) : done[0];
        done[1] = done[1] == -EAGAIN ? tls_handshake(b.tls, &write) : done[1];
    }
    assert_int_equal(done[0], 0);
    assert_int_equal(done[1], 0);
    for (uint32_t i = 0; i < 20000; i++) {
        (void)put(i, 1400, NOW);
        if (i % 40 == 0) {
            (void)relay_stream_flush(&a, NOW);
            assert_int_equal(receive_all(&seen), -EAGAIN);
        }
    }
    for (int err = -EAGAIN; err == -EAGAIN;) {
        err = relay_stream_flush(&a, NOW);
        assert_int_equal(receive_all(&seen), -EAGAIN);
    }
    assert_int_equal(seen.datagrams + a.lost, 20000);
    assert_true(seen.ordered && seen.datagrams > 10000);
    /* Bytes that are no TLS end it. */
    assert_int_equal(send(a.fd, "garbage that is no record", 25, 0), 25);
    assert_int_equal(receive_all(&seen), -EPROTO);
    relay_stream_close(&a);
    relay_stream_close(&b);
    tls_free(server);
    tls_free(user);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_records_arrive_in_order, setup, teardown),
        cmocka_unit_test_setup_teardown(test_slow_end_loses_datagrams, setup, teardown),
        cmocka_unit_test(test_nonsense_is_refused),
        cmocka_unit_test_setup_teardown(test_records_in_tls, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
