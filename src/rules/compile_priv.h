/* What the parts of the compiler share: definitions (define.c), matches (match.c), actions and
 * macros (compile.c). One struct run is one attempt at a script: a reading and a mode. */
#pragma once

#include "rules/arena.h"
#include "rules/rdl.h"
#include "rules/tree.h"
#include "rules/words.h"

struct macro {
    struct rdl_text name;        /* lower case */
    struct rdl_place place;      /* of its name */
    bool is_included;            /* by a set, directly or not */
    struct rdl_text *parameters; /* by their place in the list; empty ones have no name */
    size_t parameter_count;
    const struct element *body; /* first element, may be NULL */
};

/* A macro being expanded. */
struct scope {
    struct macro *macro;
    struct rdl_text *arguments;
    size_t argument_count;
    const struct scope *outer;         /* NULL: included from a set */
    const struct rdl_include *include; /* for places */
    unsigned depth;                    /* 1 for the outermost */
};

/* A body to be compiled. */
struct body {
    const struct element *first;
};

/* A result and its memory. */
struct owned {
    struct rdl_result result; /* first: rdl_free gets its address */
    struct arena arena;
};

/* An argument: the word in the script, and what it says after macros. */
struct argument {
    const struct element *word;
    struct rdl_text text;
    bool is_replaced; /* text is not the word's */
};

struct run {
    struct arena *arena;
    bool is_strict;
    struct rdl_result *result;
    struct macro *macros;
    size_t macro_count;
    size_t macro_room;
    size_t tag_room;
    size_t capability_room;
    size_t error_room;
    size_t finding_room;
    struct body *bodies; /* of the capabilities */
    size_t body_room;
    struct list base; /* what is no definition */
    size_t work;      /* bytes of words looked at in bodies */
    unsigned nesting; /* actions within actions */
    bool is_stopped;  /* a bound was passed or memory ran out */
};

/* Report an error at a place; scope may be NULL. hint may be NULL. Both texts are kept: constants
 * or of the arena. */
void run_fail(struct run *run, const struct scope *scope, const struct rdl_place *at,
              const char *message, const char *hint);

/* The same where the reference fails inside itself. */
void run_fail_internal(struct run *run, const struct element *at);

/* Report that a bound was passed, and stop. */
void run_stop(struct run *run, const struct scope *scope, const struct rdl_place *at,
              const char *message);

/* printf into the arena; an empty text out of memory. */
const char *run_format(struct run *run, const char *format, ...) PRINTF_LIKE(2, 3);

/* "did you mean ...?", or NULL: nothing is close, or so many errors were reported that no one will
 * read it. */
const char *run_suggest(struct run *run, struct rdl_text lower, enum word_list list);
const char *run_suggest_nearest(struct run *run, const struct word_nearest *nearest);

/* Is a hint for one more error worth the work? */
bool run_may_hint(const struct run *run);

/* Lower case of a text that is no word of the script. */
struct rdl_text run_lower(struct run *run, struct rdl_text text);

/* Define what the word at keyword and its content say. */
void define_macro(struct run *run, const struct element *keyword);
void define_tag(struct run *run, const struct element *keyword);
void define_capability(struct run *run, const struct element *keyword);

/* Append a copy of a word or list to a list. */
void define_append(struct run *run, struct list *to, const struct element *e);

/* Value of a flag or enum by exact name; false if there is none. */
bool values_find(const struct rdl_values *values, struct rdl_text name, int64_t *ret);

/* Replace "$name" by the argument of the macro: by exact name, in normal mode else in lower case.
 * Returns false if there is none. */
bool scope_replace(struct run *run, const struct scope *scope, struct rdl_text *text);

/* Count work; false when there was too much, which is then reported. */
bool run_work(struct run *run, const struct scope *scope, const struct element *e, size_t cost);

/* Count a search among so many names as work; too much is found by the next run_work. */
void run_search(struct run *run, size_t names);

/* Append an entry that stands for the word e; NULL if there is no room, which is reported. */
struct rdl_entry *run_add(struct run *run, const struct scope *scope, struct rdl_set *set,
                          const struct element *e, uint8_t type);

/* Compile the matches of an action from e on. Returns false if there was an error. */
bool match_all(struct run *run, const struct scope *scope, const struct element *e,
               struct rdl_set *set);

/* Compile one statement of a rule list at e. Returns the last element that belongs to it. */
const struct element *compile_statement(struct run *run, const struct scope *scope,
                                        const struct element *e, struct rdl_set *set);

/* One attempt at a source, into result. Returns 0, -ENOMEM. */
MUST_CHECK int compile_attempt(struct arena *arena, struct rdl_text source, bool is_strict,
                               enum reading reading, struct rdl_result *result);

/* ---- findings of single words (notes.c) ---- */

/* What words before a match said: and, or, not. */
enum operators { OPS_NONE, OPS_AND, OPS_OR, OPS_NOT, OPS_AND_NOT, OPS_OR_NOT, OPS_ODD };

/* The matches of an action so far, for what their order may hide. */
struct match_order {
    const struct element *first_operator; /* before the next match, NULL: none */
    enum operators operators;             /* before the next match */
    bool has_or;                          /* among them */
    size_t count;                         /* matches */
    bool has_and;                         /* one joined by and, not the first */
    bool is_mixed;                        /* reported */
};

/* Add a finding; one of the same code at the same place is not added again. */
void run_note(struct run *run, const struct scope *scope, const struct rdl_place *at, unsigned code,
              const char *detail);

/* Note what is strange about a compiled match at e and its arguments. */
void note_match(struct run *run, const struct scope *scope, const struct match_word *m,
                const struct argument *args, const struct rdl_entry *entry);

/* Note operators before the match at e; at the end of an action e is NULL. */
void note_operators(struct run *run, const struct scope *scope, struct match_order *order,
                    const struct element *e);

/* Note what is strange about length (NULL: none) and target of a forwarding action. */
void note_forward(struct run *run, const struct scope *scope, const struct argument *length,
                  const struct argument *target);

/* Note a tag's default that is not what it seems. */
void note_default(struct run *run, const struct rdl_tag *tag, const struct element *word);
