/* Assertions about a script: "expect accept tcp from a:staff to b port 22". In the script itself
 * they are comments, so that every compiler leaves them alone. Source: doc/rules.md. */
#include "rules/trace.h"
#include "rules/words.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* One line being checked. */
struct line {
    struct rdl_text text; /* without end */
    size_t at;            /* of it in the text */
};

static bool is_blank(char c)
{
    return c == ' ' || c == '\t' || c == '\r';
}

/* Cut the next word off the front of the line. */
static struct rdl_text cut_word(struct line *line)
{
    size_t i = 0;
    while (i < line->text.len && is_blank(line->text.p[i])) {
        i++;
    }
    size_t start = i;
    while (i < line->text.len && !is_blank(line->text.p[i])) {
        i++;
    }
    struct rdl_text word = {line->text.p + start, i - start};
    line->text.p += i;
    line->text.len -= i;
    line->at += i;
    return word;
}

/* Next line of a text from *at on. */
static bool next_line(const struct trace_script *text, size_t *at, struct line *ret)
{
    if (*at >= text->len) {
        return false;
    }
    const char *start = text->source + *at;
    const char *end = memchr(start, '\n', text->len - *at);
    size_t len = end != NULL ? (size_t)(end - start) : text->len - *at;
    *ret = (struct line){.text = {start, len}, .at = *at};
    *at += len + 1;
    return true;
}

static void print_at(FILE *out, const struct trace_script *text, size_t at)
{
    uint32_t line;
    uint32_t column;
    rdl_line_column(text->source, text->len, (uint32_t)at, &line, &column);
    (void)fprintf(out, "%s:%u:%u: ", text->name, line, column);
}

/* A test being run. */
struct runner {
    const struct policy *policy;
    const struct trace_script *script;
    const struct trace_script *assertions;
    FILE *out;
    struct trace_tests *tests;
    struct packet *packet;
};

static int check(struct runner *r, struct line line, size_t start)
{
    static const enum trace_verdict verdicts[] = {TRACE_ACCEPT, TRACE_DROP, TRACE_REDIRECT};
    struct packet_error error;
    struct trace trace;
    struct line rest = line;
    struct rdl_text wanted = cut_word(&rest);
    size_t i = 0;
    r->tests->count++;
    while (i < COUNT_OF(verdicts) && !text_is(wanted, trace_verdict_name(verdicts[i]))) {
        i++;
    }
    if (i == COUNT_OF(verdicts)) {
        print_at(r->out, r->assertions, start);
        (void)fprintf(r->out, "expect accept, drop or redirect, not '%.*s'\n", (int)wanted.len,
                      wanted.p);
        r->tests->failed++;
        return 0;
    }
    while (rest.text.len > 0 && is_blank(rest.text.p[0])) {
        rest.text.p++;
        rest.text.len--;
        rest.at++;
    }
    int bad = packet_read(r->policy, rest.text, r->packet, &error);
    if (bad == -EINVAL) {
        print_at(r->out, r->assertions, rest.at + error.at);
        (void)fprintf(r->out, "%s\n", error.text);
        r->tests->failed++;
        return 0;
    }
    bad = bad == 0 ? trace_packet(r->policy, r->packet, &trace) : bad;
    if (bad < 0) {
        return bad;
    }
    if (trace.verdict != verdicts[i]) {
        print_at(r->out, r->assertions, start);
        (void)fprintf(r->out, "got %s, expected%.*s\n", trace_verdict_name(trace.verdict),
                      (int)line.text.len, line.text.p);
        trace_print_summary(r->out, &trace, r->policy, r->script, "    ");
        r->tests->failed++;
    }
    trace_done(&trace);
    return 0;
}

int trace_test(const struct policy *policy, const struct trace_script *script,
               const struct trace_script *assertions, FILE *out, struct trace_tests *ret)
{
    struct runner r = {.policy = policy,
                       .script = script,
                       .assertions = assertions,
                       .out = out,
                       .tests = ret,
                       .packet = calloc(1, sizeof(*r.packet))};
    struct line line;
    size_t at = 0;
    int error = r.packet != NULL ? 0 : -ENOMEM;
    bool in_script = assertions->source == script->source;
    *ret = (struct trace_tests){.count = 0};
    while (error == 0 && next_line(assertions, &at, &line)) {
        struct rdl_text word = cut_word(&line);
        size_t start = line.at - word.len;
        bool is_comment = word.len > 0 && word.p[0] == '#';
        if (is_comment && in_script) {
            /* "# expect" or "#expect". */
            word = word.len > 1 ? (struct rdl_text){word.p + 1, word.len - 1} : cut_word(&line);
        } else if (is_comment != in_script) {
            continue;
        }
        if (text_is(word, "expect")) {
            error = check(&r, line, start);
        } else if (!in_script && word.len > 0) {
            print_at(out, assertions, start);
            (void)fprintf(out, "expect or a comment is expected, not '%.*s'\n", (int)word.len,
                          word.p);
            ret->count++;
            ret->failed++;
        }
    }
    free(r.packet);
    return error;
}
