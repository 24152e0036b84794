/* Collects an import. */
#include "controller/import_set.h"

#include "base/hex.h"
#include "base/hmap.h"
#include "controller/import_doc.h"
#include "controller/network_doc.h"
#include "wire/inetaddr.h"
#include "wire/mac.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    NWID_DIGITS = 16,
    ADDRESS_DIGITS = 10,
    TEXT_LEN = 400,
    WHERE_LEN = 48,
};

static const char network_dir[] = "controller.d/network/";
static const char suffix[] = ".json";

/* A network (node 0) or a member. */
struct item {
    struct hmap_node link;
    struct store_change change; /* its text is the document */
    bool stored;                /* it was in the store */
    bool changed;               /* to be written */
};

/* An address of a member, for finding those given twice. */
struct assignment {
    uint64_t nwid;
    uint64_t node;
    struct inetaddr ip;
};

struct import_set {
    struct import_options options;
    struct hmap items;
    struct item **sorted; /* by network, then member; made by finish */
    struct assignment *assigned;
    size_t assigned_count;
    size_t assigned_cap;
    bool no_memory; /* while loading */
    json_t *report;
};

/* What a path below controller.d/network names. */
struct place {
    uint64_t nwid;
    uint64_t node;  /* 0: the network itself */
    bool lowercase; /* as the reference writes it by itself */
};

/* ---- the report ---- */

static void note(struct import_set *set, const char *list, const char *where, const char *text)
{
    json_t *entries = json_object_get(set->report, list);
    if (json_array_size(entries) == IMPORT_FINDINGS_MAX) {
        char more[32];
        (void)snprintf(more, sizeof(more), "%sMore", list);
        json_int_t count = json_integer_value(json_object_get(set->report, more));
        (void)json_object_set_new(set->report, more, json_integer(count + 1));
        return;
    }
    /* A name of a file need not be UTF-8. */
    json_t *place = json_string(where);
    json_t *why = json_string(text);
    (void)json_array_append_new(entries, json_pack("{soso}", "where",
                                                   place != NULL ? place : json_string("?"), "text",
                                                   why != NULL ? why : json_string("?")));
}

void import_set_left_out(struct import_set *set, const char *where, const char *why)
{
    note(set, "leftOut", where, why);
}

void import_set_warn(struct import_set *set, const char *where, const char *text)
{
    note(set, "warnings", where, text);
}

static void warn(struct import_set *set, const char *where, const char *fmt, ...) PRINTF_LIKE(3, 4);

static void warn(struct import_set *set, const char *where, const char *fmt, ...)
{
    char text[TEXT_LEN];
    va_list args;
    va_start(args, fmt);
    (void)vsnprintf(text, sizeof(text), fmt, args);
    va_end(args);
    import_set_warn(set, where, text);
}

/* One more of something. */
static void count(struct import_set *set, const char *group, const char *key)
{
    json_t *counts = json_object_get(set->report, group);
    json_int_t n = json_integer_value(json_object_get(counts, key));
    (void)json_object_set_new(counts, key, json_integer(n + 1));
}

static const char *group_of(const struct item *item)
{
    return item->change.node == 0 ? "networks" : "members";
}

json_t *import_set_report(struct import_set *set)
{
    return set->report;
}

/* ---- items ---- */

struct import_set *import_set_new(const struct import_options *options)
{
    struct import_set *set = calloc(1, sizeof(*set));
    if (set == NULL) {
        return NULL;
    }
    set->options = *options;
    hmap_init(&set->items, 0);
    set->report =
        json_pack("{s{sisisisi}s{sisisisi}s{sisi}s[]s[]}", "networks", "imported", 0, "updated", 0,
                  "present", 0, "foreign", 0, "members", "imported", 0, "updated", 0, "present", 0,
                  "foreign", 0, "names", "set", 0, "unknown", 0, "leftOut", "warnings");
    if (set->report == NULL) {
        free(set);
        return NULL;
    }
    return set;
}

void import_set_set_options(struct import_set *set, const struct import_options *options)
{
    set->options = *options;
}

void import_set_free(struct import_set *set)
{
    struct hmap_node *it;
    if (set == NULL) {
        return;
    }
    while ((it = hmap_drain(&set->items)) != NULL) {
        struct item *item = CONTAINER_OF(it, struct item, link);
        free(item->change.text);
        free(item);
    }
    hmap_done(&set->items);
    free(set->sorted);
    free(set->assigned);
    json_decref(set->report);
    free(set);
}

static uint64_t item_key(uint64_t nwid, uint64_t node)
{
    return hash_mix(node, nwid);
}

static struct item *find(const struct import_set *set, uint64_t nwid, uint64_t node)
{
    struct hmap_node *it = hmap_find(&set->items, item_key(nwid, node));
    for (; it != NULL; it = hmap_next_same(it)) {
        struct item *item = CONTAINER_OF(it, struct item, link);
        if (item->change.nwid == nwid && item->change.node == node) {
            return item;
        }
    }
    return NULL;
}

/* Add an item; text (malloc'd or NULL: out of memory) is taken. Returns NULL out of memory. */
static struct item *add(struct import_set *set, uint64_t nwid, uint64_t node, char *text)
{
    struct item *item = text != NULL ? calloc(1, sizeof(*item)) : NULL;
    if (item == NULL) {
        free(text);
        return NULL;
    }
    item->change.kind = node == 0 ? STORE_NETWORK : STORE_MEMBER;
    item->change.nwid = nwid;
    item->change.node = node;
    item->change.text = text;
    if (hmap_insert(&set->items, &item->link, item_key(nwid, node)) != 0) {
        free(text);
        free(item);
        return NULL;
    }
    return item;
}

void import_set_load(void *ctx, enum store_kind kind, uint64_t nwid, uint64_t node,
                     const char *text)
{
    struct import_set *set = ctx;
    if (kind == STORE_NETWORK || kind == STORE_MEMBER) {
        struct item *item = add(set, nwid, node, strdup(text));
        if (item == NULL) {
            set->no_memory = true;
        } else {
            item->stored = true;
        }
    }
}

/* ---- files ---- */

static bool has_upper(const char *text)
{
    return strpbrk(text, "ABCDEF") != NULL;
}

/* Read what a path below controller.d/network/ names. Returns false if it is another file. */
static bool read_place(const char *path, struct place *ret)
{
    static const char member[] = "/member/";
    size_t len = strlen(path);
    size_t network_len = NWID_DIGITS + strlen(suffix);
    size_t member_len = NWID_DIGITS + strlen(member) + ADDRESS_DIGITS + strlen(suffix);
    struct place place = {.lowercase = !has_upper(path)};
    if ((len != network_len && len != member_len) ||
        strcmp(path + len - strlen(suffix), suffix) != 0 ||
        hex_to_u64(path, NWID_DIGITS, NWID_DIGITS, &place.nwid) != 0) {
        return false;
    }
    if (len == member_len) {
        const char *address = path + NWID_DIGITS + strlen(member);
        if (strncmp(path + NWID_DIGITS, member, strlen(member)) != 0 ||
            hex_to_u64(address, ADDRESS_DIGITS, ADDRESS_DIGITS, &place.node) != 0 ||
            place.node == 0) {
            return false;
        }
    }
    *ret = place;
    return true;
}

/* Read a file's object; one that is unusable is noted. */
static json_t *read_object(struct import_set *set, const struct import_file *file)
{
    char why[TEXT_LEN] = "";
    json_t *doc = NULL;
    if (file->data != NULL) {
        doc = import_parse(file->data, file->len, why, sizeof(why));
    }
    if (doc == NULL) {
        import_set_left_out(set, file->path, file->problem != NULL ? file->problem : why);
    }
    return doc;
}

static void append_warnings(struct import_set *set, const char *where, const json_t *warnings)
{
    size_t i;
    json_t *text;
    json_array_foreach(warnings, i, text)
    {
        import_set_warn(set, where, json_string_value(text));
    }
}

/* Put a document of the source (made fit) where it belongs. */
static int keep(struct import_set *set, uint64_t nwid, uint64_t node, const json_t *doc)
{
    char *text = doc_text(doc);
    struct item *item = find(set, nwid, node);
    if (item == NULL) {
        item = add(set, nwid, node, text);
        if (item == NULL) {
            return -ENOMEM;
        }
        item->changed = true;
        count(set, group_of(item), "imported");
        return 0;
    }
    bool replaces = set->options.update && text != NULL && strcmp(text, item->change.text) != 0;
    count(set, group_of(item), replaces ? "updated" : "present");
    if (replaces) {
        free(item->change.text);
        item->change.text = text;
        item->changed = true;
    } else {
        free(text);
    }
    return 0;
}

/* True for what this source gave before: two files for one network or member. */
static bool is_second(struct import_set *set, const struct import_file *file, uint64_t nwid,
                      uint64_t node)
{
    const struct item *item = find(set, nwid, node);
    if (item == NULL || item->stored) {
        return false;
    }
    import_set_left_out(set, file->path, "a second file for the same, the first one was taken");
    return true;
}

static bool is_foreign(const struct import_set *set, uint64_t nwid)
{
    return set->options.address != 0 && network_controller(nwid) != set->options.address;
}

static int take_network(struct import_set *set, const struct import_file *file,
                        const struct place *place)
{
    json_t *doc = read_object(set, file);
    json_t *warnings = json_array();
    if (doc == NULL || warnings == NULL) {
        json_decref(doc);
        json_decref(warnings);
        return 0;
    }
    uint64_t nwid = import_doc_id(doc, "id", NWID_DIGITS, place->nwid);
    if (nwid != place->nwid) {
        warn(set, file->path, "holds network %016llx, taken as that", (unsigned long long)nwid);
    }
    int err = 0;
    if (is_foreign(set, nwid) && !set->options.foreign) {
        count(set, "networks", "foreign");
        import_set_left_out(set, file->path,
                            "a network of another controller, which this one cannot serve "
                            "(--foreign takes it all the same)");
    } else if (!is_second(set, file, nwid, 0)) {
        if (is_foreign(set, nwid)) {
            warn(set, file->path, "a network of another controller: kept, but never served");
        }
        err = import_network_doc(doc, nwid, warnings);
        append_warnings(set, file->path, warnings);
        err = err == 0 ? keep(set, nwid, 0, doc) : err;
    }
    json_decref(warnings);
    json_decref(doc);
    return err;
}

static void check_member_ids(struct import_set *set, const struct import_file *file,
                             const struct place *place, const json_t *doc)
{
    uint64_t id = import_doc_id(doc, "id", ADDRESS_DIGITS, place->node);
    uint64_t nwid = import_doc_id(doc, "nwid", NWID_DIGITS, place->nwid);
    if (id != place->node || nwid != place->nwid) {
        warn(set, file->path, "says that it is member %010llx of %016llx, taken by its file name",
             (unsigned long long)id, (unsigned long long)nwid);
    }
}

static int take_member(struct import_set *set, const struct import_file *file,
                       const struct place *place)
{
    if (find(set, place->nwid, 0) == NULL) {
        if (is_foreign(set, place->nwid) && !set->options.foreign) {
            count(set, "members", "foreign");
        } else {
            import_set_left_out(set, file->path, "member of a network that is not there");
        }
        return 0;
    }
    json_t *doc = is_second(set, file, place->nwid, place->node) ? NULL : read_object(set, file);
    json_t *warnings = json_array();
    int err = 0;
    if (doc != NULL && warnings != NULL) {
        check_member_ids(set, file, place, doc);
        err = import_member_doc(doc, place->nwid, place->node, warnings);
        append_warnings(set, file->path, warnings);
        err = err == 0 ? keep(set, place->nwid, place->node, doc) : err;
    }
    json_decref(warnings);
    json_decref(doc);
    return err;
}

/* Networks before members, and among equal ones those that the reference named itself first. */
static int take_pass(struct import_set *set, const struct import_file *files, size_t count,
                     bool members, bool lowercase)
{
    int err = 0;
    for (size_t i = 0; i < count && err == 0; i++) {
        struct place place;
        size_t skip = strlen(network_dir);
        if (strncmp(files[i].path, network_dir, skip) != 0 ||
            !read_place(files[i].path + skip, &place) || place.lowercase != lowercase ||
            (place.node != 0) != members) {
            continue;
        }
        err = members ? take_member(set, &files[i], &place) : take_network(set, &files[i], &place);
    }
    return err;
}

/* Files below controller.d that are neither network nor member, and others that cannot be read. */
static void note_strange(struct import_set *set, const struct import_file *file)
{
    static const char trace[] = "controller.d/trace/";
    static const char own[] = "controller.d/controller.sqlite";
    static const char dir[] = "controller.d/";
    size_t skip = strlen(network_dir);
    struct place place;
    if (strncmp(file->path, dir, strlen(dir)) != 0 && file->problem != NULL) {
        import_set_left_out(set, file->path, file->problem);
    }
    if (strncmp(file->path, dir, strlen(dir)) != 0 ||
        strncmp(file->path, trace, strlen(trace)) == 0 ||
        strncmp(file->path, own, strlen(own)) == 0 ||
        (strncmp(file->path, network_dir, skip) == 0 && read_place(file->path + skip, &place))) {
        return;
    }
    import_set_left_out(set, file->path, "not a name of a network's or member's file");
}

int import_set_take(struct import_set *set, const struct import_file *files, size_t count)
{
    int err = set->no_memory ? -ENOMEM : 0;
    for (int pass = 0; pass < 4 && err == 0; pass++) {
        err = take_pass(set, files, count, pass >= 2, pass % 2 == 0);
    }
    for (size_t i = 0; i < count && err == 0; i++) {
        note_strange(set, &files[i]);
    }
    return err;
}

/* ---- names ---- */

static bool is_empty(const json_t *v)
{
    return json_string_length(v) == 0 && json_object_size(v) == 0 && json_array_size(v) == 0 &&
           !json_is_number(v) && !json_is_boolean(v);
}

/* Set a value that the document lacks or has empty. Returns true if it did. */
static bool fill(json_t *doc, const char *key, const json_t *names)
{
    json_t *wanted = json_object_get(names, key);
    return !is_empty(wanted) && is_empty(json_object_get(doc, key)) &&
           json_object_set(doc, key, wanted) == 0;
}

/* Fill texts of an item. Returns 0; -ENOMEM. */
static int fill_item(struct import_set *set, struct item *item, const json_t *names)
{
    static const char *const keys[] = {"name", "description", "rulesSource", "tagsByName",
                                       "capabilitiesByName"};
    json_t *doc = json_loads(item->change.text, 0, NULL);
    bool filled = false;
    for (size_t i = 0; i < COUNT_OF(keys); i++) {
        filled |= fill(doc, keys[i], names);
    }
    int err = 0;
    if (filled) {
        char *text = doc_text(doc);
        err = text == NULL ? -ENOMEM : 0;
        if (err == 0) {
            free(item->change.text);
            item->change.text = text;
            item->changed = true;
            count(set, "names", "set");
        }
    }
    json_decref(doc);
    return err;
}

/* Names of an item: in its network, else by its address alone. */
static const json_t *names_of(const struct item *item, const json_t *names)
{
    char key[WHERE_LEN];
    char nwid[NWID_DIGITS + 1];
    char address[ADDRESS_DIGITS + 1];
    hex_from_u64(item->change.nwid, NWID_DIGITS, nwid);
    if (item->change.node == 0) {
        return json_object_get(json_object_get(names, "networks"), nwid);
    }
    const json_t *members = json_object_get(names, "members");
    hex_from_u64(item->change.node, ADDRESS_DIGITS, address);
    (void)snprintf(key, sizeof(key), "%s/%s", nwid, address);
    const json_t *found = json_object_get(members, key);
    return found != NULL ? found : json_object_get(members, address);
}

/* Names of members and networks that are not there. */
static void count_unknown(struct import_set *set, const json_t *names)
{
    const char *key;
    json_t *value;
    json_object_foreach(json_object_get(names, "members"), key, value)
    {
        const char *slash = strchr(key, '/');
        uint64_t nwid = 0;
        uint64_t node = 0;
        bool good = slash != NULL &&
                    hex_to_u64(key, (size_t)(slash - key), NWID_DIGITS, &nwid) == 0 &&
                    hex_to_u64(slash + 1, strlen(slash + 1), ADDRESS_DIGITS, &node) == 0;
        if (good && find(set, nwid, node) == NULL) {
            count(set, "names", "unknown");
        }
    }
}

int import_set_name(struct import_set *set, const json_t *names)
{
    struct hmap_node *it = NULL;
    int err = 0;
    while (err == 0 && (it = hmap_each(&set->items, it)) != NULL) {
        struct item *item = CONTAINER_OF(it, struct item, link);
        const json_t *found = names_of(item, names);
        err = found != NULL ? fill_item(set, item, found) : 0;
    }
    count_unknown(set, names);
    return err;
}

/* ---- the end ---- */

static int compare_items(const void *a, const void *b)
{
    const struct store_change *x = &(*(struct item *const *)a)->change;
    const struct store_change *y = &(*(struct item *const *)b)->change;
    if (x->nwid != y->nwid) {
        return x->nwid < y->nwid ? -1 : 1;
    }
    return x->node < y->node ? -1 : x->node > y->node;
}

static int compare_assignments(const void *a, const void *b)
{
    const struct assignment *x = a;
    const struct assignment *y = b;
    if (x->nwid != y->nwid) {
        return x->nwid < y->nwid ? -1 : 1;
    }
    int order = x->ip.family != y->ip.family ? (x->ip.family < y->ip.family ? -1 : 1)
                                             : memcmp(x->ip.ip, y->ip.ip, sizeof(x->ip.ip));
    return order != 0 ? order : (x->node < y->node ? -1 : x->node > y->node);
}

static int assign(struct import_set *set, const struct store_change *member, const char *text)
{
    struct inetaddr ip;
    size_t len = strcspn(text, "/");
    if (inetaddr_parse(text, len, &ip) != 0 || ip.family == INETADDR_NIL) {
        return 0;
    }
    if (set->assigned_count == set->assigned_cap) {
        size_t cap = set->assigned_cap == 0 ? 64 : set->assigned_cap * 2;
        struct assignment *grown = realloc(set->assigned, cap * sizeof(*grown));
        if (grown == NULL) {
            return -ENOMEM;
        }
        set->assigned = grown;
        set->assigned_cap = cap;
    }
    set->assigned[set->assigned_count++] =
        (struct assignment){.nwid = member->nwid, .node = member->node, .ip = ip};
    return 0;
}

static int collect_assignments(struct import_set *set, const struct item *item)
{
    json_t *doc = json_loads(item->change.text, 0, NULL);
    size_t i;
    json_t *ip;
    int err = 0;
    json_array_foreach(json_object_get(doc, "ipAssignments"), i, ip)
    {
        const char *text = json_string_value(ip);
        if (text != NULL && err == 0) {
            err = assign(set, &item->change, text);
        }
    }
    json_decref(doc);
    return err;
}

static void note_conflicts(struct import_set *set)
{
    if (set->assigned_count > 0) {
        qsort(set->assigned, set->assigned_count, sizeof(*set->assigned), compare_assignments);
    }
    for (size_t i = 1; i < set->assigned_count; i++) {
        const struct assignment *one = &set->assigned[i - 1];
        const struct assignment *two = &set->assigned[i];
        if (one->nwid == two->nwid && one->node != two->node &&
            inetaddr_ip_equal(&one->ip, &two->ip)) {
            char where[WHERE_LEN];
            char ip[INETADDR_TEXT_LEN];
            inetaddr_print_ip(&two->ip, ip);
            (void)snprintf(where, sizeof(where), "%016llx", (unsigned long long)two->nwid);
            warn(set, where, "members %010llx and %010llx have the same address %s; both keep it",
                 (unsigned long long)one->node, (unsigned long long)two->node, ip);
        }
    }
}

int import_set_finish(struct import_set *set, const struct store_change **ret)
{
    struct hmap_node *it = NULL;
    size_t n = 0;
    int err = 0;
    set->sorted = calloc(set->items.count + 1, sizeof(struct item *));
    if (set->sorted == NULL) {
        return -ENOMEM;
    }
    while ((it = hmap_each(&set->items, it)) != NULL) {
        set->sorted[n++] = CONTAINER_OF(it, struct item, link);
    }
    qsort(set->sorted, n, sizeof(struct item *), compare_items);
    struct store_change *first = NULL;
    struct store_change *last = NULL;
    for (size_t i = 0; i < n && err == 0; i++) {
        struct store_change *change = &set->sorted[i]->change;
        err = change->node != 0 ? collect_assignments(set, set->sorted[i]) : 0;
        if (set->sorted[i]->changed) {
            *(last == NULL ? &first : &last->next) = change;
            last = change;
        }
    }
    note_conflicts(set);
    if (err == 0) {
        *ret = first;
    }
    return err;
}
