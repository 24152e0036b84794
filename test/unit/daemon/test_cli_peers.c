/* The table of peers for people: widths, odd values, hostile answers of the API. */
#include "cli/format.h"
#include "cli/peers_table.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/attr.h"

enum { NOW = 2000000 };

static const char three[] =
    "[{\"address\":\"1111111111\",\"role\":\"LEAF\",\"latency\":-1,\"versionMajor\":-1,"
    "\"version\":\"-1.-1.-1\",\"relay\":\"3333333333\",\"relayReason\":\"no answer\","
    "\"counters\":{\"received\":150,\"sent\":50,\"receivedRelayed\":100,\"sentRelayed\":50},"
    "\"lastReceive\":1800000,\"natIpv4\":\"unknown\",\"natIpv6\":\"cone\",\"paths\":[]},"
    "{\"address\":\"2222222222\",\"role\":\"LEAF\",\"latency\":7,\"versionMajor\":1,"
    "\"version\":\"1.14.1\",\"relay\":null,\"relayReason\":null,"
    "\"counters\":{\"received\":10,\"sent\":4000},\"paths\":["
    "{\"address\":\"10.0.0.9/1\",\"preferred\":false},"
    "{\"address\":\"192.0.2.7/9993\",\"preferred\":true,\"mtu\":1432,\"learnedBy\":\"push\","
    "\"transport\":\"udp\",\"lastReceive\":1999000,\"lastSend\":0}]},"
    "{\"address\":\"3333333333\",\"role\":\"PLANET\",\"latency\":20,\"versionMajor\":0,"
    "\"version\":\"0.1.0\",\"paths\":[{\"address\":\"192.0.2.1/9993\",\"preferred\":true,"
    "\"transport\":\"tcp\",\"mtu\":1400,\"learnedBy\":\"world\"}]}]";

static char *render(const char *peers, const char *before, const char *status, unsigned width,
                    unsigned height)
{
    char *text = NULL;
    size_t len = 0;
    json_t *list[3] = {json_loads(peers, JSON_DECODE_ANY, NULL),
                       before == NULL ? NULL : json_loads(before, JSON_DECODE_ANY, NULL),
                       status == NULL ? NULL : json_loads(status, JSON_DECODE_ANY, NULL)};
    struct peers_view view = {.peers = list[0],
                              .before = list[1],
                              .status = list[2],
                              .wall_ms = NOW,
                              .span_ms = 2000,
                              .width = width,
                              .height = height,
                              .line_end = "\n"};
    FILE *out = open_memstream(&text, &len);
    assert_non_null(list[0]);
    assert_non_null(out);
    peers_table(out, &view);
    peers_reasons(out, list[0]);
    assert_int_equal(fclose(out), 0);
    assert_int_equal(strlen(text), len);
    for (size_t i = 0; i < COUNT_OF(list); i++) {
        json_decref(list[i]);
    }
    return text;
}

static void assert_text(char *got, const char *expected)
{
    assert_string_equal(got, expected);
    free(got);
}

static size_t longest_line(const char *text, size_t *ret_lines)
{
    size_t longest = 0;
    *ret_lines = 0;
    for (const char *end; (end = strchr(text, '\n')) != NULL; text = end + 1) {
        longest = (size_t)(end - text) > longest ? (size_t)(end - text) : longest;
        ++*ret_lines;
    }
    return longest;
}

static void test_roots_come_first_relayed_peers_last(void **state)
{
    (void)state;
    static const char before[] =
        "[{\"address\":\"2222222222\",\"counters\":{\"received\":0,\"sent\":0}},"
        "{\"address\":\"1111111111\",\"counters\":{\"received\":151,\"sent\":50}}]";
    assert_text(
        render(three, before, NULL, 0, 0),
        "address     version  role    ms  path                 mtu  nat   in  p/s in  p/s out  "
        "relayed  why\n"
        "3333333333  0.1.0    PLANET  20  TCP 192.0.2.1/9993  1400                             "
        "         by world\n"
        "2222222222  1.14.1   LEAF     7  192.0.2.7/9993      1432        1s       5     2000  "
        "     0%  by push\n"
        "1111111111           LEAF        RELAY 3333333333          cone  3m                0  "
        "    75%  no answer\n"
        "no answer: its addresses were tried and none answered: a firewall or NAT on one side "
        "drops UDP; open or forward UDP port 9993 on one side\n");
}

static void test_head_counts_groups(void **state)
{
    (void)state;
    static const char status[] =
        "{\"address\":\"9999999999\",\"version\":\"0.1.0\",\"online\":true,"
        "\"tcpFallbackActive\":true,\"nat\":{\"ipv4\":\"cone\",\"ipv6\":\"none\"}}";
    char *text = render(three, NULL, status, 200, 0);
    assert_memory_equal(text,
                        "9999999999 0.1.0 TUNNELED  1 roots, 1 direct, 1 relayed  NAT IPv4 cone, "
                        "IPv6 none\n",
                        82);
    free(text);
}

static void test_every_width_is_kept(void **state)
{
    (void)state;
    static const char status[] = "{\"address\":\"9999999999\",\"nat\":5,\"version\":[]}";
    for (unsigned width = 1; width < 160; width++) {
        size_t lines;
        json_t *peers = json_loads(three, 0, NULL);
        struct peers_view view = {.peers = peers, .wall_ms = NOW, .width = width, .line_end = "\n"};
        char *text = NULL;
        size_t len = 0;
        FILE *out = open_memstream(&text, &len);
        json_t *s = json_loads(status, 0, NULL);
        view.status = s;
        peers_table(out, &view);
        assert_int_equal(fclose(out), 0);
        assert_true(longest_line(text, &lines) <= width);
        assert_int_equal(lines, 5);
        /* What matters most stays longest. */
        assert_true(width < 30 || strstr(text, "RELAY 3333333333") != NULL);
        assert_true(width < 45 || strstr(text, "no answer") != NULL);
        free(text);
        json_decref(s);
        json_decref(peers);
    }
}

static void test_every_height_is_kept(void **state)
{
    (void)state;
    for (unsigned height = 4; height < 12; height++) {
        size_t lines;
        json_t *peers = json_array();
        for (int i = 0; i < 8; i++) {
            (void)json_array_append_new(peers, json_pack("{s:s}", "address", "1"));
        }
        struct peers_view view = {.status = peers, /* not an object: no values */
                                  .peers = peers,
                                  .height = height,
                                  .line_end = "\n"};
        char *text = NULL;
        size_t len = 0;
        FILE *out = open_memstream(&text, &len);
        peers_table(out, &view);
        assert_int_equal(fclose(out), 0);
        (void)longest_line(text, &lines);
        assert_true(lines < height);
        assert_int_equal(strstr(text, "more") != NULL, height < 11);
        free(text);
        json_decref(peers);
    }
}

static void test_hostile_answers_draw_no_lines_and_no_terminal_codes(void **state)
{
    (void)state;
    static const char *const answers[] = {
        "null",
        "7",
        "{}",
        "[null,5,\"x\",[],{}]",
        "[{\"address\":7,\"paths\":{\"a\":1},\"counters\":[],\"role\":null}]",
        "[{\"address\":\"\\u001b[2J\\n\\u009b31m\",\"role\":\"\\u00e9\\u202e\",\"paths\":["
        "{\"preferred\":true,\"address\":\"a\\nb\",\"learnedBy\":\"\\r\\u0007\"}]}]",
        "[{\"address\":\"1\",\"relayReason\":\"\\u001b]0;x\\u0007\",\"relay\":\"\\n\"}]",
        "[{\"latency\":9223372036854775807,\"lastReceive\":9223372036854775807,\"versionMajor\":1,"
        "\"counters\":{\"received\":9223372036854775807,\"sent\":9223372036854775807,"
        "\"receivedRelayed\":-9223372036854775807}}]",
        "[{\"latency\":-9223372036854775807,\"lastReceive\":-9223372036854775807,"
        "\"counters\":{\"received\":-9223372036854775807,\"sent\":-1}}]",
    };
    for (size_t i = 0; i < COUNT_OF(answers); i++) {
        for (size_t k = 0; k < COUNT_OF(answers); k++) {
            char *text = render(answers[i], answers[k], answers[k], 80, 24);
            size_t lines;
            for (const char *p = text; *p != '\0'; p++) {
                assert_true((*p >= 0x20 && *p < 0x7f) || *p == '\n');
            }
            (void)longest_line(text, &lines);
            assert_true(lines <= 8);
            free(text);
        }
    }
}

static void test_long_values_are_cut(void **state)
{
    (void)state;
    char json[2400];
    char name[1001];
    memset(name, 'x', 1000);
    name[1000] = '\0';
    (void)snprintf(json, sizeof(json), "[{\"address\":\"%s\",\"relayReason\":\"%s\"}]", name, name);
    char *text = render(json, NULL, NULL, 0, 0);
    size_t lines;
    assert_true(longest_line(text, &lines) < 200);
    free(text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_roots_come_first_relayed_peers_last),
        cmocka_unit_test(test_head_counts_groups),
        cmocka_unit_test(test_every_width_is_kept),
        cmocka_unit_test(test_every_height_is_kept),
        cmocka_unit_test(test_hostile_answers_draw_no_lines_and_no_terminal_codes),
        cmocka_unit_test(test_long_values_are_cut),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
