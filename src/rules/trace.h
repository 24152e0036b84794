/* What a network does with a described packet, on both sides, by the lines of its script; and
 * assertions about it. Source: spec 06 section 16.7, doc/rules.md. */
#pragma once

#include "rules/explain.h"
#include "rules/packet.h"
#include "rules/policy.h"

#include <stdio.h>

enum trace_verdict {
    TRACE_ACCEPT,   /* both sides accept */
    TRACE_DROP,     /* one does not */
    TRACE_REDIRECT, /* one sends it elsewhere */
};

struct trace {
    enum trace_verdict verdict;
    struct explain_side sides[2]; /* the sender's, the receiver's */
};

/* A script and what it is called, for places. */
struct trace_script {
    const char *name;
    const char *source; /* len bytes */
    size_t len;
};

/* Decide as the two nodes would. Returns 0 with *ret to be given to trace_done; -ENOMEM. */
MUST_CHECK int trace_packet(const struct policy *policy, const struct packet *packet,
                            struct trace *ret);
void trace_done(struct trace *t);

/* "accept", "drop", "redirect". */
const char *trace_verdict_name(enum trace_verdict verdict);

/* One line a side: verdict and the rule that decided, each line behind indent. */
void trace_print_summary(FILE *out, const struct trace *t, const struct policy *policy,
                         const struct trace_script *script, const char *indent);

/* The whole way: each rule that was looked at, with what came out. */
void trace_print(FILE *out, const struct trace *t, const struct policy *policy,
                 const struct packet *packet, const struct trace_script *script);

/* {verdict, sides: [{side, verdict, by: {set, index, line, column}, steps, tee}]}; NULL out of
 * memory. */
json_t *trace_json(const struct trace *t, const struct policy *policy,
                   const struct trace_script *script);

/* ---- assertions ---- */

struct trace_tests {
    size_t count;
    size_t failed;
};

/* Check the assertions of a text: lines "expect accept|drop|redirect PACKET"; in a script these are
 * comments. Failures are written to out, one line and the reason each. assertions may be the script
 * itself. Returns 0; -ENOMEM. */
MUST_CHECK int trace_test(const struct policy *policy, const struct trace_script *script,
                          const struct trace_script *assertions, FILE *out,
                          struct trace_tests *ret);
