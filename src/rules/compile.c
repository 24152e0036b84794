/* Actions, macros, and the attempts at a script. Source: spec 06 sections 6, 8, 10, 16.1. */
#include "rules/compile_priv.h"
#include "rules/number.h"
#include "rules/unicode.h"
#include "rules/words.h"
#include "wire/rule.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- what the parts share ---- */

static void store_error(struct run *run, const struct rdl_error *error)
{
    struct rdl_result *result = run->result;
    if (result->error_count >= RDL_ERRORS_MAX) {
        result->errors_left_off++;
        return;
    }
    struct rdl_error *grown = arena_grow(run->arena, result->errors, result->error_count,
                                         &run->error_room, sizeof(*error));
    if (grown != NULL) {
        result->errors = grown;
        result->errors[result->error_count++] = *error;
    }
}

void run_fail(struct run *run, const struct scope *scope, const struct rdl_place *at,
              const char *message, const char *hint)
{
    struct rdl_error error = {.place = *at,
                              .via = scope != NULL ? scope->include : NULL,
                              .message = text_of(message),
                              .hint = text_of(hint != NULL ? hint : "")};
    store_error(run, &error);
}

void run_fail_internal(struct run *run, const struct element *at)
{
    struct rdl_error error = {.place = at->place,
                              .message = text_of("Unexpected exception: a block in a place where "
                                                 "the compiler does not expect one."),
                              .is_internal = true};
    error.place.line = 0;
    error.place.column = 0;
    store_error(run, &error);
}

void run_stop(struct run *run, const struct scope *scope, const struct rdl_place *at,
              const char *message)
{
    if (!run->is_stopped) {
        run_fail(run, scope, at, message, NULL);
    }
    run->is_stopped = true;
}

const char *run_format(struct run *run, const char *format, ...)
{
    va_list args;
    va_list again;
    va_start(args, format);
    va_copy(again, args);
    int len = vsnprintf(NULL, 0, format, args);
    char *out = len >= 0 ? arena_alloc(run->arena, (size_t)len + 1) : NULL;
    if (out != NULL) {
        (void)vsnprintf(out, (size_t)len + 1, format, again);
    }
    va_end(again);
    va_end(args);
    return out != NULL ? out : "";
}

bool run_may_hint(const struct run *run)
{
    return run->result->error_count < RDL_ERRORS_MAX;
}

const char *run_suggest_nearest(struct run *run, const struct word_nearest *nearest)
{
    return nearest->found.p != NULL
               ? run_format(run, "did you mean %.*s?", (int)nearest->found.len, nearest->found.p)
               : NULL;
}

const char *run_suggest(struct run *run, struct rdl_text lower, enum word_list list)
{
    const char *near = run_may_hint(run) ? word_suggest(lower, list) : NULL;
    return near != NULL && !text_is(lower, near) ? run_format(run, "did you mean %s?", near) : NULL;
}

struct rdl_text run_lower(struct run *run, struct rdl_text text)
{
    char *out = arena_alloc(run->arena, 2 * text.len);
    return out != NULL ? (struct rdl_text){out, unicode_lower_text(text.p, text.len, out)} : text;
}

bool run_work(struct run *run, const struct scope *scope, const struct element *e, size_t cost)
{
    run->work += cost + 1;
    if (run->arena->is_out) {
        run->is_stopped = true;
    } else if (run->work > RDL_WORK_MAX) {
        run_stop(run, scope, &e->place, "The script expands to too much.");
    }
    return !run->is_stopped;
}

void run_search(struct run *run, size_t names)
{
    enum { NAMES_PER_BYTE = 16 }; /* looked at in the time that a byte of a word takes */
    run->work += names / NAMES_PER_BYTE;
}

struct rdl_entry *run_add(struct run *run, const struct scope *scope, struct rdl_set *set,
                          const struct element *e, uint8_t type)
{
    if (set->count == RDL_ENTRIES_MAX) {
        run_stop(run, scope, &e->place, "Too many rules in a rule set.");
        return NULL;
    }
    struct rdl_entry *grown =
        arena_grow(run->arena, set->entries, set->count, &set->room, sizeof(*grown));
    if (grown == NULL) {
        run->is_stopped = true;
        return NULL;
    }
    set->entries = grown;
    struct rdl_entry *entry = &grown[set->count++];
    memset(entry, 0, sizeof(*entry));
    entry->type = type;
    entry->place = e->place;
    entry->via = scope != NULL ? scope->include : NULL;
    return entry;
}

/* ---- macros ---- */

static bool parameter_find(struct run *run, const struct scope *scope, struct rdl_text name,
                           struct rdl_text *ret)
{
    const struct macro *m = scope->macro;
    run_search(run, m->parameter_count);
    for (size_t i = 0; i < m->parameter_count && i < scope->argument_count; i++) {
        if (m->parameters[i].len > 0 && text_equal(m->parameters[i], name)) {
            *ret = scope->arguments[i];
            return true;
        }
    }
    return false;
}

bool scope_replace(struct run *run, const struct scope *scope, struct rdl_text *text)
{
    if (scope == NULL) {
        return false;
    }
    return parameter_find(run, scope, *text, text) ||
           (!run->is_strict && parameter_find(run, scope, run_lower(run, *text), text));
}

static struct macro *macro_find(struct run *run, struct rdl_text name)
{
    run_search(run, run->macro_count);
    for (size_t i = 0; i < run->macro_count; i++) {
        if (text_equal(run->macros[i].name, name)) {
            return &run->macros[i];
        }
    }
    return NULL;
}

/* Read the arguments of an inclusion into the new scope; those that are variables of the outer one
 * are replaced in normal mode. */
static bool read_arguments(struct run *run, struct rdl_text list, struct scope *scope)
{
    struct rdl_text piece;
    size_t at = 0;
    size_t room = 0;
    while (number_next_piece(list, ",)", &at, &piece)) {
        if (piece.len == 0) {
            continue;
        }
        if (piece.p[0] == '$' && !run->is_strict) {
            (void)scope_replace(run, scope->outer, &piece);
        }
        struct rdl_text *grown =
            arena_grow(run->arena, scope->arguments, scope->argument_count, &room, sizeof(*grown));
        if (grown == NULL) {
            run->is_stopped = true;
            return false;
        }
        scope->arguments = grown;
        scope->arguments[scope->argument_count++] = piece;
    }
    return true;
}

static bool has_arguments(const struct scope *scope)
{
    const struct macro *m = scope->macro;
    for (size_t i = scope->argument_count; i < m->parameter_count; i++) {
        if (m->parameters[i].len > 0) {
            return false;
        }
    }
    return true;
}

/* Find the macro of a reference and what is between its parentheses. */
static struct macro *macro_of(struct run *run, const struct element *ref, struct rdl_text *ret_list)
{
    struct rdl_text name = ref->text;
    const char *open = memchr(name.p, '(', name.len);
    *ret_list = (struct rdl_text){name.p, 0};
    if (open != NULL && open > name.p) {
        *ret_list = (struct rdl_text){open + 1, name.len - (size_t)(open - name.p) - 1};
        name.len = (size_t)(open - name.p);
    }
    struct macro *m = macro_find(run, name);
    return m != NULL || run->is_strict ? m : macro_find(run, run_lower(run, name));
}

static void compile_list(struct run *run, const struct scope *scope, const struct element *e,
                         struct rdl_set *set)
{
    for (; e != NULL && !run->is_stopped; e = e->next) {
        if (e->list == NULL) {
            e = compile_statement(run, scope, e, set);
        }
    }
}

/* The macro that may be meant. */
static const char *macro_hint(struct run *run, const struct element *ref)
{
    struct rdl_text name = ref->lower;
    const char *open = memchr(name.p, '(', name.len);
    name.len = open != NULL ? (size_t)(open - name.p) : name.len;
    struct word_nearest nearest = word_nearest_to(name);
    for (size_t i = 0; i < run->macro_count && run_may_hint(run); i++) {
        word_nearest_offer(&nearest, run->macros[i].name);
    }
    return nearest.found.p != NULL ? run_suggest_nearest(run, &nearest)
                                   : "macros are defined by: macro NAME ... ;";
}

static void expand(struct run *run, const struct scope *outer, const struct element *ref,
                   struct rdl_set *set)
{
    enum { COST = 64 }; /* of an inclusion, beside its text: memory for its place */
    struct rdl_text list;
    struct rdl_include *include = arena_alloc(run->arena, sizeof(*include));
    struct scope scope = {.macro = macro_of(run, ref, &list),
                          .outer = outer,
                          .include = include,
                          .depth = outer != NULL ? outer->depth + 1 : 1};
    if (include == NULL || !run_work(run, outer, ref, COST + ref->text.len)) {
        return;
    }
    *include = (struct rdl_include){outer != NULL ? outer->include : NULL, ref->place};
    if (scope.macro == NULL) {
        run_fail(run, outer, &ref->place, "Macro name not found.", macro_hint(run, ref));
        return;
    }
    for (const struct scope *s = outer; s != NULL; s = s->outer) {
        if (s->macro == scope.macro) {
            run_fail(run, outer, &ref->place, "Recursive macro inclusion.",
                     "a macro cannot include itself, nor through others");
            run->result->errors[run->result->error_count - 1].is_internal = true;
            return;
        }
    }
    if (scope.depth > RDL_INCLUDE_DEPTH_MAX) {
        run_fail(run, outer, &ref->place, "Macro inclusions are nested too deeply.",
                 "at most 64 macros within each other");
        return;
    }
    if (!read_arguments(run, list, &scope)) {
        return;
    }
    if (!has_arguments(&scope)) {
        run_fail(run, outer, &ref->place, "Missing one or more required macro parameter.",
                 "arguments and the macro's name are one word: name(A,B)");
        return;
    }
    scope.macro->is_included = true;
    compile_list(run, &scope, scope.macro->body, set);
}

/* ---- actions ---- */

/* An argument of an action: in normal mode variables are replaced where they are known. */
static struct argument action_argument(struct run *run, const struct scope *scope,
                                       const struct element *e)
{
    struct argument a = {e, e->text, false};
    if (!run->is_strict && a.text.len > 0 && a.text.p[0] == '$') {
        a.is_replaced = scope_replace(run, scope, &a.text);
    }
    return a;
}

static bool is_target(struct rdl_text text)
{
    enum { TARGET_LEN = 10 };
    return unicode_utf16_len(text.p, text.len) == TARGET_LEN;
}

static const char target_hint[] = "a node's address, ten hexadecimal digits";

/* Length and target of a tee or watch. Returns the target's word; NULL after an error. */
static const struct element *forward_arguments(struct run *run, const struct scope *scope,
                                               const struct element *word, struct rdl_entry *entry)
{
    static const char two[] = "The tee and watch actions require two paremters (max length or 0 "
                              "for all, target).";
    const struct list *content = tree_content(word);
    const struct element *length = content != NULL ? content->first : NULL;
    const struct element *target = length != NULL ? length->next : NULL;
    if (target == NULL) {
        run_fail(run, scope, &word->place, two, "for example: tee 128 deadbeef11");
        run->result->errors[run->result->error_count - 1].is_internal = length != NULL;
        return NULL;
    }
    struct rdl_place at = length->place;
    struct argument size = action_argument(run, scope, length);
    struct argument to = {.word = target};
    entry->a = number_read(size.text);
    if (entry->a < -1 || entry->a > UINT16_MAX) {
        at.column = target->place.column; /* the line of one, the column of the other */
        run_fail(run, scope, &at, "Tee/watch max packet length to forward invalid or out of range.",
                 "-1 for whole frames, or up to 65535");
        return NULL;
    }
    if (target->list == NULL) {
        to = action_argument(run, scope, target);
        entry->text = to.text;
        at = target->place;
    }
    if (target->list != NULL || !is_target(entry->text)) {
        run_fail(run, scope, &at, "Missing or invalid ZeroTier address target for tee/watch.",
                 target_hint);
        return NULL;
    }
    note_forward(run, scope, &size, &to);
    return target;
}

static const struct element *redirect_argument(struct run *run, const struct scope *scope,
                                               const struct element *word, struct rdl_entry *entry)
{
    const struct list *content = tree_content(word);
    const struct element *target = content != NULL ? content->first : NULL;
    if (target == NULL) {
        run_fail(run, scope, &word->place, "The redirect action requires a target parameter.",
                 "for example: redirect deadbeef11");
        return NULL;
    }
    struct argument to = action_argument(run, scope, target);
    entry->text = to.text;
    if (!is_target(entry->text)) {
        run_fail(run, scope, &target->place,
                 "Missing or invalid ZeroTier address target for redirect.", target_hint);
        return NULL;
    }
    note_forward(run, scope, NULL, &to);
    return target;
}

/* An action: its matches, then its own entry. */
static void compile_action(struct run *run, const struct scope *scope, const struct element *word,
                           uint8_t type, struct rdl_set *set)
{
    size_t before = set->count;
    const struct list *content = tree_content(word);
    const struct element *first = content != NULL ? content->first : NULL;
    struct rdl_entry values = {.type = type};
    if (type == RULE_TEE || type == RULE_WATCH || type == RULE_REDIRECT) {
        const struct element *last = type == RULE_REDIRECT
                                         ? redirect_argument(run, scope, word, &values)
                                         : forward_arguments(run, scope, word, &values);
        if (last == NULL) {
            return;
        }
        first = last->next;
    }
    if (!match_all(run, scope, first, set)) {
        set->count = before;
        return;
    }
    struct rdl_entry *entry = run_add(run, scope, set, word, type);
    if (entry != NULL) {
        entry->a = values.a;
        entry->text = values.text;
    }
}

/* What may be meant by a word that is no statement. */
static const char *statement_hint(struct run *run, const struct element *e)
{
    if (word_match(e->lower) != NULL) {
        return "a match needs an action before it, such as accept or drop";
    }
    if (text_is(e->lower, "priority")) {
        return "there is no such action";
    }
    bool is_definition =
        text_is(e->lower, "tag") || text_is(e->lower, "cap") || text_is(e->lower, "macro");
    if (is_definition) {
        return "definitions stand outside of macros and capabilities; is a ';' missing above?";
    }
    return run_suggest(run, e->lower, WORDS_ACTIONS);
}

const struct element *compile_statement(struct run *run, const struct scope *scope,
                                        const struct element *e, struct rdl_set *set)
{
    static const struct {
        const char *word;
        uint8_t type;
    } actions[] = {{"accept", RULE_ACCEPT}, {"drop", RULE_DROP},   {"break", RULE_BREAK},
                   {"tee", RULE_TEE},       {"watch", RULE_WATCH}, {"redirect", RULE_REDIRECT}};
    if (!run_work(run, scope, e, e->text.len)) {
        return e;
    }
    for (size_t i = 0; i < COUNT_OF(actions); i++) {
        if (text_is(e->lower, actions[i].word)) {
            compile_action(run, scope, e, actions[i].type, set);
            return e;
        }
    }
    if (text_is(e->lower, "include")) {
        if (e->next == NULL || e->next->list != NULL) {
            run_fail(run, scope, &e->place, "Include directive is missing a macro name.",
                     "for example: include NAME, or include NAME(A,B)");
            return e;
        }
        expand(run, scope, e->next, set);
        return e->next;
    }
    const char *hint = statement_hint(run, e);
    run_fail(run, scope, &e->place, "Unrecognized action or directive in rule set.", hint);
    /* The rest of a sentence is not worth an error a word: go on at the next action. */
    while (e->next != NULL && (e->next->list != NULL || !(word_is_opener(e->next->lower) ||
                                                          text_is(e->next->lower, "include")))) {
        e = e->next;
    }
    return e;
}

/* ---- attempts ---- */

/* Definitions are made at once; what is none goes to the base list. */
static void define_all(struct run *run, const struct list *document)
{
    for (const struct element *e = document->first; e != NULL && !run->is_stopped; e = e->next) {
        bool is_word = e->list == NULL;
        if (is_word && text_is(e->lower, "tag")) {
            define_tag(run, e);
        } else if (is_word && text_is(e->lower, "cap")) {
            define_capability(run, e);
        } else if (is_word && text_is(e->lower, "macro")) {
            define_macro(run, e);
        } else {
            define_append(run, &run->base, e);
            continue;
        }
        if (e->next != NULL && e->next->list != NULL) {
            e = e->next; /* the content */
        }
    }
}

int compile_attempt(struct arena *arena, struct rdl_text source, bool is_strict,
                    enum reading reading, struct rdl_result *result)
{
    struct run run = {.arena = arena, .is_strict = is_strict, .result = result};
    struct tree tree;
    memset(result, 0, sizeof(*result));
    result->is_documented = reading != READ_REFERENCE;
    int error = tree_build(arena, source, reading, &tree);
    if (error < 0) {
        return error;
    }
    if (tree.is_full) {
        run_stop(&run, NULL, &tree.full_at, "The script has too many words.");
    }
    for (size_t i = 0; i < tree.forgotten_count; i++) {
        run_fail(&run, NULL, &tree.forgotten[i], "A ';' is missing before this word.",
                 "an action or a definition above has no end");
    }
    define_all(&run, tree.document);
    for (size_t i = 0; i < result->capability_count && !run.is_stopped; i++) {
        compile_list(&run, NULL, run.bodies[i].first, &result->capabilities[i].rules);
    }
    compile_list(&run, NULL, run.base.first, &result->base);
    result->is_ok = result->error_count == 0;
    for (size_t i = 0; i < run.macro_count; i++) {
        if (!run.macros[i].is_included) {
            run_note(&run, NULL, &run.macros[i].place, 204, NULL);
        }
    }
    return arena->is_out ? -ENOMEM : 0;
}

static int compare_errors(const void *a, const void *b)
{
    const struct rdl_error *x = a;
    const struct rdl_error *y = b;
    return (x->place.at > y->place.at) - (x->place.at < y->place.at);
}

/* After all attempts failed: the reference's error first, then what else was found, in order. */
static void merge_errors(struct arena *arena, const struct rdl_error *first,
                         struct rdl_result *result)
{
    struct rdl_error *merged = arena_alloc(arena, (result->error_count + 1) * sizeof(*merged));
    if (merged == NULL) {
        return;
    }
    size_t count = 0;
    merged[count++] = *first;
    for (size_t i = 0; i < result->error_count && count < RDL_ERRORS_MAX; i++) {
        if (result->errors[i].place.at != first->place.at) {
            merged[count++] = result->errors[i];
        }
    }
    qsort(merged + 1, count - 1, sizeof(*merged), compare_errors);
    result->errors = merged;
    result->error_count = count;
}

/* Spec 06 section 16.1. */
static int attempt_all(struct arena *arena, struct rdl_text source, struct rdl_result *ret)
{
    struct rdl_result strict;
    struct rdl_result normal;
    int error = compile_attempt(arena, source, false, READ_REFERENCE, &normal);
    if (error < 0 || normal.is_ok) {
        *ret = normal;
        return error;
    }
    error = compile_attempt(arena, source, false, READ_DOCUMENTED, ret);
    if (error < 0 || ret->is_ok) {
        return error;
    }
    error = compile_attempt(arena, source, true, READ_REFERENCE, &strict);
    if (error == 0) {
        error = compile_attempt(arena, source, false, READ_RECOVERING, ret);
        ret->is_ok = false;
    }
    if (error < 0) {
        return error;
    }
    /* Where the reference fails inside itself, our own error is the proper one. A script that it
     * compiles and we do not is beyond a bound that counts in both modes. */
    bool is_proper = !strict.is_ok && !strict.errors[0].is_internal;
    const struct rdl_error *first = is_proper ? &strict.errors[0] : &normal.errors[0];
    bool says_nothing = first->place.line == 0; /* the other reading knows what is wrong */
    merge_errors(arena, says_nothing && ret->error_count > 0 ? &ret->errors[0] : first, ret);
    return arena->is_out ? -ENOMEM : 0;
}

/* Errors of the source as a whole. */
static bool is_readable(struct run *run, struct rdl_text source)
{
    struct rdl_place at = {.at = 0};
    if (source.len > RDL_SOURCE_MAX) {
        run_stop(run, NULL, &at, "The script is longer than 1 MiB.");
        return false;
    }
    for (size_t i = 0; i < source.len;) {
        uint32_t c;
        int n = unicode_read(source.p + i, source.len - i, &c);
        if (n < 0) {
            at.at = (uint32_t)i;
            run_stop(run, NULL, &at, "The script is not UTF-8 text.");
            return false;
        }
        i += (size_t)n;
    }
    return true;
}

int rdl_compile(const char *source, size_t len, enum rdl_mode mode, struct rdl_result **ret)
{
    struct owned *owned = calloc(1, sizeof(*owned));
    if (owned == NULL) {
        return -ENOMEM;
    }
    struct run run = {.arena = &owned->arena, .result = &owned->result};
    int error = 0;
    if (is_readable(&run, (struct rdl_text){source, len})) {
        /* Results name parts of the text: they keep their own. */
        char *copy = arena_alloc(&owned->arena, len + 1);
        struct rdl_text text = {copy, len};
        if (copy == NULL) {
            error = -ENOMEM;
        } else {
            memcpy(copy, source, len);
            error = mode == RDL_STRICT
                        ? compile_attempt(&owned->arena, text, true, READ_REFERENCE, &owned->result)
                        : attempt_all(&owned->arena, text, &owned->result);
        }
    }
    if (error < 0 || owned->arena.is_out) {
        rdl_free(&owned->result);
        return -ENOMEM;
    }
    *ret = &owned->result;
    return 0;
}

void rdl_free(struct rdl_result *result)
{
    if (result != NULL) {
        struct owned *owned = CONTAINER_OF(result, struct owned, result);
        arena_done(&owned->arena);
        free(owned);
    }
}
