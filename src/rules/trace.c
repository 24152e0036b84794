/* Explanations of packets as text and JSON. */
#include "rules/trace.h"

#include "rules/words.h"
#include "wire/rule.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

/* ---- the decision ---- */

static uint32_t draw(void *ctx)
{
    const struct packet *p = ctx;
    return p->draw;
}

/* The capabilities a member has, in order. out has room for all of the policy. */
static uint16_t capabilities_of(const struct policy *policy, const struct packet_member *m,
                                struct filter_capability *out)
{
    uint16_t count = 0;
    for (size_t i = 0; i < policy->capability_count; i++) {
        const struct policy_capability *c = &policy->capabilities[i];
        for (uint16_t k = 0; k < m->capability_count; k++) {
            if (m->capabilities[k] == c->source->id) {
                out[count++] = (struct filter_capability){.timestamp = 1,
                                                          .rules = c->rules,
                                                          .id = c->source->id,
                                                          .rule_count = (uint32_t)c->count};
                break;
            }
        }
    }
    return count;
}

/* What the sender's certificate says. */
static void certify(const struct packet *p, struct ownership *own)
{
    memset(own, 0, sizeof(*own));
    int error = 0;
    if (p->has_ipauth) {
        error = ownership_add_ip(own, p->source_ip.ip, inetaddr_ip_len(&p->source_ip));
    }
    if (p->has_macauth && error == 0) {
        error = ownership_add_mac(own, p->source_mac);
    }
    (void)error; /* there is room for two */
}

static enum trace_verdict verdict_of(const struct explain_side sides[2])
{
    for (int i = 0; i < 2; i++) {
        const struct filter_result *r = &sides[i].result;
        for (size_t k = 0; k < r->effect_count; k++) {
            if (r->effects[k].is_redirect) {
                return TRACE_REDIRECT;
            }
        }
        if (r->verdict == FILTER_DROP) {
            return TRACE_DROP;
        }
    }
    return TRACE_ACCEPT;
}

int trace_packet(const struct policy *policy, const struct packet *packet, struct trace *ret)
{
    struct ownership own;
    struct filter_ownership certificate = {.timestamp = 1, .things = own.things};
    struct filter_capability *caps = calloc(2 * policy->capability_count + 1, sizeof(*caps));
    if (caps == NULL) {
        return -ENOMEM;
    }
    certify(packet, &own);
    certificate.count = own.count;
    struct filter_capability *more = caps + policy->capability_count;
    const struct filter_credentials sender = {
        .tags = packet->sender.tags,
        .ownerships = &certificate,
        .capabilities = caps,
        .tag_count = packet->sender.tag_count,
        .ownership_count = 1,
        .capability_count = capabilities_of(policy, &packet->sender, caps),
    };
    const struct filter_credentials receiver = {
        .tags = packet->receiver.tags,
        .capabilities = more,
        .tag_count = packet->receiver.tag_count,
        .capability_count = capabilities_of(policy, &packet->receiver, more),
    };
    const struct filter_frame frame = {.source_mac = packet->source_mac,
                                       .dest_mac = packet->dest_mac,
                                       .payload = packet->payload,
                                       .len = packet->len,
                                       .ethertype = (uint16_t)packet->ethertype};
    struct filter_network network = {
        .timestamp = 1, .window = 1, .rules = policy->rules, .rule_count = (uint16_t)policy->count};
    struct filter_input in = {.network = &network,
                              .frame = &frame,
                              .source = packet->sender.address,
                              .dest = packet->receiver.address,
                              .draw = draw,
                              .draw_ctx = (void *)packet};
    network.self = packet->sender.address;
    network.own = sender;
    in.remote = packet->is_unknown ? NULL : &receiver;
    int error = explain_side(&in, false, &ret->sides[0]);
    if (error == 0) {
        network.self = packet->receiver.address;
        network.own = receiver;
        in.remote = &sender;
        error = explain_side(&in, true, &ret->sides[1]);
        if (error < 0) {
            explain_done(&ret->sides[0]);
        } else {
            ret->verdict = verdict_of(ret->sides);
        }
    }
    free(caps);
    return error;
}

void trace_done(struct trace *t)
{
    explain_done(&t->sides[0]);
    explain_done(&t->sides[1]);
}

const char *trace_verdict_name(enum trace_verdict verdict)
{
    static const char *const names[] = {"accept", "drop", "redirect"};
    return names[verdict];
}

/* ---- which rule it was ---- */

/* The script's form of a set, and what it is called. */
static const struct rdl_set *script_set(const struct policy *policy, const struct explain_set *set,
                                        struct rdl_text *ret_name)
{
    *ret_name = text_of("base");
    for (size_t i = 0; !set->is_base && i < policy->capability_count; i++) {
        const struct rdl_capability *c = policy->capabilities[i].source;
        if (c->id == set->id) {
            *ret_name = c->name;
            return &c->rules;
        }
    }
    return &policy->result->base;
}

/* The set whose action decided, or NULL: no set accepted, and the base rules did not drop. */
static const struct explain_set *deciding_set(const struct explain_side *side)
{
    if (side->result.by_capability) {
        return &side->sets[side->set_count - 1];
    }
    return side->result.base != FILTER_NO_MATCH ? &side->sets[0] : NULL;
}

static const char *side_verdict(const struct explain_side *side)
{
    for (size_t i = 0; i < side->result.effect_count; i++) {
        if (side->result.effects[i].is_redirect) {
            return "redirect";
        }
    }
    return side->result.verdict != FILTER_DROP ? "accept"
           : deciding_set(side) != NULL        ? "drop"
                                               : "none";
}

/* ---- text ---- */

/* The words of a rule in the script: from its own to where the next match or action begins. */
static void print_words(FILE *out, const struct trace_script *script, const struct rdl_place *place)
{
    enum { WORDS_MAX = 4 };
    size_t at = place->at;
    for (int i = 0; i < WORDS_MAX && at < script->len; i++) {
        size_t end = at;
        while (end < script->len && strchr(" \t\r\n;", script->source[end]) == NULL) {
            end++;
        }
        struct rdl_text word = {script->source + at, end - at};
        bool is_next = word_match(word) != NULL || word_is_opener(word) || text_is(word, "and") ||
                       text_is(word, "or") || text_is(word, "not") || text_is(word, "include");
        bool is_comment = end > at && script->source[at] == '#';
        if (i > 0 && (is_next || is_comment || end == at)) {
            return;
        }
        (void)fprintf(out, "%s%.*s", i > 0 ? " " : "", (int)word.len, word.p);
        if (end >= script->len || script->source[end] == ';') {
            return;
        }
        at = end + strspn(script->source + end, " \t");
        if (at < script->len && (script->source[at] == '\n' || script->source[at] == '\r')) {
            return;
        }
    }
}

static void print_place(FILE *out, const struct trace_script *script, const struct rdl_entry *e)
{
    uint32_t line;
    uint32_t column;
    rdl_line_column(script->source, script->len, e->place.at, &line, &column);
    (void)fprintf(out, "%s:%u:%u", script->name, line, column);
}

static const char *mark(const struct explain_set *set, size_t i, const struct rdl_entry *e)
{
    const struct explain_step *step = &set->steps[i];
    if (e->type <= RULE_ACTION_LAST) {
        bool is_drop = e->type == RULE_DROP;
        return !step->is_true ? "-" : is_drop && i != set->decided ? "left" : "taken";
    }
    return step->is_skipped ? "skipped"
           : step->is_left  ? "left"
           : !step->applies ? "n/a"
           : step->is_true  ? "yes"
                            : "no";
}

static void print_set(FILE *out, const struct explain_set *set, const struct policy *policy,
                      const struct trace_script *script)
{
    struct rdl_text name;
    const struct rdl_set *source = script_set(policy, set, &name);
    (void)fprintf(out, set->is_base ? "  base rules\n" : "  capability %.*s\n", (int)name.len,
                  name.p);
    for (size_t i = 0; i < set->count && i <= set->decided; i++) {
        const struct rdl_entry *e = &source->entries[i];
        bool is_action = e->type <= RULE_ACTION_LAST;
        char place[32];
        uint32_t line;
        uint32_t column;
        rdl_line_column(script->source, script->len, e->place.at, &line, &column);
        (void)snprintf(place, sizeof(place), "%u:%u", line, column);
        (void)fprintf(out, "    %-9s %-8s %s%s%s", place, mark(set, i, e), is_action ? "" : "  ",
                      e->is_or ? "or " : "", e->is_not ? "not " : "");
        print_words(out, script, &e->place);
        (void)fputs(i == set->decided ? "   <==\n" : "\n", out);
    }
    if (set->decided == set->count) {
        (void)fputs("    end of the rules\n", out);
    }
}

static void print_side(FILE *out, const struct explain_side *side, const struct policy *policy,
                       const struct trace_script *script)
{
    const struct explain_set *set = deciding_set(side);
    (void)fprintf(out, "%s: %s", side->is_inbound ? "receiver" : "sender", side_verdict(side));
    if (set == NULL) {
        bool has_break = side->sets[0].decided < side->sets[0].count;
        (void)fprintf(out, ": %s%s\n",
                      has_break ? "the base rules break off" : "no base rule decides",
                      side->set_count > 1 ? ", and no capability of the sender accepts"
                                          : ", and the sender has no capability");
        return;
    }
    struct rdl_text name;
    const struct rdl_set *source = script_set(policy, set, &name);
    (void)fprintf(out, set->is_base ? " by a base rule" : " by capability %.*s", (int)name.len,
                  name.p);
    if (set->decided < set->count) {
        const struct rdl_entry *e = &source->entries[set->decided];
        (void)fputs(", ", out);
        print_place(out, script, e);
        (void)fputs(": ", out);
        print_words(out, script, &e->place);
    }
    (void)fputc('\n', out);
}

void trace_print_summary(FILE *out, const struct trace *t, const struct policy *policy,
                         const struct trace_script *script, const char *indent)
{
    for (int i = 0; i < 2; i++) {
        (void)fputs(indent, out);
        print_side(out, &t->sides[i], policy, script);
    }
}

/* A member with what it has. */
static void print_member(FILE *out, const struct policy *policy, const char *role,
                         const struct packet_member *m)
{
    const struct rdl_result *result = policy->result;
    (void)fprintf(out, "%s %s%s%010" PRIx64, role, m->name, m->name[0] != '\0' ? ", " : "",
                  m->address);
    for (uint16_t i = 0; i < m->tag_count; i++) {
        size_t k = 0;
        while (k < result->tag_count && result->tags[k].id != m->tags[i].id) {
            k++;
        }
        if (k < result->tag_count) {
            (void)fprintf(out, ", %.*s=%u", (int)result->tags[k].name.len, result->tags[k].name.p,
                          m->tags[i].value);
        } else {
            (void)fprintf(out, ", %u=%u", m->tags[i].id, m->tags[i].value);
        }
    }
    for (size_t i = 0; i < policy->capability_count; i++) {
        const struct rdl_capability *c = policy->capabilities[i].source;
        for (uint16_t k = 0; k < m->capability_count; k++) {
            if (m->capabilities[k] == c->id) {
                (void)fprintf(out, ", %.*s", (int)c->name.len, c->name.p);
            }
        }
    }
    (void)fputc('\n', out);
}

static void print_effects(FILE *out, const struct explain_side *side)
{
    for (size_t i = 0; i < side->result.effect_count; i++) {
        const struct filter_effect *f = &side->result.effects[i];
        (void)fprintf(out, "  %s %010" PRIx64 ", %zu bytes\n",
                      f->is_redirect ? "goes to" : "copy to", f->target, f->len);
    }
}

void trace_print(FILE *out, const struct trace *t, const struct policy *policy,
                 const struct packet *packet, const struct trace_script *script)
{
    (void)fprintf(out, "%s\n", trace_verdict_name(t->verdict));
    print_member(out, policy, "from", &packet->sender);
    print_member(out, policy, "to", &packet->receiver);
    for (int i = 0; i < 2; i++) {
        const struct explain_side *side = &t->sides[i];
        (void)fputc('\n', out);
        print_side(out, side, policy, script);
        print_effects(out, side);
        for (size_t k = 0; k < side->set_count; k++) {
            print_set(out, &side->sets[k], policy, script);
        }
    }
}

/* ---- JSON ---- */

static void set_place(json_t *obj, const struct trace_script *script, const struct rdl_entry *e)
{
    uint32_t line;
    uint32_t column;
    rdl_line_column(script->source, script->len, e->place.at, &line, &column);
    json_object_set_new(obj, "line", json_integer((json_int_t)line));
    json_object_set_new(obj, "column", json_integer((json_int_t)column));
}

static json_t *rule_json(const struct explain_set *set, const struct policy *policy,
                         const struct trace_script *script, size_t i)
{
    struct rdl_text name;
    const struct rdl_set *source = script_set(policy, set, &name);
    json_t *obj =
        json_pack("{s:o,s:I}", "set", json_stringn(name.p, name.len), "index", (json_int_t)i);
    if (obj != NULL && i < set->count) {
        set_place(obj, script, &source->entries[i]);
    }
    return obj;
}

static void add_steps(json_t *array, const struct explain_set *set, const struct policy *policy,
                      const struct trace_script *script)
{
    struct rdl_text name;
    const struct rdl_set *source = script_set(policy, set, &name);
    for (size_t i = 0; i < set->count && i <= set->decided; i++) {
        const struct explain_step *step = &set->steps[i];
        const struct rdl_entry *e = &source->entries[i];
        json_t *obj = rule_json(set, policy, script, i);
        json_object_set_new(obj, "type", json_string(rule_type_name(e->type)));
        if (e->type <= RULE_ACTION_LAST) {
            json_object_set_new(obj, "taken", json_boolean(step->is_true));
        } else {
            json_object_set_new(obj, "applicable", json_boolean(step->applies));
            json_object_set_new(
                obj, "matched",
                json_boolean(step->is_left || (step->applies && step->is_true != e->is_not)));
            json_object_set_new(obj, "not", json_boolean(e->is_not));
            json_object_set_new(obj, "or", json_boolean(e->is_or));
            json_object_set_new(obj, "skipped", json_boolean(step->is_skipped));
            json_object_set_new(obj, "leftToReceiver", json_boolean(step->is_left));
            json_object_set_new(obj, "state", json_boolean(step->state));
        }
        json_array_append_new(array, obj);
    }
}

static json_t *side_json(const struct explain_side *side, const struct policy *policy,
                         const struct trace_script *script)
{
    const struct explain_set *set = deciding_set(side);
    json_t *steps = json_array();
    json_t *tee = json_array();
    json_t *redirect = NULL;
    for (size_t i = 0; i < side->set_count; i++) {
        add_steps(steps, &side->sets[i], policy, script);
    }
    for (size_t i = 0; i < side->result.effect_count; i++) {
        const struct filter_effect *f = &side->result.effects[i];
        char address[11];
        (void)snprintf(address, sizeof(address), "%010" PRIx64, f->target);
        if (f->is_redirect) {
            redirect = json_string(address);
        } else {
            json_array_append_new(
                tee, json_pack("{s:s,s:I}", "address", address, "length", (json_int_t)f->len));
        }
    }
    return json_pack("{s:s,s:s,s:o,s:o,s:o,s:o}", "side", side->is_inbound ? "inbound" : "outbound",
                     "verdict", side_verdict(side), "by",
                     set != NULL ? rule_json(set, policy, script, set->decided) : json_null(),
                     "steps", steps, "tee", tee, "redirect",
                     redirect != NULL ? redirect : json_null());
}

json_t *trace_json(const struct trace *t, const struct policy *policy,
                   const struct trace_script *script)
{
    return json_pack("{s:s,s:[o,o]}", "verdict", trace_verdict_name(t->verdict), "sides",
                     side_json(&t->sides[0], policy, script),
                     side_json(&t->sides[1], policy, script));
}
