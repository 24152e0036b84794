/* Parsing of local.conf. Checklist: SV-60, SV-61, SV-62, SV-63, SV-64, SV-66, SV-68, SV-69, SV-70,
 * SV-74. */
#include "daemon/config.h"
#include "datapath/published.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static struct config *parse(const char *text)
{
    struct config *c = NULL;
    struct config_error error;
    int err = config_parse(text, strlen(text), &c, &error);
    if (err != 0) {
        print_message("refused: line %d: %s\n", error.line, error.text);
    }
    assert_int_equal(err, 0);
    return c;
}

static void test_missing_and_empty_give_defaults(void **state)
{
    (void)state;
    static const char *const texts[] = {"", " \n\t", "{}", "{\"settings\":{}}",
                                        "{\"settings\":[],\"physical\":1,\"virtual\":\"x\"}"};
    for (size_t i = 0; i < COUNT_OF(texts); i++) {
        struct config *c = parse(texts[i]);
        assert_int_equal(c->primary_port, -1);
        assert_true(c->allow_secondary_port);
        assert_int_equal(c->secondary_port, 0);
        assert_true(c->port_mapping);
        assert_true(c->allow_tcp_relay);
        assert_false(c->force_tcp_relay);
        assert_false(c->low_bandwidth);
        assert_int_equal(c->bind.count + c->management.count + c->iface_deny_count, 0);
        assert_int_equal(c->physical_count + c->virt_count, 0);
        assert_string_equal(c->update_channel, "release");
        config_free(c);
    }
}

static void test_invalid_text_names_the_place(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        int line;
    } table[] = {
        {"{", 1},    {"{\n  \"settings\": {\n    \"primaryPort\" 9993\n  }\n}", 3},
        {"[1]", 1},  {"7", 1},
        {"{} x", 1},
    };
    for (size_t i = 0; i < COUNT_OF(table); i++) {
        struct config *c = NULL;
        struct config_error error;
        assert_int_equal(config_parse(table[i].text, strlen(table[i].text), &c, &error), -EBADMSG);
        assert_null(c);
        assert_int_equal(error.line, table[i].line);
        assert_true(error.column > 0);
        assert_true(error.text[0] != '\0');
    }
}

static void test_loose_scalars(void **state)
{
    (void)state;
    static const struct {
        const char *json;
        int64_t integer;
        bool boolean;
        const char *text; /* NULL: fallback */
    } table[] = {
        {"7", 7, true, "7"},       {"0", 0, false, "0"},         {"-1", -1, false, "-1"},
        {"2.9", 2, true, "2.9"},   {"\"12\"", 12, true, "12"},   {"\"true\"", 0, true, "true"},
        {"\"Tx\"", 0, true, "Tx"}, {"\"yes\"", 0, false, "yes"}, {"\"\"", 0, false, ""},
        {"true", 1, true, "true"}, {"false", 0, false, "false"}, {"null", 99, true, NULL},
        {"[1]", 99, true, NULL},   {"{}", 99, true, NULL},
    };
    for (size_t i = 0; i < COUNT_OF(table); i++) {
        char text[32] = "";
        json_t *value = json_loads(table[i].json, JSON_DECODE_ANY, NULL);
        assert_non_null(value);
        assert_int_equal(config_loose_int(value, 99), table[i].integer);
        assert_int_equal(config_loose_bool(value, true), table[i].boolean);
        assert_int_equal(config_loose_text(value, text, sizeof(text)), table[i].text != NULL);
        if (table[i].text != NULL) {
            assert_string_equal(text, table[i].text);
        }
        json_decref(value);
    }
    assert_int_equal(config_loose_int(NULL, -5), -5);
}

static void test_physical_entries(void **state)
{
    (void)state;
    static const struct {
        const char *entry;
        bool kept;
        bool blacklist;
        uint64_t trusted;
        unsigned mtu;
    } table[] = {
        {"\"10.0.0.0/8\":{\"blacklist\":true}", true, true, 0, 0},
        {"\"10.0.0.0/8\":{\"blacklist\":\"1\"}", true, true, 0, 0},
        {"\"0.0.0.0/0\":{\"blacklist\":true}", true, false, 0, 0}, /* needs bits > 0 */
        {"\"192.0.2.0/24\":{\"mtu\":1500}", true, false, 0, 1500},
        {"\"192.0.2.0/24\":{\"mtu\":100}", true, false, 0, 1400},
        {"\"192.0.2.0/24\":{\"mtu\":99999}", true, false, 0, 10324},
        {"\"192.0.2.0/24\":{\"mtu\":0}", true, false, 0, 0},
        {"\"2001:db8::/32\":{\"trustedPathId\":\"18446744073709551615\"}", true, false, UINT64_MAX,
         0},
        {"\"192.0.2.0/24\":{\"trustedPathId\":42}", true, false, 42, 0},
        {"\"192.0.2.0\":{\"mtu\":1500}", false, false, 0, 0},
        {"\"192.0.2.0/33\":{\"mtu\":1500}", false, false, 0, 0},
        {"\"nonsense/8\":{\"mtu\":1500}", false, false, 0, 0},
        {"\"192.0.2.0/24\":7", false, false, 0, 0},
    };
    for (size_t i = 0; i < COUNT_OF(table); i++) {
        char text[256];
        (void)snprintf(text, sizeof(text), "{\"physical\":{%s}}", table[i].entry);
        struct config *c = parse(text);
        assert_int_equal(c->physical_count, table[i].kept);
        assert_int_equal(c->warning_count, !table[i].kept);
        if (table[i].kept) {
            assert_int_equal(c->physical[0].blacklist, table[i].blacklist);
            assert_true(c->physical[0].trusted_path_id == table[i].trusted);
            assert_int_equal(c->physical[0].mtu, table[i].mtu);
        }
        config_free(c);
    }
}

static void test_physical_table_is_bounded(void **state)
{
    (void)state;
    char text[4096] = "{\"physical\":{";
    for (int i = 0; i < CONFIG_PHYSICAL_MAX + 8; i++) {
        char entry[64];
        (void)snprintf(entry, sizeof(entry), "%s\"10.%d.0.0/16\":{\"mtu\":1400}", i == 0 ? "" : ",",
                       i);
        strncat(text, entry, sizeof(text) - strlen(text) - 1);
    }
    strncat(text, "}}", sizeof(text) - strlen(text) - 1);
    struct config *c = parse(text);
    assert_int_equal(c->physical_count, CONFIG_PHYSICAL_MAX);
    assert_int_equal(c->warning_count, 1);
    config_free(c);
}

static void test_virtual_entries(void **state)
{
    (void)state;
    struct config *c =
        parse("{\"virtual\":{\"3f9a20c1d4\":{\"try\":[\"198.51.100.9/9993\",\"2001:db8::1/1\",7],"
              "\"blacklist\":[\"10.0.0.0/8\",\"bad\"],\"role\":\"UPSTREAM\"},"
              "\"xyz\":{\"try\":[]},\"0011223344\":{\"try\":\"198.51.100.9/9993\"}}}");
    assert_int_equal(c->virt_count, 2);
    const struct config_virtual *v = &c->virt[0];
    assert_true(v->address == UINT64_C(0x3f9a20c1d4));
    assert_int_equal(v->try_count, 2);
    assert_int_equal(v->try_paths[0].port, 9993);
    assert_int_equal(v->try_paths[1].family, INETADDR_V6);
    assert_int_equal(v->blacklist_count, 1);
    assert_int_equal(v->blacklist[0].port, 8);
    assert_int_equal(c->virt[1].try_count, 0); /* a string is no array */
    assert_int_equal(c->warning_count, 4);
    config_free(c);
}

static void test_settings(void **state)
{
    (void)state;
    struct config *c = parse(
        "{\"settings\":{\"primaryPort\":\"9994\",\"allowSecondaryPort\":\"false\","
        "\"secondaryPort\":70000,\"portMappingEnabled\":0,\"tertiaryPort\":true,"
        "\"bind\":[\"192.0.2.7\",\"x\"],\"interfacePrefixBlacklist\":[\"docker\",\"\",3,\"wg\"],"
        "\"allowManagementFrom\":[\"10.1.2.0/24\",\"10.0.0.1\"],\"allowTcpFallbackRelay\":false,"
        "\"tcpFallbackRelay\":\"192.0.2.1/443\",\"lowBandwidthMode\":\"true\","
        "\"controllerDbPath\":\"/srv/ctl\",\"softwareUpdate\":\"apply\"}}");
    assert_int_equal(c->primary_port, 9994);
    assert_false(c->allow_secondary_port);
    assert_int_equal(c->secondary_port, 0); /* out of range: as absent */
    assert_false(c->port_mapping);
    assert_int_equal(c->tertiary_port, 1);
    assert_int_equal(c->bind.count, 1);
    assert_int_equal(c->iface_deny_count, 2);
    assert_string_equal(c->iface_deny[1], "wg");
    assert_int_equal(c->management.count, 1);
    assert_int_equal(c->management.items[0].port, 24);
    assert_false(c->allow_tcp_relay);
    assert_int_equal(c->tcp_relay.port, 443);
    assert_true(c->low_bandwidth);
    assert_string_equal(c->controller_db, "/srv/ctl");
    assert_int_equal(c->warning_count, 6);
    config_free(c);
}

static void test_relay_rate(void **state)
{
    static const struct {
        const char *text;
        uint32_t rate;
        bool warned;
    } table[] = {
        {"{}", DP_RELAY_RATE, false},
        {"{\"settings\":{\"relayRate\":0}}", 0, false},
        {"{\"settings\":{\"relayRate\":1000000000}}", 1000000000, false},
        {"{\"settings\":{\"relayRate\":1000000001}}", DP_RELAY_RATE, true},
        {"{\"settings\":{\"relayRate\":-1}}", DP_RELAY_RATE, true},
        {"{\"settings\":{\"relayRate\":\"many\"}}", DP_RELAY_RATE, true},
    };

    (void)state;
    for (size_t i = 0; i < COUNT_OF(table); i++) {
        struct config *c = parse(table[i].text);

        assert_int_equal(c->relay_rate, table[i].rate);
        assert_int_equal(c->warning_count, table[i].warned);
        config_free(c);
    }
}

static void test_max_peers(void **state)
{
    static const struct {
        const char *text;
        uint32_t count;
        bool warned;
    } table[] = {
        {"{}", 0, false},
        {"{\"settings\":{\"maxPeers\":256}}", 256, false},
        {"{\"settings\":{\"maxPeers\":1000000}}", 1000000, false},
        {"{\"settings\":{\"maxPeers\":255}}", 0, true},
        {"{\"settings\":{\"maxPeers\":16000001}}", 0, true},
        {"{\"settings\":{\"relayPairRate\":1000001}}", 0, true},
    };

    (void)state;
    for (size_t i = 0; i < COUNT_OF(table); i++) {
        struct config *c = parse(table[i].text);

        assert_int_equal(c->max_peers, table[i].count);
        assert_int_equal(c->relay_pair_rate, 0);
        assert_int_equal(c->warning_count, table[i].warned);
        config_free(c);
    }
}

static void test_relay_pair_rate(void **state)
{
    struct config *c = parse("{\"settings\":{\"relayPairRate\":1000000}}");

    (void)state;
    assert_int_equal(c->relay_pair_rate, 1000000);
    assert_int_equal(c->warning_count, 0);
    config_free(c);
}

static void test_prefix_blacklist_takes_a_single_name(void **state)
{
    (void)state;
    struct config *c = parse("{\"settings\":{\"interfacePrefixBlacklist\":\"docker\"}}");
    assert_int_equal(c->iface_deny_count, 1);
    assert_string_equal(c->iface_deny[0], "docker");
    config_free(c);
    c = parse("{\"settings\":{\"primaryPort\":0}}");
    assert_int_equal(c->primary_port, 0); /* random, not absent */
    config_free(c);
}

static void test_merge_keeps_what_it_does_not_know(void **state)
{
    (void)state;
    struct config *c = parse("{\"x\":1,\"settings\":{\"primaryPort\":1,\"own\":\"kept\"}}");
    json_t *changes = json_loads("{\"primaryPort\":2,\"lowBandwidthMode\":true}", 0, NULL);
    char *text = NULL;
    assert_int_equal(config_merge_settings(c, changes, &text), 0);
    assert_string_equal(text, "{\n    \"settings\": {\n        \"lowBandwidthMode\": true,\n"
                              "        \"own\": \"kept\",\n        \"primaryPort\": 2\n    },\n"
                              "    \"x\": 1\n}");
    free(text);
    config_free(c);
    c = parse("{\"settings\":7}");
    assert_int_equal(config_merge_settings(c, changes, &text), 0);
    json_t *merged = json_loads(text, 0, NULL);
    assert_int_equal(json_object_size(json_object_get(merged, "settings")), 2);
    json_decref(merged);
    json_decref(changes);
    free(text);
    config_free(c);
}

static void test_tcp_relay_settings(void **state)
{
    static const struct {
        const char *text;
        bool given;
        size_t count;
        uint64_t rate;
        size_t warnings;
    } table[] = {
        {"", false, 0, CONFIG_TCP_RELAY_RATE, 0},
        {"\"tcpRelayListen\":[]", true, 0, CONFIG_TCP_RELAY_RATE, 0},
        {"\"tcpRelayListen\":[\"0.0.0.0/443\",\"::/8443\"]", true, 2, CONFIG_TCP_RELAY_RATE, 0},
        {"\"tcpRelayListen\":[\"0.0.0.0\",\"x/1\",\"::/8443\"]", true, 1, CONFIG_TCP_RELAY_RATE, 2},
        {"\"tcpRelayListen\":\"0.0.0.0/443\"", false, 0, CONFIG_TCP_RELAY_RATE, 1},
        {"\"tcpRelayRate\":0", false, 0, 0, 0},
        {"\"tcpRelayRate\":1000000", false, 0, 1000000, 0},
        {"\"tcpRelayRate\":-1", false, 0, CONFIG_TCP_RELAY_RATE, 1},
        {"\"tcpRelayRate\":\"much\"", false, 0, CONFIG_TCP_RELAY_RATE, 1},
    };
    (void)state;
    for (size_t i = 0; i < COUNT_OF(table); i++) {
        char text[256];
        (void)snprintf(text, sizeof(text), "{\"settings\":{%s}}", table[i].text);
        struct config *c = parse(text);
        assert_int_equal(c->has_tcp_listen, table[i].given);
        assert_int_equal(c->tcp_listen.count, table[i].count);
        assert_true(c->tcp_relay_rate == table[i].rate);
        assert_int_equal(c->warning_count, table[i].warnings);
        assert_false(c->tcp_relay_private);
        assert_string_equal(c->tcp_relay_name, "");
        config_free(c);
    }
    struct config *c =
        parse("{\"settings\":{\"tcpRelayPrivate\":true,\"tcpRelayName\":\"example.org\"}}");
    assert_true(c->tcp_relay_private);
    assert_string_equal(c->tcp_relay_name, "example.org");
    config_free(c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_missing_and_empty_give_defaults),
        cmocka_unit_test(test_invalid_text_names_the_place),
        cmocka_unit_test(test_loose_scalars),
        cmocka_unit_test(test_tcp_relay_settings),
        cmocka_unit_test(test_physical_entries),
        cmocka_unit_test(test_physical_table_is_bounded),
        cmocka_unit_test(test_virtual_entries),
        cmocka_unit_test(test_settings),
        cmocka_unit_test(test_relay_rate),
        cmocka_unit_test(test_max_peers),
        cmocka_unit_test(test_relay_pair_rate),
        cmocka_unit_test(test_prefix_blacklist_takes_a_single_name),
        cmocka_unit_test(test_merge_keeps_what_it_does_not_know),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
