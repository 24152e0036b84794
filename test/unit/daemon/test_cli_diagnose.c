/* Parts of "panlan diagnose" that need no machine: findings and their redaction, judging packet
 * filter rules, plain words. */
#include "cli/advice.h"
#include "cli/findings.h"
#include "cli/ruleset.h"
#include "vl1/nat.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/attr.h"

static const char *last_found(const struct findings *f)
{
    const json_t *o = json_array_get(f->list, json_array_size(f->list) - 1);
    return json_string_value(json_object_get(o, "found"));
}

static void test_redaction_hides_public_addresses_alone(void **state)
{
    (void)state;
    static const char *const table[][2] = {
        {"at 10.9.0.1/9993", "at 10.9.0.1/9993"},
        {"at 8.8.8.8/9993 and 8.8.8.8, 9.9.9.9.",
         "at public-ipv4-1/9993 and public-ipv4-1, public-ipv4-2."},
        {"8.8.8.8", "public-ipv4-1"},
        {"(2a00:1450::5)", "(public-ipv6-3)"},
        {"2a00:1450::5/9993", "public-ipv6-3/9993"},
        {"fe80::1 fd00::2 ::1 192.168.1.2 127.0.0.1 172.16.0.9",
         "fe80::1 fd00::2 ::1 192.168.1.2 127.0.0.1 172.16.0.9"},
        {"version 0.1.0, node f83adfd44e, up 5 s", "version 0.1.0, node f83adfd44e, up 5 s"},
        {"2026-11-22 03:52:10 ab:cd :: . 1.2.3 e0eec302ddc765ef",
         "2026-11-22 03:52:10 ab:cd :: . 1.2.3 e0eec302ddc765ef"},
        {"22.1.2.3 is pseudo-private and used in the Internet",
         "public-ipv4-4 is pseudo-private and used in the Internet"},
        {"gateway: 8.8.8.8:", "gateway: public-ipv4-1:"},
        {"", ""},
    };
    struct findings f;
    findings_init(&f, true);
    for (size_t i = 0; i < COUNT_OF(table); i++) {
        find(&f, RESULT_INFO, "x", NULL, "%s", table[i][0]);
        assert_string_equal(last_found(&f), table[i][1]);
    }
    findings_done(&f);
    findings_init(&f, false);
    find(&f, RESULT_INFO, "x", NULL, "%s", table[1][0]);
    assert_string_equal(last_found(&f), table[1][0]);
    findings_done(&f);
}

static void test_findings_are_cleaned_cut_and_counted(void **state)
{
    (void)state;
    char *text = NULL;
    size_t len = 0;
    char name[3001];
    struct findings f;
    findings_init(&f, true);
    memset(name, '9', 3000);
    name[3000] = '\0';
    find(&f, RESULT_FAIL, "one", "do this", "a\nb\033[2J\xc3\xa9");
    assert_string_equal(last_found(&f), "a?b?[2J??");
    find(&f, RESULT_WARN, "two", "", "%s", name);
    assert_true(strlen(last_found(&f)) < 1001);
    find(&f, RESULT_OK, "three", NULL, "fine");
    FILE *out = open_memstream(&text, &len);
    findings_print(out, &f);
    assert_int_equal(fclose(out), 0);
    assert_memory_equal(
        text, "FAIL  one         a?b?[2J??\n                  -> do this\nWARN  two         9", 75);
    assert_non_null(strstr(text, "OK    three       fine\n\n1 failed, 1 warnings, 1 fine\n"));
    free(text);
    json_t *o = findings_json(&f, "0.1.0", "now");
    assert_int_equal(json_integer_value(json_object_get(o, "failed")), 1);
    assert_int_equal(json_array_size(json_object_get(o, "findings")), 3);
    json_decref(o);
    findings_done(&f);
}

/* ---- rules ---- */

#define CHAIN(hook, policy)                                                                        \
    "{\"chain\":{\"family\":\"inet\",\"table\":\"t\",\"name\":\"c\",\"type\":\"filter\","          \
    "\"hook\":\"" hook "\",\"prio\":0,\"policy\":\"" policy "\"}}"
#define RULE(expr) RULE_IN("c", expr)
#define RULE_IN(chain, expr)                                                                       \
    ",{\"rule\":{\"family\":\"inet\",\"table\":\"t\",\"chain\":\"" chain "\",\"expr\":[" expr "]}" \
    "}"
#define MATCH(left, op, right)                                                                     \
    "{\"match\":{\"op\":\"" op "\",\"left\":" left ",\"right\":" right "}}"
#define UDP_DPORT   "{\"payload\":{\"protocol\":\"udp\",\"field\":\"dport\"}}"
#define UDP_SPORT   "{\"payload\":{\"protocol\":\"udp\",\"field\":\"sport\"}}"
#define TCP_DPORT   "{\"payload\":{\"protocol\":\"tcp\",\"field\":\"dport\"}}"
#define STATE       "{\"ct\":{\"key\":\"state\"}}"
#define L4          "{\"meta\":{\"key\":\"l4proto\"}}"
#define ACCEPT      "{\"accept\":null}"
#define DROP        "{\"drop\":null}"
#define SADDR       "{\"payload\":{\"protocol\":\"ip\",\"field\":\"saddr\"}}"
#define ESTABLISHED MATCH(STATE, "in", "[\"established\",\"related\"]") "," ACCEPT

static void test_rules_of_nftables(void **state)
{
    (void)state;
    static const struct {
        const char *rules;
        enum ruleset_verdict in;
        enum ruleset_verdict out;
    } table[] = {
        {CHAIN("input", "accept"), RULESET_PASS, RULESET_PASS},
        {CHAIN("input", "drop"), RULESET_DROP, RULESET_PASS},
        {CHAIN("output", "drop"), RULESET_PASS, RULESET_DROP},
        {CHAIN("forward", "drop"), RULESET_PASS, RULESET_PASS},
        {CHAIN("input", "drop") RULE(ESTABLISHED), RULESET_DROP, RULESET_PASS},
        {CHAIN("input", "drop")
             RULE(MATCH(STATE, "in", "{\"set\":[\"established\",\"new\"]}") "," ACCEPT),
         RULESET_PASS, RULESET_PASS},
        {CHAIN("input", "drop") RULE(MATCH(UDP_DPORT, "==", "9993") "," ACCEPT), RULESET_PASS,
         RULESET_PASS},
        {CHAIN("input", "drop") RULE(MATCH(UDP_DPORT, "==", "{\"range\":[9000,9999]}") "," ACCEPT),
         RULESET_PASS, RULESET_PASS},
        {CHAIN("input", "drop")
             RULE(MATCH(UDP_DPORT, "==", "{\"set\":[53,{\"range\":[9990,9994]}]}") "," ACCEPT),
         RULESET_PASS, RULESET_PASS},
        {CHAIN("input", "drop") RULE(MATCH(UDP_DPORT, "==", "{\"set\":[53,9994]}") "," ACCEPT),
         RULESET_DROP, RULESET_PASS},
        {CHAIN("input", "drop") RULE(MATCH(UDP_DPORT, "==", "\"@open\"") "," ACCEPT), RULESET_MAYBE,
         RULESET_PASS},
        {CHAIN("input", "drop") RULE(MATCH(TCP_DPORT, "==", "9993") "," ACCEPT), RULESET_DROP,
         RULESET_PASS},
        {CHAIN("input", "drop") RULE(MATCH(SADDR, "==", "\"10.0.0.1\"") "," ACCEPT), RULESET_MAYBE,
         RULESET_PASS},
        {CHAIN("input", "accept") RULE(MATCH(UDP_DPORT, "==", "9993") "," DROP), RULESET_DROP,
         RULESET_PASS},
        {CHAIN("input", "accept") RULE(MATCH(UDP_DPORT, "!=", "9993") "," DROP), RULESET_PASS,
         RULESET_PASS},
        {CHAIN("input", "accept")
             RULE(MATCH(L4, "==", "\"udp\"") ",{\"reject\":{\"type\":\"icmpx\"}}"),
         RULESET_DROP, RULESET_PASS},
        {CHAIN("input", "accept") RULE(MATCH(L4, "==", "\"tcp\"") "," DROP), RULESET_PASS,
         RULESET_PASS},
        {CHAIN("input", "accept") RULE(MATCH(SADDR, "==", "\"10.0.0.1\"") "," DROP), RULESET_MAYBE,
         RULESET_PASS},
        {CHAIN("input", "accept") RULE("{\"xt\":{\"type\":\"match\",\"name\":\"x\"}}," DROP),
         RULESET_MAYBE, RULESET_PASS},
        {CHAIN("output", "accept") RULE(MATCH(UDP_SPORT, "==", "9993") "," DROP), RULESET_PASS,
         RULESET_DROP},
        {CHAIN("output", "accept") RULE(MATCH(UDP_DPORT, "==", "9993") "," DROP), RULESET_PASS,
         RULESET_MAYBE},
        /* other chains: by jump, with return, gone to */
        {CHAIN("input", "accept") RULE("{\"jump\":{\"target\":\"k\"}}") RULE_IN("k", DROP),
         RULESET_DROP, RULESET_PASS},
        {CHAIN("input", "drop") RULE("{\"jump\":{\"target\":\"k\"}}")
             RULE_IN("k", "{\"return\":null}") RULE_IN("k", ACCEPT),
         RULESET_DROP, RULESET_PASS},
        {CHAIN("input", "drop") RULE("{\"goto\":{\"target\":\"k\"}}") RULE(ACCEPT), RULESET_DROP,
         RULESET_PASS},
        {CHAIN("input", "accept")
             RULE(MATCH(SADDR, "==", "\"10.0.0.1\"") ",{\"jump\":{\"target\":\"k\"}}")
                 RULE_IN("k", DROP),
         RULESET_MAYBE, RULESET_PASS},
        {CHAIN("input", "accept") RULE("{\"jump\":{\"target\":\"c\"}}"), RULESET_MAYBE,
         RULESET_PASS},
        /* maps */
        {CHAIN("input", "drop") RULE("{\"vmap\":{\"key\":{\"ct\":{\"key\":\"state\"}},\"data\":{"
                                     "\"set\":[[\"established\",{\"accept\":null}]]}}}"),
         RULESET_DROP, RULESET_PASS},
        {CHAIN("input", "drop") RULE("{\"vmap\":{\"key\":{\"ct\":{\"key\":\"state\"}},\"data\":{"
                                     "\"set\":[[\"new\",{\"accept\":null}]]}}}"),
         RULESET_MAYBE, RULESET_PASS},
        {CHAIN("input", "drop")
             RULE("{\"vmap\":{\"key\":{\"meta\":{\"key\":\"l4proto\"}},\"data\":\"@m\"}}"),
         RULESET_MAYBE, RULESET_PASS},
        /* the loopback */
        {CHAIN("input", "drop")
             RULE(MATCH("{\"meta\":{\"key\":\"iifname\"}}", "==", "\"lo\"") "," ACCEPT),
         RULESET_DROP, RULESET_PASS},
        /* odd */
        {"{\"chain\":5},{\"rule\":[]},7,null,{}", RULESET_PASS, RULESET_PASS},
        {"{\"chain\":{\"hook\":\"input\"}},{\"rule\":{\"expr\":{\"match\":1}}}", RULESET_PASS,
         RULESET_PASS},
    };
    for (size_t i = 0; i < COUNT_OF(table); i++) {
        char where[64];
        char text[4096];
        (void)snprintf(text, sizeof(text), "{\"nftables\":[%s]}", table[i].rules);
        json_t *rules = json_loads(text, 0, NULL);
        assert_non_null(rules);
        struct ruleset_packet packet = {.incoming = true, .port = 9993};
        enum ruleset_verdict in = ruleset_judge_nft(rules, &packet, where, sizeof(where));
        if (in != table[i].in) {
            fail_msg("incoming %zu: %d instead of %d", i, in, table[i].in);
        }
        assert_string_equal(where, in == RULESET_PASS ? "" : "inet t c");
        packet.incoming = false;
        enum ruleset_verdict out = ruleset_judge_nft(rules, &packet, where, sizeof(where));
        if (out != table[i].out) {
            fail_msg("outgoing %zu: %d instead of %d", i, out, table[i].out);
        }
        json_decref(rules);
    }
}

static void test_rules_of_iptables(void **state)
{
    (void)state;
    static const struct {
        const char *rules;
        enum ruleset_verdict in;
    } table[] = {
        {"", RULESET_PASS},
        {"*filter\n:INPUT ACCEPT [0:0]\n:OUTPUT ACCEPT [0:0]\nCOMMIT\n", RULESET_PASS},
        {":INPUT DROP [0:0]\n", RULESET_DROP},
        {":INPUT DROP [0:0]\n-A INPUT -p udp -m udp --dport 9993 -j ACCEPT\n", RULESET_PASS},
        {":INPUT DROP [0:0]\n-A INPUT -p udp -m multiport --dports 53,9990:9999 -j ACCEPT\n",
         RULESET_PASS},
        {":INPUT DROP [0:0]\n-A INPUT -p tcp -m tcp --dport 9993 -j ACCEPT\n", RULESET_DROP},
        {":INPUT DROP [0:0]\n-A INPUT -m state --state RELATED,ESTABLISHED -j ACCEPT\n-A INPUT -i "
         "lo -j ACCEPT\n",
         RULESET_DROP},
        {":INPUT DROP [0:0]\n-A INPUT -s 10.0.0.0/8 -j ACCEPT\n", RULESET_MAYBE},
        {":INPUT DROP [0:0]\n-A INPUT -j ufw-user-input\n", RULESET_MAYBE},
        {":INPUT ACCEPT [0:0]\n-A INPUT -j LOG --log-prefix x\n-A INPUT -p udp ! --dport 9993 -j "
         "DROP\n",
         RULESET_PASS},
        {":INPUT ACCEPT [0:0]\n-A INPUT -p udp -j REJECT --reject-with icmp-port-unreachable\n",
         RULESET_DROP},
        {":INPUT ACCEPT [0:0]\n-A FORWARD -j DROP\n", RULESET_PASS},
        {"-A INPUT\n-A INPUT -p\n-A INPUT --dport\n-A INPUT ! !\n", RULESET_PASS},
    };
    for (size_t i = 0; i < COUNT_OF(table); i++) {
        char where[64];
        struct ruleset_packet packet = {.incoming = true, .port = 9993};
        enum ruleset_verdict in =
            ruleset_judge_iptables(table[i].rules, &packet, where, sizeof(where));
        if (in != table[i].in) {
            fail_msg("%zu: %d instead of %d", i, in, table[i].in);
        }
    }
}

static void test_every_word_of_the_engine_is_explained(void **state)
{
    (void)state;
    for (int i = RELAY_REASON_NONE; i <= RELAY_REASON_BOTH_SYMMETRIC; i++) {
        const char *text = advice_relay(relay_reason_text((enum relay_reason)i));
        assert_string_not_equal(text, advice_relay("no such reason"));
    }
    for (int i = NAT_UNKNOWN; i <= NAT_RANDOM; i++) {
        const char *text = advice_nat(nat_kind_text((enum nat_kind)i));
        assert_string_not_equal(text, advice_nat("no such kind"));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_redaction_hides_public_addresses_alone),
        cmocka_unit_test(test_findings_are_cleaned_cut_and_counted),
        cmocka_unit_test(test_rules_of_nftables),
        cmocka_unit_test(test_rules_of_iptables),
        cmocka_unit_test(test_every_word_of_the_engine_is_explained),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
