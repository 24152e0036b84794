/* Compiled sets as JSON. Source: spec 06 sections 9.3 and 13. */
#include "rules/rdl.h"
#include "rules/words.h"
#include "wire/rule.h"

#include <inttypes.h>
#include <stdio.h>

static json_t *text_json(struct rdl_text t)
{
    return json_stringn(t.p, t.len);
}

static void set_int(json_t *obj, const char *key, int64_t v)
{
    json_object_set_new(obj, key, json_integer(v));
}

static void match_fields(json_t *obj, const struct rdl_entry *e, const struct match_word *m)
{
    char hex[17];
    switch (m->kind) {
    case MATCH_ZT:
    case MATCH_MAC:
    case MATCH_IP:
        json_object_set_new(obj, m->field, text_json(e->text));
        break;
    case MATCH_TOS:
        set_int(obj, "mask", e->a);
        set_int(obj, "start", e->b);
        set_int(obj, "end", e->c);
        break;
    case MATCH_ICMP:
        set_int(obj, "icmpType", e->a);
        json_object_set_new(obj, "icmpCode", e->b < 0 ? json_null() : json_integer(e->b));
        break;
    case MATCH_RANGE:
        set_int(obj, "start", e->a);
        set_int(obj, "end", e->b);
        break;
    case MATCH_CHARACTERISTICS:
        (void)snprintf(hex, sizeof(hex), "%016" PRIx64, e->mask);
        json_object_set_new(obj, "mask", json_string(hex));
        break;
    case MATCH_TAG:
        set_int(obj, "id", e->a);
        set_int(obj, "value", e->b);
        break;
    default:
        set_int(obj, m->field, e->a);
        break;
    }
}

static json_t *entry_json(const struct rdl_entry *e)
{
    json_t *obj = json_object();
    json_object_set_new(obj, "type", json_string(rule_type_name(e->type)));
    const struct match_word *m = word_match_of_type(e->type);
    if (m != NULL) {
        json_object_set_new(obj, "not", json_boolean(e->is_not));
        json_object_set_new(obj, "or", json_boolean(e->is_or));
        match_fields(obj, e, m);
    } else if (e->type == RULE_TEE || e->type == RULE_WATCH || e->type == RULE_REDIRECT) {
        json_object_set_new(obj, "address", text_json(e->text));
        if (e->type != RULE_REDIRECT) {
            set_int(obj, "length", e->a);
        }
    }
    return obj;
}

json_t *rdl_set_json(const struct rdl_set *set)
{
    json_t *array = json_array();
    for (size_t i = 0; i < set->count; i++) {
        json_array_append_new(array, entry_json(&set->entries[i]));
    }
    return array;
}

static json_t *values_json(const struct rdl_values *values)
{
    json_t *obj = json_object();
    for (size_t i = 0; i < values->count; i++) {
        struct rdl_text name = values->items[i].name;
        json_object_setn_new(obj, name.p, name.len, json_integer(values->items[i].value));
    }
    return obj;
}

static json_t *preset_json(const struct rdl_tag *tag)
{
    return tag->has_default ? json_integer(tag->preset) : json_null();
}

json_t *rdl_result_json(const struct rdl_result *result)
{
    json_t *caps = json_array();
    json_t *tags = json_array();
    json_t *caps_by_name = json_object();
    json_t *tags_by_name = json_object();
    for (size_t i = 0; i < result->capability_count; i++) {
        const struct rdl_capability *c = &result->capabilities[i];
        json_array_append_new(caps,
                              json_pack("{s:I,s:b,s:o}", "id", (json_int_t)c->id, "default",
                                        (int)c->is_default, "rules", rdl_set_json(&c->rules)));
        json_object_setn_new(caps_by_name, c->name.p, c->name.len, json_integer(c->id));
    }
    for (size_t i = 0; i < result->tag_count; i++) {
        const struct rdl_tag *t = &result->tags[i];
        json_array_append_new(
            tags, json_pack("{s:I,s:o}", "id", (json_int_t)t->id, "default", preset_json(t)));
        json_object_setn_new(tags_by_name, t->name.p, t->name.len,
                             json_pack("{s:I,s:o,s:o,s:o}", "id", (json_int_t)t->id, "default",
                                       preset_json(t), "enums", values_json(&t->enums), "flags",
                                       values_json(&t->flags)));
    }
    return json_pack("{s:{s:o,s:o,s:o},s:o,s:o}", "config", "rules", rdl_set_json(&result->base),
                     "capabilities", caps, "tags", tags, "capabilitiesByName", caps_by_name,
                     "tagsByName", tags_by_name);
}
