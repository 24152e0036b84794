/* Matches: operators, arguments, values. Source: spec 06 section 9. */
#include "rules/compile_priv.h"
#include "rules/number.h"
#include "rules/words.h"
#include "wire/rule.h"

#include <string.h>

/* What is wrong with a value. */
struct fault {
    const char *message; /* NULL: nothing */
    const char *hint;
    unsigned argument; /* which one */
};

static struct rdl_text lower_of(struct run *run, const struct argument *a)
{
    return a->is_replaced ? run_lower(run, a->text) : a->word->lower;
}

static bool hex_digit(char c)
{
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F');
}

/* The first most hex digits of a text in lower case, in groups of two with a separator unless it is
 * NUL. *ret_count: digits in the text. Returns text of the arena. */
static struct rdl_text hex_digits(struct run *run, struct rdl_text text, size_t most,
                                  char separator, size_t *ret_count)
{
    char *out = arena_alloc(run->arena, 2 * most);
    size_t len = 0;
    size_t count = 0;
    for (size_t i = 0; i < text.len && out != NULL; i++) {
        if (!hex_digit(text.p[i])) {
            continue;
        }
        if (count < most) {
            if (separator != '\0' && count > 0 && count % 2 == 0) {
                out[len++] = separator;
            }
            out[len++] = (char)(text.p[i] >= 'A' && text.p[i] <= 'F' ? text.p[i] + 32 : text.p[i]);
        }
        count++;
    }
    *ret_count = count;
    return (struct rdl_text){out, len};
}

/* ---- IP addresses: spec 06 section 9.4, tests that are not anchored ---- */

static bool has_ipv6(struct rdl_text t)
{
    unsigned groups = 0; /* that ended in a colon, one after the other */
    unsigned digits = 0; /* of the group under way */
    for (size_t i = 0; i < t.len; i++) {
        if (t.p[i] == ':') {
            if (i + 1 < t.len && t.p[i + 1] == ':') {
                return true;
            }
            /* A group of more than four digits can only be the first. */
            groups = digits == 0 ? 0 : digits > 4 ? 1 : groups + 1;
            digits = 0;
        } else if (hex_digit(t.p[i])) {
            digits++;
            if (groups >= 7) {
                return true;
            }
        } else {
            groups = 0;
            digits = 0;
        }
    }
    return false;
}

/* Digits at i that are a number up to 255. Returns how many, 0 for none. */
static size_t octet_len(struct rdl_text t, size_t i)
{
    unsigned value = 0;
    size_t n = 0;
    while (n < 3 && i + n < t.len && t.p[i + n] >= '0' && t.p[i + n] <= '9') {
        unsigned next = value * 10 + (unsigned)(t.p[i + n] - '0');
        if (next > 255) {
            break;
        }
        value = next;
        n++;
    }
    return n;
}

static bool has_ipv4(struct rdl_text t)
{
    for (size_t i = 0; i < t.len; i++) {
        size_t at = i;
        unsigned octets = 0;
        for (;;) {
            size_t n = octet_len(t, at);
            octets += n > 0 ? 1 : 0;
            at += n;
            if (n == 0 || octets == 4 || at >= t.len || t.p[at] != '.') {
                break;
            }
            at++;
        }
        if (octets == 4) {
            return true;
        }
    }
    return false;
}

static struct fault ip_value(const struct argument *a, struct rdl_entry *entry)
{
    const char *slash = memchr(a->text.p, '/', a->text.len);
    if (slash == NULL || slash == a->text.p) {
        return (struct fault){"Missing /bits netmask length designation in IP.",
                              "a single host is ADDRESS/32, by IPv6 ADDRESS/128", 0};
    }
    struct rdl_text address = {a->text.p, (size_t)(slash - a->text.p)};
    if (has_ipv6(address)) {
        entry->type = entry->type == RULE_IPV4_SOURCE ? RULE_IPV6_SOURCE : RULE_IPV6_DEST;
    } else if (!has_ipv4(address)) {
        return (struct fault){"Invalid IP address (not valid IPv4 or IPv6).",
                              "for example 10.0.0.0/8 or fd00::/8; hosts have no names", 0};
    }
    entry->text = a->text;
    return (struct fault){NULL, NULL, 0};
}

/* ---- numbers and names ---- */

static struct fault number_value(struct run *run, const struct match_word *m,
                                 const struct argument *a, struct rdl_entry *entry)
{
    int64_t (*lookup)(struct rdl_text) = m->kind == MATCH_ETHERTYPE  ? word_ethertype
                                         : m->kind == MATCH_PROTOCOL ? word_protocol
                                                                     : NULL;
    int64_t value = lookup != NULL ? lookup(a->text) : -1;
    if (lookup != NULL && value < 0 && !run->is_strict) {
        value = lookup(lower_of(run, a));
    }
    value = value >= 0 ? value : number_read(a->text);
    if (value < 0 || value > UINT32_MAX) {
        enum word_list list = m->kind == MATCH_ETHERTYPE ? WORDS_ETHERTYPES : WORDS_PROTOCOLS;
        const char *hint = lookup != NULL ? run_suggest(run, lower_of(run, a), list) : NULL;
        return (struct fault){"Invalid numeric value.", hint, 0};
    }
    entry->a = value;
    return (struct fault){NULL, NULL, 0};
}

/* Read "N" or "N-M" within 0..most. Returns false if it is none. */
static bool read_range(struct rdl_text t, int64_t most, int64_t *ret_start, int64_t *ret_end)
{
    const char *dash = t.len > 1 ? memchr(t.p + 1, '-', t.len - 1) : NULL;
    struct rdl_text first = t;
    struct rdl_text second = t;
    if (dash != NULL) {
        first.len = (size_t)(dash - t.p);
        second = (struct rdl_text){dash + 1, t.len - first.len - 1};
        if (memchr(second.p, '-', second.len) != NULL || memchr(first.p, '-', first.len) != NULL) {
            return false;
        }
    }
    int64_t start = number_read(first);
    int64_t end = number_read(second);
    if (start < 0 || end < 0 || start > end || end > most) {
        return false;
    }
    *ret_start = start;
    *ret_end = end;
    return true;
}

/* The bits of a list. Strictly, the two halves are combined like the reference does: signed, then
 * made positive (spec 06 section 9.5). */
static struct fault bits_value(struct run *run, const struct argument *a, struct rdl_entry *entry)
{
    uint64_t mask = 0;
    struct rdl_text piece;
    size_t at = 0;
    while (number_next_piece(a->text, ",", &at, &piece)) {
        if (piece.len == 0) {
            continue;
        }
        int64_t bit = word_characteristic(piece);
        if (bit < 0 && !run->is_strict) {
            bit = word_characteristic(run_lower(run, piece));
        }
        bit = bit >= 0 ? bit : number_read(piece);
        if (bit < 0 || bit > 63) {
            return (struct fault){"Invalid bit index (range 0-63) or unrecognized name.",
                                  run_suggest(run, run_lower(run, piece), WORDS_BITS), 0};
        }
        mask |= UINT64_C(1) << bit;
    }
    if (run->is_strict) {
        uint32_t upper = (uint32_t)(mask >> 32);
        uint32_t lower = (uint32_t)mask;
        upper = upper > INT32_MAX ? 0 - upper : upper;
        lower = lower > INT32_MAX ? 0 - lower : lower;
        mask = (uint64_t)upper << 32 | lower;
    }
    entry->mask = mask;
    return (struct fault){NULL, NULL, 0};
}

static struct fault icmp_value(const struct argument *a, struct rdl_entry *entry)
{
    entry->a = number_read(a[0].text);
    if (entry->a < 0 || entry->a > 255) {
        return (struct fault){"Missing or invalid ICMP type.", "a number from 0 to 255", 0};
    }
    entry->b = number_read(a[1].text);
    if (entry->b > 255) {
        return (struct fault){"Invalid ICMP code (use -1 for none).", "-1 or 0 to 255", 1};
    }
    entry->b = entry->b < 0 ? -1 : entry->b;
    return (struct fault){NULL, NULL, 0};
}

static struct fault tos_value(const struct argument *a, struct rdl_entry *entry)
{
    entry->a = number_read(a[0].text);
    if (entry->a < 0 || entry->a > 255) {
        return (struct fault){"Invalid mask.", "a number from 0 to 255", 0};
    }
    if (!read_range(a[1].text, 255, &entry->b, &entry->c)) {
        return (struct fault){"Invalid value range.", "N or N-M, from 0 to 255", 1};
    }
    return (struct fault){NULL, NULL, 0};
}

/* ---- tags ---- */

static const struct rdl_tag *tag_find(struct run *run, struct rdl_text name)
{
    const struct rdl_result *result = run->result;
    run_search(run, result->tag_count);
    for (size_t i = 0; i < result->tag_count; i++) {
        if (text_equal(result->tags[i].name, name)) {
            return &result->tags[i];
        }
    }
    return NULL;
}

static bool tag_value_find(struct run *run, const struct rdl_tag *tag, const struct argument *a,
                           int64_t *ret)
{
    run_search(run, tag->flags.count + tag->enums.count);
    if (values_find(&tag->flags, a->text, ret) || values_find(&tag->enums, a->text, ret)) {
        return true;
    }
    if (run->is_strict) {
        return false;
    }
    struct rdl_text lower = lower_of(run, a);
    return values_find(&tag->flags, lower, ret) || values_find(&tag->enums, lower, ret);
}

/* The tag that may be meant. */
static const char *tag_hint(struct run *run, struct rdl_text lower)
{
    const struct rdl_result *result = run->result;
    struct word_nearest nearest = word_nearest_to(lower);
    for (size_t i = 0; i < result->tag_count && run_may_hint(run); i++) {
        word_nearest_offer(&nearest, result->tags[i].name);
    }
    return nearest.found.p != NULL
               ? run_suggest_nearest(run, &nearest)
               : "no tag has this name; tags are defined by: tag NAME id NUMBER ;";
}

/* The flag or enum that may be meant. */
static const char *tag_value_hint(struct run *run, const struct rdl_tag *tag, struct rdl_text lower)
{
    struct word_nearest nearest = word_nearest_to(lower);
    for (size_t i = 0; tag != NULL && i < tag->flags.count && run_may_hint(run); i++) {
        word_nearest_offer(&nearest, tag->flags.items[i].name);
    }
    for (size_t i = 0; tag != NULL && i < tag->enums.count && run_may_hint(run); i++) {
        word_nearest_offer(&nearest, tag->enums.items[i].name);
    }
    return nearest.found.p != NULL ? run_suggest_nearest(run, &nearest)
                                   : "a number, or a name from the tag's definition";
}

static struct fault tag_value(struct run *run, const struct argument *a, struct rdl_entry *entry)
{
    const struct rdl_tag *tag = tag_find(run, a[0].text);
    if (tag == NULL && !run->is_strict) {
        tag = tag_find(run, lower_of(run, &a[0]));
    }
    if (tag != NULL && tag->is_broken) {
        return (struct fault){NULL, NULL, 0}; /* reported where it is defined */
    }
    entry->a = tag != NULL ? tag->id : number_read(a[0].text);
    if (entry->a < 0 || entry->a > UINT32_MAX) {
        return (struct fault){"Undefined tag name and invalid tag value.",
                              tag_hint(run, lower_of(run, &a[0])), 0};
    }
    if (tag == NULL || !tag_value_find(run, tag, &a[1], &entry->b)) {
        entry->b = number_read(a[1].text);
    }
    if (entry->b < 0 || entry->b > UINT32_MAX) {
        return (struct fault){"Invalid tag value or unrecognized flag/enum name.",
                              tag_value_hint(run, tag, lower_of(run, &a[1])), 1};
    }
    return (struct fault){NULL, NULL, 0};
}

static struct fault match_value(struct run *run, const struct match_word *m,
                                const struct argument *a, struct rdl_entry *entry)
{
    size_t count;
    switch (m->kind) {
    case MATCH_ZT:
        entry->text = hex_digits(run, a[0].text, 10, '\0', &count);
        return (struct fault){count == 10 ? NULL : "Invalid ZeroTier address.",
                              "ten hexadecimal digits", 0};
    case MATCH_MAC:
        entry->text = hex_digits(run, a[0].text, 12, ':', &count);
        return (struct fault){count >= 12 ? NULL : "Invalid MAC address.",
                              "twelve hexadecimal digits", 0};
    case MATCH_IP:
        return ip_value(&a[0], entry);
    case MATCH_TOS:
        return tos_value(a, entry);
    case MATCH_ICMP:
        return icmp_value(a, entry);
    case MATCH_RANGE:
        return (struct fault){
            read_range(a[0].text, 65535, &entry->a, &entry->b) ? NULL : "Invalid numeric range.",
            "N or N-M, from 0 to 65535; ports have no names", 0};
    case MATCH_CHARACTERISTICS:
        return bits_value(run, &a[0], entry);
    case MATCH_RANDOM:
        entry->a = number_read_fraction(a[0].text);
        run->arena->is_out = run->arena->is_out || entry->a < 0;
        return (struct fault){NULL, NULL, 0};
    case MATCH_TAG:
        return tag_value(run, a, entry);
    default:
        return number_value(run, m, &a[0], entry);
    }
}

/* ---- a match in its block ---- */

static const char no_argument[] = "Missing argument(s) to match.";
static const char bad_argument[] =
    "Missing argument(s) to match (invalid argument or argument is reserved word).";

/* A protocol may have the name of a match word: icmp. */
static bool is_free_word(const struct run *run, const struct match_word *m, const struct element *e)
{
    return !word_is_reserved(e->text) ||
           (!run->is_strict && m->kind == MATCH_PROTOCOL && word_protocol(e->text) >= 0);
}

/* What a match wants where word (NULL: nothing) stands. */
static const char *argument_hint(struct run *run, const struct match_word *m,
                                 const struct element *word)
{
    if (word != NULL && word->list == NULL && run_may_hint(run)) {
        return run_format(run, "%s takes %u argument%s; %.*s is a word of the language", m->word,
                          m->arguments, m->arguments == 1 ? "" : "s", (int)word->text.len,
                          word->text.p);
    }
    return run_may_hint(run) ? run_format(run, "%s takes %u argument%s", m->word, m->arguments,
                                          m->arguments == 1 ? "" : "s")
                             : NULL;
}

/* Take the arguments of the match at e. Returns the last word; NULL after an error. */
static const struct element *take_arguments(struct run *run, const struct scope *scope,
                                            const struct match_word *m, const struct element *e,
                                            struct argument *args)
{
    for (unsigned i = 0; i < m->arguments; i++) {
        const struct element *word = e->next;
        if (word == NULL || word->list != NULL || !is_free_word(run, m, word)) {
            run_fail(run, scope, &e->place, word == NULL ? no_argument : bad_argument,
                     argument_hint(run, m, word));
            return NULL;
        }
        args[i] = (struct argument){word, word->text, false};
        if (word->text.p[0] == '$') {
            if (!scope_replace(run, scope, &args[i].text)) {
                run_fail(run, scope, &word->place, "Undefined variable name.",
                         "variables are the parameters of a macro, inside it");
                return NULL;
            }
            args[i].is_replaced = true;
        }
        if (!run_work(run, scope, word, args[i].text.len)) {
            return NULL;
        }
        e = word;
    }
    return e;
}

static bool is_digits(struct rdl_text t)
{
    for (size_t i = 0; i < t.len; i++) {
        if (t.p[i] < '0' || t.p[i] > '9') {
            return false;
        }
    }
    return t.len > 0;
}

/* A range written as two numbers, "dport 22 23", which the reference refuses: last is the first of
 * them, as the argument a. Returns the last word of the range. */
static const struct element *second_number(const struct run *run, const struct match_word *m,
                                           const struct argument *a, const struct element *last,
                                           struct rdl_entry *entry)
{
    int64_t *end = m->kind == MATCH_TOS ? &entry->c : &entry->b;
    const struct element *next = last->next;
    bool is_range = m->kind == MATCH_RANGE || m->kind == MATCH_TOS;
    if (run->is_strict || !is_range || next == NULL || next->list != NULL || !is_digits(a->text) ||
        !is_digits(next->text)) {
        return last;
    }
    int64_t value = number_read(next->text);
    if (value < *end || value > (m->kind == MATCH_TOS ? 255 : 65535)) {
        return last;
    }
    *end = value;
    return next;
}

/* One match. Returns its last word; NULL after an error. */
static const struct element *match_one(struct run *run, const struct scope *scope,
                                       const struct match_word *m, const struct element *e,
                                       struct rdl_entry *entry)
{
    struct argument args[2];
    const struct element *last = take_arguments(run, scope, m, e, args);
    if (last == NULL) {
        return NULL;
    }
    struct fault fault = match_value(run, m, args, entry);
    if (fault.message != NULL) {
        run_fail(run, scope, &args[fault.argument].word->place, fault.message, fault.hint);
        return NULL;
    }
    note_match(run, scope, m, args, entry);
    return second_number(run, m, &args[m->arguments - 1], last, entry);
}

static void unknown_match(struct run *run, const struct scope *scope, const struct element *e)
{
    const char *hint;
    const char *message =
        run_format(run, "Unrecognized match type \"%.*s\".", (int)e->lower.len, e->lower.p);
    if (word_is_opener(e->lower) || text_is(e->lower, "include")) {
        hint = "a ';' is missing before this word, or the action above has no matches: put that "
               "one last, or into a macro";
    } else if (is_digits(e->text) || text_is(e->text, "-")) {
        hint = "a range is one word, 80-90; several ports are joined by: dport 80 or dport 90";
    } else {
        hint = run_suggest(run, e->lower, WORDS_MATCHES);
    }
    run_fail(run, scope, &e->place, message, hint);
}

/* After an error at e: the last element before one that may begin a match. An action that stands
 * here, because a terminator is missing, is compiled for the errors in it. */
static const struct element *recover(struct run *run, const struct scope *scope,
                                     const struct element *e, struct rdl_set *set)
{
    for (;; e = e->next) {
        bool is_definition =
            text_is(e->lower, "tag") || text_is(e->lower, "cap") || text_is(e->lower, "macro");
        if (e->list == NULL && !is_definition && word_is_opener(e->lower) &&
            tree_content(e) != NULL && run->nesting < RDL_NESTING_MAX) {
            run->nesting++;
            (void)compile_statement(run, scope, e, set);
            run->nesting--;
        }
        const struct element *next = e->next;
        if (next == NULL || run->is_stopped ||
            (next->list == NULL && (word_match(next->lower) != NULL))) {
            return e;
        }
    }
}

bool match_all(struct run *run, const struct scope *scope, const struct element *e,
               struct rdl_set *set)
{
    bool is_not = false;
    bool is_or = false;
    bool is_good = true;
    struct match_order order = {.count = 0};
    for (; e != NULL && !run->is_stopped; e = e->next) {
        note_operators(run, scope, &order, e);
        if (e->list != NULL || text_is(e->lower, "and")) {
            continue;
        }
        if (!run_work(run, scope, e, e->text.len)) {
            return false;
        }
        if (text_is(e->lower, "not")) {
            is_not = true;
            continue;
        }
        if (text_is(e->lower, "or")) {
            is_or = true;
            continue;
        }
        const struct match_word *m = word_match(e->lower);
        if (m == NULL) {
            unknown_match(run, scope, e);
            e = recover(run, scope, e, set);
            is_good = false;
            continue;
        }
        struct rdl_entry *entry = run_add(run, scope, set, e, m->type);
        if (entry == NULL) {
            return false;
        }
        entry->is_not = is_not;
        entry->is_or = is_or;
        const struct element *last = match_one(run, scope, m, e, entry);
        is_good = is_good && last != NULL;
        /* The word after a match is its argument, however wrong. */
        bool has_word = e->next != NULL && e->next->list == NULL;
        e = last != NULL ? last : recover(run, scope, has_word ? e->next : e, set);
        is_not = false;
        is_or = false;
    }
    note_operators(run, scope, &order, NULL);
    return is_good && !run->is_stopped;
}
