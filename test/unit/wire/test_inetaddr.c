/* Socket addresses. Checklist: NA-1 to NA-4, scopes of PP-1. */
#include "vectors.h"

#include "wire/inetaddr.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static json_t *crypto_vectors;
static json_t *vl1_vectors;

static int load(void **state)
{
    (void)state;
    crypto_vectors = vectors_load("identity-crypto.json");
    vl1_vectors = vectors_load("vl1.json");
    return 0;
}

static int unload(void **state)
{
    (void)state;
    json_decref(crypto_vectors);
    json_decref(vl1_vectors);
    return 0;
}

static struct inetaddr parse(const char *text)
{
    struct inetaddr a;

    assert_int_equal(inetaddr_parse(text, strlen(text), &a), 0);
    return a;
}

static void check_write(const struct inetaddr *a, const uint8_t *bytes, size_t len)
{
    uint8_t out[INETADDR_WIRE_MAX];
    struct wr w = wr_init(out, sizeof(out));

    inetaddr_write(&w, a);
    assert_false(w.bad);
    assert_int_equal(wr_len(&w), len);
    assert_memory_equal(out, bytes, len);
}

/* NA-1 */
static void test_text_and_binary_vectors(void **state)
{
    const json_t *cases = vec_get(crypto_vectors, "inetaddress");

    (void)state;
    for (size_t i = 0; i < json_array_size(cases); i++) {
        const json_t *c = json_array_get(cases, i);
        size_t len;
        uint8_t *bytes = vec_bytes(c, "serialized", &len);
        struct inetaddr a = parse(vec_text(c, "text"));
        struct rd r = rd_init(bytes, len);
        struct inetaddr b = inetaddr_read(&r);
        char text[INETADDR_TEXT_LEN];

        assert_int_equal(rd_done(&r), 0);
        assert_true(inetaddr_equal(&a, &b));
        check_write(&a, bytes, (size_t)vec_int(c, "consumed"));
        inetaddr_print(&b, text);
        assert_string_equal(text, vec_text(c, "to_string"));
        inetaddr_print_ip(&b, text);
        assert_string_equal(text, vec_text(c, "to_ip_string"));
        assert_int_equal(inetaddr_scope(&a), vec_int(c, "scope"));
        free(bytes);
    }
}

/* NA-2. One entry differs: skipped bytes that are not there are an error here. */
static void test_decode_vectors(void **state)
{
    const json_t *cases = vec_get(crypto_vectors, "inetaddress_decode");

    (void)state;
    for (size_t i = 0; i < json_array_size(cases); i++) {
        const json_t *c = json_array_get(cases, i);
        size_t len;
        uint8_t *bytes = vec_bytes(c, "bytes", &len);
        struct rd r = rd_init(bytes, len);
        struct inetaddr a = inetaddr_read(&r);
        bool ok = vec_bool(c, "ok") && (size_t)vec_int(c, "consumed") <= len;
        char text[INETADDR_TEXT_LEN];

        assert_int_equal(r.bad, !ok);
        if (ok) {
            assert_int_equal(len - rd_left(&r), vec_int(c, "consumed"));
            inetaddr_print(&a, text);
            assert_string_equal(text, vec_text(c, "result"));
        }
        free(bytes);
    }
}

/* NA-1, NA-2 with the other vector file */
static void test_vl1_address_vectors(void **state)
{
    const json_t *cases = vec_get(vl1_vectors, "inet_addresses");

    (void)state;
    for (size_t i = 0; i < json_array_size(cases); i++) {
        const json_t *c = json_array_get(cases, i);
        size_t len;
        uint8_t *bytes = vec_bytes(c, "serialized", &len);
        struct rd r = rd_init(bytes, len);
        struct inetaddr a = inetaddr_read(&r);

        assert_int_equal(rd_done(&r), 0);
        if (json_object_get(c, "address") != NULL) {
            struct inetaddr b = parse(vec_text(c, "address"));

            assert_true(inetaddr_equal(&a, &b));
            check_write(&a, bytes, len);
        } else {
            assert_int_equal(len, vec_int(c, "consumed"));
            assert_int_equal(a.family, INETADDR_NIL);
        }
        free(bytes);
    }
}

static void test_truncated_binary_is_refused(void **state)
{
    static const char *const whole[] = {"01010203040506", "02010203040506", "030002aabb",
                                        "04010203042709", "0620010db80000000000000000000000012709"};

    (void)state;
    for (size_t i = 0; i < COUNT_OF(whole); i++) {
        size_t len;
        uint8_t *bytes = hex_bytes(whole[i], &len);

        for (size_t cut = 0; cut <= len; cut++) {
            uint8_t *part = exact_copy(bytes, cut);
            struct rd r = rd_init(part, cut);
            struct inetaddr a = inetaddr_read(&r);

            assert_int_equal(r.bad, cut < len);
            assert_true(cut == len || a.family == INETADDR_NIL);
            free(part);
        }
        free(bytes);
    }
}

/* NA-3: [inetaddress_parse] holds the reference's leniencies; what is kept and what is refused. */
static void test_text_is_strict(void **state)
{
    static const struct {
        const char *text;
        const char *printed; /* NULL: refused */
    } cases[] = {
        {"", ""},
        {"10.0.0.1", "10.0.0.1/0"},
        {"10.0.0.1/", "10.0.0.1/0"},
        {"10.0.0.1/24", "10.0.0.1/24"},
        {"10.0.0.1/65535", "10.0.0.1/65535"},
        {"10.0.0.1/00080", "10.0.0.1/80"},
        {"10.0.0.1/000080", NULL},
        {"10.0.0.1/65536", NULL},
        {"10.0.0.1/70000", NULL},
        {"10.0.0.1/99999", NULL},
        {"10.0.0.1/abc", NULL},
        {"10.0.0.1/8 ", NULL},
        {"10.0.0.1/-1", NULL},
        {"10.0.0.1/+1", NULL},
        {"300.1.1.1/5", NULL},
        {"1.2.3/5", NULL},
        {"1.2.3.4.5/5", NULL},
        {"hello", NULL},
        {"9993", NULL},
        {"/9993", NULL},
        {"/", NULL},
        {"::1", "::1/0"},
        {"::1/", "::1/0"},
        {"::/0", "::/0"},
        {"fe80::1%eth0/5", NULL},
        {"[::1]/5", NULL},
        {"1.2.3.4:5", NULL},
        {"abcd::/128", "abcd::/128"},
        {"ABCD::0001/128", "abcd::1/128"},
        {"10.0.0.1/9993/5", NULL},
        {" 10.0.0.1/5", NULL},
        {"10.0.0.1 /5", NULL},
        {"::ffff:1.2.3.4/80", "::ffff:1.2.3.4/80"},
        {"1111:2222:3333:4444:5555:6666:255.255.255.255/65535",
         "1111:2222:3333:4444:5555:6666:ffff:ffff/65535"},
        {"1:2:3:4:5:6:7:8:9/1", NULL},
        {"0000000000000000000000000000000000000000000000000000000000000000", NULL},
    };

    (void)state;
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        size_t len = strlen(cases[i].text);
        uint8_t *text = exact_copy(cases[i].text, len); /* not terminated */
        struct inetaddr a = {.family = 99};
        int err = inetaddr_parse((const char *)text, len, &a);
        char printed[INETADDR_TEXT_LEN];

        if (cases[i].printed == NULL) {
            assert_int_equal(err, -EBADMSG);
            assert_int_equal(a.family, 99);
        } else {
            assert_int_equal(err, 0);
            inetaddr_print(&a, printed);
            assert_string_equal(printed, cases[i].printed);
        }
        free(text);
    }
    {
        struct inetaddr a;

        assert_int_equal(inetaddr_parse("1.2.3.4\0x", 9, &a), -EBADMSG);
    }
}

static void check_scopes(const json_t *cases)
{
    assert_true(json_array_size(cases) > 50);
    for (size_t i = 0; i < json_array_size(cases); i++) {
        const json_t *c = json_array_get(cases, i);
        struct inetaddr a = parse(vec_text(c, "ip"));

        assert_int_equal(inetaddr_scope(&a), vec_int(c, "scope"));
    }
}

/* NA-4 */
static void test_scope_vectors(void **state)
{
    (void)state;
    check_scopes(vec_get(crypto_vectors, "inetaddress_scope"));
    check_scopes(vec_get(vl1_vectors, "ip_scopes"));
}

/* The edges of every row of the scope table. */
static void test_scope_edges(void **state)
{
    static const struct {
        const char *ip;
        enum inet_scope scope;
    } cases[] = {
        {"", INET_SCOPE_NONE},
        {"0.255.255.255", INET_SCOPE_NONE},
        {"1.0.0.0", INET_SCOPE_GLOBAL},
        {"255.0.0.0", INET_SCOPE_NONE},
        {"254.255.255.255", INET_SCOPE_PSEUDO_PRIVATE},
        {"240.0.0.0", INET_SCOPE_PSEUDO_PRIVATE},
        {"239.255.255.255", INET_SCOPE_MULTICAST},
        {"224.0.0.0", INET_SCOPE_MULTICAST},
        {"223.255.255.255", INET_SCOPE_GLOBAL},
        {"127.255.255.255", INET_SCOPE_LOOPBACK},
        {"128.0.0.0", INET_SCOPE_GLOBAL},
        {"100.63.255.255", INET_SCOPE_GLOBAL},
        {"100.64.0.0", INET_SCOPE_PRIVATE},
        {"100.127.255.255", INET_SCOPE_PRIVATE},
        {"100.128.0.0", INET_SCOPE_GLOBAL},
        {"172.15.255.255", INET_SCOPE_GLOBAL},
        {"172.16.0.0", INET_SCOPE_PRIVATE},
        {"172.31.255.255", INET_SCOPE_PRIVATE},
        {"172.32.0.0", INET_SCOPE_GLOBAL},
        {"192.0.1.255", INET_SCOPE_GLOBAL},
        {"192.0.2.0", INET_SCOPE_PRIVATE},
        {"192.0.3.0", INET_SCOPE_GLOBAL},
        {"192.168.255.255", INET_SCOPE_PRIVATE},
        {"192.169.0.0", INET_SCOPE_GLOBAL},
        {"198.17.255.255", INET_SCOPE_GLOBAL},
        {"198.18.0.0", INET_SCOPE_PRIVATE},
        {"198.19.255.255", INET_SCOPE_PRIVATE},
        {"198.20.0.0", INET_SCOPE_GLOBAL},
        {"198.51.100.255", INET_SCOPE_PRIVATE},
        {"198.51.101.0", INET_SCOPE_GLOBAL},
        {"203.0.113.255", INET_SCOPE_PRIVATE},
        {"203.0.114.0", INET_SCOPE_GLOBAL},
        {"169.254.255.255", INET_SCOPE_LINK_LOCAL},
        {"169.255.0.0", INET_SCOPE_GLOBAL},
        {"27.0.0.1", INET_SCOPE_GLOBAL},
        {"28.0.0.1", INET_SCOPE_PSEUDO_PRIVATE},
        {"::", INET_SCOPE_NONE},
        {"::1", INET_SCOPE_LOOPBACK},
        {"::2", INET_SCOPE_GLOBAL},
        {"fe80::1", INET_SCOPE_LOOPBACK},
        {"febf::1", INET_SCOPE_LOOPBACK},
        {"fec0::1", INET_SCOPE_GLOBAL},
        {"fe80::2", INET_SCOPE_LINK_LOCAL},
        {"fe80::1:1", INET_SCOPE_LINK_LOCAL},
        {"fe7f::1", INET_SCOPE_GLOBAL},
        {"fc00::", INET_SCOPE_PRIVATE},
        {"fdff::1", INET_SCOPE_PRIVATE},
        {"fbff::1", INET_SCOPE_GLOBAL},
        {"ff00::", INET_SCOPE_MULTICAST},
        {"::ffff:127.0.0.0", INET_SCOPE_LOOPBACK},
        {"::ff:ffff:127.9.9.9", INET_SCOPE_LOOPBACK}, /* byte 9 is not looked at */
        {"::ffff:128.0.0.0", INET_SCOPE_GLOBAL},
        {"0:0:0:1:0:ffff:127.0.0.1", INET_SCOPE_GLOBAL},
    };

    (void)state;
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct inetaddr a = parse(cases[i].ip);

        assert_int_equal(inetaddr_scope(&a), cases[i].scope);
    }
}

static void test_net_membership(void **state)
{
    static const struct {
        const char *ip;
        const char *net;
        bool in;
    } cases[] = {
        {"10.1.2.3", "10.1.2.0/24", true},
        {"10.1.3.3", "10.1.2.0/24", false},
        {"10.1.2.3", "10.1.2.3/32", true},
        {"10.1.2.2", "10.1.2.3/32", false},
        {"1.2.3.4", "0.0.0.0/0", true},
        {"10.1.2.255", "10.1.2.128/25", true},
        {"10.1.2.127", "10.1.2.128/25", false},
        {"10.1.2.3", "10.1.2.0/33", false},
        {"fd00::1", "fd00::/8", true},
        {"fd80::1", "fd00::/9", false},
        {"fd00::1", "fd00::1/128", true},
        {"fd00::1", "fd00::1/129", false},
        {"::1", "0.0.0.0/0", false},
        {"", "0.0.0.0/0", false},
    };

    (void)state;
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct inetaddr ip = parse(cases[i].ip);
        struct inetaddr net = parse(cases[i].net);

        assert_int_equal(inetaddr_in_net(&ip, &net), cases[i].in);
    }
    {
        struct inetaddr nil = {0};

        assert_false(inetaddr_in_net(&nil, &nil));
    }
}

static void test_equality_order_and_key(void **state)
{
    /* ascending: family, port, IP */
    static const char *const sorted[] = {"",      "9.0.0.1/1", "10.0.0.1/1", "1.0.0.1/2",
                                         "::1/1", "::2/1",     "::1/2"};

    (void)state;
    for (size_t i = 0; i < COUNT_OF(sorted); i++) {
        for (size_t k = 0; k < COUNT_OF(sorted); k++) {
            struct inetaddr a = parse(sorted[i]);
            struct inetaddr b = parse(sorted[k]);
            int order = inetaddr_compare(&a, &b);

            assert_int_equal((order > 0) - (order < 0), (i > k) - (i < k));
            assert_int_equal(inetaddr_equal(&a, &b), i == k);
            assert_int_equal(inetaddr_key(&a) == inetaddr_key(&b), i == k);
        }
    }
    {
        struct inetaddr a = parse("1.2.3.4/5");
        struct inetaddr b = parse("1.2.3.4/6");
        struct inetaddr c = parse("::102:304/5");

        assert_true(inetaddr_ip_equal(&a, &b));
        assert_false(inetaddr_ip_equal(&a, &c));
    }
}

static void test_random_round_trip(void **state)
{
    struct test_rng rng = test_rng_init("inetaddr");

    (void)state;
    for (unsigned i = 0; i < 20000; i++) {
        struct inetaddr a = {.family = test_rng_below(&rng, 2) == 0 ? INETADDR_V4 : INETADDR_V6};
        struct inetaddr b;
        char text[INETADDR_TEXT_LEN];

        for (size_t k = 0; k < inetaddr_ip_len(&a); k++) {
            a.ip[k] = test_rng_below(&rng, 2) == 0 ? 0 : (uint8_t)test_rng_u64(&rng);
        }
        a.port = (uint16_t)test_rng_u64(&rng);
        inetaddr_print(&a, text);
        b = parse(text);
        assert_true(inetaddr_equal(&a, &b));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_text_and_binary_vectors),
        cmocka_unit_test(test_decode_vectors),
        cmocka_unit_test(test_vl1_address_vectors),
        cmocka_unit_test(test_truncated_binary_is_refused),
        cmocka_unit_test(test_text_is_strict),
        cmocka_unit_test(test_scope_vectors),
        cmocka_unit_test(test_scope_edges),
        cmocka_unit_test(test_net_membership),
        cmocka_unit_test(test_equality_order_and_key),
        cmocka_unit_test(test_random_round_trip),
    };

    return cmocka_run_group_tests(tests, load, unload);
}
