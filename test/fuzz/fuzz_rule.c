/* Rules: reading, counting, writing. */
#include "fuzz.h"

#include "wire/rule.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    static struct rule rules[RULES_BASE_MAX];
    static struct rule back[RULES_BASE_MAX];
    static uint8_t out[RULES_BASE_MAX * RULE_WIRE_MAX];
    struct rd r = rd_init(data, len);
    struct wr w = wr_init(out, sizeof(out));
    int count = rules_count(r, RULES_BASE_MAX);
    size_t n;

    if (count < 0) {
        fuzz_require(rules_read(&r, rules, RULES_BASE_MAX) < 0 && r.bad, "malformed in both ways");
        return 0;
    }
    n = (size_t)count;
    fuzz_require(rules_read(&r, rules, n) == 0, "as many as counted");
    rules_write(&w, rules, n);
    fuzz_require(!w.bad && wr_len(&w) == rules_wire_len(rules, n), "promised length");
    r = rd_init(out, wr_len(&w));
    fuzz_require(rules_read(&r, back, n) == 0 && rd_done(&r) == 0, "written rules read");
    fuzz_require(rules_equal(rules, n, back, n), "round trip");
    return 0;
}
