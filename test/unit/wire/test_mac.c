/* MAC addresses, network IDs, derived IPv6. Checklist: MAC-1 to MAC-3. */
#include "vectors.h"

#include "wire/mac.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static json_t *vectors;

static int load(void **state)
{
    (void)state;
    vectors = vectors_load("identity-crypto.json");
    return 0;
}

static int unload(void **state)
{
    (void)state;
    json_decref(vectors);
    return 0;
}

/* MAC-1 */
static void test_mac_vectors(void **state)
{
    const json_t *cases = vec_get(vectors, "mac");

    (void)state;
    for (size_t i = 0; i < json_array_size(cases); i++) {
        const json_t *c = json_array_get(cases, i);
        uint64_t network = vec_hex_u64(c, "network");
        uint64_t mac = mac_of_member(network, vec_hex_u64(c, "address"));
        char text[MAC_TEXT_LEN];
        uint64_t parsed;

        assert_true(mac == vec_hex_u64(c, "bytes"));
        mac_print(mac, text);
        assert_string_equal(text, vec_text(c, "mac"));
        assert_int_equal(mac_parse(text, strlen(text), &parsed), 0);
        assert_true(parsed == mac);
        assert_int_equal(mac_first_octet(network), vec_int(c, "first_octet"));
        assert_true(mac_member_address(network, mac) == vec_hex_u64(c, "back_to_address"));
        assert_true(mac_is_member(network, mac));
        assert_false(mac_is_multicast(mac));
    }
}

static void test_octet_52_is_avoided(void **state)
{
    (void)state;
    assert_int_equal(mac_first_octet(0x52), 0x32);
    assert_int_equal(mac_first_octet(0x50), 0x32);
    assert_int_equal(mac_first_octet(0x53), 0x32);
    assert_int_equal(mac_first_octet(0x54), 0x56);
    for (uint64_t n = 0; n < 256; n++) {
        uint8_t octet = mac_first_octet(n);

        assert_int_equal(octet & 3, 2); /* local, unicast */
        assert_int_not_equal(octet, 0x52);
    }
}

static void test_foreign_mac_is_bridged(void **state)
{
    uint64_t mac = mac_of_member(0x8056c2e21c000001, 0x1234567890);

    (void)state;
    assert_false(mac_is_member(0x8056c2e21c000001, mac ^ UINT64_C(0x040000000000)));
    assert_true(mac_is_member(0x8056c2e21c000001, mac ^ 1));
}

static void test_multicast_and_broadcast(void **state)
{
    (void)state;
    assert_true(mac_is_broadcast(MAC_BROADCAST));
    assert_true(mac_is_multicast(MAC_BROADCAST));
    assert_true(mac_is_multicast(0x333300000001));
    assert_true(mac_is_multicast(0x01005e000001));
    assert_false(mac_is_broadcast(0x333300000001));
    assert_false(mac_is_broadcast(0xfffffffffffe));
    assert_false(mac_is_multicast(0x0200000000ff));
}

static void test_bytes(void **state)
{
    uint8_t p[6];
    struct wr w = wr_init(p, sizeof(p));
    struct rd r = rd_init(p, sizeof(p));

    (void)state;
    mac_put(p, 0x010203040506);
    assert_memory_equal(p, "\1\2\3\4\5\6", 6);
    assert_true(mac_get(p) == 0x010203040506);
    mac_write(&w, 0xaabbccddeeff);
    assert_int_equal(wr_len(&w), 6);
    assert_true(mac_read(&r) == 0xaabbccddeeff);
    assert_true(mac_read(&r) == 0);
    assert_true(r.bad);
}

static void test_mac_text_is_strict(void **state)
{
    static const struct {
        const char *text;
        int result;
    } cases[] = {
        {"aa:bb:cc:dd:ee:ff", 0},
        {"AA:BB:CC:DD:EE:0f", 0},
        {"", -EBADMSG},
        {"aa:bb:cc:dd:ee:f", -EBADMSG},
        {"aa:bb:cc:dd:ee:fff", -EBADMSG},
        {"aa-bb-cc-dd-ee-ff", -EBADMSG},
        {"aabb:cc:dd:ee:ff:", -EBADMSG},
        {"aa:bb:cc:dd:ee:fg", -EBADMSG},
        {"aa:bb:cc:dd:eeeff", -EBADMSG},
        {" a:bb:cc:dd:ee:ff", -EBADMSG},
    };

    (void)state;
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        uint64_t mac;

        assert_int_equal(mac_parse(cases[i].text, strlen(cases[i].text), &mac), cases[i].result);
    }
}

/* MAC-2 */
static void test_derived_ipv6_vectors(void **state)
{
    const json_t *cases = vec_get(vectors, "derived_ipv6");

    (void)state;
    for (size_t i = 0; i < json_array_size(cases); i++) {
        const json_t *c = json_array_get(cases, i);
        uint64_t network = vec_hex_u64(c, "network");
        uint64_t address = vec_hex_u64(c, "address");
        struct inetaddr a = network_rfc4193(network, address);
        char text[INETADDR_TEXT_LEN];

        inetaddr_print(&a, text);
        assert_string_equal(text, vec_text(c, "rfc4193"));
        a = network_6plane(network, address);
        inetaddr_print(&a, text);
        assert_string_equal(text, vec_text(c, "sixplane"));
        a = mac_link_local(mac_of_member(network, address));
        inetaddr_print(&a, text);
        assert_string_equal(text, vec_text(c, "link_local"));
    }
}

/* MAC-3 */
static void test_network_id_vectors(void **state)
{
    const json_t *cases = vec_get(vectors, "network_ids");

    (void)state;
    for (size_t i = 0; i < json_array_size(cases); i++) {
        const json_t *c = json_array_get(cases, i);
        const char *text = vec_text(c, "network");
        char printed[NETWORK_ID_TEXT_LEN];
        uint64_t id;

        assert_int_equal(network_id_parse(text, strlen(text), &id), 0);
        assert_true(network_controller(id) == vec_hex_u64(c, "controller"));
        assert_true(network_number(id) == vec_hex_u64(c, "number_hex"));
        assert_true(network_id_make(network_controller(id), network_number(id)) == id);
        assert_int_equal(network_is_adhoc(id), strncmp(text, "ff", 2) == 0);
        network_id_print(id, printed);
        assert_string_equal(printed, text);
    }
}

static void test_network_id_text_is_strict(void **state)
{
    static const char *const bad[] = {"",
                                      "8056c2e21c00000",
                                      "8056c2e21c0000011",
                                      "8056c2e21c00000g",
                                      "0x56c2e21c000001",
                                      " 056c2e21c000001"};
    uint64_t id;

    (void)state;
    for (size_t i = 0; i < COUNT_OF(bad); i++) {
        assert_int_equal(network_id_parse(bad[i], strlen(bad[i]), &id), -EBADMSG);
    }
    assert_int_equal(network_id_parse("8056C2E21C000001", 16, &id), 0);
    assert_true(id == 0x8056c2e21c000001);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_mac_vectors),
        cmocka_unit_test(test_octet_52_is_avoided),
        cmocka_unit_test(test_foreign_mac_is_bridged),
        cmocka_unit_test(test_multicast_and_broadcast),
        cmocka_unit_test(test_bytes),
        cmocka_unit_test(test_mac_text_is_strict),
        cmocka_unit_test(test_derived_ipv6_vectors),
        cmocka_unit_test(test_network_id_vectors),
        cmocka_unit_test(test_network_id_text_is_strict),
    };

    return cmocka_run_group_tests(tests, load, unload);
}
