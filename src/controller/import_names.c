/* Reads what consoles keep of names. */
#include "controller/import_names.h"

#include "base/hex.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    NWID_DIGITS = 16,
    ADDRESS_DIGITS = 10,
    KEY_LEN = NWID_DIGITS + 1 + ADDRESS_DIGITS + 1,
    COLUMNS_MAX = 64,
    NAMES_MAX = 1000000,
};

/* ---- entries ---- */

/* Lower-case form of an ID of so many digits. */
static bool read_id(const char *text, unsigned digits, char *out)
{
    uint64_t id;
    if (text == NULL || strlen(text) != digits || hex_to_u64(text, digits, digits, &id) != 0) {
        return false;
    }
    hex_from_u64(id, digits, out);
    return true;
}

/* "<address>" or "<network>/<address>". */
static bool member_key(const char *nwid, const char *address, char out[KEY_LEN])
{
    char network[NWID_DIGITS + 1];
    char node[ADDRESS_DIGITS + 1];
    if (!read_id(address, ADDRESS_DIGITS, node) ||
        (nwid != NULL && !read_id(nwid, NWID_DIGITS, network))) {
        return false;
    }
    (void)snprintf(out, KEY_LEN, nwid != NULL ? "%s/%s" : "%s%s", nwid != NULL ? network : "",
                   node);
    return true;
}

/* Set a value of an entry. Returns 1 if it is not empty and was set. */
static size_t put(json_t *names, const char *group, const char *key, const char *field,
                  const json_t *value)
{
    json_t *entries = json_object_get(names, group);
    if (entries == NULL) {
        entries = json_object();
        (void)json_object_set_new(names, group, entries);
    }
    bool is_empty = json_string_length(value) == 0 && json_object_size(value) == 0;
    if (is_empty || json_object_size(entries) >= NAMES_MAX) {
        return 0;
    }
    json_t *entry = json_object_get(entries, key);
    if (entry == NULL) {
        entry = json_object();
        (void)json_object_set_new(entries, key, entry);
    }
    return json_object_set(entry, field, (json_t *)value) == 0 ? 1 : 0;
}

/* The same for an object, which a database gives as its text. */
static size_t put_object(json_t *names, const char *group, const char *key, const char *field,
                         const json_t *value)
{
    const char *text = json_string_value(value);
    json_t *object = text != NULL ? json_loads(text, 0, NULL) : json_incref((json_t *)value);
    size_t n = json_is_object(object) ? put(names, group, key, field, object) : 0;
    json_decref(object);
    return n;
}

/* Texts of a network out of an object or a row: name, description, rules. */
static size_t put_network(json_t *names, const char *nwid, const json_t *o, const char *rules_key)
{
    char key[NWID_DIGITS + 1];
    if (!read_id(nwid, NWID_DIGITS, key)) {
        return 0;
    }
    return put(names, "networks", key, "name", json_object_get(o, "name")) +
           put(names, "networks", key, "description", json_object_get(o, "description")) +
           put(names, "networks", key, "rulesSource", json_object_get(o, rules_key)) +
           put_object(names, "networks", key, "tagsByName", json_object_get(o, "tagsByName")) +
           put_object(names, "networks", key, "capabilitiesByName",
                      json_object_get(o, "capabilitiesByName"));
}

static size_t put_member(json_t *names, const char *nwid, const char *address, const json_t *o)
{
    char key[KEY_LEN];
    if (!member_key(nwid, address, key)) {
        return 0;
    }
    return put(names, "members", key, "name", json_object_get(o, "name")) +
           put(names, "members", key, "description", json_object_get(o, "description"));
}

static const char *text_of(const json_t *o, const char *key)
{
    return json_string_value(json_object_get(o, key));
}

/* ---- JSON ---- */

/* A row of ztnet's table network_members (it has an id) or network. */
static size_t read_row(json_t *names, const json_t *row)
{
    const char *nwid = text_of(row, "nwid");
    const char *id = text_of(row, "id");
    if (nwid == NULL) {
        return 0;
    }
    return id != NULL && strlen(id) == ADDRESS_DIGITS ? put_member(names, nwid, id, row)
                                                      : put_network(names, nwid, row, "flowRule");
}

static size_t read_rows(json_t *names, const json_t *rows)
{
    size_t i;
    json_t *row;
    size_t n = 0;
    json_array_foreach(rows, i, row)
    {
        n += read_row(names, row);
    }
    return n;
}

static size_t read_zero_ui(json_t *names, const json_t *networks)
{
    size_t i;
    size_t k;
    json_t *network;
    json_t *member;
    size_t n = 0;
    json_array_foreach(networks, i, network)
    {
        const char *nwid = text_of(network, "id");
        n += put_network(names, nwid, json_object_get(network, "additionalConfig"), "rulesSource");
        json_array_foreach(json_object_get(network, "members"), k, member)
        {
            if (nwid != NULL) {
                n += put_member(names, nwid, text_of(member, "id"),
                                json_object_get(member, "additionalConfig"));
            }
        }
    }
    return n;
}

/* {"<address>":"<name>"}, also with "<network>/" before the address. */
static size_t read_plain(json_t *names, const json_t *o)
{
    const char *text;
    json_t *name;
    size_t n = 0;
    json_object_foreach((json_t *)o, text, name)
    {
        char nwid[NWID_DIGITS + 1] = "";
        char key[KEY_LEN];
        const char *slash = strchr(text, '/');
        if (slash != NULL && slash - text == NWID_DIGITS) {
            (void)snprintf(nwid, sizeof(nwid), "%s", text);
        }
        if (member_key(slash != NULL ? nwid : NULL, slash != NULL ? slash + 1 : text, key)) {
            n += put(names, "members", key, "name", name);
        }
    }
    return n;
}

static size_t read_json(json_t *names, const json_t *root)
{
    char key[KEY_LEN];
    size_t n = 0;
    if (json_is_array(root)) {
        return read_rows(names, root);
    }
    if (member_key(NULL, text_of(root, "key"), key)) {
        return put(names, "members", key, "name", json_object_get(root, "value"));
    }
    if (json_is_array(json_object_get(root, "networks"))) {
        return read_zero_ui(names, json_object_get(root, "networks"));
    }
    n += read_rows(names, json_object_get(root, "network"));
    n += read_rows(names, json_object_get(root, "network_members"));
    return n > 0 ? n : read_plain(names, root);
}

/* ---- pg_dump ---- */

/* Text before an end, with its quotes and blanks off, as a JSON text. */
static json_t *column_name(const char *text, size_t len)
{
    while (len > 0 && (*text == ' ' || *text == '"')) {
        text++;
        len--;
    }
    while (len > 0 && (text[len - 1] == ' ' || text[len - 1] == '"')) {
        len--;
    }
    return json_stringn(text, len);
}

/* "COPY public.network_members (id, nwid, ...) FROM stdin;" */
static json_t *read_columns(const char *line, size_t len)
{
    static const char *const tables[] = {"network_members", "network"};
    static const char copy[] = "COPY ";
    const char *open = memchr(line, '(', len);
    const char *close = open != NULL ? memchr(open, ')', len - (size_t)(open - line)) : NULL;
    if (len < strlen(copy) || memcmp(line, copy, strlen(copy)) != 0 || close == NULL) {
        return NULL;
    }
    json_t *name = column_name(line + strlen(copy), (size_t)(open - line) - strlen(copy));
    const char *table = json_string_value(name) != NULL ? json_string_value(name) : "";
    const char *dot = strrchr(table, '.');
    table = dot != NULL ? dot + 1 : table;
    table += *table == '"' ? 1 : 0;
    bool known = strcmp(table, tables[0]) == 0 || strcmp(table, tables[1]) == 0;
    json_decref(name);
    json_t *columns = known ? json_array() : NULL;
    for (const char *at = open + 1; columns != NULL && at <= close;) {
        const char *comma = memchr(at, ',', (size_t)(close - at));
        const char *end = comma != NULL ? comma : close;
        json_t *column = column_name(at, (size_t)(end - at));
        (void)json_array_append_new(columns, column != NULL ? column : json_string(""));
        at = end + 1;
    }
    return columns;
}

/* One field of a row, with its escapes undone; JSON null for \N. */
static json_t *read_field(const char *text, size_t len)
{
    static const char from[] = "bfnrtv";
    static const char to[] = "\b\f\n\r\t\v";
    if (len == 2 && memcmp(text, "\\N", 2) == 0) {
        return json_null();
    }
    char *out = malloc(len + 1);
    size_t used = 0;
    for (size_t i = 0; out != NULL && i < len; i++) {
        char c = text[i];
        if (c == '\\' && i + 1 < len) {
            c = text[++i];
            const char *known = c != '\0' ? strchr(from, c) : NULL;
            c = known != NULL ? to[known - from] : c;
        }
        out[used++] = c;
    }
    json_t *value = out != NULL ? json_stringn(out, used) : NULL;
    free(out);
    return value != NULL ? value : json_null();
}

static size_t read_copy_row(json_t *names, const json_t *columns, const char *line, size_t len)
{
    json_t *row = json_object();
    const char *end = line + len;
    size_t n = json_array_size(columns) < COLUMNS_MAX ? json_array_size(columns) : COLUMNS_MAX;
    for (size_t i = 0; i < n && line <= end; i++) {
        const char *tab = memchr(line, '\t', (size_t)(end - line));
        const char *stop = tab != NULL ? tab : end;
        const char *column = json_string_value(json_array_get(columns, i));
        (void)json_object_set_new(row, column, read_field(line, (size_t)(stop - line)));
        line = stop + 1;
    }
    size_t count = read_row(names, row);
    json_decref(row);
    return count;
}

static size_t read_dump(json_t *names, const char *text, size_t len)
{
    json_t *columns = NULL;
    const char *end = text + len;
    size_t n = 0;
    while (text < end) {
        const char *feed = memchr(text, '\n', (size_t)(end - text));
        const char *stop = feed != NULL ? feed : end;
        size_t line_len = (size_t)(stop - text);
        line_len -= line_len > 0 && text[line_len - 1] == '\r' ? 1 : 0;
        if (columns == NULL) {
            columns = read_columns(text, line_len);
        } else if (line_len == 2 && memcmp(text, "\\.", 2) == 0) {
            json_decref(columns);
            columns = NULL;
        } else {
            n += read_copy_row(names, columns, text, line_len);
        }
        text = stop + 1;
    }
    json_decref(columns);
    return n;
}

size_t import_names(json_t *names, const char *text, size_t len)
{
    json_t *root = json_loadb(text, len, 0, NULL);
    if (root == NULL) {
        return read_dump(names, text, len);
    }
    size_t n = read_json(names, root);
    json_decref(root);
    return n;
}
