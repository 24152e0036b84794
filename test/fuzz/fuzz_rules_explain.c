/* Descriptions of packets and assertions: a script, a NUL, and a text. Any text is a packet or an
 * error with a place inside it, and what is explained is what the evaluator decides. */
#include "fuzz.h"

#include "rules/trace.h"

#include <stdlib.h>
#include <string.h>

static void check_side(const struct policy *policy, const struct explain_side *side)
{
    const struct explain_set *base = &side->sets[0];
    fuzz_require(base->count == policy->count && base->decided <= base->count, "the base rules");
    fuzz_require(base->outcome == side->result.base, "the same outcome");
    fuzz_require(base->outcome == FILTER_NO_MATCH || base->decided < base->count,
                 "a rule that decided");
    fuzz_require(base->decided == base->count || rule_is_action(&policy->rules[base->decided]),
                 "an action");
}

static void check_packet(const struct policy *policy, const struct trace_script *script,
                         struct rdl_text text)
{
    struct packet *packet = calloc(1, sizeof(*packet));
    struct packet_error error;
    struct trace trace;
    fuzz_require(packet != NULL, "memory");
    if (packet_read(policy, text, packet, &error) < 0) {
        fuzz_require(error.at <= text.len && strlen(error.text) > 0, "an error with a place");
    } else {
        fuzz_require(packet->len <= sizeof(packet->payload), "a frame");
        fuzz_require(trace_packet(policy, packet, &trace) == 0, "memory");
        check_side(policy, &trace.sides[0]);
        check_side(policy, &trace.sides[1]);
        json_t *json = trace_json(&trace, policy, script);
        fuzz_require(json != NULL, "printable");
        json_decref(json);
        trace_done(&trace);
    }
    free(packet);
}

static void check_assertions(const struct policy *policy, const struct trace_script *script,
                             const struct trace_script *assertions)
{
    char *text = NULL;
    size_t size;
    struct trace_tests tests;
    FILE *out = open_memstream(&text, &size);
    fuzz_require(out != NULL, "memory");
    fuzz_require(trace_test(policy, script, assertions, out, &tests) == 0, "memory");
    fuzz_require(tests.failed <= tests.count, "counts");
    (void)fclose(out);
    free(text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    struct rdl_result *result = NULL;
    struct policy policy;
    const char *source = (const char *)data;
    const char *nul = memchr(data, 0, len);
    size_t script_len = nul != NULL ? (size_t)(nul - source) : len;
    size_t rest = nul != NULL ? len - script_len - 1 : 0;
    if (len > 8192) {
        return 0;
    }
    fuzz_require(rdl_compile(source, script_len, RDL_NORMAL, &result) == 0, "memory");
    if (result->is_ok && result->base.count <= 256) {
        const struct trace_script script = {"s", source, script_len};
        const struct trace_script other = {"t", source + (len - rest), rest};
        fuzz_require(policy_make(result, &policy) == 0, "memory");
        check_packet(&policy, &script, (struct rdl_text){other.source, rest});
        check_assertions(&policy, &script, &script);
        if (rest > 0) {
            check_assertions(&policy, &script, &other);
        }
        policy_done(&policy);
    }
    rdl_free(result);
    return 0;
}
