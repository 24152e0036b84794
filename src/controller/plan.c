/* Compiles the document of a network into what configurations are made of. Accepts whatever form a
 * stored or imported document has. Source: spec 04 sections 1, 2.4 to 2.7. */
#include "controller/coerce.h"
#include "controller/model.h"
#include "controller/rules_json.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* An IP without port or prefix from a text field. */
static bool parse_ip(const json_t *v, struct inetaddr *ret)
{
    const char *text = json_string_value(v);
    if (text == NULL || inetaddr_parse(text, strlen(text), ret) != 0 ||
        ret->family == INETADDR_NIL) {
        return false;
    }
    ret->port = 0;
    return true;
}

static int compile_routes(const json_t *array, struct plan *plan)
{
    size_t n = json_array_size(array);
    if (n == 0) {
        return 0;
    }
    n = n < NETCONF_ROUTES_MAX ? n : NETCONF_ROUTES_MAX;
    plan->routes = calloc(n, sizeof(*plan->routes));
    if (plan->routes == NULL) {
        return -ENOMEM;
    }
    for (size_t i = 0; i < json_array_size(array) && plan->route_count < n; i++) {
        const json_t *elem = json_array_get(array, i);
        const char *target = json_string_value(json_object_get(elem, "target"));
        struct netconf_route route;
        memset(&route, 0, sizeof(route));
        if (target == NULL || inetaddr_parse(target, strlen(target), &route.target) != 0 ||
            route.target.family == INETADDR_NIL ||
            route.target.port > (route.target.family == INETADDR_V4 ? 32 : 128)) {
            continue;
        }
        if (!parse_ip(json_object_get(elem, "via"), &route.via) ||
            route.via.family != route.target.family) {
            memset(&route.via, 0, sizeof(route.via));
        }
        plan->routes[plan->route_count++] = route;
    }
    return 0;
}

static int compile_pools(const json_t *array, struct plan *plan)
{
    size_t n = json_array_size(array);
    if (n == 0) {
        return 0;
    }
    plan->pools = calloc(n, sizeof(*plan->pools));
    if (plan->pools == NULL) {
        return -ENOMEM;
    }
    for (size_t i = 0; i < n; i++) {
        const json_t *elem = json_array_get(array, i);
        struct pool pool;
        if (parse_ip(json_object_get(elem, "ipRangeStart"), &pool.start) &&
            parse_ip(json_object_get(elem, "ipRangeEnd"), &pool.end) &&
            pool.start.family == pool.end.family) {
            plan->pools[plan->pool_count++] = pool;
        }
    }
    return 0;
}

static int compile_rules(const json_t *array, struct plan *plan)
{
    size_t n = json_array_size(array);
    if (n == 0) {
        return 0;
    }
    n = n < RULES_BASE_MAX ? n : RULES_BASE_MAX;
    plan->rules = calloc(n, sizeof(*plan->rules));
    if (plan->rules == NULL) {
        return -ENOMEM;
    }
    plan->rule_count = (uint16_t)rules_from_json(array, plan->rules, n);
    return 0;
}

static int compile_caps(const json_t *array, struct plan *plan)
{
    size_t n = json_array_size(array);
    size_t rules = 0;
    for (size_t i = 0; i < n; i++) {
        size_t r = json_array_size(json_object_get(json_array_get(array, i), "rules"));
        rules += r < RULES_CAPABILITY_MAX ? r : RULES_CAPABILITY_MAX;
    }
    if (n == 0) {
        return 0;
    }
    plan->caps = calloc(n, sizeof(*plan->caps));
    plan->cap_rules = calloc(rules + 1, sizeof(*plan->cap_rules));
    if (plan->caps == NULL || plan->cap_rules == NULL) {
        return -ENOMEM;
    }
    size_t used = 0;
    for (size_t i = 0; i < n; i++) {
        const json_t *elem = json_array_get(array, i);
        struct cap_def *def = &plan->caps[plan->cap_count++];
        def->id = (uint32_t)coerce_u64(json_object_get(elem, "id"), 0);
        def->is_default = coerce_bool(json_object_get(elem, "default"), false);
        def->rules = plan->cap_rules + used;
        const json_t *list = json_object_get(elem, "rules");
        size_t cap = json_array_size(list);
        cap = cap < RULES_CAPABILITY_MAX ? cap : RULES_CAPABILITY_MAX;
        def->rule_count = (uint16_t)rules_from_json(list, def->rules, cap);
        used += def->rule_count;
    }
    return 0;
}

static int compile_tags(const json_t *array, struct plan *plan)
{
    size_t n = json_array_size(array);
    if (n == 0) {
        return 0;
    }
    plan->tags = calloc(n, sizeof(*plan->tags));
    if (plan->tags == NULL) {
        return -ENOMEM;
    }
    for (size_t i = 0; i < n; i++) {
        const json_t *elem = json_array_get(array, i);
        const json_t *value = json_object_get(elem, "default");
        plan->tags[i].id = (uint32_t)coerce_u64(json_object_get(elem, "id"), 0);
        plan->tags[i].has_default = json_is_number(value);
        plan->tags[i].value = (uint32_t)coerce_u64(value, 0);
    }
    plan->tag_count = n;
    return 0;
}

static int compare_cap(const void *a, const void *b)
{
    uint32_t x = ((const struct cap_def *)a)->id;
    uint32_t y = ((const struct cap_def *)b)->id;
    return x < y ? -1 : x > y;
}

static int compare_tag(const void *a, const void *b)
{
    uint32_t x = ((const struct tag_def *)a)->id;
    uint32_t y = ((const struct tag_def *)b)->id;
    return x < y ? -1 : x > y;
}

/* Ascending, one of each ID: documents we wrote are like that already, imported ones need not. */
static void sort_definitions(struct plan *plan)
{
    size_t n = 0;
    if (plan->cap_count > 0) {
        qsort(plan->caps, plan->cap_count, sizeof(*plan->caps), compare_cap);
    }
    for (size_t i = 0; i < plan->cap_count; i++) {
        if (n == 0 || plan->caps[n - 1].id != plan->caps[i].id) {
            plan->caps[n++] = plan->caps[i];
        }
    }
    plan->cap_count = n;
    n = 0;
    if (plan->tag_count > 0) {
        qsort(plan->tags, plan->tag_count, sizeof(*plan->tags), compare_tag);
    }
    for (size_t i = 0; i < plan->tag_count; i++) {
        if (n == 0 || plan->tags[n - 1].id != plan->tags[i].id) {
            plan->tags[n++] = plan->tags[i];
        }
    }
    plan->tag_count = n;
}

/* Copy at most cap - 1 bytes without cutting a UTF-8 character. */
static void copy_text(char *out, size_t cap, const char *text)
{
    size_t len = strlen(text);
    if (len > cap - 1) {
        len = cap - 1;
        while (len > 0 && ((unsigned char)text[len] & 0xc0) == 0x80) {
            len--;
        }
    }
    memcpy(out, text, len);
    out[len] = '\0';
}

static void compile_dns(const json_t *dns, struct plan *plan)
{
    const char *domain = json_string_value(json_object_get(dns, "domain"));
    copy_text(plan->dns.domain, sizeof(plan->dns.domain), domain != NULL ? domain : "");
    const json_t *servers = json_object_get(dns, "servers");
    size_t used = 0;
    for (size_t i = 0; i < json_array_size(servers) && used < NETCONF_DNS_SERVERS; i++) {
        if (parse_ip(json_array_get(servers, i), &plan->dns.servers[used])) {
            used++;
        }
    }
}

static uint64_t clamp(uint64_t v, uint64_t low, uint64_t high)
{
    return v < low ? low : (v > high ? high : v);
}

static void compile_scalars(const json_t *doc, struct plan *plan)
{
    char buf[COERCE_TEXT_LEN];
    copy_text(plan->name, sizeof(plan->name), coerce_text(json_object_get(doc, "name"), buf, ""));
    plan->is_private = coerce_bool(json_object_get(doc, "private"), true);
    plan->broadcast = coerce_bool(json_object_get(doc, "enableBroadcast"), true);
    plan->multicast_limit = (uint32_t)coerce_u64(json_object_get(doc, "multicastLimit"), 32);
    plan->mtu = (uint16_t)clamp(coerce_u64(json_object_get(doc, "mtu"), NETCONF_MTU_DEFAULT),
                                NETCONF_MTU_MIN, NETCONF_MTU_MAX);
    const json_t *v4 = json_object_get(doc, "v4AssignMode");
    plan->v4_zt = coerce_bool(json_object_get(v4, "zt"), false);
    const json_t *v6 = json_object_get(doc, "v6AssignMode");
    plan->v6_zt = coerce_bool(json_object_get(v6, "zt"), false);
    plan->v6_rfc4193 = coerce_bool(json_object_get(v6, "rfc4193"), false);
    plan->v6_6plane = coerce_bool(json_object_get(v6, "6plane"), false);
    plan->wants_login = coerce_bool(json_object_get(doc, "ssoEnabled"), false);
    const char *target = json_string_value(json_object_get(doc, "remoteTraceTarget"));
    if (target != NULL && strlen(target) == MODEL_TRACE_TARGET_LEN) {
        plan->trace_target = hex_prefix(target) & UINT64_C(0xffffffffff);
    }
    plan->trace_level = (uint32_t)coerce_u64(json_object_get(doc, "remoteTraceLevel"), 0);
    plan->revision = coerce_u64(json_object_get(doc, "revision"), 0);
    const json_t *window = json_object_get(doc, "certificateTimeoutWindowSize");
    plan->window_ms = clamp(coerce_u64(window, MODEL_WINDOW_DEFAULT_MS), MODEL_WINDOW_MIN_MS,
                            MODEL_WINDOW_MAX_MS);
}

int plan_compile(const json_t *doc, struct plan *ret)
{
    memset(ret, 0, sizeof(*ret));
    compile_scalars(doc, ret);
    compile_dns(json_object_get(doc, "dns"), ret);
    int error = compile_routes(json_object_get(doc, "routes"), ret);
    if (error == 0) {
        error = compile_pools(json_object_get(doc, "ipAssignmentPools"), ret);
    }
    if (error == 0) {
        error = compile_rules(json_object_get(doc, "rules"), ret);
    }
    if (error == 0) {
        error = compile_caps(json_object_get(doc, "capabilities"), ret);
    }
    if (error == 0) {
        error = compile_tags(json_object_get(doc, "tags"), ret);
    }
    if (error != 0) {
        plan_free(ret);
        return error;
    }
    sort_definitions(ret);
    return 0;
}

void plan_free(struct plan *plan)
{
    free(plan->routes);
    free(plan->pools);
    free(plan->rules);
    free(plan->caps);
    free(plan->cap_rules);
    free(plan->tags);
    memset(plan, 0, sizeof(*plan));
}
