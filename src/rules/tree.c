/* Words and blocks. One pass over the characters; open blocks are linked, not recursed into. */
#include "rules/tree.h"

#include "rules/unicode.h"
#include "rules/words.h"

#include <errno.h>
#include <string.h>

struct reader {
    struct arena *arena;
    struct rdl_text source;
    struct tree *tree;
    struct list *top; /* innermost open block */
    uint32_t line;    /* spec 06 section 2.4 */
    uint32_t column;
    size_t words; /* so far */
    size_t start; /* of the pending word */
    bool in_word;
    bool in_comment;
    bool documented;     /* grammar of section 16.4 */
    bool is_recovering;  /* READ_RECOVERING */
    uint32_t last_line;  /* of the word before */
    struct rdl_place at; /* of the pending word */
    int error;
};

static bool is_space(char c)
{
    return c == '\n' || c == '\r' || c == '\t' || c == ' ';
}

static struct list *list_new(struct reader *r)
{
    struct list *list = arena_alloc(r->arena, sizeof(*list));
    r->error = list == NULL ? -ENOMEM : r->error;
    return list;
}

static struct element *append(struct reader *r, struct list *to)
{
    struct element *e = arena_alloc(r->arena, sizeof(*e));
    if (e == NULL) {
        r->error = -ENOMEM;
        return NULL;
    }
    if (to->first == NULL) {
        to->first = e;
    } else {
        to->last->next = e;
    }
    to->last = e;
    return e;
}

/* The text in lower case, shared with the text where it is the same. */
static struct rdl_text lower_of(struct reader *r, struct rdl_text text)
{
    bool is_lower = true;
    for (size_t i = 0; i < text.len && is_lower; i++) {
        is_lower = (uint8_t)text.p[i] < 0x80 && !(text.p[i] >= 'A' && text.p[i] <= 'Z');
    }
    if (is_lower) {
        return text;
    }
    char *out = arena_alloc(r->arena, 2 * text.len);
    if (out == NULL) {
        r->error = -ENOMEM;
        return text;
    }
    return (struct rdl_text){out, unicode_lower_text(text.p, text.len, out)};
}

static struct element *add_word(struct reader *r, size_t end)
{
    struct rdl_text text = {r->source.p + r->start, end - r->start};
    if (++r->words > RDL_TOKENS_MAX) {
        r->tree->is_full = true;
        r->tree->full_at = r->at;
        return NULL;
    }
    struct element *e = append(r, r->top);
    if (e != NULL) {
        e->text = text;
        e->place = r->at;
        e->place.len = (uint32_t)text.len;
        e->lower = lower_of(r, text);
    }
    return e;
}

static bool is_definition(struct rdl_text lower)
{
    return text_is(lower, "tag") || text_is(lower, "cap") || text_is(lower, "macro");
}

static void push(struct reader *r, struct rdl_text opener)
{
    struct list *list = list_new(r);
    if (list != NULL) {
        list->below = r->top;
        list->is_tag = text_is(opener, "tag");
        list->is_action = !is_definition(opener);
        r->top = list;
    }
}

static void pop(struct reader *r)
{
    struct list *closed = r->top;
    struct element *e = append(r, closed->below);
    r->top = closed->below;
    if (e != NULL) {
        e->list = closed;
    }
}

/* Terminators at the end of the pending word: one, or by the documented grammar all. */
static size_t count_terminators(const struct reader *r, size_t end)
{
    size_t count = 0;
    while (end - count > r->start && r->source.p[end - count - 1] == ';' &&
           (r->documented || count == 0)) {
        count++;
    }
    return count;
}

/* An opener begins a line while a block is open that cannot hold it: the block was meant to end. */
static void close_forgotten(struct reader *r, struct rdl_text word)
{
    struct rdl_text lower = lower_of(r, word);
    const struct element *before = r->top->last;
    bool is_argument = before != NULL && before->list == NULL && text_is(before->lower, "include");
    bool ends_all = is_definition(lower) || r->top->is_tag;
    if (r->top->below == NULL || r->at.line == r->last_line || !word_is_opener(lower) ||
        is_argument || (!ends_all && !r->top->is_action)) {
        return;
    }
    do {
        pop(r);
    } while (ends_all && r->top->below != NULL && r->error == 0);
    if (r->tree->forgotten_count < TREE_FORGOTTEN_MAX) {
        r->at.len = (uint32_t)word.len;
        r->tree->forgotten[r->tree->forgotten_count++] = r->at;
    }
}

static void end_word(struct reader *r, size_t end)
{
    size_t closes = count_terminators(r, end);
    struct element *e = NULL;
    r->in_word = false;
    if (end - closes > r->start) {
        if (r->is_recovering) {
            close_forgotten(r, (struct rdl_text){r->source.p + r->start, end - closes - r->start});
        }
        r->last_line = r->at.line;
        e = add_word(r, end - closes);
        if (e == NULL) {
            return;
        }
    }
    if (r->documented) {
        if (e != NULL && !r->top->is_tag && word_is_opener(e->lower)) {
            push(r, e->lower);
        }
        for (; closes > 0 && r->top->below != NULL && r->error == 0; closes--) {
            pop(r);
        }
    } else if (closes > 0 && r->top->below != NULL && r->top->first != NULL) {
        pop(r);
    } else if (e != NULL && word_is_opener(e->text)) {
        push(r, e->lower);
    }
}

static void finish(struct reader *r)
{
    if (r->in_word && !r->tree->is_full && r->error == 0) {
        if (r->documented) {
            end_word(r, r->source.len);
        } else {
            size_t end = r->source.len - count_terminators(r, r->source.len);
            if (end > r->start) {
                (void)add_word(r, end);
            }
        }
    }
    while (r->error == 0 && r->top->below != NULL && (r->documented || r->top->first != NULL)) {
        pop(r);
    }
}

/* One character. */
static void take(struct reader *r, size_t i)
{
    char c = r->source.p[i];
    if (r->in_comment) {
        if (c == '\n' || c == '\r') {
            r->in_comment = false;
            r->line++;
            r->column = 0;
        }
        return;
    }
    if (c == '\n') {
        r->line++;
        r->column = 0;
    }
    if (r->in_word) {
        bool glued = r->documented && c == '#' && r->source.p[i - 1] == ';';
        if (is_space(c) || glued) {
            end_word(r, i);
            r->in_comment = glued;
        }
    } else if (c == '#') {
        r->in_comment = true;
    } else if (!is_space(c)) {
        r->in_word = true;
        r->start = i;
        r->at = (struct rdl_place){.at = (uint32_t)i, .line = r->line, .column = r->column};
    }
}

int tree_build(struct arena *arena, struct rdl_text source, enum reading reading, struct tree *ret)
{
    struct reader r = {.arena = arena,
                       .source = source,
                       .tree = ret,
                       .line = 1,
                       .documented = reading != READ_REFERENCE,
                       .is_recovering = reading == READ_RECOVERING};
    memset(ret, 0, sizeof(*ret));
    r.top = list_new(&r);
    if (r.top == NULL) {
        return r.error;
    }
    ret->document = r.top;
    for (size_t i = 0; i < source.len; i++) {
        uint8_t c = (uint8_t)source.p[i];
        if (r.error < 0 || ret->is_full) {
            break;
        }
        take(&r, i);
        /* Columns count UTF-16 units: a character beyond the basic plane is two. */
        r.column += (c & 0xc0) == 0x80 ? 0 : c >= 0xf0 ? 2 : 1;
    }
    finish(&r);
    return r.error;
}

struct list *tree_content(const struct element *e)
{
    const struct element *next = e->next;
    bool has = next != NULL && next->list != NULL && next->list->first != NULL &&
               next->list->first->list == NULL;
    return has ? next->list : NULL;
}
