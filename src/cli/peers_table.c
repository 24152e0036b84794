/* The long table of peers. Each column is one function that makes a short text of a peer. Text from
 * the API goes through put, which lets nothing but printable ASCII of a bounded length pass.
 * Source: spec 05 section 12 ("stuck on relay, no reason shown"). */
#include "cli/peers_table.h"

#include "base/attr.h"
#include "cli/advice.h"

#include <stdarg.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

enum {
    CELL_LEN = 64,
    GAP = 2, /* blanks between columns */
};

typedef char cell[CELL_LEN];

/* One peer as the columns see it. */
struct entry {
    const struct peers_view *view;
    const json_t *peer;
    const json_t *path;   /* preferred one, NULL = relayed */
    const json_t *before; /* counters a moment ago, or NULL */
    int group;            /* 0 root, 1 direct, 2 relayed */
    const char *address;
};

static const char *text(const json_t *object, const char *key)
{
    const char *value = json_string_value(json_object_get(object, key));
    return value == NULL ? "" : value;
}

static int64_t number(const json_t *object, const char *key)
{
    return json_integer_value(json_object_get(object, key));
}

/* Print into a cell; what is not printable ASCII becomes '?'. */
__attribute__((format(printf, 2, 3))) static void put(cell out, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    (void)vsnprintf(out, CELL_LEN, format, args);
    va_end(args);
    for (char *p = out; *p != '\0'; p++) {
        if (*p < 0x20 || *p > 0x7e) {
            *p = '?';
        }
    }
}

/* ---- columns ---- */

static void col_address(const struct entry *e, cell out)
{
    put(out, "%s", e->address);
}

static void col_version(const struct entry *e, cell out)
{
    if (number(e->peer, "versionMajor") >= 0) {
        put(out, "%s", text(e->peer, "version"));
    }
}

static void col_role(const struct entry *e, cell out)
{
    put(out, "%s", text(e->peer, "role"));
}

static void col_latency(const struct entry *e, cell out)
{
    int64_t ms = number(e->peer, "latency");
    if (ms >= 0) {
        put(out, "%lld", (long long)ms);
    }
}

static void col_path(const struct entry *e, cell out)
{
    if (e->path != NULL) {
        put(out, "%s%s", strcmp(text(e->path, "transport"), "tcp") == 0 ? "TCP " : "",
            text(e->path, "address"));
    } else if (text(e->peer, "relay")[0] != '\0') {
        put(out, "RELAY %s", text(e->peer, "relay"));
    } else {
        put(out, "RELAY");
    }
}

static void col_mtu(const struct entry *e, cell out)
{
    if (number(e->path, "mtu") > 0) {
        put(out, "%lld", (long long)number(e->path, "mtu"));
    }
}

static void col_nat(const struct entry *e, cell out)
{
    const char *v4 = text(e->peer, "natIpv4");
    const char *v6 = text(e->peer, "natIpv6");
    bool is_v4 = v4[0] != '\0' && strcmp(v4, "unknown") != 0;
    bool is_v6 = v6[0] != '\0' && strcmp(v6, "unknown") != 0;
    if (is_v4 && is_v6 && strcmp(v4, v6) != 0) {
        put(out, "%s; IPv6 %s", v4, v6);
    } else if (is_v4 || is_v6) {
        put(out, "%s", is_v4 ? v4 : v6);
    }
}

/* Time since a wall clock time, in the unit that fits. */
static void put_age(cell out, int64_t at_ms, int64_t now_ms)
{
    if (at_ms <= 0) {
        return;
    }
    int64_t s = at_ms > now_ms ? 0 : (now_ms - at_ms) / 1000;
    if (s < 100) {
        put(out, "%llds", (long long)s);
    } else if (s < 6000) {
        put(out, "%lldm", (long long)(s / 60));
    } else if (s < 100 * 3600) {
        put(out, "%lldh", (long long)(s / 3600));
    } else {
        put(out, "%lldd", (long long)(s / 86400));
    }
}

static void col_last_in(const struct entry *e, cell out)
{
    put_age(out, e->path != NULL ? number(e->path, "lastReceive") : number(e->peer, "lastReceive"),
            e->view->wall_ms);
}

static void col_last_out(const struct entry *e, cell out)
{
    put_age(out, number(e->path, "lastSend"), e->view->wall_ms);
}

/* Packets a second; nothing when there is no earlier value, or the counters began anew. */
static void put_rate(const struct entry *e, const char *key, cell out)
{
    int64_t now = number(json_object_get(e->peer, "counters"), key);
    int64_t then = number(e->before, key);
    if (e->before != NULL && e->view->span_ms > 0 && now >= then) {
        put(out, "%.0f", ((double)now - (double)then) * 1000 / (double)e->view->span_ms);
    }
}

static void col_rate_in(const struct entry *e, cell out)
{
    put_rate(e, "received", out);
}

static void col_rate_out(const struct entry *e, cell out)
{
    put_rate(e, "sent", out);
}

static void col_relayed(const struct entry *e, cell out)
{
    const json_t *c = json_object_get(e->peer, "counters");
    double all = (double)number(c, "received") + (double)number(c, "sent");
    double relayed = (double)number(c, "receivedRelayed") + (double)number(c, "sentRelayed");
    if (all > 0 && relayed >= 0 && relayed <= all) {
        put(out, "%d%%", (int)(relayed * 100 / all));
    }
}

static void col_note(const struct entry *e, cell out)
{
    if (e->path == NULL) {
        put(out, "%s", text(e->peer, "relayReason"));
    } else if (text(e->path, "learnedBy")[0] != '\0') {
        put(out, "by %s", text(e->path, "learnedBy"));
    }
}

static const struct column {
    const char *title;
    void (*fill)(const struct entry *e, cell out);
    bool right;       /* numbers */
    unsigned dropped; /* the higher, the sooner it is left out on a narrow terminal; 0 never */
} columns[] = {
    {"address", col_address, false, 0}, {"version", col_version, false, 6},
    {"role", col_role, false, 4},       {"ms", col_latency, true, 2},
    {"path", col_path, false, 0},       {"mtu", col_mtu, true, 8},
    {"nat", col_nat, false, 10},        {"in", col_last_in, true, 5},
    {"out", col_last_out, true, 7},     {"p/s in", col_rate_in, true, 3},
    {"p/s out", col_rate_out, true, 3}, {"relayed", col_relayed, true, 9},
    {"why", col_note, false, 1},
};

enum { COLUMNS = COUNT_OF(columns) };

/* ---- the table ---- */

static const json_t *preferred_path(const json_t *peer)
{
    size_t i;
    json_t *path;
    json_array_foreach(json_object_get(peer, "paths"), i, path)
    {
        if (json_is_true(json_object_get(path, "preferred"))) {
            return path;
        }
    }
    return NULL;
}

static int compare(const void *a, const void *b)
{
    const struct entry *x = a;
    const struct entry *y = b;
    return x->group != y->group ? x->group - y->group : strcmp(x->address, y->address);
}

/* Counters of all peers of a moment ago by address; NULL without. */
static json_t *index_of(const json_t *peers)
{
    json_t *by_address = json_is_array(peers) ? json_object() : NULL;
    size_t i;
    json_t *peer;
    json_array_foreach((json_t *)peers, i, peer)
    {
        (void)json_object_set(by_address, text(peer, "address"), json_object_get(peer, "counters"));
    }
    return by_address;
}

/* All peers in the order of the table. NULL: none, or out of memory. */
static struct entry *collect(const struct peers_view *view, const json_t *before, size_t *ret_count)
{
    size_t count = json_array_size(view->peers);
    struct entry *entries = calloc(count > 0 ? count : 1, sizeof(*entries));
    *ret_count = entries == NULL ? 0 : count;
    for (size_t i = 0; i < *ret_count; i++) {
        const json_t *peer = json_array_get(view->peers, i);
        const char *role = text(peer, "role");
        struct entry *e = &entries[i];
        *e = (struct entry){.view = view, .peer = peer, .path = preferred_path(peer)};
        e->address = text(peer, "address");
        e->before = json_object_get(before, e->address);
        e->group = strcmp(role, "PLANET") == 0 || strcmp(role, "MOON") == 0 ? 0
                   : e->path != NULL                                        ? 1
                                                                            : 2;
    }
    if (entries != NULL) {
        qsort(entries, *ret_count, sizeof(*entries), compare);
    }
    return entries;
}

/* Widths by content; 0: the column is empty or does not fit. */
static void measure(const struct entry *entries, size_t count, unsigned limit,
                    unsigned ret_widths[COLUMNS])
{
    unsigned total = 0;
    for (size_t c = 0; c < COLUMNS; c++) {
        size_t widest = 0;
        for (size_t i = 0; i < count; i++) {
            cell value = "";
            columns[c].fill(&entries[i], value);
            widest = strlen(value) > widest ? strlen(value) : widest;
        }
        ret_widths[c] = (unsigned)widest;
        if (widest > 0 || columns[c].dropped == 0) {
            size_t title = strlen(columns[c].title);
            ret_widths[c] = (unsigned)(title > widest ? title : widest);
            total += ret_widths[c] + GAP;
        }
    }
    for (unsigned rank = COLUMNS; rank > 0 && limit > 0 && total > limit + GAP; rank--) {
        for (size_t c = 0; c < COLUMNS && total > limit + GAP; c++) {
            if (columns[c].dropped == rank && ret_widths[c] > 0) {
                total -= ret_widths[c] + GAP;
                ret_widths[c] = 0;
            }
        }
    }
}

/* A line of cells, without blanks at its end, cut at the width. */
static void write_row(FILE *out, const struct peers_view *view, const unsigned widths[COLUMNS],
                      cell cells[COLUMNS])
{
    char line[COLUMNS * (CELL_LEN + GAP) + 1];
    size_t len = 0;
    for (size_t c = 0; c < COLUMNS; c++) {
        if (widths[c] > 0) {
            len += (size_t)snprintf(line + len, sizeof(line) - len, "%s%*s", len > 0 ? "  " : "",
                                    columns[c].right ? (int)widths[c] : -(int)widths[c], cells[c]);
        }
    }
    while (len > 0 && line[len - 1] == ' ') {
        len--;
    }
    if (view->width > 0 && len > view->width) {
        len = view->width;
    }
    (void)fprintf(out, "%.*s%s", (int)len, line, view->line_end);
}

/* This node and how many peers of each group there are. */
static void write_head(FILE *out, const struct peers_view *view, const struct entry *entries,
                       size_t count)
{
    size_t groups[3] = {0};
    char line[256];
    const json_t *s = view->status;
    const json_t *nat = json_object_get(s, "nat");
    cell parts[5];
    for (size_t i = 0; i < count; i++) {
        groups[entries[i].group]++;
    }
    put(parts[0], "%.16s", text(s, "address"));
    put(parts[1], "%.16s", text(s, "version"));
    put(parts[2], "%s", text(nat, "ipv4"));
    put(parts[3], "%s", text(nat, "ipv6"));
    put(parts[4], "%s",
        json_is_true(json_object_get(s, "tcpFallbackActive")) ? "TUNNELED"
        : json_is_true(json_object_get(s, "online"))          ? "ONLINE"
                                                              : "OFFLINE");
    int len = snprintf(
        line, sizeof(line), "%s %s %s  %zu roots, %zu direct, %zu relayed  NAT IPv4 %s, IPv6 %s",
        parts[0], parts[1], parts[4], groups[0], groups[1], groups[2], parts[2], parts[3]);
    len = len < (int)sizeof(line) ? len : (int)sizeof(line) - 1;
    if (view->width > 0 && len > (int)view->width) {
        len = (int)view->width;
    }
    (void)fprintf(out, "%.*s%s", len, line, view->line_end);
}

void peers_table(FILE *out, const struct peers_view *view)
{
    size_t count;
    size_t shown;
    unsigned widths[COLUMNS];
    cell cells[COLUMNS];
    json_t *before = index_of(view->before);
    struct entry *entries = collect(view, before, &count);
    measure(entries, count, view->width, widths);
    if (view->status != NULL) {
        write_head(out, view, entries, count);
    }
    for (size_t c = 0; c < COLUMNS; c++) {
        put(cells[c], "%s", columns[c].title);
    }
    write_row(out, view, widths, cells);
    /* Two lines above, one below for what is left out. */
    shown = view->height == 0 || count + 2 < view->height ? count
            : view->height > 4                            ? view->height - 4
                                                          : 0;
    for (size_t i = 0; i < shown; i++) {
        for (size_t c = 0; c < COLUMNS; c++) {
            cells[c][0] = '\0';
            columns[c].fill(&entries[i], cells[c]);
        }
        write_row(out, view, widths, cells);
    }
    if (shown < count) {
        (void)fprintf(out, "... %zu more%s", count - shown, view->line_end);
    }
    free(entries);
    json_decref(before);
}

void peers_reasons(FILE *out, const json_t *peers)
{
    json_t *seen = json_object();
    size_t i;
    json_t *peer;
    json_array_foreach((json_t *)peers, i, peer)
    {
        const char *reason = text(peer, "relayReason");
        cell clean;
        put(clean, "%s", reason);
        if (reason[0] != '\0' && json_object_get(seen, clean) == NULL) {
            (void)fprintf(out, "%s: %s\n", clean, advice_relay(reason));
        }
        (void)json_object_set_new(seen, clean, json_true());
    }
    json_decref(seen);
}
