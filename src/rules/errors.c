/* Errors, findings and the source map for people and programs. Places are true ones here, not the
 * reference's. Source: spec 06 sections 2.4 and 16.3. */
#include "rules/rdl.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { EXCERPT_MAX = 120 }; /* bytes of a line that are shown */

static bool is_continuation(char c)
{
    return ((uint8_t)c & 0xc0) == 0x80;
}

/* Is there an end of a line after byte i? CR counts unless LF follows. */
static bool ends_line(const char *source, size_t len, size_t i)
{
    return source[i] == '\n' || (source[i] == '\r' && (i + 1 >= len || source[i + 1] != '\n'));
}

void rdl_line_column(const char *source, size_t len, uint32_t at, uint32_t *ret_line,
                     uint32_t *ret_column)
{
    uint32_t line = 1;
    uint32_t column = 1;
    for (size_t i = 0; i < at && i < len; i++) {
        if (ends_line(source, len, i)) {
            line++;
            column = 1;
        } else {
            column += is_continuation(source[i]) ? 0 : 1;
        }
    }
    *ret_line = line;
    *ret_column = column;
}

/* The line of a place, with a caret below; a long one is cut around it. */
static void print_excerpt(FILE *out, const char *source, size_t len, const struct rdl_place *place)
{
    size_t at = place->at < len ? place->at : len;
    size_t start = at;
    size_t end = at;
    while (start > 0 && at - start < EXCERPT_MAX / 2 && !ends_line(source, len, start - 1)) {
        start--;
    }
    while (end < len && end - start < EXCERPT_MAX && source[end] != '\n' && source[end] != '\r') {
        end++;
    }
    while (start < at && is_continuation(source[start])) {
        start++;
    }
    while (end > at && end < len && is_continuation(source[end])) {
        end--;
    }
    (void)fputs("    ", out);
    for (size_t i = start; i < end; i++) {
        bool is_control = (uint8_t)source[i] < 0x20 || source[i] == 0x7f;
        (void)fputc(is_control ? ' ' : source[i], out);
    }
    (void)fputs("\n    ", out);
    for (size_t i = start; i < at; i++) {
        if (!is_continuation(source[i])) {
            (void)fputc(' ', out);
        }
    }
    (void)fputc('^', out);
    for (size_t i = at + 1; i < end && i < at + place->len; i++) {
        if (!is_continuation(source[i])) {
            (void)fputc('~', out);
        }
    }
    (void)fputc('\n', out);
}

/* "file:line:column: " */
static void print_place(FILE *out, const char *source, size_t len, uint32_t at, const char *name)
{
    uint32_t line;
    uint32_t column;
    rdl_line_column(source, len, at, &line, &column);
    (void)fprintf(out, "%s:%u:%u", name, line, column);
}

/* The line of a place, and how it came to be included. */
static void print_context(FILE *out, const char *source, size_t len, const struct rdl_place *place,
                          const struct rdl_include *via, const char *name)
{
    print_excerpt(out, source, len, place);
    for (const struct rdl_include *i = via; i != NULL; i = i->outer) {
        (void)fputs("    included at ", out);
        print_place(out, source, len, i->place.at, name);
        (void)fputc('\n', out);
    }
}

static void print_error(FILE *out, const struct rdl_error *e, const char *source, size_t len,
                        const char *name)
{
    print_place(out, source, len, e->place.at, name);
    (void)fprintf(out, ": %.*s\n", (int)e->message.len, e->message.p);
    print_context(out, source, len, &e->place, e->via, name);
    if (e->hint.len > 0) {
        (void)fprintf(out, "    hint: %.*s\n", (int)e->hint.len, e->hint.p);
    }
}

char *rdl_errors_text(const struct rdl_result *result, const char *source, size_t len,
                      const char *name)
{
    char *text = NULL;
    size_t size;
    FILE *out = open_memstream(&text, &size);
    if (out == NULL) {
        return NULL;
    }
    for (size_t i = 0; i < result->error_count; i++) {
        print_error(out, &result->errors[i], source, len, name);
    }
    if (result->errors_left_off > 0) {
        (void)fprintf(out, "%zu further errors\n", result->errors_left_off);
    }
    if (fclose(out) != 0) {
        free(text);
        return NULL;
    }
    return text;
}

static const char *const severities[] = {"error", "warning", "information"};

char *rdl_findings_text(const struct rdl_result *result, const char *source, size_t len,
                        const char *name)
{
    char *text = NULL;
    size_t size;
    FILE *out = open_memstream(&text, &size);
    if (out == NULL) {
        return NULL;
    }
    for (size_t i = 0; i < result->finding_count; i++) {
        const struct rdl_finding *f = &result->findings[i];
        print_place(out, source, len, f->place.at, name);
        (void)fprintf(out, ": %s W%u: %s", severities[rdl_severity(f->code)], f->code,
                      rdl_finding_text(f->code));
        (void)fprintf(out, f->detail.len > 0 ? " (%.*s)\n" : "%.*s\n", (int)f->detail.len,
                      f->detail.p);
        if (f->place.len > 0) {
            print_context(out, source, len, &f->place, f->via, name);
        }
    }
    if (fclose(out) != 0) {
        free(text);
        return NULL;
    }
    return text;
}

static json_t *place_json(const char *source, size_t len, uint32_t at)
{
    uint32_t line;
    uint32_t column;
    rdl_line_column(source, len, at, &line, &column);
    return json_pack("{s:I,s:I}", "line", (json_int_t)line, "column", (json_int_t)column);
}

/* The parts that errors and findings have: from where to where, and by which inclusions. */
static json_t *context_json(const struct rdl_place *place, const struct rdl_include *via,
                            const char *source, size_t len)
{
    uint32_t line;
    uint32_t column;
    json_t *included = json_array();
    for (const struct rdl_include *i = via; i != NULL; i = i->outer) {
        json_array_append_new(included, place_json(source, len, i->place.at));
    }
    json_t *obj = place_json(source, len, place->at);
    rdl_line_column(source, len, place->at + place->len, &line, &column);
    json_object_set_new(obj, "endLine", json_integer((json_int_t)line));
    json_object_set_new(obj, "endColumn", json_integer((json_int_t)column));
    json_object_set_new(obj, "includedAt", included);
    return obj;
}

static json_t *error_json(const struct rdl_error *e, const char *source, size_t len)
{
    json_t *obj = context_json(&e->place, e->via, source, len);
    json_object_set_new(obj, "message", json_stringn(e->message.p, e->message.len));
    json_object_set_new(obj, "hint", json_stringn(e->hint.p, e->hint.len));
    json_object_set_new(obj, "reference",
                        json_pack("{s:I,s:I}", "line", (json_int_t)e->place.line, "column",
                                  (json_int_t)e->place.column));
    return obj;
}

static json_t *finding_json(const struct rdl_finding *f, const char *source, size_t len)
{
    char code[8];
    (void)snprintf(code, sizeof(code), "W%u", f->code);
    json_t *obj = context_json(&f->place, f->via, source, len);
    json_object_set_new(obj, "code", json_string(code));
    json_object_set_new(obj, "severity", json_string(severities[rdl_severity(f->code)]));
    json_object_set_new(obj, "message", json_string(rdl_finding_text(f->code)));
    json_object_set_new(obj, "detail", json_stringn(f->detail.p, f->detail.len));
    return obj;
}

json_t *rdl_findings_json(const struct rdl_result *result, const char *source, size_t len)
{
    json_t *array = json_array();
    for (size_t i = 0; i < result->finding_count; i++) {
        json_array_append_new(array, finding_json(&result->findings[i], source, len));
    }
    return array;
}

json_t *rdl_errors_json(const struct rdl_result *result, const char *source, size_t len)
{
    json_t *array = json_array();
    for (size_t i = 0; i < result->error_count; i++) {
        json_array_append_new(array, error_json(&result->errors[i], source, len));
    }
    return array;
}

static json_t *set_map(const struct rdl_set *set, const char *source, size_t len)
{
    json_t *array = json_array();
    for (size_t i = 0; i < set->count; i++) {
        const struct rdl_entry *e = &set->entries[i];
        json_array_append_new(array, context_json(&e->place, e->via, source, len));
    }
    return array;
}

json_t *rdl_source_map_json(const struct rdl_result *result, const char *source, size_t len)
{
    json_t *caps = json_object();
    for (size_t i = 0; i < result->capability_count; i++) {
        const struct rdl_capability *c = &result->capabilities[i];
        json_object_setn_new(caps, c->name.p, c->name.len, set_map(&c->rules, source, len));
    }
    return json_pack("{s:o,s:o}", "rules", set_map(&result->base, source, len), "capabilities",
                     caps);
}
