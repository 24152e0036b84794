/* JSON back to text, for networks whose script is lost. What the language cannot say becomes a
 * comment and is counted. Source: spec 06 section 16.8. */
#include "rules/rdl.h"
#include "rules/unicode.h"
#include "rules/words.h"
#include "wire/rule.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { WORDS_MAX = 512 };

struct writer {
    FILE *out;
    size_t lost;        /* entries that could not be written */
    bool uses_macro[3]; /* always_accept, always_drop, always_break */
};

static const char *const bare[] = {"accept", "drop", "break"};

static bool get_int(const json_t *obj, const char *key, json_int_t least, json_int_t most,
                    json_int_t *ret)
{
    const json_t *v = json_object_get(obj, key);
    *ret = json_integer_value(v);
    return json_is_integer(v) && *ret >= least && *ret <= most;
}

/* A text that can stand as one argument of an action; NULL otherwise. */
static const char *get_target(const json_t *obj, const char *key)
{
    const char *text = json_string_value(json_object_get(obj, key));
    if (text == NULL || text[0] == '\0' || text[0] == '#' ||
        strlen(text) != json_string_length(json_object_get(obj, key)) ||
        strpbrk(text, " \t\r\n") != NULL || text[strlen(text) - 1] == ';') {
        return NULL;
    }
    return text;
}

/* The same for a match, where neither variables nor reserved words can stand. */
static const char *get_word(const json_t *obj, const char *key)
{
    const char *text = get_target(obj, key);
    return text != NULL && text[0] != '$' && !word_is_reserved(text_of(text)) ? text : NULL;
}

/* Names of the bits of a mask, highest first. */
static bool print_bits(char *out, size_t cap, const char *hex)
{
    size_t len = 0;
    char *end;
    uint64_t mask = strtoull(hex, &end, 16);
    if (*end != '\0' || strlen(hex) > 16) {
        return false;
    }
    for (unsigned bit = 64; bit-- > 0;) {
        if ((mask >> bit & 1) == 0) {
            continue;
        }
        const char *name = word_characteristic_name(bit);
        const char *comma = len > 0 ? "," : "";
        int n = name != NULL ? snprintf(out + len, cap - len, "%s%s", comma, name)
                             : snprintf(out + len, cap - len, "%s%u", comma, bit);
        len += (size_t)n;
    }
    if (len == 0) {
        (void)snprintf(out, cap, ",");
    }
    return true;
}

/* The shortest fraction that is read as a probability. */
static void print_fraction(char *out, size_t cap, json_int_t probability)
{
    double f = ((double)probability + 0.5) / 4294967295.0;
    for (int digits = 1; digits <= 17; digits++) {
        (void)snprintf(out, cap, "%.*g", digits, f);
        if ((json_int_t)(strtod(out, NULL) * 4294967295.0) == probability) {
            return;
        }
    }
}

static bool print_range(char *out, size_t cap, const json_t *entry, json_int_t most)
{
    json_int_t start;
    json_int_t end;
    if (!get_int(entry, "start", 0, most, &start) || !get_int(entry, "end", start, most, &end)) {
        return false;
    }
    if (start == end) {
        (void)snprintf(out, cap, "%" JSON_INTEGER_FORMAT, start);
    } else {
        (void)snprintf(out, cap, "%" JSON_INTEGER_FORMAT "-%" JSON_INTEGER_FORMAT, start, end);
    }
    return true;
}

/* The arguments of a match. Returns false if the language cannot say them. */
static bool print_arguments(char *out, size_t cap, const json_t *entry, const struct match_word *m)
{
    json_int_t a;
    json_int_t b = -1;
    const char *text;
    int n;
    switch (m->kind) {
    case MATCH_ZT:
    case MATCH_MAC:
    case MATCH_IP:
        text = get_word(entry, m->field);
        return text != NULL && (size_t)snprintf(out, cap, "%s", text) < cap;
    case MATCH_TOS:
        if (!get_int(entry, "mask", 0, 255, &a)) {
            return false;
        }
        n = snprintf(out, cap, "%" JSON_INTEGER_FORMAT " ", a);
        return print_range(out + n, cap - (size_t)n, entry, 255);
    case MATCH_ICMP:
        if (!get_int(entry, "icmpType", 0, 255, &a) ||
            (!json_is_null(json_object_get(entry, "icmpCode")) &&
             !get_int(entry, "icmpCode", 0, 255, &b))) {
            return false;
        }
        b = json_is_null(json_object_get(entry, "icmpCode")) ? -1 : b;
        break;
    case MATCH_RANGE:
        return print_range(out, cap, entry, UINT16_MAX);
    case MATCH_CHARACTERISTICS:
        text = get_word(entry, "mask");
        return text != NULL && print_bits(out, cap, text);
    case MATCH_TAG:
        if (!get_int(entry, "id", 0, UINT32_MAX, &a) ||
            !get_int(entry, "value", 0, UINT32_MAX, &b)) {
            return false;
        }
        break;
    default:
        if (!get_int(entry, m->field, 0, UINT32_MAX, &a)) {
            return false;
        }
        if (m->kind == MATCH_RANDOM) {
            print_fraction(out, cap, a);
        } else {
            (void)snprintf(out, cap, "%" JSON_INTEGER_FORMAT, a);
        }
        return true;
    }
    (void)snprintf(out, cap, "%" JSON_INTEGER_FORMAT " %" JSON_INTEGER_FORMAT, a, b);
    return true;
}

static int type_of(const json_t *entry)
{
    const char *name = json_string_value(json_object_get(entry, "type"));
    return name != NULL ? rule_type_from_name(name) : -1;
}

static bool is_action_type(int type)
{
    return type >= 0 && type <= RULE_ACTION_LAST;
}

/* An action word with its arguments. Returns false if the language cannot say it. */
static bool print_action(char *out, size_t cap, const json_t *entry, int type)
{
    json_int_t length;
    const char *target = get_target(entry, "address");
    if (json_integer_value(json_object_get(entry, "flags")) != 0) {
        return false;
    }
    switch (type) {
    case RULE_ACCEPT:
    case RULE_DROP:
    case RULE_BREAK:
        (void)snprintf(out, cap, "%s", bare[type == RULE_ACCEPT ? 0 : type == RULE_DROP ? 1 : 2]);
        return true;
    case RULE_TEE:
    case RULE_WATCH:
        return target != NULL && get_int(entry, "length", -1, UINT16_MAX, &length) &&
               (size_t)snprintf(out, cap, "%s %" JSON_INTEGER_FORMAT " %s",
                                type == RULE_TEE ? "tee" : "watch", length, target) < cap;
    case RULE_REDIRECT:
        return target != NULL && (size_t)snprintf(out, cap, "redirect %s", target) < cap;
    default:
        return false;
    }
}

/* What cannot be said, as a comment. */
static void print_lost(struct writer *w, const json_t *entry)
{
    char *text = json_dumps(entry, JSON_COMPACT | JSON_ENSURE_ASCII | JSON_ENCODE_ANY);
    (void)fprintf(w->out, "# cannot be written: %s\n", text != NULL ? text : "?");
    free(text);
    w->lost++;
}

/* The word of a match and its arguments; NULL if the language cannot say them. */
static const struct match_word *say_match(char *out, size_t cap, const json_t *entry)
{
    int type = type_of(entry);
    const struct match_word *m = type >= 0 ? word_match_of_type((unsigned)type) : NULL;
    return m != NULL && print_arguments(out, cap, entry, m) ? m : NULL;
}

static void print_match(struct writer *w, const json_t *entry, bool is_first, const char *indent)
{
    char words[WORDS_MAX];
    const struct match_word *m = say_match(words, sizeof(words), entry);
    bool is_or = json_is_true(json_object_get(entry, "or"));
    if (m != NULL) {
        (void)fprintf(w->out, "%s  %s%s%s %s\n", indent,
                      is_or      ? "or "
                      : is_first ? ""
                                 : "and ",
                      json_is_true(json_object_get(entry, "not")) ? "not " : "", m->word, words);
    }
}

/* An action without matches and arguments; is_last: nothing follows in the script. */
static void print_bare(struct writer *w, const char *word, bool is_last, const char *indent)
{
    for (size_t i = 0; i < COUNT_OF(bare) && !is_last; i++) {
        w->uses_macro[i] = w->uses_macro[i] || strcmp(word, bare[i]) == 0;
    }
    (void)fprintf(w->out, is_last ? "%s%s;\n" : "%sinclude always_%s\n", indent, word);
}

/* Entries first to last - 1 are matches of the action at last. */
static void print_statement(struct writer *w, const json_t *rules, size_t first, size_t last,
                            const char *indent, bool is_end)
{
    char words[WORDS_MAX];
    const json_t *action = json_array_get(rules, last);
    int type = type_of(action);
    /* An action that loses one of its matches would be another action: all or nothing. */
    bool is_whole = true;
    for (size_t i = first; i < last && is_whole; i++) {
        is_whole = say_match(words, sizeof(words), json_array_get(rules, i)) != NULL;
    }
    if (!is_whole || !print_action(words, sizeof(words), action, type)) {
        for (size_t i = first; i <= last; i++) {
            print_lost(w, json_array_get(rules, i));
        }
        return;
    }
    if (first == last && strchr(words, ' ') == NULL) {
        print_bare(w, words, is_end && last + 1 == json_array_size(rules), indent);
        return;
    }
    (void)fprintf(w->out, "%s%s\n", indent, words);
    for (size_t i = first; i < last; i++) {
        print_match(w, json_array_get(rules, i), i == first, indent);
    }
    (void)fprintf(w->out, "%s;\n", indent);
}

static void print_rules(struct writer *w, const json_t *rules, const char *indent, bool is_end)
{
    size_t first = 0;
    for (size_t i = 0; i < json_array_size(rules); i++) {
        if (is_action_type(type_of(json_array_get(rules, i)))) {
            print_statement(w, rules, first, i, indent, is_end);
            first = i + 1;
        }
    }
    for (; first < json_array_size(rules); first++) {
        print_lost(w, json_array_get(rules, first));
    }
}

static bool is_good_name(const char *name)
{
    return name != NULL && word_is_name(text_of(name)) && !word_is_reserved(text_of(name));
}

static uint32_t number_of(const json_t *obj, const char *key)
{
    return (uint32_t)json_integer_value(json_object_get(obj, key));
}

static void print_flag(struct writer *w, const char *name, uint32_t mask)
{
    (void)fputs("  flag ", w->out);
    const char *comma = "";
    for (unsigned bit = 0; bit < 32; bit++) {
        if ((mask >> bit & 1) != 0) {
            (void)fprintf(w->out, "%s%u", comma, bit);
            comma = ",";
        }
    }
    (void)fprintf(w->out, " %s\n", name);
}

static void print_tag(struct writer *w, const char *name, const json_t *tag)
{
    const char *value;
    json_t *number;
    (void)fprintf(w->out, "tag %s\n  id %" PRIu32 "\n", name, number_of(tag, "id"));
    json_object_foreach(json_object_get(tag, "flags"), value, number)
    {
        if (word_is_name(text_of(value)) && (uint32_t)json_integer_value(number) != 0) {
            print_flag(w, value, (uint32_t)json_integer_value(number));
        } else {
            print_lost(w, number);
        }
    }
    json_object_foreach(json_object_get(tag, "enums"), value, number)
    {
        if (word_is_name(text_of(value))) {
            (void)fprintf(w->out, "  enum %" PRIu32 " %s\n", (uint32_t)json_integer_value(number),
                          value);
        } else {
            print_lost(w, number);
        }
    }
    if (json_is_integer(json_object_get(tag, "default"))) {
        (void)fprintf(w->out, "  default %" PRIu32 "\n", number_of(tag, "default"));
    }
    (void)fputs(";\n", w->out);
}

static void print_tags(struct writer *w, const json_t *names, const json_t *tags)
{
    const char *name;
    json_t *tag;
    size_t i;
    if (json_object_size(names) == json_array_size(tags)) {
        json_object_foreach((json_t *)names, name, tag)
        {
            if (is_good_name(name)) {
                print_tag(w, name, tag);
            } else {
                print_lost(w, tag);
            }
        }
        return;
    }
    json_array_foreach((json_t *)tags, i, tag)
    {
        char text[32];
        (void)snprintf(text, sizeof(text), "tag_%" PRIu32, number_of(tag, "id"));
        print_tag(w, text, tag);
    }
}

static void print_capability(struct writer *w, const json_t *names, const json_t *cap)
{
    const char *name;
    const char *found = NULL;
    json_t *id;
    char text[32];
    json_object_foreach((json_t *)names, name, id)
    {
        if (json_integer_value(id) == json_integer_value(json_object_get(cap, "id")) &&
            is_good_name(name)) {
            found = name;
        }
    }
    (void)snprintf(text, sizeof(text), "cap_%" PRIu32, number_of(cap, "id"));
    (void)fprintf(w->out, "cap %s\n  id %" PRIu32 "\n%s", found != NULL ? found : text,
                  number_of(cap, "id"),
                  json_is_true(json_object_get(cap, "default")) ? "  default\n" : "");
    print_rules(w, json_object_get(cap, "rules"), "  ", false);
    (void)fputs(";\n", w->out);
}

/* The script without its macros. */
static void print_all(struct writer *w, const json_t *network)
{
    const json_t *config = json_object_get(network, "config");
    size_t i;
    json_t *cap;
    config = config != NULL ? config : network;
    print_tags(w, json_object_get(network, "tagsByName"), json_object_get(config, "tags"));
    json_array_foreach(json_object_get(config, "capabilities"), i, cap)
    {
        print_capability(w, json_object_get(network, "capabilitiesByName"), cap);
    }
    print_rules(w, json_object_get(config, "rules"), "", true);
}

char *rdl_decompile(const json_t *network, size_t *ret_lost)
{
    struct writer w = {.lost = 0};
    char *body = NULL;
    char *text = NULL;
    size_t size;
    w.out = open_memstream(&body, &size);
    if (w.out == NULL) {
        return NULL;
    }
    print_all(&w, network);
    bool is_whole = fclose(w.out) == 0;
    w.out = is_whole ? open_memstream(&text, &size) : NULL;
    for (size_t i = 0; i < COUNT_OF(bare) && w.out != NULL; i++) {
        if (w.uses_macro[i]) {
            (void)fprintf(w.out, "macro always_%s\n  %s;\n;\n", bare[i], bare[i]);
        }
    }
    if (w.out != NULL) {
        (void)fputs(body, w.out);
        is_whole = fclose(w.out) == 0;
    }
    free(body);
    if (!is_whole) {
        free(text);
        return NULL;
    }
    *ret_lost = w.lost;
    return text;
}
