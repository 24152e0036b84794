/* Lint: what compiles and may not be meant. Findings of single words were noted by the compiler
 * (notes.c); here is what takes the whole result, or other readings of the script.
 * Source: spec 06 section 16.5. */
#include "rules/lint.h"

#include "wire/capability.h"
#include "wire/credential.h"
#include "wire/rule.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static const struct {
    unsigned code;
    enum rdl_severity severity;
    const char *text;
} catalogue[] = {
    {101, RDL_WARNING, "Text after the number is ignored."},
    {102, RDL_ERROR, "This is no number and is read as one."},
    {103, RDL_ERROR, "The number is too large and is cut."},
    {104, RDL_ERROR, "This is no IP address with a prefix length."},
    {105, RDL_ERROR, "Bits below the prefix are set: this never matches on old nodes."},
    {106, RDL_INFORMATION, "Bits below the prefix are set and are ignored."},
    {107, RDL_ERROR, "The first match of an action is joined by 'or': it is always true."},
    {108, RDL_WARNING, "These operators are not what they seem."},
    {109, RDL_INFORMATION, "'or' after 'and' has no precedence: read as (... and ...) or ..."},
    {110, RDL_INFORMATION, "Not portable: the reference's compiler refuses this."},
    {111, RDL_WARNING, "The reference's compiler makes other rules of this."},
    {112, RDL_WARNING, "A ';' closes something else here than it seems."},
    {113, RDL_ERROR, "The target is not ten hexadecimal digits."},
    {201, RDL_ERROR, "Nothing accepts: every frame is dropped."},
    {202, RDL_INFORMATION, "Only capabilities accept: members without one reach nobody."},
    {203, RDL_WARNING, "This is never reached: the action before it has no matches."},
    {204, RDL_INFORMATION, "The macro is never included, and its body was not checked."},
    {205, RDL_INFORMATION, "No match uses the tag."},
    {206, RDL_ERROR, "Two tags have the same ID: only the last definition counts."},
    {207, RDL_WARNING, "The tag has no default: without it every match on it is false."},
    {208, RDL_ERROR, "This is more than a network can have."},
    {209, RDL_WARNING, "TCP connections are let through and their answers are not."},
    {210, RDL_WARNING,
     "Tags are looked at before ARP is accepted, members may not find each other."},
};

static size_t catalogue_index(unsigned code)
{
    size_t i = 0;
    while (i + 1 < COUNT_OF(catalogue) && catalogue[i].code != code) {
        i++;
    }
    return i;
}

enum rdl_severity rdl_severity(unsigned code)
{
    return catalogue[catalogue_index(code)].severity;
}

const char *rdl_finding_text(unsigned code)
{
    return catalogue[catalogue_index(code)].text;
}

/* ---- sets ---- */

static bool has_accept(const struct rdl_set *set)
{
    for (size_t i = 0; i < set->count; i++) {
        if (set->entries[i].type == RULE_ACCEPT) {
            return true;
        }
    }
    return false;
}

void lint_note(struct run *run, const struct rdl_entry *e, unsigned code, const char *detail)
{
    struct scope scope = {.include = e->via};
    run_note(run, &scope, &e->place, code, detail);
}

static void lint_accept(struct run *run, const struct rdl_result *result)
{
    struct rdl_place whole = {.at = 0};
    bool in_capability = false;
    for (size_t i = 0; i < result->capability_count && !in_capability; i++) {
        in_capability = has_accept(&result->capabilities[i].rules);
    }
    if (!has_accept(&result->base)) {
        run_note(run, NULL, &whole, in_capability ? 202 : 201, NULL);
    }
}

/* W203: what follows an action without matches that ends the set. */
static void lint_unreachable(struct run *run, const struct rdl_set *set)
{
    for (size_t i = 0; i + 1 < set->count; i++) {
        const struct rdl_entry *e = &set->entries[i];
        bool ends = e->type == RULE_ACCEPT || e->type == RULE_DROP || e->type == RULE_BREAK;
        if (ends && (i == 0 || set->entries[i - 1].type <= RULE_ACTION_LAST)) {
            lint_note(run, &set->entries[i + 1], 203, NULL);
            return;
        }
    }
}

/* ---- tags ---- */

/* The ID of a tag, and whether a match has it. */
struct use {
    uint32_t id;
    bool is_used;
};

struct uses {
    struct use *items; /* ascending IDs, each once */
    size_t count;
};

static int compare_uses(const void *a, const void *b)
{
    const struct use *x = a;
    const struct use *y = b;
    return (x->id > y->id) - (x->id < y->id);
}

static struct use *find_use(const struct uses *uses, uint32_t id)
{
    struct use wanted = {.id = id};
    return uses->count > 0
               ? bsearch(&wanted, uses->items, uses->count, sizeof(wanted), compare_uses)
               : NULL;
}

static void mark_uses(const struct uses *uses, const struct rdl_set *set)
{
    for (size_t i = 0; i < set->count; i++) {
        const struct rdl_entry *e = &set->entries[i];
        bool is_tag = e->type >= RULE_TAGS_DIFFERENCE && e->type <= RULE_TAG_RECEIVER;
        struct use *use = is_tag ? find_use(uses, (uint32_t)e->a) : NULL;
        if (use != NULL) {
            use->is_used = true;
        }
    }
}

/* Which tags the matches of all sets use. */
static struct uses find_uses(struct run *run, const struct rdl_result *result)
{
    struct uses uses = {arena_alloc(run->arena, result->tag_count * sizeof(struct use)), 0};
    if (uses.items == NULL) {
        return uses;
    }
    for (size_t i = 0; i < result->tag_count; i++) {
        uses.items[i].id = result->tags[i].id;
    }
    qsort(uses.items, result->tag_count, sizeof(*uses.items), compare_uses);
    for (size_t i = 0; i < result->tag_count; i++) {
        if (uses.count == 0 || uses.items[uses.count - 1].id != uses.items[i].id) {
            uses.items[uses.count++] = uses.items[i];
        }
    }
    mark_uses(&uses, &result->base);
    for (size_t i = 0; i < result->capability_count; i++) {
        mark_uses(&uses, &result->capabilities[i].rules);
    }
    return uses;
}

static void lint_tag(struct run *run, const struct rdl_result *result, const struct uses *uses,
                     const struct rdl_tag *tag)
{
    const struct use *use = find_use(uses, tag->id);
    if (use != NULL && !use->is_used) {
        run_note(run, NULL, &tag->place, 205, NULL);
    }
    if (!tag->has_default) {
        run_note(run, NULL, &tag->place, 207, NULL);
    }
    for (const struct rdl_tag *other = result->tags; other < tag; other++) {
        if (other->id == tag->id) {
            run_note(
                run, NULL, &tag->place, 206,
                run_format(run, "%u, like %.*s", tag->id, (int)other->name.len, other->name.p));
            return;
        }
    }
}

/* ---- limits ---- */

static void lint_limits(struct run *run, const struct rdl_result *result)
{
    if (result->base.count > RULES_BASE_MAX) {
        lint_note(
            run, &result->base.entries[RULES_BASE_MAX], 208,
            run_format(run, "%zu base rules, at most %d", result->base.count, RULES_BASE_MAX));
    }
    for (size_t i = 0; i < result->capability_count; i++) {
        const struct rdl_capability *c = &result->capabilities[i];
        if (c->rules.count > RULES_CAPABILITY_MAX) {
            run_note(run, NULL, &c->place, 208,
                     run_format(run, "%zu rules in a capability, at most %d", c->rules.count,
                                RULES_CAPABILITY_MAX));
        }
    }
    if (result->capability_count > CAPABILITIES_MAX) {
        run_note(run, NULL, &result->capabilities[CAPABILITIES_MAX].place, 208,
                 run_format(run, "%zu capabilities, at most %d", result->capability_count,
                            CAPABILITIES_MAX));
    }
    if (result->tag_count > TAGS_MAX) {
        run_note(run, NULL, &result->tags[TAGS_MAX].place, 208,
                 run_format(run, "%zu tags, at most %d", result->tag_count, TAGS_MAX));
    }
}

/* ---- other readings ---- */

static bool entries_equal(const struct rdl_entry *a, const struct rdl_entry *b)
{
    return a->type == b->type && a->is_not == b->is_not && a->is_or == b->is_or && a->a == b->a &&
           a->b == b->b && a->c == b->c && a->mask == b->mask && text_equal(a->text, b->text);
}

/* Where two sets differ: in *ret the place of a's entry, else of what is behind it in b. */
static bool set_differs(const struct rdl_set *a, const struct rdl_set *b, struct rdl_place *ret)
{
    size_t i = 0;
    while (i < a->count && i < b->count && entries_equal(&a->entries[i], &b->entries[i])) {
        i++;
    }
    if (i == a->count && i == b->count) {
        return false;
    }
    *ret = i < a->count ? a->entries[i].place : b->entries[i].place;
    return true;
}

static bool values_equal(const struct rdl_values *a, const struct rdl_values *b)
{
    if (a->count != b->count) {
        return false;
    }
    for (size_t i = 0; i < a->count; i++) {
        if (!text_equal(a->items[i].name, b->items[i].name) ||
            a->items[i].value != b->items[i].value) {
            return false;
        }
    }
    return true;
}

static bool tags_differ(const struct rdl_result *a, const struct rdl_result *b,
                        struct rdl_place *ret)
{
    for (size_t i = 0; i < a->tag_count && i < b->tag_count; i++) {
        const struct rdl_tag *x = &a->tags[i];
        const struct rdl_tag *y = &b->tags[i];
        if (!text_equal(x->name, y->name) || x->id != y->id || x->has_default != y->has_default ||
            x->preset != y->preset || !values_equal(&x->flags, &y->flags) ||
            !values_equal(&x->enums, &y->enums)) {
            *ret = x->place;
            return true;
        }
    }
    if (a->tag_count == b->tag_count) {
        return false;
    }
    *ret = a->tag_count > b->tag_count ? a->tags[b->tag_count].place : b->tags[a->tag_count].place;
    return true;
}

static bool capabilities_differ(const struct rdl_result *a, const struct rdl_result *b,
                                struct rdl_place *ret)
{
    for (size_t i = 0; i < a->capability_count && i < b->capability_count; i++) {
        const struct rdl_capability *x = &a->capabilities[i];
        const struct rdl_capability *y = &b->capabilities[i];
        if (!text_equal(x->name, y->name) || x->id != y->id || x->is_default != y->is_default) {
            *ret = x->place;
            return true;
        }
        if (set_differs(&x->rules, &y->rules, ret)) {
            return true;
        }
    }
    if (a->capability_count == b->capability_count) {
        return false;
    }
    *ret = a->capability_count > b->capability_count ? a->capabilities[b->capability_count].place
                                                     : b->capabilities[a->capability_count].place;
    return true;
}

/* Note that another reading refuses the script, or makes something else of it. */
static int lint_reading(struct run *run, struct rdl_text source, bool is_strict,
                        enum reading reading)
{
    struct arena arena = {.blocks = NULL};
    struct rdl_result other;
    struct rdl_place at;
    int error = compile_attempt(&arena, source, is_strict, reading, &other);
    if (error == 0 && !other.is_ok) {
        run_note(
            run, NULL, &other.errors[0].place, is_strict ? 110 : 112,
            run_format(run, "%.*s", (int)other.errors[0].message.len, other.errors[0].message.p));
    } else if (error == 0 && (capabilities_differ(run->result, &other, &at) ||
                              tags_differ(run->result, &other, &at) ||
                              set_differs(&run->result->base, &other.base, &at))) {
        run_note(run, NULL, &at, is_strict ? 111 : 112, NULL);
    }
    arena_done(&arena);
    return error;
}

static int compare_findings(const void *a, const void *b)
{
    const struct rdl_finding *x = a;
    const struct rdl_finding *y = b;
    if (x->place.at != y->place.at) {
        return x->place.at < y->place.at ? -1 : 1;
    }
    return x->code < y->code ? -1 : x->code > y->code;
}

int rdl_lint(struct rdl_result *result, const char *source, size_t len)
{
    struct arena *arena = &CONTAINER_OF(result, struct owned, result)->arena;
    struct run run = {.arena = arena, .result = result, .finding_room = result->finding_count};
    struct rdl_text text = {source, len};
    int error = lint_reading(&run, text, true, READ_REFERENCE);
    if (error == 0 && !result->is_documented) {
        error = lint_reading(&run, text, false, READ_DOCUMENTED);
    }
    if (error < 0) {
        return error;
    }
    lint_accept(&run, result);
    lint_unreachable(&run, &result->base);
    for (size_t i = 0; i < result->capability_count; i++) {
        lint_unreachable(&run, &result->capabilities[i].rules);
    }
    struct uses uses = find_uses(&run, result);
    for (size_t i = 0; i < result->tag_count; i++) {
        lint_tag(&run, result, &uses, &result->tags[i]);
    }
    lint_limits(&run, result);
    lint_frames(&run, &result->base);
    if (result->finding_count > 1) {
        qsort(result->findings, result->finding_count, sizeof(*result->findings), compare_findings);
    }
    return arena->is_out ? -ENOMEM : 0;
}
