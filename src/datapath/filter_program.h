/* Rule sets made ready for speed: what a match compares with what is worked out once, and what a
 * false match makes superfluous is jumped over. Says exactly what the rules say. Pure.
 * Source: spec 03 section 16.2, 16.3; RUL-3, RUL-6. */
#pragma once

#include "wire/rule.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { FILTER_PROGRAM_MIN = 12 }; /* shorter sets are as fast without */

/* What of a frame and its way most matches look at. */
enum filter_field {
    FIELD_NOTHING, /* 0 */
    FIELD_SOURCE,  /* member addresses */
    FIELD_DEST,
    FIELD_MAC_SOURCE,
    FIELD_MAC_DEST,
    FIELD_IPV4_SOURCE,
    FIELD_IPV4_DEST,
    FIELD_IPV6_SOURCE, /* first half */
    FIELD_IPV6_DEST,   /* likewise */
    FIELD_TOS,
    FIELD_PROTOCOL,
    FIELD_ETHERTYPE,
    FIELD_SOURCE_PORT, /* FILTER_NO_PORT: none that could match */
    FIELD_DEST_PORT,
    FIELD_CHARACTERISTICS, /* without the two of the sender */
    FIELD_LEN,
    FIELD_COUNT
};

enum { FILTER_NO_PORT = 0x10000 };

struct filter_fields {
    uint64_t value[FIELD_COUNT];
    uint32_t valid; /* bits by field: without it a match is a hard no */
};

enum filter_op_kind {
    FILTER_OP_FIELD, /* compare */
    FILTER_OP_MATCH, /* ask filter_match */
    FILTER_OP_ACTION,
};

/* One entry of a rule set. */
struct filter_op {
    uint64_t mask; /* FIELD: true if (value & mask) - first <= span, modulo 2^64 */
    uint64_t first;
    uint64_t span;
    uint8_t kind;  /* enum filter_op_kind */
    uint8_t field; /* enum filter_field */
    bool is_not : 1;
    bool is_or : 1;
    bool resets : 1;   /* at on_false the state is true again */
    uint16_t rule;     /* the entry it was made of */
    uint16_t on_false; /* where to go on if the state is false after it */
};

/* Make ops of count (at most RULES_BASE_MAX) rules, one of each. */
void filter_compile(const struct rule *rules, size_t count, struct filter_op *ops);
