/* The words of the rule language. Source: spec 06 sections 3.1, 5.1, 9.3, 11. */
#pragma once

#include "rules/rdl.h"

/* What the arguments of a match are. */
enum match_kind {
    MATCH_ZT,
    MATCH_MAC,
    MATCH_IP,
    MATCH_NUMBER,
    MATCH_ETHERTYPE,
    MATCH_PROTOCOL,
    MATCH_TOS,
    MATCH_ICMP,
    MATCH_RANGE,
    MATCH_CHARACTERISTICS,
    MATCH_RANDOM,
    MATCH_TAG,
};

struct match_word {
    const char *word;
    const char *field; /* JSON member, for kinds of one number or text */
    uint8_t type;      /* enum rule_type; of IP matches the IPv4 one, IPv6 is two further */
    uint8_t kind;      /* enum match_kind */
    uint8_t arguments; /* number of them */
};

/* A name with a value. */
struct symbol {
    const char *name;
    uint32_t value;
};

bool text_is(struct rdl_text a, const char *b);
bool text_equal(struct rdl_text a, struct rdl_text b);
struct rdl_text text_of(const char *terminated);

bool word_is_opener(struct rdl_text word);
bool word_is_reserved(struct rdl_text word);

/* A name as spec 06 section 5.2 allows it. */
bool word_is_name(struct rdl_text word);

/* The match of a lower-case word, or of a rule type; NULL for none. */
const struct match_word *word_match(struct rdl_text lower);
const struct match_word *word_match_of_type(unsigned type);

/* Value of a symbol, by exact name; -1 for none. */
int64_t word_ethertype(struct rdl_text name);
int64_t word_protocol(struct rdl_text name);
int64_t word_characteristic(struct rdl_text name);

/* Name of a characteristic's bit, NULL for none. */
const char *word_characteristic_name(unsigned bit);

/* The word most like an unknown one, of those that may stand for an action, a match, an ethertype,
 * a protocol or a characteristic; NULL if none is close. */
enum word_list {
    WORDS_ACTIONS,
    WORDS_MATCHES,
    WORDS_ETHERTYPES,
    WORDS_PROTOCOLS,
    WORDS_BITS,
    WORDS_PACKETS, /* descriptions of packets */
};
const char *word_suggest(struct rdl_text lower, enum word_list list);

/* The nearest to a lower-case word of those offered one by one; found.p is NULL until one is close.
 */
struct word_nearest {
    struct rdl_text wanted;
    struct rdl_text found;
    unsigned distance; /* of found */
};

struct word_nearest word_nearest_to(struct rdl_text lower);
void word_nearest_offer(struct word_nearest *n, struct rdl_text word);
