/* What is shown of the data path, by the API and to people. Checklist: D-19, D-25. */
#include "cli/own.h"
#include "daemon/datapath_info.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static struct socket_info sockets[] = {
    {.id = 1,
     .local = {.family = INETADDR_V4, .ip = {10, 9, 0, 2}, .port = 9993},
     .device = "eth0",
     .count = 8,
     .offloads = UDP_OFFLOAD_GSO | UDP_OFFLOAD_BATCH,
     .receive_buffer = 8 << 20,
     .send_buffer = 212992,
     .kernel_drops = 3,
     .send_errors = 4,
     .gso_replays = 5,
     .truncated = 6},
};

static struct device_info devices[] = {
    {.nwid = UINT64_C(0x3f9a20c1d4aa0001),
     .name = "ztabcdefgh",
     .mtu = 2800,
     .queues = 8,
     .offloads = TAP_OFFLOAD_ALL & ~(unsigned)TAP_OFFLOAD_USO,
     .io = {.kinds = MERGE_TCP4 | MERGE_TCP6, .refused = 7, .full = 9}},
    {.nwid = UINT64_C(0x3f9a20c1d4aa0002), .name = "ztplain", .mtu = 1500, .queues = 8},
};

static struct datapath_info example(void)
{
    struct datapath_info info = {.workers = {.count = 2,
                                             .lanes = 4,
                                             .lost = 11,
                                             .device_full = 12,
                                             .ring_full = {13, 14, 15, 0}},
                                 .aes = "vaes512",
                                 .salsa20 = "avx2",
                                 .poly1305 = "portable",
                                 .checksum = "neon",
                                 .sockets = sockets,
                                 .socket_count = 1,
                                 .devices = devices,
                                 .device_count = 2,
                                 .drops = {{"drop_mac", 21}, {"vl2_rules_in", 0}},
                                 .drop_count = 2};
    info.workers.counts[DP_RX_FRAMES] = 90;
    info.workers.counts[DP_TX_EXT_FRAMES] = 5;
    info.workers.counts[DP_RELAYED] = 4;
    info.workers.counts[DP_GIVEN] = 1;
    info.workers.counts[DP_RX_DATAGRAMS] = 500; /* says nothing about who handled them */
    return info;
}

static json_t *at(const json_t *value, const char *key)
{
    json_t *found = json_object_get(value, key);

    assert_non_null(found);
    return found;
}

static void assert_text(const json_t *value, const char *expected)
{
    char *text = json_dumps(value, JSON_COMPACT | JSON_SORT_KEYS | JSON_ENCODE_ANY);

    assert_non_null(text);
    assert_string_equal(text, expected);
    free(text);
}

static void test_object_of_the_api(void **state)
{
    struct datapath_info info = example();
    json_t *o = datapath_info_json(&info);

    (void)state;
    assert_text(at(o, "workers"), "2");
    assert_text(at(o, "lanes"), "4");
    assert_text(at(o, "kernels"), "{\"aes\":\"vaes512\",\"checksum\":\"neon\","
                                  "\"poly1305\":\"portable\",\"salsa20\":\"avx2\"}");
    assert_text(at(o, "sockets"),
                "[{\"address\":\"10.9.0.2/9993\",\"batch\":true,\"device\":\"eth0\",\"gro\":false,"
                "\"gso\":true,\"gsoReplays\":5,\"kernelDrops\":3,\"receiveBuffer\":8388608,"
                "\"sendBuffer\":212992,\"sendErrors\":4,\"sockets\":8,\"truncated\":6}]");
    assert_text(json_array_get(at(o, "devices"), 0),
                "{\"csum\":true,\"device\":\"ztabcdefgh\",\"ecn\":true,\"full\":9,"
                "\"mergesTcp\":true,\"mergesUdp\":false,\"mtu\":2800,"
                "\"nwid\":\"3f9a20c1d4aa0001\",\"queues\":8,\"refused\":7,\"tso4\":true,"
                "\"tso6\":true,\"uso\":false,\"vnet\":true}");
    assert_int_equal(json_array_size(at(o, "devices")), 2);
    assert_text(at(o, "handled"), "99");
    assert_text(at(o, "given"), "1");
    assert_text(at(o, "slowShare"), "0.01");
    assert_text(
        at(o, "lost"),
        "{\"devices\":12,\"frames\":14,\"opened\":13,\"others\":0,\"sealed\":15,\"sockets\":11}");
    assert_text(at(o, "drops"), "{\"drop_mac\":21,\"vl2_rules_in\":0}");
    assert_text(at(at(o, "counts"), "rx_frames"), "90");
    assert_int_equal(json_object_size(at(o, "counts")), DP_COUNTS);
    json_decref(o);
}

/* Nothing happened yet: no share of nothing. */
static void test_idle(void **state)
{
    struct workers_stats stats = {.count = 1};

    (void)state;
    assert_true(datapath_slow_share(&stats) == 0);
    stats.counts[DP_GIVEN] = 3;
    assert_true(datapath_slow_share(&stats) == 1);
}

static void test_every_count_has_its_own_name(void **state)
{
    (void)state;
    for (size_t i = 0; i < DP_COUNTS; i++) {
        assert_non_null(dp_count_name(i));
        assert_int_equal(strncmp(dp_count_name(i), "drop_", 5) == 0, i >= DP_DROP_RUNT);
        for (size_t k = 0; k < i; k++) {
            assert_string_not_equal(dp_count_name(i), dp_count_name(k));
        }
    }
    assert_null(dp_count_name(DP_COUNTS));
}

static void test_offloads_have_names(void **state)
{
    const struct offload_name *offload;
    unsigned udp = 0;
    unsigned tap = 0;

    (void)state;
    for (size_t i = 0; (offload = datapath_udp_offload(i)) != NULL; i++) {
        udp |= offload->bit;
    }
    for (size_t i = 0; (offload = datapath_tap_offload(i)) != NULL; i++) {
        tap |= offload->bit;
    }
    assert_int_equal(udp, UDP_OFFLOAD_ALL);
    assert_int_equal(tap, TAP_OFFLOAD_ALL);
}

static void test_text_for_people(void **state)
{
    static const char *const lines[] = {
        "workers   2, lanes of each 4\n",
        "kernels   AES vaes512, Salsa20 avx2, Poly1305 portable, checksum neon\n",
        "handled   99 by workers, 1 given to the engine (1.00 %)\n",
        "lost      sockets=11 devices=12 opened=13 frames=14 sealed=15\n",
        "drops     drop_mac=21\n",
        "\n10.9.0.2/9993                    eth0                  8     8192      208 gso,batch    "
        "  "
        "      3        4        5\n",
        "\n3f9a20c1d4aa0001 ztabcdefgh       2800      8 vnet,csum,tso4,tso6,ecn     tcp           "
        " 7 "
        "       9\n",
        "\n3f9a20c1d4aa0002 ztplain          1500      8 -                           -             "
        " 0 "
        "       0\n",
    };
    struct datapath_info info = example();
    json_t *o = datapath_info_json(&info);
    char *text = NULL;
    size_t len = 0;
    FILE *out = open_memstream(&text, &len);

    (void)state;
    assert_non_null(out);
    format_datapath(out, o);
    assert_int_equal(fclose(out), 0);
    for (size_t i = 0; i < sizeof(lines) / sizeof(lines[0]); i++) {
        if (strstr(text, lines[i]) == NULL) {
            fail_msg("%s is not in\n%s", lines[i], text);
        }
    }
    free(text);
    json_decref(o);
}

/* A service that tells less, or nonsense, is shown without harm. */
static void test_text_of_an_empty_object(void **state)
{
    static const char *const objects[] = {"{}", "[]",
                                          "{\"sockets\":[1],\"devices\":{},\"drops\":7}"};

    (void)state;
    for (size_t i = 0; i < sizeof(objects) / sizeof(objects[0]); i++) {
        json_t *o = json_loads(objects[i], 0, NULL);
        char *text = NULL;
        size_t len = 0;
        FILE *out = open_memstream(&text, &len);

        assert_non_null(out);
        format_datapath(out, o);
        assert_int_equal(fclose(out), 0);
        assert_non_null(strstr(text, "drops     none\n"));
        free(text);
        json_decref(o);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_object_of_the_api),
        cmocka_unit_test(test_idle),
        cmocka_unit_test(test_every_count_has_its_own_name),
        cmocka_unit_test(test_offloads_have_names),
        cmocka_unit_test(test_text_for_people),
        cmocka_unit_test(test_text_of_an_empty_object),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
