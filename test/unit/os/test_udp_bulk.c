/* UDP in bulk on loopback, with every combination of what the system does for us, and with a system
 * that refuses. Checklist: D-18, D-20, D-22, D-29 (EAGAIN). */
#include "os/udp_bulk.h"
#include "vectors.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/udp.h>
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <sys/socket.h>

#include <cmocka.h>

/* The calls as linked (--wrap): the tests let them fail. */
int __real_sendmmsg(int fd, struct mmsghdr *msgs, unsigned count, int flags);
int __wrap_sendmmsg(int fd, struct mmsghdr *msgs, unsigned count, int flags);
ssize_t __real_sendmsg(int fd, const struct msghdr *msg, int flags);
ssize_t __wrap_sendmsg(int fd, const struct msghdr *msg, int flags);
int __real_recvmmsg(int fd, struct mmsghdr *msgs, unsigned count, int flags, struct timespec *wait);
int __wrap_recvmmsg(int fd, struct mmsghdr *msgs, unsigned count, int flags, struct timespec *wait);
int __real_setsockopt(int fd, int level, int name, const void *value, socklen_t len);
int __wrap_setsockopt(int fd, int level, int name, const void *value, socklen_t len);

static struct {
    int cut_error;    /* of messages to be cut, 0: none */
    int other_error;  /* of all messages */
    unsigned allowed; /* messages sent before other_error, 0 and no error: any number */
    unsigned calls;
    unsigned messages; /* passed on */
    bool old_kernel;   /* knows neither option, nor calls for many messages */
} fake;

int __wrap_setsockopt(int fd, int level, int name, const void *value, socklen_t len)
{
    if (fake.old_kernel && level == SOL_UDP) {
        errno = ENOPROTOOPT;
        return -1;
    }
    return __real_setsockopt(fd, level, name, value, len);
}

/* What a message shall fail with, or 0. */
static int fake_error(const struct msghdr *msg)
{
    if (fake.cut_error != 0 && msg->msg_controllen != 0) {
        return fake.cut_error;
    }
    if (fake.other_error != 0 && fake.allowed == 0) {
        return fake.other_error;
    }
    fake.allowed -= fake.allowed > 0 ? 1 : 0;
    return 0;
}

ssize_t __wrap_sendmsg(int fd, const struct msghdr *msg, int flags)
{
    int error = fake_error(msg);

    fake.calls++;
    if (error != 0) {
        errno = error;
        return -1;
    }
    ssize_t sent = __real_sendmsg(fd, msg, flags);
    fake.messages += sent >= 0 ? 1 : 0;
    return sent;
}

int __wrap_recvmmsg(int fd, struct mmsghdr *msgs, unsigned count, int flags, struct timespec *wait)
{
    if (fake.old_kernel) {
        errno = ENOSYS;
        return -1;
    }
    return __real_recvmmsg(fd, msgs, count, flags, wait);
}

int __wrap_sendmmsg(int fd, struct mmsghdr *msgs, unsigned count, int flags)
{
    unsigned n = 0;
    int error = fake.old_kernel ? ENOSYS : 0;

    fake.calls++;
    while (n < count && error == 0) {
        error = fake_error(&msgs[n].msg_hdr);
        n += error == 0 ? 1 : 0;
    }
    if (n == 0) {
        errno = error;
        return -1;
    }
    int sent = __real_sendmmsg(fd, msgs, n, flags);
    fake.messages += sent > 0 ? (unsigned)sent : 0;
    return sent;
}

enum { BYTES = 400000, DATAGRAMS_MAX = 20000 };

static uint8_t data[BYTES];

/* Datagrams as sent or received, in order. */
struct trace {
    size_t lens[DATAGRAMS_MAX];
    size_t count;
    size_t bytes;
};

static struct udp_socket *open_at(const char *local, unsigned offloads)
{
    struct udp_config config = {.offloads = offloads};
    struct udp_socket *s = NULL;

    assert_int_equal(inetaddr_parse(local, strlen(local), &config.local), 0);
    return udp_open(&config, &s) == 0 ? s : NULL;
}

static struct udp_info info_of(const struct udp_socket *s)
{
    struct udp_info info;

    udp_info(s, &info);
    return info;
}

/* Take what is there; the bytes must be those of data in order. */
static void receive_all(struct udp_socket *s, struct udp_bulk *bulk, struct trace *t)
{
    const struct udp_message *m;
    struct pollfd p = {.fd = udp_fd(s), .events = POLLIN};

    while (poll(&p, 1, 0) == 1) {
        int n = udp_receive_bulk(s, bulk, &m);
        assert_true(n > 0);
        for (int i = 0; i < n; i++) {
            assert_true(m[i].segment > 0 && m[i].segment <= m[i].len && m[i].len <= m[i].cap);
            assert_memory_equal(m[i].data, data + t->bytes, m[i].len);
            t->bytes += m[i].len;
            for (size_t at = 0; at < m[i].len; at += m[i].segment) {
                size_t left = m[i].len - at;
                t->lens[t->count++] = left < m[i].segment ? left : m[i].segment;
            }
        }
    }
}

/* A run of what comes next in data. */
static struct udp_run make_run(struct trace *sent, const struct udp_socket *to, size_t segment,
                               size_t len)
{
    struct udp_run run = {
        .data = data + sent->bytes, .len = len, .segment = segment, .to = info_of(to).local};

    for (size_t at = 0; at < len; at += segment) {
        sent->lens[sent->count++] = len - at < segment ? len - at : segment;
    }
    sent->bytes += len;
    assert_true(sent->bytes <= BYTES && sent->count <= DATAGRAMS_MAX);
    return run;
}

static struct trace sent;
static struct trace got;
static struct udp_bulk *bulk;

static int set_up(void **state)
{
    struct test_rng rng = test_rng_init("udp bulk");

    (void)state;
    memset(&fake, 0, sizeof(fake));
    memset(&sent, 0, sizeof(sent));
    memset(&got, 0, sizeof(got));
    test_rng_fill(&rng, data, sizeof(data));
    return udp_bulk_new(UDP_BULK_BUFFERS_MAX, &bulk);
}

static int tear_down(void **state)
{
    (void)state;
    udp_bulk_free(bulk);
    return 0;
}

static void check_received(struct udp_socket *s)
{
    receive_all(s, bulk, &got);
    assert_int_equal(got.count, sent.count);
    assert_memory_equal(got.lens, sent.lens, sent.count * sizeof(sent.lens[0]));
    assert_int_equal(got.bytes, sent.bytes);
}

/* Runs of many shapes, also above what one message may hold. */
static void send_shapes(struct udp_socket *a, struct udp_socket *b)
{
    static const size_t shapes[][2] = {
        {1427, 62788}, {1427, 2854}, {90, 90},   {90, 180},     {1432, 1432 * 3 + 5}, {60, 9000},
        {1, 64},       {1, 1},       {5000, 80}, {1427, 80000}, {9000, 20000},        {700, 1399},
    };
    struct udp_run runs[COUNT_OF(shapes)];

    for (size_t i = 0; i < COUNT_OF(shapes); i++) {
        runs[i] = make_run(&sent, b, shapes[i][0], shapes[i][1]);
    }
    assert_int_equal(udp_send_runs(a, bulk, runs, COUNT_OF(runs)), COUNT_OF(runs));
    for (size_t i = 0; i < COUNT_OF(runs); i++) {
        assert_int_equal(runs[i].error, 0);
        assert_int_equal(runs[i].len, 0);
        assert_false(runs[i].no_gso);
    }
}

static void check_combination(const char *local, unsigned from, unsigned to)
{
    struct udp_socket *a = open_at(local, from);
    struct udp_socket *b = open_at(local, to);

    if (a == NULL || b == NULL) {
        udp_close(a);
        udp_close(b);
        return; /* no IPv6 here */
    }
    memset(&sent, 0, sizeof(sent));
    memset(&got, 0, sizeof(got));
    fake.calls = fake.messages = 0;
    send_shapes(a, b);
    check_received(b);
    if (info_of(a).offloads & UDP_OFFLOAD_GSO) {
        assert_in_range(fake.messages, 12, 24);
    } else {
        assert_int_equal(fake.messages, sent.count);
    }
    assert_int_equal(info_of(a).gso_replays, 0);
    assert_int_equal(info_of(a).tx_errors, 0);
    udp_close(a);
    udp_close(b);
}

/* D-18 */
static void test_every_combination(void **state)
{
    (void)state;
    for (unsigned i = 0; i <= UDP_OFFLOAD_ALL; i++) {
        check_combination("127.0.0.1/0", i, i);
        check_combination("::1/0", i, i ^ UDP_OFFLOAD_ALL);
    }
}

static void test_old_kernel(void **state)
{
    (void)state;
    fake.old_kernel = true;
    struct udp_socket *a = open_at("127.0.0.1/0", UDP_OFFLOAD_ALL);
    assert_int_equal(info_of(a).offloads, UDP_OFFLOAD_BATCH); /* the calls are not tried yet */
    udp_close(a);
    check_combination("127.0.0.1/0", UDP_OFFLOAD_ALL, UDP_OFFLOAD_ALL);
}

/* GRO joins what one sender sent; a receiver with few buffers gets all of it. */
static void test_few_buffers(void **state)
{
    struct udp_socket *a = open_at("127.0.0.1/0", UDP_OFFLOAD_ALL);
    struct udp_socket *b = open_at("127.0.0.1/0", UDP_OFFLOAD_ALL);
    struct udp_bulk *small;

    (void)state;
    assert_int_equal(udp_bulk_new(0, &small), -EINVAL);
    assert_int_equal(udp_bulk_new(65, &small), -EINVAL);
    assert_int_equal(udp_bulk_new(1, &small), 0);
    send_shapes(a, b);
    receive_all(b, small, &got);
    assert_int_equal(got.count, sent.count);
    assert_int_equal(got.bytes, sent.bytes);
    const struct udp_message *m;
    assert_int_equal(udp_receive_bulk(b, small, &m), 0);
    udp_bulk_free(small);
    udp_bulk_free(NULL);
    udp_close(a);
    udp_close(b);
}

/* D-33: many short messages come with one call, fewer long ones: they would fill the caches. */
static void test_more_messages_while_short(void **state)
{
    static const struct {
        size_t len;
        int counts[4];
    } cases[] = {{100, {16, 64, 20, 0}}, {20000, {16, 16, 16, 16}}};

    (void)state;
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct udp_socket *a = open_at("127.0.0.1/0", UDP_OFFLOAD_BATCH);
        struct udp_socket *b = open_at("127.0.0.1/0", UDP_OFFLOAD_BATCH);
        const struct udp_message *m;
        struct udp_bulk *fresh;

        assert_int_equal(udp_bulk_new(UDP_BULK_BUFFERS_MAX, &fresh), 0);
        for (size_t n = 0; n < (i == 0 ? 100 : 64); n++) {
            struct udp_run run = {.data = data, .len = cases[i].len, .segment = cases[i].len};

            run.to = info_of(b).local;
            assert_int_equal(udp_send_runs(a, fresh, &run, 1), 1);
        }
        for (size_t n = 0; n < COUNT_OF(cases[i].counts); n++) {
            assert_int_equal(udp_receive_bulk(b, fresh, &m), cases[i].counts[n]);
            assert_int_equal(udp_bulk_was_full(fresh), n < 2 || i == 1);
        }
        udp_bulk_free(fresh);
        udp_close(a);
        udp_close(b);
    }
}

/* D-20: nothing is lost when the system refuses to cut. */
static void check_refusal(int code, bool for_socket)
{
    struct udp_socket *a = open_at("127.0.0.1/0", UDP_OFFLOAD_ALL);
    struct udp_socket *b = open_at("127.0.0.1/0", UDP_OFFLOAD_ALL);
    struct udp_run runs[3];

    assert_int_equal(info_of(a).offloads, UDP_OFFLOAD_ALL);
    memset(&sent, 0, sizeof(sent));
    memset(&got, 0, sizeof(got));
    fake.cut_error = code;
    runs[0] = make_run(&sent, b, 100, 100);
    runs[1] = make_run(&sent, b, 1427, 14270);
    runs[2] = make_run(&sent, b, 1000, 1500);
    assert_int_equal(udp_send_runs(a, bulk, runs, 3), 3);
    check_received(b);
    assert_false(runs[0].no_gso);
    assert_true(runs[1].no_gso);
    assert_int_equal(runs[1].error, 0);
    assert_int_equal(runs[2].no_gso, !for_socket);
    assert_int_equal(info_of(a).gso_replays, for_socket ? 1 : 2);
    assert_int_equal(info_of(a).offloads,
                     for_socket ? UDP_OFFLOAD_GRO | UDP_OFFLOAD_BATCH : (unsigned)UDP_OFFLOAD_ALL);
    /* the caller remembers the path: no more trial */
    fake.calls = 0;
    runs[1] = make_run(&sent, b, 1427, 14270);
    runs[1].no_gso = true;
    assert_int_equal(udp_send_runs(a, bulk, runs + 1, 1), 1);
    assert_int_equal(fake.calls, 1);
    check_received(b);
    fake.cut_error = 0;
    udp_close(a);
    udp_close(b);
}

static void test_refused_runs_are_replayed(void **state)
{
    (void)state;
    check_refusal(EIO, true);
    check_refusal(ENOPROTOOPT, true);
    check_refusal(EINVAL, false);
    check_refusal(EMSGSIZE, false);
}

/* D-29: a full socket stops at any datagram and goes on there. */
static void check_full(unsigned offloads, int code)
{
    struct udp_socket *a = open_at("127.0.0.1/0", offloads);
    struct udp_socket *b = open_at("127.0.0.1/0", offloads);
    struct udp_run runs[6];
    size_t done = 0;
    unsigned rounds = 0;

    memset(&sent, 0, sizeof(sent));
    memset(&got, 0, sizeof(got));
    for (size_t i = 0; i < COUNT_OF(runs); i++) {
        runs[i] = make_run(&sent, b, 1000, 1000 * (i + 1) + 7);
    }
    while (done < COUNT_OF(runs)) {
        fake.other_error = code;
        fake.allowed = rounds % 4;
        done += udp_send_runs(a, bulk, runs + done, COUNT_OF(runs) - done);
        assert_true(rounds++ < 100);
    }
    fake.other_error = 0;
    assert_true(rounds > 3);
    assert_int_equal(info_of(a).tx_errors, 0);
    check_received(b);
    udp_close(a);
    udp_close(b);
}

static void test_full_sockets(void **state)
{
    (void)state;
    check_full(UDP_OFFLOAD_ALL, EAGAIN);
    check_full(0, EAGAIN);
    check_full(UDP_OFFLOAD_ALL, ENOBUFS);
}

/* Errors cost the run, or of runs sent singly the datagram. */
static void test_errors(void **state)
{
    struct udp_socket *a = open_at("127.0.0.1/0", UDP_OFFLOAD_GSO);
    struct udp_socket *b = open_at("127.0.0.1/0", UDP_OFFLOAD_GRO);
    struct udp_run runs[3];

    (void)state;
    runs[0] = make_run(&sent, b, 100, 300);
    runs[1] = runs[0];
    runs[1].to = (struct inetaddr){.family = INETADDR_V6};
    runs[2] = make_run(&sent, b, 70000, 140000); /* no datagram is as long as that */
    sent.count -= 2;
    sent.bytes -= 140000;
    assert_int_equal(udp_send_runs(a, bulk, runs, 3), 3);
    assert_int_equal(runs[0].error, 0);
    assert_int_equal(runs[1].error, -EAFNOSUPPORT);
    assert_int_equal(runs[2].error, -EMSGSIZE);
    check_received(b);

    fake.other_error = EPERM;
    runs[0] = make_run(&sent, b, 100, 300);
    assert_int_equal(udp_send_runs(a, bulk, runs, 1), 1);
    assert_int_equal(runs[0].error, -EPERM);
    assert_false(runs[0].no_gso);
    assert_int_equal(runs[0].len, 0);
    udp_close(a);
    udp_close(b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_every_combination, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_old_kernel, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_more_messages_while_short, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_few_buffers, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_refused_runs_are_replayed, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_full_sockets, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_errors, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
