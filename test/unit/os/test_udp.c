/* UDP sockets on loopback. Checklist: SV-93, SV-119, D-25; ports of spec 05 section 6.7. */
#include "os/udp.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

enum { BUF = UDP_PAYLOAD_MAX + 1 };

static uint8_t buffers[UDP_BATCH_MAX][BUF];

static struct inetaddr parse(const char *text)
{
    struct inetaddr a = {0};

    assert_int_equal(inetaddr_parse(text, strlen(text), &a), 0);
    return a;
}

static struct udp_socket *open_at(const char *local)
{
    struct udp_config config = {.local = parse(local)};
    struct udp_socket *s = NULL;

    assert_int_equal(udp_open(&config, &s), 0);
    return s;
}

static struct inetaddr local_of(const struct udp_socket *s)
{
    struct udp_info info;

    udp_info(s, &info);
    return info.local;
}

static void prepare(struct udp_rx *batch, size_t cap)
{
    for (size_t i = 0; i < UDP_BATCH_MAX; i++) {
        batch[i] = (struct udp_rx){.data = buffers[i], .cap = cap};
    }
}

/* Wait until readable, then receive. */
static int receive(struct udp_socket *s, struct udp_rx *batch, size_t count)
{
    struct pollfd p = {.fd = udp_fd(s), .events = POLLIN};

    assert_int_equal(poll(&p, 1, 2000), 1);
    return udp_receive(s, batch, count);
}

static void check_batches(const char *a_local, const char *b_local)
{
    enum { COUNT = 100 };
    struct udp_socket *a = open_at(a_local);
    struct udp_socket *b = open_at(b_local);
    struct inetaddr to = local_of(b);
    struct inetaddr from = local_of(a);
    struct udp_tx tx[COUNT];
    struct udp_rx rx[UDP_BATCH_MAX];
    uint8_t payload[COUNT][64];
    size_t got = 0;

    for (size_t i = 0; i < COUNT; i++) {
        memset(payload[i], (int)i, sizeof(payload[i]));
        tx[i] = (struct udp_tx){.data = payload[i], .len = i % 64, .to = to, .error = 1};
    }
    assert_int_equal(udp_send_batch(a, tx, COUNT), COUNT);
    while (got < COUNT) {
        prepare(rx, BUF);
        int n = receive(b, rx, UDP_BATCH_MAX);
        assert_true(n > 0);
        for (int i = 0; i < n; i++, got++) {
            assert_int_equal(tx[got].error, 0);
            assert_int_equal(rx[i].len, got % 64);
            assert_true(inetaddr_equal(&rx[i].from, &from));
            assert_memory_equal(rx[i].data, payload[got], rx[i].len);
        }
    }
    prepare(rx, BUF);
    assert_int_equal(udp_receive(b, rx, UDP_BATCH_MAX), 0);
    udp_close(a);
    udp_close(b);
}

static void test_batches_v4(void **state)
{
    (void)state;
    check_batches("127.0.0.1/0", "127.0.0.1/0");
}

static void test_batches_v6(void **state)
{
    (void)state;
    struct udp_config config = {.local = parse("::1/0")};
    struct udp_socket *probe;
    if (udp_open(&config, &probe) != 0) {
        skip();
    }
    udp_close(probe);
    check_batches("::1/0", "::1/0");
}

/* Wildcard sockets of both families share a port. */
static void test_wildcards(void **state)
{
    struct udp_socket *v4 = open_at("0.0.0.0/0");
    struct inetaddr port = local_of(v4);
    struct udp_config config = {.local = parse("::/0")};
    struct udp_socket *v6 = NULL;
    struct udp_socket *a = open_at("127.0.0.1/0");
    struct udp_rx rx[UDP_BATCH_MAX];
    struct inetaddr to = parse("127.0.0.1/0");

    (void)state;
    config.local.port = port.port;
    int error = udp_open(&config, &v6);
    assert_true(error == 0 || error == -EAFNOSUPPORT);
    to.port = port.port;
    assert_int_equal(udp_send(a, &to, "hello", 5, 0, false), 0);
    prepare(rx, BUF);
    assert_int_equal(receive(v4, rx, UDP_BATCH_MAX), 1);
    assert_memory_equal(rx[0].data, "hello", 5);
    /* and it answers */
    assert_int_equal(udp_send(v4, &rx[0].from, "yes", 3, 0, false), 0);
    prepare(rx, BUF);
    assert_int_equal(receive(a, rx, 1), 1);
    assert_int_equal(rx[0].len, 3);
    udp_close(a);
    udp_close(v4);
    udp_close(v6);
}

/* A datagram alone gets its hop limit; the next one has the default again. No DF on either. */
static void test_ttl_of_one_datagram(void **state)
{
    struct udp_socket *a = open_at("127.0.0.1/0");
    struct sockaddr_in sa = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof(sa);
    static const int expected[] = {2, 255};
    int on = 1;

    (void)state;
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    assert_true(fd >= 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&sa, len), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&sa, &len), 0);
    assert_int_equal(setsockopt(fd, IPPROTO_IP, IP_RECVTTL, &on, sizeof(on)), 0);
    struct inetaddr to = parse("127.0.0.1/0");
    to.port = ntohs(sa.sin_port);
    assert_int_equal(udp_send(a, &to, "x", 1, 2, false), 0);
    assert_int_equal(udp_send(a, &to, "x", 1, 0, false), 0);
    assert_int_equal(udp_send(a, &to, "x", 1, 256, false), -EINVAL);
    for (size_t i = 0; i < 2; i++) {
        char data[4];
        union {
            struct cmsghdr align;
            char bytes[64];
        } control;
        struct iovec iov = {.iov_base = data, .iov_len = sizeof(data)};
        struct msghdr msg = {.msg_iov = &iov,
                             .msg_iovlen = 1,
                             .msg_control = control.bytes,
                             .msg_controllen = sizeof(control.bytes)};
        int ttl = 0;
        assert_int_equal(recvmsg(fd, &msg, 0), 1);
        struct cmsghdr *c = CMSG_FIRSTHDR(&msg);
        assert_non_null(c);
        memcpy(&ttl, CMSG_DATA(c), sizeof(ttl));
        assert_int_equal(ttl, expected[i]);
    }
    assert_int_equal(udp_send(a, &to, "x", 1, 0, true), 0); /* of this one alone */
    int pmtu = -1;
    socklen_t size = sizeof(pmtu);
    assert_int_equal(getsockopt(udp_fd(a), IPPROTO_IP, IP_MTU_DISCOVER, &pmtu, &size), 0);
    assert_int_equal(pmtu, IP_PMTUDISC_DONT);
    (void)close(fd);
    udp_close(a);
}

/* SV-119: the largest datagram of the protocol; longer ones are counted, not delivered. */
static void test_large_and_truncated_datagrams(void **state)
{
    struct udp_socket *a = open_at("127.0.0.1/0");
    struct udp_socket *b = open_at("127.0.0.1/0");
    struct inetaddr to = local_of(b);
    struct udp_rx rx[UDP_BATCH_MAX];
    static uint8_t big[UDP_PAYLOAD_MAX];
    struct udp_info info;

    (void)state;
    for (size_t i = 0; i < sizeof(big); i++) {
        big[i] = (uint8_t)(i * 7);
    }
    assert_int_equal(udp_send(a, &to, big, sizeof(big), 0, false), 0);
    prepare(rx, BUF);
    assert_int_equal(receive(b, rx, UDP_BATCH_MAX), 1);
    assert_int_equal(rx[0].len, sizeof(big));
    assert_memory_equal(rx[0].data, big, sizeof(big));
    /* three, the first and second too long: the third moves up with its buffer */
    assert_int_equal(udp_send(a, &to, big, 101, 0, false), 0);
    assert_int_equal(udp_send(a, &to, big, 5000, 0, false), 0);
    assert_int_equal(udp_send(a, &to, big + 9, 100, 0, false), 0);
    prepare(rx, 100);
    assert_int_equal(receive(b, rx, UDP_BATCH_MAX), 1);
    assert_int_equal(rx[0].len, 100);
    assert_memory_equal(rx[0].data, big + 9, 100);
    udp_info(b, &info);
    assert_int_equal(info.rx_truncated, 2);
    /* every buffer is still there once */
    unsigned seen = 0;
    for (size_t i = 0; i < 3; i++) {
        for (size_t k = 0; k < 3; k++) {
            seen |= rx[i].data == buffers[k] ? 1u << k : 0;
        }
    }
    assert_int_equal(seen, 7);
    udp_close(a);
    udp_close(b);
}

/* One bad destination costs that datagram only. */
static void test_errors_do_not_stop_a_batch(void **state)
{
    struct udp_socket *a = open_at("127.0.0.1/0");
    struct udp_socket *b = open_at("127.0.0.1/0");
    struct udp_rx rx[UDP_BATCH_MAX];
    struct udp_tx tx[5];
    static uint8_t huge[66000];
    struct udp_info info;

    (void)state;
    for (size_t i = 0; i < COUNT_OF(tx); i++) {
        tx[i] = (struct udp_tx){.data = (const uint8_t *)"abcde" + i, .len = 1, .to = local_of(b)};
    }
    tx[0].to = parse("::1/9");
    tx[2].data = huge;
    tx[2].len = sizeof(huge);
    tx[3].to = (struct inetaddr){0};
    assert_int_equal(udp_send_batch(a, tx, COUNT_OF(tx)), COUNT_OF(tx));
    assert_int_equal(tx[0].error, -EAFNOSUPPORT);
    assert_int_equal(tx[1].error, 0);
    assert_int_equal(tx[2].error, -EMSGSIZE);
    assert_int_equal(tx[3].error, -EAFNOSUPPORT);
    assert_int_equal(tx[4].error, 0);
    prepare(rx, BUF);
    assert_int_equal(receive(b, rx, UDP_BATCH_MAX), 2);
    assert_int_equal(rx[0].data[0], 'b');
    assert_int_equal(rx[1].data[0], 'e');
    udp_info(a, &info);
    assert_int_equal(info.tx_errors, 3);
    assert_int_equal(udp_send(a, &tx[0].to, "x", 1, 0, false), -EAFNOSUPPORT);
    udp_close(a);
    udp_close(b);
}

/* SV-93: buffers are reported as granted, drops of the kernel are counted. */
static void test_buffers_and_drops(void **state)
{
    struct udp_config config = {.local = parse("127.0.0.1/0"), .buffer = 65536};
    struct udp_socket *b;
    struct udp_socket *a = open_at("127.0.0.1/0");
    struct udp_info info;
    static uint8_t data[1400];

    (void)state;
    assert_int_equal(udp_open(&config, &b), 0);
    udp_info(b, &info);
    assert_int_equal(info.rcvbuf, 65536);
    assert_int_equal(info.sndbuf, 65536);
    assert_int_equal(info.kernel_drops, 0);
    struct inetaddr to = info.local;
    for (int i = 0; i < 500; i++) {
        int error = udp_send(a, &to, data, sizeof(data), 0, false);
        assert_true(error == 0 || error == -EAGAIN);
    }
    udp_info(b, &info);
    assert_true(info.kernel_drops > 100);
    udp_info(a, &info);
    assert_true(info.rcvbuf >= 65536);
    udp_close(a);
    udp_close(b);
}

/* What the system grants those who may not pass its limit, or 0 if it does not tell. */
static uint32_t limit_of(const char *name)
{
    char path[64];
    unsigned limit = 0;

    (void)snprintf(path, sizeof(path), "/proc/sys/net/core/%s", name);
    FILE *in = fopen(path, "r");
    if (in != NULL) {
        (void)!fscanf(in, "%u", &limit);
        (void)fclose(in);
    }
    return limit < UDP_BUFFER_DEFAULT ? limit : UDP_BUFFER_DEFAULT;
}

static bool may_force(void)
{
    int fd = socket(AF_INET, SOCK_DGRAM, 0);
    int value = 65536;
    bool may = setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &value, sizeof(value)) == 0;

    (void)close(fd);
    return may;
}

/* D-25: 8 MiB where we may, else as much as the system's limit, told without its doubling. */
static void test_default_buffers(void **state)
{
    uint32_t receive = may_force() ? UDP_BUFFER_DEFAULT : limit_of("rmem_max");
    uint32_t send = may_force() ? UDP_BUFFER_DEFAULT : limit_of("wmem_max");
    struct udp_socket *s = open_at("127.0.0.1/0");
    struct udp_info info;

    (void)state;
    assert_int_equal(UDP_BUFFER_DEFAULT, 8 << 20);
    if (receive == 0 || send == 0) {
        udp_close(s);
        skip();
    }
    udp_info(s, &info);
    udp_close(s);
    assert_int_equal(info.rcvbuf, receive);
    assert_int_equal(info.sndbuf, send);
}

/* The same without the right to pass the limit: capabilities go with the user. */
static void test_default_buffers_of_a_user(void **state)
{
    if (geteuid() != 0 || !may_force() || seteuid(65534) != 0) {
        skip();
    }
    assert_false(may_force());
    test_default_buffers(state);
    assert_int_equal(seteuid(0), 0);
}

static void test_open_errors(void **state)
{
    struct udp_socket *a = open_at("127.0.0.1/0");
    struct udp_config config = {.local = local_of(a)};
    struct udp_socket *b = NULL;

    (void)state;
    assert_int_equal(udp_open(&config, &b), -EADDRINUSE);
    config.share_port = true;
    assert_int_equal(udp_open(&config, &b), -EADDRINUSE);
    config.join_port = true;
    assert_int_equal(udp_open(&config, &b), -EADDRINUSE); /* the other does not share */
    config.share_port = config.join_port = false;
    config.local = (struct inetaddr){0};
    assert_int_equal(udp_open(&config, &b), -EAFNOSUPPORT);
    config.local = parse("192.0.2.1/0");
    assert_int_equal(udp_open(&config, &b), -EADDRNOTAVAIL);
    assert_null(b);
    udp_close(a);
    udp_close(NULL);
}

/* Datagrams of many senders that reach a socket. */
static int count_received(struct udp_socket *s)
{
    uint8_t data[64];
    struct udp_rx rx = {.data = data, .cap = sizeof(data)};
    int count = 0;

    while (udp_receive(s, &rx, 1) == 1) {
        count++;
    }
    return count;
}

/* Another program, of this or of another user, that wants to have the address too. */
static int open_as(uid_t user, const struct udp_config *config)
{
    struct udp_socket *s = NULL;
    uid_t self = geteuid();

    assert_int_equal(seteuid(user), 0);
    int error = udp_open(config, &s);
    assert_int_equal(seteuid(self), 0);
    udp_close(s);
    return error;
}

/* Sockets that join share the senders; who only shares does not get in, nor does another user. */
static void test_shared_address(void **state)
{
    enum { SOCKETS = 4, SENDERS = 200, OTHER_USER = 65534 };
    struct udp_config config = {.local = parse("127.0.0.1/0"), .share_port = true};
    struct udp_socket *sockets[SOCKETS];
    struct udp_socket *b = NULL;
    int total = 0;

    (void)state;
    assert_int_equal(udp_open(&config, &sockets[0]), 0);
    config.local = local_of(sockets[0]);
    assert_int_equal(udp_open(&config, &b), -EADDRINUSE); /* a second program as careful as we */
    config.join_port = true;
    for (int i = 1; i < SOCKETS; i++) {
        assert_int_equal(udp_open(&config, &sockets[i]), 0);
    }
    if (geteuid() == 0) {
        assert_int_equal(open_as(OTHER_USER, &config), -EADDRINUSE);
    }
    config.join_port = false;
    assert_int_equal(udp_open(&config, &b), -EADDRINUSE);
    assert_false(udp_port_is_free(config.local.port, false));
    for (int i = 0; i < SENDERS; i++) {
        struct udp_socket *sender = open_at("127.0.0.1/0");
        assert_int_equal(udp_send(sender, &config.local, "x", 1, 0, false), 0);
        udp_close(sender);
    }
    for (int i = 0; i < SOCKETS; i++) {
        int count = count_received(sockets[i]);
        assert_true(count > 0);
        total += count;
        udp_close(sockets[i]);
    }
    assert_int_equal(total, SENDERS);
}

static void test_ports(void **state)
{
    struct udp_socket *a = open_at("0.0.0.0/0");
    uint16_t port = local_of(a).port;

    (void)state;
    assert_false(udp_port_is_free(port, false));
    udp_close(a);
    assert_true(udp_port_is_free(port, false));

    int found = udp_port_search(30000, true);
    assert_true(found >= 30000);
    struct udp_config config = {.local = parse("0.0.0.0/0")};
    config.local.port = (uint16_t)found;
    assert_int_equal(udp_open(&config, &a), 0);
    int next = udp_port_search((uint16_t)found, true);
    assert_true(next > found);
    udp_close(a);
    found = udp_port_search(80, false);
    assert_true(found >= UDP_PORT_RANDOM_FIRST);
    /* TCP counts when asked for */
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct sockaddr_in sa = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof(sa);
    assert_int_equal(bind(fd, (struct sockaddr *)&sa, len), 0);
    assert_int_equal(listen(fd, 1), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&sa, &len), 0);
    assert_false(udp_port_is_free(ntohs(sa.sin_port), true));
    (void)close(fd);
}

/* Connections that another program closed before it ended leave its port to us at once, as the
 * reference leaves them: it shares ports, not addresses. */
static void test_port_of_closed_connections(void **state)
{
    int one = 1;
    struct sockaddr_in sa = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof(sa);
    char byte;
    (void)state;
    int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(setsockopt(listener, SOL_SOCKET, SO_REUSEPORT, &one, sizeof(one)), 0);
    assert_int_equal(bind(listener, (struct sockaddr *)&sa, len), 0);
    assert_int_equal(listen(listener, 1), 0);
    assert_int_equal(getsockname(listener, (struct sockaddr *)&sa, &len), 0);
    int client = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(connect(client, (struct sockaddr *)&sa, len), 0);
    int server = accept(listener, NULL, NULL);
    assert_true(server >= 0);
    assert_false(udp_port_is_free(ntohs(sa.sin_port), true)); /* it runs */
    assert_int_equal(close(server), 0);
    assert_int_equal(read(client, &byte, 1), 0);
    assert_int_equal(close(client), 0);
    assert_int_equal(close(listener), 0);
    int probe = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(setsockopt(probe, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one)), 0);
    assert_int_not_equal(bind(probe, (struct sockaddr *)&sa, len), 0); /* this alone is no help */
    assert_int_equal(close(probe), 0);
    assert_true(udp_port_is_free(ntohs(sa.sin_port), true));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_port_of_closed_connections),
        cmocka_unit_test(test_batches_v4),
        cmocka_unit_test(test_batches_v6),
        cmocka_unit_test(test_wildcards),
        cmocka_unit_test(test_ttl_of_one_datagram),
        cmocka_unit_test(test_large_and_truncated_datagrams),
        cmocka_unit_test(test_errors_do_not_stop_a_batch),
        cmocka_unit_test(test_buffers_and_drops),
        cmocka_unit_test(test_default_buffers),
        cmocka_unit_test(test_default_buffers_of_a_user),
        cmocka_unit_test(test_open_errors),
        cmocka_unit_test(test_shared_address),
        cmocka_unit_test(test_ports),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
