/* What lint has to know of single words, noted while they are compiled. Source: spec 06 section
 * 16.5, W101 to W109, W113. */
#include "rules/compile_priv.h"
#include "rules/number.h"
#include "wire/inetaddr.h"
#include "wire/rule.h"

#include <string.h>

void run_note(struct run *run, const struct scope *scope, const struct rdl_place *at, unsigned code,
              const char *detail)
{
    struct rdl_result *result = run->result;
    for (size_t i = 0; i < result->finding_count; i++) {
        if (result->findings[i].code == code && result->findings[i].place.at == at->at) {
            return;
        }
    }
    if (result->finding_count >= RDL_FINDINGS_MAX) {
        return;
    }
    struct rdl_finding *grown = arena_grow(run->arena, result->findings, result->finding_count,
                                           &run->finding_room, sizeof(*grown));
    if (grown != NULL) {
        result->findings = grown;
        grown[result->finding_count++] =
            (struct rdl_finding){.code = code,
                                 .place = *at,
                                 .via = scope != NULL ? scope->include : NULL,
                                 .detail = text_of(detail != NULL ? detail : "")};
    }
}

/* ---- values ---- */

/* W101 for a piece of an argument that was read as an integer. */
static void note_integer(struct run *run, const struct scope *scope, const struct argument *a,
                         struct rdl_text piece)
{
    int64_t value = number_read(piece);
    if (value >= 0 && !number_is_whole(piece)) {
        run_note(
            run, scope, &a->word->place, 101,
            run_format(run, "'%.*s' is read as %lld", (int)piece.len, piece.p, (long long)value));
    }
}

/* The same for "N", "N-M" or a list. */
static void note_pieces(struct run *run, const struct scope *scope, const struct argument *a,
                        const char *separators)
{
    struct rdl_text piece;
    struct rdl_text rest = a->text;
    size_t at = 0;
    bool has_sign = rest.len > 0 && (rest.p[0] == '-' || rest.p[0] == '+');
    if (has_sign) {
        rest.p++; /* never splits */
        rest.len--;
    }
    while (number_next_piece(rest, separators, &at, &piece)) {
        note_integer(run, scope, a, piece);
    }
}

static void note_random(struct run *run, const struct scope *scope, const struct argument *a)
{
    if (number_fraction_is_none(a->text)) {
        run_note(run, scope, &a->word->place, 102, "it is read as 0: never");
    } else if (!number_fraction_is_whole(a->text)) {
        run_note(run, scope, &a->word->place, 101, NULL);
    }
}

static void note_icmp(struct run *run, const struct scope *scope, const struct argument *args)
{
    note_integer(run, scope, &args[0], args[0].text);
    note_integer(run, scope, &args[1], args[1].text);
    if (number_is_none(args[1].text)) {
        run_note(run, scope, &args[1].word->place, 102, "it is read as any code");
    }
}

static void note_number(struct run *run, const struct scope *scope, const struct argument *a,
                        const struct rdl_entry *entry)
{
    static const struct {
        uint8_t type;
        uint16_t most;
    } limits[] = {{RULE_VLAN_ID, 4095},
                  {RULE_VLAN_PCP, 7},
                  {RULE_VLAN_DEI, 1},
                  {RULE_ETHERTYPE, 65535},
                  {RULE_IP_PROTOCOL, 255}};
    note_integer(run, scope, a, a->text);
    for (size_t i = 0; i < COUNT_OF(limits); i++) {
        if (entry->type == limits[i].type && entry->a > limits[i].most) {
            run_note(run, scope, &a->word->place, 103,
                     run_format(run, "the highest is %u", (unsigned)limits[i].most));
        }
    }
}

static void note_prefix(struct run *run, const struct scope *scope, const struct argument *a,
                        const struct rdl_entry *entry)
{
    bool is_v4 = entry->type == RULE_IPV4_SOURCE || entry->type == RULE_IPV4_DEST;
    struct inetaddr ip;
    if (!number_read_prefix(entry->text, is_v4 ? INETADDR_V4 : INETADDR_V6, &ip)) {
        run_note(run, scope, &a->word->place, 104, NULL);
        return;
    }
    for (unsigned i = 0; i < inetaddr_ip_len(&ip); i++) {
        unsigned bits = ip.port > 8 * i ? ip.port - 8 * i : 0;
        unsigned mask = bits >= 8 ? 0xff : 0xff00U >> bits & 0xff;
        if ((ip.ip[i] & ~mask & 0xff) != 0) {
            run_note(run, scope, &a->word->place, is_v4 ? 106 : 105, NULL);
            return;
        }
    }
}

void note_match(struct run *run, const struct scope *scope, const struct match_word *m,
                const struct argument *args, const struct rdl_entry *entry)
{
    switch (m->kind) {
    case MATCH_NUMBER:
    case MATCH_ETHERTYPE:
    case MATCH_PROTOCOL:
        note_number(run, scope, &args[0], entry);
        break;
    case MATCH_IP:
        note_prefix(run, scope, &args[0], entry);
        break;
    case MATCH_TOS:
        note_integer(run, scope, &args[0], args[0].text);
        note_pieces(run, scope, &args[1], "-");
        break;
    case MATCH_ICMP:
        note_icmp(run, scope, args);
        break;
    case MATCH_RANGE:
        note_pieces(run, scope, &args[0], "-");
        break;
    case MATCH_CHARACTERISTICS:
        note_pieces(run, scope, &args[0], ",");
        break;
    case MATCH_RANDOM:
        note_random(run, scope, &args[0]);
        break;
    case MATCH_TAG:
        note_integer(run, scope, &args[0], args[0].text);
        note_integer(run, scope, &args[1], args[1].text);
        break;
    default:
        break;
    }
}

void note_forward(struct run *run, const struct scope *scope, const struct argument *length,
                  const struct argument *target)
{
    if (length != NULL) {
        note_integer(run, scope, length, length->text);
        if (number_is_none(length->text)) {
            run_note(run, scope, &length->word->place, 102, "it is read as -1: whole frames");
        }
    }
    for (size_t i = 0; i < target->text.len; i++) {
        if (strchr("0123456789abcdefABCDEF", target->text.p[i]) == NULL) {
            run_note(run, scope, &target->word->place, 113, NULL);
            return;
        }
    }
}

void note_default(struct run *run, const struct rdl_tag *tag, const struct element *word)
{
    int64_t value;
    if (values_find(&tag->enums, word->text, &value) ||
        values_find(&tag->flags, word->text, &value)) {
        return;
    }
    if (number_is_none(word->text)) {
        bool is_lower = values_find(&tag->enums, word->lower, &value) ||
                        values_find(&tag->flags, word->lower, &value);
        run_note(run, NULL, &word->place, 102,
                 is_lower ? run_format(run, "it is read as 0; write %.*s", (int)word->lower.len,
                                       word->lower.p)
                          : "it is read as 0");
        return;
    }
    if (!number_is_whole(word->text)) {
        run_note(run, NULL, &word->place, 101, NULL);
    }
}

/* ---- operators ---- */

static enum operators operators_add(enum operators before, const struct element *e)
{
    if (text_is(e->lower, "and")) {
        return before == OPS_NONE ? OPS_AND : OPS_ODD;
    }
    if (text_is(e->lower, "or")) {
        return before == OPS_NONE ? OPS_OR : OPS_ODD;
    }
    return before == OPS_NONE  ? OPS_NOT
           : before == OPS_AND ? OPS_AND_NOT
           : before == OPS_OR  ? OPS_OR_NOT
                               : OPS_ODD;
}

static bool is_operator(const struct element *e)
{
    return e->list == NULL &&
           (text_is(e->lower, "and") || text_is(e->lower, "or") || text_is(e->lower, "not"));
}

void note_operators(struct run *run, const struct scope *scope, struct match_order *order,
                    const struct element *e)
{
    if (e != NULL && e->list != NULL) {
        return;
    }
    if (e != NULL && is_operator(e)) {
        order->operators = operators_add(order->operators, e);
        order->first_operator = order->first_operator != NULL ? order->first_operator : e;
        order->has_or = order->has_or || text_is(e->lower, "or");
        return;
    }
    if (order->operators == OPS_ODD || (e == NULL && order->operators != OPS_NONE)) {
        run_note(run, scope, &order->first_operator->place, 108,
                 e == NULL ? "no match follows" : NULL);
    }
    if (e == NULL) {
        return;
    }
    if (order->has_or && order->count == 0) {
        run_note(run, scope, &order->first_operator->place, 107, NULL);
    }
    if (order->has_or && order->has_and && !order->is_mixed) {
        run_note(run, scope, &order->first_operator->place, 109, NULL);
        order->is_mixed = true;
    }
    order->has_and = order->has_and || (order->count > 0 && !order->has_or);
    order->count++;
    order->operators = OPS_NONE;
    order->first_operator = NULL;
    order->has_or = false;
}
