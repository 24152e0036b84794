/* From a posted script to posted rules. */
#include "controller/rules_source.h"

#include "rules/rdl.h"

#include <errno.h>
#include <string.h>

/* *ret_error of apply from all errors (taken). Returns NULL out of memory. */
static json_t *first_of(json_t *errors)
{
    const json_t *first = json_array_get(errors, 0);
    json_t *obj = json_object();
    static const char *const keys[] = {"line", "column", "message"};
    for (size_t i = 0; i < COUNT_OF(keys); i++) {
        json_object_set(obj, keys[i], json_object_get(first, keys[i]));
    }
    json_object_set_new(obj, "errors", errors);
    return obj;
}

/* The same where it compiles and a controller has to refuse it (W104: matches that would match all,
 * W208: rules that would not be sent). NULL: nothing of the kind, or out of memory. */
static json_t *refusal_json(const struct rdl_result *result, const char *source, size_t len)
{
    json_t *findings = rdl_findings_json(result, source, len);
    json_t *errors = json_array();
    size_t i;
    json_t *finding;
    json_array_foreach(findings, i, finding)
    {
        unsigned code = result->findings[i].code;
        if (code == 104 || code == 208) {
            json_array_append(errors, finding);
        }
    }
    json_decref(findings);
    if (json_array_size(errors) == 0) {
        json_decref(errors);
        return NULL;
    }
    return first_of(errors);
}

/* Put the parts of a result into the body. Returns 0; -ENOMEM. */
static int put_result(json_t *body, const struct rdl_result *result, const char *source)
{
    json_t *all = rdl_result_json(result);
    json_t *text = json_string(source);
    int bad = all == NULL || text == NULL ? -1 : 0;
    bad |= json_object_update(body, json_object_get(all, "config"));
    bad |= json_object_set(body, "capabilitiesByName", json_object_get(all, "capabilitiesByName"));
    bad |= json_object_set(body, "tagsByName", json_object_get(all, "tagsByName"));
    bad |= json_object_set(body, "rulesSource", text);
    json_decref(all);
    json_decref(text);
    return bad == 0 ? 0 : -ENOMEM;
}

static void note_findings(struct edit *e, const struct rdl_result *result, const char *source,
                          size_t len)
{
    for (size_t i = 0; i < result->finding_count; i++) {
        const struct rdl_finding *f = &result->findings[i];
        uint32_t line;
        uint32_t column;
        if (rdl_severity(f->code) == RDL_INFORMATION) {
            continue;
        }
        rdl_line_column(source, len, f->place.at, &line, &column);
        edit_note(e, "rulesSource: line %u column %u: W%u: %s", line, column, f->code,
                  rdl_finding_text(f->code));
    }
}

/* Compile a script and put into body, the object of a network as it is posted, what it says. What
 * lint finds suspicious is noted. Returns 0; -EINVAL with *ret_error and body unchanged; -ENOMEM.
 */
static int apply(json_t *body, const char *source, struct edit *e, json_t **ret_error)
{
    struct rdl_result *result = NULL;
    size_t len = strlen(source);
    int error = rdl_compile(source, len, RDL_NORMAL, &result);
    if (error < 0) {
        return error;
    }
    json_t *wrong = NULL;
    if (result->is_ok) {
        error = rdl_lint(result, source, len);
        wrong = error == 0 ? refusal_json(result, source, len) : NULL;
    } else {
        wrong = first_of(rdl_errors_json(result, source, len));
    }
    if (wrong != NULL) {
        *ret_error = wrong;
        error = -EINVAL;
    } else if (error == 0) {
        error = result->is_ok ? put_result(body, result, source) : -ENOMEM;
    }
    if (error == 0) {
        note_findings(e, result, source, len);
    }
    rdl_free(result);
    return error;
}

/* A text without a word says nothing: it does not take the rules away. */
static bool is_blank(const char *text)
{
    return text[strspn(text, " \t\r\n")] == '\0';
}

json_t *rules_source_expand(struct edit *e, json_t *body)
{
    const char *source = json_string_value(json_object_get(body, "rulesSource"));
    if (source == NULL || is_blank(source) || json_object_get(body, "rules") != NULL) {
        return json_incref(body);
    }
    json_t *whole = json_copy(body);
    int error = whole != NULL ? apply(whole, source, e, &e->source_error) : -ENOMEM;
    if (error == -EINVAL) {
        const json_t *message = json_object_get(e->source_error, "message");
        edit_warn(e, "rulesSource: kept as text only, line %d column %d: %.100s",
                  (int)json_integer_value(json_object_get(e->source_error, "line")),
                  (int)json_integer_value(json_object_get(e->source_error, "column")),
                  json_string_value(message));
    } else if (error < 0) {
        json_decref(whole);
        return NULL;
    }
    return whole;
}
