/* Explanations of packets and assertions about them (RL-44, RL-45): the evaluator
 * of nodes decides, the script's lines say where. */
#include "controller/rules_json.h"
#include "filter_case.h"
#include "rules/trace.h"
#include "rules/words.h"
#include "vectors.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* ---- beside the node ---- */

/* The set whose last step decided agrees with the result, and states fold to what was taken. */
static void check_steps(const struct filter_case *c, const struct explain_side *side)
{
    const struct explain_set *base = &side->sets[0];
    assert_int_equal(base->count, c->network.rule_count);
    assert_int_equal(base->outcome, side->result.base);
    for (size_t i = 0; i < base->count; i++) {
        assert_int_equal(base->steps[i].is_reached, i <= base->decided);
    }
    bool ended = side->result.base != FILTER_NO_MATCH;
    if (ended) {
        assert_in_range(base->decided, 0, base->count - 1);
    }
    if (base->decided < base->count) {
        const struct rule *last = &c->network.rules[base->decided];
        assert_true(rule_is_action(last));
        assert_true(base->steps[base->decided].is_true);
        assert_true(ended || last->type == RULE_BREAK);
    }
    const struct explain_set *end = &side->sets[side->set_count - 1];
    if (side->result.by_capability) {
        assert_false(end->is_base);
        assert_int_equal(end->id, side->result.capability_id);
    }
}

/* RL-44 */
static void test_explanations_decide_as_nodes_do(void **state)
{
    json_t *root = vectors_load("vl2.json");
    const json_t *list = vec_get(root, "filter");
    size_t i;
    json_t *entry;
    (void)state;
    assert_int_equal(json_array_size(list), 462);
    json_array_foreach(list, i, entry)
    {
        struct filter_case c;
        struct explain_side side;
        filter_case_load(&c, entry, vec_get(root, "meta"));
        assert_int_equal(explain_side(&c.in, c.is_inbound, &side), 0);
        if ((int64_t)side.result.verdict != filter_case_verdict(&c)) {
            fail_msg("%s: verdict %d", c.name, (int)side.result.verdict);
        }
        check_steps(&c, &side);
        explain_done(&side);
        filter_case_free(&c);
    }
    json_decref(root);
}

/* What the controller reads from the JSON of a rule is what is explained. */
static void test_rules_are_those_of_the_controller(void **state)
{
    json_t *vectors = vectors_load("rules-language.json");
    size_t compared = 0;
    size_t i;
    json_t *vector;
    (void)state;
    json_array_foreach(vectors, i, vector)
    {
        const json_t *source = vec_get(vector, "source");
        struct rdl_result *result = NULL;
        assert_int_equal(
            rdl_compile(json_string_value(source), json_string_length(source), RDL_NORMAL, &result),
            0);
        json_t *json = rdl_set_json(&result->base);
        for (size_t k = 0; result->is_ok && k < result->base.count; k++) {
            struct rule read;
            struct rule made;
            assert_int_equal(rule_from_json(json_array_get(json, k), &read), 0);
            policy_rule(&result->base.entries[k], &made);
            if (!rule_equal(&read, &made)) {
                fail_msg("%s: rule %zu", vec_text(vector, "name"), k);
            }
            compared++;
        }
        json_decref(json);
        rdl_free(result);
    }
    json_decref(vectors);
    assert_in_range(compared, 1000, 100000);
}

/* ---- packets in words ---- */

static const char script[] = "tag dept id 1 enum 1 staff enum 2 servers default 0;\n"
                             "tag role id 3 flag 0 admin flag 1 web default 0;\n"
                             "tag place id 4 enum 1 here enum 2 web;\n"
                             "cap ssh id 10 accept ipprotocol tcp and dport 22; ;\n"
                             "cap all id 5 default accept ipprotocol 99; ;\n"
                             "macro to($p) accept ipprotocol tcp and dport $p; ;\n"
                             "accept ethertype arp;\n"
                             "drop not ethertype ipv4 and not ethertype ipv6;\n"
                             "tee 64 deadbeef11 ipprotocol udp;\n"
                             "redirect cafe000011 ipprotocol 50;\n"
                             "accept tseq dept staff and treq dept servers;\n"
                             "accept treq role 3;\n"
                             "include to(80)\n"
                             "drop ipsrc 10.1.0.0/16 or ipdest fd00::7/128;\n"
                             "accept chr tcp_ack;\n"
                             "accept icmp 8 -1 or icmp 129 0;\n"
                             "accept chr multicast and not chr broadcast;\n"
                             "accept chr ipauth and framesize 1000-1400;\n"
                             "accept ztdest 1234567890 and macsrc 02:00:00:00:00:01;\n"
                             "accept iptos 0xff 32-40;\n"
                             "accept random 0.25 and ipprotocol sctp;\n"
                             "break;\n";

/* A script, ready for packets. */
struct fixture {
    struct rdl_result *result;
    struct policy policy;
    struct trace_script script;
    struct packet *packet;
};

static void begin(struct fixture *f, const char *source)
{
    f->script = (struct trace_script){"s", source, strlen(source)};
    assert_int_equal(rdl_compile(source, strlen(source), RDL_NORMAL, &f->result), 0);
    assert_true(f->result->is_ok);
    assert_int_equal(policy_make(f->result, &f->policy), 0);
    f->packet = calloc(1, sizeof(*f->packet));
    assert_non_null(f->packet);
}

static void end(struct fixture *f)
{
    policy_done(&f->policy);
    rdl_free(f->result);
    free(f->packet);
}

/* The trace of a packet that can be read. */
static void trace_text(struct fixture *f, const char *text, struct trace *ret)
{
    struct packet_error error;
    uint8_t *copy = exact_copy(text, strlen(text));
    struct rdl_text exact = {(const char *)copy, strlen(text)};
    if (packet_read(&f->policy, exact, f->packet, &error) != 0) {
        fail_msg("%s: %s", text, error.text);
    }
    free(copy);
    assert_int_equal(trace_packet(&f->policy, f->packet, ret), 0);
}

/* Line of the rule that decided on a side; 0 for none. */
static int deciding_line(struct fixture *f, const struct trace *t, int side)
{
    json_t *json = trace_json(t, &f->policy, &f->script);
    assert_non_null(json);
    const json_t *by = vec_get(json_array_get(vec_get(json, "sides"), (size_t)side), "by");
    int line = json_is_null(by) ? 0 : (int)vec_int(by, "line");
    json_decref(json);
    return line;
}

/* What words say is what rules see. */
static void test_words_make_packets(void **state)
{
    static const struct {
        const char *text;
        enum trace_verdict verdict;
        int line; /* on the sender's side */
    } cases[] = {
        {"arp", TRACE_ACCEPT, 7},
        {"arp from a to b", TRACE_ACCEPT, 7},
        {"ethertype 0x88cc", TRACE_DROP, 8},
        {"tcp vlan 5 port 80", TRACE_DROP, 8},
        {"ipprotocol 50 from a to b", TRACE_REDIRECT, 10},
        {"ipprotocol esp from a to cafe000011 port 1", TRACE_DROP, 0},
        {"udp from a:staff to b:servers port 9", TRACE_ACCEPT, 11},
        {"udp from a:dept=1 to b:1=2 port 9", TRACE_ACCEPT, 11},
        {"udp from a:staff to b:staff", TRACE_DROP, 0},
        {"udp from a:Staff,-dept to b:servers", TRACE_DROP, 0},
        {"udp to b:admin,role=admin+web", TRACE_ACCEPT, 12},
        {"udp to b:role=admin", TRACE_DROP, 0},
        {"tcp from a to b port 80", TRACE_ACCEPT, 6},
        {"tcp dport 80", TRACE_ACCEPT, 6},
        {"tcp port 22", TRACE_DROP, 0},
        {"tcp from a:ssh to b port 22", TRACE_ACCEPT, 4},
        {"tcp from a:ssh,-ssh to b port 22", TRACE_DROP, 0},
        {"tcp from a to b:ssh port 22", TRACE_DROP, 0},
        {"ipprotocol 99", TRACE_ACCEPT, 5},
        {"ipprotocol 99 from a:-all", TRACE_DROP, 0},
        {"tcp sport 80 flags ack", TRACE_ACCEPT, 15},
        {"flags syn,ack ipsrc 10.1.2.3", TRACE_DROP, 14},
        {"tcp flags ack from a:ip=10.1.2.3", TRACE_DROP, 14},
        {"tcp flags ack ipdest fd00::7", TRACE_DROP, 14},
        {"tcp flags ack ipv6", TRACE_ACCEPT, 15},
        {"tcp flags none", TRACE_DROP, 0},
        {"icmp", TRACE_ACCEPT, 16},
        {"icmp 3 1", TRACE_DROP, 0},
        {"icmp 129 ipv6", TRACE_ACCEPT, 16},
        {"icmp6", TRACE_DROP, 0},
        {"udp chr multicast", TRACE_ACCEPT, 17},
        {"udp ipv6 chr multicast", TRACE_ACCEPT, 17},
        {"udp chr broadcast", TRACE_DROP, 0},
        {"udp framesize 1200 chr ipauth", TRACE_ACCEPT, 18},
        {"udp ipv6 framesize 1200 chr ipauth", TRACE_ACCEPT, 18},
        {"udp framesize 1200", TRACE_DROP, 0},
        {"udp to 1234567890 macsrc 02:00:00:00:00:01", TRACE_ACCEPT, 19},
        {"udp ztdest 1234567890 from a:mac=02:00:00:00:00:01", TRACE_ACCEPT, 19},
        {"udp to b:address=1234567890 from a:mac=02:00:00:00:00:01", TRACE_ACCEPT, 19},
        {"udp iptos 33", TRACE_ACCEPT, 20},
        {"udp ipv6 iptos 33", TRACE_ACCEPT, 20},
        {"sctp random 0.2", TRACE_ACCEPT, 21},
        {"sctp random 0.3", TRACE_DROP, 0},
        {"{\"etherType\":2054}", TRACE_ACCEPT, 7},
        {"{\"ip\":{\"version\":4,\"protocol\":6,\"destPort\":80},\"receiverTags\":{\"1\":0,\"3\":0}"
         "}",
         TRACE_ACCEPT, 6},
        {"{\"ip\":{\"protocol\":17},\"senderTags\":{\"1\":1},\"receiverTags\":{\"1\":2}}",
         TRACE_ACCEPT, 11},
        {"{\"ip\":{\"protocol\":6,\"destPort\":22},\"senderCapabilities\":[10],\"receiverTags\":{"
         "\"1\":0,\"3\":0}}",
         TRACE_ACCEPT, 4},
        {"{\"ip\":{\"protocol\":6,\"tcpFlags\":[\"tcp_ack\"]},\"receiverTags\":{\"1\":0,\"3\":0}}",
         TRACE_ACCEPT, 15},
        {"{\"frame\":\"ffffffffffff0200000000010806000108000604\"}", TRACE_ACCEPT, 7},
        {"{\"ip\":{\"protocol\":17},\"ztDest\":\"1234567890\",\"macSource\":"
         "\"02:00:00:00:00:01\",\"receiverTags\":{\"1\":0,\"3\":0}}",
         TRACE_ACCEPT, 19},
        {"{\"ip\":{\"protocol\":132},\"randomDraw\":4000000000,\"receiverTags\":{\"1\":0,\"3\":0}}",
         TRACE_DROP, 0},
        {"{\"ip\":{\"source\":\"fd00::1\",\"protocol\":17,\"tos\":33},\"receiverTags\":{\"1\":0,"
         "\"3\":0}}",
         TRACE_ACCEPT, 20},
    };
    struct fixture f;
    (void)state;
    begin(&f, script);
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct trace t;
        trace_text(&f, cases[i].text, &t);
        int line = deciding_line(&f, &t, 0);
        if (t.verdict != cases[i].verdict || line != cases[i].line) {
            fail_msg("%s: %s by line %d", cases[i].text, trace_verdict_name(t.verdict), line);
        }
        trace_done(&t);
    }
    end(&f);
}

static void test_what_no_packet_is_says_why(void **state)
{
    static const struct {
        const char *text;
        const char *error;
        size_t at;
    } cases[] = {
        {"tpc", "tpc: unknown, did you mean tcp?", 0},
        {"tcp from", "from whom?", 8},
        {"tcp port 70000", "70000: a number from 0 to 65535 is expected", 9},
        {"tcp port", "port: a number is missing", 8},
        {"port 5", "ports of which protocol? say tcp or udp", 0},
        {"tcp  from a:web", "web has several meanings: write place=web", 10},
        {"tcp to b:nobody", "nobody: no capability, flag or enum of the script", 7},
        {"tcp to b:dept=nobody", "nobody: no value of tag dept", 7},
        {"tcp to b:x=1", "x: the script has no such tag", 7},
        {"tcp to b:-x", "x: the script has no such tag or capability", 7},
        {"tcp ipsrc 10.0.0.0/8", "10.0.0.0/8: an IP address is expected", 10},
        {"tcp ipsrc 10.0.0.1 ipdest fd00::1", "an IP address is not of the packet's family", 0},
        {"flags syn,foo", "syn,foo: flags are syn, ack, fin, rst, psh, urg, ece, cwr, ns", 6},
        {"udp chr inbound", "inbound: inbound is the receiver's side; both are looked at", 8},
        {"random x", "random: a fraction from 0 to 1 is expected", 7},
        {"udp \xff", "this is not UTF-8 text", 4},
        {"{\"etherType\":70000}", "etherType: a number from 0 to 65535 is expected", 0},
        {"{\"frame\":\"00\"}", "frame: hexadecimal digits of a frame are expected", 0},
        {"{\"senderTags\":{\"x\":1}}", "senderTags: an object of IDs and values is expected", 0},
    };
    struct fixture f;
    (void)state;
    begin(&f, script);
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct packet_error error = {.text = ""};
        struct rdl_text text = {cases[i].text, strlen(cases[i].text)};
        assert_int_equal(packet_read(&f.policy, text, f.packet, &error), -EINVAL);
        assert_string_equal(error.text, cases[i].error);
        assert_int_equal(error.at, cases[i].at);
    }
    end(&f);
}

/* A sender that does not know the receiver's tags leaves the decision to it. */
static void test_a_tag_not_known_is_left_to_the_receiver(void **state)
{
    struct fixture f;
    struct trace t;
    (void)state;
    begin(&f, script);
    trace_text(&f, "udp from a:staff to b unknown", &t);
    assert_int_equal(t.sides[0].result.verdict, FILTER_ACCEPT);
    assert_int_equal(t.sides[1].result.verdict, FILTER_DROP);
    assert_int_equal(t.verdict, TRACE_DROP);
    bool left = false;
    for (size_t i = 0; i < t.sides[0].sets[0].count; i++) {
        left = left || t.sides[0].sets[0].steps[i].is_left;
    }
    assert_true(left);
    trace_done(&t);
    end(&f);
}

/* RL-45: through macros, for JSON and for people. */
static void test_explanations_name_the_lines(void **state)
{
    struct fixture f;
    struct trace t;
    char *text = NULL;
    size_t size;
    (void)state;
    begin(&f, "macro web($p) accept dport $p; ;\n"
              "drop not ethertype ipv4 or icmp 3 -1; # only IPv4\n"
              "include web(80)\n"
              "cap c id 1 default accept sport 5; ;\n");
    trace_text(&f, "tcp from al to b port 80", &t);
    FILE *out = open_memstream(&text, &size);
    trace_print(out, &t, &f.policy, f.packet, &f.script);
    assert_int_equal(fclose(out), 0);
    static const char side[] = "accept by a base rule, s:1:15: accept\n"
                               "  base rules\n"
                               "    2:10      no         not ethertype ipv4\n"
                               "    2:28      n/a        or icmp 3 -1\n"
                               "    2:1       -        drop\n"
                               "    1:22      yes        dport $p\n"
                               "    1:15      taken    accept   <==\n";
    char wanted[2048];
    (void)snprintf(wanted, sizeof(wanted),
                   "accept\nfrom al, aaaaaaaaaa, c\nto b, bbbbbbbbbb, c\n\nsender: %s\nreceiver: "
                   "%s",
                   side, side);
    assert_string_equal(text, wanted);
    free(text);
    trace_done(&t);
    trace_text(&f, "tcp from al to b sport 5", &t);
    json_t *json = trace_json(&t, &f.policy, &f.script);
    const json_t *by = vec_get(json_array_get(vec_get(json, "sides"), 1), "by");
    assert_string_equal(vec_text(by, "set"), "c");
    assert_int_equal(vec_int(by, "line"), 4);
    assert_int_equal(vec_int(by, "column"), 20);
    json_decref(json);
    trace_done(&t);
    end(&f);
}

/* ---- assertions ---- */

static char *check_assertions(struct fixture *f, const struct trace_script *assertions,
                              struct trace_tests *ret)
{
    char *text = NULL;
    size_t size;
    FILE *out = open_memstream(&text, &size);
    assert_non_null(out);
    assert_int_equal(trace_test(&f->policy, &f->script, assertions, out, ret), 0);
    assert_int_equal(fclose(out), 0);
    return text;
}

static void test_assertions_stand_in_comments(void **state)
{
    struct fixture f;
    struct trace_tests tests;
    (void)state;
    begin(&f, "accept dport 80; # expect drop tcp port 80, which is no assertion\n"
              "# expect accept tcp port 80\n"
              "\t#expect drop tcp from a to b port 81\r\n"
              "# we expect nothing here\n"
              "# expect accept udp port 81\n"
              "# expect tcp\n"
              "# expect drop udp prt 81");
    char *text = check_assertions(&f, &f.script, &tests);
    assert_int_equal(tests.count, 5);
    assert_int_equal(tests.failed, 3);
    assert_string_equal(
        text, "s:5:1: got drop, expected accept udp port 81\n"
              "    sender: none: no base rule decides, and the sender has no capability\n"
              "    receiver: none: no base rule decides, and the sender has no capability\n"
              "s:6:1: expect accept, drop or redirect, not 'tcp'\n"
              "s:7:19: prt: unknown, did you mean port?\n");
    free(text);
    end(&f);
}

static void test_assertions_stand_in_a_file_of_their_own(void **state)
{
    static const char own[] = "# what must work\n\n"
                              "expect accept tcp port 80   \n"
                              "expect drop tcp port 80\n"
                              "accept\n";
    const struct trace_script assertions = {"t", own, sizeof(own) - 1};
    struct fixture f;
    struct trace_tests tests;
    (void)state;
    begin(&f, "accept dport 80;\n# expect drop tcp port 80\n");
    char *text = check_assertions(&f, &assertions, &tests);
    assert_int_equal(tests.count, 3);
    assert_int_equal(tests.failed, 2);
    assert_string_equal(text, "t:4:1: got accept, expected drop tcp port 80\n"
                              "    sender: accept by a base rule, s:1:1: accept\n"
                              "    receiver: accept by a base rule, s:1:1: accept\n"
                              "t:5:1: expect or a comment is expected, not 'accept'\n");
    free(text);
    end(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_explanations_decide_as_nodes_do),
        cmocka_unit_test(test_rules_are_those_of_the_controller),
        cmocka_unit_test(test_words_make_packets),
        cmocka_unit_test(test_what_no_packet_is_says_why),
        cmocka_unit_test(test_a_tag_not_known_is_left_to_the_receiver),
        cmocka_unit_test(test_explanations_name_the_lines),
        cmocka_unit_test(test_assertions_stand_in_comments),
        cmocka_unit_test(test_assertions_stand_in_a_file_of_their_own),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
