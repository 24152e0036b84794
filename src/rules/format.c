/* The formatter. Words, terminators and comments keep their order; only the space between them
 * changes, and where a terminator is glued to a word that opens no block. Blocks are laid out as
 * people read them (the documented grammar); that the meaning stays is tested by compiling before
 * and after. Source: spec 06 section 16.9. */
#include "rules/number.h"
#include "rules/rdl.h"
#include "rules/unicode.h"
#include "rules/words.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { COLUMNS = 80, STEP = 2, DEPTH_MAX = 8, WORD_LEN_MAX = 64 };

enum piece_kind { PIECE_WORD, PIECE_END, PIECE_COMMENT };

/* A word, a terminator or a comment. */
struct piece {
    enum piece_kind kind;
    struct rdl_text text; /* of a word: with a terminator that must stay glued to it */
    bool is_closed;       /* a word with its terminator */
    bool is_line;         /* first of its line in the source */
    bool is_apart;        /* a blank line was before it */
};

struct formatter {
    FILE *out;
    struct piece *pieces;
    size_t count;
    size_t room;
    unsigned depth;  /* of definitions around */
    bool is_begun;   /* something was printed */
    bool is_in_line; /* the line is not ended */
    bool is_documented;
};

static bool is_space(char c)
{
    return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

/* ---- pieces ---- */

static int add(struct formatter *f, struct piece piece)
{
    if (f->count == f->room) {
        size_t room = f->room == 0 ? 64 : f->room * 2;
        struct piece *grown = realloc(f->pieces, room * sizeof(*grown));
        if (grown == NULL) {
            return -ENOMEM;
        }
        f->pieces = grown;
        f->room = room;
    }
    f->pieces[f->count++] = piece;
    return 0;
}

/* A word of the script in lower case, for comparison: a long one is none that we know. */
static struct rdl_text lower(struct rdl_text text, char buf[2 * WORD_LEN_MAX])
{
    if (text.len > WORD_LEN_MAX) {
        return (struct rdl_text){buf, 0};
    }
    return (struct rdl_text){buf, unicode_lower_text(text.p, text.len, buf)};
}

static bool is_word(const struct piece *p, const char *word)
{
    char buf[2 * WORD_LEN_MAX];
    struct rdl_text t = p->text;
    t.len -= p->is_closed ? 1 : 0;
    return p->kind == PIECE_WORD && text_is(lower(t, buf), word);
}

/* A run of characters without space: a word and what terminators it ends in. */
static int add_run(struct formatter *f, struct rdl_text run, struct piece piece)
{
    char buf[2 * WORD_LEN_MAX];
    size_t ends = 0;
    while (ends < run.len && run.p[run.len - ends - 1] == ';' && (f->is_documented || ends == 0)) {
        ends++;
    }
    int error = 0;
    struct rdl_text text = {run.p, run.len - ends};
    if (text.len > 0) {
        piece.kind = PIECE_WORD;
        piece.text = text;
        if (ends > 0 && (text.p[text.len - 1] == ';' || word_is_opener(lower(text, buf)))) {
            piece.is_closed = true;
            piece.text.len++;
            ends--;
        }
        error = add(f, piece);
        piece.is_closed = piece.is_line = piece.is_apart = false;
    }
    for (; ends > 0 && error == 0; ends--) {
        piece.kind = PIECE_END;
        error = add(f, piece);
        piece.is_line = piece.is_apart = false;
    }
    return error;
}

/* Where the run or comment at i ends. */
static size_t end_of(const struct formatter *f, struct rdl_text source, size_t i)
{
    bool is_comment = source.p[i] == '#';
    size_t end = i;
    while (end < source.len) {
        char c = source.p[end];
        bool glued =
            f->is_documented && !is_comment && c == '#' && end > i && source.p[end - 1] == ';';
        if (is_comment ? c == '\n' || c == '\r' : is_space(c) || glued) {
            break;
        }
        end++;
    }
    return end;
}

static int split(struct formatter *f, struct rdl_text source)
{
    unsigned lines = 1;
    for (size_t i = 0; i < source.len;) {
        if (is_space(source.p[i])) {
            lines += source.p[i] == '\n' ? 1 : 0;
            i++;
            continue;
        }
        struct piece piece = {.kind = PIECE_COMMENT, .is_line = lines > 0, .is_apart = lines > 1};
        size_t end = end_of(f, source, i);
        piece.text = (struct rdl_text){source.p + i, end - i};
        while (source.p[i] == '#' && is_space(piece.text.p[piece.text.len - 1])) {
            piece.text.len--;
        }
        int error = source.p[i] == '#' ? add(f, piece) : add_run(f, piece.text, piece);
        if (error < 0) {
            return error;
        }
        lines = 0;
        i = end;
    }
    return 0;
}

/* ---- lines ---- */

static void end_line(struct formatter *f)
{
    if (f->is_in_line) {
        (void)fputc('\n', f->out);
        f->is_in_line = false;
    }
}

static void begin_line(struct formatter *f, unsigned indent)
{
    end_line(f);
    (void)fprintf(f->out, "%*s", (int)indent, "");
    f->is_in_line = true;
    f->is_begun = true;
}

static void print_piece(struct formatter *f, const struct piece *p)
{
    (void)fwrite(p->text.p, 1, p->text.len, f->out);
}

/* A comment at i: behind what it follows, or on a line of its own. */
static void print_comment(struct formatter *f, size_t i, unsigned indent)
{
    const struct piece *p = &f->pieces[i];
    if (p->is_line || !f->is_in_line) {
        if (p->is_apart && f->is_begun) {
            end_line(f);
            (void)fputc('\n', f->out);
        }
        begin_line(f, indent);
    } else {
        (void)fputc(' ', f->out);
    }
    print_piece(f, p);
    end_line(f);
}

static unsigned indent_of(const struct formatter *f)
{
    return STEP * (f->depth < DEPTH_MAX ? f->depth : DEPTH_MAX);
}

/* ---- statements ---- */

static bool is_digits(struct rdl_text t)
{
    size_t i = 0;
    while (i < t.len && t.p[i] >= '0' && t.p[i] <= '9') {
        i++;
    }
    return i == t.len && i > 0;
}

/* How many words from i on belong on one line of a statement, i itself among them, as far as they
 * are there: a match with its operators and arguments, an item of a tag. */
static size_t chunk_len(const struct formatter *f, size_t i, bool is_tag)
{
    char buf[2 * WORD_LEN_MAX];
    const struct piece *p = &f->pieces[i];
    if (is_tag) {
        return is_word(p, "flag") || is_word(p, "enum")    ? 3
               : is_word(p, "id") || is_word(p, "default") ? 2
                                                           : 1;
    }
    size_t operators = 0;
    while (i + operators < f->count &&
           (is_word(p + operators, "and") || is_word(p + operators, "or") ||
            is_word(p + operators, "not"))) {
        operators++;
    }
    size_t at = i + operators;
    if (at >= f->count || f->pieces[at].kind != PIECE_WORD) {
        return operators;
    }
    const struct match_word *m = word_match(lower(f->pieces[at].text, buf));
    size_t last = at + (m != NULL ? m->arguments : 0);
    bool is_range = m != NULL && (m->kind == MATCH_RANGE || m->kind == MATCH_TOS);
    bool is_two = is_range && last + 1 < f->count && f->pieces[last + 1].kind == PIECE_WORD &&
                  is_digits(f->pieces[last].text) && is_digits(f->pieces[last + 1].text);
    return last - i + (is_two ? 2 : 1);
}

/* Words of the first line of a statement at i. */
static size_t head_len(const struct piece *p)
{
    if (is_word(p, "tee") || is_word(p, "watch")) {
        return 3;
    }
    bool is_two = is_word(p, "redirect") || is_word(p, "include") || is_word(p, "id") ||
                  is_word(p, "tag") || is_word(p, "cap") || is_word(p, "macro");
    return is_two ? 2 : 1;
}

static bool is_action(const struct piece *p)
{
    return is_word(p, "accept") || is_word(p, "drop") || is_word(p, "break") || is_word(p, "tee") ||
           is_word(p, "watch") || is_word(p, "redirect");
}

/* The words of a chunk from i on, on the line that was begun. Returns the piece after them. */
static size_t print_chunk(struct formatter *f, size_t i, size_t len)
{
    for (size_t k = 0; k < len && i < f->count && f->pieces[i].kind == PIECE_WORD; k++, i++) {
        if (k > 0) {
            (void)fputc(' ', f->out);
        }
        print_piece(f, &f->pieces[i]);
        if (f->pieces[i].is_closed) {
            return i + 1;
        }
    }
    return i;
}

/* Is the piece at end the terminator of the statement that begins at i, which has none of its own?
 */
static bool is_end(const struct formatter *f, size_t i, size_t end)
{
    return end < f->count && f->pieces[end].kind == PIECE_END &&
           !(end > i && f->pieces[end - 1].is_closed);
}

/* The end of the statement that begins at i: its terminator, or the piece where it stops for want
 * of one. *ret_fits: it may stand on one line. */
static size_t statement_end(const struct formatter *f, size_t i, bool is_tag, bool *ret_fits)
{
    size_t columns = indent_of(f) + 1;
    size_t at = i;
    *ret_fits = true;
    for (; at < f->count && f->pieces[at].kind != PIECE_END; at++) {
        const struct piece *p = &f->pieces[at];
        char buf[2 * WORD_LEN_MAX];
        if (p->kind == PIECE_COMMENT) {
            *ret_fits = false;
            continue;
        }
        bool is_next = at >= i + head_len(&f->pieces[i]) && !is_tag &&
                       (word_is_opener(lower(p->text, buf)) || is_word(p, "include"));
        if (is_next) {
            break;
        }
        columns += unicode_utf16_len(p->text.p, p->text.len) + 1;
        if (p->is_closed) {
            at++;
            break;
        }
    }
    /* Comments before the next statement are not of this one. */
    bool has_end = is_end(f, i, at);
    while (!has_end && at > i && f->pieces[at - 1].kind == PIECE_COMMENT) {
        at--;
        *ret_fits = true;
    }
    *ret_fits = *ret_fits && columns <= COLUMNS + 1;
    return at;
}

/* The terminator at i, behind the words of a line or on its own. */
static void print_end(struct formatter *f, size_t i, bool in_line)
{
    char buf[2 * WORD_LEN_MAX];
    if (!in_line || !f->is_in_line) {
        begin_line(f, indent_of(f));
    } else if (word_is_opener(lower(f->pieces[i - 1].text, buf))) {
        (void)fputc(' ', f->out); /* glued to this one it would close another block */
    }
    (void)fputc(';', f->out);
}

/* An action or a tag at i. Returns the piece after it. */
static size_t print_statement(struct formatter *f, size_t i, bool is_tag)
{
    bool fits;
    size_t end = statement_end(f, i, is_tag, &fits);
    bool has_end = is_end(f, i, end);
    begin_line(f, indent_of(f));
    if (fits) {
        print_chunk(f, i, end - i);
        i = end;
    } else {
        i = print_chunk(f, i, head_len(&f->pieces[i]));
    }
    while (i < end) {
        if (f->pieces[i].kind == PIECE_COMMENT) {
            print_comment(f, i, indent_of(f) + STEP);
            i++;
            continue;
        }
        size_t len = chunk_len(f, i, is_tag);
        begin_line(f, indent_of(f) + STEP);
        i = print_chunk(f, i, len < end - i ? len : end - i);
    }
    if (has_end) {
        print_end(f, end, fits);
    }
    return end + (has_end ? 1 : 0);
}

/* What begins at i. Returns the piece after it. */
static size_t print_next(struct formatter *f, size_t i)
{
    const struct piece *p = &f->pieces[i];
    if (p->kind == PIECE_COMMENT) {
        print_comment(f, i, indent_of(f));
        return i + 1;
    }
    if (p->is_apart && f->is_begun) {
        end_line(f);
        (void)fputc('\n', f->out);
    }
    if (p->kind == PIECE_END) {
        f->depth -= f->depth > 0 ? 1 : 0;
        print_end(f, i, false);
        return i + 1;
    }
    if (is_word(p, "tag") || is_action(p)) {
        return print_statement(f, i, is_word(p, "tag"));
    }
    begin_line(f, indent_of(f));
    if (!p->is_closed && (is_word(p, "cap") || is_word(p, "macro"))) {
        f->depth++;
    }
    return print_chunk(f, i, head_len(p));
}

/* The text of all pieces; NULL out of memory. */
static char *print_all(struct formatter *f, bool ends_open)
{
    char buf[2 * WORD_LEN_MAX];
    char *text = NULL;
    size_t size;
    f->out = open_memstream(&text, &size);
    if (f->out == NULL) {
        return NULL;
    }
    for (size_t i = 0; i < f->count;) {
        i = print_next(f, i);
    }
    /* A line end behind an opener begins a block: spec 06 section 3.3 item 8. */
    const struct piece *last = f->count > 0 ? &f->pieces[f->count - 1] : NULL;
    if (!(ends_open && last != NULL && last->kind == PIECE_WORD &&
          word_is_opener(lower(last->text, buf)))) {
        end_line(f);
    }
    if (fclose(f->out) != 0) {
        free(text);
        return NULL;
    }
    return text;
}

/* ---- the same before and after ---- */

/* Does text compile to the same, in this mode? before: result of the source. */
static int compiles_the_same(const struct rdl_result *before, const char *text, enum rdl_mode mode)
{
    struct rdl_result *after;
    int error = rdl_compile(text, strlen(text), mode, &after);
    if (error < 0) {
        return error;
    }
    if (before->is_ok && after->is_ok) {
        json_t *a = rdl_result_json(before);
        json_t *b = rdl_result_json(after);
        error = json_equal(a, b) != 0 ? 0 : -ENOTSUP;
        json_decref(a);
        json_decref(b);
    } else if (before->is_ok) {
        error = -ENOTSUP;
    }
    rdl_free(after);
    return error;
}

static int format_as(struct rdl_text source, const struct rdl_result *normal,
                     const struct rdl_result *strict, char **ret)
{
    struct formatter f = {.is_documented = normal->is_documented};
    int error = split(&f, source);
    bool ends_open = source.len > 0 && !is_space(source.p[source.len - 1]);
    char *text = error == 0 ? print_all(&f, ends_open) : NULL;
    free(f.pieces);
    error = text == NULL ? -ENOMEM : compiles_the_same(normal, text, RDL_NORMAL);
    error = error == 0 ? compiles_the_same(strict, text, RDL_STRICT) : error;
    if (error < 0) {
        free(text);
        return error;
    }
    *ret = text;
    return 0;
}

int rdl_format(const char *source, size_t len, char **ret)
{
    struct rdl_result *normal = NULL;
    struct rdl_result *strict = NULL;
    int error = memchr(source, '\0', len) != NULL ? -ENOTSUP : 0;
    error = error == 0 ? rdl_compile(source, len, RDL_NORMAL, &normal) : error;
    error = error == 0 ? rdl_compile(source, len, RDL_STRICT, &strict) : error;
    if (error == 0) {
        error = normal->is_ok ? format_as((struct rdl_text){source, len}, normal, strict, ret)
                              : -EINVAL;
    }
    rdl_free(normal);
    rdl_free(strict);
    return error;
}
