/* Tags, capabilities and macros. Source: spec 06 section 7. */
#include "rules/compile_priv.h"
#include "rules/number.h"
#include "rules/words.h"

#include <string.h>

/* What the definitions of a kind are called in messages. */
struct kind {
    const char *no_name;
    const char *invalid;
    const char *reserved;
    const char *multiple;
    const char *many;
};

static const struct kind kind_macro = {"Macro definition is missing name.", "Invalid macro name.",
                                       "Macro name is a reserved word.",
                                       "Multiple definition of macro name.", "Too many macros."};
static const struct kind kind_tag = {"Tag definition is missing name.", "Invalid tag name.",
                                     "Tag name is a reserved word.",
                                     "Multiple definition of tag name.", "Too many tags."};
static const struct kind kind_capability = {
    "Capability definition is missing name.", "Invalid capability name.",
    "Capability name is a reserved word.", "Multiple definition of capability name.",
    "Too many capabilities."};

static const char name_hint[] = "a name is letters, digits and _, and does not begin with a digit";

static void fail(struct run *run, const struct element *at, const char *message, const char *hint)
{
    run_fail(run, NULL, &at->place, message, hint);
}

/* The word with the name of a definition, or NULL (reported). */
static const struct element *name_word(struct run *run, const struct element *keyword,
                                       const struct kind *kind)
{
    const struct list *content = tree_content(keyword);
    if (content == NULL) {
        fail(run, keyword, kind->no_name,
             "the name follows on the same level: tag NAME id NUMBER ;");
        return NULL;
    }
    return content->first;
}

/* Test a name; is_known: it is defined already. */
static bool name_is_good(struct run *run, const struct element *word, struct rdl_text name,
                         const struct kind *kind, bool is_known)
{
    if (!word_is_name(name)) {
        fail(run, word, kind->invalid, name_hint);
        return false;
    }
    if (word_is_reserved(name)) {
        fail(run, word, kind->reserved, "it is a word of the language: choose another");
        return false;
    }
    if (is_known) {
        fail(run, word, kind->multiple, "names count without regard to case");
        return false;
    }
    return true;
}

/* ---- macros ---- */

static bool parse_parameters(struct run *run, struct macro *m, struct rdl_text list,
                             const struct element *word)
{
    struct rdl_text piece;
    size_t at = 0;
    size_t room = 0;
    while (number_next_piece(list, ",)", &at, &piece)) {
        if (m->parameter_count == RDL_NAMES_MAX) {
            run_stop(run, NULL, &word->place, "Too many macro parameters.");
            return false;
        }
        struct rdl_text *grown = arena_grow(run->arena, m->parameters, m->parameter_count, &room,
                                            sizeof(*m->parameters));
        if (grown == NULL) {
            return false;
        }
        m->parameters = grown;
        /* A name that comes twice counts where it comes last. */
        for (size_t i = 0; i < m->parameter_count; i++) {
            if (piece.len > 0 && text_equal(m->parameters[i], piece)) {
                m->parameters[i].len = 0;
            }
        }
        m->parameters[m->parameter_count++] = piece;
    }
    return true;
}

void define_macro(struct run *run, const struct element *keyword)
{
    const struct element *word = name_word(run, keyword, &kind_macro);
    if (word == NULL) {
        return;
    }
    struct macro m = {.name = word->lower, .place = word->place, .body = word->next};
    const char *open = memchr(word->lower.p, '(', word->lower.len);
    if (open != NULL && open > word->lower.p) {
        m.name.len = (size_t)(open - word->lower.p);
        struct rdl_text list = {open + 1, word->lower.len - m.name.len - 1};
        if (!parse_parameters(run, &m, list, word)) {
            return;
        }
    }
    bool is_known = false;
    for (size_t i = 0; i < run->macro_count && !is_known; i++) {
        is_known = text_equal(run->macros[i].name, m.name);
    }
    if (!name_is_good(run, word, m.name, &kind_macro, is_known)) {
        return;
    }
    if (run->macro_count == RDL_NAMES_MAX) {
        run_stop(run, NULL, &word->place, kind_macro.many);
        return;
    }
    struct macro *grown = arena_grow(run->arena, run->macros, run->macro_count, &run->macro_room,
                                     sizeof(*run->macros));
    if (grown != NULL) {
        run->macros = grown;
        run->macros[run->macro_count++] = m;
    }
}

/* ---- tags ---- */

bool values_find(const struct rdl_values *values, struct rdl_text name, int64_t *ret)
{
    for (size_t i = 0; i < values->count; i++) {
        if (text_equal(values->items[i].name, name)) {
            *ret = values->items[i].value;
            return true;
        }
    }
    return false;
}

static bool values_add(struct run *run, struct rdl_values *values, const struct element *name,
                       int64_t value)
{
    if (values->count == RDL_NAMES_MAX) {
        run_stop(run, NULL, &name->place, "Too many names in tag definition.");
        return false;
    }
    struct rdl_value *grown =
        arena_grow(run->arena, values->items, values->count, &values->room, sizeof(*values->items));
    if (grown == NULL) {
        return false;
    }
    values->items = grown;
    values->items[values->count++] = (struct rdl_value){name->lower, value};
    return true;
}

/* What a definition of a tag has said so far. */
struct tag_items {
    bool has_id;
    const struct element *preset; /* the word after "default" */
};

/* Each takes an item at e and returns its last word, or NULL after an error. */
static const struct element *tag_id(struct run *run, struct rdl_tag *tag, struct tag_items *items,
                                    const struct element *e)
{
    if (items->has_id) {
        fail(run, e, "Duplicate tag id definition.", "a tag has one id");
        return NULL;
    }
    if (e->next == NULL) {
        fail(run, e, "Missing numeric value for ID.", "for example: id 1000");
        return NULL;
    }
    int64_t id = number_read(e->next->text);
    if (id < 0 || id > UINT32_MAX) {
        fail(run, e->next, "Invalid or out of range tag ID.", "a number from 0 to 4294967295");
        return NULL;
    }
    tag->id = (uint32_t)id;
    items->has_id = true;
    return e->next;
}

static const struct element *tag_default(struct run *run, struct tag_items *items,
                                         const struct element *e)
{
    if (items->preset != NULL) {
        fail(run, e, "Duplicate tag default directive.", "a tag has one default");
        return NULL;
    }
    if (e->next == NULL) {
        fail(run, e, "Missing value for default.", "a number, or a name of this tag");
        return NULL;
    }
    items->preset = e->next;
    return e->next;
}

/* OR of the bits and flags in a list. Returns false if one is none. */
static bool flag_bits(struct run *run, const struct rdl_tag *tag, struct rdl_text list,
                      int64_t *ret)
{
    uint32_t mask = 0;
    struct rdl_text piece;
    size_t at = 0;
    while (number_next_piece(list, ",", &at, &piece)) {
        int64_t value;
        if (values_find(&tag->flags, piece, &value)) {
            mask |= (uint32_t)value;
            continue;
        }
        value = number_read(piece);
        if (value < 0 || value > 31) {
            return false;
        }
        mask |= UINT32_C(1) << value;
    }
    /* The reference's masks are signed (spec 06 section 7.1). */
    *ret = run->is_strict ? (int64_t)(int32_t)mask : (int64_t)mask;
    return true;
}

static const struct element *tag_flag(struct run *run, struct rdl_tag *tag, const struct element *e)
{
    const struct element *list = e->next;
    const struct element *name = list != NULL ? list->next : NULL;
    int64_t value;
    if (name == NULL) {
        fail(run, e, "Missing tag flag name or bit index.", "for example: flag 0 admin");
    } else if (!flag_bits(run, tag, list->lower, &value)) {
        fail(run, list, "Bit index invalid, out of range, or references an undefined flag name.",
             "bit numbers from 0 to 31 and names of flags above, joined by commas");
    } else if (!word_is_name(name->lower)) {
        fail(run, name, "Invalid or reserved flag name.", name_hint);
    } else if (values_find(&tag->flags, name->lower, &(int64_t){0})) {
        fail(run, name, "Duplicate flag name in tag definition.", "choose another name");
    } else if (values_add(run, &tag->flags, name, value)) {
        return name;
    }
    return NULL;
}

static const struct element *tag_enum(struct run *run, struct rdl_tag *tag, const struct element *e)
{
    const struct element *number = e->next;
    const struct element *name = number != NULL ? number->next : NULL;
    int64_t value = number != NULL ? number_read(number->text) : -1;
    if (name == NULL) {
        fail(run, e, "Missing tag enum name or value.", "for example: enum 100 sales");
    } else if (value < 0 || value > UINT32_MAX) {
        fail(run, number, "Tag enum value invalid or out of range.",
             "the number comes first: enum 100 sales");
    } else if (!word_is_name(name->lower)) {
        fail(run, name, "Invalid or reserved tag enum name.", name_hint);
    } else if (values_find(&tag->enums, name->lower, &(int64_t){0})) {
        fail(run, name, "Duplicate enum name in tag definition.", "choose another name");
    } else if (values_add(run, &tag->enums, name, value)) {
        return name;
    }
    return NULL;
}

static const struct element *tag_item(struct run *run, struct rdl_tag *tag, struct tag_items *items,
                                      const struct element *e)
{
    if (e->list != NULL) {
        run_fail_internal(run, e);
        return NULL;
    }
    if (text_is(e->lower, "id")) {
        return tag_id(run, tag, items, e);
    }
    if (text_is(e->lower, "default")) {
        return tag_default(run, items, e);
    }
    if (text_is(e->lower, "flag")) {
        return tag_flag(run, tag, e);
    }
    if (text_is(e->lower, "enum")) {
        return tag_enum(run, tag, e);
    }
    struct word_nearest nearest = word_nearest_to(e->lower);
    static const char *const words[] = {"id", "default", "flag", "enum"};
    for (size_t i = 0; i < COUNT_OF(words); i++) {
        word_nearest_offer(&nearest, text_of(words[i]));
    }
    fail(run, e, "Unrecognized keyword in tag definition.",
         nearest.found.p != NULL ? run_suggest_nearest(run, &nearest)
                                 : "expected id, default, flag or enum, or a ';' before this word");
    return NULL;
}

static void resolve_default(const struct run *run, struct rdl_tag *tag, struct rdl_text text)
{
    tag->has_default = true;
    if (values_find(&tag->enums, text, &tag->preset) ||
        values_find(&tag->flags, text, &tag->preset)) {
        return;
    }
    uint32_t number = number_read_default(text);
    tag->preset = run->is_strict ? (int64_t)(int32_t)number : (int64_t)number;
}

void define_tag(struct run *run, const struct element *keyword)
{
    struct rdl_result *result = run->result;
    const struct element *word = name_word(run, keyword, &kind_tag);
    if (word == NULL) {
        return;
    }
    bool is_known = false;
    for (size_t i = 0; i < result->tag_count && !is_known; i++) {
        is_known = text_equal(result->tags[i].name, word->lower);
    }
    if (!name_is_good(run, word, word->lower, &kind_tag, is_known)) {
        return;
    }
    struct rdl_tag tag = {.name = word->lower, .place = word->place};
    struct tag_items items = {.has_id = false};
    for (const struct element *e = word->next; e != NULL && !tag.is_broken; e = e->next) {
        e = tag_item(run, &tag, &items, e);
        if (e == NULL) {
            tag.is_broken = true;
            break;
        }
    }
    if (!tag.is_broken && !items.has_id) {
        fail(run, word, "Tag definition is missing a numeric ID.", "add: id NUMBER");
        tag.is_broken = true;
    }
    if (!tag.is_broken && items.preset != NULL) {
        resolve_default(run, &tag, items.preset->text);
        note_default(run, &tag, items.preset);
    }
    if (result->tag_count == RDL_NAMES_MAX) {
        run_stop(run, NULL, &word->place, kind_tag.many);
        return;
    }
    struct rdl_tag *grown =
        arena_grow(run->arena, result->tags, result->tag_count, &run->tag_room, sizeof(tag));
    if (grown != NULL) {
        result->tags = grown;
        result->tags[result->tag_count++] = tag;
    }
}

/* ---- capabilities ---- */

void define_append(struct run *run, struct list *to, const struct element *e)
{
    struct element *copy = arena_alloc(run->arena, sizeof(*copy));
    if (copy == NULL) {
        return;
    }
    *copy = *e;
    copy->next = NULL;
    if (to->first == NULL) {
        to->first = copy;
    } else {
        to->last->next = copy;
    }
    to->last = copy;
}

/* The ID of a capability, with e at the word "id". Returns the last word of the item. */
static const struct element *capability_id(struct run *run, struct rdl_capability *cap,
                                           const struct element *e, bool *has_id)
{
    const struct rdl_result *result = run->result;
    if (*has_id) {
        fail(run, e, "Duplicate id directive in capability definition.", "a capability has one id");
        return e->next != NULL ? e->next : e;
    }
    *has_id = true;
    if (e->next == NULL) {
        fail(run, e, "Missing value for ID.", "for example: id 1000");
        return e;
    }
    int64_t id = number_read(e->next->text);
    if (id < 0 || id > UINT32_MAX) {
        fail(run, e, "Invalid or out of range capability ID.", "a number from 0 to 4294967295");
        return e->next;
    }
    for (size_t i = 0; i < result->capability_count; i++) {
        if (result->capabilities[i].id == (uint32_t)id && !result->capabilities[i].is_broken) {
            fail(run, e, "Duplicate capability ID.",
                 run_format(run, "%.*s has it", (int)result->capabilities[i].name.len,
                            result->capabilities[i].name.p));
            return e->next;
        }
    }
    cap->id = (uint32_t)id;
    cap->is_broken = false;
    return e->next;
}

static void capability_store(struct run *run, const struct rdl_capability *cap,
                             const struct element *body)
{
    struct rdl_result *result = run->result;
    struct rdl_capability *grown =
        arena_grow(run->arena, result->capabilities, result->capability_count,
                   &run->capability_room, sizeof(*cap));
    struct body *bodies = arena_grow(run->arena, run->bodies, result->capability_count,
                                     &run->body_room, sizeof(*bodies));
    if (grown == NULL || bodies == NULL) {
        return;
    }
    result->capabilities = grown;
    run->bodies = bodies;
    bodies[result->capability_count].first = body;
    result->capabilities[result->capability_count++] = *cap;
}

void define_capability(struct run *run, const struct element *keyword)
{
    const struct rdl_result *result = run->result;
    const struct element *word = name_word(run, keyword, &kind_capability);
    if (word == NULL) {
        return;
    }
    bool is_known = false;
    for (size_t i = 0; i < result->capability_count && !is_known; i++) {
        is_known = text_equal(result->capabilities[i].name, word->lower);
    }
    if (!name_is_good(run, word, word->lower, &kind_capability, is_known)) {
        return;
    }
    if (result->capability_count == RDL_NAMES_MAX) {
        run_stop(run, NULL, &word->place, kind_capability.many);
        return;
    }
    struct rdl_capability cap = {.name = word->lower, .place = word->place, .is_broken = true};
    struct list body = {.first = NULL};
    bool has_id = false;
    for (const struct element *e = word->next; e != NULL; e = e->next) {
        if (e->list == NULL && text_is(e->lower, "id")) {
            e = capability_id(run, &cap, e, &has_id);
        } else if (e->list == NULL && text_is(e->lower, "default")) {
            cap.is_default = true;
        } else {
            define_append(run, &body, e);
        }
    }
    if (!has_id) {
        fail(run, word, "Capability definition is missing a numeric ID.", "add: id NUMBER");
    }
    capability_store(run, &cap, body.first);
}
