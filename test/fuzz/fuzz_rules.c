/* The rule language: any text compiles or is refused with places inside it, in both modes and in
 * bounded time; what the reference's way compiles, ours does too. */
#include "fuzz.h"

#include "rules/rdl.h"

#include <stdlib.h>
#include <string.h>

static void check_errors(const struct rdl_result *result, const char *source, size_t len)
{
    fuzz_require(result->error_count > 0 && result->error_count <= RDL_ERRORS_MAX, "errors");
    for (size_t i = 0; i < result->error_count; i++) {
        const struct rdl_error *e = &result->errors[i];
        fuzz_require(e->place.at <= len && e->place.len <= len - e->place.at, "a place inside");
        fuzz_require(e->message.len > 0, "a message");
    }
    char *text = rdl_errors_text(result, source, len, "fuzz");
    json_t *json = rdl_errors_json(result, source, len);
    fuzz_require(text != NULL && json_array_size(json) == result->error_count, "printable");
    free(text);
    json_decref(json);
}

static void check(const struct rdl_result *result, const char *source, size_t len)
{
    if (!result->is_ok) {
        check_errors(result, source, len);
        return;
    }
    json_t *json = rdl_result_json(result);
    const json_t *rules = json_object_get(json_object_get(json, "config"), "rules");
    fuzz_require(result->base.count <= RDL_ENTRIES_MAX &&
                     json_array_size(rules) == result->base.count,
                 "all rules");
    json_decref(json);
    json = rdl_source_map_json(result, source, len);
    fuzz_require(json_array_size(json_object_get(json, "rules")) == result->base.count,
                 "a source map of all rules");
    json_decref(json);
}

static void check_lint(struct rdl_result *result, const char *source, size_t len)
{
    if (!result->is_ok) {
        return;
    }
    fuzz_require(rdl_lint(result, source, len) == 0, "memory");
    for (size_t i = 0; i < result->finding_count; i++) {
        const struct rdl_place *place = &result->findings[i].place;
        fuzz_require(place->at <= len && place->len <= len - place->at, "a place inside");
    }
    char *text = rdl_findings_text(result, source, len, "fuzz");
    json_t *json = rdl_findings_json(result, source, len);
    fuzz_require(text != NULL && json_array_size(json) == result->finding_count, "printable");
    free(text);
    json_decref(json);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    struct rdl_result *strict = NULL;
    struct rdl_result *normal = NULL;
    const char *source = (const char *)data;
    fuzz_require(rdl_compile(source, len, RDL_STRICT, &strict) == 0, "memory");
    fuzz_require(rdl_compile(source, len, RDL_NORMAL, &normal) == 0, "memory");
    check(strict, source, len);
    check(normal, source, len);
    check_lint(normal, source, len);
    char *once = NULL;
    if (len <= 4096 && rdl_format(source, len, &once) == 0) {
        fuzz_require(normal->is_ok, "what is laid out compiles");
    }
    free(once);
    rdl_free(strict);
    rdl_free(normal);
    return 0;
}
