/* JSON objects of the local API. Checklist: SV-26, SV-27, SV-32, SV-33. */
#include "daemon/api_json.h"
#include "wire/world.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* Compare a value (taken) with JSON text, key by key. */
static void assert_json(json_t *value, const char *expected)
{
    json_t *want = json_loads(expected, JSON_DECODE_ANY, NULL);
    assert_non_null(want);
    char *a = json_dumps(value, JSON_COMPACT | JSON_SORT_KEYS | JSON_ENCODE_ANY);
    char *b = json_dumps(want, JSON_COMPACT | JSON_SORT_KEYS | JSON_ENCODE_ANY);
    assert_string_equal(a, b);
    free(a);
    free(b);
    json_decref(want);
    json_decref(value);
}

static struct inetaddr ip(const char *text)
{
    struct inetaddr a;
    assert_int_equal(inetaddr_parse(text, strlen(text), &a), 0);
    return a;
}

static void test_status_has_the_fields_of_the_reference(void **state)
{
    (void)state;
    static const char settings[] = "{\"settings\":{\"own\":1,\"primaryPort\":7},\"virtual\":{}}";
    struct config *config = NULL;
    struct config_error error;
    assert_int_equal(config_parse(settings, strlen(settings), &config, &error), 0);
    struct node_status node = {.address = UINT64_C(0x3f9a20c1d4),
                               .online = true,
                               .planet_id = 149604618,
                               .planet_timestamp = 1644592324813};
    struct identity identity = {.address = UINT64_C(0x3f9a20c1d4)};
    struct inetaddr listening = ip("192.0.2.7/9993");
    struct inetaddr surface = ip("198.51.100.9/9993");
    struct api_status in = {.node = &node,
                            .identity = &identity,
                            .config = config,
                            .home = "/var/lib/x",
                            .wall_ms = 1786000000123,
                            .primary_port = 9993,
                            .secondary_port = 31877,
                            .listening = &listening,
                            .listening_count = 1,
                            .surface = &surface,
                            .surface_count = 1};
    json_t *status = api_json_status(&in);
    assert_int_equal(strlen(json_string_value(json_object_get(status, "publicIdentity"))), 141);
    assert_int_equal(json_object_del(status, "publicIdentity"), 0);
    assert_json(
        status,
        "{\"address\":\"3f9a20c1d4\",\"clock\":1786000000123,\"config\":{\"settings\":{"
        "\"allowTcpFallbackRelay\":true,\"forceTcpRelay\":false,\"homeDir\":\"/var/lib/x\","
        "\"listeningOn\":[\"192.0.2.7/9993\"],\"own\":1,\"portMappingEnabled\":true,"
        "\"primaryPort\":9993,\"secondaryPort\":31877,\"softwareUpdate\":\"disable\","
        "\"softwareUpdateChannel\":\"release\",\"surfaceAddresses\":[\"198.51.100.9/9993\"],"
        "\"tertiaryPort\":0},\"virtual\":{}},\"online\":true,\"planetWorldId\":149604618,"
        "\"planetWorldTimestamp\":1644592324813,\"tcpFallbackActive\":false,"
        "\"version\":\"" PANLAN_VERSION "\",\"versionBuild\":0,\"versionMajor\":0,"
        "\"versionMinor\":1,\"versionRev\":0}");
    assert_json(api_json_health(&in),
                "{\"clock\":1786000000123,\"online\":true,\"version\":\"" PANLAN_VERSION "\","
                "\"versionBuild\":0,\"versionMajor\":0,\"versionMinor\":1,\"versionRev\":0}");
    /* What is reported must not change the running settings. */
    assert_int_equal(json_object_size(json_object_get(config->raw, "settings")), 2);
    config_free(config);
}

static void test_version_is_ours(void **state)
{
    (void)state;
    int version[3];
    api_version(version);
    assert_false(version[0] == 1 && version[1] == 1 && version[2] == 0);
    assert_int_equal(version[0], 0);
    assert_int_equal(version[1], 1);
}

static void test_network_before_its_configuration(void **state)
{
    (void)state;
    struct node_network_info *info = calloc(1, sizeof(*info));
    assert_non_null(info);
    info->nwid = UINT64_C(0x3f9a20c1d4aa0001);
    info->mac = UINT64_C(0xca410b77102e);
    struct port_info port = {
        .device = "", .error = -999, .why = "no TUN driver", .policy = managed_policy_default()};
    info->status = NETWORK_PORT_ERROR;
    assert_json(
        api_json_network(info, &port),
        "{\"id\":\"3f9a20c1d4aa0001\",\"nwid\":\"3f9a20c1d4aa0001\","
        "\"mac\":\"ca:41:0b:77:10:2e\",\"name\":\"\",\"status\":\"PORT_ERROR\",\"statusAdvice\":"
        "\"no virtual device: no TUN driver\","
        "\"type\":\"PRIVATE\",\"mtu\":2800,\"dhcp\":false,\"bridge\":false,"
        "\"broadcastEnabled\":false,\"conflicts\":[],\"portError\":-999,\"netconfRevision\":0,"
        "\"portDeviceName\":\"\",\"allowManaged\":true,\"allowGlobal\":false,"
        "\"allowDefault\":false,\"allowDNS\":false,\"mtuOverride\":0,\"clampMSS\":false,"
        "\"assignedAddresses\":[],\"routes\":[],"
        "\"multicastSubscriptions\":[],\"dns\":{\"domain\":\"\",\"servers\":[]}}");
    free(info);
}

static void test_network_with_everything(void **state)
{
    (void)state;
    struct netconf_route routes[] = {
        {.target = ip("10.9.0.0/24")},
        {.target = ip("0.0.0.0/0"), .via = ip("10.9.0.1"), .metric = 9},
        {.target = ip("fd00::/8"), .via = ip("10.9.0.1")}};
    struct inetaddr addresses[] = {ip("10.9.0.5/24")};
    uint64_t specialists[] = {SPECIALIST_BRIDGE | UINT64_C(0x77aa01bc20)};
    struct netconf_dns dns = {.domain = "lab.example", .servers = {ip("10.9.0.53")}};
    struct netconf conf = {.revision = 7,
                           .member = UINT64_C(0x77aa01bc20),
                           .mtu = 1400,
                           .flags = NETCONF_FLAG_BROADCAST,
                           .type = NETCONF_TYPE_PUBLIC,
                           .name = "a\xff"
                                   "b",
                           .routes = routes,
                           .route_count = 3,
                           .addresses = addresses,
                           .address_count = 1,
                           .specialist_count = 1,
                           .specialists = specialists,
                           .dns = &dns};
    struct multicast_group groups[] = {{.mac = UINT64_C(0x333300000001), .adi = 5}};
    struct node_network_info *info = calloc(1, sizeof(*info));
    assert_non_null(info);
    *info = (struct node_network_info){
        .nwid = 1, .status = NETWORK_OK, .config = &conf, .groups = groups, .group_count = 1};
    struct addressing_conflict conflict = {
        .found = {.ours = {.family = INETADDR_V4, .ip = {10, 50}, .port = 24},
                  .other = {.family = INETADDR_V4, .ip = {10, 50, 0, 9}, .port = 24},
                  .route = true},
        .interface = "eth0",
        .skipped = true};
    struct port_info port = {.device = "ztabcdefgh",
                             .policy = {.allow_default = true},
                             .conflicts = &conflict,
                             .conflict_count = 1};
    assert_json(api_json_network(info, &port),
                "{\"id\":\"0000000000000001\",\"nwid\":\"0000000000000001\","
                "\"mac\":\"00:00:00:00:00:00\",\"name\":\"a\\ufffdb\",\"status\":\"OK\","
                "\"type\":\"PUBLIC\",\"mtu\":1400,\"dhcp\":false,\"bridge\":true,"
                "\"conflicts\":[{\"route\":\"10.50.0.0/24\",\"meets\":\"10.50.0.9/24\","
                "\"interface\":\"eth0\",\"skipped\":true}],"
                "\"broadcastEnabled\":true,\"portError\":0,\"netconfRevision\":7,"
                "\"portDeviceName\":\"ztabcdefgh\",\"allowManaged\":false,\"allowGlobal\":false,"
                "\"allowDefault\":true,\"allowDNS\":false,\"mtuOverride\":0,\"clampMSS\":false,"
                "\"assignedAddresses\":[\"10.9.0.5/24\"],"
                "\"routes\":[{\"target\":\"10.9.0.0/24\",\"via\":null,\"flags\":0,\"metric\":0},"
                "{\"target\":\"0.0.0.0/0\",\"via\":\"10.9.0.1\",\"flags\":0,\"metric\":9},"
                "{\"target\":\"fd00::/8\",\"via\":null,\"flags\":0,\"metric\":0}],"
                "\"multicastSubscriptions\":[{\"mac\":\"33:33:00:00:00:01\",\"adi\":5}],"
                "\"dns\":{\"domain\":\"lab.example\",\"servers\":[\"10.9.0.53\"]}}");
    free(info);
}

static void test_peer(void **state)
{
    (void)state;
    struct node_path_info path = {.remote = ip("192.0.2.1/9993"),
                                  .socket = 3,
                                  .last_send_ms = 100,
                                  .last_receive_ms = INT64_MIN,
                                  .latency_ms = 4,
                                  .preferred = true,
                                  .mtu = 1432,
                                  .learned_ms = 50,
                                  .origin = "push"};
    struct node_peer_info peer = {.address = UINT64_C(0x77aa01bc20),
                                  .version = {1, 14, 1},
                                  .latency_ms = 23,
                                  .role = PEER_MOON,
                                  .paths = &path,
                                  .path_count = 1,
                                  .protocol = 12,
                                  .last_receive_ms = 7,
                                  .packets = {9, 8},
                                  .relayed = {2, 1},
                                  .packet_errors = 3,
                                  .nat = {NAT_CONE, NAT_UNKNOWN}};
    assert_json(api_json_peer(&peer, 1000, false),
                "{\"address\":\"77aa01bc20\",\"versionMajor\":1,\"versionMinor\":14,"
                "\"versionRev\":1,\"version\":\"1.14.1\",\"latency\":23,\"role\":\"MOON\","
                "\"isBonded\":false,\"tunneled\":false,\"paths\":[{\"address\":\"192.0.2.1/9993\","
                "\"lastSend\":1100,\"lastReceive\":0,\"trustedPathId\":0,\"active\":true,"
                "\"expired\":false,\"preferred\":true,\"localSocket\":3,\"localPort\":0,"
                "\"transport\":\"udp\",\"latency\":4,"
                "\"mtu\":1432,\"learnedAt\":1050,\"learnedBy\":\"push\"}],\"protocol\":12,"
                "\"lastReceive\":1007,\"natIpv4\":\"cone\",\"natIpv6\":\"unknown\","
                "\"relay\":null,\"relayReason\":null,\"counters\":{\"received\":9,\"sent\":8,"
                "\"receivedRelayed\":2,\"sentRelayed\":1,\"errors\":3}}");
    struct node_peer_info unknown = {.address = 1,
                                     .version = {-1, -1, -1},
                                     .latency_ms = -1,
                                     .relay = UINT64_C(0x77aa01bc20),
                                     .relay_reason = RELAY_REASON_NO_ANSWER};
    json_t *o = api_json_peer(&unknown, 0, true);
    assert_string_equal(json_string_value(json_object_get(o, "version")), "-1.-1.-1");
    assert_string_equal(json_string_value(json_object_get(o, "address")), "0000000001");
    assert_true(json_is_true(json_object_get(o, "tunneled")));
    assert_string_equal(json_string_value(json_object_get(o, "relay")), "77aa01bc20");
    assert_string_equal(json_string_value(json_object_get(o, "relayReason")),
                        relay_reason_text(RELAY_REASON_NO_ANSWER));
    json_decref(o);
}

static void test_moon_waiting_and_installed(void **state)
{
    (void)state;
    struct node_moon_info moon = {.id = UINT64_C(0x3f9a20c1d4), .seed = 5};
    assert_json(api_json_moon(&moon),
                "{\"id\":\"0000003f9a20c1d4\",\"roots\":[],\"timestamp\":0,\"signature\":null,"
                "\"updatesMustBeSignedBy\":null,\"waiting\":true}");
    struct world *world = calloc(1, sizeof(*world));
    assert_non_null(world);
    world->timestamp = 9;
    world->root_count = 1;
    world->roots[0].endpoint_count = 1;
    world->roots[0].endpoints[0] = ip("192.0.2.1/1");
    moon.world = world;
    json_t *o = api_json_moon(&moon);
    assert_true(json_is_false(json_object_get(o, "waiting")));
    assert_int_equal(json_string_length(json_object_get(o, "signature")), 192);
    assert_int_equal(json_string_length(json_object_get(o, "updatesMustBeSignedBy")), 128);
    json_t *root = json_array_get(json_object_get(o, "roots"), 0);
    assert_int_equal(json_string_length(json_object_get(root, "identity")), 141);
    json_decref(o);
    free(world);
}

static void test_status_names(void **state)
{
    (void)state;
    static const char *const names[] = {"REQUESTING_CONFIGURATION",
                                        "OK",
                                        "ACCESS_DENIED",
                                        "NOT_FOUND",
                                        "PORT_ERROR",
                                        "CLIENT_TOO_OLD",
                                        "AUTHENTICATION_REQUIRED"};
    for (size_t i = 0; i < COUNT_OF(names); i++) {
        assert_string_equal(api_network_status_name((enum network_status)i), names[i]);
    }
}

static void test_every_status_says_what_to_do(void **state)
{
    static const struct {
        enum network_status status;
        uint64_t nwid;
        const char *says;
    } table[] = {
        {NETWORK_REQUESTING_CONFIGURATION, UINT64_C(0x3f9a20c1d4aa0001), "3f9a20c1d4"},
        {NETWORK_REQUESTING_CONFIGURATION, UINT64_C(0xff00000000000002), "no such ad-hoc network"},
        {NETWORK_ACCESS_DENIED, 1, "panlan member authorize"},
        {NETWORK_NOT_FOUND, 1, "compare the network ID"},
        {NETWORK_NOT_FOUND, UINT64_C(0xff00500010000000), "range of ports"},
        {NETWORK_PORT_ERROR, 1, "run as root"},
        {NETWORK_CLIENT_TOO_OLD, 1, "update"},
        {NETWORK_AUTHENTICATION_REQUIRED, 1, "log in"},
    };
    char advice[API_ADVICE_LEN];
    (void)state;
    for (size_t i = 0; i < COUNT_OF(table); i++) {
        api_network_advice(table[i].status, table[i].nwid, "run as root", advice);
        assert_non_null(strstr(advice, table[i].says));
    }
    api_network_advice(NETWORK_OK, 1, "", advice);
    assert_string_equal(advice, "");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_status_has_the_fields_of_the_reference),
        cmocka_unit_test(test_version_is_ours),
        cmocka_unit_test(test_network_before_its_configuration),
        cmocka_unit_test(test_network_with_everything),
        cmocka_unit_test(test_peer),
        cmocka_unit_test(test_moon_waiting_and_installed),
        cmocka_unit_test(test_status_names),
        cmocka_unit_test(test_every_status_says_what_to_do),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
