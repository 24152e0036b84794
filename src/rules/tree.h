/* Words and blocks of a script, by the reference's reading or by the documented grammar. Source:
 * spec 06 sections 2, 3.2, 16.4. */
#pragma once

#include "rules/arena.h"
#include "rules/rdl.h"

struct list;

/* A word, or the content of the block that the word before it opened. */
struct element {
    struct element *next;
    struct list *list;      /* NULL: a word */
    struct rdl_text text;   /* of a word, as written */
    struct rdl_text lower;  /* the same in lower case */
    struct rdl_place place; /* of a word */
};

struct list {
    struct element *first;
    struct element *last;
    struct list *below; /* the block around it while it is open */
    bool is_tag;        /* content of a tag */
    bool is_action;     /* content of an action */
};

/* How terminators are read. */
enum reading {
    READ_REFERENCE,  /* spec 06 section 3.2 */
    READ_DOCUMENTED, /* spec 06 section 16.4 */
    READ_RECOVERING, /* the same, and blocks that were forgotten to be closed end where the next one
                        begins a line: to find more errors */
};

enum { TREE_FORGOTTEN_MAX = 16 };

struct tree {
    struct list *document; /* the outermost list */
    bool is_full;          /* too many words: cut at full_at */
    struct rdl_place full_at;
    struct rdl_place forgotten[TREE_FORGOTTEN_MAX]; /* words before which a terminator is missing */
    size_t forgotten_count;
};

/* Read a script: source is valid UTF-8. Returns 0; -ENOMEM. Texts borrow from source and arena. */
MUST_CHECK int tree_build(struct arena *arena, struct rdl_text source, enum reading reading,
                          struct tree *ret);

/* The content of a block that element opened, or NULL: the next element, if it is a list that
 * begins with a word. */
struct list *tree_content(const struct element *e);
