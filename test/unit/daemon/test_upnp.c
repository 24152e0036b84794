/* UPnP: what gateways say, and what they must not make us do. SV-94. */
#include "daemon/upnp_msg.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static const struct inetaddr gateway = {.family = INETADDR_V4, .ip = {192, 168, 1, 1}};

static void test_urls(void **state)
{
    (void)state;
    static const struct upnp_url base = {.port = 5000, .path = "/a/root.xml"};
    static const struct {
        const char *text;
        bool relative; /* with the base */
        int err;
        uint16_t port;
        const char *path;
    } table[] = {
        {"http://192.168.1.1:5000/root.xml", false, 0, 5000, "/root.xml"},
        {" HTTP://192.168.1.1/x?y=1 ", false, 0, 80, "/x?y=1"},
        {"http://192.168.1.1", false, 0, 80, "/"},
        {"http://192.168.1.1:65535", false, 0, 65535, "/"},
        {"/ctl/IPConn", true, 0, 5000, "/ctl/IPConn"},
        {"ctl/IPConn", true, 0, 5000, "/a/ctl/IPConn"},
        {"http://192.168.1.1:80/ctl", true, 0, 80, "/ctl"},
        /* another host, in every disguise */
        {"http://192.168.1.2/ctl", true, -EACCES, 0, NULL},
        {"http://127.0.0.1:9993/controller", false, -EACCES, 0, NULL},
        {"http://192.168.1.1@10.0.0.1/x", false, -EACCES, 0, NULL},
        {"http://192.168.1.1.evil.example/x", false, -EACCES, 0, NULL},
        {"http://localhost/x", false, -EACCES, 0, NULL},
        {"http://[::1]/x", false, -EBADMSG, 0, NULL},
        {"http://192.168.001.1/x", false, -EACCES, 0, NULL},
        {"http://192.168.1.1#.x/y", false, -EACCES, 0, NULL},
        {"http:///x", false, -EACCES, 0, NULL},
        {"//10.0.0.1/x", true, -EACCES, 0, NULL},
        {"https://192.168.1.1/x", true, -EACCES, 0, NULL},
        {"file:///etc/passwd", true, -EACCES, 0, NULL},
        {"https://192.168.1.1/x", false, -EBADMSG, 0, NULL},
        {"ctl", false, -EBADMSG, 0, NULL},
        {"", true, -EBADMSG, 0, NULL},
        {"http://192.168.1.1:0/x", false, -EBADMSG, 0, NULL},
        {"http://192.168.1.1:65536/x", false, -EBADMSG, 0, NULL},
        {"http://192.168.1.1:/x", false, -EBADMSG, 0, NULL},
        {"http://192.168.1.1/a b", false, -EBADMSG, 0, NULL},
        {"http://192.168.1.1/a\r\nHost: x", false, -EBADMSG, 0, NULL},
        {"/a\xc3\xa4", true, -EBADMSG, 0, NULL},
    };
    for (size_t i = 0; i < COUNT_OF(table); i++) {
        struct upnp_url url = {.port = 7};
        int err = upnp_url_read(table[i].text, strlen(table[i].text), &gateway,
                                table[i].relative ? &base : NULL, &url);
        if (err != table[i].err) {
            fail_msg("%s: %d", table[i].text, err);
        }
        assert_int_equal(url.port, err == 0 ? table[i].port : 7);
        if (err == 0) {
            assert_string_equal(url.path, table[i].path);
        }
    }
    char longest[UPNP_PATH_MAX + 1];
    struct upnp_url url;
    memset(longest, 'x', sizeof(longest));
    longest[0] = '/';
    assert_int_equal(upnp_url_read(longest, UPNP_PATH_MAX - 1, &gateway, &base, &url), 0);
    assert_int_equal(upnp_url_read(longest, UPNP_PATH_MAX, &gateway, &base, &url), -EBADMSG);
}

static void test_search(void **state)
{
    (void)state;
#define ST       "ST: urn:schemas-upnp-org:device:InternetGatewayDevice:1\r\n"
#define LOCATION "Location: http://192.168.1.1:5000/root.xml\r\n"
    static const struct {
        const char *text;
        int err;
    } table[] = {
        {"HTTP/1.1 200 OK\r\nCACHE-CONTROL: max-age=120\r\n" ST LOCATION "\r\n", 0},
        {"HTTP/1.1 200 OK\r\n" LOCATION ST "\r\n", 0},
        {"HTTP/1.1 404 Not Found\r\n" ST LOCATION "\r\n", -EBADMSG},
        {"NOTIFY * HTTP/1.1\r\n" ST LOCATION "\r\n", -EBADMSG},
        {"HTTP/1.1 200 OK\r\nST: upnp:rootdevice\r\n" LOCATION "\r\n", -EBADMSG},
        {"HTTP/1.1 200 OK\r\n" ST "\r\n", -EBADMSG},
        {"HTTP/1.1 200 OK\r\n" ST "Location: http://192.168.1.9/x\r\n\r\n", -EACCES},
        {"", -EBADMSG},
        {"HTTP/1.1 200", -EBADMSG},
    };
    for (size_t i = 0; i < COUNT_OF(table); i++) {
        struct upnp_url url;
        int err = upnp_search_read(table[i].text, strlen(table[i].text), &gateway, &url);
        assert_int_equal(err, table[i].err);
        if (err == 0) {
            assert_int_equal(url.port, 5000);
            assert_string_equal(url.path, "/root.xml");
        }
    }
    char out[UPNP_SEARCH_MAX];
    size_t len = upnp_search_write(out, 2);
    assert_true(len > 0);
    assert_non_null(strstr(out, "InternetGatewayDevice:2\r\n"));
    assert_memory_equal(out + len - 4, "\r\n\r\n", 4);
}

static void test_http(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        int whole; /* result when it is all there is */
        int open;  /* and while the connection is open */
        unsigned status;
        const char *body;
    } table[] = {
        {"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc", 1, 1, 200, "abc"},
        {"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabcdef", 1, 1, 200, "abc"},
        {"HTTP/1.0 500 Bad\r\n\r\nabc", 1, 0, 500, "abc"},
        {"HTTP/1.1 200 OK\nCONTENT-LENGTH:0\n\n", 1, 1, 200, ""},
        {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\nA;x=y\r\n0123456789\r\n"
         "0\r\n\r\n",
         1, 1, 200, "ab0123456789"},
        {"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nabc", -EBADMSG, 0, 0, NULL},
        {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nab", -EBADMSG, 0, 0, NULL},
        {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nabc\r\n", -EBADMSG, -EBADMSG, 0,
         NULL},
        {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffffffff\r\nab", -EBADMSG,
         -EBADMSG, 0, NULL},
        {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n-1\r\nab", -EBADMSG, -EBADMSG, 0,
         NULL},
        {"HTTP/1.1 200 OK\r\nContent-Length: 65537\r\n\r\n", -EBADMSG, -EBADMSG, 0, NULL},
        {"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n", -EBADMSG, -EBADMSG, 0, NULL},
        {"HTTP/1.1 20x OK\r\n\r\n", -EBADMSG, -EBADMSG, 0, NULL},
        {"HTTP/2 200\r\n\r\n", -EBADMSG, -EBADMSG, 0, NULL},
        {"HTTP/1.1 200 OK\r\nX: y", -EBADMSG, 0, 0, NULL},
        {"", -EBADMSG, 0, 0, NULL},
    };
    for (size_t i = 0; i < COUNT_OF(table); i++) {
        for (int ended = 0; ended < 2; ended++) {
            char *data = strdup(table[i].text);
            struct upnp_http http = {0};
            int want = ended ? table[i].whole : table[i].open;
            if (upnp_http_read(data, strlen(table[i].text), ended, &http) != want) {
                fail_msg("%s (%d)", table[i].text, ended);
            }
            if (want == 1) {
                assert_int_equal(http.status, table[i].status);
                assert_int_equal(http.body_len, strlen(table[i].body));
                assert_memory_equal(http.body, table[i].body, http.body_len);
            }
            free(data);
        }
    }
}

#define SERVICE(type, url)                                                                         \
    "<service>\n<serviceType>urn:schemas-upnp-org:service:" type "</serviceType>\n"                \
    "<serviceId>x</serviceId><controlURL>" url "</controlURL><eventSubURL/></service>"

static void test_description(void **state)
{
    (void)state;
    static const struct upnp_url location = {.port = 5000, .path = "/d/root.xml"};
    static const struct {
        const char *xml;
        size_t count;
        const char *first; /* "type port path" */
    } table[] = {
        {"<?xml version=\"1.0\"?><root><device><serviceList>" SERVICE("Layer3Forwarding:1", "/l3")
             SERVICE("WANIPConnection:1", "/ip") "</serviceList>",
         1, "WANIPConnection:1 5000 /ip"},
        {SERVICE("WANPPPConnection:1", "ppp") SERVICE("WANIPConnection:2", "ip"), 2,
         "WANPPPConnection:1 5000 /d/ppp"},
        {"<URLBase>http://192.168.1.1:80/</URLBase>" SERVICE("WANIPConnection:1", "c?a=1&amp;b=2"),
         1, "WANIPConnection:1 80 /c?a=1&b=2"},
        {"<u:service a='b'><u:serviceType> urn:schemas-upnp-org:service:WANIPConnection:1 "
         "</u:serviceType><u:controlURL>/n</u:controlURL></u:service>",
         1, "WANIPConnection:1 5000 /n"},
        {SERVICE("WANIPConnection:1", "/1") SERVICE("WANIPConnection:1", "/2")
             SERVICE("WANIPConnection:1", "/3") SERVICE("WANIPConnection:1", "/4")
                 SERVICE("WANIPConnection:1", "/5"),
         UPNP_SERVICES_MAX, "WANIPConnection:1 5000 /1"},
        /* services elsewhere are none */
        {SERVICE("WANIPConnection:1", "http://10.0.0.9/x"), 0, NULL},
        {"<URLBase>http://10.0.0.9/</URLBase>" SERVICE("WANIPConnection:1", "/x"), 0, NULL},
        {SERVICE("WANIPConnection:1\r\nX: y", "/x"), 0, NULL},
        {SERVICE("WANIPConnection:1", ""), 0, NULL},
        {"<service><serviceType>urn:schemas-upnp-org:service:WANIPConnection:1</serviceType>", 0,
         NULL},
        {"<service><service><service>", 0, NULL},
        {"<service/><service", 0, NULL},
        {"<<<>>><></><:></:>", 0, NULL},
        {"", 0, NULL},
    };
    for (size_t i = 0; i < COUNT_OF(table); i++) {
        struct upnp_service out[UPNP_SERVICES_MAX];
        size_t count =
            upnp_services_read(table[i].xml, strlen(table[i].xml), &gateway, &location, out);
        if (count != table[i].count) {
            fail_msg("%zu: %zu", i, count);
        }
        if (count > 0) {
            char text[512];
            (void)snprintf(text, sizeof(text), "%s %u %s", strstr(out[0].type, "WAN"),
                           out[0].control.port, out[0].control.path);
            assert_string_equal(text, table[i].first);
        }
    }
}

static void test_calls(void **state)
{
    (void)state;
    struct upnp_service service = {.type = "urn:schemas-upnp-org:service:WANIPConnection:1",
                                   .control = {.port = 5000}};
    struct upnp_mapping mapping = {
        .local = {.family = INETADDR_V4, .ip = {192, 168, 255, 255}, .port = 65535},
        .external = 65534,
        .lifetime_s = UINT32_MAX,
        .node = UINT64_C(0xffffffffff)};
    memset(service.control.path, 'x', UPNP_PATH_MAX - 1);
    for (enum upnp_call call = UPNP_GET_ADDRESS; call <= UPNP_DELETE_MAPPING; call++) {
        char out[UPNP_REQUEST_MAX]; /* the longest fits, and says how long its body is */
        size_t len = upnp_call_write(out, &gateway, &service, call,
                                     call == UPNP_GET_ADDRESS ? NULL : &mapping);
        assert_true(len > 0 && len == strlen(out));
        char *body = strstr(out, "\r\n\r\n") + 4;
        assert_int_equal(atoi(strstr(out, "Content-Length: ") + 16), strlen(body));
        assert_non_null(strstr(body, "</s:Envelope>"));
        assert_true((strstr(body, "<NewExternalPort>65534<") != NULL) ==
                    (call != UPNP_GET_ADDRESS));
        assert_true((strstr(body, "<NewInternalClient>192.168.255.255<") != NULL) ==
                    (call == UPNP_ADD_MAPPING));
    }
}

static void test_answers(void **state)
{
    (void)state;
    static const struct {
        unsigned status;
        const char *body;
        unsigned error;
        const char *ip;
        const char *client;
    } table[] = {
        {200,
         "<s:Body><u:GetExternalIPAddressResponse><NewExternalIPAddress>46.0.0.1"
         "</NewExternalIPAddress>",
         0, "46.0.0.1/0", ""},
        {200, "<NewExternalIPAddress></NewExternalIPAddress>", 0, "", ""},
        {200, "<NewExternalIPAddress>46.0.0.1/80</NewExternalIPAddress>", 0, "", ""},
        {200, "<NewExternalIPAddress>::1</NewExternalIPAddress>", 0, "", ""},
        {200,
         "<NewInternalPort>9993</NewInternalPort><NewInternalClient>192.168.1.2"
         "</NewInternalClient>",
         0, "", "192.168.1.2/9993"},
        {200, "<NewInternalClient>router</NewInternalClient>", 0, "", ""},
        {200,
         "<NewInternalClient>192.168.1.2</NewInternalClient><NewInternalPort>99999"
         "</NewInternalPort>",
         0, "", "192.168.1.2/0"},
        {500, "<errorCode>718</errorCode>", UPNP_ERROR_CONFLICT, "", ""},
        {500, "<errorCode>0</errorCode>", 500, "", ""},
        {500, "<errorCode>99999999999</errorCode>", 500, "", ""},
        {404, "", 404, "", ""},
        {200, "", 0, "", ""},
    };
    for (size_t i = 0; i < COUNT_OF(table); i++) {
        struct upnp_http http = {table[i].status, table[i].body, strlen(table[i].body)};
        struct upnp_answer answer;
        char text[INETADDR_TEXT_LEN];
        upnp_answer_read(&http, &answer);
        assert_int_equal(answer.error, table[i].error);
        inetaddr_print(&answer.ip, text);
        assert_string_equal(text, table[i].ip);
        inetaddr_print(&answer.client, text);
        assert_string_equal(text, table[i].client);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_urls),  cmocka_unit_test(test_search),
        cmocka_unit_test(test_http),  cmocka_unit_test(test_description),
        cmocka_unit_test(test_calls), cmocka_unit_test(test_answers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
