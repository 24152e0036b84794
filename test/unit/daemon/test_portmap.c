/* PCP and NAT-PMP: requests, answers of gateways, epochs, and finding the gateway. SV-94. */
#include "daemon/portmap.h"

#include <arpa/inet.h>
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#define NONCE     1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12
#define ZERO12    0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0
#define V4_PREFIX 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff

static void test_natpmp_answers(void **state)
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
        {{0, 129, 0, 2}, 4, 0, 1, 2},                               /* refused: no more follows */
        {{0, 129, 0, 1, 0, 0, 0, 9}, 8, 0, 1, PORTMAP_BAD_VERSION}, /* to a PCP request */
        {{0, 128, 0, 0, 1, 2, 3, 4, 198, 51, 100}, 11, -EBADMSG, 0, 0},
        {{0, 129, 0, 0, 1, 2, 3, 4, 0x27, 0x09, 0x9c, 0x40, 0, 0, 14}, 15, -EBADMSG, 0, 0},
        {{0, 130, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12}, 16, -EBADMSG, 0, 0}, /* TCP */
        {{0, 0, 0, 0}, 4, -EBADMSG, 0, 0},                                           /* a request */
        {{1, 128, 0, 0}, 4, -EBADMSG, 0, 0}, /* another version */
        {{0}, 0, -EBADMSG, 0, 0},
    };
    for (size_t i = 0; i < COUNT_OF(table); i++) {
        struct portmap_answer a = {.op = 99};
        assert_int_equal(portmap_answer_read(table[i].data, table[i].len, &a), table[i].err);
        if (table[i].err == 0) {
            assert_int_equal(a.version, PORTMAP_VERSION_NATPMP);
            assert_int_equal(a.op, table[i].op);
            assert_int_equal(a.result, table[i].result);
        } else {
            assert_int_equal(a.op, 99);
        }
    }
    struct portmap_answer a;
    assert_int_equal(portmap_answer_read(table[0].data, table[0].len, &a), 0);
    assert_int_equal(a.external.family, INETADDR_V4);
    assert_memory_equal(a.external.ip, ((uint8_t[]){198, 51, 100, 9}), 4);
    assert_int_equal(a.epoch_s, 0x01020304);
    assert_int_equal(portmap_answer_read(table[1].data, table[1].len, &a), 0);
    assert_int_equal(a.internal, 9993);
    assert_int_equal(a.external.port, 40000);
    assert_int_equal(a.external.family, INETADDR_NIL);
    assert_int_equal(a.lifetime_s, 3600);
}

static const uint8_t pcp_answer[60] = {
    2,         0x81, 0,    0,    0,      0, 14, 16, /* version, MAP, success, 3600 s */
    0,         0,    1,    0,    ZERO12,            /* epoch */
    NONCE,     17,   0,    0,    0,                 /* UDP */
    0x27,      0x09, 0x9c, 0x40,                    /* 9993 is 40000 outside */
    V4_PREFIX, 198,  51,   100,  9,
};

static void test_pcp_answers(void **state)
{
    (void)state;
    uint8_t data[64];
    struct portmap_answer a = {0};
    assert_int_equal(portmap_answer_read(pcp_answer, sizeof(pcp_answer), &a), 0);
    assert_int_equal(a.version, PORTMAP_VERSION_PCP);
    assert_int_equal(a.op, PORTMAP_OP_MAP);
    assert_int_equal(a.result, 0);
    assert_int_equal(a.lifetime_s, 3600);
    assert_int_equal(a.epoch_s, 256);
    assert_memory_equal(a.nonce, ((uint8_t[]){NONCE}), PORTMAP_NONCE_LEN);
    assert_int_equal(a.internal, 9993);
    char text[INETADDR_TEXT_LEN];
    inetaddr_print(&a.external, text);
    assert_string_equal(text, "198.51.100.9/40000");
    for (size_t len = 0; len < sizeof(pcp_answer); len++) { /* every shorter one is refused */
        assert_int_equal(portmap_answer_read(pcp_answer, len, &a), -EBADMSG);
    }
    memcpy(data, pcp_answer, sizeof(pcp_answer));
    data[36] = 6; /* TCP was not asked for */
    assert_int_equal(portmap_answer_read(data, sizeof(pcp_answer), &a), -EBADMSG);
    memcpy(data, pcp_answer, sizeof(pcp_answer));
    data[1] = 0x82; /* PEER */
    assert_int_equal(portmap_answer_read(data, sizeof(pcp_answer), &a), -EBADMSG);
    data[1] = 1; /* a request */
    assert_int_equal(portmap_answer_read(data, sizeof(pcp_answer), &a), -EBADMSG);
    data[1] = 0x81;
    data[3] = 8; /* no resources */
    assert_int_equal(portmap_answer_read(data, sizeof(pcp_answer), &a), 0);
    assert_int_equal(a.result, 8);
    data[1] = 0x80; /* an announcement is a header alone */
    data[3] = 0;
    assert_int_equal(portmap_answer_read(data, 24, &a), 0);
    assert_int_equal(a.op, PORTMAP_OP_ADDRESS);
    assert_int_equal(a.epoch_s, 256);
}

static void test_requests(void **state)
{
    (void)state;
    static const uint8_t map[60] = {2,    1,    0,    0,    0,         0,  14, 16, V4_PREFIX,
                                    192,  168,  1,    2,    NONCE,     17, 0,  0,  0,
                                    0x27, 0x09, 0x9c, 0x40, V4_PREFIX, 46, 0,  0,  7};
    static const uint8_t natpmp[] = {0, 1, 0, 0, 0x27, 0x09, 0x9c, 0x40, 0, 0, 14, 16};
    static const uint8_t natpmp_delete[] = {0, 1, 0, 0, 0x27, 0x09, 0, 0, 0, 0, 0, 0};
    struct portmap_request request = {
        .local = {.family = INETADDR_V4, .ip = {192, 168, 1, 2}, .port = 9993},
        .wanted = {.family = INETADDR_V4, .ip = {46, 0, 0, 7}, .port = 40000},
        .lifetime_s = 3600,
        .nonce = {NONCE}};
    uint8_t data[PORTMAP_REQUEST_MAX];
    struct wr w = wr_init(data, sizeof(data));
    portmap_write_pcp(&w, &request);
    assert_int_equal(wr_len(&w), sizeof(map));
    assert_memory_equal(data, map, sizeof(map));
    w = wr_init(data, sizeof(data));
    portmap_write_natpmp(&w, &request);
    assert_int_equal(wr_len(&w), sizeof(natpmp));
    assert_memory_equal(data, natpmp, sizeof(natpmp));
    w = wr_init(data, sizeof(data));
    portmap_write_natpmp_address(&w);
    assert_int_equal(wr_len(&w), 2);
    assert_memory_equal(data, ((uint8_t[]){0, 0}), 2);
    request.lifetime_s = 0; /* deletion names no external address and port */
    w = wr_init(data, sizeof(data));
    portmap_write_natpmp(&w, &request);
    assert_memory_equal(data, natpmp_delete, sizeof(natpmp_delete));
    w = wr_init(data, sizeof(data));
    portmap_write_pcp(&w, &request);
    assert_int_equal(wr_len(&w), 60);
    assert_memory_equal(data + 4, ((uint8_t[]){0, 0, 0, 0}), 4);
    assert_memory_equal(data + 42, ((uint8_t[]){0, 0, V4_PREFIX, 0, 0, 0, 0}), 18);
}

static void test_epoch(void **state)
{
    (void)state;
    static const struct {
        uint32_t last_s;
        uint32_t now_s;
        int64_t passed_s;
        bool lost;
    } table[] = {
        {1000, 1000, 0, false},    {1000, 1100, 100, false}, {1000, 999, 0, false},
        {1000, 998, 0, true},      {1000, 0, 5, true},       {1000, 1106, 100, false},
        {1000, 1200, 100, true},   {1000, 1092, 100, false}, {1000, 1080, 100, true},
        {0, 4000, 3900, false},    {0, 0, 3, true},          {0, 0, 2, false},
        {UINT32_MAX, 3, 10, true},
    };
    for (size_t i = 0; i < COUNT_OF(table); i++) {
        struct portmap_epoch last = {.known = true, .server_s = table[i].last_s, .at_ms = 5000};
        assert_int_equal(portmap_epoch_lost(&last, table[i].now_s, 5000 + table[i].passed_s * 1000),
                         table[i].lost);
        last.known = false;
        assert_false(portmap_epoch_lost(&last, table[i].now_s, 0));
    }
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

/* What a gateway may call our external address. */
static void test_usable_addresses(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        bool usable;
        bool nested;
    } table[] = {
        {"46.0.0.1/1", true, false},
        {"10.0.0.1/1", true, true},
        {"192.168.1.1/1", true, true},
        {"100.64.0.1/1", true, true},
        {"0.0.0.0/1", false, false},
        {"127.0.0.1/1", false, false},
        {"224.0.0.1/1", false, false},
        {"255.255.255.255/1", false, false},
        {"169.254.0.1/1", false, false},
        {"2001:db8::1/1", false, false},
        {"", false, false},
    };
    for (size_t i = 0; i < COUNT_OF(table); i++) {
        struct portmap_grant grant = {.protocol = PORTMAP_BY_PCP};
        assert_int_equal(inetaddr_parse(table[i].text, strlen(table[i].text), &grant.external), 0);
        assert_int_equal(portmap_is_usable(&grant.external), table[i].usable);
        assert_int_equal(portmap_is_nested(&grant), table[i].nested);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_natpmp_answers), cmocka_unit_test(test_pcp_answers),
        cmocka_unit_test(test_requests),       cmocka_unit_test(test_epoch),
        cmocka_unit_test(test_gateway),        cmocka_unit_test(test_usable_addresses),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
