/* The rule definition language: text to compiled sets of rules. Errors are data; every one has a
 * place in the text, the reference's wording and position, and where we know better a hint. Pure.
 * Source: spec 06. Not here: what rules mean for frames (datapath/filter.h), binary rules (wire).
 */
#pragma once

#include "base/attr.h"

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum rdl_mode {
    RDL_NORMAL, /* spec 06 section 16.1: the reference's results, and more scripts compile */
    RDL_STRICT, /* the reference exactly, with its defects: for scripts that must stay portable */
};

/* Bounds. What exceeds one is an error with a place. */
enum {
    RDL_SOURCE_MAX = 1 << 20, /* bytes of a script */
    RDL_TOKENS_MAX = 1 << 17, /* words of a script */
    RDL_ENTRIES_MAX = 16384,  /* rules of a set, after expansion */
    RDL_NAMES_MAX = 1024,     /* tags, capabilities, macros; flags and enums of a tag; parameters */
    RDL_INCLUDE_DEPTH_MAX = 64,   /* macros within macros */
    RDL_NESTING_MAX = 64,         /* actions taken out of actions that miss their terminator */
    RDL_WORK_MAX = 4 * (1 << 20), /* bytes of words looked at while macros expand */
    RDL_ERRORS_MAX = 32,          /* errors reported; the rest is counted */
    RDL_FINDINGS_MAX = 256,       /* of lint; the rest is left out */
};

/* Text of given length, not terminated. */
struct rdl_text {
    const char *p;
    size_t len;
};

/* A word's place in the source. */
struct rdl_place {
    uint32_t at;     /* byte offset */
    uint32_t len;    /* bytes, without terminators */
    uint32_t line;   /* as the reference counts: spec 06 section 2.4 */
    uint32_t column; /* as the reference counts, in UTF-16 units */
};

/* One macro inclusion that a rule came by. */
struct rdl_include {
    const struct rdl_include *outer; /* NULL: not inside a macro */
    struct rdl_place place;          /* of the macro reference */
};

/* A compiled rule. Values are as written: a controller narrows them (spec 06 section 9.3). */
struct rdl_entry {
    uint8_t type;                  /* enum rule_type */
    bool is_not;                   /* matches only */
    bool is_or;                    /* matches only */
    int64_t a;                     /* number, id, start, ICMP type, TOS mask, length, probability */
    int64_t b;                     /* end, value, ICMP code (-1: any), TOS start */
    int64_t c;                     /* TOS end */
    uint64_t mask;                 /* characteristics */
    struct rdl_text text;          /* addresses: as they stand in the JSON */
    struct rdl_place place;        /* of the match or action word */
    const struct rdl_include *via; /* innermost inclusion, or NULL */
};

/* An ordered rule set. */
struct rdl_set {
    struct rdl_entry *entries; /* count of them */
    size_t count;
    size_t room; /* allocated */
};

/* Name of a value of a tag. */
struct rdl_value {
    struct rdl_text name; /* lower case */
    int64_t value;        /* negative only for flags in strict mode */
};

struct rdl_values {
    struct rdl_value *items; /* count of them, in order of definition */
    size_t count;
    size_t room; /* allocated */
};

struct rdl_tag {
    struct rdl_text name; /* lower case */
    struct rdl_place place;
    uint32_t id;
    bool has_default;
    int64_t preset; /* the default; negative only in strict mode */
    struct rdl_values flags;
    struct rdl_values enums;
    bool is_broken; /* its definition had an error */
};

struct rdl_capability {
    struct rdl_text name; /* lower case */
    struct rdl_place place;
    uint32_t id;
    bool is_default;
    bool is_broken; /* it has no good ID */
    struct rdl_set rules;
};

struct rdl_error {
    struct rdl_place place;
    const struct rdl_include *via; /* innermost inclusion, or NULL */
    struct rdl_text message;       /* the reference's where it has one */
    struct rdl_text hint;          /* what to do about it; may be empty */
    bool is_internal;              /* the reference has an internal failure here */
};

enum rdl_severity {
    RDL_ERROR,       /* almost certainly wrong */
    RDL_WARNING,     /* suspicious */
    RDL_INFORMATION, /* good to know */
};

/* Something that compiles and may not be meant. Source: spec 06 section 16.5. */
struct rdl_finding {
    unsigned code; /* 101 for W101 */
    struct rdl_place place;
    const struct rdl_include *via; /* innermost inclusion, or NULL */
    struct rdl_text detail;        /* what it is here, beside the text of the code; may be empty */
};

/* A result. Everything in it lives as long as it does. */
struct rdl_result {
    bool is_ok;
    bool is_documented; /* compiled by the documented grammar: the reference refuses the script */
    struct rdl_set base;
    struct rdl_capability *capabilities; /* in order of definition */
    size_t capability_count;
    struct rdl_tag *tags; /* in order of definition */
    size_t tag_count;
    struct rdl_error *errors; /* unless ok at least one; the first is the one of the reference */
    size_t error_count;
    size_t errors_left_off;       /* errors found beyond RDL_ERRORS_MAX */
    struct rdl_finding *findings; /* complete after rdl_lint, sorted by place */
    size_t finding_count;
};

/* Compile a script. source: len bytes of UTF-8 without terminator, borrowed for the call.
 * Returns 0 with *ret to be given to rdl_free, whether the script compiled or not (is_ok);
 * -ENOMEM. Source: spec 06 sections 3 to 12 and 16.1. */
MUST_CHECK int rdl_compile(const char *source, size_t len, enum rdl_mode mode,
                           struct rdl_result **ret);
void rdl_free(struct rdl_result *result);

/* Look for what compiles and may not be meant, into the findings of an ok result of normal mode;
 * once a result. source: the text it was compiled from. Returns 0; -ENOMEM. Source: spec 06 section
 * 16.5. */
MUST_CHECK int rdl_lint(struct rdl_result *result, const char *source, size_t len);

/* How bad a finding is, and what its code means (constant text). */
enum rdl_severity rdl_severity(unsigned code);
const char *rdl_finding_text(unsigned code);

/* Lay a script out anew: one statement a line where it fits in 80 columns, else one match a line;
 * comments stay. What it compiles to stays, in both modes: that is tested. source: not NULL.
 * Returns 0 with *ret, terminated, on the heap; -EINVAL it does not compile; -ENOTSUP its meaning
 * would change; -ENOMEM. Source: spec 06 section 16.9. */
MUST_CHECK int rdl_format(const char *source, size_t len, char **ret);

/* A script that compiles to the rules, capabilities and tags of a network: the object of
 * rdl_result_json, or a network of a controller. *ret_lost: entries that the language cannot say,
 * which are comments. Returns text on the heap; NULL out of memory. Source: spec 06 section 16.8.
 */
char *rdl_decompile(const json_t *network, size_t *ret_lost);

/* Rules of a set as a JSON array in the controller's form; NULL out of memory. */
json_t *rdl_set_json(const struct rdl_set *set);

/* The whole result (is_ok) as the object of spec 06 section 13.4; NULL out of memory. */
json_t *rdl_result_json(const struct rdl_result *result);

/* Where each rule comes from: {rules: [...], capabilities: {name: [...]}} with an object {line,
 * column, endLine, endColumn, includedAt} for each entry of a set, in order; NULL out of memory.
 * Source: spec 06 section 16.7. */
json_t *rdl_source_map_json(const struct rdl_result *result, const char *source, size_t len);

/* True place of a byte offset: one-based line and column in characters, CRLF one line. */
void rdl_line_column(const char *source, size_t len, uint32_t at, uint32_t *ret_line,
                     uint32_t *ret_column);

/* The errors for people: file, place, message, line with a caret, inclusions, hint. name: what the
 * script is called. Returns text on the heap; NULL out of memory. */
char *rdl_errors_text(const struct rdl_result *result, const char *source, size_t len,
                      const char *name);

/* The findings like the errors, "file:line:column: warning W101: ...". */
char *rdl_findings_text(const struct rdl_result *result, const char *source, size_t len,
                        const char *name);

/* The findings as a JSON array of {code, severity, line, column, endLine, endColumn, message,
 * detail, includedAt}; NULL out of memory. */
json_t *rdl_findings_json(const struct rdl_result *result, const char *source, size_t len);

/* The errors as a JSON array of {line, column, endLine, endColumn, message, hint, reference:
 * {line, column}, includedAt: [{line, column}]}; NULL out of memory. */
json_t *rdl_errors_json(const struct rdl_result *result, const char *source, size_t len);
