/* Defaults of join tokens. Source: spec 04 section 10.4. */
#include "controller/join_defaults.h"

#include "base/hex.h"
#include "controller/member_doc.h"

#include <errno.h>
#include <string.h>

enum {
    NAME_MAX_LEN = 127,
    LIST_MAX = 128, /* of tags, of capabilities: more are not sent */
};

#define ADDRESS_MARK "{address}" /* in a name */

static bool is_pair(const json_t *v)
{
    return json_array_size(v) == 2 && json_is_integer(json_array_get(v, 0)) &&
           json_is_integer(json_array_get(v, 1));
}

/* A list of the body: checked, copied, numbers cut to 32 bits. */
static void read_list(struct edit *e, json_t *out, const json_t *body, const char *key, bool pairs)
{
    const json_t *posted = json_object_get(body, key);
    if (posted == NULL || json_is_null(posted)) {
        return;
    }
    json_t *list = json_array();
    bool good = json_is_array(posted) && json_array_size(posted) <= LIST_MAX;
    for (size_t i = 0; good && i < json_array_size(posted); i++) {
        const json_t *v = json_array_get(posted, i);
        good = pairs ? is_pair(v) : json_is_integer(v);
        json_int_t a = json_integer_value(pairs ? json_array_get(v, 0) : v) & UINT32_MAX;
        json_int_t b = json_integer_value(json_array_get(v, 1)) & UINT32_MAX;
        json_array_append_new(list, pairs ? json_pack("[II]", a, b) : json_integer(a));
    }
    if (!good) {
        json_decref(list);
        edit_fail(e, 400, "%s: must be a list of at most %d %s", key, LIST_MAX,
                  pairs ? "pairs [id,value]" : "numbers");
        return;
    }
    edit_set(e, out, key, list);
}

json_t *join_defaults_read(struct edit *e, const json_t *body)
{
    json_t *out = json_object();
    const json_t *name = json_object_get(body, "name");
    if (json_is_string(name) && json_string_length(name) <= NAME_MAX_LEN) {
        edit_set(e, out, "name", json_string(json_string_value(name)));
    } else if (name != NULL && !json_is_null(name)) {
        edit_fail(e, 400, "name: must be a text of at most %d bytes", NAME_MAX_LEN);
    }
    read_list(e, out, body, "tags", true);
    read_list(e, out, body, "capabilities", false);
    const json_t *duration = json_object_get(body, "accessDuration");
    bool wanted = duration != NULL && !json_is_null(duration);
    if (wanted && (!json_is_integer(duration) || json_integer_value(duration) < 0)) {
        edit_fail(e, 400, "accessDuration: must be a number of milliseconds");
    } else if (wanted && json_integer_value(duration) > 0) {
        edit_set(e, out, "accessDuration", json_integer(json_integer_value(duration)));
    }
    if (e->status != 0 || json_object_size(out) == 0) {
        json_decref(out);
        return NULL;
    }
    return out;
}

/* The name with the mark replaced by the address. */
static json_t *name_json(const struct cmember *m, const char *pattern)
{
    const char *mark = strstr(pattern, ADDRESS_MARK);
    if (mark == NULL) {
        return json_string(pattern);
    }
    char address[11];
    hex_from_u64(m->address, 10, address);
    return json_sprintf("%.*s%s%s", (int)(mark - pattern), pattern, address,
                        mark + sizeof(ADDRESS_MARK) - 1);
}

/* Add to a list of the document what it lacks; a later entry with the same ID would win. */
static int merge(json_t *doc, const char *key, const json_t *defaults)
{
    const json_t *wanted = json_object_get(defaults, key);
    if (wanted == NULL) {
        return 0;
    }
    json_t *both = json_array();
    if (both == NULL || json_array_extend(both, (json_t *)wanted) != 0 ||
        json_array_extend(both, json_object_get(doc, key)) != 0) {
        json_decref(both);
        return -ENOMEM;
    }
    return json_object_set_new(doc, key, both) == 0 ? 0 : -ENOMEM;
}

int join_defaults_apply(struct cmember *m, const json_t *defaults, int64_t wall_ms)
{
    if (!json_is_object(defaults)) {
        return 0;
    }
    json_t *doc = member_to_json(m);
    int error = doc != NULL ? merge(doc, "tags", defaults) : -ENOMEM;
    if (error == 0) {
        error = merge(doc, "capabilities", defaults);
    }
    const char *name = json_string_value(json_object_get(defaults, "name"));
    if (error == 0 && name != NULL && (m->name == NULL || m->name[0] == '\0')) {
        error = json_object_set_new(doc, "name", name_json(m, name)) == 0 ? 0 : -ENOMEM;
    }
    json_int_t duration = json_integer_value(json_object_get(defaults, "accessDuration"));
    if (error == 0 && duration > 0 && duration < INT64_MAX - wall_ms && m->access_expiry_ms == 0) {
        json_t *end = json_integer(wall_ms + duration);
        error = json_object_set_new(doc, "accessExpiryTime", end) == 0 ? 0 : -ENOMEM;
    }
    if (error == 0) {
        error = member_from_json(m, doc);
    }
    json_decref(doc);
    return error;
}
