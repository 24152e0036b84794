/* Documents of networks and members to and from the files of the reference. */
#include "controller/import_doc.h"

#include "base/hex.h"
#include "controller/member_doc.h"
#include "controller/network_doc.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Behind the digits of an integer that does not fit a JSON integer of ours. */
static const char big_mark[] = "#integer";

enum {
    BIG_DIGITS_MIN = 19, /* of an integer above 2^63-1 */
    BIG_DIGITS_MAX = 40,
    TEXT_LEN = 400,
    SHOWN_LEN = 60, /* of a value in a warning */
};

/* ---- integers above 2^63-1 ---- */

static size_t count_digits(const char *text, size_t len)
{
    size_t n = 0;
    while (n < len && text[n] >= '0' && text[n] <= '9') {
        n++;
    }
    return n;
}

/* Length of the string literal at text, which begins with a quote. */
static size_t string_len(const char *text, size_t len)
{
    size_t i = 1;
    while (i < len && text[i] != '"') {
        i += text[i] == '\\' ? 2 : 1;
    }
    return i < len ? i + 1 : len;
}

/* Length of the integer at text if it is one that has to be marked, else 0. */
static size_t big_integer_len(const char *text, size_t len)
{
    size_t sign = len > 0 && text[0] == '-' ? 1 : 0;
    size_t digits = count_digits(text + sign, len - sign);
    size_t end = sign + digits;
    bool is_real = end < len && (text[end] == '.' || text[end] == 'e' || text[end] == 'E');
    if (digits < BIG_DIGITS_MIN || digits > BIG_DIGITS_MAX || is_real || text[sign] == '0') {
        return 0;
    }
    static const char most[] = "9223372036854775807";
    bool fits = digits == BIG_DIGITS_MIN && memcmp(text + sign, most, BIG_DIGITS_MIN) <= 0;
    return fits ? 0 : end;
}

/* Length of what stands at text as one piece: a string, a number, a character. */
static size_t piece_len(const char *text, size_t len)
{
    if (text[0] == '"') {
        return string_len(text, len);
    }
    size_t sign = text[0] == '-' ? 1 : 0;
    size_t digits = count_digits(text + sign, len - sign);
    return digits > 0 ? sign + digits : 1;
}

/* Copy of a JSON text in which integers that are too big are marked texts; malloc'd. */
static char *mark_big(const char *text, size_t len, size_t *ret_len)
{
    size_t cap = len * 2 + 1; /* a mark with quotes is shorter than the digits */
    char *out = malloc(cap);
    size_t used = 0;
    for (size_t i = 0; out != NULL && i < len;) {
        size_t big = big_integer_len(text + i, len - i);
        size_t n = big > 0 ? big : piece_len(text + i, len - i);
        if (big > 0) {
            used +=
                (size_t)snprintf(out + used, cap - used, "\"%.*s%s\"", (int)n, text + i, big_mark);
        } else {
            memcpy(out + used, text + i, n);
            used += n;
        }
        i += n;
    }
    *ret_len = used;
    return out;
}

/* Length of the digits in a string literal (with quotes, n bytes) that is a marked integer, else 0.
 */
static size_t marked_len(const char *literal, size_t n)
{
    size_t tail = strlen(big_mark) + 1;
    if (n < tail + BIG_DIGITS_MIN + 1 || memcmp(literal + n - tail, big_mark, tail - 1) != 0) {
        return 0;
    }
    size_t digits = n - tail - 1;
    return big_integer_len(literal + 1, digits) == digits ? digits : 0;
}

json_t *import_parse(const char *text, size_t len, char *why, size_t cap)
{
    json_error_t error = {0};
    if (len == 0) {
        (void)snprintf(why, cap, "the file is empty");
        return NULL;
    }
    json_t *doc = json_loadb(text, len, 0, &error);
    if (doc == NULL && json_error_code(&error) == json_error_numeric_overflow) {
        size_t marked = 0;
        char *copy = mark_big(text, len, &marked);
        doc = copy != NULL ? json_loadb(copy, marked, 0, &error) : NULL;
        free(copy);
    }
    if (doc == NULL) {
        (void)snprintf(why, cap, "damaged: %s (line %d, column %d)", error.text, error.line,
                       error.column);
    } else if (!json_is_object(doc)) {
        (void)snprintf(why, cap, "damaged: it holds no JSON object");
        json_decref(doc);
        doc = NULL;
    }
    return doc;
}

char *import_print(const json_t *doc)
{
    char *text = doc_text(doc);
    size_t len = text != NULL ? strlen(text) : 0;
    size_t used = 0;
    for (size_t i = 0; i < len;) {
        size_t n = piece_len(text + i, len - i);
        size_t big = text[i] == '"' ? marked_len(text + i, n) : 0;
        memmove(text + used, text + i + (big > 0 ? 1 : 0), big > 0 ? big : n);
        used += big > 0 ? big : n;
        i += n;
    }
    if (text != NULL) {
        text[used] = '\0';
    }
    return text;
}

static bool has_big(const json_t *v)
{
    const char *key;
    json_t *inner;
    size_t i;
    bool found = false;
    if (json_is_string(v)) {
        const char *text = json_string_value(v);
        size_t digits = strspn(text, "-0123456789");
        return digits >= BIG_DIGITS_MIN && strcmp(text + digits, big_mark) == 0;
    }
    if (json_is_array(v)) {
        json_array_foreach(v, i, inner)
        {
            found = found || has_big(inner);
        }
        return found;
    }
    json_object_foreach((json_t *)v, key, inner)
    {
        found = found || has_big(inner);
    }
    return found;
}

/* ---- warnings and the record ---- */

static void warn(json_t *warnings, const char *fmt, ...) PRINTF_LIKE(2, 3);

static void warn(json_t *warnings, const char *fmt, ...)
{
    char text[TEXT_LEN];
    va_list args;
    va_start(args, fmt);
    (void)vsnprintf(text, sizeof(text), fmt, args);
    va_end(args);
    json_array_append_new(warnings, json_string(text));
}

/* Put another value (a new reference, NULL: none) in place of a key's, which is kept. */
static int replace(json_t *doc, const char *key, json_t *now)
{
    json_t *record = json_object_get(doc, IMPORT_RECORD);
    if (record == NULL) {
        record = json_object();
        if (json_object_set_new(doc, IMPORT_RECORD, record) != 0) {
            json_decref(now);
            return -ENOMEM;
        }
    }
    json_t *was = json_object_get(doc, key);
    const json_t *before = json_object_get(record, key); /* of an earlier import */
    json_t *left = json_object_get(before, "now");
    if (left != NULL && was != NULL && json_equal(left, was)) {
        was = json_object_get(before, "was");
    }
    json_t *entry = json_object();
    int bad = json_object_set(entry, "was", was);
    if (now != NULL) {
        bad |= json_object_set(entry, "now", now);
        bad |= json_object_set_new(doc, key, now);
    } else {
        bad |= json_object_del(doc, key);
    }
    bad |= json_object_set_new(record, key, entry);
    return bad == 0 ? 0 : -ENOMEM;
}

/* True for what replace makes: the source is a controller of ours. */
static bool is_record(const json_t *v)
{
    const char *key;
    json_t *entry;
    bool good = json_is_object(v);
    json_object_foreach((json_t *)v, key, entry)
    {
        good = good && json_object_get(entry, "was") != NULL;
    }
    return good;
}

/* A source that has a key of this name itself: it is a value as any other. */
static int set_record_aside(json_t *doc)
{
    json_t *was = json_object_get(doc, IMPORT_RECORD);
    if (was == NULL || is_record(was)) {
        return 0;
    }
    json_t *record = json_pack("{s{sO}}", IMPORT_RECORD, "was", was);
    return json_object_set_new(doc, IMPORT_RECORD, record) == 0 ? 0 : -ENOMEM;
}

int export_doc(json_t *doc)
{
    json_t *record = json_incref(json_object_get(doc, IMPORT_RECORD));
    const char *key;
    json_t *entry;
    int bad = 0;
    if (record == NULL) {
        return 0;
    }
    (void)json_object_del(doc, IMPORT_RECORD);
    json_object_foreach(record, key, entry)
    {
        json_t *now = json_object_get(entry, "now");
        json_t *have = json_object_get(doc, key);
        json_t *was = json_object_get(entry, "was");
        bool untouched = now == NULL ? have == NULL : have != NULL && json_equal(have, now);
        if (untouched && was != NULL) {
            bad |= json_object_set(doc, key, was);
        }
    }
    json_decref(record);
    return bad == 0 ? 0 : -ENOMEM;
}

uint64_t import_doc_id(const json_t *doc, const char *key, unsigned digits, uint64_t fallback)
{
    const char *text = json_string_value(json_object_get(doc, key));
    uint64_t id;
    if (text == NULL || strlen(text) != digits || hex_to_u64(text, digits, digits, &id) != 0) {
        return fallback;
    }
    return id;
}

/* IDs are always ours: lower case, as the file is named. */
static int set_ids(json_t *doc, const char *id, const char *nwid, const char *address)
{
    int bad = json_object_set_new(doc, "id", json_string(id));
    bad |= json_object_set_new(doc, "nwid", json_string(nwid));
    if (address != NULL) {
        bad |= json_object_set_new(doc, "address", json_string(address));
    }
    return bad == 0 ? 0 : -ENOMEM;
}

/* ---- networks ---- */

static const char *const arrays_keys[] = {"routes", "ipAssignmentPools", NULL};
static const char *const rules_keys[] = {"rules", NULL};
static const char *const caps_keys[] = {"capabilities", NULL};
static const char *const tags_keys[] = {"tags", NULL};
static const char *const mode_keys[] = {"v4AssignMode", "v6AssignMode", NULL};
static const char *const token_keys[] = {"authTokens", NULL};
static const char *const dns_keys[] = {"dns", NULL};
static const char *const scalar_keys[] = {"mtu", "multicastLimit", "remoteTraceLevel", NULL};

/* Keys that are looked at together, as if they had been posted. */
static const char *const *const groups[] = {arrays_keys, rules_keys, caps_keys, tags_keys,
                                            mode_keys,   token_keys, dns_keys,  scalar_keys};

/* Forms that every reader has to accept: null or an array for nothing. */
static bool means_nothing(const char *key, const json_t *v)
{
    return (strcmp(key, "authTokens") == 0 || strcmp(key, "dns") == 0) && !json_is_object(v);
}

/* Take over what became of a group's values where something would not be understood as it is. */
static int take_group(json_t *doc, const struct edit *e, const json_t *edited,
                      const char *const *keys)
{
    int err = 0;
    for (; *keys != NULL && err == 0; keys++) {
        const json_t *was = json_object_get(doc, *keys);
        json_t *now = json_object_get(edited, *keys);
        if (was != NULL && now != NULL && (e->dropped > 0 || has_big(was)) &&
            !json_equal((json_t *)was, now)) {
            err = replace(doc, *keys, json_incref(now));
        }
    }
    return err;
}

static int check_group(json_t *doc, const char *const *keys, json_t *warnings)
{
    json_t *body = json_object();
    json_t *edited = json_object();
    struct edit e = {0};
    for (size_t i = 0; keys[i] != NULL; i++) {
        json_t *v = json_object_get(doc, keys[i]);
        if (v != NULL && !means_nothing(keys[i], v)) {
            (void)json_object_set(body, keys[i], v);
        }
    }
    if (json_object_size(body) > 0) {
        network_doc_edit(&e, edited, body);
    }
    int err = 0;
    if (e.status != 0) { /* kept as it is; what cannot be read is not sent */
        warn(warnings, "%s", e.error);
    } else {
        err = take_group(doc, &e, edited, keys);
    }
    if (e.warnings != NULL) {
        json_array_extend(warnings, e.warnings);
    }
    edit_done(&e);
    json_decref(body);
    json_decref(edited);
    return err;
}

/* The reference stores negative numbers as huge ones; what is sent are the low 32 bits. */
static int fix_multicast_limit(json_t *doc, json_t *warnings)
{
    const json_t *v = json_object_get(doc, "multicastLimit");
    if (v == NULL || coerce_u64(v, 0) <= UINT32_MAX) {
        return 0;
    }
    warn(warnings, "multicastLimit: above 2^32-1, set to 32");
    return replace(doc, "multicastLimit", json_integer(32));
}

static void check_name(const json_t *doc, json_t *warnings)
{
    size_t len = json_string_length(json_object_get(doc, "name"));
    if (len > NETCONF_NAME_MAX) {
        warn(warnings, "name: only the first %d of %zu bytes are sent", NETCONF_NAME_MAX, len);
    }
}

/* A default route without gateway is what a target without "/bits" became. */
static void check_routes(const json_t *doc, json_t *warnings)
{
    size_t i;
    json_t *route;
    json_array_foreach(json_object_get(doc, "routes"), i, route)
    {
        const char *target = json_string_value(json_object_get(route, "target"));
        const char *slash = target != NULL ? strchr(target, '/') : NULL;
        if (slash != NULL && strcmp(slash, "/0") == 0 && strchr(target, ':') == NULL &&
            !json_is_string(json_object_get(route, "via"))) {
            warn(warnings, "routes: %.60s is a default route without gateway, probably a mistake",
                 target);
        }
    }
}

int import_network_doc(json_t *doc, uint64_t nwid, json_t *warnings)
{
    char id[17];
    hex_from_u64(nwid, 16, id);
    int err = set_record_aside(doc);
    if (err == 0) {
        check_routes(doc, warnings);
        check_name(doc, warnings);
        err = fix_multicast_limit(doc, warnings);
    }
    for (size_t i = 0; i < COUNT_OF(groups) && err == 0; i++) {
        err = check_group(doc, groups[i], warnings);
    }
    return err == 0 ? set_ids(doc, id, id, NULL) : err;
}

/* ---- members ---- */

static bool is_one_of(const char *key, const char *const *keys)
{
    while (*keys != NULL && strcmp(key, *keys) != 0) {
        keys++;
    }
    return *keys != NULL;
}

/* True if the controller holds another value than the document does. now: its, NULL if none. */
static bool is_changed(const char *key, const json_t *was, const json_t *now)
{
    static const char *const ids[] = {"id", "nwid", "address", "objtype", NULL};
    static const char *const texts[] = {"name", "identity", NULL};
    if (json_is_null(was) || is_one_of(key, ids)) {
        return false;
    }
    return now != NULL ? !json_equal((json_t *)was, (json_t *)now)
                       : is_one_of(key, texts) && !json_is_string(was);
}

static void warn_value(json_t *warnings, const char *key, const json_t *was, const json_t *now)
{
    char *from = import_print(was);
    char *to = now != NULL ? import_print(now) : NULL;
    warn(warnings, "%s: %.*s is read as %.*s", key, SHOWN_LEN, from != NULL ? from : "?", SHOWN_LEN,
         to != NULL ? to : "nothing");
    free(from);
    free(to);
}

/* Take over values of the canonical form where it differs. */
static int take_member(json_t *doc, const json_t *canonical, json_t *warnings)
{
    json_t *source = json_copy(doc);
    const char *key;
    json_t *was;
    int err = source == NULL ? -ENOMEM : 0;
    json_object_foreach(source, key, was)
    {
        json_t *now = json_object_get(canonical, key);
        if (err == 0 && is_changed(key, was, now)) {
            warn_value(warnings, key, was, now);
            err = replace(doc, key, json_incref(now));
        }
    }
    json_decref(source);
    return err;
}

static void check_identity(const json_t *doc, json_t *warnings)
{
    const json_t *v = json_object_get(doc, "identity");
    if (v != NULL && !json_is_null(v) && json_string_length(v) == 0) {
        warn(warnings, "identity: empty; the next node with this address is taken for the member");
    }
}

/* The member as the controller will hold it. */
static int canonical_member(const json_t *doc, uint64_t nwid, uint64_t address, json_t *warnings,
                            json_t **ret)
{
    struct model model;
    struct cnetwork *net = NULL;
    struct cmember *m = NULL;
    model_init(&model, 0);
    int err = network_new(&model, nwid, json_object(), &net);
    err = err == 0 ? member_new(&model, net, address, &m) : err;
    err = err == 0 ? member_from_json(m, doc) : err;
    if (err == 0) {
        if (m->bad_identity != NULL) {
            warn(warnings, "identity: it does not fit the address; the member cannot be served");
        }
        *ret = member_to_json(m);
        err = *ret == NULL ? -ENOMEM : 0;
    }
    model_done(&model);
    return err;
}

int import_member_doc(json_t *doc, uint64_t nwid, uint64_t address, json_t *warnings)
{
    char network[17];
    char id[11];
    json_t *canonical = NULL;
    hex_from_u64(nwid, 16, network);
    hex_from_u64(address, 10, id);
    int err = set_record_aside(doc);
    check_identity(doc, warnings);
    err = err == 0 ? canonical_member(doc, nwid, address, warnings, &canonical) : err;
    err = err == 0 ? take_member(doc, canonical, warnings) : err;
    json_decref(canonical);
    return err == 0 ? set_ids(doc, id, network, id) : err;
}
