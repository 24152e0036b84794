/* Layouts of the command line, byte for byte. Checklist: SV-43, SV-44, SV-45, SV-47, SV-48, SV-51.
 */
#include "cli/format.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { NOW = 1000000 };

static json_t *load(const char *text)
{
    json_t *value = json_loads(text, 0, NULL);
    assert_non_null(value);
    return value;
}

typedef void (*layout_fn)(FILE *out, const json_t *value, int64_t wall_ms);

static void assert_layout(layout_fn layout, const char *json, const char *expected)
{
    char *text = NULL;
    size_t len = 0;
    json_t *value = load(json);
    FILE *out = open_memstream(&text, &len);
    assert_non_null(out);
    layout(out, value, NOW);
    assert_int_equal(fclose(out), 0);
    assert_string_equal(text, expected);
    free(text);
    json_decref(value);
}

static void info(FILE *out, const json_t *value, int64_t wall_ms)
{
    (void)wall_ms;
    format_info(out, value);
}

static void bonds(FILE *out, const json_t *value, int64_t wall_ms)
{
    (void)wall_ms;
    format_bonds(out, value);
}

static void bond(FILE *out, const json_t *value, int64_t wall_ms)
{
    (void)wall_ms;
    format_bond(out, value);
}

static void as_json(FILE *out, const json_t *value, int64_t wall_ms)
{
    (void)wall_ms;
    format_json(out, value);
}

static void test_info(void **state)
{
    (void)state;
    static const char *const table[][2] = {
        {"{\"address\":\"3f9a20c1d4\",\"version\":\"0.1.0\",\"online\":true}",
         "200 info 3f9a20c1d4 0.1.0 ONLINE\n"},
        {"{\"address\":\"3f9a20c1d4\",\"version\":\"0.1.0\",\"online\":false}",
         "200 info 3f9a20c1d4 0.1.0 OFFLINE\n"},
        {"{\"address\":\"3f9a20c1d4\",\"version\":\"0.1.0\",\"online\":true,"
         "\"tcpFallbackActive\":true}",
         "200 info 3f9a20c1d4 0.1.0 TUNNELED\n"},
    };
    for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
        assert_layout(info, table[i][0], table[i][1]);
    }
}

#define NETWORKS_HEAD                                                                              \
    "200 listnetworks <nwid> <name> <mac> <status> <type> <dev> <ZT assigned ips>\n"

static void test_listnetworks(void **state)
{
    (void)state;
    assert_layout(format_networks, "[]", NETWORKS_HEAD);
    assert_layout(
        format_networks,
        "[{\"nwid\":\"3f9a20c1d4aa0001\",\"name\":\"my lab\",\"mac\":\"ca:41:0b:77:10:2e\","
        "\"status\":\"OK\",\"type\":\"PRIVATE\",\"portDeviceName\":\"ztabcdefgh\","
        "\"assignedAddresses\":[\"10.9.0.5/24\",\"fc00::1/40\"]},"
        "{\"nwid\":\"3f9a20c1d4aa0002\",\"name\":\"\",\"mac\":\"ca:41:0b:77:10:2f\","
        "\"status\":\"REQUESTING_CONFIGURATION\",\"statusAdvice\":\"wait\",\"type\":\"PRIVATE\","
        "\"portDeviceName\":\"ztabcdefgi\",\"assignedAddresses\":[]}]",
        NETWORKS_HEAD
        "200 listnetworks 3f9a20c1d4aa0001 my lab ca:41:0b:77:10:2e OK PRIVATE "
        "ztabcdefgh 10.9.0.5/24,fc00::1/40\n"
        "200 listnetworks 3f9a20c1d4aa0002  ca:41:0b:77:10:2f REQUESTING_CONFIGURATION "
        "PRIVATE ztabcdefgi -\n");
}

static void test_networks_with_advice(void **state)
{
    (void)state;
    assert_layout(format_networks_advised,
                  "[{\"nwid\":\"1\",\"name\":\"n\",\"mac\":\"m\",\"status\":\"ACCESS_DENIED\","
                  "\"statusAdvice\":\"ask for it\",\"type\":\"PRIVATE\",\"portDeviceName\":\"d\"}]",
                  NETWORKS_HEAD "200 listnetworks 1 n m ACCESS_DENIED PRIVATE d -\n"
                                "1: ask for it\n");
}

static void test_listnetworks_with_login(void **state)
{
    (void)state;
    assert_layout(
        format_networks,
        "[{\"nwid\":\"1\",\"name\":\"n\",\"mac\":\"m\",\"status\":\"AUTHENTICATION_REQUIRED\","
        "\"type\":\"PRIVATE\",\"portDeviceName\":\"d\",\"assignedAddresses\":[],"
        "\"ssoEnabled\":true,\"authenticationURL\":\"https://x\"},"
        "{\"nwid\":\"2\",\"name\":\"n\",\"mac\":\"m\",\"status\":\"OK\",\"type\":\"PRIVATE\","
        "\"portDeviceName\":\"d\",\"assignedAddresses\":[],\"ssoEnabled\":true,"
        "\"authenticationExpiryTime\":1007500}]",
        NETWORKS_HEAD "200 listnetworks 1 n m AUTHENTICATION_REQUIRED PRIVATE d -\n"
                      "    AUTH EXPIRED, URL: https://x\n"
                      "200 listnetworks 2 n m OK PRIVATE d -\n"
                      "    AUTH OK, expires in: 7 seconds\n");
}

#define PEERS                                                                                      \
    "[{\"address\":\"62f865ae71\",\"versionMajor\":-1,\"versionMinor\":-1,\"versionRev\":-1,"      \
    "\"latency\":23,\"role\":\"PLANET\",\"tunneled\":false,\"paths\":["                            \
    "{\"address\":\"50.7.252.138/9993\",\"lastSend\":999000,\"lastReceive\":0,\"preferred\":true," \
    "\"expired\":false}]},"                                                                        \
    "{\"address\":\"77aa01bc20\",\"versionMajor\":1,\"versionMinor\":14,\"versionRev\":1,"         \
    "\"latency\":-1,\"role\":\"LEAF\",\"tunneled\":false,\"paths\":[]}]"

static void test_listpeers(void **state)
{
    (void)state;
    assert_layout(format_listpeers, PEERS,
                  "200 listpeers <ztaddr> <path> <latency> <version> <role>\n"
                  "200 listpeers 62f865ae71 50.7.252.138/9993;1000;-1 23 - PLANET\n"
                  "200 listpeers 77aa01bc20 - -1 1.14.1 LEAF\n");
}

static void test_peers(void **state)
{
    (void)state;
    assert_layout(format_peers, PEERS,
                  "200 peers\n"
                  "<ztaddr>   <ver>  <role> <lat> <link>   <lastTX> <lastRX> <path>\n"
                  "62f865ae71 -      PLANET    23 DIRECT   1000     -1       50.7.252.138/9993\n"
                  "77aa01bc20 1.14.1 LEAF      -1 RELAY\n");
}

static void test_peers_tunneled(void **state)
{
    (void)state;
    char *text = NULL;
    size_t len = 0;
    json_t *peers = load("[{\"address\":\"62f865ae71\",\"versionMajor\":1,\"versionMinor\":2,"
                         "\"versionRev\":3,\"latency\":5,\"role\":\"LEAF\",\"tunneled\":true,"
                         "\"paths\":[{\"address\":\"1.2.3.4/5\",\"lastSend\":999990,"
                         "\"lastReceive\":999980,\"preferred\":true}]}]");
    FILE *out = open_memstream(&text, &len);
    format_peers(out, peers, NOW);
    assert_int_equal(fclose(out), 0);
    assert_non_null(
        strstr(text, "62f865ae71 1.2.3  LEAF       5 RELAY 10       20       1.2.3.4/5\n"));
    assert_non_null(strstr(text, "\nNOTE: "));
    free(text);
    json_decref(peers);
}

#define NETWORK                                                                                    \
    "{\"name\":\"lab\",\"mtu\":2800,\"dhcp\":false,\"broadcastEnabled\":true,\"routes\":[],"       \
    "\"assignedAddresses\":[\"10.9.0.5/24\",\"fc9d:72ce:913f:9a20:c1d4::1/40\",\"fd00::1/88\"]}"

static void test_get(void **state)
{
    (void)state;
    static const char *const table[][2] = {
        {"name", "lab\n"},
        {"mtu", "2800\n"},
        {"dhcp", "0\n"},
        {"broadcastEnabled", "1\n"},
        {"ip", "10.9.0.5\nfc9d:72ce:913f:9a20:c1d4::1\nfd00::1\n"},
        {"ip4", "10.9.0.5\n"},
        {"ip6", "fc9d:72ce:913f:9a20:c1d4::1\nfd00::1\n"},
        {"ip6plane", "fc9d:72ce:913f:9a20:c1d4::1\n"},
        {"ip6prefix", "fc9d:72ce:913f:9a20:c1d4\n"},
        {"routes", NULL},
        {"nothing", NULL},
    };
    json_t *network = load(NETWORK);
    for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
        char *text = NULL;
        size_t len = 0;
        FILE *out = open_memstream(&text, &len);
        int err = format_property(out, network, table[i][0]);
        assert_int_equal(fclose(out), 0);
        assert_int_equal(err, table[i][1] == NULL ? -ENOENT : 0);
        assert_string_equal(text, table[i][1] == NULL ? "" : table[i][1]);
        free(text);
    }
    json_decref(network);
}

static void cleaned(FILE *out, const json_t *value, int64_t wall_ms)
{
    format_clean((json_t *)(uintptr_t)value);
    format_networks(out, value, wall_ms);
}

/* Names and URLs are chosen by controllers: none of them forges a line or drives the terminal. */
static void test_untrusted_text_is_cleaned(void **state)
{
    (void)state;
    assert_layout(
        cleaned,
        "[{\"nwid\":\"8056c2e21c000001\",\"name\":\"a\\n200 listnetworks \\u001b]0;x\\u0007"
        "\\u009b2J\\u007f \u00e4\u20ac\",\"mac\":\"m\",\"status\":\"AUTHENTICATION_REQUIRED\","
        "\"type\":\"PRIVATE\",\"portDeviceName\":\"d\",\"ssoEnabled\":true,"
        "\"authenticationURL\":\"http://h/\\r\\u001b[1m\",\"assignedAddresses\":[\"1\\n2\"]}]",
        "200 listnetworks <nwid> <name> <mac> <status> <type> <dev> <ZT assigned ips>\n"
        "200 listnetworks 8056c2e21c000001 a?200 listnetworks ?]0;x??2J? \u00e4\u20ac m "
        "AUTHENTICATION_REQUIRED PRIVATE d 1?2\n"
        "    AUTH EXPIRED, URL: http://h/??[1m\n");
}

static void test_json_is_indented_by_one(void **state)
{
    (void)state;
    assert_layout(as_json, "{\"b\":[1,{}],\"a\":\"x/y\"}",
                  "{\n \"a\": \"x/y\",\n \"b\": [\n  1,\n  {}\n ]\n}\n");
}

static void test_bonds(void **state)
{
    (void)state;
    assert_layout(bonds,
                  "[{\"address\":\"62f865ae71\",\"isBonded\":true,"
                  "\"bondingPolicyStr\":\"active-backup\",\"numAliveLinks\":1,\"numTotalLinks\":2},"
                  "{\"address\":\"77aa01bc20\",\"isBonded\":false}]",
                  "    <peer>                        <bondtype>     <links>\n"
                  "62f865ae71                     active-backup         1/2\n");
}

static void test_bond_has_its_labels(void **state)
{
    (void)state;
    char *text = NULL;
    size_t len = 0;
    json_t *peer = load("{\"address\":\"62f865ae71\",\"bondingPolicyStr\":\"broadcast\","
                        "\"failoverInterval\":5000,\"paths\":[]}");
    FILE *out = open_memstream(&text, &len);
    bond(out, peer, NOW);
    assert_int_equal(fclose(out), 0);
    assert_non_null(strstr(text, "Peer                   : 62f865ae71\n"));
    assert_non_null(strstr(text, "Failover Interval (ms) : 5000\n"));
    free(text);
    json_decref(peer);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_info),
        cmocka_unit_test(test_listnetworks),
        cmocka_unit_test(test_networks_with_advice),
        cmocka_unit_test(test_listnetworks_with_login),
        cmocka_unit_test(test_listpeers),
        cmocka_unit_test(test_peers),
        cmocka_unit_test(test_peers_tunneled),
        cmocka_unit_test(test_get),
        cmocka_unit_test(test_untrusted_text_is_cleaned),
        cmocka_unit_test(test_json_is_indented_by_one),
        cmocka_unit_test(test_bonds),
        cmocka_unit_test(test_bond_has_its_labels),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
