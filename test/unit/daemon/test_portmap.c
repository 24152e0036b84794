/* NAT-PMP: answers of gateways, and finding the gateway. Checklist: SV-94 in part. */
#include "daemon/portmap.h"

#include <arpa/inet.h>
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static void test_answers(void **state)
{
    (void)state;
    static const struct {
        uint8_t data[20];
        size_t len;
        int err;
        unsigned op;
        unsigned result;
    } table[] = {
        {{0, 128, 0, 0, 1, 2, 3, 4, 198, 51, 100, 9}, 12, 0, 0, 0},
        {{0, 129, 0, 0, 1, 2, 3, 4, 0x27, 0x09, 0x9c, 0x40, 0, 0, 14, 16}, 16, 0, 1, 0},
        {{0, 129, 0, 2}, 4, 0, 1, 2}, /* refused: no more follows */
        {{0, 128, 0, 0, 1, 2, 3, 4, 198, 51, 100}, 11, -EBADMSG, 0, 0},
        {{0, 129, 0, 0, 1, 2, 3, 4, 0x27, 0x09, 0x9c, 0x40, 0, 0, 14}, 15, -EBADMSG, 0, 0},
        {{0, 130, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12}, 16, -EBADMSG, 0, 0}, /* TCP */
        {{0, 0, 0, 0}, 4, -EBADMSG, 0, 0},                                           /* a request */
        {{2, 128, 0, 0}, 4, -EBADMSG, 0, 0}, /* another version */
        {{0}, 0, -EBADMSG, 0, 0},
    };
    for (size_t i = 0; i < COUNT_OF(table); i++) {
        struct portmap_answer a = {.op = 99};
        assert_int_equal(portmap_answer_read(table[i].data, table[i].len, &a), table[i].err);
        if (table[i].err == 0) {
            assert_int_equal(a.op, table[i].op);
            assert_int_equal(a.result, table[i].result);
        } else {
            assert_int_equal(a.op, 99);
        }
    }
    struct portmap_answer a;
    assert_int_equal(portmap_answer_read(table[0].data, table[0].len, &a), 0);
    assert_memory_equal(a.ip, ((uint8_t[]){198, 51, 100, 9}), 4);
    assert_int_equal(portmap_answer_read(table[1].data, table[1].len, &a), 0);
    assert_int_equal(a.internal, 9993);
    assert_int_equal(a.external, 40000);
    assert_int_equal(a.lifetime_s, 3600);
}

/* A line of /proc/net/route as this machine prints it. */
static void route_line(char *out, size_t cap, const char *iface, const char *dest,
                       const char *gateway)
{
    struct in_addr d;
    struct in_addr g;
    assert_int_equal(inet_pton(AF_INET, dest, &d), 1);
    assert_int_equal(inet_pton(AF_INET, gateway, &g), 1);
    (void)snprintf(out, cap, "%s\t%08X\t%08X\t0003\t0\t0\t0\t00000000\t0\t0\t0\n", iface, d.s_addr,
                   g.s_addr);
}

static void test_gateway(void **state)
{
    (void)state;
    static const char head[] = "Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\n";
    char text[512];
    char line[128];
    struct inetaddr gateway;
    (void)snprintf(text, sizeof(text), "%s", head);
    assert_int_equal(portmap_gateway_parse(text, &gateway), -ENOENT);
    assert_int_equal(portmap_gateway_parse("", &gateway), -ENOENT);
    route_line(line, sizeof(line), "eth0", "10.77.0.0", "0.0.0.0");
    strcat(text, line);
    route_line(line, sizeof(line), "ppp0", "0.0.0.0", "0.0.0.0"); /* without gateway */
    strcat(text, line);
    assert_int_equal(portmap_gateway_parse(text, &gateway), -ENOENT);
    route_line(line, sizeof(line), "eth0", "0.0.0.0", "10.77.0.3");
    strcat(text, line);
    assert_int_equal(portmap_gateway_parse(text, &gateway), 0);
    assert_int_equal(gateway.family, INETADDR_V4);
    assert_memory_equal(gateway.ip, ((uint8_t[]){10, 77, 0, 3}), 4);
    assert_int_equal(gateway.port, PORTMAP_SERVER_PORT);
    assert_int_equal(portmap_gateway_parse("eth0\t00000000\tzz\n\n\nx", &gateway), -ENOENT);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_answers),
        cmocka_unit_test(test_gateway),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
